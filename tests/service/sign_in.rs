//! Signing in to the console: passwords, links, sessions, and what other sites can't do.

use crate::support::{Answered, Call, Client, TestApp};
use axum::http::Method;
use serde_json::{Value, json};
use token_ledger::app::people::Email;
use token_ledger_domain::CompanyId;

const PASSWORD: &str = "correct horse battery";

/// A browser: it keeps the cookie, and sends forms with the token of its pages.
struct Browser {
    client: Client,
    cookie: Option<String>,
}

impl Browser {
    fn new(app: &TestApp) -> Self {
        Self { client: app.nobody.clone(), cookie: None }
    }

    fn call(&self, method: Method, path: &str) -> Call {
        let call = self.client.call(method, path);
        match &self.cookie {
            Some(cookie) => call.header("cookie", &format!("other=1; {cookie}")),
            None => call,
        }
    }

    async fn get(&self, path: &str) -> Answered {
        self.call(Method::GET, path).await
    }

    /// Sends a form as it is.
    async fn send(&mut self, path: &str, fields: &[(&str, &str)]) -> Answered {
        let body = form(fields);
        let call = self
            .call(Method::POST, path)
            .header("sec-fetch-site", "same-origin")
            .text("application/x-www-form-urlencoded", &body);
        let answer = call.await;
        if let Some(cookie) = answer.header("set-cookie").split(';').next()
            && cookie.contains('=')
        {
            self.cookie = (!cookie.ends_with('=')).then(|| cookie.to_owned());
        }
        answer
    }

    /// Sends a form with the token that the sessions' page holds.
    async fn post(&mut self, path: &str, fields: &[(&str, &str)]) -> Answered {
        let token = self.token().await;
        let mut fields = fields.to_vec();
        fields.push(("csrf", &token));
        self.send(path, &fields).await
    }

    async fn token(&self) -> String {
        let page = self.get("/console/sessions").await.expect(200);
        token_in(&page)
    }

    async fn sign_in(&mut self, email: &str, password: &str) -> Answered {
        self.send("/console/sign-in", &[("email", email), ("password", password)]).await
    }

    /// The page that it begins with.
    async fn home(&self) -> Answered {
        let way = self.get("/console").await.expect(303);
        self.get(way.header("location")).await.expect(200)
    }

    /// Whether it is signed in.
    async fn is_in(&self) -> bool {
        self.get("/console/sessions").await.status == 200
    }
}

fn form(fields: &[(&str, &str)]) -> String {
    let mut form = url::form_urlencoded::Serializer::new(String::new());
    form.extend_pairs(fields);
    form.finish()
}

fn token_in(page: &Answered) -> String {
    let (_, rest) = page.text.split_once("name=\"csrf\" value=\"").expect("a form with a token");
    rest.split('"').next().unwrap_or_default().to_owned()
}

/// The path of a link in an answer.
fn link_path(answer: &Value) -> String {
    let url = answer["set_password_url"].as_str().expect("a link");
    url.strip_prefix("http://localhost:8080").expect("our own address").to_owned()
}

/// A new member of the company: the answer.
async fn member(app: &TestApp, email: &str, role: &str) -> Value {
    let body = json!({"email": email, "role": role});
    app.admin.post(&app.path("/members")).json(&body).await.expect(201).body
}

/// A new member who has set a password: the member.
async fn person(app: &TestApp, email: &str, role: &str) -> Value {
    let member = member(app, email, role).await;
    let path = link_path(&member);
    Browser::new(app).send(&path, &[("password", PASSWORD)]).await.expect(200);
    member
}

/// Somebody who is signed in.
async fn signed_in(app: &TestApp, email: &str) -> Browser {
    let mut browser = Browser::new(app);
    browser.sign_in(email, PASSWORD).await.expect(303);
    assert!(browser.is_in().await);
    browser
}

fn member_path(app: &TestApp, member: &Value) -> String {
    app.path(&format!("/members/{}", member["member_id"].as_str().expect("an id")))
}

#[tokio::test]
async fn a_person_sets_a_password_and_signs_in_and_out() {
    let app = TestApp::new().await;
    let member = member(&app, "Ada@Example.com", "super_admin").await;
    let path = link_path(&member);
    let mut browser = Browser::new(&app);

    let page = browser.get(&path).await.expect(200);
    assert_eq!(page.header("referrer-policy"), "no-referrer");
    assert_eq!(page.header("cache-control"), "no-store");
    assert!(page.header("content-security-policy").contains("script-src 'self'"));
    // Programs that keep passwords read whose it is, and read nothing that is hidden.
    let whose =
        "type=\"text\" name=\"username\" value=\"ada@example.com\" autocomplete=\"username\"";
    assert!(page.text.contains(whose), "{}", page.text);
    // What is not acceptable doesn't use the link up, nor does looking at it.
    let long = "ab".repeat(513);
    // What is asked of it is read aloud with the field.
    assert!(page.text.contains("minlength=\"12\" aria-describedby=\"password-rules\""));
    assert!(page.text.contains("id=\"password-rules\">At least 12 characters"), "{}", page.text);
    for password in ["too short", "ADA@example.com", &long, "aaaaaaaaaaaa"] {
        browser.send(&path, &[("password", password)]).await.expect(422);
    }
    browser.send(&path, &[("password", PASSWORD)]).await.expect(200);
    browser.send(&path, &[("password", PASSWORD)]).await.expect(404);
    let used = browser.get(&path).await.expect(404).text;
    assert!(used.contains("<h1>This link is no longer good</h1>"), "{used}");
    assert!(used.contains("href=\"/console/sign-in\">Sign in</a>"), "{used}");
    assert!(!browser.is_in().await, "a link to set a password signs nobody in");

    let answer = browser.sign_in(" ADA@example.com ", PASSWORD).await.expect(303);
    assert_eq!(answer.header("location"), "/console");
    let cookie = answer.header("set-cookie");
    for part in ["HttpOnly", "SameSite=Strict", "Path=/;"] {
        assert!(cookie.contains(part), "{cookie}");
    }
    assert!(!cookie.contains("Secure"), "on this machine: {cookie}");
    let home = browser.home().await;
    assert!(home.text.contains("Acme") && home.text.contains("Super Admin"), "{}", home.text);
    assert!(home.text.contains("<h1>Access Token</h1>"), "{}", home.text);
    let kept = browser.cookie.clone();
    browser.post("/console/sign-out", &[]).await.expect(303);
    assert_eq!(browser.cookie, None);
    browser.cookie = kept;
    assert!(!browser.is_in().await, "the session has ended, not only its cookie");
}

