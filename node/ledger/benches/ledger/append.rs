//! Row `append`: notes a second that are durable when they are answered for.

use std::fs::File;
use std::io::Write;
use std::thread;
use std::time::Instant;

use commonhold_format::note::SignedNote;

use crate::Plan;
use crate::ground::Ground;
use crate::measure::{self, Contestant};
use crate::{stock, trade};

/// Threads that append and wait, each for itself.
const THREADS: &[usize] = &[1, 8, 64, 256];
/// Notes of a group that is appended at once.
const GROUPS: &[usize] = &[16, 256];
/// A thread alone waits for a sync for each note: so many are enough.
const NOTES_EACH_MAX: usize = 250;

pub(crate) fn run(ground: &Ground, plan: &Plan) {
    let (owner, node) = (trade::key(1), stock::node(1));
    let notes: Vec<SignedNote> = {
        let plot = ground.plot();
        let ledger = stock::open(plot.path(), &owner, node);
        stock::fill(&ledger, &owner, node, plan.appended);
        let all = (0..ledger.len()).step_by(1000).flat_map(|from| ledger.read(from, 1000).unwrap());
        all.map(|(_, note)| note).take(plan.appended).collect()
    };
    let bytes: usize = notes.iter().map(|note| note.to_bytes().len()).sum();
    println!("notes of {} bytes in the mean, signed beforehand", bytes / notes.len());

    let plain = Contestant::new("plain file, a write and a sync for 256 notes", || {
        let plot = ground.plot();
        let mut file = File::create(plot.path().join("log")).unwrap();
        let begun = Instant::now();
        for group in notes.chunks(256) {
            let bytes: Vec<u8> = group.iter().flat_map(SignedNote::to_bytes).collect();
            file.write_all(&bytes).unwrap();
            file.sync_data().unwrap();
        }
        notes.len() as f64 / begun.elapsed().as_secs_f64()
    });
    let threads = THREADS.iter().map(|count| {
        let notes = &notes[..notes.len().min(count * NOTES_EACH_MAX)];
        Contestant::new(format!("{count} threads, each waits for its note"), move || {
            let plot = ground.plot();
            let ledger = stock::open(plot.path(), &trade::key(1), stock::node(1));
            let begun = Instant::now();
            thread::scope(|scope| {
                for share in notes.chunks(notes.len().div_ceil(*count)) {
                    let ledger = &ledger;
                    scope.spawn(move || share.iter().for_each(|note| assert!(ledger.append(note).is_ok())));
                }
            });
            let seconds = begun.elapsed().as_secs_f64();
            assert_eq!(ledger.len(), notes.len() as u64);
            notes.len() as f64 / seconds
        })
    });
    let groups = GROUPS.iter().map(|count| {
        let notes = &notes;
        Contestant::new(format!("one thread, {count} notes at once"), move || {
            let plot = ground.plot();
            let ledger = stock::open(plot.path(), &trade::key(1), stock::node(1));
            let begun = Instant::now();
            notes.chunks(*count).for_each(|group| drop(ledger.append_all(group).unwrap()));
            notes.len() as f64 / begun.elapsed().as_secs_f64()
        })
    });
    let contestants: Vec<Contestant<'_>> = std::iter::once(plain).chain(threads).chain(groups).collect();
    let outcomes = measure::take_turns(plan.rounds, &contestants);
    measure::print("notes/s", &outcomes);
    let shared =
        outcomes.iter().skip(1).take(THREADS.len()).map(measure::Outcome::median).fold(0.0, f64::max);
    measure::print_target("notes a second with shared syncs", shared, "20000 or more");
}
