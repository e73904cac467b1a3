//! An append in a single statement, for what programs ask for most: new tokens of one company.
//!
//! The head stands where this process left it, unless another one has appended meanwhile. So the
//! events are placed behind it, and the statement, which is a transaction of its own, moves the
//! head only where it does stand there. Elsewhere it inserts nothing, and the events are placed
//! anew under the head's lock.

use super::append::Setback;
use super::database::RecordedTime;
use super::errors::{ending_failed, failed, is_held, is_misshapen, is_taken};
use super::read::int;
use super::rows::{Row, Rows};
use crate::commit::{AppendError, Commit, Recorded};
use crate::error::StoreError;
use crate::placing::{Known, MAX_DECISION_AGE_SECONDS, Placed, PlacedEvent, begins};
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
use uuid::Uuid;

/// How long a head is asked for once another process was found to move it.
const SHARED_FOR: Duration = Duration::from_millis(200);
/// Heads that are remembered, at most.
const MAX_HEADS: usize = 10_000;

/// Moves the head; the statements that insert rows where it was moved come behind.
const MOVE: &str = "WITH head AS (UPDATE company_heads \
    SET last_position = $5, last_recorded_at = $6 WHERE company_id = $1 AND last_position = $2 \
    AND last_recorded_at = $3 AND company_sequence = $4 \
    AND (extract(epoch FROM clock_timestamp()) * 1000000)::bigint BETWEEN $7 AND $8 \
    RETURNING company_id)";
/// Whether it was moved.
const IS_MOVED: &str = " SELECT 1 FROM head";
/// The parameters of the first. The tables' rows follow.
const PARAMETERS: usize = 8;

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

    /// The events where they were placed, and the head behind which that is.
    pub fn appended(&self) -> (&[Appended], &Head) {
        (&self.placed.appended, &self.before)
    }

    /// What to tell the callers, and where the head stands now.
    pub fn done(self) -> (Head, Vec<Result<Recorded, AppendError>>) {
        (self.after, self.answers)
    }

    fn add_to(&self, to: &mut PgArguments) -> Result<(), BoxDynError> {
        let (before, after) = (&self.before, &self.after);
        to.add(before.company.0)?;
        to.add(int(before.position))?;
        to.add(before.recorded_at.as_micros())?;
        to.add(int(before.company_sequence))?;
        to.add(int(after.position))?;
        to.add(after.recorded_at.as_micros())?;
        to.add(self.between.0)?;
        to.add(self.between.1)
    }

    /// The rows of the events and of their private parts.
    fn rows(&self) -> [Rows; 2] {
        let events = &self.placed.events;
        let parts = events
            .iter()
            .filter_map(|event| Some((event, event.sealed().private.as_ref()?)))
            .map(|(event, part)| {
                let mut row = Row::of("event_private");
                row.uuid(Some(event.commit.company.0)).int(Some(int(event.position)));
                row.bytes(Some(&part.salt)).text(Some(&part.data));
                row
            });
        [
            Rows::new("events", events.iter().map(PlacedEvent::row).collect()),
            Rows::new("event_private", parts.collect()),
        ]
    }
}

impl PlacedEvent<'_> {
    fn row(&self) -> Row {
        let Commit { company, stream, commit_id, .. } = self.commit;
        let id = &mut Uuid::encode_buffer();
        let mut row = Row::of("events");
        row.uuid(Some(company.0))
            .text(Some(stream.kind.as_str()))
            .text(Some(stream.id.hyphenated().encode_lower(id)))
            .int(Some(int(self.sequence)))
            .text(Some(self.event_type))
            .text(Some(&self.event_version))
            .json(&self.sealed().payload)
            .json(&self.sealed().metadata)
            .int(Some(int(self.position)))
            .int(Some(self.recorded_at.as_micros()))
            .uuid(Some(*commit_id))
            .bytes(Some(&self.sealed().salt))
            .bytes(self.private_commitment())
            .bytes(Some(&self.entry_hash));
        row
    }
}

/// Carries out what was placed, with the rows that it leads to; `false` when the head is elsewhere, or
/// a table has other columns by now than the rows, and nothing was changed.
///
/// # Errors
/// When a place is taken or the statement fails: [`StoreError::InDoubt`] where nobody knows whether
/// it was carried out.
pub(super) async fn append(
    connection: &mut PgConnection,
    plan: &AtOnce<'_>,
    inline: Vec<Rows>,
) -> Result<bool, Setback> {
    let unsendable = |error: BoxDynError| StoreError::Rejected(error.to_string());
    let mut arguments = PgArguments::default();
    plan.add_to(&mut arguments).map_err(unsendable)?;
    let mut sql = MOVE.to_owned();
    for (number, rows) in plan.rows().into_iter().chain(inline).enumerate() {
        let insertion = rows.insertion(PARAMETERS + 1 + number);
        // Writing to a String can't fail.
        let _ = write!(sql, ", rows{number} AS ({insertion})");
        arguments.add(rows).map_err(unsendable)?;
    }
    sql.push_str(IS_MOVED);
    match sqlx::query_with(&sql, arguments).fetch_optional(connection).await {
        Ok(moved) => Ok(moved.is_some()),
        Err(error) if is_misshapen(&error) => Ok(false),
        Err(error) if is_taken(&error) => Err(Setback::Taken),
        Err(error) if is_held(&error) => Err(Setback::Held(failed(error))),
        Err(error) => Err(ending_failed(error).into()),
    }
}
