//! Every dependency's licence is one that deny.toml allows.
#![allow(clippy::unwrap_used)]

mod workspace;

#[test]
fn every_dependency_has_an_allowed_licence() {
    let metadata = workspace::metadata();
    let config = std::fs::read_to_string(metadata.workspace_root.join("deny.toml")).unwrap();
    let config: toml::Table = config.parse().unwrap();
    let allow: Vec<spdx::Licensee> = config["licenses"]["allow"]
        .as_array()
        .unwrap()
        .iter()
        .map(|licence| spdx::Licensee::parse(licence.as_str().unwrap()).unwrap())
        .collect();
    let mut refused = Vec::new();
    for package in &metadata.packages {
        let Some(licence) = &package.license else {
            refused.push(format!("{} {} names no licence", package.name, package.version));
            continue;
        };
        let expression = spdx::Expression::parse_mode(licence, spdx::ParseMode::LAX).unwrap();
        if !expression.evaluate(|wanted| allow.iter().any(|allowed| allowed.satisfies(wanted))) {
            refused.push(format!("{} {} is under {licence}", package.name, package.version));
        }
    }
    assert!(metadata.packages.len() > 100, "only {} packages were looked at", metadata.packages.len());
    assert!(refused.is_empty(), "not allowed by deny.toml:\n{}", refused.join("\n"));
}
