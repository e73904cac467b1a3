//! A whole service in a line: a database of its own, a clock that stands still, a company with
//! keys, and clients that call it in-process.

#![allow(dead_code)]

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::ConnectInfo;
use axum::http::{HeaderMap, HeaderValue, Method, Request, StatusCode, header};
use futures::future::BoxFuture;
use futures::{StreamExt, stream};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use std::convert::Infallible;
use std::future::IntoFuture;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Wake, Waker};
use tempfile::TempDir;
use token_ledger::app::keys::NewKey;
use token_ledger::app::{App, Caller, Choices, Conditions};
use token_ledger::config::DatabaseUrl;
use token_ledger::http::{Documents, Proxies, Service, router};
use token_ledger_domain::company::{Company, CompanyCommand};
use token_ledger_domain::{CompanyId, Name, Power, Timestamp};
use token_ledger_event_store::clock::SetClock;
use token_ledger_event_store::{Access, Context, Ledger, Request as LedgerRequest, SystemEntropy};
use token_ledger_test_cluster::TestDatabase;
use tokio::sync::{Notify, oneshot, watch};
use tokio::task::JoinHandle;
use tower::ServiceExt;

/// When every test begins.
pub const START: &str = "2026-03-01T09:00:00Z";

/// That many seconds after the test began.
pub fn at(seconds: i64) -> Timestamp {
    START.parse::<Timestamp>().expect("a time").plus_seconds(seconds)
}

/// Who the service runs as on PostgreSQL: somebody who owns nothing.
const SERVICE: &str = "ledger_test_service";

/// A database of a test's own.
#[derive(Debug)]
pub enum Storage {
    /// A file in a folder that goes with it.
    Sqlite(TempDir),
    /// A database with a schema that is up to date, and the folder of what is kept outside it.
    Postgres(TestDatabase, TempDir),
}

impl Storage {
    /// On the database that tests run on.
    pub async fn new() -> Self {
        if !token_ledger_test_cluster::is_chosen() {
            return Self::sqlite();
        }
        let place = TestDatabase::fresh().await;
        let config = token_ledger_event_store::postgres::Config::new(place.url());
        token_ledger_event_store::postgres::Database::connect(config).await.expect("a schema");
        place.let_in(SERVICE, "token_ledger_service").await;
        Self::Postgres(place, TempDir::new().expect("a folder"))
    }

    /// A file, whichever database tests run on.
    pub fn sqlite() -> Self {
        Self::Sqlite(TempDir::new().expect("a folder"))
    }

    pub fn url(&self) -> DatabaseUrl {
        match self {
            Self::Sqlite(folder) => DatabaseUrl::Sqlite(folder.path().join("ledger.db")),
            Self::Postgres(place, _) => place.url_as(SERVICE).parse().expect("a URL"),
        }
    }

    /// Changes it behind the service's back, also what is not to be changed.
    pub fn tamper(&self, sql: &str) {
        match self {
            Self::Sqlite(folder) => {
                let file = folder.path().join("ledger.db");
                let database = rusqlite::Connection::open(file).expect("the ledger's file");
                let lifted = "DROP TRIGGER IF EXISTS events_are_never_changed;";
                database.execute_batch(&format!("{lifted} {sql}")).expect("it is changed");
            }
            Self::Postgres(place, _) => {
                place.run_blocking(&format!("ALTER TABLE events DISABLE TRIGGER ALL; {sql}"));
            }
        }
    }

    /// The application over it, as a process that writes opens it.
    pub async fn open(&self, clock: &Arc<SetClock>) -> Arc<App> {
        self.open_with(clock, Choices::default()).await
    }

    /// As [`Self::open`], with these choices of its operator.
    pub async fn open_with(&self, clock: &Arc<SetClock>, mut choices: Choices) -> Arc<App> {
        let entropy = Arc::new(SystemEntropy);
        let clock = Arc::clone(clock);
        if let Self::Postgres(_, folder) = self {
            choices.evidence.folder = Some(folder.path().to_owned());
        }
        App::open(&self.url(), Access::Write, clock, entropy, choices)
            .await
            .expect("the database opens")
    }
}

/// A service with the platform and one company, whose module is on.
pub struct TestApp {
    pub storage: Storage,
    pub clock: Arc<SetClock>,
    pub app: Arc<App>,
    pub service: Arc<Service>,
    pub company: CompanyId,
    /// The platform's operator.
    pub operator: Client,
    /// The company's Super Admin.
    pub admin: Client,
    /// The company's auditor.
    pub auditor: Client,
    /// The company's resource server.
    pub resource_server: Client,
    /// Somebody without a key.
    pub nobody: Client,
    stop: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
}

impl TestApp {
    pub async fn new() -> Self {
        Self::over(Storage::new().await).await
    }

