//! One connection to a Redis server, and questions on it. Nothing is ever sent but AUTH, RPUSH,
//! BLPOP, LPOP and DEL, since the accounts that OpenSRF ships may do nothing else.
//!
//! Law: a BLPOP is never given up by us while its connection lives. The message that it would
//! have brought would be lost. And whoever asks does all the work of its question itself: a
//! message passes no further task, whose waking would cost more than all that is done here.

use std::fmt;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use bytes::{Buf as _, BytesMut};
use tokio::io::{AsyncRead as _, AsyncReadExt as _, AsyncWriteExt as _, ReadBuf};
use tokio::time::{Interval, MissedTickBehavior, timeout};

use super::SERVER;
use super::resp::{self, Not, Reply};
use crate::Error;
use crate::overdue::Overdue;
use crate::socket::{self, Duplex, Endpoint};

/// How long Redis waits for a message before it says that there is none, seconds.
const BLOCKING_SECONDS: u32 = 1;
/// A server that answers nothing for so long (and BLPOP's own time) is lost.
const PATIENCE: Duration = Duration::from_secs(3);
/// How often it is looked whether an answer is overdue.
const LOOK: Duration = Duration::from_millis(250);
/// What a server is trusted to take in a second, on top of [`PATIENCE`].
const BYTES_A_SECOND: usize = 4 << 20;
/// Room for answers that a connection keeps.
const MOST_KEPT: usize = 64 * 1024;

/// Who we are to a Redis server. Its `Debug` form hides the password.
#[derive(Clone)]
pub(super) struct Account {
    pub(super) user: String,
    pub(super) password: Option<String>,
}

impl fmt::Debug for Account {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Account").field("user", &self.user).finish_non_exhaustive()
    }
}

/// Why a command failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Broken {
    /// The connection is lost, or as good as lost.
    Lost(String),
    /// The server refuses, in its own words.
    Denied(String),
}

impl fmt::Display for Broken {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lost(reason) => formatter.write_str(reason),
            Self::Denied(said) => write!(formatter, "Redis refuses: {said}"),
        }
    }
}

impl From<io::Error> for Broken {
    fn from(error: io::Error) -> Self {
        Self::Lost(crate::error::in_one_line(&error))
    }
}

/// A connection that is logged in. Dropping it closes it. After an error, or a question whose
/// future was dropped, it is of no further use.
pub(super) struct Link {
    pub(super) wire: Wire,
    pub(super) clock: Clock,
    /// Whether LPOP takes a count.
    counts: bool,
}

/// The bytes of a connection.
pub(super) struct Wire {
    pub(super) stream: Box<dyn Duplex>,
    unread: BytesMut,
}

/// Tells when an answer is overdue. It is one timer for the life of a connection: one for each
/// question would have tokio wake its own poll each time, by a system call.
pub(super) struct Clock(Interval);

impl Link {
    /// Connects and logs in.
    pub(super) async fn open(
        endpoint: &Endpoint,
        account: &Account,
        patience: Duration,
    ) -> Result<Self, Error> {
        let opening = async {
            let stream = match socket::connect(endpoint).await? {
                Ok(stream) => stream,
                Err(error) => return Err(Error::explained(SERVER, &error, endpoint).await),
            };
            let mut wire = Wire { stream, unread: BytesMut::new() };
            wire.log_in(endpoint, account).await?;
            Ok(Self { wire, clock: Clock::new(), counts: true })
        };
        let late = |_| Error::no_answer(SERVER, endpoint, patience);
        timeout(patience, opening).await.map_err(late)?
    }

    /// Learns how messages are taken here: before version 6.2, which Ubuntu 22.04 does not have,
    /// Redis knows no LPOP of several.
    pub(super) async fn learn(&mut self, list: &str) -> Result<(), Broken> {
        let command = one(&[b"LPOP", list.as_bytes(), b"0"]);
        let answers = self.wire.ask(&command, 1, |answer| {
            self.counts = !matches!(answer, Reply::Refused(said) if said.contains("wrong number of arguments"));
            Ok(())
        });
        self.clock.within(PATIENCE, answers).await
    }

