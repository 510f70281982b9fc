//! The page's own files, built into the binary (web/share).
//!
//! Invariant: a file under the bundle's hash never changes, so browsers may keep it for ever; the page and
//! the service worker, whose addresses stay, are asked for again each time.

use std::sync::LazyLock;

use aws_lc_rs::digest::{Context, SHA256};
use axum::http::HeaderValue;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use data_encoding::HEXLOWER;

/// A file's name, type and bytes.
type File = (&'static str, &'static str, &'static [u8]);

const JS: &str = "text/javascript; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const HTML: &str = "text/html; charset=utf-8";
const SVG: &str = "image/svg+xml";

macro_rules! share_file {
    ($name:literal, $kind:expr) => {
        ($name, $kind, include_bytes!(concat!("../../web/share/", $name)) as &[u8])
    };
}

/// What the page loads.
const BUNDLE: &[File] = &[
    ("common.css", CSS, include_bytes!("../../web/common.css")),
    share_file!("share.css", CSS),
    share_file!("views.css", CSS),
    share_file!("icon.svg", SVG),
    share_file!("bytes.js", JS),
    share_file!("cbor.js", JS),
    share_file!("deposit.js", JS),
    share_file!("drive.js", JS),
    share_file!("drop.js", JS),
    share_file!("dropbox.js", JS),
    share_file!("errors.js", JS),
    share_file!("kinds.js", JS),
    share_file!("link.js", JS),
    share_file!("listing.js", JS),
    share_file!("main.js", JS),
    share_file!("objects.js", JS),
    share_file!("seal.js", JS),
    share_file!("session.js", JS),
    share_file!("sha256.js", JS),
    share_file!("source.js", JS),
    share_file!("streams.js", JS),
    share_file!("transfers.js", JS),
    share_file!("ui.js", JS),
    share_file!("viewer.js", JS),
    share_file!("worker.js", JS),
    share_file!("zip.js", JS),
];

const PAGE: &str = include_str!("../../web/share/index.html");
const SERVICE_WORKER: &str = include_str!("../../web/share/sw.js");
/// Stands in the page for the bundle's hash.
const PLACE_OF_HASH: &str = "{BUNDLE}";

/// The first 16 bytes of SHA-256 over all files' names and bytes.
static HASH: LazyLock<String> = LazyLock::new(|| {
    let mut all = Context::new(&SHA256);
    for (name, _, bytes) in BUNDLE {
        all.update(name.as_bytes());
        all.update(&(bytes.len() as u64).to_be_bytes());
        all.update(bytes);
    }
    HEXLOWER.encode(&all.finish().as_ref()[..16])
});

static PAGE_WITH_HASH: LazyLock<String> = LazyLock::new(|| PAGE.replace(PLACE_OF_HASH, &HASH));

/// The page.
pub(super) fn page() -> Response {
    let headers = [(CONTENT_TYPE, HTML), (CACHE_CONTROL, "no-cache")];
    (headers, PAGE_WITH_HASH.as_str()).into_response()
}

/// The service worker. It stands where its scope begins.
pub(super) fn service_worker() -> Response {
    let headers = [(CONTENT_TYPE, JS), (CACHE_CONTROL, "no-cache")];
    (headers, SERVICE_WORKER).into_response()
}

/// A file of the bundle with this hash.
pub(super) fn bundled(hash: &str, name: &str) -> Option<Response> {
    let (_, kind, bytes) = BUNDLE.iter().find(|(file, ..)| *file == name)?;
    if hash != *HASH {
        return None;
    }
    let mut response = (*bytes).into_response();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("public, max-age=31536000, immutable"));
    Some(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_that_the_page_has_is_built_in_and_found() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/web/share");
        let mut names: Vec<String> = std::fs::read_dir(folder)
            .expect("the folder is there")
            .map(|entry| entry.expect("it can be read").file_name().to_string_lossy().into_owned())
            .filter(|name| name != "index.html" && name != "sw.js")
            .chain(["common.css".to_owned()])
            .collect();
        names.sort();
        let mut built: Vec<_> = BUNDLE.iter().map(|(name, ..)| (*name).to_owned()).collect();
        built.sort();
        assert_eq!(names, built);
        assert!(names.iter().all(|name| bundled(&HASH, name).is_some()));
        assert!(bundled("0", "main.js").is_none() && bundled(&HASH, "x.js").is_none());
    }

    #[test]
    fn attack_23_the_page_has_no_inline_code_and_asks_nobody_else() {
        assert!(!PAGE_WITH_HASH.contains(PLACE_OF_HASH));
        let html = PAGE_WITH_HASH.to_ascii_lowercase();
        for refused in ["<style", "style=", "onclick", "onload", "javascript:", "://", "<base", "<iframe"] {
            assert!(!html.contains(refused), "{refused}");
        }
        assert_eq!(html.matches("<script").count(), html.matches("<script type=\"module\" src=\"_/").count());
        for (name, kind, bytes) in BUNDLE {
            let text = String::from_utf8_lossy(bytes);
            for refused in
                ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function"]
            {
                assert!(*kind != JS || !text.contains(refused), "{name}: {refused}");
            }
        }
    }
}
