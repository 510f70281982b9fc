//! Keys: one root secret behind the 24-word phrase, one device secret per data directory
//! (spec/keys.md).
//!
//! Invariant: each key has one purpose, because each comes from its own HKDF label. Secrets are
//! zeroized when dropped and never appear in `Debug`. What it is not: a source of randomness or a
//! key file; secrets come in as arguments and are kept by the caller.

use std::fmt;

use bip39::{Language, Mnemonic};
use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use hkdf::Hkdf;
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::ids::{NodeId, PartyId};

const PARTY_KEY: &str = "commonhold/v1/party-key";
const DRIVE_SIGNING: &str = "commonhold/v1/drive-signing";
const DRIVE_SEALING: &str = "commonhold/v1/drive-sealing";
const PEER_KEY: &str = "commonhold/v1/peer-key";
pub(crate) const CONTENT_KEY: &str = "commonhold/v1/content-key";
pub(crate) const KEY_COMMITMENT: &str = "commonhold/v1/key-commitment";
pub(crate) const HEAD_KEY: &str = "commonhold/v1/head-key";
pub(crate) const LINK_SIGNING: &str = "commonhold/v1/link-signing";
pub(crate) const LINK_SECRET: &str = "commonhold/v1/link-secret";
pub(crate) const LINK_DROP: &str = "commonhold/v1/link-drop";
pub(crate) const LINK_RECORD: &str = "commonhold/v1/link-record";
pub(crate) const DROP_HEAD: &str = "commonhold/v1/drop-head";
pub(crate) const DROP_FILE: &str = "commonhold/v1/drop-file";

/// Every HKDF label in use, and all that may be: a key for a new purpose gets a label of its own
/// here. No two are equal and none is the beginning of another.
pub const LABELS: &[&str] = &[
    PARTY_KEY,
    DRIVE_SIGNING,
    DRIVE_SEALING,
    PEER_KEY,
    CONTENT_KEY,
    KEY_COMMITMENT,
    HEAD_KEY,
    LINK_SIGNING,
    LINK_SECRET,
    LINK_DROP,
    LINK_RECORD,
    DROP_HEAD,
    DROP_FILE,
];

/// Words of a recovery phrase.
const PHRASE_WORDS: usize = 24;

/// 32 bytes of HKDF-SHA-256 (RFC 5869): extract with `salt` from `secret`, expand with `label`.
///
/// An empty salt means the same as 32 zero bytes.
pub(crate) fn derive(secret: &[u8], salt: &[u8], label: &str) -> Zeroizing<[u8; 32]> {
    let mut out = Zeroizing::new([0; 32]);
    Hkdf::<Sha256>::new(Some(salt), secret)
        .expand(label.as_bytes(), &mut *out)
        .expect("32 bytes are within what HKDF can give");
    out
}

/// The 32 bytes behind the recovery phrase (spec/keys.md, section 1). Whoever has them is the
/// owner: signs in their name, and reads and replaces their drive.
///
/// Zeroized when dropped, hidden from `Debug`, and not `Clone`.
pub struct RootSecret(Zeroizing<[u8; 32]>);

impl fmt::Debug for RootSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RootSecret(..)")
    }
}

/// Why a phrase is refused. Tells where the mistake is and never holds a word, so that it may be
/// shown and logged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PhraseError {
    /// Not 24 words, but this many.
    #[error("the phrase has {0} words; it must have 24: write all of them, divided by spaces")]
    Count(usize),
    /// The first word that the list does not have, counted from 1.
    #[error("word {0} of the phrase is not in the BIP-39 English list: check its spelling")]
    Word(usize),
    /// All words are in the list, but the checksum in the last one is wrong. One phrase in 256
    /// with a mistake passes this check.
    #[error("the 24 words do not fit together: one is wrong or two are swapped; compare them with your copy")]
    Checksum,
}

impl RootSecret {
    /// From 32 fresh random bytes, or from the key file. Every value is a valid secret.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// The bytes, for the key file.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// From 24 words of the BIP-39 English list, divided by white space of any kind and amount.
    /// Capital letters from A to Z count as small ones; words are not completed or corrected.
    ///
    /// # Errors
    /// [`PhraseError`]: the number of words is checked first, then each word, then the checksum.
    pub fn from_phrase(phrase: &str) -> Result<Self, PhraseError> {
        // Not `to_lowercase`: it may grow its buffer and leave the phrase in freed memory, and
        // would take letters like the Kelvin sign for a k.
        let phrase = Zeroizing::new(phrase.to_ascii_lowercase());
        let count = phrase.split_whitespace().count();
        if count != PHRASE_WORDS {
            return Err(PhraseError::Count(count));
        }
        let mut canonical = Zeroizing::new(String::with_capacity(phrase.len()));
        for (index, word) in phrase.split_whitespace().enumerate() {
            if Language::English.find_word(word).is_none() {
                return Err(PhraseError::Word(index + 1));
            }
            if index > 0 {
                canonical.push(' ');
            }
            canonical.push_str(word);
        }
        let mnemonic = Mnemonic::parse_in_normalized(Language::English, &canonical)
            .map_err(|_| PhraseError::Checksum)?;
        let (entropy, len) = mnemonic.to_entropy_array();
        let entropy = Zeroizing::new(entropy);
        let mut bytes = Zeroizing::new([0; 32]);
        if len != bytes.len() {
            return Err(PhraseError::Count(count));
        }
        bytes.copy_from_slice(&entropy[..len]);
        Ok(Self(bytes))
    }

