//! What was freed goes back to the system.
//!
//! Law: when a burst is over, large messages or many clients, its memory is given back within seconds.
//! glibc keeps what is freed between other blocks for ever unless it is asked, and what is freed at the
//! end of a thread's heap even then, unless it was told before how much that may be; other C libraries
//! need no asking.

use std::time::Duration;

/// Between two looks.
const PACE: Duration = Duration::from_secs(2);

/// What may be kept and not used: this part of what is used, and so many bytes in any case.
const KEPT_PART: usize = 16;
const KEPT_LEAST: usize = 512 << 10;

/// The size from which on a block is the system's own, and what may be kept at the end of each heap,
/// bytes. glibc would raise both with the largest block that was ever freed, up to 32 MiB.
#[cfg(target_env = "gnu")]
const LARGE: libc::c_int = 1 << 20;
#[cfg(target_env = "gnu")]
const KEPT_AT_END: libc::c_int = 128 << 10;

/// Gives memory back, for ever.
pub(crate) async fn give_back() {
    bound();
    // What stands between what is used cannot be given back, and is not asked for again.
    let mut stuck = 0;
    loop {
        tokio::time::sleep(PACE).await;
        let Heap { kept, used } = Heap::now();
        stuck = kept.min(stuck);
        if kept <= stuck + KEPT_LEAST.max(used / KEPT_PART) {
            continue;
        }
        // It takes some milliseconds when there is much of it.
        if let Err(error) = tokio::task::spawn_blocking(release).await {
            tracing::debug!(%error, "memory was not given back");
        }
        stuck = Heap::now().kept;
        tracing::debug!(kept, stuck, used, "memory given back");
    }
}

/// What the process holds, in bytes.
#[derive(Debug, Clone, Copy, Default)]
struct Heap {
    /// What is allocated.
    used: usize,
    /// What is resident, is no file's, and not used.
    kept: usize,
}

#[cfg(target_env = "gnu")]
#[expect(unsafe_code, reason = "no crate offers it")]
impl Heap {
    fn now() -> Self {
        let pages = procfs::process::Process::myself().and_then(|me| me.statm());
        let resident =
            pages.map(|pages| (pages.resident.saturating_sub(pages.shared)) * procfs::page_size());
        let Ok(resident) = resident else { return Self::default() };
        // SAFETY: it takes nothing and only looks, from any thread (mallinfo(3)).
        let info = unsafe { libc::mallinfo2() };
        let used = info.uordblks + info.hblkhd;
        let kept = usize::try_from(resident).unwrap_or(0).saturating_sub(used);
        Self { used, kept }
    }
}

#[cfg(target_env = "gnu")]
#[expect(unsafe_code, reason = "no crate offers it")]
fn release() {
    // SAFETY: it may be called at any time, from any thread (malloc_trim(3)).
    unsafe { libc::malloc_trim(0) };
}

#[cfg(target_env = "gnu")]
#[expect(unsafe_code, reason = "no crate offers it")]
fn bound() {
    // SAFETY: they take numbers, and may be called at any time, from any thread (mallopt(3)).
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, LARGE);
        libc::mallopt(libc::M_TRIM_THRESHOLD, KEPT_AT_END);
    }
}

#[cfg(not(target_env = "gnu"))]
fn bound() {}

#[cfg(not(target_env = "gnu"))]
impl Heap {
    fn now() -> Self {
        Self::default()
    }
}

#[cfg(not(target_env = "gnu"))]
fn release() {}
