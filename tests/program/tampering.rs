//! Whoever changes the database behind the service's back, as its owner, is found out: by the hashes,
//! and where those were made to fit, by a checkpoint that was kept outside.

use crate::process::{Company, Place, ended, get, post};
use serde_json::json;
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use token_ledger::app::{App, Choices};
use token_ledger::evidence::keys::{LogKey, Seed};
use token_ledger::evidence::note::Statement;
use token_ledger_domain::{CompanyId, Timestamp};
use token_ledger_event_store::entry::{Entry, content_commitment, private_commitment};
use token_ledger_event_store::{Access, RecordedEvent, StreamId, SystemClock, SystemEntropy};
use token_ledger_projections::tree::{Edge, Hash};

/// The creation of the last token: most of what follows changes it.
const CHANGED: u64 = 12;

/// A ledger at rest, with what an auditor has kept: checkpoint, entries and the log's key.
struct Kept {
    place: Place,
    company: Company,
    checkpoint: PathBuf,
    entries: PathBuf,
    key: String,
}

impl Kept {
    /// A company with tokens that were created, refreshed and deleted.
    async fn new() -> Self {
        let place = Place::new();
        let company = place.setup("Acme");
        let serving = place.serve(&["--checkpoint-delay-ms", "20"]);
        let base = serving.url(&format!("/v1/companies/{}", company.id));
        let mut ids = Vec::new();
        for number in 0..6 {
            let body = json!({"name": format!("t{number}"), "scopes": ["positions"]});
            let (_, token) = post(&format!("{base}/tokens"), &company.admin_key, &body).await;
            ids.push(token["token_id"].as_str().expect("an id").to_owned());
        }
        for id in &ids[..3] {
            let url = format!("{base}/tokens/{id}/refresh");
            let (status, _) = post(&url, &company.admin_key, &json!({"reason": "spring"})).await;
            assert_eq!(status, 200);
        }
        let (_, page) = get(&format!("{base}/audit/events?limit=1"), &company.audit_key).await;
        let head = page["items"][0]["position"].as_u64().expect("a position");
        let read = async |below: &str| {
            let url = format!("{base}/log/{below}");
            let request = reqwest::Client::new().get(url).bearer_auth(&company.audit_key);
            request.send().await.expect("an answer").bytes().await.expect("a body")
        };
        let key = String::from_utf8(read("key").await.to_vec()).expect("a key");
        let entries = place.file("kept.entries");
        std::fs::write(&entries, read(&format!("tile/entries/000.p/{head}")).await).unwrap();
        serving.stop();
        let folder = place.evidence().join("log token-ledger");
        let note = std::fs::read(folder.join(format!("{}.checkpoint", company.id))).unwrap();
        let checkpoint = place.file("kept.checkpoint");
        std::fs::write(&checkpoint, note).unwrap();
        Self { place, company, checkpoint, entries, key: key.trim().to_owned() }
    }

    fn size(&self) -> u64 {
        let note = std::fs::read_to_string(&self.checkpoint).unwrap();
        Statement::unverified(&note).unwrap().size
    }

    /// The company as SQL has it.
    fn id(&self) -> String {
        self.place.sql_id(&self.company.id)
    }

    /// So many zero bytes as SQL has them.
    fn zeros(&self, count: usize) -> String {
        self.place.sql_bytes(&"00".repeat(count))
    }

    /// What `verify` says of a copy that was changed: the line that names the company.
    fn verify(&self, copy: &Place, entries: bool) -> Option<String> {
        let mut command = copy.as_service(&["verify", "--key", &self.key, "--checkpoint"]);
        command.arg(&self.checkpoint);
        if entries {
            command.arg("--entries").arg(&self.entries);
        }
        let ended = ended(&mut command);
        if ended.code == Some(0) {
            return None;
        }
        assert_eq!(ended.code, Some(1), "{ended:?}");
        let start = format!("company {}, position ", self.company.id);
        let line = ended.stdout.lines().find(|line| line.starts_with(&start));
        Some(line.unwrap_or_else(|| panic!("no such line: {ended:?}")).to_owned())
    }

