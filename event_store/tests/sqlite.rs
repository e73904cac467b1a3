//! The contract on SQLite, and what only SQLite promises.

#[macro_use]
mod contract;

use contract::evidence::assert_refused;
use contract::given::{
    COMPANY, Given, append, append_one, changed, commit, created, in_time, new_token, sound_ledger,
    sound_ledgers, token,
};
use contract::{Fixture, REFUSED_BY_PROJECTION, REFUSED_BY_STATEMENT};
use futures::FutureExt;
use futures::future::BoxFuture;
use rusqlite::Connection;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tempfile::TempDir;
use token_ledger_domain::CompanyId;
use token_ledger_event_store::sqlite::database::{SEARCHES, failed};
use token_ledger_event_store::sqlite::{
    Access, Appended, Database, InlineProjections, NoProjections, SqliteStore, decoded_page,
};
use token_ledger_event_store::{AppendError, Clock, Context, LedgerRepository, Store, StoreError};

every_promise!(SqliteFixture);

/// A ledger in a directory of its own.
struct SqliteFixture {
    directory: Arc<TempDir>,
    store: Arc<SqliteStore>,
}

impl SqliteFixture {
    fn open(directory: TempDir) -> Self {
        Self::open_shared(Arc::new(directory))
    }

    fn open_shared(directory: Arc<TempDir>) -> Self {
        let path = ledger_in(directory.path());
        let database = Database::open(&path, Access::Write, Box::new(Refusing)).expect("a ledger");
        Self { directory, store: Arc::new(SqliteStore::new(database)) }
    }

    fn path(&self) -> PathBuf {
        ledger_in(self.directory.path())
    }

    fn database(&self) -> &Database {
        self.store.database()
    }
}

impl Fixture for SqliteFixture {
    type Repository = LedgerRepository;

    async fn fresh() -> Self {
        let fixture = Self::open(directory());
        let trigger = format!(
            "CREATE TRIGGER refusing BEFORE INSERT ON events \
             WHEN NEW.payload LIKE '%{REFUSED_BY_STATEMENT}%' \
             BEGIN SELECT RAISE(ABORT, 'refused'); END"
        );
        fixture.raw(&trigger).await.expect("a trigger");
        fixture
    }

    fn store(&self) -> Arc<dyn Store> {
        let store: Arc<SqliteStore> = Arc::clone(&self.store);
        store
    }

    async fn reopened(self) -> Self {
        let Self { directory, store } = self;
        drop(store);
        Self::open_shared(directory)
    }

    /// What a process leaves that ends at once is what it has handed to the operating system: the
    /// file, and the log up to some byte. Nothing moves from the log into the file meanwhile, as
    /// the log stays far below the size at which that begins.
    async fn crashed(&self) -> Self {
        let left = directory();
        fs::copy(self.path(), ledger_in(left.path())).expect("the file");
        let log = fs::copy(log_of(&self.path()), log_of(&ledger_in(left.path()))).expect("the log");
        assert!(log < 30 << 20, "the log is so long that the copy may be torn");
        Self::open(left)
    }

    async fn raw(&self, sql: &str) -> Result<(), String> {
        let sql = sql.to_owned();
        self.database()
            .write(move |connection| connection.execute_batch(&sql).map_err(failed))
            .await
            .map_err(|error| error.to_string())
    }

    fn repository(
        &self,
        company: CompanyId,
        clock: Arc<dyn Clock>,
        context: Context,
    ) -> LedgerRepository {
        LedgerRepository::new(self.store(), company, clock, context)
    }
}

/// Fails for tokens of certain names.
struct Refusing;

impl InlineProjections for Refusing {
    fn project(&mut self, _: &Connection, events: &[Appended]) -> Result<(), StoreError> {
        contract::refuse(events.iter().map(|appended| &*appended.event))
    }

    fn committed(&mut self) {}

    fn rolled_back(&mut self) {}
}

fn directory() -> TempDir {
    tempfile::tempdir().expect("a directory")
}

fn ledger_in(directory: &Path) -> PathBuf {
    directory.join("ledger.db")
}

fn log_of(ledger: &Path) -> PathBuf {
    ledger.with_extension("db-wal")
}

