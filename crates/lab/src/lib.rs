//! What tests and measurements of the gateway are made of. Not shipped.

pub mod balancer;
pub mod bench;
pub mod browser;
pub mod bus;
pub mod caller;
pub mod certificate;
pub mod chance;
pub mod compression;
pub mod crossing;
pub mod crowd;
pub mod delay;
pub mod echo;
pub mod kernel;
pub mod ledger;
pub mod machine;
pub mod opensrf;
pub mod process;
pub mod proof;
pub mod proxied;
pub mod proxy;
pub mod raw;
pub mod rolling;
pub mod site;
pub mod tide;
