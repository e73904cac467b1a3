//! The company's members.

use super::desk::{Desk, go_on};
use super::error::{Shown, Trouble};
use super::membership::Change;
use super::notices::{NAMESAKE, about, notice_of};
use super::page::{Page, SETTINGS, Way};
use super::paths::{self, MEMBERS, PEOPLE};
use super::refusal::{Shows, refusal};
use super::render::forms::{self, Field, Refused, frame};
use super::render::ignored::ignored;
use super::render::pager::{is_further, nothing_further, pager, strange};
use super::render::time;
use super::render::words::{role, role_may};
use super::reveal::{Reveal, reveal};
use super::sent::{Query, Sent};
use crate::app::actors::NamedActor;
use crate::app::members::{MemberView, NewMember};
use crate::app::outcome::Changed;
use crate::app::{App, AppError, Caller};
use crate::http::Service;
use axum::extract::State;
use axum::response::Response;
use maud::{Markup, html};
use std::collections::BTreeSet;
use std::sync::Arc;
use token_ledger_domain::{ActorType, CompanyId, PersonId, Role};
use uuid::Uuid;

const NEW: &str = "/console/members/new";
const BELOW: Way<'_> = &[SETTINGS, ("Members", Some(MEMBERS))];
const NEW_SHOWS: Shows = &[
    ("email", "Give an e-mail address such as ada@example.com."),
    ("name", ""),
    ("role", "Choose a role."),
    ("reason", ""),
];
/// Members on a page.
const PAGE: usize = 100;
/// The most people among whom one of the same name is looked for.
const NAMESAKES: usize = 500;

/// What a person is called whose data was erased, where a name would stand.
pub const ERASED: &str = "A person whose data was erased";

/// The person's name or address; none where both were erased.
pub fn name(member: &MemberView) -> Option<&str> {
    member.name.as_deref().or(member.email.as_deref())
}

/// What the person is called.
pub fn called(member: &MemberView) -> &str {
    name(member).unwrap_or(ERASED)
}

/// Whether another member has this name, however it is written.
///
/// # Errors
/// When the store fails.
pub async fn has_namesake(
    app: &App,
    caller: &Caller,
    member: Uuid,
    name: &str,
) -> Result<bool, AppError> {
    let name = name.to_lowercase();
    let is_namesake = |other: &NamedActor| {
        other.kind == ActorType::Member && other.id != member && other.name.to_lowercase() == name
    };
    Ok(app.find_actors(caller, &name, NAMESAKES).await?.iter().any(is_namesake))
}

/// Those of these members whom a Super Admin makes no links: they are in another company too.
///
/// # Errors
/// When the store fails.
pub async fn elsewhere(
    service: &Service,
    desk: &Desk,
    members: &[MemberView],
) -> Result<BTreeSet<Uuid>, AppError> {
    if !desk.may_change() || desk.is_operator() {
        return Ok(BTreeSet::new());
    }
    let people: Vec<PersonId> = members.iter().map(|member| PersonId(member.person_id)).collect();
    let elsewhere = service.app.people.elsewhere(&people, desk.caller.company).await?;
    let is_elsewhere = |member: &&MemberView| elsewhere.contains(&PersonId(member.person_id));
    Ok(members.iter().filter(is_elsewhere).map(|member| member.member_id).collect())
}

/// Where a form about a member leads when it was carried out.
pub fn done(desk: &Desk, notice: &str, member: Uuid) -> String {
    format!("{MEMBERS}?notice={}", about(&desk.who, notice, member))
}

/// The page of a form about members.
pub fn form_page(title: &str) -> Page<'_> {
    Page { title, way: BELOW, bare: true, ..Page::default() }
}

