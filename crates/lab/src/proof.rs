//! The proofs that take long: how long a run is asked for, and where its figures go.

use std::fmt;
use std::fs::OpenOptions;
use std::io::Write as _;

/// Set to 1, it asks for the full length.
const LONG: &str = "LAB_LONG";

/// Names files in which `./test` collects what it shows at its end.
const FIGURES: &str = "LAB_FIGURES";
const SKIPPED: &str = "LAB_SKIPPED";

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
    tell(&format!("{figures}\n"), FIGURES);
}

/// Tells that something was not tested, and why. Never silently.
pub fn skipped(what: &str, why: &str) {
    tell(&format!("SKIPPED: {what}: {why}\n"), SKIPPED);
}

fn tell(line: &str, variable: &str) {
    // A log that cannot be written is nobody's proof, and nobody's failure either.
    std::io::stderr().write_all(line.as_bytes()).ok();
    if let Some(path) = std::env::var_os(variable)
        && let Ok(mut file) = OpenOptions::new().append(true).create(true).open(path)
    {
        file.write_all(line.as_bytes()).ok();
    }
}
