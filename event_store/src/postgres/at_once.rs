//! An append in a single statement, for what programs ask for most: new tokens of one company.
//!
//! The head stands where this process left it, unless another one has appended meanwhile. So the
//! events are placed behind it, and the statement, which is a transaction of its own, moves the
//! head only where it does stand there. Elsewhere it inserts nothing, and the events are placed
//! anew under the head's lock.

use super::append::Setback;
use super::database::RecordedTime;
use super::errors::{ending_failed, is_taken};
use super::listener::{self, CHANNEL, Kinds};
use super::placing::{Known, MAX_DECISION_AGE_SECONDS, Placed, PlacedEvent, begins};
use super::read::int;
use crate::commit::{AppendError, Commit, Recorded};
use crate::error::StoreError;
use crate::record::{Appended, Head};
use parking_lot::Mutex;
use sqlx::error::BoxDynError;
use sqlx::postgres::PgArguments;
use sqlx::{Arguments, PgConnection};
use std::collections::HashMap;
use std::fmt::Write as _;
use std::time::Duration;
use token_ledger_domain::CompanyId;
use token_ledger_domain::event::AggregateType;
use tokio::time::Instant;

/// How long a head is asked for once another process was found to move it.
const SHARED_FOR: Duration = Duration::from_millis(200);
/// Heads that are remembered, at most.
const MAX_HEADS: usize = 10_000;

/// Moves the head, inserts the events with their private parts and tells the other processes. The
/// rows of inline projections come between.
const MOVE_AND_INSERT: &str = "WITH head AS (UPDATE company_heads \
    SET last_position = $5, last_recorded_at = $6 WHERE company_id = $1 AND last_position = $2 \
    AND last_recorded_at = $3 AND company_sequence = $4 \
    AND (extract(epoch FROM clock_timestamp()) * 1000000)::bigint BETWEEN $7 AND $8 \
    RETURNING company_id), \
    placed AS (INSERT INTO events (company_id, aggregate_type, aggregate_id, sequence, event_type, \
    event_version, payload, metadata, position, recorded_at, commit_id, salt, private_commitment, \
    entry_hash) SELECT $1, $9, id, sequence, event_type, event_version, payload::json, \
    metadata::json, position, recorded_at, commit_id, salt, private_commitment, entry_hash \
    FROM head, unnest($10::text[], $11::bigint[], $12::text[], $13::text[], $14::text[], \
    $15::text[], $16::bigint[], $17::bigint[], $18::uuid[], $19::bytea[], $20::bytea[], \
    $21::bytea[]) AS n (id, sequence, event_type, event_version, payload, metadata, position, \
    recorded_at, commit_id, salt, private_commitment, entry_hash)), \
    hidden AS (INSERT INTO event_private (company_id, position, salt, data) \
    SELECT $1, n.* FROM head, unnest($22::bigint[], $23::bytea[], $24::text[]) AS n)";
const TELL: &str = " SELECT pg_notify($25, $26) FROM head";
/// The parameters of these.
const PARAMETERS: usize = 26;

/// How the new rows of a table are inserted: from one array for each column.
#[derive(Debug)]
pub struct Insertion {
    into: String,
    types: Vec<&'static str>,
}

impl Insertion {
    /// Into the table's columns, of arrays of these types.
    pub fn new(table: &str, columns: &[&str], types: Vec<&'static str>) -> Self {
        Self { into: format!("{table} ({})", columns.join(", ")), types }
    }

    /// The statement whose parameters are the arrays.
    pub fn statement(&self) -> String {
        format!("INSERT INTO {} SELECT * FROM {}", self.into, self.arrays(1))
    }

    fn if_moved(&self, first: usize) -> String {
        format!("INSERT INTO {} SELECT n.* FROM head, {} AS n", self.into, self.arrays(first))
    }

    fn arrays(&self, first: usize) -> String {
        let place = |(index, kind)| format!("${}::{kind}", first + index);
        let places: Vec<String> = self.types.iter().enumerate().map(place).collect();
        format!("unnest({})", places.join(", "))
    }
}

/// The heads where this process left them.
#[derive(Debug, Default)]
pub(super) struct LeftHeads(Mutex<HashMap<CompanyId, Left>>);

#[derive(Clone, Copy, Debug)]
enum Left {
    At(Head),
    /// Another process has moved it, as far as was known at that moment.
    Shared(Instant),
}

impl LeftHeads {
    /// A head, if nobody else is known to have moved it since.
    fn get(&self, company: CompanyId) -> Option<Head> {
        match self.0.lock().get(&company) {
            Some(Left::At(head)) => Some(*head),
            Some(Left::Shared(_)) | None => None,
        }
    }

    /// This process has moved a head.
    pub fn leave(&self, head: Head) {
        let is_shared =
            |left: &Left| matches!(left, Left::Shared(since) if since.elapsed() < SHARED_FOR);
        let mut heads = self.0.lock();
        if !heads.get(&head.company).is_some_and(is_shared) {
            insert(&mut heads, head.company, Left::At(head));
        }
    }

    /// The heads of these commits' companies were not where they were left, or nobody knows.
    pub fn lose(&self, commits: &[&Commit]) {
        let mut heads = self.0.lock();
        for commit in commits {
            insert(&mut heads, commit.company, Left::Shared(Instant::now()));
        }
    }
}

fn insert(heads: &mut HashMap<CompanyId, Left>, company: CompanyId, left: Left) {
    if heads.len() >= MAX_HEADS && !heads.contains_key(&company) {
        heads.clear();
    }
    heads.insert(company, left);
}

