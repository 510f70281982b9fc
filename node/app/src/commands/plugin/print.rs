//! Plugins in lines for people.

use commonhold_client::types::{PluginInstalled, PluginMetrics, PluginView, PluginsView};

use crate::clock::utc;
use crate::progress::human;

/// What `plugin install` did.
pub fn installed(it: &PluginInstalled) {
    let PluginView { name, version, kind, state, .. } = &it.plugin;
    match &it.replaced {
        Some(before) if before.is_empty() => {
            println!("{name} {version} is installed, instead of one that is damaged")
        }
        Some(before) => println!("{name} {version} is installed, instead of {before}"),
        None => println!("{name} {version} is installed, a {kind} policy"),
    }
    println!("trusted    {}", it.trusted);
    granted(&it.plugin);
    match state.as_str() {
        "active" => println!("it decides {kind} now"),
        _ => println!("next       commonhold plugin enable {name}"),
    }
}

fn granted(it: &PluginView) {
    let words = if it.granted.is_empty() { "nothing".to_owned() } else { it.granted.join(", ") };
    println!("granted    {words}");
    for (key, value) in &it.config {
        println!("set        {key} = {value:?}");
    }
}

/// `plugin list`.
pub fn list(view: &PluginsView) {
    for it in &view.kinds {
        let who = match (&it.plugin, it.decides.as_str()) {
            (None, _) => "the default".to_owned(),
            (Some(plugin), "plugin") => plugin.clone(),
            (Some(plugin), _) => format!("the default, instead of {plugin}"),
        };
        println!("{:<10} {who}", it.kind);
        if let Some(problem) = &it.problem {
            println!("           {problem}");
        }
    }
    for it in &view.plugins {
        let author = match (&it.author, it.follow) {
            (_, true) => "any author (follow)".to_owned(),
            (Some(author), false) => format!("by {}…", author.get(..12).unwrap_or(author)),
            (None, false) => "unsigned".to_owned(),
        };
        println!("{} {}  {}  {author}  {}", it.name, it.version, it.kind, word(&it.state));
        match &it.metrics {
            Some(metrics) => counted(metrics),
            None if it.problem.is_some() => {}
            None => continue,
        }
        if let Some(problem) = &it.problem {
            println!("    {problem}");
        }
    }
    if view.plugins.is_empty() {
        println!("no plugin is installed");
    }
}

fn word(state: &str) -> &str {
    match state {
        "not_loaded" => "NOT LOADED",
        "broken" => "BROKEN",
        state => state,
    }
}

fn counted(it: &PluginMetrics) {
    println!(
        "    {} calls, {} each, {} faults, {} not asked",
        it.calls,
        time(it.mean_nanoseconds),
        it.faults,
        it.passed_over
    );
    if let (Some(fault), Some(at)) = (&it.last_fault, it.last_fault_at) {
        println!("    last fault {}: {fault}", utc(at));
    }
}

fn time(nanoseconds: u64) -> String {
    match nanoseconds {
        0..10_000_000 => format!("{}.{} µs", nanoseconds / 1000, nanoseconds % 1000 / 100),
        _ => format!("{} ms", nanoseconds / 1_000_000),
    }
}

/// `plugin show`.
pub fn show(it: &PluginView) {
    println!("{} {}, {} policy, {}", it.name, it.version, it.kind, word(&it.state));
    if let Some(problem) = &it.problem {
        println!("problem    {problem}");
    }
    if !it.about.is_empty() {
        println!("about      {}", it.about);
    }
    println!("API        {}", it.api);
    println!("component  {} ({})", it.component, human(it.bytes));
    match &it.author {
        Some(author) => println!("signed by  {author}"),
        None => println!("signed by  nobody"),
    }
    if it.follow {
        println!("follow     every change of its file is loaded, whoever wrote it");
    }
    println!("asks for   {}", if it.asks.is_empty() { "nothing".to_owned() } else { it.asks.join(", ") });
    granted(it);
    if let Some(metrics) = &it.metrics {
        println!(
            "calls      {}, {} faults, {} not asked",
            metrics.calls, metrics.faults, metrics.passed_over
        );
        println!(
            "time       {} in the mean, {} at most; {} fuel",
            time(metrics.mean_nanoseconds),
            time(metrics.longest_nanoseconds),
            metrics.mean_fuel
        );
        for (kind, count) in &metrics.faults_by_kind {
            println!("fault      {kind}: {count} times");
        }
        if let (Some(fault), Some(at)) = (&metrics.last_fault, metrics.last_fault_at) {
            println!("last fault {}: {fault}", utc(at));
        }
        if let Some(until) = metrics.resting_until {
            println!("resting    until {}", utc(until));
        }
        println!("remembers  {} bytes", metrics.state_bytes);
    }
    for line in &it.log {
        println!("{} {:<7}  {}", utc(line.time), line.level, line.message);
    }
}
