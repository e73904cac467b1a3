//! Appending commits within one transaction.

use super::Appended;
use super::database::failed;
use super::read;
use crate::commit::{AppendError, Commit, IDEMPOTENCY_SECONDS, MAX_CLOCK_LAG_SECONDS, Recorded};
use crate::entry::Entry;
use crate::error::StoreError;
use crate::record::{Head, StreamId};
use crate::store::Replay;
use rusqlite::{
    CachedStatement, Connection, OptionalExtension, Transaction, TransactionBehavior, params,
};
use std::collections::HashMap;
use std::sync::Arc;
use token_ledger_domain::event::AggregateType;
use token_ledger_domain::{CompanyId, Timestamp};
use uuid::Uuid;

/// Idempotency keys that are forgotten with each new one, at most: more than come in, so that the
/// old ones get fewer.
const FORGOTTEN_AT_ONCE: usize = 4;

/// FAIL, since the default ABORT keeps a journal for each insert into a table with triggers, and there
/// is nothing to undo: a row is inserted or it isn't.
const INSERT_EVENT: &str = "INSERT OR FAIL INTO events (company_id, aggregate_type, aggregate_id, \
    sequence, event_type, event_version, payload, metadata, position, recorded_at, commit_id, \
    salt, private_commitment, entry_hash) \
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)";
const INSERT_PRIVATE: &str =
    "INSERT INTO event_private (company_id, position, salt, data) VALUES (?1, ?2, ?3, ?4)";
const LAST_OF_STREAM: &str = "SELECT sequence, entry_hash, commit_id, position, recorded_at \
    FROM events WHERE aggregate_type = ?1 AND aggregate_id = ?2 AND company_id = ?3 \
    ORDER BY sequence DESC LIMIT 1";
const UPSERT_HEAD: &str = "INSERT INTO company_heads \
    (company_id, last_position, last_recorded_at, company_sequence) VALUES (?1, ?2, ?3, ?4) \
    ON CONFLICT (company_id) DO UPDATE SET last_position = excluded.last_position, \
    last_recorded_at = excluded.last_recorded_at, company_sequence = excluded.company_sequence";
const UPSERT_SNAPSHOT: &str = "INSERT INTO snapshots \
    (company_id, aggregate_type, aggregate_id, last_sequence, current_snapshot, payload) \
    VALUES (?1, ?2, ?3, ?4, 1, ?5) \
    ON CONFLICT (company_id, aggregate_type, aggregate_id) DO UPDATE SET \
    last_sequence = excluded.last_sequence, current_snapshot = current_snapshot + 1, \
    payload = excluded.payload";
const INSERT_KEY: &str = "INSERT OR REPLACE INTO idempotency_keys \
    (company_id, caller, route, key, request_hash, result, at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
const FORGET_KEYS: &str = "DELETE FROM idempotency_keys WHERE (company_id, caller, route, key) IN \
    (SELECT company_id, caller, route, key FROM idempotency_keys WHERE at < ?1 LIMIT ?2)";

/// Begins the transaction that locks the whole file for writing: SQLite's one lock is the lock of
/// every company's head, so insert order is commit order.
pub(super) fn begin(connection: &mut Connection) -> Result<Transaction<'_>, StoreError> {
    connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed)
}

/// Appends every commit whose conditions hold, and tells the others why not.
///
/// # Errors
/// When a statement fails; the transaction must be rolled back then.
pub(super) fn append(
    transaction: &Transaction<'_>,
    commits: &[&Commit],
    appended: &mut Vec<Appended>,
) -> Result<Vec<Result<Recorded, AppendError>>, StoreError> {
    let mut heads: HashMap<CompanyId, Head> = HashMap::new();
    let mut inserts = Inserts::prepare(transaction)?;
    let mut answers = Vec::with_capacity(commits.len());
    for commit in commits {
        let head = match heads.get_mut(&commit.company) {
            Some(head) => head,
            None => heads.entry(commit.company).or_insert(
                read::head(transaction, commit.company)?.unwrap_or(Head {
                    company: commit.company,
                    position: 0,
                    recorded_at: Timestamp::from_micros(i64::MIN),
                    company_sequence: 0,
                }),
            ),
        };
        answers.push(append_one(transaction, &mut inserts, commit, head, appended)?);
    }
    let mut statement = transaction.prepare_cached(UPSERT_HEAD).map_err(failed)?;
    for head in heads.values().filter(|head| head.position > 0) {
        statement
            .execute(params![
                head.company.0.as_bytes(),
                head.position,
                head.recorded_at.as_micros(),
                head.company_sequence
            ])
            .map_err(failed)?;
    }
    Ok(answers)
}

