//! The companies' policies: for terms that begin from now on, also while commands race.

use crate::support::TestApp;
use serde_json::{Value, json};
use std::future::IntoFuture;
use token_ledger::app::policy::NewPolicy;
use token_ledger::app::{Caller, Choices, Conditions};
use token_ledger_domain::company::CompanyCommand;
use token_ledger_domain::{Catalogue, Policy, TokenId};
use token_ledger_event_store::Idempotency;

#[tokio::test]
async fn a_policy_is_read_and_replaced() {
    let app = TestApp::new().await;
    let path = app.path("/policy");
    let first = app.auditor.get(&path).await.expect(200);
    let default = json!({"max_validity_seconds": 604_800, "max_grace_seconds": 86_400, "allowed_scopes": null});
    assert_eq!(first.body, default);
    let stricter = json!({
        "max_validity_seconds": 3600, "max_grace_seconds": 0,
        "allowed_scopes": ["positions", "employees"], "reason": "audit finding 7",
    });
    app.auditor.put(&path).json(&stricter).await.problem(403, "forbidden");
    let changed = app.admin.put(&path).json(&stricter).await.expect(200);
    assert_eq!(changed.body["allowed_scopes"], json!(["employees", "positions"]));
    assert_ne!(changed.header("etag"), first.header("etag"));
    assert_eq!(app.auditor.get(&path).await.expect(200).body, changed.body);
    app.admin.put(&path).json(&stricter).await.expect(200);
    assert_eq!(app.count_events("company.policy_changed").await, 1, "no change is no event");
    let trail = app.admin.get(&app.path("/audit/events?type=company.policy_changed")).await;
    let event = &trail.expect(200).body["items"][0];
    assert_eq!(event["context"]["reason"], "audit finding 7");
    assert_eq!(event["data"]["policy"]["max_validity_seconds"], 3600);
    // What is left out is as it is where nobody chose.
    assert_eq!(app.admin.put(&path).json(&json!({})).await.expect(200).body, default);

    let (other, _) = app.another_company("Globex").await;
    app.admin.get(&format!("/v1/companies/{other}/policy")).await.problem(404, "not-found");
}

#[tokio::test]
async fn of_two_who_read_the_same_policy_the_later_is_told() {
    let app = TestApp::new().await;
    let path = app.path("/policy");
    let tag = app.admin.get(&path).await.expect(200).header("etag").to_owned();
    let put = |seconds: i64| {
        let body = json!({"max_validity_seconds": seconds});
        app.admin.put(&path).header("if-match", &tag).json(&body)
    };
    let first = put(3600).await.expect(200);
    put(7200).await.problem(412, "version-mismatch");
    assert_eq!(app.admin.get(&path).await.expect(200).header("etag"), first.header("etag"));
}

#[tokio::test]
async fn an_answer_says_what_its_change_led_to_whatever_came_after_it() {
    let app = TestApp::new().await;
    let (policy, module) = (app.path("/policy"), app.path("/oauth-app"));
    let hour = json!({"max_validity_seconds": 3600});
    let put = app.admin.put(&policy).json(&hour);
    let put = app.recorded(put, "company.policy_changed").await;
    let theirs = Policy { max_grace_seconds: 7, ..Policy::default() };
    app.meanwhile(CompanyCommand::ChangePolicy { policy: theirs }).await;
    let answer = put.await.expect(200);
    assert_eq!(
        (&answer.body["max_validity_seconds"], &answer.body["max_grace_seconds"]),
        (&json!(3600), &json!(86_400))
    );
    let again = app.admin.put(&policy).header("if-match", answer.header("etag")).json(&hour);
    again.await.problem(412, "version-mismatch");

    let off = json!({"enabled": false});
    let put = app.operator.put(&module).json(&off);
    let put = app.recorded(put, "company.oauth_app_disabled").await;
    app.meanwhile(CompanyCommand::SetOauthApp { enabled: true }).await;
    let answer = put.await.expect(200);
    assert_eq!(answer.body["oauth_app_enabled"], false);
    let again = app.operator.put(&module).header("if-match", answer.header("etag")).json(&off);
    again.await.problem(412, "version-mismatch");
}

