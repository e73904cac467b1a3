//! Work that every process does of its own accord, and that must be done once.

use crate::stage::{Answer, Node, Stage, until};
use reqwest::Method;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use token_ledger::app::tokens::NewToken;
use token_ledger::app::{App, Caller, Choices, Conditions};
use token_ledger_event_store::clock::SetClock;
use token_ledger_event_store::{Access, Clock, SystemClock, SystemEntropy};

/// Terms that end in the same second.
const TERMS: usize = 400;
/// Tokens that are deleted at once.
const MANY: usize = 3000;
/// Tokens that are created at once.
const AT_ONCE: usize = 200;
/// How long after the death of a process what it was at may be left.
const TAKEN_OVER: Duration = Duration::from_secs(5);

/// Creates so many tokens with terms of this many seconds that began some seconds ago.
async fn create_many(stage: &Stage, count: usize, expires_in_seconds: i64, seconds_ago: i64) {
    let clock = Arc::new(SetClock::at(SystemClock.now().plus_seconds(-seconds_ago)));
    let url = stage.place.url().parse().expect("a URL");
    let entropy = Arc::new(SystemEntropy);
    let app = App::open(&url, Access::Write, clock, entropy, Choices::default()).await;
    let app = app.expect("the database opens");
    let caller = Caller::command_line(stage.company.id.parse().expect("an id"));
    let numbers: Vec<usize> = (0..count).collect();
    for some in numbers.chunks(AT_ONCE) {
        let creations = some.iter().map(|number| {
            let input = NewToken {
                name: number.to_string(),
                scopes: vec!["positions".to_owned()],
                expires_in_seconds: Some(expires_in_seconds),
                client_id: None,
                reason: None,
            };
            app.create_token(&caller, input, Conditions::default())
        });
        let created: Result<Vec<_>, _> =
            futures::future::join_all(creations).await.into_iter().collect();
        created.expect("tokens");
    }
}

fn is_none_left(list: &Answer) -> bool {
    list.body["items"] == Value::Array(Vec::new())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_term_ends_once() {
    let stage = Stage::new().await;
    let often = [("TOKEN_LEDGER_EXPIRY_INTERVAL_SECONDS", "1")];
    let nodes = [(); 3].map(|()| stage.serve_at(&stage.url(), &often));
    // No term is shorter than a minute, so these began a while ago and end in a few seconds.
    create_many(&stage, TERMS, 60, 60 - 3).await;
    for node in &nodes {
        let left = || node.ask(Method::GET, "/tokens?status=active", None);
        until("all terms are over", left, is_none_left).await;
    }
    let mut ends: BTreeMap<String, usize> = BTreeMap::new();
    let is_end = |event: &Value| event["type"] == "token.expired";
    let recorded = || async { nodes[0].events().await };
    let all = |events: &Vec<Value>| events.iter().filter(|event| is_end(event)).count() >= TERMS;
    let events = until("all ends are recorded", recorded, all).await;
    for event in events.iter().filter(|event| is_end(event)) {
        *ends.entry(event["token_id"].to_string()).or_default() += 1;
    }
    assert_eq!(ends.len(), TERMS);
    assert!(ends.values().all(|count| *count == 1), "{ends:?}");
    nodes.into_iter().for_each(Node::stop);
    stage.check();
}

/// A process is killed again and again, at whatever it is; others go on with its projections.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_killed_is_taken_over_from() {
    let stage = Stage::new().await;
    let (stays, third) = (stage.serve(), stage.serve());
    let mut worst = Duration::ZERO;
    for round in 0..5 {
        let dies = stage.serve();
        let is_over = Arc::new(AtomicBool::new(false));
        let load: Vec<_> = [&dies, &stays, &third]
            .into_iter()
            .map(|node| {
                let (caller, is_over) = (node.caller.clone(), Arc::clone(&is_over));
                tokio::spawn(async move {
                    let path = caller.path("/tokens");
                    let body = serde_json::json!({"name": "load", "scopes": ["positions"]});
                    while !is_over.load(Ordering::SeqCst) {
                        let key = &caller.company.admin_key;
                        let request = caller.request(Method::POST, &path, key).json(&body);
                        if crate::stage::Caller::try_send(request).await.is_none() {
                            return;
                        }
                    }
                })
            })
            .collect();
        // In the midst of it, each time at something else.
        let head = || async { stays.events().await.len() };
        until("there is load", head, |count| *count > 60 * (round + 1)).await;
        dies.serving.kill();
        let killed = Instant::now();
        let last = stays.create("after").await.expect(201).field("token_id");
        let is_last = |event: &Value| event["token_id"] == last.as_str();
        let has_last = |events: &Vec<Value>| events.iter().any(is_last);
        until("the trail goes on", || stays.events(), has_last).await;
        until("the other's too", || third.events(), has_last).await;
        worst = worst.max(killed.elapsed());
        assert!(killed.elapsed() < TAKEN_OVER, "{:?}", killed.elapsed());
        is_over.store(true, Ordering::SeqCst);
        for task in load {
            task.await.expect("it ends well");
        }
    }
    println!("taken over within {worst:?}");
    stays.stop();
    third.stop();
    stage.check();
}

