//! The three-sided ledger: what clients saw, what the gateway counted, what the bus executed must
//! be one story (DRAIN.md, invariants 1 to 3).

use std::collections::{HashMap, VecDeque};
use std::ops::AddAssign;

use serde_json::Value;

use crate::opensrf::Answer;

/// A request, by the client's own names: thread and trace.
pub type Key = (String, u32);

/// What one client has sent on one connection, and what it has seen of it.
#[derive(Debug, Default)]
pub struct Ledger {
    open: HashMap<Key, Asked>,
    totals: Totals,
}

/// A request without its final answer.
#[derive(Debug)]
struct Asked {
    /// What its results must be, in order.
    wanted: VecDeque<Value>,
    /// Of a result that comes in chunks, what has come.
    chunks: String,
}

/// What became of a request, in the client's eyes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// All its results came, and its end.
    Answered,
    /// 503: it was not executed.
    Refused,
    /// 404: nobody served it, while a bus came back.
    Unserved,
    /// 504: nobody knows.
    Unknown,
}

/// Sums over requests.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Requests that clients sent.
    pub sent: u64,
    /// Of these, answered in full.
    pub answered: u64,
    /// Of these, refused with 503.
    pub refused: u64,
    /// Of these, told with 404 that nobody serves them.
    pub unserved: u64,
    /// Of these, given up with 504.
    pub unknown: u64,
    /// Of these, left without an answer by a Close.
    pub unanswered: u64,
}

impl Ledger {
    /// A request goes out. Its results must be `wanted`, which nobody else's should be.
    pub fn ask(&mut self, key: Key, wanted: impl IntoIterator<Item = Value>) {
        self.totals.sent += 1;
        let wanted = wanted.into_iter().collect();
        self.open.insert(key, Asked { wanted, chunks: String::new() });
    }

    /// An answer has come. Gives the request that it is the end of.
    ///
    /// # Errors
    /// It answers nothing that was asked, or with what was not asked for.
    pub fn hear(&mut self, answer: &Answer) -> Result<Option<(Key, Verdict)>, String> {
        let key = (answer.thread.clone(), answer.trace);
        let wrong = || format!("an answer that was not asked for: {answer:?}");
        let asked = self.open.get_mut(&key).ok_or_else(wrong)?;
        if !answer.is_final() {
            return match asked.result(answer) {
                true => Ok(None),
                false => Err(wrong()),
            };
        }
        let verdict = match answer.code {
            205 if asked.wanted.is_empty() => Verdict::Answered,
            404 => Verdict::Unserved,
            503 => Verdict::Refused,
            504 => Verdict::Unknown,
            _ => return Err(format!("{answer:?} while these were to come: {:?}", asked.wanted)),
        };
        self.open.remove(&key);
        *match verdict {
            Verdict::Answered => &mut self.totals.answered,
            Verdict::Refused => &mut self.totals.refused,
            Verdict::Unserved => &mut self.totals.unserved,
            Verdict::Unknown => &mut self.totals.unknown,
        } += 1;
        Ok(Some((key, verdict)))
    }

    /// Requests without their final answer.
    #[must_use]
    pub fn open(&self) -> usize {
        self.open.len()
    }

    /// The connection has ended: what has no answer will get none.
    #[must_use]
    pub fn close(self) -> Totals {
        Totals { unanswered: self.open.len() as u64, ..self.totals }
    }
}

impl Asked {
    /// Whether this part of an answer is what had to come.
    fn result(&mut self, answer: &Answer) -> bool {
        match answer.code {
            206 => {
                self.chunks.push_str(answer.content.as_str().unwrap_or_default());
                true
            }
            204 => {
                let whole = serde_json::from_str::<Value>(&std::mem::take(&mut self.chunks)).ok();
                whole.is_some() && whole == self.wanted.pop_front()
            }
            _ => self.wanted.pop_front().is_some_and(|wanted| wanted == answer.content),
        }
    }
}

impl AddAssign for Totals {
    fn add_assign(&mut self, other: Self) {
        self.sent += other.sent;
        self.answered += other.answered;
        self.refused += other.refused;
        self.unserved += other.unserved;
        self.unknown += other.unknown;
        self.unanswered += other.unanswered;
    }
}

