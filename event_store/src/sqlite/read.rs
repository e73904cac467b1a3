//! Reading the ledger's tables.

use super::database::failed;
use crate::commit::{IDEMPOTENCY_SECONDS, Idempotency};
use crate::error::StoreError;
use crate::record::{Appended, Head, RecordedEvent, Stored, StreamId, stored_id};
use crate::store::{LoadedStream, Replay, StoredPrivate, StoredSnapshot};
use rusqlite::types::Type;
use rusqlite::{Connection, Error, OptionalExtension, Row, Rows, params};
use std::str::FromStr;
use token_ledger_domain::event::AggregateType;
use token_ledger_domain::{CompanyId, Timestamp};
use uuid::Uuid;

/// The columns that [`event_from_row`] reads, in its order.
pub const EVENT_COLUMNS: &str = "company_id, position, aggregate_type, aggregate_id, sequence, \
    event_type, event_version, payload, metadata, recorded_at, commit_id, salt, \
    private_commitment, entry_hash";

const PAGE: &str = "SELECT company_id, position, aggregate_type, aggregate_id, sequence, \
    event_type, event_version, payload, metadata, recorded_at, commit_id, salt, \
    private_commitment, entry_hash FROM events \
    WHERE company_id = ?1 AND position > ?2 ORDER BY position LIMIT ?3";
const DECODED_PAGE: &str = "SELECT position, aggregate_type, aggregate_id, sequence, event_type, \
    event_version, payload, metadata, recorded_at FROM events \
    WHERE company_id = ?1 AND position > ?2 ORDER BY position LIMIT ?3";
const STREAM: &str = "SELECT company_id, position, aggregate_type, aggregate_id, sequence, \
    event_type, event_version, payload, metadata, recorded_at, commit_id, salt, \
    private_commitment, entry_hash FROM events \
    WHERE aggregate_type = ?1 AND aggregate_id = ?2 AND company_id = ?3 AND sequence > ?4 \
    ORDER BY sequence LIMIT ?5";
const SNAPSHOT: &str = "SELECT last_sequence, payload FROM snapshots \
    WHERE company_id = ?1 AND aggregate_type = ?2 AND aggregate_id = ?3";
const SNAPSHOTS: &str = "SELECT aggregate_type, aggregate_id, last_sequence, payload FROM snapshots \
    WHERE company_id = ?1 AND (aggregate_type, aggregate_id) > (?2, ?3) \
    ORDER BY aggregate_type, aggregate_id LIMIT ?4";
const HEADS: &str = "SELECT company_id, last_position, last_recorded_at, company_sequence \
    FROM company_heads ORDER BY company_id";
const HEAD: &str = "SELECT company_id, last_position, last_recorded_at, company_sequence \
    FROM company_heads WHERE company_id = ?1";
const PRIVATE: &str =
    "SELECT salt, data FROM event_private WHERE company_id = ?1 AND position = ?2";
const PRIVATE_RANGE: &str = "SELECT position, salt, data FROM event_private \
    WHERE company_id = ?1 AND position > ?2 AND position <= ?3 ORDER BY position";
const RECORDED_AT: &str = "SELECT recorded_at FROM events WHERE company_id = ?1 AND position = ?2";
const REPLAY: &str = "SELECT request_hash, result, at FROM idempotency_keys \
    WHERE company_id = ?1 AND caller = ?2 AND route = ?3 AND key = ?4 AND at > ?5";

/// A limit that no stream reaches, small enough for the database's integers.
pub(super) const WHOLE_STREAM: usize = usize::MAX >> 1;

/// An event from the columns of [`EVENT_COLUMNS`].
///
/// # Errors
/// When a column holds what it can't.
pub fn event_from_row(row: &Row<'_>) -> rusqlite::Result<RecordedEvent> {
    Ok(RecordedEvent {
        company: CompanyId(Uuid::from_bytes(row.get(0)?)),
        position: row.get(1)?,
        stream: stream_from_columns(row, 2, 3)?,
        sequence: row.get(4)?,
        event_type: row.get(5)?,
        event_version: row.get(6)?,
        payload: row.get(7)?,
        metadata: row.get(8)?,
        recorded_at: Timestamp::from_micros(row.get(9)?),
        commit_id: Uuid::from_bytes(row.get(10)?),
        salt: row.get(11)?,
        private_commitment: row.get(12)?,
        entry_hash: row.get(13)?,
    })
}

/// A text, in the database's own memory.
fn text<'r>(row: &'r Row<'_>, column: usize) -> rusqlite::Result<&'r str> {
    row.get_ref(column)?.as_str().map_err(|error| not_its_form(column, error))
}

/// A text that is not of its column's form.
fn not_its_form(column: usize, error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::FromSqlConversionFailure(column, Type::Text, Box::new(error))
}

