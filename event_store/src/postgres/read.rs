//! Reading the ledger's tables.

use super::errors::reading_failed;
use crate::commit::{IDEMPOTENCY_SECONDS, Idempotency};
use crate::error::StoreError;
use crate::record::{Head, RecordedEvent, StreamId, stored_id};
use crate::store::{LoadedStream, Replay, StoredPrivate, StoredSnapshot};
use sqlx::postgres::PgRow;
use sqlx::{Decode, Error, PgConnection, PgExecutor, Postgres, Row, Type, ValueRef};
use std::str::FromStr;
use token_ledger_domain::event::AggregateType;
use token_ledger_domain::{CompanyId, Timestamp};

/// The columns that [`event_from_row`] reads, in its order.
pub const EVENT_COLUMNS: &str = "company_id, position, aggregate_type, aggregate_id, sequence, \
    event_type, event_version, payload, metadata, recorded_at, commit_id, salt, \
    private_commitment, entry_hash";

const PAGE: &str = "SELECT company_id, position, aggregate_type, aggregate_id, sequence, \
    event_type, event_version, payload, metadata, recorded_at, commit_id, salt, \
    private_commitment, entry_hash FROM events \
    WHERE company_id = $1 AND position > $2 ORDER BY position LIMIT $3";
const STREAM: &str = "SELECT company_id, position, aggregate_type, aggregate_id, sequence, \
    event_type, event_version, payload, metadata, recorded_at, commit_id, salt, \
    private_commitment, entry_hash FROM events \
    WHERE aggregate_type = $1 AND aggregate_id = $2 AND company_id = $3 AND sequence > $4 \
    ORDER BY sequence LIMIT $5";
const STREAMS: &str = "SELECT e.company_id, e.position, e.aggregate_type, e.aggregate_id, \
    e.sequence, e.event_type, e.event_version, e.payload, e.metadata, e.recorded_at, e.commit_id, \
    e.salt, e.private_commitment, e.entry_hash, s.number \
    FROM unnest($2::text[], $3::text[], $4::bigint[]) WITH ORDINALITY AS s (kind, id, after, number) \
    JOIN events e ON e.company_id = $1 AND e.aggregate_type = s.kind AND e.aggregate_id = s.id \
    AND e.sequence > s.after ORDER BY s.number, e.sequence";
const SNAPSHOTS_OF: &str = "SELECT s.number, k.last_sequence, k.payload \
    FROM unnest($2::text[], $3::text[]) WITH ORDINALITY AS s (kind, id, number) \
    JOIN snapshots k ON k.company_id = $1 AND k.aggregate_type = s.kind AND k.aggregate_id = s.id";
const SNAPSHOTS: &str = "SELECT aggregate_type, aggregate_id, last_sequence, payload FROM snapshots \
    WHERE company_id = $1 AND (aggregate_type, aggregate_id) > ($2, $3) \
    ORDER BY aggregate_type, aggregate_id LIMIT $4";
const HEADS: &str = "SELECT company_id, last_position, last_recorded_at, company_sequence \
    FROM company_heads WHERE last_position > 0 ORDER BY company_id";
const HEAD: &str = "SELECT company_id, last_position, last_recorded_at, company_sequence \
    FROM company_heads WHERE company_id = $1 AND last_position > 0";
const PRIVATE: &str = "SELECT position, salt, data FROM event_private \
    WHERE company_id = $1 AND position = ANY($2)";
const PRIVATE_RANGE: &str = "SELECT position, salt, data FROM event_private \
    WHERE company_id = $1 AND position > $2 AND position <= $3 ORDER BY position";
/// Halves the ledger until two positions stand side by side, in one round trip. It ends early where an
/// event is missing. `OFFSET 0`: each half is looked up by itself, however little the planner knows of
/// the table.
const POSITION_AT: &str = "WITH RECURSIVE search (before, beyond) AS (\
        SELECT 0::bigint, last_position + 1 FROM company_heads WHERE company_id = $1 \
        UNION ALL \
        SELECT CASE WHEN e.recorded_at < $2 THEN e.position ELSE s.before END, \
            CASE WHEN e.recorded_at < $2 THEN s.beyond ELSE e.position END \
        FROM search s CROSS JOIN LATERAL (SELECT position, recorded_at FROM events \
            WHERE company_id = $1 AND position = s.before + (s.beyond - s.before) / 2 OFFSET 0) AS e \
        WHERE s.beyond - s.before > 1) \
    SELECT before, beyond FROM search ORDER BY beyond - before LIMIT 1";
