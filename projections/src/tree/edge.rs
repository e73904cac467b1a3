//! The right edge of a tree: all that appending to it and its root need.

use tlog_tiles::tlog::{EMPTY_HASH, HASH_SIZE, Hash, HashReader};
use tlog_tiles::{Error, Tile, tree_hash};

/// The name that checkpoints and people call the tree's follower by.
pub const TREE_NAME: &str = "tree";
/// Raised whenever other tiles come out for the same events.
pub const TREE_VERSION: u32 = 1;

/// The height of a tile: 256 hashes each.
const HEIGHT: u8 = 8;
/// Hashes in a full tile.
const WIDTH: usize = 1 << HEIGHT;
/// Levels of tiles that a tree of 2^64 leaves has.
const LEVELS: u8 = 8;

/// Hashes of a tile, one after the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TileData {
    /// The level: 0 for leaves.
    pub level: u8,
    /// The tile's place in its level.
    pub index: u64,
    /// 1 to 256 hashes of 32 bytes.
    pub hashes: Vec<u8>,
}

/// A stored tile of the right edge is missing or too short.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("tile {index} of level {level} is missing or too short for a tree of {size} leaves")]
pub struct WrongTile {
    /// The level.
    pub level: u8,
    /// The tile's place in its level.
    pub index: u64,
    /// The size of the tree.
    pub size: u64,
}

/// The right edge of a tree: the hashes of the partial tile of each level.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Edge {
    size: u64,
    levels: Vec<Vec<u8>>,
}

impl Edge {
    /// The tiles that the edge of a tree of this size is made of, as level and index.
    pub fn tiles(size: u64) -> Vec<(u8, u64)> {
        (0..LEVELS)
            .filter(|level| width(size, *level) > 0)
            .map(|level| (level, (size >> (HEIGHT * level)) >> HEIGHT))
            .collect()
    }

    /// The edge of a tree of this size, from what is stored of its tiles ([`Edge::tiles`]). A
    /// stored tile may be wider: the tree has grown since.
    ///
    /// # Errors
    /// When a tile is missing or too short.
    pub fn restore(size: u64, tiles: &[TileData]) -> Result<Self, WrongTile> {
        let mut levels = Vec::new();
        for level in (0..LEVELS).take_while(|level| size >> (HEIGHT * level) > 0) {
            let index = (size >> (HEIGHT * level)) >> HEIGHT;
            let bytes = width(size, level) * HASH_SIZE;
            let found = tiles.iter().find(|tile| tile.level == level && tile.index == index);
            let hashes = found.map_or(&[][..], |tile| &tile.hashes);
            let hashes = hashes.get(..bytes).ok_or(WrongTile { level, index, size })?;
            levels.push(hashes.to_vec());
        }
        Ok(Self { size, levels })
    }

    /// The number of leaves.
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// Appends a leaf. Tiles that it fills are added to `full`.
    pub fn push(&mut self, leaf: &[u8; HASH_SIZE], full: &mut Vec<TileData>) {
        let mut hash = Hash(*leaf);
        for level in 0..LEVELS {
            let place = usize::from(level);
            if self.levels.len() == place {
                self.levels.push(Vec::with_capacity(WIDTH * HASH_SIZE));
            }
            let Some(hashes) = self.levels.get_mut(place) else { break };
            hashes.extend_from_slice(&hash.0);
            if hashes.len() < WIDTH * HASH_SIZE {
                break;
            }
            hash = Tile::subtree_hash(hashes);
            let index = (self.size >> (HEIGHT * level)) >> HEIGHT;
            full.push(TileData { level, index, hashes: std::mem::take(hashes) });
        }
        self.size += 1;
    }

    /// The partial tiles: those that hold something.
    pub fn partial(&self) -> impl Iterator<Item = TileData> + '_ {
        (0..LEVELS).zip(&self.levels).filter(|(_, hashes)| !hashes.is_empty()).map(
            |(level, hashes)| TileData {
                level,
                index: (self.size >> (HEIGHT * level)) >> HEIGHT,
                hashes: hashes.clone(),
            },
        )
    }

    /// The root of the tree (RFC 6962 §2.1).
    ///
    /// # Errors
    /// Never on an edge that was built by [`Edge::push`] or [`Edge::restore`].
    pub fn root(&self) -> Result<Hash, Error> {
        if self.size == 0 { Ok(EMPTY_HASH) } else { tree_hash(self.size, self) }
    }
}

