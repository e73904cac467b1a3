//! Lists, and what stands behind their last item.

use crate::forms::member;
use crate::plain::Plain;
use crate::stage::{MAYA, OLA, PRIYA, Stage};

/// An identifier before every other.
const FIRST: &str = "00000000-0000-7000-8000-000000000001";
/// An identifier behind every other.
const LAST: &str = "ffffffff-ffff-7fff-bfff-ffffffffffff";

#[tokio::test]
async fn of_a_company_whose_tokens_are_all_deleted_these_can_be_looked_at() {
    let stage = Stage::new().await;
    let token = stage.token("Payroll sync", &["employees"]).await;
    stage.test.admin.delete(&stage.test.token_path(&token)).await.expect(204);
    let maya = Plain::signed_in(&stage, MAYA).await;
    let page = maya.get("/console/tokens").await.expect(200).text;
    assert!(!page.contains("No access tokens yet"), "{page}");
    assert!(page.contains("all there were are deleted"), "{page}");
    let way = "/console/tokens?status=deleted";
    assert!(page.contains(&format!("href=\"{way}\"")), "{page}");
    let deleted = maya.get(way).await.expect(200).text;
    assert!(deleted.contains("Payroll sync"), "{deleted}");
}

#[tokio::test]
async fn tokens_with_a_data_access_that_is_no_longer_on_offer_are_looked_for() {
    let stage = Stage::new().await;
    let maya = Plain::signed_in(&stage, MAYA).await;
    let page = maya.get("/console/tokens?scope=salaries").await.expect(200).text;
    assert!(page.contains("<option value=\"salaries\" selected>"), "{page}");
}

#[tokio::test]
async fn behind_the_last_item_there_is_nothing_further_and_a_way_back() {
    let stage = Stage::new().await;
    let maya = Plain::signed_in(&stage, MAYA).await;
    let ola = Plain::signed_in(&stage, OLA).await;
    for (who, path, end) in [
        (&maya, "/console/clients", FIRST.to_owned()),
        (&maya, "/console/keys", FIRST.to_owned()),
        (&maya, "/console/members", LAST.to_owned()),
        (&ola, "/console/platform/companies", format!("zzz&id={LAST}")),
    ] {
        let page = who.get(&format!("{path}?after={end}")).await.expect(200).text;
        assert!(page.contains("Nothing further."), "{page}");
        assert!(page.contains(&format!("href=\"{path}\">First page</a>")), "{page}");
        assert!(!page.contains("<table") && !page.contains("“”"), "{page}");
    }
    let first = maya.get("/console/clients").await.expect(200).text;
    assert!(first.contains("No clients<") && !first.contains("Nothing further"), "{first}");
}

