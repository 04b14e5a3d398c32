//! The configuration file. An error in it names file, line and key, and never quotes the line,
//! which may hold a secret.

use std::io::{self, Read};
use std::ops::Range;
use std::path::Path;

use toml::de::DeTable;

use super::error::ConfigError;
use super::names::{file_keys, most_like};
use super::options::ServeOptions;

/// No configuration is longer than this; what is longer is the wrong file.
const LONGEST: u64 = 1 << 20;

/// Reads the options in a TOML file.
///
/// # Errors
/// [`ConfigError::Unreadable`] or [`ConfigError::InFile`].
pub fn read_file(path: &Path) -> Result<ServeOptions, ConfigError> {
    let text = read_text(path)
        .map_err(|reason| ConfigError::Unreadable { path: path.to_owned(), reason })?;
    options_of(&text, path)
}

/// The options in the text of a file; `path` is only named.
///
/// # Errors
/// [`ConfigError::InFile`].
pub fn options_of(text: &str, path: &Path) -> Result<ServeOptions, ConfigError> {
    parse(text).map_err(|fault| ConfigError::InFile {
        path: path.to_owned(),
        line: 1 + text.bytes().take(fault.at).filter(|byte| *byte == b'\n').count(),
        key: fault.key,
        message: fault.message,
    })
}

/// Something wrong at a place in the text, in bytes.
struct Fault {
    at: usize,
    key: Option<String>,
    message: String,
}

pub(super) fn read_text(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    std::fs::File::open(path)?.take(LONGEST + 1).read_to_string(&mut text)?;
    if text.len() as u64 > LONGEST {
        return Err(io::Error::other("longer than 1 MiB: is it the right file?"));
    }
    Ok(text)
}

fn parse(text: &str) -> Result<ServeOptions, Fault> {
    let keys = keys(text)?;
    let known = file_keys();
    if let Some((key, place)) = keys.iter().find(|(key, _)| !known.contains(key)) {
        let message = match most_like(key, known.iter().map(String::as_str)) {
            Some(like) => format!("no such key; did you mean {like}?"),
            None => "no such key; `slackwater serve --help` names them, with - for _".to_owned(),
        };
        return Err(Fault { at: place.start, key: Some(key.clone()), message });
    }
    toml::from_str(text).map_err(|error| {
        let at = error.span().map_or(0, |span| span.start);
        let key = keys.iter().rfind(|(_, place)| place.start <= at).map(|(key, _)| key.clone());
        Fault { at, key, message: error.message().to_owned() }
    })
}

/// The keys at the top of the file with their places, in the order of the file.
fn keys(text: &str) -> Result<Vec<(String, Range<usize>)>, Fault> {
    let table = DeTable::parse(text).map_err(|error| Fault {
        at: error.span().map_or(0, |span| span.start),
        key: None,
        message: error.message().to_owned(),
    })?;
    let mut keys: Vec<_> =
        table.get_ref().keys().map(|key| (key.get_ref().to_string(), key.span())).collect();
    keys.sort_by_key(|(_, place)| place.start);
    Ok(keys)
}
