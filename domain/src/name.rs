//! Names of tokens, keys, clients and companies.

use serde::{Deserialize, Serialize};
use std::fmt;
use unicode_normalization::UnicodeNormalization;

/// A name: 1 to 100 characters without control characters, at least one of them visible.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Name(String);

/// Why a text can't be a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidName {
    /// Nothing, or only white space.
    #[error("must not be empty")]
    Empty,
    /// Only characters that nobody sees.
    #[error("must have at least one character that can be seen")]
    Invisible,
    /// More than [`Name::MAX_CHARS`] characters.
    #[error("must have at most {max} characters, has {0}", max = Name::MAX_CHARS)]
    TooLong(usize),
    /// A control character, NUL and line breaks included.
    #[error("must not contain control characters (found U+{0:04X})")]
    Control(u32),
}

impl Name {
    /// The longest name, in characters.
    pub const MAX_CHARS: usize = 100;

    /// A new name: the text exactly as it is.
    ///
    /// # Errors
    /// When it is empty, too long, holds a control character, one that breaks lines or turns the
    /// direction of what stands beside it, or nothing that can be seen.
    pub fn new(text: impl Into<String>) -> Result<Self, InvalidName> {
        let name = Self::stored(text)?;
        if let Some(control) = name.0.chars().find(|c| turns_or_breaks(*c)) {
            return Err(InvalidName::Control(control.into()));
        }
        if !can_be_seen(&name.0) {
            return Err(InvalidName::Invisible);
        }
        Ok(name)
    }

    /// A name from an event or a row. What was once taken can be read for ever, so that this never
    /// asks for more than it did at first; [`Self::new`] may.
    ///
    /// # Errors
    /// When it is empty, too long or holds a control character.
    pub fn stored(text: impl Into<String>) -> Result<Self, InvalidName> {
        let text = text.into();
        if let Some(control) = text.chars().find(|c| c.is_control()) {
            return Err(InvalidName::Control(control.into()));
        }
        if text.trim().is_empty() {
            return Err(InvalidName::Empty);
        }
        let length = text.chars().count();
        if length > Self::MAX_CHARS {
            return Err(InvalidName::TooLong(length));
        }
        Ok(Self(text))
    }

    /// What the name is told from others by: the text without what nobody sees, whichever way its
    /// letters and spaces are typed, capitals or not.
    pub fn compared(&self) -> String {
        let seen = self.seen();
        let words: Vec<&str> = seen.split_whitespace().collect();
        folded(&words.join(" "))
    }

    /// What the name may be reserved as since a former release: letter by letter, or with its spaces
    /// as they were typed.
    pub fn formerly_compared(&self) -> [String; 2] {
        [self.0.clone(), folded(self.seen().trim())]
    }

