//! Rebuilding projections: rows are staged in a scratch file and held against the live ones range by
//! range.
//!
//! A merge holds a company's head while it puts one range right, so that no commit comes in between;
//! a check sees ledger and rows in one snapshot.

use super::PgReadModels;
use super::behind::{begin_checkpoint, checkpoint, set_checkpoint};
use super::rows::{PgTable, put, range, remove};
use super::run::numbered;
use crate::index::VerificationIndex;
use crate::rebuild::{
    Difference, Keyed, OnDifference, OnProgress, Outcome, PAGE, Plan, RANGE, Readable,
    RebuildError, Rebuilder, cut, is_same, pair, readable, to_the_head, without_gaps,
};
use crate::sql::{FromColumns, Key, Value, checkpoints, stray};
use crate::sqlite::SqliteTable;
use crate::sqlite::scratch::Scratch;
use crate::tokens::TokenRow;
use crate::touched::{Place, Touched};
use crate::{AuditTrail, Clients, Companies, Keys, Members, Tokens};
use async_trait::async_trait;
use rusqlite::Connection;
use sqlx::{Connection as _, Executor, PgConnection};
use std::collections::{BTreeMap, BTreeSet};
use token_ledger_domain::{CompanyId, Timestamp};
use token_ledger_event_store::postgres::{
    BOUNDS, PutRight, end_in_time, failed, in_time, read_page, tell_put_right,
};
use token_ledger_event_store::{Appended, RecordedEvent, StoreError};
use uuid::Uuid;

/// The lock that orders the company's ledger: no commit comes in between.
const HOLD_HEAD: &str = "SELECT 1 FROM company_heads WHERE company_id = $1 FOR UPDATE";
const HEADS: &str = "SELECT company_id, last_position FROM company_heads ORDER BY company_id";
const SNAPSHOT: &str = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY";

/// One projection that is being rebuilt.
#[async_trait]
trait Staged: Send + Sync {
    /// Takes events into the staging rows.
    fn stage(&self, staging: &Connection, events: &[Appended]) -> Result<(), StoreError>;

    /// The companies that have live rows.
    async fn companies(&self, live: &mut PgConnection) -> Result<Vec<CompanyId>, StoreError>;

    /// Keeps others from changing the company's live rows for this transaction; its head is held.
    async fn hold(&self, live: &mut PgConnection, company: CompanyId) -> Result<(), StoreError>;

    /// Holds the next range of a company's rows against the live ones, which are put right where
    /// that is wanted; whether there may be more. The events up to this position are staged.
    async fn compare(
        &mut self,
        staging: &mut Scratch,
        live: &mut PgConnection,
        company: CompanyId,
        position: u64,
        merge: bool,
        outcome: &mut Outcome,
    ) -> Result<bool, StoreError>;

    /// The statements that tell the other processes of the rows that were put right.
    fn tell(&self, company: CompanyId) -> String;

    /// Tells the verification index of the rows that were put right.
    fn merged(&mut self, index: &VerificationIndex, company: CompanyId);
}

struct Stage<P: PgTable> {
    after: Option<P::Key>,
    merged: Vec<(P::Key, Option<P::Row>)>,
}

impl<P: PgTable> Stage<P> {
    fn boxed() -> Box<dyn Staged> {
        Box::new(Self { after: None, merged: Vec::new() })
    }
}

#[async_trait]
impl<P: PgTable> Staged for Stage<P> {
    fn stage(&self, staging: &Connection, events: &[Appended]) -> Result<(), StoreError> {
        let mut touched = Touched::<P>::default();
        for event in events {
            touched.apply(staging, event)?;
        }
        touched.write(staging)
    }

    async fn companies(&self, live: &mut PgConnection) -> Result<Vec<CompanyId>, StoreError> {
        let rows = sqlx::query(&P::statements().companies).fetch_all(live).await.map_err(failed)?;
        let company = |row| Uuid::from_columns(row).map(CompanyId);
        rows.iter().map(|row| company(row).map_err(|error| stray::<P>(&error))).collect()
    }

