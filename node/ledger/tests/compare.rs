//! Two ledgers beside each other: what is proven, that a stranger can check it, and that nobody who
//! keeps to its duties is ever accused.
#![allow(clippy::unwrap_used)]

mod trade;

use commonhold_format::ids::PartyId;
use commonhold_format::keys::PartyKey;
use commonhold_format::note::SignedNote;
use commonhold_format::statement::{AuditOutcome, Receipt, Statement};
use commonhold_format::tree::{GrowingTree, Hash, leaf_hash};
use commonhold_ledger::Role;
use commonhold_ledger::compare::{Comparison, Evidence, Stated, compare};
use commonhold_ledger::source::Tar;
use commonhold_ledger::verify::Log;
use proptest::prelude::*;
use tempfile::TempDir;
use trade::{Party, PlainRules, Shelf, Trade, key, signed, with_line};

fn log_of(key: &PartyKey, party: &Party, notes: &[SignedNote]) -> Log {
    Shelf::of(key, party.node, notes).load().unwrap()
}

/// Through a file, as a stranger gets it.
fn through_a_file(evidence: &Evidence) -> Evidence {
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("evidence.tar");
    evidence.write(std::fs::File::create(&file).unwrap()).unwrap();
    let mut tar = Tar::open(&file).unwrap();
    assert!(Evidence::is_one(&tar));
    let read = Evidence::read(&mut tar).unwrap();
    assert_eq!(read, *evidence);
    read
}

/// That exactly these are proven, and hold for a stranger.
fn proves(found: &Comparison, expected: &[(&str, PartyId)]) {
    let proven: Vec<(&str, PartyId)> =
        found.evidence.iter().map(|it| (it.kind(), through_a_file(it).check().unwrap().accused)).collect();
    assert_eq!(proven, expected, "{:?}", found.differences);
    for evidence in &found.evidence {
        tampered_with(evidence);
    }
}

/// Whatever is changed in a piece of evidence, it proves nothing any more, or the same about the same
/// party.
fn tampered_with(evidence: &Evidence) {
    let proven = evidence.check().unwrap();
    let other = key(77);
    let mut changed: Vec<Evidence> = Vec::new();
    let foreign = SignedNote::sign("nothing\n".to_owned(), &other).unwrap();
    let stripped = |note: &SignedNote| SignedNote::sign(note.text().to_owned(), &other).unwrap();
    match evidence.clone() {
        Evidence::Fork { stated, head, root, proof } => {
            let with = |stated: &Stated, head: &SignedNote, root: Hash, proof: Vec<Hash>| Evidence::Fork {
                stated: stated.clone(),
                head: head.clone(),
                root,
                proof,
            };
            changed.push(with(&stated, &foreign, root, proof.clone()));
            changed.push(with(&stated, &stripped(&head), root, proof.clone()));
            changed.push(with(&Stated::Head(foreign.clone()), &head, root, proof.clone()));
            // The head itself, beside itself.
            changed.push(with(&Stated::Head(head.clone()), &head, root, proof.clone()));
            changed.push(with(&stated, &head, [0; 32], proof.clone()));
            changed.push(with(&stated, &head, root, [&proof[..], &[[0; 32]]].concat()));
            if !proof.is_empty() {
                changed.push(with(&stated, &head, root, proof[1..].to_vec()));
            }
            if let Stated::Receipt { contract, receipt } = &stated {
                for (contract, receipt) in [
                    (stripped(contract), receipt.clone()),
                    (contract.clone(), stripped(receipt)),
                    (receipt.clone(), contract.clone()),
                ] {
                    changed.push(with(&Stated::Receipt { contract, receipt }, &head, root, proof.clone()));
                }
            }
        }
        Evidence::Conflict { contract, first, second } => {
            let with = |contract: Option<SignedNote>, first: SignedNote, second: SignedNote| {
                Evidence::Conflict { contract, first, second }
            };
            changed.push(with(contract.clone(), first.clone(), first.clone()));
            changed.push(with(contract.clone(), first.clone(), with_line(&first, &other, true)));
            changed.push(with(contract.clone(), stripped(&first), second.clone()));
            changed.push(with(contract.clone(), first.clone(), stripped(&second)));
            if let Some(note) = &contract {
                changed.push(with(None, first.clone(), second.clone()));
                changed.push(with(Some(stripped(note)), first.clone(), second));
            }
        }
        Evidence::Missing { contract, role, earlier, later, frontier, entries } => {
            let with = |earlier: SignedNote, later: SignedNote, frontier: Vec<Hash>, entries: Vec<u8>| {
                Evidence::Missing { contract: contract.clone(), role, earlier, later, frontier, entries }
            };
            let (e, l, f, n) = (earlier.clone(), later.clone(), frontier.clone(), entries.clone());
            changed.push(with(l.clone(), e.clone(), f.clone(), n.clone()));
            changed.push(with(e.clone(), e.clone(), f.clone(), n.clone()));
            changed.push(with(stripped(&e), l.clone(), f.clone(), n.clone()));
            changed.push(with(e.clone(), stripped(&l), f.clone(), n.clone()));
            changed.push(with(e.clone(), l.clone(), [&f[..], &[[0; 32]]].concat(), n.clone()));
            changed.push(with(e.clone(), l.clone(), f.iter().map(|_| [0; 32]).collect(), n.clone()));
            changed.push(with(e.clone(), l.clone(), f.clone(), Vec::new()));
            changed.push(with(e.clone(), l.clone(), f.clone(), [&n[..], &[0, 1, 2]].concat()));
            for at in [n.len() / 2, n.len().saturating_sub(1)].into_iter().filter(|at| *at < n.len()) {
                let mut flipped = n.clone();
                flipped[at] ^= 1;
                changed.push(with(e.clone(), l.clone(), f.clone(), flipped));
            }
            let other = if role == Role::Owner { Role::Provider } else { Role::Owner };
            changed.push(Evidence::Missing {
                contract: contract.clone(),
                role: other,
                earlier,
                later,
                frontier,
                entries,
            });
            changed.push(Evidence::Missing {
                contract: stripped(&contract),
                role,
                earlier: e,
                later: l,
                frontier: f,
                entries: n,
            });
        }
    }
    for evidence in changed {
        if let Ok(shown) = evidence.check() {
            assert_eq!(shown, proven, "{evidence:?}");
        }
    }
}

