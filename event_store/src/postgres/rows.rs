//! Rows of a table as one parameter: an array of the table's own row type.
//!
//! The server takes such an array apart once for each row; columns that come as an array each are
//! taken apart, kept and read once for each of their values.

use sqlx::encode::IsNull;
use sqlx::error::BoxDynError;
use sqlx::postgres::{PgArgumentBuffer, PgTypeInfo};
use sqlx::{Encode, Postgres, Type};
use uuid::Uuid;

/// The types of fields, as PostgreSQL's catalog numbers its own.
const UUID: u32 = 2950;
const BIGINT: u32 = 20;
const TEXT: u32 = 25;
const BYTEA: u32 = 17;
const JSON: u32 = 114;
/// The length of a field that is null.
const NULL: i32 = -1;

/// A row of a table, its fields in the order of the table's columns.
#[derive(Clone, Debug)]
pub struct Row {
    table: &'static str,
    fields: u32,
    /// Type, length and content of each field.
    content: Vec<u8>,
}

impl Row {
    /// An empty row of this table.
    pub const fn of(table: &'static str) -> Self {
        Self { table, fields: 0, content: Vec::new() }
    }

    /// Adds a `uuid`.
    pub fn uuid(&mut self, value: Option<Uuid>) -> &mut Self {
        self.field(UUID, value.as_ref().map(|id| &id.as_bytes()[..]))
    }

    /// Adds a `bigint`.
    pub fn int(&mut self, value: Option<i64>) -> &mut Self {
        self.field(BIGINT, value.map(i64::to_be_bytes).as_ref().map(|bytes| &bytes[..]))
    }

    /// Adds a `text`.
    pub fn text(&mut self, value: Option<&str>) -> &mut Self {
        self.field(TEXT, value.map(str::as_bytes))
    }

    /// Adds a `bytea`.
    pub fn bytes(&mut self, value: Option<&[u8]>) -> &mut Self {
        self.field(BYTEA, value)
    }

    /// Adds a `json`.
    pub fn json(&mut self, text: &str) -> &mut Self {
        self.field(JSON, Some(text.as_bytes()))
    }

    fn field(&mut self, kind: u32, value: Option<&[u8]>) -> &mut Self {
        self.fields += 1;
        self.content.extend_from_slice(&kind.to_be_bytes());
        // What is too long to be counted is refused by the server, which misses its end.
        let length = value.map_or(NULL, |value| i32::try_from(value.len()).unwrap_or(i32::MAX));
        self.content.extend_from_slice(&length.to_be_bytes());
        self.content.extend_from_slice(value.unwrap_or_default());
        self
    }
}

impl Type<Postgres> for Row {
    /// Of some table; [`Encode::produces`] says of which one.
    fn type_info() -> PgTypeInfo {
        PgTypeInfo::with_name("record")
    }
}

impl Encode<'_, Postgres> for Row {
    fn produces(&self) -> Option<PgTypeInfo> {
        Some(PgTypeInfo::with_name(self.table))
    }

    fn encode_by_ref(&self, to: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        to.extend_from_slice(&self.fields.to_be_bytes());
        to.extend_from_slice(&self.content);
        Ok(IsNull::No)
    }
}

/// Rows that a table gets, all of them new.
#[derive(Clone, Debug)]
pub struct Rows {
    table: &'static str,
    rows: Vec<Row>,
}

impl Rows {
    /// These rows of a table.
    pub const fn new(table: &'static str, rows: Vec<Row>) -> Self {
        Self { table, rows }
    }

    /// The statement that inserts them from this parameter, where the head was moved.
    pub(super) fn insertion(&self, parameter: usize) -> String {
        let table = self.table;
        format!("INSERT INTO {table} SELECT n.* FROM head, unnest(${parameter}::{table}[]) AS n")
    }
}

impl Type<Postgres> for Rows {
    /// Of some table; [`Encode::produces`] says of which one.
    fn type_info() -> PgTypeInfo {
        PgTypeInfo::with_name("_record")
    }
}

impl Encode<'_, Postgres> for Rows {
    fn produces(&self) -> Option<PgTypeInfo> {
        Some(PgTypeInfo::array_of(self.table))
    }

    fn encode_by_ref(&self, to: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        self.rows.as_slice().encode_by_ref(to)
    }
}
