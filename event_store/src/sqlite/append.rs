//! Appending commits within one transaction.

use super::Appended;
use super::database::failed;
use super::read;
use crate::commit::{AppendError, Commit, IDEMPOTENCY_SECONDS, Recorded};
use crate::error::StoreError;
use crate::placing::{Known, Last, Placed, PlacedEvent, begins, key_name};
use crate::record::{Head, StreamId};
use crate::store::Replay;
use rusqlite::{
    CachedStatement, Connection, OptionalExtension, Transaction, TransactionBehavior, params,
};
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
    let (mut known, mut placed) = (Known::default(), Placed::default());
    let mut inserts = Inserts::prepare(transaction)?;
    let mut answers = Vec::with_capacity(commits.len());
    for commit in commits {
        let before = look_up(transaction, commit, &mut known)?;
        let written = placed.events.len();
        let answer = known.place(commit, &mut placed);
        let is_inserted = inserts.events(&placed.events[written..])?;
        answers.push(if is_inserted {
            answer
        } else {
            known.heads.insert(commit.company, before);
            known.lasts.remove(&(commit.company, commit.stream));
            placed.take_back(commit, written);
            taken(transaction, commit)?
        });
    }
    write_heads(transaction, known.heads.values())?;
    write_snapshots(transaction, &placed)?;
    write_keys(transaction, &placed)?;
    appended.append(&mut placed.appended);
    Ok(answers)
}

/// Looks for what a commit's conditions are held against, as far as nothing is known of it yet. Answers
/// where the head stands.
fn look_up<'a>(
    transaction: &Transaction<'_>,
    commit: &'a Commit,
    known: &mut Known<'a>,
) -> Result<Head, StoreError> {
    let (company, stream) = (commit.company, (commit.company, commit.stream));
    if !begins(commit)
        && !known.lasts.contains_key(&stream)
        && let Some(last) = last_of_stream(transaction, company, commit.stream)?
    {
        known.lasts.insert(stream, last);
    }
    if let Some(key) = &commit.idempotency
        && read::replay(transaction, company, key, commit.decided_at)?.is_some()
    {
        known.keys.insert(key_name(company, key));
    }
    if let Some(head) = known.heads.get(&company) {
        return Ok(*head);
    }
    let none = Head {
        company,
        position: 0,
        recorded_at: Timestamp::from_micros(i64::MIN),
        company_sequence: 0,
    };
    let head = read::head(transaction, company)?.unwrap_or(none);
    known.heads.insert(company, head);
    Ok(head)
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
                Ok(Last {
                    entry_hash: row.get(1)?,
                    commit_id: Uuid::from_bytes(row.get(2)?),
                    recorded: Recorded {
                        sequence: row.get(0)?,
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

    /// Inserts a commit's events and their private parts; `false`, and nothing inserted, where the place
    /// of the first one in its stream is taken.
    fn events(&mut self, events: &[PlacedEvent<'_>]) -> Result<bool, StoreError> {
        for event in events {
            let Commit { company, stream, commit_id, .. } = event.commit;
            let sealed = event.sealed();
            let inserted = self.event.execute(params![
                company.0.as_bytes(),
                stream.kind.as_str(),
                &*stream.id.hyphenated().encode_lower(&mut Uuid::encode_buffer()),
                event.sequence,
                event.event_type,
                event.event_version,
                sealed.payload,
                &*sealed.metadata,
                event.position,
                event.recorded_at.as_micros(),
                commit_id.as_bytes(),
                sealed.salt,
                event.private_commitment(),
                event.entry_hash,
            ]);
            match inserted {
                Err(rusqlite::Error::SqliteFailure(error, _))
                    if error.extended_code == rusqlite::ffi::SQLITE_CONSTRAINT_PRIMARYKEY =>
                {
                    return Ok(false);
                }
                other => other.map_err(failed)?,
            };
            if let Some(private) = &sealed.private {
                let part =
                    params![company.0.as_bytes(), event.position, private.salt, private.data];
                self.private.execute(part).map_err(failed)?;
            }
        }
        Ok(true)
    }
}

fn write_heads<'h>(
    transaction: &Transaction<'_>,
    heads: impl Iterator<Item = &'h Head>,
) -> Result<(), StoreError> {
    let mut statement = transaction.prepare_cached(UPSERT_HEAD).map_err(failed)?;
    for head in heads.filter(|head| head.position > 0) {
        statement
            .execute(params![
                head.company.0.as_bytes(),
                head.position,
                head.recorded_at.as_micros(),
                head.company_sequence
            ])
            .map_err(failed)?;
    }
    Ok(())
}

fn write_snapshots(transaction: &Transaction<'_>, placed: &Placed<'_>) -> Result<(), StoreError> {
    for ((company, stream), (sequence, snapshot)) in &placed.snapshots {
        transaction
            .prepare_cached(UPSERT_SNAPSHOT)
            .map_err(failed)?
            .execute(params![
                company.0.as_bytes(),
                stream.kind.as_str(),
                stream.id.to_string(),
                sequence,
                snapshot
            ])
            .map_err(failed)?;
    }
    Ok(())
}

fn write_keys(transaction: &Transaction<'_>, placed: &Placed<'_>) -> Result<(), StoreError> {
    for (commit, key, sequence, recorded_at) in &placed.keys {
        forget_keys(transaction, *recorded_at, FORGOTTEN_AT_ONCE)?;
        transaction
            .prepare_cached(INSERT_KEY)
            .map_err(failed)?
            .execute(params![
                commit.company.0.as_bytes(),
                key.caller,
                key.route,
                key.key,
                key.request_hash,
                Replay::result_text(commit.stream, *sequence),
                recorded_at.as_micros(),
            ])
            .map_err(failed)?;
    }
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
