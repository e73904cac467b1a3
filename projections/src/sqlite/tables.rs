//! A projection's rows, read from SQLite and written to it.

use super::failed;
use super::run::{bind, collect, prepared, read_one};
use crate::sql::{FromColumns, Key, Table, stray};
use rusqlite::{CachedStatement, Connection, Statement};
use token_ledger_domain::CompanyId;
use token_ledger_event_store::StoreError;
use uuid::Uuid;

/// A projection whose rows are kept in SQLite.
pub trait SqliteTable: Table {
    /// Reads one row.
    ///
    /// # Errors
    /// When the database fails or holds a row that can't be.
    fn one(
        connection: &Connection,
        company: CompanyId,
        key: Self::Key,
    ) -> Result<Option<Self::Row>, StoreError> {
        let mut statement = connection.prepare_cached(&Self::statements().one).map_err(failed)?;
        bind(&mut statement, [company.into(), key.value()])?;
        read_one(&mut statement)
    }

    /// Reads a page of a company's rows, behind a key if one is given.
    ///
    /// # Errors
    /// When the database fails or holds a row that can't be.
    fn rows(
        connection: &Connection,
        company: CompanyId,
        after: Option<Self::Key>,
        limit: usize,
    ) -> Result<Vec<Self::Row>, StoreError> {
        let mut statement = prepared(connection, &Self::page(company, after, limit))?;
        collect(&mut statement, |row| Ok(Self::Row::from_columns(row)?))
    }

    /// The companies that have rows, whether they have a ledger or not.
    ///
    /// # Errors
    /// When the database fails or holds a company that can't be.
    fn companies(connection: &Connection) -> Result<Vec<CompanyId>, StoreError> {
        let mut statement =
            connection.prepare_cached(&Self::statements().companies).map_err(failed)?;
        collect(&mut statement, |row| {
            Uuid::from_columns(row).map(CompanyId).map_err(|error| stray::<Self>(&error))
        })
    }

    /// The statement that inserts a row that is new: cheaper than [`Self::put`], which looks
    /// first.
    ///
    /// # Errors
    /// When the database fails.
    fn insertion(connection: &Connection) -> Result<CachedStatement<'_>, StoreError> {
        connection.prepare_cached(&Self::statements().insert).map_err(failed)
    }

    /// Inserts a row by that statement.
    ///
    /// # Errors
    /// When the database fails, or holds a row of this key that should not be there.
    fn insert(insertion: &mut Statement<'_>, row: &Self::Row) -> Result<(), StoreError> {
        write::<Self>(insertion, row)
    }

    /// Writes a row, in place of whatever is there.
    ///
    /// # Errors
    /// When the database fails.
    fn put(connection: &Connection, row: &Self::Row) -> Result<(), StoreError> {
        let mut statement = connection.prepare_cached(&Self::statements().put).map_err(failed)?;
        write::<Self>(&mut statement, row)
    }

    /// Removes one row.
    ///
    /// # Errors
    /// When the database fails.
    fn remove(
        connection: &Connection,
        company: CompanyId,
        key: Self::Key,
    ) -> Result<(), StoreError> {
        let mut statement =
            connection.prepare_cached(&Self::statements().remove).map_err(failed)?;
        bind(&mut statement, [company.into(), key.value()])?;
        statement.raw_execute().map_err(failed).map(drop)
    }
}

impl<P: Table> SqliteTable for P {}

/// Runs the statement that inserts or puts a row with the columns of this one.
fn write<P: Table + ?Sized>(statement: &mut Statement<'_>, row: &P::Row) -> Result<(), StoreError> {
    let mut place = 0;
    let mut bound = Ok(());
    P::values(row, &mut |value| {
        place += 1;
        if bound.is_ok() {
            bound = statement.raw_bind_parameter(place, value);
        }
    });
    bound.map_err(failed)?;
    statement.raw_execute().map_err(failed).map(drop)
}
