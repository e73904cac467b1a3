//! Many commands at once, and streams that have grown long.

use super::Fixture;
use super::given::{
    COMPANY, Given, WEEK, append, ask_token, assert_done, at, change_scopes, changed, commit,
    create, new_token, read_all, refresh, sound_ledger, token,
};
use cqrs_es::Aggregate;
use token_ledger_domain::token::{Token, TokenCommand, TokenRefusal};
use token_ledger_domain::{Power, TokenId};
use token_ledger_event_store::ledger::SNAPSHOT_EVERY;
use token_ledger_event_store::{
    Context, Decidable, ExecuteError, Ledger, RecordedEvent, Request, Store, StoreError, StreamId,
};

type Answers = Vec<Result<bool, ExecuteError<TokenRefusal>>>;

async fn ask_many(ledger: &Ledger, requests: Vec<Request<TokenCommand>>) -> Answers {
    ledger
        .execute_many::<Token>(COMPANY, Power::Operator, &Context::system(), &requests)
        .await
        .expect("answers")
}

fn request(id: TokenId, command: TokenCommand) -> Request<TokenCommand> {
    Request::new(id.0, command)
}

pub async fn many_commands_are_answered_in_order_and_each_for_itself<F: Fixture>(fixture: F) {
    let given = Given::a_company(fixture).await;
    let ids = [token(&given.ledger).await, token(&given.ledger).await, token(&given.ledger).await];
    assert_done(ask_token(&given.ledger, COMPANY, ids[2], TokenCommand::Delete).await);
    let stale =
        Request { expected_version: Some(7), ..request(ids[1], change_scopes("employees")) };
    let answers = ask_many(
        &given.ledger,
        vec![
            request(ids[0], change_scopes("employees")),
            request(ids[1], change_scopes("employees positions")),
            request(ids[2], TokenCommand::Delete),
            request(new_token(), TokenCommand::Delete),
            request(ids[0], create("again")),
            stale,
            request(new_token(), create(super::REFUSED_BY_STATEMENT)),
            request(new_token(), create("new")),
        ],
    )
    .await;
    assert!(
        matches!(
            answers[..],
            [
                Ok(true),
                Ok(false),
                Err(ExecuteError::Refused(TokenRefusal::Deleted)),
                Err(ExecuteError::Refused(TokenRefusal::NotFound)),
                Err(ExecuteError::Refused(TokenRefusal::Exists)),
                Err(ExecuteError::VersionMismatch { actual: 1 }),
                Err(ExecuteError::Failed(_)),
                Ok(true),
            ]
        ),
        "{answers:?}"
    );
    let events = sound_ledger(given.store().as_ref(), COMPANY).await;
    let new: Vec<_> = events[6..].iter().map(|event| event.event_type.as_str()).collect();
    assert_eq!(new, ["token.scopes_changed", "token.created"]);
    assert!(ask_many(&given.ledger, Vec::new()).await.is_empty());
}

pub async fn more_commands_than_one_batch_holds_are_all_carried_out<F: Fixture>(fixture: F) {
    const MANY: usize = 700;
    let given = Given::a_company(fixture).await;
    let ids: Vec<TokenId> = (0..MANY).map(|_| new_token()).collect();
    let creations = ids.iter().map(|id| request(*id, create("one of many")));
    let answers = ask_many(&given.ledger, creations.collect()).await;
    assert_eq!(answers.iter().filter(|answer| matches!(answer, Ok(true))).count(), MANY);

    // Tokens whose term is over, and between them one whose term is not.
    let odd = ids[301];
    given.clock.set(at(60));
    assert_done(ask_token(&given.ledger, COMPANY, odd, refresh("longer")).await);
    given.clock.set(at(WEEK));
    let expiries = ids.iter().map(|id| request(*id, TokenCommand::Expire { term: 1 }));
    let answers = ask_many(&given.ledger, expiries.collect()).await;
    for (id, answer) in ids.iter().zip(&answers) {
        assert!(matches!(answer, Ok(expired) if *expired == (*id != odd)), "{answer:?}");
    }
    let events = sound_ledger(given.store().as_ref(), COMPANY).await;
    let streams: Vec<_> = events[2..2 + MANY].iter().map(|event| event.stream.id).collect();
    assert_eq!(streams, ids.iter().map(|id| id.0).collect::<Vec<_>>(), "in the order asked");
    assert_eq!(events.len(), 2 + MANY + 1 + MANY - 1);
}

