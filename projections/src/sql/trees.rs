//! Trees, their checkpoints, and the follower that builds them, in SQL.

use super::{Columns, FromColumns, Sql, Statement, Unreadable, Value};
use crate::runner::Behind;
use crate::sql::checkpoints::{self, Place, earliest, places};
use crate::tree::{Edge, LogHead, SignedCheckpoint, TREE_NAME, TREE_VERSION, TileData};
use async_trait::async_trait;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;
use token_ledger_domain::{CompanyId, Timestamp};
use token_ledger_event_store::StoreError;

/// Entries that are taken into the tree in one transaction: 64 full tiles.
const BATCH: usize = 64 * 256;

/// How long it is left to another process that is at it.
const ELSEWHERE: Duration = Duration::from_millis(50);

const LEAVES: &str = "SELECT position, entry_hash FROM events \
    WHERE company_id = ?1 AND position > ?2 ORDER BY position LIMIT ?3";
// Only whoever still finds the checkpoint where it was read may move it: a leaf is never taken in
// twice, whichever process was faster. Of several processes, one is at it at a time.
const MOVE: &str = "INSERT INTO checkpoints (company_id, projection, version, position) \
    VALUES (?1, ?2, ?3, ?4) ON CONFLICT (company_id, projection) DO UPDATE SET \
    version = excluded.version, position = excluded.position \
    WHERE checkpoints.position = ?5 OR checkpoints.version <> excluded.version";
const FORGET: &str = "DELETE FROM checkpoints WHERE company_id = ?1 AND projection = ?2";
const CLEAR: &str = "DELETE FROM log_tiles WHERE company_id = ?1";
const PUT_TILE: &str = "INSERT INTO log_tiles (company_id, level, tile, hashes) \
    VALUES (?1, ?2, ?3, ?4) ON CONFLICT (company_id, level, tile) DO UPDATE SET \
    hashes = excluded.hashes";
const LEVEL: &str = "SELECT level, tile, hashes FROM log_tiles \
    WHERE company_id = ?1 AND level = ?2 AND tile >= ?3 ORDER BY tile LIMIT ?4";
const PREDECESSORS: &str = "SELECT e.position, p.entry_hash FROM events e JOIN events p \
    ON p.aggregate_type = e.aggregate_type AND p.aggregate_id = e.aggregate_id \
    AND p.sequence = e.sequence - 1 AND p.company_id = e.company_id \
    WHERE e.company_id = ?1 AND e.position > ?2 AND e.position <= ?3 ORDER BY e.position";
const LAST_CHECKPOINT: &str = "SELECT company_id, origin, size, root, verifier_key, note, \
    cosignatures, signed_at FROM log_checkpoints WHERE company_id = ?1 AND origin = ?2 \
    ORDER BY size DESC LIMIT 1";
const CHECKPOINT: &str = "SELECT company_id, origin, size, root, verifier_key, note, \
    cosignatures, signed_at FROM log_checkpoints \
    WHERE company_id = ?1 AND origin = ?2 AND size = ?3";
// The row of the head is the lock: of several processes, one signs at a time, and each checkpoint
// is of a larger tree than the one before.
const RAISE_HEAD: &str = "INSERT INTO log_heads (company_id, origin, verifier_key, size) \
    VALUES (?1, ?2, ?3, ?4) ON CONFLICT (company_id, origin) DO UPDATE SET size = excluded.size \
    WHERE log_heads.size < excluded.size AND log_heads.verifier_key = excluded.verifier_key";
const LOG_HEADS: &str = "SELECT origin, verifier_key, size FROM log_heads \
    WHERE company_id = ?1 ORDER BY origin";
// A log that nothing was signed for has a head of no entries.
const NAME_KEY: &str = "INSERT INTO log_heads (company_id, origin, verifier_key, size) \
    VALUES (?1, ?2, ?3, 0) ON CONFLICT DO NOTHING";
const NAMED_KEY: &str = "SELECT verifier_key FROM log_heads WHERE company_id = ?1 AND origin = ?2";
const KEEP_CHECKPOINT: &str = "INSERT INTO log_checkpoints (company_id, origin, size, root, \
    verifier_key, note, cosignatures, signed_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
