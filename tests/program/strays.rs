//! Rows that stand where no reading of a ledger comes by, rows that can't be, and ledgers that are
//! gone: `verify` names each of them, and reads on.

use crate::process::{Company, Place, ended, get, post};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use ed25519_dalek::SigningKey;
use serde_json::json;
use std::process::Command;

/// The platform's identifier.
const PLATFORM: &str = "00000000-0000-7000-8000-000000000000";
/// A company that there is not.
const NOBODY: &str = "0197f0c0-0000-7000-8000-000000000000";

/// A ledger at rest with two companies, signed and in order.
struct Rest {
    place: Place,
    one: Company,
    other: Company,
}

impl Rest {
    fn new() -> Self {
        let place = Place::new();
        let one = place.setup("Acme");
        let other = place.setup("Other");
        place.serve(&["--checkpoint-delay-ms", "20"]).stop();
        place.run(&["verify"]).done();
        Self { place, one, other }
    }

    /// A copy of it that was changed.
    fn changed(&self, sql: &str) -> Place {
        let copy = self.place.copy();
        copy.tamper(sql);
        copy
    }

    /// The first company as SQL has it.
    fn id(&self) -> String {
        self.place.sql_id(&self.one.id)
    }

    /// How many events the first company has.
    fn size(&self) -> u64 {
        let events = self.place.run(&["export", "--company", &self.one.id]).done();
        events.lines().count() as u64 - 1
    }
}

/// Holds that `verify` ends with 1 and says so of this company and position, in such words.
#[track_caller]
fn finds(place: &Place, company: &str, position: i64, words: &str) {
    let said = place.run(&["verify"]).refused(1);
    let start = format!("company {company}, position {position}: ");
    let found = said.lines().any(|line| line.starts_with(&start) && line.contains(words));
    assert!(found, "no {start}… {words}: {said}");
}

/// Lifts what keeps a PostgreSQL server from taking such a position.
fn any_position(place: &Place) -> &'static str {
    if place.is_postgres() {
        "ALTER TABLE events DROP CONSTRAINT events_position_check;"
    } else {
        ""
    }
}

/// Copies an event of a company to another place.
fn copied(place: &Place, from: &str, to: &str, position: i64) -> String {
    let (from, to) = (place.sql_id(from), place.sql_id(to));
    format!(
        "{}INSERT INTO events (company_id, aggregate_type, aggregate_id, sequence, event_type, \
         event_version, payload, metadata, position, recorded_at, commit_id, salt, \
         private_commitment, entry_hash) SELECT {to}, aggregate_type, aggregate_id, sequence + 70, \
         event_type, event_version, payload, metadata, {position}, recorded_at, commit_id, salt, \
         private_commitment, entry_hash FROM events WHERE company_id = {from} AND position = 2;",
        any_position(place)
    )
}

#[test]
fn events_before_the_first_position_are_found() {
    let rest = Rest::new();
    for position in [0, -3] {
        let sql = copied(&rest.place, &rest.one.id, &rest.one.id, position);
        finds(&rest.changed(&sql), &rest.one.id, position, "before the ledger's first");
    }
}

#[test]
fn rows_of_a_company_without_a_ledger_are_found() {
    let rest = Rest::new();
    let (id, nobody) = (rest.id(), rest.place.sql_id(NOBODY));
    let moved = |table: &str, columns: &str| {
        format!(
            "INSERT INTO {table} (company_id, {columns}) SELECT {nobody}, {columns} FROM {table} \
             WHERE company_id = {id}"
        )
    };
    let changes = [
        ("events", copied(&rest.place, &rest.one.id, NOBODY, 2)),
        ("event_private", moved("event_private", "position, salt, data")),
        ("log_tiles", moved("log_tiles", "level, tile, hashes")),
        ("log_heads", moved("log_heads", "origin, verifier_key, size")),
        (
            "log_checkpoints",
            moved(
                "log_checkpoints",
                "origin, size, root, verifier_key, note, cosignatures, signed_at",
            ),
        ),
        ("checkpoints", moved("checkpoints", "projection, version, position")),
        (
            "snapshots",
            format!("INSERT INTO snapshots VALUES ({nobody}, 'token', '{NOBODY}', 1, 1, '{{}}')"),
        ),
    ];
    for (table, sql) in changes {
        let copy = rest.changed(&sql);
        finds(&copy, NOBODY, 0, table);
        finds(&copy, NOBODY, 0, "no head");
        // Asked for alone, it is found as well.
        let said = copy.run(&["verify", "--company", NOBODY]).refused(1);
        assert!(said.contains("no head"), "{said}");
        copy.run(&["verify", "--company", &rest.one.id]).done();
    }
    let said = rest.place.run(&["verify", "--company", NOBODY]).refused(1);
    assert!(said.contains("there is no company"), "{said}");
}

