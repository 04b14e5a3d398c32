//! The payload of one message, deflated and inflated (RFC 7692 §7.2).
//!
//! Law: no message knows of the one before it, so that a client that is idle holds nothing: one
//! deflater and one inflater serve all clients of a thread. What is inflated has a bound, and a large
//! message comes in pieces, so that others are served in between.

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

/// Deflates messages. It holds about 300 KiB once it has been used.
#[derive(Debug, Default)]
pub struct Deflater(Option<Compress>);

/// Inflates messages. It holds about 50 KiB once it has been used.
#[derive(Debug, Default)]
pub struct Inflater(Option<Decompress>);

/// Why a message could not be inflated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Undone {
    /// It is no deflated data.
    Broken,
    /// It would be larger than the limit.
    TooBig,
}

/// The windows that a peer can ask for, in bits (RFC 7692 §7.1.2.1).
pub(super) const SMALLEST_WINDOW: u8 = 8;
pub(super) const LARGEST_WINDOW: u8 = 15;

/// What every deflated message ends with and does not carry (RFC 7692 §7.2.1).
const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];

/// The quickest: of what the best one would save, it saves most.
const LEVEL: u32 = 1;

impl Deflater {
    /// The message deflated; `None` if that does not make it smaller.
    ///
    /// `window` is the size of the window, 8 to 15 bits: so far back the client can look.
    pub fn deflate(&mut self, payload: &[u8], window: u8) -> Option<Vec<u8>> {
        let compress = self.0.get_or_insert_with(|| Compress::new(Compression::new(LEVEL), false));
        compress.reset();
        // What does not fit in here is not worth it.
        let mut deflated = Vec::with_capacity(payload.len());
        // The crate knows one size of window only. For a smaller one, everything is forgotten as
        // often as it would be full, which a full flush does.
        let piece = 1 << window.clamp(SMALLEST_WINDOW, LARGEST_WINDOW);
        let piece = if window < LARGEST_WINDOW { piece } else { payload.len().max(1) };
        let mut pieces = payload.chunks(piece).peekable();
        while let Some(piece) = pieces.next() {
            let last = pieces.peek().is_none();
            let flush = if last { FlushCompress::Sync } else { FlushCompress::Full };
            compress.compress_vec(piece, &mut deflated, flush).ok()?;
            if deflated.len() == deflated.capacity() {
                return None;
            }
        }
        if !deflated.ends_with(&TAIL) {
            return None;
        }
        deflated.truncate(deflated.len() - TAIL.len());
        deflated.shrink_to_fit();
        Some(deflated)
    }
}

impl Inflater {
    /// The message as it was before it was deflated.
    ///
    /// # Errors
    /// It is broken, or has more than `max` bytes.
    pub fn inflate(&mut self, deflated: &[u8], max: usize) -> Result<Vec<u8>, Undone> {
        let mut inflation = self.begin(deflated.to_vec());
        while !inflation.go_on(max)? {}
        Ok(self.end(inflation))
    }

    /// Begins with a message. Until it has ended another can be begun, which costs another 50 KiB.
    pub(super) fn begin(&mut self, deflated: Vec<u8>) -> Inflation {
        let mut decompress = self.0.take().unwrap_or_else(|| Decompress::new(false));
        decompress.reset(false);
        Inflation { decompress, deflated, in_tail: false, taken: 0, payload: Vec::new() }
    }

    /// The message that has been inflated.
    pub(super) fn end(&mut self, inflation: Inflation) -> Vec<u8> {
        self.0 = Some(inflation.decompress);
        inflation.payload
    }
}

/// A message on its way to be inflated.
#[derive(Debug)]
pub(super) struct Inflation {
    decompress: Decompress,
    deflated: Vec<u8>,
    /// It is at [`TAIL`], and no longer at `deflated`.
    in_tail: bool,
    /// So many bytes of that are done with.
    taken: usize,
    payload: Vec<u8>,
}

/// About so many bytes, deflated or not, are worked on at once: for some hundredths of a millisecond.
const PIECE: usize = 16 * 1024;

impl Inflation {
    /// Goes on for a piece; whether the message has come to its end.
    pub(super) fn go_on(&mut self, max: usize) -> Result<bool, Undone> {
        let mut done = 0;
        while done < PIECE {
            let part = if self.in_tail { &TAIL[..] } else { &self.deflated };
            let rest = part.get(self.taken..).unwrap_or_default();
            let begin = self.payload.len();
            if begin == self.payload.capacity() {
                // One byte more than is allowed shows that it is too much.
                let wanted = (begin * 2).max(self.deflated.len() * 4).max(256);
                let wanted = wanted.min(max.saturating_add(1));
                self.payload.reserve_exact(wanted.max(begin + 1) - begin);
            }
            self.payload.resize(self.payload.capacity().min(begin + PIECE), 0);
            let (taken, given) = (self.decompress.total_in(), self.decompress.total_out());
            let status = self
                .decompress
                .decompress(
                    &rest[..rest.len().min(PIECE)],
                    &mut self.payload[begin..],
                    FlushDecompress::Sync,
                )
                .map_err(|_| Undone::Broken)?;
            let taken = bytes(self.decompress.total_in() - taken);
            let given = bytes(self.decompress.total_out() - given);
            self.payload.truncate(begin + given);
            if self.payload.len() > max {
                return Err(Undone::TooBig);
            }
            self.taken += taken;
            done += taken + given;
            let is_empty = taken == rest.len();
            let ended = match status {
                // A final block (RFC 7692 §7.2.3.5); nothing but padding may stand behind it.
                Status::StreamEnd => {
                    self.decompress.reset(false);
                    is_empty
                }
                Status::Ok | Status::BufError if taken > 0 || given > 0 => false,
                // With room for more: it has given all that it can.
                Status::Ok | Status::BufError if is_empty => true,
                Status::Ok | Status::BufError => return Err(Undone::Broken),
            };
            if ended && self.in_tail {
                self.payload.shrink_to_fit();
                return Ok(true);
            }
            if ended {
                (self.in_tail, self.taken) = (true, 0);
            }
        }
        Ok(false)
    }

    /// Bytes that it holds.
    pub(super) fn held(&self) -> usize {
        self.deflated.len() + self.payload.len()
    }
}

/// Of what is in memory.
fn bytes(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}
