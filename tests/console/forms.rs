//! What forms say when they are refused, and where they lead.

use crate::plain::Plain;
use crate::stage::{MAYA, Stage};
use serde_json::json;

async fn policy(stage: &Stage, policy: &serde_json::Value) {
    stage.test.admin.put(&stage.test.path("/policy")).json(policy).await.expect(200);
}

async fn module(stage: &Stage, enabled: bool) {
    let path = stage.test.path("/oauth-app");
    stage.test.operator.put(&path).json(&json!({"enabled": enabled})).await.expect(200);
}

/// Where a token's page is.
fn page_of(token: &serde_json::Value) -> String {
    format!("/console/tokens/{}", token["token_id"].as_str().expect("an id"))
}

#[tokio::test]
async fn a_token_outside_the_policy_is_edited_before_it_is_refreshed() {
    let stage = Stage::new().await;
    let here = page_of(&stage.token("Wide", &["departments", "employees", "positions"]).await);
    let refresh = format!("{here}/refresh");
    let maya = Plain::signed_in(&stage, MAYA).await;
    let before = maya.get(&refresh).await.expect(200);
    assert!(before.text.contains("The old secret stops"), "{}", before.text);
    policy(&stage, &json!({"allowed_scopes": ["positions"]})).await;
    let said = "Your company’s policy does not allow: Departments, Employees.";
    let page = maya.get(&refresh).await.expect(200);
    assert!(page.text.contains(said) && page.text.contains("Edit the data accesses first"));
    assert!(!page.text.contains("The old secret stops"));
    // Where the policy was narrowed after the form was opened, too.
    let fields = [("grace_period_seconds", "0"), ("expires_in_seconds", "3600")];
    let edit = format!("{here}/edit");
    policy(&stage, &json!({})).await;
    let form = maya.open(&refresh).await;
    policy(&stage, &json!({"allowed_scopes": ["positions"]})).await;
    let page = maya.submit(&form, &fields).await.expect(422);
    assert!(page.text.contains(said), "{}", page.text);
    // An edit says the same beside the data accesses, and asks for one only where none is chosen.
    let chosen = [("scopes", "locations"), ("scopes", "positions")];
    let page = maya.fill(&edit, &chosen).await.expect(422);
    assert!(page.text.contains("Your company’s policy does not allow: Locations."));
    assert!(!page.text.contains("Choose at least one data access."));
    let page = maya.fill(&edit, &[]).await.expect(422);
    assert!(page.text.contains("Choose at least one data access."));
    let saved = maya.fill(&edit, &[("scopes", "positions")]).await.expect(303);
    assert!(saved.header("location").ends_with("?notice=token-edited"));
    maya.fill(&refresh, &fields).await.expect(200);
}

#[tokio::test]
async fn an_edit_that_changes_nothing_says_so() {
    let stage = Stage::new().await;
    let here = page_of(&stage.token("Same", &["positions"]).await);
    let maya = Plain::signed_in(&stage, MAYA).await;
    let saved = maya.fill(&format!("{here}/edit"), &[("scopes", "positions")]).await.expect(303);
    let page = maya.get(saved.header("location")).await.expect(200);
    assert!(page.text.contains("Nothing was changed"), "{}", page.text);
    assert_eq!(stage.test.count_events("token.scopes_changed").await, 0);
}

#[tokio::test]
async fn a_policy_is_refused_in_words_and_keeps_what_was_entered() {
    let stage = Stage::new().await;
    let maya = Plain::signed_in(&stage, MAYA).await;
    let path = "/console/policy";
    let scopes: Vec<String> =
        stage.test.app.choices.catalogue.iter().map(|(scope, _)| scope.to_string()).collect();
    let sent = async |number: &str, unit: &str, allow: &str, scopes: &[String]| {
        let mut fields = vec![
            ("max_validity_seconds", number),
            ("max_validity_seconds_unit", unit),
            ("max_grace_seconds", "1"),
            ("max_grace_seconds_unit", "86400"),
            ("allow", allow),
            ("reason", "After the review"),
        ];
        fields.extend(scopes.iter().map(|scope| ("scopes", scope.as_str())));
        maya.fill(path, &fields).await
    };
    for (number, said) in [
        ("", "Enter a whole number."),
        ("1.5", "Enter a whole number."),
        ("400", "From 1 minute to 366 days."),
    ] {
        let page = sent(number, "86400", "all", &scopes).await.expect(422);
        assert!(page.text.contains(&format!("-error\">{said}</p>")), "{}", page.text);
        assert!(page.text.contains(&format!("required value=\"{number}\"")), "{}", page.text);
        assert!(page.text.contains("<option value=\"86400\" selected>days</option>"));
        assert!(page.text.contains("value=\"After the review\""));
        assert!(!page.text.contains("max_validity_seconds must"));
    }
    let page = sent("7", "86400", "all", &scopes[1..]).await.expect(422);
    assert!(page.text.contains("Some data accesses are not ticked."), "{}", page.text);
    let page = sent("7", "86400", "some", &[]).await.expect(422);
    assert!(page.text.contains("Choose at least one data access."), "{}", page.text);
    assert_eq!(stage.test.count_events("company.policy_changed").await, 0);
    let saved = sent("7", "86400", "all", &scopes).await.expect(303);
    assert_eq!(saved.header("location"), "/console/policy?notice=nothing-changed");
    let saved = sent("7", "86400", "some", &scopes[1..]).await.expect(303);
    assert_eq!(saved.header("location"), "/console/policy?notice=policy-changed");
}

