//! Whether a plugin may be installed, and what the operator grants by it (spec/plugins.md, "Installing").
//!
//! Invariant: whoever signed the plugin of a name stays the only one whose file takes its place, and
//! nothing is granted that the operator did not name. Decides only; reads and writes nothing.

use commonhold_format::ids::PartyId;
use commonhold_format::policy::Kind;
use commonhold_format::statement::PolicyManifest;
use commonhold_gateway::Install;

use super::PluginError;
use super::grant::{Grant, Pin, Version, check_config};

/// What is there under the name.
pub struct Installed {
    /// Its grant.
    pub grant: Grant,
    /// Its manifest, if its file can be read.
    pub manifest: Option<PolicyManifest>,
}

/// What installing comes to.
#[derive(Debug, PartialEq, Eq)]
pub struct Decision {
    /// What is granted.
    pub grant: Grant,
    /// Why it is trusted, as a sentence.
    pub trusted: String,
    /// The version whose place it takes.
    pub replaced: Option<String>,
}

fn refuse<T>(why: String) -> Result<T, PluginError> {
    Err(PluginError::Refused(why))
}

/// Decides about a plugin whose signature was checked. `me` is the node's own party, `old` what has the
/// same name.
///
/// # Errors
/// [`PluginError::Refused`] says what the operator can do.
pub fn decide(
    me: &PartyId,
    old: Option<&Installed>,
    manifest: &PolicyManifest,
    install: &Install,
) -> Result<Decision, PluginError> {
    let name = &manifest.name;
    if name.parse::<Kind>().is_ok() || name == "reload" {
        return refuse(format!(
            "a plugin cannot be called {name:?}: the word means something else in commands"
        ));
    }
    let version: Version = manifest.version.parse().map_err(PluginError::Refused)?;
    if let Some(Installed { manifest: Some(there), .. }) = old
        && there.kind != manifest.kind
    {
        return refuse(format!(
            "{name} is installed as a plugin for {}, and this one is for {}: remove it first",
            there.kind, manifest.kind
        ));
    }
    let (pin, trusted) = match manifest.author {
        Some(author) => signed(me, old, manifest, install, author, version)?,
        None => unsigned(old, manifest, install)?,
    };
    if !install.downgrade {
        refuse_older(old, manifest, version)?;
    }
    let before = old.map(|old| &old.grant);
    let capabilities = match &install.grant {
        Some(capabilities) => capabilities.clone(),
        None => before.map(|grant| grant.capabilities.clone()).unwrap_or_default(),
    };
    if !manifest.capabilities.is_subset(&capabilities) {
        let words = |it: &mut dyn Iterator<Item = &str>, between| it.collect::<Vec<_>>().join(between);
        let asked = || manifest.capabilities.iter().map(|it| it.as_str());
        return refuse(format!(
            "{name} asks for {}: grant it with --grant {}, if it may",
            words(&mut asked(), " and "),
            words(&mut asked(), ",")
        ));
    }
    let mut config = before.map(|grant| grant.config.clone()).unwrap_or_default();
    config.extend(install.config.clone());
    check_config(&config).map_err(PluginError::Invalid)?;
    let replaced = old.map(|old| old.manifest.as_ref().map_or_else(String::new, |it| it.version.clone()));
    let (fuel, memory_mib) = before.map_or((None, None), |grant| (grant.fuel, grant.memory_mib));
    Ok(Decision { grant: Grant { pin, capabilities, config, fuel, memory_mib }, trusted, replaced })
}

fn signed(
    me: &PartyId,
    old: Option<&Installed>,
    manifest: &PolicyManifest,
    install: &Install,
    author: PartyId,
    version: Version,
) -> Result<(Pin, String), PluginError> {
    let name = &manifest.name;
    if let Some(wanted) = install.author.filter(|wanted| *wanted != author) {
        return refuse(format!("{name} is signed by {author}, and not by {wanted}"));
    }
    let pinned = match old.map(|old| &old.grant.pin) {
        Some(Pin::Author(pinned, _)) => Some(*pinned),
        _ => None,
    };
    let trusted = match pinned {
        Some(pinned) if pinned != author => {
            return refuse(format!(
                "{name} is installed from {pinned}, and this file is signed by {author}: remove it first, if another author is to take over"
            ));
        }
        Some(_) => "signed by the author that was trusted before".to_owned(),
        None if author == *me => "signed by this node's own party".to_owned(),
        None if install.author == Some(author) => "signed by the author that was named".to_owned(),
        None if install.follow => "taken as it is, for development".to_owned(),
        None => {
            return refuse(format!(
                "{name} is signed by {author}, whom this node does not trust for it: name the key with --author {author}, if you know that it is the author's"
            ));
        }
    };
    match (install.follow, pinned) {
        (true, Some(_)) => follow_signed(name),
        (true, None) => Ok((Pin::Follow, followed())),
        (false, _) => Ok((Pin::Author(author, version), trusted)),
    }
}

