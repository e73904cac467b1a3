//! A token's page and the audit trail: what happened, and what was true when.

use crate::browser::{Browser, key};
use crate::plain::Plain;
use crate::stage::{MAYA, PRIYA, Stage};
use serde_json::{Value, json};
use token_ledger::app::Caller;
use token_ledger_domain::{PersonId, Timestamp};

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_shown_as_it_was() {
    let stage = Stage::new().await;
    let token = stage.token("Payroll sync", &["employees"]).await;
    let id = token["token_id"].as_str().expect("an id").to_owned();
    stage.after(3600);
    let change = json!({"scopes": ["positions"], "reason": "Narrowed"});
    stage.test.admin.patch(&stage.test.token_path(&token)).json(&change).await.expect(200);
    stage.after(7200);
    let browser = stage.browser(PRIYA).await;
    browser.lives_in("UTC").await;
    browser.open(&format!("/console/tokens/{id}")).await;
    browser.sees("“Narrowed”").await;
    assert_eq!(browser.count("#history del.chip").await, 1);
    // Half an hour into its life, by the slider.
    let born = stage.test.app.now().as_seconds() - 7200;
    browser.set("#life", &(born + 1800).to_string()).await;
    browser.until("document.querySelector('#at').value.startsWith('2026-03-01T09:30')").await;
    browser.press("Show").await;
    browser.sees("As of").await;
    browser.sees("What happened since").await;
    let since = "document.querySelector('.since li').innerText";
    browser.until(&format!("/^[0-9]+ .* ago.*: ledger.admin/s.test({since})")).await;
    let head = browser.text("#state").await;
    let position = stage.test.app.head(stage.test.company).await.expect("a head") - 1;
    assert!(head.ends_with(&format!("position {position}")), "{head}");
    assert_eq!(browser.text(".state .facts .chip").await, "Employees");
    assert!(browser.path().await.contains("at=2026-03-01T09%3A30%3A00"));
    browser.open(&format!("/console/tokens/{id}?at=2026-03-01T08:00:00Z")).await;
    browser.sees("The token did not exist yet.").await;
    browser.until("document.querySelector('.since').innerText.includes('changed the data accesses of this token')").await;
    browser.press("Back to now").await;
    browser.until("document.querySelector('#state').innerText === 'Now'").await;
    assert_eq!(browser.text(".state .facts .chip").await, "Positions");
    // Behind an event it is as the event left it, to the microsecond.
    browser.click("#history .event:last-child .meta a[href*='at=']").await;
    browser.sees("As of").await;
    assert_eq!(browser.text(".state .facts .chip").await, "Employees");
    // At the slider's ends it is there already, and is gone already.
    let second = |seconds: i64| crate::support::at(seconds).as_micros();
    let set = |micros| stage.test.clock.set(Timestamp::from_micros(micros));
    set(second(8000) + 400_000);
    let brief = stage.token("Policy", &["positions"]).await;
    set(second(8100) + 600_000);
    let brief = stage.test.token_path(&brief);
    stage.test.admin.delete(&brief).await.expect(204);
    stage.after(9000);
    let id = brief.rsplit('/').next().expect("an id");
    for (end, status) in [("min", "Active"), ("max", "Deleted")] {
        browser.open(&format!("/console/tokens/{id}")).await;
        let to = browser.script(&format!("return document.querySelector('#life').{end}")).await;
        browser.set("#life", to.as_str().expect("an end")).await;
        browser.press("Show").await;
        browser.sees("As of").await;
        assert_eq!(browser.text(".state .status").await, status);
    }
    // Its name is no page's.
    assert_eq!(browser.count(".side [aria-current]").await, 1);
    assert_eq!(browser.text(".side [aria-current]").await, "Access Token");
}

