//! Lists, and what stands behind their last item.

use crate::plain::Plain;
use crate::stage::{MAYA, OLA, Stage};

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
