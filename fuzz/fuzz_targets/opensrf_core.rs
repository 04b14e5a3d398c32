//! See [`slackwater_fuzz::opensrf_core`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| slackwater_fuzz::opensrf_core(data));
