//! OAuth 2.0 from outside: tokens for clients, their introspection and revocation, and the
//! published API.

use crate::support::{Answered, Call, Client, TestApp, at};
use axum::http::Method;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

const FORM: &str = "application/x-www-form-urlencoded";
const GRANT: &str = "grant_type=client_credentials";

/// An OAuth client with its credentials.
struct Program {
    id: String,
    secret: String,
}

impl Program {
    async fn of(admin: &Client, company: &str, name: &str, scopes: &[&str]) -> Self {
        let path = format!("/v1/companies/{company}/clients");
        let body = json!({"name": name, "scopes": scopes});
        let client = admin.post(&path).json(&body).await.expect(201).body;
        let text = |field: &str| client[field].as_str().expect(field).to_owned();
        Self { id: text("client_id"), secret: text("client_secret") }
    }

    async fn new(app: &TestApp, name: &str) -> Self {
        let company = app.company.to_string();
        Self::of(&app.admin, &company, name, &["positions", "employees"]).await
    }

    fn basic(&self) -> String {
        basic(&self.id, &self.secret)
    }

    /// As parameters of a body or query.
    fn params(&self) -> String {
        format!("client_id={}&client_secret={}", self.id, self.secret)
    }

    /// Its request with a form, authenticated by Basic.
    fn post(&self, app: &TestApp, path: &str, form: &str) -> Call {
        app.nobody.post(path).header("authorization", &self.basic()).text(FORM, form)
    }

    async fn token(&self, app: &TestApp) -> String {
        let answer = self.post(app, "/oauth/token", GRANT).await.expect(200);
        answer.body["access_token"].as_str().expect("a secret").to_owned()
    }
}

fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
}

/// The answer, which must be an OAuth error of this code (RFC 6749 §5.2).
#[track_caller]
fn refused(answer: &Answered, status: u16, code: &str) {
    assert_eq!(answer.status.as_u16(), status, "{}", answer.text);
    assert_eq!(answer.body["error"], code, "{}", answer.text);
    assert_eq!(answer.header("content-type"), "application/json");
    assert_eq!(answer.header("cache-control"), "no-store");
    assert_eq!(answer.header("pragma"), "no-cache");
    let description = answer.body["error_description"].as_str().expect("a description");
    assert!(!description.is_empty());
    assert!(description.chars().all(|c| matches!(c, ' '..='!' | '#'..='[' | ']'..='~')));
    assert_eq!(answer.header("www-authenticate").starts_with("Basic "), status == 401);
}

async fn introspected(app: &TestApp, secret: &str) -> Value {
    let form = format!("token={secret}");
    app.resource_server.post("/oauth/introspect").text(FORM, &form).await.expect(200).body
}

#[tokio::test]
async fn a_client_gets_a_token_that_is_one_of_the_ledgers() {
    let app = TestApp::new().await;
    let program = Program::new(&app, "HR portal").await;
    let answer = program.post(&app, "/oauth/token", GRANT).await.expect(200);
    assert_eq!(answer.header("cache-control"), "no-store");
    assert_eq!(answer.header("pragma"), "no-cache");
    assert_eq!(answer.header("content-type"), "application/json");
    let secret = answer.body["access_token"].as_str().expect("a secret").to_owned();
    assert!(secret.starts_with("tlk_"));
    assert_eq!(
        answer.body,
        json!({
            "access_token": secret, "token_type": "Bearer", "expires_in": 604_800,
            "scope": "employees positions",
        })
    );
    let shown = introspected(&app, &secret).await;
    assert_eq!(shown["client_id"], program.id);
    assert_eq!(shown["exp"], at(604_800).as_seconds());

    let listed = app.admin.get(&app.path("/tokens")).await.expect(200).body;
    let token = &listed["items"][0];
    assert_eq!((&token["name"], &token["token_id"]), (&json!("HR portal"), &shown["jti"]));
    assert_eq!(token["client_id"], program.id);
    assert_eq!(
        token["created_by"],
        json!({"type": "client", "id": program.id, "name": "HR portal"})
    );
    let trail = app.auditor.get(&app.path("/audit/events?type=token.created")).await.expect(200);
    let event = &trail.body["items"][0];
    assert_eq!(event["actor"], json!({"type": "client", "id": program.id, "name": "HR portal"}));
    assert_eq!(event["data"]["client_id"], program.id);
    assert_eq!(event["context"]["ip"], "192.0.2.7");
    assert_eq!(event["context"]["user_agent"], "tests/1");
    assert_eq!(event["context"]["request_id"], answer.header("x-request-id"));
    assert!(!trail.text.contains(&secret));
}

