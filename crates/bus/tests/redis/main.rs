//! The Redis bus as the gateway meets it, over a real redis-server with the accounts that sites
//! have. Where redis-server is not installed, every test says so loudly and passes.

mod client;
mod end;
mod errors;
mod losses;
mod services;
mod traffic;
