//! What a crash, a cut, a flipped byte or an exchanged file does to a ledger at its next open.
#![allow(clippy::unwrap_used)]

mod people;

use std::fs;
use std::path::{Path, PathBuf};

use commonhold_format::note::SignedNote;
use commonhold_format::tree::empty_root;
use commonhold_ledger::{Ledger, LedgerError};
use people::{ORIGIN, key, open, text_note, try_open};
use tempfile::TempDir;

const HEADER_LEN: usize = 8;

/// A log of five notes, and a checkpoint over the first `covered` of them.
struct Sample {
    log: Vec<u8>,
    checkpoint: Vec<u8>,
    /// Where each frame ends; the header's end first.
    ends: Vec<usize>,
    notes: Vec<SignedNote>,
}

fn sample(covered: usize) -> Sample {
    let dir = TempDir::new().unwrap();
    let notes: Vec<SignedNote> = (0..5).map(text_note).collect();
    let ledger = open(dir.path());
    ledger.append_all(&notes[..covered]).unwrap();
    ledger.checkpoint().unwrap();
    let checkpoint = fs::read(dir.path().join("checkpoint")).unwrap();
    ledger.append_all(&notes[covered..]).unwrap();
    let log = fs::read(dir.path().join("log")).unwrap();
    let mut ends = vec![HEADER_LEN];
    for note in &notes {
        ends.push(ends[ends.len() - 1] + 8 + note.to_bytes().len());
    }
    assert_eq!(log.len(), ends[5]);
    Sample { log, checkpoint, ends, notes }
}

/// A folder with these files, as a crash would have left them.
fn folder(log: &[u8], checkpoint: Option<&[u8]>) -> TempDir {
    let dir = TempDir::new().unwrap();
    fs::write(dir.path().join("log"), log).unwrap();
    if let Some(checkpoint) = checkpoint {
        fs::write(dir.path().join("checkpoint"), checkpoint).unwrap();
    }
    dir
}

fn log_of(dir: &Path) -> PathBuf {
    dir.join("log")
}

fn read(ledger: &Ledger) -> Vec<SignedNote> {
    ledger.read(0, 100).unwrap().into_iter().map(|(_, note)| note).collect()
}

#[test]
fn attack_41_a_log_cut_anywhere_opens_with_the_intact_prefix() {
    let sample = sample(2);
    for cut in sample.ends[2]..=sample.log.len() {
        let dir = folder(&sample.log[..cut], Some(&sample.checkpoint));
        let ledger = open(dir.path());
        let intact = sample.ends.iter().filter(|end| **end <= cut).count() - 1;
        assert_eq!(read(&ledger), sample.notes[..intact], "cut at {cut}");
        // What comes next lands behind it and is there at the next open.
        let next = text_note(99);
        assert_eq!(ledger.append(&next).unwrap(), intact as u64);
        drop(ledger);
        assert_eq!(read(&open(dir.path())), [&sample.notes[..intact], &[next]].concat());
    }
}

#[test]
fn attack_41_a_cut_into_what_the_checkpoint_covers_is_truncation() {
    let sample = sample(4);
    for cut in 0..sample.ends[4] {
        let dir = folder(&sample.log[..cut], Some(&sample.checkpoint));
        let present = sample.ends[1..].iter().filter(|end| **end <= cut).count() as u64;
        match try_open(dir.path()) {
            Err(LedgerError::Truncated { file, expected: 4, found }) => {
                assert_eq!((file, found), (log_of(dir.path()), present), "cut at {cut}");
            }
            other => panic!("cut at {cut}: {other:?}"),
        }
        assert_eq!(fs::read(log_of(dir.path())).unwrap(), &sample.log[..cut], "the file was changed");
    }
}

#[test]
fn attack_41_a_log_that_is_gone_is_truncation() {
    let sample = sample(4);
    let dir = folder(&sample.log, Some(&sample.checkpoint));
    fs::remove_file(log_of(dir.path())).unwrap();
    assert!(matches!(try_open(dir.path()), Err(LedgerError::Truncated { expected: 4, found: 0, .. })));
}

