//! What the suites share: a database under test, a ledger in it, and the laws to hold it against.
//!
//! To add a database: write a [`Fixture`] beside [`sqlite`], and a module for it in
//! [`on_every_database!`].

pub mod fold;
pub mod history;
pub mod postgres;
pub mod sqlite;

use fold::Folded;
use proptest::strategy::Strategy;
use proptest::test_runner::{Config, TestRunner};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeSet;
use std::fmt::Debug;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use token_ledger_domain::company::{Company, CompanyCommand};
use token_ledger_domain::key::{Key, KeyCommand};
use token_ledger_domain::power::KeyScopes;
use token_ledger_domain::token::{Create, Refresh, Token, TokenCommand};
use token_ledger_domain::{
    Actor, ActorType, ClientId, CompanyId, Digest, KeyId, KeyScope, Name, Power, ScopeSet,
    StoredSecret, Timestamp, TokenId,
};
use token_ledger_event_store::clock::SetClock;
use token_ledger_event_store::{
    Context, Entropy, Ledger, PrivatePart, RecordedEvent, Request, Store,
};
use token_ledger_projections::ReadModels;
use token_ledger_projections::clients::ClientStatus;
use token_ledger_projections::index::VerificationIndex;
use token_ledger_projections::read_models::{
    After, AuditRecord, Positions, SortValue, TokenFilter, TokenPage, TokenRecord, TokenSort,
};
use token_ledger_projections::rebuild::{ALL, Outcome, Plan, Rebuilder};
use token_ledger_projections::runner::Behind;
use token_ledger_projections::sql::Sql;
use token_ledger_projections::tokens::Status;
use uuid::Uuid;

/// A day, in seconds.
pub const DAY: i64 = 86_400;
/// The company that most tests are about.
pub const COMPANY: CompanyId = CompanyId(Uuid::from_u128(0x10));
/// Others, one before it and one behind it in every order of companies.
pub const OTHERS: [CompanyId; 2] =
    [CompanyId(Uuid::from_u128(0x0F)), CompanyId(Uuid::from_u128(0x11))];

/// A database of its own with the inline projections in it, gone when this is dropped.
pub trait Fixture: Sized {
    /// How many times as long as the cheapest one it takes to make one.
    const COST: u32;

    /// An empty one.
    async fn fresh() -> Self;

    /// Ends everything in good order and opens it again, with the index filled from the rows.
    async fn reopened(self) -> Self;

    /// The ledgers.
    fn store(&self) -> Arc<dyn Store>;

    /// Whoever rebuilds the read models.
    fn rebuilder(&self) -> Arc<dyn Rebuilder>;

    /// The database that the read models are in.
    fn sql(&self) -> Sql;

    /// The read models.
    fn models(&self) -> ReadModels {
        ReadModels::new(self.sql())
    }

    /// The index that the inline projections keep up to date.
    fn index(&self) -> &VerificationIndex;

    /// Another index, filled from the rows.
    async fn filled(&self) -> Arc<VerificationIndex>;

    /// The audit trail, to run behind the log.
    fn audit(&self) -> Arc<dyn Behind>;

    /// Where the rows of a projection are.
    fn table(&self, projection: &str) -> Table;

    /// These bytes, and identifiers, as a literal.
    fn blob(bytes: &[u8]) -> String;

    /// Runs a statement that nobody knows of; answers the rows that it changed.
    async fn raw(&self, sql: String) -> usize;

    /// Takes an event away, past everything that guards it.
    async fn lose_event(&self, company: CompanyId, position: u64);

    /// Puts another payload in the place of an event's, past everything that guards it.
    async fn forge(&self, company: CompanyId, position: u64, payload: &str);
}

/// The table of a projection.
#[derive(Clone, Copy, Debug)]
pub struct Table {
    pub name: &'static str,
    pub key: &'static str,
    pub columns: &'static [&'static str],
}

/// Makes a test of each of these functions, for every database.
#[allow(unused_macros, reason = "a suite may be about one database")]
macro_rules! on_every_database {
    ($($test:ident),* $(,)?) => {
        mod sqlite {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $test() {
                    $crate::support::in_time(
                        super::$test::<$crate::support::sqlite::SqliteFixture>()
                    )
                    .await;
                }
            )*
        }

        mod postgres {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $test() {
                    $crate::support::in_time(
                        super::$test::<$crate::support::postgres::PgFixture>()
                    )
                    .await;
                }
            )*
        }
    };
}
#[allow(unused_imports, reason = "a suite may be about one database")]
pub(crate) use on_every_database;

