//! A redis-server for one test, with the accounts that OpenSRF sites have, seen and steered from
//! an account that may do everything.

use std::ffi::OsString;
use std::io;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionAddr, FromRedisValue, IntoConnectionInfo as _,
    RedisConnectionInfo,
};
use slackwater_bus::Endpoint;
use slackwater_bus::QueueLimits;
use slackwater_bus::redis::Options;
use tokio::net::UnixStream;

use ::rustix::process::Signal;

use crate::bus::Process;
use crate::bus::account::{Account, Kind};
use crate::proof::skipped;

/// The domain of the gateway: a loopback address, so that nothing need be configured.
pub const DOMAIN: &str = "127.0.0.1";
/// Another domain, on the same server.
pub const OTHER_DOMAIN: &str = "127.0.1.2";

/// How long anything is waited for that should come at once.
const PATIENCE: Duration = Duration::from_secs(30);
/// Names another program to run in place of `redis-server`: its path or name.
const PROGRAM: &str = "LAB_REDIS_SERVER";
/// The rights of OpenSRF's own accounts; those of services have the services' lists too.
const RIGHTS: &str = "-@all +lpop +blpop +rpush +del ~opensrf:router:* ~opensrf:client:*";

/// A running redis-server; killed when dropped.
#[derive(Debug)]
pub struct Server {
    process: Child,
    port: u16,
    options: Vec<String>,
    directory: tempfile::TempDir,
}

impl Server {
    /// Starts one on a free port; none, and a loud word about it, if it is not installed.
    ///
    /// # Errors
    /// It does not start.
    pub async fn start() -> io::Result<Option<Self>> {
        Self::start_with(&[]).await
    }

