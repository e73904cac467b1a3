//! The audit trail: lists, histories, exports and the live stream.

use crate::support::{Answered, Client, TestApp, at, key, service};
use axum::Router;
use axum::body::Body;
use axum::http::{Request, header};
use axum::response::Response;
use http_body_util::BodyExt;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::future::Future;
use std::time::Duration;
use token_ledger::app::Caller;
use token_ledger::app::audit::{AuditFilter, AuditPage, ExportFormat};
use token_ledger::http::router;
use token_ledger_domain::token::{Create, Token, TokenCommand};
use token_ledger_domain::{CompanyId, Name, Power, Secret, Timestamp, TokenId};
use token_ledger_event_store::{Context, Request as LedgerRequest};
use tokio::sync::watch;
use tower::ServiceExt;

/// What hangs has failed: nothing here takes anywhere near as long.
async fn soon<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(30), work).await.expect("it takes too long")
}

async fn events(app: &TestApp, query: &str) -> Answered {
    app.auditor.get(&app.path(&format!("/audit/events{query}"))).await
}

fn positions(answer: &Answered) -> Vec<u64> {
    let items = answer.body["items"].as_array().expect("a list");
    items.iter().map(|item| item["position"].as_u64().expect("a position")).collect()
}

fn types(answer: &Answered) -> Vec<&str> {
    let items = answer.body["items"].as_array().expect("a list");
    items.iter().map(|item| item["type"].as_str().expect("a type")).collect()
}

async fn head(app: &TestApp) -> u64 {
    app.app.head(app.company).await.expect("a head")
}

#[tokio::test]
async fn the_trail_holds_everything_newest_first() {
    let app = TestApp::new().await;
    let token = app.token("reader").await;
    app.admin.delete(&format!("{}?reason=leaked", app.token_path(&token))).await.expect(204);
    let answer = events(&app, "").await.expect(200);
    let head = head(&app).await;
    assert_eq!(positions(&answer), (1..=head).rev().collect::<Vec<_>>());
    let newest = &answer.body["items"][0];
    assert_eq!(newest["type"], "token.deleted");
    assert_eq!(newest["company_id"], app.company.to_string());
    assert_eq!(newest["token_id"], token["token_id"]);
    assert_eq!(newest["aggregate"], json!({"type": "token", "id": token["token_id"]}));
    assert_eq!(newest["sequence"], 2);
    assert_eq!(newest["schema_version"], 1);
    assert_eq!(newest["recorded_at"], at(0).to_string());
    assert_eq!(newest["actor"]["type"], "key");
    assert_eq!(newest["actor"]["name"], "ledger.admin");
    assert_eq!(newest["context"]["reason"], "leaked");
    assert_eq!(newest["context"]["ip"], "192.0.2.7");
    assert_eq!(newest["context"]["user_agent"], "tests/1");
    assert!(newest["context"]["request_id"].is_string());
    let first = &answer.body["items"][usize::try_from(head).unwrap() - 1];
    assert_eq!(first["type"], "company.registered");
    assert_eq!(first["token_id"], Value::Null);
    let oldest_first = events(&app, "?order=asc").await.expect(200);
    assert_eq!(positions(&oldest_first), (1..=head).collect::<Vec<_>>());
}

#[tokio::test]
async fn what_a_program_calls_itself_is_kept_in_any_script() {
    let app = TestApp::new().await;
    let body = json!({"name": "reader", "scopes": ["positions"]});
    for name in ["Zürich-App/1.0", "给薪/2"] {
        let call = app.admin.post(&app.path("/tokens")).program(name).json(&body);
        call.await.expect(201);
        let answer = events(&app, "?limit=1").await.expect(200);
        assert_eq!(answer.body["items"][0]["context"]["user_agent"], name);
    }
}

#[tokio::test]
async fn a_program_is_found_by_its_name_as_it_is_written() {
    let app = TestApp::new().await;
    let body = json!({"name": "Ärzte-Sync", "scopes": ["ledger.audit"]});
    app.admin.post(&app.path("/keys")).json(&body).await.expect(201);
    let caller = Caller::command_line(app.company);
    for typed in [" Ärzte-Sync ", "rzte-sYNC"] {
        let found = app.app.find_actors(&caller, typed, 9).await.expect("an answer");
        let names: Vec<String> = found.into_iter().map(|actor| actor.name).collect();
        assert_eq!(names, ["Ärzte-Sync"], "{typed}");
    }
    let found = app.app.find_actors(&caller, "TOKEN ledger", 9).await.expect("an answer");
    assert_eq!(found.len(), 1, "the service's own name");
}

