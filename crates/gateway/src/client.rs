//! One client: the loop that tells its session what happens and does what the session says.
//! It decides nothing itself. Every await is one that something else can end.

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use futures_util::FutureExt as _;
use slackwater_bus::turns;
use slackwater_core::event::{Cause, Event};
use slackwater_core::session::{
    FromBus, Input, Message, Output, Phase, Session, Traffic, Upstream,
};
use tokio::task::coop::cooperative;
use tokio::time::sleep_until;

use crate::clock::now;
use crate::describe;
use crate::front::ClientAddress;
use crate::front::websocket::{self, Ending, WebSocket};
use crate::gateway::{Gateway, Place};
use crate::mailbox::{Letter, Standing};
use crate::told;

/// The far end of a client's session: a bus or a program, as the client's task drives it.
pub(crate) trait FarEnd: Send {
    /// What that is to the session.
    type Upstream: Upstream<Input: Send, Order: Send> + describe::Owes + Send;

    /// Does what the session wants of it. What it says to that at once is the session's next input.
    fn obey(
        &mut self,
        order: <Self::Upstream as Upstream>::Order,
        websocket: &mut WebSocket,
    ) -> Option<<Self::Upstream as Upstream>::Input>;

    /// What a letter from the bus tells the session, if it has anything to do with a bus.
    fn of_bus(letter: FromBus) -> Option<<Self::Upstream as Upstream>::Input>;

    /// The next things that it tells, at least one. What is for the client is taken from it only if
    /// `reads`.
    fn poll_next(
        &mut self,
        context: &mut Context<'_>,
        reads: bool,
    ) -> Poll<VecDeque<<Self::Upstream as Upstream>::Input>>;

    /// Whether it can take nothing more from the client for now.
    fn is_full(&self) -> bool;

    /// Lets it go, and waits until it has gone.
    fn finish(self) -> impl Future<Output = ()> + Send;
}

/// While more than this waits for the kernel, nothing is read from the client: what it sends
/// could only make more wait.
const READING_STOPS: u64 = 256 * 1024;

/// The most messages of a client's that are taken in one turn.
const TOGETHER: usize = 64;

/// The task of one client.
pub(crate) struct Client<E: FarEnd> {
    gateway: Arc<Gateway>,
    far_end: E,
    websocket: WebSocket,
    address: ClientAddress,
    place: Place,
    session: Session<E::Upstream>,
    since: Instant,
    traffic: Traffic,
    requests: u64,
    reset: bool,
}

impl<E: FarEnd> Client<E> {
    /// A client whose session begins at `since`. In a box, since a future holds what it is given
    /// once for each function that it is handed on to.
    pub(crate) fn new(
        gateway: Arc<Gateway>,
        (far_end, session): (E, Session<E::Upstream>),
        (websocket, address): (WebSocket, ClientAddress),
        place: Place,
        since: Instant,
    ) -> Box<Self> {
        let traffic = Traffic::default();
        Box::new(Self {
            gateway,
            far_end,
            websocket,
            address,
            place,
            session,
            since,
            traffic,
            requests: 0,
            reset: false,
        })
    }

    /// Runs until the connection has ended.
    pub(crate) async fn run(mut self: Box<Self>) {
        tracing::info!(client = %self.address, connection = self.place.number(), "connected");
        let mailbox = Arc::clone(self.place.mailbox());
        let mut timer = pin!(sleep_until(self.since.into()));
        while self.session.phase() != Phase::Closed {
            let due = self.session.poll_timeout();
            // One that is due later than the timer is set lets it ring and sets it anew: to set it
            // with every message costs more than to ring in vain now and then.
            if let Some(due) = due
                && (timer.is_elapsed() || timer.deadline() > due.into())
            {
                timer.as_mut().reset(due.into());
            }
            let writes = self.websocket.unwritten() <= READING_STOPS;
            let serves = matches!(self.session.phase(), Phase::Open | Phase::Draining);
            let reads = (writes && !self.far_end.is_full()) || !serves;
            let far_end = &mut self.far_end;
            tokio::select! {
                letters = mailbox.take() => {
                    for letter in letters {
                        self.on_letter(letter);
                    }
                }
                event = next(&mut self.websocket, reads) => {
                    self.on_websocket(event);
                    self.read_on();
                }
                said = cooperative(poll_fn(|context| far_end.poll_next(context, writes))) => {
                    for said in said {
                        self.input(Input::Upstream(said));
                    }
                }
                () = &mut timer, if due.is_some() => {
                    self.traffic.unsent = self.websocket.unsent() as u64;
                    self.tell_traffic();
                    self.turn(|session, now| session.handle_timeout(now));
                }
            }
            let standing = Standing {
                unwritten: bytes(self.websocket.unwritten()),
                half_read: bytes(self.websocket.half_read()),
                held: self.session.held_bytes(),
                phase: self.session.phase(),
                holds: self.session.holds(),
            };
            if mailbox.report(standing) {
                self.overflow();
            }
            turns::end_if_full().await;
        }
        self.end().await;
    }

    /// Takes the messages that have come along with one, so that they go on together.
    fn read_on(&mut self) {
        for _ in 0..TOGETHER {
            if !self.websocket.mid_message() || self.far_end.is_full() || turns::is_full() {
                return;
            }
            match self.websocket.next().now_or_never() {
                Some(event) => self.on_websocket(event),
                None => return,
            }
        }
    }

    /// More waits, for it or of it, than may.
    fn overflow(&mut self) {
        let serves = |phase| matches!(phase, Phase::Open | Phase::Draining);
        let served = serves(self.session.phase());
        self.input(Input::Overflow);
        // What it has sent by half, and sends until it has seen our Close, would only be more.
        if served && !serves(self.session.phase()) {
            self.websocket.skip_messages();
        }
    }

