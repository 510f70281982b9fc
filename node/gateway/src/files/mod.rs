//! The endpoints of the drive: listings, changes of the tree, versions, the bin, other histories, links.
//!
//! Invariant: as in [`routes`](crate::routes): each request is checked whole before the drive is asked, and
//! each change goes on to its end. Not here: bytes of files (`content`), uploads in parts (`uploads`),
//! what a browser fetches without the token (`tickets`) and how far it is (`downloads`), keys of S3
//! (`s3_keys`).

mod content;
mod downloads;
pub(crate) mod links;
mod names;
pub(crate) mod s3_keys;
pub(crate) mod tickets;
mod uploads;

use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::routing::{delete, get, post};
use axum::{Json, Router};
use commonhold_client::types::{
    BinEmptied, BinEmptyRequest, BinRestoreRequest, BinView, CheckReport, CheckRequest, Done, FileInfo,
    FolderRequest, ForkRequest, Found, HeadsView, LIST_DEFAULT, LIST_MAX, Listing, Merged, MoveRequest,
    Removed, RestoreVersionRequest, ShareRequest, ShareView, SharesView, UsageView, VersionsView,
};
use serde::Deserialize;

use crate::api::ApiFault;
use crate::drive::{RemovedTo, Replaced};
use crate::routes::{Answer, Calls, NoQuery, Params, Said, Shared, bounded};

