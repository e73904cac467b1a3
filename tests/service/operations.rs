//! What whoever runs the service relies on: probes, metrics, projections, the API's description.

use crate::support::{Client, TestApp, service};
use axum::Router;
use axum::body::Body;
use axum::http::{Method, Request, StatusCode};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use token_ledger::http::access::Access;
use token_ledger::http::openapi::document;
use token_ledger::http::problem::Kind;
use token_ledger::http::{router, routes, verify};
use token_ledger_domain::Catalogue;
use tokio::sync::watch;
use tower::ServiceExt;

/// What hangs has failed: nothing here takes anywhere near as long.
async fn soon<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(30), work).await.expect("it takes too long")
}

#[tokio::test]
async fn a_service_that_works_says_so() {
    let app = TestApp::new().await;
    assert_eq!(app.nobody.get("/healthz").await.expect(200).text, "ok");
    let ready = app.nobody.get("/readyz").await.expect(200);
    assert_eq!(ready.body, json!({"ready": true}));
    assert!(!ready.header("x-request-id").is_empty());
}

/// Waits until what runs behind the log has come to its end.
async fn trails_are_up(app: &TestApp) {
    for head in app.app.store().heads().await.expect("heads") {
        for trail in app.app.behind() {
            let bound = Duration::from_secs(30);
            assert!(trail.reached(head.company, head.position, bound).await);
        }
    }
}

#[tokio::test]
async fn a_service_whose_clock_lags_behind_the_ledger_is_not_ready() {
    let app = TestApp::new().await;
    app.after(301);
    app.token("a").await;
    let app = app.restarted_after(1).await;
    trails_are_up(&app).await;
    app.nobody.get("/readyz").await.expect(200);
    app.token("b").await;
    let app = app.restarted_after(0).await;
    trails_are_up(&app).await;
    let ready = app.nobody.get("/readyz").await.expect(503);
    assert_eq!(ready.body["reasons"], json!(["the clock is 301 s behind the ledger"]));
    assert_eq!(ready.body["request_id"], ready.header("x-request-id"));
    let body = json!({"name": "c", "scopes": ["positions"]});
    app.admin.post(&app.path("/tokens")).json(&body).await.problem(503, "unavailable");
}

#[tokio::test]
async fn a_service_that_stops_is_not_ready() {
    let app = TestApp::new().await;
    let (stop, stopping) = watch::channel(false);
    let router = router(service(&app.app, stopping));
    assert_eq!(readiness(&router).await, (StatusCode::OK, Value::Null));
    stop.send(true).unwrap();
    let stopping = json!(["the service is stopping"]);
    assert_eq!(readiness(&router).await, (StatusCode::SERVICE_UNAVAILABLE, stopping));
}

/// What `/readyz` answers: the status, and the reasons if there are any.
async fn readiness(router: &Router) -> (StatusCode, Value) {
    let ask = Request::get("/readyz").header("host", "a").body(Body::empty()).unwrap();
    let answer = router.clone().oneshot(ask).await.unwrap();
    let status = answer.status();
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    let body: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(body["ready"], status == StatusCode::OK);
    (status, body["reasons"].clone())
}

#[tokio::test]
async fn a_job_that_is_lost_is_told() {
    let app = TestApp::new().await;
    let (_stop, stopping) = watch::channel(false);
    let router = router(service(&app.app, stopping));
    let job = tokio::spawn(async { panic!("for the test") });
    app.app.watch_jobs(&[tokio::spawn(std::future::pending()), job]);
    while !app.app.has_lost_job() {
        tokio::task::yield_now().await;
    }
    let (status, reasons) = readiness(&router).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(reasons.to_string().contains("a job has ended"), "{reasons}");
}

/// Damages an event, so that what reads it stands still.
fn damage(app: &TestApp, position: u64) {
    let company = "(SELECT company_id FROM companies WHERE name = 'Acme')";
    let damaged = "UPDATE events SET payload = '{}'";
    app.storage
        .tamper(&format!("{damaged} WHERE company_id = {company} AND position = {position}"));
}

