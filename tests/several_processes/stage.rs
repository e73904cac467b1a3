//! A ledger with a company, and processes that serve it as the service's role.

use crate::process::{Company, Place, Serving};
use reqwest::Method;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// How old a process's knowledge of what the others did may be.
pub const BOUND: Duration = Duration::from_secs(1);
/// How long anything may take that will come at all.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// Who the processes are at the database: somebody who owns nothing.
pub const SERVICE: &str = "ledger_test_service";

/// A ledger in a database of its own, with a company whose module is on.
pub struct Stage {
    pub place: Place,
    pub company: Company,
}

impl Stage {
    pub async fn new() -> Self {
        Self::on(Place::postgres()).await
    }

    pub async fn on(place: Place) -> Self {
        let company = place.setup("Acme");
        place.database().let_in(SERVICE, "token_ledger_service").await;
        Self { place, company }
    }

    /// The database's URL for the service.
    pub fn url(&self) -> String {
        self.place.database().url_as(SERVICE)
    }

    pub fn serve(&self) -> Node {
        self.serve_at(&self.url(), &[])
    }

    pub fn serve_three(&self) -> [Node; 3] {
        [self.serve(), self.serve(), self.serve()]
    }

    /// A process that reaches the database by this URL, with this in its environment.
    pub fn serve_at(&self, url: &str, environment: &[(&str, &str)]) -> Node {
        let mut command = self.place.command(&["serve", "--listen", "127.0.0.1:0", "--no-migrate"]);
        command.env("TOKEN_LEDGER_DATABASE_URL", url).envs(environment.iter().copied());
        Node::new(Serving::start(command), &self.company)
    }

    /// Whether everything that the ledger holds is as it has to be.
    pub fn check(&self) {
        self.place.run(&["verify"]).done();
        self.place.run(&["replay", "--check"]).done();
    }
}

/// What a process answers.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: reqwest::header::HeaderMap,
    /// The body as JSON; null where it is none.
    pub body: Value,
    pub text: String,
}

impl Answer {
    /// The answer, which must have this status.
    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{self:?}");
        self
    }

    /// A field of the answer that is a text.
    #[track_caller]
    pub fn field(&self, field: &str) -> String {
        self.body[field].as_str().unwrap_or_else(|| panic!("no {field}: {self:?}")).to_owned()
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}

/// A process, and a caller of it.
pub struct Node {
    pub serving: Serving,
    pub caller: Caller,
}

impl std::ops::Deref for Node {
    type Target = Caller;

    fn deref(&self) -> &Caller {
        &self.caller
    }
}

impl Node {
    pub fn new(serving: Serving, company: &Company) -> Self {
        let caller = Caller {
            base: serving.base.clone(),
            http: reqwest::Client::new(),
            company: company.clone(),
        };
        Self { serving, caller }
    }

    /// Somebody of another company who asks the same process.
    pub fn caller_of(&self, company: &Company) -> Caller {
        Caller { company: company.clone(), ..self.caller.clone() }
    }

    #[track_caller]
    pub fn stop(self) {
        self.serving.stop();
    }
}

/// Somebody who has all keys of a company and asks one process.
#[derive(Clone)]
pub struct Caller {
    base: String,
    http: reqwest::Client,
    pub company: Company,
}

impl Caller {
    pub fn request(&self, method: Method, path: &str, key: &str) -> reqwest::RequestBuilder {
        self.http.request(method, format!("{}{path}", self.base)).bearer_auth(key)
    }

    /// A request of an OAuth client.
    pub fn as_client(&self, id: &str, secret: &str, path: &str) -> reqwest::RequestBuilder {
        self.http.post(format!("{}{path}", self.base)).basic_auth(id, Some(secret))
    }

    /// Asks; none where the process ended before it answered.
    pub async fn try_send(request: reqwest::RequestBuilder) -> Option<Answer> {
        let response = request.send().await.ok()?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let text = response.text().await.ok()?;
        let body = serde_json::from_str(&text).unwrap_or(Value::Null);
        Some(Answer { status, headers, body, text })
    }

