//! What a projection is.

use std::fmt::Debug;
use std::hash::Hash;
use token_ledger_event_store::{Appended, StoreError};

/// A read model: one row per key, each row the result of its events in order.
pub trait Projection: Debug + Send + Sync + 'static {
    /// What tells the rows of one company apart.
    type Key: Copy + Debug + Ord + Hash + Send + Sync;
    /// A row.
    type Row: Clone + Debug + PartialEq + Send + Sync;
    /// The name that people and checkpoints call it by.
    const NAME: &'static str;
    /// Raised whenever the function gives other rows for the same events, so that old rows are
    /// rebuilt.
    const VERSION: u32;

    /// Whether it runs behind the log rather than in the append transaction.
    const BEHIND: bool = false;

    /// The row that the event is about, if it is about any.
    fn key(event: &Appended) -> Option<Self::Key>;

    /// Whether the event is the first one about its row.
    fn begins(event: &Appended) -> bool;

    /// The row after the event; `None` when there is none any more.
    ///
    /// # Errors
    /// When the event can't follow the row, which no healthy ledger holds.
    fn apply(row: Option<Self::Row>, event: &Appended) -> Result<Option<Self::Row>, Misfit>;

    /// The key of a row.
    fn row_key(row: &Self::Row) -> Self::Key;

    /// The position of the last event about a row.
    fn row_position(row: &Self::Row) -> u64;
}

/// An event that can't follow the row that it is about.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{event_type} can't follow what {projection} holds")]
pub struct Misfit {
    /// The projection.
    pub projection: &'static str,
    /// The event's type.
    pub event_type: &'static str,
}

impl Misfit {
    /// The misfit of this event and this projection.
    pub fn of<P: Projection>(event: &Appended) -> Self {
        Self { projection: P::NAME, event_type: event.event.type_name() }
    }

    /// The misfit as the store's failure.
    pub fn at(&self, event: &Appended) -> StoreError {
        StoreError::Corrupt {
            company: event.company,
            position: event.position,
            problem: self.to_string(),
        }
    }
}
