//! The statements of an append transaction.
//!
//! On plain PostgreSQL a transaction may hold commits of many companies; every statement names
//! them, so that with one company each goes to that company's shard.

use super::errors::{ending_failed, failed, is_held, is_taken};
use super::offset::ASK_TIME;
use super::read::{bytes, head_from_row, int, number, place_of};
use crate::commit::{Commit, IDEMPOTENCY_SECONDS, Idempotency, Recorded};
use crate::error::StoreError;
use crate::placing::{Known, Last, Placed, PlacedEvent, begins, key_name};
use crate::record::Head;
use crate::store::Replay;
use sqlx::{Executor, PgConnection, Row};
use std::collections::{BTreeSet, HashMap, HashSet};
use std::fmt::Write as _;
use token_ledger_domain::{CompanyId, Timestamp};
use uuid::Uuid;

/// Idempotency keys that are forgotten with each new one, at most: more than come in, so that the
/// old ones get fewer.
const FORGOTTEN_AT_ONCE: u64 = 4;

/// What a transaction begins with that locks a head. It holds the bounds itself, since a pooler between
/// may not keep what a session was told: a peer that dies while it holds a head lets go of it within
/// seconds.
pub const BOUNDS: &str = "SET LOCAL statement_timeout = '10s'; SET LOCAL lock_timeout = '3s'; \
    SET LOCAL idle_in_transaction_session_timeout = '5s'";

/// How long a transaction waits for a lock, as the server's settings have it.
pub(super) const LOCK_TIMEOUT: &str = "lock_timeout";

const NEW_HEADS: &str = "INSERT INTO company_heads \
    (company_id, last_position, last_recorded_at, company_sequence) \
    SELECT company, 0, $2, 0 FROM unnest($1::uuid[]) AS n (company) ON CONFLICT DO NOTHING";
const LASTS: &str = "SELECT s.number, e.sequence, e.entry_hash, e.commit_id, e.position, \
    e.recorded_at FROM unnest($2::uuid[], $3::text[], $4::text[]) WITH ORDINALITY \
    AS s (company, kind, id, number) CROSS JOIN LATERAL (\
        SELECT sequence, entry_hash, commit_id, position, recorded_at FROM events \
        WHERE company_id = ANY($1) AND company_id = s.company AND aggregate_type = s.kind \
        AND aggregate_id = s.id ORDER BY sequence DESC LIMIT 1) AS e";
const RECORDED: &str = "SELECT s.number, e.position, e.recorded_at \
    FROM unnest($2::uuid[], $3::text[], $4::text[], $5::bigint[], $6::uuid[]) WITH ORDINALITY \
    AS s (company, kind, id, sequence, commit_id, number) JOIN events e \
    ON e.company_id = ANY($1) AND e.company_id = s.company AND e.aggregate_type = s.kind \
    AND e.aggregate_id = s.id AND e.sequence = s.sequence AND e.commit_id = s.commit_id";
const KEYS: &str = "SELECT s.number FROM unnest($2::uuid[], $3::text[], $4::text[], $5::text[], \
    $6::bigint[]) WITH ORDINALITY AS s (company, caller, route, key, oldest, number) \
    JOIN idempotency_keys k ON k.company_id = ANY($1) AND k.company_id = s.company \
    AND k.caller = s.caller AND k.route = s.route AND k.key = s.key AND k.at > s.oldest";
const INSERT_EVENTS: &str = "INSERT INTO events (company_id, aggregate_type, aggregate_id, \
    sequence, event_type, event_version, payload, metadata, position, recorded_at, commit_id, \
    salt, private_commitment, entry_hash) \
    SELECT company, kind, id, sequence, event_type, event_version, payload::json, metadata::json, \
    position, recorded_at, commit_id, salt, private_commitment, entry_hash \
    FROM unnest($1::uuid[], $2::text[], $3::text[], $4::bigint[], $5::text[], $6::text[], \
    $7::text[], $8::text[], $9::bigint[], $10::bigint[], $11::uuid[], $12::bytea[], $13::bytea[], \
    $14::bytea[]) AS n (company, kind, id, sequence, event_type, event_version, payload, metadata, \
    position, recorded_at, commit_id, salt, private_commitment, entry_hash)";
