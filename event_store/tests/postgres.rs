//! The contract on PostgreSQL, and what only PostgreSQL promises.

#[macro_use]
mod contract;

use async_trait::async_trait;
use contract::evidence::assert_refused;
use contract::given::{
    COMPANY, Given, append, append_one, ask_token, assert_done, at, change_scopes, changed, commit,
    create, created, in_time, new_token, read_all, register, side_by_side, sound_ledger,
    sound_ledgers, token,
};
use contract::{Fixture, REFUSED_BY_STATEMENT};
use cqrs_es::EventStore;
use cqrs_es::persist::{PersistedEventRepository, PersistedEventStore};
use futures::TryStreamExt;
use sqlx::{Connection, Executor, PgConnection};
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use token_ledger_domain::CompanyId;
use token_ledger_domain::token::Token;
use token_ledger_event_store::postgres::{
    Access, Appended, Change, Config, Database, InlineProjections, NoProjections,
    PgEventRepository, PgStore, RecordedTime, Rows, failed,
};
use token_ledger_event_store::{
    AppendError, Clock, Context, Head, Moment, Store, StoreError, SystemClock,
};
use token_ledger_test_cluster::{Proxy, TestDatabase};
use tokio::sync::broadcast::error::RecvError;

every_promise!(PgFixture);

/// Who the service runs as in these tests: somebody who owns nothing.
const SERVICE: &str = "ledger_test_service";

/// A ledger in a database of its own.
struct PgFixture {
    place: TestDatabase,
    store: Arc<PgStore>,
}

impl PgFixture {
    /// On a database whose schema is up to date.
    async fn on(place: TestDatabase) -> Self {
        let store = open(service(&place)).await;
        Self { place, store }
    }

    async fn owner(&self) -> PgConnection {
        PgConnection::connect(&self.place.url()).await.expect("a connection")
    }

    fn database(&self) -> &Database {
        self.store.database()
    }
}

impl Fixture for PgFixture {
    type Repository = PgEventRepository;

    async fn fresh() -> Self {
        let place = ledger().await;
        let mut owner = PgConnection::connect(&place.url()).await.expect("a connection");
        let refusing = format!(
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS \
             $$ BEGIN RAISE EXCEPTION 'refused'; END $$; \
             CREATE TRIGGER refusing BEFORE INSERT ON events FOR EACH ROW \
             WHEN (NEW.payload::text LIKE '%{REFUSED_BY_STATEMENT}%') EXECUTE FUNCTION refuse()"
        );
        owner.execute(refusing.as_str()).await.expect("a trigger");
        Self::on(place).await
    }

    fn store(&self) -> Arc<dyn Store> {
        let store: Arc<PgStore> = Arc::clone(&self.store);
        store
    }

    async fn reopened(self) -> Self {
        let Self { place, store } = self;
        store.close().await;
        drop(store);
        Self::on(place).await
    }

    /// What a process leaves that ends at once is what it has committed: that is copied, as one
    /// moment shows it, into another database.
    async fn crashed(&self) -> Self {
        let left = ledger().await;
        let mut from = self.owner().await;
        let mut to = PgConnection::connect(&left.url()).await.expect("a connection");
        from.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await.expect("a moment");
        for table in ["company_heads", "events", "event_private", "snapshots", "idempotency_keys"] {
            let copy = format!("COPY {table} TO STDOUT (FORMAT binary)");
            let rows: Vec<_> = from
                .copy_out_raw(&copy)
                .await
                .expect("rows")
                .try_collect()
                .await
                .expect("all rows");
            let copy = format!("COPY {table} FROM STDIN (FORMAT binary)");
            let mut sink = to.copy_in_raw(&copy).await.expect("a table");
            sink.send(rows.concat()).await.expect("rows");
            sink.finish().await.expect("all rows");
        }
        Self::on(left).await
    }

    async fn raw(&self, sql: &str) -> Result<(), String> {
        self.database().pool().execute(sql).await.map(|_| ()).map_err(|error| error.to_string())
    }

    fn repository(
        &self,
        company: CompanyId,
        clock: Arc<dyn Clock>,
        context: Context,
    ) -> PgEventRepository {
        PgEventRepository::new(Arc::clone(&self.store), company, clock, context)
    }
}

/// A fresh database with a schema that is up to date.
async fn ledger() -> TestDatabase {
    let place = TestDatabase::fresh().await;
    Database::connect(Config::new(place.url())).await.expect("a ledger");
    place.let_in(SERVICE, "token_ledger_service").await;
    place
}

fn service(place: &TestDatabase) -> Config {
    Config {
        access: Access::WriteUnmigrated,
        recorded_time: RecordedTime::Decision,
        ..Config::new(place.url_as(SERVICE))
    }
}

async fn open(config: Config) -> Arc<PgStore> {
    let database = Database::connect(config).await.expect("a ledger");
    Arc::new(PgStore::new(database, || Box::new(Refusing)))
}

/// Fails for tokens of certain names.
struct Refusing;

#[async_trait]
impl InlineProjections for Refusing {
    async fn project(
        &mut self,
        _: &mut PgConnection,
        events: &[Appended],
        _: &[Head],
    ) -> Result<(), StoreError> {
        refuse(events)
    }

