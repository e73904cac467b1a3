//! The companies, with their module and policy.

use crate::projection::{Misfit, Projection};
use token_ledger_domain::company::CompanyEvent;
use token_ledger_domain::{CompanyId, LedgerEvent, Name, Policy, Timestamp};
use token_ledger_event_store::Appended;
use uuid::Uuid;

/// The projection.
#[derive(Clone, Copy, Debug)]
pub struct Companies;

/// A company.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompanyRow {
    /// The company.
    pub company_id: CompanyId,
    /// Its name.
    pub name: Name,
    /// Whether the OAuth App module is on.
    pub oauth_app_enabled: bool,
    /// The policy for terms that begin from now on.
    pub policy: Policy,
    /// When it was registered.
    pub created_at: Timestamp,
    /// The sequence of the last event that changed what is said here.
    pub version: u64,
    /// The position of its last event.
    pub position: u64,
}

impl Projection for Companies {
    type Key = Uuid;
    type Row = CompanyRow;
    const NAME: &'static str = "companies";
    const VERSION: u32 = 1;

    fn key(event: &Appended) -> Option<Uuid> {
        matches!(*event.event, LedgerEvent::Company(_)).then_some(event.company.0)
    }

    fn begins(event: &Appended) -> bool {
        event.sequence == 1
    }

    fn apply(row: Option<CompanyRow>, event: &Appended) -> Result<Option<CompanyRow>, Misfit> {
        let misfit = || Misfit::of::<Self>(event);
        let LedgerEvent::Company(change) = &*event.event else { return Err(misfit()) };
        if let CompanyEvent::Registered { name } = change {
            if row.is_some() {
                return Err(misfit());
            }
            return Ok(Some(CompanyRow {
                company_id: event.company,
                name: name.clone(),
                oauth_app_enabled: false,
                policy: Policy::default(),
                created_at: event.recorded_at,
                version: event.sequence,
                position: event.position,
            }));
        }
        let mut row = row.ok_or_else(misfit)?;
        match change {
            CompanyEvent::OauthAppEnabled {} => row.oauth_app_enabled = true,
            CompanyEvent::OauthAppDisabled {} => row.oauth_app_enabled = false,
            CompanyEvent::PolicyChanged { policy } => row.policy = policy.clone(),
            // Of its members, clients and people.
            _ => return Ok(Some(CompanyRow { position: event.position, ..row })),
        }
        row.version = event.sequence;
        row.position = event.position;
        Ok(Some(row))
    }

    fn row_key(row: &CompanyRow) -> Uuid {
        row.company_id.0
    }

    fn row_position(row: &CompanyRow) -> u64 {
        row.position
    }
}