/// Whoever has a company's checkpoint is its only runner, and holds up no other company's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_at_a_time_runs_a_projection_of_a_company() {
    let stage = Stage::new().await;
    let nodes = stage.serve_three();
    let another = stage.place.setup("Globex");
    let far = nodes[1].caller_of(&another);
    until("it has begun", || nodes[0].events(), |events| !events.is_empty()).await;
    until("its tree too", || nodes[0].checkpoint(), |answer| answer.status == 200).await;
    let company = &stage.company.id;
    let row = |projection: &str| {
        format!(
            "SELECT FROM checkpoints WHERE company_id = '{company}' \
             AND projection = '{projection}' FOR UPDATE"
        )
    };
    let database = stage.place.database();
    let held = [database.hold(&row("audit")).await, database.hold(&row("tree")).await];
    let last = nodes[0].create("waits").await.expect(201).field("token_id");
    let is_last = |event: &Value| event["token_id"] == last.as_str();
    let there = far.create("does not").await.expect(201).field("token_id");
    let events = far.events().await;
    assert!(events.iter().any(|event| event["token_id"] == there.as_str()));
    until(
        "its checkpoint",
        || far.checkpoint(),
        |answer| answer.text.lines().nth(1) == Some(&events.len().to_string()),
    )
    .await;
    // Who asks for what only the runner could have done is told to come again, not less than all.
    let trail = nodes[2].path("/audit/events");
    let request = nodes[2].request(Method::GET, &trail, &stage.company.audit_key);
    crate::stage::Caller::send(request).await.expect(503);
    drop(held);
    let released = Instant::now();
    for node in &nodes {
        let events = node.events().await;
        assert!(events.iter().any(is_last));
    }
    assert!(released.elapsed() < TAKEN_OVER, "{:?}", released.elapsed());
    nodes.into_iter().for_each(Node::stop);
    stage.check();
}

/// Tokens are being deleted when the process is killed that was asked to.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operation_that_was_left_is_gone_on_with() {
    let stage = Stage::new().await;
    let (dies, stays) = (stage.serve(), stage.serve());
    create_many(&stage, MANY, 3600, 0).await;
    let order = serde_json::json!({"scope": "positions", "reason": "a leak"});
    let accepted = dies.ask(Method::POST, "/tokens/delete-all", Some(order)).await.expect(202);
    let below = format!("/tokens/delete-all/{}", accepted.field("operation_id"));
    let progress = || stays.ask(Method::GET, &below, None);
    until("it has begun", progress, |answer| answer.body["deleted"].as_u64() > Some(0)).await;
    dies.serving.kill();
    let left = || stays.ask(Method::GET, "/tokens?status=active", None);
    until("all are deleted", left, is_none_left).await;
    let done = until("it is done", progress, |answer| answer.body["state"] == "done").await;
    assert_eq!(done.body["deleted"], MANY);
    stays.stop();
    stage.check();
}

/// Whether anybody is at an operation can be told only by looking more than once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_starts_takes_no_operation_over_before_it_has_seen_that_it_is_left() {
    let stage = Stage::new().await;
    let node = stage.serve();
    let secret = node.create("one").await.expect(201).field("token");
    let order = serde_json::json!({"scope": "employees", "reason": "a leak"});
    let accepted = node.ask(Method::POST, "/tokens/delete-all", Some(order)).await.expect(202);
    let below = format!("/tokens/delete-all/{}", accepted.field("operation_id"));
    let progress = || node.ask(Method::GET, &below, None);
    until("it is done", progress, |answer| answer.body["state"] == "done").await;
    node.stop();
    // As a process leaves one that is killed.
    stage.place.alter(
        "UPDATE operations SET state = 'running', finished_at = NULL, \
         request = replace(request, 'employees', 'positions')",
    );
    let node = stage.serve();
    node.verify(&secret).await.expect(200);
    node.serving.says("taking an operation over that was left");
    let verified = || node.verify(&secret);
    until("it is deleted", verified, |answer| answer.status == 401).await;
    node.stop();
    stage.check();
}
