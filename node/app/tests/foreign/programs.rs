//! The programs of others that check ours, found or skipped visibly. With `CI=true` none may be missing.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Where Debian's packages of Go's libraries are.
const GO_PATH: &str = "/usr/share/gocode";
/// The folder with our programs for these tools.
const HERE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/foreign");

/// Says that something is not checked, and fails where it must be.
fn missing<T>(what: &str) -> Option<T> {
    eprintln!("SKIPPED: this machine has no {what}");
    assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "{what} must be installed where CI=true");
    None
}

fn runs(command: &mut Command) -> bool {
    command.output().is_ok_and(|output| output.status.success())
}

fn lines(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr[..]].concat()).into_owned()
}

/// A program of ours in Go, with which somebody who trusts only Go's checksum database checks a ledger.
pub struct Auditor(PathBuf);

impl Auditor {
    /// Builds it into `dir`.
    pub fn build(dir: &Path) -> Option<Self> {
        let library = Path::new(GO_PATH).join("src/golang.org/x/mod/sumdb/tlog");
        if !runs(Command::new("go").arg("version")) || !library.is_dir() {
            return missing("Go with golang.org/x/mod (golang-go, golang-golang-x-mod-dev)");
        }
        let program = dir.join("auditor");
        let built = Command::new("go")
            .current_dir(HERE)
            .args(["build", "-o"])
            .arg(&program)
            .arg(".")
            .env("GO111MODULE", "off")
            .env("GOPATH", GO_PATH)
            .env("GOFLAGS", "")
            .env("CGO_ENABLED", "0")
            // Kept from one run to the next, beside what cargo builds.
            .env("GOCACHE", Path::new(env!("CARGO_TARGET_TMPDIR")).join("go"))
            .output()
            .expect("go was there before");
        assert!(built.status.success(), "{}", lines(&built));
        Some(Self(program))
    }

    fn run(&self, arguments: &[&str]) -> Output {
        Command::new(&self.0).args(arguments).output().expect("the auditor was built")
    }

    /// What it prints when everything holds.
    pub fn confirms(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", lines(&output));
        String::from_utf8(output.stdout).expect("it prints text")
    }

    /// Its reason; it must end by a check that fails and in no other way.
    pub fn refuses(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let why = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{arguments:?} should be refused: {}", lines(&output));
        assert!(why.starts_with("refused: "), "{why}");
        why
    }
}

/// A Python in which a module is installed: `COMMONHOLD_PYTHON`, or python3.
fn python(module: &str) -> Option<Command> {
    let program = std::env::var_os("COMMONHOLD_PYTHON").unwrap_or_else(|| "python3".into());
    if !runs(Command::new(&program).args(["-c", &format!("import {module}")])) {
        return missing(&format!("{module} for Python (set COMMONHOLD_PYTHON to one that has it)"));
    }
    let mut command = Command::new(program);
    command.env("PYTHONDONTWRITEBYTECODE", "1");
    Some(command)
}

/// Merkle roots by PyPI's pymerkle, one of each line that `foreign/roots.py` prints.
pub fn pymerkle_roots(arguments: &[&str]) -> Option<Vec<String>> {
    let output = python("pymerkle")?.arg(Path::new(HERE).join("roots.py")).args(arguments).output();
    let output = output.expect("python was there before");
    assert!(output.status.success(), "{}", lines(&output));
    Some(String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect())
}

/// What a tool says to a file of books.
pub struct Verdict {
    pub accepts: bool,
    pub said: String,
}

impl Verdict {
    fn of(output: &Output) -> Self {
        Self { accepts: output.status.success(), said: lines(output) }
    }
}

/// Whether hledger is there.
pub fn has_hledger() -> bool {
    runs(Command::new("hledger").arg("--version")) || missing::<()>("hledger").is_some()
}

fn hledger(file: &Path, arguments: &[&str]) -> Output {
    Command::new("hledger").arg("-f").arg(file).args(arguments).output().expect("hledger was there before")
}

/// `hledger check --strict`: everything is declared, adds up, and has the balances that it asserts.
pub fn hledger_check(file: &Path) -> Verdict {
    Verdict::of(&hledger(file, &["check", "--strict"]))
}

/// Names and balances of the accounts with other parties, as `hledger balance` has them.
pub fn hledger_balances(file: &Path) -> Vec<(String, String)> {
    let wanted = ["balance", "-E", "--no-total", "-O", "csv", "^Assets:Receivable:", "^Liabilities:Payable:"];
    let output = hledger(file, &wanted);
    assert!(output.status.success(), "{}", lines(&output));
    let row = |line: &str| {
        let (account, balance) = line.split_once(',').expect("a row has two fields");
        (account.trim_matches('"').to_owned(), balance.trim_matches('"').to_owned())
    };
    String::from_utf8_lossy(&output.stdout).lines().skip(1).map(row).collect()
}

/// Whether beancount is there.
pub fn has_beancount() -> bool {
    python("beancount.scripts.check").is_some()
}

/// `bean-check`, through the Python that has it.
pub fn bean_check(file: &Path) -> Verdict {
    let mut python = python("beancount.scripts.check").expect("beancount was there before");
    // Without a cache, which a file that was just changed could hit.
    let output = python.args(["-m", "beancount.scripts.check", "--no-cache"]).arg(file).output();
    Verdict::of(&output.expect("python was there before"))
}
