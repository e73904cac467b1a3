//! The tree of a ledger, built anew from its events, and what it is compared with.

use super::finding::{Finding, Stop};
use super::kept::KeptEntries;
use super::marks::Mark;
use crate::app::App;
use std::collections::HashMap;
use std::sync::Arc;
use token_ledger_domain::CompanyId;
use token_ledger_event_store::{RecordedEvent, StoreError};
use token_ledger_projections::survey::StrayTile;
use token_ledger_projections::tree::{Edge, TileData};

/// Bytes of a hash.
const HASH: usize = 32;

/// Leaves below a hash of a level: 256 to the power of the level.
fn leaves(level: u8) -> u64 {
    1_u64.checked_shl(8 * u32::from(level)).unwrap_or(u64::MAX)
}

/// The tree as far as the events have been read.
pub(super) struct Tree {
    edge: Edge,
    /// How many entries the stored tree has.
    stored: u64,
    full: Vec<TileData>,
    partial: Vec<TileData>,
    marks: Vec<Mark>,
    next: usize,
    /// Up to where the known checkpoints of each log agree.
    agreed: HashMap<String, Agreed>,
    kept: Option<Arc<KeptEntries>>,
    /// The first position at which another entry was kept.
    first_other: Option<u64>,
    disagreement: Option<Finding>,
    /// What speaks against a checkpoint of which nobody knows who signed it.
    doubt: Option<Finding>,
}

/// Up to where checkpoints of one log agree with the ledger.
#[derive(Clone, Copy, Debug, Default)]
struct Agreed {
    /// The size of the last one that does.
    size: u64,
    /// That of the last smaller one.
    before: u64,
}

impl Agreed {
    fn reaches(&mut self, size: u64) {
        if size > self.size {
            *self = Self { size, before: self.size };
        }
    }

    /// Up to where a checkpoint of this size may rely on the others.
    const fn below(self, size: u64) -> u64 {
        if self.size < size { self.size } else { self.before }
    }
}

impl Tree {
    pub(super) fn new(stored: u64, marks: Vec<Mark>, kept: Option<Arc<KeptEntries>>) -> Self {
        Self {
            edge: Edge::default(),
            stored,
            full: Vec::new(),
            partial: Vec::new(),
            marks,
            next: 0,
            agreed: HashMap::new(),
            kept,
            first_other: None,
            disagreement: None,
            doubt: None,
        }
    }

    /// Takes the next entry.
    pub(super) fn take(&mut self, event: &RecordedEvent) {
        let hash = &event.entry_hash;
        self.edge.push(hash, &mut self.full);
        let size = self.edge.size();
        if self.first_other.is_none()
            && self.kept.as_ref().is_some_and(|kept| kept.is_other(size, hash))
        {
            self.first_other = Some(size);
        }
        if size == self.stored {
            self.partial = self.edge.partial().collect();
        }
        while let Some(mark) = self.marks.get(self.next).filter(|mark| mark.size <= size) {
            if mark.size == size && self.disagreement.is_none() {
                if self.edge.root().is_ok_and(|root| root.0 == mark.root) {
                    if mark.is_too_early(event.recorded_at) {
                        let problem =
                            format!("{} claims to be older than its last entry", mark.source);
                        self.disagreement = Some(Finding::new(size, problem));
                    } else if mark.known {
                        self.agreed.entry(mark.log.clone()).or_default().reaches(size);
                    }
                } else if mark.known {
                    let kept = self.kept.as_ref();
                    let exact = kept.and_then(|kept| kept.differ(mark, self.first_other));
                    let agreed = self.agreed.get(&mark.log).copied().unwrap_or_default();
                    self.disagreement =
                        Some(exact.unwrap_or_else(|| disagreement(mark, agreed.below(size))));
                    // The stored tree may know better where.
                    if size <= self.stored {
                        self.partial = self.edge.partial().collect();
                    }
                } else {
                    self.doubt.get_or_insert_with(|| doubt(mark));
                }
            }
            self.next += 1;
        }
    }

    /// Compares the tiles that are complete by now with the stored ones.
    pub(super) async fn compare(&mut self, app: &App, company: CompanyId) -> Result<(), Stop> {
        let stored = self.stored;
        let mut tiles: Vec<TileData> = std::mem::take(&mut self.full);
        tiles.retain(|tile| {
            let last = (tile.index + 1).checked_mul(leaves(tile.level + 1));
            last.is_some_and(|last| last <= stored)
        });
        tiles.append(&mut self.partial);
        for some in tiles.chunks(64) {
            let wanted: Vec<(u8, u64)> = some.iter().map(|tile| (tile.level, tile.index)).collect();
            let found = match app.evidence.trees().tiles(company, &wanted).await {
                Err(StoreError::Unreadable(_)) => one_by_one(app, company, some).await?,
                found => found?,
            };
            let found: HashMap<(u8, u64), Vec<u8>> =
                found.into_iter().map(|tile| ((tile.level, tile.index), tile.hashes)).collect();
            for tile in some {
                let hashes = found.get(&(tile.level, tile.index));
                compare(tile, hashes.map_or(&[], Vec::as_slice))?;
            }
        }
        self.disagreement.take().map_or(Ok(()), |finding| Err(finding.into()))
    }

