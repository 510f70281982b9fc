//! A core module made a component, and what a component imports and exports.

use std::collections::BTreeSet;

use anyhow::{Context, Result, bail, ensure};
use commonhold_format::policy::package::read_leb128;
use commonhold_format::policy::{API_VERSION, Kind};
use commonhold_format::statement::Capability;
use wit_component::{ComponentEncoder, DecodedWasm};

/// The WIT package.
const PACKAGE: &str = "commonhold:policy/";
/// Magic number of both, version and layer of each.
const MODULE: [u8; 8] = [0x00, b'a', b's', b'm', 0x01, 0x00, 0x00, 0x00];
const COMPONENT: [u8; 8] = [0x00, b'a', b's', b'm', 0x0d, 0x00, 0x01, 0x00];

/// What a component does and asks for.
#[derive(Debug, PartialEq, Eq)]
pub struct Shape {
    /// The world whose interface it exports.
    pub kind: Kind,
    /// The version of that interface.
    pub api: String,
    /// What it imports.
    pub capabilities: BTreeSet<Capability>,
}

/// A component without names and remarks of tools, from itself or from a core module that wit-bindgen made.
///
/// # Errors
/// Why it is none.
pub fn component(bytes: &[u8]) -> Result<Vec<u8>> {
    let component = if bytes.starts_with(&MODULE) {
        let module = without_custom(bytes, |name| !name.starts_with("component-type"))?;
        ComponentEncoder::default()
            .validate(true)
            .module(&module)
            .and_then(|mut encoder| encoder.encode())
            .context("the compiled module cannot be made a component")?
    } else {
        bytes.to_vec()
    };
    ensure!(component.starts_with(&COMPONENT), "this is not WebAssembly");
    without_custom(&component, |name| name != "commonhold:policy")
}

/// Reads a component's imports and exports.
///
/// # Errors
/// When it is not a policy: what it imports or exports instead.
pub fn shape(component: &[u8]) -> Result<Shape> {
    let DecodedWasm::Component(resolve, world) =
        wit_component::decode(component).context("the component cannot be read")?
    else {
        bail!("it is a description of interfaces and has no code");
    };
    let world = &resolve.worlds[world];
    let mut capabilities = BTreeSet::new();
    for import in world.imports.keys().map(|key| resolve.name_world_key(key)) {
        let Some((name, _)) = import.strip_prefix(PACKAGE).and_then(|rest| rest.split_once('@')) else {
            bail!("it imports {import}, and a policy has nothing but config, log and state of {API_VERSION}");
        };
        // Records alone; nothing in it can be called.
        if name != "types" {
            let capability = name.parse().map_err(|_| {
                anyhow::anyhow!("it imports {import}, and a policy has nothing but config, log and state")
            })?;
            capabilities.insert(capability);
        }
    }
    let exports: Vec<String> = world.exports.keys().map(|key| resolve.name_world_key(key)).collect();
    let policy = |export: &String| {
        let (name, version) = export.strip_prefix(PACKAGE)?.split_once('@')?;
        Some((name.parse::<Kind>().ok()?, version.to_owned()))
    };
    match exports.iter().map(policy).collect::<Option<Vec<_>>>().as_deref() {
        Some([(kind, api)]) => Ok(Shape { kind: *kind, api: api.clone(), capabilities }),
        Some([]) => bail!(
            "it exports nothing: end the crate with `commonhold_plugin::export_placement!(Type)`, or transport or pricing"
        ),
        _ => bail!(
            "it exports {}, and a policy exports placement, transport or pricing alone",
            exports.join(", ")
        ),
    }
}

/// Leaves out the custom sections of a module or component that are not wanted. Modules in a component
/// are left as they are.
fn without_custom(bytes: &[u8], drop: impl Fn(&str) -> bool) -> Result<Vec<u8>> {
    let (mut out, mut at) = (bytes[..8].to_vec(), 8);
    while at < bytes.len() {
        let cut = "it is cut off";
        let (len, contents) = read_leb128(bytes, at + 1).context(cut)?;
        let end = contents.checked_add(len as usize).filter(|end| *end <= bytes.len()).context(cut)?;
        let name = || {
            let (len, name) = read_leb128(&bytes[..end], contents)?;
            std::str::from_utf8(bytes[..end].get(name..name.checked_add(len as usize)?)?).ok()
        };
        if bytes[at] != 0 || !name().is_some_and(&drop) {
            out.extend_from_slice(&bytes[at..end]);
        }
        at = end;
    }
    Ok(out)
}