    fn on_letter(&mut self, letter: Letter) {
        match letter {
            Letter::Bus(letter) => {
                if let Some(input) = E::of_bus(letter) {
                    self.input(Input::Upstream(input));
                }
            }
            Letter::Drain(deadlines) => self.input(Input::Drain(deadlines)),
            Letter::Undrain => self.input(Input::Undrain),
            Letter::Configure(config) => self.input(Input::Configure(config)),
            Letter::Overflow => self.overflow(),
            Letter::Describe(answer) => {
                let description = describe::describe(
                    &self.session,
                    self.place.number(),
                    self.address,
                    self.since,
                    self.place.mailbox().waiting(),
                    now(),
                );
                // Whoever asked may have gone.
                answer.send(description).ok();
            }
        }
    }

    fn on_websocket(&mut self, event: Result<websocket::Event, Ending>) {
        // How far the stream is must be known before what has come from it is acted upon.
        self.tell_traffic();
        match event {
            Ok(websocket::Event::Text(text)) => {
                turns::worked(text.len());
                self.input(Input::Message(Message::Text(text)));
            }
            Ok(websocket::Event::Binary(bytes)) => {
                turns::worked(bytes.len());
                self.input(Input::Message(Message::Binary(bytes)));
            }
            // How much has come is reported in any case.
            Ok(websocket::Event::Ping | websocket::Event::Partial) => {}
            Ok(websocket::Event::Pong(payload)) => {
                if let Ok(nonce) = <[u8; 8]>::try_from(payload.as_slice()) {
                    self.input(Input::Pong(u64::from_be_bytes(nonce)));
                }
            }
            Ok(websocket::Event::Close { code, reason }) => {
                tracing::debug!(client = %self.address, code, reason, "Close received");
                self.input(Input::PeerClose);
            }
            Ok(websocket::Event::Violation { code, reason }) => {
                tracing::info!(client = %self.address, code, reason, "protocol violated");
                let too_big = code == 1009;
                let cause = if too_big { Cause::TooBig } else { Cause::Protocol };
                self.input(Input::Violation(cause));
            }
            Ok(websocket::Event::Written) => self.input(Input::Flushed),
            Err(Ending::Eof) => self.input(Input::Ended(Cause::Eof)),
            Err(Ending::Lost(kind)) => {
                tracing::debug!(client = %self.address, %kind, "connection lost");
                self.input(Input::Ended(Cause::Reset));
            }
        }
    }

    fn tell_traffic(&mut self) {
        let traffic = self.count_traffic();
        self.input(Input::Traffic(traffic));
    }

    /// Looks how much has passed, and adds what is new to the sums.
    fn count_traffic(&mut self) -> Traffic {
        let traffic = Traffic {
            received: self.websocket.bytes_in(),
            written: self.websocket.bytes_out(),
            unsent: self.traffic.unsent,
            mid_message: self.websocket.mid_message(),
            paused: self.far_end.is_full(),
        };
        let before = std::mem::replace(&mut self.traffic, traffic);
        self.gateway
            .count_bytes(traffic.received - before.received, traffic.written - before.written);
        traffic
    }

    fn input(&mut self, input: Input<<E::Upstream as Upstream>::Input>) {
        self.turn(|session, now| session.handle_input(input, now));
    }

    /// One input, and then every output: the law of the core.
    fn turn(&mut self, input: impl FnOnce(&mut Session<E::Upstream>, Instant)) {
        input(&mut self.session, now());
        let mut events = Vec::new();
        let mut said = Vec::new();
        while let Some(output) = self.session.poll_output() {
            match output {
                Output::Upstream(order) => {
                    said.extend(self.far_end.obey(order, &mut self.websocket));
                }
                Output::Reply(text) => {
                    self.websocket.send(text);
                }
                Output::ReplyBinary(bytes) => {
                    self.websocket.send_binary(bytes);
                }
                Output::Ping(nonce) => {
                    self.websocket.ping(&nonce.to_be_bytes());
                }
                Output::Close { code, reason } => {
                    self.websocket.close(code, &reason);
                }
                Output::Finish => self.websocket.finish(),
                Output::Reset => self.reset = true,
                Output::Event(event) => events.push(event),
            }
        }
        if !events.is_empty() {
            for event in &events {
                told::log(&self.address, || self.address.host(), event);
                if let Event::Received(requests) = event {
                    self.requests += requests;
                }
                self.place.lost += event.lost_replies();
            }
            self.gateway.record(&events);
        }
        for said in said {
            self.input(Input::Upstream(said));
        }
    }

    async fn end(mut self: Box<Self>) {
        let cause = self.session.cause().unwrap_or(Cause::Reset);
        self.count_traffic();
        let seconds = now().saturating_duration_since(self.since).as_secs_f64();
        tracing::info!(
            client = %self.address,
            connection = self.place.number(),
            reason = cause.name(),
            seconds = (seconds * 1000.0).round() / 1000.0,
            requests = self.requests,
            "disconnected"
        );
        self.place.cause = Some(cause);
        let Self { websocket, far_end, place, reset, .. } = *self;
        if reset {
            websocket.abort();
        } else {
            drop(websocket);
        }
        // Its place is taken for so long: a process that ends has let everything go.
        Box::pin(far_end.finish()).await;
        drop(place);
    }
}

fn bytes(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

/// What happens next on the WebSocket.
async fn next(websocket: &mut WebSocket, reads: bool) -> Result<websocket::Event, Ending> {
    if reads { websocket.next().await } else { websocket.written().await }
}
