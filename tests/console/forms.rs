//! What forms say when they are refused, and where they lead.

use crate::plain::Plain;
use crate::stage::{MAYA, OLA, PRIYA, Stage};
use axum::http::Method;
use serde_json::json;
use std::future::IntoFuture;

pub async fn policy(stage: &Stage, policy: &serde_json::Value) {
    stage.test.admin.put(&stage.test.path("/policy")).json(policy).await.expect(200);
}

pub async fn module(stage: &Stage, enabled: bool) {
    let path = stage.test.path("/oauth-app");
    stage.test.operator.put(&path).json(&json!({"enabled": enabled})).await.expect(200);
}

/// Where a token's page is.
pub fn page_of(token: &serde_json::Value) -> String {
    format!("/console/tokens/{}", token["token_id"].as_str().expect("an id"))
}

/// Where a member's pages are.
pub async fn member(stage: &Stage, email: &str) -> String {
    let members = stage.test.admin.get(&stage.test.path("/members")).await.expect(200).body;
    let id = members["items"].as_array().and_then(|members| {
        members.iter().find(|member| member["email"] == email)?["member_id"].as_str()
    });
    format!("/console/members/{}", id.expect("a member"))
}

/// Whether an address ends in this notice, with the mark of a session behind it.
pub fn tells(way: &str, notice: &str) -> bool {
    way.split_once("notice=")
        .and_then(|(_, told)| told.rsplit_once('.'))
        .is_some_and(|(told, mark)| told == notice && mark.len() == 12)
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
    let id = here.rsplit('/').next().expect("an id");
    assert!(tells(saved.header("location"), &format!("token-edited.{id}")));
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
    assert!(!page.text.contains("notice good"), "{}", page.text);
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
        ("400", "Choose at most 366 days."),
        ("0", "Choose at least 1 minute."),
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
    // All that is wrong is said at once.
    let page = sent("400", "86400", "all", &scopes[1..]).await.expect(422);
    for said in ["Choose at most 366 days.</p>", "Some data accesses are not ticked."] {
        assert!(page.text.contains(&format!("-error\">{said}")), "{}", page.text);
    }
    assert_eq!(stage.test.count_events("company.policy_changed").await, 0);
    let saved = sent("7", "86400", "all", &scopes).await.expect(303);
    assert!(tells(saved.header("location"), "nothing-changed"));
    let saved = sent("7", "86400", "some", &scopes[1..]).await.expect(303);
    assert!(tells(saved.header("location"), "policy-changed"));
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
    let clients = maya.get("/console/clients").await.expect(200).text;
    assert!(clients.contains("The OAuth App module is off."), "{clients}");
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
    let id = token["token_id"].as_str().expect("an id");
    let way = done.header("location");
    assert!(way.starts_with("/console/tokens?q=pay&sort=name&notice="), "{way}");
    assert!(tells(way, &format!("token-deleted.{id}")), "{way}");
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
        ("/console/sign-out", 404),
        ("/console/theme", 404),
        ("/console/sessions/018f0000-0000-7000-8000-000000000000/end", 404),
        ("/console/platform/projections/tokens/rebuild", 404),
        ("/console/tokens/018f0000-0000-7000-8000-000000000000", 404),
    ] {
        let page = maya.get(path).await.expect(status);
        assert_eq!(page.header("content-type"), "text/html; charset=utf-8", "{path}");
        assert!(page.text.contains("There is nothing here"), "{path}: {}", page.text);
        assert!(!page.text.contains("there is no such"), "{path}: {}", page.text);
        assert!(page.text.contains("aria-label=\"Main\""), "without a frame: {path}");
    }
    assert_eq!(maya.get("/console/").await.expect(303).header("location"), "/console/tokens");
}

