//! The payload of one message, deflated and inflated (RFC 7692 §7.2).
//!
//! Law: no message knows of the one before it, so that a client that is idle holds nothing: one
//! deflater and one inflater serve all clients of a thread. What is inflated has a bound.

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
        let decompress = self.0.get_or_insert_with(|| Decompress::new(false));
        decompress.reset(false);
        let mut payload = Vec::new();
        for part in [deflated, &TAIL] {
            let mut part = part;
            let mut ended = false;
            while !ended {
                if payload.len() == payload.capacity() {
                    // One byte more than is allowed shows that it is too much.
                    let wanted = (payload.len() * 2).max(deflated.len() * 4).max(256);
                    let wanted = wanted.min(max.saturating_add(1));
                    payload.reserve_exact(wanted.max(payload.len() + 1) - payload.len());
                }
                let (taken, given) = (decompress.total_in(), decompress.total_out());
                let status = decompress
                    .decompress_vec(part, &mut payload, FlushDecompress::Sync)
                    .map_err(|_| Undone::Broken)?;
                let taken = decompress.total_in() - taken;
                let given = decompress.total_out() - given;
                if payload.len() > max {
                    return Err(Undone::TooBig);
                }
                part = &part[usize::try_from(taken).unwrap_or(part.len())..];
                match status {
                    // A final block (RFC 7692 §7.2.3.5); nothing but padding may stand behind it.
                    Status::StreamEnd => {
                        decompress.reset(false);
                        ended = part.is_empty();
                    }
                    Status::Ok | Status::BufError if taken > 0 || given > 0 => {}
                    // With room for more: it has given all that it can.
                    Status::Ok | Status::BufError if part.is_empty() => ended = true,
                    Status::Ok | Status::BufError => return Err(Undone::Broken),
                }
            }
        }
        payload.shrink_to_fit();
        Ok(payload)
    }
}