    pub async fn send(request: reqwest::RequestBuilder) -> Answer {
        Self::try_send(request).await.expect("an answer")
    }

    /// A path below the company.
    pub fn path(&self, below: &str) -> String {
        format!("/v1/companies/{}{below}", self.company.id)
    }

    /// Asks as a Super Admin.
    pub async fn ask(&self, method: Method, below: &str, body: Option<Value>) -> Answer {
        let request = self.request(method, &self.path(below), &self.company.admin_key);
        Self::send(match body {
            Some(body) => request.json(&body),
            None => request,
        })
        .await
    }

    pub async fn create(&self, name: &str) -> Answer {
        let body = json!({"name": name, "scopes": ["positions"]});
        self.ask(Method::POST, "/tokens", Some(body)).await
    }

    pub async fn delete(&self, token_id: &str) -> Answer {
        self.ask(Method::DELETE, &format!("/tokens/{token_id}"), None).await
    }

    pub async fn set_module(&self, enabled: bool) -> Answer {
        let key = &self.company.operator_key;
        let request = self.request(Method::PUT, &self.path("/oauth-app"), key);
        Self::send(request.json(&json!({"enabled": enabled}))).await
    }

    pub async fn verify(&self, secret: &str) -> Answer {
        Self::send(self.request(Method::GET, "/v1/verify", secret)).await
    }

    pub async fn introspect(&self, secret: &str) -> Answer {
        let request = self.request(Method::POST, "/oauth/introspect", &self.company.introspect_key);
        let form = request.header("content-type", "application/x-www-form-urlencoded");
        Self::send(form.body(format!("token={secret}"))).await
    }

    /// The newest signed checkpoint.
    pub async fn checkpoint(&self) -> Answer {
        let path = self.path("/log/checkpoint");
        Self::send(self.request(Method::GET, &path, &self.company.audit_key)).await
    }

    pub async fn readiness(&self) -> Answer {
        Self::send(self.request(Method::GET, "/readyz", "")).await
    }

    /// All events of the company's ledger.
    pub async fn events(&self) -> Vec<Value> {
        self.events_if_known().await.expect("the audit trail has caught up")
    }

    /// All events of the company's ledger; none while the audit trail has not caught up with it.
    pub async fn events_if_known(&self) -> Option<Vec<Value>> {
        let mut events = Vec::new();
        let mut cursor = String::new();
        loop {
            let path = self.path(&format!("/audit/events?order=asc&limit=1000{cursor}"));
            let request = self.request(Method::GET, &path, &self.company.audit_key);
            let answer = Self::send(request).await;
            if answer.status == 503 {
                return None;
            }
            let mut page = answer.expect(200);
            events.append(page.body["items"].as_array_mut().expect("a list"));
            let Some(next) = page.body["next_cursor"].as_str() else { return Some(events) };
            cursor = format!("&cursor={next}");
        }
    }
}

/// Asks until the answer is this; answers how long that took since then.
pub async fn until<T, F: Future<Output = T>>(
    what: &str,
    mut ask: impl FnMut() -> F,
    holds: impl Fn(&T) -> bool,
) -> T
where
    T: std::fmt::Debug,
{
    let began = Instant::now();
    loop {
        let answer = ask().await;
        if holds(&answer) {
            return answer;
        }
        assert!(began.elapsed() < PATIENCE, "{what}: {answer:?}");
        tokio::time::sleep(LOOK).await;
    }
}

/// How long to wait before asking again what will be so sooner or later.
pub const LOOK: Duration = Duration::from_millis(10);

/// The median and the largest.
pub fn median_and_worst(durations: &mut [Duration]) -> (Duration, Duration) {
    durations.sort();
    (durations[durations.len() / 2], durations[durations.len() - 1])
}
