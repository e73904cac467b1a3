//! What operators see: all companies, and how the projections are doing.

use super::companies::search;
use super::desk::{Bridge, go_on};
use super::error::Shown;
use super::extract::Path;
use super::notices::{self, about, notice, notice_of};
use super::page::{Page, Way};
use super::paths::{COMPANIES, PLATFORM, PROJECTIONS};
use super::refusal::{Shows, refusal};
use super::render::forms::{self, Field, Refused, frame};
use super::render::ignored::{ignored, strange};
use super::render::pager::nothing_further;
use super::render::time;
use super::render::words::{count, grouped};
use super::sent::{LIST, Query, Sent, address};
use crate::app::rebuilds::{ProjectionState, ProjectionView, RebuildState, RebuildView};
use crate::app::view::CompanyView;
use crate::app::{AppError, Caller, Conditions};
use crate::http::Service;
use axum::extract::State;
use maud::{Markup, html};
use std::sync::Arc;
use token_ledger_domain::CompanyId;
use uuid::Uuid;

const NEW: &str = "/console/platform/companies/new";
const REGISTER: &str = "Register company";
const TURN_OFF: &str = "Turn off the OAuth App module";
const TURN_ON: &str = "Turn on the OAuth App module";
/// What the list of companies can be asked for.
const ASKED: [&str; 3] = ["q", "after", "id"];
const WAY: Way<'_> = &[("Platform", None)];
const BELOW: Way<'_> = &[("Platform", None), ("Companies", Some(PLATFORM))];
const SHOWS: Shows = &[("name", "Give the company a name of 1 to 100 characters.")];
/// Companies on a page.
const PAGE: usize = 50;

/// `GET /console/platform/companies`
pub async fn companies(
    State(service): State<Arc<Service>>,
    bridge: Bridge,
    Query(sent): Query,
) -> Shown {
    let q = sent.text("q");
    let after = sent.get("after").map(str::to_owned).zip(sent.id("id").map(CompanyId));
    let listed = service.app.find_companies(q, after.clone(), PAGE).await?;
    let kept = sent.only(&["q"]);
    let asked = sent.asked(&ASKED);
    let notice = notice_of(&service.app, &bridge.who, &bridge.caller, &sent).await?;
    let content = html! {
        (notice)
        (ignored(&strange(&sent, &ASKED), PLATFORM))
        (search(PLATFORM, PLATFORM, q))
        @if listed.items.is_empty() && after.is_some() {
            (nothing_further())
        } @else if listed.items.is_empty() {
            div .empty {
                p { "No company has “" (q) "” in its name." }
                a .button href=(PLATFORM) { "Show all" }
            }
        } @else {
            table .rows .roomy {
                caption .sr { "Companies" }
                thead {
                    tr {
                        th scope="col" { "Name" } th scope="col" { "OAuth App module" }
                        th scope="col" { "Registered" }
                        th scope="col" { span .sr { "Actions" } }
                    }
                }
                tbody { @for company in &listed.items { (row(&bridge, company, asked.as_deref())) } }
            }
        }
        nav .pager aria-label="Pages" {
            span {}
            div {
                @if after.is_some() {
                    a .button href=(address(PLATFORM, kept.iter().copied())) { "First page" }
                }
                @if let Some((name, id)) = &listed.next {
                    @let id = id.to_string();
                    @let place = [("after", name.as_str()), ("id", id.as_str())];
                    a .button rel="next" href=(address(PLATFORM, kept.iter().copied().chain(place))) {
                        "Next page"
                    }
                }
            }
        }
    };
    let buttons = html! { a .button .main href=(NEW) data-dialog[true] { "Register company" } };
    let lead = "Every company has a ledger of its own. While its OAuth App module is off, none of \
        its tokens works.";
    let page =
        Page { title: "Companies", way: WAY, lead, buttons: Some(buttons), ..Page::default() };
    Ok(bridge.page(&page, &content))
}

/// A company, whose forms lead back to what the list was asked for.
fn row(bridge: &Bridge, company: &CompanyView, asked: Option<&str>) -> Markup {
    let on = company.oauth_app_enabled;
    let module = module_of(company);
    let turn_off = address(&module, asked.map(|asked| (LIST, asked)));
    let here = bridge.who.company.as_ref().map(|here| here.company_id);
    html! {
        tr {
            th scope="row" { (company.name) span .sub .mono { (company.company_id) } }
            td data-label="OAuth App module" {
                form .switch method="post" action=(module) {
                    (bridge.seal()) (forms::list(asked.unwrap_or_default()))
                    span .status .good[on] .off[!on] { @if on { "On" } @else { "Off" } }
                    @if on {
                        a .button href=(turn_off) data-dialog[true]
                            aria-label={ "Turn off for " (company.name) } { "Turn off" }
                    } @else {
                        button name="enabled" value="true" data-returns[true] aria-label={ "Turn on for " (company.name) } {
                            "Turn on"
                        }
                    }
                }
            }
            td data-label="Registered" { (time::ago(company.created_at, bridge.now)) }
            td {
                @if here == Some(company.company_id) { span .quiet .nowrap { "You are here" } } @else {
                    form method="post" action=(COMPANIES) {
                        (super::form::token_field(&bridge.who))
                        button name="company_id" value=(company.company_id)
                            aria-label={ "Enter " (company.name) } { "Enter" }
                    }
                }
            }
        }
    }
}

