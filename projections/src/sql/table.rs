//! How a projection's rows are kept: its columns, its statements, and a row to and from them.

use super::{Columns, FromColumns, Kind, Statement, Unreadable, Value};
use crate::index::VerificationIndex;
use crate::projection::Projection;
use token_ledger_domain::CompanyId;
use token_ledger_event_store::StoreError;
use uuid::Uuid;

/// A key that a column can hold.
pub trait Key: Copy + Ord {
    /// For a statement's parameter.
    fn value(&self) -> Value<'static>;

    /// From a row's column.
    ///
    /// # Errors
    /// When the column holds what it can't.
    fn from_column<C: Columns>(row: &C, column: usize) -> Result<Self, Unreadable>;
}

impl Key for Uuid {
    fn value(&self) -> Value<'static> {
        (*self).into()
    }

    fn from_column<C: Columns>(row: &C, column: usize) -> Result<Self, Unreadable> {
        row.uuid(column)
    }
}

impl Key for u64 {
    fn value(&self) -> Value<'static> {
        (*self).into()
    }

    fn from_column<C: Columns>(row: &C, column: usize) -> Result<Self, Unreadable> {
        row.number(column)
    }
}

/// A projection whose rows are kept in a table.
pub trait Table: Projection<Key: Key, Row: FromColumns> {
    /// The table.
    const TABLE: &'static str;
    /// The column of the key; for a table with one row per company, the company's own.
    const KEY: &'static str;
    /// All columns, in the order in which a row is read and written.
    const COLUMNS: &'static [&'static str];
    /// What they hold, in the same order.
    const KINDS: &'static [Kind];

    /// The statements.
    fn statements() -> &'static Statements;

    /// Puts a row's values one after the other, in the order of the columns.
    fn values<'r>(row: &'r Self::Row, put: &mut impl FnMut(Value<'r>));

    /// Tells the verification index what a row of the company was put right to; `None` when it was
    /// removed. Of whichever company, where none is named.
    fn refresh(
        _index: &VerificationIndex,
        _company: Option<CompanyId>,
        _key: Self::Key,
        _row: Option<&Self::Row>,
    ) {
    }

    /// Tells the verification index of a row, which has not changed since or will be told of again.
    fn follow(_index: &VerificationIndex, _row: &Self::Row) {}

    /// The key of a row that may hold something else that it can't.
    ///
    /// # Errors
    /// When the key is none: no event leads to such a row, and nothing names it.
    fn key_of<C: Columns>(row: &C) -> Result<Self::Key, StoreError> {
        let column = Self::COLUMNS.iter().position(|column| *column == Self::KEY);
        Self::Key::from_column(row, column.unwrap_or_default())
            .map_err(|error| stray::<Self>(&error))
    }

    /// The query of a company's rows in the order of their keys, the first ones or those behind a key.
    fn page(company: CompanyId, after: Option<Self::Key>, limit: usize) -> Statement {
        let Statements { first, range, .. } = Self::statements();
        let query = match after {
            None => Statement::new(first.as_str()).with(company),
            Some(key) => Statement::new(range.as_str()).with(company).with(key.value()),
        };
        query.with(limit)
    }

    /// The columns with this alias of the table before each.
    fn columns_of(alias: &str) -> String {
        let columns: Vec<String> =
            Self::COLUMNS.iter().map(|column| format!("{alias}.{column}")).collect();
        columns.join(", ")
    }
}

/// No event leads to a row whose key or company can't be read.
pub fn stray<P: Table + ?Sized>(unreadable: &Unreadable) -> StoreError {
    let table = P::TABLE;
    StoreError::Unreadable(format!(
        "a row of the table {table}, {unreadable}: no event leads to it; remove it by hand"
    ))
}

