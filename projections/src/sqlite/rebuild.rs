//! Staging rows in a scratch file, and holding them against the live ones.

use super::behind::checkpoint;
use super::failed;
use super::inline::Touched;
use super::queries::SqliteReadModels;
use super::tables::{Keyed, Readable, SqliteTable};
use crate::audit::AuditTrail;
use crate::clients::Clients;
use crate::companies::Companies;
use crate::index::VerificationIndex;
use crate::keys::Keys;
use crate::members::Members;
use crate::rebuild::{Difference, OnProgress, Outcome, PAGE, Plan, RANGE, RebuildError, Rebuilder};
use crate::sql::Table;
use crate::tokens::{TokenRow, Tokens};
use rusqlite::{Connection, Transaction, TransactionBehavior};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use token_ledger_domain::{CompanyId, Timestamp};
use token_ledger_event_store::sqlite::{Database, SqliteStore, read_page};
use token_ledger_event_store::{Appended, RecordedEvent, Store, StoreError};
use uuid::Uuid;

/// The tables of the read models. Staging rows are put in the order of their keys, mostly, and
/// need no other index.
const SCHEMA: &str = include_str!("../../../migrations/sqlite/0002_projections.sql");

/// One projection that is being rebuilt.
trait Staged: Send {
    /// Takes events into the staging rows.
    fn stage(&mut self, staging: &Connection, events: &[Appended]) -> Result<(), StoreError>;

    /// The companies that have live rows.
    fn companies(&self, live: &Connection) -> Result<Vec<CompanyId>, StoreError>;

    /// Holds the next range of a company's rows against the live ones; whether there may be more.
    fn compare(
        &mut self,
        staging: &Connection,
        live: &Connection,
        company: CompanyId,
        merge: bool,
        outcome: &mut Outcome,
    ) -> Result<bool, StoreError>;

    /// Tells the verification index of the rows that were put right, once that is durable.
    fn merged(&mut self, index: &VerificationIndex);
}

struct Stage<P: SqliteTable> {
    after: P::Key,
    merged: Vec<(P::Key, Option<P::Row>)>,
}

impl<P: SqliteTable> Stage<P> {
    fn boxed() -> Box<dyn Staged> {
        Box::new(Self { after: P::FIRST, merged: Vec::new() })
    }
}

impl<P: SqliteTable> Staged for Stage<P> {
    fn stage(&mut self, staging: &Connection, events: &[Appended]) -> Result<(), StoreError> {
        let mut touched = Touched::<P>::default();
        for event in events {
            touched.apply(staging, event)?;
        }
        touched.write(staging)
    }

    fn companies(&self, live: &Connection) -> Result<Vec<CompanyId>, StoreError> {
        P::companies(live)
    }

    fn compare(
        &mut self,
        staging: &Connection,
        live: &Connection,
        company: CompanyId,
        merge: bool,
        outcome: &mut Outcome,
    ) -> Result<bool, StoreError> {
        let live_position = if P::BEHIND { checkpoint::<P>(live, company)? } else { u64::MAX };
        let rebuilt = P::range(staging, company, self.after, RANGE)?;
        let mut rebuilt: Vec<_> = rebuilt.into_iter().map(|row| (P::row_key(&row), row)).collect();
        let mut served = P::readable_range(live, company, self.after, RANGE)?;
        // Both sides up to the same key: what lies beyond belongs to the next range.
        let end = last_of_full(&rebuilt).into_iter().chain(last_of_full(&served)).min();
        if let Some(end) = end {
            rebuilt.retain(|(key, _)| *key <= end);
            served.retain(|(key, _)| *key <= end);
        }
        outcome.rows += rebuilt.len() as u64;
        for (key, rebuilt, served) in pair(rebuilt, served) {
            // A projection behind the log has no rows yet of what it has not come to.
            let rebuilt = rebuilt.filter(|row| P::row_position(row) <= live_position);
            let same = match (&rebuilt, &served) {
                (None, None) => true,
                (Some(rebuilt), Some(Ok(served))) => rebuilt == served,
                _ => false,
            };
            if !same {
                if merge {
                    self.merged.push((key, rebuilt.clone()));
                }
                settle::<P>(live, company, (key, rebuilt, served), merge, outcome)?;
            }
        }
        self.after = end.unwrap_or(P::FIRST);
        Ok(end.is_some())
    }

