//! What is done, by name; and whom it is done with.

use serde::{Deserialize, Serialize};

use super::subject::Subject;
use crate::site::Bus;

/// A scenario.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Scenario {
    /// One client makes one call after the other, of a worker that answers at once.
    Sequential,
    /// The same of a worker that takes 0.4 ms.
    Timed,
    /// Clients connect, call once and go.
    First,
    /// Closed loop: so many clients make each its next call as soon as it has the last answer.
    Closed,
    /// Open loop: calls are due at a fixed rate, and their time runs from when they are due.
    Open,
    /// So many clients connect and call at once.
    Storm,
    /// Fast calls while others are slow or large.
    Beside,
    /// Twelve calls of 2 s on one socket.
    Parallel,
    /// Large requests and answers.
    Large,
    /// Memory of idle clients.
    Memory,
    /// Memory after 500 clients have sent and received 1 MiB each.
    Burst,
    /// Idle and busy clients are drained.
    Drain,
    /// The same, and they connect again to a second gateway, as the close contract says.
    Reconnect,
    /// Program mode, with cat.
    Programs,
}

impl Scenario {
    /// Whether it can be done with a subject.
    pub(super) fn is_for(self, subject: &Subject) -> bool {
        use Scenario::{
            Beside, Burst, Closed, Drain, First, Large, Memory, Open, Parallel, Programs,
            Reconnect, Sequential, Storm, Timed,
        };
        let on_web_sockets = !matches!(subject, Subject::Bare(_));
        let is_front = matches!(subject, Subject::Run | Subject::Websocketd);
        let redis = subject.bus() == Some(Bus::Redis);
        if is_front {
            return self == Programs;
        }
        match self {
            Sequential | Closed | Open | First => true,
            // The embedded bus has no such service.
            Timed => subject.bus() != Some(Bus::Embedded),
            Storm | Memory => on_web_sockets,
            // An XMPP server takes no such message.
            Large => redis,
            Burst => redis && on_web_sockets,
            Beside | Parallel => redis && on_web_sockets,
            Drain | Reconnect => matches!(subject, Subject::Gateway(_)),
            Programs => false,
        }
    }

    /// Whether every round has a turn of it; else the first one.
    pub(super) fn is_repeated(self) -> bool {
        match self {
            Self::Sequential
            | Self::Timed
            | Self::First
            | Self::Closed
            | Self::Open
            | Self::Storm
            | Self::Beside
            | Self::Large
            | Self::Programs => true,
            Self::Parallel | Self::Memory | Self::Burst | Self::Drain | Self::Reconnect => false,
        }
    }

    /// The title of its table.
    pub(super) fn title(self) -> &'static str {
        match self {
            Self::Sequential => "Sequential calls",
            Self::Timed => "Sequential calls of a worker that takes 0.4 ms",
            Self::First => "Connect and first answer",
            Self::Closed => "Closed loop",
            Self::Open => "Open loop: times run from when a call is due",
            Self::Storm => "Connect storm, each with a call",
            Self::Beside => "Fast calls beside slow and large ones",
            Self::Parallel => "Twelve calls of 2 s on one socket",
            Self::Large => "Large requests and answers (1 MiB)",
            Self::Memory => "Memory of idle clients",
            Self::Burst => "Memory after a burst",
            Self::Drain => "Drain",
            Self::Reconnect => "Drain, and reconnect to a second gateway",
            Self::Programs => "Program mode, with cat",
        }
    }
}
