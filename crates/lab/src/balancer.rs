//! nginx and HAProxy with the very files of `packaging/balancers`, into which nothing but a test's
//! own addresses is put: in every line that is marked as the reader's own, and nowhere else.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

use crate::proxy::{Kind, Process, free_port};

/// What is shipped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sample {
    /// nginx in front of one gateway.
    NginxOne,
    /// nginx in front of two.
    NginxTwo,
    /// HAProxy in front of two, of which it asks the admin ports.
    Haproxy,
    /// HAProxy in front of two, which say themselves how they are.
    HaproxyAgent,
}

/// A gateway behind a balancer.
#[derive(Debug, Clone, Copy)]
pub struct Member {
    /// For clients.
    pub listen: SocketAddr,
    /// Its `--admin-listen`, at the same address.
    pub admin: SocketAddr,
    /// Its `--agent-listen`, at the same address.
    pub agent: SocketAddr,
}

/// A running balancer; told to end when dropped.
#[derive(Debug)]
pub struct Balancer {
    listen: SocketAddr,
    runtime: PathBuf,
    _process: Process,
}

/// Behind this a reader finds what is to be changed.
const MARK: &str = "# yours";

/// What nginx wants around a file of `conf.d`; Debian's own has the like.
const AROUND: &str = "daemon off;\nworker_processes 2;\npid nginx.pid;\nerror_log stderr error;\n\
    events { worker_connections 4096; }\nhttp {\naccess_log off;\n\
    client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi;\n\
    uwsgi_temp_path uwsgi; scgi_temp_path scgi;\n";

impl Sample {
    /// Its program.
    #[must_use]
    pub const fn kind(self) -> Kind {
        match self {
            Self::NginxOne | Self::NginxTwo => Kind::Nginx,
            Self::Haproxy | Self::HaproxyAgent => Kind::Haproxy,
        }
    }

    /// The file as it is shipped.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::NginxOne => include_str!("../../../packaging/balancers/nginx-one.conf"),
            Self::NginxTwo => include_str!("../../../packaging/balancers/nginx-two.conf"),
            Self::Haproxy => include_str!("../../../packaging/balancers/haproxy.cfg"),
            Self::HaproxyAgent => include_str!("../../../packaging/balancers/haproxy-agent.cfg"),
        }
    }

    /// The file with these addresses in it: its own and those of the gateways. `runtime` is where
    /// HAProxy makes its socket for operators, if the sample has one.
    ///
    /// # Errors
    /// What is the reader's own is not what is marked as such, or there are not so many gateways.
    pub fn filled(
        self,
        listen: SocketAddr,
        members: &[Member],
        runtime: &Path,
    ) -> io::Result<String> {
        let own = match self.kind() {
            Kind::Nginx => ("listen 80;".to_owned(), format!("listen {listen};")),
            Kind::Haproxy => ("bind :80 ".to_owned(), format!("bind {listen} ")),
        };
        let theirs = members.iter().zip(["10.0.0.11", "10.0.0.12"]).map(|(member, shown)| {
            let Member { listen, admin, agent } = member;
            match self {
                Self::NginxOne => ("127.0.0.1:7682;".to_owned(), format!("{listen};")),
                Self::NginxTwo => (format!("{shown}:7682 "), format!("{listen} ")),
                Self::Haproxy => (
                    format!("{shown}:7682 check port 7683 "),
                    format!("{listen} check port {} ", admin.port()),
                ),
                Self::HaproxyAgent => (
                    format!("{shown}:7682 check port 7683 agent-port 7684 "),
                    format!("{listen} check port {} agent-port {} ", admin.port(), agent.port()),
                ),
            }
        });
        let runtime = (self == Self::HaproxyAgent).then(|| {
            let socket = runtime.display().to_string();
            ("/run/haproxy/admin.sock".to_owned(), socket)
        });
        let changes: Vec<_> = std::iter::once(own).chain(theirs).chain(runtime).collect();
        fill(self.text(), &changes).map_err(io::Error::other)
    }
}

impl Balancer {
    /// Starts the sample in front of these gateways, and waits until it accepts. `None` if this
    /// host has no such program.
    ///
    /// # Errors
    /// It does not come up; the text is its log.
    pub async fn start(sample: Sample, members: &[Member]) -> io::Result<Option<Self>> {
        let (directory, listen) = (tempfile::tempdir()?, free_port().await?);
        let runtime = directory.path().join("runtime");
        let mut text = sample.filled(listen, members, &runtime)?;
        if sample.kind() == Kind::Nginx {
            std::fs::write(directory.path().join("sample.conf"), &text)?;
            let file = directory.path().join("sample.conf");
            text = format!("{AROUND}include {};\n}}\n", file.display());
        }
        let process = Process::start(sample.kind(), directory, &text, listen).await?;
        Ok(process.map(|process| Self { listen, runtime, _process: process }))
    }

    /// Gives HAProxy a command on its socket for operators, and the answer.
    ///
    /// # Errors
    /// There is no such socket, or nobody answers.
    pub async fn command(&self, command: &str) -> io::Result<String> {
        let mut stream = UnixStream::connect(&self.runtime).await?;
        stream.write_all(format!("{command}\n").as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        Ok(answer)
    }

    /// Where clients connect.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.listen
    }
}

/// Changes each marked line by one of the changes, each once.
fn fill(text: &str, changes: &[(String, String)]) -> Result<String, String> {
    let mut left: Vec<_> = changes.iter().collect();
    let mut filled = String::new();
    for line in text.lines() {
        let is_marked = line.contains(MARK) && !line.trim_start().starts_with('#');
        let change = left.iter().position(|(from, _)| line.contains(from.as_str()));
        match (is_marked, change) {
            (true, Some(place)) => {
                let (from, to) = left.remove(place);
                filled.push_str(&line.replacen(from.as_str(), to, 1));
            }
            (false, None) => filled.push_str(line),
            (true, None) => return Err(format!("marked, and nothing to put there: {line}")),
            (false, Some(_)) => return Err(format!("not marked: {line}")),
        }
        filled.push('\n');
    }
    if left.is_empty() { Ok(filled) } else { Err(format!("no place for {left:?}")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_marked_line_is_filled_and_no_other() {
        let change = [("port 1".to_owned(), "port 2".to_owned())];
        assert_eq!(fill("a\nport 1; # yours\n", &change).unwrap(), "a\nport 2; # yours\n");
        for wrong in ["port 1; # yours\nport 3; # yours", "port 1;", "a"] {
            assert!(fill(wrong, &change).is_err(), "{wrong}");
        }
    }
}
