//! What a client sends: frames to messages.
//!
//! Law: the first thing that is wrong ends it, at the byte at which it shows. What is held is never
//! more than has come, and never more than one message may have, deflated and inflated.

use super::compression::{Inflater, Inflation, Undone};
use super::{COMPRESSED, FINAL, MASKED, MAX_CONTROL, Opcode, RESERVED, can_be_sent};

/// A message of the client's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// A text, which is UTF-8.
    Text(String),
    /// Bytes.
    Binary(Vec<u8>),
    /// Asks for a pong with this payload.
    Ping(Vec<u8>),
    /// A pong, asked for or not.
    Pong(Vec<u8>),
    /// The client ends its direction.
    Close {
        /// `None` when the frame had none (RFC 6455 §7.1.5 calls this 1005).
        code: Option<u16>,
        /// At most 123 bytes.
        reason: String,
    },
}

/// What a client may not do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Violation {
    /// 1002 protocol, 1007 not UTF-8 or not deflated, 1009 too big (RFC 6455 §7.4.1).
    pub code: u16,
    /// What was wrong, in a few words.
    pub reason: &'static str,
}

/// Reads the frames of one client.
#[derive(Debug)]
pub struct Reader {
    max_message: usize,
    /// Messages may be compressed.
    inflates: bool,
    header: Header,
    /// The frame whose payload is being read.
    frame: Option<Frame>,
    /// The data message that has begun.
    message: Option<Partial>,
    /// The payload so far of a control frame.
    control: Vec<u8>,
    /// The message that has come whole and is being inflated.
    inflating: Option<Box<Inflating>>,
    /// Messages of data mean nothing any more.
    skips: bool,
}

#[derive(Debug)]
struct Inflating {
    text: bool,
    inflation: Inflation,
}

/// The bytes of a header so far: two, of extended length none, two or eight, and the mask.
#[derive(Debug, Default)]
struct Header {
    bytes: [u8; 14],
    seen: u8,
}

#[derive(Debug)]
struct Frame {
    opcode: Opcode,
    last: bool,
    /// Bytes of payload to come.
    remaining: usize,
    /// Turned so that its first byte is for the next byte of the payload.
    mask: [u8; 4],
}

#[derive(Debug)]
struct Partial {
    text: bool,
    compressed: bool,
    payload: Vec<u8>,
    /// So much of a text is known to be UTF-8.
    valid: usize,
}

/// So much room is made for a message on the word of its header; for more, bytes must have come.
const TRUSTED: usize = 16 * 1024;

impl Reader {
    /// `max_message` is the largest message that is taken, in bytes of payload, before and after
    /// it is inflated; a larger one is a violation. `inflates`: compression was agreed on.
    #[must_use]
    pub fn new(max_message: usize, inflates: bool) -> Self {
        Self {
            max_message,
            inflates,
            header: Header::default(),
            frame: None,
            message: None,
            control: Vec::new(),
            inflating: None,
            skips: false,
        }
    }

    /// From here on no message of data is held or given; pings, pongs and the Close are. What is held of
    /// one is let go.
    pub fn skip_messages(&mut self) {
        self.skips = true;
        self.inflating = None;
        if let Some(message) = &mut self.message {
            message.payload = Vec::new();
        }
    }

    /// Takes bytes up to the end of the next message, or all of them if it does not end here; while
    /// it [is inflating](Self::is_inflating), none.
    ///
    /// # Errors
    /// The client has broken the protocol or a limit. Nothing that it sends from here on means
    /// anything; the reader must not be asked again.
    pub fn read(
        &mut self,
        bytes: &mut &[u8],
        inflater: &mut Inflater,
    ) -> Result<Option<Message>, Violation> {
        loop {
            if let Some(mut inflating) = self.inflating.take() {
                if inflating.inflation.go_on(self.max_message)? {
                    let payload = inflater.end(inflating.inflation);
                    return message(inflating.text, payload).map(Some);
                }
                self.inflating = Some(inflating);
                return Ok(None);
            }
            let frame = if let Some(frame) = &mut self.frame {
                frame
            } else {
                if !self.header.read(bytes) {
                    return Ok(None);
                }
                let frame = self.begin()?;
                self.frame.insert(frame)
            };
            if frame.opcode.is_control() {
                let limit = frame.remaining;
                frame.read(bytes, &mut self.control, limit);
            } else if self.skips {
                frame.skip(bytes);
            } else if let Some(message) = &mut self.message {
                // There is one: a frame of data begins it.
                frame.read(bytes, &mut message.payload, self.max_message);
            }
            if frame.remaining > 0 {
                self.judge_text()?;
                return Ok(None);
            }
            let (opcode, last) = (frame.opcode, frame.last);
            self.frame = None;
            if opcode.is_control() {
                return control(opcode, std::mem::take(&mut self.control)).map(Some);
            }
            if last && let Some(Partial { text, compressed, payload, .. }) = self.message.take() {
                if self.skips {
                    continue;
                }
                if !compressed {
                    return message(text, payload).map(Some);
                }
                let inflation = inflater.begin(payload);
                self.inflating = Some(Box::new(Inflating { text, inflation }));
                continue;
            }
            self.judge_text()?;
        }
    }

