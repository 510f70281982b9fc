//! Names of files and folders: what may stand between two slashes (spec/drive.md, section 1).
//!
//! Invariant: a [`Name`] is one path component on every system that has `/` for a separator, and
//! is shown as the characters that it has. What it is not: a promise for Windows, which refuses
//! more names, or a protection against letters that look alike.

/// Longest name, bytes of UTF-8: what ext4, XFS, APFS and NTFS can hold.
pub const NAME_LEN_MAX: usize = 255;

/// A valid name: 1 to [`NAME_LEN_MAX`] bytes of UTF-8, neither `.` nor `..`, without `/`, control
/// characters (U+0000 to U+001F, U+007F to U+009F) and bidirectional controls (U+061C, U+200E,
/// U+200F, U+202A to U+202E, U+2066 to U+2069).
///
/// Names are compared and ordered by their bytes. They are not normalised: two that look alike but
/// differ in code points are two names.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(String);

/// Why a name is refused. The message shows the name with unprintable characters escaped.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{name:?} cannot be a name here: {why}")]
pub struct NameError {
    /// The name, cut to 80 characters.
    pub name: String,
    /// The reason.
    pub why: &'static str,
}

/// Characters that change the direction of the text around them and so can disguise a name.
fn is_bidi_control(c: char) -> bool {
    matches!(c, '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

impl Name {
    /// Checks a name, whether it comes from a disk, a person or a decrypted folder.
    ///
    /// # Errors
    /// [`NameError`] with the first reason found.
    pub fn new(text: &str) -> Result<Self, NameError> {
        let why = if text.is_empty() {
            "it is empty"
        } else if text.len() > NAME_LEN_MAX {
            "it is longer than 255 bytes"
        } else if text == "." || text == ".." {
            "it means another folder"
        } else if text.contains('/') {
            "it has a slash"
        } else if text.contains(char::is_control) {
            "it has a control character"
        } else if text.contains(is_bidi_control) {
            "it has a character that changes the direction of text"
        } else {
            return Ok(Self(text.to_owned()));
        };
        Err(NameError { name: text.chars().take(80).collect(), why })
    }

    /// The name with something before its extension, cut so that it is a name still: `report.pdf` with
    /// ` (2)` is `report (2).pdf`. An extension has at most 15 bytes after its dot.
    ///
    /// # Errors
    /// [`NameError`] when the suffix cannot be part of a name.
    pub fn with_suffix(&self, suffix: &str) -> Result<Self, NameError> {
        let text = self.as_str();
        let (stem, extension) = match text.rfind('.') {
            Some(at) if at > 0 && text.len() - at <= 16 => text.split_at(at),
            _ => (text, ""),
        };
        let most = NAME_LEN_MAX.saturating_sub(suffix.len() + extension.len());
        let mut cut = stem.len().min(most);
        while !stem.is_char_boundary(cut) {
            cut -= 1;
        }
        Self::new(&format!("{}{suffix}{extension}", &stem[..cut]))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attack_24_names_that_lie_or_escape_are_refused() {
        for bad in [
            "",
            ".",
            "..",
            "a/b",
            "/",
            "nul\0",
            "line\nfeed",
            "del\u{7f}",
            "exe.\u{202e}gpj",
            "\u{2066}x",
            "\u{61c}",
        ] {
            assert!(Name::new(bad).is_err(), "{bad:?}");
        }
        assert!(Name::new(&"x".repeat(256)).is_err());
        for good in ["a", "...", ".hidden", " ", "Grüße ☀", "日本語", "a\\b", "con"] {
            assert!(Name::new(good).is_ok(), "{good:?}");
        }
        assert!(Name::new(&"x".repeat(255)).is_ok());
    }
}
