//! The book: contracts, revisions, receipts, audits, and what an owner knows of its chunks.

use std::slice::from_ref;

use commonhold_format::ids::{ChunkId, ContractId};
use commonhold_format::statement::{AuditOutcome, Statement};
use commonhold_format::wire::Addition;
use commonhold_store::{BookError, CommitError, Holding, Role};
use tempfile::TempDir;

use crate::people::{Chunk, ENDS, STARTS, additions, chunk, deal, open, root, signed};

fn add(seed: u8, len: u32) -> Addition {
    Addition { chunk: ChunkId([seed; 32]), len }
}

#[test]
fn contracts_are_entered_once_with_both_signatures_and_listed_in_order() {
    let dir = TempDir::new().unwrap();
    let mut ids = Vec::new();
    {
        let store = open(dir.path());
        let half = deal(9);
        let note = signed(Statement::Contract(half.contract.clone()), &[&half.owner]);
        let refused = store.open_contract(Role::Provider, &half.contract, &note);
        assert!(matches!(refused, Err(BookError::Unsigned)));
        // A note that is signed well, but is that of another contract.
        let refused = store.open_contract(Role::Provider, &half.contract, &deal(8).note);
        assert!(matches!(refused, Err(BookError::Note)));
        assert_eq!(store.contracts(), []);

        for salt in 1..5 {
            ids.push(deal(salt).enter(&store, Role::Provider).id);
        }
        ids.sort();
        // Again, and as the other party: nothing changes.
        deal(1).enter(&store, Role::Owner);
        assert_eq!(store.contracts(), ids);
    }
    let store = open(dir.path());
    assert_eq!(store.contracts(), ids);
    let state = store.contract(&deal(1).id).unwrap();
    assert_eq!((state.role, state.next_epoch), (Role::Provider, 1));
    assert_eq!((state.contract, state.note), (deal(1).contract, deal(1).note));
    assert_eq!(state.revision, None);
    assert!(store.contract(&ContractId([0; 32])).is_none());
    assert!(root(&store, &ContractId([0; 32])).is_none());
}

#[test]
fn a_preview_tells_what_changes_come_to_and_changes_nothing() {
    let dir = TempDir::new().unwrap();
    let store = open(dir.path());
    let deal = deal(1).enter(&store, Role::Owner);
    let first = [add(1, 100), add(2, 200), add(1, 100)];
    for _ in 0..2 {
        let preview = store.preview(&deal.id, &first, &[]).unwrap();
        assert_eq!((preview.sequence, preview.entries, preview.span), (1, 2, 300));
        assert_eq!((preview.held_bytes, preview.held_chunks), (300, 2));
    }
    deal.commit(&store, &first, &[]);
    // Removals come first, so a chunk can be removed and added again; one that stays is not.
    let preview = store.preview(&deal.id, &[add(1, 100), add(2, 200)], &[0]).unwrap();
    assert_eq!((preview.sequence, preview.entries, preview.span), (2, 3, 400));
    assert_eq!((preview.held_bytes, preview.held_chunks), (300, 2));
    let root = store.contract(&deal.id).unwrap().revision.unwrap().0.inventory_root;
    assert_eq!(self::root(&store, &deal.id), Some((root, 2)));
    // What was removed and taken back is still known to be there.
    assert_eq!(store.preview(&deal.id, &first, &[]).unwrap().inventory_root, root);
}

#[test]
fn impossible_changes_are_refused_and_leave_nothing_behind() {
    let dir = TempDir::new().unwrap();
    let store = open(dir.path());
    let deal = deal(1).enter(&store, Role::Owner);
    deal.commit(&store, &[add(1, 100), add(2, 200)], &[]);
    let good = store.preview(&deal.id, &[], &[]).unwrap();
    let cases: [(&[Addition], &[u64]); 5] = [
        (&[], &[2]),
        (&[], &[0, 0]),
        (&[add(3, 0)], &[0]),
        (&[add(3, 10), add(0, 10)], &[1, 0]),
        (&[add(3, 1 << 21)], &[]),
    ];
    for (adds, removes) in cases {
        let refused = store.preview(&deal.id, adds, removes);
        assert!(matches!(refused, Err(BookError::Change(_))), "{removes:?}: {refused:?}");
        assert_eq!(store.preview(&deal.id, &[], &[]).unwrap(), good);
    }
    assert!(matches!(store.preview(&ContractId([0; 32]), &[], &[]), Err(BookError::Unknown)));
}

