//! Keeping the verification index close to what all processes commit.
//!
//! The store's listener tells which ledgers have moved on, or may have. The follower asks the database
//! how far they have come and of what, reads the rows that changed behind each company's cursor and
//! moves the cursor; what this process commits itself it takes over itself, before or after it was read
//! here.
//! When something may have been missed, all heads are compared with the cursors.

use super::PgReadModels;
use super::fill::fill;
use super::news::News;
use super::rows::{PgTable, by_key};
use crate::index::{PutBack, VerificationIndex};
use crate::projection::Projection;
use crate::sql::live::{self, LIVE_COLUMNS};
use crate::sql::{Columns, Table};
use crate::{Clients, Companies, Keys, Tokens};
use sqlx::postgres::PgRow;
use sqlx::{Connection, Executor, PgConnection, Row};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};
use token_ledger_domain::CompanyId;
use token_ledger_event_store::postgres::{
    BOUNDS, Change, Database, PutRight, confirm_primary, failed, is_held,
};
use token_ledger_event_store::{Moment, Point, StoreError};
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use uuid::Uuid;

/// How long the head is waited for, while nothing else is followed.
const HOLD_TIMEOUT: &str = "SET LOCAL lock_timeout = '50ms'";
/// No commit of the company comes in between; other processes may hold it so too.
const HOLD_HEAD: &str = "SELECT 1 FROM company_heads WHERE company_id = $1 FOR SHARE";
const HEADS: &str = "SELECT company_id, last_position, last_recorded_at FROM company_heads";
/// A ledger in which an event that was seen doesn't stand any more.
const MISSING: &str = "SELECT seen.company, seen.position, seen.recorded_at \
    FROM unnest($2::uuid[], $3::bigint[], $4::bigint[]) AS seen (company, position, recorded_at) \
    LEFT JOIN events e ON e.company_id = ANY($1) AND e.company_id = seen.company \
    AND e.position = seen.position AND e.recorded_at = seen.recorded_at \
    WHERE e.position IS NULL LIMIT 1";
/// Tables whose rows are taken over.
const TABLES: [&str; 4] = [Companies::TABLE, Keys::TABLE, Clients::TABLE, Tokens::TABLE];
/// How far these companies' ledgers have come, and in which of the tables rows have changed behind the
/// cursors. In order, so that it is looked for by position, however little the planner knows of them.
static CHANGED: LazyLock<String> = LazyLock::new(|| {
    let changed = TABLES.map(|table| {
        format!(
            ", (SELECT position FROM {table} WHERE company_id = ANY($1) \
             AND company_id = cursors.company AND position > cursors.position \
             ORDER BY position LIMIT 1) IS NOT NULL"
        )
    });
    format!(
        "SELECT cursors.company, head.last_position, head.last_recorded_at{} \
         FROM unnest($1::uuid[], $2::bigint[]) AS cursors (company, position) \
         JOIN company_heads head ON head.company_id = ANY($1) AND head.company_id = cursors.company \
         AND head.last_position > 0",
        changed.concat()
    )
});
/// Companies whose rows one query reads.
const COMPANIES_AT_ONCE: usize = 500;
/// Rows put right that are taken over together, of one projection and company.
const PUT_RIGHT_AT_ONCE: usize = 5_000;
/// Rows that one query reads, of all companies together.
const PAGE: usize = 20_000;
/// How long one query, or connecting, may take before the connection is given up.
const QUERY_TIMEOUT: Duration = Duration::from_secs(2);
/// How often the log says that following fails as it did before.
const SAY_EVERY: Duration = Duration::from_secs(10);
/// How soon one round begins after another, unless something was missed: so many times as long as it took,
/// within these bounds. What busy processes tell meanwhile is read by one query, which costs both sides
/// less than many.
const PACE_SHARE: u32 = 10;
const PACE: Duration = Duration::from_millis(10);
const LONGEST_PACE: Duration = Duration::from_millis(30);
/// The pause before a round that failed is tried again.
const PAUSE: Duration = Duration::from_millis(100);

