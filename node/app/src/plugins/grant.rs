//! `grant.toml`: what an operator lets a plugin do, and whose file it must be (spec/plugins.md,
//! "Grant").
//!
//! Invariant: a [`Grant`] in memory has been checked whole and keeps the bounds below; a misspelt key
//! never means less than it says. Not here: whether the plugin's file is what the grant pins.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use commonhold_format::ids::PartyId;
use commonhold_format::statement::Capability;
use data_encoding::HEXLOWER;
use serde::Deserialize;

use crate::config::{Party, parse_strict};

/// Most values that are set for a plugin.
pub const SETTINGS_MAX: usize = 64;
/// Longest key of one, bytes.
pub const SETTING_KEY_LEN_MAX: usize = 64;
/// Longest value, bytes.
pub const SETTING_VALUE_LEN_MAX: usize = 4096;
/// Most memory that an operator can grant, MiB.
pub const MEMORY_MIB_MAX: u64 = 64;
/// Most fuel that an operator can grant to a call.
pub const FUEL_MAX: u64 = 1_000_000_000;

/// A plugin's version, like `1.2.0`, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(pub [u32; 3]);

impl std::str::FromStr for Version {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let refused = || format!("{text:?} is no version: three numbers, like \"1.0.0\"");
        let mut numbers = [0; 3];
        let mut parts = text.split('.');
        for number in &mut numbers {
            let part = parts.next().ok_or_else(refused)?;
            *number = part.parse().map_err(|_| refused())?;
            if number.to_string() != part {
                return Err(refused());
            }
        }
        if parts.next().is_some() { Err(refused()) } else { Ok(Self(numbers)) }
    }
}

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [major, minor, patch] = self.0;
        write!(f, "{major}.{minor}.{patch}")
    }
}

/// Whose file is loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pin {
    /// What this author signed, from this version on.
    Author(PartyId, Version),
    /// The component with this SHA-256, whoever wrote it.
    Hash([u8; 32]),
    /// Whatever is in the folder: for development.
    Follow,
}

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// Whose file.
    pub pin: Pin,
    /// What it may import.
    pub capabilities: BTreeSet<Capability>,
    /// What is set for it.
    pub config: BTreeMap<String, String>,
    /// Fuel of a call, instead of the host's default.
    pub fuel: Option<u64>,
    /// Memory of a call in MiB, instead of the host's default.
    pub memory_mib: Option<u64>,
}

/// As it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    author: Option<Party>,
    version_min: Option<String>,
    hash: Option<String>,
    #[serde(default)]
    follow: bool,
    #[serde(default)]
    capabilities: Vec<String>,
    fuel: Option<u64>,
    memory_mib: Option<u64>,
    #[serde(default)]
    config: BTreeMap<String, String>,
}

impl Grant {
    /// Reads one, strictly.
    ///
    /// # Errors
    /// `line N: …`, with what is allowed.
    pub fn parse(text: &str) -> Result<Self, String> {
        let written: Written = parse_strict(text)?;
        let at = |key: &str, why: String| {
            let line = text.lines().position(|line| line.trim_start().starts_with(key));
            format!("line {}: {why}", 1 + line.unwrap_or(0))
        };
        let pin = match (written.author, written.hash, written.follow) {
            (Some(Party(author)), None, false) => {
                let lowest = written.version_min.as_deref().unwrap_or("0.0.0");
                Pin::Author(author, lowest.parse().map_err(|why| at("version_min", why))?)
            }
            (None, Some(hash), false) => {
                let bytes = HEXLOWER.decode(hash.as_bytes()).ok().and_then(|it| it.try_into().ok());
                Pin::Hash(bytes.ok_or_else(|| {
                    at("hash", format!("{hash:?} is no SHA-256: write its 64 hexadecimal digits"))
                })?)
            }
            (None, None, true) => Pin::Follow,
            _ => {
                return Err(at(
                    "follow",
                    "it needs one of author, hash and follow = true, and no two".into(),
                ));
            }
        };
        if written.version_min.is_some() && !matches!(pin, Pin::Author(..)) {
            return Err(at("version_min", "version_min goes with author alone".into()));
        }
        let capabilities = written.capabilities.iter().map(|word| word.parse());
        let capabilities = capabilities.collect::<Result<_, _>>().map_err(|why| at("capabilities", why))?;
        if let Some(fuel) = written.fuel.filter(|fuel| !(1..=FUEL_MAX).contains(fuel)) {
            return Err(at("fuel", format!("fuel is {fuel}, 1 to {FUEL_MAX} go")));
        }
        if let Some(mib) = written.memory_mib.filter(|mib| !(1..=MEMORY_MIB_MAX).contains(mib)) {
            return Err(at("memory_mib", format!("memory_mib is {mib}, 1 to {MEMORY_MIB_MAX} go")));
        }
        check_config(&written.config).map_err(|why| at("[config]", why))?;
        let Written { config, fuel, memory_mib, .. } = written;
        Ok(Self { pin, capabilities, config, fuel, memory_mib })
    }