#[tokio::test]
async fn forms_speak_of_what_they_show() {
    let stage = Stage::new().await;
    let maya = Plain::signed_in(&stage, MAYA).await;
    let filled = "name=Nightly";
    let cases = [
        ("clients", "name=", "Give the client a name of 1 to 100 characters."),
        ("clients", filled, "Choose at least one data access."),
        ("keys", "name=", "Give the key a name of 1 to 100 characters."),
        ("keys", filled, "Choose at least one thing that it may do."),
        ("members", "role=auditor", "Give an e-mail address such as ada@example.com."),
        ("members", "role=auditor&email=ada", "It must be an e-mail address such as"),
        (
            "tokens",
            "name=Nightly&scopes=positions&expires_in_seconds=99999999",
            "Your company’s policy allows at most 7 days.",
        ),
    ];
    for (list, sent, said) in cases {
        let path = format!("/console/{list}/new");
        let fields: Vec<(&str, &str)> =
            sent.split('&').filter_map(|it| it.split_once('=')).collect();
        let page = maya.fill(&path, &fields).await.expect(422);
        assert!(page.text.contains(said), "{path} does not say {said:?}: {}", page.text);
        for raw in ["must not be empty", "needs at least", "_seconds)", ">must "] {
            assert!(!page.text.contains(raw), "{path} says {raw:?}");
        }
    }
}

#[tokio::test]
async fn while_the_module_is_off_no_form_offers_what_cant_be_done() {
    let stage = Stage::new().await;
    let here = page_of(&stage.token("Paused", &["positions"]).await);
    module(&stage, false).await;
    let maya = Plain::signed_in(&stage, MAYA).await;
    for path in ["/console/tokens/new", &format!("{here}/refresh")] {
        let page = maya.get(path).await.expect(200);
        assert!(page.text.contains("The OAuth App module is off."), "{}", page.text);
        assert!(page.text.contains(">Close</a>") && !page.text.contains("type=\"submit\""));
    }
}

#[tokio::test]
async fn a_form_leads_back_to_the_list_as_it_was_asked_for() {
    let stage = Stage::new().await;
    let token = stage.token("Payroll sync", &["positions"]).await;
    let here = page_of(&token);
    let maya = Plain::signed_in(&stage, MAYA).await;
    let list = maya.get("/console/tokens?q=pay&sort=name&notice=token-edited").await.expect(200);
    let delete = format!("{here}/delete?list=q%3Dpay%26sort%3Dname");
    assert!(list.text.contains(&delete), "{}", list.text);
    let form = maya.get(&delete).await.expect(200);
    assert!(form.text.contains("href=\"/console/tokens?q=pay&amp;sort=name\""), "{}", form.text);
    let done = maya.fill(&delete, &[]).await.expect(303);
    assert_eq!(done.header("location"), "/console/tokens?q=pay&sort=name&notice=token-deleted");
    // Whoever comes later has nothing to choose any more.
    let page = maya.get(&delete).await.expect(200);
    assert!(page.text.contains("is deleted, for good") && !page.text.contains("Choose again"));
}

#[tokio::test]
async fn how_long_a_token_is_valid_follows_the_policy() {
    let stage = Stage::new().await;
    let maya = Plain::signed_in(&stage, MAYA).await;
    let list = maya.get("/console/tokens").await.expect(200);
    assert!(list.text.contains("Each is valid for 7 days unless you choose otherwise."));
    policy(&stage, &json!({"max_validity_seconds": 3 * 86_400})).await;
    let list = maya.get("/console/tokens").await.expect(200);
    assert!(list.text.contains("Each is valid for 3 days unless you choose otherwise."));
}

