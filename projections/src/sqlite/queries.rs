//! The read models' questions, answered from SQLite.

use super::tables::{SqliteTable, uuid};
use super::tokens_query::{actor_name, columns, private, record};
use super::{failed, side, tokens_query};
use crate::clients::{ClientRow, Clients};
use crate::companies::{Companies, CompanyRow};
use crate::index::VerificationIndex;
use crate::keys::Keys;
use crate::members::{MemberRow, Members};
use crate::read_models::{
    Account, AuditFilter, AuditRecord, Checkpoint, DueTerm, KeyRecord, Operation, ReadModels,
    TokenFilter, TokenPage, TokenRecord,
};
use crate::tokens::Tokens;
use async_trait::async_trait;
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, Row, params, params_from_iter};
use std::sync::Arc;
use token_ledger_domain::{ClientId, CompanyId, Digest, KeyId, Timestamp, TokenId};
use token_ledger_event_store::StoreError;
use token_ledger_event_store::sqlite::{Database, EVENT_COLUMNS, event_from_row};
use uuid::Uuid;

/// Rows that are read at a time when all of a table is wanted.
const SCAN_PAGE: usize = 10_000;

/// The read models in an SQLite file.
#[derive(Debug)]
pub struct SqliteReadModels {
    database: Arc<Database>,
    index: Arc<VerificationIndex>,
}

impl SqliteReadModels {
    /// The read models in this database, and the index that a rebuild refreshes with them.
    pub const fn new(database: Arc<Database>, index: Arc<VerificationIndex>) -> Self {
        Self { database, index }
    }

    /// The verification index that goes with them.
    pub const fn index(&self) -> &Arc<VerificationIndex> {
        &self.index
    }

    /// The database that they are in.
    pub const fn database(&self) -> &Arc<Database> {
        &self.database
    }

    /// Fills the verification index with everything that is active.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn fill(&self) -> Result<(), StoreError> {
        let index = Arc::clone(&self.index);
        self.database
            .read(move |connection| {
                for company in companies(connection, None, usize::MAX >> 1)? {
                    index.apply_company(&company);
                    fill_company(connection, &index, company.company_id)?;
                }
                Ok(())
            })
            .await
    }
}

fn fill_company(
    connection: &Connection,
    index: &VerificationIndex,
    company: CompanyId,
) -> Result<(), StoreError> {
    let mut after = Tokens::FIRST;
    loop {
        let page = Tokens::range(connection, company, after, SCAN_PAGE)?;
        for row in &page {
            index.apply_token(row);
        }
        match page.last() {
            Some(last) if page.len() == SCAN_PAGE => after = last.token_id.0,
            _ => break,
        }
    }
    let keys = Keys::range(connection, company, Keys::FIRST, usize::MAX >> 1)?;
    for row in &keys {
        index.apply_key(row);
    }
    Ok(())
}

fn companies(
    connection: &Connection,
    after: Option<CompanyId>,
    limit: usize,
) -> Result<Vec<CompanyRow>, StoreError> {
    let after = after.map_or_else(Uuid::nil, |id| id.0);
    connection
        .prepare_cached(&format!(
            "SELECT {} FROM companies WHERE company_id > ?1 ORDER BY company_id LIMIT ?2",
            Companies::COLUMNS.join(", ")
        ))
        .map_err(failed)?
        .query_map(params![after.as_bytes(), limit], Companies::read)
        .map_err(failed)?
        .collect::<Result<_, _>>()
        .map_err(failed)
}

fn token(
    connection: &Connection,
    company: CompanyId,
    id: TokenId,
) -> Result<Option<TokenRecord>, StoreError> {
    connection
        .prepare_cached(&format!(
            "SELECT {}, u.last_used_at, p.data FROM tokens t \
             LEFT JOIN token_uses u ON u.company_id = t.company_id AND u.token_id = t.token_id \
             LEFT JOIN event_private p \
             ON p.company_id = t.company_id AND p.position = t.created_position \
             WHERE t.company_id = ?1 AND t.token_id = ?2",
            columns()
        ))
        .map_err(failed)?
        .query_row(params![company.0.as_bytes(), id.0.as_bytes()], record)
        .optional()
        .map_err(failed)
}