#[test]
fn two_honest_ledgers_differ_in_nothing_that_proves_anything() {
    let trade = Trade::honest();
    let (a, b) = (trade.owner.load(), trade.provider.load());
    for (a, b) in [(&a, &b), (&b, &a), (&a, &a), (&b, &b)] {
        let found = compare(a, b);
        assert_eq!(found.evidence, []);
        // Receipts, revisions and payments; all of the provider's and the trust line beside itself.
        assert!(found.shared >= 8 && found.heads >= 3, "{found:?}");
    }
    let found = compare(&a, &b);
    assert_eq!((found.shared, found.heads), (3 + 3 + 2, 6));
    assert_eq!(found.differences, [] as [String; 0]);
    // Signatures that were verified before make no difference.
    let (mut a, mut b) = (trade.owner.load(), trade.provider.load());
    a.verify_signatures(2);
    b.verify_signatures(1);
    assert_eq!(compare(&a, &b), found);
}

#[test]
fn attack_32_a_fork_shows_by_two_heads_of_any_sizes() {
    let trade = Trade::honest();
    let owner = &trade.owner;
    let honest = owner.load();
    let notes = owner.notes();
    for parting in [0, 1, 5, notes.len() - 1] {
        for more in [0, 1, 2, 40] {
            let mut forked = notes[..parting].to_vec();
            for number in 0..more as u64 + 1 {
                forked.push(trade.payment(100 + number, 5, 5));
            }
            let forked = log_of(&owner.key, owner, &forked);
            let size = forked.head.size.min(honest.head.size) as usize;
            if size <= parting {
                continue;
            }
            for (a, b) in [(&honest, &forked), (&forked, &honest)] {
                let found = compare(a, b);
                proves(&found, &[("fork", owner.key.id())]);
                assert!(found.differences.iter().any(|it| it.contains(&format!("part at entry {parting}"))));
            }
        }
        // An older state is no fork.
        let older = log_of(&owner.key, owner, &notes[..parting]);
        assert_eq!(compare(&honest, &older).evidence, []);
    }
}

#[test]
fn attack_32_a_fork_shows_by_a_head_that_a_receipt_names() {
    for role in [Role::Owner, Role::Provider] {
        let mut trade = Trade::honest();
        let party = if role == Role::Owner { &trade.owner } else { &trade.provider };
        // Shown to the other party: a history with a note that nobody else gets to see.
        let mut shown = party.notes();
        shown.insert(3, trade.payment(50, 5, 5));
        let mut tree = GrowingTree::new();
        tree.extend(shown.iter().map(|note| leaf_hash(&note.to_bytes())));
        let stated = (tree.len(), tree.root());
        let mut receipt = trade.next_receipt();
        match role {
            Role::Owner => receipt.owner_head = stated,
            Role::Provider => receipt.provider_head = stated,
        }
        let note = trade.both_sign(&receipt);
        trade.receipts.push(receipt);
        trade.owner.ledger.append(&note).unwrap();
        trade.provider.ledger.append(&note).unwrap();
        trade.settle();
        let party = if role == Role::Owner { &trade.owner } else { &trade.provider };
        let other = if role == Role::Owner { &trade.provider } else { &trade.owner };
        let found = compare(&trade.owner.load(), &trade.provider.load());
        proves(&found, &[("fork", party.key.id())]);
        assert!(matches!(&found.evidence[0], Evidence::Fork { stated: Stated::Receipt { .. }, .. }));
        // The receipt alone, in the other's ledger, is enough.
        let lacking: Vec<SignedNote> = party.notes().into_iter().filter(|kept| *kept != note).collect();
        let found = compare(&other.load(), &log_of(&party.key, party, &lacking));
        assert!(found.evidence.iter().any(|it| it.kind() == "fork"), "{found:?}");
    }
}

