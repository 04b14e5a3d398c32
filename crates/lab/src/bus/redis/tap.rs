//! What is pushed to the lists of a redis-server, in the order in which the server does it, and as
//! it says itself (MONITOR).

use std::io;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::server::Server;

/// How long anything is waited for that should come at once.
const PATIENCE: Duration = Duration::from_secs(30);

/// A text that was pushed to a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Push {
    /// The list.
    pub list: String,
    /// What was pushed.
    pub text: String,
}

/// Hears of every push that is wanted.
#[derive(Debug)]
pub struct Tap {
    seen: mpsc::UnboundedReceiver<Seen>,
    marks: u32,
    task: JoinHandle<()>,
}

#[derive(Debug, PartialEq, Eq)]
enum Seen {
    Push(Push),
    Mark(String),
}

impl Tap {
    /// Hears of the pushes from now on that are `wanted`.
    ///
    /// # Errors
    /// The server does not let us.
    pub async fn start(server: &Server, wanted: fn(&Push) -> bool) -> io::Result<Self> {
        let mut stream = BufReader::new(UnixStream::connect(server.socket()).await?);
        stream.write_all(b"AUTH default adminpw\r\nMONITOR\r\n").await?;
        for _ in 0..2 {
            let mut answer = String::new();
            timeout(PATIENCE, stream.read_line(&mut answer)).await??;
            if answer.trim_end() != "+OK" {
                return Err(io::Error::other(answer));
            }
        }
        let (sender, seen) = mpsc::unbounded_channel();
        let task = tokio::spawn(async move {
            let mut line = Vec::new();
            while stream.read_until(b'\n', &mut line).await.is_ok_and(|length| length > 0) {
                for one in read(&line) {
                    let is_wanted = match &one {
                        Seen::Push(push) => wanted(push),
                        Seen::Mark(_) => true,
                    };
                    if is_wanted && sender.send(one).is_err() {
                        return;
                    }
                }
                line.clear();
            }
        });
        Ok(Self { seen, marks: 0, task })
    }

    /// What was pushed up to now and was not given before.
    ///
    /// # Errors
    /// The server does not tell.
    pub async fn until_now(&mut self, server: &Server) -> io::Result<Vec<Push>> {
        self.marks += 1;
        let mark = format!("mark-{}", self.marks);
        let _echo: String = server.ask(&format!("ECHO {mark}")).await.map_err(io::Error::other)?;
        let mut pushes = Vec::new();
        loop {
            match timeout(PATIENCE, self.seen.recv()).await? {
                Some(Seen::Push(push)) => pushes.push(push),
                Some(Seen::Mark(seen)) if seen == mark => return Ok(pushes),
                Some(Seen::Mark(_)) => {}
                None => return Err(io::ErrorKind::BrokenPipe.into()),
            }
        }
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// One line of MONITOR: `+1700000000.000000 [0 127.0.0.1:1] "RPUSH" "list" "text"`.
fn read(line: &[u8]) -> Vec<Seen> {
    let Some(start) = line.windows(2).position(|pair| pair == b"] ") else { return vec![] };
    let mut rest = line.get(start + 2..).unwrap_or_default();
    let Some(command) = word(&mut rest) else { return vec![] };
    match command.to_ascii_uppercase().as_str() {
        "RPUSH" => {
            let Some(list) = word(&mut rest) else { return vec![] };
            let texts = std::iter::from_fn(|| word(&mut rest));
            texts.map(|text| Seen::Push(Push { list: list.clone(), text })).collect()
        }
        "ECHO" => word(&mut rest).map(Seen::Mark).into_iter().collect(),
        _ => vec![],
    }
}

/// Takes a quoted word off the front, and undoes its escapes.
fn word(rest: &mut &[u8]) -> Option<String> {
    let start = rest.iter().position(|&byte| byte == b'"')? + 1;
    let mut bytes = rest.get(start..)?.iter().copied();
    let mut word = Vec::new();
    loop {
        let byte = match bytes.next()? {
            b'"' => break,
            b'\\' => match bytes.next()? {
                b'n' => b'\n',
                b'r' => b'\r',
                b't' => b'\t',
                b'a' => 0x07,
                b'b' => 0x08,
                b'x' => {
                    let digits = [bytes.next()?, bytes.next()?];
                    u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?
                }
                itself => itself,
            },
            byte => byte,
        };
        word.push(byte);
    }
    *rest = rest.get(rest.len() - bytes.len()..)?;
    String::from_utf8(word).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_read_with_every_escape_undone() {
        let line = br#"+1.5 [0 127.0.0.1:7] "rpush" "a b" "\"\\\n\xc3\xa9" "two""#;
        let push = |text: &str| Seen::Push(Push { list: "a b".to_owned(), text: text.to_owned() });
        assert_eq!(read(line), [push("\"\\\n\u{e9}"), push("two")]);
        assert_eq!(read(b"+1.5 [0 unix:/s] \"ECHO\" \"m\""), [Seen::Mark("m".to_owned())]);
        assert_eq!(read(b"+1.5 [0 lua] \"DEL\" \"a\""), []);
    }
}
