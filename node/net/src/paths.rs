//! The paths to peers: what this node saw at each of their addresses, and what the transport policy
//! makes of it (spec/policy-transport.md, "dial" and "admit").
//!
//! Invariant: no address is dialed that the policy left out, and the memory of addresses is bounded
//! for each peer and in all. The policy is asked once for a dial and once for a connection that comes
//! in, never for a request. Not here: which addresses of a peer are believed (table), and the dialing
//! itself (reach). The memory ends with the process.

use std::collections::HashMap;
use std::num::NonZeroU8;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use commonhold_format::policy::{
    Address, AdmitConnection, DIAL_AT_ONCE_MAX, Dial, Moment, Policy, Scope, Transport, Verdict,
};
use libp2p::PeerId;
use libp2p::multiaddr::{Multiaddr, Protocol};

use crate::driver::{key_of, split_peer};
use crate::table::{ip_of, is_local};

/// Addresses of one peer that the policy is asked about.
const ASKED_MAX: usize = 16;
/// Addresses of one peer that are remembered; the one that was used least lately goes first.
const ADDRESSES_MAX: usize = 16;
/// Peers whose addresses are remembered; beyond it the quarter that was used least lately goes.
const PEERS_MAX: usize = 4096;
/// A new measurement counts for one part in so many of a moving mean.
const MEAN_PARTS: u64 = 4;

/// What was seen at an address.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Seen {
    successes: u32,
    failures: u32,
    failures_in_row: u32,
    connect_ms: u32,
    bytes_per_second: u64,
    last_success: u64,
    /// When it was touched, in the history's own count.
    touched: u64,
}

/// The moving mean with one more measurement; 0 stands for no measurement yet.
fn mean(old: u64, new: u64) -> u64 {
    let new = new.max(1);
    if old == 0 { new } else { (old / MEAN_PARTS * (MEAN_PARTS - 1) + new / MEAN_PARTS).max(1) }
}

/// What was seen at the addresses of all peers.
#[derive(Debug, Default)]
struct History {
    peers: HashMap<PeerId, Vec<(Multiaddr, Seen)>>,
    touches: u64,
}

impl History {
    fn get(&self, peer: &PeerId, address: &Multiaddr) -> Seen {
        let seen = self.peers.get(peer).and_then(|them| them.iter().find(|(known, _)| known == address));
        seen.map(|(_, seen)| *seen).unwrap_or_default()
    }

    fn touch(&mut self, peer: PeerId, address: &Multiaddr, change: impl FnOnce(&mut Seen)) {
        self.touches += 1;
        if self.peers.len() >= PEERS_MAX && !self.peers.contains_key(&peer) {
            self.forget_a_quarter();
        }
        let addresses = self.peers.entry(peer).or_default();
        let at = match addresses.iter().position(|(known, _)| known == address) {
            Some(at) => at,
            None => {
                let oldest = (0..addresses.len()).min_by_key(|at| addresses[*at].1.touched);
                if let Some(oldest) = oldest.filter(|_| addresses.len() >= ADDRESSES_MAX) {
                    addresses.swap_remove(oldest);
                }
                addresses.push((address.clone(), Seen::default()));
                addresses.len() - 1
            }
        };
        let seen = &mut addresses[at].1;
        seen.touched = self.touches;
        change(seen);
    }

    fn forget_a_quarter(&mut self) {
        let last = |them: &[(Multiaddr, Seen)]| them.iter().map(|(_, seen)| seen.touched).max();
        let mut times: Vec<_> = self.peers.values().map(|them| last(them)).collect();
        times.sort_unstable();
        let border = times[times.len() / 4];
        self.peers.retain(|_, them| last(them) > border);
    }
}

/// How a peer is dialed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Plan {
    /// In this order; without `/p2p/PEER_ID`.
    pub(crate) addresses: Vec<Multiaddr>,
    /// So many at the same time.
    pub(crate) at_once: NonZeroU8,
}

#[derive(Default)]
struct State {
    history: History,
    /// The peer that was planned for last, and the transport that goes first there. The swarm dials
    /// right after a plan, before the next is made.
    first: Option<(PeerId, Transport)>,
}

/// The paths of this node; shared by the behaviours and the transport.
pub(crate) struct Paths {
    policy: Arc<dyn Policy>,
    moment: fn() -> Moment,
    state: Mutex<State>,
}

/// What carries a connection at an address; `None` where this node cannot dial.
pub(crate) fn transport_of(address: &Multiaddr) -> Option<Transport> {
    let mut parts = address.iter().skip(1);
    match parts.next()? {
        Protocol::Tcp(_) => Some(Transport::Tcp),
        Protocol::Udp(_) => matches!(parts.next(), Some(Protocol::QuicV1)).then_some(Transport::Quic),
        _ => None,
    }
}

