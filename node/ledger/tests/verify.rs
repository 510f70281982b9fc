//! Whole ledgers checked again: an honest one passes, and every lie in one is named.
#![allow(clippy::unwrap_used)]

mod trade;

use commonhold_format::log::{TileId, decode_entries, encode_entries};
use commonhold_format::note::SignedNote;
use commonhold_format::statement::{AuditOutcome, Statement};
use commonhold_format::tree::GrowingTree;
use commonhold_ledger::verify::Report;
use trade::{Party, Shelf, Trade, evidence_path, head, key, signed, with_line};

/// The owner's ledger, made again after its notes were changed. The liar signs the head.
fn lie(trade: &Trade, change: impl FnOnce(&mut Vec<SignedNote>)) -> Report {
    let mut notes = trade.owner.notes();
    change(&mut notes);
    Shelf::of(&trade.owner.key, trade.owner.node, &notes).with(&trade.evidence).verify()
}

/// Where the first note of a kind stands that `is_it` says yes to.
fn find(notes: &[SignedNote], is_it: impl Fn(&Statement) -> bool) -> usize {
    notes.iter().position(|note| Statement::of(note).is_ok_and(|statement| is_it(&statement))).unwrap()
}

/// That there is a finding about this entry, with these words.
fn names(report: &Report, entry: usize, words: &str) {
    let found = report.findings.iter().any(|it| it.entry == Some(entry as u64) && it.what.contains(words));
    assert!(found, "entry {entry}, {words:?}: {:?}", report.findings);
}

fn receipt_of(notes: &[SignedNote], sequence: u64) -> usize {
    find(notes, |it| matches!(it, Statement::Receipt(receipt) if receipt.sequence == sequence))
}

fn revision_of(notes: &[SignedNote], sequence: u64) -> usize {
    find(notes, |it| matches!(it, Statement::Revision(revision) if revision.sequence == sequence))
}

/// A receipt as it stands in the owner's ledger, changed and signed by both again: what the two of them
/// could do together.
fn receipt_again(
    trade: &Trade,
    sequence: u64,
    change: impl FnOnce(&mut commonhold_format::statement::Receipt),
) -> SignedNote {
    let mut receipt = trade.receipts[sequence as usize - 1].clone();
    change(&mut receipt);
    trade.both_sign(&receipt)
}

#[test]
fn an_honest_ledger_passes_and_says_what_was_checked() {
    let trade = Trade::honest();
    let report = trade.owner.shelf().with(&trade.evidence).verify();
    assert_eq!(report.findings, []);
    let kinds: Vec<(&str, u64)> = report.kinds.iter().map(|(kind, count)| (*kind, *count)).collect();
    assert_eq!(
        kinds,
        [
            ("audit-intent", 3),
            ("audit-record", 3),
            ("contract", 1),
            ("payment", 2),
            ("receipt", 3),
            ("revision", 3)
        ]
    );
    // Contract, revisions, receipts and payments have two each, the audits' notes one.
    assert_eq!(report.signatures, 2 * 9 + 6);
    assert_eq!((report.receipts, report.heads, report.audits, report.audits_silent), (3, 3, 2, 1));
    assert_eq!((report.audits_without_evidence, report.claims, report.tiles), (0, 0, 1));
    let said = report.unchecked.join("; ");
    assert!(said.contains("nobody cosigned") && said.contains("1 audits without an answer"), "{said}");
    assert_eq!(report.unchecked.len(), 2, "{said}");

    let report = trade.provider.shelf().verify();
    assert_eq!(report.findings, []);
    assert_eq!((report.receipts, report.heads, report.claims, report.kinds["trust"]), (3, 3, 1, 1));
    // Without their files, audits stand on the challenger's word, and that is said.
    let report = trade.owner.shelf().verify();
    assert_eq!((report.findings.len(), report.audits, report.audits_without_evidence), (0, 0, 2));
    assert!(report.unchecked.iter().any(|what| what.contains("2 audits without their evidence")));
}

