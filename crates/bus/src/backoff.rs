//! The pauses between attempts to get back a bus: the first is short, later ones are longer, none
//! is longer than a quarter of a second, so that the bus is in service soon after its return.

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(20);
const LONGEST: Duration = Duration::from_millis(250);

/// A row of pauses.
#[derive(Debug)]
pub(crate) struct Backoff {
    next: Duration,
}

impl Backoff {
    pub(crate) fn new() -> Self {
        Self { next: FIRST }
    }

    /// The next pause: between half and all of a length that doubles each time. `chance` is any
    /// random number: gateways that lost their bus together must not come back together.
    pub(crate) fn pause(&mut self, chance: u32) -> Duration {
        let whole = self.next;
        self.next = LONGEST.min(whole * 2);
        whole.mul_f64(0.5 + 0.5 * f64::from(chance) / f64::from(u32::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_quarter_of_a_second_and_differ_by_chance() {
        let pauses = |chance| {
            let mut backoff = Backoff::new();
            let row = std::iter::repeat_with(move || backoff.pause(chance).as_millis());
            row.take(7).collect::<Vec<_>>()
        };
        assert_eq!(pauses(u32::MAX), [20, 40, 80, 160, 250, 250, 250]);
        assert_eq!(pauses(0), [10, 20, 40, 80, 125, 125, 125]);
    }
}
