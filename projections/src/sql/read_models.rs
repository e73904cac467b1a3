//! The read models' questions, on whichever database runs statements.

use super::{
    Sql, Table, attempts, audit, checkpoints, clients, companies, keys, operations, programs,
    tokens, tokens_query, uses,
};
use crate::attempts::{Attempt, AttemptFilter, AttemptKind};
use crate::clients::{ClientRow, ClientStatus};
use crate::companies::CompanyRow;
use crate::index::Use;
use crate::keys::Keys;
use crate::members::{MemberRow, Members};
use crate::read_models::{
    AuditRecord, Checkpoint, DayCount, DueTerm, KeyRecord, Named, Operation, Positions, Programs,
    TokenFilter, TokenPage, TokenRecord,
};
use crate::tokens::Tokens;
use std::collections::{BTreeMap, BTreeSet};
use token_ledger_domain::{ClientId, CompanyId, Digest, KeyId, Timestamp, TokenId};
use token_ledger_event_store::StoreError;
use uuid::Uuid;

/// Events that are looked through at a time for a secret that no token has any more: a few tens of
/// milliseconds, so that no reader is held for long.
const SEARCHED_AT_ONCE: u64 = 20_000;

/// The read models, and the tables beside the log. Every answer here fails when the database does.
#[derive(Clone, Debug)]
pub struct ReadModels {
    sql: Sql,
}

impl ReadModels {
    /// Those in this database.
    pub const fn new(sql: Sql) -> Self {
        Self { sql }
    }

    /// A token.
    pub async fn token(
        &self,
        company: CompanyId,
        id: TokenId,
    ) -> Result<Option<TokenRecord>, StoreError> {
        self.sql.fetch_one(tokens::one(company, id)).await
    }

    /// A page of a company's tokens.
    pub async fn tokens(
        &self,
        company: CompanyId,
        filter: &TokenFilter,
        page: &TokenPage,
    ) -> Result<Vec<TokenRecord>, StoreError> {
        let mut found: Vec<TokenRecord> = Vec::new();
        for look in tokens_query::looks(self.sql.dialect(), company, filter, page) {
            found.extend(self.sql.fetch(look.searching()).await?);
            if found.len() >= page.limit {
                break;
            }
        }
        found.truncate(page.limit);
        Ok(found)
    }

    /// How many tokens of a company the filter lets through.
    pub async fn count_tokens(
        &self,
        company: CompanyId,
        filter: &TokenFilter,
    ) -> Result<u64, StoreError> {
        let count: Option<i64> = self
            .sql
            .fetch_one(tokens_query::count(self.sql.dialect(), company, filter).searching())
            .await?;
        Ok(count.and_then(|count| count.try_into().ok()).unwrap_or(0))
    }

    /// The tokens of a company that the filter lets through, in any order: their identifiers, if
    /// there are no more than `most` of them. Looks through the company's tokens once, and no
    /// further than to the first one too many.
    pub async fn few_tokens(
        &self,
        company: CompanyId,
        filter: &TokenFilter,
        most: usize,
    ) -> Result<Option<Vec<TokenId>>, StoreError> {
        let look = tokens_query::some(self.sql.dialect(), company, filter, most + 1);
        let found: Vec<Uuid> = self.sql.fetch(look.searching()).await?;
        Ok((found.len() <= most).then(|| found.into_iter().map(TokenId).collect()))
    }

    /// A page of these tokens.
    pub async fn tokens_among(
        &self,
        company: CompanyId,
        among: &[TokenId],
        page: &TokenPage,
    ) -> Result<Vec<TokenRecord>, StoreError> {
        if among.is_empty() {
            return Ok(Vec::new());
        }
        self.sql.fetch(tokens_query::among(company, among, page)).await
    }

