//! What operators do: find a company among many, and erase a person.

use crate::notices::told_to;
use crate::plain::Plain;
use crate::stage::{MAYA, OLA, PRIYA, Stage};
use serde_json::json;
use token_ledger_domain::CompanyId;
use token_ledger_projections::read_models::Operation;

#[tokio::test(flavor = "multi_thread")]
async fn a_company_is_found_among_many_by_its_name() {
    let stage = Stage::new().await;
    for number in 0..60 {
        let body = json!({"name": format!("Branch {number:02}")});
        stage.test.operator.post("/v1/companies").json(&body).await.expect(201);
    }
    let browser = stage.browser(OLA).await;
    browser.open("/console/companies").await;
    browser.sees("There are more").await;
    browser.fill("#q", "branch 47").await;
    browser.press("Search").await;
    browser.sees_no("Branch 46").await;
    browser.click("button[aria-label='Enter Branch 47']").await;
    browser.sees("No access tokens yet").await;
    assert_eq!(browser.text(".side .company").await, "Branch 47 Change");
    browser.open("/console").await;
    browser.sees("Register company").await;
    assert_eq!(browser.count("tbody tr").await, 50);
    browser.press("Next page").await;
    browser.sees("Branch 59").await;
    browser.press("First page").await;
    browser.sees("Acme").await;
    browser.fill("#q", "CH 1").await;
    browser.press("Search").await;
    browser.until("document.querySelectorAll('tbody tr').length === 10").await;
    browser.fill("#q", "Globex").await;
    browser.press("Search").await;
    browser.sees("No company has “Globex” in its name.").await;
    // Nobody else is offered what is not theirs.
    stage.sign_in(&browser, MAYA).await;
    browser.open("/console/companies").await;
    browser.sees("You are here").await;
    browser.sees_no("Branch").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_erases_a_person_and_what_the_person_did_stays() {
    let stage = Stage::new().await;
    let maya = stage.browser(MAYA).await;
    maya.open("/console/tokens/new").await;
    maya.fill("#name", "Payroll sync").await;
    maya.click("input[value=employees]").await;
    maya.press("Create").await;
    maya.sees("You will not see it again").await;
    let head = stage.test.app.head(stage.test.company).await.expect("a head");
    // A Super Admin is not offered it, and is refused.
    maya.open("/console/members").await;
    maya.click("summary[aria-label='Actions for Priya Nair']").await;
    maya.sees("Change role").await;
    maya.sees_no("Erase personal data").await;
    let members = stage.test.admin.get(&stage.test.path("/members")).await.expect(200).body;
    let person = members["items"]
        .as_array()
        .and_then(|items| items.iter().find(|item| item["email"] == MAYA))
        .and_then(|item| item["person_id"].as_str())
        .expect("Maya")
        .to_owned();
    let form = format!("/console/people/{person}/erase");
    maya.open(&form).await;
    maya.sees("This is for operators of the platform.").await;

    let browser = stage.browser(OLA).await;
    browser.open("/console/members").await;
    browser.click("summary[aria-label='Actions for Maya Lindqvist']").await;
    browser.press("Erase personal data").await;
    browser.sees("This can’t be undone.").await;
    browser.press("Erase personal data").await;
    browser.sees("On whose order, and why").await;
    browser.until("document.querySelector('#reason[aria-invalid]')").await;
    browser.fill("#reason", "Request of 1 March, by the person").await;
    browser.press("Erase personal data").await;
    browser.sees("The person’s data was erased.").await;
    browser.sees_no(MAYA).await;
    browser.open("/console/audit").await;
    browser.sees("erased the data of a person").await;
    browser.sees("Request of 1 March, by the person").await;
    browser.sees("Payroll sync").await;
    browser.sees_no("Maya Lindqvist").await;
    let event = stage.test.app.event(stage.test.company, head).await.expect("the event");
    assert_eq!((event.kind.as_str(), event.actor.name), ("token.created", None));
    // From the event that brought somebody in, too, whether or not they are still there.
    browser.open("/console/audit?type=company.member_added").await;
    browser.click(".event .meta a").await;
    browser.press("Erase this person’s data").await;
    browser.sees("On whose order, and why").await;
}

#[tokio::test]
async fn nobody_is_erased_who_was_never_there() {
    let stage = Stage::new().await;
    let (globex, _) = stage.test.another_company("Globex").await;
    stage.person("Sam Oakes", "sam@globex.example", "auditor", globex).await;
    let ola = Plain::signed_in(&stage, OLA).await;
    let list = async |company: CompanyId| {
        let path = format!("/v1/companies/{company}/members");
        let listed = stage.test.operator.get(&path).await.expect(200).body;
        listed["items"][0]["person_id"].as_str().expect("a person").to_owned()
    };
    let erase = |person: &str| format!("/console/people/{person}/erase");
    let [maya, sam, operator] =
        [list(stage.test.company).await, list(globex).await, list(CompanyId::PLATFORM).await];
    for known in [&maya, &operator] {
        ola.get(&erase(known)).await.expect(200);
    }
    for unknown in [sam.as_str(), "019ca8a0-3e80-7092-b430-b54c7772b241"] {
        let page = ola.get(&erase(unknown)).await.expect(404).text;
        assert!(page.contains("is or was a member of this company"), "{page}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn how_far_a_rebuild_is_is_shown_until_it_has_ended() {
    let stage = Stage::new().await;
    let now = stage.test.app.now();
    let order = |differences: Option<u64>| {
        let differences = json!(differences);
        format!(r#"{{"rebuild":"tokens","differences":{differences},"noted_at":"{now}"}}"#)
    };
    let mut rebuild = Operation {
        company_id: CompanyId::PLATFORM,
        operation_id: stage.test.app.new_id(),
        request: order(None),
        state: "running".to_owned(),
        matched: 0,
        done: 0,
        started_at: now,
        finished_at: None,
    };
    let read = &stage.test.app.read;
    read.save_operation(&rebuild).await.expect("a rebuild");
    let (other, _) = stage.test.another_company("Globex").await;
    let browser = stage.browser(OLA).await;
    let projections = "/console/platform/projections";
    browser.open(projections).await;
    let page = browser.script("return document.documentElement.outerHTML").await;
    let page = page.as_str().expect("a page");
    browser.open(&told_to(page, projections, "rebuild-begun")).await;
    browser.sees("Counting events").await;
    browser.sees("The rebuild has begun.").await;
    browser.sees("See how far it is").await;
    // What is followed is followed in one company.
    stage.enter_elsewhere(&browser, other).await;
    browser.until("document.querySelector('.side .company').innerText === 'Globex Change'").await;
    browser.script("window.mark = true").await;
    (rebuild.matched, rebuild.done) = (1200, 300);
    read.save_operation(&rebuild).await.expect("a rebuild");
    browser.sees("300 of 1,200 events").await;
    assert_eq!(browser.count("button[aria-label='Rebuild tokens']").await, 0);
    rebuild.state = "done".to_owned();
    (rebuild.request, rebuild.finished_at) = (order(Some(2)), Some(now));
    read.save_operation(&rebuild).await.expect("a rebuild");
    browser.sees("2 rows put right").await;
    browser.sees_no("The rebuild has begun.").await;
    browser.sees_no("See how far it is").await;
    let said = "document.querySelector('body > .sr[role=status]').textContent";
    browser.until(&format!("window.mark && {said} === 'The rebuild has ended.'")).await;
    assert_eq!(browser.count("button[aria-label='Rebuild tokens']").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn everyone_begins_where_they_work() {
    let stage = Stage::new().await;
    for (person, heading) in [(MAYA, "Access Token"), (PRIYA, "Audit trail"), (OLA, "Companies")] {
        let browser = stage.browser(person).await;
        browser.open("/console").await;
        assert_eq!(browser.text("h1").await, heading);
    }
}
