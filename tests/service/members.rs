//! Members of companies: who may add, change and remove them, and what happens when two do.

use crate::support::{Client, TestApp, at, key};
use serde_json::{Value, json};
use std::future::IntoFuture;
use token_ledger::app::AppError;
use token_ledger::app::people::Email;
use token_ledger_domain::company::CompanyCommand;
use token_ledger_domain::{CompanyId, Digest, MemberId, PersonId, Role};
use token_ledger_projections::people::{Link, Purpose};

fn members(app: &TestApp) -> String {
    app.path("/members")
}

fn path_of(app: &TestApp, member: &Value) -> String {
    app.path(&format!("/members/{}", member["member_id"].as_str().expect("an id")))
}

async fn add(app: &TestApp, email: &str, role: &str) -> Value {
    let body = json!({"email": email, "role": role});
    app.admin.post(&members(app)).json(&body).await.expect(201).body
}

#[tokio::test]
async fn a_member_is_added_listed_changed_and_removed() {
    let app = TestApp::new().await;
    let body = json!({
        "email": " Ada@Example.com ", "role": "auditor", "name": "Ada L.", "reason": "hired",
    });
    let added = app.admin.post(&members(&app)).json(&body).await.expect(201);
    let ada = added.body.clone();
    assert_eq!(added.header("location"), path_of(&app, &ada));
    assert_eq!(added.header("etag"), format!("\"{}\"", ada["version"]));
    assert_eq!(ada["email"], "ada@example.com");
    assert_eq!(ada["name"], "Ada L.");
    assert_eq!(ada["role"], "auditor");
    assert_eq!(ada["password_set"], false);
    assert_eq!(ada["company_id"], app.company.to_string());
    let link = ada["set_password_url"].as_str().expect("a link");
    assert!(link.starts_with("http://localhost:8080/console/set-password/"), "{link}");

    // The list is in the order in which they came.
    app.clock.set(at(1));
    let bob = add(&app, "bob@example.com", "super_admin").await;
    let list = app.auditor.get(&members(&app)).await.expect(200).body;
    let emails: Vec<_> = list["items"].as_array().unwrap().iter().map(|m| &m["email"]).collect();
    assert_eq!(emails, ["ada@example.com", "bob@example.com"]);
    assert!(list["items"][0].get("set_password_url").is_none(), "it is shown once");
    let first = app.auditor.get(&format!("{}?limit=1", members(&app))).await.expect(200).body;
    let cursor = first["next_cursor"].as_str().expect("a second page");
    let rest = app.auditor.get(&format!("{}?cursor={cursor}", members(&app))).await.expect(200);
    assert_eq!(rest.body["items"][0]["member_id"], bob["member_id"]);

    let role = json!({"role": "super_admin", "reason": "promoted"});
    let changed = app.admin.patch(&path_of(&app, &ada)).json(&role).await.expect(200).body;
    assert_eq!(changed["role"], "super_admin");
    assert!(changed["version"].as_u64() > ada["version"].as_u64());
    app.admin.patch(&path_of(&app, &ada)).json(&role).await.expect(200);
    assert_eq!(app.count_events("company.member_role_changed").await, 1, "no change is no event");
    app.admin.delete(&path_of(&app, &ada)).await.expect(204);
    app.admin.delete(&path_of(&app, &ada)).await.problem(404, "not-found");
    app.auditor.get(&path_of(&app, &ada)).await.problem(404, "not-found");

    let events =
        app.admin.get(&app.path("/audit/events?type=company.member_added&order=asc")).await;
    let event = &events.expect(200).body["items"][0];
    assert_eq!(event["context"]["reason"], "hired");
    assert_eq!(event["data"]["person_id"], ada["person_id"]);
    assert!(!event["data"].to_string().contains("ada@"), "people are named by id: {event}");
}

