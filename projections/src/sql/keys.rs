//! The table of keys, and its rows with what is kept beside them.

use super::table::table;
use super::tokens::{IN_PART, status};
use super::{Columns, FromColumns, Statement, Table, Unreadable};
use crate::keys::{KeyRow, Keys};
use crate::read_models::KeyRecord;
use token_ledger_domain::power::KeyScopes;
use token_ledger_domain::{CompanyId, Digest, KeyId, Timestamp};
use uuid::Uuid;

table!(
    Keys,
    "keys",
    "key_id",
    {
        "company_id": Uuid,
        "key_id": Uuid,
        "name": Text,
        "scopes": Text,
        "status": Text,
        "term": Int,
        "digest": Bytes,
        "hint": Text,
        "expires_at": Int,
        "previous_digest": Bytes,
        "previous_expires_at": Int,
        "created_at": Int,
        "created_by_type": Text,
        "created_by_id": Uuid,
        "created_position": Int,
        "refreshed_at": Int,
        "deleted_at": Int,
        "version": Int,
        "position": Int,
    },
    row => [
        row.company_id,
        row.key_id,
        row.name.as_str(),
        scopes_text(&row.scopes),
        row.status.as_str(),
        row.term,
        &row.digest,
        row.hint.as_str(),
        row.expires_at,
        row.previous.as_ref().map(|(digest, _)| digest),
        row.previous.map(|(_, end)| end),
        row.created_at,
        row.created_by.kind.as_str(),
        row.created_by.id,
        row.created_position,
        row.refreshed_at,
        row.deleted_at,
        row.version,
        row.position,
    ],
    index forget_key(KeyId), apply_key
);

fn scopes_text(scopes: &KeyScopes) -> String {
    let scopes: Vec<&str> = scopes.iter().map(|scope| scope.as_str()).collect();
    scopes.join(" ")
}

/// The previous secret and when it ends, in this column and the next.
pub(super) fn previous<C: Columns>(
    row: &C,
    column: usize,
) -> Result<Option<(Digest, Timestamp)>, Unreadable> {
    match (row.optional_digest(column)?, row.optional_time(column + 1)?) {
        (None, None) => Ok(None),
        (Some(digest), Some(end)) => Ok(Some((digest, end))),
        _ => Err(row.unreadable(column, IN_PART)),
    }
}

impl FromColumns for KeyRow {
    fn from_columns<C: Columns>(row: &C) -> Result<Self, Unreadable> {
        let scopes: Result<KeyScopes, _> = row.text(3)?.split(' ').map(str::parse).collect();
        Ok(Self {
            company_id: row.company(0)?,
            key_id: KeyId(row.uuid(1)?),
            name: row.name(2)?,
            scopes: scopes.map_err(|error| row.unreadable(3, error))?,
            status: status(row, 4)?,
            term: row.number(5)?,
            digest: row.digest(6)?,
            hint: row.text(7)?.to_owned(),
            expires_at: row.time(8)?,
            previous: previous(row, 9)?,
            created_at: row.time(11)?,
            created_by: row.actor(12, 13)?,
            created_position: row.number(14)?,
            refreshed_at: row.optional_time(15)?,
            deleted_at: row.optional_time(16)?,
            version: row.number(17)?,
            position: row.number(18)?,
        })
    }
}

fn records(condition_and_order: &str) -> String {
    format!(
        "SELECT {}, p.data FROM keys k LEFT JOIN event_private p \
         ON p.company_id = k.company_id AND p.position = k.created_position {condition_and_order}",
        Keys::columns_of("k")
    )
}

impl FromColumns for KeyRecord {
    fn from_columns<C: Columns>(row: &C) -> Result<Self, Unreadable> {
        let private = row.private(Keys::COLUMNS.len())?;
        Ok(Self {
            row: KeyRow::from_columns(row)?,
            created_by_name: private.and_then(|part| part.actor_name),
        })
    }
}

/// A key.
pub(super) fn one(company: CompanyId, id: KeyId) -> Statement {
    Statement::new(records("WHERE k.company_id = ?1 AND k.key_id = ?2")).with(company).with(id)
}

/// A company's keys, newest first, behind the one given.
pub(super) fn page(company: CompanyId, after: Option<KeyId>, limit: usize) -> Statement {
    Statement::new(records(
        "WHERE k.company_id = ?1 AND k.key_id < ?2 ORDER BY k.key_id DESC LIMIT ?3",
    ))
    .with(company)
    .with(after.map_or_else(Uuid::max, |id| id.0))
    .with(limit)
}
