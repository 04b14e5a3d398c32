//! `slackwater page`

use super::gateway::Gateway;
use super::{Failure, print};
use crate::cli::Target;
use crate::config::Surroundings;

pub(super) async fn run(target: &Target, surroundings: &Surroundings) -> Result<u8, Failure> {
    print::line(&Gateway::find(target, surroundings)?.page().await?)?;
    Ok(0)
}
