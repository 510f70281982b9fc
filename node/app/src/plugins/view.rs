//! Plugins as the operator sees them: lists, metrics, sentences about what is wrong.
//!
//! Invariant: what a plugin wrote itself is made harmless before it is shown.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use commonhold_client::types::{PluginLine, PluginMetrics, PluginView, PluginsView, PolicyView};
use commonhold_format::policy::package::Package;
use commonhold_format::statement::{Capability, PolicyManifest};
use commonhold_host::{FaultKind, Level, SeatStatus};
use data_encoding::HEXLOWER;

use super::grant::{Grant, Pin};
use super::text::harmless;
use super::{PluginError, Plugins, Post, lock};
use crate::clock::{unix_seconds, utc};

/// A fault is a problem for so long.
const FAULT_SHOWN: Duration = Duration::from_secs(3600);

/// What the files of a plugin say, which is read again when they change.
#[derive(Debug, Clone)]
pub(super) struct Described {
    manifest: Result<(PolicyManifest, u64), PluginError>,
    grant: Result<Grant, PluginError>,
}

fn seconds(at: SystemTime) -> u64 {
    at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

fn words<'a>(capabilities: impl IntoIterator<Item = &'a Capability>) -> Vec<String> {
    capabilities.into_iter().map(ToString::to_string).collect()
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

impl Plugins {
    /// Who decides, and what is installed.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn view(&self) -> Result<PluginsView, PluginError> {
        let (names, strange) = self.shelf.names()?;
        let mut plugins: Vec<_> = names.iter().map(|name| self.view_of(name)).collect();
        plugins.extend(strange.into_iter().map(|(name, why)| PluginView {
            name: harmless(&name),
            state: "broken".to_owned(),
            problem: Some(why),
            ..PluginView::default()
        }));
        // Enabled, and nothing is there.
        for post in self.posts.values() {
            let Some(name) = post.now().name.clone().filter(|name| !names.contains(name)) else { continue };
            plugins.push(self.view_of(&name));
        }
        Ok(PluginsView { kinds: self.posts.values().map(|post| self.policy_view(post)).collect(), plugins })
    }

    /// What the operator should look at, as sentences. Does not block.
    pub fn problems(&self) -> Vec<String> {
        let misread = lock(&self.misread).clone();
        let misread = misread
            .map(|why| format!("which plugins are enabled cannot be read, and nothing changes: {why}"));
        misread.into_iter().chain(self.posts.values().filter_map(problem)).collect()
    }

    fn policy_view(&self, post: &Post) -> PolicyView {
        let (name, noted) = {
            let now = post.now();
            (now.name.clone(), now.problem.clone())
        };
        let status = post.seat.status();
        let decides = status.plugin.is_some() && status.paused.is_none();
        let problem = problem(post);
        let since = match noted {
            Some(noted) => Some(noted.since),
            None => status.faults.last().map(|last| seconds(last.at)),
        };
        PolicyView {
            kind: post.kind.to_string(),
            plugin: name,
            decides: if decides { "plugin" } else { "default" }.to_owned(),
            default_decisions: post.default_decisions(),
            since: since.filter(|_| problem.is_some()),
            problem,
        }
    }

    /// One plugin.
    pub(super) fn view_of(&self, name: &str) -> PluginView {
        let Described { manifest, grant } = self.describe(name);
        let mut view = PluginView { name: name.to_owned(), ..PluginView::default() };
        if let Ok((manifest, bytes)) = &manifest {
            show(&mut view, manifest);
            view.bytes = *bytes;
        }
        if let Ok(grant) = &grant {
            view.granted = words(&grant.capabilities);
            view.follow = grant.pin == Pin::Follow;
            view.config = grant.config.iter().map(|(key, value)| (key.clone(), value.clone())).collect();
        }
        let broken = manifest.err().or(grant.err()).map(|why| why.to_string());
        let Some(post) = self.post_of(name) else {
            view.state = if broken.is_some() { "broken" } else { "off" }.to_owned();
            view.problem = broken;
            return view;
        };
        let status = post.seat.status();
        let seated = status.plugin.as_ref().is_some_and(|(seated, _)| seated == name);
        view.state = match (seated, status.paused) {
            (false, _) => "not_loaded",
            (true, Some(_)) => "resting",
            (true, None) => "active",
        }
        .to_owned();
        view.problem = problem(post).or(broken);
        if let Some((_, deciding)) = status.plugin.as_ref().filter(|_| seated) {
            // What decides, whatever its file has become since.
            show(&mut view, deciding);
        }
        if seated && self.live {
            let bytes = post
                .seat
                .state()
                .map_or(0, |state| state.iter().map(|(key, value)| (key.len() + value.len()) as u64).sum());
            view.metrics = Some(metrics(&status, bytes));
            view.log =
                status.log.iter().map(|it| line(seconds(it.at), it.line.level, &it.line.text)).collect();
        }
        view
    }

    fn describe(&self, name: &str) -> Described {
        let prints = self.shelf.print(name);
        if let Some((known, described)) = lock(&self.described).get(name)
            && *known == prints
        {
            return described.clone();
        }
        let manifest = self.shelf.plugin(name).and_then(|file| {
            let package = Package::open(&file).map_err(|error| {
                PluginError::Refused(harmless(&format!("the file of {name} is not a plugin's: {error}")))
            })?;
            if package.manifest.name != name {
                let other = package.manifest.name;
                return Err(PluginError::Refused(format!("the file of {name} is another plugin's, {other}")));
            }
            Ok((package.manifest, file.len() as u64))
        });
        let described = Described { manifest, grant: self.grant(name) };
        lock(&self.described).insert(name.to_owned(), (prints, described.clone()));
        described
    }
}

