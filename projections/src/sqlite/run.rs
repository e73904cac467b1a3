//! Running the statements that both databases share.

use super::{SqliteReadModels, failed};
use crate::sql::{Columns, Dialect, FromColumns, Unreadable, Value};
use rusqlite::types::{FromSqlResult, ToSqlOutput, ValueRef};
use rusqlite::{Connection, Row, Statement, ToSql, TransactionBehavior};
use token_ledger_event_store::sqlite::{EVENT_COLUMNS, HAS_PART, commit, event_from_row};
use token_ledger_event_store::{RecordedEvent, StoreError};
use uuid::Uuid;

impl ToSql for Value<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        let value = match self {
            Self::Uuid(Some(id)) => ValueRef::Blob(id.as_bytes()),
            Self::Int(Some(number)) => ValueRef::Integer(*number),
            Self::Text(Some(text)) => ValueRef::Text(text.as_bytes()),
            Self::Bytes(Some(bytes)) => ValueRef::Blob(bytes),
            Self::Uuid(None) | Self::Int(None) | Self::Text(None) | Self::Bytes(None) => {
                ValueRef::Null
            }
        };
        Ok(ToSqlOutput::Borrowed(value))
    }
}

impl Columns for Row<'_> {
    fn column_name(&self, column: usize) -> String {
        self.as_ref().column_name(column).map_or_else(|_| column.to_string(), str::to_owned)
    }

    fn optional_uuid(&self, column: usize) -> Result<Option<Uuid>, Unreadable> {
        let Some(bytes) = self.optional_bytes(column)? else { return Ok(None) };
        Uuid::from_slice(bytes).map(Some).map_err(|error| self.unreadable(column, error))
    }

    fn optional_int(&self, column: usize) -> Result<Option<i64>, Unreadable> {
        read(self, column, |value| value.as_i64_or_null())
    }

    fn optional_text(&self, column: usize) -> Result<Option<&str>, Unreadable> {
        read(self, column, |value| value.as_str_or_null())
    }

    fn optional_bytes(&self, column: usize) -> Result<Option<&[u8]>, Unreadable> {
        read(self, column, |value| value.as_blob_or_null())
    }

    fn event(&self) -> Result<RecordedEvent, Unreadable> {
        event_from_row(self).map_err(|error| match error {
            rusqlite::Error::FromSqlConversionFailure(column, _, problem) => {
                self.unreadable(column, problem)
            }
            other => Unreadable { column: "of an event".to_owned(), problem: other.to_string() },
        })
    }
}

fn read<'r, T>(
    row: &'r Row<'_>,
    column: usize,
    read: impl FnOnce(ValueRef<'r>) -> FromSqlResult<Option<T>>,
) -> Result<Option<T>, Unreadable> {
    let value = row.get_ref(column).map_err(|error| row.unreadable(column, error))?;
    read(value).map_err(|error| row.unreadable(column, error))
}

/// Gives a statement its parameters.
pub(super) fn bind<'v>(
    statement: &mut Statement<'_>,
    parameters: impl IntoIterator<Item = Value<'v>>,
) -> Result<(), StoreError> {
    for (index, value) in parameters.into_iter().enumerate() {
        statement.raw_bind_parameter(index + 1, value).map_err(failed)?;
    }
    Ok(())
}

/// The first row that a statement with its parameters answers.
pub(super) fn read_one<T: FromColumns>(
    statement: &mut Statement<'_>,
) -> Result<Option<T>, StoreError> {
    match statement.raw_query().next().map_err(failed)? {
        Some(row) => Ok(Some(T::from_columns(row)?)),
        None => Ok(None),
    }
}

/// The rows that a statement with its parameters answers, each turned into something.
pub(super) fn collect<T>(
    statement: &mut Statement<'_>,
    mut turn: impl FnMut(&Row<'_>) -> Result<T, StoreError>,
) -> Result<Vec<T>, StoreError> {
    let mut rows = statement.raw_query();
    let mut all = Vec::new();
    while let Some(row) = rows.next().map_err(failed)? {
        all.push(turn(row)?);
    }
    Ok(all)
}

/// A shared statement with its parameters.
pub(super) fn prepared<'c>(
    connection: &'c Connection,
    shared: &crate::sql::Statement,
) -> Result<rusqlite::CachedStatement<'c>, StoreError> {
    let mut statement = connection.prepare_cached(&shared.text).map_err(failed)?;
    bind(&mut statement, shared.parameters.iter().cloned())?;
    Ok(statement)
}

/// Runs statements one after the other; stops, and answers `false`, at one that has to change something
/// and doesn't.
fn execute_all(
    transaction: &Connection,
    statements: &[crate::sql::Statement],
) -> Result<bool, StoreError> {
    for statement in statements {
        let changed = prepared(transaction, statement)?.raw_execute().map_err(failed)?;
        if statement.required && changed == 0 {
            return Ok(false);
        }
    }
    Ok(true)
}

impl SqliteReadModels {
    pub(crate) const DIALECT: Dialect = Dialect {
        position: "instr",
        has: |text, part| format!("{HAS_PART}({text}, {part})"),
        event_columns: EVENT_COLUMNS,
        claim: None,
        hold: "",
    };

    pub(crate) async fn fetch<T: FromColumns + Send + 'static>(
        &self,
        query: crate::sql::Statement,
    ) -> Result<Vec<T>, StoreError> {
        let searches = query.searches;
        let rows = move |connection: &Connection| {
            collect(&mut *prepared(connection, &query)?, |row| Ok(T::from_columns(row)?))
        };
        if searches { self.database().search(rows).await } else { self.database().read(rows).await }
    }

    pub(crate) async fn transact(
        &self,
        statements: Vec<crate::sql::Statement>,
    ) -> Result<bool, StoreError> {
        self.database()
            .write(move |connection| {
                let transaction = connection
                    .transaction_with_behavior(TransactionBehavior::Immediate)
                    .map_err(failed)?;
                let done = execute_all(&transaction, &statements)?;
                if done {
                    commit(transaction)?;
                }
                Ok(done)
            })
            .await
    }

    pub(crate) async fn transact_along(
        &self,
        statements: Vec<crate::sql::Statement>,
    ) -> Result<bool, StoreError> {
        let execute = |connection: &Connection, text| {
            let mut statement = connection.prepare_cached(text).map_err(failed)?;
            statement.raw_execute().map_err(failed)
        };
        self.database()
            .write_along(statements.len(), move |transaction| {
                // The others' stays where this is undone.
                execute(transaction, "SAVEPOINT along")?;
                let done = execute_all(transaction, &statements)?;
                if !done {
                    execute(transaction, "ROLLBACK TO along")?;
                }
                execute(transaction, "RELEASE along")?;
                Ok(done)
            })
            .await
    }

    pub(crate) async fn try_writing(&self) -> Result<(), StoreError> {
        self.database()
            .write(|connection| {
                let transaction = connection
                    .transaction_with_behavior(TransactionBehavior::Immediate)
                    .map_err(failed)?;
                transaction.rollback().map_err(failed)
            })
            .await
    }
}