fn unsigned(
    old: Option<&Installed>,
    manifest: &PolicyManifest,
    install: &Install,
) -> Result<(Pin, String), PluginError> {
    let name = &manifest.name;
    if let Some(author) = install.author {
        return refuse(format!("{name} is signed by nobody, and not by {author}"));
    }
    if !install.unsigned && !install.follow {
        return refuse(format!(
            "{name} is signed by nobody: sign it with `commonhold plugin sign`, or take it as it is with --unsigned"
        ));
    }
    if let Some(Pin::Author(pinned, _)) = old.map(|old| &old.grant.pin) {
        if install.follow {
            return follow_signed(name);
        }
        return refuse(format!(
            "{name} is installed from {pinned}, and this file is signed by nobody: remove it first, if that is meant"
        ));
    }
    match install.follow {
        true => Ok((Pin::Follow, followed())),
        false => {
            Ok((Pin::Hash(manifest.component), "signed by nobody: pinned to this very component".to_owned()))
        }
    }
}

fn followed() -> String {
    "not checked: whatever is written to its file is loaded (--follow)".to_owned()
}

fn follow_signed(name: &str) -> Result<(Pin, String), PluginError> {
    refuse(format!(
        "{name} is installed with an author who signs it: remove it first, to take what nobody signed"
    ))
}

