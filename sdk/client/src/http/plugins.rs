//! Calls about policy plugins.

use reqwest::Method;
use reqwest::header::CONTENT_TYPE;

use super::{BOOK_TIMEOUT, Client, ClientError, json};
use crate::types::{
    InstallOptions, PluginChanged, PluginInstalled, PluginReloadRequest, PluginSetRequest, PluginsView,
};

impl Client {
    /// `GET /v1/plugins`: who decides, and which plugins are installed.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn plugins(&self) -> Result<PluginsView, ClientError> {
        json(self.call(Method::GET, &["plugins"]).timeout(BOOK_TIMEOUT)).await
    }

    /// `POST /v1/plugins`: installs a plugin, of which `file` are the bytes.
    ///
    /// # Errors
    /// See [`ClientError`]; code `plugin_refused` says why it was not taken.
    pub async fn install_plugin(
        &self,
        file: Vec<u8>,
        options: &InstallOptions,
    ) -> Result<PluginInstalled, ClientError> {
        let call = self.call(Method::POST, &["plugins"]).query(options);
        json(call.header(CONTENT_TYPE, "application/wasm").body(file)).await
    }

    /// `POST /v1/plugins/{name}/enable`: lets it decide from now on.
    ///
    /// # Errors
    /// See [`ClientError`]; code `not_found` when it is not installed.
    pub async fn enable_plugin(
        &self,
        name: &str,
        settings: &PluginSetRequest,
    ) -> Result<PluginChanged, ClientError> {
        json(self.call(Method::POST, &["plugins", name, "enable"]).json(settings)).await
    }

    /// `POST /v1/plugins/{name}/disable`: lets the default decide again; `name` may be a kind.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn disable_plugin(&self, name: &str) -> Result<PluginChanged, ClientError> {
        json(self.call(Method::POST, &["plugins", name, "disable"])).await
    }

    /// `POST /v1/plugins/{name}/set`: changes what is set for it.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn set_plugin(
        &self,
        name: &str,
        settings: &PluginSetRequest,
    ) -> Result<PluginChanged, ClientError> {
        json(self.call(Method::POST, &["plugins", name, "set"]).json(settings)).await
    }

    /// `DELETE /v1/plugins/{name}`: removes it with all that it remembers.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn remove_plugin(&self, name: &str) -> Result<PluginChanged, ClientError> {
        json(self.call(Method::DELETE, &["plugins", name])).await
    }

    /// `POST /v1/plugins/reload`: reads one plugin, or all that are enabled, from disk again.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn reload_plugins(&self, name: Option<&str>) -> Result<PluginChanged, ClientError> {
        let request = PluginReloadRequest { name: name.map(str::to_owned) };
        json(self.call(Method::POST, &["plugins", "reload"]).json(&request)).await
    }
}
