//! Refreshing, editing and deleting an access token. Each form carries the version that it was
//! filled in at: whoever comes later sees what has changed meanwhile, and chooses again.

use super::create::{allows, default_term, term};
use super::list::{last_used_from, token_status};
use super::{ASKED, form_page, module_off, path};
use crate::app::AppError;
use crate::app::keys::Renewal;
use crate::app::policy::PolicyView;
use crate::app::view::TokenView;
use crate::console::desk::Desk;
use crate::console::desk::go_on;
use crate::console::error::{Shown, Trouble};
use crate::console::extract::Path;
use crate::console::meanwhile::{Missed, Subject, missed};
use crate::console::notices::{self, about};
use crate::console::paths::TOKENS;
use crate::console::refusal::Shows;
use crate::console::render::forms::{self, Refused, frame};
use crate::console::render::scopes;
use crate::console::render::status::{ended_by_refresh, old_secret_fact};
use crate::console::render::words::accesses;
use crate::console::reveal::{KEEP, Reveal, old_stops, reveal, valid_until};
use crate::console::sent::{LIST, Query, Sent, address};
use crate::http::Service;
use axum::extract::State;
use maud::{Markup, html};
use std::sync::Arc;
use token_ledger_domain::{Secret, TokenId};
use uuid::Uuid;

/// What a token can be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    Refresh,
    Edit,
    EndGrace,
    Delete,
}

impl Change {
    const fn title(self) -> &'static str {
        match self {
            Self::Refresh => "Refresh token",
            Self::Edit => "Edit data accesses",
            Self::EndGrace => "Stop the old secret",
            Self::Delete => "Delete token",
        }
    }

    const fn below(self) -> &'static str {
        match self {
            Self::Refresh => "/refresh",
            Self::Edit => "/edit",
            Self::EndGrace => "/end-grace",
            Self::Delete => "/delete",
        }
    }

    const fn shows(self) -> Shows {
        match self {
            Self::Refresh => {
                &[("grace_period_seconds", ""), ("expires_in_seconds", ""), ("reason", "")]
            }
            Self::Edit => &[("scopes", "Choose at least one data access."), ("reason", "")],
            Self::EndGrace | Self::Delete => &[("reason", "")],
        }
    }
}

/// `GET /console/tokens/{token_id}/refresh`
pub async fn refresh_form(
    State(service): State<Arc<Service>>,
    desk: Desk,
    Path(id): Path<Uuid>,
    Query(asked): Query,
) -> Shown {
    match desk.unconfirmed(&service, &refresh_of(id, &asked)) {
        Some(way) => Ok(way),
        None => fresh(&service, &desk, id, Change::Refresh, &asked).await,
    }
}

/// `GET /console/tokens/{token_id}/edit`
pub async fn edit_form(
    State(service): State<Arc<Service>>,
    desk: Desk,
    Path(id): Path<Uuid>,
    Query(asked): Query,
) -> Shown {
    fresh(&service, &desk, id, Change::Edit, &asked).await
}

/// `GET /console/tokens/{token_id}/end-grace`
pub async fn end_grace_form(
    State(service): State<Arc<Service>>,
    desk: Desk,
    Path(id): Path<Uuid>,
    Query(asked): Query,
) -> Shown {
    fresh(&service, &desk, id, Change::EndGrace, &asked).await
}

/// `GET /console/tokens/{token_id}/delete`
pub async fn delete_form(
    State(service): State<Arc<Service>>,
    desk: Desk,
    Path(id): Path<Uuid>,
    Query(asked): Query,
) -> Shown {
    fresh(&service, &desk, id, Change::Delete, &asked).await
}

/// Where the form is that was asked for or sent, opened from the same list.
fn refresh_of(id: Uuid, asked: &Sent) -> String {
    address(&format!("{TOKENS}/{id}/refresh"), asked.only(&[LIST]))
}

/// `POST /console/tokens/{token_id}/refresh`
pub async fn refresh(
    State(service): State<Arc<Service>>,
    desk: Desk,
    Path(id): Path<Uuid>,
    sent: Sent,
) -> Shown {
    let app = &service.app;
    let input = Renewal {
        grace_period_seconds: sent.seconds("grace_period_seconds")?.unwrap_or_default(),
        expires_in_seconds: sent.seconds("expires_in_seconds")?,
        reason: sent.reason(),
    };
    let conditions = sent.conditions(&desk.caller, &format!("refresh token {id}"));
    if let Some(way) = desk.unconfirmed(&service, &refresh_of(id, &sent)) {
        return Ok(way);
    }
    match app.refresh_token(&desk.caller, TokenId(id), input, conditions).await {
        Ok(refreshed) => {
            let token = &refreshed.view;
            let back = sent.list_before(TOKENS, &ASKED, None);
            let shown = Reveal {
                title: "Token refreshed",
                done: html! {
                    strong { (token.name) } " has a new secret. " (valid_until(token.expires_at, &desk))
                    (old_stops(token.previous_secret_expires_at))
                },
                what: "token",
                label: "Your token",
                keep: KEEP,
                beside: None,
                secret: refreshed.secret.as_ref().map(Secret::reveal),
                is_sent: true,
                lost: "If you lose it, refresh the token again.",
                back: &back,
            };
            Ok(desk.page(&form_page(Change::Refresh.title()), &reveal(&desk, &shown)))
        }
        Err(error) => again(&service, &desk, id, Change::Refresh, &sent, error).await,
    }
}

