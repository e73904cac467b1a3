//! Where things stand: what is beside what, where there is much room and where there is little.

use crate::accessibility::excess;
use crate::browser::Browser;
use crate::forms::page_of;
use crate::stage::{MAYA, Stage};
use serde_json::json;

/// How many columns a grid has.
fn columns(css: &str) -> String {
    format!(
        "return getComputedStyle(document.querySelector('{css}')).gridTemplateColumns\
            .split(' ').length"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_phone_shows_a_record_and_data_accesses_from_top_to_bottom() {
    let stage = Stage::new().await;
    let phone = Browser::sized(&stage.base, 390, 844).await;
    let window = Browser::at(&stage.base).await;
    for (browser, number) in [(&phone, 1), (&window, 2)] {
        stage.sign_in(browser, MAYA).await;
        browser.open("/console/audit/events/3").await;
        assert_eq!(browser.script(&columns(".state > .record > .facts")).await, number);
        browser.open("/console/tokens").await;
        browser.press("Create access token").await;
        browser.until("document.querySelector('dialog[open] form')").await;
        let beside = "const tops = [...document.querySelectorAll('dialog .choices li')] \
            .map((li) => Math.round(li.getBoundingClientRect().top)); \
            return Math.max(...tops.map((top) => tops.filter((other) => other === top).length))";
        assert_eq!(browser.script(beside).await, number);
        // What is left over of an odd number has the line to itself.
        browser.open("/console/keys/new").await;
        let last = "const [list, last] = ['.choices', '.choices li:last-child'] \
            .map((css) => document.querySelector(css)); \
            return [list.children.length % 2, list.clientWidth - last.offsetWidth]";
        assert_eq!(browser.script(last).await, json!([1, 0]));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_to_be_copied_is_seen_whole() {
    let stage = Stage::new().await;
    let browser = stage.browser(MAYA).await;
    for (list, way) in [
        ("tokens", "Create access token"),
        ("keys", "Create API key"),
        ("clients", "Create client"),
    ] {
        browser.open(&format!("/console/{list}")).await;
        browser.press(way).await;
        browser.fill("dialog #name", "HR portal").await;
        browser.click("dialog input[name=scopes]").await;
        browser.click("dialog button.main").await;
        browser.until("document.querySelector('dialog [data-secret]')").await;
        let cut = "return [...document.querySelectorAll('.secret input')] \
            .filter((field) => field.scrollWidth > field.clientWidth).length";
        assert_eq!(browser.script(cut).await, 0, "{list}");
        browser.resize(390).await;
        assert_eq!(excess(&browser).await, 0, "{list}");
        browser.resize(1280).await;
        browser.click(".secret button.main").await;
        browser.press("Done").await;
        browser.until("!document.querySelector('dialog[open]')").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn paper_has_rows_and_nothing_that_leads_on() {
    let stage = Stage::new().await;
    let token = stage.token("Payroll sync", &["positions"]).await;
    let browser = stage.browser(MAYA).await;
    // As wide as paper.
    browser.resize(718).await;
    let shown = async |css: &str| {
        let script = format!("return getComputedStyle(document.querySelector({css:?})).display");
        browser.script(&script).await
    };
    let page = page_of(&token);
    let (row, menu) = ("tbody tr", "tbody td:has(.menu)");
    let [record, then] = [".event .record", ".meta a[href*='at=']"];
    browser.open("/console/tokens").await;
    assert_eq!([shown(row).await, shown(menu).await], ["block", "block"]);
    browser.on_paper(true).await;
    assert_eq!([shown(row).await, shown(menu).await], ["table-row", "none"]);
    browser.open(&page).await;
    assert_eq!([shown(record).await, shown(then).await], ["none", "none"]);
    // What was opened is printed.
    browser.script("document.querySelector('.event .record').open = true").await;
    assert_eq!(shown(record).await, "block");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_opens_from_the_end_of_its_line_and_takes_the_whole_width() {
    let stage = Stage::new().await;
    let token = stage.token("Careers page (preview)", &["positions"]).await;
    let browser = stage.browser(MAYA).await;
    // Whoever is signed in stands at the top right, however long the way to the page is.
    for width in [1024, 1280] {
        browser.resize(width).await;
        browser.open(&page_of(&token)).await;
        let place = "const [top, crumbs, who] = ['.top', '.crumbs', '.who'] \
            .map((css) => document.querySelector(css).getBoundingClientRect()); \
            return [who.top < crumbs.bottom, top.right - who.right]";
        assert_eq!(browser.script(place).await, json!([true, 32]), "{width}");
    }
    browser.open("/console/audit").await;
    let place = "const [meta, summary, facts] = ['.meta', '.record > summary', '.record > .facts'] \
        .map((css) => document.querySelector('.event ' + css).getBoundingClientRect()); ";
    let line = format!(
        "{place} return [summary.left > meta.right, summary.top < meta.bottom, summary.left]"
    );
    let folded = browser.script(&line).await;
    assert_eq!((&folded[0], &folded[1]), (&json!(true), &json!(true)), "{folded}");
    browser.click(".event .record > summary").await;
    browser.until("document.querySelector('.event .record[open]')").await;
    assert_eq!(browser.script(&line).await, folded);
    let below = format!("{place} return [facts.left === meta.left, facts.top >= meta.bottom]");
    assert_eq!(browser.script(&below).await, json!([true, true]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_word_in_a_notice_stays_on_the_page() {
    let stage = Stage::new().await;
    let (other, _) = stage.test.another_company(&"W".repeat(100)).await;
    stage.person("Sam Oakes", "sam@globex.example", "super_admin", other).await;
    let off = json!({"enabled": false});
    let module = format!("/v1/companies/{other}/oauth-app");
    stage.test.operator.put(&module).json(&off).await.expect(200);
    let phone = Browser::sized(&stage.base, 390, 844).await;
    let link = stage.test.app.sign_in_link("sam@globex.example", other).await.expect("a link");
    phone.open(&format!("/console/sign-in/{}", link.reveal())).await;
    phone.press("Sign in").await;
    phone.sees("Sign out").await;
    phone.open("/console/tokens").await;
    phone.sees("works while it is off").await;
    assert_eq!(excess(&phone).await, 0);
}