#[tokio::test]
async fn every_address_below_the_console_answers_with_a_page() {
    let stage = Stage::new().await;
    let maya = Plain::signed_in(&stage, MAYA).await;
    for (path, status) in [
        ("/console/nope", 404),
        ("/console/tokens/", 404),
        ("/console/tokens/xyz", 404),
        ("/console/tokens/xyz/edit", 404),
        ("/console/audit/events/abc", 404),
        ("/console/clients/1/2/3/4", 404),
        ("/console/sign-out", 405),
        ("/console/tokens/018f0000-0000-7000-8000-000000000000", 404),
    ] {
        let page = maya.get(path).await.expect(status);
        assert_eq!(page.header("content-type"), "text/html; charset=utf-8", "{path}");
        assert!(page.text.contains("There is nothing here"), "{path}: {}", page.text);
        assert!(!page.text.contains("there is no such"), "{path}: {}", page.text);
    }
    assert_eq!(maya.get("/console/").await.expect(303).header("location"), "/console/tokens");
}

#[tokio::test]
async fn several_tokens_of_a_name_are_asked_about() {
    let stage = Stage::new().await;
    let first = stage.token("Payroll", &["positions"]).await;
    let first = first["token_id"].as_str().expect("an id");
    stage.token("Payroll sync", &["positions"]).await;
    let maya = Plain::signed_in(&stage, MAYA).await;
    let found = maya.get("/console/audit?type=token.created&token=payroll").await.expect(303);
    let page = maya.get(found.header("location")).await.expect(200);
    assert!(page.text.contains("Any token instead of Payroll\"") && page.text.contains("1 event<"));

    stage.after(60);
    let second = stage.token("payroll", &["employees"]).await;
    let second = second["token_id"].as_str().expect("an id");
    let page = maya.get("/console/audit?type=token.created&token=payroll").await.expect(200);
    assert!(page.text.contains("Several tokens match “payroll”. Which one?"), "{}", page.text);
    for id in [first, second] {
        let way = format!("/console/audit?type=token.created&amp;token={id}");
        assert!(page.text.contains(&way), "{}", page.text);
    }
    assert!(!page.text.contains("Export "));
    let export = "/console/audit/export?format=csv&token=payroll";
    let refused = maya.get(export).await.expect(404);
    assert!(refused.text.contains("Several tokens match"), "{}", refused.text);
    let page = maya.get("/console/audit?token=Careers").await.expect(200);
    assert!(page.text.contains("There is no token with the name or identifier “Careers”."));
}

#[tokio::test]
async fn a_time_that_cant_be_meant_is_said_beside_its_field() {
    let stage = Stage::new().await;
    let token = stage.token("Payroll sync", &["positions"]).await;
    let maya = Plain::signed_in(&stage, MAYA).await;
    let here = page_of(&token);
    for (path, error, said) in [
        ("/console/audit?from=2026-03-02&to=2026-03-01&type=token.created", "to", "before the"),
        ("/console/audit?from=soon&type=token.created", "from", "“soon” is no date and time."),
        (&format!("{here}?at=soon"), "at", "“soon” is no date and time."),
        (&format!("{here}?at=2099-01-01"), "at", "That time has not come yet."),
    ] {
        let page = maya.get(path).await.expect(422);
        let id = format!("id=\"{error}-error\"");
        let (_, rest) = page.text.split_once(&id).unwrap_or_else(|| panic!("{}", page.text));
        assert!(rest.split("</p>").next().is_some_and(|text| text.contains(said)), "{rest}");
        let rest_is_kept = page.text.contains("value=\"token.created\" selected");
        assert!(rest_is_kept || path.contains("?at="), "{}", page.text);
    }
}

#[tokio::test]
async fn who_has_no_password_is_told_what_helps() {
    let stage = Stage::new().await;
    let maya = Plain::signed_in(&stage, MAYA).await;
    stage.after(5 * 3600);
    let way = maya.get("/console/tokens/new").await.expect(303);
    for path in [way.header("location"), "/console/password"] {
        let page = maya.get(path).await.expect(200);
        assert!(page.text.contains("Your account has no password yet."), "{}", page.text);
        assert!(page.text.contains("A link to set one") && page.text.contains("token-ledger demo"));
        assert!(!page.text.contains("type=\"password\""), "{}", page.text);
    }
}
