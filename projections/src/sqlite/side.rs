//! The tables beside the log: last uses, operations and accounts.

use super::failed;
use super::tables::{optional_time, time, uuid};
use crate::read_models::{Account, Operation};
use rusqlite::{Connection, OptionalExtension, Row, TransactionBehavior, params};
use token_ledger_domain::{CompanyId, PersonId, Timestamp, TokenId};
use token_ledger_event_store::StoreError;
use uuid::Uuid;

const RECORD_USE: &str = "INSERT INTO token_uses (company_id, token_id, last_used_at) \
    VALUES (?1, ?2, ?3) ON CONFLICT (company_id, token_id) DO UPDATE SET \
    last_used_at = max(last_used_at, excluded.last_used_at)";
const SAVE_OPERATION: &str = "INSERT INTO operations (company_id, operation_id, request, state, \
    matched, done, started_at, finished_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) \
    ON CONFLICT (company_id, operation_id) DO UPDATE SET request = excluded.request, \
    state = excluded.state, matched = excluded.matched, done = excluded.done, \
    finished_at = excluded.finished_at";
const OPERATION: &str = "SELECT company_id, operation_id, request, state, matched, done, \
    started_at, finished_at FROM operations WHERE company_id = ?1 AND operation_id = ?2";
const OPEN_OPERATIONS: &str = "SELECT company_id, operation_id, request, state, matched, done, \
    started_at, finished_at FROM operations WHERE finished_at IS NULL ORDER BY operation_id";
const ACCOUNT: &str = "SELECT person_id, email, password_hash FROM accounts \
    WHERE company_id = ?1 AND email = ?2";
const SAVE_ACCOUNT: &str = "INSERT INTO accounts (company_id, person_id, email, password_hash, \
    created_at) VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT (company_id, person_id) DO UPDATE SET \
    email = excluded.email, password_hash = excluded.password_hash";

pub(super) fn record_uses(
    connection: &mut Connection,
    uses: &[(CompanyId, TokenId, Timestamp)],
) -> Result<(), StoreError> {
    let transaction =
        connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed)?;
    {
        let mut statement = transaction.prepare_cached(RECORD_USE).map_err(failed)?;
        for (company, token, at) in uses {
            statement
                .execute(params![company.0.as_bytes(), token.0.as_bytes(), at.as_micros()])
                .map_err(failed)?;
        }
    }
    transaction.commit().map_err(failed)
}

pub(super) fn save_operation(
    connection: &Connection,
    operation: &Operation,
) -> Result<(), StoreError> {
    connection
        .prepare_cached(SAVE_OPERATION)
        .map_err(failed)?
        .execute(params![
            operation.company_id.0.as_bytes(),
            operation.operation_id.as_bytes(),
            operation.request,
            operation.state,
            operation.matched,
            operation.done,
            operation.started_at.as_micros(),
            operation.finished_at.map(Timestamp::as_micros),
        ])
        .map_err(failed)?;
    Ok(())
}

fn operation_from_row(row: &Row<'_>) -> rusqlite::Result<Operation> {
    Ok(Operation {
        company_id: CompanyId(uuid(row, 0)?),
        operation_id: uuid(row, 1)?,
        request: row.get(2)?,
        state: row.get(3)?,
        matched: row.get(4)?,
        done: row.get(5)?,
        started_at: time(row, 6)?,
        finished_at: optional_time(row, 7)?,
    })
}

pub(super) fn operation(
    connection: &Connection,
    company: CompanyId,
    id: Uuid,
) -> Result<Option<Operation>, StoreError> {
    connection
        .prepare_cached(OPERATION)
        .map_err(failed)?
        .query_row(params![company.0.as_bytes(), id.as_bytes()], operation_from_row)
        .optional()
        .map_err(failed)
}

pub(super) fn open_operations(connection: &Connection) -> Result<Vec<Operation>, StoreError> {
    connection
        .prepare_cached(OPEN_OPERATIONS)
        .map_err(failed)?
        .query_map([], operation_from_row)
        .map_err(failed)?
        .collect::<Result<_, _>>()
        .map_err(failed)
}

/// Accounts belong to the platform: a person signs in once for all companies.
pub(super) fn account(connection: &Connection, email: &str) -> Result<Option<Account>, StoreError> {
    connection
        .prepare_cached(ACCOUNT)
        .map_err(failed)?
        .query_row(params![CompanyId::PLATFORM.0.as_bytes(), email], |row| {
            Ok(Account {
                person_id: PersonId(uuid(row, 0)?),
                email: row.get(1)?,
                password_hash: row.get(2)?,
            })
        })
        .optional()
        .map_err(failed)
}

pub(super) fn save_account(
    connection: &Connection,
    account: &Account,
    now: Timestamp,
) -> Result<(), StoreError> {
    connection
        .prepare_cached(SAVE_ACCOUNT)
        .map_err(failed)?
        .execute(params![
            CompanyId::PLATFORM.0.as_bytes(),
            account.person_id.0.as_bytes(),
            account.email,
            account.password_hash,
            now.as_micros(),
        ])
        .map_err(failed)?;
    Ok(())
}
