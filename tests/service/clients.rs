//! OAuth clients over the admin API, and what becomes of their tokens.

use crate::support::{Answered, TestApp, at};
use serde_json::{Value, json};
use std::time::Duration;
use token_ledger_domain::ClientId;
use uuid::Uuid;

const FORM: &str = "application/x-www-form-urlencoded";

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_else(|| panic!("{field} of {value}"))
}

/// A client of this name that may ask for two scopes: the whole answer.
async fn new_client(app: &TestApp, name: &str) -> Value {
    let body = json!({"name": name, "scopes": ["positions", "employees"]});
    app.admin.post(&app.path("/clients")).json(&body).await.expect(201).body
}

fn path_of(app: &TestApp, client: &Value) -> String {
    app.path(&format!("/clients/{}", text(client, "client_id")))
}

async fn ask(app: &TestApp, client: &Value, secret: &str) -> Answered {
    let id = text(client, "client_id");
    let form = format!("grant_type=client_credentials&client_id={id}&client_secret={secret}");
    app.nobody.post("/oauth/token").text(FORM, &form).await
}

async fn token_of(app: &TestApp, client: &Value) -> Value {
    ask(app, client, text(client, "client_secret")).await.expect(200).body["access_token"].clone()
}

#[tokio::test]
async fn a_client_is_shown_with_its_secret_once() {
    let app = TestApp::new().await;
    let body = json!({"name": "HR portal", "scopes": ["positions", "employees"]});
    let created = app.admin.post(&app.path("/clients")).json(&body).await.expect(201);
    let client = created.body.clone();
    let secret = text(&client, "client_secret");
    assert!(secret.starts_with("tlc_"));
    assert!(token_ledger_domain::secret::is_well_formed(secret));
    assert_eq!(created.header("location"), path_of(&app, &client));
    assert_eq!(created.header("etag"), format!("\"{}\"", client["version"]));
    let shown = app.auditor.get(&path_of(&app, &client)).await.expect(200);
    assert_eq!(
        shown.body,
        json!({
            "client_id": client["client_id"],
            "company_id": app.company.to_string(),
            "name": "HR portal",
            "scopes": ["employees", "positions"],
            "status": "active",
            "secret_hint": format!("tlc_…{}", &secret[secret.len() - 4..]),
            "created_at": at(0).to_string(),
            "rotated_at": null,
            "previous_secret_expires_at": null,
            "deleted_at": null,
            "version": client["version"],
        })
    );
    assert!(!shown.text.contains(secret));
    assert_eq!(shown.header("etag"), created.header("etag"));
}

#[tokio::test]
async fn what_is_no_client_is_refused_field_by_field() {
    let app = TestApp::new().await;
    let path = app.path("/clients");
    let post = |body: Value| app.admin.post(&path).json(&body);
    post(json!({})).await.invalid(&["name", "scopes"]);
    post(json!({"name": "a\u{0}", "scopes": ["salaries"]})).await.invalid(&["name", "scopes"]);
    post(json!({"name": "x", "scopes": ["positions", "positions"]})).await.invalid(&["scopes"]);
    post(json!({"name": "x", "scopes": ["ledger.admin"]})).await.invalid(&["scopes"]);
    post(json!({"name": "x", "scopes": ["positions"], "secret": "y"})).await.invalid(&["secret"]);
    assert_eq!(app.count_events("company.client_created").await, 0);
}

