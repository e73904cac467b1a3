//! What can fail in a store, whichever database it is on.

use token_ledger_domain::CompanyId;
use token_ledger_domain::event::UndecodableEvent;

/// A failure of ours, as opposed to a refusal: the caller did nothing wrong.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// The database can't be used right now: locked, full, read-only, gone.
    #[error("the database can't be used: {0}")]
    Unavailable(String),
    /// What was asked for may have been done: the database failed before it said so, or after it.
    #[error("it may have been done, but {0}")]
    InDoubt(String),
    /// Another process writes to this database.
    #[error("{0}")]
    InUse(String),
    /// The file or server is not a ledger, or one of a newer release.
    #[error("{0}")]
    Incompatible(String),
    /// What is stored can't be.
    #[error("company {company}, position {position}: {problem}")]
    Corrupt {
        /// The company whose ledger it is.
        company: CompanyId,
        /// The position in the ledger, 0 where none is meant.
        position: u64,
        /// What is wrong.
        problem: String,
    },
    /// What is stored can't be read, where its place in a ledger is not known.
    #[error("what is stored can't be read: {0}")]
    Unreadable(String),
    /// The database refused a statement that should have worked.
    #[error("the database refused a statement: {0}")]
    Rejected(String),
    /// The clock is so far behind the ledger that times would stand still.
    #[error("the clock is {seconds} s behind the ledger's last event; set it right")]
    ClockBehind {
        /// How far, in seconds.
        seconds: i64,
    },
    /// The store is shutting down.
    #[error("the store is shutting down")]
    Closed,
}

impl StoreError {
    /// This failure of what comes after a change that stands, or may stand.
    #[must_use]
    pub fn after_change(self) -> Self {
        match self {
            Self::InDoubt(_) => self,
            other => Self::InDoubt(other.to_string()),
        }
    }

    /// A write has panicked, and was undone; the panic itself is on standard error.
    pub(crate) fn panicked() -> Self {
        Self::Rejected("writing it panicked".to_owned())
    }

    /// Nothing could be recorded of what was decided, for as long as a decision may be made anew.
    #[must_use]
    pub fn late() -> Self {
        Self::Unavailable("nothing could be recorded in time".to_owned())
    }

    /// This failure, to whoever was not tried because of it: nothing of theirs is in doubt.
    #[must_use]
    pub(crate) fn of_untried(&self) -> Self {
        match self {
            Self::InDoubt(text) => Self::Unavailable(text.clone()),
            other => other.clone(),
        }
    }

    /// Whether nothing else would fare better.
    #[must_use]
    pub const fn is_general(&self) -> bool {
        match self {
            Self::Corrupt { .. }
            | Self::Unreadable(_)
            | Self::Rejected(_)
            | Self::ClockBehind { .. } => false,
            Self::Unavailable(_)
            | Self::InDoubt(_)
            | Self::InUse(_)
            | Self::Incompatible(_)
            | Self::Closed => true,
        }
    }

    /// What can't be read, with its place in a company's ledger; any other failure as it is.
    #[must_use]
    pub fn at(self, company: CompanyId, position: u64) -> Self {
        match self {
            Self::Unreadable(problem) => Self::Corrupt { company, position, problem },
            other => other,
        }
    }

    /// An event that can't be decoded.
    pub fn undecodable(company: CompanyId, position: u64, source: &UndecodableEvent) -> Self {
        Self::Corrupt { company, position, problem: source.to_string() }
    }
}