/// What a plugin says of itself.
fn show(view: &mut PluginView, manifest: &PolicyManifest) {
    view.version = manifest.version.clone();
    view.kind = manifest.kind.to_string();
    view.api = manifest.api.clone();
    view.about = harmless(&manifest.about);
    view.author = manifest.author.map(|author| author.to_string());
    view.component = HEXLOWER.encode(&manifest.component);
    view.asks = words(&manifest.capabilities);
}

/// What is wrong at a post, if anything is.
fn problem(post: &Post) -> Option<String> {
    let (name, noted) = {
        let now = post.now();
        (now.name.clone()?, now.problem.clone())
    };
    let kind = post.kind;
    let status = post.seat.status();
    let Some((_, manifest)) = &status.plugin else {
        let noted = noted?;
        let times = post.default_decisions().saturating_sub(noted.defaults_before);
        let since = utc(noted.since);
        return Some(format!(
            "the default decides {kind} instead of the plugin {name} since {since} ({times} decisions): {}",
            noted.why
        ));
    };
    let version = &manifest.version;
    if let Some(noted) = noted {
        let since = utc(noted.since);
        return Some(format!(
            "{name} {version} goes on deciding {kind}, because what is on disk since {since} is not loaded: {}",
            noted.why
        ));
    }
    let last = status.faults.last()?;
    let what = harmless(&last.fault.to_string());
    let (faults, calls) = (faults(&status), status.metrics.calls);
    if let Some(paused) = status.paused {
        let fallbacks = status.metrics.fallbacks;
        return Some(format!(
            "the plugin {name} {version} failed too often and is not asked for {} s; the default decides {kind} \
             instead, {fallbacks} times since it was loaded. Last, asked for {}: {what}",
            paused.as_secs().max(1),
            last.asked
        ));
    }
    let fresh = SystemTime::now().duration_since(last.at).is_ok_and(|passed| passed < FAULT_SHOWN);
    fresh.then(|| {
        format!(
            "the plugin {name} {version} failed in {faults} of {calls} calls, and the default decided {kind} \
             instead. Last, asked for {} at {}: {what}",
            last.asked,
            utc(seconds(last.at))
        )
    })
}

fn faults(status: &SeatStatus) -> u64 {
    status.metrics.faults.values().sum()
}

fn metrics(status: &SeatStatus, state_bytes: u64) -> PluginMetrics {
    let it = &status.metrics;
    let faults = faults(status);
    let last = status.faults.last();
    PluginMetrics {
        calls: it.calls,
        faults,
        faults_by_kind: it
            .faults
            .iter()
            .map(|(kind, count): (&FaultKind, &u64)| (kind.to_string(), *count))
            .collect(),
        passed_over: it.fallbacks.saturating_sub(faults),
        mean_nanoseconds: nanoseconds(it.total_time).checked_div(it.calls).unwrap_or(0),
        longest_nanoseconds: nanoseconds(it.max_time),
        mean_fuel: it.fuel.checked_div(it.calls.saturating_sub(faults)).unwrap_or(0),
        last_fault: last.map(|last| harmless(&last.fault.to_string())),
        last_fault_at: last.map(|last| seconds(last.at)),
        resting_until: status.paused.map(|paused| unix_seconds().saturating_add(paused.as_secs())),
        state_bytes,
    }
}

fn line(time: u64, level: Level, text: &str) -> PluginLine {
    let level = match level {
        Level::Debug => "debug",
        Level::Info => "info",
        Level::Warning => "warning",
        Level::Error => "error",
    };
    PluginLine { time, level: level.to_owned(), message: harmless(text) }
}
