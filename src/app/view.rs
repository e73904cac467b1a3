//! What callers get to see, in the words of the API.

use serde::Serialize;
use serde_json::{Map, Value};
use token_ledger_domain::{Actor, ScopeSet, Timestamp};
use token_ledger_event_store::{RecordedEvent, StoreError};
use token_ledger_projections::clients::ClientRow;
use token_ledger_projections::companies::CompanyRow;
use token_ledger_projections::read_models::{AuditRecord, KeyRecord, TokenRecord};
use utoipa::ToSchema;
use uuid::Uuid;

/// Who did something.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct ActorView {
    /// `member`, `key`, `client`, `operator` or `system`.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// The identifier of the member, key or client; nil for the system and the command line.
    pub id: Uuid,
    /// The name; null where it is unknown or was erased.
    pub name: Option<String>,
}

impl ActorView {
    /// The actor of this name.
    pub const fn new(actor: Actor, name: Option<String>) -> Self {
        Self { kind: actor.kind.as_str(), id: actor.id, name }
    }
}

/// A token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct TokenView {
    /// The token.
    pub token_id: Uuid,
    /// Its company.
    pub company_id: Uuid,
    /// Its name.
    pub name: String,
    /// Its data accesses, sorted.
    pub scopes: Vec<String>,
    /// `active`, `expired` or `deleted`.
    pub status: &'static str,
    /// Prefix and last four characters of the current secret.
    pub secret_hint: String,
    /// When it was created.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// When its term ends.
    #[schema(value_type = String, format = DateTime)]
    pub expires_at: Timestamp,
    /// When it was last refreshed.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub refreshed_at: Option<Timestamp>,
    /// When the secret before the last refresh stops.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub previous_secret_expires_at: Option<Timestamp>,
    /// When it was deleted.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub deleted_at: Option<Timestamp>,
    /// When it was last seen to be used, give or take a minute.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub last_used_at: Option<Timestamp>,
    /// The address that its secret was shown from then, as far as known: a program's own, or that of
    /// whoever asked on its behalf.
    pub last_used_from: Option<String>,
    /// Who created it.
    pub created_by: ActorView,
    /// The client that got it over OAuth.
    pub client_id: Option<Uuid>,
    /// The sequence of its last event; also its `ETag`.
    pub version: u64,
}

impl TokenView {
    /// The token as it is at `now`: an old secret that has stopped is no longer named.
    pub fn new(record: TokenRecord, now: Timestamp) -> Self {
        let TokenRecord { row, created_by_name, last_used_at, last_used_from } = record;
        let status = row.status.at(now, row.expires_at);
        let previous = row.previous.map(|previous| previous.expires_at);
        Self {
            token_id: row.token_id.0,
            company_id: row.company_id.0,
            name: row.name.to_string(),
            scopes: scope_list(&row.scopes),
            status: status.as_str(),
            secret_hint: row.hint,
            created_at: row.created_at,
            expires_at: row.expires_at,
            refreshed_at: row.refreshed_at,
            previous_secret_expires_at: previous.filter(|end| {
                status == token_ledger_projections::tokens::Status::Active && *end > now
            }),
            deleted_at: row.deleted_at,
            last_used_at,
            last_used_from,
            created_by: ActorView::new(row.created_by, created_by_name),
            client_id: row.client_id.map(|client| client.0),
            version: row.version,
        }
    }
}

/// An API key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct KeyView {
    /// The key.
    pub key_id: Uuid,
    /// Its company.
    pub company_id: Uuid,
    /// Its name.
    pub name: String,
    /// Its scopes.
    pub scopes: Vec<&'static str>,
    /// `active`, `expired` or `deleted`.
    pub status: &'static str,
    /// Prefix and last four characters of the current secret.
    pub secret_hint: String,
    /// When it was created.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// When its term ends.
    #[schema(value_type = String, format = DateTime)]
    pub expires_at: Timestamp,
    /// When it was last refreshed.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub refreshed_at: Option<Timestamp>,
    /// When the secret before the last refresh stops.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub previous_secret_expires_at: Option<Timestamp>,
    /// When it was deleted.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub deleted_at: Option<Timestamp>,
    /// Who created it.
    pub created_by: ActorView,
    /// The sequence of its last event; also its `ETag`.
    pub version: u64,
}

impl KeyView {
    /// The key as it is at `now`.
    pub fn new(record: KeyRecord, now: Timestamp) -> Self {
        let KeyRecord { row, created_by_name } = record;
        let status = row.status.at(now, row.expires_at);
        Self {
            key_id: row.key_id.0,
            company_id: row.company_id.0,
            name: row.name.to_string(),
            scopes: row.scopes.iter().map(|scope| scope.as_str()).collect(),
            status: status.as_str(),
            secret_hint: row.hint,
            created_at: row.created_at,
            expires_at: row.expires_at,
            refreshed_at: row.refreshed_at,
            previous_secret_expires_at: row.previous.map(|(_, end)| end).filter(|end| {
                status == token_ledger_projections::tokens::Status::Active && *end > now
            }),
            deleted_at: row.deleted_at,
            created_by: ActorView::new(row.created_by, created_by_name),
            version: row.version,
        }
    }
}

