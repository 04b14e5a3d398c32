//! What surrounds the gateway at work: its state for operators, control, logs, the service
//! manager.

pub mod agent;
pub mod control;
pub mod logs;
pub(crate) mod memory;
pub mod metrics;
pub mod readiness;
pub mod signals;
pub mod status;
pub mod systemd;
