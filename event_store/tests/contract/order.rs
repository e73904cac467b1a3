//! One order per company, without gaps, the same for all who read.

use super::Fixture;
use super::given::{
    COMPANY, Given, WEEK, append, append_one, ask_token, assert_done, at, change_scopes, changed,
    commit, commit_at, create, created, in_time, key, new_token, read_all, refresh, side_by_side,
    sound_ledger, sound_ledgers, token,
};
use async_trait::async_trait;
use std::sync::Arc;
use token_ledger_domain::token::{Token, TokenCommand};
use token_ledger_domain::{CompanyId, Power, TokenId};
use token_ledger_event_store::{
    AppendError, Context, ExecuteError, Executed, Moment, RecordedEvent, Request, Standing, Store,
    StoreError, StreamId,
};
use uuid::Uuid;

const WRITERS: u128 = 12;
const ROUNDS: usize = 25;

fn company(number: u128) -> CompanyId {
    CompanyId(Uuid::from_u128(number))
}

/// What a writer's commits came to.
#[derive(Clone, Copy, Default)]
struct Tally {
    events: usize,
    conflicts: usize,
}

/// Appends to a stream of its own and to one that all writers of the company share; of two commits
/// for the same place one is always late.
async fn write(store: Arc<dyn Store>, company: CompanyId, shared: TokenId) -> Tally {
    let own = new_token();
    let mut tally = Tally::default();
    for round in 0..ROUNDS {
        let stream = store.load(company, &[shared.into()]).await.expect("a stream").remove(0);
        let sequence = stream.events.last().map_or(0, |event| event.sequence);
        let own_sequence = 2 * round as u64;
        let answers = store
            .append(vec![
                commit(company, shared, sequence, [changed()]),
                commit(company, own, own_sequence, [changed(), changed()]),
                commit(company, own, own_sequence, [changed()]),
            ])
            .await;
        let events = [1, 2, 1];
        for (answer, events) in answers.iter().zip(events) {
            match answer {
                Ok(_) => tally.events += events,
                Err(AppendError::Conflict) => tally.conflicts += 1,
                Err(other) => panic!("{other}"),
            }
        }
        assert!(answers[1].is_ok(), "nobody else writes to this stream");
    }
    tally
}

pub async fn positions_and_sequences_have_no_gaps_under_many_writers<F: Fixture>(fixture: F) {
    let store = fixture.store();
    let shared = new_token();
    let companies = [company(1), company(2), company(3)];
    // The same token identifier in three companies: three streams that know nothing of each other.
    let writers = companies
        .into_iter()
        .flat_map(|company| (0..WRITERS / 3).map(move |_| company))
        .map(|company| write(Arc::clone(&store), company, shared));
    let tallies = side_by_side(writers).await;

    let conflicts: usize = tallies.iter().map(|tally| tally.conflicts).sum();
    assert!(conflicts >= WRITERS as usize * ROUNDS, "every round had a conflict");
    let ledgers = sound_ledgers(store.as_ref()).await;
    assert_eq!(ledgers.len(), companies.len());
    let recorded: usize = ledgers.values().map(Vec::len).sum();
    assert_eq!(recorded, tallies.iter().map(|tally| tally.events).sum::<usize>());
}

/// Reads what comes, until it has seen that many events.
async fn follow(store: Arc<dyn Store>, company: CompanyId, expected: usize) -> Vec<RecordedEvent> {
    let mut news = store.watch();
    let mut seen: Vec<RecordedEvent> = Vec::new();
    while seen.len() < expected {
        news.mark_unchanged();
        let after = seen.last().map_or(0, |event| event.position);
        let page = store.read(company, after, 7).await.expect("a page");
        if page.is_empty() {
            news.changed().await.expect("the store lives");
        }
        for event in page {
            let position = seen.len() as u64 + 1;
            assert_eq!(event.position, position, "the follower missed what came before");
            seen.push(event);
        }
    }
    seen
}

pub async fn a_follower_sees_every_event_once_and_in_order<F: Fixture>(fixture: F) {
    let store = fixture.store();
    let companies = [company(1), company(2)];
    let per_company = WRITERS as usize * ROUNDS;
    let followers = companies
        .into_iter()
        .flat_map(|company| [company, company])
        .map(|company| follow(Arc::clone(&store), company, per_company));
    let followers = tokio::spawn(side_by_side(followers.collect::<Vec<_>>()));
    let writers = (0..WRITERS).map(|_| {
        let store = Arc::clone(&store);
        let token = new_token();
        async move {
            for sequence in 0..ROUNDS as u64 {
                for company in companies {
                    append(store.as_ref(), commit(company, token, sequence, [changed()])).await;
                }
            }
        }
    });
    side_by_side(writers).await;

    let seen = in_time(followers).await.expect("the followers end");
    for (company, seen) in [(0, 0), (0, 1), (1, 2), (1, 3)].map(|(c, f)| (companies[c], &seen[f])) {
        assert_eq!(*seen, sound_ledger(store.as_ref(), company).await);
    }
}

