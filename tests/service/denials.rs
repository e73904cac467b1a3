//! What was refused and what was exported, as the auditor sees it.

use crate::support::{Client, TestApp, held};
use axum::http::Method;
use serde_json::{Value, json};
use std::future::IntoFuture;
use token_ledger_domain::CompanyId;

/// The records of a list below a company's audit trail.
async fn records(client: &Client, path: &str) -> Vec<Value> {
    let page = client.get(path).await.expect(200);
    assert_eq!(page.body["part_of_ledger"], false);
    page.body["items"].as_array().expect("a list").clone()
}

#[tokio::test]
async fn a_refusal_says_who_what_from_where_and_when_and_not_what_was_typed() {
    let test = TestApp::new().await;
    let body = json!({"name": "typed", "scopes": ["positions"]});
    let call = test.auditor.post(&test.path("/tokens?x=typed"));
    let refused = call.json(&body).await.problem(403, "forbidden");
    let found = records(&test.auditor, &test.path("/audit/denials")).await;
    assert_eq!(found.len(), 1, "{found:?}");
    let denial = &found[0];
    let whoami = test.auditor.get("/v1/whoami").await.expect(200).body;
    assert_eq!(denial["kind"], "denied");
    assert_eq!(denial["company_id"], test.company.to_string());
    assert_eq!(denial["actor"], json!({"type": "key", "id": whoami["key_id"]}));
    assert_eq!(
        denial["action"],
        json!({
            "method": "POST",
            "route": "/v1/companies/{company_id}/tokens",
            "status": 403,
            "problem": "/problems/forbidden",
        })
    );
    assert_eq!(
        denial["context"],
        json!({
            "request_id": refused.header("x-request-id"),
            "ip": "192.0.2.7",
            "user_agent": "tests/1",
        })
    );
    assert_eq!(denial["at"], crate::support::at(0).to_string());
    let written = denial.to_string();
    assert!(!written.contains("typed"), "{written}");
    assert!(!written.contains(test.auditor.key.as_deref().expect("a key")), "{written}");
}

#[tokio::test]
async fn another_company_s_caller_is_shown_to_the_company_that_was_asked_about() {
    let test = TestApp::new().await;
    let (_, stranger) = test.another_company("Globex").await;
    stranger.get(&test.path("/tokens")).await.problem(404, "not-found");
    let found = records(&test.auditor, &test.path("/audit/denials")).await;
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0]["action"]["status"], 404);
    let whoami = stranger.get("/v1/whoami").await.expect(200).body;
    assert_eq!(found[0]["actor"]["id"], whoami["key_id"]);
    // What does not exist is no denial, and the list of another company is none of theirs.
    let missing = test.path("/tokens/01980000-0000-7000-8000-000000000000");
    test.admin.get(&missing).await.problem(404, "not-found");
    stranger.get(&test.path("/audit/denials")).await.problem(404, "not-found");
    assert_eq!(records(&test.auditor, &test.path("/audit/denials")).await.len(), 2);
}

#[tokio::test]
async fn unknown_callers_and_companies_that_do_not_exist_are_the_platform_s() {
    let test = TestApp::new().await;
    let nowhere = "/v1/companies/01980000-0000-7000-8000-000000000000/tokens";
    test.nobody.with("tla_typed").get(nowhere).await.problem(401, "unauthorized");
    test.nobody.get("/v1/whoami").await.problem(401, "unauthorized");
    test.admin.get(nowhere).await.problem(404, "not-found");
    test.admin.get("/v1/companies").await.problem(403, "forbidden");
    assert!(records(&test.auditor, &test.path("/audit/denials")).await.is_empty());
    let platform =
        format!("/v1/companies/{}/audit/denials", token_ledger_domain::CompanyId::PLATFORM);
    let found = records(&test.operator, &platform).await;
    let mut statuses: Vec<_> =
        found.iter().map(|denial| denial["action"]["status"].as_u64().expect("a status")).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [401, 401, 403, 404]);
    let unknown = found.iter().filter(|denial| denial["actor"].is_null()).count();
    assert_eq!(unknown, 2);
    assert!(!Value::from(found).to_string().contains("typed"));
    test.auditor.get(&platform).await.problem(404, "not-found");
}