#[tokio::test]
async fn what_was_just_committed_is_in_the_next_answer() {
    let app = TestApp::new().await;
    for round in 0..20 {
        let token = app.token(&format!("token {round}")).await;
        let answer = events(&app, "?limit=1").await.expect(200);
        assert_eq!(answer.body["items"][0]["token_id"], token["token_id"]);
    }
}

#[tokio::test]
async fn nothing_comes_before_the_first_event() {
    let app = TestApp::new().await;
    let filter = AuditFilter::default();
    for (after, expected) in [(Some(0), 0), (Some(1), 0), (Some(2), 1), (None, 2)] {
        let page = AuditPage { descending: true, after, limit: 2 };
        let listed = app.app.audit_page(app.company, &filter, page).await.expect("a page");
        assert_eq!(listed.items.len(), expected, "before {after:?}");
    }
}

#[tokio::test]
async fn filters_narrow_the_trail() {
    let app = TestApp::new().await;
    let one = app.token("one").await;
    app.after(10);
    let two = app.token("two").await;
    app.after(20);
    app.admin.delete(&app.token_path(&one)).await.expect(204);
    app.after(30);
    app.admin.delete(&app.token_path(&two)).await.expect(204);

    let id = one["token_id"].as_str().unwrap();
    let of_one = events(&app, &format!("?token_id={id}")).await.expect(200);
    assert_eq!(types(&of_one), ["token.deleted", "token.created"]);
    let deleted = events(&app, &format!("?token_id={id}&type=token.deleted")).await.expect(200);
    assert_eq!(types(&deleted), ["token.deleted"]);
    let both = events(&app, "?type=token.deleted&type=token.created").await.expect(200);
    assert_eq!(types(&both), ["token.deleted", "token.deleted", "token.created", "token.created"]);
    let actor = both.body["items"][0]["actor"]["id"].as_str().unwrap().to_owned();
    let by_admin = events(&app, &format!("?actor_id={actor}&type=token.created")).await;
    assert_eq!(types(&by_admin.expect(200)), ["token.created", "token.created"]);
    let by_nobody = events(&app, &format!("?actor_id={id}")).await.expect(200);
    assert_eq!(by_nobody.body, json!({"items": [], "next_cursor": null}));

    let window = format!("?from={}&to={}", at(10), at(30));
    let window = events(&app, &window).await.expect(200);
    assert_eq!(types(&window), ["token.deleted", "token.created"], "from counts, to doesn't");
    let finer = |time: i64| at(time).to_string().replace('Z', "001Z");
    let window = events(&app, &format!("?from={}&to={}", finer(10), finer(30))).await.expect(200);
    assert_eq!(types(&window), ["token.deleted", "token.deleted"], "as if a nanosecond counted");
    let empty = events(&app, &format!("?from={}&to={}", at(10), at(10))).await.expect(200);
    assert_eq!(positions(&empty), [0; 0]);
    let before = events(&app, &format!("?to={}", at(-1))).await.expect(200);
    assert_eq!(positions(&before), [0; 0]);
    let later = events(&app, &format!("?from={}", at(31))).await.expect(200);
    assert_eq!(positions(&later), [0; 0]);
}

#[tokio::test]
async fn what_can_not_be_meant_is_refused() {
    let app = TestApp::new().await;
    events(&app, "?type=token.made").await.invalid(&["type"]);
    events(&app, &format!("?from={}&to={}", at(1), at(0))).await.invalid(&["from"]);
    events(&app, "?from=yesterday&to=tomorrow").await.invalid(&["from", "to"]);
    events(&app, "?token_id=x").await.invalid(&["token_id"]);
    events(&app, "?order=up").await.invalid(&["order"]);
    events(&app, "?limit=0").await.invalid(&["limit"]);
    events(&app, "?limit=1001").await.invalid(&["limit"]);
    events(&app, "?cursor=x").await.invalid(&["cursor"]);
    events(&app, "?page=2").await.invalid(&["page"]);
}

