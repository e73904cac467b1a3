//! A request with a key is carried out once.

use super::Fixture;
use super::given::{
    COMPANY, Given, Outcome, append, ask, ask_token, assert_done, at, change_scopes, commit, count,
    create, key, new_token, read_all, refresh, register, set_module, side_by_side, token,
};
use std::sync::Arc;
use token_ledger_domain::token::{Token, TokenCommand};
use token_ledger_domain::{CompanyId, TokenId};
use token_ledger_event_store::{
    ExecuteError, Executed, Idempotency, Ledger, Replay, Request, StreamId,
};
use uuid::Uuid;

async fn ask_with(
    ledger: &Ledger,
    key: &Idempotency,
    id: TokenId,
    command: TokenCommand,
) -> Outcome<Token> {
    ask_in(ledger, COMPANY, key, id, command).await
}

async fn ask_in(
    ledger: &Ledger,
    company: CompanyId,
    key: &Idempotency,
    id: TokenId,
    command: TokenCommand,
) -> Outcome<Token> {
    let request = Request { idempotency: Some(key.clone()), ..Request::new(id.0, command) };
    ask::<Token>(ledger, company, request).await
}

#[track_caller]
fn assert_repeated(outcome: Outcome<Token>) -> Replay {
    match outcome {
        Ok(Executed::Repeated(replay)) => replay,
        other => panic!("was to be a repeat, but {other:?}"),
    }
}

pub async fn a_repeat_is_answered_and_another_request_is_told_apart<F: Fixture>(fixture: F) {
    let given = Given::a_company(fixture).await;
    let first = new_token();
    let done = assert_done(ask_with(&given.ledger, &key("k", 1), first, create("once")).await);
    let expected = Replay {
        request_hash: [1; 32],
        stream: first.into(),
        sequence: done.sequence,
        recorded_at: done.recorded_at,
    };
    given.clock.set(at(60));
    let given = given.reopened().await;
    let repeat = ask_with(&given.ledger, &key("k", 1), new_token(), create("once")).await;
    assert_eq!(assert_repeated(repeat), expected);
    let reused = ask_with(&given.ledger, &key("k", 2), new_token(), create("another")).await;
    assert!(matches!(reused, Err(ExecuteError::KeyReused)), "{reused:?}");
    assert_eq!(count(given.store().as_ref(), COMPANY, "token.created").await, 1);

    // Another caller, route, key or company has keys of its own.
    let others = [
        Idempotency { caller: "key 2".to_owned(), ..key("k", 2) },
        Idempotency { route: "POST /v1/keys".to_owned(), ..key("k", 2) },
        key("K", 2),
    ];
    for other in &others {
        assert_done(ask_with(&given.ledger, other, new_token(), create("other")).await);
    }
    let company = CompanyId(Uuid::from_u128(2));
    register(&given.ledger, company).await;
    let elsewhere = ask_in(&given.ledger, company, &key("k", 2), new_token(), create("else")).await;
    assert_done(elsewhere);
}

pub async fn of_many_repeats_at_once_one_is_done<F: Fixture>(fixture: F) {
    let given = Given::a_company(fixture).await;
    let ledgers = [Arc::clone(&given.ledger), given.another_ledger()];
    // Two requests share a key: of one kind all are answered, the other kind is told apart.
    let outcomes = side_by_side((0..32_u8).map(|task| {
        let ledger = Arc::clone(&ledgers[usize::from(task % 2)]);
        let key = key("k", task / 24);
        let id = new_token();
        async move { (id, key.request_hash, ask_with(&ledger, &key, id, create("raced")).await) }
    }))
    .await;
    let done: Vec<_> = outcomes
        .iter()
        .filter(|(_, _, outcome)| matches!(outcome, Ok(Executed::Done { .. })))
        .map(|(id, hash, _)| (StreamId::from(*id), *hash))
        .collect();
    let [(stream, hash)] = done[..] else { panic!("{} were done", done.len()) };
    for (id, own_hash, outcome) in outcomes {
        match outcome {
            Ok(Executed::Done { .. }) => assert_eq!(stream, id.into()),
            Ok(Executed::Repeated(replay)) => {
                assert_eq!((replay.stream, own_hash), (stream, hash));
            }
            Err(ExecuteError::KeyReused) => assert_ne!(own_hash, hash),
            Err(other) => panic!("{other}"),
        }
    }
    assert_eq!(count(given.store().as_ref(), COMPANY, "token.created").await, 1);
}