/// Every table that has rows of companies.
const TABLES: [&str; 17] = [
    "company_heads",
    "events",
    "event_private",
    "snapshots",
    "idempotency_keys",
    "checkpoints",
    "companies",
    "tokens",
    "keys",
    "members",
    "clients",
    "audit_trail",
    "operations",
    "attempts",
    "log_tiles",
    "log_heads",
    "log_checkpoints",
];

/// What is kept outside of one ledger, as if it were of another.
fn keep(place: &Place, of: &Place) {
    let copying = Command::new("cp").arg("-rp").arg(of.evidence()).arg(place.evidence()).status();
    assert!(copying.expect("cp can be run").success());
}

#[test]
fn a_company_that_was_taken_out_of_every_table_is_found_by_its_checkpoint() {
    let rest = Rest::new();
    let id = rest.id();
    let sql = TABLES.map(|table| format!("DELETE FROM {table} WHERE company_id = {id};"));
    let copy = rest.changed(&sql.concat());
    // Nobody knows of it.
    copy.run(&["verify"]).done();
    keep(&copy, &rest.place);
    finds(&copy, &rest.one.id, 0, "there is no such ledger, but the checkpoint kept in");
    let said = copy.run(&["verify", "--company", &rest.one.id]).refused(1);
    assert!(said.contains("speaks of"), "{said}");
    copy.run(&["verify", "--company", "platform"]).done();
    // A file that is none of the log's says nothing, a checkpoint that can't be trusted does.
    let folder = copy.evidence().join("log token-ledger");
    std::fs::write(folder.join("notes.txt"), "x").unwrap();
    std::fs::write(folder.join(format!("{NOBODY}.checkpoint")), "x").unwrap();
    finds(&copy, NOBODY, 0, "it is no signed note");
    finds(&copy, &rest.one.id, 0, "there is no such ledger");
    // Nor is one believed that the log's key has not signed.
    let file = folder.join(format!("{}.checkpoint", rest.one.id));
    let note = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, note.replacen('\n', "\n1", 1)).unwrap();
    finds(&copy, &rest.one.id, 0, "has not signed it");
}

#[tokio::test]
async fn a_company_that_was_made_after_the_backup_is_missed() {
    let place = Place::new();
    place.setup("Acme");
    let copy = place.copy();
    let lost = place.setup("Other");
    place.serve(&["--checkpoint-delay-ms", "20"]).stop();
    keep(&copy, &place);
    finds(&copy, &lost.id, 0, "there is no such ledger");
    // The platform's own ledger would tell as well.
    std::fs::remove_file(copy.evidence().join(format!("log token-ledger/{PLATFORM}.checkpoint")))
        .unwrap();
    let serving = copy.serve(&["--checkpoint-delay-ms", "20"]);
    let said = serving.says(&lost.id);
    assert!(said.contains("put back to an earlier state"), "{said}");
    let (status, ready) = get(&serving.url("/readyz"), "").await;
    assert_eq!(status, 503, "{ready}");
    let reasons = ready["reasons"].to_string();
    assert!(reasons.contains("no checkpoint is signed for 1 company"), "{reasons}");
    serving.stop();
}

/// What `verify` says of rows that stand beside a ledger: what they are, in SQL, the position, and
/// words of the finding.
type Beside = (&'static str, String, i64, &'static str);

