//! The messages themselves: what is asked of a node and what it answers.

use bytes::Bytes;
use minicbor::{Decode, Encode};

use super::{COMMIT_CHANGES_MAX, CONTRACTS_MAX, DAMAGED_MAX, INVENTORY_PAGE_MAX, Refusal, bounded};
use crate::audit::{Challenge, Proof};
use crate::ids::{ChunkId, ContractId, PartyId};
use crate::inventory::InventoryEntry;
use crate::probe::{PROBE_CHUNKS_MAX, ProbedLeaf};
use crate::statement::Prices;

/// Asked of a node. Which node asks is known from the connection. spec/wire.md gives the state
/// rules and who may ask what.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(context_bound = "bounded::Source")]
pub enum Request {
    /// Show your node record. Answered with [`Response::Record`].
    #[n(0)]
    Hello,
    /// Take on this contract. Answered with [`Response::Note`].
    #[n(1)]
    OpenContract {
        /// The contract note, signed by the owner.
        #[cbor(n(0), with = "bounded::note")]
        note: Vec<u8>,
    },
    /// Tell the last notes of a contract, after a crash. Answered with
    /// [`Response::ContractState`].
    #[n(2)]
    ContractState {
        /// Which contract.
        #[n(0)]
        contract: ContractId,
    },
    /// Tell entries of a contract's inventory. Answered with [`Response::InventoryPage`].
    #[n(3)]
    InventoryPage {
        /// Which contract.
        #[n(0)]
        contract: ContractId,
        /// Index of the first entry that is wanted, from 0.
        #[n(1)]
        from: u64,
    },
    /// Take this chunk. It counts only after a commit. Answered with [`Response::Done`]; travels
    /// on the chunk protocol.
    #[n(4)]
    PutChunk {
        /// Under which contract.
        #[n(0)]
        contract: ContractId,
        /// The chunk's id, which its bytes must have.
        #[n(1)]
        chunk: ChunkId,
        /// 1 to [`CHUNK_LEN_MAX`](crate::tree::CHUNK_LEN_MAX) bytes.
        #[cbor(n(2), with = "bounded::chunk")]
        bytes: Bytes,
    },
    /// Change the inventory, make everything it holds durable, and countersign. Answered with
    /// [`Response::Note`].
    #[n(5)]
    Commit {
        /// The revision note, signed by the owner.
        #[cbor(n(0), with = "bounded::note")]
        note: Vec<u8>,
        /// What is appended, in this order, after the removals. A chunk that the inventory holds
        /// already is only made durable again.
        #[cbor(n(1), decode_with = "bounded::list::<_, _, COMMIT_CHANGES_MAX>")]
        adds: Vec<Addition>,
        /// Indices of the entries that become holes, in this order.
        #[cbor(n(2), decode_with = "bounded::list::<_, _, COMMIT_CHANGES_MAX>")]
        removes: Vec<u64>,
    },
    /// Send this chunk. Answered with [`Response::Chunk`]; travels on the chunk protocol.
    #[n(6)]
    GetChunk {
        /// Which chunk.
        #[n(0)]
        chunk: ChunkId,
        /// Under which contract it is paid for; `None` asks for it as a gift.
        #[n(1)]
        contract: Option<ContractId>,
    },
    /// Prove that you hold what the last revision says. Answered with [`Response::Proof`].
    #[n(7)]
    Audit {
        /// The challenge.
        #[n(0)]
        challenge: Challenge,
    },
    /// Draw up the next receipt and sign it. Answered with [`Response::Note`].
    #[n(8)]
    DrawReceipt {
        /// Under which contract.
        #[n(0)]
        contract: ContractId,
        /// Bytes that the owner has received since the last receipt.
        #[n(1)]
        egress_bytes: u64,
        /// Audits passed since the contract's start, as the owner counts.
        #[n(2)]
        audits_passed: u64,
        /// Audits failed since the contract's start, as the owner counts.
        #[n(3)]
        audits_failed: u64,
        /// Hash of the last audit's evidence; zeros when there is none.
        #[cbor(n(4), with = "minicbor::bytes")]
        evidence: [u8; 32],
        /// Size of the owner's ledger.
        #[n(5)]
        owner_size: u64,
        /// Root of the owner's ledger.
        #[cbor(n(6), with = "minicbor::bytes")]
        owner_root: [u8; 32],
    },
    /// Keep the countersigned receipt. Answered with [`Response::Done`].
    #[n(9)]
    SettleReceipt {
        /// The receipt note with both signatures.
        #[cbor(n(0), with = "bounded::note")]
        note: Vec<u8>,
    },
    /// Name an owner's contracts, for one who has only the recovery phrase. Answered with
    /// [`Response::Contracts`].
    #[n(10)]
    ListContracts {
        /// The owner.
        #[n(0)]
        owner: PartyId,
        /// The owner's signature over
        /// [`list_contracts_message`](super::list_contracts_message).
        #[cbor(n(1), with = "minicbor::bytes")]
        signature: [u8; 64],
    },
    /// Tell the owner's node that chunks have rotted here, so that it makes them again. Answered
    /// with [`Response::Done`].
    #[n(11)]
    Damaged {
        /// The contract that holds them.
        #[n(0)]
        contract: ContractId,
        /// The chunks, at least one.
        #[cbor(n(1), decode_with = "bounded::list::<_, _, DAMAGED_MAX>")]
        chunks: Vec<ChunkId>,
    },
    /// Cosign the head of my ledger, which continues the one of `old` entries that you saw. Answered
    /// with [`Response::Cosigned`].
    #[n(12)]
    Cosign {
        /// The checkpoint, signed by the ledger's own key.
        #[cbor(n(0), with = "bounded::note")]
        checkpoint: Vec<u8>,
        /// Entries of the head that the answering node saw last, as far as the asking one knows.
        #[n(1)]
        old: u64,
        /// The consistency proof from there.
        #[cbor(n(2), with = "super::hashes")]
        proof: Vec<[u8; 32]>,
    },
    /// Prove that your ledger's head of `new` entries continues that of `old` entries. Answered with
    /// [`Response::Consistency`].
    #[n(13)]
    Consistency {
        /// Entries of the older head, at least 1.
        #[n(0)]
        old: u64,
        /// Entries of the newer head.
        #[n(1)]
        new: u64,
    },
    /// Add your signature to a payment that you made, or to a trust line that you were given. Answered
    /// with [`Response::Note`].
    #[n(14)]
    Countersign {
        /// The note, signed by the payee, or by the guarantor.
        #[cbor(n(0), with = "bounded::note")]
        note: Vec<u8>,
    },
    /// Learn what an audit of your disk found. Answered with [`Response::Done`].
    #[n(15)]
    AuditResult {
        /// The intent note, signed by the owner before the nonce was revealed.
        #[cbor(n(0), with = "bounded::note")]
        intent: Vec<u8>,
        /// The record note, signed by the owner.
        #[cbor(n(1), with = "bounded::note")]
        record: Vec<u8>,
    },
    /// Say what a contract would cost this owner. Answered with [`Response::Quote`].
    #[n(16)]
    Quote {
        /// The owner.
        #[n(0)]
        owner: PartyId,
        /// Bytes that the contract would cover.
        #[n(1)]
        bytes: u64,
        /// Its term, seconds.
        #[n(2)]
        seconds: u64,
    },
    /// Show one leaf of each of these chunks. Answered with [`Response::Probed`].
    #[n(17)]
    Probe {
        /// The asker's random number, from which [`probed_leaf`](crate::probe::probed_leaf) draws.
        #[cbor(n(0), with = "minicbor::bytes")]
        nonce: [u8; 32],
        /// The chunks, at least one.
        #[cbor(n(1), decode_with = "bounded::list::<_, _, PROBE_CHUNKS_MAX>")]
        chunks: Vec<ChunkId>,
    },
}