    /// Whether there are as many entries as was signed, and no checkpoint that is in doubt.
    pub(super) fn end(self) -> Result<(), Finding> {
        let beyond = self.marks.get(self.next..).unwrap_or_default();
        if let Some(mark) = beyond.iter().find(|mark| mark.known) {
            let size = self.edge.size();
            let kept = self.kept.as_ref();
            if let Some(exact) = kept.and_then(|kept| kept.differ(mark, self.first_other)) {
                return Err(exact);
            }
            let problem = format!(
                "the event is missing: the ledger ends at {size}, but {} speaks of {} entries",
                mark.source, mark.size
            );
            return Finding::at(size + 1, problem);
        }
        self.doubt.or_else(|| beyond.first().map(doubt)).map_or(Ok(()), Err)
    }
}

/// A checkpoint that the ledger is not what it says. Nobody knows who signed it, so it says nothing of
/// the ledger.
fn doubt(mark: &Mark) -> Finding {
    let problem = format!(
        "the ledger is not what {} says, which is signed with a key that is not known here: it may \
         have been added, or the ledger changed; give the log's key with --key, or the folder with \
         the seed of its keys with --evidence-dir",
        mark.source
    );
    Finding::new(mark.size, problem)
}

/// Reads stored tiles one by one, to find the one that can't be.
async fn one_by_one(
    app: &App,
    company: CompanyId,
    tiles: &[TileData],
) -> Result<Vec<TileData>, Stop> {
    let mut all = Vec::with_capacity(tiles.len());
    for tile in tiles {
        match app.evidence.trees().tiles(company, &[(tile.level, tile.index)]).await {
            Err(StoreError::Unreadable(problem)) => {
                let problem = format!("the stored tree can't be read: {problem}");
                return Err(Finding::new(first_position(tile, 0), problem).into());
            }
            found => all.extend(found?),
        }
    }
    Ok(all)
}

/// The first position below a hash of a tile.
fn first_position(tile: &TileData, hash: usize) -> u64 {
    position_below(tile.level, tile.index, hash as u64)
}

fn position_below(level: u8, index: u64, hash: u64) -> u64 {
    index.saturating_mul(256).saturating_add(hash).saturating_mul(leaves(level)).saturating_add(1)
}

/// Looks for a tile, or hashes at the end of one, that the stored tree does not have.
pub(super) async fn find_stray_tile(app: &App, company: CompanyId) -> Result<(), Stop> {
    let Some(StrayTile { level, index, size }) = app.survey.stray_tile(company).await? else {
        return Ok(());
    };
    // Without a place where there can't be such a tile.
    let position = match (u8::try_from(level), u64::try_from(index)) {
        (Ok(level), Ok(index)) if level < 8 => {
            let hashes = size / leaves(level);
            let own = if index == hashes / 256 { hashes % 256 } else { 0 };
            position_below(level, index, own)
        }
        _ => 0,
    };
    let problem = format!(
        "hashes in the stored tree that it has no entries for: it has {size} (tile {index} of level \
         {level})"
    );
    Err(Finding::new(position, problem).into())
}

/// Compares a tile with what is stored of it, which may have grown since.
fn compare(tile: &TileData, stored: &[u8]) -> Result<(), Finding> {
    let same = tile.hashes.chunks(HASH).zip(stored.chunks(HASH)).take_while(|(own, it)| own == it);
    let same = same.count();
    if same * HASH == tile.hashes.len() {
        return Ok(());
    }
    let problem = if same * HASH >= stored.len() {
        "its hash is missing in the stored tree".to_owned()
    } else {
        format!(
            "the stored tree has another hash here (tile {} of level {})",
            tile.index, tile.level
        )
    };
    Finding::at(first_position(tile, same), problem)
}

fn disagreement(mark: &Mark, agreed: u64) -> Finding {
    let source = &mark.source;
    let problem = if mark.size == agreed + 1 {
        format!("the entry is not the one that {source} was signed for")
    } else if agreed == 0 {
        format!(
            "among the entries up to {} is one that is not what {source} was signed for",
            mark.size
        )
    } else {
        format!(
            "the entries up to {agreed} are those that were signed, but among those from here to \
             {} is one that is not what {source} was signed for",
            mark.size
        )
    };
    Finding::new(agreed + 1, problem)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checkpoint_relies_on_smaller_ones_only() {
        let mut agreed = Agreed::default();
        assert_eq!(agreed.below(7), 0);
        for size in [3, 7, 7] {
            agreed.reaches(size);
        }
        assert_eq!((agreed.below(7), agreed.below(8)), (3, 7));
    }
}
