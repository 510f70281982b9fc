//! Which entries are contracts, revisions, receipts and payments, and what follows from them: balances
//! and conflicts (spec/ledger.md, "Balances").
//!
//! Invariant: a receipt counts when both parties of a contract in this log signed it and its amount
//! is what the contract's prices give; a payment when both signed it; of those, the one with the
//! highest sequence. Where both signed two texts for one sequence, neither counts and the pair is
//! reported. Both parties derive the same balance from the same notes, with opposite signs. Not here:
//! who was right.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use commonhold_format::ids::{ContractId, PartyId};
use commonhold_format::note::SignedNote;
use commonhold_format::statement::{Contract, Payment, Receipt, Statement};

use crate::error::LedgerError;

/// The part that the asking party has in a contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// It keeps data with the other.
    Owner,
    /// It keeps the other's data.
    Provider,
}

/// What one contract comes to, by the highest receipt that both parties signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Balance {
    /// The contract.
    pub contract: ContractId,
    /// The other party.
    pub counterparty: PartyId,
    /// The asking party's part.
    pub role: Role,
    /// Microcredits that the other party owes; negative when the asking party owes them.
    pub owed_to_me: i128,
    /// Sequence of the receipt.
    pub receipt_sequence: u64,
    /// Byte-seconds in the receipt.
    pub byte_seconds: u128,
    /// Bytes sent to the owner, in the receipt.
    pub egress_bytes: u64,
    /// Audits passed, in the receipt.
    pub audits_passed: u64,
    /// What those come to, microcredits.
    pub audits_microcredits: i128,
    /// Audits failed, in the receipt.
    pub audits_failed: u64,
}

/// What stands between the asking party and another one, by the notes that both signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Account {
    /// The other party.
    pub party: PartyId,
    /// Microcredits that the other owes by receipts; negative when the asking party owes them.
    pub receipts: i128,
    /// Microcredits that were paid: negative for what the other paid, since it owes the less.
    pub payments: i128,
    /// What the other owes for what is kept for it here, less what it has paid; negative when it has
    /// paid ahead.
    pub their_debt: i128,
    /// What the asking party owes for what is kept for it there, less what it has paid.
    pub my_debt: i128,
    /// Part of what the other owes by receipts: the price of audits.
    pub their_audits: i128,
    /// What the other ever did for the asking party, by receipts, paid or not.
    pub given: i128,
    /// What the asking party ever did for the other.
    pub taken: i128,
}

impl Account {
    /// What the other owes in all; negative when the asking party does.
    pub fn owed_to_me(&self) -> i128 {
        self.receipts + self.payments
    }

    /// What the other owes as far as the asking party lent it (spec/credit.md): what that paid ahead
    /// itself is no debt that was made here, and what it owes is something that the other has earned.
    pub fn lent(&self) -> i128 {
        self.their_debt - self.my_debt.max(0)
    }
}

/// What numbered notes are about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Subject {
    /// Revisions of a contract's inventory.
    Revision(ContractId),
    /// Receipts of a contract.
    Receipt(ContractId),
    /// Payments.
    Payment {
        /// Who paid.
        payer: PartyId,
        /// Who was paid.
        payee: PartyId,
    },
    /// Trust lines.
    Trust {
        /// Who answers for the debt.
        guarantor: PartyId,
        /// To whom.
        creditor: PartyId,
        /// Whose debt it is.
        debtor: PartyId,
    },
}

impl Subject {
    /// The contract, of revisions and receipts.
    pub fn contract(&self) -> Option<ContractId> {
        match self {
            Self::Revision(contract) | Self::Receipt(contract) => Some(*contract),
            Self::Payment { .. } | Self::Trust { .. } => None,
        }
    }

    /// The two parties that have to sign; `contract` is that of revisions and receipts.
    pub(crate) fn signers(&self, contract: Option<&Contract>) -> Option<[PartyId; 2]> {
        match self {
            Self::Revision(id) | Self::Receipt(id) => {
                contract.filter(|it| it.id() == *id).map(|it| [it.owner, it.provider])
            }
            Self::Payment { payer, payee } => Some([*payer, *payee]),
            Self::Trust { guarantor, creditor, .. } => Some([*guarantor, *creditor]),
        }
    }
}

