//! Which code a segment gets and which providers get its chunks (spec/engine.md, "Placement").
//!
//! A placement policy is asked through [`Placing`], which applies afterwards what no policy may bend.
//!
//! Invariant: what [`Placing::holders`] returns never has two nodes of one party or of one subnet, also
//! against the nodes that are taken already, and nobody in it lacks the room. Nothing is relaxed when
//! there are too few. What it is not: a check that a party is who it says it is, or that two parties
//! are two people.

use std::collections::{BTreeMap, HashSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use commonhold_format::code::Code;
use commonhold_format::ids::{NodeId, PartyId};
use commonhold_format::policy::{self, ChooseCode, Moment, Policy, Purpose, Rank};
use commonhold_format::statement::Prices;
use commonhold_format::tree::leaf_hash;

use crate::audit::{Standing, State};
use crate::chance::minus_log2;
use crate::policy::BuiltIn;

/// Free space beyond this counts no more when providers are ranked: 1 TiB. Free space is a claim
/// that costs nothing, so it must not draw everything to whoever claims most.
pub const FREE_WEIGHT_BYTES_MAX: u64 = 1 << 40;

/// The default codes (k, n), smallest first. A code is chosen when there are n providers for it, so
/// that each chunk can have its own.
const CODES: [(u8, u8); 3] = [(2, 6), (10, 30), (20, 60)];

/// Domain of the hash that orders candidates.
const RANK_DOMAIN: &[u8] = b"commonhold/v1/placement-rank";

/// A range of addresses that one operator can be expected to hold whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Subnet {
    /// A /24 of IPv4, by its first three bytes.
    V4([u8; 3]),
    /// A /48 of IPv6, by its first six bytes.
    V6([u8; 6]),
}

/// The subnet of an address, or `None` for addresses that say nothing about who runs the machine:
/// loopback, private and link-local networks, carrier NAT, documentation, benchmarking, multicast
/// and reserved ranges. IPv4 addresses inside IPv6 (mapped, 6to4, NAT64) are taken as IPv4, since
/// each of them would otherwise be a subnet of its own.
pub fn subnet_of(ip: IpAddr) -> Option<Subnet> {
    match ip {
        IpAddr::V4(ip) => subnet_of_v4(ip),
        IpAddr::V6(ip) => subnet_of_v6(ip),
    }
}

fn subnet_of_v4(ip: Ipv4Addr) -> Option<Subnet> {
    let [a, b, c, _] = ip.octets();
    let carrier_nat = a == 100 && (64..128).contains(&b);
    let benchmarking = a == 198 && (18..20).contains(&b);
    let exempt = ip.is_private()
        || ip.is_loopback()
        || ip.is_link_local()
        || ip.is_documentation()
        || a == 0
        || a >= 224
        || carrier_nat
        || benchmarking;
    (!exempt).then_some(Subnet::V4([a, b, c]))
}

fn subnet_of_v6(ip: Ipv6Addr) -> Option<Subnet> {
    let bytes = ip.octets();
    let v4 = |at: usize| subnet_of_v4(Ipv4Addr::new(bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]));
    let words = ip.segments();
    match words {
        [0, 0, 0, 0, 0, 0xffff, _, _] | [0x64, 0xff9b, 0, 0, 0, 0, _, _] => return v4(12),
        [0x2002, ..] => return v4(2),
        _ => {}
    }
    let documentation =
        (words[0] == 0x2001 && words[1] == 0xdb8) || (words[0] == 0x3fff && words[1] < 0x1000);
    // Everything in global use today lies in 2000::/3.
    let global = words[0] >> 13 == 0b001;
    (global && !documentation)
        .then_some(Subnet::V6([bytes[0], bytes[1], bytes[2], bytes[3], bytes[4], bytes[5]]))
}

/// A provider that might get a chunk. Everything but the standing is its own claim.
#[derive(Debug, Clone)]
pub struct Candidate {
    /// The node that would keep the chunk.
    pub node: NodeId,
    /// The party that runs it.
    pub party: PartyId,
    /// Bytes that it says are free.
    pub free_bytes: u64,
    /// What it asks. Not weighed by the default policy.
    pub prices: Prices,
    /// Round trip in milliseconds. Not weighed by the default policy: near providers tend to fail together.
    pub latency_ms: u32,
    /// How it stands with this owner.
    pub standing: Standing,
    /// Its subnet, see [`subnet_of`]; `None` is exempt from the rule of one per subnet.
    pub subnet: Option<Subnet>,
    /// Where it says that it is: 256 · first letter + second of an ISO 3166 code; 0 when it does not.
    pub region: u32,
}

