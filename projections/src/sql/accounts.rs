//! Beside the log: people who can sign in. Accounts belong to the platform, since a person signs in
//! once for all companies.

use super::{Columns, FromColumns, Statement, Unreadable};
use crate::read_models::Account;
use token_ledger_domain::{CompanyId, PersonId, Timestamp};

/// The account of this e-mail address.
pub(super) fn of(email: &str) -> Statement {
    Statement::new(
        "SELECT person_id, email, password_hash FROM accounts WHERE company_id = ?1 AND email = ?2",
    )
    .with(CompanyId::PLATFORM)
    .with(email.to_owned())
}

/// Stores an account, or its new password.
pub(super) fn save(account: &Account, now: Timestamp) -> Statement {
    Statement::new(
        "INSERT INTO accounts (company_id, person_id, email, password_hash, created_at) \
         VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT (company_id, person_id) DO UPDATE SET \
         email = excluded.email, password_hash = excluded.password_hash",
    )
    .with(CompanyId::PLATFORM)
    .with(account.person_id)
    .with(account.email.clone())
    .with(account.password_hash.clone())
    .with(now)
}

impl FromColumns for Account {
    fn from_columns<C: Columns>(row: &C) -> Result<Self, Unreadable> {
        Ok(Self {
            person_id: PersonId(row.uuid(0)?),
            email: row.text(1)?.to_owned(),
            password_hash: row.optional_text(2)?.map(str::to_owned),
        })
    }
}
