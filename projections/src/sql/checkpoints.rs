//! How far the projections behind the log have come.

use super::{Columns, FromColumns, Statement, Table, Unreadable};
use crate::read_models::Checkpoint;
use std::collections::BTreeMap;
use token_ledger_domain::{CompanyId, Timestamp};

/// A projection's checkpoint in one company: position and version.
pub const ONE: &str =
    "SELECT position, version FROM checkpoints WHERE company_id = ?1 AND projection = ?2";
/// A projection's checkpoints in all companies, with whose they are.
pub const EVERY: &str =
    "SELECT position, version, company_id FROM checkpoints WHERE projection = ?1";
/// When the first event was recorded that a projection has not taken in, for each company where there is one.
/// Each is looked up by itself: joined, they would have PostgreSQL read all events.
pub const BEHIND_SINCE: &str = "SELECT (SELECT e.recorded_at FROM events e \
    WHERE e.company_id = h.company_id AND e.position = COALESCE(c.position, 0) + 1) \
    FROM company_heads h LEFT JOIN checkpoints c ON c.company_id = h.company_id \
    AND c.projection = ?1 AND c.version = ?2 WHERE COALESCE(c.position, 0) < h.last_position";
/// The first one, so that there is a row to lock.
pub const BEGIN: &str = "INSERT INTO checkpoints (company_id, projection, version, position) \
    VALUES (?1, ?2, ?3, 0) ON CONFLICT DO NOTHING";
/// Moves a projection's checkpoint in one company.
pub const MOVE: &str = "INSERT INTO checkpoints (company_id, projection, version, position) \
    VALUES (?1, ?2, ?3, ?4) ON CONFLICT (company_id, projection) DO UPDATE SET \
    version = excluded.version, position = excluded.position";

/// Rows that are removed in one transaction: few enough that a command that comes meanwhile hardly waits.
pub const CLEARED_AT_ONCE: u64 = 2_000;

/// Removes rows of a company that another version of a projection left, as many as are removed at once.
pub fn clear<P: Table>(company: CompanyId) -> Statement {
    let (table, key) = (P::TABLE, P::KEY);
    Statement::new(format!(
        "DELETE FROM {table} WHERE company_id = ?1 AND {key} IN \
         (SELECT {key} FROM {table} WHERE company_id = ?1 LIMIT {CLEARED_AT_ONCE})"
    ))
    .with(company)
}

/// All of them.
pub(super) fn all() -> Statement {
    Statement::new(
        "SELECT company_id, projection, version, position FROM checkpoints \
         ORDER BY company_id, projection",
    )
}

/// A projection's checkpoint in one company.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    position: u64,
    version: u32,
}

impl Place {
    /// How far this version of the projection has come: nowhere where another one wrote the
    /// checkpoint, so that all rows are written again.
    pub const fn of(self, version: u32) -> u64 {
        if self.version == version { self.position } else { 0 }
    }
}

impl FromColumns for Place {
    fn from_columns<C: Columns>(row: &C) -> Result<Self, Unreadable> {
        Ok(Self { position: row.number(0)?, version: row.number(1)? })
    }
}

/// One of all companies' checkpoints, if it can be read.
#[derive(Clone, Copy, Debug)]
pub struct Found(Option<(CompanyId, Place)>);

impl FromColumns for Found {
    fn from_columns<C: Columns>(row: &C) -> Result<Self, Unreadable> {
        Ok(Self(row.company(2).ok().zip(Place::from_columns(row).ok())))
    }
}

/// How far this version of a projection has come in each company, as far as that can be read.
pub fn places(found: Vec<Found>, version: u32) -> BTreeMap<CompanyId, u64> {
    let read = found.into_iter().filter_map(|found| found.0);
    read.map(|(company, place)| (company, place.of(version))).collect()
}

/// When an event was recorded, if there is such an event.
#[derive(Clone, Copy, Debug)]
pub struct Since(Option<Timestamp>);

impl FromColumns for Since {
    fn from_columns<C: Columns>(row: &C) -> Result<Self, Unreadable> {
        Ok(Self(row.optional_time(0)?))
    }
}

/// The earliest of them.
pub fn earliest(found: Vec<Since>) -> Option<Timestamp> {
    found.into_iter().filter_map(|since| since.0).min()
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
