//! What the ledger decides holds at the moment that it is recorded.

use super::Fixture;
use super::given::{
    COMPANY, Given, WEEK, ask, ask_token, assert_done, change_policy, change_scopes, count, create,
    new_token, read_all, scopes, set_module, side_by_side, sound_ledger, token,
};
use std::sync::Arc;
use token_ledger_domain::company::CompanyEvent;
use token_ledger_domain::policy::Policy;
use token_ledger_domain::token::{Token, TokenCommand, TokenEvent, TokenRefusal};
use token_ledger_domain::{CompanyId, LedgerEvent, TokenId};
use token_ledger_event_store::{ExecuteError, Executed, Ledger, Request, Store};
use tokio::sync::watch;
use uuid::Uuid;

const ROUNDS: usize = 6;
const TASKS: usize = 8;
/// Commands that are done before the company changes under those that follow.
const DONE_BEFORE: usize = 20;

/// Repeats a command on many tasks of two processes until it is refused on each; changes the
/// company in the middle.
async fn race<C, M>(
    ledgers: &[Arc<Ledger>; 2],
    commands: C,
    refusal: fn(&TokenRefusal) -> bool,
    change: M,
) where
    C: Fn(usize) -> Box<dyn FnMut() -> (TokenId, TokenCommand) + Send>,
    M: Future<Output = ()>,
{
    let (done, mut news) = watch::channel(0_usize);
    let tasks: Vec<_> = (0..TASKS)
        .map(|task| {
            let ledger = Arc::clone(&ledgers[task % 2]);
            let done = done.clone();
            let mut next = commands(task);
            async move {
                loop {
                    let (id, command) = next();
                    match ask_token(&ledger, COMPANY, id, command).await {
                        Ok(_) => done.send_modify(|count| *count += 1),
                        Err(ExecuteError::Refused(reason)) if refusal(&reason) => return,
                        Err(other) => panic!("{other}"),
                    }
                }
            }
        })
        .collect();
    let tasks = tokio::spawn(side_by_side(tasks));
    news.wait_for(|count| *count >= DONE_BEFORE).await.expect("the tasks run");
    change.await;
    tasks.await.expect("the tasks end");
}

fn creations(_task: usize) -> Box<dyn FnMut() -> (TokenId, TokenCommand) + Send> {
    Box::new(|| (new_token(), create("raced")))
}

async fn decoded(store: &dyn Store) -> Vec<LedgerEvent> {
    let events = sound_ledger(store, COMPANY).await;
    events.iter().map(|event| event.decode().expect("an event")).collect()
}

pub async fn no_token_is_created_after_the_module_was_turned_off<F: Fixture>(fixture: F) {
    let given = Given::a_company(fixture).await;
    let ledgers = [Arc::clone(&given.ledger), given.another_ledger()];
    for round in 0..ROUNDS {
        let [one, other] = [round % 2, (round + 1) % 2].map(|index| &ledgers[index]);
        let refusal = |refusal: &TokenRefusal| *refusal == TokenRefusal::OauthAppDisabled;
        race(&ledgers, creations, refusal, set_module(one, COMPANY, false)).await;
        set_module(other, COMPANY, true).await;
    }
    let mut enabled = false;
    let mut created = 0;
    for event in decoded(given.store().as_ref()).await {
        match event {
            LedgerEvent::Company(CompanyEvent::OauthAppEnabled {}) => enabled = true,
            LedgerEvent::Company(CompanyEvent::OauthAppDisabled {}) => enabled = false,
            LedgerEvent::Token(TokenEvent::Created { .. }) => {
                assert!(enabled, "a token was created while the module was off");
                created += 1;
            }
            _ => {}
        }
    }
    assert!(created >= ROUNDS * DONE_BEFORE);
}

fn narrow() -> Policy {
    Policy {
        max_validity_seconds: WEEK - 1,
        allowed_scopes: Some(scopes("positions")),
        ..Policy::default()
    }
}

pub async fn no_token_stands_against_a_policy_that_came_before_it<F: Fixture>(fixture: F) {
    let given = Given::a_company(fixture).await;
    let ledgers = [Arc::clone(&given.ledger), given.another_ledger()];
    let mut tokens = Vec::new();
    for _ in 0..TASKS {
        tokens.push(token(&given.ledger).await);
    }
    // Half of the tasks create tokens, the others take a scope away and give it back.
    let commands = |task: usize| -> Box<dyn FnMut() -> (TokenId, TokenCommand) + Send> {
        if task % 4 < 2 {
            return creations(task);
        }
        let id = tokens[task];
        let mut turns = ["positions", "employees positions"].into_iter().cycle();
        Box::new(move || (id, change_scopes(turns.next().unwrap_or_default())))
    };
    for round in 0..ROUNDS {
        let [one, other] = [round % 2, (round + 1) % 2].map(|index| &ledgers[index]);
        let refusal = |refusal: &TokenRefusal| matches!(refusal, TokenRefusal::Policy(_));
        race(&ledgers, commands, refusal, change_policy(one, COMPANY, narrow())).await;
        change_policy(other, COMPANY, Policy::default()).await;
    }
    let mut policy = Policy::default();
    for event in decoded(given.store().as_ref()).await {
        match event {
            LedgerEvent::Company(CompanyEvent::PolicyChanged { policy: new }) => policy = new,
            LedgerEvent::Token(TokenEvent::Created { scopes, .. }) => {
                assert_eq!(policy.scopes(&scopes), Ok(()));
                assert_eq!(policy.validity(Some(WEEK)), Ok(WEEK));
            }
            LedgerEvent::Token(TokenEvent::ScopesChanged { added, .. }) => {
                assert_eq!(policy.scopes(&added), Ok(()));
            }
            _ => {}
        }
    }
}

