//! What fails behind a change that stands: nobody is told that nothing was changed.

use crate::support::{Answered, TestApp};
use serde_json::json;

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

#[tokio::test]
async fn a_link_that_was_not_made_is_made_by_the_repeat() {
    let app = TestApp::new().await;
    let body = json!({"email": "ada@example.com", "role": "auditor"});
    let member = app.admin.post(&app.path("/members")).json(&body).await.expect(201).body;
    let id = member["member_id"].as_str().expect("an id");
    let path = app.path(&format!("/members/{id}/password-link"));
    let link = || app.admin.post(&path).header("Idempotency-Key", "link");
    app.storage.tamper("ALTER TABLE links RENAME TO links_away");
    may_be_done(link().await);
    app.storage.tamper("ALTER TABLE links_away RENAME TO links");
    // The first request may be at it still.
    link().await.problem(409, "contended");
    app.after(5);
    let made = link().await.expect(201);
    assert_eq!(made.header("idempotent-replay"), "");
    let url = made.body["set_password_url"].as_str().expect("a link");
    let page = url.strip_prefix("http://localhost:8080").expect("our own");
    app.nobody.get(page).await.expect(200);
    app.after(60);
    let again = link().await.expect(201);
    assert_eq!(again.header("idempotent-replay"), "true");
    assert!(again.body["set_password_url"].is_null(), "{}", again.text);
    app.nobody.get(page).await.expect(200);
}