#[tokio::test]
async fn a_super_admin_manages_the_own_companys_clients_and_an_auditor_reads_them() {
    let app = TestApp::new().await;
    let (_, stranger) = app.another_company("Globex").await;
    let client = new_client(&app, "HR portal").await;
    let path = path_of(&app, &client);
    let body = json!({"name": "x", "scopes": ["positions"]});
    app.auditor.post(&app.path("/clients")).json(&body).await.problem(403, "forbidden");
    app.auditor.post(&format!("{path}/rotate")).await.problem(403, "forbidden");
    app.auditor.delete(&path).await.problem(403, "forbidden");
    app.resource_server.get(&path).await.problem(403, "forbidden");
    app.nobody.get(&path).await.problem(401, "unauthorized");
    stranger.get(&path).await.problem(404, "not-found");
    stranger.delete(&path).await.problem(404, "not-found");
    let own = app.operator.get(&path).await.expect(200);
    assert_eq!(own.body["name"], "HR portal");
    let (other, other_admin) = app.another_company("Initech").await;
    let elsewhere = format!("/v1/companies/{other}/clients/{}", text(&client, "client_id"));
    other_admin.get(&elsewhere).await.problem(404, "not-found");
    other_admin.post(&format!("{elsewhere}/rotate")).await.problem(404, "not-found");
    other_admin.delete(&elsewhere).await.problem(404, "not-found");
    let absent = app.path(&format!("/clients/{}", Uuid::nil()));
    for answer in [
        app.admin.get(&absent).await,
        app.admin.post(&format!("{absent}/rotate")).await,
        app.admin.delete(&absent).await,
    ] {
        answer.problem(404, "not-found");
    }
}

#[tokio::test]
async fn a_list_shows_the_clients_that_are_not_deleted_page_by_page() {
    let app = TestApp::new().await;
    let mut clients = Vec::new();
    for name in ["a", "b", "c", "d"] {
        clients.push(new_client(&app, name).await);
    }
    app.admin.delete(&path_of(&app, &clients[1])).await.expect(204);
    let path = app.path("/clients");
    let mut all = app.auditor.get(&path).await.expect(200);
    assert!(!all.text.contains("client_secret"));
    assert_eq!(all.body["next_cursor"], Value::Null);
    all.body["items"]
        .as_array()
        .unwrap()
        .iter()
        .for_each(|item| assert_eq!(item["status"], "active"));
    let mut names = all.names().into_iter().map(str::to_owned).collect::<Vec<_>>();
    names.sort();
    assert_eq!(names, ["a", "c", "d"]);
    let mut seen = Vec::new();
    let mut query = format!("{path}?limit=2");
    loop {
        all = app.auditor.get(&query).await.expect(200);
        seen.extend(all.names().into_iter().map(str::to_owned));
        let Some(cursor) = all.body["next_cursor"].as_str() else { break };
        query = format!("{path}?limit=2&cursor={cursor}");
    }
    seen.sort();
    assert_eq!(seen, ["a", "c", "d"]);
    let deleted = app.auditor.get(&format!("{path}?status=deleted")).await.expect(200);
    assert_eq!(deleted.names(), ["b"]);
    let both = app.auditor.get(&format!("{path}?status=deleted&status=active")).await.expect(200);
    assert_eq!(both.names().len(), 4);
    app.auditor.get(&format!("{path}?status=gone&limit=0")).await.invalid(&["status", "limit"]);
}

#[tokio::test]
async fn a_rotation_stops_the_old_secret_at_once_or_after_the_grace_period() {
    let app = TestApp::new().await;
    let client = new_client(&app, "HR portal").await;
    let old = text(&client, "client_secret");
    let path = format!("{}/rotate", path_of(&app, &client));
    let rotated =
        app.admin.post(&path).json(&json!({"grace_period_seconds": 600})).await.expect(200);
    let second = text(&rotated.body, "client_secret").to_owned();
    assert_eq!(rotated.body["previous_secret_expires_at"], at(600).to_string());
    ask(&app, &client, old).await.expect(200);
    ask(&app, &client, &second).await.expect(200);
    app.after(599);
    ask(&app, &client, old).await.expect(200);
    app.after(600);
    ask(&app, &client, old).await.expect(401);
    ask(&app, &client, &second).await.expect(200);
    let shown = app.admin.get(&path_of(&app, &client)).await.expect(200);
    assert_eq!(shown.body["previous_secret_expires_at"], Value::Null);

    let third = app.admin.post(&path).await.expect(200).body;
    ask(&app, &client, &second).await.expect(401);
    ask(&app, &client, text(&third, "client_secret")).await.expect(200);
    for body in [json!({"grace_period_seconds": 86_401}), json!({"grace_period_seconds": -1})] {
        let answer = app.admin.post(&path).json(&body).await.problem(400, "policy-violation");
        let rule = json!({"name": "max_grace_seconds", "set_by": "company", "limit": 86_400});
        assert_eq!(answer.invalid(&["grace_period_seconds"]).body["rule"], rule);
    }
}

