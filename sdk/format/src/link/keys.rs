//! The keys of a link (spec/links.md, section 2).

use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;

use aws_lc_rs::agreement::{PrivateKey, UnparsedPublicKey, X25519, agree};
use aws_lc_rs::pbkdf2;
use data_encoding::BASE64URL_NOPAD;
use ed25519_dalek::{Signer, SigningKey};
use zeroize::Zeroizing;

use super::LinkError;
use crate::keys::{LINK_DROP, LINK_RECORD, LINK_SECRET, LINK_SIGNING, RootSecret, derive};

/// Iterations of PBKDF2 that writers use.
pub const PASSWORD_ITERATIONS: u32 = 1_000_000;
/// Fewest that readers accept: a floor under what a guess costs.
pub const PASSWORD_ITERATIONS_MIN: u32 = 600_000;
/// Most that readers accept: a bound on what opening a stranger's link costs.
pub const PASSWORD_ITERATIONS_MAX: u32 = 10_000_000;
/// Longest password, bytes of UTF-8.
pub const PASSWORD_LEN_MAX: usize = 1024;

/// A link's id: the Ed25519 public key that its records are signed with. Its text is base64url without
/// padding, as it stands in the URL.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId(pub [u8; 32]);

impl fmt::Display for LinkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&BASE64URL_NOPAD.encode(&self.0))
    }
}

impl fmt::Debug for LinkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LinkId({self})")
    }
}

impl FromStr for LinkId {
    type Err = LinkError;

    fn from_str(text: &str) -> Result<Self, LinkError> {
        let mut id = [0; 32];
        decode(text, &mut id)?;
        Ok(Self(id))
    }
}

/// 32 bytes of base64url without padding, in their one form.
fn decode(text: &str, out: &mut [u8; 32]) -> Result<(), LinkError> {
    let refused = LinkError::Url("an id and a secret have 43 letters of base64url each");
    // Told apart by the text's length before anything is decoded, for the output is fixed.
    if BASE64URL_NOPAD.decode_len(text.len()) != Ok(out.len()) {
        return Err(refused);
    }
    BASE64URL_NOPAD.decode_mut(text.as_bytes(), out).map(|_| ()).map_err(|_| refused)
}

/// A link's secret: with it, and the password if there is one, a link opens. It stands in the fragment of
/// the URL and nowhere else. Zeroized when dropped, hidden from `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct LinkSecret(pub Zeroizing<[u8; 32]>);

impl fmt::Debug for LinkSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LinkSecret(..)")
    }
}

impl LinkSecret {
    /// From its text in the URL.
    ///
    /// # Errors
    /// [`LinkError::Url`].
    pub fn from_text(text: &str) -> Result<Self, LinkError> {
        let mut secret = Zeroizing::new([0; 32]);
        decode(text, &mut secret)?;
        Ok(Self(secret))
    }

    /// The text for the URL.
    pub fn to_text(&self) -> Zeroizing<String> {
        Zeroizing::new(BASE64URL_NOPAD.encode(&*self.0))
    }

    /// The AES-256 key of one record: of the link's secret and the password's key, if there is one.
    pub(super) fn record_key(
        &self,
        link: &LinkId,
        salt: &[u8; 32],
        password: Option<&PasswordKey>,
    ) -> Zeroizing<[u8; 32]> {
        let mut secret = Zeroizing::new([0; 64]);
        secret[..32].copy_from_slice(&*self.0);
        let len = match password {
            Some(password) => {
                secret[32..].copy_from_slice(&*password.key);
                64
            }
            None => 32,
        };
        let mut bound = [0; 64];
        bound[..32].copy_from_slice(&link.0);
        bound[32..].copy_from_slice(salt);
        derive(&secret[..len], &bound, LINK_RECORD)
    }
}

/// A password made into a key, with what is needed to make it again. An owner may keep it so that a record
/// can be written anew without the password. Zeroized when dropped; `Debug` shows neither key nor salt.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordKey {
    iterations: u32,
    salt: [u8; 16],
    key: Zeroizing<[u8; 32]>,
}

impl fmt::Debug for PasswordKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PasswordKey({} iterations)", self.iterations)
    }
}