/// `GET /console/platform/companies/{company_id}/oauth-app`
pub async fn module_form(
    State(service): State<Arc<Service>>,
    bridge: Bridge,
    Path(id): Path<Uuid>,
    Query(sent): Query,
) -> Shown {
    let company = service.app.company(&caller_in(&bridge, id)).await?;
    let content = turn_off(&bridge, &company, &sent, &Refused::default());
    Ok(bridge.page(&form_page(TURN_OFF), &content))
}

/// `POST /console/platform/companies/{company_id}/oauth-app`
pub async fn set_oauth_app(
    State(service): State<Arc<Service>>,
    bridge: Bridge,
    Path(id): Path<Uuid>,
    sent: Sent,
) -> Shown {
    let caller = caller_in(&bridge, id);
    let enabled = sent.text("enabled") == "true";
    let company = service.app.company(&caller).await?;
    let done = about(&bridge.who, if enabled { "module-on" } else { "module-off" }, id);
    match service.app.set_oauth_app(&caller, enabled, sent.reason(), Conditions::default()).await {
        Ok(_) => Ok(go_on(&sent.list_before(PLATFORM, &ASKED, Some(&done)))),
        Err(error) => {
            let refused = refusal(error, &sent, &[("reason", "")])?;
            let content = turn_off(&bridge, &company, &sent, &refused);
            let title = if enabled { TURN_ON } else { TURN_OFF };
            Ok(bridge.refused(&form_page(title), &content))
        }
    }
}

/// The operator, in this company.
fn caller_in(bridge: &Bridge, company: Uuid) -> Caller {
    Caller { company: CompanyId(company), ..bridge.caller.clone() }
}

fn turn_off(bridge: &Bridge, company: &CompanyView, sent: &Sent, refused: &Refused) -> Markup {
    let back = sent.list_before(PLATFORM, &ASKED, None);
    let content = html! {
        @if company.oauth_app_enabled {
            form .form method="post" action=(module_of(company)) novalidate {
                (bridge.seal()) (forms::list(sent.text(LIST))) (forms::problem(refused))
                input type="hidden" name="enabled" value="false";
                p { "Every token of " strong { (company.name) } " stops working at once, and none can \
                     be created or refreshed while the module is off. Tokens that are still valid \
                     work again as soon as it is on." }
                (forms::reason(sent.text("reason"), refused))
                (forms::actions(&format!("Turn off for “{}”", company.name), true, &back))
            }
        } @else {
            (forms::problem(refused))
            p { "The module of " strong { (company.name) } " is off." }
            (forms::close(&back))
        }
    };
    let title = if company.oauth_app_enabled { TURN_OFF } else { TURN_ON };
    frame(title, &content)
}

fn module_of(company: &CompanyView) -> String {
    format!("{PLATFORM}/{}/oauth-app", company.company_id)
}

/// `GET /console/platform/companies/new`
pub async fn form(bridge: Bridge) -> Shown {
    let content = new_form(&bridge, &Sent::default(), &Refused::default());
    Ok(bridge.page(&form_page(REGISTER), &content))
}

/// `POST /console/platform/companies/new`
pub async fn register(State(service): State<Arc<Service>>, bridge: Bridge, sent: Sent) -> Shown {
    let conditions = sent.conditions(&bridge.caller, "register company");
    let name = sent.text("name").trim().to_owned();
    match service.app.register_company(&bridge.caller, name, conditions).await {
        Ok(registered) => {
            let notice = about(&bridge.who, "company-registered", registered.view.company_id);
            Ok(go_on(&format!("{PLATFORM}?notice={notice}")))
        }
        Err(error) => {
            let content = new_form(&bridge, &sent, &refusal(error, &sent, SHOWS)?);
            Ok(bridge.refused(&form_page(REGISTER), &content))
        }
    }
}

fn form_page(title: &str) -> Page<'_> {
    Page { title, way: BELOW, bare: true, ..Page::default() }
}

