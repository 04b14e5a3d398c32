//! What the process finds around it: directories, user, limits. Read once in `main` and passed
//! on, so that nothing else asks the environment.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use rustix::io::fcntl_dupfd_cloexec;
use rustix::process::{Resource, getrlimit, getuid, setrlimit};

use super::settings::DEFAULT_LISTEN;
use crate::front::{Inherited, ListenAddress};

/// What the process finds around it.
#[derive(Debug, Clone, Default)]
pub struct Surroundings {
    /// `$RUNTIME_DIRECTORY`, which systemd sets; the first of its directories is used.
    pub runtime_directory: Option<OsString>,
    /// `$XDG_RUNTIME_DIR`: `/run/user/UID` of a logged-in user.
    pub xdg_runtime_dir: Option<OsString>,
    /// `$STATE_DIRECTORY`, which systemd sets; the first of its directories is used.
    pub state_directory: Option<OsString>,
    /// `$XDG_STATE_HOME`, or `~/.local/state`.
    pub state_home: Option<PathBuf>,
    /// The real user id.
    pub user: u32,
    /// How many descriptors the process may have open; `None` is no limit.
    pub open_files: Option<u64>,
    /// Where sockets listen that the process was started with.
    pub inherited: Vec<ListenAddress>,
    /// The names of the environment variables that begin with `SLACKWATER_`.
    pub variables: Vec<String>,
}

/// Descriptors kept for what is not a client: the bus, listeners, the control socket, files.
const RESERVED_FILES: u64 = 64;

/// Where no limit on open files is set, this many connections are taken.
const MOST_CONNECTIONS: u64 = 1_000_000;

/// So many descriptors have room from the start.
const ROOM_FOR_FILES: u64 = 65_536;

/// Raises the soft limit on open files to the hard one: each client is a descriptor, and the soft
/// limit is kept low only for programs that use `select`.
pub fn raise_open_files() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // What cannot be raised stays; how many clients there may be is asked for afterwards.
    setrlimit(Resource::Nofile, limit).ok();
}

/// Has the kernel make room for as many descriptors as the process may have, 65,536 at most; to be
/// called while there is one thread. The kernel's table of them grows by doubling, for which a process of
/// several threads waits until no processor can be reading the old one (`expand_fdtable`, 6 to 28 ms
/// each time on a machine of 2), and with the thread that accepts all whose turn is on it. Takes 8
/// bytes a descriptor, of the kernel's memory.
pub fn make_room_for_files() {
    let files = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX).min(ROOM_FOR_FILES);
    if let Ok(last) = i32::try_from(files.saturating_sub(1)) {
        // Without it the table grows as it always has.
        fcntl_dupfd_cloexec(std::io::stderr(), last).ok();
    }
}

impl Surroundings {
    /// Asks the operating system. The limit on open files is the soft one as it stands now.
    pub fn of_process(inherited: &[Inherited]) -> Self {
        let set = |name| std::env::var_os(name).filter(|value| !value.is_empty());
        Self {
            runtime_directory: set("RUNTIME_DIRECTORY"),
            xdg_runtime_dir: set("XDG_RUNTIME_DIR"),
            state_directory: set("STATE_DIRECTORY"),
            state_home: set("XDG_STATE_HOME")
                .map(PathBuf::from)
                .or_else(|| Some(PathBuf::from(set("HOME")?).join(".local/state"))),
            user: getuid().as_raw(),
            open_files: getrlimit(Resource::Nofile).current,
            inherited: inherited.iter().map(|socket| socket.address().clone()).collect(),
            variables: std::env::vars_os()
                .filter_map(|(name, _)| name.into_string().ok())
                .filter(|name| name.starts_with("SLACKWATER_"))
                .collect(),
        }
    }

    /// The control socket of a gateway that was not told another: its directory by these
    /// surroundings, its name by where the gateway listens (as bound, if the port was 0).
    pub fn control_path(&self, listening: &[ListenAddress]) -> PathBuf {
        let directory = self.control_directories().next().unwrap_or_else(|| self.own_directory());
        directory.join(socket_name(listening))
    }

    /// Where a gateway keeps what must outlive it.
    pub fn state_directory(&self) -> PathBuf {
        let by_systemd = self.state_directory.as_ref().and_then(first_directory);
        by_systemd
            .or_else(|| Some(self.state_home.as_ref()?.join("slackwater")))
            .unwrap_or_else(|| self.own_directory().join("state"))
    }