#[tokio::test]
async fn an_address_is_the_same_however_its_domain_is_written() {
    let app = TestApp::new().await;
    let ada = person(&app, "ada@xn--exmple-cua.example", "auditor").await;
    assert_eq!(ada["email"], "ada@exämple.example");
    for email in ["ada@xn--exmple-cua.example", "Ada@EXÄMPLE.example"] {
        signed_in(&app, email).await;
    }
    let body = json!({"email": "ada@exämple.example", "role": "auditor"});
    app.admin.post(&app.path("/members")).json(&body).await.problem(409, "already-exists");
}

#[tokio::test]
async fn unknown_addresses_and_wrong_passwords_look_alike() {
    let app = TestApp::new().await;
    person(&app, "ada@example.com", "auditor").await;
    member(&app, "new@example.com", "auditor").await;
    let mut answers = Vec::new();
    for email in ["ada@example.com", "new@example.com", "nobody@example.com"] {
        let answer = Browser::new(&app).sign_in(email, "wrong horse battery").await.expect(401);
        assert_eq!(answer.header("set-cookie"), "");
        assert!(answer.text.contains(email));
        answers.push(answer.text.replace(email, "…"));
    }
    assert_eq!(answers[0], answers[1]);
    assert_eq!(answers[0], answers[2]);
    Browser::new(&app).sign_in("no address", "wrong horse battery").await.expect(401);
}

#[tokio::test]
async fn whoever_tries_passwords_out_is_slowed_and_the_right_one_still_works() {
    let app = TestApp::new().await;
    person(&app, "ada@example.com", "auditor").await;
    let mut slowed = None;
    for _ in 0..12 {
        let answer = Browser::new(&app).sign_in("ada@example.com", "wrong horse battery").await;
        if answer.status == 429 {
            slowed = Some(answer);
            break;
        }
        answer.expect(401);
    }
    let slowed = slowed.expect("it is slowed down within a dozen attempts");
    assert!(slowed.header("retry-after").parse::<u64>().is_ok_and(|seconds| seconds > 0));
    assert!(slowed.text.contains("name=\"password\""), "nothing to try with: {}", slowed.text);
    signed_in(&app, "ada@example.com").await;
    let denied = denials(&app, CompanyId::PLATFORM).await;
    let statuses: Vec<_> = denied.iter().map(|denial| &denial["action"]["status"]).collect();
    assert!(statuses.contains(&&json!(429)), "{statuses:?}");
}

/// What was refused in a company, newest first.
async fn denials(app: &TestApp, company: CompanyId) -> Vec<Value> {
    let path = format!("/v1/companies/{company}/audit/denials");
    let page = app.operator.get(&path).await.expect(200).body;
    page["items"].as_array().expect("a list").clone()
}

#[tokio::test]
async fn a_member_who_is_refused_is_named_to_the_company() {
    let app = TestApp::new().await;
    let member = person(&app, "ada@example.com", "auditor").await;
    let mut browser = signed_in(&app, "ada@example.com").await;
    browser.get("/console/tokens/new").await.expect(403);
    browser.post("/console/tokens/new", &[("name", "x")]).await.expect(403);
    browser.post("/console/confirm", &[("password", "wrong horse battery")]).await.expect(401);
    let denied = denials(&app, app.company).await;
    let mut told: Vec<_> = denied
        .iter()
        .map(|denial| (denial["action"]["route"].as_str(), denial["action"]["status"].as_u64()))
        .collect();
    // They happened at the same moment, by this test's clock.
    told.sort_unstable();
    assert_eq!(
        told,
        [
            (Some("/console/confirm"), Some(401)),
            (Some("/console/tokens/new"), Some(403)),
            (Some("/console/tokens/new"), Some(403)),
        ]
    );
    for denial in &denied {
        assert_eq!(denial["actor"], json!({"type": "member", "id": member["member_id"]}));
    }
    assert!(denials(&app, CompanyId::PLATFORM).await.is_empty());
}

#[tokio::test]
async fn pages_without_a_frame_keep_the_theme_and_have_the_icon() {
    let app = TestApp::new().await;
    let mut browser = Browser::new(&app);
    browser.cookie = Some("token-ledger-theme=dark".to_owned());
    let page = browser.get("/console/sign-in").await.expect(200);
    assert!(page.text.contains("<html lang=\"en\" data-theme=\"dark\">"), "{}", page.text);
    let icon = page.text.split("rel=\"icon\"").nth(1).and_then(|rest| rest.split('"').nth(3));
    let icon = browser.get(icon.expect("an icon")).await.expect(200);
    assert_eq!(icon.header("content-type"), "image/svg+xml");
    assert!(icon.text.starts_with("<svg"));
}

#[tokio::test]
async fn the_door_says_what_helps_who_has_no_password() {
    let app = TestApp::new().await;
    let mut browser = Browser::new(&app);
    let said = "makes you a link to set one.";
    for page in [
        browser.get("/console/sign-in").await.expect(200),
        browser.sign_in("nobody@example.com", "wrong horse battery").await.expect(401),
    ] {
        assert_eq!(page.text.matches(said).count(), 1, "{}", page.text);
    }
}

#[tokio::test]
async fn signing_in_ends_the_session_that_the_browser_was_in() {
    let app = TestApp::new().await;
    person(&app, "ada@example.com", "auditor").await;
    person(&app, "bob@example.com", "auditor").await;
    let phone = signed_in(&app, "ada@example.com").await;
    let mut laptop = signed_in(&app, "ada@example.com").await;
    let link = app.app.sign_in_link("bob@example.com", app.company).await.expect("a link");
    let by_link = format!("/console/sign-in/{}", link.reveal());
    let by_password = [("email", "bob@example.com"), ("password", PASSWORD)];
    for (way, fields) in [("/console/sign-in", by_password.as_slice()), (&by_link, &[])] {
        let before = Browser { client: app.nobody.clone(), cookie: laptop.cookie.clone() };
        // An attempt that fails ends nothing.
        laptop.sign_in("bob@example.com", "wrong horse battery").await.expect(401);
        assert!(before.is_in().await);
        laptop.send(way, fields).await.expect(303);
        assert!(laptop.is_in().await);
        assert!(!before.is_in().await, "{way}");
    }
    let page = laptop.get("/console/sessions").await.expect(200).text;
    assert_eq!(page.matches("/end\"").count(), 0, "{page}");
    assert!(phone.is_in().await, "what is in another browser goes on");
}

