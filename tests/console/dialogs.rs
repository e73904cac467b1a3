//! What dialogs are called, and what they say before anything is done.

use crate::forms::{member, page_of, policy};
use crate::plain::Plain;
use crate::stage::{MAYA, OLA, PRIYA, Stage};
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

#[tokio::test]
async fn a_key_that_has_expired_has_no_old_secret_to_choose_about() {
    let stage = Stage::new().await;
    let body = json!({"name": "Nightly", "scopes": ["ledger.audit"], "expires_in_seconds": 3600});
    let made = stage.test.admin.post(&stage.test.path("/keys")).json(&body).await.expect(201).body;
    let refresh = format!("/console/keys/{}/refresh", made["key_id"].as_str().expect("an id"));
    let maya = Plain::signed_in(&stage, MAYA).await;
    let ended = "Its term has ended, and its old secret with it.";
    let page = maya.get(&refresh).await.expect(200).text;
    assert!(page.contains("The old secret stops") && !page.contains(ended), "{page}");
    stage.after(3600);
    let page = maya.get(&refresh).await.expect(200).text;
    assert!(page.contains(ended) && !page.contains("The old secret stops"), "{page}");
    assert!(!page.contains("will stop working when"), "{page}");
    let done = maya.fill(&refresh, &[("expires_in_seconds", "3600")]).await.expect(200).text;
    assert!(done.contains("has a new secret"), "{done}");
}

#[tokio::test]
async fn no_link_is_offered_for_who_is_in_another_company_too() {
    let stage = Stage::new().await;
    let (globex, _) = stage.test.another_company("Globex").await;
    let hers = format!("{}/link", member(&stage, PRIYA).await);
    let maya = Plain::signed_in(&stage, MAYA).await;
    let (said, why) = ("An operator makes new links", "is a member of another company too");
    let list = maya.get("/console/members").await.expect(200).text;
    assert!(list.contains(&hers) && !list.contains(said), "{list}");
    let form = maya.open(&hers).await;
    stage.person("Priya Nair", PRIYA, "auditor", globex).await;
    let list = maya.get("/console/members").await.expect(200).text;
    assert!(!list.contains(&hers) && list.matches(said).count() == 1, "{list}");
    for page in
        [maya.get(&hers).await.expect(200).text, maya.submit(&form, &[]).await.expect(422).text]
    {
        assert!(page.contains(why) && page.contains(PRIYA), "{page}");
        assert!(!page.contains("type=\"submit\""), "{page}");
    }
    // An operator makes it.
    let ola = Plain::signed_in(&stage, OLA).await;
    let list = ola.get("/console/members").await.expect(200).text;
    assert!(list.contains(&hers) && !list.contains(said), "{list}");
    ola.fill(&hers, &[]).await.expect(200);
}

#[tokio::test]
async fn whoever_deletes_a_client_sees_which_tokens_go_with_it() {
    let stage = Stage::new().await;
    let body = json!({"name": "HR portal", "scopes": ["employees"]});
    let path = stage.test.path("/clients");
    let client = stage.test.admin.post(&path).json(&body).await.expect(201).body;
    let id = client["client_id"].as_str().expect("an id");
    let secret = client["client_secret"].as_str().expect("a secret");
    let maya = Plain::signed_in(&stage, MAYA).await;
    let delete = format!("/console/clients/{id}/delete");
    let tokens = async || {
        let page = maya.get(&delete).await.expect(200).text;
        let (_, fact) = page.split_once("<dt>Tokens</dt><dd>").expect("the fact");
        fact.split("</dd>").next().unwrap_or_default().to_owned()
    };
    assert_eq!(tokens().await, "None is active");
    let form = format!("grant_type=client_credentials&client_id={id}&client_secret={secret}");
    let kind = "application/x-www-form-urlencoded";
    let mut newest = String::new();
    for _ in 0..2 {
        let granted = stage.test.nobody.post("/oauth/token").text(kind, &form).await.expect(200);
        granted.body["access_token"].as_str().expect("a token").clone_into(&mut newest);
    }
    let list = format!("/console/tokens?created_by={id}");
    assert_eq!(tokens().await, format!("<a href=\"{list}\">2 active tokens</a>, never used"));
    stage.used(&newest).await;
    let used = tokens().await;
    assert!(used.contains(", last used <time"), "{used}");
    stage.token("Somebody else’s", &["employees"]).await;
    // Where they are, for whoever looks.
    let priya = Plain::signed_in(&stage, PRIYA).await;
    let clients = priya.get("/console/clients").await.expect(200).text;
    assert!(clients.contains(&format!("href=\"{list}\"")), "{clients}");
    let page = priya.get(&list).await.expect(200).text;
    assert!(page.contains("2 tokens") && !page.contains("Somebody else’s"), "{page}");
}

