//! The runtime: its configuration, the clock that ends calls, the places for calls.
//!
//! Invariant: what a component computes depends on its bytes and its question alone: no threads, no
//! relaxed SIMD, one form of NaN, fuel by instruction. The clock ends only what fuel did not.

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use wasmtime::component::{Component, HasSelf, Linker};
use wasmtime::{Config, Enabled, Engine, InstanceAllocationStrategy, OptLevel, PoolingAllocationConfig};

use crate::fault::Fault;
use crate::guest::Guest;
use crate::limits::MEMORY_BYTES_MAX;
use crate::wit;

/// Calls that run at the same time, over all plugins of a host; others wait for a place.
const CALLS_AT_ONCE: usize = 32;
/// Core instances and tables of one component; Rust makes 3 and 2. It has one memory at most.
const PARTS_PER_COMPONENT: u32 = 32;
/// Stack of a component, bytes.
const STACK_BYTES: usize = 512 << 10;
/// Memory of a place that is put back by copying, bytes; what a call dirtied beyond it goes back to the
/// system.
const KEEP_RESIDENT_BYTES: usize = 2 << 20;
/// What the clock counts in.
pub(crate) const TICK: Duration = Duration::from_millis(5);
/// Ticks without a call after which the clock stops until the next one.
const IDLE_TICKS: u32 = 40;

/// Why there is no host.
#[derive(Debug, thiserror::Error)]
#[error("the runtime of policy plugins does not start: {0}")]
pub struct HostError(String);

impl HostError {
    fn of(error: impl std::fmt::Display) -> Self {
        Self(format!("{error:#}"))
    }
}

/// Compiles plugins and runs their calls. Cheap to clone.
#[derive(Clone)]
pub struct Host {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) engine: Engine,
    pub(crate) linker: Linker<Guest>,
    /// What was compiled last, by the hash of its bytes: the same code is loaded again whenever its
    /// configuration changes.
    pub(crate) compiled: Mutex<Option<([u8; 32], Component)>>,
    places: Places,
    clock: Arc<Clock>,
    ticker: Option<thread::JoinHandle<()>>,
}

impl Host {
    /// Starts the runtime and its clock.
    ///
    /// # Errors
    /// [`HostError`]: the machine lacks address space, or cannot start a thread.
    pub fn new() -> Result<Self, HostError> {
        let engine = Engine::new(&config()).map_err(HostError::of)?;
        let mut linker = Linker::new(&engine);
        let linked = wit::types::add_to_linker::<Guest, HasSelf<Guest>>(&mut linker, |it| it)
            .and_then(|()| wit::config::add_to_linker::<Guest, HasSelf<Guest>>(&mut linker, |it| it))
            .and_then(|()| wit::log::add_to_linker::<Guest, HasSelf<Guest>>(&mut linker, |it| it))
            .and_then(|()| wit::state::add_to_linker::<Guest, HasSelf<Guest>>(&mut linker, |it| it));
        linked.map_err(HostError::of)?;
        let clock = Arc::new(Clock::default());
        let ticker = thread::Builder::new()
            .name("policy-clock".to_owned())
            .spawn({
                let (clock, engine) = (clock.clone(), engine.clone());
                move || clock.run(&engine)
            })
            .map_err(HostError::of)?;
        let places = Places { free: Mutex::new(CALLS_AT_ONCE), freed: Condvar::new() };
        let (compiled, ticker) = (Mutex::default(), Some(ticker));
        Ok(Self { inner: Arc::new(Inner { engine, linker, compiled, places, clock, ticker }) })
    }
}

impl Inner {
    /// A place for a call, and the clock running; [`Fault::Busy`] when there is none until then.
    pub(crate) fn enter(&self, until: Instant) -> Result<Place<'_>, Fault> {
        let mut free = self.places.free.lock().unwrap_or_else(PoisonError::into_inner);
        while *free == 0 {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(Fault::Busy);
            }
            let waited = self.places.freed.wait_timeout(free, left);
            free = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        *free -= 1;
        drop(free);
        self.clock.call_begins();
        Ok(Place { places: &self.places })
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.clock.stop();
        if let Some(ticker) = self.ticker.take() {
            // A ticker that panicked has nothing more to say here.
            let _ = ticker.join();
        }
    }
}

