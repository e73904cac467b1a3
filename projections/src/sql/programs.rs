//! Programs by their names: keys and clients alike.

use super::{Columns, Dialect, FromColumns, Statement, Table, Unreadable};
use crate::clients::Clients;
use crate::keys::Keys;
use crate::read_models::{Named, Programs};
use token_ledger_domain::CompanyId;

impl FromColumns for Named {
    fn from_columns<C: Columns>(row: &C) -> Result<Self, Unreadable> {
        Ok(Self { id: row.uuid(0)?, name: row.text(1)?.to_owned() })
    }
}

/// A company's programs with this in their name.
pub(super) fn find(
    dialect: &Dialect,
    company: CompanyId,
    programs: Programs,
    q: &str,
    limit: usize,
) -> Statement {
    let (table, id) = match programs {
        Programs::Keys => (Keys::TABLE, Keys::KEY),
        Programs::Clients => (Clients::TABLE, Clients::KEY),
    };
    Statement::new(format!(
        "SELECT {id}, name FROM {table} WHERE company_id = ?1 \
         AND {} ORDER BY name, {id} LIMIT ?3",
        (dialect.has)("name", "?2")
    ))
    .with(company)
    .with(q.to_owned())
    .with(limit)
}
