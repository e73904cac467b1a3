//! The table of members.

use super::table::table;
use super::{Columns, FromColumns, Unreadable};
use crate::members::{MemberRow, Members};
use token_ledger_domain::{MemberId, PersonId};

table!(
    Members,
    "members",
    "member_id",
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