#[test]
fn the_same_commit_again_changes_nothing() {
    let dir = TempDir::new().unwrap();
    let chunk = chunk(1, 1000);
    let (revision, note) = {
        let store = open(dir.path());
        let deal = deal(1).enter(&store, Role::Provider);
        chunk.put(&store, &deal).unwrap();
        let adds = [chunk.addition()];
        let (revision, note) = deal.revise(&store, &adds, &[]);
        for _ in 0..2 {
            store.commit(&deal.id, &revision, &note, &adds, &[]).unwrap();
            assert_eq!(store.usage().chunks, 1);
        }
        (revision, note)
    };
    let store = open(dir.path());
    store.commit(&deal(1).id, &revision, &note, &[chunk.addition()], &[]).unwrap();
    assert_eq!(store.contract(&deal(1).id).unwrap().revision, Some((revision, note)));
    assert_eq!(root(&store, &deal(1).id).unwrap().1, 1);
    chunk.assert_held(&store);
}

#[test]
fn a_revision_that_does_not_say_what_the_changes_come_to_is_refused() {
    let dir = TempDir::new().unwrap();
    let store = open(dir.path());
    let deal = deal(1).enter(&store, Role::Provider);
    let chunk = chunk(1, 1000);
    chunk.put(&store, &deal).unwrap();
    let adds = [chunk.addition()];
    let (right, _) = deal.revise(&store, &adds, &[]);
    let wrong = [
        commonhold_format::statement::Revision { sequence: 2, ..right.clone() },
        commonhold_format::statement::Revision { inventory_root: [9; 32], ..right.clone() },
        commonhold_format::statement::Revision { entries: 2, ..right.clone() },
        commonhold_format::statement::Revision { span: 1001, ..right.clone() },
        commonhold_format::statement::Revision { held_bytes: 999, ..right.clone() },
        commonhold_format::statement::Revision { held_chunks: 0, ..right.clone() },
    ];
    for revision in wrong {
        let refused = store.commit(&deal.id, &revision, &deal.sign(&revision), &adds, &[]);
        assert!(matches!(refused, Err(CommitError::Mismatch)), "{revision:?}: {refused:?}");
    }
    assert_eq!(store.contract(&deal.id).unwrap().revision, None);
    assert_eq!(store.usage().chunks, 0);
    // Nothing stuck: the right one goes through.
    store.commit(&deal.id, &right, &deal.sign(&right), &adds, &[]).unwrap();
}

#[test]
fn attack_26_nothing_is_removed_or_added_without_a_revision_that_both_have_signed() {
    let dir = TempDir::new().unwrap();
    let store = open(dir.path());
    let deal = deal(1).enter(&store, Role::Provider);
    let other = crate::people::deal(2).enter(&store, Role::Provider);
    let chunk = chunk(1, 1000);
    deal.keep(&store, from_ref(&chunk));
    let (revision, note) = deal.revise(&store, &[], &[0]);
    let statement = Statement::Revision(revision.clone());
    let stranger = commonhold_format::keys::PartyKey::from_seed(&[3; 32]);

    let unsigned = [
        ("the owner alone", signed(statement.clone(), &[&deal.owner])),
        ("the provider alone", signed(statement.clone(), &[&deal.provider])),
        ("a stranger", signed(statement, &[&stranger, &deal.provider])),
    ];
    for (who, note) in unsigned {
        let refused = store.commit(&deal.id, &revision, &note, &[], &[0]);
        assert!(matches!(refused, Err(CommitError::Book(BookError::Unsigned))), "{who}: {refused:?}");
    }
    // Signatures over something else: the contract, another revision, the same of another contract.
    let mut older = revision.clone();
    older.time -= 1;
    let others = revision_of(&other, &revision);
    let elsewhere = [
        (&revision, &deal.note),
        (&revision, &deal.sign(&older)),
        (&revision, &other.sign(&others)),
        (&others, &other.sign(&others)),
    ];
    for (revision, note) in elsewhere {
        let refused = store.commit(&deal.id, revision, note, &[], &[0]);
        assert!(matches!(refused, Err(CommitError::Book(BookError::Note))), "{refused:?}");
    }
    // Signed as it must be, but for another removal.
    let refused = store.commit(&deal.id, &revision, &note, &[], &[]);
    assert!(matches!(refused, Err(CommitError::Mismatch)));
    chunk.assert_held(&store);
    assert_eq!(store.contract(&deal.id).unwrap().revision.unwrap().0.sequence, 1);

    store.commit(&deal.id, &revision, &note, &[], &[0]).unwrap();
    assert!(!store.holds(&chunk.id));
}