/// There are too few providers for the code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{have} providers can be used and {need} are needed: wait for more providers, or run one")]
pub struct TooFewProviders {
    /// Providers that could each take a chunk.
    pub have: usize,
    /// Providers that the code needs.
    pub need: usize,
}

/// The code that the policy gives the segments of a file, when `candidates` are all who could hold
/// chunks.
///
/// # Errors
/// [`TooFewProviders`] when not each chunk could have a party and a subnet of its own.
pub fn choose_code(
    candidates: &[Candidate],
    policy: &dyn Policy,
    now: Moment,
) -> Result<Code, TooFewProviders> {
    let all = Need { now, purpose: Purpose::Use, code: default_code(0), holders: 0, chunk_len: 1 };
    let placing = Placing::new(candidates, &[], &all, &[0; 32], |_| None);
    let apart = placing.holders(&BuiltIn);
    let have = apart.len();
    let apart: HashSet<NodeId> = apart.into_iter().collect();
    let listed = placing.nodes.iter().zip(&placing.question.candidates);
    let candidates: Vec<_> =
        listed.filter(|(it, _)| apart.contains(&it.node)).map(|(_, it)| it.clone()).collect();
    let code = policy.ask(ChooseCode { now, candidates });
    let code = code.code().expect("a checked code is one");
    let need = usize::from(code.n());
    if have < need { Err(TooFewProviders { have, need }) } else { Ok(code) }
}

/// The default code for a network in which `providers` could each take a chunk: 2 of 6 up to 29,
/// 10 of 30 up to 59, 20 of 60 beyond.
pub fn default_code(providers: usize) -> Code {
    let fits = |(_, n): &&(u8, u8)| usize::from(*n) <= providers;
    let (k, n) = CODES.iter().rev().find(fits).unwrap_or(&CODES[0]);
    Code::new(*k, *n).expect("every default code is within the bounds of codes")
}

/// Receipts that a segment needs before it is called stored: k and three quarters of the parity,
/// rounded up. 5 of 6, 25 of 30, 50 of 60. The rest is left to repair, so that one slow provider
/// does not hold up a write.
pub fn stored_threshold(code: Code) -> u8 {
    let parity = u16::from(code.n() - code.k());
    // At most n, which is a u8.
    code.k() + (3 * parity).div_ceil(4) as u8
}

/// What is to be placed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Need {
    /// When it is asked.
    pub now: Moment,
    /// What for.
    pub purpose: Purpose,
    /// The segment's code.
    pub code: Code,
    /// Holders that are wanted.
    pub holders: usize,
    /// Bytes that each of them must have free.
    pub chunk_len: u64,
}

/// One question to a placement policy about the chunks of one segment, and what its numbers mean.
pub struct Placing<'a> {
    nodes: Vec<&'a Candidate>,
    taken: &'a [Candidate],
    question: Rank,
}

impl<'a> Placing<'a> {
    /// Who may take a chunk: with room, and with a standing that allows new data. `taken` hold other
    /// chunks of the segment, and `lost` says which one somebody lost, from 0.
    ///
    /// The question depends on the seed and the set of candidates, not on their order. Draw a fresh
    /// seed for each segment; whoever knows it beforehand could choose a key that draws well. Of more
    /// candidates than [`policy::LIST_LEN_MAX`] those with the smallest lots are asked about.
    pub fn new(
        candidates: &'a [Candidate],
        taken: &'a [Candidate],
        need: &Need,
        seed: &[u8; 32],
        lost: impl Fn(&NodeId) -> Option<u8>,
    ) -> Self {
        let fits = |it: &&Candidate| it.free_bytes >= need.chunk_len && it.standing.takes_new_data();
        let mut drawn: Vec<(u64, &Candidate)> =
            candidates.iter().filter(fits).map(|it| (lot(&it.node, seed), it)).collect();
        if drawn.len() > policy::LIST_LEN_MAX {
            drawn.sort_unstable_by_key(|(lot, it)| (*lot, it.node));
            drawn.truncate(policy::LIST_LEN_MAX);
        }
        drawn.sort_by_key(|(_, it)| (it.node, it.party, it.subnet, it.free_bytes));
        let (mut operators, mut subnets) = (Numbers::default(), Numbers::default());
        let mut show = |it: &Candidate, lot: u64| policy::Candidate {
            node: it.node.into(),
            party: it.party.into(),
            operator: operators.of(it.party),
            subnet: it.subnet.map_or(0, |subnet| subnets.of(subnet)),
            region: it.region,
            standing: match it.standing.state() {
                State::Good => policy::Standing::Good,
                _ => policy::Standing::Probation,
            },
            audits_passed: it.standing.passed(),
            audits_failed: it.standing.failed(),
            latency_ms: it.latency_ms,
            returning: lost(&it.node).map_or(0, |index| u32::from(index) + 1),
            free_bytes: it.free_bytes,
            prices: it.prices,
            lot,
        };
        let question = Rank {
            now: need.now,
            purpose: need.purpose,
            code: need.code.into(),
            holders: u32::try_from(need.holders).unwrap_or(u32::MAX),
            chunk_len: u32::try_from(need.chunk_len).unwrap_or(u32::MAX),
            taken: taken.iter().map(|it| show(it, 0)).collect(),
            candidates: drawn.iter().map(|(lot, it)| show(it, *lot)).collect(),
        };
        Self { nodes: drawn.into_iter().map(|(_, it)| it).collect(), taken, question }
    }

