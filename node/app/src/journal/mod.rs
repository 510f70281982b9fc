//! What this node decided, and how it went (spec/journal.md): a history that policies can be tried on.
//!
//! Invariant: noting something never waits for the disk and never fails the work that it is about; what
//! was left out is counted, and the count is itself a line. The files are bounded in bytes and in days,
//! and only their user can read them. What it is not: evidence (nothing here is signed), or anything
//! that the node decides by. It names peers, sizes, prices and times; no file, no chunk, no key but the
//! public ones of peers.

mod files;
mod gate;
mod line;
mod reader;
#[cfg(test)]
mod tests;
mod trim;
mod writer;

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use commonhold_format::ids::NodeId;
use commonhold_format::policy::{Answer, Question};
use commonhold_format::statement::Contract;
use commonhold_host::{Decider, Observer};

use self::files::Files;
use self::gate::{Gate, Rate};
use crate::clock::unix_milliseconds;
use crate::config::JournalConfig;

pub use self::line::{By, Line, Moved, Side, What};
pub use self::reader::{History, read};
pub use self::trim::name;

/// Lines that wait to be written.
const QUEUE_LINES_MAX: usize = 1024;
/// Longest text of somebody else that is kept, characters.
const WORDS_MAX: usize = 200;

/// See the module. Without an inner half it notes nothing.
pub struct Journal(Option<Inner>);

struct Inner {
    gate: Arc<Gate>,
    lines: Option<SyncSender<Line>>,
    writer: Option<JoinHandle<()>>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        // The writer ends when it has written what waits.
        self.lines = None;
        if let Some(writer) = self.writer.take() {
            let _ = writer.join();
        }
    }
}

impl Journal {
    /// Notes nothing.
    pub fn off() -> Self {
        Self(None)
    }

    /// Opens the folder, makes it when it is missing, and removes what is older than `config` keeps.
    ///
    /// # Errors
    /// The operating system's reason.
    pub fn open(dir: &Path, config: &JournalConfig) -> std::io::Result<Self> {
        if config.is_off() {
            return Ok(Self::off());
        }
        let files = Files::open(dir, config.size.0, config.keep.0, unix_milliseconds() / 1000)?;
        let gate = Arc::new(Gate::default());
        let (lines, queue) = sync_channel(QUEUE_LINES_MAX);
        let writing = gate.clone();
        let writer = std::thread::Builder::new()
            .name("journal".to_owned())
            .spawn(move || writer::run(files, &queue, &writing))?;
        Ok(Self(Some(Inner { gate, lines: Some(lines), writer: Some(writer) })))
    }

    /// Notes a decision: the answer that counted, and whose it was.
    pub fn decision(&self, question: &Question, answer: &Answer, by: impl FnOnce() -> By) {
        let Some(inner) = &self.0 else { return };
        let name = trim::name(question);
        let weight = trim::weight(question);
        inner.put(name, gate::DECISIONS, weight, || {
            let (question, answer, left_out) = trim::trim(question, answer);
            What::Decision { question, answer, by: by().cut(), left_out }
        });
    }

    /// Times the fetching of a chunk and notes how it went; also when it is given up.
    pub async fn fetched<T: AsRef<[u8]>, E: ToString>(
        &self,
        node: NodeId,
        work: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        let going = Going::new(self, node, 0, |moved| What::Fetched { moved });
        let outcome = work.await;
        let bytes = outcome.as_ref().map_or(0, |bytes| bytes.as_ref().len() as u64);
        going.ended(bytes, outcome.as_ref().err().map(ToString::to_string));
        outcome
    }

    /// Times the sending of a chunk until it is signed for and notes how it went; also when it is given
    /// up.
    pub async fn sent<T, E: ToString>(
        &self,
        node: NodeId,
        bytes: usize,
        work: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        let going = Going::new(self, node, bytes as u64, |moved| What::Sent { moved });
        let outcome = work.await;
        going.ended(bytes as u64, outcome.as_ref().err().map(ToString::to_string));
        outcome
    }

    /// Notes a contract that both signed.
    pub fn opened(&self, side: Side, contract: &Contract) {
        self.event("contract_opened", gate::CONTRACTS, || What::ContractOpened {
            side,
            terms: contract.into(),
        });
    }

    /// Notes a contract that came to nothing, and why.
    pub fn refused(&self, side: Side, contract: &Contract, why: &str) {
        let why = cut(why);
        self.event("contract_refused", gate::CONTRACTS, || What::ContractRefused {
            side,
            terms: contract.into(),
            why,
        });
    }

    fn event(&self, name: &'static str, most: Rate, what: impl FnOnce() -> What) {
        if let Some(inner) = &self.0 {
            inner.put(name, most, 1, what);
        }
    }
}

impl Observer for Journal {
    fn decided(&self, question: &Question, answer: &Answer, by: &Decider) {
        self.decision(question, answer, || by.into());
    }
}

impl Inner {
    fn put(&self, name: &'static str, most: Rate, weight: usize, what: impl FnOnce() -> What) {
        let time = unix_milliseconds();
        if !self.gate.admit(name, most, weight, time / 1000) {
            return;
        }
        let line = Line { time, what: what() };
        let Some(lines) = &self.lines else { return };
        if let Err(TrySendError::Full(line) | TrySendError::Disconnected(line)) = lines.try_send(line) {
            self.gate.dropped(line.weight(), time / 1000);
        }
    }
}

/// A transfer that is going on; dropped before its end, it was given up.
struct Going<'a> {
    journal: &'a Journal,
    node: NodeId,
    bytes: u64,
    begun: Instant,
    what: fn(Moved) -> What,
    over: bool,
}

impl<'a> Going<'a> {
    fn new(journal: &'a Journal, node: NodeId, bytes: u64, what: fn(Moved) -> What) -> Self {
        Self { journal, node, bytes, begun: Instant::now(), what, over: false }
    }

    fn ended(mut self, bytes: u64, error: Option<String>) {
        self.bytes = bytes;
        self.note(error.map(|why| cut(&why)), false);
    }

    fn note(&mut self, error: Option<String>, given_up: bool) {
        self.over = true;
        let took: Duration = self.begun.elapsed();
        let ms = u32::try_from(took.as_millis()).unwrap_or(u32::MAX);
        let moved = Moved { node: self.node.into(), bytes: self.bytes, ms, error, given_up };
        let what = (self.what)(moved);
        let name = what.name();
        self.journal.event(name, gate::TRANSFERS, || what);
    }
}

impl Drop for Going<'_> {
    fn drop(&mut self) {
        if !self.over {
            self.note(None, true);
        }
    }
}

/// The beginning of somebody's words.
fn cut(words: &str) -> String {
    words.chars().take(WORDS_MAX).collect()
}
