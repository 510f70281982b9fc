//! Random histories of money between parties of whom a third lie and collude, with crashes between any
//! two steps, lost answers, replays and reordering. The rules are the engine's, the ledgers are real,
//! and the order of steps is that of provider.rs, owner/audit.rs, owner/line.rs and money.rs.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::path::Path;

use commonhold_engine::credit::{Advice, CreditRules, Debt, Debts, Line, storage_price};
use commonhold_engine::settlement::{
    OwnCount, Tally, byte_seconds, check_receipt, check_succession, draw_receipt, receipt_end,
};
use commonhold_format::ids::{ContractId, NodeId, PartyId};
use commonhold_format::keys::PartyKey;
use commonhold_format::note::SignedNote;
use commonhold_format::statement::{Contract, Payment, Prices, Receipt, Revision, Statement, Trust};
use commonhold_ledger::{Ledger, Subject, binds, numbered};
use proptest::prelude::*;

const START: u64 = 1_790_000_000;
const HOUR: u64 = 3600;
const EPOCH: u64 = 7 * 24 * HOUR;
const GIFT: u64 = 2_000_000;
/// What policies may answer for.
const TRUST: u64 = 1_000_000;
const PARTIES: usize = 7;
/// Of seven, the last two: 29 %.
const HONEST: usize = 5;
const SKEW: u64 = 600;

fn prices() -> Prices {
    Prices {
        storage_microcredits_per_gib_month: 1_000_000,
        egress_microcredits_per_gib: 500_000,
        audit_microcredits: 1_000,
    }
}

/// What one side has on record of a contract; durable, like the store's book.
#[derive(Clone)]
struct Side {
    contract: Contract,
    note: SignedNote,
    revision: Option<(Revision, SignedNote)>,
    byte_seconds: u128,
    receipt: Option<(Receipt, SignedNote)>,
}

impl Side {
    fn byte_seconds_until(&self, until: u64) -> u128 {
        self.revision.as_ref().map_or(0, |(it, _)| {
            byte_seconds(self.byte_seconds, it.held_bytes, it.time, until, self.contract.ends)
        })
    }

    fn revise(&mut self, next: &Revision, note: &SignedNote) {
        self.byte_seconds = self.byte_seconds_until(next.time);
        self.revision = Some((next.clone(), note.clone()));
    }

    fn sequence(&self) -> u64 {
        self.revision.as_ref().map_or(0, |(it, _)| it.sequence)
    }

    fn last(&self) -> Option<&Receipt> {
        self.receipt.as_ref().map(|(it, _)| it)
    }
}

struct Party {
    key: PartyKey,
    node: NodeId,
    dir: tempfile::TempDir,
    ledger: Option<Ledger>,
    book: BTreeMap<ContractId, Side>,
    /// Gone with a crash.
    sent: BTreeMap<ContractId, u64>,
    received: BTreeMap<ContractId, u64>,
}

fn open(dir: &Path, seed: u8) -> Ledger {
    Ledger::open(dir, PartyKey::from_seed(&[seed; 32]), format!("commonhold/ledger/{seed}")).unwrap()
}

impl Party {
    fn new(seed: u8) -> Self {
        let (key, node, dir) =
            (PartyKey::from_seed(&[seed; 32]), NodeId([seed; 32]), tempfile::tempdir().unwrap());
        let ledger = Some(open(dir.path(), seed));
        let (book, sent, received) = Default::default();
        Self { key, node, dir, ledger, book, sent, received }
    }

    fn id(&self) -> PartyId {
        self.key.id()
    }

    fn ledger(&self) -> &Ledger {
        self.ledger.as_ref().unwrap()
    }

    fn log(&self, note: &SignedNote) {
        self.ledger().append(note).unwrap();
    }

    fn sign(&self, statement: Statement) -> SignedNote {
        SignedNote::sign(statement.to_text(), &self.key).unwrap()
    }

    fn crash(&mut self) {
        self.sent.clear();
        self.received.clear();
        self.ledger = None;
        self.ledger = Some(open(self.dir.path(), self.node.0[0]));
        // What stood in the book and not in the ledger yet.
        for side in self.book.values() {
            self.log(&side.note);
            side.revision.iter().for_each(|(_, note)| self.log(note));
            side.receipt.iter().for_each(|(_, note)| self.log(note));
        }
    }

