//! What the kernel says of a process: its descriptors, its threads, its listening sockets.

use std::io;

/// How many descriptors it has open.
///
/// # Errors
/// It is gone.
pub fn descriptors(pid: u32) -> io::Result<usize> {
    Ok(std::fs::read_dir(format!("/proc/{pid}/fd"))?.count())
}

/// How many threads it has.
///
/// # Errors
/// It is gone.
pub fn threads(pid: u32) -> io::Result<usize> {
    Ok(std::fs::read_dir(format!("/proc/{pid}/task"))?.count())
}

/// How many TCP sockets it listens on.
///
/// # Errors
/// It is gone.
pub fn listening(pid: u32) -> io::Result<usize> {
    let mut inodes = Vec::new();
    for family in ["tcp", "tcp6"] {
        // A host without IPv6 has no such file.
        let table = std::fs::read_to_string(format!("/proc/{pid}/net/{family}"));
        inodes.extend(table.unwrap_or_default().lines().filter_map(listener));
    }
    let mut count = 0;
    for entry in std::fs::read_dir(format!("/proc/{pid}/fd"))? {
        // One that is closed meanwhile does not listen.
        let Ok(target) = std::fs::read_link(entry?.path()) else { continue };
        let target = target.to_string_lossy().into_owned();
        count += usize::from(inodes.iter().any(|inode| target == format!("socket:[{inode}]")));
    }
    Ok(count)
}

/// The inode of a socket that listens, from its line in `/proc/net/tcp`.
fn listener(line: &str) -> Option<String> {
    const LISTEN: &str = "0A";
    let fields: Vec<&str> = line.split_ascii_whitespace().collect();
    (fields.get(3) == Some(&LISTEN)).then(|| fields.get(9).map(|&inode| inode.to_owned()))?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listening_socket_is_seen_for_as_long_as_it_listens() {
        let pid = std::process::id();
        let before = listening(pid).unwrap();
        let socket = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
        assert_eq!(listening(pid).unwrap(), before + 1);
        drop(socket);
        assert_eq!(listening(pid).unwrap(), before);
        assert!(threads(pid).unwrap() >= 1 && descriptors(pid).unwrap() >= 3);
    }
}
