//! The building blocks: a store with ledgers in it, commands, commits, and the laws that any
//! ledger keeps.

use super::Fixture;
use cqrs_es::Aggregate;
use std::collections::HashMap;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;
use token_ledger_domain::company::{Company, CompanyCommand};
use token_ledger_domain::event::AggregateType;
use token_ledger_domain::policy::Policy;
use token_ledger_domain::token::{Create, Refresh, Token, TokenCommand, TokenEvent};
use token_ledger_domain::{
    CompanyId, Digest, LedgerEvent, Name, Power, ScopeSet, StoredSecret, Timestamp, TokenId,
};
use token_ledger_event_store::clock::SetClock;
use token_ledger_event_store::entry::{self, Entry};
use token_ledger_event_store::{
    AppendError, Commit, Context, Decidable, Entropy, ExecuteError, Executed, Idempotency, Ledger,
    Recorded, RecordedEvent, Request, Store, StreamId, SystemEntropy,
};
use uuid::Uuid;

/// Seven days, in seconds: how long tokens are valid unless asked otherwise.
pub const WEEK: i64 = 604_800;
/// The company that most promises are shown on.
pub const COMPANY: CompanyId = CompanyId(Uuid::from_u128(1));

/// Fails a test that waits for what never comes.
pub async fn in_time<T>(test: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(120), test).await.expect("it ends within 2 minutes")
}

/// That many seconds into the tests' history.
pub fn at(seconds: i64) -> Timestamp {
    Timestamp::from_micros(1_772_355_600_000_000).plus_seconds(seconds)
}

/// A store with a clock that stands still, and a ledger on it.
pub struct Given<F> {
    pub fixture: F,
    pub clock: Arc<SetClock>,
    pub ledger: Arc<Ledger>,
}

impl<F: Fixture> Given<F> {
    pub fn a(fixture: F) -> Self {
        let clock = Arc::new(SetClock::at(at(0)));
        let ledger = ledger_on(fixture.store(), &clock);
        Self { fixture, clock, ledger }
    }

    /// With [`COMPANY`] in it.
    pub async fn a_company(fixture: F) -> Self {
        let given = Self::a(fixture);
        register(&given.ledger, COMPANY).await;
        given
    }

    pub fn store(&self) -> Arc<dyn Store> {
        self.fixture.store()
    }

    /// A ledger that shares nothing with the first one but the store, as another process's.
    pub fn another_ledger(&self) -> Arc<Ledger> {
        ledger_on(self.fixture.store(), &self.clock)
    }

    pub async fn reopened(self) -> Self {
        let Self { fixture, clock, ledger } = self;
        drop(ledger);
        let fixture = fixture.reopened().await;
        let ledger = ledger_on(fixture.store(), &clock);
        Self { fixture, clock, ledger }
    }
}

fn ledger_on(store: Arc<dyn Store>, clock: &Arc<SetClock>) -> Arc<Ledger> {
    let clock: Arc<SetClock> = Arc::clone(clock);
    Arc::new(Ledger::new(store, clock, Arc::new(SystemEntropy)))
}

/// Runs these side by side, on all threads, and answers in their order.
pub async fn side_by_side<T: Send + 'static>(
    tasks: impl IntoIterator<Item = impl Future<Output = T> + Send + 'static>,
) -> Vec<T> {
    let running: Vec<_> = tasks.into_iter().map(tokio::spawn).collect();
    let mut answers = Vec::with_capacity(running.len());
    for task in running {
        answers.push(task.await.expect("the task ends"));
    }
    answers
}

// ---- commands ----

pub type Outcome<A> = Result<Executed<A>, ExecuteError<<A as Aggregate>::Error>>;

/// Puts a request to a ledger, as an operator.
pub async fn ask<A: Decidable>(
    ledger: &Ledger,
    company: CompanyId,
    request: Request<<A as Decidable>::Command>,
) -> Outcome<A> {
    ledger.execute::<A>(company, Power::Operator, &Context::system(), request).await
}

/// Asks something of a token.
pub async fn ask_token(
    ledger: &Ledger,
    company: CompanyId,
    id: TokenId,
    command: TokenCommand,
) -> Outcome<Token> {
    ask::<Token>(ledger, company, Request::new(id.0, command)).await
}

