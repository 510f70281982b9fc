//! A plugin that was checked and compiled, and its calls.
//!
//! Invariant: each call has a store of its own, which starts as the component was compiled and ends with
//! the call; all that goes from one to the next is the state, and only from accepted answers. Calls of
//! one plugin may run at the same time: each sees the state as it was when the call began, and of two
//! that set the same key the one that ends last counts.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use commonhold_format::policy::{Answer, Kind, Question};
use commonhold_format::statement::{Capability, PolicyManifest};
use wasmtime::Store;

use crate::convert as to;
use crate::engine::{Host, TICK};
use crate::fault::Fault;
use crate::guest::{Guest, LogLine};
use crate::limits::{HOSTCALL_BYTES_MAX, Limits, Meter};
use crate::self_test;
use crate::state::State;
use crate::wit;

/// So often a question of the self-test is asked that was not answered in time.
const SELF_TEST_TRIES: u32 = 5;

/// What a call gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Called {
    /// Passed [`Question::check`].
    pub answer: Answer,
    /// Instructions, instantiation included. Depends on component and question alone.
    pub fuel: u64,
    /// Time, instantiation included.
    pub time: Duration,
    /// What it wrote.
    pub log: Vec<LogLine>,
}

/// A compiled plugin.
pub struct Plugin {
    host: Host,
    manifest: PolicyManifest,
    world: World,
    config: Arc<BTreeMap<String, String>>,
    limits: Limits,
    state: Mutex<Arc<State>>,
}

/// Linked, and not instantiated.
pub(crate) enum World {
    Placement(wit::placement::PlacementPolicyPre<Guest>),
    Transport(wit::transport::TransportPolicyPre<Guest>),
    Pricing(wit::pricing::PricingPolicyPre<Guest>),
}

impl fmt::Debug for Plugin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Plugin").field("manifest", &self.manifest).finish_non_exhaustive()
    }
}

impl Plugin {
    pub(crate) fn new(
        host: Host,
        manifest: PolicyManifest,
        world: World,
        config: Arc<BTreeMap<String, String>>,
        limits: Limits,
    ) -> Self {
        Self { host, manifest, world, config, limits, state: Mutex::default() }
    }

    /// What it says of itself.
    pub fn manifest(&self) -> &PolicyManifest {
        &self.manifest
    }

    /// What it decides.
    pub fn kind(&self) -> Kind {
        self.manifest.kind
    }

    /// What each call may use.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// One call: a store of its own, all limits, the answer checked. What it sets in its state counts
    /// when the answer is accepted.
    ///
    /// # Errors
    /// [`Fault`].
    pub fn call(&self, question: &Question) -> Result<Called, Fault> {
        self.call_with_log(question).map_err(|(fault, _)| fault)
    }

    /// The same, with what it wrote before it failed.
    pub(crate) fn call_with_log(&self, question: &Question) -> Result<Called, (Fault, Vec<LogLine>)> {
        let (called, changes) = self.run(question)?;
        self.keep(changes);
        Ok(called)
    }

    /// Asks canned questions of its world and looks at the answers' bounds. Its state stays as it is.
    ///
    /// # Errors
    /// The first [`Fault`].
    pub fn self_test(&self) -> Result<(), Fault> {
        self_test::questions(self.kind()).iter().try_for_each(|question| {
            let ask = || self.run(question).map(|_| ()).map_err(|(fault, _)| fault);
            let mut asked = ask();
            // A machine that has other things to do says nothing about the plugin.
            for _ in 1..SELF_TEST_TRIES {
                if !matches!(asked, Err(Fault::Wall(_) | Fault::Busy)) {
                    break;
                }
                asked = ask();
            }
            asked
        })
    }

    /// What it remembers.
    pub fn state(&self) -> State {
        State::clone(&self.remembered())
    }

    /// Makes it remember something else. Nothing happens when it did not ask for a state.
    pub fn set_state(&self, state: State) {
        if self.manifest.capabilities.contains(&Capability::State) {
            *self.state.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(state);
        }
    }

    fn remembered(&self) -> Arc<State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn keep(&self, changes: BTreeMap<String, Vec<u8>>) {
        if changes.is_empty() {
            return;
        }
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let state = Arc::make_mut(&mut state);
        for (key, value) in &changes {
            // Fits, unless calls that ran at the same time filled it together.
            state.set(key, value);
        }
    }