#[test]
fn attack_41_a_flipped_bit_anywhere_is_found() {
    let sample = sample(3);
    for at in 0..sample.log.len() {
        for bit in [0x01, 0x10, 0x80] {
            let mut log = sample.log.clone();
            log[at] ^= bit;
            let dir = folder(&log, Some(&sample.checkpoint));
            match (at, try_open(dir.path())) {
                (..HEADER_LEN, Err(LedgerError::NotALedger { .. })) => {}
                (HEADER_LEN.., Err(LedgerError::Altered { file, entry: Some(entry), .. })) => {
                    assert_eq!(file, log_of(dir.path()));
                    let expected = sample.ends[1..].iter().filter(|end| **end <= at).count() as u64;
                    assert_eq!(entry, expected, "byte {at} ^ {bit:#x}");
                }
                // A length that now points beyond the end of a covered entry.
                (HEADER_LEN.., Err(LedgerError::Truncated { .. })) if at < sample.ends[3] => {}
                (_, other) => panic!("byte {at} ^ {bit:#x}: {other:?}"),
            }
            assert_eq!(fs::read(log_of(dir.path())).unwrap(), log, "the file was changed");
        }
    }
}

#[test]
fn attack_41_an_entry_exchanged_with_its_checksum_is_found_by_the_root() {
    let sample = sample(5);
    let forged = text_note(77).to_bytes();
    let mut log = sample.log[..sample.ends[1]].to_vec();
    log.extend((forged.len() as u32).to_be_bytes());
    log.extend(crc32c::crc32c(&forged).to_be_bytes());
    log.extend(&forged);
    log.extend(&sample.log[sample.ends[2]..]);
    let dir = folder(&log, Some(&sample.checkpoint));
    assert!(matches!(try_open(dir.path()), Err(LedgerError::Altered { entry: None, .. })));
    // Two entries that changed places, likewise.
    let [a, b, c] = [sample.ends[1], sample.ends[2], sample.ends[3]];
    let swapped = [&sample.log[..a], &sample.log[b..c], &sample.log[a..b], &sample.log[c..]].concat();
    let dir = folder(&swapped, Some(&sample.checkpoint));
    assert!(matches!(try_open(dir.path()), Err(LedgerError::Altered { entry: None, .. })));
}

#[test]
fn a_tail_of_zeros_is_torn_and_zeros_inside_are_not() {
    let sample = sample(2);
    // The file system had grown the file and not written it yet.
    for zeros in [1, 7, 8, 9, 600, 40_000] {
        let log = [&sample.log[..], &vec![0; zeros]].concat();
        let dir = folder(&log, Some(&sample.checkpoint));
        assert_eq!(read(&open(dir.path())), sample.notes, "{zeros} zeros");
        assert_eq!(fs::read(log_of(dir.path())).unwrap(), sample.log);
    }
    // The last frame reached the disk up to a sector's end.
    let sector = sample.log.len() / 512 * 512;
    assert!(sector > sample.ends[2], "the sample must reach into a further sector");
    let intact = sample.ends.iter().filter(|end| **end <= sector).count() - 1;
    let mut log = sample.log.clone();
    log[sector..].fill(0);
    let dir = folder(&log, Some(&sample.checkpoint));
    assert_eq!(read(&open(dir.path())), sample.notes[..intact]);
    // Zeros that do not start at a sector, or that do not go on to the end, are no torn write.
    let mut log = sample.log.clone();
    let last = log.len() - 1;
    log[last] = 0;
    assert!(matches!(
        try_open(folder(&log, Some(&sample.checkpoint)).path()),
        Err(LedgerError::Altered { entry: Some(4), .. })
    ));
    let mut log = sample.log.clone();
    log[sample.ends[3]..sample.ends[4]].fill(0);
    assert!(matches!(
        try_open(folder(&log, Some(&sample.checkpoint)).path()),
        Err(LedgerError::Altered { entry: Some(3), .. })
    ));
}

#[test]
fn a_torn_header_starts_anew_unless_a_checkpoint_covers_something() {
    let sample = sample(3);
    for len in 0..HEADER_LEN {
        let dir = folder(&sample.log[..len], None);
        let ledger = open(dir.path());
        assert_eq!((ledger.len(), ledger.root()), (0, empty_root()));
        assert_eq!(ledger.append(&sample.notes[0]).unwrap(), 0);
        drop(ledger);
        assert_eq!(read(&open(dir.path())), sample.notes[..1]);
    }
    let dir = folder(b"PK\x03\x04 something else", None);
    assert!(matches!(try_open(dir.path()), Err(LedgerError::NotALedger { .. })));
    let dir = folder(b"chledgr\x02", None);
    assert!(matches!(try_open(dir.path()), Err(LedgerError::NotALedger { .. })));
}