#[test]
fn the_ledger_folder_itself_passes_while_its_node_runs() {
    let mut trade = Trade::honest();
    let mut source = commonhold_ledger::source::open(trade.owner.dir.path()).unwrap();
    let log = commonhold_ledger::verify::Log::load(&mut *source).unwrap();
    // The published head is of the beginning; the checkpoint has been written at the opening alone.
    assert_eq!(log.head.size, 0);
    trade.owner.ledger.publish().unwrap();
    trade.settle();
    let mut source = commonhold_ledger::source::open(trade.owner.dir.path()).unwrap();
    let mut log = commonhold_ledger::verify::Log::load(&mut *source).unwrap();
    assert_eq!(log.head.size, trade.owner.ledger.len() - 1);
    let report = commonhold_ledger::verify::verify(&mut log, &mut *source, &trade::PlainRules, 1).unwrap();
    assert_eq!(report.findings, []);
    assert_eq!(report.receipts, 3);
}

#[test]
fn attack_28_every_signature_that_is_removed_or_exchanged_is_named() {
    let trade = Trade::honest();
    let notes = trade.owner.notes();
    let stranger = key(66);
    for (at, note) in notes.iter().enumerate() {
        for removed in 0..note.signatures().len() {
            let line = note.signatures()[removed].clone();
            // Removed; a note needs one line, so a stranger's takes its place.
            let mut without = with_line(note, &stranger, true);
            without = keep(&without, |it| *it != line);
            let report = lie(&trade, |notes| notes[at] = without);
            let party = commonhold_format::note::party_of(&line.name).unwrap();
            // Whoever signs a payment or trust line first has it before the other signed.
            let second = match Statement::of(note).unwrap() {
                Statement::Payment(it) => Some(it.payer),
                Statement::Trust(it) => Some(it.creditor),
                _ => None,
            };
            if second == Some(party) {
                assert!(report.unchecked.iter().any(|it| it.contains("second signature")), "{report:?}");
                assert!(report.findings.iter().all(|it| it.entry != Some(at as u64)), "{report:?}");
            } else {
                names(&report, at, "lacks the signature of");
            }
            // Exchanged for one over another text.
            let signer = (1..=9).map(key).find(|key| key.id() == party).unwrap();
            let wrong = with_line(&keep(&with_line(note, &stranger, true), |it| *it != line), &signer, false);
            names(&lie(&trade, |notes| notes[at] = wrong), at, "is not valid");
        }
    }
}

/// The note with those lines alone.
fn keep(note: &SignedNote, wanted: impl Fn(&commonhold_format::note::NoteSignature) -> bool) -> SignedNote {
    let whole = String::from_utf8(note.to_bytes()).unwrap();
    let lines: Vec<&str> = whole[note.text().len() + 1..].lines().collect();
    let kept = lines.iter().zip(note.signatures()).filter(|(_, line)| wanted(line)).map(|(text, _)| *text);
    let all = format!("{}\n{}\n", note.text(), kept.collect::<Vec<_>>().join("\n"));
    SignedNote::parse(all.as_bytes()).unwrap()
}

#[test]
fn what_others_can_add_to_notes_is_no_finding() {
    let trade = Trade::honest();
    let notes = trade.owner.notes();
    for (at, note) in notes.iter().enumerate() {
        for (line, said) in
            [(with_line(note, &key(66), true), ""), (with_line(note, &key(66), false), "not valid")]
        {
            // The same statement once more, behind everything.
            let report = lie(&trade, |notes| notes.push(line.clone()));
            assert_eq!(report.findings, [], "entry {at} again");
            assert!(report.unchecked.iter().any(|what| what.contains(said)), "{:?}", report.unchecked);
        }
    }
    let report =
        lie(&trade, |notes| *notes = notes.iter().map(|note| with_line(note, &key(66), true)).collect());
    // Every head in a receipt is of the ledger without these lines.
    assert!(report.findings.iter().all(|it| it.what.contains("another root")), "{:?}", report.findings);
}

