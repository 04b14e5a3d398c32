//! Signals, turned into inputs of the drain (DRAIN.md, "The gateway as a whole"). Handlers are
//! installed before the sockets are bound: no signal finds its default action.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use slackwater_core::drain::Input;
use tokio::io::unix::AsyncFd;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::status::Operations as _;
use crate::gateway::{Gateway, seed};

/// Who else is to be thought of when a signal is heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Children {
    /// Nobody.
    None,
    /// Programs, which find SIGUSR1 ignored.
    Deaf,
    /// Programs, which are killed by SIGUSR1 unless they know better.
    Hearing,
}

/// The signals that a gateway hears.
#[derive(Debug)]
pub struct Signals {
    user1: User1,
    hangup: Signal,
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    /// Installs the handlers; signals wait until [`Self::obey`].
    ///
    /// # Errors
    /// The kernel refused a handler.
    pub fn install(children: Children) -> io::Result<Self> {
        Ok(Self {
            user1: User1::install(children)?,
            hangup: signal(SignalKind::hangup())?,
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    /// Obeys signals, for ever.
    pub async fn obey(mut self, gateway: &Arc<Gateway>) {
        let mut told_to_stop = false;
        loop {
            let stop = tokio::select! {
                () = self.user1.recv() => false,
                Some(()) = self.interrupt.recv() => true,
                Some(()) = self.terminate.recv() => true,
                Some(()) = self.hangup.recv() => {
                    let gateway = Arc::clone(gateway);
                    // What came of it is in the log. A file that cannot be read for a while does
                    // not keep the other signals waiting.
                    tokio::spawn(async move { gateway.reload().await });
                    continue;
                }
                else => return,
            };
            if stop && told_to_stop {
                tracing::warn!("told to stop again: cutting off what is pending");
                gateway.tell(Input::Hurry);
            } else {
                told_to_stop |= stop;
                gateway.tell(Input::Drain { exit: stop, deadline: None, seed: seed() });
            }
        }
    }
}

/// How SIGUSR1 is heard. What a handler hears is default again in a child, and would kill it; so if
/// there are children, the signal is blocked in every thread, ignored, and read from a descriptor:
/// one that is blocked is kept, ignored or not (signal(7), and `sig_ignored` in the kernel).
#[derive(Debug)]
enum User1 {
    Handled(Signal),
    Read(AsyncFd<OwnedFd>),
}

impl User1 {
    fn install(children: Children) -> io::Result<Self> {
        match children {
            Children::None => Ok(Self::Handled(signal(SignalKind::user_defined1())?)),
            Children::Deaf => blocked::read(true).map(Self::Read),
            Children::Hearing => blocked::read(false).map(Self::Read),
        }
    }

    async fn recv(&mut self) {
        match self {
            Self::Handled(signal) => {
                if signal.recv().await.is_none() {
                    std::future::pending().await
                }
            }
            Self::Read(descriptor) => loop {
                let Ok(mut ready) = descriptor.readable().await else {
                    return std::future::pending().await;
                };
                // One siginfo; what is in it is known.
                let mut information = [0; 128];
                match rustix::io::read(ready.get_inner(), &mut information) {
                    Ok(1..) => return,
                    Ok(0) | Err(_) => ready.clear_ready(),
                }
            },
        }
    }
}

/// Blocks SIGUSR1 in this thread and in all that it starts. For a process that will run programs,
/// while it has one thread.
pub fn block_user1() {
    blocked::block();
}

#[expect(unsafe_code, reason = "no crate of ours blocks, ignores or reads signals")]
mod blocked {
    use std::io;
    use std::mem::MaybeUninit;
    use std::os::fd::{FromRawFd as _, OwnedFd};

    use tokio::io::Interest;
    use tokio::io::unix::AsyncFd;

    fn user1() -> libc::sigset_t {
        let mut set = MaybeUninit::uninit();
        // SAFETY: sigemptyset(3) makes the set before anything is added to it or read from it.
        unsafe {
            libc::sigemptyset(set.as_mut_ptr());
            libc::sigaddset(set.as_mut_ptr(), libc::SIGUSR1);
            set.assume_init()
        }
    }

    pub(super) fn block() {
        let set = user1();
        // SAFETY: the set lives as long as the call; the old mask is not asked for.
        unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut()) };
    }

    /// The descriptor from which SIGUSR1 is read; ignored otherwise, if `ignores`.
    pub(super) fn read(ignores: bool) -> io::Result<AsyncFd<OwnedFd>> {
        let set = user1();
        let disposition = if ignores { libc::SIG_IGN } else { libc::SIG_DFL };
        // SAFETY: signal(2) is given one of the two dispositions that are no function. signalfd(2)
        // makes a descriptor that nobody else has; it is open, and nothing closes or exchanges it
        // while the `AsyncFd` has it.
        unsafe {
            libc::signal(libc::SIGUSR1, disposition);
            let flags = libc::SFD_NONBLOCK | libc::SFD_CLOEXEC;
            let descriptor = libc::signalfd(-1, &raw const set, flags);
            if descriptor < 0 {
                return Err(io::Error::last_os_error());
            }
            let descriptor = OwnedFd::from_raw_fd(descriptor);
            Ok(AsyncFd::register_with_interest(descriptor, Interest::READABLE)?)
        }
    }
}
