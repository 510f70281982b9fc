//! A plugin as one file: a WebAssembly component whose last section is its manifest
//! (spec/plugins.md, "File").
//!
//! Invariant: the bytes before that section have the size and the SHA-256 that the manifest names, so
//! what an author signed is all that runs. What it is not: a check that they are a component, or of
//! whom to trust.

use sha2::{Digest, Sha256};

use crate::ids::PartyId;
use crate::keys::PartyKey;
use crate::note::{NoteError, SignedNote};
use crate::statement::PolicyManifest;

/// Largest plugin, bytes.
pub const PACKAGE_LEN_MAX: usize = 16 << 20;
/// Name of the section.
const SECTION: &str = "commonhold:policy";
/// Magic number, version and layer of a component.
const HEADER: [u8; 8] = [0x00, b'a', b's', b'm', 0x0d, 0x00, 0x01, 0x00];

/// Why bytes are not a plugin.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PackageError {
    /// More than [`PACKAGE_LEN_MAX`].
    #[error("it has {0} bytes, a plugin has at most 16 MiB")]
    TooLarge(usize),
    /// Not a component.
    #[error("it is not a WebAssembly component: {0}")]
    NotComponent(&'static str),
    /// No manifest, or not at the end, or more than one.
    #[error("{0}: build it with `commonhold plugin build`")]
    NoManifest(&'static str),
    /// The manifest is not one.
    #[error("its manifest is not valid: {0}")]
    Manifest(String),
    /// Other bytes than the manifest names.
    #[error("its code was changed after its manifest was written: the SHA-256 is another one")]
    Changed,
    /// The manifest names an author and is not signed by that one.
    #[error("its manifest names the author {0} and is not signed by that key")]
    Signature(PartyId),
}

/// A plugin's file, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Package<'a> {
    /// The component without the manifest.
    pub component: &'a [u8],
    /// What it says of itself. When it names an author, that one has signed it.
    pub manifest: PolicyManifest,
}

impl<'a> Package<'a> {
    /// Takes a file apart and checks size, hash and signature.
    ///
    /// # Errors
    /// [`PackageError`].
    pub fn open(bytes: &'a [u8]) -> Result<Self, PackageError> {
        let (component, manifest) = split(bytes)?;
        let manifest = manifest.ok_or(PackageError::NoManifest("it has no manifest"))?;
        let manifest = std::str::from_utf8(manifest)
            .map_err(|_| PackageError::Manifest("it is not UTF-8 text".to_owned()))?;
        let (text, note) = match SignedNote::parse(manifest.as_bytes()) {
            Ok(note) => (note.text().to_owned(), Some(note)),
            Err(_) => (manifest.to_owned(), None),
        };
        let manifest =
            PolicyManifest::from_text(&text).map_err(|error| PackageError::Manifest(error.to_string()))?;
        if let Some(author) = manifest.author
            && !note.is_some_and(|note| note.is_signed_by(&author))
        {
            return Err(PackageError::Signature(author));
        }
        if manifest.size != component.len() as u64 || manifest.component != sha256(component) {
            return Err(PackageError::Changed);
        }
        Ok(Self { component, manifest })
    }
}

/// Puts a manifest behind a component; an older one is replaced. `author` signs it. The manifest's hash,
/// size and author are filled in.
///
/// # Errors
/// [`PackageError`], also for a manifest that is out of bounds.
pub fn seal(
    component: &[u8],
    manifest: &PolicyManifest,
    author: Option<&PartyKey>,
) -> Result<Vec<u8>, PackageError> {
    let (component, _) = split(component)?;
    let manifest = PolicyManifest {
        component: sha256(component),
        size: component.len() as u64,
        author: author.map(PartyKey::id),
        ..manifest.clone()
    };
    manifest.check().map_err(|(_, why)| PackageError::Manifest(why.to_owned()))?;
    let text = manifest.to_text();
    let contents = match author {
        Some(key) => SignedNote::sign(text, key)
            .map_err(|error: NoteError| PackageError::Manifest(error.to_string()))?
            .to_bytes(),
        None => text.into_bytes(),
    };
    let name = leb128(SECTION.len() as u32);
    let len = name.len() + SECTION.len() + contents.len();
    let len = u32::try_from(len).map_err(|_| PackageError::TooLarge(len))?;
    let mut sealed = component.to_vec();
    sealed.push(0);
    sealed.extend(leb128(len));
    sealed.extend(name);
    sealed.extend_from_slice(SECTION.as_bytes());
    sealed.extend(contents);
    if sealed.len() > PACKAGE_LEN_MAX { Err(PackageError::TooLarge(sealed.len())) } else { Ok(sealed) }
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

/// A component and its manifest's bytes. The walk over sections reads their lengths alone.
fn split(bytes: &[u8]) -> Result<(&[u8], Option<&[u8]>), PackageError> {
    if bytes.len() > PACKAGE_LEN_MAX {
        return Err(PackageError::TooLarge(bytes.len()));
    }
    if !bytes.starts_with(&HEADER) {
        let core = bytes.starts_with(&HEADER[..4]);
        return Err(PackageError::NotComponent(if core {
            "it is a core module"
        } else {
            "its first bytes are others"
        }));
    }
    let cut = PackageError::NotComponent("it is cut off");
    let mut at = HEADER.len();
    while at < bytes.len() {
        let begin = at;
        let id = bytes[at];
        let (len, after) = read_leb128(bytes, at + 1).ok_or_else(|| cut.clone())?;
        let end = after.checked_add(len as usize).filter(|end| *end <= bytes.len());
        let end = end.ok_or_else(|| cut.clone())?;
        if id == 0
            && let Some((name_len, name)) = read_leb128(&bytes[..end], after)
            && bytes[name..end].get(..name_len as usize) == Some(SECTION.as_bytes())
        {
            return match end == bytes.len() {
                true => Ok((&bytes[..begin], Some(&bytes[name + name_len as usize..end]))),
                false => Err(PackageError::NoManifest("something follows its manifest")),
            };
        }
        at = end;
    }
    Ok((bytes, None))
}

/// Reads the unsigned LEB128 that begins at `at`: its value, and where it ends. None when it is cut off or
/// has more than 32 bits.
pub fn read_leb128(bytes: &[u8], mut at: usize) -> Option<(u32, usize)> {
    let mut value = 0_u64;
    for shift in (0..35).step_by(7) {
        let byte = *bytes.get(at)?;
        at += 1;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some((u32::try_from(value).ok()?, at));
        }
    }
    None
}