    /// Asks so many times for a message in a list, for each of which Redis waits a second, and then for
    /// up to `most` that are there by then. All is asked at once: Redis answers each when it has
    /// answered the one before. [`waited`](Self::waited) has the first answers,
    /// [`taken`](Self::taken) the others.
    pub(super) async fn ask(
        &mut self,
        list: &str,
        times: usize,
        most: usize,
    ) -> Result<(), Broken> {
        let (list, seconds) = (list.as_bytes(), BLOCKING_SECONDS.to_string());
        let mut commands = one(&[b"BLPOP", list, seconds.as_bytes()]).repeat(times);
        if self.counts {
            commands.extend_from_slice(&one(&[b"LPOP", list, most.to_string().as_bytes()]));
        } else {
            commands.extend_from_slice(&one(&[b"LPOP", list]).repeat(most));
        }
        self.clock.within(PATIENCE, self.wire.send(&commands)).await
    }

    /// A message, or nothing.
    pub(super) async fn waited(&mut self) -> Result<Option<Vec<u8>>, Broken> {
        let mut answers = self.texts(1).await?;
        // The name of the list is before it.
        Ok(answers.pop().and_then(|mut answer| answer.pop()))
    }

    /// What was taken.
    pub(super) async fn taken(&mut self, most: usize) -> Result<Vec<Vec<u8>>, Broken> {
        let answers = if self.counts { 1 } else { most };
        Ok(self.texts(answers).await?.into_iter().flatten().collect())
    }

    /// Deletes lists.
    pub(super) async fn delete(&mut self, lists: &[impl AsRef<str>]) -> Result<(), Broken> {
        let (command, mut accepts) = (deletion(lists), Ok(()));
        let answers = self.wire.ask(&command, 1, |answer| {
            accepts = accepted(&answer);
            Ok(())
        });
        self.clock.within(PATIENCE, answers).await?;
        accepts.map_err(Broken::Denied)
    }

    /// The texts in each of so many answers.
    async fn texts(&mut self, count: usize) -> Result<Vec<Vec<Vec<u8>>>, Broken> {
        let (mut all, mut denied) = (Vec::with_capacity(count), None);
        let answers = self.wire.answers(count, |answer| {
            let items = match answer {
                Reply::List(items) => items,
                Reply::Nil => Vec::new(),
                text @ Reply::Text(_) => vec![text],
                Reply::Refused(said) => {
                    denied = Some(said.to_owned());
                    Vec::new()
                }
                Reply::Word(_) | Reply::Number(_) => return Err(no_texts()),
            };
            let texts = items.into_iter().map(|item| match item {
                Reply::Text(text) => Ok(text.to_vec()),
                Reply::Word(_)
                | Reply::Number(_)
                | Reply::List(_)
                | Reply::Nil
                | Reply::Refused(_) => Err(no_texts()),
            });
            all.push(texts.collect::<io::Result<_>>()?);
            Ok(())
        });
        self.clock.within(PATIENCE, answers).await?;
        denied.map_or(Ok(all), |said| Err(Broken::Denied(said)))
    }
}

impl Wire {
    async fn log_in(&mut self, endpoint: &Endpoint, account: &Account) -> Result<(), Error> {
        let Some(password) = &account.password else { return Ok(()) };
        let words = [b"AUTH", account.user.as_bytes(), password.as_bytes()];
        let (command, mut refused) = (one(&words), None);
        let answered = self.ask(&command, 1, |answer| {
            refused = match answer {
                Reply::Word("OK") => None,
                Reply::Refused(said) => Some(said.to_owned()),
                Reply::Word(_)
                | Reply::Number(_)
                | Reply::Text(_)
                | Reply::List(_)
                | Reply::Nil => {
                    return Err(io::Error::other("an answer to AUTH that is not OK"));
                }
            };
            Ok(())
        });
        let (place, reason) = match (answered.await, refused) {
            (Ok(()), None) => return Ok(()),
            (Ok(()), Some(said)) if said.starts_with("WRONGPASS") => {
                let (place, user) = (endpoint.to_string(), account.user.clone());
                return Err(Error::Login { server: SERVER, place, user });
            }
            (Ok(()), Some(said)) => (endpoint.to_string(), said),
            (Err(error), _) => (endpoint.to_string(), error.to_string()),
        };
        Err(Error::Connection { server: SERVER, place, reason })
    }

