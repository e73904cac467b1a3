//! Staging rows in a scratch file, and holding them against the live ones.

use super::compare::{Direct, Stage, Staged};
use super::failed;
use super::queries::SqliteReadModels;
use super::scratch::Scratch;
use super::tables::SqliteTable;
use crate::audit::AuditTrail;
use crate::clients::Clients;
use crate::companies::Companies;
use crate::keys::Keys;
use crate::members::Members;
use crate::rebuild::{
    OnDifference, OnProgress, Outcome, PAGE, Plan, RANGE, RebuildError, Rebuilder, to_the_head,
    without_gaps,
};
use crate::tokens::{TokenRow, Tokens};
use rusqlite::{Connection, Transaction, TransactionBehavior};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use token_ledger_domain::{CompanyId, Timestamp};
use token_ledger_event_store::sqlite::{Database, SqliteStore, decoded_page};
use token_ledger_event_store::{Appended, Store, StoreError};
use uuid::Uuid;

fn staged(name: &str, merge: bool) -> Result<Box<dyn Staged>, RebuildError> {
    match name {
        "companies" => Ok(Stage::<Companies>::boxed()),
        "members" => Ok(Stage::<Members>::boxed()),
        "clients" => Ok(Stage::<Clients>::boxed()),
        "keys" => Ok(Stage::<Keys>::boxed()),
        "tokens" => Ok(Stage::<Tokens>::boxed()),
        "audit" => Ok(Direct::<AuditTrail>::boxed(merge)),
        other => Err(RebuildError::Unknown(other.to_owned())),
    }
}

/// Staging rows of these projections, in a scratch file.
struct Staging {
    scratch: Scratch,
    projections: Vec<Box<dyn Staged>>,
}

impl Staging {
    /// Empty staging rows of these projections. `id` keeps scratch files of one machine apart.
    ///
    /// # Errors
    /// When the scratch file can't be made or a projection doesn't exist.
    fn new(projections: &[&'static str], merge: bool, id: Uuid) -> Result<Self, RebuildError> {
        let projections = projections.iter().map(|name| staged(name, merge));
        // Before there is a file that would stay.
        let projections = projections.collect::<Result<_, _>>()?;
        Ok(Self { scratch: Scratch::new(id)?, projections })
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
    /// When an event doesn't fit its row or the scratch file can't be written.
    fn stage(
        &mut self,
        live: &Connection,
        company: CompanyId,
        events: &[Appended],
    ) -> Result<(), StoreError> {
        let Self { scratch, projections } = self;
        scratch.transact(|staging| {
            projections
                .iter_mut()
                .try_for_each(|projection| projection.stage(staging, live, company, events))
        })
    }

    /// Folds a page of events, off the async threads.
    ///
    /// # Errors
    /// As for [`Self::stage`].
    async fn staged(
        mut self,
        live: &Database,
        company: CompanyId,
        events: Page,
    ) -> Result<Self, StoreError> {
        live.read(move |connection| {
            let snapshot = connection.unchecked_transaction().map_err(failed)?;
            self.stage(&snapshot, company, &events)?;
            snapshot.commit().map_err(failed)?;
            Ok(self)
        })
        .await
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
            let page = whole_page(ledger, company, position)?;
            let Some(last) = page.last() else { return Ok(position) };
            position = last.position;
            self.stage(ledger, company, &page)?;
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
        let before = position;
        let position = self.catch_up(live, company, before)?;
        outcome.events += position - before;
        let Self { scratch, projections } = self;
        let more = match projections.get_mut(which) {
            Some(projection) => {
                projection.compare(scratch.connection(), live, company, merge, outcome)?
            }
            None => false,
        };
        Ok((position, more))
    }
}

#[async_trait::async_trait]
impl Rebuilder for SqliteReadModels {
    async fn rebuild_telling(
        &self,
        plan: &Plan,
        id: Uuid,
        progress: &OnProgress<'_>,
        tell: &mut OnDifference<'_>,
    ) -> Result<Outcome, RebuildError> {
        let database = self.database();
        let store = SqliteStore::new(Arc::clone(database));
        let heads = store.heads().await?;
        let wanted = |company: &CompanyId| plan.company.is_none_or(|only| only == *company);
        let heads: BTreeMap<_, _> = heads
            .into_iter()
            .map(|head| (head.company, head.position))
            .filter(|(company, _)| wanted(company))
            .collect();
        let total = heads.values().sum();
        let mut staging = Staging::new(&plan.projections, plan.merge, id)?;
        let mut outcome = Outcome::default();
        // Rows of a company that has no ledger should not exist.
        let (back, with_rows) = staging.companies(database).await?;
        staging = back;
        let companies: BTreeSet<CompanyId> =
            heads.keys().copied().chain(with_rows).filter(wanted).collect();
        for company in companies {
            let mut position = 0;
            let mut page = read(Arc::clone(database), company, 0).await?;
            while let Some(last) = page.last().map(|event| event.position) {
                outcome.events += page.len() as u64;
                position = last;
                // The next page is read and decoded while this one is folded: in a task of its own,
                // since both keep the thread that they run on.
                let next = tokio::spawn(read(Arc::clone(database), company, last));
                staging = staging.staged(database, company, page).await?;
                page = next.await.map_err(|error| StoreError::Rejected(error.to_string()))??;
                progress(outcome.events, total);
            }
            to_the_head(company, position, heads.get(&company).copied().unwrap_or(0))?;
            for which in 0..plan.projections.len() {
                let mut more = true;
                while more {
                    let step = Step { staging, outcome, company, position, which };
                    let (step, goes_on) = step.run(self, plan.merge).await?;
                    Step { staging, outcome, position, .. } = step;
                    outcome.tell(tell)?;
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
        let head = store.head(company).await?.map_or(0, |head| head.position);
        let mut staging = Staging::new(&["tokens"], false, id)?;
        let mut position = 0;
        loop {
            let mut page = read(Arc::clone(self.database()), company, position).await?;
            let is_end = page.is_empty();
            page.retain(|event| event.recorded_at <= until);
            let Some(last) = page.last().map(|event| event.position) else {
                if is_end {
                    to_the_head(company, position, head)?;
                }
                break;
            };
            staging = staging.staged(self.database(), company, page).await?;
            position = last;
            progress(position, total);
        }
        let mut after = None;
        loop {
            let page = Tokens::rows(staging.scratch.connection(), company, after, RANGE)?;
            let Some(last) = page.last() else { return Ok(()) };
            after = Some(last.token_id.0);
            take(page)?;
        }
    }
}

/// A page of events, decoded.
type Page = Vec<Appended>;

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
                        projection.merged(&index, step.company);
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

/// The next page of a company's events, read and decoded off the async threads.
async fn read(database: Arc<Database>, company: CompanyId, after: u64) -> Result<Page, StoreError> {
    database.read(move |connection| whole_page(connection, company, after)).await
}

fn whole_page(connection: &Connection, company: CompanyId, after: u64) -> Result<Page, StoreError> {
    match decoded_page(connection, company, after, PAGE)? {
        (events, None) => {
            without_gaps(company, after, events.iter().map(|event| event.position))?;
            Ok(events)
        }
        (_, Some(error)) => Err(error),
    }
}
