//! A ledger for programs of others: double-entry books for hledger, beancount and spreadsheets, and
//! every note as an object of JSON (spec/ledger.md, "Exports").
//!
//! Invariant: the books follow from the notes that count for balances and from no others, each
//! transaction adds up to zero, the accounts of a party end at what [`Log::accounts`] says, and the
//! same ledger gives the same bytes. Names in the books are made of identifiers and words of this
//! program, never of what somebody wrote, so nothing in a note can break out of a format. Not here:
//! whether the ledger holds ([`crate::verify::verify`]); what does not count is left out without a word.

mod books;
mod notes;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::io::{self, Write};
use std::str::FromStr;

use commonhold_format::ids::{ContractId, PartyId};
use commonhold_format::statement::{Contract, PartsDue, Payment, Receipt};
use commonhold_format::tree::Hash;

use crate::book::{Book, Notes, Subject, counted_payment, counted_receipt};
use crate::error::LedgerError;
use crate::verify::Log;

/// What an export is written for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// A journal of hledger, with a balance assertion after each posting.
    Hledger,
    /// A file of beancount, with balances at the beginning of each day after one with transactions.
    Beancount,
    /// RFC 4180: a row for each posting, with the balance of its account after it.
    Csv,
    /// An object for each note, one on a line.
    Jsonl,
}

/// Why a word is no format.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no format {0:?}: use hledger, beancount, csv or jsonl")]
pub struct FormatError(String);

impl FromStr for Format {
    type Err = FormatError;

    fn from_str(word: &str) -> Result<Self, FormatError> {
        match word {
            "hledger" => Ok(Self::Hledger),
            "beancount" => Ok(Self::Beancount),
            "csv" => Ok(Self::Csv),
            "jsonl" => Ok(Self::Jsonl),
            _ => Err(FormatError(word.chars().take(80).collect())),
        }
    }
}

/// Writes the books of the party whose ledger it is, or its notes. Every signature is verified first, on
/// `threads` threads.
///
/// # Errors
/// Those of `out`.
pub fn write(log: &mut Log, format: Format, threads: usize, out: &mut impl Write) -> io::Result<()> {
    log.verify_signatures(threads);
    let transactions = transactions(log).map_err(io::Error::other)?;
    match format {
        Format::Hledger => books::hledger(log, &transactions, out),
        Format::Beancount => books::beancount(log, &transactions, out),
        Format::Csv => books::csv(&transactions, out),
        Format::Jsonl => {
            let counted: HashSet<u64> = transactions.iter().map(|it| it.index).collect();
            notes::jsonl(log, &counted, out)
        }
    }
}

/// What a receipt or a payment changes.
struct Transaction {
    /// When, Unix seconds: until when the receipt covers, or when the payee signed.
    time: u64,
    /// The entry in the ledger.
    index: u64,
    /// The other party.
    party: PartyId,
    what: What,
    postings: Vec<Posting>,
}

enum What {
    Receipt { contract: ContractId, sequence: u64, evidence: Hash },
    Payment { sequence: u64, reference: Hash },
}

impl What {
    fn word(&self) -> &'static str {
        match self {
            Self::Receipt { .. } => "receipt",
            Self::Payment { .. } => "payment",
        }
    }

    fn sequence(&self) -> u64 {
        match self {
            Self::Receipt { sequence, .. } | Self::Payment { sequence, .. } => *sequence,
        }
    }
}

/// An account and by how much it changes.
struct Posting {
    account: Account,
    microcredits: i128,
    /// What the account has after it.
    balance: i128,
}

/// What a price is paid for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Part {
    Storage,
    Egress,
    Audits,
}

/// An account of the books. Assets and expenses are positive, liabilities, income and equity negative,
/// as both tools have it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Account {
    /// What a party owes for what it kept here, less what it paid.
    Receivable(PartyId),
    /// What is owed to a party for what is kept there, less what was paid to it.
    Payable(PartyId),
    /// What was earned from a party.
    Income(Part, PartyId),
    /// What was used up at a party.
    Expenses(Part, PartyId),
    /// Money, goods, or whatever payments were made in.
    Outside,
}

impl Account {
    fn party(&self) -> Option<&PartyId> {
        match self {
            Self::Receivable(party)
            | Self::Payable(party)
            | Self::Income(_, party)
            | Self::Expenses(_, party) => Some(party),
            Self::Outside => None,
        }
    }

    /// The account's name in all formats, with the names of its party.
    fn name(&self, names: &Names) -> String {
        let of = |kind: &str, party: &PartyId| format!("{kind}:{}", names.of(party));
        match self {
            Self::Receivable(party) => of("Assets:Receivable", party),
            Self::Payable(party) => of("Liabilities:Payable", party),
            Self::Income(part, party) => of(&format!("Income:{part}"), party),
            Self::Expenses(part, party) => of(&format!("Expenses:{part}"), party),
            Self::Outside => "Equity:Outside".to_owned(),
        }
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Storage => "Storage",
            Self::Egress => "Egress",
            Self::Audits => "Audits",
        })
    }
}

/// Hexadecimal digits of a party in the name of an account: 64 bits, which nobody hits by accident.
const NAME_LEN: usize = 16;

/// The names of parties in accounts: the first digits of the key in capitals, which both tools take at
/// the beginning of a name. Of parties that share those digits, as somebody could arrange with two keys
/// of its own, each has all its digits.
struct Names(HashMap<PartyId, String>);

