//! What can be wrong with a configuration, each said in one line.

use std::io;
use std::path::PathBuf;

use super::text::Unfit;

/// What is wrong with a configuration; all of it is the operator's to mend.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file could not be read.
    #[error("{}: cannot be read: {reason}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the operating system says, or that it is too long or not UTF-8.
        reason: io::Error,
    },
    /// The file was read and something in it is wrong.
    #[error("{}:{line}: {}{message}", path.display(), key.as_ref().map_or_else(String::new, |key| format!("{key}: ")))]
    InFile {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// The key, if the error belongs to one.
        key: Option<String>,
        /// What is wrong and what was expected.
        message: String,
    },
    /// OpenSRF's own file was read and something in it is wrong.
    #[error("{}: {message}", path.display())]
    InOpensrfFile {
        /// The file.
        path: PathBuf,
        /// What is wrong and what was expected; names the element.
        message: String,
    },
    /// An option is wrong, wherever it came from.
    #[error("{key}: {reason}")]
    Option {
        /// The option, as it is spelt in the file.
        key: &'static str,
        /// What was expected.
        reason: Unfit,
    },
    /// An environment variable looks like an option and is none.
    #[error("{name}: no option has this environment variable{}", hint.as_ref().map_or_else(String::new, |hint| format!("; did you mean {hint}?")))]
    UnknownVariable {
        /// The variable.
        name: String,
        /// An option's variable that is spelt much the same.
        hint: Option<String>,
    },
}
