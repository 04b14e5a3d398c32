//! What the ledger means, said as naively as can be: a list of all requests there ever were, each
//! with its fate, and a list of conversations. Nothing is ever struck out, and everything is found
//! by looking through the lists.

use slackwater_core::event::Counters;

use crate::bench::{Said, said};

/// What became of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// Waits behind a CONNECT.
    Held,
    /// Sent on, unanswered.
    Sent,
    /// Its final answer is given out and not yet written.
    Given,
    Answered,
    Rejected,
    /// Sent on, and the bus gave it back.
    Recalled,
    Crossed,
    CutOff,
    ClientGone,
    ServiceGone,
    BusLost,
}

#[derive(Debug)]
pub(crate) struct Request {
    /// Unique over the whole script.
    pub(crate) method: String,
    trace: u32,
    conversation: Option<usize>,
    pub(crate) fate: Fate,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Bond {
    None,
    Opening { connect: u32, leaves: bool },
    Open,
    Over,
}

#[derive(Debug)]
pub(crate) struct Conversation {
    pub(crate) thread: String,
    bond: Bond,
    /// CONNECTs that wait behind the first.
    again: Vec<u32>,
    /// Whether its thread leads to it.
    current: bool,
}

/// One message of a client.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Word {
    Connect(u32),
    Request(u32),
    BadRequest(u32),
    Disconnect,
}

/// One message from the bus.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Answer {
    Result,
    Connected,
    Complete,
    WorkerLeft,
    Failed,
    EnvelopeRefused,
}

/// The bounds that the model knows.
pub(crate) const MAX_REQUESTS: usize = 5;
pub(crate) const MAX_SESSIONS: usize = 2;

#[derive(Debug, Default)]
pub(crate) struct Model {
    pub(crate) requests: Vec<Request>,
    pub(crate) conversations: Vec<Conversation>,
    pub(crate) bus_is_down: bool,
    pub(crate) sessions_cut_off: usize,
    /// What the client has to be told in this step.
    pub(crate) told: Vec<Said>,
}

impl Model {
    /// A wrapper from the client. `methods` has a name for each REQUEST in it.
    pub(crate) fn say(
        &mut self,
        thread: &str,
        names_service: bool,
        words: &[Word],
        methods: &[String],
        executes: bool,
    ) {
        let mut methods = methods.iter();
        let mut part = Vec::new();
        for word in words {
            match word {
                Word::BadRequest(trace) => {
                    let method = methods.next().expect("a name for each request");
                    self.enter(None, *trace, method, Fate::Rejected);
                    self.told.push(said(thread, *trace, 400));
                }
                Word::Request(_) => part.push((*word, methods.next())),
                Word::Connect(_) => part.push((*word, None)),
                Word::Disconnect => {
                    part.push((*word, None));
                    self.say_part(thread, names_service, &std::mem::take(&mut part), executes);
                }
            }
        }
        self.say_part(thread, names_service, &part, executes);
    }

    /// A wrapper that comes after our Close.
    pub(crate) fn cross(&mut self, words: &[Word], methods: &[String]) {
        let mut methods = methods.iter();
        for word in words {
            if let Word::Request(trace) | Word::BadRequest(trace) = word {
                let method = methods.next().expect("a name for each request");
                self.enter(None, *trace, method, Fate::Crossed);
            }
        }
    }

