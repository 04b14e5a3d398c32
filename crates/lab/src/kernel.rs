//! What the kernel says of a process: its descriptors, its threads, its listening sockets, its
//! share of the processors.

use std::io;
use std::time::Duration;

use rustix::process::Pid;

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

/// The processes that it has started and not reaped.
///
/// # Errors
/// It is gone.
pub fn children(pid: u32) -> io::Result<Vec<Pid>> {
    let mut children = Vec::new();
    for task in std::fs::read_dir(format!("/proc/{pid}/task"))? {
        // A thread that has ended meanwhile has none.
        let text = std::fs::read_to_string(task?.path().join("children")).unwrap_or_default();
        let numbers = text.split_ascii_whitespace().filter_map(|number| number.parse().ok());
        children.extend(numbers.filter_map(Pid::from_raw));
    }
    Ok(children)
}

/// Processor time that it has taken, of user and kernel, to a hundredth of a second.
///
/// # Errors
/// It is gone.
pub fn cpu(pid: u32) -> io::Result<Duration> {
    let line = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name of the program, in brackets, may hold anything. utime and stime are fields 14 and
    // 15 (proc_pid_stat(5)); the first behind the name is 3.
    let (_, fields) = line.rsplit_once(')').unwrap_or_default();
    Ok(ticks(fields.split_ascii_whitespace().skip(11).take(2)))
}

/// How much of the machine's memory it has, in bytes.
///
/// # Errors
/// It is gone.
pub fn resident(pid: u32) -> io::Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB")?.trim().parse().ok());
    kilobytes.map(|kilobytes: u64| kilobytes * 1024).ok_or_else(|| io::Error::other("no VmRSS"))
}

/// Processor time that this machine has been busy for, all processors together.
///
/// # Errors
/// `/proc` is not there.
pub fn busy() -> io::Result<Duration> {
    let stat = std::fs::read_to_string("/proc/stat")?;
    let all = stat.lines().next().unwrap_or_default().split_ascii_whitespace().skip(1);
    // Behind user, nice and system come idle and iowait; behind steal, what was counted before.
    let busy = all.take(8).enumerate().filter(|(index, _)| ![3, 4].contains(index));
    Ok(ticks(busy.map(|(_, value)| value)))
}

fn ticks<'a>(values: impl Iterator<Item = &'a str>) -> Duration {
    let ticks: u64 = values.filter_map(|value| value.parse::<u64>().ok()).sum();
    Duration::from_secs_f64(ticks as f64 / rustix::param::clock_ticks_per_second() as f64)
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

    #[test]
    fn work_takes_processor_time_of_the_process_and_of_the_machine() {
        let read = || (cpu(std::process::id()).unwrap(), busy().unwrap());
        let before = read();
        let began = std::time::Instant::now();
        while read().0 < before.0 + Duration::from_millis(50) {
            assert!(began.elapsed() < Duration::from_secs(30), "it spins, and nobody counts it");
        }
        assert!(read().1 > before.1);
    }
}
