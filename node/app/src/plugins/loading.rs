//! From a folder to a seat: what the grant pins, what the host checks, the self-test, the state.
//!
//! Invariant: a plugin that does not load leaves the one that decides where it is, unless the operator's
//! grant does not allow that one any more.

use commonhold_format::policy::Kind;
use commonhold_format::policy::package::Package;
use commonhold_format::statement::PolicyManifest;
use commonhold_host::{Host, Limits, Plugin, State, Trust};

use super::grant::{Grant, Pin, Version};
use super::text::harmless;
use super::{PluginError, Plugins, Post};

/// Checks a file as a node would that trusts it, and lets it answer the questions of its self-test.
///
/// # Errors
/// A sentence that says what is wrong with it.
pub fn examine(file: &[u8]) -> Result<PolicyManifest, String> {
    let manifest = Package::open(file).map_err(|error| harmless(&error.to_string()))?.manifest;
    let grant = Grant {
        pin: Pin::Follow,
        capabilities: manifest.capabilities.clone(),
        config: Default::default(),
        fuel: None,
        memory_mib: None,
    };
    let host = Host::new().map_err(|error| error.to_string())?;
    let plugin = compile(&host, &manifest.name, file, &grant).map_err(|error| error.to_string())?;
    plugin.self_test().map_err(|fault| self_test(&manifest, &fault.to_string()))?;
    Ok(manifest)
}

fn self_test(manifest: &PolicyManifest, fault: &str) -> String {
    format!("{} {} fails its self-test: {}", manifest.name, manifest.version, harmless(fault))
}

/// A plugin of this name whose file is what the grant pins.
fn compile(host: &Host, name: &str, file: &[u8], grant: &Grant) -> Result<Plugin, PluginError> {
    let refused = |why: String| PluginError::Refused(harmless(&why));
    let manifest =
        Package::open(file).map_err(|error| refused(format!("{name} is not loaded: {error}")))?.manifest;
    if manifest.name != name {
        return Err(refused(format!("the file of {name} is another plugin's, {}", manifest.name)));
    }
    if let Pin::Author(_, lowest) = &grant.pin
        && manifest.version.parse().is_ok_and(|version: Version| version < *lowest)
    {
        return Err(refused(format!(
            "the file of {name} is version {}, and none before {lowest} is to be loaded (version_min)",
            manifest.version
        )));
    }
    let trusted = match (&grant.pin, manifest.author) {
        (Pin::Author(author, _), _) => Trust::Author(*author),
        (Pin::Hash(hash), _) => Trust::Hash(*hash),
        (Pin::Follow, Some(author)) => Trust::Author(author),
        (Pin::Follow, None) => Trust::Hash(manifest.component),
    };
    let default = Limits::default();
    let limits = Limits {
        fuel: grant.fuel.unwrap_or(default.fuel),
        memory_bytes: grant
            .memory_mib
            .map_or(default.memory_bytes, |mib| usize::try_from(mib << 20).unwrap_or(default.memory_bytes)),
        ..default
    };
    let (capabilities, config) = (grant.capabilities.clone(), grant.config.clone());
    let grant = commonhold_host::Grant { trusted, capabilities, config, limits };
    host.load(file, &grant).map_err(|why| refused(format!("{name} is not loaded: {why}")))
}

/// Whether a plugin that was loaded under an older grant could be loaded under this one.
fn still_allowed(manifest: &PolicyManifest, grant: &Grant) -> bool {
    let pinned = match &grant.pin {
        Pin::Author(author, lowest) => {
            manifest.author == Some(*author)
                && manifest.version.parse().is_ok_and(|it: Version| it >= *lowest)
        }
        Pin::Hash(hash) => manifest.component == *hash,
        Pin::Follow => true,
    };
    pinned && manifest.capabilities.is_subset(&grant.capabilities)
}

impl Plugins {
    /// A plugin's grant.
    pub(super) fn grant(&self, name: &str) -> Result<Grant, PluginError> {
        let text = self.shelf.grant(name)?;
        let file = self.shelf.file(name).with_file_name(super::shelf::GRANT);
        Grant::parse(&text).map_err(|why| PluginError::Refused(format!("{}, {why}", file.display())))
    }