#[tokio::test]
async fn a_repeat_is_answered_though_its_scopes_are_no_longer_on_offer() {
    let app = TestApp::new().await;
    let caller = Caller::command_line(app.company);
    let conditions = |what: &str| Conditions {
        idempotency: Some(Idempotency::of("caller", what.to_owned(), "key", [1; 32])),
        ..Conditions::default()
    };
    let scopes = ["employees".to_owned(), "positions".to_owned()];
    let policy = NewPolicy { allowed_scopes: Some(scopes.to_vec()), ..NewPolicy::default() };
    let token = app.token("Payroll").await;
    let id = TokenId(token["token_id"].as_str().expect("an id").parse().expect("an id"));
    let first = app.app.change_policy(&caller, policy.clone(), conditions("policy")).await;
    let edited = app.app.change_scopes(&caller, id, &scopes, None, conditions("token")).await;
    app.app.change_policy(&caller, NewPolicy::default(), Conditions::default()).await.unwrap();

    let (storage, clock) = app.stopped().await;
    let catalogue = Catalogue::new([("positions".parse().unwrap(), String::new())]);
    let app = storage.open_with(&clock, Choices { catalogue, ..Choices::default() }).await;
    let again = app.change_policy(&caller, policy.clone(), conditions("policy")).await;
    assert_eq!(again.unwrap(), first.unwrap());
    let again = app.change_scopes(&caller, id, &scopes, None, conditions("token")).await.unwrap();
    assert!(again.repeated);
    assert_eq!(again.view, edited.unwrap().view);
    app.change_policy(&caller, policy, conditions("new")).await.expect_err("not on offer");
}

#[tokio::test]
async fn what_a_policy_allows_it_may_keep_though_it_is_on_offer_no_more() {
    let app = TestApp::new().await;
    let caller = Caller::command_line(app.company);
    let allowing = |scopes: &[&str]| NewPolicy {
        allowed_scopes: Some(scopes.iter().map(|scope| (*scope).to_owned()).collect()),
        max_grace_seconds: Some(i64::try_from(scopes.len()).expect("a few")),
        ..NewPolicy::default()
    };
    let put = async |app: &std::sync::Arc<token_ledger::app::App>, scopes: &[&str]| {
        app.change_policy(&caller, allowing(scopes), Conditions::default()).await
    };
    put(&app.app, &["employees", "positions"]).await.expect("it is changed");
    let (storage, clock) = app.stopped().await;
    let catalogue = Catalogue::new([("positions".parse().unwrap(), String::new())]);
    let app = storage.open_with(&clock, Choices { catalogue, ..Choices::default() }).await;
    let (kept, _) = put(&app, &["employees", "positions"]).await.expect("as it is");
    assert_eq!(kept.allowed_scopes.expect("some"), ["employees", "positions"]);
    put(&app, &["employees", "positions", "locations"]).await.expect_err("not on offer");
    put(&app, &["employees"]).await.expect("less");
    put(&app, &["positions"]).await.expect("on offer");
    put(&app, &["employees", "positions"]).await.expect_err("it is allowed no more");
}

#[tokio::test]
async fn what_else_happens_in_the_company_moves_neither_it_nor_its_policy_on() {
    let app = TestApp::new().await;
    let (policy, company) = (app.path("/policy"), app.path(""));
    let tag = async |path: &str| app.auditor.get(path).await.expect(200).header("etag").to_owned();
    let before = (tag(&policy).await, tag(&company).await);
    let client = json!({"name": "Payroll", "scopes": ["positions"]});
    app.admin.post(&app.path("/clients")).json(&client).await.expect(201);
    let member = json!({"email": "ada@example.com", "role": "auditor"});
    app.admin.post(&app.path("/members")).json(&member).await.expect(201);
    assert_eq!((tag(&policy).await, tag(&company).await), before);
    let change = app.admin.put(&policy).header("if-match", &before.0);
    let changed = change.json(&json!({"max_grace_seconds": 60})).await.expect(200);
    let module = |tag: &str| {
        let call = app.operator.put(&app.path("/oauth-app")).header("if-match", tag);
        call.json(&json!({"enabled": false}))
    };
    module(&before.1).await.problem(412, "version-mismatch");
    module(changed.header("etag")).await.expect(200);
}

#[tokio::test]
async fn bounds_of_a_policy_are_named() {
    let app = TestApp::new().await;
    let put = |body: Value| app.admin.put(&app.path("/policy")).json(&body);
    // Nothing at all would lift every bound.
    app.admin.put(&app.path("/policy")).await.invalid(&["body"]);
    for seconds in [0, 59, -1, 31_622_401, i64::MAX] {
        put(json!({"max_validity_seconds": seconds})).await.invalid(&["max_validity_seconds"]);
    }
    for seconds in [-1, 31_622_401, i64::MIN] {
        put(json!({"max_grace_seconds": seconds})).await.invalid(&["max_grace_seconds"]);
    }
    for scopes in [json!([]), json!(["nonsense"]), json!(["positions", "positions"])] {
        put(json!({"allowed_scopes": scopes})).await.invalid(&["allowed_scopes"]);
    }
    put(json!({"max_validity": 3600})).await.invalid(&["max_validity"]);
    put(json!({"max_validity_seconds": 31_622_400, "max_grace_seconds": 31_622_400}))
        .await
        .expect(200);
    assert_eq!(app.count_events("company.policy_changed").await, 1);
}

