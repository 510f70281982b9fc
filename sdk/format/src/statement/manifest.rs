//! What a policy plugin says of itself (spec/plugins.md, "Manifest"). Its author signs it as a note.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use super::text::{Fields, Lines};
use super::{StatementError, TEXT_LEN_MAX};
use crate::ids::PartyId;
use crate::policy::Kind;

/// Longest name of a plugin, bytes.
pub const POLICY_NAME_LEN_MAX: usize = 40;
/// Longest description of a plugin, bytes.
pub const POLICY_ABOUT_LEN_MAX: usize = 120;
/// Longest version, bytes.
const VERSION_LEN_MAX: usize = 32;

/// What a plugin may import.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Capability {
    /// Values that the operator set for it.
    Config,
    /// Lines for the operator.
    Log,
    /// Remembering from call to call.
    State,
}

impl Capability {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Config, Self::Log, Self::State];

    /// Its word, which is also the name of the WIT interface.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Config => "config",
            Self::Log => "log",
            Self::State => "state",
        }
    }
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Capability {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|it| it.as_str() == text);
        found.ok_or_else(|| format!("{text:?} is no capability: config, log or state"))
    }
}

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyManifest {
    /// 1 to [`POLICY_NAME_LEN_MAX`] of `a-z`, `0-9` and `-`, a letter first.
    pub name: String,
    /// The plugin's own version, three numbers like `1.0.0`.
    pub version: String,
    /// What it decides.
    pub kind: Kind,
    /// Version of the WIT that it was built for, like `0.1.0`.
    pub api: String,
    /// What it asks for.
    pub capabilities: BTreeSet<Capability>,
    /// One line for people, at most [`POLICY_ABOUT_LEN_MAX`] bytes, maybe empty.
    pub about: String,
    /// SHA-256 of the component without the section that this stands in.
    pub component: [u8; 32],
    /// Bytes of that.
    pub size: u64,
    /// Who signs it; `None` while nobody has.
    pub author: Option<PartyId>,
}

impl PolicyManifest {
    /// First line of its text.
    pub const KIND: &'static str = "commonhold/policy-manifest/v1";

    /// Its one text.
    pub fn to_text(&self) -> String {
        let list = |it: &BTreeSet<Capability>| it.iter().map(|it| it.as_str()).collect::<Vec<_>>().join(" ");
        let author = self.author.map_or_else(|| NONE.to_owned(), |author| author.to_string());
        let capabilities =
            if self.capabilities.is_empty() { NONE.to_owned() } else { list(&self.capabilities) };
        Lines::of(Self::KIND)
            .field("name", &self.name)
            .field("version", &self.version)
            .field("kind", self.kind)
            .field("api", &self.api)
            .field("capabilities", capabilities)
            .field("about", if self.about.is_empty() { NONE } else { &self.about })
            .bytes("component", &self.component)
            .field("size", self.size)
            .field("author", author)
            .0
    }

    /// Strict inverse of [`to_text`](Self::to_text).
    ///
    /// # Errors
    /// [`StatementError`] names the line that is not as it must be.
    pub fn from_text(text: &str) -> Result<Self, StatementError> {
        let refuse = |line, why: &str| StatementError { line, why: why.to_owned() };
        if text.len() > TEXT_LEN_MAX {
            return Err(refuse(1, "longer than any manifest"));
        }
        let (kind, mut fields) = Fields::of(text);
        if kind != Self::KIND {
            return Err(refuse(1, "not the manifest of a policy"));
        }
        let manifest = Self {
            name: fields.value("name")?,
            version: fields.value("version")?,
            kind: fields.value("kind")?,
            api: fields.value("api")?,
            capabilities: fields.value::<Capabilities>("capabilities")?.0,
            about: fields.value::<About>("about")?.0,
            component: fields.bytes("component")?,
            size: fields.value("size")?,
            author: fields.value::<Author>("author")?.0,
        };
        fields.end()?;
        manifest.check().map_err(|(line, why)| refuse(line, why))?;
        Ok(manifest)
    }

    /// Whether each field is within its bounds; the line of the first that is not, and why.
    ///
    /// # Errors
    /// The line of the text, from 1, and a phrase.
    pub fn check(&self) -> Result<(), (usize, &'static str)> {
        if !is_policy_name(&self.name) {
            return Err((2, "a name is 1 to 40 of a-z, 0-9 and -, a letter first"));
        }
        if !is_version(&self.version) {
            return Err((3, "a version is three numbers, like 1.0.0"));
        }
        if !is_version(&self.api) {
            return Err((5, "the version of the API is three numbers, like 0.1.0"));
        }
        let clear = self.about.len() <= POLICY_ABOUT_LEN_MAX && !self.about.contains(char::is_control);
        if !clear || self.about == NONE {
            return Err((7, "a description is one line of at most 120 bytes"));
        }
        Ok(())
    }
}

const NONE: &str = "none";

/// Whether a text can be a plugin's name: 1 to [`POLICY_NAME_LEN_MAX`] of `a-z`, `0-9` and `-`, a letter
/// first. Such a text is one step of a path and no more.
pub fn is_policy_name(name: &str) -> bool {
    (1..=POLICY_NAME_LEN_MAX).contains(&name.len())
        && name.starts_with(|first: char| first.is_ascii_lowercase())
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}

fn is_version(version: &str) -> bool {
    let number = |part: &str| part.parse::<u32>().is_ok_and(|it| it.to_string() == part);
    version.len() <= VERSION_LEN_MAX && version.split('.').count() == 3 && version.split('.').all(number)
}

macro_rules! field {
    ($name:ident($inner:ty), $parse:expr, $show:expr) => {
        struct $name($inner);

        impl FromStr for $name {
            type Err = ();

            fn from_str(text: &str) -> Result<Self, ()> {
                let parse: fn(&str) -> Option<$inner> = $parse;
                if text == NONE { Ok(Self(Default::default())) } else { parse(text).map(Self).ok_or(()) }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let show: fn(&$inner) -> String = $show;
                let text = show(&self.0);
                f.write_str(if text.is_empty() { NONE } else { &text })
            }
        }
    };
}

field!(
    Capabilities(BTreeSet<Capability>),
    |text| text.split(' ').map(|word| word.parse().ok()).collect(),
    |it| it.iter().map(|it| it.as_str()).collect::<Vec<_>>().join(" ")
);
field!(About(String), |text| Some(text.to_owned()), Clone::clone);
field!(Author(Option<PartyId>), |text| text.parse().ok().map(Some), |it| it
    .map_or_else(String::new, |it| it.to_string()));
