//! API keys, members, policy, companies.

use crate::forms::tells;
use crate::plain::Plain;
use crate::stage::{MAYA, OLA, PRIYA, Stage};

const PROJECTIONS: &str = "/console/platform/projections";

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_created_refreshed_and_deleted() {
    let stage = Stage::new().await;
    let browser = stage.browser(MAYA).await;
    browser.open("/console/keys").await;
    browser.press("Create API key").await;
    browser.sees("Manage the company").await;
    browser.sees_no("Run the platform").await;
    browser.fill("#name", "Nightly rotation").await;
    browser.click("input[value='ledger.admin']").await;
    browser.press("Create").await;
    browser.until("document.querySelector('[data-secret]')?.value.startsWith('tla_')").await;
    let secret = browser.script("return document.querySelector('[data-secret]').value").await;
    let key = stage.test.nobody.with(secret.as_str().expect("a secret"));
    key.get("/v1/whoami").await.expect(200);
    browser.press("Copy key").await;
    browser.press("Done").await;
    browser.sees("Nightly rotation").await;
    browser.click("summary[aria-label='Actions for Nightly rotation']").await;
    browser.press("Refresh key").await;
    browser.press("Refresh").await;
    browser.until("document.querySelector('[data-secret]')?.value.startsWith('tla_')").await;
    let secret = browser.script("return document.querySelector('[data-secret]').value").await;
    key.get("/v1/whoami").await.expect(401);
    let key = stage.test.nobody.with(secret.as_str().expect("a secret"));
    key.get("/v1/whoami").await.expect(200);
    browser.press("Copy key").await;
    browser.press("Done").await;
    browser.until("!document.querySelector('dialog[open]')").await;
    browser.click("summary[aria-label='Actions for Nightly rotation']").await;
    browser.press("Delete").await;
    browser.press("Delete “Nightly rotation”").await;
    browser.sees("“Nightly rotation” was deleted.").await;
    key.get("/v1/whoami").await.expect(401);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_is_created_rotated_and_deleted_with_its_tokens() {
    let stage = Stage::new().await;
    let browser = stage.browser(MAYA).await;
    browser.open("/console/clients").await;
    browser.press("Create client").await;
    browser.fill("#name", "HR portal").await;
    browser.click("input[value=employees]").await;
    browser.press("Create").await;
    browser.until("document.querySelector('[data-secret]')?.value.startsWith('tlc_')").await;
    let secret = browser.script("return document.querySelector('[data-secret]').value").await;
    // Its identifier goes with it. Who has copied that has not copied the secret.
    let id = browser.script("return document.querySelector('#beside').value").await;
    let id = id.as_str().expect("an identifier");
    browser.press("Copy identifier").await;
    browser.until("document.querySelector('[data-copy]').textContent === 'Copied'").await;
    browser.press("Done").await;
    browser.sees("You have not copied the secret").await;
    browser.press("Copy secret").await;
    browser.press("Done").await;
    let form = format!(
        "grant_type=client_credentials&client_id={id}&client_secret={}",
        secret.as_str().expect("a secret")
    );
    let kind = "application/x-www-form-urlencoded";
    let granted = stage.test.nobody.post("/oauth/token").text(kind, &form).await.expect(200).body;
    assert!(stage.test.is_active(&granted["access_token"]));
    assert_eq!(browser.called("tbody th a").await, "Its tokens: HR portal");
    browser.click("summary[aria-label='Actions for HR portal']").await;
    browser.press("Rotate secret").await;
    browser.press("Rotate").await;
    browser.sees("HR portal has a new secret. The old one has stopped.").await;
    stage.test.nobody.post("/oauth/token").text(kind, &form).await.expect(401);
    browser.press("Copy secret").await;
    browser.press("Done").await;
    browser.click("summary[aria-label='Actions for HR portal']").await;
    browser.press("Delete").await;
    browser.press("Delete “HR portal”").await;
    browser.sees("“HR portal” and its tokens were deleted.").await;
    assert!(!stage.test.is_active(&granted["access_token"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_is_added_promoted_and_removed() {
    let stage = Stage::new().await;
    let browser = stage.browser(MAYA).await;
    browser.open("/console/members").await;
    browser.press("Add member").await;
    browser.fill("#email", "no address").await;
    browser.press("Add member").await;
    browser.sees("ada@example.com").await;
    browser.fill("#email", "tom@acme.example").await;
    browser.fill("#name", "Tom Okafor").await;
    browser.press("Add member").await;
    browser
        .until("document.querySelector('[data-secret]')?.value.includes('/console/set-password/')")
        .await;
    // The link is for somebody else.
    browser.sees("Link for tom@acme.example").await;
    browser.sees_no("Save it somewhere secure").await;
    browser.press("Copy link").await;
    browser.press("Done").await;
    browser.sees("Tom Okafor was added.").await;
    browser.click("summary[aria-label='Actions for Tom Okafor']").await;
    browser.press("Change role").await;
    browser.click("input[value=super_admin]").await;
    browser.press("Save").await;
    browser.sees("The role of Tom Okafor was changed.").await;
    browser.click("summary[aria-label='Actions for Tom Okafor']").await;
    browser.press("Remove").await;
    browser.press("Remove Tom Okafor").await;
    browser.sees("Tom Okafor was removed").await;
    browser.sees_no("tom@acme.example").await;
    browser.click("summary[aria-label='Actions for Maya Lindqvist']").await;
    browser.press("Remove").await;
    browser.press("Remove Maya Lindqvist").await;
    browser.sees("name another one first").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_binds_the_terms_to_come() {
    let stage = Stage::new().await;
    let browser = stage.browser(MAYA).await;
    browser.open("/console/policy").await;
    browser.fill("#max_validity_seconds", "3").await;
    // Taking one away means only these; all on offer means each of them.
    browser.click("input[name=scopes][value=positions]").await;
    browser.until("document.querySelector('[name=allow][value=some]').checked").await;
    browser.click("input[name=allow][value=all]").await;
    browser.until("document.querySelector('[name=scopes][value=positions]').checked").await;
    browser.press("Select none").await;
    browser.until("document.querySelector('[name=allow][value=some]').checked").await;
    browser.click("input[name=scopes][value=positions]").await;
    browser.press("Save policy").await;
    browser.sees("The policy was saved.").await;
    browser.open("/console/tokens/new").await;
    browser.sees("Your company allows up to 3 days.").await;
    assert_eq!(browser.count("input[name=scopes]:not(:disabled)").await, 1);
    // Whoever looks only sees the rules.
    stage.sign_in(&browser, PRIYA).await;
    browser.open("/console/policy").await;
    browser.sees("Tokens are valid for at most").await;
    browser.sees("3 days").await;
    assert_eq!(browser.count("main form").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_turns_the_module_off_and_on() {
    let stage = Stage::new().await;
    let token = stage.token("Payroll sync", &["employees"]).await;
    let browser = stage.browser(OLA).await;
    browser.open("/console/platform/companies?q=acm").await;
    browser.click("a[aria-label='Turn off for Acme']").await;
    browser.sees("Every token of Acme stops working at once").await;
    assert!(stage.test.is_active(&token["token"]));
    browser.fill("#reason", "Contract ended").await;
    browser.press("Turn off for “Acme”").await;
    browser.sees("No token of Acme works.").await;
    assert!(browser.path().await.contains("q=acm"));
    assert!(!stage.test.is_active(&token["token"]));
    browser.click("button[aria-label='Turn on for Acme']").await;
    browser.sees("Tokens of Acme that are still valid work again.").await;
    browser.until("document.activeElement.matches('a[aria-label=\"Turn off for Acme\"]')").await;
    assert!(browser.path().await.contains("q=acm"));
    assert!(stage.test.is_active(&token["token"]));
    browser.open("/console/audit").await;
    browser.sees("“Contract ended”").await;
    browser.open("/console/platform/companies").await;
    browser.press("Register company").await;
    browser.fill("#name", "Globex").await;
    browser.press("Register").await;
    browser.sees("Globex").await;
    browser.open("/console/platform/projections").await;
    browser.click("button[aria-label='Rebuild tokens']").await;
    browser.sees("The rebuild has begun.").await;
    // Or back at the button, where the rebuild has ended by then.
    let places = "main .notice, button[aria-label=\"Rebuild tokens\"]";
    browser.until(&format!("document.activeElement.matches('{places}')")).await;
    // Nobody else gets there.
    stage.sign_in(&browser, MAYA).await;
    browser.open("/console/platform/companies").await;
    browser.sees("This is for operators of the platform.").await;
}

#[tokio::test]
async fn a_rebuild_that_is_asked_for_twice_is_begun_once() {
    let stage = Stage::new().await;
    let ola = Plain::signed_in(&stage, OLA).await;
    let form = ola.form(PROJECTIONS, &format!("{PROJECTIONS}/tokens/rebuild")).await;
    let mut rebuilds = Vec::new();
    for _ in 0..2 {
        let begun = ola.submit(&form, &[]).await.expect(303);
        assert!(tells(begun.header("location"), "rebuild-begun"));
        rebuilds.push(stage.test.app.rebuild("tokens").await.expect("a rebuild").rebuild_id);
    }
    assert_eq!(rebuilds[0], rebuilds[1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_form_of_another_company_is_refused() {
    let stage = Stage::new().await;
    let (other, _) = stage.test.another_company("Globex").await;
    let browser = stage.browser(OLA).await;
    browser.open("/console/tokens").await;
    browser.press("Create your first access token").await;
    browser.fill("#name", "Misplaced").await;
    browser.click("input[value=employees]").await;
    // What can't be sent is said in the dialog, which keeps what was entered.
    browser.offline(true).await;
    browser.press("Create").await;
    let alert = "document.querySelector('dialog[open] [role=alert]')";
    browser.until(&format!("{alert}?.innerText.startsWith('The service can’t be reached.')")).await;
    browser.offline(false).await;
    // In another window, the session goes on to the other company.
    stage.enter_elsewhere(&browser, other).await;
    browser.press("Create").await;
    let words = "You have entered another company since this form was opened.";
    browser.until(&format!("{alert}?.innerText.startsWith('{words}')")).await;
    browser.until("document.querySelector('dialog [name=name]').value === 'Misplaced'").await;
    browser.until("document.querySelector('dialog [value=employees]').checked").await;
    assert_eq!(stage.test.count_events("token.created").await, 0);
    // Nor is a form of one company shown over a page of the other.
    let whole = |form: &str| {
        format!(
            "document.querySelector('main form[action=\"{form}\"]') && \
             !document.querySelector('dialog[open]')"
        )
    };
    browser.open("/console/members").await;
    stage.enter_elsewhere(&browser, stage.test.company).await;
    browser.press("Add member").await;
    browser.until(&whole("/console/members/new")).await;
    assert_eq!(browser.text(".side .company").await, "Acme Change");
    // Nor one of somebody else who has signed in meanwhile.
    browser.open("/console/tokens").await;
    stage.sign_in_elsewhere(&browser, MAYA).await;
    browser.press("Create access token").await;
    browser.until(&whole("/console/tokens/new")).await;
    assert_eq!(browser.text(".who strong").await, "Maya Lindqvist");
}
