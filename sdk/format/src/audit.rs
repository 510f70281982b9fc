//! Challenges and proofs of storage (spec/audit.md).
//!
//! Invariant: which bytes have to be shown follows from the challenge alone, and a proof is
//! accepted only when every hash between those bytes and the signed inventory root is there. What
//! it is not: a proof that the bytes lie on the provider's own disk, or on only one disk.
//!
//! One position is drawn in each 1/64 of the span. That is never worse than 64 independent
//! draws: when a fraction f_i of part i is lost, nothing is noticed with probability
//! (1 - f_1) ... (1 - f_64), which is at most (1 - mean f)^64 because a geometric mean does not
//! exceed the arithmetic one.

use minicbor::{Decode, Encode};
use sha2::{Digest, Sha256};

use crate::ids::{ChunkId, ContractId};
use crate::inventory::{InventoryEntry, InventoryView};
use crate::tree::{Hash, LEAF_LEN, LeafProof, leaf_count, leaf_hash, leaf_len, verify_path};

/// Positions that one challenge draws. With them a loss of 5 % is caught in 96 of 100 audits.
pub const AUDIT_SAMPLES: usize = 64;

const SEED_DOMAIN: &[u8] = b"commonhold/v1/audit-seed";
const POSITION_DOMAIN: &[u8] = b"commonhold/v1/audit-position";
const NONCE_DOMAIN: &[u8] = b"commonhold/v1/audit-nonce";
const EVIDENCE_DOMAIN: &[u8] = b"commonhold/v1/audit-evidence";

/// "Show these leaves." The positions follow from it alone.
///
/// A provider answers only a challenge that [`fits`](Challenge::fits) its inventory; a verifier
/// compares revision, root, entries and span with the signed revision first, because everything
/// here is measured against them.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Challenge {
    /// The contract whose inventory is challenged.
    #[n(0)]
    pub contract: ContractId,
    /// Sequence of the signed revision that fixes root, entries and span.
    #[n(1)]
    pub revision: u64,
    /// The inventory root in that revision.
    #[cbor(n(2), with = "minicbor::bytes")]
    pub inventory_root: Hash,
    /// Entries of the inventory, holes included.
    #[n(3)]
    pub entries: u64,
    /// Bytes that the inventory spans, holes included.
    #[n(4)]
    pub span: u64,
    /// Number of the audit under this contract; rises with every audit.
    #[n(5)]
    pub epoch: u64,
    /// The challenger's random number, committed to in its ledger before it is revealed here.
    #[cbor(n(6), with = "minicbor::bytes")]
    pub nonce: [u8; 32],
    /// The value of a public beacon, so that not even the challenger could choose the positions.
    #[cbor(n(7), with = "minicbor::bytes")]
    pub beacon: Option<[u8; 32]>,
}

impl Challenge {
    /// The seed of the positions: a hash over every field but entries and span, which the
    /// revision fixes.
    pub fn seed(&self) -> Hash {
        let hash = Sha256::new()
            .chain_update(SEED_DOMAIN)
            .chain_update(self.contract.0)
            .chain_update(self.inventory_root)
            .chain_update(self.revision.to_be_bytes())
            .chain_update(self.epoch.to_be_bytes())
            .chain_update(self.nonce);
        let hash = match &self.beacon {
            None => hash.chain_update([0]),
            Some(beacon) => hash.chain_update([1]).chain_update(beacon),
        };
        hash.finalize().into()
    }

    /// The byte positions whose leaves have to be shown: [`AUDIT_SAMPLES`] of them in rising
    /// order, one drawn in each part of the span, or none when the span is 0.
    pub fn positions(&self) -> Vec<u64> {
        if self.span == 0 {
            return Vec::new();
        }
        let seed = self.seed();
        (0..AUDIT_SAMPLES as u32).map(|part| position(&seed, self.span, part)).collect()
    }

    /// Whether root, entries and span are those of `inventory`. Proofs made from another one are
    /// refused by whoever verifies them.
    pub fn fits<V: InventoryView>(&self, inventory: &V) -> bool {
        self.inventory_root == inventory.root()
            && self.entries == inventory.len()
            && self.span == inventory.span()
    }
}