    /// Whether a message that has come whole is still being inflated: ask again, with more bytes or
    /// without. Others can be served in between.
    #[must_use]
    pub fn is_inflating(&self) -> bool {
        self.inflating.is_some()
    }

    /// Whether the client stands inside a frame, or between the fragments of a message, or there is
    /// more to be done for one that is whole.
    #[must_use]
    pub fn mid_message(&self) -> bool {
        let between = self.frame.is_some() || self.message.is_some();
        self.header.seen > 0 || between || self.is_inflating()
    }

    /// Bytes of messages that have not ended.
    #[must_use]
    pub fn held(&self) -> usize {
        let message = self.message.as_ref().map_or(0, |message| message.payload.len());
        let inflating = self.inflating.as_ref().map_or(0, |inflating| inflating.inflation.held());
        usize::from(self.header.seen) + message + self.control.len() + inflating
    }

    /// Bytes that room was made for.
    #[cfg(test)]
    pub(super) fn room(&self) -> usize {
        self.message.as_ref().map_or(0, |message| message.payload.capacity())
    }

    /// What a complete header says.
    fn begin(&mut self) -> Result<Frame, Violation> {
        let Header { bytes, .. } = std::mem::take(&mut self.header);
        let [first, second, ..] = bytes;
        if first & RESERVED != 0 {
            return Err(protocol("a reserved bit is set"));
        }
        let opcode = Opcode::of(first & 0x0f)
            .ok_or_else(|| protocol("an opcode that nothing stands for"))?;
        if second & MASKED == 0 {
            return Err(protocol("a frame of a client must be masked"));
        }
        let (length, mask) = length_and_mask(&bytes);
        let last = first & FINAL != 0;
        let compressed = first & COMPRESSED != 0;
        if opcode.is_control() {
            if compressed {
                return Err(protocol("a control frame is never compressed"));
            }
            if !last {
                return Err(protocol("a control frame is never fragmented"));
            }
            let remaining = usize::try_from(length).ok().filter(|length| *length <= MAX_CONTROL);
            let remaining =
                remaining.ok_or_else(|| protocol("a control frame of more than 125 bytes"))?;
            return Ok(Frame { opcode, last, remaining, mask });
        }
        match (opcode, &self.message) {
            (Opcode::Continuation, None) => return Err(protocol("there is nothing to continue")),
            (Opcode::Continuation, Some(_)) if compressed => {
                return Err(protocol("compression is said with a message's first frame"));
            }
            (Opcode::Continuation, Some(_)) => {}
            (_, Some(_)) => return Err(protocol("a message inside another")),
            (_, None) if compressed && !self.inflates => {
                return Err(protocol("no compression was agreed on"));
            }
            (_, None) => {}
        }
        let held = self.message.as_ref().map_or(0, |message| message.payload.len());
        let room = self.max_message.saturating_sub(held);
        let remaining = usize::try_from(length).ok().filter(|length| *length <= room);
        let remaining = remaining.ok_or(TOO_BIG)?;
        if opcode != Opcode::Continuation {
            self.message = Some(Partial {
                text: opcode == Opcode::Text,
                compressed,
                payload: Vec::new(),
                valid: 0,
            });
        }
        Ok(Frame { opcode, last, remaining, mask })
    }

    /// A text that goes wrong is refused before it ends.
    fn judge_text(&mut self) -> Result<(), Violation> {
        match &mut self.message {
            Some(message) if message.text && !message.compressed && !self.skips => message.judge(),
            Some(_) | None => Ok(()),
        }
    }
}

impl Header {
    /// Takes bytes until the header is complete; whether it is.
    fn read(&mut self, bytes: &mut &[u8]) -> bool {
        while usize::from(self.seen) < self.length() {
            let Some((&first, behind)) = bytes.split_first() else { return false };
            self.bytes[usize::from(self.seen)] = first;
            self.seen += 1;
            *bytes = behind;
        }
        true
    }

    /// How long it is, as far as can be told.
    fn length(&self) -> usize {
        if self.seen < 2 {
            return 2;
        }
        let extended = match self.bytes[1] & !MASKED {
            126 => 2,
            127 => 8,
            0..=125 | MASKED.. => 0,
        };
        let mask = if self.bytes[1] & MASKED == 0 { 0 } else { 4 };
        2 + extended + mask
    }
}

