//! The owner's web app: its files, which are part of the program, and the headers that confine it.
//!
//! Invariant: these files are the same for everybody and hold no secret, so they need no token, but the
//! right Host and no foreign Origin like everything else; what they then ask of the API needs the token. A
//! page can run only the scripts that stand here, and talk only to this API. Not here: the share page,
//! which others may open ([`share`](crate::share)).

use std::sync::Arc;

use axum::Router;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request};
use axum::http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, ORIGIN, REFERRER_POLICY};
use axum::http::{HeaderValue, Method};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use crate::api::ApiFault;
use crate::routes::{Calls, NoQuery, Params};

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";

/// Where the files are served.
const PREFIX: &str = "/app/";

/// What the page may do: run and load what stands here, show pictures and play what comes from this API.
/// Trusted types without a policy: nothing in it can turn a text into markup or script.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
     media-src 'self'; connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'; \
     require-trusted-types-for 'script'; trusted-types 'none'";

macro_rules! files {
    ($($name:literal $kind:ident $path:literal),* $(,)?) => {
        &[$(($name, $kind, include_str!(concat!("../web/", $path)))),*]
    };
}

/// Name below `/app/`, content type, content.
const FILES: &[(&str, &str, &str)] = files![
    "index.html" HTML "app/index.html",
    "icon.svg" SVG "app/icon.svg",
    "common.css" CSS "common.css",
    "frame.css" CSS "app/frame.css",
    "lists.css" CSS "app/lists.css",
    "overlays.css" CSS "app/overlays.css",
    "views.css" CSS "app/views.css",
    "dialogs.css" CSS "app/dialogs.css",
    "narrow.css" CSS "app/narrow.css",
    "actions.js" SCRIPT "app/actions.js",
    "api.js" SCRIPT "app/api.js",
    "binview.js" SCRIPT "app/binview.js",
    "credits.js" SCRIPT "app/credits.js",
    "details.js" SCRIPT "app/details.js",
    "dom.js" SCRIPT "app/dom.js",
    "downloads.js" SCRIPT "app/downloads.js",
    "dropping.js" SCRIPT "app/dropping.js",
    "entries.js" SCRIPT "app/entries.js",
    "files.js" SCRIPT "app/files.js",
    "format.js" SCRIPT "app/format.js",
    "grid.js" SCRIPT "app/grid.js",
    "health.js" SCRIPT "app/health.js",
    "help.js" SCRIPT "app/help.js",
    "main.js" SCRIPT "app/main.js",
    "md5.js" SCRIPT "app/md5.js",
    "nodeview.js" SCRIPT "app/nodeview.js",
    "overlay.js" SCRIPT "app/overlay.js",
    "page.js" SCRIPT "app/page.js",
    "picker.js" SCRIPT "app/picker.js",
    "preview.js" SCRIPT "app/preview.js",
    "qr.js" SCRIPT "app/qr.js",
    "router.js" SCRIPT "app/router.js",
    "search.js" SCRIPT "app/search.js",
    "share.js" SCRIPT "app/share.js",
    "sharesview.js" SCRIPT "app/sharesview.js",
    "transfers.js" SCRIPT "app/transfers.js",
    "transfersview.js" SCRIPT "app/transfersview.js",
    "versions.js" SCRIPT "app/versions.js",
];

/// The page at `/` and its files.
pub(crate) fn router() -> Router<Arc<Calls>> {
    Router::new().route("/", get(index)).route("/app/{file}", get(file))
}

/// Whether a request is for one of the app's files, which need no token. It says nothing about whether
/// there is one: what is not there is told as such, and there is no secret about it.
pub(crate) fn is_for_app(request: &Request) -> bool {
    let path = request.uri().path();
    *request.method() == Method::GET && (path == "/" || path.starts_with(PREFIX))
}

/// Whether a browser goes to the app's page as to a page of its own: by a link, from a bookmark, from the
/// file that `commonhold web --open` writes. The page holds no secret, cannot be framed, and shares no
/// window with the one it was opened from.
pub(crate) fn is_visit(request: &Request) -> bool {
    let says = |name: &str, what: &str| {
        let mut values = request.headers().get_all(name).iter();
        values.next().is_some_and(|value| value.as_bytes() == what.as_bytes()) && values.next().is_none()
    };
    *request.method() == Method::GET
        && request.uri().path() == "/"
        && !request.headers().contains_key(ORIGIN)
        && says("sec-fetch-mode", "navigate")
        && says("sec-fetch-dest", "document")
}

async fn index(Params(NoQuery {}): Params<NoQuery>) -> Result<Response, ApiFault> {
    find("index.html")
}

async fn file(
    name: Result<Path<String>, PathRejection>,
    Params(NoQuery {}): Params<NoQuery>,
) -> Result<Response, ApiFault> {
    let Path(name) = name.map_err(|refused| ApiFault::invalid(refused.body_text()))?;
    find(&name)
}

fn find(name: &str) -> Result<Response, ApiFault> {
    let (_, kind, content) = FILES
        .iter()
        .find(|(it, ..)| *it == name)
        .ok_or_else(|| ApiFault::not_found("the web app has no such file"))?;
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static(kind)),
        (CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY)),
        (REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
        (HeaderName::from_static("cross-origin-opener-policy"), HeaderValue::from_static("same-origin")),
        (
            HeaderName::from_static("permissions-policy"),
            HeaderValue::from_static("camera=(), geolocation=(), microphone=(), payment=(), usb=()"),
        ),
    ];
    Ok((headers, *content).into_response())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_file_of_the_folder_is_served_and_every_import_is_there() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("web/app");
        let there: BTreeSet<String> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .chain(["common.css".to_owned()])
            .collect();
        let served: BTreeSet<String> = FILES.iter().map(|(name, ..)| (*name).to_owned()).collect();
        assert_eq!(there, served);
        for (name, kind, content) in FILES {
            if *kind == SCRIPT {
                for from in content.split(" from \"./").skip(1).filter_map(|rest| rest.split('"').next()) {
                    assert!(served.contains(from), "{name} imports {from}");
                }
            }
        }
    }

    /// What the policy would stop at run time, and what would make it worthless, is found here.
    #[test]
    fn attack_23_no_script_turns_a_text_into_markup() {
        for (name, kind, content) in FILES {
            for banned in [
                "innerHTML",
                "outerHTML",
                "insertAdjacentHTML",
                "document.write",
                "eval(",
                "new Function",
                "srcdoc",
            ] {
                assert!(!content.contains(banned), "{name} has {banned}");
            }
            if *kind == HTML {
                for banned in [" style=", " onload=", " onclick=", "javascript:", "<style", "<script>"] {
                    assert!(!content.contains(banned), "{name} has {banned}");
                }
            }
        }
        assert!(!POLICY.contains("unsafe") && !POLICY.contains('*'));
    }
}
