//! Audits checked again by somebody who was not there (spec/audit.md, "Bundles").
//!
//! Invariant: [`AuditBundle::verify`] needs nothing but the bundle and the two parties' keys; which
//! leaves had to be shown follows from notes that were signed before the nonce was revealed. Not
//! here: where bundles are kept, and whether an audit without an answer really had none.

use minicbor::{Decoder, Encoder};

use crate::audit::{Challenge, Proof, ProofError, ProofReport, nonce_commitment, verify_proof};
use crate::ids::PartyId;
use crate::note::{NOTE_LEN_MAX, SignedNote};
use crate::statement::{AuditIntent, AuditOutcome, AuditRecord, Contract, Revision, Statement};
use crate::tree::Hash;
use crate::wire::canonical;

/// Largest evidence, bytes: challenge and proof, with the longest paths.
pub const EVIDENCE_LEN_MAX: usize = 512 * 1024;
/// Largest bundle, bytes.
pub const BUNDLE_LEN_MAX: usize = EVIDENCE_LEN_MAX + 5 * NOTE_LEN_MAX;
const MAGIC: &str = "commonhold/audit-bundle/v1";

/// Challenge and proof, as [`Proof::bundle`] encodes them; strict.
///
/// # Errors
/// [`BundleError`] for anything that is not exactly that.
pub fn decode_evidence(bytes: &[u8]) -> Result<(Challenge, Proof), BundleError> {
    if bytes.len() > EVIDENCE_LEN_MAX {
        return Err(BundleError("the evidence is too long".to_owned()));
    }
    let evidence: (Challenge, Proof) =
        minicbor::decode(bytes).map_err(|error| BundleError(format!("evidence: {error}")))?;
    if !canonical::is_encoding_of(bytes, &evidence) {
        return Err(BundleError("the evidence is not in its one encoding".to_owned()));
    }
    Ok(evidence)
}

/// Why bytes are not a bundle.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not an audit bundle: {0}")]
pub struct BundleError(pub String);

/// Everything that a third party needs to check one audit again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditBundle {
    /// The contract, signed by both.
    pub contract: SignedNote,
    /// The revision that was challenged, signed by both.
    pub revision: SignedNote,
    /// The challenger's commitment, signed before the nonce was revealed.
    pub intent: SignedNote,
    /// What the challenger says it found.
    pub record: SignedNote,
    /// Challenge and proof ([`Proof::bundle`]); empty when there was no answer.
    pub evidence: Vec<u8>,
}

/// What a check of an audit found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Findings {
    /// The agreement.
    pub contract: Contract,
    /// What the challenger says.
    pub record: AuditRecord,
    /// The challenge and what was answered, with what it shows; `None` when the audit had no answer,
    /// which nobody can check.
    pub answer: Option<Answer>,
}

/// A proof that was checked again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The challenge.
    pub challenge: Challenge,
    /// The proof.
    pub proof: Proof,
    /// What it shows, or why it is refused as a whole.
    pub shown: Result<ProofReport, ProofError>,
}

