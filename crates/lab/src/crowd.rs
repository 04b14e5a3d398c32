//! Clients, each with errands of its own and a ledger of what it was answered, while somebody does
//! something to their gateway or its bus. They keep the close contract, unless their habits are
//! others.

mod client;
mod visit;

use std::io;
use std::net::SocketAddr;
use std::ops::AddAssign;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;

use self::client::Client;
use crate::chance::Chance;
use crate::ledger::Totals;

/// The label under which the bus counts their requests.
pub const LABEL: &str = "crowd";

/// How clients behave.
#[derive(Debug, Clone, Copy)]
pub struct Habits {
    /// What a Close left without an answer is sent again, as the close contract allows. Browsers
    /// as they are today forget it.
    pub resends: bool,
    /// An end of TCP without a Close is counted; otherwise it is an error.
    pub endures: bool,
    /// Between two errands.
    pub longest_thought: Duration,
    /// How long a worker works on a request.
    pub longest_work: Duration,
}

impl Default for Habits {
    /// Busy clients that keep the close contract.
    fn default() -> Self {
        Self {
            resends: true,
            endures: false,
            longest_thought: Duration::from_millis(40),
            longest_work: Duration::ZERO,
        }
    }
}

/// What clients have seen.
#[derive(Debug, Clone, Copy, Default)]
pub struct Seen {
    /// Requests, over all connections.
    pub totals: Totals,
    /// Errands begun.
    pub errands: u64,
    /// Errands begun again on another connection.
    pub again: u64,
    /// What was wanted and came, exactly once.
    pub done: u64,
    /// What was wanted and given up after a 504.
    pub given_up: u64,
    /// Connections that ended with 1012 `drained`.
    pub drained: u64,
    /// Connections that ended with 1012 `deadline`.
    pub deadline: u64,
    /// Connects that the kernel refused.
    pub refused: u64,
    /// Connects that were answered with a 503, or by a balancer with a 502 or 504.
    pub unavailable: u64,
    /// Connects that were reset: they came between the last look at the queue and its end.
    pub reset: u64,
    /// Connections that ended without a Close, for clients that endure it.
    pub broken: u64,
}

/// What the clients are to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Running,
    /// Finish what was begun, and wait for the Close.
    Ending,
}

/// The clients of one gateway.
#[derive(Debug)]
pub struct Crowd {
    clients: JoinSet<io::Result<Seen>>,
    stage: Arc<watch::Sender<Stage>>,
    busy: Arc<()>,
}

/// Ends a crowd's errands.
#[derive(Debug)]
pub struct Whistle {
    stage: Arc<watch::Sender<Stage>>,
    busy: Arc<()>,
}

impl Crowd {
    /// So many clients, who begin at once.
    #[must_use]
    pub fn enter(server: SocketAddr, count: u64, chance: &mut Chance) -> Self {
        Self::with(Habits::default(), server, count, chance)
    }

    /// The same with other habits.
    #[must_use]
    pub fn with(habits: Habits, server: SocketAddr, count: u64, chance: &mut Chance) -> Self {
        let (stage, running) = watch::channel(Stage::Running);
        let busy = Arc::new(());
        let mut clients = JoinSet::new();
        for number in 0..count {
            let client = Client::new(server, habits, number, chance.fork(), running.clone());
            clients.spawn(client.live(Arc::clone(&busy)));
        }
        Self { clients, stage: Arc::new(stage), busy }
    }

    /// For whoever ends their errands; to be asked for before [`Crowd::during`].
    #[must_use]
    pub fn whistle(&self) -> Whistle {
        Whistle { stage: Arc::clone(&self.stage), busy: Arc::clone(&self.busy) }
    }

    /// Lets them run while `what` is done, which must end their errands and then their connections.
    /// Gives what they have seen.
    ///
    /// # Errors
    /// A client was not served as the close contract says, at once; or `what` fails.
    pub async fn during<T>(
        mut self,
        what: impl Future<Output = io::Result<T>>,
    ) -> io::Result<(T, Seen)> {
        drop(self.busy);
        let gathering = async {
            let mut seen = Seen::default();
            while let Some(client) = self.clients.join_next().await {
                seen += client.map_err(io::Error::other)??;
            }
            Ok::<_, io::Error>(seen)
        };
        tokio::try_join!(what, gathering)
    }
}

impl Whistle {
    /// Has every client finish what it has begun, and waits for it. They stay connected.
    pub async fn blow(&self) {
        self.stage.send_replace(Stage::Ending);
        while Arc::strong_count(&self.busy) > 1 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

impl AddAssign for Seen {
    fn add_assign(&mut self, other: Self) {
        self.totals += other.totals;
        self.errands += other.errands;
        self.again += other.again;
        self.done += other.done;
        self.given_up += other.given_up;
        self.drained += other.drained;
        self.deadline += other.deadline;
        self.refused += other.refused;
        self.unavailable += other.unavailable;
        self.reset += other.reset;
        self.broken += other.broken;
    }
}
