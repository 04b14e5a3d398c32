//! One WebSocket as its server speaks it (RFC 6455), with permessage-deflate (RFC 7692).
//!
//! Law: bytes in, messages out, and the other way round; the same bytes give the same messages in
//! whatever pieces they come. What is idle holds no buffer.

mod compression;
mod extension;
mod reader;
mod writer;

pub use self::compression::{Deflater, Inflater, Undone};
pub use self::extension::{Agreed, negotiate};
pub use self::reader::{Message, Reader, Violation};
pub use self::writer::Writer;

/// The payload of a control frame (RFC 6455 §5.5).
pub const MAX_CONTROL: usize = 125;

/// What kinds of frames there are (RFC 6455 §5.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opcode {
    /// More of a message that has begun.
    Continuation,
    /// A message of text, or its beginning.
    Text,
    /// A message of bytes, or its beginning.
    Binary,
    /// The end of one direction.
    Close,
    /// A question for life.
    Ping,
    /// The answer to it, or a sign of life unasked for.
    Pong,
}

impl Opcode {
    fn of(bits: u8) -> Option<Self> {
        Some(match bits {
            0x0 => Self::Continuation,
            0x1 => Self::Text,
            0x2 => Self::Binary,
            0x8 => Self::Close,
            0x9 => Self::Ping,
            0xA => Self::Pong,
            0x3..=0x7 | 0xB.. => return None,
        })
    }

    fn bits(self) -> u8 {
        match self {
            Self::Continuation => 0x0,
            Self::Text => 0x1,
            Self::Binary => 0x2,
            Self::Close => 0x8,
            Self::Ping => 0x9,
            Self::Pong => 0xA,
        }
    }

    fn is_control(self) -> bool {
        match self {
            Self::Close | Self::Ping | Self::Pong => true,
            Self::Continuation | Self::Text | Self::Binary => false,
        }
    }
}

/// The first bit of a header: the frame is its message's last.
const FINAL: u8 = 0x80;
/// The second: the message is compressed (RFC 7692 §6).
const COMPRESSED: u8 = 0x40;
/// The other reserved bits; nobody has agreed on a meaning.
const RESERVED: u8 = 0x30;
/// The first bit of the second byte.
const MASKED: u8 = 0x80;

/// Whether a close code may stand in a Close frame (RFC 6455 §7.4 and the IANA registry): 1000-1014
/// without 1004, 1005, 1006, and 3000-4999.
#[must_use]
pub fn can_be_sent(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}

#[cfg(test)]
mod tests;
