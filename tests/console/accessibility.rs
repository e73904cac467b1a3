//! What everybody can use: no violation found by axe-core, on every page in both themes, and
//! pages that fit a phone.

use crate::browser::Browser;
use crate::forms::member;
use crate::notices::told_to;
use crate::plain::Plain;
use crate::stage::{MAYA, OLA, Stage};
use serde_json::{Value, json};

const AXE: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/tests/browser/node_modules/axe-core/axe.min.js");
const PAGES: [&str; 21] = [
    "/console/tokens",
    "/console/tokens?q=Payroll",
    "/console/tokens?q=nothing",
    "/console/tokens/new",
    "/console/audit",
    "/console/audit?actor=ledger",
    "/console/audit/denials",
    "/console/audit/sign-ins",
    "/console/audit/exports",
    "/console/audit/events/9",
    "/console/log",
    "/console/clients",
    "/console/clients/new",
    "/console/keys",
    "/console/keys/new",
    "/console/members",
    "/console/members/new",
    "/console/policy",
    "/console/companies",
    "/console/sessions",
    "/console/password",
];
const BELOW_A_TOKEN: [&str; 5] = ["", "?at=2026-03-09T09:00:00Z", "/refresh", "/edit", "/delete"];
const OPERATORS: [&str; 3] = [
    "/console/platform/companies",
    "/console/platform/companies/new",
    "/console/platform/projections",
];

fn axe() -> String {
    std::fs::read_to_string(AXE).expect("axe-core is installed; scripts/test installs it")
}