#[tokio::test]
async fn a_change_may_name_the_version_that_it_means() {
    let app = TestApp::new().await;
    let client = new_client(&app, "HR portal").await;
    let path = path_of(&app, &client);
    let tag = |client: &Value| format!("\"{}\"", client["version"]);
    // Something else happens in the company: the client stands where it stood.
    new_client(&app, "other").await;
    let rotate = || app.admin.post(&format!("{path}/rotate"));
    let rotated = rotate().header("if-match", &tag(&client)).await.expect(200);
    rotate().header("if-match", &tag(&client)).await.problem(412, "version-mismatch");
    app.admin
        .delete(&path)
        .header("if-match", &tag(&client))
        .await
        .problem(412, "version-mismatch");
    assert_eq!(app.admin.get(&path).await.expect(200).body["status"], "active");
    token_of(&app, &rotated.body).await;
    app.admin.delete(&path).header("if-match", rotated.header("etag")).await.expect(204);
}

#[tokio::test]
async fn a_repeat_with_the_same_key_answers_without_the_secret() {
    let app = TestApp::new().await;
    let body = json!({"name": "HR portal", "scopes": ["positions"]});
    let path = app.path("/clients");
    let create = |body: &Value| app.admin.post(&path).header("idempotency-key", "one").json(body);
    let first = create(&body).await.expect(201);
    app.after(5);
    let rotate = || {
        let path = format!("{}/rotate", path_of(&app, &first.body));
        app.admin.post(&path).header("idempotency-key", "two")
    };
    let rotated = rotate().header("if-match", first.header("etag")).await.expect(200);
    for (first, again) in [
        (&first, create(&body).await.expect(201)),
        (&rotated, rotate().header("if-match", first.header("etag")).await.expect(200)),
    ] {
        assert_eq!(again.header("idempotent-replay"), "true");
        let mut expected = first.body.clone();
        expected["client_secret"] = Value::Null;
        assert_eq!(again.body, expected);
    }
    let other = json!({"name": "other", "scopes": ["positions"]});
    create(&other).await.problem(422, "idempotency-key-reused");
    assert_eq!(app.count_events("company.client_created").await, 1);
    assert_eq!(app.count_events("company.client_rotated").await, 1);
}

