//! Verification: which secrets are good, for whom, and what the answers say.

use crate::support::{Answered, Client, TestApp, at, key};
use axum::http::{HeaderValue, Method};
use serde_json::{Value, json};
use token_ledger_domain::CompanyId;

const FORM: &str = "application/x-www-form-urlencoded";

fn secret(token: &Value) -> &str {
    token["token"].as_str().expect("a secret")
}

async fn verify(app: &TestApp, secret: &str) -> Answered {
    app.nobody.with(secret).get("/v1/verify").await
}

async fn introspect(caller: &Client, secret: &str) -> Answered {
    caller.post("/oauth/introspect").text(FORM, &format!("token={secret}")).await
}

/// The secret is refused everywhere, and nothing is said about why.
async fn assert_refused(app: &TestApp, secret: &str) {
    let answer = verify(app, secret).await.expect(401);
    assert!(answer.header("www-authenticate").contains("error=\"invalid_token\""));
    let answer = introspect(&app.resource_server, secret).await.expect(200);
    assert_eq!(answer.text, "{\"active\":false}");
}

async fn assert_active(app: &TestApp, secret: &str) -> Value {
    verify(app, secret).await.expect(200);
    let answer = introspect(&app.resource_server, secret).await.expect(200);
    assert_eq!(answer.body["active"], true);
    answer.body
}

#[tokio::test]
async fn a_good_token_passes_with_its_particulars() {
    let app = TestApp::new().await;
    let body = json!({"name": "reader", "scopes": ["positions", "employees"]});
    let token = app.admin.post(&app.path("/tokens")).json(&body).await.expect(201).body;
    let answer = verify(&app, secret(&token)).await.expect(200);
    assert_eq!(answer.text, "");
    assert_eq!(answer.header("x-token-id"), token["token_id"]);
    assert_eq!(answer.header("x-company-id"), app.company.to_string());
    assert_eq!(answer.header("x-scopes"), "employees positions");
    assert_eq!(answer.header("cache-control"), "no-store");
    let other = verify(&app, secret(&token)).await;
    assert_ne!(answer.header("x-request-id"), other.header("x-request-id"));
}

#[tokio::test]
async fn a_use_has_its_time_and_its_address() {
    let app = TestApp::new().await;
    let read = async |token: &Value| {
        app.app.flush_uses().await;
        app.auditor.get(&app.token_path(token)).await.expect(200).body
    };
    let from = "192.0.2.7";
    let (shown, asked) = (app.token("shown").await, app.token("asked").await);
    verify(&app, secret(&shown)).await.expect(200);
    introspect(&app.resource_server, secret(&asked)).await.expect(200);
    for token in [&shown, &asked] {
        let used = read(token).await;
        assert_eq!(used["last_used_at"], at(0).to_string());
        assert_eq!(used["last_used_from"], from);
    }
    // What the database could not take is not forgotten.
    let late = app.token("late").await;
    verify(&app, secret(&late)).await.expect(200);
    app.storage.tamper("ALTER TABLE token_uses RENAME TO elsewhere");
    app.app.flush_uses().await;
    app.storage.tamper("ALTER TABLE elsewhere RENAME TO token_uses");
    assert_eq!(read(&late).await["last_used_at"], at(0).to_string());
    // A repeat knows of the use that the first answer knew of.
    let find = || {
        let call = app.admin.post(&app.path("/tokens/find")).header("idempotency-key", "k");
        call.json(&json!({"token": secret(&shown)}))
    };
    for replay in ["", "true"] {
        let found = find().await.expect(200);
        assert_eq!(found.header("idempotent-replay"), replay);
        assert_eq!(found.body["last_used_at"], at(0).to_string());
        assert_eq!(found.body["last_used_from"], from);
    }
    // Who may not see it has not seen it used.
    let unseen = app.token("unseen").await;
    let path = format!("/v1/verify?company={}", CompanyId::PLATFORM);
    app.nobody.with(secret(&unseen)).get(&path).await.expect(401);
    assert_eq!(read(&unseen).await["last_used_at"], Value::Null);
    assert_eq!(read(&unseen).await["last_used_from"], Value::Null);
}

