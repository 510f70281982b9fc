//! Frames on a stream: a big-endian u32 length and a body (spec/wire.md).
//!
//! Invariant: a declared length beyond the protocol's cap is refused before anything is allocated
//! for it, and memory grows only with the bytes that really come.

use std::io;

use bytes::Bytes;
use commonhold_format::wire::{Body, CHUNK_FRAME_MAX, CONTROL_FRAME_MAX, Request, Response};
use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use libp2p::StreamProtocol;
use libp2p::request_response;

/// Bytes that are reserved at once for a declared length.
const RESERVE_MAX: usize = 64 * 1024;
/// Bytes that are made ready for one read of a stream: what a frame of Yamux carries.
const READ_LEN: usize = 64 * 1024;

/// One of the two protocols: with chunks, or without.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Codec {
    pub(crate) bulk: bool,
}

impl Codec {
    fn frame_max(self) -> usize {
        if self.bulk { CHUNK_FRAME_MAX } else { CONTROL_FRAME_MAX }
    }

    async fn read_frame<T: AsyncRead + Unpin + Send>(self, io: &mut T) -> io::Result<Bytes> {
        let mut len = [0; 4];
        io.read_exact(&mut len).await?;
        let len = u32::from_be_bytes(len) as usize;
        if len > self.frame_max() {
            return Err(invalid(format!("a frame of {len} bytes")));
        }
        let mut body = Vec::with_capacity(len.min(RESERVE_MAX));
        while body.len() < len {
            let filled = body.len();
            // The rest is reserved, and not yet touched, only when the first part has come.
            if filled == body.capacity() {
                body.reserve_exact(len - filled);
            }
            body.resize(len.min(filled + READ_LEN).min(body.capacity()), 0);
            let read = io.read(&mut body[filled..]).await?;
            if read == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            body.truncate(filled + read);
        }
        Ok(body.into())
    }

    async fn write_frame<T: AsyncWrite + Unpin + Send>(self, io: &mut T, body: Body) -> io::Result<()> {
        let len = u32::try_from(body.len()).ok().filter(|_| body.len() <= self.frame_max());
        let len = len.ok_or_else(|| invalid(format!("a frame of {} bytes", body.len())))?;
        let mut head = Vec::with_capacity(4 + body.head.len());
        head.extend_from_slice(&len.to_be_bytes());
        head.extend_from_slice(&body.head);
        io.write_all(&head).await?;
        io.write_all(&body.chunk).await?;
        io.close().await
    }
}

fn invalid(why: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why.into())
}

impl request_response::Codec for Codec {
    type Protocol = StreamProtocol;
    type Request = Request;
    type Response = Response;

    async fn read_request<T>(&mut self, _: &Self::Protocol, io: &mut T) -> io::Result<Request>
    where
        T: AsyncRead + Unpin + Send,
    {
        let body = self.read_frame(io).await?;
        let request = Request::decode_body(&body).map_err(|error| invalid(error.to_string()))?;
        if request.is_bulk() != self.bulk {
            return Err(invalid("a request on the wrong protocol"));
        }
        Ok(request)
    }

    async fn read_response<T>(&mut self, _: &Self::Protocol, io: &mut T) -> io::Result<Response>
    where
        T: AsyncRead + Unpin + Send,
    {
        let body = self.read_frame(io).await?;
        Response::decode_body(&body).map_err(|error| invalid(error.to_string()))
    }

    async fn write_request<T>(&mut self, _: &Self::Protocol, io: &mut T, request: Request) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        self.write_frame(io, request.body()).await
    }

    async fn write_response<T>(
        &mut self,
        _: &Self::Protocol,
        io: &mut T,
        response: Response,
    ) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        self.write_frame(io, response.body()).await
    }
}
