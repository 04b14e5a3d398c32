//! Many clients that are there at once, as tasks: they connect, call, wait, and leave.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use indicatif::ProgressBar;
use tokio::net::TcpSocket;
use tokio::task::JoinSet;

use super::Turn;
use crate::bench::least::callers::texts;
use crate::bench::record::{Figure, percentiles};
use crate::bench::stage::Service;
use crate::raw::{Message, RawClient};

/// Who does something at the same time, where nothing else is said.
const AT_ONCE: usize = 50;

/// Addresses that clients come from.
const SOURCES: usize = 8;

/// For anything that should come.
const PATIENCE: Duration = Duration::from_secs(120);

/// A client on a WebSocket.
pub(super) struct Client {
    pub(super) raw: RawClient,
    calls: u64,
}

/// What has come of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outcome {
    /// All of its answer.
    Answered,
    /// A Close came first: the connection is over, and the call is to be made again.
    Closed(Message),
}

impl Client {
    /// Connects one with a number of its own.
    pub(super) async fn connect(address: SocketAddr, number: usize) -> io::Result<Self> {
        let socket = TcpSocket::new_v4()?;
        // With all ports of one address nearly used up, the kernel would search longer and longer.
        let source = u8::try_from(2 + number % SOURCES).unwrap_or(2);
        socket.bind(SocketAddr::from(([127, 0, 0, source], 0)))?;
        let mut raw = RawClient::over(socket.connect(address).await?, "/").await?;
        raw.patience = PATIENCE;
        Ok(Self { raw, calls: 0 })
    }

    /// A call, with a text of `length` or a small one.
    pub(super) async fn call(
        &mut self,
        service: &str,
        length: Option<usize>,
    ) -> io::Result<Outcome> {
        self.calls += 1;
        self.raw.send_text(&texts::request(service, self.calls, length)).await?;
        loop {
            match self.raw.read_message().await? {
                Message::Text(text) if texts::is_end_of(&text, self.calls) => {
                    return Ok(Outcome::Answered);
                }
                Message::Text(_) => {}
                close @ Message::Close { .. } => return Ok(Outcome::Closed(close)),
                Message::Binary(_) => return Err(io::Error::other("binary, of a gateway")),
            }
        }
    }

    /// A call that must be answered.
    pub(super) async fn ask(&mut self, service: &str, length: Option<usize>) -> io::Result<()> {
        match self.call(service, length).await? {
            Outcome::Answered => Ok(()),
            Outcome::Closed(close) => Err(io::Error::other(format!("{close:?}"))),
        }
    }

    /// Ends the connection in order.
    pub(super) async fn leave(&mut self, code: u16) -> io::Result<()> {
        self.raw.close(code).await?;
        self.raw.end().await.map(drop)
    }
}

/// So many clients who have connected.
pub(super) async fn enter(
    address: SocketAddr,
    count: usize,
    bar: &ProgressBar,
) -> io::Result<Vec<Client>> {
    bar.set_message(format!("{count} clients connect"));
    let connecting = (0..count).map(|number| tokio::spawn(Client::connect(address, number)));
    let connecting = stream::iter(connecting).buffer_unordered(AT_ONCE);
    connecting.map(|client| client.map_err(io::Error::other)?).try_collect().await
}

/// Has each of them do something, some at a time, and gives them back.
pub(super) async fn each<Doing>(
    clients: Vec<Client>,
    what: impl Fn(Client) -> Doing,
) -> io::Result<Vec<Client>>
where
    Doing: Future<Output = io::Result<Client>> + Send + 'static,
{
    let doing = stream::iter(clients.into_iter().map(|client| tokio::spawn(what(client))));
    let doing = doing.buffer_unordered(AT_ONCE);
    doing.map(|client| client.map_err(io::Error::other)?).try_collect().await
}

/// Each of them makes a call.
pub(super) async fn all_call(
    clients: Vec<Client>,
    service: &'static str,
    length: Option<usize>,
) -> io::Result<Vec<Client>> {
    each(clients, move |mut client| async move {
        client.ask(service, length).await?;
        Ok(client)
    })
    .await
}

/// Connects and calls at once: the time of each runs from the common beginning.
pub(super) async fn storm(mut turn: Turn<'_>) -> io::Result<()> {
    let address = turn.stage.standing(turn.subject).await?.address()?;
    let service = Service::Instant.on(turn.subject.bus());
    for &count in &turn.plan.storms {
        let began = Instant::now();
        let mut all = JoinSet::new();
        for number in 0..count {
            all.spawn(async move {
                let mut client = Client::connect(address, number).await?;
                client.ask(service, None).await?;
                Ok::<_, io::Error>((client, began.elapsed().as_secs_f64()))
            });
        }
        let (mut times, mut refused, mut clients) = (Vec::new(), 0.0, Vec::new());
        while let Some(one) = all.join_next().await {
            match one.map_err(io::Error::other)? {
                Ok((client, time)) => {
                    clients.push(client);
                    times.push(time);
                }
                Err(_) => refused += 1.0,
            }
        }
        let took = began.elapsed().as_secs_f64();
        let mut figures = percentiles(times).to_vec();
        let rate = clients.len() as f64 / took;
        figures.extend([(Figure::Rate, rate), (Figure::Refused, refused)]);
        turn.saw(format!("{count} clients"), count as f64, figures);
        each(clients, |mut client| async move {
            client.leave(1000).await?;
            Ok(client)
        })
        .await?;
    }
    Ok(())
}