#[tokio::test]
async fn a_deleted_clients_tokens_are_deleted_with_it() {
    let app = TestApp::new().await;
    let (client, other) = (new_client(&app, "HR portal").await, new_client(&app, "other").await);
    let mut tokens = Vec::new();
    for _ in 0..5 {
        tokens.push(token_of(&app, &client).await);
    }
    let (others, own) = (token_of(&app, &other).await, app.token("by hand").await);
    let path = path_of(&app, &client);
    let before = app.admin.get(&path).await.expect(200).header("etag").to_owned();
    app.admin.delete(&format!("{path}?reason=left")).await.expect(204);
    for token in &tokens {
        assert!(!app.is_active(token));
    }
    assert!(app.is_active(&others) && app.is_active(&own["token"]));
    ask(&app, &client, text(&client, "client_secret")).await.expect(401);
    let listed = app.admin.get(&app.path("/tokens?status=deleted")).await.expect(200);
    let deleted = listed.body["items"].as_array().unwrap().clone();
    assert_eq!(deleted.len(), 5);
    for token in &deleted {
        assert_eq!(token["client_id"], client["client_id"]);
    }
    let events = app.auditor.get(&app.path("/audit/events?type=token.deleted")).await.expect(200);
    for event in events.body["items"].as_array().unwrap() {
        assert_eq!(event["context"]["reason"], "the OAuth client HR portal was deleted: left");
        assert_eq!(event["actor"]["type"], "key");
    }
    let events =
        app.auditor.get(&app.path("/audit/events?type=company.client_deleted")).await.expect(200);
    assert_eq!(events.body["items"][0]["context"]["reason"], "left");

    let shown = app.auditor.get(&path).await.expect(200).body;
    assert_eq!((&shown["status"], &shown["deleted_at"]), (&json!("deleted"), &json!(at(0))));
    app.admin.delete(&path).await.problem(409, "client-deleted");
    app.admin.post(&format!("{path}/rotate")).await.problem(409, "client-deleted");
    for change in [app.admin.delete(&path), app.admin.post(&format!("{path}/rotate"))] {
        change.header("if-match", &before).await.problem(412, "version-mismatch");
    }
    let after = app.admin.get(&path).await.expect(200).header("etag").to_owned();
    app.admin.delete(&path).header("if-match", &after).await.problem(409, "client-deleted");
    assert_eq!(app.count_events("company.client_deleted").await, 1);
    assert_eq!(app.count_events("token.deleted").await, 5);
}

/// Leaves the ledger as a process leaves it that ends between two steps of a client's deletion.
async fn interrupted(app: &TestApp, client: &Value, is_deleted: bool) {
    use token_ledger_domain::company::{Company, CompanyCommand};
    use token_ledger_event_store::{Context, Request};
    let client_id: ClientId = text(client, "client_id").parse().unwrap();
    let operation = token_ledger_projections::read_models::Operation {
        company_id: app.company,
        operation_id: app.app.new_id(),
        request: json!({
            "client_id": client_id, "scope": null, "created_by": null,
            "actor": {"type": "system", "id": Uuid::nil()}, "request_id": null,
            "private": {"reason": "the OAuth client HR portal was deleted"},
            "last_position": u64::MAX, "last_recorded_at": "9999-12-31T23:59:59Z",
            "client_is_deleted": true,
        })
        .to_string(),
        state: "running".to_owned(),
        matched: 1,
        done: 0,
        started_at: app.app.now(),
        finished_at: None,
    };
    app.app.read.save_operation(&operation).await.unwrap();
    if is_deleted {
        let command = CompanyCommand::DeleteClient { client_id };
        let request = Request::new(app.company.0, command);
        let power = token_ledger_domain::Power::SuperAdmin;
        let context = Context::system();
        app.app.ledger.execute::<Company>(app.company, power, &context, request).await.unwrap();
    }
}

