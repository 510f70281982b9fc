//! Bytes that nobody meant: whatever a file holds, the host refuses it or runs it, and does not panic.
#![allow(clippy::unwrap_used)]

mod common;

use std::sync::{LazyLock, Mutex};

use commonhold_format::policy::package::seal;
use commonhold_format::policy::{CreditLimit, Kind, Moment, Question, Quote};
use commonhold_format::statement::Capability;
use commonhold_host::{Host, State};
use proptest::prelude::*;

static HOST: LazyLock<Host> = LazyLock::new(|| Host::new().unwrap());
/// One case at a time compiles, so that a debug build does not take all of a small machine.
static TURN: Mutex<()> = Mutex::new(());

fn harmless() -> Vec<u8> {
    let file = common::root().join("plugins/hostile/panic.wat");
    common::component(Kind::Pricing, &std::fs::read_to_string(file).unwrap())
}

static HARMLESS: LazyLock<Vec<u8>> = LazyLock::new(harmless);

/// Seals whatever it is, as an author could, loads and calls it.
fn try_component(component: &[u8]) -> bool {
    let _turn = TURN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let manifest = common::manifest(Kind::Pricing, "mutant", &Capability::ALL);
    let Ok(file) = seal(component, &manifest, None) else { return false };
    let plugin = match common::load(&HOST, &file) {
        Ok(plugin) => plugin,
        Err(refused) => {
            assert!(!refused.to_string().contains('\n'), "{refused}");
            return false;
        }
    };
    let late = Moment { unix_seconds: 1 << 40, minute_of_week: 0 };
    for question in [
        Question::from(Quote::default()),
        CreditLimit::default().into(),
        CreditLimit { now: late, ..CreditLimit::default() }.into(),
    ] {
        match plugin.call(&question) {
            Ok(called) => question.check(&called.answer).unwrap(),
            Err(fault) => assert!(!fault.to_string().contains('\n'), "{fault}"),
        }
    }
    true
}

#[test]
fn unchanged_it_works() {
    assert!(try_component(&HARMLESS));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn attack_38_changed_components_do_not_panic_the_host(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in prop::option::weighted(0.1, any::<prop::sample::Index>()),
    ) {
        let mut bytes = HARMLESS.clone();
        for (at, value) in changes {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        try_component(&bytes);
    }

    #[test]
    fn attack_39_random_bytes_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
        prop_assert!(common::load(&HOST, &bytes).is_err());
        let mut component = b"\0asm\x0d\0\x01\0".to_vec();
        component.extend(&bytes);
        prop_assert!(!try_component(&component) || bytes.is_empty());
    }

    #[test]
    fn states_have_one_encoding(
        entries in prop::collection::vec(("[a-z]{0,8}", prop::collection::vec(any::<u8>(), 0..40)), 0..20),
        noise in prop::collection::vec(any::<u8>(), 0..64),
        at in any::<prop::sample::Index>(),
        value in any::<u8>(),
    ) {
        let mut state = State::default();
        for (key, value) in &entries {
            state.set(key, value);
        }
        let bytes = state.to_bytes();
        prop_assert_eq!(&State::from_bytes(&bytes).unwrap(), &state);
        let mut changed = bytes.clone();
        let at = at.index(changed.len());
        changed[at] = value;
        for bytes in [changed, noise] {
            if let Ok(other) = State::from_bytes(&bytes) {
                prop_assert_eq!(other.to_bytes(), bytes);
            }
        }
    }
}