    pub async fn over(storage: Storage) -> Self {
        let clock = Arc::new(SetClock::at(at(0)));
        let Running { app, service, nobody, stop, tasks } = Running::over(&storage, &clock).await;
        register(&app, CompanyId::PLATFORM, "platform").await;
        let operator = nobody.with(key(&app, CompanyId::PLATFORM, "ledger.operator").await);
        let (company, admin) = second_company(&app, &nobody, "Acme").await;
        Self {
            auditor: nobody.with(key(&app, company, "ledger.audit").await),
            resource_server: nobody.with(key(&app, company, "ledger.introspect").await),
            storage,
            clock,
            app,
            service,
            company,
            operator,
            admin,
            nobody,
            stop,
            tasks,
        }
    }

    /// Another company, whose module is on, and its Super Admin.
    pub async fn another_company(&self, name: &str) -> (CompanyId, Client) {
        second_company(&self.app, &self.nobody, name).await
    }

    /// Sets the clock to that many seconds after the beginning.
    pub fn after(&self, seconds: i64) {
        self.clock.set(at(seconds));
    }

    /// A path below the company.
    pub fn path(&self, below: &str) -> String {
        format!("/v1/companies/{}{below}", self.company)
    }

    /// A token of this name, with the scope `positions`: the whole answer.
    pub async fn token(&self, name: &str) -> Value {
        let body = json!({"name": name, "scopes": ["positions"]});
        self.admin.post(&self.path("/tokens")).json(&body).await.expect(201).body
    }

    /// The path of a token, given an answer that shows it.
    pub fn token_path(&self, token: &Value) -> String {
        self.path(&format!("/tokens/{}", token["token_id"].as_str().expect("an id")))
    }

    /// Whether a secret is good at verification right now.
    pub fn is_active(&self, secret: &Value) -> bool {
        let digest = token_ledger_domain::Digest::of(secret.as_str().expect("a secret"));
        self.app.index.token(&digest, self.app.now()).is_some()
    }

    /// The events of the company's ledger, of this type.
    pub async fn count_events(&self, event_type: &str) -> usize {
        let events = self.app.store().read(self.company, 0, 100_000).await.expect("events");
        events.iter().filter(|event| event.event_type == event_type).count()
    }

    /// Sends a request that leads to an event of this type, up to where the event is recorded and
    /// its caller has yet to hear of it. It goes on when what is handed out is awaited.
    pub async fn recorded(&self, call: Call, event_type: &str) -> BoxFuture<'static, Answered> {
        let before = self.count_events(event_type).await;
        let mut asking = call.into_future();
        let woken = Arc::new(Woken::default());
        woken.0.notify_one();
        loop {
            // It has not gone on since it was woken, so that nothing is told behind the event.
            woken.0.notified().await;
            if self.count_events(event_type).await > before {
                return asking;
            }
            let waker = Waker::from(Arc::clone(&woken));
            let polled = asking.as_mut().poll(&mut std::task::Context::from_waker(&waker));
            assert!(polled.is_pending(), "it ends without an event");
        }
    }

    /// Changes the company as another process would, whatever this one is at.
    pub async fn meanwhile(&self, command: CompanyCommand) {
        let clock = Arc::clone(&self.clock);
        let ledger = Ledger::new(Arc::clone(self.app.store()), clock, Arc::new(SystemEntropy));
        let request = LedgerRequest::new(self.company.0, command);
        ledger
            .execute::<Company>(self.company, Power::Operator, &Context::system(), request)
            .await
            .expect("it is changed");
    }

    /// Nobody, at the same service set to take no credentials in a query.
    pub fn without_query_credentials(&self) -> Client {
        self.set_up(&self.service.public_url, true)
    }

    /// Nobody, at the same service with this public URL.
    pub fn known_as(&self, public_url: &str) -> Client {
        self.set_up(public_url, false)
    }

    fn set_up(&self, public_url: &str, no_query_credentials: bool) -> Client {
        let service = Service {
            app: Arc::clone(&self.app),
            proxies: Proxies::default(),
            public_url: public_url.to_owned(),
            no_query_credentials,
            stopping: self.service.stopping.clone(),
            documents: Documents::default(),
        };
        Client { router: router(Arc::new(service)), key: None }
    }

    /// Stops everything that runs, and hands out the database.
    pub async fn stopped(self) -> (Storage, Arc<SetClock>) {
        let Self { storage, clock, stop, tasks, .. } = self;
        let _ = stop.send(true);
        for task in tasks {
            task.await.expect("a task ends");
        }
        (storage, clock)
    }

    /// The same after a restart, at that many seconds after the beginning.
    pub async fn restarted_after(self, seconds: i64) -> Self {
        let company = self.company;
        let keys = [&self.operator, &self.admin, &self.auditor, &self.resource_server];
        let keys = keys.map(|client| client.key.clone());
        let (storage, clock) = self.stopped().await;
        clock.set(at(seconds));
        let Running { app, service, nobody, stop, tasks } = Running::over(&storage, &clock).await;
        let [operator, admin, auditor, resource_server] =
            keys.map(|key| Client { key, ..nobody.clone() });
        Self {
            storage,
            clock,
            app,
            service,
            company,
            operator,
            admin,
            auditor,
            resource_server,
            nobody,
            stop,
            tasks,
        }
    }
}

