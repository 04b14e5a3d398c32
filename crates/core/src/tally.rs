//! What each service was asked, and how that went: a sum over [`Event::Settled`] by service.
//!
//! Law: a client names services as it likes and must not make this grow. A name is kept once a
//! service has answered under it, and then for ever; there are [`MOST`] at most, none longer than
//! [`LONGEST`] bytes. All else is summed up under [`OTHER`].
//!
//! [`Event::Settled`]: crate::event::Event::Settled

use std::collections::BTreeMap;
use std::time::Duration;

use crate::event::Outcome;

/// Names that are kept.
pub const MOST: usize = 100;

/// The longest name that is kept, bytes.
pub const LONGEST: usize = 100;

/// What stands for all services that are not kept by name; no service is called so.
pub const OTHER: &str = "(other)";

/// Upper bounds of the classes of a [`Histogram`]; what takes longer is in a last class.
pub const BOUNDS: [Duration; 15] = [
    Duration::from_millis(1),
    Duration::from_millis(2),
    Duration::from_millis(5),
    Duration::from_millis(10),
    Duration::from_millis(20),
    Duration::from_millis(50),
    Duration::from_millis(100),
    Duration::from_millis(200),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(5),
    Duration::from_secs(10),
    Duration::from_secs(30),
    Duration::from_secs(60),
];

/// All services.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Services {
    by_name: BTreeMap<String, Service>,
    other: Service,
}

/// What one service was asked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Service {
    outcomes: [u64; Outcome::ALL.len()],
    /// From when a request came to its final answer, or to its end without one.
    pub took: Histogram,
}

/// How many took how long.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Histogram {
    /// How many were in each class, the last one being above all [`BOUNDS`].
    pub classes: [u64; BOUNDS.len() + 1],
    /// All times added up.
    pub sum: Duration,
}

impl Services {
    /// Adds a request that is settled.
    pub fn add(&mut self, name: &str, outcome: Outcome, took: Duration) {
        self.of(name, outcome.is_of_service()).add(outcome, took);
    }

    fn of(&mut self, name: &str, answered: bool) -> &mut Service {
        let keeps = answered && self.by_name.len() < MOST && name.len() <= LONGEST;
        if keeps && !self.by_name.contains_key(name) {
            self.by_name.insert(name.to_owned(), Service::default());
        }
        self.by_name.get_mut(name).unwrap_or(&mut self.other)
    }

    /// Each of them by its name, [`OTHER`] last, if there is anything to say of it.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Service)> {
        let named = self.by_name.iter().map(|(name, service)| (name.as_str(), service));
        let other = (self.other.requests() > 0).then_some((OTHER, &self.other));
        named.chain(other)
    }
}

impl Service {
    fn add(&mut self, outcome: Outcome, took: Duration) {
        self.outcomes[outcome as usize] += 1;
        self.took.add(took);
    }

    /// Its requests that came to this.
    pub fn count(&self, outcome: Outcome) -> u64 {
        self.outcomes[outcome as usize]
    }

    /// Its requests that are settled.
    pub fn requests(&self) -> u64 {
        self.outcomes.iter().sum()
    }
}

impl Histogram {
    fn add(&mut self, took: Duration) {
        self.classes[BOUNDS.partition_point(|bound| *bound < took)] += 1;
        self.sum += took;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOOK: Duration = Duration::from_millis(3);

    #[test]
    fn a_client_cannot_make_it_grow() {
        let mut services = Services::default();
        for number in 0..1_000 {
            services.add(&format!("invented {number}"), Outcome::Refused, TOOK);
        }
        assert_eq!(services.iter().map(|(name, _)| name).collect::<Vec<_>>(), [OTHER]);
        for number in 0..1_000 {
            services.add(&format!("answers {number}"), Outcome::Complete, TOOK);
        }
        services.add(&"x".repeat(LONGEST + 1), Outcome::Complete, TOOK);
        assert_eq!(services.iter().count(), MOST + 1);
        let all: u64 = services.iter().map(|(_, service)| service.requests()).sum();
        assert_eq!(all, 2_001, "and nothing is left out");
    }

    #[test]
    fn a_service_that_has_answered_once_is_known_by_its_name() {
        let mut services = Services::default();
        services.add("opensrf.math", Outcome::Refused, TOOK);
        services.add("opensrf.math", Outcome::ErrorStatus, TOOK);
        services.add("opensrf.math", Outcome::Refused, TOOK);
        let counts: Vec<_> = services
            .iter()
            .map(|(name, service)| {
                (name, service.count(Outcome::Refused), service.count(Outcome::ErrorStatus))
            })
            .collect();
        assert_eq!(counts, [("opensrf.math", 1, 1), (OTHER, 1, 0)]);
    }

    #[test]
    fn a_time_is_in_the_class_whose_bound_it_does_not_exceed() {
        let mut histogram = Histogram::default();
        let beyond = Duration::from_secs(61);
        for took in [Duration::ZERO, BOUNDS[0], BOUNDS[0] + Duration::from_nanos(1), beyond] {
            histogram.add(took);
        }
        assert_eq!(histogram.classes[..2], [2, 1]);
        assert_eq!(histogram.classes[BOUNDS.len()], 1);
        assert!(histogram.sum > beyond);
    }
}
