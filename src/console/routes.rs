//! The console's table of contents.

use super::access::{Access, admit};
use super::{assets, companies, home, links, passwords, sessions, sign_in};
use crate::http::Service;
use axum::Router;
use axum::handler::Handler;
use axum::http::Method;
use axum::middleware::from_fn_with_state;
use axum::routing::{MethodFilter, on};
use std::sync::Arc;

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
        self.router
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
}

/// All routes of the console.
pub fn routes(service: Arc<Service>) -> Routes {
    use Access::{Link, Public, SignedIn};
    Routes::new(service)
        .get("/", Public, home::root)
        .get("/console", SignedIn, home::show)
        .get("/console/assets/style.css", Public, assets::get_style)
        .get("/console/sign-in", Public, sign_in::show)
        .post("/console/sign-in", Public, sign_in::sign_in)
        .get("/console/sign-in/{link}", Link, links::ask_sign_in)
        .post("/console/sign-in/{link}", Link, links::sign_in_by_link)
        .get("/console/set-password/{link}", Link, links::ask_password)
        .post("/console/set-password/{link}", Link, links::set_password)
        .post("/console/sign-out", SignedIn, sessions::sign_out)
        .get("/console/companies", SignedIn, companies::list)
        .post("/console/companies", SignedIn, companies::enter)
        .get("/console/sessions", SignedIn, sessions::list)
        .post("/console/sessions/{session_id}/end", SignedIn, sessions::end)
        .get("/console/password", SignedIn, passwords::show)
        .post("/console/password", SignedIn, passwords::change)
        .get("/console/confirm", SignedIn, sign_in::ask_again)
        .post("/console/confirm", SignedIn, sign_in::confirm)
}
