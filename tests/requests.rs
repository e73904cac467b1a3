//! How requests are read: paths, headers and bodies, whatever is asked, and what that leaves of the
//! connection.

mod process;
mod support;

use axum::body::{Body, Bytes};
use axum::http::Method;
use futures::{StreamExt, stream};
use process::{Place, Serving};
use serde_json::json;
use std::convert::Infallible;
use std::future::IntoFuture;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::Stdio;
use std::time::Duration;
use support::{TestApp, held, key};

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

#[test]
fn a_request_names_one_host() {
    let place = Place::new();
    place.setup("Acme");
    let serving = place.serve(&[]);
    for (head, status) in [
        ("GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n", "200"),
        ("GET /healthz HTTP/1.1\r\n\r\n", "400"),
        ("GET /healthz HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", "400"),
        ("GET /healthz HTTP/1.0\r\n\r\n", "200"),
    ] {
        let mut connection = Connection::to(&serving.base);
        connection.send(head.as_bytes());
        let answer = connection.answer();
        assert!(answer.split(' ').nth(1) == Some(status), "{head}{answer}");
        assert!(answer.contains("x-request-id: "), "{answer}");
    }
    serving.stop();
}

#[test]
fn the_log_counts_in_numbers() {
    let place = Place::new();
    place.setup("Acme");
    let serving = place.serve(&["--log-format", "json"]);
    let mut connection = Connection::to(&serving.base);
    connection.send(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n");
    connection.answer();
    let line: serde_json::Value = serde_json::from_str(&serving.says("answered")).expect("JSON");
    assert!(line["status"] == 200 && line["milliseconds"].is_u64(), "{line}");
    serving.stop();
}

#[test]
fn a_failure_is_logged_with_its_request_however_little_is_logged() {
    let place = Place::new();
    let company = place.setup("Acme");
    let mut command = place.as_service(&["serve", "--listen", "127.0.0.1:0"]);
    command.env("TOKEN_LEDGER_LOG", "warn,token_ledger::cli=info");
    let serving = Serving::start(command);
    place.alter("ALTER TABLE companies RENAME TO unreadable");
    let mut connection = Connection::to(&serving.base);
    let path = format!("/v1/companies/{}/policy", company.id);
    let credential = format!("Authorization: Bearer {}", company.admin_key);
    let head = format!("GET {path} HTTP/1.1\r\nHost: a\r\n{credential}\r\n\r\n");
    connection.send(head.as_bytes());
    let answer = connection.answer();
    assert!(answer.starts_with("http/1.1 50"), "{answer}");
    let id = answer.split("x-request-id: ").nth(1).and_then(|rest| rest.lines().next());
    let line = serving.says("a request failed");
    assert!(line.contains(id.expect("an identifier")), "{line}");
    place.alter("ALTER TABLE unreadable RENAME TO companies");
    serving.stop();
}

#[test]
fn a_head_that_can_not_be_read_leaves_a_trace() {
    let place = Place::new();
    place.setup("Acme");
    let serving = place.serve(&[]);
    let mut connection = Connection::to(&serving.base);
    let many = "X: x\r\n".repeat(101);
    connection.send(format!("GET /healthz HTTP/1.1\r\nHost: a\r\n{many}\r\n").as_bytes());
    assert!(connection.answer().starts_with("http/1.1 431"));
    serving.says("the head of a request could not be read");
    let mut connection = Connection::to(&serving.base);
    connection.send(b"GET /metrics HTTP/1.0\r\n\r\n");
    let mut told = String::new();
    connection.0.read_to_string(&mut told).expect("an answer");
    assert!(told.contains("\ntoken_ledger_request_heads_refused_total 1\n"), "{told}");
    serving.stop();
}

#[test]
fn a_head_is_no_larger_than_a_body() {
    let place = Place::new();
    place.setup("Acme");
    let serving = place.serve(&[]);
    let begun = "GET /healthz HTTP/1.1\r\nHost: a\r\nUser-Agent: ";
    let mut connection = Connection::to(&serving.base);
    connection.send(format!("{begun}{}\r\n\r\n", "x".repeat(60 * 1024)).as_bytes());
    assert!(connection.answer().starts_with("http/1.1 200"));
    let mut connection = Connection::to(&serving.base);
    let more = "x".repeat(64 * 1024 - begun.len());
    connection.send(format!("{begun}{more}").as_bytes());
    assert!(connection.answer().starts_with("http/1.1 431"));
    serving.stop();
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

/// One connection, kept.
struct Connection(BufReader<TcpStream>);

impl Connection {
    fn to(base: &str) -> Self {
        let stream = TcpStream::connect(base.trim_start_matches("http://")).expect("it listens");
        stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a socket");
        Self(BufReader::new(stream))
    }

    fn send(&mut self, bytes: &[u8]) {
        self.0.get_mut().write_all(bytes).expect("the connection is kept");
    }

    /// The head of the next answer, in lower case; its body is read past.
    fn answer(&mut self) -> String {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert_ne!(self.0.read_line(&mut head).expect("an answer"), 0, "closed: {head}");
        }
        let head = head.to_lowercase();
        let length = head.split("content-length: ").nth(1).and_then(|rest| rest.lines().next());
        let length = length.map_or(0, |text| text.parse().expect("a length"));
        self.0.read_exact(&mut vec![0; length]).expect("the body");
        head
    }
}

#[test]
fn a_connection_outlives_refusals() {
    let place = Place::new();
    let company = place.setup("Acme");
    let serving = place.serve(&[]);
    let tokens = format!("/v1/companies/{}/tokens", company.id);
    let body = "x".repeat(2000);
    let head = |method: &str, path: &str, key: &str, more: &str| {
        format!(
            "{method} {path} HTTP/1.1\r\nHost: ledger\r\nAuthorization: Bearer {key}\r\n\
             Content-Type: application/json\r\n{more}\r\n"
        )
    };
    let length = format!("Content-Length: {}\r\n", body.len());
    let mut connection = Connection::to(&serving.base);
    for (method, path, key, status) in [
        ("POST", &*tokens, &*company.audit_key, "403"),
        ("POST", &*tokens, "tla_wrong", "401"),
        ("POST", "/v1/nothing", &company.admin_key, "404"),
        ("PUT", &*tokens, &company.admin_key, "405"),
        ("POST", &format!("{tokens}?colour=red"), &company.admin_key, "400"),
        ("POST", "/v1/verify", "tlk_wrong", "401"),
        ("POST", "/oauth/introspect", "tla_wrong", "401"),
        ("POST", "/oauth/introspect", &company.audit_key, "403"),
        ("POST", "/oauth/introspect", &company.introspect_key, "400"),
        ("PUT", "/oauth/introspect", &company.introspect_key, "405"),
    ] {
        for pause in [Duration::ZERO, Duration::from_millis(100)] {
            connection.send(head(method, path, key, &length).as_bytes());
            std::thread::sleep(pause);
            connection.send(body.as_bytes());
            let answer = connection.answer();
            assert!(answer.starts_with(&format!("http/1.1 {status}")), "{answer}");
            assert!(!answer.contains("connection: close"), "{answer}");
        }
    }

    // What is not sent unless it is asked for is not asked for.
    let too_large = "Content-Length: 65537\r\n";
    for (path, key, length, status) in [
        (&*tokens, &company.audit_key, &*length, "403"),
        (&*tokens, &company.admin_key, too_large, "413"),
    ] {
        let held_back = head("POST", path, key, &format!("{length}Expect: 100-continue\r\n"));
        let mut connection = Connection::to(&serving.base);
        connection.send(held_back.as_bytes());
        let answer = connection.answer();
        assert!(answer.starts_with(&format!("http/1.1 {status}")), "{answer}");
        assert!(answer.contains("connection: close"), "{answer}");
    }

    // What never comes is not waited for.
    let mut connection = Connection::to(&serving.base);
    connection.send(head("POST", &tokens, &company.audit_key, &length).as_bytes());
    let answer = connection.answer();
    assert!(answer.starts_with("http/1.1 403"), "{answer}");
    assert!(answer.contains("connection: close"), "{answer}");

    // Nor is much read of what nobody wants.
    let mut connection = Connection::to(&serving.base);
    let chunked = head("POST", &tokens, &company.audit_key, "Transfer-Encoding: chunked\r\n");
    connection.send(chunked.as_bytes());
    let chunk = format!("{:x}\r\n{}\r\n", 100_000, "x".repeat(100_000));
    for _ in 0..11 {
        connection.send(chunk.as_bytes());
    }
    let answer = connection.answer();
    assert!(answer.starts_with("http/1.1 403"), "{answer}");
    assert!(answer.contains("connection: close"), "{answer}");
    serving.stop();
}

#[test]
fn a_log_that_nobody_reads_any_more_stops_nothing() {
    let place = Place::new();
    place.setup("Acme");
    let mut serve = place.command(&["serve", "--listen", "127.0.0.1:0"]);
    let mut child = serve.stderr(Stdio::piped()).spawn().expect("the program can be run");
    let mut said = String::new();
    let mut log = BufReader::new(child.stderr.take().expect("stderr"));
    while !said.contains("listening on ") {
        assert_ne!(log.read_line(&mut said).expect("a line"), 0, "{said}");
    }
    drop(log);
    let (_, base) = said.rsplit_once("listening on http://").expect("an address");
    let mut stream = TcpStream::connect(base.trim()).expect("it listens");
    let asked = stream.write_all(b"GET /readyz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    let mut answer = String::new();
    let read = asked.and_then(|()| stream.read_to_string(&mut answer));
    child.kill().and_then(|()| child.wait()).expect("it is there");
    read.expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 "), "{answer}");
}