    fn merged(&mut self, index: &VerificationIndex) {
        for (key, row) in self.merged.drain(..) {
            P::refresh(index, key, row.as_ref());
        }
    }
}

/// The last key of a range that is full, so that there may be more behind it.
fn last_of_full<K: Copy, T>(rows: &[Keyed<K, T>]) -> Option<K> {
    (rows.len() == RANGE).then(|| rows.last().map(|(key, _)| *key)).flatten()
}

/// What two lists have under the same key.
type Pair<K, A, B> = (K, Option<A>, Option<B>);

/// What has the same key side by side; both lists are in the order of their keys.
fn pair<K: Copy + Ord, A, B>(
    ones: Vec<Keyed<K, A>>,
    others: Vec<Keyed<K, B>>,
) -> Vec<Pair<K, A, B>> {
    let mut pairs = Vec::with_capacity(ones.len().max(others.len()));
    let mut ones = ones.into_iter().peekable();
    let mut others = others.into_iter().peekable();
    loop {
        let next = [ones.peek().map(|(key, _)| *key), others.peek().map(|(key, _)| *key)];
        let Some(key) = next.into_iter().flatten().min() else { return pairs };
        let one = ones.next_if(|(own, _)| *own == key).map(|(_, one)| one);
        let other = others.next_if(|(own, _)| *own == key).map(|(_, other)| other);
        pairs.push((key, one, other));
    }
}

fn settle<P: SqliteTable>(
    live: &Connection,
    company: CompanyId,
    (key, rebuilt, served): Pair<P::Key, P::Row, Readable<P::Row>>,
    merge: bool,
    outcome: &mut Outcome,
) -> Result<(), StoreError> {
    if merge {
        match &rebuilt {
            Some(row) => P::put(live, row)?,
            None => P::remove(live, company, key)?,
        }
    }
    outcome.differs(Difference {
        projection: P::NAME,
        company,
        key: format!("{key:?}"),
        live: served.map(|row| row.map_or_else(|error| error, |row| format!("{row:?}"))),
        rebuilt: rebuilt.map(|row| format!("{row:?}")),
    });
    Ok(())
}

fn staged(name: &str) -> Result<Box<dyn Staged>, RebuildError> {
    match name {
        "companies" => Ok(Stage::<Companies>::boxed()),
        "members" => Ok(Stage::<Members>::boxed()),
        "clients" => Ok(Stage::<Clients>::boxed()),
        "keys" => Ok(Stage::<Keys>::boxed()),
        "tokens" => Ok(Stage::<Tokens>::boxed()),
        "audit" => Ok(Stage::<AuditTrail>::boxed()),
        other => Err(RebuildError::Unknown(other.to_owned())),
    }
}

/// Staging rows, in a scratch file that goes away with them.
struct Staging {
    connection: Connection,
    path: PathBuf,
    projections: Vec<Box<dyn Staged>>,
}

impl std::fmt::Debug for Staging {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Staging").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_file(&self.path) {
            tracing::warn!(path = %self.path.display(), %error, "a scratch file stays");
        }
    }
}

