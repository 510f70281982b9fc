//! What the drive asks of the rest of the node: that segments are kept and fetched, and that the
//! head is announced and found.
//!
//! Invariant: everything that crosses these traits is ciphertext, its identifiers, or a sealed and
//! signed head. A custodian never sees a name, a key, or a length that is exact.
//! What this is not: transport. The node's binary implements both traits over its providers and
//! the DHT; tests implement them in memory.

use std::collections::HashSet;
use std::sync::Arc;

use bytes::Bytes;
use commonhold_format::code::Code;
use commonhold_format::ids::{ChunkId, NodeId, SegmentId};
use commonhold_format::segment::Segment;
pub use futures::future::BoxFuture;

use crate::meter::Meter;

/// Chunks with their places in the segment, from 0.
pub type PlacedChunks = Vec<(u8, Bytes)>;

/// Keeps the segments of a drive at providers.
///
/// Every method may be called from several tasks at once. The drive never calls
/// [`retain`](Custody::retain) while a [`keep`](Custody::keep) is running.
pub trait Custody: Send + Sync + 'static {
    /// The erasure code for new segments, chosen for the providers at hand. Asked once for each
    /// put, before anything is read.
    fn code(&self) -> BoxFuture<'_, Result<Code, CustodyError>>;

    /// Where the stages of the work are counted, the drive's own included.
    fn meter(&self) -> Arc<Meter> {
        Arc::default()
    }

    /// Keep one segment of `len` ciphertext bytes, given as its `code.n()` chunks in code order
    /// with their ids. Resolves once enough providers have signed for bytes on their disks; until
    /// then the segment is not stored. The answer describes the same code, length and chunks, and
    /// adds the holders. Dropping the future gives the segment up.
    fn keep(
        &self,
        code: Code,
        len: u32,
        chunks: Vec<(ChunkId, Bytes)>,
    ) -> BoxFuture<'_, Result<Segment, CustodyError>>;

    /// At least `k` chunks of a segment with their places in it, each already checked against its
    /// id. `prefer` names a provider to ask first.
    fn fetch(
        &self,
        segment: &Segment,
        prefer: Option<NodeId>,
    ) -> BoxFuture<'_, Result<PlacedChunks, CustodyError>>;

    /// Only the segments named here are needed from now on: any other may be deleted at its
    /// providers.
    fn retain(&self, live: HashSet<SegmentId>) -> BoxFuture<'_, Result<(), CustodyError>>;
}

/// Announces the head of this drive to the owner's other devices, and finds what they announced.
pub trait HeadBoard: Send + Sync + 'static {
    /// Announce an encoded head. The error is a sentence.
    fn publish(&self, head: Vec<u8>) -> BoxFuture<'_, Result<(), String>>;

    /// The newest head that can be found; a claim, which the drive verifies. The error is a
    /// sentence and means that nothing is known, not that there is no head.
    fn find(&self) -> BoxFuture<'_, Result<Option<Vec<u8>>, String>>;
}

/// Why segments could not be kept, fetched or given up.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CustodyError {
    /// There is nobody to keep anything.
    #[error("no provider is known: connect to at least one node that lends disk")]
    NoProviders,
    /// Fewer providers than the smallest code needs.
    #[error("{have} providers can take data now and {need} are needed: connect to more nodes")]
    TooFewProviders {
        /// Providers that would take a chunk now.
        have: usize,
        /// Providers that the code needs.
        need: usize,
    },
    /// There would be enough providers, if some of them asked for less.
    #[error(
        "{have} providers ask for what this node's pricing policy accepts and {need} are needed; {dear} ask for more: accept higher prices, or wait for lower ones"
    )]
    TooExpensive {
        /// Providers that would take a chunk now at prices that are accepted.
        have: usize,
        /// Providers that the code needs.
        need: usize,
        /// Providers that are too expensive.
        dear: usize,
    },
    /// There are enough providers, and the operator's placement policy wants too few of them.
    #[error(
        "this node's placement policy chose {named} of {providers} providers and {need} are needed: find providers that it accepts, or change the policy"
    )]
    PlacementPolicy {
        /// Providers that it named and that are apart from each other.
        named: usize,
        /// Providers that could each take a chunk.
        providers: usize,
        /// Providers that the code needs.
        need: usize,
    },
    /// The providers have no room under their contracts.
    #[error(
        "the providers have room for {free} bytes of a segment and {needed} are needed: remove files or find more providers"
    )]
    Full {
        /// Bytes of the segment that could still be placed, one chunk with a provider.
        free: u64,
        /// Bytes that had to be placed.
        needed: u64,
    },
    /// Too few providers signed for a segment because others have no room left.
    #[error(
        "only {signed} of the {need} providers needed have room for the data ({reason}): remove files or find more providers"
    )]
    Quota {
        /// Providers that signed for synced bytes.
        signed: usize,
        /// Signatures needed.
        need: usize,
        /// What the others said, as a phrase.
        reason: String,
    },
    /// Too few providers signed for a segment.
    #[error("only {signed} of the {need} providers needed have signed for the data ({reason}): try again")]
    NotStored {
        /// Providers that signed for synced bytes.
        signed: usize,
        /// Signatures needed.
        need: usize,
        /// What the others said, as a phrase.
        reason: String,
    },
    /// Too few chunks of a segment could be fetched.
    #[error(
        "only {have} of the {need} chunks needed could be fetched ({reason}): try again when more providers are reachable"
    )]
    Unavailable {
        /// Chunks fetched and checked.
        have: usize,
        /// Chunks needed.
        need: usize,
        /// What the others said, as a phrase.
        reason: String,
    },
    /// Anything else, as a sentence.
    #[error("{0}")]
    Other(String),
}
