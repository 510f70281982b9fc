//! Double-entry books as text. Amounts are credits with six decimals, which is exact.
//!
//! Invariant: everything written is a word of this file, a number, or an identifier in hexadecimal or
//! base58.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Write};

use data_encoding::HEXLOWER;

use super::{Account, Names, Transaction, What};
use crate::verify::Log;

/// The commodity of all amounts.
const COMMODITY: &str = "CREDIT";
const DAY_SECONDS: u64 = 86_400;
/// The last day of a transaction: the day before the last one that both tools can write, 9999-12-31,
/// since beancount says at the beginning of a day what there was at the end of the day before.
const DAY_MAX: Day = Day(2_932_895);

/// A day in UTC, by its number since 1970-01-01.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Day(u64);

impl Day {
    fn of(transaction: &Transaction) -> Self {
        Self(transaction.time / DAY_SECONDS).min(DAY_MAX)
    }

    fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for Day {
    /// The date in the Gregorian calendar: year-month-day.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Counted from 1 March of the year 0, so that a leap day is the last day of its year, and every
        // 400 years have the same number of days.
        let days = self.0 + 719_468;
        let (era, day_of_era) = (days / 146_097, days % 146_097);
        let year_of_era =
            (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        // Months from March have 31, 30, 31, 30, 31 days over and over: 153 days for five.
        let month_from_march = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
        let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
        let year = 400 * era + year_of_era + u64::from(month <= 2);
        write!(f, "{year:04}-{month:02}-{day:02}")
    }
}

/// Microcredits as credits.
struct Credits(i128);

impl fmt::Display for Credits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (sign, whole) = (if self.0 < 0 { "-" } else { "" }, self.0.unsigned_abs());
        f.pad(&format!("{sign}{}.{:06}", whole / 1_000_000, whole % 1_000_000))
    }
}

/// What is said about a transaction beside its postings.
fn facts(transaction: &Transaction) -> Vec<(&'static str, String)> {
    let mut facts = vec![
        ("kind", transaction.what.word().to_owned()),
        ("index", transaction.index.to_string()),
        ("time", transaction.time.to_string()),
        ("party", transaction.party.to_string()),
        ("sequence", transaction.what.sequence().to_string()),
    ];
    let hash = |hash| HEXLOWER.encode(hash);
    match &transaction.what {
        What::Receipt { contract, evidence, .. } => {
            facts.extend([("contract", contract.to_string()), ("evidence", hash(evidence))]);
        }
        What::Payment { reference, .. } => facts.push(("reference", hash(reference))),
    }
    facts
}

/// The accounts in use, each with the day of its first transaction.
fn accounts(transactions: &[Transaction]) -> BTreeMap<Account, Day> {
    let mut accounts = BTreeMap::new();
    for transaction in transactions {
        for posting in &transaction.postings {
            accounts.entry(posting.account).or_insert(Day::of(transaction));
        }
    }
    accounts
}

/// Lines that say which ledger this is.
fn about(log: &Log) -> [String; 2] {
    let root = HEXLOWER.encode(&log.head.root);
    [
        format!("Commonhold ledger of {} on node {}", log.party, log.node),
        format!("{} entries, root {root}", log.head.size),
    ]
}

pub(super) fn hledger(log: &Log, transactions: &[Transaction], out: &mut impl Write) -> io::Result<()> {
    let names = Names::new(transactions.iter().map(|it| it.party));
    for line in about(log) {
        writeln!(out, "; {line}")?;
    }
    writeln!(out, "\ncommodity 1000.000000 {COMMODITY}\n")?;
    for account in accounts(transactions).keys() {
        writeln!(out, "account {}", account.name(&names))?;
        if let Some(party) = account.party() {
            writeln!(out, "    ; party:{party}")?;
        }
    }
    for transaction in transactions {
        let name = names.of(&transaction.party);
        let (word, sequence) = (transaction.what.word(), transaction.what.sequence());
        writeln!(out, "\n{} {name} | {word} {sequence}", Day::of(transaction))?;
        for (fact, value) in facts(transaction) {
            writeln!(out, "    ; {fact}:{value}")?;
        }
        for posting in &transaction.postings {
            let (account, amount) = (posting.account.name(&names), Credits(posting.microcredits));
            let balance = Credits(posting.balance);
            writeln!(out, "    {account:<38}  {amount:>20} {COMMODITY} = {balance} {COMMODITY}")?;
        }
    }
    Ok(())
}

