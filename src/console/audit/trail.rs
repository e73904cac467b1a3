//! The page of the audit trail.

use super::beside::tabs;
use super::days::{DAY_SECONDS, DAYS, bars, last_day};
use super::{Asked, FILTERS, WHOSE, asked, with_filters};
use crate::app::audit::{AuditFilter, AuditPage};
use crate::app::view::EventView;
use crate::console::desk::Desk;
use crate::console::error::{Shown, Trouble};
use crate::console::names::{emails_of, names_of};
use crate::console::page::{EVIDENCE, Page};
use crate::console::paths::AUDIT;
use crate::console::render::events::{self, Telling};
use crate::console::render::histogram::{Day, histogram};
use crate::console::render::icons;
use crate::console::render::ignored::{ignored, is_among};
use crate::console::render::time;
use crate::console::render::words::{count, event_type};
use crate::console::sent::{COMPANY, Query, Sent, address};
use crate::http::Service;
use axum::extract::State;
use maud::{Markup, html};
use std::sync::Arc;
use token_ledger_domain::Timestamp;
use token_ledger_domain::event::EVENT_TYPES;

/// Events on a page.
const PAGE: usize = 50;
/// What the types of events stand under.
pub const HEADINGS: [(&str, &str); 3] =
    [("token", "Tokens"), ("key", "API keys"), ("company", "The company")];

/// `GET /console/audit`
pub async fn show(State(service): State<Arc<Service>>, desk: Desk, Query(sent): Query) -> Shown {
    let app = &service.app;
    let (known, others) = sent.sifted(is_known);
    let asked = asked(&service, &desk, &known).await?;
    if let Some(way) = asked.settled(&sent) {
        return Ok(way);
    }
    let sent = known;
    let company = desk.caller.company;
    // Read before the events, so that no new one falls between the two.
    let head = app.head(company).await?;
    let after = sent.number("before").and_then(|position| u64::try_from(position).ok());
    let page = AuditPage { descending: true, after, limit: PAGE };
    let (items, next) = if asked.is_clear() {
        let listed = app.audit_page(company, &asked.filter, page).await?;
        (listed.items, listed.next)
    } else {
        (Vec::new(), None)
    };
    let names = names_of(app, &desk.caller, &items).await?;
    let signed = app.signed(company).await?;
    let emails = emails_of(app, &desk.caller, &items).await?;
    let telling = Telling { emails: &emails, signed: Some(&signed), ..Telling::of(&names) };
    let chart = chart(&service, &desk, &asked, &sent).await?;
    let rows = if asked.is_clear() { app.audit_count(company, &asked.filter).await? } else { 0 };
    let content = html! {
        (tabs(AUDIT))
        (ignored(&others, AUDIT))
        @if asked.is_clear() { (chart) }
        (filters(&asked, &sent))
        div #results {
            (unknown(&asked, &sent))
            @if asked.is_clear() {
                (live(&desk, &sent, head, after))
                (exports(&desk, &sent, rows))
                (list(&items, telling, &sent))
                (pager(&sent, next))
            }
        }
    };
    let lead = "Everything that changed, by whom and from where, in the order in which it was \
        recorded. Nothing here can be edited.";
    let page = Page { title: "Audit trail", way: &[EVIDENCE], lead, ..Page::default() };
    if asked.refused.errors.is_empty() {
        return Ok(desk.page(&page, &content));
    }
    Ok(desk.refused(&page, &content))
}

/// Whether the trail can be asked for this.
fn is_known(name: &str, value: &str) -> bool {
    match name {
        "type" => EVENT_TYPES.iter().any(|(kind, _)| *kind == value),
        "before" => value.parse::<u64>().is_ok(),
        _ => is_among(&FILTERS, name),
    }
}

/// What the filters name that is not there, or is there more than once.
fn unknown(asked: &Asked, sent: &Sent) -> Markup {
    let others = sent.only(&["token", "type", "from", "to"]);
    let by = |id: &str| address(AUDIT, others.iter().copied().chain([("actor", id)]));
    let rest = sent.only(&["type", "actor", "from", "to"]);
    let of = |id: &str| address(AUDIT, rest.iter().copied().chain([("token", id)]));
    html! { (asked.actor.question(by)) (asked.token.question(of)) }
}

fn list(items: &[EventView], telling: Telling<'_>, sent: &Sent) -> Markup {
    let is_filtered = !sent.only(&FILTERS).is_empty();
    let nothing = match (is_filtered, sent.get("before").is_some()) {
        (true, false) => "Nothing was recorded that matches these filters.",
        (true, true) => "Nothing older was recorded that matches these filters.",
        (false, _) => "Nothing older was recorded: the ledger begins here.",
    };
    html! {
        div #newest tabindex="-1" {
            @if items.is_empty() {
                div .empty {
                    p { (nothing) }
                    @if is_filtered { a .button href=(AUDIT) { "Clear filters" } }
                }
            }
            (events::by_day(items, telling))
        }
    }
}

/// Where new events are told of, quietly.
fn live(desk: &Desk, sent: &Sent, head: u64, after: Option<u64>) -> Markup {
    let (head, whose) = (head.to_string(), desk.who.whose());
    let place = [("after", head.as_str()), (WHOSE, whose.as_str())];
    let stream = with_filters("/console/audit/live", sent, &place);
    html! {
        @if after.is_none() && sent.get("to").is_none() {
            div .fresh data-live=(stream) hidden { button type="button" {} }
        }
    }
}

