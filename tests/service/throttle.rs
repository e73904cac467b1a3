//! Limits bite on failures only.

use crate::support::{Answered, Client, TestApp};
use axum::extract::ConnectInfo;
use axum::http::Request;
use std::net::SocketAddr;

/// More bad keys than one network may try.
const MANY: usize = 2000;

/// Tries bad keys until one is told to wait; answers that.
async fn until_throttled(client: &Client, path: &str) -> Answered {
    for n in 0..MANY {
        let answer = client.with(format!("tla_guess{n}")).get(path).await;
        if answer.status != 401 {
            return answer;
        }
        assert!(answer.header("www-authenticate").contains("invalid_token"));
    }
    panic!("{MANY} bad keys were let try");
}

#[tokio::test]
async fn bad_keys_are_told_to_wait_and_good_ones_are_not_held_up() {
    let test = TestApp::new().await;
    let path = test.path("/tokens");
    let throttled = until_throttled(&test.nobody, &path).await.problem(429, "too-many-requests");
    let wait: i64 = throttled.header("retry-after").parse().expect("seconds");
    assert!((1..=60).contains(&wait), "{wait}");

    test.auditor.get(&path).await.expect(200);
    test.admin.get("/v1/whoami").await.expect(200);
    // A good key without the power fails for another reason.
    test.auditor.post(&path).await.problem(403, "forbidden");
    // Nothing was guessed.
    test.nobody.get(&path).await.problem(401, "unauthorized");

    test.after(wait);
    let guess = test.nobody.with("tla_guess");
    guess.get(&path).await.problem(401, "unauthorized");
    until_throttled(&test.nobody, &path).await.problem(429, "too-many-requests");
}

#[tokio::test]
async fn others_are_not_told_to_wait() {
    let test = TestApp::new().await;
    let path = test.path("/tokens");
    until_throttled(&test.nobody, &path).await.problem(429, "too-many-requests");
    let elsewhere = SocketAddr::from(([198, 51, 100, 7], 40_000));
    let request = Request::get(&path)
        .header("authorization", "Bearer tla_guess")
        .extension(ConnectInfo(elsewhere));
    test.nobody.send(request).await.problem(401, "unauthorized");
}

#[tokio::test]
async fn verification_and_introspection_of_bad_tokens_are_never_throttled() {
    let test = TestApp::new().await;
    let token = test.token("t").await;
    until_throttled(&test.nobody, "/v1/whoami").await.problem(429, "too-many-requests");
    for n in 0..MANY {
        let bad = format!("tlk_guess{n}");
        test.nobody.with(&bad).get("/v1/verify").await.expect(401);
        let form = format!("token={bad}");
        let call = test.resource_server.post("/oauth/introspect");
        let answer = call.text("application/x-www-form-urlencoded", &form).await.expect(200);
        assert_eq!(answer.text, "{\"active\":false}");
    }
    let secret = token["token"].as_str().expect("a secret");
    test.nobody.with(secret).get("/v1/verify").await.expect(200);
}

#[tokio::test]
async fn who_shows_no_client_tries_none_out() {
    let test = TestApp::new().await;
    let form = "application/x-www-form-urlencoded";
    for _ in 0..MANY {
        let call = test.nobody.post("/oauth/token");
        call.text(form, "grant_type=client_credentials").await.expect(401);
    }
}

#[tokio::test]
async fn clients_are_told_to_wait_in_the_words_of_oauth() {
    let test = TestApp::new().await;
    let body = serde_json::json!({"name": "Sync", "scopes": ["positions"]});
    let client = test.admin.post(&test.path("/clients")).json(&body).await.expect(201).body;
    let id = client["client_id"].as_str().expect("an identifier").to_owned();
    let ask = |path: &'static str, id: &str, secret: &str| {
        let form = "grant_type=client_credentials&token=x";
        let form = format!("{form}&client_id={id}&client_secret={secret}");
        test.nobody.post(path).text("application/x-www-form-urlencoded", &form)
    };
    // However it is spelt, it is one client.
    let spellings = [id.clone(), id.to_uppercase(), id.replace('-', ""), format!("{{{id}}}")];
    let mut tried = 0;
    while ask("/oauth/token", &spellings[tried % 4], "tlc_guess").await.status == 401 {
        tried += 1;
    }
    assert_eq!(tried, 60);
    for path in ["/oauth/token", "/oauth/revoke", "/oauth/introspect"] {
        let throttled = ask(path, &id, "tlc_guess").await.expect(429);
        assert_eq!(throttled.header("content-type"), "application/json");
        assert_eq!(throttled.header("retry-after"), "1");
        assert_eq!(throttled.body["error"], "invalid_client");
    }
    ask("/tokens", &id, "tlc_guess").await.problem(429, "too-many-requests");
    let secret = client["client_secret"].as_str().expect("a secret");
    ask("/oauth/token", &id, secret).await.expect(200);
}
