//! Endpoints for policy plugins, and what they ask of a node.
//!
//! Invariant: a plugin's name that reaches the node is one step of a path; a plugin's file is bounded
//! before it is looked at. Not here: whom to trust, and what is loaded.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::routing::{delete, get, post};
use axum::{Json, Router};
use commonhold_client::types::{
    InstallOptions, PLUGIN_CONFIG_LEN_MAX, PLUGIN_LEN_MAX, PluginChanged, PluginInstalled,
    PluginReloadRequest, PluginSetRequest, PluginsView,
};
use commonhold_format::ids::PartyId;
use commonhold_format::policy::Kind;
use commonhold_format::statement::{Capability, is_policy_name};
use futures::future::BoxFuture;

use crate::api::ApiFault;
use crate::routes::{Answer, Calls, NoQuery, Params, Said, Shared, body, parsed};
use crate::upload;

/// How a plugin is installed, checked.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Install {
    /// An author to trust for this plugin.
    pub author: Option<PartyId>,
    /// Take one that nobody signed.
    pub unsigned: bool,
    /// Load every change of its file.
    pub follow: bool,
    /// Put an older version in the place of a newer one.
    pub downgrade: bool,
    /// What is granted; `None` for what was granted before.
    pub grant: Option<BTreeSet<Capability>>,
    /// What is set.
    pub config: BTreeMap<String, String>,
}

/// A plugin by its name, or the one of a kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Named {
    /// The plugin with this name, which is one step of a path.
    Plugin(String),
    /// Whichever is enabled for it.
    Kind(Kind),
}

/// Changes to what is set for a plugin: a value, or `None` to take it away.
pub type Settings = BTreeMap<String, Option<String>>;

/// What a node does with plugins for its operator. All changes, once begun, are polled to their end.
pub trait PluginApi: Send + Sync + 'static {
    /// `GET /v1/plugins`.
    fn plugins(&self) -> BoxFuture<'_, Result<PluginsView, ApiFault>>;

    /// `POST /v1/plugins?…`: `file` has at most [`PLUGIN_LEN_MAX`] bytes.
    fn install_plugin(
        &self,
        file: Vec<u8>,
        install: Install,
    ) -> BoxFuture<'_, Result<PluginInstalled, ApiFault>>;

    /// `POST /v1/plugins/{name}/enable`.
    fn enable_plugin(
        &self,
        name: String,
        settings: Settings,
    ) -> BoxFuture<'_, Result<PluginChanged, ApiFault>>;

    /// `POST /v1/plugins/{name}/disable`; a kind is a name here.
    fn disable_plugin(&self, named: Named) -> BoxFuture<'_, Result<PluginChanged, ApiFault>>;

    /// `POST /v1/plugins/{name}/set`.
    fn set_plugin(&self, name: String, settings: Settings) -> BoxFuture<'_, Result<PluginChanged, ApiFault>>;

    /// `DELETE /v1/plugins/{name}`.
    fn remove_plugin(&self, name: String) -> BoxFuture<'_, Result<PluginChanged, ApiFault>>;

    /// `POST /v1/plugins/reload`: one of them, or all that are enabled.
    fn reload_plugins(&self, name: Option<String>) -> BoxFuture<'_, Result<PluginChanged, ApiFault>>;
}

/// The endpoints.
pub(crate) fn router() -> Router<Arc<Calls>> {
    Router::new()
        .route("/v1/plugins", get(list).post(install))
        .route("/v1/plugins/reload", post(reload))
        .route("/v1/plugins/{name}", delete(remove))
        .route("/v1/plugins/{name}/enable", post(enable))
        .route("/v1/plugins/{name}/disable", post(disable))
        .route("/v1/plugins/{name}/set", post(set))
}

async fn list(State(calls): Shared, Params(NoQuery {}): Params<NoQuery>) -> Answer<PluginsView> {
    calls.api.plugins().await.map(Json)
}