    /// Holds that the change is found at this position, in words such as these.
    #[track_caller]
    fn finds(&self, copy: &Place, what: &str, position: u64, words: &str) {
        let Some(line) = self.verify(copy, false) else { panic!("{what} is not found") };
        let place = format!("company {}, position {position}: ", self.company.id);
        assert!(line.starts_with(&place) && line.contains(words), "{what}: {line}");
    }

    /// Holds that it is found at its exact position by whoever has kept the entries as well.
    #[track_caller]
    fn finds_with_entries(&self, copy: &Place, what: &str, position: u64) {
        let Some(line) = self.verify(copy, true) else { panic!("{what} is not found") };
        let place = format!("company {}, position {position}: ", self.company.id);
        assert!(line.starts_with(&place), "{what}: {line}");
    }
}

/// A single change: what, in SQL, the position at which it is found, and words of the finding.
type Change = (&'static str, String, u64, &'static str);

/// Changes of columns of one event.
fn changes_of_an_event(kept: &Kept) -> Vec<Change> {
    let (id, zeros) = (kept.id(), kept.zeros(32));
    let other = "'0197f0c0-0000-7000-8000-000000000000'";
    let unhashed = "not the one that was hashed";
    let nobody = kept.place.sql_id("00000000-0000-0000-0000-000000000000");
    let short = kept.zeros(1);
    let changes = [
        ("payload", "payload = replace(payload, 'positions', 'employees')".to_owned(), unhashed),
        ("payload's spaces", "payload = payload || ' '".to_owned(), unhashed),
        ("metadata", "metadata = replace(metadata, 'actor_id', 'actor_id ')".to_owned(), ""),
        ("the actor", "metadata = replace(metadata, '\"key\"', '\"system\"')".to_owned(), unhashed),
        ("the time, back", "recorded_at = recorded_at - 3600000000".to_owned(), "before its"),
        ("the time, by a microsecond", "recorded_at = recorded_at + 1".to_owned(), ""),
        ("the salt", format!("salt = {zeros}"), unhashed),
        ("a salt that is none", format!("salt = {short}"), "can't be read"),
        ("the commitment", format!("private_commitment = {zeros}"), "hashed"),
        ("no commitment", "private_commitment = NULL".to_owned(), "does not have"),
        ("the hash", format!("entry_hash = {zeros}"), unhashed),
        ("a hash that is none", format!("entry_hash = {short}"), "can't be read"),
        ("the type", "event_type = 'token.deleted'".to_owned(), ""),
        ("a type that is none", "event_type = 'token.created\"'".to_owned(), ""),
        ("the version", "event_version = '2'".to_owned(), ""),
        ("the sequence", "sequence = 77".to_owned(), ""),
        ("the stream", format!("aggregate_id = {other}"), ""),
        ("a stream that is none", "aggregate_id = 'x'".to_owned(), "can't be read"),
        ("the stream's spelling", "aggregate_id = upper(aggregate_id)".to_owned(), "can't be read"),
        (
            "the stream's hyphens",
            "aggregate_id = replace(aggregate_id, '-', '')".to_owned(),
            "is not how an identifier is stored",
        ),
        ("the kind of stream", "aggregate_type = 'key'".to_owned(), ""),
        ("the company", format!("company_id = {nobody}"), "missing"),
        ("the position", "position = 999".to_owned(), "missing"),
    ];
    let here = format!("company_id = {id} AND position = {CHANGED}");
    changes
        .into_iter()
        .map(|(what, set, words)| {
            (what, format!("UPDATE events SET {set} WHERE {here}"), CHANGED, words)
        })
        .collect()
}

