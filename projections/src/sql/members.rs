//! The table of members.

use super::table::table;
use super::{Columns, FromColumns, Statement, Table, Unreadable};
use crate::members::{MemberRow, Members};
use token_ledger_domain::{CompanyId, MemberId, PersonId};
use uuid::Uuid;

table!(
    Members,
    "members",
    "member_id",
    Uuid::nil(),
    {
        "company_id": Uuid,
        "member_id": Uuid,
        "person_id": Uuid,
        "role": Text,
        "added_at": Int,
        "version": Int,
        "position": Int,
    },
    row => [
        row.company_id,
        row.member_id,
        row.person_id,
        row.role.as_str(),
        row.added_at,
        row.version,
        row.position,
    ]
);

impl FromColumns for MemberRow {
    fn from_columns<C: Columns>(row: &C) -> Result<Self, Unreadable> {
        Ok(Self {
            company_id: row.company(0)?,
            member_id: MemberId(row.uuid(1)?),
            person_id: PersonId(row.uuid(2)?),
            role: row.parsed(3)?,
            added_at: row.time(4)?,
            version: row.number(5)?,
            position: row.number(6)?,
        })
    }
}

/// A company's members, in the order of their identifiers, behind the one given.
pub(super) fn page(company: CompanyId, after: Option<Uuid>, limit: usize) -> Statement {
    Statement::new(Members::statements().range.as_str())
        .with(company)
        .with(after.unwrap_or(Members::FIRST))
        .with(limit)
}
