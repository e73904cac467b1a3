//! Data accesses: as chips, as a list to choose from, and what a change does to them.

use super::words::{access, accesses, typeset};
use maud::{Markup, html};
use token_ledger_domain::Catalogue;

/// How many chips a row shows before the rest is counted.
const SHOWN: usize = 3;
/// What is said beside one that can't be kept.
const NO_LONGER: &str = "No longer on offer; saving takes it away";

/// The first few data accesses as chips; the rest is counted, and named behind the count.
pub fn chips(scopes: &[String]) -> Markup {
    let (shown, rest) = scopes.split_at(scopes.len().min(SHOWN));
    html! {
        span .chips {
            @for scope in shown { span .chip { (access(scope)) } " " }
            @if !rest.is_empty() {
                @let names = accesses(rest);
                span .chip .more data-exact=(names) tabindex="0" {
                    "+" (rest.len()) span .sr { " more: " (names) }
                }
            }
        }
    }
}

/// All data accesses as chips.
pub fn all(scopes: &[String]) -> Markup {
    row(scopes.iter().map(|scope| html! { span .chip { (access(scope)) } }))
}

/// Chips with spaces between them, so that a sentence goes on right behind the last.
fn row(chips: impl Iterator<Item = Markup>) -> Markup {
    html! {
        span .chips {
            @for (index, chip) in chips.enumerate() { @if index > 0 { " " } (chip) }
        }
    }
}

/// What a change does: additions and removals, and whatever stays.
pub fn diff(before: &[String], after: &[String]) -> Markup {
    let added = after.iter().filter(|scope| !before.contains(scope));
    let removed = before.iter().filter(|scope| !after.contains(scope));
    let kept = before.iter().filter(|scope| after.contains(scope));
    row(added
        .map(|scope| html! { ins .chip { span .sr { "added " } "+ " (access(scope)) } })
        .chain(removed.map(|scope| html! { del .chip { span .sr { "removed " } (access(scope)) } }))
        .chain(kept.map(|scope| html! { span .chip { (access(scope)) } })))
}

/// The data accesses on offer, each with what it opens, as a list of checkboxes. Those outside of
/// the policy can't be chosen; the ones that there are already are marked so that a change shows.
/// What is there and no longer on offer stands behind them, since it can't be kept.
pub fn choice(
    catalogue: &Catalogue,
    allowed: impl Fn(&str) -> bool,
    chosen: &[String],
    current: Option<&[String]>,
    error: Option<&str>,
) -> Markup {
    let is_current = |scope: &str| current.is_some_and(|own| own.iter().any(|own| own == scope));
    let (_, retired) = kept(catalogue, current.unwrap_or_default());
    html! {
        fieldset .scopes #scopes data-choice[true] aria-describedby=[error.map(|_| "scopes-error")] {
            legend { "Data accesses" }
            span .choose-all data-choose[true] hidden {
                button .plain type="button" data-all="true" { "Select all" }
                button .plain type="button" data-all="false" { "Select none" }
            }
            @if let Some(error) = error { p .problem #scopes-error { (error) } }
            ul .choices {
                @for (scope, description) in catalogue.iter() {
                    @let scope = scope.as_str();
                    @let is_chosen = chosen.iter().any(|chosen| chosen == scope);
                    @let may = allowed(scope);
                    li {
                        label {
                            input type="checkbox" name="scopes" value=(scope) checked[is_chosen]
                                disabled[!may && !is_chosen]
                                data-current=[current.map(|_| is_current(scope).to_string())];
                            span {
                                span .name { (access(scope)) }
                                span .hint {
                                    (typeset(description))
                                    @if !may { ". Not allowed by the company’s policy" }
                                }
                            }
                        }
                    }
                }
                @for scope in &retired {
                    li {
                        label {
                            input type="checkbox" disabled data-current="true";
                            span {
                                span .name { (access(scope)) }
                                span .hint { (NO_LONGER) }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// The data accesses that are still on offer, and those that aren't any more.
pub fn kept(catalogue: &Catalogue, scopes: &[String]) -> (Vec<String>, Vec<String>) {
    let is_offered = |scope: &String| catalogue.iter().any(|(known, _)| known.as_str() == scope);
    scopes.iter().cloned().partition(is_offered)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owned(names: &[&str]) -> Vec<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    #[test]
    fn three_chips_are_shown_and_the_rest_is_counted() {
        let html = chips(&owned(&["a", "b", "c", "d", "e"])).into_string();
        assert!(html.contains(">C<"));
        assert!(html.contains("+2"));
        assert!(html.contains("more: D, E"));
        assert!(!chips(&owned(&["a", "b", "c"])).into_string().contains('+'));
    }

    #[test]
    fn a_difference_tells_added_from_removed() {
        let html = diff(&owned(&["a", "b"]), &owned(&["b", "c"])).into_string();
        assert!(html.contains("<ins class=\"chip\"><span class=\"sr\">added </span>+ C</ins>"));
        assert!(html.contains("<del class=\"chip\"><span class=\"sr\">removed </span>A</del>"));
        assert!(html.contains("<span class=\"chip\">B</span>"));
    }

    #[test]
    fn what_is_no_longer_on_offer_is_shown_as_going() {
        let catalogue = Catalogue::default();
        let own = owned(&["employees", "rooms"]);
        let html = choice(&catalogue, |_| true, &own, Some(&own), None).into_string();
        let (_, behind) = html.split_once("type=\"checkbox\" disabled").expect("a box");
        assert!(behind.starts_with(" data-current=\"true\""));
        assert!(behind.contains("Rooms") && behind.contains(NO_LONGER));
        assert_eq!(html.matches(NO_LONGER).count(), 1);
        assert!(!choice(&catalogue, |_| true, &own, None, None).into_string().contains(NO_LONGER));
    }
}
