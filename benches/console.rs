//! The list of access tokens over 100,000 of them: how long the server takes from a request to the
//! whole rendered page, filters and other orders included.

mod support;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, header};
use http_body_util::BodyExt;
use std::sync::Arc;
use support::{Bench, folder, percentile};
use token_ledger::app::members::NewMember;
use token_ledger::app::sessions::Origin;
use token_ledger::app::{App, Caller, Choices, Conditions};
use token_ledger::config::DatabaseUrl;

use token_ledger::http::{Proxies, Service, router};
use token_ledger_domain::CompanyId;
use token_ledger_event_store::sqlite::Access;
use token_ledger_event_store::{SystemClock, SystemEntropy};
use tokio::sync::watch;
use tower::ServiceExt;

const TOKENS: usize = 100_000;
const ROUNDS: usize = 100;
const EMAIL: &str = "maya@example.com";
const PAGES: [&str; 5] = [
    "/console/tokens",
    "/console/tokens?q=payroll",
    "/console/tokens?sort=expires_at",
    "/console/tokens?scope=employees&status=active",
    "/console/audit",
];

#[tokio::main]
async fn main() {
    let path = folder("console").join("ledger.db");
    eprintln!("filling a ledger with {TOKENS} tokens");
    let company = {
        let bench = Bench::open(&path);
        let company = bench.company().await;
        bench.create(company, TOKENS).await;
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
    };
    let router = router(Arc::new(service));
    for page in PAGES {
        let mut took = Vec::with_capacity(ROUNDS);
        for _ in 0..ROUNDS {
            let start = std::time::Instant::now();
            let bytes = rendered(&router, page, &cookie).await;
            took.push(start.elapsed());
            assert!(bytes > 10_000, "{page} has {bytes} bytes");
        }
        let (median, slow) = (percentile(&mut took, 0.5), percentile(&mut took, 0.95));
        println!("{page:<48} median {median:>9.1?}   95 of 100 below {slow:>9.1?}");
    }
    drop(tasks);
}

/// The application, and the cookie of a Super Admin's session.
async fn signed_in(url: DatabaseUrl, company: CompanyId) -> (Arc<App>, String) {
    let (clock, entropy) = (Arc::new(SystemClock), Arc::new(SystemEntropy));
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

/// The bytes of a page.
async fn rendered(router: &Router, page: &str, cookie: &str) -> usize {
    let request = Request::get(page).header(header::COOKIE, cookie).body(Body::empty());
    let answer = router.clone().oneshot(request.expect("a request")).await.expect("an answer");
    assert!(answer.status().is_success(), "{page}: {}", answer.status());
    answer.into_body().collect().await.expect("a page").to_bytes().len()
}
