//! The table of contents.

use super::Service;
use super::access::{Access, authorize};
use super::envelope::envelope;
use super::oauth::error::OauthError;
use super::oauth::{metadata, published, revoke, token};
use super::problem::{Kind, Problem};
use super::{
    audit, audit_stream, clients, companies, denials, docs_page, html, if_match, incidents, keys,
    log, members, openapi, ops, people, policy, problems_page, projections, tokens, verify,
};
use crate::console;
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::handler::Handler;
use axum::http::{Method, Uri};
use axum::middleware::{from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{self, MethodRouter};
use std::sync::Arc;
use token_ledger_domain::Power::{Auditor, Operator, SuperAdmin};
use tower_http::catch_panic::CatchPanicLayer;

/// The largest body, in bytes.
pub const MAX_BODY: usize = 64 * 1024;

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

    fn add(
        mut self,
        method: Method,
        path: &'static str,
        access: Access,
        handler: MethodRouter<Arc<Service>>,
    ) -> Self {
        let check = from_fn_with_state((Arc::clone(&self.service), access), authorize);
        self.router = self.router.route(path, handler.layer(check));
        self.list.push((method, path, access));
        self
    }

    fn get<H, T>(self, path: &'static str, access: Access, handler: H) -> Self
    where
        H: Handler<T, Arc<Service>>,
        T: 'static,
    {
        self.add(Method::GET, path, access, routing::get(handler).layer(from_fn(if_match::answer)))
    }

    fn post<H, T>(self, path: &'static str, access: Access, handler: H) -> Self
    where
        H: Handler<T, Arc<Service>>,
        T: 'static,
    {
        self.add(Method::POST, path, access, routing::post(handler))
    }

    fn put<H, T>(self, path: &'static str, access: Access, handler: H) -> Self
    where
        H: Handler<T, Arc<Service>>,
        T: 'static,
    {
        self.add(Method::PUT, path, access, routing::put(handler))
    }

    fn patch<H, T>(self, path: &'static str, access: Access, handler: H) -> Self
    where
        H: Handler<T, Arc<Service>>,
        T: 'static,
    {
        self.add(Method::PATCH, path, access, routing::patch(handler))
    }

    fn delete<H, T>(self, path: &'static str, access: Access, handler: H) -> Self
    where
        H: Handler<T, Arc<Service>>,
        T: 'static,
    {
        self.add(Method::DELETE, path, access, routing::delete(handler))
    }
}

/// All routes of the service.
pub fn routes(service: Arc<Service>) -> Routes {
    use Access::{Client, Key, Power, Public};
    records(Routes::new(service))
        .get("/v1/whoami", Key, companies::whoami)
        .get("/v1/scopes", Key, companies::scopes)
        .get("/v1/companies", Power(Operator), companies::list)
        .post("/v1/companies", Power(Operator), companies::create)
        .get("/v1/companies/{company_id}", Power(Auditor), companies::get)
        .put("/v1/companies/{company_id}/oauth-app", Power(Operator), companies::set_oauth_app)
        .get("/v1/companies/{company_id}/policy", Power(Auditor), policy::get)
        .put("/v1/companies/{company_id}/policy", Power(SuperAdmin), policy::put)
        .get("/v1/companies/{company_id}/members", Power(Auditor), members::list)
        .post("/v1/companies/{company_id}/members", Power(SuperAdmin), members::create)
        .get("/v1/companies/{company_id}/members/{member_id}", Power(Auditor), members::get)
        .patch("/v1/companies/{company_id}/members/{member_id}", Power(SuperAdmin), members::change)
        .delete(
            "/v1/companies/{company_id}/members/{member_id}",
            Power(SuperAdmin),
            members::remove,
        )
        .post(
            "/v1/companies/{company_id}/members/{member_id}/password-link",
            Power(SuperAdmin),
            members::password_link,
        )
        .get("/v1/companies/{company_id}/keys", Power(Auditor), keys::list)
        .post("/v1/companies/{company_id}/keys", Power(SuperAdmin), keys::create)
        .get("/v1/companies/{company_id}/keys/{key_id}", Power(Auditor), keys::get)
        .delete("/v1/companies/{company_id}/keys/{key_id}", Power(SuperAdmin), keys::delete)
        .post("/v1/companies/{company_id}/keys/{key_id}/refresh", Power(SuperAdmin), keys::refresh)
        .get("/v1/companies/{company_id}/clients", Power(Auditor), clients::list)
        .post("/v1/companies/{company_id}/clients", Power(SuperAdmin), clients::create)
        .get("/v1/companies/{company_id}/clients/{client_id}", Power(Auditor), clients::get)
        .delete(
            "/v1/companies/{company_id}/clients/{client_id}",
            Power(SuperAdmin),
            clients::delete,
        )
        .post(
            "/v1/companies/{company_id}/clients/{client_id}/rotate",
            Power(SuperAdmin),
            clients::rotate,
        )
        .get("/v1/companies/{company_id}/tokens", Power(Auditor), tokens::list)
        .post("/v1/companies/{company_id}/tokens", Power(SuperAdmin), tokens::create)
        .post("/v1/companies/{company_id}/tokens/find", Power(Auditor), tokens::find)
        .post("/v1/companies/{company_id}/tokens/delete-all", Power(SuperAdmin), incidents::begin)
        .get(
            "/v1/companies/{company_id}/tokens/delete-all/{operation_id}",
            Power(Auditor),
            incidents::progress,
        )
        .get("/v1/companies/{company_id}/tokens/{token_id}", Power(Auditor), tokens::get)
        .patch("/v1/companies/{company_id}/tokens/{token_id}", Power(SuperAdmin), tokens::change)
        .delete("/v1/companies/{company_id}/tokens/{token_id}", Power(SuperAdmin), tokens::delete)
        .post(
            "/v1/companies/{company_id}/tokens/{token_id}/refresh",
            Power(SuperAdmin),
            tokens::refresh,
        )
        .post(
            "/v1/companies/{company_id}/tokens/{token_id}/end-grace",
            Power(SuperAdmin),
            tokens::end_grace,
        )
        .get("/v1/projections", Power(Operator), projections::list)
        .get("/v1/projections/{name}/rebuild", Power(Operator), projections::progress)
        .post("/v1/projections/{name}/rebuild", Power(Operator), projections::rebuild)
        .post("/oauth/token", Client, token::token)
        .post("/oauth/revoke", Client, revoke::revoke)
        .get("/.well-known/oauth-authorization-server", Public, metadata::metadata)
        .post("/tokens", Client, published::create)
        .post("/tokens/refresh_token", Client, published::refresh)
        .post("/revoke", Client, published::revoke)
        .get("/healthz", Public, ops::healthz)
        .get("/readyz", Public, ops::readyz)
        .get("/metrics", Public, ops::metrics)
        .get("/openapi.json", Public, openapi::openapi_json)
        .get("/docs", Public, docs_page::docs)
        .get("/docs/style.css", Public, html::style)
        .get("/problems", Public, problems_page::index)
        .get("/problems/{slug}", Public, problems_page::one)
}

/// What happened: the audit trail, what is beside it, and the evidence.
fn records(routes: Routes) -> Routes {
    use Access::{Log, Power};
    routes
        .get("/v1/companies/{company_id}/tokens/{token_id}/history", Power(Auditor), audit::history)
        .get("/v1/companies/{company_id}/audit/events", Power(Auditor), audit::events)
        .get("/v1/companies/{company_id}/audit/export", Power(Auditor), audit::export)
        .get("/v1/companies/{company_id}/audit/stream", Power(Auditor), audit_stream::stream)
        .get("/v1/companies/{company_id}/audit/denials", Power(Auditor), denials::denials)
        .get("/v1/companies/{company_id}/audit/sign-ins", Power(Auditor), denials::sign_ins)
        .get("/v1/companies/{company_id}/audit/exports", Power(Auditor), denials::exports)
        .get(
            "/v1/companies/{company_id}/audit/password-links",
            Power(Auditor),
            denials::password_links,
        )
        .get("/v1/companies/{company_id}/tokens/{token_id}/evidence", Power(Auditor), log::evidence)
        .post("/v1/companies/{company_id}/people/{person_id}/erase", Power(Operator), people::erase)
        .get("/v1/companies/{company_id}/log/checkpoint", Log, log::checkpoint)
        .get("/v1/companies/{company_id}/log/checkpoints", Log, log::checkpoints)
        .get("/v1/companies/{company_id}/log/key", Log, log::key)
        .get("/v1/companies/{company_id}/log/tile/entries/{*tile}", Power(Auditor), log::entries)
        .get("/v1/companies/{company_id}/log/tile/{level}/{*tile}", Log, log::tile)
        .get("/v1/companies/{company_id}/log/proof", Power(Auditor), log::proof)
        .get("/v1/companies/{company_id}/log/consistency", Power(Auditor), log::consistency)
        .get("/v1/audit/events", Power(Operator), audit::events_everywhere)
}

/// Each protocol says it in its own words.
async fn method_not_allowed(uri: Uri) -> Response {
    const DETAIL: &str = "The path does not take this method.";
    if uri.path().starts_with("/oauth/") {
        return OauthError::method_not_allowed(DETAIL).into_response();
    }
    Problem::new(Kind::MethodNotAllowed, DETAIL).into_response()
}

/// The service's router.
pub fn router(service: Arc<Service>) -> Router {
    ops::count();
    let verification = verify::routes(Arc::clone(&service));
    let console = console::routes(Arc::clone(&service)).into_router();
    let routes = routes(Arc::clone(&service));
    routes
        .router
        .merge(console)
        .fallback(|| async { Problem::new(Kind::NotFound, "There is nothing at this path.") })
        .method_not_allowed_fallback(method_not_allowed)
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(CatchPanicLayer::custom(|_| {
            tracing::error!("a handler panicked");
            IntoResponse::into_response(Problem::new(
                Kind::Internal,
                "The service failed. Name the request_id to the operator.",
            ))
        }))
        .layer(from_fn_with_state(Arc::clone(&service), envelope))
        .with_state(service)
        // Behind the layers, which it goes without.
        .merge(verification)
}
