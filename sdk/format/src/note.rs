//! C2SP signed notes (<https://c2sp.org/signed-note>; spec/notes.md): text that a person can read,
//! with signature lines that Go's `sumdb/note` can verify.
//!
//! Invariant: a [`SignedNote`] has exactly one byte form, which parses to it, and its signature
//! lines are ordered, so that both parties of a contract hold the same bytes. Not here: what the
//! text says ([`crate::statement`]). The crate `signed_note` is not used because it brings
//! ed25519-dalek 2 beside the 3 that everything else here uses.

use data_encoding::{BASE64, HEXLOWER};
use sha2::{Digest, Sha256};

use crate::ids::PartyId;
use crate::keys::{self, PartyKey};

/// Largest note, bytes, signatures included. The largest statement with both signatures has 1.4
/// kB; the rest is for texts and signers of later versions.
pub const NOTE_LEN_MAX: usize = 16 * 1024;
/// Most signatures of one note: two parties, and witnesses of later versions.
pub const NOTE_SIGNATURES_MAX: usize = 16;
/// Signature type Ed25519, in key ids and verifier keys.
const ED25519: u8 = 0x01;
/// Signature type of a timestamped Ed25519 cosignature (C2SP tlog-cosignature).
const COSIGNATURE: u8 = 0x04;
const NAME_PREFIX: &str = "commonhold/party/";
/// An em dash and a space begin every signature line.
const SIGNATURE_PREFIX: &str = "\u{2014} ";
/// Bytes of a party's signature line, for the capacity of buffers.
const LINE_LEN: usize = 180;

const TOO_LONG: NoteError = NoteError("it has more than 16,384 bytes");
const TOO_MANY: NoteError = NoteError("it has more than 16 signatures");
const BAD_NAME: NoteError = NoteError("a key name is empty, or has a plus or a space");
const CONTROL: NoteError = NoteError("it has a control character other than newline");
const SHORT_SIGNATURE: NoteError = NoteError("a signature is too short");

/// One signature line. It may be of any signer and any kind of signature; only
/// [`SignedNote::is_signed_by`] says whether one is valid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoteSignature {
    /// The key's name; a party's is [`party_name`].
    pub name: String,
    /// First 4 bytes of SHA-256(name ‖ 0x0A ‖ 0x01 ‖ public key), big-endian, for Ed25519.
    pub key_id: u32,
    /// The signature, at least 1 byte; 64 for Ed25519.
    pub signature: Vec<u8>,
}

/// A text that ends with a newline, and at least one signature line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedNote {
    text: String,
    signatures: Vec<NoteSignature>,
}

