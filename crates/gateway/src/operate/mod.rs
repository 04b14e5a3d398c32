//! What surrounds the gateway at work: its state for operators, control, logs, the service
//! manager.

pub mod status;