/// Changes of which events there are, and of heads.
fn changes_of_the_order(kept: &Kept) -> Vec<Change> {
    let (id, size) = (kept.id(), kept.size());
    let here = format!("company_id = {id} AND position = {CHANGED}");
    let next = CHANGED + 1;
    let behind = size + 1;
    let copied = |recorded_at: &str| {
        format!(
            "INSERT INTO events (company_id, aggregate_type, aggregate_id, sequence, event_type, \
             event_version, payload, metadata, position, recorded_at, commit_id, salt, \
             private_commitment, entry_hash) SELECT company_id, 'token', \
             '0197f0c0-0000-7000-8000-000000000000', 1, event_type, event_version, payload, \
             metadata, {behind}, {recorded_at}, commit_id, salt, private_commitment, entry_hash \
             FROM events WHERE {here};"
        )
    };
    let head = |set: &str| format!("UPDATE company_heads SET {set} WHERE company_id = {id}");
    vec![
        ("deleted", format!("DELETE FROM events WHERE {here}"), CHANGED, "missing"),
        (
            "swapped",
            format!(
                "UPDATE events SET position = 999999 WHERE {here};
                 UPDATE events SET position = {CHANGED} WHERE company_id = {id} AND position = {next};
                 UPDATE events SET position = {next} WHERE company_id = {id} AND position = 999999"
            ),
            CHANGED,
            "not the one that was hashed",
        ),
        ("inserted at the end", copied("recorded_at"), behind, "behind the ledger's head"),
        (
            "inserted at the end, with the head",
            copied("recorded_at + 60000000") + &head(&format!("last_position = {behind}")),
            behind,
            "",
        ),
        (
            "cut",
            format!(
                "DELETE FROM events WHERE company_id = {id} AND position > {CHANGED};
                 {}",
                head(&format!("last_position = {CHANGED}"))
            ),
            next,
            "",
        ),
        ("the head", head(&format!("last_position = {CHANGED}")), next, ""),
        ("the head's time", head("last_recorded_at = 1"), size, "another time"),
        ("the head's company", head("company_sequence = 9"), size, "sequence 9"),
        ("no head", format!("DELETE FROM company_heads WHERE company_id = {id}"), 0, "no head"),
        (
            "the tree's place",
            format!("UPDATE checkpoints SET position = 999 WHERE company_id = {id} AND projection = 'tree'"),
            999,
            "the projection tree",
        ),
        (
            "the trail's place",
            format!("UPDATE checkpoints SET position = 999 WHERE company_id = {id} AND projection = 'audit'"),
            999,
            "the projection audit",
        ),
        (
            "a place of a projection that has none",
            format!("INSERT INTO checkpoints (company_id, projection, version, position) VALUES ({id}, 'tokens', 1, 3)"),
            3,
            "no such projection has a place of its own",
        ),
    ]
}

/// Changes of private parts.
fn changes_of_private_parts(kept: &Kept) -> Vec<Change> {
    let here = format!("company_id = {} AND position = {CHANGED}", kept.id());
    let private = |set: &str| format!("UPDATE event_private SET {set} WHERE {here}");
    let gone = "nobody whom it names";
    vec![
        ("a private part", private("data = replace(data, 'admin', 'nimda')"), CHANGED, "hashed"),
        ("its salt", private(&format!("salt = {}", kept.zeros(32))), CHANGED, "hashed"),
        (
            "a salt that is none",
            private(&format!("salt = {}", kept.zeros(1))),
            CHANGED,
            "can't be read",
        ),
        ("no private part", format!("DELETE FROM event_private WHERE {here}"), CHANGED, gone),
        ("a private part moved", private("position = 999"), CHANGED, gone),
        (
            "another company's",
            private(&format!(
                "company_id = {}",
                kept.place.sql_id("00000000-0000-0000-0000-000000000000")
            )),
            CHANGED,
            gone,
        ),
    ]
}

