//! The company's rules for tokens' terms.

use super::desk::{Desk, go_on};
use super::error::Shown;
use super::meanwhile::{Missed, Subject, missed};
use super::notices::notice;
use super::page::{Page, Way};
use super::paths::POLICY;
use super::render::forms::{self, Refused};
use super::render::scopes;
use super::render::time::span;
use super::sent::{Query, Sent};
use crate::app::AppError;
use crate::app::policy::{NewPolicy, PolicyView};
use crate::http::Service;
use axum::extract::State;
use maud::{Markup, html};
use std::sync::Arc;

/// Units that spans are entered in, with their seconds, the greatest first.
const UNITS: [(i64, &str); 4] =
    [(86_400, "days"), (3600, "hours"), (60, "minutes"), (1, "seconds")];
/// How often the policy is saved again when something else of the company has changed.
const MAX_ATTEMPTS: usize = 20;
const PAGE: Page<'_> = Page {
    title: "Policy",
    way: WAY,
    lead: "What terms of tokens that begin from now on may be. Terms that have begun are left as \
           they are.",
    buttons: None,
    bare: false,
};
const WAY: Way<'_> = &[("Company Settings", None)];

/// `GET /console/policy`
pub async fn show(State(service): State<Arc<Service>>, desk: Desk, Query(sent): Query) -> Shown {
    let (policy, version) = service.app.policy(&desk.caller).await?;
    let content = html! {
        (notice(&sent))
        @if desk.may_change() {
            (form(&service, &desk, &policy, version, &Missed::default()))
        } @else { (facts(&policy)) }
    };
    Ok(desk.page(&PAGE, &content))
}

/// `POST /console/policy`
pub async fn change(State(service): State<Arc<Service>>, desk: Desk, sent: Sent) -> Shown {
    let allowed = (sent.text("allow") == "some").then(|| sent.all("scopes"));
    let input = NewPolicy {
        max_validity_seconds: Some(seconds(&sent, "max_validity_seconds")),
        max_grace_seconds: Some(seconds(&sent, "max_grace_seconds")),
        allowed_scopes: allowed.clone(),
        reason: sent.reason(),
    };
    let entered = PolicyView {
        max_validity_seconds: seconds(&sent, "max_validity_seconds"),
        max_grace_seconds: seconds(&sent, "max_grace_seconds"),
        allowed_scopes: allowed,
    };
    let mut conditions = sent.conditions(&desk.caller, "policy");
    let mut attempts = 0;
    let error = loop {
        attempts += 1;
        let seen = conditions.expected_version;
        let saved = service.app.change_policy(&desk.caller, input.clone(), conditions.clone());
        let Err(error) = saved.await else {
            return Ok(go_on(&format!("{POLICY}?notice=policy-changed")));
        };
        // The version is the company's, in which much else happens: what leaves the policy as it
        // was seen is no reason to ask again.
        let (AppError::VersionMismatch { actual }, Some(seen)) = (&error, seen) else {
            break error;
        };
        let is_changed = !Subject::Policy.since(&service, &desk, seen).await?.is_empty();
        if is_changed || attempts == MAX_ATTEMPTS {
            break error;
        }
        conditions.expected_version = Some(*actual);
    };
    let missed = missed(&service, &desk, Subject::Policy, sent.number("version"), error).await?;
    let (current, version) = service.app.policy(&desk.caller).await?;
    let shown = if missed.is_stale { current } else { entered };
    Ok(desk.refused(&PAGE, &form(&service, &desk, &shown, version, &missed)))
}

/// The span that two fields hold; one that no policy can have where they hold none.
fn seconds(sent: &Sent, name: &str) -> i64 {
    let unit = sent.number(&format!("{name}_unit")).unwrap_or(1);
    sent.number(name).map_or(-1, |number| number.saturating_mul(unit))
}

fn facts(policy: &PolicyView) -> Markup {
    html! {
        dl .facts {
            dt { "Longest validity" } dd { (span(policy.max_validity_seconds)) }
            dt { "Old secret at most" } dd { (span(policy.max_grace_seconds)) }
            dt { "Data accesses" }
            dd {
                @match &policy.allowed_scopes {
                    None => "All on offer",
                    Some(allowed) => (scopes::all(allowed)),
                }
            }
        }
    }
}

fn form(
    service: &Service,
    desk: &Desk,
    policy: &PolicyView,
    version: u64,
    missed: &Missed,
) -> Markup {
    let refused = &missed.refused;
    let all: Vec<String> =
        service.app.choices.catalogue.iter().map(|(scope, _)| scope.to_string()).collect();
    let chosen = policy.allowed_scopes.as_ref().unwrap_or(&all);
    let options = [("all", "All that are on offer, also future ones"), ("some", "Only these:")]
        .map(|(value, words)| (value.to_owned(), words.to_owned()));
    let allow = if policy.allowed_scopes.is_some() { "some" } else { "all" };
    html! {
        (missed.told)
        form .form .card method="post" action=(POLICY) novalidate {
            (desk.seal()) (forms::version(version)) (forms::problem(refused))
            (duration(
                "max_validity_seconds",
                "Tokens are valid for at most",
                "From 1 minute to 366 days.",
                policy.max_validity_seconds,
                refused,
            ))
            (duration(
                "max_grace_seconds",
                "After a refresh, the old secret works for at most",
                "0 stops it at once; up to 366 days.",
                policy.max_grace_seconds,
                refused,
            ))
            (forms::radios("allow", "Tokens may have", &options, allow, refused.of("allowed_scopes")))
            (scopes::choice(&service.app.choices.catalogue, |_| true, chosen, None, None))
            (forms::reason("", refused))
            p .actions { button .main type="submit" { "Save policy" } }
        }
    }
}

/// A span in the greatest unit that holds it without a rest.
fn duration(name: &str, label: &str, hint: &str, seconds: i64, refused: &Refused) -> Markup {
    let unit = UNITS.iter().find(|(unit, _)| seconds > 0 && seconds % unit == 0);
    let unit = unit.map_or(1, |(unit, _)| *unit);
    let error = refused.of(name);
    html! {
        div .field {
            label for=(name) { (label) }
            div .pair {
                input id=(name) name=(name) type="number" min="0" required value=(seconds / unit)
                    aria-invalid=[error.map(|_| "true")] aria-describedby={ (name) "-hint" };
                select name={ (name) "_unit" } aria-label={ (label) ": unit" } {
                    @for (own, words) in UNITS {
                        option value=(own) selected[own == unit] { (words) }
                    }
                }
            }
            @if let Some(error) = error { p .problem { (error) } }
            p .hint id={ (name) "-hint" } { (hint) }
        }
    }
}