/// Why bytes are not a note.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a signed note: {0}")]
pub struct NoteError(pub &'static str);

/// The key name of a party: `commonhold/party/` and its public key in lower-case hexadecimal.
pub fn party_name(party: &PartyId) -> String {
    format!("{NAME_PREFIX}{party}")
}

/// The verifier key as Go's `sumdb/note` takes it: the name, the key id in hexadecimal and
/// base64(0x01 ‖ public key), joined by plus signs.
pub fn verifier_key(party: &PartyId) -> String {
    named_verifier_key(&party_name(party), party)
}

/// As [`verifier_key`], for a key that signs under another name: a ledger's origin.
pub fn named_verifier_key(name: &str, party: &PartyId) -> String {
    let id = key_id(name, ED25519, party);
    let mut key = vec![ED25519];
    key.extend_from_slice(party.as_bytes());
    format!("{name}+{}+{}", HEXLOWER.encode(&id.to_be_bytes()), BASE64.encode(&key))
}

impl SignedNote {
    /// Signs `text`, which must end with a newline.
    ///
    /// # Errors
    /// [`NoteError`] when the note would be too long, or the text has a control character other
    /// than newline or does not end with a newline.
    pub fn sign(text: String, key: &PartyKey) -> Result<Self, NoteError> {
        Self::sign_as(text, &party_name(&key.id()), key)
    }

    /// Signs `text` under another key name than the party's: the origin of a ledger, for its heads.
    ///
    /// # Errors
    /// As [`SignedNote::sign`], or a name that cannot be one.
    pub fn sign_as(text: String, name: &str, key: &PartyKey) -> Result<Self, NoteError> {
        if !is_key_name(name) {
            return Err(BAD_NAME);
        }
        if text.len() > NOTE_LEN_MAX {
            return Err(TOO_LONG);
        }
        if has_control_characters(&text) {
            return Err(CONTROL);
        }
        if !text.ends_with('\n') {
            return Err(NoteError("its text does not end with a newline"));
        }
        let mut note = Self { text, signatures: Vec::new() };
        let signature = key.sign(note.text.as_bytes()).to_vec();
        let line =
            NoteSignature { key_id: key_id(name, ED25519, &key.id()), name: name.to_owned(), signature };
        if note.add(line) { Ok(note) } else { Err(TOO_LONG) }
    }

    /// Adds this party's signature, or replaces every line under its name.
    ///
    /// Answers whether the note has the signature now: one that has no room for it, because
    /// others have filled it with signature lines or a long text, stays as it is.
    pub fn countersign(&mut self, key: &PartyKey) -> bool {
        let party = key.id();
        let name = party_name(&party);
        let signature = key.sign(self.text.as_bytes()).to_vec();
        self.add(NoteSignature { key_id: key_id(&name, ED25519, &party), name, signature })
    }

    /// Adds this party's cosignature of a checkpoint at `time` (Unix seconds): it says that the head
    /// continues every head of that log that the party saw. Replaces every line under its name.
    ///
    /// Answers whether the note has it now, as [`SignedNote::countersign`] does.
    pub fn cosign(&mut self, key: &PartyKey, time: u64) -> bool {
        let party = key.id();
        let name = party_name(&party);
        let mut signature = time.to_be_bytes().to_vec();
        signature.extend_from_slice(&key.sign(cosigned(time, &self.text).as_bytes()));
        self.add(NoteSignature { key_id: key_id(&name, COSIGNATURE, &party), name, signature })
    }

    /// When this party cosigned the text as a checkpoint, Unix seconds; `None` when it did not. Strict
    /// like [`SignedNote::is_signed_by`].
    pub fn cosigned_by(&self, party: &PartyId) -> Option<u64> {
        Some(self.cosignature(party)?.1)
    }

    /// The line with which this party cosigned the text as a checkpoint, and when, Unix seconds; `None`
    /// when there is no valid one.
    pub fn cosignature(&self, party: &PartyId) -> Option<(&NoteSignature, u64)> {
        let name = party_name(party);
        let id = key_id(&name, COSIGNATURE, party);
        let lines = self.signatures.iter().filter(|line| (&line.name, line.key_id) == (&name, id));
        lines.into_iter().find_map(|line| {
            let (time, signature) = line.signature.split_first_chunk::<8>()?;
            let time = u64::from_be_bytes(*time);
            let signature = <&[u8; 64]>::try_from(signature).ok()?;
            let valid = time <= i64::MAX as u64
                && keys::verify(party.as_bytes(), cosigned(time, &self.text).as_bytes(), signature);
            valid.then_some((line, time))
        })
    }

    /// Takes over the signature lines of `other` for the same text that `wanted` says yes to; answers
    /// whether anything changed. Lines that find no room are left out.
    pub fn merge(&mut self, other: &Self, mut wanted: impl FnMut(&NoteSignature) -> bool) -> bool {
        let mut changed = false;
        if other.text != self.text {
            return false;
        }
        for line in &other.signatures {
            if wanted(line) && !self.signatures.contains(line) {
                changed |= self.add(line.clone());
            }
        }
        changed
    }

    /// Adds a line, or replaces every line under its name; answers whether it found room.
    fn add(&mut self, line: NoteSignature) -> bool {
        let others = self.signatures.iter().filter(|other| other.name != line.name);
        let mut signatures: Vec<NoteSignature> = others.cloned().collect();
        signatures.push(line);
        signatures.sort_by(|a, b| order(a).cmp(&order(b)));
        let text = std::mem::take(&mut self.text);
        let signed = Self { text, signatures };
        let fits = signed.signatures.len() <= NOTE_SIGNATURES_MAX && signed.to_bytes().len() <= NOTE_LEN_MAX;
        if fits {
            *self = signed;
        } else {
            self.text = signed.text;
        }
        fits
    }

    /// Parses the one byte form of a note. Whether its signatures are valid is not looked at.
    ///
    /// # Errors
    /// [`NoteError`] says what is not as it must be (spec/notes.md, "Duties of a parser").
    pub fn parse(bytes: &[u8]) -> Result<Self, NoteError> {
        if bytes.len() > NOTE_LEN_MAX {
            return Err(TOO_LONG);
        }
        let all = std::str::from_utf8(bytes).map_err(|_| NoteError("it is not UTF-8"))?;
        if has_control_characters(all) {
            return Err(CONTROL);
        }
        // The signatures stand after the last empty line; the text may have empty lines itself.
        let end = all.rfind("\n\n").ok_or(NoteError("it has no empty line before its signatures"))? + 1;
        let (text, lines) = (&all[..end], &all[end + 1..]);
        let lines =
            lines.strip_suffix('\n').ok_or(NoteError("it does not end with a signature and a newline"))?;
        let mut signatures: Vec<NoteSignature> = Vec::new();
        for line in lines.split('\n') {
            if signatures.len() == NOTE_SIGNATURES_MAX {
                return Err(TOO_MANY);
            }
            let signature = parse_signature(line)?;
            if signatures.last().is_some_and(|last| order(last) >= order(&signature)) {
                return Err(NoteError("its signatures are out of order or one is there twice"));
            }
            signatures.push(signature);
        }
        Ok(Self { text: text.to_owned(), signatures })
    }

    /// The one byte form of the note: what is sent, logged and compared.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = String::with_capacity(self.text.len() + 1 + LINE_LEN * self.signatures.len());
        out.push_str(&self.text);
        out.push('\n');
        for line in &self.signatures {
            let mut blob = line.key_id.to_be_bytes().to_vec();
            blob.extend_from_slice(&line.signature);
            out.push_str(SIGNATURE_PREFIX);
            out.push_str(&line.name);
            out.push(' ');
            out.push_str(&BASE64.encode(&blob));
            out.push('\n');
        }
        out.into_bytes()
    }

    /// The signed text; ends with a newline.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The signature lines, ordered by name and then key id.
    pub fn signatures(&self) -> &[NoteSignature] {
        &self.signatures
    }

    /// Has this party signed the text? Strict Ed25519 verification ([`keys::verify`]); costs
    /// about 40 µs when there is a line of that party, nothing otherwise.
    pub fn is_signed_by(&self, party: &PartyId) -> bool {
        self.is_signed_as(&party_name(party), party)
    }

    /// As [`is_signed_by`](Self::is_signed_by), for a signature under another key name.
    pub fn is_signed_as(&self, name: &str, party: &PartyId) -> bool {
        let id = key_id(name, ED25519, party);
        self.signatures.iter().any(|line| {
            let signature = <&[u8; 64]>::try_from(line.signature.as_slice());
            (line.name.as_str(), line.key_id) == (name, id)
                && signature.is_ok_and(|it| keys::verify(party.as_bytes(), self.text.as_bytes(), it))
        })
    }

    /// SHA-256 of the text. Two notes that say the same have the same, whoever signed them.
    pub fn text_hash(&self) -> [u8; 32] {
        Sha256::digest(self.text.as_bytes()).into()
    }
}