#[tokio::test]
async fn scope_and_name_may_be_chosen() {
    let app = TestApp::new().await;
    let program = Program::new(&app, "HR portal").await;
    let ask = |form: &str| program.post(&app, "/oauth/token", &format!("{GRANT}{form}"));
    for (form, scope) in [
        ("&scope=positions", "positions"),
        ("&scope=positions+employees", "employees positions"),
        ("&scope=positions%20%20positions", "positions"),
        ("&scope=", "employees positions"),
        ("&scope=positions&name=Nightly+%F0%9F%94%91&unknown=1&unknown=2", "positions"),
    ] {
        assert_eq!(ask(form).await.expect(200).body["scope"], scope, "{form}");
    }
    let named = app.admin.get(&app.path("/tokens?q=Nightly")).await.expect(200);
    assert_eq!(named.names(), ["Nightly 🔑"]);
    for form in [
        "&scope=locations",
        "&scope=positions+locations",
        "&scope=salaries",
        "&scope=+",
        "&scope=positions,employees",
        "&scope=positions%0Aemployees",
        "&scope=%22",
        "&scope=%5C",
    ] {
        refused(&ask(form).await, 400, "invalid_scope");
    }
    for form in [
        "&scope=positions&scope=positions",
        "&name=a&name=b",
        "&grant_type=client_credentials",
        "&name=a%00b",
        "&name=+",
        "&name=%ff",
        &format!("&name={}", "x".repeat(101)),
    ] {
        refused(&ask(form).await, 400, "invalid_request");
    }
}

#[tokio::test]
async fn a_client_proves_itself_by_basic_or_in_the_body_but_not_both() {
    let app = TestApp::new().await;
    let program = Program::new(&app, "HR portal").await;
    let Program { id, secret } = &program;
    let ask = |form: &str| app.nobody.post("/oauth/token").text(FORM, &format!("{GRANT}&{form}"));
    ask(&program.params()).await.expect(200);
    ask("").header("authorization", &program.basic()).await.expect(200);
    ask(&format!("client_id={id}")).header("authorization", &program.basic()).await.expect(200);
    // RFC 6749 §2.3.1: both parts are percent-encoded, and may be so wholly.
    let encoded =
        hex::encode_upper(secret).as_bytes().chunks(2).fold(String::new(), |all, pair| {
            all + "%" + std::str::from_utf8(pair).expect("hexadecimal")
        });
    let lower = program.basic().replace("Basic", "basic");
    for header in [&basic(&id.replace('-', "%2D"), &encoded), &lower] {
        ask("").header("authorization", header).await.expect(200);
    }
    let twice = [
        ask(&program.params()).header("authorization", &program.basic()).await,
        ask("client_secret=x").header("authorization", &program.basic()).await,
        ask("client_id=x").header("authorization", &program.basic()).await,
        ask("").header("authorization", &program.basic()).header("authorization", "Basic x").await,
        ask(&format!("{}&client_id={id}", program.params())).await,
        ask(&format!("{}&client_secret={secret}", program.params())).await,
    ];
    for answer in &twice {
        refused(answer, 400, "invalid_request");
    }
}

#[tokio::test]
async fn who_does_not_prove_itself_gets_nothing() {
    let app = TestApp::new().await;
    let program = Program::new(&app, "HR portal").await;
    let Program { id, secret } = &program;
    let form = |form: &str| app.nobody.post("/oauth/token").text(FORM, &format!("{GRANT}&{form}"));
    let key = app.admin.key.clone().expect("a key");
    let mut answers = vec![
        form("").await,
        form(&format!("client_id={id}")).await,
        form(&format!("client_secret={secret}")).await,
        form(&format!("client_id={id}&client_secret={secret}x")).await,
        form(&format!("client_id={id}&client_secret=")).await,
        form(&format!("client_id=x&client_secret={secret}")).await,
        form(&format!("client_id={}&client_secret={secret}", app.company)).await,
        form(&format!("client_id={id}&client_secret={key}")).await,
        form("client_id=%F0%9F%94%91&client_secret=%00").await,
    ];
    for header in [
        basic(id, &format!("{secret}x")),
        basic(id, ""),
        basic("", secret),
        basic(&uuid::Uuid::nil().to_string(), ""),
        basic(&key, &key),
        format!("Basic {}", STANDARD.encode(id)),
        "Basic !!!".to_owned(),
        "Basic".to_owned(),
        basic(id, "%ff%fe"),
        format!("Bearer {key}"),
    ] {
        answers.push(form("").header("authorization", &header).await);
    }
    for answer in &answers {
        refused(answer, 401, "invalid_client");
        assert_eq!(answer.text, answers[0].text, "unknown and wrong are told apart");
        assert!(!answer.text.contains(secret.as_str()));
    }
    assert_eq!(app.count_events("token.created").await, 0);
}