#[test]
fn a_checkpoint_that_is_not_this_ledgers_is_refused() {
    let sample = sample(3);
    let refused = |checkpoint: &[u8]| {
        let dir = folder(&sample.log, Some(checkpoint));
        match try_open(dir.path()) {
            Err(LedgerError::Checkpoint { file, .. }) => assert_eq!(file, dir.path().join("checkpoint")),
            other => panic!("{other:?}"),
        }
    };
    for at in 0..sample.checkpoint.len() {
        let mut flipped = sample.checkpoint.clone();
        flipped[at] ^= 1;
        refused(&flipped);
        refused(&sample.checkpoint[..at]);
    }
    refused(&vec![b'a'; 20_000]);
    let sign = |origin: &str, seed| {
        let head = commonhold_format::statement::Checkpoint {
            origin: origin.to_owned(),
            size: 0,
            root: empty_root(),
        };
        SignedNote::sign_as(head.to_text(), origin, &key(seed)).unwrap().to_bytes()
    };
    refused(&sign("another/ledger", 1));
    refused(&sign(ORIGIN, 2));
    let dir = folder(&sample.log, Some(&sign(ORIGIN, 1)));
    assert_eq!(open(dir.path()).len(), 5);
}

#[test]
fn attack_32_a_log_that_was_rewritten_from_an_older_copy_is_refused() {
    // The older copy went its own way: as long as the checkpoint, with other notes.
    let sample = sample(4);
    let dir = folder(&sample.log[..sample.ends[2]], None);
    let ledger = open(dir.path());
    ledger.append_all(&[text_note(50), text_note(51), text_note(52)]).unwrap();
    drop(ledger);
    fs::write(dir.path().join("checkpoint"), &sample.checkpoint).unwrap();
    assert!(matches!(try_open(dir.path()), Err(LedgerError::Altered { entry: None, .. })));
}

#[test]
fn a_temporary_checkpoint_of_a_crash_does_no_harm() {
    let sample = sample(3);
    let dir = folder(&sample.log, Some(&sample.checkpoint));
    fs::write(dir.path().join("checkpoint.tmp"), b"half a checkp").unwrap();
    assert_eq!(read(&open(dir.path())), sample.notes);
}

/// The size of a head on disk.
fn head_in(dir: &Path, name: &str) -> Option<(u64, Vec<u8>)> {
    let bytes = fs::read(dir.join(name)).ok()?;
    let note = SignedNote::parse(&bytes).unwrap();
    let head = commonhold_format::statement::Checkpoint::from_text(note.text()).unwrap();
    Some((head.size, bytes))
}

#[test]
fn attack_41_heads_that_were_signed_are_continued_after_a_crash_at_any_point() {
    // Every state that the folder goes through while notes are appended and heads published, and the log
    // cut anywhere behind what was answered for.
    let dir = TempDir::new().unwrap();
    let ledger = open(dir.path());
    let mut states: Vec<(Vec<u8>, u64)> = Vec::new();
    for number in 0..6u64 {
        ledger.append(&text_note(number)).unwrap();
        states.push((fs::read(log_of(dir.path())).unwrap(), ledger.len()));
        if number % 2 == 1 {
            let shown = ledger.publish().unwrap();
            assert_eq!(ledger.published(), Some(shown));
        }
        let (published, note) = head_in(dir.path(), "published").unwrap();
        let (checkpoint, saved) = head_in(dir.path(), "checkpoint").unwrap();
        assert!(published <= checkpoint && checkpoint <= ledger.len());
        let (log, _) = states.last().unwrap();
        let next = text_note(number + 1).to_bytes();
        let next =
            [&(next.len() as u32).to_be_bytes()[..], &crc32c::crc32c(&next).to_be_bytes(), &next].concat();
        for torn in (0..next.len()).step_by(61) {
            let crashed = folder(&[log, &next[..torn]].concat(), Some(&saved));
            fs::write(crashed.path().join("published"), &note).unwrap();
            let after = open(crashed.path());
            assert_eq!(after.len(), number + 1);
            // What is shown is what was shown, until it is published anew.
            assert_eq!(after.published().unwrap().to_bytes(), note);
            after.append(&text_note(50)).unwrap();
            after.publish().unwrap();
            let (again, _) = head_in(crashed.path(), "published").unwrap();
            assert_eq!(again, number + 2);
            assert!(after.consistency(published, again).is_some());
        }
    }
    // An older log under a head that was shown: refused, and nothing is changed.
    let (_, note) = head_in(dir.path(), "published").unwrap();
    for (log, len) in &states {
        for saved in [None, head_in(dir.path(), "checkpoint").map(|(_, bytes)| bytes)] {
            let crashed = folder(log, saved.as_deref());
            fs::write(crashed.path().join("published"), &note).unwrap();
            let before = (fs::read(log_of(crashed.path())).unwrap(), head_in(crashed.path(), "checkpoint"));
            match try_open(crashed.path()) {
                Ok(ledger) => assert_eq!((*len, ledger.len()), (6, 6)),
                Err(LedgerError::Truncated { expected: 6, found, .. }) => {
                    assert_eq!(found, *len);
                    let after =
                        (fs::read(log_of(crashed.path())).unwrap(), head_in(crashed.path(), "checkpoint"));
                    assert_eq!(before, after);
                }
                Err(other) => panic!("{other:?}"),
            }
        }
    }
}

