//! The place in a node where a policy decides: a plugin or nothing, and always a default behind it.
//!
//! Invariant: a seat answers each question, at the latest a moment after the wall-clock limit of a call:
//! with what the plugin said, or else with what the default says. Nobody who asks waits for somebody who
//! loads or tests a plugin.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant, SystemTime};

use commonhold_format::policy::{Answer, Kind, Policy, Question};
use commonhold_format::statement::PolicyManifest;

use crate::breaker::Breaker;
use crate::call::Plugin;
use crate::fault::{Fault, FaultKind};
use crate::guest::{Level, LogLine};

/// Faults that a status shows.
const FAULTS_KEPT: usize = 16;
/// Lines of the plugin that a status shows.
const LINES_KEPT: usize = 200;

/// Is told of each decision of a seat.
pub trait Observer: Send + Sync {
    /// A question was answered. Called on the thread that asked, so it must not take long.
    fn decided(&self, question: &Question, answer: &Answer, by: &Decider);
}

/// Whose answer it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decider {
    /// There is no plugin in the seat.
    Default,
    /// The plugin's.
    Plugin {
        /// The name that it was put in with.
        name: String,
        /// Its own version.
        version: String,
    },
    /// The default's, because the plugin failed or is not asked after it failed too often.
    Fallback {
        /// The name that it was put in with.
        name: String,
        /// What it did, now or the last time.
        fault: Fault,
    },
}

/// What a seat counted since its plugin was put in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Metrics {
    /// Times that the plugin was asked.
    pub calls: u64,
    /// Time in the plugin, all calls together.
    pub total_time: Duration,
    /// The longest call.
    pub max_time: Duration,
    /// Instructions of answered calls.
    pub fuel: u64,
    /// Answers that did not pass the checks.
    pub refusals: u64,
    /// Calls without a usable answer, by what happened; refusals among them.
    pub faults: BTreeMap<FaultKind, u64>,
    /// Questions that the default answered in its place.
    pub fallbacks: u64,
}

/// A fault and when it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PastFault {
    /// When.
    pub at: SystemTime,
    /// What the plugin was asked, as in the WIT: `rank`.
    pub asked: &'static str,
    /// What happened.
    pub fault: Fault,
}

/// A line of the plugin and when it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeatLine {
    /// When.
    pub at: SystemTime,
    /// What.
    pub line: LogLine,
}

/// What an operator sees of a seat.
#[derive(Debug, Clone)]
pub struct SeatStatus {
    /// What it decides.
    pub kind: Kind,
    /// Name and manifest of the plugin; `None` when the default decides.
    pub plugin: Option<(String, PolicyManifest)>,
    /// Since the plugin was put in.
    pub metrics: Metrics,
    /// The last ones, oldest first.
    pub faults: Vec<PastFault>,
    /// For how long the plugin is not asked, after too many faults.
    pub paused: Option<Duration>,
    /// What it wrote last, oldest first.
    pub log: Vec<SeatLine>,
}

/// See the module.
pub struct Seat {
    kind: Kind,
    default: Arc<dyn Policy>,
    seated: RwLock<Option<Arc<Seated>>>,
    observers: RwLock<Arc<[Arc<dyn Observer>]>>,
    /// One `put` or `clear` at a time.
    changing: Mutex<()>,
}

struct Seated {
    name: String,
    plugin: Plugin,
    tally: Mutex<Tally>,
}

struct Tally {
    metrics: Metrics,
    faults: VecDeque<PastFault>,
    log: VecDeque<SeatLine>,
    breaker: Breaker,
}

impl Seat {
    /// A seat without a plugin.
    pub fn new(kind: Kind, default: Arc<dyn Policy>) -> Self {
        Self {
            kind,
            default,
            seated: RwLock::new(None),
            observers: RwLock::new(Arc::new([])),
            changing: Mutex::new(()),
        }
    }

    /// What it decides.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Puts a plugin in, after it passed its self-test; otherwise the one before stays. A plugin of the
    /// same name takes over what the one before remembers.
    ///
    /// # Errors
    /// What it did in the self-test, or that it is of another kind.
    pub fn put(&self, name: &str, plugin: Plugin) -> Result<(), Fault> {
        if plugin.kind() != self.kind {
            let why = format!("it is a policy for {}, and this decides {}", plugin.kind(), self.kind);
            return Err(Fault::Other(why));
        }
        plugin.self_test()?;
        let _one = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(before) = self.seated().filter(|before| before.name == name) {
            plugin.set_state(before.plugin.state());
        }
        let tally = Tally {
            metrics: Metrics::default(),
            faults: VecDeque::new(),
            log: VecDeque::new(),
            breaker: Breaker::new(),
        };
        let seated = Seated { name: name.to_owned(), plugin, tally: Mutex::new(tally) };
        self.replace(Some(Arc::new(seated)));
        Ok(())
    }

    /// Takes the plugin out: the default decides.
    pub fn clear(&self) {
        let _one = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        self.replace(None);
    }

    /// What the plugin remembers, for saving; `None` without one.
    pub fn state(&self) -> Option<crate::State> {
        self.seated().map(|seated| seated.plugin.state())
    }

