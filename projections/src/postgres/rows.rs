//! Many rows of a projection at once: one query reads them, one statement writes them.

use super::run::{arguments, numbered};
use crate::sql::{FromColumns, Key, Kind, Statement, Statements, Table, Value};
use crate::touched::{Place, Touched};
use sqlx::postgres::PgArguments;
use sqlx::{Arguments, PgConnection};
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;
use token_ledger_domain::CompanyId;
use token_ledger_event_store::postgres::{Row, Rows, failed};
use token_ledger_event_store::{Appended, StoreError};
use uuid::Uuid;

/// The statements over many rows of one table. Each one names the companies, so that where there are
/// shards and one company, one shard is asked.
#[derive(Debug)]
pub struct BulkStatements {
    /// Reads rows by company and key.
    pub read: String,
    /// Inserts rows where there are none, from an array for each column.
    pub insert: String,
    /// Puts rows in place of whatever is there.
    pub put: String,
    /// Removes rows by company and key.
    pub remove: String,
}

impl BulkStatements {
    fn new<P: Table>() -> Self {
        let (table, key) = (P::TABLE, P::KEY);
        let list = P::COLUMNS.join(", ");
        let key_kind = P::COLUMNS.iter().zip(P::KINDS).find(|(column, _)| **column == key);
        let key_type = array(key_kind.map_or(Kind::Uuid, |(_, kind)| *kind));
        let arrays: Vec<String> = P::KINDS
            .iter()
            .enumerate()
            .map(|(index, kind)| format!("${}::{}", index + 1, array(*kind)))
            .collect();
        let insert =
            format!("INSERT INTO {table} ({list}) SELECT * FROM unnest({})", arrays.join(", "));
        Self {
            // Row by row, however little the planner knows of the tables.
            read: format!(
                "SELECT found.* FROM unnest($2::uuid[], $3::{key_type}) AS wanted (company, key) \
                 CROSS JOIN LATERAL (SELECT {list} FROM {table} WHERE company_id = ANY($1) \
                 AND company_id = wanted.company AND {key} = wanted.key LIMIT 1) AS found"
            ),
            put: format!("{insert} {}", Statements::on_conflict(key, P::COLUMNS)),
            insert,
            remove: format!(
                "DELETE FROM {table} WHERE company_id = ANY($1) AND (company_id, {key}) IN \
                 (SELECT * FROM unnest($2::uuid[], $3::{key_type}))"
            ),
        }
    }
}

const fn array(kind: Kind) -> &'static str {
    match kind {
        Kind::Uuid => "uuid[]",
        Kind::Int => "bigint[]",
        Kind::Text => "text[]",
        Kind::Bytes => "bytea[]",
    }
}

/// The values of many rows in one column.
enum Values<'r> {
    Uuid(Vec<Option<Uuid>>),
    Int(Vec<Option<i64>>),
    Text(Vec<Option<Cow<'r, str>>>),
    Bytes(Vec<Option<Cow<'r, [u8]>>>),
}

impl<'r> Values<'r> {
    const fn new(kind: Kind) -> Self {
        match kind {
            Kind::Uuid => Self::Uuid(Vec::new()),
            Kind::Int => Self::Int(Vec::new()),
            Kind::Text => Self::Text(Vec::new()),
            Kind::Bytes => Self::Bytes(Vec::new()),
        }
    }

    /// `false` when the value is none of this column's kind.
    fn push(&mut self, value: Value<'r>) -> bool {
        match (self, value) {
            (Self::Uuid(column), Value::Uuid(id)) => column.push(id),
            (Self::Int(column), Value::Int(number)) => column.push(number),
            (Self::Text(column), Value::Text(text)) => column.push(text),
            (Self::Bytes(column), Value::Bytes(bytes)) => column.push(bytes),
            _ => return false,
        }
        true
    }

    fn add_to(self, arguments: &mut PgArguments) -> Result<(), StoreError> {
        match self {
            Self::Uuid(column) => arguments.add(column),
            Self::Int(column) => arguments.add(column),
            Self::Text(column) => {
                arguments.add(column.iter().map(Option::as_deref).collect::<Vec<_>>())
            }
            Self::Bytes(column) => {
                arguments.add(column.iter().map(Option::as_deref).collect::<Vec<_>>())
            }
        }
        .map_err(|error| StoreError::Rejected(error.to_string()))
    }
}

/// The columns of these rows, as parameters.
fn columns<'r, P: Table>(
    rows: impl Iterator<Item = &'r P::Row>,
) -> Result<PgArguments, StoreError> {
    let mut columns: Vec<Values<'r>> = P::KINDS.iter().map(|kind| Values::new(*kind)).collect();
    let mut fits = true;
    for row in rows {
        let mut number = 0;
        P::values(row, &mut |value| {
            fits &= columns.get_mut(number).is_some_and(|column| column.push(value));
            number += 1;
        });
    }
    if !fits {
        return Err(StoreError::Rejected(format!("{}: a value is not of its column", P::TABLE)));
    }
    let mut arguments = PgArguments::default();
    columns.into_iter().try_for_each(|column| column.add_to(&mut arguments))?;
    Ok(arguments)
}

