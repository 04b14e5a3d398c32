//! An ejabberd or Prosody for one test, as Debian ships them, with the settings that OpenSRF's own
//! documentation asks for and the accounts that its sites have (OPENSRF-XMPP §1, 11).

use std::io;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tokio::net::TcpStream;

use crate::bus::Process;
use crate::bus::account::{Account, Kind};
use crate::proof::skipped;

/// The domain of the gateway.
pub const DOMAIN: &str = "public.localhost";
/// The domain of the services.
pub const OTHER_DOMAIN: &str = "private.localhost";
/// Where both are.
pub const HOST: &str = "127.0.0.1";

/// How long anything is waited for that should come at once.
const PATIENCE: Duration = Duration::from_secs(30);
/// All that it serves; nobody of OpenSRF is in the first.
const DOMAINS: [&str; 3] = ["localhost", DOMAIN, OTHER_DOMAIN];
const USERS: [&str; 2] = ["router", "opensrf"];

/// Which server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Brand {
    /// ejabberd.
    Ejabberd,
    /// Prosody.
    Prosody,
}

/// A running server; killed when dropped.
#[derive(Debug)]
pub struct Server {
    brand: Brand,
    process: Child,
    port: u16,
    directory: tempfile::TempDir,
}

impl Server {
    /// Starts one on a free port; none, and a loud word about it, if it is not installed.
    ///
    /// # Errors
    /// It does not start.
    pub async fn start(brand: Brand) -> io::Result<Option<Self>> {
        Self::start_with(brand, "").await
    }

    /// Starts one with more lines in its configuration.
    ///
    /// # Errors
    /// It does not start.
    pub async fn start_with(brand: Brand, more: &str) -> io::Result<Option<Self>> {
        if !brand.is_installed() {
            let name = brand.name();
            skipped(&format!("everything over {name}"), &format!("{name} is not installed"));
            return Ok(None);
        }
        // A port that is free now may be gone before the server has it.
        for _ in 0..10 {
            let directory = tempfile::tempdir()?;
            let port = TcpListener::bind((HOST, 0))?.local_addr()?.port();
            brand.prepare(directory.path(), port, more)?;
            let process = brand.spawn(directory.path())?;
            let mut server = Self { brand, process, port, directory };
            if server.is_up().await? {
                return Ok(Some(server));
            }
        }
        Err(io::Error::other(format!("{} does not start", brand.name())))
    }

    /// Which it is.
    #[must_use]
    pub fn brand(&self) -> Brand {
        self.brand
    }

    /// Its port, in both domains.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// An account there.
    #[must_use]
    pub fn account(&self, user: &str, domain: &str) -> Account {
        Account {
            bus: Kind::Xmpp,
            user: user.to_owned(),
            password: format!("{user}pw"),
            domain: domain.to_owned(),
            host: HOST.to_owned(),
            port: self.port,
        }
    }

    /// The URL by which a gateway joins it.
    #[must_use]
    pub fn url(&self) -> String {
        self.account("opensrf", DOMAIN).url()
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// What it has written into its log.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn log(&self) -> io::Result<String> {
        std::fs::read_to_string(self.directory.path().join("log"))
    }