fn size(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |metadata| metadata.len())
}

fn open(path: &Path, access: Access) -> Result<Arc<Database>, StoreError> {
    Database::open(path, access, Box::new(NoProjections))
}

fn open_for_reading(path: &Path) -> SqliteStore {
    SqliteStore::new(open(path, Access::Read).expect("a ledger"))
}

#[track_caller]
fn assert_incompatible(outcome: Result<Arc<Database>, StoreError>, hint: &str) {
    match outcome {
        Err(StoreError::Incompatible(text)) => assert!(text.contains(hint), "{text}"),
        other => panic!("was to be incompatible, but {other:?}"),
    }
}

#[track_caller]
fn assert_unavailable<T: std::fmt::Debug>(outcome: Result<T, StoreError>, hint: &str) {
    match outcome {
        Err(StoreError::Unavailable(text)) => assert!(text.contains(hint), "{text}"),
        other => panic!("was to be unavailable, but {other:?}"),
    }
}

#[tokio::test]
async fn a_log_that_ends_at_any_byte_leaves_whole_commits() {
    const COMMITS: u64 = 12;
    const CUTS: u64 = 60;
    let fixture = SqliteFixture::fresh().await;
    let store = fixture.store();
    for _ in 0..COMMITS {
        append(store.as_ref(), commit(COMPANY, new_token(), 0, [created("a"), changed()])).await;
    }
    let whole = fs::read(log_of(&fixture.path())).expect("the log");
    let mut before = 0;
    for cut in 0..=CUTS {
        let left = directory();
        fs::copy(fixture.path(), ledger_in(left.path())).expect("the file");
        let end = usize::try_from(whole.len() as u64 * cut / CUTS).expect("a length");
        fs::write(log_of(&ledger_in(left.path())), &whole[..end]).expect("the log");
        let left = SqliteFixture::open(left);
        let events = sound_ledger(left.store().as_ref(), COMPANY).await.len() as u64;
        assert_eq!(events % 2, 0, "half a commit after {end} bytes");
        assert!(events >= before, "a longer log holds less");
        before = events;
        append(left.store().as_ref(), commit(COMPANY, new_token(), 0, [created("next")])).await;
        assert_eq!(sound_ledger(left.store().as_ref(), COMPANY).await.len() as u64, events + 1);
    }
    assert_eq!(before, 2 * COMMITS);
}

#[tokio::test]
async fn events_are_not_replaced() {
    let given = Given::a_company(SqliteFixture::fresh().await).await;
    token(&given.ledger).await;
    let columns = "company_id, aggregate_type, aggregate_id, sequence, event_type, event_version, \
         payload, metadata, position, recorded_at, commit_id, salt, private_commitment, entry_hash";
    let itself = format!("INSERT OR REPLACE INTO events SELECT {columns} FROM events");
    let others = columns.replace("sequence", "sequence + 100");
    let in_its_place = format!("INSERT OR REPLACE INTO events SELECT {others} FROM events");
    let replacing = format!("REPLACE INTO events SELECT {others} FROM events WHERE position = 2");
    let updating = "UPDATE OR REPLACE events SET position = 1 WHERE position = 2";
    assert_refused(&given, &[&itself, &in_its_place, &replacing, updating]).await;
}

#[tokio::test]
async fn the_files_are_for_their_owner_alone() {
    let directory = directory();
    let ledger = ledger_in(directory.path());
    let _database = open(&ledger, Access::Write).expect("a ledger");
    let lock = ledger.with_extension("db.lock");
    assert_private(&[ledger.clone(), log_of(&ledger), lock]);
}

fn assert_private(files: &[PathBuf]) {
    for file in files {
        let mode = fs::metadata(file).expect("a file").permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{}", file.display());
    }
}

