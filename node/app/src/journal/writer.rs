//! The thread that writes.

use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use super::files::Files;
use super::gate::Gate;
use super::line::{LINE_LEN_MAX, Line};
use crate::clock::unix_milliseconds;

/// How long what was written may stay unseen, and how often omissions are looked for.
const PAUSE: Duration = Duration::from_secs(1);

/// Writes what comes until there is nobody left who could send.
pub fn run(mut files: Files, queue: &Receiver<Line>, gate: &Gate) {
    let mut well = true;
    loop {
        let next = match queue.try_recv() {
            Ok(line) => Ok(line),
            // There is a moment: what was written so far can be seen.
            Err(_) => {
                tell(&mut well, files.flush());
                queue.recv_timeout(PAUSE)
            }
        };
        let now = unix_milliseconds();
        let over = matches!(next, Err(RecvTimeoutError::Disconnected));
        if let Ok(line) = next {
            let weight = line.weight();
            let written = write(&mut files, &line);
            match &written {
                Ok(()) => gate.written(weight),
                Err(_) => gate.dropped(weight, now / 1000),
            }
            tell(&mut well, written);
        }
        // A disk that takes no lines takes no line about them either.
        if well && let Some(what) = gate.omitted(now / 1000, over) {
            tell(&mut well, write(&mut files, &Line { time: now, what }));
        }
        if over {
            tell(&mut well, files.flush());
            return;
        }
    }
}

fn write(files: &mut Files, line: &Line) -> std::io::Result<()> {
    let mut bytes = serde_json::to_vec(line)?;
    bytes.push(b'\n');
    if bytes.len() > LINE_LEN_MAX {
        return Err(std::io::Error::other("a line is too long to be kept"));
    }
    files.append(&bytes, line.time / 1000)
}

/// The operator reads once that the disk takes nothing, not with each line.
fn tell(well: &mut bool, outcome: std::io::Result<()>) {
    match outcome {
        Ok(()) => *well = true,
        Err(error) => {
            if *well {
                tracing::warn!(%error, "the journal cannot be written; decisions are not noted meanwhile");
            }
            *well = false;
        }
    }
}