async fn install(
    State(calls): Shared,
    Params(options): Params<InstallOptions>,
    request: Request,
) -> Answer<PluginInstalled> {
    let install = checked(options)?;
    let kind = request.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    if !kind.trim().eq_ignore_ascii_case("application/wasm") {
        return Err(ApiFault::invalid("the body must be a plugin, with Content-Type: application/wasm"));
    }
    let api = calls.api.clone();
    let change = async move {
        // Read here, so that no more of them are held in memory than changes may run.
        let file = upload::read_whole(request.into_body(), PLUGIN_LEN_MAX).await?;
        api.install_plugin(file, install).await
    };
    calls.complete(change).await
}

async fn enable(
    State(calls): Shared,
    name: Result<Path<String>, PathRejection>,
    Params(NoQuery {}): Params<NoQuery>,
    request: Request,
) -> Answer<PluginChanged> {
    let name = plugin_name(name)?;
    let PluginSetRequest { config } = body(request).await?;
    calls.change(|api| async move { api.enable_plugin(name, config).await }).await
}

async fn disable(
    State(calls): Shared,
    name: Result<Path<String>, PathRejection>,
    Params(NoQuery {}): Params<NoQuery>,
) -> Answer<PluginChanged> {
    let name = plugin_name(name)?;
    let named = name.parse().map_or(Named::Plugin(name), Named::Kind);
    calls.change(|api| async move { api.disable_plugin(named).await }).await
}

async fn set(
    State(calls): Shared,
    name: Result<Path<String>, PathRejection>,
    Params(NoQuery {}): Params<NoQuery>,
    request: Request,
) -> Answer<PluginChanged> {
    let name = plugin_name(name)?;
    let PluginSetRequest { config } = body(request).await?;
    calls.change(|api| async move { api.set_plugin(name, config).await }).await
}

async fn remove(
    State(calls): Shared,
    name: Result<Path<String>, PathRejection>,
    Params(NoQuery {}): Params<NoQuery>,
) -> Answer<PluginChanged> {
    let name = plugin_name(name)?;
    calls.change(|api| async move { api.remove_plugin(name).await }).await
}

async fn reload(
    State(calls): Shared,
    Said(PluginReloadRequest { name }): Said<PluginReloadRequest>,
) -> Answer<PluginChanged> {
    let name = name.map(strict_name).transpose()?;
    calls.change(|api| async move { api.reload_plugins(name).await }).await
}

fn checked(options: InstallOptions) -> Result<Install, ApiFault> {
    let InstallOptions { author, unsigned, follow, downgrade, grant, config } = options;
    let capabilities = |grant: String| {
        let words = grant.split(',').filter(|word| !word.is_empty());
        words.map(|word| parsed("grant", word)).collect::<Result<BTreeSet<Capability>, _>>()
    };
    let config = match config {
        Some(config) if config.len() > PLUGIN_CONFIG_LEN_MAX => {
            let (len, max) = (config.len(), PLUGIN_CONFIG_LEN_MAX);
            return Err(ApiFault::invalid(format!("config has {len} bytes, and {max} is the most")));
        }
        Some(config) => serde_json::from_str(&config)
            .map_err(|error| ApiFault::invalid(format!("config is no JSON object of texts: {error}")))?,
        None => BTreeMap::new(),
    };
    Ok(Install {
        author: author.map(|author| parsed("author", &author)).transpose()?,
        unsigned,
        follow,
        downgrade,
        grant: grant.map(capabilities).transpose()?,
        config,
    })
}

fn plugin_name(name: Result<Path<String>, PathRejection>) -> Result<String, ApiFault> {
    let Path(name) = name.map_err(|refused| ApiFault::invalid(refused.body_text()))?;
    strict_name(name)
}

fn strict_name(name: String) -> Result<String, ApiFault> {
    if is_policy_name(&name) {
        return Ok(name);
    }
    Err(ApiFault::invalid("the name of a plugin is 1 to 40 of a-z, 0-9 and -, a letter first"))
}