/// An OAuth client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct ClientView {
    /// The client; what it names itself by.
    pub client_id: Uuid,
    /// Its company.
    pub company_id: Uuid,
    /// Its name.
    pub name: String,
    /// The data accesses that it may ask for, sorted.
    pub scopes: Vec<String>,
    /// `active` or `deleted`.
    pub status: &'static str,
    /// Prefix and last four characters of the current secret.
    pub secret_hint: String,
    /// When it was created.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// When it last got a new secret.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub rotated_at: Option<Timestamp>,
    /// When the secret before the last rotation stops.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub previous_secret_expires_at: Option<Timestamp>,
    /// When it was deleted.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub deleted_at: Option<Timestamp>,
    /// Rises with every change; also its `ETag`.
    pub version: u64,
}

impl ClientView {
    /// The client as it is at `now`: an old secret that has stopped is no longer named.
    pub fn new(row: ClientRow, now: Timestamp) -> Self {
        let deleted = row.deleted_at.is_some();
        let previous = row.previous.map(|(_, end)| end);
        Self {
            client_id: row.client_id.0,
            company_id: row.company_id.0,
            name: row.name.to_string(),
            scopes: scope_list(&row.scopes),
            status: if deleted { "deleted" } else { "active" },
            secret_hint: row.hint,
            created_at: row.created_at,
            rotated_at: row.rotated_at,
            previous_secret_expires_at: previous.filter(|end| !deleted && *end > now),
            deleted_at: row.deleted_at,
            version: row.version,
        }
    }
}

/// A company.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct CompanyView {
    /// The company.
    pub company_id: Uuid,
    /// Its name.
    pub name: String,
    /// Whether its OAuth App module is on.
    pub oauth_app_enabled: bool,
    /// When it was registered.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
}

impl From<CompanyRow> for CompanyView {
    fn from(row: CompanyRow) -> Self {
        Self {
            company_id: row.company_id.0,
            name: row.name.to_string(),
            oauth_app_enabled: row.oauth_app_enabled,
            created_at: row.created_at,
        }
    }
}

/// What an event happened to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct AggregateView {
    /// `token`, `key` or `company`.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// Its identifier.
    pub id: Uuid,
}

/// An event's circumstances.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct ContextView {
    /// The request.
    pub request_id: Option<String>,
    /// The address that it came from; null where it is unknown or was erased.
    pub ip: Option<String>,
    /// The program that sent it; null where it is unknown or was erased.
    pub user_agent: Option<String>,
    /// Why; null where no reason was given or it was erased.
    pub reason: Option<String>,
}

/// An event.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct EventView {
    /// 1, 2, 3 … without gaps in the company's ledger.
    pub position: u64,
    /// The company.
    pub company_id: Uuid,
    /// The token, for events of tokens.
    pub token_id: Option<Uuid>,
    /// What it happened to.
    pub aggregate: AggregateView,
    /// 1, 2, 3 … without gaps in the aggregate's stream.
    pub sequence: u64,
    /// What happened, such as `token.created`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The version of the shape of `data`.
    pub schema_version: u32,
    /// When it was recorded.
    #[schema(value_type = String, format = DateTime)]
    pub recorded_at: Timestamp,
    /// Who did it.
    pub actor: ActorView,
    /// From where and why.
    pub context: ContextView,
    /// What exactly.
    #[schema(value_type = Object)]
    pub data: Map<String, Value>,
    /// The hash of the event's entry in the log. The API hands entries and their proofs out below
    /// `log`.
    #[serde(skip)]
    pub entry_hash: [u8; 32],
}

impl EventView {
    /// The event with its private part.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] when what is stored can't be read.
    pub fn new(record: AuditRecord) -> Result<Self, StoreError> {
        let AuditRecord { event, private } = record;
        let private = private.unwrap_or_default();
        let metadata = event.metadata()?;
        let kind = event.stream.kind;
        let is_token = kind == token_ledger_domain::event::AggregateType::Token;
        Ok(Self {
            position: event.position,
            company_id: event.company.0,
            token_id: is_token.then_some(event.stream.id),
            aggregate: AggregateView { kind: kind.as_str(), id: event.stream.id },
            sequence: event.sequence,
            schema_version: number(&event)?,
            recorded_at: event.recorded_at,
            actor: ActorView::new(metadata.actor, private.actor_name),
            context: ContextView {
                request_id: metadata.request_id,
                ip: private.ip,
                user_agent: private.user_agent,
                reason: private.reason,
            },
            data: payload(&event)?,
            entry_hash: event.entry_hash,
            kind: event.event_type,
        })
    }
}

fn number(event: &RecordedEvent) -> Result<u32, StoreError> {
    event.event_version.parse().map_err(|_| corrupt(event, "event_version is no number"))
}

/// The payload without its tag, which repeats the type.
fn payload(event: &RecordedEvent) -> Result<Map<String, Value>, StoreError> {
    let mut data: Map<String, Value> = serde_json::from_str(&event.payload)
        .map_err(|error| corrupt(event, &format!("payload: {error}")))?;
    data.remove("type");
    Ok(data)
}

/// An event that can't be what was recorded.
pub(super) fn corrupt(event: &RecordedEvent, problem: &str) -> StoreError {
    StoreError::Corrupt {
        company: event.company,
        position: event.position,
        problem: problem.to_owned(),
    }
}

/// Scopes as a list of texts.
pub fn scope_list(scopes: &ScopeSet) -> Vec<String> {
    scopes.iter().map(ToString::to_string).collect()
}
