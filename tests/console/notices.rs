//! What a page says was done by the form before it, and to what.

use crate::forms::page_of;
use crate::plain::Plain;
use crate::stage::{MAYA, OLA, PRIYA, Stage};
use serde_json::json;

/// What the page at this address says was done.
async fn told(who: &Plain, address: &str) -> String {
    let page = who.get(address).await.expect(200).text;
    let (_, notice) = page.split_once("data-notice><p>").unwrap_or_else(|| panic!("{page}"));
    notice.split("</p>").next().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn what_was_deleted_is_named() {
    let stage = Stage::new().await;
    let here = page_of(&stage.token("<Full> page", &["positions"]).await);
    let maya = Plain::signed_in(&stage, MAYA).await;
    let done = maya.fill(&format!("{here}/delete"), &[]).await.expect(303);
    let address = done.header("location");
    assert!(!address.contains("Full"), "{address}");
    let notice = told(&maya, address).await;
    assert!(notice.starts_with("“<bdi>&lt;Full&gt; page</bdi>” was deleted."), "{notice}");
    assert!(notice.contains(&format!("href=\"{here}#history\"")), "{notice}");

    let fields = [("name", "Nightly"), ("scopes", "ledger.audit")];
    maya.fill("/console/keys/new", &fields).await.expect(200);
    let fields = [("name", "HR portal"), ("scopes", "positions")];
    maya.fill("/console/clients/new", &fields).await.expect(200);
    for (list, name, said) in [
        ("keys", "Nightly", "“<bdi>Nightly</bdi>” was deleted."),
        ("clients", "HR portal", "“<bdi>HR portal</bdi>” and its tokens were deleted."),
    ] {
        let page = maya.get(&format!("/console/{list}")).await.expect(200).text;
        let (_, row) = page.split_once(&format!("Actions for {name}")).expect("a row");
        let way = row.split('"').find(|part| part.ends_with("/delete")).expect("a way");
        let done = maya.fill(way, &[]).await.expect(303);
        assert_eq!(told(&maya, done.header("location")).await, said);
    }
}

#[tokio::test]
async fn nothing_of_another_company_is_named() {
    let stage = Stage::new().await;
    let (globex, theirs) = stage.test.another_company("Globex").await;
    let body = json!({"name": "Secret plan", "scopes": ["positions"]});
    let path = format!("/v1/companies/{globex}/tokens");
    let token = theirs.post(&path).json(&body).await.expect(201).body;
    let token = token["token_id"].as_str().expect("an id");
    let maya = Plain::signed_in(&stage, MAYA).await;
    for of in ["", &format!(".{token}"), ".018f0000-0000-7000-8000-000000000000", ".xyz"] {
        let notice = told(&maya, &format!("/console/tokens?notice=token-deleted{of}")).await;
        assert!(notice.starts_with("The token was deleted."), "{notice}");
    }
    let off = format!("/console/tokens?notice=module-off.{globex}");
    let said = "The OAuth App module is off. No token of the company works.";
    assert_eq!(told(&maya, &off).await, said);
}

#[tokio::test]
async fn the_company_whose_module_was_turned_is_named() {
    let stage = Stage::new().await;
    let (company, _) = stage.test.another_company("Fish & Chips").await;
    let ola = Plain::signed_in(&stage, OLA).await;
    let list = "/console/platform/companies";
    let module = format!("{list}/{company}/oauth-app");
    let off = ola.fill(&module, &[]).await.expect(303);
    let said = "The OAuth App module is off. No token of <bdi>Fish &amp; Chips</bdi> works.";
    assert_eq!(told(&ola, off.header("location")).await, said);
    let form = ola.form(list, &module).await;
    let on = ola.submit(&form, &[("enabled", "true")]).await.expect(303);
    let notice = told(&ola, on.header("location")).await;
    assert!(notice.contains("Tokens of <bdi>Fish &amp; Chips</bdi> that are"), "{notice}");
    let form = ola.open(&format!("{list}/new")).await;
    let new = ola.submit(&form, &[("name", "Initech")]).await.expect(303);
    let notice = told(&ola, new.header("location")).await;
    assert!(notice.starts_with("<bdi>Initech</bdi> was registered"), "{notice}");
}

#[tokio::test]
async fn whoever_was_added_changed_or_removed_is_named() {
    let stage = Stage::new().await;
    let maya = Plain::signed_in(&stage, MAYA).await;
    let fields = [("email", "tom@acme.example"), ("name", "Tom Okafor"), ("role", "auditor")];
    let link = maya.fill("/console/members/new", &fields).await.expect(200).text;
    let done = link.split('"').find(|part| part.contains("?notice=member-added.")).expect("a way");
    assert_eq!(told(&maya, done).await, "<bdi>Tom Okafor</bdi> was added.");
    let id = done.rsplit('.').next().expect("an id");
    let way = format!("/console/members/{id}");
    let role = maya.fill(&format!("{way}/role"), &[("role", "super_admin")]).await.expect(303);
    let said = "The role of <bdi>Tom Okafor</bdi> was changed.";
    assert_eq!(told(&maya, role.header("location")).await, said);
    let gone = maya.fill(&format!("{way}/remove"), &[]).await.expect(303);
    let said = "<bdi>Tom Okafor</bdi> was removed, and is signed out of this company.";
    assert_eq!(told(&maya, gone.header("location")).await, said);

    // Who is a member elsewhere has an account already.
    let (globex, _) = stage.test.another_company("Globex").await;
    let ola = Plain::signed_in(&stage, OLA).await;
    let choose = ola.form("/console/platform/companies", "/console/companies").await;
    ola.submit(&choose, &[("company_id", &globex.to_string())]).await.expect(303);
    let fields = [("email", PRIYA), ("role", "auditor")];
    let added = ola.fill("/console/members/new", &fields).await.expect(303);
    let notice = told(&ola, added.header("location")).await;
    let said = "<bdi>Priya Nair</bdi> was added, and can’t come in yet";
    assert!(notice.starts_with(said), "{notice}");
}
