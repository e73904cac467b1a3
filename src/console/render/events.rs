//! Events as sentences with a face: who, what in the past tense, to what, when, from where, why.

use super::icons;
use super::record::{badge, of_event, record};
use super::scopes;
use super::time::{self, stamp};
use super::words::{access, key_scope, role};
use crate::app::signed::Signed;
use crate::app::view::{ActorView, EventView};
use crate::console::paths::TOKENS;
use crate::console::sent::address;
use maud::{Markup, html};
use serde_json::{Map, Value};
use std::collections::HashMap;
use std::sync::LazyLock;
use token_ledger_domain::Timestamp;
use uuid::Uuid;

/// What things are called that events know by identifier only.
pub type Names = HashMap<Uuid, String>;

/// What a sentence is told with.
#[derive(Clone, Copy, Debug)]
pub struct Telling<'a> {
    /// What things are called.
    pub names: &'a Names,
    /// The addresses of those who did it, where records are shown.
    pub emails: &'a Names,
    /// How far the ledger is signed, where proofs are told of.
    pub signed: Option<&'a Signed>,
    /// The token whose page it is, which needs neither its name nor a way to it.
    pub own: Option<Uuid>,
    /// Where what the events are of is shown as it was behind each of them, if anywhere.
    pub then: Option<&'a str>,
}

/// Nobody's.
static NO_EMAILS: LazyLock<Names> = LazyLock::new(Names::new);

impl<'a> Telling<'a> {
    /// With what things are called, and nothing else.
    pub fn of(names: &'a Names) -> Self {
        Self { names, emails: &NO_EMAILS, signed: None, own: None, then: None }
    }

    /// The address of whoever did it.
    pub fn email(&self, event: &EventView) -> Option<&'a str> {
        self.emails.get(&event.actor.id).map(String::as_str)
    }
}

/// Whoever did it, as a drawing and a name. The service looks different from people and programs.
pub fn actor(actor: &ActorView) -> Markup {
    html! { span .actor { (face(actor)) (actor_name(actor)) } }
}

/// The drawing.
pub fn face(actor: &ActorView) -> Markup {
    let icon = match actor.kind {
        "member" => icons::person(),
        "key" => icons::key(),
        "client" => icons::client(),
        "operator" => icons::operator(),
        _ => icons::system(),
    };
    html! { span .face .{ "of-" (actor.kind) } { (icon) } }
}

/// The actor's name, or what it is where the name is not known any more.
pub fn actor_name(actor: &ActorView) -> Markup {
    let (nameless, kind) = match actor.kind {
        "member" => ("A former member", None),
        "key" => ("An API key", Some(" (API key)")),
        "client" => ("A client", Some(" (client)")),
        "operator" => ("An operator", Some(" (operator)")),
        _ => ("Token Ledger", None),
    };
    html! {
        @match &actor.name {
            Some(name) => {
                strong { (name) }
                @if let Some(kind) = kind { span .kind .nowrap { (kind) } }
            }
            None => strong { (nameless) },
        }
    }
}

