//! How requests are read: paths, headers and bodies, whatever is asked.

use crate::support::{TestApp, held, key};
use axum::body::{Body, Bytes};
use axum::http::Method;
use futures::{StreamExt, stream};
use serde_json::json;
use std::convert::Infallible;
use std::future::IntoFuture;

#[tokio::test]
async fn a_body_is_an_object() {
    let app = TestApp::new().await;
    for (path, body) in [
        ("/tokens", json!(["arr", ["positions"], null, null])),
        ("/tokens/delete-all", json!([null, null, null, "leak"])),
        ("/tokens/find", json!(["tlk_x"])),
        ("/keys", json!("a")),
        ("/clients", json!(null)),
    ] {
        let answer = app.admin.post(&app.path(path)).json(&body).await.invalid(&["body"]);
        assert_eq!(answer.body["detail"], "body: must be a JSON object");
    }
    let body = json!({"name": "a", "scopes": ["positions"], "expires_in_seconds": "60"});
    let answer = app.admin.post(&app.path("/tokens")).json(&body).await;
    assert!(!answer.invalid(&["expires_in_seconds"]).text.contains("i64"));
    assert_eq!(app.count_events("token.created").await, 0);
}

#[tokio::test]
async fn a_deletion_says_in_the_query_why() {
    let app = TestApp::new().await;
    let token = app.token("a").await;
    let path = app.token_path(&token);
    let program = json!({"name": "Robot", "scopes": ["positions"]});
    let client = app.admin.post(&app.path("/clients")).json(&program).await.expect(201);
    let program = json!({"name": "Robot", "scopes": ["ledger.audit"]});
    let key = app.admin.post(&app.path("/keys")).json(&program).await.expect(201);
    let person = json!({"email": "tom@example.com", "role": "auditor"});
    let member = app.admin.post(&app.path("/members")).json(&person).await.expect(201);
    let things = [&client, &key, &member].map(|made| made.header("location").to_owned());
    for path in [path.clone()].iter().chain(&things) {
        for (content_type, body) in [
            ("application/json", "{\"reason\":\"leaked\"}"),
            ("application/json", "{}"),
            ("text/plain", "not json"),
        ] {
            let answer = app.admin.delete(path).text(content_type, body).await.invalid(&["body"]);
            assert!(answer.text.contains("in the query"), "{}", answer.text);
        }
    }
    assert!(app.is_active(&token["token"]));
    for path in [path].iter().chain(&things) {
        app.admin.delete(&format!("{path}?reason=leaked")).await.expect(204);
    }
}

#[tokio::test]
async fn a_path_is_utf_8() {
    let app = TestApp::new().await;
    let log = app.path("/log/tile/entries/%ff");
    let paths = [
        (Method::GET, "/v1/companies/%ff/tokens".to_owned()),
        (Method::POST, app.path("/tokens/%ff/refresh")),
        (Method::POST, "/v1/projections/%ff/rebuild".to_owned()),
        (Method::GET, log),
    ];
    for (method, path) in paths {
        app.nobody.call(method.clone(), &path).await.problem(401, "unauthorized");
        let answer = app.operator.call(method, &path).await;
        answer.problem(400, "invalid-input").invalid(&["path"]);
    }
    app.nobody.get("/problems/%ff").await.problem(400, "invalid-input");
}

#[tokio::test]
async fn what_counts_once_is_sent_once() {
    let app = TestApp::new().await;
    let key = app.admin.key.clone().expect("a key");
    let twice = app.admin.get("/v1/whoami").header("authorization", &format!("Bearer {key}"));
    twice.await.problem(401, "unauthorized");
    let body = json!({"name": "a", "scopes": ["positions"]});
    let create = app.admin.post(&app.path("/tokens")).json(&body);
    let create = create.header("idempotency-key", "one").header("idempotency-key", "two");
    create.await.invalid(&["Idempotency-Key"]);
    let typed = app.admin.post(&app.path("/tokens")).header("content-type", "text/plain");
    typed.json(&body).await.problem(415, "unsupported-media-type");
    let typed = app.admin.post(&app.path("/tokens")).header("content-type", "application/json");
    typed.json(&body).await.problem(415, "unsupported-media-type");
    assert_eq!(app.count_events("token.created").await, 0);
}

