//! Appending to PostgreSQL through the whole path, beside stock cqrs-es and postgres-es, and beside
//! a raw loop that inserts the same events.
//!
//! All three write to databases of their own in one cluster with PostgreSQL's default durability,
//! whose log is in files that were used before, as in any server that has run for a while.
//! The stock framework has one event table and no view; the raw loop inserts rows that are ready,
//! 256 to a statement, into `events` alone. The whole path keeps heads, private parts and inline
//! projections besides.
//!
//! The bare loop shows what is between the two: the server itself makes the rows of event, private
//! part and token, as many to a statement as there are callers, and nobody decides or asks anything.
//! Whoever has it insert the same rows durably before they answer can hardly be faster.

mod support;

use cqrs_es::CqrsFramework;
use cqrs_es::persist::PersistedEventStore;
use postgres_es::PostgresEventRepository;
use sqlx::{Connection, Executor, PgConnection};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use support::postgres::{PgBench, cluster, use_log};
use support::{creations, median, new_id, percentile, rate, side_by_side};
use token_ledger_domain::company::Company;
use token_ledger_domain::token::{Token, TokenCommand, TokenDecision};
use token_ledger_domain::{CompanyId, Timestamp};
use token_ledger_event_store::{Clock, Request, Store, SystemClock};
use token_ledger_test_cluster::TestDatabase;
use uuid::Uuid;

/// Callers, and how many creations each of them asks for in a round: of the whole path, and of the
/// stock framework. A round takes both about as long.
const LOADS: [(usize, usize, usize); 4] =
    [(1, 3000, 2000), (16, 1200, 400), (64, 800, 150), (256, 250, 40)];
const ROUNDS: usize = 5;
const ROWS: usize = 256;

/// The table of postgres-es.
const STOCK_EVENTS: &str = "CREATE TABLE events (aggregate_type text NOT NULL, \
    aggregate_id text NOT NULL, sequence bigint CHECK (sequence >= 0) NOT NULL, \
    event_type text NOT NULL, event_version text NOT NULL, payload json NOT NULL, \
    metadata json NOT NULL, PRIMARY KEY (aggregate_type, aggregate_id, sequence))";
const INSERT_RAW: &str = "INSERT INTO events (company_id, aggregate_type, aggregate_id, \
    sequence, event_type, event_version, payload, metadata, position, recorded_at, commit_id, \
    salt, private_commitment, entry_hash) \
    SELECT $1, 'token', id, 1, 'token.created', '1', payload::json, metadata::json, position, \
    recorded_at, commit_id, hash, hash, hash \
    FROM unnest($2::text[], $3::text[], $4::text[], $5::bigint[], $6::bigint[], $7::uuid[], \
    $8::bytea[]) AS n (id, payload, metadata, position, recorded_at, commit_id, hash)";

const LIKE: [&str; 3] = ["events", "event_private", "tokens"];
const INSERT_BARE: &str = "WITH n AS (SELECT id, $2 + number AS position \
    FROM unnest($1::uuid[]) WITH ORDINALITY AS n (id, number)), \
    e AS (INSERT INTO events SELECT l.company_id, l.aggregate_type, n.id::text, l.sequence, \
    l.event_type, l.event_version, l.payload, l.metadata, n.position, l.recorded_at, l.commit_id, \
    l.salt, l.private_commitment, l.entry_hash FROM n, like_events l), \
    p AS (INSERT INTO event_private SELECT l.company_id, n.position, l.salt, l.data \
    FROM n, like_event_private l) \
    INSERT INTO tokens SELECT l.company_id, n.id, l.name, l.scopes, l.status, l.client_id, l.term, \
    l.digest, l.hint, l.expires_at, l.issued_at, l.previous_digest, l.previous_expires_at, \
    l.previous_issued_at, l.created_at, l.created_by_type, l.created_by_id, n.position, \
    l.refreshed_at, l.deleted_at, l.version, n.position FROM n, like_tokens l";

struct Round {
    ours: f64,
    stock: f64,
    raw: f64,
    bare: f64,
}

fn main() {
    let cluster = cluster(&[]);
    let databases = [(); 3].map(|()| TestDatabase::fresh_in_blocking(&cluster));
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(run(databases.map(|database| database.url())));
}