impl std::fmt::Display for Subject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Revision(contract) => write!(f, "revision of contract {contract}"),
            Self::Receipt(contract) => write!(f, "receipt of contract {contract}"),
            Self::Payment { payer, payee } => write!(f, "payment of {payer} to {payee}"),
            Self::Trust { guarantor, creditor, debtor } => {
                write!(f, "trust line of {guarantor} to {creditor} for {debtor}")
            }
        }
    }
}

/// Two texts for one subject and sequence, each signed by both parties. With the contract's note, a
/// stranger can verify it: see [`Conflict::is_proven_by`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflict {
    /// What the notes are about.
    pub subject: Subject,
    /// The sequence that both have.
    pub sequence: u64,
    /// Index and note of the one that was logged first.
    pub first: (u64, SignedNote),
    /// Index and note of the other.
    pub second: (u64, SignedNote),
}

impl Conflict {
    /// Whether the two notes prove the conflict to somebody who has nothing but them and, for revisions
    /// and receipts, the contract's note: texts that differ, about this subject and sequence, and every
    /// note signed by both parties.
    pub fn is_proven_by(&self, contract: Option<&SignedNote>) -> bool {
        let [first, second] = [&self.first.1, &self.second.1];
        first.text() != second.text()
            && [first, second]
                .into_iter()
                .all(|note| numbered(note) == Some((self.subject, self.sequence)) && binds(note, contract))
    }
}

/// Subject and sequence of a numbered note; `None` for any other. Signatures are not looked at.
pub fn numbered(note: &SignedNote) -> Option<(Subject, u64)> {
    match Key::of(note)? {
        Key::Numbered(subject, sequence) => Some((subject, sequence)),
        Key::Contract(_) => None,
    }
}

/// Whether a numbered note is signed by both parties that it binds. Those of revisions and receipts are
/// named by the contract, whose note must be signed by both as well.
pub fn binds(note: &SignedNote, contract: Option<&SignedNote>) -> bool {
    let Some((subject, _)) = numbered(note) else { return false };
    let terms = contract
        .zip(subject.contract())
        .and_then(|(note, id)| signed_contract(note, &id, |party| note.is_signed_by(party)));
    subject
        .signers(terms.as_ref())
        .is_some_and(|parties| parties.iter().all(|party| note.is_signed_by(party)))
}

/// What an entry is about, as far as the book needs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Key {
    Contract(ContractId),
    Numbered(Subject, u64),
}

impl Key {
    pub(crate) fn of(note: &SignedNote) -> Option<Self> {
        Self::of_statement(&Statement::of(note).ok()?)
    }

    pub(crate) fn of_statement(statement: &Statement) -> Option<Self> {
        Some(match statement {
            Statement::Contract(contract) => Self::Contract(contract.id()),
            Statement::Revision(it) => Self::Numbered(Subject::Revision(it.contract), it.sequence),
            Statement::Receipt(it) => Self::Numbered(Subject::Receipt(it.contract), it.sequence),
            Statement::Payment(Payment { payer, payee, sequence, .. }) => {
                Self::Numbered(Subject::Payment { payer: *payer, payee: *payee }, *sequence)
            }
            Statement::Trust(it) => {
                let (guarantor, creditor, debtor) = (it.guarantor, it.creditor, it.debtor);
                Self::Numbered(Subject::Trust { guarantor, creditor, debtor }, it.sequence)
            }
            Statement::AuditIntent(_) | Statement::AuditRecord(_) | Statement::Claim(_) => return None,
        })
    }
}

fn signed_contract(
    note: &SignedNote,
    id: &ContractId,
    is_signed: impl Fn(&PartyId) -> bool,
) -> Option<Contract> {
    match Statement::of(note) {
        Ok(Statement::Contract(contract))
            if contract.id() == *id && is_signed(&contract.owner) && is_signed(&contract.provider) =>
        {
            Some(contract)
        }
        _ => None,
    }
}

/// Sequences, each with an entry that claims it.
type Sequences = BTreeSet<(u64, u64)>;

/// Where contracts and numbered notes stand in the log. Signatures are checked when something is
/// derived, not here. About 25 bytes for each of these entries.
#[derive(Default)]
pub(crate) struct Book {
    contracts: HashMap<ContractId, Vec<u64>>,
    numbered: BTreeMap<Subject, Sequences>,
}

