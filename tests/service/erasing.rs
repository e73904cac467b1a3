//! Erasures whose callers or processes don't see them to their end.

use crate::support::TestApp;
use futures::FutureExt;
use serde_json::{Value, json};
use std::future::IntoFuture;
use std::time::Duration;
use token_ledger::app::Caller;
use token_ledger_domain::company::CompanyCommand;
use token_ledger_domain::{Actor, ActorType, CompanyId, PersonId};
use token_ledger_projections::attempts::{AttemptKind, Seen};
use token_ledger_projections::read_models::Operation;
use uuid::Uuid;

const EMAIL: &str = "eve@example.com";

/// A member who is to be erased.
async fn eve(app: &TestApp) -> PersonId {
    let body = json!({"email": EMAIL, "role": "auditor", "reason": "hired by Eve's friend"});
    let member = app.admin.post(&app.path("/members")).json(&body).await.expect(201).body;
    PersonId(member["person_id"].as_str().unwrap().parse().unwrap())
}

fn erase(app: &TestApp, person: PersonId) -> crate::support::Call {
    let path = app.path(&format!("/people/{person}/erase"));
    app.operator.post(&path).json(&json!({"reason": "asked for"}))
}

/// An erasure whose process ended after it had recorded the event.
async fn cut_off(app: &TestApp, person: PersonId) -> Operation {
    let after = app.app.head(app.company).await.unwrap();
    let order = json!({"erase": person, "after": after, "position": null, "account": false});
    let operation = Operation {
        company_id: app.company,
        operation_id: app.app.new_id(),
        request: order.to_string(),
        state: "running".to_owned(),
        matched: 0,
        done: 0,
        started_at: app.app.now(),
        finished_at: None,
    };
    app.app.read.save_operation(&operation).await.unwrap();
    let caller = Caller::command_line(app.company);
    let command = CompanyCommand::ErasePerson { person_id: person };
    app.app.change_company(&caller, command).await.unwrap();
    operation
}

/// Holds that the person is gone and that one event says so.
async fn is_erased(app: &TestApp) {
    assert_eq!(app.app.people.account(EMAIL).await.unwrap(), None);
    let path = app.path("/audit/events?type=company.member_added");
    let added = app.auditor.get(&path).await.expect(200).body;
    assert_eq!(added["items"][0]["context"]["reason"], Value::Null, "{added}");
    assert_eq!(app.count_events("company.person_erased").await, 1);
    assert_eq!(app.app.read.open_operations().await.unwrap(), []);
}

#[tokio::test]
async fn it_goes_on_when_its_caller_hangs_up() {
    let app = TestApp::new().await;
    let person = eve(&app).await;
    let caller = Caller { company: app.company, ..Caller::command_line(CompanyId::PLATFORM) };
    let mut asking = Box::pin(app.app.erase_person(&caller, person, "asked for", None));
    assert!((&mut asking).now_or_never().is_none(), "it takes a while");
    drop(asking);
    let gone = async {
        while app.app.people.account(EMAIL).await.unwrap().is_some() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), gone).await.expect("it goes on");
    app.app.end_erasures().await;
    is_erased(&app).await;
}

/// A deletion of all tokens that Eve asked for, and that nobody carries out yet.
fn ordered(app: &TestApp, member: &Value) -> Operation {
    let order = json!({
        "client_id": null, "scope": null, "created_by": null,
        "actor": {"type": "member", "id": member["member_id"]}, "request_id": "r",
        "private": {"actor_name": "Eve", "ip": "192.0.2.66", "user_agent": "Eve's", "reason": "why"},
        "last_position": 1000, "last_recorded_at": app.app.now(),
    });
    Operation {
        company_id: app.company,
        operation_id: app.app.new_id(),
        request: order.to_string(),
        state: "running".to_owned(),
        matched: 1,
        done: 0,
        started_at: app.app.now(),
        finished_at: None,
    }
}

fn says_who(operation: &Operation) -> bool {
    ["Eve", "192.0.2.66", "why"].iter().any(|text| operation.request.contains(text))
}

