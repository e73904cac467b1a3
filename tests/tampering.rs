//! Whoever changes the database behind the service's back is found out: by the hashes, and where
//! those were made to fit, by a checkpoint that was kept outside. On SQLite, whichever database tests
//! run on: they change the file.

mod process;

use process::{Company, Place, post};
use rusqlite::{Connection, params};
use serde_json::json;
use std::collections::HashMap;
use std::path::PathBuf;
use token_ledger::evidence::note::Statement;
use token_ledger_domain::{CompanyId, Timestamp};
use token_ledger_event_store::entry::{Entry, content_commitment, private_commitment};
use token_ledger_event_store::sqlite::{EVENT_COLUMNS, event_from_row};
use token_ledger_event_store::{RecordedEvent, StreamId};
use token_ledger_projections::tree::Edge;

/// A ledger at rest, with the checkpoint that an auditor has kept and the log's key.
struct Kept {
    place: Place,
    company: Company,
    checkpoint: PathBuf,
    key: String,
}

impl Kept {
    /// A company with tokens that were created, refreshed and deleted.
    async fn new() -> Self {
        let place = Place::sqlite();
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
        let key = reqwest::Client::new()
            .get(format!("{base}/log/key"))
            .bearer_auth(&company.audit_key)
            .send()
            .await
            .expect("an answer")
            .text()
            .await
            .expect("a key");
        serving.stop();
        let folder = place.file("ledger.db.evidence").join("log token-ledger");
        let note = std::fs::read(folder.join(format!("{}.checkpoint", company.id))).unwrap();
        let checkpoint = place.file("kept.checkpoint");
        std::fs::write(&checkpoint, note).unwrap();
        Self { place, company, checkpoint, key: key.trim().to_owned() }
    }

    fn size(&self) -> u64 {
        let note = std::fs::read_to_string(&self.checkpoint).unwrap();
        Statement::unverified(&note).unwrap().size
    }

    /// The company as SQL has it.
    fn id(&self) -> String {
        format!("x'{}'", self.company.id.replace('-', ""))
    }

    /// What `verify` says of a copy that was changed: the line that names the company.
    fn verify(&self, copy: &Place) -> Option<String> {
        let file = self.checkpoint.display().to_string();
        let ended = copy.run(&["verify", "--checkpoint", &file, "--key", &self.key]);
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
        let Some(line) = self.verify(copy) else { panic!("{what} is not found") };
        let place = format!("company {}, position {position}: ", self.company.id);
        assert!(line.starts_with(&place) && line.contains(words), "{what}: {line}");
    }
}

/// The creation of the last token: most of what follows changes it.
const CHANGED: u64 = 12;