    fn say_part(
        &mut self,
        thread: &str,
        names_service: bool,
        part: &[(Word, Option<&String>)],
        executes: bool,
    ) {
        let session = self.conversations.iter().position(|c| c.thread == thread && c.current);
        let requests: Vec<(u32, &String)> = part
            .iter()
            .filter_map(|(word, method)| {
                let Word::Request(trace) = word else { return None };
                Some((*trace, (*method)?))
            })
            .collect();
        let connects: Vec<u32> = part
            .iter()
            .filter_map(|(word, _)| {
                let Word::Connect(trace) = word else { return None };
                Some(*trace)
            })
            .collect();
        let leaves = part.iter().any(|(word, _)| matches!(word, Word::Disconnect));

        let asks = !requests.is_empty() || !connects.is_empty();
        let in_flight = self.count(Fate::Sent) + self.count(Fate::Held);
        let too_many = !requests.is_empty() && in_flight + requests.len() > MAX_REQUESTS;
        let begins = !connects.is_empty() && session.is_none();
        let nowhere = session.is_none() && !names_service;
        let refused = nowhere
            || self.bus_is_down
            || !executes
            || too_many
            || (begins && self.sessions() >= MAX_SESSIONS);
        if asks && refused {
            let code = if nowhere { 400 } else { 503 };
            for (trace, method) in &requests {
                self.enter(None, *trace, method, Fate::Rejected);
                self.told.push(said(thread, *trace, code));
            }
            self.told.extend(connects.iter().map(|trace| said(thread, *trace, code)));
            if leaves && session.is_some() {
                self.say_part(thread, names_service, &[(Word::Disconnect, None)], executes);
            }
            return;
        }

        let (place, fate) = match session.map(|place| (place, self.conversations[place].bond)) {
            None if !asks => return,
            None => {
                let bond = connects
                    .first()
                    .map_or(Bond::None, |connect| Bond::Opening { connect: *connect, leaves });
                let current = bond != Bond::None && !leaves;
                let (thread, again) = (thread.to_owned(), Vec::new());
                self.conversations.push(Conversation { thread, bond, again, current });
                (self.conversations.len() - 1, Fate::Sent)
            }
            Some((place, Bond::Opening { connect, leaves: left })) => {
                self.conversations[place].bond = Bond::Opening { connect, leaves: left || leaves };
                self.conversations[place].again.extend(&connects);
                (place, Fate::Held)
            }
            Some((place, _)) => {
                if leaves {
                    self.conversations[place].bond = Bond::Over;
                }
                (place, Fate::Sent)
            }
        };
        if leaves {
            self.conversations[place].current = false;
        }
        for (trace, method) in &requests {
            self.enter(Some(place), *trace, method, fate);
        }
    }

    /// A message from the bus for a conversation.
    pub(crate) fn answer(&mut self, place: usize, answer: Answer, trace: u32) {
        if !self.is_pending(place) {
            return;
        }
        let thread = self.conversations[place].thread.clone();
        let bond = self.conversations[place].bond;
        let named = self.oldest(place, trace);
        let everything = match answer {
            Answer::Result | Answer::Connected | Answer::Complete => false,
            Answer::WorkerLeft => bond == Bond::None && named.is_none(),
            Answer::Failed => bond != Bond::Open && named.is_none(),
            Answer::EnvelopeRefused => bond != Bond::Open,
        };
        if everything {
            self.fail(place, if matches!(answer, Answer::WorkerLeft) { 408 } else { 404 });
            return;
        }
        match answer {
            Answer::Result => {}
            Answer::Connected => {
                self.told.push(said(&thread, trace, 200));
                if let Bond::Opening { leaves, .. } = bond {
                    self.turn_held(place, Fate::Sent);
                    self.conversations[place].bond = if leaves { Bond::Over } else { Bond::Open };
                }
            }
            Answer::Complete => {
                self.told.push(said(&thread, trace, 205));
                self.give(named);
            }
            Answer::Failed | Answer::EnvelopeRefused => {
                self.told.push(said(&thread, trace, 404));
                self.give(named);
            }
            Answer::WorkerLeft => {
                self.told.push(said(&thread, trace, 408));
                self.give(named);
                if bond != Bond::None {
                    let mut traces = self.turn_held(place, Fate::Rejected);
                    traces.extend(self.turn(place, Fate::Sent, Fate::ServiceGone));
                    self.told.extend(traces.iter().map(|trace| said(&thread, *trace, 503)));
                    self.end(place);
                }
            }
        }
    }

