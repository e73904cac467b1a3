//! What an auditor relies on: checkpoints, tiles, proofs and packs of a running service, checked
//! with nothing but its key.

use crate::process::{Company, Place, Serving, get, post};
use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use tlog_tiles::tlog::{Hash, check_record, check_tree, record_hash};
use token_ledger::evidence::bundle;
use token_ledger::evidence::note::{Statement, VerifierKey};
use token_ledger::evidence::pack::read_me;

/// Settings that sign soon after each event.
const SOON: [&str; 2] = ["--checkpoint-delay-ms", "50"];
/// How long a checkpoint may take to appear.
const PATIENCE: Duration = Duration::from_secs(30);

/// A raw answer: status, text of a header, bytes.
struct Raw {
    status: u16,
    content_type: String,
    caching: String,
    bytes: Vec<u8>,
}

async fn raw(url: &str, key: Option<&str>) -> Raw {
    let mut request = reqwest::Client::new().get(url);
    if let Some(key) = key {
        request = request.bearer_auth(key);
    }
    let response = request.send().await.expect("an answer");
    let header = |name: &str| {
        let value = response.headers().get(name).and_then(|value| value.to_str().ok());
        value.unwrap_or_default().to_owned()
    };
    Raw {
        status: response.status().as_u16(),
        content_type: header("content-type"),
        caching: header("cache-control"),
        bytes: response.bytes().await.expect("a body").to_vec(),
    }
}

/// A company whose log is read.
struct Log<'a> {
    serving: &'a Serving,
    company: &'a Company,
}

