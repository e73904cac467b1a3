//! Secrets are shown once and then nowhere: not in a log, however much is logged, not in the
//! database, not in a metric, not in an error.

use crate::process::{Company, Place, Serving};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::{Client, Method, RequestBuilder};
use serde_json::{Value, json};
use std::path::Path;

/// What must be found nowhere, with what it is.
#[derive(Default)]
struct Secrets(Vec<(String, String)>);

impl Secrets {
    fn add(&mut self, what: &str, secret: &str) {
        assert!(secret.len() > 20, "{what} is no secret");
        self.0.push((what.to_owned(), secret.to_owned()));
    }

    #[track_caller]
    fn assert_absent(&self, from: &str, bytes: &[u8]) {
        for (what, secret) in &self.0 {
            let found = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
            assert!(!found, "{from} holds {what}");
        }
    }
}

/// Sends a request whose answer shows a secret, and keeps that.
async fn shown(secrets: &mut Secrets, field: &str, request: RequestBuilder) -> Value {
    let response = request.send().await.expect("an answer");
    let status = response.status();
    let body: Value = response.json().await.expect("JSON");
    let secret = body[field].as_str().unwrap_or_else(|| panic!("{field}: {status} {body}"));
    secrets.add(field, secret);
    body
}

/// Sends a request whose answer shows no secret.
async fn silent(secrets: &Secrets, request: RequestBuilder) {
    let response = request.send().await.expect("an answer");
    let (url, status) = (response.url().path().to_owned(), response.status());
    for (name, value) in response.headers() {
        secrets.assert_absent(&format!("{name} of {status}"), value.as_bytes());
    }
    let body = response.bytes().await.unwrap_or_default();
    secrets.assert_absent(&format!("the answer {status} of {}", url.len()), &body);
}

/// Every operation that the service describes, live streams aside.
async fn operations(http: &Client, serving: &Serving) -> Vec<(Method, String)> {
    let document: Value =
        http.get(serving.url("/openapi.json")).send().await.unwrap().json().await.unwrap();
    let paths = document["paths"].as_object().expect("paths");
    paths
        .iter()
        .filter(|(path, _)| !path.ends_with("/stream"))
        .flat_map(|(path, item)| {
            let methods = item.as_object().expect("operations").keys();
            methods
                .map(move |method| (method.to_uppercase().parse().expect("a method"), path.clone()))
        })
        .collect()
}

/// The path with something in the place of each identifier but the company's.
fn filled(path: &str, company: &str, identifier: &str) -> String {
    let path = path.replace("{company_id}", company);
    let mut filled = String::new();
    let mut rest = path.as_str();
    while let Some((before, after)) = rest.split_once('{') {
        filled.push_str(before);
        filled.push_str(identifier);
        rest = after.split_once('}').map_or("", |(_, after)| after);
    }
    filled + rest
}

/// An identifier of nothing.
const ABSENT: &str = "01980000-0000-7000-8000-000000000000";

/// Sends a secret to every endpoint, in every place of a request.
async fn send_everywhere(
    http: &Client,
    serving: &Serving,
    company: &Company,
    secrets: &Secrets,
    stray: &str,
) {
    for (method, path) in operations(http, serving).await {
        for path in [filled(&path, &company.id, stray), filled(&path, stray, ABSENT)] {
            for query in [
                String::new(),
                format!("?token={stray}"),
                format!("?client_secret={stray}&scope={stray}&name={stray}&grant_type={stray}"),
                format!("?{stray}=1"),
            ] {
                let url = serving.url(&format!("{path}{query}"));
                let request = http.request(method.clone(), &url);
                silent(secrets, request.bearer_auth(stray)).await;
            }
            let url = serving.url(&path);
            let request = || http.request(method.clone(), &url);
            let wrong = request().basic_auth(ABSENT, Some(stray));
            silent(secrets, wrong.header("cookie", format!("session={stray}"))).await;
            for body in [
                json!({"token": [stray], "name": [stray], "scopes": stray}),
                json!({stray: stray}),
                json!({"name": "x", "scopes": [stray], "email": stray, "reason": [stray]}),
                json!(stray),
            ] {
                let request = request().bearer_auth(&company.admin_key).header("if-match", stray);
                silent(secrets, request.json(&body)).await;
            }
            let params = format!("token={stray}&{stray}={stray}&scope={stray}&name={stray}");
            let request = request().header("content-type", "application/x-www-form-urlencoded");
            silent(secrets, request.body(params)).await;
        }
    }
    let strange = Method::from_bytes(stray.as_bytes()).expect("a method");
    silent(secrets, http.request(strange, serving.url("/v1/whoami"))).await;
}

/// The bytes of everything in the ledger's folder.
fn on_disk(place: &Place) -> Vec<u8> {
    let ledger = place.ledger();
    everything_in(ledger.parent().expect("a folder"))
}

fn everything_in(folder: &Path) -> Vec<u8> {
    let mut bytes = Vec::new();
    for entry in std::fs::read_dir(folder).expect("the folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            bytes.extend(everything_in(&path));
        } else {
            bytes.extend(std::fs::read(path).expect("a file"));
        }
    }
    bytes
}

