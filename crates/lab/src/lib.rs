//! What tests and measurements of the gateway are made of. Not shipped.

pub mod echo;
pub mod opensrf;
pub mod process;
pub mod raw;