#[test]
fn attack_28_receipts_that_skip_go_back_or_miscount_are_named() {
    let trade = Trade::honest();
    let notes = trade.owner.notes();
    let [first, second, third] = [1, 2, 3].map(|sequence| receipt_of(&notes, sequence));
    names(&lie(&trade, |notes| drop(notes.remove(second))), third - 1, "receipt 3 follows receipt 1");
    let fewer = receipt_again(&trade, 2, |it| it.egress_bytes = 1);
    names(&lie(&trade, |notes| notes[second] = fewer), second, "went down");
    for wrong in [1, -1] {
        let note = receipt_again(&trade, 2, |it| {
            it.owed_microcredits = it.owed_microcredits.checked_add_signed(wrong).unwrap();
        });
        names(&lie(&trade, |notes| notes[second] = note), second, "amount");
    }
    // The order is exchanged.
    let report = lie(&trade, |notes| notes.swap(first, second));
    names(&report, first, "");
    // A second text for the same sequence, signed by both.
    let rival = receipt_again(&trade, 2, |it| it.audits_failed = 1);
    let report = lie(&trade, |notes| notes.push(rival));
    names(&report, notes.len(), "a second receipt");
    // One that an owner which comes back begins with is taken, and that is said; its provider has them all.
    let report = lie(&trade, |notes| drop(notes.remove(first)));
    let said = report.unchecked.join("; ");
    assert!(said.contains("receipts 1 to 1, which are not here"), "{said}");
    let mut kept = trade.provider.notes();
    let at = receipt_of(&kept, 1);
    kept.remove(at);
    let report = Shelf::of(&trade.provider.key, trade.provider.node, &kept).verify();
    names(&report, receipt_of(&kept, 2), "receipt 2 follows receipt 0");
}

#[test]
fn attack_32_a_head_in_a_receipt_that_is_not_in_this_ledger_is_named() {
    let trade = Trade::honest();
    let second = receipt_of(&trade.owner.notes(), 2);
    let larger = second as u64 + 1;
    for head in [(5, [7; 32]), (larger, trade.owner.ledger.root_at(larger).unwrap())] {
        let note = receipt_again(&trade, 2, |it| it.owner_head = head);
        names(&lie(&trade, |notes| notes[second] = note), second, "another root");
    }
    // An entry before it that was exchanged later shows in every receipt after it.
    let other = signed(
        Statement::Contract(Trade::between(Party::new(1), Party::new(3), 7).terms),
        &[&key(1), &key(3)],
    );
    let report = lie(&trade, |notes| notes.insert(1, other));
    for sequence in [1, 2, 3] {
        names(&report, receipt_of(&trade.owner.notes(), sequence) + 1, "another root");
    }
    // The head of another node of the owner's is not this ledger's business.
    let note = receipt_again(&trade, 3, |it| {
        it.owner_node = commonhold_format::ids::NodeId([99; 32]);
        it.owner_head = (5, [7; 32]);
    });
    let third = receipt_of(&trade.owner.notes(), 3);
    assert_eq!(lie(&trade, |notes| notes[third] = note).findings, []);
}

#[test]
fn attack_28_revisions_out_of_order_are_named() {
    let trade = Trade::honest();
    let notes = trade.owner.notes();
    let [first, second] = [1, 2].map(|sequence| revision_of(&notes, sequence));
    names(&lie(&trade, |notes| notes.swap(first, second)), second, "revision 1 follows revision 2");
    let mut late = trade.revisions[1].clone();
    late.time = trade.revisions[0].time - 1;
    let late = signed(Statement::Revision(late), &[&trade.owner.key, &trade.provider.key]);
    names(&lie(&trade, |notes| notes[second] = late), second, "time");
    // An owner may have come back in the middle; a provider has them all.
    let report = lie(&trade, |notes| drop(notes.remove(second)));
    assert!(report.unchecked.iter().any(|what| what.contains("revisions 2 to 2")), "{:?}", report.unchecked);
    let mut kept = trade.provider.notes();
    kept.remove(revision_of(&kept, 2));
    let report = Shelf::of(&trade.provider.key, trade.provider.node, &kept).verify();
    names(&report, revision_of(&kept, 3), "revisions 2 to 2, which are not here");
    // Before its contract.
    let report = lie(&trade, |notes| notes.swap(0, first));
    names(&report, 0, "does not stand before it");
}

