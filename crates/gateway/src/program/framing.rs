//! How a stream of bytes is cut into messages, and messages are put into one. Pure.
//!
//! Law: what has come and is no whole message yet is kept, to a bound; nothing else is.

use std::collections::VecDeque;

use memchr::memchr;
use slackwater_core::session::Message;

/// How messages stand in a program's input and output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// Each is a line. A message with line breaks in it is several lines to the program.
    Lines,
    /// None stand out: the program gets the bytes, and whatever one read brings is a message.
    Chunks,
    /// Each has its length before it, 4 bytes, the most significant first.
    Length,
    /// Each is a JSON string on a line of its own.
    Json,
}

/// How the messages for the client are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Payload {
    /// As text; what is not UTF-8 becomes U+FFFD.
    Text,
    /// As binary messages.
    Binary,
}

/// Something in a program's output that is no message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Broken {
    /// More than a message may have.
    TooLong,
    /// A line that is no JSON string.
    NotJson,
}

impl Broken {
    /// In a few words, for the client.
    pub(crate) const fn words(self) -> &'static str {
        match self {
            Self::TooLong => "the program's message is too long",
            Self::NotJson => "the program's line is no JSON string",
        }
    }
}

/// Bytes of the length in [`Framing::Length`].
const LENGTH: usize = 4;

impl Framing {
    /// Adds a message for the program to the bytes of its input.
    pub(crate) fn encode(self, message: Message, input: &mut Vec<u8>) {
        let bytes = match (self, message) {
            (Self::Json, Message::Text(text)) => {
                serde_json::Value::from(text).to_string().into_bytes()
            }
            (Self::Json, Message::Binary(bytes)) => {
                // JSON holds text only.
                let text = String::from_utf8_lossy(&bytes).into_owned();
                serde_json::Value::from(text).to_string().into_bytes()
            }
            (Self::Lines | Self::Chunks | Self::Length, Message::Text(text)) => text.into_bytes(),
            (Self::Lines | Self::Chunks | Self::Length, Message::Binary(bytes)) => bytes,
        };
        if self == Self::Length {
            // A message is bounded far below this by what a WebSocket takes.
            let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
            input.extend_from_slice(&length.to_be_bytes());
        }
        input.extend_from_slice(&bytes);
        match self {
            Self::Lines | Self::Json => input.push(b'\n'),
            Self::Chunks | Self::Length => {}
        }
    }
}

/// Cuts a program's output into messages.
#[derive(Debug)]
pub(crate) struct Decoder {
    framing: Framing,
    payload: Payload,
    /// The longest message, in bytes.
    limit: usize,
    /// What is no whole message yet.
    part: Vec<u8>,
}

impl Decoder {
    pub(crate) const fn new(framing: Framing, payload: Payload, limit: usize) -> Self {
        Self { framing, payload, limit, part: Vec::new() }
    }

    /// Takes bytes of the output, and adds the messages that are whole now.
    ///
    /// # Errors
    /// [`Broken`]; nothing that comes later can be understood.
    pub(crate) fn take(
        &mut self,
        bytes: &[u8],
        messages: &mut VecDeque<Message>,
    ) -> Result<(), Broken> {
        self.cut(bytes, messages).inspect_err(|_| self.part = Vec::new())
    }

    fn cut(&mut self, mut bytes: &[u8], messages: &mut VecDeque<Message>) -> Result<(), Broken> {
        match self.framing {
            Framing::Chunks => messages.push_back(self.message(bytes.to_vec())),
            Framing::Lines | Framing::Json => {
                while let Some(end) = memchr(b'\n', bytes) {
                    let (line, rest) = (&bytes[..end], &bytes[end + 1..]);
                    bytes = rest;
                    self.check(self.part.len() + line.len())?;
                    let mut whole = std::mem::take(&mut self.part);
                    whole.extend_from_slice(line);
                    messages.push_back(self.line(whole)?);
                }
                self.check(self.part.len() + bytes.len())?;
                self.part.extend_from_slice(bytes);
            }
            Framing::Length => {
                self.part.extend_from_slice(bytes);
                let mut done = 0;
                while let Some((length, rest)) = self.part[done..].split_first_chunk::<LENGTH>() {
                    let length = u32::from_be_bytes(*length) as usize;
                    self.check(length)?;
                    let Some(message) = rest.get(..length) else { break };
                    messages.push_back(self.message(message.to_vec()));
                    done += LENGTH + length;
                }
                self.part.drain(..done);
                if self.part.is_empty() {
                    // An idle client holds nothing that a busy one needed.
                    self.part = Vec::new();
                }
            }
        }
        Ok(())
    }

