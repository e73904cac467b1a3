//! `GET /v1/verify` and `POST /oauth/introspect` with a million active tokens, beside bare axum
//! handlers that read the same request and answer the same bytes, over loopback in one process.

mod support;

use axum::Router;
use axum::body::Bytes;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::routing::{get, post};
use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};
use support::{folder, median, new_id, percentile};
use token_ledger::app::{App, Choices};
use token_ledger::config::DatabaseUrl;
use token_ledger::http::{Documents, Proxies, Service, router};
use token_ledger_domain::company::{Company, CompanyCommand};
use token_ledger_domain::key::{Key, KeyCommand};
use token_ledger_domain::token::{Create, Token, TokenCommand};
use token_ledger_domain::{Catalogue, CompanyId, KeyScope, Name, Power, Secret};
use token_ledger_event_store::sqlite::Access;
use token_ledger_event_store::{Entropy, Request, SystemClock, SystemEntropy};

const TOKENS: usize = 1_000_000;
const CONNECTIONS: usize = 16;
const REQUESTS: usize = 4000;
const ROUNDS: usize = 7;
/// Tokens whose secrets the client knows.
const KNOWN: usize = 10_000;

fn main() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let ledger = runtime.block_on(prepare());
    let bare = runtime.block_on(bare());
    for (name, ours, raw) in [
        ("GET /v1/verify", &ledger.verify, &ledger.bare_verify),
        ("POST /oauth/introspect", &ledger.introspect, &ledger.bare_introspect),
    ] {
        let mut ratios = Vec::new();
        let mut tails = Vec::new();
        for _ in 0..ROUNDS {
            let (raw_rate, raw_tail) = load(bare, raw);
            let (rate, tail) = load(ledger.address, ours);
            println!(
                "{name}: bare {raw_rate:>7.0}/s p99 {:.2} ms   ours {rate:>7.0}/s p99 {:.2} ms   ({:.2}, p99 {:.2})",
                raw_tail.as_secs_f64() * 1e3,
                tail.as_secs_f64() * 1e3,
                rate / raw_rate,
                tail.as_secs_f64() / raw_tail.as_secs_f64(),
            );
            ratios.push(rate / raw_rate);
            tails.push(tail.as_secs_f64() / raw_tail.as_secs_f64());
        }
        println!(
            "{name}: median of {ROUNDS} rounds with {TOKENS} active tokens: {:.2} of bare, p99 {:.2} times",
            median(ratios),
            median(tails)
        );
    }
}

struct Prepared {
    address: SocketAddr,
    verify: Vec<Vec<u8>>,
    introspect: Vec<Vec<u8>>,
    bare_verify: Vec<Vec<u8>>,
    bare_introspect: Vec<Vec<u8>>,
}

async fn prepare() -> Prepared {
    let path = folder("verification").join("ledger.db");
    let app = App::open(
        &DatabaseUrl::Sqlite(path),
        Access::Write,
        Arc::new(SystemClock),
        Arc::new(SystemEntropy),
        Choices::default(),
    )
    .await
    .expect("the ledger opens");
    let company = CompanyId(new_id());
    let name = Name::new("Acme").expect("a name");
    for command in [
        CompanyCommand::Register { name: name.clone() },
        CompanyCommand::SetOauthApp { enabled: true },
    ] {
        let request = Request::new(company.0, command);
        app.ledger
            .execute::<Company>(company, Power::Operator, &support::context(), request)
            .await
            .expect("registered");
    }
    let key = Secret::from_random("tla_", SystemEntropy.bits256());
    let command = KeyCommand::Create {
        name,
        scopes: BTreeSet::from([KeyScope::Introspect]),
        secret: key.stored(),
        validity_seconds: None,
    };
    app.ledger
        .execute::<Key>(
            company,
            Power::SuperAdmin,
            &support::context(),
            Request::new(new_id(), command),
        )
        .await
        .expect("a key");
    eprintln!("filling a ledger with {TOKENS} tokens");
    let secrets = create(&app, company).await;
    assert_eq!(app.index.len(), TOKENS);
    let (_, stopping) = tokio::sync::watch::channel(false);
    let service = Arc::new(Service {
        app,
        proxies: Proxies::default(),
        public_url: "http://localhost".to_owned(),
        no_query_credentials: false,
        stopping,
        documents: Documents::default(),
    });
    let address = serve(router(service)).await;
    let form = |secret: &str| format!("token={secret}");
    let verify = |secret: &String| {
        format!("GET /v1/verify?scope=employees HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {secret}\r\n\r\n")
            .into_bytes()
    };
    let introspect = |secret: &String| {
        let body = form(secret);
        format!(
            "POST /oauth/introspect HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\n\
             Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{body}",
            key.reveal(),
            body.len(),
        )
        .into_bytes()
    };
    let verify: Vec<_> = secrets.iter().map(verify).collect();
    let introspect: Vec<_> = secrets.iter().map(introspect).collect();
    Prepared {
        address,
        bare_verify: verify.clone(),
        bare_introspect: introspect.clone(),
        verify,
        introspect,
    }
}

