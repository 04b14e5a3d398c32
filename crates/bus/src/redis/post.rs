//! Pushes envelopes, and says of each that was not taken why.
//!
//! Law: nobody waits for an answer. A push is under way until Redis has answered for it; when the
//! connection is lost meanwhile, nobody knows whether it has arrived. The answers to a few pushes
//! wake nobody (a refusal does, and the end): they are read before the next push, and looked for
//! now and then.

use std::collections::VecDeque;
use std::future::{pending, ready};
use std::time::{Duration, Instant};

use slackwater_core::osrf::envelope::Refusal;
use tokio::sync::mpsc;

use super::link::{Account, Broken, Link, accepted, deletion, patience, silence};
use super::resp;
use super::site::Site;
use crate::overdue::Overdue;
use crate::recovery::refuse;
use crate::sender::Queued;
use crate::socket::Endpoint;
use crate::{Error, Event};

/// About the most bytes that are pushed at once.
pub(super) const BATCH_BYTES: usize = 4 << 20;
/// So many commands may be under way without a wait: what comes then goes in one batch, once
/// Redis has caught up.
const FEW: usize = 8;
/// So many bytes of answers wake us: those to so many pushes (`:1`), or any refusal.
const NEWS: usize = 4 * FEW;
/// With more bytes than this under way, each answer wakes us: it sets them free.
const LITTLE: usize = 64 * 1024;

/// A connection that pushes.
pub(super) struct Post {
    link: Link,
    wakes_at: usize,
    under_way: VecDeque<UnderWay>,
    /// Bytes of what is under way.
    bytes: usize,
    /// When the first of it was sent, or the last answer came.
    since: Instant,
    /// What was refused, and is not given back yet.
    refused: VecDeque<(Queued, String)>,
}

/// A command that Redis has not answered.
struct UnderWay {
    bytes: usize,
    /// None if it is a word of our own.
    envelope: Option<Queued>,
}

impl Post {
    /// Connects and logs in.
    pub(super) async fn open(
        endpoint: &Endpoint,
        account: &Account,
        patience: Duration,
    ) -> Result<Self, Error> {
        Ok(Self {
            link: Link::open(endpoint, account, patience).await?,
            wakes_at: 1,
            under_way: VecDeque::new(),
            bytes: 0,
            since: Instant::now(),
            refused: VecDeque::new(),
        })
    }

    /// Whether it is time for another push.
    pub(super) fn has_room(&self) -> bool {
        self.under_way.len() < FEW
    }

    /// Pushes `batch` in its order; what cannot be pushed is given back at once. If this fails,
    /// nobody knows which of the others Redis took.
    pub(super) async fn push(
        &mut self,
        site: &Site,
        batch: Vec<Queued>,
        events: &mpsc::Sender<Event>,
    ) -> Result<(), Broken> {
        let room = batch.iter().map(|queued| queued.room.num_permits()).sum();
        let (mut commands, mut sent) = (Vec::with_capacity(room), Vec::with_capacity(batch.len()));
        for queued in batch {
            match site.text(&queued.envelope, queued.inbox) {
                Ok((list, text)) => {
                    let bytes = write_push(&mut commands, list, &text);
                    sent.push(UnderWay { bytes, envelope: Some(queued) });
                }
                Err(why) => refuse(events, &queued.envelope, &why).await,
            }
        }
        self.send(&commands, sent).await
    }

    /// Pushes a text of our own.
    pub(super) async fn push_text(&mut self, list: &str, text: &str) -> Result<(), Broken> {
        let mut command = Vec::new();
        write_push(&mut command, list, text);
        self.send_own(&command).await
    }

    /// Shows the server that we are there, by a list that is not.
    pub(super) async fn show(&mut self, nothing: &str) -> Result<(), Broken> {
        self.send_own(&deletion(&[nothing])).await
    }

    /// Deletes lists, once all else is answered.
    pub(super) async fn delete(
        &mut self,
        lists: &[impl AsRef<str>],
        events: &mpsc::Sender<Event>,
    ) -> Result<(), Broken> {
        self.send_own(&deletion(lists)).await?;
        self.settle(events).await
    }

    /// Reads answers until so many are due. Cancel-safe.
    async fn answers(&mut self, due: usize, events: &mpsc::Sender<Event>) -> Result<(), Broken> {
        let mut overdue = Overdue::default();
        loop {
            while let Some((queued, said)) = self.refused.front() {
                let why = Refusal::NotTaken(format!("Redis refuses it: {said}"));
                refuse(events, &queued.envelope, &why).await;
                self.refused.pop_front();
            }
            if self.under_way.len() <= due {
                return Ok(());
            }
            let Link { wire, clock, .. } = &mut self.link;
            let answer = tokio::select! {
                biased;
                answer = wire.answer(|answer| Ok(accepted(&answer))) => Some(answer?),
                () = clock.tick() => None,
            };
            match answer {
                Some(answer) => self.answered(answer)?,
                None => {
                    let patience = patience(self.bytes);
                    if overdue.look(self.since.elapsed() >= patience) {
                        return Err(silence(patience));
                    }
                    self.link.wire.stream.look();
                }
            }
        }
    }