/// Fails a test that waits for what never comes.
pub async fn in_time<T>(test: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(120), test).await.expect("it ends within 2 minutes")
}

/// A law that holds for every value, tried on that many.
pub fn for_all<S>(cases: u32, values: &S, law: impl AsyncFn(S::Value))
where
    S: Strategy<Value: Debug>,
{
    let config =
        Config { cases, failure_persistence: None, max_shrink_iters: 200, ..Config::default() };
    let outcome = tokio::task::block_in_place(|| {
        TestRunner::new(config).run(values, |value| {
            tokio::runtime::Handle::current().block_on(law(value));
            Ok(())
        })
    });
    if let Err(broken) = outcome {
        panic!("{broken}");
    }
}

/// Bytes that look random and are the same in every run.
#[derive(Debug, Default)]
pub struct Sequence(AtomicU64);

impl Entropy for Sequence {
    fn fill(&self, buffer: &mut [u8]) {
        for chunk in buffer.chunks_mut(32) {
            let number = self.0.fetch_add(1, Ordering::Relaxed);
            chunk.copy_from_slice(&Sha256::digest(number.to_be_bytes())[..chunk.len()]);
        }
    }
}

/// That many seconds into the tests' history.
pub fn at(seconds: i64) -> Timestamp {
    Timestamp::from_micros(1_772_355_600_000_000).plus_seconds(seconds)
}

pub fn name(text: &str) -> Name {
    Name::new(text).expect("a name")
}

pub fn scopes(text: &str) -> ScopeSet {
    text.parse().expect("scopes")
}

/// A secret of its own for each text.
pub fn secret(text: &str) -> StoredSecret {
    StoredSecret { digest: digest(text), hint: format!("tlk_…{text}") }
}

pub fn digest(text: &str) -> Digest {
    Digest::of(text)
}

/// A token of this name and secret with the scope `employees`, for a week.
pub fn create(text: &str) -> Create {
    Create {
        name: name(text),
        scopes: scopes("employees"),
        secret: secret(text),
        validity_seconds: Some(7 * DAY),
        client_id: None,
    }
}

/// A new term of a week.
pub fn refresh(text: &str, grace_seconds: i64) -> TokenCommand {
    TokenCommand::Refresh(Refresh {
        secret: secret(text),
        validity_seconds: Some(7 * DAY),
        grace_seconds,
    })
}

/// A key of this name and secret for 90 days.
pub fn create_key(text: &str) -> KeyCommand {
    KeyCommand::Create {
        name: name(text),
        scopes: KeyScopes::from([KeyScope::Audit, KeyScope::Introspect]),
        secret: secret(text),
        validity_seconds: None,
    }
}

/// A member by number, who is called by it.
pub fn member(number: u64) -> Context {
    Context {
        actor: Actor { kind: ActorType::Member, id: Uuid::from_u128(0xA000 + u128::from(number)) },
        request_id: None,
        private: PrivatePart {
            actor_name: Some(format!("Member {number}")),
            ..PrivatePart::default()
        },
    }
}

/// A database with ledgers in it and a clock that stands still until it is set.
pub struct Given<F> {
    pub fixture: F,
    pub clock: Arc<SetClock>,
    pub entropy: Arc<Sequence>,
    pub ledger: Arc<Ledger>,
}

impl<F: Fixture> Given<F> {
    /// Empty ones.
    pub async fn nothing() -> Self {
        let clock = Arc::new(SetClock::at(at(0)));
        Self::with(F::fresh().await, clock, Arc::default())
    }

    /// With [`COMPANY`] in it, whose module is on.
    pub async fn a_company() -> Self {
        let given = Self::nothing().await;
        given.register(COMPANY).await;
        given
    }

    /// With this database, clock and randomness.
    pub fn with(fixture: F, clock: Arc<SetClock>, entropy: Arc<Sequence>) -> Self {
        let ledger = Ledger::new(
            fixture.store(),
            Arc::<SetClock>::clone(&clock),
            Arc::<Sequence>::clone(&entropy),
        );
        Self { fixture, clock, entropy, ledger: Arc::new(ledger) }
    }

