//! nginx and HAProxy in front of a gateway: real processes in a directory of their own, on ports of
//! their own, plain and with TLS.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::process::{Child, Command};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::certificate::Certificate;
use crate::raw::{RawClient, handshake};

/// Which proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// nginx.
    Nginx,
    /// HAProxy.
    Haproxy,
}

/// A running proxy; told to end when dropped.
#[derive(Debug)]
pub struct Proxy {
    plain: SocketAddr,
    tls: SocketAddr,
    certificate: CertificateDer<'static>,
    _process: Process,
}

/// A proxy with one port and one thing that it can do; told to end when dropped.
#[derive(Debug)]
pub struct PlainProxy {
    listen: SocketAddr,
    _process: Process,
}

impl PlainProxy {
    /// One that passes on bytes and says before them whose they are. `option` is that of HAProxy's
    /// `server`: `send-proxy`, `send-proxy-v2` or the like; its checks speak so, too. `None` if this
    /// host has no HAProxy.
    ///
    /// # Errors
    /// It does not come up.
    pub async fn naming(option: &str, upstream: SocketAddr) -> io::Result<Option<Self>> {
        let listen = free_port().await?;
        let configuration = format!(
            "global\n maxconn 500\n\
             defaults\n mode tcp\n timeout connect 2s\n timeout client 1h\n timeout server 1h\n\
             frontend clients\n bind {listen}\n default_backend gateway\n\
             backend gateway\n option httpchk GET /health/livez\n http-check expect status 200\n\
             server one {upstream} {option} check check-send-proxy inter 200ms\n"
        );
        let directory = tempfile::tempdir()?;
        let process = Process::start(Kind::Haproxy, directory, &configuration, listen).await?;
        Ok(process.map(|process| Self { listen, _process: process }))
    }

    /// For clients that speak HTTP/2 without TLS; says nothing of whose the connections are.
    ///
    /// # Errors
    /// It does not come up.
    pub async fn http2(kind: Kind, upstream: SocketAddr) -> io::Result<Option<Self>> {
        let listen = free_port().await?;
        let configuration = match kind {
            Kind::Haproxy => format!(
                "global\n maxconn 500\n\
                 defaults\n mode http\n timeout connect 2s\n timeout client 30s\n\
                 timeout server 30s\n timeout tunnel 1h\n\
                 frontend clients\n bind {listen} proto h2\n default_backend gateway\n\
                 backend gateway\n server one {upstream}\n"
            ),
            Kind::Nginx => format!(
                "daemon off;\npid nginx.pid;\nerror_log stderr warn;\n\
                 events {{ worker_connections 512; }}\n\
                 http {{\n access_log off;\n\
                 client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi;\n\
                 uwsgi_temp_path uwsgi; scgi_temp_path scgi;\n\
                 server {{\n listen {listen} http2;\n\
                 location / {{\n proxy_pass http://{upstream};\n }}\n }}\n}}\n"
            ),
        };
        let directory = tempfile::tempdir()?;
        let process = Process::start(kind, directory, &configuration, listen).await?;
        Ok(process.map(|process| Self { listen, _process: process }))
    }

    /// Where clients connect.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.listen
    }
}

/// The process of a proxy, of whatever configuration; told to end when dropped.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    /// Removed last.
    _directory: tempfile::TempDir,
}

/// A connection to a proxy, plain or not.
pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// The name in the proxy's certificate.
const NAME: &str = "proxy.test";
const PATIENCE: Duration = Duration::from_secs(20);

impl Kind {
    /// Its program.
    #[must_use]
    pub const fn program(self) -> &'static str {
        match self {
            Self::Nginx => "nginx",
            Self::Haproxy => "haproxy",
        }
    }

    fn command(self, configuration: &Path, directory: &Path) -> Command {
        let mut command = Command::new(self.program());
        // A service's programs are not on everybody's path.
        let path = std::env::var("PATH").unwrap_or_default();
        command.env("PATH", format!("{path}:/usr/sbin:/usr/local/sbin"));
        match self {
            Self::Nginx => command.arg("-p").arg(directory).arg("-c").arg(configuration),
            Self::Haproxy => command.arg("-db").arg("-f").arg(configuration),
        };
        command.current_dir(directory).stdin(Stdio::null()).stdout(Stdio::null());
        command
    }

    fn configuration(self, plain: SocketAddr, tls: SocketAddr, upstream: SocketAddr) -> String {
        match self {
            Self::Nginx => format!(
                "daemon off;\nworker_processes 2;\npid nginx.pid;\nerror_log stderr warn;\n\
                 events {{ worker_connections 512; }}\n\
                 http {{\n access_log off;\n\
                 client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi;\n\
                 uwsgi_temp_path uwsgi; scgi_temp_path scgi;\n\
                 server {{\n listen {plain};\n listen {tls} ssl;\n\
                 ssl_certificate certificate.pem; ssl_certificate_key key.pem;\n\
                 location / {{\n proxy_pass http://{upstream};\n proxy_http_version 1.1;\n\
                 proxy_set_header Upgrade $http_upgrade;\n\
                 proxy_set_header Connection Upgrade;\n proxy_set_header Host $host;\n\
                 proxy_read_timeout 1h;\n }}\n }}\n}}\n"
            ),
            Self::Haproxy => format!(
                "global\n maxconn 500\n\
                 defaults\n mode http\n timeout connect 2s\n timeout client 30s\n\
                 timeout server 30s\n timeout tunnel 1h\n timeout client-fin 5s\n\
                 frontend clients\n bind {plain}\n bind {tls} ssl crt both.pem alpn http/1.1\n\
                 default_backend gateway\n\
                 backend gateway\n server one {upstream}\n"
            ),
        }
    }
}