impl PgReadModels {
    /// Fills the verification index and keeps it up to date until `stop` turns true. Knowledge that
    /// is older than the bound no longer counts ([`crate::Freshness`]).
    ///
    /// # Errors
    /// When the database fails before the index is filled.
    pub async fn follow(
        &self,
        bound: Duration,
        stop: watch::Receiver<bool>,
    ) -> Result<JoinHandle<()>, StoreError> {
        let index = Arc::clone(self.index());
        index.follow(bound);
        // From here on nothing is missed; what was before is read.
        let changes = self.database().changes();
        let mut follower = Follower {
            database: Arc::clone(self.database()),
            index,
            connection: None,
            news: News::default(),
            put_right: Vec::new(),
        };
        follower.start().await?;
        Ok(tokio::spawn(follower.run(changes, stop)))
    }
}

struct Follower {
    database: Arc<Database>,
    index: Arc<VerificationIndex>,
    connection: Option<PgConnection>,
    news: News,
    /// Rows that were put right and have not been taken over yet.
    put_right: Vec<Arc<PutRight>>,
}

impl Follower {
    async fn start(&mut self) -> Result<(), StoreError> {
        let round = self.index.begin_round();
        let began = Moment::now();
        let mut connection = self.connection().await?;
        in_time(confirm_primary(&mut connection)).await?;
        let heads = in_time(read_heads(&mut connection)).await?;
        fill(&mut connection, &self.index).await?;
        self.connection = Some(connection);
        for (company, head) in heads {
            self.index.move_cursor(company, head);
        }
        self.index.end_round(round);
        self.index.freshness().known_until(began);
        Ok(())
    }

    async fn run(mut self, mut changes: Receiver<Change>, mut stop: watch::Receiver<bool>) {
        let index = Arc::clone(&self.index);
        let mut failed = false;
        let mut next = tokio::time::Instant::now();
        let mut said: Option<(String, Instant)> = None;
        loop {
            tokio::select! {
                change = changes.recv(), if !failed => match change {
                    Ok(change) => self.news.take(change, &index),
                    Err(RecvError::Lagged(count)) => self.news.lag(count),
                    Err(RecvError::Closed) => return,
                },
                () = index.freshness().wanted(), if !failed => self.news.missed = true,
                () = index.freshness().hurried() => {
                    self.database.hurry();
                    continue;
                }
                () = tokio::time::sleep(PAUSE), if failed => {}
                _ = stop.changed() => return,
            }
            if !self.news.missed {
                tokio::time::sleep_until(next).await;
            }
            loop {
                match changes.try_recv() {
                    Ok(change) => self.news.take(change, &index),
                    Err(TryRecvError::Lagged(count)) => self.news.lag(count),
                    Err(TryRecvError::Empty | TryRecvError::Closed) => break,
                }
            }
            let started = tokio::time::Instant::now();
            let round = self.round().await;
            next = started + (PACE_SHARE * started.elapsed()).clamp(PACE, LONGEST_PACE);
            failed = match round {
                Ok(()) => false,
                Err(error) => {
                    let text = error.to_string();
                    let is_said = |(before, at): &(String, Instant)| {
                        *before == text && at.elapsed() < SAY_EVERY
                    };
                    if !said.as_ref().is_some_and(is_said) {
                        tracing::error!(%error, "the verification index can't follow the ledgers");
                        said = Some((text, Instant::now()));
                    }
                    // What was told is not forgotten: the heads tell it again.
                    self.news.missed = true;
                    true
                }
            };
        }
    }

