//! The table of OAuth clients.

use super::keys::previous;
use super::table::table;
use super::{Columns, FromColumns, Statement, Table, Unreadable};
use crate::clients::{ClientRow, Clients};
use token_ledger_domain::{ClientId, CompanyId};

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