/// Changes of the tree and of what was signed.
fn changes_of_the_evidence(kept: &Kept) -> Vec<Change> {
    let (id, size) = (kept.id(), kept.size());
    let tiles = |set: &str| format!("UPDATE log_tiles SET {set} WHERE company_id = {id}");
    let part = |from: u64, count: u64| format!("substr(hashes, {}, {})", 32 * from + 1, 32 * count);
    let (newline, joined) = if kept.place.is_postgres() {
        ("chr(10)", String::new())
    } else {
        // Joined, bytes are a text there.
        ("char(10)", " AS BLOB".to_owned())
    };
    let join = |parts: [&str; 3]| {
        let parts = parts.join(" || ");
        if joined.is_empty() { parts } else { format!("CAST({parts}{joined})") }
    };
    let (before, after) = (part(0, CHANGED - 1), part(CHANGED, 256));
    let another = join([before.as_str(), kept.zeros(32).as_str(), after.as_str()]);
    let one = format!("company_id = {id} AND size = {size}");
    let signed = |set: &str| format!("UPDATE log_checkpoints SET {set} WHERE {one}");
    let head = |set: &str| format!("UPDATE log_heads SET {set} WHERE company_id = {id}");
    let unsigned = "not the one that was signed";
    vec![
        ("a tile", tiles(&format!("hashes = {another}")), CHANGED, "another hash"),
        ("a tile cut", tiles(&format!("hashes = {}", part(0, CHANGED))), CHANGED + 1, "missing"),
        ("no tile", format!("DELETE FROM log_tiles WHERE company_id = {id}"), 1, "missing"),
        ("a tile moved", tiles("tile = 7"), 1, "missing"),
        ("a tile of another level", tiles("level = 1"), 1, "missing"),
        ("tiles that are none", tiles(&format!("hashes = {}", kept.zeros(1))), 1, "stored tree"),
        ("a root", signed(&format!("root = {}", kept.zeros(32))), size, unsigned),
        ("a checkpoint's size", signed("size = size + 1"), size + 1, unsigned),
        (
            "its text",
            signed(&format!(
                "note = replace(note, {newline} || '{size}' || {newline}, {newline} || '{}' || {newline})",
                size - 1
            )),
            size,
            "has not signed it",
        ),
        ("its key", signed("verifier_key = 'x'"), size, "key"),
        ("its log", signed("origin = 'elsewhere'"), size, unsigned),
        ("its time, back", signed("signed_at = signed_at - 3600000000"), size, ""),
        ("its time, ahead", signed("signed_at = signed_at + 3600000000"), size, "future"),
        (
            "no last checkpoint",
            format!("DELETE FROM log_checkpoints WHERE {one}"),
            size,
            "no such checkpoint",
        ),
        ("what is signed, less", head("size = size - 1"), size, "its head says otherwise"),
        ("what is signed, more", head("size = size + 1"), size + 1, "no such checkpoint"),
        ("the log's key", head("verifier_key = 'x'"), size, "its head says otherwise"),
        ("the log's name", head("origin = 'elsewhere'"), size, "its head says otherwise"),
        (
            "no head of the log",
            format!("DELETE FROM log_heads WHERE company_id = {id}"),
            size,
            "its head says otherwise",
        ),
    ]
}

#[tokio::test]
async fn every_single_change_is_found_at_its_position() {
    let kept = Kept::new().await;
    assert_eq!(kept.verify(&kept.place.copy(), true), None);
    let size = kept.size();
    assert!(size > CHANGED + 1, "{size}");
    let groups = [
        changes_of_an_event(&kept),
        changes_of_the_order(&kept),
        changes_of_private_parts(&kept),
        changes_of_the_evidence(&kept),
    ];
    for (what, sql, position, words) in groups.iter().flatten() {
        let copy = kept.place.copy();
        copy.tamper(sql);
        kept.finds(&copy, what, *position, words);
    }
}

/// An insider who can write the database and knows how it is made: everything that derives from the
/// events is made to fit them again. Signed checkpoints can't be, and are taken away.
async fn make_fit(place: &Place, company: &Company, tiles: bool) {
    let id: CompanyId = company.id.parse().unwrap();
    let events = events(place, id).await;
    let company = place.sql_id(&company.id);
    let mut last: HashMap<StreamId, [u8; 32]> = HashMap::new();
    let (mut edge, mut full) = (Edge::default(), Vec::new());
    let mut sql = String::new();
    for event in &events {
        let hash = Entry::of(event, last.get(&event.stream).copied()).hash();
        last.insert(event.stream, hash);
        edge.push(&hash, &mut full);
        sql.push_str(&format!(
            "UPDATE events SET entry_hash = {} WHERE company_id = {company} AND position = {};",
            place.sql_bytes(&hex::encode(hash)),
            event.position
        ));
    }
    for table in ["log_checkpoints", "log_heads", "snapshots"] {
        sql.push_str(&format!("DELETE FROM {table} WHERE company_id = {company};"));
    }
    if tiles {
        sql.push_str(&format!("DELETE FROM log_tiles WHERE company_id = {company};"));
        full.extend(edge.partial());
        for tile in full {
            sql.push_str(&format!(
                "INSERT INTO log_tiles (company_id, level, tile, hashes) \
                 VALUES ({company}, {}, {}, {});",
                tile.level,
                tile.index,
                place.sql_bytes(&hex::encode(tile.hashes))
            ));
        }
    }
    let end = events.last().expect("events");
    let own = events.iter().filter(|event| event.stream == id.into()).count();
    sql.push_str(&format!(
        "UPDATE company_heads SET last_position = {position}, last_recorded_at = {}, \
         company_sequence = {own} WHERE company_id = {company};
         UPDATE checkpoints SET position = {position} WHERE company_id = {company};",
        end.recorded_at.as_micros(),
        position = end.position,
    ));
    place.tamper(&sql);
}

