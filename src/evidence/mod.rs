//! Evidence: what lets anyone check the ledger with tools of their own.
//!
//! Everything here is pure: formats of the C2SP specifications (signed-note, tlog-checkpoint,
//! tlog-tiles, tlog-proof, tlog-cosignature), keys, proofs, the evidence pack and its checking.
//! What reads a database or signs on its own is in [`crate::app`].

pub mod bundle;
pub mod check;
pub mod entry_text;
pub mod keys;
pub mod note;
pub mod pack;
pub mod proof;
pub mod tile_path;
