//! What is recorded stays as it is, and can be proved.

use super::Fixture;
use super::given::{
    COMPANY, Given, WEEK, ask_token, assert_done, at, create, entry_of, name, new_token, read_all,
    refresh, scopes, secret, sound_ledger, tell_company, token,
};
use sha2::{Digest as _, Sha256};
use token_ledger_domain::company::{CompanyCommand, CompanyEvent};
use token_ledger_domain::event::AggregateType;
use token_ledger_domain::key::{Key, KeyCommand};
use token_ledger_domain::power::KeyScope;
use token_ledger_domain::token::{Token, TokenCommand};
use token_ledger_domain::{Actor, ActorType, CompanyId, LedgerEvent, Power};
use token_ledger_event_store::record::Metadata;
use token_ledger_event_store::{Context, Ledger, PrivatePart, RecordedEvent, Request, StreamId};
use uuid::Uuid;

/// Text that has been hard on databases, drivers and JSON.
const TEXTS: [&str; 6] = [
    "🔑🗝️ 鍵 𝔘𝔫𝔦𝔠𝔬𝔡𝔢",
    r#"it's "quoted", `ticked`, \escaped\ and 100 % $1 ?1 :x"#,
    "e\u{301} is not \u{e9}, ﬁ is not fi",
    " padded ",
    "'; DROP TABLE events; --",
    "\u{10FFFF}\u{FEFF}\u{200D}",
];

/// Someone with a private part in which this text is everywhere.
fn someone(text: &str) -> Context {
    let some = || Some(text.to_owned());
    Context {
        actor: Actor { kind: ActorType::Member, id: Uuid::from_u128(5) },
        request_id: some(),
        private: PrivatePart {
            actor_name: some(),
            ip: some(),
            user_agent: some(),
            reason: some(),
            email: some(),
        },
    }
}

/// The service ends a term that is over, whoever comes by and whatever they ask for.
pub async fn a_term_that_is_over_is_ended_by_the_service_itself<F: Fixture>(fixture: F) {
    let given = Given::a_company(fixture).await;
    let (company, power, caller) = (COMPANY, Power::Operator, someone("caller"));
    let (one, many, key) = (new_token(), new_token(), new_token().0);
    for token in [one, many] {
        assert_done(ask_token(&given.ledger, company, token, create("short")).await);
    }
    let create = Request::new(
        key,
        KeyCommand::Create {
            name: name("short"),
            scopes: [KeyScope::Audit].into(),
            secret: secret("short"),
            validity_seconds: Some(WEEK),
        },
    );
    assert_done(given.ledger.execute::<Key>(company, power, &caller, create).await);
    given.clock.set(at(WEEK));
    let request = Request::new(one.0, refresh("again"));
    assert_done(given.ledger.execute::<Token>(company, power, &caller, request).await);
    let requests = [Request::new(many.0, TokenCommand::Delete)];
    let outcomes = given.ledger.execute_many::<Token>(company, power, &caller, &requests).await;
    assert!(matches!(outcomes.expect("answers")[..], [Ok(true)]));
    let request = Request::new(key, KeyCommand::Delete);
    assert_done(given.ledger.execute::<Key>(company, power, &caller, request).await);

    let store = given.store();
    let key = StreamId { kind: AggregateType::Key, id: key };
    for stream in [one.into(), many.into(), key] {
        let events = store.history(company, stream, 1, 9).await.expect("a stream");
        let [expired, change] = &events[..] else { panic!("{events:?}") };
        assert!(expired.event_type.ends_with(".expired"), "{expired:?}");
        assert_eq!(expired.commit_id, change.commit_id);
        let by = |event: &RecordedEvent| event.metadata().expect("metadata");
        assert_eq!(by(expired), Metadata { actor: Actor::SYSTEM, request_id: None });
        let caller = Metadata { actor: caller.actor, request_id: caller.request_id.clone() };
        assert_eq!(by(change), caller);
        let positions = [expired.position, change.position];
        let parts = store.private_parts(company, &positions).await.expect("private parts");
        assert_eq!(parts.iter().map(Option::is_some).collect::<Vec<_>>(), [false, true]);
    }
    sound_ledger(store.as_ref(), company).await;
}

async fn create_as(ledger: &Ledger, context: &Context, command: TokenCommand) {
    let request = Request::new(new_token().0, command);
    let outcome = ledger.execute::<Token>(COMPANY, Power::Operator, context, request).await;
    assert_done(outcome);
}

pub async fn text_survives_exactly<F: Fixture>(fixture: F) {
    let given = Given::a_company(fixture).await;
    for text in TEXTS {
        create_as(&given.ledger, &someone(text), create(text)).await;
    }
    let multiline = "a reason\nof two lines\twith a tab and a \u{0}";
    create_as(&given.ledger, &someone(multiline), create("plain")).await;
    let company = CompanyId(Uuid::from_u128(2));
    let register = CompanyCommand::Register { name: name(TEXTS[0]) };
    tell_company(&given.ledger, company, register).await;

    let given = given.reopened().await;
    let store = given.store();
    let events = sound_ledger(store.as_ref(), COMPANY).await;
    let positions: Vec<u64> = events[2..].iter().map(|event| event.position).collect();
    let parts = store.private_parts(COMPANY, &positions).await.expect("private parts");
    let texts = TEXTS.into_iter().chain([multiline]);
    for ((event, part), text) in events[2..].iter().zip(parts).zip(texts) {
        let expected = someone(text);
        // The address of whom an event is about goes with events about people only.
        let private = PrivatePart { email: None, ..expected.private.clone() };
        assert_eq!(part.expect("a private part").part(), private);
        let metadata = Metadata { actor: expected.actor, request_id: expected.request_id };
        assert_eq!(event.metadata().expect("metadata"), metadata);
        let LedgerEvent::Token(created) = event.decode().expect("an event") else { panic!() };
        let command = create(if text == multiline { "plain" } else { text });
        let TokenCommand::Create(command) = command else { panic!() };
        let token_ledger_domain::token::TokenEvent::Created { name, .. } = created else {
            panic!()
        };
        assert_eq!(name, command.name);
    }
    let events = read_all(store.as_ref(), company).await;
    let registered = CompanyEvent::Registered { name: name(TEXTS[0]) };
    assert_eq!(events[0].decode().expect("an event"), LedgerEvent::Company(registered));
}

