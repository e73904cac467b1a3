//! What whoever verifies a database finds in it: which rows there are, also where no reading of a
//! ledger comes by, and also those that can't be.

use std::fmt;
use token_ledger_domain::CompanyId;

/// The company that a row is of.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Owner {
    /// A company.
    Company(CompanyId),
    /// Something that is no identifier, in a reader's words.
    Unreadable(String),
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Company(company) => company.fmt(f),
            Self::Unreadable(text) => f.write_str(text),
        }
    }
}

/// The head of a ledger, as far as it can be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SurveyedHead {
    /// The company.
    pub owner: Owner,
    /// The position of the last event, or why the head can't be read.
    pub position: Result<u64, String>,
}

/// How far a projection that runs behind has come in one company's ledger, as far as it can be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SurveyedCheckpoint {
    /// The company.
    pub owner: Owner,
    /// The projection and the last position that is in its rows, or why they can't be read.
    pub place: Result<(String, u64), String>,
}

/// A row of the log that stands where no event is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stray {
    /// The table.
    pub table: &'static str,
    /// The position at which it stands.
    pub position: i64,
}

/// A tile, or hashes at its end, that a stored tree of this size doesn't have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StrayTile {
    /// The level.
    pub level: i64,
    /// The index in the level.
    pub index: i64,
    /// How many entries the stored tree has.
    pub size: u64,
}
