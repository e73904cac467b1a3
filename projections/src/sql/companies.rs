//! The table of companies.

use super::table::table;
use super::{Columns, Dialect, FromColumns, Statement, Table, Unreadable};
use crate::companies::{Companies, CompanyRow};
use token_ledger_domain::CompanyId;
use uuid::Uuid;

table!(
    Companies,
    "companies",
    "company_id",
    {
        "company_id": Uuid,
        "name": Text,
        "oauth_app_enabled": Int,
        "policy": Text,
        "created_at": Int,
        "version": Int,
        "position": Int,
    },
    row => [
        row.company_id,
        row.name.as_str(),
        row.oauth_app_enabled,
        // A policy that can't be written is none, which the database refuses.
        serde_json::to_string(&row.policy).ok(),
        row.created_at,
        row.version,
        row.position,
    ],
    index forget_company(CompanyId), apply_company
);

impl FromColumns for CompanyRow {
    fn from_columns<C: Columns>(row: &C) -> Result<Self, Unreadable> {
        let policy = serde_json::from_str(row.text(3)?);
        Ok(Self {
            company_id: row.company(0)?,
            name: row.name(1)?,
            oauth_app_enabled: row.truth(2)?,
            policy: policy.map_err(|error| row.unreadable(3, error))?,
            created_at: row.time(4)?,
            version: row.number(5)?,
            position: row.number(6)?,
        })
    }
}

/// A company.
pub(super) fn one(id: CompanyId) -> Statement {
    Statement::new(format!(
        "SELECT {} FROM companies WHERE company_id = ?1",
        Companies::COLUMNS.join(", ")
    ))
    .with(id)
}

/// The companies of exactly this name.
pub(super) fn named(name: &str) -> Statement {
    Statement::new(format!(
        "SELECT {} FROM companies WHERE name = ?1 ORDER BY company_id",
        Companies::COLUMNS.join(", ")
    ))
    .with(name.to_owned())
}

/// All companies in the order of their identifiers, behind the one given.
pub(super) fn page(after: Option<CompanyId>, limit: usize) -> Statement {
    Statement::new(format!(
        "SELECT {} FROM companies WHERE company_id > ?1 ORDER BY company_id LIMIT ?2",
        Companies::COLUMNS.join(", ")
    ))
    .with(after.map_or_else(Uuid::nil, |id| id.0))
    .with(limit)
}

/// The companies with this in their name, in the order of names, behind the one given.
pub(super) fn find(
    dialect: &Dialect,
    q: &str,
    after: Option<(String, CompanyId)>,
    limit: usize,
) -> Statement {
    let mut statement = Statement::new("");
    let q = statement.place(q.to_owned());
    let mut condition = (dialect.has)("name", &q);
    if let Some((name, id)) = after {
        let (name, id) = (statement.place(name), statement.place(id));
        condition.push_str(&format!(" AND (name, company_id) > ({name}, {id})"));
    }
    let limit = statement.place(limit);
    let text = format!(
        "SELECT {} FROM companies WHERE {condition} ORDER BY name, company_id LIMIT {limit}",
        Companies::COLUMNS.join(", ")
    );
    Statement { text: text.into(), ..statement }
}
