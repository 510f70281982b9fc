//! Checksums: which there are, what clients say of them, what objects keep of them (spec/s3.md, "Checksums").
//!
//! Invariant: a text is taken for a checksum only if it has as many bytes as its algorithm gives.

use commonhold_client::types::FileInfo;
use crc_fast::CrcAlgorithm;
use data_encoding::BASE64;
use s3s::checksum::ChecksumHasher;
use s3s::crypto::{Checksum as _, Crc32, Crc32c, Crc64Nvme, Sha1, Sha256};
use s3s::dto::{Checksum, ChecksumType};
use s3s::{S3Error, S3ErrorCode, S3Result, TrailingHeaders};

use super::attributes::CHECKSUM;
use super::faults::invalid;

/// An algorithm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Algorithm {
    Crc32,
    Crc32c,
    Crc64Nvme,
    Sha1,
    Sha256,
}

impl Algorithm {
    pub(super) const ALL: [Self; 5] = [Self::Crc32, Self::Crc32c, Self::Crc64Nvme, Self::Sha1, Self::Sha256];

    /// Its name in S3.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Crc32 => "CRC32",
            Self::Crc32c => "CRC32C",
            Self::Crc64Nvme => "CRC64NVME",
            Self::Sha1 => "SHA1",
            Self::Sha256 => "SHA256",
        }
    }

    /// The one with this name, in any case.
    pub(super) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.name().eq_ignore_ascii_case(name))
    }

    fn len(self) -> usize {
        match self {
            Self::Crc32 | Self::Crc32c => 4,
            Self::Crc64Nvme => 8,
            Self::Sha1 => 20,
            Self::Sha256 => 32,
        }
    }

    /// A hasher that computes it.
    pub(super) fn hasher(self) -> ChecksumHasher {
        let mut hasher = ChecksumHasher::default();
        match self {
            Self::Crc32 => hasher.crc32 = Some(Crc32::new()),
            Self::Crc32c => hasher.crc32c = Some(Crc32c::new()),
            Self::Crc64Nvme => hasher.crc64nvme = Some(Crc64Nvme::new()),
            Self::Sha1 => hasher.sha1 = Some(Sha1::new()),
            Self::Sha256 => hasher.sha256 = Some(Sha256::new()),
        }
        hasher
    }

    /// Takes its value out of what was computed or named.
    pub(super) fn take(self, from: &mut Checksum) -> Option<String> {
        match self {
            Self::Crc32 => from.checksum_crc32.take(),
            Self::Crc32c => from.checksum_crc32c.take(),
            Self::Crc64Nvme => from.checksum_crc64nvme.take(),
            Self::Sha1 => from.checksum_sha1.take(),
            Self::Sha256 => from.checksum_sha256.take(),
        }
    }

    /// The checksum of a whole object, from those of its parts and their sizes. CRCs alone have one.
    pub(super) fn combined(self, parts: &[(Vec<u8>, u64)]) -> Option<String> {
        let (algorithm, width) = match self {
            Self::Crc32 => (CrcAlgorithm::Crc32IsoHdlc, 4),
            Self::Crc32c => (CrcAlgorithm::Crc32Iscsi, 4),
            Self::Crc64Nvme => (CrcAlgorithm::Crc64Nvme, 8),
            Self::Sha1 | Self::Sha256 => return None,
        };
        let number = |bytes: &[u8]| bytes.iter().fold(0_u64, |all, byte| all << 8 | u64::from(*byte));
        let (first, rest) = parts.split_first()?;
        let whole = rest.iter().fold(number(&first.0), |whole, (next, len)| {
            crc_fast::checksum_combine(algorithm, whole, number(next), *len)
        });
        Some(BASE64.encode(&whole.to_be_bytes()[8 - width..]))
    }

    /// The checksum of the checksums of an object's parts, with their number.
    pub(super) fn composite(self, parts: &[(Vec<u8>, u64)]) -> Option<String> {
        let mut hasher = self.hasher();
        for (part, _) in parts {
            hasher.update(part);
        }
        Some(format!("{}-{}", self.take(&mut hasher.finalize())?, parts.len()))
    }
}