fn revision_of(
    deal: &crate::people::Deal,
    revision: &commonhold_format::statement::Revision,
) -> commonhold_format::statement::Revision {
    commonhold_format::statement::Revision { contract: deal.id, ..revision.clone() }
}

#[test]
fn a_revision_from_before_is_not_taken_again() {
    let dir = TempDir::new().unwrap();
    let store = open(dir.path());
    let deal = deal(1).enter(&store, Role::Provider);
    let chunk = chunk(1, 1000);
    chunk.put(&store, &deal).unwrap();
    let adds = [chunk.addition()];
    let (first, first_note) = deal.revise(&store, &adds, &[]);
    store.commit(&deal.id, &first, &first_note, &adds, &[]).unwrap();
    deal.commit(&store, &[], &[0]);
    let refused = store.commit(&deal.id, &first, &first_note, &adds, &[]);
    assert!(matches!(refused, Err(CommitError::Mismatch | CommitError::Missing(_))), "{refused:?}");
    assert_eq!(store.contract(&deal.id).unwrap().revision.unwrap().0.sequence, 2);
}

#[test]
fn a_commit_names_every_chunk_that_was_not_put() {
    let dir = TempDir::new().unwrap();
    let store = open(dir.path());
    let deal = deal(1).enter(&store, Role::Provider);
    let chunks: Vec<Chunk> = (0..4).map(|seed| chunk(seed, 500)).collect();
    chunks[1].put(&store, &deal).unwrap();
    let adds = additions(&chunks);
    let refused = deal.try_commit(&store, &adds, &[]);
    let expected = [chunks[0].id, chunks[2].id, chunks[3].id];
    assert!(matches!(refused, Err(CommitError::Missing(ref missing)) if *missing == expected), "{refused:?}");
    assert_eq!(root(&store, &deal.id).unwrap().1, 0);
    deal.keep(&store, &chunks);
    chunks.iter().for_each(|chunk| chunk.assert_held(&store));
}

#[test]
fn byte_seconds_are_counted_from_revision_to_revision_and_not_behind_the_end() {
    let dir = TempDir::new().unwrap();
    let store = open(dir.path());
    let deal = deal(1).enter(&store, Role::Owner);
    let at = |time: u64, adds: &[Addition], removes: &[u64]| {
        let revision = deal.revision(&store.preview(&deal.id, adds, removes).unwrap(), time);
        store.commit(&deal.id, &revision, &deal.sign(&revision), adds, removes).unwrap();
        store.contract(&deal.id).unwrap().byte_seconds
    };
    assert_eq!(at(STARTS + 50, &[add(1, 100)], &[]), 0);
    assert_eq!(at(STARTS + 60, &[add(2, 1000)], &[]), 1000);
    assert_eq!(at(STARTS + 60, &[], &[0]), 1000);
    assert_eq!(at(STARTS + 63, &[], &[1]), 4000);
    assert_eq!(at(ENDS - 10, &[add(3, 7)], &[]), 4000);
    assert_eq!(at(ENDS + 1000, &[], &[]), 4070);
    drop(store);
    assert_eq!(open(dir.path()).contract(&deal.id).unwrap().byte_seconds, 4070);
}

