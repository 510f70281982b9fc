//! Exports: the books add up, end at the balances, and nothing in them comes from what does not count.
#![allow(clippy::unwrap_used)]

mod people;

use std::collections::{BTreeMap, HashMap};

use commonhold_format::ids::NodeId;
use commonhold_format::keys::PartyKey;
use commonhold_format::note::SignedNote;
use commonhold_format::statement::{Contract, Payment, Statement, ledger_origin};
use commonhold_ledger::Ledger;
use commonhold_ledger::export::{Format, write};
use commonhold_ledger::source;
use commonhold_ledger::verify::Log;
use people::{contract, key, receipt, signed, text_note};
use proptest::prelude::*;
use tempfile::TempDir;

const ME: u8 = 1;

/// A ledger of party 1 with these notes, closed and loaded again.
fn load(notes: &[SignedNote]) -> (TempDir, Log) {
    let dir = TempDir::new().unwrap();
    let me = key(ME);
    let origin = ledger_origin(&me.id(), &NodeId([7; 32]));
    let ledger = Ledger::open(dir.path(), me, origin).unwrap();
    ledger.append_all(notes).unwrap();
    ledger.publish().unwrap();
    drop(ledger);
    let log = Log::load(&mut *source::open(dir.path()).unwrap()).unwrap();
    (dir, log)
}

fn export(log: &mut Log, format: Format) -> String {
    let mut bytes = Vec::new();
    write(log, format, 2, &mut bytes).unwrap();
    String::from_utf8(bytes).unwrap()
}

fn payment(payer: &PartyKey, payee: &PartyKey, sequence: u64, paid: u64, time: u64) -> Statement {
    Statement::Payment(Payment {
        payer: payer.id(),
        payee: payee.id(),
        sequence,
        paid_microcredits: paid,
        reference: [0xab; 32],
        time,
    })
}

fn both(statement: Statement, first: &PartyKey, second: &PartyKey) -> SignedNote {
    signed(statement, &[first, second])
}

fn agreed(contract: &Contract, owner: &PartyKey, provider: &PartyKey) -> SignedNote {
    both(Statement::Contract(contract.clone()), owner, provider)
}

/// Credits with six decimals as microcredits.
fn microcredits(text: &str) -> i128 {
    let (whole, decimals) = text.split_once('.').unwrap();
    assert_eq!(decimals.len(), 6, "{text}");
    format!("{whole}{decimals}").parse().unwrap()
}

/// The rows of a csv, without its header.
fn rows(csv: &str) -> Vec<Vec<&str>> {
    let lines: Vec<&str> = csv.strip_suffix("\r\n").unwrap().split("\r\n").collect();
    let columns = lines[0].split(',').count();
    let rows: Vec<Vec<&str>> = lines[1..].iter().map(|line| line.split(',').collect()).collect();
    assert!(rows.iter().all(|row| row.len() == columns));
    rows
}

/// Checks what must hold for every ledger: transactions that add up to zero, in order of date, running
/// balances, and accounts that end at the balances.
fn assert_books(log: &mut Log) {
    let csv = export(log, Format::Csv);
    assert_eq!(csv, export(log, Format::Csv));
    let mut sums: HashMap<String, i128> = HashMap::new();
    let mut balances: BTreeMap<String, i128> = BTreeMap::new();
    let mut of_party: BTreeMap<String, i128> = BTreeMap::new();
    let mut last = String::new();
    for row in rows(&csv) {
        let (index, date, party, account) = (row[0], row[1], row[4], row[9]);
        let (amount, balance) = (microcredits(row[10]), microcredits(row[11]));
        assert!(last.as_str() <= date, "{last} {date}");
        last = date.to_owned();
        *sums.entry(index.to_owned()).or_default() += amount;
        let sum = balances.entry(account.to_owned()).or_default();
        *sum += amount;
        assert_eq!(*sum, balance, "{row:?}");
        if account.starts_with("Assets:Receivable:") || account.starts_with("Liabilities:Payable:") {
            *of_party.entry(party.to_owned()).or_default() += amount;
        }
    }
    assert!(sums.values().all(|sum| *sum == 0), "{csv}");
    assert_eq!(balances.values().sum::<i128>(), 0);
    let accounts = log.accounts(&log.party);
    let expected: BTreeMap<String, i128> =
        accounts.iter().map(|it| (it.party.to_string(), it.owed_to_me())).collect();
    // An account with nothing that counts is in no transaction.
    let missing = expected.iter().filter(|(party, _)| !of_party.contains_key(*party));
    assert!(missing.clone().all(|(_, owed)| *owed == 0));
    for (party, owed) in &of_party {
        assert_eq!(expected.get(party), Some(owed), "{party}");
    }
    // The other two books have the same transactions and the same amounts, in the same order.
    let amounts: Vec<&str> = csv.lines().skip(1).map(|line| line.split(',').nth(10).unwrap()).collect();
    let postings = |text: &str| -> Vec<String> {
        let amount = |line: &str| line.split_whitespace().nth(1).unwrap().to_owned();
        let is_posting = |line: &&str| line.starts_with("  ") && line.contains(" CREDIT");
        text.lines().filter(is_posting).map(amount).collect()
    };
    assert_eq!(postings(&export(log, Format::Hledger)), amounts);
    assert_eq!(postings(&export(log, Format::Beancount)), amounts);
}