#[tokio::test]
async fn unknown_callers_are_shown_to_the_company_that_they_asked_about() {
    let test = TestApp::new().await;
    let body = json!({"name": "leaked", "scopes": ["ledger.audit"]});
    let key = test.admin.post(&test.path("/keys")).json(&body).await.expect(201).body;
    let leaked = test.nobody.with(key["key"].as_str().expect("a secret"));
    let id = key["key_id"].as_str().expect("an id");
    test.admin.delete(&test.path(&format!("/keys/{id}"))).await.expect(204);
    let callers = [&leaked, &test.nobody, &test.nobody.with("tla_typed")];
    for caller in callers {
        caller.get(&test.path("/audit/export")).await.problem(401, "unauthorized");
    }
    let found = records(&test.auditor, &test.path("/audit/denials")).await;
    assert_eq!(found.len(), callers.len(), "{found:?}");
    for denial in &found {
        assert_eq!(denial["company_id"], test.company.to_string());
        assert_eq!(denial["actor"], Value::Null);
        assert_eq!(denial["action"]["route"], "/v1/companies/{company_id}/audit/export");
        assert_eq!(denial["context"]["ip"], "192.0.2.7");
        assert!(!denial.to_string().contains("typed"), "{denial}");
    }
    let platform = format!("/v1/companies/{}/audit/denials", CompanyId::PLATFORM);
    assert!(records(&test.operator, &platform).await.is_empty());
    // As the description spells it.
    test.nobody.get(&test.path("/log/tile/0/000")).await.problem(401, "unauthorized");
    let found = records(&test.auditor, &test.path("/audit/denials")).await;
    let tile = "/v1/companies/{company_id}/log/tile/{level}/{tile}";
    assert!(found.iter().any(|denial| denial["action"]["route"] == tile), "{found:?}");
}

#[tokio::test]
async fn a_resource_server_that_may_not_introspect_is_recorded() {
    let test = TestApp::new().await;
    let form = "application/x-www-form-urlencoded";
    test.auditor.post("/oauth/introspect").text(form, "token=typed").await.expect(403);
    let found = records(&test.auditor, &test.path("/audit/denials")).await;
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0]["action"]["route"], "/oauth/introspect");
    assert_eq!(found[0]["actor"]["type"], "key");
    // An inactive token is an answer like any other.
    test.resource_server.post("/oauth/introspect").text(form, "token=typed").await.expect(200);
    assert_eq!(records(&test.auditor, &test.path("/audit/denials")).await.len(), 1);
}

#[tokio::test]
async fn a_credential_has_so_many_streams() {
    let test = TestApp::new().await;
    let path = test.path("/audit/stream");
    let mut held = Vec::new();
    for _ in 0..token_ledger::app::streams::PER_CREDENTIAL {
        held.push(test.auditor.get(&path).open().await);
    }
    let refused = test.auditor.get(&path).await.problem(429, "too-many-streams");
    assert!(!refused.header("retry-after").is_empty());
    test.auditor.get(&test.path("/audit/events")).await.expect(200);
    held.pop();
    assert_eq!(test.auditor.get(&path).open().await.status(), 200);
    assert_eq!(test.admin.get(&path).open().await.status(), 200);
}

#[tokio::test]
async fn an_operation_that_cannot_be_read_stands_still_and_is_named() {
    let test = TestApp::new().await;
    let operation = token_ledger_projections::read_models::Operation {
        company_id: test.company,
        operation_id: test.app.new_id(),
        request: "{".to_owned(),
        state: "running".to_owned(),
        matched: 1,
        done: 0,
        started_at: test.app.now(),
        finished_at: None,
    };
    test.app.read.save_operation(&operation).await.expect("it is stored");
    for task in test.app.resume_operations().await.expect("operations") {
        task.await.expect("it ends instead of trying again");
    }
    let ready = test.nobody.get("/readyz").await.expect(503);
    assert!(ready.text.contains("1 operation can't be carried out"), "{}", ready.text);
}

#[tokio::test]
async fn verification_leaves_no_records() {
    let test = TestApp::new().await;
    test.nobody.with("tlk_bad").get("/v1/verify").await.expect(401);
    let platform =
        format!("/v1/companies/{}/audit/denials", token_ledger_domain::CompanyId::PLATFORM);
    assert!(records(&test.operator, &platform).await.is_empty());
}

