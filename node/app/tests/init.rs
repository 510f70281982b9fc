//! `init` at a terminal asks at most three things, and elsewhere none.
#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::process::Command;

use common::{PROGRAM, run};

/// Runs a command at a terminal of its own, types the answers, and prints what it showed.
const TERMINAL: &str = r#"
import os, pty, sys
answers = sys.argv[1].encode().decode("unicode_escape").encode()
child, terminal = pty.fork()
if child == 0:
    os.execv(sys.argv[2], sys.argv[2:])
os.write(terminal, answers)
shown = b""
while True:
    try:
        part = os.read(terminal, 4096)
    except OSError:
        break
    if not part:
        break
    shown += part
sys.stdout.buffer.write(shown)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"#;

#[test]
fn at_a_terminal_it_asks_three_things_and_with_flags_none() {
    let temp = tempfile::tempdir().unwrap();
    let at_terminal = |dir: &str, answers: &str, flags: &[&str]| {
        let dir = temp.path().join(dir);
        let mut command = Command::new("python3");
        command.args(["-c", TERMINAL, answers, PROGRAM, "--data-dir"]).arg(&dir).arg("init").args(flags);
        let output = command.output().ok()?;
        let config = fs::read_to_string(dir.join("commonhold.toml")).unwrap_or_default();
        Some((output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned(), config))
    };
    let Some((made, shown, config)) = at_terminal("a", r"200 MiB\n/mnt/chunks\n\n", &[]) else {
        assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "python3 is needed");
        println!("skipped: without python3 there is no terminal");
        return;
    };
    assert!(made, "{shown}");
    assert_eq!(shown.matches("? [").count(), 3, "{shown}");
    assert!(shown.contains("24 words"), "{shown}");
    assert!(config.contains("disk = \"200 MiB\"") && config.contains("dir = \"/mnt/chunks\""), "{config}");
    let (made, shown, _) = at_terminal("b", "", &["--defaults"]).unwrap();
    assert!(made && !shown.contains("? ["), "{shown}");
    let (made, shown, config) = at_terminal("c", r"lots\nmany\nmuch\n", &[]).unwrap();
    assert!(!made && shown.contains("is not a size") && config.is_empty(), "{shown}");
}

#[test]
fn without_a_terminal_nothing_is_asked() {
    let temp = tempfile::tempdir().unwrap();
    let made = run(&temp.path().join("node"), &["init"]);
    assert!(made.status.success());
    let said = String::from_utf8([made.stdout, made.stderr].concat()).unwrap();
    assert!(said.contains("24 words") && !said.contains("? ["), "{said}");
}
