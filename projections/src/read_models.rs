//! What the application asks of the read models, whichever database they are in.

use crate::attempts::{Attempt, AttemptFilter, AttemptKind};
use crate::clients::ClientRow;
use crate::companies::CompanyRow;
use crate::index::Use;
use crate::keys::KeyRow;
use crate::members::MemberRow;
use crate::tokens::{Status, TokenRow};
use async_trait::async_trait;
use std::collections::{BTreeMap, BTreeSet};
use token_ledger_domain::{ClientId, CompanyId, Digest, KeyId, Timestamp, TokenId};
use token_ledger_event_store::{PrivatePart, RecordedEvent, StoreError};
use uuid::Uuid;

/// A token with what is kept beside its row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenRecord {
    /// The row.
    pub row: TokenRow,
    /// The creator's name, unless erased.
    pub created_by_name: Option<String>,
    /// When it was last seen to be used.
    pub last_used_at: Option<Timestamp>,
    /// The address that it was used from then, as far as known.
    pub last_used_from: Option<String>,
}

/// A key with what is kept beside its row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRecord {
    /// The row.
    pub row: KeyRow,
    /// The creator's name, unless erased.
    pub created_by_name: Option<String>,
}

/// What a list of tokens is ordered by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenSort {
    /// When they were created.
    CreatedAt,
    /// When their term ends.
    ExpiresAt,
    /// Their name, by code points.
    Name,
    /// When they were last used; never counts as long ago.
    LastUsedAt,
}

/// Where a page of a list goes on: behind the row with this sort value and this identifier.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct After {
    /// The row's value in the order's column.
    pub value: SortValue,
    /// The row's identifier, which settles ties.
    pub id: Uuid,
}

/// A value in the order's column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SortValue {
    /// An instant.
    Time(Timestamp),
    /// A text.
    Text(String),
}

/// Which tokens of a company a list shall hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenFilter {
    /// Any of these statuses, judged at `now`.
    pub status: BTreeSet<Status>,
    /// Having this scope.
    pub scope: Option<String>,
    /// Having this in their name, whatever the case of ASCII letters.
    pub q: Option<String>,
    /// Created by this actor.
    pub created_by: Option<Uuid>,
    /// Got over OAuth by this client.
    pub client_id: Option<ClientId>,
    /// Created at this position or before.
    pub created_up_to: Option<u64>,
    /// With a term that ends before.
    pub expires_before: Option<Timestamp>,
    /// Now.
    pub now: Timestamp,
}

/// How a list is ordered and cut.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenPage {
    /// The order's column.
    pub sort: TokenSort,
    /// Whether the greatest come first.
    pub descending: bool,
    /// Where the page goes on.
    pub after: Option<After>,
    /// The most rows.
    pub limit: usize,
}

/// Which events of a company's audit trail are asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuditFilter {
    /// About this token.
    pub token_id: Option<TokenId>,
    /// Of any of these types; of all when empty.
    pub types: BTreeSet<String>,
    /// Done by this actor.
    pub actor_id: Option<Uuid>,
    /// Behind this position.
    pub after_position: u64,
    /// Before this position; 0 for no bound.
    pub before_position: u64,
    /// Whether the newest come first.
    pub descending: bool,
}

/// A day and how many events were recorded on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DayCount {
    /// Its midnight, in UTC.
    pub begins: Timestamp,
    /// The events.
    pub events: u64,
}

/// An event with its private part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditRecord {
    /// The event.
    pub event: RecordedEvent,
    /// What names or describes a person, unless erased.
    pub private: Option<PrivatePart>,
}

/// A token whose term has ended without that being recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DueTerm {
    /// The company.
    pub company_id: CompanyId,
    /// The token or key.
    pub id: Uuid,
    /// The number of the term.
    pub term: u32,
}

/// How far a projection that runs behind has come in one company's ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// The company.
    pub company_id: CompanyId,
    /// The projection.
    pub projection: String,
    /// The projection's version that wrote it.
    pub version: u32,
    /// The last position that is in the rows.
    pub position: u64,
}

