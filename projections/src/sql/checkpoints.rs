//! How far the projections behind the log have come.

use super::{Columns, FromColumns, Statement, Unreadable};
use crate::read_models::Checkpoint;

/// A projection's checkpoint in one company: position and version.
pub const ONE: &str =
    "SELECT position, version FROM checkpoints WHERE company_id = ?1 AND projection = ?2";
/// The first one, so that there is a row to lock.
pub const BEGIN: &str = "INSERT INTO checkpoints (company_id, projection, version, position) \
    VALUES (?1, ?2, ?3, 0) ON CONFLICT DO NOTHING";
/// Moves a projection's checkpoint in one company.
pub const MOVE: &str = "INSERT INTO checkpoints (company_id, projection, version, position) \
    VALUES (?1, ?2, ?3, ?4) ON CONFLICT (company_id, projection) DO UPDATE SET \
    version = excluded.version, position = excluded.position";

/// All of them.
pub(super) fn all() -> Statement {
    Statement::new(
        "SELECT company_id, projection, version, position FROM checkpoints \
         ORDER BY company_id, projection",
    )
}

impl FromColumns for Checkpoint {
    fn from_columns<C: Columns>(row: &C) -> Result<Self, Unreadable> {
        Ok(Self {
            company_id: row.company(0)?,
            projection: row.text(1)?.to_owned(),
            version: row.number(2)?,
            position: row.number(3)?,
        })
    }
}