#[tokio::test]
async fn what_a_person_asked_for_goes_on_without_saying_who_asked() {
    let app = TestApp::new().await;
    let body = json!({"email": EMAIL, "role": "super_admin"});
    let member = app.admin.post(&app.path("/members")).json(&body).await.expect(201).body;
    app.token("to be deleted").await;
    let operation = ordered(&app, &member);
    let another = Operation {
        request: operation
            .request
            .replace(member["member_id"].as_str().unwrap(), &Uuid::nil().to_string()),
        operation_id: app.app.new_id(),
        ..operation.clone()
    };
    for operation in [&operation, &another] {
        app.app.read.save_operation(operation).await.unwrap();
    }
    let person = PersonId(member["person_id"].as_str().unwrap().parse().unwrap());
    erase(&app, person).await.expect(200);
    let left = async |operation: &Operation| {
        let found = app.app.read.operation(app.company, operation.operation_id).await.unwrap();
        found.expect("an operation")
    };
    assert!(!says_who(&left(&operation).await));
    assert!(says_who(&left(&another).await), "it is somebody else's");
    app.app.read.forget_operation(app.company, another.operation_id).await.unwrap();
    // Whoever carried it out stored once more what they knew.
    app.app.read.save_operation(&operation).await.unwrap();
    for task in app.app.resume_operations().await.unwrap() {
        task.await.unwrap();
    }
    assert!(!says_who(&left(&operation).await));
    let path = app.path("/audit/events?type=token.deleted");
    let deleted = &app.auditor.get(&path).await.expect(200).body["items"][0];
    assert_eq!(deleted["actor"]["id"], member["member_id"], "{deleted}");
    let told = &deleted["context"];
    let nothing = json!({"request_id": "r", "ip": null, "user_agent": null, "reason": null});
    assert_eq!((told, &deleted["actor"]["name"]), (&nothing, &Value::Null));
}

#[tokio::test]
async fn one_that_was_cut_off_is_finished_at_the_next_start() {
    let app = TestApp::new().await;
    let person = eve(&app).await;
    let operation = cut_off(&app, person).await;
    let path = app.path(&format!("/tokens/delete-all/{}", operation.operation_id));
    app.admin.get(&path).await.problem(404, "not-found");
    for task in app.app.resume_operations().await.unwrap() {
        task.await.unwrap();
    }
    is_erased(&app).await;
}

#[tokio::test]
async fn one_that_was_cut_off_is_finished_by_whoever_asks_again() {
    let app = TestApp::new().await;
    let person = eve(&app).await;
    cut_off(&app, person).await;
    let erased = erase(&app, person).await.expect(200).body;
    assert_eq!((&erased["private_parts"], &erased["account"]), (&json!(1), &json!(true)));
    is_erased(&app).await;
}

#[tokio::test]
async fn asked_again_meanwhile_it_is_the_same() {
    let app = TestApp::new().await;
    let person = eve(&app).await;
    cut_off(&app, person).await;
    let calls = (0..3).map(|_| tokio::spawn(erase(&app, person).into_future()));
    let answers = futures::future::join_all(calls.collect::<Vec<_>>()).await;
    for answer in answers {
        assert_eq!(answer.unwrap().expect(200).body["private_parts"], 1);
    }
    is_erased(&app).await;
    // So it is where several ask for the first time.
    let app = TestApp::new().await;
    let person = eve(&app).await;
    let calls = (0..4).map(|_| tokio::spawn(erase(&app, person).into_future()));
    for answer in futures::future::join_all(calls.collect::<Vec<_>>()).await {
        answer.unwrap().expect(200);
    }
    is_erased(&app).await;
}

#[tokio::test]
async fn a_repeat_records_nothing_again_and_answers_as_the_first_did() {
    let app = TestApp::new().await;
    let person = eve(&app).await;
    let first = erase(&app, person).header("idempotency-key", "1").await.expect(200).body;
    let second = erase(&app, person).header("idempotency-key", "1").await.expect(200);
    assert_eq!(second.header("idempotent-replay"), "true");
    assert_eq!(second.body, first);
    is_erased(&app).await;
    let stranger = PersonId(Uuid::from_u128(1));
    erase(&app, stranger).await.problem(404, "not-found");
    assert_eq!(app.app.read.open_operations().await.unwrap(), []);
}

