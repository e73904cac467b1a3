//! A projection that runs behind the log, with its rows and checkpoint in SQLite.

use super::failed;
use super::run::{bind, collect, prepared, read_one};
use super::tables::SqliteTable;
use crate::runner::{BATCH, Behind};
use crate::sql::FromColumns;
use crate::sql::checkpoints::{
    self, CLEARED_AT_ONCE, Found, Place, Since, clear, earliest, places,
};
use crate::touched::Touched;
use rusqlite::{Connection, params};
use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::sync::Arc;
use token_ledger_domain::{CompanyId, Timestamp};
use token_ledger_event_store::StoreError;
use token_ledger_event_store::sqlite::{Database, decoded_page};

/// Companies that are brought up side by side: enough that the disk is waited for once for many of them,
/// few enough that a command that comes meanwhile hardly waits.
pub(crate) const AT_ONCE: usize = 32;

/// A projection behind the log.
#[derive(Debug)]
pub struct SqliteBehind<P> {
    database: Arc<Database>,
    projection: PhantomData<P>,
}

impl<P: SqliteTable> SqliteBehind<P> {
    /// The projection, kept in this database.
    pub const fn new(database: Arc<Database>) -> Self {
        Self { database, projection: PhantomData }
    }

    /// Removes the rows that another version of the projection may have left, where it has come so far.
    async fn clear(&self, company: CompanyId, rows: usize) -> Result<(), StoreError> {
        loop {
            let removed = self.database.write_along(rows, move |transaction| {
                if checkpoint::<P>(transaction, company)? > 0 {
                    return Ok(0);
                }
                prepared(transaction, &clear::<P>(company))?.raw_execute().map_err(failed)?;
                Ok(transaction.changes())
            });
            if removed.await? < CLEARED_AT_ONCE {
                return Ok(());
            }
        }
    }
}

/// The checkpoint of a projection; 0 where it has none or another version of it wrote it.
pub(super) fn checkpoint<P: SqliteTable>(
    connection: &Connection,
    company: CompanyId,
) -> Result<u64, StoreError> {
    let mut statement = connection.prepare_cached(checkpoints::ONE).map_err(failed)?;
    bind(&mut statement, [company.into(), P::NAME.into()])?;
    let stored: Option<Place> = read_one(&mut statement)?;
    Ok(stored.map_or(0, |place| place.of(P::VERSION)))
}

/// Moves the checkpoint of a projection, in the transaction that wrote its rows.
pub(super) fn set_checkpoint<P: SqliteTable>(
    connection: &Connection,
    company: CompanyId,
    position: u64,
) -> Result<(), StoreError> {
    let mut statement = connection.prepare_cached(checkpoints::MOVE).map_err(failed)?;
    statement
        .execute(params![company.0.as_bytes(), P::NAME, P::VERSION, position])
        .map_err(failed)?;
    Ok(())
}

#[async_trait::async_trait]
impl<P: SqliteTable> Behind for SqliteBehind<P> {
    fn name(&self) -> &'static str {
        P::NAME
    }

    fn at_once(&self) -> usize {
        AT_ONCE
    }

    async fn checkpoint(&self, company: CompanyId) -> Result<u64, StoreError> {
        self.database.read(move |connection| checkpoint::<P>(connection, company)).await
    }

    async fn checkpoints(&self) -> Result<BTreeMap<CompanyId, u64>, StoreError> {
        let found = self.database.read(|connection| {
            let mut statement = connection.prepare_cached(checkpoints::EVERY).map_err(failed)?;
            bind(&mut statement, [P::NAME.into()])?;
            collect(&mut statement, |row| Ok(Found::from_columns(row)?))
        });
        Ok(places(found.await?, P::VERSION))
    }

    async fn behind_since(&self) -> Result<Option<Timestamp>, StoreError> {
        let found = self.database.read(|connection| {
            let mut statement =
                connection.prepare_cached(checkpoints::BEHIND_SINCE).map_err(failed)?;
            bind(&mut statement, [P::NAME.into(), P::VERSION.into()])?;
            collect(&mut statement, |row| Ok(Since::from_columns(row)?))
        });
        Ok(earliest(found.await?))
    }

    async fn advance(&self, company: CompanyId) -> Result<Option<u64>, StoreError> {
        let (position, events) = self
            .database
            .read(move |connection| {
                let position = checkpoint::<P>(connection, company)?;
                match decoded_page(connection, company, position, BATCH)? {
                    (events, Some(error)) if events.is_empty() => Err(error),
                    // What comes before an event that can't be understood is taken in; the next
                    // run stops at it.
                    (events, _) => Ok((position, events)),
                }
            })
            .await?;
        let Some(last) = events.last().map(|event| event.position) else {
            return Ok(Some(position));
        };
        if position == 0 {
            // It had a row for each event at most.
            self.clear(company, events.len()).await?;
        }
        self.database
            .write_along(events.len(), move |transaction| {
                // A rebuild may have moved it meanwhile.
                let current = checkpoint::<P>(transaction, company)?;
                if current != position {
                    return Ok(Some(current));
                }
                let mut touched = Touched::<P>::default();
                for event in &events {
                    touched.apply(transaction, event)?;
                }
                touched.write(transaction)?;
                set_checkpoint::<P>(transaction, company, last)?;
                Ok(Some(last))
            })
            .await
    }
}