    /// As after a restart.
    pub async fn reopened(self) -> Self {
        let Self { fixture, clock, entropy, ledger } = self;
        drop(ledger);
        Self::with(fixture.reopened().await, clock, entropy)
    }

    pub fn new_id(&self) -> Uuid {
        self.entropy.uuid(at(0))
    }

    pub async fn register(&self, company: CompanyId) {
        let name = name(&format!("Company {}", company.0.as_u128()));
        self.tell_company(company, CompanyCommand::Register { name }).await;
        self.tell_company(company, CompanyCommand::SetOauthApp { enabled: true }).await;
    }

    /// Asks something of a company that has to be done.
    pub async fn tell_company(&self, company: CompanyId, command: CompanyCommand) {
        let request = Request::new(company.0, command);
        self.ledger
            .execute::<Company>(company, Power::Operator, &member(0), request)
            .await
            .expect("it is done");
    }

    /// Asks something of a token that has to be done.
    pub async fn tell_token(&self, company: CompanyId, id: TokenId, command: TokenCommand) {
        let request = Request::new(id.0, command);
        self.ledger
            .execute::<Token>(company, Power::Operator, &member(0), request)
            .await
            .expect("it is done");
    }

    /// Asks something of a key that has to be done.
    pub async fn tell_key(&self, company: CompanyId, id: KeyId, command: KeyCommand) {
        let request = Request::new(id.0, command);
        self.ledger
            .execute::<Key>(company, Power::Operator, &member(0), request)
            .await
            .expect("it is done");
    }

    /// A new token.
    pub async fn token(&self, company: CompanyId, create: Create) -> TokenId {
        let id = TokenId(self.new_id());
        self.tell_token(company, id, TokenCommand::Create(create)).await;
        id
    }

    /// New tokens by number, all in one go.
    pub async fn tokens(&self, company: CompanyId, numbers: std::ops::Range<u32>) {
        let requests: Vec<_> = numbers
            .map(|number| {
                let create = create(&format!("token {number}"));
                Request::new(self.new_id(), TokenCommand::Create(create))
            })
            .collect();
        let answers = self
            .ledger
            .execute_many::<Token>(company, Power::Operator, &member(0), &requests)
            .await
            .expect("answers");
        for answer in answers {
            assert!(answer.expect("it is done"));
        }
    }

    /// A new key.
    pub async fn key(&self, company: CompanyId, text: &str) -> KeyId {
        let id = KeyId(self.new_id());
        self.tell_key(company, id, create_key(text)).await;
        id
    }

    pub async fn head(&self, company: CompanyId) -> u64 {
        self.fixture.store().head(company).await.expect("the head").map_or(0, |head| head.position)
    }

    /// The companies that have a ledger.
    pub async fn companies(&self) -> Vec<CompanyId> {
        let heads = self.fixture.store().heads().await.expect("heads");
        heads.into_iter().map(|head| head.company).collect()
    }

    /// All events of a company, page by page.
    pub async fn events(&self, company: CompanyId) -> Vec<RecordedEvent> {
        let store = self.fixture.store();
        let mut events: Vec<RecordedEvent> = Vec::new();
        loop {
            let after = events.last().map_or(0, |event| event.position);
            let page = store.read(company, after, 1000).await.expect("a page");
            if page.is_empty() {
                return events;
            }
            events.extend(page);
        }
    }

    /// What the events of a company come to.
    pub async fn fold(&self, company: CompanyId) -> Folded {
        Folded::of(&self.events(company).await)
    }

    /// Runs the audit trail up to the head of every company.
    pub async fn catch_up(&self) {
        let audit = self.fixture.audit();
        for company in self.companies().await {
            let head = self.head(company).await;
            while audit.advance(company).await.expect("it advances") < Some(head) {}
        }
    }