/// The position that is drawn in one part of a span of at least 1 byte.
fn position(seed: &Hash, span: u64, part: u32) -> u64 {
    // In 128 bits, because span x 64 may not fit in 64. The bounds are at most the span.
    let bound = |part: u32| (u128::from(part) * u128::from(span) / AUDIT_SAMPLES as u128) as u64;
    let (low, high) = (bound(part), bound(part + 1));
    if low == high {
        // A span below 64 bytes has empty parts; they show the byte that they stand at.
        return low.min(span - 1);
    }
    let digest: Hash = Sha256::new()
        .chain_update(POSITION_DOMAIN)
        .chain_update(seed)
        .chain_update(part.to_be_bytes())
        .finalize()
        .into();
    let mut draw = [0; 16];
    draw.copy_from_slice(&digest[..16]);
    // The remainder favours no position by more than 2^-70: a part has at most 2^58 bytes.
    low + (u128::from_be_bytes(draw) % u128::from(high - low)) as u64
}

/// The commitment that a challenger logs before it reveals `nonce`: a hash over the contract,
/// the epoch and the nonce.
pub fn nonce_commitment(contract: &ContractId, epoch: u64, nonce: &[u8; 32]) -> Hash {
    Sha256::new()
        .chain_update(NONCE_DOMAIN)
        .chain_update(contract.0)
        .chain_update(epoch.to_be_bytes())
        .chain_update(nonce)
        .finalize()
        .into()
}

/// What is shown for one drawn position.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Sample {
    /// Index of the inventory entry that covers the position.
    #[n(0)]
    pub index: u64,
    /// That entry.
    #[n(1)]
    pub entry: InventoryEntry,
    /// The entry's path to the inventory root.
    #[cbor(n(2), with = "crate::wire::hashes")]
    pub inventory_path: Vec<Hash>,
    /// What is shown of the chunk.
    #[n(3)]
    pub shown: Shown,
}

/// The chunk's part of a sample.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum Shown {
    /// The entry is a hole: there is nothing to show.
    #[n(0)]
    Hole,
    /// The leaf that covers the position.
    #[n(1)]
    Leaf {
        /// The leaf's bytes: 1,024, or fewer for the last leaf of a chunk.
        #[cbor(n(0), with = "leaf_bytes")]
        bytes: Vec<u8>,
        /// The leaf's path to the chunk id.
        #[cbor(n(1), with = "crate::wire::hashes")]
        path: Vec<Hash>,
    },
    /// The provider says that it no longer has the chunk intact. Saying so costs it the chunk,
    /// not its word: the rest of the proof stands.
    #[n(2)]
    Lost,
}

/// The answer to a challenge: one sample for each position, in the order of the positions.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Proof {
    /// The samples; decoding refuses more than [`AUDIT_SAMPLES`].
    #[cbor(n(0), with = "samples")]
    pub samples: Vec<Sample>,
}

impl Proof {
    /// The hash under which challenge and proof are kept and cited: SHA-256 of a domain and the
    /// CBOR encoding of the array (challenge, proof). Whoever has both can verify them again.
    pub fn evidence(&self, challenge: &Challenge) -> Hash {
        Sha256::new().chain_update(EVIDENCE_DOMAIN).chain_update(self.bundle(challenge)).finalize().into()
    }

    /// What [`Proof::evidence`] cites: the CBOR encoding of the array (challenge, proof).
    pub fn bundle(&self, challenge: &Challenge) -> Vec<u8> {
        minicbor::to_vec((challenge, self)).expect("writing to a Vec does not fail")
    }
}

/// Where in its own inventory a challenger finds what it asks for: for each position the index of the
/// entry that covers it, and that entry's path to the root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Places(Vec<(u64, Vec<Hash>)>);

impl Places {
    /// The places of a challenge in `inventory`; `None` when the challenge is about another one.
    ///
    /// # Errors
    /// That the inventory cannot be read.
    pub fn of<V: InventoryView>(challenge: &Challenge, inventory: &V) -> Result<Option<Self>, V::Error> {
        if !challenge.fits(inventory) {
            return Ok(None);
        }
        let mut places = Vec::with_capacity(AUDIT_SAMPLES);
        for position in challenge.positions() {
            let Some(index) = inventory.locate(position)? else { return Ok(None) };
            let Some(path) = inventory.path(index)? else { return Ok(None) };
            places.push((index, path));
        }
        Ok(Some(Self(places)))
    }
}