/// What happened, without who: "created Payroll sync with …".
pub fn deed(event: &EventView, telling: Telling<'_>) -> Markup {
    let data = &event.data;
    match event.kind.as_str() {
        "token.created" => html! {
            "created " (thing(event, telling)) " with " (scopes::all(&list(data, "scopes")))
            ", valid until " (moment(data, "expires_at"))
        },
        "token.refreshed" | "key.refreshed" => html! {
            "refreshed " (thing(event, telling)) ". The new secret is valid until "
            (moment(data, "expires_at")) "; the old one " (old_secret(data))
        },
        "token.grace_ended" => html! {
            "stopped the old secret of " (thing(event, telling)) " before its time"
        },
        "token.scopes_changed" => html! {
            "changed the data accesses of " (thing(event, telling)) ": " (scope_change(data))
        },
        "token.deleted" | "key.deleted" => html! { "deleted " (thing(event, telling)) },
        "token.expired" | "key.expired" => html! {
            "recorded that " (thing(event, telling)) " expired on " (moment(data, "expired_at"))
        },
        "key.created" => html! {
            "created the API key " (thing(event, telling)) " that may "
            (key_powers(&list(data, "scopes"))) ", valid until " (moment(data, "expires_at"))
        },
        "company.registered" => html! { "registered the company " (named(data)) },
        "company.oauth_app_enabled" => html! { "turned the OAuth App module on" },
        "company.oauth_app_disabled" => html! {
            "turned the OAuth App module off; no token works until it is on again"
        },
        "company.policy_changed" => html! { "changed the token policy: " (policy(data)) },
        "company.member_added" => html! {
            "added " (known(data, "member_id", telling, "a member")) " as " (role(text(data, "role")))
        },
        "company.member_role_changed" => html! {
            "made " (known(data, "member_id", telling, "a member")) " "
            ins { (role(text(data, "role"))) } " instead of "
            del { (role(text(data, "previous_role"))) }
        },
        "company.member_removed" => html! {
            "removed " (known(data, "member_id", telling, "a member")) " from the company"
        },
        "company.client_created" => html! {
            "created the client " (named(data)) ", which may ask for "
            (scopes::all(&list(data, "scopes")))
        },
        "company.client_rotated" => html! {
            "gave the client " (known(data, "client_id", telling, "that was there then"))
            " a new secret; the old one " (old_secret(data))
        },
        "company.client_deleted" => html! {
            "deleted the client " (known(data, "client_id", telling, "that was there then"))
        },
        "company.person_erased" => html! { "erased the data of a person" },
        other => html! { "recorded " code { (other) } },
    }
}

/// The token or key that it happened to.
fn thing(event: &EventView, telling: Telling<'_>) -> Markup {
    let own = event.data.get("name").and_then(Value::as_str);
    let name = own.or_else(|| telling.names.get(&event.aggregate.id).map(String::as_str));
    let fallback = if event.aggregate.kind == "key" { "an API key" } else { "a token" };
    let name = name.unwrap_or(fallback);
    html! {
        @match event.token_id {
            Some(id) if telling.own == Some(id) => "this token",
            Some(id) => a href={ (TOKENS) "/" (id) } { (name) },
            None => strong { (name) },
        }
    }
}

fn text<'a>(data: &'a Map<String, Value>, field: &str) -> &'a str {
    data.get(field).and_then(Value::as_str).unwrap_or_default()
}

fn named(data: &Map<String, Value>) -> Markup {
    html! { strong { (text(data, "name")) } }
}

fn list(data: &Map<String, Value>, field: &str) -> Vec<String> {
    let items = data.get(field).and_then(Value::as_array).into_iter().flatten();
    items.filter_map(Value::as_str).map(str::to_owned).collect()
}

/// Something that the company knows by identifier.
fn known(data: &Map<String, Value>, field: &str, telling: Telling<'_>, fallback: &str) -> Markup {
    let id: Option<Uuid> = text(data, field).parse().ok();
    let name = id.and_then(|id| telling.names.get(&id));
    html! {
        @match name {
            Some(name) => strong { (name) },
            None => (fallback),
        }
    }
}

fn moment(data: &Map<String, Value>, field: &str) -> Markup {
    html! {
        @if let Ok(time) = text(data, field).parse::<Timestamp>() { (stamp(time)) }
        @else { "an unknown time" }
    }
}

/// What was decided of the old secret: what came in between, other events tell.
fn old_secret(data: &Map<String, Value>) -> Markup {
    html! {
        @if let Ok(end) = text(data, "previous_secret_expires_at").parse::<Timestamp>() {
            "was to stop on " (stamp(end))
        } @else { "stopped at once" }
    }
}