/// What does not hold in an audit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AuditFault {
    /// A note is not what its place asks for.
    #[error("the {0} note is not a {0}")]
    Kind(&'static str),
    /// A signature is missing or wrong.
    #[error("the {note} is not signed by the {party}")]
    Signature {
        /// Which note.
        note: &'static str,
        /// Whose signature it lacks.
        party: &'static str,
    },
    /// The contract is between others.
    #[error("the contract is not between these two parties")]
    Parties,
    /// The notes are not about one audit of one contract.
    #[error("the {0} is about another contract, revision or audit")]
    Apart(&'static str),
    /// The challenge is not about the inventory that both signed.
    #[error("the challenge is not about the revision that both signed")]
    Challenge,
    /// The nonce is not the one that was committed to.
    #[error("the nonce does not fit the commitment: the challenger chose it afterwards")]
    Nonce,
    /// The evidence is missing, surplus or another.
    #[error("the evidence is not what the record cites")]
    Evidence,
    /// The record does not say what the proof shows.
    #[error("the record says {said}, and the proof shows {shown}")]
    Outcome {
        /// In the record.
        said: String,
        /// In the proof.
        shown: String,
    },
}

impl AuditBundle {
    /// The bytes of a bundle file: the CBOR array of a version text, four notes and the evidence.
    pub fn encode(&self) -> Vec<u8> {
        let mut encoder = Encoder::new(Vec::new());
        let notes = [&self.contract, &self.revision, &self.intent, &self.record];
        let write = |encoder: &mut Encoder<Vec<u8>>| {
            encoder.array(6)?.str(MAGIC)?;
            for note in notes {
                encoder.bytes(&note.to_bytes())?;
            }
            encoder.bytes(&self.evidence)?;
            Ok::<(), minicbor::encode::Error<std::convert::Infallible>>(())
        };
        write(&mut encoder).expect("writing to a Vec does not fail");
        encoder.into_writer()
    }

    /// Strict inverse of [`AuditBundle::encode`]. Signatures are not looked at.
    ///
    /// # Errors
    /// [`BundleError`] for anything that is not exactly one bundle.
    pub fn decode(bytes: &[u8]) -> Result<Self, BundleError> {
        if bytes.len() > BUNDLE_LEN_MAX {
            return Err(BundleError("it is too long".to_owned()));
        }
        let wrong = |error: minicbor::decode::Error| BundleError(error.to_string());
        let mut decoder = Decoder::new(bytes);
        if decoder.array().map_err(wrong)? != Some(6) || decoder.str().map_err(wrong)? != MAGIC {
            return Err(BundleError("it does not begin like one of this version".to_owned()));
        }
        let mut note = || {
            let bytes = decoder.bytes().map_err(wrong)?;
            SignedNote::parse(bytes).map_err(|error| BundleError(error.to_string()))
        };
        let (contract, revision, intent, record) = (note()?, note()?, note()?, note()?);
        let evidence = decoder.bytes().map_err(wrong)?.to_vec();
        let bundle = Self { contract, revision, intent, record, evidence };
        if bundle.encode() != bytes {
            return Err(BundleError("it is not in its one encoding".to_owned()));
        }
        Ok(bundle)
    }

    /// Checks everything again for the two keys that the caller trusts to be the parties'.
    ///
    /// # Errors
    /// [`AuditFault`], the first thing that does not hold. A proof that shows a loss is no fault.
    pub fn verify(&self, owner: &PartyId, provider: &PartyId) -> Result<Findings, AuditFault> {
        let Ok(Statement::Contract(contract)) = Statement::of(&self.contract) else {
            return Err(AuditFault::Kind("contract"));
        };
        let Ok(Statement::Revision(revision)) = Statement::of(&self.revision) else {
            return Err(AuditFault::Kind("revision"));
        };
        let Ok(Statement::AuditIntent(intent)) = Statement::of(&self.intent) else {
            return Err(AuditFault::Kind("intent"));
        };
        let Ok(Statement::AuditRecord(record)) = Statement::of(&self.record) else {
            return Err(AuditFault::Kind("record"));
        };
        if (&contract.owner, &contract.provider) != (owner, provider) {
            return Err(AuditFault::Parties);
        }
        let signatures = [
            (&self.contract, "contract", owner, "owner"),
            (&self.contract, "contract", provider, "provider"),
            (&self.revision, "revision", owner, "owner"),
            (&self.revision, "revision", provider, "provider"),
            (&self.intent, "intent", owner, "owner"),
            (&self.record, "record", owner, "owner"),
        ];
        for (signed, note, key, party) in signatures {
            if !signed.is_signed_by(key) {
                return Err(AuditFault::Signature { note, party });
            }
        }
        let answer = check_audit(&contract, &revision, &intent, &record, &self.evidence)?;
        Ok(Findings { contract, record, answer })
    }
}

/// Checks an audit from statements whose signatures were checked before: the commitment, what the
/// challenge is about, every leaf and path of the proof, and that the record says what they show.
///
/// # Errors
/// [`AuditFault`], the first thing that does not hold.
pub fn check_audit(
    contract: &Contract,
    revision: &Revision,
    intent: &AuditIntent,
    record: &AuditRecord,
    evidence: &[u8],
) -> Result<Option<Answer>, AuditFault> {
    let id = contract.id();
    if revision.contract != id {
        return Err(AuditFault::Apart("revision"));
    }
    if (intent.contract, intent.revision) != (id, revision.sequence) {
        return Err(AuditFault::Apart("intent"));
    }
    if (record.contract, record.revision, record.epoch) != (id, revision.sequence, intent.epoch) {
        return Err(AuditFault::Apart("record"));
    }
    if nonce_commitment(&id, record.epoch, &record.nonce) != intent.commitment {
        return Err(AuditFault::Nonce);
    }
    let answered = matches!(record.outcome, AuditOutcome::Passed | AuditOutcome::WrongBytes);
    if !answered {
        let none = evidence.is_empty() && record.evidence == Hash::default();
        return if none { Ok(None) } else { Err(AuditFault::Evidence) };
    }
    let (challenge, proof) = decode_evidence(evidence).map_err(|_| AuditFault::Evidence)?;
    if proof.evidence(&challenge) != record.evidence {
        return Err(AuditFault::Evidence);
    }
    let asked = (challenge.contract, challenge.revision, challenge.inventory_root);
    if asked != (id, revision.sequence, revision.inventory_root)
        || (challenge.entries, challenge.span) != (revision.entries, revision.span)
    {
        return Err(AuditFault::Challenge);
    }
    if (challenge.epoch, challenge.nonce) != (record.epoch, record.nonce) {
        return Err(AuditFault::Nonce);
    }
    let shown = verify_proof(&challenge, &proof);
    let (outcome, leaves, lost) = match &shown {
        Ok(report) if report.passed() => (AuditOutcome::Passed, report.leaves, 0),
        Ok(report) => (AuditOutcome::WrongBytes, report.leaves, report.lost.len()),
        Err(_) => (AuditOutcome::WrongBytes, 0, 0),
    };
    let lost = u32::try_from(lost).unwrap_or(u32::MAX);
    if (record.outcome, record.leaves, record.lost_chunks) != (outcome, leaves, lost) {
        let say =
            |outcome: AuditOutcome, leaves, lost| format!("{outcome} with {leaves} leaves and {lost} lost");
        return Err(AuditFault::Outcome {
            said: say(record.outcome, record.leaves, record.lost_chunks),
            shown: say(outcome, leaves, lost),
        });
    }
    Ok(Some(Answer { challenge, proof, shown }))
}