impl Log<'_> {
    fn url(&self, below: &str) -> String {
        self.serving.url(&format!("/v1/companies/{}/{below}", self.company.id))
    }

    async fn raw(&self, below: &str) -> Raw {
        raw(&self.url(below), Some(&self.company.audit_key)).await
    }

    async fn text(&self, below: &str) -> String {
        let raw = self.raw(below).await;
        assert_eq!(raw.status, 200, "{below}: {}", String::from_utf8_lossy(&raw.bytes));
        String::from_utf8(raw.bytes).expect("a text")
    }

    async fn key(&self) -> VerifierKey {
        self.text("log/key").await.parse().expect("a key")
    }

    /// The newest checkpoint, once it is of so many entries.
    async fn checkpoint(&self, size: u64) -> Statement {
        let key = self.key().await;
        let begun = Instant::now();
        loop {
            let statement = key.open(&self.text("log/checkpoint").await).expect("a checkpoint");
            if statement.size >= size {
                return statement;
            }
            assert!(begun.elapsed() < PATIENCE, "the checkpoint stays at {}", statement.size);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn token(&self, name: &str) -> String {
        let body = json!({"name": name, "scopes": ["positions"]});
        let (status, token) = post(&self.url("tokens"), &self.company.admin_key, &body).await;
        assert_eq!(status, 201, "{token}");
        token["token_id"].as_str().expect("an id").to_owned()
    }

    async fn head(&self) -> u64 {
        let (_, page) = get(&self.url("audit/events?limit=1"), &self.company.audit_key).await;
        page["items"][0]["position"].as_u64().expect("a position")
    }

    /// All entries up to a size, as bundles one after the other.
    async fn entries(&self, size: u64) -> Vec<u8> {
        let mut all = Vec::new();
        for index in 0..size / 256 {
            all.extend(self.raw(&format!("log/tile/entries/{index:03}")).await.bytes);
        }
        if !size.is_multiple_of(256) {
            let path = format!("log/tile/entries/{:03}.p/{}", size / 256, size % 256);
            all.extend(self.raw(&path).await.bytes);
        }
        all
    }
}

/// The hashes of a proof (C2SP tlog-proof), its index and its checkpoint.
fn parse_proof(text: &str) -> (u64, Vec<Hash>, String) {
    let (head, checkpoint) = text.split_once("\n\n").expect("an empty line");
    let mut lines = head.lines();
    assert_eq!(lines.next(), Some("c2sp.org/tlog-proof@v1"));
    let index = lines.next().and_then(|line| line.strip_prefix("index ")).expect("an index");
    let hashes = lines.map(|line| Hash::parse_hash(line).expect("a hash")).collect();
    (index.parse().expect("a number"), hashes, checkpoint.to_owned())
}

#[tokio::test]
async fn every_event_is_proved_by_a_checkpoint_that_extends_the_earlier_ones() {
    let place = Place::new();
    let company = place.setup("Acme");
    let other = place.setup("Globex");
    let serving = place.serve(&SOON);
    let log = Log { serving: &serving, company: &company };
    let first = log.checkpoint(log.head().await).await;
    assert_eq!(first.origin, format!("token-ledger/{}", company.id));
    for number in 0..300 {
        log.token(&format!("t{number}")).await;
    }
    let head = log.head().await;
    let last = log.checkpoint(head).await;
    assert_eq!(last.size, head);

    let key = log.key().await;
    let entries = log.entries(last.size).await;
    let entries: Vec<&[u8]> = bundle::entries(&entries).map(Result::unwrap).collect();
    assert_eq!(entries.len() as u64, head);
    for position in [1, 2, 100, 255, 256, 257, head] {
        let text = log.text(&format!("log/proof?position={position}")).await;
        let (index, proof, checkpoint) = parse_proof(&text);
        assert_eq!(index, position - 1);
        let tree = key.open(&checkpoint).unwrap();
        let leaf = record_hash(entries[usize::try_from(index).unwrap()]);
        check_record(&proof, tree.size, tree.root, index, leaf).unwrap();
    }
    let path = format!("log/consistency?from={}&to={}", first.size, last.size);
    let (_, answer) = get(&log.url(&path), &company.audit_key).await;
    let hashes = answer["hashes"].as_array().expect("hashes").iter();
    let proof = hashes.map(|hash| Hash::parse_hash(hash.as_str().unwrap()).unwrap()).collect();
    check_tree(&proof, last.size, last.root, first.size, first.root).unwrap();

    // Tiles: level 0 are the hashes of the entries.
    let tile = log.raw("log/tile/0/000").await;
    assert_eq!((tile.status, tile.bytes.len()), (200, 8192));
    assert_eq!(tile.content_type, "application/octet-stream");
    assert!(tile.caching.contains("immutable") && tile.caching.contains("private"));
    for (hash, entry) in tile.bytes.chunks(32).zip(&entries) {
        assert_eq!(hash, record_hash(entry).0);
    }
    let partial = log.raw(&format!("log/tile/0/001.p/{}", head - 256)).await;
    assert_eq!(partial.bytes.len() as u64, (head - 256) * 32);
    assert!(!partial.caching.contains("immutable"));
    assert_eq!(log.raw("log/tile/0/000.p/7").await.bytes, tile.bytes[..7 * 32]);
    assert_eq!(log.raw("log/tile/1/000.p/1").await.bytes.len(), 32);

    // All of them are kept, each for another size, the newest first.
    let (_, page) = get(&log.url("log/checkpoints?limit=1000"), &company.audit_key).await;
    let items = page["items"].as_array().expect("a list");
    let sizes: Vec<u64> = items.iter().map(|item| item["size"].as_u64().unwrap()).collect();
    assert!(sizes.len() >= 2 && sizes.windows(2).all(|pair| pair[0] > pair[1]), "{sizes:?}");
    for item in items {
        let statement = key.open(item["checkpoint"].as_str().unwrap()).unwrap();
        assert_eq!(item["root"], statement.root.to_string());
    }
    // A cursor is of one company's list.
    let (_, page) = get(&log.url("log/checkpoints?limit=1"), &company.audit_key).await;
    let cursor = page["next_cursor"].as_str().expect("there are more");
    let theirs = format!("/v1/companies/{}/log/checkpoints?cursor={cursor}", other.id);
    let (status, problem) = get(&serving.url(&theirs), &other.audit_key).await;
    assert_eq!((status, &problem["errors"][0]["field"]), (400, &"cursor".into()), "{problem}");
    serving.stop();
    place.run(&["verify"]).done();
}

#[tokio::test]
async fn what_is_no_tile_and_no_event_is_not_there() {
    let place = Place::new();
    let company = place.setup("Acme");
    let serving = place.serve(&SOON);
    let log = Log { serving: &serving, company: &company };
    let head = log.head().await;
    log.checkpoint(head).await;
    for below in [
        "log/tile/0/000", // Not full yet.
        "log/tile/0/001",
        "log/tile/0/000.p/0",
        "log/tile/0/000.p/200",
        "log/tile/0/000.p/256",
        "log/tile/0/0",
        "log/tile/00/000.p/1",
        "log/tile/64/000.p/1",
        "log/tile/63/000.p/1",
        "log/tile/9/000.p/1",
        "log/tile/x/000.p/1",
        "log/tile/0/x000/000.p/1",
        "log/tile/0/x018/x446/x744/x073/x709/x551/615",
        "log/tile/entries/000",
        "log/tile/entries/000.p/0",
        "log/tile/entries/000.p/200",
        "log/tile/entries/x001/000.p/1",
        "log/proof?position=0",
        "log/nothing",
        "log/tile/0",
        "log/tile/0/",
    ] {
        assert_eq!(log.raw(below).await.status, 404, "{below}");
    }
    let beyond = format!("log/proof?position={}", head + 1);
    assert_eq!(log.raw(&beyond).await.status, 404);
    for below in [
        "log/proof",
        "log/proof?position=-1",
        "log/proof?position=x",
        "log/proof?position=1&extra=1",
        "log/checkpoint?x=1",
        "log/tile/0/000.p/1?x=1",
        "log/consistency?from=0&to=1",
        "log/consistency?from=2&to=1",
        "log/consistency?from=1",
        "log/consistency?from=1&to=99999999",
    ] {
        assert_eq!(log.raw(below).await.status, 400, "{below}");
    }
    let unknown = "tokens/0197f0c0-0000-7000-8000-000000000000/evidence";
    assert_eq!(log.raw(unknown).await.status, 404);
    serving.stop();
}

#[tokio::test]
async fn logs_are_for_auditors_until_the_operator_opens_them_and_entries_always() {
    let place = Place::new();
    let company = place.setup("Acme");
    let other = place.setup("Other");
    let open = ["log/checkpoint", "log/checkpoints", "log/key", "log/tile/0/000.p/1"];
    let closed =
        ["log/tile/entries/000.p/1", "log/proof?position=1", "log/consistency?from=1&to=1"];
    for public in [false, true] {
        let mut args = SOON.to_vec();
        if public {
            args.push("--public-log");
        }
        let serving = place.serve(&args);
        let log = Log { serving: &serving, company: &company };
        log.checkpoint(1).await;
        for below in open.iter().chain(&closed) {
            let opened = public && open.contains(below);
            let url = log.url(below);
            let status = |expected: u16| if opened { 200 } else { expected };
            assert_eq!(raw(&url, None).await.status, status(401), "{below} {public}");
            let introspect = raw(&url, Some(&company.introspect_key)).await.status;
            assert_eq!(introspect, status(403), "{below} {public}");
            let stranger = raw(&url, Some(&other.audit_key)).await.status;
            assert_eq!(stranger, status(404), "{below} {public}");
            for key in [&company.audit_key, &company.admin_key, &company.operator_key] {
                assert_eq!(raw(&url, Some(key)).await.status, 200, "{below} {public}");
            }
        }
        serving.stop();
    }
}

/// Something that is done to a pack.
type Change = Box<dyn Fn(&mut Value)>;

/// Checks a pack from the command line.
fn check(
    place: &Place,
    pack: &[u8],
    key: &str,
    entries: Option<&PathBuf>,
) -> crate::process::Ended {
    let file = place.file("pack.json");
    std::fs::write(&file, pack).unwrap();
    let mut command = place.command(&["check-evidence"]);
    // It needs no ledger.
    command.env("TOKEN_LEDGER_DATABASE_URL", "sqlite:///nowhere/at-all.db");
    command.arg(&file).args(["--key", key]);
    if let Some(entries) = entries {
        command.arg("--entries").arg(entries);
    }
    crate::process::ended(&mut command)
}

#[tokio::test]
async fn a_pack_is_checked_with_files_and_a_key_alone() {
    let place = Place::new();
    let company = place.setup("Acme");
    let serving = place.serve(&SOON);
    let log = Log { serving: &serving, company: &company };
    let token = log.token("one").await;
    log.token("two").await;
    let path = format!("tokens/{token}");
    let (status, _) =
        post(&log.url(&format!("{path}/refresh")), &company.admin_key, &json!({"reason": "leak"}))
            .await;
    assert_eq!(status, 200);
    log.token("three").await;
    let head = log.head().await;
    let tree = log.checkpoint(head).await;
    let key = log.text("log/key").await.trim().to_owned();
    let pack = log.text(&format!("{path}/evidence")).await;
    let entries = place.file("entries");
    std::fs::write(&entries, log.entries(tree.size).await).unwrap();

    let said = check(&place, pack.as_bytes(), &key, None).done();
    assert!(said.starts_with("PROVED") && said.contains("its 2 events"), "{said}");
    assert!(said.contains("not shown; check with --entries"), "{said}");
    let said = check(&place, pack.as_bytes(), &key, Some(&entries)).done();
    assert!(said.contains("nothing else happened to it"), "{said}");

    assert!(!said.contains("the key in the pack"), "{said}");
    let mut other: Value = serde_json::from_str(&pack).unwrap();
    other["verifier_key"] = json!("a+1+b");
    let said = check(&place, other.to_string().as_bytes(), &key, None).done();
    assert!(said.starts_with("PROVED"), "{said}");
    assert!(said.lines().any(|line| line == "the key in the pack is another one"), "{said}");

    check_changes(&place, &pack, &key, &entries);
    check_hostile(&place, &pack, &key, &entries);
    check_strangers(&place, &pack, &key, &entries).await;
    serving.stop();
}

/// The same with something changed is no proof.
fn check_changes(place: &Place, pack: &str, key: &str, entries: &PathBuf) {
    let parsed: Value = serde_json::from_str(pack).unwrap();
    let changed = |change: &dyn Fn(&mut Value)| {
        let mut pack = parsed.clone();
        change(&mut pack);
        check(place, pack.to_string().as_bytes(), key, Some(entries)).refused(1)
    };
    let swap = |field: &'static str, from: &'static str, to: &'static str| {
        move |pack: &mut Value| {
            let text = pack["events"][1][field].as_str().unwrap().to_owned();
            assert!(text.contains(from), "{field}: {text}");
            pack["events"][1][field] = json!(text.replacen(from, to, 1));
        }
    };
    let other = "f".repeat(64);
    let refused: [(&str, Change); 12] = [
        (
            "the page in plain words",
            Box::new(|pack| pack["read_me"][0] = json!("Nothing ever happened to this token.")),
        ),
        ("payload", Box::new(swap("payload", "digest", "digess"))),
        ("metadata", Box::new(swap("metadata", "key", "kez"))),
        ("entry", Box::new(swap("entry", "token.refreshed", "token.deleted"))),
        ("white space", Box::new(swap("entry", "\":", "\": "))),
        ("salt", Box::new(|pack| pack["events"][1]["salt"] = json!("0".repeat(64)))),
        (
            "private",
            Box::new(|pack| {
                let data =
                    pack["events"][1]["private"]["data"].as_str().unwrap().replace("leak", "x");
                pack["events"][1]["private"]["data"] = json!(data);
            }),
        ),
        (
            "proof",
            Box::new(|pack| {
                pack["events"][0]["inclusion_proof"].as_array_mut().unwrap().pop();
            }),
        ),
        (
            "the first is missing",
            Box::new(|pack| {
                pack["events"].as_array_mut().unwrap().remove(0);
            }),
        ),
        (
            "the last is missing",
            Box::new(|pack| {
                pack["events"].as_array_mut().unwrap().pop();
            }),
        ),
        (
            "another token",
            Box::new(move |pack| {
                pack["token_id"] = json!("0197f0c0-0000-7000-8000-000000000000");
            }),
        ),
        (
            "hash",
            Box::new(move |pack| {
                let entry = pack["events"][1]["entry"].as_str().unwrap().to_owned();
                let at = entry.find("\"content\":\"").unwrap() + 11;
                let entry = format!("{}{other}{}", &entry[..at], &entry[at + 64..]);
                pack["events"][1]["entry"] = json!(entry);
            }),
        ),
    ];
    for (what, change) in &refused {
        let said = changed(change);
        assert!(said.contains("NOT PROVED"), "{what}: {said}");
    }
    // Leaving out the last, and saying so, is noticed with all entries only.
    let mut cut = parsed.clone();
    cut["events"].as_array_mut().unwrap().pop();
    let said = check(place, cut.to_string().as_bytes(), key, None).refused(1);
    assert!(said.contains("read_me is not what"), "{said}");
    let position = cut["events"][0]["position"].as_u64().unwrap();
    let token = cut["token_id"].as_str().unwrap().parse().unwrap();
    let tree = Statement::unverified(cut["checkpoint"].as_str().unwrap()).unwrap();
    cut["read_me"] = json!(read_me(token, &tree.origin, tree.size, position, position));
    check(place, cut.to_string().as_bytes(), key, None).done();
    let said = check(place, cut.to_string().as_bytes(), key, Some(entries)).refused(1);
    assert!(said.contains("an event of the token that the pack leaves out"), "{said}");
    // So is, at once, that somebody's part is not shown; the rest is proved.
    let mut erased = parsed.clone();
    let position = erased["events"][1]["position"].clone();
    erased["events"][1]["private"] = Value::Null;
    let said = check(place, erased.to_string().as_bytes(), key, Some(entries)).done();
    let words =
        format!("the private part at position {position} is not shown: it was erased or left out");
    assert!(said.contains(&words), "{said}");
}