#[tokio::test]
async fn the_list_has_pages_and_bounds_in_time() {
    let test = TestApp::new().await;
    for n in 0..5 {
        test.after(n);
        test.auditor.post(&test.path("/tokens")).await.problem(403, "forbidden");
    }
    let list = test.path("/audit/denials");
    let at = |n: i64| crate::support::at(n).to_string();
    let mut times = Vec::new();
    let mut next = format!("{list}?limit=2");
    loop {
        let page = test.auditor.get(&next).await.expect(200);
        let items = page.body["items"].as_array().expect("a list").clone();
        times.extend(items.iter().map(|item| item["at"].as_str().expect("a time").to_owned()));
        let Some(cursor) = page.body["next_cursor"].as_str() else { break };
        next = format!("{list}?limit=2&cursor={cursor}");
    }
    assert_eq!(times, [4, 3, 2, 1, 0].map(at), "newest first, each once");
    let some = format!("{list}?from={}&to={}", at(1), at(3));
    assert_eq!(records(&test.auditor, &some).await.len(), 2);
    test.auditor.get(&format!("{list}?from={}&to={}", at(3), at(1))).await.invalid(&["from"]);
    test.auditor.get(&format!("{list}?from=yesterday")).await.invalid(&["from"]);
    test.auditor.get(&format!("{list}?cursor=x")).await.invalid(&["cursor"]);
    test.auditor.get(&format!("{list}?kind=x")).await.expect(400);
    test.resource_server.get(&list).await.problem(403, "forbidden");
}

#[tokio::test]
async fn an_export_is_recorded() {
    let test = TestApp::new().await;
    test.auditor.get(&test.path("/audit/export")).await.expect(200);
    test.auditor.get(&test.path("/audit/export?format=xml")).await.expect(400);
    test.auditor.call(Method::HEAD, &test.path("/audit/export")).await.expect(200);
    let found = records(&test.auditor, &test.path("/audit/exports")).await;
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0]["kind"], "export");
    assert_eq!(found[0]["action"]["route"], "/v1/companies/{company_id}/audit/export");
    assert!(records(&test.auditor, &test.path("/audit/denials")).await.is_empty());
    assert!(records(&test.auditor, &test.path("/audit/sign-ins")).await.is_empty());
}

#[tokio::test]
async fn a_flood_is_cut_and_the_cut_is_counted() {
    let test = TestApp::new().await;
    let flood: u64 = 900;
    for _ in 0..flood {
        test.auditor.post(&test.path("/tokens")).await.problem(403, "forbidden");
    }
    let page = test.auditor.get(&test.path("/audit/denials?limit=1000")).await.expect(200);
    let kept = page.body["items"].as_array().expect("a list").len() as u64;
    let dropped = page.body["dropped"].as_u64().expect("a count");
    assert_eq!(kept + dropped, flood);
    assert!((100..flood).contains(&kept), "{kept}");
    // Others' are still kept.
    test.after(1);
    test.resource_server.get(&test.path("/tokens")).await.problem(403, "forbidden");
    let found = records(&test.auditor, &test.path("/audit/denials?limit=1")).await;
    assert_eq!(found[0]["action"]["method"], "GET");
}

#[tokio::test]
async fn a_refusal_is_its_company_s_though_the_company_can_not_be_read() {
    let test = TestApp::new().await;
    let list = test.path("/audit/denials");
    let of = async |client: &Client, list: &str| {
        let page = client.get(list).await.expect(200).body;
        let kept = page["items"].as_array().expect("a list").len() as u64;
        kept + page["dropped"].as_u64().expect("a count")
    };
    test.storage.tamper("ALTER TABLE companies RENAME TO unreadable");
    test.auditor.post(&test.path("/tokens")).await.problem(403, "forbidden");
    records(&test.auditor, &list).await;
    test.storage.tamper("ALTER TABLE unreadable RENAME TO companies");
    // Kept or, where the database can't be used, counted.
    assert_eq!(of(&test.auditor, &list).await, 1);
    let platform = list.replace(&test.company.to_string(), &CompanyId::PLATFORM.to_string());
    assert_eq!(of(&test.operator, &platform).await, 0);
}

#[tokio::test]
async fn what_was_noted_is_still_there_after_a_restart() {
    let test = TestApp::new().await;
    test.auditor.post(&test.path("/tokens")).await.problem(403, "forbidden");
    let (company, auditor) = (test.company, test.auditor.key.clone().expect("a key"));
    let (storage, clock) = test.stopped().await;
    let app = storage.open(&clock).await;
    let (_stop, stopping) = tokio::sync::watch::channel(false);
    let _tasks = app.start(&stopping);
    let service = crate::support::service(&app, stopping);
    let client = Client::of(&service).with(auditor);
    let path = format!("/v1/companies/{company}/audit/denials");
    assert_eq!(records(&client, &path).await.len(), 1);
}