    fn owed(&self, by: &PartyId) -> i128 {
        let accounts = self.ledger().accounts(&self.id()).unwrap();
        accounts.iter().find(|it| it.party == *by).map_or(0, |it| it.owed_to_me())
    }

    /// What others may come to owe, with one epoch of keeping ahead or none.
    fn debts(&self, now: u64, ahead: u64) -> Debts {
        let rules = CreditRules {
            gift_microcredits: GIFT,
            epoch_seconds: EPOCH,
            policy_trust_max: TRUST,
            ..CreditRules::default()
        };
        let lines = self.ledger().trust_lines(&self.id()).unwrap();
        let lines = |at: u64| -> Vec<Line> {
            let active = lines.iter().filter(|it| at < it.ends);
            active
                .map(|it| Line { guarantor: it.guarantor, debtor: it.debtor, limit: it.limit_microcredits })
                .collect()
        };
        let by_notes = |at: u64| -> BTreeMap<PartyId, Debt> {
            let accounts = self.ledger().accounts_at(&self.id(), at).unwrap();
            accounts.iter().map(|it| (it.party, Debt { account: it.lent(), ..Debt::default() })).collect()
        };
        let epoch = rules.epoch_start(now);
        let parties = self.ledger().accounts(&self.id()).unwrap().into_iter().map(|it| it.party);
        let owners = self.book.values().map(|side| side.contract.owner);
        let advice: BTreeMap<_, _> = parties.chain(owners).map(|it| (it, advice(&it, now))).collect();
        let before = Debts {
            rules: rules.clone(),
            debts: by_notes(epoch - 1),
            lines: lines(epoch),
            before: BTreeMap::new(),
            advice: advice.clone(),
        };
        let before = before.weigh().into_iter().map(|(party, credit)| (party, credit.uncovered)).collect();
        let mut debts = by_notes(u64::MAX);
        for (id, side) in self.book.iter().filter(|(_, side)| side.contract.provider == self.id()) {
            let debt = debts.entry(side.contract.owner).or_default();
            let (egress, audits, owed) =
                side.last().map_or((0, 0, 0), |it| (it.egress_bytes, it.audits_passed, it.owed_microcredits));
            let egress = egress + self.sent.get(id).copied().unwrap_or(0);
            let due = prices().amount_due(side.byte_seconds_until(now), egress, audits).unwrap();
            debt.unsigned += due.saturating_sub(owed);
            let held = side.revision.as_ref().map_or(0, |(it, _)| it.held_bytes);
            debt.ahead += storage_price(&prices(), held, ahead);
        }
        Debts { rules, debts, lines: lines(now), before, advice }
    }
}

/// What a policy says that changes its mind every hour.
fn advice(party: &PartyId, now: u64) -> Advice {
    let mood = u64::from(party.0[0]) + now / HOUR;
    Advice {
        trust: if mood.is_multiple_of(3) { TRUST } else { 0 },
        gift_max: if mood.is_multiple_of(5) { GIFT / 4 } else { GIFT },
    }
}

/// One step of a history. Numbers of parties and of steps are taken modulo what there is; `cut` is how
/// many of the steps of an exchange happen before an answer is lost or somebody crashes.
#[derive(Debug, Clone)]
enum Step {
    Wait { hours: u64 },
    Open { owner: usize, provider: usize },
    Revise { contract: usize, held_mib: u64, cut: u8 },
    Read { contract: usize, mib: u64 },
    Settle { contract: usize, audits: u64, lie: u64, cut: u8 },
    Replay { message: usize, to: usize },
    Crash { party: usize },
    Pay { payer: usize, payee: usize, amount: u64, cut: u8 },
    Trust { guarantor: usize, creditor: usize, debtor: usize, limit: u64 },
}

