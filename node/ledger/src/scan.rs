//! Reading a whole log at open: which entries are there, and whether its end is torn or altered.
//!
//! Invariant: only what a stopped machine leaves behind counts as torn (a frame that the file ends
//! in, or one that turns to zeros at a sector boundary and stays zero to the end); everything else
//! that does not decode was altered, and is never cut off. Not here: repairing.

use std::io::{self, BufReader, Read};

use commonhold_format::note::{NOTE_LEN_MAX, SignedNote};

use crate::frame::{FRAME_HEAD_LEN, FrameHead, HEADER};

/// Disks write whole sectors: where a write was torn, the zeros start at a multiple of this.
const SECTOR_LEN: u64 = 512;

/// How a log ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// With a whole frame.
    Clean,
    /// With a torn frame; the file has this many bytes.
    Torn { file_len: u64 },
    /// The bytes after the last good frame are not what was written.
    Altered,
    /// The header is not this version's.
    Foreign,
}

/// What a scan found. Good entries were handed to the caller one by one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Scan {
    /// Where the last good frame ends; 0 when even the header is short.
    pub(crate) good_len: u64,
    pub(crate) end: End,
}

/// Reads a log from its start. `entry` gets the offset of each note in the file (behind the frame's
/// head) and its bytes, and answers whether they are a note.
pub(crate) fn scan(log: impl Read, mut entry: impl FnMut(u64, &[u8]) -> bool) -> io::Result<Scan> {
    let mut log = BufReader::with_capacity(256 * 1024, log);
    let mut header = [0; HEADER.len()];
    let got = fill(&mut log, &mut header)?;
    if got < HEADER.len() {
        let torn = HEADER.starts_with(&header[..got]) || header[..got].iter().all(|byte| *byte == 0);
        let end = if torn { End::Torn { file_len: got as u64 } } else { End::Foreign };
        return Ok(Scan { good_len: 0, end });
    }
    if header != HEADER {
        let rest_is_zero = header == [0; HEADER.len()] && zeros_to_end(&mut log)?.is_some();
        let end = if rest_is_zero { End::Torn { file_len: u64::MAX } } else { End::Foreign };
        return Ok(Scan { good_len: 0, end });
    }
    let mut good_len = HEADER.len() as u64;
    let mut bytes = Vec::new();
    loop {
        // Head and note of one frame, as far as they are there.
        bytes.clear();
        bytes.resize(FRAME_HEAD_LEN, 0);
        let got = fill(&mut log, &mut bytes)?;
        bytes.truncate(got);
        if got == 0 {
            return Ok(Scan { good_len, end: End::Clean });
        }
        if let Some(head) =
            bytes.first_chunk().copied().map(FrameHead::from_bytes).filter(FrameHead::is_bounded)
        {
            bytes.resize(FRAME_HEAD_LEN + head.len as usize, 0);
            let got = fill(&mut log, &mut bytes[FRAME_HEAD_LEN..])?;
            bytes.truncate(FRAME_HEAD_LEN + got);
            let note = &bytes[FRAME_HEAD_LEN..];
            if head.fits(note) {
                if !entry(good_len + FRAME_HEAD_LEN as u64, note) {
                    return Ok(Scan { good_len, end: End::Altered });
                }
                good_len += bytes.len() as u64;
                continue;
            }
        }
        return Ok(Scan { good_len, end: judge_end(&mut log, &bytes, good_len)? });
    }
}

/// Torn or altered: `frame` is what was read of the frame at `start` that did not decode.
fn judge_end(log: &mut impl Read, frame: &[u8], start: u64) -> io::Result<End> {
    let read_to = start + frame.len() as u64;
    let mut more = [0];
    let at_end = fill(log, &mut more)? == 0;
    let head = frame.first_chunk().copied().map(FrameHead::from_bytes);
    let short = match head {
        None => true,
        Some(head) => head.is_bounded() && frame.len() < FRAME_HEAD_LEN + head.len as usize,
    };
    if at_end && short {
        let whole = head.is_some_and(|head| hides_a_note(&head, &frame[FRAME_HEAD_LEN..]));
        return Ok(if whole { End::Altered } else { End::Torn { file_len: read_to } });
    }
    let nonzero = frame.iter().rposition(|byte| *byte != 0).map_or(0, |at| at as u64 + 1);
    let zeros_from = (start + nonzero).next_multiple_of(SECTOR_LEN);
    // A frame of zeros alone needs no sector boundary: nothing of it was ever written.
    let zeros_in_frame = nonzero == 0 || zeros_from < read_to;
    let rest = if at_end {
        Some(0)
    } else if more == [0] {
        zeros_to_end(log)?.map(|rest| rest + 1)
    } else {
        None
    };
    Ok(match rest {
        Some(rest) if zeros_in_frame => End::Torn { file_len: read_to + rest },
        _ => End::Altered,
    })
}

/// Whether a frame that seems cut off holds a whole note with the right checksum, so that it is the
/// length that was altered.
fn hides_a_note(head: &FrameHead, bytes: &[u8]) -> bool {
    let mut crc = 0;
    bytes.iter().enumerate().any(|(at, byte)| {
        crc = crc32c::crc32c_append(crc, std::slice::from_ref(byte));
        crc == head.crc && SignedNote::parse(&bytes[..=at]).is_ok()
    })
}

/// How many zeros are left, if there is nothing else.
fn zeros_to_end(log: &mut impl Read) -> io::Result<Option<u64>> {
    let mut buffer = [0; NOTE_LEN_MAX];
    let mut total = 0;
    loop {
        match fill(log, &mut buffer)? {
            0 => return Ok(Some(total)),
            got if buffer[..got].iter().any(|byte| *byte != 0) => return Ok(None),
            got => total += got as u64,
        }
    }
}

/// Reads until the buffer is full or the file ends; answers how much that was.
fn fill(log: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut got = 0;
    while got < buffer.len() {
        match log.read(&mut buffer[got..]) {
            Ok(0) => break,
            Ok(more) => got += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(got)
}
