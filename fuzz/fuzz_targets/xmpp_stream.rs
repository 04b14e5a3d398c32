//! See [`slackwater_fuzz::xmpp_stream`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| slackwater_fuzz::xmpp_stream(data));
