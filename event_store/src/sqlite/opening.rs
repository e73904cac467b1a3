//! Opening the file: what is checked before, and how its connections are set.

use super::database::{failed, failed_ref};
use super::migrate;
use crate::error::StoreError;
use rusqlite::functions::{Context, FunctionFlags};
use rusqlite::{Connection, DatabaseName, ErrorCode, OpenFlags};
use std::borrow::Cow;
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long a statement waits for a lock that another process holds on the file.
pub(super) const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// Connections that read side by side.
pub(super) const READERS: usize = 4;
/// Memory that a reading connection may keep pages in, in negative KiB as SQLite wants it: enough
/// for the upper levels of all indexes; the operating system keeps the rest.
const READER_CACHE: i32 = -4096;
/// The same for the writing connection: what a batch touches, and the right edges of all indexes.
const WRITER_CACHE: i32 = -16_384;
/// Pages that a write-ahead log may hold before the next commit moves them into the file, when the
/// writer was not idle before ([`super::writer`]): 64 MiB.
const CHECKPOINT_PAGES: u32 = 16_384;

/// What others than the owner may do with a file.
#[cfg(unix)]
const OTHERS: u32 = 0o077;

/// The path in a form that SQLite takes for nothing but a path: it is built to read `file:…` as a
/// URI.
pub(super) fn plain(path: &Path) -> Cow<'_, Path> {
    if path.as_os_str().as_encoded_bytes().starts_with(b"file:") {
        return Path::new(".").join(path).into();
    }
    path.into()
}

/// Says so where the file is there and may not be read, of which SQLite says less. The file is not
/// opened for it: closing it would let go of the locks that this process has on it.
pub(super) fn check_permission(path: &Path) -> Result<(), StoreError> {
    #[cfg(unix)]
    if let Err(error @ rustix::io::Errno::ACCESS) =
        rustix::fs::access(path, rustix::fs::Access::READ_OK)
    {
        let error = std::io::Error::from(error);
        return Err(StoreError::Unavailable(format!("{}: {error}", path.display())));
    }
    Ok(())
}

/// Refuses a file that is no ledger before anything is made beside it. Where a lock file is there
/// already, it is one, or was refused once the lock was held.
pub(super) fn check_ledger(path: &Path) -> Result<(), StoreError> {
    let is_there = std::fs::metadata(path).is_ok_and(|file| file.is_file() && file.len() > 0);
    let Some(unchanging) = unchanging(path).filter(|_| is_there && !lock_file(path).exists())
    else {
        return Ok(());
    };
    // What else is wrong with it, opening it says.
    let Ok(connection) = Connection::open_with_flags(unchanging, READING) else { return Ok(()) };
    match migrate::schema_status(&connection) {
        Err(error @ StoreError::Incompatible(_)) => Err(error),
        _ => Ok(()),
    }
}

/// The file whose lock tells who writes. The same ledger may be named by way of a link.
fn lock_file(path: &Path) -> PathBuf {
    let mut name = path.canonicalize().unwrap_or_else(|_| path.to_owned()).into_os_string();
    name.push(".lock");
    name.into()
}

pub(super) fn lock(path: &Path) -> Result<File, StoreError> {
    let name = lock_file(path);
    let unavailable =
        |error: std::io::Error| StoreError::Unavailable(format!("{}: {error}", name.display()));
    // Whoever can open it can keep the service from starting.
    let mut options = File::options();
    options.create(true).truncate(false).write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let file = options.open(&name).map_err(unavailable)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StoreError::InUse(format!(
            "another process writes to {}; stop it first, send your request to its HTTP API, or \
             use PostgreSQL for more than one process",
            path.display()
        ))),
        Err(TryLockError::Error(error)) => Err(unavailable(error)),
    }
}

pub(super) fn open_writer(path: &Path) -> Result<Connection, StoreError> {
    make_private(path);
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_CREATE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection =
        Connection::open_with_flags(path, flags).map_err(|error| opening(path, &error))?;
    connection.busy_timeout(BUSY_TIMEOUT).map_err(failed)?;
    // SQLite opens a file for reading when it may not write it.
    if connection.is_readonly(DatabaseName::Main).map_err(failed)? {
        return Err(StoreError::Unavailable(format!("{}: may not be written", path.display())));
    }
    // What is no ledger is left as it is, and the journal mode is kept in the file.
    migrate::schema_status(&connection)?;
    keep_private(path);
    connection.pragma_update(None, "journal_mode", "WAL").map_err(|error| opening(path, &error))?;
    connection.pragma_update(None, "synchronous", "FULL").map_err(failed)?;
    connection.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES).map_err(failed)?;
    add_functions(&connection)?;
    connection.pragma_update(None, "cache_size", WRITER_CACHE).map_err(failed)?;
    connection.pragma_update(None, "temp_store", "MEMORY").map_err(failed)?;
    // What is erased is overwritten and not only let go.
    connection.pragma_update(None, "secure_delete", true).map_err(failed)?;
    connection.set_prepared_statement_cache_capacity(128);
    Ok(connection)
}

