//! Erasing what names or describes a person, in SQL.

use super::{Columns, FromColumns, Sql, Statement, Unreadable};
use crate::erasure::Erasures;
use async_trait::async_trait;
use std::sync::Arc;
use token_ledger_domain::{CompanyId, PersonId};
use token_ledger_event_store::StoreError;
use uuid::Uuid;

const ELSEWHERE: &str = "SELECT count(*) FROM members WHERE person_id = ?1 AND company_id <> ?2";
/// What belongs to an account, the account last.
const ACCOUNT: [&str; 3] = [
    "DELETE FROM sessions WHERE company_id = ?1 AND person_id = ?2",
    "DELETE FROM links WHERE company_id = ?1 AND person_id = ?2",
    "DELETE FROM accounts WHERE company_id = ?1 AND person_id = ?2",
];

/// Erasure in an SQL database.
#[derive(Debug)]
pub struct SqlErasures<S> {
    sql: Arc<S>,
}

impl<S> SqlErasures<S> {
    /// In this database.
    pub const fn new(sql: Arc<S>) -> Self {
        Self { sql }
    }
}

/// How many there are.
struct Count(u64);

impl FromColumns for Count {
    fn from_columns<C: Columns>(row: &C) -> Result<Self, Unreadable> {
        Ok(Self(row.number(0)?))
    }
}

#[async_trait]
impl<S: Sql + 'static> Erasures for SqlErasures<S> {
    async fn private_parts(&self, company: CompanyId, positions: &[u64]) -> Result<(), StoreError> {
        if positions.is_empty() {
            return Ok(());
        }
        let mut statement = Statement::new("").with(company);
        let places: Vec<String> =
            positions.iter().map(|position| statement.place(*position)).collect();
        let text = format!(
            "DELETE FROM event_private WHERE company_id = ?1 AND position IN ({})",
            places.join(", ")
        );
        self.sql.execute(Statement { text: text.into(), ..statement }).await
    }

    async fn attempts(&self, company: CompanyId, actors: &[Uuid]) -> Result<(), StoreError> {
        if actors.is_empty() {
            return Ok(());
        }
        let mut statement = Statement::new("").with(company).with(CompanyId::PLATFORM);
        let places: Vec<String> = actors.iter().map(|actor| statement.place(*actor)).collect();
        let text = format!(
            "UPDATE attempts SET ip = NULL, user_agent = NULL \
             WHERE company_id IN (?1, ?2) AND actor_id IN ({})",
            places.join(", ")
        );
        self.sql.execute(Statement { text: text.into(), ..statement }).await
    }

    async fn account(&self, company: CompanyId, person: PersonId) -> Result<bool, StoreError> {
        let elsewhere = Statement::new(ELSEWHERE).with(person).with(company);
        let elsewhere: Option<Count> = self.sql.fetch_one(elsewhere).await?;
        if elsewhere.is_none_or(|count| count.0 > 0) {
            return Ok(false);
        }
        let account = ACCOUNT
            .map(|text| Statement::new(text).with(CompanyId::PLATFORM).with(person))
            .to_vec();
        self.sql.transact(account).await?;
        Ok(true)
    }
}