#[test]
fn attack_27_an_audit_that_does_not_follow_from_its_evidence_is_named() {
    let mut trade = Trade::honest();
    let notes = trade.owner.notes();
    let is_record = |it: &Statement| matches!(it, Statement::AuditRecord(_));
    let (intent, record) =
        (find(&notes, |it| matches!(it, Statement::AuditIntent(_))), find(&notes, is_record));
    names(&lie(&trade, |notes| drop(notes.remove(intent))), record - 1, "was not announced");
    names(&lie(&trade, |notes| notes.swap(intent, record)), intent, "was not announced");

    let Ok(Statement::AuditRecord(honest)) = Statement::of(&notes[record]) else { panic!() };
    let again = |change: &dyn Fn(&mut commonhold_format::statement::AuditRecord)| {
        let mut changed = honest.clone();
        change(&mut changed);
        signed(Statement::AuditRecord(changed), &[&key(1)])
    };
    type Change = fn(&mut commonhold_format::statement::AuditRecord);
    let lies: [(Change, &str); 5] = [
        (|it| it.nonce = [77; 32], "nonce does not fit"),
        (|it| it.leaves = 63, "the audit does not hold"),
        (|it| it.revision = 1, "another contract, revision"),
        (|it| it.time = 1, "before the audit was announced"),
        (
            |it| {
                it.outcome = AuditOutcome::WrongBytes;
                it.lost_chunks = 1;
                it.leaves = 63;
            },
            "the audit does not hold",
        ),
    ];
    for (change, words) in lies {
        let note = again(&change);
        names(&lie(&trade, |notes| notes[record] = note.clone()), record, words);
        // Whether its evidence is at hand or not, as far as that is possible.
        if !words.contains("does not hold") {
            let mut notes = trade.owner.notes();
            notes[record] = note;
            names(&Shelf::of(&trade.owner.key, trade.owner.node, &notes).verify(), record, words);
        }
    }
    // A second outcome, and a second announcement.
    let second = again(&|it| it.time += 1);
    names(&lie(&trade, |notes| notes.push(second)), notes.len(), "was closed");
    let Ok(Statement::AuditIntent(mut announced)) = Statement::of(&notes[intent]) else { panic!() };
    announced.commitment = [5; 32];
    let second = signed(Statement::AuditIntent(announced.clone()), &[&key(1)]);
    names(&lie(&trade, |notes| notes.push(second)), notes.len(), "announced a second time");
    announced.epoch = 0;
    let late = signed(Statement::AuditIntent(announced), &[&key(1)]);
    names(&lie(&trade, |notes| notes.push(late)), notes.len(), "after audit 3");

    // Evidence that shows otherwise, or is of another audit.
    let (first, other) = (evidence_path(&honest), trade.evidence.values().nth(1).unwrap().clone());
    let genuine = trade.evidence[&first].clone();
    let other = if other == genuine { trade.evidence.values().next().unwrap().clone() } else { other };
    for bytes in [other, genuine[..genuine.len() - 1].to_vec(), vec![], [&genuine[..], &[0]].concat()] {
        trade.evidence.insert(first.clone(), bytes);
        names(&lie(&trade, |_| ()), record, "the audit does not hold");
    }
    for at in [10, genuine.len() / 2, genuine.len() - 10] {
        let mut flipped = genuine.clone();
        flipped[at] ^= 1;
        trade.evidence.insert(first.clone(), flipped);
        names(&lie(&trade, |_| ()), record, "the audit does not hold");
    }
    // The revision that it challenged is not there.
    trade.evidence.insert(first, genuine);
    let report = lie(&trade, |notes| drop(notes.remove(revision_of(notes, 2))));
    names(&report, record - 1, "revision 2, which it challenged");
}

