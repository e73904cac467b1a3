//! The files that a golden ledger is kept in.

use crate::process::Place;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use token_ledger_domain::{CompanyId, Timestamp};
use token_ledger_event_store::{RecordedEvent, StoredPrivate, StreamId};
use token_ledger_projections::tree::TileData;
use uuid::Uuid;

/// A row of `events`, with its private part. Bytes are hexadecimal, instants in microseconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Row {
    pub position: u64,
    pub aggregate_type: String,
    pub aggregate_id: Uuid,
    pub sequence: u64,
    pub event_type: String,
    pub event_version: String,
    pub payload: String,
    pub metadata: String,
    pub recorded_at: i64,
    pub commit_id: Uuid,
    pub salt: String,
    pub private_commitment: Option<String>,
    pub entry_hash: String,
    pub private: Option<Private>,
}

/// A row of `event_private`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Private {
    pub salt: String,
    pub data: String,
}

impl Private {
    pub fn salt(&self) -> [u8; 32] {
        bytes(&self.salt)
    }
}

impl Row {
    pub fn of(event: &RecordedEvent, private: Option<StoredPrivate>) -> Self {
        Self {
            position: event.position,
            aggregate_type: event.stream.kind.as_str().to_owned(),
            aggregate_id: event.stream.id,
            sequence: event.sequence,
            event_type: event.event_type.clone(),
            event_version: event.event_version.clone(),
            payload: event.payload.clone(),
            metadata: event.metadata.clone(),
            recorded_at: event.recorded_at.as_micros(),
            commit_id: event.commit_id,
            salt: hex::encode(event.salt),
            private_commitment: event.private_commitment.map(hex::encode),
            entry_hash: hex::encode(event.entry_hash),
            private: private.map(|part| Private { salt: hex::encode(part.salt), data: part.data }),
        }
    }

    fn event(&self, company: CompanyId) -> RecordedEvent {
        let kind = self.aggregate_type.parse().expect("a kind of aggregate");
        RecordedEvent {
            company,
            position: self.position,
            stream: StreamId { kind, id: self.aggregate_id },
            sequence: self.sequence,
            event_type: self.event_type.clone(),
            event_version: self.event_version.clone(),
            payload: self.payload.clone(),
            metadata: self.metadata.clone(),
            recorded_at: Timestamp::from_micros(self.recorded_at),
            commit_id: self.commit_id,
            salt: bytes(&self.salt),
            private_commitment: self.private_commitment.as_deref().map(bytes),
            entry_hash: bytes(&self.entry_hash),
        }
    }

    /// Whether it once had a private part.
    pub fn is_erased(&self) -> bool {
        self.private_commitment.is_some() && self.private.is_none()
    }
}

fn bytes(text: &str) -> [u8; 32] {
    let mut bytes = [0; 32];
    hex::decode_to_slice(text, &mut bytes).expect("64 hexadecimal digits");
    bytes
}

/// A golden ledger.
#[derive(Clone, Debug, PartialEq)]
pub struct Golden {
    pub seed: String,
    pub key: String,
    pub rows: Vec<Row>,
    pub tiles: Vec<TileData>,
    /// Signed notes by the size of the tree.
    pub checkpoints: BTreeMap<u64, String>,
    pub consistency: Value,
    /// Proofs by the position of the event.
    pub proofs: BTreeMap<u64, String>,
    pub pack: Value,
}

impl Golden {
    /// The log, as its key is named.
    pub fn origin(&self) -> &str {
        self.key.split('+').next().expect("a key")
    }

    /// What the origin begins with.
    pub fn log_name(&self) -> &str {
        self.origin().rsplit_once('/').expect("an origin").0
    }

    pub fn company(&self) -> CompanyId {
        self.origin().rsplit('/').next().and_then(|id| id.parse().ok()).expect("a company")
    }

    pub fn events(&self) -> Vec<RecordedEvent> {
        self.rows.iter().map(|row| row.event(self.company())).collect()
    }

    pub fn first_size(&self) -> u64 {
        *self.checkpoints.keys().next().expect("a checkpoint")
    }

    pub fn last_size(&self) -> u64 {
        *self.checkpoints.keys().next_back().expect("a checkpoint")
    }

