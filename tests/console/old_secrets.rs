//! What is said of the secret that a refresh took the place of, until it stops and behind that.

use crate::forms::{module, page_of, tells};
use crate::plain::Plain;
use crate::stage::{MAYA, PRIYA, Stage};
use serde_json::{Value, json};

/// A token that was refreshed, whose old secret works for another hour.
async fn refreshed(stage: &Stage) -> Value {
    let token = stage.token("Payroll sync", &["positions"]).await;
    refresh(stage, &stage.test.token_path(&token)).await;
    token
}

/// Gives the token or key at this path a new secret; the old one works for another hour.
async fn refresh(stage: &Stage, path: &str) {
    let grace = json!({"grace_period_seconds": 3600});
    stage.test.admin.post(&format!("{path}/refresh")).json(&grace).await.expect(200);
}

/// A key that was refreshed, whose old secret works for another hour.
async fn refreshed_key(stage: &Stage) -> String {
    let body = json!({"name": "Nightly", "scopes": ["ledger.audit"]});
    let path = stage.test.path("/keys");
    let key = stage.test.admin.post(&path).json(&body).await.expect(201).body;
    let id = key["key_id"].as_str().expect("an id");
    refresh(stage, &format!("{path}/{id}")).await;
    format!("/console/keys/{id}")
}

/// A client whose secret was rotated; the old one works for another hour.
async fn rotated_client(stage: &Stage) -> String {
    let body = json!({"name": "HR portal", "scopes": ["employees"]});
    let path = stage.test.path("/clients");
    let client = stage.test.admin.post(&path).json(&body).await.expect(201).body;
    let id = client["client_id"].as_str().expect("an id");
    let grace = json!({"grace_period_seconds": 3600});
    stage.test.admin.post(&format!("{path}/{id}/rotate")).json(&grace).await.expect(200);
    format!("/console/clients/{id}")
}

#[tokio::test]
async fn one_that_was_stopped_early_is_not_said_to_have_worked_longer() {
    let stage = Stage::new().await;
    let token = refreshed(&stage).await;
    stage.after(60);
    let end = format!("{}/end-grace", stage.test.token_path(&token));
    stage.test.admin.post(&end).await.expect(200);
    let priya = Plain::signed_in(&stage, PRIYA).await;
    let here = page_of(&token);
    for now in [120, 7200] {
        stage.after(now);
        for path in [&here, "/console/audit?type=token.refreshed"] {
            let page = priya.get(path).await.expect(200).text;
            let said = "; the old one was to stop on <time datetime=\"2026-03-01T10:00:00Z\"";
            assert!(page.contains(said), "{page}");
        }
        let then = priya.get(&format!("{here}?at=2026-03-01T09:00:30Z")).await.expect(200).text;
        assert!(then.contains("<dt>Old secret</dt><dd>Was to work until <time"), "{then}");
        let after = priya.get(&format!("{here}?at=2026-03-01T09:01:30Z")).await.expect(200).text;
        assert!(!after.contains("<dt>Old secret</dt>"), "{after}");
    }
}

#[tokio::test]
async fn while_the_module_is_off_none_is_said_to_work() {
    let stage = Stage::new().await;
    let token = refreshed(&stage).await;
    rotated_client(&stage).await;
    let maya = Plain::signed_in(&stage, MAYA).await;
    let (here, lists) = (page_of(&token), ["/console/tokens", "/console/clients"]);
    for (on, in_list, on_page) in [
        (true, "Old secret works, stops <time", "Works until <time"),
        (false, "Old secret stops <time", "Ends <time"),
    ] {
        module(&stage, on).await;
        for list in lists {
            let page = maya.get(list).await.expect(200).text;
            assert!(page.contains(in_list), "{list}: {page}");
        }
        let page = maya.get(&here).await.expect(200).text;
        assert!(page.contains(&format!("<dt>Old secret</dt><dd>{on_page}")), "{page}");
    }
}