    /// The token that a secret belongs or ever belonged to. Looks through the whole ledger where
    /// the secret is an old one: for incidents, not for verification.
    pub async fn token_of_secret(
        &self,
        company: CompanyId,
        digest: Digest,
    ) -> Result<Option<TokenId>, StoreError> {
        let live = tokens::of_live_secret(company, digest).searching();
        let live: Option<Uuid> = self.sql.fetch_one(live).await?;
        if let Some(id) = live {
            return Ok(Some(TokenId(id)));
        }
        let head: Option<i64> = self.sql.fetch_one(tokens::head(company)).await?;
        let mut last = head.and_then(|head| u64::try_from(head).ok()).unwrap_or(0);
        // The newest first: a secret that leaks has mostly been in use lately.
        while last > 0 {
            let after = last.saturating_sub(SEARCHED_AT_ONCE);
            let part = tokens::of_secret_between(company, digest, after, last).searching();
            if let Some(id) = self.sql.fetch_one::<String>(part).await? {
                return Ok(id.parse().ok());
            }
            last = after;
        }
        Ok(None)
    }

    /// The token that a client got over OAuth and whose current or previous secret this is,
    /// whatever became of it.
    pub async fn client_token_of_secret(
        &self,
        company: CompanyId,
        client: ClientId,
        digest: Digest,
    ) -> Result<Option<TokenId>, StoreError> {
        let id: Option<Uuid> =
            self.sql.fetch_one(tokens::of_clients_secret(company, client, digest)).await?;
        Ok(id.map(TokenId))
    }

    /// A key.
    pub async fn key(
        &self,
        company: CompanyId,
        id: KeyId,
    ) -> Result<Option<KeyRecord>, StoreError> {
        self.sql.fetch_one(keys::one(company, id)).await
    }

    /// A company's keys, newest first, behind the one given.
    pub async fn keys(
        &self,
        company: CompanyId,
        after: Option<KeyId>,
        limit: usize,
    ) -> Result<Vec<KeyRecord>, StoreError> {
        self.sql.fetch(keys::page(company, after, limit)).await
    }

    /// A company.
    pub async fn company(&self, id: CompanyId) -> Result<Option<CompanyRow>, StoreError> {
        self.sql.fetch_one(companies::one(id)).await
    }

    /// The companies of exactly this name.
    pub async fn companies_named(&self, name: &str) -> Result<Vec<CompanyRow>, StoreError> {
        self.sql.fetch(companies::named(name)).await
    }

    /// All companies in the order of their identifiers, behind the one given.
    pub async fn companies(
        &self,
        after: Option<CompanyId>,
        limit: usize,
    ) -> Result<Vec<CompanyRow>, StoreError> {
        self.sql.fetch(companies::page(after, limit)).await
    }

    /// The companies with this in their name, whatever the case of its letters, in the order of
    /// their names and identifiers, behind the one given.
    pub async fn find_companies(
        &self,
        q: &str,
        after: Option<(String, CompanyId)>,
        limit: usize,
    ) -> Result<Vec<CompanyRow>, StoreError> {
        self.sql.fetch(companies::find(self.sql.dialect(), q, after, limit).searching()).await
    }

    /// A company's programs, deleted ones included, with this in their name, whatever the case of
    /// its letters, in the order of their names.
    pub async fn find_programs(
        &self,
        company: CompanyId,
        programs: Programs,
        q: &str,
        limit: usize,
    ) -> Result<Vec<Named>, StoreError> {
        self.sql
            .fetch(programs::find(self.sql.dialect(), company, programs, q, limit).searching())
            .await
    }

    /// A company's members, in the order of their identifiers, behind the one given.
    pub async fn members(
        &self,
        company: CompanyId,
        after: Option<Uuid>,
        limit: usize,
    ) -> Result<Vec<MemberRow>, StoreError> {
        self.sql.fetch(Members::page(company, after, limit)).await
    }

    /// A client, deleted or not.
    pub async fn client(
        &self,
        company: CompanyId,
        id: ClientId,
    ) -> Result<Option<ClientRow>, StoreError> {
        self.sql.fetch_one(clients::one(company, id)).await
    }

    /// A company's clients that have one of these statuses, in the order of their identifiers,
    /// behind the one given.
    pub async fn clients(
        &self,
        company: CompanyId,
        statuses: &BTreeSet<ClientStatus>,
        after: Option<ClientId>,
        limit: usize,
    ) -> Result<Vec<ClientRow>, StoreError> {
        self.sql.fetch(clients::page(company, statuses, after, limit)).await
    }

