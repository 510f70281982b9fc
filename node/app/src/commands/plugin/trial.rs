//! A plugin from a file, run here as a node would run it, for trying it out.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};
use commonhold_format::policy::Question;
use commonhold_format::policy::package::{PACKAGE_LEN_MAX, Package};
use commonhold_format::statement::PolicyManifest;
use commonhold_host::{Called, Fault, Grant, Host, Limits, Plugin, Trust};

/// How often a call is tried again that the clock ended, since that is the machine's doing: fuel ends
/// what the plugin does.
const TRIES: usize = 5;

/// A file's bytes, and what they say of themselves.
pub struct Trial {
    host: Host,
    file: Vec<u8>,
    /// Its manifest.
    pub manifest: PolicyManifest,
}

impl Trial {
    /// Reads a plugin. It is trusted for what its bytes are: whoever names a file wants that one.
    ///
    /// # Errors
    /// A sentence.
    pub fn open(path: &Path) -> Result<Self> {
        let meta = std::fs::metadata(path).with_context(|| path.display().to_string())?;
        if !meta.is_file() {
            bail!("{} is not a file: name the plugin's .wasm", path.display());
        }
        if meta.len() > PACKAGE_LEN_MAX as u64 {
            bail!("{}: it has {} bytes, a plugin has at most 16 MiB", path.display(), meta.len());
        }
        let file = std::fs::read(path).with_context(|| path.display().to_string())?;
        let package = Package::open(&file).map_err(|why| anyhow!("{}: {why}", path.display()))?;
        let manifest = package.manifest;
        Ok(Self { host: Host::new()?, file, manifest })
    }

    /// The plugin with some configuration, all that it asks for, and an empty state.
    ///
    /// # Errors
    /// Why it is not loaded.
    pub fn plugin(&self, config: BTreeMap<String, String>) -> Result<Plugin> {
        let grant = Grant {
            trusted: Trust::Hash(self.manifest.component),
            capabilities: self.manifest.capabilities.clone(),
            config,
            limits: Limits::default(),
        };
        self.host.load(&self.file, &grant).map_err(|why| anyhow!("{}: {why}", self.manifest.name))
    }
}

/// One call. What a busy machine ended is tried again, so that the same question has the same outcome.
///
/// # Errors
/// [`Fault`].
pub fn call(plugin: &Plugin, question: &Question) -> Result<Called, Fault> {
    let mut called = plugin.call(question);
    for _ in 1..TRIES {
        match called {
            Err(Fault::Wall(_) | Fault::Busy) => called = plugin.call(question),
            _ => break,
        }
    }
    called
}