/// Makes the file where it is missing, for its owner's eyes only; SQLite gives the files beside it
/// the same permissions. What is wrong with it, opening it says.
fn make_private(path: &Path) {
    let mut options = File::options();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let _ = options.open(path);
}

/// Takes from others what they may do with the ledger's files: one that was put back from a backup may
/// be anybody's to read. Nothing is opened for it, see [`check_permission`].
fn keep_private(path: &Path) {
    #[cfg(unix)]
    for end in ["", "-wal", "-shm"] {
        use std::os::unix::fs::PermissionsExt;

        let mut file = path.canonicalize().unwrap_or_else(|_| path.to_owned()).into_os_string();
        file.push(end);
        let Ok(file_is) = std::fs::metadata(&file) else { continue };
        let mode = file_is.permissions().mode();
        if mode & OTHERS == 0 {
            continue;
        }
        let owners = std::fs::Permissions::from_mode(mode & !OTHERS);
        if let Err(error) = std::fs::set_permissions(&file, owners) {
            let file = Path::new(&file).display();
            tracing::warn!(%file, %error, "others than its owner may use a file of the ledger");
        }
    }
}

/// How files are opened that are not written. Their names may be URIs.
const READING: OpenFlags = OpenFlags::SQLITE_OPEN_READ_ONLY
    .union(OpenFlags::SQLITE_OPEN_NO_MUTEX)
    .union(OpenFlags::SQLITE_OPEN_URI);

/// Reads as little as there can be, which takes what reading takes beside the file.
pub(super) fn read_first_page(path: &Path) -> rusqlite::Result<()> {
    Connection::open_with_flags(path, READING)?.query_row("PRAGMA schema_version", [], |_| Ok(()))
}

/// Whether reading failed since the file's folder may not be written.
pub(super) fn is_unwritable(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::ReadOnly | ErrorCode::CannotOpen))
}

/// The file as one that nobody changes, for a folder that may not be written: SQLite makes nothing
/// beside it then. What is still in a write-ahead log would be missed.
pub(super) fn at_rest(path: &Path) -> Result<PathBuf, StoreError> {
    let beside = |end: &str| {
        let mut name = path.as_os_str().to_owned();
        name.push(end);
        Path::new(&name).exists()
    };
    match unchanging(path) {
        Some(name) if !beside("-wal") && !beside("-shm") => Ok(name),
        _ => Err(StoreError::Unavailable(format!(
            "{}: its folder must be writable, since not all of the ledger is in the file; copy it \
             with its -wal file to where it may be written",
            path.display()
        ))),
    }
}

/// The name under which SQLite takes the file for one that nobody changes: it locks nothing and makes
/// nothing.
fn unchanging(path: &Path) -> Option<PathBuf> {
    let whole = path.canonicalize().ok()?;
    let name = whole.to_str()?.replace('%', "%25").replace('?', "%3f").replace('#', "%23");
    Some(format!("file:{name}?immutable=1").into())
}

pub(super) fn open_readers(path: &Path) -> Result<Vec<Connection>, StoreError> {
    (0..READERS).map(|_| open_reader(path)).collect()
}

/// The function of a text and a part that tells whether the text has it, in capitals or not: SQLite's
/// own know those of ASCII alone.
pub const HAS_PART: &str = "has_part";

fn add_functions(connection: &Connection) -> Result<(), StoreError> {
    let flags = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DETERMINISTIC;
    let has_part = |call: &Context<'_>| {
        let [text, part] = [0, 1].map(|number| call.get_raw(number).as_str());
        Ok(text?.to_lowercase().contains(&part?.to_lowercase()))
    };
    connection.create_scalar_function(HAS_PART, 2, flags, has_part).map_err(failed)
}

fn open_reader(path: &Path) -> Result<Connection, StoreError> {
    let connection =
        Connection::open_with_flags(path, READING).map_err(|error| opening(path, &error))?;
    connection.busy_timeout(BUSY_TIMEOUT).map_err(failed)?;
    add_functions(&connection)?;
    connection.pragma_update(None, "cache_size", READER_CACHE).map_err(failed)?;
    connection.pragma_update(None, "temp_store", "MEMORY").map_err(failed)?;
    connection.set_prepared_statement_cache_capacity(128);
    Ok(connection)
}

fn opening(path: &Path, error: &rusqlite::Error) -> StoreError {
    match failed_ref(error) {
        StoreError::Unavailable(text) => {
            StoreError::Unavailable(format!("{}: {text}", path.display()))
        }
        StoreError::Incompatible(text) => {
            StoreError::Incompatible(format!("{}: {text}", path.display()))
        }
        other => other,
    }
}
