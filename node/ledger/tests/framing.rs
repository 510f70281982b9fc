//! Nobody who keeps to its duties is ever accused: an honest party against one that signs, withholds, sends
//! again and adds what it likes, with the honest party's process killed at any point.
#![allow(clippy::unwrap_used)]

mod trade;

use commonhold_format::keys::PartyKey;
use commonhold_format::note::SignedNote;
use commonhold_format::statement::{AuditOutcome, Checkpoint, Receipt, Statement};
use commonhold_format::tree::Hash;
use commonhold_ledger::Role;
use commonhold_ledger::compare::{Evidence, Stated, compare};
use commonhold_ledger::verify::{Log, Rules};
use proptest::prelude::*;
use trade::{Party, PlainRules, Shelf, Trade, key, signed, with_line};

/// The entries of a log, laid out as in a bundle.
fn entries(log: &Log, from: u64, end: u64) -> Vec<u8> {
    let notes: Vec<Vec<u8>> = (from..end).map(|index| log.note(index).unwrap().to_bytes()).collect();
    commonhold_format::log::encode_entries(notes.iter().map(Vec::as_slice)).unwrap()
}

/// The other party of an honest one: it signs, sends again, withholds and adds whatever it likes.
#[derive(Debug, Clone)]
enum Move {
    /// A receipt is drawn up: sequence beside the next one, which of the heads that the honest party ever
    /// had is stated (0 is the present one), whether it is signed and sent back, and whether the honest
    /// party's process is killed in the middle.
    Settle { sequence: i64, head: usize, answered: bool, killed: u8, surplus: bool },
    /// A draft or receipt that was there before, once more.
    Again { which: usize },
    /// The honest party logs something else.
    Other,
    /// The honest party publishes its head.
    Publish,
    /// Its process is killed.
    Kill,
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let settle = (-1i64..=1, 0usize..4, any::<bool>(), 0u8..4, any::<bool>()).prop_map(
        |(sequence, head, answered, killed, surplus)| Move::Settle {
            sequence,
            head,
            answered,
            killed,
            surplus,
        },
    );
    let plain = (Just(0i64), Just(0usize), any::<bool>(), 0u8..4, any::<bool>()).prop_map(
        |(sequence, head, answered, killed, surplus)| Move::Settle {
            sequence,
            head,
            answered,
            killed,
            surplus,
        },
    );
    let any_move = prop_oneof![
        6 => plain,
        3 => settle,
        2 => (0usize..20).prop_map(|which| Move::Again { which }),
        2 => Just(Move::Other),
        1 => Just(Move::Publish),
        1 => Just(Move::Kill),
    ];
    prop::collection::vec(any_move, 1..14)
}

/// What an honest party keeps beside its ledger: the last receipt, durable before the ledger has it.
struct Honest {
    role: Role,
    trade: Trade,
    last: Option<(Receipt, SignedNote)>,
    /// Heads that it had.
    heads: Vec<(u64, Hash)>,
    published: Vec<SignedNote>,
    /// Everything that both signed and that the other party can show.
    shown: Vec<SignedNote>,
    others: u64,
}

impl Honest {
    fn new(role: Role) -> Self {
        let mut trade = Trade::new();
        trade.revise();
        let mut it = Self {
            role,
            trade,
            last: None,
            heads: Vec::new(),
            published: Vec::new(),
            shown: Vec::new(),
            others: 0,
        };
        it.remember();
        it
    }

    fn me(&mut self) -> &mut Party {
        match self.role {
            Role::Owner => &mut self.trade.owner,
            Role::Provider => &mut self.trade.provider,
        }
    }

    fn liar(&self) -> &PartyKey {
        match self.role {
            Role::Owner => &self.trade.provider.key,
            Role::Provider => &self.trade.owner.key,
        }
    }

    fn remember(&mut self) {
        let head = self.me().ledger.head();
        self.heads.push(head);
        let published = self.me().ledger.published();
        self.published.extend(published);
    }

    /// The process ends and is started again; what the store has and the ledger lacks is logged first.
    fn restart(&mut self) {
        self.me().crash();
        if let Some((_, note)) = self.last.clone() {
            self.me().ledger.append(&note).unwrap();
        }
    }

    /// Takes a receipt that both signed: into the store, then into the ledger. Killed in between or not.
    fn keep(&mut self, receipt: Receipt, note: SignedNote, killed: u8) {
        self.last = Some((receipt, note.clone()));
        if killed == 1 {
            self.restart();
        }
        self.me().ledger.append(&note).unwrap();
        if killed == 2 {
            self.restart();
        }
    }