#[test]
fn receipts_go_forward_only() {
    let dir = TempDir::new().unwrap();
    let deal = deal(1);
    let (second, second_note) = deal.receipt(2);
    {
        let store = open(dir.path());
        let deal = crate::people::deal(1).enter(&store, Role::Provider);
        let (first, first_note) = deal.receipt(1);
        let half = signed(Statement::Receipt(first.clone()), &[&deal.provider]);
        assert!(matches!(store.receipt(&deal.id, &first, &half), Err(BookError::Unsigned)));
        assert!(matches!(store.receipt(&deal.id, &first, &second_note), Err(BookError::Note)));
        let foreign = crate::people::deal(2).receipt(1);
        assert!(matches!(store.receipt(&deal.id, &foreign.0, &foreign.1), Err(BookError::Note)));

        store.receipt(&deal.id, &first, &first_note).unwrap();
        store.receipt(&deal.id, &second, &second_note).unwrap();
        store.receipt(&deal.id, &second, &second_note).unwrap();
        let again = store.receipt(&deal.id, &first, &first_note);
        assert!(matches!(again, Err(BookError::Superseded { last: 2, offered: 1 })));
        let mut rival = second.clone();
        rival.egress_bytes += 1;
        let rival_note = signed(Statement::Receipt(rival.clone()), &[&deal.owner, &deal.provider]);
        let again = store.receipt(&deal.id, &rival, &rival_note);
        assert!(matches!(again, Err(BookError::Superseded { last: 2, offered: 2 })));
    }
    let state = open(dir.path()).contract(&deal.id).unwrap();
    assert_eq!(state.receipt, Some((second, second_note)));
}

#[test]
fn audits_use_their_epochs_up_and_count() {
    let dir = TempDir::new().unwrap();
    {
        let store = open(dir.path());
        let deal = deal(1).enter(&store, Role::Owner);
        store.audited(&deal.id, 1, AuditOutcome::Passed, [1; 32]).unwrap();
        store.audited(&deal.id, 2, AuditOutcome::WrongBytes, [2; 32]).unwrap();
        store.audited(&deal.id, 5, AuditOutcome::NoAnswer, [0; 32]).unwrap();
        store.audited(&deal.id, 3, AuditOutcome::Offline, [0; 32]).unwrap();
        let unknown = store.audited(&ContractId([0; 32]), 1, AuditOutcome::Passed, [0; 32]);
        assert!(matches!(unknown, Err(BookError::Unknown)));
    }
    let state = open(dir.path()).contract(&deal(1).id).unwrap();
    assert_eq!((state.next_epoch, state.audits_passed, state.audits_failed), (6, 1, 1));
    assert_eq!(state.evidence, [2; 32]);
}

#[test]
fn an_owner_knows_the_holders_and_what_they_lost() {
    let dir = TempDir::new().unwrap();
    let (a, b) = (deal(1), deal(2));
    let (one, two) = (add(1, 100), add(2, 200));
    {
        let store = open(dir.path());
        let a = deal(1).enter(&store, Role::Owner);
        let b = deal(2).enter(&store, Role::Owner);
        let c = deal(3).enter(&store, Role::Provider);
        a.commit(&store, &[one, two], &[]);
        b.commit(&store, &[two], &[]);
        // What this node keeps for others is nobody's holding of ours.
        let own = chunk(7, 50);
        c.keep(&store, from_ref(&own));
        assert_eq!(store.holders(&own.id), []);
        store.mark_lost(&c.id, &[own.id]).unwrap();
        assert_eq!(store.holders(&ChunkId([9; 32])), []);

        store.mark_lost(&a.id, &[two.chunk, ChunkId([9; 32])]).unwrap();
        store.mark_lost(&b.id, &[one.chunk]).unwrap();
    }
    let store = open(dir.path());
    let holding = |deal: &crate::people::Deal, index, lost| Holding { contract: deal.id, index, lost };
    let mut expected = [holding(&a, 1, true), holding(&b, 0, false)];
    expected.sort_by_key(|holding| holding.contract);
    assert_eq!(store.holders(&two.chunk), expected);
    assert_eq!(store.holders(&one.chunk), [holding(&a, 0, false)]);

    // Adding it again ends its being lost, though the inventory does not change.
    a.commit(&store, &[two], &[]);
    let expected = expected.map(|holding| Holding { lost: false, ..holding });
    assert_eq!(store.holders(&two.chunk), expected);
    a.commit(&store, &[], &[1]);
    assert_eq!(store.holders(&two.chunk), [holding(&b, 0, false)]);
}
