//! All processes sign with the same keys, or not at all.

use crate::process::ended;
use crate::stage::{Caller, Node, Stage, until};
use reqwest::Method;
use std::time::{Duration, Instant};

const SEED: &str = "5eed5eed5eed5eed5eed5eed5eed5eed5eed5eed5eed5eed5eed5eed5eed5eed";
const ANOTHER: &str = "0dd50dd50dd50dd50dd50dd50dd50dd50dd50dd50dd50dd50dd50dd50dd50dd5";

fn serve(stage: &Stage, folder: &str, seed: Option<&str>) -> Node {
    let folder = stage.place.file(folder);
    let mut environment = vec![("TOKEN_LEDGER_EVIDENCE_DIR", folder.to_str().expect("a path"))];
    environment.extend(seed.map(|seed| ("TOKEN_LEDGER_LOG_SEED", seed)));
    stage.serve_at(&stage.url(), &environment)
}

async fn key(caller: &Caller) -> String {
    let path = caller.path("/log/key");
    let request = caller.request(Method::GET, &path, &caller.company.audit_key);
    Caller::send(request).await.expect(200).text.trim().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_has_another_seed_signs_nothing() {
    let stage = Stage::new().await;
    let first = serve(&stage, "first", Some(SEED));
    until("it is signed", || first.checkpoint(), |answer| answer.status == 200).await;
    let known = key(&first).await;
    // The same seed in the environment does without a common folder.
    let same = serve(&stage, "same", Some(SEED));
    assert_eq!(key(&same).await, known);
    until("it is ready", || same.readiness(), |answer| answer.status == 200).await;

    for (folder, seed) in [("other", Some(ANOTHER)), ("its own", None)] {
        let other = serve(&stage, folder, seed);
        let said = other.serving.says("another seed");
        assert!(said.contains("TOKEN_LEDGER_LOG_SEED"), "{said}");
        let readiness = other.readiness().await.expect(503);
        let reasons = readiness.body["reasons"].to_string();
        assert!(reasons.contains("checkpoints can't be signed"), "{reasons}");
        // A company that nobody has signed anything for yet: it is not this one that does.
        let new = stage.place.setup(&format!("Globex of {folder}"));
        let there = other.caller_of(&new);
        until("it is signed elsewhere", || there.checkpoint(), |answer| answer.status == 200).await;
        assert_eq!(key(&there).await, key(&first.caller_of(&new)).await);
        assert_eq!(key(&other).await, known, "nobody is told of a key that nothing is signed with");
        // Everything else works.
        let secret = other.create("token").await.expect(201).field("token");
        other.verify(&secret).await.expect(200);
        other.stop();
    }
    first.stop();
    same.stop();
    let mut verify = stage.place.command(&["verify"]);
    verify.env("TOKEN_LEDGER_EVIDENCE_DIR", stage.place.file("first"));
    verify.env("TOKEN_LEDGER_LOG_SEED", SEED);
    ended(&mut verify).done();
}

/// Companies for which all processes sign at once.
const COMPANIES: usize = 6;
/// How long events are appended while that is watched.
const WATCHED: Duration = Duration::from_secs(4);

/// Each finds checkpoints that the others have just signed, and takes none for a sign that the
/// ledger was put back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_signs_while_others_do_suspects_nothing() {
    let stage = Stage::new().await;
    let nodes = [(); 3].map(|()| serve(&stage, "common", None));
    let others = (1..COMPANIES).map(|number| stage.place.setup(&format!("Globex {number}")));
    let companies: Vec<_> = std::iter::once(stage.company.clone()).chain(others).collect();
    for (node, company) in
        nodes.iter().flat_map(|node| companies.iter().map(move |one| (node, one)))
    {
        let caller = node.caller_of(company);
        let create = || caller.create("first");
        until("it knows the company's key", create, |answer| answer.status == 201).await;
    }
    let began = Instant::now();
    let appending = companies.iter().flat_map(|company| {
        nodes.iter().map(move |node| {
            let caller = node.caller_of(company);
            async move {
                while began.elapsed() < WATCHED {
                    caller.create("token").await.expect(201);
                }
            }
        })
    });
    futures::future::join_all(appending).await;
    for node in nodes {
        node.serving.signal("TERM");
        let (_, said) = node.serving.wait();
        assert!(!said.contains("was put back"), "{said}");
    }
    let mut verify = stage.place.command(&["verify"]);
    verify.env("TOKEN_LEDGER_EVIDENCE_DIR", stage.place.file("common"));
    ended(&mut verify).done();
}

/// The checkpoint of the stage's company that is kept in a folder.
fn kept(stage: &Stage, folder: &str) -> Option<String> {
    let file = format!("{folder}/log token-ledger/{}.checkpoint", stage.company.id);
    std::fs::read_to_string(stage.place.file(&file)).ok()
}

/// A database that was put back takes along what it says about checkpoints: only whose folder has
/// one knows more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_keeps_nothing_of_a_log_goes_on_with_it_once_others_have() {
    let stage = Stage::new().await;
    let first = serve(&stage, "first", Some(SEED));
    until("it is signed", || first.checkpoint(), |answer| answer.status == 200).await;
    let second = serve(&stage, "second", Some(SEED));
    until("it is ready", || second.readiness(), |answer| answer.status == 200).await;
    assert_eq!(kept(&stage, "second"), None);
    second.create("by both").await.expect(201);
    let kept_by_second = || async { kept(&stage, "second") };
    until("it keeps one, too", kept_by_second, Option::is_some).await;
    second.readiness().await.expect(200);
    first.stop();

    let before = kept(&stage, "second");
    second.create("by the second").await.expect(201);
    until("it signs", kept_by_second, |note| *note != before).await;
    // What others begin is gone on with at once.
    let new = stage.place.setup("Globex");
    let there = second.caller_of(&new);
    until("it is signed", || there.checkpoint(), |answer| answer.status == 200).await;
    second.stop();

    let third = serve(&stage, "third", Some(SEED));
    until("it is ready", || third.readiness(), |answer| answer.status == 200).await;
    third.create("by nobody").await.expect(201);
    let said = third.serving.says("no checkpoint of it is kept in");
    assert!(said.contains("a copy of another one's does"), "{said}");
    until("it says so", || third.readiness(), |answer| answer.status == 503).await;
    assert_eq!(kept(&stage, "third"), None);
    third.stop();
}
