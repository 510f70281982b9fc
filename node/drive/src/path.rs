//! Paths in a drive.
//!
//! Invariant: a [`DrivePath`] is absolute and every component is a valid [`Name`], so it can
//! neither climb out of a folder nor name something twice. It is no path of the local machine.

use std::fmt;
use std::str::FromStr;

use commonhold_format::drive::Name;

use crate::error::DriveError;

/// Most components of a path. Folders are written from the bottom up, one round trip to the
/// providers for each level, and nobody's tree is this deep by intention.
pub const DEPTH_MAX: usize = 64;
/// Longest path in bytes, as most systems have it.
pub const PATH_LEN_MAX: usize = 4096;

/// An absolute path in a drive: `/` is the root, `/a/b` is `b` in `a`. At most [`DEPTH_MAX`]
/// components and [`PATH_LEN_MAX`] bytes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct DrivePath(Vec<Name>);

impl DrivePath {
    /// The root folder.
    pub fn root() -> Self {
        Self::default()
    }

    /// Whether this is the root folder.
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// The names from the root down.
    pub fn names(&self) -> &[Name] {
        &self.0
    }

    /// The last name; none for the root.
    pub fn name(&self) -> Option<&Name> {
        self.0.last()
    }

    /// The folder that this stands in; none for the root.
    pub fn parent(&self) -> Option<DrivePath> {
        let (_, parents) = self.0.split_last()?;
        Some(DrivePath(parents.to_vec()))
    }

    /// The path of a child. Fails with `bad_path` when it would be too deep or too long.
    pub fn join(&self, name: Name) -> Result<DrivePath, DriveError> {
        let mut names = self.0.clone();
        names.push(name);
        DrivePath::from_names(names)
    }

    /// From names. Fails with `bad_path` when there are too many or they are too long.
    pub fn from_names(names: Vec<Name>) -> Result<DrivePath, DriveError> {
        let path = DrivePath(names);
        let why = if path.0.len() > DEPTH_MAX {
            format!("it has {} levels, and {DEPTH_MAX} is the most", path.0.len())
        } else {
            let len: usize = path.0.iter().map(|name| name.as_str().len() + 1).sum();
            if len <= PATH_LEN_MAX {
                return Ok(path);
            }
            format!("it has {len} bytes, and {PATH_LEN_MAX} is the most")
        };
        Err(bad_path(&path.to_string(), why))
    }
}

fn bad_path(text: &str, why: impl Into<String>) -> DriveError {
    DriveError::BadPath { path: text.chars().take(80).collect(), why: why.into() }
}

impl FromStr for DrivePath {
    type Err = DriveError;

    /// One trailing `/` is forgiven; empty components are not.
    fn from_str(text: &str) -> Result<Self, DriveError> {
        if text.len() > PATH_LEN_MAX + 1 {
            let why = format!("it has {} bytes, and {PATH_LEN_MAX} is the most", text.len());
            return Err(bad_path(text, why));
        }
        let Some(relative) = text.strip_prefix('/') else {
            return Err(bad_path(text, "it must begin with '/'"));
        };
        let relative = relative.strip_suffix('/').unwrap_or(relative);
        if relative.is_empty() {
            return match text {
                "/" => Ok(DrivePath::root()),
                _ => Err(bad_path(text, "it has an empty name")),
            };
        }
        let mut names = Vec::new();
        for part in relative.split('/') {
            if part.is_empty() {
                return Err(bad_path(text, "it has an empty name"));
            }
            names.push(Name::new(part).map_err(|error| bad_path(text, error.to_string()))?);
        }
        DrivePath::from_names(names)
    }
}

impl fmt::Display for DrivePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("/");
        }
        for name in &self.0 {
            write!(f, "/{}", name.as_str())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn text_and_path_are_one() {
        for text in ["/", "/a", "/a/b c/ü", "/.hidden/...x"] {
            assert_eq!(text.parse::<DrivePath>().unwrap().to_string(), text);
        }
        assert_eq!("/a/b/".parse::<DrivePath>().unwrap().to_string(), "/a/b");
        let path: DrivePath = "/a/b".parse().unwrap();
        assert_eq!(path.name().unwrap().as_str(), "b");
        assert_eq!(path.parent().unwrap().to_string(), "/a");
        assert_eq!(path.parent().unwrap().parent().unwrap(), DrivePath::root());
        assert!(DrivePath::root().parent().is_none());
    }

    #[test]
    fn attack_24_paths_that_climb_or_hide_are_refused() {
        for text in ["", "a", "//", "/a//b", "/..", "/a/../b", "/a/.", "/a\0b", "/a\u{202e}b", "/a\nb", "a/b"]
        {
            let error = text.parse::<DrivePath>().unwrap_err();
            assert_eq!(error.code(), "bad_path", "{text:?}");
        }
    }

    #[test]
    fn attack_25_depth_and_length_are_bounded() {
        assert!("/a".repeat(DEPTH_MAX).parse::<DrivePath>().is_ok());
        assert!("/a".repeat(DEPTH_MAX + 1).parse::<DrivePath>().is_err());
        let long = format!("/{}", "n".repeat(200));
        assert!(long.repeat(20).parse::<DrivePath>().is_ok());
        assert!(long.repeat(21).parse::<DrivePath>().is_err());
    }

    proptest! {
        #[test]
        fn any_text_is_refused_or_comes_back(text in "/?([a-z./\\\\ ü]{0,12}/?){0,4}") {
            if let Ok(path) = text.parse::<DrivePath>() {
                prop_assert_eq!(path.to_string().parse::<DrivePath>().unwrap(), path);
            }
        }
    }
}