/// A stream from the columns that name its kind and its identifier.
fn stream_from_columns(row: &Row<'_>, kind: usize, id: usize) -> rusqlite::Result<StreamId> {
    Ok(StreamId {
        kind: AggregateType::from_str(text(row, kind)?)
            .map_err(|error| not_its_form(kind, error))?,
        id: stored_id(text(row, id)?).map_err(|error| not_its_form(id, error))?,
    })
}

/// What is wrong with a row of a company's ledger, with the position at which it stands.
fn unreadable(row: &Row<'_>, company: CompanyId, error: Error) -> StoreError {
    let name = |column: usize| row.as_ref().column_name(column).unwrap_or_default();
    let error = match error {
        Error::FromSqlConversionFailure(column, _, problem) => {
            StoreError::Unreadable(format!("{}: {problem}", name(column)))
        }
        Error::IntegralValueOutOfRange(column, number) => {
            StoreError::Unreadable(format!("{}: {number}", name(column)))
        }
        other => failed(other),
    };
    error.at(company, row.get("position").unwrap_or(0))
}

/// The rows of a company's ledger that a query answers.
fn collect<T>(
    mut rows: Rows<'_>,
    company: CompanyId,
    read: impl Fn(&Row<'_>) -> rusqlite::Result<T>,
) -> Result<Vec<T>, StoreError> {
    let mut all = Vec::new();
    while let Some(row) = rows.next().map_err(failed)? {
        all.push(read(row).map_err(|error| unreadable(row, company, error))?);
    }
    Ok(all)
}

/// The events of a company after a position.
///
/// # Errors
/// When the database fails.
pub fn page(
    connection: &Connection,
    company: CompanyId,
    after: u64,
    limit: usize,
) -> Result<Vec<RecordedEvent>, StoreError> {
    let mut statement = connection.prepare_cached(PAGE).map_err(failed)?;
    let rows = statement.query(params![company.0.as_bytes(), after, limit]).map_err(failed)?;
    collect(rows, company, event_from_row)
}

/// The events of a company after a position, decoded as projections want them, up to the first
/// that can't be; why it can't is answered beside those before it.
///
/// # Errors
/// When the database fails.
pub fn decoded_page(
    connection: &Connection,
    company: CompanyId,
    after: u64,
    limit: usize,
) -> Result<(Vec<Appended>, Option<StoreError>), StoreError> {
    let mut statement = connection.prepare_cached(DECODED_PAGE).map_err(failed)?;
    let mut rows = statement.query(params![company.0.as_bytes(), after, limit]).map_err(failed)?;
    let mut page = Vec::new();
    while let Some(row) = rows.next().map_err(failed)? {
        let stored = stored(row, company).map_err(|error| unreadable(row, company, error));
        match stored.and_then(|event| event.appended()) {
            Ok(event) => page.push(event),
            Err(error) => return Ok((page, Some(error))),
        }
    }
    Ok((page, None))
}

/// An event's texts, in the database's own memory.
fn stored<'r>(row: &'r Row<'_>, company: CompanyId) -> rusqlite::Result<Stored<'r>> {
    Ok(Stored {
        company,
        position: row.get(0)?,
        stream: stream_from_columns(row, 1, 2)?,
        sequence: row.get(3)?,
        event_type: text(row, 4)?,
        event_version: text(row, 5)?,
        payload: text(row, 6)?,
        metadata: text(row, 7)?,
        recorded_at: Timestamp::from_micros(row.get(8)?),
    })
}

pub(super) fn stream(
    connection: &Connection,
    company: CompanyId,
    stream: StreamId,
    after: u64,
    limit: usize,
) -> Result<Vec<RecordedEvent>, StoreError> {
    let mut statement = connection.prepare_cached(STREAM).map_err(failed)?;
    let key =
        params![stream.kind.as_str(), stream.id.to_string(), company.0.as_bytes(), after, limit];
    collect(statement.query(key).map_err(failed)?, company, event_from_row)
}

pub(super) fn load(
    connection: &Connection,
    company: CompanyId,
    streams: &[StreamId],
) -> Result<Vec<LoadedStream>, StoreError> {
    let mut loaded = Vec::with_capacity(streams.len());
    for id in streams {
        let snapshot: Option<(u64, String)> = connection
            .prepare_cached(SNAPSHOT)
            .map_err(failed)?
            .query_row(params![company.0.as_bytes(), id.kind.as_str(), id.id.to_string()], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })
            .optional()
            .map_err(|error| failed(error).at(company, 0))?;
        let after = snapshot.as_ref().map_or(0, |(sequence, _)| *sequence);
        let events = stream(connection, company, *id, after, WHOLE_STREAM)?;
        loaded.push(LoadedStream { snapshot, events });
    }
    Ok(loaded)
}

