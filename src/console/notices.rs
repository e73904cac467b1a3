//! What the page before has done, told on the page that it leads to.

use super::names::name_of;
use super::paths::TOKENS;
use super::sent::Sent;
use crate::app::{App, AppError, Caller};
use maud::{Markup, html};
use std::fmt::Display;
use uuid::Uuid;

/// Stands in an address between the name of a notice and what it is about.
const OF: char = '.';

/// What has been done, by the name that addresses carry.
const NOTICES: [(&str, &str); 20] = [
    ("token-edited", "The data accesses were saved. They count at once."),
    ("token-deleted", "The token was deleted. Programs that used it have stopped working."),
    ("nothing-changed", "Nothing was changed: it is as it was before."),
    ("grace-ended", "The old secret has stopped working."),
    ("key-deleted", "The API key was deleted."),
    ("client-deleted", "The client and its tokens were deleted."),
    ("member-added", "The member was added."),
    (
        "member-outside",
        "The member was added, and can’t come in yet: the person is a member of another company, \
         which gave out the link to set the password or may do so. Ask an operator of the platform \
         to make a link for a new one.",
    ),
    ("role-changed", "The role was changed."),
    ("member-removed", "The member was removed, and is signed out of this company."),
    (
        "person-erased",
        "The person’s data was erased. What they did stays in the audit trail, with its proofs.",
    ),
    (
        "member-erased",
        "The person’s data was erased. What they did stays in the audit trail, with its proofs. The \
         membership stays too, though nobody can sign in by it: remove it.",
    ),
    (
        "account-kept",
        "The person’s data here was erased. What they did stays in the audit trail, with its proofs. \
         Another company needs the account, which lets nobody in here any more. The membership stays \
         too: remove it.",
    ),
    ("password-changed", "The password was changed. You are signed out everywhere else."),
    ("policy-changed", "The policy was saved. It holds for terms that begin from now on."),
    ("module-on", "The OAuth App module is on. Tokens that are still valid work again."),
    ("module-off", "The OAuth App module is off. No token of the company works."),
    ("company-registered", "The company was registered, with its OAuth App module off."),
    ("rebuild-begun", "The rebuild has begun. Readers are served throughout."),
    ("rebuild-under-way", "None was begun: one is under way. Begin another when it is done."),
];

/// What is said instead where it is known what something is called: what kind of thing it is, and
/// what stands before and behind its name.
const NAMED: [(&str, &str, &str, &str); 10] = [
    ("token-deleted", "token", "", " was deleted. Programs that used it have stopped working."),
    ("key-deleted", "key", "", " was deleted."),
    ("client-deleted", "client", "", " and its tokens were deleted."),
    ("member-added", "member", "", " was added."),
    (
        "member-outside",
        "member",
        "",
        " was added, and can’t come in yet: the person is a member of another company, which gave \
         out the link to set the password or may do so. Ask an operator of the platform to make a \
         link for a new one.",
    ),
    ("role-changed", "member", "The role of ", " was changed."),
    ("member-removed", "member", "", " was removed, and is signed out of this company."),
    (
        "module-on",
        "company",
        "The OAuth App module is on. Tokens of ",
        " that are still valid work again.",
    ),
    ("module-off", "company", "The OAuth App module is off. No token of ", " works."),
    ("company-registered", "company", "", " was registered, with its OAuth App module off."),
];

/// How an address asks for the notice of this name about the thing of this identifier.
pub fn about(name: &str, id: impl Display) -> String {
    format!("{name}{OF}{id}")
}

/// The notice that the address asks for, with what it is about by its name, where the caller may
/// know that.
///
/// # Errors
/// When the store fails.
pub async fn notice_of(app: &App, caller: &Caller, query: &Sent) -> Result<Markup, AppError> {
    let (wanted, id) = asked(query);
    let named = NAMED.iter().find(|(name, ..)| *name == wanted);
    let (Some((_, kind, before, behind)), Some(id)) = (named, id) else { return Ok(notice(query)) };
    let name = match name_of(app, caller, kind, id).await {
        // No page is kept back by what is told on it.
        Err(AppError::AuditBehind) => None,
        name => name?,
    };
    let Some(name) = name else { return Ok(notice(query)) };
    let text = html! {
        (before)
        @if matches!(*kind, "member" | "company") { bdi { (name) } } @else { "“" bdi { (name) } "”" }
        (behind)
        @if *kind == "token" { " " a href={ (TOKENS) "/" (id) "#history" } { "See its history" } }
    };
    Ok(shown(wanted, &text))
}

/// The notice that the address asks for, without names.
pub fn notice(query: &Sent) -> Markup {
    let (wanted, _) = asked(query);
    let known = NOTICES.iter().find(|(name, _)| *name == wanted);
    html! { @if let Some((_, text)) = known { (shown(wanted, &html! { (text) })) } }
}

/// The notice that the address asks for, and what it is about.
fn asked(query: &Sent) -> (&str, Option<Uuid>) {
    let text = query.text("notice");
    match text.split_once(OF) {
        Some((name, id)) => (name, id.parse().ok()),
        None => (text, None),
    }
}

/// The notice with this text.
fn shown(name: &str, text: &Markup) -> Markup {
    let class = match name {
        "rebuild-under-way" => "soon",
        "nothing-changed" => "neutral",
        _ => "good",
    };
    html! { div .notice .{ (class) } role="status" data-notice[true] { p { (text) } } }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_by_name_is_told_without_one_too() {
        for (named, ..) in NAMED {
            assert!(NOTICES.iter().any(|(name, _)| *name == named), "{named}");
        }
    }

    #[test]
    fn what_a_notice_is_about_is_an_identifier_or_nothing() {
        let id = Uuid::from_u128(7);
        for (text, about) in [
            (about("key-deleted", id), Some(id)),
            ("key-deleted".to_owned(), None),
            ("key-deleted.Nightly".to_owned(), None),
        ] {
            let query = Sent::parse(format!("notice={text}").as_bytes());
            assert_eq!(asked(&query), ("key-deleted", about));
            assert!(notice(&query).into_string().contains("The API key was deleted."));
        }
    }
}