/// The first one is what the others would be refused for.
pub async fn of_repeats_of_a_change_at_once_none_is_refused<F: Fixture>(fixture: F) {
    const ROUNDS: u8 = 40;
    let given = Given::a_company(fixture).await;
    let ledgers = [Arc::clone(&given.ledger), given.another_ledger(), given.another_ledger()];
    let changed = new_token();
    assert_done(ask_token(&given.ledger, COMPANY, changed, create("changed")).await);
    for round in 0..ROUNDS {
        let outcomes = side_by_side(ledgers.clone().into_iter().map(|ledger| async move {
            let request = Request {
                expected_version: Some(u64::from(round) + 1),
                idempotency: Some(key(&format!("round {round}"), 1)),
                ..Request::new(changed.0, refresh(&format!("round {round}")))
            };
            ask::<Token>(&ledger, COMPANY, request).await
        }))
        .await;
        for outcome in outcomes {
            let outcome = outcome.expect("done, now or before");
            let sequence = match outcome {
                Executed::Done { sequence, .. } => sequence,
                Executed::Repeated(replay) => replay.sequence,
            };
            assert_eq!(sequence, u64::from(round) + 2);
        }
    }
}

pub async fn a_key_is_forgotten_after_a_day<F: Fixture>(fixture: F) {
    const DAY: i64 = 86_400;
    let given = Given::a_company(fixture).await;
    assert_done(ask_with(&given.ledger, &key("k", 1), new_token(), create("today")).await);
    given.clock.set(at(DAY - 1));
    assert_repeated(ask_with(&given.ledger, &key("k", 1), new_token(), create("today")).await);
    given.clock.set(at(DAY));
    assert_done(ask_with(&given.ledger, &key("k", 2), new_token(), create("tomorrow")).await);
    let replay = assert_repeated(
        ask_with(&given.ledger, &key("k", 2), new_token(), create("tomorrow")).await,
    );
    assert_eq!(replay.recorded_at, at(DAY), "the new request took the place of the old one");
}

pub async fn an_old_key_is_removed_though_no_newer_one_comes<F: Fixture>(fixture: F) {
    const DAY: i64 = 86_400;
    let given = Given::a_company(fixture).await;
    for (count, text) in ["a", "b", "c"].into_iter().enumerate() {
        given.clock.set(at(60 * i64::try_from(count).expect("small")));
        assert_done(ask_with(&given.ledger, &key(text, 1), new_token(), create(text)).await);
    }
    let store = given.store();
    let known = async || {
        let mut known = String::new();
        for text in ["a", "b", "c"] {
            // Asked as of then, a key that is there is recognised.
            if store.replay(COMPANY, &key(text, 1), at(120)).await.expect("an answer").is_some() {
                known.push_str(text);
            }
        }
        known
    };
    let forget = async |now, limit| store.forget_keys(now, limit).await.expect("done");
    assert_eq!((forget(at(DAY), 9).await, known().await), (0, "abc".to_owned()));
    assert_eq!((forget(at(DAY + 90), 1).await, known().await.len()), (1, 2));
    assert_eq!((forget(at(DAY + 90), 9).await, known().await), (1, "c".to_owned()));
    assert_eq!((forget(at(DAY + 90), 9).await, known().await), (0, "c".to_owned()));
}

pub async fn a_refused_command_leaves_its_key_free<F: Fixture>(fixture: F) {
    let given = Given::a_company(fixture).await;
    set_module(&given.ledger, COMPANY, false).await;
    let before = read_all(given.store().as_ref(), COMPANY).await;
    let refused = ask_with(&given.ledger, &key("k", 1), new_token(), create("refused")).await;
    assert!(matches!(refused, Err(ExecuteError::Refused(_))), "{refused:?}");
    assert_eq!(given.store().replay(COMPANY, &key("k", 1), at(0)).await.expect("none"), None);
    assert_eq!(read_all(given.store().as_ref(), COMPANY).await, before);

    set_module(&given.ledger, COMPANY, true).await;
    assert_done(ask_with(&given.ledger, &key("k", 2), new_token(), create("allowed")).await);
}

pub async fn a_command_that_changes_nothing_is_remembered_too<F: Fixture>(fixture: F) {
    let given = Given::a_company(fixture).await;
    let id = token(&given.ledger).await;
    let before = read_all(given.store().as_ref(), COMPANY).await;
    let same = change_scopes("employees positions");
    let done = assert_done(ask_with(&given.ledger, &key("k", 1), id, same.clone()).await);
    assert_eq!((done.sequence, done.position), (1, None));
    assert_eq!(assert_repeated(ask_with(&given.ledger, &key("k", 1), id, same).await).sequence, 1);
    assert_eq!(read_all(given.store().as_ref(), COMPANY).await, before);
}

pub async fn a_key_for_something_that_is_not_in_the_ledger_changes_nothing_there<F: Fixture>(
    fixture: F,
) {
    let given = Given::a_company(fixture).await;
    let store = given.store();
    let before = store.head(COMPANY).await.expect("read").expect("a head");
    let begun = CompanyId(Uuid::from_u128(99));
    let mut reservation = commit(COMPANY, begun, 0, []);
    reservation.idempotency = Some(key("k", 1));
    append(store.as_ref(), reservation).await;
    assert_eq!(store.head(COMPANY).await.expect("read"), Some(before));
    let replay = store.replay(COMPANY, &key("k", 1), at(0)).await.expect("read").expect("recorded");
    assert_eq!(replay.stream, StreamId::from(begun));
    assert_done(ask_with(&given.ledger, &key("l", 1), new_token(), create("as before")).await);
}
