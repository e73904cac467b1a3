//! The golden ledger: what was once written, hashed and signed is still what this program writes,
//! hashes and signs. tests/golden/README.md says what the files are.

use crate::golden_ledger::{Golden, history};
use crate::process::{Place, Serving, ended};
use reqwest::Client;
use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use token_ledger::evidence::bundle;
use token_ledger::evidence::check::check;
use token_ledger::evidence::keys::{LogKey, Seed};
use token_ledger::evidence::note::{Statement, VerifierKey};
use token_ledger::evidence::proof::{self, TileSet};
use token_ledger_domain::event::EVENT_TYPES;
use token_ledger_event_store::StreamId;
use token_ledger_event_store::entry::{Entry, private_commitment};
use token_ledger_projections::tree::{Edge, TileData};

/// The ledgers that are kept.
const LEDGERS: [&str; 1] = ["1"];
/// Names a folder in which another one is to be made.
const MADE: &str = "TOKEN_LEDGER_GOLDEN";
/// How long a checkpoint may take to appear.
const PATIENCE: Duration = Duration::from_secs(30);

fn kept() -> impl Iterator<Item = Golden> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    LEDGERS.into_iter().map(move |name| Golden::read(&folder.join(name)))
}

/// The texts of all entries, each with the hash of the one before it in its stream.
fn entries(golden: &Golden) -> Vec<String> {
    let mut last: HashMap<StreamId, [u8; 32]> = HashMap::new();
    let mut texts = Vec::new();
    for event in golden.events() {
        let entry = Entry::of(&event, last.get(&event.stream).copied());
        assert_eq!(entry.hash(), event.entry_hash, "the hash at {}", event.position);
        last.insert(event.stream, event.entry_hash);
        texts.push(entry.text());
    }
    texts
}

fn bundled(texts: &[String]) -> Vec<u8> {
    let mut all = Vec::new();
    for text in texts {
        assert!(bundle::push(&mut all, text.as_bytes()));
    }
    all
}

/// Everything that can be computed from events and seed is what is kept, byte for byte.
fn holds(golden: &Golden) {
    let texts = entries(golden);
    for (row, event) in golden.rows.iter().zip(golden.events()) {
        event.decode().expect("an event");
        event.metadata().expect("metadata");
        if let Some(private) = &row.private {
            let commitment = private_commitment(&private.salt(), &private.data);
            assert_eq!(Some(commitment), event.private_commitment, "{}", event.position);
        }
    }

    let (mut edge, mut tiles) = (Edge::default(), Vec::new());
    let mut roots = Vec::new();
    for event in golden.events() {
        edge.push(&event.entry_hash, &mut tiles);
        roots.push(edge.root().expect("a root"));
    }
    tiles.extend(edge.partial());
    tiles.sort_by_key(|tile| (tile.level, tile.index));
    assert_eq!(tiles, golden.tiles, "the tiles");

    let seed: Seed = golden.seed.parse().expect("a seed");
    let own = LogKey::derive(&seed, golden.origin().to_owned());
    assert_eq!(own.verifier_key(), golden.key);
    let key: VerifierKey = golden.key.parse().expect("a key");
    for (size, note) in &golden.checkpoints {
        let root = roots[usize::try_from(*size).unwrap() - 1];
        let stated = Statement { origin: golden.origin().to_owned(), size: *size, root };
        assert_eq!(stated.sign(&own).expect("a note"), *note, "the checkpoint of {size}");
        assert_eq!(key.open(note).expect("a checkpoint"), stated);
    }

    let (first, last) = (golden.first_size(), golden.last_size());
    let mut set = TileSet::new();
    set.extend(tiles);
    let hashes = proof::consistency(&set, first, last).expect("a proof");
    let hashes: Vec<String> = hashes.iter().map(ToString::to_string).collect();
    assert_eq!(golden.consistency["hashes"], serde_json::json!(hashes));
    let (_, note) = golden.checkpoints.last_key_value().expect("a checkpoint");
    let tree = key.open(note).expect("a checkpoint");
    for (position, text) in &golden.proofs {
        let hashes = proof::inclusion(&set, &tree, position - 1).expect("a proof");
        assert_eq!(proof::text(position - 1, &hashes, note), *text, "the proof of {position}");
    }

    let pack = golden.pack.to_string();
    let proved = check(pack.as_bytes(), &key, Some(&mut bundled(&texts).as_slice()))
        .expect("a pack that proves");
    assert!(proved.complete && proved.positions.len() >= 5, "{proved:?}");
}

#[test]
fn what_was_kept_is_what_is_computed_today() {
    for golden in kept() {
        holds(&golden);
        let types: BTreeSet<&str> = golden.rows.iter().map(|row| row.event_type.as_str()).collect();
        // Every type that there was when it was made.
        assert!(types.len() >= 21, "{types:?}");
        let known = EVENT_TYPES.map(|(name, _)| name);
        assert!(types.iter().all(|name| known.contains(name)), "{types:?}");
        let erased = golden.rows.iter().filter(|row| row.is_erased()).count();
        assert!(erased > 0, "nobody was erased");
    }
}

