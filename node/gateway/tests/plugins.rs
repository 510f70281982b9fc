//! Endpoints of plugins through the typed client, and what never reaches the node.
#![allow(clippy::unwrap_used)]

mod common;

use common::Node;
use commonhold_client::types::{InstallOptions, PLUGIN_CONFIG_LEN_MAX, PLUGIN_LEN_MAX, PluginSetRequest};
use commonhold_format::ids::PartyId;

fn set(key: &str, value: Option<&str>) -> PluginSetRequest {
    PluginSetRequest { config: [(key.to_owned(), value.map(str::to_owned))].into() }
}

#[tokio::test]
async fn every_endpoint_is_reached_with_what_the_client_said() {
    let node = Node::start().await;
    let client = &node.client;
    let author = PartyId([7; 32]);
    let options = InstallOptions {
        author: Some(author.to_string()),
        unsigned: true,
        grant: Some("log,config".into()),
        config: Some(r#"{"a&b=": "c d"}"#.into()),
        ..InstallOptions::default()
    };
    client.plugins().await.unwrap();
    let refused = client.install_plugin(vec![0; 5], &options).await.unwrap_err();
    assert_eq!(refused.code(), Some("plugin_refused"));
    client.install_plugin(vec![0; PLUGIN_LEN_MAX], &InstallOptions::default()).await.unwrap_err();
    assert_eq!(client.enable_plugin("spread", &set("k", Some("v"))).await.unwrap().done, ["done"]);
    client.disable_plugin("spread").await.unwrap();
    client.disable_plugin("pricing").await.unwrap();
    client.set_plugin("spread", &set("k", None)).await.unwrap();
    client.remove_plugin("spread").await.unwrap();
    client.reload_plugins(None).await.unwrap();
    client.reload_plugins(Some("spread")).await.unwrap();
    assert_eq!(
        node.calls(),
        [
            "plugins".to_owned(),
            format!(
                "install 5 Install {{ author: Some(PartyId({author})), unsigned: true, follow: false, \
                 downgrade: false, grant: Some({{Config, Log}}), config: {{\"a&b=\": \"c d\"}} }}"
            ),
            format!(
                "install {PLUGIN_LEN_MAX} Install {{ author: None, unsigned: false, follow: false, \
                 downgrade: false, grant: None, config: {{}} }}"
            ),
            "enable spread {\"k\": Some(\"v\")}".into(),
            "disable Plugin(\"spread\")".into(),
            "disable Kind(Pricing)".into(),
            "set spread {\"k\": None}".into(),
            "remove plugin spread".into(),
            "reload None".into(),
            "reload Some(\"spread\")".into(),
        ]
    );
}

#[tokio::test]
async fn attack_39_names_that_are_paths_and_words_that_are_none_never_reach_the_node() {
    let node = Node::start().await;
    for name in ["..", "%2e%2e%2fetc", "a%2Fb", "A", "-a", "a.b", "a%00", "%C3%A4"] {
        for line in [
            format!("POST /v1/plugins/{name}/enable"),
            format!("POST /v1/plugins/{name}/disable"),
            format!("POST /v1/plugins/{name}/set"),
            format!("DELETE /v1/plugins/{name}"),
        ] {
            let json = "Content-Type: application/json\r\nContent-Length: 2\r\n";
            let answer = node.request(&line, json, "{}").await;
            assert!([400, 404, 405].contains(&answer.status), "{line}: {}", answer.status);
        }
        let body = format!("{{\"name\": {:?}}}", name.replace("%2F", "/").replace("%2f", "/"));
        assert_eq!(node.post("/v1/plugins/reload", &body).await.status, 400, "{name}");
    }
    let long = format!("config={{\"a\":\"{}\"}}", "x".repeat(PLUGIN_CONFIG_LEN_MAX));
    for query in ["author=me", "grant=net", "unsigned=1", "force=true", "config=1", "config={\"a\":1}", &long]
    {
        let wasm = "Content-Type: application/wasm\r\nContent-Length: 1\r\n";
        let query = query.replace('{', "%7B").replace('}', "%7D").replace('"', "%22");
        let answer = node.request(&format!("POST /v1/plugins?{query}"), wasm, "x").await;
        assert_eq!(answer.status, 400, "{query:.40}");
    }
    let json = "Content-Type: application/json\r\nContent-Length: 1\r\n";
    assert_eq!(node.request("POST /v1/plugins", json, "x").await.status, 400);
    assert_eq!(node.post("/v1/plugins/spread/enable", "{\"config\": {\"a\": 1}}").await.status, 400);
    assert_eq!(node.calls(), [""; 0]);
}

#[tokio::test]
async fn attack_39_a_file_beyond_the_bound_and_a_call_without_the_token_are_refused() {
    let node = Node::start().await;
    let refused = node
        .client
        .install_plugin(vec![0; PLUGIN_LEN_MAX + 1], &InstallOptions::default())
        .await
        .unwrap_err();
    assert_eq!(refused.code(), Some("too_large"));
    let (host, lines) =
        (node.address, ["GET /v1/plugins", "POST /v1/plugins/reload", "DELETE /v1/plugins/spread"]);
    for line in lines {
        let answer = node.raw(&format!("{line} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")).await;
        assert_eq!(answer.status, 401, "{line}");
    }
    assert_eq!(node.calls(), [""; 0]);
}