const INSERT_PRIVATE: &str = "INSERT INTO event_private (company_id, position, salt, data) \
    SELECT * FROM unnest($1::uuid[], $2::bigint[], $3::bytea[], $4::text[])";
const UPSERT_SNAPSHOTS: &str = "INSERT INTO snapshots AS s \
    (company_id, aggregate_type, aggregate_id, last_sequence, current_snapshot, payload) \
    SELECT company, kind, id, sequence, 1, state::json \
    FROM unnest($1::uuid[], $2::text[], $3::text[], $4::bigint[], $5::text[]) \
    AS n (company, kind, id, sequence, state) \
    ON CONFLICT (company_id, aggregate_type, aggregate_id) DO UPDATE SET \
    last_sequence = excluded.last_sequence, current_snapshot = s.current_snapshot + 1, \
    payload = excluded.payload";
const FORGET_KEYS: &str = "DELETE FROM idempotency_keys WHERE company_id = ANY($1) \
    AND (company_id, caller, route, key) IN (SELECT company_id, caller, route, key \
    FROM idempotency_keys WHERE company_id = ANY($1) AND at < $2 LIMIT $3 \
    FOR UPDATE SKIP LOCKED)";
const UPSERT_KEYS: &str = "INSERT INTO idempotency_keys \
    (company_id, caller, route, key, request_hash, result, at) \
    SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::bytea[], $6::text[], \
    $7::bigint[]) \
    ON CONFLICT (company_id, caller, route, key) DO UPDATE SET \
    request_hash = excluded.request_hash, result = excluded.result, at = excluded.at";

/// How long a transaction waits for a head, as the server reads it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience(pub &'static str);

/// Why a transaction was not carried out.
#[derive(Debug)]
pub(super) enum Setback {
    /// An event's place in its stream is taken.
    Taken,
    /// Somebody else holds on to the head of a company.
    Held(StoreError),
    /// A failure.
    Failed(StoreError),
}

impl From<StoreError> for Setback {
    fn from(error: StoreError) -> Self {
        Self::Failed(error)
    }
}

/// Begins a transaction and locks the heads of these companies, in their order, so that two
/// transactions never wait for each other. The heads are held to the end: insert order is commit
/// order, across processes too. Answers them and the database's time.
///
/// # Errors
/// When a statement fails; the transaction must be rolled back then.
pub(super) async fn begin(
    connection: &mut PgConnection,
    companies: &BTreeSet<CompanyId>,
    patience: Patience,
) -> Result<(HashMap<CompanyId, Head>, Timestamp), Setback> {
    let begin = format!("BEGIN; {BOUNDS}; SET LOCAL {LOCK_TIMEOUT} = '{}'; ", patience.0);
    let (mut heads, now) = lock(connection, &begin, companies).await?;
    if heads.len() == companies.len() {
        return Ok((heads, now));
    }
    let new: BTreeSet<CompanyId> =
        companies.iter().filter(|company| !heads.contains_key(company)).copied().collect();
    let ids: Vec<Uuid> = new.iter().map(|company| company.0).collect();
    sqlx::query(NEW_HEADS)
        .bind(&ids)
        .bind(i64::MIN)
        .execute(&mut *connection)
        .await
        .map_err(failed)?;
    let (others, now) = lock(connection, "", &new).await?;
    heads.extend(others);
    Ok((heads, now))
}

async fn lock(
    connection: &mut PgConnection,
    before: &str,
    companies: &BTreeSet<CompanyId>,
) -> Result<(HashMap<CompanyId, Head>, Timestamp), Setback> {
    let names: Vec<String> = companies.iter().map(|company| format!("'{}'", company.0)).collect();
    // All in one round trip. The time is taken when the locks are.
    let sql = format!(
        "{before}SELECT company_id, last_position, last_recorded_at, company_sequence \
         FROM company_heads WHERE company_id IN ({}) ORDER BY company_id FOR UPDATE; {ASK_TIME}",
        names.join(", ")
    );
    let mut rows = connection.fetch_all(sql.as_str()).await.map_err(|error| {
        let is_held = is_held(&error);
        let error = failed(error);
        if is_held { Setback::Held(error) } else { error.into() }
    })?;
    let now: i64 = match rows.pop() {
        Some(row) => row.try_get(0).map_err(failed)?,
        None => return Err(StoreError::Rejected("the database has no time".to_owned()).into()),
    };
    let mut heads = HashMap::with_capacity(rows.len());
    for row in &rows {
        let head = head_from_row(row)?;
        heads.insert(head.company, head);
    }
    Ok((heads, Timestamp::from_micros(now)))
}

