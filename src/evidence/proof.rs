//! Proofs out of tiles.

use super::note::Statement;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use tlog_tiles::tlog::{
    Hash, HashReader, check_record, check_tree, prove_record, prove_tree, stored_hash_index,
    tree_hash,
};
use tlog_tiles::{Error, Tile};
use token_ledger_projections::tree::TileData;

/// The first line of a proof (C2SP tlog-proof).
const HEADER: &str = "c2sp.org/tlog-proof@v1";
/// The height of a tile.
const HEIGHT: u8 = 8;

/// Tiles to compute from, by level and index. What is computed from too few names those that lack.
#[derive(Debug, Default)]
pub struct TileSet {
    tiles: BTreeMap<(u8, u64), Vec<u8>>,
    missing: RefCell<BTreeSet<(u8, u64)>>,
}

impl TileSet {
    /// No tiles.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds tiles.
    pub fn extend(&mut self, tiles: impl IntoIterator<Item = TileData>) {
        self.tiles.extend(tiles.into_iter().map(|tile| ((tile.level, tile.index), tile.hashes)));
    }

    /// The tiles that computing wanted and did not find.
    pub fn missing(&self) -> Vec<(u8, u64)> {
        self.missing.take().into_iter().collect()
    }
}

impl HashReader for TileSet {
    fn read_hashes(&self, indexes: &[u64]) -> Result<Vec<Hash>, Error> {
        let mut hashes = Vec::with_capacity(indexes.len());
        for index in indexes {
            let tile = Tile::from_index(HEIGHT, *index);
            let place = (tile.level(), tile.level_index());
            match self.tiles.get(&place) {
                Some(stored) => hashes.push(tile.hash_at_index(stored, *index)?),
                None => {
                    self.missing.borrow_mut().insert(place);
                }
            }
        }
        if hashes.len() == indexes.len() { Ok(hashes) } else { Err(Error::InvalidTile) }
    }
}

/// The hashes that prove that the leaf at this index is in the tree that is stated. They are
/// checked before they are handed out.
///
/// # Errors
/// When tiles are missing, or don't add up to the tree.
pub fn inclusion(tiles: &TileSet, tree: &Statement, index: u64) -> Result<Vec<Hash>, Error> {
    let proof = prove_record(tree.size, index, tiles)?;
    let leaf = tiles.read_hashes(&[stored_hash_index(0, index)])?;
    let leaf = leaf.first().ok_or(Error::IndexesNotInTree)?;
    check_record(&proof, tree.size, tree.root, index, *leaf)?;
    Ok(proof)
}

/// The hashes that prove that the tree of `to` entries extends the tree of `from` entries. They are
/// checked before they are handed out.
///
/// # Errors
/// When tiles are missing or don't fit each other.
pub fn consistency(tiles: &TileSet, from: u64, to: u64) -> Result<Vec<Hash>, Error> {
    let proof = prove_tree(to, from, tiles)?;
    let (old, new) = (tree_hash(from, tiles)?, tree_hash(to, tiles)?);
    check_tree(&proof, to, new, from, old)?;
    Ok(proof)
}

/// The root of the tree of the first `size` entries.
///
/// # Errors
/// When tiles are missing.
pub fn root(tiles: &TileSet, size: u64) -> Result<Hash, Error> {
    tree_hash(size, tiles)
}

/// The proof as a text that can be checked offline (C2SP tlog-proof).
pub fn text(index: u64, proof: &[Hash], checkpoint: &str) -> String {
    let mut text = format!("{HEADER}\nindex {index}\n");
    for hash in proof {
        // Writing to a String can't fail.
        let _ = writeln!(text, "{hash}");
    }
    text.push('\n');
    text.push_str(checkpoint);
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use tlog_tiles::tlog::record_hash;
    use token_ledger_projections::tree::Edge;

    fn grown(size: u64) -> (Edge, TileSet) {
        let (mut edge, mut full) = (Edge::default(), Vec::new());
        for number in 0..size {
            edge.push(&record_hash(&number.to_be_bytes()).0, &mut full);
        }
        let mut tiles = TileSet::new();
        tiles.extend(full.into_iter().chain(edge.partial()));
        (edge, tiles)
    }

    #[test]
    fn every_entry_of_a_tree_can_be_proved_and_every_earlier_tree() {
        let (edge, tiles) = grown(700);
        let root = edge.root().unwrap();
        let tree = Statement { origin: "x".to_owned(), size: 700, root };
        for index in (0..700).step_by(37).chain([255, 256, 699]) {
            let proof = inclusion(&tiles, &tree, index).unwrap();
            let leaf = record_hash(&index.to_be_bytes());
            check_record(&proof, 700, root, index, leaf).unwrap();
        }
        for from in [1, 2, 255, 256, 257, 512, 699, 700] {
            let proof = consistency(&tiles, from, 700).unwrap();
            let old = grown(from).0.root().unwrap();
            check_tree(&proof, 700, root, from, old).unwrap();
        }
        assert!(inclusion(&tiles, &tree, 700).is_err());
        assert!(consistency(&tiles, 0, 700).is_err());
        assert!(consistency(&tiles, 701, 700).is_err());
    }

    #[test]
    fn a_proof_is_not_handed_out_for_another_tree() {
        let (_, tiles) = grown(300);
        let tree = Statement { origin: "x".to_owned(), size: 300, root: Hash([0; 32]) };
        assert!(inclusion(&tiles, &tree, 5).is_err());
    }

    #[test]
    fn missing_tiles_are_named() {
        let (edge, tiles) = grown(70_000);
        let tree = Statement { origin: "x".to_owned(), size: 70_000, root: edge.root().unwrap() };
        let mut some = TileSet::new();
        let mut rounds = 0;
        let proof = loop {
            if let Ok(proof) = inclusion(&some, &tree, 1000) {
                break proof;
            }
            let missing = some.missing();
            assert!(!missing.is_empty());
            some.extend(missing.into_iter().map(|(level, index)| TileData {
                level,
                index,
                hashes: tiles.tiles[&(level, index)].clone(),
            }));
            rounds += 1;
        };
        assert_eq!(proof, inclusion(&tiles, &tree, 1000).unwrap());
        assert!(rounds <= 2, "{rounds}");
    }
}
