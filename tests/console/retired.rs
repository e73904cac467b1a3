//! Data accesses that were on offer once and aren't any more.

use crate::browser::Browser;
use crate::stage::{MAYA, Stage};
use token_ledger_domain::company::{Company, CompanyCommand};
use token_ledger_domain::policy::Policy;
use token_ledger_domain::token::{Create, Token, TokenCommand};
use token_ledger_domain::{Name, Power, Secret};
use token_ledger_event_store::{Context, Request};

/// The box of a data access that is no longer on offer.
const RETIRED: &str = "fieldset.scopes li:last-child input";

/// Waits until that box says what becomes of it.
async fn sees_retired(browser: &Browser) {
    browser.sees("No longer on offer; saving takes it away").await;
    browser.until(&format!("document.querySelector('{RETIRED}').disabled")).await;
    assert_eq!(browser.count(&format!("{RETIRED}:checked")).await, 0);
    assert_eq!(browser.text("fieldset.scopes li:last-child .name").await, "Salaries");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_says_that_it_takes_them_away() {
    let stage = Stage::new().await;
    let id = stage.test.app.new_id();
    let create = TokenCommand::Create(Create {
        name: Name::new("Payroll sync").expect("a name"),
        scopes: "positions salaries".parse().expect("scopes"),
        secret: Secret::from_random("tlk_", [1; 32]).stored(),
        validity_seconds: None,
        client_id: None,
    });
    let (company, create) = (stage.test.company, Request::new(id, create));
    let (ledger, context) = (&stage.test.app.ledger, Context::system());
    ledger.execute::<Token>(company, Power::Operator, &context, create).await.expect("a token");
    let browser = stage.browser(MAYA).await;
    browser.open(&format!("/console/tokens/{id}/edit")).await;
    sees_retired(&browser).await;
    assert_eq!(browser.text("#changes").await, "removed\nSalaries");
    assert_eq!(browser.count("#changes del").await, 1);
    browser.press("Select all").await;
    browser.press("Select none").await;
    assert_eq!(browser.count("input[name=scopes]:checked").await, 0);
    browser.click("input[value=positions]").await;
    browser.press("Save").await;
    browser.sees("were saved. They count at once.").await;
    assert_eq!(stage.found("Payroll").await["scopes"], serde_json::json!(["positions"]));
    browser.open(&format!("/console/tokens/{id}/edit")).await;
    browser.sees("Nothing is changed yet.").await;
    browser.sees_no("No longer on offer").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_says_that_saving_takes_them_away() {
    let stage = Stage::new().await;
    let allowed_scopes = Some("positions salaries".parse().expect("scopes"));
    let policy = Policy { allowed_scopes, ..Policy::default() };
    let (company, command) = (stage.test.company, CompanyCommand::ChangePolicy { policy });
    let (ledger, context) = (&stage.test.app.ledger, Context::system());
    let request = Request::new(company.0, command);
    ledger.execute::<Company>(company, Power::Operator, &context, request).await.expect("a policy");
    let browser = stage.browser(MAYA).await;
    browser.open("/console/policy").await;
    sees_retired(&browser).await;
    browser.click("input[name=allow][value=all]").await;
    browser.until("document.querySelector('[name=scopes][value=employees]').checked").await;
    assert_eq!(browser.count(&format!("{RETIRED}:checked")).await, 0);
}