/// The members of a pack, and of an event in it.
const PACK: [&str; 8] = [
    "format",
    "read_me",
    "company_id",
    "token_id",
    "origin",
    "verifier_key",
    "checkpoint",
    "events",
];
const EVENT: [&str; 7] =
    ["position", "entry", "salt", "payload", "metadata", "private", "inclusion_proof"];

/// Whatever a file holds, it is refused with the code for what is wrong, and writes nothing but text.
fn check_hostile(place: &Place, pack: &str, key: &str, entries: &PathBuf) {
    let whole = std::fs::read(entries).unwrap();
    let deep = "[".repeat(200_000);
    let numbers = pack.replacen("\"position\":", "\"position\":1e999999,\"x\":", 1);
    let twice = pack.replacen('{', "{\"format\":\"x\",", 1);
    let lines = pack.replacen("\"origin\":\"", "\"origin\":\"\\u001b[2J\\n", 1);
    let half = &pack[..pack.len() / 2];
    // All members in their order, without their names.
    let parsed: Value = serde_json::from_str(pack).unwrap();
    let members = |of: &Value, names: &[&str]| names.iter().map(|name| of[*name].clone()).collect();
    let list: Value = members(&parsed, &PACK);
    let mut lists = parsed.clone();
    lists["events"][0] = members(&parsed["events"][0], &EVENT);
    let (list, lists) = (list.to_string(), lists.to_string());
    // What other checkers would not read as the same.
    let mut unsaid = parsed.clone();
    for event in unsaid["events"].as_array_mut().unwrap() {
        event.as_object_mut().unwrap().remove("private");
    }
    let token = parsed["token_id"].as_str().unwrap();
    let (unsaid, shouted) = (unsaid.to_string(), pack.replacen(token, &token.to_uppercase(), 1));
    let capitals = |place: &str| {
        let mut pack = parsed.clone();
        let salt = pack.pointer_mut(place).expect("a salt");
        *salt = json!(salt.as_str().unwrap().to_uppercase());
        pack.to_string()
    };
    let salted = ["/events/0/salt", "/events/1/private/salt"].map(capitals);
    let texts = [
        "",
        "null",
        "[]",
        "\u{feff}{}",
        &deep,
        half,
        &numbers,
        &twice,
        &lines,
        &list,
        &lists,
        &unsaid,
        &shouted,
        &salted[0],
        &salted[1],
    ];
    for text in texts {
        let said = check(place, text.as_bytes(), key, Some(entries)).refused(1);
        assert!(said.starts_with("NOT PROVED: "), "{said}");
        assert!(said.trim_end().chars().all(|c| !c.is_control()), "{said:?}");
    }
    check(place, b"\xff\xfe", key, None).refused(1);
    // Entries that are cut anywhere, or begin anywhere else.
    for end in [0, 1, 2, 3, whole.len() / 2, whole.len() - 1] {
        std::fs::write(entries, &whole[..end]).unwrap();
        let said = check(place, pack.as_bytes(), key, Some(entries)).refused(1);
        assert!(said.contains("NOT PROVED: the entries: "), "{end}: {said}");
    }
    std::fs::write(entries, &whole[1..]).unwrap();
    check(place, pack.as_bytes(), key, Some(entries)).refused(1);
    std::fs::write(entries, &whole).unwrap();
    // What came later does no harm, and is not proved.
    assert!(!check(place, pack.as_bytes(), key, Some(entries)).stdout.contains("not checked"));
    let later = [whole.as_slice(), b"\0\x05later"].concat();
    std::fs::write(entries, later).unwrap();
    let said = check(place, pack.as_bytes(), key, Some(entries)).done();
    assert!(said.contains("those were not checked"), "{said}");
    std::fs::write(entries, whole).unwrap();
    let nowhere = place.file("nowhere");
    check(place, pack.as_bytes(), key, Some(&nowhere)).refused(1);
}

