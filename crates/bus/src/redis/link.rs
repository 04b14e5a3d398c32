//! One connection to a Redis server: the only file that names the crate. Nothing is ever sent but
//! AUTH, RPUSH, BLPOP, LPOP and DEL, since the accounts that OpenSRF ships may do nothing else.
//!
//! Law: a BLPOP is never given up by us while its connection lives. The message that it would
//! have brought would be lost.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::io::tcp::{TcpSettings, socket2::TcpKeepalive};
use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, ErrorKind, IntoConnectionInfo as _, Pipeline,
    RedisConnectionInfo, RedisError, ServerError, TlsCertificates, Value,
};
use tokio::time::timeout;

use super::Error;

/// How long Redis waits for a message before it says that there is none, seconds.
const BLOCKING_SECONDS: u32 = 1;
/// A server that answers nothing for so long (and BLPOP's own time) is lost.
const PATIENCE: Duration = Duration::from_secs(3);
/// What a server is trusted to take in a second, on top of [`PATIENCE`].
const BYTES_A_SECOND: usize = 4 << 20;

/// Where a Redis server is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Endpoint {
    /// By TCP.
    Tcp {
        /// Host name or IP address.
        host: String,
        /// Port; that of the other domains too.
        port: u16,
    },
    /// By TCP and TLS, with the host's name in its certificate.
    Tls {
        /// Host name or IP address.
        host: String,
        /// Port; that of the other domains too.
        port: u16,
        /// A PEM file of the certificates to trust; without it, those that the system trusts.
        authorities: Option<PathBuf>,
    },
    /// By a unix socket. All domains are taken to be served there.
    Unix {
        /// The socket.
        path: PathBuf,
    },
}

impl Endpoint {
    /// The same for another domain, whose name is that of its host.
    pub(super) fn of_domain(&self, domain: &str) -> Self {
        let host = domain.to_owned();
        match self {
            Self::Tcp { port, .. } => Self::Tcp { host, port: *port },
            Self::Tls { port, authorities, .. } => {
                Self::Tls { host, port: *port, authorities: authorities.clone() }
            }
            Self::Unix { .. } => self.clone(),
        }
    }

    fn host(&self) -> Option<(&str, u16)> {
        match self {
            Self::Tcp { host, port } | Self::Tls { host, port, .. } => Some((host, *port)),
            Self::Unix { .. } => None,
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } => write!(formatter, "{host}:{port}"),
            Self::Tls { host, port, .. } => write!(formatter, "{host}:{port} (TLS)"),
            Self::Unix { path } => write!(formatter, "{}", path.display()),
        }
    }
}

/// Who we are to a Redis server. Its `Debug` form hides the password.
#[derive(Clone)]
pub(super) struct Account {
    pub(super) user: String,
    pub(super) password: Option<String>,
}

impl fmt::Debug for Account {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Account").field("user", &self.user).finish_non_exhaustive()
    }
}

/// Why a command failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Broken {
    /// The connection is lost, or as good as lost.
    Lost(String),
    /// The server refuses, in its own words.
    Denied(String),
}

impl fmt::Display for Broken {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lost(reason) => formatter.write_str(reason),
            Self::Denied(said) => write!(formatter, "Redis refuses: {said}"),
        }
    }
}

/// A connection that is logged in. Dropping it closes it.
pub(super) struct Link {
    connection: MultiplexedConnection,
}

impl Link {
    /// Connects and logs in.
    pub(super) async fn open(
        endpoint: &Endpoint,
        account: &Account,
        patience: Duration,
    ) -> Result<Self, Error> {
        let client = client(endpoint, account)?;
        let config =
            AsyncConnectionConfig::new().set_connection_timeout(None).set_response_timeout(None);
        let connecting = client.get_multiplexed_async_connection_with_config(&config);
        match timeout(patience, connecting).await {
            Ok(Ok(connection)) => Ok(Self { connection }),
            Ok(Err(error)) => Err(explained(&error, endpoint, account).await),
            Err(_) => {
                Err(Error::NoAnswer { place: endpoint.to_string(), seconds: patience.as_secs() })
            }
        }
    }

    /// Pushes each text to its list, in this order, and says of each whether Redis took it. On an
    /// error nobody knows which of them it took.
    pub(super) async fn push(
        &mut self,
        texts: &[(&str, String)],
    ) -> Result<Vec<Result<(), String>>, Broken> {
        let mut pipeline = Pipeline::with_capacity(texts.len());
        for (list, text) in texts {
            pipeline.cmd("RPUSH").arg(list).arg(text);
        }
        let bytes: usize = texts.iter().map(|(_, text)| text.len()).sum();
        let patience = PATIENCE + Duration::from_secs((bytes / BYTES_A_SECOND) as u64);
        let answers = self.connection.send_packed_commands(&pipeline, 0, texts.len());
        let answers = in_time(patience, answers).await?;
        Ok(answers.into_iter().map(|answer| accepted(&answer)).collect())
    }