/// All events of a company, as they stand in the database.
async fn events(place: &Place, company: CompanyId) -> Vec<RecordedEvent> {
    let (clock, entropy) = (Arc::new(SystemClock), Arc::new(SystemEntropy));
    let url = place.url().parse().expect("a URL");
    let app = App::open(&url, Access::Read, clock, entropy, Choices::default()).await;
    let app = app.expect("the ledger opens");
    app.store().read(company, 0, 100_000).await.expect("events")
}

/// What a clever insider may do: what, in SQL, where it is found with a checkpoint alone, in words
/// such as these, and where with the entries as well.
type Clever = (&'static str, String, u64, &'static str, u64);

/// What a finding says where more than one entry may be meant.
const AMONG: &str = "is not what the checkpoint";

/// Events that say something else.
fn clever_words(kept: &Kept) -> Vec<Clever> {
    let id = kept.id();
    let here = format!("company_id = {id} AND position = {CHANGED}");
    vec![
        (
            "changed",
            format!(
                "UPDATE events SET payload = replace(payload, 'positions', 'employees') WHERE {here}"
            ),
            1,
            AMONG,
            CHANGED,
        ),
        (
            "back-dated",
            format!(
                "UPDATE events SET recorded_at = (SELECT recorded_at FROM events WHERE
                 company_id = {id} AND position = {CHANGED} - 1) WHERE {here}"
            ),
            1,
            AMONG,
            CHANGED,
        ),
        (
            "another actor",
            format!(
                "UPDATE events SET metadata = replace(metadata, '\"key\"', '\"system\"') WHERE {here}"
            ),
            1,
            AMONG,
            CHANGED,
        ),
        (
            "a private part in other words, with a commitment that fits",
            {
                let data = "{\"actor_name\":\"somebody else\"}";
                let commitment = hex::encode(private_commitment(&[0; 32], data));
                format!(
                    "UPDATE events SET private_commitment = {} WHERE {here};
                     UPDATE event_private SET salt = {}, data = '{data}' WHERE {here}",
                    kept.place.sql_bytes(&commitment),
                    kept.zeros(32),
                )
            },
            1,
            AMONG,
            CHANGED,
        ),
    ]
}