#[tokio::test]
async fn a_repeat_of_one_that_was_joined_records_nothing_again() {
    let app = TestApp::new().await;
    let person = eve(&app).await;
    cut_off(&app, person).await;
    let first = erase(&app, person).header("idempotency-key", "1").await.expect(200);
    assert_eq!(first.header("idempotent-replay"), "");
    app.after(1);
    let second = erase(&app, person).header("idempotency-key", "1").await.expect(200);
    assert_eq!(second.header("idempotent-replay"), "true");
    assert_eq!(second.body, first.body);
    is_erased(&app).await;
    // The key leads to the erasure that was joined, also when there was another one since.
    erase(&app, person).header("idempotency-key", "2").await.expect(200);
    let third = erase(&app, person).header("idempotency-key", "1").await.expect(200);
    assert_eq!(third.body["position"], first.body["position"]);
}

#[tokio::test]
async fn a_repeat_takes_nothing_from_who_was_added_again() {
    let app = TestApp::new().await;
    let person = eve(&app).await;
    let members = app.path("/members");
    let first = app.admin.get(&members).await.expect(200).body["items"].clone();
    let is_eve = |member: &&Value| member["person_id"] == person.to_string();
    let first = first.as_array().unwrap().iter().find(is_eve).unwrap()["member_id"].clone();
    let (other, admin) = app.another_company("Umbra").await;
    let body = json!({"email": EMAIL, "role": "auditor"});
    let theirs = format!("/v1/companies/{other}/members");
    let there = admin.post(&theirs).json(&body).await.expect(201).body;
    assert_eq!(there["person_id"], person.to_string());

    // The other company still needs the account.
    let erased = erase(&app, person).header("idempotency-key", "1").await.expect(200).body;
    assert_eq!(erased["account"], false);
    let path = |member: &Value| format!("/{}", member.as_str().unwrap());
    app.admin.delete(&(members.clone() + &path(&first))).await.expect(204);
    let again = app.admin.post(&members).json(&body).await.expect(201).body;
    assert_eq!(again["person_id"], person.to_string());
    admin.delete(&(theirs + &path(&there["member_id"]))).await.expect(204);

    erase(&app, person).header("idempotency-key", "1").await.expect(200);
    let account = app.app.people.account(EMAIL).await.unwrap();
    assert_eq!(account.map(|account| account.person_id), Some(person));
}

/// Another process may still have had something to note when the erasure looked for it.
#[tokio::test]
async fn what_is_noted_late_of_who_was_erased_says_nothing_of_them() {
    let app = TestApp::new().await;
    let person = eve(&app).await;
    let listed = app.admin.get(&app.path("/members")).await.expect(200).body;
    let eve = listed["items"].as_array().unwrap().iter().find(|it| it["email"] == EMAIL).unwrap();
    let id = eve["member_id"].as_str().unwrap().parse().unwrap();
    let refused = || Seen {
        kind: AttemptKind::Denied,
        company_id: app.company,
        actor: Some(Actor { kind: ActorType::Member, id }),
        method: "GET".to_owned(),
        route: "/console/policy".to_owned(),
        status: 403,
        problem: None,
        request_id: None,
        ip: Some([192, 0, 2, 66].into()),
        user_agent: Some("Eve's own browser".to_owned()),
    };
    app.app.note(refused());
    let denials = app.path("/audit/denials?limit=1");
    let before = app.auditor.get(&denials).await.expect(200).body["items"][0].clone();
    assert_eq!(before["context"]["ip"], "192.0.2.66");
    erase(&app, person).await.expect(200);
    app.after(1);
    app.app.note(refused());
    let after = app.auditor.get(&denials).await.expect(200).body["items"][0].clone();
    assert_ne!(after["attempt_id"], before["attempt_id"]);
    assert_eq!(after["actor"], before["actor"]);
    assert_eq!(
        (&after["context"]["ip"], &after["context"]["user_agent"]),
        (&Value::Null, &Value::Null)
    );
}

#[tokio::test]
async fn a_parameter_that_means_nothing_erases_nobody() {
    let app = TestApp::new().await;
    let person = eve(&app).await;
    let path = app.path(&format!("/people/{person}/erase?dry_run=true"));
    let asked = app.operator.post(&path).json(&json!({"reason": "asked for"}));
    asked.await.problem(400, "invalid-input");
    assert_eq!(app.count_events("company.person_erased").await, 0);
    assert!(app.app.people.account(EMAIL).await.unwrap().is_some());
}
