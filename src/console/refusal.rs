//! Refusals that belong beside the form that was sent, told apart from what ends the request, in
//! the words of people.

use super::error::Trouble;
use super::render::forms::Refused;
use super::render::time::span;
use super::render::words::{access, accesses, key_scope, role, typeset};
use super::sent::Sent;
use crate::app::AppError;
use crate::app::error::Invalid;
use crate::app::view::scope_list;
use crate::http::problem::Problem;
use token_ledger_domain::company::CompanyRefusal;
use token_ledger_domain::key::KeyRefusal;
use token_ledger_domain::policy::{
    DEFAULT_MAX_GRACE_SECONDS, MIN_VALIDITY_SECONDS, PolicyViolation, VALIDITY_CEILING_SECONDS,
};
use token_ledger_domain::scope::InvalidScopes;
use token_ledger_domain::token::TokenRefusal;

/// The fields that a form shows, each with what is said where it must not be empty and was.
pub type Shows = &'static [(&'static str, &'static str)];

/// What the form is shown with again. What is wrong with a field that it does not show stands above
/// it.
///
/// # Errors
/// What no other filling in of the form would change.
pub fn refusal(error: AppError, sent: &Sent, shows: Shows) -> Result<Refused, Trouble> {
    if matches!(error, AppError::NotFound(_) | AppError::Failed(_) | AppError::AuditBehind) {
        return Err(error.into());
    }
    let told = in_words(&error);
    let Problem { detail, errors, .. } = error.into();
    if errors.is_empty() {
        let problem = Some(told.unwrap_or_else(|| sentence(&detail)));
        return Ok(Refused { errors, problem });
    }
    let mut refused = Refused::default();
    let mut above = Vec::new();
    for Invalid { field, detail } in errors {
        let told = told.clone().or_else(|| not_on_offer(&detail, sent));
        let said = told.unwrap_or_else(|| sentence(&detail));
        match shows.iter().find(|(name, _)| *name == field) {
            None => above.push(said),
            Some((_, empty)) if !empty.is_empty() && sent.text(&field).trim().is_empty() => {
                refused.errors.push(Invalid::new(field, *empty));
            }
            Some(_) => refused.errors.push(Invalid::new(field, said)),
        }
    }
    refused.problem = (!above.is_empty()).then(|| above.join(" "));
    Ok(refused)
}

/// What is said of a data access that was chosen and is not on offer, where that was the reason.
fn not_on_offer(reason: &str, sent: &Sent) -> Option<String> {
    let is_reason = |scope: &String| InvalidScopes::Unknown(scope.clone()).to_string() == reason;
    let scope = sent.all("scopes").into_iter().find(is_reason)?;
    Some(format!("“{}” is not on offer. Choose among those that are.", access(&scope)))
}

/// A text as a sentence of a page; what must be, must be of a field.
pub fn sentence(text: &str) -> String {
    let text = if text.starts_with("must ") {
        format!("it {}", text.replace(", has ", "; it has "))
    } else {
        text.to_owned()
    };
    let mut characters = text.chars();
    let first = characters.next().map(|first| first.to_uppercase().to_string());
    let end = if text.ends_with('.') { "" } else { "." };
    typeset(&format!("{}{}{end}", first.unwrap_or_default(), characters.as_str()))
}

/// What the API says by the names of its fields, in words.
fn in_words(error: &AppError) -> Option<String> {
    match error {
        AppError::KeyReused => Some(
            "This form had been sent before and was carried out then, with other contents. Look at \
             the list, and send it again only if you want another one."
                .to_owned(),
        ),
        AppError::VersionMismatch { .. } => Some(
            "It was changed meanwhile. Nothing of yours was saved; below is how it is now."
                .to_owned(),
        ),
        AppError::Token(TokenRefusal::Policy(violation)) => Some(of_policy(violation)),
        AppError::Key(refusal) => of_key(refusal),
        AppError::Company(refusal) => of_company(refusal),
        _ => None,
    }
}

