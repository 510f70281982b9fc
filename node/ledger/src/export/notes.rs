//! Every note as an object of JSON on its own line.
//!
//! Invariant: a field has one type, whatever its value: a number only where the format of notes keeps
//! it below 2^53, which is what programs that read JSON can be relied on to keep; else a string.

use std::collections::HashSet;
use std::io::{self, Write};

use commonhold_format::note::SignedNote;
use commonhold_format::statement::Statement;
use commonhold_format::tree::leaf_hash;
use data_encoding::HEXLOWER;

use crate::verify::Log;

/// Fields of statements that are numbers below 2^53: times, durations, and what has 32 bits.
const NUMBERS: [&str; 8] =
    ["time", "starts", "ends", "until", "audit_interval_seconds", "grace_seconds", "leaves", "lost_chunks"];

pub(super) fn jsonl(log: &Log, counted: &HashSet<u64>, out: &mut impl Write) -> io::Result<()> {
    for (index, note) in log.notes() {
        writeln!(out, "{}", object(log, index, note, counted.contains(&index)))?;
    }
    Ok(())
}

fn object(log: &Log, index: u64, note: &SignedNote, counts: bool) -> String {
    let statement = Statement::of(note).ok();
    let kind = statement.as_ref().map_or("unknown", Statement::kind);
    let hash = HEXLOWER.encode(&leaf_hash(&note.to_bytes()));
    let valid = log.signers(index).map_or(&[][..], |signers| &signers.valid);
    let signers: Vec<String> = valid.iter().map(|party| format!("\"{party}\"")).collect();
    let mut object = format!("{{\"index\":{index},\"kind\":\"{kind}\",\"hash\":\"{hash}\"");
    object.push_str(&format!(",\"signers\":[{}]", signers.join(",")));
    if matches!(statement, Some(Statement::Receipt(_) | Statement::Payment(_))) {
        object.push_str(&format!(",\"counts\":{counts}"));
    }
    if statement.is_none() {
        object.push_str(&format!(",\"text\":{}", string(note.text())));
    } else {
        // The one text of a statement: a line with its kind, then a line for each field.
        for (name, value) in note.text().lines().skip(1).filter_map(|line| line.split_once(": ")) {
            let value = if NUMBERS.contains(&name) { value.to_owned() } else { string(value) };
            object.push_str(&format!(",{}:{value}", string(name)));
        }
    }
    object.push('}');
    object
}

/// A string of JSON. Texts of notes have no control character but the newline.
fn string(text: &str) -> String {
    let mut json = String::with_capacity(text.len() + 2);
    json.push('"');
    for character in text.chars() {
        match character {
            '"' => json.push_str("\\\""),
            '\\' => json.push_str("\\\\"),
            '\n' => json.push_str("\\n"),
            // Line separators of Unicode, at which some readers of lines would break an object.
            '\u{85}' | '\u{2028}' | '\u{2029}' => json.push_str(&format!("\\u{:04x}", u32::from(character))),
            other => json.push(other),
        }
    }
    json.push('"');
    json
}

#[cfg(test)]
mod tests {
    use super::string;

    #[test]
    fn no_text_breaks_out_of_a_string_or_a_line() {
        assert_eq!(string("a\"b\\c\nd\u{2028}\u{85}ü😀"), "\"a\\\"b\\\\c\\nd\\u2028\\u0085ü😀\"");
        let text = string("\",\"counts\":true}\n{\"index\":9");
        assert_eq!(text.lines().count(), 1);
        assert_eq!(text, "\"\\\",\\\"counts\\\":true}\\n{\\\"index\\\":9\"");
    }
}
