//! `slackwater undrain`

use super::gateway::Gateway;
use super::{Failure, print, shown};
use crate::cli::Target;
use crate::config::Surroundings;

pub(super) async fn run(target: &Target, surroundings: &Surroundings) -> Result<u8, Failure> {
    let status = Gateway::find(target, surroundings)?.undrain().await?;
    let connections = shown::counted(status.connections, "connection");
    print::line(format_args!("{}, {connections}", shown::phase(status.phase)))?;
    Ok(0)
}