    /// The 24 English words in lower case, with one space between them. Their entropy in the
    /// sense of BIP-39 is the secret itself; BIP-39's passphrase and its seed are not used.
    pub fn phrase(&self) -> Zeroizing<String> {
        let mnemonic = Mnemonic::from_entropy_in(Language::English, &*self.0)
            .expect("32 bytes are an entropy that BIP-39 knows");
        let mut phrase = Zeroizing::new(String::with_capacity(9 * PHRASE_WORDS));
        for (index, word) in mnemonic.words().enumerate() {
            if index > 0 {
                phrase.push(' ');
            }
            phrase.push_str(word);
        }
        phrase
    }

    /// The key that signs notes, as owner and as operator.
    pub fn party_key(&self) -> PartyKey {
        PartyKey::from_seed(&derive(&*self.0, &[], PARTY_KEY))
    }

    /// The two keys of the drive's heads: one signs, one seals. A root secret has one drive.
    pub fn drive_keys(&self) -> DriveKeys {
        DriveKeys {
            signing: SigningKey::from_bytes(&derive(&*self.0, &[], DRIVE_SIGNING)),
            sealing: derive(&*self.0, &[], DRIVE_SEALING),
        }
    }
}

/// Signs notes; its public half is a [`PartyId`]. Zeroized when dropped; `Debug` shows the public
/// half alone.
#[derive(Clone)]
pub struct PartyKey(pub(crate) SigningKey);

impl fmt::Debug for PartyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PartyKey({})", self.id())
    }
}

impl PartyKey {
    /// From an Ed25519 seed (the private key of RFC 8032).
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(SigningKey::from_bytes(seed))
    }

    /// The public half: by what others know the party.
    pub fn id(&self) -> PartyId {
        PartyId(self.0.verifying_key().to_bytes())
    }

    /// An Ed25519 signature (RFC 8032, deterministic).
    ///
    /// The message must begin with a text that says what it is, so that a signature of one kind of
    /// message never passes for one of another kind.
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.0.sign(message).to_bytes()
    }
}

/// Signs and seals a drive's heads (spec/drive.md). Whoever has both can read and replace the
/// drive, but not sign notes. Zeroized when dropped; `Debug` shows the public half alone.
pub struct DriveKeys {
    pub(crate) signing: SigningKey,
    pub(crate) sealing: Zeroizing<[u8; 32]>,
}

impl fmt::Debug for DriveKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DriveKeys({})", self.drive())
    }
}

impl DriveKeys {
    /// The drive's public key: its heads are found and verified by it. It is another key than the
    /// party's, and neither can be computed from the other.
    pub fn drive(&self) -> PartyId {
        PartyId(self.signing.verifying_key().to_bytes())
    }
}

/// 32 random bytes of one data directory: who it is in the network. Not part of the recovery
/// phrase, so that one owner's devices are different nodes and a lost device says nothing about
/// the root secret. Zeroized when dropped, hidden from `Debug`.
pub struct DeviceSecret(Zeroizing<[u8; 32]>);

impl fmt::Debug for DeviceSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DeviceSecret(..)")
    }
}

impl DeviceSecret {
    /// From 32 fresh random bytes, or from the key file.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// The bytes, for the key file.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The Ed25519 seed of the peer key, as libp2p takes it. Derived, so that the device secret
    /// can have other purposes later.
    pub fn peer_seed(&self) -> Zeroizing<[u8; 32]> {
        derive(&*self.0, &[], PEER_KEY)
    }

    fn peer_key(&self) -> SigningKey {
        SigningKey::from_bytes(&self.peer_seed())
    }

    /// The peer key's public half: the address of the node.
    pub fn node(&self) -> NodeId {
        NodeId(self.peer_key().verifying_key().to_bytes())
    }

    /// An Ed25519 signature with the peer key, for node records (spec/records.md). What was said
    /// of [`PartyKey::sign`] holds here.
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.peer_key().sign(message).to_bytes()
    }
}

/// Verifies an Ed25519 signature strictly; about 40 µs.
///
/// `false` also for public bytes that are no point, for keys and commitments (R) of small order,
/// and for an S that is not below the group order. So nobody can turn one valid signature into
/// another, or make a key under which a signature fits several messages (spec/keys.md, section 4).
pub fn verify(public: &[u8; 32], message: &[u8], signature: &[u8; 64]) -> bool {
    Verifier::new(public).is_some_and(|key| key.verify(message, signature))
}

/// A public key whose point was worked out already, for whoever verifies many signatures of one signer.
#[derive(Debug, Clone)]
pub struct Verifier(VerifyingKey);

impl Verifier {
    /// `None` for bytes that are no point; no signature is valid under them.
    pub fn new(public: &[u8; 32]) -> Option<Self> {
        VerifyingKey::from_bytes(public).ok().map(Self)
    }

    /// The same verdict as [`verify`], for about a tenth less.
    pub fn verify(&self, message: &[u8], signature: &[u8; 64]) -> bool {
        self.0.verify_strict(message, &Signature::from_bytes(signature)).is_ok()
    }
}
