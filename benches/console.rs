//! The list of access tokens over 100,000 of them: how long the server takes from a request to the
//! whole rendered page, filters and other orders included.

mod support;

use axum::Router;
use axum::body::Body;
use axum::http::{Request as HttpRequest, header};
use http_body_util::BodyExt;
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use support::{Bench, folder, new_id, percentile};
use token_ledger::app::members::NewMember;
use token_ledger::app::sessions::Origin;
use token_ledger::app::{App, Caller, Choices, Conditions};
use token_ledger::config::DatabaseUrl;
use token_ledger::http::{Documents, Proxies, Service, router};
use token_ledger_domain::token::{Create, TokenCommand};
use token_ledger_domain::{Catalogue, CompanyId, Name, Secret, Timestamp, TokenId};
use token_ledger_event_store::sqlite::Access;
use token_ledger_event_store::{Clock, Entropy, Request, SystemClock, SystemEntropy};
use token_ledger_projections::index::Use;
use token_ledger_projections::{ReadModels, Sql};
use tokio::sync::watch;
use tower::ServiceExt;
use uuid::Uuid;

const TOKENS: usize = 100_000;
const ROUNDS: usize = 40;
/// Pages that are turned to get to a late one.
const LATE: usize = 400;
const EMAIL: &str = "maya@example.com";
/// Addresses by what they ask for. The late pages are found by going back from the first one.
const PAGES: [&str; 17] = [
    "/console/tokens",
    "/console/tokens?sort=created_at",
    "/console/tokens?sort=expires_at",
    "/console/tokens?sort=-expires_at",
    "/console/tokens?sort=name",
    "/console/tokens?sort=-name",
    "/console/tokens?sort=last_used_at",
    "/console/tokens?sort=-last_used_at",
    "/console/tokens?q=payroll",
    "/console/tokens?q=payroll&sort=name",
    "/console/tokens?q=number+99999",
    "/console/tokens?scope=locations",
    "/console/tokens?scope=employees&status=active&sort=expires_at",
    "/console/tokens?status=expired",
    "/console/tokens?status=deleted",
    "/console/tokens?created_by=00000000-0000-0000-0000-000000000007",
    "/console/audit",
];

#[tokio::main]
async fn main() {
    let path = folder("console").join("ledger.db");
    eprintln!("filling a ledger with {TOKENS} tokens");
    let company = {
        let bench = Bench::open(&path);
        let company = bench.company().await;
        fill(&bench, company).await;
        company
    };
    let (_stop, stopping) = watch::channel(false);
    let (app, cookie) = signed_in(DatabaseUrl::Sqlite(path), company).await;
    let tasks = app.start(&stopping);
    let service = Service {
        app,
        proxies: Proxies::default(),
        no_query_credentials: false,
        public_url: "http://localhost:8080".to_owned(),
        stopping,
        documents: Documents::default(),
    };
    let router = router(Arc::new(service));
    let mut pages: Vec<String> = PAGES.map(str::to_owned).to_vec();
    // Half-way through the list, where no end of it helps.
    for sort in ["-created_at", "name"] {
        pages.push(late(&router, sort, &cookie).await);
    }
    for page in &pages {
        let mut took = Vec::with_capacity(ROUNDS);
        for _ in 0..ROUNDS {
            let start = std::time::Instant::now();
            let text = rendered(&router, page, &cookie).await;
            took.push(start.elapsed());
            assert!(text.len() > 6000, "{page} has {} bytes", text.len());
        }
        let (median, slow) = (percentile(&mut took, 0.5), percentile(&mut took, 0.95));
        let name = page.split_once("cursor=").map_or(page.as_str(), |(before, _)| before);
        println!("{name:<64} median {median:>9.1?}   95 of 100 below {slow:>9.1?}");
    }
    drop(tasks);
}

/// A clock that is ahead by so much that the shortest terms are over.
#[derive(Debug)]
struct Ahead;

impl Clock for Ahead {
    fn now(&self) -> Timestamp {
        SystemClock.now().plus_seconds(120)
    }
}

