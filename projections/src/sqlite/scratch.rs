//! A file for staging rows.

use super::failed;
use crate::rebuild::RebuildError;
use crate::sql::Table;
use crate::{AuditTrail, Clients, Companies, Keys, Members, Tokens};
use rusqlite::Connection;
use std::fs::File;
use std::path::Path;
use token_ledger_event_store::StoreError;
use uuid::Uuid;

/// Memory that the scratch file's pages may take, in negative KiB as SQLite wants it.
const CACHE: i32 = -24_576;

/// A scratch file with the tables of the read models, empty. Staging rows are put in the order of
/// their keys, mostly, and need no other index. It has no name, so that it goes away
/// with the process, however that ends. Rows are staged in one also when the live ones are in
/// another database: it takes no room there, and any company fits into it.
pub(crate) struct Scratch {
    connection: Connection,
}

impl std::fmt::Debug for Scratch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Scratch").finish_non_exhaustive()
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

/// The statement that makes a table for staging rows.
fn creation<P: Table>() -> String {
    let key = if P::KEY == "company_id" { String::new() } else { format!(", {}", P::KEY) };
    format!(
        "CREATE TABLE {} ({}, PRIMARY KEY (company_id{key})) WITHOUT ROWID; ",
        P::TABLE,
        P::COLUMNS.join(", ")
    )
}

impl Scratch {
    /// An empty one. `id` keeps those of one machine apart.
    ///
    /// # Errors
    /// When the file can't be made.
    pub fn new(id: Uuid) -> Result<Self, RebuildError> {
        let trouble = |error: rusqlite::Error| RebuildError::Staging(error.to_string());
        let untidy = |error: std::io::Error| RebuildError::Staging(error.to_string());
        let path = std::env::temp_dir().join(format!("token-ledger-staging-{id}.db"));
        make_private(&path).map_err(untidy)?;
        let opened = Connection::open(&path);
        std::fs::remove_file(&path).map_err(untidy)?;
        let connection = opened.map_err(trouble)?;
        // Without a journal nothing is looked for by name any more.
        connection.query_row("PRAGMA journal_mode = OFF", [], |_| Ok(())).map_err(trouble)?;
        connection.pragma_update(None, "synchronous", "OFF").map_err(trouble)?;
        connection.pragma_update(None, "locking_mode", "EXCLUSIVE").map_err(trouble)?;
        connection.pragma_update(None, "cache_size", CACHE).map_err(trouble)?;
        let tables = [
            creation::<Companies>(),
            creation::<Members>(),
            creation::<Clients>(),
            creation::<Keys>(),
            creation::<Tokens>(),
            creation::<AuditTrail>(),
        ];
        connection.execute_batch(&tables.concat()).map_err(trouble)?;
        connection.set_prepared_statement_cache_capacity(64);
        Ok(Self { connection })
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

#[cfg(test)]
mod tests {
    use super::*;

    /// More than the pages that are kept in memory, in bytes.
    const MUCH: usize = 40 * 1024 * 1024;
    const ROW: usize = 64 * 1024;

    #[cfg(unix)]
    #[test]
    fn nobody_finds_what_is_staged_not_even_after_a_kill() {
        let id = Uuid::from_u128(0x5c7a_7c40);
        let mut scratch = Scratch::new(id).unwrap();
        let left = || {
            let files = std::fs::read_dir(std::env::temp_dir()).unwrap().flatten();
            files
                .filter(|file| file.file_name().to_string_lossy().contains(&id.to_string()))
                .count()
        };
        assert_eq!(left(), 0);
        scratch
            .transact(|connection| {
                let text = "CREATE TABLE much (number INTEGER PRIMARY KEY, row BLOB)";
                connection.execute_batch(text).unwrap();
                let mut insert = connection.prepare("INSERT INTO much VALUES (?1, ?2)").unwrap();
                for number in 0..MUCH / ROW {
                    insert.execute((number, vec![b'x'; ROW])).unwrap();
                }
                Ok(())
            })
            .unwrap();
        assert_eq!(left(), 0);
        let read = "SELECT count(*), sum(length(row)) FROM much";
        let read = scratch.connection().query_row(read, [], |row| Ok((row.get(0)?, row.get(1)?)));
        assert_eq!(read.unwrap(), (MUCH / ROW, MUCH));
    }

    #[cfg(unix)]
    #[test]
    fn nobody_else_reads_what_is_staged() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("staged");
        make_private(&path).unwrap();
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }
}
