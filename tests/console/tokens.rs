//! Integrations → Access Token: creating, copying, refreshing, editing and deleting.

use crate::browser::{Browser, key};
use crate::stage::{MAYA, PRIYA, Stage};
use serde_json::json;

/// The secret that is shown right now.
async fn secret(browser: &Browser) -> String {
    browser.until("document.querySelector('[data-secret]')?.value").await;
    let value = browser.script("return document.querySelector('[data-secret]').value").await;
    value.as_str().expect("a secret").to_owned()
}

/// What the clipboard holds.
async fn clipboard(browser: &Browser) -> String {
    let script = "const done = arguments[arguments.length - 1]; \
        navigator.clipboard.readText().then(done, (e) => done(String(e)))";
    browser.async_script(script).await.as_str().unwrap_or_default().to_owned()
}

fn is_active(stage: &Stage, secret: &str) -> bool {
    stage.test.is_active(&json!(secret))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_created_copied_refreshed_edited_and_deleted() {
    let stage = Stage::new().await;
    let browser = stage.browser(MAYA).await;
    browser.grant("clipboard-read").await;
    browser.press("Access Token").await;
    browser.sees("No access tokens yet").await;

    browser.press("Create access token").await;
    browser.fill("#name", "Payroll sync").await;
    browser.click("input[value=employees]").await;
    browser.click("input[value=positions]").await;
    browser.press("Create").await;
    let first = secret(&browser).await;
    assert!(first.starts_with("tlk_") && is_active(&stage, &first));
    browser.sees("You will not see it again").await;
    browser.press("Copy token").await;
    browser.until("document.querySelector('[data-copy]').textContent === 'Copied'").await;
    browser
        .until(
            "[...document.querySelectorAll('dialog[open] [role=status]')].some(e => e.textContent === 'Copied')",
        )
        .await;
    assert_eq!(clipboard(&browser).await, first);
    browser.until("document.querySelector('[data-copy]').textContent === 'Copy token'").await;
    browser.press("Done").await;
    browser.sees("expires in 7 days").await;
    assert!(!browser.path().await.contains("tlk_"));
    assert_eq!(browser.count("[data-secret]").await, 0);

    browser.click("details.menu summary").await;
    browser.press("Refresh Token").await;
    browser.sees("Programs using this token will stop working when the old secret does").await;
    browser.click("input[name=grace_period_seconds][value='3600']").await;
    browser.press("Refresh").await;
    let second = secret(&browser).await;
    assert!(is_active(&stage, &first) && is_active(&stage, &second));
    browser.press("Copy token").await;
    browser.press("Done").await;
    browser.sees("Old secret works, stops in 1 hour").await;

    browser.click("details.menu summary").await;
    browser.press("Edit").await;
    browser.click("input[value=locations]").await;
    browser.click("input[value=employees]").await;
    browser
        .until("document.querySelector('#changes ins')?.textContent === 'added + Locations'")
        .await;
    browser
        .until("document.querySelector('#changes del')?.textContent === 'removed Employees'")
        .await;
    browser.press("Save").await;
    browser.sees("were saved. They count at once.").await;
    assert_eq!(stage.found("Payroll").await["scopes"], json!(["locations", "positions"]));

    // It leads back to the list. What was done is told once.
    assert_eq!(browser.path().await, "/console/tokens");
    browser.open("/console/tokens").await;
    browser.sees_no("were saved. They count at once.").await;

    stage.used(&second).await;
    browser.press("Payroll sync").await;
    browser.press("Delete").await;
    browser.sees("Last used").await;
    browser.sees("from 127.0.0.1").await;
    browser.press("Delete “Payroll sync”").await;
    browser.sees("“Payroll sync” was deleted").await;
    assert_eq!(stage.found("Payroll").await["status"], "deleted");
    assert!(!is_active(&stage, &second));
    let token = stage.found("Payroll").await;
    assert_eq!(token["created_by"]["name"], "Maya Lindqvist");
    assert_eq!(token["created_by"]["type"], "member");
}

#[tokio::test(flavor = "multi_thread")]
async fn leaving_without_copying_is_asked_about() {
    let stage = Stage::new().await;
    let browser = stage.browser(MAYA).await;
    browser.open("/console/tokens").await;
    browser.press("Create your first access token").await;
    browser.fill("#name", "Forgotten").await;
    browser.press("Select all").await;
    browser.press("Create").await;
    let shown = secret(&browser).await;
    browser.keys(&[key::ESCAPE]).await;
    browser.sees("You have not copied the token").await;
    assert_eq!(secret(&browser).await, shown);
    // Once it is copied, that is no longer said; where it can't be, it is said how.
    browser
        .script(
            "navigator.clipboard.writeText = () => Promise.reject(); \
            document.execCommand = () => false",
        )
        .await;
    browser.press("Copy token").await;
    browser
        .until("document.querySelector('dialog[open] [data-told]')?.innerText.includes('by hand')")
        .await;
    browser.script("document.execCommand = () => true").await;
    browser.press("Copy token").await;
    browser.sees_no("You have not copied the token").await;
    browser.press("Done").await;
    browser.until("!document.querySelector('dialog[open]')").await;
    browser.sees("Forgotten").await;
    assert_eq!(browser.count("[data-secret]").await, 0);
    // The way forward leads to where it was shown, and that holds it no more.
    browser.script("history.forward()").await;
    browser.until("location.pathname === '/console/tokens/new'").await;
    browser.sees("What will use it").await;
    let kept = format!(
        "return document.documentElement.innerHTML.includes({0}) || \
         [...document.querySelectorAll('input')].some((field) => field.value === {0})",
        json!(shown)
    );
    assert_eq!(browser.script(&kept).await, false);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_said_beside_the_field() {
    let stage = Stage::new().await;
    let browser = stage.browser(MAYA).await;
    browser.open("/console/tokens/new").await;
    browser.press("Create").await;
    browser.sees("Give the token a name of 1 to 100 characters.").await;
    browser.sees("Choose at least one data access.").await;
    let described = "document.querySelector('#name').getAttribute('aria-describedby')";
    browser.until(&format!("{described}.split(' ').includes('name-error')")).await;
    browser.until("document.activeElement.id === 'name'").await;
    browser.fill("#name", "Kept").await;
    browser.press("Create").await;
    browser.sees("Choose at least one data access.").await;
    browser.sees_no("Give the token a name").await;
    browser.until("document.querySelector('#name').value === 'Kept'").await;
    browser.until("document.activeElement.matches('#scopes input')").await;
    assert_eq!(stage.test.count_events("token.created").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_form_that_is_sent_twice_creates_once_and_shows_the_secret_once() {
    let stage = Stage::new().await;
    let browser = stage.browser(MAYA).await;
    browser.scripts(false).await;
    browser.open("/console/tokens/new").await;
    browser.fill("#name", "Once").await;
    browser.click("input[value=positions]").await;
    browser.click("button.main").await;
    browser.sees("Save it somewhere secure").await;
    // Sends the form again.
    browser.reload().await;
    browser.sees("This form had been sent before").await;
    assert_eq!(browser.count("input[value^=tlk_]").await, 0);
    assert_eq!(stage.test.count_events("token.created").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_scripts_everything_is_done_by_plain_pages() {
    let stage = Stage::new().await;
    let token = stage.token("Plain", &["positions"]).await;
    let browser = stage.browser(MAYA).await;
    browser.scripts(false).await;
    browser.open("/console/tokens").await;
    browser.click("details.menu summary").await;
    browser.press("Edit").await;
    browser.sees("Choose what programs may read").await;
    // What nothing brings up to date is not there.
    browser.sees_no("What changes").await;
    browser.click("input[value=employees]").await;
    browser.press("Save").await;
    browser.sees("were saved. They count at once.").await;
    browser.click("details.menu summary").await;
    browser.press("Refresh Token").await;
    browser.press("Refresh").await;
    browser.sees("Save it somewhere secure").await;
    browser.press("Done").await;
    browser.click("details.menu summary").await;
    browser.press("Delete").await;
    browser.press("Delete “Plain”").await;
    browser.sees("“Plain” was deleted").await;
    assert!(!stage.test.is_active(&token["token"]));
    // The way past the chart lies on nothing until it is reached.
    browser.open("/console/audit").await;
    assert_eq!(browser.count("noscript a.skip").await, 1);
    let is_free = "return [...document.querySelectorAll('.tabs a')].every((tab) => { \
        const { x, y, height } = tab.getBoundingClientRect(); \
        return document.elementFromPoint(x + 4, y + height / 2) === tab; })";
    assert_eq!(browser.script(is_free).await, true);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_people_at_once_do_not_overwrite_each_other() {
    let stage = Stage::new().await;
    stage.token("Shared", &["positions"]).await;
    let tom = "tom@acme.example";
    stage.person("Tom Okafor", tom, "super_admin", stage.test.company).await;
    let (maya, tom) = tokio::join!(stage.browser(MAYA), stage.browser(tom));
    for browser in [&maya, &tom] {
        browser.open("/console/tokens").await;
        browser.click("details.menu summary").await;
        browser.press("Edit").await;
    }
    maya.click("input[value=employees]").await;
    maya.press("Save").await;
    maya.sees("were saved. They count at once.").await;
    tom.click("input[value=locations]").await;
    tom.press("Save").await;
    tom.sees("This token was changed meanwhile. Nothing of yours was saved.").await;
    tom.sees("Maya Lindqvist").await;
    assert_eq!(stage.found("Shared").await["scopes"], json!(["employees", "positions"]));
    tom.until("document.querySelector('input[value=employees]').checked").await;
    tom.until("!document.querySelector('input[value=locations]').checked").await;
    tom.click("input[value=locations]").await;
    tom.press("Save").await;
    tom.sees("were saved. They count at once.").await;
    let all = json!(["employees", "locations", "positions"]);
    let shared = stage.found("Shared").await;
    assert_eq!(shared["scopes"], all);
    // What is gone meanwhile is no more on the list from which it was found out.
    stage.test.admin.delete(&stage.test.token_path(&shared)).await.expect(204);
    maya.click("details.menu summary").await;
    maya.press("Edit").await;
    maya.sees("Shared is deleted, for good.").await;
    maya.press("Close").await;
    maya.sees("all there were are deleted").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_auditor_sees_everything_and_can_change_nothing() {
    let stage = Stage::new().await;
    let token = stage.token("Payroll sync", &["positions"]).await;
    let id = token["token_id"].as_str().expect("an id");
    let browser = stage.browser(PRIYA).await;
    browser.open("/console/tokens").await;
    browser.sees("Payroll sync").await;
    browser.sees_no("Create access token").await;
    assert_eq!(browser.count("details.menu").await, 0);
    browser.press("Payroll sync").await;
    browser.sees("created this token").await;
    assert_eq!(browser.count(&format!("main a[href='/console/tokens/{id}']")).await, 0);
    browser.sees_no("Refresh Token").await;
    // Requests forged in the auditor's own session, with its own CSRF token.
    for below in ["new", &format!("{id}/refresh"), &format!("{id}/edit"), &format!("{id}/delete")] {
        let status = browser
            .async_script(&format!(
                "const done = arguments[arguments.length - 1]; \
                 const csrf = document.querySelector('input[name=csrf]').value; \
                 const body = new URLSearchParams({{csrf, name: 'x', scopes: 'employees'}}); \
                 fetch('/console/tokens/{below}', {{method: 'POST', body}}).then(a => done(a.status))"
            ))
            .await;
        assert_eq!(status, 403, "{below}");
        browser.open("/console/tokens").await;
    }
    let after = stage.found("Payroll").await;
    assert_eq!((&after["version"], &after["status"]), (&json!(1), &json!("active")));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_module_the_page_says_who_can_turn_it_on() {
    let stage = Stage::new().await;
    stage.token("Paused", &["positions"]).await;
    let path = stage.test.path("/oauth-app");
    stage.test.operator.put(&path).json(&json!({"enabled": false})).await.expect(200);
    let browser = stage.browser(MAYA).await;
    browser.open("/console/tokens").await;
    browser.sees("The OAuth App module is off.").await;
    browser.sees("Only the platform’s operators can turn it on").await;
    browser.sees("Paused").await;
    browser.sees_no("Create access token").await;
    browser.click("details.menu summary").await;
    browser.sees("Edit").await;
    browser.sees_no("Refresh Token").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_has_ended_leads_to_the_sign_in() {
    let stage = Stage::new().await;
    let browser = stage.browser(MAYA).await;
    browser.open("/console/tokens?q=pay").await;
    browser.sees("No token matches").await;
    // Twelve hours without use end a session.
    stage.after(12 * 3600);
    browser.reload().await;
    browser.sees("You were signed out.").await;
    assert_eq!(browser.path().await, "/console/sign-in?next=%2Fconsole%2Ftokens%3Fq%3Dpay");
    // While a dialog is open, too; and what was sent in vain is said.
    stage.sign_in(&browser, MAYA).await;
    browser.open("/console/tokens").await;
    browser.press("Create access token").await;
    browser.fill("#name", "Lost").await;
    stage.after(24 * 3600);
    browser.press("Create").await;
    browser.sees("You are signed out, and what you sent was not saved.").await;
    let way = "document.querySelector('[name=next]').value === '/console/tokens/new'";
    browser.until(way).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hours_later_the_password_is_asked_for_before_a_secret_is_made() {
    let stage = Stage::new().await;
    let browser = stage.browser(MAYA).await;
    stage.after(5 * 3600);
    browser.open("/console/tokens").await;
    browser.press("Create access token").await;
    browser.sees("Is it still you?").await;
    assert_eq!(stage.test.count_events("token.created").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn by_keyboard_alone() {
    let stage = Stage::new().await;
    stage.token("Payroll sync", &["positions"]).await;
    let browser = stage.browser(MAYA).await;
    browser.open("/console/members").await;
    browser.script("window.mark = true").await;
    browser.keys(&[key::TAB, key::ENTER]).await;
    browser.until("document.activeElement.id === 'content' && window.mark").await;
    browser.open("/console/tokens").await;
    browser.tab_to("Create access token").await;
    browser.keys(&[key::ENTER]).await;
    browser.until("document.activeElement.id === 'name'").await;
    browser.types("Night shift").await;
    browser.until("document.querySelector('[data-choice] input')").await;
    browser.tab_to("Select all").await;
    browser.keys(&[key::ENTER]).await;
    browser.tab_to("Create").await;
    browser.keys(&[key::ENTER]).await;
    browser.until("document.activeElement.matches('[data-secret]')").await;
    browser.tab_to("Copy token").await;
    browser.keys(&[key::ENTER]).await;
    browser.tab_to("Done").await;
    browser.keys(&[key::ENTER]).await;
    browser.sees("Night shift").await;
    browser.until("!document.querySelector('dialog[open]')").await;

    browser.tab_to("Actions for Payroll sync").await;
    browser.keys(&[key::ENTER]).await;
    browser.until("document.activeElement.innerText === 'Refresh Token'").await;
    browser.keys(&[key::DOWN]).await;
    browser.until("document.activeElement.innerText === 'Edit'").await;
    browser.keys(&[key::UP, key::UP]).await;
    browser.until("document.activeElement.innerText === 'Delete'").await;
    browser.keys(&[key::ESCAPE]).await;
    browser
        .until(
            "document.activeElement.matches('summary') && !document.querySelector('.menu[open]')",
        )
        .await;
    browser.keys(&[key::SPACE]).await;
    browser.until("document.activeElement.innerText === 'Refresh Token'").await;
    browser.keys(&[key::UP, key::ENTER]).await;
    browser.sees("It can’t be undone").await;
    assert_eq!(browser.called("dialog").await, "Delete token");
    // Enter once more does nothing: it begins at its heading.
    browser.until("document.activeElement.matches('dialog h1')").await;
    browser.keys(&[key::ENTER]).await;
    // Twice closes it once.
    let twice =
        "const way = document.querySelector('dialog [data-cancel]'); way.click(); way.click()";
    browser.script(twice).await;
    browser
        .until(
            "document.activeElement.matches('summary') && !document.querySelector('dialog[open]')",
        )
        .await;
    assert_eq!(browser.path().await, "/console/tokens");
    assert_eq!(browser.focused().await, "Actions for Payroll sync");
    assert_eq!(stage.found("Payroll").await["status"], "active");
    browser.keys(&[key::END]).await;
    browser.until("document.querySelector('.menu[open]')").await;
    browser.until("document.activeElement.innerText === 'Delete'").await;
    browser.keys(&[key::TAB]).await;
    browser.until("!document.querySelector('.menu[open]')").await;
    // Whoever types ahead of the page isn't fetched back into the menu.
    for _ in 0..20 {
        browser.tab_to("Actions for Payroll sync").await;
        browser.keys(&[key::END, key::TAB]).await;
        browser.until("!document.querySelector('.menu[open]')").await;
    }
    // The dialogs that were left are no steps on the way back.
    browser.back().await;
    browser.until("location.pathname !== '/console/tokens'").await;
    assert_eq!(browser.text("h1").await, "Members");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_list_is_searched_filtered_ordered_and_paged() {
    let stage = Stage::new().await;
    for number in 0..60 {
        stage.after(number);
        stage.token(&format!("Job {number:02}"), &["positions"]).await;
    }
    stage.token("Payroll", &["employees"]).await;
    let browser = stage.browser(MAYA).await;
    browser.open("/console/tokens").await;
    browser.sees("61 tokens").await;
    assert_eq!(browser.count("tbody tr").await, 50);
    browser.press("Next page").await;
    browser.sees("Job 00").await;
    assert_eq!(browser.count("tbody tr").await, 11);
    browser.press("Previous page").await;
    browser.sees("Payroll").await;
    assert_eq!(browser.count("tbody tr").await, 50);
    assert_eq!(browser.count("a[rel=prev]").await, 0);
    browser.back().await;
    browser.sees("Job 00").await;
    browser.press("First page").await;
    browser.sees("Payroll").await;
    assert_eq!(browser.path().await, "/console/tokens");
    browser.fill("#q", "job 1").await;
    browser.press("Apply").await;
    browser.sees("10 tokens").await;
    assert!(browser.path().await.contains("q=job+1"));
    // The way back leads to filters that can be used.
    browser.back().await;
    browser.until("location.search === '' && !document.querySelector('.filters :disabled')").await;
    browser.open("/console/tokens?scope=employees&sort=name").await;
    browser.sees("1 token").await;
    assert_eq!(browser.text("tbody th a").await, "Payroll");
    stage.after(700_000);
    stage.test.app.expire_due().await.expect("terms end");
    stage.sign_in(&browser, MAYA).await;
    browser.open("/console/tokens?status=expired&q=Payroll").await;
    browser.sees("Refresh to use it again").await;
}