#[tokio::test]
async fn who_loses_the_key_while_a_body_is_on_its_way_is_named() {
    let test = TestApp::new().await;
    let whoami = test.admin.get("/v1/whoami").await.expect(200).body;
    let id = whoami["key_id"].as_str().expect("an id");
    let (body, mut held) = held(&json!({"name": "t", "scopes": ["positions"]}).to_string());
    let call = test.admin.post(&test.path("/tokens")).body("application/json", body);
    let call = tokio::spawn(call.into_future());
    held.begun().await;
    test.operator.delete(&test.path(&format!("/keys/{id}"))).await.expect(204);
    held.go_on();
    call.await.expect("an answer").problem(401, "unauthorized");
    let found = records(&test.auditor, &test.path("/audit/denials")).await;
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0]["actor"], json!({"type": "key", "id": id}));
    assert_eq!(found[0]["action"]["status"], 401);
}

#[tokio::test]
async fn a_client_that_does_not_prove_itself_is_shown_to_the_company_whose_client_it_named() {
    let test = TestApp::new().await;
    let form = "application/x-www-form-urlencoded";
    let body = json!({"name": "HR portal", "scopes": ["positions"]});
    let client = test.admin.post(&test.path("/clients")).json(&body).await.expect(201).body;
    let id = client["client_id"].as_str().expect("an id");
    let stranger = test.app.new_id().to_string();
    let calls = [
        ("/oauth/token", "grant_type=client_credentials"),
        ("/oauth/revoke", "token=typed"),
        ("/oauth/introspect", "token=typed"),
        ("/tokens", "grant_type=client_credentials"),
        ("/tokens/refresh_token", "token=typed"),
        ("/revoke", "token=typed"),
    ];
    for (path, params) in calls {
        let ask = |id: &str| {
            let body = format!("{params}&client_id={id}&client_secret=typed");
            test.nobody.post(path).text(form, &body)
        };
        let (known, unknown) = (ask(id).await.expect(401), ask(&stranger).await.expect(401));
        // The caller learns nothing of it.
        assert_eq!(known.text, unknown.text, "{path}");
        let told = |answer: &crate::support::Answered| {
            let mut names: Vec<String> =
                answer.headers.iter().map(|(name, _)| name.to_string()).collect();
            names.sort_unstable();
            (names, answer.header("www-authenticate").to_owned())
        };
        assert_eq!(told(&known), told(&unknown), "{path}");
    }
    let found = records(&test.auditor, &test.path("/audit/denials")).await;
    assert_eq!(found.len(), calls.len(), "{found:?}");
    for denial in &found {
        assert_eq!(denial["actor"], json!({"type": "client", "id": id}));
        assert_eq!(denial["action"]["status"], 401);
        assert!(!denial.to_string().contains("typed"), "{denial}");
    }
    let routes: Vec<&str> = found.iter().filter_map(|d| d["action"]["route"].as_str()).collect();
    for (path, _) in calls {
        assert!(routes.contains(&path), "{path}");
    }
    let platform =
        format!("/v1/companies/{}/audit/denials", token_ledger_domain::CompanyId::PLATFORM);
    let unknown = records(&test.operator, &platform).await;
    assert_eq!(unknown.len(), calls.len());
    assert!(unknown.iter().all(|denial| denial["actor"].is_null()));
}

#[tokio::test]
async fn a_client_is_named_that_wanted_somebody_elses_token() {
    let test = TestApp::new().await;
    let form = "application/x-www-form-urlencoded";
    let body = json!({"name": "HR portal", "scopes": ["positions"]});
    let client = test.admin.post(&test.path("/clients")).json(&body).await.expect(201).body;
    let value_of = |field: &str| client[field].as_str().expect(field).to_owned();
    let token = test.token("by hand").await;
    let body = format!(
        "token={}&client_id={}&client_secret={}",
        token["token"].as_str().expect("a secret"),
        value_of("client_id"),
        value_of("client_secret")
    );
    for (path, status) in [("/revoke", 403), ("/oauth/revoke", 400), ("/tokens/refresh_token", 400)]
    {
        test.nobody.post(path).text(form, &body).await.expect(status);
        let found = records(&test.auditor, &test.path("/audit/denials")).await;
        let denial = found.iter().find(|denial| denial["action"]["route"] == path);
        let denial = denial.expect("a record");
        assert_eq!(denial["actor"], json!({"type": "client", "id": value_of("client_id")}));
        assert_eq!(denial["action"]["status"], status);
    }
}

