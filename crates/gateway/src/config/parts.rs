//! What the settings mean to each part of the gateway.

use http::StatusCode;
use serde_json::value::RawValue;
use slackwater_core::osrf::activity::Activity;
use slackwater_core::osrf::wrapper::Rules;
use slackwater_core::session::program::ProgramRules;
use slackwater_core::{drain, session, track};

use super::{Behind, ClientHeader, CloseFin, Framing, LogFormat, Settings, Track};
use crate::front::{self, handshake, websocket};
use crate::gateway::Limits;
use crate::{program, websocketd};

/// What each session goes by.
pub(crate) fn session(settings: &Settings) -> session::Config {
    let ingress = serde_json::Value::from(settings.ingress.as_str()).to_string();
    let ingress = RawValue::from_string(ingress);
    session::Config {
        rules: Rules {
            max_size: settings.limits.message_size,
            max_depth: settings.limits.depth,
            ingress: ingress.unwrap_or_else(|_| RawValue::NULL.to_owned()),
        },
        max_requests_in_flight: settings.limits.requests_in_flight,
        max_sessions: settings.limits.sessions,
        max_held_bytes: settings.limits.queued_bytes,
        quiet_window: settings.drain.quiet_window,
        close_timeout: settings.close.timeout,
        close_code: settings.close.code.get(),
        close_fin: match settings.close.fin {
            CloseFin::OnEcho => session::CloseFin::OnEcho,
            CloseFin::WithClose => session::CloseFin::WithClose,
        },
        ping_interval: settings.front.ping_interval,
        idle_timeout: settings.front.idle_timeout,
        write_stall_timeout: settings.limits.write_stall_timeout,
        activity: settings.log.activity.then(|| Activity {
            protect: settings.log.protect.clone(),
            max_length: settings.log.max_length,
        }),
    }
}

const OUR_SOFTWARE: &str = concat!("slackwater/", env!("CARGO_PKG_VERSION"));

/// How programs are run, if they are.
pub(crate) fn programs(settings: &Settings) -> Option<program::Settings> {
    let Behind::Program(name, arguments) = &settings.behind else { return None };
    let how = &settings.program;
    let track = match how.track {
        Track::Osrf => track::Track::Osrf,
        Track::JsonRpc => track::Track::JsonRpc,
        Track::Lines => track::Track::Lines,
        Track::Quiet => track::Track::Quiet,
        Track::Program => track::Track::Program,
    };
    let framing = match how.framing {
        Framing::Lines => program::Framing::Lines,
        Framing::Chunks => program::Framing::Chunks,
        Framing::Length => program::Framing::Length,
        Framing::Json => program::Framing::Json,
    };
    let file = std::path::Path::new(name).file_name().unwrap_or(name);
    let websocketd = settings.log.format == LogFormat::Websocketd;
    Some(program::Settings {
        scripts: settings.web.scripts.clone(),
        trails: websocketd,
        web: settings.web.clone(),
        command: program::Command {
            program: name.clone(),
            arguments: arguments.clone(),
            directory: None,
            hears_usr1: track == track::Track::Program || how.relay_usr1,
        },
        environment: program::Environment {
            software: if websocketd { websocketd::SOFTWARE } else { OUR_SOFTWARE }.to_owned(),
            passed: how
                .pass_env
                .iter()
                .filter_map(|name| Some((name.into(), std::env::var_os(name)?)))
                .collect(),
            https: settings.front.tls.is_some(),
        },
        manners: program::Manners {
            framing,
            errors: if how.pass_stderr { program::Errors::Passed } else { program::Errors::Logged },
            grace: how.kill_grace,
        },
        payload: if how.binary { program::Payload::Binary } else { program::Payload::Text },
        max_message: settings.limits.message_size,
        max_programs: how.max_programs.unwrap_or(usize::MAX),
        full: if websocketd {
            StatusCode::TOO_MANY_REQUESTS
        } else {
            StatusCode::SERVICE_UNAVAILABLE
        },
        rules: ProgramRules {
            name: file.to_string_lossy().into(),
            track,
            track_idle: how.track_idle,
            relay_usr1: how.relay_usr1,
            splits_lines: how.framing == Framing::Lines,
        },
    })
}

/// What the drain of the process goes by.
pub(crate) fn drain(settings: &Settings) -> drain::Config {
    drain::Config {
        announce: settings.drain.announce,
        ebb_window: settings.drain.ebb_window,
        deadline: settings.drain.deadline,
        close_timeout: settings.close.timeout,
    }
}

/// What the gateway takes on.
pub(crate) fn limits(settings: &Settings) -> Limits {
    Limits {
        connections: settings.limits.connections,
        queued_bytes: settings.limits.queued_bytes,
        total_queued_bytes: settings.limits.total_queued_bytes,
        drain_status: settings.drain.status.get(),
    }
}

/// How clients are let in.
pub(crate) fn front(settings: &Settings) -> front::Settings {
    front::Settings {
        rules: handshake::Rules {
            path: settings.front.path.as_ref().map(|path| path.as_str().to_owned()),
            origins: settings.front.origins.iter().map(|origin| origin.rule().clone()).collect(),
            same_origin: settings.front.same_origin,
            requires_origin: settings.web.requires_origin,
        },
        health_path: settings.front.health_path.as_ref().map(|path| {
            // So that / means /livez, and /health/ means /health.
            path.as_str().trim_end_matches('/').to_owned()
        }),
        proxies: front::Proxies {
            networks: settings.front.trusted_proxies.iter().map(|n| n.net()).collect(),
            header: match settings.front.client_header {
                ClientHeader::XForwardedFor => front::ClientHeader::XForwardedFor,
                ClientHeader::Forwarded => front::ClientHeader::Forwarded,
            },
            protocol: settings.front.proxy_protocol,
        },
        quota: front::Quota {
            connections: settings.limits.connections_per_address,
            handshakes: settings.limits.handshakes_per_address,
        },
        handshake_timeout: settings.front.handshake_timeout,
        reverse_lookup: settings.web.reverse_lookup,
        tls: settings.front.tls.clone(),
        upgrade_headers: settings.web.upgrade_headers.clone(),
        other_headers: settings.web.other_headers.clone(),
        websocket: websocket::Settings {
            max_message: match settings.behind {
                // One somewhat too large gets an answer; only a far larger one gets a Close.
                Behind::Bus => settings.limits.message_size.saturating_mul(2).max(FLOOR),
                // There is no answer that every program's client would understand.
                Behind::Program(..) => settings.limits.message_size,
            },
            binary: websocket::Binary::TextIfUtf8,
            compress_from: settings.front.compress_from,
        },
    }
}

/// The least size, in bytes, at which a message ends its connection instead of being answered.
const FLOOR: usize = 64 * 1024;
