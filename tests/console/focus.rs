//! Where the focus is when something was done in a dialog, and what is read aloud then.

use crate::browser::{Browser, key};
use crate::stage::{MAYA, Stage};

/// Waits until the page that is loaded behind a dialog has the focus there.
async fn comes_back_to(browser: &Browser, css: &str) {
    browser.until("!document.querySelector('dialog[open]')").await;
    browser.until(&format!("document.activeElement.matches({css:?})")).await;
    browser.until("sessionStorage.length === 0").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_focus_returns_to_what_opened_the_dialog_when_it_is_done() {
    let stage = Stage::new().await;
    stage.token("Careers page", &["positions"]).await;
    stage.token("Payroll sync", &["positions"]).await;
    let browser = stage.browser(MAYA).await;
    browser.open("/console/tokens?sort=name").await;
    let menu = "summary[aria-label='Actions for Payroll sync']";
    browser.click(menu).await;
    browser.press("Edit").await;
    browser.click("input[value=employees]").await;
    browser.press("Save").await;
    comes_back_to(&browser, menu).await;
    let said = "document.querySelector('body > .sr[role=status]').textContent";
    browser
        .until(&format!("{said}.startsWith('The data accesses of “Payroll sync” were saved.')"))
        .await;
    browser.click(menu).await;
    browser.press("Refresh Token").await;
    browser.press("Refresh").await;
    browser.sees("You will not see it again").await;
    let said = "document.querySelector('dialog > .sr[role=status]').textContent";
    browser.until(&format!("{said}.includes('valid until')")).await;
    browser.press("Copy token").await;
    browser.press("Done").await;
    comes_back_to(&browser, menu).await;
    // Nor is the keyboard's place lost where the theme is changed.
    for theme in ["Theme: system", "Theme: dark", "Theme: light"] {
        browser.tab_to(theme).await;
        browser.keys(&[key::ENTER]).await;
        browser.sees_no(theme).await;
        comes_back_to(&browser, "[name=theme]").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_done_has_the_focus_where_its_opener_is_gone() {
    let stage = Stage::new().await;
    stage.token("Payroll sync", &["positions"]).await;
    let browser = stage.browser(MAYA).await;
    browser.open("/console/tokens").await;
    browser.click("summary[aria-label='Actions for Payroll sync']").await;
    browser.press("Delete").await;
    browser.press("Delete “Payroll sync”").await;
    browser.sees("“Payroll sync” was deleted").await;
    comes_back_to(&browser, "main > .notice[data-notice]").await;
}
