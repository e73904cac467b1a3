//! Rows that stand where no reading of a ledger comes by, rows that can't be, and ledgers that are
//! gone: `verify` names each of them, and reads on.

mod process;

use process::{Company, Place, get};
use std::process::Command;

/// The platform's identifier.
const PLATFORM: &str = "00000000-0000-7000-8000-000000000000";
/// A company that there is not.
const NOBODY: &str = "0197f0c0-0000-7000-8000-000000000000";

/// A ledger at rest with two companies, signed and in order.
struct Rest {
    place: Place,
    one: Company,
}

impl Rest {
    fn new() -> Self {
        let place = Place::new();
        let one = place.setup("Acme");
        place.setup("Other");
        place.serve(&["--checkpoint-delay-ms", "20"]).stop();
        place.run(&["verify"]).done();
        Self { place, one }
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
    assert!(reasons.contains("no checkpoint is signed for 1 companies"), "{reasons}");
    serving.stop();
}