#[test]
fn attack_32_two_texts_for_one_sequence_accuse_who_signs_last() {
    let mut trade = Trade::honest();
    let again = {
        let mut receipt = trade.receipts[1].clone();
        receipt.audits_failed += 1;
        trade.both_sign(&receipt)
    };
    let revision = {
        let mut revision = trade.revisions[2].clone();
        revision.time += 1;
        signed(Statement::Revision(revision), &[&trade.owner.key, &trade.provider.key])
    };
    let (payment, trust) = (trade.payment(2, 901, trade.now), trade.trust(1, 1_001));
    let (owner, provider) = (trade.owner.key.id(), trade.provider.key.id());
    for (note, accused) in [(again, owner), (revision, provider), (payment, owner), (trust, provider)] {
        // In one ledger, or one text in each.
        let mut notes = trade.provider.notes();
        notes.push(note.clone());
        let with_it = log_of(&trade.provider.key, &trade.provider, &notes);
        proves(&compare(&trade.owner.load(), &with_it), &[("conflict", accused)]);
    }
    // A text that one of them alone signed is no conflict: drafts are drawn up anew.
    let mut draft = trade.next_receipt();
    draft.sequence = 2;
    for key in [&trade.owner.key, &trade.provider.key] {
        let mut notes = trade.provider.notes();
        notes.push(signed(Statement::Receipt(draft.clone()), &[key, &trade::key(66)]));
        let log = log_of(&trade.provider.key, &trade.provider, &notes);
        assert_eq!(compare(&trade.owner.load(), &log).evidence, []);
    }
    // The same text with another line is none either, and is told of.
    let notes: Vec<SignedNote> =
        trade.provider.notes().iter().map(|note| with_line(note, &key(66), true)).collect();
    let found = compare(&trade.owner.load(), &log_of(&trade.provider.key, &trade.provider, &notes));
    assert!(found.evidence.iter().all(|it| it.kind() == "fork"), "{:?}", found.evidence);
    assert!(found.differences.iter().any(|it| it.contains("other signature lines")));
    assert_eq!(found.shared, 0);
}

#[test]
fn attack_32_a_receipt_that_is_left_out_shows_by_the_next_one() {
    for role in [Role::Owner, Role::Provider] {
        // Three settled receipts; the second is left out by one of the two from the start.
        let mut trade = Trade::new();
        trade.revise();
        trade.settle();
        let receipt = trade.next_receipt();
        let note = trade.both_sign(&receipt);
        trade.receipts.push(receipt);
        let keeps = if role == Role::Owner { &trade.provider } else { &trade.owner };
        keeps.ledger.append(&note).unwrap();
        trade.audit(AuditOutcome::Offline);
        // Until the next one is signed, nothing is proven.
        let found = compare(&trade.owner.load(), &trade.provider.load());
        assert_eq!(found.evidence, []);
        assert!(found.differences.iter().any(|it| it.contains("receipt 2")), "{:?}", found.differences);
        trade.settle();
        trade.settle();
        let accused = if role == Role::Owner { trade.owner.key.id() } else { trade.provider.key.id() };
        let found = compare(&trade.owner.load(), &trade.provider.load());
        proves(&found, &[("missing", accused)]);
        assert!(matches!(&found.evidence[0], Evidence::Missing { role: whose, .. } if *whose == role));

        // It is there under other lines, and then it is not missing.
        let Evidence::Missing { contract, earlier, later, frontier, .. } = found.evidence[0].clone() else {
            panic!()
        };
        let mut next = trade.next_receipt();
        let party = if role == Role::Owner { &trade.owner } else { &trade.provider };
        let head = party.ledger.head();
        party.ledger.append(&with_line(&earlier, &key(66), false)).unwrap();
        match role {
            Role::Owner => next.owner_head = party.ledger.head(),
            Role::Provider => next.provider_head = party.ledger.head(),
        }
        assert!(party.ledger.len() > head.0);
        let next = trade.both_sign(&next);
        let log = party.load();
        let first = Statement::of(&earlier).unwrap();
        let Statement::Receipt(first) = first else { panic!() };
        let from = if role == Role::Owner { first.owner_head.0 } else { first.provider_head.0 };
        let entries = entries(&log, from, party.ledger.len());
        let later_still = Evidence::Missing { contract, role, earlier, later: next, frontier, entries };
        assert!(
            later_still.check().unwrap_err().contains("is in the ledger"),
            "{later} {later_still:?}",
            later = later.text()
        );
    }
}

