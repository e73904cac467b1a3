//! The projections that run in the append transaction.

use super::tables::SqliteTable;
use crate::clients::Clients;
use crate::companies::Companies;
use crate::index::VerificationIndex;
use crate::keys::Keys;
use crate::members::Members;
use crate::tokens::Tokens;
use crate::touched::{Touched, TouchedRow};
use rusqlite::Connection;
use std::sync::Arc;
use token_ledger_event_store::sqlite::InlineProjections;
use token_ledger_event_store::{Appended, StoreError};

impl<P: SqliteTable> Touched<P> {
    /// Applies an event to its row, which is read first where the event doesn't begin it.
    ///
    /// # Errors
    /// When the row can't be read, or the event doesn't fit it.
    pub(crate) fn apply(
        &mut self,
        connection: &Connection,
        event: &Appended,
    ) -> Result<(), StoreError> {
        self.take(event, |company, key| P::one(connection, company, key))
    }

    /// Writes all rows.
    ///
    /// # Errors
    /// When the database fails.
    pub(crate) fn write(&self, connection: &Connection) -> Result<(), StoreError> {
        // In the order of the keys, neighbours share pages.
        let mut rows: Vec<_> = self.iter().collect();
        rows.sort_unstable_by_key(|(place, _)| **place);
        let mut insertion = None;
        for ((company, key), touched) in rows {
            match touched {
                TouchedRow { row: Some(row), is_new: true } => {
                    let insertion = match &mut insertion {
                        Some(prepared) => prepared,
                        none => none.insert(P::insertion(connection)?),
                    };
                    P::insert(insertion, row)?;
                }
                TouchedRow { row: Some(row), is_new: false } => P::put(connection, row)?,
                TouchedRow { row: None, .. } => P::remove(connection, *company, *key)?,
            }
        }
        Ok(())
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