#[tokio::test]
async fn pages_follow_one_another_in_both_orders() {
    let app = TestApp::new().await;
    for name in ["one", "two", "three", "four"] {
        app.token(name).await;
    }
    for order in ["asc", "desc"] {
        let begin = head(&app).await;
        let (mut seen, mut cursor) = (Vec::new(), String::new());
        loop {
            let query = format!("?order={order}&limit=2{cursor}");
            let page = events(&app, &query).await.expect(200);
            seen.extend(positions(&page));
            let Some(next) = page.body["next_cursor"].as_str() else { break };
            cursor = format!("&cursor={next}");
            app.token("meanwhile").await;
        }
        let end = head(&app).await;
        assert!(end > begin);
        let expected: Vec<u64> =
            if order == "asc" { (1..=end).collect() } else { (1..=begin).rev().collect() };
        assert_eq!(seen, expected, "{order}");
    }
}

#[tokio::test]
async fn a_cursor_belongs_to_its_parameters() {
    let app = TestApp::new().await;
    app.token("one").await;
    let page = events(&app, "?limit=1").await.expect(200);
    let next = page.body["next_cursor"].as_str().expect("a cursor").to_owned();
    events(&app, &format!("?limit=5&cursor={next}")).await.expect(200);
    for other in ["order=asc", "type=token.created", &format!("from={}", at(0))] {
        events(&app, &format!("?{other}&cursor={next}")).await.invalid(&["cursor"]);
    }
    let (other, admin) = app.another_company("Globex").await;
    let path = format!("/v1/companies/{other}/audit/events?cursor={next}");
    admin.get(&path).await.invalid(&["cursor"]);
}

#[tokio::test]
async fn the_trail_is_for_those_who_may_audit() {
    let app = TestApp::new().await;
    let token = app.token("reader").await;
    let (_, stranger) = app.another_company("Globex").await;
    let history = format!("{}/history", app.token_path(&token));
    for below in ["/audit/events", "/audit/export", "/audit/stream"] {
        check_access(&app, &stranger, &app.path(below)).await;
    }
    check_access(&app, &stranger, &history).await;
    app.admin.get("/v1/audit/events").await.problem(403, "forbidden");
    let nowhere = format!("/v1/companies/{}/audit/events", app.app.new_id());
    app.operator.get(&nowhere).await.problem(404, "not-found");
}

async fn check_access(app: &TestApp, stranger: &Client, path: &str) {
    app.nobody.get(path).await.problem(401, "unauthorized");
    app.resource_server.get(path).await.problem(403, "forbidden");
    stranger.get(path).await.problem(404, "not-found");
}