impl Totals {
    /// Compares the three sides at the end, when nothing is under way: these sums over all
    /// clients, the gateway's status, and how many requests the bus executed.
    ///
    /// # Errors
    /// What disagrees.
    pub fn agree(&self, status: &Value, executed_by_bus: u64) -> Result<(), String> {
        balanced(status)?;
        let count = |name: &str| status[name].as_u64().unwrap_or(u64::MAX);
        let pairs = [
            ("sent, received", self.sent, count("received")),
            ("answers seen, answered", self.answered, count("answered")),
            ("503 seen, rejected", self.refused, count("rejected")),
            ("404 seen, nothing", self.unserved, 0),
            ("504 seen, cut_off", self.unknown, count("cut_off")),
            ("unanswered, crossed_requests", self.unanswered, count("crossed_requests")),
            ("executed by the bus, executed", executed_by_bus, count("executed")),
            ("nothing, pending_requests", 0, count("pending_requests")),
            ("nothing, client_gone", 0, count("client_gone")),
            ("nothing, service_gone", 0, count("service_gone")),
            ("nothing, bus_lost", 0, count("bus_lost")),
        ];
        let wrong: Vec<_> = pairs.into_iter().filter(|(_, one, other)| one != other).collect();
        if wrong.is_empty() { Ok(()) } else { Err(format!("{wrong:?} of {self:?} and {status}")) }
    }
}

/// Whether a status accounts for every request, exactly once: at any instant.
///
/// # Errors
/// What does not add up.
pub fn balanced(status: &Value) -> Result<(), String> {
    let count = |name: &str| status[name].as_u64().ok_or_else(|| format!("no {name}: {status}"));
    // `pending_requests` has those in it that wait behind a CONNECT, and are not executed.
    let held = count("held")?;
    let mut settled = count("pending_requests")?
        .checked_sub(held)
        .ok_or_else(|| format!("more held than pending: {status}"))?;
    for name in ["answered", "cut_off", "client_gone", "service_gone", "bus_lost"] {
        settled += count(name)?;
    }
    let taken = count("executed")? + count("rejected")? + count("crossed_requests")? + held;
    if settled != count("executed")? || taken != count("received")? {
        return Err(format!("the status does not add up: {status}"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn answer(trace: u32, code: u16, is_status: bool, content: Value) -> Answer {
        Answer { thread: "t".into(), trace, code, is_status, text: String::new(), content }
    }

    #[test]
    fn a_foreign_a_double_and_a_wrong_answer_are_noticed() {
        let mut ledger = Ledger::default();
        let key = || ("t".to_owned(), 1);
        ledger.ask(key(), [json!("mine")]);
        assert!(ledger.hear(&answer(2, 200, false, json!("mine"))).is_err());
        assert!(ledger.hear(&answer(1, 205, true, Value::Null)).is_err(), "its result is missing");
        assert!(ledger.hear(&answer(1, 200, false, json!("yours"))).is_err());

        ledger.ask(key(), [json!("mine")]);
        assert_eq!(ledger.hear(&answer(1, 200, false, json!("mine"))), Ok(None));
        let end = answer(1, 205, true, Value::Null);
        assert_eq!(ledger.hear(&end), Ok(Some((key(), Verdict::Answered))));
        assert!(ledger.hear(&end).is_err());
    }

    #[test]
    fn chunks_are_put_together() {
        let mut ledger = Ledger::default();
        ledger.ask(("t".to_owned(), 1), [json!("abc")]);
        for part in ["\"a", "bc\""] {
            assert_eq!(ledger.hear(&answer(1, 206, false, json!(part))), Ok(None));
        }
        assert_eq!(ledger.hear(&answer(1, 204, false, Value::Null)), Ok(None));
        assert!(ledger.hear(&answer(1, 205, true, Value::Null)).is_ok());
        assert_eq!(ledger.close(), Totals { sent: 1, answered: 1, ..Totals::default() });
    }

    #[test]
    fn each_side_is_compared() {
        let status = json!({
            "received": 6, "held": 0, "executed": 4, "rejected": 1, "crossed_requests": 1,
            "answered": 3, "pending_requests": 0, "cut_off": 1, "client_gone": 0,
            "service_gone": 0, "bus_lost": 0,
        });
        let totals =
            Totals { sent: 6, answered: 3, refused: 1, unserved: 0, unknown: 1, unanswered: 1 };
        assert_eq!(totals.agree(&status, 4), Ok(()));
        assert!(
            totals.agree(&status, 5).is_err(),
            "the bus executed what the gateway did not send"
        );
        assert!(Totals { answered: 2, ..totals }.agree(&status, 4).is_err());
        for name in ["received", "executed", "answered", "rejected"] {
            let mut wrong = status.clone();
            wrong[name] = json!(status[name].as_u64().unwrap() + 1);
            assert!(balanced(&wrong).is_err(), "{name}");
        }
    }
}
