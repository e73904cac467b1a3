//! The projections that run in the append transaction.

use super::tables::SqliteTable;
use crate::clients::Clients;
use crate::companies::Companies;
use crate::index::VerificationIndex;
use crate::keys::Keys;
use crate::members::Members;
use crate::tokens::Tokens;
use rusqlite::Connection;
use std::collections::HashMap;
use std::sync::Arc;
use token_ledger_domain::CompanyId;
use token_ledger_event_store::sqlite::InlineProjections;
use token_ledger_event_store::{Appended, StoreError};

/// The rows of one projection that a transaction touches.
pub(super) struct Touched<P: SqliteTable> {
    rows: HashMap<(CompanyId, P::Key), TouchedRow<P::Row>>,
}

struct TouchedRow<R> {
    row: Option<R>,
    is_new: bool,
}

impl<P: SqliteTable> Default for Touched<P> {
    fn default() -> Self {
        Self { rows: HashMap::new() }
    }
}

impl<P: SqliteTable> Touched<P> {
    /// Applies an event to its row, which is read first where the event doesn't begin it.
    ///
    /// # Errors
    /// When the row can't be read, or the event doesn't fit it.
    pub(super) fn apply(
        &mut self,
        connection: &Connection,
        event: &Appended,
    ) -> Result<(), StoreError> {
        let Some(key) = P::key(event) else { return Ok(()) };
        let place = (event.company, key);
        let TouchedRow { row, is_new } = match self.rows.remove(&place) {
            Some(touched) => touched,
            None if P::begins(event) => TouchedRow { row: None, is_new: true },
            None => TouchedRow { row: P::one(connection, event.company, key)?, is_new: false },
        };
        let row = P::apply(row, event).map_err(|misfit| misfit.at(event))?;
        self.rows.insert(place, TouchedRow { row, is_new });
        Ok(())
    }

    /// Writes all rows.
    ///
    /// # Errors
    /// When the database fails.
    pub(super) fn write(&self, connection: &Connection) -> Result<(), StoreError> {
        // In the order of the keys, neighbours share pages.
        let mut rows: Vec<_> = self.rows.iter().collect();
        rows.sort_unstable_by_key(|(place, _)| **place);
        for ((company, key), touched) in rows {
            match touched {
                TouchedRow { row: Some(row), is_new: true } => P::insert(connection, row)?,
                TouchedRow { row: Some(row), is_new: false } => P::put(connection, row)?,
                TouchedRow { row: None, .. } => P::remove(connection, *company, *key)?,
            }
        }
        Ok(())
    }

    /// Forgets all rows.
    pub(super) fn clear(&mut self) {
        self.rows.clear();
    }

    fn rows(&self) -> impl Iterator<Item = &P::Row> {
        self.rows.values().filter_map(|touched| touched.row.as_ref())
    }
}

/// Tokens, keys, companies, members and clients, and the verification index with them.
#[derive(Default)]
pub struct Inline {
    index: Arc<VerificationIndex>,
    tokens: Touched<Tokens>,
    keys: Touched<Keys>,
    companies: Touched<Companies>,
    members: Touched<Members>,
    clients: Touched<Clients>,
}

impl std::fmt::Debug for Inline {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inline").field("index", &self.index).finish_non_exhaustive()
    }
}

impl Inline {
    /// The inline projections, which keep this index up to date.
    pub fn new(index: Arc<VerificationIndex>) -> Self {
        Self { index, ..Self::default() }
    }
}

impl InlineProjections for Inline {
    fn project(&mut self, transaction: &Connection, events: &[Appended]) -> Result<(), StoreError> {
        for event in events {
            self.tokens.apply(transaction, event)?;
            self.keys.apply(transaction, event)?;
            self.companies.apply(transaction, event)?;
            self.members.apply(transaction, event)?;
            self.clients.apply(transaction, event)?;
        }
        self.tokens.write(transaction)?;
        self.keys.write(transaction)?;
        self.companies.write(transaction)?;
        self.members.write(transaction)?;
        self.clients.write(transaction)
    }

    fn committed(&mut self) {
        self.companies.rows().for_each(|row| self.index.apply_company(row));
        self.keys.rows().for_each(|row| self.index.apply_key(row));
        self.clients.rows().for_each(|row| self.index.apply_client(row));
        self.tokens.rows().for_each(|row| self.index.apply_token(row));
        self.rolled_back();
    }

    fn rolled_back(&mut self) {
        self.tokens.clear();
        self.keys.clear();
        self.companies.clear();
        self.members.clear();
        self.clients.clear();
    }
}