#[tokio::test]
async fn a_request_that_is_built_wrongly_is_told_so() {
    let app = TestApp::new().await;
    let program = Program::new(&app, "HR portal").await;
    let ask = || app.nobody.post("/oauth/token").header("authorization", &program.basic());
    let in_query = format!("/oauth/token?{GRANT}&{}", program.params());
    let json = json!({"grant_type": "client_credentials"}).to_string();
    for answer in [
        ask().text(FORM, "").await,
        ask().text(FORM, "grant_type=").await,
        ask().text(FORM, "scope=positions").await,
        ask().await,
        ask().text("application/json", &json).await,
        ask().text("text/plain", GRANT).await,
        ask().text("multipart/form-data; boundary=x", GRANT).await,
        ask().text(FORM, "grant_type=client_credentials&name=%ff").await,
        app.nobody.post(&in_query).text(FORM, "").await,
    ] {
        refused(&answer, 400, "invalid_request");
    }
    for grant in ["password", "authorization_code", "refresh_token", "Client_Credentials", "%00"] {
        let answer = ask().text(FORM, &format!("grant_type={grant}")).await;
        refused(&answer, 400, "unsupported_grant_type");
    }
    let utf8 = "Application/X-WWW-Form-Urlencoded; charset=UTF-8";
    ask().text(utf8, GRANT).await.expect(200);
    let long = format!("{GRANT}&x={}", "x".repeat(64 * 1024));
    refused(&ask().text(FORM, &long).await, 413, "invalid_request");
    for path in ["/oauth/token", "/oauth/revoke", "/tokens", "/tokens/refresh_token", "/revoke"] {
        for method in [Method::GET, Method::PUT, Method::DELETE] {
            let answer = app.nobody.call(method, path).await.expect(405);
            assert_eq!(answer.header("allow"), "POST");
            if path.starts_with("/oauth/") {
                refused(&answer, 405, "invalid_request");
            }
        }
    }
    assert_eq!(app.count_events("token.created").await, 1);
}

#[tokio::test]
async fn the_companys_rules_hold_for_clients() {
    let app = TestApp::new().await;
    let program = Program::new(&app, "HR portal").await;
    let secret = program.token(&app).await;
    let turn = |on: bool| app.operator.put(&app.path("/oauth-app")).json(&json!({"enabled": on}));
    turn(false).await.expect(200);
    let refresh = format!("{}&token={secret}", program.params());
    refused(&program.post(&app, "/oauth/token", GRANT).await, 400, "unauthorized_client");
    let answer = app.nobody.post("/tokens/refresh_token").text(FORM, &refresh).await;
    refused(&answer, 400, "unauthorized_client");
    let wrong = app.nobody.post("/oauth/token").header("authorization", &basic("x", "y"));
    refused(&wrong.text(FORM, GRANT).await, 401, "invalid_client");
    assert_eq!(introspected(&app, &secret).await, json!({"active": false}));
    turn(true).await.expect(200);
    assert_eq!(introspected(&app, &secret).await["active"], true);

    strict_policy(&app).await;
    let answer = program.post(&app, "/oauth/token", GRANT).await;
    refused(&answer, 400, "invalid_scope");
    assert!(answer.body["error_description"].as_str().unwrap().contains("allowed_scopes"));
    let fewer = format!("{GRANT}&scope=positions");
    let answer = program.post(&app, "/oauth/token", &fewer).await.expect(200);
    assert_eq!(answer.body["expires_in"], 3600);
    let form = format!("grant_type=client_credentials&scopes=positions&{}", program.params());
    let answer = app.nobody.post("/tokens").text(FORM, &form).await.expect(200);
    assert_eq!(answer.body["expires_in"], 3600);
}

#[tokio::test]
async fn scopes_that_are_on_offer_no_more_are_no_change_and_no_riddle() {
    use token_ledger_domain::company::{Company, CompanyCommand};
    use token_ledger_domain::token::{Create, Token, TokenCommand};
    use token_ledger_domain::{ClientId, Name, Power, Secret};
    use token_ledger_event_store::{Context, Request};
    let app = TestApp::new().await;
    let (ledger, context) = (&app.app.ledger, Context::system());
    let (name, scopes) = (Name::new("HR portal").unwrap(), "salaries".parse().unwrap());
    let secret = Secret::from_random("tlc_", [1; 32]);
    let client_id = ClientId(app.app.new_id());
    let client = CompanyCommand::CreateClient {
        client_id,
        name: name.clone(),
        scopes,
        secret: secret.stored(),
    };
    let client = Request::new(app.company.0, client);
    ledger.execute::<Company>(app.company, Power::Operator, &context, client).await.unwrap();
    let basic = basic(&client_id.to_string(), secret.reveal());
    let ask = app.nobody.post("/oauth/token").header("authorization", &basic);
    let answer = ask.text(FORM, GRANT).await;
    refused(&answer, 400, "invalid_scope");
    assert!(answer.text.contains("on offer any more"), "{}", answer.text);

    let id = app.app.new_id();
    let token = TokenCommand::Create(Create {
        name,
        scopes: "positions salaries".parse().unwrap(),
        secret: Secret::from_random("tlk_", [1; 32]).stored(),
        validity_seconds: None,
        client_id: None,
    });
    let token = Request::new(id, token);
    ledger.execute::<Token>(app.company, Power::Operator, &context, token).await.unwrap();
    let path = app.path(&format!("/tokens/{id}"));
    let change = |scopes: Value| app.admin.patch(&path).json(&json!({"scopes": scopes}));
    let same = change(json!(["salaries", "positions"])).await.expect(200);
    assert_eq!(same.body["version"], 1);
    for scopes in [json!(["salaries"]), json!(["salaries", "positions", "employees"])] {
        change(scopes).await.invalid(&["scopes"]);
    }
    change(json!(["positions"])).await.expect(200);
}