#[tokio::test]
async fn files_that_were_put_back_are_for_their_owner_alone_again() {
    for access in [Access::Write, Access::WriteUnmigrated] {
        let fixture = SqliteFixture::fresh().await;
        let directory = directory();
        let ledger = ledger_in(directory.path());
        let files = [ledger.clone(), log_of(&ledger)];
        for (file, copy) in [fixture.path(), log_of(&fixture.path())].iter().zip(&files) {
            fs::copy(file, copy).expect("a backup");
            fs::set_permissions(copy, fs::Permissions::from_mode(0o664)).expect("permissions");
        }
        open(&ledger, Access::Read).expect("reading changes no permissions");
        assert_eq!(fs::metadata(&ledger).unwrap().permissions().mode() & 0o777, 0o664);
        let _database = open(&ledger, access).expect("a ledger");
        assert_private(&files);
        assert_private(&[ledger.with_extension("db-shm")]);
    }
}

#[tokio::test]
async fn a_second_writer_is_refused_and_told_what_to_do() {
    let fixture = SqliteFixture::fresh().await;
    for access in [Access::Write, Access::WriteUnmigrated] {
        let Err(StoreError::InUse(text)) = open(&fixture.path(), access) else {
            panic!("a second writer was let in");
        };
        for hint in ["another process writes to", "ledger.db", "stop it", "HTTP API", "PostgreSQL"]
        {
            assert!(text.contains(hint), "{text}");
        }
    }
    let path = fixture.path();
    let SqliteFixture { directory, store } = fixture;
    drop(store);
    open(&path, Access::WriteUnmigrated).expect("the first writer has gone");
    drop(directory);
}

#[tokio::test]
async fn reading_connections_read_what_is_written_and_write_nothing() {
    let fixture = SqliteFixture::fresh().await;
    let reader = open_for_reading(&fixture.path());
    append(fixture.store.as_ref(), commit(COMPANY, new_token(), 0, [created("seen")])).await;
    assert_eq!(sound_ledger(&reader, COMPANY).await.len(), 1);

    assert!(!reader.database().is_writable());
    let refused = append_one(&reader, commit(COMPANY, new_token(), 0, [created("never")])).await;
    let Err(AppendError::Failed(refused)) = refused else { panic!("{refused:?}") };
    assert_unavailable::<()>(Err(refused), "open for reading only");
    assert_unavailable(reader.database().write(|_| Ok(())).await, "open for reading only");
    for database in [reader.database(), fixture.database()] {
        let write = |connection: &Connection| {
            connection.execute("DELETE FROM event_private", []).map_err(failed)
        };
        assert_unavailable(database.read(write).await, "readonly");
    }
}

#[tokio::test]
async fn only_the_writing_connection_moves_the_log_into_the_file() {
    let fixture = SqliteFixture::fresh().await;
    append(fixture.store.as_ref(), commit(COMPANY, new_token(), 0, [created("in the log")])).await;
    let path = fixture.path();
    let sizes = || (size(&path), size(&log_of(&path)));
    let before = sizes();
    assert!(before.1 > 0, "there is a log");
    let reader = open_for_reading(&path);
    assert_eq!(sound_ledger(&reader, COMPANY).await.len(), 1);
    for database in [reader.database(), fixture.database()] {
        let checkpoint = |connection: &Connection| {
            connection
                .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get::<_, i64>(0))
                .map_err(failed)
        };
        let outcome = database.read(checkpoint).await;
        assert!(!matches!(outcome, Ok(0)), "a reading connection moved the log");
    }
    drop(reader);
    assert_eq!(sizes(), before, "a reader that goes leaves the log alone");

    // Also when there is no writer, as after a crash.
    let left = fixture.crashed().await;
    let SqliteFixture { directory: left, store } = left;
    drop(store);
    fs::copy(&path, ledger_in(left.path())).expect("the file");
    fs::copy(log_of(&path), log_of(&ledger_in(left.path()))).expect("the log");
    let reader = open_for_reading(&ledger_in(left.path()));
    assert_eq!(sound_ledger(&reader, COMPANY).await.len(), 1);
    drop(reader);
    assert_eq!(size(&log_of(&ledger_in(left.path()))), before.1, "the last reader too");

    let SqliteFixture { directory, store } = fixture;
    drop(store);
    assert_eq!(size(&log_of(&path)), 0, "the writer moves it when it goes");
    let reader = open_for_reading(&path);
    assert_eq!(sound_ledger(&reader, COMPANY).await.len(), 1);
    drop(directory);
}

