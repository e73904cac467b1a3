//! The revocation endpoint (RFC 7009): a client deletes a token that it got.

use super::error::{OauthError, RefusedClient};
use super::{Nothing, client_auth, params, uncached};
use crate::http::{RequestInfo, Service};
use axum::Json;
use axum::extract::{Extension, Request, State};
use axum::response::{IntoResponse, Response};
use std::sync::Arc;
use utoipa::ToSchema;

/// What revocation takes. The client's credentials come by Basic or here, not both.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "documents the form, which is read without it")]
pub(in crate::http) struct RevocationForm {
    /// The token's secret.
    #[schema(min_length = 1)]
    token: String,
    /// Makes no difference.
    #[schema(nullable = false)]
    token_type_hint: Option<String>,
    /// The client, where it does not come by Basic.
    #[schema(nullable = false)]
    client_id: Option<String>,
    /// The client's secret, where it does not come by Basic.
    #[schema(nullable = false)]
    client_secret: Option<String>,
}

/// Deletes a token that the client got. Also answers 200 where there is no such token (any more).
#[utoipa::path(
    post, path = "/oauth/revoke", operation_id = "oauth_revoke", tag = "oauth",
    request_body(content = RevocationForm, content_type = "application/x-www-form-urlencoded"),
    security(("client" = []), ()),
    responses(
        (status = 200, description = "It opens nothing any more", body = Nothing),
        RefusedClient,
    ),
)]
pub(in crate::http) async fn revoke(
    State(service): State<Arc<Service>>,
    Extension(info): Extension<RequestInfo>,
    request: Request,
) -> Result<Response, OauthError> {
    let headers = request.headers().clone();
    let params = params::form(request).await?;
    params.one("token_type_hint")?;
    let secret = params.needed("token")?;
    let (client, caller) = client_auth::authenticate(&service, info, &headers, &params).await?;
    let revoked = service.app.revoke_own_token(&caller, &client, secret).await;
    revoked.map_err(|refusal| OauthError::of(refusal, &caller))?;
    // Nothing is to be said (RFC 7009 §2.2), but there are clients that read JSON from every answer.
    Ok(uncached(Json(Nothing {}).into_response()))
}
