//! Rebuilding projections from the events: beside the live rows, then compared or merged.
//!
//! Events are read in pages, folded into staging rows outside the live database, and then, range
//! by range, caught up with the ledger and held against the live rows within one short
//! transaction, so that neither readers nor writers wait for long and no difference is an accident
//! of timing.

use crate::tokens::TokenRow;
use std::fmt;
use token_ledger_domain::{CompanyId, Timestamp};
use token_ledger_event_store::StoreError;
use uuid::Uuid;

/// Events that are read and folded at a time.
pub const PAGE: usize = 8_000;
/// Rows that are compared or merged in one transaction.
pub const RANGE: usize = 2_000;

/// A row that is not what the events say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The projection.
    pub projection: &'static str,
    /// The company.
    pub company: CompanyId,
    /// The row's key.
    pub key: String,
    /// The row that is served; none where one is missing.
    pub live: Option<String>,
    /// The row that the events give; none where there should be none.
    pub rebuilt: Option<String>,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: company {}, row {}: ", self.projection, self.company, self.key)?;
        match (&self.live, &self.rebuilt) {
            (None, _) => f.write_str("missing"),
            (_, None) => f.write_str("should not exist"),
            (Some(live), Some(rebuilt)) => write!(f, "is {live}, should be {rebuilt}"),
        }
    }
}

/// What to rebuild, and what to do with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The projections, by name.
    pub projections: Vec<&'static str>,
    /// One company only.
    pub company: Option<CompanyId>,
    /// Whether live rows that differ are put right, or only reported.
    pub merge: bool,
}

/// What a rebuild came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Events that were read.
    pub events: u64,
    /// Rows that were compared.
    pub rows: u64,
    /// Rows that differed: put right when merging.
    pub differences: u64,
    /// The first of the differences.
    pub examples: Vec<Difference>,
}

/// Differences that are described one by one; more are only counted.
pub const MAX_EXAMPLES: usize = 1000;

impl Outcome {
    /// Counts a difference.
    pub fn differs(&mut self, difference: Difference) {
        self.differences += 1;
        if self.examples.len() < MAX_EXAMPLES {
            self.examples.push(difference);
        }
    }
}

/// Told how far a rebuild has come: events read and events there are.
pub type OnProgress<'a> = dyn Fn(u64, u64) + Send + Sync + 'a;

/// Whoever can rebuild the read models of one database.
#[async_trait::async_trait]
pub trait Rebuilder: Send + Sync {
    /// Rebuilds projections, and either puts the live rows right or only compares them. `id` keeps
    /// scratch files of one machine apart.
    ///
    /// # Errors
    /// When an event can't be understood, or a database can't be read or written.
    async fn rebuild(
        &self,
        plan: &Plan,
        id: Uuid,
        progress: &OnProgress<'_>,
    ) -> Result<Outcome, RebuildError>;

    /// Folds a company's tokens as of a time and hands them over page by page, in the order of
    /// their identifiers.
    ///
    /// # Errors
    /// As for [`Self::rebuild`], and what `take` answers.
    async fn tokens_until(
        &self,
        company: CompanyId,
        until: Timestamp,
        id: Uuid,
        progress: &OnProgress<'_>,
        take: &mut (dyn FnMut(Vec<TokenRow>) -> std::io::Result<()> + Send),
    ) -> Result<(), RebuildError>;
}

/// Why a rebuild stopped.
#[derive(Debug, thiserror::Error)]
pub enum RebuildError {
    /// A projection of this name does not exist.
    #[error(
        "there is no projection {0:?}; there are tokens, keys, companies, members, clients and audit"
    )]
    Unknown(String),
    /// The store failed.
    #[error(transparent)]
    Failed(#[from] StoreError),
    /// Nobody took the rows.
    #[error("the rows can't be written: {0}")]
    Output(#[from] std::io::Error),
    /// The staging rows could not be kept.
    #[error("the staging rows can't be kept: {0}")]
    Staging(String),
}

/// The names of all projections, in the order in which they are rebuilt.
pub const ALL: [&str; 6] = ["companies", "members", "clients", "keys", "tokens", "audit"];

/// The projections of this name; all for `all`.
///
/// # Errors
/// When there is none.
pub fn named(name: &str) -> Result<Vec<&'static str>, RebuildError> {
    if name == "all" {
        return Ok(ALL.to_vec());
    }
    ALL.iter()
        .find(|known| **known == name)
        .map(|known| vec![*known])
        .ok_or_else(|| RebuildError::Unknown(name.to_owned()))
}
