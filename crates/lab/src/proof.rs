//! The proofs that take long: how long a run is asked for, and where its figures go.

use std::fmt;
use std::io::Write as _;

/// Set to 1, it asks for the full length.
const LONG: &str = "SLACKWATER_TEST_LONG";

/// Whether the full length is asked for.
#[must_use]
pub fn is_long() -> bool {
    std::env::var_os(LONG).is_some_and(|value| value == "1")
}

/// Of two lengths the one that is asked for.
pub fn length<T>(short: T, long: T) -> T {
    if is_long() { long } else { short }
}

/// Tells the reader of the log what was run and what came of it, whether the test passes or not:
/// past the test harness, which would keep it to itself.
pub fn report(figures: fmt::Arguments<'_>) {
    // A log that cannot be written is nobody's proof, and nobody's failure either.
    writeln!(std::io::stderr(), "{figures}").ok();
}

/// Tells that something was not tested, and why. Never silently.
pub fn skipped(what: &str, why: &str) {
    report(format_args!("SKIPPED: {what}: {why}"));
}
