//! Rebuilding all projections from a million events, beside a bare scan of the events plus a raw
//! bulk insert of the rows that come out.

mod support;

use rusqlite::Connection;
use std::path::Path;
use std::sync::Arc;
use support::{Bench, folder, median, memory, new_id, timed};
use token_ledger_projections::AuditTrail;
use token_ledger_projections::rebuild::{ALL, Plan, Rebuilder};
use token_ledger_projections::runner::Behind;
use token_ledger_projections::sqlite::SqliteBehind;

const EVENTS: usize = 1_000_000;
const ROUNDS: usize = 3;

fn main() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let folder = folder("rebuild");
    let path = folder.join("ledger.db");
    let bench = Bench::open(&path);
    eprintln!("filling a ledger with {EVENTS} events");
    let events = runtime.block_on(async {
        let company = bench.company().await;
        bench.mixed(company, EVENTS).await;
        let head = bench.head(company).await;
        let behind = SqliteBehind::<AuditTrail>::new(Arc::clone(&bench.database));
        while behind.advance(company).await.expect("the audit trail moves") < Some(head) {}
        head
    });
    let before = memory().0;
    let mut ratios = Vec::new();
    for round in 0..ROUNDS {
        let raw = bare(&path, &folder.join(format!("raw-{round}.db")));
        let plan = Plan { projections: ALL.to_vec(), company: None, merge: true };
        let (outcome, rebuilt) = timed(|| {
            runtime
                .block_on(bench.read.rebuild(&plan, new_id(), &|_, _| {}))
                .expect("the rebuild succeeds")
        });
        assert_eq!(outcome.differences, 0, "{:?}", outcome.examples.first());
        assert_eq!(outcome.events, events);
        let ratio = rebuilt.as_secs_f64() / raw;
        println!(
            "scan and bulk insert {raw:.2} s   rebuild {:.2} s ({ratio:.2})   {} rows",
            rebuilt.as_secs_f64(),
            outcome.rows
        );
        ratios.push(ratio);
    }
    println!(
        "median of {ROUNDS} rounds over {events} events: rebuild / bare {:.2}",
        median(ratios)
    );
    println!(
        "memory: {before:.0} MB before (the verification index is in it), {:.0} MB at most",
        memory().1
    );
}

/// Seconds to read every event's columns, and to insert the rows of the projections into empty
/// tables with their indexes, in one transaction each.
fn bare(ledger: &Path, copy: &Path) -> f64 {
    let reader = Connection::open(ledger).expect("the ledger opens");
    let ((), scanned) = timed(|| {
        let mut statement = reader
            .prepare("SELECT position, event_type, payload, metadata, recorded_at FROM events ORDER BY rowid")
            .expect("a statement");
        let mut rows = statement.query([]).expect("rows");
        let mut bytes = 0;
        while let Some(row) = rows.next().expect("a row") {
            bytes += row.get_ref(2).expect("a payload").as_str().expect("text").len();
            bytes += row.get_ref(3).expect("metadata").as_str().expect("text").len();
        }
        assert!(bytes > 0);
    });
    let writer = Connection::open(copy).expect("a copy");
    writer.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(())).expect("set");
    writer
        .execute_batch(include_str!("../migrations/sqlite/0002_projections.sql"))
        .expect("the tables");
    writer.execute("ATTACH ?1 AS ledger", [ledger.to_str().expect("a path")]).expect("attached");
    let mut inserted = 0.0;
    for table in ["companies", "members", "clients", "keys", "tokens", "audit_trail"] {
        let ((), took) = timed(|| {
            writer
                .execute_batch(&format!("INSERT INTO main.{table} SELECT * FROM ledger.{table}"))
                .expect("inserted");
        });
        inserted += took.as_secs_f64();
    }
    scanned.as_secs_f64() + inserted
}