    /// Follows what was told.
    async fn round(&mut self) -> Result<(), StoreError> {
        if let Some(ledger) = self.index.voided_by() {
            return Err(ledger.error());
        }
        let Some(mut news) = self.news.due() else { return Ok(()) };
        self.put_right.append(&mut news.put_right);
        let round = self.index.begin_round();
        let at_once = if self.database.is_sharded() { 1 } else { COMPANIES_AT_ONCE };
        let (advanced, known_until) = if news.missed {
            let began = Moment::now();
            let seen = self.index.cursors();
            // It may lead to a server that others have left.
            self.connection = None;
            let mut connection = self.connection().await?;
            in_time(confirm_primary(&mut connection)).await?;
            let heads = in_time(read_heads(&mut connection)).await?;
            if let Some(ledger) = find_put_back(&mut connection, &seen, &heads, at_once).await? {
                self.index.void_by(ledger);
                return Err(ledger.error());
            }
            self.connection = Some(connection);
            let behind = heads
                .into_iter()
                .filter(|(company, head)| self.index.cursor(*company) < head.position)
                .map(|(company, head)| (company, head.position));
            (behind.collect(), Some(began))
        } else {
            (news.advanced, news.current)
        };
        let companies: Vec<(CompanyId, u64)> = advanced.into_iter().collect();
        for companies in companies.chunks(at_once) {
            let mut connection = self.connection().await?;
            let reached = read_behind(&mut connection, &self.index, companies).await?;
            self.connection = Some(connection);
            for (company, last) in &reached {
                self.index.move_cursor(*company, *last);
            }
            self.database.advanced(&reached);
        }
        self.index.end_round(round);
        if let Some(moment) = known_until {
            self.index.freshness().known_until(moment);
        }
        self.take_over_put_right().await
    }

    /// Takes over rows that were put right, but for those of companies whose heads are held: they have
    /// their turn with a later round.
    async fn take_over_put_right(&mut self) -> Result<(), StoreError> {
        self.put_right = together(std::mem::take(&mut self.put_right));
        let mut held = BTreeSet::new();
        let mut number = 0;
        while let Some(rows) = self.put_right.get(number).map(Arc::clone) {
            let mut connection = self.connection().await?;
            let is_done = !held.contains(&rows.company)
                && in_time(take_over_put_right(&mut connection, &self.index, &rows)).await?;
            self.connection = Some(connection);
            if is_done {
                self.put_right.swap_remove(number);
            } else {
                held.insert(rows.company);
                number += 1;
            }
        }
        Ok(())
    }

    /// A connection of its own, which is dropped whenever something went wrong with it: whoever
    /// takes it gives it back when it is still good.
    async fn connection(&mut self) -> Result<PgConnection, StoreError> {
        if let Some(connection) = self.connection.take() {
            return Ok(connection);
        }
        in_time(self.database.connect_apart()).await
    }
}

async fn read_heads(
    connection: &mut PgConnection,
) -> Result<HashMap<CompanyId, Point>, StoreError> {
    let rows = sqlx::query(HEADS).fetch_all(connection).await.map_err(failed)?;
    rows.iter().map(|row| Ok((row.company(0)?, point(row)?))).collect()
}

/// What the two columns behind the company say.
fn point(row: &PgRow) -> Result<Point, StoreError> {
    Ok(Point { position: row.number(1)?, recorded_at: row.time(2)? })
}

/// The first ledger in which what was seen before its head was read doesn't stand.
async fn find_put_back(
    connection: &mut PgConnection,
    seen: &HashMap<CompanyId, Point>,
    heads: &HashMap<CompanyId, Point>,
    at_once: usize,
) -> Result<Option<PutBack>, StoreError> {
    let mut gone_on = Vec::new();
    for (&company, &seen) in seen.iter().filter(|(_, seen)| seen.position > 0) {
        match heads.get(&company) {
            Some(head) if head == &seen => {}
            Some(head) if head.position > seen.position => gone_on.push((company, seen)),
            head => {
                let end = head.map_or(0, |head| head.position);
                let end = (end < seen.position).then_some(end);
                return Ok(Some(PutBack { company, seen, end }));
            }
        }
    }
    for companies in gone_on.chunks(at_once) {
        let ids = || companies.iter().map(|(company, _)| company.0).collect::<Vec<_>>();
        let column = |value: fn(Point) -> i64| {
            companies.iter().map(|(_, seen)| value(*seen)).collect::<Vec<_>>()
        };
        let missing = sqlx::query(MISSING)
            .bind(ids())
            .bind(ids())
            .bind(column(|seen| i64::try_from(seen.position).unwrap_or(i64::MAX)))
            .bind(column(|seen| seen.recorded_at.as_micros()))
            .fetch_optional(&mut *connection);
        if let Some(row) = in_time(async { missing.await.map_err(failed) }).await? {
            return Ok(Some(PutBack { company: row.company(0)?, seen: point(&row)?, end: None }));
        }
    }
    Ok(None)
}