/// One hour at most, positions only.
async fn strict_policy(app: &TestApp) {
    use token_ledger_domain::company::{Company, CompanyCommand};
    use token_ledger_domain::{Policy, Power};
    use token_ledger_event_store::{Context, Request};
    let policy = Policy {
        max_validity_seconds: 3600,
        allowed_scopes: Some("positions".parse().unwrap()),
        ..Policy::default()
    };
    let request = Request::new(app.company.0, CompanyCommand::ChangePolicy { policy });
    let (ledger, context) = (&app.app.ledger, Context::system());
    ledger.execute::<Company>(app.company, Power::SuperAdmin, &context, request).await.unwrap();
}

#[tokio::test]
async fn a_client_introspects_its_own_tokens_only() {
    let app = TestApp::new().await;
    let (own, other) = (Program::new(&app, "own").await, Program::new(&app, "other").await);
    let (company, admin) = app.another_company("Globex").await;
    let stranger = Program::of(&admin, &company.to_string(), "own", &["positions"]).await;
    let secret = own.token(&app).await;
    let by_hand = app.token("by hand").await["token"].as_str().unwrap().to_owned();
    let form = format!("token={secret}");
    let answer = own.post(&app, "/oauth/introspect", &form).await.expect(200);
    assert_eq!(answer.body["active"], true);
    assert_eq!(answer.body["client_id"], own.id);
    for program in [&other, &stranger] {
        let answer = program.post(&app, "/oauth/introspect", &form).await.expect(200);
        assert_eq!(answer.text, "{\"active\":false}");
    }
    let key = app.admin.key.clone().unwrap();
    for secret in [&by_hand, &key, &own.secret] {
        let form = format!("token={secret}");
        let answer = own.post(&app, "/oauth/introspect", &form).await.expect(200);
        assert_eq!(answer.text, "{\"active\":false}");
    }
    let in_body = format!("{form}&token=&{}", own.params());
    let answer = app.nobody.post("/oauth/introspect").text(FORM, &in_body).await.expect(200);
    assert_eq!(answer.body["active"], true);
    // By Basic or in the body, not both, and by one name.
    let both = [in_body, format!("{form}&client_id={}", other.id)];
    let repeated = format!("{form}&client_id={}&{}", own.id, own.params());
    for answer in [
        own.post(&app, "/oauth/introspect", &both[0]).await,
        own.post(&app, "/oauth/introspect", &both[1]).await,
        app.nobody.post("/oauth/introspect").text(FORM, &repeated).await,
    ] {
        assert_eq!(answer.expect(400).body["error"], "invalid_request");
    }
    let named = format!("{form}&client_id={}", own.id);
    own.post(&app, "/oauth/introspect", &named).await.expect(200);

    let wrong = basic(&own.id, &other.secret);
    let ask = || app.nobody.post("/oauth/introspect");
    let answer = ask().header("authorization", &wrong).text(FORM, &form).await.expect(401);
    assert_eq!(answer.body["error"], "invalid_client");
    assert!(answer.header("www-authenticate").starts_with("Basic"));
    let body = format!("{form}&client_id={}&client_secret=x", own.id);
    assert_eq!(ask().text(FORM, &body).await.expect(401).body["error"], "invalid_client");
    assert_eq!(ask().text(FORM, &form).await.expect(401).body["error"], "invalid_client");
}