#[test]
fn attack_31_claims_are_recomputed_and_what_cannot_be_is_said() {
    let trade = Trade::honest();
    let notes = trade.provider.notes();
    let at = find(&notes, |it| matches!(it, Statement::Claim(_)));
    let Ok(Statement::Claim(claim)) = Statement::of(&notes[at]) else { panic!() };
    let provider = |notes: &[SignedNote]| Shelf::of(&trade.provider.key, trade.provider.node, notes).verify();
    let mut more = claim.clone();
    more.byte_seconds += 1;
    let mut lied = notes.clone();
    lied[at] = signed(Statement::Claim(more), &[&trade.provider.key]);
    names(&provider(&lied), at, "does not follow");
    lied[at] = signed(Statement::Claim(claim.clone()), &[&trade.owner.key]);
    names(&provider(&lied), at, "lacks the signature");
    // In a provider's own ledger the revisions have to be there.
    let mut lied = notes.clone();
    lied.remove(revision_of(&notes, 2));
    names(&provider(&lied), at - 1, "cannot be recomputed");
    // In anybody else's the claim is then not checked, and that is no fault.
    let mut shown = trade.owner.notes();
    shown.retain(|note| !matches!(Statement::of(note), Ok(Statement::Revision(it)) if it.sequence == 2));
    shown.truncate(receipt_of(&shown, 2) + 1);
    let before = Shelf::of(&trade.owner.key, trade.owner.node, &shown).verify().findings.len();
    shown.push(signed(Statement::Claim(claim), &[&trade.provider.key]));
    let report = Shelf::of(&trade.owner.key, trade.owner.node, &shown).verify();
    assert_eq!((report.findings.len(), report.claims), (before, 0));
    assert!(report.unchecked.iter().any(|what| what.contains("revisions 1 to 3 are not all here")));
}

#[test]
fn payments_and_trust_lines_that_go_back_are_named() {
    let trade = Trade::honest();
    let notes = trade.owner.notes();
    let [first, second] = [1, 2].map(|sequence| {
        find(&notes, |it| matches!(it, Statement::Payment(payment) if payment.sequence == sequence))
    });
    let less = trade.payment(2, 499, trade.now);
    names(&lie(&trade, |notes| notes[second] = less), second, "went down");
    let earlier = trade.payment(2, 900, 5);
    names(&lie(&trade, |notes| notes[second] = earlier), second, "time");
    names(&lie(&trade, |notes| notes.swap(first, second)), second, "payment 1 follows payment 2");
    let rival = trade.payment(2, 901, trade.now);
    names(&lie(&trade, |notes| notes.push(rival)), notes.len(), "a second payment");
    let report = lie(&trade, |notes| drop(notes.remove(first)));
    assert!(report.unchecked.iter().any(|what| what.contains("payments 1 to 1")), "{:?}", report.unchecked);

    let mut lied = trade.provider.notes();
    lied.push(trade.trust(3, 5));
    lied.push(trade.trust(2, 5));
    let report = Shelf::of(&trade.provider.key, trade.provider.node, &lied).verify();
    names(&report, lied.len() - 1, "trust line 2 follows trust line 3");
}

#[test]
fn notes_that_say_nothing_known_are_named() {
    let trade = Trade::honest();
    let unknown = SignedNote::sign("commonhold/wish/v1\nwish: more\n".to_owned(), &key(1)).unwrap();
    let report = lie(&trade, |notes| notes.push(unknown));
    names(&report, trade.owner.notes().len(), "no statement");
    assert_eq!(report.kinds["unknown"], 1);
    // A ledger of thousands of them does not fill the memory with sentences.
    let many = |number| SignedNote::sign(format!("nothing {number}\n"), &key(1)).unwrap();
    let report = lie(&trade, |notes| notes.extend((0..1100).map(many)));
    assert_eq!((report.findings.len(), report.findings_more), (1000, 100));
}