/// All endpoints of the drive.
pub(crate) fn router() -> Router<Arc<Calls>> {
    Router::new()
        .route("/v1/files", get(list).delete(remove))
        .route("/v1/files/info", get(info))
        .route("/v1/files/find", get(find))
        .route("/v1/files/usage", get(usage))
        .route("/v1/files/move", post(move_to))
        .route("/v1/files/copy", post(copy_to))
        .route("/v1/folders", post(make_folder))
        .route("/v1/versions", get(versions).delete(remove_version))
        .route("/v1/versions/restore", post(restore_version))
        .route("/v1/bin", get(bin))
        .route("/v1/bin/restore", post(restore_from_bin))
        .route("/v1/bin/empty", post(empty_bin))
        .route("/v1/drive/heads", get(heads))
        .route("/v1/drive/merge", post(merge))
        .route("/v1/drive/forget", post(forget))
        .route("/v1/drive/begin", post(begin))
        .route("/v1/drive/check", post(check))
        .route("/v1/shares", get(shares).post(share))
        .route("/v1/shares/{id}", delete(unshare))
        .merge(content::router())
        .merge(links::router())
        .merge(uploads::router())
        .merge(tickets::router())
        .merge(downloads::router())
        .merge(s3_keys::router())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PathQuery {
    path: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ListQuery {
    path: String,
    after: Option<String>,
    limit: Option<usize>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FindQuery {
    path: String,
    name: Option<String>,
    after: Option<String>,
    limit: Option<usize>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct UsageQuery {
    path: String,
    #[serde(default)]
    children: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RemoveQuery {
    path: String,
    #[serde(default)]
    forever: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct VersionQuery {
    path: String,
    version: u64,
}

/// How many entries are answered.
fn limit(asked: Option<usize>) -> Result<usize, ApiFault> {
    match asked.unwrap_or(LIST_DEFAULT) {
        limit @ 1..=LIST_MAX => Ok(limit),
        limit => Err(ApiFault::invalid(format!("limit is {limit}, and 1 to {LIST_MAX} can be asked for"))),
    }
}

/// A step of the endpoint's own path.
fn step(step: Result<Path<String>, PathRejection>) -> Result<String, ApiFault> {
    let Path(step) = step.map_err(|refused| ApiFault::invalid(refused.body_text()))?;
    bounded("a step of the path", step)
}

async fn list(State(calls): Shared, Params(query): Params<ListQuery>) -> Answer<Listing> {
    let path = bounded("path", query.path)?;
    let after = query.after.map(|after| bounded("after", after)).transpose()?;
    calls.api.list_page(path, after, limit(query.limit)?).await.map(Json)
}

async fn info(State(calls): Shared, Params(query): Params<PathQuery>) -> Answer<FileInfo> {
    calls.api.info(bounded("path", query.path)?).await.map(Json)
}

async fn find(State(calls): Shared, Params(query): Params<FindQuery>) -> Answer<Found> {
    let path = bounded("path", query.path)?;
    let name = query.name.map(|name| bounded("name", name)).transpose()?;
    let after = query.after.map(|after| bounded("after", after)).transpose()?;
    calls.api.find(path, name, after, limit(query.limit)?).await.map(Json)
}

async fn usage(State(calls): Shared, Params(query): Params<UsageQuery>) -> Answer<UsageView> {
    calls.api.usage(bounded("path", query.path)?, query.children).await.map(Json)
}

async fn remove(State(calls): Shared, Params(query): Params<RemoveQuery>) -> Answer<Removed> {
    let path = bounded("path", query.path)?;
    let to = if query.forever { RemovedTo::Nowhere } else { RemovedTo::Bin };
    calls.change(|api| async move { api.remove_to(path, to).await }).await
}

async fn make_folder(
    State(calls): Shared,
    Said(FolderRequest { path }): Said<FolderRequest>,
) -> Answer<FileInfo> {
    let path = bounded("path", path)?;
    calls.change(|api| async move { api.make_folder(path).await }).await
}

/// The two paths of a move or copy.
fn two_paths(MoveRequest { from, to, replace }: MoveRequest) -> Result<MoveRequest, ApiFault> {
    Ok(MoveRequest { from: bounded("from", from)?, to: bounded("to", to)?, replace })
}

async fn move_to(State(calls): Shared, Said(request): Said<MoveRequest>) -> Answer<FileInfo> {
    let request = two_paths(request)?;
    calls.change(|api| async move { api.move_to(request).await }).await
}

async fn copy_to(State(calls): Shared, Said(request): Said<MoveRequest>) -> Answer<FileInfo> {
    let request = two_paths(request)?;
    calls.change(|api| async move { api.copy_to(request, None, None, Replaced::Kept).await }).await
}

async fn versions(State(calls): Shared, Params(query): Params<PathQuery>) -> Answer<VersionsView> {
    calls.api.versions(bounded("path", query.path)?).await.map(Json)
}

async fn restore_version(
    State(calls): Shared,
    Said(RestoreVersionRequest { path, version }): Said<RestoreVersionRequest>,
) -> Answer<FileInfo> {
    let request = RestoreVersionRequest { path: bounded("path", path)?, version };
    calls.change(|api| async move { api.restore_version(request).await }).await
}

async fn remove_version(State(calls): Shared, Params(query): Params<VersionQuery>) -> Answer<Done> {
    let path = bounded("path", query.path)?;
    calls.change(|api| async move { api.remove_version(path, query.version).await.map(|()| Done {}) }).await
}

async fn bin(State(calls): Shared, Params(NoQuery {}): Params<NoQuery>) -> Answer<BinView> {
    calls.api.bin().await.map(Json)
}

async fn restore_from_bin(
    State(calls): Shared,
    Said(BinRestoreRequest { id, to }): Said<BinRestoreRequest>,
) -> Answer<FileInfo> {
    let to = to.map(|to| bounded("to", to)).transpose()?;
    let request = BinRestoreRequest { id: bounded("id", id)?, to };
    calls.change(|api| async move { api.restore_from_bin(request).await }).await
}

async fn empty_bin(State(calls): Shared, Said(request): Said<BinEmptyRequest>) -> Answer<BinEmptied> {
    calls.change(|api| async move { api.empty_bin(request).await }).await
}

async fn heads(State(calls): Shared, Params(NoQuery {}): Params<NoQuery>) -> Answer<HeadsView> {
    calls.api.heads().await.map(Json)
}

/// The beginning of another history's hash.
fn fork(ForkRequest { hash }: ForkRequest) -> Result<String, ApiFault> {
    let digits = hash.bytes().all(|it| matches!(it, b'0'..=b'9' | b'a'..=b'f'));
    if digits && (8..=64).contains(&hash.len()) {
        Ok(hash)
    } else {
        Err(ApiFault::invalid("a history is named by at least 8 of its 64 lower-case hexadecimal digits"))
    }
}

async fn merge(State(calls): Shared, Said(request): Said<ForkRequest>) -> Answer<Merged> {
    let hash = fork(request)?;
    calls.change(|api| async move { api.merge(hash).await }).await
}

async fn forget(State(calls): Shared, Said(request): Said<ForkRequest>) -> Answer<Done> {
    let hash = fork(request)?;
    calls.change(|api| async move { api.forget(hash).await.map(|()| Done {}) }).await
}

async fn begin(State(calls): Shared, Params(NoQuery {}): Params<NoQuery>) -> Answer<Done> {
    calls.change(|api| async move { api.begin().await.map(|()| Done {}) }).await
}

async fn check(
    State(calls): Shared,
    Said(CheckRequest { path, repair }): Said<CheckRequest>,
) -> Answer<CheckReport> {
    let path = path.map(|path| bounded("path", path)).transpose()?;
    let request = CheckRequest { path, repair };
    if request.repair {
        return calls.change(|api| async move { api.check_drive(request).await }).await;
    }
    // Changes nothing, so it ends when nobody waits for it any more.
    calls.api.check_drive(request).await.map(Json)
}

async fn shares(State(calls): Shared, Params(NoQuery {}): Params<NoQuery>) -> Answer<SharesView> {
    calls.api.shares().await.map(Json)
}

async fn share(
    State(calls): Shared,
    Said(ShareRequest { path, expires_seconds, password, drop_box, base }): Said<ShareRequest>,
) -> Answer<ShareView> {
    let path = bounded("path", path)?;
    let base = base.map(|base| bounded("base", base)).transpose()?;
    let request = ShareRequest { path, expires_seconds, password, drop_box, base };
    calls.change(|api| async move { api.share(request).await }).await
}

async fn unshare(
    State(calls): Shared,
    id: Result<Path<String>, PathRejection>,
    Params(NoQuery {}): Params<NoQuery>,
) -> Answer<ShareView> {
    let id = step(id)?;
    calls.change(|api| async move { api.unshare(id).await }).await
}
