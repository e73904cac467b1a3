//! A whole service on a loopback port, with people who can sign in.

use crate::browser::Browser;
use crate::support::{TestApp, at};
use serde_json::{Value, json};
use std::net::SocketAddr;
use token_ledger::app::members::NewMember;
use token_ledger::app::signing;
use token_ledger::app::{Caller, Conditions};
use token_ledger::http::router;
use token_ledger_domain::CompanyId;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

pub const MAYA: &str = "maya@acme.example";
pub const PRIYA: &str = "priya@acme.example";
pub const OLA: &str = "ola@platform.example";

/// The service with a Super Admin (Maya), an auditor (Priya) and an operator (Ola).
pub struct Stage {
    pub test: TestApp,
    pub base: String,
    server: JoinHandle<()>,
    signing: Option<JoinHandle<()>>,
}

impl Stage {
    pub async fn new() -> Self {
        let test = TestApp::new().await;
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let base = format!("http://{}", listener.local_addr().expect("an address"));
        let service = router(std::sync::Arc::clone(&test.service))
            .into_make_service_with_connect_info::<SocketAddr>();
        let server = tokio::spawn(async move {
            axum::serve(listener, service).await.expect("the service serves");
        });
        let stage = Self { test, base, server, signing: None };
        stage.person("Maya Lindqvist", MAYA, "super_admin", stage.test.company).await;
        stage.person("Priya Nair", PRIYA, "auditor", stage.test.company).await;
        stage.person("Ola Berg", OLA, "operator", CompanyId::PLATFORM).await;
        stage
    }

    pub async fn person(&self, name: &str, email: &str, role: &str, company: CompanyId) {
        let member = NewMember {
            email: email.to_owned(),
            role: role.to_owned(),
            name: Some(name.to_owned()),
            reason: None,
        };
        let caller = Caller::command_line(company);
        self.test.app.add_member(&caller, member, Conditions::default()).await.expect("a member");
    }

    /// A browser in which this person is signed in, in the company.
    pub async fn browser(&self, email: &str) -> Browser {
        let browser = Browser::at(&self.base).await;
        self.sign_in(&browser, email).await;
        browser
    }

    /// Signs a person in, in the company.
    pub async fn sign_in(&self, browser: &Browser, email: &str) {
        let link = self.test.app.sign_in_link(email, self.test.company).await.expect("a link");
        browser.open(&format!("/console/sign-in/{}", link.reveal())).await;
        browser.press("Sign in").await;
        browser.sees("Sign out").await;
    }

    /// In another window, the session goes on to this company.
    pub async fn enter_elsewhere(&self, browser: &Browser, company: CompanyId) {
        let script = format!(
            "const done = arguments[arguments.length - 1]; \
             const csrf = document.querySelector('input[name=csrf]').value; \
             const body = new URLSearchParams({{csrf, company_id: '{company}'}}); \
             fetch('/console/companies', {{method: 'POST', body}}).then(answer => done(answer.status))"
        );
        assert_eq!(browser.async_script(&script).await, json!(200));
    }

    /// In another window, this person signs in.
    pub async fn sign_in_elsewhere(&self, browser: &Browser, email: &str) {
        let link = self.test.app.sign_in_link(email, self.test.company).await.expect("a link");
        let script = format!(
            "const done = arguments[arguments.length - 1]; \
             fetch('/console/sign-in/{}', {{method: 'POST'}}).then(answer => done(answer.status))",
            link.reveal()
        );
        assert_eq!(browser.async_script(&script).await, json!(200));
    }

    /// A token of this name with these data accesses, made over the API: the whole answer.
    pub async fn token(&self, name: &str, scopes: &[&str]) -> Value {
        let body = json!({"name": name, "scopes": scopes});
        self.test.admin.post(&self.test.path("/tokens")).json(&body).await.expect(201).body
    }

    /// A program uses a token, and that is noted.
    pub async fn used(&self, secret: &str) {
        let url = format!("{}/v1/verify", self.base);
        let answer = reqwest::Client::new().get(url).bearer_auth(secret).send().await;
        assert_eq!(answer.expect("an answer").status(), 200);
        self.test.app.flush_uses().await;
    }

    /// The token of this name, as the API shows it.
    pub async fn found(&self, name: &str) -> Value {
        let path = format!("/tokens?status=active&status=expired&status=deleted&q={name}");
        let body = self.test.admin.get(&self.test.path(&path)).await.expect(200).body;
        body["items"][0].clone()
    }

    /// Signs checkpoints from here on, and waits for one that covers everything so far.
    pub async fn sign(&mut self) {
        let (app, company) = (&self.test.app, self.test.company);
        let stopping = &self.test.service.stopping;
        self.signing.get_or_insert_with(|| signing::start(app, stopping));
        let head = app.head(company).await.expect("a head");
        app.proof(company, head).await.expect("a checkpoint that covers the last event");
    }

    /// A few days of a company's life, ending at the present.
    pub async fn lifelike(&self) {
        const HOUR: i64 = 3600;
        const DAY: i64 = 24 * HOUR;
        let admin = &self.test.admin;
        self.after(HOUR);
        self.token("Careers page", &["locations", "positions"]).await;
        self.after(DAY + 2 * HOUR);
        let wide =
            ["company_users", "employees", "imported_employee_infos", "locations", "positions"];
        let payroll = self.test.token_path(&self.token("Payroll sync", &wide).await);
        self.after(3 * DAY + 5 * HOUR);
        self.token("Reporting export", &["departments", "employees"]).await;
        let refresh = json!({"grace_period_seconds": DAY, "reason": "Weekly rotation"});
        self.after(5 * DAY + 3 * HOUR);
        admin.post(&format!("{payroll}/refresh")).json(&refresh).await.expect(200);
        self.token("Applicant tracking bridge", &["position_applications", "positions"]).await;
        self.after(6 * DAY + HOUR);
        let badge = self.test.token_path(&self.token("Badge printer", &["employees"]).await);
        self.after(9 * DAY);
        let gone = format!("{badge}?reason=Its%20secret%20was%20found%20in%20a%20log");
        admin.delete(&gone).await.expect(204);
        let org = ["departments", "employees", "team_members"];
        self.token("Org chart", &org).await;
        self.after(9 * DAY + 20 * HOUR);
        admin.post(&format!("{payroll}/refresh")).json(&refresh).await.expect(200);
        self.after(10 * DAY + 2 * HOUR);
        let narrow = json!({"scopes": ["employees", "locations", "positions", "team_members"],
            "reason": "Narrowed after the access review"});
        admin.patch(&payroll).json(&narrow).await.expect(200);
        self.after(10 * DAY + 4 * HOUR);
        self.test.app.expire_due().await.expect("terms end");
    }

    /// Sets the clock to that many seconds after the beginning.
    pub fn after(&self, seconds: i64) {
        self.test.clock.set(at(seconds));
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.server.abort();
        if let Some(signing) = &self.signing {
            signing.abort();
        }
    }
}