/// Writes a number as an unsigned LEB128, as short as it can be.
pub fn leb128(mut value: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let low = (value & 0x7f) as u8;
        value >>= 7;
        if value == 0 {
            bytes.push(low);
            return bytes;
        }
        bytes.push(low | 0x80);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::keys::RootSecret;
    use crate::policy::{API_VERSION, Kind};

    fn component() -> Vec<u8> {
        // A custom section of another name, of 200 bytes, so that its length takes two bytes.
        let mut bytes = HEADER.to_vec();
        bytes.extend([0, 0xc8, 0x01, 4]);
        bytes.extend(b"name");
        bytes.extend([7; 195]);
        bytes
    }

    fn manifest() -> PolicyManifest {
        PolicyManifest {
            name: "spread".to_owned(),
            version: "1.0.0".to_owned(),
            kind: Kind::Placement,
            api: API_VERSION.to_owned(),
            capabilities: [crate::statement::Capability::Config].into(),
            about: String::new(),
            component: [0; 32],
            size: 0,
            author: None,
        }
    }

    fn author() -> PartyKey {
        RootSecret::from_bytes([7; 32]).party_key()
    }

    #[test]
    fn a_sealed_plugin_opens_and_can_be_sealed_again() {
        for key in [None, Some(author())] {
            let sealed = seal(&component(), &manifest(), key.as_ref()).unwrap();
            let package = Package::open(&sealed).unwrap();
            assert_eq!(package.component, component());
            assert_eq!(package.manifest.author, key.as_ref().map(PartyKey::id));
            assert_eq!(package.manifest.name, "spread");
            let again = seal(&sealed, &manifest(), Some(&author())).unwrap();
            assert_eq!(Package::open(&again).unwrap().component, component());
        }
    }

    #[test]
    fn a_leb128_has_at_most_32_bits() {
        for value in [0, 1, 0x7f, 0x80, 0x3fff, 0x4000, u32::MAX] {
            let written = leb128(value);
            assert_eq!(read_leb128(&[&[9], &written[..]].concat(), 1), Some((value, 1 + written.len())));
            assert_eq!(read_leb128(&written[..written.len() - 1], 0), None);
        }
        assert_eq!(read_leb128(&[0xff, 0xff, 0xff, 0xff, 0x1f], 0), None);
        assert_eq!(read_leb128(&[0x80, 0x80, 0x80, 0x80, 0x80, 0x00], 0), None);
        assert_eq!(read_leb128(&[1], 2), None);
    }

    #[test]
    fn attack_39_any_changed_byte_is_noticed() {
        let sealed = seal(&component(), &manifest(), Some(&author())).unwrap();
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert!(Package::open(&changed).is_err(), "byte {at}");
        }
        for len in 0..sealed.len() {
            assert!(Package::open(&sealed[..len]).is_err(), "{len} bytes");
        }
    }

    #[test]
    fn attack_39_another_author_or_none_cannot_stand_for_one() {
        let sealed = seal(&component(), &manifest(), None).unwrap();
        let text = String::from_utf8_lossy(&sealed).into_owned();
        assert!(text.contains("author: none"));
        let forged = PolicyManifest { author: Some(author().id()), ..manifest() };
        let text = PolicyManifest { component: sha256(&component()), size: 207, ..forged }.to_text();
        let other = RootSecret::from_bytes([8; 32]).party_key();
        for contents in [text.clone().into_bytes(), SignedNote::sign(text, &other).unwrap().to_bytes()] {
            let mut bytes = component();
            bytes.push(0);
            bytes.extend(leb128((1 + SECTION.len() + contents.len()) as u32));
            bytes.push(SECTION.len() as u8);
            bytes.extend(SECTION.as_bytes());
            bytes.extend(contents);
            assert_eq!(Package::open(&bytes), Err(PackageError::Signature(author().id())));
        }
    }
}
