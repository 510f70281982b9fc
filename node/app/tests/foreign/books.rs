//! Books with one amount changed, and a ledger made by hand in which much happens.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use commonhold_format::ids::NodeId;
use commonhold_format::keys::PartyKey;
use commonhold_format::note::SignedNote;
use commonhold_format::statement::{Contract, Payment, Prices, Receipt, Statement, ledger_origin};
use commonhold_ledger::verify::Log;
use commonhold_ledger::{Ledger, source};

use super::programs::{Verdict, hledger_balances};

/// The last digit of the amount in a line with one, another digit now.
fn another_amount(line: &str) -> String {
    let end = line.find(" CREDIT").unwrap();
    let digit = line.as_bytes()[end - 1];
    let other = if digit == b'9' { '8' } else { char::from(digit + 1) };
    format!("{}{other}{}", &line[..end - 1], &line[end..])
}

/// Checks that a tool accepts books, and refuses them once an amount is another: in any posting, in a
/// balance, or in two postings that still add up.
pub fn assert_guarded(dir: &Path, name: &str, books: &str, check: fn(&Path) -> Verdict) {
    let path = dir.join(name);
    let judge = |books: &str| {
        fs::write(&path, books).unwrap();
        check(&path)
    };
    let verdict = judge(books);
    assert!(verdict.accepts, "{name}: {}", verdict.said);
    let lines: Vec<&str> = books.lines().collect();
    let is_posting = |at: &usize| lines[*at].starts_with("  ") && lines[*at].contains(" CREDIT");
    let postings: Vec<usize> = (0..lines.len()).filter(is_posting).collect();
    let refused = |changes: &[(usize, String)]| {
        let mut changed: Vec<&str> = lines.clone();
        changes.iter().for_each(|(at, line)| changed[*at] = line);
        let verdict = judge(&(changed.join("\n") + "\n"));
        assert!(!verdict.accepts, "{name} with {changes:?} is accepted");
    };
    assert!(postings.len() >= 4, "{name}");
    // Enough of them to reach all kinds, few enough for tools that take half a second.
    for at in postings.iter().step_by(postings.len().div_ceil(8)).chain(postings.last()) {
        refused(&[(*at, another_amount(lines[*at]))]);
    }
    // A tenth of a credit more on one side of a transaction and less on the other.
    let at = postings.windows(2).rev().find(|pair| pair[1] == pair[0] + 1).unwrap();
    let shifted = |line: &str, by: i128| {
        let amount = line[..line.find(" CREDIT").unwrap()].rsplit(' ').next().unwrap();
        line.replacen(
            &format!(" {amount} CREDIT"),
            &format!(" {} CREDIT", credits(microcredits(amount) + by)),
            1,
        )
    };
    refused(&[(at[0], shifted(lines[at[0]], 100_000)), (at[1], shifted(lines[at[1]], -100_000))]);
    // A balance that is said.
    let said: Vec<usize> = (0..lines.len()).filter(|at| lines[*at].contains(" balance ")).collect();
    match said.last() {
        Some(at) => {
            let line = lines[*at].replace(" ~ 0 CREDIT", " CREDIT");
            refused(&[(*at, another_amount(&line).replace(" CREDIT", " ~ 0 CREDIT"))]);
        }
        None => {
            let at = *postings.last().unwrap();
            let (posting, balance) = lines[at].split_once(" = ").unwrap();
            refused(&[(at, format!("{posting} = {}", another_amount(balance)))]);
        }
    }
}

fn microcredits(credits: &str) -> i128 {
    credits.replace('.', "").parse().unwrap()
}

fn credits(microcredits: i128) -> String {
    let whole = microcredits.unsigned_abs();
    let sign = if microcredits < 0 { "-" } else { "" };
    format!("{sign}{}.{:06}", whole / 1_000_000, whole % 1_000_000)
}

