//! The token endpoint (RFC 6749 §4.4): a client gets a token for itself.

use super::error::{Code, OauthError, RefusedClient};
use super::{client_auth, never_cached, params};
use crate::app::oauth::{Asked, Granted};
use crate::http::vocabulary::{GrantType, OptionalName};
use crate::http::{RequestInfo, Service};
use axum::Json;
use axum::extract::{Extension, Request, State};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use std::sync::Arc;
use utoipa::ToSchema;

/// The one grant type.
pub(super) const CLIENT_CREDENTIALS: &str = "client_credentials";

/// What the token endpoint takes. The client's credentials come by Basic or here, not both.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "documents the form, which is read without it")]
pub(in crate::http) struct TokenForm {
    #[schema(value_type = GrantType)]
    grant_type: String,
    /// The scopes, space-delimited, of those that the client may ask for; all of them unless given.
    #[schema(nullable = false)]
    scope: Option<String>,
    /// The token's name; the client's unless given.
    #[schema(nullable = false, value_type = Option<OptionalName>)]
    name: Option<String>,
    /// The client, where it does not come by Basic.
    #[schema(nullable = false)]
    client_id: Option<String>,
    /// The client's secret, where it does not come by Basic.
    #[schema(nullable = false)]
    client_secret: Option<String>,
}

/// A token (RFC 6749 §5.1).
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct TokenAnswer<'a> {
    /// The secret, which is shown this once.
    access_token: &'a str,
    /// `Bearer`.
    token_type: &'static str,
    /// How long it is good, in seconds.
    expires_in: i64,
    /// The scopes, space-delimited.
    scope: String,
}

/// Gives a client a token for itself, by client credentials.
#[utoipa::path(
    post, path = "/oauth/token", operation_id = "oauth_token", tag = "oauth",
    request_body(content = TokenForm, content_type = "application/x-www-form-urlencoded"),
    security(("client" = []), ()),
    responses((status = 200, description = "The token", body = TokenAnswer), RefusedClient),
)]
pub(in crate::http) async fn token(
    State(service): State<Arc<Service>>,
    Extension(info): Extension<RequestInfo>,
    request: Request,
) -> Result<Response, OauthError> {
    let headers = request.headers().clone();
    let params = params::form(request).await?;
    let scope = params.one("scope")?;
    let name = params.one("name")?;
    supported(params.needed("grant_type")?)?;
    let (client, caller) = client_auth::authenticate(&service, info, &headers, &params).await?;
    let asked = Asked {
        name: name.map(str::to_owned),
        scopes: scope
            .map(|scope| scope.split(' ').filter(|s| !s.is_empty()).map(str::to_owned).collect()),
    };
    let granted = service.app.grant_token(&caller, &client, asked).await?;
    Ok(answer(&granted))
}

/// # Errors
/// When the grant type is another than the one.
pub(super) fn supported(grant_type: &str) -> Result<(), OauthError> {
    if grant_type == CLIENT_CREDENTIALS {
        return Ok(());
    }
    Err(OauthError::new(Code::UnsupportedGrantType, "The one grant type is client_credentials."))
}

fn answer(granted: &Granted) -> Response {
    let mut response = Json(TokenAnswer {
        access_token: granted.secret.reveal(),
        token_type: "Bearer",
        expires_in: granted.expires_in,
        scope: granted.scopes.join(" "),
    })
    .into_response();
    never_cached(response.headers_mut());
    response
}
