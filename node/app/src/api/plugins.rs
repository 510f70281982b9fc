//! Plugins through the local API: each call goes to the manager, off the API's threads.

use commonhold_client::types::{PluginChanged, PluginInstalled, PluginsView};
use commonhold_gateway::{Install, Named, PluginApi, Settings};

use super::{Answer, Api, blocking, fault};
use crate::plugins::{PluginError, Plugins};

impl Api {
    fn with_plugins<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Plugins) -> Result<T, PluginError> + Send + 'static,
    ) -> Answer<'_, T> {
        let plugins = self.plugins.clone();
        Box::pin(async move {
            let done = blocking(move || work(&plugins)).await?;
            done.map_err(|error| fault(error.code(), error.to_string()))
        })
    }
}

impl PluginApi for Api {
    fn plugins(&self) -> Answer<'_, PluginsView> {
        self.with_plugins(Plugins::view)
    }

    fn install_plugin(&self, file: Vec<u8>, install: Install) -> Answer<'_, PluginInstalled> {
        self.with_plugins(move |plugins| plugins.install(&file, &install))
    }

    fn enable_plugin(&self, name: String, settings: Settings) -> Answer<'_, PluginChanged> {
        self.with_plugins(move |plugins| plugins.enable(&name, &settings))
    }

    fn disable_plugin(&self, named: Named) -> Answer<'_, PluginChanged> {
        self.with_plugins(move |plugins| plugins.disable(&named))
    }

    fn set_plugin(&self, name: String, settings: Settings) -> Answer<'_, PluginChanged> {
        self.with_plugins(move |plugins| plugins.set(&name, &settings))
    }

    fn remove_plugin(&self, name: String) -> Answer<'_, PluginChanged> {
        self.with_plugins(move |plugins| plugins.remove(&name))
    }

    fn reload_plugins(&self, name: Option<String>) -> Answer<'_, PluginChanged> {
        self.with_plugins(move |plugins| plugins.reload(name.as_deref()))
    }
}