/// Events that are not where they were.
fn clever_moves(kept: &Kept) -> Vec<Clever> {
    let (id, size) = (kept.id(), kept.size());
    let here = format!("company_id = {id} AND position = {CHANGED}");
    let next = CHANGED + 1;
    // Positions are unique, so they go by way of ones far beyond.
    let shift = |table: &str, from: u64, by: i64| {
        format!(
            "UPDATE {table} SET position = position + 1000000 WHERE company_id = {id} AND position > {from};
             UPDATE {table} SET position = position - 1000000 + {by} WHERE company_id = {id} AND position > 1000000;"
        )
    };
    let last_of_a_stream = size - 3;
    vec![
        (
            "the last of a token deleted",
            format!(
                "DELETE FROM event_private WHERE company_id = {id} AND position = {last_of_a_stream};
                 DELETE FROM events WHERE company_id = {id} AND position = {last_of_a_stream};
                 {}{}",
                shift("events", last_of_a_stream, -1),
                shift("event_private", last_of_a_stream, -1),
            ),
            size,
            "missing",
            last_of_a_stream,
        ),
        (
            "inserted",
            format!(
                "{}{}
                 INSERT INTO events (company_id, aggregate_type, aggregate_id, sequence, event_type, event_version, payload, metadata, position, recorded_at, commit_id, salt, private_commitment, entry_hash)
                 SELECT company_id, 'token', '0197f0c0-0000-7000-8000-000000000000', 1, event_type,
                 event_version, payload, metadata, {next}, recorded_at, commit_id, salt, NULL,
                 entry_hash FROM events WHERE {here}",
                shift("events", CHANGED, 1),
                shift("event_private", CHANGED, 1),
            ),
            1,
            AMONG,
            next,
        ),
        (
            "swapped",
            format!(
                "UPDATE events SET position = 999999 WHERE {here};
                 UPDATE events SET position = {CHANGED}, recorded_at = (SELECT recorded_at FROM events WHERE company_id = {id} AND position = 999999) WHERE company_id = {id} AND position = {next};
                 UPDATE events SET position = {next}, recorded_at = (SELECT recorded_at FROM events WHERE company_id = {id} AND position = {CHANGED}) WHERE company_id = {id} AND position = 999999;
                 UPDATE event_private SET position = 999999 WHERE {here};
                 UPDATE event_private SET position = {CHANGED} WHERE company_id = {id} AND position = {next};
                 UPDATE event_private SET position = {next} WHERE company_id = {id} AND position = 999999;"
            ),
            1,
            AMONG,
            CHANGED,
        ),
        (
            "cut",
            format!(
                "DELETE FROM events WHERE company_id = {id} AND position > {CHANGED};
                 DELETE FROM event_private WHERE company_id = {id} AND position > {CHANGED};"
            ),
            next,
            "speaks of",
            next,
        ),
    ]
}

#[tokio::test]
async fn a_clever_insider_is_found_by_what_was_kept_outside_and_by_nothing_else() {
    let kept = Kept::new().await;
    for (what, sql, position, words, exact) in
        clever_words(&kept).iter().chain(&clever_moves(&kept))
    {
        let copy = kept.place.copy();
        copy.tamper(sql);
        make_fit(&copy, &kept.company, true).await;
        // Everything fits: without the checkpoint nobody would see it.
        copy.run(&["verify"]).done();
        kept.finds(&copy, what, *position, words);
        kept.finds_with_entries(&copy, what, *exact);
    }

    // One who forgets the tree gives the place away.
    let copy = kept.place.copy();
    let (_, sql, ..) = &clever_words(&kept)[0];
    copy.tamper(sql);
    make_fit(&copy, &kept.company, false).await;
    kept.finds(&copy, "the tree forgotten", CHANGED, "the stored tree has another hash here");
}

/// Adds a checkpoint of another log that is signed with a key that anybody could have made.
async fn add_checkpoint(place: &Place, company: &Company, size: u64, is_right: bool) {
    let id: CompanyId = company.id.parse().unwrap();
    let events = events(place, id).await;
    let (mut edge, mut full) = (Edge::default(), Vec::new());
    for event in &events[..usize::try_from(size).unwrap()] {
        edge.push(&event.entry_hash, &mut full);
    }
    let root = if is_right { edge.root().unwrap() } else { Hash([7; 32]) };
    let key = LogKey::derive(&Seed::new([7; 32]), format!("elsewhere/{}", company.id));
    let statement = Statement { origin: key.origin().to_owned(), size, root };
    let note = statement.sign(&key).unwrap();
    let (company, origin, verifier) = (place.sql_id(&company.id), key.origin(), key.verifier_key());
    place.alter(&format!(
        "INSERT INTO log_heads (company_id, origin, verifier_key, size) \
         VALUES ({company}, '{origin}', '{verifier}', {size});
         INSERT INTO log_checkpoints (company_id, origin, size, root, verifier_key, note, \
         cosignatures, signed_at) VALUES ({company}, '{origin}', {size}, {root}, '{verifier}', \
         '{note}', '', {at})",
        root = place.sql_bytes(&hex::encode(root.0)),
        at = events.last().unwrap().recorded_at.as_micros(),
    ));
}