#[tokio::test]
async fn a_further_refresh_or_rotation_says_that_it_ends_one() {
    let stage = Stage::new().await;
    let token = page_of(&refreshed(&stage).await);
    let key = refreshed_key(&stage).await;
    let client = rotated_client(&stage).await;
    let maya = Plain::signed_in(&stage, MAYA).await;
    for (thing, below, ends) in [
        (token, "refresh", "; a refresh ends it at once"),
        (key, "refresh", "; a refresh ends it at once"),
        (client, "rotate", "; a rotation ends it at once"),
    ] {
        let fact = "<dt>Old secret</dt><dd>Works until <time";
        let renewal = maya.get(&format!("{thing}/{below}")).await.expect(200).text;
        assert!(renewal.contains(fact) && renewal.contains(ends), "{renewal}");
        let delete = maya.get(&format!("{thing}/delete")).await.expect(200).text;
        assert!(delete.contains(fact) && !delete.contains(ends), "{delete}");
    }
    // Once it is over there is none.
    stage.after(3601);
    let over = maya.get(&format!("{}/refresh", page_of(&stage.found("Payroll").await))).await;
    assert!(!over.expect(200).text.contains("<dt>Old secret</dt>"));
}

#[tokio::test]
async fn one_of_a_key_is_shown_with_where_the_key_stands() {
    let stage = Stage::new().await;
    let key = refreshed_key(&stage).await;
    let priya = Plain::signed_in(&stage, PRIYA).await;
    let list = priya.get("/console/keys").await.expect(200).text;
    assert!(list.contains("Old secret works, stops <time"), "{list}");
    let maya = Plain::signed_in(&stage, MAYA).await;
    for form in ["refresh", "delete"] {
        let page = maya.get(&format!("{key}/{form}")).await.expect(200).text;
        let (_, status) = page.split_once("<dt>Status</dt><dd>").expect("its status");
        assert!(status.contains("Active") && status.contains("expires in 3 months"), "{page}");
    }
}

#[tokio::test]
async fn one_is_stopped_with_a_reason_once_it_is_seen_who_uses_it() {
    let stage = Stage::new().await;
    let token = refreshed(&stage).await;
    stage.used(token["token"].as_str().expect("a secret")).await;
    let maya = Plain::signed_in(&stage, MAYA).await;
    let here = page_of(&token);
    let end = format!("{here}/end-grace");
    let page = maya.get(&here).await.expect(200).text;
    assert!(page.contains(&format!("href=\"{end}\"")), "{page}");
    assert!(!page.contains(&format!("action=\"{end}\"")), "{page}");
    let form = maya.get(&end).await.expect(200).text;
    for said in ["Programs that still use the old secret", "<dt>Last used</dt>", "127.0.0.1"] {
        assert!(form.contains(said), "no {said:?}: {form}");
    }
    let (form, late) = (maya.open(&end).await, maya.open(&end).await);
    let long = "x".repeat(501);
    let refused = maya.submit(&form, &[("reason", &long)]).await.expect(422).text;
    assert!(refused.contains("It must have at most 500 characters; it has 501."), "{refused}");
    assert!(stage.test.is_active(&token["token"]));
    let done = maya.submit(&form, &[("reason", "It leaked")]).await.expect(303);
    assert!(tells(done.header("location"), "grace-ended"));
    assert!(!stage.test.is_active(&token["token"]));
    let page = maya.get(done.header("location")).await.expect(200).text;
    assert!(page.contains("“It leaked”") && !page.contains(&end), "{page}");
    // Whoever comes later is told, and has nothing to stop.
    let missed = maya.submit(&late, &[]).await.expect(422).text;
    assert!(missed.contains("This token was changed meanwhile."), "{missed}");
    assert!(missed.contains("The old secret has stopped already."), "{missed}");
    assert!(!missed.contains("type=\"submit\""), "{missed}");
    // Auditors only look.
    let priya = Plain::signed_in(&stage, PRIYA).await;
    priya.get(&end).await.expect(403);
}

#[tokio::test(flavor = "multi_thread")]
async fn stopping_one_is_asked_about_in_a_dialog() {
    let stage = Stage::new().await;
    let token = refreshed(&stage).await;
    let browser = stage.browser(MAYA).await;
    browser.open(&page_of(&token)).await;
    browser.press("Stop the old secret now").await;
    browser.until("document.querySelector('dialog[open] form')").await;
    assert_eq!(browser.called("dialog").await, "Stop the old secret");
    assert!(stage.test.is_active(&token["token"]));
    browser.fill("#reason", "It leaked").await;
    browser.press("Stop the old secret").await;
    browser.sees("The old secret has stopped working.").await;
    browser.sees("“It leaked”").await;
    assert!(!stage.test.is_active(&token["token"]));
}