#[tokio::test]
async fn every_single_change_is_found_at_its_position() {
    let kept = Kept::new().await;
    let id = kept.id();
    assert_eq!(kept.verify(&kept.place.copy()), None);
    let size = kept.size();
    assert!(size > CHANGED + 1, "{size}");
    let here = format!("company_id = {id} AND position = {CHANGED}");
    let unhashed = "not the one that was hashed";
    let event = |set: &str| format!("UPDATE events SET {set} WHERE {here}");
    let changes = [
        ("payload", event("payload = replace(payload, 'positions', 'employees')"), CHANGED, unhashed),
        ("payload's spaces", event("payload = payload || ' '"), CHANGED, unhashed),
        ("metadata", event("metadata = replace(metadata, 'actor_id', 'actor_id ')"), CHANGED, ""),
        ("the actor", event("metadata = replace(metadata, '\"key\"', '\"system\"')"), CHANGED, unhashed),
        ("the time, back", event("recorded_at = recorded_at - 3600000000"), CHANGED, "before its predecessor"),
        ("the time, by a microsecond", event("recorded_at = recorded_at + 1"), CHANGED, ""),
        ("the salt", event("salt = zeroblob(32)"), CHANGED, unhashed),
        ("the commitment", event("private_commitment = zeroblob(32)"), CHANGED, "hashed"),
        ("no commitment", event("private_commitment = NULL"), CHANGED, "does not have"),
        ("the hash", event("entry_hash = zeroblob(32)"), CHANGED, unhashed),
        ("a hash that is none", event("entry_hash = x'00'"), CHANGED, "can't be read"),
        ("the type", event("event_type = 'token.deleted'"), CHANGED, ""),
        ("the version", event("event_version = '2'"), CHANGED, ""),
        ("the sequence", event("sequence = 77"), CHANGED, ""),
        ("the stream", event("aggregate_id = '0197f0c0-0000-7000-8000-000000000000'"), CHANGED, ""),
        ("the kind of stream", event("aggregate_type = 'key'"), CHANGED, ""),
        ("the company", event("company_id = zeroblob(16)"), CHANGED, "missing"),
        ("the position", event("position = 999"), CHANGED, "missing"),
        ("deleted", format!("DELETE FROM events WHERE {here}"), CHANGED, "missing"),
        (
            "swapped",
            format!(
                "UPDATE events SET position = -1 WHERE {here};
                 UPDATE events SET position = {CHANGED} WHERE company_id = {id} AND position = {next};
                 UPDATE events SET position = {next} WHERE company_id = {id} AND position = -1",
                next = CHANGED + 1
            ),
            CHANGED,
            unhashed,
        ),
        (
            "inserted at the end",
            format!(
                "INSERT INTO events SELECT company_id, 'token', '0197f0c0-0000-7000-8000-000000000000',
                 1, event_type, event_version, payload, metadata, {next}, recorded_at, commit_id,
                 salt, private_commitment, entry_hash FROM events WHERE {here}",
                next = size + 1
            ),
            size + 1,
            "behind the ledger's head",
        ),
        (
            "inserted at the end, with the head",
            format!(
                "INSERT INTO events SELECT company_id, 'token', '0197f0c0-0000-7000-8000-000000000000',
                 1, event_type, event_version, payload, metadata, {next}, recorded_at + 60000000,
                 commit_id, salt, private_commitment, entry_hash FROM events WHERE {here};
                 UPDATE company_heads SET last_position = {next} WHERE company_id = {id}",
                next = size + 1
            ),
            size + 1,
            "",
        ),
        (
            "cut",
            format!(
                "DELETE FROM events WHERE company_id = {id} AND position > {CHANGED};
                 UPDATE company_heads SET last_position = {CHANGED} WHERE company_id = {id}"
            ),
            CHANGED + 1,
            "",
        ),
        ("the head", format!("UPDATE company_heads SET last_position = {CHANGED} WHERE company_id = {id}"), CHANGED + 1, ""),
        ("the head's time", format!("UPDATE company_heads SET last_recorded_at = 1 WHERE company_id = {id}"), size, "another time"),
        ("the head's company", format!("UPDATE company_heads SET company_sequence = 9 WHERE company_id = {id}"), size, "sequence 9"),
        ("no head", format!("DELETE FROM company_heads WHERE company_id = {id}"), 0, "no head"),
        ("a private part", format!("UPDATE event_private SET data = replace(data, 'admin', 'nimda') WHERE {here}"), CHANGED, "hashed"),
        ("a private part's salt", format!("UPDATE event_private SET salt = zeroblob(32) WHERE {here}"), CHANGED, "hashed"),
        ("no private part", format!("DELETE FROM event_private WHERE {here}"), CHANGED, "nobody whom it names"),
        ("a private part moved", format!("UPDATE event_private SET position = 999 WHERE {here}"), CHANGED, "nobody whom it names"),
        ("a tile", format!("UPDATE log_tiles SET hashes = CAST(substr(hashes, 1, 32 * {before}) || zeroblob(32) || substr(hashes, 32 * {CHANGED} + 1) AS BLOB) WHERE company_id = {id}", before = CHANGED - 1), CHANGED, "another hash"),
        ("a tile cut", format!("UPDATE log_tiles SET hashes = substr(hashes, 1, 32 * {CHANGED}) WHERE company_id = {id}"), CHANGED + 1, "missing in the stored tree"),
        ("no tile", format!("DELETE FROM log_tiles WHERE company_id = {id}"), 1, "missing in the stored tree"),
        ("tiles that are none", format!("UPDATE log_tiles SET hashes = x'00' WHERE company_id = {id}"), 1, "the stored tree"),
        ("a checkpoint's root", format!("UPDATE log_checkpoints SET root = zeroblob(32) WHERE company_id = {id} AND size = {size}"), size, "not the one that was signed"),
        ("a checkpoint's size", format!("UPDATE log_checkpoints SET size = size + 1 WHERE company_id = {id} AND size = {size}"), size + 1, "not the one that was signed"),
        ("a checkpoint's text", format!("UPDATE log_checkpoints SET note = replace(note, char(10) || {size} || char(10), char(10) || {less} || char(10)) WHERE company_id = {id} AND size = {size}", less = size - 1), size, "has not signed it"),
        ("a checkpoint's key", format!("UPDATE log_checkpoints SET verifier_key = 'x' WHERE company_id = {id} AND size = {size}"), size, "key"),
        ("the tree's place", format!("UPDATE checkpoints SET position = 999 WHERE company_id = {id} AND projection = 'tree'"), 999, "the projection tree"),
        ("the trail's place", format!("UPDATE checkpoints SET position = 999 WHERE company_id = {id} AND projection = 'audit'"), 999, "the projection audit"),
    ];
    for (what, sql, position, words) in &changes {
        let copy = kept.place.copy();
        copy.tamper(sql);
        kept.finds(&copy, what, *position, words);
    }
}