#[tokio::test]
async fn every_method_and_path_below_is_taken_and_strange_parameters_are_ignored() {
    let app = TestApp::new().await;
    let token = app.token("reader").await;
    let proxy = app.nobody.with(secret(&token));
    for method in [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::DELETE] {
        for path in ["/v1/verify", "/v1/verify/", "/v1/verify/a/b?x=1&x=2", "/v1/verify?token=x"] {
            proxy.call(method.clone(), path).await.expect(200);
        }
    }
    proxy.call(Method::OPTIONS, "/v1/verify").await.expect(200);
    proxy.call(Method::from_bytes(b"PURGE").unwrap(), "/v1/verify").await.expect(200);
    proxy.get("/v1/verified").await.problem(404, "not-found");
}

#[tokio::test]
async fn without_a_credential_no_error_is_named() {
    let app = TestApp::new().await;
    let answers = [
        app.nobody.get("/v1/verify").await,
        app.nobody.get("/v1/verify").header("authorization", "Basic eDp5").await,
    ];
    for answer in answers {
        let answer = answer.problem(401, "invalid-token");
        assert!(answer.header("www-authenticate").starts_with("Bearer"));
        assert!(!answer.header("www-authenticate").contains("error"));
        assert!(!answer.header("x-request-id").is_empty());
        assert_eq!(answer.header("cache-control"), "no-store");
    }
}

#[tokio::test]
async fn what_is_no_secret_or_ambiguous_is_refused() {
    let app = TestApp::new().await;
    let token = app.token("reader").await;
    let good = secret(&token);
    for text in ["x", "tlk_", &good[1..], &format!("{good}x"), &good.to_uppercase()] {
        assert_refused(&app, text).await;
    }
    let two = app.nobody.with("x").get("/v1/verify");
    let two = two.header("authorization", &format!("Bearer {good}")).await.expect(401);
    assert!(two.header("www-authenticate").contains("invalid_token"));
    let query = app.nobody.get(&format!("/v1/verify?access_token={good}")).await;
    query.expect(401);
}

#[tokio::test]
async fn needed_scopes_may_come_in_query_and_header() {
    let app = TestApp::new().await;
    let body = json!({"name": "reader", "scopes": ["positions", "employees"]});
    let token = app.admin.post(&app.path("/tokens")).json(&body).await.expect(201).body;
    let proxy = app.nobody.with(secret(&token));
    for query in ["scope=positions", "scope=positions+employees", "scope=employees&scope=positions"]
    {
        proxy.get(&format!("/v1/verify?{query}")).await.expect(200);
    }
    let required = proxy.get("/v1/verify").header("x-required-scope", "employees positions");
    required.await.expect(200);
    // A proxy may have made one line of several.
    let company = app.company.to_string();
    for (name, joined) in [
        ("x-required-scope", "employees, positions"),
        ("x-required-scope", "employees,positions"),
        ("x-required-company", &format!("{company}, {company}")),
    ] {
        proxy.get("/v1/verify").header(name, joined).await.expect(200);
    }

    let refused = [
        proxy.get("/v1/verify?scope=positions&scope=locations").await,
        proxy.get("/v1/verify?scope=positions%20locations").await,
        proxy.get("/v1/verify?scope=positions").header("x-required-scope", "locations").await,
        proxy.get("/v1/verify").header("x-required-scope", "positions, locations").await,
    ];
    for answer in refused {
        let answer = answer.problem(403, "insufficient-scope");
        let challenge = answer.header("www-authenticate");
        assert!(challenge.contains("error=\"insufficient_scope\""), "{challenge}");
        assert!(challenge.contains("scope=\"positions locations\""), "{challenge}");
    }
    for empty in ["scope=", "scope", "scope=%20", "scope=positions&scope="] {
        let answer = proxy.get(&format!("/v1/verify?{empty}")).await;
        let answer = answer.problem(403, "insufficient-scope");
        let challenge = answer.header("www-authenticate");
        assert_eq!(challenge.contains("scope=\"positions\""), empty.contains("positions"));
        assert!(!challenge.contains("scope=\"\""), "{challenge}");
    }
    let gap = proxy.get("/v1/verify").header("x-required-scope", "positions,");
    gap.await.problem(403, "insufficient-scope");
    let odd =
        proxy.get("/v1/verify?scope=a%22b%0d%0aX-Evil:1").await.problem(403, "insufficient-scope");
    assert!(odd.header("x-evil").is_empty());
    assert!(odd.header("www-authenticate").ends_with("scope=\"X-Evil:1\""));
}