fn positions(events: &[RecordedEvent]) -> Vec<u64> {
    events.iter().map(|event| event.position).collect()
}

pub async fn pages_follow_each_other_without_gap_or_overlap<F: Fixture>(fixture: F) {
    let store = fixture.store();
    let (one, other) = (new_token(), new_token());
    assert_eq!(store.head(COMPANY).await.expect("no head"), None);
    for sequence in 0..5 {
        append(store.as_ref(), commit(COMPANY, one, sequence, [changed()])).await;
        append(store.as_ref(), commit(COMPANY, other, sequence, [changed()])).await;
        append(store.as_ref(), commit(company(2), one, sequence, [changed()])).await;
    }
    let pages = [
        ((0, 3), vec![1, 2, 3]),
        ((3, 3), vec![4, 5, 6]),
        ((0, 10), (1..=10).collect()),
        ((8, 100), vec![9, 10]),
        ((10, 100), vec![]),
        ((99, 1), vec![]),
        ((0, 0), vec![]),
    ];
    for ((after, limit), expected) in pages {
        let page = store.read(COMPANY, after, limit).await.expect("a page");
        assert_eq!(positions(&page), expected, "after {after}, at most {limit}");
    }
    let pages = [((0, 2), vec![1, 3]), ((2, 2), vec![5, 7]), ((4, 9), vec![9]), ((5, 9), vec![])];
    for ((after, limit), expected) in pages {
        let page = store.history(COMPANY, one.into(), after, limit).await.expect("a page");
        assert_eq!(positions(&page), expected, "after sequence {after}, at most {limit}");
        assert!(page.iter().all(|event| event.stream == StreamId::from(one)));
    }
    let nobody = new_token().into();
    let loaded = store.load(COMPANY, &[other.into(), nobody, one.into()]).await.expect("streams");
    let loaded: Vec<_> = loaded.iter().map(|stream| positions(&stream.events)).collect();
    assert_eq!(loaded, [vec![2, 4, 6, 8, 10], vec![], vec![1, 3, 5, 7, 9]], "in the order asked");
    assert_eq!(read_all(store.as_ref(), company(9)).await, []);
    let heads = store.heads().await.expect("heads");
    let heads: Vec<_> = heads.iter().map(|head| (head.company, head.position)).collect();
    assert_eq!(heads, [(COMPANY, 10), (company(2), 5)]);
}

pub async fn position_at_is_exact_to_the_microsecond<F: Fixture>(fixture: F) {
    let store = fixture.store();
    let token = new_token();
    for (sequence, seconds) in [0, 10, 10, 10, 20].into_iter().enumerate() {
        let commit = commit_at(at(seconds), COMPANY, token, sequence as u64, [changed()]);
        append(store.as_ref(), commit).await;
    }
    let micros = |seconds, micros| {
        token_ledger_domain::Timestamp::from_micros(at(seconds).as_micros() + micros)
    };
    let expected = [
        (micros(0, -1), 0, 0),
        (at(0), 0, 1),
        (micros(0, 1), 1, 1),
        (micros(10, -1), 1, 1),
        (at(10), 1, 4),
        (micros(10, 1), 4, 4),
        (at(20), 4, 5),
        (micros(20, 1), 5, 5),
        (micros(0, i64::MAX / 2), 5, 5),
    ];
    for (time, before, until) in expected {
        let position = |inclusive| store.position_at(COMPANY, time, inclusive);
        assert_eq!(position(false).await.expect("a position"), before, "before {time}");
        assert_eq!(position(true).await.expect("a position"), until, "until {time}");
    }
    assert_eq!(store.position_at(company(9), at(99), true).await.expect("none"), 0);
}

pub async fn recorded_time_never_goes_back<F: Fixture>(fixture: F) {
    let given = Given::a_company(fixture).await;
    let token = token(&given.ledger).await;
    let mut recorded = Vec::new();
    let turns = ["employees", "positions"].into_iter().cycle();
    for (seconds, scopes) in [100, 40, 99, -200, 100, 101, 0].into_iter().zip(turns) {
        given.clock.set(at(seconds));
        let outcome = ask_token(&given.ledger, COMPANY, token, change_scopes(scopes)).await;
        recorded.push(assert_done(outcome).recorded_at);
    }
    let expected = [100, 100, 100, 100, 100, 101, 101].map(at);
    assert_eq!(recorded, expected);
    let events = sound_ledger(given.store().as_ref(), COMPANY).await;
    let stored: Vec<_> = events[3..].iter().map(|event| event.recorded_at).collect();
    assert_eq!(stored, expected, "what was answered is what is stored");
}