/// An insider who can write the database and knows how it is made: everything that derives from the
/// events is made to fit them again. Signed checkpoints can't be, and are taken away.
fn make_fit(place: &Place, company: &Company) {
    let database = Connection::open(place.ledger()).unwrap();
    database.execute_batch("DROP TRIGGER IF EXISTS events_are_never_changed;").unwrap();
    let company = CompanyId(company.id.parse().unwrap());
    let id = company.0.as_bytes().to_vec();
    let events: Vec<RecordedEvent> = database
        .prepare(&format!(
            "SELECT {EVENT_COLUMNS} FROM events WHERE company_id = ?1 ORDER BY position"
        ))
        .unwrap()
        .query_map([&id], event_from_row)
        .unwrap()
        .map(Result::unwrap)
        .collect();
    let mut last: HashMap<StreamId, [u8; 32]> = HashMap::new();
    let (mut edge, mut full) = (Edge::default(), Vec::new());
    for event in &events {
        let hash = Entry::of(event, last.get(&event.stream).copied()).hash();
        last.insert(event.stream, hash);
        edge.push(&hash, &mut full);
        database
            .execute(
                "UPDATE events SET entry_hash = ?3 WHERE company_id = ?1 AND position = ?2",
                params![id, event.position, hash],
            )
            .unwrap();
    }
    for table in ["log_tiles", "log_checkpoints", "log_heads", "snapshots"] {
        database.execute(&format!("DELETE FROM {table} WHERE company_id = ?1"), [&id]).unwrap();
    }
    full.extend(edge.partial());
    for tile in full {
        database
            .execute(
                "INSERT INTO log_tiles (company_id, level, tile, hashes) VALUES (?1, ?2, ?3, ?4)",
                params![id, tile.level, tile.index, tile.hashes],
            )
            .unwrap();
    }
    let end = events.last().expect("events");
    let own = events.iter().filter(|event| event.stream == company.into()).count();
    database
        .execute(
            "UPDATE company_heads SET last_position = ?2, last_recorded_at = ?3,
             company_sequence = ?4 WHERE company_id = ?1",
            params![id, end.position, end.recorded_at.as_micros(), own],
        )
        .unwrap();
    database
        .execute(
            "UPDATE checkpoints SET position = ?2 WHERE company_id = ?1",
            params![id, end.position],
        )
        .unwrap();
}

