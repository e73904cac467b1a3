//! Rebuilding all projections from a million events in PostgreSQL, beside COPY of the events out
//! and COPY of the rows that come out of them in.

mod support;

use futures::TryStreamExt;
use sqlx::postgres::PgPoolCopyExt;
use sqlx::{Executor, PgPool};
use std::sync::Arc;
use std::time::{Duration, Instant};
use support::postgres::{PgBench, cluster};
use support::{median, memory, new_id};
use token_ledger_projections::AuditTrail;
use token_ledger_projections::postgres::PgBehind;
use token_ledger_projections::rebuild::{ALL, Plan, Rebuilder};
use token_ledger_projections::runner::Behind;
use token_ledger_test_cluster::TestDatabase;

const EVENTS: usize = 1_000_000;
const ROUNDS: usize = 3;
const TABLES: [&str; 6] = ["companies", "members", "clients", "keys", "tokens", "audit_trail"];

fn main() {
    let cluster = cluster(&[]);
    let url = TestDatabase::fresh_in_blocking(&cluster).url();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(run(&url));
}

async fn run(url: &str) {
    let bench = PgBench::connect(url).await;
    eprintln!("filling a ledger with {EVENTS} events");
    let company = bench.company().await;
    bench.mixed(company, EVENTS).await;
    let events = bench.head(company).await;
    let behind = PgBehind::<AuditTrail>::new(Arc::clone(&bench.database));
    while behind.advance(company).await.expect("the audit trail moves") < Some(events) {}
    let pool = bench.database.pool();
    pool.execute("VACUUM ANALYZE").await.expect("the database is in order");
    let before = memory().0;
    let plan = Plan { projections: ALL.to_vec(), company: None, merge: true };
    // Once before anything here holds the rows to be copied.
    bench.read.rebuild(&plan, new_id(), &|_, _| {}).await.expect("the rebuild succeeds");
    let most = memory().1;
    let mut ratios = Vec::new();
    for _ in 0..ROUNDS {
        let out = copy_out(pool).await;
        let within = copy_in(pool).await;
        let started = Instant::now();
        let outcome = bench.read.rebuild(&plan, new_id(), &|_, _| {}).await;
        let rebuilt = started.elapsed();
        let outcome = outcome.expect("the rebuild succeeds");
        assert_eq!(outcome.differences, 0, "{:?}", outcome.examples.first());
        assert_eq!(outcome.events, events);
        let ratio = rebuilt.as_secs_f64() / (out + within).as_secs_f64();
        println!(
            "COPY out {:.2} s and in {:.2} s   rebuild {:.2} s ({ratio:.2})   {} rows",
            out.as_secs_f64(),
            within.as_secs_f64(),
            rebuilt.as_secs_f64(),
            outcome.rows,
        );
        ratios.push(ratio);
    }
    println!(
        "median of {ROUNDS} rounds over {events} events: rebuild / COPY {:.2}",
        median(ratios)
    );
    println!(
        "memory: {before:.0} MB before (the verification index is in it), {most:.0} MB at most \
         during a rebuild"
    );
}

/// How long it takes to read every event.
async fn copy_out(pool: &PgPool) -> Duration {
    let started = Instant::now();
    let mut rows =
        pool.copy_out_raw("COPY events TO STDOUT (FORMAT binary)").await.expect("events");
    let mut bytes = 0;
    while let Some(part) = rows.try_next().await.expect("events") {
        bytes += part.len();
    }
    assert!(bytes > EVENTS);
    started.elapsed()
}

/// How long it takes to write the rows of the projections into empty tables with their indexes.
async fn copy_in(pool: &PgPool) -> Duration {
    let mut took = Duration::ZERO;
    for table in TABLES {
        let parts: Vec<_> = pool
            .copy_out_raw(&format!("COPY {table} TO STDOUT (FORMAT binary)"))
            .await
            .expect("rows")
            .try_collect()
            .await
            .expect("rows");
        let empty =
            format!("DROP TABLE IF EXISTS raw; CREATE TABLE raw (LIKE {table} INCLUDING ALL)");
        pool.execute(empty.as_str()).await.expect("a table");
        let started = Instant::now();
        let mut copy =
            pool.copy_in_raw("COPY raw FROM STDIN (FORMAT binary)").await.expect("it begins");
        for part in parts {
            copy.send(part).await.expect("sent");
        }
        copy.finish().await.expect("written");
        took += started.elapsed();
    }
    pool.execute("DROP TABLE raw").await.expect("gone");
    took
}
