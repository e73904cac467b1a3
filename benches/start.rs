//! Filling the verification index with a million active tokens, beside a bare scan of their rows;
//! and the memory that it takes.

mod support;

use rusqlite::Connection;
use std::path::Path;
use std::sync::Arc;
use support::{Bench, folder, median, memory, timed};
use token_ledger_projections::VerificationIndex;
use token_ledger_projections::sqlite::SqliteReadModels;

const TOKENS: usize = 1_000_000;
const ROUNDS: usize = 5;

fn main() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let folder = folder("start");
    let path = folder.join("ledger.db");
    eprintln!("filling a ledger with {TOKENS} tokens");
    {
        let bench = Bench::open(&path);
        runtime.block_on(async {
            let company = bench.company().await;
            bench.create(company, TOKENS).await;
        });
    }
    let bench = Bench::open(&path);
    let mut ratios = Vec::new();
    for round in 0..ROUNDS {
        let scan = bare(&path);
        let before = memory().0;
        let index = Arc::new(VerificationIndex::new());
        let read = SqliteReadModels::new(Arc::clone(&bench.database), Arc::clone(&index));
        let (outcome, filled) = timed(|| runtime.block_on(read.fill()));
        outcome.expect("the index fills");
        assert_eq!(index.len(), TOKENS);
        let ratio = filled.as_secs_f64() / scan;
        println!("bare scan {scan:.2} s   ready after {:.2} s ({ratio:.2})", filled.as_secs_f64());
        if round == 0 {
            println!("the index takes {:.0} MB for {TOKENS} tokens", memory().0 - before);
        }
        ratios.push(ratio);
    }
    println!("median of {ROUNDS} rounds: ready / bare scan {:.2}", median(ratios));
}

/// Seconds to read the rows of all tokens, every column.
fn bare(path: &Path) -> f64 {
    let reader = Connection::open(path).expect("the ledger opens");
    let ((), took) = timed(|| {
        let mut statement = reader.prepare("SELECT * FROM tokens").expect("a statement");
        let columns = statement.column_count();
        let mut rows = statement.query([]).expect("rows");
        let mut count = 0;
        while let Some(row) = rows.next().expect("a row") {
            for column in 0..columns {
                std::hint::black_box(row.get_ref(column).expect("a value"));
            }
            count += 1;
        }
        assert_eq!(count, TOKENS);
    });
    took.as_secs_f64()
}
