//! One process's commands on PostgreSQL, alone and while two other processes write to companies of
//! their own in the same database, whose server has files of its log to use again. Each process has as
//! many callers; with many of them one process alone keeps a small machine busy, so that three can't do
//! more than share it. A second server waits before it makes commits durable, as one does whose disk is
//! across a network or whose standbys have to answer: there the machine is not what is short.

mod support;

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use support::postgres::{PgBench, cluster, use_log};
use support::{cores_busy, creations, median, percentile, rate};
use token_ledger_domain::CompanyId;
use token_ledger_test_cluster::TestDatabase;

const CALLERS: [usize; 4] = [1, 4, 16, 64];
/// What each caller of a process writes while it is measured, and all of them together at most.
const PER_CALLER: usize = 1_600;
const CREATIONS: usize = 12_800;
/// How long the second server waits, in microseconds; whatever is ready by then is made durable with it.
const WAITS: [&str; 2] = ["commit_delay=2000", "commit_siblings=0"];
/// What each caller of the others writes before they look whether it is enough.
const PER_CALLER_OF_OTHERS: usize = 10;
const ROUNDS: usize = 5;
/// The argument that makes this program one of the other processes.
const OTHER: &str = "--write-to";
/// What such a process says when it has begun.
const BEGUN: &str = "begun";

fn main() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let mut arguments = std::env::args().skip_while(|argument| argument != OTHER).skip(1);
    if let (Some(url), Some(callers)) = (arguments.next(), arguments.next()) {
        runtime.block_on(write(&url, callers.parse().expect("a number")));
        return;
    }
    for (text, settings) in [("as fast as the disk", &[][..]), ("2 ms for a commit", &WAITS)] {
        println!("{text}:");
        let cluster = cluster(settings);
        let url = TestDatabase::fresh_in_blocking(&cluster).url();
        runtime.block_on(compare(&url));
    }
}

async fn compare(url: &str) {
    use_log(url).await;
    let bench = PgBench::connect(url).await;
    let company = bench.company().await;
    measure(&bench, company, CALLERS[0]).await;
    for callers in CALLERS {
        compare_with(url, &bench, company, callers).await;
    }
}

async fn compare_with(url: &str, bench: &PgBench, company: CompanyId, callers: usize) {
    let mut ratios = Vec::new();
    let (mut quiet, mut busy) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let (alone, latencies, cores_alone) = measure(bench, company, callers).await;
        quiet.extend(latencies);
        let others = [Other::begin(url, callers), Other::begin(url, callers)];
        let began = Instant::now();
        let (beside, latencies, cores_beside) = measure(bench, company, callers).await;
        let took = began.elapsed();
        busy.extend(latencies);
        let written: usize = others.into_iter().map(Other::end).sum();
        println!(
            "{callers:>2} callers: alone {alone:>6.0}/s with {cores_alone:.1} cores busy   beside two \
             others {beside:>6.0}/s ({:.2}) with {cores_beside:.1}   the others about {:>6.0}/s each",
            beside / alone,
            rate(written / 2, took),
        );
        ratios.push(beside / alone);
    }
    let p99 = |latencies: &mut Vec<Duration>| percentile(latencies, 0.99).as_secs_f64() * 1e3;
    println!(
        "median of {ROUNDS} rounds, {callers} callers each: {:.2}   p99 {:.2} ms alone, {:.2} ms \
         beside the others",
        median(ratios),
        p99(&mut quiet),
        p99(&mut busy),
    );
}

/// Answers how many it was a second, how long each took, and how many cores were busy meanwhile.
async fn measure(bench: &PgBench, company: CompanyId, callers: usize) -> (f64, Vec<Duration>, f64) {
    let per_caller = PER_CALLER.min(CREATIONS / callers);
    let requests = creations(callers, per_caller);
    let (started, busy) = (Instant::now(), cores_busy());
    let latencies = bench.create_side_by_side(company, requests).await;
    let (took, busy) = (started.elapsed(), cores_busy().saturating_sub(busy));
    (rate(callers * per_caller, took), latencies, busy.as_secs_f64() / took.as_secs_f64())
}

/// Another process that writes.
struct Other {
    process: Child,
    says: BufReader<std::process::ChildStdout>,
}

impl Other {
    /// Starts it and waits until it writes.
    fn begin(url: &str, callers: usize) -> Self {
        let mut process = Command::new(std::env::current_exe().expect("this program"))
            .args([OTHER, url, &callers.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a process");
        let mut says = BufReader::new(process.stdout.take().expect("its output"));
        let mut line = String::new();
        says.read_line(&mut line).expect("a line");
        assert_eq!(line.trim(), BEGUN);
        Self { process, says }
    }

    /// Ends it; answers how much it has written.
    fn end(mut self) -> usize {
        drop(self.process.stdin.take());
        let mut said = String::new();
        self.says.read_to_string(&mut said).expect("its last word");
        assert!(self.process.wait().expect("it ends").success());
        said.trim().parse().expect("a number")
    }
}

/// Writes to a company of its own until the input ends.
async fn write(url: &str, callers: usize) {
    let bench = PgBench::connect(url).await;
    let company = bench.company().await;
    let enough = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&enough);
    std::thread::spawn(move || {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        told.store(true, Ordering::Relaxed);
    });
    let mut written = 0;
    bench.create_side_by_side(company, creations(callers, PER_CALLER_OF_OTHERS)).await;
    println!("{BEGUN}");
    while !enough.load(Ordering::Relaxed) {
        let requests = creations(callers, PER_CALLER_OF_OTHERS);
        written += bench.create_side_by_side(company, requests).await.len();
    }
    println!("{written}");
}
