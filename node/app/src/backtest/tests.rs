//! Backtests of made-up histories: what is replayed is what was recorded, and each figure is the one that
//! can be reckoned by hand.
//!
//! Invariant: no test here needs a node. Not here: the command on a real node's history (tests/backtest.rs).
#![allow(clippy::unwrap_used)]

use commonhold_format::ids::{NodeId, PartyId};
use commonhold_format::keys::{PartyKey, RootSecret};
use commonhold_format::note::SignedNote;
use commonhold_format::policy::{
    self, AdmitOffer, Ceiling, ChooseCode, CodeAnswer, Credit, CreditLimit, Fetch, FetchPlan, Key, Limit,
    Limits, Peer, Purpose, Quote, Rank, Source, Verdict,
};
use commonhold_format::statement::{Contract, Prices, Receipt, Statement, ledger_origin};
use commonhold_ledger::verify::Log;
use commonhold_ledger::{Ledger, source};
use proptest::prelude::*;

use super::report::Value;
use super::*;
use crate::journal::{Moved, Side};

/// A native policy as a candidate.
struct Native<F>(F);

impl<F: FnMut(&Question) -> Result<Answer, Failed>> Candidate for Native<F> {
    fn ask(&mut self, question: &Question) -> Tried {
        Tried { answer: (self.0)(question), fuel: 100, time: Duration::from_micros(7) }
    }
}

fn decision(time: u64, question: impl Into<Question>, answer: Answer) -> Line {
    Line { time, what: What::Decision { question: question.into(), answer, by: By::Default, left_out: 0 } }
}

fn of_default(time: u64, question: impl Into<Question>) -> Line {
    let question = question.into();
    let answer = BuiltIn.answer(&question);
    decision(time, question, answer)
}

fn history(lines: Vec<Line>) -> History {
    History { lines, ..History::default() }
}

const ALL: Window = Window { from: 0, to: 1_000_000 };

fn run_native(
    kind: Kind,
    lines: Vec<Line>,
    contracts: &[Kept],
    policy: impl FnMut(&Question) -> Result<Answer, Failed>,
) -> Report {
    run(kind, &history(lines), contracts, ALL, &mut Native(policy), false)
}

/// What a report says of a row: recorded, plugin, default.
fn row(report: &Report, section: &str, key: &str) -> [Value; 3] {
    let section = report.sections.iter().find(|it| it.key == section).unwrap();
    let row = section.rows.iter().find(|it| it.key == key).unwrap();
    [row.recorded.clone(), row.plugin.clone(), row.default.clone()]
}

fn whole(values: [u64; 3]) -> [Value; 3] {
    values.map(Value::Whole)
}

fn real(values: [f64; 3]) -> [Value; 3] {
    values.map(Value::Real)
}

fn prices(storage: u64) -> Prices {
    Prices {
        storage_microcredits_per_gib_month: storage,
        egress_microcredits_per_gib: 0,
        audit_microcredits: 0,
    }
}

fn candidate(at: u8, subnet: u32, price: u64) -> policy::Candidate {
    policy::Candidate {
        node: Key([at; 32]),
        party: Key([100 + at; 32]),
        operator: u32::from(at) + 1,
        subnet,
        region: u32::from(at % 2),
        latency_ms: 10 * u32::from(at),
        free_bytes: 1 << 30,
        prices: prices(price),
        lot: u64::from(at) + 1,
        ..Default::default()
    }
}

fn rank(purpose: Purpose, holders: u32, taken: Vec<policy::Candidate>) -> Rank {
    let candidates = vec![
        candidate(0, 1, 50),
        candidate(1, 1, 10),
        candidate(2, 2, 30),
        candidate(3, 3, 20),
        candidate(4, 0, 40),
    ];
    Rank {
        now: Default::default(),
        purpose,
        code: CodeAnswer { k: 1, n: 3 },
        holders,
        chunk_len: 5,
        taken,
        candidates,
    }
}

/// The cheapest first.
fn cheapest(question: &Question) -> Result<Answer, Failed> {
    let Question::Rank(ask) = question else { return Ok(BuiltIn.answer(question)) };
    let mut order: Vec<u32> = (0..ask.candidates.len() as u32).collect();
    order.sort_by_key(|at| ask.candidates[*at as usize].prices.storage_microcredits_per_gib_month);
    Ok(Answer::Ranking(order))
}