/// What axe-core finds wrong with the page, the size of what is clicked among it unless an open
/// menu covers some of that.
async fn violations(browser: &Browser, axe: &str) -> Vec<String> {
    let script = format!(
        "const done = arguments[arguments.length - 1]; {axe}; \
         const sizes = {{enabled: !document.querySelector('.menu[open]')}}; \
         axe.run(document, {{rules: {{'target-size': sizes}}}}).then(found => \
         done(found.violations.map(v => v.id + ': ' + v.nodes.map(n => n.html).join(' | '))))"
    );
    let found = browser.async_script(&script).await;
    found.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

async fn all_pages(stage: &Stage) -> Vec<String> {
    let token = stage.found("Payroll").await;
    let token = format!("/console/tokens/{}", token["token_id"].as_str().expect("an id"));
    let below = BELOW_A_TOKEN.iter().map(|below| format!("{token}{below}"));
    PAGES.iter().map(|page| (*page).to_owned()).chain(below).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn no_page_has_a_violation_in_either_theme() {
    let mut stage = Stage::new().await;
    stage.lifelike().await;
    stage.sign().await;
    let browser = stage.browser(MAYA).await;
    let axe = axe();
    let mut pages = all_pages(&stage).await;
    let mut found = Vec::new();
    for person in [MAYA, OLA] {
        for scheme in ["light", "dark"] {
            browser.prefers(scheme).await;
            for page in &pages {
                browser.open(page).await;
                for violation in violations(&browser, &axe).await {
                    found.push(format!("{page} ({scheme}): {violation}"));
                }
            }
        }
        if person == MAYA {
            stage.sign_in(&browser, OLA).await;
            pages = OPERATORS.map(str::to_owned).to_vec();
        }
    }
    browser.open("/console/tokens").await;
    browser.click("tbody tr:nth-child(2) details.menu summary").await;
    found.extend(violations(&browser, &axe).await);
    browser.press("Edit").await;
    browser.sees("What changes").await;
    found.extend(violations(&browser, &axe).await);
    browser.press("Cancel").await;
    browser.press("Create access token").await;
    browser.press("Create").await;
    browser.sees("Choose at least one data access.").await;
    found.extend(violations(&browser, &axe).await);
    browser.fill("#name", "Audited").await;
    browser.press("Select all").await;
    browser.press("Create").await;
    browser.sees("You will not see it again").await;
    found.extend(violations(&browser, &axe).await);
    let outside = Browser::at(&stage.base).await;
    outside.open("/console/sign-in").await;
    found.extend(violations(&outside, &axe).await);
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_whole_page_says_is_read_aloud_or_gone_on_from() {
    let stage = Stage::new().await;
    let browser = stage.browser(MAYA).await;
    browser.open("/console/tokens").await;
    let page = browser.script("return document.documentElement.outerHTML").await;
    let page = page.as_str().expect("a page");
    browser.open(&told_to(page, "/console/tokens", "token-deleted")).await;
    let said = "document.querySelector('body > .sr[role=status]').textContent";
    browser.until(&format!("{said}.startsWith('The token was deleted.')")).await;
    browser.open("/console/policy").await;
    let other = json!({"max_validity_seconds": 3600});
    stage.test.admin.put(&stage.test.path("/policy")).json(&other).await.expect(200);
    browser.press("Save policy").await;
    browser.sees("The policy was changed meanwhile.").await;
    browser.until("document.activeElement.matches('main > [role=alert]')").await;
    let outside = Browser::at(&stage.base).await;
    outside.open("/console/sign-in").await;
    outside.until("document.activeElement.id === 'email'").await;
    outside.fill("#email", MAYA).await;
    outside.fill("#password", "not her password").await;
    outside.press("Sign in").await;
    outside.until("document.activeElement.matches('main .notice.bad[role=alert]')").await;
}

/// By how much the page or its dialog is too wide, whatever is focused of that which says more
/// then; also where that begins before the window does.
pub async fn excess(browser: &Browser) -> i64 {
    let script = "const excess = () => Math.max(...[document.documentElement, \
            ...document.querySelectorAll('dialog[open]')].map(e => e.scrollWidth - e.clientWidth)); \
        const found = [0, excess()]; \
        for (const part of document.querySelectorAll('[data-exact]')) { \
            part.focus(); \
            found.push(excess()); \
            const tip = getComputedStyle(part, '::after'); \
            if (tip.content !== 'none' && getComputedStyle(part).position === 'relative') { \
                found.push(-part.getBoundingClientRect().left - parseFloat(tip.left)); \
            } \
        } \
        return Math.ceil(Math.max(...found))";
    browser.script(script).await.as_i64().expect("a width")
}

/// What is shown is too wide for these widths.
async fn too_wide(browser: &Browser, what: &str, widths: &[u32]) -> Vec<String> {
    let mut wide = Vec::new();
    for width in widths {
        browser.resize(*width).await;
        let excess = excess(browser).await;
        if excess > 0 {
            wide.push(format!("{what} is {excess} pixels too wide for {width}"));
        }
    }
    wide
}

/// What names without spaces are on every list: those of a key, and of a person with this address.
async fn long_names(stage: &Stage) -> String {
    let body = json!({"name": "prod_hris_to_warehouse_nightly_sync_eu_central_1",
        "scopes": ["ledger.admin"]});
    let path = stage.test.path("/keys");
    let key = stage.test.admin.post(&path).json(&body).await.expect(201).body;
    let key = stage.test.nobody.with(key["key"].as_str().expect("a secret"));
    let body = json!({"name": "Warehouse", "scopes": ["positions"]});
    key.post(&stage.test.path("/tokens")).json(&body).await.expect(201);
    let email = format!("{0}@{0}.example", "w".repeat(60));
    stage.person(&"W".repeat(100), &email, "super_admin", stage.test.company).await;
    let wide = Plain::signed_in(stage, &email).await;
    wide.get("/console/audit/export?format=csv").await.expect(200);
    wide.get("/console/platform/companies").await.expect(403);
    wide.fill(&format!("{}/link", member(stage, &email).await), &[]).await.expect(200);
    email
}

#[tokio::test(flavor = "multi_thread")]
async fn every_page_fits_a_phone_and_a_window() {
    let mut stage = Stage::new().await;
    stage.lifelike().await;
    let long = "W".repeat(100);
    let every = stage.test.app.choices.catalogue.iter().map(|(scope, _)| scope.as_str());
    let token = stage.token(&long, &every.collect::<Vec<_>>()).await;
    stage.used(token["token"].as_str().expect("a secret")).await;
    let widest = long_names(&stage).await;
    stage.sign().await;
    let mut pages = all_pages(&stage).await;
    let token = format!("/console/tokens/{}", token["token_id"].as_str().expect("an id"));
    pages.extend(BELOW_A_TOKEN.iter().map(|below| format!("{token}{below}")));
    pages.extend(
        ["/console/tokens?q=Warehouse", "/console/audit/password-links"].map(str::to_owned),
    );
    let phone = Browser::sized(&stage.base, 390, 844).await;
    let window = Browser::at(&stage.base).await;
    let mut wide = Vec::new();
    let browsers = [(&phone, &[390][..]), (&window, &[820, 1001, 1024, 1280])];
    for (browser, widths) in browsers {
        stage.sign_in(browser, &widest).await;
        browser.lives_in("America/New_York").await;
        browser.has_focus().await;
        for page in &pages {
            browser.open(page).await;
            wide.extend(too_wide(browser, page, widths).await);
        }
        for form in ["Refresh Token", "Edit", "Delete"] {
            browser.open("/console/tokens").await;
            browser.click("tbody tr details.menu summary").await;
            browser.press(form).await;
            browser.until("document.querySelector('dialog[open] form')").await;
            wide.extend(too_wide(browser, &format!("The dialog {form}"), widths).await);
        }
    }
    stage.test.another_company("Globex Holding ".repeat(6).trim()).await;
    for browser in [&phone, &window] {
        stage.sign_in(browser, OLA).await;
    }
    for (browser, widths) in browsers {
        for page in OPERATORS {
            browser.open(page).await;
            wide.extend(too_wide(browser, page, widths).await);
        }
    }
    for page in OPERATORS {
        phone.open(page).await;
        let covered = "return [...document.querySelectorAll('.rows tr')].filter((row) => { \
            const words = document.createRange(); \
            words.selectNodeContents(row.cells[0]); \
            const [first, last] = [words, row.cells[row.cells.length - 1]] \
                .map((part) => part.getBoundingClientRect()); \
            return last.left < first.right && last.top < first.bottom && last.bottom > first.top; \
        }).length";
        if phone.script(covered).await != 0 {
            wide.push(format!("What can be done lies over a name on {page}"));
        }
    }
    stage.sign_in(&phone, MAYA).await;
    assert!(wide.is_empty(), "{}", wide.join("\n"));
    phone.open("/console/tokens").await;
    phone.click("tbody tr details.menu summary").await;
    phone.press("Edit").await;
    phone.sees("What changes").await;
    phone.click("input[value=custom_fields]").await;
    phone.press("Save").await;
    phone.sees("were saved. They count at once.").await;
}