fn new_form(bridge: &Bridge, sent: &Sent, refused: &Refused) -> Markup {
    let name = Field {
        name: "name",
        label: "Name",
        value: sent.text("name"),
        required: true,
        max: 100,
        ..Field::default()
    };
    let content = html! {
        form .form method="post" action=(NEW) novalidate {
            (bridge.seal()) (forms::problem(refused))
            (forms::field(name, refused.of("name")))
            p { "Its OAuth App module is off at first. Enter the company then to add its first \
                 Super Admin." }
            (forms::actions("Register", false, PLATFORM))
        }
    };
    frame(REGISTER, &content)
}

/// `GET /console/platform/projections`
pub async fn projections(
    State(service): State<Arc<Service>>,
    bridge: Bridge,
    Query(sent): Query,
) -> Shown {
    let mut projections = Vec::new();
    for projection in service.app.projections().await? {
        let rebuild = match service.app.rebuild(projection.name).await {
            Ok(rebuild) => Some(rebuild),
            Err(AppError::NotFound(_)) => None,
            Err(error) => return Err(error.into()),
        };
        projections.push((projection, rebuild));
    }
    let is_under_way =
        projections.iter().any(|(projection, _)| projection.state == ProjectionState::Rebuilding);
    let content = html! {
        (notice(&bridge.who, &sent))
        @if is_under_way {
            p .section-hint data-under-way[true] {
                "A rebuild is under way. Another can be begun when it has ended. "
                a href=(PROJECTIONS) { "See how far it is" }
            }
        }
        table .rows .roomy {
            caption .sr { "Projections" }
            thead {
                tr {
                    th scope="col" { "Name" } th scope="col" { "State" } th scope="col" { "Behind" }
                    th scope="col" { "Last rebuild" }
                    th scope="col" { span .sr { "Actions" } }
                }
            }
            tbody {
                @for (projection, rebuild) in &projections {
                    (projection_row(&bridge, projection, rebuild.as_ref(), !is_under_way))
                }
            }
        }
    };
    let lead = "Read models made of the events. A rebuild makes them again beside the live rows \
        and puts right what differs; readers are served throughout.";
    let page = Page { title: "Projections", way: WAY, lead, ..Page::default() };
    Ok(bridge.page(&page, &content))
}

/// The row of a projection, with a button where a rebuild may begin.
fn projection_row(
    bridge: &Bridge,
    projection: &ProjectionView,
    rebuild: Option<&RebuildView>,
    may_begin: bool,
) -> Markup {
    let (class, words) = match projection.state {
        ProjectionState::Stopped => ("soon", "Stopped"),
        ProjectionState::Rebuilding => ("off", "Rebuilding"),
        _ => ("good", "Running"),
    };
    html! {
        tr {
            th scope="row" { (projection.name) span .sub { "version " (projection.version) } }
            td data-label="State" {
                span .status .{ (class) } { (words) }
                @for stopped in &projection.companies_stopped {
                    span .sub { code { (stopped.company_id) } ": " (stopped.reason) }
                }
            }
            td data-label="Behind" { (count(projection.behind, "event")) }
            td data-label="Last rebuild" {
                @match rebuild {
                    None => span .quiet { "Never" },
                    Some(rebuild) => {
                        (time::ago(rebuild.started_at, bridge.now))
                        span .sub {
                            (standing(rebuild))
                        }
                    }
                }
            }
            td {
                @if may_begin {
                    form method="post" action={ (PROJECTIONS) "/" (projection.name) "/rebuild" } {
                        (bridge.seal())
                        button data-returns[true] aria-label={ "Rebuild " (projection.name) } { "Rebuild" }
                    }
                }
            }
        }
    }
}

/// How far a rebuild has come, or how it ended.
fn standing(rebuild: &RebuildView) -> String {
    let RebuildView { events, total_events, .. } = *rebuild;
    match rebuild.state {
        RebuildState::Running if total_events == 0 => "Counting events".to_owned(),
        RebuildState::Running => format!("{} of {}", grouped(events), count(total_events, "event")),
        RebuildState::Done => {
            format!("{} put right", count(rebuild.differences.unwrap_or(0), "row"))
        }
        RebuildState::Failed => "Failed; the log says why".to_owned(),
    }
}

/// `POST /console/platform/projections/{name}/rebuild`
pub async fn rebuild(
    State(service): State<Arc<Service>>,
    bridge: Bridge,
    Path(name): Path<String>,
    sent: Sent,
) -> Shown {
    let nonce = sent.conditions(&bridge.caller, &format!("rebuild {name}")).idempotency;
    let notice = match service.app.start_rebuild(&bridge.caller, &name, nonce).await {
        Ok(_) => "rebuild-begun",
        Err(AppError::Rebuilding(_)) => "rebuild-under-way",
        Err(error) => return Err(error.into()),
    };
    Ok(go_on(&format!("{PROJECTIONS}?notice={}", notices::of(&bridge.who, notice))))
}