#[test]
fn a_provider_that_owns_too_gets_books_that_both_tools_can_read() {
    let (me, other) = (key(ME), key(2));
    let lends = contract(&other, &me, 1);
    let keeps = contract(&me, &other, 2);
    let (_dir, mut log) = load(&[
        agreed(&lends, &other, &me),
        agreed(&keeps, &me, &other),
        both(receipt(&lends, 1, 10), &me, &other),
        both(payment(&other, &me, 1, 700, 1_790_000_001), &me, &other),
        both(receipt(&lends, 2, 30), &me, &other),
        both(receipt(&keeps, 1, 5), &other, &me),
        both(payment(&me, &other, 1, 40, 1_790_100_000), &other, &me),
    ]);
    assert_books(&mut log);
    let csv = export(&mut log, Format::Csv);
    let rows = rows(&csv);
    // Of a date, in order of time and then of entries.
    let indices: Vec<&str> = rows.iter().map(|row| row[0]).collect();
    assert_eq!(indices, ["2", "2", "2", "2", "3", "3", "5", "5", "5", "5", "4", "4", "4", "4", "6", "6"]);
    let name = other.id().to_string().to_ascii_uppercase()[..16].to_owned();
    let accounts: Vec<&str> = rows[..6].iter().map(|row| row[9]).collect();
    assert_eq!(
        accounts,
        [
            &format!("Assets:Receivable:{name}"),
            &format!("Income:Storage:{name}"),
            &format!("Income:Egress:{name}"),
            &format!("Income:Audits:{name}"),
            &format!("Assets:Receivable:{name}"),
            "Equity:Outside",
        ]
    );
    // The second receipt posts what came to the first: 20 audits.
    let audits = rows.iter().find(|row| row[0] == "4" && row[9].contains("Audits")).unwrap();
    assert_eq!((audits[10], audits[11]), ("-0.002000", "-0.003000"));
    let journal = export(&mut log, Format::Hledger);
    assert!(journal.contains(&format!("\n2026-09-21 {name} | receipt 1\n    ; kind:receipt\n")), "{journal}");
    assert!(journal.contains(&format!("    ; contract:{}\n", lends.id())));
    let beancount = export(&mut log, Format::Beancount);
    // A balance is said at the beginning of the next day.
    assert!(beancount.contains("\n2026-09-22 balance Assets:Receivable:"), "{beancount}");
    assert!(beancount.contains(&format!("open Expenses:Storage:{name} CREDIT\n  party: \"{}\"", other.id())));
}

#[test]
fn what_does_not_count_is_in_the_notes_and_not_in_the_books() {
    let (me, other, stranger) = (key(ME), key(2), key(9));
    let lends = contract(&other, &me, 1);
    let Statement::Receipt(mut inflated) = receipt(&lends, 4, 40) else { unreachable!() };
    inflated.owed_microcredits += 1;
    let rivals = [receipt(&lends, 5, 50), receipt(&lends, 5, 51)];
    let with_itself = contract(&me, &me, 3);
    let (_dir, mut log) = load(&[
        agreed(&lends, &other, &me),
        both(receipt(&lends, 1, 10), &me, &other),
        signed(receipt(&lends, 2, 20), &[&me]),
        both(receipt(&lends, 3, 30), &me, &stranger),
        both(Statement::Receipt(inflated), &me, &other),
        both(rivals[0].clone(), &me, &other),
        both(rivals[1].clone(), &me, &other),
        signed(Statement::Contract(with_itself.clone()), &[&me]),
        signed(receipt(&with_itself, 1, 10), &[&me]),
        signed(payment(&other, &me, 1, 1_000, 1_790_000_100), &[&me]),
        both(payment(&stranger, &other, 1, 1_000, 1_790_000_100), &stranger, &other),
        text_note(7),
        SignedNote::sign("\"},{\"kind\":\"receipt\"\n".to_owned(), &me).unwrap(),
    ]);
    assert_books(&mut log);
    let csv = export(&mut log, Format::Csv);
    let mut indices: Vec<&str> = rows(&csv).iter().map(|row| row[0]).collect();
    indices.dedup();
    assert_eq!(indices, ["1"]);
    let notes = export(&mut log, Format::Jsonl);
    let lines: Vec<&str> = notes.lines().collect();
    assert_eq!(lines.len(), 13);
    let counts: Vec<usize> = (0..13).filter(|line| lines[*line].contains("\"counts\":true")).collect();
    assert_eq!(counts, [1]);
    assert!(lines[3].contains(&format!(
        "\"kind\":\"receipt\",\"hash\":\"{}\"",
        data_encoding::HEXLOWER.encode(&commonhold_format::tree::leaf_hash(&log.note(3).unwrap().to_bytes()))
    )));
    // Whose signatures are valid, not whose names stand there.
    let (me, stranger) = (me.id().to_string(), stranger.id().to_string());
    let signers =
        |line: &str| line.split("\"signers\":[").nth(1).unwrap().split(']').next().unwrap().to_owned();
    assert_eq!(signers(lines[2]), format!("\"{me}\""));
    assert!(signers(lines[3]).contains(&stranger) && signers(lines[3]).contains(&me));
    // Numbers below 2^53 as numbers, all others as strings.
    assert!(
        lines[1].contains(",\"until\":1790000001,\"byte_seconds\":\"11258999068426240\","),
        "{}",
        lines[1]
    );
    assert!(lines[12].ends_with(",\"text\":\"\\\"},{\\\"kind\\\":\\\"receipt\\\"\\n\"}"), "{}", lines[12]);
    assert!(!lines[12].contains("\"counts\""));
}

