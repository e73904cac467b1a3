//! What proves the audit trail: badges, proofs, checkpoints and packs, from the console.

use crate::browser::Browser;
use crate::stage::{MAYA, PRIYA, Stage};
use serde_json::{Value, json};
use token_ledger::evidence::note::{Statement, VerifierKey};

/// What a link of the page leads to, as a file: its name and its text.
async fn file(browser: &Browser, selector: &str) -> (String, String) {
    browser.until(&format!("document.querySelector({})", json!(selector))).await;
    let script = format!(
        "const done = arguments[arguments.length - 1]; \
         fetch(document.querySelector({}).href).then(async answer => done([\
         answer.headers.get('content-disposition'), await answer.text()]))",
        json!(selector)
    );
    let answer = browser.async_script(&script).await;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    (text(&answer[0]), text(&answer[1]))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_is_shown_with_what_proves_it() {
    let mut stage = Stage::new().await;
    stage.token("Payroll sync", &["employees"]).await;
    let head = stage.test.app.head(stage.test.company).await.expect("a head");
    let browser = stage.browser(PRIYA).await;
    browser.open("/console/audit?type=token.created").await;
    browser.sees("Not signed yet").await;
    browser.open(&format!("/console/audit/events/{head}")).await;
    browser.sees("No checkpoint has been signed that covers it.").await;
    stage.sign().await;
    browser.open("/console/audit?type=token.created").await;
    browser.click(".record summary").await;
    browser.sees(&format!("Proved by checkpoint {head}, signed")).await;
    browser.click(".badge.good").await;
    browser.sees("Root hash").await;
    assert_eq!(browser.path().await, format!("/console/audit/events/{head}#proof"));
    browser.sees(&format!("Event {head}")).await;
    let (name, proof) = file(&browser, "#proof a.button").await;
    assert!(name.contains(&format!("-{head}.tlog-proof")), "{name}");
    assert!(proof.starts_with("c2sp.org/tlog-proof@v1"), "{proof}");
    assert_eq!(proof, stage.test.app.proof(stage.test.company, head).await.expect("a proof"));
    browser.press("Event before").await;
    browser.sees(&format!("Position {} of {head}", head - 1)).await;
    browser.open(&format!("/console/audit/events/{}", head + 1)).await;
    browser.sees("There is nothing here").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn checkpoints_are_listed_and_can_be_taken_along() {
    let mut stage = Stage::new().await;
    let browser = stage.browser(PRIYA).await;
    browser.press("Checkpoints").await;
    browser.sees("No checkpoint has been signed yet.").await;
    stage.sign().await;
    let first = stage.test.app.head(stage.test.company).await.expect("a head");
    stage.token("Payroll sync", &["employees"]).await;
    stage.sign().await;
    browser.reload().await;
    browser.sees("all signed").await;
    assert_eq!(browser.count("tbody tr").await, 2);
    let (_, key) = file(&browser, "a[href='/console/log/key']").await;
    let key: VerifierKey = key.trim().parse().expect("a key");
    for (row, size) in [(1, first + 1), (2, first)] {
        let (name, note) = file(&browser, &format!("tbody tr:nth-child({row}) td a")).await;
        assert!(name.contains(&format!("-{size}.txt")), "{name}");
        let Statement { size: signed, .. } = key.open(&note).expect("a signature that holds");
        assert_eq!(signed, size);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_evidence_pack_is_downloaded_and_noted() {
    let mut stage = Stage::new().await;
    let token = stage.token("Payroll sync", &["employees"]).await;
    stage.sign().await;
    let browser = stage.browser(PRIYA).await;
    let id = token["token_id"].as_str().expect("an id");
    browser.open(&format!("/console/tokens/{id}")).await;
    browser.sees("Proved").await;
    let (name, pack) = file(&browser, "#history .section-head a").await;
    assert!(name.contains(&format!("token-{id}-evidence.json")), "{name}");
    let pack: Value = serde_json::from_str(&pack).expect("a pack");
    assert_eq!(pack["events"].as_array().map(Vec::len), Some(1));
    stage.after(60);
    let evidence = format!("/tokens/{id}/evidence");
    stage.test.auditor.get(&stage.test.path(&evidence)).await.expect(200);
    let noted = stage.test.auditor.get(&stage.test.path("/audit/exports")).await.expect(200).body;
    let routes: Vec<&str> = noted["items"]
        .as_array()
        .map(|items| items.iter().filter_map(|item| item["action"]["route"].as_str()).collect())
        .unwrap_or_default();
    assert_eq!(
        routes,
        [
            "/v1/companies/{company_id}/tokens/{token_id}/evidence",
            "/console/tokens/{token_id}/evidence",
        ]
    );
    browser.open("/console/audit").await;
    browser.press("Exports").await;
    browser.sees("Download an evidence pack").await;
    browser.sees("Priya Nair").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_trail_is_narrowed_down_to_one_person_or_program_by_name() {
    let stage = Stage::new().await;
    let maya = stage.browser(MAYA).await;
    maya.open("/console/keys/new").await;
    maya.fill("#name", "Maya’s nightly job").await;
    maya.click("input[value='ledger.admin']").await;
    maya.press("Create").await;
    maya.until("document.querySelector('[data-secret]')").await;
    let secret = maya.script("return document.querySelector('[data-secret]').value").await;
    let job = stage.test.nobody.with(secret.as_str().expect("a secret"));
    let body = json!({"name": "Made by night", "scopes": ["employees"]});
    job.post(&stage.test.path("/tokens")).json(&body).await.expect(201);
    stage.token("Made by another key", &["employees"]).await;

    let browser = stage.browser(PRIYA).await;
    browser.open("/console/audit").await;
    browser.fill("#actor", "maya").await;
    browser.until("document.querySelectorAll('#actor-suggestions option').length === 2").await;
    browser.press("Apply").await;
    browser.sees("Several are called “maya”. Which one?").await;
    browser.press("Maya’s nightly job (API key)").await;
    browser.sees("Made by night").await;
    browser.sees_no("Made by another key").await;
    browser.sees_no("created the API key").await;
    browser.until("/actor=[0-9a-f-]{36}$/.test(location.href)").await;
    browser.click(".picked a").await;
    browser.sees("Made by another key").await;
    // The whole name leads to the one at once; so does the link beside an event.
    browser.fill("#actor", "maya lindqvist").await;
    browser.press("Apply").await;
    browser.sees("created the API key Maya’s nightly job").await;
    browser.sees_no("Made by night").await;
    browser.open("/console/audit?actor=nobody+at+all").await;
    browser.sees("Nobody here is called “nobody at all”").await;
    browser.open("/console/audit?type=token.created").await;
    browser.click(".event .record summary").await;
    browser.press("All they did").await;
    browser.sees("Made by another key").await;
    browser.sees_no("Made by night").await;

    // The list of tokens knows by whom each was created, too.
    browser.open("/console/tokens?created_by=nightly").await;
    browser.sees("1 token").await;
    browser.sees("Made by night").await;
    browser.sees_no("Made by another key").await;
    browser.scripts(false).await;
    browser.open("/console/tokens").await;
    browser.fill("#created_by", "ledger.admin").await;
    browser.press("Apply").await;
    browser.sees("Made by another key").await;
    browser.sees_no("Made by night").await;
}