    /// If there is no room for another push, reads answers until there is; if there is, for as long
    /// as that goes well. Cancel-safe.
    pub(super) async fn room(
        post: &mut Option<Self>,
        events: &mpsc::Sender<Event>,
    ) -> Result<(), Broken> {
        let Some(post) = post else { return pending().await };
        if post.has_room() {
            post.answers(0, events).await?;
            return pending().await;
        }
        post.answers(FEW - 1, events).await
    }

    /// Reads those answers that are there. Fails if the connection is lost, as far as that can be
    /// known: what is pushed then has certainly reached nobody.
    pub(super) async fn look(&mut self, events: &mpsc::Sender<Event>) -> Result<(), Broken> {
        self.link.wire.stream.look();
        tokio::select! {
            biased;
            answered = self.answers(0, events) => answered?,
            () = ready(()) => {}
        }
        if self.under_way.is_empty() && self.link.wire.is_closed() {
            return Err(Broken::Lost("Redis has closed the connection".to_owned()));
        }
        Ok(())
    }

    /// Waits until nothing is under way.
    pub(super) async fn settle(&mut self, events: &mpsc::Sender<Event>) -> Result<(), Broken> {
        self.wake_at(1)?;
        self.answers(0, events).await
    }

    /// Of a connection that is lost: all of which nobody knows whether it has arrived.
    pub(super) fn into_unsure(self) -> impl Iterator<Item = Queued> {
        let under_way = self.under_way.into_iter().filter_map(|sent| sent.envelope);
        self.refused.into_iter().map(|(queued, _)| queued).chain(under_way)
    }

    async fn send_own(&mut self, command: &[u8]) -> Result<(), Broken> {
        let own = UnderWay { bytes: command.len(), envelope: None };
        self.send(command, vec![own]).await
    }

    async fn send(&mut self, commands: &[u8], sent: Vec<UnderWay>) -> Result<(), Broken> {
        if sent.is_empty() {
            return Ok(());
        }
        if self.under_way.is_empty() {
            self.since = Instant::now();
        }
        self.under_way.extend(sent);
        self.bytes += commands.len();
        self.wake_at(if self.bytes > LITTLE { 1 } else { NEWS })?;
        let Link { wire, clock, .. } = &mut self.link;
        clock.within(patience(self.bytes), wire.send(commands)).await
    }

    fn answered(&mut self, answer: Result<(), String>) -> Result<(), Broken> {
        let Some(UnderWay { bytes, envelope }) = self.under_way.pop_front() else { return Ok(()) };
        self.bytes -= bytes;
        self.since = Instant::now();
        match (answer, envelope) {
            (Ok(()), _) => Ok(()),
            (Err(said), None) => Err(Broken::Denied(said)),
            (Err(said), Some(queued)) => {
                self.refused.push_back((queued, said));
                Ok(())
            }
        }
    }

    fn wake_at(&mut self, bytes: usize) -> Result<(), Broken> {
        if self.wakes_at != bytes {
            self.link.wire.stream.wake_at(bytes)?;
            self.wakes_at = bytes;
        }
        Ok(())
    }
}