#[test]
fn holders_are_those_that_a_node_would_have_taken() {
    let lines = vec![
        of_default(1000, rank(Purpose::Use, 3, vec![])),
        decision(2000, rank(Purpose::Repair, 2, vec![candidate(9, 3, 1)]), Answer::Ranking(vec![3, 2])),
    ];
    let report = run_native(Kind::Placement, lines, &[], cheapest);
    // The default takes 0, (1 shares a subnet), 2, 3. The cheapest are 1, 3, 2. In the repair 3 shares a
    // subnet with who holds already: recorded is 2 alone, the default 0 and 2, the cheapest 1 and 2.
    assert_eq!(row(&report, "holders", "segments"), whole([1, 1, 1]));
    assert_eq!(row(&report, "holders", "repairs"), whole([1, 1, 1]));
    assert_eq!(row(&report, "holders", "holders"), whole([4, 5, 5]));
    assert_eq!(row(&report, "holders", "short"), whole([1, 0, 0]));
    assert_eq!(row(&report, "holders", "same_holders"), whole([4, 3, 4]));
    assert_eq!(row(&report, "holders", "other_holders"), whole([0, 2, 1]));
    let price = "price_mean_microcredits_per_gib_month";
    assert_eq!(row(&report, "holders", price), real([130.0 / 4.0, 100.0 / 5.0, 180.0 / 5.0]));
    // Of the one that holds already: operator and subnet, and region 1.
    assert_eq!(row(&report, "holders", "operators_mean"), real([2.5, 3.0, 3.0]));
    assert_eq!(row(&report, "holders", "subnets_mean"), real([2.5, 3.0, 3.0]));
    assert_eq!(row(&report, "holders", "regions_mean"), real([1.0, 1.0, 1.0]));
}

#[test]
fn codes_are_counted_with_what_they_cost_and_risk() {
    let ask = ChooseCode { now: Default::default(), candidates: vec![candidate(1, 1, 1); 7] };
    let lines = vec![of_default(1, ask.clone()), of_default(2, ask)];
    let report = run_native(Kind::Placement, lines, &[], |_| Ok(Answer::Code(CodeAnswer { k: 2, n: 4 })));
    assert_eq!(row(&report, "codes", "expansion"), real([3.0, 2.0, 3.0]));
    let [recorded, plugin, _] = row(&report, "codes", "loss_chance");
    assert_eq!((recorded, plugin), (Value::Chance(5.5e-5), Value::Chance(3.7e-3)));
    assert_eq!(report.sections[0].tables[0].rows.len(), 2);
}

fn contract(seed: u8, side: Side, starts: u64, asked: u64) -> Kept {
    let terms = Contract {
        owner: PartyId([if side == Side::Owner { 1 } else { seed }; 32]),
        provider: PartyId([if side == Side::Owner { seed } else { 1 }; 32]),
        node: NodeId([5; 32]),
        salt: [seed; 16],
        prices: prices(asked),
        bytes_max: 1 << 40,
        starts,
        ends: starts + 100_000,
        audit_interval_seconds: 1,
        grace_seconds: 1,
        hold_microcredits: 0,
    };
    Kept { id: terms.id(), contract: terms, side, receipts: Vec::new() }
}

/// A GiB for so many months of 30 days.
fn months(count: u64) -> contracts::Totals {
    contracts::Totals { byte_seconds: u128::from(count) << 30, ..Default::default() }.times(30 * 86_400)
}

impl contracts::Totals {
    fn times(mut self, factor: u128) -> Self {
        self.byte_seconds *= factor;
        self
    }
}