#[tokio::test]
async fn another_company_s_client_is_shown_to_the_company_whose_token_it_wanted() {
    let test = TestApp::new().await;
    let (globex, other) = test.another_company("Globex").await;
    let theirs = format!("/v1/companies/{globex}");
    other.put(&format!("{theirs}/oauth-app")).json(&json!({"enabled": true})).await;
    let body = json!({"name": "HR portal", "scopes": ["positions"]});
    let client = other.post(&format!("{theirs}/clients")).json(&body).await.expect(201).body;
    let token = test.token("by hand").await;
    let body = format!(
        "token={}&client_id={}&client_secret={}",
        token["token"].as_str().expect("a secret"),
        client["client_id"].as_str().expect("an id"),
        client["client_secret"].as_str().expect("a secret"),
    );
    let form = "application/x-www-form-urlencoded";
    let calls = [("/revoke", 403), ("/oauth/revoke", 400), ("/tokens/refresh_token", 400)];
    for (path, status) in calls {
        test.nobody.post(path).text(form, &body).await.expect(status);
    }
    let found = records(&test.auditor, &test.path("/audit/denials")).await;
    assert_eq!(found.len(), calls.len(), "{found:?}");
    for denial in &found {
        assert_eq!(denial["actor"], json!({"type": "client", "id": client["client_id"]}));
    }
}

#[tokio::test]
async fn links_to_set_passwords_are_shown_to_the_auditor() {
    let test = TestApp::new().await;
    let body = json!({"email": "ada@example.com", "role": "auditor"});
    let member = test.admin.post(&test.path("/members")).json(&body).await.expect(201).body;
    let id = member["member_id"].as_str().expect("an id");
    let path = test.path(&format!("/members/{id}/password-link"));
    let link = test.admin.post(&path).await.expect(201).body;
    test.auditor.post(&path).await.problem(403, "forbidden");
    let found = records(&test.auditor, &test.path("/audit/password-links")).await;
    assert_eq!(found.len(), 2, "with the member, and on request: {found:?}");
    let whoami = test.admin.get("/v1/whoami").await.expect(200).body;
    for record in &found {
        assert_eq!(record["kind"], "password_link");
        assert_eq!(record["actor"], json!({"type": "key", "id": whoami["key_id"]}));
        let route = format!("/v1/companies/{{company_id}}/members/{id}/password-link");
        assert_eq!(record["action"]["route"], route);
        assert_eq!(record["context"]["ip"], "192.0.2.7");
        assert!(record["context"]["request_id"].is_string());
        for shown in [&member, &link] {
            let url = shown["set_password_url"].as_str().expect("a link");
            let secret = url.rsplit('/').next().expect("a secret");
            assert!(!record.to_string().contains(secret));
        }
    }
    // Nothing is noted of who is a member elsewhere already and gets no link.
    let (_, other) = test.another_company("Globex").await;
    let globex = other.get("/v1/whoami").await.expect(200).body["company_id"].clone();
    let theirs = format!("/v1/companies/{}", globex.as_str().expect("an id"));
    other.post(&format!("{theirs}/members")).json(&body).await.expect(201);
    assert!(records(&other, &format!("{theirs}/audit/password-links")).await.is_empty());
}

#[tokio::test]
async fn no_link_is_made_that_can_t_be_recorded() {
    let test = TestApp::new().await;
    let body = json!({"email": "ada@example.com", "role": "auditor"});
    let member = test.admin.post(&test.path("/members")).json(&body).await.expect(201).body;
    let url = member["set_password_url"].as_str().expect("a link");
    let first = url.strip_prefix("http://localhost:8080").expect("our own");
    let id = member["member_id"].as_str().expect("an id");
    let path = test.path(&format!("/members/{id}/password-link"));
    test.storage.tamper("ALTER TABLE attempts RENAME TO elsewhere");
    let refused = test.admin.post(&path).await;
    assert!(refused.status.is_server_error(), "{}", refused.text);
    test.nobody.get(first).await.expect(200);
    test.storage.tamper("ALTER TABLE elsewhere RENAME TO attempts");
    test.admin.post(&path).await.expect(201);
    test.nobody.get(first).await.expect(404);
    let found = records(&test.auditor, &test.path("/audit/password-links")).await;
    assert_eq!(found.len(), 2, "{found:?}");
}