#[tokio::test]
async fn a_client_revokes_its_own_tokens_only() {
    let app = TestApp::new().await;
    let (own, other) = (Program::new(&app, "own").await, Program::new(&app, "other").await);
    let (company, admin) = app.another_company("Globex").await;
    let stranger = Program::of(&admin, &company.to_string(), "own", &["positions"]).await;
    let secret = own.token(&app).await;
    let form = format!("token={secret}&token_type_hint=refresh_token");
    for program in [&other, &stranger] {
        let answer = program.post(&app, "/oauth/revoke", &form).await;
        refused(&answer, 400, "unauthorized_client");
    }
    let by_hand = app.token("by hand").await["token"].clone();
    let key = app.auditor.key.clone().unwrap();
    for secret in [by_hand.as_str().unwrap(), &key] {
        let answer = own.post(&app, "/oauth/revoke", &format!("token={secret}")).await;
        refused(&answer, 400, "unauthorized_client");
    }
    assert!(app.is_active(&json!(secret)) && app.is_active(&by_hand));
    app.auditor.get(&app.path("/tokens")).await.expect(200);

    let answer = own.post(&app, "/oauth/revoke", &form).await.expect(200);
    assert_eq!(answer.text, "{}");
    assert_eq!(answer.header("cache-control"), "no-store");
    assert!(!app.is_active(&json!(secret)));
    let events = app.auditor.get(&app.path("/audit/events?type=token.deleted")).await.expect(200);
    assert_eq!(events.body["items"][0]["actor"]["id"], own.id);
    // Again, and unknown ones: what was wanted is so.
    own.post(&app, "/oauth/revoke", &form).await.expect(200);
    for token in ["x", "tlk_", &own.secret, &format!("{secret}x"), "%F0%9F%94%91"] {
        let answer = own.post(&app, "/oauth/revoke", &format!("token={token}")).await.expect(200);
        assert_eq!((answer.header("content-type"), &*answer.text), ("application/json", "{}"));
    }
    assert_eq!(app.count_events("token.deleted").await, 1);

    let revoke = |form: &str| own.post(&app, "/oauth/revoke", form);
    refused(&revoke("").await, 400, "invalid_request");
    refused(&revoke("token=").await, 400, "invalid_request");
    refused(&revoke("token=a&token=b").await, 400, "invalid_request");
    let nobody = app.nobody.post("/oauth/revoke").text(FORM, &form);
    refused(&nobody.await, 401, "invalid_client");
}

#[tokio::test]
async fn an_expired_token_is_revoked_for_good_and_an_old_secret_revokes_too() {
    let app = TestApp::new().await;
    let own = Program::new(&app, "own").await;
    let expired = own.token(&app).await;
    app.after(8 * 86_400);
    app.app.expire_due().await.unwrap();
    own.post(&app, "/oauth/revoke", &format!("token={expired}")).await.expect(200);
    assert_eq!(app.count_events("token.deleted").await, 1);
    let form = format!("{}&token={expired}", own.params());
    let answer = app.nobody.post("/tokens/refresh_token").text(FORM, &form).await;
    refused(&answer, 400, "invalid_grant");

    let old = own.token(&app).await;
    let list = app.admin.get(&app.path("/tokens")).await.expect(200).body;
    let id = list["items"][0]["token_id"].as_str().unwrap().to_owned();
    let path = app.path(&format!("/tokens/{id}/refresh"));
    let grace = json!({"grace_period_seconds": 600});
    let new = app.admin.post(&path).json(&grace).await.expect(200).body["token"].clone();
    own.post(&app, "/oauth/revoke", &format!("token={old}")).await.expect(200);
    assert!(!app.is_active(&new) && !app.is_active(&json!(old)));
}

#[tokio::test]
async fn the_metadata_name_every_endpoint() {
    let app = TestApp::new().await;
    let path = "/.well-known/oauth-authorization-server";
    let metadata = app.nobody.get(path).await.expect(200);
    assert_eq!(metadata.header("content-type"), "application/json");
    let base = "http://localhost:8080";
    let methods = json!(["client_secret_basic", "client_secret_post"]);
    let body = &metadata.body;
    assert_eq!(body["issuer"], base);
    assert_eq!(body["token_endpoint"], format!("{base}/oauth/token"));
    assert_eq!(body["revocation_endpoint"], format!("{base}/oauth/revoke"));
    assert_eq!(body["introspection_endpoint"], format!("{base}/oauth/introspect"));
    assert_eq!(body["grant_types_supported"], json!(["client_credentials"]));
    assert_eq!(body["response_types_supported"], json!([]));
    assert_eq!(body["token_endpoint_auth_methods_supported"], methods);
    assert_eq!(body["revocation_endpoint_auth_methods_supported"], methods);
    assert_eq!(body["introspection_endpoint_auth_methods_supported"], methods);
    assert_eq!(body["scopes_supported"].as_array().unwrap().len(), 10);
    app.nobody.get(&format!("{path}/elsewhere")).await.problem(404, "not-found");
}

#[tokio::test]
async fn a_parameter_comes_once() {
    let app = TestApp::new().await;
    let own = Program::new(&app, "HR portal").await;
    for twice in ["scope=positions&scope=positions", "name=a&name=b"] {
        let answer = own.post(&app, "/oauth/token", &format!("{GRANT}&{twice}")).await;
        refused(&answer, 400, "invalid_request");
        assert!(answer.body["error_description"].as_str().unwrap().contains("repeated"));
    }
    own.post(&app, "/oauth/token", &format!("{GRANT}&x=1&x=2&y=1")).await.expect(200);
    let hints = "token_type_hint=access_token&token_type_hint=access_token";
    for path in ["/oauth/introspect", "/oauth/revoke"] {
        let answer = own.post(&app, path, &format!("token=a&{hints}")).await.expect(400);
        assert_eq!(answer.body["error"], "invalid_request");
        own.post(&app, path, "token=a&token_type_hint=&token_type_hint=x").await.expect(200);
    }
}