/// A service that runs.
struct Running {
    app: Arc<App>,
    service: Arc<Service>,
    nobody: Client,
    stop: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
}

impl Running {
    async fn over(storage: &Storage, clock: &Arc<SetClock>) -> Self {
        let app = storage.open(clock).await;
        let (stop, stopping) = watch::channel(false);
        let tasks = app.start(&stopping);
        let service = service(&app, stopping);
        let nobody = Client { router: router(Arc::clone(&service)), key: None };
        Self { app, service, nobody, stop, tasks }
    }
}

/// Tells that a request can go on.
#[derive(Default)]
struct Woken(Notify);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.notify_one();
    }
}

/// The service over an application.
pub fn service(app: &Arc<App>, stopping: watch::Receiver<bool>) -> Arc<Service> {
    Arc::new(Service {
        app: Arc::clone(app),
        proxies: Proxies::default(),
        public_url: "http://localhost:8080".to_owned(),
        no_query_credentials: false,
        stopping,
        documents: Documents::default(),
    })
}

async fn register(app: &App, id: CompanyId, name: &str) {
    let context = Caller::command_line(id).context(None);
    let name = Name::new(name).expect("a name");
    if id != CompanyId::PLATFORM {
        app.people.reserve_name(&name, id).await.expect("the name");
    }
    for command in
        [CompanyCommand::Register { name }, CompanyCommand::SetOauthApp { enabled: true }]
    {
        app.ledger
            .execute::<Company>(id, Power::Operator, &context, LedgerRequest::new(id.0, command))
            .await
            .expect("a company");
    }
}

async fn second_company(app: &App, nobody: &Client, name: &str) -> (CompanyId, Client) {
    let id = CompanyId(app.new_id());
    register(app, id, name).await;
    (id, nobody.with(key(app, id, "ledger.admin").await))
}

/// A key's secret.
pub async fn key(app: &App, company: CompanyId, scope: &str) -> String {
    let input =
        NewKey { name: scope.to_owned(), scopes: vec![scope.to_owned()], ..NewKey::default() };
    let caller = Caller::command_line(company);
    let created = app.create_key(&caller, input, Conditions::default()).await.expect("a key");
    created.secret.expect("its secret").reveal().to_owned()
}

/// A caller with a key, or without.
#[derive(Clone)]
pub struct Client {
    router: Router,
    pub key: Option<String>,
}

impl Client {
    /// The same service, with this key.
    pub fn with(&self, key: impl Into<String>) -> Self {
        Self { router: self.router.clone(), key: Some(key.into()) }
    }

    pub fn get(&self, path: &str) -> Call {
        self.call(Method::GET, path)
    }

    pub fn post(&self, path: &str) -> Call {
        self.call(Method::POST, path)
    }

    pub fn put(&self, path: &str) -> Call {
        self.call(Method::PUT, path)
    }

    pub fn patch(&self, path: &str) -> Call {
        self.call(Method::PATCH, path)
    }

    pub fn delete(&self, path: &str) -> Call {
        self.call(Method::DELETE, path)
    }

    pub fn call(&self, method: Method, path: &str) -> Call {
        let peer = SocketAddr::from(([192, 0, 2, 7], 40_000));
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, "localhost:8080")
            .header(header::USER_AGENT, "tests/1")
            .extension(ConnectInfo(peer));
        if let Some(key) = &self.key {
            request = request.header(header::AUTHORIZATION, format!("Bearer {key}"));
        }
        Call { router: self.router.clone(), request, body: Body::empty() }
    }
}

impl Client {
    /// A caller without a key.
    pub fn of(service: &Arc<Service>) -> Self {
        Self { router: router(Arc::clone(service)), key: None }
    }

    /// Sends a request as it is, with neither the key nor the address of this caller.
    pub async fn send(&self, request: axum::http::request::Builder) -> Answered {
        let request = request.header(header::HOST, "localhost:8080");
        Call { router: self.router.clone(), request, body: Body::empty() }.await
    }
}

/// A request that is sent when it is awaited.
pub struct Call {
    router: Router,
    request: axum::http::request::Builder,
    body: Body,
}

