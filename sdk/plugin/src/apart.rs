//! Keeping the holders of a segment apart.
//!
//! The node itself never gives two chunks of a segment to one party or one subnet. A policy that keeps
//! them apart too ranks holders that the node will really take, and may bound regions besides.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use crate::placement::Candidate;

/// Who is in: one for each operator and subnet, and so many for each region.
#[derive(Debug, Clone)]
pub struct Apart {
    operators: BTreeSet<u32>,
    subnets: BTreeSet<u32>,
    regions: BTreeMap<u32, u32>,
    per_region: u32,
}

impl Apart {
    /// One for each operator and subnet, any number for each region; `taken` are in already.
    pub fn new(taken: &[Candidate]) -> Self {
        let mut apart = Self {
            operators: BTreeSet::new(),
            subnets: BTreeSet::new(),
            regions: BTreeMap::new(),
            per_region: u32::MAX,
        };
        for it in taken {
            apart.take(it);
        }
        apart
    }

    /// At most so many for each region. Those who do not say where they are count as one region.
    pub fn per_region(self, most: u32) -> Self {
        Self { per_region: most, ..self }
    }

    /// Whether somebody shares nothing with those who are in, and its region has room. A subnet of 0 is
    /// none.
    pub fn fits(&self, candidate: &Candidate) -> bool {
        !self.operators.contains(&candidate.operator)
            && (candidate.subnet == 0 || !self.subnets.contains(&candidate.subnet))
            && self.regions.get(&candidate.region).copied().unwrap_or(0) < self.per_region
    }

    /// Takes somebody in, whether or not it fits.
    pub fn take(&mut self, candidate: &Candidate) {
        self.operators.insert(candidate.operator);
        self.subnets.insert(candidate.subnet);
        *self.regions.entry(candidate.region).or_insert(0) += 1;
    }

    /// Takes somebody in if it fits.
    pub fn admit(&mut self, candidate: &Candidate) -> bool {
        let fits = self.fits(candidate);
        if fits {
            self.take(candidate);
        }
        fits
    }

    /// Goes down an order and takes in whoever fits; the others come back in the second list.
    pub fn walk(&mut self, order: &[u32], candidates: &[Candidate]) -> (Vec<u32>, Vec<u32>) {
        order.iter().partition(|at| candidates.get(**at as usize).is_some_and(|it| self.admit(it)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(operator: u32, subnet: u32, region: u32) -> Candidate {
        Candidate { operator, subnet, region, ..Candidate::default() }
    }

    #[test]
    fn one_for_each_operator_and_subnet_and_so_many_for_each_region() {
        let candidates = [at(1, 1, 9), at(2, 1, 8), at(1, 2, 7), at(3, 0, 9), at(4, 0, 0), at(5, 5, 0)];
        let order = [0, 1, 2, 3, 4, 5, 99];
        let walk = |apart: Apart| apart.clone().walk(&order, &candidates).0;
        assert_eq!(walk(Apart::new(&[])), [0, 3, 4, 5]);
        assert_eq!(walk(Apart::new(&[]).per_region(1)), [0, 4]);
        assert_eq!(walk(Apart::new(&[]).per_region(2)), [0, 3, 4, 5]);
        assert_eq!(walk(Apart::new(&[at(4, 5, 0)])), [0, 3]);
        assert_eq!(walk(Apart::new(&[at(9, 9, 9)]).per_region(1)), [1, 2, 4]);
        assert_eq!(Apart::new(&[]).per_region(1).walk(&order, &candidates).1, [1, 2, 3, 5, 99]);
    }
}