/// Secrets are not indexed by digest, since that would cost every creation. The tokens' rows know
/// the live ones; the log knows all.
fn token_of_secret(
    connection: &Connection,
    company: CompanyId,
    digest: Digest,
) -> Result<Option<TokenId>, StoreError> {
    let live: Option<[u8; 16]> = connection
        .prepare_cached(
            "SELECT token_id FROM tokens \
             WHERE company_id = ?1 AND (digest = ?2 OR previous_digest = ?2) LIMIT 1",
        )
        .map_err(failed)?
        .query_row(params![company.0.as_bytes(), digest.0], |row| row.get(0))
        .optional()
        .map_err(failed)?;
    if let Some(id) = live {
        return Ok(Some(TokenId(Uuid::from_bytes(id))));
    }
    let ever: Option<String> = connection
        .prepare_cached(
            "SELECT aggregate_id FROM events WHERE company_id = ?1 AND aggregate_type = 'token' \
             AND event_type IN ('token.created', 'token.refreshed') \
             AND json_extract(payload, '$.secret.digest') = ?2 LIMIT 1",
        )
        .map_err(failed)?
        .query_row(params![company.0.as_bytes(), digest.to_string()], |row| row.get(0))
        .optional()
        .map_err(failed)?;
    Ok(ever.and_then(|id| id.parse().ok()))
}

fn key_columns() -> String {
    let columns: Vec<String> = Keys::COLUMNS.iter().map(|column| format!("k.{column}")).collect();
    columns.join(", ")
}

fn key_record(row: &Row<'_>) -> rusqlite::Result<KeyRecord> {
    Ok(KeyRecord { row: Keys::read(row)?, created_by_name: actor_name(row, Keys::COLUMNS.len())? })
}

fn key(
    connection: &Connection,
    company: CompanyId,
    id: KeyId,
) -> Result<Option<KeyRecord>, StoreError> {
    connection
        .prepare_cached(&format!(
            "SELECT {}, p.data FROM keys k LEFT JOIN event_private p \
             ON p.company_id = k.company_id AND p.position = k.created_position \
             WHERE k.company_id = ?1 AND k.key_id = ?2",
            key_columns()
        ))
        .map_err(failed)?
        .query_row(params![company.0.as_bytes(), id.0.as_bytes()], key_record)
        .optional()
        .map_err(failed)
}

fn keys(
    connection: &Connection,
    company: CompanyId,
    after: Option<KeyId>,
    limit: usize,
) -> Result<Vec<KeyRecord>, StoreError> {
    let after = after.map_or_else(Uuid::max, |id| id.0);
    connection
        .prepare_cached(&format!(
            "SELECT {}, p.data FROM keys k LEFT JOIN event_private p \
             ON p.company_id = k.company_id AND p.position = k.created_position \
             WHERE k.company_id = ?1 AND k.key_id < ?2 ORDER BY k.key_id DESC LIMIT ?3",
            key_columns()
        ))
        .map_err(failed)?
        .query_map(params![company.0.as_bytes(), after.as_bytes(), limit], key_record)
        .map_err(failed)?
        .collect::<Result<_, _>>()
        .map_err(failed)
}

/// Which index leads to the events of a filter, and where to go on.
fn audit(
    connection: &Connection,
    company: CompanyId,
    filter: &AuditFilter,
    limit: usize,
) -> Result<Vec<AuditRecord>, StoreError> {
    if let Some(token) = filter.token_id {
        return audit_of_token(connection, company, filter, token, limit);
    }
    if filter.types.is_empty() || filter.actor_id.is_some() {
        return audit_page(connection, company, filter, None, limit);
    }
    // One look per type finds each type's part of the page by index; the page is the best of all.
    let mut found = Vec::new();
    for event_type in &filter.types {
        found.extend(audit_page(connection, company, filter, Some(event_type), limit)?);
    }
    found.sort_by_key(|record| record.event.position);
    if filter.descending {
        found.reverse();
    }
    found.truncate(limit);
    Ok(found)
}

