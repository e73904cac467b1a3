//! A commit is appended whole or not at all, and once.

use super::given::{
    COMPANY, append, append_one, at, changed, commit, created, key, new_token, side_by_side,
    sound_ledger, sound_ledgers,
};
use super::{Fixture, PANICS_IN_PROJECTION, REFUSED_BY_PROJECTION, REFUSED_BY_STATEMENT};
use futures::future::join_all;
use std::collections::HashMap;
use std::sync::Arc;
use token_ledger_domain::token::TokenEvent;
use token_ledger_domain::{CompanyId, LedgerEvent, TokenId};
use token_ledger_event_store::{
    AppendError, Commit, Context, PrivatePart, Recorded, Store, StoreError, SystemEntropy,
};
use tokio::sync::{Semaphore, watch};
use uuid::Uuid;

pub async fn a_conflict_fails_only_its_caller<F: Fixture>(fixture: F) {
    let store = fixture.store();
    let token = new_token();
    append(store.as_ref(), commit(COMPANY, token, 0, [created("first")])).await;
    let answers = store
        .append(vec![
            commit(COMPANY, new_token(), 0, [created("before")]),
            commit(COMPANY, token, 0, [created("too late")]),
            commit(COMPANY, token, 2, [changed()]),
            commit(COMPANY, token, 1, [changed(), changed()]),
            commit(COMPANY, token, 1, [changed()]),
            commit(COMPANY, new_token(), 0, [created("after")]),
        ])
        .await;
    let positions: Vec<_> =
        answers.iter().map(|answer| answer.as_ref().map(|recorded| recorded.position)).collect();
    assert!(
        matches!(
            positions[..],
            [
                Ok(2),
                Err(AppendError::Conflict),
                Err(AppendError::Conflict),
                Ok(4),
                Err(AppendError::Conflict),
                Ok(5)
            ]
        ),
        "{positions:?}"
    );
    assert_eq!(sound_ledger(store.as_ref(), COMPANY).await.len(), 5);
}

#[track_caller]
fn assert_rejected(answer: &Result<Recorded, AppendError>) {
    assert!(matches!(answer, Err(AppendError::Failed(StoreError::Rejected(_)))), "{answer:?}");
}

pub async fn a_commit_that_the_database_refuses_fails_only_its_caller<F: Fixture>(fixture: F) {
    let store = fixture.store();
    for refused in [REFUSED_BY_STATEMENT, REFUSED_BY_PROJECTION, PANICS_IN_PROJECTION] {
        let before = sound_ledger(store.as_ref(), COMPANY).await.len() as u64;
        let token = new_token();
        let answers = store
            .append(vec![
                commit(COMPANY, token, 0, [created("before")]),
                commit(COMPANY, new_token(), 0, [created("fine so far"), created(refused)]),
                commit(COMPANY, token, 1, [changed()]),
            ])
            .await;
        assert_rejected(&answers[1]);
        let positions = [&answers[0], &answers[2]].map(|answer| answer.as_ref().unwrap().position);
        assert_eq!(positions, [before + 1, before + 2], "{refused}");
        assert_eq!(sound_ledger(store.as_ref(), COMPANY).await.len() as u64, before + 2);
    }
}

pub async fn callers_that_meet_in_a_batch_get_their_own_answers<F: Fixture>(fixture: F) {
    let store = fixture.store();
    let outcomes = join_all((0..60).map(|number| {
        let store = Arc::clone(&store);
        async move {
            let text = match number % 4 {
                0 => REFUSED_BY_PROJECTION.to_owned(),
                1 => REFUSED_BY_STATEMENT.to_owned(),
                2 => PANICS_IN_PROJECTION.to_owned(),
                _ => format!("token {number}"),
            };
            let token = new_token();
            let refused = number % 4 < 3;
            let answer = append_one(store.as_ref(), commit(COMPANY, token, 0, [created(&text)]));
            (token, refused, answer.await)
        }
    }))
    .await;
    let events = sound_ledger(store.as_ref(), COMPANY).await;
    assert_eq!(events.len(), 15);
    for (token, refused, answer) in outcomes {
        if refused {
            assert_rejected(&answer);
        } else {
            let position = usize::try_from(answer.expect("it is appended").position).unwrap();
            assert_eq!(events[position - 1].stream, token.into(), "it stands where it was told");
        }
    }
}

/// Everything that is written with a commit besides its events, with a key named after the stream.
fn with_everything(token: TokenId, events: [TokenEvent; 3]) -> Commit {
    let private = PrivatePart { reason: Some("because".to_owned()), ..PrivatePart::default() };
    let context = Context { private, ..Context::system() };
    let events = events.into_iter().map(LedgerEvent::Token).collect();
    let company = company_of(token);
    let mut commit =
        Commit::new(company, token.into(), 0, events, &context, at(0), &SystemEntropy).unwrap();
    commit.idempotency = Some(key(&token.to_string(), 1));
    commit.snapshot = Some("{}".to_owned());
    commit
}

/// Two companies share the tokens.
fn company_of(token: TokenId) -> CompanyId {
    CompanyId(Uuid::from_u128(1 + (token.0.as_u128() & 1)))
}

/// Whether events, private parts, key and snapshot of the stream are there; all or none.
async fn is_whole(store: &dyn Store, token: TokenId) -> bool {
    let company = company_of(token);
    let events = store.history(company, token.into(), 0, 10).await.expect("the stream");
    let positions: Vec<u64> = events.iter().map(|event| event.position).collect();
    let parts = store.private_parts(company, &positions).await.expect("private parts");
    let replay = store.replay(company, &key(&token.to_string(), 1), at(0)).await.expect("a key");
    let loaded = store.load(company, &[token.into()]).await.expect("the stream").remove(0);
    let snapshot = loaded.snapshot.map(|(sequence, _)| sequence);
    let found = (
        events.len(),
        parts.iter().flatten().count(),
        replay.map(|replay| replay.sequence),
        snapshot,
    );
    match found {
        (3, 3, Some(3), Some(3)) => true,
        (0, 0, None, None) => false,
        torn => panic!("a part of a commit is there: {torn:?}"),
    }
}