    /// The directories in which a gateway's control socket can be, the likeliest first. The first
    /// one is where a gateway started in these surroundings puts its own.
    pub fn control_directories(&self) -> impl Iterator<Item = PathBuf> {
        let by_systemd = self.runtime_directory.as_ref().and_then(first_directory);
        let by_session = self
            .xdg_runtime_dir
            .as_ref()
            .map(|directory| PathBuf::from(directory).join("slackwater"));
        let packaged = PathBuf::from("/run/slackwater");
        let mut all = Vec::from_iter(by_systemd);
        for next in by_session.into_iter().chain([self.own_directory(), packaged]) {
            // Under the packaged service, systemd names the last one, too.
            if !all.contains(&next) {
                all.push(next);
            }
        }
        all.into_iter()
    }

    /// The directory of last resort. Anyone can make it first, so whoever uses it must see that
    /// it belongs to [`Self::user`] and to nobody else.
    pub fn own_directory(&self) -> PathBuf {
        PathBuf::from(format!("/tmp/slackwater-{}", self.user))
    }

    /// How many clients the limit on open files leaves room for, at least 1.
    pub(super) fn connections(&self) -> usize {
        let clients = self.open_files.map_or(MOST_CONNECTIONS, |files| {
            files.saturating_sub(RESERVED_FILES).clamp(1, MOST_CONNECTIONS)
        });
        usize::try_from(clients).unwrap_or(usize::MAX)
    }
}

/// systemd separates several directories by colons.
fn first_directory(directories: &OsString) -> Option<PathBuf> {
    let first = directories.as_bytes().split(|byte| *byte == b':').next()?;
    Some(PathBuf::from(std::ffi::OsStr::from_bytes(first)))
}

/// The file name of a gateway's control socket: its first port, or a hash of its first unix
/// socket's path, which is the same in every build and on every machine.
pub fn socket_name(listening: &[ListenAddress]) -> String {
    let port = listening.iter().find_map(|listen| match listen {
        ListenAddress::Tcp(address) => Some(address.port()),
        ListenAddress::Unix(_) => None,
    });
    if let Some(port) = port {
        return format!("{port}.sock");
    }
    match listening.first().unwrap_or(&DEFAULT_LISTEN) {
        ListenAddress::Tcp(address) => format!("{}.sock", address.port()),
        ListenAddress::Unix(path) => format!("{:016x}.sock", fnv1a(path.as_os_str().as_bytes())),
    }
}

/// FNV-1a, 64 bits.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_control_socket_is_named_after_the_first_port() {
        let listen = |texts: &[&str]| -> Vec<ListenAddress> {
            texts.iter().map(|text| text.parse().unwrap()).collect()
        };
        assert_eq!(socket_name(&[]), "7682.sock");
        assert_eq!(socket_name(&listen(&["127.0.0.1:80", "127.0.0.1:81"])), "80.sock");
        assert_eq!(socket_name(&listen(&["unix:/a", "127.0.0.1:81"])), "81.sock");
        // FNV-1a of "/a", worked out by the published test vectors' method.
        assert_eq!(socket_name(&listen(&["unix:/a"])), format!("{:016x}.sock", fnv1a(b"/a")));
        assert_eq!(fnv1a(b"a"), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(fnv1a(b"foobar"), 0x8594_4171_f739_67e8);
    }

    #[test]
    fn the_runtime_directory_of_systemd_comes_first() {
        let mut around = Surroundings { user: 7, ..Surroundings::default() };
        let path = |around: &Surroundings| around.control_path(&[]).display().to_string();
        assert_eq!(path(&around), "/tmp/slackwater-7/7682.sock");
        around.xdg_runtime_dir = Some("/run/user/7".into());
        assert_eq!(path(&around), "/run/user/7/slackwater/7682.sock");
        around.runtime_directory = Some("/run/one:/run/two".into());
        assert_eq!(path(&around), "/run/one/7682.sock");
        around.runtime_directory = Some("/run/slackwater".into());
        let all: Vec<_> = around.control_directories().collect();
        assert_eq!(
            all,
            ["/run/slackwater", "/run/user/7/slackwater", "/tmp/slackwater-7"].map(PathBuf::from)
        );
    }

    #[test]
    fn connections_leave_room_for_other_files() {
        let around = |open_files| Surroundings { open_files, ..Surroundings::default() };
        assert_eq!(around(Some(1_024)).connections(), 960);
        assert_eq!(around(Some(10)).connections(), 1);
        assert_eq!(around(None).connections(), 1_000_000);
    }
}
