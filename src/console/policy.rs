//! The company's rules for tokens' terms.

use super::desk::{Desk, go_on};
use super::error::{Shown, Trouble};
use super::meanwhile::{Missed, Subject, missed};
use super::notices::{self, notice};
use super::page::{Page, SETTINGS, Way};
use super::paths::POLICY;
use super::refusal::{Shows, sentence};
use super::render::forms::{self, Refused};
use super::render::scopes;
use super::render::time::span;
use super::sent::{Query, Sent};
use crate::app::error::Invalid;
use crate::app::policy::{NewPolicy, PolicyView};
use crate::app::{AppError, input};
use crate::http::Service;
use axum::extract::State;
use maud::{Markup, html};
use std::sync::Arc;
use token_ledger_domain::policy::{MIN_VALIDITY_SECONDS, VALIDITY_CEILING_SECONDS};

/// Units that spans are entered in, with their seconds, the greatest first.
const UNITS: [(i64, &str); 4] =
    [(86_400, "days"), (3600, "hours"), (60, "minutes"), (1, "seconds")];
const VALIDITY: &str = "max_validity_seconds";
const GRACE: &str = "max_grace_seconds";
const ALLOWED: &str = "allowed_scopes";
const VALIDITY_LABEL: &str = "Tokens are valid for at most";
const GRACE_LABEL: &str = "After a refresh, the old secret works for at most";
const ALLOWED_LABEL: &str = "Tokens may have";
const ALL_ON_OFFER: &str = "All that are on offer, also future ones";
const SHOWS: Shows = &[(VALIDITY, ""), (GRACE, ""), (ALLOWED, ""), ("reason", "")];
const NONE_TICKED: &str = "Choose at least one data access.";
const SOME_TICKED: &str = "Some data accesses are not ticked. Choose “Only these” to leave them \
    out, or tick all of them.";
/// How often the policy is saved again when something else of the company has changed.
const MAX_ATTEMPTS: usize = 20;
const PAGE: Page<'_> = Page {
    title: "Policy",
    way: WAY,
    lead: "Applies to tokens created or refreshed from now on.",
    buttons: None,
    bare: false,
};
const WAY: Way<'_> = &[SETTINGS];

/// `GET /console/policy`
pub async fn show(State(service): State<Arc<Service>>, desk: Desk, Query(sent): Query) -> Shown {
    let (policy, version) = service.app.policy(&desk.caller).await?;
    let content = html! {
        (notice(&desk.who, &sent))
        @if desk.may_change() {
            (form(&service, &desk, &policy, &Entered::of(&policy), version, &Missed::default()))
        } @else { (facts(&policy)) }
    };
    Ok(desk.page(&PAGE, &content))
}

/// `POST /console/policy`
pub async fn change(State(service): State<Arc<Service>>, desk: Desk, sent: Sent) -> Shown {
    let missed = match save(&service, &desk, &sent).await? {
        Ok(done) => {
            return Ok(go_on(&format!("{POLICY}?notice={}", notices::of(&desk.who, done))));
        }
        Err(missed) => missed,
    };
    let (current, version) = service.app.policy(&desk.caller).await?;
    let entered = Entered::sent(&sent);
    let shown = if missed.is_stale {
        Entered { reason: entered.reason, ..Entered::of(&current) }
    } else {
        entered
    };
    Ok(desk.refused(&PAGE, &form(&service, &desk, &current, &shown, version, &missed)))
}

/// Saves what was sent: the notice of what was done, or why the form is shown again.
async fn save(
    service: &Service,
    desk: &Desk,
    sent: &Sent,
) -> Result<Result<&'static str, Missed>, Trouble> {
    let errors = unsuitable(service, sent);
    if !errors.is_empty() {
        let refused = Refused { errors, problem: None };
        return Ok(Err(Missed { refused, ..Missed::default() }));
    }
    let input = NewPolicy {
        max_validity_seconds: seconds(sent, VALIDITY),
        max_grace_seconds: seconds(sent, GRACE),
        allowed_scopes: (sent.text("allow") == "some").then(|| sent.all("scopes")),
        reason: sent.reason(),
    };
    let mut conditions = sent.conditions(&desk.caller, "policy");
    let mut attempts = 0;
    let error = loop {
        attempts += 1;
        let seen = conditions.expected_version;
        let saved = service.app.change_policy(&desk.caller, input.clone(), conditions.clone());
        let error = match saved.await {
            Ok((_, version)) if Some(version) == seen => return Ok(Ok("nothing-changed")),
            Ok(_) => return Ok(Ok("policy-changed")),
            Err(error) => error,
        };
        // The version is the company's, in which much else happens: what leaves the policy as it
        // was seen is no reason to ask again.
        let (AppError::VersionMismatch { actual }, Some(seen)) = (&error, seen) else {
            break error;
        };
        let is_changed = !Subject::Policy.since(service, desk, seen).await?.is_empty();
        if is_changed || attempts == MAX_ATTEMPTS {
            break error;
        }
        conditions.expected_version = Some(*actual);
    };
    Ok(Err(missed(service, desk, Subject::Policy, sent, SHOWS, error).await?))
}

