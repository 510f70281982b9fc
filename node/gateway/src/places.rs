//! How many of something one client may have at a time.
//!
//! Invariant: nobody has more than the bound, and a place that is dropped is free again. Memory: one count
//! for each client that has any.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};

/// The network that counts as one client: an IPv4 address, or the 64 bits that a home or a server has of
/// IPv6.
pub(crate) fn network(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V4(ip) => IpAddr::V4(ip),
        IpAddr::V6(ip) => IpAddr::V6(Ipv6Addr::from_bits(ip.to_bits() & (u128::MAX << 64))),
    }
}

/// See the module.
#[derive(Clone)]
pub(crate) struct Places {
    max: usize,
    held: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

impl Places {
    pub(crate) fn new(max: usize) -> Self {
        Self { max, held: Arc::default() }
    }

    /// A place for a client, unless it has as many as it may.
    pub(crate) fn take(&self, client: IpAddr) -> Option<Place> {
        // Counts alone are in there: whoever panicked left nothing half done.
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let count = held.entry(client).or_default();
        if *count >= self.max {
            return None;
        }
        *count += 1;
        Some(Place { client, held: self.held.clone() })
    }
}

/// A place that is held until it is dropped.
pub(crate) struct Place {
    client: IpAddr,
    held: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if let Entry::Occupied(mut entry) = held.entry(self.client) {
            *entry.get_mut() -= 1;
            if *entry.get() == 0 {
                entry.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attack_37_nobody_holds_more_than_the_bound_and_nothing_is_kept_of_those_who_left() {
        let places = Places::new(2);
        let [a, b] = [[192, 0, 2, 1], [192, 0, 2, 2]].map(IpAddr::from);
        let held = [places.take(a), places.take(a)];
        assert!(held.iter().all(Option::is_some) && places.take(a).is_none());
        assert!(places.take(b).is_some(), "another one is not concerned");
        drop(held);
        assert!(places.take(a).is_some());
        assert!(places.held.lock().is_ok_and(|held| held.is_empty()));
    }

    #[test]
    fn a_network_of_ipv6_is_one_client() {
        let network = |text: &str| text.parse().map(network).ok();
        assert_eq!(network("2001:db8:1:2:3:4:5:6"), network("2001:db8:1:2:ffff::1"));
        assert_ne!(network("2001:db8:1:2::"), network("2001:db8:1:3::"));
        assert_eq!(network("::ffff:192.0.2.1"), "192.0.2.1".parse().ok());
    }
}