/// Asks something of a company; it has to be done.
pub async fn tell_company(ledger: &Ledger, company: CompanyId, command: CompanyCommand) {
    let outcome = ask::<Company>(ledger, company, Request::new(company.0, command)).await;
    assert_done(outcome);
}

/// Registers a company and turns its module on: the positions 1 and 2.
pub async fn register(ledger: &Ledger, company: CompanyId) {
    tell_company(ledger, company, CompanyCommand::Register { name: name("Acme") }).await;
    set_module(ledger, company, true).await;
}

pub async fn set_module(ledger: &Ledger, company: CompanyId, enabled: bool) {
    tell_company(ledger, company, CompanyCommand::SetOauthApp { enabled }).await;
}

pub async fn change_policy(ledger: &Ledger, company: CompanyId, policy: Policy) {
    tell_company(ledger, company, CompanyCommand::ChangePolicy { policy }).await;
}

/// A new token of [`COMPANY`].
pub async fn token(ledger: &Ledger) -> TokenId {
    let id = new_token();
    assert_done(ask_token(ledger, COMPANY, id, create("Payroll sync")).await);
    id
}

/// What a command came to that was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Done {
    pub sequence: u64,
    pub position: Option<u64>,
    pub recorded_at: Timestamp,
}

#[track_caller]
pub fn assert_done<A: Debug, R: Debug>(outcome: Result<Executed<A>, ExecuteError<R>>) -> Done {
    match outcome {
        Ok(Executed::Done { sequence, position, recorded_at, .. }) => {
            Done { sequence, position, recorded_at }
        }
        other => panic!("was to be done, but {other:?}"),
    }
}

pub fn new_token() -> TokenId {
    TokenId(SystemEntropy.uuid(at(0)))
}

pub fn name(text: &str) -> Name {
    Name::new(text).expect("a name")
}

pub fn scopes(text: &str) -> ScopeSet {
    text.parse().expect("scopes")
}

/// A secret of its own for each text.
pub fn secret(text: &str) -> StoredSecret {
    StoredSecret { digest: Digest::of(text), hint: "tlk_…0000".to_owned() }
}

/// A token with the scopes `employees` and `positions`, for a week.
pub fn create(name_text: &str) -> TokenCommand {
    TokenCommand::Create(Create {
        name: name(name_text),
        scopes: scopes("employees positions"),
        secret: secret(name_text),
        validity_seconds: Some(WEEK),
        client_id: None,
    })
}

/// A new term of a week, at whose beginning the old secret stops.
pub fn refresh(secret_text: &str) -> TokenCommand {
    TokenCommand::Refresh(Refresh {
        secret: secret(secret_text),
        validity_seconds: Some(WEEK),
        grace_seconds: 0,
    })
}

pub fn change_scopes(text: &str) -> TokenCommand {
    TokenCommand::ChangeScopes { scopes: scopes(text) }
}

/// A key, with a request that has this number.
pub fn key(text: &str, request: u8) -> Idempotency {
    Idempotency {
        caller: "key 1".to_owned(),
        route: "POST /v1/tokens".to_owned(),
        key: text.to_owned(),
        request_hash: [request; 32],
    }
}

// ---- commits, for promises of the store alone ----

pub fn created(name_text: &str) -> TokenEvent {
    TokenEvent::Created {
        name: name(name_text),
        scopes: scopes("positions"),
        secret: secret(name_text),
        expires_at: at(WEEK),
        client_id: None,
    }
}

/// A change that a token of whatever state can have in a store: stores don't judge.
pub fn changed() -> TokenEvent {
    TokenEvent::ScopesChanged {
        scopes: scopes("positions"),
        added: scopes(""),
        removed: scopes(""),
    }
}

/// A commit, decided at the beginning of the tests' history.
pub fn commit(
    company: CompanyId,
    stream: impl Into<StreamId>,
    expected_sequence: u64,
    events: impl IntoIterator<Item = TokenEvent>,
) -> Commit {
    commit_at(at(0), company, stream, expected_sequence, events)
}

/// A commit, decided at this time.
pub fn commit_at(
    decided_at: Timestamp,
    company: CompanyId,
    stream: impl Into<StreamId>,
    expected_sequence: u64,
    events: impl IntoIterator<Item = TokenEvent>,
) -> Commit {
    let events = events.into_iter().map(LedgerEvent::Token).collect();
    let context = Context::system();
    let entropy = &SystemEntropy;
    Commit::new(company, stream.into(), expected_sequence, events, &context, decided_at, entropy)
        .expect("a commit")
}

