//! Changing a membership: its role, a link to set a password, its end.

use super::desk::{Desk, go_on};
use super::error::Shown;
use super::extract::Path;
use super::meanwhile::{Missed, Subject, missed};
use super::members::{called, done, elsewhere, form_page, link, name, roles};
use super::notices;
use super::paths::{self, MEMBERS};
use super::refusal::Shows;
use super::render::forms::{self, frame};
use super::render::words::role;
use super::sent::Sent;
use crate::app::AppError;
use crate::app::members::MemberView;
use crate::http::Service;
use axum::extract::State;
use axum::response::Response;
use maud::{Markup, html};
use std::slice::from_ref;
use std::sync::Arc;
use token_ledger_domain::{MemberId, Power, Role};
use uuid::Uuid;

/// What a form about a member is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Its role.
    Role,
    /// A link to set a password.
    Link,
    /// Its end.
    Remove,
}

impl Change {
    const fn title(self) -> &'static str {
        match self {
            Self::Role => "Change role",
            Self::Link => "New password link",
            Self::Remove => "Remove member",
        }
    }

    /// What its form is called in addresses.
    pub const fn below(self) -> &'static str {
        match self {
            Self::Role => "role",
            Self::Link => "link",
            Self::Remove => "remove",
        }
    }

    const fn shows(self) -> Shows {
        match self {
            Self::Role => &[("role", "Choose a role."), ("reason", "")],
            Self::Link => &[],
            Self::Remove => &[("reason", "")],
        }
    }
}

/// The person in a sentence: others may have the same name.
fn person(member: &MemberView) -> Markup {
    html! {
        @match (&member.name, &member.email) {
            (Some(name), Some(email)) => { strong { (name) } " (" (email) ")" },
            _ => strong { (called(member)) },
        }
    }
}

/// Whether it is the membership by which the visitor is here, which ends with it.
fn is_own_standing(desk: &Desk, member: Uuid) -> bool {
    desk.caller.actor.id == member
}

/// Whether the membership is the visitor's own, though they may be here as an operator.
fn is_own(desk: &Desk, member: &MemberView) -> bool {
    desk.who.visitor.account.person_id.0 == member.person_id
}

/// Where somebody is led whose session ended by what they did to their own membership.
fn parted(desk: &Desk, notice: &str) -> Response {
    go_on(&format!("{}?notice={}", paths::SIGN_IN, notices::of(&desk.who, notice)))
}

/// `GET /console/members/{member_id}/role`
pub async fn role_form(service: State<Arc<Service>>, desk: Desk, Path(id): Path<Uuid>) -> Shown {
    ask(&service, &desk, id, Change::Role).await
}

/// `GET /console/members/{member_id}/link`
pub async fn link_form(service: State<Arc<Service>>, desk: Desk, Path(id): Path<Uuid>) -> Shown {
    match desk.unconfirmed(&service, &format!("{MEMBERS}/{id}/link")) {
        Some(way) => Ok(way),
        None => ask(&service, &desk, id, Change::Link).await,
    }
}

/// `GET /console/members/{member_id}/remove`
pub async fn remove_form(service: State<Arc<Service>>, desk: Desk, Path(id): Path<Uuid>) -> Shown {
    ask(&service, &desk, id, Change::Remove).await
}

async fn ask(service: &Service, desk: &Desk, id: Uuid, change: Change) -> Shown {
    let member = service.app.member(&desk.caller, MemberId(id)).await?;
    let (sent, missed) = (Sent::default(), Missed::default());
    let content = change_form(service, desk, &member, change, &sent, &missed).await?;
    Ok(desk.page(&form_page(change.title()), &content))
}

async fn again(
    service: &Service,
    desk: &Desk,
    id: Uuid,
    change: Change,
    sent: &Sent,
    error: AppError,
) -> Shown {
    let shows = change.shows();
    let missed = missed(service, desk, Subject::Member(id), sent, shows, error).await?;
    let content = match service.app.member(&desk.caller, MemberId(id)).await {
        Ok(member) => change_form(service, desk, &member, change, sent, &missed).await?,
        Err(AppError::NotFound(_)) if missed.is_stale => {
            frame(change.title(), &html! { (missed.told) (forms::close(MEMBERS)) })
        }
        Err(error) => return Err(error.into()),
    };
    Ok(desk.refused(&form_page(change.title()), &content))
}

/// Whether a role of this name is less than a power.
fn is_less(role: &str, power: Power) -> bool {
    role.parse::<Role>().is_ok_and(|role| role.power() < power)
}

/// `POST /console/members/{member_id}/role`
pub async fn change_role(
    State(service): State<Arc<Service>>,
    desk: Desk,
    Path(id): Path<Uuid>,
    sent: Sent,
) -> Shown {
    let conditions = sent.conditions(&desk.caller, &format!("role of {id}"));
    let (app, role) = (&service.app, sent.text("role"));
    let changed =
        app.change_role(&desk.caller, MemberId(id), role, sent.reason(), conditions).await;
    match changed {
        Ok(_) if is_own_standing(&desk, id) && is_less(role, desk.caller.power) => {
            Ok(parted(&desk, notices::OWN_ROLE))
        }
        Ok(member) => {
            let is_as_before = sent.number("version") == i64::try_from(member.version).ok();
            let notice = if is_as_before { "nothing-changed" } else { "role-changed" };
            Ok(go_on(&done(&desk, notice, id)))
        }
        Err(error) => again(&service, &desk, id, Change::Role, &sent, error).await,
    }
}

