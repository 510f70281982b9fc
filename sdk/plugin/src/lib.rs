//! What a policy plugin is made of (plugins/README.md is the tutorial, spec/plugins.md the rules).
//!
//! A policy is a type with one of three traits, [`placement::Placement`], [`transport::Transport`] or
//! [`pricing::Pricing`], and one line that exports it. Each function that is not written does what the
//! built-in default does.
//!
//! ```
//! use commonhold_plugin::placement::*;
//!
//! /// The nearest first.
//! struct Near;
//!
//! impl Placement for Near {
//!     fn rank(_need: Need, _taken: Vec<Candidate>, candidates: Vec<Candidate>) -> Vec<u32> {
//!         order::by_key(&candidates, |it| (it.latency_ms, it.lot))
//!     }
//! }
//!
//! commonhold_plugin::export_placement!(Near);
//! # fn main() {}
//! ```
//!
//! A plugin's crate begins with `#![no_std]`: a guest has no operating system, no clock and no
//! randomness. It has [`config`], [`log`] and [`state`], each only when its manifest asks for it and
//! the operator grants it. Built for anything but WebAssembly, which is what `cargo test` does, the
//! three work on a host of the test's own, see [`test::Host`].
//!
//! Invariant: a component imports `config`, `log` and `state` only when the plugin calls them. What
//! it is not: the host. Limits and checks of answers are the node's (spec/plugins.md).
#![cfg_attr(target_arch = "wasm32", no_std)]

extern crate alloc;
// The generated code names this crate from the outside, also when it stands inside.
extern crate self as commonhold_plugin;

#[doc(hidden)]
pub mod bindings;
mod export;

pub mod apart;
pub mod config;
pub mod durability;
mod key;
pub mod log;
pub mod mean;
pub mod order;
pub mod placement;
pub mod pricing;
pub mod state;
#[cfg(not(target_arch = "wasm32"))]
pub mod test;
pub mod time;
pub mod transport;

pub use bindings::shared::commonhold::policy::types::{Key, Moment, Prices, Verdict};
pub use key::BadKey;

/// The largest amount and the largest price, microcredits.
pub const AMOUNT_MAX: u64 = (1 << 63) - 1;

/// What every policy has at hand; part of `use commonhold_plugin::placement::*` and its like.
pub mod prelude {
    pub use alloc::borrow::ToOwned;
    pub use alloc::boxed::Box;
    pub use alloc::collections::{BTreeMap, BTreeSet};
    pub use alloc::format;
    pub use alloc::string::{String, ToString};
    pub use alloc::vec;
    pub use alloc::vec::Vec;

    pub use crate::{AMOUNT_MAX, Key, Moment, Prices, Verdict, config, log, mean, order, state, time};
}

#[doc(hidden)]
pub use wit_bindgen::rt;

/// What the export macros need on WebAssembly.
#[cfg(target_arch = "wasm32")]
#[doc(hidden)]
pub mod guest {
    use core::panic::PanicInfo;

    #[global_allocator]
    static HEAP: dlmalloc::GlobalDlmalloc = dlmalloc::GlobalDlmalloc;

    /// Ends the call without a word: the plugin cannot write lines.
    pub fn trap() -> ! {
        core::arch::wasm32::unreachable()
    }

    /// Writes where and why as an error for the operator, then ends the call.
    pub fn tell_and_trap(info: &PanicInfo<'_>) -> ! {
        crate::log::error(&alloc::format!("{info}"));
        trap()
    }
}

impl Verdict {
    /// Yes.
    pub fn yes() -> Self {
        Self { admit: true, reason: alloc::string::String::new() }
    }

    /// No, and why, for the other side to read: what is beyond 200 bytes is cut off.
    pub fn no(reason: &str) -> Self {
        let mut end = reason.len().min(200);
        while !reason.is_char_boundary(end) {
            end -= 1;
        }
        Self { admit: false, reason: reason[..end].into() }
    }
}

impl Prices {
    /// Nothing.
    pub const FREE: Self = Self { storage: 0, egress: 0, audit: 0 };
    /// No price is too high: the default's ceiling.
    pub const ANY: Self = Self { storage: u64::MAX, egress: u64::MAX, audit: u64::MAX };

    /// Each of the three prices, changed in the same way.
    ///
    /// ```
    /// # use commonhold_plugin::Prices;
    /// let base = Prices { storage: 100, egress: 10, audit: 1 };
    /// assert_eq!(base.map(|price| price * 2), Prices { storage: 200, egress: 20, audit: 2 });
    /// ```
    pub fn map(self, change: impl Fn(u64) -> u64) -> Self {
        Self { storage: change(self.storage), egress: change(self.egress), audit: change(self.audit) }
    }

    /// Each price times `per_mille` / 1000, rounded down, at most [`AMOUNT_MAX`]: 1500 is half as much
    /// again.
    pub fn scaled(self, per_mille: u64) -> Self {
        self.map(|price| {
            // Without 128 bits, which cost a guest much: whole thousands and the rest apart.
            let whole = (price / 1000).saturating_mul(per_mille);
            let rest = (price % 1000).saturating_mul(per_mille) / 1000;
            whole.saturating_add(rest).min(AMOUNT_MAX)
        })
    }

    /// Whether none of the three is above the other's.
    pub fn within(&self, ceiling: &Self) -> bool {
        self.storage <= ceiling.storage && self.egress <= ceiling.egress && self.audit <= ceiling.audit
    }
}

impl Default for Prices {
    fn default() -> Self {
        Self::FREE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_cut_between_characters() {
        assert_eq!(Verdict::no("full").reason, "full");
        let long = "é".repeat(150);
        assert_eq!(Verdict::no(&long).reason, "é".repeat(100));
        assert_eq!(Verdict::no(&alloc::format!("x{long}")).reason.len(), 199);
    }

    #[test]
    fn scaling_is_exact_and_does_not_wrap() {
        let of = |storage, per_mille| Prices { storage, ..Prices::FREE }.scaled(per_mille).storage;
        for price in [0, 1, 7, 999, 1000, 1001, 123_456_789, AMOUNT_MAX / 3] {
            for per_mille in [0, 1, 333, 1000, 1500] {
                let exact = u128::from(price) * u128::from(per_mille) / 1000;
                assert_eq!(u128::from(of(price, per_mille)), exact, "{price} {per_mille}");
            }
        }
        assert_eq!(of(AMOUNT_MAX, 2000), AMOUNT_MAX);
        assert_eq!(of(u64::MAX, u64::MAX), AMOUNT_MAX);
    }
}