fn step() -> impl Strategy<Value = Step> {
    let party = || 0..PARTIES;
    prop_oneof![
        3 => (1..60u64).prop_map(|hours| Step::Wait { hours }),
        3 => (party(), party()).prop_map(|(owner, provider)| Step::Open { owner, provider }),
        6 => (any::<usize>(), 0..40_000u64, 0..6u8)
            .prop_map(|(contract, held_mib, cut)| Step::Revise { contract, held_mib, cut }),
        4 => (any::<usize>(), 0..2_000u64).prop_map(|(contract, mib)| Step::Read { contract, mib }),
        8 => (any::<usize>(), 0..3u64, prop_oneof![3 => Just(0), 1 => 1..1_000_000_000u64], 0..6u8)
            .prop_map(|(contract, audits, lie, cut)| Step::Settle { contract, audits, lie, cut }),
        4 => (any::<usize>(), party()).prop_map(|(message, to)| Step::Replay { message, to }),
        2 => party().prop_map(|party| Step::Crash { party }),
        2 => (party(), party(), 1..3_000_000u64, 0..4u8)
            .prop_map(|(payer, payee, amount, cut)| Step::Pay { payer, payee, amount, cut }),
        3 => (party(), party(), party(), prop_oneof![Just(0), 0..5_000_000u64, 0..u64::MAX / 4])
            .prop_map(|(guarantor, creditor, debtor, limit)| Step::Trust { guarantor, creditor, debtor, limit }),
    ]
}

struct World {
    parties: Vec<Party>,
    now: u64,
    deals: Vec<(ContractId, usize, usize)>,
    /// Every note that was ever sent to be settled or countersigned.
    wire: Vec<SignedNote>,
    /// Audits that an owner counts, by contract.
    audits: BTreeMap<ContractId, u64>,
    /// What the highest receipt of a contract came to, by the party that looked.
    highest: BTreeMap<(usize, ContractId), i128>,
    /// What nobody stood for when this epoch began, signed or not, by honest party.
    began: Vec<BTreeMap<PartyId, i128>>,
}

fn honest(party: usize) -> bool {
    party < HONEST
}

impl World {
    fn new() -> Self {
        let parties = (1..=PARTIES as u8).map(Party::new).collect();
        let (deals, wire, audits, highest) = Default::default();
        let began = vec![BTreeMap::new(); HONEST];
        Self { parties, now: START, deals, wire, audits, highest, began }
    }