// Of each witness once, whichever processes have asked it.
const KEEP_COSIGNATURE: &str = "UPDATE log_checkpoints SET cosignatures = cosignatures || ?4 \
    WHERE company_id = ?1 AND origin = ?2 AND size = ?3 \
    AND replace(cosignatures, ?5, '') = cosignatures";

impl FromColumns for TileData {
    fn from_columns<C: Columns>(row: &C) -> Result<Self, Unreadable> {
        let hashes = row.optional_bytes(2)?.unwrap_or_default();
        if hashes.is_empty() || hashes.len() % 32 > 0 || hashes.len() > 256 * 32 {
            let problem = format!("{} bytes are not 1 to 256 hashes", hashes.len());
            return Err(row.unreadable(2, problem));
        }
        Ok(Self { level: row.number(0)?, index: row.number(1)?, hashes: hashes.to_vec() })
    }
}

/// An entry's hash with a position.
struct Leaf {
    position: u64,
    hash: [u8; 32],
}

impl FromColumns for Leaf {
    fn from_columns<C: Columns>(row: &C) -> Result<Self, Unreadable> {
        Ok(Self { position: row.number(0)?, hash: row.digest(1)?.0 })
    }
}

impl FromColumns for SignedCheckpoint {
    fn from_columns<C: Columns>(row: &C) -> Result<Self, Unreadable> {
        Ok(Self {
            company_id: row.company(0)?,
            origin: row.text(1)?.to_owned(),
            size: row.number(2)?,
            root: row.digest(3)?.0,
            verifier_key: row.text(4)?.to_owned(),
            note: row.text(5)?.to_owned(),
            cosignatures: row.text(6)?.to_owned(),
            signed_at: row.time(7)?,
        })
    }
}

impl FromColumns for LogHead {
    fn from_columns<C: Columns>(row: &C) -> Result<Self, Unreadable> {
        Ok(Self {
            origin: row.text(0)?.to_owned(),
            verifier_key: row.text(1)?.to_owned(),
            size: row.number(2)?,
        })
    }
}

fn bytes(bytes: &[u8]) -> Value<'static> {
    Value::Bytes(Some(Cow::Owned(bytes.to_vec())))
}

/// What a signature line begins with: a dash, the witness's name and a space each.
fn cosigner(line: &str) -> String {
    line.split_inclusive(' ').take(2).collect()
}

fn put(company: CompanyId, tile: &TileData) -> Statement {
    Statement::new(PUT_TILE)
        .with(company)
        .with(u32::from(tile.level))
        .with(tile.index)
        .with(bytes(&tile.hashes))
}

/// Trees and checkpoints. Every answer here fails when the database does.
#[derive(Clone, Debug)]
pub struct Trees {
    sql: Sql,
}

impl Trees {
    /// Those in this database.
    pub const fn new(sql: Sql) -> Self {
        Self { sql }
    }

    /// The number of leaves that the company's tree has.
    pub async fn size(&self, company: CompanyId) -> Result<u64, StoreError> {
        let query = Statement::new(checkpoints::ONE).with(company).with(TREE_NAME);
        let stored: Option<Place> = self.sql.fetch_one(query).await?;
        Ok(stored.map_or(0, |place| place.of(TREE_VERSION)))
    }

    /// The stored tiles among those asked for, by level and index.
    pub async fn tiles(
        &self,
        company: CompanyId,
        tiles: &[(u8, u64)],
    ) -> Result<Vec<TileData>, StoreError> {
        if tiles.is_empty() {
            return Ok(Vec::new());
        }
        // One look-up each: where the pairs are alternatives of one condition, SQLite reads all
        // tiles of the company.
        let mut query = Statement::new("").with(company);
        let mut wanted = Vec::with_capacity(tiles.len());
        for (level, index) in tiles {
            query = query.with(u32::from(*level)).with(*index);
            let last = query.parameters.len();
            wanted.push(format!(
                "SELECT level, tile, hashes FROM log_tiles \
                 WHERE company_id = ?1 AND level = ?{} AND tile = ?{last}",
                last - 1
            ));
        }
        query.text = wanted.join(" UNION ALL ").into();
        self.sql.fetch(query).await
    }

    /// Stored tiles of a level, from an index on, in order.
    pub async fn level(
        &self,
        company: CompanyId,
        level: u8,
        from: u64,
        limit: usize,
    ) -> Result<Vec<TileData>, StoreError> {
        let query = Statement::new(LEVEL);
        self.sql.fetch(query.with(company).with(u32::from(level)).with(from).with(limit)).await
    }

