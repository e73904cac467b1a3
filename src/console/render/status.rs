//! Where a token or key stands, in words.

use super::time::{ago, labelled, relative, seconds_between, stamp};
use maud::{Markup, html};
use token_ledger_domain::Timestamp;

/// Remaining time below which a term's end is pointed out, in seconds: a day.
const SOON: i64 = 86_400;

/// A status with the time that matters to it.
#[derive(Clone, Copy, Debug)]
pub struct Standing<'a> {
    /// `active`, `expired` or `deleted`.
    pub status: &'a str,
    /// When the term ends or ended.
    pub expires_at: Timestamp,
    /// When it was deleted.
    pub deleted_at: Option<Timestamp>,
    /// Whether tokens work at all: the OAuth App module is on.
    pub works: bool,
}

/// `Active · expires in 3 days`, `Expired 2 hours ago`, `Deleted 4 days ago`
pub fn status(standing: Standing<'_>, now: Timestamp) -> Markup {
    let Standing { status, expires_at, deleted_at, works } = standing;
    let end = relative(expires_at, now);
    let ends = |class: &'static str, word: &str| {
        html! {
            span .standing .{ (class) } {
                span .status .{ (class) } { (word) } " · "
                (labelled(expires_at, &format!("expires {end}")))
            }
        }
    };
    let ended = |class: &'static str, word: &str, at: Timestamp| {
        html! {
            span .standing {
                span .status .{ (class) } { (word) } " " (labelled(at, &relative(at, now)))
            }
        }
    };
    match (status, deleted_at) {
        ("active", _) if !works => ends("off", "Paused"),
        ("active", _) if seconds_between(now, expires_at) < SOON => ends("soon", "Active"),
        ("active", _) => ends("good", "Active"),
        ("deleted", Some(at)) => ended("gone", "Deleted", at),
        ("deleted", None) => html! { span .status .gone { "Deleted" } },
        _ => ended("over", "Expired", expires_at),
    }
}

/// What stands below a status of the secret that the last refresh took the place of: `Old secret
/// works, stops in 1 hour`
pub fn old_secret(end: Option<Timestamp>, works: bool, now: Timestamp) -> Markup {
    html! {
        @if let Some(end) = end {
            span .sub { "Old secret " @if works { "works, " } "stops " (ago(end, now)) }
        }
    }
}

/// That secret among the facts, with what goes behind it: `Works until 3 March 2026, 14:05:09 UTC`
pub fn old_secret_fact(end: Option<Timestamp>, works: bool, behind: &Markup) -> Markup {
    html! {
        @if let Some(end) = end {
            dt { "Old secret" }
            dd { @if works { "Works until " } @else { "Ends " } (stamp(end)) (behind) }
        }
    }
}

/// What a further refresh does to it.
pub fn ended_by_refresh() -> Markup {
    html! { "; a refresh ends it at once" }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(status: &'static str, seconds: i64) -> String {
        let now: Timestamp = "2026-03-01T09:00:00Z".parse().unwrap();
        let expires_at = now.plus_seconds(seconds);
        let standing = Standing { status, expires_at, deleted_at: None, works: true };
        super::status(standing, now).into_string()
    }

    #[test]
    fn the_last_day_of_a_term_is_pointed_out() {
        assert!(text("active", SOON).contains("status good"));
        assert!(text("active", SOON - 1).contains("status soon"));
        assert!(text("active", 3 * SOON).contains("expires in 3 days"));
    }

    #[test]
    fn an_end_in_the_past_says_when() {
        let html = text("expired", -7200);
        assert!(html.contains(">Expired<") && html.contains("2 hours ago"));
    }
}