impl PasswordKey {
    /// PBKDF2-HMAC-SHA-256. It takes long by design: some 0.1 µs for each iteration.
    ///
    /// `salt` must be 16 fresh random bytes for a new password; `iterations` is [`PASSWORD_ITERATIONS`] for
    /// writers, and for readers what the record says.
    ///
    /// # Errors
    /// [`LinkError::Password`] when the password or the iterations are out of bounds.
    pub fn derive(password: &str, salt: [u8; 16], iterations: u32) -> Result<Self, LinkError> {
        if !(1..=PASSWORD_LEN_MAX).contains(&password.len()) {
            return Err(LinkError::Password);
        }
        let mut derived = Self::from_parts(iterations, salt, Zeroizing::new([0; 32]))?;
        let rounds = NonZeroU32::new(iterations).ok_or(LinkError::Password)?;
        pbkdf2::derive(
            pbkdf2::PBKDF2_HMAC_SHA256,
            rounds,
            &salt,
            password.as_bytes(),
            derived.key.as_mut_slice(),
        );
        Ok(derived)
    }

    /// One that was kept.
    ///
    /// # Errors
    /// [`LinkError::Password`] when the iterations are out of bounds.
    pub fn from_parts(iterations: u32, salt: [u8; 16], key: Zeroizing<[u8; 32]>) -> Result<Self, LinkError> {
        if !iterations_allowed(iterations) {
            return Err(LinkError::Password);
        }
        Ok(Self { iterations, salt, key })
    }

    /// Iterations that it was made with.
    pub fn iterations(&self) -> u32 {
        self.iterations
    }

    /// The salt that it was made with.
    pub fn salt(&self) -> &[u8; 16] {
        &self.salt
    }

    /// The key itself, for whoever keeps it.
    pub fn key(&self) -> &[u8; 32] {
        &self.key
    }
}

pub(super) fn iterations_allowed(iterations: u32) -> bool {
    (PASSWORD_ITERATIONS_MIN..=PASSWORD_ITERATIONS_MAX).contains(&iterations)
}

/// The private key of a drop box, X25519: opens what was put into it. Zeroized when dropped; `Debug` shows
/// nothing of it.
#[derive(Clone)]
pub struct DropKey(Zeroizing<[u8; 32]>);

impl fmt::Debug for DropKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DropKey(..)")
    }
}

impl DropKey {
    /// From 32 bytes, any of which are a private key of RFC 7748: derived, or fresh and random for one file.
    pub fn from_bytes(bytes: Zeroizing<[u8; 32]>) -> Self {
        Self(bytes)
    }

    fn private(&self) -> PrivateKey {
        PrivateKey::from_private_key(&X25519, &*self.0).expect("any 32 bytes are a private key of X25519")
    }

    /// The public half.
    pub fn public(&self) -> [u8; 32] {
        let public = self.private().compute_public_key().expect("a private key has a public one");
        public.as_ref().try_into().expect("a public key of X25519 has 32 bytes")
    }

    /// What both sides have in common.
    ///
    /// # Errors
    /// [`LinkError::Sealed`] when the other side's point is of small order, so that it is all zeros.
    pub(super) fn agree(&self, other: &[u8; 32]) -> Result<Zeroizing<[u8; 32]>, LinkError> {
        let other = UnparsedPublicKey::new(&X25519, other);
        agree(&self.private(), other, LinkError::Sealed, |shared| {
            let mut out = Zeroizing::new([0; 32]);
            // RFC 7748 leaves the check to protocols; this one refuses, whatever the library does.
            if shared.len() != out.len() || shared.iter().all(|byte| *byte == 0) {
                return Err(LinkError::Sealed);
            }
            out.copy_from_slice(shared);
            Ok(out)
        })
    }
}

/// All keys of one link, made again at any time from the root secret and the share's seed.
pub struct LinkKeys {
    signing: SigningKey,
    secret: LinkSecret,
    dropped: DropKey,
}

impl fmt::Debug for LinkKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LinkKeys({})", self.id())
    }
}

impl LinkKeys {
    /// The public key, by which the link's record is found.
    pub fn id(&self) -> LinkId {
        LinkId(self.signing.verifying_key().to_bytes())
    }

    /// What the URL carries.
    pub fn secret(&self) -> &LinkSecret {
        &self.secret
    }

    /// The drop box's key; its public half stands in the content of a drop box's record.
    pub fn drop_key(&self) -> &DropKey {
        &self.dropped
    }

    pub(super) fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.signing.sign(message).to_bytes()
    }
}

impl RootSecret {
    /// The keys of one link. `share_seed` must be 16 fresh random bytes for each link; it is kept in the
    /// drive and opens nothing without the root secret.
    pub fn link_keys(&self, share_seed: &[u8; 16]) -> LinkKeys {
        let key = |label| derive(self.as_bytes(), share_seed, label);
        LinkKeys {
            signing: SigningKey::from_bytes(&key(LINK_SIGNING)),
            secret: LinkSecret(key(LINK_SECRET)),
            dropped: DropKey(key(LINK_DROP)),
        }
    }
}
