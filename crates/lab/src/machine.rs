//! A real systemd, as PID 1 of a container over a throw-away overlay of this machine's root: units
//! are tried as they are shipped.
//!
//! Law: nothing outside the container's own directory changes, and nothing of it is left; the
//! network is this machine's, so that tests connect as they always do.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use tokio::process::{Child, Command};

use crate::proof::skipped;

/// How long a boot, and any one command, may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// Makes the root and becomes the container; arguments: its directory and its name. Of the units
/// that this machine has enabled none is started.
const BOOT: &str = r#"
set -e
mount -t tmpfs -o size=1g tmpfs "$1/scratch"
mkdir "$1/scratch/upper" "$1/scratch/work" "$1/scratch/root"
mount -t overlay -o "lowerdir=/,upperdir=$1/scratch/upper,workdir=$1/scratch/work" overlay "$1/scratch/root"
rm -rf "$1"/scratch/root/etc/systemd/system/*.wants
cp -a "$1/files/." "$1/scratch/root/"
exec systemd-nspawn --quiet --register=no --keep-unit --directory="$1/scratch/root" \
    --machine="$2" --console=pipe /lib/systemd/systemd --unit=multi-user.target
"#;

/// A running container; powered off when dropped.
#[derive(Debug)]
pub struct Machine {
    container: Child,
    leader: u32,
    _directory: tempfile::TempDir,
}

/// A file of the container: its absolute path there, what is in it, and its mode.
#[derive(Debug)]
pub struct File<'a> {
    /// Where it stands.
    pub path: &'a str,
    /// All of it.
    pub content: Vec<u8>,
    /// Of the permissions.
    pub mode: u32,
}

impl Machine {
    /// Boots one with these files. `None`, and a loud word about it, if none boots here: nothing of
    /// what is to be tried has a part in a boot.
    ///
    /// # Errors
    /// Its files cannot be written, or its programs not be run.
    pub async fn start(what: &str, files: &[File<'_>]) -> io::Result<Option<Self>> {
        if let Some(why) = obstacle() {
            skipped(what, &why);
            return Ok(None);
        }
        let directory = tempfile::tempdir()?;
        std::fs::create_dir(directory.path().join("scratch"))?;
        for File { path, content, mode } in files {
            let path = directory.path().join("files").join(path.trim_start_matches('/'));
            std::fs::create_dir_all(path.parent().unwrap_or(&path))?;
            std::fs::write(&path, content)?;
            std::fs::set_permissions(&path, PermissionsExt::from_mode(*mode))?;
        }
        // Copied with the files: what tempfile makes is for its owner alone, this is a root.
        std::fs::set_permissions(directory.path().join("files"), PermissionsExt::from_mode(0o755))?;
        let said = std::fs::File::create(directory.path().join("said"))?;
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("slackwater-{}-{number}", std::process::id());
        let container = Command::new("unshare")
            .args(["--mount", "--propagation", "private", "sh", "-c", BOOT, "sh"])
            .arg(directory.path())
            .arg(name)
            .stdin(Stdio::null())
            .stdout(said.try_clone()?)
            .stderr(said)
            .kill_on_drop(true)
            .spawn()?;
        let mut machine = Self { container, leader: 0, _directory: directory };
        let began = Instant::now();
        while began.elapsed() < PATIENCE {
            if machine.container.try_wait()?.is_some() {
                break;
            }
            machine.leader = leader(machine.container.id().unwrap_or_default()).unwrap_or_default();
            if machine.leader != 0 {
                let state = machine.run(&["systemctl", "is-system-running"]).await?;
                let state = String::from_utf8_lossy(&state.stdout).trim().to_owned();
                if state == "running" || state == "degraded" {
                    return Ok(Some(machine));
                }
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let said = std::fs::read(machine._directory.path().join("said"))?;
        let said = String::from_utf8_lossy(&said).replace(['\r', '\n'], " ");
        skipped(what, &format!("no systemd comes up here: {said}"));
        Ok(None)
    }

    /// Runs a command in it, to the end.
    ///
    /// # Errors
    /// It could not be run, or did not end in time.
    pub async fn run(&self, command: &[&str]) -> io::Result<Output> {
        let leader = self.leader.to_string();
        let mut all = Command::new("nsenter");
        all.args(["--target", &leader, "--mount", "--pid", "--uts", "--ipc", "--root", "--wd"]);
        all.arg("--").args(command).env_remove("NOTIFY_SOCKET").stdin(Stdio::null());
        tokio::time::timeout(PATIENCE, all.kill_on_drop(true).output()).await?
    }

    /// The same for a command that must succeed; gives its output.
    ///
    /// # Errors
    /// It did not; the text is what it said.
    pub async fn must(&self, command: &[&str]) -> io::Result<String> {
        let output = self.run(command).await?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        if output.status.success() {
            return Ok(text);
        }
        let said = String::from_utf8_lossy(&output.stderr);
        Err(io::Error::other(format!("{command:?}: {}: {text}{said}", output.status)))
    }

    /// Ends it.
    ///
    /// # Errors
    /// It does not end.
    pub async fn stop(mut self) -> io::Result<()> {
        self.run(&["systemctl", "poweroff", "--force"]).await?;
        tokio::time::timeout(PATIENCE, self.container.wait()).await??;
        Ok(())
    }
}

impl Drop for Machine {
    /// With its first process all others end; the mounts go with the last of them.
    fn drop(&mut self) {
        let leader = i32::try_from(self.leader).ok().and_then(rustix::process::Pid::from_raw);
        if let (Some(leader), Ok(None)) = (leader, self.container.try_wait()) {
            rustix::process::kill_process(leader, rustix::process::Signal::KILL).ok();
        }
    }
}

/// Why there can be no container here.
fn obstacle() -> Option<String> {
    if !rustix::process::geteuid().is_root() {
        return Some("it takes root".to_owned());
    }
    let needed = ["systemd-nspawn", "unshare", "nsenter"];
    let path = std::env::var_os("PATH").unwrap_or_default();
    let is_there =
        |program: &&str| std::env::split_paths(&path).any(|at| at.join(program).exists());
    let missing = needed.into_iter().find(|program| !is_there(program))?;
    Some(format!("there is no {missing}"))
}

/// The first process inside, by its number outside: a descendant that is 1 for itself.
fn leader(container: u32) -> Option<u32> {
    let children = |of: u32| -> Vec<u32> {
        let path = PathBuf::from(format!("/proc/{of}/task/{of}/children"));
        let text = std::fs::read_to_string(path).unwrap_or_default();
        text.split_whitespace().filter_map(|child| child.parse().ok()).collect()
    };
    let mut found = children(container);
    while let Some(process) = found.pop() {
        if is_first(Path::new(&format!("/proc/{process}/status"))) {
            return Some(process);
        }
        found.extend(children(process));
    }
    None
}

fn is_first(status: &Path) -> bool {
    let text = std::fs::read_to_string(status).unwrap_or_default();
    let numbers = text.lines().find_map(|line| line.strip_prefix("NSpid:"));
    numbers.is_some_and(|numbers| {
        let numbers: Vec<&str> = numbers.split_whitespace().collect();
        numbers.len() > 1 && numbers.last() == Some(&"1")
    })
}
