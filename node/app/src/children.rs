//! Nodes as child processes: started from this very program, waited for until ready, ended for
//! certain. Used by `devnet` and `demo`.
//!
//! Invariant: a [`Child`] that is dropped is not running any more. Only processes started here are
//! ever signalled.

use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use commonhold_client::Client;
use rustix::process::{Pid, Signal, kill_process};

use crate::config::Config;
use crate::datadir::{DataDir, Places, random_secret, read_api};
use commonhold_format::keys::RootSecret;

/// How long a node may take from its start to readiness.
const START_PATIENCE: Duration = Duration::from_secs(60);
/// How long a node may take to end after SIGTERM before it is killed.
const STOP_PATIENCE: Duration = Duration::from_secs(10);
/// How often both are looked at.
const LOOK: Duration = Duration::from_millis(20);

/// A running node process.
pub struct Child {
    /// Its data directory.
    pub dir: PathBuf,
    process: std::process::Child,
    stopped: bool,
}

impl Child {
    /// Makes the data directory and starts a node on it. Its output goes to `DIR/node.log`.
    ///
    /// # Errors
    /// When the directory cannot be made or the program cannot be started.
    pub fn create(dir: &Path, config: &Config) -> Result<Self> {
        DataDir::init(dir, &RootSecret::from_bytes(*random_secret()), config)?;
        Self::start(dir)
    }

    /// Starts a node on an existing data directory.
    ///
    /// # Errors
    /// When the program cannot be started.
    pub fn start(dir: &Path) -> Result<Self> {
        // A URL left by a killed node must not be taken for the new one's.
        let _ = std::fs::remove_file(Places::new(dir).api_url());
        let log = File::options().create(true).append(true).open(dir.join("node.log"))?;
        let program = std::env::current_exe().context("this program's own path is not known")?;
        let process = Command::new(program)
            .arg("--data-dir")
            .arg(dir)
            .args(["up", "--stop-with-stdin"])
            // Held open by this process: however it ends, the node sees the end of its input.
            .stdin(Stdio::piped())
            .stdout(log.try_clone()?)
            .stderr(log)
            // A process group of its own: Ctrl-C in the terminal reaches the parent alone, which
            // then ends its nodes in order.
            .process_group(0)
            .spawn()
            .context("a node process could not be started")?;
        Ok(Self { dir: dir.to_owned(), process, stopped: false })
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Waits until the node is ready and answers a client for it.
    ///
    /// # Errors
    /// When the node ended instead; the message has the end of its log.
    pub async fn ready(&mut self) -> Result<Client> {
        let places = Places::new(&self.dir);
        let begun = Instant::now();
        loop {
            if let Some(status) = self.process.try_wait()? {
                self.stopped = true;
                bail!("a node ended before it was ready ({status}): {}", self.last_words());
            }
            if let Some((url, token)) = read_api(&places)? {
                let client = Client::new(&url, &token)?;
                if client.status().await.is_ok() {
                    return Ok(client);
                }
            }
            if begun.elapsed() > START_PATIENCE {
                bail!("a node was not ready within {} s: {}", START_PATIENCE.as_secs(), self.last_words());
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    fn last_words(&self) -> String {
        let log = std::fs::read_to_string(self.dir.join("node.log")).unwrap_or_default();
        log.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("it said nothing").to_owned()
    }

    /// Is the process still there?
    pub fn is_running(&mut self) -> bool {
        !self.stopped && matches!(self.process.try_wait(), Ok(None))
    }

    /// SIGKILL, and the process is gone when this returns.
    ///
    /// # Errors
    /// When the operating system refuses.
    pub fn kill(&mut self) -> Result<()> {
        if !self.stopped {
            self.process.kill()?;
            self.process.wait()?;
            self.stopped = true;
        }
        Ok(())
    }

    /// SIGTERM: asks the node to end.
    pub fn ask_to_stop(&mut self) {
        if self.is_running()
            && let Some(pid) = i32::try_from(self.process.id()).ok().and_then(Pid::from_raw)
        {
            // It may have ended in between.
            let _ = kill_process(pid, Signal::TERM);
        }
    }

    /// Waits for the end after [`Child::ask_to_stop`]; kills when it takes too long.
    pub fn stop(&mut self) {
        let begun = Instant::now();
        while self.is_running() && begun.elapsed() < STOP_PATIENCE {
            std::thread::sleep(LOOK);
        }
        let _ = self.kill();
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        let _ = self.kill();
    }
}

/// Ends all of them, all at once.
pub fn stop_all<'a>(children: impl IntoIterator<Item = &'a mut Child>) {
    let mut children: Vec<&mut Child> = children.into_iter().collect();
    for child in &mut children {
        child.ask_to_stop();
    }
    for child in children {
        child.stop();
    }
}