impl Book {
    pub(crate) fn add(&mut self, index: u64, key: Key) {
        match key {
            Key::Contract(id) => self.contracts.entry(id).or_default().push(index),
            Key::Numbered(subject, sequence) => {
                self.numbered.entry(subject).or_default().insert((sequence, index));
            }
        }
    }

    /// The contracts, and the entries that claim to be their notes, in order of id.
    pub(crate) fn contracts(&self) -> Vec<(ContractId, Vec<u64>)> {
        let mut contracts: Vec<_> = self.contracts.iter().map(|(id, at)| (*id, at.clone())).collect();
        contracts.sort_unstable();
        contracts
    }

    /// Entries that claim to be a contract's note.
    fn contract(&self, id: &ContractId) -> Vec<u64> {
        self.contracts.get(id).cloned().unwrap_or_default()
    }

    /// The highest sequence of a subject below `bound` (or of all), and the entries that claim it.
    fn below(&self, subject: &Subject, bound: Option<u64>) -> Option<(u64, Vec<u64>)> {
        let sequences = self.numbered.get(subject)?;
        let (sequence, _) = match bound {
            Some(bound) => sequences.range(..(bound, 0)).next_back()?,
            None => sequences.last()?,
        };
        let entries = sequences.range((*sequence, 0)..=(*sequence, u64::MAX));
        Some((*sequence, entries.map(|(_, entry)| *entry).collect()))
    }

    /// The entries of a subject, by sequence.
    fn sequences(&self, subject: &Subject) -> Vec<Vec<u64>> {
        let claims: Vec<&(u64, u64)> = self.numbered.get(subject).into_iter().flatten().collect();
        let same = claims.chunk_by(|a, b| a.0 == b.0);
        same.map(|same| same.iter().map(|(_, entry)| *entry).collect()).collect()
    }

    /// The last entry that claims a sequence.
    fn at(&self, subject: &Subject, sequence: u64) -> Option<u64> {
        let claims = self.numbered.get(subject)?.range((sequence, 0)..=(sequence, u64::MAX));
        claims.last().map(|(_, entry)| *entry)
    }

    /// Payments with `party` at one end.
    pub(crate) fn payments(&self, party: &PartyId) -> Vec<Subject> {
        let of = |subject: &&Subject| match subject {
            Subject::Payment { payer, payee } => payer == party || payee == party,
            _ => false,
        };
        self.numbered.keys().filter(of).copied().collect()
    }

    /// Trust lines to `party`.
    pub(crate) fn trust_lines(&self, party: &PartyId) -> Vec<Subject> {
        let to = |subject: &&Subject| matches!(subject, Subject::Trust { creditor, .. } if creditor == party);
        self.numbered.keys().filter(to).copied().collect()
    }

    /// Subjects and sequences that more than one entry claims.
    fn contested(&self) -> Vec<(Subject, u64, Vec<u64>)> {
        let mut contested = Vec::new();
        for (subject, sequences) in &self.numbered {
            let claims: Vec<&(u64, u64)> = sequences.iter().collect();
            let same = claims.chunk_by(|a, b| a.0 == b.0).filter(|same| same.len() > 1);
            contested.extend(
                same.map(|same| (*subject, same[0].0, same.iter().map(|(_, entry)| *entry).collect())),
            );
        }
        contested
    }
}

/// A log whose notes can be read, by somebody who derives something from it.
pub(crate) trait Notes {
    /// Looks something up in the book.
    fn look<T>(&self, up: impl FnOnce(&Book) -> T) -> T;

    /// Entries by their indices.
    fn notes(&self, indices: &[u64]) -> Result<Vec<(u64, SignedNote)>, LedgerError>;

    /// Whether a party signed an entry.
    fn is_signed(&self, entry: &(u64, SignedNote), party: &PartyId) -> bool {
        entry.1.is_signed_by(party)
    }

    /// The contract that both of its parties signed.
    fn contract(&self, id: &ContractId) -> Result<Option<Contract>, LedgerError> {
        let notes = self.notes(&self.look(|book| book.contract(id)))?;
        Ok(notes.iter().find_map(|entry| signed_contract(&entry.1, id, |party| self.is_signed(entry, party))))
    }