    /// The next receipt, as the provider draws it up from what it knows.
    fn draft(&mut self) -> Receipt {
        let mut receipt = self.trade.next_receipt();
        let previous = self.last.as_ref().map(|(last, _)| last);
        receipt.sequence = previous.map_or(0, |last| last.sequence) + 1;
        receipt
    }

    fn follows(&self, receipt: &Receipt) -> bool {
        let previous = self.last.as_ref().map(|(last, _)| last);
        PlainRules.receipt(&self.trade.terms, previous, receipt).is_ok()
    }

    fn make(&mut self, step: &Move) {
        match step {
            Move::Other => {
                self.others += 1;
                let note = self.trade.payment(1_000 + self.others, 5, 5);
                self.me().ledger.append(&note).unwrap();
            }
            Move::Publish => drop(self.me().ledger.publish().unwrap()),
            Move::Kill => self.restart(),
            Move::Again { which } => {
                let Some(note) = self.shown.get(which % self.shown.len().max(1)).cloned() else { return };
                self.take(note, 0);
            }
            Move::Settle { sequence, head, answered, killed, surplus } => {
                self.settle(*sequence, *head, *answered, *killed, *surplus)
            }
        }
        self.remember();
    }

    /// A provider is handed a receipt with both signatures.
    fn take(&mut self, note: SignedNote, killed: u8) {
        let Ok(Statement::Receipt(receipt)) = Statement::of(&note) else { return };
        let both =
            note.is_signed_by(&self.trade.terms.owner) && note.is_signed_by(&self.trade.terms.provider);
        if self.role == Role::Provider && both && self.follows(&receipt) {
            self.keep(receipt, note, killed);
        }
    }

    fn settle(&mut self, sequence: i64, head: usize, answered: bool, killed: u8, surplus: bool) {
        // What the last one covers is in the ledger before the next is drawn up.
        if let Some((_, note)) = self.last.clone() {
            self.me().ledger.append(&note).unwrap();
        }
        let mine = self.me().ledger.head();
        let lied = if head == 0 { mine } else { self.heads[self.heads.len().saturating_sub(head)] };
        let mut receipt = self.draft();
        match self.role {
            // The liar draws it up, with what it likes; the owner signs if everything is right.
            Role::Owner => {
                receipt.sequence = receipt.sequence.saturating_add_signed(sequence).max(1);
                receipt.owner_head = lied;
                let draft = signed(Statement::Receipt(receipt.clone()), &[&self.trade.provider.key]);
                let mut note = if surplus { with_line(&draft, &key(66), false) } else { draft };
                if let Some((last, signed)) =
                    self.last.clone().filter(|(last, _)| last.sequence == receipt.sequence)
                {
                    // Handed back again.
                    assert_eq!(last.sequence, receipt.sequence);
                    self.shown.push(signed);
                    return;
                }
                if receipt.owner_head != mine
                    || !self.follows(&receipt)
                    || !note.countersign(&self.trade.owner.key)
                {
                    return;
                }
                self.keep(receipt, note.clone(), killed);
                // Before that, nobody has seen the signature; if it is lost on its way, it comes another time.
                if answered {
                    self.shown.push(note);
                }
            }
            // The provider draws it up; the liar signs whatever it once got, now or later, with other lines.
            Role::Provider => {
                receipt.owner_head = lied;
                let mut note = signed(Statement::Receipt(receipt), &[&self.trade.provider.key]);
                note.countersign(self.liar());
                let note = if surplus { with_line(&note, &key(66), true) } else { note };
                self.shown.push(note.clone());
                if answered {
                    self.take(note, killed);
                }
            }
        }
    }
}