pub async fn no_refusal_rests_on_what_the_company_was<F: Fixture>(fixture: F) {
    let given = Given::a_company(fixture).await;
    let other = given.another_ledger();
    let refused = |outcome| matches!(outcome, Err(ExecuteError::Refused(_)));
    let create_on = |ledger| ask_token(ledger, COMPANY, new_token(), create("soon allowed"));
    set_module(&given.ledger, COMPANY, false).await;
    assert!(refused(create_on(&given.ledger).await), "the module is off");

    set_module(&other, COMPANY, true).await;
    assert_done(create_on(&given.ledger).await);

    set_module(&other, COMPANY, false).await;
    assert!(refused(create_on(&given.ledger).await), "the module is off again");
    set_module(&other, COMPANY, true).await;
    let request = Request::new(new_token().0, create("soon allowed"));
    let answers = given
        .ledger
        .execute_many::<Token>(
            COMPANY,
            token_ledger_domain::Power::Operator,
            &token_ledger_event_store::Context::system(),
            &[request],
        )
        .await
        .expect("answers");
    assert!(matches!(answers[..], [Ok(true)]), "{answers:?}");
}

pub async fn a_command_for_another_version_is_not_carried_out<F: Fixture>(fixture: F) {
    let given = Given::a_company(fixture).await;
    let token = token(&given.ledger).await;
    let at_version = |version, scopes| Request {
        expected_version: Some(version),
        ..Request::new(token.0, change_scopes(scopes))
    };
    let before = read_all(given.store().as_ref(), COMPANY).await;
    for version in [0, 2, 99] {
        let outcome = ask::<Token>(&given.ledger, COMPANY, at_version(version, "employees")).await;
        assert!(
            matches!(outcome, Err(ExecuteError::VersionMismatch { actual: 1 })),
            "{version}: {outcome:?}"
        );
    }
    assert_eq!(read_all(given.store().as_ref(), COMPANY).await, before);
    let done = assert_done(ask::<Token>(&given.ledger, COMPANY, at_version(1, "employees")).await);
    assert_eq!((done.sequence, done.position), (2, Some(4)));
}

/// One change of the token per task, all different, from two processes at once.
async fn changes_at_once(
    ledgers: &[Arc<Ledger>; 2],
    token: TokenId,
    expected_version: Option<u64>,
) -> Vec<Result<u64, ExecuteError<TokenRefusal>>> {
    side_by_side((0..TASKS).map(|task| {
        let ledger = Arc::clone(&ledgers[task % 2]);
        let command = change_scopes(&format!("scope_{task}"));
        async move {
            let request = Request { expected_version, ..Request::new(token.0, command) };
            match ask::<Token>(&ledger, COMPANY, request).await? {
                Executed::Done { sequence, .. } => Ok(sequence),
                Executed::Repeated(replay) => panic!("{replay:?}"),
            }
        }
    }))
    .await
}

pub async fn of_changes_at_once_none_is_lost<F: Fixture>(fixture: F) {
    let given = Given::a_company(fixture).await;
    let ledgers = [Arc::clone(&given.ledger), given.another_ledger()];
    let token = token(&given.ledger).await;
    let outcomes = changes_at_once(&ledgers, token, None).await;
    let history = given.store().history(COMPANY, token.into(), 0, 100).await.expect("a stream");
    for (task, outcome) in outcomes.into_iter().enumerate() {
        // With so few at once nobody runs out of attempts.
        let sequence = usize::try_from(outcome.expect("it is done")).unwrap();
        let event = history[sequence - 1].decode().expect("an event");
        let LedgerEvent::Token(TokenEvent::ScopesChanged { scopes: changed, .. }) = event else {
            panic!("{event:?}");
        };
        assert_eq!(changed, scopes(&format!("scope_{task}")), "it stands where it was told");
    }
    assert_eq!(history.len(), 1 + TASKS);
    sound_ledger(given.store().as_ref(), COMPANY).await;
}

pub async fn of_changes_at_once_to_one_version_one_is_done<F: Fixture>(fixture: F) {
    let given = Given::a_company(fixture).await;
    let ledgers = [Arc::clone(&given.ledger), given.another_ledger()];
    let token = token(&given.ledger).await;
    let outcomes = changes_at_once(&ledgers, token, Some(1)).await;
    let done = outcomes.iter().filter(|outcome| matches!(outcome, Ok(2))).count();
    let late = outcomes
        .iter()
        .filter(|outcome| matches!(outcome, Err(ExecuteError::VersionMismatch { actual: 2 })))
        .count();
    assert_eq!((done, late), (1, TASKS - 1), "{outcomes:?}");
    assert_eq!(count(given.store().as_ref(), COMPANY, "token.scopes_changed").await, 1);
}

pub async fn nothing_happens_in_a_company_that_there_is_not<F: Fixture>(fixture: F) {
    let given = Given::a(fixture);
    let nowhere = CompanyId(Uuid::from_u128(9));
    let outcome = ask_token(&given.ledger, nowhere, new_token(), create("homeless")).await;
    assert!(matches!(outcome, Err(ExecuteError::NoCompany)), "{outcome:?}");
    assert_eq!(given.store().heads().await.expect("no heads"), []);
}