/// The ledger has come past the end of a term that the clock has not come to yet.
pub async fn a_term_that_is_over_when_a_change_is_recorded_ends_before_it<F: Fixture>(fixture: F) {
    let given = Given::a_company(fixture).await;
    let (one, many) = (token(&given.ledger).await, token(&given.ledger).await);
    given.clock.set(at(WEEK + 10));
    token(&given.ledger).await;
    given.clock.set(at(WEEK - 1));
    let done = assert_done(ask_token(&given.ledger, COMPANY, one, refresh("again")).await);
    assert_eq!((done.sequence, done.recorded_at), (3, at(WEEK + 10)));
    let requests = [Request::new(many.0, TokenCommand::Delete)];
    let context = Context::system();
    let outcomes =
        given.ledger.execute_many::<Token>(COMPANY, Power::Operator, &context, &requests).await;
    assert!(matches!(outcomes.expect("answers")[..], [Ok(true)]));
    for (token, last) in [(one, "token.refreshed"), (many, "token.deleted")] {
        let stream = given.store().history(COMPANY, token.into(), 0, 9).await.expect("a stream");
        let types: Vec<_> = stream.iter().map(|event| event.event_type.as_str()).collect();
        assert_eq!(types, ["token.created", "token.expired", last]);
    }
}

/// The ledger is further than the clock by more than the term is long.
pub async fn no_term_is_over_when_its_beginning_is_recorded<F: Fixture>(fixture: F) {
    let given = Given::a_company(fixture).await;
    given.clock.set(at(200));
    token(&given.ledger).await;
    given.clock.set(at(0));
    let id = new_token();
    let TokenCommand::Create(mut create) = create("short") else { panic!("a creation") };
    create.validity_seconds = Some(60);
    let outcome = ask_token(&given.ledger, COMPANY, id, TokenCommand::Create(create)).await;
    let Ok(Executed::Done { state: Token::Active(grant), recorded_at, .. }) = outcome else {
        panic!("was to be done, but {outcome:?}");
    };
    assert_eq!((recorded_at, grant.term.expires_at), (at(200), at(260)));
}

/// May not do any more what was asked.
struct Lapsed;

#[async_trait]
impl Standing for Lapsed {
    fn since(&self) -> Moment {
        Moment::now()
    }

    async fn holds(&self) -> Result<bool, StoreError> {
        Ok(false)
    }
}

/// The same circumstances: a change has to be decided anew, and by then nobody stands behind it.
pub async fn what_is_decided_anew_needs_somebody_who_still_may<F: Fixture>(fixture: F) {
    let given = Given::a_company(fixture).await;
    let held_up = token(&given.ledger).await;
    given.clock.set(at(WEEK + 10));
    token(&given.ledger).await;
    given.clock.set(at(WEEK - 1));
    let before = read_all(given.store().as_ref(), COMPANY).await;
    let refused = given
        .ledger
        .execute_for::<Token>(
            &Lapsed,
            COMPANY,
            Power::Operator,
            &Context::system(),
            Request::new(held_up.0, TokenCommand::Delete),
        )
        .await;
    assert!(matches!(refused, Err(ExecuteError::Lapsed)), "{refused:?}");
    assert_eq!(read_all(given.store().as_ref(), COMPANY).await, before);
}

pub async fn a_clock_that_is_far_behind_stops_writing<F: Fixture>(fixture: F) {
    let given = Given::a_company(fixture).await;
    let before = sound_ledger(given.store().as_ref(), COMPANY).await;
    given.clock.set(at(-301));
    let refused = ask_token(&given.ledger, COMPANY, new_token(), create("late")).await;
    assert!(
        matches!(refused, Err(ExecuteError::Failed(StoreError::ClockBehind { seconds: 301 }))),
        "{refused:?}"
    );
    let mut with_key = commit_at(at(-301), COMPANY, new_token(), 0, [created("late")]);
    with_key.idempotency = Some(key("late", 1));
    let stores = given.store();
    let refused = append_one(stores.as_ref(), with_key).await;
    assert!(
        matches!(refused, Err(AppendError::Failed(StoreError::ClockBehind { .. }))),
        "{refused:?}"
    );
    assert_eq!(sound_ledger(stores.as_ref(), COMPANY).await, before, "nothing was written");
    assert_eq!(stores.replay(COMPANY, &key("late", 1), at(-301)).await.expect("none"), None);
    // Whose ledger is not ahead of the clock is not concerned.
    let stranger = commit_at(at(-301), company(2), new_token(), 0, [created("early")]);
    assert_eq!(append(stores.as_ref(), stranger).await.recorded_at, at(-301));

    given.clock.set(at(-300));
    let outcome = ask_token(&given.ledger, COMPANY, new_token(), create("in time")).await;
    assert_eq!(assert_done(outcome).recorded_at, at(0));
}