/// Creates the tokens and answers the secrets of some, evenly spread.
async fn create(app: &App, company: CompanyId) -> Vec<String> {
    let mut secrets = Vec::with_capacity(KNOWN);
    for start in (0..TOKENS).step_by(500) {
        let requests: Vec<_> = (start..start + 500)
            .map(|number| {
                let secret = Secret::from_random("tlk_", SystemEntropy.bits256());
                let command = TokenCommand::Create(Create {
                    name: Name::new("Payroll sync").expect("a name"),
                    scopes: Catalogue::default()
                        .select(&["employees", "positions"])
                        .expect("scopes"),
                    secret: secret.stored(),
                    validity_seconds: None,
                    client_id: None,
                });
                if number % (TOKENS / KNOWN) == 0 {
                    secrets.push(secret.reveal().to_owned());
                }
                Request::new(new_id(), command)
            })
            .collect();
        let answers = app
            .ledger
            .execute_many::<Token>(company, Power::SuperAdmin, &support::context(), &requests)
            .await
            .expect("loaded");
        assert!(answers.into_iter().all(|answer| answer.is_ok()));
    }
    secrets
}

/// Handlers that read the same and answer as many bytes, and do nothing else.
async fn bare() -> SocketAddr {
    let fixed = |name: &'static str, value: &'static str| {
        (HeaderName::from_static(name), HeaderValue::from_static(value))
    };
    let verify = move |headers: HeaderMap, query: axum::extract::RawQuery| async move {
        std::hint::black_box((headers.get("authorization"), query.0));
        let answer: HeaderMap = [
            fixed("x-token-id", "0199f7a2-5d7e-7c3c-9d8e-0c2f8f0b1a11"),
            fixed("x-company-id", "0199f7a2-5d7e-7c3c-9d8e-0c2f8f0b1a12"),
            fixed("x-scopes", "employees positions"),
            fixed("x-request-id", "0199f7a2-5d7e-7c3c-9d8e-0c2f8f0b1a13"),
            fixed("cache-control", "no-store"),
            fixed("x-content-type-options", "nosniff"),
        ]
        .into_iter()
        .collect();
        answer
    };
    let introspect = move |headers: HeaderMap, body: Bytes| async move {
        std::hint::black_box((headers.get("authorization"), body));
        let answer: HeaderMap = [
            fixed("content-type", "application/json"),
            fixed("x-request-id", "0199f7a2-5d7e-7c3c-9d8e-0c2f8f0b1a13"),
            fixed("cache-control", "no-store"),
            fixed("x-content-type-options", "nosniff"),
        ]
        .into_iter()
        .collect();
        let body = r#"{"active":true,"scope":"employees positions","sub":"0199f7a2-5d7e-7c3c-9d8e-0c2f8f0b1a11","jti":"0199f7a2-5d7e-7c3c-9d8e-0c2f8f0b1a11","iat":1790000000,"exp":1790604800,"token_type":"Bearer","company_id":"0199f7a2-5d7e-7c3c-9d8e-0c2f8f0b1a12"}"#;
        (answer, body)
    };
    serve(
        Router::new().route("/v1/verify", get(verify)).route("/oauth/introspect", post(introspect)),
    )
    .await
}

async fn serve(router: Router) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let service = router.into_make_service_with_connect_info::<SocketAddr>();
    tokio::spawn(async move { axum::serve(listener, service).await });
    address
}

/// Requests per second of some connections side by side, and the 99th percentile of their waits.
fn load(address: SocketAddr, requests: &[Vec<u8>]) -> (f64, Duration) {
    let started = Instant::now();
    let mut waits: Vec<Duration> = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CONNECTIONS)
            .map(|number| scope.spawn(move || client(address, requests, number)))
            .collect();
        clients.into_iter().flat_map(|client| client.join().expect("a client")).collect()
    });
    let count = u32::try_from(waits.len()).expect("a small number");
    let rate = f64::from(count) / started.elapsed().as_secs_f64();
    (rate, percentile(&mut waits, 0.99))
}

fn client(address: SocketAddr, requests: &[Vec<u8>], number: usize) -> Vec<Duration> {
    let mut stream = TcpStream::connect(address).expect("connected");
    stream.set_nodelay(true).expect("set");
    let mut buffer = [0_u8; 4096];
    let mut waits = Vec::with_capacity(REQUESTS);
    for turn in 0..REQUESTS {
        let request = &requests[(number * REQUESTS + turn) % requests.len()];
        let started = Instant::now();
        stream.write_all(request).expect("sent");
        let mut filled = 0;
        loop {
            filled += stream.read(&mut buffer[filled..]).expect("answered");
            assert!(
                buffer.starts_with(b"HTTP/1.1 200"),
                "{}",
                String::from_utf8_lossy(&buffer[..filled])
            );
            if is_whole(&buffer[..filled]) {
                break;
            }
        }
        waits.push(started.elapsed());
    }
    waits
}

/// Whether head and body have come.
fn is_whole(answer: &[u8]) -> bool {
    let Some(end) = answer.windows(4).position(|four| four == b"\r\n\r\n") else { return false };
    let head = String::from_utf8_lossy(&answer[..end]).to_ascii_lowercase();
    let length: usize = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length:"))
        .map_or(0, |value| value.trim().parse().expect("a length"));
    answer.len() >= end + 4 + length
}
