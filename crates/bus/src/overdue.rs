//! When a server that says nothing is taken for lost.
//!
//! Law: at the second look that finds it too late. Whoever was held up himself, as a process that was
//! stopped or a machine that was asleep, reads what has come meanwhile after the first.

/// What the last look has found. Looks are some time apart, in which what is there is read.
#[derive(Debug, Default)]
pub(crate) struct Overdue(bool);

impl Overdue {
    /// Looks whether it is too late now. True if it was at the look before, too.
    pub(crate) fn look(&mut self, is_late: bool) -> bool {
        std::mem::replace(&mut self.0, is_late) && is_late
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_second_late_look_in_a_row_counts() {
        let mut overdue = Overdue::default();
        let seen = [true, false, true, true, true, false].map(|is_late| overdue.look(is_late));
        assert_eq!(seen, [false, false, false, true, true, false]);
    }
}