/// A row as one value of the table's row type.
fn whole<P: Table>(row: &P::Row) -> Row {
    let mut whole = Row::of(P::TABLE);
    P::values(row, &mut |value| {
        match value {
            Value::Uuid(id) => whole.uuid(id),
            Value::Int(number) => whole.int(number),
            Value::Text(text) => whole.text(text.as_deref()),
            Value::Bytes(bytes) => whole.bytes(bytes.as_deref()),
        };
    });
    whole
}

/// The companies and the keys of these places, as parameters.
fn places<'p, P: Table<Key: 'p> + 'p>(
    places: impl Iterator<Item = &'p Place<P>>,
) -> Result<PgArguments, StoreError> {
    let (companies, keys): (Vec<Uuid>, Vec<P::Key>) =
        places.map(|(company, key)| (company.0, *key)).unzip();
    let distinct: BTreeSet<Uuid> = companies.iter().copied().collect();
    let mut arguments = PgArguments::default();
    let kind = keys.first().map_or(Kind::Uuid, |key| match key.value() {
        Value::Int(_) => Kind::Int,
        _ => Kind::Uuid,
    });
    let mut column = Values::new(kind);
    for key in &keys {
        column.push(key.value());
    }
    let unsendable = |error: sqlx::error::BoxDynError| StoreError::Rejected(error.to_string());
    arguments.add(distinct.into_iter().collect::<Vec<_>>()).map_err(unsendable)?;
    arguments.add(companies).map_err(unsendable)?;
    column.add_to(&mut arguments)?;
    Ok(arguments)
}

/// A projection whose rows are kept in PostgreSQL.
pub trait PgTable: Table {
    /// The statements over many rows.
    fn bulk() -> &'static BulkStatements;
}

macro_rules! pg_tables {
    ($($projection:ty),* $(,)?) => {$(
        impl PgTable for $projection {
            fn bulk() -> &'static BulkStatements {
                static STATEMENTS: LazyLock<BulkStatements> =
                    LazyLock::new(BulkStatements::new::<$projection>);
                &STATEMENTS
            }
        }
    )*};
}

pg_tables!(
    crate::Tokens,
    crate::Keys,
    crate::Companies,
    crate::Members,
    crate::Clients,
    crate::AuditTrail,
);

/// Reads one company's rows behind a key, in order.
///
/// # Errors
/// When the database fails or holds a row that can't be.
pub(super) async fn range<P: PgTable>(
    connection: &mut PgConnection,
    company: CompanyId,
    after: Option<P::Key>,
    limit: usize,
) -> Result<Vec<sqlx::postgres::PgRow>, StoreError> {
    let Statement { text, parameters, .. } = P::page(company, after, limit);
    let (text, arguments) = (numbered(&text), arguments(parameters)?);
    sqlx::query_with(&text, arguments).fetch_all(connection).await.map_err(failed)
}