    /// The commented file; parsing it gives this back.
    pub fn to_toml(&self) -> String {
        let mut text = String::from(
            "# What this node lets the plugin in this folder do. The running node notices changes.\n",
        );
        // Writing to memory cannot fail.
        let mut line = |what: String| {
            let _ = writeln!(text, "{what}");
        };
        match &self.pin {
            Pin::Author(author, lowest) => {
                line("# Only what this party signed is loaded, and no version before version_min.".into());
                line(format!("author = \"{author}\"\nversion_min = \"{lowest}\""));
            }
            Pin::Hash(hash) => {
                line("# Nobody signed it: only the component with this SHA-256 is loaded.".into());
                line(format!("hash = \"{}\"", HEXLOWER.encode(hash)));
            }
            Pin::Follow => {
                line("# For development: any plugin.wasm in this folder is loaded, whoever wrote it.".into());
                line("follow = true".into());
            }
        }
        let words: Vec<String> = self.capabilities.iter().map(|it| format!("\"{it}\"")).collect();
        line(format!(
            "# config: read what is set below; log: lines for the operator; state: remember things.\ncapabilities = [{}]",
            words.join(", ")
        ));
        let optional = |key: &str, value: Option<u64>, example: u64| match value {
            Some(value) => format!("{key} = {value}"),
            None => format!("# {key} = {example}"),
        };
        line("# Limits of a call; without them, the host's.".into());
        line(optional("fuel", self.fuel, 10_000_000));
        line(optional("memory_mib", self.memory_mib, 16));
        line("\n[config]".into());
        // A table of texts can always be written.
        text.push_str(&toml::to_string(&self.config).unwrap_or_default());
        text
    }
}

/// Whether values that are set keep their bounds.
///
/// # Errors
/// Which one they do not keep.
pub fn check_config(config: &BTreeMap<String, String>) -> Result<(), String> {
    if config.len() > SETTINGS_MAX {
        return Err(format!("{} values are set, {SETTINGS_MAX} are the most", config.len()));
    }
    for (key, value) in config {
        let fits = (1..=SETTING_KEY_LEN_MAX).contains(&key.len()) && !key.contains(char::is_control);
        if !fits {
            return Err(format!("the key {key:?} is not 1 to {SETTING_KEY_LEN_MAX} printable bytes"));
        }
        if value.len() > SETTING_VALUE_LEN_MAX {
            let len = value.len();
            return Err(format!(
                "the value of {key:?} has {len} bytes, {SETTING_VALUE_LEN_MAX} are the most"
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    const HASH: &str = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";

    #[test]
    fn mistakes_name_the_line_and_what_is_allowed() {
        let cases = [
            ("follow = true\nfolow = 1\n", "line 2", "follow"),
            ("capabilities = []\n", "line 1", "one of author, hash and follow"),
            ("author = \"me\"\n", "line 1", "64 hexadecimal digits"),
            ("\nhash = \"abc\"\n", "line 2", "64 hexadecimal digits"),
            ("follow = true\ncapabilities = [\"config\", \"net\"]\n", "line 2", "config, log or state"),
            ("follow = true\nmemory_mib = 65\n", "line 2", "1 to 64"),
            ("follow = true\nfuel = 0\n", "line 2", "1 to"),
            ("follow = true\n\n[config]\nx = 1\n", "line 4", "string"),
            ("follow = true\nversion_min = \"1.0.0\"\n", "line 2", "author alone"),
        ];
        for (text, line, allowed) in cases {
            let message = Grant::parse(text).unwrap_err();
            assert!(message.starts_with(&format!("{line}:")), "{text:?}: {message}");
            assert!(message.contains(allowed), "{text:?}: {message}");
        }
        for version in ["1", "1.0", "1.0.0.0", "01.0.0", "1.0.+1", "1.0.-1", ""] {
            let text = format!("author = \"{HASH}\"\nversion_min = \"{version}\"\n");
            let message = Grant::parse(&text).unwrap_err();
            assert!(message.starts_with("line 2:"), "{version}: {message}");
        }
        let two = format!("hash = \"{HASH}\"\nfollow = true\n");
        assert!(Grant::parse(&two).unwrap_err().contains("no two"));
    }

    proptest! {
        #[test]
        fn a_written_grant_is_read_back(
            pin in 0..3, lowest in any::<[u32; 3]>(), key in any::<[u8; 32]>(), chosen in 0..8_u8,
            config in prop::collection::btree_map("[^\\p{Cc}]{1,16}", ".{0,40}|[\\x00-\\x7f\"\\\\\n']{0,12}", 0..5),
            fuel in prop::option::of(1..=FUEL_MAX), memory_mib in prop::option::of(1..=MEMORY_MIB_MAX),
        ) {
            let pin = match pin {
                0 => Pin::Author(PartyId(key), Version(lowest)),
                1 => Pin::Hash(key),
                _ => Pin::Follow,
            };
            let chosen = (0..3).filter(|at| chosen & (1 << at) != 0).map(|at| Capability::ALL[at]);
            let grant = Grant {
                pin,
                capabilities: chosen.collect(),
                config: config.into_iter().filter(|(key, _)| key.len() <= SETTING_KEY_LEN_MAX).collect(),
                fuel,
                memory_mib,
            };
            prop_assert_eq!(Grant::parse(&grant.to_toml()).unwrap(), grant);
        }
    }
}
