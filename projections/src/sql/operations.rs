//! Beside the log: commands over many tokens, and rebuilds, that were accepted.

use super::{Columns, FromColumns, Statement, Unreadable};
use crate::read_models::Operation;
use token_ledger_domain::CompanyId;
use uuid::Uuid;

/// Stores an operation, or its progress. One that is finished stays as it is, however late somebody
/// else who carried it out tells how far they have come.
pub(super) fn save(operation: &Operation) -> Statement {
    Statement::new(
        "INSERT INTO operations (company_id, operation_id, request, state, matched, done, \
         started_at, finished_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) \
         ON CONFLICT (company_id, operation_id) DO UPDATE SET request = excluded.request, \
         state = excluded.state, matched = excluded.matched, done = excluded.done, \
         finished_at = excluded.finished_at WHERE operations.finished_at IS NULL",
    )
    .with(operation.company_id)
    .with(operation.operation_id)
    .with(operation.request.clone())
    .with(operation.state.clone())
    .with(operation.matched)
    .with(operation.done)
    .with(operation.started_at)
    .with(operation.finished_at)
}

/// Forgets an operation.
pub(super) fn forget(company: CompanyId, id: Uuid) -> Statement {
    Statement::new("DELETE FROM operations WHERE company_id = ?1 AND operation_id = ?2")
        .with(company)
        .with(id)
}

/// An operation.
pub(super) fn one(company: CompanyId, id: Uuid) -> Statement {
    Statement::new(
        "SELECT company_id, operation_id, request, state, matched, done, started_at, finished_at \
         FROM operations WHERE company_id = ?1 AND operation_id = ?2",
    )
    .with(company)
    .with(id)
}

/// The company's latest operation whose request begins so. Identifiers grow with time.
pub(super) fn latest(company: CompanyId, beginning: &str) -> Statement {
    Statement::new(
        "SELECT company_id, operation_id, request, state, matched, done, started_at, finished_at \
         FROM operations WHERE company_id = ?1 AND substr(request, 1, length(?2)) = ?2 \
         ORDER BY operation_id DESC LIMIT 1",
    )
    .with(company)
    .with(beginning.to_owned())
}

/// The operations that are not finished, of all companies.
pub(super) fn open() -> Statement {
    Statement::new(
        "SELECT company_id, operation_id, request, state, matched, done, started_at, finished_at \
         FROM operations WHERE finished_at IS NULL ORDER BY operation_id",
    )
}

impl FromColumns for Operation {
    fn from_columns<C: Columns>(row: &C) -> Result<Self, Unreadable> {
        Ok(Self {
            company_id: row.company(0)?,
            operation_id: row.uuid(1)?,
            request: row.text(2)?.to_owned(),
            state: row.text(3)?.to_owned(),
            matched: row.number(4)?,
            done: row.number(5)?,
            started_at: row.time(6)?,
            finished_at: row.optional_time(7)?,
        })
    }
}