    /// The entries among `entries` that both parties signed, one for each text.
    fn binding(
        &self,
        subject: &Subject,
        contract: Option<&Contract>,
        entries: &[u64],
    ) -> Result<Vec<(u64, SignedNote)>, LedgerError> {
        let mut binding: Vec<(u64, SignedNote)> = Vec::new();
        let Some(signers) = subject.signers(contract) else { return Ok(binding) };
        for entry in self.notes(entries)? {
            let is_new = binding.iter().all(|(_, known)| known.text() != entry.1.text());
            if is_new && signers.iter().all(|party| self.is_signed(&entry, party)) {
                binding.push(entry);
            }
        }
        Ok(binding)
    }

    /// The statement with the highest sequence that exactly one binding text has and `counts` takes.
    fn latest<T>(
        &self,
        subject: &Subject,
        contract: Option<&Contract>,
        counts: impl Fn(Statement) -> Option<T>,
    ) -> Result<Option<T>, LedgerError> {
        let mut bound = None;
        while let Some((sequence, entries)) = self.look(|book| book.below(subject, bound)) {
            if let [(_, note)] = &self.binding(subject, contract, &entries)?[..]
                && let Some(found) = Statement::of(note).ok().and_then(&counts)
            {
                return Ok(Some(found));
            }
            bound = Some(sequence);
        }
        Ok(None)
    }

    /// Every statement of a subject that [`latest`](Self::latest) could answer, in order of sequence, with
    /// the index of its entry. The last is the one that it does answer.
    fn history<T>(
        &self,
        subject: &Subject,
        contract: Option<&Contract>,
        counts: impl Fn(Statement) -> Option<T>,
    ) -> Result<Vec<(u64, T)>, LedgerError> {
        let mut history = Vec::new();
        for entries in self.look(|book| book.sequences(subject)) {
            if let [(index, note)] = &self.binding(subject, contract, &entries)?[..]
                && let Some(found) = Statement::of(note).ok().and_then(&counts)
            {
                history.push((*index, found));
            }
        }
        Ok(history)
    }

    /// What each contract of `me` comes to, in order of contract id.
    fn balances(&self, me: &PartyId) -> Result<Vec<Balance>, LedgerError> {
        self.balances_at(me, u64::MAX)
    }

    /// As [`balances`](Self::balances), by receipts for times until `at` alone.
    fn balances_at(&self, me: &PartyId, at: u64) -> Result<Vec<Balance>, LedgerError> {
        let mut balances = Vec::new();
        for (id, _) in self.look(Book::contracts) {
            let Some(contract) = self.contract(&id)? else { continue };
            if contract.owner != *me && contract.provider != *me {
                continue;
            }
            let counted = counted_receipt(&contract);
            let receipt = self.latest(&Subject::Receipt(id), Some(&contract), |statement| {
                counted(statement).filter(|it| it.until <= at)
            })?;
            balances.extend(receipt.and_then(|receipt| balance_of(me, &contract, &receipt)));
        }
        Ok(balances)
    }

    /// What stands between `me` and each other party, in order of party.
    fn accounts(&self, me: &PartyId) -> Result<Vec<Account>, LedgerError> {
        self.accounts_at(me, u64::MAX)
    }

    /// As [`accounts`](Self::accounts), by receipts until and payments up to `at` alone.
    fn accounts_at(&self, me: &PartyId, at: u64) -> Result<Vec<Account>, LedgerError> {
        let mut accounts: BTreeMap<PartyId, Account> = BTreeMap::new();
        let new = |party: PartyId| Account {
            party,
            receipts: 0,
            payments: 0,
            their_debt: 0,
            my_debt: 0,
            their_audits: 0,
            given: 0,
            taken: 0,
        };
        for balance in self.balances_at(me, at)? {
            let Balance { counterparty: party, owed_to_me, role, audits_microcredits, .. } = balance;
            let account = accounts.entry(party).or_insert_with(|| new(party));
            account.receipts += owed_to_me;
            match role {
                Role::Provider => {
                    account.their_debt += owed_to_me;
                    account.taken += owed_to_me;
                    account.their_audits += audits_microcredits;
                }
                Role::Owner => {
                    account.my_debt -= owed_to_me;
                    account.given -= owed_to_me;
                }
            }
        }
        for subject in self.look(|book| book.payments(me)) {
            let Subject::Payment { payer, payee } = subject else { continue };
            let paid = self.latest(&subject, None, |statement| {
                let payment = counted_payment(statement).filter(|it| it.time <= at)?;
                Some(i128::from(payment.paid_microcredits))
            })?;
            let paid = paid.unwrap_or(0);
            let party = if payer == *me { payee } else { payer };
            let account = accounts.entry(party).or_insert_with(|| new(party));
            if payer == *me {
                account.payments += paid;
                account.my_debt -= paid;
            } else {
                account.payments -= paid;
                account.their_debt -= paid;
            }
        }
        Ok(accounts.into_values().collect())
    }

