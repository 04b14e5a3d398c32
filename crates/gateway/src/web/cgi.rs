//! CGI scripts (RFC 3875), run as programs behind WebSockets are: in a process group of their own,
//! with the same environment, ended when nobody reads their answer any more.
//!
//! There are crates for it. Those that are kept pass a client's `Proxy` header on, know no process
//! groups, or wait for a script's end before they answer.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderMap};
use http::request::Parts;
use http::{HeaderName, HeaderValue, Response, StatusCode};
use http_body::{Body as HttpBody, Frame};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::unix::pipe::{Receiver, Sender};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use crate::front::{Answer, ClientAddress, text};
use crate::program::process::Process;
use crate::program::scripts::Found;
use crate::program::{Command, Environment, Script};

/// The longest head of an answer, in bytes.
const MAX_HEAD: usize = 64 * 1024;

/// One piece of a body.
const PIECE: usize = 16 * 1024;

/// How scripts are run.
pub(crate) struct Cgi<'a> {
    pub(crate) command: &'a Command,
    pub(crate) environment: &'a Environment,
    /// Scripts take room as programs do.
    pub(crate) room: &'a Arc<Semaphore>,
    pub(crate) full: StatusCode,
}

impl Cgi<'_> {
    /// Runs a script and gives its answer as it comes.
    pub(crate) async fn run(
        self,
        script: Found,
        request: &Parts,
        body: Incoming,
        client: &ClientAddress,
    ) -> Answer {
        let Ok(room) = Arc::clone(self.room).try_acquire_owned() else {
            return text(self.full, "as many programs run as may run");
        };
        let Found { file, name, info } = script;
        let mut variables = self.environment.variables(
            request,
            (client, None),
            Script { name: &name, info: &info },
            "",
        );
        for (variable, header) in
            [("CONTENT_TYPE", CONTENT_TYPE), ("CONTENT_LENGTH", CONTENT_LENGTH)]
        {
            if let Some(value) = request.headers.get(header).and_then(|value| value.to_str().ok()) {
                variables.retain(|(known, _)| known != variable);
                variables.push((variable.into(), value.into()));
            }
        }
        let directory = file.parent().map(ToOwned::to_owned);
        let command = Command {
            program: file.into(),
            arguments: Vec::new(),
            directory,
            ..self.command.clone()
        };
        let (process, pipes) = match Process::start(&command, variables) {
            Ok(started) => started,
            Err(error) => {
                let program = command.program.display();
                tracing::error!(%client, %program, %error, "cannot start the script");
                return text(StatusCode::BAD_GATEWAY, "the script cannot be started");
            }
        };
        let pid = process.id();
        tokio::spawn(feed(body, pipes.input));
        tokio::spawn(complain(pid, pipes.errors));
        let mut output = pipes.output;
        match head(&mut output).await {
            Ok((head, rest)) => {
                let running = Running { process, _room: room };
                let (pieces, receiver) = mpsc::channel(1);
                tokio::spawn(pass(output, pieces));
                let first = Some(rest).filter(|rest| !rest.is_empty());
                let mut answer =
                    Response::new(Output { first, receiver, _running: running }.boxed_unsync());
                *answer.status_mut() = head.status;
                *answer.headers_mut() = head.headers;
                answer
            }
            Err(error) => {
                tracing::warn!(pid, %error, "a script did not answer as a CGI script does");
                text(StatusCode::BAD_GATEWAY, "the script did not answer")
            }
        }
    }
}

/// A script that runs; ended with its group when dropped.
struct Running {
    process: Process,
    _room: OwnedSemaphorePermit,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.process.end();
    }
}

/// What a script answers, piece by piece.
struct Output {
    first: Option<Bytes>,
    receiver: mpsc::Receiver<io::Result<Bytes>>,
    _running: Running,
}

impl HttpBody for Output {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if let Some(first) = self.first.take() {
            return Poll::Ready(Some(Ok(Frame::data(first))));
        }
        self.receiver.poll_recv(context).map(|piece| piece.map(|piece| piece.map(Frame::data)))
    }
}

/// Gives a script the body of its request. It may not want it.
async fn feed(mut body: Incoming, mut input: Sender) {
    while let Some(Ok(frame)) = body.frame().await {
        let Ok(piece) = frame.into_data() else { continue };
        if input.write_all(&piece).await.is_err() {
            return;
        }
    }
}

async fn complain(pid: i32, mut errors: Receiver) {
    let mut lines = crate::program::ErrorLines::default();
    let mut told = std::collections::VecDeque::new();
    let mut piece = [0; 1024];
    while let Ok(length @ 1..) = errors.read(&mut piece).await {
        lines.take(&piece[..length], &mut told);
        for line in told.drain(..) {
            tracing::warn!(category = "stderr", pid, "{line}");
        }
    }
}

async fn pass(mut output: Receiver, pieces: mpsc::Sender<io::Result<Bytes>>) {
    loop {
        let mut piece = Vec::with_capacity(PIECE);
        let read = match output.read_buf(&mut piece).await {
            Ok(0) => return,
            Ok(_) => Ok(Bytes::from(piece)),
            Err(error) => Err(error),
        };
        if pieces.send(read).await.is_err() {
            return;
        }
    }
}

/// The head of an answer (RFC 3875 §6.3).
struct Head {
    status: StatusCode,
    headers: HeaderMap,
}

/// Reads to the empty line; gives what was read behind it, too.
async fn head(output: &mut Receiver) -> io::Result<(Head, Bytes)> {
    let mut text = Vec::new();
    loop {
        let wrong = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
        let mut headers = [httparse::EMPTY_HEADER; 100];
        match httparse::parse_headers(&text, &mut headers) {
            Ok(httparse::Status::Complete((end, headers))) => {
                let head = read_head(headers).ok_or_else(|| wrong("its headers are none"))?;
                return Ok((head, Bytes::copy_from_slice(&text[end..])));
            }
            Ok(httparse::Status::Partial) if text.len() < MAX_HEAD => {}
            Ok(httparse::Status::Partial) => return Err(wrong("its head is too long")),
            Err(_) => return Err(wrong("its headers are none")),
        }
        if output.read_buf(&mut text).await? == 0 {
            return Err(wrong("it ended before its head did"));
        }
    }
}

fn read_head(lines: &[httparse::Header<'_>]) -> Option<Head> {
    let mut head = Head { status: StatusCode::OK, headers: HeaderMap::new() };
    for line in lines {
        let value = HeaderValue::from_bytes(line.value).ok()?;
        if line.name.eq_ignore_ascii_case("status") {
            let code = value.to_str().ok()?.split(' ').next()?;
            head.status = code.parse().ok()?;
            continue;
        }
        if line.name.eq_ignore_ascii_case("location") && head.status == StatusCode::OK {
            head.status = StatusCode::FOUND;
        }
        head.headers.append(HeaderName::from_bytes(line.name.as_bytes()).ok()?, value);
    }
    (!head.headers.is_empty()).then_some(head)
}
