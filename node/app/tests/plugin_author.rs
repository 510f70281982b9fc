//! What somebody who writes a plugin meets: `plugin new` and `plugin build`, without a compiler for
//! WebAssembly. The components of committed plugins stand in for what such a compiler makes.
#![allow(clippy::unwrap_used)]

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use commonhold_format::policy::Kind;
use commonhold_format::policy::package::Package;

// The templates compile, and their unit tests pass, as part of these. Each is the root of a crate.
#[allow(unused_attributes)]
#[path = "../src/commands/plugin/template/placement.rs"]
mod placement;
#[allow(unused_attributes)]
#[path = "../src/commands/plugin/template/pricing.rs"]
mod pricing;
#[allow(unused_attributes)]
#[path = "../src/commands/plugin/template/transport.rs"]
mod transport;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn shipped(name: &str) -> PathBuf {
    root().join(format!("plugins/{name}/{name}.wasm"))
}

fn plugin(dir: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_commonhold"))
        .arg("plugin")
        .args(arguments)
        .current_dir(dir)
        .output()
        .unwrap()
}

fn done(output: Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn refused(output: Output) -> String {
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stdout));
    String::from_utf8(output.stderr).unwrap()
}

/// A folder with a description.
fn described(dir: &Path, kind: &str, capabilities: &str) {
    let text = format!(
        "name = \"mine\"\nversion = \"2.0.1\"\nkind = \"{kind}\"\ncapabilities = {capabilities}\nabout = \"Mine\"\n"
    );
    std::fs::write(dir.join("plugin.toml"), text).unwrap();
}

#[test]
fn new_makes_a_folder_that_is_all_of_a_plugin() {
    let dir = tempfile::tempdir().unwrap();
    for kind in Kind::ALL {
        let name = format!("my-{kind}");
        let said = done(plugin(dir.path(), &["new", kind.as_str(), &name, "--lang", "rust"]));
        assert!(said.contains(&format!("next: cd {name}, cargo test, commonhold plugin build")), "{said}");
        let read = |file: &str| std::fs::read_to_string(dir.path().join(&name).join(file)).unwrap();
        for file in ["src/lib.rs", "README.md", "Cargo.toml", "plugin.toml", "cases.toml"] {
            let text = read(file);
            assert!(!text.contains("PLUGIN_"), "{file}: {text}");
        }
        let cargo: toml::Table = read("Cargo.toml").parse().unwrap();
        let sdk = Path::new(cargo["dependencies"]["commonhold-plugin"]["path"].as_str().unwrap());
        assert_eq!(sdk, root().join("sdk/plugin").canonicalize().unwrap(), "found by itself");
        let about: toml::Table = read("plugin.toml").parse().unwrap();
        assert_eq!((about["name"].as_str(), about["kind"].as_str()), (Some(&*name), Some(kind.as_str())));
        assert!(read("src/lib.rs").contains(&format!("export_{kind}!(Policy, log)")));
        read("cases.toml").parse::<toml::Table>().unwrap();
    }
    let why = refused(plugin(dir.path(), &["new", "pricing", "my-pricing"]));
    assert!(why.contains("cannot make my-pricing: File exists"), "{why}");
}

#[test]
fn new_refuses_what_it_cannot_name_or_find() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["Mine", "../mine", "1st", &"a".repeat(41)] {
        let why = refused(plugin(dir.path(), &["new", "placement", name]));
        assert!(why.contains("1 to 40 of a-z, 0-9 and -, a letter first"), "{why}");
    }
    let why = refused(plugin(dir.path(), &["new", "placement", "mine", "--sdk", "."]));
    assert!(why.contains(". is neither Commonhold's source nor its sdk/plugin"), "{why}");
    assert_eq!(plugin(dir.path(), &["new", "storage", "mine"]).status.code(), Some(2));
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "nothing was made");
    let said = done(plugin(
        dir.path(),
        &["new", "placement", "mine", "--dir", "a/b", "--sdk", root().to_str().unwrap()],
    ));
    assert!(said.contains("made a/b/mine") && dir.path().join("a/b/mine/plugin.toml").is_file(), "{said}");
}

#[test]
fn build_packs_a_component_of_other_tools() {
    let dir = tempfile::tempdir().unwrap();
    described(dir.path(), "placement", "[\"log\", \"config\", \"state\"]");
    let from = shipped("spread");
    let said = done(plugin(dir.path(), &["build", "--from", from.to_str().unwrap()]));
    assert!(said.starts_with("./mine.wasm: mine 2.0.1, placement 0.1.0, "), "{said}");
    assert!(said.contains("plugin.toml names state and the plugin does not call it"), "{said}");
    let (new, old) = (std::fs::read(dir.path().join("mine.wasm")).unwrap(), std::fs::read(from).unwrap());
    let (new, old) = (Package::open(&new).unwrap(), Package::open(&old).unwrap());
    assert_eq!(new.component, old.component, "the old manifest is gone, the code is as it was");
    assert_eq!((new.manifest.name.as_str(), new.manifest.about.as_str()), ("mine", "Mine"));
    assert!(said.contains(&data_encoding::HEXLOWER.encode(&new.manifest.component)), "{said}");

    let json = done(plugin(dir.path(), &["build", "--from", "mine.wasm", "--out", "other.wasm", "--json"]));
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json[0]["file"], "other.wasm");
    assert_eq!(json[0]["unused_capabilities"], serde_json::json!(["state"]));
}

