//! Names that `find --name` means: a text in them, or a pattern as shells have it.
//!
//! Invariant: upper and lower case are the same. A match takes time of at most the product of both lengths.

/// What names are looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pattern {
    /// Names that contain this.
    Text(String),
    /// Names that this describes as a whole.
    Shape(Vec<Piece>),
}

/// A piece of a shape.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// This character.
    One(char),
    /// Any one character.
    Any,
    /// Any number of any characters.
    Many,
    /// One of these, first and last of each span; or, with `true`, none of them.
    Class(bool, Vec<(char, char)>),
}

impl Pattern {
    /// What was typed: a shape if it has `*`, `?` or `[` in it.
    pub fn of(text: &str) -> Self {
        if !text.contains(['*', '?', '[']) {
            return Self::Text(text.to_owned());
        }
        let chars: Vec<char> = text.to_lowercase().chars().collect();
        let (mut pieces, mut at) = (Vec::new(), 0);
        while let Some(c) = chars.get(at) {
            at += 1;
            pieces.push(match c {
                '*' => Piece::Many,
                '?' => Piece::Any,
                '\\' if at < chars.len() => {
                    at += 1;
                    Piece::One(chars[at - 1])
                }
                // One that is never closed stands for itself.
                '[' => match class(&chars[at..]) {
                    Some((piece, len)) => {
                        at += len;
                        piece
                    }
                    None => Piece::One('['),
                },
                c => Piece::One(*c),
            });
        }
        Self::Shape(pieces)
    }

    /// Whether a name is meant.
    pub fn takes(&self, name: &str) -> bool {
        match self {
            Self::Text(text) => name.to_lowercase().contains(&text.to_lowercase()),
            Self::Shape(pieces) => matches(pieces, &name.to_lowercase().chars().collect::<Vec<_>>()),
        }
    }
}

/// What stands behind a `[`, and how many characters that are, the `]` included.
fn class(chars: &[char]) -> Option<(Piece, usize)> {
    let negated = matches!(chars.first(), Some('!' | '^'));
    let first = usize::from(negated);
    // A `]` at the very beginning is one of the characters.
    let end = chars.iter().skip(first + 1).position(|c| *c == ']')? + first + 1;
    let (mut spans, mut at) = (Vec::new(), first);
    while at < end {
        if at + 2 < end && chars[at + 1] == '-' {
            spans.push((chars[at], chars[at + 2]));
            at += 3;
        } else {
            spans.push((chars[at], chars[at]));
            at += 1;
        }
    }
    Some((Piece::Class(negated, spans), end + 1))
}

/// Goes through both once, and back to the last `*` where they part.
fn matches(pieces: &[Piece], name: &[char]) -> bool {
    let (mut piece, mut at) = (0, 0);
    let mut back: Option<(usize, usize)> = None;
    while at < name.len() {
        let fits = match pieces.get(piece) {
            Some(Piece::Many) => {
                back = Some((piece + 1, at));
                piece += 1;
                continue;
            }
            Some(Piece::Any) => true,
            Some(Piece::One(c)) => *c == name[at],
            Some(Piece::Class(negated, spans)) => {
                spans.iter().any(|(first, last)| (*first..=*last).contains(&name[at])) != *negated
            }
            None => false,
        };
        match (fits, back) {
            (true, _) => (piece, at) = (piece + 1, at + 1),
            (false, Some((after, from))) => {
                back = Some((after, from + 1));
                (piece, at) = (after, from + 1);
            }
            (false, None) => return false,
        }
    }
    pieces[piece..].iter().all(|piece| *piece == Piece::Many)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_take_what_a_shell_takes() {
        for (pattern, takes, leaves) in [
            ("*.txt", &["a.txt", ".txt", "B.TXT"][..], &["a.txt.gz", "txt"][..]),
            ("a?c", &["abc", "a☀c"], &["ac", "abbc"]),
            ("[a-c]*[!0-9]", &["bx", "a1x"], &["dx", "a1", "a"]),
            ("*a*b*", &["ab", "xaxbx"], &["ba", "a"]),
            ("[]x]", &["]", "x"], &["a"]),
            ("[x", &["[x"], &["x"]),
            ("\\*?", &["*a"], &["ba", "*"]),
            ("**", &["", "a"], &[]),
            ("note", &["NOTES", "a note"], &["not"]),
        ] {
            let pattern = Pattern::of(pattern);
            takes.iter().for_each(|name| assert!(pattern.takes(name), "{pattern:?} {name}"));
            leaves.iter().for_each(|name| assert!(!pattern.takes(name), "{pattern:?} {name}"));
        }
    }
}