/// The key in the pack counts for nothing, and files that are none are refused.
async fn check_strangers(place: &Place, pack: &str, key: &str, entries: &PathBuf) {
    let stranger = Place::new();
    let their_company = stranger.setup("Acme");
    let theirs = stranger.serve(&SOON);
    let their_log = Log { serving: &theirs, company: &their_company };
    let their_key = their_log.text("log/key").await.trim().to_owned();
    let said = check(place, pack.as_bytes(), &their_key, None).refused(1);
    assert!(said.contains("has not signed it"), "{said}");
    check(place, pack.as_bytes(), "nonsense", None).refused(2);
    check(place, b"{}", key, None).refused(1);
    std::fs::write(entries, b"\0\x05ab").unwrap();
    check(place, pack.as_bytes(), key, Some(entries)).refused(1);
    theirs.stop();
}

/// The last checkpoint that is kept outside the database.
fn kept(place: &Place, company: &Company) -> PathBuf {
    let folder = place.evidence().join("log token-ledger");
    folder.join(format!("{}.checkpoint", company.id))
}

/// Polls until something is there, for so long.
async fn soon<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(begun.elapsed() < PATIENCE, "{what} does not come");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn everything_is_signed_when_the_service_stops() {
    let place = Place::new();
    let company = place.setup("Acme");
    // Late enough that only stopping signs.
    let late = ["--checkpoint-delay-ms", "60000"];
    let serving = place.serve(&late);
    let log = Log { serving: &serving, company: &company };
    log.token("one").await;
    let head = log.head().await;
    serving.stop();
    let note = std::fs::read_to_string(kept(&place, &company)).unwrap();
    assert_eq!(Statement::unverified(&note).unwrap().size, head);
}

