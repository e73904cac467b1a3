//! The read models' questions, on whichever database runs statements.

use super::{
    Sql, Table, attempts, audit, checkpoints, clients, companies, keys, operations, programs,
    tokens, tokens_query, uses,
};
use crate::attempts::{Attempt, AttemptFilter, AttemptKind};
use crate::clients::{ClientRow, Clients};
use crate::companies::CompanyRow;
use crate::index::Use;
use crate::keys::Keys;
use crate::members::{MemberRow, Members};
use crate::read_models::{
    AuditFilter, AuditRecord, Checkpoint, DayCount, DueTerm, KeyRecord, Named, Operation, Programs,
    ReadModels, TokenFilter, TokenPage, TokenRecord,
};
use crate::tokens::Tokens;
use async_trait::async_trait;
use std::collections::BTreeMap;
use token_ledger_domain::{ClientId, CompanyId, Digest, KeyId, Timestamp, TokenId};
use token_ledger_event_store::StoreError;
use uuid::Uuid;

/// Events that are looked through at a time for a secret that no token has any more: a few tens of
/// milliseconds, so that no reader is held for long.
const SEARCHED_AT_ONCE: u64 = 20_000;

#[async_trait]
impl<S: Sql> ReadModels for S {
    async fn token(
        &self,
        company: CompanyId,
        id: TokenId,
    ) -> Result<Option<TokenRecord>, StoreError> {
        self.fetch_one(tokens::one(company, id)).await
    }

    async fn tokens(
        &self,
        company: CompanyId,
        filter: &TokenFilter,
        page: &TokenPage,
    ) -> Result<Vec<TokenRecord>, StoreError> {
        let mut found: Vec<TokenRecord> = Vec::new();
        for look in tokens_query::looks(S::DIALECT, company, filter, page) {
            found.extend(self.fetch(look.searching()).await?);
            if found.len() >= page.limit {
                break;
            }
        }
        found.truncate(page.limit);
        Ok(found)
    }

    async fn count_tokens(
        &self,
        company: CompanyId,
        filter: &TokenFilter,
    ) -> Result<u64, StoreError> {
        let count: Option<i64> =
            self.fetch_one(tokens_query::count(S::DIALECT, company, filter).searching()).await?;
        Ok(count.and_then(|count| count.try_into().ok()).unwrap_or(0))
    }

    async fn few_tokens(
        &self,
        company: CompanyId,
        filter: &TokenFilter,
        most: usize,
    ) -> Result<Option<Vec<TokenId>>, StoreError> {
        let look = tokens_query::some(S::DIALECT, company, filter, most + 1);
        let found: Vec<Uuid> = self.fetch(look.searching()).await?;
        Ok((found.len() <= most).then(|| found.into_iter().map(TokenId).collect()))
    }

    async fn tokens_among(
        &self,
        company: CompanyId,
        among: &[TokenId],
        page: &TokenPage,
    ) -> Result<Vec<TokenRecord>, StoreError> {
        if among.is_empty() {
            return Ok(Vec::new());
        }
        self.fetch(tokens_query::among(company, among, page)).await
    }

    async fn token_of_secret(
        &self,
        company: CompanyId,
        digest: Digest,
    ) -> Result<Option<TokenId>, StoreError> {
        let live = tokens::of_live_secret(company, digest).searching();
        let live: Option<Uuid> = self.fetch_one(live).await?;
        if let Some(id) = live {
            return Ok(Some(TokenId(id)));
        }
        let head: Option<i64> = self.fetch_one(tokens::head(company)).await?;
        let mut last = head.and_then(|head| u64::try_from(head).ok()).unwrap_or(0);
        // The newest first: a secret that leaks has mostly been in use lately.
        while last > 0 {
            let after = last.saturating_sub(SEARCHED_AT_ONCE);
            let part = tokens::of_secret_between(company, digest, after, last).searching();
            if let Some(id) = self.fetch_one::<String>(part).await? {
                return Ok(id.parse().ok());
            }
            last = after;
        }
        Ok(None)
    }

    async fn client_token_of_secret(
        &self,
        company: CompanyId,
        client: ClientId,
        digest: Digest,
    ) -> Result<Option<TokenId>, StoreError> {
        let id: Option<Uuid> =
            self.fetch_one(tokens::of_clients_secret(company, client, digest)).await?;
        Ok(id.map(TokenId))
    }

    async fn key(&self, company: CompanyId, id: KeyId) -> Result<Option<KeyRecord>, StoreError> {
        self.fetch_one(keys::one(company, id)).await
    }

    async fn keys(
        &self,
        company: CompanyId,
        after: Option<KeyId>,
        limit: usize,
    ) -> Result<Vec<KeyRecord>, StoreError> {
        self.fetch(keys::page(company, after, limit)).await
    }

    async fn company(&self, id: CompanyId) -> Result<Option<CompanyRow>, StoreError> {
        self.fetch_one(companies::one(id)).await
    }

    async fn companies_named(&self, name: &str) -> Result<Vec<CompanyRow>, StoreError> {
        self.fetch(companies::named(name)).await
    }

