//! See [`slackwater_fuzz::http_upgrade`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| slackwater_fuzz::http_upgrade(data));
