//! What is asked of a database when a person is erased.

use async_trait::async_trait;
use token_ledger_domain::{CompanyId, MemberId, PersonId};
use token_ledger_event_store::StoreError;
use uuid::Uuid;

/// Erases what names or describes a person. Everything can be asked again.
#[async_trait]
pub trait Erasures: Send + Sync {
    /// Removes private parts of events, with their salts.
    ///
    /// # Errors
    /// When the database fails, as for every other method here.
    async fn private_parts(&self, company: CompanyId, positions: &[u64]) -> Result<(), StoreError>;

    /// Removes where the attempts of these actors came from and with what, in this company and on
    /// the platform.
    async fn attempts(&self, company: CompanyId, actors: &[Uuid]) -> Result<(), StoreError>;

    /// Removes the person's account with all that belongs to it, unless the person is a member of
    /// some company by a membership that is none of those that were erased; answers whether it is
    /// gone.
    async fn account(&self, person: PersonId, erased: &[MemberId]) -> Result<bool, StoreError>;

    /// Overwrites what was erased, as far as the database allows.
    async fn overwrite(&self) -> Result<(), StoreError>;
}