    /// Waits until it lets clients in; false if it has ended instead.
    async fn is_up(&mut self) -> io::Result<bool> {
        let began = Instant::now();
        while began.elapsed() < PATIENCE {
            if self.process.try_wait()?.is_some() {
                return Ok(false);
            }
            let is_ready = match self.brand {
                // It is reachable before its accounts are there.
                Brand::Ejabberd => self.directory.path().join("up").exists(),
                Brand::Prosody => true,
            };
            if is_ready && TcpStream::connect((HOST, self.port)).await.is_ok() {
                return Ok(true);
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Err(io::ErrorKind::TimedOut.into())
    }
}

impl Process for Server {
    fn signal(&self, signal: Signal) -> io::Result<()> {
        crate::bus::signal(&self.process, signal)
    }

    fn kill(&mut self) -> io::Result<()> {
        self.process.kill()?;
        self.process.wait().map(drop)
    }

    fn start_again(&mut self) -> Pin<Box<dyn Future<Output = io::Result<()>> + Send + '_>> {
        Box::pin(async {
            self.process = self.brand.spawn(self.directory.path())?;
            if self.is_up().await? {
                Ok(())
            } else {
                Err(io::Error::other(format!("{} does not start again", self.brand.name())))
            }
        })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may be gone already.
        drop(self.kill());
    }
}

impl Brand {
    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Ejabberd => "ejabberd",
            Self::Prosody => "prosody",
        }
    }

    /// More lines for its configuration, by which it takes from clients what it can; OpenSRF
    /// recommends a shaper for ejabberd, which would otherwise be all that is measured.
    #[must_use]
    pub fn without_shaper(self) -> &'static str {
        match self {
            Self::Ejabberd => {
                "host_config:\n  public.localhost:\n    shaper_rules:\n      c2s_shaper: none\n  \
                 private.localhost:\n    shaper_rules:\n      c2s_shaper: none\n"
            }
            Self::Prosody => "",
        }
    }

    fn is_installed(self) -> bool {
        match self {
            Self::Ejabberd => libraries().is_some(),
            Self::Prosody => Path::new("/usr/bin/prosody").exists(),
        }
    }

    /// Both know by the name of the file what is in it.
    fn configuration(self, directory: &Path) -> PathBuf {
        directory.join(match self {
            Self::Ejabberd => "ejabberd.yml",
            Self::Prosody => "prosody.cfg.lua",
        })
    }

    fn prepare(self, directory: &Path, port: u16, more: &str) -> io::Result<()> {
        let place = directory.display().to_string();
        let text = match self {
            Self::Ejabberd => include_str!("ejabberd.yml"),
            Self::Prosody => include_str!("prosody.cfg.lua"),
        };
        let text = text.replace("@DIRECTORY@", &place).replace("@PORT@", &port.to_string());
        let text = text.replace("@MORE@", more);
        std::fs::write(self.configuration(directory), text)?;
        if self == Self::Prosody {
            for domain in DOMAINS {
                let accounts =
                    directory.join("data").join(domain.replace('.', "%2e")).join("accounts");
                std::fs::create_dir_all(&accounts)?;
                for user in USERS {
                    let text = format!("return {{ [\"password\"] = \"{user}pw\"; }};\n");
                    std::fs::write(accounts.join(format!("{user}.dat")), text)?;
                }
            }
        }
        Ok(())
    }

    fn spawn(self, directory: &Path) -> io::Result<Child> {
        let mut command = match self {
            Self::Ejabberd => {
                // Of the one before, if there was one.
                drop(std::fs::remove_file(directory.join("up")));
                ejabberd(directory)
            }
            Self::Prosody => {
                let mut command = Command::new("/usr/bin/prosody");
                command.args(["-F", "--config"]).arg(self.configuration(directory));
                command
            }
        };
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()
    }
}

/// ejabberd as `ejabberdctl foreground` starts it, but for what it takes to steer it from outside:
/// with that, only one could run on a machine.
fn ejabberd(directory: &Path) -> Command {
    let mut command = Command::new("erl");
    let words = |words: &[&str]| {
        let quoted: Vec<String> = words.iter().map(|word| format!("<<\"{word}\">>")).collect();
        quoted.join(",")
    };
    let register = format!(
        "application:ensure_all_started(ejabberd), \
         [ejabberd_auth:try_register(U, S, <<U/binary, \"pw\">>) || U <- [{}], S <- [{}]], \
         file:write_file(\"{}\", \"\").",
        words(&USERS),
        words(&DOMAINS),
        directory.join("up").display()
    );
    let spool = format!("\"{}\"", directory.join("spool").display());
    command.args(["-noinput", "+S", "1", "+A", "1", "-mnesia", "dir", &spool]);
    command.args(["-s", "ejabberd", "-eval", &register]);
    command.env("HOME", directory).env("ERL_CRASH_DUMP_BYTES", "0");
    command.env("EJABBERD_CONFIG_PATH", Brand::Ejabberd.configuration(directory));
    command.env("EJABBERD_LOG_PATH", directory.join("log"));
    if let Some(libraries) = libraries() {
        command.env("ERL_LIBS", libraries);
    }
    command
}

/// Where ejabberd's libraries are: `/usr/lib/TRIPLET`.
fn libraries() -> Option<PathBuf> {
    let places = std::fs::read_dir("/usr/lib").ok()?.filter_map(Result::ok);
    places.map(|place| place.path()).find(|place| {
        let inside = std::fs::read_dir(place).into_iter().flatten().filter_map(Result::ok);
        inside.into_iter().any(|one| one.file_name().to_string_lossy().starts_with("ejabberd-"))
    })
}