/// Appends the command that pushes a text, and gives its length.
fn write_push(commands: &mut Vec<u8>, list: &str, text: &str) -> usize {
    let before = commands.len();
    let words = [b"RPUSH", list.as_bytes(), text.as_bytes()];
    resp::command(commands, words.into_iter());
    commands.len() - before
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use slackwater_core::osrf::envelope::{Outgoing, Recipient};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::{TcpListener, TcpStream};
    use tokio::time::timeout;

    use super::*;
    use crate::redis::Options;
    use crate::sender::{Queue, QueueLimits, Sender, queue};

    const SOON: Duration = Duration::from_secs(2);

    /// A connection for pushes, and a server that does what it is told.
    struct Scene {
        post: Post,
        server: TcpStream,
        site: Site,
        sender: Sender,
        queue: Queue,
        events: (mpsc::Sender<Event>, mpsc::Receiver<Event>),
    }

    impl Scene {
        async fn new() -> Self {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a listener");
            let port = listener.local_addr().expect("its address").port();
            let endpoint = Endpoint::Tcp { host: "127.0.0.1".to_owned(), port };
            let site = Site::new(&Options {
                endpoint: endpoint.clone(),
                username: "gateway".to_owned(),
                password: None,
                domain: "127.0.0.1".to_owned(),
                router_name: "router".to_owned(),
                max_message_size: 1 << 20,
                size_warning: None,
                state_directory: "unused".into(),
                sweeps_after: Duration::ZERO,
                queue: QueueLimits::default(),
            });
            let site = site.expect("a site");
            let opening = Post::open(&endpoint, &site.account, SOON);
            let (post, accepted) = tokio::join!(opening, listener.accept());
            let (sender, queue) = queue(QueueLimits::default());
            Self {
                post: post.expect("a connection"),
                server: accepted.expect("a connection").0,
                site,
                sender,
                queue,
                events: mpsc::channel(100),
            }
        }

        async fn push(&mut self, threads: &[&str]) {
            let mut batch = Vec::new();
            for thread in threads {
                let sent = self.sender.send(Outgoing {
                    to: Recipient::Service("a.service".to_owned()),
                    thread: (*thread).to_owned(),
                    xid: "x".to_owned(),
                    body: "[]".to_owned(),
                });
                assert_eq!(sent, Ok(()));
                batch.push(self.queue.next().await.expect("it waits"));
            }
            self.post.push(&self.site, batch, &self.events.0).await.expect("pushed");
            let mut command = vec![0; 64 * 1024];
            let read = self.server.read(&mut command).await.expect("a command");
            assert!(
                command
                    .get(..read)
                    .is_some_and(|command| command.starts_with(b"*3\r\n$5\r\nRPUSH"))
            );
        }

        async fn answer(&mut self, answers: &str) {
            self.server.write_all(answers.as_bytes()).await.expect("answered");
        }

        async fn answers(&mut self) -> Result<(), Broken> {
            let answers = self.post.answers(0, &self.events.0);
            timeout(SOON, answers).await.expect("answers in time")
        }
    }

    #[tokio::test]
    async fn a_refusal_is_told_at_once_though_few_answers_wake_nobody() {
        let mut scene = Scene::new().await;
        let began = Instant::now();
        for _ in 0..10 {
            scene.push(&["refused"]).await;
            scene.answer("-OOM command not allowed when used memory > 'maxmemory'.\r\n").await;
            scene.answers().await.expect("answers");
            let event = scene.events.1.try_recv().expect("an event");
            let Event::Refused { envelope, why } = event else { panic!("{event:?}") };
            assert_eq!(envelope.thread, "refused");
            assert!(why.to_string().contains("OOM"), "{why}");
        }
        // Found by looking only, it would take 250 ms each.
        assert!(began.elapsed() < Duration::from_millis(1_200), "{:?}", began.elapsed());
    }

    #[tokio::test]
    async fn the_answer_to_one_push_is_found_before_long() {
        let mut scene = Scene::new().await;
        for bytes in [2, 2, 70_000] {
            scene.push(&[&"x".repeat(bytes)]).await;
            scene.answer(":1\r\n").await;
            scene.answers().await.expect("answers");
            assert_eq!((scene.post.under_way.len(), scene.post.bytes), (0, 0));
        }
    }

    #[tokio::test]
    async fn whoever_was_held_up_does_not_take_the_connection_for_lost() {
        let mut scene = Scene::new().await;
        for answer in [":1\r\n", ""] {
            scene.push(&["x"]).await;
            scene.answer(answer).await;
            scene.post.since = Instant::now() - Duration::from_secs(10);
            assert_eq!(scene.answers().await.is_ok(), !answer.is_empty());
        }
    }

    #[tokio::test]
    async fn whoever_was_held_up_while_he_waited_does_not_either() {
        let mut scene = Scene::new().await;
        scene.push(&["x"]).await;
        let mut answers = pin!(scene.post.answers(0, &scene.events.0));
        assert!(timeout(Duration::from_millis(1), &mut answers).await.is_err(), "none is there");
        scene.server.write_all(b":1\r\n").await.expect("answered");
        std::thread::sleep(patience(0) + Duration::from_millis(100));
        timeout(SOON, answers).await.expect("in time").expect("it was answered long ago");
    }

    #[tokio::test]
    async fn with_a_few_under_way_there_is_no_room_until_they_are_answered() {
        let mut scene = Scene::new().await;
        for number in 0..FEW {
            assert!(scene.post.has_room(), "{number}");
            scene.push(&["x"]).await;
        }
        assert!(!scene.post.has_room());
        scene.answer(&":1\r\n".repeat(FEW)).await;
        let (mut post, events) = (Some(scene.post), scene.events.0);
        timeout(SOON, Post::room(&mut post, &events)).await.expect("in time").expect("room");
        assert!(post.is_some_and(|post| post.has_room()));
    }

    #[tokio::test]
    async fn what_is_not_answered_when_the_connection_is_lost_is_unsure_and_nothing_else() {
        let mut scene = Scene::new().await;
        scene.push(&["taken"]).await;
        scene.push(&["unsure", "too"]).await;
        scene.push(&["also"]).await;
        scene.answer(":1\r\n").await;
        scene.server.shutdown().await.expect("closed");
        let broken = scene.answers().await.expect_err("it is lost");
        assert!(broken.to_string().contains("closed"), "{broken}");
        let unsure: Vec<String> =
            scene.post.into_unsure().map(|queued| queued.envelope.thread).collect();
        assert_eq!(unsure, ["unsure", "too", "also"]);
    }

    #[tokio::test]
    async fn a_connection_that_was_closed_is_seen_to_be_before_anything_is_pushed() {
        let mut scene = Scene::new().await;
        scene.push(&["taken"]).await;
        scene.post.look(&scene.events.0).await.expect("it is there");
        scene.answer(":1\r\n").await;
        scene.answers().await.expect("an answer");
        scene.server.shutdown().await.expect("closed");
        let looked = scene.post.look(&scene.events.0).await;
        assert!(looked.is_err(), "{looked:?}");
    }
}