/// Creations that are acknowledged before each kill.
const ACKNOWLEDGED: [usize; 7] = [1, 2, 5, 12, 40, 90, 300];

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_at_any_moment_neither_loses_nor_doubles_a_leaf() {
    let place = Place::new();
    let company = place.setup("Acme");
    for acknowledged in ACKNOWLEDGED {
        let serving = place.serve(&["--checkpoint-delay-ms", "10"]);
        let url = serving.url(&format!("/v1/companies/{}/tokens", company.id));
        let (done, mut answered) = tokio::sync::mpsc::unbounded_channel();
        let callers: Vec<_> = (0..6)
            .map(|_| {
                let (url, key, done) = (url.clone(), company.admin_key.clone(), done.clone());
                tokio::spawn(async move {
                    let client = reqwest::Client::new();
                    let body = json!({"name": "one of many", "scopes": ["positions"]});
                    // Until the service is gone.
                    while let Ok(answer) =
                        client.post(&url).bearer_auth(&key).json(&body).send().await
                    {
                        assert_eq!(answer.status().as_u16(), 201);
                        if done.send(()).is_err() {
                            return;
                        }
                    }
                })
            })
            .collect();
        for _ in 0..acknowledged {
            answered.recv().await.expect("callers go on until the service is gone");
        }
        serving.kill();
        for caller in callers {
            caller.await.expect("a caller ends well");
        }
        // As it was left: tiles, their place, checkpoints in the database and outside.
        place.run(&["verify"]).done();
    }
    let serving = place.serve(&SOON);
    let log = Log { serving: &serving, company: &company };
    let head = log.head().await;
    let tree = log.checkpoint(head).await;
    assert_eq!(tree.size, head);
    let entries = log.entries(head).await;
    assert_eq!(bundle::entries(&entries).count() as u64, head);
    // No two checkpoints of one size, and each extends the one before.
    let key = log.key().await;
    let (_, page) = get(&log.url("log/checkpoints?limit=1000"), &company.audit_key).await;
    let mut later = tree;
    for item in &page["items"].as_array().expect("a list")[1..] {
        let earlier = key.open(item["checkpoint"].as_str().unwrap()).unwrap();
        assert!(earlier.size < later.size);
        let path = format!("log/consistency?from={}&to={}", earlier.size, later.size);
        let (_, answer) = get(&log.url(&path), &company.audit_key).await;
        let hashes = answer["hashes"].as_array().expect("hashes").iter();
        let proof = hashes.map(|hash| Hash::parse_hash(hash.as_str().unwrap()).unwrap()).collect();
        check_tree(&proof, later.size, later.root, earlier.size, earlier.root).unwrap();
        later = earlier;
    }
    serving.stop();
    place.run(&["verify"]).done();
}

#[test]
fn a_kill_between_the_naming_of_the_key_and_the_first_checkpoint_leaves_all_in_order() {
    let place = Place::new();
    place.setup("Acme");
    place.serve(&[]).stop();
    place.run(&["verify"]).done();
    // What a first start has written when it is killed there.
    place.alter("DELETE FROM log_checkpoints; UPDATE log_heads SET size = 0;");
    std::fs::remove_dir_all(place.evidence()).expect("what is kept outside can go");
    place.run(&["verify"]).done();
}

#[tokio::test]
async fn a_tree_that_stands_still_is_told_and_holds_up_no_other() {
    let place = Place::new();
    let company = place.setup("Acme");
    let other = place.setup("Globex");
    place.serve(&SOON).stop();
    place
        .tamper(&format!("DELETE FROM log_tiles WHERE company_id = {}", place.sql_id(&company.id)));
    let serving = place.serve(&SOON);
    let log = Log { serving: &serving, company: &company };
    for name in ["one", "two"] {
        log.token(name).await;
    }
    let reasons = soon("the reason", async || {
        let (status, ready) = get(&serving.url("/readyz"), "").await;
        let reasons = ready["reasons"].to_string();
        (status == 503 && reasons.contains("the projection tree stands still")).then_some(reasons)
    })
    .await;
    assert!(reasons.contains("for 1 company"), "{reasons}");
    let metrics = raw(&serving.url("/metrics"), None).await.bytes;
    let metrics = String::from_utf8(metrics).expect("a text");
    for line in [
        "token_ledger_projection_behind_events{projection=\"tree\"} 2",
        "token_ledger_projection_stopped_companies{projection=\"tree\"} 1",
    ] {
        assert!(metrics.lines().any(|found| found == line), "{line}: {metrics}");
    }
    // What was signed is there, and nothing else is.
    let head = log.head().await;
    assert_eq!(log.raw(&format!("log/proof?position={head}")).await.status, 503);
    assert_eq!(log.raw("log/checkpoint").await.status, 200);
    let others = Log { serving: &serving, company: &other };
    for name in ["one", "two", "three"] {
        let token = others.token(name).await;
        assert_eq!(others.raw(&format!("tokens/{token}/evidence")).await.status, 200, "{name}");
    }
    serving.stop();

    // It is built anew from the events, and extends what was signed.
    let said = place.run(&["verify"]).refused(1);
    assert!(said.contains("missing in the stored tree"), "{said}");
    place.run(&["replay", "--projection", "tree", "--check"]).refused(2);
    let events = place.run(&["export"]).done().lines().count() - 4;
    let rebuilt = place.run(&["replay", "--projection", "tree"]);
    assert!(rebuilt.stderr.contains(&format!("{events} of {events} events")), "{rebuilt:?}");
    rebuilt.done();
    place.run(&["verify"]).done();
    let serving = place.serve(&SOON);
    let log = Log { serving: &serving, company: &company };
    assert_eq!(log.checkpoint(head).await.size, head);
    assert_eq!(log.raw(&format!("log/proof?position={head}")).await.status, 200);
    serving.stop();
}