#[tokio::test]
async fn a_form_that_is_no_text_is_refused_whoever_sends_it() {
    let app = TestApp::new().await;
    let own = Program::new(&app, "HR portal").await;
    let unread = ["token=%ff".to_owned(), format!("token={}&%ff=x", own.token(&app).await)];
    for form in &unread {
        let in_body = format!("{form}&{}", own.params());
        let introspect = |client: &Client| client.post("/oauth/introspect");
        for answer in [
            introspect(&app.resource_server).text(FORM, form).await,
            introspect(&app.nobody).text(FORM, &in_body).await,
            own.post(&app, "/oauth/introspect", form).await,
            own.post(&app, "/oauth/revoke", form).await,
        ] {
            assert_eq!(answer.status.as_u16(), 400, "{form}: {}", answer.text);
            assert_eq!(answer.body["error"], "invalid_request");
            assert_eq!(answer.body["error_description"], "A parameter is not UTF-8.");
        }
        // Nor does it tell whether a credential is good.
        let stranger = app.nobody.with("tlk_x");
        let answer = introspect(&stranger).text(FORM, form).await.expect(401);
        assert_eq!(answer.body["error"], "invalid_client");
    }
}

/// The answer, which must say that the fault is the service's, and where to look for it.
#[track_caller]
fn at_fault(answer: &Answered, expected: &[(u16, &str)]) {
    let told = (answer.status.as_u16(), answer.body["error"].as_str().unwrap_or_default());
    assert!(expected.contains(&told), "{}", answer.text);
    assert_eq!(answer.header("content-type"), "application/json");
    assert_eq!(answer.header("cache-control"), "no-store");
    assert_eq!(answer.body["request_id"], answer.header("x-request-id"));
    assert!(answer.body["error_description"].is_string());
    assert_eq!(answer.header("retry-after"), if told.0 == 503 { "1" } else { "" });
}

#[tokio::test]
async fn what_the_service_can_not_do_is_told_in_the_words_of_oauth() {
    let app = TestApp::new().await;
    let own = Program::new(&app, "HR portal").await;
    app.storage.tamper("ALTER TABLE company_heads RENAME TO company_heads_away");
    let answer = own.post(&app, "/oauth/token", GRANT).await;
    at_fault(&answer, &[(503, "temporarily_unavailable"), (500, "server_error")]);
    app.storage.tamper("ALTER TABLE company_heads_away RENAME TO company_heads");

    app.app.index.freshness().void();
    for (path, form) in
        [("/oauth/token", GRANT), ("/oauth/revoke", "token=a"), ("/oauth/introspect", "token=a")]
    {
        let answer = own.post(&app, path, form).await;
        at_fault(&answer, &[(503, "temporarily_unavailable")]);
        assert!(!answer.text.contains("key"), "{}", answer.text);
    }
    // The published API says it as it always has.
    let published = app.nobody.post("/revoke").text(FORM, &format!("{}&token=a", own.params()));
    published.await.problem(503, "unavailable");
}

#[tokio::test]
async fn nothing_needs_to_be_known_of_what_is_no_secret() {
    let app = TestApp::new().await;
    let tokens = app.path("/tokens");
    let unknown = token_ledger_domain::Secret::from_random("tla_", [9; 32]);
    app.app.index.freshness().void();
    for (caller, status) in [
        (app.nobody.clone(), 401),
        (app.nobody.with("tla_typed"), 401),
        (app.nobody.with(unknown.reveal()), 503),
    ] {
        caller.get("/v1/verify").await.expect(status);
        caller.get(&tokens).await.expect(status);
        caller.post("/oauth/introspect").text(FORM, "token=a").await.expect(status);
    }
    for (secret, status) in [("typed", 401), (unknown.reveal(), 503)] {
        let ask = || app.nobody.post("/oauth/introspect");
        let in_header = ask().header("authorization", &basic("a", secret));
        in_header.text(FORM, "token=a").await.expect(status);
        let in_body = format!("token=a&client_id=a&client_secret={secret}");
        ask().text(FORM, &in_body).await.expect(status);
    }
}

mod published {
    use super::*;

    #[track_caller]
    fn bad_client(answer: &Answered) {
        assert_eq!(answer.status.as_u16(), 401, "{}", answer.text);
        assert_eq!(answer.header("content-type"), "application/problem+json");
        assert_eq!(answer.body["error_code"], 13_401);
        assert_eq!(answer.body["type"], "/problems/invalid-client");
        assert!(answer.body["message"].is_string());
        assert!(answer.header("www-authenticate").starts_with("Basic"));
    }