/// `GET /console/members`
pub async fn list(State(service): State<Arc<Service>>, desk: Desk, Query(sent): Query) -> Shown {
    let listed = service.app.members(&desk.caller, sent.id("after"), PAGE).await?;
    let next = listed.next.map(|member| member.to_string());
    let notice = notice_of(&service.app, &desk.who, &desk.caller, &sent).await?;
    let elsewhere = elsewhere(&service, &desk, &listed.items).await?;
    let content = html! {
        (notice)
        (ignored(&strange(&sent), MEMBERS))
        @if listed.items.is_empty() && is_further(&sent) {
            (nothing_further())
        } @else if listed.items.is_empty() {
            div .empty {
                h2 { "No members yet" }
                p { "Members sign in to this company: a Super Admin manages its tokens, and adds the \
                     others." }
                @if desk.may_change() {
                    a .button .main href=(NEW) data-dialog[true] { "Add the first member" }
                }
            }
        } @else {
            table .rows .people {
                caption .sr { "Members" }
                thead {
                    tr {
                        th scope="col" { "Person" } th scope="col" { "Role" }
                        th scope="col" { "Sign-in" } th scope="col" { "Member since" }
                        th scope="col" { span .sr { "Actions" } }
                    }
                }
                tbody { @for member in &listed.items { (row(&desk, member, elsewhere.contains(&member.member_id))) } }
            }
        }
        (pager(MEMBERS, &sent, next.as_deref()))
    };
    let buttons = html! {
        @if desk.may_change() { a .button .main href=(NEW) data-dialog[true] { "Add member" } }
    };
    let lead = if desk.caller.company == CompanyId::PLATFORM {
        "People who can sign in to the platform. Operators run it and may enter every company; \
         Super Admins manage its keys; auditors read everything and change nothing."
    } else {
        "People who can sign in to this company. Super Admins manage tokens; auditors read \
         everything and change nothing."
    };
    let way: Way<'_> = &[SETTINGS];
    let page = Page { title: "Members", way, lead, buttons: Some(buttons), ..Page::default() };
    Ok(desk.page(&page, &content))
}

