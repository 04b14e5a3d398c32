//! A log file that others may rename or delete, as logrotate does: lines go to whatever has its
//! name, a second later at most, or at once if told to look.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// How often it is looked whether the name still leads to the file.
const LOOK: Duration = Duration::from_secs(1);

/// The end of a file.
#[derive(Debug)]
pub(super) struct FollowedFile {
    path: PathBuf,
    file: File,
    looked: Instant,
    look_now: Arc<AtomicBool>,
}

impl FollowedFile {
    /// Opens the file, or makes it, readable for its group. `look_now` is how to tell it to look.
    pub(super) fn open(path: &Path, look_now: Arc<AtomicBool>) -> io::Result<Self> {
        let file = open(path)?;
        Ok(Self { path: path.to_owned(), file, looked: Instant::now(), look_now })
    }

    fn follow(&mut self) -> io::Result<()> {
        let of_name = std::fs::metadata(&self.path);
        let ours = self.file.metadata()?;
        let same =
            |named: &std::fs::Metadata| (named.dev(), named.ino()) == (ours.dev(), ours.ino());
        if !of_name.is_ok_and(|named| same(&named)) {
            self.file = open(&self.path)?;
        }
        Ok(())
    }
}

impl Write for FollowedFile {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.look_now.swap(false, Ordering::Relaxed) || self.looked.elapsed() >= LOOK {
            self.looked = Instant::now();
            // If there is no new file to be had, the old one is better than none.
            self.follow().ok();
        }
        self.file.write(line)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(0o640).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_was_renamed_is_made_anew() {
        let directory = tempfile::tempdir().expect("a directory");
        let (path, old) = (directory.path().join("log"), directory.path().join("log.1"));
        let look_now = Arc::new(AtomicBool::new(false));
        let mut file = FollowedFile::open(&path, Arc::clone(&look_now)).expect("a file");
        file.write_all(b"first\n").expect("written");
        std::fs::rename(&path, &old).expect("renamed");
        file.write_all(b"second\n").expect("written");
        file.looked -= LOOK;
        file.write_all(b"third\n").expect("written");
        let text = |path: &Path| std::fs::read_to_string(path).expect("a text");
        assert_eq!((text(&old), text(&path)), ("first\nsecond\n".into(), "third\n".into()));
        std::fs::remove_file(&path).expect("removed");
        std::fs::create_dir(&path).expect("a directory in its place");
        look_now.store(true, Ordering::Relaxed);
        file.write_all(b"lost with its file\n").expect("better than a panic");
    }
}