#[tokio::test]
async fn a_link_on_another_site_leads_on_from_a_page_of_our_own() {
    let app = TestApp::new().await;
    person(&app, "ada@example.com", "auditor").await;
    let ada = signed_in(&app, "ada@example.com").await;
    let stranger = Browser::new(&app);
    let from = async |browser: &Browser, path: &str, site: &str| {
        browser.call(Method::GET, path).header("sec-fetch-site", site).await
    };
    for path in ["/console", "/console/audit?from=2026-03-01&x=\"<b>", "/console/sign-in?next=a"] {
        let path = path.replace('"', "%22").replace('<', "%3C").replace('>', "%3E");
        // The browser keeps the cookie to itself, and shows the page that leads on.
        let page = from(&stranger, &path, "cross-site").await.expect(200);
        let way =
            format!("http-equiv=\"refresh\" content=\"0;url={}\"", path.replace('&', "&amp;"));
        assert!(page.text.contains(&way), "{}", page.text);
        assert_eq!(page.header("set-cookie"), "");
        assert_eq!(page.header("cache-control"), "no-store");
    }
    // From there, the cookie goes along, and who has none gets to the door.
    from(&ada, "/console/audit", "same-origin").await.expect(200);
    for site in ["same-origin", "same-site", "none"] {
        let door = from(&stranger, "/console/audit", site).await.expect(303);
        assert_eq!(door.header("location"), "/console/sign-in?next=%2Fconsole%2Faudit");
        let form = from(&stranger, door.header("location"), site).await.expect(200);
        assert!(form.text.contains("name=\"password\""), "{}", form.text);
    }
    // A form from there is refused as ever, and a link that holds a secret is no page to go on to.
    let sent = stranger.call(Method::POST, "/console/sign-out");
    sent.header("sec-fetch-site", "cross-site").await.expect(403);
    let link = app.app.sign_in_link("ada@example.com", app.company).await.expect("a link");
    let link = format!("/console/sign-in/{}", link.reveal());
    let page = from(&stranger, &link, "cross-site").await.expect(200).text;
    assert!(page.contains("action=\"/console/sign-in/"), "{page}");
}

#[tokio::test]
async fn an_operator_in_no_company_is_called_one() {
    let app = TestApp::new().await;
    let body = json!({"email": "op@example.com", "role": "operator"});
    let path = format!("/v1/companies/{}/members", CompanyId::PLATFORM);
    let op = app.operator.post(&path).json(&body).await.expect(201).body;
    Browser::new(&app).send(&link_path(&op), &[("password", PASSWORD)]).await.expect(200);
    let op = signed_in(&app, "op@example.com").await;
    let page = op.get("/console/platform/companies").await.expect(200).text;
    assert!(page.contains("No company chosen"), "{page}");
    assert!(page.contains("</strong> <span class=\"quiet\">Operator</span>"), "{page}");
}

#[tokio::test]
async fn nobody_is_led_back_to_what_takes_only_forms() {
    let app = TestApp::new().await;
    person(&app, "ada@example.com", "auditor").await;
    let mut ada = signed_in(&app, "ada@example.com").await;
    let door = Browser::new(&app).get("/console/theme").await.expect(303);
    assert_eq!(door.header("location"), "/console/sign-in");
    let fields = [("email", "ada@example.com"), ("password", PASSWORD), ("next", "/console/theme")];
    let first = Browser::new(&app).send("/console/sign-in", &fields).await.expect(303);
    assert_eq!(first.header("location"), "/console");
    let token = ada.token().await;
    let body = form(&[("csrf", &token), ("theme", "dark")]);
    let chosen = ada.call(Method::POST, "/console/theme").header("sec-fetch-site", "same-origin");
    let chosen = chosen.header("referer", "http://localhost:8080/console/theme");
    let chosen = chosen.text("application/x-www-form-urlencoded", &body).await.expect(303);
    assert_eq!(chosen.header("location"), "/console");
    assert!(chosen.header("set-cookie").contains("HttpOnly; SameSite=Strict"));
    ada.send("/console/sign-out", &[("csrf", &token)]).await.expect(303);
}

#[tokio::test]
async fn nothing_is_shown_to_who_is_not_signed_in() {
    let app = TestApp::new().await;
    let service = std::sync::Arc::clone(&app.service);
    for (method, path, access) in token_ledger::console::routes(service).list() {
        use token_ledger::console::Access;
        if matches!(access, Access::Public | Access::Link) {
            continue;
        }
        let mut browser = Browser::new(&app);
        for cookie in [None, Some("token-ledger=tls_nothing".to_owned())] {
            browser.cookie = cookie;
            let answer = browser.call(method.clone(), path).await.expect(303);
            assert!(answer.header("location").starts_with("/console/sign-in"), "{path}");
        }
    }
    // An API key opens no page, and a session no API.
    app.admin.get("/console/sessions").await.expect(303);
    person(&app, "ada@example.com", "super_admin").await;
    let ada = signed_in(&app, "ada@example.com").await;
    ada.get(&app.path("/tokens")).await.expect(401);
}

#[tokio::test]
async fn forged_forms_change_nothing() {
    let app = TestApp::new().await;
    person(&app, "ada@example.com", "super_admin").await;
    person(&app, "bob@example.com", "super_admin").await;
    let mut ada = signed_in(&app, "ada@example.com").await;
    let bob = signed_in(&app, "bob@example.com").await;

    let others = bob.token().await;
    for token in ["", "x", &others] {
        ada.send("/console/sign-out", &[("csrf", token)]).await.expect(403);
    }
    ada.send("/console/sign-out", &[]).await.expect(403);
    let own = ada.token().await;
    let body = form(&[("csrf", &own)]);
    let forged = [
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-site", "same-site"),
        ("sec-fetch-site", "none"),
        ("origin", "https://evil.example"),
        ("origin", "null"),
    ];
    for (name, value) in forged {
        let call = ada.call(Method::POST, "/console/sign-out").header(name, value);
        call.text("application/x-www-form-urlencoded", &body).await.expect(403);
        let credentials = form(&[("email", "ada@example.com"), ("password", PASSWORD)]);
        let call = Browser::new(&app).call(Method::POST, "/console/sign-in").header(name, value);
        let answer = call.text("application/x-www-form-urlencoded", &credentials).await;
        assert_eq!(answer.expect(403).header("set-cookie"), "");
    }
    assert!(ada.is_in().await);
    // Our own origin is named by browsers without more.
    let call = ada.call(Method::POST, "/console/sign-out");
    let call = call.header("origin", "http://localhost:8080");
    call.text("application/x-www-form-urlencoded", &body).await.expect(303);
    assert!(!ada.is_in().await);
}