    #[tokio::test]
    async fn a_program_creates_refreshes_and_revokes_with_parameters_in_the_query() {
        let app = TestApp::new().await;
        let program = Program::new(&app, "HR portal").await;
        let shared = format!("{GRANT}&{}", program.params());
        app.after(10);
        let path = format!("/tokens?{shared}&name=Sync&scopes=positions%20employees");
        let created = app.nobody.post(&path).await.expect(200);
        let first = created.body["token"].as_str().unwrap().to_owned();
        assert_eq!(
            created.body,
            json!({
                "name": "Sync", "token": first, "created_at": at(10).to_string(),
                "expires_in": 604_800, "scopes": ["employees", "positions"],
                "access_token": first, "token_type": "Bearer",
            })
        );
        assert_eq!(created.header("cache-control"), "no-store");
        app.nobody.with(&first).get("/v1/verify?scope=positions").await.expect(200);

        app.after(20);
        let path = format!("/tokens/refresh_token?{shared}&token={first}");
        let refreshed = app.nobody.post(&path).await.expect(200).body;
        let second = refreshed["token"].as_str().unwrap().to_owned();
        assert_ne!(first, second);
        assert_eq!(refreshed["name"], "Sync");
        assert_eq!(refreshed["created_at"], at(20).to_string());
        assert_eq!(refreshed["expires_in"], 604_800);
        assert_eq!(refreshed["scopes"], json!(["employees", "positions"]));
        app.nobody.with(&first).get("/v1/verify").await.expect(401);
        app.nobody.with(&second).get("/v1/verify").await.expect(200);

        let path = format!("/revoke?{shared}&token={second}");
        let revoked = app.nobody.post(&path).await.expect(200);
        assert_eq!(revoked.text, "{}");
        app.nobody.with(&second).get("/v1/verify").await.expect(401);
        assert_eq!(app.nobody.post(&path).await.expect(200).text, "{}");
        for (kind, count) in [("token.created", 1), ("token.refreshed", 1), ("token.deleted", 1)] {
            assert_eq!(app.count_events(kind).await, count);
        }
    }

    #[tokio::test]
    async fn parameters_come_in_every_place_and_scopes_in_every_form() {
        let app = TestApp::new().await;
        let program = Program::new(&app, "HR portal").await;
        let shared = format!("{GRANT}&{}", program.params());
        let both = json!(["employees", "positions"]);
        for scopes in [
            "scopes=positions+employees",
            "scopes=positions,employees",
            "scopes=positions%2Cemployees",
            "scopes=positions&scopes=employees",
            "scopes[]=positions&scopes[]=employees",
            "scopes%5B%5D=positions&scopes%5B%5D=employees",
            "name=x",
            "scopes=",
        ] {
            let query = app.nobody.post(&format!("/tokens?{shared}&{scopes}")).await.expect(200);
            assert_eq!(query.body["scopes"], both, "{scopes}");
            let form = format!("{shared}&{scopes}");
            let form = app.nobody.post("/tokens").text(FORM, &form).await.expect(200);
            assert_eq!(form.body["scopes"], both, "{scopes}");
        }
        for scopes in [json!(["positions", "employees"]), json!("positions employees"), json!(null)]
        {
            let body = json!({
                "grant_type": "client_credentials", "client_id": program.id,
                "client_secret": program.secret, "name": "Sync", "scopes": scopes, "other": {},
            });
            let answer = app.nobody.post("/tokens").json(&body).await.expect(200);
            assert_eq!(answer.body["scopes"], both, "{scopes}");
            assert_eq!(answer.body["name"], "Sync");
        }
        // Nothing was asked for, which is not everything.
        for scopes in [json!([]), json!([""])] {
            let body = json!({
                "grant_type": "client_credentials", "client_id": program.id,
                "client_secret": program.secret, "scopes": scopes,
            });
            refused(&app.nobody.post("/tokens").json(&body).await, 400, "invalid_scope");
        }
        let half = app.nobody.post(&format!("/tokens?{GRANT}")).text(FORM, &program.params());
        half.await.expect(200);
    }

