//! cqrs-es's own tools work on a ledger.

use super::Fixture;
use super::given::{
    COMPANY, Given, WEEK, append, ask_token, assert_done, at, change_scopes, changed, commit,
    create, name, new_token, read_all, refresh, scopes, sound_ledger, token,
};
use async_trait::async_trait;
use cqrs_es::persist::{PersistedEventRepository, PersistedEventStore, QueryReplay};
use cqrs_es::{AggregateError, CqrsFramework, EventEnvelope, EventStore, Query};
use parking_lot::Mutex;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use token_ledger_domain::policy::Policy;
use token_ledger_domain::token::{Token, TokenCommand, TokenDecision, TokenEvent, TokenRules};
use token_ledger_domain::{Actor, ActorType, LedgerEvent, Timestamp};
use token_ledger_event_store::{Clock, Context, StreamId};
use uuid::Uuid;

fn context() -> Context {
    let actor = Actor { kind: ActorType::Key, id: Uuid::from_u128(3) };
    Context { actor, ..Context::system() }
}

fn repository<F: Fixture>(given: &Given<F>) -> F::Repository {
    let clock: Arc<dyn Clock> =
        Arc::<token_ledger_event_store::clock::SetClock>::clone(&given.clock);
    given.fixture.repository(COMPANY, clock, context())
}

fn decision(command: TokenCommand, now: Timestamp) -> TokenDecision {
    let rules =
        TokenRules { oauth_app_enabled: true, policy: Policy::default(), clients: BTreeSet::new() };
    TokenDecision { command, rules, now }
}

pub async fn the_framework_and_the_ledger_work_on_the_same_streams<F: Fixture>(fixture: F) {
    let given = Given::a_company(fixture).await;
    let id = new_token();
    let text = id.to_string();
    let store = PersistedEventStore::<_, Token>::new_event_store(repository(&given));
    let framework = CqrsFramework::new(store, Vec::new(), ());
    let created = decision(create("through the framework"), at(0));
    framework.execute(&text, created).await.expect("it is done");
    let outcome = ask_token(&given.ledger, COMPANY, id, change_scopes("employees")).await;
    assert_eq!(assert_done(outcome).sequence, 2, "the ledger goes on where the framework ended");
    let changed = decision(change_scopes("locations"), at(0));
    framework.execute(&text, changed).await.expect("it is done");

    let events = sound_ledger(given.store().as_ref(), COMPANY).await;
    let authors: Vec<_> =
        events[2..].iter().map(|event| event.metadata().expect("metadata").actor.kind).collect();
    assert_eq!(authors, [ActorType::Key, ActorType::System, ActorType::Key]);
    let store = PersistedEventStore::<_, Token>::new_event_store(repository(&given));
    let loaded = store.load_aggregate(&text).await.expect("a token");
    let (state, sequence) = given.ledger.state::<Token>(COMPANY, id.0).await.expect("a token");
    assert_eq!((&loaded.aggregate, loaded.current_sequence as u64), (&state, sequence));
    assert_eq!(state.grant().map(|grant| &grant.name), Some(&name("through the framework")));
    let refused = framework.execute(&text, decision(create("again"), at(0))).await;
    assert!(matches!(refused, Err(AggregateError::UserError(_))), "{refused:?}");
    let nobody = store.load_events("no identifier").await.expect("no events");
    assert!(nobody.is_empty());
}

pub async fn the_framework_notices_that_somebody_was_faster<F: Fixture>(fixture: F) {
    let given = Given::a_company(fixture).await;
    let id = token(&given.ledger).await;
    let store = PersistedEventStore::<_, Token>::new_event_store(repository(&given));
    let loaded = store.load_aggregate(&id.to_string()).await.expect("a token");
    assert_done(ask_token(&given.ledger, COMPANY, id, change_scopes("employees")).await);
    let late = store.commit(vec![changed()], loaded, HashMap::new()).await;
    assert!(matches!(late, Err(AggregateError::AggregateConflict)), "{:?}", late.err());
    assert_eq!(read_all(given.store().as_ref(), COMPANY).await.len(), 4);
}