#[tokio::test]
async fn a_service_over_the_kept_ledger_serves_what_was_kept() {
    for golden in kept() {
        serves(&golden).await;
    }
}

/// Puts the events, and nothing else, into a database of today: the rest comes out the same.
async fn serves(golden: &Golden) {
    let place = Place::new();
    let company = place.setup("Other");
    place.alter(&golden.insertions(&place));
    place.run(&["replay"]).done();
    place.run(&["replay", "--check"]).done();
    let mut verify = vec!["verify".to_owned(), "--key".to_owned(), golden.key.clone()];
    for (size, note) in &golden.checkpoints {
        let file = place.file(&format!("checkpoint.{size}"));
        std::fs::write(&file, note).unwrap();
        verify.extend(["--checkpoint".to_owned(), file.display().to_string()]);
    }
    let verify: Vec<&str> = verify.iter().map(String::as_str).collect();
    place.run(&verify).done();

    let mut serve =
        place.command(&["serve", "--listen", "127.0.0.1:0", "--checkpoint-delay-ms", "20"]);
    serve.env("TOKEN_LEDGER_LOG_SEED", &golden.seed);
    serve.env("TOKEN_LEDGER_LOG_NAME", golden.log_name());
    let serving = Serving::start(serve);
    let log = Log { serving: &serving, golden, key: &company.operator_key };
    let begun = Instant::now();
    let (last, note) = golden.checkpoints.last_key_value().expect("a checkpoint");
    while log.bytes("log/checkpoint").await != note.as_bytes() {
        assert!(begun.elapsed() < PATIENCE, "another checkpoint than the one of {last}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(log.text("log/key").await.trim(), golden.key);
    for TileData { level, index, hashes } in &golden.tiles {
        let width = hashes.len() / 32;
        let part = if width == 256 { String::new() } else { format!(".p/{width}") };
        let served = log.bytes(&format!("log/tile/{level}/{index:03}{part}")).await;
        assert_eq!(&served, hashes, "tile {index} of level {level}");
    }
    let mut bundles = Vec::new();
    for first in (0..*last).step_by(256) {
        let width = (last - first).min(256);
        let part = if width == 256 { String::new() } else { format!(".p/{width}") };
        bundles.extend(log.bytes(&format!("log/tile/entries/{:03}{part}", first / 256)).await);
    }
    assert_eq!(bundles, bundled(&entries(golden)));
    for (position, text) in &golden.proofs {
        assert_eq!(log.text(&format!("log/proof?position={position}")).await, *text);
    }
    let path = format!("log/consistency?from={}&to={last}", golden.first_size());
    assert_eq!(log.json(&path).await, golden.consistency);
    let token = golden.pack["token_id"].as_str().expect("a token");
    let mut pack = log.json(&format!("tokens/{token}/evidence")).await;
    // The words may become better ones.
    pack["read_me"] = golden.pack["read_me"].clone();
    assert_eq!(pack, golden.pack);
    serving.stop();
    place.run(&verify).done();

    let (file, all) = (place.file("pack.json"), place.file("entries"));
    std::fs::write(&file, golden.pack.to_string()).unwrap();
    std::fs::write(&all, bundles).unwrap();
    let mut check = place.command(&["check-evidence", "--key", &golden.key]);
    check.arg(file).arg("--entries").arg(all);
    assert!(ended(&mut check).done().starts_with("PROVED"));
}

/// The golden company's log as a service serves it.
struct Log<'a> {
    serving: &'a Serving,
    golden: &'a Golden,
    key: &'a str,
}

impl Log<'_> {
    async fn bytes(&self, below: &str) -> Vec<u8> {
        let path = format!("/v1/companies/{}/{below}", self.golden.company());
        let request = Client::new().get(self.serving.url(&path)).bearer_auth(self.key);
        request.send().await.expect("an answer").bytes().await.expect("a body").to_vec()
    }

    async fn text(&self, below: &str) -> String {
        String::from_utf8(self.bytes(below).await).expect("a text")
    }

    async fn json(&self, below: &str) -> serde_json::Value {
        serde_json::from_slice(&self.bytes(below).await).expect("JSON")
    }
}

#[tokio::test]
async fn a_ledger_made_today_holds_as_well() {
    let made = history().await;
    holds(&made);
    let folder = tempfile::tempdir().unwrap();
    let folder = std::env::var_os(MADE).map_or_else(|| folder.path().join("made"), PathBuf::from);
    made.write(&folder);
    let read = Golden::read(&folder);
    assert_eq!(read, made);
    holds(&read);
}
