//! The subcommands that talk to a gateway, or look at what one would do, and end.

mod check;
mod drain;
mod gateway;
mod manual;
mod page;
pub(crate) mod print;
mod reload;
mod request;
mod shown;
mod status;
mod undrain;

use std::process::ExitCode;

use crate::cli::ClientCommand;
use crate::config::Surroundings;

/// Runs a command to its end. Its exit status is part of its interface; see each `--help`.
pub async fn run(command: ClientCommand, surroundings: &Surroundings) -> ExitCode {
    let outcome = match command {
        ClientCommand::Drain(options) => drain::run(&options, surroundings).await,
        ClientCommand::Undrain(target) => undrain::run(&target, surroundings).await,
        ClientCommand::Reload(target) => reload::run(&target, surroundings).await,
        ClientCommand::Status(options) => status::run(&options, surroundings).await,
        ClientCommand::Page(target) => page::run(&target, surroundings).await,
        ClientCommand::Request(options) => request::run(&options).await,
        ClientCommand::Check(options) => check::run(*options, surroundings).await,
        ClientCommand::Manual(options) => manual::run(&options.directory),
    };
    let failure = match outcome {
        Ok(code) => return ExitCode::from(code),
        Err(failure) => failure,
    };
    let code = match failure {
        Failure::OutputClosed => return ExitCode::SUCCESS,
        Failure::Failed(_) => 1,
        Failure::Unreachable(_) | Failure::Usage(_) => 2,
    };
    print::error(&failure);
    ExitCode::from(code)
}

/// Says on stderr why the program ends.
pub fn complain(error: &anyhow::Error) {
    print::error(format_args!("{error:#}"));
}

/// Says something on stdout. Whoever does not listen is not told.
pub fn tell(text: &str) {
    print::line(text).ok();
}

/// Says something on stderr that is no error.
pub fn tell_aside(text: &str) {
    print::aside(text);
}

/// Why a command could not do what it was asked; one line for the operator.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Failure {
    /// Whoever reads our output has had enough: `slackwater status --watch | head -1`.
    #[error("the output is closed")]
    OutputClosed,
    /// It was refused, or went wrong.
    #[error("{0}")]
    Failed(String),
    /// There is no gateway to talk to, or it has gone.
    #[error("{0}")]
    Unreachable(String),
    /// It was typed wrong.
    #[error("{0}")]
    Usage(String),
}