    /// SQL that puts the events and the head into this place's database.
    pub fn insertions(&self, place: &Place) -> String {
        let company = place.sql_id(&self.company().to_string());
        let text = |text: &str| format!("'{}'", text.replace('\'', "''"));
        let mut sql = String::new();
        for row in &self.rows {
            let commitment = row.private_commitment.as_deref();
            sql.push_str(&format!(
                "INSERT INTO events (company_id, aggregate_type, aggregate_id, sequence, \
                 event_type, event_version, payload, metadata, position, recorded_at, commit_id, \
                 salt, private_commitment, entry_hash) VALUES ({company}, {}, '{}', {}, {}, {}, \
                 {}, {}, {}, {}, {}, {}, {}, {});\n",
                text(&row.aggregate_type),
                row.aggregate_id,
                row.sequence,
                text(&row.event_type),
                text(&row.event_version),
                text(&row.payload),
                text(&row.metadata),
                row.position,
                row.recorded_at,
                place.sql_id(&row.commit_id.to_string()),
                place.sql_bytes(&row.salt),
                commitment.map_or("NULL".to_owned(), |bytes| place.sql_bytes(bytes)),
                place.sql_bytes(&row.entry_hash),
            ));
            if let Some(private) = &row.private {
                sql.push_str(&format!(
                    "INSERT INTO event_private (company_id, position, salt, data) \
                     VALUES ({company}, {}, {}, {});\n",
                    row.position,
                    place.sql_bytes(&private.salt),
                    text(&private.data),
                ));
            }
        }
        let last = self.rows.last().expect("events");
        let own = self.rows.iter().filter(|row| row.aggregate_type == "company").count();
        sql.push_str(&format!(
            "INSERT INTO company_heads (company_id, last_position, last_recorded_at, \
             company_sequence) VALUES ({company}, {}, {}, {own});\n",
            last.position, last.recorded_at
        ));
        sql
    }

    pub fn read(folder: &Path) -> Self {
        let text = |name: &str| {
            let path = folder.join(name);
            fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
        };
        let numbered = |prefix: &str| {
            let mut found = BTreeMap::new();
            for entry in fs::read_dir(folder).expect("the folder") {
                let name = entry.expect("an entry").file_name().into_string().expect("a name");
                if let Some(number) = name.strip_prefix(prefix) {
                    found.insert(number.parse().expect("a number"), text(&name));
                }
            }
            found
        };
        let tile = |line: &str| {
            let Line { level, tile, hashes } = serde_json::from_str(line).expect("a tile");
            TileData { level, index: tile, hashes: hex::decode(hashes).expect("hashes") }
        };
        let row = |line: &str| serde_json::from_str(line).expect("an event");
        Self {
            seed: text("seed").trim().to_owned(),
            key: text("key").trim().to_owned(),
            rows: text("events.ndjson").lines().map(row).collect(),
            tiles: text("tiles.ndjson").lines().map(tile).collect(),
            checkpoints: numbered("checkpoint."),
            consistency: serde_json::from_str(&text("consistency.json")).expect("JSON"),
            proofs: numbered("proof."),
            pack: serde_json::from_str(&text("pack.json")).expect("JSON"),
        }
    }

    pub fn write(&self, folder: &Path) {
        fs::create_dir(folder).expect("a folder that is not there yet");
        let write = |name: &str, text: String| fs::write(folder.join(name), text).expect("a file");
        let lines = |lines: Vec<String>| lines.join("\n") + "\n";
        let pretty = |value: &Value| serde_json::to_string_pretty(value).expect("JSON") + "\n";
        let row = |row| serde_json::to_string(row).expect("JSON");
        let tile = |tile: &TileData| {
            let hashes = hex::encode(&tile.hashes);
            json!({"level": tile.level, "tile": tile.index, "hashes": hashes}).to_string()
        };
        write("seed", self.seed.clone() + "\n");
        write("key", self.key.clone() + "\n");
        write("events.ndjson", lines(self.rows.iter().map(row).collect()));
        write("tiles.ndjson", lines(self.tiles.iter().map(tile).collect()));
        for (size, note) in &self.checkpoints {
            write(&format!("checkpoint.{size}"), note.clone());
        }
        write("consistency.json", pretty(&self.consistency));
        for (position, proof) in &self.proofs {
            write(&format!("proof.{position}"), proof.clone());
        }
        write("pack.json", pretty(&self.pack));
    }
}

/// A line of `tiles.ndjson`.
#[derive(Deserialize)]
struct Line {
    level: u8,
    tile: u64,
    hashes: String,
}
