//! Names and kinds of files as browsers are told them.
//!
//! Invariant: what a browser is let show is of a fixed list of kinds that run nothing; any other file is
//! saved, whatever it says of itself.

use axum::http::HeaderValue;

/// Content-Disposition with the name in both forms of RFC 6266.
pub(super) fn disposition(inline: bool, name: &str) -> HeaderValue {
    let kind = if inline { "inline" } else { "attachment" };
    let name = if name.is_empty() { "drive" } else { name };
    let plain: String =
        name.chars()
            .map(|c| {
                if (c.is_ascii_graphic() || c == ' ') && !matches!(c, '"' | '\\' | '%' | '/') {
                    c
                } else {
                    '_'
                }
            })
            .collect();
    let encoded: String = name
        .bytes()
        .map(|byte| {
            if byte.is_ascii_alphanumeric() || b"!#$&+-.^_`|~".contains(&byte) {
                char::from(byte).to_string()
            } else {
                format!("%{byte:02X}")
            }
        })
        .collect();
    let text = format!("{kind}; filename=\"{plain}\"; filename*=UTF-8''{encoded}");
    HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static("attachment"))
}

/// Kinds that a browser shows without running anything, and the endings of their names.
const SHOWN: [(&str, &[&str]); 23] = [
    ("image/png", &["png"]),
    ("image/jpeg", &["jpg", "jpeg"]),
    ("image/gif", &["gif"]),
    ("image/webp", &["webp"]),
    ("image/avif", &["avif"]),
    ("image/bmp", &["bmp"]),
    ("image/x-icon", &["ico"]),
    ("audio/mpeg", &["mp3"]),
    ("audio/mp4", &["m4a"]),
    ("audio/aac", &["aac"]),
    ("audio/flac", &["flac"]),
    ("audio/ogg", &["ogg", "oga"]),
    ("audio/opus", &["opus"]),
    ("audio/wav", &["wav"]),
    ("audio/webm", &["weba"]),
    ("video/mp4", &["mp4", "m4v"]),
    ("video/webm", &["webm"]),
    ("video/ogg", &["ogv"]),
    ("video/quicktime", &["mov"]),
    ("video/x-matroska", &["mkv"]),
    (PDF, &["pdf"]),
    (TEXT, &["txt", "text", "log", "md", "csv", "tsv", "json", "toml", "yaml", "yml", "ini", "srt", "vtt"]),
    ("image/apng", &["apng"]),
];

const TEXT: &str = "text/plain";
/// PDF, which browsers show with a viewer of their own that a sandbox would stop.
pub(super) const PDF: &str = "application/pdf";

/// As what a browser may show a file: none for one that it must save.
pub(super) fn shown_as(declared: Option<&str>, name: &str) -> Option<&'static str> {
    let declared = declared.unwrap_or_default().split(';').next().unwrap_or_default().trim();
    let declared = declared.to_ascii_lowercase();
    let found = if declared.is_empty() || declared == "application/octet-stream" {
        let (_, ending) = name.rsplit_once('.')?;
        let ending = ending.to_ascii_lowercase();
        SHOWN.iter().find(|(_, endings)| endings.contains(&ending.as_str()))
    } else {
        SHOWN.iter().find(|(kind, _)| *kind == declared)
    };
    // What people write by hand may be in any language.
    found.map(|(kind, _)| if *kind == TEXT { "text/plain; charset=utf-8" } else { kind })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_could_run_is_saved() {
        for (declared, name) in [
            (None, "page.html"),
            (None, "picture.svg"),
            (Some("text/html"), "picture.png"),
            (Some("image/svg+xml"), "picture.png"),
            (Some("text/xml"), "a.txt"),
            (Some("application/xhtml+xml; charset=utf-8"), "a.png"),
            (Some("TEXT/HTML"), "a.txt"),
            (Some("text/javascript"), "a.txt"),
            (None, "noending"),
            (None, "a.png.html"),
            (Some("application/octet-stream"), "a.svg"),
        ] {
            assert_eq!(shown_as(declared, name), None, "{declared:?} {name}");
        }
        assert_eq!(shown_as(None, "Photo.JPEG"), Some("image/jpeg"));
        assert_eq!(shown_as(Some("video/mp4; codecs=x"), "a.html"), Some("video/mp4"));
        assert_eq!(shown_as(Some("application/octet-stream"), "a.md"), Some("text/plain; charset=utf-8"));
    }

    #[test]
    fn names_are_told_in_both_forms() {
        assert_eq!(
            disposition(false, "Brief \"für\" 100%.txt"),
            "attachment; filename=\"Brief _f_r_ 100_.txt\"; filename*=UTF-8''Brief%20%22f%C3%BCr%22%20100%25.txt"
        );
        assert!(disposition(true, "").to_str().unwrap().starts_with("inline; filename=\"drive\""));
    }

    proptest! {
        #[test]
        fn no_name_breaks_out_of_its_header(name in any::<String>()) {
            let text = disposition(false, &name).to_str().unwrap().to_owned();
            let rest = text.strip_prefix("attachment; filename=\"").unwrap();
            let (plain, encoded) = rest.split_once("\"; filename*=UTF-8''").unwrap();
            prop_assert!(!plain.contains(['"', '\\']));
            prop_assert!(!encoded.contains([' ', ';', '"', '\'', ',']));
        }
    }
}
