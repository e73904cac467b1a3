//! The description of the API (OpenAPI 3.1).
//!
//! To describe a new route: annotate its handler with `utoipa::path` and list it here. A test
//! holds this list against the routes.

use super::{
    Service, audit, audit_stream, clients, companies, denials, described, docs_page, html,
    incidents, introspect, keys, log, members, oauth, ops, people, policy, problems_page,
    projections, tokens, verify, vocabulary,
};
use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::IntoResponse;
use serde_json::Value;
use std::sync::Arc;
use token_ledger_domain::Catalogue;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::openapi::{Components, OpenApi as Description};
use utoipa::{Modify, OpenApi};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Token Ledger",
        description = "A ledger for API access tokens: every change is an event, and every answer \
            comes from the events."
    ),
    servers((url = "/", description = "This service")),
    tags(
        (name = "verification", description = "Is this token good, here and now?"),
        (name = "oauth", description = "OAuth 2.0, for programs that get their tokens themselves"),
        (name = "published", description = "The published API of the product that this replaces"),
        (name = "companies", description = "The owners of ledgers"),
        (name = "policy", description = "What terms that begin from now on may be"),
        (name = "members", description = "People, and what they may do"),
        (name = "tokens", description = "Creating, refreshing, changing and deleting tokens"),
        (name = "keys", description = "API keys, for programs that manage or audit"),
        (name = "clients", description = "OAuth clients: programs that get their tokens themselves"),
        (name = "audit", description = "What happened: lists, exports, a live stream"),
        (name = "evidence", description = "Signed checkpoints, hashes and proofs: nobody has to \
            trust the service"),
        (name = "operations", description = "Running the service"),
        (name = "documentation", description = "What you are reading"),
    ),
    paths(
        verify::verify,
        verify::verify_below,
        introspect::introspect,
        oauth::token::token,
        oauth::revoke::revoke,
        oauth::metadata::metadata,
        oauth::published::create,
        oauth::published::refresh,
        oauth::published::revoke,
        companies::list,
        companies::create,
        companies::get,
        companies::set_oauth_app,
        companies::whoami,
        companies::scopes,
        policy::get,
        policy::put,
        members::list,
        members::create,
        members::get,
        members::change,
        members::remove,
        members::password_link,
        keys::list,
        keys::create,
        keys::get,
        keys::refresh,
        keys::delete,
        clients::list,
        clients::create,
        clients::get,
        clients::rotate,
        clients::delete,
        tokens::list,
        tokens::create,
        tokens::find,
        tokens::get,
        tokens::refresh,
        tokens::end_grace,
        tokens::change,
        tokens::delete,
        incidents::begin,
        incidents::progress,
        audit::events,
        audit::events_everywhere,
        audit::history,
        audit::export,
        audit_stream::stream,
        denials::denials,
        denials::sign_ins,
        denials::exports,
        denials::password_links,
        log::checkpoint,
        log::checkpoints,
        log::key,
        log::tile,
        log::entries,
        log::proof,
        log::consistency,
        log::evidence,
        people::erase,
        projections::list,
        projections::rebuild,
        projections::progress,
        ops::healthz,
        ops::readyz,
        ops::metrics,
        problems_page::index,
        problems_page::one,
        openapi_json,
        docs_page::docs,
        html::style,
    ),
    components(schemas(
        oauth::published::BadClient,
        vocabulary::AnyScope,
        vocabulary::ClientStatus,
        vocabulary::EventType,
        vocabulary::ExportFormat,
        vocabulary::GrantType,
        vocabulary::KeyScopeName,
        vocabulary::OptionalGrantType,
        vocabulary::OptionalName,
        vocabulary::RoleName,
        vocabulary::ScopeName,
        vocabulary::TokenOrder,
        vocabulary::TokenStatus,
    )),
    security(("key" = [])),
    modifiers(&Schemes)
)]
struct Document;

/// How callers prove who they are.
struct Schemes;

impl Modify for Schemes {
    fn modify(&self, description: &mut Description) {
        let components = description.components.get_or_insert_with(Components::default);
        let http = |scheme, text| {
            let mut http = Http::new(scheme);
            http.description = Some(String::from(text));
            SecurityScheme::Http(http)
        };
        let schemes = [
            ("key", http(HttpAuthScheme::Bearer, "An API key (`tla_…`)")),
            (
                "token",
                http(HttpAuthScheme::Bearer, "An access token (`tlk_…`): the one asked about"),
            ),
            (
                "client",
                http(HttpAuthScheme::Basic, "An OAuth client's identifier and secret (`tlc_…`)"),
            ),
            ("key_as_password", http(HttpAuthScheme::Basic, "An API key as the password")),
        ];
        for (name, scheme) in schemes {
            components.add_security_scheme(name, scheme);
        }
    }
}

/// The description of the API, where these data accesses are on offer.
pub fn document(catalogue: &Catalogue) -> Value {
    let mut document = serde_json::to_value(Document::openapi()).unwrap_or_default();
    described::complete(&mut document, catalogue);
    document
}

/// The description of the API (OpenAPI 3.1).
#[utoipa::path(
    get,
    path = "/openapi.json",
    operation_id = "openapi",
    tag = "documentation",
    security(()),
    responses((status = 200, description = "An OpenAPI document", body = Object))
)]
pub(super) async fn openapi_json(State(service): State<Arc<Service>>) -> impl IntoResponse {
    let json = HeaderValue::from_static("application/json");
    ([(header::CONTENT_TYPE, json)], service.documents.openapi(&service.app.choices.catalogue))
}