/// Before and after.
fn scope_change(data: &Map<String, Value>) -> Markup {
    let after = list(data, "scopes");
    let (added, removed) = (list(data, "added"), list(data, "removed"));
    let kept = after.iter().filter(|scope| !added.contains(scope)).cloned();
    let before: Vec<String> = kept.chain(removed).collect();
    scopes::diff(&before, &after)
}

fn key_powers(names: &[String]) -> String {
    let words: Vec<String> = names.iter().map(|name| key_scope(name).to_lowercase()).collect();
    words.join(" and ")
}

fn policy(data: &Map<String, Value>) -> Markup {
    let policy = &data.get("policy").cloned().unwrap_or_default();
    let seconds = |field: &str| time::span(policy[field].as_i64().unwrap_or_default());
    let allowed = policy["allowed_scopes"].as_array();
    html! {
        "tokens are valid for at most " strong { (seconds("max_validity_seconds")) }
        ", old secrets for at most " strong { (seconds("max_grace_seconds")) }
        " after a refresh, and tokens may have "
        @match allowed {
            None => "all data accesses",
            Some(scopes) => {
                "only "
                @for scope in scopes.iter().filter_map(Value::as_str) {
                    span .chip { (access(scope)) } " "
                }
            }
        }
    }
}

/// Why it was done, in the words of whoever did it; without gaps, which anybody may type.
pub fn reason(text: &str) -> Markup {
    let mut lines: Vec<&str> = text.trim().lines().map(str::trim_end).collect();
    lines.dedup_by(|line, before| line.is_empty() && before.is_empty());
    html! { p .reason { "“" (lines.join("\n")) "”" } }
}

/// One event in a list: the sentence, and the exact record behind it.
pub fn entry(event: &EventView, telling: Telling<'_>) -> Markup {
    let context = &event.context;
    html! {
        li .event #{ "position-" (event.position) } {
            (face(&event.actor))
            div .said {
                p .deed { (actor_name(&event.actor)) " " (deed(event, telling)) }
                @if let Some(text) = &context.reason { (reason(text)) }
                p .meta {
                    (time::time_of_day(event.recorded_at))
                    @if let Some(ip) = &context.ip { span { "from " (ip) } }
                    a href=(of_event(event.position)) { "position " (event.position) }
                    @if let Some(page) = telling.then {
                        @let at = event.recorded_at.to_string();
                        a href=(address(page, [("at", at.as_str())])) {
                            "as it was then" span .sr { ", at position " (event.position) }
                        }
                    }
                    @if let Some(signed) = telling.signed { (badge(event.position, signed)) }
                }
                (record(event, telling))
            }
        }
    }
}

