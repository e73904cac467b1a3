//! All rows of the log's tables, in SQL.

use super::table::companies_in;
use super::{Columns, FromColumns, Sql, Statement, Unreadable};
use crate::survey::{Owner, Stray, StrayTile, SurveyedCheckpoint, SurveyedHead};
use crate::tree::{TREE_NAME, TREE_VERSION};
use token_ledger_domain::CompanyId;
use token_ledger_event_store::StoreError;

const HEADS: &str = "SELECT company_id, last_position, last_recorded_at, company_sequence \
    FROM company_heads ORDER BY company_id";
const CHECKPOINTS: &str = "SELECT company_id, projection, version, position FROM checkpoints \
    ORDER BY company_id, projection";
/// Tables whose rows are all of companies that have a ledger.
const TABLES: [&str; 6] =
    ["events", "event_private", "snapshots", "log_tiles", "log_checkpoints", "companies"];
/// Tables that also have rows of companies that nothing has happened to yet, with what the others
/// have.
const PLACES: [(&str, &str); 2] = [("log_heads", "size"), ("checkpoints", "position")];
/// Tables whose rows stand at positions.
const POSITIONED: [&str; 2] = ["events", "event_private"];
// Head and private parts of one moment: both move with every append.
const PART_BEHIND_HEAD: &str = "SELECT position AS \"event_private.position\" FROM event_private \
    WHERE company_id = ?1 AND position > \
    (SELECT last_position FROM company_heads WHERE company_id = ?1) ORDER BY position LIMIT 1";
// A level has a hash for every 256 of the level below, and a tile for every 256 hashes; the last
// tile may have fewer. Tiles that another version has left go when this one begins.
const STRAY_TILE: &str = "SELECT t.level, t.tile, tree.size FROM log_tiles t CROSS JOIN \
    (SELECT coalesce((SELECT position FROM checkpoints \
    WHERE company_id = ?1 AND projection = ?2), 0) AS size) AS tree \
    WHERE t.company_id = ?1 AND NOT EXISTS (SELECT 1 FROM checkpoints \
    WHERE company_id = ?1 AND projection = ?2 AND version <> ?3) \
    AND CASE WHEN t.level BETWEEN 0 AND 7 AND t.tile >= 0 THEN \
    t.tile > ((tree.size >> CAST(8 * t.level AS integer)) >> 8) \
    OR (t.tile = ((tree.size >> CAST(8 * t.level AS integer)) >> 8) \
    AND length(t.hashes) <> 32 * ((tree.size >> CAST(8 * t.level AS integer)) & 255)) \
    ELSE true END ORDER BY t.level, t.tile LIMIT 1";

impl FromColumns for Owner {
    /// The first column's; it can always be read.
    fn from_columns<C: Columns>(row: &C) -> Result<Self, Unreadable> {
        if let Ok(company) = row.company(0) {
            return Ok(Self::Company(company));
        }
        let bytes = row.optional_bytes(0).ok().flatten().map(|bytes| format!("{bytes:02x?}"));
        let text = || row.optional_text(0).ok().flatten().map(|text| format!("{text:?}"));
        Ok(Self::Unreadable(bytes.or_else(text).unwrap_or_default()))
    }
}

impl FromColumns for SurveyedHead {
    fn from_columns<C: Columns>(row: &C) -> Result<Self, Unreadable> {
        let numbers = || {
            row.time(2)?;
            row.number::<u64>(3)?;
            row.number(1)
        };
        let position = numbers().map_err(|error: Unreadable| error.to_string());
        Ok(Self { owner: Owner::from_columns(row)?, position })
    }
}

impl FromColumns for SurveyedCheckpoint {
    fn from_columns<C: Columns>(row: &C) -> Result<Self, Unreadable> {
        let place = || {
            row.number::<u32>(2)?;
            Ok((row.text(1)?.to_owned(), row.number(3)?))
        };
        let place = place().map_err(|error: Unreadable| error.to_string());
        Ok(Self { owner: Owner::from_columns(row)?, place })
    }
}

impl FromColumns for StrayTile {
    fn from_columns<C: Columns>(row: &C) -> Result<Self, Unreadable> {
        Ok(Self { level: row.int(0)?, index: row.int(1)?, size: row.number(2)? })
    }
}

/// All rows of the log's tables. Every answer here fails when the database does.
#[derive(Clone, Debug)]
pub struct Survey {
    sql: Sql,
}

impl Survey {
    /// Those in this database.
    pub const fn new(sql: Sql) -> Self {
        Self { sql }
    }

    async fn first(
        &self,
        table: &'static str,
        query: Statement,
    ) -> Result<Option<Stray>, StoreError> {
        let position: Option<i64> = self.sql.fetch_one(query).await?;
        Ok(position.map(|position| Stray { table, position }))
    }

    /// The heads of all ledgers, in the order of the companies.
    pub async fn heads(&self) -> Result<Vec<SurveyedHead>, StoreError> {
        self.sql.fetch(Statement::new(HEADS)).await
    }

    /// How far the projections that run behind have come.
    pub async fn checkpoints(&self) -> Result<Vec<SurveyedCheckpoint>, StoreError> {
        self.sql.fetch(Statement::new(CHECKPOINTS)).await
    }

    /// Whose rows there are, table by table; heads are no such rows.
    pub async fn owners(&self) -> Result<Vec<(Owner, &'static str)>, StoreError> {
        let mut owners = Vec::new();
        let all = TABLES.map(|table| (table, companies_in(table)));
        let some = PLACES.map(|(table, place)| {
            (table, format!("SELECT DISTINCT company_id FROM {table} WHERE {place} <> 0"))
        });
        for (table, text) in all.into_iter().chain(some) {
            let found: Vec<Owner> = self.sql.fetch(Statement::new(text)).await?;
            owners.extend(found.into_iter().map(|owner| (owner, table)));
        }
        Ok(owners)
    }

    /// The first row of a company's ledger that stands before its first position.
    pub async fn before_first(&self, company: CompanyId) -> Result<Option<Stray>, StoreError> {
        for table in POSITIONED {
            let text = format!(
                "SELECT position AS \"{table}.position\" FROM {table} \
                 WHERE company_id = ?1 AND position < 1 ORDER BY position LIMIT 1"
            );
            let found = self.first(table, Statement::new(text).with(company)).await?;
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    /// The first private part of a company's ledger that stands behind its head.
    pub async fn part_behind_head(&self, company: CompanyId) -> Result<Option<Stray>, StoreError> {
        self.first("event_private", Statement::new(PART_BEHIND_HEAD).with(company)).await
    }

    /// The first tile that a company's stored tree does not have.
    pub async fn stray_tile(&self, company: CompanyId) -> Result<Option<StrayTile>, StoreError> {
        let query = Statement::new(STRAY_TILE).with(company);
        self.sql.fetch_one(query.with(TREE_NAME).with(TREE_VERSION)).await
    }

    /// What in the schema is not as the migrations make it, in words: triggers that keep events from
    /// being changed and are gone, and such that nobody knows.
    pub async fn schema_differences(&self) -> Result<Vec<String>, StoreError> {
        self.sql.schema_differences().await
    }
}
