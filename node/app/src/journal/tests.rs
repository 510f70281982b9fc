//! The journal's files: what is written is read back, within its bounds, whatever became of the files.
//!
//! Invariant: no test here needs a node. Not here: what a backtest makes of it.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::os::unix::fs::PermissionsExt;

use commonhold_engine::policy::BuiltIn;
use commonhold_format::policy::{
    Address, AdmitOffer, Candidate, ChooseCode, CodeAnswer, Dial, Fetch, Key, Limit, Policy, Purpose, Rank,
    Source,
};
use commonhold_host::Fault;
use proptest::prelude::*;

use super::files::{Name, day_of};
use super::line::LINE_LEN_MAX;
use super::trim::CANDIDATES_MAX;
use super::*;
use crate::config::{ByteSize, Term};

fn config(size: u64) -> JournalConfig {
    JournalConfig { keep: Term(90 * 86_400), size: ByteSize(size) }
}

fn question() -> Question {
    Limit::default().into()
}

fn noted(count: usize, dir: &Path) {
    let journal = Journal::open(dir, &config(1 << 20)).unwrap();
    for _ in 0..count {
        journal.decided(&question(), &BuiltIn.answer(&question()), &Decider::Default);
    }
}

fn candidates(len: usize) -> Vec<Candidate> {
    (0..len as u64)
        .map(|at| Candidate {
            node: Key([at as u8; 32]),
            lot: at * 7 % 1000,
            free_bytes: 5,
            ..Default::default()
        })
        .collect()
}

fn rank(len: usize, taken: usize) -> Rank {
    Rank {
        now: Default::default(),
        purpose: Purpose::Use,
        code: CodeAnswer { k: 2, n: 6 },
        holders: 6,
        chunk_len: 1 << 20,
        taken: candidates(taken),
        candidates: candidates(len),
    }
}