/// The companies that have rows in a table whose primary key, or a unique one, begins with them: goes
/// from one to the next.
pub(super) fn companies_in(table: &str) -> String {
    format!(
        "WITH RECURSIVE found (id) AS (\
         SELECT (SELECT company_id FROM {table} ORDER BY company_id LIMIT 1) UNION ALL \
         SELECT (SELECT company_id FROM {table} WHERE company_id > found.id \
         ORDER BY company_id LIMIT 1) FROM found WHERE found.id IS NOT NULL) \
         SELECT id FROM found WHERE id IS NOT NULL"
    )
}

/// The statements of one table.
#[derive(Debug)]
pub struct Statements {
    /// One row by company and key.
    pub one: String,
    /// The first rows of a company, in the order of their keys.
    pub first: String,
    /// Those behind a key.
    pub range: String,
    /// Inserts a row where there is none.
    pub insert: String,
    /// Puts a row in place of whatever is there.
    pub put: String,
    /// Removes a row.
    pub remove: String,
    /// The companies that have rows. Goes from one to the next by the primary key.
    pub companies: String,
}

impl Statements {
    /// The statements of a table with this key and these columns.
    pub fn new(table: &str, key: &str, columns: &[&str]) -> Self {
        let list = columns.join(", ");
        let places: Vec<String> = (1..=columns.len()).map(|n| format!("?{n}")).collect();
        let insert = format!("INSERT INTO {table} ({list}) VALUES ({})", places.join(", "));
        Self {
            one: format!("SELECT {list} FROM {table} WHERE company_id = ?1 AND {key} = ?2"),
            first: format!(
                "SELECT {list} FROM {table} WHERE company_id = ?1 ORDER BY {key} LIMIT ?2"
            ),
            range: format!(
                "SELECT {list} FROM {table} WHERE company_id = ?1 AND {key} > ?2 \
                 ORDER BY {key} LIMIT ?3"
            ),
            put: format!("{insert} {}", Self::on_conflict(key, columns)),
            insert,
            remove: format!("DELETE FROM {table} WHERE company_id = ?1 AND {key} = ?2"),
            companies: companies_in(table),
        }
    }

    /// What makes an insertion put its row in place of the one that is there.
    pub fn on_conflict(key: &str, columns: &[&str]) -> String {
        let target =
            if key == "company_id" { key.to_owned() } else { format!("company_id, {key}") };
        let set: Vec<String> = columns
            .iter()
            .filter(|column| **column != "company_id" && **column != key)
            .map(|column| format!("{column} = excluded.{column}"))
            .collect();
        format!("ON CONFLICT ({target}) DO UPDATE SET {}", set.join(", "))
    }
}

/// Describes the table of a projection: its columns with what they hold, and the values of a row.
macro_rules! table {
    ($projection:ty, $table:literal, $key:literal,
     {$($column:literal: $kind:ident),* $(,)?},
     $row:ident => [$($value:expr),* $(,)?]
     $(, index $forget:ident($id:path), $apply:ident)?) => {
        impl $crate::sql::Table for $projection {
            const TABLE: &'static str = $table;
            const KEY: &'static str = $key;
            const COLUMNS: &'static [&'static str] = &[$($column),*];
            const KINDS: &'static [$crate::sql::Kind] = &[$($crate::sql::Kind::$kind),*];

            fn statements() -> &'static $crate::sql::Statements {
                static STATEMENTS: std::sync::LazyLock<$crate::sql::Statements> =
                    std::sync::LazyLock::new(|| {
                        $crate::sql::Statements::new($table, $key, &[$($column),*])
                    });
                &STATEMENTS
            }

            fn values<'r>(
                $row: &'r Self::Row,
                put: &mut impl FnMut($crate::sql::Value<'r>),
            ) {
                $(put($value.into());)*
            }

            $(fn refresh(
                index: &$crate::index::VerificationIndex,
                company: Option<token_ledger_domain::CompanyId>,
                key: Self::Key,
                row: Option<&Self::Row>,
            ) {
                index.$forget(company, $id(key));
                if let Some(row) = row {
                    index.$apply(row);
                }
            }

            fn follow(index: &$crate::index::VerificationIndex, row: &Self::Row) {
                index.$apply(row);
            })?
        }
    };
}
pub(crate) use table;
