//! The published API of the product that this service replaces, so that its clients move by
//! changing the host.
//!
//! Parameters come in the query, as published, in a form or in a JSON body. Nowhere else are
//! credentials taken from a query; an operator can switch it off here too.

use super::error::{Code, OauthError, OauthErrorBody, WHO_ARE_YOU};
use super::params::{self, BodyKind, Params};
use super::{Nothing, client_auth, token, uncached};
use crate::app::Caller;
use crate::app::oauth::{Asked, GrantRefusal, Granted};
use crate::http::denials::Denied;
use crate::http::problem::{Kind, Problem, ProblemBody};
use crate::http::vocabulary::{OptionalGrantType, OptionalName};
use crate::http::{RequestInfo, Service};
use axum::Json;
use axum::extract::{Extension, Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use token_ledger_domain::Timestamp;
use token_ledger_projections::index::ActiveClient;
use utoipa::{IntoParams, IntoResponses, ToSchema};

/// The published code of a client that is unknown or whose secret is wrong.
const BAD_CLIENT: u32 = 13_401;

/// What all three take; in the query, a form or a JSON body.
#[derive(Debug, Deserialize, IntoParams, ToSchema)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "documents the parameters, which are read without it")]
pub(in crate::http) struct Shared {
    #[param(value_type = Option<OptionalGrantType>)]
    #[schema(value_type = Option<OptionalGrantType>)]
    grant_type: Option<String>,
    /// The client.
    client_id: Option<String>,
    /// The client's secret.
    client_secret: Option<String>,
}

/// What a creation takes besides.
#[derive(Debug, Deserialize, IntoParams, ToSchema)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "documents the parameters, which are read without it")]
pub(in crate::http) struct Creation {
    /// The token's name; the client's unless given.
    #[param(value_type = Option<OptionalName>)]
    #[schema(value_type = Option<OptionalName>)]
    name: Option<String>,
    /// The data accesses, with spaces or commas between them, or repeated; all that the client may
    /// ask for unless given.
    #[schema(value_type = Option<DataAccesses>)]
    scopes: Option<Vec<String>>,
}

/// Data accesses: a list, or a text with spaces or commas between them.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "documents the parameter, which is read without it")]
pub(in crate::http) enum DataAccesses {
    /// A list.
    List(Vec<String>),
    /// A text.
    Text(String),
}

/// What a refresh or a revocation takes besides.
#[derive(Debug, Deserialize, IntoParams, ToSchema)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "documents the parameters, which are read without it")]
pub(in crate::http) struct Named {
    /// The token's secret.
    token: Option<String>,
}

/// The body of a creation. What stands here does not stand in the query too.
#[derive(Debug, Deserialize, ToSchema)]
#[expect(dead_code, reason = "documents the body, which is read without it")]
pub(in crate::http) struct CreationBody {
    #[serde(flatten)]
    shared: Shared,
    #[serde(flatten)]
    creation: Creation,
}

/// The body of a refresh or a revocation. What stands here does not stand in the query too.
#[derive(Debug, Deserialize, ToSchema)]
#[expect(dead_code, reason = "documents the body, which is read without it")]
pub(in crate::http) struct NamedBody {
    #[serde(flatten)]
    shared: Shared,
    #[serde(flatten)]
    named: Named,
}

/// A token, as published.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct PublishedToken<'a> {
    /// Its name.
    name: &'a str,
    /// The secret, which is shown this once.
    token: &'a str,
    /// When the secret was issued.
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    /// How long it is good, in seconds.
    expires_in: i64,
    /// Its data accesses.
    scopes: &'a [String],
    /// The secret, as OAuth calls it.
    access_token: &'a str,
    /// `Bearer`.
    token_type: &'static str,
}

/// What a client that is unknown or whose secret is wrong is answered.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct BadClient {
    /// `13401`.
    error_code: u32,
    /// What was wrong and what to do.
    message: &'static str,
    #[serde(flatten)]
    problem: ProblemBody,
}

/// How a request of the published API may be refused.
#[derive(Debug, IntoResponses)]
#[expect(dead_code, reason = "documents the answers")]
pub(in crate::http) enum RefusedPublished {
    /// The request is not built as it should be, or asks for more than it may.
    #[response(status = 400)]
    Invalid(OauthErrorBody),
    /// The client is unknown or its secret is wrong.
    #[response(status = 401, content_type = "application/problem+json")]
    Unauthorized(BadClient),
    /// The body did not come in time.
    #[response(status = 408)]
    TooSlow(OauthErrorBody),
    /// The body has more than 64 KiB.
    #[response(status = 413)]
    BodyTooLarge(OauthErrorBody),
    /// Too many attempts with bad credentials.
    #[response(status = 429, content_type = "application/problem+json")]
    TooMany(ProblemBody),
    /// The service can't do it right now.
    #[response(status = 503, content_type = "application/problem+json")]
    Unavailable(ProblemBody),
}

/// Creates a token for the client.
#[utoipa::path(
    post, path = "/tokens", operation_id = "published_create", tag = "published",
    params(Shared, Creation),
    request_body(
        content(
            (CreationBody = "application/x-www-form-urlencoded"),
            (CreationBody = "application/json"),
        ),
        description = "The parameters, where they don't stand in the query",
    ),
    security(("client" = []), ()),
    responses((status = 200, description = "The token", body = PublishedToken), RefusedPublished),
)]
pub(in crate::http) async fn create(
    State(service): State<Arc<Service>>,
    Extension(info): Extension<RequestInfo>,
    request: Request,
) -> Result<Response, Published> {
    let Call { params, client, caller } = Call::of(&service, info, request).await?;
    // What follows is checked after the client, as published.
    token::supported(params.needed("grant_type")?)?;
    let name = params.one("name")?.map(str::to_owned);
    let asked = Asked { name, scopes: params.scopes() };
    let granted = service.app.grant_token(&caller, &client, asked).await?;
    Ok(shown(&granted))
}

