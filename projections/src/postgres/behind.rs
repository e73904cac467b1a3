//! A projection that runs behind the log, with its rows and checkpoint in PostgreSQL.

use super::rows::PgTable;
use super::run::{arguments, execute, fetch, numbered};
use crate::runner::{BATCH, Behind};
use crate::sql::Statement;
use crate::sql::checkpoints::{
    self, CLEARED_AT_ONCE, Found, Place, Since, clear, earliest, places,
};
use crate::touched::Touched;
use sqlx::{Connection, PgConnection};
use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::ops::ControlFlow::{self, Break, Continue};
use std::sync::Arc;
use token_ledger_domain::{CompanyId, Timestamp};
use token_ledger_event_store::postgres::{Database, failed, in_time, read_page};
use token_ledger_event_store::{Appended, StoreError};

/// Of so many connections of the pool one is taken by each projection for the companies that are due, and
/// one more for those that are waited for: with two projections, half of the pool is left to others.
const PER_CONNECTION: u32 = 8;

/// Companies that are brought up side by side.
pub(crate) fn at_once(database: &Database) -> usize {
    let connections = database.pool().options().get_max_connections();
    usize::try_from(connections / PER_CONNECTION).unwrap_or(1).max(1)
}

/// A projection behind the log.
#[derive(Debug)]
pub struct PgBehind<P> {
    database: Arc<Database>,
    projection: PhantomData<P>,
}

impl<P: PgTable> PgBehind<P> {
    /// The projection, kept in this database.
    pub const fn new(database: Arc<Database>) -> Self {
        Self { database, projection: PhantomData }
    }
}

fn query<P: PgTable>(text: String, company: CompanyId) -> Statement {
    Statement::new(text).with(company).with(P::NAME.to_owned())
}

/// The checkpoint of a projection; 0 where it has none or another version of it wrote it.
pub(super) async fn checkpoint<P: PgTable>(
    connection: &mut PgConnection,
    company: CompanyId,
) -> Result<u64, StoreError> {
    let query = query::<P>(checkpoints::ONE.to_owned(), company);
    let stored: Vec<Place> = fetch(connection, &query).await?;
    Ok(stored.first().map_or(0, |place| place.of(P::VERSION)))
}

/// Makes the first checkpoint, so that there is one to lock; whether there was none.
pub(super) async fn begin_checkpoint<P: PgTable>(
    connection: &mut PgConnection,
    company: CompanyId,
) -> Result<bool, StoreError> {
    let begin = query::<P>(checkpoints::BEGIN.to_owned(), company).with(P::VERSION);
    Ok(execute(connection, &begin).await? > 0)
}

/// Moves the checkpoint of a projection, in the transaction that wrote its rows.
pub(super) async fn set_checkpoint<P: PgTable>(
    connection: &mut PgConnection,
    company: CompanyId,
    position: u64,
) -> Result<(), StoreError> {
    let values = [company.into(), P::NAME.into(), P::VERSION.into(), position.into()];
    sqlx::query_with(&numbered(checkpoints::MOVE), arguments(values)?)
        .execute(connection)
        .await
        .map_err(failed)?;
    Ok(())
}

/// Locks the checkpoint for this transaction: the right to run the projection of the company.
/// `None` while another process has it; one that dies lets go of it.
async fn claim<P: PgTable>(
    connection: &mut PgConnection,
    company: CompanyId,
) -> Result<Option<u64>, StoreError> {
    let claim = query::<P>(format!("{} FOR UPDATE SKIP LOCKED", checkpoints::ONE), company);
    let position = |claimed: Vec<Place>| claimed.first().map(|place| place.of(P::VERSION));
    if let Some(position) = position(fetch(connection, &claim).await?) {
        return Ok(Some(position));
    }
    if !begin_checkpoint::<P>(connection, company).await? {
        return Ok(None);
    }
    Ok(position(fetch(connection, &claim).await?))
}

/// The events behind a position that can be understood. An error where the first one can't; another
/// is left for the next time, when it is the first.
async fn events(
    connection: &mut PgConnection,
    company: CompanyId,
    position: u64,
) -> Result<Vec<Appended>, StoreError> {
    let mut events: Vec<Appended> = Vec::new();
    for event in read_page(connection, company, position, BATCH).await? {
        match event.appended() {
            Ok(event) => events.push(event),
            Err(error) if events.is_empty() => return Err(error),
            Err(_) => break,
        }
    }
    Ok(events)
}

/// Takes the next events into the rows and moves the checkpoint with them. Where another version of the
/// projection has left many rows, some of them are removed and it is to be asked again.
async fn advance<P: PgTable>(
    connection: &mut PgConnection,
    company: CompanyId,
) -> Result<ControlFlow<Option<u64>>, StoreError> {
    let mut transaction = connection.begin().await.map_err(failed)?;
    let Some(position) = claim::<P>(&mut transaction, company).await? else {
        return Ok(Break(None));
    };
    let events = events(&mut transaction, company, position).await?;
    let Some(last) = events.last().map(|event| event.position) else {
        return Ok(Break(Some(position)));
    };
    if position == 0 && execute(&mut transaction, &clear::<P>(company)).await? == CLEARED_AT_ONCE {
        transaction.commit().await.map_err(failed)?;
        return Ok(Continue(()));
    }
    let mut touched = Touched::<P>::default();
    touched.apply_all(&mut transaction, &events).await?;
    touched.write_all(&mut transaction).await?;
    set_checkpoint::<P>(&mut transaction, company, last).await?;
    transaction.commit().await.map_err(failed)?;
    Ok(Break(Some(last)))
}

#[async_trait::async_trait]
impl<P: PgTable> Behind for PgBehind<P> {
    fn name(&self) -> &'static str {
        P::NAME
    }

    fn at_once(&self) -> usize {
        at_once(&self.database)
    }

    async fn checkpoint(&self, company: CompanyId) -> Result<u64, StoreError> {
        let mut lent = self.database.lend().await?;
        let position = in_time(checkpoint::<P>(&mut lent, company)).await;
        lent.settle(position)
    }

    async fn checkpoints(&self) -> Result<BTreeMap<CompanyId, u64>, StoreError> {
        let query = Statement::new(checkpoints::EVERY).with(P::NAME.to_owned());
        let mut lent = self.database.lend().await?;
        let found: Result<Vec<Found>, StoreError> = in_time(fetch(&mut lent, &query)).await;
        Ok(places(lent.settle(found)?, P::VERSION))
    }

    async fn behind_since(&self) -> Result<Option<Timestamp>, StoreError> {
        let query = Statement::new(checkpoints::BEHIND_SINCE);
        let query = query.with(P::NAME.to_owned()).with(P::VERSION);
        let mut lent = self.database.lend().await?;
        let found: Result<Vec<Since>, StoreError> = in_time(fetch(&mut lent, &query)).await;
        Ok(earliest(lent.settle(found)?))
    }

    async fn advance(&self, company: CompanyId) -> Result<Option<u64>, StoreError> {
        loop {
            let mut lent = self.database.lend().await?;
            let advanced = in_time(advance::<P>(&mut lent, company)).await;
            if let Break(position) = lent.settle(advanced)? {
                return Ok(position);
            }
        }
    }
}
