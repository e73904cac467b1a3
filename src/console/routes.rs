//! The console's table of contents.

use super::access::{Access, admit};
use super::audit::{beside, event, export, live, trail};
use super::tokens::{change, create, list, one};
use super::{
    actors, assets, clients, companies, home, keys, links, log, members, membership, passwords,
    people, platform, policy, sessions, sign_in, theme,
};
use crate::http::Service;
use axum::Router;
use axum::handler::Handler;
use axum::http::Method;
use axum::middleware::from_fn_with_state;
use axum::routing::{MethodFilter, on};
use std::sync::Arc;
use token_ledger_domain::Power::{Auditor, Operator, SuperAdmin};

/// Routes, each with its access.
pub struct Routes {
    service: Arc<Service>,
    router: Router<Arc<Service>>,
    list: Vec<(Method, &'static str, Access)>,
}

impl std::fmt::Debug for Routes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(&self.list).finish()
    }
}

impl Routes {
    /// No routes yet.
    pub fn new(service: Arc<Service>) -> Self {
        Self { service, router: Router::new(), list: Vec::new() }
    }

    /// Every route that was added: method, path and access.
    pub fn list(&self) -> &[(Method, &'static str, Access)] {
        &self.list
    }

    /// The router.
    pub fn into_router(self) -> Router<Arc<Service>> {
        self.router.method_not_allowed_fallback(home::no_page)
    }

    fn get<H, T>(mut self, path: &'static str, access: Access, handler: H) -> Self
    where
        H: Handler<T, Arc<Service>>,
        T: 'static,
    {
        let check = from_fn_with_state((Arc::clone(&self.service), access), admit);
        self.router = self.router.route(path, on(MethodFilter::GET, handler).layer(check));
        self.list.push((Method::GET, path, access));
        self
    }

    fn post<H, T>(mut self, path: &'static str, access: Access, handler: H) -> Self
    where
        H: Handler<T, Arc<Service>>,
        T: 'static,
    {
        let check = from_fn_with_state((Arc::clone(&self.service), access), admit);
        self.router = self.router.route(path, on(MethodFilter::POST, handler).layer(check));
        self.list.push((Method::POST, path, access));
        self
    }

    /// What takes a form that is on another page.
    fn form<H, T>(self, path: &'static str, access: Access, handler: H) -> Self
    where
        H: Handler<T, Arc<Service>>,
        T: 'static,
    {
        self.post(path, access, handler).get(path, Access::SignedIn, home::nowhere)
    }
}

/// All routes of the console.
pub fn routes(service: Arc<Service>) -> Routes {
    use Access::{Link, Platform, Power, Public, SignedIn};
    Routes::new(service)
        .get("/", Public, home::root)
        .get("/favicon.ico", Public, assets::get_icon)
        .get("/console", SignedIn, home::show)
        .get("/console/assets/style.css", Public, assets::get_style)
        .get("/console/assets/console.js", Public, assets::get_script)
        .get("/console/assets/icon.svg", Public, assets::get_icon)
        .get("/console/sign-in", Public, sign_in::show)
        .post("/console/sign-in", Public, sign_in::sign_in)
        .get("/console/sign-in/{link}", Link, links::ask_sign_in)
        .post("/console/sign-in/{link}", Link, links::sign_in_by_link)
        .get("/console/set-password/{link}", Link, links::ask_password)
        .post("/console/set-password/{link}", Link, links::set_password)
        .form("/console/sign-out", SignedIn, sessions::sign_out)
        .get("/console/companies", SignedIn, companies::list)
        .post("/console/companies", SignedIn, companies::enter)
        .get("/console/sessions", SignedIn, sessions::list)
        .form("/console/sessions/{session_id}/end", SignedIn, sessions::end)
        .get("/console/password", SignedIn, passwords::show)
        .post("/console/password", SignedIn, passwords::change)
        .get("/console/confirm", SignedIn, sign_in::ask_again)
        .post("/console/confirm", SignedIn, sign_in::confirm)
        .form("/console/theme", SignedIn, theme::choose)
        .get("/console/actors", Power(Auditor), actors::suggest)
        .get("/console/clients", Power(Auditor), clients::list)
        .get("/console/clients/new", Power(SuperAdmin), clients::form)
        .post("/console/clients/new", Power(SuperAdmin), clients::create)
        .get("/console/clients/{client_id}/rotate", Power(SuperAdmin), clients::rotate_form)
        .post("/console/clients/{client_id}/rotate", Power(SuperAdmin), clients::rotate)
        .get("/console/clients/{client_id}/delete", Power(SuperAdmin), clients::delete_form)
        .post("/console/clients/{client_id}/delete", Power(SuperAdmin), clients::delete)
        .get("/console/keys", Power(Auditor), keys::list)
        .get("/console/keys/new", Power(SuperAdmin), keys::form)
        .post("/console/keys/new", Power(SuperAdmin), keys::create)
        .get("/console/keys/{key_id}/refresh", Power(SuperAdmin), keys::refresh_form)
        .post("/console/keys/{key_id}/refresh", Power(SuperAdmin), keys::refresh)
        .get("/console/keys/{key_id}/delete", Power(SuperAdmin), keys::delete_form)
        .post("/console/keys/{key_id}/delete", Power(SuperAdmin), keys::delete)
        .get("/console/members", Power(Auditor), members::list)
        .get("/console/members/new", Power(SuperAdmin), members::form)
        .post("/console/members/new", Power(SuperAdmin), members::add)
        .get("/console/members/{member_id}/role", Power(SuperAdmin), membership::role_form)
        .post("/console/members/{member_id}/role", Power(SuperAdmin), membership::change_role)
        .get("/console/members/{member_id}/link", Power(SuperAdmin), membership::link_form)
        .post("/console/members/{member_id}/link", Power(SuperAdmin), membership::new_link)
        .get("/console/members/{member_id}/remove", Power(SuperAdmin), membership::remove_form)
        .post("/console/members/{member_id}/remove", Power(SuperAdmin), membership::remove)
        .get("/console/policy", Power(Auditor), policy::show)
        .post("/console/policy", Power(SuperAdmin), policy::change)
        .get("/console/platform/companies", Platform, platform::companies)
        .get("/console/platform/companies/new", Platform, platform::form)
        .post("/console/platform/companies/new", Platform, platform::register)
        .get("/console/platform/companies/{company_id}/oauth-app", Platform, platform::module_form)
        .post(
            "/console/platform/companies/{company_id}/oauth-app",
            Platform,
            platform::set_oauth_app,
        )
        .get("/console/platform/projections", Platform, platform::projections)
        .form("/console/platform/projections/{name}/rebuild", Platform, platform::rebuild)
        .get("/console/audit", Power(Auditor), trail::show)
        .get("/console/audit/events/{position}", Power(Auditor), event::show)
        .get("/console/audit/denials", Power(Auditor), beside::denials)
        .get("/console/audit/sign-ins", Power(Auditor), beside::sign_ins)
        .get("/console/audit/exports", Power(Auditor), beside::exports)
        .get("/console/audit/password-links", Power(Auditor), beside::password_links)
        .get("/console/audit/live", Power(Auditor), live::stream)
        .get("/console/audit/export", Power(Auditor), export::export)
        .get("/console/log", Power(Auditor), log::show)
        .get("/console/log/checkpoint", Power(Auditor), log::checkpoint)
        .get("/console/log/key", Power(Auditor), log::key)
        .get("/console/log/proof", Power(Auditor), log::proof)
        .get("/console/people/{person_id}/erase", Power(Operator), people::form)
        .post("/console/people/{person_id}/erase", Power(Operator), people::erase)
        .get("/console/tokens", Power(Auditor), list::list)
        .get("/console/tokens/new", Power(SuperAdmin), create::form)
        .post("/console/tokens/new", Power(SuperAdmin), create::create)
        .get("/console/tokens/{token_id}", Power(Auditor), one::show)
        .get("/console/tokens/{token_id}/evidence", Power(Auditor), one::evidence)
        .get("/console/tokens/{token_id}/refresh", Power(SuperAdmin), change::refresh_form)
        .post("/console/tokens/{token_id}/refresh", Power(SuperAdmin), change::refresh)
        .get("/console/tokens/{token_id}/edit", Power(SuperAdmin), change::edit_form)
        .post("/console/tokens/{token_id}/edit", Power(SuperAdmin), change::edit)
        .get("/console/tokens/{token_id}/delete", Power(SuperAdmin), change::delete_form)
        .post("/console/tokens/{token_id}/delete", Power(SuperAdmin), change::delete)
        .get("/console/tokens/{token_id}/end-grace", Power(SuperAdmin), change::end_grace_form)
        .post("/console/tokens/{token_id}/end-grace", Power(SuperAdmin), change::end_grace)
        .get("/console/", SignedIn, home::show)
        .get("/console/{*path}", SignedIn, home::nowhere)
}
