//! Keeping the holders of a segment apart.
//!
//! The node itself never gives two chunks of a segment to one party or one subnet. A policy that keeps
//! them apart too ranks holders that the node will really take, and may add regions.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use crate::placement::Candidate;

/// Who is in, one for each operator and subnet, and if wanted for each region.
#[derive(Debug, Clone, Default)]
pub struct Apart {
    operators: BTreeSet<u32>,
    subnets: BTreeSet<u32>,
    regions: Option<BTreeSet<u32>>,
}

impl Apart {
    /// One for each operator and subnet; `taken` are in already.
    pub fn new(taken: &[Candidate]) -> Self {
        let mut apart = Self::default();
        for it in taken {
            apart.take(it);
        }
        apart
    }

    /// One for each operator, subnet and region. Who does not say where it is shares a region with
    /// everybody else who does not.
    pub fn with_regions(taken: &[Candidate]) -> Self {
        let mut apart = Self { regions: Some(BTreeSet::new()), ..Self::default() };
        for it in taken {
            apart.take(it);
        }
        apart
    }

    /// Whether somebody shares nothing with those who are in. A subnet of 0 is none.
    pub fn fits(&self, candidate: &Candidate) -> bool {
        !self.operators.contains(&candidate.operator)
            && !(candidate.subnet != 0 && self.subnets.contains(&candidate.subnet))
            && !self.regions.as_ref().is_some_and(|regions| regions.contains(&candidate.region))
    }

    /// Takes somebody in, whether or not it fits.
    pub fn take(&mut self, candidate: &Candidate) {
        self.operators.insert(candidate.operator);
        self.subnets.insert(candidate.subnet);
        if let Some(regions) = &mut self.regions {
            regions.insert(candidate.region);
        }
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
    fn one_for_each_operator_subnet_and_region() {
        let candidates = [at(1, 1, 9), at(2, 1, 8), at(1, 2, 7), at(3, 0, 9), at(4, 0, 0), at(5, 5, 0)];
        let order = [0, 1, 2, 3, 4, 5];
        assert_eq!(Apart::new(&[]).walk(&order, &candidates).0, [0, 3, 4, 5]);
        assert_eq!(
            Apart::with_regions(&[]).walk(&order, &candidates),
            (vec_of(&[0, 4]), vec_of(&[1, 2, 3, 5]))
        );
        assert_eq!(Apart::new(&[at(4, 5, 0)]).walk(&order, &candidates).0, [0, 3]);
        assert_eq!(Apart::with_regions(&[at(9, 9, 9)]).walk(&order, &candidates).0, [1, 2, 4]);
    }

    fn vec_of(list: &[u32]) -> Vec<u32> {
        list.to_vec()
    }
}
