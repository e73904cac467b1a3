//! Pictures of the main pages, for docs/console.md. Made when `CONSOLE_PICTURES` names a folder.

use crate::stage::{MAYA, OLA, Stage};
use std::path::Path;

#[tokio::test(flavor = "multi_thread")]
async fn pictures_are_made_on_demand() {
    let Ok(folder) = std::env::var("CONSOLE_PICTURES") else { return };
    let folder = Path::new(&folder);
    let mut stage = Stage::new().await;
    stage.sign().await;
    stage.lifelike().await;
    stage.sign().await;
    let head = stage.test.app.head(stage.test.company).await.expect("a head");
    let event = format!("/console/audit/events/{}", head - 1);
    let browser = stage.browser(MAYA).await;
    let pages = [
        ("tokens", "/console/tokens"),
        ("create", "/console/tokens/new"),
        ("audit", "/console/audit"),
        ("event", event.as_str()),
        ("checkpoints", "/console/log"),
        ("which", "/console/audit?actor=a"),
        ("exports", "/console/audit/exports"),
        ("sessions", "/console/sessions"),
        ("clients", "/console/clients"),
        ("keys", "/console/keys"),
        ("members", "/console/members"),
        ("policy", "/console/policy"),
    ];
    for (name, path) in pages {
        for scheme in ["light", "dark"] {
            browser.prefers(scheme).await;
            browser.open(path).await;
            browser.picture(&folder.join(format!("{name}-{scheme}.png"))).await;
        }
    }
    browser.prefers("light").await;
    browser.open("/console/tokens").await;
    browser.click("tbody tr:nth-child(2) details.menu summary").await;
    browser.picture(&folder.join("menu-light.png")).await;
    browser.press("Refresh Token").await;
    browser.sees("Valid for").await;
    browser.picture(&folder.join("refresh-light.png")).await;
    browser.press("Refresh").await;
    browser.sees("Save it").await;
    browser.picture(&folder.join("secret-light.png")).await;
    browser.press("Copy token").await;
    browser.press("Done").await;
    browser.click("tbody tr:nth-child(2) a").await;
    browser.sees("History").await;
    browser.picture(&folder.join("token-light.png")).await;
    let url = browser.path().await;
    browser.open(&format!("{url}?at=2026-03-08T09:00:00Z")).await;
    browser.picture(&folder.join("then-light.png")).await;
    browser.open(&url).await;
    browser.picture(&folder.join("history-light.png")).await;
    let phone = crate::browser::Browser::sized(&stage.base, 390, 844).await;
    stage.sign_in(&phone, MAYA).await;
    for (name, path) in pages {
        phone.open(path).await;
        phone.picture(&folder.join(format!("{name}-phone.png"))).await;
    }
    stage.sign_in(&browser, OLA).await;
    for (name, path) in [
        ("companies", "/console/platform/companies"),
        ("choose", "/console/companies"),
        ("projections", "/console/platform/projections"),
    ] {
        browser.open(path).await;
        browser.picture(&folder.join(format!("{name}-light.png"))).await;
    }
    browser.open("/console/members").await;
    browser.click("tbody tr:nth-child(2) details.menu summary").await;
    browser.press("Erase personal data").await;
    browser.sees("This can’t be undone.").await;
    browser.picture(&folder.join("erase-light.png")).await;
}