fn event_columns() -> String {
    let columns: Vec<String> =
        EVENT_COLUMNS.split(", ").map(|column| format!("e.{}", column.trim())).collect();
    columns.join(", ")
}

fn bounds(filter: &AuditFilter) -> (i64, i64) {
    let before = if filter.before_position == 0 { u64::MAX } else { filter.before_position };
    let bounded = |position: u64| i64::try_from(position).unwrap_or(i64::MAX);
    (bounded(filter.after_position), bounded(before))
}

fn audit_page(
    connection: &Connection,
    company: CompanyId,
    filter: &AuditFilter,
    event_type: Option<&str>,
    limit: usize,
) -> Result<Vec<AuditRecord>, StoreError> {
    let (after, before) = bounds(filter);
    let mut values = vec![
        Value::Blob(company.0.as_bytes().to_vec()),
        Value::Integer(after),
        Value::Integer(before),
        Value::Integer(i64::try_from(limit).unwrap_or(i64::MAX)),
    ];
    let mut condition = String::new();
    if let Some(actor) = filter.actor_id {
        values.push(Value::Blob(actor.as_bytes().to_vec()));
        condition.push_str(&format!(" AND a.actor_id = ?{}", values.len()));
        let types: Vec<String> = filter
            .types
            .iter()
            .map(|event_type| {
                values.push(Value::Text(event_type.clone()));
                format!("?{}", values.len())
            })
            .collect();
        if !types.is_empty() {
            condition.push_str(&format!(" AND +a.event_type IN ({})", types.join(", ")));
        }
    }
    if let Some(event_type) = event_type {
        values.push(Value::Text(event_type.to_owned()));
        condition.push_str(&format!(" AND a.event_type = ?{}", values.len()));
    }
    let direction = if filter.descending { "DESC" } else { "ASC" };
    let sql = format!(
        "SELECT {}, p.data FROM audit_trail a \
         CROSS JOIN events e ON e.company_id = a.company_id AND e.position = a.position \
         LEFT JOIN event_private p ON p.company_id = a.company_id AND p.position = a.position \
         WHERE a.company_id = ?1 AND a.position > ?2 AND a.position < ?3{condition} \
         ORDER BY a.position {direction} LIMIT ?4",
        event_columns()
    );
    collect_audit(connection, &sql, values)
}

/// A token's events are its stream, whose order is the ledger's.
fn audit_of_token(
    connection: &Connection,
    company: CompanyId,
    filter: &AuditFilter,
    token: TokenId,
    limit: usize,
) -> Result<Vec<AuditRecord>, StoreError> {
    let (after, before) = bounds(filter);
    let mut values = vec![
        Value::Blob(company.0.as_bytes().to_vec()),
        Value::Integer(after),
        Value::Integer(before),
        Value::Integer(i64::try_from(limit).unwrap_or(i64::MAX)),
        Value::Text(token.to_string()),
    ];
    let mut condition = String::new();
    if !filter.types.is_empty() {
        let places: Vec<String> = filter
            .types
            .iter()
            .map(|event_type| {
                values.push(Value::Text(event_type.clone()));
                format!("?{}", values.len())
            })
            .collect();
        condition.push_str(&format!(" AND e.event_type IN ({})", places.join(", ")));
    }
    if let Some(actor) = filter.actor_id {
        values.push(Value::Text(actor.to_string()));
        let place = values.len();
        condition.push_str(&format!(" AND json_extract(e.metadata, '$.actor_id') = ?{place}"));
    }
    let direction = if filter.descending { "DESC" } else { "ASC" };
    let sql = format!(
        "SELECT {}, p.data FROM events e LEFT JOIN event_private p \
         ON p.company_id = e.company_id AND p.position = e.position \
         WHERE e.aggregate_type = 'token' AND e.aggregate_id = ?5 AND e.company_id = ?1 \
         AND e.position > ?2 AND e.position < ?3{condition} \
         ORDER BY e.sequence {direction} LIMIT ?4",
        event_columns()
    );
    collect_audit(connection, &sql, values)
}