/// How far an address reaches, and the version of IP, 0 for a name.
fn scope_of(address: &Multiaddr) -> (Scope, u32) {
    match ip_of(address) {
        None => (Scope::Name, 0),
        Some(ip) => {
            let scope = match ip {
                ip if ip.is_loopback() => Scope::Loopback,
                ip if is_local(ip) => Scope::Private,
                _ => Scope::Public,
            };
            (scope, if ip.is_ipv4() { 4 } else { 6 })
        }
    }
}

impl Paths {
    pub(crate) fn new(policy: Arc<dyn Policy>, moment: fn() -> Moment) -> Self {
        Self { policy, moment, state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Every change is a whole one, so a panic elsewhere leaves the state valid.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks the policy how to dial a peer that may be reached at `known`. Addresses over TCP stand
    /// first in the question, otherwise they keep their order.
    pub(crate) fn plan(&self, peer: PeerId, known: impl IntoIterator<Item = Multiaddr>) -> Plan {
        let mut candidates: Vec<(Transport, Multiaddr)> = Vec::new();
        for address in known {
            let address = match split_peer(&address) {
                Some((named, address)) if named == peer => address,
                Some(_) => continue,
                None => address,
            };
            if let Some(transport) = transport_of(&address)
                && candidates.len() < ASKED_MAX
                && !candidates.iter().any(|(_, known)| *known == address)
            {
                candidates.push((transport, address));
            }
        }
        candidates.sort_by_key(|(transport, _)| *transport != Transport::Tcp);
        let question = {
            let state = self.state();
            let addresses = candidates.iter().map(|(transport, address)| {
                let (scope, family) = scope_of(address);
                let seen = state.history.get(&peer, address);
                Address {
                    transport: *transport,
                    scope,
                    family,
                    successes: seen.successes,
                    failures: seen.failures,
                    failures_in_row: seen.failures_in_row,
                    connect_ms: seen.connect_ms,
                    bytes_per_second: seen.bytes_per_second,
                    last_success: seen.last_success,
                }
            });
            Dial { now: (self.moment)(), peer: key_of(&peer), addresses: addresses.collect() }
        };
        let answer = if candidates.is_empty() { None } else { Some(self.policy.ask(question)) };
        let order = answer.iter().flat_map(|plan| &plan.order);
        let chosen: Vec<_> =
            order.filter_map(|at| candidates.get(usize::try_from(*at).ok()?).cloned()).collect();
        self.state().first = chosen.first().map(|(transport, _)| (peer, *transport));
        let at_once = answer.map_or(1, |plan| plan.at_once.clamp(1, DIAL_AT_ONCE_MAX));
        Plan {
            addresses: chosen.into_iter().map(|(_, address)| address).collect(),
            at_once: u8::try_from(at_once).ok().and_then(NonZeroU8::new).unwrap_or(NonZeroU8::MIN),
        }
    }

    /// Whether an address begins at once when several of a peer are tried at the same time: those of
    /// the transport that stands first in the plan do.
    pub(crate) fn goes_first(&self, peer: Option<&PeerId>, address: &Multiaddr) -> bool {
        let first = self.state().first;
        let first = first.filter(|(planned, _)| peer.is_none_or(|peer| peer == planned));
        first.is_none_or(|(_, first)| transport_of(address) == Some(first))
    }

    /// An attempt has ended, after `time` with a connection or without one.
    pub(crate) fn attempted(&self, peer: PeerId, address: &Multiaddr, connected: Option<Duration>) {
        let now = (self.moment)().unix_seconds;
        self.state().history.touch(peer, address, |seen| match connected {
            Some(time) => {
                let ms = u64::try_from(time.as_millis()).unwrap_or(u64::MAX).min(u64::from(u32::MAX));
                seen.connect_ms = u32::try_from(mean(u64::from(seen.connect_ms), ms)).unwrap_or(u32::MAX);
                seen.successes = seen.successes.saturating_add(1);
                seen.failures_in_row = 0;
                seen.last_success = now;
            }
            None => {
                seen.failures = seen.failures.saturating_add(1);
                seen.failures_in_row = seen.failures_in_row.saturating_add(1);
            }
        });
    }

    /// So much came per second through a connection that was made there.
    pub(crate) fn received(&self, peer: PeerId, address: &Multiaddr, bytes_per_second: u64) {
        self.state().history.touch(peer, address, |seen| {
            seen.bytes_per_second = mean(seen.bytes_per_second, bytes_per_second);
        });
    }

    /// Asks the policy whether a peer that connected may stay.
    pub(crate) fn admit(&self, peer: &PeerId, from: &Multiaddr, open: u32, open_with_peer: u32) -> Verdict {
        let (scope, family) = scope_of(from);
        self.policy.ask(AdmitConnection {
            now: (self.moment)(),
            node: key_of(peer),
            transport: transport_of(from).unwrap_or_default(),
            scope,
            family,
            open,
            open_with_peer,
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use commonhold_format::policy::{Answer, DialPlan, Question};
    use proptest::prelude::*;

    use super::*;

    fn address(text: &str) -> Multiaddr {
        text.parse().unwrap()
    }

    fn moment() -> Moment {
        Moment { unix_seconds: 1_750_000_000, minute_of_week: 7 }
    }

    /// Answers with a fixed order and keeps what it was asked.
    struct Fixed(Vec<u32>, Mutex<Vec<Dial>>);

    impl Policy for Fixed {
        fn answer(&self, question: &Question) -> Answer {
            match question {
                Question::Dial(dial) => {
                    self.1.lock().unwrap().push(dial.clone());
                    Answer::DialPlan(DialPlan { order: self.0.clone(), at_once: 2 })
                }
                _ => Answer::Verdict(Verdict::yes()),
            }
        }
    }

    fn fixed(order: &[u32]) -> (Arc<Fixed>, Paths) {
        let policy = Arc::new(Fixed(order.to_vec(), Mutex::default()));
        (policy.clone(), Paths::new(policy, moment))
    }

    #[test]
    fn the_policy_sees_what_was_measured_and_its_order_is_kept() {
        let (policy, paths) = fixed(&[1, 0]);
        let peer = PeerId::random();
        let (tcp, quic) = (address("/ip4/10.0.0.7/tcp/1"), address("/ip6/2001:db8::7/udp/1/quic-v1"));
        paths.attempted(peer, &tcp, Some(Duration::from_millis(40)));
        paths.attempted(peer, &tcp, None);
        paths.attempted(peer, &tcp, None);
        paths.received(peer, &tcp, 1_000_000);
        let known = [
            quic.clone(),
            tcp.clone(),
            tcp.clone().with(Protocol::P2p(peer)),
            tcp.clone().with(Protocol::P2p(PeerId::random())),
            address("/ip4/10.0.0.7/udp/1"),
        ];
        let plan = paths.plan(peer, known);
        assert_eq!((plan.addresses, plan.at_once.get()), (vec![quic.clone(), tcp.clone()], 2));
        let asked = policy.1.lock().unwrap().remove(0);
        assert_eq!(
            asked.addresses,
            [
                Address {
                    transport: Transport::Tcp,
                    scope: Scope::Private,
                    family: 4,
                    successes: 1,
                    failures: 2,
                    failures_in_row: 2,
                    connect_ms: 40,
                    bytes_per_second: 1_000_000,
                    last_success: 1_750_000_000,
                },
                Address { family: 6, ..Address::default() },
            ]
        );
        assert!(paths.goes_first(Some(&peer), &quic) && !paths.goes_first(Some(&peer), &tcp));
        assert!(paths.goes_first(Some(&PeerId::random()), &tcp));
        paths.attempted(peer, &tcp, Some(Duration::ZERO));
        assert_eq!(paths.state().history.get(&peer, &tcp).failures_in_row, 0);
    }

    #[test]
    fn nobody_is_asked_about_nothing() {
        let (policy, paths) = fixed(&[]);
        assert!(paths.plan(PeerId::random(), [address("/ip4/1.2.3.4/sctp/1")]).addresses.is_empty());
        assert!(policy.1.lock().unwrap().is_empty());
    }

    #[test]
    fn what_is_remembered_is_bounded_and_the_latest_stays() {
        let mut history = History::default();
        let peers: Vec<PeerId> = (0..PEERS_MAX + 10).map(|_| PeerId::random()).collect();
        let place = address("/ip4/10.0.0.7/tcp/1");
        for peer in &peers {
            history.touch(*peer, &place, |seen| seen.successes += 1);
            assert!(history.peers.len() <= PEERS_MAX);
        }
        assert_eq!(history.get(peers.last().unwrap(), &place).successes, 1);
        assert_eq!(history.get(&peers[0], &place), Seen::default());
        let many: Vec<Multiaddr> =
            (1..=100).map(|port| address(&format!("/ip4/10.0.0.7/tcp/{port}"))).collect();
        for place in &many {
            history.touch(peers[5], place, |seen| seen.failures += 1);
        }
        assert_eq!(history.peers[&peers[5]].len(), ADDRESSES_MAX);
        assert_eq!(history.get(&peers[5], &many[99]).failures, 1);
        assert_eq!(history.get(&peers[5], &many[0]).failures, 0);
    }

    proptest! {
        #[test]
        fn a_mean_stays_between_what_it_is_made_of(old in 1u64.., new in 1u64..) {
            let mean = mean(old, new);
            let slack = MEAN_PARTS + 1;
            prop_assert!(mean >= old.min(new).saturating_sub(slack) && mean >= 1);
            prop_assert!(mean <= old.max(new));
        }
    }
}
