//! What somebody else's link shows, read by this node itself: no gateway in between has to be trusted.
//!
//! Invariant: links and passwords come in bodies, never in the address of a request, and are not logged.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use axum::routing::post;
use axum::{Json, Router};
use commonhold_client::types::{LinkRequest, Listing};

use crate::api::{ApiFault, ArchiveReader};
use crate::drive::Answer as Later;
use crate::routes::{Answer, Calls, Said, Shared, archive_answer};

/// Reads links. Implemented by the app.
pub trait ReadLinkApi: Send + Sync + 'static {
    /// `POST /v1/links/list`. Codes: `gone` when the link was revoked or has ended, `password` when it needs
    /// one, `forbidden` when the link or the password is wrong, `wrong_role` for a drop box.
    fn list_link(&self, request: LinkRequest) -> Later<'_, Listing>;

    /// `POST /v1/links/archive`: what is at a path below the link, as a tar archive.
    fn link_archive(&self, request: LinkRequest) -> Later<'_, ArchiveReader>;
}

pub(super) fn router() -> Router<Arc<Calls>> {
    Router::new().route("/v1/links/list", post(list)).route("/v1/links/archive", post(archive))
}

async fn list(State(calls): Shared, Said(request): Said<LinkRequest>) -> Answer<Listing> {
    calls.api.list_link(request).await.map(Json)
}

async fn archive(State(calls): Shared, Said(request): Said<LinkRequest>) -> Result<Response, ApiFault> {
    archive_answer(calls.api.link_archive(request).await?).await
}