/// A checksum that an object has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sum {
    pub(super) algorithm: Algorithm,
    /// Whether it is one of the parts' checksums.
    pub(super) composite: bool,
    /// As S3 writes it: base64, with the number of parts if it is composite.
    pub(super) value: String,
}

impl Sum {
    /// As an attribute.
    pub(super) fn to_text(&self) -> String {
        let kind = if self.composite { ChecksumType::COMPOSITE } else { ChecksumType::FULL_OBJECT };
        format!("{} {kind} {}", self.algorithm.name(), self.value)
    }

    /// From an attribute.
    pub(super) fn of_text(text: &str) -> Option<Self> {
        let mut words = text.split(' ');
        let (algorithm, kind, value) = (Algorithm::named(words.next()?)?, words.next()?, words.next()?);
        let composite = kind == ChecksumType::COMPOSITE;
        let digits = if composite { value.rsplit_once('-')?.0 } else { value };
        (decoded(algorithm, digits).is_some() && words.next().is_none() && value.len() < 64).then(|| Self {
            algorithm,
            composite,
            value: value.to_owned(),
        })
    }

    /// What is kept with an object.
    pub(super) fn of(info: &FileInfo) -> Option<Self> {
        info.attributes.get(CHECKSUM).and_then(|text| Self::of_text(text))
    }

    /// What is kept with an object, as S3's answers have it.
    pub(super) fn shown_of(info: &FileInfo) -> Checksum {
        Self::of(info).map(|sum| sum.shown()).unwrap_or_default()
    }

    /// As S3's answers have it.
    pub(super) fn shown(&self) -> Checksum {
        let mut shown = Checksum::default();
        let value = Some(self.value.clone());
        match self.algorithm {
            Algorithm::Crc32 => shown.checksum_crc32 = value,
            Algorithm::Crc32c => shown.checksum_crc32c = value,
            Algorithm::Crc64Nvme => shown.checksum_crc64nvme = value,
            Algorithm::Sha1 => shown.checksum_sha1 = value,
            Algorithm::Sha256 => shown.checksum_sha256 = value,
        }
        let kind = if self.composite { ChecksumType::COMPOSITE } else { ChecksumType::FULL_OBJECT };
        shown.checksum_type = Some(ChecksumType::from_static(kind));
        shown
    }
}

/// The bytes of a checksum of this algorithm.
pub(super) fn decoded(algorithm: Algorithm, value: &str) -> Option<Vec<u8>> {
    BASE64.decode(value.as_bytes()).ok().filter(|bytes| bytes.len() == algorithm.len())
}

/// The one checksum among those that a request or a part names, if it has one.
///
/// # Errors
/// `InvalidArgument` for two of them, or one that cannot be.
pub(super) fn the_one(mut named: Checksum) -> S3Result<Option<(Algorithm, String)>> {
    let mut one = None;
    for algorithm in Algorithm::ALL {
        let Some(value) = algorithm.take(&mut named) else { continue };
        if one.replace((algorithm, value)).is_some() {
            return Err(invalid("a request has one checksum at most"));
        }
    }
    Ok(one)
}

/// Takes the checksums out of a request that has them under these names.
macro_rules! checksums_of {
    ($input:expr) => {
        s3s::dto::Checksum {
            checksum_crc32: $input.checksum_crc32.take(),
            checksum_crc32c: $input.checksum_crc32c.take(),
            checksum_crc64nvme: $input.checksum_crc64nvme.take(),
            checksum_sha1: $input.checksum_sha1.take(),
            checksum_sha256: $input.checksum_sha256.take(),
            checksum_type: None,
        }
    };
}
pub(super) use checksums_of;

/// What the client says of an upload.
#[derive(Default)]
pub(super) struct Claims {
    /// Its MD5.
    pub(super) md5: Option<[u8; 16]>,
    /// Its checksum, in base64; without a value, it comes behind the data.
    pub(super) sum: Option<(Algorithm, Option<String>)>,
    /// What comes behind the data.
    pub(super) trailers: Option<TrailingHeaders>,
}

