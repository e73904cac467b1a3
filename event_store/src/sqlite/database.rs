//! The file, its one writing connection and its reading ones.

use super::InlineProjections;
use super::migrate;
use super::opening::{
    READERS, at_rest, check_ledger, check_permission, is_unwritable, lock, open_readers,
    open_writer, plain, read_first_page,
};
use super::writer::{self, Alone, Along, Job, Shared, Waiting};
use crate::commit::{AppendError, Commit, Recorded};
use crate::error::StoreError;
use crate::store::Access;
use crate::trouble::Trouble;
use parking_lot::Mutex;
use rusqlite::{Connection, ErrorCode, Transaction};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch};

/// Jobs that wait for the writing connection; more callers than that wait before they may wait.
const WAITING_JOBS: usize = 4096;
/// Rows that are to be written along with commits at once: about as many as a full transaction of commits
/// writes, so that a command that comes meanwhile waits no longer than for the others' commands.
const ALONG_ROWS: u32 = 512;
/// Searches that run side by side: one reader is left to what commands ask.
pub const SEARCHES: usize = READERS - 1;

/// An SQLite file.
pub struct Database {
    path: PathBuf,
    readers: Arc<Mutex<Vec<Connection>>>,
    reading: Arc<Semaphore>,
    searching: Arc<Semaphore>,
    along: Semaphore,
    jobs: Option<mpsc::Sender<Job>>,
    writer: Mutex<Option<JoinHandle<()>>>,
    changes: watch::Sender<u64>,
    trouble: Trouble,
    migrated: usize,
    // Held for as long as this process may write.
    _lock: Option<File>,
}

impl std::fmt::Debug for Database {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Database").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Database {
    /// Opens the file, and makes it where it is missing and may be written.
    ///
    /// # Errors
    /// When it is no ledger, is of a newer release, is written by another process, or can't be
    /// opened.
    pub fn open(
        path: &Path,
        access: Access,
        inline: Box<dyn InlineProjections>,
    ) -> Result<Arc<Self>, StoreError> {
        let path = &*plain(path);
        if path.is_dir() {
            let problem = format!("{} is a folder; name a file in it", path.display());
            return Err(StoreError::Unavailable(problem));
        }
        check_permission(path)?;
        if access == Access::Read {
            return Self::open_for_reading(path);
        }
        check_ledger(path)?;
        let lock = lock(path)?;
        let mut connection = open_writer(path)?;
        let migrated = if access == Access::Write {
            migrate::migrate(&mut connection)?
        } else {
            migrate::schema_status(&connection)?.expect_current()?;
            0
        };
        let (changes, _) = watch::channel(0);
        let (jobs, waiting) = mpsc::channel(WAITING_JOBS);
        let readers = open_readers(path)?;
        let writer = writer::spawn(connection, waiting, inline, changes.clone())
            .map_err(|error| StoreError::Unavailable(error.to_string()))?;
        Ok(Arc::new(Self {
            path: path.to_owned(),
            readers: Arc::new(Mutex::new(readers)),
            reading: Arc::new(Semaphore::new(READERS)),
            searching: Arc::new(Semaphore::new(SEARCHES)),
            along: Semaphore::new(ALONG_ROWS as usize),
            jobs: Some(jobs),
            writer: Mutex::new(Some(writer)),
            changes,
            trouble: Trouble::default(),
            migrated,
            _lock: Some(lock),
        }))
    }

    fn open_for_reading(path: &Path) -> Result<Arc<Self>, StoreError> {
        let readers = match read_first_page(path) {
            Err(error) if is_unwritable(&error) => open_readers(&at_rest(path)?)?,
            _ => open_readers(path)?,
        };
        if let Some(connection) = readers.first() {
            migrate::schema_status(connection)?.expect_current()?;
        }
        Ok(Arc::new(Self {
            path: path.to_owned(),
            readers: Arc::new(Mutex::new(readers)),
            reading: Arc::new(Semaphore::new(READERS)),
            searching: Arc::new(Semaphore::new(SEARCHES)),
            along: Semaphore::new(ALONG_ROWS as usize),
            jobs: None,
            writer: Mutex::new(None),
            changes: watch::channel(0).0,
            trouble: Trouble::default(),
            migrated: 0,
            _lock: None,
        }))
    }

    /// How many migrations were applied when it was opened.
    pub const fn migrated(&self) -> usize {
        self.migrated
    }

    /// Whether this process may write it.
    pub const fn is_writable(&self) -> bool {
        self.jobs.is_some()
    }