    fn insert(&mut self, events: &[Appended], _: &Head) -> Result<Option<Vec<Rows>>, StoreError> {
        refuse(events).map(|()| Some(Vec::new()))
    }

    fn committed(&mut self) {}

    fn rolled_back(&mut self) {}
}

fn refuse(events: &[Appended]) -> Result<(), StoreError> {
    contract::refuse(events.iter().map(|appended| &*appended.event))
}

/// Counts the transactions in which it was asked to write by itself.
#[derive(Clone, Default)]
struct Counting(Arc<AtomicUsize>);

#[async_trait]
impl InlineProjections for Counting {
    async fn project(
        &mut self,
        _: &mut PgConnection,
        _: &[Appended],
        _: &[Head],
    ) -> Result<(), StoreError> {
        self.0.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }

    fn insert(&mut self, _: &[Appended], _: &Head) -> Result<Option<Vec<Rows>>, StoreError> {
        Ok(Some(Vec::new()))
    }

    fn committed(&mut self) {}

    fn rolled_back(&mut self) {}
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_is_loaded_however_many_searches_there_are() {
    let place = ledger().await;
    let store = open(Config { connections: 4, ..service(&place) }).await;
    let token = new_token();
    append(store.as_ref(), commit(COMPANY, token, 0, [created("there")])).await;
    let database = store.database();
    let mut searches = Vec::new();
    for _ in 0..3 {
        searches.push(in_time(database.lend_to_search()).await.expect("a search begins"));
    }
    let mut another = std::pin::pin!(database.lend_to_search());
    assert!(futures::poll!(&mut another).is_pending());
    let loaded = in_time(store.load(COMPANY, &[token.into()])).await.expect("a stream");
    assert_eq!(loaded[0].events.len(), 1);
    drop(searches);
    let (_connection, _turn) = in_time(another).await.expect("its turn comes");
}

#[tokio::test]
async fn processes_that_start_at_once_migrate_once() {
    let place = TestDatabase::fresh().await;
    let starts = (0..5).map(|_| Database::connect(Config::new(place.url())));
    let opened = futures::future::join_all(starts).await;
    let mut migrated: Vec<usize> =
        opened.into_iter().map(|database| database.expect("a ledger").migrated()).collect();
    migrated.sort_unstable();
    assert_eq!(migrated[..4], [0; 4]);
    assert!(migrated[4] > 0);
}

#[track_caller]
fn assert_incompatible(outcome: Result<Arc<Database>, StoreError>, hint: &str) {
    match outcome {
        Err(StoreError::Incompatible(text)) => assert!(text.contains(hint), "{text}"),
        other => panic!("was to be incompatible, but {other:?}"),
    }
}

#[tokio::test]
async fn a_ledger_of_a_newer_release_is_refused_and_left_alone() {
    let place = ledger().await;
    let mut owner = PgConnection::connect(&place.url()).await.expect("a connection");
    let later = "INSERT INTO ledger_migrations (version, name) VALUES (99, 'later')";
    owner.execute(later).await.expect("a version");
    for access in [Access::Write, Access::WriteUnmigrated, Access::Read] {
        let refused = Database::connect(Config { access, ..Config::new(place.url()) }).await;
        assert_incompatible(refused, "version 99, newer than this release knows");
    }
}

#[tokio::test]
async fn a_database_that_is_no_ledger_is_refused_and_left_alone() {
    let place = TestDatabase::fresh().await;
    let mut owner = PgConnection::connect(&place.url()).await.expect("a connection");
    owner.execute("CREATE TABLE events (name text)").await.expect("a table");
    let refused = Database::connect(Config::new(place.url())).await;
    assert_incompatible(refused, "not a token ledger's");
    let tables: i64 =
        sqlx::query_scalar("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'")
            .fetch_one(&mut owner)
            .await
            .expect("a count");
    assert_eq!(tables, 1);
}

#[tokio::test]
async fn a_ledger_is_migrated_only_by_who_may() {
    let place = TestDatabase::fresh().await;
    for access in [Access::WriteUnmigrated, Access::Read] {
        let refused = Database::connect(Config { access, ..Config::new(place.url()) }).await;
        assert_incompatible(refused, "run `token-ledger migrate`");
    }
}

#[tokio::test]
async fn a_server_that_is_not_there_is_waited_for_as_long_as_told() {
    let config = Config {
        patience: Some(Duration::from_millis(10)),
        ..Config::new("postgres://nobody@127.0.0.1:1/nothing")
    };
    let refused = Database::connect(config).await;
    assert!(matches!(refused, Err(StoreError::Unavailable(_))), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn not_even_the_owner_changes_what_has_happened() {
    let given = Given::a_company(PgFixture::fresh().await).await;
    token(&given.ledger).await;
    let statements = ["TRUNCATE events", "TRUNCATE events CASCADE", "DROP TABLE events"];
    assert_refused(&given, &statements).await;
    let before = sound_ledger(given.store().as_ref(), COMPANY).await;
    let mut owner = given.fixture.owner().await;
    let columns = "company_id, aggregate_type, aggregate_id, sequence, event_type, event_version, \
         payload, metadata, position, recorded_at, commit_id, salt, private_commitment, entry_hash";
    let replacing = format!(
        "INSERT INTO events SELECT {columns} FROM events \
         ON CONFLICT (company_id, position) DO UPDATE SET payload = '{{}}'"
    );
    for sql in [
        "UPDATE events SET payload = '{}'",
        "UPDATE events SET position = position + 10",
        "DELETE FROM events WHERE position = 3",
        "TRUNCATE events",
        &replacing,
    ] {
        let refused = owner.execute(sql).await;
        assert!(
            matches!(&refused, Err(error) if error.to_string().contains("append-only")),
            "{sql}: {refused:?}"
        );
        assert_eq!(sound_ledger(given.store().as_ref(), COMPANY).await, before, "{sql}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_stock_repository_reads_our_streams() {
    let given = Given::a_company(PgFixture::fresh().await).await;
    let id = token(&given.ledger).await;
    for round in 0..120 {
        let scopes = contract::given::change_scopes(&format!("s{round}"));
        let outcome = contract::given::ask_token(&given.ledger, COMPANY, id, scopes).await;
        contract::given::assert_done(outcome);
    }
    let (state, sequence) = given.ledger.state::<Token>(COMPANY, id.0).await.expect("a token");
    let stock =
        || postgres_es::PostgresEventRepository::new(given.fixture.database().pool().clone());
    let events = stock().get_events::<Token>(&id.to_string()).await.expect("events");
    assert_eq!(
        events.iter().map(|event| event.sequence).collect::<Vec<_>>(),
        (1..=121).collect::<Vec<_>>()
    );
    let stores = [
        PersistedEventStore::<_, Token>::new_event_store(stock()),
        PersistedEventStore::new_snapshot_store(stock(), 100),
    ];
    for store in stores {
        let loaded = store.load_aggregate(&id.to_string()).await.expect("a token");
        assert_eq!((loaded.aggregate, loaded.current_sequence as u64), (state.clone(), sequence));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repository_shows_no_other_companys_streams() {
    let given = Given::a_company(PgFixture::fresh().await).await;
    let id = token(&given.ledger).await.to_string();
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let repository =
        |company| given.fixture.repository(company, Arc::clone(&clock), Context::system());
    let own = repository(COMPANY).get_events::<Token>(&id).await.expect("events");
    assert_eq!(own.len(), 1);
    let other = repository(CompanyId(uuid::Uuid::from_u128(2)));
    assert!(other.get_events::<Token>(&id).await.expect("none").is_empty());
    assert!(other.get_last_events::<Token>(&id, 0).await.expect("none").is_empty());
}

/// Appends until the other side says that it is enough; answers how many commits were appended.
async fn write_until(store: Arc<PgStore>, mut enough: tokio::sync::watch::Receiver<bool>) -> usize {
    let mut count = 0;
    while !*enough.borrow_and_update() {
        let next = commit(COMPANY, new_token(), 0, [created("during"), changed()]);
        append(store.as_ref(), next).await;
        count += 1;
    }
    count
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_are_cut_lose_and_double_nothing() {
    const CUTS: usize = 25;
    let fixture = PgFixture::fresh().await;
    let (enough, when) = tokio::sync::watch::channel(false);
    let writers = (0..6).map(|_| write_until(Arc::clone(&fixture.store), when.clone()));
    let writers = tokio::spawn(side_by_side(writers.collect::<Vec<_>>()));
    let mut owner = fixture.owner().await;
    let cut = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
        WHERE datname = current_database() AND pid <> pg_backend_pid()";
    let mut news = fixture.store.watch();
    for _ in 0..CUTS {
        // In the middle of something, at a moment that differs each time.
        in_time(news.changed()).await.expect("it goes on");
        sqlx::query(cut).execute(&mut owner).await.expect("they are cut");
    }
    enough.send_replace(true);
    let appended: usize = in_time(writers).await.expect("the writers end").into_iter().sum();
    // The pool finds out about its own connections one by one.
    let events = in_time(async {
        loop {
            if fixture.store.head(COMPANY).await.is_ok() {
                return sound_ledger(fixture.store.as_ref(), COMPANY).await;
            }
        }
    })
    .await;
    assert!(appended > 0);
    assert_eq!(events.len(), 2 * appended);
    let streams: HashSet<_> = events.iter().map(|event| event.stream).collect();
    assert_eq!(streams.len(), appended);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_was_lost_is_recognised_though_others_went_on() {
    let fixture = PgFixture::fresh().await;
    let token = new_token();
    let lost = commit(COMPANY, token, 0, [created("lost"), changed()]);
    let recorded = append(fixture.store.as_ref(), lost.clone()).await;
    append(fixture.store.as_ref(), commit(COMPANY, token, 2, [changed()])).await;
    assert_eq!(append(fixture.store.as_ref(), lost).await, recorded);
    assert_eq!(sound_ledger(fixture.store.as_ref(), COMPANY).await.len(), 3);
}

/// Never comes to know what was found to have happened before.
struct Behind;

#[async_trait]
impl InlineProjections for Behind {
    async fn project(
        &mut self,
        _: &mut PgConnection,
        _: &[Appended],
        _: &[Head],
    ) -> Result<(), StoreError> {
        Ok(())
    }

    fn insert(&mut self, _: &[Appended], _: &Head) -> Result<Option<Vec<Rows>>, StoreError> {
        Ok(None)
    }

    fn committed(&mut self) {}

    async fn recovered(&mut self, _: &[(CompanyId, u64)]) -> bool {
        false
    }

    fn rolled_back(&mut self) {}
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_found_to_be_done_and_not_in_force_here_is_not_acknowledged() {
    let fixture = PgFixture::fresh().await;
    let proxy = Proxy::to(&fixture.place.url()).await;
    let url = proxy.url(&fixture.place.url_as(SERVICE));
    let config = Config { url, ..service(&fixture.place) };
    let database = Database::connect(config).await.expect("a ledger");
    let store = PgStore::new(database, || Box::new(Behind));
    proxy.lose_answer_to("UPDATE company_heads");
    let outcome = append_one(&store, commit(COMPANY, new_token(), 0, [created("found")])).await;
    assert!(proxy.has_lost());
    assert!(matches!(outcome, Err(AppendError::Failed(StoreError::InDoubt(_)))), "{outcome:?}");
    assert_eq!(sound_ledger(&store, COMPANY).await.len(), 1, "it was done");
    store.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn processes_on_one_database_keep_one_order() {
    const ROUNDS: u64 = 40;
    let fixture = PgFixture::fresh().await;
    let stores = [
        Arc::clone(&fixture.store),
        open(service(&fixture.place)).await,
        open(service(&fixture.place)).await,
    ];
    let companies = [COMPANY, CompanyId(uuid::Uuid::from_u128(2))];
    let writers = stores.iter().flat_map(|store| [store; 4]).map(|store| {
        let store = Arc::clone(store);
        let token = new_token();
        async move {
            for sequence in 0..ROUNDS {
                let both = companies.map(|company| commit(company, token, sequence, [changed()]));
                for answer in store.append(both.to_vec()).await {
                    answer.expect("it is appended");
                }
            }
        }
    });
    side_by_side(writers.collect::<Vec<_>>()).await;
    for events in sound_ledgers(stores[1].as_ref()).await.values() {
        assert_eq!(events.len() as u64, 12 * ROUNDS);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn new_tokens_take_one_statement_where_nobody_else_has_moved_the_head() {
    let given = Given::a(PgFixture::fresh().await);
    let counting = Counting::default();
    let database = Database::connect(service(&given.fixture.place)).await.expect("a ledger");
    let one = PgStore::new(database, || Box::new(counting.clone()));
    let transactions = || counting.0.load(Ordering::SeqCst);
    let begin = |name: &str| commit(COMPANY, new_token(), 0, [created(name)]);

    append(&one, begin("where the head is has to be asked for")).await;
    assert_eq!(transactions(), 1);
    let token = new_token();
    append(&one, commit(COMPANY, token, 0, [created("it is known")])).await;
    assert_eq!(append(&one, begin("still")).await.position, 3);
    assert_eq!(transactions(), 1);

    let again = append_one(&one, commit(COMPANY, token, 0, [created("a place that is taken")]));
    assert!(matches!(again.await, Err(AppendError::Conflict)));
    append(given.fixture.store.as_ref(), begin("another process")).await;
    let mut relying = begin("behind it");
    relying.company_sequence = Some(0);
    assert_eq!(append(&one, relying).await.position, 5);
    assert_eq!(transactions(), 2);

    // What the company's own events change is not missed.
    register(&given.ledger, COMPANY).await;
    let mut relying = begin("on rules that have changed");
    relying.company_sequence = Some(0);
    let refused = append_one(&one, relying).await;
    assert!(matches!(refused, Err(AppendError::CompanyChanged)), "{refused:?}");
    assert_eq!(sound_ledger(&one, COMPANY).await.len(), 7);
    one.close().await;
}

/// A newer release's migration runs while this process goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn new_tokens_are_recorded_though_a_table_has_got_a_column() {
    let fixture = PgFixture::fresh().await;
    let counting = Counting::default();
    let database = Database::connect(service(&fixture.place)).await.expect("a ledger");
    let store = PgStore::new(database, || Box::new(counting.clone()));
    let begin = |name: &str| commit(COMPANY, new_token(), 0, [created(name)]);
    append(&store, begin("where the head is has to be asked for")).await;
    append(&store, begin("it is known")).await;
    let transactions = || counting.0.load(Ordering::SeqCst);
    assert_eq!(transactions(), 1);
    for table in ["events", "event_private"] {
        let widened = format!("ALTER TABLE {table} ADD COLUMN newer text");
        fixture.owner().await.execute(widened.as_str()).await.expect("a column");
    }
    append(&store, begin("the other way")).await;
    assert_eq!(transactions(), 2);
    assert_eq!(sound_ledger(&store, COMPANY).await.len(), 3);
    store.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_head_that_another_holds_fails_its_company_and_no_other() {
    let fixture = PgFixture::fresh().await;
    append(fixture.store.as_ref(), commit(COMPANY, new_token(), 0, [created("first")])).await;
    let mut holder = fixture.owner().await;
    holder.execute("BEGIN; SELECT * FROM company_heads FOR UPDATE").await.expect("a lock");
    let store = Arc::clone(&fixture.store);
    let waiting = tokio::spawn(async move {
        append_one(store.as_ref(), commit(COMPANY, new_token(), 0, [created("waits")])).await
    });
    wait_for_locks(&fixture, 1).await;
    let other = CompanyId(uuid::Uuid::from_u128(2));
    append(fixture.store.as_ref(), commit(other, new_token(), 0, [created("goes on")])).await;
    assert!(!waiting.is_finished(), "the other company didn't wait for it");
    let outcome = in_time(waiting).await.expect("it ends");
    assert!(matches!(outcome, Err(AppendError::Failed(StoreError::Unavailable(_)))), "{outcome:?}");
    holder.execute("ROLLBACK").await.expect("the lock is gone");
    append(fixture.store.as_ref(), commit(COMPANY, new_token(), 0, [created("again")])).await;
    assert_eq!(sound_ledger(fixture.store.as_ref(), COMPANY).await.len(), 2);
}

/// Commits of both come together; the other company's doesn't fail with the one whose head is held.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_head_that_another_holds_fails_no_company_of_the_same_batch() {
    let fixture = PgFixture::fresh().await;
    append(fixture.store.as_ref(), commit(COMPANY, new_token(), 0, [created("first")])).await;
    let mut holder = fixture.owner().await;
    holder.execute("BEGIN; SELECT * FROM company_heads FOR UPDATE").await.expect("a lock");
    let other = CompanyId(uuid::Uuid::from_u128(2));
    let commits = vec![
        commit(COMPANY, new_token(), 0, [created("waits")]),
        commit(other, new_token(), 0, [created("goes on")]),
        commit(COMPANY, new_token(), 0, [created("waits as well")]),
    ];
    let mut outcomes = in_time(fixture.store.append(commits)).await;
    let goes_on = outcomes.remove(1);
    assert!(goes_on.is_ok(), "{goes_on:?}");
    for outcome in outcomes {
        let is_told = matches!(outcome, Err(AppendError::Failed(StoreError::Unavailable(_))));
        assert!(is_told, "{outcome:?}");
    }
    holder.execute("ROLLBACK").await.expect("the lock is gone");
    append(fixture.store.as_ref(), commit(COMPANY, new_token(), 0, [created("again")])).await;
    assert_eq!(sound_ledger(fixture.store.as_ref(), COMPANY).await.len(), 2);
    assert_eq!(sound_ledger(fixture.store.as_ref(), other).await.len(), 1);
}

/// As many as there are transactions in flight, and one more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn heads_that_another_holds_keep_no_other_company_waiting() {
    let fixture = PgFixture::fresh().await;
    let held = [1, 2, 3].map(|number| CompanyId(uuid::Uuid::from_u128(number)));
    for company in held {
        append(fixture.store.as_ref(), commit(company, new_token(), 0, [created("first")])).await;
    }
    let mut holder = fixture.owner().await;
    holder.execute("BEGIN; SELECT * FROM company_heads FOR UPDATE").await.expect("a lock");
    let waiting = held.map(|company| {
        let store = Arc::clone(&fixture.store);
        tokio::spawn(async move {
            append_one(store.as_ref(), commit(company, new_token(), 0, [created("waits")])).await
        })
    });
    wait_for_locks(&fixture, 2).await;
    let other = CompanyId(uuid::Uuid::from_u128(4));
    append(fixture.store.as_ref(), commit(other, new_token(), 0, [created("goes on")])).await;
    let changed = commit(other, new_token(), 0, [created("goes on"), changed()]);
    append(fixture.store.as_ref(), changed).await;
    assert!(waiting.iter().all(|task| !task.is_finished()), "it waited for none of them");
    for waiting in waiting {
        let outcome = in_time(waiting).await.expect("it ends");
        let is_told = matches!(outcome, Err(AppendError::Failed(StoreError::Unavailable(_))));
        assert!(is_told, "{outcome:?}");
    }
    holder.execute("ROLLBACK").await.expect("the lock is gone");
    for company in held {
        append(fixture.store.as_ref(), commit(company, new_token(), 0, [created("again")])).await;
        assert_eq!(sound_ledger(fixture.store.as_ref(), company).await.len(), 2);
    }
    assert_eq!(sound_ledger(fixture.store.as_ref(), other).await.len(), 3);
}

/// A head that is let go of while commits wait for it loses none of them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_head_that_is_let_go_of_takes_in_whatever_waits() {
    let fixture = PgFixture::fresh().await;
    append(fixture.store.as_ref(), commit(COMPANY, new_token(), 0, [created("first")])).await;
    let mut holder = fixture.owner().await;
    holder.execute("BEGIN; SELECT * FROM company_heads FOR UPDATE").await.expect("a lock");
    let one_waits = || {
        let store = Arc::clone(&fixture.store);
        tokio::spawn(async move {
            append_one(store.as_ref(), commit(COMPANY, new_token(), 0, [created("waits")])).await
        })
    };
    let mut waiting = vec![one_waits()];
    // Whoever has the time to wait asks for more than the others do.
    let mut owner = fixture.owner().await;
    let patient = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' \
        AND datname = current_database() AND query LIKE '%''3s''; SELECT company_id%'";
    in_time(async {
        while sqlx::query_scalar::<_, i64>(patient).fetch_one(&mut owner).await.expect("a count")
            == 0
        {}
    })
    .await;
    waiting.extend([(); 3].map(|()| one_waits()));
    holder.execute("ROLLBACK").await.expect("the lock is gone");
    for waiting in waiting {
        in_time(waiting).await.expect("it ends").expect("it is recorded");
    }
    append(fixture.store.as_ref(), commit(COMPANY, new_token(), 0, [created("again")])).await;
    assert_eq!(sound_ledger(fixture.store.as_ref(), COMPANY).await.len(), 6);
}

/// More commands than a process could have locks for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_that_wait_for_a_head_hold_up_no_other_companys() {
    const WAITING: usize = 300;
    let given = Given::a_company(PgFixture::fresh().await).await;
    let other = CompanyId(uuid::Uuid::from_u128(4));
    register(&given.ledger, other).await;
    let (mut tokens, mut others) = (Vec::new(), Vec::new());
    for _ in 0..WAITING {
        tokens.push(token(&given.ledger).await);
    }
    for _ in 0..WAITING / 10 {
        let id = new_token();
        assert_done(ask_token(&given.ledger, other, id, create("goes on")).await);
        others.push(id);
    }
    let mut holder = given.fixture.owner().await;
    let hold =
        format!("BEGIN; SELECT * FROM company_heads WHERE company_id = '{COMPANY}' FOR UPDATE");
    holder.execute(hold.as_str()).await.expect("a lock");
    let change = |company, id| {
        let ledger = Arc::clone(&given.ledger);
        async move { ask_token(&ledger, company, id, change_scopes("employees")).await }
    };
    let waiting: Vec<_> = tokens.into_iter().map(|id| tokio::spawn(change(COMPANY, id))).collect();
    wait_for_locks(&given.fixture, 1).await;
    for outcome in side_by_side(others.into_iter().map(|id| change(other, id))).await {
        assert_done(outcome);
    }
    assert!(waiting.iter().all(|task| !task.is_finished()), "they waited for none of them");
    holder.execute("ROLLBACK").await.expect("the lock is gone");
    for task in waiting {
        assert_done(in_time(task).await.expect("it ends"));
    }
}

/// Waits until so many connections wait for locks.
async fn wait_for_locks(fixture: &PgFixture, at_least: i64) {
    let mut owner = fixture.owner().await;
    let held = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' \
        AND datname = current_database()";
    in_time(async {
        while sqlx::query_scalar::<_, i64>(held).fetch_one(&mut owner).await.expect("a count")
            < at_least
        {}
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn others_are_told_of_what_was_committed_before_they_look() {
    let fixture = PgFixture::fresh().await;
    let other = open(service(&fixture.place)).await;
    let mut changes = other.database().changes();
    let began = Moment::now();
    // From the first nonce that was sent from now on, nothing is missed.
    in_time(async {
        while !matches!(changes.recv().await, Ok(Change::Current(sent)) if sent >= began) {}
    })
    .await;
    let mut own = fixture.database().changes();
    let (mut last, mut hints) = (0, 0);
    for _ in 0..20 {
        append(fixture.store.as_ref(), commit(COMPANY, new_token(), 0, [created("x")])).await;
    }
    let done = Moment::now();
    in_time(async {
        loop {
            match changes.recv().await.expect("changes") {
                Change::Moved(ledgers) if ledgers == [(COMPANY, 0)] => hints += 1,
                Change::Moved(ledgers) => {
                    let [(COMPANY, position)] = ledgers[..] else { panic!("{ledgers:?}") };
                    assert!(position > last, "in order");
                    last = position;
                }
                Change::Current(sent) if sent > done => break,
                Change::Current(_) | Change::PutRight(_) => {}
                Change::Resync => panic!("nothing was lost"),
            }
        }
    })
    .await;
    assert!(hints > 0, "not only by looking");
    assert_eq!(last, 20, "all was told before the nonce that was sent after it");
    while let Ok(change) = own.try_recv() {
        let is_hint = matches!(change, Change::Moved(ledgers) if ledgers.contains(&(COMPANY, 0)));
        assert!(!is_hint, "who did it knows");
    }
}

/// Only looks that somebody hurries make way for everybody else.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_look_that_took_long_is_soon_followed_by_the_next() {
    let fixture = PgFixture::fresh().await;
    let mut changes = fixture.database().changes();
    let mut current = async |after: Moment| {
        while !matches!(changes.recv().await, Ok(Change::Current(began)) if began > after) {}
    };
    in_time(current(Moment::now())).await;
    let mut holder = fixture.owner().await;
    let held =
        "BEGIN; LOCK TABLE company_heads IN ACCESS EXCLUSIVE MODE; SELECT pg_sleep(1.2); COMMIT";
    holder.execute(held).await.expect("a lock");
    let released = Moment::now();
    in_time(current(released)).await;
    let took = released.elapsed();
    assert!(took < Duration::from_millis(1_200), "four looks and more are due by then: {took:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_lets_nobody_in_can_not_be_used_whatever_it_says() {
    let fixture = PgFixture::fresh().await;
    append(fixture.store.as_ref(), commit(COMPANY, new_token(), 0, [created("first")])).await;
    let mut owner = fixture.owner().await;
    let name: String = sqlx::query_scalar("SELECT current_database()")
        .fetch_one(&mut owner)
        .await
        .expect("a name");
    owner.close().await.expect("closed");
    let elsewhere = ledger().await;
    let mut elsewhere = PgConnection::connect(&elsewhere.url()).await.expect("a connection");
    let allow = async |elsewhere: &mut PgConnection, whether: bool| {
        let allow = format!("ALTER DATABASE \"{name}\" ALLOW_CONNECTIONS {whether}");
        elsewhere.execute(allow.as_str()).await.expect("done");
    };
    allow(&mut elsewhere, false).await;
    let cut = format!(
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = '{name}'"
    );
    elsewhere.execute(cut.as_str()).await.expect("cut");
    let store = fixture.store.as_ref();
    let outcome = append_one(store, commit(COMPANY, new_token(), 0, [created("in vain")])).await;
    let is_told = matches!(outcome, Err(AppendError::Failed(StoreError::Unavailable(_))));
    assert!(is_told, "{outcome:?}");
    let read = store.heads().await;
    assert!(matches!(read, Err(StoreError::Unavailable(_))), "{read:?}");
    allow(&mut elsewhere, true).await;
    append(store, commit(COMPANY, new_token(), 0, [created("again")])).await;
}

/// As where a process commits and ends before it tells the others.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_nobody_tells_is_found_by_the_heads_before_anything_counts_as_current() {
    let fixture = PgFixture::fresh().await;
    append(fixture.store.as_ref(), commit(COMPANY, new_token(), 0, [created("told")])).await;
    let mut changes = fixture.database().changes();
    let began = Moment::now();
    in_time(async {
        while !matches!(changes.recv().await, Ok(Change::Current(at)) if at >= began) {}
    })
    .await;
    for sql in [
        "INSERT INTO events SELECT company_id, aggregate_type, gen_random_uuid(), sequence, \
         event_type, event_version, payload, metadata, position + 1, recorded_at, commit_id, salt, \
         private_commitment, entry_hash FROM events",
        "UPDATE company_heads SET last_position = last_position + 1",
    ] {
        fixture.raw(sql).await.expect("a row");
    }
    let done = Moment::now();
    let mut advanced = None;
    in_time(async {
        loop {
            match changes.recv().await.expect("changes") {
                Change::Moved(ledgers) => {
                    assert!(advanced.is_none(), "it is told once");
                    advanced = Some(ledgers);
                }
                Change::Current(sent) if sent > done => break,
                Change::Current(_) | Change::PutRight(_) => {}
                Change::Resync => panic!("nothing was put back"),
            }
        }
    })
    .await;
    assert_eq!(advanced, Some(vec![(COMPANY, 2)]));
    fixture.raw("UPDATE company_heads SET last_position = 1").await.expect("a row");
    in_time(async { while !matches!(changes.recv().await, Ok(Change::Resync)) {} }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_listener_that_was_cut_off_says_so_when_it_is_back() {
    let fixture = PgFixture::fresh().await;
    let mut changes = fixture.database().changes();
    in_time(async { while !matches!(changes.recv().await, Ok(Change::Current(_))) {} }).await;
    let mut owner = fixture.owner().await;
    let cut = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
        WHERE datname = current_database() AND query LIKE 'LISTEN%'";
    let count: i64 = sqlx::query_scalar(cut).fetch_one(&mut owner).await.expect("it is cut");
    assert_eq!(count, 1);
    in_time(async {
        loop {
            match changes.recv().await {
                Ok(Change::Resync) | Err(RecvError::Lagged(_)) => break,
                Ok(_) => {}
                Err(RecvError::Closed) => panic!("it is not over"),
            }
        }
        let again = Moment::now();
        while !matches!(changes.recv().await, Ok(Change::Current(sent)) if sent > again) {}
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_are_recorded_at_the_databases_time() {
    let place = ledger().await;
    let database = Database::connect(Config::new(place.url())).await.expect("a ledger");
    let clock = database.clock();
    let store = PgStore::new(database, || Box::new(NoProjections));
    let before = clock.now().plus_seconds(-1);
    // What was decided too long ago has to be decided anew at the database's time.
    let assert_outdated = async || {
        let late = commit(COMPANY, new_token(), 0, [created("late")]);
        match append_one(&store, late).await {
            Err(AppendError::Outdated { at }) => {
                assert!(before < at && at < clock.now().plus_seconds(1));
            }
            other => panic!("was to be outdated, but {other:?}"),
        }
    };
    assert_outdated().await;
    // A decision of a moment ago keeps its time, so that terms are as long as they were decided.
    let now = clock.now().plus_seconds(-1);
    let other = CompanyId(uuid::Uuid::from_u128(77));
    let decided = contract::given::commit_at(now, other, new_token(), 0, [created("y")]);
    assert_eq!(append(&store, decided).await.recorded_at, now);
    let first = contract::given::commit_at(now, COMPANY, new_token(), 0, [created("x")]);
    append(&store, first).await;
    // Also where the head is where it was left.
    assert_outdated().await;
    // Of what has no events, nothing was decided that could have changed since.
    let mut key = commit(COMPANY, new_token(), 0, []);
    key.idempotency = Some(contract::given::key("asked long ago", 1));
    append(&store, key).await;
    // A clock that is ahead of the database's is not followed.
    let ahead = clock.now().plus_seconds(60);
    let decided = contract::given::commit_at(ahead, COMPANY, new_token(), 0, [created("z")]);
    assert!(append(&store, decided).await.recorded_at < clock.now().plus_seconds(1));
    assert!(clock.offset_micros().abs() < 1_000_000, "it is the same machine");
    store.close().await;
}

#[tokio::test]
async fn who_only_reads_writes_nothing() {
    let fixture = PgFixture::fresh().await;
    append(fixture.store.as_ref(), commit(COMPANY, new_token(), 0, [created("seen")])).await;
    let reader = open(Config { access: Access::Read, ..service(&fixture.place) }).await;
    assert_eq!(read_all(reader.as_ref(), COMPANY).await.len(), 1);
    let refused = append_one(reader.as_ref(), commit(COMPANY, new_token(), 0, [changed()])).await;
    assert!(
        matches!(&refused, Err(AppendError::Failed(StoreError::Unavailable(text)))
            if text.contains("reading only")),
        "{refused:?}"
    );
}

#[tokio::test]
async fn statements_that_a_pooler_mixes_up_name_the_pooler() {
    let fixture = PgFixture::fresh().await;
    for (sql, words) in [
        ("PREPARE same AS SELECT 1; PREPARE same AS SELECT 1", "already exists"),
        ("EXECUTE gone", "does not exist"),
    ] {
        let refused = fixture.database().pool().execute(sql).await.expect_err("no such luck");
        let said = failed(refused).to_string();
        assert!(said.contains(words), "{said}");
        assert!(said.contains("PgBouncer 1.21 or later with max_prepared_statements"), "{said}");
    }
}

#[tokio::test]
async fn who_may_not_migrate_is_told_what_is_missing_and_who_may() {
    let place = TestDatabase::fresh().await;
    Database::connect(Config::new(place.url())).await.expect("a ledger");
    place.let_in(SERVICE, "token_ledger_service").await;
    let as_service = || Config { access: Access::Write, ..service(&place) };
    Database::connect(as_service()).await.expect("nothing is missing");
    for (sql, missing) in [
        (
            "DELETE FROM ledger_migrations WHERE version > 8",
            "lacks 2 of this release's migrations (vouched_passwords, lookups)",
        ),
        (
            "DROP SCHEMA public CASCADE; CREATE SCHEMA public; GRANT USAGE ON SCHEMA public TO PUBLIC",
            "lacks 10 of this release's migrations (ledger, projections, people, ",
        ),
    ] {
        place.run_blocking(sql);
        let refused = Database::connect(as_service()).await.expect_err("it may not");
        let said = refused.to_string();
        assert!(said.contains(missing), "{said}");
        assert!(said.contains("run `token-ledger migrate` as the owner"), "{said}");
        assert!(!said.contains("as a member of token_ledger_service"), "{said}");
    }
}

#[tokio::test]
async fn a_role_that_was_made_after_the_tables_is_let_in_by_the_next_migration() {
    let place = ledger().await;
    place.run_blocking("REVOKE ALL ON ALL TABLES IN SCHEMA public FROM token_ledger_service");
    Database::connect(service(&place)).await.expect_err("it may read nothing");
    Database::connect(Config::new(place.url())).await.expect("a ledger");
    Database::connect(service(&place)).await.expect("it may read and write");
}

#[tokio::test]
async fn no_more_keys_are_removed_than_asked_for_however_many_companies_there_are() {
    let fixture = PgFixture::fresh().await;
    for sql in [
        "INSERT INTO company_heads SELECT gen_random_uuid(), 1, 0, 1 FROM generate_series(1, 1100)",
        "INSERT INTO idempotency_keys SELECT company_id, 'caller', 'route', 'key', '', '', 0 \
         FROM company_heads",
    ] {
        fixture.raw(sql).await.expect("rows");
    }
    let forget = async |limit| fixture.store.forget_keys(at(0), limit).await.expect("done");
    assert_eq!((forget(3).await, forget(700).await), (3, 700));
    assert_eq!((forget(0).await, forget(9_999).await), (0, 397));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn closing_finishes_what_waits() {
    const WAITING: usize = 50;
    let fixture = PgFixture::fresh().await;
    let store = &fixture.store;
    let mut jobs: Vec<std::pin::Pin<Box<dyn Future<Output = ()> + Send + '_>>> = Vec::new();
    for _ in 0..WAITING {
        jobs.push(Box::pin(async move {
            append(store.as_ref(), commit(COMPANY, new_token(), 0, [created("waiting")])).await;
        }));
    }
    // Each is handed over when it is polled; then its caller goes away.
    for job in &mut jobs {
        assert!(futures::poll!(job).is_pending());
    }
    drop(jobs);
    let fixture = in_time(fixture.reopened()).await;
    assert_eq!(sound_ledger(fixture.store().as_ref(), COMPANY).await.len(), WAITING);
}
