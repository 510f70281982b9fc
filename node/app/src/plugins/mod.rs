//! Policy plugins of this node: what is installed, what decides, and changes to both while the node runs
//! (spec/plugins.md).
//!
//! Invariant: what decides is the built-in default or a plugin whose file is what its grant pins and that
//! passed its self-test; when a plugin cannot be loaded the operator can read why. Changes come one at a
//! time, and nobody who asks a policy or looks at a status waits for one. Not here: running a plugin
//! (host), and what is asked of it.

mod changes;
mod grant;
mod loading;
mod rules;
mod shelf;
mod text;
mod view;
mod watch;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use commonhold_engine::policy::BuiltIn;
use commonhold_format::ids::PartyId;
use commonhold_format::policy::{Answer, Kind, Question};
use commonhold_host::{Decider, Host, Observer, Seat};

use self::shelf::{Print, Shelf};
use self::view::Described;
use crate::clock::unix_seconds;
use crate::datadir::Places;
use crate::policies::Policies;

pub use self::changes::settings;
pub use self::loading::examine;
pub use self::text::harmless;
pub use self::watch::look_forever;

/// Why something with a plugin was not done: one sentence.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PluginError {
    /// There is no such plugin.
    #[error("{0}")]
    NotFound(String),
    /// It is not taken, or not loaded.
    #[error("{0}")]
    Refused(String),
    /// What was asked for makes no sense.
    #[error("{0}")]
    Invalid(String),
    /// The data directory cannot be read or written.
    #[error("{0}")]
    Disk(String),
}

impl PluginError {
    /// The word of the local API.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotFound(_) => "not_found",
            Self::Refused(_) => "plugin_refused",
            Self::Invalid(_) => "invalid",
            Self::Disk(_) => "io",
        }
    }
}

/// See the module. Its methods but [`problems`](Self::problems) block, on the disk and on the compiler.
pub struct Plugins {
    shelf: Shelf,
    me: PartyId,
    host: Result<Host, String>,
    /// Does a node run on them? Else the seats are empty chairs that plugins are tried on.
    live: bool,
    posts: BTreeMap<Kind, Post>,
    /// One change at a time.
    changing: Mutex<()>,
    /// How `active.toml` looked when it was read or written last, and how it looks now if it is another.
    active: Mutex<(Print, Option<Print>)>,
    /// Why `active.toml` cannot be read.
    misread: Mutex<Option<String>>,
    described: Mutex<BTreeMap<String, ([Print; 2], Described)>>,
    /// Told when something else decides.
    listeners: Mutex<Vec<Listener>>,
}

type Listener = Box<dyn Fn(Kind) + Send + Sync>;

/// One kind of policy.
struct Post {
    kind: Kind,
    seat: Arc<Seat>,
    defaults: Arc<Defaults>,
    now: Mutex<Now>,
}

/// How things stand at a post.
#[derive(Debug, Default)]
struct Now {
    /// The plugin that the operator enabled.
    name: Option<String>,
    /// How its files looked when they were loaded or refused last.
    prints: Option<[Print; 2]>,
    /// How they look since, while they may still be written.
    changed: Option<[Print; 2]>,
    problem: Option<Problem>,
    /// What was saved last of what the seated plugin remembers.
    saved: Option<Vec<u8>>,
}

/// Why what the operator enabled does not decide.
#[derive(Debug, Clone)]
struct Problem {
    why: String,
    since: u64,
    /// Decisions of the default before.
    defaults_before: u64,
}

/// Counts what the default decided.
#[derive(Default)]
struct Defaults(AtomicU64);

impl Observer for Defaults {
    fn decided(&self, _: &Question, _: &Answer, by: &Decider) {
        if !matches!(by, Decider::Plugin { .. }) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Plugins {
    /// Of the data directory of `me`, with nothing loaded yet.
    pub fn new(places: &Places, me: PartyId, live: bool) -> Self {
        let post = |kind| {
            let (seat, defaults) = (Seat::new(kind, Arc::new(BuiltIn)), Arc::new(Defaults::default()));
            seat.observe(defaults.clone());
            (kind, Post { kind, seat: Arc::new(seat), defaults, now: Mutex::default() })
        };
        Self {
            shelf: Shelf::new(places),
            me,
            host: Host::new().map_err(|error| error.to_string()),
            live,
            posts: Kind::ALL.into_iter().map(post).collect(),
            changing: Mutex::default(),
            active: Mutex::default(),
            misread: Mutex::default(),
            described: Mutex::default(),
            listeners: Mutex::default(),
        }
    }

    /// Has `listener` told of each kind for which something else decides from now on.
    pub fn listen(&self, listener: impl Fn(Kind) + Send + Sync + 'static) {
        lock(&self.listeners).push(Box::new(listener));
    }

    fn tell(&self, kind: Kind) {
        lock(&self.listeners).iter().for_each(|listener| listener(kind));
    }

    /// Who is asked in this node.
    pub fn policies(&self) -> Policies {
        let seat = |kind| self.seat(kind).clone();
        Policies {
            placement: seat(Kind::Placement),
            transport: seat(Kind::Transport),
            pricing: seat(Kind::Pricing),
        }
    }

    /// Where decisions of one kind are made.
    pub fn seat(&self, kind: Kind) -> &Arc<Seat> {
        &self.post(kind).seat
    }

    fn post(&self, kind: Kind) -> &Post {
        self.posts.get(&kind).expect("there is a post for each kind")
    }

    /// The post of an enabled plugin.
    fn post_of(&self, name: &str) -> Option<&Post> {
        self.posts.values().find(|post| post.now().name.as_deref() == Some(name))
    }

    fn one_change(&self) -> MutexGuard<'_, ()> {
        lock(&self.changing)
    }
}

impl Post {
    fn now(&self) -> MutexGuard<'_, Now> {
        lock(&self.now)
    }

    /// Name of the plugin that is in the seat.
    fn seated(&self) -> Option<String> {
        self.seat.status().plugin.map(|(name, _)| name)
    }

    fn default_decisions(&self) -> u64 {
        self.defaults.0.load(Ordering::Relaxed)
    }

    /// Notes why what is enabled does not decide. A problem that only changes its words is no new one.
    fn note(&self, why: String) {
        let mut now = self.now();
        let (since, defaults_before) = match &now.problem {
            Some(before) => (before.since, before.defaults_before),
            None => (unix_seconds(), self.default_decisions()),
        };
        now.problem = Some(Problem { why, since, defaults_before });
    }
}

fn lock<T>(it: &Mutex<T>) -> MutexGuard<'_, T> {
    it.lock().unwrap_or_else(PoisonError::into_inner)
}