    fn deal(&self, number: usize) -> Option<(ContractId, usize, usize)> {
        (!self.deals.is_empty()).then(|| self.deals[number % self.deals.len()])
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Wait { hours } => self.wait(hours * HOUR),
            Step::Open { owner, provider } => self.open(owner, provider),
            Step::Revise { contract, held_mib, cut } => self.revise(contract, held_mib << 20, cut),
            Step::Read { contract, mib } => self.read(contract, mib << 20),
            Step::Settle { contract, audits, lie, cut } => self.settle(contract, audits, lie, cut),
            Step::Replay { message, to } => self.replay(message, to),
            Step::Crash { party } => self.parties[party].crash(),
            Step::Pay { payer, payee, amount, cut } => self.pay(payer, payee, amount, cut),
            Step::Trust { guarantor, creditor, debtor, limit } => {
                self.trust(guarantor, creditor, debtor, limit)
            }
        }
    }

    fn wait(&mut self, seconds: u64) {
        let ends = self.now + seconds;
        let epoch = ends - ends % EPOCH;
        if self.now < epoch {
            self.now = epoch;
            let began = self.parties[..HONEST].iter().map(|party| {
                let weighed = Debts { advice: BTreeMap::new(), ..party.debts(epoch, 0) }.weigh();
                weighed.into_iter().map(|(debtor, credit)| (debtor, credit.uncovered)).collect()
            });
            self.began = began.collect();
        }
        self.now = ends;
    }

    fn open(&mut self, owner: usize, provider: usize) {
        if owner == provider || self.deals.len() > 12 {
            return;
        }
        let contract = Contract {
            owner: self.parties[owner].id(),
            provider: self.parties[provider].id(),
            node: self.parties[provider].node,
            salt: [self.deals.len() as u8; 16],
            prices: prices(),
            bytes_max: 1 << 50,
            starts: self.now,
            ends: self.now + 300 * 24 * HOUR,
            audit_interval_seconds: 24 * HOUR,
            grace_seconds: HOUR,
            hold_microcredits: 0,
        };
        let mut note = self.parties[owner].sign(Statement::Contract(contract.clone()));
        note.countersign(&self.parties[provider].key);
        let id = contract.id();
        for party in [owner, provider] {
            let side = Side {
                contract: contract.clone(),
                note: note.clone(),
                revision: None,
                byte_seconds: 0,
                receipt: None,
            };
            self.parties[party].book.insert(id, side);
            self.parties[party].log(&note);
        }
        self.deals.push((id, owner, provider));
    }

    /// Owner and provider agree on what is held.
    fn revise(&mut self, number: usize, held_bytes: u64, cut: u8) {
        let Some((id, o, p)) = self.deal(number) else { return };
        // The owner may have missed the last one.
        let missed = self.parties[p].book[&id].revision.clone();
        if let Some((revision, note)) =
            missed.filter(|(it, _)| it.sequence > self.parties[o].book[&id].sequence())
        {
            self.parties[o].book.get_mut(&id).unwrap().revise(&revision, &note);
            self.parties[o].log(&note);
        }
        let side = &self.parties[o].book[&id];
        let next = Revision {
            contract: id,
            sequence: side.sequence() + 1,
            inventory_root: [1; 32],
            entries: 1 << 40,
            span: 1 << 60,
            held_bytes,
            held_chunks: held_bytes.div_ceil(1 << 20),
            time: self.now,
        };
        let mut note = self.parties[o].sign(Statement::Revision(next.clone()));
        let provider = &self.parties[p];
        let (owner, held) = (self.parties[o].id(), side.revision.as_ref().map_or(0, |(it, _)| it.held_bytes));
        let price = |bytes| storage_price(&prices(), bytes, EPOCH);
        if honest(p)
            && held_bytes > held
            && !provider.debts(self.now, EPOCH).allows(&owner, price(held_bytes) - price(held))
        {
            return;
        }
        note.countersign(&provider.key);
        for (at, party) in [(1, p), (3, o)] {
            if cut >= at {
                self.parties[party].book.get_mut(&id).unwrap().revise(&next, &note);
            }
            if cut > at {
                self.parties[party].log(&note);
            } else if cut == at {
                self.parties[party].crash();
            }
        }
    }

    fn read(&mut self, number: usize, bytes: u64) {
        let Some((id, o, p)) = self.deal(number) else { return };
        let owner = self.parties[o].id();
        let price = prices().amount_due(0, bytes, 0).unwrap() + 1;
        let rest = EPOCH - self.now % EPOCH;
        if honest(p) && !self.parties[p].debts(self.now, rest).allows(&owner, price) {
            return;
        }
        *self.parties[p].sent.entry(id).or_default() += bytes;
        *self.parties[o].received.entry(id).or_default() += bytes;
    }

    /// A receipt: drawn, checked, countersigned, handed back. A liar adds `lie` to what it says.
    fn settle(&mut self, number: usize, audits: u64, lie: u64, cut: u8) {
        let Some((id, o, p)) = self.deal(number) else { return };
        *self.audits.entry(id).or_default() += audits;
        let counted = self.audits[&id];
        let (owner, provider) = (&self.parties[o], &self.parties[p]);
        let (theirs, ours) = (&provider.book[&id], &owner.book[&id]);
        let received = owner.received.get(&id).copied().unwrap_or(0);
        let until = receipt_end(&theirs.contract, theirs.last(), self.now);
        let lie = if honest(p) { 0 } else { lie };
        let tally = Tally {
            byte_seconds: theirs.byte_seconds_until(until) + u128::from(lie) * 1_000_000,
            egress_bytes: received.min(provider.sent.get(&id).copied().unwrap_or(0)) + lie,
            audits_passed: counted + lie % 7,
            audits_failed: 0,
            evidence: [0; 32],
            owner_node: owner.node,
            owner_head: owner.ledger().head(),
            provider_head: provider.ledger().head(),
        };
        let drawn = draw_receipt(&theirs.contract, theirs.last(), &tally, until).unwrap();
        let mut note = provider.sign(Statement::Receipt(drawn.clone()));
        if let Some((last, signed)) = ours.receipt.clone().filter(|(last, _)| last.sequence == drawn.sequence)
        {
            // The provider never got the last one back.
            self.hand_back(p, &id, &last, &signed, cut);
            return;
        }
        let own = OwnCount {
            byte_seconds: ours.byte_seconds_until(until),
            egress_bytes: ours.last().map_or(0, |it| it.egress_bytes) + received,
            audits_passed: counted,
            audits_failed: 0,
        };
        let verdict = check_receipt(&ours.contract, ours.last(), &drawn, &own, self.now, SKEW);
        if honest(o) && honest(p) && theirs.sequence() == ours.sequence() {
            assert_eq!(verdict, Ok(()), "two honest parties agree");
        }
        if honest(o) && drawn.byte_seconds > own.byte_seconds.max(ours.last().map_or(0, |it| it.byte_seconds))
        {
            assert!(verdict.is_err(), "more byte-seconds than the owner counted");
        }
        if verdict.is_err() || cut == 0 {
            return;
        }
        note.countersign(&owner.key);
        let settled = drawn.egress_bytes - ours.last().map_or(0, |it| it.egress_bytes);
        let owner = &mut self.parties[o];
        owner.book.get_mut(&id).unwrap().receipt = Some((drawn.clone(), note.clone()));
        if cut == 1 {
            owner.crash();
            return;
        }
        owner.log(&note);
        let open = owner.received.entry(id).or_default();
        *open = open.saturating_sub(settled);
        self.wire.push(note.clone());
        if cut > 2 {
            self.hand_back(p, &id, &drawn, &note, cut);
        }
    }

    /// What a provider does with a receipt that both signed, wherever it comes from.
    fn hand_back(&mut self, p: usize, id: &ContractId, receipt: &Receipt, note: &SignedNote, cut: u8) {
        let provider = &mut self.parties[p];
        let Some(side) = provider.book.get_mut(id) else { return };
        if side.contract.provider != provider.key.id()
            || !note.is_signed_by(&side.contract.owner)
            || !note.is_signed_by(&provider.key.id())
            || check_succession(&side.contract, side.last(), receipt).is_err()
        {
            return;
        }
        let settled = receipt.egress_bytes - side.last().map_or(0, |it| it.egress_bytes);
        side.receipt = Some((receipt.clone(), note.clone()));
        if cut == 3 {
            provider.crash();
            return;
        }
        provider.log(note);
        let open = provider.sent.entry(*id).or_default();
        *open = open.saturating_sub(settled);
    }

    /// Any note that was ever on its way comes to anybody, again and out of order.
    fn replay(&mut self, message: usize, to: usize) {
        if self.wire.is_empty() {
            return;
        }
        let note = self.wire[message % self.wire.len()].clone();
        match Statement::of(&note).unwrap() {
            Statement::Receipt(receipt) => self.hand_back(to, &receipt.contract.clone(), &receipt, &note, 9),
            Statement::Payment(_) | Statement::Trust(_) => {
                self.countersign(to, &note);
            }
            _ => {}
        }
    }

    /// What a payer or creditor does with a half-signed note.
    fn countersign(&mut self, to: usize, note: &SignedNote) -> Option<SignedNote> {
        let party = &self.parties[to];
        let (subject, sequence) = numbered(note)?;
        let (first, second, last) = match Statement::of(note).unwrap() {
            Statement::Payment(it) => {
                let last = party.ledger().last_payment(&it.payer, &it.payee).unwrap();
                let falls = last.as_ref().is_some_and(|last| it.paid_microcredits < last.paid_microcredits);
                if falls {
                    return None;
                }
                (it.payee, it.payer, last.map_or(0, |last| last.sequence))
            }
            Statement::Trust(it) => {
                let last = party.ledger().last_trust(&it.guarantor, &it.creditor, &it.debtor).unwrap();
                // What was given on the strength of a line stays covered by it.
                let weighed = party.debts(self.now, EPOCH).weigh();
                let carried = weighed.get(&it.debtor).map_or(0, |credit| credit.guaranteed);
                let lower = last.as_ref().is_some_and(|last| it.limit_microcredits < last.limit_microcredits);
                if lower && i128::from(it.limit_microcredits) < carried {
                    return None;
                }
                (it.guarantor, it.creditor, last.map_or(0, |last| last.sequence))
            }
            _ => return None,
        };
        if second != party.id() || !note.is_signed_by(&first) {
            return None;
        }
        if let Some(known) = party.ledger().numbered(&subject, sequence).unwrap() {
            return (known.text() == note.text() && binds(&known, None)).then_some(known);
        }
        if sequence != last + 1 {
            return None;
        }
        let mut note = note.clone();
        note.countersign(&party.key);
        party.log(&note);
        Some(note)
    }

    fn offer(&mut self, from: usize, to: usize, subject: Subject, next: u64, fresh: Statement, cut: u8) {
        // One that was not answered comes first.
        let pending = self.parties[from].ledger().numbered(&subject, next).unwrap();
        let note = pending.unwrap_or_else(|| {
            let note = self.parties[from].sign(fresh);
            self.parties[from].log(&note);
            note
        });
        self.wire.push(note.clone());
        if cut == 0 {
            return;
        }
        if let Some(signed) = self.countersign(to, &note)
            && cut > 1
        {
            self.parties[from].log(&signed);
        }
    }

    fn pay(&mut self, payer: usize, payee: usize, amount: u64, cut: u8) {
        if payer == payee {
            return;
        }
        let (a, b) = (self.parties[payer].id(), self.parties[payee].id());
        let last = self.parties[payee].ledger().last_payment(&a, &b).unwrap();
        let (sequence, paid) = last.map_or((0, 0), |last| (last.sequence, last.paid_microcredits));
        let payment = Payment {
            payer: a,
            payee: b,
            sequence: sequence + 1,
            paid_microcredits: paid + amount,
            reference: [0; 32],
            time: self.now,
        };
        let subject = Subject::Payment { payer: a, payee: b };
        self.offer(payee, payer, subject, sequence + 1, Statement::Payment(payment), cut);
    }

    fn trust(&mut self, guarantor: usize, creditor: usize, debtor: usize, limit: u64) {
        if guarantor == creditor || guarantor == debtor || creditor == debtor {
            return;
        }
        let [g, c, d] = [guarantor, creditor, debtor].map(|it| self.parties[it].id());
        let last = self.parties[guarantor].ledger().last_trust(&g, &c, &d).unwrap();
        let sequence = last.map_or(0, |last| last.sequence) + 1;
        let ends = self.now + 3_000 * 24 * HOUR;
        let trust = Trust { guarantor: g, creditor: c, debtor: d, sequence, limit_microcredits: limit, ends };
        let subject = Subject::Trust { guarantor: g, creditor: c, debtor: d };
        self.offer(guarantor, creditor, subject, sequence, Statement::Trust(trust), 9);
    }

    /// What must hold at every moment.
    fn check(&mut self) {
        for at in 0..HONEST {
            let party = &self.parties[at];
            // No total goes down: what a contract comes to never falls for whoever counts it.
            for balance in party.ledger().balances(&party.id()).unwrap() {
                let owed = balance.owed_to_me.abs();
                let before = self.highest.insert((at, balance.contract), owed).unwrap_or(0);
                assert!(owed >= before, "{owed} after {before}");
                // And it is exactly the last receipt: nothing is added up twice.
                let side = &party.book[&balance.contract];
                assert_eq!(owed, i128::from(side.last().unwrap().owed_microcredits));
            }
            assert_eq!(party.ledger().conflicts().unwrap(), []);
            // What is owed by now and nobody stands for has grown by at most the gifts and what a policy may
            // answer for, but for audits, whose number is what owners say against themselves.
            let (before, advice) = (self.began[at].clone(), BTreeMap::new());
            let debts = Debts { before, advice, ..party.debts(self.now, 0) };
            let spent = debts.spent();
            let of_party =
                |id: &ContractId| party.book.get(id).is_some_and(|it| it.contract.provider == party.id());
            let audits: u64 = self.audits.iter().filter(|(id, _)| of_party(id)).map(|(_, count)| count).sum();
            let said = i128::from(audits * prices().audit_microcredits);
            assert!(spent <= i128::from(GIFT + TRUST) + said, "{spent} beyond the cap");
        }
    }

    /// Everything that was lost is delivered.
    fn quiesce(&mut self) {
        for party in &mut self.parties {
            party.crash();
        }
        for number in 0..self.deals.len() {
            self.revise(number, 0, 9);
            self.settle(number, 0, 0, 9);
            self.settle(number, 0, 0, 9);
        }
        for payer in 0..PARTIES {
            for payee in 0..PARTIES {
                self.pay(payer, payee, 0, 9);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn attack_31_to_34_no_credit_from_nothing(steps in prop::collection::vec(step(), 1..60)) {
        let mut world = World::new();
        for step in steps {
            world.take(step);
            world.check();
        }
        world.quiesce();
        world.check();
        // Zero in all, and pair by pair.
        let mut sum = 0;
        for a in 0..HONEST {
            for b in 0..HONEST {
                let (there, back) = (world.parties[a].owed(&world.parties[b].id()), world.parties[b].owed(&world.parties[a].id()));
                prop_assert_eq!(there, -back, "{} and {}", a, b);
                sum += there;
            }
        }
        prop_assert_eq!(sum, 0);
    }
}

/// COMMONHOLD_HISTORIES histories, 48 without it.
fn cases() -> u32 {
    std::env::var("COMMONHOLD_HISTORIES").ok().and_then(|count| count.parse().ok()).unwrap_or(48)
}