impl Proof {
    /// The proof without paths to the inventory root, as it travels to a challenger that has the
    /// inventory: two thirds as long.
    #[must_use]
    pub fn without_inventory_paths(mut self) -> Self {
        self.samples.iter_mut().for_each(|sample| sample.inventory_path.clear());
        self
    }

    /// The whole proof again, from the challenger's own inventory. A path that is there is left as it
    /// is, and so is a sample that is not about the entry in its place: verification refuses it.
    #[must_use]
    pub fn with_inventory_paths(mut self, places: &Places) -> Self {
        for (sample, (index, path)) in self.samples.iter_mut().zip(&places.0) {
            if sample.inventory_path.is_empty() && sample.index == *index {
                sample.inventory_path.clone_from(path);
            }
        }
        self
    }
}

/// What the verification of a proof found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ProofReport {
    /// Positions whose leaf was shown and fits.
    pub leaves: u32,
    /// Positions in holes.
    pub holes: u32,
    /// Chunks that are lost or were shown wrong, each once, in order of first appearance.
    pub lost: Vec<ChunkId>,
}

impl ProofReport {
    /// Whether nothing is lost.
    pub fn passed(&self) -> bool {
        self.lost.is_empty()
    }
}

/// Why a proof as a whole is refused: it is not an answer to this challenge.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// Not as many samples as positions.
    #[error("{found} samples, {expected} were asked for")]
    Count {
        /// How many positions the challenge has.
        expected: usize,
        /// How many samples were given.
        found: usize,
    },
    /// The entry does not cover the position, is out of bounds, or its path is refused.
    #[error("sample {sample}: the inventory entry is not proven")]
    Inventory {
        /// Which sample, from 0.
        sample: usize,
    },
    /// A hole is shown for a chunk that is held, or anything else for a hole.
    #[error("sample {sample}: what is shown does not fit its entry")]
    Shape {
        /// Which sample, from 0.
        sample: usize,
    },
}

/// Answers a challenge from the provider's inventory.
///
/// `show` gives a leaf of a chunk of that many bytes, with its path to the chunk's id, or `None`
/// when it is gone. What does not lead to the id counts as gone too. It is asked at most
/// [`AUDIT_SAMPLES`] times; see [`LeafProof`] for what it can use.
///
/// The inventory should be the one that the challenge [`fits`](Challenge::fits); otherwise the
/// proof comes out short or wrong and is refused by the verifier.
///
/// # Errors
/// That the inventory cannot be read.
pub fn prove<V: InventoryView>(
    challenge: &Challenge,
    inventory: &V,
    mut show: impl FnMut(&ChunkId, u32, u64) -> Option<LeafProof>,
) -> Result<Proof, V::Error> {
    let mut samples = Vec::with_capacity(AUDIT_SAMPLES);
    for position in challenge.positions() {
        let Some(index) = inventory.locate(position)? else { continue };
        let (Some(entry), Some(inventory_path)) = (inventory.entry(index)?, inventory.path(index)?) else {
            continue;
        };
        let shown = match entry.chunk {
            None => Shown::Hole,
            Some(id) => {
                let within = position - entry.offset;
                match show(&id, entry.len, within / LEAF_LEN as u64) {
                    Some(LeafProof { bytes, path })
                        if leaf_is_right(&id, entry.len, within, &bytes, &path) =>
                    {
                        Shown::Leaf { bytes, path }
                    }
                    _ => Shown::Lost,
                }
            }
        };
        samples.push(Sample { index, entry, inventory_path, shown });
    }
    Ok(Proof { samples })
}

/// Verifies a proof with the challenge alone.
///
/// The caller has compared the challenge with the signed revision that it names. A leaf or a
/// chunk path that is wrong counts the chunk as lost; anything else that is wrong refuses the
/// proof as a whole.
///
/// # Errors
/// [`ProofError`], naming the sample; the proof is then no answer to this challenge.
pub fn verify_proof(challenge: &Challenge, proof: &Proof) -> Result<ProofReport, ProofError> {
    let positions = challenge.positions();
    if proof.samples.len() != positions.len() {
        return Err(ProofError::Count { expected: positions.len(), found: proof.samples.len() });
    }
    let mut report = ProofReport::default();
    for (number, (position, sample)) in positions.into_iter().zip(&proof.samples).enumerate() {
        match (verify_sample(challenge, number, position, sample)?, sample.entry.chunk) {
            (SampleVerdict::Right, _) => report.leaves += 1,
            (SampleVerdict::Hole, _) => report.holes += 1,
            (SampleVerdict::Lost, Some(chunk)) => note_lost(&mut report, chunk),
            (SampleVerdict::Lost, None) => return Err(ProofError::Shape { sample: number }),
        }
    }
    Ok(report)
}

