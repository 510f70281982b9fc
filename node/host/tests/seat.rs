//! A plugin in its place: what it remembers, what it is configured with, who is told, who takes over.
#![allow(clippy::unwrap_used)]

mod common;

use std::sync::{Arc, Mutex};

use commonhold_engine::policy::BuiltIn;
use commonhold_format::policy::package::seal;
use commonhold_format::policy::{Answer, ChooseCode, Kind, Policy, Question, Quote};
use commonhold_format::statement::{Capability, PolicyManifest, Prices};
use commonhold_host::{Decider, FaultKind, Grant, Host, Level, Observer, Plugin, Seat, State};

fn counting(host: &Host, version: &str) -> Plugin {
    let component = common::component(Kind::Pricing, include_str!("counting.wat"));
    let manifest = common::manifest(Kind::Pricing, "counting", &Capability::ALL);
    let file = seal(&component, &PolicyManifest { version: version.to_owned(), ..manifest }, None).unwrap();
    let config = [("base".to_owned(), "A".to_owned())].into();
    host.load(&file, &Grant { config, ..common::grant(&file) }).unwrap()
}

fn quote(bytes: u64) -> Question {
    Quote { bytes, ..Quote::default() }.into()
}

/// Asks again when the clock ended the call, which a machine that has much else to do does to any plugin.
fn ask(seat: &Seat, question: &Question) -> Answer {
    let ended = || seat.status().metrics.faults.get(&FaultKind::Wall).copied();
    loop {
        let before = ended();
        let answer = seat.answer(question);
        if ended() == before {
            return answer;
        }
    }
}

fn storage(answer: &Answer) -> u64 {
    match answer {
        Answer::Prices(prices) => prices.storage_microcredits_per_gib_month,
        other => panic!("{other:?}"),
    }
}

#[derive(Default)]
struct Told(Mutex<Vec<Decider>>);

impl Observer for Told {
    fn decided(&self, question: &Question, answer: &Answer, by: &Decider) {
        question.check(answer).unwrap();
        self.0.lock().unwrap().push(by.clone());
    }
}

#[test]
fn state_counts_when_the_answer_is_accepted_and_moves_to_the_next_version() {
    let host = Host::new().unwrap();
    let seat = Seat::new(Kind::Pricing, Arc::new(BuiltIn));
    common::patiently(|| seat.put("counting", counting(&host, "1.0.0"))).unwrap();
    // The self-test counted too, and does not count.
    assert!(seat.state().unwrap().is_empty());
    assert_eq!([1, 2, 3].map(|_| storage(&ask(&seat, &quote(1)))), [1, 2, 3]);
    // Refused, so the default decides and nothing is remembered.
    assert_eq!(seat.answer(&quote(13)), BuiltIn.answer(&quote(13)));
    assert_eq!(seat.status().metrics.refusals, 1);
    assert_eq!(storage(&ask(&seat, &quote(1))), 4);
    let saved = seat.state().unwrap().to_bytes();
    common::patiently(|| seat.put("counting", counting(&host, "1.0.1"))).unwrap();
    assert_eq!(storage(&ask(&seat, &quote(1))), 5);
    assert_eq!(seat.status().plugin.unwrap().1.version, "1.0.1");
    // Under another name it is another plugin.
    common::patiently(|| seat.put("other", counting(&host, "1.0.0"))).unwrap();
    assert_eq!(storage(&ask(&seat, &quote(1))), 1);
    // Saved and restored.
    let restored = || {
        let plugin = counting(&host, "1.0.0");
        plugin.set_state(State::from_bytes(&saved).unwrap());
        seat.put("restored", plugin)
    };
    common::patiently(restored).unwrap();
    assert_eq!(storage(&ask(&seat, &quote(1))), 5);
    seat.clear();
    assert_eq!(seat.state(), None);
    assert_eq!(seat.answer(&quote(1)), BuiltIn.answer(&quote(1)));
}

#[test]
fn config_and_lines_reach_where_they_should() {
    let host = Host::new().unwrap();
    let plugin = counting(&host, "1.0.0");
    let called = common::patiently(|| plugin.call(&quote(1))).unwrap();
    let Answer::Prices(found) = called.answer else { panic!("{called:?}") };
    let expected = Prices {
        storage_microcredits_per_gib_month: 1,
        egress_microcredits_per_gib: u64::from(b'A'),
        audit_microcredits: 0,
    };
    assert_eq!(found, expected);
    assert_eq!((called.log[0].level, called.log[0].text.as_str()), (Level::Info, "counted"));
    assert!(called.fuel > 0);
    let seat = Seat::new(Kind::Pricing, Arc::new(BuiltIn));
    drop(plugin);
    common::patiently(|| seat.put("counting", counting(&host, "1.0.0"))).unwrap();
    (0..500).for_each(|_| drop(seat.answer(&quote(1))));
    let status = seat.status();
    assert_eq!((status.log.len(), status.metrics.calls), (200, 500));
    assert!(status.metrics.max_time <= status.metrics.total_time && status.metrics.fuel >= 400 * called.fuel);
}

#[test]
fn observers_are_told_who_decided() {
    let host = Host::new().unwrap();
    let seat = Seat::new(Kind::Pricing, Arc::new(BuiltIn));
    let told = Arc::new(Told::default());
    seat.observe(told.clone());
    seat.answer(&quote(1));
    common::patiently(|| seat.put("counting", counting(&host, "1.2.3"))).unwrap();
    seat.answer(&quote(1));
    seat.answer(&quote(13));
    // A question of another world is none for this plugin.
    seat.answer(&ChooseCode::default().into());
    let told = told.0.lock().unwrap();
    assert_eq!(told[0], Decider::Default);
    assert_eq!(told[1], Decider::Plugin { name: "counting".to_owned(), version: "1.2.3".to_owned() });
    assert!(matches!(&told[2], Decider::Fallback { fault, .. } if fault.kind() == FaultKind::Answer));
    assert_eq!((&told[3], told.len()), (&Decider::Default, 4));
}

#[test]
fn a_plugin_of_another_world_is_not_seated() {
    let host = Host::new().unwrap();
    let seat = Seat::new(Kind::Placement, Arc::new(BuiltIn));
    let fault = seat.put("counting", counting(&host, "1.0.0")).unwrap_err();
    assert!(fault.to_string().contains("policy for pricing, and this decides placement"), "{fault}");
    assert!(seat.status().plugin.is_none());
}

/// Plugins are swapped while many threads ask; everybody is answered by one of the two.
#[test]
fn plugins_are_swapped_while_others_ask() {
    let host = Host::new().unwrap();
    let seat = Seat::new(Kind::Pricing, Arc::new(BuiltIn));
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| (0..200).for_each(|_| drop(seat.answer(&quote(1)))));
        }
        for version in ["1.0.0", "1.0.1", "1.0.2"] {
            common::patiently(|| seat.put("counting", counting(&host, version))).unwrap();
        }
    });
    assert_eq!(seat.status().plugin.unwrap().1.version, "1.0.2");
    let faults = seat.status().metrics.faults;
    assert!(faults.keys().all(|kind| [FaultKind::Wall, FaultKind::Busy].contains(kind)), "{faults:?}");
}