    /// Sends commands, and hands on so many answers, in their order.
    async fn ask(
        &mut self,
        commands: &[u8],
        answers: usize,
        hand_on: impl FnMut(Reply<'_>) -> io::Result<()>,
    ) -> io::Result<()> {
        self.send(commands).await?;
        self.answers(answers, hand_on).await
    }

    /// Hands on so many answers, in their order.
    async fn answers(
        &mut self,
        count: usize,
        mut hand_on: impl FnMut(Reply<'_>) -> io::Result<()>,
    ) -> io::Result<()> {
        for _ in 0..count {
            self.answer(&mut hand_on).await?;
        }
        // What a large answer once needed is not kept. Of a buffer that was read to its end,
        // `capacity` tells only what is behind that.
        if self.unread.is_empty() && self.unread.try_reclaim(MOST_KEPT + 1) {
            self.unread = BytesMut::new();
        }
        Ok(())
    }

    /// Sends commands.
    pub(super) async fn send(&mut self, commands: &[u8]) -> io::Result<()> {
        self.stream.write_all(commands).await?;
        self.stream.flush().await
    }

    /// Reads the next answer. Cancel-safe.
    pub(super) async fn answer<T>(
        &mut self,
        read: impl FnOnce(Reply<'_>) -> io::Result<T>,
    ) -> io::Result<T> {
        let mut least = 1;
        loop {
            while self.unread.len() < least {
                self.unread.reserve((least - self.unread.len()).clamp(4 * 1024, MOST_KEPT));
                if self.stream.read_buf(&mut self.unread).await? == 0 {
                    return Err(io::Error::other("Redis has closed the connection"));
                }
            }
            match resp::reply(&self.unread) {
                Ok((reply, length)) => {
                    let read = read(reply);
                    self.unread.advance(length);
                    return read;
                }
                Err(Not::Yet(more)) => least = more,
                Err(never @ Not::Ever) => return Err(io::Error::other(never.to_string())),
            }
        }
    }

    /// Whether the other end has closed it, as far as we have heard. Whatever is sent then has
    /// certainly reached nobody. Only while no answer is due.
    pub(super) fn is_closed(&mut self) -> bool {
        let (mut byte, mut context) = ([0; 1], Context::from_waker(Waker::noop()));
        let mut heard = ReadBuf::new(&mut byte);
        // Nothing comes unasked from a server that is sound.
        Pin::new(&mut self.stream).poll_read(&mut context, &mut heard).is_ready()
    }
}

impl Clock {
    fn new() -> Self {
        let mut interval = tokio::time::interval(LOOK);
        interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self(interval)
    }

    /// What is done within about this time, or why it is not.
    pub(super) async fn within(
        &mut self,
        patience: Duration,
        doing: impl Future<Output = io::Result<()>>,
    ) -> Result<(), Broken> {
        let began = Instant::now();
        let (mut doing, mut overdue) = (pin!(doing), Overdue::default());
        loop {
            tokio::select! {
                biased;
                done = &mut doing => return done.map_err(Broken::from),
                () = self.tick() => {}
            }
            if overdue.look(began.elapsed() >= patience) {
                return Err(silence(patience));
            }
        }
    }

    /// Waits until it is time to look. Cancel-safe.
    pub(super) async fn tick(&mut self) {
        self.0.tick().await;
    }
}

/// What is said of a server that has not answered within this time.
pub(super) fn silence(patience: Duration) -> Broken {
    Broken::Lost(format!("no answer within {} s", patience.as_secs()))
}

/// How long the answers to so many bytes of commands may take.
pub(super) fn patience(bytes: usize) -> Duration {
    PATIENCE + Duration::from_secs((bytes / BYTES_A_SECOND) as u64)
}

/// The command that deletes lists. Of a list that is not there it only shows that the connection
/// works.
pub(super) fn deletion(lists: &[impl AsRef<str>]) -> Vec<u8> {
    let lists = lists.iter().map(AsRef::as_ref);
    let words: Vec<&[u8]> = std::iter::once("DEL").chain(lists).map(str::as_bytes).collect();
    one(&words)
}

fn one(words: &[&[u8]]) -> Vec<u8> {
    let mut command = Vec::new();
    resp::command(&mut command, words.iter().copied());
    command
}

fn no_texts() -> io::Error {
    io::Error::other("an answer that is no list of texts")
}

/// What an answer says about a command that returns a number.
pub(super) fn accepted(answer: &Reply<'_>) -> Result<(), String> {
    match answer {
        Reply::Number(_) => Ok(()),
        Reply::Refused(said) => Err((*said).to_owned()),
        Reply::Word(_) | Reply::Text(_) | Reply::List(_) | Reply::Nil => {
            Err("an answer that is no number".to_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt as _;

    use super::*;

    #[tokio::test]
    async fn the_room_of_a_large_answer_is_not_kept() {
        let (ours, mut theirs) = tokio::io::duplex(64 * 1024);
        let mut wire = Wire { stream: Box::new(ours), unread: BytesMut::new() };
        // Behind so much the buffer has less than that left.
        let length = 17 * MOST_KEPT - MOST_KEPT / 2;
        let serving = tokio::spawn(async move {
            let mut question = [0; 4];
            theirs.read_exact(&mut question).await?;
            theirs.write_all(format!("${length}\r\n{}\r\n", "x".repeat(length)).as_bytes()).await
        });
        let mut seen = 0;
        let answered = wire.ask(b"ask!", 1, |reply| {
            if let Reply::Text(text) = reply {
                seen = text.len();
            }
            Ok(())
        });
        answered.await.expect("an answer");
        serving.await.expect("it goes on").expect("all is read");
        assert_eq!(seen, length);
        assert!(!wire.unread.try_reclaim(MOST_KEPT + 1), "it is kept");
    }

    /// A link to a stand-in that expects each text, and says what is beside it.
    fn scripted(
        exchanges: Vec<(&'static str, &'static str)>,
    ) -> (Link, tokio::task::JoinHandle<()>) {
        let (ours, mut theirs) = tokio::io::duplex(64 * 1024);
        let script = async move {
            for (expected, answer) in exchanges {
                let mut heard = vec![0; expected.len()];
                theirs.read_exact(&mut heard).await.expect("a question");
                assert_eq!(String::from_utf8_lossy(&heard), expected);
                theirs.write_all(answer.as_bytes()).await.expect("all is read");
            }
        };
        let wire = Wire { stream: Box::new(ours), unread: BytesMut::new() };
        (Link { wire, clock: Clock::new(), counts: true }, tokio::spawn(script))
    }

    #[tokio::test]
    async fn where_lpop_knows_no_count_each_message_is_taken_by_its_own() {
        let (mut link, script) = scripted(vec![
            (
                "*3\r\n$4\r\nLPOP\r\n$1\r\na\r\n$1\r\n0\r\n",
                "-ERR wrong number of arguments for 'lpop' command\r\n",
            ),
            (
                "*3\r\n$5\r\nBLPOP\r\n$1\r\na\r\n$1\r\n1\r\n\
                 *2\r\n$4\r\nLPOP\r\n$1\r\na\r\n*2\r\n$4\r\nLPOP\r\n$1\r\na\r\n\
                 *2\r\n$4\r\nLPOP\r\n$1\r\na\r\n",
                "*2\r\n$1\r\na\r\n$1\r\n1\r\n$1\r\n2\r\n$1\r\n3\r\n$-1\r\n",
            ),
        ]);
        link.learn("a").await.expect("an answer");
        link.ask("a", 1, 3).await.expect("asked");
        assert_eq!(link.waited().await.expect("an answer"), Some(b"1".to_vec()));
        assert_eq!(link.taken(3).await.expect("texts"), [b"2".to_vec(), b"3".to_vec()]);
        script.await.expect("as it was to be");
    }

    #[tokio::test]
    async fn where_lpop_knows_a_count_several_are_taken_at_once() {
        for nothing in ["*-1\r\n", "$-1\r\n", "*0\r\n"] {
            let (mut link, script) = scripted(vec![
                ("*3\r\n$4\r\nLPOP\r\n$1\r\na\r\n$1\r\n0\r\n", nothing),
                ("*3\r\n$4\r\nLPOP\r\n$1\r\na\r\n$1\r\n2\r\n", "*2\r\n$1\r\n1\r\n$1\r\n2\r\n"),
            ]);
            link.learn("a").await.expect("an answer");
            link.ask("a", 0, 2).await.expect("asked");
            assert_eq!(link.taken(2).await.expect("texts"), [b"1".to_vec(), b"2".to_vec()]);
            script.await.expect("as it was to be");
        }
    }
}