#[tokio::test]
async fn another_companys_token_is_no_good_where_a_company_is_expected() {
    let app = TestApp::new().await;
    let (other, _) = app.another_company("Globex").await;
    let token = app.token("reader").await;
    let proxy = app.nobody.with(secret(&token));
    proxy.get(&format!("/v1/verify?company={}", app.company)).await.expect(200);
    let required = proxy.get("/v1/verify").header("x-required-company", &app.company.to_string());
    required.await.expect(200);
    for company in [other.to_string(), "Acme".to_owned(), String::new()] {
        let answer = proxy.get(&format!("/v1/verify?company={company}")).await.expect(401);
        assert!(answer.header("www-authenticate").contains("invalid_token"));
        proxy.get("/v1/verify").header("x-required-company", &company).await.expect(401);
    }
    let both = proxy.get(&format!("/v1/verify?company={}", app.company));
    both.header("x-required-company", &other.to_string()).await.expect(401);
}

#[tokio::test]
async fn no_api_key_is_ever_active() {
    let app = TestApp::new().await;
    let clients = [&app.operator, &app.admin, &app.auditor, &app.resource_server];
    let operator_introspects = key(&app.app, CompanyId::PLATFORM, "ledger.introspect").await;
    for client in clients {
        let key = client.key.as_deref().expect("a key");
        assert_refused(&app, key).await;
        let answer = introspect(&app.nobody.with(&operator_introspects), key).await.expect(200);
        assert_eq!(answer.text, "{\"active\":false}");
    }
}

#[tokio::test]
async fn introspection_says_what_a_token_is() {
    let app = TestApp::new().await;
    app.after(10);
    let body = json!({
        "name": "reader", "scopes": ["positions", "employees"], "expires_in_seconds": 600
    });
    let token = app.admin.post(&app.path("/tokens")).json(&body).await.expect(201).body;
    let answer = introspect(&app.resource_server, secret(&token)).await.expect(200);
    assert_eq!(answer.header("content-type"), "application/json");
    assert_eq!(answer.header("cache-control"), "no-store");
    assert!(!answer.header("x-request-id").is_empty());
    assert_eq!(
        answer.body,
        json!({
            "active": true,
            "scope": "employees positions",
            "sub": token["token_id"],
            "jti": token["token_id"],
            "iat": at(10).as_seconds(),
            "exp": at(610).as_seconds(),
            "token_type": "Bearer",
            "company_id": app.company.to_string(),
        })
    );
}

#[tokio::test]
async fn who_may_introspect_what() {
    let app = TestApp::new().await;
    let (other, _) = app.another_company("Globex").await;
    let token = app.token("reader").await;
    let good = secret(&token);
    let stranger = app.nobody.with(key(&app.app, other, "ledger.introspect").await);
    assert_eq!(introspect(&stranger, good).await.expect(200).text, "{\"active\":false}");

    let platform = key(&app.app, CompanyId::PLATFORM, "ledger.introspect").await;
    for client in [&app.resource_server, &app.operator, &app.nobody.with(platform)] {
        assert_eq!(introspect(client, good).await.expect(200).body["active"], true);
    }
    for client in [&app.admin, &app.auditor] {
        let answer = introspect(client, good).await.expect(403);
        assert_eq!(answer.body["error"], "insufficient_scope");
        assert!(answer.header("www-authenticate").contains("insufficient_scope"));
    }
    for client in [&app.nobody, &app.nobody.with("x"), &app.nobody.with(good)] {
        let answer = introspect(client, good).await.expect(401);
        assert_eq!(answer.body["error"], "invalid_client");
        assert!(answer.body["error_description"].is_string());
        let challenge = answer.header("www-authenticate");
        assert!(challenge.starts_with("Bearer"));
        // RFC 6750 §3.1: what was not sent is not called bad.
        assert_eq!(challenge.contains("error=\"invalid_token\""), client.key.is_some());
        assert_eq!(answer.header("content-type"), "application/json");
    }
}