#[tokio::test]
async fn what_is_not_here_may_be_in_another_company_of_whoever_has_several() {
    let stage = Stage::new().await;
    let token = page_of(&stage.token("Payroll", &["positions"]).await);
    let (globex, _) = stage.test.another_company("Globex").await;
    stage.person("Priya Nair", PRIYA, "auditor", globex).await;
    let said = "It may be in another of your companies.";
    let id = "018f0000-0000-7000-8000-000000000000";
    for (who, is_in_several) in [(MAYA, false), (PRIYA, true), (OLA, true)] {
        let plain = Plain::signed_in(&stage, who).await;
        for path in [format!("/console/tokens/{id}"), "/console/audit/events/99".to_owned()] {
            let page = plain.get(&path).await.expect(404).text;
            let next = path.replace('/', "%2F");
            let way =
                format!("{said} <a href=\"/console/companies?next={next}\">Change company</a>");
            assert_eq!(page.contains(&way), is_in_several, "{who}: {page}");
        }
        if who != PRIYA {
            for path in [
                format!("/console/keys/{id}/refresh"),
                format!("/console/clients/{id}/rotate"),
                format!("/console/members/{id}/role"),
            ] {
                let page = plain.get(&path).await.expect(404).text;
                assert_eq!(page.contains(said), is_in_several, "{who}: {page}");
            }
        }
        // Where there is no page at all, there is none in any company.
        let page = plain.get("/console/nope").await.expect(404).text;
        assert!(!page.contains(said), "{who}: {page}");
    }
    // The way leads to where it is.
    let priya = Plain::signed_in(&stage, PRIYA).await;
    let choose = priya.form("/console/companies", "/console/companies").await;
    priya.submit(&choose, &[("company_id", &globex.to_string())]).await.expect(303);
    let page = priya.get(&token).await.expect(404).text;
    let way = page.split('"').find(|part| part.starts_with("/console/companies?next="));
    let choose = priya.form(way.expect("a way"), "/console/companies").await;
    let here = stage.test.company.to_string();
    let there = priya.submit(&choose, &[("company_id", &here)]).await.expect(303);
    assert_eq!(there.header("location"), token);
    // What was on a page of the other company is not exported from this one.
    let export = format!("/console/audit/export?format=csv&company={globex}");
    let page = priya.get(&export).await.expect(409).text;
    assert!(page.contains("Nothing was exported."), "{page}");
    priya.get(&export.replace(&globex.to_string(), &here)).await.expect(200);
}

#[tokio::test]
async fn every_page_below_the_integrations_says_where_they_are() {
    let stage = Stage::new().await;
    let maya = Plain::signed_in(&stage, MAYA).await;
    let steps = "<ol><li>Company Settings</li><li>Integrations</li>";
    for page in ["tokens", "clients", "keys"] {
        for path in [format!("/console/{page}"), format!("/console/{page}/new")] {
            let page = maya.get(&path).await.expect(200).text;
            assert!(page.contains(steps), "{path}: {page}");
        }
    }
    for path in ["audit", "audit/denials", "audit/events/1", "log"] {
        let page = maya.get(&format!("/console/{path}")).await.expect(200).text;
        assert!(page.contains("<ol><li>Evidence</li>"), "{path}: {page}");
    }
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
    // Signing in anew lets them go on, and gives nobody a password.
    for (path, anew) in [(way.header("location"), true), ("/console/password", false)] {
        let page = maya.get(path).await.expect(200);
        assert!(page.text.contains("Your account has no password yet."), "{}", page.text);
        assert!(page.text.contains("A link to set one"), "{}", page.text);
        assert_eq!(page.text.contains("token-ledger demo"), anew, "{}", page.text);
        assert!(!page.text.contains("type=\"password\""), "{}", page.text);
    }
}

#[tokio::test]
async fn who_may_make_links_is_led_to_make_one_for_themselves() {
    let stage = Stage::new().await;
    let way = format!("href=\"{}/link\"", member(&stage, MAYA).await);
    let maya = Plain::signed_in(&stage, MAYA).await;
    let page = maya.get("/console/password").await.expect(200).text;
    assert!(page.contains("You can make one yourself") && page.contains(&way), "{page}");
    // The way leads to the form.
    maya.open(way.trim_start_matches("href=").trim_matches('"')).await;
    let priya = Plain::signed_in(&stage, PRIYA).await;
    let page = priya.get("/console/password").await.expect(200).text;
    assert!(page.contains("a Super Admin of your company or an operator makes it"), "{page}");
    assert!(!page.contains("/link\""), "{page}");
    // For who is in another company too, operators make it.
    let (other, _) = stage.test.another_company("Globex").await;
    stage.person("Maya Lindqvist", MAYA, "auditor", other).await;
    let page = maya.get("/console/password").await.expect(200).text;
    assert!(page.contains("an operator makes it, under Members"), "{page}");
    assert!(!page.contains("yourself") && !page.contains("/link\""), "{page}");
}

