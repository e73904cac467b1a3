//! Erasing what names or describes a person, in SQL.

use super::{Sql, Statement};
use token_ledger_domain::{CompanyId, MemberId, PersonId};
use token_ledger_event_store::StoreError;
use uuid::Uuid;

/// What belongs to an account, the account last.
const ACCOUNT: [&str; 3] = ["sessions", "links", "accounts"];
const HAS_ACCOUNT: &str = "SELECT count(*) FROM accounts WHERE company_id = ?1 AND person_id = ?2";

/// Erases what names or describes a person. Everything can be asked again, where the database fails.
#[derive(Clone, Debug)]
pub struct Erasures {
    sql: Sql,
}

impl Erasures {
    /// Those in this database.
    pub const fn new(sql: Sql) -> Self {
        Self { sql }
    }

    /// Removes private parts of events, with their salts.
    pub async fn private_parts(
        &self,
        company: CompanyId,
        positions: &[u64],
    ) -> Result<(), StoreError> {
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

    /// Removes where the attempts of these actors came from and with what, in this company and on
    /// the platform.
    pub async fn attempts(&self, company: CompanyId, actors: &[Uuid]) -> Result<(), StoreError> {
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

    /// Removes the person's account with all that belongs to it, unless the person is a member of
    /// some company by a membership that is none of those that were erased; answers whether it is
    /// gone.
    pub async fn account(&self, person: PersonId, erased: &[MemberId]) -> Result<bool, StoreError> {
        let statements = ACCOUNT.map(|table| {
            let mut statement = Statement::new("").with(CompanyId::PLATFORM).with(person);
            let places: Vec<String> =
                erased.iter().map(|member| statement.place(*member)).collect();
            let still = if places.is_empty() {
                String::new()
            } else {
                format!(" AND member_id NOT IN ({})", places.join(", "))
            };
            let text = format!(
                "DELETE FROM {table} WHERE company_id = ?1 AND person_id = ?2 AND NOT EXISTS \
                 (SELECT 1 FROM members WHERE person_id = ?2{still})"
            );
            Statement { text: text.into(), ..statement }
        });
        self.sql.transact(statements.into()).await?;
        let account = Statement::new(HAS_ACCOUNT).with(CompanyId::PLATFORM).with(person);
        let left: Option<i64> = self.sql.fetch_one(account).await?;
        Ok(left.is_none_or(|count| count == 0))
    }

    /// Overwrites what was erased, as far as the database allows.
    pub async fn overwrite(&self) -> Result<(), StoreError> {
        self.sql.overwrite().await
    }
}
