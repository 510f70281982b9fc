//! Log lines: which, and how they are written (spec/operating.md, "Logs").
//!
//! Invariant: with JSON, every line of standard error is one JSON document, also those about a panic and the
//! last one about why the program ends. What is secret is never logged in either form. Not here: what is
//! logged, which stands where it happens.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

use crate::cli::{Cli, Command};
use crate::config::{Config, LogConfig, LogFormat, LogLevel};
use crate::datadir::Places;

/// What a level alone means: it is that of this program. Of others, warnings are shown; s3s calls every
/// refused request an error, even one for a key that is not there.
fn directives(level: LogLevel) -> String {
    match level {
        LogLevel::Error => "error,s3s=off".to_owned(),
        level => format!("warn,libp2p_kad=error,s3s=off,commonhold={level}"),
    }
}

/// Checks a filter that somebody wrote: a level or directives.
///
/// # Errors
/// A sentence that says what is wrong with it.
pub fn filter(text: &str) -> Result<String, String> {
    let text = match text.parse() {
        Ok(level) => directives(level),
        Err(_) => text.to_owned(),
    };
    EnvFilter::try_new(&text).map_err(|error| {
        format!("{error}; write error, warn, info, debug or trace, or directives like \"warn,commonhold_net=debug\"")
    })?;
    Ok(text)
}

/// Log lines go to standard error from now on. Answers whether they are JSON.
pub fn start(cli: &Cli) -> bool {
    let config = match cli.command {
        // Whatever is wrong with the file is said when the node reads it.
        Command::Up(_) => Config::load(&Places::new(&cli.data_dir).config()).unwrap_or_default().log,
        _ => LogConfig::default(),
    };
    let filter = cli.log.clone().unwrap_or_else(|| directives(config.level));
    let json = cli.log_format.unwrap_or(config.format) == LogFormat::Json;
    let lines =
        tracing_subscriber::fmt().with_env_filter(EnvFilter::new(filter)).with_writer(std::io::stderr);
    if json {
        lines.json().init();
        std::panic::set_hook(Box::new(|panic| {
            let place = panic.location().map(ToString::to_string).unwrap_or_default();
            let why = panic.payload_as_str().unwrap_or("no reason");
            tracing::error!(place, why, "a task of this program panicked");
        }));
    } else {
        lines.with_ansi(std::io::stderr().is_terminal()).init();
    }
    json
}

/// Says why the program ends.
pub fn last_words(json: bool, sentence: &str) {
    if json && tracing::enabled!(tracing::Level::ERROR) {
        tracing::error!(why = sentence, "this program ends");
    } else {
        eprintln!("commonhold: {sentence}");
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_level_is_this_programs_and_directives_are_taken_as_they_are() {
        assert_eq!(filter("info").unwrap(), "warn,libp2p_kad=error,s3s=off,commonhold=info");
        assert_eq!(filter("debug,libp2p=trace").unwrap(), "debug,libp2p=trace");
        assert!(filter("loud=,").is_err() || filter("commonhold=loud").is_err());
        assert!(filter("commonhold=loud").unwrap_err().contains("trace"));
    }
}
