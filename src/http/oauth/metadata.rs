//! What the service can do as an authorization server (RFC 8414).

use super::token::CLIENT_CREDENTIALS;
use crate::http::Service;
use axum::Json;
use axum::extract::State;
use serde::Serialize;
use std::sync::Arc;
use utoipa::ToSchema;

/// How clients may prove who they are.
const METHODS: [&str; 2] = ["client_secret_basic", "client_secret_post"];

/// The metadata.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct Metadata {
    issuer: String,
    token_endpoint: String,
    revocation_endpoint: String,
    introspection_endpoint: String,
    grant_types_supported: [&'static str; 1],
    response_types_supported: [&'static str; 0],
    scopes_supported: Vec<String>,
    token_endpoint_auth_methods_supported: [&'static str; 2],
    revocation_endpoint_auth_methods_supported: [&'static str; 2],
    introspection_endpoint_auth_methods_supported: [&'static str; 2],
    service_documentation: String,
}

/// Describes the authorization server.
#[utoipa::path(
    get, path = "/.well-known/oauth-authorization-server", operation_id = "oauth_metadata",
    tag = "oauth",
    security(()),
    responses((status = 200, description = "The metadata", body = Metadata)),
)]
pub(in crate::http) async fn metadata(State(service): State<Arc<Service>>) -> Json<Metadata> {
    Json(of(&service))
}

fn of(service: &Service) -> Metadata {
    let issuer = &service.public_url;
    let catalogue = &service.app.choices.catalogue;
    Metadata {
        token_endpoint: format!("{issuer}/oauth/token"),
        revocation_endpoint: format!("{issuer}/oauth/revoke"),
        introspection_endpoint: format!("{issuer}/oauth/introspect"),
        service_documentation: format!("{issuer}/docs"),
        issuer: issuer.clone(),
        grant_types_supported: [CLIENT_CREDENTIALS],
        response_types_supported: [],
        scopes_supported: catalogue.iter().map(|(scope, _)| scope.to_string()).collect(),
        token_endpoint_auth_methods_supported: METHODS,
        revocation_endpoint_auth_methods_supported: METHODS,
        introspection_endpoint_auth_methods_supported: METHODS,
    }
}
