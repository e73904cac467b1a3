//! Refusals that belong beside the form that was sent, told apart from what ends the request.

use super::error::Trouble;
use super::render::forms::Refused;
use crate::app::AppError;
use crate::http::problem::{Kind, Problem};

/// What the form is shown with again.
///
/// # Errors
/// What no other filling in of the form would change.
pub fn refusal(error: AppError) -> Result<Refused, Trouble> {
    if matches!(error, AppError::NotFound(_) | AppError::Failed(_) | AppError::AuditBehind) {
        return Err(error.into());
    }
    let Problem { kind, detail, errors, .. } = error.into();
    let detail = match kind {
        Kind::IdempotencyKeyReused => {
            "This form had been sent before and was carried out then, with other contents. Look at \
             the list, and send it again only if you want another one."
                .to_owned()
        }
        Kind::VersionMismatch => {
            "It was changed meanwhile. Nothing of yours was saved; below is how it is now."
                .to_owned()
        }
        _ => sentence(&detail),
    };
    let problem = errors.is_empty().then_some(detail);
    Ok(Refused { errors, problem })
}

/// A text as a sentence.
pub fn sentence(text: &str) -> String {
    let mut characters = text.chars();
    let first = characters.next().map(|first| first.to_uppercase().to_string());
    let end = if text.ends_with('.') { "" } else { "." };
    format!("{}{}{end}", first.unwrap_or_default(), characters.as_str())
}
