//! A reader that hashes what is read through it.
//!
//! Invariant: the hash is that of exactly the bytes that were handed out. MD5 is what S3 calls an ETag: a
//! name for content, and no protection of it.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use md5::{Digest, Md5};
use tokio::io::{AsyncRead, ReadBuf};

pub(crate) struct Hashed<R> {
    inner: R,
    md5: Md5,
}

impl<R> Hashed<R> {
    pub(crate) fn new(inner: R) -> Self {
        Self { inner, md5: Md5::new() }
    }

    /// Of what was read so far.
    pub(crate) fn md5(&self) -> [u8; 16] {
        self.md5.clone().finalize().into()
    }
}

impl<R: AsyncRead + Unpin> AsyncRead for Hashed<R> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.inner).poll_read(cx, buffer))?;
        self.md5.update(&buffer.filled()[before..]);
        Poll::Ready(Ok(()))
    }
}
