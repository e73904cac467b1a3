//! What is asked of a database by whoever verifies it: which rows there are, also where no reading
//! of a ledger comes by, and also those that can't be.

use async_trait::async_trait;
use std::fmt;
use token_ledger_domain::CompanyId;
use token_ledger_event_store::StoreError;

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

/// All rows of the log's tables.
#[async_trait]
pub trait Survey: Send + Sync {
    /// The heads of all ledgers, in the order of the companies.
    ///
    /// # Errors
    /// When the database fails, as for every other method here.
    async fn heads(&self) -> Result<Vec<SurveyedHead>, StoreError>;

    /// How far the projections that run behind have come.
    async fn checkpoints(&self) -> Result<Vec<SurveyedCheckpoint>, StoreError>;

    /// Whose rows there are, table by table; heads are no such rows.
    async fn owners(&self) -> Result<Vec<(Owner, &'static str)>, StoreError>;

    /// The first row of a company's ledger that stands before its first position.
    async fn before_first(&self, company: CompanyId) -> Result<Option<Stray>, StoreError>;

    /// The first private part of a company's ledger that stands behind its head.
    async fn part_behind_head(&self, company: CompanyId) -> Result<Option<Stray>, StoreError>;

    /// The first tile that a company's stored tree does not have.
    async fn stray_tile(&self, company: CompanyId) -> Result<Option<StrayTile>, StoreError>;

    /// What in the schema is not as the migrations make it, in words: triggers that keep events from
    /// being changed and are gone, and such that nobody knows.
    async fn schema_differences(&self) -> Result<Vec<String>, StoreError>;
}