/// Looks up what the commits are checked against. After an attempt whose end is unknown, also
/// whether they are in the ledger already.
///
/// # Errors
/// When a statement fails; the transaction must be rolled back then.
pub(super) async fn look_up<'a>(
    connection: &mut PgConnection,
    commits: &[&'a Commit],
    doubtful: bool,
    known: &mut Known<'a>,
) -> Result<(), StoreError> {
    let companies: Vec<Uuid> = known.heads.keys().map(|company| company.0).collect();
    let streams: HashSet<_> = commits
        .iter()
        .filter(|commit| doubtful || !begins(commit))
        .map(|commit| (commit.company, commit.stream))
        .collect();
    if !streams.is_empty() {
        let streams: Vec<_> = streams.into_iter().collect();
        let (ids, kinds, names) = columns_of(streams.iter().copied());
        let rows = sqlx::query(LASTS)
            .bind(&companies)
            .bind(&ids)
            .bind(&kinds)
            .bind(&names)
            .fetch_all(&mut *connection)
            .await
            .map_err(failed)?;
        for row in &rows {
            let last = Last {
                entry_hash: bytes(row, 2)?,
                commit_id: row.try_get(3).map_err(failed)?,
                recorded: Recorded {
                    sequence: number(row, 1)?,
                    position: number(row, 4)?,
                    recorded_at: Timestamp::from_micros(row.try_get(5).map_err(failed)?),
                },
            };
            known.lasts.insert(streams[place_of(row, 0, streams.len())?], last);
        }
    }
    if doubtful {
        look_up_recorded(connection, &companies, commits, known).await?;
    }
    look_up_keys(connection, &companies, commits, known).await
}

