//! Checking what callers send.

use super::AppError;
use super::error::Invalid;
use std::borrow::Cow;
use std::fmt::Display;
use token_ledger_domain::Name;
use token_ledger_domain::name::{can_be_seen, turns_or_breaks};
use token_ledger_domain::secret::without_secrets;

/// What is said of a text that is to be kept and has a secret in it.
pub(super) const HOLDS_SECRET: &str = "must not hold a secret; name it by its last four characters";
/// The longest reason, in characters.
pub const MAX_REASON: usize = 500;

/// Collects what is wrong with an input, so that one answer names all of it.
#[derive(Debug, Default)]
pub struct Check(Vec<Invalid>);

impl Check {
    /// The field's value, if it is acceptable.
    pub fn field<T, E: Display>(&mut self, field: &str, value: Result<T, E>) -> Option<T> {
        value.map_err(|error| self.0.push(Invalid::new(field, error.to_string()))).ok()
    }

    /// The parameter's value, if it is acceptable.
    pub fn taken<T>(&mut self, value: Result<T, Invalid>) -> Option<T> {
        value.map_err(|error| self.0.push(error)).ok()
    }

    /// The refusal that names everything.
    pub fn refusal(self) -> AppError {
        AppError::Invalid(self.0)
    }
}

/// Why something is done, in the caller's words; nothing where nobody could see them.
///
/// # Errors
/// When it is too long, or holds control characters other than line breaks and tabs, or such as turn
/// the direction of text.
pub fn reason(text: Option<String>) -> Result<Option<String>, String> {
    let Some(text) = text else { return Ok(None) };
    let length = text.chars().count();
    if length > MAX_REASON {
        return Err(format!("must have at most {MAX_REASON} characters, has {length}"));
    }
    let controls = |c: char| c.is_control() && !matches!(c, '\n' | '\t') || turns_or_breaks(c);
    if let Some(control) = text.chars().find(|c| controls(*c)) {
        return Err(format!(
            "must not contain control characters but line breaks and tabs (found U+{:04X})",
            u32::from(control)
        ));
    }
    if matches!(without_secrets(&text), Cow::Owned(_)) {
        return Err(HOLDS_SECRET.to_owned());
    }
    Ok(Some(text).filter(|text| can_be_seen(text)))
}

/// A name of a token, key or client.
///
/// # Errors
/// When the text can't be a name, or holds a secret, which would be kept and shown then.
pub fn name(text: String) -> Result<Name, String> {
    if matches!(without_secrets(&text), Cow::Owned(_)) {
        return Err(HOLDS_SECRET.to_owned());
    }
    Name::new(text).map_err(|error| error.to_string())
}

/// A reason that must be given.
///
/// # Errors
/// As [`reason`], and when there is none.
pub fn required_reason(text: Option<String>) -> Result<String, String> {
    reason(text)?.ok_or_else(|| "must not be empty".to_owned())
}

/// A reason where nothing else is to be checked.
///
/// # Errors
/// As [`reason`].
pub fn checked_reason(text: Option<String>) -> Result<Option<String>, AppError> {
    reason(text).map_err(|problem| AppError::invalid("reason", problem))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_kept_as_it_is() {
        let text = "leaked:\n\tsee “report” 🔑".to_owned();
        assert_eq!(reason(Some(text.clone())), Ok(Some(text)));
        assert_eq!(reason(Some("🔑".repeat(500))), Ok(Some("🔑".repeat(500))));
        assert_eq!(reason(Some(" ".to_owned())), Ok(None));
        assert_eq!(reason(Some("\u{200B} \u{2060}".to_owned())), Ok(None));
        assert!(required_reason(Some("\u{3164}".to_owned())).is_err());
        assert_eq!(reason(None), Ok(None));
    }

    #[test]
    fn a_secret_is_neither_reason_nor_name() {
        let secret = token_ledger_domain::Secret::from_random("tlk_", [1; 32]);
        let text = format!("leaked {}", secret.reveal());
        assert!(reason(Some(text.clone())).is_err());
        assert!(name(text).is_err());
        assert!(name("leaked".to_owned()).is_ok());
    }

    #[test]
    fn a_reason_is_bounded() {
        assert!(reason(Some("a".repeat(501))).is_err());
        for text in ["a\0", "a\r", "a\u{1b}[0m", "a\u{85}"] {
            assert!(reason(Some(text.to_owned())).is_err(), "{text:?}");
        }
    }
}
