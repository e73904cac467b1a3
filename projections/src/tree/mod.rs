//! The Merkle tree over a company's entries, as C2SP tlog-tiles cuts it.
//!
//! Leaf `P - 1` is the hash of the entry at position `P` ([`token_ledger_event_store::entry`]). The
//! tree is derived from the log and from nothing else: whoever follows the log feeds the hashes of
//! the entries to an [`Edge`], which hands out each tile once it is full and keeps the partial ones
//! of the right edge. All hashing is `tlog_tiles`'.

mod edge;
mod signed;

pub use edge::{Edge, TREE_NAME, TREE_VERSION, TileData, WrongTile};
pub use signed::{LogHead, SignedCheckpoint};
pub use tlog_tiles::Hash;
