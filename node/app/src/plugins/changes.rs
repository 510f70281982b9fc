//! What an operator does with plugins: install, enable, disable, set, remove, reload.
//!
//! Invariant: a change is tried before it is written: what cannot be loaded is not installed, enabled or
//! set, and what was there before goes on. Each answers in sentences.

use std::collections::BTreeMap;

use commonhold_client::types::{PluginChanged, PluginInstalled};
use commonhold_format::policy::Kind;
use commonhold_format::policy::package::Package;
use commonhold_gateway::{Install, Named, Settings};

use super::grant::{Grant, Pin, check_config};
use super::rules::{self, Installed};
use super::text::harmless;
use super::{PluginError, Plugins, Post, lock};

/// Most plugins that are installed.
const INSTALLED_MAX: usize = 128;

fn done(what: String) -> PluginChanged {
    PluginChanged { done: vec![what], failed: Vec::new() }
}

impl Plugins {
    /// Installs a plugin, or a new version of one; a version that decides is replaced at once.
    ///
    /// # Errors
    /// [`PluginError`]; nothing has changed then.
    pub fn install(&self, file: &[u8], install: &Install) -> Result<PluginInstalled, PluginError> {
        let _one = self.one_change();
        let opened = Package::open(file);
        let manifest = opened.map_err(|error| PluginError::Refused(harmless(&error.to_string())))?.manifest;
        let name = manifest.name.as_str();
        let old = match self.shelf.has(name) {
            true => Some(self.installed(name)?),
            false => None,
        };
        if old.is_none() && self.shelf.names()?.0.len() >= INSTALLED_MAX {
            return Err(PluginError::Refused(format!(
                "{INSTALLED_MAX} plugins are installed, which is the most: remove one first"
            )));
        }
        let decision = rules::decide(&self.me, old.as_ref(), &manifest, install)?;
        let plugin = self.prepare(name, file, &decision.grant)?;
        self.shelf.put(name, file, &decision.grant.to_toml())?;
        if let Some(post) = self.post_of(name) {
            self.take_over(post, name, plugin)?;
        }
        let plugin = self.view_of(name);
        Ok(PluginInstalled { plugin, replaced: decision.replaced, trusted: decision.trusted })
    }

    /// Lets a plugin decide from now on, with values that are set first.
    ///
    /// # Errors
    /// [`PluginError`]; what decided before goes on.
    pub fn enable(&self, name: &str, settings: &Settings) -> Result<PluginChanged, PluginError> {
        let _one = self.one_change();
        let (grant, file) = (self.with_settings(name, settings)?, self.shelf.plugin(name)?);
        let plugin = self.prepare(name, &file, &grant)?;
        let (kind, version) = (plugin.manifest().kind, plugin.manifest().version.clone());
        let mut active = self.shelf.active()?;
        let before = active.insert(kind, name.to_owned());
        if !settings.is_empty() {
            self.shelf.set_grant(name, &grant.to_toml())?;
        }
        self.shelf.set_active(&active)?;
        self.active_is_known();
        self.take_over(self.post(kind), name, plugin)?;
        let instead = match before.filter(|before| before != name) {
            Some(before) => format!(", instead of {before}"),
            None => String::new(),
        };
        Ok(done(format!("{name} {version} decides {kind}{instead}")))
    }

    /// Lets the default decide again.
    ///
    /// # Errors
    /// [`PluginError`]; when that plugin is not enabled, too.
    pub fn disable(&self, named: &Named) -> Result<PluginChanged, PluginError> {
        let _one = self.one_change();
        let mut active = self.shelf.active()?;
        let found = active.iter().find(|(kind, name)| match named {
            Named::Plugin(wanted) => *name == wanted,
            Named::Kind(wanted) => *kind == wanted,
        });
        let Some((kind, name)) = found.map(|(kind, name)| (*kind, name.clone())) else {
            return Err(PluginError::NotFound(match named {
                Named::Plugin(name) => format!("{name} is not enabled: see `commonhold plugin list`"),
                Named::Kind(kind) => format!("no plugin is enabled for {kind}: the default decides already"),
            }));
        };
        active.remove(&kind);
        self.shelf.set_active(&active)?;
        self.active_is_known();
        self.vacate(self.post(kind));
        Ok(done(format!("the default decides {kind}, instead of {name}")))
    }

    /// Changes what is set for a plugin; one that decides is loaded again with it.
    ///
    /// # Errors
    /// [`PluginError`]; nothing has changed then.
    pub fn set(&self, name: &str, settings: &Settings) -> Result<PluginChanged, PluginError> {
        let _one = self.one_change();
        let grant = self.with_settings(name, settings)?;
        let Some(post) = self.post_of(name) else {
            self.shelf.set_grant(name, &grant.to_toml())?;
            return Ok(done(format!("set for {name}, which is not enabled")));
        };
        let plugin = self.prepare(name, &self.shelf.plugin(name)?, &grant)?;
        self.shelf.set_grant(name, &grant.to_toml())?;
        self.take_over(post, name, plugin)?;
        Ok(done(format!("set for {name}, which decides {} with it now", post.kind)))
    }

