//! Bringing a file's schema up to date.

use super::database::failed;
use crate::error::StoreError;
use crate::store::MigrationStatus;
use rusqlite::Connection;
use rusqlite_migration::{M, MigrationDefinitionError, Migrations, SchemaVersion};
use std::collections::BTreeMap;

/// The migrations, in order: the first has the number 1.
const MIGRATIONS: [&str; 10] = [
    include_str!("../../../migrations/sqlite/0001_ledger.sql"),
    include_str!("../../../migrations/sqlite/0002_projections.sql"),
    include_str!("../../../migrations/sqlite/0003_people.sql"),
    include_str!("../../../migrations/sqlite/0004_attempts.sql"),
    include_str!("../../../migrations/sqlite/0005_tokens_by_client.sql"),
    include_str!("../../../migrations/sqlite/0006_evidence.sql"),
    include_str!("../../../migrations/sqlite/0007_uses_by_time.sql"),
    include_str!("../../../migrations/sqlite/0008_uses_from.sql"),
    include_str!("../../../migrations/sqlite/0009_vouched_passwords.sql"),
    include_str!("../../../migrations/sqlite/0010_lookups.sql"),
];

/// What the first migration marks a ledger's file with.
const APPLICATION_ID: i32 = 0x544C_6467;
/// How many migrations this release has.
const NEWEST: usize = MIGRATIONS.len();

fn migrations() -> Migrations<'static> {
    MIGRATIONS.into_iter().map(M::up).collect()
}

/// Where the schema stands.
///
/// # Errors
/// When the file is no ledger, or one of a newer release.
pub fn schema_status(connection: &Connection) -> Result<MigrationStatus, StoreError> {
    let version = migrations().current_version(connection).map_err(|error| migration(&error))?;
    match version {
        SchemaVersion::Inside(_) if application_id(connection)? != APPLICATION_ID => Err(foreign()),
        SchemaVersion::NoneSet => {
            let tables: u64 = connection
                .query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))
                .map_err(failed)?;
            if tables > 0 {
                return Err(foreign());
            }
            Ok(MigrationStatus::Missing(NEWEST))
        }
        SchemaVersion::Inside(inside) if inside.get() == NEWEST => Ok(MigrationStatus::UpToDate),
        SchemaVersion::Inside(inside) => Ok(MigrationStatus::Missing(NEWEST - inside.get())),
        SchemaVersion::Outside(outside) => Err(newer(outside.get())),
    }
}

fn foreign() -> StoreError {
    StoreError::Incompatible(
        "the file is an SQLite database, but not a token ledger; name another file".to_owned(),
    )
}

fn application_id(connection: &Connection) -> Result<i32, StoreError> {
    connection.query_row("PRAGMA application_id", [], |row| row.get(0)).map_err(failed)
}

fn newer(version: usize) -> StoreError {
    StoreError::Incompatible(format!(
        "the ledger's schema is version {version}, newer than this release knows ({NEWEST}); \
         use the release that wrote it, or a later one"
    ))
}

/// Applies what is missing; answers how many migrations that were.
///
/// # Errors
/// When the file is no ledger, is one of a newer release, or can't be written.
pub(super) fn migrate(connection: &mut Connection) -> Result<usize, StoreError> {
    match schema_status(connection)? {
        MigrationStatus::UpToDate => Ok(0),
        MigrationStatus::Missing(count) => {
            migrations().to_latest(connection).map_err(|error| migration(&error))?;
            Ok(count)
        }
    }
}

/// What in a file's schema is not as the migrations make it, in words: what they make and is gone or
/// another one, and triggers that they don't make. Tables that others have added, such as a program
/// that copies the file, do nothing to the ledger.
///
/// # Errors
/// When the schema can't be read.
pub fn schema_differences(connection: &Connection) -> Result<Vec<String>, StoreError> {
    let version = migrations().current_version(connection).map_err(|error| migration(&error))?;
    let SchemaVersion::Inside(version) = version else { return Ok(Vec::new()) };
    let mut fresh = Connection::open_in_memory().map_err(failed)?;
    migrations().to_version(&mut fresh, version.get()).map_err(|error| migration(&error))?;
    let (made, mut found) = (schema(&fresh)?, schema(connection)?);
    let mut differences = Vec::new();
    for ((kind, name), text) in made {
        match found.remove(&(kind.clone(), name.clone())) {
            None => differences.push(format!("the {kind} {name} is gone")),
            Some(other) if other != text => {
                differences.push(format!("the {kind} {name} is not the one that was made"));
            }
            Some(_) => {}
        }
    }
    let added = found.into_keys().filter(|(kind, _)| kind == "trigger");
    differences.extend(added.map(|(_, name)| format!("the trigger {name} was added")));
    Ok(differences)
}

/// The statements that a schema was made by, by kind and name.
fn schema(connection: &Connection) -> Result<BTreeMap<(String, String), String>, StoreError> {
    let query = "SELECT type, name, sql FROM sqlite_schema WHERE sql IS NOT NULL";
    let mut statement = connection.prepare(query).map_err(failed)?;
    let rows = statement
        .query_map([], |row| Ok(((row.get(0)?, row.get(1)?), row.get(2)?)))
        .map_err(failed)?;
    rows.collect::<Result<_, _>>().map_err(failed)
}

fn migration(error: &rusqlite_migration::Error) -> StoreError {
    match error {
        rusqlite_migration::Error::MigrationDefinition(
            MigrationDefinitionError::DatabaseTooFarAhead,
        ) => newer(NEWEST + 1),
        rusqlite_migration::Error::RusqliteError { err, .. } => {
            if let rusqlite::Error::SqliteFailure(code, _) = err
                && code.code == rusqlite::ErrorCode::NotADatabase
            {
                return StoreError::Incompatible(
                    "the file is not an SQLite database; name another file".to_owned(),
                );
            }
            StoreError::Unavailable(err.to_string())
        }
        other => StoreError::Rejected(other.to_string()),
    }
}
