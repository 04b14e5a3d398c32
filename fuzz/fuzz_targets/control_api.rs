//! See [`slackwater_fuzz::control_api`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| slackwater_fuzz::control_api(data));
