//! What is asked of a database about trees and their checkpoints.

use super::edge::TileData;
use async_trait::async_trait;
use token_ledger_domain::{CompanyId, Timestamp};
use token_ledger_event_store::StoreError;

/// A signed checkpoint as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedCheckpoint {
    /// The company.
    pub company_id: CompanyId,
    /// The origin that it was signed for.
    pub origin: String,
    /// The number of entries.
    pub size: u64,
    /// The root of their tree.
    pub root: [u8; 32],
    /// The key that it was signed with, in note form.
    pub verifier_key: String,
    /// The signed note, exactly.
    pub note: String,
    /// Signature lines of witnesses, each with its line break.
    pub cosignatures: String,
    /// When it was signed.
    pub signed_at: Timestamp,
}

/// How far the log of an origin has been signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogHead {
    /// The origin.
    pub origin: String,
    /// The key that it is signed with, in note form.
    pub verifier_key: String,
    /// The number of entries of the largest tree that was signed.
    pub size: u64,
}

/// Trees and checkpoints in some database.
#[async_trait]
pub trait Trees: Send + Sync {
    /// The number of leaves that the company's tree has.
    ///
    /// # Errors
    /// When the database fails, as for every other method here.
    async fn size(&self, company: CompanyId) -> Result<u64, StoreError>;

    /// The stored tiles among those asked for, by level and index.
    async fn tiles(
        &self,
        company: CompanyId,
        tiles: &[(u8, u64)],
    ) -> Result<Vec<TileData>, StoreError>;

    /// Stored tiles of a level, from an index on, in order.
    async fn level(
        &self,
        company: CompanyId,
        level: u8,
        from: u64,
        limit: usize,
    ) -> Result<Vec<TileData>, StoreError>;

    /// The entry hashes of the stream predecessors of the events behind `after`, up to `last`: by
    /// position of the event, none for the first one of a stream.
    async fn predecessors(
        &self,
        company: CompanyId,
        after: u64,
        last: u64,
    ) -> Result<Vec<(u64, [u8; 32])>, StoreError>;

    /// The checkpoint of the largest tree that was signed for this origin.
    async fn last_checkpoint(
        &self,
        company: CompanyId,
        origin: &str,
    ) -> Result<Option<SignedCheckpoint>, StoreError>;

    /// The checkpoint of this size that was signed for this origin.
    async fn checkpoint(
        &self,
        company: CompanyId,
        origin: &str,
        size: u64,
    ) -> Result<Option<SignedCheckpoint>, StoreError>;

    /// Checkpoints of a company, of all origins, in the order in which they were signed; the newest
    /// first where `descending`. Behind the one with this time, origin and size.
    async fn checkpoints(
        &self,
        company: CompanyId,
        after: Option<(Timestamp, String, u64)>,
        descending: bool,
        limit: usize,
    ) -> Result<Vec<SignedCheckpoint>, StoreError>;

    /// Builds the company's tree anew from its events; tells how many leaves there are so far, and
    /// answers how many in the end.
    async fn rebuild(
        &self,
        company: CompanyId,
        tell: &(dyn Fn(u64) + Send + Sync),
    ) -> Result<u64, StoreError>;

    /// How far each log of a company has been signed, in the order of the origins.
    async fn log_heads(&self, company: CompanyId) -> Result<Vec<LogHead>, StoreError>;

    /// Names the key that a company's log is signed with, in note form, unless one was named
    /// before; answers the one that counts.
    async fn name_key(
        &self,
        company: CompanyId,
        origin: &str,
        verifier_key: &str,
    ) -> Result<String, StoreError>;

    /// Stores a checkpoint; `false`, and nothing is stored, where one of this origin is as large or
    /// was signed with another key.
    async fn keep_checkpoint(&self, checkpoint: &SignedCheckpoint) -> Result<bool, StoreError>;

    /// Adds a witness's signature line to a checkpoint, unless it has one of this witness.
    async fn keep_cosignature(
        &self,
        checkpoint: &SignedCheckpoint,
        line: &str,
    ) -> Result<(), StoreError>;
}
