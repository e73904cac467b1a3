//! A file for staging rows.

use super::failed;
use crate::rebuild::RebuildError;
use rusqlite::Connection;
use std::fs::File;
use std::path::{Path, PathBuf};
use token_ledger_event_store::StoreError;
use uuid::Uuid;

/// Memory that the scratch file's pages may take, in negative KiB as SQLite wants it.
const CACHE: i32 = -24_576;
/// The tables of the read models. Staging rows are put in the order of their keys, mostly, and
/// need no other index.
const SCHEMA: &str = include_str!("../../../migrations/sqlite/0002_projections.sql");

/// A scratch file with the tables of the read models, empty; it goes away with this. Rows are staged
/// in one also when the live ones are in another database: it takes no room there, and any company
/// fits into it.
pub(crate) struct Scratch {
    connection: Connection,
    path: PathBuf,
}

impl std::fmt::Debug for Scratch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Scratch").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_file(&self.path) {
            tracing::warn!(path = %self.path.display(), %error, "a scratch file stays");
        }
    }
}

/// Makes the file, for its owner's eyes only: names are in it, and the folder is everybody's.
fn make_private(path: &Path) -> std::io::Result<()> {
    let mut options = File::options();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).map(drop)
}

impl Scratch {
    /// An empty one. `id` keeps those of one machine apart.
    ///
    /// # Errors
    /// When the file can't be made.
    pub fn new(id: Uuid) -> Result<Self, RebuildError> {
        let trouble = |error: rusqlite::Error| RebuildError::Staging(error.to_string());
        let path = std::env::temp_dir().join(format!("token-ledger-staging-{id}.db"));
        make_private(&path).map_err(|error| RebuildError::Staging(error.to_string()))?;
        let connection = Connection::open(&path).map_err(trouble)?;
        let scratch = Self { connection, path };
        let connection = &scratch.connection;
        connection.query_row("PRAGMA journal_mode = OFF", [], |_| Ok(())).map_err(trouble)?;
        connection.pragma_update(None, "synchronous", "OFF").map_err(trouble)?;
        connection.pragma_update(None, "locking_mode", "EXCLUSIVE").map_err(trouble)?;
        connection.pragma_update(None, "cache_size", CACHE).map_err(trouble)?;
        let schema = SCHEMA
            .split_inclusive(';')
            .filter(|statement| !statement.contains("CREATE INDEX"))
            .collect::<String>();
        connection.execute_batch(&schema).map_err(trouble)?;
        connection.set_prepared_statement_cache_capacity(64);
        Ok(scratch)
    }

    /// The connection to it.
    pub const fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Does something with it in one transaction.
    ///
    /// # Errors
    /// What `work` answers, or when the file can't be written.
    pub fn transact(
        &mut self,
        work: impl FnOnce(&Connection) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let transaction = self.connection.transaction().map_err(failed)?;
        work(&transaction)?;
        transaction.commit().map_err(failed)
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn nobody_else_reads_what_is_staged() {
        let scratch = Scratch::new(Uuid::from_u128(0x5c7a_7c40)).unwrap();
        let mode = std::fs::metadata(&scratch.path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}