#[tokio::test]
async fn a_session_ends_when_unused_and_after_a_week() {
    let app = TestApp::new().await;
    person(&app, "ada@example.com", "auditor").await;
    let hour = 3600;
    let ada = signed_in(&app, "ada@example.com").await;
    app.after(13 * hour);
    assert!(!ada.is_in().await, "unused for half a day");
    let ada = signed_in(&app, "ada@example.com").await;
    for used in (13..13 + 7 * 24).step_by(6) {
        app.after(used * hour);
        assert!(ada.is_in().await, "after {used} hours");
    }
    app.after((13 + 7 * 24) * hour);
    assert!(!ada.is_in().await, "after a week");
}

#[tokio::test]
async fn a_clock_that_goes_back_brings_no_session_back() {
    let app = TestApp::new().await;
    person(&app, "ada@example.com", "auditor").await;
    let ada = signed_in(&app, "ada@example.com").await;
    app.after(13 * 3600);
    app.admin.get("/v1/whoami").await.expect(200);
    app.after(3600);
    ada.get("/console/tokens").await.expect(503);
    app.after(13 * 3600);
    assert!(!ada.is_in().await);
}

#[tokio::test]
async fn a_person_sees_and_ends_their_own_sessions_only() {
    let app = TestApp::new().await;
    person(&app, "ada@example.com", "auditor").await;
    person(&app, "bob@example.com", "auditor").await;
    let mut laptop = signed_in(&app, "ada@example.com").await;
    let phone = signed_in(&app, "ada@example.com").await;
    let mut bob = signed_in(&app, "bob@example.com").await;
    let page = laptop.get("/console/sessions").await.expect(200);
    assert_eq!(page.text.matches("/end\"").count(), 1, "{}", page.text);
    let (_, rest) = page.text.split_once("action=\"/console/sessions/").expect("a form");
    let end = format!("/console/sessions/{}", rest.split('"').next().unwrap_or_default());
    bob.post(&end, &[]).await.expect(303);
    assert!(phone.is_in().await, "Bob can't end it");
    laptop.post(&end, &[]).await.expect(303);
    assert!(!phone.is_in().await);
    assert!(laptop.is_in().await && bob.is_in().await);
}

#[tokio::test]
async fn a_new_password_ends_every_other_session() {
    let app = TestApp::new().await;
    person(&app, "ada@example.com", "auditor").await;
    let mut laptop = signed_in(&app, "ada@example.com").await;
    let phone = signed_in(&app, "ada@example.com").await;
    let fields = |old, new| [("old", old), ("password", new)];
    let new = "another horse battery";
    laptop.post("/console/password", &fields("wrong horse battery", new)).await.expect(422);
    laptop.post("/console/password", &fields(PASSWORD, "short")).await.expect(422);
    assert!(phone.is_in().await);
    let before = laptop.cookie.clone();
    let changed = laptop.post("/console/password", &fields(PASSWORD, new)).await.expect(303);
    let told = laptop.get(changed.header("location")).await.expect(200).text;
    assert!(told.contains("The password was changed. You are signed out everywhere"), "{told}");
    assert!(laptop.is_in().await && laptop.cookie != before);
    assert!(!phone.is_in().await);
    Browser::new(&app).sign_in("ada@example.com", PASSWORD).await.expect(401);
    Browser::new(&app).sign_in("ada@example.com", new).await.expect(303);
}

#[tokio::test]
async fn the_password_is_asked_again_after_hours() {
    let app = TestApp::new().await;
    person(&app, "ada@example.com", "auditor").await;
    let mut ada = signed_in(&app, "ada@example.com").await;
    let page = ada.get("/console/password").await.expect(200).text;
    assert!(page.contains("type=\"text\" name=\"username\" value=\"ada@example.com\""), "{page}");
    let must = async |browser: &Browser| {
        let cookie = browser.cookie.as_deref().and_then(|cookie| cookie.split_once('='));
        let visitor = app.app.visitor(cookie.expect("a cookie").1).await.expect("an answer");
        visitor.expect("a session").must_confirm(app.app.now())
    };
    assert!(!must(&ada).await);
    app.after(5 * 3600);
    assert!(must(&ada).await);
    let again = [("password", PASSWORD), ("next", "https://evil.example/")];
    ada.post("/console/confirm", &[("password", "wrong horse battery")]).await.expect(401);
    assert!(must(&ada).await);
    let answer = ada.post("/console/confirm", &again).await.expect(303);
    assert_eq!(answer.header("location"), "/console", "nobody is sent elsewhere");
    assert!(!must(&ada).await);
}

#[tokio::test]
async fn a_link_signs_in_once_and_within_the_hour() {
    let app = TestApp::new().await;
    person(&app, "ada@example.com", "super_admin").await;
    let path = async || {
        let link = app.app.sign_in_link("ada@example.com", app.company).await.expect("a link");
        format!("/console/sign-in/{}", link.reveal())
    };
    let first = path().await;
    let mut ada = Browser::new(&app);
    ada.get(&first).await.expect(200);
    assert!(!ada.is_in().await, "looking at it does nothing");
    let second = path().await;
    for spent in [ada.get(&first).await, ada.send(&first, &[]).await] {
        let spent = spent.expect(404).text;
        assert!(spent.contains("<h1>This link is no longer good</h1>"), "{spent}");
        assert!(spent.contains("href=\"/console/sign-in\">Sign in</a>"), "{spent}");
    }
    ada.send(&second, &[]).await.expect(303);
    assert!(ada.home().await.text.contains("Acme"));
    Browser::new(&app).send(&second, &[]).await.expect(404);
    let late = path().await;
    app.after(3600);
    Browser::new(&app).send(&late, &[]).await.expect(404);
}

#[tokio::test]
async fn a_session_ends_with_the_membership_or_when_it_is_lowered() {
    let app = TestApp::new().await;
    person(&app, "boss@example.com", "super_admin").await;
    let ada = person(&app, "ada@example.com", "super_admin").await;
    let browser = signed_in(&app, "ada@example.com").await;
    let lower = json!({"role": "auditor"});
    app.admin.patch(&member_path(&app, &ada)).json(&lower).await.expect(200);
    assert!(!browser.is_in().await, "lowered");
    let browser = signed_in(&app, "ada@example.com").await;
    let home = browser.home().await;
    assert!(home.text.contains("Auditor") && home.text.contains("<h1>Audit trail</h1>"));
    let raise = json!({"role": "super_admin"});
    app.admin.patch(&member_path(&app, &ada)).json(&raise).await.expect(200);
    assert!(browser.home().await.text.contains("Super Admin"), "raised");
    app.admin.delete(&member_path(&app, &ada)).await.expect(204);
    assert!(!browser.is_in().await, "removed");
    // Who is in no company can sign in, and has nowhere to go.
    let browser = signed_in(&app, "ada@example.com").await;
    let page = browser.get("/console/companies").await.expect(200);
    assert!(page.text.contains("member of no company"), "{}", page.text);
    browser.get("/console").await.expect(303);
}

