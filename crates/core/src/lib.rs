//! What a session and a drain are: the rules of Slackwater, without IO, clock or chance.
#![forbid(unsafe_code)]

pub mod osrf;