#[tokio::test]
async fn a_projection_that_stands_still_is_told() {
    let app = TestApp::new().await;
    // The trail is begun anew from a damaged log.
    app.auditor.get(&app.path("/audit/events")).await.expect(200);
    damage(&app, 2);
    app.storage.tamper("DELETE FROM checkpoints");

    let (stop, stopping) = watch::channel(false);
    let tasks = app.app.start(&stopping);
    let runner = app.app.behind().pop().expect("a runner");
    soon(async {
        while runner.stopped().is_empty() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let ready = app.nobody.get("/readyz").await.expect(503);
    let reasons = ready.body["reasons"].to_string();
    assert!(reasons.contains("the projection audit stands still for 1 company"), "{reasons}");
    stop.send(true).unwrap();
    for task in tasks {
        soon(task).await.unwrap();
    }
}

#[tokio::test]
async fn a_projection_is_as_far_behind_as_the_oldest_event_that_it_lacks() {
    let app = TestApp::new().await;
    let (stop, stopping) = watch::channel(false);
    let tasks = app.app.start(&stopping);
    trails_are_up(&app).await;
    app.nobody.get("/readyz").await.expect(200);
    stop.send(true).unwrap();
    for task in tasks {
        soon(task).await.unwrap();
    }
    // Nothing takes these in any more.
    app.token("oldest").await;
    app.after(4);
    app.token("older").await;
    app.operator.post("/v1/companies").json(&json!({"name": "Other"})).await.expect(201);
    app.nobody.get("/readyz").await.expect(200);
    app.after(12);
    let ready = app.nobody.get("/readyz").await.expect(503);
    let behind =
        ["the audit trail is 12 s behind the ledger", "the tree is 12 s behind the ledger"];
    assert_eq!(ready.body["reasons"], json!(behind));
}

#[tokio::test]
async fn every_metric_says_what_it_is() {
    let app = TestApp::new().await;
    app.token("reader").await;
    app.nobody.with("bad").get("/v1/verify").await.expect(401);
    app.nobody.with("bad").get(&app.path("/tokens")).await.expect(401);
    app.auditor.post(&app.path("/tokens")).json(&json!({})).await.expect(403);
    let sign_in = app.nobody.post("/console/sign-in").header("sec-fetch-site", "same-origin");
    let typed = "email=ada%40example.com&password=wrong+horse+battery";
    sign_in.text("application/x-www-form-urlencoded", typed).await.expect(401);
    let text = app.nobody.get("/metrics").await.expect(200).text;
    let about = |what: &str| -> BTreeSet<&str> {
        let lines = text.lines().filter_map(|line| line.strip_prefix(what));
        lines.filter_map(|line| line.split_once(' ').map(|(name, _)| name)).collect()
    };
    let (described, typed) = (about("# HELP "), about("# TYPE "));
    let served = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let mut names = BTreeSet::new();
    for line in served {
        let name = line.split(['{', ' ']).next().expect("a name");
        let parts = ["_bucket", "_sum", "_count"].map(|part| name.strip_suffix(part));
        let whole = parts.into_iter().flatten().find(|whole| typed.contains(whole));
        names.insert(whole.unwrap_or(name));
    }
    for name in [
        "token_ledger_attempts_total",
        "token_ledger_failed_attempts_total",
        "http_request_duration_seconds",
        "token_ledger_passwords_hashed_total",
        "token_ledger_verifications_total",
    ] {
        assert!(names.contains(name), "{name}: {names:?}");
    }
    assert_eq!(names.difference(&described).next(), None);
    assert_eq!(names.difference(&typed).next(), None);
}

#[tokio::test]
async fn what_has_not_happened_yet_is_counted_too() {
    let app = TestApp::new().await;
    let text = app.nobody.get("/metrics").await.expect(200).text;
    for line in [
        "token_ledger_attempts_total{kind=\"export\"} ",
        "token_ledger_attempts_dropped_total{kind=\"denied\"} ",
        "token_ledger_connections_refused_total ",
        "token_ledger_failed_attempts_total{kind=\"client\",outcome=\"throttled\"} ",
        "token_ledger_failed_attempts_total{kind=\"key\",outcome=\"counted\"} ",
        "token_ledger_failed_attempts_total{kind=\"sign_in\",outcome=\"throttled\"} ",
        "token_ledger_passwords_hashed_total ",
        "token_ledger_request_heads_refused_total ",
        "token_ledger_tls_handshakes_failed_total{reason=\"plain_http\"} ",
        "token_ledger_tls_reloads_total{outcome=\"refused\"} ",
    ] {
        assert!(text.contains(&format!("\n{line}")), "{line} is missing: {text}");
    }
}

#[tokio::test]
async fn metrics_count_and_hold_no_secret() {
    let app = TestApp::new().await;
    let token = app.token("reader").await;
    let secret = token["token"].as_str().unwrap();
    app.nobody.with(secret).get("/v1/verify").await.expect(200);
    app.nobody.with("bad").get("/v1/verify").await.expect(401);
    app.nobody.with(secret).get("/v1/verify?scope=x").await.expect(403);
    let answer = app.nobody.get("/metrics").await.expect(200);
    assert!(answer.header("content-type").starts_with("text/plain; version=0.0.4"));
    for line in [
        "token_ledger_verifications_total{endpoint=\"verify\",outcome=\"active\"} ",
        "token_ledger_verifications_total{endpoint=\"verify\",outcome=\"invalid_token\"} ",
        "token_ledger_verifications_total{endpoint=\"verify\",outcome=\"insufficient_scope\"} ",
        "token_ledger_verifications_total{endpoint=\"verify\",outcome=\"unknown\"} ",
        "token_ledger_verification_index_secrets ",
        "token_ledger_companies ",
        "token_ledger_events ",
        "token_ledger_projection_behind_events{projection=\"audit\"} ",
        "token_ledger_projection_behind_events{projection=\"tree\"} ",
        "token_ledger_projection_stopped_companies{projection=\"audit\"} ",
        "http_request_duration_seconds_bucket{",
    ] {
        assert!(answer.text.contains(&format!("\n{line}")), "{line} is missing");
    }
    assert!(answer.text.contains("route=\"/v1/companies/{company_id}/tokens\""));
    for hidden in [secret, token["token_id"].as_str().unwrap(), &app.company.to_string()] {
        assert!(!answer.text.contains(hidden));
    }
}

#[tokio::test]
async fn every_kind_of_problem_has_its_page() {
    let app = TestApp::new().await;
    let index = app.nobody.get("/problems").await.expect(200).text;
    for kind in Kind::ALL {
        let path = format!("/problems/{}", kind.slug());
        let page = app.nobody.get(&path).await.expect(200);
        assert!(page.header("content-type").starts_with("text/html"));
        assert!(page.text.contains(&kind.title().replace('\'', "&#39;")), "{path}");
        assert!(index.contains(&path));
        assert_own_page(&page.text, page.header("content-security-policy"));
    }
    app.nobody.get("/problems/unheard-of").await.problem(404, "not-found");
}

/// The page loads nothing from elsewhere and runs nothing.
fn assert_own_page(html: &str, policy: &str) {
    assert!(!html.contains("<script") && !html.contains("style=\"") && !html.contains("<style"));
    for attribute in ["src=\"", "href=\""] {
        for (place, _) in html.match_indices(attribute) {
            let target = &html[place + attribute.len()..];
            assert!(target.starts_with('/') || target.starts_with('#'), "{}", &target[..30]);
            assert!(!target.starts_with("//"));
        }
    }
    assert!(policy.starts_with("default-src 'none'; style-src 'self'"), "{policy}");
    assert!(!policy.contains("unsafe"));
}

/// Method and path of every operation that the document describes.
fn described(document: &Value) -> BTreeSet<(String, String)> {
    let paths = document["paths"].as_object().expect("paths");
    let operations = paths.iter().flat_map(|(path, item)| {
        let methods = item.as_object().expect("operations").keys();
        methods.map(move |method| (method.to_uppercase(), path.clone()))
    });
    operations.collect()
}

#[tokio::test]
async fn every_route_is_described_and_everything_described_is_a_route() {
    let app = TestApp::new().await;
    let served = app.nobody.get("/openapi.json").await.expect(200).body;
    assert_eq!(served, document(&Catalogue::default()));
    let own = routes(app.service.clone());
    let own = own.list().iter().map(|(method, path, _)| (method.clone(), *path));
    let all: BTreeSet<(String, String)> = own
        .chain(verify::ROUTES)
        .map(|(method, path)| (method.to_string(), path.replace("{*", "{")))
        .collect();
    assert_eq!(described(&served), all);
}

#[tokio::test]
async fn the_description_is_complete_in_itself() {
    let document = document(&Catalogue::default());
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
    assert_eq!(document["info"]["title"], "Token Ledger");
    let mut ids = BTreeSet::new();
    let tags: BTreeSet<&str> = document["tags"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|tag| tag["name"].as_str())
        .collect();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let id = operation["operationId"].as_str().expect("an id");
            assert!(ids.insert(id), "{id} names two operations");
            assert!(operation["summary"].is_string(), "{method} {path} says nothing");
            assert!(
                tags.contains(operation["tags"][0].as_str().expect("a tag")),
                "{method} {path}"
            );
            let named: Vec<&str> = operation["parameters"]
                .as_array()
                .into_iter()
                .flatten()
                .filter(|parameter| parameter["in"] == "path")
                .filter_map(|parameter| parameter["name"].as_str())
                .collect();
            for part in path.split('/').filter_map(|part| part.strip_prefix('{')) {
                let name = part.trim_end_matches('}');
                assert!(named.contains(&name), "{method} {path}: {name} is not described");
            }
        }
    }
    let text = document.to_string();
    let schemas = document["components"]["schemas"].as_object().unwrap();
    for (place, start) in text.match_indices("\"#/components/schemas/") {
        let name = text[place + start.len()..].split('"').next().unwrap();
        assert!(schemas.contains_key(name), "{name} is not described");
    }
}

