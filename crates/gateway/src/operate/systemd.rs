//! What systemd is told, where it listens (`Type=notify`); elsewhere nothing happens. A service
//! manager that cannot be reached is no reason to stop serving.

use sd_notify::NotifyState;

/// The gateway accepts clients.
pub fn ready() {
    notify(&[NotifyState::Ready]);
}

/// The line that `systemctl status` shows.
pub fn status(line: &str) {
    notify(&[NotifyState::Status(&line.replace('\n', " "))]);
}

/// The gateway will exit when its drain is done.
pub fn stopping() {
    notify(&[NotifyState::Stopping]);
}

fn notify(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "systemd was not notified");
    }
}