impl Names {
    fn new(parties: impl IntoIterator<Item = PartyId>) -> Self {
        let parties: HashSet<PartyId> = parties.into_iter().collect();
        let whole = |party: &PartyId| party.to_string().to_ascii_uppercase();
        let mut sharing: HashMap<String, usize> = HashMap::new();
        for party in &parties {
            *sharing.entry(whole(party)[..NAME_LEN].to_owned()).or_default() += 1;
        }
        let name = |party: PartyId| {
            let mut name = whole(&party);
            if sharing.get(&name[..NAME_LEN]) == Some(&1) {
                name.truncate(NAME_LEN);
            }
            (party, name)
        };
        Self(parties.into_iter().map(name).collect())
    }

    fn of(&self, party: &PartyId) -> &str {
        self.0.get(party).map_or("", String::as_str)
    }
}

/// Every receipt and payment that counts for the party whose ledger it is, in order of time and then of
/// entries, each with the difference to the one before it.
fn transactions(log: &Log) -> Result<Vec<Transaction>, LedgerError> {
    let me = &log.party;
    let mut transactions = Vec::new();
    for (id, _) in log.look(Book::contracts) {
        let Some(contract) = Notes::contract(log, &id)? else { continue };
        // Who agrees with itself owes itself nothing.
        if (contract.owner == *me) == (contract.provider == *me) {
            continue;
        }
        let subject = Subject::Receipt(id);
        let receipts = log.history(&subject, Some(&contract), counted_receipt(&contract))?;
        let mut before = PartsDue::default();
        for (index, receipt) in receipts {
            transactions.push(of_receipt(me, &contract, &mut before, index, &receipt));
        }
    }
    for subject in log.look(|book| book.payments(me)) {
        let mut before = 0;
        for (index, payment) in log.history(&subject, None, counted_payment)? {
            transactions.push(of_payment(me, &mut before, index, &payment));
        }
    }
    transactions.sort_by_key(|it| (it.time, it.index));
    let mut balances: BTreeMap<Account, i128> = BTreeMap::new();
    for posting in transactions.iter_mut().flat_map(|it| &mut it.postings) {
        let balance = balances.entry(posting.account).or_default();
        *balance += posting.microcredits;
        posting.balance = *balance;
    }
    Ok(transactions)
}

fn of_receipt(
    me: &PartyId,
    contract: &Contract,
    before: &mut PartsDue,
    index: u64,
    receipt: &Receipt,
) -> Transaction {
    // A receipt that counts adds up, so its totals have an amount.
    let due = contract.prices.parts_due(receipt.byte_seconds, receipt.egress_bytes, receipt.audits_passed);
    let due = due.unwrap_or_default();
    let difference = |part: fn(&PartsDue) -> u64| i128::from(part(&due)) - i128::from(part(before));
    let parts = [
        (Part::Storage, difference(|due| due.storage_microcredits)),
        (Part::Egress, difference(|due| due.egress_microcredits)),
        (Part::Audits, difference(|due| due.audits_microcredits)),
    ];
    *before = due;
    let owed: i128 = parts.iter().map(|(_, amount)| amount).sum();
    let provides = contract.provider == *me;
    let party = if provides { contract.owner } else { contract.provider };
    let (account, sign) =
        if provides { (Account::Receivable(party), 1) } else { (Account::Payable(party), -1) };
    let mut postings = vec![Posting { account, microcredits: sign * owed, balance: 0 }];
    for (part, amount) in parts.into_iter().filter(|(_, amount)| *amount != 0) {
        let account = if provides { Account::Income(part, party) } else { Account::Expenses(part, party) };
        postings.push(Posting { account, microcredits: -sign * amount, balance: 0 });
    }
    let what =
        What::Receipt { contract: receipt.contract, sequence: receipt.sequence, evidence: receipt.evidence };
    Transaction { time: receipt.until, index, party, what, postings }
}

fn of_payment(me: &PartyId, before: &mut u64, index: u64, payment: &Payment) -> Transaction {
    let paid = i128::from(payment.paid_microcredits) - i128::from(*before);
    *before = payment.paid_microcredits;
    let (party, account, sign) = if payment.payer == *me {
        (payment.payee, Account::Payable(payment.payee), 1)
    } else {
        (payment.payer, Account::Receivable(payment.payer), -1)
    };
    let postings = vec![
        Posting { account, microcredits: sign * paid, balance: 0 },
        Posting { account: Account::Outside, microcredits: -sign * paid, balance: 0 },
    ];
    let what = What::Payment { sequence: payment.sequence, reference: payment.reference };
    Transaction { time: payment.time, index, party, what, postings }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parties_whose_first_digits_agree_have_names_of_their_own() {
        let (mut near, mut far) = ([0xab; 32], [0xab; 32]);
        (near[7], far[8]) = (0, 0);
        let [near, far, same] = [near, far, [0xab; 32]].map(PartyId);
        let names = Names::new([near, far, same, near]);
        assert_eq!(names.of(&near), "ABABABABABABAB00");
        assert_eq!(names.of(&same), "AB".repeat(32));
        assert_eq!(names.of(&far), format!("{}00{}", "AB".repeat(8), "AB".repeat(23)));
    }
}