fn row(desk: &Desk, member: &MemberView, is_elsewhere: bool) -> Markup {
    let here = |change: Change| format!("{MEMBERS}/{}/{}", member.member_id, change.below());
    html! {
        tr {
            th scope="row" {
                (called(member))
                @if let (Some(_), Some(email)) = (&member.name, &member.email) {
                    span .sub { (email) }
                }
            }
            td .nowrap data-label="Role" { (role(member.role)) }
            td .nowrap data-label="Sign-in" {
                @if name(member).is_none() { span .quiet { "Erased; can’t sign in" } }
                @else if member.password_set && !member.may_enter { "Needs an operator’s link" }
                @else {
                    @if member.password_set { "Password set" }
                    @else { span .quiet { "No password yet" } }
                    @if is_elsewhere { span .sub { "An operator makes new links" } }
                }
            }
            td data-label="Member since" { (time::ago(member.added_at, desk.now)) }
            td {
                @if desk.may_change() {
                    details .menu {
                        summary aria-label={ "Actions for " (called(member)) } { "•••" }
                        ul {
                            @let is_there = name(member).is_some();
                            @if is_there {
                                li { a href=(here(Change::Role)) data-dialog[true] { "Change role" } }
                                @if !is_elsewhere {
                                    li { a href=(here(Change::Link)) data-dialog[true] { "New password link" } }
                                }
                            }
                            li .rule[is_there] {
                                a .danger href=(here(Change::Remove)) data-dialog[true] { "Remove" }
                            }
                            @if is_there && desk.is_operator() {
                                li {
                                    a .danger href={ (PEOPLE) "/" (member.person_id) "/erase" }
                                        data-dialog[true] { "Erase personal data" }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// The roles that the visitor may grant here.
pub fn roles(desk: &Desk) -> Vec<(String, Markup)> {
    let is_platform = desk.caller.company == CompanyId::PLATFORM;
    [Role::Auditor, Role::SuperAdmin, Role::Operator]
        .into_iter()
        .filter(|role| role.power() <= desk.caller.power)
        .filter(|role| is_platform || *role != Role::Operator)
        .map(|own| {
            let name = own.as_str();
            let words = html! { (role(name)) span .sub { (role_may(own, is_platform)) } };
            (name.to_owned(), words)
        })
        .collect()
}

/// `GET /console/members/new`
pub async fn form(State(service): State<Arc<Service>>, desk: Desk) -> Shown {
    if let Some(way) = desk.unconfirmed(&service, NEW) {
        return Ok(way);
    }
    let content = new_form(&desk, &Sent::default(), &Refused::default());
    Ok(desk.page(&form_page("Add member"), &content))
}

/// `POST /console/members/new`
pub async fn add(State(service): State<Arc<Service>>, desk: Desk, sent: Sent) -> Shown {
    if let Some(way) = desk.unconfirmed(&service, NEW) {
        return Ok(way);
    }
    let input = NewMember {
        email: sent.text("email").to_owned(),
        role: sent.text("role").to_owned(),
        name: sent.get("name").map(str::to_owned),
        reason: sent.reason(),
    };
    let conditions = sent.conditions(&desk.caller, "add member");
    match service.app.add_member(&desk.caller, input, conditions).await {
        Ok(added) if added.secret.is_some() || had_link(&service, &added).await? => {
            let member = &added.view;
            let has_namesake = match &member.name {
                Some(name) => {
                    has_namesake(&service.app, &desk.caller, member.member_id, name).await?
                }
                None => false,
            };
            let more = html! { @if has_namesake { " " (NAMESAKE) } };
            let back = done(&desk, "member-added", member.member_id);
            Ok(link(&service, &desk, "Member added", &added, &more, &back))
        }
        Ok(added) => {
            let notice = if added.view.may_enter { "member-added" } else { "member-outside" };
            Ok(go_on(&done(&desk, notice, added.view.member_id)))
        }
        Err(error) => {
            let content = new_form(&desk, &sent, &refusal(error, &sent, NEW_SHOWS)?);
            Ok(desk.refused(&form_page("Add member"), &content))
        }
    }
}

/// Whether the form had been sent before, and a link was shown then. Nobody gets one who can come in
/// without it, or is in another company too.
async fn had_link(service: &Service, added: &Changed<MemberView>) -> Result<bool, Trouble> {
    let Changed { view, repeated, .. } = added;
    let (person, company) = (PersonId(view.person_id), CompanyId(view.company_id));
    if !repeated || view.may_enter {
        return Ok(false);
    }
    let is_elsewhere = service.app.is_elsewhere(person, company).await.map_err(AppError::from)?;
    Ok(!is_elsewhere)
}

/// A link to set a password, shown once.
pub fn link(
    service: &Service,
    desk: &Desk,
    title: &str,
    made: &Changed<MemberView>,
    more: &Markup,
    back: &str,
) -> Response {
    let (member, secret) = (&made.view, made.secret.as_ref());
    let address = secret.map(|secret| paths::set_password(&service.public_url, secret));
    let label = format!("Link for {}", member.email.as_deref().unwrap_or(called(member)));
    let shown = Reveal {
        title,
        done: html! {
            strong { (called(member)) } " sets a password with this link, and can sign in then. \
            The link is good once, for a day. Send it by a way that only this person reads."
            (more)
        },
        what: "link",
        label: &label,
        keep: "",
        beside: None,
        secret: address.as_deref(),
        is_sent: false,
        lost: "If it is lost, make a new one.",
        back,
    };
    desk.page(&form_page(title), &reveal(desk, &shown))
}

fn new_form(desk: &Desk, sent: &Sent, refused: &Refused) -> Markup {
    let email = Field {
        name: "email",
        label: "E-mail address",
        value: sent.text("email"),
        kind: "email",
        required: true,
        max: 254,
        ..Field::default()
    };
    let name = Field { name: "name", label: "Name", value: sent.text("name"), max: 100, ..email };
    let hint = "Kept only if this address has no account yet.";
    let name = Field { kind: "text", required: false, hint, ..name };
    let chosen = sent.get("role").unwrap_or("auditor");
    let content = html! {
        form .form method="post" action=(NEW) novalidate {
            (desk.seal()) (forms::problem(refused))
            (forms::field(email, refused.of("email")))
            (forms::field(name, refused.of("name")))
            (forms::radios("role", "Role", &roles(desk), chosen, refused.of("role")))
            (forms::reason(sent.text("reason"), refused))
            (forms::actions("Add member", false, MEMBERS))
        }
    };
    frame("Add member", &content)
}
