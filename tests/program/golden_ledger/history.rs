//! A history with an event of every type, made with this program.

use super::files::{Golden, Row};
use crate::support::{Client, TestApp, key};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use token_ledger::app::signing;
use token_ledger_domain::CompanyId;
use tokio::sync::watch;

/// More than a full tile of entries, in tokens that are created and expire.
const CROWD: usize = 120;
/// When all terms have ended.
const END: i64 = 100 * 86_400;

/// Goes through it, and takes down what came of it.
pub async fn history() -> Golden {
    let app = TestApp::new().await;
    let (stop, stopping) = watch::channel(false);
    let signing = signing::start(&app.app, &stopping);
    let mut checkpoints = BTreeMap::new();
    keep_checkpoint(&app, &mut checkpoints).await;

    let token = token_history(&app).await;
    company_history(&app).await;
    key_history(&app).await;
    keep_checkpoint(&app, &mut checkpoints).await;
    for number in 0..CROWD {
        app.token(&format!("crowd {number}")).await;
    }
    assert_eq!(app.count_events("token.created").await, CROWD + 1);
    app.after(END);
    app.app.expire_due().await.expect("all terms end");
    let head = keep_checkpoint(&app, &mut checkpoints).await;

    let golden = taken_down(&app, token, head, checkpoints).await;
    stop.send_replace(true);
    signing.await.expect("signing ends");
    app.stopped().await;
    golden
}

/// An operator with a new key reads what no key from the beginning can any more.
async fn get(app: &TestApp, below: &str) -> String {
    let operator = key(&app.app, CompanyId::PLATFORM, "ledger.operator").await;
    app.nobody.with(operator).get(&app.path(below)).await.expect(200).text
}

/// Keeps the checkpoint of the ledger as it is, and answers its size.
async fn keep_checkpoint(app: &TestApp, kept: &mut BTreeMap<u64, String>) -> u64 {
    let head = app.app.store().head(app.company).await.expect("a head").expect("a head").position;
    // A proof is there once a checkpoint covers it.
    app.app.proof(app.company, head).await.expect("a proof");
    kept.insert(head, get(app, "/log/checkpoint").await);
    head
}

/// A token that sees everything that can happen to one; answers its identifier.
async fn token_history(app: &TestApp) -> String {
    let body = json!({
        "name": "Lohn & Gehalt – \"Zoë\" 🦀", "scopes": ["positions", "employees"],
        "expires_in_seconds": 3600, "reason": "für die Abrechnung",
    });
    let token = app.admin.post(&app.path("/tokens")).json(&body).await.expect(201).body;
    let path = app.token_path(&token);
    let post = async |below: &str, body: Value| {
        app.admin.post(&format!("{path}{below}")).json(&body).await.expect(200);
    };
    app.after(10);
    post("/refresh", json!({"grace_period_seconds": 600, "reason": "leaked?"})).await;
    app.after(20);
    post("/end-grace", json!({"reason": "leaked."})).await;
    let scopes = json!({"scopes": ["locations"], "reason": "line\nbreak\tand \\ backslash"});
    app.admin.patch(&path).json(&scopes).await.expect(200);
    app.after(8 * 86_400);
    app.app.expire_due().await.expect("its term ends");
    post("/refresh", json!({"expires_in_seconds": 60})).await;
    app.admin.delete(&path).await.expect(204);
    token["token_id"].as_str().expect("an identifier").to_owned()
}

/// What happens to the company itself, a person's erasure being the last of it.
async fn company_history(app: &TestApp) {
    let change = |client: &Client, below: &str, body: Value| {
        let call = client.put(&app.path(below)).json(&body);
        async move { call.await.expect(200) }
    };
    for enabled in [false, true] {
        change(&app.operator, "/oauth-app", json!({"enabled": enabled})).await;
    }
    change(&app.admin, "/policy", json!({"max_grace_seconds": 7200, "reason": "audit"})).await;
    let mut members = Vec::new();
    for (email, name) in [("ada@example.com", "Ada"), ("bjorn@example.com", "Björn Ø.")] {
        let body = json!({"email": email, "name": name, "role": "auditor"});
        let added = app.admin.post(&app.path("/members")).json(&body).await.expect(201).body;
        members.push(added);
    }
    let member = |number: usize| {
        let id = members[number]["member_id"].as_str().expect("an identifier");
        app.path(&format!("/members/{id}"))
    };
    app.admin.patch(&member(0)).json(&json!({"role": "super_admin"})).await.expect(200);
    app.admin.delete(&member(1)).await.expect(204);
    let body = json!({"name": "ETL", "scopes": ["positions"]});
    let client = app.admin.post(&app.path("/clients")).json(&body).await.expect(201).body;
    let client = app.path(&format!("/clients/{}", client["client_id"].as_str().expect("an id")));
    app.admin.post(&format!("{client}/rotate")).json(&json!({})).await.expect(200);
    app.admin.delete(&client).await.expect(204);
    let events = "/audit/events?type=company.member_added&order=desc&limit=1";
    let added = app.admin.get(&app.path(events)).await.expect(200).body;
    let person = added["items"][0]["data"]["person_id"].as_str().expect("a person").to_owned();
    let erase = app.path(&format!("/people/{person}/erase"));
    let reason = json!({"reason": "asked for by the person"});
    app.operator.post(&erase).json(&reason).await.expect(200);
}

async fn key_history(app: &TestApp) {
    let body = json!({"name": "reports", "scopes": ["ledger.audit"]});
    let key = app.admin.post(&app.path("/keys")).json(&body).await.expect(201).body;
    let path = app.path(&format!("/keys/{}", key["key_id"].as_str().expect("an id")));
    app.admin.post(&format!("{path}/refresh")).json(&json!({})).await.expect(200);
    app.admin.delete(&path).await.expect(204);
}

async fn taken_down(
    app: &TestApp,
    token: String,
    head: u64,
    checkpoints: BTreeMap<u64, String>,
) -> Golden {
    let store = app.app.store();
    let events = store.read(app.company, 0, usize::MAX >> 1).await.expect("events");
    let positions: Vec<u64> = events.iter().map(|event| event.position).collect();
    let parts = store.private_parts(app.company, &positions).await.expect("private parts");
    let trees = app.app.evidence.trees();
    let mut tiles = Vec::new();
    for level in 0..8 {
        tiles.extend(trees.level(app.company, level, 0, 100).await.expect("tiles"));
    }
    let first = checkpoints.keys().next().expect("a checkpoint");
    let consistency = get(app, &format!("/log/consistency?from={first}&to={head}")).await;
    let mut proofs = BTreeMap::new();
    for position in [1, 9, 256, 257, head] {
        proofs.insert(position, get(app, &format!("/log/proof?position={position}")).await);
    }
    let pack = get(app, &format!("/tokens/{token}/evidence")).await;
    let seed = app.app.evidence.outside().seed().expect("a seed").expect("a seed");
    Golden {
        seed: seed.to_text().to_string(),
        key: get(app, "/log/key").await.trim().to_owned(),
        rows: events.iter().zip(parts).map(|(event, part)| Row::of(event, part)).collect(),
        tiles,
        checkpoints,
        consistency: serde_json::from_str(&consistency).expect("JSON"),
        proofs,
        pack: serde_json::from_str(&pack).expect("JSON"),
    }
}
