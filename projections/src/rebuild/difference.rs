//! A row that is not what the events say, in a reader's words.

use super::{Readable, UNREADABLE};
use crate::sql::{Table, Value};
use std::fmt;
use token_ledger_domain::{CompanyId, Digest, Timestamp};

/// What the columns of a row hold, as text.
pub type Held = Vec<(&'static str, String)>;

/// A row that is not what the events say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The projection.
    pub projection: &'static str,
    /// The company.
    pub company: CompanyId,
    /// The row's key.
    pub key: String,
    /// The row that is served, or why it can't be read; none where one is missing.
    pub live: Option<Result<Held, String>>,
    /// The row that the events give; none where there should be none.
    pub rebuilt: Option<Held>,
}

impl Difference {
    /// What a row is, and what it should be.
    pub(crate) fn of<P: Table>(
        company: CompanyId,
        key: P::Key,
        live: Option<Readable<P::Row>>,
        rebuilt: Option<P::Row>,
    ) -> Self {
        Self {
            projection: P::NAME,
            company,
            key: format!("{key:?}"),
            live: live.map(|row| row.map(|row| held::<P>(&row))),
            rebuilt: rebuilt.map(|row| held::<P>(&row)),
        }
    }

    /// A checkpoint that claims more than there is, and where it should be.
    pub(crate) fn of_checkpoint<P: Table>(company: CompanyId, claimed: u64, position: u64) -> Self {
        let place = |position: u64| vec![("position", position.to_string())];
        Self {
            projection: P::NAME,
            company,
            key: "checkpoint".to_owned(),
            live: Some(match claimed {
                UNREADABLE => Err("it holds what it can't".to_owned()),
                claimed => Ok(place(claimed)),
            }),
            rebuilt: Some(place(position)),
        }
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: company {}, row {}: ", self.projection, self.company, self.key)?;
        match (&self.live, &self.rebuilt) {
            (None, _) => f.write_str("missing"),
            (_, None) => f.write_str("should not exist"),
            (Some(Err(problem)), Some(_)) => write!(f, "can't be read: {problem}"),
            (Some(Ok(live)), Some(rebuilt)) => {
                let pairs = live.iter().zip(rebuilt).filter(|(live, rebuilt)| live != rebuilt);
                let told: Vec<String> = pairs
                    .map(|((column, is), (_, should))| {
                        format!("{column} is {is}, should be {should}")
                    })
                    .collect();
                f.write_str(&told.join("; "))
            }
        }
    }
}

fn held<P: Table>(row: &P::Row) -> Held {
    let mut columns = P::COLUMNS.iter();
    let mut held = Held::with_capacity(P::COLUMNS.len());
    P::values(row, &mut |value| {
        held.extend(columns.next().map(|column| (*column, in_words(column, &value))));
    });
    held
}

/// A value as people read it. Instants are numbers in columns that say so by their names.
fn in_words(column: &str, value: &Value<'_>) -> String {
    let known = match value {
        Value::Uuid(id) => id.map(|id| id.to_string()),
        Value::Int(number) if column.ends_with("_at") => {
            number.map(|micros| Timestamp::from_micros(micros).to_string())
        }
        Value::Int(number) => number.map(|number| number.to_string()),
        Value::Text(text) => text.as_ref().map(|text| format!("{text:?}")),
        Value::Bytes(bytes) => bytes.as_ref().map(|bytes| {
            <[u8; 32]>::try_from(&**bytes)
                .map_or_else(|_| format!("{bytes:?}"), |digest| Digest(digest).to_string())
        }),
    };
    known.unwrap_or_else(|| "empty".to_owned())
}
