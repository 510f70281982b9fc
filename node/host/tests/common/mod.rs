//! Plugins for tests: components of core modules in text, with their manifests.
#![allow(clippy::unwrap_used, dead_code)]

use std::path::{Path, PathBuf};

use commonhold_format::policy::package::{Package, seal};
use commonhold_format::policy::{API_VERSION, Kind};
use commonhold_format::statement::{Capability, PolicyManifest};
use commonhold_host::{Fault, FaultKind, Grant, Host, Limits, Plugin, Refused, Trust};
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

/// The folder of the repository.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// A component of a core module that exports what the world of a kind wants, by WIT of this repository.
pub fn component(kind: Kind, core: &str) -> Vec<u8> {
    component_with_wit(kind, core, &root().join("spec/wit/v0.1"))
}

/// The same with other WIT.
pub fn component_with_wit(kind: Kind, core: &str, wit: &Path) -> Vec<u8> {
    let mut module = wat::parse_str(core).unwrap_or_else(|error| panic!("{error}"));
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_dir(wit).unwrap();
    let world = resolve.select_world(&[package], Some(&format!("{kind}-policy"))).unwrap();
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).unwrap();
    ComponentEncoder::default().validate(true).module(&module).unwrap().encode().unwrap()
}

/// What a plugin of that name says of itself.
pub fn manifest(kind: Kind, name: &str, capabilities: &[Capability]) -> PolicyManifest {
    PolicyManifest {
        name: name.to_owned(),
        version: "1.0.0".to_owned(),
        kind,
        api: API_VERSION.to_owned(),
        capabilities: capabilities.iter().copied().collect(),
        about: String::new(),
        component: [0; 32],
        size: 0,
        author: None,
    }
}

/// An unsigned plugin.
pub fn plugin(kind: Kind, name: &str, capabilities: &[Capability], core: &str) -> Vec<u8> {
    seal(&component(kind, core), &manifest(kind, name, capabilities), None).unwrap()
}

/// Everything, for the code that a file names.
pub fn grant(file: &[u8]) -> Grant {
    let component = Package::open(file).map_or([0; 32], |package| package.manifest.component);
    Grant {
        trusted: Trust::Hash(component),
        capabilities: Capability::ALL.into(),
        config: [].into(),
        limits: Limits::default(),
    }
}

/// Loads with [`grant`].
pub fn load(host: &Host, file: &[u8]) -> Result<Plugin, Refused> {
    host.load(file, &grant(file))
}

/// Tries again when the clock ended a call, which a machine does to any plugin when it has much else to
/// do.
pub fn patiently<T>(mut call: impl FnMut() -> Result<T, Fault>) -> Result<T, Fault> {
    for _ in 0..100 {
        match call() {
            Err(fault) if [FaultKind::Wall, FaultKind::Busy].contains(&fault.kind()) => {}
            done => return done,
        }
    }
    call()
}
