//! The start of a process, by posix_spawn(3): the memory of a gateway with many clients is not
//! copied for it, as by fork(2), and of the two it alone leaves a signal ignored in the child without
//! any code of ours between.

#![expect(unsafe_code, reason = "std copies the process if a signal is to be anything but default")]

use std::ffi::{CString, OsString};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStringExt as _;
use std::ptr;

use rustix::process::Pid;

use super::process::Command;

/// Starts a program as the leader of a group of its own, with these as its stdin, stdout and stderr.
///
/// # Errors
/// What posix_spawn says; or a word for it holds a NUL.
pub(super) fn spawn(
    command: &Command,
    environment: impl IntoIterator<Item = (OsString, OsString)>,
    ends: &[OwnedFd; 3],
) -> io::Result<Pid> {
    let text = |word: OsString| CString::new(word.into_vec()).map_err(io::Error::other);
    let program = text(command.program.clone())?;
    let arguments = [&command.program].into_iter().chain(&command.arguments).cloned();
    let arguments: Vec<CString> = arguments.map(text).collect::<io::Result<_>>()?;
    let environment: Vec<CString> = environment
        .into_iter()
        .map(|(mut variable, value)| {
            variable.push("=");
            variable.push(value);
            text(variable)
        })
        .collect::<io::Result<_>>()?;
    let directory = command.directory.as_ref().map(|path| text(path.clone().into())).transpose()?;
    let pointers = |words: &[CString]| -> Vec<*mut libc::c_char> {
        let words = words.iter().map(|word| word.as_ptr().cast_mut());
        words.chain([ptr::null_mut()]).collect()
    };
    let (arguments, environment) = (pointers(&arguments), pointers(&environment));
    let check = |code| match code {
        0 => Ok(()),
        code => Err(io::Error::from_raw_os_error(code)),
    };

    let mut pid = 0;
    // SAFETY: both objects are made by their init functions before anything else is done with them,
    // and destroyed after; every pointer is to a CString, or an array that ends with null, of this
    // function; none is kept by the callee beyond the call.
    unsafe {
        let mut actions = MaybeUninit::uninit();
        check(libc::posix_spawn_file_actions_init(actions.as_mut_ptr()))?;
        let mut attributes = MaybeUninit::uninit();
        check(libc::posix_spawnattr_init(attributes.as_mut_ptr()))?;
        let (actions, attributes) = (actions.as_mut_ptr(), attributes.as_mut_ptr());
        let spawned = (|| {
            for (number, end) in (0..).zip(ends) {
                check(libc::posix_spawn_file_actions_adddup2(actions, end.as_raw_fd(), number))?;
            }
            if let Some(directory) = &directory {
                check(libc::posix_spawn_file_actions_addchdir_np(actions, directory.as_ptr()))?;
            }
            let mut signals = MaybeUninit::uninit();
            libc::sigemptyset(signals.as_mut_ptr());
            // Threads of ours block signals; programs begin with none blocked.
            check(libc::posix_spawnattr_setsigmask(attributes, signals.as_ptr()))?;
            // Ours is ignored, by Rust's own start.
            libc::sigaddset(signals.as_mut_ptr(), libc::SIGPIPE);
            if command.hears_usr1 {
                libc::sigaddset(signals.as_mut_ptr(), libc::SIGUSR1);
            }
            check(libc::posix_spawnattr_setsigdefault(attributes, signals.as_ptr()))?;
            check(libc::posix_spawnattr_setpgroup(attributes, 0))?;
            let flags = libc::POSIX_SPAWN_SETSIGMASK
                | libc::POSIX_SPAWN_SETSIGDEF
                | libc::POSIX_SPAWN_SETPGROUP;
            let flags = libc::c_short::try_from(flags).map_err(io::Error::other)?;
            check(libc::posix_spawnattr_setflags(attributes, flags))?;
            check(libc::posix_spawnp(
                &raw mut pid,
                program.as_ptr(),
                actions,
                attributes,
                arguments.as_ptr(),
                environment.as_ptr(),
            ))
        })();
        libc::posix_spawnattr_destroy(attributes);
        libc::posix_spawn_file_actions_destroy(actions);
        spawned?;
    }
    Pid::from_raw(pid).ok_or_else(|| io::Error::other("a process without a number"))
}
