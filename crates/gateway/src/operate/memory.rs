//! What was freed goes back to the system.
//!
//! Law: when a burst is over, large messages or many clients, its memory is given back within seconds.
//! glibc keeps what is freed between other blocks for ever unless it is asked, and what is freed at the
//! end of a thread's heap even then, unless it was told before how much that may be; other C libraries
//! need no asking.

use std::time::Duration;

/// Between two looks; more after one that was in vain.
const PACE: Duration = Duration::from_secs(2);
const LONGEST_PACE: Duration = Duration::from_secs(16);

/// What may be kept and not used, bytes.
const KEPT: usize = 8 << 20;

/// What may be kept at the end of each heap, and the size from which on a block is the system's own,
/// bytes. glibc would raise both with the largest block that was ever freed, up to 32 MiB.
#[cfg(target_env = "gnu")]
const LARGE: libc::c_int = 1 << 20;

/// Gives memory back, for ever.
pub(crate) async fn give_back() {
    bound();
    let mut pace = PACE;
    loop {
        tokio::time::sleep(pace).await;
        let before = kept();
        if before <= KEPT {
            pace = PACE;
            continue;
        }
        // It takes some milliseconds when there is much of it.
        let released = tokio::task::spawn_blocking(release).await;
        let after = kept();
        tracing::debug!(before, after, "memory given back");
        // What is kept may stand between what is used: then it was in vain.
        let in_vain = released.is_err() || before.saturating_sub(after) < KEPT / 2;
        pace = if in_vain { (pace * 2).min(LONGEST_PACE) } else { PACE };
    }
}

/// Bytes that are resident, are no file's, and not in use.
#[cfg(target_env = "gnu")]
#[expect(unsafe_code, reason = "no crate offers it")]
fn kept() -> usize {
    let pages = procfs::process::Process::myself().and_then(|me| me.statm());
    let resident =
        pages.map(|pages| (pages.resident.saturating_sub(pages.shared)) * procfs::page_size());
    let Ok(resident) = resident else { return 0 };
    // SAFETY: it takes nothing and only looks, from any thread (mallinfo(3)).
    let info = unsafe { libc::mallinfo2() };
    usize::try_from(resident).unwrap_or(0).saturating_sub(info.uordblks + info.hblkhd)
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
        libc::mallopt(libc::M_TRIM_THRESHOLD, LARGE);
    }
}

#[cfg(not(target_env = "gnu"))]
fn bound() {}

#[cfg(not(target_env = "gnu"))]
fn kept() -> usize {
    0
}

#[cfg(not(target_env = "gnu"))]
fn release() {}
