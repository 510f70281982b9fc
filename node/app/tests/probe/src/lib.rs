//! A placement policy for tests of operating plugins: what it does is set by its configuration.
#![no_std]
extern crate alloc;

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

#[global_allocator]
static ALLOCATOR: dlmalloc::GlobalDlmalloc = dlmalloc::GlobalDlmalloc;

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    core::arch::wasm32::unreachable()
}

wit_bindgen::generate!({ path: "../../../../spec/wit/v0.1", world: "placement-policy" });

use commonhold::policy::types::{Moment, Verdict};
use commonhold::policy::{config, log, state};
use exports::commonhold::policy::placement::{Candidate, Code, Guest, Need, Offer};

/// The time in the questions of the host's self-test.
const SELF_TEST: u64 = 1_767_607_200;

struct Probe;

impl Guest for Probe {
    /// 3 of 6.
    fn choose_code(_: Moment, _: Vec<Candidate>) -> Code {
        Code { k: 3, n: 6 }
    }

    /// As they come. Counts itself in the state. `fail` makes it loop or trap, but in the self-test only
    /// with `early`.
    fn rank(need: Need, _: Vec<Candidate>, candidates: Vec<Candidate>) -> Vec<u32> {
        let calls = state::get("calls").and_then(|it| it.try_into().ok()).map_or(0, u64::from_be_bytes);
        state::set("calls", &(calls + 1).to_be_bytes());
        if let Some(said) = config::get("say") {
            log::write(1, &format!("{said} {calls}"));
        }
        let early = config::get("early").is_some();
        match config::get("fail").filter(|_| early || need.now.unix_seconds != SELF_TEST).as_deref() {
            Some("loop") => loop {
                core::hint::black_box(calls);
            },
            Some(_) => core::arch::wasm32::unreachable(),
            None => (0..candidates.len() as u32).collect(),
        }
    }

    fn admit(_: Offer) -> Verdict {
        Verdict { admit: true, reason: String::new() }
    }
}

export!(Probe);
