//! Machines whose clocks are off.

use crate::stage::{Node, Stage, until};
use reqwest::Method;
use serde_json::json;
use std::path::PathBuf;
use std::time::Duration;
use token_ledger_domain::Timestamp;
use token_ledger_event_store::{Clock, SystemClock};

/// How long an old secret lives on in these tests, in seconds.
const GRACE: i64 = 4;
/// What a correction may be off, and how long an answer may take on a busy machine.
const TOLERANCE: Duration = Duration::from_millis(500);

/// The library that shifts a process's clock, which Debian keeps with those of the machine's kind.
fn library() -> PathBuf {
    let kinds = std::fs::read_dir("/usr/lib").expect("libraries");
    kinds
        .flatten()
        .map(|kind| kind.path().join("faketime/libfaketimeMT.so.1"))
        .find(|library| library.exists())
        .expect("faketime is installed (Debian: faketime); scripts/test does it")
}

/// Processes whose clock says what a file says, such as `-3s`.
struct Shifted {
    file: PathBuf,
}

impl Shifted {
    fn new(stage: &Stage, name: &str, shift: &str) -> Self {
        let shifted = Self { file: stage.place.file(name) };
        shifted.set(shift);
        shifted
    }

    fn set(&self, shift: &str) {
        let unfinished = self.file.with_extension("unfinished");
        std::fs::write(&unfinished, format!("{shift}\n")).expect("a file");
        std::fs::rename(unfinished, &self.file).expect("its place");
    }

    fn serve(&self, stage: &Stage) -> Node {
        let (library, file) = (library(), self.file.to_str().expect("a path"));
        let environment = [
            ("LD_PRELOAD", library.to_str().expect("a path")),
            ("FAKETIME_TIMESTAMP_FILE", file),
            ("FAKETIME_NO_CACHE", "1"),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
            ("DONT_FAKE_MONOTONIC", "1"),
        ];
        stage.serve_at(&stage.url(), &environment)
    }
}

fn now() -> Timestamp {
    SystemClock.now()
}

/// A secret that was replaced and ends on its own soon, and when.
async fn ending(node: &Node) -> (String, Timestamp) {
    let token = node.create("ends").await.expect(201);
    let below = format!("/tokens/{}/refresh", token.field("token_id"));
    let body = json!({"grace_period_seconds": GRACE});
    let refreshed = node.ask(Method::POST, &below, Some(body)).await.expect(200);
    let end = refreshed.field("previous_secret_expires_at").parse().expect("a time");
    (token.field("token"), end)
}

/// Asks until the secret's end is some time ago; whatever is answered well before it or well after
/// it is right.
async fn is_good_until(node: &Node, secret: &str, end: Timestamp) {
    let margin = i64::try_from(TOLERANCE.as_micros()).expect("a short time");
    loop {
        let asked = now().as_micros() - end.as_micros();
        let answer = node.verify(secret).await;
        let answered = now().as_micros() - end.as_micros();
        match answer.status {
            200 => assert!(asked < margin, "good {asked} µs after its end"),
            401 => assert!(answered > -margin, "refused {} µs before its end", -answered),
            503 => {}
            _ => panic!("{answer:?}"),
        }
        if asked > 2 * margin {
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_has_a_wrong_clock_goes_by_the_databases() {
    let stage = Stage::new().await;
    let (slow, fast) = (Shifted::new(&stage, "slow", "-3s"), Shifted::new(&stage, "fast", "+3s"));
    let nodes = [slow.serve(&stage), fast.serve(&stage)];
    let right = stage.serve();
    let steady = right.create("steady").await.expect(201).field("token");
    for node in &nodes {
        until("it is known", || node.verify(&steady), |answer| answer.status == 200).await;
        // Whoever runs the machine is told.
        let readiness = node.readiness().await.expect(503);
        let reasons = readiness.body["reasons"].to_string();
        assert!(reasons.contains("clock is 3 s off the database's"), "{reasons}");
        let before = now();
        let created: Timestamp =
            node.create("now").await.expect(201).field("created_at").parse().expect("a time");
        let margin = i64::try_from(TOLERANCE.as_micros()).expect("a short time");
        assert!(created.as_micros() > before.as_micros() - margin, "{created} but {before}");
        assert!(created.as_micros() < now().as_micros() + margin, "{created} but {}", now());
    }
    let (secret, end) = ending(&right).await;
    for node in &nodes {
        until("it is known", || node.verify(&secret), |answer| answer.status == 200).await;
    }
    futures::future::join_all(nodes.iter().map(|node| is_good_until(node, &secret, end))).await;
    right.stop();
    nodes.into_iter().for_each(Node::stop);
    stage.check();
}

/// Somebody sets a machine's clock while the process runs: it makes no difference.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_that_is_set_makes_no_difference() {
    let stage = Stage::new().await;
    let shifted = Shifted::new(&stage, "clock", "+0s");
    let node = shifted.serve(&stage);
    until("it is ready", || node.readiness(), |answer| answer.status == 200).await;
    for shift in ["-3s", "+3s", "+0s"] {
        let (secret, end) = ending(&node).await;
        shifted.set(shift);
        is_good_until(&node, &secret, end).await;
    }
    until("it is ready", || node.readiness(), |answer| answer.status == 200).await;
    node.stop();
    stage.check();
}