/// One chunk that a commit adds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct Addition {
    /// The chunk.
    #[n(0)]
    pub chunk: ChunkId,
    /// Its length, 1 to [`CHUNK_LEN_MAX`](crate::tree::CHUNK_LEN_MAX) bytes.
    #[n(1)]
    pub len: u32,
}

/// Answered by a node: what the request names as its answer, or [`Response::Refused`].
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(context_bound = "bounded::Source")]
pub enum Response {
    /// The answering node's record.
    #[n(0)]
    Record {
        /// An encoded [`NodeRecord`](crate::record::NodeRecord), not yet verified.
        #[cbor(n(0), with = "bounded::record")]
        record: Vec<u8>,
    },
    /// A note with the answering node's signature.
    #[n(1)]
    Note {
        /// The note, not yet parsed.
        #[cbor(n(0), with = "bounded::note")]
        note: Vec<u8>,
    },
    /// The last notes of a contract.
    #[n(2)]
    ContractState {
        /// The contract note.
        #[cbor(n(0), with = "bounded::note")]
        contract: Vec<u8>,
        /// The last revision note; empty before the first.
        #[cbor(n(1), with = "bounded::note")]
        revision: Vec<u8>,
        /// The last receipt note with both signatures; empty before the first.
        #[cbor(n(2), with = "bounded::note")]
        receipt: Vec<u8>,
    },
    /// Entries of an inventory.
    #[n(3)]
    InventoryPage {
        /// From the index that was asked for on; empty when there are none.
        #[cbor(n(0), decode_with = "bounded::list::<_, _, INVENTORY_PAGE_MAX>")]
        entries: Vec<InventoryEntry>,
    },
    /// It is done.
    #[n(4)]
    Done,
    /// A chunk.
    #[n(5)]
    Chunk {
        /// 1 to [`CHUNK_LEN_MAX`](crate::tree::CHUNK_LEN_MAX) bytes, not yet checked against the id.
        #[cbor(n(0), with = "bounded::chunk")]
        bytes: Bytes,
    },
    /// The answer to a challenge.
    #[n(6)]
    Proof {
        /// The proof, not yet verified.
        #[n(0)]
        proof: Proof,
    },
    /// Contracts of an owner with the answering node's party.
    #[n(7)]
    Contracts {
        /// Their ids.
        #[cbor(n(0), decode_with = "bounded::list::<_, _, CONTRACTS_MAX>")]
        contracts: Vec<ContractId>,
    },
    /// It was not done.
    #[n(8)]
    Refused {
        /// Why, for programs.
        #[n(0)]
        reason: Refusal,
        /// Why, for people: at most [`MESSAGE_LEN_MAX`](super::MESSAGE_LEN_MAX) bytes without
        /// control characters.
        #[n(1)]
        message: String,
    },
    /// A cosignature, or from where the proof has to begin.
    #[n(9)]
    Cosigned {
        /// Entries of the head of that ledger that the answering node has seen.
        #[n(0)]
        size: u64,
        /// The checkpoint with the cosignature; empty when the proof began elsewhere.
        #[cbor(n(1), with = "bounded::note")]
        checkpoint: Vec<u8>,
    },
    /// A proof that one head continues another.
    #[n(10)]
    Consistency {
        /// Its hashes.
        #[cbor(n(0), with = "super::hashes")]
        proof: Vec<[u8; 32]>,
    },
    /// What a contract costs.
    #[n(11)]
    Quote {
        /// The least that the provider takes.
        #[n(0)]
        prices: Prices,
        /// Until when it takes it, Unix seconds by its clock.
        #[n(1)]
        valid_until: u64,
    },
    /// What is shown of the chunks that were probed.
    #[n(12)]
    Probed {
        /// One for each chunk, in the order in which they were asked for, not yet verified; `None` for
        /// one that the answering node does not hold intact.
        #[cbor(n(0), decode_with = "bounded::list::<_, _, PROBE_CHUNKS_MAX>")]
        shown: Vec<Option<ProbedLeaf>>,
    },
}
