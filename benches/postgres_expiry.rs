//! 100,000 terms that end in the same second on PostgreSQL: how fast their ends are recorded beside
//! how fast tokens are created, and what creations in another company feel of it meanwhile.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use support::postgres::{PgBench, cluster};
use support::{context, creation_for, creations, new_id, percentile, rate, side_by_side};
use token_ledger::app::{App, Choices};
use token_ledger::config::DatabaseUrl;
use token_ledger_domain::token::Token;
use token_ledger_domain::{CompanyId, Power};
use token_ledger_event_store::{Access, Request, SystemClock, SystemEntropy};
use token_ledger_test_cluster::TestDatabase;
use tokio::sync::watch;

const TERMS: usize = 100_000;
const CALLERS: usize = 64;
const PER_CALLER: usize = 200;
/// What is created between two looks at whether the terms have all ended.
const PER_CALLER_MEANWHILE: usize = 10;
/// How long the terms last: longer than it takes to begin them all.
const VALIDITY_SECONDS: i64 = 120;

fn main() {
    let cluster = cluster(&[]);
    let url = TestDatabase::fresh_in_blocking(&cluster).url();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(run(&url));
}

async fn run(url: &str) {
    let bench = PgBench::connect(url).await;
    let (many, other) = (bench.company().await, bench.company().await);
    drop(bench);
    let choices = Choices::default();
    let (clock, entropy) = (Arc::new(SystemClock), Arc::new(SystemEntropy));
    let database: DatabaseUrl = url.parse().expect("a database");
    let app = App::open(&database, Access::Write, clock, entropy, choices).await.expect("it opens");
    let (_stop, stopping) = watch::channel(false);
    let _projections = app.start(&stopping);

    end_terms(&app, many).await;
    let created = Instant::now();
    let mut quiet = create(&app, other, PER_CALLER).await;
    let append = rate(quiet.len(), created.elapsed());
    let began = Instant::now();
    app.expire_due().await.expect("the terms end");
    let alone = rate(TERMS, began.elapsed());

    end_terms(&app, many).await;
    let ended = Arc::new(AtomicBool::new(false));
    let expiry = tokio::spawn({
        let (app, ended) = (Arc::clone(&app), Arc::clone(&ended));
        async move {
            let began = Instant::now();
            app.expire_due().await.expect("the terms end");
            ended.store(true, Ordering::Relaxed);
            began.elapsed()
        }
    });
    let began = Instant::now();
    let mut busy = Vec::new();
    while !ended.load(Ordering::Relaxed) {
        busy.extend(create(&app, other, PER_CALLER_MEANWHILE).await);
    }
    let meanwhile = rate(busy.len(), began.elapsed());
    let beside = rate(TERMS, expiry.await.expect("it ends"));
    println!("{CALLERS} callers create {append:.0}/s while nothing else happens");
    println!("{TERMS} ends are recorded at {alone:.0}/s alone ({:.2} of that)", alone / append);
    println!("beside each other: {beside:.0}/s ends, {meanwhile:.0}/s creations");
    let milliseconds =
        |latencies: &mut Vec<Duration>, part| percentile(latencies, part).as_secs_f64() * 1e3;
    let (quiet_p99, busy_p99) = (milliseconds(&mut quiet, 0.99), milliseconds(&mut busy, 0.99));
    println!(
        "creations: p50 {:.2} ms, p99 {quiet_p99:.2} ms quiet; p50 {:.2} ms, p99 {busy_p99:.2} ms \
         meanwhile ({:.2})",
        milliseconds(&mut quiet, 0.5),
        milliseconds(&mut busy, 0.5),
        busy_p99 / quiet_p99,
    );
}

/// Creates tokens whose terms all end in the same second, and waits until they have.
async fn end_terms(app: &App, company: CompanyId) {
    eprintln!("beginning {TERMS} terms");
    let due = app.now().plus_seconds(VALIDITY_SECONDS);
    let mut begun = 0;
    while begun < TERMS {
        let count = 500.min(TERMS - begun);
        let left = due.as_seconds() - app.now().as_seconds();
        let requests: Vec<_> =
            (0..count).map(|_| Request::new(new_id(), creation_for(Some(left)))).collect();
        let context = context();
        let answers =
            app.ledger.execute_many::<Token>(company, Power::SuperAdmin, &context, &requests);
        for answer in answers.await.expect("the streams load") {
            answer.expect("a token is created");
        }
        begun += count;
    }
    let left = due.plus_seconds(1).as_micros() - app.now().as_micros();
    tokio::time::sleep(Duration::from_micros(u64::try_from(left).expect("time is left"))).await;
}

async fn create(app: &Arc<App>, company: CompanyId, per_caller: usize) -> Vec<Duration> {
    let app = Arc::clone(app);
    let ask = move |request| {
        let app = Arc::clone(&app);
        async move {
            let context = context();
            let outcome =
                app.ledger.execute::<Token>(company, Power::SuperAdmin, &context, request);
            outcome.await.expect("a token is created");
        }
    };
    side_by_side(creations(CALLERS, per_caller), ask).await
}