#[tokio::test]
async fn what_an_address_asks_for_and_a_list_does_not_have_is_said_and_left_out() {
    let stage = Stage::new().await;
    let token = stage.token("Payroll sync", &["employees"]).await;
    stage.token("Other", &["positions"]).await;
    let maya = Plain::signed_in(&stage, MAYA).await;
    let (tokens, audit) = ("/console/tokens", "/console/audit");
    for (list, asked, said) in [
        (tokens, "status=zzz", "Status: “zzz”"),
        (tokens, "sort=zzz", "Order: “zzz”"),
        (tokens, "scope=%20", "Data access: “ ”"),
        (tokens, "cursor=zzz", "The place where the list goes on"),
        (tokens, "back=zzz", "The place where the list goes on"),
        (audit, "type=zzz", "What: “zzz”"),
        (audit, "before=zzz", "The place where the list goes on"),
        (tokens, "client_id=zzz", "<li>“client_id”, which this list does not know</li>"),
        (audit, "token_id=zzz", "<li>“token_id”, which this list does not know</li>"),
        (audit, "typ=zzz&typ=yyy", "<li>“typ”, which this list does not know</li></ul>"),
    ] {
        let filter = if list == tokens { "q=pay" } else { "type=token.created" };
        let page = maya.get(&format!("{list}?{filter}&{asked}")).await.expect(200).text;
        assert!(page.contains("Part of this address was not understood"), "{asked}: {page}");
        assert!(page.contains(said), "{asked}: {page}");
        assert!(page.contains(&format!("<a href=\"{list}\">Clear filters</a>")), "{page}");
        // The rest of it holds, and nothing leads on to what was left out.
        assert!(page.contains("aria-label=\"Main\"") && page.contains("Payroll sync"), "{page}");
        assert_eq!(page.contains("Other</a>"), list == audit, "{page}");
        assert!(!page.contains("zzz&amp;") && !page.contains("value=\"zzz\""), "{page}");
    }
    let id = token["token_id"].as_str().expect("an id");
    let page = maya.get(&format!("{audit}?token={id}&type=zzz")).await.expect(200).text;
    assert!(page.contains(&format!("/console/audit/export?token={id}&amp;format=csv")), "{page}");
    for path in [tokens, audit, "/console/tokens?status=deleted&sort=-name&q=x&scope=salaries"] {
        let page = maya.get(path).await.expect(200).text;
        assert!(!page.contains("not understood"), "{page}");
    }
    let ola = Plain::signed_in(&stage, OLA).await;
    let mut lists =
        ["tokens", "audit", "members", "keys", "clients", "log", "sessions", "companies"]
            .map(|list| format!("/console/{list}"))
            .to_vec();
    lists.extend(
        ["denials", "sign-ins", "exports", "password-links"]
            .map(|list| format!("/console/audit/{list}")),
    );
    lists.push("/console/platform/companies".to_owned());
    for list in lists {
        let page = ola.get(&format!("{list}?zzz=1&notice=x&at=")).await.expect(200).text;
        let said = "<ul><li>“zzz”, which this list does not know</li></ul>";
        assert!(page.contains(said), "{list}: {page}");
        assert!(page.contains(&format!("<a href=\"{list}\">Clear filters</a>")), "{page}");
    }
    for list in ["members", "keys", "clients"] {
        let page = ola.get(&format!("/console/{list}?after=zzz")).await.expect(200).text;
        assert!(page.contains("<li>The place where the list goes on"), "{page}");
    }
}

#[tokio::test]
async fn filters_are_cleared_where_they_are_seen_to_be_on() {
    let stage = Stage::new().await;
    stage.token("Payroll sync", &["employees"]).await;
    let maya = Plain::signed_in(&stage, MAYA).await;
    let (tokens, audit) = ("/console/tokens", "/console/audit");
    let counted = "<p class=\"quiet\" role=\"status\">1 token</p>";
    for (list, filter, before) in [
        (tokens, "q=pay", format!("{counted}<p>· <a href=\"{tokens}\">")),
        (tokens, "created_by=a", format!("<p><a href=\"{tokens}\">")),
        (
            audit,
            "type=token.created",
            format!("Apply</button><a class=\"button\" href=\"{audit}\">"),
        ),
    ] {
        let page = maya.get(&format!("{list}?{filter}")).await.expect(200).text;
        assert_eq!(page.matches(&format!("{before}Clear filters</a>")).count(), 1, "{page}");
        assert_eq!(page.matches("Clear filters").count(), 1, "{page}");
        let page = maya.get(list).await.expect(200).text;
        assert!(!page.contains("Clear filters"), "{page}");
    }
    // How many there are stands above them, once.
    let page = maya.get(tokens).await.expect(200).text;
    assert_eq!(page.matches("1 token<").count(), 1, "{page}");
    assert!(page.find(counted).expect("a count") < page.find("<table").expect("a table"), "{page}");
}

#[tokio::test]
async fn links_to_set_passwords_are_beside_the_trail_with_whom_they_are_for() {
    let stage = Stage::new().await;
    let maya = Plain::signed_in(&stage, MAYA).await;
    stage.after(60);
    let way = format!("{}/link", member(&stage, PRIYA).await);
    maya.fill(&way, &[]).await.expect(200);
    let priya = Plain::signed_in(&stage, PRIYA).await;
    let list = "/console/audit/password-links";
    let trail = priya.get("/console/audit").await.expect(200).text;
    assert!(trail.contains(&format!("href=\"{list}\">Password links</a>")), "{trail}");
    let page = priya.get(list).await.expect(200).text;
    let (_, newest) = page.split_once("<tbody>").expect("a table");
    let newest = newest.split("</tr>").next().expect("a row");
    assert!(newest.contains("Made a link for <strong>Priya Nair</strong>"), "{newest}");
    assert!(newest.contains(PRIYA) && newest.contains("Maya Lindqvist"), "{newest}");
    assert!(!page.contains("tll_") && !page.contains("/v1/"), "{page}");
}