#[test]
fn offers_are_matched_with_what_their_contracts_earned() {
    let ask = |kept: &Kept| AdmitOffer {
        owner: kept.contract.owner.into(),
        bytes: kept.contract.bytes_max,
        prices: kept.contract.prices,
        ..Default::default()
    };
    let mut cheap = contract(7, Side::Provider, 1000, 100);
    cheap.receipts = vec![(2000, months(3)), (5000, months(5))];
    let mut dear = contract(8, Side::Provider, 1100, 900);
    dear.receipts = vec![(3000, months(2))];
    let never = AdmitOffer { bytes: 77, ..ask(&cheap) };
    let lines = vec![
        of_default(1_000_000, ask(&cheap)),
        of_default(1_100_500, ask(&dear)),
        // Long after the contract: another one that came to nothing.
        of_default(9_000_000, ask(&dear)),
        decision(9_000_001, never, Answer::Verdict(Verdict { admit: false, reason: String::new() })),
    ];
    let picky = |question: &Question| {
        let Question::AdmitOffer(ask) = question else { panic!() };
        Ok(Answer::Verdict(Verdict {
            admit: ask.prices.storage_microcredits_per_gib_month > 500,
            reason: "too cheap".to_owned(),
        }))
    };
    let report = run_native(Kind::Placement, lines, &[cheap, dear], picky);
    assert_eq!(row(&report, "offers", "admitted"), whole([3, 2, 4]));
    assert_eq!(row(&report, "offers", "refused"), whole([1, 2, 0]));
    assert_eq!(row(&report, "offers", "earned_microcredits"), whole([2300, 1800, 2300]));
    assert_eq!(row(&report, "offers", "missed_microcredits"), whole([0, 500, 0]));
    assert_eq!(row(&report, "offers", "refused_bytes"), whole([77, (1 << 40) + 77, 0]));
}

#[test]
fn earnings_follow_from_quotes_by_the_rule() {
    let mut loyal = contract(7, Side::Provider, 1000, 100);
    loyal.receipts = vec![(2000, months(3))];
    let mut other = contract(8, Side::Provider, 5000, 100);
    other.receipts = vec![(6000, months(2))];
    let quote = |kept: Option<&Kept>| Quote {
        base: prices(100),
        bytes: kept.map_or(0, |it| it.contract.bytes_max),
        peer: Peer {
            party: kept.map_or(Key::default(), |it| it.contract.owner.into()),
            ..Default::default()
        },
        ..Default::default()
    };
    let lines = vec![
        of_default(900_000, quote(None)),
        of_default(999_000, quote(Some(&loyal))),
        of_default(2_000_000, quote(None)),
    ];
    // 80 for the one that it knows, 120 for all others.
    let fond = |question: &Question| {
        let Question::Quote(ask) = question else { panic!() };
        Ok(Answer::Prices(prices(if ask.peer.party == Key([7; 32]) { 80 } else { 120 })))
    };
    let contracts = [loyal, other];
    let report = run_native(Kind::Pricing, lines.clone(), &contracts, fond);
    assert_eq!(row(&report, "earned", "signed_microcredits")[0], Value::Whole(500));
    assert_eq!(row(&report, "earned", "accepted"), whole([2, 1, 2]));
    assert_eq!(row(&report, "earned", "earned_microcredits"), whole([500, 240, 500]));
    assert_eq!(row(&report, "earned", "if_all_microcredits"), whole([500, 240 + 240, 500]));
    // Only what ends within the time counts, and what was signed before it does not.
    let late = Window { from: 1500, to: 5500 };
    let report = run(Kind::Pricing, &history(lines), &contracts, late, &mut Native(fond), false);
    assert_eq!(row(&report, "earned", "signed_microcredits")[0], Value::Whole(300));
    assert_eq!(row(&report, "earned", "accepted"), whole([2, 0, 2]), "no quote of its own is left in it");
}

#[test]
fn a_window_counts_the_difference_of_totals() {
    let mut kept = contract(7, Side::Provider, 1000, 100);
    kept.receipts = vec![(2000, months(3)), (3000, months(4)), (4000, months(9))];
    let earned = |from, to| kept.earned(Window { from, to });
    assert_eq!(earned(0, 9999), 900);
    assert_eq!(earned(2001, 3000), 100);
    assert_eq!(earned(2000, 3000), 400, "both ends are included");
    assert_eq!(earned(3001, 3999), 0);
    assert_eq!(kept.totals(Window { from: 3500, to: 4000 }), months(5));
}