#[test]
fn what_is_noted_is_read_again_in_order() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("journal");
    let by = [
        Decider::Default,
        Decider::Plugin { name: "spread".to_owned(), version: "1.0.0".to_owned() },
        Decider::Fallback { name: "spread".to_owned(), fault: Fault::Other("out of fuel\n".repeat(100)) },
    ];
    {
        let journal = Journal::open(&dir, &config(1 << 20)).unwrap();
        for by in &by {
            let question = AdmitOffer { bytes: u64::MAX, account: i64::MIN, ..Default::default() }.into();
            journal.decided(&question, &BuiltIn.answer(&question), by);
        }
    }
    let history = read(&dir).unwrap();
    assert_eq!((history.damaged, history.torn, history.omitted), (0, 0, 0));
    let found: Vec<By> = history
        .lines
        .iter()
        .map(|line| match &line.what {
            What::Decision { question: Question::AdmitOffer(ask), by, left_out: 0, .. } => {
                assert_eq!((ask.bytes, ask.account), (u64::MAX, i64::MIN));
                by.clone()
            }
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(found, by.each_ref().map(|by| By::from(by).cut()));
    assert!(matches!(&found[2], By::Fallback { reason, .. } if reason.chars().count() == WORDS_MAX));
    assert_eq!(fs::metadata(&dir).unwrap().permissions().mode() & 0o777, 0o700);
    for (name, _) in files::list(&dir).unwrap() {
        let mode = fs::metadata(files::path(&dir, &name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}

#[test]
fn transfers_are_timed_also_those_that_fail_or_are_given_up() {
    let temp = tempfile::tempdir().unwrap();
    let node = NodeId([5; 32]);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    {
        let journal = Journal::open(temp.path(), &config(1 << 20)).unwrap();
        runtime.block_on(async {
            let whole = journal.fetched(node, async { Ok::<_, String>(vec![0; 7]) }).await;
            assert_eq!(whole.unwrap().len(), 7);
            journal.fetched(node, async { Err::<Vec<u8>, _>("it is gone") }).await.unwrap_err();
            journal.sent(node, 9, async { Ok::<_, String>(()) }).await.unwrap();
            let forever = journal.fetched(node, std::future::pending::<Result<Vec<u8>, String>>());
            tokio::time::timeout(std::time::Duration::from_millis(20), forever).await.unwrap_err();
        });
    }
    let lines = read(temp.path()).unwrap().lines;
    let [
        What::Fetched { moved: whole },
        What::Fetched { moved: failed },
        What::Sent { moved: sent },
        What::Fetched { moved: given_up },
    ] = [0, 1, 2, 3].map(|at: usize| lines[at].what.clone())
    else {
        panic!("{lines:?}")
    };
    assert!(whole.is_whole() && whole.bytes == 7 && whole.node == node.into());
    assert!(!failed.is_whole() && failed.error.unwrap() == "it is gone");
    assert!(sent.is_whole() && sent.bytes == 9);
    assert!(given_up.given_up && given_up.ms >= 20 && !given_up.is_whole());
}

#[test]
fn more_than_goes_in_a_second_is_counted() {
    let temp = tempfile::tempdir().unwrap();
    noted(5000, temp.path());
    let history = read(temp.path()).unwrap();
    let decisions = history.lines.iter().filter(|it| matches!(it.what, What::Decision { .. })).count();
    assert_eq!(decisions as u64 + history.omitted, 5000);
    assert!(history.omitted > 0, "5000 lines took {decisions} seconds / 50");
}

#[test]
fn what_waits_is_bounded_and_counted() {
    let gate = gate::Gate::default();
    let most = Rate { second: u32::MAX, hour: u32::MAX };
    let admitted = (0..1000).filter(|_| gate.admit("rank", most, 257, 5)).count();
    assert!(admitted < 200, "{admitted}");
    assert_eq!(gate.omitted(64, false), None, "the minute is not over");
    let Some(What::Omitted { queue, rate }) = gate.omitted(65, false) else { panic!("nothing is said") };
    assert_eq!((queue, rate.len()), (1000 - admitted as u64, 0));
    assert_eq!(gate.omitted(1000, true), None, "it is said once");
    gate.written(257);
    assert!(gate.admit("rank", most, 257, 1000));
}

#[test]
fn no_kind_of_line_takes_the_room_of_the_others() {
    let gate = gate::Gate::default();
    let most = Rate { second: 2, hour: 5 };
    let admit = |name, second| {
        let goes = gate.admit(name, most, 1, second);
        if goes {
            gate.written(1);
        }
        goes
    };
    let first: Vec<bool> = [7200, 7200, 7200, 7201, 7201, 7202, 7203].map(|at| admit("quote", at)).to_vec();
    assert_eq!(first, [true, true, false, true, true, true, false]);
    assert!(admit("rank", 7203), "another kind");
    assert!(admit("quote", 10_800), "another hour");
    let Some(What::Omitted { queue: 0, rate }) = gate.omitted(10_800, false) else { panic!() };
    assert_eq!(rate["quote"], 2);
}

#[test]
fn a_torn_line_is_passed_over_and_harms_no_other() {
    let temp = tempfile::tempdir().unwrap();
    noted(2, temp.path());
    let name = files::list(temp.path()).unwrap().pop().unwrap().0;
    let path = files::path(temp.path(), &name);
    let mut bytes = fs::read(&path).unwrap();
    bytes.truncate(bytes.len() - 20);
    fs::write(&path, &bytes).unwrap();
    let history = read(temp.path()).unwrap();
    assert_eq!((history.lines.len(), history.torn, history.damaged), (1, 1, 0));
    noted(1, temp.path());
    let history = read(temp.path()).unwrap();
    assert_eq!((history.lines.len(), history.torn, history.damaged), (2, 0, 1));
    let mut long = bytes.clone();
    long.extend(vec![b'x'; 2 * LINE_LEN_MAX + 5]);
    long.extend(b"\n");
    long.extend(&bytes);
    fs::write(&path, &long).unwrap();
    let history = read(temp.path()).unwrap();
    assert_eq!((history.lines.len(), history.torn), (2, 1), "one before and one after the long line");
}

#[test]
fn all_files_together_stay_within_their_bytes_and_days() {
    const SIZE: u64 = 1 << 20;
    let temp = tempfile::tempdir().unwrap();
    let begin = 1_750_000_000;
    let mut files = Files::open(temp.path(), SIZE, 10 * 86_400, begin).unwrap();
    let line = [vec![b'x'; 9_999], vec![b'\n']].concat();
    let long = [vec![b'x'; LINE_LEN_MAX - 1], vec![b'\n']].concat();
    let total = |dir: &Path| files::list(dir).unwrap().iter().map(|(_, bytes)| bytes).sum::<u64>();
    for turn in 0..400 {
        // A day of many lines, a clock that goes back, lines of all lengths.
        let now = begin + if turn % 50 == 49 { 0 } else { turn / 100 * 86_400 };
        files.append(if turn % 37 == 0 { &long } else { &line }, now).unwrap();
        files.flush().unwrap();
        assert!(total(temp.path()) <= SIZE, "turn {turn}: {}", total(temp.path()));
    }
    assert!(total(temp.path()) > SIZE / 4, "it keeps what it may");
    files.append(&line, begin + 60 * 86_400).unwrap();
    files.flush().unwrap();
    let left = files::list(temp.path()).unwrap();
    assert_eq!(left, [(Name { day: day_of(begin + 60 * 86_400), part: 1 }, 10_000)]);
    drop(files);
    // Nothing of it is touched that is not the journal's.
    fs::write(temp.path().join("letter.jsonl"), "x").unwrap();
    Files::open(temp.path(), SIZE, 1, begin + 600 * 86_400).unwrap();
    assert!(files::list(temp.path()).unwrap().is_empty());
    assert!(temp.path().join("letter.jsonl").exists());
}

#[test]
fn a_long_question_is_cut_and_still_fits_its_answer() {
    let long = [
        Question::from(rank(10_000, 300)),
        ChooseCode { now: Default::default(), candidates: candidates(300) }.into(),
        Dial { now: Default::default(), peer: Key([1; 32]), addresses: vec![Address::default(); 400] }.into(),
        Fetch {
            now: Default::default(),
            purpose: Purpose::Use,
            k: 100,
            n: 255,
            chunk_len: 5,
            sources: vec![Source::default(); 1000],
        }
        .into(),
    ];
    for question in long {
        let answer = BuiltIn.answer(&question);
        let (cut, short, left_out) = trim::trim(&question, &answer);
        cut.check(&short).unwrap();
        assert!(left_out > 0 && trim::weight(&cut) <= 2 * CANDIDATES_MAX + 1);
        assert_eq!(trim::weight(&cut), trim::weight(&question));
        let line = Line {
            time: u64::MAX,
            what: What::Decision { question: cut.clone(), answer: short.clone(), by: By::Default, left_out },
        };
        assert!(serde_json::to_vec(&line).unwrap().len() < LINE_LEN_MAX);
        if let (Question::Rank(before), Answer::Ranking(all), Question::Rank(after), Answer::Ranking(order)) =
            (&question, &answer, &cut, &short)
        {
            let named = |rank: &Rank, order: &[u32]| -> Vec<Candidate> {
                order.iter().take(CANDIDATES_MAX).map(|at| rank.candidates[*at as usize].clone()).collect()
            };
            assert_eq!(named(before, all), named(after, order), "those that were chosen are still there");
        }
        assert_eq!(trim::trim(&cut, &short), (cut, short, 0), "what is short is left as it is");
    }
}

#[test]
fn nothing_is_made_when_it_is_off() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("journal");
    let journal = Journal::open(&dir, &JournalConfig { size: ByteSize(0), ..config(0) }).unwrap();
    journal.decided(&question(), &BuiltIn.answer(&question()), &Decider::Default);
    drop(journal);
    assert!(!dir.exists());
    assert!(read(&dir).unwrap().lines.is_empty());
    Journal::off().decided(&question(), &BuiltIn.answer(&question()), &Decider::Default);
}

proptest! {
    #[test]
    fn no_bytes_make_the_reader_fail(bytes in proptest::collection::vec(any::<u8>(), 0..4000)) {
        let mut history = History::default();
        history.take(&mut &bytes[..]).unwrap();
        let breaks = bytes.iter().filter(|byte| **byte == b'\n').count() as u64;
        prop_assert_eq!(history.lines.len() as u64 + history.damaged, breaks);
    }

    #[test]
    fn no_change_of_a_line_makes_the_reader_fail(
        at in 0_usize..4000,
        with in proptest::collection::vec(any::<u8>(), 0..6),
        without in 0_usize..6,
    ) {
        let line = Line {
            time: 1,
            what: What::Decision {
                question: rank(3, 1).into(),
                answer: Answer::Ranking(vec![2, 0]),
                by: By::Default,
                left_out: 0,
            },
        };
        let mut bytes = serde_json::to_vec(&line).unwrap();
        bytes.push(b'\n');
        let at = at % bytes.len();
        let end = (at + without).min(bytes.len());
        bytes.splice(at..end, with);
        let mut history = History::default();
        history.take(&mut &bytes[..]).unwrap();
        // Whatever was read can be written and read again.
        for line in &history.lines {
            let bytes = serde_json::to_vec(line).unwrap();
            prop_assert_eq!(&serde_json::from_slice::<Line>(&bytes).unwrap(), line);
        }
    }

    #[test]
    fn names_survive_their_text(day in 0_u64..250_000_000_000, part in 1_u32..1_000_000) {
        let name = Name { day: day_of(day), part };
        prop_assert_eq!(Name::parse(&format!("{name}.jsonl")), Some(name));
    }
}