/// Reads one company's rows of these keys, as far as there are any.
///
/// # Errors
/// When the database fails or holds a row that can't be.
pub(super) async fn by_key<P: PgTable<Key = Uuid>>(
    connection: &mut PgConnection,
    company: CompanyId,
    keys: &[Uuid],
) -> Result<BTreeMap<Uuid, P::Row>, StoreError> {
    let wanted: Vec<Place<P>> = keys.iter().map(|key| (company, *key)).collect();
    let rows = sqlx::query_with(&P::bulk().read, places::<P>(wanted.iter())?)
        .fetch_all(connection)
        .await
        .map_err(failed)?;
    rows.iter()
        .map(|row| {
            let row = P::Row::from_columns(row)?;
            Ok((P::row_key(&row), row))
        })
        .collect()
}

/// Writes rows that are new.
///
/// # Errors
/// When the database fails, or holds a row of such a key that should not be there.
pub(super) async fn insert<'r, P: PgTable>(
    connection: &mut PgConnection,
    rows: impl Iterator<Item = &'r P::Row>,
) -> Result<(), StoreError> {
    write(connection, &P::bulk().insert, columns::<P>(rows)?).await
}

/// Writes rows, in place of whatever is there.
///
/// # Errors
/// When the database fails.
pub(super) async fn put<'r, P: PgTable>(
    connection: &mut PgConnection,
    rows: impl Iterator<Item = &'r P::Row>,
) -> Result<(), StoreError> {
    write(connection, &P::bulk().put, columns::<P>(rows)?).await
}

/// Removes rows.
///
/// # Errors
/// When the database fails.
pub(super) async fn remove<'p, P: PgTable>(
    connection: &mut PgConnection,
    rows: impl Iterator<Item = &'p Place<P>>,
) -> Result<(), StoreError>
where
    P::Key: 'p,
{
    write(connection, &P::bulk().remove, places::<P>(rows)?).await
}

async fn write(
    connection: &mut PgConnection,
    sql: &str,
    arguments: PgArguments,
) -> Result<(), StoreError> {
    sqlx::query_with(sql, arguments).execute(connection).await.map_err(failed).map(drop)
}

impl<P: PgTable> Touched<P> {
    /// Applies events to their rows; those that are needed are read first, all at once.
    ///
    /// # Errors
    /// When a row can't be read, or an event doesn't fit its row.
    pub(super) async fn apply_all(
        &mut self,
        connection: &mut PgConnection,
        events: &[Appended],
    ) -> Result<(), StoreError> {
        let wanted = self.wanted(events);
        if !wanted.is_empty() {
            let rows = sqlx::query_with(&P::bulk().read, places::<P>(wanted.iter())?)
                .fetch_all(connection)
                .await
                .map_err(failed)?;
            for row in &rows {
                let company = CompanyId(Uuid::from_columns(row)?);
                self.hold(company, P::Row::from_columns(row)?);
            }
        }
        for event in events {
            self.take(event, |_, _| Ok(None))?;
        }
        Ok(())
    }

    /// Applies events that begin rows, and answers these rows; `None` where one would have to be
    /// read.
    ///
    /// # Errors
    /// When an event doesn't fit its row.
    pub(super) fn insert_all(&mut self, events: &[Appended]) -> Result<Option<Rows>, StoreError> {
        if !self.wanted(events).is_empty() {
            return Ok(None);
        }
        for event in events {
            self.take(event, |_, _| Ok(None))?;
        }
        Ok(Some(Rows::new(P::TABLE, self.rows().map(whole::<P>).collect())))
    }

    /// Writes all rows: with one statement for the new ones, one for the others and one for those
    /// that are gone, as far as there are any.
    ///
    /// # Errors
    /// When the database fails.
    pub(super) async fn write_all(&self, connection: &mut PgConnection) -> Result<(), StoreError> {
        let mut new: Vec<&P::Row> = Vec::new();
        let mut changed: Vec<&P::Row> = Vec::new();
        let mut gone: Vec<&Place<P>> = Vec::new();
        for (place, touched) in self.iter() {
            match (&touched.row, touched.is_new) {
                (Some(row), true) => new.push(row),
                (Some(row), false) => changed.push(row),
                (None, _) => gone.push(place),
            }
        }
        if !new.is_empty() {
            insert::<P>(connection, new.into_iter()).await?;
        }
        if !changed.is_empty() {
            put::<P>(connection, changed.into_iter()).await?;
        }
        if !gone.is_empty() {
            remove::<P>(connection, gone.into_iter()).await?;
        }
        Ok(())
    }
}