#[tokio::test]
async fn a_writer_that_rests_moves_the_log_into_the_file() {
    const JOBS: usize = 300;
    let fixture = SqliteFixture::fresh().await;
    let path = fixture.path();
    let mut commits = Vec::new();
    for _ in 0..JOBS {
        commits.push(commit(COMPANY, new_token(), 0, [created("in the log")]));
    }
    for answer in fixture.store().append(commits).await {
        answer.expect("it is appended");
    }
    let before = size(&path);
    for _ in 0..JOBS {
        fixture.database().write(|_| Ok(())).await.expect("a job");
    }
    let moved = async {
        while size(&path) <= before {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    in_time(moved).await;
    // Nothing is lost by it, and the writer goes on.
    append(fixture.store.as_ref(), commit(COMPANY, new_token(), 0, [created("behind it")])).await;
    assert_eq!(sound_ledger(fixture.store.as_ref(), COMPANY).await.len(), JOBS + 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_stream_is_loaded_however_many_searches_there_are() {
    let fixture = SqliteFixture::fresh().await;
    let token = new_token();
    append(fixture.store.as_ref(), commit(COMPANY, token, 0, [created("in between")])).await;
    let (begun, mut beginning) = tokio::sync::mpsc::unbounded_channel();
    let (go_on, held) = std::sync::mpsc::channel::<()>();
    let held = Arc::new(std::sync::Mutex::new(held));
    let searches = (0..SEARCHES).map(|_| {
        let (store, begun, held) = (Arc::clone(&fixture.store), begun.clone(), Arc::clone(&held));
        let search = move |_: &Connection| {
            begun.send(()).expect("the test goes on");
            // It ends when the sender is gone.
            let _ = held.lock().map(|held| held.recv());
            Ok(())
        };
        tokio::spawn(async move { store.database().search(search).await })
    });
    let searches: Vec<_> = searches.collect();
    for _ in 0..SEARCHES {
        in_time(beginning.recv()).await.expect("a search begins");
    }
    let mut another = std::pin::pin!(fixture.database().search(|_| Ok(())));
    assert!(futures::poll!(&mut another).is_pending());
    let loaded = in_time(fixture.store.load(COMPANY, &[token.into()])).await.expect("a stream");
    assert_eq!(loaded[0].events.len(), 1);
    drop(go_on);
    in_time(another).await.expect("its turn comes");
    for search in searches {
        search.await.expect("it ends").expect("it is done");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dropping_the_database_finishes_what_waits() {
    const WAITING: usize = 50;
    let fixture = SqliteFixture::fresh().await;
    // The writing connection is kept busy until everything waits behind it.
    let (go, gone) = std::sync::mpsc::channel::<()>();
    let busy = fixture.database().write(move |_| gone.recv().map_err(|_| StoreError::Closed));
    let mut jobs: Vec<std::pin::Pin<Box<dyn Future<Output = ()> + Send>>> =
        vec![Box::pin(async { busy.await.expect("it ends") })];
    for _ in 0..WAITING {
        let store = &fixture.store;
        let waiting = commit(COMPANY, new_token(), 0, [created("waiting")]);
        jobs.push(Box::pin(async move {
            append(store.as_ref(), waiting).await;
        }));
    }
    // Each is handed over when it is polled; then its caller goes away.
    for job in &mut jobs {
        assert!(futures::poll!(job).is_pending());
    }
    drop(jobs);
    go.send(()).expect("the writer waits");
    let fixture = in_time(fixture.reopened()).await;
    assert_eq!(sound_ledger(fixture.store().as_ref(), COMPANY).await.len(), WAITING);
}

#[tokio::test]
async fn a_job_that_panics_ends_neither_the_writer_nor_what_others_write() {
    let fixture = SqliteFixture::fresh().await;
    let begun = |connection: &mut Connection| -> Result<(), StoreError> {
        let transaction = connection.transaction().map_err(failed)?;
        transaction.execute("DELETE FROM company_heads", []).map_err(failed)?;
        panic!("as it was asked to");
    };
    append(fixture.store().as_ref(), commit(COMPANY, new_token(), 0, [created("before")])).await;
    let answer = in_time(fixture.database().write(begun)).await;
    assert!(matches!(answer, Err(StoreError::InDoubt(_))), "{answer:?}");
    append(fixture.store().as_ref(), commit(COMPANY, new_token(), 0, [created("after")])).await;
    assert_eq!(sound_ledger(fixture.store().as_ref(), COMPANY).await.len(), 2);
}

#[tokio::test]
async fn a_locked_database_fails_the_write_and_nothing_else() {
    let fixture = SqliteFixture::fresh().await;
    let store = fixture.store();
    // Five seconds are long for a test.
    let impatient = |connection: &mut Connection| {
        connection.busy_timeout(Duration::from_millis(1)).map_err(failed)
    };
    fixture.database().write(impatient).await.expect("a shorter wait");
    let intruder = Connection::open(fixture.path()).expect("a connection");
    intruder.execute_batch("BEGIN IMMEDIATE").expect("a lock");
    let waiting = commit(COMPANY, new_token(), 0, [created("waits")]);
    let answers = store.append(vec![waiting.clone(), waiting.clone()]).await;
    for answer in answers {
        let Err(AppendError::Failed(error)) = answer else { panic!("{answer:?}") };
        assert_unavailable::<()>(Err(error), "locked");
    }
    assert!(sound_ledgers(store.as_ref()).await.is_empty(), "reading goes on");
    intruder.execute_batch("ROLLBACK").expect("the lock is gone");
    append(store.as_ref(), waiting).await;
    assert_eq!(sound_ledger(store.as_ref(), COMPANY).await.len(), 1);
}

/// Each way of opening refuses the file with these words and leaves it as it was.
fn assert_left_alone(path: &Path, hint: &str) {
    let before = fs::read(path).expect("the file");
    for access in [Access::Write, Access::WriteUnmigrated, Access::Read] {
        assert_incompatible(open(path, access), hint);
        assert!(fs::read(path).expect("the file") == before, "{access:?} changed the file");
        assert_eq!(size(&log_of(path)), 0, "{access:?} left a log");
    }
}

#[test]
fn a_file_that_is_no_database_is_refused_and_left_alone() {
    let directory = directory();
    let path = ledger_in(directory.path());
    fs::write(&path, "name,scopes\n".repeat(1000)).expect("a file");
    assert_left_alone(&path, "not an SQLite database; name another file");
}

#[test]
fn a_database_that_is_no_ledger_is_refused_and_left_alone() {
    let directory = directory();
    let path = ledger_in(directory.path());
    let foreign = Connection::open(&path).expect("a database");
    foreign.execute_batch("CREATE TABLE recipes (name TEXT)").expect("a table");
    drop(foreign);
    assert_left_alone(&path, "not a token ledger; name another file");
}

#[tokio::test]
async fn a_ledger_of_a_newer_release_is_refused_and_left_alone() {
    let fixture = SqliteFixture::fresh().await;
    fixture.raw("PRAGMA user_version = 99").await.expect("a version");
    let path = fixture.path();
    let SqliteFixture { directory, store } = fixture;
    drop(store);
    assert_left_alone(&path, "version 99, newer than this release knows");
    drop(directory);
}

#[tokio::test]
async fn a_ledger_is_migrated_only_by_who_may() {
    let directory = directory();
    let path = ledger_in(directory.path());
    assert_unavailable(open(&path, Access::Read), "ledger.db");
    assert!(!path.exists(), "a reader makes no file");
    assert_incompatible(open(&path, Access::WriteUnmigrated), "run `token-ledger migrate`");
    let migrated = open(&path, Access::Write).expect("a ledger").migrated();
    assert!(migrated > 0);
    assert_eq!(open(&path, Access::Write).expect("a ledger").migrated(), 0, "once is enough");
    open(&path, Access::WriteUnmigrated).expect("a ledger");
}

/// Names the directory to the process that may not write there.
const UNWRITABLE: &str = "LEDGER_TEST_UNWRITABLE";

#[test]
fn a_place_that_cannot_be_written_is_named() {
    match std::env::var_os(UNWRITABLE) {
        None => run_as_nobody("a_place_that_cannot_be_written_is_named"),
        Some(directory) => assert_unwritable_places_are_named(Path::new(&directory)),
    }
}

fn assert_unwritable_places_are_named(directory: &Path) {
    let closed = ledger_in(&directory.join("closed directory"));
    assert_unavailable(open(&closed, Access::Write), "closed directory");
    let absent = directory.join("closed directory/absent.db");
    assert_unavailable(open(&absent, Access::Write), "absent.db");
    assert!(!absent.exists());
    let nowhere = directory.join("no directory/ledger.db");
    assert_unavailable(open(&nowhere, Access::Write), "no directory");
    let protected = ledger_in(&directory.join("open directory"));
    assert_unavailable(open(&protected, Access::Write), "open directory");
    open(&protected, Access::Read).expect("reading needs no rights to write");
}

/// Prepares directories and runs the test of this name again, as a user who doesn't own them: the
/// superuser may write everywhere.
fn run_as_nobody(test: &str) {
    const NOBODY: u32 = 65_534;
    let directory = directory();
    let allow = |path: &Path, mode: u32| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("permissions");
    };
    let program = directory.path().join("test");
    fs::copy(std::env::current_exe().expect("this program"), &program).expect("a copy of it");
    let [closed, opened] = ["closed directory", "open directory"].map(|name| {
        let place = directory.path().join(name);
        fs::create_dir(&place).expect("a directory");
        drop(open(&ledger_in(&place), Access::Write).expect("a ledger"));
        fs::remove_file(place.join("ledger.db.lock")).expect("the lock file");
        allow(&ledger_in(&place), 0o444);
        place
    });
    allow(&closed, 0o555);
    allow(&opened, 0o777);
    allow(directory.path(), 0o755);

    let mut child = Command::new(&program);
    child.args(["--exact", test, "--nocapture"]).env(UNWRITABLE, directory.path());
    if fs::metadata("/proc/self").expect("this process").uid() == 0 {
        child.uid(NOBODY).gid(NOBODY);
    }
    let output = child.output().expect("the program runs");
    allow(&closed, 0o755);
    let said = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}

/// Writes something into a table of the test's own and deletes it again.
async fn written_and_deleted(fixture: &SqliteFixture) {
    let sql = "CREATE TABLE notes (text TEXT); INSERT INTO notes VALUES ('eve@example.com'); \
        DELETE FROM notes;";
    fixture.raw(sql).await.expect("it is written and deleted");
}

fn is_anywhere(fixture: &SqliteFixture, text: &str) -> bool {
    [fixture.path(), log_of(&fixture.path())].iter().any(|file| {
        let bytes = fs::read(file).unwrap_or_default();
        bytes.windows(text.len()).any(|window| window == text.as_bytes())
    })
}

#[tokio::test]
async fn what_is_deleted_is_overwritten_on_demand() {
    let fixture = SqliteFixture::open(directory());
    written_and_deleted(&fixture).await;
    assert!(is_anywhere(&fixture, "eve@example.com"), "the log still has it");
    fixture.database().overwrite().await.expect("an answer");
    assert!(!is_anywhere(&fixture, "eve@example.com"));
}

#[tokio::test]
async fn what_a_reader_keeps_is_overwritten_when_it_lets_go() {
    let fixture = SqliteFixture::open(directory());
    let reader = Connection::open(fixture.path()).expect("a reader");
    written_and_deleted(&fixture).await;
    reader.execute_batch("BEGIN; SELECT count(*) FROM events;").expect("it reads");
    fixture.raw("INSERT INTO notes VALUES ('later')").await.expect("it is written");
    fixture.database().overwrite().await.expect("an answer");
    assert!(is_anywhere(&fixture, "eve@example.com"), "the reader may need it");
    reader.execute_batch("COMMIT").expect("it lets go");
    in_time(async {
        while is_anywhere(&fixture, "eve@example.com") {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_written_along_shares_the_transaction_and_holds_nobody_up() {
    let fixture = SqliteFixture::fresh().await;
    let (store, database) = (fixture.store(), Arc::clone(fixture.store.database()));
    database
        .write(|connection| {
            connection.execute_batch("CREATE TABLE beside (text TEXT PRIMARY KEY)").map_err(failed)
        })
        .await
        .expect("a table");
    let beside = |connection: &Connection| {
        let mut rows =
            connection.prepare("SELECT text FROM beside ORDER BY text").map_err(failed)?;
        let texts = rows.query_map([], |row| row.get::<_, String>(0)).map_err(failed)?;
        texts.collect::<Result<Vec<_>, _>>().map_err(failed)
    };
    for (name, text, is_appended) in [
        ("one", "with it", true),
        (REFUSED_BY_PROJECTION, "without it", false),
        (REFUSED_BY_STATEMENT, "without it either", false),
        ("two", "with it", true),
    ] {
        // The writer is held until both wait for it.
        let (held, is_held) = tokio::sync::oneshot::channel();
        let (let_go, goes_on) = std::sync::mpsc::channel::<()>();
        let holding = {
            let database = Arc::clone(&database);
            tokio::spawn(async move {
                database
                    .write(move |_| {
                        let _ = held.send(());
                        goes_on.recv().map_err(|error| StoreError::Rejected(error.to_string()))
                    })
                    .await
            })
        };
        in_time(is_held).await.expect("the writer is held");
        let times = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&times);
        let mut along = Box::pin(database.write_along(1, move |transaction| {
            counted.fetch_add(1, Ordering::SeqCst);
            transaction.execute("INSERT INTO beside VALUES (?1)", [text]).map_err(failed)
        }));
        assert!(futures::poll!(&mut along).is_pending());
        let mut appended =
            Box::pin(append_one(store.as_ref(), commit(COMPANY, new_token(), 0, [created(name)])));
        assert!(futures::poll!(&mut appended).is_pending());
        let_go.send(()).expect("the writer waits");
        in_time(holding).await.expect("it ends").expect("it was held");
        assert_eq!(in_time(appended).await.is_ok(), is_appended, "{name}");
        let was_there = text == "with it" && name == "two";
        assert_eq!(in_time(along).await.is_err(), was_there, "{name}");
        // In one transaction with the commit; and where that failed, in one of its own.
        let expected = if is_appended && !was_there { 1 } else { 2 };
        assert_eq!(times.load(Ordering::SeqCst), expected, "{name}");
    }
    // Trouble with what goes along is none of the commits', whatever it looks like.
    let (let_go, goes_on) = std::sync::mpsc::channel::<()>();
    let held = database
        .write(move |_| goes_on.recv().map_err(|error| StoreError::Rejected(error.to_string())));
    let along = database.write_along(1, |transaction| {
        transaction.execute("INSERT INTO nowhere VALUES (1)", []).map_err(failed)
    });
    let three = append_one(store.as_ref(), commit(COMPANY, new_token(), 0, [created("three")]));
    let mut all = Box::pin(async { tokio::join!(held, along, three) });
    assert!(futures::poll!(&mut all).is_pending());
    let_go.send(()).expect("the writer waits");
    let (_, along, three) = in_time(all).await;
    assert_unavailable(along, "nowhere");
    three.expect("it is appended");
    let texts = database.read(beside).await.expect("the table");
    assert_eq!(texts, ["with it", "without it", "without it either"]);
    assert_eq!(sound_ledger(store.as_ref(), COMPANY).await.len(), 3);
}

/// Begins each of these, in this order, while the writer is held, and waits for all of them.
async fn begun_in_order<T>(
    database: &Database,
    begun: impl IntoIterator<Item = BoxFuture<'_, T>>,
) -> Vec<T> {
    let (let_go, goes_on) = std::sync::mpsc::channel::<()>();
    let mut held =
        Box::pin(database.write(move |_| {
            goes_on.recv().map_err(|error| StoreError::Rejected(error.to_string()))
        }));
    assert!(futures::poll!(&mut held).is_pending());
    let mut begun: Vec<_> = begun.into_iter().collect();
    for one in &mut begun {
        assert!(futures::poll!(one).is_pending());
    }
    let_go.send(()).expect("the writer waits");
    in_time(held).await.expect("it was held");
    in_time(futures::future::join_all(begun)).await
}

#[tokio::test]
async fn what_goes_along_waits_until_there_is_room_for_it() {
    let fixture = SqliteFixture::fresh().await;
    let store = fixture.store();
    let database = fixture.database();
    let events = |transaction: &Connection| {
        let count = transaction.query_row("SELECT count(*) FROM events", [], |row| row.get(0));
        count.map_err(failed)
    };
    let along = |rows| database.write_along(rows, events).boxed();
    let appended = async {
        let created = commit(COMPANY, new_token(), 0, [created("one")]);
        append_one(store.as_ref(), created).await.expect("it is appended");
        Ok::<i64, StoreError>(-1)
    }
    .boxed();
    let seen = begun_in_order(database, [along(500), along(12), along(1), appended]).await;
    let seen: Vec<i64> = seen.into_iter().map(|seen| seen.expect("it is written")).collect();
    assert_eq!(seen, [0, 0, 1, -1], "the third one comes behind the commit");
}

#[tokio::test]
async fn what_cannot_be_written_along_tears_the_others_not_apart() {
    let fixture = SqliteFixture::fresh().await;
    let database = fixture.database();
    let path = database.read(|connection| Ok(connection.path().map(str::to_owned))).await;
    let path = path.expect("it is read").expect("a file");
    database
        .write(|connection| connection.execute_batch("CREATE TABLE beside (n)").map_err(failed))
        .await
        .expect("a table");
    // How many rows there are, and how many of them were committed before.
    let insert = move |transaction: &Connection| {
        transaction.execute("INSERT INTO beside VALUES (1)", []).map_err(failed)?;
        let count = |connection: &Connection| {
            let counted = connection.query_row("SELECT count(*) FROM beside", [], |row| row.get(0));
            counted.map_err(failed)
        };
        let beside = Connection::open(&path).map_err(failed)?;
        Ok((count(transaction)?, count(&beside)?))
    };
    let bad = |transaction: &Connection| {
        transaction.execute("INSERT INTO nowhere VALUES (1)", []).map_err(failed)?;
        Ok((0, 0))
    };
    let seen = begun_in_order::<Result<(i64, i64), StoreError>>(
        database,
        [
            database.write_along(1, insert.clone()).boxed(),
            database.write_along(1, bad).boxed(),
            database.write_along(1, insert).boxed(),
        ],
    )
    .await;
    assert_eq!(seen[0].as_ref().expect("it is written"), &(1, 0));
    assert!(seen[1].is_err());
    assert_eq!(seen[2].as_ref().expect("it is written"), &(2, 0), "in one transaction");
}

/// A ledger whose second event can't be read in this column.
async fn unreadable(column: &str) -> SqliteFixture {
    let given = Given::<SqliteFixture>::a_company(SqliteFixture::fresh().await).await;
    let sql = format!(
        "DROP TRIGGER events_are_never_changed; \
         UPDATE events SET {column} = x'00' WHERE position = 2"
    );
    given.fixture.raw(&sql).await.expect("it is changed");
    given.fixture
}

#[track_caller]
fn assert_names_the_second(error: &StoreError, column: &str) {
    let StoreError::Corrupt { company, position, problem } = error else { panic!("{error:?}") };
    assert_eq!((*company, *position), (COMPANY, 2), "{problem}");
    assert!(problem.contains(column), "{problem}");
}

#[tokio::test]
async fn an_event_that_cannot_be_read_is_named_with_its_place() {
    for column in ["salt", "sequence", "aggregate_id", "payload"] {
        let fixture = unreadable(column).await;
        let error = fixture.store().read(COMPANY, 0, 9).await.expect_err("no page");
        assert_names_the_second(&error, column);
    }
}

#[tokio::test]
async fn what_stands_before_an_event_that_cannot_be_read_is_handed_out() {
    let fixture = unreadable("payload").await;
    let page = fixture.database().read(|connection| decoded_page(connection, COMPANY, 0, 9)).await;
    let (events, error) = page.expect("a page");
    assert_eq!(events.iter().map(|event| event.position).collect::<Vec<_>>(), [1]);
    let error = error.expect("what is wrong with the second");
    assert!(matches!(error, StoreError::Corrupt { company: COMPANY, position: 2, .. }), "{error}");
}