#[test]
fn credit_and_ceilings_say_who_and_how_much() {
    let limit = |party: u8, account: i64| CreditLimit {
        peer: Peer { party: Key([party; 32]), account, ..Default::default() },
        unsigned: 5,
        gift_budget: 100,
        trusted: 10,
        ..Default::default()
    };
    let mut dear = contract(8, Side::Owner, 1000, 900);
    dear.receipts = vec![(3000, months(2))];
    let mut cheap = contract(9, Side::Owner, 1000, 90);
    cheap.receipts = vec![(3000, months(2))];
    let lines = vec![
        of_default(1000, limit(1, 20)),
        of_default(2000, limit(1, 60)),
        of_default(3000, limit(2, -5)),
        of_default(900_000, Ceiling::default()),
    ];
    let strict = |question: &Question| {
        Ok(match question {
            Question::CreditLimit(_) => Answer::Credit(Credit { trust: 1, gift: 30 }),
            _ => Answer::Prices(Prices { egress_microcredits_per_gib: 5, ..prices(100) }),
        })
    };
    let report = run_native(Kind::Pricing, lines, &[dear, cheap], strict);
    assert_eq!(row(&report, "credit", "allowed"), whole([3, 2, 3]));
    assert_eq!(row(&report, "credit", "refused"), whole([0, 1, 0]));
    assert_eq!(row(&report, "credit", "parties_refused"), whole([0, 1, 0]));
    assert_eq!(row(&report, "credit", "covered_microcredits"), whole([70, 46, 70]));
    assert_eq!(row(&report, "credit", "uncovered_microcredits"), whole([0, 24, 0]));
    assert_eq!(row(&report, "paid", "beyond"), whole([0, 1, 0]));
    assert_eq!(row(&report, "paid", "beyond_microcredits"), whole([0, 1800, 0]));
    assert_eq!(row(&report, "paid", "within_microcredits"), whole([1980, 180, 1980]));
}

fn fetched(time: u64, node: u8, ms: u32, how: Option<&str>) -> Line {
    let moved = Moved {
        node: Key([node; 32]),
        bytes: if how.is_none() { 1000 } else { 0 },
        ms,
        error: how.filter(|how| *how != "given up").map(str::to_owned),
        given_up: how == Some("given up"),
    };
    Line { time, what: What::Fetched { moved } }
}

fn fetch() -> Fetch {
    let source =
        |at: u8| Source { node: Key([at; 32]), index: at.into(), reachable: true, ..Default::default() };
    Fetch {
        now: Default::default(),
        purpose: Purpose::Use,
        k: 2,
        n: 4,
        chunk_len: 1000,
        sources: (0..4).map(source).collect(),
    }
}

#[test]
fn segments_are_fetched_again_with_the_times_of_then() {
    let lines = vec![
        // A segment: 0 took 100 ms, 1 took 2,400, so 2 was asked after 1,500 and took 300.
        of_default(10_000, fetch()),
        fetched(10_100, 0, 100, None),
        fetched(11_900, 2, 300, None),
        fetched(11_900, 1, 1900, Some("given up")),
        // Another one: 0 failed, 1 took 50, 2 took 60.
        of_default(20_000, fetch()),
        fetched(20_040, 0, 40, Some("it is gone")),
        fetched(20_050, 1, 50, None),
        fetched(20_100, 2, 60, None),
    ];
    // From the end, without waiting.
    let backwards = |question: &Question| {
        let Question::Fetch(_) = question else { panic!() };
        Ok(Answer::FetchPlan(FetchPlan { order: vec![3, 2, 1], parallel: 2, hedge_after_ms: 200, hedges: 1 }))
    };
    let report = run_native(Kind::Transport, lines, &[], backwards);
    // First: the default's plan has 0 at 100; 1 would have taken 1,900 at least; 2 is asked at 1,600 and is
    // there at 1,900, as then. The plugin's: 3 was never asked, so it takes the median of all, 60 of (50,
    // 60, 100, 300); 2 takes 300, and 1 is asked at 260 because nothing has come since 60.
    // Second: the default's has 1 at 50 and 2, asked at 40, at 100. The plugin's: 2 and 3 at 60.
    assert_eq!(row(&report, "fetches", "segments"), whole([2, 2, 2]));
    assert_eq!(row(&report, "fetches", "max_ms"), whole([1900, 300, 1900]));
    assert_eq!(row(&report, "fetches", "mean_ms"), real([1000.0, 180.0, 1000.0]));
    assert_eq!(row(&report, "fetches", "hedges"), whole([1, 1, 1]));
    assert_eq!(row(&report, "fetches", "surplus_bytes"), whole([1000, 1000, 1000]));
    assert_eq!(row(&report, "fetches", "measured_mean_ms")[0], Value::Real(1000.0));
    assert_eq!(row(&report, "fetches", "chunks_recorded")[0], Value::Whole(6));
    assert_eq!(row(&report, "fetches", "chunks_usual")[0], Value::Whole(2));
}