fn of_policy(violation: &PolicyViolation) -> String {
    match violation {
        PolicyViolation::MaxValidity { max, .. } | PolicyViolation::MaxGrace { max, .. } => {
            at_most(*max)
        }
        PolicyViolation::MinValidity { .. } => {
            format!("A token is valid for at least {}.", span(MIN_VALIDITY_SECONDS))
        }
        PolicyViolation::AllowedScopes { scopes } => {
            let names = accesses(&scope_list(scopes));
            format!("Your company’s policy does not allow: {names}.")
        }
    }
}

fn of_key(refusal: &KeyRefusal) -> Option<String> {
    match refusal {
        KeyRefusal::Validity { .. } => {
            Some(between(MIN_VALIDITY_SECONDS, VALIDITY_CEILING_SECONDS))
        }
        KeyRefusal::Grace { .. } => Some(between(0, DEFAULT_MAX_GRACE_SECONDS)),
        KeyRefusal::AboveOwnPower { scope } => {
            Some(format!("“{}” is more than you may grant.", key_scope(scope.as_str())))
        }
        KeyRefusal::PlatformOnly => {
            Some("Only keys of the platform itself can run the platform.".to_owned())
        }
        _ => None,
    }
}

fn of_company(refusal: &CompanyRefusal) -> Option<String> {
    match refusal {
        CompanyRefusal::PolicyBounds { min, max, .. } => Some(between(*min, *max)),
        CompanyRefusal::Policy(violation) => Some(of_policy(violation)),
        CompanyRefusal::AboveOwnPower { role: own } => {
            Some(format!("{} is more than you may grant or take away.", role(own.as_str())))
        }
        _ => None,
    }
}

/// The bounds of a span, as a sentence.
fn between(min: i64, max: i64) -> String {
    format!("From {} to {}.", span(min), span(max))
}

fn at_most(max: i64) -> String {
    format!("Your company’s policy allows at most {}.", span(max))
}

#[cfg(test)]
mod tests {
    use super::*;
    use token_ledger_domain::ScopeSet;

    const SHOWS: Shows = &[("name", "Give it a name."), ("expires_in_seconds", ""), ("reason", "")];

    fn refused(error: AppError, sent: &str) -> Refused {
        refusal(error, &Sent::parse(sent.as_bytes()), SHOWS).unwrap()
    }

    #[test]
    fn what_a_form_does_not_show_is_said_above_it() {
        let scopes: ScopeSet = "departments employees".parse().unwrap();
        let violation = PolicyViolation::AllowedScopes { scopes };
        let refused = refused(AppError::Token(TokenRefusal::Policy(violation)), "name=a");
        assert!(refused.errors.is_empty());
        let problem = "Your company’s policy does not allow: Departments, Employees.";
        assert_eq!(refused.problem.as_deref(), Some(problem));
    }

    #[test]
    fn an_empty_field_is_asked_for_in_the_words_of_the_form() {
        let empty = || AppError::invalid("name", "must not be empty");
        assert_eq!(refused(empty(), "name=+").of("name"), Some("Give it a name."));
        assert_eq!(refused(empty(), "name=a").of("name"), Some("It must not be empty."));
        let long = AppError::invalid("reason", "must have at most 500 characters, has 501");
        let said = "It must have at most 500 characters; it has 501.";
        assert_eq!(refused(long, "").of("reason"), Some(said));
    }

    #[test]
    fn what_is_not_on_offer_is_called_as_on_the_pages() {
        let unknown = InvalidScopes::Unknown("job_offers".to_owned()).to_string();
        let refused = refused(AppError::invalid("reason", unknown), "scopes=a&scopes=job_offers");
        let said = "“Job offers” is not on offer. Choose among those that are.";
        assert_eq!(refused.of("reason"), Some(said));
    }

    #[test]
    fn spans_are_said_in_words() {
        let violation = PolicyViolation::MaxValidity { asked: 99_999_999, max: 2_592_000 };
        let refused = refused(AppError::Token(TokenRefusal::Policy(violation)), "name=a");
        let said = "Your company’s policy allows at most 30 days.";
        assert_eq!(refused.of("expires_in_seconds"), Some(said));
        assert_eq!(refused.problem, None);
        let bounds = CompanyRefusal::PolicyBounds { rule: "x", min: 60, max: 366 * 86_400 };
        assert_eq!(in_words(&AppError::Company(bounds)).unwrap(), "From 1 minute to 366 days.");
    }
}