/// More refusals than are kept of one caller at once.
const TOO_MANY: usize = 501;

#[tokio::test]
async fn nobody_drowns_links_and_exports_in_refusals_of_their_own() {
    let test = TestApp::new().await;
    let body = json!({"email": "ada@example.com", "role": "auditor"});
    let member = test.admin.post(&test.path("/members")).json(&body).await.expect(201).body;
    for _ in 0..TOO_MANY {
        test.admin.get("/v1/companies").await.problem(403, "forbidden");
    }
    let platform =
        format!("/v1/companies/{}/audit/denials", token_ledger_domain::CompanyId::PLATFORM);
    let refused = test.operator.get(&platform).await.expect(200).body;
    assert_eq!(refused["dropped"], 1, "of one caller, so many");
    let id = member["member_id"].as_str().expect("an id");
    test.admin.post(&test.path(&format!("/members/{id}/password-link"))).await.expect(201);
    test.admin.get(&test.path("/audit/export?format=csv")).await.expect(200);
    let list = |name: &str| test.path(&format!("/audit/{name}"));
    assert_eq!(records(&test.auditor, &list("exports")).await.len(), 1);
    let links = records(&test.auditor, &list("password-links")).await;
    assert_eq!(links.len(), 2, "with the member, and on request");
}

#[tokio::test]
async fn links_are_not_counted_by_caller() {
    let test = TestApp::new().await;
    let body = json!({"email": "ada@example.com", "role": "auditor"});
    let member = test.admin.post(&test.path("/members")).json(&body).await.expect(201).body;
    let id = member["member_id"].as_str().expect("an id");
    let path = test.path(&format!("/members/{id}/password-link"));
    for _ in 0..TOO_MANY {
        test.admin.post(&path).await.expect(201);
    }
    let list = test.path("/audit/password-links?limit=1000");
    let page = test.auditor.get(&list).await.expect(200).body;
    assert_eq!(page["dropped"], 0);
    assert_eq!(page["items"].as_array().map(Vec::len), Some(TOO_MANY + 1));
}

#[tokio::test]
async fn a_client_that_somebody_else_names_too_often_is_seen_from_elsewhere() {
    let test = TestApp::new().await;
    let body = json!({"name": "HR portal", "scopes": ["positions"]});
    let client = test.admin.post(&test.path("/clients")).json(&body).await.expect(201).body;
    let form = format!(
        "token=typed&client_secret=typed&client_id={}",
        client["client_id"].as_str().expect("an id")
    );
    let form_type = "application/x-www-form-urlencoded";
    for _ in 0..TOO_MANY {
        let answer = test.nobody.post("/oauth/revoke").text(form_type, &form).await;
        assert!(matches!(answer.status.as_u16(), 401 | 429), "{}", answer.text);
    }
    let elsewhere = test.nobody.post("/oauth/revoke").coming_from([198, 51, 100, 7]);
    let answer = elsewhere.text(form_type, &form).await;
    assert!(matches!(answer.status.as_u16(), 401 | 429), "{}", answer.text);
    let list = test.path("/audit/denials?limit=1000");
    let page = test.auditor.get(&list).await.expect(200).body;
    assert_eq!(page["dropped"], 1, "of one network, so many");
    let items = page["items"].as_array().expect("a list");
    assert!(items.iter().any(|denial| denial["context"]["ip"] == "198.51.100.7"));
}

#[tokio::test]
async fn whatever_is_refused_is_told_in_words() {
    use token_ledger::console;
    use token_ledger::http::access::Access;
    use token_ledger::http::routes::routes;
    let test = TestApp::new().await;
    let api = routes(test.service.clone());
    let api = api.list().iter().filter(|route| route.2 != Access::Public);
    let pages = console::routes(test.service.clone());
    let changes = |method: &Method| *method == Method::POST;
    let pages = pages.list().iter().filter(|(method, _, access)| {
        changes(method) || matches!(access, console::Access::Power(_) | console::Access::Platform)
    });
    let routes = api.map(|route| (&route.0, route.1)).chain(pages.map(|page| (&page.0, page.1)));
    for (method, route) in routes {
        let noted = route.replace("{*", "{");
        assert!(console::deeds::words(method.as_str(), &noted).is_some(), "{method} {route}");
    }
}