#[tokio::test]
async fn one_address_is_one_account_over_all_companies() {
    let app = TestApp::new().await;
    let (globex, admin) = app.another_company("Globex").await;
    let here = add(&app, "ada@example.com", "auditor").await;
    assert!(here["set_password_url"].is_string());
    let path = format!("/v1/companies/{globex}/members");
    let body = json!({"email": "ADA@example.com", "role": "super_admin"});
    let there = admin.post(&path).json(&body).await.expect(201).body;
    assert_eq!(there["person_id"], here["person_id"]);
    assert_ne!(there["member_id"], here["member_id"]);
    assert_eq!(there["set_password_url"], Value::Null);
    // Nor does the link that was asked for before get into the other company.
    let url = here["set_password_url"].as_str().expect("a link");
    let opened = url.strip_prefix("http://localhost:8080").expect("our own");
    app.nobody.get(opened).await.expect(404);
    let again = json!({"email": "ada@EXAMPLE.com", "role": "auditor"});
    app.admin.post(&members(&app)).json(&again).await.problem(409, "already-exists");
    // Whoever holds a link gets into every company of the person, so one company can't ask for it.
    let link = format!("{}/password-link", path_of(&app, &here));
    app.admin.post(&link).await.problem(403, "above-own-power");
    app.operator.post(&link).await.expect(201);
    // Another company's member is nobody here.
    let other = app.path(&format!("/members/{}", there["member_id"].as_str().unwrap()));
    app.admin.delete(&other).await.problem(404, "not-found");
    let theirs = format!("{path}/{}", there["member_id"].as_str().unwrap());
    app.admin.get(&theirs).await.problem(404, "not-found");
}

#[tokio::test]
async fn a_link_that_comes_after_another_company_is_void() {
    let app = TestApp::new().await;
    let (globex, admin) = app.another_company("Globex").await;
    let here = add(&app, "ada@example.com", "auditor").await;
    let path = format!("/v1/companies/{globex}/members");
    let body = json!({"email": "ada@example.com", "role": "super_admin"});
    admin.post(&path).json(&body).await.expect(201);
    // Acme was asked for a link before, and made it only now.
    let secret = "tll_made_late";
    let link = Link {
        person_id: PersonId(here["person_id"].as_str().unwrap().parse().unwrap()),
        purpose: Purpose::SetPassword,
        digest: Digest::of(secret),
        opens: None,
        asked_by: Some(app.company),
        created_at: at(0),
        expires_at: at(60),
    };
    app.app.people.put_link(&link, None).await.unwrap();
    app.nobody.get(&format!("/console/set-password/{secret}")).await.expect(404);
    assert!(!app.app.people.redeem_link(&link, "hash").await.unwrap());
    let account = app.app.people.account_of(link.person_id).await.unwrap().unwrap();
    assert_eq!(account.password_hash, None);
}

#[tokio::test]
async fn a_refusal_leaves_no_account_behind() {
    let app = TestApp::new().await;
    let body = json!({"email": "eve@example.com", "role": "operator"});
    let call = app.admin.post(&members(&app)).header("idempotency-key", "1").json(&body);
    call.await.problem(403, "above-own-power");
    let name = token_ledger_domain::Name::new("Acme").unwrap();
    let email = Email::new("eve@example.com").unwrap();
    let refused = app.app.set_up(&name, &email).await;
    assert!(matches!(refused, Err(AppError::NameTaken(_))), "{refused:?}");
    // Nothing is recorded by a clock so far behind the ledger.
    app.after(-400);
    let body = json!({"email": "eve@example.com", "role": "auditor"});
    app.admin.post(&members(&app)).json(&body).await.problem(503, "unavailable");
    assert_eq!(app.app.people.account("eve@example.com").await.unwrap(), None);
}

#[tokio::test]
async fn a_repeat_does_not_bring_an_erased_person_back() {
    let app = TestApp::new().await;
    let body = json!({"email": "eve@example.com", "role": "auditor"});
    let call = || app.admin.post(&members(&app)).header("idempotency-key", "1").json(&body);
    let eve = call().await.expect(201).body;
    let erase = app.path(&format!("/people/{}/erase", eve["person_id"].as_str().unwrap()));
    let reason = json!({"reason": "asked for"});
    let erased = app.operator.post(&erase).json(&reason).await.expect(200).body;
    assert_eq!(erased["account"], true);
    let repeated = call().await.expect(201);
    assert_eq!(repeated.header("idempotent-replay"), "true");
    assert_eq!(repeated.body["member_id"], eve["member_id"]);
    assert_eq!(repeated.body["email"], Value::Null);
    assert_eq!(app.app.people.account("eve@example.com").await.unwrap(), None);
}