#[tokio::test]
async fn a_download_that_is_only_asked_about_is_no_export() {
    let app = TestApp::new().await;
    person(&app, "ada@example.com", "auditor").await;
    let ada = signed_in(&app, "ada@example.com").await;
    let export = "/console/audit/export?format=csv";
    ada.call(Method::HEAD, export).await.expect(200);
    let list = app.path("/audit/exports");
    assert_eq!(app.auditor.get(&list).await.expect(200).body["items"], json!([]));
    ada.get(export).await.expect(200);
    let noted = app.auditor.get(&list).await.expect(200).body;
    assert_eq!(noted["items"][0]["action"]["route"], "/console/audit/export");
}

/// Who signed in to a company, as its auditor sees it, the newest first: by which route, and as whom.
async fn sign_ins(client: &Client, company: CompanyId) -> Vec<(String, Value)> {
    let path = format!("/v1/companies/{company}/audit/sign-ins");
    let page = client.get(&path).await.expect(200).body;
    let items = page["items"].as_array().expect("a list").iter();
    items
        .map(|item| {
            let route = item["action"]["route"].as_str().expect("a route").to_owned();
            assert_eq!(item["context"]["ip"], "192.0.2.7");
            assert!(item["context"]["request_id"].is_string());
            (route, item["actor"].clone())
        })
        .collect()
}

#[tokio::test]
async fn a_company_sees_who_enters_it() {
    let app = TestApp::new().await;
    let (globex, admin) = app.another_company("Globex").await;
    let members = |company: CompanyId| format!("/v1/companies/{company}/members");
    let add = async |company: CompanyId, email: &str, role: &str| {
        let body = json!({"email": email, "role": role});
        app.operator.post(&members(company)).json(&body).await.expect(201).body
    };
    let here = add(app.company, "ada@example.com", "auditor").await;
    let there = add(globex, "ada@example.com", "auditor").await;
    let op = add(CompanyId::PLATFORM, "op@example.com", "operator").await;
    for member in [&there, &op] {
        let id = member["member_id"].as_str().expect("an id");
        let company = member["company_id"].as_str().expect("an id");
        let path = format!("/v1/companies/{company}/members/{id}/password-link");
        let link = app.operator.post(&path).await.expect(201).body;
        let set = [("password", PASSWORD)];
        Browser::new(&app).send(&link_path(&link), &set).await.expect(200);
    }
    let enter = async |browser: &mut Browser, company: CompanyId| {
        let fields = [("company_id", &*company.to_string())];
        browser.post("/console/companies", &fields).await.expect(303);
    };
    let mut ada = signed_in(&app, "ada@example.com").await;
    for (second, company) in (1..).zip([app.company, app.company, globex, app.company]) {
        app.after(second);
        enter(&mut ada, company).await;
    }
    app.after(5);
    let mut operator = signed_in(&app, "op@example.com").await;
    enter(&mut operator, globex).await;

    let entry = |kind: &str, member: &Value| {
        let actor = json!({"type": kind, "id": member["member_id"]});
        ("/console/companies".to_owned(), actor)
    };
    let once = entry("member", &here);
    assert_eq!(sign_ins(&app.auditor, app.company).await, [once.clone(), once]);
    let theirs = [entry("operator", &op), entry("member", &there)];
    assert_eq!(sign_ins(&admin, globex).await, theirs);
    let signed_in = |actor| ("/console/sign-in".to_owned(), actor);
    let known = signed_in(json!({"type": "operator", "id": op["member_id"]}));
    let found = sign_ins(&app.operator, CompanyId::PLATFORM).await;
    assert_eq!(found, [known, signed_in(Value::Null)]);
}

#[tokio::test]
async fn no_link_outlives_the_membership_that_it_was_for() {
    let app = TestApp::new().await;
    let remove = async |member: &Value| {
        app.admin.delete(&member_path(&app, member)).await.expect(204);
    };
    let is_void = async |path: &str| {
        app.nobody.get(path).await.expect(404);
        Browser::new(&app).send(path, &[("password", PASSWORD)]).await.expect(404);
    };
    member(&app, "boss@example.com", "super_admin").await;
    // Whoever has the link instead of her gets in neither now nor when she is back.
    let ada = member(&app, "ada@example.com", "super_admin").await;
    remove(&ada).await;
    is_void(&link_path(&ada)).await;
    let back = member(&app, "ada@example.com", "super_admin").await;
    is_void(&link_path(&ada)).await;
    Browser::new(&app).send(&link_path(&back), &[("password", PASSWORD)]).await.expect(200);
    let again = format!("{}/password-link", member_path(&app, &back));
    let again = app.admin.post(&again).await.expect(201).body;
    remove(&back).await;
    let back = member(&app, "ada@example.com", "super_admin").await;
    assert_eq!(back["set_password_url"], Value::Null, "she has a password");
    is_void(&link_path(&again)).await;

    // Nor does an operator's link, unless she stays in some company.
    let body = json!({"email": "grace@example.com", "role": "auditor"});
    let grace = app.operator.post(&app.path("/members")).json(&body).await.expect(201).body;
    remove(&grace).await;
    is_void(&link_path(&grace)).await;
    let grace = app.operator.post(&app.path("/members")).json(&body).await.expect(201).body;
    let (globex, admin) = app.another_company("Globex").await;
    let path = format!("/v1/companies/{globex}/members");
    let there = admin.post(&path).json(&body).await.expect(201).body;
    let there = format!("{path}/{}", there["member_id"].as_str().unwrap());
    let stays = format!("{}/password-link", member_path(&app, &grace));
    let stays = app.operator.post(&stays).await.expect(201).body;
    admin.delete(&there).await.expect(204);
    Browser::new(&app).send(&link_path(&stays), &[("password", PASSWORD)]).await.expect(200);
}

