//! Progress for people: bars on a terminal, plain lines elsewhere, nothing with `--json`.

use std::io::{IsTerminal, stderr};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// A bar that counts bytes up to `total`; hidden when standard error is not a terminal.
pub fn bytes_bar(total: u64, quiet: bool) -> ProgressBar {
    let bar = ProgressBar::new(total);
    if quiet || !stderr().is_terminal() {
        bar.set_draw_target(ProgressDrawTarget::hidden());
    }
    // 35 columns, and the bar takes what is left of the terminal's width.
    let style = "{bytes:>10} {percent:>3}% {bytes_per_sec:>13} {eta:>4} {wide_bar}";
    bar.set_style(
        ProgressStyle::with_template(style).expect("the template is a constant").progress_chars("=> "),
    );
    bar
}

/// Bytes as people read them, in binary units with one decimal.
pub fn human(bytes: u64) -> String {
    indicatif::HumanBytes(bytes).to_string()
}