    /// The notes of a subject that both of its parties signed and no other text has beside it, in order
    /// of sequence; of those only that `counts` takes.
    fn all<T>(
        &self,
        subject: &Subject,
        contract: Option<&Contract>,
        counts: impl Fn(Statement) -> Option<T>,
    ) -> Result<Vec<T>, LedgerError> {
        let history = self.history(subject, contract, counts)?;
        Ok(history.into_iter().map(|(_, statement)| statement).collect())
    }

    /// A note of `subject` with this sequence, whoever signed it: the one that was logged last.
    fn numbered(&self, subject: &Subject, sequence: u64) -> Result<Option<SignedNote>, LedgerError> {
        let last = self.look(|book| book.at(subject, sequence));
        let notes = self.notes(&Vec::from_iter(last))?;
        Ok(notes.into_iter().next().map(|(_, note)| note))
    }

    /// Every sequence for which both parties signed two texts.
    fn conflicts(&self) -> Result<Vec<Conflict>, LedgerError> {
        let mut conflicts = Vec::new();
        for (subject, sequence, entries) in self.look(Book::contested) {
            let contract = match subject.contract() {
                Some(id) => self.contract(&id)?,
                None => None,
            };
            let binding = self.binding(&subject, contract.as_ref(), &entries)?;
            let [first, rest @ ..] = &binding[..] else { continue };
            conflicts.extend(rest.iter().map(|second| Conflict {
                subject,
                sequence,
                first: first.clone(),
                second: second.clone(),
            }));
        }
        Ok(conflicts)
    }
}

/// Receipts that count under a contract, when both parties signed them.
pub(crate) fn counted_receipt(contract: &Contract) -> impl Fn(Statement) -> Option<Receipt> {
    move |statement| match statement {
        Statement::Receipt(receipt) => Some(receipt).filter(|it| adds_up(contract, it)),
        _ => None,
    }
}

/// Payments that count, when both parties signed them.
pub(crate) fn counted_payment(statement: Statement) -> Option<Payment> {
    match statement {
        Statement::Payment(payment) => Some(payment),
        _ => None,
    }
}

/// Whether a receipt owes what the prices give for its totals.
pub(crate) fn adds_up(contract: &Contract, receipt: &Receipt) -> bool {
    let due = contract.prices.amount_due(receipt.byte_seconds, receipt.egress_bytes, receipt.audits_passed);
    due == Some(receipt.owed_microcredits)
}

/// What a receipt comes to for `me`; `None` when it is neither party of the contract, or both.
fn balance_of(me: &PartyId, contract: &Contract, receipt: &Receipt) -> Option<Balance> {
    let owed = i128::from(receipt.owed_microcredits);
    let (role, counterparty, owed_to_me) = match (contract.owner == *me, contract.provider == *me) {
        (true, false) => (Role::Owner, contract.provider, -owed),
        (false, true) => (Role::Provider, contract.owner, owed),
        _ => return None,
    };
    Some(Balance {
        contract: receipt.contract,
        counterparty,
        role,
        owed_to_me,
        receipt_sequence: receipt.sequence,
        byte_seconds: receipt.byte_seconds,
        egress_bytes: receipt.egress_bytes,
        audits_passed: receipt.audits_passed,
        audits_microcredits: i128::from(receipt.audits_passed)
            * i128::from(contract.prices.audit_microcredits),
        audits_failed: receipt.audits_failed,
    })
}
