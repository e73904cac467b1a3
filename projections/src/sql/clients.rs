//! The table of OAuth clients.

use super::keys::previous;
use super::table::table;
use super::{Columns, FromColumns, Statement, Table, Unreadable};
use crate::clients::{ClientRow, ClientStatus, Clients};
use std::collections::BTreeSet;
use token_ledger_domain::{ClientId, CompanyId};
use uuid::Uuid;

table!(
    Clients,
    "clients",
    "client_id",
    {
        "company_id": Uuid,
        "client_id": Uuid,
        "name": Text,
        "scopes": Text,
        "digest": Bytes,
        "hint": Text,
        "previous_digest": Bytes,
        "previous_expires_at": Int,
        "created_at": Int,
        "rotated_at": Int,
        "deleted_at": Int,
        "version": Int,
        "position": Int,
    },
    row => [
        row.company_id,
        row.client_id,
        row.name.as_str(),
        row.scopes.to_string(),
        &row.digest,
        row.hint.as_str(),
        row.previous.as_ref().map(|(digest, _)| digest),
        row.previous.map(|(_, end)| end),
        row.created_at,
        row.rotated_at,
        row.deleted_at,
        row.version,
        row.position,
    ],
    index forget_client(ClientId), apply_client
);

impl FromColumns for ClientRow {
    fn from_columns<C: Columns>(row: &C) -> Result<Self, Unreadable> {
        Ok(Self {
            company_id: row.company(0)?,
            client_id: ClientId(row.uuid(1)?),
            name: row.name(2)?,
            scopes: row.parsed(3)?,
            digest: row.digest(4)?,
            hint: row.text(5)?.to_owned(),
            previous: previous(row, 6)?,
            created_at: row.time(8)?,
            rotated_at: row.optional_time(9)?,
            deleted_at: row.optional_time(10)?,
            version: row.number(11)?,
            position: row.number(12)?,
        })
    }
}

/// A client.
pub(super) fn one(company: CompanyId, id: ClientId) -> Statement {
    Statement::new(Clients::statements().one.as_str()).with(company).with(id.0)
}

/// A company's clients that have one of these statuses, in the order of their identifiers, behind
/// the one given.
pub(super) fn page(
    company: CompanyId,
    statuses: &BTreeSet<ClientStatus>,
    after: Option<ClientId>,
    limit: usize,
) -> Statement {
    let statuses = statuses.iter().map(|status| match status {
        ClientStatus::Active => "deleted_at IS NULL",
        ClientStatus::Deleted => "deleted_at IS NOT NULL",
    });
    let any: Vec<&str> = std::iter::once("FALSE").chain(statuses).collect();
    Statement::new(format!(
        "SELECT {} FROM clients WHERE company_id = ?1 AND client_id > ?2 AND ({}) \
         ORDER BY client_id LIMIT ?3",
        Clients::COLUMNS.join(", "),
        any.join(" OR ")
    ))
    .with(company)
    .with(after.map_or_else(Uuid::nil, |id| id.0))
    .with(limit)
}
