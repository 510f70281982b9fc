//! Changes to plugins: through the running node, or to the data directory that nobody uses.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Result, anyhow, bail};
use commonhold_client::Client;
use commonhold_client::types::{
    InstallOptions, PluginChanged, PluginInstalled, PluginSetRequest, PluginsView,
};
use commonhold_format::statement::is_policy_name;
use commonhold_gateway::{Named, Settings};

use super::super::{connect, print_json};
use super::file::read;
use super::{blocking, print};
use crate::cli::plugin::Install;
use crate::datadir::{DataDir, DataDirError};
use crate::plugins::{PluginError, Plugins, settings};

/// Whom to ask.
enum Door {
    /// The running node.
    Node(Client),
    /// The data directory, on which no node runs while this is held.
    Files(Arc<(Plugins, DataDir)>),
}

impl Door {
    fn open(dir: &Path) -> Result<Self> {
        match DataDir::open(dir) {
            Ok(home) => {
                let plugins = Plugins::new(&home.places, home.root.party_key().id(), false);
                Ok(Self::Files(Arc::new((plugins, home))))
            }
            Err(DataDirError::Locked(_)) => Ok(Self::Node(connect(dir)?)),
            Err(error) => Err(error.into()),
        }
    }

    async fn files<T: Send + 'static>(
        files: &Arc<(Plugins, DataDir)>,
        work: impl FnOnce(&Plugins) -> Result<T, PluginError> + Send + 'static,
    ) -> Result<T> {
        let files = files.clone();
        blocking(move || {
            files.0.open_at_rest()?;
            Ok(work(&files.0)?)
        })
        .await
    }

    async fn view(&self) -> Result<PluginsView> {
        match self {
            Self::Node(client) => Ok(client.plugins().await?),
            Self::Files(files) => {
                Self::files(files, |plugins| {
                    plugins.start();
                    plugins.view()
                })
                .await
            }
        }
    }

    async fn install(&self, file: Vec<u8>, flags: Install) -> Result<PluginInstalled> {
        let config = settings(&flags.set).map_err(|why| anyhow!(why))?;
        match self {
            Self::Node(client) => {
                let words = |it: Vec<_>| it.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
                let config = if config.is_empty() { None } else { Some(serde_json::to_string(&config)?) };
                let options = InstallOptions {
                    author: flags.author.map(|author| author.to_string()),
                    unsigned: flags.unsigned,
                    follow: flags.follow,
                    downgrade: flags.downgrade,
                    grant: flags.grant.map(words),
                    config,
                };
                Ok(client.install_plugin(file, &options).await?)
            }
            Self::Files(files) => {
                let install = commonhold_gateway::Install {
                    author: flags.author,
                    unsigned: flags.unsigned,
                    follow: flags.follow,
                    downgrade: flags.downgrade,
                    grant: flags.grant.map(BTreeSet::from_iter),
                    config,
                };
                Self::files(files, move |plugins| plugins.install(&file, &install)).await
            }
        }
    }

    async fn enable(&self, name: String, config: Settings) -> Result<PluginChanged> {
        match self {
            Self::Node(client) => Ok(client.enable_plugin(&name, &PluginSetRequest { config }).await?),
            Self::Files(files) => Self::files(files, move |plugins| plugins.enable(&name, &config)).await,
        }
    }

    async fn set(&self, name: String, config: Settings) -> Result<PluginChanged> {
        match self {
            Self::Node(client) => Ok(client.set_plugin(&name, &PluginSetRequest { config }).await?),
            Self::Files(files) => Self::files(files, move |plugins| plugins.set(&name, &config)).await,
        }
    }

    async fn disable(&self, name: String) -> Result<PluginChanged> {
        match self {
            Self::Node(client) => Ok(client.disable_plugin(&name).await?),
            Self::Files(files) => {
                let named = name.parse().map_or(Named::Plugin(name), Named::Kind);
                Self::files(files, move |plugins| plugins.disable(&named)).await
            }
        }
    }

    async fn remove(&self, name: String) -> Result<PluginChanged> {
        match self {
            Self::Node(client) => Ok(client.remove_plugin(&name).await?),
            Self::Files(files) => Self::files(files, move |plugins| plugins.remove(&name)).await,
        }
    }
}

/// `plugin install`.
pub async fn install(dir: &Path, flags: Install, json: bool) -> Result<()> {
    let file = read(&flags.file)?;
    let installed = Door::open(dir)?.install(file, flags).await?;
    if json {
        return print_json(&installed);
    }
    print::installed(&installed);
    Ok(())
}

/// `plugin list`.
pub async fn list(dir: &Path, json: bool) -> Result<()> {
    let view = Door::open(dir)?.view().await?;
    if json {
        return print_json(&view);
    }
    print::list(&view);
    Ok(())
}

/// `plugin show`.
pub async fn show(dir: &Path, name: &str, json: bool) -> Result<()> {
    let view = Door::open(dir)?.view().await?;
    let found = view.plugins.into_iter().find(|it| it.name == name);
    let plugin =
        found.ok_or_else(|| anyhow!("no plugin {name:?} is installed: see `commonhold plugin list`"))?;
    if json {
        return print_json(&plugin);
    }
    print::show(&plugin);
    Ok(())
}

/// `plugin enable`.
pub async fn enable(dir: &Path, name: String, set: &[String], json: bool) -> Result<()> {
    let config = values(set, &[])?;
    changed(&Door::open(dir)?.enable(checked(name)?, config).await?, json)
}

/// `plugin disable`.
pub async fn disable(dir: &Path, name: String, json: bool) -> Result<()> {
    changed(&Door::open(dir)?.disable(checked(name)?).await?, json)
}

/// `plugin set`.
pub async fn set(dir: &Path, name: String, set: &[String], unset: &[String], json: bool) -> Result<()> {
    let config = values(set, unset)?;
    if config.is_empty() {
        bail!("nothing is to be set: write KEY=VALUE, or --unset KEY");
    }
    changed(&Door::open(dir)?.set(checked(name)?, config).await?, json)
}

/// `plugin remove`.
pub async fn remove(dir: &Path, name: String, json: bool) -> Result<()> {
    changed(&Door::open(dir)?.remove(checked(name)?).await?, json)
}

/// `plugin reload`. Without a node there is nothing into which anything could be loaded.
pub async fn reload(dir: &Path, name: Option<String>, json: bool) -> Result<()> {
    let name = name.map(checked).transpose()?;
    changed(&connect(dir)?.reload_plugins(name.as_deref()).await?, json)
}

/// A name that is one step of a path.
fn checked(name: String) -> Result<String> {
    if is_policy_name(&name) {
        return Ok(name);
    }
    bail!("{name:?} is no plugin's name: 1 to 40 of a-z, 0-9 and -, a letter first")
}

fn values(set: &[String], unset: &[String]) -> Result<Settings> {
    let set = settings(set).map_err(|why| anyhow!(why))?;
    let mut all: BTreeMap<_, _> = set.into_iter().map(|(key, value)| (key, Some(value))).collect();
    for key in unset {
        if all.insert(key.clone(), None).is_some() {
            bail!("{key:?} is to be set and taken away");
        }
    }
    Ok(all)
}

fn changed(changed: &PluginChanged, json: bool) -> Result<()> {
    if json {
        print_json(changed)?;
    } else {
        changed.done.iter().for_each(|what| println!("{what}"));
        if changed.done.is_empty() && changed.failed.is_empty() {
            println!("no plugin is enabled: the default decides everything");
        }
    }
    if changed.failed.is_empty() { Ok(()) } else { bail!("{}", changed.failed.join("; ")) }
}