/// The application, and the cookie of a Super Admin's session.
async fn signed_in(url: DatabaseUrl, company: CompanyId) -> (Arc<App>, String) {
    let (clock, entropy) = (Arc::new(Ahead), Arc::new(SystemEntropy));
    let app = App::open(&url, Access::Write, clock, entropy, Choices::default())
        .await
        .expect("the ledger opens");
    let member = NewMember {
        email: EMAIL.to_owned(),
        role: "super_admin".to_owned(),
        ..NewMember::default()
    };
    let caller = Caller::command_line(company);
    app.add_member(&caller, member, Conditions::default()).await.expect("a member");
    let link = app.sign_in_link(EMAIL, company).await.expect("a link");
    let session = app.sign_in_by_link(link.reveal(), &Origin::default()).await.expect("a session");
    let cookie = format!("token-ledger={}", session.secret.reveal());
    (app, cookie)
}

/// Tokens of many names, data accesses and states: a fifth expired, a tenth deleted, half of them
/// used.
async fn fill(bench: &Bench, company: CompanyId) {
    const NAMES: [&str; 8] = [
        "Payroll sync",
        "Careers page",
        "Org chart",
        "Badge printer",
        "Reporting export",
        "Applicant bridge",
        "Nightly backup",
        "Chat assistant",
    ];
    let scopes: Vec<String> =
        Catalogue::default().iter().map(|(scope, _)| scope.to_string()).collect();
    let ids: Vec<Uuid> = (0..TOKENS).map(|_| new_id()).collect();
    let read = ReadModels::new(Sql::Sqlite(Arc::clone(&bench.read)));
    for (number, chunk) in ids.chunks(500).enumerate() {
        let requests: Vec<_> = chunk
            .iter()
            .zip(number * 500..)
            .map(|(id, number)| {
                let secret = Secret::from_random("tlk_", SystemEntropy.bits256());
                let chosen: BTreeSet<&String> =
                    [number, number / 3, number / 7].map(|n| &scopes[n % scopes.len()]).into();
                let chosen: Vec<&String> = chosen.into_iter().collect();
                let create = Create {
                    name: Name::new(format!("{} number {number}", NAMES[number % NAMES.len()]))
                        .expect("a name"),
                    scopes: Catalogue::default().select(&chosen).expect("scopes"),
                    secret: secret.stored(),
                    validity_seconds: Some(if number % 5 == 0 { 60 } else { 604_800 }),
                    client_id: None,
                };
                Request::new(*id, TokenCommand::Create(create))
            })
            .collect();
        bench.execute(company, &requests).await;
        let gone = chunk.iter().skip(7).step_by(10);
        let deleted: Vec<_> = gone.map(|id| Request::new(*id, TokenCommand::Delete)).collect();
        bench.execute(company, &deleted).await;
        let now = SystemClock.now();
        let noted = |id: &Uuid| Use {
            company_id: company,
            token_id: TokenId(*id),
            at: now,
            from: Some(IpAddr::from([192, 0, 2, 1])),
        };
        let uses: Vec<Use> = chunk.iter().step_by(2).map(noted).collect();
        read.record_uses(&uses).await.expect("uses are noted");
    }
}

/// The address of a page half-way through the list, made as the service makes it.
async fn late(router: &Router, sort: &str, cookie: &str) -> String {
    let mut page = format!("/console/tokens?sort={sort}");
    for _ in 0..LATE {
        let text = rendered(router, &page, cookie).await;
        let (before, _) = text.split_once("rel=\"next\"").expect("a next page");
        let (_, next) = before.rsplit_once("href=\"").expect("its address");
        page = next.trim_end_matches([' ', '"']).replace("&amp;", "&");
    }
    page
}

/// A page.
async fn rendered(router: &Router, page: &str, cookie: &str) -> String {
    let request = HttpRequest::get(page)
        .header(header::HOST, "localhost")
        .header(header::COOKIE, cookie)
        .body(Body::empty());
    let answer = router.clone().oneshot(request.expect("a request")).await.expect("an answer");
    assert!(answer.status().is_success(), "{page}: {}", answer.status());
    let bytes = answer.into_body().collect().await.expect("a page").to_bytes();
    String::from_utf8(bytes.to_vec()).expect("text")
}