    /// Waits a second for a message in `list`, and takes up to `count` more that are there by then.
    /// Both are asked at once: Redis answers the second when it can answer the first.
    pub(super) async fn wait(&mut self, list: &str, count: usize) -> Result<Vec<Vec<u8>>, Broken> {
        let mut pipeline = Pipeline::with_capacity(2);
        pipeline.cmd("BLPOP").arg(list).arg(BLOCKING_SECONDS).cmd("LPOP").arg(list).arg(count);
        let answers = self.connection.send_packed_commands(&pipeline, 0, 2);
        let mut messages = Vec::new();
        for (index, answer) in in_time(PATIENCE, answers).await?.into_iter().enumerate() {
            // BLPOP's answer begins with the name of the list.
            let name = if index == 0 { 1 } else { 0 };
            messages.extend(texts(answer)?.into_iter().skip(name));
        }
        Ok(messages)
    }

    /// Takes up to `count` messages out of `list`.
    pub(super) async fn take(&mut self, list: &str, count: usize) -> Result<Vec<Vec<u8>>, Broken> {
        let mut command = redis::cmd("LPOP");
        command.arg(list).arg(count);
        texts(in_time(PATIENCE, self.connection.send_packed_command(&command)).await?)
    }

    /// Deletes lists. Of a list that is not there it only shows that the connection works.
    pub(super) async fn delete(&mut self, lists: &[&str]) -> Result<(), Broken> {
        let mut command = redis::cmd("DEL");
        command.arg(lists);
        let answer = in_time(PATIENCE, self.connection.send_packed_command(&command)).await?;
        accepted(&answer).map_err(Broken::Denied)
    }
}

async fn in_time<T>(
    patience: Duration,
    answer: impl Future<Output = Result<T, RedisError>>,
) -> Result<T, Broken> {
    match timeout(patience, answer).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => Err(Broken::Lost(in_one_line(&error))),
        Err(_) => Err(Broken::Lost(format!("no answer within {} s", patience.as_secs()))),
    }
}

/// What an answer says about a command that returns a number.
fn accepted(answer: &Value) -> Result<(), String> {
    if let Value::ServerError(error) = answer {
        return Err(words(error));
    }
    let number = matches!(answer, Value::Int(_));
    number.then_some(()).ok_or_else(|| "an answer that is no number".to_owned())
}

/// The texts that an answer holds; nil holds none.
fn texts(answer: Value) -> Result<Vec<Vec<u8>>, Broken> {
    if let Value::ServerError(error) = &answer {
        return Err(Broken::Denied(words(error)));
    }
    if answer == Value::Nil {
        return Ok(Vec::new());
    }
    let no_texts = || Broken::Lost("an answer that is no list of texts".to_owned());
    let Value::Array(items) = answer else { return Err(no_texts()) };
    let text = |item| if let Value::BulkString(text) = item { Ok(text) } else { Err(no_texts()) };
    items.into_iter().map(text).collect()
}

/// The server's words as it said them.
fn words(error: &ServerError) -> String {
    format!("{} {}", error.code(), error.details().unwrap_or_default())
}

fn in_one_line(error: &RedisError) -> String {
    error.to_string().split_whitespace().collect::<Vec<_>>().join(" ")
}

fn client(endpoint: &Endpoint, account: &Account) -> Result<Client, Error> {
    let mut login = RedisConnectionInfo::default().set_skip_set_lib_name();
    if let Some(password) = &account.password {
        login = login.set_username(&account.user).set_password(password);
    }
    let keepalive = TcpKeepalive::new().with_time(Duration::from_secs(60));
    let tcp = TcpSettings::default().set_nodelay(true).set_keepalive(keepalive);
    let failed = |error: RedisError| Error::Connection {
        place: endpoint.to_string(),
        reason: in_one_line(&error),
    };
    let info = |address: ConnectionAddr| {
        let info = address.into_connection_info().map_err(failed)?;
        Ok::<_, Error>(info.set_redis_settings(login).set_tcp_settings(tcp))
    };
    match endpoint {
        Endpoint::Tcp { host, port } => {
            Client::open(info(ConnectionAddr::Tcp(host.clone(), *port))?).map_err(failed)
        }
        Endpoint::Unix { path } => {
            Client::open(info(ConnectionAddr::Unix(path.clone()))?).map_err(failed)
        }
        Endpoint::Tls { host, port, authorities } => {
            // Fails if the process has chosen one already, which then is used.
            drop(rustls::crypto::ring::default_provider().install_default());
            let (host, port, tls_params) = (host.clone(), *port, None);
            let info = info(ConnectionAddr::TcpTls { host, port, insecure: false, tls_params })?;
            let Some(path) = authorities else { return Client::open(info).map_err(failed) };
            let unusable = |source| Error::Certificates { path: path.clone(), source };
            let root_cert = Some(std::fs::read(path).map_err(unusable)?);
            Client::build_with_tls(info, TlsCertificates { client_tls: None, root_cert })
                .map_err(|error| unusable(io::Error::other(error.to_string())))
        }
    }
}

async fn explained(error: &RedisError, endpoint: &Endpoint, account: &Account) -> Error {
    let place = endpoint.to_string();
    if error.kind() == ErrorKind::AuthenticationFailed {
        return Error::Login { place, user: account.user.clone() };
    }
    if error.is_connection_refusal() {
        return Error::ConnectionRefused { place };
    }
    if let Some((host, port)) = endpoint.host()
        && error.is_io_error()
        && let Ok(Err(_)) = timeout(PATIENCE, tokio::net::lookup_host((host, port))).await
    {
        return Error::UnknownHost { host: host.to_owned() };
    }
    Error::Connection { place, reason: in_one_line(error) }
}