/// What parties owe, by the first 16 digits of their names, as hledger adds it up.
pub fn owed_by_hledger(path: &Path) -> BTreeMap<String, i128> {
    let mut owed = BTreeMap::new();
    for (account, balance) in hledger_balances(path) {
        let party = account.rsplit(':').next().unwrap().to_lowercase();
        let amount = balance.strip_suffix(" CREDIT").map_or(0, microcredits);
        *owed.entry(party).or_default() += amount;
    }
    owed
}

/// A ledger of several days, with both parts in contracts with one party, payments before and after,
/// amounts at the bounds, and a party whose times are at the end of the calendar.
pub fn eventful(dir: &Path) -> Log {
    let key = |seed| PartyKey::from_seed(&[seed; 32]);
    let (me, other, late) = (key(1), key(2), key(3));
    let node = NodeId([7; 32]);
    let contract = |owner: &PartyKey, provider: &PartyKey, price: u64| Contract {
        owner: owner.id(),
        provider: provider.id(),
        node,
        salt: [1; 16],
        prices: Prices { audit_microcredits: price, ..Prices::default() },
        bytes_max: 1 << 40,
        starts: 1_790_000_000,
        ends: 1_800_000_000,
        audit_interval_seconds: 86_400,
        grace_seconds: 86_400,
        hold_microcredits: 0,
    };
    let receipt = |contract: &Contract, sequence: u64, audits: u64, until: u64| {
        let (byte_seconds, egress_bytes) = (u128::from(audits) << 51, audits * 777_777);
        Statement::Receipt(Receipt {
            contract: contract.id(),
            sequence,
            until,
            byte_seconds,
            egress_bytes,
            audits_passed: audits,
            audits_failed: 0,
            owed_microcredits: contract.prices.amount_due(byte_seconds, egress_bytes, audits).unwrap(),
            evidence: [sequence as u8; 32],
            owner_node: node,
            owner_head: (1, [1; 32]),
            provider_head: (1, [2; 32]),
        })
    };
    let payment = |payer: &PartyKey, payee: &PartyKey, sequence: u64, paid: u64, time: u64| {
        let (payer, payee) = (payer.id(), payee.id());
        let reference = [sequence as u8; 32];
        Statement::Payment(Payment { payer, payee, sequence, paid_microcredits: paid, reference, time })
    };
    let (lends, keeps) = (contract(&other, &me, 1), contract(&me, &other, 3_000_000));
    let dear = contract(&late, &me, (1 << 62) - 1);
    let day = |number: u64| 1_790_000_000 + 86_400 * number;
    let mut notes = Vec::new();
    let mut both = |statement: Statement, other: &PartyKey| {
        let mut note = SignedNote::sign(statement.to_text(), &me).unwrap();
        assert!(note.countersign(other));
        notes.push(note);
    };
    for agreed in [&lends, &keeps] {
        both(Statement::Contract(agreed.clone()), &other);
    }
    both(Statement::Contract(dear.clone()), &late);
    both(payment(&other, &me, 1, 5_000_000, day(0)), &other);
    for (sequence, audits, until) in
        [(1, 3, day(1)), (2, 3, day(2)), (3, 900, day(2) + 1), (4, 90_000, day(9))]
    {
        both(receipt(&lends, sequence, audits, until), &other);
        both(receipt(&keeps, sequence, audits, until + 5), &other);
    }
    both(payment(&me, &other, 1, 1, day(3)), &other);
    both(payment(&me, &other, 2, 70_000_000, day(4)), &other);
    both(receipt(&dear, 1, 1, day(5)), &late);
    both(payment(&late, &me, 1, (1 << 63) - 1, 253_402_300_799), &late);
    let origin = ledger_origin(&me.id(), &node);
    let ledger = Ledger::open(dir, key(1), origin).unwrap();
    ledger.append_all(&notes).unwrap();
    ledger.publish().unwrap();
    drop(ledger);
    Log::load(&mut *source::open(dir).unwrap()).unwrap()
}
