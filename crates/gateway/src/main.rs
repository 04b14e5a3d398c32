//! `slackwater`: one binary. `serve`, `run` and `websocketd` are gateways, to a bus or to programs,
//! `osrf-stdio` is one client of a bus, and the other commands talk to a gateway that runs.

use std::ffi::OsString;
use std::process::ExitCode;
use std::time::Duration;

use slackwater::cli::{self, Command};
use slackwater::command;
use slackwater::config::{
    ServeOptions, Settings, Surroundings, make_room_for_files, raise_open_files,
};
use slackwater::front::{Inherited, inherited};
use slackwater::gateway::Configuration;
use slackwater::operate::logs;
use slackwater::operate::signals::block_user1;
use slackwater::serve::serve;
use slackwater::stdio;
use slackwater::websocketd::{self, Invocation};
use tokio::runtime::Builder;

/// So long the end of the process waits for what still runs when all is done.
const LAST_TASKS: Duration = Duration::from_millis(500);

fn main() -> ExitCode {
    raise_open_files();
    // First, while there is one thread.
    let inherited = match inherited::take() {
        Ok(inherited) => inherited,
        Err(error) => {
            command::complain(&error.into());
            return ExitCode::from(2);
        }
    };
    let surroundings = Surroundings::of_process(&inherited);
    let command = match cli::parse(cli::by_name(std::env::args_os()), &surroundings.variables) {
        Ok(command) => command,
        Err(error) => error.exit(),
    };
    if let Command::Run(_) | Command::Websocketd(_) = command {
        block_user1();
    }
    if let Command::Serve(_) | Command::Run(_) | Command::Websocketd(_) = command {
        make_room_for_files();
    }
    let outcome = match command {
        // A process for one client needs one thread, and is there sooner.
        Command::OsrfStdio(given) => {
            Builder::new_current_thread().enable_all().build().map_err(Into::into).and_then(
                |runtime| {
                    let outcome = runtime.block_on(osrf_stdio((*given).into(), &surroundings));
                    // A read of a terminal's line may never end.
                    runtime.shutdown_background();
                    outcome
                },
            )
        }
        command @ (Command::Serve(_)
        | Command::Run(_)
        | Command::Websocketd(_)
        | Command::Client(_)) => {
            Builder::new_multi_thread().enable_all().build().map_err(anyhow::Error::from).and_then(
                |runtime| {
                    let outcome = runtime.block_on(run(command, &surroundings, inherited));
                    // A name that nobody resolves may be asked for, which takes as long as the system says.
                    runtime.shutdown_timeout(LAST_TASKS);
                    outcome
                },
            )
        }
    };
    match outcome {
        Ok(code) => code,
        Err(error) => {
            command::complain(&error);
            ExitCode::from(2)
        }
    }
}

async fn osrf_stdio(
    options: ServeOptions,
    surroundings: &Surroundings,
) -> anyhow::Result<ExitCode> {
    let settings = Settings::load(options, surroundings)?;
    let _logging = logs::install(&settings.log)?;
    Ok(stdio::serve(&settings).await?)
}

/// Does what websocketd's command line asks for; what is wrong is said with its exit codes.
async fn websocketd(
    words: Vec<OsString>,
    surroundings: &Surroundings,
    inherited: Vec<Inherited>,
) -> anyhow::Result<ExitCode> {
    let others = match cli::options_of_environment(&surroundings.variables) {
        Ok(others) => others,
        Err(error) => error.exit(),
    };
    let outcome = match websocketd::read(words, others) {
        Ok(Invocation::Version(text)) => {
            command::tell(&text);
            return Ok(ExitCode::SUCCESS);
        }
        Ok(Invocation::Help(text)) => {
            command::tell_aside(text);
            return Ok(ExitCode::SUCCESS);
        }
        Ok(Invocation::Serve(options)) => serve_with(*options, surroundings, inherited).await,
        Err(refused) => Err(refused.into()),
    };
    outcome.or_else(|error| {
        let code = websocketd::exit_code(&error);
        command::complain(&error);
        Ok(ExitCode::from(code))
    })
}

async fn run(
    command: Command,
    surroundings: &Surroundings,
    inherited: Vec<Inherited>,
) -> anyhow::Result<ExitCode> {
    match command {
        Command::Client(command) => Ok(command::run(command, surroundings).await),
        Command::Serve(options) => serve_with(*options, surroundings, inherited).await,
        Command::OsrfStdio(given) => osrf_stdio((*given).into(), surroundings).await,
        Command::Websocketd(given) => websocketd(given.words, surroundings, inherited).await,
        Command::Run(run) => serve_with((*run).into(), surroundings, inherited).await,
    }
}

async fn serve_with(
    options: ServeOptions,
    surroundings: &Surroundings,
    inherited: Vec<Inherited>,
) -> anyhow::Result<ExitCode> {
    let settings = Settings::load(options.clone(), surroundings)?;
    let logging = logs::install(&settings.log)?;
    let configuration =
        Configuration::new(options, surroundings.clone(), settings, logging.switch());
    Ok(serve(configuration, inherited).await?)
}