#[tokio::test]
async fn nobody_grants_above_their_own_power() {
    let app = TestApp::new().await;
    let body = |role: &str| json!({"email": "eve@example.com", "role": role});
    app.auditor.post(&members(&app)).json(&body("auditor")).await.problem(403, "forbidden");
    app.resource_server.get(&members(&app)).await.problem(403, "forbidden");
    app.nobody.get(&members(&app)).await.problem(401, "unauthorized");
    let asked = app.admin.post(&members(&app)).json(&body("operator")).await;
    asked.problem(403, "above-own-power");
    app.operator.post(&members(&app)).json(&body("operator")).await.invalid(&["role"]);
    // On the platform, a Super Admin may not make or touch an operator.
    let platform = format!("/v1/companies/{}/members", CompanyId::PLATFORM);
    let super_admin = app.nobody.with(key(&app.app, CompanyId::PLATFORM, "ledger.admin").await);
    super_admin.post(&platform).json(&body("operator")).await.problem(403, "above-own-power");
    let operator = json!({"email": "op@example.com", "role": "operator"});
    let operator = app.operator.post(&platform).json(&operator).await.expect(201).body;
    let path = format!("{platform}/{}", operator["member_id"].as_str().unwrap());
    super_admin.delete(&path).await.problem(403, "above-own-power");
    let lower = json!({"role": "auditor"});
    super_admin.patch(&path).json(&lower).await.problem(403, "above-own-power");
    super_admin.post(&format!("{path}/password-link")).await.problem(403, "above-own-power");
    // A refusal leaves no account behind that would have no link.
    let added = add(&app, "eve@example.com", "auditor").await;
    assert!(added["set_password_url"].is_string());
}