#[tokio::test]
async fn who_is_in_several_companies_chooses_one() {
    let app = TestApp::new().await;
    // Every company takes an operator's word for who she is.
    let body = json!({"email": "ada@example.com", "role": "auditor"});
    let ada = app.operator.post(&app.path("/members")).json(&body).await.expect(201).body;
    Browser::new(&app).send(&link_path(&ada), &[("password", PASSWORD)]).await.expect(200);
    let (globex, admin) = app.another_company("Globex").await;
    let (initech, _) = app.another_company("Initech").await;
    let body = json!({"email": "ada@example.com", "role": "super_admin"});
    let path = format!("/v1/companies/{globex}/members");
    let there = admin.post(&path).json(&body).await.expect(201).body;
    assert_eq!(there["set_password_url"], Value::Null, "she has an account");
    assert_eq!(there["may_enter"], true);

    let mut ada = signed_in(&app, "ada@example.com").await;
    assert_eq!(ada.get("/console").await.expect(303).header("location"), "/console/companies");
    let choice = ada.get("/console/companies").await.expect(200);
    assert!(choice.text.contains("Acme") && choice.text.contains("Globex"));
    assert!(!choice.text.contains("Initech"));
    // What was asked for before is gone on to, and nothing else is.
    let wanted = "/console/tokens?status=deleted";
    let way = ada.get(wanted).await.expect(303).header("location").to_owned();
    assert_eq!(way, "/console/companies?next=%2Fconsole%2Ftokens%3Fstatus%3Ddeleted");
    let choice = ada.get(&way).await.expect(200);
    let field = format!("name=\"next\" value=\"{wanted}\"");
    assert_eq!(choice.text.matches(&field).count(), 2, "one for each company: {}", choice.text);
    for (next, gone) in [(wanted, wanted), ("https://evil.example/", "/console/audit")] {
        let fields = [("company_id", &*app.company.to_string()), ("next", next)];
        let entered = ada.post("/console/companies", &fields).await.expect(303);
        assert_eq!(entered.header("location"), gone);
    }
    let enter = |company: CompanyId| company.to_string();
    ada.post("/console/companies", &[("company_id", &enter(initech))]).await.expect(404);
    ada.post("/console/companies", &[("company_id", &enter(globex))]).await.expect(303);
    assert!(ada.home().await.text.contains("Super Admin"));
    // Removal from where she is not leaves the session alone; from where she is, it ends it.
    let here = app.admin.get(&app.path("/members")).await.expect(200).body;
    let acme = app.path(&format!("/members/{}", here["items"][0]["member_id"].as_str().unwrap()));
    let boss = json!({"email": "boss@example.com", "role": "super_admin"});
    admin.post(&path).json(&boss).await.expect(201);
    app.admin.delete(&acme).await.expect(204);
    assert!(ada.is_in().await);
    let globex_member = format!("{path}/{}", there["member_id"].as_str().unwrap());
    admin.delete(&globex_member).await.expect(204);
    assert!(!ada.is_in().await);
}

#[tokio::test]
async fn who_was_erased_from_a_company_acts_in_others_only() {
    let app = TestApp::new().await;
    let body = json!({"email": "ada@example.com", "role": "super_admin"});
    let ada = app.operator.post(&app.path("/members")).json(&body).await.expect(201).body;
    Browser::new(&app).send(&link_path(&ada), &[("password", PASSWORD)]).await.expect(200);
    let (globex, admin) = app.another_company("Globex").await;
    let members = format!("/v1/companies/{globex}/members");
    admin.post(&members).json(&body).await.expect(201);
    let mut browser = signed_in(&app, "ada@example.com").await;
    let company = app.company.to_string();
    let enter = [("company_id", company.as_str())];
    browser.post("/console/companies", &enter).await.expect(303);

    let path = app.path(&format!("/people/{}/erase", ada["person_id"].as_str().unwrap()));
    let body = json!({"reason": "asked for"});
    let erased = app.operator.post(&path).json(&body).await.expect(200).body;
    assert_eq!(erased["account"], false, "Globex needs it");
    assert!(!browser.is_in().await, "her session was in the company");
    let mut again = signed_in(&app, "ada@example.com").await;
    assert!(again.home().await.text.contains("Globex"));
    again.post("/console/companies", &enter).await.expect(404);
    // The company has forgotten who its member is.
    let member = app.path(&format!("/members/{}", ada["member_id"].as_str().unwrap()));
    let alone = app.admin.get(&member).await.expect(200).body;
    let listed = app.admin.get(&app.path("/members")).await.expect(200).body;
    for shown in [&alone, &listed["items"][0]] {
        assert_eq!(shown["email"], Value::Null, "{shown}");
        assert_eq!((&shown["password_set"], &shown["may_enter"]), (&json!(false), &json!(false)));
    }
    let there = admin.get(&members).await.expect(200).body;
    assert_eq!(there["items"][0]["email"], "ada@example.com");
}

#[tokio::test]
async fn a_password_set_by_one_companys_link_opens_no_other() {
    let app = TestApp::new().await;
    let (globex, admin) = app.another_company("Globex").await;
    let path = format!("/v1/companies/{globex}/members");
    // Somebody at Acme takes the address of somebody at Globex, and the link with it.
    let here = person(&app, "cfo@globex.example", "auditor").await;
    let mut taker = signed_in(&app, "cfo@globex.example").await;
    let body = json!({"email": "cfo@globex.example", "role": "super_admin"});
    let there = admin.post(&path).json(&body).await.expect(201).body;
    assert_eq!(there["set_password_url"], Value::Null);
    assert_eq!((&there["password_set"], &there["may_enter"]), (&json!(true), &json!(false)));
    let acme = app.admin.get(&member_path(&app, &here)).await.expect(200).body;
    assert_eq!(acme["may_enter"], true);

    let enter = [("company_id", &*globex.to_string())];
    taker.post("/console/companies", &enter).await.expect(403);
    let mut again = signed_in(&app, "cfo@globex.example").await;
    let choice = again.get("/console/companies").await.expect(200);
    assert!(choice.text.contains("doesn’t let you into"), "{}", choice.text);
    assert!(!choice.text.contains(&globex.to_string()), "{}", choice.text);
    again.post("/console/companies", &enter).await.expect(403);
    // Neither company gets a link that would open the other.
    let there = format!("{path}/{}", there["member_id"].as_str().unwrap());
    let link = format!("{there}/password-link");
    admin.post(&link).await.problem(403, "above-own-power");
    let heres = format!("{}/password-link", member_path(&app, &here));
    app.admin.post(&heres).await.problem(403, "above-own-power");
    // An operator's link is for the person alone, and ends what the other password began.
    let made = app.operator.post(&link).await.expect(201).body;
    let other = "another horse entirely";
    Browser::new(&app).send(&link_path(&made), &[("password", other)]).await.expect(200);
    assert!(!taker.is_in().await && !again.is_in().await);
    Browser::new(&app).sign_in("cfo@globex.example", PASSWORD).await.expect(401);
    let mut cfo = Browser::new(&app);
    cfo.sign_in("cfo@globex.example", other).await.expect(303);
    cfo.post("/console/companies", &enter).await.expect(303);
    assert!(cfo.home().await.text.contains("Globex"));
    assert_eq!(admin.get(&there).await.expect(200).body["may_enter"], true);
}