pub async fn a_snapshot_of_the_framework_loses_no_event<F: Fixture>(fixture: F) {
    const SNAPSHOT_EVERY: usize = 3;
    let given = Given::a_company(fixture).await;
    let id = new_token();
    let text = id.to_string();
    let keep = || PersistedEventStore::new_snapshot_store(repository(&given), SNAPSHOT_EVERY);
    let framework = CqrsFramework::<Token, _>::new(keep(), Vec::new(), ());
    let steps = [
        (create("with snapshots"), at(0)),
        (change_scopes("employees"), at(0)),
        // Two events at once, the first of which completes a snapshot.
        (change_scopes("locations"), at(WEEK)),
        (change_scopes("departments"), at(WEEK)),
        // Completes a snapshot alone, and would count twice if it were applied twice.
        (refresh("again"), at(WEEK)),
        (change_scopes("positions"), at(WEEK)),
    ];
    for (command, now) in steps {
        given.clock.set(now);
        framework.execute(&text, decision(command, now)).await.expect("it is done");
        let folded = PersistedEventStore::<_, Token>::new_event_store(repository(&given));
        let folded = folded.load_aggregate(&text).await.expect("a token");
        let kept = keep().load_aggregate(&text).await.expect("a token");
        assert_eq!(kept.aggregate, folded.aggregate);
        assert_eq!(kept.current_sequence, folded.current_sequence);
        let state = given.ledger.state::<Token>(COMPANY, id.0).await.expect("a token");
        assert_eq!(state, (folded.aggregate, folded.current_sequence as u64));
    }
    let snapshot = repository(&given).get_snapshot::<Token>(&text).await.expect("a snapshot");
    assert_eq!(snapshot.map(|snapshot| snapshot.current_sequence), Some(6));
    let (state, _) = given.ledger.state::<Token>(COMPANY, id.0).await.expect("a token");
    assert_eq!(state.grant().map(|grant| &grant.scopes), Some(&scopes("positions")));
}

/// Notes what it is shown.
#[derive(Clone, Default)]
struct Notes(Arc<Mutex<Vec<(String, usize, TokenEvent)>>>);

#[async_trait]
impl Query<Token> for Notes {
    async fn dispatch(&self, aggregate_id: &str, events: &[EventEnvelope<Token>]) {
        for event in events {
            let note = (aggregate_id.to_owned(), event.sequence, event.payload.clone());
            self.0.lock().push(note);
        }
    }
}

pub async fn a_replay_sees_every_event_in_the_ledgers_order<F: Fixture>(fixture: F) {
    /// More than a repository is likely to read at once.
    const ROUNDS: u64 = 700;
    let given = Given::a_company(fixture).await;
    let store = given.store();
    let ids = [new_token(), new_token(), new_token()];
    let interleaved = (0..ROUNDS)
        .flat_map(|sequence| ids.map(|id| commit(COMPANY, id, sequence, [changed()])))
        .collect();
    assert!(store.append(interleaved).await.iter().all(Result::is_ok));
    append(store.as_ref(), commit(COMPANY, new_token(), 0, [changed()])).await;

    let notes = Notes::default();
    let mut replay = QueryReplay::new(repository(&given), notes.clone());
    replay.use_error_handler(Box::new(|error| panic!("{error}")));
    replay.replay_all().await.expect("a replay");
    let own = |stream: StreamId| stream.id != COMPANY.0;
    let expected: Vec<_> = read_all(store.as_ref(), COMPANY)
        .await
        .iter()
        .filter(|event| own(event.stream))
        .map(|event| {
            let LedgerEvent::Token(payload) = event.decode().expect("an event") else { panic!() };
            (event.stream.id.to_string(), usize::try_from(event.sequence).unwrap(), payload)
        })
        .collect();
    assert_eq!(expected.len(), 3 * 700 + 1);
    assert_eq!(*notes.0.lock(), expected);

    notes.0.lock().clear();
    replay.replay(&ids[1].to_string()).await.expect("a replay");
    let sequences: Vec<_> = notes.0.lock().iter().map(|(_, sequence, _)| *sequence).collect();
    assert_eq!(sequences, (1..=700).collect::<Vec<_>>());
}
