//! What pages about a company are made with: who looks, where, and when.

use super::access::SignedIn;
use super::error::Trouble;
use super::form::token_field;
use super::page::{self, Page};
use super::sent::{COMPANY, NONCE};
use crate::app::Caller;
use crate::app::view::CompanyView;
use crate::http::Service;
use crate::http::problem::Kind;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Redirect, Response};
use maud::{Markup, html};
use std::sync::Arc;
use token_ledger_domain::{Power, Timestamp};
use token_ledger_projections::attempts::{AttemptKind, Seen};
use uuid::Uuid;

/// Somebody in a company, at a moment.
#[derive(Clone, Debug)]
pub struct Desk {
    /// Who, as pages want to know it.
    pub who: SignedIn,
    /// Who, as use cases want to know it.
    pub caller: Caller,
    /// The company.
    pub company: CompanyView,
    /// Now.
    pub now: Timestamp,
    /// What the forms on the page are recognised by when they arrive again.
    nonce: Uuid,
}

impl FromRequestParts<Arc<Service>> for Desk {
    type Rejection = Trouble;

    async fn from_request_parts(
        parts: &mut Parts,
        service: &Arc<Service>,
    ) -> Result<Self, Trouble> {
        let who = SignedIn::from_request_parts(parts, service).await?;
        let outside = || Trouble::new(Kind::Internal, "The route declares no power.");
        let caller = who.visitor.caller(&who.origin).ok_or_else(outside)?;
        let company = who.company.clone().ok_or_else(outside)?;
        let (now, nonce) = (service.app.now(), service.app.new_id());
        Ok(Self { who, caller, company, now, nonce })
    }
}

impl Desk {
    /// Whether changes are offered. Whether they are allowed is for the routes to say.
    pub fn may_change(&self) -> bool {
        self.caller.power >= Power::SuperAdmin
    }

    /// Whether the platform's operator looks.
    pub fn is_operator(&self) -> bool {
        self.caller.power == Power::Operator
    }

    /// What every form carries: that it is this session's and about this company, and a nonce,
    /// which keeps it from being carried out twice.
    pub fn seal(&self) -> Markup {
        seal(&self.who, self.nonce)
    }

    /// A page.
    pub fn page(&self, page: &Page<'_>, content: &Markup) -> Response {
        page::of(StatusCode::OK, &self.who, page, content)
    }

    /// A form that has to be filled in again.
    pub fn refused(&self, page: &Page<'_>, content: &Markup) -> Response {
        page::of(StatusCode::UNPROCESSABLE_ENTITY, &self.who, page, content)
    }

    /// Notes for the auditor that records are taken out.
    pub fn note_export(&self, service: &Service, route: &str) {
        service.app.note(Seen {
            kind: AttemptKind::Export,
            company_id: self.caller.company,
            actor: Some(self.caller.actor),
            method: Method::GET.to_string(),
            route: route.to_owned(),
            status: StatusCode::OK.as_u16(),
            problem: None,
            request_id: self.caller.request_id.clone(),
            ip: self.who.origin.ip,
            user_agent: self.caller.user_agent.clone(),
        });
    }

    /// The way to where the password is given again, where the last time is long ago.
    pub fn unconfirmed(&self, service: &Service, next: &str) -> Option<Response> {
        self.who.confirmed(service, next).err().map(IntoResponse::into_response)
    }
}

/// An operator at a moment, in a company or in none.
#[derive(Clone, Debug)]
pub struct Bridge {
    /// Who, as pages want to know it.
    pub who: SignedIn,
    /// Who, as use cases want to know it.
    pub caller: Caller,
    /// Now.
    pub now: Timestamp,
    /// What the forms on the page are recognised by when they arrive again.
    nonce: Uuid,
}

impl FromRequestParts<Arc<Service>> for Bridge {
    type Rejection = Trouble;

    async fn from_request_parts(
        parts: &mut Parts,
        service: &Arc<Service>,
    ) -> Result<Self, Trouble> {
        let who = SignedIn::from_request_parts(parts, service).await?;
        let outside = || Trouble::new(Kind::Internal, "The route declares no power.");
        let caller = who.operator.clone().ok_or_else(outside)?;
        let (now, nonce) = (service.app.now(), service.app.new_id());
        Ok(Self { who, caller, now, nonce })
    }
}

impl Bridge {
    /// As [`Desk::seal`], where a company is chosen.
    pub fn seal(&self) -> Markup {
        seal(&self.who, self.nonce)
    }

    /// A page.
    pub fn page(&self, page: &Page<'_>, content: &Markup) -> Response {
        page::of(StatusCode::OK, &self.who, page, content)
    }

    /// A form that has to be filled in again.
    pub fn refused(&self, page: &Page<'_>, content: &Markup) -> Response {
        page::of(StatusCode::UNPROCESSABLE_ENTITY, &self.who, page, content)
    }
}

fn seal(who: &SignedIn, nonce: Uuid) -> Markup {
    html! {
        (token_field(who))
        @if let Some(company) = &who.company {
            input type="hidden" name=(COMPANY) value=(company.company_id);
        }
        input type="hidden" name=(NONCE) value=(nonce);
    }
}

/// To another page, after a change.
pub fn go_on(path: &str) -> Response {
    Redirect::to(path).into_response()
}
