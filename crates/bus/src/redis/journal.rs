//! The journal: which addresses the processes of this host have used, so that a crash leaves
//! nothing in Redis for ever. A file a process in the state directory, locked for as long as the
//! process lives; a file whose lock is free names lists that nobody reads any more.
//!
//! A file outlives even an orderly end, because an answer may still come after it: the next
//! process takes care of it.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use slackwater_core::osrf::envelope::Address;

use super::address;

/// What the name of a journal's file ends with.
const SUFFIX: &str = ".addresses";
/// The most that is read of a file.
const MOST_BYTES: u64 = 64 << 10;

/// Our own file and those of the dead that are ours to care for; all locked until it is dropped.
#[derive(Debug)]
pub(super) struct Journal {
    directory: PathBuf,
    own: PathBuf,
    _lock: File,
    dead: Vec<Dead>,
}

/// The file of a process that is gone.
#[derive(Debug)]
struct Dead {
    path: PathBuf,
    addresses: Vec<Address>,
    /// When it was written: its process lived then.
    written: SystemTime,
    _lock: File,
}

impl Journal {
    /// Enters `addresses`. Makes the directory if need be.
    pub(super) fn open(directory: &Path, addresses: &[Address]) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
        let name = addresses.first().and_then(|address| address.rsplit(':').next());
        let name = name.unwrap_or_default();
        // It gets its name when it is locked and written: who finds it finds it whole.
        let path = directory.join(format!("{name}{SUFFIX}"));
        let nameless = directory.join(format!("{name}.new"));
        let mut own =
            OpenOptions::new().write(true).create_new(true).mode(0o600).open(&nameless)?;
        own.lock()?;
        writeln!(own, "{}", addresses.join("\n"))?;
        fs::rename(&nameless, &path)?;
        Ok(Self { directory: directory.to_owned(), own: path, _lock: own, dead: Vec::new() })
    }

    /// Takes over the files of the dead.
    pub(super) fn adopt(&mut self) -> io::Result<()> {
        for entry in fs::read_dir(&self.directory)? {
            let found = entry?.path();
            let is_journal = found.to_str().is_some_and(|name| name.ends_with(SUFFIX));
            if is_journal && found != self.own {
                match adopt(&found) {
                    Ok(adopted) => self.dead.extend(adopted),
                    Err(error) => {
                        tracing::warn!(path = %found.display(), %error, "a journal of bus addresses that cannot be read");
                    }
                }
            }
        }
        Ok(())
    }

    /// Strikes our own addresses out: nothing was ever sent from them.
    pub(super) fn forget_own(self) {
        remove(&self.own);
    }

    /// The addresses of those that are gone.
    pub(super) fn of_the_dead(&self) -> Vec<Address> {
        self.dead.iter().flat_map(|dead| dead.addresses.iter().cloned()).collect()
    }

    /// Removes the files of those that were dead so long ago that nothing will come for them.
    pub(super) fn forget_the_dead(&mut self, before: SystemTime) {
        for dead in self.dead.extract_if(.., |dead| dead.written <= before) {
            remove(&dead.path);
        }
    }
}

fn remove(path: &Path) {
    if let Err(error) = fs::remove_file(path) {
        tracing::warn!(path = %path.display(), %error, "cannot remove a journal of bus addresses");
    }
}

/// Takes over the file of a process that is gone; that of a living one is left alone.
fn adopt(path: &Path) -> io::Result<Option<Dead>> {
    let file = File::open(path)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Ok(None),
        Err(TryLockError::Error(error)) => return Err(error),
    }
    let mut text = String::new();
    (&file).take(MOST_BYTES).read_to_string(&mut text)?;
    let addresses = text.lines().filter(|line| address::is_client(line)).map(str::to_owned);
    let (path, addresses) = (path.to_owned(), addresses.collect());
    let written = file.metadata()?.modified()?;
    Ok(Some(Dead { path, addresses, written, _lock: file }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opened(directory: &Path, address: &str) -> Journal {
        let mut journal = Journal::open(directory, &[address.to_owned()]).expect("a journal");
        journal.adopt().expect("the dead");
        journal
    }

    #[test]
    fn the_addresses_of_the_dead_are_found_and_those_of_the_living_are_not() {
        let directory = tempfile::tempdir().expect("a directory");
        let directory = directory.path().join("made/here");
        let [a, b, c] = [1, 2, 3].map(|n| address::client("gateway", "d", "h", n, n.into()));
        let first = opened(&directory, &a);
        let second = opened(&directory, &b);
        assert!(first.of_the_dead().is_empty() && second.of_the_dead().is_empty());
        drop(first);
        let mut third = opened(&directory, &c);
        assert_eq!(third.of_the_dead(), [a]);
        third.forget_the_dead(SystemTime::UNIX_EPOCH);
        assert_eq!(third.of_the_dead(), [address::client("gateway", "d", "h", 1, 1)], "not yet");
        third.forget_the_dead(SystemTime::now());
        assert!(third.of_the_dead().is_empty());
        drop(third);
        drop(second);
        let fourth = opened(&directory, "opensrf:client:gateway:d:h:4:4");
        let mut dead = fourth.of_the_dead();
        dead.sort();
        assert_eq!(dead, [b, c], "and the one that was forgotten is gone");
    }

    #[test]
    fn an_address_that_was_never_used_is_nobodys_care() {
        let directory = tempfile::tempdir().expect("a directory");
        let [a, b] = [1, 2].map(|n| address::client("gateway", "d", "h", n, n.into()));
        opened(directory.path(), &a).forget_own();
        let second = opened(directory.path(), &b);
        assert!(second.of_the_dead().is_empty());
    }

    #[test]
    fn two_do_not_care_for_the_same_dead() {
        let directory = tempfile::tempdir().expect("a directory");
        let [a, b, c] = [1, 2, 3].map(|n| address::client("gateway", "d", "h", n, n.into()));
        drop(opened(directory.path(), &a));
        let second = opened(directory.path(), &b);
        let third = opened(directory.path(), &c);
        assert_eq!((second.of_the_dead(), third.of_the_dead()), (vec![a], vec![]));
    }

    #[test]
    fn a_journal_cannot_name_anything_but_addresses() {
        let directory = tempfile::tempdir().expect("a directory");
        let text = "opensrf:router:router:d\n\u{0}\nopensrf:client:a:b:c:1:2\n*\n";
        fs::write(directory.path().join("x.addresses"), text).expect("written");
        fs::write(directory.path().join("other"), "opensrf:client:a:b:c:1:3\n").expect("written");
        fs::write(directory.path().join("y.addresses"), b"\xff\xfe").expect("written");
        let journal = opened(directory.path(), "opensrf:client:a:b:c:1:4");
        assert_eq!(journal.of_the_dead(), ["opensrf:client:a:b:c:1:2"]);
    }
}