    /// Compiles a plugin and lets it pass its self-test.
    pub(super) fn prepare(&self, name: &str, file: &[u8], grant: &Grant) -> Result<Plugin, PluginError> {
        let host = self.host.as_ref().map_err(|why| PluginError::Refused(why.clone()))?;
        let plugin = compile(host, name, file, grant)?;
        let tested = plugin.self_test();
        tested.map_err(|fault| PluginError::Refused(self_test(plugin.manifest(), &fault.to_string())))?;
        Ok(plugin)
    }

    /// Loads what is in a plugin's folder into the seat of its kind.
    pub(super) fn load(&self, kind: Kind, name: &str) -> Result<(), PluginError> {
        let post = self.post(kind);
        // Looked at before they are read: a change in between is seen at the next look.
        let prints = self.shelf.print(name);
        let grant = self.grant(name);
        let loaded = grant.clone().and_then(|grant| {
            let plugin = self.prepare(name, &self.shelf.plugin(name)?, &grant)?;
            self.seat_in(post, name, plugin)
        });
        {
            let mut now = post.now();
            now.name = Some(name.to_owned());
            now.prints = Some(prints);
            now.changed = None;
        }
        match &loaded {
            Ok(()) => post.now().problem = None,
            Err(why) => {
                let status = post.seat.status();
                let keep = status.plugin.is_some_and(|(seated, manifest)| {
                    seated == name && grant.as_ref().map_or(true, |grant| still_allowed(&manifest, grant))
                });
                if !keep {
                    self.unseat(post);
                }
                if self.live {
                    tracing::warn!(plugin = name, "{why}");
                }
                post.note(why.to_string());
            }
        }
        loaded
    }

    /// Puts a plugin in, with what it remembers.
    pub(super) fn seat_in(&self, post: &Post, name: &str, plugin: Plugin) -> Result<(), PluginError> {
        let manifest = plugin.manifest().clone();
        if manifest.kind != post.kind {
            return Err(PluginError::Refused(format!(
                "{name} is a plugin for {}, and does not decide {}",
                manifest.kind, post.kind
            )));
        }
        self.save_state(post);
        // One of the same name takes over what the one before remembers.
        let state = (post.seated().as_deref() != Some(name)).then(|| self.remembered(name));
        if let Some(state) = &state {
            plugin.set_state(state.clone());
        }
        let put = post.seat.put(name, plugin);
        put.map_err(|fault| PluginError::Refused(self_test(&manifest, &fault.to_string())))?;
        if let Some(state) = state {
            post.now().saved = Some(state.to_bytes());
        }
        tracing::info!(plugin = name, version = manifest.version, kind = %post.kind, "loaded");
        self.tell(post.kind);
        Ok(())
    }

    /// Takes whatever is there out of a seat; what it remembers is saved.
    pub(super) fn unseat(&self, post: &Post) {
        self.save_state(post);
        post.seat.clear();
        post.now().saved = None;
        self.tell(post.kind);
    }

    /// What a plugin remembers on disk. Damage there costs it its memory and not its place.
    fn remembered(&self, name: &str) -> State {
        let state = match self.shelf.state(name) {
            Ok(None) => return State::default(),
            Ok(Some(bytes)) => State::from_bytes(&bytes).map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        state.unwrap_or_else(|why| {
            tracing::warn!(plugin = name, "what it remembered is lost: {why}");
            State::default()
        })
    }

    /// Saves what the plugin in a seat remembers, if that changed.
    pub(super) fn save_state(&self, post: &Post) {
        let (Some(name), Some(state)) = (post.seated(), post.seat.state()) else { return };
        let bytes = state.to_bytes();
        if post.now().saved.as_ref() == Some(&bytes) {
            return;
        }
        match self.shelf.set_state(&name, &bytes) {
            Ok(()) => post.now().saved = Some(bytes),
            Err(error) => tracing::warn!(plugin = name, "what it remembers could not be saved: {error}"),
        }
    }
}