/// Private parts and tiles that nothing belongs to.
fn beyond(rest: &Rest) -> Vec<Beside> {
    let (id, size) = (rest.id(), rest.size());
    let behind = i64::try_from(size).unwrap() + 1;
    let part = |position: i64| {
        format!(
            "INSERT INTO event_private (company_id, position, salt, data) SELECT company_id, \
             {position}, salt, data FROM event_private WHERE company_id = {id} AND position = 2"
        )
    };
    let zeros = |hashes: usize| rest.place.sql_bytes(&"00".repeat(32 * hashes));
    let tile = |level: i64, tile: i64| {
        format!(
            "INSERT INTO log_tiles (company_id, level, tile, hashes) \
             VALUES ({id}, {level}, {tile}, {})",
            zeros(1)
        )
    };
    let joined = format!("hashes || {}", zeros(1));
    let longer = if rest.place.is_postgres() { joined } else { format!("CAST({joined} AS BLOB)") };
    vec![
        ("a private part behind the last event", part(behind), behind, "event_private"),
        ("one further on", part(behind + 50), behind + 50, "event_private"),
        ("one before the first event", part(-1), -1, "event_private"),
        ("a tile behind the last", tile(0, 1), 257, "tile 1 of level 0"),
        ("one further on", tile(0, 7), 7 * 256 + 1, "tile 7 of level 0"),
        ("one of a level that is not there yet", tile(1, 0), 1, "tile 0 of level 1"),
        ("one of a level that there can't be", tile(9, 0), 0, "tile 0 of level 9"),
        ("one before the first", tile(0, -1), 0, "tile -1 of level 0"),
        (
            "one hash more",
            format!("UPDATE log_tiles SET hashes = {longer} WHERE company_id = {id}"),
            behind,
            "tile 0 of level 0",
        ),
        (
            "tiles of a tree that was forgotten",
            format!("DELETE FROM checkpoints WHERE company_id = {id} AND projection = 'tree'"),
            1,
            "tile 0 of level 0",
        ),
    ]
}

#[test]
fn rows_beyond_the_ledger_and_its_tree_are_found() {
    let rest = Rest::new();
    for (what, sql, position, words) in beyond(&rest) {
        println!("{what}");
        finds(&rest.changed(&sql), &rest.one.id, position, words);
    }
}

#[test]
fn cosignatures_that_are_none_are_found() {
    let rest = Rest::new();
    let id = rest.id();
    let cosigned = |lines: &str| {
        let lines = rest.place.sql_bytes(&hex::encode(lines));
        let text = if rest.place.is_postgres() {
            format!("convert_from({lines}, 'UTF8')")
        } else {
            format!("CAST({lines} AS TEXT)")
        };
        format!("UPDATE log_checkpoints SET cosignatures = {text} WHERE company_id = {id}")
    };
    let size = i64::try_from(rest.size()).unwrap();
    // Key's number, time and signature.
    let name = "witness.example/w1";
    let line = |bytes: &[u8]| format!("— {name} {}", BASE64_STANDARD.encode(bytes));
    for lines in ["garbage", "\n", &format!("{}\n", line(&[0; 12])), &line(&[0; 76])] {
        finds(&rest.changed(&cosigned(lines)), &rest.one.id, size, "cosignature");
    }
    // Whether somebody signed whom nobody knows here, can't be told; whether a known witness did, can.
    let key = [&[4][..], SigningKey::from_bytes(&[7; 32]).verifying_key().as_bytes()].concat();
    let number = signed_note::key_id(name, &key);
    let lines = line(&[&number.to_be_bytes()[..], &[0; 72]].concat()) + "\n";
    let place = rest.changed(&cosigned(&lines));
    place.run(&["verify"]).done();
    let config = format!(
        "[[witnesses]]\nurl = \"https://witness.example\"\nkey = \"{name}+{number:08x}+{}\"\n",
        BASE64_STANDARD.encode(&key)
    );
    std::fs::write(place.file("config.toml"), config).unwrap();
    let said = place.run(&["verify", "--config", "config.toml"]).refused(1);
    let start = format!("company {}, position {size}: ", rest.one.id);
    assert!(said.contains(&start) && said.contains("cosignature"), "{said}");
}

#[test]
fn checkpoints_that_were_all_taken_out_are_found_by_the_one_that_is_kept() {
    let rest = Rest::new();
    let (id, size) = (rest.id(), i64::try_from(rest.size()).unwrap());
    let sql = format!(
        "DELETE FROM log_checkpoints WHERE company_id = {id}; \
         DELETE FROM log_heads WHERE company_id = {id}"
    );
    let copy = rest.changed(&sql);
    keep(&copy, &rest.place);
    finds(&copy, &rest.one.id, size, "nothing of this log is stored");
    // A service that was killed before it stored the first one has named the log.
    let sql = format!(
        "DELETE FROM log_checkpoints WHERE company_id = {id}; \
         UPDATE log_heads SET size = 0 WHERE company_id = {id}"
    );
    let copy = rest.changed(&sql);
    keep(&copy, &rest.place);
    copy.run(&["verify"]).done();
}

