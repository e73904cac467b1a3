//! Two people at once: whoever comes later sees what was changed meanwhile, and nothing is
//! overwritten unseen.

use crate::browser::Browser;
use crate::stage::{MAYA, Stage};
use serde_json::{Value, json};

const TOM: &str = "tom@acme.example";

/// Two Super Admins, each in a browser.
async fn two(stage: &Stage) -> (Browser, Browser) {
    stage.person("Tom Okafor", TOM, "super_admin", stage.test.company).await;
    tokio::join!(stage.browser(MAYA), stage.browser(TOM))
}

/// Opens the form of this name from the menu of this thing.
async fn open(browser: &Browser, list: &str, thing: &str, form: &str) {
    browser.open(list).await;
    browser.click(&format!("summary[aria-label='Actions for {thing}']")).await;
    browser.press(form).await;
    browser.until("document.querySelector('dialog[open] form')").await;
}

/// Closes the dialog whose form was answered, after which the page beneath is loaded again.
async fn leave(browser: &Browser, way: &str) {
    browser.script("window.mark = true").await;
    browser.press(way).await;
    browser.until("!window.mark && document.readyState === 'complete'").await;
    assert_eq!(browser.count("dialog[open]").await, 0);
}

async fn keys(stage: &Stage) -> Vec<Value> {
    let keys = stage.test.admin.get(&stage.test.path("/keys")).await.expect(200).body;
    keys["items"].as_array().cloned().unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_key() {
    let stage = Stage::new().await;
    let body = json!({"name": "Nightly", "scopes": ["ledger.audit"]});
    stage.test.admin.post(&stage.test.path("/keys")).json(&body).await.expect(201);
    let (maya, tom) = two(&stage).await;
    open(&maya, "/console/keys", "Nightly", "Refresh key").await;
    open(&tom, "/console/keys", "Nightly", "Delete").await;
    maya.press("Refresh").await;
    maya.sees("Nightly has a new secret.").await;
    maya.sees("The old one has stopped.").await;
    tom.press("Delete “Nightly”").await;
    tom.sees("This key was changed meanwhile. Nothing of yours was saved.").await;
    tom.sees("Maya Lindqvist refreshed Nightly").await;
    let nightly = |keys: Vec<Value>| keys.into_iter().find(|key| key["name"] == "Nightly");
    assert_eq!(nightly(keys(&stage).await).expect("the key")["status"], "active");
    tom.press("Delete “Nightly”").await;
    tom.sees("“Nightly” was deleted.").await;
    // What is deleted meanwhile is no longer changed, and the form says so.
    stage
        .test
        .admin
        .post(&stage.test.path("/keys"))
        .json(&json!({"name": "Other", "scopes":
        ["ledger.audit"]}))
        .await
        .expect(201);
    open(&maya, "/console/keys", "Other", "Refresh key").await;
    open(&tom, "/console/keys", "Other", "Delete").await;
    tom.press("Delete “Other”").await;
    tom.sees("“Other” was deleted.").await;
    maya.press("Refresh").await;
    maya.sees("Tom Okafor deleted Other").await;
    maya.sees("Other is deleted, for good.").await;
    maya.sees_no("Choose again").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_client() {
    let stage = Stage::new().await;
    let body = json!({"name": "HR portal", "scopes": ["employees"]});
    stage.test.admin.post(&stage.test.path("/clients")).json(&body).await.expect(201);
    let (maya, tom) = two(&stage).await;
    open(&maya, "/console/clients", "HR portal", "Rotate secret").await;
    open(&tom, "/console/clients", "HR portal", "Delete").await;
    maya.press("Rotate").await;
    maya.sees("You will not see it again").await;
    tom.press("Delete “HR portal”").await;
    tom.sees("This client was changed meanwhile. Nothing of yours was saved.").await;
    tom.sees("Maya Lindqvist").await;
    let clients = stage.test.admin.get(&stage.test.path("/clients")).await.expect(200).body;
    assert_eq!(clients["items"][0]["status"], "active");
    open(&maya, "/console/clients", "HR portal", "Rotate secret").await;
    tom.press("Delete “HR portal”").await;
    tom.sees("“HR portal” and its tokens were deleted.").await;
    maya.press("Rotate").await;
    maya.sees("Tom Okafor deleted the client HR portal").await;
    maya.sees("is deleted, for good").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_membership() {
    let stage = Stage::new().await;
    let (maya, tom) = two(&stage).await;
    open(&maya, "/console/members", "Priya Nair", "Change role").await;
    open(&tom, "/console/members", "Priya Nair", "Remove").await;
    maya.click("input[value=super_admin]").await;
    maya.press("Save").await;
    maya.sees("The role of Priya Nair was changed.").await;
    tom.press("Remove Priya Nair").await;
    tom.sees("This membership was changed meanwhile. Nothing of yours was saved.").await;
    tom.sees("Maya Lindqvist made Priya Nair Super Admin instead of Auditor").await;
    leave(&tom, "Cancel").await;
    tom.sees("priya@acme.example").await;
    // Whoever is removed meanwhile has no role any more, and the form says who did that.
    open(&maya, "/console/members", "Priya Nair", "Change role").await;
    open(&tom, "/console/members", "Priya Nair", "Remove").await;
    tom.press("Remove Priya Nair").await;
    tom.sees("Priya Nair was removed").await;
    maya.press("Save").await;
    maya.sees("Tom Okafor removed Priya Nair from the company").await;
    maya.sees_no("Choose again").await;
    leave(&maya, "Close").await;
    maya.open("/console/audit?type=company.member_added").await;
    maya.sees("added Priya Nair as Auditor").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_the_policy() {
    let stage = Stage::new().await;
    let (maya, tom) = two(&stage).await;
    for browser in [&maya, &tom] {
        browser.open("/console/policy").await;
        browser.until("document.querySelector('#max_validity_seconds')").await;
    }
    maya.fill("#max_validity_seconds", "3").await;
    maya.press("Save policy").await;
    maya.sees("The policy was saved.").await;
    tom.fill("#max_validity_seconds", "30").await;
    tom.press("Save policy").await;
    tom.sees("The policy was changed meanwhile. Nothing of yours was saved.").await;
    tom.sees("3 days").await;
    tom.until("document.querySelector('#max_validity_seconds').value === '3'").await;
    let policy = stage.test.admin.get(&stage.test.path("/policy")).await.expect(200).body;
    assert_eq!(policy["max_validity_seconds"], 3 * 86_400);
    // Whatever else happens in the company is no reason to ask again.
    let body = json!({"name": "HR portal", "scopes": ["employees"]});
    stage.test.admin.post(&stage.test.path("/clients")).json(&body).await.expect(201);
    tom.fill("#max_validity_seconds", "5").await;
    tom.press("Save policy").await;
    tom.sees("The policy was saved.").await;
}
