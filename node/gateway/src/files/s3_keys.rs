//! Access keys of the S3 interface: what the gateway asks of a node for them, and their endpoints.
//!
//! Invariant: a secret is told once, to whoever had the key made. Not here: where keys are kept, and what
//! they let in.

use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::routing::{delete, get};
use axum::{Json, Router};
use commonhold_client::types::{S3KeyNew, S3KeyRequest, S3KeyView, S3KeysView};

use super::step;
use crate::api::ApiFault;
use crate::drive::Answer as Later;
use crate::routes::{Answer, Calls, NoQuery, Params, Said, Shared};

/// Longest name of a key, bytes.
const NAME_LEN_MAX: usize = 128;

/// The keys that S3 clients show. Implemented by the app.
pub trait S3KeyApi: Send + Sync + 'static {
    /// All of them, oldest first, without their secrets.
    fn s3_keys(&self) -> Later<'_, S3KeysView>;

    /// Makes one. `name` says what it is for, without control characters and at most 128 bytes.
    fn new_s3_key(&self, name: String) -> Later<'_, S3KeyNew>;

    /// Takes one away: it lets nobody in any more. `not_found` when there is none.
    fn remove_s3_key(&self, access_key: String) -> Later<'_, S3KeyView>;
}

pub(super) fn router() -> Router<Arc<Calls>> {
    Router::new().route("/v1/s3/keys", get(keys).post(new)).route("/v1/s3/keys/{access_key}", delete(remove))
}

async fn keys(State(calls): Shared, Params(NoQuery {}): Params<NoQuery>) -> Answer<S3KeysView> {
    calls.api.s3_keys().await.map(Json)
}

async fn new(State(calls): Shared, Said(S3KeyRequest { name }): Said<S3KeyRequest>) -> Answer<S3KeyNew> {
    if name.len() > NAME_LEN_MAX || name.contains(char::is_control) {
        return Err(ApiFault::invalid(format!(
            "the name of a key has at most {NAME_LEN_MAX} bytes and no control characters"
        )));
    }
    calls.change(|api| async move { api.new_s3_key(name).await }).await
}

async fn remove(
    State(calls): Shared,
    access_key: Result<Path<String>, PathRejection>,
    Params(NoQuery {}): Params<NoQuery>,
) -> Answer<S3KeyView> {
    let access_key = step(access_key)?;
    calls.change(|api| async move { api.remove_s3_key(access_key).await }).await
}