/// Rows that can't be, of the first company: what is changed, in SQL, and words of the finding.
fn broken(rest: &Rest) -> Vec<(String, &'static str)> {
    let id = rest.id();
    let of_company = |table: &str, set: &str| {
        (format!("UPDATE {table} SET {set} WHERE company_id = {id}"), "can't be read")
    };
    let snapshot = |row: &str| (format!("INSERT INTO snapshots VALUES ({id}, {row})"), "snapshot");
    let mut changes = vec![
        of_company("company_heads", "last_position = -5"),
        of_company("company_heads", "company_sequence = -1"),
        of_company("checkpoints", "position = -1"),
        of_company("log_checkpoints", "size = -1"),
        of_company("log_checkpoints", "root = root || root"),
        of_company("log_heads", "size = -1"),
        snapshot("'token', 'x', 1, 1, '{}'"),
        snapshot("'none', '0197f0c0-0000-7000-8000-000000000000', 1, 1, '{}'"),
        snapshot("'token', '0197f0c0-0000-7000-8000-000000000000', -1, 1, '{}'"),
    ];
    // A column of SQLite's holds anything.
    if !rest.place.is_postgres() {
        for (table, set) in [
            ("company_heads", "last_position = 'x'"),
            ("company_heads", "last_recorded_at = 'x'"),
            ("checkpoints", "position = 'x'"),
            ("checkpoints", "version = 'x'"),
            ("checkpoints", "projection = CAST(projection AS BLOB)"),
            ("log_checkpoints", "signed_at = 'x'"),
            ("log_checkpoints", "note = x'00'"),
        ] {
            changes.push(of_company(table, set));
        }
        let moved = format!(
            "INSERT INTO event_private SELECT company_id, 1.5, salt, data FROM event_private \
             WHERE company_id = {id} AND position = 2"
        );
        changes.push((moved, "a private part can't be read"));
        let moved = format!(
            "INSERT INTO log_tiles SELECT company_id, level, 'x', hashes FROM log_tiles \
             WHERE company_id = {id}"
        );
        changes.push((moved, "can't be read"));
    }
    changes
}

#[test]
fn rows_that_cannot_be_are_found_and_the_other_ledgers_read() {
    let rest = Rest::new();
    let other = rest.place.sql_id(&rest.other.id);
    for (sql, words) in broken(&rest) {
        println!("{sql}");
        let copy = rest.changed(&sql);
        let said = copy.run(&["verify"]).refused(1);
        let start = format!("company {}, position 0: ", rest.one.id);
        let found = said.lines().any(|line| line.starts_with(&start) && line.contains(words));
        assert!(found, "{said}");
        assert!(said.contains("1 of 3 ledgers is not in order"), "{said}");
        copy.run(&["verify", "--company", &rest.other.id]).done();
        // Another ledger's finding is there as well.
        copy.tamper(&format!("DELETE FROM events WHERE company_id = {other} AND position = 3"));
        finds(&copy, &rest.other.id, 3, "missing");
    }
}

#[test]
fn an_event_of_the_platform_that_cannot_be_read_keeps_no_ledger_from_being_read() {
    let rest = Rest::new();
    let (platform, other) = (rest.place.sql_id(PLATFORM), rest.place.sql_id(&rest.other.id));
    let copy = rest.changed(&format!(
        "UPDATE events SET salt = {} WHERE company_id = {platform} AND position = 1; \
         DELETE FROM events WHERE company_id = {other} AND position = 3",
        rest.place.sql_bytes("00")
    ));
    finds(&copy, PLATFORM, 1, "can't be read");
    finds(&copy, &rest.other.id, 3, "missing");
    let said = copy.run(&["verify"]).refused(1);
    assert!(said.contains("2 of 3 ledgers are not in order"), "{said}");
}

#[test]
fn who_may_not_read_a_table_is_told_so_and_of_no_finding() {
    const AUDITOR: &str = "ledger_test_auditor";
    let place = Place::postgres();
    place.setup("Acme");
    place.serve(&["--checkpoint-delay-ms", "20"]).stop();
    place.database().let_in_blocking(AUDITOR, "pg_monitor");
    place.alter(&format!("GRANT SELECT ON ALL TABLES IN SCHEMA public TO {AUDITOR}"));
    let verify = || {
        let mut command = place.command(&["verify"]);
        command.env("TOKEN_LEDGER_DATABASE_URL", place.database().url_as(AUDITOR));
        ended(&mut command)
    };
    verify().done();
    for table in ["events", "event_private", "snapshots", "log_tiles", "log_checkpoints"] {
        place.alter(&format!("REVOKE SELECT ON {table} FROM {AUDITOR}"));
        let ended = verify();
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(1), ""), "{ended:?}");
        assert!(
            ended.stderr.contains(&format!("permission denied for table {table}")),
            "{ended:?}"
        );
        place.alter(&format!("GRANT SELECT ON {table} TO {AUDITOR}"));
    }
}

