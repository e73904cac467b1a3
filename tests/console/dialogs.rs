//! What dialogs are called, and what they say before anything is done.

use crate::forms::{page_of, policy};
use crate::plain::Plain;
use crate::stage::{MAYA, OLA, Stage};
use serde_json::json;
use token_ledger_domain::CompanyId;

const DAY: i64 = 86_400;

#[tokio::test]
async fn a_refresh_says_where_the_present_term_ends_later() {
    let stage = Stage::new().await;
    policy(&stage, &json!({"max_validity_seconds": 60 * DAY})).await;
    let admin = &stage.test.admin;
    let long = json!({"name": "Long", "scopes": ["positions"], "expires_in_seconds": 30 * DAY});
    let long = admin.post(&stage.test.path("/tokens")).json(&long).await.expect(201).body;
    let usual = stage.token("Usual", &["positions"]).await;
    let key = async |name: &str, days: i64| {
        let body = json!({"name": name, "scopes": ["ledger.audit"],
            "expires_in_seconds": days * DAY});
        let made = admin.post(&stage.test.path("/keys")).json(&body).await.expect(201).body;
        format!("/console/keys/{}", made["key_id"].as_str().expect("an id"))
    };
    let maya = Plain::signed_in(&stage, MAYA).await;
    for (thing, end) in [
        (page_of(&long), Some("2026-03-31T09:00:00Z")),
        (page_of(&usual), None),
        (key("Long", 180).await, Some("2026-08-28T09:00:00Z")),
        (key("Usual", 90).await, None),
    ] {
        let page = maya.get(&format!("{thing}/refresh")).await.expect(200).text;
        let (_, field) = page.split_once("<select id=\"expires_in_seconds\"").expect("the field");
        let field = field.split("</div>").next().expect("its end");
        let said = "Counted from now. The present term ends on <time datetime=\"";
        let told = field.split_once(said).and_then(|(_, rest)| rest.split('"').next());
        assert_eq!(told, end, "{field}");
        let hint = field.contains("<p class=\"hint\" id=\"expires_in_seconds-hint\">");
        let described = field.contains("aria-describedby=\"expires_in_seconds-hint\"");
        assert_eq!(hint, described, "{field}");
        assert!(hint || end.is_none(), "{field}");
    }
}

#[tokio::test]
async fn what_a_key_may_do_is_said_in_a_sentence_for_each_scope() {
    let stage = Stage::new().await;
    let maya = Plain::signed_in(&stage, MAYA).await;
    let page = maya.get("/console/keys/new").await.expect(200).text;
    for (scope, words, opens) in [
        ("ledger.admin", "Manage the company", "members and the policy"),
        ("ledger.audit", "Read and export everything", "the audit trail and its proofs"),
        ("ledger.introspect", "Introspect tokens", "of this company"),
    ] {
        let (_, choice) = page.split_once(&format!("value=\"{scope}\"")).expect("a choice");
        let choice = choice.split("</li>").next().expect("its end");
        assert!(choice.contains(words) && choice.contains(opens), "{choice}");
    }
    assert!(!page.contains("ledger.operator"), "{page}");
    // A key of the platform reaches further.
    let ola = on_the_platform(&stage).await;
    let page = ola.get("/console/keys/new").await.expect(200).text;
    assert!(page.contains("of any company"), "{page}");
    assert!(page.contains("creates companies"), "{page}");
}

#[tokio::test]
async fn each_role_says_what_it_may() {
    let stage = Stage::new().await;
    let maya = Plain::signed_in(&stage, MAYA).await;
    let of = |page: &str, role: &str| {
        let (_, choice) = page.split_once(&format!("value=\"{role}\"")).expect("a choice");
        choice.split("</label>").next().expect("its end").to_owned()
    };
    let page = maya.get("/console/members/new").await.expect(200).text;
    assert!(of(&page, "auditor").contains("Reads everything and changes nothing."), "{page}");
    assert!(of(&page, "super_admin").contains("Manages tokens, clients, API keys"), "{page}");
    let ola = on_the_platform(&stage).await;
    let page = ola.get("/console/members/new").await.expect(200).text;
    assert!(of(&page, "operator").contains("may enter every company."), "{page}");
    assert!(of(&page, "super_admin").contains("Manages the platform’s API keys"), "{page}");
}

/// Ola, in the platform's own company.
async fn on_the_platform(stage: &Stage) -> Plain {
    let ola = Plain::signed_in(stage, OLA).await;
    let choose = ola.form("/console/platform/companies", "/console/companies").await;
    let platform = CompanyId::PLATFORM.to_string();
    ola.submit(&choose, &[("company_id", &platform)]).await.expect(303);
    ola
}

#[tokio::test]
async fn an_expired_token_leads_to_its_refresh() {
    let stage = Stage::new().await;
    let here = page_of(&stage.token("Payroll sync", &["positions"]).await);
    stage.after(8 * DAY);
    let maya = Plain::signed_in(&stage, MAYA).await;
    let list = maya.get("/console/tokens?q=pay").await.expect(200).text;
    let way =
        format!("<a href=\"{here}/refresh?list=q%3Dpay\" data-dialog>Refresh to use it again</a>");
    assert!(list.contains(&way), "{list}");
}

#[tokio::test]
async fn the_dialog_that_creates_a_token_is_called_like_its_siblings() {
    let stage = Stage::new().await;
    let maya = Plain::signed_in(&stage, MAYA).await;
    let page = maya.get("/console/tokens/new").await.expect(200).text;
    assert!(page.contains("<title>Create token – Token Ledger</title>"), "{page}");
    assert!(page.contains("tabindex=\"-1\">Create token</h1>"), "{page}");
    let list = maya.get("/console/tokens").await.expect(200).text;
    assert!(list.contains(">Create access token</a>"), "{list}");
}

#[tokio::test]
async fn a_data_access_that_is_not_on_offer_is_refused_in_words() {
    let stage = Stage::new().await;
    let token = page_of(&stage.token("Payroll sync", &["positions"]).await);
    let maya = Plain::signed_in(&stage, MAYA).await;
    let named = ("name", "Nightly");
    let policy = [
        ("max_validity_seconds", "604800"),
        ("max_grace_seconds", "3600"),
        ("allow", "some"),
        ("scopes", "salaries"),
    ];
    for (path, fields) in [
        ("/console/tokens/new", [named, ("scopes", "salaries")].as_slice()),
        ("/console/clients/new", &[named, ("scopes", "positions"), ("scopes", "salaries")]),
        (&format!("{token}/edit"), &[("scopes", "salaries")]),
        ("/console/policy", &policy),
    ] {
        let page = maya.fill(path, fields).await.expect(422).text;
        let said = "“Salaries” is not on offer. Choose among those that are.";
        assert!(page.contains(said), "{path}: {page}");
        assert!(!page.contains("/v1/scopes"), "{path}: {page}");
    }
}

#[tokio::test]
async fn a_policy_that_others_changed_meanwhile_keeps_the_reason() {
    let stage = Stage::new().await;
    let maya = Plain::signed_in(&stage, MAYA).await;
    let form = maya.open("/console/policy").await;
    policy(&stage, &json!({"max_validity_seconds": 3 * DAY})).await;
    let fields = [
        ("max_validity_seconds", "604800"),
        ("max_grace_seconds", "3600"),
        ("allow", "all"),
        ("reason", "After the review"),
    ];
    let page = maya.submit(&form, &fields).await.expect(422).text;
    assert!(page.contains("The policy was changed meanwhile."), "{page}");
    assert!(page.contains("required value=\"3\""), "{page}");
    assert!(page.contains("value=\"After the review\""), "{page}");
}