#[test]
fn attack_32_a_log_that_does_not_continue_what_was_shown_is_refused() {
    let dir = TempDir::new().unwrap();
    let ledger = open(dir.path());
    ledger.append_all(&[text_note(0), text_note(1)]).unwrap();
    ledger.publish().unwrap();
    let (_, shown) = head_in(dir.path(), "published").unwrap();
    // Another history with a checkpoint of its own, longer than what was shown.
    let other = TempDir::new().unwrap();
    let ledger = open(other.path());
    ledger.append_all(&[text_note(0), text_note(7), text_note(8)]).unwrap();
    drop(ledger);
    let before = fs::read(other.path().join("checkpoint")).unwrap();
    fs::write(other.path().join("published"), shown).unwrap();
    assert!(matches!(try_open(other.path()), Err(LedgerError::Altered { entry: None, .. })));
    assert_eq!(fs::read(other.path().join("checkpoint")).unwrap(), before);
}

#[test]
fn heads_that_are_published_at_once_never_go_back() {
    let dir = TempDir::new().unwrap();
    let ledger = open(dir.path());
    let highest = std::sync::atomic::AtomicU64::new(0);
    std::thread::scope(|scope| {
        for thread in 0..4u64 {
            let (ledger, highest, dir) = (&ledger, &highest, dir.path());
            scope.spawn(move || {
                for number in 0..20 {
                    ledger.append(&text_note(thread * 100 + number)).unwrap();
                    let before = highest.load(std::sync::atomic::Ordering::SeqCst);
                    let note = ledger.publish().unwrap();
                    let head = commonhold_format::statement::Checkpoint::from_text(note.text()).unwrap();
                    assert!(head.size >= before, "{} after {before}", head.size);
                    highest.fetch_max(head.size, std::sync::atomic::Ordering::SeqCst);
                    let (on_disk, _) = head_in(dir, "published").unwrap();
                    assert!(on_disk >= head.size);
                }
            });
        }
    });
    assert_eq!(head_in(dir.path(), "published").unwrap().0, 80);
}

#[test]
fn a_cosignature_is_taken_alone_and_kept() {
    let dir = TempDir::new().unwrap();
    let ledger = open(dir.path());
    ledger.append(&text_note(0)).unwrap();
    let shown = ledger.publish().unwrap();
    let mut cosigned = shown.clone();
    assert!(cosigned.cosign(&key(5), 1_790_000_000));
    // A witness that answers with more than its own: a line of somebody else, and one under its own
    // name that is no cosignature.
    let name = commonhold_format::note::party_name(&key(5).id());
    let whole = String::from_utf8(cosigned.to_bytes()).unwrap();
    let mut lines: Vec<String> = whole[shown.text().len() + 1..].lines().map(str::to_owned).collect();
    lines.push(format!("\u{2014} {name} {}", "/".repeat(12)));
    lines.push(format!("\u{2014} {} {}", commonhold_format::note::party_name(&key(6).id()), "A".repeat(100)));
    // By name, then by the key's id.
    lines.sort_by_key(|line| {
        let (rest, blob) = line.rsplit_once(' ').unwrap();
        (rest.to_owned(), data_encoding::BASE64.decode(blob.as_bytes()).unwrap())
    });
    let answer = format!("{}\n{}\n", shown.text(), lines.join("\n"));
    let answer = SignedNote::parse(answer.as_bytes()).unwrap();
    assert_eq!(answer.signatures().len(), 4);
    assert!(!ledger.add_cosignature(&answer, &key(6).id()).unwrap());
    assert_eq!(ledger.published(), Some(shown.clone()));
    assert!(ledger.add_cosignature(&answer, &key(5).id()).unwrap());
    assert!(ledger.add_cosignature(&answer, &key(5).id()).unwrap());
    assert_eq!(ledger.published(), Some(cosigned.clone()));
    // Of another head it is not taken.
    ledger.append(&text_note(1)).unwrap();
    ledger.publish().unwrap();
    assert!(!ledger.add_cosignature(&cosigned, &key(5).id()).unwrap());
    let last = ledger.published().unwrap();
    assert_eq!(last.signatures().len(), 1);
    let mut cosigned = last.clone();
    assert!(cosigned.cosign(&key(5), 1_790_000_001));
    assert!(ledger.add_cosignature(&cosigned, &key(5).id()).unwrap());
    drop(ledger);
    assert_eq!(open(dir.path()).published(), Some(cosigned));
}