async fn run([ours, stock, raw]: [String; 3]) {
    use_log(&ours).await;
    let bench = PgBench::connect(&ours).await;
    let company = bench.company().await;
    let (rules, _) = bench.ledger.state::<Company>(company, company.0).await.expect("a company");
    let stock = Stock::new(&stock, rules).await;
    let mut raw = RawLoop::new(&bench, company, &raw).await;
    for (callers, per_caller, per_stock_caller) in LOADS {
        let (count, stock_count) = (callers * per_caller, callers * per_stock_caller);
        let (mut rounds, mut own, mut stocks) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..=ROUNDS {
            let requests = creations(callers, per_caller);
            let started = Instant::now();
            let latencies = bench.create_side_by_side(company, requests).await;
            let ours = started.elapsed();
            let requests = creations(callers, per_stock_caller);
            let started = Instant::now();
            let stock_latencies = stock.create_side_by_side(requests).await;
            let stock = started.elapsed();
            let chunks = raw.ready(count.max(8 * ROWS));
            let inserted = chunks.len() * ROWS;
            let started = Instant::now();
            raw.insert(chunks).await;
            rounds.push(Round {
                ours: rate(count, ours),
                stock: rate(stock_count, stock),
                raw: rate(inserted, started.elapsed()),
                bare: raw.insert_bare(count, callers.min(ROWS)).await,
            });
            own.extend(latencies);
            stocks.extend(stock_latencies);
        }
        // The first one only warms up.
        rounds.remove(0);
        own.drain(..count);
        stocks.drain(..stock_count);
        report(callers, &rounds, &mut own, &mut stocks);
    }
}

fn report(callers: usize, rounds: &[Round], own: &mut [Duration], stock: &mut [Duration]) {
    let of = |value: fn(&Round) -> f64| median(rounds.iter().map(value).collect());
    let milliseconds =
        |latencies: &mut [Duration], part| percentile(latencies, part).as_secs_f64() * 1e3;
    let (own_p99, stock_p99) = (milliseconds(own, 0.99), milliseconds(stock, 0.99));
    println!(
        "{callers:>3} callers, median of {ROUNDS} rounds: {:>6.0}/s   stock {:>6.0}/s ({:.2})   \
         raw {:>6.0}/s ({:.2})   bare {:>6.0}/s ({:.2} of raw; ours {:.2} of it)",
        of(|round| round.ours),
        of(|round| round.stock),
        of(|round| round.ours / round.stock),
        of(|round| round.raw),
        of(|round| round.ours / round.raw),
        of(|round| round.bare),
        of(|round| round.bare / round.raw),
        of(|round| round.ours / round.bare),
    );
    println!(
        "            latency p50 {:.2} ms, p99 {own_p99:.2} ms   stock p50 {:.2} ms, \
         p99 {stock_p99:.2} ms ({:.2})",
        milliseconds(own, 0.5),
        milliseconds(stock, 0.5),
        own_p99 / stock_p99,
    );
}

/// The framework as it comes.
struct Stock {
    framework: Arc<CqrsFramework<Token, PersistedEventStore<PostgresEventRepository, Token>>>,
    rules: Company,
}

impl Stock {
    async fn new(url: &str, rules: Company) -> Self {
        let pool = postgres_es::default_postgress_pool(url).await;
        pool.execute(STOCK_EVENTS).await.expect("a table");
        let store = PersistedEventStore::new_event_store(PostgresEventRepository::new(pool));
        Self { framework: Arc::new(CqrsFramework::new(store, Vec::new(), ())), rules }
    }

    async fn create_side_by_side(
        &self,
        requests: Vec<Vec<Request<TokenCommand>>>,
    ) -> Vec<Duration> {
        let (framework, rules) = (Arc::clone(&self.framework), Arc::new(self.rules.clone()));
        let ask = move |request: Request<TokenCommand>| {
            let (framework, rules) = (Arc::clone(&framework), Arc::clone(&rules));
            async move {
                let rules = rules.token_rules(&request.command);
                let now = SystemClock.now();
                let decision = TokenDecision { command: request.command, rules, now };
                framework
                    .execute_with_metadata(&request.id.to_string(), decision, metadata(now))
                    .await
                    .expect("a token is created");
            }
        };
        side_by_side(requests, ask).await
    }
}