#[tokio::test]
async fn a_key_may_come_as_the_password_of_basic() {
    use base64::Engine;
    let app = TestApp::new().await;
    let token = app.token("reader").await;
    let form = format!("token={}", secret(&token));
    let basic = |user: &[u8], password: &str| {
        let text = [user, b":", password.as_bytes()].concat();
        let encoded = base64::engine::general_purpose::STANDARD.encode(text);
        let call = app.nobody.post("/oauth/introspect").text(FORM, &form);
        call.header("authorization", &format!("Basic {encoded}"))
    };
    let nobody = app.nobody.post("/oauth/introspect").text(FORM, &form).await.expect(401);
    let challenges: Vec<&[u8]> =
        nobody.headers.get_all("www-authenticate").iter().map(HeaderValue::as_bytes).collect();
    let [bearer, password] = challenges[..] else { panic!("{challenges:?}") };
    assert!(bearer.starts_with(b"Bearer") && password.starts_with(b"Basic"), "either is asked for");
    let key = app.resource_server.key.as_deref().expect("a key");
    for user in [&b""[..], b"anybody", b"caf\xe9"] {
        assert_eq!(basic(user, key).await.expect(200).body["active"], true);
        let encoded = key.replace('_', "%5F");
        assert_eq!(basic(user, &encoded).await.expect(200).body["active"], true);
    }
    for answer in [basic(b"x", "wrong").await, basic(key.as_bytes(), "").await] {
        let answer = answer.expect(401);
        assert_eq!(answer.body["error"], "invalid_client");
        assert!(answer.header("www-authenticate").starts_with("Basic"));
    }
}

#[tokio::test]
async fn a_form_that_can_not_be_meant_is_refused() {
    let app = TestApp::new().await;
    let token = app.token("reader").await;
    let good = secret(&token);
    let call = || app.resource_server.post("/oauth/introspect");
    let json = format!("{{\"token\":\"{good}\"}}");
    let refused = [
        call().text(FORM, "").await,
        call().text(FORM, "token=").await,
        call().text(FORM, &format!("token={good}&token={good}")).await,
        call().text(FORM, &format!("token={good}&token_type_hint=y&token_type_hint=z")).await,
        call().text("application/json", &json).await,
        call().await,
    ];
    for answer in refused {
        assert_eq!(answer.expect(400).body["error"], "invalid_request");
    }
    let long = format!("token={good}&x={}", "x".repeat(64 * 1024));
    let answer = call().text(FORM, &long).await.expect(413);
    assert_eq!(answer.body["error"], "invalid_request");
    let hinted = format!("x=1&x=2&token_type_hint=y&token_type_hint=&token={good}");
    let form = "application/x-www-form-urlencoded; charset=utf-8";
    assert_eq!(call().text(form, &hinted).await.expect(200).body["active"], true);
    let get = app.resource_server.get("/oauth/introspect").await.expect(405);
    assert_eq!(get.header("allow"), "POST");
}

#[tokio::test]
async fn while_the_module_is_off_no_token_is_active() {
    let app = TestApp::new().await;
    let (token, short) = (app.token("reader").await, app.token("short").await);
    let turn = |enabled: bool| {
        app.operator.put(&app.path("/oauth-app")).json(&json!({"enabled": enabled}))
    };
    assert_active(&app, secret(&token)).await;
    turn(false).await.expect(200);
    assert_refused(&app, secret(&token)).await;
    app.admin.delete(&app.token_path(&short)).await.expect(204);
    turn(true).await.expect(200);
    assert_active(&app, secret(&token)).await;
    assert_refused(&app, secret(&short)).await;
}

#[tokio::test]
async fn a_refresh_with_grace_leaves_both_secrets_active_until_the_grace_ends() {
    let app = TestApp::new().await;
    let old = app.token("reader").await;
    app.after(100);
    let path = format!("{}/refresh", app.token_path(&old));
    let body = json!({"grace_period_seconds": 600, "expires_in_seconds": 7200});
    let new = app.admin.post(&path).json(&body).await.expect(200).body;

    let (before, after) =
        (assert_active(&app, secret(&old)).await, assert_active(&app, secret(&new)).await);
    assert_eq!(before["exp"], at(700).as_seconds());
    assert_eq!(before["iat"], at(0).as_seconds());
    assert_eq!(after["exp"], at(7300).as_seconds());
    assert_eq!(after["iat"], at(100).as_seconds());
    assert_eq!(before["jti"], after["jti"]);

    app.clock.set(token_ledger_domain::Timestamp::from_micros(at(700).as_micros() - 1));
    assert_active(&app, secret(&old)).await;
    app.after(700);
    assert_refused(&app, secret(&old)).await;
    assert_active(&app, secret(&new)).await;
}