#[test]
fn limits_hold_until_the_next_question() {
    let lines = vec![
        of_default(0, Limit::default()),
        fetched(500, 1, 100, None),
        fetched(900, 1, 100, None),
        of_default(1000, Limit::default()),
        fetched(1500, 1, 100, None),
    ];
    let slow = |_: &Question| Ok(Answer::Limits(Limits { upload: 0, download: 1200 }));
    let report = run_native(Kind::Transport, lines, &[], slow);
    assert_eq!(row(&report, "limits", "received_bytes")[0], Value::Whole(3000));
    assert_eq!(row(&report, "limits", "download_over_bytes"), whole([0, 800, 0]));
    assert_eq!(row(&report, "limits", "upload_over_bytes"), whole([0, 0, 0]));
    assert_eq!(row(&report, "limits", "upload_limited_hours"), real([0.0, 0.0, 0.0]));
}

#[test]
fn where_it_fails_the_default_decides_and_the_reasons_are_counted() {
    let mut asked = 0;
    let failing = |question: &Question| {
        asked += 1;
        match asked {
            1 => Err(Failed { why: "it trapped".to_owned(), refused: false }),
            // Named twice: it is checked here too.
            2 => Ok(Answer::Ranking(vec![1, 1])),
            _ => cheapest(question),
        }
    };
    let mut lines: Vec<Line> = (1..=3).map(|at| of_default(at, rank(Purpose::Use, 3, vec![]))).collect();
    if let What::Decision { left_out, .. } = &mut lines[2].what {
        *left_out = 9;
    }
    // An answer that is none to its question, and one of another world.
    lines.push(decision(4, rank(Purpose::Use, 3, vec![]), Answer::Ranking(vec![77])));
    lines.push(of_default(5, Limit::default()));
    let report = run_native(Kind::Placement, lines, &[], failing);
    let calls = &report.calls;
    assert_eq!((calls.questions, calls.faults, calls.refused, calls.partial), (3, 1, 1, 1));
    assert_eq!(report.damaged, 1);
    assert_eq!(calls.reasons["it trapped"], 1);
    assert_eq!(row(&report, "holders", "same_holders"), whole([9, 8, 9]));
    let text = report.to_text();
    assert!(text.contains("decided then: the default 3\n"), "{text}");
    assert!(text.contains("1 x it trapped") && text.contains("partial"), "{text}");
}

