//! Reading a row, whichever database it comes from.

use std::fmt::Display;
use std::str::FromStr;
use token_ledger_domain::{Actor, CompanyId, Digest, Name, Timestamp};
use token_ledger_event_store::{PrivatePart, RecordedEvent, StoreError};
use uuid::Uuid;

/// A column that holds what it can't.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("column {column}: {problem}")]
pub struct Unreadable {
    /// The column's name, or its number where it has none.
    pub column: String,
    /// What is wrong with it.
    pub problem: String,
}

impl From<Unreadable> for StoreError {
    fn from(unreadable: Unreadable) -> Self {
        Self::Unreadable(unreadable.to_string())
    }
}

/// The columns of a row, by number from 0.
pub trait Columns {
    /// The name of a column, to name it in an error.
    fn column_name(&self, column: usize) -> String;

    /// An identifier.
    ///
    /// # Errors
    /// When the column holds something else, as for every other method here.
    fn optional_uuid(&self, column: usize) -> Result<Option<Uuid>, Unreadable>;

    /// A number.
    fn optional_int(&self, column: usize) -> Result<Option<i64>, Unreadable>;

    /// A text.
    fn optional_text(&self, column: usize) -> Result<Option<&str>, Unreadable>;

    /// Bytes.
    fn optional_bytes(&self, column: usize) -> Result<Option<&[u8]>, Unreadable>;

    /// The event in the first columns, which are those of `EVENT_COLUMNS`.
    fn event(&self) -> Result<RecordedEvent, Unreadable>;

    /// What is wrong with a column.
    fn unreadable(&self, column: usize, problem: impl Display) -> Unreadable {
        Unreadable { column: self.column_name(column), problem: problem.to_string() }
    }

    /// An identifier that has to be there.
    fn uuid(&self, column: usize) -> Result<Uuid, Unreadable> {
        self.optional_uuid(column)?.ok_or_else(|| missing(self, column))
    }

    /// A company's identifier.
    fn company(&self, column: usize) -> Result<CompanyId, Unreadable> {
        self.uuid(column).map(CompanyId)
    }

    /// A number that has to be there.
    fn int(&self, column: usize) -> Result<i64, Unreadable> {
        self.optional_int(column)?.ok_or_else(|| missing(self, column))
    }

    /// A number of this type.
    fn number<T: TryFrom<i64>>(&self, column: usize) -> Result<T, Unreadable> {
        let number = self.int(column)?;
        T::try_from(number)
            .map_err(|_| self.unreadable(column, format!("{number} is out of range")))
    }

    /// 0 or 1.
    fn truth(&self, column: usize) -> Result<bool, Unreadable> {
        self.int(column).map(|number| number != 0)
    }

    /// An instant.
    fn time(&self, column: usize) -> Result<Timestamp, Unreadable> {
        self.int(column).map(Timestamp::from_micros)
    }

    /// An instant that may be missing.
    fn optional_time(&self, column: usize) -> Result<Option<Timestamp>, Unreadable> {
        Ok(self.optional_int(column)?.map(Timestamp::from_micros))
    }

    /// A text that has to be there.
    fn text(&self, column: usize) -> Result<&str, Unreadable> {
        self.optional_text(column)?.ok_or_else(|| missing(self, column))
    }

    /// A text of this form.
    fn parsed<T: FromStr<Err: Display>>(&self, column: usize) -> Result<T, Unreadable> {
        self.text(column)?.parse().map_err(|error| self.unreadable(column, error))
    }

    /// A name.
    fn name(&self, column: usize) -> Result<Name, Unreadable> {
        Name::stored(self.text(column)?).map_err(|error| self.unreadable(column, error))
    }

    /// Who did something.
    fn actor(&self, kind: usize, id: usize) -> Result<Actor, Unreadable> {
        Ok(Actor { kind: self.parsed(kind)?, id: self.uuid(id)? })
    }

    /// A digest.
    fn digest(&self, column: usize) -> Result<Digest, Unreadable> {
        self.optional_digest(column)?.ok_or_else(|| missing(self, column))
    }

    /// A digest that may be missing.
    fn optional_digest(&self, column: usize) -> Result<Option<Digest>, Unreadable> {
        let Some(bytes) = self.optional_bytes(column)? else { return Ok(None) };
        <[u8; 32]>::try_from(bytes)
            .map(|digest| Some(Digest(digest)))
            .map_err(|_| self.unreadable(column, format!("{} bytes are no digest", bytes.len())))
    }

    /// A private part; what can't be read shows nothing.
    fn private(&self, column: usize) -> Result<Option<PrivatePart>, Unreadable> {
        Ok(self.optional_text(column)?.and_then(|text| serde_json::from_str(text).ok()))
    }
}

fn missing<C: Columns + ?Sized>(row: &C, column: usize) -> Unreadable {
    Unreadable { column: row.column_name(column), problem: "is missing".to_owned() }
}

/// What can be read from a row.
pub trait FromColumns: Sized {
    /// Reads it.
    ///
    /// # Errors
    /// When a column holds what it can't.
    fn from_columns<C: Columns>(row: &C) -> Result<Self, Unreadable>;
}

/// A single number, such as a count.
impl FromColumns for i64 {
    fn from_columns<C: Columns>(row: &C) -> Result<Self, Unreadable> {
        row.int(0)
    }
}

/// A single identifier.
impl FromColumns for Uuid {
    fn from_columns<C: Columns>(row: &C) -> Result<Self, Unreadable> {
        row.uuid(0)
    }
}

/// A single text.
impl FromColumns for String {
    fn from_columns<C: Columns>(row: &C) -> Result<Self, Unreadable> {
        row.text(0).map(str::to_owned)
    }
}