#[tokio::test]
async fn what_sends_a_secret_is_told_how() {
    let stage = Stage::new().await;
    let maya = Plain::signed_in(&stage, MAYA).await;
    let how = "Programs send it as <code>Authorization: Bearer SECRET</code>.";
    for (list, scope, bears) in [
        ("tokens", "employees", true),
        ("keys", "ledger.audit", true),
        ("clients", "employees", false),
    ] {
        let path = format!("/console/{list}/new");
        let page = maya.fill(&path, &[("name", "Nightly"), ("scopes", scope)]).await.expect(200);
        assert!(page.text.contains("data-secret"), "{}", page.text);
        assert_eq!(page.text.contains(how), bears, "{}", page.text);
        if list != "tokens" {
            let page = maya.get(&format!("/console/{list}")).await.expect(200).text;
            assert!(page.contains("href=\"/docs\">API reference</a>"), "{page}");
        }
    }
    stage.test.nobody.get("/docs").await.expect(200);
}

#[tokio::test]
async fn what_is_sent_twice_is_answered_as_at_first() {
    let stage = Stage::new().await;
    let maya = Plain::signed_in(&stage, MAYA).await;
    let token = stage.token("Payroll sync", &["positions"]).await;
    let refresh = json!({"grace_period_seconds": 3600});
    let path = format!("{}/refresh", stage.test.token_path(&token));
    stage.test.admin.post(&path).json(&refresh).await.expect(200);
    let priya = member(&stage, PRIYA).await;
    let here = page_of(&token);
    let grace = maya.open(&format!("{here}/end-grace")).await;
    let policy = maya.open("/console/policy").await;
    let days = [("max_validity_seconds_unit", "86400"), ("max_grace_seconds_unit", "3600")];
    let bounds = [("max_validity_seconds", "3"), ("max_grace_seconds", "1"), ("allow", "all")];
    let bounds = [bounds.as_slice(), &days].concat();
    let role = maya.open(&format!("{priya}/role")).await;
    let id = priya.rsplit('/').next().expect("an id");
    for (form, fields, notice) in [
        (grace, Vec::new(), "grace-ended"),
        (policy, bounds, "policy-changed"),
        (role, vec![("role", "super_admin")], &format!("role-changed.{id}")),
    ] {
        for _ in 0..2 {
            let answer = maya.submit(&form, &fields).await.expect(303);
            let way = answer.header("location");
            assert!(tells(way, notice), "{way}");
        }
    }
    let link = maya.open(&format!("{priya}/link")).await;
    assert!(maya.submit(&link, &[]).await.expect(200).text.contains("data-secret"));
    let again = maya.submit(&link, &[]).await.expect(200).text;
    assert!(again.contains("This form had been sent before"), "{again}");
    let remove = maya.open(&format!("{priya}/remove")).await;
    for _ in 0..2 {
        let answer = maya.submit(&remove, &[]).await.expect(303);
        assert!(tells(answer.header("location"), &format!("member-removed.{id}")));
    }
}

#[tokio::test]
async fn whoever_is_removed_while_a_form_comes_changes_nothing() {
    let stage = Stage::new().await;
    let maya = Plain::signed_in(&stage, MAYA).await;
    let priya = Plain::signed_in(&stage, PRIYA).await;
    let hers = member(&stage, PRIYA).await;
    maya.fill(&format!("{hers}/role"), &[("role", "super_admin")]).await.expect(303);
    let form = priya.open("/console/keys/new").await;
    let fields = [("name", "Mine"), ("scopes", "ledger.admin"), ("expires_in_seconds", "3600")];
    let (sending, mut held) = priya.begin(&form, &fields);
    let remove = maya.open(&format!("{hers}/remove")).await;
    let before = stage.test.count_events("key.created").await;
    let (answer, ()) = futures::join!(sending.into_future(), async {
        held.begun().await;
        maya.submit(&remove, &[]).await.expect(303);
        held.go_on();
    });
    let answer = answer.expect(303);
    assert!(answer.header("location").starts_with("/console/sign-in"), "{answer:?}");
    assert_eq!(stage.test.count_events("key.created").await, before);
}