/// `POST /console/tokens/{token_id}/edit`
pub async fn edit(
    State(service): State<Arc<Service>>,
    desk: Desk,
    Path(id): Path<Uuid>,
    sent: Sent,
) -> Shown {
    let conditions = sent.conditions(&desk.caller, &format!("edit token {id}"));
    let (scopes, reason) = (sent.all("scopes"), sent.reason());
    let changed =
        service.app.change_scopes(&desk.caller, TokenId(id), &scopes, reason, conditions).await;
    match changed {
        Ok(edited) => {
            let is_as_before = sent.number("version") == i64::try_from(edited.view.version).ok();
            let notice = if is_as_before { "nothing-changed" } else { "token-edited" };
            let notice = about(&desk.who, notice, id);
            Ok(go_on(&match sent.get(LIST) {
                Some(_) => sent.list_before(TOKENS, &ASKED, Some(&notice)),
                None => format!("{TOKENS}/{id}?notice={notice}"),
            }))
        }
        Err(error) => again(&service, &desk, id, Change::Edit, &sent, error).await,
    }
}

/// `POST /console/tokens/{token_id}/delete`
pub async fn delete(
    State(service): State<Arc<Service>>,
    desk: Desk,
    Path(id): Path<Uuid>,
    sent: Sent,
) -> Shown {
    let conditions = sent.conditions(&desk.caller, &format!("delete token {id}"));
    let deleted =
        service.app.delete_token(&desk.caller, TokenId(id), sent.reason(), conditions).await;
    match deleted {
        Ok(()) => {
            let notice = about(&desk.who, "token-deleted", id);
            Ok(go_on(&sent.list_before(TOKENS, &ASKED, Some(&notice))))
        }
        Err(error) => again(&service, &desk, id, Change::Delete, &sent, error).await,
    }
}

/// `POST /console/tokens/{token_id}/end-grace`
pub async fn end_grace(
    State(service): State<Arc<Service>>,
    desk: Desk,
    Path(id): Path<Uuid>,
    sent: Sent,
) -> Shown {
    let conditions = sent.conditions(&desk.caller, &format!("end grace of token {id}"));
    match service.app.end_grace(&desk.caller, TokenId(id), sent.reason(), conditions).await {
        Ok(_) => {
            let notice = notices::of(&desk.who, "grace-ended");
            Ok(go_on(&format!("{TOKENS}/{id}?notice={notice}")))
        }
        Err(error) => again(&service, &desk, id, Change::EndGrace, &sent, error).await,
    }
}

/// A form that nobody has filled in yet.
async fn fresh(service: &Service, desk: &Desk, id: Uuid, change: Change, asked: &Sent) -> Shown {
    let shape = shape(service, desk, id, change, asked).await?;
    let content = shape.content(service, desk, &Sent::default(), &Missed::default());
    Ok(desk.page(&form_page(change.title()), &content))
}

/// A form that was refused.
async fn again(
    service: &Service,
    desk: &Desk,
    id: Uuid,
    change: Change,
    sent: &Sent,
    error: AppError,
) -> Shown {
    let subject = Subject::Token(id);
    let missed = missed(service, desk, subject, sent, change.shows(), error).await?;
    let shape = shape(service, desk, id, change, sent).await?;
    let content = shape.content(service, desk, sent, &missed);
    Ok(desk.refused(&form_page(change.title()), &content))
}

/// What a form is made of.
struct Shape {
    change: Change,
    token: TokenView,
    policy: PolicyView,
    /// The list, asked for what it was where the form was opened from it.
    list: String,
    /// What it was asked for.
    asked: String,
}

async fn shape(
    service: &Service,
    desk: &Desk,
    id: Uuid,
    change: Change,
    asked: &Sent,
) -> Result<Shape, Trouble> {
    let app = &service.app;
    let token = app.token(&desk.caller, TokenId(id), None).await?;
    let (policy, _) = app.policy(&desk.caller).await?;
    let list = asked.list_before(TOKENS, &ASKED, None);
    Ok(Shape { change, token, policy, list, asked: asked.text(LIST).to_owned() })
}

impl Shape {
    fn content(&self, service: &Service, desk: &Desk, sent: &Sent, missed: &Missed) -> Markup {
        let back = if self.asked.is_empty() { path(&self.token, "") } else { self.list.clone() };
        let content = html! {
            (missed.told)
            @if let Some(obstacle) = self.obstacle(desk) {
                (obstacle)
                (forms::close(&back))
            } @else {
                (self.form(service, desk, sent, missed, &back))
            }
        };
        frame(self.change.title(), &content)
    }

