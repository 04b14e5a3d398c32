//! How things look on a terminal. What clients have written (methods, threads) is shown without
//! its control characters, which could make a terminal lie, and cut to a bearable length.

use std::time::Duration;

use crate::config::Period;
use crate::operate::status::{Connection, Phase};

/// The longest name that a client gave which is shown whole, in characters.
const LONGEST_NAME: usize = 60;

/// The longest explanation that is shown whole, in characters.
const LONGEST_WORDS: usize = 1_000;

/// A name that a client gave.
pub(super) fn foreign(text: &str) -> String {
    harmless(text, LONGEST_NAME)
}

/// What the other side says in words.
pub(super) fn words(text: &str) -> String {
    harmless(text, LONGEST_WORDS)
}

/// A duration to the second: `2m3s`. Negative counts as zero.
pub(super) fn seconds(seconds: f64) -> String {
    let whole = Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or(Duration::MAX).as_secs();
    Period::from(Duration::from_secs(whole)).to_string()
}

/// `1 connection`, `2 connections`.
pub(super) fn counted(number: u64, noun: &str) -> String {
    let ending = if number == 1 { "" } else { "s" };
    format!("{number} {noun}{ending}")
}

/// The name of a phase.
pub(super) fn phase(phase: Phase) -> &'static str {
    match phase {
        Phase::Serving => "serving",
        Phase::Announce => "announce",
        Phase::Refuse => "refuse",
        Phase::Ebb => "ebb",
        Phase::Drained => "drained",
    }
}

/// Who holds a drain, and with what: the oldest request, or else a session.
pub(super) fn holder(connection: &Connection) -> String {
    let client = foreign(&connection.client);
    let unnamed = || "(no service)".to_owned();
    let service = |name: &Option<String>| name.as_deref().map_or_else(unnamed, foreign);
    if let Some(oldest) = connection.pending.first() {
        let method = foreign(&oldest.method);
        let age = seconds(oldest.age_seconds);
        let more = match connection.pending.len() - 1 {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        return format!("{client}  {} {method}  {age}{more}", service(&oldest.service));
    }
    match connection.sessions.first() {
        Some(session) => {
            let age = seconds(session.age_seconds);
            format!("{client}  session with {}  {age}", service(&session.service))
        }
        None => format!("{client}  {}", foreign(&connection.phase)),
    }
}

fn harmless(text: &str, longest: usize) -> String {
    let mut shown: String = text
        .chars()
        .take(longest)
        .map(|character| if is_harmless(character) { character } else { '\u{fffd}' })
        .collect();
    if text.chars().nth(longest).is_some() {
        shown.push('…');
    }
    shown
}

/// Neither a control character nor one that turns the writing direction around.
fn is_harmless(character: char) -> bool {
    !character.is_control()
        && !matches!(character, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{2028}' | '\u{2029}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operate::status::{OpenSession, PendingRequest};

    #[test]
    fn a_client_cannot_write_to_the_operators_terminal() {
        assert_eq!(foreign("plain ü"), "plain ü");
        assert_eq!(foreign("\u{1b}[2Jx\ny\u{9b}\u{202e}"), "\u{fffd}[2Jx\u{fffd}y\u{fffd}\u{fffd}");
        assert_eq!(foreign(&"x".repeat(60)), "x".repeat(60));
        assert_eq!(foreign(&"x".repeat(61)), format!("{}…", "x".repeat(60)));
    }

    #[test]
    fn odd_seconds_are_shown_too() {
        for (number, text) in [(0.4, "0s"), (123.9, "2m3s"), (-3.0, "0s"), (f64::NAN, "0s")] {
            assert_eq!(seconds(number), text);
        }
    }

    #[test]
    fn a_holder_is_named_by_its_oldest_request_or_its_session() {
        let request = |method: &str| PendingRequest {
            service: Some("opensrf.math".to_owned()),
            method: method.to_owned(),
            thread: "t".to_owned(),
            trace: "1".to_owned(),
            age_seconds: 3.2,
        };
        let mut connection = Connection {
            id: 1,
            client: "10.0.0.1:5000".to_owned(),
            phase: "draining".to_owned(),
            age_seconds: 9.0,
            idle_seconds: 1.0,
            pending: vec![request("add"), request("sub")],
            sessions: vec![OpenSession {
                service: None,
                thread: "t".to_owned(),
                worker: None,
                age_seconds: 61.0,
            }],
            queued_bytes: 0,
        };
        assert_eq!(holder(&connection), "10.0.0.1:5000  opensrf.math add  3s and 1 more");
        connection.pending.clear();
        assert_eq!(holder(&connection), "10.0.0.1:5000  session with (no service)  1m1s");
        connection.sessions.clear();
        assert_eq!(holder(&connection), "10.0.0.1:5000  draining");
    }
}
