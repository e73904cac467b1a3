//! What is asked of the read models, and what they answer.

use crate::keys::KeyRow;
use crate::tokens::{Status, TokenRow};
use std::collections::BTreeSet;
use token_ledger_domain::{ClientId, CompanyId, Timestamp, TokenId};
use token_ledger_event_store::{PrivatePart, RecordedEvent};
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
    /// Having this in their name, whatever the case of its letters.
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

impl TokenFilter {
    /// All tokens of these statuses.
    pub fn of(status: impl Into<BTreeSet<Status>>, now: Timestamp) -> Self {
        Self {
            status: status.into(),
            scope: None,
            q: None,
            created_by: None,
            client_id: None,
            created_up_to: None,
            expires_before: None,
            now,
        }
    }
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
pub struct Positions {
    /// About this token.
    pub token_id: Option<TokenId>,
    /// Of any of these types; of all when empty.
    pub types: BTreeSet<String>,
    /// Done by this actor.
    pub actor_id: Option<Uuid>,
    /// Behind this position.
    pub after_position: u64,
    /// Before this position, if there is a bound.
    pub before_position: Option<u64>,
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