fn collect_audit(
    connection: &Connection,
    sql: &str,
    values: Vec<Value>,
) -> Result<Vec<AuditRecord>, StoreError> {
    let beside = EVENT_COLUMNS.split(", ").count();
    connection
        .prepare_cached(sql)
        .map_err(failed)?
        .query_map(params_from_iter(values), |row| {
            Ok(AuditRecord { event: event_from_row(row)?, private: private(row, beside)? })
        })
        .map_err(failed)?
        .collect::<Result<_, _>>()
        .map_err(failed)
}

fn due(
    connection: &Connection,
    table: &str,
    key: &str,
    now: Timestamp,
    limit: usize,
) -> Result<Vec<DueTerm>, StoreError> {
    connection
        .prepare_cached(&format!(
            "SELECT company_id, {key}, term FROM {table} \
             WHERE status = 'active' AND expires_at <= ?1 ORDER BY expires_at LIMIT ?2"
        ))
        .map_err(failed)?
        .query_map(params![now.as_micros(), limit], |row| {
            Ok(DueTerm {
                company_id: CompanyId(uuid(row, 0)?),
                id: uuid(row, 1)?,
                term: row.get(2)?,
            })
        })
        .map_err(failed)?
        .collect::<Result<_, _>>()
        .map_err(failed)
}

#[async_trait]
impl ReadModels for SqliteReadModels {
    async fn token(
        &self,
        company: CompanyId,
        id: TokenId,
    ) -> Result<Option<TokenRecord>, StoreError> {
        self.database.read(move |connection| token(connection, company, id)).await
    }

    async fn tokens(
        &self,
        company: CompanyId,
        filter: &TokenFilter,
        page: &TokenPage,
    ) -> Result<Vec<TokenRecord>, StoreError> {
        let (filter, page) = (filter.clone(), page.clone());
        self.database
            .read(move |connection| tokens_query::tokens(connection, company, &filter, &page))
            .await
    }

    async fn count_tokens(
        &self,
        company: CompanyId,
        filter: &TokenFilter,
    ) -> Result<u64, StoreError> {
        let filter = filter.clone();
        self.database
            .read(move |connection| tokens_query::count(connection, company, &filter))
            .await
    }

    async fn token_of_secret(
        &self,
        company: CompanyId,
        digest: Digest,
    ) -> Result<Option<TokenId>, StoreError> {
        self.database.read(move |connection| token_of_secret(connection, company, digest)).await
    }

    async fn key(&self, company: CompanyId, id: KeyId) -> Result<Option<KeyRecord>, StoreError> {
        self.database.read(move |connection| key(connection, company, id)).await
    }

    async fn keys(
        &self,
        company: CompanyId,
        after: Option<KeyId>,
        limit: usize,
    ) -> Result<Vec<KeyRecord>, StoreError> {
        self.database.read(move |connection| keys(connection, company, after, limit)).await
    }

    async fn company(&self, id: CompanyId) -> Result<Option<CompanyRow>, StoreError> {
        self.database.read(move |connection| Companies::one(connection, id, id.0)).await
    }

    async fn companies_named(&self, name: &str) -> Result<Vec<CompanyRow>, StoreError> {
        let name = name.to_owned();
        self.database
            .read(move |connection| {
                connection
                    .prepare_cached(&format!(
                        "SELECT {} FROM companies WHERE name = ?1 ORDER BY company_id",
                        Companies::COLUMNS.join(", ")
                    ))
                    .map_err(failed)?
                    .query_map([name], Companies::read)
                    .map_err(failed)?
                    .collect::<Result<_, _>>()
                    .map_err(failed)
            })
            .await
    }

