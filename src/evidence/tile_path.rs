//! The paths of tiles (C2SP tlog-tiles): `<L>/<N>[.p/<W>]`.

use tlog_tiles::Tile;

/// Hashes or entries in a full tile.
pub const WIDTH: u32 = 256;
/// The height of a tile.
const HEIGHT: u8 = 8;
/// The highest level that a path may name.
const MAX_LEVEL: u8 = 63;

/// Which tile a path means, and how much of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TilePath {
    /// The level; 0 for bundles of entries.
    pub level: u8,
    /// The tile's place in its level.
    pub index: u64,
    /// How many hashes or entries; 256 for a full tile.
    pub width: u32,
}

/// The path names no tile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the path names no tile: write L/N or L/N.p/W, N as 001 or x001/234, W as 1 to 255")]
pub struct NoTile;

impl TilePath {
    /// The tile of hashes at this level.
    ///
    /// # Errors
    /// When level or rest are not written as the specification wants them.
    pub fn hashes(level: &str, rest: &str) -> Result<Self, NoTile> {
        let level = decimal(level, 0, MAX_LEVEL.into())?;
        let level = u8::try_from(level).map_err(|_| NoTile)?;
        Self::parse(level, rest, false)
    }

    /// The bundle of entries.
    ///
    /// # Errors
    /// When the rest is not written as the specification wants it.
    pub fn entries(rest: &str) -> Result<Self, NoTile> {
        Self::parse(0, rest, true)
    }

    fn parse(level: u8, rest: &str, entries: bool) -> Result<Self, NoTile> {
        // A width is checked here: the parser of the tiles' crate can't stand some.
        if let Some((_, width)) = rest.split_once(".p/") {
            decimal(width, 1, WIDTH - 1)?;
        }
        let level_name = if entries { "data".to_owned() } else { level.to_string() };
        let tile =
            Tile::from_path(&format!("tile/{HEIGHT}/{level_name}/{rest}")).map_err(|_| NoTile)?;
        // Beyond that there is nothing, and no arithmetic may overflow.
        if tile.level_index() > u64::MAX >> 16 {
            return Err(NoTile);
        }
        Ok(Self { level, index: tile.level_index(), width: tile.width() })
    }

    /// Whether the whole tile is meant.
    pub const fn is_full(self) -> bool {
        self.width == WIDTH
    }
}

/// A number without leading zeroes and signs.
fn decimal(text: &str, least: u32, most: u32) -> Result<u32, NoTile> {
    let plain = text.bytes().all(|digit| digit.is_ascii_digit());
    let number = text.parse().ok().filter(|_| plain && (text == "0" || !text.starts_with('0')));
    number.filter(|number| (least..=most).contains(number)).ok_or(NoTile)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_read_as_the_specification_writes_them() {
        let tile = |level, index, width| Ok(TilePath { level, index, width });
        assert_eq!(TilePath::hashes("0", "000"), tile(0, 0, 256));
        assert_eq!(TilePath::hashes("1", "x001/x234/067"), tile(1, 1_234_067, 256));
        assert_eq!(TilePath::hashes("63", "001.p/255"), tile(63, 1, 255));
        assert_eq!(TilePath::entries("x001/234.p/1"), tile(0, 1234, 1));
    }

    #[test]
    fn malformed_levels_numbers_and_widths_are_refused() {
        for level in ["", "00", "01", "64", "255", "256", "-1", "+1", "a", "entries", "1/2"] {
            assert_eq!(TilePath::hashes(level, "000"), Err(NoTile), "{level:?}");
        }
        for rest in [
            "",
            "0",
            "00",
            "0000",
            "x000",
            "x001/23",
            "001/234",
            "x1/234",
            "000/",
            "/000",
            "x000/001",
            "00a",
            "-01",
            "+01",
            "000.p",
            "000.p/",
            "000.p/0",
            "000.p/00",
            "000.p/01",
            "000.p/256",
            "000.p/-1",
            "000.p/+1",
            "000.p/1/2",
            "000.p/1.p/1",
            ".p/1",
            "000.q/1",
            "x001/x234.p/5",
            "../000",
            "x018/x446/x744/x073/x709/x551/615",
            "x018/x446/x744/x073/x709/x551/616",
            "x999/x999/x999/x999/x999/x999/x999/999",
        ] {
            assert_eq!(TilePath::hashes("0", rest), Err(NoTile), "{rest:?}");
            assert_eq!(TilePath::entries(rest), Err(NoTile), "{rest:?}");
        }
    }
}