fn exports(desk: &Desk, sent: &Sent, rows: u64) -> Markup {
    let company = desk.company.company_id.to_string();
    let to = |format| {
        let what = [("format", format), (COMPANY, company.as_str())];
        with_filters("/console/audit/export", sent, &what)
    };
    html! {
        div .bar {
            p .quiet role="status" { (count(rows, "event")) }
            @if rows > 0 {
                p {
                    a href=(to("csv")) { "Export " (count(rows, "row")) " as CSV" } " · "
                    a href=(to("ndjson")) { "as NDJSON" }
                }
            }
        }
    }
}

fn pager(sent: &Sent, next: Option<u64>) -> Markup {
    let older = next.map(|position| position.to_string());
    html! {
        nav .pager aria-label="Pages" {
            span {}
            div {
                @if sent.get("before").is_some() {
                    a .button href=(with_filters(AUDIT, sent, &[])) { "Newest" }
                }
                @if let Some(older) = &older {
                    a .button rel="next" href=(with_filters(AUDIT, sent, &[("before", older.as_str())])) {
                        "Older events"
                    }
                }
            }
        }
    }
}

/// Activity by day, over a month around what the filters show.
async fn chart(
    service: &Service,
    desk: &Desk,
    asked: &Asked,
    sent: &Sent,
) -> Result<Markup, Trouble> {
    let AuditFilter { from, to, .. } = asked.filter;
    let last = last_day(&asked.filter, desk.now);
    let first = last.plus_seconds(-(DAYS - 1) * DAY_SECONDS);
    let month = AuditFilter {
        from: Some(first),
        to: Some(last.plus_seconds(DAY_SECONDS)),
        ..asked.filter.clone()
    };
    let counts = if asked.is_clear() {
        service.app.audit_days(desk.caller.company, &month).await?
    } else {
        Vec::new()
    };
    let days: Vec<Day> = (0..DAYS)
        .map(|day| {
            let begins = first.plus_seconds(day * DAY_SECONDS);
            let ends = begins.plus_seconds(DAY_SECONDS);
            let found = counts.iter().find(|count| count.begins == begins);
            Day {
                begins,
                events: found.map_or(0, |count| count.events),
                shown: from.is_none_or(|from| from < ends) && to.is_none_or(|to| to > begins),
            }
        })
        .collect();
    let kept = sent.only(&["token", "type", "actor"]);
    let link = |begins: Timestamp| {
        let (from, to) = (time::date(begins), time::date(begins.plus_seconds(DAY_SECONDS)));
        let span = [("from", from.as_str()), ("to", to.as_str())];
        address(AUDIT, kept.iter().copied().chain(span))
    };
    Ok(histogram(&days, link))
}

/// The filters, which read as a sentence.
fn filters(asked: &Asked, sent: &Sent) -> Markup {
    let any_token = address(AUDIT, sent.only(&["type", "actor", "from", "to"]));
    let anybody = address(AUDIT, sent.only(&["token", "type", "from", "to"]));
    let types = sent.all("type");
    let span = sent.time("from").zip(sent.time("to"));
    let chosen = span.and_then(|(from, to)| bars(from, to).map(|words| (from, words)));
    let told = chosen.as_ref().map(|_| "bars");
    html! {
        form #filters .filters role="search" method="get" action=(AUDIT) {
            (what("type", "What", "Anything", types.first().map_or("", String::as_str)))
            @for (number, chosen) in types.iter().enumerate().skip(1) {
                (what(&format!("type-{number}"), "Or what", "Nothing else", chosen))
            }
            (asked.actor.field("actor", "By whom", &anybody))
            (asked.token.field(&any_token))
            div .span {
                (moment(asked, sent, "from", "From", told))
                (moment(asked, sent, "to", "Until", told))
                // Where the viewer's days are others, the script shows it.
                @if let Some((from, words)) = &chosen {
                    p #bars .hint data-abroad=(from) hidden { (words) }
                }
            }
            button type="submit" { (icons::search()) "Apply" }
            @if !sent.only(&FILTERS).is_empty() { a .button href=(AUDIT) { "Clear filters" } }
        }
    }
}

/// The field for a type of event.
fn what(id: &str, label: &str, none: &str, chosen: &str) -> Markup {
    html! {
        div {
            label for=(id) { (label) }
            select id=(id) name="type" {
                option value="" { (none) }
                @for (kind, heading) in HEADINGS {
                    optgroup label=(heading) {
                        @for (name, _) in EVENT_TYPES.iter().filter(|(name, _)| {
                            name.split('.').next() == Some(kind)
                        }) {
                            option value=(name) selected[chosen == *name] { (event_type(name)) }
                        }
                    }
                }
            }
        }
    }
}

/// The field for a time, and what is wrong with it or told about it elsewhere.
fn moment(asked: &Asked, sent: &Sent, name: &str, words: &str, told: Option<&str>) -> Markup {
    let error = asked.refused.of(name);
    let error_id = format!("{name}-error");
    let utc = sent.time(name).map(|time| time.to_string()).unwrap_or_default();
    html! {
        div {
            label for=(name) { (words) " (" span data-zone[true] { "UTC" } ")" }
            input id=(name) name=(name) type="datetime-local" data-utc=(utc)
                value=(sent.time(name).map(time::field).unwrap_or_default())
                aria-invalid=[error.map(|_| "true")] aria-describedby=[error.map(|_| error_id.as_str()).or(told)];
            @if let Some(error) = error { p .problem id=(error_id) { (error) } }
        }
    }
}