pub async fn a_refused_commit_leaves_nothing<F: Fixture>(fixture: F) {
    let store = fixture.store();
    for refused in [REFUSED_BY_STATEMENT, REFUSED_BY_PROJECTION, PANICS_IN_PROJECTION] {
        let token = new_token();
        let commit = with_everything(token, [created("fine"), changed(), created(refused)]);
        assert_rejected(&append_one(store.as_ref(), commit).await);
        assert!(!is_whole(store.as_ref(), token).await);
        assert_eq!(store.heads().await.expect("no heads"), [], "not even a head");
    }
    // Also beside a commit that is appended.
    let (late, fine) = (new_token(), new_token());
    let events = || [created("fine"), changed(), changed()];
    let too_late = Commit { expected_sequence: 7, ..with_everything(late, events()) };
    let answers = store.append(vec![too_late, with_everything(fine, events())]).await;
    assert!(matches!(answers[..], [Err(AppendError::Conflict), Ok(_)]), "{answers:?}");
    assert!(!is_whole(store.as_ref(), late).await);
    assert!(is_whole(store.as_ref(), fine).await);
}

/// How often everything ends while writers write.
const CRASHES: usize = 10;
const WRITERS: usize = 6;
/// Commits that the writers may make for each crash, and how many are acknowledged before it.
const COMMITS_PER_CRASH: usize = 30;
const ACKNOWLEDGED_BEFORE: usize = 10;

pub async fn a_crash_leaves_whole_commits_and_all_that_was_acknowledged<F: Fixture>(fixture: F) {
    let store = fixture.store();
    let (acknowledged, mut news) = watch::channel(HashMap::<TokenId, Recorded>::new());
    let turns = Arc::new(Semaphore::new(0));
    let writers = (0..WRITERS).map(|_| {
        let (store, turns, acknowledged) =
            (Arc::clone(&store), Arc::clone(&turns), acknowledged.clone());
        async move {
            while let Ok(turn) = turns.acquire().await {
                turn.forget();
                let token = new_token();
                let commit = with_everything(token, [created("whole"), changed(), changed()]);
                let recorded = append(store.as_ref(), commit).await;
                acknowledged.send_modify(|known| {
                    known.insert(token, recorded);
                });
            }
        }
    });
    let writers = tokio::spawn(side_by_side(writers.collect::<Vec<_>>()));
    for _ in 0..CRASHES {
        let enough = news.borrow().len() + ACKNOWLEDGED_BEFORE;
        turns.add_permits(COMMITS_PER_CRASH);
        let known = news.wait_for(|known| known.len() >= enough).await.expect("writers").clone();
        let left = fixture.crashed().await;
        assert_intact(left.store().as_ref(), &known).await;
    }
    turns.close();
    writers.await.expect("the writers end");
}

async fn assert_intact(left: &dyn Store, acknowledged: &HashMap<TokenId, Recorded>) {
    let ledgers = sound_ledgers(left).await;
    for event in ledgers.values().flatten() {
        assert!(is_whole(left, TokenId(event.stream.id)).await);
    }
    for (token, recorded) in acknowledged {
        let last = usize::try_from(recorded.position).unwrap() - 1;
        let event = ledgers.get(&company_of(*token)).and_then(|events| events.get(last));
        assert_eq!(event.map(|event| event.stream), Some((*token).into()), "acknowledged and lost");
    }
}

pub async fn a_retry_after_a_lost_answer_is_recognised<F: Fixture>(fixture: F) {
    let store = fixture.store();
    let token = new_token();
    append(store.as_ref(), commit(COMPANY, token, 0, [created("first")])).await;
    let mut lost = commit(COMPANY, token, 1, [changed(), changed()]);
    lost.idempotency = Some(key("lost", 1));
    let recorded = append(store.as_ref(), lost.clone()).await;
    append(store.as_ref(), commit(COMPANY, new_token(), 0, [created("in between")])).await;

    let again = append(store.as_ref(), lost.clone()).await;
    assert_eq!(again, recorded);
    assert_eq!(recorded, Recorded { sequence: 3, position: 3, recorded_at: at(0) });
    let twice = commit(COMPANY, new_token(), 0, [created("twice in one batch")]);
    let answers = store.append(vec![twice.clone(), twice]).await;
    assert_eq!(answers[0].as_ref().unwrap(), answers[1].as_ref().unwrap());
    drop(store);

    let fixture = fixture.reopened().await;
    assert_eq!(append(fixture.store().as_ref(), lost).await, recorded, "also by a new process");
    assert_eq!(sound_ledger(fixture.store().as_ref(), COMPANY).await.len(), 5, "nothing twice");
}

pub async fn another_commit_at_the_same_sequence_is_a_conflict<F: Fixture>(fixture: F) {
    let store = fixture.store();
    let token = new_token();
    let first = commit(COMPANY, token, 0, [created("the same")]);
    let other = Commit { commit_id: Uuid::from_u128(7), ..first.clone() };
    append(store.as_ref(), first).await;
    let answer = append_one(store.as_ref(), other).await;
    assert!(matches!(answer, Err(AppendError::Conflict)), "{answer:?}");
    assert_eq!(sound_ledger(store.as_ref(), COMPANY).await.len(), 1);
}
