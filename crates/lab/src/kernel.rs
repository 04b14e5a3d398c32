//! What the kernel says of a process: its descriptors, its threads, its sockets, its memory, its
//! share of the processors; and of all that it has started.

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

/// For how many descriptors the kernel's table of them has room before it must be made anew.
///
/// # Errors
/// It is gone.
pub fn room_for_descriptors(pid: u32) -> io::Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let slots = status.lines().find_map(|line| line.strip_prefix("FDSize:")?.trim().parse().ok());
    slots.ok_or_else(|| io::Error::other("no FDSize"))
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
    Ok(sockets(pid)?.iter().filter(|socket| inodes.contains(socket)).count())
}

/// The inodes of its sockets.
fn sockets(pid: u32) -> io::Result<Vec<String>> {
    let mut inodes = Vec::new();
    for entry in std::fs::read_dir(format!("/proc/{pid}/fd"))? {
        // One that is closed meanwhile is none.
        let Ok(target) = std::fs::read_link(entry?.path()) else { continue };
        let target = target.to_string_lossy().into_owned();
        let inode = target.strip_prefix("socket:[").and_then(|rest| rest.strip_suffix(']'));
        inodes.extend(inode.map(str::to_owned));
    }
    Ok(inodes)
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
    times(pid, 2)
}

/// The sum of so many times: utime, stime, and both of the children that were reaped.
fn times(pid: u32, count: usize) -> io::Result<Duration> {
    let line = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name of the program, in brackets, may hold anything. The times begin at field 14
    // (proc_pid_stat(5)); the first behind the name is 3.
    let (_, fields) = line.rsplit_once(')').unwrap_or_default();
    Ok(ticks(fields.split_ascii_whitespace().skip(11).take(count)))
}

/// A process and all that come from it.
#[must_use]
pub fn family(pid: u32) -> Vec<u32> {
    let mut family = vec![pid];
    let mut next = 0;
    while let Some(&parent) = family.get(next) {
        next += 1;
        // One that has ended meanwhile has none.
        let children = children(parent).unwrap_or_default();
        family.extend(children.iter().map(|child| child.as_raw_nonzero().get().unsigned_abs()));
    }
    family
}

/// Processor time that a family has taken, of those too who have ended.
///
/// # Errors
/// Its head is gone.
pub fn family_cpu(pid: u32) -> io::Result<Duration> {
    cpu(pid)?;
    // One that has ended meanwhile is among its parent's.
    Ok(family(pid).into_iter().map(|one| times(one, 4).unwrap_or_default()).sum())
}

/// How much of the machine's memory a family has, in bytes. A page that several share counts once.
///
/// # Errors
/// Its head is gone.
pub fn family_memory(pid: u32) -> io::Result<u64> {
    resident(pid)?;
    // One that has ended meanwhile has none.
    let all = family(pid).into_iter().map(|one| bytes(one, "smaps_rollup", "Pss:"));
    Ok(all.map(Result::unwrap_or_default).sum())
}

/// How many TCP connections a family has to a port at 127.0.0.1.
///
/// # Errors
/// Its head is gone.
pub fn connections(pid: u32, port: u16) -> io::Result<usize> {
    let mut count = 0;
    for one in family(pid) {
        let mut inodes = Vec::new();
        for table in ["tcp", "tcp6"] {
            let table = std::fs::read_to_string(format!("/proc/{one}/net/{table}"));
            inodes.extend(table.unwrap_or_default().lines().filter_map(|line| to(line, port)));
        }
        count += sockets(one)?.iter().filter(|socket| inodes.contains(socket)).count();
    }
    Ok(count)
}

/// How much of the machine's memory it has, in bytes.
///
/// # Errors
/// It is gone.
pub fn resident(pid: u32) -> io::Result<u64> {
    bytes(pid, "status", "VmRSS:")
}

/// What a file about a process says of a size, in bytes.
fn bytes(pid: u32, file: &str, name: &str) -> io::Result<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/{file}"))?;
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB")?.trim().parse().ok());
    let missing = || io::Error::other(format!("no {name}"));
    kilobytes.map(|kilobytes: u64| kilobytes * 1024).ok_or_else(missing)
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

/// The inode of a socket that is connected to a port at 127.0.0.1, from its line in
/// `/proc/net/tcp`. The address counts: thousands of clients have all ports between them.
fn to(line: &str, port: u16) -> Option<String> {
    const ESTABLISHED: &str = "01";
    let fields: Vec<&str> = line.split_ascii_whitespace().collect();
    // As the kernel writes them: the address in the machine's own order, mapped into IPv6 or not.
    let local = format!("{:08X}:{port:04X}", u32::from_ne_bytes([127, 0, 0, 1]));
    let right = fields.get(2)?.ends_with(&local) && fields.get(3) == Some(&ESTABLISHED);
    right.then(|| fields.get(9).map(|&inode| inode.to_owned()))?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_family_is_counted_whole() {
        let socket = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = socket.local_addr().unwrap().port();
        let own = std::process::id();
        assert_eq!(connections(own, port).unwrap(), 0);
        let _connected = std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
        assert_eq!(connections(own, port).unwrap(), 1);
        let mut shell = std::process::Command::new("sh");
        let mut shell = shell.args(["-c", "sleep 60 & wait"]).spawn().unwrap();
        let began = std::time::Instant::now();
        while family(shell.id()).len() < 2 {
            assert!(began.elapsed() < Duration::from_secs(30), "it has no child");
        }
        let [head, child] = family(shell.id())[..] else { panic!("it has one child") };
        assert!(family(own).contains(&child));
        let memory = family_memory(head).unwrap();
        assert!(memory > family_memory(child).unwrap() && memory > 0);
        assert!(family_cpu(own).unwrap() >= family_cpu(head).unwrap());
        let child = i32::try_from(child).ok().and_then(Pid::from_raw).unwrap();
        rustix::process::kill_process(child, rustix::process::Signal::KILL).unwrap();
        shell.wait().unwrap();
        assert!(family_cpu(head).is_err() && family_memory(head).is_err());
    }

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