/// What is answered in time, or an error.
async fn in_time<T>(answer: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
    tokio::time::timeout(QUERY_TIMEOUT, answer)
        .await
        .unwrap_or_else(|_| Err(StoreError::Unavailable("it doesn't answer in time".to_owned())))
}

/// Cursors of companies.
type Cursors = BTreeMap<CompanyId, u64>;

/// Takes over every row of these companies that changed behind its cursor. Answers how far their ledgers
/// had come before that, which is as far as they have to.
///
/// # Errors
/// When the database fails, or whoever answers doesn't know what others know: another server, and behind.
async fn read_behind(
    connection: &mut PgConnection,
    index: &VerificationIndex,
    companies: &[(CompanyId, u64)],
) -> Result<Vec<(CompanyId, Point)>, StoreError> {
    let cursors: Cursors =
        companies.iter().map(|(company, _)| (*company, index.cursor(*company))).collect();
    let (ids, positions) = columns(&cursors);
    let changed = sqlx::query(&CHANGED).bind(ids).bind(positions).fetch_all(&mut *connection);
    let changed = in_time(async { changed.await.map_err(failed) }).await?;
    let mut reached = BTreeMap::new();
    let mut tables: [Cursors; TABLES.len()] = Default::default();
    for row in changed {
        let company = row.company(0)?;
        reached.insert(company, point(&row)?);
        for (number, table) in tables.iter_mut().enumerate() {
            if row.try_get(3 + number).map_err(failed)? {
                table.insert(company, cursors.get(&company).copied().unwrap_or_default());
            }
        }
    }
    for (company, known) in companies {
        if reached.get(company).map_or(0, |head| head.position) < *known {
            let behind = format!("a server answers that has not come to {known} of {company}");
            return Err(StoreError::Unavailable(behind));
        }
    }
    let [companies, keys, clients, tokens] = tables;
    take_over_rows::<Companies>(connection, index, companies).await?;
    take_over_rows::<Keys>(connection, index, keys).await?;
    take_over_rows::<Clients>(connection, index, clients).await?;
    let columns: Vec<&str> = LIVE_COLUMNS.split(", ").collect();
    let take = |row: &PgRow| live::take_over_token(index, row);
    take_over::<Tokens>(connection, &columns, tokens, take).await?;
    Ok(reached.into_iter().collect())
}

/// Companies and cursors, as parameters.
fn columns(cursors: &Cursors) -> (Vec<Uuid>, Vec<i64>) {
    let position = |cursor: u64| i64::try_from(cursor).unwrap_or(i64::MAX);
    cursors.iter().map(|(company, cursor)| (company.0, position(*cursor))).unzip()
}

/// Takes over the rows of a table that changed behind the cursors.
async fn take_over_rows<P: PgTable>(
    connection: &mut PgConnection,
    index: &VerificationIndex,
    cursors: Cursors,
) -> Result<(), StoreError> {
    take_over::<P>(connection, P::COLUMNS, cursors, |row| live::take_over::<P>(index, row)).await
}