    /// Why it can't be done, whatever the form is filled in with.
    fn obstacle(&self, desk: &Desk) -> Option<Markup> {
        let token = &self.token;
        if token.status == "deleted" {
            return Some(html! {
                div .notice .bad role="alert" {
                    p { strong { (token.name) } " is deleted, for good. It can still be read." }
                }
            });
        }
        if self.change == Change::EndGrace && token.previous_secret_expires_at.is_none() {
            return Some(html! { p { "The old secret has stopped already." } });
        }
        if self.change != Change::Refresh {
            return None;
        }
        if !desk.company.oauth_app_enabled {
            return Some(module_off(desk));
        }
        let own = token.scopes.iter().filter(|scope| !allows(&self.policy, scope));
        let forbidden: Vec<String> = own.cloned().collect();
        (!forbidden.is_empty()).then(|| {
            html! {
                div .notice .bad role="alert" {
                    p { "Your company’s policy does not allow: " (accesses(&forbidden)) "." }
                    p {
                        a href=(path(token, Change::Edit.below())) { "Edit the data accesses first" }
                        ", and refresh the token then."
                    }
                }
            }
        })
    }

    fn form(
        &self,
        service: &Service,
        desk: &Desk,
        sent: &Sent,
        missed: &Missed,
        back: &str,
    ) -> Markup {
        let refused = &missed.refused;
        html! {
            form .form method="post" action=(path(&self.token, self.change.below())) novalidate {
                (desk.seal()) (forms::version(self.token.version))
                (forms::list(&self.asked))
                (forms::problem(refused))
                @match self.change {
                    Change::Refresh => (self.refresh(desk, sent, refused)),
                    Change::Edit => (self.edit(service, sent, missed)),
                    Change::EndGrace => (self.end_grace(desk)),
                    Change::Delete => (self.delete(desk)),
                }
                (forms::reason(sent.text("reason"), refused))
                (self.actions(back))
            }
        }
    }

    fn actions(&self, back: &str) -> Markup {
        match self.change {
            Change::Refresh => forms::actions("Refresh", false, back),
            Change::Edit => forms::actions("Save", false, back),
            Change::EndGrace => forms::actions(self.change.title(), true, back),
            Change::Delete => forms::actions(&format!("Delete “{}”", self.token.name), true, back),
        }
    }

    fn refresh(&self, desk: &Desk, sent: &Sent, refused: &Refused) -> Markup {
        let default = default_term(&self.policy);
        let present = forms::present_term(self.token.expires_at, default, desk.now);
        html! {
            (self.usage(desk))
            @if self.token.status == "active" {
                div .notice .soon {
                    p { "Programs using this token will stop working when the old secret does." }
                }
                (forms::grace(
                    self.policy.max_grace_seconds,
                    sent.get("grace_period_seconds"),
                    refused,
                ))
            } @else {
                p { (forms::TERM_ENDED) }
            }
            (term(&self.policy, sent.number("expires_in_seconds"), present.as_ref(), refused))
        }
    }

    fn edit(&self, service: &Service, sent: &Sent, missed: &Missed) -> Markup {
        let refused = &missed.refused;
        let current = &self.token.scopes;
        let chosen = sent.all("scopes");
        // Whoever comes later chooses again, from what is true now.
        let is_fresh = sent.get("version").is_none() || missed.is_stale;
        let catalogue = &service.app.choices.catalogue;
        let chosen = if is_fresh { scopes::kept(catalogue, current).0 } else { chosen };
        html! {
            p { "Choose what programs may read with " strong { (self.token.name) }
                ". A change counts for its secrets at once." }
            (scopes::choice(
                catalogue,
                |scope| allows(&self.policy, scope),
                &chosen,
                Some(current),
                refused.of("scopes"),
            ))
            div .field data-changes[true] hidden {
                h2 #changes-title { "What changes" }
                div #changes role="status" aria-labelledby="changes-title" {
                    (scopes::diff(current, &chosen))
                }
            }
        }
    }

    fn end_grace(&self, desk: &Desk) -> Markup {
        html! {
            p { "Programs that still use the old secret stop working at once; the new secret stays \
                 good. The last use may have been by either." }
            (self.usage(desk))
        }
    }

    fn delete(&self, desk: &Desk) -> Markup {
        html! {
            p { "Programs using it stop working at once. It can’t be undone: the token stays in \
                 the list of deleted ones, with its history." }
            (self.usage(desk))
        }
    }

    /// What the token is and what was using it.
    fn usage(&self, desk: &Desk) -> Markup {
        let token = &self.token;
        html! {
            dl .facts {
                dt { "Token" } dd { strong { (token.name) } " " span .mono .quiet { (token.secret_hint) } }
                dt { "Status" } dd { (token_status(desk, token)) }
                (old_secret_fact(
                    token.previous_secret_expires_at,
                    desk.company.oauth_app_enabled,
                    &html! { @if self.change == Change::Refresh { (ended_by_refresh()) } },
                ))
                dt { "Last used" } dd { (last_used_from(token, desk)) }
                dt { "Data accesses" } dd { (scopes::all(&token.scopes)) }
            }
        }
    }
}