#[tokio::test]
async fn whoever_left_the_company_of_their_link_gets_one_of_the_next() {
    let app = TestApp::new().await;
    let (globex, admin) = app.another_company("Globex").await;
    let here = person(&app, "ada@example.com", "auditor").await;
    app.admin.delete(&member_path(&app, &here)).await.expect(204);
    let body = json!({"email": "ada@example.com", "role": "auditor"});
    let path = format!("/v1/companies/{globex}/members");
    let there = admin.post(&path).json(&body).await.expect(201).body;
    assert_eq!(there["may_enter"], false);
    let mut ada = signed_in(&app, "ada@example.com").await;
    ada.post("/console/companies", &[("company_id", &*globex.to_string())]).await.expect(403);
    Browser::new(&app).send(&link_path(&there), &[("password", PASSWORD)]).await.expect(200);
    assert!(signed_in(&app, "ada@example.com").await.home().await.text.contains("Globex"));
}

#[tokio::test]
async fn an_operator_is_who_an_operator_vouches_for() {
    let app = TestApp::new().await;
    let platform = format!("/v1/companies/{}/members", CompanyId::PLATFORM);
    let key = crate::support::key(&app.app, CompanyId::PLATFORM, "ledger.admin").await;
    let super_admin = app.nobody.with(key);
    let body = json!({"email": "eve@example.com", "role": "auditor"});
    let eve = super_admin.post(&platform).json(&body).await.expect(201).body;
    Browser::new(&app).send(&link_path(&eve), &[("password", PASSWORD)]).await.expect(200);
    let mut browser = signed_in(&app, "eve@example.com").await;
    assert!(browser.home().await.text.contains("Auditor"));
    // Who gave the link out must not become an operator by it.
    let path = format!("{platform}/{}", eve["member_id"].as_str().unwrap());
    let role = json!({"role": "operator"});
    let promoted = app.operator.patch(&path).json(&role).await.expect(200).body;
    assert_eq!(promoted["may_enter"], false);
    assert!(!browser.is_in().await);
    browser.sign_in("eve@example.com", PASSWORD).await.expect(303);
    for company in [app.company, CompanyId::PLATFORM] {
        let enter = [("company_id", &*company.to_string())];
        let answer = browser.post("/console/companies", &enter).await;
        assert!([403, 404].contains(&answer.status.as_u16()), "{}", answer.text);
    }
    let link = app.operator.post(&format!("{path}/password-link")).await.expect(201).body;
    Browser::new(&app).send(&link_path(&link), &[("password", PASSWORD)]).await.expect(200);
    let mut browser = signed_in(&app, "eve@example.com").await;
    let enter = [("company_id", &*app.company.to_string())];
    browser.post("/console/companies", &enter).await.expect(303);
}

#[tokio::test]
async fn an_operator_enters_every_company_and_acts_as_operator() {
    let app = TestApp::new().await;
    let body = json!({"email": "op@example.com", "role": "operator"});
    let platform = format!("/v1/companies/{}/members", CompanyId::PLATFORM);
    let asked = app.admin.post(&app.path("/members")).json(&body).await;
    asked.problem(403, "above-own-power");
    let member = app.operator.post(&platform).json(&body).await.expect(201).body;
    let mut browser = Browser::new(&app);
    browser.send(&link_path(&member), &[("password", PASSWORD)]).await.expect(200);
    let mut browser = signed_in(&app, "op@example.com").await;
    let entered = browser
        .post("/console/companies", &[("company_id", &app.company.to_string())])
        .await
        .expect(303);
    assert_eq!(entered.header("location"), "/console/tokens", "the company is what was chosen");
    let home = browser.home().await;
    assert!(home.text.contains("Operator") && home.text.contains("Acme"), "{}", home.text);
    assert!(home.text.contains("<h1>Companies</h1>"), "{}", home.text);
    let cookie = browser.cookie.as_deref().and_then(|cookie| cookie.split_once('=')).unwrap().1;
    let visitor = app.app.visitor(cookie).await.expect("an answer").expect("a session");
    let caller = visitor.caller(&token_ledger::app::sessions::Origin::default()).expect("a power");
    assert_eq!(caller.company, app.company);
    assert_eq!(caller.actor.kind.as_str(), "operator");
    assert_eq!(caller.actor.id.to_string(), member["member_id"].as_str().unwrap());
    assert_eq!(caller.name.as_deref(), Some("op@example.com"));
}

#[tokio::test]
async fn an_operator_runs_the_platform_without_choosing_a_company() {
    let app = TestApp::new().await;
    let body = json!({"email": "op@example.com", "role": "operator"});
    let platform = format!("/v1/companies/{}/members", CompanyId::PLATFORM);
    let member = app.operator.post(&platform).json(&body).await.expect(201).body;
    Browser::new(&app).send(&link_path(&member), &[("password", PASSWORD)]).await.expect(200);
    let mut op = signed_in(&app, "op@example.com").await;
    let way = op.get("/console").await.expect(303);
    assert_eq!(way.header("location"), "/console/platform/companies");
    let projections = "/console/platform/projections";
    for path in [way.header("location"), projections, "/console/sessions", "/console/password"] {
        let page = op.get(path).await.expect(200).text;
        assert!(page.contains("No company chosen") && page.contains(projections), "{page}");
        assert!(!page.contains("href=\"/console/tokens\""), "{page}");
    }
    op.post("/console/platform/companies/new", &[("name", "Globex")]).await.expect(303);
    assert!(op.get(way.header("location")).await.text.contains("Globex"));
    // Whatever is about a company asks for one.
    for path in ["/console/tokens", "/console/members", "/console/audit"] {
        let asked = op.get(path).await.expect(303);
        assert!(asked.header("location").starts_with("/console/companies?next="), "{path}");
    }
    // Who is no operator any more, or never was, gets there neither with a company nor without.
    let (globex, admin) = app.another_company("Initech").await;
    let body = json!({"email": "ada@example.com", "role": "super_admin"});
    let ada = app.operator.post(&app.path("/members")).json(&body).await.expect(201).body;
    Browser::new(&app).send(&link_path(&ada), &[("password", PASSWORD)]).await.expect(200);
    admin.post(&format!("/v1/companies/{globex}/members")).json(&body).await.expect(201);
    let mut ada = signed_in(&app, "ada@example.com").await;
    let lower = json!({"role": "auditor"});
    let path = format!("{platform}/{}", member["member_id"].as_str().unwrap());
    let other = json!({"email": "other@example.com", "role": "operator"});
    app.operator.post(&platform).json(&other).await.expect(201);
    app.operator.patch(&path).json(&lower).await.expect(200);
    for browser in [&mut ada, &mut op] {
        for path in [way.header("location"), projections] {
            let refused = browser.get(path).await.expect(303);
            assert!(refused.header("location").starts_with("/console/companies?next="), "{path}");
        }
        let page = browser.get("/console/sessions").await.expect(200).text;
        assert!(!page.contains(projections), "{page}");
        let named = [("name", "Hooli")];
        browser.post("/console/platform/companies/new", &named).await.expect(303);
    }
    let enter = [("company_id", &*app.company.to_string())];
    ada.post("/console/companies", &enter).await.expect(303);
    ada.get(projections).await.expect(403);
    let companies = app.operator.get("/v1/companies").await.expect(200).text;
    assert!(companies.contains("Globex") && !companies.contains("Hooli"), "{companies}");
}

