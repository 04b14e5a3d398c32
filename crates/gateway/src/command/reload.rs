//! `slackwater reload`

use super::gateway::Gateway;
use super::{Failure, print};
use crate::cli::Target;
use crate::config::Surroundings;

pub(super) async fn run(target: &Target, surroundings: &Surroundings) -> Result<u8, Failure> {
    let reloaded = Gateway::find(target, surroundings)?.reload().await?;
    match reloaded.changed.as_slice() {
        [] => print::line(format_args!("nothing has changed"))?,
        changed => print::line(format_args!("changed: {}", changed.join(", ")))?,
    }
    if !reloaded.at_next_start.is_empty() {
        let keys = reloaded.at_next_start.join(", ");
        print::line(format_args!("changes with the next start: {keys}"))?;
    }
    Ok(0)
}