/// One party's key, ready to verify many signature lines: what [`SignedNote::is_signed_by`] works out
/// anew each time (the key's id, its point) is worked out once. Its verdicts are the same.
#[derive(Debug, Clone)]
pub struct PartyVerifier {
    party: PartyId,
    key_id: u32,
    key: Option<keys::Verifier>,
}

impl PartyVerifier {
    /// For the party whose key name this is; `None` when it is nobody's.
    pub fn named(name: &str) -> Option<Self> {
        let party = party_of(name)?;
        Some(Self {
            party,
            key_id: key_id(name, ED25519, &party),
            key: keys::Verifier::new(party.as_bytes()),
        })
    }

    /// Whose key it is.
    pub fn party(&self) -> PartyId {
        self.party
    }

    /// Whether `line`, which stands under this party's name in `note`, is a valid signature of its text.
    /// `None` when it claims to be something else than a signature with this key, which everybody has to
    /// ignore.
    pub fn judge(&self, note: &SignedNote, line: &NoteSignature) -> Option<bool> {
        if line.key_id != self.key_id {
            return None;
        }
        let signature = <&[u8; 64]>::try_from(line.signature.as_slice());
        let key = self.key.as_ref();
        Some(signature.is_ok_and(|it| key.is_some_and(|key| key.verify(note.text.as_bytes(), it))))
    }
}

/// What a cosignature signs.
fn cosigned(time: u64, text: &str) -> String {
    format!("cosignature/v1\ntime {time}\n{text}")
}

/// The party whose name this is: the inverse of [`party_name`].
pub fn party_of(name: &str) -> Option<PartyId> {
    name.strip_prefix(NAME_PREFIX)?.parse().ok()
}

fn is_key_name(name: &str) -> bool {
    !name.is_empty() && !name.contains('+') && !name.contains(char::is_whitespace)
}

fn key_id(name: &str, kind: u8, party: &PartyId) -> u32 {
    let hash = Sha256::new().chain_update(name).chain_update([b'\n', kind]).chain_update(party.as_bytes());
    let digest = hash.finalize();
    u32::from_be_bytes([digest[0], digest[1], digest[2], digest[3]])
}

fn order(line: &NoteSignature) -> (&str, u32) {
    (&line.name, line.key_id)
}

fn has_control_characters(text: &str) -> bool {
    text.bytes().any(|byte| byte.is_ascii_control() && byte != b'\n')
}

fn parse_signature(line: &str) -> Result<NoteSignature, NoteError> {
    let line = line.strip_prefix(SIGNATURE_PREFIX);
    let line = line.ok_or(NoteError("a signature line does not begin with a dash and a space"))?;
    let (name, blob) = line.split_once(' ').ok_or(NoteError("a signature line has a name only"))?;
    if !is_key_name(name) {
        return Err(BAD_NAME);
    }
    let blob =
        BASE64.decode(blob.as_bytes()).map_err(|_| NoteError("a signature is not canonical base64"))?;
    let (id, signature) = blob.split_first_chunk::<4>().ok_or(SHORT_SIGNATURE)?;
    if signature.is_empty() {
        return Err(SHORT_SIGNATURE);
    }
    Ok(NoteSignature {
        name: name.to_owned(),
        key_id: u32::from_be_bytes(*id),
        signature: signature.to_vec(),
    })
}
