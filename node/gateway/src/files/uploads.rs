//! Files that come in parts, so that a transfer that was interrupted goes on where it was.
//!
//! Invariant: a part that is answered for is stored; a file shows in the drive only once it is complete.

use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::routing::{get, post, put};
use axum::{Json, Router};
use commonhold_client::types::{
    CompleteRequest, Done, FileInfo, PartView, UploadRequest, UploadView, UploadsView,
};

use super::content::announced_len;
use super::step;
use crate::api::ApiFault;
use crate::drive::{OnlyIf, Replaced};
use crate::routes::{Answer, Calls, NoQuery, Params, Said, Shared, body, bounded};
use crate::upload::{self, STALL_MAX};

/// Highest number of a part.
const PART_NUMBER_MAX: u32 = 10_000;
/// What the attributes that only an upload has begin with.
const UPLOAD_KEYS: &str = "upload-";

pub(super) fn router() -> Router<Arc<Calls>> {
    Router::new()
        .route("/v1/uploads", get(uploads).post(begin))
        .route("/v1/uploads/{id}", get(one).delete(abort))
        .route("/v1/uploads/{id}/parts/{number}", put(part))
        .route("/v1/uploads/{id}/complete", post(complete))
}

async fn uploads(State(calls): Shared, Params(NoQuery {}): Params<NoQuery>) -> Answer<UploadsView> {
    calls.api.uploads().await.map(Json)
}

async fn begin(
    State(calls): Shared,
    Said(UploadRequest { path, attributes }): Said<UploadRequest>,
) -> Answer<UploadView> {
    let request = UploadRequest { path: bounded("path", path)?, attributes };
    calls.change(|api| async move { api.begin_upload(request).await }).await
}

async fn one(
    State(calls): Shared,
    id: Result<Path<String>, PathRejection>,
    Params(NoQuery {}): Params<NoQuery>,
) -> Answer<UploadView> {
    calls.api.upload(step(id)?).await.map(Json)
}

async fn abort(
    State(calls): Shared,
    id: Result<Path<String>, PathRejection>,
    Params(NoQuery {}): Params<NoQuery>,
) -> Answer<Done> {
    let id = step(id)?;
    calls.change(|api| async move { api.abort_upload(id).await.map(|()| Done {}) }).await
}

async fn part(
    State(calls): Shared,
    steps: Result<Path<(String, String)>, PathRejection>,
    Params(NoQuery {}): Params<NoQuery>,
    request: Request,
) -> Answer<PartView> {
    let Path((id, number)) = steps.map_err(|refused| ApiFault::invalid(refused.body_text()))?;
    let id = bounded("the upload", id)?;
    let number = number.parse().ok().filter(|number| (1..=PART_NUMBER_MAX).contains(number));
    let number =
        number.ok_or_else(|| ApiFault::invalid(format!("parts have the numbers 1 to {PART_NUMBER_MAX}")))?;
    let len = announced_len(request.headers())?;
    let content = upload::reader(request.into_body(), STALL_MAX);
    calls.change(|api| async move { api.store_part(id, number, len, content).await }).await
}

async fn complete(
    State(calls): Shared,
    id: Result<Path<String>, PathRejection>,
    Params(NoQuery {}): Params<NoQuery>,
    request: Request,
) -> Answer<FileInfo> {
    let id = step(id)?;
    let request: CompleteRequest = body(request).await?;
    if request.parts.is_empty() || !request.parts.is_sorted_by(|one, next| one < next) {
        return Err(ApiFault::invalid("the numbers of the parts must ascend, and there must be one"));
    }
    let api = calls.api.clone();
    let done = async move {
        let mut attributes = api.upload(id.clone()).await?.attributes;
        attributes.retain(|key, _| !key.starts_with(UPLOAD_KEYS));
        api.complete_upload(id, request, attributes, OnlyIf::Always, Replaced::Kept).await
    };
    calls.complete(done).await
}