    async fn hold(&self, live: &mut PgConnection, company: CompanyId) -> Result<(), StoreError> {
        if P::BEHIND {
            begin_checkpoint::<P>(live, company).await?;
            sqlx::query(&format!("{} FOR UPDATE", numbered(checkpoints::ONE)))
                .bind(company.0)
                .bind(P::NAME)
                .execute(live)
                .await
                .map_err(failed)?;
        }
        Ok(())
    }

    async fn compare(
        &mut self,
        staging: &mut Scratch,
        live: &mut PgConnection,
        company: CompanyId,
        position: u64,
        merge: bool,
        outcome: &mut Outcome,
    ) -> Result<bool, StoreError> {
        let reached =
            if P::BEHIND { readable(checkpoint::<P>(live, company).await)? } else { u64::MAX };
        // A projection has no rows yet of what it has not come to; a merge brings it there.
        let due = if merge { u64::MAX } else { reached };
        let rebuilt = <P as SqliteTable>::rows(staging.connection(), company, self.after, RANGE);
        let mut rebuilt: Vec<Keyed<P::Key, P::Row>> =
            rebuilt?.into_iter().map(|row| (P::row_key(&row), row)).collect();
        let rows = range::<P>(live, company, self.after, RANGE).await?;
        let mut served: Vec<Keyed<P::Key, Readable<P::Row>>> = Vec::with_capacity(rows.len());
        for row in &rows {
            let read = P::Row::from_columns(row).map_err(|error| error.to_string());
            served.push((P::key_of(row)?, read));
        }
        let end = cut(&mut rebuilt, &mut served);
        // Beyond the last range there may be events that have no row.
        let come_to = match end {
            Some(_) => rebuilt.last().map_or(0, |(_, row)| P::row_position(row)),
            None => position,
        };
        let is_due = |row: &P::Row| P::row_position(row) <= due;
        let compared = rebuilt.iter().filter(|(_, row)| is_due(row)).count();
        outcome.rows += compared as u64;
        // Each event of a projection behind the log gives one row.
        outcome.behind += (rebuilt.len() - compared) as u64;
        let already = self.merged.len();
        for (key, rebuilt, served) in pair(rebuilt, served) {
            let rebuilt = rebuilt.filter(is_due);
            if !is_same(rebuilt.as_ref(), served.as_ref()) {
                if merge {
                    self.merged.push((key, rebuilt.clone()));
                }
                let is_new = rebuilt.as_ref().is_some_and(|row| P::row_position(row) > reached);
                if is_new && served.is_none() {
                    continue;
                }
                outcome.differs(Difference::of::<P>(company, key, served, rebuilt));
            }
        }
        settle::<P>(live, company, &self.merged[already..]).await?;
        // With the rows, or whoever runs the projection between two ranges would write them again.
        if merge && come_to > reached {
            outcome.behind += come_to - reached;
            set_checkpoint::<P>(live, company, come_to).await?;
        }
        if P::BEHIND && end.is_none() && reached > position {
            if merge {
                set_checkpoint::<P>(live, company, position).await?;
            }
            outcome.differs(Difference::of_checkpoint::<P>(company, reached, position));
        }
        self.after = end;
        Ok(end.is_some())
    }

    fn tell(&self, company: CompanyId) -> String {
        let key = |(key, _): &(P::Key, _)| match key.value() {
            Value::Uuid(id) => id,
            _ => None,
        };
        let keys = self.merged.iter().filter_map(key).collect();
        tell_put_right(&PutRight { projection: P::NAME.to_owned(), company, keys })
    }

    fn merged(&mut self, index: &VerificationIndex, company: CompanyId) {
        for (key, row) in self.merged.drain(..) {
            P::refresh(index, Some(company), key, row.as_ref());
        }
    }
}