    fn seen(&self) -> String {
        self.0.chars().filter(|c| !is_invisible(*c)).collect()
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The text whichever way its letters are typed.
fn folded(text: &str) -> String {
    // By way of capitals: `ß` and `ss`, `ς` and `σ` have the same ones.
    text.nfc().collect::<String>().to_uppercase().to_lowercase().nfc().collect()
}

/// Whether a text has at least one character that can be seen.
pub fn can_be_seen(text: &str) -> bool {
    !text.chars().all(|c| c.is_whitespace() || is_invisible(c))
}

/// The first character of a text that is not seen as what it is, so that two texts may look the same:
/// it controls, breaks lines, turns the direction of others, or leaves nothing to see.
pub fn first_unseen(text: &str) -> Option<char> {
    text.chars().find(|c| c.is_control() || turns_or_breaks(*c) || is_invisible(*c))
}

/// Whether a character breaks the line, or turns the direction of others.
pub const fn turns_or_breaks(c: char) -> bool {
    matches!(c, '\u{2028}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
}

/// Whether a character leaves nothing to see: those that Unicode calls default ignorable, and the
/// empty Braille cell.
const fn is_invisible(c: char) -> bool {
    matches!(
        c,
        '\u{AD}'
            | '\u{34F}'
            | '\u{61C}'
            | '\u{115F}'..='\u{1160}'
            | '\u{17B4}'..='\u{17B5}'
            | '\u{180B}'..='\u{180F}'
            | '\u{200B}'..='\u{200F}'
            | '\u{202A}'..='\u{202E}'
            | '\u{2060}'..='\u{206F}'
            | '\u{2800}'
            | '\u{3164}'
            | '\u{FE00}'..='\u{FE0F}'
            | '\u{FEFF}'
            | '\u{FFA0}'
            | '\u{FFF0}'..='\u{FFF8}'
            | '\u{1BCA0}'..='\u{1BCA3}'
            | '\u{1D173}'..='\u{1D17A}'
            | '\u{E0000}'..='\u{E0FFF}'
    )
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for Name {
    type Error = InvalidName;

    /// As [`Name::stored`]: this is how events are read.
    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::stored(text)
    }
}

impl From<Name> for String {
    fn from(name: Name) -> Self {
        name.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_survives_exactly() {
        for text in ["Payroll sync", "naïve “quotes” 'n'", "🔑🗝️ 鍵", " padded "] {
            assert_eq!(Name::new(text).unwrap().as_str(), text);
        }
    }

    #[test]
    fn length_counts_characters_not_bytes() {
        assert!(Name::new("🔑".repeat(100)).is_ok());
        assert_eq!(Name::new("a".repeat(101)), Err(InvalidName::TooLong(101)));
    }

    #[test]
    fn a_new_name_can_be_seen_and_a_stored_one_can_be_read() {
        for text in [
            "\u{200B}",
            "\u{2060} \u{FEFF}",
            "\u{AD}",
            "\u{115F}",
            "\u{3164}",
            "\u{2800}",
            "\u{E0041}",
            "\u{FE0F}",
        ] {
            assert_eq!(Name::new(text), Err(InvalidName::Invisible), "{text:?}");
            let json = serde_json::to_string(text).unwrap();
            let stored: Name = serde_json::from_str(&json).unwrap();
            assert_eq!(stored.as_str(), text);
        }
        for text in ["\u{200B}a", "👩\u{200D}💻", "می\u{200C}خواهم", "\u{301}"] {
            assert!(Name::new(text).is_ok(), "{text:?}");
        }
    }

    #[test]
    fn names_that_look_the_same_are_compared_as_the_same() {
        let compared = |text: &str| Name::stored(text).unwrap().compared();
        for same in ["Acme", "acme", "ACME ", " Acme", "Ac\u{200B}me", "\u{FEFF}acme"] {
            assert_eq!(compared(same), "acme", "{same:?}");
        }
        assert_eq!(compared("Cafe\u{301} Groß"), compared("CAFÉ GROSS"));
        assert_eq!(compared("Σας"), compared("ΣΑΣ"));
        assert_ne!(compared("Acme 1"), compared("Acme 2"));
        assert_ne!(compared("Acme"), compared("A cme"));
        for same in ["Alpha  GmbH", "Alpha\u{A0}GmbH", " Alpha\u{2009}\u{200B} GmbH"] {
            assert_eq!(compared(same), "alpha gmbh", "{same:?}");
        }
    }

    #[test]
    fn what_turns_or_breaks_text_is_in_no_new_name() {
        for text in ["a\u{202E}b", "\u{202E}\u{202C}", "a\u{2066}b", "a\u{2028}b", "a\u{2029}b"] {
            assert!(matches!(Name::new(text), Err(InvalidName::Control(_))), "{text:?}");
            assert!(Name::stored(text).is_ok(), "{text:?}");
        }
    }

    #[test]
    fn empty_and_control_characters_are_refused() {
        assert_eq!(Name::new(""), Err(InvalidName::Empty));
        assert_eq!(Name::new("  "), Err(InvalidName::Empty));
        assert_eq!(Name::new("a\0b"), Err(InvalidName::Control(0)));
        assert_eq!(Name::new("a\nb"), Err(InvalidName::Control(10)));
        assert_eq!(Name::new("a\u{85}b"), Err(InvalidName::Control(0x85)));
    }
}
