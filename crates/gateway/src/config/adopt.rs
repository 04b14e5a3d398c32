//! What a gateway that runs takes on of settings that were read again. The law: each setting is
//! named here once, as one that changes while clients are connected or as one that a start fixes.

use super::settings::Settings;

/// Settings that were read again, as far as they can be taken on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Adopted {
    /// What holds from now on.
    pub settings: Settings,
    /// The keys that changed.
    pub changed: Vec<&'static str>,
    /// The keys that differ and change with the next start of the process.
    pub at_next_start: Vec<&'static str>,
}

impl Settings {
    /// What becomes of these if they are read again and are `read` now.
    pub fn adopt(&self, read: Self) -> Adopted {
        let mut settings = read;
        let (mut changed, mut at_next_start) = (Vec::new(), Vec::new());
        macro_rules! live {
            ($($key:literal: $($field:ident).+),+ $(,)?) => {$(
                if settings.$($field).+ != self.$($field).+ {
                    changed.push($key);
                }
            )+};
        }
        macro_rules! fixed {
            ($($key:literal: $($field:ident).+),+ $(,)?) => {$(
                if settings.$($field).+ != self.$($field).+ {
                    at_next_start.push($key);
                    settings.$($field).+.clone_from(&self.$($field).+);
                }
            )+};
        }
        live! {
            "deadline": drain.deadline,
            "announce": drain.announce,
            "ebb_window": drain.ebb_window,
            "quiet_window": drain.quiet_window,
            "drain_status": drain.status,
            "close_code": close.code,
            "close_fin": close.fin,
            "close_timeout": close.timeout,
            "path": front.path,
            "health_path": front.health_path,
            "origin": front.origins,
            "same_origin": front.same_origin,
            "trusted_proxy": front.trusted_proxies,
            "client_header": front.client_header,
            "proxy_protocol": front.proxy_protocol,
            "ping_interval": front.ping_interval,
            "idle_timeout": front.idle_timeout,
            "handshake_timeout": front.handshake_timeout,
            "compress_from": front.compress_from,
            "tls_certificate": front.tls,
            "max_connections": limits.connections,
            "max_depth": limits.depth,
            "max_requests_in_flight": limits.requests_in_flight,
            "max_sessions": limits.sessions,
            "max_queued_bytes": limits.queued_bytes,
            "max_total_queued_bytes": limits.total_queued_bytes,
            "max_connections_per_address": limits.connections_per_address,
            "max_handshakes_per_address": limits.handshakes_per_address,
            "write_stall_timeout": limits.write_stall_timeout,
            "log_level": log.level,
            "activity_log": log.activity,
            "log_protect": log.protect,
        }
        fixed! {
            "listen": listen,
            "listen_mode": listen_access.mode,
            "listen_owner": listen_access.owner,
            "redirect_listen": redirect_listen,
            "bus": bus,
            "bus_password_file": bus_password_file,
            "bus_tls": bus_tls,
            "bus_streams": bus_streams,
            "state_dir": state_directory,
            "control": control,
            "admin_listen": admin_listen,
            "agent_listen": agent_listen,
            "ingress": ingress,
            "track": program.track,
            "track_idle": program.track_idle,
            "relay_usr1": program.relay_usr1,
            "framing": program.framing,
            "binary": program.binary,
            "pass_stderr": program.pass_stderr,
            "pass_env": program.pass_env,
            "kill_grace": program.kill_grace,
            "max_programs": program.max_programs,
            "refuse": drain.refuse,
            // The bus refuses what is larger.
            "max_message_size": limits.message_size,
            "max_stanza_size": limits.stanza_size,
            "message_size_warning": log.message_size,
            "log_to": log.to,
            "log_format": log.format,
            "log_tag": log.tag,
            "log_facility": log.facility,
            "activity_facility": log.activity_facility,
            "max_log_length": log.max_length,
        }
        Adopted { settings, changed, at_next_start }
    }
}