    /// The entry hashes of the stream predecessors of the events behind `after`, up to `last`: by
    /// position of the event, none for the first one of a stream.
    pub async fn predecessors(
        &self,
        company: CompanyId,
        after: u64,
        last: u64,
    ) -> Result<Vec<(u64, [u8; 32])>, StoreError> {
        let query = Statement::new(PREDECESSORS).with(company).with(after).with(last);
        let found: Vec<Leaf> = self.sql.fetch(query).await?;
        Ok(found.into_iter().map(|leaf| (leaf.position, leaf.hash)).collect())
    }

    /// The checkpoint of the largest tree that was signed for this origin.
    pub async fn last_checkpoint(
        &self,
        company: CompanyId,
        origin: &str,
    ) -> Result<Option<SignedCheckpoint>, StoreError> {
        let query = Statement::new(LAST_CHECKPOINT).with(company).with(origin.to_owned());
        self.sql.fetch_one(query).await
    }

    /// The checkpoint of this size that was signed for this origin.
    pub async fn checkpoint(
        &self,
        company: CompanyId,
        origin: &str,
        size: u64,
    ) -> Result<Option<SignedCheckpoint>, StoreError> {
        let query = Statement::new(CHECKPOINT).with(company).with(origin.to_owned()).with(size);
        self.sql.fetch_one(query).await
    }

    /// Checkpoints of a company, of all origins, in the order in which they were signed; the newest
    /// first where `descending`. Behind the one with this time, origin and size.
    pub async fn checkpoints(
        &self,
        company: CompanyId,
        after: Option<(Timestamp, String, u64)>,
        descending: bool,
        limit: usize,
    ) -> Result<Vec<SignedCheckpoint>, StoreError> {
        let (beyond, order) = if descending { ("<", "DESC") } else { (">", "ASC") };
        let mut query = Statement::new("").with(company).with(limit);
        let mut place = String::new();
        if let Some((signed_at, origin, size)) = after {
            query = query.with(signed_at).with(origin).with(size);
            place = format!(" AND (signed_at, origin, size) {beyond} (?3, ?4, ?5)");
        }
        query.text = format!(
            "SELECT company_id, origin, size, root, verifier_key, note, cosignatures, signed_at \
             FROM log_checkpoints WHERE company_id = ?1{place} \
             ORDER BY signed_at {order}, origin {order}, size {order} LIMIT ?2"
        )
        .into();
        self.sql.fetch(query).await
    }

    /// Builds the company's tree anew from its events; tells how many leaves there are so far, and
    /// answers how many in the end.
    pub async fn rebuild(
        &self,
        company: CompanyId,
        tell: &(dyn Fn(u64) + Send + Sync),
    ) -> Result<u64, StoreError> {
        let forget = Statement::new(FORGET).with(company).with(TREE_NAME);
        self.sql.transact(vec![forget, Statement::new(CLEAR).with(company)]).await?;
        let mut size = 0;
        loop {
            match self.advance(company).await? {
                Some(reached) if reached == size => return Ok(size),
                Some(reached) => {
                    size = reached;
                    tell(size);
                }
                // Another process is at it.
                None => tokio::time::sleep(ELSEWHERE).await,
            }
        }
    }

    /// How far each log of a company has been signed, in the order of the origins.
    pub async fn log_heads(&self, company: CompanyId) -> Result<Vec<LogHead>, StoreError> {
        self.sql.fetch(Statement::new(LOG_HEADS).with(company)).await
    }

    /// Names the key that a company's log is signed with, in note form, unless one was named
    /// before; answers the one that counts.
    pub async fn name_key(
        &self,
        company: CompanyId,
        origin: &str,
        verifier_key: &str,
    ) -> Result<String, StoreError> {
        let name = Statement::new(NAME_KEY).with(company).with(origin.to_owned());
        self.sql.execute(name.with(verifier_key.to_owned())).await?;
        let query = Statement::new(NAMED_KEY).with(company).with(origin.to_owned());
        let named: Option<String> = self.sql.fetch_one(query).await?;
        named.ok_or_else(|| StoreError::Rejected("a log's key was not named".to_owned()))
    }

