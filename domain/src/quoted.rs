//! Texts that others sent, as they are told again.

use crate::name::{can_be_seen, first_unseen};
use std::fmt;

/// Joins what stands before and after it into one sign, as in 👩‍💻 and in ❤️, or keeps letters apart
/// (as in Persian): no text looks right without it.
const fn shapes(c: char) -> bool {
    matches!(c, '\u{200C}' | '\u{200D}' | '\u{FE00}'..='\u{FE0F}')
}

/// A text between quotes, as it was sent. What controls, breaks lines, turns the direction of others
/// or leaves nothing to see is written as `\u{…}`, so that whoever reads it knows that it is there.
#[derive(Clone, Copy, Debug)]
pub struct Quoted<'a>(pub &'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("\"")?;
        let mut behind_something = false;
        for c in self.0.chars() {
            let text = c.encode_utf8(&mut [0; 4]).to_owned();
            if first_unseen(&text).is_some() && !(behind_something && shapes(c)) {
                write!(f, "{}", c.escape_unicode())?;
                behind_something = false;
            } else {
                f.write_str(&text)?;
                behind_something = behind_something && shapes(c) || can_be_seen(&text);
            }
        }
        f.write_str("\"")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_told_as_it_was_sent() {
        for text in [
            "",
            "Cafe\u{301}",
            "a \"b\" c\\d",
            "It's",
            "👩\u{200D}💻 ❤\u{FE0F}",
            "می\u{200C}خواهم",
            "\u{301}",
        ] {
            assert_eq!(Quoted(text).to_string(), format!("\"{text}\""));
        }
    }

    #[test]
    fn what_can_not_be_seen_is_written_out() {
        for (text, told) in [
            ("a\nb\0", r"a\u{a}b\u{0}"),
            ("Ac\u{200B}me\u{AD}", r"Ac\u{200b}me\u{ad}"),
            ("\u{202E}a\u{2028}", r"\u{202e}a\u{2028}"),
            ("\u{200D}a \u{FE0F}", r"\u{200d}a \u{fe0f}"),
            ("a\u{200B}\u{200D}", r"a\u{200b}\u{200d}"),
        ] {
            assert_eq!(Quoted(text).to_string(), format!("\"{told}\""));
        }
    }
}
