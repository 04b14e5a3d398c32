//! `slackwater manual`: man pages and completions for shells, from the very definitions that parse
//! the command line. For packages; an operator finds them installed.

use std::io;
use std::path::Path;

use clap_complete::Shell;

use super::Failure;
use crate::cli::definition;

/// Those for which Debian has a place.
const SHELLS: [Shell; 3] = [Shell::Bash, Shell::Zsh, Shell::Fish];

/// Writes `slackwater.1`, a page for each command, and a file for each shell.
pub(super) fn run(directory: &Path) -> Result<u8, Failure> {
    let failed = |error| Failure::Failed(format!("{}: {error}", directory.display()));
    write(directory).map_err(failed)?;
    Ok(0)
}

fn write(directory: &Path) -> io::Result<()> {
    std::fs::create_dir_all(directory)?;
    clap_mangen::generate_to(definition(), directory)?;
    for shell in SHELLS {
        clap_complete::generate_to(shell, &mut definition(), "slackwater", directory)?;
    }
    Ok(())
}