    /// Changes whenever something may have been appended.
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Runs a query on a reading connection. Where there are several async threads, it runs at once
    /// on the caller's, whose other tasks go on elsewhere: the way to another thread and back takes
    /// as long as a page of rows. It sees everything that was committed before. Keep it short: a
    /// long reader keeps the write-ahead log from being reset.
    ///
    /// # Errors
    /// What the query answers, or when the store is closed.
    pub async fn read<T, F>(&self, query: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    {
        let turn =
            Arc::clone(&self.reading).acquire_owned().await.map_err(|_| StoreError::Closed)?;
        let connection = self.readers.lock().pop().ok_or(StoreError::Closed)?;
        let reader =
            Reader { connection: Some(connection), home: Arc::clone(&self.readers), _turn: turn };
        let run = move || match &reader.connection {
            Some(connection) => query(connection),
            None => Err(StoreError::Closed),
        };
        if Handle::current().runtime_flavor() == RuntimeFlavor::MultiThread {
            return tokio::task::block_in_place(run);
        }
        tokio::task::spawn_blocking(run)
            .await
            .map_err(|error| StoreError::Rejected(error.to_string()))?
    }

    /// As [`Self::read`], of a query that may look at many more rows than it answers: such take turns,
    /// so that however many there are, others find a reader.
    ///
    /// # Errors
    /// As for [`Self::read`].
    pub async fn search<T, F>(&self, query: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    {
        let turn =
            Arc::clone(&self.searching).acquire_owned().await.map_err(|_| StoreError::Closed)?;
        self.read(move |connection| {
            let _turn = turn;
            query(connection)
        })
        .await
    }

    /// Runs something on the writing connection, between appends.
    ///
    /// # Errors
    /// What the job answers, or when the file is open for reading only or closed.
    pub async fn write<T, F>(&self, job: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&mut Connection) -> Result<T, StoreError> + Send + 'static,
    {
        let (answer, answered) = oneshot::channel();
        let job = Alone::Write(Box::new(move |connection| {
            // A caller that went away no longer wants the answer.
            let _ = answer.send(job(connection));
        }));
        self.ask(Job::Alone(job)).await?;
        // The writer ended in the middle of it.
        answered.await.map_err(|_| StoreError::Closed.after_change())?
    }

    /// Writes something that is of no haste in the transaction of the commits that wait, so that
    /// it need not wait for the disk by itself. It is written before they are; where that fails,
    /// it is tried once more in a transaction of its own. It waits until it can be written with
    /// what else goes along, which is so many rows at most, or as many as there may be.
    ///
    /// # Errors
    /// What `write` answers, why the transaction failed, or when the file is open for reading only
    /// or closed.
    pub async fn write_along<T, F>(&self, rows: usize, write: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnMut(&Connection) -> Result<T, StoreError> + Send + 'static,
    {
        let rows = u32::try_from(rows).unwrap_or(u32::MAX).min(ALONG_ROWS);
        let _room = self.along.acquire_many(rows).await.map_err(|_| StoreError::Closed)?;
        let (answer, answered) = oneshot::channel();
        let along = WriteAlong { write, written: None, answer };
        self.ask(Job::Shared(Shared::Along(Box::new(along)))).await?;
        answered.await.map_err(|_| StoreError::Closed.after_change())?
    }

    /// Moves the write-ahead log into the file and empties it, so that what was deleted is in
    /// neither: it is overwritten in the file. Where a reader stands in the way, the writer tries
    /// again whenever nothing is asked of it, until it is done.
    ///
    /// # Errors
    /// When the file is open for reading only or closed.
    pub async fn overwrite(&self) -> Result<(), StoreError> {
        let (answer, answered) = oneshot::channel();
        self.ask(Job::Alone(Alone::Overwrite(answer))).await?;
        answered.await.map_err(|_| StoreError::Closed)
    }

    /// Appends; see [`crate::Store::append`].
    pub(super) async fn append(&self, commits: Vec<Commit>) -> Vec<Result<Recorded, AppendError>> {
        if commits.is_empty() {
            return Vec::new();
        }
        let count = commits.len();
        let answers = match self.try_append(commits).await {
            Ok(answers) => answers,
            Err(error) => (0..count).map(|_| Err(error.clone().into())).collect(),
        };
        self.trouble.note_all(&answers);
        answers
    }

    /// Whether appending fails.
    pub(super) const fn trouble(&self) -> &Trouble {
        &self.trouble
    }

    async fn try_append(
        &self,
        commits: Vec<Commit>,
    ) -> Result<Vec<Result<Recorded, AppendError>>, StoreError> {
        let (answer, answered) = oneshot::channel();
        self.ask(Job::Shared(Shared::Append(Waiting { commits, answer }))).await?;
        let (answers, _) = answered.await.map_err(|_| StoreError::Closed.after_change())?;
        Ok(answers)
    }

    async fn ask(&self, job: Job) -> Result<(), StoreError> {
        let jobs = self
            .jobs
            .as_ref()
            .ok_or_else(|| StoreError::Unavailable("it is open for reading only".to_owned()))?;
        jobs.send(job).await.map_err(|_| StoreError::Closed)
    }
}

/// What is written along with commits, and whoever waits for it.
struct WriteAlong<T, F> {
    write: F,
    written: Option<T>,
    answer: oneshot::Sender<Result<T, StoreError>>,
}

impl<T, F> Along for WriteAlong<T, F>
where
    T: Send,
    F: FnMut(&Connection) -> Result<T, StoreError> + Send,
{
    fn write(&mut self, transaction: &Connection) -> Result<(), StoreError> {
        self.written = Some((self.write)(transaction)?);
        Ok(())
    }

    fn answer(self: Box<Self>, outcome: Result<(), StoreError>) {
        let Self { written, answer, .. } = *self;
        // A caller that went away no longer wants the answer.
        let _ = answer.send(outcome.and_then(|()| written.ok_or(StoreError::Closed)));
    }
}

/// A reading connection on loan. It comes home whatever happens to the query or to its caller.
struct Reader {
    connection: Option<Connection>,
    home: Arc<Mutex<Vec<Connection>>>,
    _turn: OwnedSemaphorePermit,
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.home.lock().extend(self.connection.take());
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        // The last connection that closes removes the log, and only the writing one can.
        self.readers.lock().clear();
        // Without senders the writer finishes what waits, moves the log into the file and ends.
        self.jobs = None;
        if let Some(writer) = self.writer.lock().take() {
            let _ = writer.join();
        }
    }
}

/// An error of the driver, in the store's words.
#[allow(clippy::needless_pass_by_value, reason = "the form that map_err wants")]
pub fn failed(error: rusqlite::Error) -> StoreError {
    failed_ref(&error)
}

/// Makes a transaction durable.
///
/// # Errors
/// [`StoreError::InDoubt`] where it is in the file's log as a whole, though it was not shown to be
/// safe there: whoever opens the file next may find it.
pub fn commit(transaction: Transaction<'_>) -> Result<(), StoreError> {
    transaction.commit().map_err(|error| commit_failed(&error))
}

fn commit_failed(error: &rusqlite::Error) -> StoreError {
    let failure = failed_ref(error);
    let is_written = error.sqlite_error().is_some_and(|error| {
        matches!(error.code, ErrorCode::SystemIoFailure | ErrorCode::OutOfMemory)
            && error.extended_code != rusqlite::ffi::SQLITE_IOERR_WRITE
    });
    if is_written { failure.after_change() } else { failure }
}

pub(super) fn failed_ref(error: &rusqlite::Error) -> StoreError {
    let code = match error {
        rusqlite::Error::SqliteFailure(code, _) => code,
        rusqlite::Error::FromSqlConversionFailure(..)
        | rusqlite::Error::IntegralValueOutOfRange(..)
        | rusqlite::Error::InvalidColumnType(..)
        | rusqlite::Error::Utf8Error(_)
        | rusqlite::Error::QueryReturnedNoRows => return StoreError::Unreadable(error.to_string()),
        _ => return StoreError::Rejected(error.to_string()),
    };
    match code.code {
        ErrorCode::ConstraintViolation
        | ErrorCode::TypeMismatch
        | ErrorCode::TooBig
        | ErrorCode::ApiMisuse
        | ErrorCode::ParameterOutOfRange => StoreError::Rejected(error.to_string()),
        ErrorCode::NotADatabase => {
            StoreError::Incompatible("the file is not an SQLite database; name another file".into())
        }
        _ => StoreError::Unavailable(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rusqlite::ffi;

    fn failed_with(code: std::ffi::c_int) -> StoreError {
        commit_failed(&rusqlite::Error::SqliteFailure(ffi::Error::new(code), None))
    }

    #[test]
    fn a_commit_that_is_in_the_log_as_a_whole_may_have_been_done() {
        for code in [ffi::SQLITE_IOERR_FSYNC, ffi::SQLITE_IOERR_SHMMAP, ffi::SQLITE_NOMEM] {
            let error = failed_with(code);
            assert!(matches!(error, StoreError::InDoubt(_)), "{code}: {error:?}");
        }
        for code in [ffi::SQLITE_FULL, ffi::SQLITE_IOERR_WRITE, ffi::SQLITE_BUSY] {
            let error = failed_with(code);
            assert!(matches!(error, StoreError::Unavailable(_)), "{code}: {error:?}");
        }
    }
}