#[tokio::test]
async fn no_secret_is_found_anywhere() {
    let place = Place::new();
    let company = place.setup("Acme");
    let mut secrets = Secrets::default();
    let admin = company.admin_key.as_str();
    for key in [&company.operator_key, admin, &company.audit_key, &company.introspect_key] {
        secrets.add("a key of setup", key);
    }
    let mut command = place.command(&["serve", "--listen", "127.0.0.1:0"]);
    command.env("TOKEN_LEDGER_LOG", "trace");
    let serving = Serving::start(command);
    let http = Client::new();
    let base = format!("/v1/companies/{}", company.id);
    let post = |path: &str, body: &Value| {
        http.post(serving.url(&format!("{base}{path}"))).bearer_auth(admin).json(body)
    };

    // One of each, and what becomes of them.
    let named = json!({"name": "reader", "scopes": ["positions"]});
    let token = shown(&mut secrets, "token", post("/tokens", &named)).await;
    let path = format!("/tokens/{}/refresh", token["token_id"].as_str().unwrap());
    shown(&mut secrets, "token", post(&path, &json!({"grace_period_seconds": 60}))).await;
    let auditor = json!({"name": "auditor", "scopes": ["ledger.audit"]});
    shown(&mut secrets, "key", post("/keys", &auditor)).await;
    let client = shown(&mut secrets, "client_secret", post("/clients", &named)).await;
    let id = client["client_id"].as_str().unwrap().to_owned();
    let path = format!("/clients/{id}/rotate");
    let rotated = shown(&mut secrets, "client_secret", post(&path, &json!({}))).await;
    let secret = rotated["client_secret"].as_str().unwrap().to_owned();
    secrets.add("Basic", &STANDARD.encode(format!("{id}:{secret}")));

    // The client's own, by form, query, JSON and Basic.
    let grant = "grant_type=client_credentials";
    let params = format!("{grant}&client_id={id}&client_secret={secret}");
    let form = |path: &str, body: String| {
        let request = http.post(serving.url(path));
        request.header("content-type", "application/x-www-form-urlencoded").body(body)
    };
    let basic = form("/oauth/token", grant.to_owned()).basic_auth(&id, Some(&secret));
    let first = shown(&mut secrets, "access_token", basic).await;
    let first = first["access_token"].as_str().unwrap().to_owned();
    shown(&mut secrets, "access_token", form("/oauth/token", params.clone())).await;
    let query = http.post(serving.url(&format!("/tokens?{params}&name=q")));
    let second = shown(&mut secrets, "token", query).await;
    let second = second["token"].as_str().unwrap().to_owned();
    let path = format!("/tokens/refresh_token?{params}&token={second}");
    shown(&mut secrets, "token", http.post(serving.url(&path))).await;
    let body = json!({
        "grant_type": "client_credentials", "client_id": id, "client_secret": secret,
    });
    shown(&mut secrets, "token", http.post(serving.url("/tokens")).json(&body)).await;
    silent(&secrets, http.post(serving.url(&format!("/revoke?{params}&token={second}")))).await;
    silent(&secrets, form("/oauth/introspect", format!("{params}&token={first}"))).await;
    silent(&secrets, form("/oauth/revoke", format!("{params}&token={first}"))).await;
    silent(&secrets, http.get(serving.url("/v1/verify")).bearer_auth(&first)).await;
    let found = post("/tokens/find", &json!({"token": first}));
    silent(&secrets, found).await;

    // Every endpoint, with secrets where none belongs.
    let unknown = token_ledger_domain::Secret::from_random("tlk_", [7; 32]);
    secrets.add("an unknown secret", unknown.reveal());
    for stray in [&secret, unknown.reveal()] {
        send_everywhere(&http, &serving, &company, &secrets, stray).await;
    }
    let reason =
        json!({"name": "x", "scopes": ["positions"], "reason": format!("leaked {first}!")});
    silent(&secrets, post("/tokens", &reason)).await;
    let name = json!({"name": format!("{first}"), "scopes": ["positions"]});
    silent(&secrets, post("/tokens", &name)).await;
    let agent = http.get(serving.url("/v1/whoami")).bearer_auth(admin);
    silent(&secrets, agent.header("user-agent", &first)).await;

    let metrics = http.get(serving.url("/metrics")).send().await.unwrap().bytes().await.unwrap();
    assert!(!metrics.is_empty());
    secrets.assert_absent("/metrics", &metrics);
    secrets.assert_absent("the database while it is open", &on_disk(&place));
    serving.signal("TERM");
    let (status, log) = serving.wait();
    assert_eq!(status.code(), Some(0));
    assert!(log.contains("answered") && log.len() > 100_000, "the log is verbose: {}", log.len());
    assert!(!log.contains("panicked"), "a handler panicked");
    secrets.assert_absent("the log", log.as_bytes());
    secrets.assert_absent("the database", &on_disk(&place));
}