#[tokio::test]
async fn a_checkpoint_that_anybody_could_have_made_bears_out_nothing() {
    let kept = Kept::new().await;
    let size = kept.size();
    let (_, sql, position, words, exact) = &clever_words(&kept)[0];
    for added in [size - 1, size] {
        let copy = kept.place.copy();
        copy.tamper(sql);
        make_fit(&copy, &kept.company, true).await;
        add_checkpoint(&copy, &kept.company, added, true).await;
        kept.finds(&copy, "one that was added", *position, words);
        kept.finds_with_entries(&copy, "one that was added", *exact);
        let ended = copy.run(&["verify"]);
        assert!(ended.stderr.contains("1 stored checkpoint of the log elsewhere is"), "{ended:?}");
        ended.done();
    }
    // Nor does one accuse the ledger.
    let copy = kept.place.copy();
    add_checkpoint(&copy, &kept.company, CHANGED, false).await;
    kept.finds(&copy, "one that was added", CHANGED, "a key that is not known here");
}

#[tokio::test]
async fn what_is_not_what_was_signed_is_proved_to_nobody() {
    let kept = Kept::new().await;
    let copy = kept.place.copy();
    copy.alter("CREATE TABLE aside AS SELECT * FROM log_checkpoints");
    copy.tamper(&clever_words(&kept)[0].1);
    make_fit(&copy, &kept.company, true).await;
    let id = kept.id();
    copy.alter(&format!(
        "INSERT INTO log_checkpoints SELECT * FROM aside WHERE company_id = {id}; DROP TABLE aside"
    ));
    let company: CompanyId = kept.company.id.parse().unwrap();
    let changed = &events(&copy, company).await[usize::try_from(CHANGED).unwrap() - 1];
    let serving = copy.serve(&[]);
    for below in
        [format!("tokens/{}/evidence", changed.stream.id), format!("log/proof?position={CHANGED}")]
    {
        let url = serving.url(&format!("/v1/companies/{}/{below}", kept.company.id));
        let (status, problem) = get(&url, &kept.company.audit_key).await;
        assert_eq!(status, 503, "{below}: {problem}");
        let detail = problem["detail"].to_string();
        assert!(detail.contains("not what was signed"), "{below}: {detail}");
    }
    serving.says("`token-ledger verify` says more");
    serving.stop();
}

#[test]
fn a_database_that_guards_its_events_no_more_is_found() {
    let place = Place::new();
    place.setup("Acme");
    place.serve(&[]).stop();
    let changes = if place.is_postgres() {
        vec![
            ("ALTER TABLE events DISABLE TRIGGER USER", "events_are_append_only of the table events"),
            ("DROP TRIGGER events_are_append_only ON events", "is gone"),
            (
                "CREATE OR REPLACE FUNCTION events_are_append_only() RETURNS trigger LANGUAGE \
                 plpgsql AS 'BEGIN RETURN NULL; END'",
                "not the one that was made",
            ),
            (
                "CREATE FUNCTION mine() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
                 CREATE TRIGGER mine AFTER INSERT ON tokens FOR EACH STATEMENT EXECUTE FUNCTION mine()",
                "the trigger mine of the table tokens was added",
            ),
            (
                "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET session_replication_role = replica', \
                 current_database()); END $$",
                "session_replication_role is set",
            ),
            (
                "GRANT UPDATE (payload) ON events TO token_ledger_service",
                "the role token_ledger_service may change events",
            ),
            ("GRANT TRUNCATE ON events TO PUBLIC", "the role token_ledger_service may change events"),
        ]
    } else {
        vec![
            (
                "DROP TRIGGER events_are_never_deleted",
                "the trigger events_are_never_deleted is gone",
            ),
            (
                "DROP TRIGGER events_are_never_changed; CREATE TRIGGER events_are_never_changed \
                 BEFORE UPDATE ON events WHEN 0 BEGIN SELECT RAISE(ABORT, 'no'); END",
                "the trigger events_are_never_changed is not the one that was made",
            ),
            (
                "CREATE TRIGGER mine AFTER INSERT ON events BEGIN UPDATE tokens SET name = 'x'; END",
                "the trigger mine was added",
            ),
            ("DROP INDEX idempotency_keys_by_age", "the index idempotency_keys_by_age is gone"),
        ]
    };
    for (sql, words) in changes {
        let copy = place.copy();
        copy.alter(sql);
        let said = ended(&mut copy.as_service(&["verify"])).refused(1);
        assert!(said.contains(words), "{sql}: {said}");
        assert!(said.contains("all in order, but not the database's schema"), "{sql}: {said}");
        let serving = copy.serve(&[]);
        assert!(serving.before().contains(words), "{sql}: {}", serving.before());
        serving.stop();
    }
    // What others keep beside the ledger is theirs.
    place.alter("CREATE TABLE theirs (number integer)");
    place.run(&["verify"]).done();
}