    /// All that was sent with the first envelope of a conversation has failed.
    fn fail(&mut self, place: usize, code: u16) {
        let Conversation { thread, bond, .. } = &self.conversations[place];
        let (thread, bond) = (thread.clone(), *bond);
        if let Bond::Opening { connect, .. } = bond {
            self.told.push(said(&thread, connect, code));
        }
        let mut traces = self.turn_held(place, Fate::Rejected);
        traces.extend(self.turn(place, Fate::Sent, Fate::Given));
        self.told.extend(traces.iter().map(|trace| said(&thread, *trace, code)));
        if bond != Bond::None {
            self.end(place);
        }
    }

    /// The bus did not take an envelope with these requests in it.
    pub(crate) fn refuse(&mut self, place: usize, connects: bool, traces: &[u32]) {
        if !self.is_pending(place) {
            return;
        }
        let thread = self.conversations[place].thread.clone();
        for trace in traces {
            if let Some(request) = self.oldest(place, *trace) {
                self.requests[request].fate = Fate::Recalled;
                self.told.push(said(&thread, *trace, 503));
            }
        }
        if let Bond::Opening { connect, .. } = self.conversations[place].bond
            && connects
        {
            self.told.push(said(&thread, connect, 503));
            for trace in self.turn_held(place, Fate::Rejected) {
                self.told.push(said(&thread, trace, 503));
            }
            self.end(place);
        }
    }

    /// Everything ends at once; whoever is still there is told.
    pub(crate) fn end_all(&mut self, fate: Fate, tells: bool) {
        for place in 0..self.conversations.len() {
            self.end_one(place, fate, tells);
        }
    }

    /// A conversation ends before its time.
    pub(crate) fn end_one(&mut self, place: usize, fate: Fate, tells: bool) {
        if !self.is_pending(place) {
            return;
        }
        let Conversation { thread, bond, .. } = &self.conversations[place];
        let (thread, bond) = (thread.clone(), *bond);
        if fate == Fate::CutOff && matches!(bond, Bond::Opening { .. } | Bond::Open) {
            self.sessions_cut_off += 1;
        }
        let mut told = Vec::new();
        if let Bond::Opening { connect, .. } = bond {
            told.push((connect, 504));
        }
        told.extend(self.turn(place, Fate::Sent, fate).into_iter().map(|trace| (trace, 504)));
        let held = self.turn_held(place, Fate::Rejected);
        told.extend(held.into_iter().map(|trace| (trace, 503)));
        if fate == Fate::BusLost && bond == Bond::Open {
            told.push((0, 408));
        }
        if tells {
            self.told.extend(told.iter().map(|(trace, code)| said(&thread, *trace, *code)));
        }
        self.end(place);
    }

    /// An envelope of a conversation came back.
    pub(crate) fn bounce(&mut self, place: usize) {
        if !self.is_pending(place) {
            return;
        }
        let Conversation { thread, bond, .. } = &self.conversations[place];
        let (thread, bond) = (thread.clone(), *bond);
        let mut told = Vec::new();
        let (fate, code) = match bond {
            Bond::None | Bond::Opening { .. } => (Fate::Given, 404),
            Bond::Open | Bond::Over => (Fate::ServiceGone, 504),
        };
        if let Bond::Opening { connect, .. } = bond {
            told.push((connect, code));
        }
        told.extend(self.turn(place, Fate::Sent, fate).into_iter().map(|trace| (trace, code)));
        let held = self.turn_held(place, Fate::Rejected);
        told.extend(held.into_iter().map(|trace| (trace, code)));
        if bond == Bond::Open {
            told.push((0, 408));
        }
        self.told.extend(told.iter().map(|(trace, code)| said(&thread, *trace, *code)));
        self.end(place);
    }

    /// All that has been said has reached the kernel, or never will.
    pub(crate) fn flush(&mut self, fate: Fate) {
        for request in &mut self.requests {
            if request.fate == Fate::Given {
                request.fate = fate;
            }
        }
    }

