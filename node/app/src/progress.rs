//! Progress for people: bars on a terminal, plain lines elsewhere, nothing with `--json`.

use std::io::{IsTerminal, stderr};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// A bar that counts bytes up to `total`; hidden when standard error is not a terminal.
pub fn bytes_bar(what: &str, total: u64, quiet: bool) -> ProgressBar {
    let bar = ProgressBar::new(total);
    if quiet || !stderr().is_terminal() {
        bar.set_draw_target(ProgressDrawTarget::hidden());
    }
    let style = "{prefix:>10} [{bar:28}] {bytes:>10} / {total_bytes} {bytes_per_sec:>12} {eta:>4} left";
    bar.set_style(
        ProgressStyle::with_template(style).expect("the template is a constant").progress_chars("=> "),
    );
    bar.set_prefix(what.to_owned());
    bar
}

/// Bytes as people read them, in binary units with one decimal.
pub fn human(bytes: u64) -> String {
    indicatif::HumanBytes(bytes).to_string()
}