#[test]
fn a_head_without_events_is_found_where_there_can_be_none() {
    let rest = Rest::new();
    let nobody = rest.place.sql_id(NOBODY);
    let added = rest.changed(&format!("INSERT INTO company_heads VALUES ({nobody}, 0, 0, 0)"));
    if rest.place.is_postgres() {
        // A transaction that refuses a company's first event leaves the same.
        added.run(&["verify"]).done();
    } else {
        finds(&added, NOBODY, 0, "a head of no events");
    }
    let lowered =
        format!("UPDATE company_heads SET last_position = 0 WHERE company_id = {}", rest.id());
    let words = if rest.place.is_postgres() { "no head" } else { "a head of no events" };
    finds(&rest.changed(&lowered), &rest.one.id, 0, words);
}

#[test]
fn what_leaves_no_trace_is_told_of_nobody() {
    let rest = Rest::new();
    let (id, nobody) = (rest.id(), rest.place.sql_id(NOBODY));
    for sql in [
        format!("UPDATE events SET commit_id = {nobody} WHERE company_id = {id} AND position = 2"),
        format!("INSERT INTO log_heads VALUES ({id}, 'another/log', 'none', 0)"),
    ] {
        rest.changed(&sql).run(&["verify"]).done();
    }
}

#[test]
fn an_event_of_an_unknown_type_is_named_with_its_place_once() {
    let rest = Rest::new();
    let copy = rest.changed(&format!(
        "UPDATE events SET event_type = 'company.vanished' WHERE company_id = {} AND position = 2",
        rest.id()
    ));
    let said = copy.run(&["verify"]);
    assert_eq!(said.code, Some(1), "{said:?}");
    let expected = format!(
        "company {}, position 2: unknown event type \"company.vanished\" in version \"1\"\n\
         1 of 3 ledgers is not in order\n",
        rest.one.id
    );
    assert_eq!(said.stdout, expected);
}

#[test]
fn rows_of_what_is_no_company_are_found() {
    let rest = Rest::new();
    if rest.place.is_postgres() {
        // The columns' type lets in nothing else.
        return;
    }
    for (sql, named, words) in [
        ("UPDATE company_heads SET company_id = x'01'", "[01]", "a head of no company"),
        ("UPDATE company_heads SET company_id = 'x'", "\"x\"", "a head of no company"),
        (
            "UPDATE company_heads SET company_id = x'01', last_position = 0",
            "[01]",
            "a head of no company",
        ),
        ("UPDATE snapshots SET company_id = x'01'", "[01]", "snapshots"),
        ("UPDATE checkpoints SET company_id = x'01'", "[01]", "checkpoints"),
        ("UPDATE log_heads SET company_id = x'01'", "[01]", "log_heads"),
        ("UPDATE companies SET company_id = x'01'", "[01]", "companies"),
    ] {
        let id = rest.id();
        let row = "'token', '0197f0c0-0000-7000-8000-000000000000', 1, 1, '{}'";
        let copy = rest.changed(&format!("INSERT INTO snapshots VALUES ({id}, {row})"));
        copy.tamper(&format!("{sql} WHERE company_id = {id}"));
        finds(&copy, named, 0, words);
        copy.run(&["verify", "--company", &rest.other.id]).done();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_written_and_signed_meanwhile_is_no_finding() {
    let place = Place::new();
    let company = place.setup("Acme");
    let serving = place.serve(&["--checkpoint-delay-ms", "10"]);
    let url = serving.url(&format!("/v1/companies/{}/tokens", company.id));
    let key = company.admin_key.clone();
    let writer = tokio::spawn(async move {
        loop {
            post(&url, &key, &json!({"name": "one", "scopes": ["positions"]})).await;
        }
    });
    for _ in 0..5 {
        place.run(&["verify"]).done();
    }
    writer.abort();
    serving.stop();
    place.run(&["verify"]).done();
}