#[tokio::test]
async fn a_kept_checkpoint_must_be_the_logs_own() {
    let kept = Kept::new().await;
    let file = kept.checkpoint.display().to_string();
    // Without --key the log's own counts, which is derived from the seed.
    kept.place.run(&["verify", "--checkpoint", &file]).done();
    let note = std::fs::read_to_string(&kept.checkpoint).unwrap();
    let forged = kept.place.file("forged");
    let size = kept.size();
    let text = note.replace(&format!("\n{size}\n"), &format!("\n{}\n", size - 1));
    std::fs::write(&forged, text).unwrap();
    let forged_file = forged.display().to_string();
    for with_key in [&[][..], &["--key", &kept.key]] {
        let given = [&["verify", "--checkpoint", &forged_file][..], with_key].concat();
        let ended = kept.place.run(&given);
        // It is the file that is wrong, and not a ledger.
        assert_eq!((ended.code, &*ended.stdout), (Some(1), ""), "{ended:?}");
        let expected = format!("error: {forged_file}: ");
        assert!(ended.stderr.starts_with(&expected), "{ended:?}");
        assert!(ended.stderr.contains("has not signed it"), "{ended:?}");
    }
    for text in ["", "nonsense", "a\n1\nb\n\n— c d\n"] {
        std::fs::write(&forged, text).unwrap();
        kept.place.run(&["verify", "--checkpoint", &forged.display().to_string()]).refused(1);
    }
    // Another company's, where only one is asked for.
    let platform = ["verify", "--company", "platform", "--checkpoint", &file];
    assert!(kept.place.run(&platform).refused(2).contains(&kept.company.id));
    // Entries that are none, or begin in the middle.
    for bytes in [&b""[..], b"\0", b"\0\x02{}", &std::fs::read(&kept.entries).unwrap()[7..]] {
        std::fs::write(&forged, bytes).unwrap();
        kept.place.run(&["verify", "--entries", &forged.display().to_string()]).refused(1);
    }
    // A ledger that is gone altogether.
    let other = Place::new();
    other.setup("Acme");
    let said = other.run(&["verify", "--checkpoint", &file, "--key", &kept.key]).refused(1);
    assert!(said.contains("there is no such ledger"), "{said}");
}

#[test]
fn the_formats_are_the_ones_that_were() {
    // What an entry looks like, and its hashes, for good.
    let stream =
        StreamId { kind: "token".parse().unwrap(), id: uuid::Uuid::from_u128(0x0197_f0c0) };
    let event = RecordedEvent {
        company: CompanyId::PLATFORM,
        position: 7,
        stream,
        sequence: 1,
        event_type: "token.created".to_owned(),
        event_version: "1".to_owned(),
        payload: "{\"a\":1}".to_owned(),
        metadata: "{}".to_owned(),
        recorded_at: Timestamp::from_micros(1_790_000_000_000_001),
        commit_id: uuid::Uuid::nil(),
        salt: [1; 32],
        private_commitment: None,
        entry_hash: [0; 32],
    };
    let content = hex::encode(content_commitment(&[1; 32], &event.payload, &event.metadata));
    let text = format!(
        "{{\"aggregate_id\":\"00000000-0000-0000-0000-00000197f0c0\",\"aggregate_type\":\"token\",\
         \"company_id\":\"00000000-0000-7000-8000-000000000000\",\"content\":\"{content}\",\
         \"event_type\":\"token.created\",\"event_version\":\"1\",\"position\":7,\
         \"previous\":null,\"private\":null,\"recorded_at\":\"2026-09-21T14:13:20.000001Z\",\
         \"sequence\":1}}"
    );
    assert_eq!(Entry::of(&event, None).text(), text);
}