fn refuse_older(old: Option<&Installed>, new: &PolicyManifest, version: Version) -> Result<(), PluginError> {
    let Some(old) = old.filter(|old| old.grant.pin != Pin::Follow) else { return Ok(()) };
    let lowest = match &old.grant.pin {
        Pin::Author(_, lowest) => Some(*lowest),
        Pin::Hash(_) | Pin::Follow => None,
    };
    let there = old.manifest.as_ref().and_then(|it| it.version.parse().ok()).max(lowest);
    match there {
        Some(there) if there > version => refuse(format!(
            "{} {there} is installed, and {version} is older: use --downgrade, if that is meant",
            new.name
        )),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use commonhold_format::policy::API_VERSION;
    use commonhold_format::statement::Capability;

    use super::*;

    const ME: PartyId = PartyId([1; 32]);
    const OTHER: PartyId = PartyId([2; 32]);
    const THIRD: PartyId = PartyId([3; 32]);

    fn manifest(author: Option<PartyId>, version: &str) -> PolicyManifest {
        PolicyManifest {
            name: "spread".into(),
            version: version.into(),
            kind: Kind::Placement,
            api: API_VERSION.into(),
            capabilities: [Capability::Config].into(),
            about: String::new(),
            component: [9; 32],
            size: 1,
            author,
        }
    }

    /// With what the manifest asks for granted.
    fn install() -> Install {
        Install { grant: Some([Capability::Config].into()), ..Install::default() }
    }

    fn there(author: Option<PartyId>, version: &str, install: &Install) -> Installed {
        let manifest = manifest(author, version);
        let grant = decide(&ME, None, &manifest, install).unwrap().grant;
        Installed { grant, manifest: Some(manifest) }
    }

    fn refusal(old: Option<&Installed>, manifest: &PolicyManifest, install: &Install) -> String {
        match decide(&ME, old, manifest, install) {
            Err(PluginError::Refused(why)) => why,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn attack_39_an_author_is_trusted_when_it_is_me_or_named_or_was_before() {
        let own = decide(&ME, None, &manifest(Some(ME), "1.0.0"), &install()).unwrap();
        assert_eq!(own.grant.pin, Pin::Author(ME, Version([1, 0, 0])));
        let of_other = manifest(Some(OTHER), "1.0.0");
        assert!(refusal(None, &of_other, &install()).contains(&format!("--author {OTHER}")));
        // Neither of them is a way around it.
        for install in [Install { unsigned: true, ..install() }, Install { author: Some(THIRD), ..install() }]
        {
            assert!(refusal(None, &of_other, &install).contains("signed by"));
        }
        let named = Install { author: Some(OTHER), ..install() };
        let old = there(Some(OTHER), "1.0.0", &named);
        let next = decide(&ME, Some(&old), &manifest(Some(OTHER), "1.1.0"), &Install::default()).unwrap();
        assert_eq!(next.grant.pin, Pin::Author(OTHER, Version([1, 1, 0])));
        assert_eq!(next.replaced.as_deref(), Some("1.0.0"));
        assert_eq!(next.grant.capabilities, [Capability::Config].into(), "it stays granted");
    }

    #[test]
    fn attack_39_nobody_takes_over_a_name_from_its_author() {
        let old = there(Some(OTHER), "1.0.0", &Install { author: Some(OTHER), ..install() });
        let named = Install { author: Some(THIRD), ..install() };
        assert!(refusal(Some(&old), &manifest(Some(THIRD), "2.0.0"), &named).contains("remove it first"));
        assert!(refusal(Some(&old), &manifest(Some(ME), "2.0.0"), &install()).contains("remove it first"));
        for install in [Install { unsigned: true, ..install() }, Install { follow: true, ..install() }] {
            assert!(refusal(Some(&old), &manifest(None, "2.0.0"), &install).contains("remove it first"));
        }
        let follow = Install { follow: true, ..install() };
        assert!(refusal(Some(&old), &manifest(Some(OTHER), "2.0.0"), &follow).contains("remove it first"));
    }

    #[test]
    fn an_unsigned_one_is_pinned_to_its_hash_and_may_become_a_signed_one() {
        let nobodys = manifest(None, "1.0.0");
        assert!(refusal(None, &nobodys, &install()).contains("--unsigned"));
        let author = Install { author: Some(OTHER), unsigned: true, ..install() };
        assert!(refusal(None, &nobodys, &author).contains("signed by nobody"));
        let old = there(None, "1.0.0", &Install { unsigned: true, ..install() });
        assert_eq!(old.grant.pin, Pin::Hash([9; 32]));
        assert_eq!(
            decide(&ME, Some(&old), &manifest(Some(ME), "1.0.0"), &install()).unwrap().grant.pin,
            Pin::Author(ME, Version([1, 0, 0]))
        );
        let follow = Install { follow: true, ..install() };
        assert_eq!(decide(&ME, Some(&old), &nobodys, &follow).unwrap().grant.pin, Pin::Follow);
    }

    #[test]
    fn attack_39_an_older_version_needs_a_word() {
        let old = there(Some(ME), "1.10.0", &install());
        let older = manifest(Some(ME), "1.9.9");
        assert!(refusal(Some(&old), &older, &install()).contains("--downgrade"));
        let meant = Install { downgrade: true, ..install() };
        assert_eq!(
            decide(&ME, Some(&old), &older, &meant).unwrap().grant.pin,
            Pin::Author(ME, Version([1, 9, 9]))
        );
        // Also when the file that is there cannot be read any more.
        let lost = Installed { manifest: None, ..old };
        assert!(refusal(Some(&lost), &older, &install()).contains("--downgrade"));
    }

    #[test]
    fn what_is_asked_for_must_be_granted_and_settings_stay() {
        let asked = manifest(Some(ME), "1.0.0");
        let why = refusal(None, &asked, &Install::default());
        assert!(why.contains("--grant config"), "{why}");
        let set = |key: &str, value: &str| Install {
            config: [(key.to_owned(), value.to_owned())].into(),
            ..install()
        };
        let old = there(Some(ME), "1.0.0", &set("a", "1"));
        let more = PolicyManifest { capabilities: Capability::ALL.into(), ..manifest(Some(ME), "1.1.0") };
        let why = refusal(Some(&old), &more, &Install::default());
        assert!(why.contains("config and log and state") && why.contains("config,log,state"), "{why}");
        let next = decide(&ME, Some(&old), &manifest(Some(ME), "1.1.0"), &set("b", "2")).unwrap();
        let pairs = [("a", "1"), ("b", "2")].map(|(key, value)| (key.to_owned(), value.to_owned()));
        assert_eq!(next.grant.config, pairs.into());
        let long = set("a", &"x".repeat(5000));
        assert!(matches!(decide(&ME, None, &asked, &long), Err(PluginError::Invalid(_))));
    }

    #[test]
    fn a_name_that_means_something_else_and_another_kind_are_refused() {
        for name in ["placement", "transport", "pricing", "reload"] {
            let taken = PolicyManifest { name: name.into(), ..manifest(Some(ME), "1.0.0") };
            assert!(refusal(None, &taken, &install()).contains("cannot be called"));
        }
        let old = there(Some(ME), "1.0.0", &install());
        let other = PolicyManifest { kind: Kind::Pricing, ..manifest(Some(ME), "2.0.0") };
        assert!(refusal(Some(&old), &other, &install()).contains("remove it first"));
    }
}