type StreamColumns = (Vec<Uuid>, Vec<&'static str>, Vec<String>);

fn columns_of(
    streams: impl Iterator<Item = (CompanyId, crate::record::StreamId)>,
) -> StreamColumns {
    let mut columns: StreamColumns = (Vec::new(), Vec::new(), Vec::new());
    for (company, stream) in streams {
        columns.0.push(company.0);
        columns.1.push(stream.kind.as_str());
        columns.2.push(stream.id.to_string());
    }
    columns
}

async fn look_up_recorded(
    connection: &mut PgConnection,
    companies: &[Uuid],
    commits: &[&Commit],
    known: &mut Known<'_>,
) -> Result<(), StoreError> {
    let (ids, kinds, names) =
        columns_of(commits.iter().map(|commit| (commit.company, commit.stream)));
    let first: Vec<i64> = commits.iter().map(|commit| int(commit.expected_sequence + 1)).collect();
    let commit_ids: Vec<Uuid> = commits.iter().map(|commit| commit.commit_id).collect();
    let rows = sqlx::query(RECORDED)
        .bind(companies)
        .bind(&ids)
        .bind(&kinds)
        .bind(&names)
        .bind(&first)
        .bind(&commit_ids)
        .fetch_all(connection)
        .await
        .map_err(failed)?;
    for row in &rows {
        let commit = commits[place_of(row, 0, commits.len())?];
        let count = commit.events.len() as u64;
        let recorded = Recorded {
            sequence: commit.expected_sequence + count,
            position: number(row, 1)? + count.saturating_sub(1),
            recorded_at: Timestamp::from_micros(row.try_get(2).map_err(failed)?),
        };
        known.recorded.insert(commit.commit_id, recorded);
    }
    Ok(())
}

async fn look_up_keys<'a>(
    connection: &mut PgConnection,
    companies: &[Uuid],
    commits: &[&'a Commit],
    known: &mut Known<'a>,
) -> Result<(), StoreError> {
    let asked: Vec<(&'a Commit, &'a Idempotency)> = commits
        .iter()
        .filter_map(|commit| commit.idempotency.as_ref().map(|key| (*commit, key)))
        .collect();
    if asked.is_empty() {
        return Ok(());
    }
    let column = |text: fn(&'a Idempotency) -> &'a str| -> Vec<&'a str> {
        asked.iter().map(|(_, key)| text(key)).collect()
    };
    let oldest: Vec<i64> = asked
        .iter()
        .map(|(commit, _)| commit.decided_at.plus_seconds(-IDEMPOTENCY_SECONDS).as_micros())
        .collect();
    let rows = sqlx::query(KEYS)
        .bind(companies)
        .bind(asked.iter().map(|(commit, _)| commit.company.0).collect::<Vec<_>>())
        .bind(column(|key| &key.caller))
        .bind(column(|key| &key.route))
        .bind(column(|key| &key.key))
        .bind(&oldest)
        .fetch_all(connection)
        .await
        .map_err(failed)?;
    for row in &rows {
        let (commit, key) = asked[place_of(row, 0, asked.len())?];
        known.keys.insert(key_name(commit.company, key));
    }
    Ok(())
}

/// Writes everything that was placed but the heads.
///
/// # Errors
/// When a place is taken, or a statement fails; the transaction must be rolled back then.
pub(super) async fn write(
    connection: &mut PgConnection,
    placed: &Placed<'_>,
) -> Result<(), Setback> {
    if !placed.events.is_empty() {
        insert_events(connection, placed).await?;
        insert_private(connection, placed).await?;
    }
    write_snapshots(connection, placed).await?;
    write_keys(connection, placed).await?;
    Ok(())
}

async fn insert_events(connection: &mut PgConnection, placed: &Placed<'_>) -> Result<(), Setback> {
    let events = &placed.events;
    let (companies, kinds, ids) =
        columns_of(events.iter().map(|event| (event.commit.company, event.commit.stream)));
    let inserted = sqlx::query(INSERT_EVENTS)
        .bind(&companies)
        .bind(&kinds)
        .bind(&ids)
        .bind(events.iter().map(|event| int(event.sequence)).collect::<Vec<_>>())
        .bind(events.iter().map(|event| event.event_type).collect::<Vec<_>>())
        .bind(events.iter().map(|event| event.event_version.as_str()).collect::<Vec<_>>())
        .bind(events.iter().map(|event| event.sealed().payload.as_str()).collect::<Vec<_>>())
        .bind(events.iter().map(|event| &*event.sealed().metadata).collect::<Vec<_>>())
        .bind(events.iter().map(|event| int(event.position)).collect::<Vec<_>>())
        .bind(events.iter().map(|event| event.recorded_at.as_micros()).collect::<Vec<_>>())
        .bind(events.iter().map(|event| event.commit.commit_id).collect::<Vec<_>>())
        .bind(events.iter().map(|event| &event.sealed().salt[..]).collect::<Vec<_>>())
        .bind(events.iter().map(PlacedEvent::private_commitment).collect::<Vec<_>>())
        .bind(events.iter().map(|event| &event.entry_hash[..]).collect::<Vec<_>>())
        .execute(connection)
        .await;
    match inserted {
        Ok(_) => Ok(()),
        Err(error) if is_taken(&error) => Err(Setback::Taken),
        Err(error) => Err(failed(error).into()),
    }
}

async fn insert_private(
    connection: &mut PgConnection,
    placed: &Placed<'_>,
) -> Result<(), StoreError> {
    let parts: Vec<_> = placed
        .events
        .iter()
        .filter_map(|event| event.sealed().private.as_ref().map(|part| (event, part)))
        .collect();
    if parts.is_empty() {
        return Ok(());
    }
    sqlx::query(INSERT_PRIVATE)
        .bind(parts.iter().map(|(event, _)| event.commit.company.0).collect::<Vec<_>>())
        .bind(parts.iter().map(|(event, _)| int(event.position)).collect::<Vec<_>>())
        .bind(parts.iter().map(|(_, part)| &part.salt[..]).collect::<Vec<_>>())
        .bind(parts.iter().map(|(_, part)| part.data.as_str()).collect::<Vec<_>>())
        .execute(connection)
        .await
        .map_err(failed)?;
    Ok(())
}

async fn write_snapshots(
    connection: &mut PgConnection,
    placed: &Placed<'_>,
) -> Result<(), StoreError> {
    if placed.snapshots.is_empty() {
        return Ok(());
    }
    let (companies, kinds, ids) = columns_of(placed.snapshots.keys().copied());
    let kept = || placed.snapshots.values();
    sqlx::query(UPSERT_SNAPSHOTS)
        .bind(&companies)
        .bind(&kinds)
        .bind(&ids)
        .bind(kept().map(|(sequence, _)| int(*sequence)).collect::<Vec<_>>())
        .bind(kept().map(|(_, state)| *state).collect::<Vec<_>>())
        .execute(connection)
        .await
        .map_err(failed)?;
    Ok(())
}

async fn write_keys(connection: &mut PgConnection, placed: &Placed<'_>) -> Result<(), StoreError> {
    let keys = &placed.keys;
    let Some((.., newest)) = keys.last() else { return Ok(()) };
    let companies: Vec<Uuid> = keys.iter().map(|(commit, ..)| commit.company.0).collect();
    let limit = FORGOTTEN_AT_ONCE.saturating_mul(keys.len() as u64);
    forget_keys(&mut *connection, &companies, *newest, limit).await?;
    let results: Vec<String> = keys
        .iter()
        .map(|(commit, _, sequence, _)| Replay::result_text(commit.stream, *sequence))
        .collect();
    sqlx::query(UPSERT_KEYS)
        .bind(&companies)
        .bind(keys.iter().map(|(_, key, ..)| key.caller.as_str()).collect::<Vec<_>>())
        .bind(keys.iter().map(|(_, key, ..)| key.route.as_str()).collect::<Vec<_>>())
        .bind(keys.iter().map(|(_, key, ..)| key.key.as_str()).collect::<Vec<_>>())
        .bind(keys.iter().map(|(_, key, ..)| &key.request_hash[..]).collect::<Vec<_>>())
        .bind(&results)
        .bind(keys.iter().map(|(.., at)| at.as_micros()).collect::<Vec<_>>())
        .execute(connection)
        .await
        .map_err(failed)?;
    Ok(())
}

/// Moves the heads and makes the transaction durable, all in one round trip.
///
/// # Errors
/// When something of it fails: [`StoreError::InDoubt`] where nobody knows whether it was carried
/// out.
pub(super) async fn commit(
    connection: &mut PgConnection,
    known: &Known<'_>,
    placed: &Placed<'_>,
) -> Result<(), StoreError> {
    let mut sql = String::with_capacity(256 * (placed.moved.len() + 1));
    for company in &placed.moved {
        let Some(head) = known.heads.get(company) else { continue };
        // Writing to a String can't fail.
        let _ = write!(
            sql,
            "UPDATE company_heads SET last_position = {}, last_recorded_at = {}, \
             company_sequence = {} WHERE company_id = '{}'; ",
            head.position,
            head.recorded_at.as_micros(),
            head.company_sequence,
            head.company.0,
        );
    }
    sql.push_str("COMMIT");
    connection.execute(sql.as_str()).await.map_err(ending_failed)?;
    Ok(())
}

/// Ends the transaction without a trace.
///
/// # Errors
/// When the connection is lost.
pub(super) async fn roll_back(connection: &mut PgConnection) -> Result<(), StoreError> {
    connection.execute("ROLLBACK").await.map_err(failed)?;
    Ok(())
}

/// Removes idempotency keys of these companies that are no longer remembered, at most so many, and
/// answers how many. Those that somebody else is about to remove are left to it.
///
/// # Errors
/// When the statement fails.
pub(super) async fn forget_keys(
    connection: &mut PgConnection,
    companies: &[Uuid],
    now: Timestamp,
    limit: u64,
) -> Result<u64, StoreError> {
    let forgotten = sqlx::query(FORGET_KEYS)
        .bind(companies)
        .bind(now.plus_seconds(-IDEMPOTENCY_SECONDS).as_micros())
        .bind(int(limit))
        .execute(connection)
        .await
        .map_err(failed)?;
    Ok(forgotten.rows_affected())
}
