//! Two ledgers beside each other: what is proven, and that a stranger can check it. That nobody who
//! keeps to its duties is accused is in framing.rs.
#![allow(clippy::unwrap_used)]

mod trade;

use commonhold_format::ids::PartyId;
use commonhold_format::keys::PartyKey;
use commonhold_format::note::SignedNote;
use commonhold_format::statement::{AuditOutcome, Statement};
use commonhold_format::tree::{GrowingTree, Hash, leaf_hash};
use commonhold_ledger::compare::{Comparison, Evidence, Stated, compare};
use commonhold_ledger::source::Tar;
use commonhold_ledger::verify::Log;
use commonhold_ledger::{Role, numbered};
use tempfile::TempDir;
use trade::{Party, Shelf, Trade, key, signed, with_line};

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
            let with = |contract: SignedNote, first: SignedNote, second: SignedNote| Evidence::Conflict {
                contract,
                first,
                second,
            };
            changed.push(with(contract.clone(), first.clone(), first.clone()));
            changed.push(with(contract.clone(), first.clone(), with_line(&first, &other, true)));
            changed.push(with(contract.clone(), stripped(&first), second.clone()));
            changed.push(with(contract.clone(), first.clone(), stripped(&second)));
            changed.push(with(stripped(&contract), first.clone(), second.clone()));
            changed.push(with(first.clone(), first.clone(), second));
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
    let (owner, provider) = (trade.owner.key.id(), trade.provider.key.id());
    for (note, accused) in [(again, owner), (revision, provider)] {
        // In one ledger, or one text in each.
        let mut notes = trade.provider.notes();
        notes.push(note.clone());
        let with_it = log_of(&trade.provider.key, &trade.provider, &notes);
        proves(&compare(&trade.owner.load(), &with_it), &[("conflict", accused)]);
    }
    // Payments and trust lines are of parties, which may have signed on two nodes.
    for note in [trade.payment(2, 901, trade.now), trade.trust(1, 1_001)] {
        let mut notes = trade.provider.notes();
        notes.push(note.clone());
        let found = compare(&trade.owner.load(), &log_of(&trade.provider.key, &trade.provider, &notes));
        assert_eq!(found.evidence, []);
        assert!(found.differences.iter().any(|it| it.contains("two texts")), "{:?}", found.differences);
        let first = trade.provider.notes().into_iter().find(|it| numbered(it) == numbered(&note)).unwrap();
        let conflict = Evidence::Conflict { contract: trade.contract.clone(), first, second: note };
        assert!(conflict.check().is_err());
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
