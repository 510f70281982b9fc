//! Identifiers, each a newtype over 32 bytes with one textual form.
//!
//! Invariant: an identifier of one kind cannot be used as another. Hexadecimal, lower case, is the
//! text of all of them but [`NodeId`], whose text is libp2p's peer id so that other tools know it.

use std::fmt;
use std::str::FromStr;

use data_encoding::HEXLOWER;
use minicbor::{Decode, Encode};

/// Why a text is not an identifier.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected {expected}, found {found:?}")]
pub struct IdError {
    /// What would have been accepted.
    pub expected: &'static str,
    /// The refused text, cut to 80 characters.
    pub found: String,
}

impl IdError {
    fn new(expected: &'static str, found: &str) -> Self {
        Self { expected, found: found.chars().take(80).collect() }
    }
}

macro_rules! hex_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
        #[cbor(transparent)]
        pub struct $name(#[cbor(n(0), with = "minicbor::bytes")] pub [u8; 32]);

        impl $name {
            /// The 32 bytes.
            pub fn as_bytes(&self) -> &[u8; 32] {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&HEXLOWER.encode(&self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                let refused = || IdError::new("64 lower-case hexadecimal digits", text);
                let bytes = HEXLOWER.decode(text.as_bytes()).map_err(|_| refused())?;
                Ok(Self(bytes.try_into().map_err(|_| refused())?))
            }
        }
    };
}

hex_id! {
    /// A chunk's identifier: the root of its Merkle tree (spec/chunk-tree.md).
    ChunkId
}
hex_id! {
    /// A contract's identifier: SHA-256 of the text of the contract note (spec/notes.md).
    ContractId
}
hex_id! {
    /// A segment's identifier: a hash over its code, length and chunk ids (spec/manifest.md).
    SegmentId
}
hex_id! {
    /// The Ed25519 public key with which a person signs notes, as owner or as operator. It comes
    /// from the recovery phrase and so survives the machine (spec/keys.md).
    PartyId
}

/// The Ed25519 public key under which a node is addressed. Its text is libp2p's peer id,
/// `12D3KooW…` (base58 of the identity multihash of the protobuf-encoded key).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(transparent)]
pub struct NodeId(#[cbor(n(0), with = "minicbor::bytes")] pub [u8; 32]);

/// Identity multihash (0x00, 36 bytes) of a protobuf public key (type 1 = Ed25519, 32 bytes).
const PEER_ID_PREFIX: [u8; 6] = [0x00, 0x24, 0x08, 0x01, 0x12, 0x20];

impl NodeId {
    /// The 32 bytes of the public key.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The 38 bytes of libp2p's peer id.
    pub fn to_peer_id_bytes(&self) -> [u8; 38] {
        let mut bytes = [0; 38];
        bytes[..6].copy_from_slice(&PEER_ID_PREFIX);
        bytes[6..].copy_from_slice(&self.0);
        bytes
    }

    /// From the 38 bytes of libp2p's peer id. Only Ed25519 identity peer ids are nodes here.
    pub fn from_peer_id_bytes(bytes: &[u8]) -> Option<Self> {
        let key = bytes.strip_prefix(&PEER_ID_PREFIX)?;
        Some(Self(key.try_into().ok()?))
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&bs58::encode(self.to_peer_id_bytes()).into_string())
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NodeId({self})")
    }
}

impl FromStr for NodeId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let refused = || IdError::new("a peer id that starts with 12D3KooW", text);
        if text.len() > 64 {
            return Err(refused());
        }
        let bytes = bs58::decode(text).into_vec().map_err(|_| refused())?;
        Self::from_peer_id_bytes(&bytes).ok_or_else(refused)
    }
}