#[tokio::test]
async fn a_database_that_was_put_back_signs_nothing_until_a_new_origin_is_declared() {
    let place = Place::new();
    let company = place.setup("Acme");
    place.serve(&SOON).stop();
    let backup = place.copy();
    let serving = place.serve(&SOON);
    let log = Log { serving: &serving, company: &company };
    log.token("one").await;
    let before = log.checkpoint(log.head().await).await;
    serving.stop();

    // The database as it was, and what is kept outside it as it is.
    std::fs::rename(place.evidence(), backup.evidence()).unwrap();
    let place = backup;
    let serving = place.serve(&SOON);
    let log = Log { serving: &serving, company: &company };
    let reasons = soon("the reason", async || {
        let (status, ready) = get(&serving.url("/readyz"), "").await;
        (status == 503).then(|| ready["reasons"].to_string())
    })
    .await;
    assert!(reasons.contains("no checkpoint is signed for 1 company"), "{reasons}");
    let said = serving.says("no checkpoint is signed");
    for words in [company.id.as_str(), "put back to an earlier state", "--log-name"] {
        assert!(said.contains(words), "{words}: {said}");
    }
    // Also when it has grown to where it was, and beyond.
    for name in ["another", "and another", "and a third"] {
        log.token(name).await;
    }
    let head = log.head().await;
    assert!(head > before.size);
    let refused = log.raw(&format!("log/proof?position={head}")).await;
    assert_eq!(refused.status, 503);
    // What to do about it is for the operator, and where the folder stands for nobody else.
    let told = String::from_utf8_lossy(&refused.bytes).into_owned();
    assert!(told.contains("the operator's log says why"), "{told}");
    let folder = place.evidence().display().to_string();
    for inside in ["--log-name", "put back", "folder", folder.as_str()] {
        assert!(!told.contains(inside), "{inside}: {told}");
    }
    let said = serving.says("nobody signs the checkpoint that is asked for");
    assert!(said.contains("--log-name"), "{said}");
    let (_, page) = get(&log.url("log/checkpoints"), &company.audit_key).await;
    let sizes: Vec<_> = page["items"].as_array().unwrap().iter().map(|it| &it["size"]).collect();
    assert!(sizes.iter().all(|size| size.as_u64().unwrap() < before.size), "{sizes:?}");
    serving.stop();
    let said = place.run(&["verify"]).refused(1);
    assert!(said.contains(&company.id) && said.contains("kept in"), "{said}");

    let mut args = SOON.to_vec();
    args.extend(["--log-name", "token-ledger/2"]);
    let serving = place.serve(&args);
    let log = Log { serving: &serving, company: &company };
    let tree = log.checkpoint(head).await;
    assert_eq!(tree.origin, format!("token-ledger/2/{}", company.id));
    let (status, ready) = get(&serving.url("/readyz"), "").await;
    assert_eq!(status, 200, "{ready}");
    serving.stop();
}

#[tokio::test]
async fn another_seed_signs_nothing_for_a_log_that_was_signed() {
    let place = Place::new();
    let company = place.setup("Acme");
    place.serve(&SOON).stop();
    let seed = place.evidence().join("seed");
    std::fs::write(&seed, "0".repeat(64)).unwrap();
    let serving = place.serve(&SOON);
    let log = Log { serving: &serving, company: &company };
    let token = log.token("one").await;
    let answer = log.raw(&format!("tokens/{token}/evidence")).await;
    assert_eq!(answer.status, 503);
    // Nothing is signed for the platform, either.
    let metrics = String::from_utf8(raw(&serving.url("/metrics"), None).await.bytes).unwrap();
    assert!(
        metrics.lines().any(|line| line == "token_ledger_log_unsigned_companies 2"),
        "{metrics}"
    );
    serving.stop();
}

/// A seed that is not kept in the folder.
const SEED: &str = "5eed5eed5eed5eed5eed5eed5eed5eed5eed5eed5eed5eed5eed5eed5eed5eed";

/// Starts the service with the seed in the environment.
fn serve_with_seed(place: &Place, args: &[&str]) -> Serving {
    let mut all = vec!["serve", "--listen", "127.0.0.1:0"];
    all.extend(SOON);
    all.extend(args);
    let mut command = place.command(&all);
    command.env("TOKEN_LEDGER_LOG_SEED", SEED);
    Serving::start(command)
}

