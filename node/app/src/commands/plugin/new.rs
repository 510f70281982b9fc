//! `plugin new`: a folder with a policy that works, its tests, and how to go on.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use commonhold_format::policy::Kind;
use commonhold_format::statement::is_policy_name;
use serde_json::json;

use super::build::DESCRIPTION;
use crate::cli::plugin::{Lang, New};
use crate::commands::print_json;

/// One kind's part of the template.
struct Template {
    source: &'static str,
    cases: &'static str,
    /// Rows of the README's table.
    config: &'static str,
    about: &'static str,
}

fn template(kind: Kind) -> Template {
    match kind {
        Kind::Placement => Template {
            source: include_str!("template/placement.rs"),
            cases: include_str!("template/placement.toml"),
            config: "| `max_latency_ms` | 500 | providers that are slower become spares |",
            about: "Providers that answer soon before others",
        },
        Kind::Transport => Template {
            source: include_str!("template/transport.rs"),
            cases: include_str!("template/transport.toml"),
            config: "| `hours` | always | when uploads are limited, like `mon-fri 08:00-18:00` |\n| `upload` | 1 MiB | bytes of chunks per second then |",
            about: "Slow uploads in the hours that you say",
        },
        Kind::Pricing => Template {
            source: include_str!("template/pricing.rs"),
            cases: include_str!("template/pricing.toml"),
            config: "| `markup_per_mille` | 500 | how much more is asked when three quarters of the disk are in use |",
            about: "Higher prices when the disk is nearly full",
        },
    }
}

/// Runs the command.
///
/// # Errors
/// A sentence; then nothing was made.
pub fn run(flags: New, json: bool) -> Result<()> {
    let New { kind, name, lang: Lang::Rust, dir, sdk } = flags;
    ensure!(is_policy_name(&name), "{name:?} is no name: 1 to 40 of a-z, 0-9 and -, a letter first");
    let parent = dir.unwrap_or_default();
    let folder = parent.join(&name);
    let sdk = match sdk {
        Some(dir) => Some(sdk_in(&dir).with_context(|| {
            format!("{} is neither Commonhold's source nor its sdk/plugin", dir.display())
        })?),
        None => find_sdk(&std::path::absolute(&folder)?),
    };
    if !parent.as_os_str().is_empty() {
        std::fs::create_dir_all(&parent).with_context(|| format!("cannot make {}", parent.display()))?;
    }
    if let Err(error) = std::fs::create_dir(&folder) {
        bail!("cannot make {}: {error}", folder.display());
    }
    for (file, text) in files(kind, &name, sdk.as_deref())? {
        let file = folder.join(file);
        if let Some(dir) = file.parent() {
            std::fs::create_dir_all(dir)?;
        }
        std::fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
    }
    if json {
        return print_json(&json!({ "dir": folder, "name": name, "kind": kind, "sdk": sdk }));
    }
    println!("made {}: src/lib.rs, {DESCRIPTION}, cases.toml, README.md, Cargo.toml", folder.display());
    if sdk.is_none() {
        println!(
            "sdk/plugin of Commonhold's source was not found: write its path into {}",
            folder.join("Cargo.toml").display()
        );
    }
    println!("next: cd {}, cargo test, commonhold plugin build", folder.display());
    Ok(())
}

fn files(kind: Kind, name: &str, sdk: Option<&Path>) -> Result<Vec<(&'static str, String)>> {
    let Template { source, cases, config, about } = template(kind);
    let path = sdk.map_or(Path::new("PATH/OF/commonhold/sdk/plugin"), |sdk| sdk);
    let path = path.to_str().context("the path of sdk/plugin is not UTF-8")?;
    let quoted = toml::Value::from(path);
    let tutorial = sdk
        .and_then(|sdk| Some(sdk.ancestors().nth(2)?.join("plugins/README.md").to_str()?.to_owned()))
        .unwrap_or_else(|| "plugins/README.md".to_owned());
    let fill = |text: &str| {
        text.replace("PLUGIN_NAME", name)
            .replace("PLUGIN_KIND", kind.as_str())
            .replace("PLUGIN_CONFIG", config)
            .replace("PLUGIN_TUTORIAL", &tutorial)
    };
    Ok(vec![
        ("src/lib.rs", fill(source)),
        ("cases.toml", fill(cases)),
        ("README.md", fill(include_str!("template/README.md"))),
        (
            DESCRIPTION,
            format!(
                "# What `commonhold plugin build` writes into the plugin, and operators read.\nname = \"{name}\"\nversion = \"0.1.0\"\nkind = \"{kind}\"\n# Of config, log, state: what the plugin calls, and nothing else.\ncapabilities = [\"config\", \"log\"]\nabout = \"{about}\"\n"
            ),
        ),
        (
            "Cargo.toml",
            format!(
                "[package]\nname = \"{name}\"\nversion = \"0.1.0\"\nedition = \"2024\"\npublish = false\n\n[lib]\ncrate-type = [\"cdylib\"]\n\n[dependencies]\ncommonhold-plugin = {{ path = {quoted} }}\n\n# A workspace of its own, wherever the folder lies.\n[workspace]\n"
            ),
        ),
        (".gitignore", "target/\n".to_owned()),
    ])
}

/// `sdk/plugin` in or at a folder.
fn sdk_in(dir: &Path) -> Option<PathBuf> {
    let candidates = [dir.to_owned(), dir.join("sdk/plugin")];
    let found = candidates.into_iter().find(|dir| {
        std::fs::read_to_string(dir.join("Cargo.toml"))
            .is_ok_and(|text| text.contains("name = \"commonhold-plugin\""))
    })?;
    found.canonicalize().ok()
}

/// In the source around the new folder, around this program, or that it was built from.
fn find_sdk(parent: &Path) -> Option<PathBuf> {
    let program = std::env::current_exe().ok();
    let around = parent.ancestors().chain(program.iter().flat_map(|file| file.ancestors()));
    let built_from = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    around.map(Path::to_owned).chain([built_from]).find_map(|dir| sdk_in(&dir))
}