/// Of a masked frame.
fn length_and_mask(header: &[u8; 14]) -> (u64, [u8; 4]) {
    let [_, second, b2, b3, b4, b5, b6, b7, b8, b9, b10, b11, b12, b13] = *header;
    match second & !MASKED {
        126 => (u64::from(u16::from_be_bytes([b2, b3])), [b4, b5, b6, b7]),
        127 => (u64::from_be_bytes([b2, b3, b4, b5, b6, b7, b8, b9]), [b10, b11, b12, b13]),
        short => (u64::from(short), [b2, b3, b4, b5]),
    }
}

impl Frame {
    /// Throws away what there is of the payload.
    fn skip(&mut self, bytes: &mut &[u8]) {
        let (here, behind) = bytes.split_at(self.remaining.min(bytes.len()));
        *bytes = behind;
        self.remaining -= here.len();
    }

    /// Takes what there is of the payload. `limit` bounds how much room is ever made.
    fn read(&mut self, bytes: &mut &[u8], payload: &mut Vec<u8>, limit: usize) {
        let (here, behind) = bytes.split_at(self.remaining.min(bytes.len()));
        *bytes = behind;
        make_room(payload, here.len(), self.remaining, limit);
        let begin = payload.len();
        payload.extend_from_slice(here);
        unmask(&mut payload[begin..], self.mask);
        self.remaining -= here.len();
        self.mask.rotate_left(here.len() % 4);
    }
}

/// Makes room for what is `here` and, as far as that is worth, for what is `announced`.
fn make_room(payload: &mut Vec<u8>, here: usize, announced: usize, limit: usize) {
    if payload.capacity() - payload.len() >= here {
        return;
    }
    let needed = payload.len() + here;
    let wanted = payload.len().saturating_add(announced).min(needed.saturating_mul(2).max(TRUSTED));
    payload.reserve_exact(wanted.min(limit).max(needed) - payload.len());
}

fn unmask(payload: &mut [u8], mask: [u8; 4]) {
    let (words, rest) = payload.as_chunks_mut::<4>();
    let word = u32::from_ne_bytes(mask);
    for bytes in words {
        *bytes = (u32::from_ne_bytes(*bytes) ^ word).to_ne_bytes();
    }
    for (byte, mask) in rest.iter_mut().zip(mask) {
        *byte ^= mask;
    }
}

impl Partial {
    /// Looks at what is new of a text; its last character may be half there.
    fn judge(&mut self) -> Result<(), Violation> {
        match str::from_utf8(&self.payload[self.valid..]) {
            Ok(_) => self.valid = self.payload.len(),
            Err(error) if error.error_len().is_none() => self.valid += error.valid_up_to(),
            Err(_) => return Err(NOT_UTF8),
        }
        Ok(())
    }
}

impl From<Undone> for Violation {
    fn from(undone: Undone) -> Self {
        match undone {
            Undone::TooBig => TOO_BIG,
            Undone::Broken => Self { code: 1007, reason: "what is said to be deflated is not" },
        }
    }
}

fn message(text: bool, payload: Vec<u8>) -> Result<Message, Violation> {
    if text {
        String::from_utf8(payload).map(Message::Text).map_err(|_| NOT_UTF8)
    } else {
        Ok(Message::Binary(payload))
    }
}

fn control(opcode: Opcode, payload: Vec<u8>) -> Result<Message, Violation> {
    match opcode {
        Opcode::Ping => Ok(Message::Ping(payload)),
        Opcode::Close => close(&payload),
        // Of data there is none here.
        Opcode::Pong | Opcode::Continuation | Opcode::Text | Opcode::Binary => {
            Ok(Message::Pong(payload))
        }
    }
}

/// RFC 6455 §5.5.1.
fn close(payload: &[u8]) -> Result<Message, Violation> {
    let Some((code, reason)) = payload.split_first_chunk() else {
        return if payload.is_empty() {
            Ok(Message::Close { code: None, reason: String::new() })
        } else {
            Err(protocol("half a close code"))
        };
    };
    let code = u16::from_be_bytes(*code);
    if !can_be_sent(code) {
        return Err(protocol("a close code that must not be sent"));
    }
    let reason = str::from_utf8(reason).map_err(|_| NOT_UTF8)?;
    Ok(Message::Close { code: Some(code), reason: reason.to_owned() })
}

const TOO_BIG: Violation = Violation { code: 1009, reason: "a message too large" };
const NOT_UTF8: Violation = Violation { code: 1007, reason: "a text that is not UTF-8" };

const fn protocol(reason: &'static str) -> Violation {
    Violation { code: 1002, reason }
}
