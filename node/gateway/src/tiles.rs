//! A node's ledger over HTTP, for anybody: the checkpoint and the tiles of C2SP tlog-tiles
//! (<https://c2sp.org/tlog-tiles>; spec/ledger.md, "Over HTTP").
//!
//! Invariant: only what others may see is asked for and answered, by GET alone, with nothing of the
//! local API behind it. Connections are bounded as those of the local API. Not here: TLS, for which an
//! operator puts a web server in front.

use std::future::Future;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use commonhold_format::log::TileId;
use futures::future::BoxFuture;
use tokio::net::TcpListener;

use crate::counts::RequestCounts;
use crate::server::Doors;

/// What a ledger shows to everybody.
pub trait LedgerPages: Send + Sync + 'static {
    /// The note of the published head, with its cosignatures.
    fn checkpoint(&self) -> BoxFuture<'_, Result<Vec<u8>, String>>;

    /// Hashes of a tile or a bundle of entries; `None` where the published ledger does not reach so far.
    fn tile(&self, tile: TileId) -> BoxFuture<'_, Result<Option<Vec<u8>>, String>>;
}

type Pages = State<Arc<dyn LedgerPages>>;

/// Serves a ledger on `listener`, on whatever address that is, until `shutdown` completes.
pub async fn serve_ledger(
    listener: TcpListener,
    pages: Arc<dyn LedgerPages>,
    counts: Arc<RequestCounts>,
    shutdown: impl Future<Output = ()>,
) {
    let app = Router::new()
        .route("/checkpoint", get(checkpoint))
        .route("/tile/{*path}", get(tile))
        .with_state(pages);
    Doors::default().counting(counts).open(listener, app, shutdown).await;
}

async fn checkpoint(State(pages): Pages) -> Response {
    match pages.checkpoint().await {
        Ok(note) => {
            let headers =
                [(header::CONTENT_TYPE, "text/plain; charset=utf-8"), (header::CACHE_CONTROL, "no-cache")];
            (headers, note).into_response()
        }
        Err(why) => failed(&why),
    }
}

async fn tile(State(pages): Pages, Path(path): Path<String>) -> Response {
    let Ok(tile) = format!("tile/{path}").parse::<TileId>() else {
        return missing("not the path of a tile\n");
    };
    match pages.tile(tile).await {
        Ok(Some(bytes)) => {
            let headers = [
                (header::CONTENT_TYPE, "application/octet-stream"),
                (header::CACHE_CONTROL, "public, max-age=31536000, immutable"),
            ];
            (headers, bytes).into_response()
        }
        Ok(None) => missing("the ledger does not reach so far\n"),
        Err(why) => failed(&why),
    }
}

/// What is not there now may be there a moment later, so nobody in between is to keep the answer.
fn missing(why: &'static str) -> Response {
    (StatusCode::NOT_FOUND, [(header::CACHE_CONTROL, "no-store")], why).into_response()
}

fn failed(why: &str) -> Response {
    tracing::error!(why, "the ledger could not be shown");
    (StatusCode::INTERNAL_SERVER_ERROR, "the ledger cannot be read\n").into_response()
}