#[tokio::test]
async fn what_has_not_moved_on_is_not_read_again() {
    let app = TestApp::new().await;
    for below in ["", "/policy"] {
        let path = app.path(below);
        let tag = app.auditor.get(&path).await.expect(200).header("etag").to_owned();
        let read = |name: &str, value: &str| app.auditor.get(&path).header(name, value);
        for same in [&*tag, &format!("W/{tag}"), &format!("\"77\", {tag}"), "*"] {
            let answer = read("if-none-match", same).await.expect(304);
            assert_eq!((answer.header("etag"), &*answer.text), (&*tag, ""), "{same}");
            assert_eq!(answer.header("cache-control"), "no-store");
            assert_eq!(answer.header("content-type"), "");
        }
        for other in ["\"77\"", "\"x\""] {
            read("if-none-match", other).await.expect(200);
            read("if-match", other).await.problem(412, "version-mismatch");
        }
        read("if-match", &tag).await.expect(200);
        read("if-match", &tag).header("if-none-match", &tag).await.expect(304);
        read("if-none-match", "1").await.invalid(&["If-None-Match"]);
        let head = app.auditor.call(Method::HEAD, &path).header("if-none-match", &tag);
        // A length would be that of what is unchanged.
        assert!(!head.await.expect(304).headers.contains_key("content-length"));
    }
    let missing = app.path(&format!("/tokens/{}", app.company));
    app.auditor.get(&missing).header("if-none-match", "*").await.problem(404, "not-found");
    app.auditor.get(&app.path("/tokens")).header("if-none-match", "*").await.expect(200);
}

#[tokio::test]
async fn what_would_be_misread_is_refused() {
    let app = TestApp::new().await;
    let token = app.token("a").await;
    // Latin-1, of which a lenient reader would record something else for good.
    let delete = format!("{}?reason=M%FCller", app.token_path(&token));
    app.admin.delete(&delete).await.invalid(&["query"]);
    app.admin.get(&app.path("/tokens?q=%C3%BC")).await.expect(200);
    let body = json!({"name": "b", "scopes": ["positions"]});
    let create = || app.admin.post(&app.path("/tokens")).json(&body);
    create().header("content-encoding", "gzip").await.problem(415, "unsupported-media-type");
    create().header("content-encoding", "identity").await.expect(201);
    assert_eq!(app.count_events("token.deleted").await, 0);
}

#[tokio::test]
async fn a_body_that_is_left_out_is_an_empty_object() {
    let app = TestApp::new().await;
    let token = app.token("a").await;
    let refresh = format!("{}/refresh", app.token_path(&token));
    let call = || app.admin.post(&refresh).header("idempotency-key", "k");
    call().await.expect(200);
    assert_eq!(call().json(&json!({})).await.expect(200).header("idempotent-replay"), "true");
}

#[tokio::test]
async fn what_the_clock_and_use_change_is_read_again() {
    let app = TestApp::new().await;
    let token = app.token("a").await;
    let path = app.token_path(&token);
    let again = || app.auditor.get(&path).header("if-none-match", "\"1\"");
    assert_eq!(again().await.expect(200).body["status"], "active");
    app.after(604_800);
    let ended = again().await.expect(200);
    assert_eq!((&ended.body["status"], ended.header("etag")), (&json!("expired"), "\"1\""));
    app.auditor.get(&path).header("if-match", "\"2\"").await.problem(412, "version-mismatch");
}

#[tokio::test]
async fn a_change_may_name_the_versions_that_it_does_not_mean() {
    let app = TestApp::new().await;
    let token = app.token("a").await;
    let path = app.token_path(&token);
    let other = json!({"scopes": ["employees"]});
    for same in ["*", "\"1\"", "W/\"1\""] {
        let change = app.admin.patch(&path).header("if-none-match", same).json(&other);
        change.await.problem(412, "version-mismatch");
        let delete = app.admin.delete(&path).header("if-none-match", same);
        delete.await.problem(412, "version-mismatch");
        let policy = app.admin.put(&app.path("/policy")).header("if-none-match", "*");
        policy.json(&json!({})).await.problem(412, "version-mismatch");
    }
    let change = app.admin.patch(&path).header("if-none-match", "\"2\"").json(&other);
    assert_eq!(change.await.expect(200).header("etag"), "\"2\"");
    let delete = app.admin.delete(&path).header("if-match", "\"2\", \"1\"");
    delete.header("if-none-match", "\"1\"").await.expect(204);
}