#[tokio::test]
async fn a_reason_in_a_query_is_described_as_one_in_a_body_that_is_not_empty() {
    let document = document(&Catalogue::default());
    let reason = json!({"$ref": "#/components/schemas/Reason", "minLength": 1});
    let paths = document["paths"].as_object().unwrap();
    let mut found = BTreeSet::new();
    for operation in paths.values().flat_map(|item| item.as_object().unwrap().values()) {
        let parameters = operation["parameters"].as_array().into_iter().flatten();
        for parameter in parameters.filter(|parameter| parameter["name"] == "reason") {
            let id = operation["operationId"].as_str().unwrap();
            assert_eq!(parameter["schema"], reason, "{id}");
            found.insert(id);
        }
    }
    let expected = ["delete_client", "delete_key", "delete_token", "remove_member"];
    assert_eq!(found, BTreeSet::from(expected));
}

#[tokio::test]
async fn what_is_public_is_described_as_public_and_nothing_else() {
    let app = TestApp::new().await;
    let document = document(&Catalogue::default());
    for (method, path, access) in routes(app.service.clone()).list() {
        let path = path.replace("{*", "{");
        let operation = &document["paths"][&path][method.as_str().to_lowercase()];
        let security = operation.get("security").unwrap_or(&document["security"]);
        let expected = match access {
            Access::Public => json!([{}]),
            Access::Client => json!([{"client": []}, {}]),
            Access::Log => json!([{"key": []}, {}]),
            Access::Key | Access::Power(_) => json!([{"key": []}]),
        };
        assert_eq!(*security, expected, "{method} {path}");
    }
}

