//! The one clock of the shell: the runtime's, which tests may hold still.

use std::time::Instant;

/// The time that the core is given.
pub(crate) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}
