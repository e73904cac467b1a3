//! Forms that are sent twice.

use crate::forms::member;
use crate::plain::Plain;
use crate::stage::{MAYA, OLA, PRIYA, Stage};

#[tokio::test]
async fn a_link_is_said_to_have_been_shown_only_where_one_was() {
    let stage = Stage::new().await;
    let (globex, _) = stage.test.another_company("Globex").await;
    let ola = Plain::signed_in(&stage, OLA).await;
    let choose = ola.form("/console/platform/companies", "/console/companies").await;
    ola.submit(&choose, &[("company_id", &globex.to_string())]).await.expect(303);
    // Who is a member elsewhere gets no link from here.
    let path = "/console/members/new";
    let known = ola.open(path).await;
    let fields = [("email", PRIYA), ("role", "auditor")];
    for _ in 0..2 {
        let added = ola.submit(&known, &fields).await.expect(303);
        let way = added.header("location");
        assert!(way.starts_with("/console/members?notice=member-outside."), "{way}");
    }
    let stranger = ola.open(path).await;
    let fields = [("email", "ada@globex.example"), ("role", "super_admin")];
    let first = ola.submit(&stranger, &fields).await.expect(200).text;
    assert!(first.contains("/console/set-password/"), "{first}");
    let again = ola.submit(&stranger, &fields).await.expect(200).text;
    // Nobody knows whether that answer arrived.
    let said = "The link was shown in the answer to that, if it arrived, and can’t be shown again.";
    assert!(again.contains(said), "{again}");
    assert!(!again.contains("/console/set-password/"), "{again}");
}

#[tokio::test]
async fn a_role_that_was_given_is_said_to_be_though_the_member_was_removed_since() {
    let stage = Stage::new().await;
    let maya = Plain::signed_in(&stage, MAYA).await;
    let hers = member(&stage, PRIYA).await;
    let form = maya.open(&format!("{hers}/role")).await;
    let fields = [("role", "super_admin")];
    let first = maya.submit(&form, &fields).await.expect(303);
    maya.fill(&format!("{hers}/remove"), &[]).await.expect(303);
    let again = maya.submit(&form, &fields).await.expect(303);
    assert_eq!(again.header("location"), first.header("location"));
    let page = maya.get(again.header("location")).await.expect(200).text;
    assert!(page.contains("The role of <bdi>Priya Nair</bdi> was changed."), "{page}");
    assert_eq!(stage.test.count_events("company.member_role_changed").await, 1);
}