    #[allow(clippy::type_complexity)]
    fn run(&self, question: &Question) -> Result<(Called, BTreeMap<String, Vec<u8>>), (Fault, Vec<LogLine>)> {
        let begun = Instant::now();
        let until = begun + self.limits.wall;
        let host = &self.host.inner;
        let _place = host.enter(until).map_err(|fault| (fault, Vec::new()))?;
        let guest = Guest {
            meter: Meter::new(&self.limits),
            config: self.config.clone(),
            log: Vec::new(),
            before: self.remembered(),
            after: None,
            changes: BTreeMap::new(),
            said: None,
        };
        let mut store = Store::new(&host.engine, guest);
        store.limiter(|guest| &mut guest.meter);
        store.set_hostcall_fuel(HOSTCALL_BYTES_MAX);
        let ticks = until.saturating_duration_since(Instant::now()).as_nanos() / TICK.as_nanos();
        // Ends between one tick earlier and on time.
        store.set_epoch_deadline(u64::try_from(ticks).unwrap_or(u64::MAX).max(1));
        let asked = store.set_fuel(self.limits.fuel).and_then(|()| self.world.ask(&mut store, question));
        let fuel = self.limits.fuel.saturating_sub(store.get_fuel().unwrap_or_default());
        let guest = store.into_data();
        let answer = match asked {
            Ok(answer) => answer,
            Err(error) => {
                let fault = Fault::of(&error, &self.limits, guest.meter.denied, guest.said.as_deref());
                return Err((fault, guest.log));
            }
        };
        if let Err(why) = question.check(&answer) {
            return Err((Fault::Answer(why), guest.log));
        }
        Ok((Called { answer, fuel, time: begun.elapsed(), log: guest.log }, guest.changes))
    }
}

impl World {
    fn ask(&self, store: &mut Store<Guest>, question: &Question) -> wasmtime::Result<Answer> {
        match self {
            Self::Placement(pre) => {
                let bindings = pre.instantiate(&mut *store)?;
                let policy = bindings.commonhold_policy_placement();
                match question {
                    Question::ChooseCode(ask) => policy
                        .call_choose_code(store, to::moment(&ask.now), &to::candidates(&ask.candidates))
                        .map(|code| Answer::Code(to::code_back(code))),
                    Question::Rank(ask) => policy
                        .call_rank(
                            store,
                            to::need(ask),
                            &to::candidates(&ask.taken),
                            &to::candidates(&ask.candidates),
                        )
                        .map(Answer::Ranking),
                    Question::AdmitOffer(ask) => policy
                        .call_admit(store, to::offer(ask))
                        .map(|verdict| Answer::Verdict(to::verdict_back(verdict))),
                    _ => Err(other_world(question)),
                }
            }
            Self::Transport(pre) => {
                let bindings = pre.instantiate(&mut *store)?;
                let policy = bindings.commonhold_policy_transport();
                match question {
                    Question::Dial(ask) => {
                        let addresses: Vec<_> = ask.addresses.iter().map(to::address).collect();
                        policy
                            .call_dial(store, to::moment(&ask.now), to::key(&ask.peer), &addresses)
                            .map(|plan| Answer::DialPlan(to::dial_plan_back(plan)))
                    }
                    Question::Limit(ask) => policy
                        .call_limit(store, to::moment(&ask.now), to::traffic(&ask.traffic))
                        .map(|limits| Answer::Limits(to::limits_back(limits))),
                    Question::Fetch(ask) => {
                        let sources: Vec<_> = ask.sources.iter().map(to::source).collect();
                        policy
                            .call_fetch(store, to::fetch_need(ask), &sources)
                            .map(|plan| Answer::FetchPlan(to::fetch_plan_back(plan)))
                    }
                    Question::Send(ask) => policy.call_send(store, to::send_need(ask)).map(Answer::Parallel),
                    Question::AdmitConnection(ask) => policy
                        .call_admit(store, to::connection(ask))
                        .map(|verdict| Answer::Verdict(to::verdict_back(verdict))),
                    _ => Err(other_world(question)),
                }
            }
            Self::Pricing(pre) => {
                let bindings = pre.instantiate(&mut *store)?;
                let policy = bindings.commonhold_policy_pricing();
                match question {
                    Question::Quote(ask) => policy
                        .call_quote(store, to::request(ask))
                        .map(|prices| Answer::Prices(to::prices_back(prices))),
                    Question::CreditLimit(ask) => policy
                        .call_credit_limit(store, to::credit_request(ask))
                        .map(|credit| Answer::Credit(to::credit_back(credit))),
                    Question::Ceiling(ask) => policy
                        .call_ceiling(store, to::market(&ask.now, &ask.market))
                        .map(|prices| Answer::Prices(to::prices_back(prices))),
                    _ => Err(other_world(question)),
                }
            }
        }
    }
}

fn other_world(question: &Question) -> wasmtime::Error {
    wasmtime::Error::msg(format!("it was asked a question of the world {}", question.kind()))
}