pub(super) fn beancount(log: &Log, transactions: &[Transaction], out: &mut impl Write) -> io::Result<()> {
    let names = Names::new(transactions.iter().map(|it| it.party));
    let [title, head] = about(log);
    writeln!(out, "; {title}\n; {head}")?;
    writeln!(out, "option \"title\" \"{title}\"\noption \"operating_currency\" \"{COMMODITY}\"\n")?;
    writeln!(out, "{} commodity {COMMODITY}", Day(0))?;
    for (account, day) in accounts(transactions) {
        writeln!(out, "{day} open {} {COMMODITY}", account.name(&names))?;
        if let Some(party) = account.party() {
            writeln!(out, "  party: \"{party}\"")?;
        }
    }
    let mut rest = transactions;
    while let Some(first) = rest.first() {
        let day = Day::of(first);
        let (of_day, later) = rest.split_at(rest.partition_point(|it| Day::of(it) == day));
        rest = later;
        let mut balances: BTreeMap<Account, i128> = BTreeMap::new();
        for transaction in of_day {
            let name = names.of(&transaction.party);
            let (word, sequence) = (transaction.what.word(), transaction.what.sequence());
            writeln!(out, "\n{day} * \"{name}\" \"{word} {sequence}\"")?;
            for (fact, value) in facts(transaction) {
                writeln!(out, "  {fact}: \"{value}\"")?;
            }
            for posting in &transaction.postings {
                let (account, amount) = (posting.account.name(&names), Credits(posting.microcredits));
                writeln!(out, "  {account:<38}  {amount:>20} {COMMODITY}")?;
                balances.insert(posting.account, posting.balance);
            }
        }
        writeln!(out)?;
        for (account, balance) in balances {
            // Without a tolerance of zero, a microcredit could go missing.
            let (day, account) = (day.next(), account.name(&names));
            writeln!(out, "{day} balance {account:<38}  {:>20} ~ 0 {COMMODITY}", Credits(balance))?;
        }
    }
    Ok(())
}

pub(super) fn csv(transactions: &[Transaction], out: &mut impl Write) -> io::Result<()> {
    let names = Names::new(transactions.iter().map(|it| it.party));
    write!(out, "index,date,time,kind,party,contract,sequence,evidence,reference,")?;
    write!(out, "account,amount_credits,balance_credits\r\n")?;
    for transaction in transactions {
        let facts: BTreeMap<&str, String> = facts(transaction).into_iter().collect();
        let fact = |name: &str| facts.get(name).map_or("", String::as_str);
        for posting in &transaction.postings {
            let row = [
                fact("index"),
                &Day::of(transaction).to_string(),
                fact("time"),
                fact("kind"),
                fact("party"),
                fact("contract"),
                fact("sequence"),
                fact("evidence"),
                fact("reference"),
                &posting.account.name(&names),
                &Credits(posting.microcredits).to_string(),
                &Credits(posting.balance).to_string(),
            ];
            // No field has a comma, a quotation mark or a line break, so none is quoted.
            write!(out, "{}\r\n", row.join(","))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_those_of_the_calendar() {
        for (day, date) in [
            (0, "1970-01-01"),
            (58, "1970-02-28"),
            (59, "1970-03-01"),
            (789, "1972-02-29"),
            (11_016, "2000-02-29"),
            (11_017, "2000-03-01"),
            (20_251, "2025-06-12"),
            (47_540, "2100-02-28"),
            (47_541, "2100-03-01"),
            (DAY_MAX.0, "9999-12-30"),
            (DAY_MAX.0 + 1, "9999-12-31"),
        ] {
            assert_eq!(Day(day).to_string(), date);
        }
        // One day after the other, with the lengths that months have.
        let (mut year, mut month, mut date) = (1970, 1, 1);
        for day in 0..=DAY_MAX.0 + 1 {
            if day % 97 == 0 || month == 2 && date > 27 {
                assert_eq!(Day(day).to_string(), format!("{year:04}-{month:02}-{date:02}"));
            }
            let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
            let length = match month {
                2 => 28 + u32::from(leap),
                4 | 6 | 9 | 11 => 30,
                _ => 31,
            };
            date += 1;
            if date > length {
                (month, date) = (month + 1, 1);
            }
            if month > 12 {
                (year, month) = (year + 1, 1);
            }
        }
    }

    #[test]
    fn credits_are_exact() {
        for (microcredits, text) in [
            (0, "0.000000"),
            (1, "0.000001"),
            (-1, "-0.000001"),
            (1_500_000, "1.500000"),
            (-(1 << 63), "-9223372036854.775808"),
            (i128::from(u64::MAX) * 1000, "18446744073709551.615000"),
        ] {
            assert_eq!(Credits(microcredits).to_string(), text);
        }
    }
}
