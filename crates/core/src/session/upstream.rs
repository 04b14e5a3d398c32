//! What stands behind a client's connection, as the connection sees it. How a connection lives,
//! falls slack and closes is the same whatever that is; what is owed to the client only it knows.

use std::fmt;
use std::time::Instant;

use super::{Deadlines, Session};

/// A message from the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// Text.
    Text(String),
    /// A binary message that is not to be taken as text.
    Binary(Vec<u8>),
}

/// One kind of upstream. Its functions are steps of the session's own methods: they may give
/// outputs.
pub trait Upstream: fmt::Debug + Sized {
    /// What it tells the session.
    type Input: fmt::Debug;
    /// What the session wants of it.
    type Order: fmt::Debug + PartialEq + Eq;

    /// Whether nothing is owed to the client: its part of slack water.
    fn owes_nothing(&self) -> bool;

    /// Bytes from the client that wait until the upstream can take them.
    fn held_bytes(&self) -> usize;

    /// A message from the client, on a connection that is open or draining.
    fn on_message(session: &mut Session<Self>, message: Message, now: Instant);

    /// A message that came behind our Close: counted, never executed.
    fn on_crossing(session: &mut Session<Self>, message: Message);

    /// Something from the upstream.
    fn on_input(session: &mut Session<Self>, input: Self::Input, now: Instant);

    /// The operator's deadline: everything is settled as cut off, and the client told.
    fn cut_off(session: &mut Session<Self>, now: Instant);

    /// The client is gone: everything is settled as that.
    fn client_gone(session: &mut Session<Self>, now: Instant);

    /// Nothing is taken from the client or given to it any more; called before our Close, if it is
    /// us who close.
    fn on_closing(session: &mut Session<Self>, now: Instant);

    /// A drain begins.
    fn on_drain(&mut self, deadlines: &Deadlines);

    /// The drain is called off.
    fn on_undrain(&mut self);

    /// When it has something to do, if nothing happens before.
    fn poll_timeout(&self) -> Option<Instant>;

    /// Does what is due; calling early does nothing. Not called any more once the connection is
    /// closing.
    fn advance(session: &mut Session<Self>, now: Instant);
}
