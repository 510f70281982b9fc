//! spec/api.md against the code: examples and error codes.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;

use commonhold_client::types::*;
use commonhold_gateway::ApiFault;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

fn spec() -> String {
    std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../spec/api.md")).unwrap()
}

/// An example must survive a round trip whole: no field missing, none unknown to the type.
fn check<T: DeserializeOwned + Serialize>(example: &str) {
    let value: Value = serde_json::from_str(example).unwrap();
    let typed: T = serde_json::from_str(example).unwrap();
    assert_eq!(serde_json::to_value(typed).unwrap(), value);
}

#[test]
fn every_example_is_what_the_types_say() {
    let spec = spec();
    let mut seen = BTreeSet::new();
    for part in spec.split("<!-- ").skip(1) {
        let (name, rest) = part.split_once(" -->\n```json\n").unwrap();
        let (example, _) = rest.split_once("```").unwrap();
        match name {
            "ErrorBody" => check::<ErrorBody>(example),
            "Status" => check::<Status>(example),
            "Vec<Peer>" => check::<Vec<Peer>>(example),
            "Listing" => check::<Listing>(example),
            "PutReport" => check::<PutReport>(example),
            "Removed" => check::<Removed>(example),
            "AuditRequest" => check::<AuditRequest>(example),
            "AuditReport" => check::<AuditReport>(example),
            "RepairRequest" => check::<RepairRequest>(example),
            "RepairReport" => check::<RepairReport>(example),
            "CreditView" => check::<CreditView>(example),
            "PaymentRequest" => check::<PaymentRequest>(example),
            "TrustRequest" => check::<TrustRequest>(example),
            "SignedView" => check::<SignedView>(example),
            "StoreCheck" => check::<StoreCheck>(example),
            "StoreCompaction" => check::<StoreCompaction>(example),
            "StoreScrub" => check::<StoreScrub>(example),
            "Vec<ContractInfo>" => check::<Vec<ContractInfo>>(example),
            "InventoryPage" => check::<InventoryPage>(example),
            "LedgerView" => check::<LedgerView>(example),
            "PluginsView" => check::<PluginsView>(example),
            "PluginInstalled" => check::<PluginInstalled>(example),
            "PluginSetRequest" => check::<PluginSetRequest>(example),
            "PluginReloadRequest" => check::<PluginReloadRequest>(example),
            "PluginChanged" => check::<PluginChanged>(example),
            "LinkRequest" => check::<LinkRequest>(example),
            "FileInfo" => check::<FileInfo>(example),
            "Found" => check::<Found>(example),
            "UsageView" => check::<UsageView>(example),
            "MoveRequest" => check::<MoveRequest>(example),
            "FolderRequest" => check::<FolderRequest>(example),
            "VersionsView" => check::<VersionsView>(example),
            "Done" => check::<Done>(example),
            "RestoreVersionRequest" => check::<RestoreVersionRequest>(example),
            "BinView" => check::<BinView>(example),
            "BinRestoreRequest" => check::<BinRestoreRequest>(example),
            "BinEmptyRequest" => check::<BinEmptyRequest>(example),
            "BinEmptied" => check::<BinEmptied>(example),
            "HeadsView" => check::<HeadsView>(example),
            "ForkRequest" => check::<ForkRequest>(example),
            "Merged" => check::<Merged>(example),
            "CheckRequest" => check::<CheckRequest>(example),
            "CheckReport" => check::<CheckReport>(example),
            "UploadsView" => check::<UploadsView>(example),
            "UploadRequest" => check::<UploadRequest>(example),
            "UploadView" => check::<UploadView>(example),
            "PartView" => check::<PartView>(example),
            "CompleteRequest" => check::<CompleteRequest>(example),
            "SharesView" => check::<SharesView>(example),
            "ShareRequest" => check::<ShareRequest>(example),
            "ShareView" => check::<ShareView>(example),
            "TicketRequest" => check::<TicketRequest>(example),
            "Ticket" => check::<Ticket>(example),
            "DownloadsView" => check::<DownloadsView>(example),
            "DownloadView" => check::<DownloadView>(example),
            "S3KeysView" => check::<S3KeysView>(example),
            "S3KeyRequest" => check::<S3KeyRequest>(example),
            "S3KeyNew" => check::<S3KeyNew>(example),
            "S3KeyView" => check::<S3KeyView>(example),
            unknown => panic!("no type for the example {unknown}"),
        }
        seen.insert(name);
    }
    assert_eq!(seen.len(), 59, "examples are missing: {seen:?}");
    assert_eq!(spec.matches("```json").count(), 59, "an example does not say its type");
}