#[tokio::test]
async fn a_grace_period_that_is_ended_stops_the_old_secret_at_once() {
    let app = TestApp::new().await;
    let old = app.token("reader").await;
    let path = app.token_path(&old);
    let body = json!({"grace_period_seconds": 600});
    let new = app.admin.post(&format!("{path}/refresh")).json(&body).await.expect(200).body;
    app.admin.post(&format!("{path}/end-grace")).await.expect(200);
    assert_refused(&app, secret(&old)).await;
    assert_active(&app, secret(&new)).await;
}

#[tokio::test]
async fn deleted_refreshed_away_and_expired_secrets_are_refused_at_once() {
    let app = TestApp::new().await;
    let deleted = app.token("deleted").await;
    assert_active(&app, secret(&deleted)).await;
    app.admin.delete(&app.token_path(&deleted)).await.expect(204);
    assert_refused(&app, secret(&deleted)).await;

    let refreshed = app.token("refreshed").await;
    let path = format!("{}/refresh", app.token_path(&refreshed));
    let new = app.admin.post(&path).await.expect(200).body;
    assert_refused(&app, secret(&refreshed)).await;
    assert_active(&app, secret(&new)).await;

    let body = json!({"name": "short", "scopes": ["positions"], "expires_in_seconds": 60});
    let short = app.admin.post(&app.path("/tokens")).json(&body).await.expect(201).body;
    app.clock.set(token_ledger_domain::Timestamp::from_micros(at(60).as_micros() - 1));
    assert_active(&app, secret(&short)).await;
    app.after(60);
    assert_refused(&app, secret(&short)).await;
    let path = format!("{}/refresh", app.token_path(&short));
    let again = app.admin.post(&path).await.expect(200).body;
    assert_refused(&app, secret(&short)).await;
    assert_active(&app, secret(&again)).await;
}

#[tokio::test]
async fn changed_scopes_count_at_once_for_both_secrets() {
    let app = TestApp::new().await;
    let old = app.token("reader").await;
    let path = app.token_path(&old);
    let body = json!({"grace_period_seconds": 600});
    let new = app.admin.post(&format!("{path}/refresh")).json(&body).await.expect(200).body;
    app.admin.patch(&path).json(&json!({"scopes": ["employees"]})).await.expect(200);
    for token in [&old, &new] {
        assert_eq!(assert_active(&app, secret(token)).await["scope"], "employees");
        let proxy = app.nobody.with(secret(token));
        proxy.get("/v1/verify?scope=positions").await.expect(403);
    }
}

#[tokio::test]
async fn a_restart_changes_nothing() {
    let app = TestApp::new().await;
    let (kept, deleted) = (app.token("kept").await, app.token("deleted").await);
    app.admin.delete(&app.token_path(&deleted)).await.expect(204);
    let (storage, clock) = app.stopped().await;
    let app = storage.open(&clock).await;
    let is_active = |token: &Value| {
        let digest = token_ledger_domain::Digest::of(secret(token));
        app.index.token(&digest, app.now()).is_some()
    };
    assert!(is_active(&kept));
    assert!(!is_active(&deleted));
}

/// What was over stays over when somebody sets the clock back, and where it is set back too far to
/// know, nothing is good.
#[tokio::test]
async fn a_clock_that_goes_back_brings_no_secret_back() {
    let app = TestApp::new().await;
    let old = app.token("graced").await;
    let body = json!({"grace_period_seconds": 60});
    let refresh = format!("{}/refresh", app.token_path(&old));
    let new = app.admin.post(&refresh).json(&body).await.expect(200).body;
    assert_active(&app, secret(&old)).await;
    app.after(1000);
    assert_refused(&app, secret(&old)).await;
    app.after(1000 - 300);
    assert_refused(&app, secret(&old)).await;
    assert_active(&app, secret(&new)).await;
    app.after(30);
    for token in [&old, &new] {
        verify(&app, secret(token)).await.expect(503);
    }
    app.admin.get(&app.path("/tokens")).await.problem(503, "unavailable");
    let ready = app.nobody.get("/readyz").await.expect(503);
    assert!(ready.text.contains("the clock has gone back by 970 s"), "{}", ready.text);
    app.after(1001);
    assert_active(&app, secret(&new)).await;
}
