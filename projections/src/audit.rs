//! The audit trail: where to find events by who, what and when.

use crate::projection::{Misfit, Projection};
use token_ledger_domain::event::AggregateType;
use token_ledger_domain::{Actor, CompanyId, Timestamp};
use token_ledger_event_store::Appended;
use uuid::Uuid;

/// The projection.
#[derive(Clone, Copy, Debug)]
pub struct AuditTrail;

/// One event of the trail; its content is joined from the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditRow {
    /// The company.
    pub company_id: CompanyId,
    /// The position in its ledger.
    pub position: u64,
    /// The kind of aggregate that it happened to.
    pub aggregate_type: AggregateType,
    /// The aggregate.
    pub aggregate_id: Uuid,
    /// What happened.
    pub event_type: String,
    /// Who did it.
    pub actor: Actor,
    /// When it was recorded.
    pub recorded_at: Timestamp,
}

impl Projection for AuditTrail {
    type Key = u64;
    type Row = AuditRow;
    const NAME: &'static str = "audit";
    const VERSION: u32 = 1;
    const BEHIND: bool = true;

    fn key(event: &Appended) -> Option<u64> {
        Some(event.position)
    }

    fn begins(_: &Appended) -> bool {
        true
    }

    fn apply(_: Option<AuditRow>, event: &Appended) -> Result<Option<AuditRow>, Misfit> {
        Ok(Some(AuditRow {
            company_id: event.company,
            position: event.position,
            aggregate_type: event.stream.kind,
            aggregate_id: event.stream.id,
            event_type: event.event.type_name().to_owned(),
            actor: event.actor,
            recorded_at: event.recorded_at,
        }))
    }

    fn row_key(row: &AuditRow) -> u64 {
        row.position
    }

    fn row_position(row: &AuditRow) -> u64 {
        row.position
    }
}