/// Puts rows right.
async fn settle<P: PgTable>(
    live: &mut PgConnection,
    company: CompanyId,
    merged: &[(P::Key, Option<P::Row>)],
) -> Result<(), StoreError> {
    let rows: Vec<&P::Row> = merged.iter().filter_map(|(_, row)| row.as_ref()).collect();
    let gone: Vec<Place<P>> =
        merged.iter().filter(|(_, row)| row.is_none()).map(|(key, _)| (company, *key)).collect();
    if !rows.is_empty() {
        put::<P>(live, rows.into_iter()).await?;
    }
    if !gone.is_empty() {
        remove::<P>(live, gone.iter()).await?;
    }
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

/// Staging rows of these projections, in a scratch file.
struct Staging {
    scratch: Scratch,
    projections: Vec<Box<dyn Staged>>,
}

impl Staging {
    fn new(projections: &[&'static str], id: Uuid) -> Result<Self, RebuildError> {
        // Before there is a file that would stay.
        let projections = projections.iter().map(|name| staged(name)).collect::<Result<_, _>>()?;
        Ok(Self { scratch: Scratch::new(id)?, projections })
    }

    /// Folds a page of events into the staging rows, off the async threads.
    async fn stage(mut self, page: Vec<RecordedEvent>) -> Result<Self, StoreError> {
        tokio::task::spawn_blocking(move || {
            let events: Vec<Appended> =
                page.iter().map(RecordedEvent::appended).collect::<Result<_, _>>()?;
            let Self { scratch, projections } = &mut self;
            scratch.transact(|connection| {
                projections.iter().try_for_each(|projection| projection.stage(connection, &events))
            })?;
            Ok(self)
        })
        .await
        .map_err(|error| StoreError::Rejected(error.to_string()))?
    }

    /// Takes in what follows a position, as this connection sees the ledger, at least to this head;
    /// answers the position reached. `taken` is told of each page.
    async fn catch_up(
        mut self,
        ledger: &mut PgConnection,
        company: CompanyId,
        (mut position, head): (u64, u64),
        until: Option<Timestamp>,
        taken: &mut (dyn FnMut(u64) + Send),
    ) -> Result<(Self, u64), StoreError> {
        loop {
            let mut page = in_time(read_page(&mut *ledger, company, position, PAGE)).await?;
            without_gaps(company, position, page.iter().map(|event| event.position))?;
            let is_end = page.is_empty();
            page.retain(|event| until.is_none_or(|until| event.recorded_at <= until));
            let Some(last) = page.last().map(|event| event.position) else {
                if is_end {
                    to_the_head(company, position, head)?;
                }
                return Ok((self, position));
            };
            self = self.stage(page).await?;
            taken(last - position);
            position = last;
        }
    }
}

impl PgReadModels {
    /// The ledgers with their ends, and the companies that have rows of these projections.
    async fn ledgers(
        &self,
        projections: &[Box<dyn Staged>],
    ) -> Result<(Vec<(Uuid, i64)>, BTreeSet<CompanyId>), StoreError> {
        let mut lent = self.database().lend().await?;
        let read = async {
            let heads = in_time(async {
                sqlx::query_as(HEADS).fetch_all(&mut *lent).await.map_err(failed)
            });
            let heads = heads.await?;
            let mut companies = BTreeSet::new();
            for projection in projections {
                companies.extend(in_time(projection.companies(&mut lent)).await?);
            }
            Ok((heads, companies))
        };
        let read = read.await;
        lent.settle(read)
    }

    /// Holds one range of one projection against the live rows, in one transaction.
    #[allow(clippy::too_many_arguments, reason = "the state of a rebuild, step by step")]
    async fn step(
        &self,
        staging: Staging,
        which: usize,
        company: CompanyId,
        position: u64,
        merge: bool,
        outcome: &mut Outcome,
    ) -> Result<(Staging, u64, bool), StoreError> {
        let mut lent = self.database().lend().await?;
        let stepped = async {
            let mut live = in_time(async {
                let mut live = lent.begin().await.map_err(failed)?;
                if merge {
                    live.execute(BOUNDS).await.map_err(failed)?;
                    let hold = sqlx::query(HOLD_HEAD).bind(company.0);
                    let ledger = hold.execute(&mut *live).await.map_err(failed)?;
                    if ledger.rows_affected() > 0 {
                        staging.projections[which].hold(&mut live, company).await?;
                    }
                } else {
                    sqlx::query(SNAPSHOT).execute(&mut *live).await.map_err(failed)?;
                }
                Ok(live)
            })
            .await?;
            let (mut staging, position) = staging
                .catch_up(&mut live, company, (position, 0), None, &mut |count| {
                    outcome.events += count;
                })
                .await?;
            let Staging { scratch, projections } = &mut staging;
            let projection = &mut projections[which];
            let compared = in_time(async {
                let more = projection
                    .compare(scratch, &mut live, company, position, merge, outcome)
                    .await?;
                let telling = projection.tell(company);
                if !telling.is_empty() {
                    live.execute(telling.as_str()).await.map_err(failed)?;
                }
                Ok(more)
            });
            let more = compared.await?;
            // While the head is still held, so that no later change is taken back.
            projection.merged(self.index(), company);
            end_in_time(live.commit()).await?;
            Ok((staging, position, more))
        };
        let stepped = stepped.await;
        lent.settle(stepped)
    }
}

#[async_trait]
impl Rebuilder for PgReadModels {
    async fn rebuild_telling(
        &self,
        plan: &Plan,
        id: Uuid,
        progress: &OnProgress<'_>,
        tell: &mut OnDifference<'_>,
    ) -> Result<Outcome, RebuildError> {
        let mut staging = Staging::new(&plan.projections, id)?;
        let (heads, others) = self.ledgers(&staging.projections).await?;
        let wanted = |company: &CompanyId| plan.company.is_none_or(|only| only == *company);
        let heads: BTreeMap<CompanyId, u64> = heads
            .into_iter()
            .map(|(company, position)| (CompanyId(company), u64::try_from(position).unwrap_or(0)))
            .filter(|(company, _)| wanted(company))
            .collect();
        let total = heads.values().sum();
        // Rows of a company that has no ledger should not exist.
        let companies: BTreeSet<CompanyId> = heads.keys().copied().chain(others).collect();
        let mut outcome = Outcome::default();
        for company in companies.into_iter().filter(wanted) {
            let mut events = outcome.events;
            let mut taken = |count: u64| {
                events += count;
                progress(events, total);
            };
            let mut lent = self.database().lend().await?;
            let head = heads.get(&company).copied().unwrap_or(0);
            let caught_up = staging.catch_up(&mut lent, company, (0, head), None, &mut taken).await;
            let mut position;
            (staging, position) = lent.settle(caught_up)?;
            outcome.events = events;
            for which in 0..plan.projections.len() {
                let mut more = true;
                while more {
                    (staging, position, more) = self
                        .step(staging, which, company, position, plan.merge, &mut outcome)
                        .await?;
                    outcome.tell(tell)?;
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
        let staging = Staging::new(&["tokens"], id)?;
        let mut lent = self.database().lend().await?;
        let head: Option<i64> = in_time(async {
            sqlx::query_scalar("SELECT last_position FROM company_heads WHERE company_id = $1")
                .bind(company.0)
                .fetch_optional(&mut *lent)
                .await
                .map_err(failed)
        })
        .await?;
        let total = head.and_then(|head| u64::try_from(head).ok()).unwrap_or(0);
        let mut read = 0;
        let mut taken = |count: u64| {
            read += count;
            progress(read, total);
        };
        let caught_up =
            staging.catch_up(&mut lent, company, (0, total), Some(until), &mut taken).await;
        let (staging, _) = lent.settle(caught_up)?;
        let mut after = None;
        loop {
            let page = Tokens::rows(staging.scratch.connection(), company, after, RANGE)?;
            let Some(last) = page.last() else { return Ok(()) };
            after = Some(last.token_id.0);
            take(page)?;
        }
    }
}