/// Refreshes a token that the client got: its secret stops at once and a new one is answered.
#[utoipa::path(
    post, path = "/tokens/refresh_token", operation_id = "published_refresh", tag = "published",
    params(Shared, Named),
    request_body(
        content(
            (NamedBody = "application/x-www-form-urlencoded"),
            (NamedBody = "application/json"),
        ),
        description = "The parameters, where they don't stand in the query",
    ),
    security(("client" = []), ()),
    responses((status = 200, description = "The token", body = PublishedToken), RefusedPublished),
)]
pub(in crate::http) async fn refresh(
    State(service): State<Arc<Service>>,
    Extension(info): Extension<RequestInfo>,
    request: Request,
) -> Result<Response, Published> {
    let Call { params, client, caller } = Call::of(&service, info, request).await?;
    params.one("grant_type")?.map(token::supported).transpose()?;
    let secret = params.needed("token")?;
    let refreshed = service.app.refresh_own_token(&caller, &client, secret).await;
    Ok(shown(&refreshed.map_err(|refusal| OauthError::of(refusal, &caller))?))
}

/// Deletes a token that the client got.
#[utoipa::path(
    post, path = "/revoke", operation_id = "published_revoke", tag = "published",
    params(Shared, Named),
    request_body(
        content(
            (NamedBody = "application/x-www-form-urlencoded"),
            (NamedBody = "application/json"),
        ),
        description = "The parameters, where they don't stand in the query",
    ),
    security(("client" = []), ()),
    responses(
        (status = 200, description = "It opens nothing any more", body = Nothing),
        (status = 403, description = "It is not the client's own", body = OauthErrorBody),
        RefusedPublished,
    ),
)]
pub(in crate::http) async fn revoke(
    State(service): State<Arc<Service>>,
    Extension(info): Extension<RequestInfo>,
    request: Request,
) -> Result<Response, Published> {
    let Call { params, client, caller } = Call::of(&service, info, request).await?;
    params.one("grant_type")?.map(token::supported).transpose()?;
    let secret = params.needed("token")?;
    match service.app.revoke_own_token(&caller, &client, secret).await {
        Ok(()) => Ok(uncached(Json(Nothing {}).into_response())),
        Err(GrantRefusal::NotOwn(company)) => Err(Published(OauthError::Refused {
            status: StatusCode::FORBIDDEN,
            code: Code::UnauthorizedClient,
            description: "You are not authorized to revoke this token".into(),
            denied: Some(Denied { company: Some(company), actor: Some(caller.actor) }),
        })),
        Err(refusal) => Err(refusal.into()),
    }
}

/// A request whose client has proved who it is.
struct Call {
    params: Params,
    client: ActiveClient,
    caller: Caller,
}

impl Call {
    async fn of(
        service: &Service,
        info: RequestInfo,
        request: Request,
    ) -> Result<Self, OauthError> {
        let headers = request.headers().clone();
        let params = read(service, request).await?;
        let (client, caller) = client_auth::authenticate(service, info, &headers, &params).await?;
        Ok(Self { params, client, caller })
    }
}

/// The parameters of query and body together.
async fn read(service: &Service, request: Request) -> Result<Params, OauthError> {
    let mut all = Params::default();
    all.add_form(request.uri().query().unwrap_or_default().as_bytes())?;
    if service.no_query_credentials && params::holds_known(&all) {
        return Err(OauthError::invalid_request(
            "This service takes no parameters in the query; send them in the body.",
        ));
    }
    let kind = BodyKind::of(request.headers());
    let body = params::body(request).await?;
    match kind {
        _ if body.is_empty() => {}
        BodyKind::Form => all.add_form(&body)?,
        BodyKind::Json => all.add_json(&body)?,
        BodyKind::Other => {
            return Err(OauthError::invalid_request(
                "Send the body as application/x-www-form-urlencoded or application/json.",
            ));
        }
    }
    Ok(all)
}

fn shown(granted: &Granted) -> Response {
    let secret = granted.secret.reveal();
    let body = PublishedToken {
        name: &granted.name,
        token: secret,
        created_at: granted.issued_at,
        expires_in: granted.expires_in,
        scopes: &granted.scopes,
        access_token: secret,
        token_type: "Bearer",
    };
    uncached(Json(body).into_response())
}

/// What goes wrong, as published: a bad client has a code of its own.
#[derive(Debug)]
pub(in crate::http) struct Published(OauthError);

impl<E: Into<OauthError>> From<E> for Published {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

impl IntoResponse for Published {
    fn into_response(self) -> Response {
        let Self(OauthError::BadClient(bad)) = self else {
            return self.0.into_response();
        };
        if let Some(throttled) = bad.throttled {
            return bad.answered(Problem::from(throttled).into_response());
        }
        let problem = Problem::new(Kind::InvalidClient, WHO_ARE_YOU).body("");
        let body = BadClient { error_code: BAD_CLIENT, message: WHO_ARE_YOU, problem };
        let content_type = HeaderValue::from_static("application/problem+json");
        let response = ([(header::CONTENT_TYPE, content_type)], Json(body)).into_response();
        uncached(bad.answered(response))
    }
}