impl HashReader for Edge {
    fn read_hashes(&self, indexes: &[u64]) -> Result<Vec<Hash>, Error> {
        indexes
            .iter()
            .map(|index| {
                let tile = Tile::from_index(HEIGHT, *index);
                let place = usize::from(tile.level());
                let own = (self.size >> (HEIGHT * tile.level().min(LEVELS - 1))) >> HEIGHT;
                let hashes = self.levels.get(place).ok_or(Error::IndexesNotInTree)?;
                if tile.level_index() != own {
                    return Err(Error::IndexesNotInTree);
                }
                tile.hash_at_index(hashes, *index)
            })
            .collect()
    }
}

/// How many hashes the partial tile of a level has.
const fn width(size: u64, level: u8) -> usize {
    // At most 255.
    #[expect(clippy::cast_possible_truncation)]
    {
        (size >> (HEIGHT * level)) as usize % WIDTH
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tlog_tiles::tlog::{node_hash, record_hash};

    /// The root by the definition of RFC 6962 §2.1.
    fn defined(leaves: &[Hash]) -> Hash {
        match leaves {
            [] => EMPTY_HASH,
            [leaf] => *leaf,
            leaves => {
                let half = leaves.len().next_power_of_two() / 2;
                node_hash(defined(&leaves[..half]), defined(&leaves[half..]))
            }
        }
    }

    fn leaves(count: usize) -> Vec<Hash> {
        (0..count).map(|number| record_hash(number.to_string().as_bytes())).collect()
    }

    #[test]
    fn the_root_is_the_one_of_the_rfc_at_every_size() {
        let leaves = leaves(1200);
        let (mut edge, mut full) = (Edge::default(), Vec::new());
        assert_eq!(edge.root().unwrap(), EMPTY_HASH);
        for (index, leaf) in leaves.iter().enumerate() {
            edge.push(&leaf.0, &mut full);
            assert_eq!(edge.root().unwrap(), defined(&leaves[..=index]), "size {}", index + 1);
        }
        assert_eq!(edge.size(), 1200);
        assert_eq!(full.iter().filter(|tile| tile.level == 0).count(), 4);
    }

    #[test]
    fn tiles_are_as_wide_as_the_specification_says() {
        let mut edge = Edge::default();
        let mut full = Vec::new();
        for leaf in leaves(70_000) {
            edge.push(&leaf.0, &mut full);
        }
        let count = |level| full.iter().filter(|tile| tile.level == level).count();
        assert_eq!((count(0), count(1), count(2)), (273, 1, 0));
        assert!(full.iter().all(|tile| tile.hashes.len() == 8192));
        let partial: Vec<_> =
            edge.partial().map(|tile| (tile.level, tile.index, tile.hashes.len() / 32)).collect();
        assert_eq!(partial, [(0, 273, 112), (1, 1, 17), (2, 0, 1)]);
        assert_eq!(Edge::tiles(70_000), [(0, 273), (1, 1), (2, 0)]);
    }

    #[test]
    fn an_edge_is_restored_from_tiles_that_may_have_grown() {
        let leaves = leaves(1000);
        for size in [1, 255, 256, 257, 511, 512, 700] {
            let (mut edge, mut full) = (Edge::default(), Vec::new());
            for leaf in &leaves[..size] {
                edge.push(&leaf.0, &mut full);
            }
            let root = edge.root().unwrap();
            let mut grown = edge.clone();
            for leaf in &leaves[size..] {
                grown.push(&leaf.0, &mut full);
            }
            full.extend(grown.partial());
            let restored = Edge::restore(size as u64, &full).unwrap();
            assert_eq!(restored, edge);
            assert_eq!(restored.root().unwrap(), root);
            full.retain(|tile| (tile.level, tile.index) != (0, (size / 256) as u64));
            if size % 256 > 0 {
                assert!(Edge::restore(size as u64, &full).is_err());
            }
        }
    }
}