    #[tokio::test]
    async fn errors_are_as_published() {
        let app = TestApp::new().await;
        let (program, other) = (Program::new(&app, "own").await, Program::new(&app, "other").await);
        let shared = format!("{GRANT}&{}", program.params());
        let secret = program.token(&app).await;
        for path in ["/tokens", "/tokens/refresh_token", "/revoke"] {
            bad_client(&app.nobody.post(path).await);
            let wrong = format!("{path}?{GRANT}&client_id={}&client_secret=x", program.id);
            let answer = app.nobody.post(&format!("{wrong}&token={secret}")).await;
            bad_client(&answer);
            assert!(!answer.text.contains(&secret));
            let json = app.nobody.post(&format!("{path}?{shared}")).text("application/json", "[]");
            refused(&json.await, 400, "invalid_request");
            let plain = app.nobody.post(&format!("{path}?{shared}")).text("text/plain", "x");
            refused(&plain.await, 400, "invalid_request");
            let twice = app.nobody.post(&format!("{path}?{shared}")).text(FORM, &program.params());
            refused(&twice.await, 400, "invalid_request");
            let grant = format!("{path}?grant_type=password&{}&token=x", program.params());
            refused(&app.nobody.post(&grant).await, 400, "unsupported_grant_type");
            let long = "x".repeat(65 * 1024);
            let long = app.nobody.post(&format!("{path}?{shared}")).text(FORM, &long);
            refused(&long.await, 413, "invalid_request");
        }
        let create = |more: &str| app.nobody.post(&format!("/tokens?{shared}&{more}"));
        refused(&create("scopes=salaries").await, 400, "invalid_scope");
        refused(&create("scopes=locations").await, 400, "invalid_scope");
        refused(&create("name=a&name=b").await, 400, "invalid_request");
        refused(&create(&format!("name={}", "x".repeat(101))).await, 400, "invalid_request");
        let params = program.params();
        let answer = app.nobody.post(&format!("/tokens?{params}")).await;
        refused(&answer, 400, "invalid_request");

        let theirs = format!("{}&token={secret}", other.params());
        let answer = app.nobody.post(&format!("/revoke?{theirs}")).await;
        refused(&answer, 403, "unauthorized_client");
        let answer = app.nobody.post(&format!("/tokens/refresh_token?{theirs}")).await;
        refused(&answer, 400, "invalid_grant");
        for path in ["/tokens/refresh_token", "/revoke"] {
            refused(&app.nobody.post(&format!("{path}?{shared}")).await, 400, "invalid_request");
        }
        for token in ["x", &program.secret, &app.admin.key.clone().unwrap()] {
            let path = format!("/tokens/refresh_token?{shared}&token={token}");
            refused(&app.nobody.post(&path).await, 400, "invalid_grant");
        }
        assert!(app.is_active(&json!(secret)));
        assert_eq!(app.count_events("token.created").await, 1);
    }

    #[tokio::test]
    async fn an_expired_token_is_refreshed_and_an_old_secret_can_not_refresh() {
        let app = TestApp::new().await;
        let program = Program::new(&app, "HR portal").await;
        let old = program.token(&app).await;
        let refresh = |secret: &str| {
            let form = format!("{}&token={secret}", program.params());
            app.nobody.post("/tokens/refresh_token").text(FORM, &form)
        };
        app.after(8 * 86_400);
        app.app.expire_due().await.unwrap();
        let second = refresh(&old).await.expect(200).body["token"].clone();
        assert!(app.is_active(&second));
        refused(&refresh(&old).await, 400, "invalid_grant");

        let list = app.admin.get(&app.path("/tokens")).await.expect(200).body;
        let id = list["items"][0]["token_id"].as_str().unwrap().to_owned();
        let path = app.path(&format!("/tokens/{id}/refresh"));
        let grace = json!({"grace_period_seconds": 600});
        let third = app.admin.post(&path).json(&grace).await.expect(200).body["token"].clone();
        assert!(app.is_active(&second), "it lives on for the grace period");
        refused(&refresh(second.as_str().unwrap()).await, 400, "invalid_grant");
        refresh(third.as_str().unwrap()).await.expect(200);
        assert!(!app.is_active(&second), "at most one old secret lives");
    }

    #[tokio::test]
    async fn of_two_refreshes_at_once_one_gets_the_new_secret() {
        let app = TestApp::new().await;
        let program = Program::new(&app, "HR portal").await;
        let secret = program.token(&app).await;
        let form = format!("{}&token={secret}", program.params());
        let refresh = || async { app.nobody.post("/tokens/refresh_token").text(FORM, &form).await };
        let answers = tokio::join!(refresh(), refresh(), refresh());
        let mut statuses = [answers.0.status, answers.1.status, answers.2.status];
        statuses.sort();
        assert_eq!(statuses.map(|status| status.as_u16()), [200, 400, 400]);
        assert_eq!(app.count_events("token.refreshed").await, 1);
    }

    #[tokio::test]
    async fn the_query_can_be_switched_off() {
        let app = TestApp::new().await;
        let program = Program::new(&app, "HR portal").await;
        let strict = app.without_query_credentials();
        let shared = format!("{GRANT}&{}", program.params());
        for query in [shared.clone(), program.params(), "name=x".into(), "scopes[]=x".into()] {
            for path in ["/tokens", "/tokens/refresh_token", "/revoke"] {
                let answer = strict.post(&format!("{path}?{query}")).text(FORM, &shared).await;
                refused(&answer, 400, "invalid_request");
            }
        }
        strict.post("/tokens?trace=1").text(FORM, &shared).await.expect(200);
    }
}
