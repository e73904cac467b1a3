//! What stands in the way of an incident's response holds nothing else up.

mod support;

use serde_json::{Value, json};
use std::time::{Duration, Instant};
use support::TestApp;

/// How long anything may take that will come at all.
const PATIENCE: Duration = Duration::from_secs(60);

/// The operation at this path, once it has come that far.
async fn once(app: &TestApp, path: &str, has_come: impl Fn(&Value) -> bool) -> Value {
    let began = Instant::now();
    loop {
        let progress = app.admin.get(path).await.expect(200).body;
        if has_come(&progress) {
            return progress;
        }
        assert!(began.elapsed() < PATIENCE, "{progress}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_token_that_cannot_be_read_keeps_no_other_from_being_deleted() {
    let app = TestApp::new().await;
    let [first, broken, last] = [app.token("a").await, app.token("b").await, app.token("c").await];
    let set_version = |version: u32| {
        let id = broken["token_id"].as_str().expect("an id");
        let set = format!("UPDATE events SET event_version = '{version}'");
        app.storage.tamper(&format!("{set} WHERE aggregate_id = '{id}'"));
    };
    set_version(99);
    let body = json!({"reason": "a leak"});
    let begun = app.admin.post(&app.path("/tokens/delete-all")).json(&body).await.expect(202);
    let path = begun.header("location").to_owned();
    let progress = once(&app, &path, |progress| progress["failed"] == 1).await;
    assert_eq!((&progress["state"], &progress["deleted"]), (&json!("running"), &json!(2)));
    for token in [&first, &last] {
        assert!(!app.is_active(&token["token"]));
    }
    assert!(app.is_active(&broken["token"]));
    set_version(1);
    let done = once(&app, &path, |progress| progress["state"] == "done").await;
    assert_eq!((&done["deleted"], &done["failed"]), (&json!(3), &json!(0)));
    assert!(!app.is_active(&broken["token"]));
}