#[test]
fn attack_34_a_ledger_about_others_is_said_to_be_one() {
    // Somebody puts its own head on the notes of two others.
    let trade = Trade::honest();
    let stranger = Party::new(50);
    let mut shelf = Shelf::of(&stranger.key, stranger.node, &trade.owner.notes()).with(&trade.evidence);
    let log = shelf.load().unwrap();
    assert_eq!(log.party, stranger.key.id());
    assert_eq!(log.accounts(&log.party), []);
    let report = shelf.verify();
    assert_eq!((report.findings.len(), report.heads), (0, 0));
    assert!(report.unchecked.iter().any(|what| what.contains("1 contracts are between others")));
}

#[test]
fn a_head_that_is_not_the_ledgers_own_is_refused() {
    let trade = Trade::honest();
    let honest = trade.owner.shelf();
    let refused = |change: &dyn Fn(&mut Shelf)| -> String {
        let mut shelf = honest.clone();
        change(&mut shelf);
        shelf.load().map(|log| log.head.size).unwrap_err()
    };
    let set = |shelf: &mut Shelf, note: &SignedNote| {
        shelf.0.insert("checkpoint".to_owned(), note.to_bytes());
    };
    let mut tree = GrowingTree::new();
    tree.extend(trade.owner.notes().iter().map(|note| commonhold_format::tree::leaf_hash(&note.to_bytes())));
    // Another party's signature under the owner's origin.
    let genuine = head(&trade.owner.key, trade.owner.node, &tree);
    let origin = genuine.text().lines().next().unwrap().to_owned();
    let forged = SignedNote::sign_as(genuine.text().to_owned(), &origin, &trade.provider.key).unwrap();
    assert!(refused(&|shelf| set(shelf, &forged)).contains("has not signed it"));
    // The head of another ledger of other notes.
    let theirs = SignedNote::parse(&trade.provider.shelf().0["checkpoint"]).unwrap();
    assert!(refused(&|shelf| set(shelf, &theirs)).contains("tile/entries/000"));
    // A wrong root, signed.
    tree.pop();
    tree.push([9; 32]);
    let wrong = head(&trade.owner.key, trade.owner.node, &tree);
    assert!(refused(&|shelf| set(shelf, &wrong)).contains("do not have the root"));
    // More entries than anybody could show.
    let huge = genuine.text().replacen(&format!("\n{}\n", tree.len()), "\n18446744073709551615\n", 1);
    let huge = SignedNote::sign_as(huge, &origin, &trade.owner.key).unwrap();
    assert!(refused(&|shelf| set(shelf, &huge)).contains("are more than"));
    assert!(refused(&|shelf| drop(shelf.0.remove("checkpoint"))).contains("no checkpoint"));
    assert!(
        refused(&|shelf| drop(shelf.0.insert("checkpoint".to_owned(), b"x".to_vec()))).contains("checkpoint")
    );
}