pub async fn append_one(store: &dyn Store, commit: Commit) -> Result<Recorded, AppendError> {
    let mut answers = store.append(vec![commit]).await;
    assert_eq!(answers.len(), 1, "one answer for one commit");
    answers.remove(0)
}

/// Appends a commit that has to succeed.
pub async fn append(store: &dyn Store, commit: Commit) -> Recorded {
    append_one(store, commit).await.expect("it is appended")
}

// ---- the laws of any ledger ----

/// All events of a company, page by page.
pub async fn read_all(store: &dyn Store, company: CompanyId) -> Vec<RecordedEvent> {
    let mut events: Vec<RecordedEvent> = Vec::new();
    loop {
        let after = events.last().map_or(0, |event| event.position);
        let page = store.read(company, after, 100).await.expect("a page");
        if page.is_empty() {
            return events;
        }
        events.extend(page);
    }
}

/// How many events of this type the company's ledger has.
pub async fn count(store: &dyn Store, company: CompanyId, event_type: &str) -> usize {
    let events = read_all(store, company).await;
    events.iter().filter(|event| event.event_type == event_type).count()
}

/// All ledgers of a store, each of which keeps the laws.
pub async fn sound_ledgers(store: &dyn Store) -> HashMap<CompanyId, Vec<RecordedEvent>> {
    let mut ledgers = HashMap::new();
    for head in store.heads().await.expect("heads") {
        ledgers.insert(head.company, sound_ledger(store, head.company).await);
    }
    ledgers
}

/// A ledger that keeps the laws: positions and sequences without gaps, times that never go back,
/// a head that says the truth, and hashes that follow from what is stored.
pub async fn sound_ledger(store: &dyn Store, company: CompanyId) -> Vec<RecordedEvent> {
    let events = read_all(store, company).await;
    let mut ends: HashMap<StreamId, &RecordedEvent> = HashMap::new();
    let mut recorded_at = Timestamp::from_micros(i64::MIN);
    for (event, position) in events.iter().zip(1..) {
        assert_eq!((event.company, event.position), (company, position), "positions have no gap");
        assert!(event.recorded_at >= recorded_at, "time went back at position {position}");
        recorded_at = event.recorded_at;
        let previous = ends.insert(event.stream, event);
        let expected = previous.map_or(0, |previous| previous.sequence) + 1;
        assert_eq!(event.sequence, expected, "the sequence of {} has no gap", event.stream);
        assert_eq!(
            hex::encode(event.entry_hash),
            hex::encode(entry_of(event, previous).hash()),
            "the hash at position {position}"
        );
    }
    assert_private_parts(store, company, &events).await;

    let head = store.head(company).await.expect("the head");
    assert_eq!(head.map_or(0, |head| head.position), events.len() as u64, "the head's position");
    if let Some(head) = head {
        assert_eq!(head.recorded_at, recorded_at, "the head's time");
        let own = StreamId { kind: AggregateType::Company, id: company.0 };
        let sequence = ends.get(&own).map_or(0, |event| event.sequence);
        assert_eq!(head.company_sequence, sequence, "the head's company sequence");
    }
    events
}

/// The entry of a stored event, from nothing but what is stored.
pub fn entry_of<'a>(event: &'a RecordedEvent, previous: Option<&RecordedEvent>) -> Entry<'a> {
    Entry {
        company: event.company,
        position: event.position,
        stream: event.stream,
        sequence: event.sequence,
        event_type: &event.event_type,
        event_version: &event.event_version,
        recorded_at: event.recorded_at,
        content: entry::content_commitment(&event.salt, &event.payload, &event.metadata),
        private: event.private_commitment,
        previous: previous.map(|previous| previous.entry_hash),
    }
}

async fn assert_private_parts(store: &dyn Store, company: CompanyId, events: &[RecordedEvent]) {
    let positions: Vec<u64> = events.iter().map(|event| event.position).collect();
    let parts = store.private_parts(company, &positions).await.expect("private parts");
    assert_eq!(parts.len(), events.len(), "one answer for one position");
    for (event, part) in events.iter().zip(parts) {
        let Some(part) = part else { continue };
        assert_eq!(
            event.private_commitment,
            Some(entry::private_commitment(&part.salt, &part.data)),
            "the commitment to the private part at position {}",
            event.position
        );
    }
}