    /// What an operator sees.
    pub fn status(&self) -> SeatStatus {
        let Some(seated) = self.seated() else {
            return SeatStatus {
                kind: self.kind,
                plugin: None,
                metrics: Metrics::default(),
                faults: Vec::new(),
                paused: None,
                log: Vec::new(),
            };
        };
        let tally = seated.tally();
        let now = Instant::now();
        SeatStatus {
            kind: self.kind,
            plugin: Some((seated.name.clone(), seated.plugin.manifest().clone())),
            metrics: tally.metrics.clone(),
            faults: tally.faults.iter().cloned().collect(),
            paused: tally.breaker.open_until(now).map(|until| until.saturating_duration_since(now)),
            log: tally.log.iter().cloned().collect(),
        }
    }

    /// Tells somebody of each decision from now on.
    pub fn observe(&self, observer: Arc<dyn Observer>) {
        let mut observers = self.observers.write().unwrap_or_else(PoisonError::into_inner);
        *observers = observers.iter().cloned().chain([observer]).collect();
    }

    fn seated(&self) -> Option<Arc<Seated>> {
        self.seated.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn replace(&self, seated: Option<Arc<Seated>>) {
        let mut place = self.seated.write().unwrap_or_else(PoisonError::into_inner);
        let before = std::mem::replace(&mut *place, seated);
        drop(place);
        // Freeing compiled code takes its time; nobody waits for it.
        drop(before);
    }

    fn tell(&self, question: &Question, answer: &Answer, by: impl FnOnce() -> Decider) {
        let observers = self.observers.read().unwrap_or_else(PoisonError::into_inner).clone();
        if !observers.is_empty() {
            let by = by();
            observers.iter().for_each(|observer| observer.decided(question, answer, &by));
        }
    }
}

impl Policy for Seat {
    fn answer(&self, question: &Question) -> Answer {
        // A question of another world has no plugin here.
        let seated = if question.kind() == self.kind { self.seated() } else { None };
        let Some(seated) = seated else {
            let answer = self.default.answer(question);
            self.tell(question, &answer, || Decider::Default);
            return answer;
        };
        match seated.ask(question) {
            Ok(answer) => {
                self.tell(question, &answer, || Decider::Plugin {
                    name: seated.name.clone(),
                    version: seated.plugin.manifest().version.clone(),
                });
                answer
            }
            Err(fault) => {
                let answer = self.default.answer(question);
                self.tell(question, &answer, || Decider::Fallback { name: seated.name.clone(), fault });
                answer
            }
        }
    }
}

impl Seated {
    fn tally(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ask(&self, question: &Question) -> Result<Answer, Fault> {
        let begun = Instant::now();
        {
            let mut tally = self.tally();
            if !tally.breaker.admits(begun) {
                tally.metrics.fallbacks += 1;
                return Err(tally.last_fault());
            }
        }
        let called = self.plugin.call_with_log(question);
        let now = Instant::now();
        let mut tally = self.tally();
        let metrics = &mut tally.metrics;
        let time = now.saturating_duration_since(begun);
        metrics.calls += 1;
        metrics.total_time += time;
        metrics.max_time = metrics.max_time.max(time);
        match called {
            Ok(called) => {
                metrics.fuel += called.fuel;
                tally.breaker.answered(now);
                tally.write(called.log);
                Ok(called.answer)
            }
            Err((fault, log)) => {
                metrics.fallbacks += 1;
                *metrics.faults.entry(fault.kind()).or_default() += 1;
                metrics.refusals += u64::from(fault.kind() == FaultKind::Answer);
                tally.write(log);
                tally.fail(&self.name, question, fault.clone(), now);
                Err(fault)
            }
        }
    }
}

impl Tally {
    fn last_fault(&self) -> Fault {
        self.faults.back().map_or(Fault::Busy, |last| last.fault.clone())
    }

    fn write(&mut self, lines: Vec<LogLine>) {
        if lines.is_empty() {
            return;
        }
        let at = SystemTime::now();
        self.log.extend(lines.into_iter().map(|line| SeatLine { at, line }));
        let more = self.log.len().saturating_sub(LINES_KEPT);
        self.log.drain(..more);
    }

    fn fail(&mut self, name: &str, question: &Question, fault: Fault, now: Instant) {
        tracing::warn!(plugin = name, "the default decided: {fault}");
        let opened = if fault.kind() == FaultKind::Busy { None } else { self.breaker.failed(now) };
        let asked = function(question);
        self.faults.push_back(PastFault { at: SystemTime::now(), asked, fault });
        if self.faults.len() > FAULTS_KEPT {
            self.faults.pop_front();
        }
        if let Some(pause) = opened {
            let text = format!("not asked for {} s after too many faults", pause.as_secs());
            tracing::warn!(plugin = name, "{text}");
            self.write(vec![LogLine { level: Level::Warning, text }]);
        }
    }
}

/// The question's function in the WIT.
fn function(question: &Question) -> &'static str {
    match question {
        Question::ChooseCode(_) => "choose-code",
        Question::Rank(_) => "rank",
        Question::AdmitOffer(_) | Question::AdmitConnection(_) => "admit",
        Question::Dial(_) => "dial",
        Question::Limit(_) => "limit",
        Question::Fetch(_) => "fetch",
        Question::Send(_) => "send",
        Question::Quote(_) => "quote",
        Question::CreditLimit(_) => "credit-limit",
        Question::Ceiling(_) => "ceiling",
    }
}