/// What one sample shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SampleVerdict {
    /// The leaf that covers the position, and it leads to the chunk's id.
    Right,
    /// The position is in a hole.
    Hole,
    /// The chunk is said to be lost, or what is shown is not its leaf.
    Lost,
}

/// Verifies one sample of a proof: the `number`-th, from 0, for the `number`-th position.
///
/// # Errors
/// [`ProofError`], when the sample is no answer to this challenge; the whole proof is then none.
pub fn verify_sample(
    challenge: &Challenge,
    number: usize,
    position: u64,
    sample: &Sample,
) -> Result<SampleVerdict, ProofError> {
    if !entry_is_proven(challenge, position, sample) {
        return Err(ProofError::Inventory { sample: number });
    }
    match (sample.entry.chunk, &sample.shown) {
        (None, Shown::Hole) => Ok(SampleVerdict::Hole),
        (Some(chunk), Shown::Leaf { bytes, path }) => {
            let within = position - sample.entry.offset;
            let right = leaf_is_right(&chunk, sample.entry.len, within, bytes, path);
            Ok(if right { SampleVerdict::Right } else { SampleVerdict::Lost })
        }
        (Some(_), Shown::Lost) => Ok(SampleVerdict::Lost),
        (None, _) | (Some(_), Shown::Hole) => Err(ProofError::Shape { sample: number }),
    }
}

fn entry_is_proven(challenge: &Challenge, position: u64, sample: &Sample) -> bool {
    sample.entry.is_valid()
        && sample.entry.covers(position)
        && verify_path(
            &challenge.inventory_root,
            challenge.entries,
            sample.index,
            &sample.entry.leaf_hash(),
            &sample.inventory_path,
        )
        .is_ok()
}

/// Whether `bytes` are the leaf of the chunk at byte `within`, of exactly that leaf's length.
pub(crate) fn leaf_is_right(chunk: &ChunkId, len: u32, within: u64, bytes: &[u8], path: &[Hash]) -> bool {
    let leaf = within / LEAF_LEN as u64;
    leaf_len(len, leaf) == Some(bytes.len())
        && verify_path(&chunk.0, leaf_count(len), leaf, &leaf_hash(bytes), path).is_ok()
}

fn note_lost(report: &mut ProofReport, chunk: ChunkId) {
    if !report.lost.contains(&chunk) {
        report.lost.push(chunk);
    }
}

/// Samples as an array of known length, at most [`AUDIT_SAMPLES`].
mod samples {
    use minicbor::decode::Error;
    use minicbor::{Decode, Decoder, Encode, Encoder};

    use super::{AUDIT_SAMPLES, Sample};

    pub(super) fn encode<C, W: minicbor::encode::Write>(
        samples: &Vec<Sample>,
        e: &mut Encoder<W>,
        ctx: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        samples.encode(e, ctx)
    }

    pub(super) fn decode<C>(d: &mut Decoder<'_>, ctx: &mut C) -> Result<Vec<Sample>, Error> {
        match d.array()? {
            Some(count) if count <= AUDIT_SAMPLES as u64 => {
                (0..count).map(|_| Sample::decode(d, ctx)).collect()
            }
            _ => Err(Error::message("more samples than a challenge asks for")),
        }
    }
}

/// Leaf bytes as a byte string of at most [`LEAF_LEN`].
mod leaf_bytes {
    use minicbor::decode::Error;
    use minicbor::{Decoder, Encoder};

    use super::LEAF_LEN;

    pub(super) fn encode<C, W: minicbor::encode::Write>(
        bytes: &[u8],
        e: &mut Encoder<W>,
        _: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        e.bytes(bytes)?;
        Ok(())
    }

    pub(super) fn decode<C>(d: &mut Decoder<'_>, _: &mut C) -> Result<Vec<u8>, Error> {
        let bytes = d.bytes()?;
        if bytes.len() > LEAF_LEN {
            return Err(Error::message("a leaf is longer than 1,024 bytes"));
        }
        Ok(bytes.to_vec())
    }
}
