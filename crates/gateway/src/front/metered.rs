//! A stream that counts what passes and follows the client's frames.
//!
//! Law: every byte of the WebSocket goes through here once, the bytes that the HTTP parser had
//! read ahead too, so that "how far is the client" has one answer.

use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::boundary::Boundary;

/// A stream with its meter.
#[derive(Debug)]
pub(super) struct Metered<S> {
    /// `None` once detached: reads as ended, takes nothing.
    io: Option<S>,
    /// Read and not yet handed on.
    pub(super) ahead: Bytes,
    pub(super) boundary: Boundary,
    pub(super) bytes_in: u64,
    pub(super) bytes_out: u64,
    /// The peer has closed its side.
    pub(super) at_end: bool,
}

impl<S> Metered<S> {
    /// `ahead` are bytes of the client's that were read before the WebSocket began.
    pub(super) fn new(io: S, ahead: &[u8]) -> Self {
        Self {
            io: Some(io),
            // Copied: it may be a small part of a large buffer, or nothing of one.
            ahead: Bytes::copy_from_slice(ahead),
            boundary: Boundary::default(),
            bytes_in: 0,
            bytes_out: 0,
            at_end: false,
        }
    }

    /// Moves the stream and its meter out; what is left behind reads as ended.
    pub(super) fn detach(&mut self) -> Self {
        Self {
            io: self.io.take(),
            ahead: std::mem::take(&mut self.ahead),
            boundary: std::mem::take(&mut self.boundary),
            bytes_in: self.bytes_in,
            bytes_out: self.bytes_out,
            at_end: self.at_end,
        }
    }

    pub(super) fn get_ref(&self) -> Option<&S> {
        self.io.as_ref()
    }

    pub(super) fn into_inner(mut self) -> Option<S> {
        self.io.take()
    }
}

impl<S: AsyncRead + Unpin> Metered<S> {
    /// Waits until there is something to read, or the end. What it reads to find out is kept for
    /// the next read, and counted then.
    pub(super) fn poll_wake(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.ahead.is_empty()
            && let Some(io) = &mut self.io
        {
            let mut space = [MaybeUninit::uninit(); 2048];
            let mut buffer = ReadBuf::uninit(&mut space);
            ready!(Pin::new(io).poll_read(context, &mut buffer))?;
            self.ahead = Bytes::copy_from_slice(buffer.filled());
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Metered<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        if this.ahead.is_empty() {
            let Some(io) = &mut this.io else { return Poll::Ready(Ok(())) };
            ready!(Pin::new(io).poll_read(context, buffer))?;
            this.at_end |= buffer.filled().len() == before && buffer.remaining() > 0;
        } else {
            let length = this.ahead.len().min(buffer.remaining());
            buffer.put_slice(&this.ahead[..length]);
            this.ahead.advance(length);
            if this.ahead.is_empty() {
                this.ahead = Bytes::new();
            }
        }
        let read = &buffer.filled()[before..];
        this.bytes_in += read.len() as u64;
        this.boundary.feed(read);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Metered<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let Some(io) = &mut this.io else { return detached() };
        let written = ready!(Pin::new(io).poll_write(context, bytes))?;
        this.bytes_out += written as u64;
        Poll::Ready(Ok(written))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let Some(io) = &mut this.io else { return detached() };
        let written = ready!(Pin::new(io).poll_write_vectored(context, slices))?;
        this.bytes_out += written as u64;
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        self.io.as_ref().is_some_and(AsyncWrite::is_write_vectored)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().io {
            Some(io) => Pin::new(io).poll_flush(context),
            None => detached(),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().io {
            Some(io) => Pin::new(io).poll_shutdown(context),
            None => detached(),
        }
    }
}

fn detached<T>() -> Poll<io::Result<T>> {
    Poll::Ready(Err(io::ErrorKind::NotConnected.into()))
}