/// `POST /console/members/{member_id}/link`
pub async fn new_link(
    State(service): State<Arc<Service>>,
    desk: Desk,
    Path(id): Path<Uuid>,
    sent: Sent,
) -> Shown {
    if let Some(way) = desk.unconfirmed(&service, &format!("{MEMBERS}/{id}/link")) {
        return Ok(way);
    }
    let conditions = sent.conditions(&desk.caller, &format!("link of {id}"));
    match service.app.new_password_link(&desk.caller, MemberId(id), conditions).await {
        Ok(made) => Ok(link(&service, &desk, Change::Link.title(), &made, &html! {}, MEMBERS)),
        Err(error) => again(&service, &desk, id, Change::Link, &sent, error).await,
    }
}

/// `POST /console/members/{member_id}/remove`
pub async fn remove(
    State(service): State<Arc<Service>>,
    desk: Desk,
    Path(id): Path<Uuid>,
    sent: Sent,
) -> Shown {
    let conditions = sent.conditions(&desk.caller, &format!("remove {id}"));
    let removed =
        service.app.remove_member(&desk.caller, MemberId(id), sent.reason(), conditions).await;
    match removed {
        Ok(()) if is_own_standing(&desk, id) => Ok(parted(&desk, notices::OWN_REMOVAL)),
        Ok(()) => Ok(go_on(&done(&desk, "member-removed", id))),
        Err(error) => again(&service, &desk, id, Change::Remove, &sent, error).await,
    }
}

async fn change_form(
    service: &Service,
    desk: &Desk,
    member: &MemberView,
    change: Change,
    sent: &Sent,
    missed: &Missed,
) -> Result<Markup, AppError> {
    let refused = &missed.refused;
    // Whoever comes later chooses again, from what is true now.
    let chosen = sent.get("role").filter(|_| !missed.is_stale).unwrap_or(member.role);
    let action = format!("{MEMBERS}/{}/{}", member.member_id, change.below());
    if change != Change::Remove && name(member).is_none() {
        let content = html! {
            (missed.told)
            p { "The data of this person was erased. Nobody can sign in by this membership any more; \
                 remove it." }
            (forms::close(MEMBERS))
        };
        return Ok(frame(change.title(), &content));
    }
    if change == Change::Link && !elsewhere(service, desk, from_ref(member)).await?.is_empty() {
        let content = html! {
            (missed.told)
            p { (person(member)) " is a member of another company too, which a new password would \
                 open as well. Ask an operator of the platform to make the link." }
            (forms::close(MEMBERS))
        };
        return Ok(frame(change.title(), &content));
    }
    let content = html! {
        (missed.told)
        form .form method="post" action=(action) novalidate {
            (desk.seal()) (forms::version(member.version))
            (forms::problem(refused))
            @match change {
                Change::Role => {
                    p { (person(member)) " is " (role(member.role)) " now. "
                        @if is_own_standing(desk, member.member_id) {
                            "This is you: with a lesser role you are signed out, and may do only what \
                             that one may."
                        } @else {
                            @if is_own(desk, member) { "This is you. " }
                            "Whoever gets a lesser role is signed out."
                        }
                    }
                    (forms::radios("role", "Role", &roles(desk), chosen, refused.of("role")))
                    (forms::reason(sent.text("reason"), refused))
                    (forms::actions("Save", false, MEMBERS))
                }
                Change::Link => {
                    p { "With the link, " (person(member)) " sets a new password. Links \
                        that were made before stop working."
                        @if is_own(desk, member) {
                            " This is you: setting it signs you out everywhere."
                        }
                    }
                    (forms::actions("Make link", false, MEMBERS))
                }
                Change::Remove => {
                    @if name(member).is_some() {
                        (removal(desk, member))
                    } @else {
                        p { "The data of this person was erased, and nobody can sign in by the \
                             membership any more. What they did stays in the audit trail." }
                    }
                    (forms::reason(sent.text("reason"), refused))
                    @let whom = name(member).unwrap_or("this person");
                    (forms::actions(&format!("Remove {whom}"), true, MEMBERS))
                }
            }
        }
    };
    Ok(frame(change.title(), &content))
}

/// What happens when a member is removed.
fn removal(desk: &Desk, member: &MemberView) -> Markup {
    html! {
        p {
            (person(member))
            @if is_own_standing(desk, member.member_id) {
                ": this is you. You are signed out of this company at once and can’t enter it any more, \
                 unless somebody adds you again. What you did stays in the audit trail."
            } @else if is_own(desk, member) {
                ": this is you. You are a member no more, and may still enter as an operator. What you \
                 did stays in the audit trail."
            } @else {
                " is signed out of this company at once and can’t enter it any more. What they did \
                 stays in the audit trail."
            }
        }
    }
}
