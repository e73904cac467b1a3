//! What the page before has done, told on the page that it leads to. An address carries the name of
//! what is told, what it is about, and a mark of the session that did it: nobody is told by an address
//! that others wrote of what didn't happen.

use super::access::SignedIn;
use super::members::has_namesake;
use super::names::name_of;
use super::paths::TOKENS;
use super::sent::Sent;
use super::{cookie, guard};
use crate::app::{App, AppError, Caller};
use crate::http::Service;
use axum::http::HeaderMap;
use maud::{Markup, html};
use std::fmt::Display;
use uuid::Uuid;

/// Stands in an address between the name of a notice, what it is about, and the session's mark.
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
const NAMED: [(&str, &str, &str, &str); 12] = [
    ("token-edited", "token", "The data accesses of ", " were saved. They count at once."),
    ("nothing-changed", "token", "Nothing of ", " was changed: it is as it was before."),
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

/// What is told who has no session any more by what they did themselves.
const PARTINGS: [(&str, &str); 2] = [
    (OWN_ROLE, "Your role was changed. You were signed out, and sign in with the new one."),
    (OWN_REMOVAL, "You removed yourself from the company, and are signed out of it."),
];
/// Somebody gave themselves a lesser role.
pub const OWN_ROLE: &str = "own-role";
/// Somebody ended their own membership.
pub const OWN_REMOVAL: &str = "own-removal";

/// How an address asks this session for the notice of this name.
pub fn of(who: &SignedIn, name: &str) -> String {
    marked(&who.csrf, name)
}

/// How an address asks this session for the notice of this name about the thing of this identifier.
pub fn about(who: &SignedIn, name: &str, id: impl Display) -> String {
    marked(&who.csrf, &format!("{name}{OF}{id}"))
}

/// What is told, with the mark of the session that has this token.
pub fn marked(token: &str, text: &str) -> String {
    format!("{text}{OF}{}", guard::mark(token, text))
}

/// The notice that the address asks for, with what it is about by its name, where the caller may
/// know that.
///
/// # Errors
/// When the store fails.
pub async fn notice_of(
    app: &App,
    who: &SignedIn,
    caller: &Caller,
    query: &Sent,
) -> Result<Markup, AppError> {
    let Some((wanted, id)) = asked(&who.csrf, query) else { return Ok(html! {}) };
    let named = NAMED.iter().find(|(name, ..)| *name == wanted);
    let (Some((_, kind, before, behind)), Some(id)) = (named, id) else {
        return Ok(notice(who, query));
    };
    let name = match name_of(app, caller, kind, id).await {
        // No page is kept back by what is told on it.
        Err(AppError::AuditBehind) => None,
        name => name?,
    };
    let Some(name) = name else { return Ok(notice(who, query)) };
    let is_added = matches!(wanted, "member-added" | "member-outside");
    let has_namesake = is_added && has_namesake(app, caller, id, &name).await?;
    let text = html! {
        (before)
        @if matches!(*kind, "member" | "company") { bdi { (name) } } @else { "“" bdi { (name) } "”" }
        (behind)
        @if has_namesake { " " (NAMESAKE) }
        @if wanted == "token-deleted" {
            " " a href={ (TOKENS) "/" (id) "#history" } { "See its history" }
        }
    };
    Ok(shown(wanted, &text))
}

/// What is said where a new member is called as another one is.
pub const NAMESAKE: &str =
    "Another member has the same name; only the e-mail addresses tell them apart.";

/// The notice that the address asks for, without names.
pub fn notice(who: &SignedIn, query: &Sent) -> Markup {
    let wanted = asked(&who.csrf, query).map(|(name, _)| name);
    let known = NOTICES.iter().find(|(name, _)| Some(*name) == wanted);
    html! { @if let Some((name, text)) = known { (shown(name, &html! { (text) })) } }
}

/// What the address tells a browser whose session has just ended by what was done in it.
pub fn parting(service: &Service, headers: &HeaderMap, query: &Sent) -> Option<&'static str> {
    let token = guard::token(cookie::read(service, headers)?);
    let (wanted, _) = asked(&token, query)?;
    PARTINGS.iter().find(|(name, _)| *name == wanted).map(|(_, text)| *text)
}

/// The notice that the address asks for, and what it is about, if the session of this token wrote
/// it.
fn asked<'a>(token: &str, query: &'a Sent) -> Option<(&'a str, Option<Uuid>)> {
    let (text, mark) = query.get("notice")?.rsplit_once(OF)?;
    if mark != guard::mark(token, text) {
        return None;
    }
    Some(match text.split_once(OF) {
        Some((name, id)) => (name, id.parse().ok()),
        None => (text, None),
    })
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
    fn a_notice_is_told_to_the_session_that_wrote_it_and_in_its_words() {
        let id = Uuid::from_u128(7);
        let told = |text: &str| Sent::parse(format!("notice={text}").as_bytes());
        for (text, about) in
            [(format!("key-deleted.{id}"), Some(id)), ("key-deleted".to_owned(), None)]
        {
            let written = marked("hers", &text);
            assert_eq!(asked("hers", &told(&written)), Some(("key-deleted", about)));
            assert_eq!(asked("his", &told(&written)), None);
            assert_eq!(asked("hers", &told(&text)), None);
            let other = written.replace("key", "client");
            assert_eq!(asked("hers", &told(&other)), None);
        }
    }
}