/// The last event of a stream.
struct Last {
    sequence: u64,
    entry_hash: [u8; 32],
    commit_id: Uuid,
    recorded: Recorded,
}

fn append_one(
    transaction: &Transaction<'_>,
    inserts: &mut Inserts<'_>,
    commit: &Commit,
    head: &mut Head,
    appended: &mut Vec<Appended>,
) -> Result<Result<Recorded, AppendError>, StoreError> {
    // A stream that is about to begin has nothing to look for; if it has after all, its first
    // event's place is taken, and the insert below says so.
    let begins =
        commit.expected_sequence == 0 && !commit.events.is_empty() && commit.idempotency.is_none();
    let last =
        if begins { None } else { last_of_stream(transaction, commit.company, commit.stream)? };
    if let Some(last) = &last
        && last.commit_id == commit.commit_id
    {
        // It was appended before, and the answer was lost.
        return Ok(Ok(last.recorded));
    }
    if let Some(key) = &commit.idempotency
        && read::replay(transaction, commit.company, key, commit.decided_at)?.is_some()
    {
        return Ok(Err(AppendError::Repeated));
    }
    if last.as_ref().map_or(0, |last| last.sequence) != commit.expected_sequence {
        return Ok(Err(AppendError::Conflict));
    }
    if commit.company_sequence.is_some_and(|sequence| sequence != head.company_sequence) {
        return Ok(Err(AppendError::CompanyChanged));
    }
    let lag = head.recorded_at.as_seconds() - commit.decided_at.as_seconds();
    if lag > MAX_CLOCK_LAG_SECONDS {
        return Ok(Err(StoreError::ClockBehind { seconds: lag }.into()));
    }
    let recorded_at = head.recorded_at.max(commit.decided_at);
    if let Err(outdated) = commit.holds_at(recorded_at) {
        return Ok(Err(outdated));
    }
    let mut previous = last.map(|last| last.entry_hash);
    for (index, sealed) in commit.events.iter().enumerate() {
        let place = Place {
            position: head.position + index as u64 + 1,
            sequence: commit.expected_sequence + index as u64 + 1,
            recorded_at,
        };
        previous = match inserts.event(commit, index, place, previous)? {
            Some(hash) => Some(hash),
            None => return taken(transaction, commit),
        };
        appended.push(Appended {
            company: commit.company,
            position: place.position,
            stream: commit.stream,
            sequence: place.sequence,
            recorded_at,
            actor: sealed.actor,
            event: Arc::clone(&sealed.event),
        });
    }
    let count = commit.events.len() as u64;
    head.position += count;
    if count > 0 {
        head.recorded_at = recorded_at;
    }
    let sequence = commit.expected_sequence + count;
    if count > 0 && commit.stream.kind == AggregateType::Company {
        head.company_sequence = sequence;
    }
    insert_beside(transaction, commit, sequence, recorded_at)?;
    Ok(Ok(Recorded { sequence, position: head.position, recorded_at }))
}

/// The answer to a commit whose first event's place is taken: by itself, when its answer was lost,
/// or by another.
fn taken(
    transaction: &Transaction<'_>,
    commit: &Commit,
) -> Result<Result<Recorded, AppendError>, StoreError> {
    let last = last_of_stream(transaction, commit.company, commit.stream)?;
    Ok(last
        .filter(|last| last.commit_id == commit.commit_id)
        .map(|last| last.recorded)
        .ok_or(AppendError::Conflict))
}

/// Where an event comes to stand.
#[derive(Clone, Copy)]
struct Place {
    position: u64,
    sequence: u64,
    recorded_at: Timestamp,
}

fn last_of_stream(
    connection: &Connection,
    company: CompanyId,
    stream: StreamId,
) -> Result<Option<Last>, StoreError> {
    let mut statement = connection.prepare_cached(LAST_OF_STREAM).map_err(failed)?;
    statement
        .query_row(
            params![stream.kind.as_str(), stream.id.to_string(), company.0.as_bytes()],
            |row| {
                let sequence = row.get(0)?;
                Ok(Last {
                    sequence,
                    entry_hash: row.get(1)?,
                    commit_id: Uuid::from_bytes(row.get(2)?),
                    recorded: Recorded {
                        sequence,
                        position: row.get(3)?,
                        recorded_at: Timestamp::from_micros(row.get(4)?),
                    },
                })
            },
        )
        .optional()
        .map_err(failed)
}