#[tokio::test]
async fn terms_that_begin_from_now_on_keep_to_it_and_violations_name_the_rule() {
    let app = TestApp::new().await;
    let before = app.token("Payroll").await;
    let policy = json!({
        "max_validity_seconds": 3600, "max_grace_seconds": 60, "allowed_scopes": ["employees"],
    });
    app.admin.put(&app.path("/policy")).json(&policy).await.expect(200);
    let violated = |answer: crate::support::Answered, field: &str, rule: Value| {
        let body = answer.problem(400, "policy-violation").body;
        assert_eq!(body["errors"][0]["field"], field);
        assert_eq!(body["rule"], rule);
        let name = rule["name"].as_str().expect("a name");
        assert!(body["detail"].as_str().is_some_and(|detail| detail.contains(name)), "{body}");
    };
    let seconds =
        |name: &str, limit: i64| json!({"name": name, "set_by": "company", "limit": limit});
    let scope =
        |scope: &str| json!({"name": "allowed_scopes", "set_by": "company", "refused": [scope]});

    // What has begun is left as it is.
    assert!(app.is_active(&before["token"]));
    let read = app.admin.get(&app.token_path(&before)).await.expect(200).body;
    assert_eq!(read["expires_at"], before["expires_at"]);

    let create = |body: Value| app.admin.post(&app.path("/tokens")).json(&body);
    let scopes = json!(["employees"]);
    let made = create(json!({"name": "a", "scopes": scopes})).await.expect(201).body;
    assert_eq!(made["expires_at"], "2026-03-01T10:00:00.000000Z", "the lesser of both");
    let long = create(json!({"name": "a", "scopes": scopes, "expires_in_seconds": 3601})).await;
    violated(long, "expires_in_seconds", seconds("max_validity_seconds", 3600));
    let other = create(json!({"name": "a", "scopes": ["positions", "employees"]})).await;
    violated(other, "scopes", scope("positions"));
    let short = create(json!({"name": "a", "scopes": scopes, "expires_in_seconds": 59})).await;
    let short = short.problem(400, "policy-violation").body;
    assert_eq!(short["rule"]["name"], "min_validity_seconds");
    assert_eq!(short["rule"]["set_by"], "service");

    let path = app.token_path(&made);
    let refresh = |body: Value| app.admin.post(&format!("{path}/refresh")).json(&body);
    let grace = refresh(json!({"grace_period_seconds": 61})).await;
    violated(grace, "grace_period_seconds", seconds("max_grace_seconds", 60));
    let long = refresh(json!({"expires_in_seconds": 3601})).await;
    violated(long, "expires_in_seconds", seconds("max_validity_seconds", 3600));
    refresh(json!({"grace_period_seconds": 60})).await.expect(200);
    let scopes = json!({"scopes": ["employees", "locations"]});
    let edit = app.admin.patch(&path).json(&scopes).await;
    violated(edit, "scopes", scope("locations"));
    // A token from before keeps its scopes, but begins no new term with them.
    let old = app.admin.post(&format!("{}/refresh", app.token_path(&before))).await;
    violated(old, "scopes", scope("positions"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_term_that_a_new_policy_forbids_begins_behind_it() {
    let app = TestApp::new().await;
    let create = |number: usize| {
        let name = format!("token {number}");
        let body = json!({"name": name, "scopes": ["positions"], "expires_in_seconds": 604_800});
        tokio::spawn(app.admin.post(&app.path("/tokens")).json(&body).into_future())
    };
    let mut calls: Vec<_> = (0..40).map(create).collect();
    let body = json!({"max_validity_seconds": 60});
    let policy = tokio::spawn(app.admin.put(&app.path("/policy")).json(&body).into_future());
    calls.extend((40..80).map(create));
    policy.await.expect("an answer").expect(200);
    for call in calls {
        let answer = call.await.expect("an answer");
        assert!(answer.status == 201 || answer.status == 400, "{}", answer.text);
    }
    let events = app.app.store().read(app.company, 0, 1000).await.expect("events");
    let change = events.iter().position(|event| event.event_type == "company.policy_changed");
    let behind = &events[change.expect("a change")..];
    assert!(behind.iter().all(|event| event.event_type != "token.created"), "by position");
}