pub async fn hashes_follow_from_what_is_stored<F: Fixture>(fixture: F) {
    let given = Given::a_company(fixture).await;
    create_as(&given.ledger, &someone("private"), create("with a private part")).await;
    let id = token(&given.ledger).await;
    let command = TokenCommand::ChangeScopes { scopes: scopes("positions") };
    let request = Request::new(id.0, command);
    let outcome =
        given.ledger.execute::<Token>(COMPANY, Power::Operator, &someone("x"), request).await;
    assert_done(outcome);

    let given = given.reopened().await;
    // `sound_ledger` recomputes every hash; what follows is how, without the code under test.
    let events = sound_ledger(given.store().as_ref(), COMPANY).await;
    let [.., with_private, before, last] = &events[..] else { panic!("{}", events.len()) };
    let content = digest(&[&last.salt, last.payload.as_bytes(), b"\n", last.metadata.as_bytes()]);
    let part = given.store().private_parts(COMPANY, &[last.position]).await.expect("a part");
    let part = part[0].as_ref().expect("a part");
    let private = digest(&[&part.salt, part.data.as_bytes()]);
    let text = format!(
        r#"{{"aggregate_id":"{id}","aggregate_type":"token","company_id":"{COMPANY}","content":"{content}","event_type":"token.scopes_changed","event_version":"1","position":5,"previous":"{}","private":"{private}","recorded_at":"{}","sequence":2}}"#,
        hex::encode(before.entry_hash),
        last.recorded_at,
    );
    assert_eq!(entry_of(last, Some(before)).text(), text);
    assert_eq!(hex::encode(last.entry_hash), digest(&[&[0], text.as_bytes()]));
    assert!(entry_of(before, None).text().contains(r#""previous":null,"private":null"#));
    assert!(with_private.private_commitment.is_some());
    assert_eq!(before.private_commitment, None);
    let mut salts: Vec<_> = events.iter().map(|event| event.salt).collect();
    salts.sort_unstable();
    salts.dedup();
    assert_eq!(salts.len(), events.len(), "every event has a salt of its own");
}

fn digest(parts: &[&[u8]]) -> String {
    let hasher = parts.iter().fold(Sha256::new(), Sha256::chain_update);
    hex::encode(hasher.finalize())
}

/// Tries each of these and finds the ledger as it was.
pub async fn assert_refused<F: Fixture>(given: &Given<F>, statements: &[&str]) {
    let before: Vec<RecordedEvent> = sound_ledger(given.store().as_ref(), COMPANY).await;
    for sql in statements {
        let outcome = given.fixture.raw(sql).await;
        assert!(outcome.is_err(), "{sql} was carried out");
        assert_eq!(sound_ledger(given.store().as_ref(), COMPANY).await, before, "{sql}");
    }
}

pub async fn events_are_neither_changed_nor_deleted<F: Fixture>(fixture: F) {
    let given = Given::a_company(fixture).await;
    token(&given.ledger).await;
    let statements = [
        "UPDATE events SET payload = '{}'",
        "UPDATE events SET position = position + 10",
        "UPDATE events SET recorded_at = recorded_at WHERE position = 2",
        "DELETE FROM events",
        "DELETE FROM events WHERE position = 3",
    ];
    assert_refused(&given, &statements).await;
}

pub async fn an_erased_private_part_leaves_the_evidence_whole<F: Fixture>(fixture: F) {
    let given = Given::a_company(fixture).await;
    for text in ["to be erased", "to be kept"] {
        create_as(&given.ledger, &someone(text), create(text)).await;
    }
    let before = sound_ledger(given.store().as_ref(), COMPANY).await;
    given.fixture.raw("DELETE FROM event_private WHERE position = 3").await.expect("it is erased");
    assert_eq!(sound_ledger(given.store().as_ref(), COMPANY).await, before);
    let parts = given.store().private_parts(COMPANY, &[4, 3, 1]).await.expect("private parts");
    let reasons: Vec<_> =
        parts.iter().map(|part| part.as_ref().and_then(|part| part.part().reason)).collect();
    assert_eq!(reasons, [Some("to be kept".to_owned()), None, None], "in the order asked");
    let range = async |after, last| {
        let found = given.store().private_range(COMPANY, after, last).await.expect("a range");
        found.into_iter().map(|(position, part)| (position, part.part().reason)).collect::<Vec<_>>()
    };
    assert_eq!(range(2, 4).await, [(4, Some("to be kept".to_owned()))], "behind 2, up to 4");
    assert_eq!(range(4, 9).await, [], "nothing behind 4");
    assert!(range(0, 3).await.iter().all(|(position, _)| (1..3).contains(position)));
}