#[tokio::test]
async fn whoever_is_signed_out_sees_pages_of_the_chosen_theme_and_comes_back_to_the_form() {
    let stage = Stage::new().await;
    let nobody = &stage.test.nobody;
    for (method, path) in [
        (Method::GET, "/console/sign-in/tll_none"),
        (Method::GET, "/console/sign-in"),
        (Method::PUT, "/console/sign-out"),
    ] {
        let page = nobody.call(method, path).header("cookie", "token-ledger-theme=dark").await;
        assert!(page.text.contains("data-theme=\"dark\""), "{path}: {}", page.text);
    }
    let form = "application/x-www-form-urlencoded";
    let referrer = "http://127.0.0.1/console/tokens/new";
    let sent = nobody.post("/console/tokens/new").text(form, "name=Lost");
    let answer = sent.header("referer", referrer).await.expect(303);
    let way = "/console/sign-in?next=%2Fconsole%2Ftokens%2Fnew&unsaved=true";
    assert_eq!(answer.header("location"), way);
    let page = nobody.get(way).await.expect(200);
    assert!(page.text.contains("what you sent was not saved"), "{}", page.text);
    assert!(page.text.contains("name=\"next\" value=\"/console/tokens/new\""), "{}", page.text);
    let out = nobody.post("/console/sign-out").text(form, "").await.expect(303);
    assert_eq!(out.header("location"), "/console/sign-in");
}

#[tokio::test]
async fn the_theme_is_chosen_in_turn() {
    let stage = Stage::new().await;
    let maya = Plain::signed_in(&stage, MAYA).await;
    let form = maya.form("/console/tokens", "/console/theme").await;
    let mut theme = "browser";
    for next in ["dark", "light", "browser"] {
        let cookie = format!("token-ledger-theme={theme}");
        let page = stage.test.nobody.get("/console/sign-in").header("cookie", &cookie).await;
        assert_eq!(page.text.contains(&format!("data-theme=\"{theme}\"")), theme != "browser");
        let answer = maya.submit(&form, &[("theme", next)]).await.expect(303);
        let chosen = format!("token-ledger-theme={next};");
        assert!(answer.header("set-cookie").starts_with(&chosen), "{answer:?}");
        theme = next;
    }
    maya.submit(&form, &[("theme", "plaid")]).await.expect(400);
}

#[tokio::test]
async fn files_are_kept_for_good_by_their_own_address_alone() {
    let stage = Stage::new().await;
    let nobody = &stage.test.nobody;
    let page = nobody.get("/console/sign-in").await.expect(200).text;
    let (_, rest) = page.split_once("rel=\"stylesheet\" href=\"").expect("a stylesheet");
    let own = rest.split('"').next().expect("an address");
    let kept = nobody.get(own).await.expect(200);
    assert!(kept.header("cache-control").contains("immutable"));
    // A page of another version of the service asks for another.
    let other = nobody.get("/console/assets/style.css?v=0123456789abcdef").await.expect(200);
    assert_eq!(other.header("cache-control"), "no-cache");
    let icon = nobody.get("/favicon.ico").await.expect(200);
    assert_eq!(icon.header("content-type"), "image/svg+xml");
}

#[tokio::test]
async fn white_space_around_a_name_is_no_part_of_it() {
    let stage = Stage::new().await;
    let maya = Plain::signed_in(&stage, MAYA).await;
    let fields = [("name", "  Payroll sync "), ("scopes", "positions")];
    maya.fill("/console/tokens/new", &fields).await.expect(200);
    assert_eq!(stage.found("Payroll").await["name"], "Payroll sync");
}

