//! Whether the gateway should be sent new clients: what a load balancer asks each second.

use super::status::{Phase, Status};

/// `Ok` if new clients are welcome; else why not, in words for an operator.
///
/// # Errors
/// The reason, of which a drain comes first: it is somebody's will.
pub fn ready(status: &Status) -> Result<(), String> {
    match status.phase {
        Phase::Serving if status.bus.healthy => Ok(()),
        Phase::Serving => Err(match &status.bus.reason {
            Some(reason) => format!("bus lost: {reason}"),
            None => "bus lost".to_owned(),
        }),
        Phase::Announce | Phase::Refuse | Phase::Ebb => Err("draining".to_owned()),
        Phase::Drained => Err("drained".to_owned()),
    }
}
