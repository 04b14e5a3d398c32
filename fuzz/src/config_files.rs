//! Our own configuration file.

use std::path::Path;

use slackwater::config::{Settings, Surroundings, options_of};

/// Whatever the file says, it is settings, or an error in a few lines that names the file.
pub fn config_file(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    // They name other files, which would be read.
    if ["opensrf_config", "tls_"].iter().any(|key| text.contains(key)) {
        return;
    }
    match options_of(text, Path::new("FILE")) {
        Ok(options) => drop(Settings::resolve(options, &Surroundings::default())),
        Err(error) => {
            let said = error.to_string();
            assert!(said.starts_with("FILE:"), "{said}");
            assert!(said.len() < 2_048 + text.len(), "{} bytes", said.len());
        }
    }
}
