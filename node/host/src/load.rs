//! From a file to a plugin that can be called: size, signature, version, trust, imports, compilation.
//!
//! Invariant: nothing is compiled before the file is what its manifest says, somebody whom the operator
//! trusts answers for it, and it asks for nothing that the operator did not grant. A refusal is one
//! sentence that says what to do.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError};

use commonhold_format::ids::PartyId;
use commonhold_format::policy::package::{Package, PackageError};
use commonhold_format::policy::{API_VERSION, Kind};
use commonhold_format::statement::Capability;
use wasmtime::component::Component;

use crate::call::{Plugin, World};
use crate::engine::Host;
use crate::fault::clip;
use crate::limits::Limits;
use crate::{scan, wit};

/// What the operator allows a plugin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// Who answers for it.
    pub trusted: Trust,
    /// What it may import; what it asks for beyond that refuses it.
    pub capabilities: BTreeSet<Capability>,
    /// What it reads through `config`.
    pub config: BTreeMap<String, String>,
    /// What each call may use.
    pub limits: Limits,
}

/// Who answers for a plugin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trust {
    /// Whatever this party signed.
    Author(PartyId),
    /// These bytes: the SHA-256 of the component, as in the manifest.
    Hash([u8; 32]),
}

/// Why a file is not loaded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The file is not a plugin as it was written.
    #[error("it is not loaded: {0}")]
    File(#[from] PackageError),
    /// It was built for a version that is not compatible.
    #[error(
        "it was built for policy API {built} and this node has {API_VERSION}: build it again with the SDK of \
         {API_VERSION}"
    )]
    Version {
        /// Version in its manifest.
        built: String,
    },
    /// Signed by somebody else, or by nobody.
    #[error("{0}")]
    Trust(String),
    /// It asks for what was not granted.
    #[error("it asks for {0}, which was not granted: grant it, or use a plugin that does without")]
    NotGranted(Capability),
    /// Its code imports what its manifest does not ask for, or what no plugin may import.
    #[error("{0}")]
    Import(String),
    /// It lacks what its kind has to export.
    #[error("{0}")]
    Export(String),
    /// The compiler does not take it.
    #[error("its code does not compile: {0}")]
    Code(String),
}

impl Host {
    /// Checks and compiles a plugin. Takes time in proportion to its code, so call it where blocking is
    /// allowed.
    ///
    /// # Errors
    /// [`Refused`].
    pub fn load(&self, file: &[u8], grant: &Grant) -> Result<Plugin, Refused> {
        let package = Package::open(file)?;
        let manifest = package.manifest;
        check_version(&manifest.api)?;
        check_trust(&grant.trusted, manifest.author, &manifest.component)?;
        if let Some(more) = manifest.capabilities.difference(&grant.capabilities).next() {
            return Err(Refused::NotGranted(*more));
        }
        let engine = &self.inner.engine;
        let code = |error: wasmtime::Error| Refused::Code(clip(&format!("{error:#}")));
        for name in scan::imports(package.component)? {
            check_import(&name, &manifest.capabilities)?;
        }
        let compiled = || self.inner.compiled.lock().unwrap_or_else(PoisonError::into_inner);
        let before = compiled().clone().filter(|(hash, _)| *hash == manifest.component);
        let component = match before {
            Some((_, component)) => component,
            None => Component::from_binary(engine, package.component).map_err(code)?,
        };
        *compiled() = Some((manifest.component, component.clone()));
        let pre = self.inner.linker.instantiate_pre(&component).map_err(code)?;
        let export = |error: wasmtime::Error| {
            Refused::Export(format!(
                "it does not export what a {} policy of API {API_VERSION} has to: {}",
                manifest.kind,
                clip(&format!("{error:#}"))
            ))
        };
        let world = match manifest.kind {
            Kind::Placement => wit::placement::PlacementPolicyPre::new(pre).map(World::Placement),
            Kind::Transport => wit::transport::TransportPolicyPre::new(pre).map(World::Transport),
            Kind::Pricing => wit::pricing::PricingPolicyPre::new(pre).map(World::Pricing),
        };
        let world = world.map_err(export)?;
        let config = Arc::new(grant.config.clone());
        Ok(Plugin::new(self.clone(), manifest, world, config, grant.limits.bounded()))
    }
}

/// Versions before 1.0 are compatible when the first two numbers are equal.
fn check_version(built: &str) -> Result<(), Refused> {
    let line = |version: &str| version.rsplit_once('.').map(|(line, _)| line.to_owned());
    if line(built) == line(API_VERSION) { Ok(()) } else { Err(Refused::Version { built: built.to_owned() }) }
}

fn check_trust(trusted: &Trust, author: Option<PartyId>, component: &[u8; 32]) -> Result<(), Refused> {
    match (trusted, author) {
        (Trust::Hash(hash), _) if hash == component => Ok(()),
        (Trust::Hash(_), _) => Err(Refused::Trust(
            "its code is not the one that was installed: its SHA-256 is another one; install it again if you \
             trust it"
                .to_owned(),
        )),
        (Trust::Author(trusted), Some(author)) if *trusted == author => Ok(()),
        (Trust::Author(trusted), Some(author)) => Err(Refused::Trust(format!(
            "it is signed by {author} and not by {trusted}, whom you trust for it; install it again if you trust \
             the new author"
        ))),
        (Trust::Author(trusted), None) => Err(Refused::Trust(format!(
            "nobody signed it, and {trusted} is who you trust for it; install it again if you trust these bytes"
        ))),
    }
}

/// An import is an interface of spec/wit that the manifest asks for; types need no capability.
fn check_import(name: &str, asked: &BTreeSet<Capability>) -> Result<(), Refused> {
    let interface = name.strip_prefix("commonhold:policy/").and_then(|rest| rest.split_once('@'));
    let Some((interface, _)) = interface else {
        return Err(Refused::Import(format!(
            "it imports {:?}, which no policy gets: build it without (policies have no files, clock, randomness or \
             network)",
            clip(name)
        )));
    };
    if interface == "types" {
        return Ok(());
    }
    match interface.parse::<Capability>() {
        Ok(capability) if asked.contains(&capability) => Ok(()),
        Ok(capability) => Err(Refused::Import(format!(
            "its code imports {capability} and its manifest does not ask for it: add it to `capabilities` in \
             plugin.toml and build it again"
        ))),
        Err(_) => Err(Refused::Import(format!(
            "it imports {:?}, which policy API {API_VERSION} does not have: build it again with the SDK of \
             {API_VERSION}",
            clip(name)
        ))),
    }
}
