//! What evidence costs: appending with trees and checkpoints and without, a proof in a ledger of a
//! million events, and verifying all of it beside a bare scan that hashes the same bytes.

mod support;

use rusqlite::Connection;
use sha2::{Digest, Sha256};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};
use support::{Bench, context, creation, folder, median, new_id, percentile, timed};
use token_ledger::app::{App, Choices, signing};
use token_ledger::config::DatabaseUrl;
use token_ledger_domain::token::Token;
use token_ledger_domain::{CompanyId, Power};
use token_ledger_event_store::sqlite::Access;
use token_ledger_event_store::{Ledger, Request, Store, SystemClock, SystemEntropy};
use token_ledger_projections::AuditTrail;
use token_ledger_projections::runner;
use token_ledger_projections::sqlite::SqliteBehind;
use tokio::sync::watch;

const EVENTS: usize = 1_000_000;
const PROOFS: u64 = 2000;
const CALLERS: usize = 64;
const ROUNDS: usize = 5;
const ROUND: Duration = Duration::from_secs(3);

fn main() {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    append(&runtime);
    let folder = folder("evidence");
    let path = folder.join("ledger.db");
    eprintln!("filling a ledger with {EVENTS} events");
    let company = runtime.block_on(async {
        let bench = Bench::open(&path);
        let company = bench.company().await;
        bench.mixed(company, EVENTS).await;
        company
    });
    proofs(&runtime, &path, company);
    verify(&path);
}

/// Creations for a while by many callers; answers how many a second.
async fn rate(ledger: &Arc<Ledger>, company: CompanyId) -> f64 {
    let begun = Instant::now();
    let callers: Vec<_> = (0..CALLERS)
        .map(|_| {
            let ledger = Arc::clone(ledger);
            tokio::spawn(async move {
                let mut count = 0_u32;
                while begun.elapsed() < ROUND {
                    let request = Request::new(new_id(), creation());
                    ledger
                        .execute::<Token>(company, Power::SuperAdmin, &context(), request)
                        .await
                        .expect("a token");
                    count += 1;
                }
                count
            })
        })
        .collect();
    let mut count = 0;
    for caller in callers {
        count += caller.await.expect("a caller");
    }
    f64::from(count) / begun.elapsed().as_secs_f64()
}

/// Appending with the audit trail behind, with and without evidence, in turns.
fn append(runtime: &tokio::runtime::Runtime) {
    let (mut with, mut without) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let folder = folder(&format!("evidence-append-{round}"));
        // Whoever comes first finds another disk: each does, every other time.
        if round % 2 == 0 {
            without.push(runtime.block_on(rate_without(&folder)));
            with.push(runtime.block_on(rate_with(&folder)));
        } else {
            with.push(runtime.block_on(rate_with(&folder)));
            without.push(runtime.block_on(rate_without(&folder)));
        }
    }
    let ratios = with.iter().zip(&without).map(|(with, without)| with / without).collect();
    println!(
        "append: {:.0}/s with evidence, {:.0}/s without, ratio {:.2}",
        median(with.clone()),
        median(without.clone()),
        median(ratios)
    );
}

async fn rate_without(folder: &Path) -> f64 {
    let bench = Bench::open(&folder.join("without.db"));
    let company = bench.company().await;
    let (stop, stopped) = watch::channel(false);
    let audit = Arc::new(SqliteBehind::<AuditTrail>::new(Arc::clone(&bench.database)));
    let store = Arc::clone(&bench.store) as Arc<dyn Store>;
    let (_handle, task) = runner::spawn(audit, store, stopped);
    let rate = rate(&bench.ledger, company).await;
    stop.send_replace(true);
    task.await.expect("the audit trail ends");
    rate
}

