//! What a page says was done by the form before it, and to what.

use crate::forms::{member, page_of};
use crate::plain::Plain;
use crate::stage::{MAYA, OLA, PRIYA, Stage};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::json;
use sha2::{Digest, Sha256};

/// The address of a page with a notice, as the session writes it that this page belongs to.
pub fn told_to(page: &str, path: &str, notice: &str) -> String {
    let (_, token) = page.split_once("name=\"csrf\" value=\"").expect("a form with a token");
    let token = token.split('"').next().unwrap_or_default();
    let hash = Sha256::new().chain_update("token-ledger mark\0").chain_update(token);
    let hash = hash.chain_update("\0").chain_update(notice).finalize();
    format!("{path}?notice={notice}.{}", URL_SAFE_NO_PAD.encode(&hash[..9]))
}

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
    let page = maya.get("/console/tokens").await.expect(200).text;
    let of = [String::new(), format!(".{token}"), ".xyz".to_owned()];
    for of in of {
        let way = told_to(&page, "/console/tokens", &format!("token-deleted{of}"));
        let notice = told(&maya, &way).await;
        assert!(notice.starts_with("The token was deleted."), "{notice}");
    }
    let off = told_to(&page, "/console/tokens", &format!("module-off.{globex}"));
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
    let id = done.split('.').nth(1).expect("an id");
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

#[tokio::test]
async fn what_somebody_else_wrote_into_an_address_is_not_told() {
    let stage = Stage::new().await;
    let here = page_of(&stage.token("Payroll sync", &["positions"]).await);
    let id = here.rsplit('/').next().expect("an id").to_owned();
    let maya = Plain::signed_in(&stage, MAYA).await;
    let written = maya.fill(&format!("{here}/delete"), &[]).await.expect(303);
    let written = written.header("location").to_owned();
    told(&maya, &written).await;
    let elsewhere = Plain::signed_in(&stage, MAYA).await;
    let priya = Plain::signed_in(&stage, PRIYA).await;
    let mark = written.rsplit('.').next().expect("a mark");
    for (who, way) in [
        (&priya, written.clone()),
        (&elsewhere, written.clone()),
        (&maya, format!("/console/tokens?notice=token-deleted.{id}")),
        (&maya, format!("/console/tokens?notice=key-deleted.{id}.{mark}")),
        (&maya, "/console/policy?notice=policy-changed".to_owned()),
        (&maya, "/console/sessions?notice=password-changed".to_owned()),
    ] {
        let page = who.get(&way).await.expect(200).text;
        assert!(!page.contains("data-notice"), "{way}: {page}");
    }
    let ola = Plain::signed_in(&stage, OLA).await;
    for way in ["companies?notice=module-off", "projections?notice=rebuild-begun"] {
        let page = ola.get(&format!("/console/platform/{way}")).await.expect(200).text;
        assert!(!page.contains("data-notice"), "{way}: {page}");
    }
    // Nor is anybody told at the door of what they didn't do.
    let page = stage.test.nobody.get("/console/sign-in?notice=own-removal").await.expect(200).text;
    assert!(!page.contains("role=\"status\""), "{page}");
}

#[tokio::test]
async fn whoever_removes_or_lowers_themselves_is_told_before_and_at_the_door() {
    let stage = Stage::new().await;
    stage.person("Maya Lindqvist", "maya2@acme.example", "super_admin", stage.test.company).await;
    let (hers, other) = (member(&stage, MAYA).await, member(&stage, "maya2@acme.example").await);
    let cases = [
        ("remove", [].as_slice(), "You removed yourself from the company"),
        ("role", &[("role", "auditor")], "Your role was changed."),
    ];
    for (below, fields, said) in cases.into_iter().rev() {
        let maya = Plain::signed_in(&stage, MAYA).await;
        // Of two who are called alike, it is said which.
        let form = maya.get(&format!("{other}/{below}")).await.expect(200).text;
        assert!(form.contains("(maya2@acme.example)") && !form.contains("his is you"), "{form}");
        let form = maya.get(&format!("{hers}/{below}")).await.expect(200).text;
        assert!(form.contains("(maya@acme.example)") && form.contains("his is you"), "{form}");
        let door = maya.fill(&format!("{hers}/{below}"), fields).await.expect(303);
        let door = door.header("location").to_owned();
        let page = maya.get(&door).await.expect(200).text;
        assert!(page.contains(said) && page.contains("<h1>Sign in</h1>"), "{page}");
        let others = stage.test.nobody.get(&door).await.expect(200).text;
        assert!(!others.contains(said), "{others}");
        let raised = json!({"role": "super_admin"});
        let id = hers.rsplit('/').next().expect("an id");
        let path = stage.test.path(&format!("/members/{id}"));
        let answer = stage.test.admin.patch(&path).json(&raised).await;
        assert_eq!(answer.status == 404, below == "remove", "{}", answer.text);
    }
}

#[tokio::test]
async fn a_new_member_with_the_name_of_another_is_pointed_out() {
    let stage = Stage::new().await;
    let maya = Plain::signed_in(&stage, MAYA).await;
    let said = "Another member has the same name";
    for (name, email, is_namesake) in
        [("Tom Okafor", "tom@acme.example", false), ("tom okafor", "tom2@acme.example", true)]
    {
        let fields = [("email", email), ("name", name), ("role", "auditor")];
        let link = maya.fill("/console/members/new", &fields).await.expect(200).text;
        assert_eq!(link.contains(said), is_namesake, "{link}");
        let done = link.split('"').find(|part| part.contains("?notice=member-added."));
        let notice = told(&maya, done.expect("a way")).await;
        assert_eq!(notice.contains(said), is_namesake, "{notice}");
    }
}
