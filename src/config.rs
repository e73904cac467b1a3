//! What an operator can set.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// Where the ledger is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DatabaseUrl {
    /// An SQLite file: `sqlite://PATH`.
    Sqlite(PathBuf),
}

impl FromStr for DatabaseUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once("://") {
            Some(("sqlite", path)) if !path.is_empty() => Ok(Self::Sqlite(path.into())),
            Some(("sqlite", _)) => Err("names no file; write sqlite://PATH".to_owned()),
            Some(("postgres" | "postgresql", _)) => {
                Err("this release keeps ledgers in SQLite only; write sqlite://PATH".to_owned())
            }
            _ => Err("is no database URL; write sqlite://PATH".to_owned()),
        }
    }
}

impl fmt::Display for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::Sqlite(path) = self;
        write!(f, "sqlite://{}", path.display())
    }
}