impl Call {
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.request = self.request.header(name, value);
        self
    }

    /// From a program that calls itself so.
    #[must_use]
    pub fn program(mut self, name: &str) -> Self {
        let name = HeaderValue::from_bytes(name.as_bytes()).expect("a value");
        self.request.headers_mut().expect("headers").insert(header::USER_AGENT, name);
        self
    }

    /// From another address.
    #[must_use]
    pub fn coming_from(mut self, ip: [u8; 4]) -> Self {
        self.request = self.request.extension(ConnectInfo(SocketAddr::from((ip, 40_000))));
        self
    }

    #[must_use]
    pub fn json(self, body: &Value) -> Self {
        self.text("application/json", &body.to_string())
    }

    /// Sends this body, which need not come to an end.
    #[must_use]
    pub fn body(self, content_type: &str, body: Body) -> Self {
        let mut call = self.header("content-type", content_type);
        call.body = body;
        call
    }

    #[must_use]
    pub fn text(self, content_type: &str, body: &str) -> Self {
        self.body(content_type, Body::from(body.to_owned()))
    }
}

impl Call {
    /// The answer whose body is yet to be read.
    pub async fn open(self) -> axum::response::Response {
        let request = self.request.body(self.body).expect("a request");
        self.router.oneshot(request).await.expect("an answer")
    }
}

impl IntoFuture for Call {
    type Output = Answered;
    type IntoFuture = BoxFuture<'static, Answered>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let request = self.request.body(self.body).expect("a request");
            let response = self.router.oneshot(request).await.expect("an answer");
            let (parts, body) = response.into_parts();
            let bytes = body.collect().await.expect("a body").to_bytes();
            let text = String::from_utf8(bytes.to_vec()).expect("UTF-8");
            let body = serde_json::from_str(&text).unwrap_or(Value::Null);
            Answered { status: parts.status, headers: parts.headers, body, text }
        })
    }
}

/// What a body waits for of which only the first byte was sent.
pub struct Held {
    begun: oneshot::Receiver<()>,
    rest: oneshot::Sender<()>,
}

impl Held {
    /// Waits until the service has taken the first byte and asks for more.
    pub async fn begun(&mut self) {
        (&mut self.begun).await.expect("the body is read");
    }

    /// Lets the body go on to its end.
    pub fn go_on(self) {
        self.rest.send(()).expect("the body is waited for");
    }
}

/// A body that stops after its first byte until it is told to go on.
pub fn held(text: &str) -> (Body, Held) {
    let (first, rest) = text.split_at(1);
    let (first, rest) = (Bytes::from(first.to_owned()), Bytes::from(rest.to_owned()));
    let (begins, begun) = oneshot::channel();
    let (goes_on, told) = oneshot::channel();
    let rest_of_it = async move {
        begins.send(()).expect("somebody waits");
        told.await.expect("told");
        Ok::<_, Infallible>(rest)
    };
    let body = stream::iter([Ok(first)]).chain(stream::once(rest_of_it));
    (Body::from_stream(body), Held { begun, rest: goes_on })
}

/// An answer.
#[derive(Clone, Debug)]
pub struct Answered {
    pub status: StatusCode,
    pub headers: HeaderMap,
    /// The body as JSON; null where it is none.
    pub body: Value,
    pub text: String,
}

impl Answered {
    /// The answer, which must have this status.
    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status.as_u16(), status, "{}", self.text);
        self
    }

    /// The answer, which must be a problem of this kind.
    #[track_caller]
    pub fn problem(self, status: u16, kind: &str) -> Self {
        assert_eq!(self.status.as_u16(), status, "{}", self.text);
        assert_eq!(self.header("content-type"), "application/problem+json");
        assert_eq!(self.body["type"], format!("/problems/{kind}"), "{}", self.text);
        assert_eq!(self.body["status"], status);
        assert!(self.body["detail"].as_str().is_some_and(|detail| !detail.is_empty()));
        self
    }

    /// The answer, which must be a 400 that names exactly these fields.
    #[track_caller]
    pub fn invalid(self, fields: &[&str]) -> Self {
        assert_eq!(self.status.as_u16(), 400, "{}", self.text);
        let errors = self.body["errors"].as_array().cloned().unwrap_or_default();
        let named: Vec<&str> = errors.iter().filter_map(|error| error["field"].as_str()).collect();
        assert_eq!(named, fields, "{}", self.text);
        assert!(errors.iter().all(|error| error["detail"].as_str().is_some_and(|d| !d.is_empty())));
        self
    }

    /// A header's value; nothing where it is missing.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// The names of a list's items.
    pub fn names(&self) -> Vec<&str> {
        let items = self.body["items"].as_array().expect("a list");
        items.iter().map(|item| item["name"].as_str().expect("a name")).collect()
    }
}
