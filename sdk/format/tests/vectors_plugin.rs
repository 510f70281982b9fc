//! The vectors of spec/plugins.md.

#![allow(clippy::unwrap_used)]

mod vector_case;

use commonhold_format::policy::package::{Package, PackageError, seal};
use commonhold_format::statement::PolicyManifest;
use proptest::prelude::*;
use vector_case::Case;

#[test]
fn plugin_vectors() {
    vector_case::for_each("plugin", |expect, case| {
        let file = case.bytes("file");
        let found = match Package::open(&file) {
            Ok(package) => {
                let manifest = case.object("manifest", fields);
                assert_eq!(package.manifest.to_text(), manifest, "{}", case.name());
                assert!(file.starts_with(package.component));
                "ok"
            }
            Err(PackageError::NotComponent(_)) => "component",
            Err(PackageError::NoManifest(_)) => "no-manifest",
            Err(PackageError::Manifest(_)) => "manifest",
            Err(PackageError::Changed) => "changed",
            Err(PackageError::Signature(_)) => "signature",
            Err(error @ PackageError::TooLarge(_)) => panic!("{}: {error}", case.name()),
        };
        assert_eq!(found, expect, "{}", case.name());
    });
}

/// The manifest's text from the vector's fields.
fn fields(case: &mut Case) -> String {
    let names = ["name", "version", "kind", "api", "capabilities", "about", "component", "size", "author"];
    let rows = names.map(|name| format!("{name}: {}\n", case.text(name)));
    format!("{}\n{}", PolicyManifest::KIND, rows.concat())
}

proptest! {
    #[test]
    fn attack_39_no_bytes_are_taken_for_a_plugin(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let mut file = b"\0asm\x0d\0\x01\0".to_vec();
        file.extend(&bytes);
        prop_assert!(Package::open(&file).is_err());
        prop_assert!(Package::open(&bytes).is_err());
    }

    #[test]
    fn a_manifest_is_read_as_it_was_written(
        name in "[a-z][a-z0-9-]{0,39}",
        version in "[1-9][0-9]{0,5}\\.(0|[1-9][0-9]{0,5})\\.0",
        about in "[ -~äß€]{0,40}",
    ) {
        let text = "\u{0}asm\u{d}\u{0}\u{1}\u{0}";
        let manifest = PolicyManifest {
            name,
            version,
            kind: commonhold_format::policy::Kind::Pricing,
            api: "0.1.0".to_owned(),
            capabilities: Default::default(),
            about,
            component: [0; 32],
            size: 0,
            author: None,
        };
        prop_assume!(manifest.about != "none");
        let file = seal(text.as_bytes(), &manifest, None).unwrap();
        let opened = Package::open(&file).unwrap().manifest;
        prop_assert_eq!(PolicyManifest::from_text(&opened.to_text()).unwrap(), opened.clone());
        prop_assert_eq!((opened.name, opened.version, opened.about), (manifest.name, manifest.version, manifest.about));
    }
}