pub async fn commands_for_one_stream_are_all_carried_out_in_order<F: Fixture>(fixture: F) {
    let given = Given::a_company(fixture).await;
    let id = token(&given.ledger).await;
    let wanted = ["employees", "positions", "locations", "company_users", "departments"];
    let requests = wanted.map(|scopes| request(id, change_scopes(scopes)));
    let answers = ask_many(&given.ledger, requests.to_vec()).await;
    assert!(answers.iter().all(|answer| matches!(answer, Ok(true))), "{answers:?}");
    let history = given.store().history(COMPANY, id.into(), 1, 100).await.expect("a stream");
    let texts: Vec<_> = history.iter().map(|event| event.payload.as_str()).collect();
    assert_eq!(texts.len(), wanted.len());
    for (text, scopes) in texts.iter().zip(wanted) {
        assert!(text.contains(&format!(r#""scopes":["{scopes}"]"#)), "{text}");
    }
}

/// The state that these events lead to, from nothing.
fn folded(events: &[RecordedEvent]) -> Token {
    let mut token = Token::default();
    for event in events {
        let event = Token::unwrap(event.decode().expect("an event")).expect("a token's event");
        token.apply(event);
    }
    token
}

/// Changes the token's scopes until its stream has this sequence.
async fn grow(ledger: &Ledger, id: TokenId, until: u64) {
    let (_, from) = ledger.state::<Token>(COMPANY, id.0).await.expect("a token");
    for sequence in from + 1..=until {
        let outcome = ask_token(ledger, COMPANY, id, change_scopes(&format!("s{sequence}"))).await;
        assert_eq!(assert_done(outcome).sequence, sequence);
    }
}

/// The snapshot of the stream holds what the events until then lead to, and nothing before it is
/// loaded again; the state is the same without it.
async fn assert_snapshot(store: &dyn Store, ledger: &Ledger, id: TokenId, expected: Option<u64>) {
    let all = store.history(COMPANY, id.into(), 0, usize::MAX >> 1).await.expect("a stream");
    let loaded = store.load(COMPANY, &[id.into()]).await.expect("a stream").remove(0);
    assert_eq!(loaded.snapshot.as_ref().map(|(sequence, _)| *sequence), expected);
    let covered = usize::try_from(expected.unwrap_or(0)).unwrap();
    assert_eq!(loaded.events, all[covered..], "what follows the snapshot, and only that");
    if let Some((_, text)) = &loaded.snapshot {
        let kept: Token = serde_json::from_str(text).expect("a state");
        assert_eq!(kept, folded(&all[..covered]));
    }
    let state = ledger.state::<Token>(COMPANY, id.0).await.expect("a token");
    assert_eq!(state, (folded(&all), all.len() as u64));
}

pub async fn a_long_stream_folds_the_same_with_and_without_its_snapshot<F: Fixture>(fixture: F) {
    let given = Given::a_company(fixture).await;
    let store = given.store();
    let id = token(&given.ledger).await;
    grow(&given.ledger, id, SNAPSHOT_EVERY - 1).await;
    assert_snapshot(store.as_ref(), &given.ledger, id, None).await;

    // Two events at once, of which the first would have been the one to take a snapshot at.
    given.clock.set(at(WEEK));
    let outcome = ask_token(&given.ledger, COMPANY, id, change_scopes("late")).await;
    assert_eq!(assert_done(outcome).sequence, SNAPSHOT_EVERY + 1);
    assert_snapshot(store.as_ref(), &given.ledger, id, Some(SNAPSHOT_EVERY + 1)).await;

    grow(&given.ledger, id, 2 * SNAPSHOT_EVERY + 60).await;
    assert_snapshot(store.as_ref(), &given.ledger, id, Some(2 * SNAPSHOT_EVERY)).await;

    drop(store);
    let given = given.reopened().await;
    assert_snapshot(given.store().as_ref(), &given.ledger, id, Some(2 * SNAPSHOT_EVERY)).await;
    grow(&given.ledger, id, 3 * SNAPSHOT_EVERY).await;
    assert_snapshot(given.store().as_ref(), &given.ledger, id, Some(3 * SNAPSHOT_EVERY)).await;
    assert_eq!(
        read_all(given.store().as_ref(), COMPANY).await.len() as u64,
        2 + 3 * SNAPSHOT_EVERY
    );
}

pub async fn a_snapshot_that_cannot_be_read_is_named<F: Fixture>(fixture: F) {
    let given = Given::a_company(fixture).await;
    let id = token(&given.ledger).await;
    let mut change = commit(COMPANY, id, 1, [changed()]);
    change.snapshot = Some("{}".to_owned());
    append(given.store().as_ref(), change).await;
    let error = given.ledger.state::<Token>(COMPANY, id.0).await.expect_err("no state");
    let StoreError::Corrupt { company, problem, .. } = error else { panic!("{error:?}") };
    assert_eq!(company, COMPANY);
    assert!(problem.contains(&format!("the snapshot of {}", StreamId::from(id))), "{problem}");
}