    async fn companies(
        &self,
        after: Option<CompanyId>,
        limit: usize,
    ) -> Result<Vec<CompanyRow>, StoreError> {
        self.database.read(move |connection| companies(connection, after, limit)).await
    }

    async fn members(
        &self,
        company: CompanyId,
        after: Option<Uuid>,
        limit: usize,
    ) -> Result<Vec<MemberRow>, StoreError> {
        let after = after.unwrap_or(Members::FIRST);
        self.database
            .read(move |connection| Members::range(connection, company, after, limit))
            .await
    }

    async fn clients(
        &self,
        company: CompanyId,
        after: Option<ClientId>,
        limit: usize,
    ) -> Result<Vec<ClientRow>, StoreError> {
        let after = after.map_or(Clients::FIRST, |id| id.0);
        self.database
            .read(move |connection| Clients::range(connection, company, after, limit))
            .await
    }

    async fn audit(
        &self,
        company: CompanyId,
        filter: &AuditFilter,
        limit: usize,
    ) -> Result<Vec<AuditRecord>, StoreError> {
        let filter = filter.clone();
        self.database.read(move |connection| audit(connection, company, &filter, limit)).await
    }

    async fn checkpoints(&self) -> Result<Vec<Checkpoint>, StoreError> {
        self.database
            .read(|connection| {
                connection
                    .prepare_cached(
                        "SELECT company_id, projection, version, position FROM checkpoints \
                         ORDER BY company_id, projection",
                    )
                    .map_err(failed)?
                    .query_map([], |row| {
                        Ok(Checkpoint {
                            company_id: CompanyId(uuid(row, 0)?),
                            projection: row.get(1)?,
                            version: row.get(2)?,
                            position: row.get(3)?,
                        })
                    })
                    .map_err(failed)?
                    .collect::<Result<_, _>>()
                    .map_err(failed)
            })
            .await
    }

    async fn due_tokens(&self, now: Timestamp, limit: usize) -> Result<Vec<DueTerm>, StoreError> {
        self.database
            .read(move |connection| due(connection, "tokens", "token_id", now, limit))
            .await
    }

    async fn due_keys(&self, now: Timestamp, limit: usize) -> Result<Vec<DueTerm>, StoreError> {
        self.database.read(move |connection| due(connection, "keys", "key_id", now, limit)).await
    }

    async fn record_uses(
        &self,
        uses: Vec<(CompanyId, TokenId, Timestamp)>,
    ) -> Result<(), StoreError> {
        self.database.write(move |connection| side::record_uses(connection, &uses)).await
    }

    async fn save_operation(&self, operation: &Operation) -> Result<(), StoreError> {
        let operation = operation.clone();
        self.database.write(move |connection| side::save_operation(connection, &operation)).await
    }

    async fn operation(
        &self,
        company: CompanyId,
        id: Uuid,
    ) -> Result<Option<Operation>, StoreError> {
        self.database.read(move |connection| side::operation(connection, company, id)).await
    }

    async fn open_operations(&self) -> Result<Vec<Operation>, StoreError> {
        self.database.read(side::open_operations).await
    }

    async fn account(&self, email: &str) -> Result<Option<Account>, StoreError> {
        let email = email.to_owned();
        self.database.read(move |connection| side::account(connection, &email)).await
    }

    async fn save_account(&self, account: &Account, now: Timestamp) -> Result<(), StoreError> {
        let account = account.clone();
        self.database.write(move |connection| side::save_account(connection, &account, now)).await
    }

    async fn probe(&self) -> Result<(), StoreError> {
        self.database
            .write(|connection| {
                let transaction = connection
                    .transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)
                    .map_err(failed)?;
                transaction.rollback().map_err(failed)
            })
            .await
    }
}