#[tokio::test]
async fn a_record_names_the_address_of_the_member_who_did_it() {
    let stage = Stage::new().await;
    let maya = Plain::signed_in(&stage, MAYA).await;
    let fields = [("name", "Nightly"), ("scopes", "ledger.audit"), ("reason", "a\n\n\n\n\nb")];
    maya.fill("/console/keys/new", &fields).await.expect(200);
    let priya = Plain::signed_in(&stage, PRIYA).await;
    let head = stage.test.app.head(stage.test.company).await.expect("a head");
    for path in
        ["/console/audit?type=key.created".to_owned(), format!("/console/audit/events/{head}")]
    {
        let page = priya.get(&path).await.expect(200).text;
        assert_eq!(page.matches(&format!("<dd>member {MAYA} <code>")).count(), 1, "{page}");
        // A reason is told without its gaps; the record has it as it was typed.
        assert!(page.contains("<p class=\"reason\">“a\n\nb”</p>"), "{page}");
        assert!(page.contains("aria-label=\"Reason\">a\n\n\n\n\nb</div>"), "{page}");
    }
}

#[tokio::test]
async fn an_address_with_a_nul_character_is_refused_on_a_page_and_names_what_holds_it() {
    let stage = Stage::new().await;
    let maya = Plain::signed_in(&stage, MAYA).await;
    let ola = Plain::signed_in(&stage, OLA).await;
    let after = format!("platform/companies?id={LAST}&after");
    for (who, asked, more) in [
        (&maya, "tokens?q", ""),
        (&maya, "tokens?created_by", ""),
        (&maya, "tokens?scope", ""),
        (&maya, "tokens/new?list", ""),
        (&maya, "actors?q", ""),
        (&maya, "audit?token", ""),
        (&maya, "audit?actor", ""),
        (&maya, "audit/export?format=csv&actor", ""),
        (&maya, "audit/live?actor", ""),
        (&maya, "log?origin", "&size=1&at=1"),
        (&maya, "log/checkpoint?size=1&origin", ""),
        (&maya, "confirm?next", ""),
        (&maya, "clients?no-parameter", ""),
        (&ola, "companies?q", ""),
        (&ola, "platform/companies?q", ""),
        (&ola, &after, ""),
    ] {
        let page = who.get(&format!("/console/{asked}=a%00b{more}")).await.expect(400).text;
        let (_, name) = asked.rsplit_once(['?', '&']).expect("a parameter");
        let said = format!("“{name}” must not contain the character U+0000.");
        assert!(page.contains("data-trouble") && page.contains(&said), "{asked}: {page}");
    }
}

#[tokio::test]
async fn a_form_with_a_nul_character_is_refused_and_the_list_behind_it_goes_without() {
    let stage = Stage::new().await;
    let maya = Plain::signed_in(&stage, MAYA).await;
    let fields = |name| [("name", name), ("scopes", "positions"), ("expires_in_seconds", "3600")];
    for (list, back) in [
        ("q%3D%2500", "/console/tokens"),
        ("q%3Dnight%26created_by%3D%2500", "/console/tokens?q=night"),
    ] {
        let new = format!("/console/tokens/new?list={list}");
        let done = maya.fill(&new, &fields("Nightly")).await.expect(200).text;
        assert!(done.contains(&format!("href=\"{back}\" data-done")), "{list}: {done}");
    }
    let page = maya.fill("/console/tokens/new", &fields("Night\0ly")).await.expect(400).text;
    assert!(page.contains("“name” must not contain the character U+0000."), "{page}");
}