#[tokio::test]
async fn a_form_that_was_sent_before_the_password_is_given_again_is_said_to_be_lost() {
    let stage = Stage::new().await;
    let maya = Plain::signed_in(&stage, MAYA).await;
    let told = "What you sent was not saved.";
    let form = maya.open("/console/tokens/new").await;
    // Whoever gave it lately and comes back to the question is not asked, nor told of a loss.
    let asked = "/console/confirm?next=%2Fconsole%2Fkeys&unsaved=true";
    assert_eq!(maya.get(asked).await.expect(303).header("location"), "/console/keys");
    stage.after(5 * 3600);
    let fields = [("name", "Lost"), ("scopes", "positions")];
    let way = maya.submit(&form, &fields).await.expect(303);
    assert!(way.header("location").starts_with("/console/confirm?next=%2Fconsole%2Ftokens%2Fnew"));
    let page = maya.get(way.header("location")).await.expect(200).text;
    assert!(page.contains(told), "{page}");
    let way = maya.get("/console/tokens/new").await.expect(303);
    let page = maya.get(way.header("location")).await.expect(200).text;
    assert!(page.contains("Is it still you?") && !page.contains(told), "{page}");
    assert_eq!(stage.test.count_events("token.created").await, 0);
}

#[tokio::test]
async fn a_member_whose_data_was_erased_can_only_be_removed() {
    let stage = Stage::new().await;
    let hers = member(&stage, PRIYA).await;
    let id = hers.rsplit('/').next().expect("an id");
    let members = stage.test.admin.get(&stage.test.path(&format!("/members/{id}"))).await;
    let person = members.expect(200).body["person_id"].as_str().expect("a person").to_owned();
    let ola = Plain::signed_in(&stage, OLA).await;
    let erase = format!("/console/people/{person}/erase");
    let erased = ola.fill(&erase, &[("reason", "Asked for")]).await.expect(303);
    let list = ola.get(erased.header("location")).await.expect(200).text;
    assert!(list.contains("The membership stays too"), "{list}");
    assert!(list.contains("Erased; can’t sign in") && !list.contains(&erase), "{list}");
    for (below, offered) in [("role", false), ("link", false), ("remove", true)] {
        let way = format!("{hers}/{below}");
        assert_eq!(list.contains(&way), offered, "{list}");
        let form = ola.get(&way).await.expect(200).text;
        assert!(form.contains("The data of this person was erased"), "{form}");
        assert_eq!(form.contains("type=\"submit\""), offered, "{form}");
        assert_eq!(form.contains("Remove this person"), offered, "{form}");
    }
    // The page that erases says who it is about.
    let again = ola.get(&erase).await.expect(200).text;
    assert!(again.contains("A person whose data was erased"), "{again}");
    let removed = ola.fill(&format!("{hers}/remove"), &[]).await.expect(303);
    assert!(tells(removed.header("location"), &format!("member-removed.{id}")));
    let gone = ola.get(&erase).await.expect(200).text;
    assert!(gone.contains("No member of this company any more"), "{gone}");
    let erased = ola.fill(&erase, &[("reason", "Asked for")]).await.expect(303);
    assert!(tells(erased.header("location"), "person-erased"));
}

#[tokio::test]
async fn an_erasure_that_leaves_the_account_says_so() {
    let stage = Stage::new().await;
    let (globex, _) = stage.test.another_company("Globex").await;
    stage.person("Priya Nair", PRIYA, "auditor", globex).await;
    let hers = member(&stage, PRIYA).await;
    let id = hers.rsplit('/').next().expect("an id");
    let hers = stage.test.admin.get(&stage.test.path(&format!("/members/{id}"))).await;
    let person = hers.expect(200).body["person_id"].as_str().expect("a person").to_owned();
    let ola = Plain::signed_in(&stage, OLA).await;
    let erase = format!("/console/people/{person}/erase");
    let erased = ola.fill(&erase, &[("reason", "Asked for")]).await.expect(303);
    let list = ola.get(erased.header("location")).await.expect(200).text;
    assert!(list.contains("Another company needs the account"), "{list}");
    assert!(!list.contains(PRIYA) && list.contains("Erased; can’t sign in"), "{list}");
}

#[tokio::test]
async fn where_nothing_is_yet_it_says_what_comes_first() {
    let stage = Stage::new().await;
    let (globex, _) = stage.test.another_company("Globex").await;
    let ola = Plain::signed_in(&stage, OLA).await;
    let choose = ola.form("/console/platform/companies", "/console/companies").await;
    ola.submit(&choose, &[("company_id", &globex.to_string())]).await.expect(303);
    for (list, first) in
        [("members", "Add the first member"), ("clients", ">Create client</a></div>")]
    {
        let page = ola.get(&format!("/console/{list}")).await.expect(200).text;
        assert!(page.contains(first) && !page.contains("<table"), "{page}");
    }
}