#[tokio::test]
async fn an_edit_leads_back_to_where_it_was_opened_from() {
    let stage = Stage::new().await;
    let here = page_of(&stage.token("Payroll sync", &["positions"]).await);
    let maya = Plain::signed_in(&stage, MAYA).await;
    let list = maya.get("/console/tokens").await.expect(200).text;
    let whole = format!("{here}/edit?list=all");
    assert!(list.contains(&format!("href=\"{whole}\"")), "{list}");
    for (form, scope, back) in [
        (whole, "employees", "/console/tokens?notice="),
        (format!("{here}/edit?list=q%3Dpay"), "locations", "/console/tokens?q=pay&notice="),
        (format!("{here}/edit"), "positions", &format!("{here}?notice=")),
    ] {
        let page = maya.get(&form).await.expect(200).text;
        let cancel = back.trim_end_matches("notice=").trim_end_matches(['?', '&']);
        assert!(page.contains(&format!("href=\"{cancel}\" data-cancel")), "{page}");
        let done = maya.fill(&form, &[("scopes", scope)]).await.expect(303);
        let way = done.header("location");
        assert!(way.starts_with(back), "{way}");
        let page = maya.get(way).await.expect(200).text;
        assert!(page.contains("were saved. They count at once."), "{page}");
    }
}

#[tokio::test]
async fn whoever_creates_a_token_is_led_to_a_list_that_shows_it() {
    let stage = Stage::new().await;
    stage.token("Payroll sync", &["positions"]).await;
    let maya = Plain::signed_in(&stage, MAYA).await;
    for (list, back) in [
        ("/console/tokens", "/console/tokens"),
        ("/console/tokens?q=pay", "/console/tokens?sort=-created_at"),
        ("/console/tokens?status=deleted", "/console/tokens?sort=-created_at"),
        ("/console/tokens?q=night&sort=name", "/console/tokens?q=night&amp;sort=name"),
    ] {
        let page = maya.get(list).await.expect(200).text;
        let new = page.split('"').find(|part| part.starts_with("/console/tokens/new"));
        let new = new.expect("a way").replace("&amp;", "&");
        let fields = [("name", "Nightly"), ("scopes", "positions"), ("expires_in_seconds", "3600")];
        let done = maya.fill(&new, &fields).await.expect(200).text;
        assert!(done.contains(&format!("href=\"{back}\" data-done")), "{list}: {done}");
        let page = maya.get(&back.replace("&amp;", "&")).await.expect(200).text;
        assert!(page.contains(">Nightly</a>"), "{page}");
    }
}

#[tokio::test]
async fn where_somebody_is_in_several_companies_what_was_made_says_in_which() {
    let stage = Stage::new().await;
    let maya = Plain::signed_in(&stage, MAYA).await;
    let said = "<p>Company: <strong>Acme</strong></p>";
    for is_in_several in [false, true] {
        let mail = format!("tom{is_in_several}@acme.example");
        for (form, fields) in [
            ("/console/tokens/new", [("name", "Nightly"), ("scopes", "positions")].as_slice()),
            ("/console/clients/new", &[("name", "HR portal"), ("scopes", "positions")]),
            ("/console/keys/new", &[("name", "Weekly"), ("scopes", "ledger.audit")]),
            ("/console/members/new", &[("email", &mail), ("role", "auditor")]),
        ] {
            let done = maya.fill(form, fields).await.expect(200).text;
            assert_eq!(done.matches(said).count(), usize::from(is_in_several), "{form}: {done}");
        }
        if !is_in_several {
            let (globex, _) = stage.test.another_company("Globex").await;
            stage.person("Maya Lindqvist", MAYA, "super_admin", globex).await;
        }
    }
}

#[tokio::test]
async fn a_deleted_token_expires_no_more() {
    let stage = Stage::new().await;
    let token = stage.token("Payroll sync", &["positions"]).await;
    let maya = Plain::signed_in(&stage, MAYA).await;
    let page = maya.get(&page_of(&token)).await.expect(200).text;
    assert!(page.contains("<dt>Expires</dt>"), "{page}");
    stage.test.admin.delete(&stage.test.token_path(&token)).await.expect(204);
    let page = maya.get(&page_of(&token)).await.expect(200).text;
    assert!(page.contains("<dt>Would have expired</dt>"), "{page}");
    assert!(!page.contains("<dt>Expires</dt>"), "{page}");
}