#[tokio::test]
async fn a_repeat_is_one_however_its_identifiers_are_spelt() {
    let app = TestApp::new().await;
    let body = json!({"name": "a", "scopes": ["positions"]});
    let create = |path: String| app.admin.post(&path).header("idempotency-key", "k").json(&body);
    let first = create(app.path("/tokens")).await.expect(201);
    let upper = format!("/v1/companies/{}/tokens", app.company.to_string().to_uppercase());
    let second = create(upper).await.expect(201);
    assert_eq!(second.header("idempotent-replay"), "true");
    assert_eq!(second.body["token_id"], first.body["token_id"]);
}

#[tokio::test]
async fn a_body_that_does_not_come_in_time_is_its_senders_fault() {
    let app = TestApp::new().await;
    let slow = || {
        let begun = stream::iter([Ok::<_, Infallible>(Bytes::from_static(b"a"))]);
        Body::from_stream(begun.chain(stream::pending()))
    };
    let (form, json) = ("application/x-www-form-urlencoded", "application/json");
    let sign_in = app.nobody.post("/console/sign-in").header("sec-fetch-site", "same-origin");
    let clients = [
        ("/oauth/token", form),
        ("/oauth/revoke", form),
        ("/tokens", form),
        ("/tokens/refresh_token", json),
        ("/revoke", json),
    ];
    let clients = clients.map(|(path, kind)| app.nobody.post(path).body(kind, slow()));
    let resource_server = app.resource_server.post("/oauth/introspect").body(form, slow());
    // All of them wait side by side.
    let (of_admin, of_clients, of_resource_server, of_person) = futures::join!(
        app.admin.post(&app.path("/tokens")).body(json, slow()).into_future(),
        futures::future::join_all(clients.map(IntoFuture::into_future)),
        resource_server.into_future(),
        sign_in.body(form, slow()).into_future(),
    );
    let of_admin = of_admin.problem(408, "request-timeout");
    assert_eq!(of_admin.header("connection"), "close");
    for late in of_clients.into_iter().chain([of_resource_server]) {
        assert_eq!(late.expect(408).body["error"], "invalid_request");
    }
    let of_person = of_person.expect(408);
    assert!(of_person.text.contains("The form did not come in time."), "{}", of_person.text);
}

#[tokio::test]
async fn a_key_that_is_deleted_while_the_body_comes_does_nothing_more() {
    let app = TestApp::new().await;
    let secret = key(&app.app, app.company, "ledger.admin").await;
    let introspects = key(&app.app, app.company, "ledger.introspect").await;
    let own = [&secret, &introspects].map(|secret| app.nobody.with(secret));
    let mut paths = Vec::new();
    for client in &own {
        let id = client.get("/v1/whoami").await.expect(200).body["key_id"].clone();
        paths.push(app.path(&format!("/keys/{}", id.as_str().expect("an id"))));
    }
    let token = app.token("Held").await;
    let (json, form) = ("application/json", "application/x-www-form-urlencoded");
    let (key_body, mut key_held) =
        held(&json!({"name": "k", "scopes": ["ledger.admin"]}).to_string());
    let (token_body, mut token_held) =
        held(&json!({"name": "t", "scopes": ["positions"]}).to_string());
    let (form_body, mut form_held) =
        held(&format!("token={}", token["token"].as_str().expect("a secret")));
    let before = app.count_events("key.created").await;
    let (of_key, of_token, of_form, ()) = futures::join!(
        own[0].post(&app.path("/keys")).body(json, key_body).into_future(),
        own[0].post(&app.path("/tokens")).body(json, token_body).into_future(),
        own[1].post("/oauth/introspect").body(form, form_body).into_future(),
        async {
            for held in [&mut key_held, &mut token_held, &mut form_held] {
                held.begun().await;
            }
            for path in &paths {
                app.admin.delete(path).await.expect(204);
            }
            for held in [key_held, token_held, form_held] {
                held.go_on();
            }
        },
    );
    of_key.problem(401, "unauthorized");
    of_token.problem(401, "unauthorized");
    assert_eq!(of_form.expect(401).body["error"], "invalid_client");
    assert_eq!(app.count_events("key.created").await, before);
    assert_eq!(app.count_events("token.created").await, 1);
}
