//! A resource server that asks Token Ledger whether a token is good.

use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json, Router, routing::get};
use serde::Deserialize;
use std::env::var;
use std::sync::Arc;
use std::time::Duration;

struct Ledger {
    http: reqwest::Client,
    url: String,
    key: String,
}

#[derive(Clone, Deserialize)]
struct Introspection {
    active: bool,
    #[serde(default)]
    scope: String,
    #[serde(default)]
    sub: String,
}

impl Ledger {
    async fn introspect(&self, token: &str) -> reqwest::Result<Introspection> {
        let request = self.http.post(format!("{}/oauth/introspect", self.url));
        let answer = request.bearer_auth(&self.key).form(&[("token", token)]).send().await?;
        answer.error_for_status()?.json().await
    }
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
}

/// Lets requests through whose token is good and has the scope.
async fn needs(
    State((ledger, scope)): State<(Arc<Ledger>, &'static str)>,
    mut request: Request,
    next: Next,
) -> Response {
    let refuse = |status: StatusCode, challenge: String| {
        (status, [(header::WWW_AUTHENTICATE, challenge)]).into_response()
    };
    let Some(token) = bearer(request.headers()) else {
        return refuse(StatusCode::UNAUTHORIZED, "Bearer".to_owned());
    };
    let Ok(found) = ledger.introspect(token).await else {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    };
    if !found.active {
        return refuse(StatusCode::UNAUTHORIZED, "Bearer error=\"invalid_token\"".to_owned());
    }
    if !found.scope.split(' ').any(|own| own == scope) {
        let challenge = format!("Bearer error=\"insufficient_scope\", scope=\"{scope}\"");
        return refuse(StatusCode::FORBIDDEN, challenge);
    }
    request.extensions_mut().insert(found);
    next.run(request).await
}

async fn employees(Extension(token): Extension<Introspection>) -> Json<serde_json::Value> {
    Json(serde_json::json!({"employees": [], "asked_by": token.sub}))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let http = reqwest::Client::builder().timeout(Duration::from_secs(2)).build()?;
    let ledger = Arc::new(Ledger { http, url: var("LEDGER_URL")?, key: var("LEDGER_KEY")? });
    let app = Router::new()
        .route("/employees", get(employees))
        .layer(from_fn_with_state((ledger, "employees"), needs));
    let listener = tokio::net::TcpListener::bind(format!("127.0.0.1:{}", var("PORT")?)).await?;
    axum::serve(listener, app).await?;
    Ok(())
}