    /// Rebuilds these projections, in all companies.
    pub async fn rebuild(&self, projections: &[&'static str], merge: bool) -> Outcome {
        let plan = Plan { projections: projections.to_vec(), company: None, merge };
        let id = uuid_of_a_scratch_file();
        self.fixture.rebuilder().rebuild(&plan, id, &|_, _| {}).await.expect("it is rebuilt")
    }

    /// Compares all projections with what the events say; they have to agree.
    pub async fn assert_sound(&self) -> Outcome {
        let outcome = self.rebuild(&ALL, false).await;
        assert_eq!(outcome.differences, 0, "{:#?}", outcome.examples);
        assert_eq!(outcome.examples, []);
        outcome
    }

    /// The rows that are served are what folding the aggregates gives, field by field.
    pub async fn assert_rows_are_the_fold(&self) {
        let models = self.fixture.models();
        let mut expected = Vec::new();
        for company in self.companies().await {
            let folded = self.fold(company).await;
            assert_eq!(
                rows(all_tokens(&models, company).await),
                folded.tokens.values().map(|(_, row)| row.clone()).collect::<Vec<_>>(),
            );
            let mut keys = models.keys(company, None, usize::MAX >> 1).await.expect("keys");
            keys.reverse();
            assert_eq!(
                keys.into_iter().map(|record| record.row).collect::<Vec<_>>(),
                folded.keys.values().map(|(_, row)| row.clone()).collect::<Vec<_>>(),
            );
            assert_eq!(
                models.members(company, None, usize::MAX >> 1).await.expect("members"),
                folded.members.into_values().collect::<Vec<_>>(),
            );
            assert_eq!(
                models
                    .clients(company, &any_client(), None, usize::MAX >> 1)
                    .await
                    .expect("clients"),
                folded.clients.into_values().collect::<Vec<_>>(),
            );
            expected.extend(folded.company_row);
        }
        let companies = models.companies(None, usize::MAX >> 1).await.expect("companies");
        assert_eq!(companies, expected);
    }
}

/// Scratch files of tests that run side by side are kept apart by real randomness.
pub fn uuid_of_a_scratch_file() -> Uuid {
    token_ledger_event_store::SystemEntropy.uuid(at(0))
}

/// The statuses that clients can have.
pub fn any_client() -> BTreeSet<ClientStatus> {
    BTreeSet::from([ClientStatus::Active, ClientStatus::Deleted])
}

/// A filter that lets every token through.
pub fn every_token(now: Timestamp) -> TokenFilter {
    TokenFilter::of([Status::Active, Status::Expired, Status::Deleted], now)
}

/// Where a list goes on behind this token.
pub fn behind(record: &TokenRecord, sort: TokenSort) -> After {
    let value = match sort {
        TokenSort::CreatedAt => SortValue::Time(record.row.created_at),
        TokenSort::ExpiresAt => SortValue::Time(record.row.expires_at),
        TokenSort::Name => SortValue::Text(record.row.name.to_string()),
        TokenSort::LastUsedAt => SortValue::Time(record.last_used_at.unwrap_or_default()),
    };
    After { value, id: record.row.token_id.0 }
}

/// All tokens of a company in the order of their identifiers.
pub async fn all_tokens(models: &ReadModels, company: CompanyId) -> Vec<TokenRecord> {
    let page = TokenPage {
        sort: TokenSort::CreatedAt,
        descending: false,
        after: None,
        limit: usize::MAX >> 1,
    };
    let mut tokens = models.tokens(company, &every_token(at(0)), &page).await.expect("tokens");
    tokens.sort_by_key(|record| record.row.token_id);
    tokens
}

/// The rows without what is kept beside them.
pub fn rows(records: Vec<TokenRecord>) -> Vec<token_ledger_projections::tokens::TokenRow> {
    records.into_iter().map(|record| record.row).collect()
}

/// The whole audit trail of a company, page by page.
pub async fn whole_trail(models: &ReadModels, company: CompanyId) -> Vec<AuditRecord> {
    let mut trail: Vec<AuditRecord> = Vec::new();
    loop {
        let after_position = trail.last().map_or(0, |record| record.event.position);
        let filter = Positions { after_position, ..Positions::default() };
        let page = models.audit(company, &filter, 100).await.expect("a page");
        if page.is_empty() {
            return trail;
        }
        trail.extend(page);
    }
}

/// A client by number.
pub fn client(number: u128) -> ClientId {
    ClientId(Uuid::from_u128(0xC000 + number))
}
