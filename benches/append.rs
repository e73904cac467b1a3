//! Appending through the whole path, beside a raw loop that inserts the same events.
//!
//! Both write to a ledger that already holds half a million events, with `synchronous=FULL`. The
//! raw loop inserts rows that are ready, 256 to a transaction, into `events` alone. The whole path
//! decides, hashes, inserts event and private part, keeps heads and inline projections and answers
//! 64 callers, each of whom waits for one answer before asking again.

mod support;

use rusqlite::{Connection, params};
use std::sync::Arc;
use std::time::{Duration, Instant};
use support::{Bench, creations, folder, median, new_id, percentile, rate, timed};
use token_ledger_domain::CompanyId;
use token_ledger_projections::AuditTrail;
use token_ledger_projections::runner;
use token_ledger_projections::sqlite::SqliteBehind;

const HELD: usize = 500_000;
const CALLERS: usize = 64;
const PER_CALLER: usize = 400;
const ROUNDS: usize = 7;

struct Round {
    answered: f64,
    caught_up: f64,
    raw: f64,
    latencies: Vec<Duration>,
}

fn main() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(run());
}

async fn run() {
    let folder = folder("append");
    let path = folder.join("ledger.db");
    let bench = Bench::open(&path);
    let company = bench.company().await;
    let (stop, stopping) = tokio::sync::watch::channel(false);
    let behind = Arc::new(SqliteBehind::<AuditTrail>::new(Arc::clone(&bench.database)));
    let (audit, task) = runner::spawn(behind, Arc::clone(&bench.store) as _, stopping);
    eprintln!("filling a ledger with {HELD} events");
    bench.create(company, HELD).await;
    let head = bench.head(company).await;
    assert!(audit.reached(company, head, Duration::from_secs(600)).await);
    bench
        .database
        .write(|connection| {
            connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).expect("done");
            Ok(())
        })
        .await
        .expect("the log is in the file");
    let copy = folder.join("raw.db");
    std::fs::copy(&path, &copy).expect("a copy");
    let mut raw = RawLoop::open(&copy, company);

    let mut rounds = Vec::new();
    for _ in 0..ROUNDS {
        let requests = creations(CALLERS, PER_CALLER);
        let started = Instant::now();
        let latencies = bench.create_side_by_side(company, requests).await;
        let answered = started.elapsed();
        let head = bench.head(company).await;
        assert!(audit.reached(company, head, Duration::from_secs(600)).await);
        let caught_up = started.elapsed();
        let rows = raw.rows_like(CALLERS * PER_CALLER);
        let ((), inserted) = timed(|| raw.insert(&rows));
        let rate = |took| rate(CALLERS * PER_CALLER, took);
        let round = Round {
            answered: rate(answered),
            caught_up: rate(caught_up),
            raw: rate(inserted),
            latencies,
        };
        println!(
            "raw {:>8.0}/s   answered {:>8.0}/s ({:.2})   audit trail caught up {:>8.0}/s ({:.2})",
            round.raw,
            round.answered,
            round.answered / round.raw,
            round.caught_up,
            round.caught_up / round.raw,
        );
        rounds.push(round);
    }
    let of = |value: fn(&Round) -> f64| median(rounds.iter().map(value).collect());
    println!("median of {ROUNDS} rounds, {CALLERS} callers, {HELD} events before:");
    println!("  answered / raw              {:.2}", of(|round| round.answered / round.raw));
    println!("  audit trail caught up / raw {:.2}", of(|round| round.caught_up / round.raw));
    let mut latencies: Vec<Duration> =
        rounds.into_iter().flat_map(|round| round.latencies).collect();
    println!(
        "  latency p50 {:.2} ms, p99 {:.2} ms, worst {:.2} ms",
        percentile(&mut latencies, 0.50).as_secs_f64() * 1e3,
        percentile(&mut latencies, 0.99).as_secs_f64() * 1e3,
        percentile(&mut latencies, 1.0).as_secs_f64() * 1e3,
    );
    let _ = stop.send(true);
    let _ = task.await;
}

/// Inserts rows that are ready into a copy of the ledger's `events`.
struct RawLoop {
    connection: Connection,
    company: CompanyId,
    position: u64,
}

/// One row, ready to be inserted.
struct RawRow {
    aggregate_id: String,
    payload: String,
    metadata: String,
    position: u64,
}

impl RawLoop {
    fn open(path: &std::path::Path, company: CompanyId) -> Self {
        let connection = Connection::open(path).expect("the copy opens");
        connection.pragma_update(None, "synchronous", "FULL").expect("set");
        connection.pragma_update(None, "wal_autocheckpoint", 8192).expect("set");
        connection.pragma_update(None, "cache_size", -65_536).expect("set");
        let position = connection
            .query_row("SELECT max(position) FROM events", [], |row| row.get(0))
            .expect("a position");
        Self { connection, company, position }
    }

    /// Rows with the texts of the last ones, under new identifiers.
    fn rows_like(&mut self, count: usize) -> Vec<RawRow> {
        let (payload, metadata): (String, String) = self
            .connection
            .query_row(
                "SELECT payload, metadata FROM events ORDER BY position DESC LIMIT 1",
                [],
                |row| Ok((row.get(0)?, row.get(1)?)),
            )
            .expect("a row");
        (0..count)
            .map(|_| {
                self.position += 1;
                RawRow {
                    aggregate_id: new_id().to_string(),
                    payload: payload.clone(),
                    metadata: metadata.clone(),
                    position: self.position,
                }
            })
            .collect()
    }

    fn insert(&mut self, rows: &[RawRow]) {
        for chunk in rows.chunks(256) {
            let transaction = self.connection.transaction().expect("a transaction");
            {
                let mut statement = transaction
                    .prepare_cached(
                        "INSERT INTO events (company_id, aggregate_type, aggregate_id, sequence, \
                         event_type, event_version, payload, metadata, position, recorded_at, \
                         commit_id, salt, private_commitment, entry_hash) VALUES \
                         (?1, 'token', ?2, 1, 'token.created', '1', ?3, ?4, ?5, ?6, ?7, ?8, ?8, ?8)",
                    )
                    .expect("a statement");
                for row in chunk {
                    statement
                        .execute(params![
                            self.company.0.as_bytes(),
                            row.aggregate_id,
                            row.payload,
                            row.metadata,
                            row.position,
                            1_700_000_000_000_000_i64,
                            [7_u8; 16],
                            [9_u8; 32],
                        ])
                        .expect("inserted");
                }
            }
            transaction.commit().expect("durable");
        }
    }
}
