//! The companies' members.

use crate::projection::{Misfit, Projection};
use token_ledger_domain::company::CompanyEvent;
use token_ledger_domain::{CompanyId, LedgerEvent, MemberId, PersonId, Role, Timestamp};
use token_ledger_event_store::Appended;
use uuid::Uuid;

/// The projection.
#[derive(Clone, Copy, Debug)]
pub struct Members;

/// A membership. What names the person is kept with the account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberRow {
    /// The company.
    pub company_id: CompanyId,
    /// The membership.
    pub member_id: MemberId,
    /// The person.
    pub person_id: PersonId,
    /// The role.
    pub role: Role,
    /// When the person became a member.
    pub added_at: Timestamp,
    /// The company's sequence at the last change.
    pub version: u64,
    /// The position of the last change.
    pub position: u64,
}

impl Projection for Members {
    type Key = Uuid;
    type Row = MemberRow;
    const NAME: &'static str = "members";
    const VERSION: u32 = 1;

    fn key(event: &Appended) -> Option<Uuid> {
        let LedgerEvent::Company(change) = &*event.event else { return None };
        match change {
            CompanyEvent::MemberAdded { member_id, .. }
            | CompanyEvent::MemberRoleChanged { member_id, .. }
            | CompanyEvent::MemberRemoved { member_id } => Some(member_id.0),
            _ => None,
        }
    }

    fn begins(event: &Appended) -> bool {
        matches!(*event.event, LedgerEvent::Company(CompanyEvent::MemberAdded { .. }))
    }

    fn apply(row: Option<MemberRow>, event: &Appended) -> Result<Option<MemberRow>, Misfit> {
        let misfit = || Misfit::of::<Self>(event);
        let LedgerEvent::Company(change) = &*event.event else { return Err(misfit()) };
        match (row, change) {
            (None, CompanyEvent::MemberAdded { member_id, person_id, role }) => {
                Ok(Some(MemberRow {
                    company_id: event.company,
                    member_id: *member_id,
                    person_id: *person_id,
                    role: *role,
                    added_at: event.recorded_at,
                    version: event.sequence,
                    position: event.position,
                }))
            }
            (Some(row), CompanyEvent::MemberRoleChanged { role, .. }) => Ok(Some(MemberRow {
                role: *role,
                version: event.sequence,
                position: event.position,
                ..row
            })),
            (Some(_), CompanyEvent::MemberRemoved { .. }) => Ok(None),
            _ => Err(misfit()),
        }
    }

    fn row_key(row: &MemberRow) -> Uuid {
        row.member_id.0
    }

    fn row_position(row: &MemberRow) -> u64 {
        row.position
    }
}