/// What the whole path keeps besides the event.
fn metadata(now: Timestamp) -> HashMap<String, String> {
    [
        ("actor", "key:00000000-0000-0000-0000-000000000007"),
        ("actor_name", "Payroll admin"),
        ("ip", "192.0.2.17"),
        ("request_id", "0199f7a2-5d7e-7c3c-9d8e-0c2f8f0b1a11"),
        ("user_agent", "payroll/3.1 (+https://example.com)"),
        ("recorded_at", &now.to_string()),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into()
}

/// Inserts rows that are ready into a table like the ledger's.
struct RawLoop {
    connection: PgConnection,
    company: CompanyId,
    payload: String,
    metadata: String,
    position: i64,
}

/// The columns of rows that are inserted with one statement.
#[derive(Default)]
struct RawRows {
    ids: Vec<String>,
    payloads: Vec<String>,
    metadata: Vec<String>,
    positions: Vec<i64>,
    times: Vec<i64>,
    commits: Vec<Uuid>,
    hashes: Vec<Vec<u8>>,
}

impl RawLoop {
    /// In another database, with the texts of the ledger's first token.
    async fn new(bench: &PgBench, company: CompanyId, url: &str) -> Self {
        let ids = bench.create(company, 1).await;
        let head = bench.head(company).await;
        let events = bench.store.read(company, head - 1, 1).await.expect("an event");
        assert_eq!(events[0].stream.id, ids[0]);
        // For its migrations.
        drop(PgBench::connect(url).await);
        let mut connection = PgConnection::connect(url).await.expect("a connection");
        let mut ledger = bench.database.pool().acquire().await.expect("a connection");
        for table in LIKE {
            let last = format!(
                "SELECT row_to_json(t)::text FROM {table} t ORDER BY position DESC LIMIT 1"
            );
            let row: String =
                sqlx::query_scalar(&last).fetch_one(&mut *ledger).await.expect("a row");
            let like = format!(
                "CREATE TEMP TABLE like_{table} AS \
                 SELECT * FROM json_populate_record(NULL::{table}, '{}')",
                row.replace('\'', "''")
            );
            connection.execute(like.as_str()).await.expect("a row to make others after");
        }
        let (payload, metadata) = (events[0].payload.clone(), events[0].metadata.clone());
        Self { connection, company, payload, metadata, position: 0 }
    }

    fn ready(&mut self, count: usize) -> Vec<RawRows> {
        let mut chunks = Vec::new();
        for _ in 0..count.div_ceil(ROWS) {
            let mut rows = RawRows::default();
            for _ in 0..ROWS {
                self.position += 1;
                rows.ids.push(new_id().to_string());
                rows.payloads.push(self.payload.clone());
                rows.metadata.push(self.metadata.clone());
                rows.positions.push(self.position);
                rows.times.push(1_700_000_000_000_000);
                rows.commits.push(new_id());
                rows.hashes.push(vec![9; 32]);
            }
            chunks.push(rows);
        }
        chunks
    }

    /// Has the server make and insert so many creations, so many to a statement; answers how many a
    /// second.
    async fn insert_bare(&mut self, count: usize, at_once: usize) -> f64 {
        let chunks: Vec<Vec<Uuid>> = (0..count.div_ceil(at_once))
            .map(|_| (0..at_once).map(|_| new_id()).collect())
            .collect();
        let inserted = chunks.len() * at_once;
        let started = Instant::now();
        for ids in chunks {
            let before = self.position;
            self.position += i64::try_from(ids.len()).expect("few rows");
            sqlx::query(INSERT_BARE)
                .bind(ids)
                .bind(before)
                .execute(&mut self.connection)
                .await
                .expect("inserted");
        }
        rate(inserted, started.elapsed())
    }

    async fn insert(&mut self, chunks: Vec<RawRows>) {
        for rows in chunks {
            sqlx::query(INSERT_RAW)
                .bind(self.company.0)
                .bind(rows.ids)
                .bind(rows.payloads)
                .bind(rows.metadata)
                .bind(rows.positions)
                .bind(rows.times)
                .bind(rows.commits)
                .bind(rows.hashes)
                .execute(&mut self.connection)
                .await
                .expect("inserted");
        }
    }
}