/// Work of long breath that was accepted: a command over many tokens, or a rebuild.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    /// The company.
    pub company_id: CompanyId,
    /// The operation.
    pub operation_id: Uuid,
    /// What is to be done, for whom and why: JSON, of the application's shape.
    pub request: String,
    /// `running`, `done` or `failed`.
    pub state: String,
    /// Tokens, or events, that it was found to concern.
    pub matched: u64,
    /// Those that it has dealt with.
    pub done: u64,
    /// When it was accepted.
    pub started_at: Timestamp,
    /// When it was finished.
    pub finished_at: Option<Timestamp>,
}

/// Programs of one kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Programs {
    /// With API keys.
    Keys,
    /// With the credentials of an OAuth client.
    Clients,
}

/// An identifier with its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// The key or client.
    pub id: Uuid,
    /// What it is called.
    pub name: String,
}

/// The read models, and the tables beside the log.
#[async_trait]
pub trait ReadModels: Send + Sync {
    /// A token.
    ///
    /// # Errors
    /// When the database fails, as for every other method here.
    async fn token(
        &self,
        company: CompanyId,
        id: TokenId,
    ) -> Result<Option<TokenRecord>, StoreError>;

    /// A page of a company's tokens.
    async fn tokens(
        &self,
        company: CompanyId,
        filter: &TokenFilter,
        page: &TokenPage,
    ) -> Result<Vec<TokenRecord>, StoreError>;

    /// How many tokens of a company the filter lets through.
    async fn count_tokens(
        &self,
        company: CompanyId,
        filter: &TokenFilter,
    ) -> Result<u64, StoreError>;

    /// The tokens of a company that the filter lets through, in any order: their identifiers, if
    /// there are no more than `most` of them. Looks through the company's tokens once, and no
    /// further than to the first one too many.
    async fn few_tokens(
        &self,
        company: CompanyId,
        filter: &TokenFilter,
        most: usize,
    ) -> Result<Option<Vec<TokenId>>, StoreError>;

    /// A page of these tokens.
    async fn tokens_among(
        &self,
        company: CompanyId,
        among: &[TokenId],
        page: &TokenPage,
    ) -> Result<Vec<TokenRecord>, StoreError>;

    /// The token that a secret belongs or ever belonged to. Looks through the whole ledger where
    /// the secret is an old one: for incidents, not for verification.
    async fn token_of_secret(
        &self,
        company: CompanyId,
        digest: Digest,
    ) -> Result<Option<TokenId>, StoreError>;

    /// The token that a client got over OAuth and whose current or previous secret this is,
    /// whatever became of it.
    async fn client_token_of_secret(
        &self,
        company: CompanyId,
        client: ClientId,
        digest: Digest,
    ) -> Result<Option<TokenId>, StoreError>;

    /// A key.
    async fn key(&self, company: CompanyId, id: KeyId) -> Result<Option<KeyRecord>, StoreError>;

    /// A company's keys, newest first, behind the one given.
    async fn keys(
        &self,
        company: CompanyId,
        after: Option<KeyId>,
        limit: usize,
    ) -> Result<Vec<KeyRecord>, StoreError>;

    /// A company.
    async fn company(&self, id: CompanyId) -> Result<Option<CompanyRow>, StoreError>;

    /// The companies of exactly this name.
    async fn companies_named(&self, name: &str) -> Result<Vec<CompanyRow>, StoreError>;

    /// All companies in the order of their identifiers, behind the one given.
    async fn companies(
        &self,
        after: Option<CompanyId>,
        limit: usize,
    ) -> Result<Vec<CompanyRow>, StoreError>;

    /// The companies with this in their name, whatever the case of ASCII letters, in the order of
    /// their names and identifiers, behind the one given.
    async fn find_companies(
        &self,
        q: &str,
        after: Option<(String, CompanyId)>,
        limit: usize,
    ) -> Result<Vec<CompanyRow>, StoreError>;

