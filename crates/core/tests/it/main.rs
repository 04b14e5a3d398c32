//! Promises about one session and about the process's drain, kept on a clock that is moved by hand.

mod bench;
mod closing;
mod deadline;
mod drain;
mod drain_model;
mod ebb;
mod failures;
mod input;
mod ledger;
mod liveness;
mod model;
mod program;
mod relay;
mod script;
mod sessions;
mod words;