/// Everything that anybody could make of what was signed: no piece may accuse the honest party.
fn nobody_can_accuse(it: &mut Honest) {
    let role = it.role;
    let honest = it.me().key.id();
    let log = it.me().load();
    let contract = it.trade.contract.clone();
    let known: Vec<(Receipt, SignedNote)> = it
        .shown
        .iter()
        .chain(it.last.iter().map(|(_, note)| note))
        .filter_map(|note| match Statement::of(note) {
            Ok(Statement::Receipt(receipt)) => Some((receipt, note.clone())),
            _ => None,
        })
        .collect();
    let accuses = |evidence: Evidence| match evidence.check() {
        Ok(proven) if proven.accused == honest => panic!("{proven}: {evidence:?}"),
        _ => {}
    };
    let size_of =
        |receipt: &Receipt| if role == Role::Owner { receipt.owner_head.0 } else { receipt.provider_head.0 };
    for (first, earlier) in &known {
        for (second, later) in &known {
            let (first_note, second_note) = (earlier.clone(), later.clone());
            accuses(Evidence::Conflict {
                contract: contract.clone(),
                first: first_note,
                second: second_note,
            });
            let (from, end) = (size_of(first), size_of(second));
            if from > end || end > log.head.size {
                continue;
            }
            accuses(Evidence::Missing {
                contract: contract.clone(),
                role,
                earlier: earlier.clone(),
                later: later.clone(),
                frontier: log.tree.frontier(from).unwrap(),
                entries: entries(&log, from, end),
            });
        }
        // Every head that it ever published, and the present one.
        for head in it.published.iter().chain([&log.checkpoint]) {
            let stated = Stated::Receipt { contract: contract.clone(), receipt: earlier.clone() };
            fork(&log, stated, size_of(first), head, &accuses);
        }
    }
    for stated in &it.published {
        for head in it.published.iter().chain([&log.checkpoint]) {
            let size = Checkpoint::from_text(stated.text()).unwrap().size;
            fork(&log, Stated::Head(stated.clone()), size, head, &accuses);
        }
    }
    // And its ledger beside the one that the liar would have with all of this in it.
    let mut notes = vec![contract];
    notes.extend(known.into_iter().map(|(_, note)| note));
    let liar = if role == Role::Owner { &it.trade.provider } else { &it.trade.owner };
    let other = Shelf::of(&liar.key, liar.node, &notes).load().unwrap();
    for found in [compare(&log, &other), compare(&other, &log)] {
        found.evidence.into_iter().for_each(accuses);
    }
}

fn fork(log: &Log, stated: Stated, size: u64, head: &SignedNote, accuses: &impl Fn(Evidence)) {
    let new = Checkpoint::from_text(head.text()).unwrap().size;
    let Some(proof) = log.tree.consistency(size, new) else { return };
    let root = log.tree.root_at(size).unwrap();
    accuses(Evidence::Fork { stated, head: head.clone(), root, proof });
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn attack_32_nobody_frames_an_honest_owner(steps in moves()) {
        let mut it = Honest::new(Role::Owner);
        steps.iter().for_each(|step| it.make(step));
        nobody_can_accuse(&mut it);
    }

    #[test]
    fn attack_32_nobody_frames_an_honest_provider(steps in moves()) {
        let mut it = Honest::new(Role::Provider);
        steps.iter().for_each(|step| it.make(step));
        nobody_can_accuse(&mut it);
    }

    /// Two honest parties, with kills, answers that get lost and are sent again: their ledgers show
    /// nothing against either.
    #[test]
    fn honest_pairs_prove_nothing(
        steps in prop::collection::vec((0u8..5, any::<bool>(), any::<bool>()), 1..25),
    ) {
        let mut trade = Trade::new();
        trade.revise();
        let mut waiting: Option<SignedNote> = None;
        for (step, lost, kill) in steps {
            match step {
                0 => trade.revise(),
                1 => trade.audit(AuditOutcome::Offline),
                2 => trade.provider.ledger.append(&trade.trust(trade.now, 5)).map(drop).unwrap(),
                _ => {
                    // What the provider never got comes first.
                    let note = waiting.take().unwrap_or_else(|| {
                        let receipt = trade.next_receipt();
                        let note = trade.both_sign(&receipt);
                        trade.receipts.push(receipt);
                        trade.owner.ledger.append(&note).unwrap();
                        note
                    });
                    if lost {
                        waiting = Some(note);
                    } else {
                        trade.provider.ledger.append(&note).unwrap();
                        trade.provider.ledger.append(&note).unwrap();
                    }
                }
            }
            if kill {
                trade.owner.crash();
                trade.provider.crash();
            }
            trade.owner.ledger.publish().unwrap();
        }
        let found = compare(&trade.owner.load(), &trade.provider.load());
        prop_assert_eq!(found.evidence, vec![]);
        prop_assert_eq!(trade.owner.shelf().verify().findings, vec![]);
        prop_assert_eq!(trade.provider.shelf().verify().findings, vec![]);
    }
}