/// What can't be meant by what was sent.
fn unsuitable(service: &Service, sent: &Sent) -> Vec<Invalid> {
    let mut errors = Vec::new();
    for (name, min) in [(VALIDITY, MIN_VALIDITY_SECONDS), (GRACE, 0)] {
        match seconds(sent, name) {
            None => errors.push(Invalid::new(name, "Enter a whole number.")),
            Some(seconds) if seconds < min => {
                errors.push(Invalid::new(name, format!("Choose at least {}.", span(min))));
            }
            Some(seconds) if seconds > VALIDITY_CEILING_SECONDS => {
                let most = span(VALIDITY_CEILING_SECONDS);
                errors.push(Invalid::new(name, format!("Choose at most {most}.")));
            }
            Some(_) => {}
        }
    }
    let (ticked, offered) =
        (sent.all("scopes").len(), service.app.choices.catalogue.iter().count());
    let untold = match sent.text("allow") {
        "some" if ticked == 0 => Some(NONE_TICKED),
        "some" => None,
        _ => (ticked > 0 && ticked < offered).then_some(SOME_TICKED),
    };
    errors.extend(untold.map(|detail| Invalid::new(ALLOWED, detail)));
    if let Err(detail) = input::reason(sent.reason()) {
        errors.push(Invalid::new("reason", sentence(&detail)));
    }
    errors
}

/// The span that two fields hold.
fn seconds(sent: &Sent, name: &str) -> Option<i64> {
    let unit = sent.number(&format!("{name}_unit")).unwrap_or(1);
    sent.number(name).map(|number| number.saturating_mul(unit))
}

/// What the form holds: what was sent, or the policy.
struct Entered {
    validity: Duration,
    grace: Duration,
    is_narrow: bool,
    /// The data accesses that are ticked; none for all of them.
    scopes: Option<Vec<String>>,
    reason: String,
}

/// A span as two fields hold it.
struct Duration {
    number: String,
    unit: i64,
}

impl Entered {
    fn of(policy: &PolicyView) -> Self {
        Self {
            validity: Duration::of(policy.max_validity_seconds),
            grace: Duration::of(policy.max_grace_seconds),
            is_narrow: policy.allowed_scopes.is_some(),
            scopes: policy.allowed_scopes.clone(),
            reason: String::new(),
        }
    }

    fn sent(sent: &Sent) -> Self {
        Self {
            validity: Duration::sent(sent, VALIDITY),
            grace: Duration::sent(sent, GRACE),
            is_narrow: sent.text("allow") == "some",
            scopes: Some(sent.all("scopes")),
            reason: sent.text("reason").to_owned(),
        }
    }
}

impl Duration {
    /// In the greatest unit that holds it without a rest.
    fn of(seconds: i64) -> Self {
        let unit = UNITS.iter().find(|(unit, _)| seconds > 0 && seconds % unit == 0);
        let unit = unit.map_or(1, |(unit, _)| *unit);
        Self { number: (seconds / unit).to_string(), unit }
    }

    fn sent(sent: &Sent, name: &str) -> Self {
        let unit = sent.number(&format!("{name}_unit")).unwrap_or(1);
        Self { number: sent.text(name).to_owned(), unit }
    }
}

fn facts(policy: &PolicyView) -> Markup {
    html! {
        dl .facts {
            dt { (VALIDITY_LABEL) } dd { (span(policy.max_validity_seconds)) }
            dt { (GRACE_LABEL) } dd { (span(policy.max_grace_seconds)) }
            dt { (ALLOWED_LABEL) }
            dd {
                @match &policy.allowed_scopes {
                    None => (ALL_ON_OFFER),
                    Some(allowed) => (scopes::all(allowed)),
                }
            }
        }
    }
}

fn form(
    service: &Service,
    desk: &Desk,
    current: &PolicyView,
    entered: &Entered,
    version: u64,
    missed: &Missed,
) -> Markup {
    let refused = &missed.refused;
    let catalogue = &service.app.choices.catalogue;
    let current = current.allowed_scopes.as_deref();
    let all: Vec<String> = catalogue.iter().map(|(scope, _)| scope.to_string()).collect();
    let chosen = entered.scopes.as_ref().unwrap_or(&all);
    let options = [("all", ALL_ON_OFFER), ("some", "Only these:")]
        .map(|(value, words)| (value.to_owned(), html! { (words) }));
    let allow = if entered.is_narrow { "some" } else { "all" };
    html! {
        (missed.told)
        form .form .card method="post" action=(POLICY) novalidate {
            (desk.seal()) (forms::version(version)) (forms::problem(refused))
            (duration(
                VALIDITY,
                VALIDITY_LABEL,
                "From 1 minute to 366 days.",
                &entered.validity,
                refused,
            ))
            (duration(
                GRACE,
                GRACE_LABEL,
                "0 stops it at once; up to 366 days.",
                &entered.grace,
                refused,
            ))
            (forms::radios("allow", ALLOWED_LABEL, &options, allow, refused.of(ALLOWED)))
            (scopes::choice(catalogue, |_| true, chosen, current, None))
            (forms::reason(&entered.reason, refused))
            p .actions { button .main type="submit" { "Save policy" } }
        }
    }
}

/// A span as a number and its unit.
fn duration(name: &str, label: &str, hint: &str, held: &Duration, refused: &Refused) -> Markup {
    let error = refused.of(name);
    let (hint_id, error_id) = (format!("{name}-hint"), format!("{name}-error"));
    let described = error.map_or_else(|| hint_id.clone(), |_| format!("{error_id} {hint_id}"));
    html! {
        div .field {
            label for=(name) { (label) }
            div .pair {
                input id=(name) name=(name) type="number" min="0" required value=(held.number)
                    aria-invalid=[error.map(|_| "true")] aria-describedby=(described);
                select name={ (name) "_unit" } aria-label={ (label) ": unit" } {
                    @for (own, words) in UNITS {
                        option value=(own) selected[own == held.unit] { (words) }
                    }
                }
            }
            @if let Some(error) = error { p .problem id=(error_id) { (error) } }
            p .hint id=(hint_id) { (hint) }
        }
    }
}
