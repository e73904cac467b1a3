//! Rows that stand where no reading of a ledger comes by, rows that can't be, and ledgers that are
//! gone: `verify` names each of them, and reads on.

mod process;

use process::{Company, Place};

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
