//! The scenarios as they were captured, read from `data/`. The format is line by line:
//!
//! | line | what it is |
//! |---|---|
//! | `== redis/stateless_add` | a scenario begins |
//! | `> text` | a frame from the client; `>json "text"` if the text would not keep to one line, `>binary text` for a binary frame that holds this text |
//! | `^ router text`, `^ worker text` | the envelope that the gateway pushed for the frame before it: to the router, or to a worker, which stands in `to`. What went out in a stanza stands here as it would on Redis, but for addresses |
//! | `^ nothing` | it pushed nothing for that frame |
//! | `< text` | an answer to the client |
//! | `close` | the client closed |
//! | `signal USR1` | the gateway process got a signal |
//! | `silence 1.5` | the client waited so many seconds in vain |
//! | `ended 1006`, `ended exit -11` | the gateway closed, or its process ended |
//!
//! A line about one of several sockets begins with its name, `b > text`. After a `close` the next
//! frame is on a new connection. The last two lines say what the reference did and are not
//! replayed. In a text, `⟦x×2000⟧` stands for `x` 2,000 times, and `⟦count 7 9⟧` for
//! `0000007,0000008,0000009,`.

use std::fmt::Write as _;

use slackwater_lab::site::Bus;

/// One scenario.
#[derive(Debug)]
pub(crate) struct Scenario {
    /// Its name, beginning with where it was captured.
    pub(crate) name: String,
    /// What happened, in order.
    pub(crate) steps: Vec<Step>,
}

impl Scenario {
    /// Whether it was captured on a bus of this kind, so that what goes out there can be compared.
    pub(crate) fn is_from(&self, bus: Bus) -> bool {
        match bus {
            Bus::Embedded => false,
            Bus::Redis => self.name.starts_with("redis/"),
            Bus::Xmpp(_) => self.name.starts_with("xmpp/"),
        }
    }

    /// How many frames the client sent.
    pub(crate) fn frames(&self) -> usize {
        self.steps.iter().filter(|step| matches!(step.event, Event::Sent(_))).count()
    }
}

/// Something that happened, on one of the client's sockets.
#[derive(Debug)]
pub(crate) struct Step {
    /// The socket's name.
    pub(crate) socket: char,
    /// What happened.
    pub(crate) event: Event,
}

/// What happened.
#[derive(Debug)]
pub(crate) enum Event {
    /// The client sent a frame.
    Sent(Frame),
    /// The gateway pushed an envelope for the last frame, or none.
    Pushed(Option<(List, String)>),
    /// The client was answered.
    Answered(String),
    /// The client closed.
    Closed,
    /// The gateway process got this signal.
    Signalled(String),
}

/// Where an envelope is pushed to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum List {
    /// The list of the gateway's router.
    Router,
    /// The list of the worker that a session is with.
    Worker,
}

/// A frame from the client.
#[derive(Debug, Clone)]
pub(crate) enum Frame {
    /// Text.
    Text(String),
    /// Bytes, which hold this text.
    Binary(String),
}

impl Frame {
    /// What it says.
    pub(crate) fn text(&self) -> &str {
        match self {
            Self::Text(text) | Self::Binary(text) => text,
        }
    }
}

/// All scenarios, in the order of the files.
pub(crate) fn all() -> Vec<Scenario> {
    let files = [
        include_str!("data/redis.txt"),
        include_str!("data/xmpp.txt"),
        include_str!("data/prosody.txt"),
    ];
    let mut scenarios: Vec<Scenario> = Vec::new();
    for line in files.iter().flat_map(|file| file.split_terminator('\n')) {
        if let Some(name) = line.strip_prefix("== ") {
            scenarios.push(Scenario { name: name.to_owned(), steps: Vec::new() });
        } else {
            let scenario = scenarios.last_mut().expect("a file begins with a scenario");
            scenario.steps.extend(step(line));
        }
    }
    scenarios
}

fn step(line: &str) -> Option<Step> {
    let (socket, rest) = match line.as_bytes() {
        [name @ (b'a' | b'b'), b' ', ..] => (char::from(*name), &line[2..]),
        _ => ('a', line),
    };
    let (word, text) = rest.split_once(' ').unwrap_or((rest, ""));
    let event = match word {
        ">" => Event::Sent(Frame::Text(expand(text))),
        ">json" => Event::Sent(Frame::Text(serde_json::from_str(text).expect("a JSON string"))),
        ">binary" => Event::Sent(Frame::Binary(expand(text))),
        "^" => match text.split_once(' ') {
            Some(("router", text)) => Event::Pushed(Some((List::Router, expand(text)))),
            Some(("worker", text)) => Event::Pushed(Some((List::Worker, expand(text)))),
            None if text == "nothing" => Event::Pushed(None),
            _ => panic!("no such list: {line}"),
        },
        "<" => Event::Answered(expand(text)),
        "close" => Event::Closed,
        "signal" => Event::Signalled(text.to_owned()),
        "silence" | "ended" => return None,
        _ => panic!("no such line: {line}"),
    };
    Some(Step { socket, event })
}

/// Writes out what is abbreviated.
fn expand(text: &str) -> String {
    let mut parts = text.split('⟦');
    let mut expanded = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (short, rest) = part.split_once('⟧').expect("⟦ is closed by ⟧");
        if let Some(numbers) = short.strip_prefix("count ") {
            let (first, last) = numbers.split_once(' ').expect("two numbers");
            let number = |text: &str| text.parse::<u32>().expect("a number");
            for number in number(first)..=number(last) {
                write!(expanded, "{number:07},").expect("a String takes all");
            }
        } else {
            let (unit, times) = short.rsplit_once('×').expect("a unit and a number");
            expanded.push_str(&unit.repeat(times.parse().expect("a number")));
        }
        expanded.push_str(rest);
    }
    expanded
}

#[test]
fn abbreviations_are_written_out() {
    assert_eq!(expand("a⟦é<×3⟧b⟦count 9 10⟧"), "aé<é<é<b0000009,0000010,");
}
