//! A configuration file that others wrote.

use slackwater::config::{Settings, Surroundings, TheirBus, opensrf_options};

/// Whatever the file says, it is options that make settings, or an error in one line.
pub fn opensrf_core(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match opensrf_options(text, "gateway", TheirBus::Used(None)) {
        Ok(options) => {
            let settings = Settings::resolve(options, &Surroundings::default());
            settings.expect("what was read can be used");
        }
        Err(error) => {
            assert_eq!(error.lines().count(), 1, "{error:?}");
            assert!(error.len() < 4_096, "{} bytes", error.len());
        }
    }
}