#[tokio::test]
async fn the_last_super_admin_stays() {
    let app = TestApp::new().await;
    let ada = add(&app, "ada@example.com", "super_admin").await;
    add(&app, "bob@example.com", "auditor").await;
    let lower = json!({"role": "auditor"});
    for client in [&app.admin, &app.operator] {
        client.delete(&path_of(&app, &ada)).await.problem(409, "last-super-admin");
        client.patch(&path_of(&app, &ada)).json(&lower).await.problem(409, "last-super-admin");
    }
    add(&app, "eve@example.com", "super_admin").await;
    app.admin.patch(&path_of(&app, &ada)).json(&lower).await.expect(200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_last_super_admins_removed_at_once_one_stays() {
    let app = TestApp::new().await;
    let mut newest = add(&app, "first@example.com", "super_admin").await;
    for round in 0..10 {
        let other = add(&app, &format!("other{round}@example.com"), "super_admin").await;
        let remove =
            |member: &Value| tokio::spawn(app.admin.delete(&path_of(&app, member)).into_future());
        let (one, two) = (remove(&newest), remove(&other));
        let statuses = [one.await.unwrap().status.as_u16(), two.await.unwrap().status.as_u16()];
        assert!(statuses == [204, 409] || statuses == [409, 204], "{statuses:?}");
        let list = app.admin.get(&members(&app)).await.expect(200).body;
        assert_eq!(list["items"].as_array().map(Vec::len), Some(1), "{list}");
        newest = list["items"][0].clone();
    }
}

#[tokio::test]
async fn a_change_holds_for_the_version_asked_for() {
    let app = TestApp::new().await;
    let ada = add(&app, "ada@example.com", "auditor").await;
    let tag = format!("\"{}\"", ada["version"]);
    // What happens to others is not her change.
    let bob = add(&app, "bob@example.com", "auditor").await;
    let path = path_of(&app, &ada);
    let role = |role: &str| json!({"role": role});
    let call = app.admin.patch(&path).header("if-match", &tag).json(&role("super_admin"));
    call.await.expect(200);
    let call = app.admin.patch(&path).header("if-match", &tag).json(&role("auditor"));
    call.await.problem(412, "version-mismatch");
    app.admin.delete(&path).header("if-match", &tag).await.problem(412, "version-mismatch");
    let bobs = format!("\"{}\"", bob["version"]);
    app.admin.delete(&path_of(&app, &bob)).header("if-match", &bobs).await.expect(204);
}

#[tokio::test]
async fn an_answer_says_what_its_change_led_to_whatever_came_after_it() {
    let app = TestApp::new().await;
    add(&app, "boss@example.com", "super_admin").await;
    let body = json!({"email": "ada@example.com", "role": "auditor"});
    let call = app.admin.post(&members(&app)).json(&body);
    let adding = app.recorded(call, "company.member_added").await;
    let listed = app.admin.get(&members(&app)).await.expect(200).body;
    let is_ada = |member: &&Value| member["email"] == "ada@example.com";
    let ada =
        listed["items"].as_array().unwrap().iter().find(is_ada).expect("she is added").clone();
    let id = |member: &Value| MemberId(member["member_id"].as_str().unwrap().parse().unwrap());
    app.meanwhile(CompanyCommand::RemoveMember { member_id: id(&ada) }).await;
    let added = adding.await.expect(201);
    assert_eq!(added.body["member_id"], ada["member_id"]);
    assert_eq!(added.header("etag"), format!("\"{}\"", ada["version"]));
    assert!(added.body["set_password_url"].is_string(), "{}", added.text);

    let bob = add(&app, "bob@example.com", "auditor").await;
    let call = app.admin.patch(&path_of(&app, &bob)).json(&json!({"role": "super_admin"}));
    let raising = app.recorded(call, "company.member_role_changed").await;
    let (member_id, role) = (id(&bob), Role::Auditor);
    app.meanwhile(CompanyCommand::ChangeRole { member_id, role, platform: false }).await;
    let raised = raising.await.expect(200);
    assert_eq!(raised.body["role"], "super_admin");
    let again = app.admin.patch(&path_of(&app, &bob)).header("if-match", raised.header("etag"));
    again.json(&json!({"role": "auditor"})).await.problem(412, "version-mismatch");
}

#[tokio::test]
async fn a_repeat_adds_nobody_and_shows_no_link() {
    let app = TestApp::new().await;
    let body = json!({"email": "ada@example.com", "role": "auditor"});
    let call = || app.admin.post(&members(&app)).header("idempotency-key", "1").json(&body);
    let first = call().await.expect(201);
    let second = call().await.expect(201);
    assert_eq!(second.header("idempotent-replay"), "true");
    assert_eq!(second.body["member_id"], first.body["member_id"]);
    assert!(first.body["set_password_url"].is_string());
    assert_eq!(second.body["set_password_url"], Value::Null);
    assert_eq!(app.count_events("company.member_added").await, 1);
    let other = json!({"email": "bob@example.com", "role": "auditor"});
    let call = app.admin.post(&members(&app)).header("idempotency-key", "1").json(&other);
    call.await.problem(422, "idempotency-key-reused");
}

#[tokio::test]
async fn a_newer_link_replaces_the_older_and_is_good_for_a_day() {
    let app = TestApp::new().await;
    let ada = add(&app, "ada@example.com", "auditor").await;
    let path = |answer: &Value| {
        let url = answer["set_password_url"].as_str().expect("a link");
        url.strip_prefix("http://localhost:8080").expect("our own").to_owned()
    };
    let link = format!("{}/password-link", path_of(&app, &ada));
    app.auditor.post(&link).await.problem(403, "forbidden");
    let stale = app.admin.post(&link).header("if-match", "\"99\"");
    stale.await.problem(412, "version-mismatch");
    app.nobody.get(&path(&ada)).await.expect(200);
    let current = format!("\"{}\"", ada["version"]);
    let second = app.admin.post(&link).header("if-match", &current).await.expect(201).body;
    assert_ne!(path(&second), path(&ada));
    app.nobody.get(&path(&ada)).await.expect(404);
    app.nobody.get(&path(&second)).await.expect(200);
    // A repeat makes none, and leaves the one that was made.
    let again = || app.admin.post(&link).header("idempotency-key", "once");
    let third = again().await.expect(201).body;
    let repeated = again().await.expect(201);
    assert_eq!(repeated.header("idempotent-replay"), "true");
    assert_eq!(repeated.body["set_password_url"], Value::Null);
    app.nobody.get(&path(&third)).await.expect(200);
    // It answers as the first did, whatever became of the member.
    add(&app, "cleo@example.com", "super_admin").await;
    app.after(1);
    let member = path_of(&app, &ada);
    app.admin.patch(&member).json(&json!({"role": "super_admin"})).await.expect(200);
    assert_eq!(again().await.expect(201).body["role"], "auditor");
    app.admin.delete(&member).await.expect(204);
    assert_eq!(again().await.expect(201).body["member_id"], ada["member_id"]);
    let bob = add(&app, "bob@example.com", "auditor").await;
    let link = format!("{}/password-link", path_of(&app, &bob));
    let third = app.admin.post(&link).await.expect(201).body;
    app.after(86_401);
    app.nobody.get(&path(&third)).await.expect(404);
}

#[tokio::test]
async fn what_is_not_acceptable_is_named() {
    let app = TestApp::new().await;
    let post = |body: Value| app.admin.post(&members(&app)).json(&body);
    post(json!({})).await.invalid(&["email", "role"]);
    post(json!({"email": "ada", "role": "boss"})).await.invalid(&["email", "role"]);
    let long = "r".repeat(501);
    post(json!({"email": "a@b.c", "role": "auditor", "name": "", "reason": long}))
        .await
        .invalid(&["name", "reason"]);
    post(json!({"email": "a@b.c", "role": "auditor", "admin": true})).await.invalid(&["admin"]);
    // A secret would be kept and shown.
    let secret = app.token("t").await["token"].clone();
    let name = json!({"email": "a@b.c", "role": "auditor", "name": secret});
    post(name).await.invalid(&["name"]);
    let company = app.operator.post("/v1/companies").json(&json!({"name": secret}));
    company.await.invalid(&["name"]);
    let key = app.admin.post(&members(&app)).header("idempotency-key", secret.as_str().unwrap());
    key.json(&json!({"email": "a@b.c", "role": "auditor"})).await.invalid(&["Idempotency-Key"]);
    app.admin.get(&app.path("/members/x")).await.invalid(&["member_id"]);
    let list = app.admin.get(&members(&app)).await.expect(200).body;
    assert_eq!(list["items"], json!([]));
}

#[tokio::test]
async fn of_two_who_register_a_name_at_once_one_gets_it() {
    let app = TestApp::new().await;
    let register =
        |client: &Client, name: &str| client.post("/v1/companies").json(&json!({"name": name}));
    for round in 0..10 {
        let name = format!("Globex {round}");
        let calls = (0..4).map(|_| tokio::spawn(register(&app.operator, &name).into_future()));
        let mut created = 0;
        for call in calls.collect::<Vec<_>>() {
            match call.await.expect("an answer") {
                answer if answer.status == 201 => created += 1,
                answer => drop(answer.problem(409, "already-exists")),
            }
        }
        assert_eq!(created, 1, "{name}");
        let found = app.app.read.companies_named(&name).await.expect("an answer");
        assert_eq!(found.len(), 1);
    }
}

#[tokio::test]
async fn companies_have_names_that_look_different() {
    let app = TestApp::new().await;
    let create = |name: &str| app.operator.post("/v1/companies").json(&json!({"name": name}));
    create("Globex Größe").await.expect(201);
    for same in ["globex größe", "GLOBEX GRÖSSE ", " Globex Gro\u{308}ße", "Glo\u{200B}bex Größe"]
    {
        create(same).await.problem(409, "already-exists");
    }
    for platforms in ["platform", "Platform", "PLATFORM\u{2060}"] {
        create(platforms).await.problem(409, "already-exists");
    }
    create("Globex \u{202E}Größe").await.invalid(&["name"]);
    create("Globex Grüße").await.expect(201);
}

#[tokio::test]
async fn a_name_reserved_by_who_never_registered_it_can_be_taken() {
    let app = TestApp::new().await;
    let name = token_ledger_domain::Name::new("Globex").unwrap();
    let stranded = CompanyId(app.app.new_id());
    assert_eq!(app.app.people.reserve_name(&name, stranded).await.unwrap(), stranded);
    let body = json!({"name": "Globex"});
    let made = app.operator.post("/v1/companies").json(&body).await.expect(201).body;
    assert_eq!(made["company_id"], stranded.to_string());
    app.operator.post("/v1/companies").json(&body).await.problem(409, "already-exists");
}
