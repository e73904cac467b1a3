//! Answers that take their time: what is pressed meanwhile loses nothing, and what takes long says so.

use crate::browser::{Browser, key};
use crate::stage::{MAYA, Stage};

/// How long answers take, in milliseconds, where that is felt.
const LATENCY: u64 = 1500;

/// Fills in the form of a token, and sends it to a service that takes its time.
async fn create_slowly(browser: &Browser, name: &str) {
    browser.fill("#name", name).await;
    browser.click("input[value=positions]").await;
    browser.waits(LATENCY).await;
    browser.press("Create").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dialog_whose_form_was_sent_stays_until_the_answer_is_there() {
    let stage = Stage::new().await;
    let browser = stage.browser(MAYA).await;
    browser.open("/console/members").await;
    browser.open("/console/tokens").await;
    let before = browser.script("return history.length").await;
    browser.press("Create access token").await;
    create_slowly(&browser, "Slow").await;
    browser.keys(&[key::ESCAPE, key::ESCAPE]).await;
    browser.press("Cancel").await;
    browser.until("document.querySelector('dialog[open] form')").await;
    browser.script("history.back()").await;
    browser.until("document.querySelector('dialog button.main').textContent === 'Sending…'").await;
    browser.until("document.querySelector('dialog [data-cancel]').ariaDisabled === 'true'").await;
    browser.until("document.querySelector('dialog [aria-busy=true]')").await;
    assert_eq!(browser.count("[data-secret]").await, 0);
    browser.sees("You will not see it again").await;
    browser.waits(0).await;
    browser.until("location.pathname === '/console/tokens/new'").await;
    assert_eq!(browser.count("[aria-busy=true]").await, 0);
    browser.press("Copy token").await;
    browser.press("Done").await;
    browser.until("location.pathname === '/console/tokens'").await;
    browser.sees("Slow").await;
    assert_eq!(browser.count("dialog[open]").await, 0);
    assert_eq!(
        browser.script("return history.length").await.as_u64(),
        before.as_u64().map(|n| n + 1)
    );
    browser.back().await;
    browser.until("location.pathname === '/console/members'").await;
    assert_eq!(stage.test.count_events("token.created").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_click_on_a_page_loses_no_secret() {
    let stage = Stage::new().await;
    let browser = stage.browser(MAYA).await;
    browser.open("/console/tokens/new").await;
    // Clicks once more when the answer is long overdue.
    let again = "document.addEventListener('submit', (event) => setTimeout(() => { \
        sessionStorage.words = event.submitter.textContent; event.submitter.click(); }, 3500))";
    browser.script(again).await;
    browser.fill("#name", "Once").await;
    browser.click("input[value=positions]").await;
    browser.waits(5000).await;
    browser.press("Create").await;
    browser.sees("You will not see it again").await;
    browser.until("document.querySelector('[data-secret]').value.startsWith('tlk_')").await;
    assert_eq!(browser.script("return sessionStorage.words").await, "Sending…");
    assert_eq!(stage.test.count_events("token.created").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_stops_a_page_from_loading_can_send_again() {
    let stage = Stage::new().await;
    let browser = stage.browser(MAYA).await;
    browser.open("/console/tokens/new").await;
    browser.fill("#name", "Stopped").await;
    let stop = "document.addEventListener('submit', (event) => setTimeout(() => { \
        sessionStorage.words = event.submitter.textContent + event.submitter.disabled; \
        window.stop(); }, 1000), { once: true })";
    browser.script(stop).await;
    browser.waits(5000).await;
    browser.press("Create").await;
    browser.until("sessionStorage.words === 'Sending…true'").await;
    browser.until("document.querySelector('form.form button:enabled')").await;
    assert_eq!(browser.text("form.form button.main").await, "Create");
    browser.waits(0).await;
    browser.press("Create").await;
    browser.sees("Choose at least one data access.").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_takes_long_says_so_and_an_old_alert_goes() {
    let stage = Stage::new().await;
    let browser = stage.browser(MAYA).await;
    browser.open("/console/tokens").await;
    browser.waits(LATENCY).await;
    browser.press("Create access token").await;
    browser.until("document.querySelector('main[aria-busy=true]')").await;
    browser.until("document.querySelector('.head .main').textContent === 'Loading…'").await;
    browser.until("document.querySelector('dialog[open] form')").await;
    assert_eq!(browser.count("[aria-busy=true]").await, 0);
    browser.offline(true).await;
    browser.fill("#name", "Late").await;
    browser.click("input[value=positions]").await;
    browser.press("Create").await;
    browser.sees("The service can’t be reached.").await;
    browser.until("document.querySelector('dialog button.main').textContent === 'Create'").await;
    browser.waits(LATENCY).await;
    browser.press("Create").await;
    browser.sees_no("The service can’t be reached.").await;
    assert_eq!(browser.count("[data-secret]").await, 0);
    browser.sees("You will not see it again").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_menu_that_waits_for_a_dialog_says_so_and_moves_nothing() {
    let stage = Stage::new().await;
    stage.token("Payroll sync", &["positions"]).await;
    let browser = stage.browser(MAYA).await;
    browser.open("/console/tokens").await;
    let menu = "summary[aria-label='Actions for Payroll sync']";
    let places = "return [...document.querySelectorAll('.rows :is(th, td, summary)')] \
        .map((part) => JSON.stringify(part.getBoundingClientRect())).join()";
    let before = browser.script(places).await;
    browser.click(menu).await;
    browser.waits(LATENCY).await;
    browser.press("Edit").await;
    let words = format!("getComputedStyle(document.querySelector({menu:?}), '::after').content");
    browser.until(&format!("{words} === '\"Loading…\"'")).await;
    browser.until("document.querySelector('summary[aria-busy=true]')").await;
    browser
        .until("document.querySelector('body > .sr[role=status]').textContent === 'Loading…'")
        .await;
    assert_eq!(browser.text(menu).await, "•••");
    assert_eq!(browser.script(places).await, before);
    browser.until("document.querySelector('dialog[open] form')").await;
    assert_eq!(browser.count("[aria-busy]").await, 0);
    browser.until(&format!("{words} === 'none'")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dialog_that_cant_be_fetched_leaves_the_page_and_can_be_asked_for_again() {
    let stage = Stage::new().await;
    stage.token("Payroll sync", &["positions"]).await;
    let browser = stage.browser(MAYA).await;
    browser.open("/console/tokens").await;
    let menu = "summary[aria-label='Actions for Payroll sync']";
    let edit = async || {
        browser.click(menu).await;
        browser.press("Edit").await;
    };
    browser.offline(true).await;
    edit().await;
    browser.sees("The service can’t be reached. Try again.").await;
    assert_eq!(browser.count("main > [role=alert]").await, 1);
    assert_eq!(browser.path().await, "/console/tokens");
    browser.until(&format!("document.activeElement.matches({menu:?})")).await;
    browser.offline(false).await;
    edit().await;
    browser.until("document.querySelector('dialog[open] form')").await;
    assert_eq!(browser.count("main > [role=alert]").await, 0);
    assert_eq!(browser.text(menu).await, "•••");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_whose_dialog_was_answered_is_shown_as_it_is_now() {
    let stage = Stage::new().await;
    let token = stage.token("Payroll sync", &["positions"]).await;
    let browser = stage.browser(MAYA).await;
    browser.open(&format!("/console/tokens/{}", token["token_id"].as_str().expect("an id"))).await;
    browser.sees("Active").await;
    browser.press("Delete").await;
    browser.until("document.querySelector('dialog[open] form')").await;
    stage.test.admin.delete(&stage.test.token_path(&token)).await.expect(204);
    browser.press("Delete “Payroll sync”").await;
    browser.sees("This token was changed meanwhile.").await;
    browser.press("Close").await;
    browser.until("!document.querySelector('dialog[open]')").await;
    browser.sees("Deleted").await;
    browser.sees_no("Active").await;
    assert_eq!(browser.count(".head .button").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_stops_a_filtered_list_goes_on_with_the_filters() {
    let stage = Stage::new().await;
    let browser = stage.browser(MAYA).await;
    browser.open("/console/audit?from=2026-03-01T00:00:00Z").await;
    let stop = "document.addEventListener('submit', () => setTimeout(() => { \
        window.stop(); window.stopped = true; }, 1000), { once: true })";
    browser.script(stop).await;
    browser.waits(5000).await;
    browser.press("Apply").await;
    browser.until("window.stopped").await;
    assert_eq!(browser.count(".filters input[type=datetime-local]").await, 2);
    assert_eq!(browser.count(".filters :disabled").await, 0);
    browser.waits(0).await;
    browser.press("Apply").await;
    browser.until("!window.stopped && document.readyState === 'complete'").await;
    assert_eq!(browser.path().await, "/console/audit?from=2026-03-01T00%3A00%3A00.000000Z");
}

#[tokio::test(flavor = "multi_thread")]
async fn where_nobody_says_that_a_page_was_stopped_it_can_be_sent_again_later() {
    let stage = Stage::new().await;
    let browser = stage.browser(MAYA).await;
    browser.open("/console/tokens/new").await;
    browser.fill("#name", "Stopped").await;
    // A browser without the Navigation API, in which what takes long happens when it is told to.
    let other = "Object.defineProperty(window, 'navigation', { value: undefined }); \
        const later = window.setTimeout; \
        window.setTimeout = (what, wait) => { \
            if (wait < 10000 || !wait) return later(what, wait); \
            window.inTheEnd = what; \
        }; \
        document.addEventListener('submit', () => later(() => { \
            window.stop(); window.stopped = true; }, 1000), { once: true })";
    browser.script(other).await;
    browser.waits(5000).await;
    browser.press("Create").await;
    browser.until("window.stopped && document.querySelector('form.form button:disabled')").await;
    browser.script("window.inTheEnd()").await;
    browser.until("document.querySelector('form.form button:enabled')").await;
    assert_eq!(browser.text("form.form button.main").await, "Create");
}
