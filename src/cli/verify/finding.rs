//! What is found wrong with a ledger, and why it is not read any further.

use super::Failure;
use crate::app::OutsideError;
use token_ledger_event_store::StoreError;
use token_ledger_projections::survey::Stray;

/// The first thing that is wrong with a ledger.
#[derive(Debug)]
pub(super) struct Finding {
    /// The position; 0 where none is meant.
    pub(super) position: i64,
    pub(super) problem: String,
}

impl Finding {
    pub(super) fn new(position: u64, problem: impl Into<String>) -> Self {
        let position = i64::try_from(position).unwrap_or(i64::MAX);
        Self { position, problem: problem.into() }
    }

    /// A row that stands before the first position.
    pub(super) fn before_first(stray: Stray) -> Self {
        let Stray { table, position } = stray;
        let problem = format!("a row of {table} before the ledger's first position");
        Self { position, problem }
    }

    /// A private part that stands behind the last event.
    pub(super) fn behind_head(stray: Stray) -> Self {
        let Stray { table, position } = stray;
        Self { position, problem: format!("a row of {table} behind the ledger's head") }
    }

    pub(super) fn at<T>(position: u64, problem: impl Into<String>) -> Result<T, Self> {
        Err(Self::new(position, problem))
    }
}

/// Why a ledger is not read any further.
#[derive(Debug)]
pub(super) enum Stop {
    /// Something is wrong with it.
    Found(Finding),
    /// It can't be read at all.
    Failed(Failure),
}

impl From<Finding> for Stop {
    fn from(finding: Finding) -> Self {
        Self::Found(finding)
    }
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl From<OutsideError> for Stop {
    fn from(error: OutsideError) -> Self {
        Self::Failed(error.into())
    }
}

impl From<StoreError> for Stop {
    fn from(error: StoreError) -> Self {
        Self::unreadable("what is stored")(error)
    }
}

impl Stop {
    /// What became of reading this. What is stored and can't be read is found wrong; all else that
    /// fails is a failure.
    pub(super) fn unreadable(what: &str) -> impl Fn(StoreError) -> Self {
        move |error| {
            let (position, problem) = match error {
                StoreError::Corrupt { position, problem, .. } => (position, problem),
                StoreError::Unreadable(problem) => (0, problem),
                failure => return Self::Failed(failure.into()),
            };
            Finding::new(position, format!("{what} can't be read: {problem}")).into()
        }
    }
}