struct Places {
    free: Mutex<usize>,
    freed: Condvar,
}

/// A place for one call, given back when dropped.
pub(crate) struct Place<'a> {
    places: &'a Places,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        *self.places.free.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        self.places.freed.notify_one();
    }
}

/// Counts the epoch up while calls run, and sleeps while none does: a node that is idle is not woken.
#[derive(Default)]
struct Clock {
    /// Calls that began.
    calls: AtomicU64,
    /// Whether the thread sleeps without a time.
    asleep: AtomicBool,
    stopped: Mutex<bool>,
    wake: Condvar,
}

impl Clock {
    fn call_begins(&self) {
        self.calls.fetch_add(1, Ordering::SeqCst);
        if self.asleep.load(Ordering::SeqCst) {
            let _held = self.stopped.lock().unwrap_or_else(PoisonError::into_inner);
            self.asleep.store(false, Ordering::SeqCst);
            self.wake.notify_one();
        }
    }

    fn stop(&self) {
        *self.stopped.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.wake.notify_one();
    }

    fn run(&self, engine: &Engine) {
        let (mut seen, mut idle) = (0, 0);
        let mut stopped = self.stopped.lock().unwrap_or_else(PoisonError::into_inner);
        while !*stopped {
            let calls = self.calls.load(Ordering::SeqCst);
            idle = if calls == seen { idle + 1 } else { 0 };
            seen = calls;
            // Longer than any call may take, so that none is running.
            if idle > IDLE_TICKS {
                self.asleep.store(true, Ordering::SeqCst);
                // A call that began before it could see this has been counted by now.
                if self.calls.load(Ordering::SeqCst) == seen {
                    while self.asleep.load(Ordering::SeqCst) && !*stopped {
                        stopped = self.wake.wait(stopped).unwrap_or_else(PoisonError::into_inner);
                    }
                }
                self.asleep.store(false, Ordering::SeqCst);
                idle = 0;
                continue;
            }
            stopped = self.wake.wait_timeout(stopped, TICK).unwrap_or_else(PoisonError::into_inner).0;
            engine.increment_epoch();
        }
    }
}

fn config() -> Config {
    let calls = CALLS_AT_ONCE as u32;
    let parts = calls * PARTS_PER_COMPONENT;
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(calls)
        .total_core_instances(parts)
        .total_memories(calls)
        .total_tables(parts)
        .max_core_instances_per_component(PARTS_PER_COMPONENT)
        .max_memories_per_component(1)
        .max_tables_per_component(PARTS_PER_COMPONENT)
        .max_memory_size(MEMORY_BYTES_MAX)
        .table_elements(20_000)
        .max_unused_warm_slots(8)
        .linear_memory_keep_resident(KEEP_RESIDENT_BYTES)
        .table_keep_resident(64 << 10)
        // Asking the system which pages a call dirtied costs more than writing over the few that most
        // plugins have.
        .pagemap_scan(Enabled::No);
    let mut config = Config::new();
    config
        .allocation_strategy(InstanceAllocationStrategy::Pooling(pool))
        .cranelift_opt_level(OptLevel::Speed)
        .cranelift_nan_canonicalization(true)
        .consume_fuel(true)
        .epoch_interruption(true)
        .max_wasm_stack(STACK_BYTES)
        // Every access is checked by an instruction and none by a guard page. So a heap that grows and is
        // put back needs no system call, which took as long as a whole small call, and the process needs
        // no signal handlers.
        .signals_based_traps(false)
        .memory_reservation(MEMORY_BYTES_MAX as u64)
        .memory_guard_size(0)
        // One frame tells what an import was handed from what was answered.
        .wasm_backtrace_max_frames(NonZeroUsize::new(1))
        .wasm_relaxed_simd(false)
        .wasm_component_model(true);
    config
}
