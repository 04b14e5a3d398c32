//! See [`slackwater_fuzz::wrapper`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| slackwater_fuzz::wrapper(data));
