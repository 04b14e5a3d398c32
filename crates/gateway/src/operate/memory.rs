//! What was freed goes back to the system.
//!
//! Law: when a burst is over, large messages or many clients, its memory is given back within seconds.
//! glibc keeps what is freed between other blocks for ever unless it is asked, and what is freed at the
//! end of a thread's heap even then, unless it was told before how much that may be; other C libraries
//! need no asking.

use std::time::Duration;

/// Of the thread; it looks and sleeps.
const STACK: usize = 256 * 1024;

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

/// Has memory given back as long as the process lives, by a thread of its own: it may take some
/// milliseconds when there is much of it, for which nobody is to wait.
pub(crate) fn keep_giving_back() {
    bound();
    let thread = std::thread::Builder::new().name("memory".to_owned()).stack_size(STACK);
    if let Err(error) = thread.spawn(give_back) {
        tracing::warn!(%error, "memory that a burst takes is kept");
    }
}

fn give_back() {
    // What stands between what is used cannot be given back, and is not asked for again.
    let mut stuck = 0;
    loop {
        std::thread::sleep(PACE);
        let Heap { kept, used } = Heap::now();
        stuck = kept.min(stuck);
        if kept <= stuck + KEPT_LEAST.max(used / KEPT_PART) {
            continue;
        }
        release();
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