#[tokio::test]
async fn the_description_can_be_read_by_people() {
    let app = TestApp::new().await;
    let page = app.nobody.get("/docs").await.expect(200);
    assert!(page.header("content-type").starts_with("text/html"));
    for (_, path) in described(&document(&Catalogue::default())) {
        assert!(page.text.contains(&format!("<span class=\"path\">{path}</span>")), "{path}");
    }
    let (_, creation) = page.text.split_once("id=\"schema-NewTokenRequest\"").expect("a schema");
    let (creation, _) = creation.split_once("</section>").expect("its end");
    let row = |field: &str| {
        let begin = format!("<tr><td><code>{field}</code></td>");
        creation.lines().find(|line| line.starts_with(&begin)).expect("a row")
    };
    assert!(row("scopes").contains(", required</td>"), "{creation}");
    assert!(!row("reason").contains(", required"), "{creation}");
    assert_own_page(&page.text, page.header("content-security-policy"));
    let style = app.nobody.get("/docs/style.css").await.expect(200);
    assert!(style.header("content-type").starts_with("text/css"));
    assert!(!style.text.contains("url("));
}

#[tokio::test]
async fn operators_see_how_the_projections_are_doing() {
    let app = TestApp::new().await;
    app.auditor.get(&app.path("/audit/events")).await.expect(200);
    let listed = app.operator.get("/v1/projections").await.expect(200);
    assert_eq!(listed.names(), ["companies", "members", "clients", "keys", "tokens", "audit"]);
    assert_eq!(listed.body["next_cursor"], Value::Null);
    let tokens = &listed.body["items"][4];
    assert_eq!(
        *tokens,
        json!({
            "name": "tokens", "version": 1, "state": "inline", "behind": 0,
            "companies_stopped": []
        })
    );
    assert_eq!(listed.body["items"][5]["state"], "running");
    app.admin.get("/v1/projections").await.problem(403, "forbidden");
    app.nobody.get("/v1/projections").await.problem(401, "unauthorized");
}

/// The rebuild's last word.
async fn finished(operator: &Client, name: &str) -> Value {
    soon(async {
        loop {
            let path = format!("/v1/projections/{name}/rebuild");
            let progress = operator.get(&path).await.expect(200).body;
            if progress["state"] != "running" {
                return progress;
            }
            tokio::task::yield_now().await;
        }
    })
    .await
}