pub(super) fn snapshots(
    connection: &Connection,
    company: CompanyId,
    after: Option<StreamId>,
    limit: usize,
) -> Result<Vec<StoredSnapshot>, StoreError> {
    let (kind, id) =
        after.map_or(("", String::new()), |stream| (stream.kind.as_str(), stream.id.to_string()));
    let mut statement = connection.prepare_cached(SNAPSHOTS).map_err(failed)?;
    let rows = statement.query(params![company.0.as_bytes(), kind, id, limit]).map_err(failed)?;
    collect(rows, company, |row| {
        Ok(StoredSnapshot {
            stream: stream_from_columns(row, 0, 1)?,
            sequence: row.get(2)?,
            state: row.get(3)?,
        })
    })
}

fn head_from_row(row: &Row<'_>) -> rusqlite::Result<Head> {
    Ok(Head {
        company: CompanyId(Uuid::from_bytes(row.get(0)?)),
        position: row.get(1)?,
        recorded_at: Timestamp::from_micros(row.get(2)?),
        company_sequence: row.get(3)?,
    })
}

pub(super) fn heads(connection: &Connection) -> Result<Vec<Head>, StoreError> {
    let mut statement = connection.prepare_cached(HEADS).map_err(failed)?;
    let rows = statement.query_map([], head_from_row).map_err(failed)?;
    rows.collect::<Result<_, _>>().map_err(failed)
}

/// The head of one company.
///
/// # Errors
/// When the database fails.
pub fn head(connection: &Connection, company: CompanyId) -> Result<Option<Head>, StoreError> {
    connection
        .prepare_cached(HEAD)
        .map_err(failed)?
        .query_row([company.0.as_bytes()], head_from_row)
        .optional()
        .map_err(|error| failed(error).at(company, 0))
}

pub(super) fn private_parts(
    connection: &Connection,
    company: CompanyId,
    positions: &[u64],
) -> Result<Vec<Option<StoredPrivate>>, StoreError> {
    let mut statement = connection.prepare_cached(PRIVATE).map_err(failed)?;
    positions
        .iter()
        .map(|position| {
            statement
                .query_row(params![company.0.as_bytes(), position], |row| {
                    Ok(StoredPrivate { salt: row.get(0)?, data: row.get(1)? })
                })
                .optional()
                .map_err(|error| failed(error).at(company, *position))
        })
        .collect()
}

pub(super) fn private_range(
    connection: &Connection,
    company: CompanyId,
    after: u64,
    last: u64,
) -> Result<Vec<(u64, StoredPrivate)>, StoreError> {
    let mut statement = connection.prepare_cached(PRIVATE_RANGE).map_err(failed)?;
    let rows = statement.query(params![company.0.as_bytes(), after, last]).map_err(failed)?;
    collect(rows, company, |row| {
        Ok((row.get(0)?, StoredPrivate { salt: row.get(1)?, data: row.get(2)? }))
    })
}

/// Positions are in order of time, so a search by halves finds the place in twenty steps.
pub(super) fn position_at(
    connection: &Connection,
    company: CompanyId,
    time: Timestamp,
    inclusive: bool,
) -> Result<u64, StoreError> {
    let Some(head) = head(connection, company)? else { return Ok(0) };
    let mut statement = connection.prepare_cached(RECORDED_AT).map_err(failed)?;
    let (mut before, mut beyond) = (0, head.position + 1);
    while beyond - before > 1 {
        let middle = before + (beyond - before) / 2;
        let recorded: i64 = statement
            .query_row(params![company.0.as_bytes(), middle], |row| row.get(0))
            .map_err(|error| failed(error).at(company, middle))?;
        let recorded = Timestamp::from_micros(recorded);
        if recorded < time || (inclusive && recorded == time) {
            before = middle;
        } else {
            beyond = middle;
        }
    }
    Ok(before)
}

pub(super) fn replay(
    connection: &Connection,
    company: CompanyId,
    key: &Idempotency,
    now: Timestamp,
) -> Result<Option<Replay>, StoreError> {
    let oldest = now.plus_seconds(-IDEMPOTENCY_SECONDS).as_micros();
    let found: Option<([u8; 32], String, i64)> = connection
        .prepare_cached(REPLAY)
        .map_err(failed)?
        .query_row(params![company.0.as_bytes(), key.caller, key.route, key.key, oldest], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?))
        })
        .optional()
        .map_err(|error| failed(error).at(company, 0))?;
    let Some((request_hash, result, at)) = found else { return Ok(None) };
    let (stream, sequence) = Replay::parse_result(company, &result)?;
    Ok(Some(Replay { request_hash, stream, sequence, recorded_at: Timestamp::from_micros(at) }))
}
