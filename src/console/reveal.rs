//! A secret, shown in the answer to the form that made it and nowhere else.

use super::desk::Desk;
use super::render::forms::frame;
use super::render::time;
use maud::{Markup, html};
use token_ledger_domain::Timestamp;

/// What to do with a secret that is one's own to keep.
pub const KEEP: &str = "Save it somewhere secure. ";

/// As many characters are seen whole beside a button: those of a secret whose prefix is the default.
/// What is longer has the line to itself.
const BESIDE: usize = 53;

/// A secret that has just been made.
#[derive(Debug)]
pub struct Reveal<'a> {
    /// The heading.
    pub title: &'a str,
    /// What has happened.
    pub done: Markup,
    /// What it is: "token", "key", "secret", "link".
    pub what: &'a str,
    /// What stands above it: "Your token", "Link for ada@example.com".
    pub label: &'a str,
    /// What to do with it.
    pub keep: &'a str,
    /// What goes with it and is no secret: what it is called, and its value.
    pub beside: Option<(&'static str, String)>,
    /// The secret; none when the form had been carried out before.
    pub secret: Option<&'a str>,
    /// Whether programs send it with each request.
    pub is_sent: bool,
    /// What to do when it is lost.
    pub lost: &'a str,
    /// Where it goes on.
    pub back: &'a str,
}

/// The confirmation with the secret.
pub fn reveal(desk: &Desk, reveal: &Reveal<'_>) -> Markup {
    let Reveal { title, done, what, label, keep, beside, secret, is_sent, lost, back } = reveal;
    let content = html! {
        div .stack data-guarded[secret.is_some()] {
            @match secret {
                Some(secret) => {
                    div .notice .good { p { (done) } (company(desk)) }
                    @if let Some((name, value)) = beside { (plain(name, value)) }
                    div .field {
                        label for="secret" { (label) }
                        div .secret .long[secret.len() > BESIDE] {
                            input #secret type="text" readonly value=(secret) data-secret[true]
                                autocomplete="off" spellcheck="false" aria-describedby="once";
                            button .main type="button" data-copy[true] hidden { "Copy " (what) }
                        }
                    }
                    div {
                        p #once { (keep) "You will not see it again. " (lost) }
                        @if *is_sent {
                            p { "Programs send it as " code { "Authorization: Bearer SECRET" } "." }
                        }
                    }
                    div .notice .soon data-leave[true] hidden role="alert" tabindex="-1" {
                        p {
                            "You have not copied the " (what) ". Once you leave, nobody can show it \
                             again. Choose Done once more to leave all the same."
                        }
                    }
                }
                None => {
                    div .notice .soon {
                        p { "This form had been sent before, and was carried out then." }
                        (company(desk))
                        p {
                            "The " (what) " was shown in the answer to that, if it arrived, and \
                             can’t be shown again. " (lost)
                        }
                    }
                }
            }
            p .actions { a .button href=(back) data-done[secret.is_some()] { "Done" } }
        }
    };
    frame(title, &content)
}

/// In which company it was made, for whoever may be in several.
fn company(desk: &Desk) -> Markup {
    html! {
        @if desk.who.may_choose { p { "Company: " strong { (desk.company.name) } } }
    }
}

/// What goes with a secret, to be copied too.
fn plain(name: &str, value: &str) -> Markup {
    html! {
        div .field {
            label for="beside" { "Client " (name) }
            div .secret {
                input #beside type="text" readonly value=(value) autocomplete="off"
                    spellcheck="false";
                button type="button" data-copy[true] hidden { "Copy " (name) }
            }
        }
    }
}

/// When the secret stops that the new one takes the place of.
pub fn old_stops(end: Option<Timestamp>) -> Markup {
    html! {
        @match end {
            Some(end) => { " The old one stops on " (time::stamp(end)) "." },
            None => " The old one has stopped.",
        }
    }
}

/// Until when the new secret is good.
pub fn valid_until(expires_at: Timestamp, desk: &Desk) -> Markup {
    html! { "It is valid until " (time::stamp(expires_at)) ", " (time::relative(expires_at, desk.now)) "." }
}
