//! What is asked of a ledger, and what becomes of it.

use crate::commit::Idempotency;
use crate::error::StoreError;
use crate::store::Replay;
use token_ledger_domain::Timestamp;

/// A command with everything that belongs to it.
#[derive(Clone, Debug)]
pub struct Request<C> {
    /// The aggregate.
    pub id: uuid::Uuid,
    /// What is asked.
    pub command: C,
    /// The sequence that the aggregate must stand at (`If-Match`), if the caller cares.
    pub expected_version: Option<u64>,
    /// The key under which a repeat is recognised.
    pub idempotency: Option<Idempotency>,
}

impl<C> Request<C> {
    /// A request without conditions.
    pub fn new(id: impl Into<uuid::Uuid>, command: C) -> Self {
        Self { id: id.into(), command, expected_version: None, idempotency: None }
    }
}

/// What became of a command that was not refused.
#[derive(Clone, Debug)]
pub enum Executed<A> {
    /// It is done, and recorded.
    Done {
        /// The state after it.
        state: A,
        /// The stream's sequence after it.
        sequence: u64,
        /// The position of its last event; `None` when there was nothing to change.
        position: Option<u64>,
        /// When it was recorded.
        recorded_at: Timestamp,
    },
    /// The same request was done before; nothing happened now.
    Repeated(Replay),
}

/// Why a command was not carried out. Nothing of it is in the ledger, unless it failed in doubt.
#[derive(Debug, thiserror::Error)]
pub enum ExecuteError<R> {
    /// There is no such company.
    #[error("there is no such company")]
    NoCompany,
    /// The rules say no.
    #[error(transparent)]
    Refused(R),
    /// The aggregate is not at the version that the caller named.
    #[error("it is at version {actual} by now")]
    VersionMismatch {
        /// The version that it is at.
        actual: u64,
    },
    /// Others kept changing the same thing.
    #[error("others keep changing the same thing")]
    Contended,
    /// What let the request through ended before it could be carried out.
    #[error("what let the request through has ended meanwhile")]
    Lapsed,
    /// The idempotency key belongs to another request.
    #[error("the idempotency key was used for another request")]
    KeyReused,
    /// A failure of ours.
    #[error(transparent)]
    Failed(#[from] StoreError),
}
