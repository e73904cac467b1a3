//! Appending through the whole path, beside a raw loop that inserts the same events.
//!
//! Both write to a ledger that already holds half a million events, with `synchronous=FULL`. The
//! raw loop inserts rows that are ready, 256 to a transaction, into `events` alone. The whole path
//! decides, hashes, inserts event and private part, keeps heads and inline projections and answers
//! 64 callers, each of whom waits for one answer before asking again.
//!
//! The bare loop shows what is between the two: it does nothing but insert rows that are ready of
//! event, private part and token, 64 to a transaction, since 64 callers have no more to write at
//! once. Whoever writes the same rows durably before they answer can't be faster.

mod support;

use rusqlite::types::Value;
use rusqlite::{Connection, params_from_iter};
use std::sync::Arc;
use std::time::{Duration, Instant};
use support::{Bench, creations, folder, median, new_id, percentile, rate, timed};
use token_ledger_projections::AuditTrail;
use token_ledger_projections::runner;
use token_ledger_projections::sqlite::SqliteBehind;
use uuid::Uuid;

const HELD: usize = 500_000;
const CALLERS: usize = 64;
const PER_CALLER: usize = 400;
const ROUNDS: usize = 7;
/// Rows in a transaction of the raw loop.
const RAW_AT_ONCE: usize = 256;

struct Round {
    answered: f64,
    caught_up: f64,
    raw: f64,
    bare: f64,
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
    let mut raw = RawLoop::open(&copy);
    let events = [raw.like("events")];
    let rows_of_all = ["events", "event_private", "tokens"].map(|table| raw.like(table));

    let mut rounds = Vec::new();
    for _ in 0..ROUNDS {
        let requests = creations(CALLERS, PER_CALLER);
        let started = Instant::now();
        let latencies = bench.create_side_by_side(company, requests).await;
        let answered = started.elapsed();
        let head = bench.head(company).await;
        assert!(audit.reached(company, head, Duration::from_secs(600)).await);
        let caught_up = started.elapsed();
        let rows = raw.rows(&events, CALLERS * PER_CALLER);
        let ((), inserted) = timed(|| raw.insert(&events, &rows, RAW_AT_ONCE));
        let rows = raw.rows(&rows_of_all, CALLERS * PER_CALLER);
        let ((), all_inserted) = timed(|| raw.insert(&rows_of_all, &rows, CALLERS));
        let rate = |took| rate(CALLERS * PER_CALLER, took);
        let round = Round {
            answered: rate(answered),
            caught_up: rate(caught_up),
            raw: rate(inserted),
            bare: rate(all_inserted),
            latencies,
        };
        println!(
            "raw {:>8.0}/s   bare {:>8.0}/s ({:.2})   answered {:>8.0}/s ({:.2})   \
             audit trail caught up {:>8.0}/s ({:.2})",
            round.raw,
            round.bare,
            round.bare / round.raw,
            round.answered,
            round.answered / round.raw,
            round.caught_up,
            round.caught_up / round.raw,
        );
        rounds.push(round);
    }
    let of = |value: fn(&Round) -> f64| median(rounds.iter().map(value).collect());
    println!("median of {ROUNDS} rounds, {CALLERS} callers, {HELD} events before:");
    println!("  bare / raw                  {:.2}", of(|round| round.bare / round.raw));
    println!("  answered / bare             {:.2}", of(|round| round.answered / round.bare));
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

/// Inserts rows that are ready into a copy of the ledger.
struct RawLoop {
    connection: Connection,
    position: u64,
}

/// A table, and a row of it that others are made after.
struct Like {
    insert: String,
    columns: Vec<String>,
    row: Vec<Value>,
}

impl RawLoop {
    fn open(path: &std::path::Path) -> Self {
        let connection = Connection::open(path).expect("the copy opens");
        connection.pragma_update(None, "synchronous", "FULL").expect("set");
        connection.pragma_update(None, "wal_autocheckpoint", 8192).expect("set");
        connection.pragma_update(None, "cache_size", -65_536).expect("set");
        let position = connection
            .query_row("SELECT max(position) FROM events", [], |row| row.get(0))
            .expect("a position");
        Self { connection, position }
    }

    /// The last row of a table.
    fn like(&self, table: &str) -> Like {
        let last = format!("SELECT * FROM {table} ORDER BY position DESC LIMIT 1");
        let mut statement = self.connection.prepare(&last).expect("a statement");
        let columns: Vec<String> =
            statement.column_names().into_iter().map(str::to_owned).collect();
        let row = statement
            .query_row([], |row| (0..columns.len()).map(|at| row.get(at)).collect())
            .expect("a row");
        let places = vec!["?"; columns.len()].join(", ");
        Like { insert: format!("INSERT INTO {table} VALUES ({places})"), columns, row }
    }

    /// So many new rows for each table, ready to be inserted.
    fn rows(&mut self, tables: &[Like], count: usize) -> Vec<Vec<Vec<Value>>> {
        let mut rows = Vec::with_capacity(count);
        for _ in 0..count {
            self.position += 1;
            let id = new_id();
            rows.push(tables.iter().map(|like| like.another(id, self.position)).collect());
        }
        rows
    }

    /// Inserts the rows, so many to a transaction.
    fn insert(&mut self, tables: &[Like], rows: &[Vec<Vec<Value>>], at_once: usize) {
        for chunk in rows.chunks(at_once) {
            let transaction = self.connection.transaction().expect("a transaction");
            {
                let mut statements: Vec<_> = tables
                    .iter()
                    .map(|like| transaction.prepare_cached(&like.insert).expect("a statement"))
                    .collect();
                for rows in chunk {
                    for (statement, row) in statements.iter_mut().zip(rows) {
                        statement.execute(params_from_iter(row)).expect("inserted");
                    }
                }
            }
            transaction.commit().expect("durable");
        }
    }
}

impl Like {
    /// The row under another identifier at another position.
    fn another(&self, id: Uuid, position: u64) -> Vec<Value> {
        let position = Value::Integer(position.try_into().expect("few events"));
        let new = |(column, old): (&String, &Value)| match (column.as_str(), old) {
            ("position" | "created_position", _) => position.clone(),
            ("aggregate_id" | "token_id", Value::Blob(_)) => Value::Blob(id.as_bytes().to_vec()),
            ("aggregate_id" | "token_id", _) => Value::Text(id.to_string()),
            (_, old) => old.clone(),
        };
        self.columns.iter().zip(&self.row).map(new).collect()
    }
}