/// Events by day in UTC, the days in the order in which they come; the script puts them under the
/// viewer's days.
pub fn by_day(events: &[EventView], telling: Telling<'_>) -> Markup {
    html! {
        @for day in events.chunk_by(|a, b| {
            time::midnight(a.recorded_at) == time::midnight(b.recorded_at)
        }) {
            @if let Some(first) = day.first() {
                section .day {
                    h2 {
                        time datetime=(time::date(first.recorded_at)) { (time::day(first.recorded_at)) }
                        " (UTC)"
                    }
                    ol .events { @for event in day { (entry(event, telling)) } }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::view::{AggregateView, ContextView};
    use serde_json::json;
    use token_ledger_domain::event::EVENT_TYPES;

    fn event(kind: &str, data: &Value) -> EventView {
        let aggregate = kind.split('.').next().unwrap();
        let aggregate = ["token", "key", "company"].into_iter().find(|k| *k == aggregate).unwrap();
        let id = Uuid::from_u128(7);
        EventView {
            position: 418,
            company_id: Uuid::from_u128(1),
            token_id: (aggregate == "token").then_some(id),
            aggregate: AggregateView { kind: aggregate, id },
            sequence: 2,
            kind: kind.to_owned(),
            schema_version: 1,
            recorded_at: "2026-03-03T14:05:00Z".parse().unwrap(),
            actor: ActorView { kind: "member", id, name: Some("Maya".to_owned()) },
            context: ContextView { reason: Some("<leak>".to_owned()), ..ContextView::default() },
            data: data.as_object().cloned().unwrap_or_default(),
            entry_hash: [7; 32],
        }
    }

    fn told(kind: &str, data: &Value) -> String {
        let names = Names::from([(Uuid::from_u128(7), "Payroll sync".to_owned())]);
        let telling = Telling::of(&names);
        entry(&event(kind, data), telling).into_string()
    }

    /// The sentence without its markup.
    fn plain(kind: &str, data: &Value) -> String {
        let html = told(kind, data);
        let deed = html.split("<p class=\"deed\">").nth(1).unwrap().split("</p>").next().unwrap();
        let mut text = String::new();
        let mut inside = false;
        for character in deed.chars() {
            match character {
                '<' => inside = true,
                '>' => inside = false,
                other if !inside => text.push(other),
                _ => {}
            }
        }
        text.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn every_type_of_event_is_told_in_a_sentence() {
        for (kind, _) in EVENT_TYPES {
            let text = plain(kind, &json!({}));
            assert!(text.starts_with("Maya "), "{text}");
            assert!(!text.contains(kind), "{text}");
        }
    }

    #[test]
    fn sentences_say_what_exactly() {
        let refreshed = json!({
            "expires_at": "2026-03-10T14:05:00Z",
            "previous_secret_expires_at": "2026-03-03T15:05:00Z",
        });
        assert_eq!(
            plain("token.refreshed", &refreshed),
            "Maya refreshed Payroll sync. The new secret is valid until 10 March 2026, 14:05:00 \
             UTC; the old one was to stop on 3 March 2026, 15:05:00 UTC"
        );
        let told = plain("key.refreshed", &json!({}));
        assert!(told.ends_with("; the old one stopped at once"), "{told}");
        let lowered = json!({"member_id": Uuid::from_u128(9), "role": "auditor",
            "previous_role": "super_admin"});
        assert_eq!(
            plain("company.member_role_changed", &lowered),
            "Maya made a member Auditor instead of Super Admin"
        );
        let changed = json!({"scopes": ["a", "b"], "added": ["b"], "removed": ["c"]});
        assert_eq!(
            plain("token.scopes_changed", &changed),
            "Maya changed the data accesses of Payroll sync: added + B removed C A"
        );
    }

    #[test]
    fn a_tokens_own_page_does_not_lead_to_itself() {
        let names = Names::new();
        let deleted = event("token.deleted", &json!({}));
        for (own, said) in [(7, "deleted this token"), (8, "deleted <a href=\"/console/tokens/")] {
            let telling = Telling { own: Some(Uuid::from_u128(own)), ..Telling::of(&names) };
            let told = deed(&deleted, telling).into_string();
            assert!(told.starts_with(said), "{told}");
        }
    }

    #[test]
    fn who_has_no_name_is_not_told_twice_what_it_is() {
        let key = |name: Option<&str>| {
            let name = name.map(str::to_owned);
            actor_name(&ActorView { kind: "key", id: Uuid::from_u128(7), name }).into_string()
        };
        assert!(key(Some("Nightly")).contains(" (API key)"));
        assert_eq!(key(None), "<strong>An API key</strong>");
    }

    #[test]
    fn a_reason_is_told_without_gaps() {
        let told = reason(&format!("First\n\n\n \nthen{}", "\n".repeat(400))).into_string();
        assert_eq!(told, "<p class=\"reason\">“First\n\nthen”</p>");
    }

    #[test]
    fn what_people_typed_is_text() {
        let html = told("token.created", &json!({"name": "<b>x</b>"}));
        assert!(!html.contains("<b>x") && !html.contains("<leak>"));
        assert!(html.contains("“&lt;leak&gt;”"));
    }
}