/// Commits that were given their places behind a head that may be elsewhere by now.
pub(super) struct AtOnce<'a> {
    before: Head,
    after: Head,
    /// The database's time must not be before the last decision, nor long after the first one.
    between: (i64, i64),
    placed: Placed<'a>,
    answers: Vec<Result<Recorded, AppendError>>,
}

impl<'a> AtOnce<'a> {
    /// Places commits that are all new tokens of one company, if its head is known; `None` where
    /// something has to be looked up, or a condition doesn't hold there.
    pub fn place(
        heads: &LeftHeads,
        commits: &[&'a Commit],
        recorded_time: RecordedTime,
    ) -> Option<Self> {
        let company = commits.first()?.company;
        let is_new_token = |commit: &&Commit| {
            commit.company == company
                && commit.stream.kind == AggregateType::Token
                && commit.snapshot.is_none()
                && begins(commit)
        };
        if !commits.iter().all(is_new_token) {
            return None;
        }
        let before = heads.get(company)?;
        let mut known = Known { heads: HashMap::from([(company, before)]), ..Known::default() };
        let mut placed = Placed::default();
        let answers: Vec<_> =
            commits.iter().map(|commit| known.place(commit, &mut placed)).collect();
        if answers.iter().any(Result::is_err) {
            return None;
        }
        let decided = || commits.iter().map(|commit| commit.decided_at);
        let between = match recorded_time {
            RecordedTime::Decision => (i64::MIN, i64::MAX),
            RecordedTime::Database => (
                decided().max()?.as_micros(),
                decided().min()?.plus_seconds(MAX_DECISION_AGE_SECONDS).as_micros(),
            ),
        };
        let after = known.heads.remove(&company)?;
        Some(Self { before, after, between, placed, answers })
    }

    /// The events where they were placed.
    pub fn appended(&self) -> &[Appended] {
        &self.placed.appended
    }

    /// What to tell the callers, and where the head stands now.
    pub fn done(self) -> (Head, Vec<Result<Recorded, AppendError>>) {
        (self.after, self.answers)
    }

    /// The statement's own parameters; those of the inline projections follow them.
    ///
    /// # Errors
    /// When one can't be sent.
    pub fn arguments(&self) -> Result<PgArguments, StoreError> {
        let mut arguments = PgArguments::default();
        self.add_to(&mut arguments)
            .map(|()| arguments)
            .map_err(|error| StoreError::Rejected(error.to_string()))
    }

    fn add_to(&self, to: &mut PgArguments) -> Result<(), BoxDynError> {
        let (before, after, events) = (&self.before, &self.after, &self.placed.events);
        to.add(before.company.0)?;
        to.add(int(before.position))?;
        to.add(before.recorded_at.as_micros())?;
        to.add(int(before.company_sequence))?;
        to.add(int(after.position))?;
        to.add(after.recorded_at.as_micros())?;
        to.add(self.between.0)?;
        to.add(self.between.1)?;
        let kind = AggregateType::Token;
        to.add(kind.as_str())?;
        to.add(events.iter().map(|event| event.commit.stream.id.to_string()).collect::<Vec<_>>())?;
        to.add(events.iter().map(|event| int(event.sequence)).collect::<Vec<_>>())?;
        to.add(events.iter().map(|event| event.event_type).collect::<Vec<_>>())?;
        to.add(events.iter().map(|event| event.event_version.as_str()).collect::<Vec<_>>())?;
        to.add(events.iter().map(|event| event.sealed().payload.as_str()).collect::<Vec<_>>())?;
        to.add(events.iter().map(|event| event.commit.metadata.as_str()).collect::<Vec<_>>())?;
        to.add(events.iter().map(|event| int(event.position)).collect::<Vec<_>>())?;
        to.add(events.iter().map(|event| event.recorded_at.as_micros()).collect::<Vec<_>>())?;
        to.add(events.iter().map(|event| event.commit.commit_id).collect::<Vec<_>>())?;
        to.add(events.iter().map(|event| &event.sealed().salt[..]).collect::<Vec<_>>())?;
        to.add(events.iter().map(PlacedEvent::private_commitment).collect::<Vec<_>>())?;
        to.add(events.iter().map(|event| &event.entry_hash[..]).collect::<Vec<_>>())?;
        let parts =
            || events.iter().filter_map(|event| Some((event, event.sealed().private.as_ref()?)));
        to.add(parts().map(|(event, _)| int(event.position)).collect::<Vec<_>>())?;
        to.add(parts().map(|(_, part)| &part.salt[..]).collect::<Vec<_>>())?;
        to.add(parts().map(|(_, part)| part.data.as_str()).collect::<Vec<_>>())?;
        to.add(CHANNEL)?;
        let mut kinds = Kinds::default();
        kinds.add(kind);
        to.add(listener::advanced(before.company, after.position, kinds))
    }
}

/// Carries out what was placed; `false` when the head is elsewhere, and nothing was changed.
///
/// # Errors
/// When a place is taken or the statement fails: [`StoreError::InDoubt`] where nobody knows whether
/// it was carried out.
pub(super) async fn append(
    connection: &mut PgConnection,
    arguments: PgArguments,
    insertions: &[&Insertion],
) -> Result<bool, Setback> {
    let mut sql = MOVE_AND_INSERT.to_owned();
    let mut first = PARAMETERS + 1;
    for (number, insertion) in insertions.iter().enumerate() {
        // Writing to a String can't fail.
        let _ = write!(sql, ", rows{number} AS ({})", insertion.if_moved(first));
        first += insertion.types.len();
    }
    sql.push_str(TELL);
    match sqlx::query_with(&sql, arguments).fetch_optional(connection).await {
        Ok(told) => Ok(told.is_some()),
        Err(error) if is_taken(&error) => Err(Setback::Taken),
        Err(error) => Err(ending_failed(error).into()),
    }
}
