//! OAuth 2.0, for programs that get their tokens themselves: the endpoints of the standards, and
//! the published API of the product that this service replaces.
//!
//! Parameters are read by [`params`], the client proves who it is in [`client_auth`], and what goes
//! wrong is an [`error::OauthError`] on the standards' endpoints and its translation in
//! [`published`] on the others.

pub(super) mod client_auth;
pub(super) mod error;
pub(super) mod metadata;
pub(super) mod params;
pub(super) mod published;
pub(super) mod revoke;
pub(super) mod token;

use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;

/// Whether a route is one of the standards' endpoints, where whatever goes wrong is told in the words
/// of OAuth.
pub(super) fn is_standard(route: &str) -> bool {
    route.starts_with("/oauth/")
}

/// Whether a route is one that OAuth clients call.
pub(super) fn is_for_clients(route: &str) -> bool {
    is_standard(route) || matches!(route, "/tokens" | "/tokens/refresh_token" | "/revoke")
}

/// What says that an answer is kept by nobody (RFC 6749 §5.1).
fn never_cached(headers: &mut HeaderMap) {
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::PRAGMA, HeaderValue::from_static("no-cache"));
}

fn uncached(mut response: Response) -> Response {
    never_cached(response.headers_mut());
    response
}

/// Nothing.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Nothing {}