impl Staging {
    /// Empty staging rows of these projections. `id` keeps scratch files of one machine apart.
    ///
    /// # Errors
    /// When the scratch file can't be made or a projection doesn't exist.
    fn new(projections: &[&'static str], id: Uuid) -> Result<Self, RebuildError> {
        let trouble = |error: rusqlite::Error| RebuildError::Staging(error.to_string());
        // Before there is a file that would stay.
        let projections = projections.iter().map(|name| staged(name)).collect::<Result<_, _>>()?;
        let path = std::env::temp_dir().join(format!("token-ledger-staging-{id}.db"));
        let connection = Connection::open(&path).map_err(trouble)?;
        let staging = Self { connection, path, projections };
        let connection = &staging.connection;
        connection.query_row("PRAGMA journal_mode = OFF", [], |_| Ok(())).map_err(trouble)?;
        connection.pragma_update(None, "synchronous", "OFF").map_err(trouble)?;
        connection.pragma_update(None, "cache_size", -65_536).map_err(trouble)?;
        let schema = SCHEMA
            .split_inclusive(';')
            .filter(|statement| !statement.contains("CREATE INDEX"))
            .collect::<String>();
        connection.execute_batch(&schema).map_err(trouble)?;
        connection.set_prepared_statement_cache_capacity(64);
        Ok(staging)
    }

    /// The companies that have live rows of these projections.
    ///
    /// # Errors
    /// When the database fails.
    async fn companies(self, live: &Database) -> Result<(Self, Vec<CompanyId>), StoreError> {
        live.read(move |connection| {
            let mut companies = Vec::new();
            for projection in &self.projections {
                companies.extend(projection.companies(connection)?);
            }
            Ok((self, companies))
        })
        .await
    }

    /// Folds a page of events into the staging rows.
    ///
    /// # Errors
    /// When an event can't be understood or the scratch file can't be written.
    fn stage(&mut self, page: &[RecordedEvent]) -> Result<(), StoreError> {
        let events: Vec<Appended> =
            page.iter().map(RecordedEvent::appended).collect::<Result<_, _>>()?;
        let transaction = self.connection.unchecked_transaction().map_err(failed)?;
        for projection in &mut self.projections {
            projection.stage(&transaction, &events)?;
        }
        transaction.commit().map_err(failed)
    }

    /// Takes in what was appended behind `position`, as this connection sees the ledger; answers
    /// the position reached.
    fn catch_up(
        &mut self,
        ledger: &Connection,
        company: CompanyId,
        mut position: u64,
    ) -> Result<u64, StoreError> {
        loop {
            let page = read_page(ledger, company, position, PAGE)?;
            let Some(last) = page.last() else { return Ok(position) };
            position = last.position;
            self.stage(&page)?;
        }
    }

    /// Holds the next range of rows against the live ones, within the reader's or writer's
    /// transaction; answers the position reached and whether there may be more.
    fn compare(
        &mut self,
        live: &Transaction<'_>,
        company: CompanyId,
        position: u64,
        merge: bool,
        which: usize,
        outcome: &mut Outcome,
    ) -> Result<(u64, bool), StoreError> {
        let position = self.catch_up(live, company, position)?;
        let Self { connection, projections, .. } = self;
        let more = match projections.get_mut(which) {
            Some(projection) => projection.compare(connection, live, company, merge, outcome)?,
            None => false,
        };
        Ok((position, more))
    }
}

#[async_trait::async_trait]
impl Rebuilder for SqliteReadModels {
    async fn rebuild(
        &self,
        plan: &Plan,
        id: Uuid,
        progress: &OnProgress<'_>,
    ) -> Result<Outcome, RebuildError> {
        let database = self.database();
        let store = SqliteStore::new(Arc::clone(database));
        let heads = store.heads().await?;
        let wanted = |company: &CompanyId| plan.company.is_none_or(|only| only == *company);
        let heads: Vec<_> = heads.into_iter().filter(|head| wanted(&head.company)).collect();
        let total = heads.iter().map(|head| head.position).sum();
        let mut staging = Staging::new(&plan.projections, id)?;
        let mut outcome = Outcome::default();
        // Rows of a company that has no ledger should not exist.
        let (back, with_rows) = staging.companies(database).await?;
        staging = back;
        let companies: BTreeSet<CompanyId> =
            heads.iter().map(|head| head.company).chain(with_rows).filter(wanted).collect();
        for company in companies {
            let mut position = 0;
            loop {
                let (back, last) = stage_page(staging, &store, company, position, None).await?;
                staging = back;
                let Some(last) = last else { break };
                outcome.events += last - position;
                position = last;
                progress(outcome.events, total);
            }
            for which in 0..plan.projections.len() {
                let mut more = true;
                while more {
                    let step = Step { staging, outcome, company, position, which };
                    let (step, goes_on) = step.run(self, plan.merge).await?;
                    Step { staging, outcome, position, .. } = step;
                    more = goes_on;
                }
            }
        }
        Ok(outcome)
    }

