//! What a load balancer asks each second, on the admin port and (`--health-path`) on the public one.
//!
//! Law: both ports give the same answers, made here.

use http::StatusCode;

use super::status::{Phase, Status};

/// A question of a load balancer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Probe {
    /// Whether the process works. During a drain it does: some balancers cut the connections of a
    /// server that their check calls down.
    Live,
    /// Whether new clients are welcome.
    Ready,
}

impl Probe {
    /// The question that is asked at this path.
    #[must_use]
    pub fn at(path: &str) -> Option<Self> {
        match path {
            "/livez" => Some(Self::Live),
            "/readyz" => Some(Self::Ready),
            _ => None,
        }
    }

    /// The answer: a status, and the reason in words for an operator. A drain is answered with
    /// `drain_status`, and comes before a lost bus, which is always 503: a drain is somebody's will.
    #[must_use]
    pub fn answer(self, status: &Status, drain_status: StatusCode) -> (StatusCode, String) {
        let ok = || (StatusCode::OK, "ok".to_owned());
        match self {
            Self::Live => ok(),
            Self::Ready => match status.phase {
                Phase::Serving => match status.trouble() {
                    None => ok(),
                    Some(reason) => (StatusCode::SERVICE_UNAVAILABLE, reason),
                },
                Phase::Announce | Phase::Refuse | Phase::Ebb => {
                    (drain_status, "draining".to_owned())
                }
                Phase::Drained => (drain_status, "drained".to_owned()),
            },
        }
    }
}
