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
            unknown => panic!("no type for the example {unknown}"),
        }
        seen.insert(name);
    }
    assert_eq!(seen.len(), 25, "examples are missing: {seen:?}");
    assert_eq!(spec.matches("```json").count(), 25, "an example does not say its type");
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
    assert_eq!(codes, 33);
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