    /// Removes a plugin with its grant and what it remembers; the default decides where it did.
    ///
    /// # Errors
    /// [`PluginError`].
    pub fn remove(&self, name: &str) -> Result<PluginChanged, PluginError> {
        let _one = self.one_change();
        let (names, strange) = self.shelf.names()?;
        if !names.iter().chain(strange.iter().map(|(name, _)| name)).any(|it| it == name) {
            return Err(PluginError::NotFound(format!(
                "no plugin {name:?} is installed: see `commonhold plugin list`"
            )));
        }
        let mut active = self.shelf.active()?;
        let enabled: Vec<Kind> = active.iter().filter(|(_, it)| *it == name).map(|(kind, _)| *kind).collect();
        if !enabled.is_empty() {
            active.retain(|_, it| it != name);
            self.shelf.set_active(&active)?;
            self.active_is_known();
        }
        let mut what = vec![format!("{name} is removed")];
        for kind in enabled {
            self.vacate(self.post(kind));
            what.push(format!("the default decides {kind}"));
        }
        self.shelf.remove(name)?;
        lock(&self.described).remove(name);
        Ok(PluginChanged { done: what, failed: Vec::new() })
    }

    /// Reads one plugin from disk again, or all that are enabled; one that is off is only tried.
    ///
    /// # Errors
    /// [`PluginError`] when one was named, or `active.toml` cannot be read; otherwise what did not load
    /// stands in the answer.
    pub fn reload(&self, name: Option<&str>) -> Result<PluginChanged, PluginError> {
        let _one = self.one_change();
        self.read_active()?;
        if let Some(name) = name {
            let Some(post) = self.post_of(name) else {
                let plugin = self.prepare(name, &self.shelf.plugin(name)?, &self.grant(name)?)?;
                let version = &plugin.manifest().version;
                return Ok(done(format!("{name} {version} can be loaded; it is not enabled")));
            };
            self.load(post.kind, name).map_err(|why| self.with_what_goes_on(post, why))?;
            return Ok(done(loaded(post, name)));
        }
        let mut changed = PluginChanged::default();
        for post in self.posts.values() {
            let Some(name) = post.now().name.clone() else { continue };
            match self.load(post.kind, &name) {
                Ok(()) => changed.done.push(loaded(post, &name)),
                Err(why) => changed.failed.push(self.with_what_goes_on(post, why).to_string()),
            }
        }
        Ok(changed)
    }

    /// Whoever decides although something else did not load, behind the reason.
    fn with_what_goes_on(&self, post: &Post, why: PluginError) -> PluginError {
        let goes_on = match post.seat.status().plugin {
            Some((name, manifest)) => format!("{name} {} goes on deciding", manifest.version),
            None => "the default decides".to_owned(),
        };
        match why {
            PluginError::Refused(why) => PluginError::Refused(format!("{why}; {goes_on}")),
            why => why,
        }
    }

    /// Puts a plugin that was written into its seat.
    fn take_over(&self, post: &Post, name: &str, plugin: commonhold_host::Plugin) -> Result<(), PluginError> {
        let prints = self.shelf.print(name);
        self.seat_in(post, name, plugin)?;
        let mut now = post.now();
        (now.name, now.prints, now.changed, now.problem) = (Some(name.to_owned()), Some(prints), None, None);
        Ok(())
    }

    /// Leaves a post to the default.
    pub(super) fn vacate(&self, post: &Post) {
        self.unseat(post);
        *post.now() = Default::default();
    }

    fn installed(&self, name: &str) -> Result<Installed, PluginError> {
        let grant = self.grant(name).map_err(|why| {
            PluginError::Refused(format!("{why}: mend it, or remove {name} before it is installed again"))
        })?;
        // A file that was tampered with says nothing.
        let file = self.shelf.plugin(name).ok();
        let manifest = file.and_then(|file| Package::open(&file).ok().map(|package| package.manifest));
        let is_pinned = |it: &commonhold_format::statement::PolicyManifest| match &grant.pin {
            Pin::Author(author, _) => it.author == Some(*author),
            Pin::Hash(hash) => it.component == *hash,
            Pin::Follow => true,
        };
        let manifest = manifest.filter(is_pinned);
        Ok(Installed { grant, manifest })
    }

    fn with_settings(&self, name: &str, settings: &Settings) -> Result<Grant, PluginError> {
        let mut grant = self.grant(name)?;
        for (key, value) in settings {
            match value {
                Some(value) => {
                    grant.config.insert(key.clone(), value.clone());
                }
                None if grant.config.remove(key).is_none() => {
                    return Err(PluginError::Invalid(format!("{key:?} is not set for {name}")));
                }
                None => {}
            }
        }
        check_config(&grant.config).map_err(PluginError::Invalid)?;
        Ok(grant)
    }
}

fn loaded(post: &Post, name: &str) -> String {
    let version = post.seat.status().plugin.map(|(_, manifest)| manifest.version).unwrap_or_default();
    format!("{name} {version} decides {}, as it is on disk now", post.kind)
}

/// Values that are set, from `key=value` texts.
///
/// # Errors
/// Which one has no `=`, or stands there twice.
pub fn settings(texts: &[String]) -> Result<BTreeMap<String, String>, String> {
    let mut config = BTreeMap::new();
    for text in texts {
        let (key, value) = text.split_once('=').ok_or_else(|| format!("{text:?} is not KEY=VALUE"))?;
        if config.insert(key.to_owned(), value.to_owned()).is_some() {
            return Err(format!("{key:?} is set twice"));
        }
    }
    check_config(&config)?;
    Ok(config)
}
