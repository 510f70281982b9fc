//! Policy plugins of a node as the local API shows them and is asked to change them (spec/api.md,
//! spec/plugins.md).
//!
//! Invariant: texts that a plugin wrote (its description, log lines, messages of its faults) carry no
//! control characters. Not here: what a plugin decides.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Longest file of a plugin in the body of a request, bytes.
pub const PLUGIN_LEN_MAX: usize = 16 << 20;
/// Longest JSON of a configuration in a query, bytes once decoded.
pub const PLUGIN_CONFIG_LEN_MAX: usize = 16 * 1024;

/// `GET /v1/plugins`: who decides, and what is installed.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct PluginsView {
    /// One for each kind of policy.
    pub kinds: Vec<PolicyView>,
    /// What is installed, by name.
    pub plugins: Vec<PluginView>,
}

/// Who decides in one world.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct PolicyView {
    /// `"placement"`, `"transport"` or `"pricing"`.
    pub kind: String,
    /// The plugin that the operator enabled; absent for the built-in default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plugin: Option<String>,
    /// Who answers the next question, `"plugin"` or `"default"`.
    pub decides: String,
    /// Decisions that the default took since the node started, in place of a plugin or without one.
    pub default_decisions: u64,
    /// Why the default decides although a plugin is enabled, or what else is wrong; absent when all is
    /// well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// Since when there is this problem, Unix seconds; absent without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<u64>,
}

/// A plugin that is installed.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct PluginView {
    /// Its name, which is its folder's too.
    pub name: String,
    /// Its own version; empty when its file cannot be read.
    pub version: String,
    /// `"placement"`, `"transport"` or `"pricing"`; empty when its file cannot be read.
    pub kind: String,
    /// Version of the interface that it was built for; empty when its file cannot be read.
    pub api: String,
    /// What it says of itself.
    pub about: String,
    /// The party that signed it; absent when nobody did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    /// SHA-256 of its component; empty when its file cannot be read.
    pub component: String,
    /// Bytes of its file.
    pub bytes: u64,
    /// Capabilities that it asks for.
    pub asks: Vec<String>,
    /// Capabilities that the operator granted.
    pub granted: Vec<String>,
    /// Is every change of its file loaded, whoever wrote it?
    pub follow: bool,
    /// What the operator set for it.
    pub config: BTreeMap<String, String>,
    /// `"off"`, `"active"`, `"resting"` (not asked for a while after repeated faults), `"not_loaded"`
    /// (enabled, and the default decides) or `"broken"` (off, and could not be enabled).
    pub state: String,
    /// What the operator should know about it; absent when all is well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// What it did since it was loaded; absent when it is not, or no node runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metrics: Option<PluginMetrics>,
    /// Its last lines for the operator, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub log: Vec<PluginLine>,
}

/// What a plugin did since it was loaded.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct PluginMetrics {
    /// Calls, faults among them.
    pub calls: u64,
    /// Calls that ended in a fault; the default decided instead.
    pub faults: u64,
    /// Faults by their kind, like `"fuel"`, `"wall"`, `"memory"`, `"trap"` or `"answer"`.
    pub faults_by_kind: BTreeMap<String, u64>,
    /// Questions that the plugin was not asked, because it failed too often before.
    pub passed_over: u64,
    /// Mean time of a call, nanoseconds.
    pub mean_nanoseconds: u64,
    /// Longest call, nanoseconds.
    pub longest_nanoseconds: u64,
    /// Mean fuel of a call.
    pub mean_fuel: u64,
    /// The last fault, as a sentence; absent when there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_fault: Option<String>,
    /// When it was, Unix seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_fault_at: Option<u64>,
    /// Until when the plugin is not asked, Unix seconds; absent while it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resting_until: Option<u64>,
    /// Bytes that it remembers from call to call.
    pub state_bytes: u64,
}

/// A line that a plugin wrote for the operator.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct PluginLine {
    /// When, Unix seconds.
    pub time: u64,
    /// `"debug"`, `"info"`, `"warning"` or `"error"`.
    pub level: String,
    /// What.
    pub message: String,
}

/// How a plugin is installed: the query of `POST /v1/plugins`, whose body is its file.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct InstallOptions {
    /// Trust this author (a party) for this plugin.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    /// Take a plugin that nobody signed; it is pinned to its hash.
    pub unsigned: bool,
    /// For development: load every change of its file, whoever wrote it.
    pub follow: bool,
    /// Put an older version in the place of a newer one.
    pub downgrade: bool,
    /// Capabilities that are granted, with commas between; without it, those granted before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grant: Option<String>,
    /// What is set for it: a JSON object of texts; added to what was set before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub config: Option<String>,
}

/// `POST /v1/plugins`: what was installed.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct PluginInstalled {
    /// As it is now.
    pub plugin: PluginView,
    /// The version whose place it took; absent for a new one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaced: Option<String>,
    /// Why it is trusted, as a sentence.
    pub trusted: String,
}

/// Body of `POST /v1/plugins/{name}/enable` and `…/set`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PluginSetRequest {
    /// Values to set; `null` takes one away.
    pub config: BTreeMap<String, Option<String>>,
}

/// Body of `POST /v1/plugins/reload`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PluginReloadRequest {
    /// This plugin alone; without it, all that are enabled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// A change to plugins, and what came of it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct PluginChanged {
    /// What was done, as sentences.
    pub done: Vec<String>,
    /// What was not done, as sentences; empty when all was.
    pub failed: Vec<String>,
}