    /// Whether no request and no session is pending: slack water, but for what is being written.
    pub(crate) fn is_settled(&self) -> bool {
        (0..self.conversations.len()).all(|place| !self.is_pending(place))
    }

    pub(crate) fn sessions(&self) -> usize {
        let is_tied = |c: &&Conversation| matches!(c.bond, Bond::Opening { .. } | Bond::Open);
        self.conversations.iter().filter(is_tied).count()
    }

    pub(crate) fn count(&self, fate: Fate) -> usize {
        self.requests.iter().filter(|request| request.fate == fate).count()
    }

    /// Asserts that the sums over the list are the counters.
    pub(crate) fn agrees_with(&self, counters: &Counters) {
        let count =
            |fates: &[Fate]| fates.iter().map(|fate| self.count(*fate)).sum::<usize>() as u64;
        assert_eq!(counters.received, self.requests.len() as u64, "received");
        assert_eq!(counters.held, count(&[Fate::Held]), "held");
        assert_eq!(counters.pending, count(&[Fate::Sent, Fate::Given]), "pending");
        assert_eq!(counters.answered, count(&[Fate::Answered]), "answered");
        assert_eq!(counters.rejected, count(&[Fate::Rejected, Fate::Recalled]), "rejected");
        assert_eq!(counters.crossed_requests, count(&[Fate::Crossed]), "crossed");
        assert_eq!(counters.cut_off, count(&[Fate::CutOff]), "cut off");
        assert_eq!(counters.client_gone, count(&[Fate::ClientGone]), "client gone");
        assert_eq!(counters.service_gone, count(&[Fate::ServiceGone]), "service gone");
        assert_eq!(counters.bus_lost, count(&[Fate::BusLost]), "bus lost");
        assert_eq!(counters.sessions, self.sessions() as u64, "sessions");
        let lost = self.count(Fate::CutOff) + self.sessions_cut_off;
        assert_eq!(counters.lost_replies, lost as u64, "lost replies");
    }

    fn enter(&mut self, conversation: Option<usize>, trace: u32, method: &str, fate: Fate) {
        let method = method.to_owned();
        self.requests.push(Request { method, trace, conversation, fate });
    }

    fn is_pending(&self, place: usize) -> bool {
        let of_place = |request: &Request| {
            request.conversation == Some(place) && matches!(request.fate, Fate::Sent | Fate::Held)
        };
        let bond = self.conversations.get(place).map(|conversation| conversation.bond);
        matches!(bond, Some(Bond::Opening { .. } | Bond::Open))
            || self.requests.iter().any(of_place)
    }

    fn oldest(&self, place: usize, trace: u32) -> Option<usize> {
        self.requests.iter().position(|request| {
            request.conversation == Some(place)
                && request.trace == trace
                && request.fate == Fate::Sent
        })
    }

    fn give(&mut self, request: Option<usize>) {
        if let Some(request) = request {
            self.requests[request].fate = Fate::Given;
        }
    }

    fn turn(&mut self, place: usize, fate: Fate, then: Fate) -> Vec<u32> {
        let mut traces = Vec::new();
        for request in &mut self.requests {
            if request.conversation == Some(place) && request.fate == fate {
                request.fate = then;
                traces.push(request.trace);
            }
        }
        traces
    }

    /// What waited behind the CONNECT waits no more: all that wants an answer.
    fn turn_held(&mut self, place: usize, then: Fate) -> Vec<u32> {
        let mut traces = std::mem::take(&mut self.conversations[place].again);
        traces.extend(self.turn(place, Fate::Held, then));
        traces
    }

    fn end(&mut self, place: usize) {
        let conversation = &mut self.conversations[place];
        if conversation.bond != Bond::None {
            conversation.bond = Bond::Over;
        }
        conversation.current = false;
    }
}