const REPLAY: &str = "SELECT request_hash, result, at FROM idempotency_keys \
    WHERE company_id = $1 AND caller = $2 AND route = $3 AND key = $4 AND at > $5";

/// A number as the database keeps it; none of ours is beyond its integers.
pub(super) fn int(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn limit(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// An event from the columns of [`EVENT_COLUMNS`].
///
/// # Errors
/// When a column holds what it can't.
pub fn event_from_row(row: &PgRow) -> Result<RecordedEvent, StoreError> {
    Ok(RecordedEvent {
        company: CompanyId(column(row, 0)?),
        position: number(row, 1)?,
        stream: stream_from_columns(row, 2, 3)?,
        sequence: number(row, 4)?,
        event_type: column(row, 5)?,
        event_version: column(row, 6)?,
        payload: text(row, 7)?.to_owned(),
        metadata: text(row, 8)?.to_owned(),
        recorded_at: Timestamp::from_micros(column(row, 9)?),
        commit_id: column(row, 10)?,
        salt: bytes(row, 11)?,
        private_commitment: if is_null(row, 12)? { None } else { Some(bytes(row, 12)?) },
        entry_hash: bytes(row, 13)?,
    })
}

/// What a column holds.
fn column<'r, T>(row: &'r PgRow, place: usize) -> Result<T, StoreError>
where
    T: Decode<'r, Postgres> + Type<Postgres>,
{
    row.try_get(place).map_err(|error| undecodable(row, place, error))
}

/// A count, which is never negative.
pub(super) fn number(row: &PgRow, place: usize) -> Result<u64, StoreError> {
    let number: i64 = column(row, place)?;
    u64::try_from(number).map_err(|_| wrong(row, place, &number.to_string()))
}

/// The exact text of a column, JSON included.
fn text(row: &PgRow, place: usize) -> Result<&str, StoreError> {
    row.try_get_raw(place)
        .map_err(|error| undecodable(row, place, error))?
        .as_str()
        .map_err(|error| wrong(row, place, &error.to_string()))
}

/// 32 bytes.
pub(super) fn bytes(row: &PgRow, place: usize) -> Result<[u8; 32], StoreError> {
    let bytes: &[u8] = column(row, place)?;
    bytes.try_into().map_err(|_| wrong(row, place, &format!("{} bytes", bytes.len())))
}

fn is_null(row: &PgRow, place: usize) -> Result<bool, StoreError> {
    Ok(row.try_get_raw(place).map_err(|error| undecodable(row, place, error))?.is_null())
}

/// A column that can't be decoded.
fn undecodable(row: &PgRow, place: usize, error: Error) -> StoreError {
    match error {
        Error::ColumnDecode { source, .. } => wrong(row, place, &source.to_string()),
        other => reading_failed(other),
    }
}

/// A row that can't be. Where it doesn't say whose it is, whoever asked for it knows.
fn wrong(row: &PgRow, column: usize, problem: &str) -> StoreError {
    let name = row.try_column(column).map_or("", |column| sqlx::Column::name(column));
    let error = StoreError::Unreadable(format!("{name}: {problem}"));
    let position: i64 = row.try_get("position").unwrap_or(0);
    match row.try_get("company_id") {
        Ok(company) => error.at(CompanyId(company), u64::try_from(position).unwrap_or(0)),
        Err(_) => error,
    }
}

/// A stream from the columns that name its kind and its identifier.
pub(super) fn stream_from_columns(
    row: &PgRow,
    kind: usize,
    id: usize,
) -> Result<StreamId, StoreError> {
    Ok(StreamId {
        kind: AggregateType::from_str(text(row, kind)?)
            .map_err(|error| wrong(row, kind, &error.to_string()))?,
        id: stored_id(text(row, id)?).map_err(|error| wrong(row, id, &error.to_string()))?,
    })
}

/// The events of a company after a position.
///
/// # Errors
/// When the database fails.
pub async fn page(
    executor: impl PgExecutor<'_>,
    company: CompanyId,
    after: u64,
    at_most: usize,
) -> Result<Vec<RecordedEvent>, StoreError> {
    let rows = sqlx::query(PAGE)
        .bind(company.0)
        .bind(int(after))
        .bind(limit(at_most))
        .fetch_all(executor)
        .await
        .map_err(reading_failed)?;
    rows.iter().map(event_from_row).collect()
}

pub(super) async fn stream(
    executor: impl PgExecutor<'_>,
    company: CompanyId,
    stream: StreamId,
    after: u64,
    at_most: usize,
) -> Result<Vec<RecordedEvent>, StoreError> {
    let rows = sqlx::query(STREAM)
        .bind(stream.kind.as_str())
        .bind(stream.id.to_string())
        .bind(company.0)
        .bind(int(after))
        .bind(limit(at_most))
        .fetch_all(executor)
        .await
        .map_err(reading_failed)?;
    rows.iter().map(event_from_row).collect()
}

/// A snapshot only ever moves on, and events stay: what follows the snapshot that was read first
/// is there whatever happens in between.
pub(super) async fn load(
    connection: &mut PgConnection,
    company: CompanyId,
    streams: &[StreamId],
) -> Result<Vec<LoadedStream>, StoreError> {
    let mut loaded: Vec<LoadedStream> = vec![LoadedStream::default(); streams.len()];
    let kinds: Vec<&str> = streams.iter().map(|stream| stream.kind.as_str()).collect();
    let ids: Vec<String> = streams.iter().map(|stream| stream.id.to_string()).collect();
    let rows = sqlx::query(SNAPSHOTS_OF)
        .bind(company.0)
        .bind(&kinds)
        .bind(&ids)
        .fetch_all(&mut *connection)
        .await
        .map_err(reading_failed)?;
    for row in &rows {
        let place = place_of(row, 0, streams.len())?;
        let snapshot = || Ok((number(row, 1)?, text(row, 2)?.to_owned()));
        loaded[place].snapshot =
            Some(snapshot().map_err(|error: StoreError| error.at(company, 0))?);
    }
    let after: Vec<i64> = loaded
        .iter()
        .map(|stream| stream.snapshot.as_ref().map_or(0, |(sequence, _)| int(*sequence)))
        .collect();
    let rows = sqlx::query(STREAMS)
        .bind(company.0)
        .bind(&kinds)
        .bind(&ids)
        .bind(&after)
        .fetch_all(connection)
        .await
        .map_err(reading_failed)?;
    for row in &rows {
        let place = place_of(row, 14, streams.len())?;
        loaded[place].events.push(event_from_row(row)?);
    }
    Ok(loaded)
}

/// Which of the things asked for a row belongs to, counted from 0.
pub(super) fn place_of(row: &PgRow, column: usize, asked: usize) -> Result<usize, StoreError> {
    let place = usize::try_from(number(row, column)?).unwrap_or(0);
    if place == 0 || place > asked {
        return Err(wrong(row, column, "not asked for"));
    }
    Ok(place - 1)
}

pub(super) async fn snapshots(
    executor: impl PgExecutor<'_>,
    company: CompanyId,
    after: Option<StreamId>,
    at_most: usize,
) -> Result<Vec<StoredSnapshot>, StoreError> {
    let (kind, id) =
        after.map_or(("", String::new()), |stream| (stream.kind.as_str(), stream.id.to_string()));
    let rows = sqlx::query(SNAPSHOTS)
        .bind(company.0)
        .bind(kind)
        .bind(id)
        .bind(limit(at_most))
        .fetch_all(executor)
        .await
        .map_err(reading_failed)?;
    let snapshot = |row: &PgRow| {
        Ok(StoredSnapshot {
            stream: stream_from_columns(row, 0, 1)?,
            sequence: number(row, 2)?,
            state: text(row, 3)?.to_owned(),
        })
    };
    rows.iter().map(|row| snapshot(row).map_err(|error: StoreError| error.at(company, 0))).collect()
}

/// A head from its four columns.
pub(super) fn head_from_row(row: &PgRow) -> Result<Head, StoreError> {
    Ok(Head {
        company: CompanyId(column(row, 0)?),
        position: number(row, 1)?,
        recorded_at: Timestamp::from_micros(column(row, 2)?),
        company_sequence: number(row, 3)?,
    })
}

/// The heads of all companies.
///
/// # Errors
/// When the database fails.
pub async fn heads(executor: impl PgExecutor<'_>) -> Result<Vec<Head>, StoreError> {
    let rows = sqlx::query(HEADS).fetch_all(executor).await.map_err(reading_failed)?;
    rows.iter().map(head_from_row).collect()
}

/// The head of one company.
///
/// # Errors
/// When the database fails.
pub async fn head(
    executor: impl PgExecutor<'_>,
    company: CompanyId,
) -> Result<Option<Head>, StoreError> {
    let row =
        sqlx::query(HEAD).bind(company.0).fetch_optional(executor).await.map_err(reading_failed)?;
    row.as_ref().map(head_from_row).transpose()
}

/// A company's private part, with its position.
fn private_from_row(row: &PgRow, company: CompanyId) -> Result<(u64, StoredPrivate), StoreError> {
    let position = number(row, 0).map_err(|error| error.at(company, 0))?;
    let part = || Ok(StoredPrivate { salt: bytes(row, 1)?, data: text(row, 2)?.to_owned() });
    part().map(|part| (position, part)).map_err(|error: StoreError| error.at(company, position))
}

pub(super) async fn private_parts(
    executor: impl PgExecutor<'_>,
    company: CompanyId,
    positions: &[u64],
) -> Result<Vec<Option<StoredPrivate>>, StoreError> {
    let asked: Vec<i64> = positions.iter().map(|position| int(*position)).collect();
    let rows = sqlx::query(PRIVATE)
        .bind(company.0)
        .bind(&asked)
        .fetch_all(executor)
        .await
        .map_err(reading_failed)?;
    let mut found = std::collections::HashMap::with_capacity(rows.len());
    for row in &rows {
        let (position, part) = private_from_row(row, company)?;
        found.insert(position, part);
    }
    Ok(positions.iter().map(|position| found.get(position).cloned()).collect())
}

pub(super) async fn private_range(
    executor: impl PgExecutor<'_>,
    company: CompanyId,
    after: u64,
    last: u64,
) -> Result<Vec<(u64, StoredPrivate)>, StoreError> {
    let rows = sqlx::query(PRIVATE_RANGE)
        .bind(company.0)
        .bind(int(after))
        .bind(int(last))
        .fetch_all(executor)
        .await
        .map_err(reading_failed)?;
    rows.iter().map(|row| private_from_row(row, company)).collect()
}

/// Positions are in order of time, so a search by halves finds the place in twenty steps.
pub(super) async fn position_at(
    connection: &mut PgConnection,
    company: CompanyId,
    time: Timestamp,
    inclusive: bool,
) -> Result<u64, StoreError> {
    let end = time.as_micros().saturating_add(i64::from(inclusive));
    let found = sqlx::query(POSITION_AT).bind(company.0).bind(end).fetch_optional(connection).await;
    let Some(row) = found.map_err(reading_failed)? else { return Ok(0) };
    let (before, beyond) = (number(&row, 0)?, number(&row, 1)?);
    if beyond - before > 1 {
        let position = before + (beyond - before) / 2;
        let problem = "the event is missing".to_owned();
        return Err(StoreError::Corrupt { company, position, problem });
    }
    Ok(before)
}

pub(super) async fn replay(
    executor: impl PgExecutor<'_>,
    company: CompanyId,
    key: &Idempotency,
    now: Timestamp,
) -> Result<Option<Replay>, StoreError> {
    let oldest = now.plus_seconds(-IDEMPOTENCY_SECONDS).as_micros();
    let row = sqlx::query(REPLAY)
        .bind(company.0)
        .bind(&key.caller)
        .bind(&key.route)
        .bind(&key.key)
        .bind(oldest)
        .fetch_optional(executor)
        .await
        .map_err(reading_failed)?;
    let Some(row) = row else { return Ok(None) };
    let (stream, sequence) = Replay::parse_result(company, text(&row, 1)?)?;
    Ok(Some(Replay {
        request_hash: bytes(&row, 0)?,
        stream,
        sequence,
        recorded_at: Timestamp::from_micros(column(&row, 2)?),
    }))
}