#[tokio::test]
async fn nothing_is_signed_for_a_log_of_which_the_folder_holds_nothing() {
    let place = Place::new();
    let company = place.setup("Acme");
    serve_with_seed(&place, &[]).stop();
    let backup = place.copy();
    let serving = serve_with_seed(&place, &[]);
    let log = Log { serving: &serving, company: &company };
    log.token("one").await;
    let before = log.checkpoint(log.head().await).await;
    serving.stop();

    // The folder alone, or with the database as it was.
    let lost = place.file("lost");
    std::fs::rename(place.evidence(), &lost).unwrap();
    for place in [&place, &backup] {
        let serving = serve_with_seed(place, &[]);
        let log = Log { serving: &serving, company: &company };
        let unready = async || {
            let (status, ready) = get(&serving.url("/readyz"), "").await;
            (status == 503).then(|| ready["reasons"].to_string())
        };
        if !place.is_postgres() {
            // Nobody else may know.
            let both = async || {
                let reasons = unready().await?;
                reasons.contains("no checkpoint is signed for 2 companies").then_some(())
            };
            soon("the reason", both).await;
        }
        let (_, page) = get(&log.url("log/checkpoints"), &company.audit_key).await;
        for name in ["another", "and another"] {
            log.token(name).await;
        }
        let reasons = soon("the reason", unready).await;
        assert!(reasons.contains("the log says why and what to do"), "{reasons}");
        let said = serving.says(&format!("the log token-ledger/{}", company.id));
        for words in ["no checkpoint of it is kept in", "Put the folder back", "--log-name"] {
            assert!(said.contains(words), "{words}: {said}");
        }
        let (_, later) = get(&log.url("log/checkpoints"), &company.audit_key).await;
        assert_eq!(later, page, "no other history is signed");
        serving.stop();
    }

    // The folder tells of what the backup lacks.
    std::fs::rename(&lost, backup.evidence()).unwrap();
    let serving = serve_with_seed(&backup, &[]);
    let said = serving.says("no checkpoint is signed");
    assert!(said.contains("put back to an earlier state"), "{said}");
    serving.stop();
    // Where it belongs, all goes on.
    let _ = std::fs::remove_dir_all(place.evidence());
    std::fs::rename(backup.evidence(), place.evidence()).unwrap();
    let serving = serve_with_seed(&place, &[]);
    let log = Log { serving: &serving, company: &company };
    let head = log.head().await;
    let after = log.checkpoint(head).await;
    assert_eq!((after.size, after.origin), (head, before.origin));
    serving.stop();

    // A new origin needs nothing from before.
    std::fs::remove_dir_all(place.evidence()).unwrap();
    let serving = serve_with_seed(&place, &["--log-name", "token-ledger/2"]);
    let log = Log { serving: &serving, company: &company };
    assert_eq!(log.checkpoint(head).await.origin, format!("token-ledger/2/{}", company.id));
    let (status, ready) = get(&serving.url("/readyz"), "").await;
    assert_eq!(status, 200, "{ready}");
    serving.stop();
}

/// What `verify` says where it knows the database alone.
const NOTHING: &str = "no checkpoint from outside the database was compared for";

#[test]
fn verify_says_whose_checkpoints_are_still_to_come() {
    let place = Place::new();
    place.setup("Acme");
    place.serve(&SOON).stop();
    place.setup("Globex");
    let ended = place.run(&["verify"]);
    assert!(ended.stdout.contains(&format!("{NOTHING} 1 of them")), "{ended:?}");
    for words in ["None of theirs is kept in", "the service signs one when it runs"] {
        assert!(ended.stderr.contains(words), "{words}: {ended:?}");
    }
    place.serve(&SOON).stop();
    let ended = place.run(&["verify"]);
    assert!(!ended.stdout.contains(NOTHING) && ended.stderr.is_empty(), "{ended:?}");
}

#[test]
fn verify_says_where_nothing_from_outside_was_compared() {
    let place = Place::new();
    let company = place.setup("Acme");
    place.serve(&SOON).stop();
    let verify = |args: &[&str], code: i32| {
        let ended = place.run(&[&["verify"][..], args].concat());
        assert_eq!(ended.code, Some(code), "{ended:?}");
        ended
    };
    let ended = verify(&[], 0);
    assert!(!ended.stdout.contains(NOTHING) && ended.stderr.is_empty(), "{ended:?}");

    // Another name of the logs.
    let ended = verify(&["--log-name", "token-leger"], 0);
    assert!(ended.stdout.contains(&format!("{NOTHING} 2 of them")), "{ended:?}");
    for words in [NOTHING, "--evidence-dir", "--checkpoint", "logs of the name token-ledger. "] {
        assert!(ended.stderr.contains(words), "{words}: {ended:?}");
    }

    // Another folder, or the same one without its checkpoints.
    let (folder, aside) = (place.evidence(), place.file("aside"));
    std::fs::rename(&folder, &aside).unwrap();
    let note = aside.join(format!("log token-ledger/{}.checkpoint", company.id));
    let note = note.display().to_string();
    let ended = verify(&[], 0);
    assert!(ended.stdout.contains(&format!("{NOTHING} 2 of them")), "{ended:?}");
    for words in [NOTHING, "stored checkpoint", "not known here"] {
        assert!(ended.stderr.contains(words), "{words}: {ended:?}");
    }
    let ended = verify(&["--checkpoint", &note], 0);
    assert!(ended.stdout.contains(&format!("{NOTHING} 1 of them")), "{ended:?}");
    std::fs::create_dir(&folder).unwrap();
    verify(&[], 0);
    let said = verify(&["--evidence-dir", folder.to_str().unwrap()], 1).stdout;
    assert!(
        said.contains(&company.id) && said.contains("no checkpoint of it is kept in"),
        "{said}"
    );

    // A seed that can't be used.
    std::fs::remove_dir(&folder).unwrap();
    std::fs::rename(&aside, &folder).unwrap();
    let seed = folder.join("seed");
    std::fs::set_permissions(&seed, PermissionsExt::from_mode(0o644)).unwrap();
    let said = verify(&[], 0).stderr;
    assert!(
        said.contains("the seed of the logs' keys can't be used") && said.contains("chmod 600")
    );
    std::fs::set_permissions(&seed, PermissionsExt::from_mode(0o600)).unwrap();
    std::fs::write(&seed, "hello").unwrap();
    let said = verify(&[], 0).stderr;
    assert!(said.contains("the seed of the logs' keys can't be used"), "{said}");
}