#[test]
fn a_forged_signature_is_nobodys() {
    let (me, other) = (key(ME), key(2));
    let lends = contract(&other, &me, 1);
    let genuine = both(receipt(&lends, 1, 10), &me, &other).to_bytes();
    let signatures = genuine.windows(2).rposition(|pair| pair == b"\n\n").unwrap() + 1;
    let text = receipt(&lends, 1, 11).to_text();
    let forged = SignedNote::parse(&[text.as_bytes(), &genuine[signatures..]].concat()).unwrap();
    let (_dir, mut log) = load(&[agreed(&lends, &other, &me), forged]);
    assert_books(&mut log);
    assert_eq!(rows_of(&mut log), 0);
    assert!(
        export(&mut log, Format::Jsonl).lines().nth(1).unwrap().contains("\"signers\":[],\"counts\":false")
    );
}

fn rows_of(log: &mut Log) -> usize {
    export(log, Format::Csv).matches("\r\n").count() - 1
}

#[test]
fn empty_and_far_away_ledgers_are_written_too() {
    let (_dir, mut log) = load(&[]);
    assert_books_of_nothing(&mut log);
    // The last second that a note can name.
    let (me, other) = (key(ME), key(2));
    let late = payment(&other, &me, 1, 5, 253_402_300_799);
    let (_dir, mut log) = load(&[both(late, &me, &other)]);
    assert_books(&mut log);
    let beancount = export(&mut log, Format::Beancount);
    assert!(beancount.contains("\n9999-12-30 * ") && beancount.contains("\n9999-12-31 balance "));
    assert!(beancount.contains("time: \"253402300799\""));
}

fn assert_books_of_nothing(log: &mut Log) {
    assert_eq!(export(log, Format::Jsonl), "");
    assert_eq!(rows_of(log), 0);
    assert!(!export(log, Format::Beancount).contains("open"));
    assert!(export(log, Format::Hledger).contains("commodity 1000.000000 CREDIT"));
}

#[test]
fn formats_have_one_word_each() {
    assert_eq!("beancount".parse(), Ok(Format::Beancount));
    let error = "Hledger".parse::<Format>().unwrap_err().to_string();
    assert!(error.contains("\"Hledger\"") && error.contains("jsonl"), "{error}");
}

/// A note of a random history among party 1 and two others.
fn any_note() -> impl Strategy<Value = SignedNote> {
    let of = |number: u8| key(number);
    let someone = 2u8..4;
    let receipts = (someone.clone(), any::<bool>(), 0u8..2, 1u64..5, 0u64..40, 0u8..6).prop_map(
        move |(other, lends, salt, sequence, audits, unsigned)| {
            let (me, other) = (of(ME), of(other));
            let contract = if lends { contract(&other, &me, salt) } else { contract(&me, &other, salt) };
            let statement = receipt(&contract, sequence, audits);
            if unsigned == 0 { signed(statement, &[&me]) } else { both(statement, &me, &other) }
        },
    );
    let contracts = (someone.clone(), any::<bool>(), 0u8..2).prop_map(move |(other, lends, salt)| {
        let (me, other) = (of(ME), of(other));
        let contract = if lends { contract(&other, &me, salt) } else { contract(&me, &other, salt) };
        agreed(&contract, &me, &other)
    });
    let payments = (someone, any::<bool>(), 1u64..4, 0u64..5_000, 0u64..1_000_000, 0u8..6).prop_map(
        move |(other, pays, sequence, paid, later, unsigned)| {
            let (me, other) = (of(ME), of(other));
            let (payer, payee) = if pays { (&me, &other) } else { (&other, &me) };
            let statement = payment(payer, payee, sequence, paid, 1_790_000_000 + later);
            if unsigned == 0 { signed(statement, &[payee]) } else { both(statement, payee, payer) }
        },
    );
    prop_oneof![4 => receipts, 2 => contracts, 2 => payments]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn books_of_any_history_end_at_its_balances(notes in prop::collection::vec(any_note(), 0..40)) {
        let (_dir, mut log) = load(&notes);
        assert_books(&mut log);
    }
}