#[tokio::test]
async fn a_clever_insider_is_found_by_the_kept_checkpoint_and_by_nothing_else() {
    let kept = Kept::new().await;
    let (id, size) = (kept.id(), kept.size());
    let here = format!("company_id = {id} AND position = {CHANGED}");
    let shift = |from: u64, by: i64| {
        // Positions are unique, so they go by way of the negative ones.
        format!(
            "UPDATE events SET position = -position WHERE company_id = {id} AND position > {from};
             UPDATE events SET position = -position + {by} WHERE company_id = {id} AND position < 0;
             UPDATE event_private SET position = -position WHERE company_id = {id} AND position > {from};
             UPDATE event_private SET position = -position + {by} WHERE company_id = {id} AND position < 0;"
        )
    };
    let last_of_stream = format!(
        "(SELECT max(position) FROM events e WHERE company_id = {id} AND aggregate_type = 'token'
          AND NOT EXISTS (SELECT 1 FROM events f WHERE f.aggregate_id = e.aggregate_id
          AND f.sequence > e.sequence))"
    );
    let changes = [
        (
            "changed",
            format!("UPDATE events SET payload = replace(payload, 'positions', 'employees') WHERE {here}"),
            1,
            "is not what the checkpoint",
        ),
        (
            "back-dated",
            format!(
                "UPDATE events SET recorded_at = (SELECT recorded_at FROM events WHERE
                 company_id = {id} AND position = {CHANGED} - 1) WHERE {here}"
            ),
            1,
            "is not what the checkpoint",
        ),
        (
            "the last of a token deleted",
            format!(
                "CREATE TEMP TABLE gone AS SELECT {last_of_stream} AS position;
                 DELETE FROM event_private WHERE company_id = {id} AND position = (SELECT position FROM gone);
                 DELETE FROM events WHERE company_id = {id} AND position = (SELECT position FROM gone);
                 UPDATE events SET position = -position WHERE company_id = {id} AND position > (SELECT position FROM gone);
                 UPDATE events SET position = -position - 1 WHERE company_id = {id} AND position < 0;"
            ),
            size,
            "missing",
        ),
        (
            "inserted",
            format!(
                "{} DROP TRIGGER events_are_never_replaced;
                 INSERT INTO events SELECT company_id, 'token',
                 '0197f0c0-0000-7000-8000-000000000000', 1, event_type, event_version, payload,
                 metadata, {next}, recorded_at, commit_id, salt, NULL, entry_hash FROM events
                 WHERE company_id = {id} AND event_type = 'token.created' LIMIT 1;
                 UPDATE events SET recorded_at = (SELECT recorded_at FROM events WHERE
                 company_id = {id} AND position = {CHANGED}) WHERE company_id = {id} AND position = {next}",
                shift(CHANGED, 1),
                next = CHANGED + 1
            ),
            1,
            "is not what the checkpoint",
        ),
        (
            "cut",
            format!(
                "DELETE FROM events WHERE company_id = {id} AND position > {CHANGED};
                 DELETE FROM event_private WHERE company_id = {id} AND position > {CHANGED};"
            ),
            CHANGED + 1,
            "speaks of",
        ),
    ];
    for (what, sql, position, words) in &changes {
        let copy = kept.place.copy();
        copy.tamper(sql);
        make_fit(&copy, &kept.company);
        // Everything fits: without the checkpoint nobody would see it.
        copy.run(&["verify"]).done();
        kept.finds(&copy, what, *position, words);
    }

    // A private part in other words, with a commitment that fits.
    let copy = kept.place.copy();
    copy.tamper("SELECT 1");
    {
        let database = Connection::open(copy.ledger()).unwrap();
        let data = "{\"actor_name\":\"somebody else\"}";
        let commitment = private_commitment(&[0; 32], data);
        let sql = format!("UPDATE events SET private_commitment = ?1 WHERE {here}");
        database.execute(&sql, params![commitment]).unwrap();
        let sql = format!("UPDATE event_private SET salt = zeroblob(32), data = ?1 WHERE {here}");
        database.execute(&sql, params![data]).unwrap();
    }
    make_fit(&copy, &kept.company);
    copy.run(&["verify"]).done();
    kept.finds(&copy, "private part", 1, "is not what the checkpoint");
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
    let said = kept.place.run(&["verify", "--checkpoint", &forged.display().to_string()]);
    assert!(said.refused(1).contains("has not signed it"));
    for text in ["", "nonsense", "a\n1\nb\n\n— c d\n"] {
        std::fs::write(&forged, text).unwrap();
        kept.place.run(&["verify", "--checkpoint", &forged.display().to_string()]).refused(1);
    }
    // A ledger that is gone altogether.
    let other = Place::sqlite();
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