#[test]
fn the_ledger_says_what_both_signed() {
    let temp = tempfile::tempdir().unwrap();
    let key = |seed: u8| -> PartyKey { RootSecret::from_bytes([seed; 32]).party_key() };
    let (me, owner, stranger) = (key(1), key(2), key(3));
    let node = NodeId([5; 32]);
    let ledger = Ledger::open(temp.path(), key(1), ledger_origin(&me.id(), &node)).unwrap();
    let mut terms = contract(9, Side::Provider, 1000, 100).contract;
    (terms.owner, terms.provider) = (owner.id(), me.id());
    let both = |statement: Statement, keys: [&PartyKey; 2]| {
        let mut note = SignedNote::sign(statement.to_text(), keys[0]).unwrap();
        note.countersign(keys[1]);
        note
    };
    let receipt = |sequence: u64, until: u64, count: u64| {
        Statement::Receipt(Receipt {
            contract: terms.id(),
            sequence,
            until,
            byte_seconds: months(count).byte_seconds,
            egress_bytes: 0,
            audits_passed: 0,
            audits_failed: 0,
            owed_microcredits: 100 * count,
            evidence: [0; 32],
            owner_node: node,
            owner_head: (0, [0; 32]),
            provider_head: (0, [0; 32]),
        })
    };
    ledger.append(&both(Statement::Contract(terms.clone()), [&owner, &me])).unwrap();
    ledger.append(&both(receipt(1, 2000, 3), [&me, &owner])).unwrap();
    ledger.append(&both(receipt(2, 3000, 50), [&me, &stranger])).unwrap();
    ledger.append(&both(receipt(3, 4000, 5), [&me, &owner])).unwrap();
    ledger.publish().unwrap();
    drop(ledger);
    let log = Log::load(&mut *source::open(temp.path()).unwrap()).unwrap();
    let kept = of_ledger(&log);
    let [kept] = kept.as_slice() else { panic!("{kept:?}") };
    assert_eq!((kept.side, kept.id), (Side::Provider, terms.id()));
    assert_eq!(kept.receipts, [(2000, months(3)), (4000, months(5))]);
    assert_eq!(kept.earned(ALL), 500);
}

#[test]
fn the_time_is_counted_back_from_what_was_recorded_last() {
    let lines =
        history(vec![of_default(5_000_000, Limit::default()), of_default(9_000_500, Limit::default())]);
    assert_eq!(Window::of(&lines, None, Some(1000)), Window { from: 8000, to: 9000 });
    assert_eq!(Window::of(&lines, Some(9500), Some(1000)), Window { from: 8500, to: 9500 });
    assert_eq!(Window::of(&lines, None, None), Window { from: 0, to: 9000 });
    assert_eq!(Window::of(&History::default(), None, Some(5)), Window { from: 0, to: 0 });
}

#[test]
fn times_beyond_the_calendar_are_times_too() {
    let times = [u64::MAX, 0, u64::MAX - 7, 5, u64::MAX];
    let asked = times.into_iter().flat_map(|time| {
        let moved = fetched(time, 1, u32::MAX, None);
        [
            of_default(time, fetch()),
            moved,
            of_default(time, Limit::default()),
            of_default(time, Quote::default()),
        ]
    });
    let lines = history(asked.collect());
    let limited = |question: &Question| {
        Ok(match question {
            Question::Limit(_) => Answer::Limits(Limits { upload: 1, download: u64::MAX }),
            other => BuiltIn.answer(other),
        })
    };
    for kind in Kind::ALL {
        let window = Window::of(&lines, None, None);
        let report = run(kind, &lines, &[], window, &mut Native(limited), true);
        assert!(report.to_text().contains("9999-12-3"), "{}", report.to_text());
    }
}

proptest! {
    #[test]
    fn the_same_history_gives_the_same_report(
        asked in proptest::collection::vec((0_u8..9, 0_u64..900_000, 0_u8..4, 0_u32..3000), 0..40),
    ) {
        let lines: Vec<Line> = asked
            .iter()
            .map(|(what, time, node, ms)| match what {
                0 => of_default(*time, rank(Purpose::Use, 3, vec![])),
                1 => of_default(*time, rank(Purpose::Repair, 2, vec![candidate(*node, 2, 7)])),
                2 | 3 => of_default(*time, fetch()),
                4 => of_default(*time, Limit::default()),
                5 => fetched(*time, *node, *ms, Some("given up")),
                6 => of_default(*time, Quote { bytes: u64::from(*ms), ..Default::default() }),
                7 => of_default(*time, Ceiling::default()),
                _ => fetched(*time, *node, *ms, None),
            })
            .collect();
        let contracts = [contract(7, Side::Provider, 500, 3), contract(8, Side::Owner, 500, 3)];
        for kind in Kind::ALL {
            let report = || run_native(kind, lines.clone(), &contracts, cheapest);
            let (first, second) = (report(), report());
            prop_assert_eq!(first.to_text(), second.to_text());
            prop_assert_eq!(
                serde_json::to_string(&first).unwrap(),
                serde_json::to_string(&second).unwrap()
            );
        }
    }
}