/// The entries of a log, laid out as in a bundle.
fn entries(log: &Log, from: u64, end: u64) -> Vec<u8> {
    let notes: Vec<Vec<u8>> = (from..end).map(|index| log.note(index).unwrap().to_bytes()).collect();
    commonhold_format::log::encode_entries(notes.iter().map(Vec::as_slice)).unwrap()
}

#[test]
fn a_signature_that_never_came_back_accuses_nobody() {
    // The owner signed last and went away: the provider cannot have the receipt.
    let mut trade = Trade::honest();
    let receipt = trade.next_receipt();
    let note = trade.both_sign(&receipt);
    trade.owner.ledger.append(&note).unwrap();
    for _ in 0..5 {
        trade.now += 10 * 86_400;
        trade.provider.ledger.append(&trade.payment(trade.now, 1_000, trade.now)).unwrap();
        trade.provider.ledger.append(&trade.trust(trade.now, 5)).unwrap();
    }
    trade.provider.ledger.publish().unwrap();
    let found = compare(&trade.owner.load(), &trade.provider.load());
    assert_eq!(found.evidence, []);
    assert!(found.differences.iter().any(|it| it.contains("receipt 4")), "{:?}", found.differences);
    // A payment and a trust line that one side alone has, likewise.
    assert!(found.differences.iter().any(|it| it.contains("payment")));
}

#[test]
fn comparisons_and_their_files_are_bounded() {
    let trade = Trade::honest();
    let mut notes = trade.provider.notes();
    for number in 0..250 {
        let mut revision = trade.revisions[0].clone();
        revision.sequence = 1_000 + number;
        for time in [5, 6] {
            revision.time = time;
            notes.push(signed(
                Statement::Revision(revision.clone()),
                &[&trade.owner.key, &trade.provider.key],
            ));
        }
    }
    let found = compare(&trade.owner.load(), &log_of(&trade.provider.key, &trade.provider, &notes));
    assert_eq!((found.evidence.len(), found.differences.len()), (100, 101));
    assert!(found.differences[100].contains("things more"));
    // Evidence files that are none.
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("evidence.tar");
    let good = {
        let mut bytes = Vec::new();
        found.evidence[0].write(&mut bytes).unwrap();
        bytes
    };
    let read = |bytes: &[u8]| {
        std::fs::write(&file, bytes).unwrap();
        Evidence::read(&mut Tar::open(&file)?)
    };
    assert!(read(&good).is_ok());
    for (from, to) in [
        ("evidence/v1", "evidence/v2"),
        ("conflict", "conflicx"),
        ("first.note", "fifth.note"),
        ("evidence.txt", "evidence.tyt"),
    ] {
        let at = good.windows(from.len()).position(|it| it == from.as_bytes()).unwrap();
        let mut wrong = good.clone();
        wrong[at..at + from.len()].copy_from_slice(to.as_bytes());
        assert!(read(&wrong).is_err(), "{from}");
    }
    for cut in (0..good.len()).step_by(97) {
        // Cut behind the last byte that counts, nothing is lost.
        if let Ok(evidence) = read(&good[..cut]) {
            assert_eq!(evidence, found.evidence[0]);
        }
    }
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
        use commonhold_ledger::verify::Rules;
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
                contract: Some(contract.clone()),
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
            let size = commonhold_format::statement::Checkpoint::from_text(stated.text()).unwrap().size;
            fork(&log, Stated::Head(stated.clone()), size, head, &accuses);
        }
    }
    // And its ledger beside the one that the liar would have with all of this in it.
    let mut notes = vec![contract];
    notes.extend(known.into_iter().map(|(_, note)| note));
    let liar = if role == Role::Owner { &it.trade.provider } else { &it.trade.owner };
    let other = log_of(&liar.key, liar, &notes);
    for found in [compare(&log, &other), compare(&other, &log)] {
        found.evidence.into_iter().for_each(accuses);
    }
}

fn fork(log: &Log, stated: Stated, size: u64, head: &SignedNote, accuses: &impl Fn(Evidence)) {
    let new = commonhold_format::statement::Checkpoint::from_text(head.text()).unwrap().size;
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
