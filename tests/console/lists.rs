//! Lists, and what stands behind their last item.

use crate::plain::Plain;
use crate::stage::{MAYA, OLA, Stage};

/// An identifier before every other.
const FIRST: &str = "00000000-0000-7000-8000-000000000001";
/// An identifier behind every other.
const LAST: &str = "ffffffff-ffff-7fff-bfff-ffffffffffff";

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
    assert!(first.contains("No clients yet") && !first.contains("Nothing further"), "{first}");
}