/// The statements that every event goes through.
struct Inserts<'t> {
    event: CachedStatement<'t>,
    private: CachedStatement<'t>,
}

impl<'t> Inserts<'t> {
    fn prepare(transaction: &'t Transaction<'_>) -> Result<Self, StoreError> {
        Ok(Self {
            event: transaction.prepare_cached(INSERT_EVENT).map_err(failed)?,
            private: transaction.prepare_cached(INSERT_PRIVATE).map_err(failed)?,
        })
    }

    /// Inserts an event and its private part; `None`, and nothing inserted, where its place in its
    /// stream is taken.
    fn event(
        &mut self,
        commit: &Commit,
        index: usize,
        place: Place,
        previous: Option<[u8; 32]>,
    ) -> Result<Option<[u8; 32]>, StoreError> {
        let sealed = &commit.events[index];
        let event_type = sealed.event.type_name();
        let event_version = sealed.event.version().to_string();
        let hash = Entry {
            company: commit.company,
            position: place.position,
            stream: commit.stream,
            sequence: place.sequence,
            event_type,
            event_version: &event_version,
            recorded_at: place.recorded_at,
            content: sealed.commitment,
            private: sealed.private.as_ref().map(|private| private.commitment),
            previous,
        }
        .hash();
        let inserted = self.event.execute(params![
            commit.company.0.as_bytes(),
            commit.stream.kind.as_str(),
            &*commit.stream.id.hyphenated().encode_lower(&mut Uuid::encode_buffer()),
            place.sequence,
            event_type,
            event_version,
            sealed.payload,
            &*sealed.metadata,
            place.position,
            place.recorded_at.as_micros(),
            commit.commit_id.as_bytes(),
            sealed.salt,
            sealed.private.as_ref().map(|private| private.commitment),
            hash,
        ]);
        match inserted {
            Err(rusqlite::Error::SqliteFailure(error, _))
                if error.extended_code == rusqlite::ffi::SQLITE_CONSTRAINT_PRIMARYKEY =>
            {
                return Ok(None);
            }
            other => other.map_err(failed)?,
        };
        if let Some(private) = &sealed.private {
            self.private
                .execute(params![
                    commit.company.0.as_bytes(),
                    place.position,
                    private.salt,
                    private.data
                ])
                .map_err(failed)?;
        }
        Ok(Some(hash))
    }
}

/// Writes what goes with the events but is not of the log.
fn insert_beside(
    transaction: &Transaction<'_>,
    commit: &Commit,
    sequence: u64,
    recorded_at: Timestamp,
) -> Result<(), StoreError> {
    if let Some(snapshot) = &commit.snapshot {
        transaction
            .prepare_cached(UPSERT_SNAPSHOT)
            .map_err(failed)?
            .execute(params![
                commit.company.0.as_bytes(),
                commit.stream.kind.as_str(),
                commit.stream.id.to_string(),
                sequence,
                snapshot
            ])
            .map_err(failed)?;
    }
    let Some(key) = &commit.idempotency else { return Ok(()) };
    forget_keys(transaction, recorded_at, FORGOTTEN_AT_ONCE)?;
    transaction
        .prepare_cached(INSERT_KEY)
        .map_err(failed)?
        .execute(params![
            commit.company.0.as_bytes(),
            key.caller,
            key.route,
            key.key,
            key.request_hash,
            Replay::result_text(commit.stream, sequence),
            recorded_at.as_micros(),
        ])
        .map_err(failed)?;
    Ok(())
}

/// Removes idempotency keys that are no longer remembered, at most so many, and answers how many.
pub(super) fn forget_keys(
    connection: &Connection,
    now: Timestamp,
    limit: usize,
) -> Result<u64, StoreError> {
    let oldest = now.plus_seconds(-IDEMPOTENCY_SECONDS).as_micros();
    let forgotten = connection
        .prepare_cached(FORGET_KEYS)
        .map_err(failed)?
        .execute(params![oldest, limit])
        .map_err(failed)?;
    Ok(forgotten as u64)
}