async fn rate_with(folder: &Path) -> f64 {
    let path = folder.join("with.db");
    let bench = Bench::open(&path);
    let company = bench.company().await;
    drop(bench);
    let app = open(&path).await;
    let (stop, stopped) = watch::channel(false);
    let mut tasks = app.start(&stopped);
    tasks.push(signing::start(&app, &stopped));
    let clock = Arc::new(SystemClock);
    let ledger = Arc::new(Ledger::new(Arc::clone(app.store()), clock, Arc::new(SystemEntropy)));
    let rate = rate(&ledger, company).await;
    stop.send_replace(true);
    for task in tasks {
        task.await.expect("a task ends");
    }
    rate
}

async fn open(path: &Path) -> Arc<App> {
    let url = DatabaseUrl::Sqlite(path.to_owned());
    let (clock, entropy) = (Arc::new(SystemClock), Arc::new(SystemEntropy));
    App::open(&url, Access::Write, clock, entropy, Choices::default())
        .await
        .expect("the ledger opens")
}

fn proofs(runtime: &tokio::runtime::Runtime, path: &Path, company: CompanyId) {
    runtime.block_on(async {
        let app = open(path).await;
        let (stop, stopped) = watch::channel(false);
        let begun = Instant::now();
        let mut tasks = app.start(&stopped);
        tasks.push(signing::start(&app, &stopped));
        let head = app.head(company).await.expect("a head");
        while app.proof(company, head).await.is_err() {
            assert!(begun.elapsed() < Duration::from_secs(600), "no checkpoint");
        }
        println!("tree of {head} entries, signed: {:.1} s", begun.elapsed().as_secs_f64());
        let mut took = Vec::new();
        for number in 0..PROOFS {
            // Spread over the ledger, no two beside each other.
            let position = number * 7_919_993 % head + 1;
            let begun = Instant::now();
            app.proof(company, position).await.expect("a proof");
            took.push(begun.elapsed());
        }
        println!(
            "proof among {head}: median {:.2} ms, 99th percentile {:.2} ms",
            percentile(&mut took, 0.5).as_secs_f64() * 1e3,
            percentile(&mut took, 0.99).as_secs_f64() * 1e3
        );
        stop.send_replace(true);
        for task in tasks {
            task.await.expect("a task ends");
        }
    });
}

fn verify(path: &Path) {
    let (mut ours, mut bare) = (Vec::new(), Vec::new());
    for _ in 0..3 {
        bare.push(timed(|| scan(path)).1.as_secs_f64());
        let (output, took) = timed(|| {
            Command::new(env!("CARGO_BIN_EXE_token-ledger"))
                .args(["verify", "--database-url"])
                .arg(format!("sqlite://{}", path.display()))
                .output()
                .expect("the program can be run")
        });
        assert!(output.status.success(), "{output:?}");
        ours.push(took.as_secs_f64());
    }
    let (ours, bare) = (median(ours), median(bare));
    println!("verify: {ours:.2} s, bare scan that hashes {bare:.2} s, ratio {:.2}", ours / bare);
}

/// Reads every event with its private part and hashes the bytes.
fn scan(path: &Path) -> [u8; 32] {
    let connection = Connection::open(path).expect("the ledger opens");
    let mut statement = connection
        .prepare(
            "SELECT e.payload, e.metadata, e.event_type, e.aggregate_id, e.salt, e.entry_hash,
             p.salt, p.data FROM events e LEFT JOIN event_private p
             ON p.company_id = e.company_id AND p.position = e.position
             ORDER BY e.company_id, e.position",
        )
        .expect("a statement");
    let mut rows = statement.query([]).expect("rows");
    let mut hasher = Sha256::new();
    while let Some(row) = rows.next().expect("a row") {
        for column in 0..8 {
            match row.get_ref(column).expect("a column") {
                rusqlite::types::ValueRef::Text(bytes) | rusqlite::types::ValueRef::Blob(bytes) => {
                    hasher.update(bytes);
                }
                _ => {}
            }
        }
    }
    hasher.finalize().into()
}
