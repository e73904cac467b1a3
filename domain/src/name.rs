//! Names of tokens, keys, clients and companies.

use serde::{Deserialize, Serialize};
use std::fmt;

/// A name: 1 to 100 characters without control characters, not only white space.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Name(String);

/// Why a text can't be a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidName {
    /// Nothing, or only white space.
    #[error("must not be empty")]
    Empty,
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

    /// Takes the text exactly as it is.
    ///
    /// # Errors
    /// When it is empty, too long or holds a control character.
    pub fn new(text: impl Into<String>) -> Result<Self, InvalidName> {
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

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for Name {
    type Error = InvalidName;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::new(text)
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
    fn empty_and_control_characters_are_refused() {
        assert_eq!(Name::new(""), Err(InvalidName::Empty));
        assert_eq!(Name::new("  "), Err(InvalidName::Empty));
        assert_eq!(Name::new("a\0b"), Err(InvalidName::Control(0)));
        assert_eq!(Name::new("a\nb"), Err(InvalidName::Control(10)));
        assert_eq!(Name::new("a\u{85}b"), Err(InvalidName::Control(0x85)));
    }
}