#[tokio::test]
async fn an_erased_person_is_gone_and_what_they_did_is_proved_all_the_same() {
    let place = Place::new();
    let company = place.setup("Acme");
    let serving = place.serve(&SOON);
    let log = Log { serving: &serving, company: &company };
    log.token("one").await;
    let (_, page) =
        get(&log.url("audit/events?type=company.member_added"), &company.audit_key).await;
    let added = &page["items"][0];
    let person = added["data"]["person_id"].as_str().expect("a person").to_owned();
    let position = added["position"].as_u64().unwrap();
    let before = log.text(&format!("log/proof?position={position}")).await;
    let order = format!("people/{person}/erase");
    let reason = json!({"reason": "asked for by the person, 2026-11-20"});
    for (key, expected) in [(&company.admin_key, 403), (&company.operator_key, 200)] {
        let (status, answer) = post(&log.url(&order), key, &reason).await;
        assert_eq!(status, expected, "{answer}");
    }
    for (body, expected) in [(json!({}), 400), (json!({"reason": " "}), 400)] {
        assert_eq!(post(&log.url(&order), &company.operator_key, &body).await.0, expected);
    }
    let stranger = "people/0197f0c0-0000-7000-8000-000000000000/erase";
    assert_eq!(post(&log.url(stranger), &company.operator_key, &reason).await.0, 404);

    let (_, page) = get(
        &log.url("audit/events?type=company.member_added&type=company.person_erased"),
        &company.audit_key,
    )
    .await;
    let [erased, added] = page["items"].as_array().unwrap().as_slice() else { panic!("{page}") };
    assert_eq!(erased["data"]["person_id"], person.as_str());
    assert_eq!(erased["context"]["reason"], reason["reason"]);
    assert_eq!(added["data"]["person_id"], person.as_str());
    assert_eq!(added["actor"]["name"], Value::Null);
    // The proof from before still holds, and there is a new one.
    let key = log.key().await;
    for text in [before, log.text(&format!("log/proof?position={position}")).await] {
        let (index, proof, checkpoint) = parse_proof(&text);
        let tree = key.open(&checkpoint).unwrap();
        let entries = log.entries(tree.size).await;
        let entry = bundle::entries(&entries).nth(usize::try_from(index).unwrap()).unwrap();
        check_record(&proof, tree.size, tree.root, index, record_hash(entry.unwrap())).unwrap();
    }
    // Already while the service runs.
    holds_nowhere(&place, "ada@example.com");
    serving.stop();
    holds_nowhere(&place, "ada@example.com");
    place.run(&["verify"]).done();

    // Another private part that is gone is not excused by it.
    let copy = place.copy();
    copy.tamper(
        "DELETE FROM event_private WHERE position = (SELECT max(position) FROM event_private)",
    );
    let said = copy.run(&["verify"]).refused(1);
    assert!(said.contains("nobody whom it names was erased"), "{said}");
    // Nor may it be undone.
    let copy = place.copy();
    copy.tamper(&format!(
        "INSERT INTO event_private (company_id, position, salt, data) SELECT company_id, \
         {position}, salt, data FROM event_private WHERE company_id = {} LIMIT 1",
        place.sql_id(&company.id)
    ));
    let said = copy.run(&["verify"]).refused(1);
    assert!(said.contains("not the one that was hashed"), "{said}");
}

/// Holds that a text is nowhere in the database: in no byte of the file, in no row of any table.
fn holds_nowhere(place: &Place, text: &str) {
    if place.is_postgres() {
        return place.alter(&format!(
            "DO $$ DECLARE name text; found bigint; BEGIN
             FOR name IN SELECT tablename FROM pg_tables WHERE schemaname = 'public' LOOP
                 EXECUTE format('SELECT count(*) FROM %I r WHERE r::text LIKE %L', name, '%{text}%')
                 INTO found;
                 IF found > 0 THEN RAISE EXCEPTION '{text} is still in %', name; END IF;
             END LOOP; END $$"
        ));
    }
    for end in ["", "-wal"] {
        let mut name = place.ledger().into_os_string();
        name.push(end);
        let bytes = std::fs::read(&name).unwrap_or_default();
        let found = bytes.windows(text.len()).any(|window| window == text.as_bytes());
        assert!(!found, "{text} is still in {}", name.display());
    }
}

#[tokio::test]
async fn a_person_is_erased_from_the_command_line() {
    let place = Place::new();
    let company = place.setup("Acme");
    let other = place.setup("Other");
    let events = place.run(&["export", "--format", "ndjson", "--company", &company.id]).done();
    let added = events.lines().find(|line| line.contains("company.member_added")).unwrap();
    let added: Value = serde_json::from_str(added).unwrap();
    let person = added["data"]["person_id"].as_str().unwrap();
    let erase = |company: &str| {
        place.run(&["erase", "--company", company, "--person", person, "--reason", "GDPR 17"])
    };
    // The same person, by the same address, is a member of both.
    assert!(erase(&company.id).done().contains("the account stays"));
    assert!(erase(&other.id).done().contains("the account and its e-mail address are gone"));
    holds_nowhere(&place, "ada@example.com");
    place.run(&["verify"]).done();
    place.run(&["replay", "--check"]).done();
    let nobody = "0197f0c0-0000-7000-8000-000000000000";
    place.run(&["erase", "--company", &company.id, "--person", nobody, "--reason", "x"]).refused(1);
    place.run(&["erase", "--company", &company.id, "--person", person, "--reason", ""]).refused(2);
}
