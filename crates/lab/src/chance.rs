//! Seeded chance: a run that found something can be run again.

use std::time::Duration;

/// Names the seed of the next run; without it every run has a new one.
const SEED: &str = "LAB_SEED";

/// A generator (splitmix64). Good enough to scatter tests, and for nothing else.
#[derive(Debug, Clone)]
pub struct Chance(u64);

/// The seed for a run: from `LAB_SEED`, or a new one. To be printed.
#[must_use]
pub fn seed() -> u64 {
    let named = std::env::var(SEED).ok().and_then(|seed| seed.parse().ok());
    named.unwrap_or_else(|| getrandom::u64().unwrap_or_default())
}

impl Chance {
    /// The sequence of this seed.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A generator of its own for a part of the run.
    #[must_use]
    pub fn fork(&mut self) -> Self {
        Self(self.bits())
    }

    /// 64 random bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        bits ^ (bits >> 31)
    }

    /// From 0 to `bound` - 1; 0 if `bound` is 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.bits().checked_rem(bound).unwrap_or_default()
    }

    /// From nothing to `longest`.
    pub fn time(&mut self, longest: Duration) -> Duration {
        let longest = u64::try_from(longest.as_nanos()).unwrap_or(u64::MAX - 1);
        Duration::from_nanos(self.below(longest + 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_run_again_within_its_bounds() {
        let (mut one, mut two) = (Chance::new(7), Chance::new(7));
        let longest = Duration::from_millis(4);
        for _ in 0..1000 {
            let time = one.time(longest);
            assert!(time <= longest);
            assert_eq!(time, two.time(longest));
        }
        assert_ne!(one.fork().bits(), one.bits());
        assert_eq!(one.below(0), 0);
    }
}
