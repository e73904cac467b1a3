//! What fails behind a change that stands: nobody is told that nothing was changed.

mod support;

use serde_json::json;
use support::{Answered, TestApp};

fn may_be_done(answer: Answered) {
    let answer = answer.problem(503, "unavailable");
    let detail = answer.body["detail"].as_str().expect("a detail");
    assert!(detail.contains("whether this is done"), "{detail}");
}

#[tokio::test]
async fn a_change_whose_answer_cannot_be_read_may_be_done() {
    let app = TestApp::new().await;
    let token = app.token("before").await;
    let refresh = format!("{}/refresh", app.token_path(&token));
    let refresh = || app.admin.post(&refresh).header("Idempotency-Key", "refresh").json(&json!({}));
    app.storage.tamper("ALTER TABLE token_uses RENAME TO token_uses_away");
    // A creation's answer, which alone has the secret, is not read.
    let created = app.token("meanwhile").await;
    may_be_done(refresh().await);
    app.storage.tamper("ALTER TABLE token_uses_away RENAME TO token_uses");
    assert!(!app.is_active(&token["token"]), "it was done");
    let mut read = app.admin.get(&app.token_path(&created)).await.expect(200).body;
    read["token"] = created["token"].clone();
    assert_eq!(read, created);
    let again = refresh().await.expect(200);
    assert_eq!(again.header("idempotent-replay"), "true");
    assert_eq!(again.body["version"], 2);
    // What fails before has not happened.
    app.storage.tamper("ALTER TABLE company_heads RENAME TO company_heads_away");
    let answer = app.admin.delete(&app.token_path(&token)).await;
    assert!(answer.status.is_server_error(), "{}", answer.text);
    assert!(answer.text.contains("nothing was changed"), "{}", answer.text);
}
