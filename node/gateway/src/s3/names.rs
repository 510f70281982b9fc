//! How buckets and keys stand for paths of the drive (spec/s3.md, "Names").
//!
//! Invariant: two keys never lead to one place, and no key leads out of its bucket: every component is a
//! name that the drive takes, and a trailing slash stands for the folder itself.

use commonhold_client::types::{FileInfo, FileKind};
use commonhold_format::drive::{NAME_LEN_MAX, Name};
use s3s::{S3Error, S3ErrorCode, S3Result};

/// Marks a folder that somebody made by putting a key that ends with a slash.
pub(super) const FOLDER: &str = "s3-folder";
/// Longest key, bytes.
pub(super) const KEY_LEN_MAX: usize = 1024;

/// Whether a top-level folder is a bucket.
pub(super) fn is_bucket(name: &str) -> bool {
    s3s::path::check_bucket_name(name)
}

/// Whether a folder is an object, too: one whose key ends with a slash.
pub(super) fn is_marker(info: &FileInfo) -> bool {
    info.entry.kind == FileKind::Folder && info.attributes.contains_key(FOLDER)
}

/// The path of a bucket.
pub(super) fn bucket_path(bucket: &str) -> String {
    format!("/{bucket}")
}

/// What a key stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    /// Its path in the drive.
    pub(super) path: String,
    /// Whether it is a folder's marker: the key ends with a slash.
    pub(super) marker: bool,
}

/// Where a key lies.
///
/// # Errors
/// `KeyTooLongError` and `InvalidArgument` for keys that the drive cannot hold.
pub(super) fn place(bucket: &str, key: &str) -> S3Result<Place> {
    if !is_bucket(bucket) {
        return Err(S3Error::new(S3ErrorCode::InvalidBucketName));
    }
    let refused = |why: &str| {
        let why = format!("this key cannot be a path of the drive: {why} in one of its components");
        Err(S3Error::with_message(S3ErrorCode::InvalidArgument, why))
    };
    if key.len() > KEY_LEN_MAX {
        return Err(S3Error::new(S3ErrorCode::KeyTooLongError));
    }
    let (inner, marker) = match key.strip_suffix('/') {
        Some(inner) => (inner, true),
        None => (key, false),
    };
    for component in inner.split('/') {
        if component.len() > NAME_LEN_MAX {
            let why = format!("a part of a key between two slashes has at most {NAME_LEN_MAX} bytes");
            return Err(S3Error::with_message(S3ErrorCode::KeyTooLongError, why));
        }
        if let Err(error) = Name::new(component) {
            return refused(error.why);
        }
    }
    Ok(Place { path: format!("/{bucket}/{inner}"), marker })
}

/// The same of an object that is looked for: a key that the drive cannot hold is not there.
pub(super) fn place_of(bucket: &str, key: &str) -> S3Result<Place> {
    place(bucket, key).map_err(|error| match error.code() {
        S3ErrorCode::InvalidArgument | S3ErrorCode::KeyTooLongError => S3Error::new(S3ErrorCode::NoSuchKey),
        _ => error,
    })
}

/// The folder above a path, unless that is the bucket or the root.
pub(super) fn parent(path: &str) -> Option<&str> {
    let (parent, _) = path.rsplit_once('/')?;
    (parent.matches('/').count() > 1).then_some(parent)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn keys_are_paths() {
        let at = |key| place("bucket", key).map(|place| (place.path, place.marker));
        assert_eq!(at("a").unwrap(), ("/bucket/a".into(), false));
        assert_eq!(at("a/b c/ü").unwrap(), ("/bucket/a/b c/ü".into(), false));
        assert_eq!(at("a/b/").unwrap(), ("/bucket/a/b".into(), true));
        assert_eq!(at(&"x".repeat(255)).unwrap().0.len(), 263);
    }

    #[test]
    fn attack_24_keys_that_lead_elsewhere_are_refused() {
        for key in [
            "",
            "/",
            "//",
            "a//b",
            "/a",
            "a//",
            ".",
            "..",
            "a/../b",
            "../x",
            "a/.",
            "a\0b",
            "a\nb",
            "a\u{202e}b",
        ] {
            assert_eq!(place("bucket", key).unwrap_err().code(), &S3ErrorCode::InvalidArgument, "{key:?}");
            assert_eq!(place_of("bucket", key).unwrap_err().code(), &S3ErrorCode::NoSuchKey, "{key:?}");
        }
        for key in ["x".repeat(256), format!("a/{}", "ü".repeat(128)), "ab/".repeat(342)] {
            assert_eq!(place("bucket", &key).unwrap_err().code(), &S3ErrorCode::KeyTooLongError);
        }
        for bucket in ["", "ab", "A-bucket", "..", "a_b", "192.168.0.1", "a/b"] {
            assert_eq!(place(bucket, "k").unwrap_err().code(), &S3ErrorCode::InvalidBucketName, "{bucket:?}");
        }
    }

    #[test]
    fn parents_end_at_the_bucket() {
        assert_eq!(parent("/bucket/a/b/c"), Some("/bucket/a/b"));
        assert_eq!(parent("/bucket/a/b"), Some("/bucket/a"));
        assert_eq!(parent("/bucket/a"), None);
        assert_eq!(parent("/bucket"), None);
    }
}
