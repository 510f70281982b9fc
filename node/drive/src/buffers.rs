//! Memory of segments on their way, used again and again.
//!
//! Invariant: a put takes as many buffers as it has segments on their way at a time, whatever its
//! size, and gives them back to the system when it ends. Left to the allocator, which keeps memory
//! for each thread that ever had some, a node would hold several times as much.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use commonhold_format::code::Coder;

use crate::keeper::lock;

/// Buffers and coders that wait for their next use. Bounded by what was in use at one time.
#[derive(Default)]
pub(crate) struct Buffers {
    segments: Mutex<Vec<Vec<u8>>>,
    coders: Mutex<Vec<Coder>>,
}

impl Buffers {
    /// An empty buffer with room for `len` bytes.
    pub(crate) fn take(&self, len: usize) -> Vec<u8> {
        let mut buffer = lock(&self.segments).pop().unwrap_or_default();
        buffer.reserve_exact(len);
        buffer
    }

    /// Shares the bytes; their buffer comes back when nobody holds any part of them.
    pub(crate) fn share(self: &Arc<Self>, bytes: Vec<u8>) -> Bytes {
        Bytes::from_owner(Lent { bytes, buffers: self.clone() })
    }

    /// Does something with a coder.
    pub(crate) fn with_coder<T>(&self, work: impl FnOnce(&mut Coder) -> T) -> T {
        let mut coder = lock(&self.coders).pop().unwrap_or_default();
        let done = work(&mut coder);
        lock(&self.coders).push(coder);
        done
    }
}

struct Lent {
    bytes: Vec<u8>,
    buffers: Arc<Buffers>,
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let mut bytes = std::mem::take(&mut self.bytes);
        bytes.clear();
        lock(&self.buffers.segments).push(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_comes_back_when_its_last_part_is_gone_and_not_before() {
        let buffers = Arc::new(Buffers::default());
        let mut bytes = buffers.take(100);
        bytes.extend_from_slice(&[7; 100]);
        let place = bytes.as_ptr();
        let shared = buffers.share(bytes);
        let part = shared.slice(10..20);
        drop(shared);
        assert!(lock(&buffers.segments).is_empty());
        assert_eq!(part, [7; 10][..]);
        drop(part);
        let again = buffers.take(100);
        assert!(again.is_empty() && again.as_ptr() == place);
        let another = buffers.take(100);
        assert_ne!(another.as_ptr(), place);
    }
}