#[tokio::test]
async fn tokens_are_good_no_more_before_their_deletion_is_recorded_and_it_is_in_the_end() {
    let app = TestApp::new().await;
    let client = new_client(&app, "HR portal").await;
    let token = token_of(&app, &client).await;
    interrupted(&app, &client, true).await;
    assert!(!app.is_active(&token), "the flag counts at once");
    assert_eq!(app.count_events("token.deleted").await, 0);
    let secret = token.as_str().unwrap();
    app.nobody.with(secret).get("/v1/verify").await.expect(401);
    let tokens = app.admin.get(&app.path("/tokens")).await.expect(200).body;
    let refresh = app.path(&format!("/tokens/{}/refresh", text(&tokens["items"][0], "token_id")));
    app.admin.post(&refresh).await.problem(409, "client-deleted");

    let company = app.company;
    let (storage, clock) = app.stopped().await;
    let app = storage.open(&clock).await;
    let digest = token_ledger_domain::Digest::of(secret);
    assert!(app.index.token(&digest, app.now()).is_none(), "also after a restart");
    for work in app.resume_operations().await.unwrap() {
        tokio::time::timeout(Duration::from_secs(30), work).await.unwrap().unwrap();
    }
    let events = app.store().read(company, 0, 1000).await.unwrap();
    assert_eq!(events.iter().filter(|event| event.event_type == "token.deleted").count(), 1);
    assert!(app.read.open_operations().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_deletion_that_never_happened_takes_no_tokens() {
    let app = TestApp::new().await;
    let client = new_client(&app, "HR portal").await;
    let token = token_of(&app, &client).await;
    interrupted(&app, &client, false).await;
    app.after(60);
    for work in app.app.resume_operations().await.unwrap() {
        tokio::time::timeout(Duration::from_secs(30), work).await.unwrap().unwrap();
    }
    assert!(app.is_active(&token));
    assert!(app.app.read.open_operations().await.unwrap().is_empty());
    assert_eq!(app.count_events("token.deleted").await, 0);
}

#[tokio::test]
async fn a_client_gets_no_token_that_outlives_its_deletion_however_the_two_race() {
    let app = TestApp::new().await;
    let client = new_client(&app, "HR portal").await;
    let deletion = async {
        app.admin.delete(&path_of(&app, &client)).await.expect(204);
    };
    let asking = async {
        let mut got = Vec::new();
        loop {
            let answer = ask(&app, &client, text(&client, "client_secret")).await;
            if answer.status == 401 {
                return got;
            }
            got.push(answer.expect(200).body["access_token"].clone());
            tokio::task::yield_now().await;
        }
    };
    let ((), got) = tokio::join!(deletion, asking);
    assert!(got.iter().all(|token| !app.is_active(token)));
    let left = app.admin.get(&app.path("/tokens")).await.expect(200);
    assert_eq!(left.body["items"], json!([]));
    assert_eq!(app.count_events("token.deleted").await, got.len());
}

#[tokio::test]
async fn a_deletion_is_no_operation_that_stays_open() {
    let app = TestApp::new().await;
    let client = new_client(&app, "HR portal").await;
    let path = path_of(&app, &client);
    app.admin.delete(&path).header("if-match", "\"999\"").await.problem(412, "version-mismatch");
    assert!(app.app.read.open_operations().await.unwrap().is_empty());
    app.admin.delete(&path).await.expect(204);
    assert!(app.app.read.open_operations().await.unwrap().is_empty());
}

#[tokio::test]
async fn an_incident_may_be_about_one_clients_tokens() {
    let app = TestApp::new().await;
    let (client, other) = (new_client(&app, "HR portal").await, new_client(&app, "other").await);
    let (token, others) = (token_of(&app, &client).await, token_of(&app, &other).await);
    let body = json!({"client_id": client["client_id"], "reason": "leak"});
    let begun = app.admin.post(&app.path("/tokens/delete-all")).json(&body).await.expect(202);
    let path = begun.header("location").to_owned();
    let done = async {
        while app.admin.get(&path).await.expect(200).body["state"] != "done" {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), done).await.unwrap();
    assert!(!app.is_active(&token) && app.is_active(&others));
    // The client itself lives on.
    token_of(&app, &client).await;
}

#[tokio::test]
async fn a_rebuild_leaves_the_clients_as_they_are() {
    let app = TestApp::new().await;
    let client = new_client(&app, "HR portal").await;
    let gone = new_client(&app, "gone").await;
    app.admin.delete(&path_of(&app, &gone)).await.expect(204);
    app.operator.post("/v1/projections/clients/rebuild").await.expect(202);
    let done = async {
        loop {
            let it = app.operator.get("/v1/projections/clients/rebuild").await.expect(200).body;
            if it["state"] == "done" {
                return it;
            }
            tokio::task::yield_now().await;
        }
    };
    let rebuilt = tokio::time::timeout(Duration::from_secs(30), done).await.unwrap();
    assert_eq!(rebuilt["differences"], 0);
    token_of(&app, &client).await;
    ask(&app, &gone, text(&gone, "client_secret")).await.expect(401);
}