    /// A company's programs, deleted ones included, with this in their name, whatever the case of
    /// ASCII letters, in the order of their names.
    async fn find_programs(
        &self,
        company: CompanyId,
        programs: Programs,
        q: &str,
        limit: usize,
    ) -> Result<Vec<Named>, StoreError>;

    /// A company's members, in the order of their identifiers, behind the one given.
    async fn members(
        &self,
        company: CompanyId,
        after: Option<Uuid>,
        limit: usize,
    ) -> Result<Vec<MemberRow>, StoreError>;

    /// A client, deleted or not.
    async fn client(
        &self,
        company: CompanyId,
        id: ClientId,
    ) -> Result<Option<ClientRow>, StoreError>;

    /// A company's clients, in the order of their identifiers, behind the one given.
    async fn clients(
        &self,
        company: CompanyId,
        after: Option<ClientId>,
        limit: usize,
    ) -> Result<Vec<ClientRow>, StoreError>;

    /// How many events of a company's audit trail the filter lets through on each day, the
    /// earliest first; days without any are left out.
    async fn audit_days(
        &self,
        company: CompanyId,
        filter: &AuditFilter,
    ) -> Result<Vec<DayCount>, StoreError>;

    /// A page of a company's audit trail.
    async fn audit(
        &self,
        company: CompanyId,
        filter: &AuditFilter,
        limit: usize,
    ) -> Result<Vec<AuditRecord>, StoreError>;

    /// How far the projections that run behind have come.
    async fn checkpoints(&self) -> Result<Vec<Checkpoint>, StoreError>;

    /// Tokens whose term ended by `now` without that being recorded, the longest due first.
    async fn due_tokens(&self, now: Timestamp, limit: usize) -> Result<Vec<DueTerm>, StoreError>;

    /// Keys whose term ended by `now` without that being recorded.
    async fn due_keys(&self, now: Timestamp, limit: usize) -> Result<Vec<DueTerm>, StoreError>;

    /// Notes when tokens were used, and from where. Never lets a time go back.
    async fn record_uses(&self, uses: &[Use]) -> Result<(), StoreError>;

    /// Stores an operation, or its progress.
    async fn save_operation(&self, operation: &Operation) -> Result<(), StoreError>;

    /// Forgets an operation that was never begun.
    async fn forget_operation(&self, company: CompanyId, id: Uuid) -> Result<(), StoreError>;

    /// An operation.
    async fn operation(
        &self,
        company: CompanyId,
        id: Uuid,
    ) -> Result<Option<Operation>, StoreError>;

    /// The company's latest operation whose request begins so.
    async fn latest_operation(
        &self,
        company: CompanyId,
        beginning: &str,
    ) -> Result<Option<Operation>, StoreError>;

    /// The operations that are not finished, of all companies.
    async fn open_operations(&self) -> Result<Vec<Operation>, StoreError>;

    /// Stores attempts, and counts those that were not kept.
    async fn add_attempts(
        &self,
        attempts: &[Attempt],
        dropped: &BTreeMap<(CompanyId, AttemptKind), u64>,
    ) -> Result<(), StoreError>;

    /// Removes all of a company's attempts of this kind but the newest so many of callers who had
    /// shown who they are and as many of others, and counts those that go among the dropped.
    async fn trim_attempts(
        &self,
        company: CompanyId,
        kind: AttemptKind,
        keep: usize,
    ) -> Result<(), StoreError>;

    /// A company's attempts, newest first.
    async fn attempts(
        &self,
        company: CompanyId,
        filter: &AttemptFilter,
        limit: usize,
    ) -> Result<Vec<Attempt>, StoreError>;

    /// How many of a company's attempts of this kind were not kept, or no longer are.
    async fn attempts_dropped(
        &self,
        company: CompanyId,
        kind: AttemptKind,
    ) -> Result<u64, StoreError>;

    /// Whether the database can be written.
    async fn probe(&self) -> Result<(), StoreError>;
}