#[tokio::test]
async fn a_token_was_paused_while_the_module_was_off() {
    let stage = Stage::new().await;
    let token = stage.token("Payroll sync", &["employees"]).await;
    let id = token["token_id"].as_str().expect("an id");
    let (module, operator) = (stage.test.path("/oauth-app"), &stage.test.operator);
    stage.after(3600);
    operator.put(&module).json(&json!({"enabled": false})).await.expect(200);
    stage.after(7200);
    operator.put(&module).json(&json!({"enabled": true})).await.expect(200);
    stage.after(10800);
    let priya = Plain::signed_in(&stage, PRIYA).await;
    for (at, words) in [("09:30", ">Active<"), ("10:30", ">Paused<"), ("11:30", ">Active<")] {
        let path = format!("/console/tokens/{id}?at=2026-03-01T{at}:00Z");
        let page = priya.get(&path).await.expect(200).text;
        let then = page.split("class=\"since\"").next().expect("the token then");
        assert!(then.contains(words), "{at}: {then}");
    }
}

#[tokio::test]
async fn what_happened_to_the_module_since_is_no_nothing() {
    let stage = Stage::new().await;
    let token = stage.token("Payroll sync", &["employees"]).await;
    let id = token["token_id"].as_str().expect("an id");
    let (module, operator) = (stage.test.path("/oauth-app"), &stage.test.operator);
    let priya = Plain::signed_in(&stage, PRIYA).await;
    let since = async |at: &str| {
        let path = format!("/console/tokens/{id}?at=2026-03-01T{at}:00Z");
        let page = priya.get(&path).await.expect(200).text;
        let (_, since) = page.split_once("class=\"since\"").expect("what happened since");
        since.split("</div>").next().unwrap_or_default().to_owned()
    };
    let nothing = "Nothing. The token is as it was.";
    for (hour, enabled, words) in [(1, false, "turned off"), (2, true, "turned on")] {
        stage.after(hour * 3600);
        operator.put(&module).json(&json!({"enabled": enabled})).await.expect(200);
        stage.after(hour * 3600 + 900);
        let told = since(&format!("{:02}:30", 8 + hour)).await;
        assert!(told.contains(&format!("The OAuth App module was {words}.")), "{told}");
        assert!(!told.contains(nothing), "{told}");
        let told = since(&format!("{:02}:10", 9 + hour)).await;
        assert!(told.contains(nothing), "{told}");
    }
}

/// Esc takes away what hover or focus shows of a time, and nothing else with it.
async fn hints_can_be_dismissed(browser: &Browser) {
    browser.has_focus().await;
    browser.press("Delete").await;
    browser.until("document.querySelector('dialog[open] time')").await;
    let time = "document.querySelector('dialog time')";
    let hint = format!("getComputedStyle({time}, '::after').content");
    for _ in 0..2 {
        browser.script(&format!("{time}.blur(); {time}.focus()")).await;
        browser.until(&format!("{hint} !== 'none'")).await;
        browser
            .until(&format!("getComputedStyle({time}, '::after').pointerEvents === 'auto'"))
            .await;
        browser.keys(&[key::ESCAPE]).await;
        browser.until(&format!("{hint} === 'none'")).await;
        browser.until("document.querySelector('dialog[open]')").await;
    }
    browser.keys(&[key::ESCAPE]).await;
    browser.until("!document.querySelector('dialog[open]')").await;
}