#[tokio::test]
async fn a_rebuild_puts_right_what_differs() {
    let app = TestApp::new().await;
    let token = app.token("reader").await;
    app.storage.tamper("UPDATE tokens SET name = 'other'");
    let path = app.token_path(&token);
    assert_eq!(app.auditor.get(&path).await.expect(200).body["name"], "other");

    let begun = app.operator.post("/v1/projections/tokens/rebuild").await.expect(202);
    assert_eq!(begun.header("location"), "/v1/projections/tokens/rebuild");
    assert_eq!(begun.body["projection"], "tokens");
    assert_eq!(begun.body["state"], "running");
    let progress = finished(&app.operator, "tokens").await;
    assert_eq!(progress["rebuild_id"], begun.body["rebuild_id"]);
    assert_eq!(progress["state"], "done");
    assert_eq!(progress["differences"], 1);
    assert_eq!(progress["events"], progress["total_events"]);
    assert!(progress["events"].as_u64().unwrap() > 0);
    assert!(progress["started_at"].is_string() && progress["finished_at"].is_string());
    assert_eq!(app.auditor.get(&path).await.expect(200).body["name"], "reader");

    app.operator.post("/v1/projections/all/rebuild").await.expect(202);
    let all = finished(&app.operator, "all").await;
    assert_eq!((&all["state"], &all["differences"]), (&json!("done"), &json!(0)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rebuild_under_way_stops_no_projection_that_follows_the_log() {
    const REBUILDS: i64 = 8;
    let app = Arc::new(TestApp::new().await);
    let (stop, stopped) = watch::channel(false);
    let writers: Vec<_> = (0..4)
        .map(|_| {
            let (app, stopped) = (Arc::clone(&app), stopped.clone());
            tokio::spawn(async move {
                while !*stopped.borrow() {
                    app.token("meanwhile").await;
                }
            })
        })
        .collect();
    for second in 0..REBUILDS {
        app.after(second);
        app.operator.post("/v1/projections/audit/rebuild").await.expect(202);
        let ended = finished(&app.operator, "audit").await;
        assert_eq!((&ended["state"], &ended["differences"]), (&json!("done"), &json!(0)));
        let listed = app.operator.get("/v1/projections").await.expect(200).body;
        let audit = &listed["items"][5];
        assert_eq!((&audit["name"], &audit["companies_stopped"]), (&json!("audit"), &json!([])));
    }
    stop.send_replace(true);
    for writer in writers {
        writer.await.expect("it writes to the end");
    }
}

#[tokio::test]
async fn one_rebuild_runs_at_a_time() {
    let app = TestApp::new().await;
    app.operator.post("/v1/projections/tokens/rebuild").await.expect(202);
    finished(&app.operator, "tokens").await;
    app.storage.tamper("UPDATE operations SET state = 'running', finished_at = NULL");
    let listed = app.operator.get("/v1/projections").await.expect(200).body;
    let state = |name: &str| {
        let items = listed["items"].as_array().expect("a list");
        items.iter().find(|item| item["name"] == name).expect("it is listed")["state"].clone()
    };
    assert_eq!((state("tokens"), state("keys")), (json!("rebuilding"), json!("inline")));
    let second = app.operator.post("/v1/projections/all/rebuild").await.problem(409, "contended");
    let detail = second.body["detail"].as_str().expect("a detail");
    assert!(detail.contains("GET /v1/projections/tokens/rebuild"), "{detail}");
    app.storage.tamper("UPDATE operations SET state = 'failed', finished_at = started_at");
    assert_eq!(finished(&app.operator, "tokens").await["state"], "failed");
    app.operator.post("/v1/projections/audit/rebuild").await.expect(202);
    finished(&app.operator, "audit").await;
}

#[tokio::test]
async fn a_repeated_rebuild_with_the_same_key_is_the_same() {
    let app = TestApp::new().await;
    let call = || {
        let call = app.operator.post("/v1/projections/keys/rebuild");
        call.header("idempotency-key", "once")
    };
    let first = call().await.expect(202);
    finished(&app.operator, "keys").await;
    app.operator.post("/v1/projections/keys/rebuild").await.expect(202);
    finished(&app.operator, "keys").await;
    let second = call().await.expect(202);
    assert_eq!(first.body, second.body, "as the first did, however far it has come");
    assert_eq!(second.header("idempotent-replay"), "true");
}

#[tokio::test]
async fn what_can_not_be_rebuilt_is_refused() {
    let app = TestApp::new().await;
    app.operator.post("/v1/projections/sessions/rebuild").await.problem(404, "not-found");
    app.operator.get("/v1/projections/tokens/rebuild").await.problem(404, "not-found");
    app.admin.post("/v1/projections/tokens/rebuild").await.problem(403, "forbidden");
    let body = json!({"company": "x"});
    let call = app.operator.post("/v1/projections/tokens/rebuild").json(&body);
    call.await.invalid(&["company"]);
    app.operator.call(Method::PUT, "/v1/projections").await.problem(405, "method-not-allowed");
}