    /// Starts one with more options.
    ///
    /// # Errors
    /// It does not start.
    pub async fn start_with(options: &[&str]) -> io::Result<Option<Self>> {
        if !installed() {
            skipped("everything over a real Redis", "redis-server is not installed");
            return Ok(None);
        }
        let directory = tempfile::tempdir()?;
        let accounts = [
            "user default on >adminpw ~* +@all".to_owned(),
            format!("user opensrf on >opensrfpw {RIGHTS} ~opensrf:service:*"),
            format!("user router on >routerpw {RIGHTS} ~opensrf:service:*"),
            format!("user gateway on >gatewaypw {RIGHTS}"),
            "user poor on >poorpw -@all +rpush +del ~opensrf:client:*".to_owned(),
        ];
        std::fs::write(directory.path().join("accounts"), accounts.join("\n") + "\n")?;
        let options: Vec<String> = options.iter().map(|&option| option.to_owned()).collect();
        // A port that is free now may be gone before the server has it.
        for _ in 0..10 {
            let port = TcpListener::bind((DOMAIN, 0))?.local_addr()?.port();
            let mut process = spawn(directory.path(), port, &options)?;
            if is_up(&mut process, directory.path()).await? {
                return Ok(Some(Self { process, port, options, directory }));
            }
        }
        Err(io::Error::other("redis-server does not start"))
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
            bus: Kind::Redis,
            user: user.to_owned(),
            password: format!("{user}pw"),
            domain: domain.to_owned(),
            host: domain.to_owned(),
            port: self.port,
        }
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Its unix socket.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.directory.path().join("socket")
    }

    /// What a gateway is told about it.
    #[must_use]
    pub fn gateway(&self, state_directory: &Path) -> Options {
        Options {
            endpoint: Endpoint::Tcp { host: DOMAIN.to_owned(), port: self.port },
            username: "gateway".to_owned(),
            password: Some("gatewaypw".to_owned()),
            domain: DOMAIN.to_owned(),
            router_name: "router".to_owned(),
            max_message_size: 10 << 20,
            size_warning: None,
            state_directory: state_directory.to_owned(),
            sweeps_after: Duration::ZERO,
            queue: QueueLimits::default(),
        }
    }

    /// A connection that may do everything.
    ///
    /// # Errors
    /// It does not answer.
    pub async fn admin(&self) -> redis::RedisResult<MultiplexedConnection> {
        let login = RedisConnectionInfo::default()
            .set_username("default")
            .set_password("adminpw")
            .set_skip_set_lib_name();
        let address = ConnectionAddr::Tcp(DOMAIN.to_owned(), self.port);
        let client = Client::open(address.into_connection_info()?.set_redis_settings(login))?;
        let config = AsyncConnectionConfig::new().set_response_timeout(None);
        client.get_multiplexed_async_connection_with_config(&config).await
    }

    /// Runs one command as one who may do everything: `ask("LLEN name")`.
    ///
    /// # Errors
    /// It does not answer, or not so.
    pub async fn ask<T: FromRedisValue>(&self, command: &str) -> redis::RedisResult<T> {
        let mut words = command.split(' ');
        let mut asked = Cmd::new();
        words.by_ref().for_each(|word| {
            asked.arg(word);
        });
        asked.query_async(&mut self.admin().await?).await
    }

    /// All lists.
    ///
    /// # Errors
    /// It does not answer.
    pub async fn lists(&self) -> redis::RedisResult<Vec<String>> {
        self.ask("KEYS *").await
    }

    /// The numbers of an account's connections, which grow.
    ///
    /// # Errors
    /// It does not answer.
    pub async fn connections(&self, user: &str) -> redis::RedisResult<Vec<u64>> {
        let (all, mark): (String, _) = (self.ask("CLIENT LIST").await?, format!("user={user} "));
        let theirs = all.lines().filter(|line| format!("{line} ").contains(&mark));
        let id =
            |line: &str| line.split(' ').find_map(|word| word.strip_prefix("id="))?.parse().ok();
        Ok(theirs.filter_map(id).collect())
    }

    /// How often an account tried what it may not: what the ACL log holds, and what failed in any
    /// other way, as a command does that this version does not know.
    ///
    /// # Errors
    /// It does not answer.
    pub async fn denials(&self) -> redis::RedisResult<usize> {
        let log: Vec<redis::Value> = self.ask("ACL LOG").await?;
        let failures: String = self.ask("INFO errorstats").await?;
        Ok(log.len() + failures.matches("errorstat_").count())
    }

    /// Waits until `pattern` names as many lists.
    ///
    /// # Errors
    /// It does not come to be.
    pub async fn until_lists(&self, pattern: &str, count: usize) -> io::Result<()> {
        let began = Instant::now();
        loop {
            let lists: Vec<String> =
                self.ask(&format!("KEYS {pattern}")).await.map_err(io::Error::other)?;
            if lists.len() == count {
                return Ok(());
            }
            if began.elapsed() > PATIENCE {
                return Err(io::Error::other(format!("not {count}: {lists:?}")));
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
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
            self.process = spawn(self.directory.path(), self.port, &self.options)?;
            if is_up(&mut self.process, self.directory.path()).await? {
                Ok(())
            } else {
                Err(io::Error::other("redis-server does not start again"))
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

fn program() -> OsString {
    std::env::var_os(PROGRAM).unwrap_or_else(|| "redis-server".into())
}

fn installed() -> bool {
    let found = Command::new(program()).arg("--version").stdout(Stdio::null()).status();
    found.is_ok_and(|status| status.success())
}

fn spawn(directory: &Path, port: u16, options: &[String]) -> io::Result<Child> {
    let mut command = Command::new(program());
    command.args(["--port", &port.to_string(), "--bind", DOMAIN, OTHER_DOMAIN]);
    command.args(["--save", "", "--appendonly", "no", "--dir"]).arg(directory);
    command.arg("--aclfile").arg(directory.join("accounts"));
    command.arg("--unixsocket").arg(directory.join("socket")).args(options);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()
}

/// Waits until it accepts connections; false if it has ended instead. Its socket comes after its
/// port, and is certainly its own.
async fn is_up(process: &mut Child, directory: &Path) -> io::Result<bool> {
    let began = Instant::now();
    while began.elapsed() < PATIENCE {
        if process.try_wait()?.is_some() {
            return Ok(false);
        }
        if UnixStream::connect(directory.join("socket")).await.is_ok() {
            return Ok(true);
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Err(io::ErrorKind::TimedOut.into())
}