    /// Stores a checkpoint; `false`, and nothing is stored, where one of this origin is as large or
    /// was signed with another key.
    pub async fn keep_checkpoint(&self, checkpoint: &SignedCheckpoint) -> Result<bool, StoreError> {
        let head = Statement::new(RAISE_HEAD)
            .with(checkpoint.company_id)
            .with(checkpoint.origin.clone())
            .with(checkpoint.verifier_key.clone())
            .with(checkpoint.size)
            .required();
        let keep = Statement::new(KEEP_CHECKPOINT)
            .with(checkpoint.company_id)
            .with(checkpoint.origin.clone())
            .with(checkpoint.size)
            .with(bytes(&checkpoint.root))
            .with(checkpoint.verifier_key.clone())
            .with(checkpoint.note.clone())
            .with(checkpoint.cosignatures.clone())
            .with(checkpoint.signed_at);
        self.sql.transact_along(vec![head, keep]).await
    }

    /// Adds a witness's signature line to a checkpoint, unless it has one of this witness.
    pub async fn keep_cosignature(
        &self,
        checkpoint: &SignedCheckpoint,
        line: &str,
    ) -> Result<(), StoreError> {
        let keep = Statement::new(KEEP_COSIGNATURE)
            .with(checkpoint.company_id)
            .with(checkpoint.origin.clone())
            .with(checkpoint.size)
            .with(line.to_owned())
            .with(cosigner(line));
        self.sql.execute(keep).await
    }
}

#[async_trait]
impl Behind for Trees {
    fn name(&self) -> &'static str {
        TREE_NAME
    }

    fn at_once(&self) -> usize {
        self.sql.at_once()
    }

    async fn checkpoint(&self, company: CompanyId) -> Result<u64, StoreError> {
        self.size(company).await
    }

    async fn checkpoints(&self) -> Result<BTreeMap<CompanyId, u64>, StoreError> {
        let query = Statement::new(checkpoints::EVERY).with(TREE_NAME);
        Ok(places(self.sql.fetch(query).await?, TREE_VERSION))
    }

    async fn behind_since(&self) -> Result<Option<Timestamp>, StoreError> {
        let query = Statement::new(checkpoints::BEHIND_SINCE);
        Ok(earliest(self.sql.fetch(query.with(TREE_NAME).with(TREE_VERSION)).await?))
    }

    async fn advance(&self, company: CompanyId) -> Result<Option<u64>, StoreError> {
        let size = self.size(company).await?;
        let query = Statement::new(LEAVES).with(company).with(size).with(BATCH);
        let leaves: Vec<Leaf> = self.sql.fetch(query).await?;
        let Some(last) = leaves.last().map(|leaf| leaf.position) else { return Ok(Some(size)) };
        let tiles = self.tiles(company, &Edge::tiles(size)).await?;
        let corrupt =
            |position, problem: String| StoreError::Corrupt { company, position, problem };
        let mut edge =
            Edge::restore(size, &tiles).map_err(|error| corrupt(size, error.to_string()))?;
        let mut full = Vec::new();
        for leaf in &leaves {
            let expected = edge.size() + 1;
            if leaf.position != expected {
                return Err(corrupt(expected, "the event is missing".to_owned()));
            }
            edge.push(&leaf.hash, &mut full);
        }
        let mut statements = Vec::new();
        if let Some(claim) = self.sql.dialect().claim {
            if size == 0 {
                let begin = Statement::new(checkpoints::BEGIN);
                statements.push(begin.with(company).with(TREE_NAME).with(TREE_VERSION));
            }
            let claim = Statement::new(format!("{} {claim}", checkpoints::ONE));
            statements.push(claim.with(company).with(TREE_NAME).required());
        }
        statements.push(
            Statement::new(MOVE)
                .with(company)
                .with(TREE_NAME)
                .with(TREE_VERSION)
                .with(last)
                .with(size)
                .required(),
        );
        if size == 0 {
            // Another version may have left tiles.
            statements.push(Statement::new(CLEAR).with(company));
        }
        statements.extend(full.iter().map(|tile| put(company, tile)));
        statements.extend(edge.partial().map(|tile| put(company, &tile)));
        let taken = self.sql.transact_along(statements).await?;
        // Else another process is at it, or was faster.
        Ok(taken.then_some(last))
    }
}
