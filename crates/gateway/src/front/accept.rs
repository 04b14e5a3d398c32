//! The accept loop of one listening socket.
//!
//! Law: it never ends by an error and never spins on one; and it obeys the gate before it accepts.

use std::io;
use std::sync::Arc;

use slackwater_bus::turns::{CAN_WAIT, Turns};
use tokio::sync::watch;
use tokio::task::yield_now;
use tokio_util::task::TaskTracker;

use super::listener::Listener;
use super::{Handler, Mode, Obeyed, Shared, Then, http};

/// Connections that are accepted in one turn.
const TOGETHER: usize = 16;

/// Runs until the gate is gone.
pub(super) async fn run<H: Handler>(
    mut listener: Listener,
    shared: Arc<Shared<H>>,
    report: watch::Sender<Obeyed>,
) {
    let mut gate = shared.gate.clone();
    let mut together = 0;
    loop {
        let order = *gate.borrow_and_update();
        if order.number != report.borrow().number {
            let result = obey(order.mode, &mut listener, &shared.undecided).await;
            report.send_replace(Obeyed { number: order.number, result });
        }
        loop {
            tokio::select! {
                biased;
                changed = gate.changed() => match changed {
                    Ok(()) => break,
                    Err(_gone) => return,
                },
                (stream, peer) = listener.accept() => match order.mode {
                    Mode::Serving => {
                        let token = shared.undecided.token();
                        let door = http::Door { peer, inherited: listener.is_inherited() };
                        let serving = http::serve(stream, door, Arc::clone(&shared), token);
                        tokio::spawn(Turns::after_full(&CAN_WAIT, serving));
                    }
                    Mode::Refusing(_) => drop(tokio::spawn(http::turn_away(stream, None))),
                },
            }
            together += 1;
            if together == TOGETHER {
                together = 0;
                yield_now().await;
            }
        }
    }
}

async fn obey(mode: Mode, listener: &mut Listener, undecided: &TaskTracker) -> io::Result<()> {
    let result = match mode {
        Mode::Serving => listener.reopen(),
        Mode::Refusing(then) if listener.may_be_shut() => {
            // The process may end as soon as its front has refused: not before these are answered.
            let turn_away =
                |stream| drop(tokio::spawn(http::turn_away(stream, Some(undecided.token()))));
            let shut = listener.shut(turn_away).await;
            tracing::debug!(address = %listener.address(), ?then, "no longer listening");
            shut
        }
        Mode::Refusing(Then::Leave) if listener.is_inherited() => {
            let left = listener.leave();
            tracing::debug!(address = %listener.address(), "no longer accepting");
            left
        }
        Mode::Refusing(_) => Ok(()),
    };
    if let Err(error) = &result {
        tracing::error!(address = %listener.address(), %error, ?mode, "a listening socket does not obey");
    }
    result
}