#[tokio::test]
async fn operators_see_all_companies_newest_first() {
    let app = TestApp::new().await;
    let (other, admin) = app.another_company("Globex").await;
    let create = json!({"name": "theirs", "scopes": ["positions"]});
    for round in 1..=5 {
        app.after(round * 10);
        app.token("ours").await;
        app.after(round * 10 + 5);
        admin.post(&format!("/v1/companies/{other}/tokens")).json(&create).await.expect(201);
    }
    // The trail across companies is best effort: wait for each company's own.
    events(&app, "").await.expect(200);
    admin.get(&format!("/v1/companies/{other}/audit/events")).await.expect(200);

    let mut expected = BTreeSet::new();
    for company in [CompanyId::PLATFORM, app.company, other] {
        for event in app.app.store().read(company, 0, 1000).await.unwrap() {
            expected.insert((company.to_string(), event.position));
        }
    }
    let (mut seen, mut times, mut cursor) = (Vec::new(), Vec::new(), String::new());
    loop {
        let page = app.operator.get(&format!("/v1/audit/events?limit=3{cursor}")).await.expect(200);
        for item in page.body["items"].as_array().unwrap() {
            let company = item["company_id"].as_str().unwrap().to_owned();
            seen.push((company, item["position"].as_u64().unwrap()));
            times.push(item["recorded_at"].as_str().unwrap().parse::<Timestamp>().unwrap());
        }
        let Some(next) = page.body["next_cursor"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    assert_eq!(seen.len(), expected.len(), "none is doubled");
    assert_eq!(seen.into_iter().collect::<BTreeSet<_>>(), expected, "none is missed");
    assert!(times.is_sorted_by(|one, two| one >= two));
    let created = app.operator.get("/v1/audit/events?type=token.created&limit=1000").await;
    assert_eq!(types(&created.expect(200)), ["token.created"; 10]);
    let token = app.token("one of many").await;
    app.admin.delete(&app.token_path(&token)).await.expect(204);
    let of_one = format!("/v1/audit/events?token_id={}", token["token_id"].as_str().unwrap());
    let found = app.operator.get(&format!("{of_one}&order=desc")).await.expect(200);
    assert_eq!(types(&found), ["token.deleted", "token.created"]);
    app.operator.get(&format!("{of_one}&order=asc")).await.invalid(&["order"]);
}

#[tokio::test]
async fn a_token_has_its_history_oldest_first() {
    let app = TestApp::new().await;
    let token = app.token("reader").await;
    let path = app.token_path(&token);
    app.admin.post(&format!("{path}/refresh")).await.expect(200);
    app.token("another").await;
    app.admin.patch(&path).json(&json!({"scopes": ["employees"]})).await.expect(200);
    app.admin.delete(&path).await.expect(204);

    let history = format!("{path}/history");
    let whole = app.auditor.get(&history).await.expect(200);
    let all = ["token.created", "token.refreshed", "token.scopes_changed", "token.deleted"];
    assert_eq!(types(&whole), all);
    assert_eq!(whole.body["next_cursor"], Value::Null);
    let first = app.auditor.get(&format!("{history}?limit=3")).await.expect(200);
    assert_eq!(types(&first), all[..3]);
    let next = first.body["next_cursor"].as_str().expect("a cursor");
    let rest = app.auditor.get(&format!("{history}?limit=3&cursor={next}")).await.expect(200);
    assert_eq!(types(&rest), all[3..]);
    assert_eq!(rest.body["next_cursor"], Value::Null);

    let unknown = app.path(&format!("/tokens/{}/history", app.app.new_id()));
    app.auditor.get(&unknown).await.problem(404, "not-found");
    let (other, admin) = app.another_company("Globex").await;
    let id = token["token_id"].as_str().unwrap();
    let theirs = format!("/v1/companies/{other}/tokens/{id}/history");
    admin.get(&theirs).await.problem(404, "not-found");
}

#[tokio::test]
async fn no_secret_is_in_the_trail() {
    let app = TestApp::new().await;
    let token = app.token("reader").await;
    let path = format!("{}/refresh", app.token_path(&token));
    let refreshed = app.admin.post(&path).await.expect(200).body;
    let listed = events(&app, "?limit=1000").await.expect(200).text;
    let exported = app.auditor.get(&app.path("/audit/export")).await.expect(200).text;
    for secret in [&token["token"], &refreshed["token"]] {
        let secret = secret.as_str().unwrap();
        assert!(!listed.contains(secret) && !exported.contains(secret));
    }
}

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

#[tokio::test]
async fn an_export_holds_every_event_and_says_how_many() {
    let app = TestApp::new().await;
    for name in ["one", "two"] {
        app.token(name).await;
    }
    let head = head(&app).await;
    let answer = app.auditor.get(&app.path("/audit/export")).await.expect(200);
    assert_eq!(answer.header("content-type"), "application/x-ndjson");
    assert!(answer.header("content-disposition").starts_with("attachment; filename=\"audit-"));
    let mut lines = lines(&answer.text);
    assert_eq!(lines.pop(), Some(json!({"export": {"count": head, "last_position": head}})));
    let listed = events(&app, "?order=asc").await.expect(200);
    assert_eq!(Value::Array(lines), listed.body["items"]);
}

#[tokio::test]
async fn an_export_can_be_narrowed_like_a_list() {
    let app = TestApp::new().await;
    let one = app.token("one").await;
    app.after(10);
    app.token("two").await;
    app.after(20);
    app.admin.delete(&app.token_path(&one)).await.expect(204);
    let id = one["token_id"].as_str().unwrap();
    for query in [
        String::new(),
        format!("token_id={id}"),
        "type=token.created&type=token.deleted".to_owned(),
        format!("from={}&to={}", at(10), at(20)),
        format!("actor_id={}", app.app.new_id()),
        format!("from={}", at(21)),
    ] {
        let list = events(&app, &format!("?order=asc&{query}")).await.expect(200);
        let path = app.path(&format!("/audit/export?{query}"));
        let mut lines = lines(&app.auditor.get(&path).await.expect(200).text);
        let end = lines.pop().expect("an end");
        assert_eq!(end["export"]["count"], lines.len(), "{query}");
        assert_eq!(Value::Array(lines), list.body["items"], "{query}");
    }
    for (query, field) in [("format=xml", "format"), ("type=x", "type"), ("limit=1", "limit")] {
        app.auditor.get(&app.path(&format!("/audit/export?{query}"))).await.invalid(&[field]);
    }
}

#[tokio::test]
async fn csv_has_a_header_and_no_cell_that_a_spreadsheet_would_run() {
    let app = TestApp::new().await;
    let token = app.token("=HYPERLINK(\"x\")").await;
    let body = json!({"scopes": ["employees"], "reason": "=1+1, \"quoted\"\nand more"});
    app.admin.patch(&app.token_path(&token)).json(&body).await.expect(200);
    app.admin.delete(&format!("{}?reason=%2B1", app.token_path(&token))).await.expect(204);

    let answer = app.auditor.get(&app.path("/audit/export?format=csv")).await.expect(200);
    assert!(answer.header("content-type").starts_with("text/csv"));
    let mut reader = csv::Reader::from_reader(answer.text.as_bytes());
    let headers = reader.headers().expect("a header").clone();
    let column = |name: &str| headers.iter().position(|header| header == name).expect("a column");
    let rows: Vec<csv::StringRecord> = reader.records().map(|row| row.expect("a row")).collect();
    assert_eq!(rows.len() as u64, head(&app).await);
    for row in &rows {
        for cell in row {
            assert!(!cell.starts_with(['=', '+', '-', '@', '\t', '\r', '\n']), "{cell:?}");
        }
    }
    let [.., changed, deleted] = &rows[..] else { panic!("rows") };
    assert_eq!(&changed[column("type")], "token.scopes_changed");
    assert_eq!(&changed[column("reason")], "'=1+1, \"quoted\"\nand more");
    assert_eq!(&deleted[column("reason")], "'+1");
    assert_eq!(&deleted[column("token_id")], token["token_id"].as_str().unwrap());
    let data: Value = serde_json::from_str(&changed[column("data")]).expect("JSON");
    assert_eq!(data["added"], json!(["employees"]));
}

/// Appends that many tokens to the company's ledger, in few transactions.
async fn fill(app: &TestApp, tokens: usize) {
    let requests: Vec<_> = (0..tokens)
        .map(|_| {
            let secret = Secret::from_random("tlk_", app.app.ledger.entropy().bits256());
            let create = Create {
                name: Name::new("one of many").expect("a name"),
                scopes: "positions".parse().expect("scopes"),
                secret: secret.stored(),
                validity_seconds: None,
                client_id: None,
            };
            LedgerRequest::new(app.app.new_id(), TokenCommand::Create(create))
        })
        .collect();
    for requests in requests.chunks(500) {
        let ledger = &app.app.ledger;
        let context = Context::system();
        let done =
            ledger.execute_many::<Token>(app.company, Power::Operator, &context, requests).await;
        assert!(done.expect("a store").into_iter().all(|done| done.expect("created")));
    }
}

/// The answer with its body unread.
async fn open(router: Router, client: &Client, path: &str) -> Response {
    let key = client.key.as_deref().expect("a key");
    let request = Request::get(path)
        .header(header::HOST, "localhost")
        .header(header::AUTHORIZATION, format!("Bearer {key}"));
    router.oneshot(request.body(Body::empty()).expect("a request")).await.expect("an answer")
}

/// Events of a company before its first token: its beginning and its keys.
const BEFORE: u64 = 5;

#[tokio::test]
async fn an_export_goes_page_by_page_and_ends_where_the_ledger_ended() {
    let app = TestApp::new().await;
    fill(&app, 2500).await;
    let of_type = AuditFilter { types: ["token.created".to_owned()].into(), ..Default::default() };
    for filter in [AuditFilter::default(), of_type] {
        let count =
            if filter.types.is_empty() { head(&app).await } else { head(&app).await - BEFORE };
        let mut export = app.app.export(app.company, filter, ExportFormat::Ndjson);
        export.begin().await.expect("an export");
        let end = head(&app).await;
        let late = app.token("too late").await;
        let (mut text, mut chunks) = (String::new(), 0);
        while let Some(chunk) = export.next_chunk().await.expect("a chunk") {
            text.push_str(std::str::from_utf8(&chunk).expect("UTF-8"));
            chunks += 1;
        }
        assert_eq!(chunks, 3);
        let mut lines = lines(&text);
        let until = lines.pop();
        assert_eq!(until, Some(json!({"export": {"count": count, "last_position": end}})));
        assert_eq!(lines.len() as u64, count);
        assert!(lines.iter().all(|line| line["token_id"] != late["token_id"]));
        assert!(export.next_chunk().await.expect("nothing").is_none());
    }
}

#[tokio::test]
async fn a_failure_in_the_middle_cuts_the_export() {
    let app = TestApp::new().await;
    fill(&app, 1500).await;
    app.storage.tamper("UPDATE events SET metadata = '{}' WHERE position = 1200");
    for format in ["ndjson", "csv"] {
        let path = app.path(&format!("/audit/export?format={format}"));
        let response = open(router(app.service.clone()), &app.auditor, &path).await;
        assert_eq!(response.status(), 200);
        let mut body = response.into_body();
        let mut text = String::new();
        let cut = loop {
            match body.frame().await {
                Some(Ok(frame)) => {
                    let data = frame.into_data().expect("data");
                    text.push_str(std::str::from_utf8(&data).unwrap());
                }
                Some(Err(_)) => break true,
                None => break false,
            }
        };
        assert!(cut, "the body must not end as if it were whole");
        assert!(text.lines().count() >= 1000);
        assert!(!text.contains("last_position"));
    }
}

#[tokio::test]
async fn an_export_is_cut_when_its_callers_power_ends() {
    let app = TestApp::new().await;
    fill(&app, 2500).await;
    let body = json!({"name": "auditor", "scopes": ["ledger.audit"]});
    let key = app.admin.post(&app.path("/keys")).json(&body).await.expect(201).body;
    let client = app.nobody.with(key["key"].as_str().unwrap());
    let router = router(app.service.clone());
    let mut body = open(router, &client, &app.path("/audit/export")).await.into_body();
    body.frame().await.expect("a page").expect("no failure");
    let id = key["key_id"].as_str().unwrap();
    app.admin.delete(&app.path(&format!("/keys/{id}"))).await.expect(204);
    assert!(body.frame().await.expect("an end that is seen").is_err());
    assert!(body.frame().await.is_none());
}

/// A reader of server-sent events.
struct Reader {
    body: Body,
    text: String,
}

impl Reader {
    async fn open(router: Router, client: &Client, path: &str) -> Self {
        let response = open(router, client, path).await;
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()[header::CONTENT_TYPE], "text/event-stream");
        assert!(response.headers().contains_key("x-request-id"));
        Self { body: response.into_body(), text: String::new() }
    }

    /// The next event's position and content; none at the end.
    async fn next(&mut self) -> Option<(u64, Value)> {
        loop {
            if let Some((event, rest)) = self.text.split_once("\n\n") {
                let (event, rest) = (event.to_owned(), rest.to_owned());
                self.text = rest;
                if let Some(read) = read_event(&event) {
                    return Some(read);
                }
                continue;
            }
            let frame = soon(self.body.frame()).await?.expect("no failure");
            let data = frame.into_data().expect("data");
            self.text.push_str(std::str::from_utf8(&data).expect("UTF-8"));
        }
    }

    async fn take(&mut self, count: usize) -> Vec<u64> {
        let mut positions = Vec::new();
        while positions.len() < count {
            positions.push(self.next().await.expect("an event").0);
        }
        positions
    }
}

/// An event; none for a comment.
fn read_event(text: &str) -> Option<(u64, Value)> {
    let field = |name: &str| {
        text.lines().find_map(|line| line.strip_prefix(name)).map(|value| value.trim().to_owned())
    };
    let data: Value = serde_json::from_str(&field("data:")?).expect("JSON");
    let id: u64 = field("id:").expect("an id").parse().expect("a position");
    assert_eq!(data["position"], id);
    assert_eq!(data["type"], field("event:").expect("a name"));
    Some((id, data))
}

#[tokio::test]
async fn a_stream_delivers_everything_exactly_once_while_writers_write() {
    const WRITERS: usize = 4;
    const EACH: usize = 25;
    let app = TestApp::new().await;
    let begin = head(&app).await;
    let path = app.path("/audit/stream");
    let router = router(app.service.clone());
    let mut live = Reader::open(router.clone(), &app.auditor, &path).await;
    let mut whole = Reader::open(router.clone(), &app.auditor, &format!("{path}?after=0")).await;
    let writers = (0..WRITERS).map(|_| async {
        for _ in 0..EACH {
            app.token("written").await;
        }
    });
    let end = begin + (WRITERS * EACH) as u64;
    let reading = async {
        let live = live.take(WRITERS * EACH).await;
        assert_eq!(live, (begin + 1..=end).collect::<Vec<_>>());
    };
    let reading_whole = async {
        let count = usize::try_from(end).unwrap();
        assert_eq!(whole.take(count).await, (1..=end).collect::<Vec<_>>());
    };
    futures::join!(futures::future::join_all(writers), reading, reading_whole);
}

#[tokio::test]
async fn a_stream_goes_on_where_it_broke_off() {
    let app = TestApp::new().await;
    let path = app.path("/audit/stream");
    let end = head(&app).await;
    let resume = |after: &str, last: Option<&str>| {
        let key = app.auditor.key.as_deref().unwrap();
        let mut request = Request::get(format!("{path}{after}"))
            .header(header::HOST, "localhost")
            .header(header::AUTHORIZATION, format!("Bearer {key}"));
        if let Some(last) = last {
            request = request.header("last-event-id", last);
        }
        let request = request.body(Body::empty()).unwrap();
        async { router(app.service.clone()).oneshot(request).await.unwrap() }
    };
    for (after, last) in [("?after=2", None), ("", Some("2")), ("?after=0", Some("2"))] {
        let response = resume(after, last).await;
        assert_eq!(response.headers()[header::CACHE_CONTROL], "no-store");
        let mut reader = Reader { body: response.into_body(), text: String::new() };
        let count = usize::try_from(end - 2).unwrap();
        assert_eq!(reader.take(count).await, (3..=end).collect::<Vec<_>>());
    }
    for (after, last) in
        [("?after=x", None), ("", Some("x")), ("?after=-1", None), ("?after=99999", None)]
    {
        assert_eq!(resume(after, last).await.status(), 400, "{after} {last:?}");
    }
}

#[tokio::test]
async fn a_stream_ends_with_its_callers_power() {
    let app = TestApp::new().await;
    let body = json!({"name": "listener", "scopes": ["ledger.audit"], "expires_in_seconds": 3600});
    let create = || app.admin.post(&app.path("/keys")).json(&body);
    let path = app.path("/audit/stream");
    let router = router(app.service.clone());

    let doomed = create().await.expect(201).body;
    let client = app.nobody.with(doomed["key"].as_str().unwrap());
    let mut reader = Reader::open(router.clone(), &client, &path).await;
    let id = doomed["key_id"].as_str().unwrap();
    app.admin.delete(&app.path(&format!("/keys/{id}"))).await.expect(204);
    assert_eq!(reader.next().await, None, "not even the event of its own end");

    let expiring = create().await.expect(201).body;
    let client = app.nobody.with(expiring["key"].as_str().unwrap());
    let mut reader = Reader::open(router.clone(), &client, &path).await;
    app.token("seen").await;
    assert_eq!(reader.next().await.expect("an event").1["type"], "token.created");
    app.after(3600);
    assert_eq!(reader.next().await, None);
    app.nobody.with(expiring["key"].as_str().unwrap()).get(&path).await.expect(401);
}

#[tokio::test]
async fn streams_end_when_the_service_stops() {
    let app = TestApp::new().await;
    let (stop, stopping) = watch::channel(false);
    let router = router(service(&app.app, stopping));
    let mut reader = Reader::open(router, &app.auditor, &app.path("/audit/stream")).await;
    app.token("seen").await;
    assert!(reader.next().await.is_some());
    stop.send(true).unwrap();
    assert_eq!(reader.next().await, None);
}

#[tokio::test]
async fn an_operator_listens_to_any_company() {
    let app = TestApp::new().await;
    let platform_auditor = key(&app.app, CompanyId::PLATFORM, "ledger.audit").await;
    let path = app.path("/audit/stream");
    let mut reader = Reader::open(router(app.service.clone()), &app.operator, &path).await;
    let token = app.token("seen").await;
    let (_, event) = reader.next().await.expect("an event");
    assert_eq!(event["token_id"], token["token_id"]);
    let id: TokenId = token["token_id"].as_str().unwrap().parse().unwrap();
    assert_eq!(event["aggregate"]["id"], id.to_string());
    app.nobody.with(platform_auditor).get(&path).await.problem(404, "not-found");
}
