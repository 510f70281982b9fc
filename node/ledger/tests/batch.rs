//! Why the ledger does not verify signatures in batches: a signer can make signatures that a batch takes
//! and strict verification, Go's and everybody else's among it, refuses. Two verifiers of one ledger
//! would come to different verdicts about one note.
#![allow(clippy::unwrap_used)]

use commonhold_format::keys;
use curve25519_dalek::constants::{ED25519_BASEPOINT_POINT, EIGHT_TORSION};
use curve25519_dalek::scalar::Scalar;
use ed25519_dalek::{Signature, SigningKey, VerifyingKey, verify_batch};
use sha2::{Digest, Sha512};

/// A signature over `text` whose R is off by the point `torsion`, of small order.
fn crooked(key: &SigningKey, text: &[u8], torsion: usize) -> [u8; 64] {
    let wide = |hash: Sha512| Scalar::from_bytes_mod_order_wide(&hash.finalize().into());
    let nonce = wide(Sha512::new().chain_update(b"nonce").chain_update(text));
    let r = (ED25519_BASEPOINT_POINT * nonce + EIGHT_TORSION[torsion]).compress().to_bytes();
    let public = key.verifying_key().to_bytes();
    let challenge = wide(Sha512::new().chain_update(r).chain_update(public).chain_update(text));
    let s = nonce + challenge * key.to_scalar();
    let mut signature = [0; 64];
    signature[..32].copy_from_slice(&r);
    signature[32..].copy_from_slice(s.as_bytes());
    signature
}

#[test]
fn a_batch_takes_what_strict_verification_refuses() {
    let key = SigningKey::from_bytes(&[7; 32]);
    let public: VerifyingKey = key.verifying_key();
    let mut taken = 0;
    for number in 0..64u8 {
        let text = [b'n', b'o', b't', b'e', number];
        // Without the crooked point it is an ordinary signature.
        let honest = crooked(&key, &text, 0);
        assert!(keys::verify(public.as_bytes(), &text, &honest));
        // The point of order 2: one text in two or so suits the batch.
        let signature = crooked(&key, &text, 4);
        assert!(!keys::verify(public.as_bytes(), &text, &signature));
        let batch = verify_batch(&[&text[..]], &[Signature::from_bytes(&signature)], &[public]);
        taken += u32::from(batch.is_ok());
    }
    assert!(taken > 0, "the batch refused all of them: then it may be sound by now; look again");
}
