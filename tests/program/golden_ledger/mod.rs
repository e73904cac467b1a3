//! A ledger as files, and a history that has everything in it.

mod files;
mod history;

pub use files::Golden;
pub use history::history;