impl Proxy {
    /// Starts a proxy in front of `upstream`, and waits until it accepts. `None` if this host has
    /// no such program.
    ///
    /// # Errors
    /// It does not come up.
    pub async fn start(kind: Kind, upstream: SocketAddr) -> io::Result<Option<Self>> {
        let directory = tempfile::tempdir()?;
        let Certificate { der, certificate, key } = Certificate::of(&[NAME])?;
        std::fs::write(directory.path().join("certificate.pem"), &certificate)?;
        std::fs::write(directory.path().join("key.pem"), &key)?;
        std::fs::write(directory.path().join("both.pem"), certificate + &key)?;

        let (plain, tls) = (free_port().await?, free_port().await?);
        let configuration = kind.configuration(plain, tls, upstream);
        let process = Process::start(kind, directory, &configuration, plain).await?;
        Ok(process.map(|process| Self { plain, tls, certificate: der, _process: process }))
    }

    /// A client of the gateway behind it, with a receive buffer of this many bytes.
    ///
    /// # Errors
    /// It is not let in.
    pub async fn connect(
        &self,
        tls: bool,
        receive_buffer: u32,
    ) -> io::Result<RawClient<Box<dyn Stream>>> {
        let socket = TcpSocket::new_v4()?;
        socket.set_recv_buffer_size(receive_buffer)?;
        let stream = socket.connect(if tls { self.tls } else { self.plain }).await?;
        stream.set_nodelay(true)?;
        let stream: Box<dyn Stream> =
            if tls { Box::new(self.secure(stream).await?) } else { Box::new(stream) };
        let mut client = RawClient::on(stream);
        client.send_bytes(handshake("/", "").as_bytes()).await?;
        client.finish_handshake().await?;
        Ok(client)
    }

    async fn secure(
        &self,
        stream: TcpStream,
    ) -> io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.clone()).map_err(io::Error::other)?;
        let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        let name = ServerName::try_from(NAME).map_err(io::Error::other)?;
        TlsConnector::from(Arc::new(config)).connect(name, stream).await
    }
}

impl Process {
    /// Starts it in a directory that has what the configuration names, and waits until it accepts
    /// at this address. `None` if this host has no such program.
    ///
    /// # Errors
    /// It does not come up; the text is its log.
    pub(crate) async fn start(
        kind: Kind,
        directory: tempfile::TempDir,
        configuration: &str,
        accepts: SocketAddr,
    ) -> io::Result<Option<Self>> {
        let file = directory.path().join("proxy.conf");
        std::fs::write(&file, configuration)?;
        let log = directory.path().join("log");
        let mut command = kind.command(&file, directory.path());
        command.stderr(std::fs::File::create(&log)?);
        let child = match command.spawn() {
            Ok(child) => child,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut process = Self { child, _directory: directory };
        let began = Instant::now();
        while TcpStream::connect(accepts).await.is_err() {
            if let Some(status) = process.child.try_wait()? {
                let log = std::fs::read_to_string(&log)?;
                return Err(io::Error::other(format!("{}: {status}: {log}", kind.program())));
            }
            if began.elapsed() > PATIENCE {
                return Err(io::ErrorKind::TimedOut.into());
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(Some(process))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // nginx's workers end with their master only if it is asked.
        let pid = self.child.id().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
        if let Some(pid) = pid {
            kill_process(pid, Signal::TERM).ok();
        }
    }
}

/// RFC 7468.
/// A port that is free now. Another process may take it first: then the proxy does not come up.
pub(crate) async fn free_port() -> io::Result<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?.local_addr()
}
