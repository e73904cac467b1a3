//! A ledger that is not the one that was followed.

use token_ledger_domain::CompanyId;
use token_ledger_event_store::{Point, StoreError};

/// A ledger in which what was seen of it doesn't stand any more: the database was put back to an
/// earlier state. What is known of what followed is wrong from then on, and stays so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PutBack {
    /// The company.
    pub company: CompanyId,
    /// How far its ledger was seen to have come.
    pub seen: Point,
    /// The position at which it ends; none where it goes on with other events.
    pub end: Option<u64>,
}

impl PutBack {
    /// What to tell the operator.
    pub fn error(self) -> StoreError {
        let Self { company, seen: Point { position, .. }, end } = self;
        let found = if end.is_some() {
            format!("the ledger ends here, but this process has seen it go on to {position}")
        } else {
            "another event than the one that this process has seen stands here".to_owned()
        };
        let problem = format!(
            "{found}: the database was put back to an earlier state; start the process again"
        );
        StoreError::Corrupt { company, position: end.unwrap_or(position), problem }
    }
}