    async fn tokens_until(
        &self,
        company: CompanyId,
        until: Timestamp,
        id: Uuid,
        progress: &OnProgress<'_>,
        take: &mut (dyn FnMut(Vec<TokenRow>) -> std::io::Result<()> + Send),
    ) -> Result<(), RebuildError> {
        let store = SqliteStore::new(Arc::clone(self.database()));
        let total = store.position_at(company, until, true).await?;
        let mut staging = Staging::new(&["tokens"], id)?;
        let mut position = 0;
        loop {
            let (back, last) = stage_page(staging, &store, company, position, Some(until)).await?;
            staging = back;
            let Some(last) = last else { break };
            position = last;
            progress(position, total);
        }
        let mut after = Tokens::FIRST;
        loop {
            let page = Tokens::range(&staging.connection, company, after, RANGE)?;
            let Some(last) = page.last() else { return Ok(()) };
            after = last.token_id.0;
            take(page)?;
        }
    }
}

/// One range of one projection.
struct Step {
    staging: Staging,
    outcome: Outcome,
    company: CompanyId,
    position: u64,
    which: usize,
}

impl Step {
    async fn run(
        self,
        read_models: &SqliteReadModels,
        merge: bool,
    ) -> Result<(Self, bool), StoreError> {
        if merge {
            let index = Arc::clone(read_models.index());
            read_models
                .database()
                .write(move |connection| {
                    let transaction = connection
                        .transaction_with_behavior(TransactionBehavior::Immediate)
                        .map_err(failed)?;
                    let (mut step, more) = self.within(transaction, true)?;
                    // Still on the writing thread, so that no append comes in between.
                    if let Some(projection) = step.staging.projections.get_mut(step.which) {
                        projection.merged(&index);
                    }
                    Ok((step, more))
                })
                .await
        } else {
            read_models
                .database()
                .read(move |connection| {
                    let transaction = connection.unchecked_transaction().map_err(failed)?;
                    self.within(transaction, false)
                })
                .await
        }
    }

    fn within(
        mut self,
        transaction: Transaction<'_>,
        merge: bool,
    ) -> Result<(Self, bool), StoreError> {
        let (position, more) = self.staging.compare(
            &transaction,
            self.company,
            self.position,
            merge,
            self.which,
            &mut self.outcome,
        )?;
        self.position = position;
        transaction.commit().map_err(failed)?;
        Ok((self, more))
    }
}

/// Reads and stages the next page of a company, off the async threads; answers the last position
/// of it, or `None` at the end.
async fn stage_page(
    mut staging: Staging,
    store: &SqliteStore,
    company: CompanyId,
    position: u64,
    until: Option<Timestamp>,
) -> Result<(Staging, Option<u64>), StoreError> {
    store
        .database()
        .read(move |connection| {
            let mut page = read_page(connection, company, position, PAGE)?;
            page.retain(|event| until.is_none_or(|until| event.recorded_at <= until));
            let Some(last) = page.last().map(|event| event.position) else {
                return Ok((staging, None));
            };
            staging.stage(&page)?;
            Ok((staging, Some(last)))
        })
        .await
}