#[test]
fn entries_and_tiles_that_are_cut_or_changed_are_named() {
    let mut trade = Trade::honest();
    while trade.owner.ledger.len() < 600 {
        for _ in 0..100 {
            trade.audit(AuditOutcome::Offline);
        }
    }
    let honest = trade.owner.shelf();
    assert!(honest.0.contains_key("tile/0/001") && honest.0.contains_key("tile/1/000.p/2"));
    assert_eq!(honest.clone().with(&trade.evidence).verify().findings, []);
    let refused = |name: &str, change: &dyn Fn(&mut Vec<u8>)| -> String {
        let mut shelf = honest.clone();
        change(shelf.0.get_mut(name).unwrap());
        shelf.load().map(|log| log.head.size).unwrap_err()
    };
    for name in honest.0.keys().filter(|name| name.starts_with("tile/0") || name.starts_with("tile/1")) {
        for at in [0, 31, 32] {
            assert!(refused(name, &|tile| tile[at] ^= 1).contains(name.as_str()));
        }
        assert!(refused(name, &|tile| tile.truncate(tile.len() - 1)).contains(name.as_str()));
        assert!(
            refused(name, &|tile| tile.extend([0; 32])).contains(name.as_str())
                || honest.0[name].len() == 8192
        );
        // Those that are not shown follow from the entries.
        let mut shelf = honest.clone();
        shelf.0.remove(name);
        assert_eq!(shelf.load().unwrap().tiles + 1, honest.clone().load().unwrap().tiles);
    }
    let entries: Vec<&String> = honest.0.keys().filter(|name| name.starts_with("tile/entries")).collect();
    assert_eq!(entries.len(), 3);
    for name in &entries {
        let tile: TileId = name.parse().unwrap();
        assert!(refused(name, &|bundle| bundle.truncate(bundle.len() - 1)).contains(name.as_str()));
        assert!(refused(name, &|bundle| bundle.push(0)).contains(name.as_str()));
        let mut shelf = honest.clone();
        shelf.0.remove(*name);
        assert!(shelf.load().unwrap_err().contains(&format!("{name} is missing")));
        // An entry that is no note is named; one that was exchanged shows in the root.
        let edit = |at: usize, with: &[u8]| {
            refused(name, &|bundle| {
                let copy = bundle.clone();
                let mut notes = decode_entries(&copy, tile.width.into()).unwrap();
                notes[at] = with;
                *bundle = encode_entries(notes).unwrap();
            })
        };
        assert!(edit(3, b"").contains(&format!("entry {}", tile.first() + 3)));
        assert!(edit(2, b"no note").contains(&format!("entry {}", tile.first() + 2)));
        let other = with_line(&trade.owner.notes()[0], &key(66), true).to_bytes();
        let why = edit(4, &other);
        assert!(why.contains("do not have the root") || why.contains("tile/0"), "{why}");
    }
    // A bundle that is not full any more may be shown as the full one that took its place.
    let mut shelf = honest.clone();
    let partial = entries[2].clone();
    let tile: TileId = partial.parse().unwrap();
    let bundle = shelf.0.remove(&partial).unwrap();
    let mut notes = decode_entries(&bundle, tile.width.into()).unwrap();
    notes.resize(256, b"what came later");
    shelf.0.insert(TileId { width: 256, ..tile }.to_string(), encode_entries(notes).unwrap());
    assert_eq!(shelf.load().unwrap().head.size, trade.owner.ledger.len());
}

#[test]
fn cosignatures_are_told_from_lines_that_are_none() {
    let trade = Trade::honest();
    let mut note = SignedNote::parse(&trade.owner.shelf().0["checkpoint"]).unwrap();
    assert!(note.cosign(&trade.provider.key, 1_790_000_500));
    let with = |note: &SignedNote| {
        let mut shelf = trade.owner.shelf().with(&trade.evidence);
        shelf.0.insert("checkpoint".to_owned(), note.to_bytes());
        shelf.verify()
    };
    let report = with(&note);
    assert_eq!(report.findings, []);
    assert_eq!(report.cosignatures, [(trade.provider.key.id(), 1_790_000_500)]);
    assert!(!report.unchecked.iter().any(|what| what.contains("nobody cosigned")));
    // A cosignature of another head, and a plain signature where a cosignature belongs.
    let mut other = SignedNote::parse(&trade.provider.shelf().0["checkpoint"]).unwrap();
    assert!(other.cosign(&key(7), 5));
    let whole = String::from_utf8(other.to_bytes()).unwrap();
    let name = commonhold_format::note::party_name(&key(7).id());
    let line = whole.lines().find(|line| line.contains(&name)).unwrap();
    let foreign = String::from_utf8(note.to_bytes()).unwrap();
    let mut lines: Vec<&str> = foreign[note.text().len() + 1..].lines().chain([line]).collect();
    lines.sort_unstable();
    let foreign = format!("{}\n{}\n", note.text(), lines.join("\n"));
    for wrong in [SignedNote::parse(foreign.as_bytes()).unwrap(), with_line(&note, &key(7), true)] {
        let report = with(&wrong);
        assert_eq!(report.findings.len(), 1);
        assert!(report.findings[0].what.contains(&name), "{:?}", report.findings);
        assert_eq!(report.cosignatures.len(), 1);
    }
}
