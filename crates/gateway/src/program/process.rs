//! One running program: its pipes, and its end.
//!
//! Law: it leads a process group of its own, and when it is let go nothing of that group is left.
//! The leader is not reaped before the group has been told to end, so that the group's number
//! cannot have become somebody else's.

use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::task::{Context, Poll, ready};

use rustix::process::{
    Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, kill_process_group, pidfd_open,
    test_kill_process_group, waitid,
};
use slackwater_core::session::program::Exit;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::net::unix::pipe::{Receiver, Sender};

use super::spawn::spawn;

/// What is started for a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// The file; looked for in `$PATH` if its name has no `/`.
    pub program: OsString,
    /// Its arguments.
    pub arguments: Vec<OsString>,
    /// Where it runs; where we do if `None`.
    pub directory: Option<PathBuf>,
    /// Whether SIGUSR1 finds it as it finds any program; else as it finds us, who ignore it while
    /// programs run ([`signals`](crate::operate::signals)), which survives `exec`.
    pub hears_usr1: bool,
}

/// A program that runs, or has ended and is not reaped.
#[derive(Debug)]
pub(crate) struct Process {
    leader: Pid,
    watch: AsyncFd<OwnedFd>,
    reaped: bool,
}

/// Our ends of its pipes.
#[derive(Debug)]
pub(crate) struct Pipes {
    pub(crate) input: Sender,
    pub(crate) output: Receiver,
    pub(crate) errors: Receiver,
}

impl Process {
    /// Starts a program with exactly these environment variables.
    ///
    /// # Errors
    /// It cannot be run, or a limit of the operating system is reached.
    pub(crate) fn start(
        command: &Command,
        environment: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> io::Result<(Self, Pipes)> {
        let ((input_end, input), (output, output_end), (errors, errors_end)) =
            (io::pipe()?, io::pipe()?, io::pipe()?);
        let ends = [input_end.into(), output_end.into(), errors_end.into()];
        let leader = spawn(command, environment, &ends)?;
        let watch =
            pidfd_open(leader, PidfdFlags::NONBLOCK).map_err(io::Error::from).and_then(watch);
        let watch = match watch {
            Ok(watch) => watch,
            Err(error) => {
                // It has done nothing yet that anybody could have asked it for.
                kill_process_group(leader, Signal::KILL).ok();
                waitid(WaitId::Pid(leader), WaitIdOptions::EXITED).ok();
                return Err(error);
            }
        };
        let process = Self { leader, watch, reaped: false };
        let pipes = Pipes {
            input: Sender::from_owned_fd(input.into())?,
            output: Receiver::from_owned_fd(output.into())?,
            errors: Receiver::from_owned_fd(errors.into())?,
        };
        Ok((process, pipes))
    }

    /// Its process id, and its group's.
    pub(crate) fn id(&self) -> i32 {
        self.leader.as_raw_nonzero().get()
    }

    /// Waits until the leader has ended. It is not reaped.
    pub(crate) fn poll_exit(&self, context: &mut Context<'_>) -> Poll<Exit> {
        loop {
            let Ok(mut guard) = ready!(self.watch.poll_read_ready(context)) else {
                // The runtime is going away.
                return Poll::Pending;
            };
            if let Some(exit) = self.exit(WaitIdOptions::NOWAIT) {
                return Poll::Ready(exit);
            }
            guard.clear_ready();
        }
    }

    /// Sends a signal to every process of the group. False if there is none left.
    pub(crate) fn signal(&self, signal: Signal) -> bool {
        kill_process_group(self.leader, signal).is_ok()
    }

    /// Reaps the leader, which has ended. True if others of its group live on.
    pub(crate) fn reap(&mut self) -> bool {
        if !self.reaped {
            self.exit(WaitIdOptions::empty());
            self.reaped = true;
        }
        self.group_lives()
    }

    /// Whether a process of the group is left. Only those can have its number.
    pub(crate) fn group_lives(&self) -> bool {
        test_kill_process_group(self.leader).is_ok()
    }

    fn exit(&self, options: WaitIdOptions) -> Option<Exit> {
        let options = options | WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
        let status = waitid(WaitId::Pid(self.leader), options).ok().flatten()?;
        let exited = status.exit_status().map(Exit::Status);
        exited.or_else(|| status.terminating_signal().map(Exit::Signal))
    }
}

impl Process {
    /// Ends it and its group at once.
    pub(crate) fn end(&mut self) {
        if !self.reaped {
            self.signal(Signal::KILL);
            // What was killed ends at once, but not at this instant.
            waitid(WaitId::Pid(self.leader), WaitIdOptions::EXITED).ok();
            self.reaped = true;
        }
    }
}

impl Drop for Process {
    /// Only when its client's task was not run to its end.
    fn drop(&mut self) {
        self.end();
    }
}

#[expect(unsafe_code, reason = "tokio leaves it to its caller that the descriptor stays open")]
fn watch(pidfd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an `OwnedFd` is open, and nothing closes or exchanges it while the `AsyncFd` has it.
    Ok(unsafe { AsyncFd::register_with_interest(pidfd, Interest::READABLE) }?)
}
