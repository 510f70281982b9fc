//! Which addresses of a peer are believed, and how many nodes of one subnet the routing table takes.
//!
//! Invariant: an address from elsewhere never leads to this machine or its LAN, and no IPv4 /16
//! fills the table.

use std::collections::HashMap;
use std::net::IpAddr;

use libp2p::PeerId;
use libp2p::multiaddr::{Multiaddr, Protocol};

/// Addresses that are kept of one peer.
pub(crate) const ADDRESSES_MAX: usize = 8;
/// Peers of one IPv4 /16 (IPv6 /32) in the whole table. kad has no such limit of its own.
const PER_SUBNET_MAX: usize = 3;

/// The IP address that a multiaddr begins with.
pub(crate) fn ip_of(address: &Multiaddr) -> Option<IpAddr> {
    match address.iter().next()? {
        Protocol::Ip4(ip) => Some(IpAddr::V4(ip)),
        Protocol::Ip6(ip) => Some(IpAddr::V6(ip)),
        _ => None,
    }
}

/// Loopback, private and link-local addresses: where many nodes of one LAN may be.
pub(crate) fn is_local(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_loopback() || ip.is_private() || ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local(),
    }
}

/// Of what a peer says of itself, the addresses that make sense, given where it was seen: loopback
/// only from loopback, private ones only from private ones.
pub(crate) fn believable(claimed: Vec<Multiaddr>, seen_at: Option<IpAddr>) -> Vec<Multiaddr> {
    let sensible = |address: &Multiaddr| match ip_of(address) {
        Some(ip) if ip.is_unspecified() || ip.is_multicast() => false,
        Some(ip) if ip.is_loopback() => seen_at.is_some_and(|seen| seen.is_loopback()),
        Some(ip) if is_local(ip) => seen_at.is_some_and(is_local),
        Some(_) => true,
        None => {
            matches!(address.iter().next(), Some(Protocol::Dns(_) | Protocol::Dns4(_) | Protocol::Dns6(_)))
        }
    };
    claimed.into_iter().filter(sensible).take(ADDRESSES_MAX).collect()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Range {
    V4([u8; 2]),
    V6([u8; 4]),
}

fn range_of(ip: IpAddr) -> Option<Range> {
    match ip {
        ip if is_local(ip) => None,
        IpAddr::V4(ip) => Some(Range::V4([ip.octets()[0], ip.octets()[1]])),
        IpAddr::V6(ip) => {
            let octets = ip.octets();
            Some(Range::V6([octets[0], octets[1], octets[2], octets[3]]))
        }
    }
}

/// Counts the peers of the routing table by subnet.
#[derive(Debug, Default)]
pub(crate) struct SubnetLimits(HashMap<PeerId, Option<Range>>);

impl SubnetLimits {
    /// May this peer be in the table? Remembers it if so.
    pub(crate) fn admit(&mut self, peer: PeerId, addresses: &[Multiaddr]) -> bool {
        if self.0.contains_key(&peer) {
            return true;
        }
        let range = addresses.iter().find_map(ip_of).and_then(range_of);
        if range.is_some() && self.0.values().filter(|other| **other == range).count() >= PER_SUBNET_MAX {
            return false;
        }
        self.0.insert(peer, range);
        true
    }

    /// The peer has left the table.
    pub(crate) fn forget(&mut self, peer: &PeerId) {
        self.0.remove(peer);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn address(text: &str) -> Multiaddr {
        text.parse().unwrap()
    }

    #[test]
    fn attack_36_one_subnet_does_not_fill_the_table() {
        let mut limits = SubnetLimits::default();
        let admitted = (0..20u8)
            .filter(|i| limits.admit(PeerId::random(), &[address(&format!("/ip4/203.7.{i}.1/tcp/1"))]))
            .count();
        assert_eq!(admitted, PER_SUBNET_MAX);
        assert!(limits.admit(PeerId::random(), &[address("/ip4/203.8.0.1/tcp/1")]));
        assert!((0..20).all(|_| limits.admit(PeerId::random(), &[address("/ip4/127.0.0.1/tcp/1")])));
    }

    #[test]
    fn addresses_from_elsewhere_do_not_lead_inside() {
        let claimed =
            ["/ip4/127.0.0.1/tcp/1", "/ip4/10.0.0.1/tcp/1", "/ip4/198.51.100.7/tcp/1", "/ip4/0.0.0.0/tcp/1"];
        let claimed: Vec<Multiaddr> = claimed.iter().map(|text| address(text)).collect();
        let seen = |ip: &str| believable(claimed.clone(), Some(ip.parse().unwrap())).len();
        assert_eq!((seen("198.51.100.7"), seen("10.0.0.9"), seen("127.0.0.1")), (1, 2, 3));
        let many = (0..50).map(|i| address(&format!("/ip4/198.51.100.7/tcp/{}", i + 1))).collect();
        assert_eq!(believable(many, None).len(), ADDRESSES_MAX);
    }
}
