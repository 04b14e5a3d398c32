//! See [`slackwater_fuzz::redis_envelope`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| slackwater_fuzz::redis_envelope(data));