    /// How many events of a company's audit trail the filter lets through on each day, the
    /// earliest first; days without any are left out.
    pub async fn audit_days(
        &self,
        company: CompanyId,
        filter: &Positions,
    ) -> Result<Vec<DayCount>, StoreError> {
        self.sql.fetch(audit::days(company, filter).searching()).await
    }

    /// A page of a company's audit trail.
    pub async fn audit(
        &self,
        company: CompanyId,
        filter: &Positions,
        limit: usize,
    ) -> Result<Vec<AuditRecord>, StoreError> {
        let page = audit::page(self.sql.dialect(), company, filter, limit);
        self.sql.fetch(page.searching()).await
    }

    /// How far the projections that run behind have come.
    pub async fn checkpoints(&self) -> Result<Vec<Checkpoint>, StoreError> {
        self.sql.fetch(checkpoints::all()).await
    }

    /// Tokens whose term ended by `now` without that being recorded, the longest due first.
    pub async fn due_tokens(
        &self,
        now: Timestamp,
        limit: usize,
    ) -> Result<Vec<DueTerm>, StoreError> {
        self.sql.fetch(tokens::due::<Tokens>(now, limit)).await
    }

    /// Keys whose term ended by `now` without that being recorded.
    pub async fn due_keys(&self, now: Timestamp, limit: usize) -> Result<Vec<DueTerm>, StoreError> {
        self.sql.fetch(tokens::due::<Keys>(now, limit)).await
    }

    /// Notes when tokens were used, and from where. Never lets a time go back.
    pub async fn record_uses(&self, uses: &[Use]) -> Result<(), StoreError> {
        self.sql.transact(uses::record(uses)).await.map(drop)
    }

    /// Stores an operation, or its progress.
    pub async fn save_operation(&self, operation: &Operation) -> Result<(), StoreError> {
        self.sql.execute(operations::save(operation)).await
    }

    /// Forgets an operation that was never begun.
    pub async fn forget_operation(&self, company: CompanyId, id: Uuid) -> Result<(), StoreError> {
        self.sql.execute(operations::forget(company, id)).await
    }

    /// An operation.
    pub async fn operation(
        &self,
        company: CompanyId,
        id: Uuid,
    ) -> Result<Option<Operation>, StoreError> {
        self.sql.fetch_one(operations::one(company, id)).await
    }

    /// The company's latest operation whose request begins so.
    pub async fn latest_operation(
        &self,
        company: CompanyId,
        beginning: &str,
    ) -> Result<Option<Operation>, StoreError> {
        self.sql.fetch_one(operations::latest(company, beginning)).await
    }

    /// The operations that are not finished, of all companies.
    pub async fn open_operations(&self) -> Result<Vec<Operation>, StoreError> {
        self.sql.fetch(operations::open()).await
    }

    /// Stores attempts, and counts those that were not kept.
    pub async fn add_attempts(
        &self,
        attempts: &[Attempt],
        dropped: &BTreeMap<(CompanyId, AttemptKind), u64>,
    ) -> Result<(), StoreError> {
        self.sql.transact(attempts::add_counting(attempts, dropped)).await.map(drop)
    }

    /// Removes all of a company's attempts of this kind but the newest so many of callers who had
    /// shown who they are and as many of others, and counts those that go among the dropped.
    pub async fn trim_attempts(
        &self,
        company: CompanyId,
        kind: AttemptKind,
        keep: usize,
    ) -> Result<(), StoreError> {
        self.sql.transact(attempts::trim(company, kind, keep)).await.map(drop)
    }

    /// A company's attempts, newest first.
    pub async fn attempts(
        &self,
        company: CompanyId,
        filter: &AttemptFilter,
        limit: usize,
    ) -> Result<Vec<Attempt>, StoreError> {
        self.sql.fetch(attempts::page(company, filter, limit)).await
    }

    /// How many of a company's attempts of this kind were not kept, or no longer are.
    pub async fn attempts_dropped(
        &self,
        company: CompanyId,
        kind: AttemptKind,
    ) -> Result<u64, StoreError> {
        let count: Option<i64> = self.sql.fetch_one(attempts::dropped(company, kind)).await?;
        Ok(count.and_then(|count| count.try_into().ok()).unwrap_or(0))
    }

    /// Whether the database can be written.
    pub async fn probe(&self) -> Result<(), StoreError> {
        self.sql.try_writing().await
    }
}
