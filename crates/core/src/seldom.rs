//! How often one may complain of the same thing.
//!
//! Law: what strangers cause fills no log: ten lines at once, then one a second, and each says how many
//! were left out before it. For noise only; a line for each request that was lost is none.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Lines that may come at once.
const AT_ONCE: u32 = 10;

/// Between two lines of many.
const PACE: Duration = Duration::from_secs(1);

/// The lines of one kind, wherever in the process they are written.
#[derive(Debug)]
pub struct Seldom(Mutex<State>);

#[derive(Debug)]
struct State {
    left: u32,
    counted: Option<Instant>,
    left_out: u64,
}

impl Seldom {
    /// None yet.
    #[must_use]
    pub const fn new() -> Self {
        Self(Mutex::new(State { left: AT_ONCE, counted: None, left_out: 0 }))
    }

    /// Whether to write one more; if so, how many were left out since the last.
    pub fn again(&self, now: Instant) -> Option<u64> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let since = *state.counted.get_or_insert(now);
        let paces = now.saturating_duration_since(since).as_secs() / PACE.as_secs();
        if paces > 0 {
            let more = u32::try_from(paces).unwrap_or(u32::MAX);
            state.left = state.left.saturating_add(more).min(AT_ONCE);
            state.counted = Some(now);
        }
        if state.left == 0 {
            state.left_out += 1;
            return None;
        }
        state.left -= 1;
        Some(std::mem::take(&mut state.left_out))
    }
}

impl Default for Seldom {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_at_once_then_one_a_second_and_none_is_forgotten() {
        #[expect(clippy::disallowed_methods, reason = "somewhere time begins")]
        let start = Instant::now();
        let seldom = Seldom::new();
        let at = |milliseconds| start + Duration::from_millis(milliseconds);
        let written = (0..1_000).filter(|_| seldom.again(at(0)).is_some()).count();
        assert_eq!(written, 10);
        assert_eq!(seldom.again(at(999)), None);
        assert_eq!(seldom.again(at(1_000)), Some(991));
        assert_eq!(seldom.again(at(1_000)), None);
        // A minute later it is news again.
        let written = (0..1_000).filter_map(|_| seldom.again(at(61_000))).collect::<Vec<_>>();
        assert_eq!((written.len(), written[0]), (10, 1));
    }
}