#[test]
fn what_was_built_is_signed_where_it_lies() {
    let dir = tempfile::tempdir().unwrap();
    described(dir.path(), "placement", "[\"log\", \"config\"]");
    done(plugin(dir.path(), &["build", "--from", shipped("spread").to_str().unwrap()]));
    let commonhold = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_commonhold"));
        done(command.args(["--data-dir", "data"]).args(arguments).current_dir(dir.path()).output().unwrap())
    };
    commonhold(&["init"]);
    commonhold(&["plugin", "sign", "mine.wasm"]);
    let signed = std::fs::read(dir.path().join("mine.wasm")).unwrap();
    assert!(Package::open(&signed).unwrap().manifest.author.is_some());
}

#[test]
fn build_says_what_is_wrong() {
    let dir = tempfile::tempdir().unwrap();
    let build = |from: &Path| refused(plugin(dir.path(), &["build", "--from", from.to_str().unwrap()]));
    let why = build(&shipped("spread"));
    assert!(why.contains("cannot read ./plugin.toml: name a plugin's folder"), "{why}");

    described(dir.path(), "placement", "[\"log\"]");
    let why = build(&shipped("spread"));
    assert!(
        why.contains(
            "it calls config, and plugin.toml does not ask for it: write capabilities = [\"config\", \"log\"]"
        ),
        "{why}"
    );
    described(dir.path(), "pricing", "[\"log\", \"config\"]");
    let why = build(&shipped("spread"));
    assert!(why.contains("plugin.toml says kind = \"pricing\" and the plugin exports placement"), "{why}");
    described(dir.path(), "pricing", "[\"clock\"]");
    let why = build(&shipped("default-pricing"));
    assert!(why.contains("\"clock\" is no capability: config, log or state"), "{why}");
    std::fs::write(dir.path().join("plugin.toml"), "name = \"mine\"\nkind = \"pricing\"\nlimit = 3\n")
        .unwrap();
    let why = build(&shipped("default-pricing"));
    assert!(why.contains("unknown field `limit`"), "{why}");

    described(dir.path(), "placement", "[]");
    let whole = std::fs::read(shipped("default-placement")).unwrap();
    let file = dir.path().join("some.wasm");
    for (bytes, says) in [
        (&b"#!/bin/sh\n"[..], "this is not WebAssembly"),
        (&whole[..5], "this is not WebAssembly"),
        (&whole[..whole.len() / 2], "it is cut off"),
        // An empty module and an empty component.
        (b"\0asm\x01\0\0\0", "it exports nothing"),
        (b"\0asm\x0d\0\x01\0", "it exports nothing"),
    ] {
        std::fs::write(&file, bytes).unwrap();
        let why = build(&file);
        assert!(why.contains(says), "{why}");
    }
    assert!(!dir.path().join("mine.wasm").exists(), "nothing was written");
}

#[test]
fn without_a_compiler_build_says_what_to_install() {
    let dir = tempfile::tempdir().unwrap();
    described(dir.path(), "placement", "[]");
    let build = || {
        let program = env!("CARGO_BIN_EXE_commonhold");
        let mut command = Command::new(program);
        command.args(["plugin", "build"]).current_dir(dir.path()).env_remove("RUSTC").env("PATH", dir.path());
        refused(command.output().unwrap())
    };
    let why = build();
    assert!(why.contains("there is no ./Cargo.toml") && why.contains("--from"), "{why}");
    std::fs::write(dir.path().join("Cargo.toml"), "").unwrap();
    let why = build();
    assert!(why.contains("there is no Rust compiler here: install Rust from https://rustup.rs"), "{why}");

    // One that can build for this machine alone.
    let rustc = dir.path().join("rustc");
    std::fs::write(&rustc, "#!/bin/sh\necho /nowhere\n").unwrap();
    std::fs::set_permissions(&rustc, std::fs::Permissions::from_mode(0o755)).unwrap();
    let why = build();
    assert!(why.contains("no compiler here can build for WebAssembly"), "{why}");
    assert!(why.contains("rustup target add wasm32-unknown-unknown"), "{why}");
    assert!(why.contains("apt-get install --no-install-recommends rustc-web rust-web-src"), "{why}");
}
