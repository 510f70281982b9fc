//! Which code a segment gets and which providers get its chunks (spec/engine.md, "Placement").
//!
//! Invariant: what [`rank`] returns never has two nodes of one party or of one subnet, also against
//! the nodes that are taken already, and nobody in it lacks the room. Nothing is relaxed when there
//! are too few. What it is not: a check that a party is who it says it is, or that two parties are
//! two people.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use commonhold_format::code::Code;
use commonhold_format::ids::{NodeId, PartyId};
use commonhold_format::statement::Prices;
use commonhold_format::tree::leaf_hash;

use crate::audit::Standing;
use crate::chance::minus_log2;

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
    /// What it asks. Not weighed by [`rank`].
    pub prices: Prices,
    /// Round trip in milliseconds. Not weighed by [`rank`]: near providers tend to fail together.
    pub latency_ms: u32,
    /// How it stands with this owner.
    pub standing: Standing,
    /// Its subnet, see [`subnet_of`]; `None` is exempt from the rule of one per subnet.
    pub subnet: Option<Subnet>,
}

/// There are too few providers for the smallest code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{have} providers can be used and {need} are needed: wait for more providers, or run one")]
pub struct TooFewProviders {
    /// Providers that could each take a chunk.
    pub have: usize,
    /// Providers that the smallest code needs.
    pub need: usize,
}

/// The default code for a network in which `providers` could each take a chunk: 2 of 6 up to 29,
/// 10 of 30 up to 59, 20 of 60 beyond. Count those that [`rank`] would return: distinct parties and
/// subnets, with room.
///
/// # Errors
/// [`TooFewProviders`] below 6.
pub fn choose_code(providers: usize) -> Result<Code, TooFewProviders> {
    let fits = |(_, n): &&(u8, u8)| usize::from(*n) <= providers;
    let too_few = TooFewProviders { have: providers, need: usize::from(CODES[0].1) };
    let (k, n) = CODES.iter().rev().find(fits).ok_or(too_few)?;
    Ok(Code::new(*k, *n).expect("every default code is within the bounds of codes"))
}

/// Receipts that a segment needs before it is called stored: k and three quarters of the parity,
/// rounded up. 5 of 6, 25 of 30, 50 of 60. The rest is left to repair, so that one slow provider
/// does not hold up a write.
pub fn stored_threshold(code: Code) -> u8 {
    let parity = u16::from(code.n() - code.k());
    // At most n, which is a u8.
    code.k() + (3 * parity).div_ceil(4) as u8
}

/// Orders the providers that may take one chunk of `chunk_len` bytes each, best first: at most one
/// for each node, party and subnet, none that shares one with `taken`, all with room and with a
/// standing that allows new data.
///
/// The order is a weighted draw: a provider comes first with a probability proportional to its free
/// space (up to [`FREE_WEIGHT_BYTES_MAX`]) times [`Standing::weight`]. It depends on the seed and the
/// set of candidates, not on their order. Draw a fresh seed for each segment; whoever knows it
/// beforehand could choose a key that ranks well. O(n log n).
pub fn rank(candidates: &[Candidate], taken: &[Candidate], chunk_len: u64, seed: &[u8; 32]) -> Vec<NodeId> {
    let mut drawn: Vec<(Draw, &Candidate)> = candidates
        .iter()
        .filter(|candidate| candidate.free_bytes >= chunk_len && candidate.standing.takes_new_data())
        .map(|candidate| (Draw::new(candidate, seed), candidate))
        .collect();
    drawn.sort_by(|(a, x), (b, y)| {
        a.cmp_to(b).then_with(|| (x.node, x.party, x.subnet).cmp(&(y.node, y.party, y.subnet)))
    });
    let mut apart = Apart::from_taken(taken);
    drawn.into_iter().filter(|(_, candidate)| apart.admit(candidate)).map(|(_, it)| it.node).collect()
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

/// A candidate's lot: an exponentially distributed number over a weight. The smallest comes first,
/// which makes the chance of being first proportional to the weight.
struct Draw {
    lot: u64,
    weight: u128,
}

impl Draw {
    fn new(candidate: &Candidate, seed: &[u8; 32]) -> Self {
        let input = [RANK_DOMAIN, seed, candidate.node.as_bytes()].concat();
        let hash = leaf_hash(&input);
        let mut draw = [0; 8];
        draw.copy_from_slice(&hash[..8]);
        let free = candidate.free_bytes.clamp(1, FREE_WEIGHT_BYTES_MAX);
        Self {
            lot: minus_log2(u64::from_be_bytes(draw)),
            weight: u128::from(free) * u128::from(candidate.standing.weight().max(1)),
        }
    }

    /// Compares lot / weight without dividing. A lot has 39 bits, a weight at most 49.
    fn cmp_to(&self, other: &Self) -> std::cmp::Ordering {
        (u128::from(self.lot) * other.weight).cmp(&(u128::from(other.lot) * self.weight))
    }
}
