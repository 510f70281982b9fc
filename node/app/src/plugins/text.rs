//! Texts that a plugin wrote, made harmless for terminals and logs.

/// Longest text that is passed on, bytes.
const LEN_MAX: usize = 1024;

/// The text on one line without characters that move a cursor, colour, reorder or hide text.
pub fn harmless(text: &str) -> String {
    let mut out = String::new();
    for letter in text.chars() {
        let letter = if is_harmful(letter) { '\u{fffd}' } else { letter };
        if out.len() + letter.len_utf8() > LEN_MAX {
            break;
        }
        out.push(letter);
    }
    out
}

fn is_harmful(letter: char) -> bool {
    letter.is_control()
        || matches!(letter,
            // Soft hyphen, line and paragraph separators.
            '\u{ad}' | '\u{2028}' | '\u{2029}'
            // Without a width, and those that reorder what stands around them.
            | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
            // Tags.
            | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attack_39_nothing_that_steers_a_terminal_is_passed_on() {
        let text = "a\x1b[2Jb\r\nc\u{9b}d\u{202e}e\u{200b}f\u{e0041}g\u{7}";
        assert_eq!(
            harmless(text),
            "a\u{fffd}[2Jb\u{fffd}\u{fffd}c\u{fffd}d\u{fffd}e\u{fffd}f\u{fffd}g\u{fffd}"
        );
        assert_eq!(harmless("Zürich — 雪 🙂"), "Zürich — 雪 🙂");
        assert!(harmless(&"雪".repeat(1000)).len() <= LEN_MAX);
    }
}
