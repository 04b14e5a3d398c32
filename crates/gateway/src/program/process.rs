//! One running program: its pipes, and its end.
//!
//! Law: it leads a process group of its own, and when it is let go nothing of that group is left.
//! The leader is not reaped before the group has been told to end, so that the group's number
//! cannot have become somebody else's.

use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::Stdio;
use std::task::{Context, Poll, ready};

use rustix::process::{
    Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, kill_process_group, pidfd_open,
    test_kill_process_group, waitid,
};
use slackwater_core::session::program::Exit;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::net::unix::pipe::{Receiver, Sender};

/// What is started for a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// The file; looked for in `$PATH` if its name has no `/`.
    pub program: OsString,
    /// Its arguments.
    pub arguments: Vec<OsString>,
    /// Where it runs; where we do if `None`.
    pub directory: Option<PathBuf>,
    /// Whether SIGUSR1 finds it as it finds any program; else it is ignored, which survives `exec`.
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
        let mut start = std::process::Command::new(&command.program);
        start
            .args(&command.arguments)
            .env_clear()
            .envs(environment)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0);
        if let Some(directory) = &command.directory {
            start.current_dir(directory);
        }
        if !command.hears_usr1 {
            ignore_usr1(&mut start);
        }
        let mut child = start.spawn()?;
        let leader = Pid::from_child(&child);
        let watch =
            pidfd_open(leader, PidfdFlags::NONBLOCK).map_err(io::Error::from).and_then(watch);
        let watch = match watch {
            Ok(watch) => watch,
            Err(error) => {
                // It has done nothing yet that anybody could have asked it for.
                child.kill().and_then(|()| child.wait()).ok();
                return Err(error);
            }
        };
        let process = Self { leader, watch, reaped: false };
        let missing = || io::Error::other("a pipe is missing");
        let pipes = Pipes {
            input: Sender::from_owned_fd(child.stdin.take().ok_or_else(missing)?.into())?,
            output: Receiver::from_owned_fd(child.stdout.take().ok_or_else(missing)?.into())?,
            errors: Receiver::from_owned_fd(child.stderr.take().ok_or_else(missing)?.into())?,
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

#[expect(unsafe_code, reason = "std has no other way to have a signal ignored in a child")]
fn ignore_usr1(command: &mut std::process::Command) {
    // SAFETY: between fork and exec only signal(2) is called, which is async-signal-safe
    // (signal-safety(7)) and touches no memory of ours.
    unsafe {
        command.pre_exec(|| {
            if libc::signal(libc::SIGUSR1, libc::SIG_IGN) == libc::SIG_ERR {
                return Err(io::Error::last_os_error());
            }
            Ok(())
        });
    }
}
