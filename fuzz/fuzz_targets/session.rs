//! See [`slackwater_fuzz::session`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| slackwater_fuzz::session(data));