/// Takes over rows that were put right; `false` where somebody holds the company's head.
async fn take_over_put_right(
    connection: &mut PgConnection,
    index: &VerificationIndex,
    rows: &PutRight,
) -> Result<bool, StoreError> {
    match rows.projection.as_str() {
        Companies::NAME => refresh::<Companies>(connection, index, rows).await,
        Keys::NAME => refresh::<Keys>(connection, index, rows).await,
        Clients::NAME => refresh::<Clients>(connection, index, rows).await,
        Tokens::NAME => refresh::<Tokens>(connection, index, rows).await,
        // Nothing is verified by the others.
        _ => Ok(true),
    }
}

/// The same rows in as few pieces as there are projections and companies, up to a bound: for each
/// piece the head is waited for.
fn together(pieces: Vec<Arc<PutRight>>) -> Vec<Arc<PutRight>> {
    let mut rows: BTreeMap<(String, CompanyId), BTreeSet<Uuid>> = BTreeMap::new();
    for piece in pieces {
        rows.entry((piece.projection.clone(), piece.company)).or_default().extend(&piece.keys);
    }
    let mut together = Vec::new();
    for ((projection, company), keys) in rows {
        let keys: Vec<Uuid> = keys.into_iter().collect();
        for keys in keys.chunks(PUT_RIGHT_AT_ONCE) {
            let projection = projection.clone();
            together.push(Arc::new(PutRight { projection, company, keys: keys.to_vec() }));
        }
    }
    together
}

/// Takes over rows as they are, whatever was taken over before. The company's head is held, so that
/// nothing later is taken back.
async fn refresh<P: PgTable<Key = Uuid>>(
    connection: &mut PgConnection,
    index: &VerificationIndex,
    PutRight { company, keys, .. }: &PutRight,
) -> Result<bool, StoreError> {
    let mut held = connection.begin().await.map_err(failed)?;
    held.execute(BOUNDS).await.map_err(failed)?;
    held.execute(HOLD_TIMEOUT).await.map_err(failed)?;
    match sqlx::query(HOLD_HEAD).bind(company.0).execute(&mut *held).await {
        Err(error) if is_held(&error) => {
            held.rollback().await.map_err(failed)?;
            return Ok(false);
        }
        outcome => outcome.map_err(failed)?,
    };
    let rows = by_key::<P>(&mut held, *company, keys).await?;
    for key in keys {
        P::refresh(index, Some(*company), *key, rows.get(key));
    }
    held.rollback().await.map_err(failed)?;
    Ok(true)
}

/// Hands over the rows of a table that changed behind the cursors, in the order of their positions,
/// page by page.
async fn take_over<P: PgTable>(
    connection: &mut PgConnection,
    names: &[&str],
    mut cursors: Cursors,
    mut take: impl FnMut(&PgRow),
) -> Result<(), StoreError> {
    let sql = format!(
        "SELECT changed.*, cursors.company \
         FROM unnest($1::uuid[], $2::bigint[]) AS cursors (company, position) \
         CROSS JOIN LATERAL (SELECT {} FROM {} WHERE company_id = ANY($1) \
         AND company_id = cursors.company AND position > cursors.position \
         ORDER BY position LIMIT $3) AS changed",
        names.join(", "),
        P::TABLE
    );
    let position = names.iter().position(|name| *name == "position").unwrap_or_default();
    while !cursors.is_empty() {
        let (ids, positions) = columns(&cursors);
        let page = (PAGE / cursors.len()).max(1);
        let query = sqlx::query(&sql).bind(ids).bind(positions);
        let query = query.bind(i64::try_from(page).unwrap_or(i64::MAX));
        let rows =
            in_time(async { query.fetch_all(&mut *connection).await.map_err(failed) }).await?;
        let mut read: BTreeMap<CompanyId, (usize, u64)> = BTreeMap::new();
        for row in &rows {
            take(row);
            let (count, last) = read.entry(row.company(names.len())?).or_default();
            *count += 1;
            *last = row.number(position)?;
        }
        // Where a page was full, there may be more.
        let full = read.into_iter().filter(|(_, (count, _))| *count == page);
        cursors = full.map(|(company, (_, last))| (company, last)).collect();
    }
    Ok(())
}