/// What is printed is dark on light, and says whose ledger it is, who printed it, and when.
async fn paper_says_whose_it_is_and_when(browser: &Browser) {
    let ends = |css: &str, words: &str| {
        format!(
            "getComputedStyle(document.querySelector('{css}'), '::after').content === '\"{words}\"'"
        )
    };
    browser.until("!document.querySelector('.paper')?.offsetParent").await;
    browser.on_paper(true).await;
    for theme in ["", "dark"] {
        browser.script(&format!("document.documentElement.dataset.theme = '{theme}'")).await;
        let white = "getComputedStyle(document.body).backgroundColor === 'rgb(255, 255, 255)'";
        browser.until(white).await;
    }
    browser.sees("Acme · Maya Lindqvist (maya@acme.example), Super Admin").await;
    browser.sees("Shown on 1 March 2026, 18:00").await;
    // Each time goes on with its seconds and its zone.
    let rest = ":00 GMT+9 (1 March 2026, 09:00:00 UTC)";
    for css in [".paper time", ".state.then h2 time", "#history .meta time"] {
        browser.until(&ends(css, rest)).await;
    }
    browser.on_paper(false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn times_are_the_viewers_own() {
    let stage = Stage::new().await;
    let token = stage.token("Payroll sync", &["employees"]).await;
    let browser = stage.browser(MAYA).await;
    browser.lives_in("Asia/Tokyo").await;
    browser.open(&format!("/console/tokens/{}", token["token_id"].as_str().expect("an id"))).await;
    // 09:00 UTC is 18:00 in Tokyo.
    browser.until("document.querySelector('#history .day h2').innerText === '1 March 2026'").await;
    browser.until("document.querySelector('#history .meta time').innerText === '18:00'").await;
    // The sentence writes it alike.
    let [clock, sentence] = [".meta", ".deed"]
        .map(|part| format!("document.querySelector('#history {part} time').innerText"));
    browser.until(&format!("{sentence}.endsWith({clock})")).await;
    let exact = "document.querySelector('#history .meta time').dataset.exact";
    let both = "1 March 2026, 18:00:00 GMT+9 (1 March 2026, 09:00:00 UTC)";
    browser.until(&format!("{exact} === '{both}'")).await;
    browser.until("document.querySelector('#at').value.startsWith('2026-03-01T18:00')").await;
    hints_can_be_dismissed(&browser).await;
    browser.press("Show").await;
    browser.sees("As of").await;
    assert!(browser.path().await.contains("at=2026-03-01T09%3A00%3A00"));
    paper_says_whose_it_is_and_when(&browser).await;
    // At 19:00 UTC it is the next day in Tokyo already.
    stage.after(10 * 3600);
    let change = json!({"scopes": ["positions"]});
    stage.test.admin.patch(&stage.test.token_path(&token)).json(&change).await.expect(200);
    browser.open("/console/audit?type=token.scopes_changed").await;
    let first = "document.querySelector('#results .day').innerText.replace(/\\s+/g, ' ')";
    browser.until(&format!("{first}.startsWith('2 March 2026 ')")).await;
    browser.until("document.querySelector('#results .meta time').innerText === '04:00'").await;
    // Of links that paper can't follow nothing is left, nor of what is between them.
    browser.on_paper(true).await;
    browser.until("document.querySelector('div.bar').innerText.trim() === '1 event'").await;
    browser.on_paper(false).await;
    // Half past one comes twice when clocks are put back: a filter that is not touched stays.
    browser.lives_in("America/New_York").await;
    browser.open("/console/audit?from=2025-11-02T06:30:00Z").await;
    browser.until("document.querySelector('#from').value.startsWith('2025-11-02T01:30')").await;
    browser.set("#type", "token.created").await;
    browser.press("Apply").await;
    browser.until("location.search.includes('type=token.created')").await;
    assert!(browser.path().await.contains("from=2025-11-02T06%3A30%3A00"));
    // What is wrong with a time moves nothing but what is below it, and has the focus.
    browser.open("/console/audit?from=2026-03-02&to=2026-03-01").await;
    browser.sees("This is before the beginning.").await;
    let top = "id => document.getElementById(id).getBoundingClientRect().top";
    browser.until(&format!("['from', 'to'].map({top}).every((at, _, all) => at === all[0])")).await;
    browser.until("document.activeElement.id === 'to'").await;
}

/// The headings of the days, and how many events are below each.
const DAYS: &str = "[...document.querySelectorAll('.day')].map((day) => \
    `${day.querySelector('h2').innerText}: ${day.querySelectorAll('.event').length}`).join()";

#[tokio::test(flavor = "multi_thread")]
async fn days_are_the_viewers_own_and_those_of_the_chart_are_said_not_to_be() {
    let stage = Stage::new().await;
    // At 09:00 and 16:00 UTC, and at 03:00 on the day after.
    for (name, seconds) in [("Careers page", 0), ("Org chart", 7 * 3600), ("Badges", 18 * 3600)] {
        stage.after(seconds);
        stage.token(name, &["employees"]).await;
    }
    let browser = stage.browser(PRIYA).await;
    let trail = "/console/audit?type=token.created";
    for (zone, days) in [
        ("Asia/Tokyo", "2 March 2026: 2,1 March 2026: 1"),
        ("America/Los_Angeles", "1 March 2026: 3"),
        ("UTC", "2 March 2026: 1,1 March 2026: 2"),
    ] {
        browser.lives_in(zone).await;
        browser.open(trail).await;
        browser.until(&format!("{DAYS} === '{days}'")).await;
    }
    browser.scripts(false).await;
    browser.open(trail).await;
    browser.until(&format!("{DAYS} === '2 March 2026 (UTC): 1,1 March 2026 (UTC): 2'")).await;
    browser.scripts(true).await;
    // New ones join the day that they are of.
    browser.lives_in("America/Los_Angeles").await;
    browser.open(trail).await;
    stage.after(22 * 3600);
    stage.token("Nightly", &["employees"]).await;
    browser.press("1 new event").await;
    browser.until(&format!("{DAYS} === '1 March 2026: 4'")).await;
    // A bar is a day of UTC, of which the fields show when that is for the viewer.
    browser.click(".histogram a[data-day='2026-03-02']").await;
    browser.until("document.querySelector('#from')?.value.startsWith('2026-03-01T16:00')").await;
    browser.sees("This is 2 March 2026 in UTC, as in the chart.").await;
    browser.until(&format!("{DAYS} === '1 March 2026: 2'")).await;
    browser.open("/console/audit?from=2026-02-28&to=2026-03-02").await;
    browser.sees("This is 28 February 2026 to 1 March 2026 in UTC, as in the chart.").await;
    for (zone, span) in [
        ("America/Los_Angeles", "from=2026-03-01&to=2026-03-02T01:00:00Z"),
        ("UTC", "from=2026-03-01&to=2026-03-02"),
    ] {
        browser.lives_in(zone).await;
        browser.open(&format!("/console/audit?{span}")).await;
        browser.sees("Apply").await;
        browser.sees_no("as in the chart").await;
    }
}

#[tokio::test]
async fn a_former_member_has_a_name_until_it_is_erased() {
    let stage = Stage::new().await;
    let (other, _) = stage.test.another_company("Globex").await;
    stage.person("Priya Nair", PRIYA, "auditor", other).await;
    let members = stage.test.admin.get(&stage.test.path("/members")).await.expect(200).body;
    let priya = members["items"]
        .as_array()
        .and_then(|items| items.iter().find(|item| item["email"] == PRIYA))
        .expect("Priya");
    let id = priya["member_id"].as_str().expect("an id");
    stage.test.admin.delete(&stage.test.path(&format!("/members/{id}"))).await.expect(204);
    let maya = Plain::signed_in(&stage, MAYA).await;
    let trail = "/console/audit?type=company.member_removed";
    let page = maya.get(trail).await.expect(200).text;
    assert!(page.contains("removed <strong>Priya Nair</strong> from the company"), "{page}");
    let person =
        PersonId(priya["person_id"].as_str().and_then(|id| id.parse().ok()).expect("an id"));
    let caller = Caller::command_line(stage.test.company);
    stage.test.app.erase_person(&caller, person, "Asked for", None).await.expect("an erasure");
    let page = maya.get(trail).await.expect(200).text;
    assert!(page.contains("removed a member from the company"), "{page}");
}

#[tokio::test]
async fn every_type_that_an_address_asks_for_is_shown_and_kept() {
    let stage = Stage::new().await;
    let priya = Plain::signed_in(&stage, PRIYA).await;
    let page = priya.get("/console/audit?type=key.created&type=company.member_added").await;
    let page = page.expect(200).text;
    for kind in ["key.created", "company.member_added"] {
        assert!(page.contains(&format!("<option value=\"{kind}\" selected>")), "{page}");
    }
    assert_eq!(page.matches("name=\"type\"").count(), 2, "{page}");
    let page = priya.get("/console/audit").await.expect(200).text;
    assert_eq!(page.matches("name=\"type\"").count(), 1, "{page}");
}

#[tokio::test]
async fn where_the_ledger_begins_there_is_nothing_older() {
    let stage = Stage::new().await;
    let priya = Plain::signed_in(&stage, PRIYA).await;
    let page = priya.get("/console/audit?before=1").await.expect(200).text;
    assert!(page.contains("the ledger begins here"), "{page}");
    assert!(!page.contains("Clear filters") && !page.contains("these filters"), "{page}");
    let page = priya.get("/console/audit?type=company.registered&before=1").await.expect(200).text;
    assert!(page.contains("Nothing older was recorded that matches these filters."), "{page}");
    assert!(page.contains("Clear filters"), "{page}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_trail_is_filtered_and_exported() {
    let stage = Stage::new().await;
    let payroll = stage.token("Payroll sync", &["employees"]).await;
    stage.after(86_400);
    stage.token("Badge printer", &["employees"]).await;
    let refresh = format!("{}/refresh", stage.test.token_path(&payroll));
    stage.test.admin.post(&refresh).json(&json!({})).await.expect(200);
    let browser = stage.browser(PRIYA).await;
    browser.open("/console/audit?token=payroll%20sync").await;
    browser.sees("refreshed Payroll sync").await;
    browser.sees_no("Badge printer").await;
    browser.sees("Export 2 rows as CSV").await;
    browser.sees("2 events in 30 days").await;
    browser.open("/console/audit").await;
    browser.set("#type", "token.created").await;
    browser.press("Apply").await;
    browser.sees("created Badge printer").await;
    browser.until("!document.querySelector('#results').innerText.includes('refreshed')").await;
    assert_eq!(browser.path().await, "/console/audit?type=token.created");
    // The bar of the first day leads to that day, and the days after it are still there.
    browser.click(".histogram a[data-day='2026-03-01']").await;
    browser.sees_no("created Badge printer").await;
    browser.sees("created Payroll sync").await;
    browser.click(".histogram a[data-day='2026-03-02']").await;
    browser.sees("created Badge printer").await;
    browser.sees_no("created Payroll sync").await;
    // Dragging over several days shows all of them.
    browser.open("/console/audit").await;
    let bar = |day: &str| format!(".histogram a[data-day='{day}'] .slot");
    let marks = "document.querySelector('[data-brush]').addEventListener(\
        'pointerup', () => { window.name = document.querySelectorAll('a.brushed').length })";
    browser.script(marks).await;
    browser.drag(&bar("2026-02-28"), &bar("2026-03-01")).await;
    browser.until("location.search.includes('to=2026-03-02')").await;
    browser.until("window.name === '2'").await;
    browser.sees("created Payroll sync").await;
    browser.sees_no("created Badge printer").await;
    browser.open("/console/audit?type=token.created&from=2026-03-01&to=2026-03-02").await;

    let link =
        browser.script("return document.querySelector('a[href*=\"format=csv\"]').href").await;
    let text = fetched(&browser, link.as_str().expect("a link")).await;
    let lines: Vec<&str> = text.trim_end().lines().collect();
    assert_eq!(lines.len(), 2, "{text}");
    assert!(lines[1].contains("token.created") && lines[1].contains("Payroll sync"), "{text}");
    let all = fetched(&browser, "/console/audit/export?format=ndjson").await;
    let last: Value =
        serde_json::from_str(all.trim_end().lines().last().expect("a line")).expect("JSON");
    let head = stage.test.app.head(stage.test.company).await.expect("a head");
    assert_eq!(last["export"], json!({"count": head, "last_position": head}));
    // Whoever is signed out gets no file that is none.
    stage.after(2 * 86_400);
    browser.press("as NDJSON").await;
    browser.until("location.pathname === '/console/sign-in'").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_chart_is_one_stop_and_arrows_lead_through_its_days() {
    let stage = Stage::new().await;
    let priya = Plain::signed_in(&stage, PRIYA).await;
    let page = priya.get("/console/audit").await.expect(200).text;
    assert!(page.contains(">Past the chart</a></noscript>"), "{page}");
    let browser = stage.browser(PRIYA).await;
    browser.open("/console/audit").await;
    browser.tab_to("Password links").await;
    browser.keys(&[key::TAB]).await;
    let here = "document.activeElement.dataset.day ===";
    browser.until(&format!("{here} '2026-03-01'")).await;
    browser.keys(&[key::LEFT, key::LEFT]).await;
    browser.until(&format!("{here} '2026-02-27'")).await;
    browser.keys(&[key::HOME, key::LEFT]).await;
    browser.until(&format!("{here} '2026-01-31'")).await;
    browser.keys(&[key::TAB]).await;
    browser.until("document.activeElement.id === 'type'").await;
    stage.token("Newest", &["employees"]).await;
    browser.press("1 new event").await;
    browser.sees("created Newest").await;
    assert_eq!(browser.count("#days svg a:not([tabindex='-1'])").await, 1);
    browser.open("/console/audit?from=2026-02-20&to=2026-02-21").await;
    browser.script("document.querySelector('#days a[tabindex=\"0\"]').focus()").await;
    browser.until(&format!("{here} '2026-02-20'")).await;
    browser.keys(&[key::END, key::ENTER]).await;
    browser.until("location.search.includes('from=2026-03-01')").await;
}

async fn fetched(browser: &Browser, path: &str) -> String {
    let script = format!(
        "const done = arguments[arguments.length - 1]; \
         fetch({}).then(answer => answer.text()).then(done)",
        json!(path)
    );
    browser.async_script(&script).await.as_str().unwrap_or_default().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn new_events_are_counted_quietly_and_shown_when_asked_for() {
    let stage = Stage::new().await;
    let browser = stage.browser(PRIYA).await;
    browser.open("/console/audit?type=token.created").await;
    browser.sees("Nothing was recorded that matches these filters.").await;
    let first = stage.token("First", &["employees"]).await;
    browser.sees("1 new event").await;
    browser
        .until("document.querySelector('body > .sr[role=status]').innerText === '1 new event'")
        .await;
    let refresh = format!("{}/refresh", stage.test.token_path(&first));
    stage.test.admin.post(&refresh).json(&json!({})).await.expect(200);
    stage.token("Second", &["employees"]).await;
    browser.sees("2 new events").await;
    browser.sees_no("created First").await;
    browser.sees("0 events in 30 days").await;
    browser.press("2 new events").await;
    browser.sees("created Second").await;
    browser.sees("created First").await;
    browser.sees("2 events in 30 days").await;
    stage.token("Third", &["employees"]).await;
    browser.sees("1 new event").await;
    // Pages that nobody sees hold none of the few connections that there are.
    for _ in 0..7 {
        browser.minimize().await;
        browser.another_window().await;
        browser.open("/console/audit").await;
        browser.sees("created Third").await;
    }
    browser.minimize().await;
    stage.token("Fourth", &["employees"]).await;
    browser.restore().await;
    browser.sees("1 new event").await;
    browser.press("1 new event").await;
    browser.sees("created Fourth").await;
    // Where the session is in another company meanwhile, the page is that one's as a whole.
    let (other, _) = stage.test.another_company("Globex").await;
    stage.person("Priya Nair", PRIYA, "auditor", other).await;
    browser.minimize().await;
    stage.enter_elsewhere(&browser, other).await;
    browser.restore().await;
    browser.until("document.querySelector('.side .company').innerText === 'Globex Change'").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn new_events_leave_the_filters_in_sight() {
    let stage = Stage::new().await;
    for number in 0..30 {
        stage.token(&format!("Job {number}"), &["employees"]).await;
    }
    let browser = stage.browser(PRIYA).await;
    browser.open("/console/audit").await;
    stage.token("Newest", &["employees"]).await;
    browser.press("1 new event").await;
    browser.sees("created Newest").await;
    browser.until("document.activeElement.id === 'newest'").await;
    assert_eq!(browser.script("return window.scrollY").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_ends_closes_what_it_was_looking_at() {
    let stage = Stage::new().await;
    let browser = stage.browser(PRIYA).await;
    browser.open("/console/audit").await;
    remove_priya(&stage).await;
    browser.until("location.pathname === '/console/sign-in'").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_ends_before_the_page_looks_closes_it_too() {
    let stage = Stage::new().await;
    let browser = stage.browser(PRIYA).await;
    browser.kept_from(&["*/console/audit/live*"]).await;
    browser.open("/console/audit").await;
    remove_priya(&stage).await;
    browser.kept_from(&[]).await;
    browser.until("location.pathname === '/console/sign-in'").await;
}

async fn remove_priya(stage: &Stage) {
    let members = stage.test.admin.get(&stage.test.path("/members")).await.expect(200).body;
    let priya = members["items"]
        .as_array()
        .and_then(|items| items.iter().find(|item| item["email"] == PRIYA));
    let id = priya.and_then(|item| item["member_id"].as_str()).expect("Priya").to_owned();
    stage.test.admin.delete(&stage.test.path(&format!("/members/{id}"))).await.expect(204);
}

#[tokio::test(flavor = "multi_thread")]
async fn denied_attempts_are_told_apart_from_what_was_recorded() {
    let stage = Stage::new().await;
    let before = stage.test.app.head(stage.test.company).await.expect("a head");
    let body = json!({"name": "x", "scopes": ["employees"]});
    stage.test.auditor.post(&stage.test.path("/tokens")).json(&body).await.expect(403);
    let browser = stage.browser(PRIYA).await;
    browser.open("/console/audit").await;
    browser.press("Denied attempts").await;
    browser.sees("Create an access token").await;
    browser.sees("over the API").await;
    browser.sees("Not allowed").await;
    browser.sees("ledger.audit").await;
    assert_eq!(stage.test.app.head(stage.test.company).await.expect("a head"), before);
    browser.press("Sign-ins").await;
    browser.sees("Sign in with a one-time link").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn new_events_are_fetched_once_and_a_failure_is_said() {
    let stage = Stage::new().await;
    let browser = stage.browser(PRIYA).await;
    browser.open("/console/audit").await;
    let counted = "window.mark = true; window.fetched = 0; window.sources = 0; \
        window.reach = window.fetch; \
        window.fetch = () => { fetched += 1; return Promise.reject(new TypeError('away')); }; \
        window.EventSource = class extends EventSource { \
            constructor(address) { super(address); sources += 1; } \
        }";
    browser.script(counted).await;
    stage.token("Newest", &["employees"]).await;
    browser.press("1 new event").await;
    browser.sees("The new events can’t be fetched right now.").await;
    browser.sees("1 new event").await;
    assert_eq!(browser.script("return [window.mark, fetched]").await, json!([true, 1]));
    let twice = "window.fetch = (address) => { fetched += 1; return reach(address); }; \
        const button = document.querySelector('[data-live] button'); \
        button.click(); button.click();";
    browser.script(twice).await;
    browser.sees("created Newest").await;
    assert_eq!(browser.script("return [window.mark, fetched, sources]").await, json!([true, 2, 1]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_suggestion_that_comes_late_takes_nobodys_place() {
    let stage = Stage::new().await;
    let browser = stage.browser(PRIYA).await;
    browser.open("/console/audit").await;
    let held = "window.reach = window.fetch; \
        window.fetch = (address) => reach(address).then((answer) => \
            address.endsWith('q=maya') \
                ? new Promise((done) => { window.letGo = () => done(answer); }) : answer)";
    browser.script(held).await;
    browser.set("#actor", "maya").await;
    browser.until("window.letGo").await;
    browser.set("#actor", "priya").await;
    let names = "[...document.querySelectorAll('#actor-suggestions option')].map((o) => o.value)";
    browser.until(&format!("{names}.join() === 'Priya Nair'")).await;
    let late = format!(
        "const done = arguments[arguments.length - 1]; \
         letGo(); reach('/healthz').then(() => done({names}))"
    );
    assert_eq!(browser.async_script(&late).await, json!(["Priya Nair"]));
}