    /// The output has ended: what has come of a last line is a message, too.
    pub(crate) fn end(&mut self) -> Option<Message> {
        let part = std::mem::take(&mut self.part);
        match self.framing {
            Framing::Lines | Framing::Json if !part.is_empty() => self.line(part).ok(),
            Framing::Lines | Framing::Json | Framing::Chunks | Framing::Length => None,
        }
    }

    fn check(&self, length: usize) -> Result<(), Broken> {
        if length > self.limit { Err(Broken::TooLong) } else { Ok(()) }
    }

    fn line(&self, mut line: Vec<u8>) -> Result<Message, Broken> {
        if line.last() == Some(&b'\r') {
            line.pop();
        }
        match self.framing {
            Framing::Json => {
                let text: String = serde_json::from_slice(&line).map_err(|_| Broken::NotJson)?;
                Ok(self.message(text.into_bytes()))
            }
            Framing::Lines | Framing::Chunks | Framing::Length => Ok(self.message(line)),
        }
    }

    fn message(&self, bytes: Vec<u8>) -> Message {
        match self.payload {
            Payload::Binary => Message::Binary(bytes),
            Payload::Text => Message::Text(
                String::from_utf8(bytes)
                    .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()),
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text(text: &str) -> Message {
        Message::Text(text.to_owned())
    }

    fn all(framing: Framing, chunks: &[&[u8]]) -> Result<Vec<Message>, Broken> {
        let mut decoder = Decoder::new(framing, Payload::Text, 100);
        let mut messages = VecDeque::new();
        for chunk in chunks {
            decoder.take(chunk, &mut messages)?;
        }
        messages.extend(decoder.end());
        Ok(messages.into())
    }

    #[test]
    fn lines_end_with_or_without_cr_and_the_last_one_needs_no_end() {
        let messages = all(Framing::Lines, &[b"one\r\nt", b"wo\n\nthr", b"ee"]);
        assert_eq!(messages, Ok(vec![text("one"), text("two"), text(""), text("three")]));
        assert_eq!(all(Framing::Lines, &[b"one\n"]), Ok(vec![text("one")]));
        assert_eq!(all(Framing::Lines, &[b"\xff!\n"]), Ok(vec![text("\u{fffd}!")]));
    }

    #[test]
    fn a_message_that_is_too_long_is_not_gathered() {
        assert_eq!(all(Framing::Lines, &[&[b'x'; 60], &[b'x'; 60]]), Err(Broken::TooLong));
        assert_eq!(all(Framing::Length, &[&[0xff, 0, 0, 0]]), Err(Broken::TooLong));
    }

    #[test]
    fn a_json_line_holds_line_breaks() {
        let mut encoded = Vec::new();
        Framing::Json.encode(text("a\nb\u{2028}\"\u{1}"), &mut encoded);
        assert_eq!(encoded.iter().filter(|byte| **byte == b'\n').count(), 1);
        assert_eq!(all(Framing::Json, &[&encoded]), Ok(vec![text("a\nb\u{2028}\"\u{1}")]));
        assert_eq!(all(Framing::Json, &[b"plain\n"]), Err(Broken::NotJson));
        assert_eq!(all(Framing::Json, &[b"{}\n"]), Err(Broken::NotJson));
    }

    proptest! {
        #[test]
        fn whatever_the_pieces_the_messages_are_the_same(
            payloads in prop::collection::vec("[^\n\r]{0,20}", 0..6),
            cuts in prop::collection::vec(0..200usize, 0..6),
            framing in prop_oneof![Just(Framing::Lines), Just(Framing::Length), Just(Framing::Json)],
        ) {
            let mut stream = Vec::new();
            payloads.iter().for_each(|payload| framing.encode(text(payload), &mut stream));
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(stream.len())).collect();
            cuts.extend([0, stream.len()]);
            cuts.sort_unstable();
            let pieces: Vec<&[u8]> = cuts.windows(2).map(|cut| &stream[cut[0]..cut[1]]).collect();
            let expected: Vec<Message> = payloads.iter().map(|payload| text(payload)).collect();
            prop_assert_eq!(all(framing, &pieces), Ok(expected));
        }
    }
}