impl Claims {
    /// Reads them. `announced`: the header that says what comes behind the data.
    ///
    /// # Errors
    /// `InvalidDigest` for what cannot be an MD5, `InvalidArgument` for what cannot be a checksum.
    pub(super) fn read(
        md5: Option<&str>,
        named: Checksum,
        announced: Option<&str>,
        trailers: Option<TrailingHeaders>,
    ) -> S3Result<Self> {
        let md5 = match md5 {
            None => None,
            Some(text) => {
                let bytes = BASE64.decode(text.as_bytes()).ok().and_then(|bytes| bytes.try_into().ok());
                Some(bytes.ok_or_else(|| S3Error::new(S3ErrorCode::InvalidDigest))?)
            }
        };
        let mut sum = None;
        if let Some((algorithm, value)) = the_one(named)? {
            if decoded(algorithm, &value).is_none() {
                return Err(invalid(format!("{value:?} is not a {} checksum", algorithm.name())));
            }
            sum = Some((algorithm, Some(value)));
        }
        if let Some(announced) = announced {
            let name = announced.trim().to_ascii_lowercase();
            let algorithm = name.strip_prefix("x-amz-checksum-").and_then(Algorithm::named);
            let algorithm = algorithm
                .ok_or_else(|| super::faults::not_implemented(format!("{announced:?} behind the data")))?;
            if sum.replace((algorithm, None)).is_some() || trailers.is_none() {
                return Err(invalid(
                    "a request has one checksum at most, and x-amz-trailer needs aws-chunked",
                ));
            }
        }
        Ok(Self { md5, sum, trailers })
    }

    /// Whether the checksum is known only when the data have come.
    pub(super) fn comes_last(&self) -> bool {
        matches!(self.sum, Some((_, None)))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn claims_that_cannot_be_are_refused() {
        let crc = |value: &str| Checksum { checksum_crc32: Some(value.to_owned()), ..Checksum::default() };
        assert!(Claims::read(None, crc("y/Q5Jg=="), None, None).is_ok());
        for bad in ["", "y/Q5Jg", "rosUhgoO5ig=", "????"] {
            assert!(Claims::read(None, crc(bad), None, None).is_err(), "{bad}");
        }
        let two = Checksum { checksum_sha1: Some("98O8HTtBDC7wCiM4Bb+2bNMmo78=".into()), ..crc("y/Q5Jg==") };
        assert!(Claims::read(None, two, None, None).is_err());
        assert!(Claims::read(Some("abc"), Checksum::default(), None, None).is_err());
        assert!(Claims::read(None, Checksum::default(), Some("x-amz-checksum-crc32"), None).is_err());
        assert!(Claims::read(None, Checksum::default(), Some("x-amz-other"), None).is_err());
    }

    proptest! {
        #[test]
        fn parts_combine_to_the_whole(parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..50), 1..6)) {
            for algorithm in [Algorithm::Crc32, Algorithm::Crc32c, Algorithm::Crc64Nvme] {
                let sum = |data: &[u8]| {
                    let mut hasher = algorithm.hasher();
                    hasher.update(data);
                    algorithm.take(&mut hasher.finalize()).unwrap()
                };
                let sums: Vec<_> =
                    parts.iter().map(|part| (decoded(algorithm, &sum(part)).unwrap(), part.len() as u64)).collect();
                prop_assert_eq!(algorithm.combined(&sums), Some(sum(&parts.concat())));
            }
        }

        #[test]
        fn any_text_is_read_as_a_sum_or_not(text in "(CRC32|SHA1|x)( (COMPOSITE|FULL_OBJECT))?( [A-Za-z0-9+/=-]{0,30})?") {
            if let Some(sum) = Sum::of_text(&text) {
                prop_assert_eq!(sum.to_text(), text);
            }
        }
    }
}