    async fn companies(
        &self,
        after: Option<CompanyId>,
        limit: usize,
    ) -> Result<Vec<CompanyRow>, StoreError> {
        self.fetch(companies::page(after, limit)).await
    }

    async fn find_companies(
        &self,
        q: &str,
        after: Option<(String, CompanyId)>,
        limit: usize,
    ) -> Result<Vec<CompanyRow>, StoreError> {
        self.fetch(companies::find(S::DIALECT, q, after, limit).searching()).await
    }

    async fn find_programs(
        &self,
        company: CompanyId,
        programs: Programs,
        q: &str,
        limit: usize,
    ) -> Result<Vec<Named>, StoreError> {
        self.fetch(programs::find(S::DIALECT, company, programs, q, limit).searching()).await
    }

    async fn members(
        &self,
        company: CompanyId,
        after: Option<Uuid>,
        limit: usize,
    ) -> Result<Vec<MemberRow>, StoreError> {
        self.fetch(Members::page(company, after, limit)).await
    }

    async fn client(
        &self,
        company: CompanyId,
        id: ClientId,
    ) -> Result<Option<ClientRow>, StoreError> {
        self.fetch_one(clients::one(company, id)).await
    }

    async fn clients(
        &self,
        company: CompanyId,
        after: Option<ClientId>,
        limit: usize,
    ) -> Result<Vec<ClientRow>, StoreError> {
        self.fetch(Clients::page(company, after.map(|id| id.0), limit)).await
    }

    async fn audit_days(
        &self,
        company: CompanyId,
        filter: &AuditFilter,
    ) -> Result<Vec<DayCount>, StoreError> {
        self.fetch(audit::days(company, filter).searching()).await
    }

    async fn audit(
        &self,
        company: CompanyId,
        filter: &AuditFilter,
        limit: usize,
    ) -> Result<Vec<AuditRecord>, StoreError> {
        let mut found: Vec<AuditRecord> = Vec::new();
        for look in audit::looks(S::DIALECT, company, filter, limit) {
            found.extend(self.fetch(look.searching()).await?);
        }
        found.sort_by_key(|record| record.event.position);
        if filter.descending {
            found.reverse();
        }
        found.truncate(limit);
        Ok(found)
    }

    async fn checkpoints(&self) -> Result<Vec<Checkpoint>, StoreError> {
        self.fetch(checkpoints::all()).await
    }

    async fn due_tokens(&self, now: Timestamp, limit: usize) -> Result<Vec<DueTerm>, StoreError> {
        self.fetch(tokens::due::<Tokens>(now, limit)).await
    }

    async fn due_keys(&self, now: Timestamp, limit: usize) -> Result<Vec<DueTerm>, StoreError> {
        self.fetch(tokens::due::<Keys>(now, limit)).await
    }

    async fn record_uses(&self, uses: &[Use]) -> Result<(), StoreError> {
        self.transact(uses::record(uses)).await.map(drop)
    }

    async fn save_operation(&self, operation: &Operation) -> Result<(), StoreError> {
        self.execute(operations::save(operation)).await
    }

    async fn forget_operation(&self, company: CompanyId, id: Uuid) -> Result<(), StoreError> {
        self.execute(operations::forget(company, id)).await
    }

    async fn operation(
        &self,
        company: CompanyId,
        id: Uuid,
    ) -> Result<Option<Operation>, StoreError> {
        self.fetch_one(operations::one(company, id)).await
    }

    async fn latest_operation(
        &self,
        company: CompanyId,
        beginning: &str,
    ) -> Result<Option<Operation>, StoreError> {
        self.fetch_one(operations::latest(company, beginning)).await
    }

    async fn open_operations(&self) -> Result<Vec<Operation>, StoreError> {
        self.fetch(operations::open()).await
    }

    async fn add_attempts(
        &self,
        attempts: &[Attempt],
        dropped: &BTreeMap<(CompanyId, AttemptKind), u64>,
    ) -> Result<(), StoreError> {
        let mut statements = attempts::add(attempts);
        statements.extend(attempts::add_dropped(dropped));
        self.transact(statements).await.map(drop)
    }

    async fn trim_attempts(
        &self,
        company: CompanyId,
        kind: AttemptKind,
        keep: usize,
    ) -> Result<(), StoreError> {
        self.transact(attempts::trim(company, kind, keep)).await.map(drop)
    }

    async fn attempts(
        &self,
        company: CompanyId,
        filter: &AttemptFilter,
        limit: usize,
    ) -> Result<Vec<Attempt>, StoreError> {
        self.fetch(attempts::page(company, filter, limit)).await
    }

    async fn attempts_dropped(
        &self,
        company: CompanyId,
        kind: AttemptKind,
    ) -> Result<u64, StoreError> {
        let count: Option<i64> = self.fetch_one(attempts::dropped(company, kind)).await?;
        Ok(count.and_then(|count| count.try_into().ok()).unwrap_or(0))
    }

    async fn probe(&self) -> Result<(), StoreError> {
        self.try_writing().await
    }
}