    /// What the policy is asked.
    pub fn question(&self) -> &Rank {
        &self.question
    }

    /// The policy's holders, best first: at most one for each node, party and subnet, none that shares
    /// one with those that are taken. More than are wanted are spares.
    pub fn holders(&self, policy: &dyn Policy) -> Vec<NodeId> {
        self.walk(&policy.ask(self.question.clone()))
    }

    /// Walks down a ranking and takes whoever is apart from those before.
    fn walk(&self, ranking: &[u32]) -> Vec<NodeId> {
        let mut apart = Apart::from_taken(self.taken);
        let ranked = ranking.iter().filter_map(|position| self.nodes.get(*position as usize));
        ranked.filter(|candidate| apart.admit(candidate)).map(|it| it.node).collect()
    }
}

/// Orders the providers that may take one chunk of `chunk_len` bytes each by the default policy, best
/// first: [`Placing`] for a new segment.
pub fn rank(candidates: &[Candidate], taken: &[Candidate], chunk_len: u64, seed: &[u8; 32]) -> Vec<NodeId> {
    let (now, purpose) = (Moment::default(), Purpose::Use);
    let need = Need { now, purpose, code: default_code(0), holders: 0, chunk_len };
    Placing::new(candidates, taken, &need, seed, |_| None).holders(&BuiltIn)
}

/// Numbers from 1 for things that may be the same.
struct Numbers<T>(BTreeMap<T, u32>);

impl<T> Default for Numbers<T> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<T: Ord> Numbers<T> {
    fn of(&mut self, thing: T) -> u32 {
        let next = self.0.len() as u32 + 1;
        *self.0.entry(thing).or_insert(next)
    }
}

/// A node's lot under a seed: an exponentially distributed number. The smallest lot / weight comes
/// first, which makes the chance of being first proportional to the weight.
fn lot(node: &NodeId, seed: &[u8; 32]) -> u64 {
    let hash = leaf_hash(&[RANK_DOMAIN, seed, node.as_bytes()].concat());
    let mut draw = [0; 8];
    draw.copy_from_slice(&hash[..8]);
    minus_log2(u64::from_be_bytes(draw))
}

/// What keeps the holders of one segment apart.
#[derive(Default)]
pub(crate) struct Apart {
    nodes: HashSet<NodeId>,
    parties: HashSet<PartyId>,
    subnets: HashSet<Subnet>,
}

impl Apart {
    pub(crate) fn from_taken(taken: &[Candidate]) -> Self {
        Self {
            nodes: taken.iter().map(|holder| holder.node).collect(),
            parties: taken.iter().map(|holder| holder.party).collect(),
            subnets: taken.iter().filter_map(|holder| holder.subnet).collect(),
        }
    }

    /// Takes the candidate in, unless it shares a node, party or subnet with one that is in.
    pub(crate) fn admit(&mut self, candidate: &Candidate) -> bool {
        let shared = self.nodes.contains(&candidate.node)
            || self.parties.contains(&candidate.party)
            || candidate.subnet.is_some_and(|subnet| self.subnets.contains(&subnet));
        if !shared {
            self.nodes.insert(candidate.node);
            self.parties.insert(candidate.party);
            self.subnets.extend(candidate.subnet);
        }
        !shared
    }
}
