//! Where the front hands its clients over, if a program stands behind each.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Request, StatusCode};
use hyper::body::Incoming;
use percent_encoding::percent_decode_str;
use slackwater_core::session::{FromBus, FromProgram, Message, Program, Session, ToProgram};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::environment::Script;
use super::framing::Decoder;
use super::process::Process;
use super::running::Running;
use super::scripts::{Found, find};
use super::trail::Trail;
use super::{Command, Settings};
use crate::client::{Client, FarEnd};
use crate::clock::now;
use crate::front::{self, Answer, Arrival, ClientAddress, Denied, Handler, WebSocket};
use crate::gateway::{Gateway, Place};
use crate::operate::readiness::Probe;
use crate::web::{self, Cgi};

/// The clients of one gateway, and their programs.
#[derive(Debug)]
pub(crate) struct Programs {
    gateway: Arc<Gateway>,
    settings: Settings,
    room: Arc<Semaphore>,
}

impl Programs {
    pub(crate) fn of(gateway: Arc<Gateway>, settings: Settings) -> Arc<Self> {
        let room = settings.max_programs.min(Semaphore::MAX_PERMITS);
        Arc::new(Self { gateway, settings, room: Arc::new(Semaphore::new(room)) })
    }

    /// The program that a URL's path asks for, and the two parts of that.
    fn asked_for(&self, path: &str) -> Result<(Cow<'_, Command>, (String, String)), Denied> {
        let Some(scripts) = &self.settings.scripts else {
            let path = percent_decode_str(path).decode_utf8_lossy().into_owned();
            return Ok((Cow::Borrowed(&self.settings.command), ("/".to_owned(), path)));
        };
        let nothing = Denied { status: StatusCode::NOT_FOUND, why: "no such program" };
        let Found { file, name, info } = find(scripts, path).ok_or(nothing)?;
        let command = Command { program: file.into(), ..self.settings.command.clone() };
        Ok((Cow::Owned(command), (name, info)))
    }
}

/// A client's program, which runs already, and its place.
#[derive(Debug)]
pub(crate) struct Started {
    place: Place,
    room: OwnedSemaphorePermit,
    running: Running,
}

impl Handler for Programs {
    type Permit = Started;

    fn admit(&self, arrival: Arrival<'_>) -> Result<Started, Denied> {
        let Settings { environment, manners, payload, max_message, full, .. } = &self.settings;
        let (command, script) = self.asked_for(arrival.request.uri.path())?;
        let denied = Denied { status: *full, why: "as many programs run as may run" };
        let room = Arc::clone(&self.room).try_acquire_owned().map_err(|_| denied)?;
        let place = Place::take(&self.gateway).ok_or(Denied::FULL)?;
        let unique = place.id().to_string();
        let script = Script { name: &script.0, info: &script.1 };
        let variables = environment.variables(
            arrival.request,
            (&arrival.client, arrival.host),
            script,
            &unique,
        );
        let started = Process::start(&command, variables);
        let (process, pipes) = started.map_err(|error| {
            let (program, client) = (command.program.display(), arrival.client);
            tracing::error!(%client, %program, %error, "cannot start the program");
            Denied { status: StatusCode::BAD_GATEWAY, why: "the program cannot be started" }
        })?;
        tracing::debug!(client = %arrival.client, pid = process.id(), "program started");
        let trail = self.settings.trails.then(|| {
            let program = command.program.display().to_string();
            Box::new(Trail::begin(arrival, environment.https, &unique, program))
        });
        let decoder = Decoder::new(manners.framing, *payload, *max_message);
        let running = Running::new(process, pipes, decoder, *manners, trail);
        Ok(Started { place, room, running })
    }

    fn serves(&self) -> bool {
        web::serves(&self.settings.web)
    }

    async fn serve(&self, request: Request<Incoming>, client: ClientAddress) -> Answer {
        let Settings { command, environment, web, full, .. } = &self.settings;
        let cgi = Cgi { command, environment, room: &self.room, full: *full };
        web::serve(web, cgi, request, client).await
    }

    fn health(&self, probe: Probe) -> (StatusCode, String) {
        self.gateway.health(probe)
    }

    fn connected(
        self: Arc<Self>,
        client: front::Client<Started>,
    ) -> impl Future<Output = ()> + Send + 'static {
        let front::Client { websocket, address, permit } = client;
        let Started { place, room, running } = permit;
        let gateway = Arc::clone(&self.gateway);
        let since = now();
        let rules = self.settings.rules.clone();
        let session = Session::of_program(gateway.sessions(), rules, since);
        let far_end = (ProgramEnd { running, _room: room }, session);
        Client::new(gateway, far_end, (websocket, address), place, since).run()
    }
}

/// A program, as a client's task drives it.
struct ProgramEnd {
    running: Running,
    /// Given back when nothing of it is left.
    _room: OwnedSemaphorePermit,
}

impl FarEnd for ProgramEnd {
    type Upstream = Program;

    fn obey(&mut self, order: ToProgram, websocket: &mut WebSocket) -> Option<FromProgram> {
        match order {
            ToProgram::Give(message) => self.running.give(message),
            ToProgram::Signal => self.running.signal(),
            ToProgram::Stop => match self.running.stop() {
                Some(Message::Text(text)) => drop(websocket.send(text)),
                Some(Message::Binary(bytes)) => drop(websocket.send_binary(bytes)),
                None => {}
            },
        }
        None
    }

    fn of_bus(_letter: FromBus) -> Option<FromProgram> {
        None
    }

    fn poll_next(&mut self, context: &mut Context<'_>, reads: bool) -> Poll<VecDeque<FromProgram>> {
        self.running.poll_next(context, reads)
    }

    fn is_full(&self) -> bool {
        self.running.is_full()
    }

    async fn finish(self) {
        self.running.finish().await;
    }
}
