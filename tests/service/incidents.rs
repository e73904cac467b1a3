//! What stands in the way of an incident's response holds nothing else up.

use crate::support::TestApp;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// How long anything may take that will come at all.
const PATIENCE: Duration = Duration::from_secs(60);

/// The operation at this path, once it has come that far.
async fn once(app: &TestApp, path: &str, has_come: impl Fn(&Value) -> bool) -> Value {
    let began = Instant::now();
    loop {
        let progress = app.auditor.get(path).await.expect(200).body;
        if has_come(&progress) {
            return progress;
        }
        assert!(began.elapsed() < PATIENCE, "{progress}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_token_that_cannot_be_read_keeps_no_other_from_being_deleted() {
    for (broken, mended) in [
        ("event_version = '99'", "event_version = '1'"),
        // The same to whoever reads it, but not to whoever looks for it.
        ("aggregate_id = upper(aggregate_id)", "aggregate_id = lower(aggregate_id)"),
    ] {
        deletes_all_but_what_cannot_be_read(broken, mended).await;
    }
}

async fn deletes_all_but_what_cannot_be_read(broken: &str, mended: &str) {
    let app = TestApp::new().await;
    let [first, kept, last] = [app.token("a").await, app.token("b").await, app.token("c").await];
    let set = |what: &str| {
        let id = kept["token_id"].as_str().expect("an id");
        app.storage.tamper(&format!("UPDATE events SET {what} WHERE lower(aggregate_id) = '{id}'"));
    };
    set(broken);
    let body = json!({"reason": "a leak"});
    let begun = app.admin.post(&app.path("/tokens/delete-all")).json(&body).await.expect(202);
    let path = begun.header("location").to_owned();
    let progress = once(&app, &path, |progress| progress["failed"] == 1).await;
    assert_eq!((&progress["state"], &progress["deleted"]), (&json!("running"), &json!(2)));
    for token in [&first, &last] {
        assert!(!app.is_active(&token["token"]));
    }
    assert!(app.is_active(&kept["token"]));
    set(mended);
    let done = once(&app, &path, |progress| progress["state"] == "done").await;
    assert_eq!((&done["deleted"], &done["failed"]), (&json!(3), &json!(0)));
    assert!(!app.is_active(&kept["token"]));
}