#[tokio::test]
async fn another_company_is_offered_where_there_is_one() {
    let app = TestApp::new().await;
    person(&app, "ada@example.com", "auditor").await;
    let ada = signed_in(&app, "ada@example.com").await;
    let offer = "aria-label=\"Change company\"";
    assert!(!ada.home().await.text.contains(offer));
    let (globex, admin) = app.another_company("Globex").await;
    let body = json!({"email": "ada@example.com", "role": "auditor"});
    admin.post(&format!("/v1/companies/{globex}/members")).json(&body).await.expect(201);
    assert!(ada.home().await.text.contains(offer));
    assert!(!ada.get("/console/companies").await.expect(200).text.contains(offer));
}

#[tokio::test]
async fn who_was_signed_out_is_told_and_who_signs_out_is_not() {
    let app = TestApp::new().await;
    let told = "You were signed out.";
    person(&app, "boss@example.com", "super_admin").await;
    let ada = person(&app, "ada@example.com", "super_admin").await;
    let browser = signed_in(&app, "ada@example.com").await;
    // Whoever is signed in goes on, and is told of no loss.
    for (asked, next) in [
        ("", "/console"),
        ("?next=%2Fconsole%2Fkeys&unsaved=true", "/console/keys"),
        ("?next=https%3A%2F%2Fevil.example%2F", "/console"),
    ] {
        let way = browser.get(&format!("/console/sign-in{asked}")).await.expect(303);
        assert_eq!(way.header("location"), next);
    }
    app.admin.delete(&member_path(&app, &ada)).await.expect(204);
    let way = browser.get("/console/tokens").await.expect(303);
    let page = browser.get(way.header("location")).await.expect(200).text;
    assert!(page.contains(told), "{page}");
    let mut boss = signed_in(&app, "boss@example.com").await;
    boss.post("/console/sign-out", &[]).await.expect(303);
    assert!(!boss.get("/console/sign-in").await.expect(200).text.contains(told));
}

#[tokio::test]
async fn what_setup_prints_signs_in() {
    let app = TestApp::new().await;
    let email = Email::new("first@example.com").unwrap();
    let name = token_ledger_domain::Name::new("Hooli").unwrap();
    let made = app.app.set_up(&name, &email).await.expect("it is set up");
    let password = made.password.expect("a password");
    let mut browser = Browser::new(&app);
    browser.sign_in("first@example.com", &password).await.expect(303);
    assert!(browser.home().await.text.contains("Hooli"));
    let twice = app.app.set_up(&name, &email).await;
    assert!(matches!(twice, Err(token_ledger::app::AppError::NameTaken(_))), "{twice:?}");
}

#[tokio::test]
async fn known_and_unknown_addresses_take_the_same_work() {
    let app = TestApp::new().await;
    person(&app, "ada@example.com", "auditor").await;
    member(&app, "new@example.com", "auditor").await;
    for (email, password) in [
        ("ada@example.com", "wrong horse battery"),
        ("ada@example.com", ""),
        ("nobody@example.com", PASSWORD),
        // Has an account, and no password yet.
        ("new@example.com", PASSWORD),
        ("no address", PASSWORD),
        ("", PASSWORD),
    ] {
        let before = app.app.passwords_hashed();
        Browser::new(&app).sign_in(email, password).await.expect(401);
        assert_eq!(app.app.passwords_hashed() - before, 1, "{email:?}");
    }
}

#[tokio::test]
async fn the_cookie_of_a_public_service_goes_over_tls_only_and_is_its_own() {
    let app = TestApp::new().await;
    person(&app, "ada@example.com", "auditor").await;
    for public in ["https://ledger.example", "https://localhost:8443", "http://ledger.example"] {
        let mut browser = Browser { client: app.known_as(public), cookie: None };
        let answer = browser.sign_in("ada@example.com", PASSWORD).await.expect(303);
        let cookie = answer.header("set-cookie");
        let (pair, attributes) = cookie.split_once("; ").expect("attributes");
        let (name, secret) = pair.split_once('=').expect("a value");
        // What the prefix demands (RFC 6265bis §4.1.3.2): Secure, the whole host, no Domain.
        assert_eq!(name, "__Host-token-ledger", "{public}");
        let mut attributes: Vec<&str> = attributes.split("; ").collect();
        attributes.sort_unstable();
        let [http_only, max_age, path, same_site, secure] = attributes.as_slice() else {
            panic!("{cookie}")
        };
        assert_eq!((*http_only, *path, *secure), ("HttpOnly", "Path=/", "Secure"), "{public}");
        assert_eq!(*same_site, "SameSite=Strict");
        assert!(max_age.starts_with("Max-Age="), "{cookie}");
        assert!(browser.is_in().await, "{public}");

        // Another host of the domain could set a cookie of the plain name.
        let tossed = Some(format!("token-ledger={secret}"));
        assert!(!Browser { client: browser.client.clone(), cookie: tossed }.is_in().await);

        let answer = browser.post("/console/sign-out", &[]).await.expect(303);
        let ended = answer.header("set-cookie");
        assert!(ended.starts_with("__Host-token-ledger=; Path=/; Max-Age=0; "), "{ended}");
        assert!(ended.ends_with("; Secure"), "{ended}");
    }
    for local in ["http://localhost:8080", "http://127.0.0.1:8080", "http://[::1]:8080"] {
        let mut browser = Browser { client: app.known_as(local), cookie: None };
        let answer = browser.sign_in("ada@example.com", PASSWORD).await.expect(303);
        let cookie = answer.header("set-cookie");
        assert!(cookie.starts_with("token-ledger=") && !cookie.contains("Secure"), "{cookie}");
        assert!(browser.is_in().await, "{local}");
    }
}