/// Every file below a folder of sources.
fn sources(folder: &std::path::Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries
        .flat_map(|path| {
            if path.is_dir() {
                sources(&path)
            } else {
                vec![std::fs::read_to_string(path).unwrap_or_default()]
            }
        })
        .collect()
}

/// Every `.route("/v1/…")` of the gateway's sources as `METHOD /path`.
fn routes() -> BTreeSet<String> {
    let mut routes = BTreeSet::new();
    for source in sources(concat!(env!("CARGO_MANIFEST_DIR"), "/src").as_ref()) {
        for route in source.split(".route(").skip(1) {
            let Some((path, rest)) = route.trim_start().strip_prefix('"').and_then(|it| it.split_once('"'))
            else {
                continue;
            };
            if !path.starts_with("/v1/") {
                continue;
            }
            // One route ends where its parentheses do.
            let mut depth = 0;
            let own = rest.chars().take_while(|c| {
                depth += i32::from(*c == '(') - i32::from(*c == ')');
                depth >= 0
            });
            let own: String = own.collect();
            for method in ["get", "put", "post", "delete"] {
                if own.contains(&format!(" {method}(")) || own.contains(&format!(").{method}(")) {
                    routes.insert(format!("{} {path}", method.to_uppercase()));
                }
            }
        }
    }
    routes
}

#[test]
fn the_spec_has_every_endpoint_and_no_other() {
    let spec = spec();
    let mut listed = BTreeSet::new();
    for heading in spec.lines().filter_map(|line| line.strip_prefix("### ")) {
        let (method, paths) = heading.split_once(' ').unwrap();
        for path in paths.split(" and ") {
            let path = path.split(['?', '[']).next().unwrap();
            listed.insert(format!("{method} {}", path.replace("{contract}", "{id}")));
        }
    }
    let routes: BTreeSet<String> =
        routes().into_iter().map(|route| route.replace("{contract}", "{id}")).collect();
    assert!(routes.len() > 50, "{routes:?}");
    assert_eq!(listed, routes);
}

#[test]
fn every_listed_code_has_its_listed_status() {
    let spec = spec();
    let (_, table) = spec.split_once("| code | status | meaning |\n|---|---|---|\n").unwrap();
    let mut codes = 0;
    for row in table.lines().take_while(|line| line.starts_with('|')) {
        let cells: Vec<_> = row.split('|').map(str::trim).collect();
        for (code, status) in cells[1].split(", ").zip(cells[2].split(", ")) {
            let code: &'static str = code.trim_matches('`').to_owned().leak();
            assert_eq!(ApiFault::new(code, "").status().as_u16().to_string(), status, "{code}");
            codes += 1;
        }
    }
    assert_eq!(codes, 39);
    assert_eq!(ApiFault::new("a word that nobody listed", "").status().as_u16(), 500);
}

#[test]
fn words_in_json_are_those_that_the_types_print() {
    for outcome in [
        AuditOutcome::Passed,
        AuditOutcome::WrongBytes,
        AuditOutcome::NoAnswer,
        AuditOutcome::Offline,
        AuditOutcome::Quarantined,
    ] {
        assert_eq!(serde_json::to_value(outcome).unwrap(), outcome.as_str());
    }
    for role in [Role::Owner, Role::Provider] {
        assert_eq!(serde_json::to_value(role).unwrap(), role.as_str());
    }
}

#[test]
fn answers_may_gain_fields_and_requests_may_not() {
    let removed = r#"{"path": "/x", "files": 1, "bytes": 2, "later": {"more": 1}}"#;
    assert!(serde_json::from_str::<Removed>(removed).is_ok());
    assert!(serde_json::from_str::<RepairRequest>(r#"{"later": 1}"#).is_err());
    assert!(serde_json::from_str::<AuditRequest>(r#"{"later": 1}"#).is_err());
}
