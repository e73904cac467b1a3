//! What the read models answer, against plain loops over what the events come to.

#[allow(dead_code, reason = "every suite uses its part")]
mod support;

use proptest::option;
use proptest::prelude::{Strategy, any};
use proptest::sample::{select, subsequence};
use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use support::sqlite::SqliteFixture;
use support::{
    COMPANY, DAY, Fixture, Given, OTHERS, all_tokens, any_client, at, behind, client, create,
    create_key, digest, every_token, for_all, in_time, member, name, on_every_database, refresh,
    scopes, secret,
};
use token_ledger_domain::company::CompanyCommand;
use token_ledger_domain::event::EVENT_TYPES;
use token_ledger_domain::key::KeyCommand;
use token_ledger_domain::token::{Create, Token, TokenCommand};
use token_ledger_domain::{
    Actor, ActorType, CompanyId, KeyId, MemberId, PersonId, Power, Role, Timestamp, TokenId,
};
use token_ledger_event_store::sqlite::database::SEARCHES;
use token_ledger_event_store::{RecordedEvent, Request};
use token_ledger_projections::attempts::{Attempt, AttemptFilter, AttemptKind, Seen};
use token_ledger_projections::clients::ClientStatus;
use token_ledger_projections::index::Use;
use token_ledger_projections::people::Account;
use token_ledger_projections::read_models::{
    AuditRecord, DueTerm, Operation, Positions, TokenFilter, TokenPage, TokenRecord, TokenSort,
};
use token_ledger_projections::sql::Statement;
use token_ledger_projections::tokens::Status;
use token_ledger_projections::{People, ReadModels};
use uuid::Uuid;

on_every_database!(
    lists_of_tokens_are_filtered_sorted_and_paged,
    pages_hold_every_token_once_while_others_are_created,
    a_token_has_its_last_use_and_its_creator_s_name_until_erased,
    uses_never_go_back,
    the_audit_trail_is_filtered_and_paged,
    a_page_of_several_types_leaves_nothing_out_while_the_trail_goes_on,
    due_terms_are_those_that_ended_unrecorded,
    a_secret_leads_to_its_token_for_good,
    companies_are_found_by_their_exact_name_and_paged,
    members_clients_and_keys_are_paged,
    what_there_is_not_is_not_found,
    operations_come_back_as_they_were_saved,
    what_anybody_may_do_pushes_out_nothing_else,
    a_database_that_can_be_written_says_so,
    what_is_required_to_change_something_and_doesn_t_undoes_all,
);

const EVERYTHING: usize = usize::MAX >> 1;

/// When the tokens of [`a_mixed_company`] are looked at, unless a test wants another time.
const NOW: i64 = 3 * DAY;

/// As many searches as there may be go on.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_list_waits_for_the_searches_before_it_and_a_token_does_not() {
    let given = Given::<SqliteFixture>::a_company().await;
    let id = given.token(COMPANY, create("one")).await;
    let (begun, mut beginning) = tokio::sync::mpsc::unbounded_channel();
    let (go_on, held) = std::sync::mpsc::channel::<()>();
    let held = Arc::new(std::sync::Mutex::new(held));
    for _ in 0..SEARCHES {
        let database = Arc::clone(given.fixture.database());
        let (begun, held) = (begun.clone(), Arc::clone(&held));
        tokio::spawn(async move {
            let search = move |_: &rusqlite::Connection| {
                begun.send(()).expect("the test goes on");
                // It ends when the sender is gone.
                let _ = held.lock().map(|held| held.recv());
                Ok(())
            };
            database.search(search).await
        });
        in_time(beginning.recv()).await.expect("the search begins");
    }
    let (models, everything) = (given.fixture.models(), every_token(at(0)));
    let page =
        TokenPage { sort: TokenSort::CreatedAt, descending: false, after: None, limit: EVERYTHING };
    let mut list = Box::pin(models.tokens(COMPANY, &everything, &page));
    assert!(futures::poll!(&mut list).is_pending());
    assert!(in_time(models.token(COMPANY, id)).await.unwrap().is_some());
    drop(go_on);
    assert_eq!(in_time(list).await.unwrap().len(), 1);
}

// ---- beside the log ----

async fn what_anybody_may_do_pushes_out_nothing_else<F: Fixture>() {
    const KEPT: usize = 3;
    let given = Given::<F>::a_company().await;
    let (models, kind) = (given.fixture.models(), AttemptKind::Denied);
    let actor = Some(Actor { kind: ActorType::Key, id: Uuid::from_u128(7) });
    let attempt = |number: u32, actor, status| Attempt {
        at: at(i64::from(number)),
        attempt_id: Uuid::from_u128(number.into()),
        seen: Seen {
            company_id: COMPANY,
            kind,
            actor,
            method: "GET".to_owned(),
            route: "/v1/whoami".to_owned(),
            status,
            problem: None,
            request_id: None,
            ip: Some([192, 0, 2, 1].into()),
            user_agent: None,
        },
    };
    let known = (0..5).map(|number| attempt(number, actor, 403));
    let anybodys = (5..25).map(|number| match number % 3 {
        0 => attempt(number, actor, 401),
        1 => attempt(number, actor, 429),
        _ => attempt(number, None, 401),
    });
    let attempts: Vec<Attempt> = known.chain(anybodys).collect();
    models.add_attempts(&attempts, &BTreeMap::new()).await.unwrap();
    for _ in 0..2 {
        models.trim_attempts(COMPANY, kind, KEPT).await.unwrap();
    }
    let filter = AttemptFilter { kind, from: None, to: None, after: None };
    let left = models.attempts(COMPANY, &filter, EVERYTHING).await.unwrap();
    let expected: Vec<Attempt> = [24, 23, 22, 4, 3, 2].map(|n| attempts[n].clone()).into();
    assert_eq!(left, expected);
    let dropped = models.attempts_dropped(COMPANY, kind).await.unwrap();
    assert_eq!(dropped, (attempts.len() - left.len()) as u64);
}

// ---- tokens ----

/// The command that makes a client, whose secret is of these bits.
fn create_client(number: u128, bits: &str) -> CompanyCommand {
    CompanyCommand::CreateClient {
        client_id: client(number),
        name: name("Client"),
        scopes: scopes("employees"),
        secret: secret(bits),
    }
}

/// A company with tokens of every kind, many of which share a name, a time or a use.
async fn a_mixed_company<F: Fixture>() -> Given<F> {
    let given = Given::<F>::a_company().await;
    for number in 0..2 {
        given.tell_company(COMPANY, create_client(number, &format!("client {number}"))).await;
    }
    let names = [
        "Payroll",
        "payroll sync",
        "PAYROLL",
        "Ünicode",
        "ünicode",
        "100 %",
        "a_b",
        "a%b",
        "AxB",
        "Zebra",
        "zebra",
        "🔑 key",
        "it's",
        "\"); DROP",
        "Payroll",
    ];
    let bits =
        ["employees", "locations", "positions", "employees locations", "employees positions"];
    let mut uses = Vec::new();
    for number in 0..60_u8 {
        let of = usize::from(number);
        given.clock.set(at(i64::from(number / 4) * 10));
        let create = Create {
            name: name(names[of % names.len()]),
            scopes: scopes(bits[of % bits.len()]),
            validity_seconds: Some(
                [DAY, 2 * DAY, 7 * DAY, 60 + 10 * i64::from(number % 3)][of % 4],
            ),
            client_id: (number % 3 == 0).then(|| client(u128::from(number % 2))),
            ..create(&format!("secret {number}"))
        };
        let id = TokenId(given.new_id());
        let request = Request::new(id.0, TokenCommand::Create(create));
        given
            .ledger
            .execute::<Token>(COMPANY, Power::Operator, &member(u64::from(number % 3)), request)
            .await
            .expect("it is done");
        match number % 7 {
            0 => given.tell_token(COMPANY, id, TokenCommand::Delete).await,
            1 => given.tell_token(COMPANY, id, refresh(&format!("again {number}"), 60)).await,
            _ => {}
        }
        if number % 2 == 0 {
            uses.push(Use { at: at(i64::from(number % 5) * 100), ..a_use(id) });
        }
    }
    given.fixture.models().record_uses(&uses).await.expect("they are noted");
    // Some of what has ended is recorded; some is not.
    given.clock.set(at(DAY + 1000));
    for (number, record) in all_tokens(&given.fixture.models(), COMPANY).await.iter().enumerate() {
        if number % 2 == 0 {
            let id = record.row.token_id;
            given.tell_token(COMPANY, id, TokenCommand::Expire { term: 1 }).await;
        }
    }
    given.catch_up().await;
    given
}

fn token_filters() -> impl Strategy<Value = TokenFilter> {
    let statuses = vec![Status::Active, Status::Expired, Status::Deleted];
    let scope = select(vec!["employees", "positions", "employee", "employees positions", "", "%"]);
    let q = select(vec![
        "", "pay", "PAY", "Payroll", "%", "_", "a_b", "ü", "Ü", "🔑", "'", "\"", "zz", "EBR",
    ]);
    let times = select(vec![0, 60, DAY, DAY + 10, 2 * DAY, NOW, 10 * DAY]);
    (
        subsequence(statuses, 0..=3),
        option::weighted(0.3, scope),
        option::weighted(0.4, q),
        option::weighted(0.3, 0..4_u64),
        option::weighted(0.3, 0..3_u128),
        option::weighted(0.2, 0..80_u64),
        option::weighted(0.3, times.clone()),
        times,
    )
        .prop_map(
            |(status, scope, q, created_by, client_id, created_up_to, expires_before, now)| {
                TokenFilter {
                    status: status.into_iter().collect(),
                    scope: scope.map(str::to_owned),
                    q: q.map(str::to_owned),
                    created_by: created_by.map(|number| member(number).actor.id),
                    client_id: client_id.map(client),
                    created_up_to,
                    expires_before: expires_before.map(at),
                    now: at(now),
                }
            },
        )
}

fn sorts() -> impl Strategy<Value = TokenSort> {
    select(vec![TokenSort::CreatedAt, TokenSort::ExpiresAt, TokenSort::Name, TokenSort::LastUsedAt])
}

fn lets_through(filter: &TokenFilter, record: &TokenRecord) -> bool {
    let row = &record.row;
    let lower = |text: &str| text.to_lowercase();
    filter.status.contains(&row.status.at(filter.now, row.expires_at))
        && filter
            .scope
            .as_ref()
            .is_none_or(|scope| row.scopes.iter().any(|own| own.as_str() == scope))
        && filter.q.as_ref().is_none_or(|q| lower(row.name.as_str()).contains(&lower(q)))
        && filter.created_by.is_none_or(|id| row.created_by.id == id)
        && filter.client_id.is_none_or(|id| row.client_id == Some(id))
        && filter.created_up_to.is_none_or(|position| row.created_position <= position)
        && filter.expires_before.is_none_or(|time| row.expires_at < time)
}

fn order(sort: TokenSort, one: &TokenRecord, other: &TokenRecord) -> Ordering {
    let used = |record: &TokenRecord| record.last_used_at.unwrap_or(Timestamp::from_micros(0));
    match sort {
        TokenSort::CreatedAt => one.row.created_at.cmp(&other.row.created_at),
        TokenSort::ExpiresAt => one.row.expires_at.cmp(&other.row.expires_at),
        TokenSort::Name => one.row.name.as_str().chars().cmp(other.row.name.as_str().chars()),
        TokenSort::LastUsedAt => used(one).cmp(&used(other)),
    }
    .then(one.row.token_id.cmp(&other.row.token_id))
}

/// A list, page by page.
async fn paged(
    models: &ReadModels,
    filter: &TokenFilter,
    sort: TokenSort,
    descending: bool,
    limit: usize,
) -> Vec<TokenRecord> {
    let mut list: Vec<TokenRecord> = Vec::new();
    loop {
        let after = list.last().map(|last| behind(last, sort));
        let page = TokenPage { sort, descending, after, limit };
        let found = models.tokens(COMPANY, filter, &page).await.expect("a page");
        assert!(found.len() <= limit);
        let is_last = found.len() < limit;
        list.extend(found);
        assert!(list.len() < 1000, "the pages have no end");
        if is_last {
            return list;
        }
    }
}

async fn lists_of_tokens_are_filtered_sorted_and_paged<F: Fixture>() {
    let given = a_mixed_company::<F>().await;
    let models = given.fixture.models();
    let everything = all_tokens(&models, COMPANY).await;
    let folded = given.fold(COMPANY).await;
    let expected: Vec<_> = folded.tokens.values().map(|(_, row)| row.clone()).collect();
    assert_eq!(support::rows(everything.clone()), expected);
    for status in [Status::Active, Status::Expired, Status::Deleted] {
        let some = everything.iter().filter(|record| record.row.status == status).count();
        assert!(some > 3, "{status:?} is among them");
    }
    let values = (token_filters(), sorts(), any::<bool>(), 1..70_usize);
    for_all(400, &values, async |(filter, sort, descending, limit)| {
        let mut expected: Vec<TokenRecord> =
            everything.iter().filter(|record| lets_through(&filter, record)).cloned().collect();
        expected.sort_by(|one, other| order(sort, one, other));
        if descending {
            expected.reverse();
        }
        let count = models.count_tokens(COMPANY, &filter).await.expect("a count");
        assert_eq!(count, expected.len() as u64);
        assert_eq!(paged(&models, &filter, sort, descending, limit).await, expected);
        let few = models.few_tokens(COMPANY, &filter, limit).await.expect("an answer");
        assert_eq!(few.is_some(), expected.len() <= limit);
        let few = few.unwrap_or_default();
        let page = TokenPage { sort, descending, after: None, limit: 5 };
        let first = models.tokens_among(COMPANY, &few, &page).await.expect("a page");
        let shown = if few.is_empty() { 0 } else { expected.len().min(5) };
        assert_eq!(first, expected[..shown]);
        assert_eq!(models.count_tokens(OTHERS[0], &filter).await.expect("a count"), 0);
    });
}

async fn pages_hold_every_token_once_while_others_are_created<F: Fixture>() {
    let given = a_mixed_company::<F>().await;
    let models = given.fixture.models();
    let filter = every_token(at(NOW));
    let mut number = 0;
    for sort in [TokenSort::CreatedAt, TokenSort::ExpiresAt, TokenSort::Name, TokenSort::LastUsedAt]
    {
        for descending in [false, true] {
            let mut expected = all_tokens(&models, COMPANY).await;
            expected.sort_by(|one, other| order(sort, one, other));
            if descending {
                expected.reverse();
            }
            let mut seen: Vec<TokenRecord> = Vec::new();
            loop {
                let after = seen.last().map(|last| behind(last, sort));
                let page = TokenPage { sort, descending, after, limit: 7 };
                let found = models.tokens(COMPANY, &filter, &page).await.expect("a page");
                if found.is_empty() {
                    break;
                }
                seen.extend(found);
                if number % 40 < 20 {
                    let new = name(["A new one", "it's new", "Zzz"][number % 3]);
                    let text = format!("new {number}");
                    given.token(COMPANY, Create { name: new, ..create(&text) }).await;
                }
                number += 1;
            }
            let ids: BTreeSet<TokenId> = seen.iter().map(|record| record.row.token_id).collect();
            assert_eq!(ids.len(), seen.len(), "none comes twice");
            let before: BTreeSet<TokenId> =
                expected.iter().map(|record| record.row.token_id).collect();
            seen.retain(|record| before.contains(&record.row.token_id));
            assert_eq!(seen, expected, "{sort:?}, descending: {descending}");
        }
    }
}

async fn a_token_has_its_last_use_and_its_creator_s_name_until_erased<F: Fixture>() {
    let given = Given::<F>::a_company().await;
    let models = given.fixture.models();
    let token = given.token(COMPANY, create("token")).await;
    let key = given.key(COMPANY, "key").await;
    let record = models.token(COMPANY, token).await.expect("an answer").expect("a token");
    assert_eq!(record.created_by_name.as_deref(), Some("Member 0"));
    assert_eq!(record.last_used_at, None);
    models.record_uses(&[Use { at: at(5), ..a_use(token) }]).await.expect("it is noted");
    given.fixture.raw("DELETE FROM event_private".to_owned()).await;
    let after = models.token(COMPANY, token).await.expect("an answer").expect("a token");
    let expected = TokenRecord {
        created_by_name: None,
        last_used_at: Some(at(5)),
        last_used_from: Some("192.0.2.1".to_owned()),
        ..record.clone()
    };
    assert_eq!(after, expected);
    assert_eq!(all_tokens(&models, COMPANY).await, [expected]);
    let key = models.key(COMPANY, key).await.expect("an answer").expect("a key");
    assert_eq!(key.created_by_name, None);
}

/// A use at the beginning of time.
fn a_use(token_id: TokenId) -> Use {
    let from = Some(IpAddr::from([192, 0, 2, 1]));
    Use { company_id: COMPANY, token_id, at: at(0), from }
}

/// An address of its own for each second, and none for the odd ones.
fn from(second: i64) -> Option<IpAddr> {
    let number = u8::try_from(second).ok().filter(|number| number % 2 == 0)?;
    Some(IpAddr::from([192, 0, 2, number]))
}

async fn uses_never_go_back<F: Fixture>() {
    let given = Given::<F>::a_company().await;
    let models = given.fixture.models();
    let token = given.token(COMPANY, create("token")).await;
    let other = given.token(COMPANY, create("other")).await;
    for (uses, expected) in [
        (vec![], None),
        (vec![10], Some(10)),
        (vec![9], Some(10)),
        (vec![11, 30, 20], Some(30)),
        (vec![-5], Some(30)),
        (vec![31], Some(31)),
    ] {
        let noted = |second| Use { at: at(second), from: from(second), ..a_use(token) };
        let uses: Vec<Use> = uses.into_iter().map(noted).collect();
        models.record_uses(&uses).await.expect("they are noted");
        let record = models.token(COMPANY, token).await.expect("an answer").expect("a token");
        assert_eq!(record.last_used_at, expected.map(at));
        let last_from = expected.and_then(from).map(|from| from.to_string());
        assert_eq!(record.last_used_from, last_from);
    }
    let other = models.token(COMPANY, other).await.expect("an answer").expect("a token");
    assert_eq!(other.last_used_at, None);
    given.assert_sound().await;
}

// ---- the audit trail ----

fn audit_filters(tokens: Vec<TokenId>, head: u64) -> impl Strategy<Value = Positions> {
    let types: Vec<&str> =
        EVENT_TYPES.iter().map(|(name, _)| *name).chain(["token.unknown"]).collect();
    (
        option::weighted(0.4, select(tokens)),
        option::weighted(0.5, subsequence(types, 1..6)),
        option::weighted(0.4, 0..4_u64),
        option::weighted(0.4, 0..=head + 1),
        option::weighted(0.4, 0..=head + 1),
        any::<bool>(),
    )
        .prop_map(|(token_id, types, actor, after, before, descending)| Positions {
            token_id,
            types: types.unwrap_or_default().into_iter().map(str::to_owned).collect(),
            actor_id: actor.map(|number| member(number).actor.id),
            after_position: after.unwrap_or(0),
            before_position: before,
            descending,
        })
}

fn shows(filter: &Positions, event: &RecordedEvent) -> bool {
    let actor = event.metadata().expect("metadata").actor;
    filter.token_id.is_none_or(|token| event.stream == token.into())
        && (filter.types.is_empty() || filter.types.contains(&event.event_type))
        && filter.actor_id.is_none_or(|id| actor.id == id)
        && event.position > filter.after_position
        && filter.before_position.is_none_or(|before| event.position < before)
}

async fn the_audit_trail_is_filtered_and_paged<F: Fixture>() {
    let given = a_mixed_company::<F>().await;
    given.register(OTHERS[0]).await;
    given.catch_up().await;
    let models = given.fixture.models();
    let events = given.events(COMPANY).await;
    let positions: Vec<u64> = events.iter().map(|event| event.position).collect();
    let store = given.fixture.store();
    let parts = store.private_parts(COMPANY, &positions).await.expect("private parts");
    let trail: Vec<AuditRecord> = events
        .into_iter()
        .zip(parts)
        .map(|(event, part)| AuditRecord { event, private: part.map(|part| part.part()) })
        .collect();
    let mut tokens: Vec<TokenId> = given.fold(COMPANY).await.tokens.into_keys().collect();
    tokens.push(TokenId(given.new_id()));
    let values = (audit_filters(tokens, trail.len() as u64), 1..40_usize);
    for_all(400, &values, async |(filter, limit)| {
        let mut expected: Vec<AuditRecord> =
            trail.iter().filter(|record| shows(&filter, &record.event)).cloned().collect();
        if filter.descending {
            expected.reverse();
        }
        let mut found: Vec<AuditRecord> = Vec::new();
        let mut page = filter.clone();
        loop {
            let next = models.audit(COMPANY, &page, limit).await.expect("a page");
            assert!(next.len() <= limit);
            let Some(last) = next.last().map(|record| record.event.position) else { break };
            found.extend(next);
            assert!(found.len() <= trail.len(), "the pages have no end");
            if filter.descending {
                page.before_position = Some(last);
            } else {
                page.after_position = last;
            }
        }
        assert_eq!(found, expected);
        let mut days = BTreeMap::new();
        for record in expected {
            let day = record.event.recorded_at.as_seconds().div_euclid(DAY) * DAY;
            *days.entry(day).or_insert(0) += 1;
        }
        let counted = models.audit_days(COMPANY, &filter).await.expect("days");
        let counted: BTreeMap<i64, u64> =
            counted.iter().map(|day| (day.begins.as_seconds(), day.events)).collect();
        assert_eq!(counted, days);
    });
}

/// Every other event is of the one type, the others are of the other one.
async fn a_page_of_several_types_leaves_nothing_out_while_the_trail_goes_on<F>()
where
    F: Fixture + Send + Sync + 'static,
{
    const PAIRS: u32 = 150;
    let given = Given::<F>::a_company().await;
    let begins = given.head(COMPANY).await;
    let models = given.fixture.models();
    let filter = Positions {
        types: ["token.created", "token.deleted"].map(str::to_owned).into(),
        descending: true,
        ..Positions::default()
    };
    let goes_on = tokio::spawn(async move {
        for number in 0..PAIRS {
            let token = given.token(COMPANY, create(&format!("token {number}"))).await;
            given.catch_up().await;
            given.tell_token(COMPANY, token, TokenCommand::Delete).await;
            given.catch_up().await;
        }
        given
    });
    let mut newest = begins;
    while newest < begins + 2 * u64::from(PAIRS) {
        let is_over = goes_on.is_finished();
        let page = models.audit(COMPANY, &filter, EVERYTHING).await.expect("a page");
        let found: Vec<u64> = page.iter().map(|record| record.event.position).collect();
        newest = found.first().copied().unwrap_or(begins);
        assert_eq!(found, (begins + 1..=newest).rev().collect::<Vec<_>>());
        assert!(!is_over || newest == begins + 2 * u64::from(PAIRS), "it goes on to the end");
    }
    goes_on.await.expect("it goes on").assert_sound().await;
}

// ---- due terms ----

async fn due_terms_are_those_that_ended_unrecorded<F: Fixture>() {
    let given = a_mixed_company::<F>().await;
    given.clock.set(at(DAY + 1000));
    given.register(OTHERS[0]).await;
    given.token(OTHERS[0], create("another company's")).await;
    given.key(OTHERS[0], "another company's key").await;
    given.key(COMPANY, "key").await;
    let models = given.fixture.models();
    let folded = [given.fold(COMPANY).await, given.fold(OTHERS[0]).await];
    for now in [0, 60, DAY, 2 * DAY, 8 * DAY, 8 * DAY + 1000, 91 * DAY + 1000] {
        let now = at(now);
        let tokens = folded.iter().flat_map(|folded| folded.tokens.values()).map(|(_, row)| {
            let term = DueTerm { company_id: row.company_id, id: row.token_id.0, term: row.term };
            (row.status, row.expires_at, term)
        });
        let found = models.due_tokens(now, EVERYTHING).await.expect("due tokens");
        let few = models.due_tokens(now, 3).await.expect("due tokens");
        assert_due(tokens.collect(), now, &found, &few);
        let keys = folded.iter().flat_map(|folded| folded.keys.values()).map(|(_, row)| {
            let term = DueTerm { company_id: row.company_id, id: row.key_id.0, term: row.term };
            (row.status, row.expires_at, term)
        });
        let found = models.due_keys(now, EVERYTHING).await.expect("due keys");
        let few = models.due_keys(now, 3).await.expect("due keys");
        assert_due(keys.collect(), now, &found, &few);
    }
}

fn assert_due(
    terms: Vec<(Status, Timestamp, DueTerm)>,
    now: Timestamp,
    found: &[DueTerm],
    few: &[DueTerm],
) {
    let ends: BTreeMap<Uuid, (Timestamp, DueTerm)> = terms
        .into_iter()
        .filter(|(status, end, _)| *status == Status::Active && *end <= now)
        .map(|(_, end, term)| (term.id, (end, term)))
        .collect();
    assert_eq!(found.len(), ends.len());
    assert!(found.iter().all(|term| ends.get(&term.id).is_some_and(|(_, own)| own == term)));
    assert!(found.is_sorted_by_key(|term| ends[&term.id].0), "the longest due come first");
    let times = |terms: &[DueTerm]| terms.iter().map(|term| ends[&term.id].0).collect::<Vec<_>>();
    assert_eq!(times(few), times(&found[..found.len().min(3)]));
}

// ---- secrets ----

async fn a_secret_leads_to_its_token_for_good<F: Fixture>() {
    let given = Given::<F>::a_company().await;
    given.register(OTHERS[0]).await;
    let plain = given.token(COMPANY, create("plain")).await;
    let graced = given.token(COMPANY, create("graced 1")).await;
    for term in 2..=4 {
        given.tell_token(COMPANY, graced, refresh(&format!("graced {term}"), 60)).await;
    }
    let at_once = given.token(COMPANY, create("at once 1")).await;
    given.tell_token(COMPANY, at_once, refresh("at once 2", 0)).await;
    let stopped = given.token(COMPANY, create("stopped 1")).await;
    given.tell_token(COMPANY, stopped, refresh("stopped 2", 60)).await;
    given.tell_token(COMPANY, stopped, TokenCommand::EndGrace).await;
    let deleted = given.token(COMPANY, create("deleted 1")).await;
    given.tell_token(COMPANY, deleted, refresh("deleted 2", 60)).await;
    given.tell_token(COMPANY, deleted, TokenCommand::Delete).await;
    given.key(COMPANY, "key").await;
    let models = given.fixture.models();
    for (text, owner) in [
        ("plain", Some(plain)),
        ("graced 1", Some(graced)),
        ("graced 2", Some(graced)),
        ("graced 3", Some(graced)),
        ("graced 4", Some(graced)),
        ("at once 1", Some(at_once)),
        ("at once 2", Some(at_once)),
        ("stopped 1", Some(stopped)),
        ("stopped 2", Some(stopped)),
        ("deleted 1", Some(deleted)),
        ("deleted 2", Some(deleted)),
        ("key", None),
        ("never", None),
    ] {
        let found = models.token_of_secret(COMPANY, digest(text)).await.expect("an answer");
        assert_eq!(found, owner, "{text}");
        let elsewhere = models.token_of_secret(OTHERS[0], digest(text)).await.expect("an answer");
        assert_eq!(elsewhere, None, "{text}");
    }
}

// ---- companies and what they have ----

async fn companies_are_found_by_their_exact_name_and_paged<F: Fixture>() {
    let given = Given::<F>::nothing().await;
    let models = given.fixture.models();
    let ids: Vec<CompanyId> = (1..=7).map(|number| CompanyId(Uuid::from_u128(number))).collect();
    let names = ["Acme", "acme", "Acme", "Acme ", "Ácme", "Acme", "A%"];
    for (id, text) in ids.iter().zip(names).rev() {
        given.tell_company(*id, CompanyCommand::Register { name: name(text) }).await;
    }
    let found = |rows: Vec<token_ledger_projections::companies::CompanyRow>| {
        rows.into_iter().map(|row| row.company_id).collect::<Vec<_>>()
    };
    for (text, expected) in [
        ("Acme", vec![ids[0], ids[2], ids[5]]),
        ("acme", vec![ids[1]]),
        ("Acme ", vec![ids[3]]),
        ("A%", vec![ids[6]]),
        ("ACME", vec![]),
        ("", vec![]),
    ] {
        assert_eq!(found(models.companies_named(text).await.expect("companies")), expected);
    }
    let mut paged = Vec::new();
    loop {
        let page = models.companies(paged.last().copied(), 3).await.expect("a page");
        if page.is_empty() {
            break;
        }
        paged.extend(found(page));
    }
    assert_eq!(paged, ids);
}

async fn members_clients_and_keys_are_paged<F: Fixture>() {
    let given = Given::<F>::a_company().await;
    given.register(OTHERS[0]).await;
    for company in [COMPANY, OTHERS[0]] {
        for number in [3, 1, 5, 2, 4_u128] {
            given
                .tell_company(
                    company,
                    CompanyCommand::AddMember {
                        member_id: MemberId(Uuid::from_u128(number)),
                        person_id: PersonId(Uuid::from_u128(0xE000 + number)),
                        role: Role::SuperAdmin,
                        platform: false,
                    },
                )
                .await;
            let bits = format!("client {number} of {company}");
            given.tell_company(company, create_client(number, &bits)).await;
            let key = KeyId(Uuid::from_u128(number));
            given.tell_key(company, key, create_key(&format!("key {number} of {company}"))).await;
        }
    }
    given
        .tell_company(
            COMPANY,
            CompanyCommand::RemoveMember { member_id: MemberId(Uuid::from_u128(3)) },
        )
        .await;
    given.tell_company(COMPANY, CompanyCommand::DeleteClient { client_id: client(3) }).await;
    given.tell_key(COMPANY, KeyId(Uuid::from_u128(3)), KeyCommand::Delete).await;
    let models = given.fixture.models();
    let folded = given.fold(COMPANY).await;

    let mut members = Vec::new();
    let mut clients = Vec::new();
    let mut keys = Vec::new();
    for _ in 0..3 {
        let after = members
            .last()
            .map(|row: &token_ledger_projections::members::MemberRow| row.member_id.0);
        members.extend(models.members(COMPANY, after, 2).await.expect("a page"));
        let after =
            clients.last().map(|row: &token_ledger_projections::clients::ClientRow| row.client_id);
        clients.extend(models.clients(COMPANY, &any_client(), after, 2).await.expect("a page"));
        let after = keys.last().map(|row: &token_ledger_projections::keys::KeyRow| row.key_id);
        let page = models.keys(COMPANY, after, 2).await.expect("a page");
        keys.extend(page.into_iter().map(|record| record.row));
    }
    assert_eq!(members.len(), 4, "a removed member is gone");
    assert_eq!(members, folded.members.into_values().collect::<Vec<_>>());
    assert_eq!(clients.len(), 5, "a deleted client stays to be seen");
    for (status, ids) in [(ClientStatus::Active, vec![2, 4, 5]), (ClientStatus::Deleted, vec![3])] {
        let after = Some(client(1));
        let some = models.clients(COMPANY, &BTreeSet::from([status]), after, 9).await;
        let found: Vec<_> = some.expect("a page").iter().map(|row| row.client_id).collect();
        assert_eq!(found, ids.into_iter().map(client).collect::<Vec<_>>());
    }
    assert_eq!(clients, folded.clients.into_values().collect::<Vec<_>>());
    assert_eq!(keys.len(), 5);
    assert_eq!(keys, folded.keys.into_values().rev().map(|(_, row)| row).collect::<Vec<_>>());
}

async fn what_there_is_not_is_not_found<F: Fixture>() {
    let given = Given::<F>::a_company().await;
    given.register(OTHERS[0]).await;
    let token = given.token(COMPANY, create("token")).await;
    let key = given.key(COMPANY, "key").await;
    let models = given.fixture.models();
    assert_eq!(models.token(OTHERS[0], token).await.expect("an answer"), None);
    assert_eq!(models.token(COMPANY, TokenId(key.0)).await.expect("an answer"), None);
    assert_eq!(models.key(OTHERS[0], key).await.expect("an answer"), None);
    assert_eq!(models.key(COMPANY, KeyId(token.0)).await.expect("an answer"), None);
    assert_eq!(models.company(OTHERS[1]).await.expect("an answer"), None);
    assert!(models.company(OTHERS[0]).await.expect("an answer").is_some());
}

// ---- the tables beside the log ----

async fn operations_come_back_as_they_were_saved<F: Fixture>() {
    let given = Given::<F>::a_company().await;
    let models = given.fixture.models();
    let begun = |number: u128, company_id| Operation {
        company_id,
        operation_id: Uuid::from_u128(number),
        request: r#"{"action":"delete","reason":"it's \"urgent\""}"#.to_owned(),
        state: "running".to_owned(),
        matched: 0,
        done: 0,
        started_at: at(0),
        finished_at: None,
    };
    let (one, other) = (begun(2, COMPANY), begun(1, OTHERS[0]));
    for operation in [&one, &other] {
        models.save_operation(operation).await.expect("it is saved");
    }
    let found = models.operation(COMPANY, one.operation_id).await.expect("an answer");
    assert_eq!(found.as_ref(), Some(&one));
    assert_eq!(models.operation(OTHERS[0], one.operation_id).await.expect("an answer"), None);
    let open = models.open_operations().await.expect("operations");
    assert_eq!(open, [other.clone(), one.clone()]);

    let going = Operation { matched: 1_000_000, done: 999_999, ..one.clone() };
    models.save_operation(&going).await.expect("it is saved");
    assert_eq!(models.open_operations().await.expect("operations"), [other.clone(), going.clone()]);
    let done = Operation { state: "done".to_owned(), finished_at: Some(at(60)), ..going };
    models.save_operation(&done).await.expect("it is saved");
    let open = vec![other.clone()];
    assert_eq!(models.open_operations().await.expect("operations"), open);
    models.forget_operation(COMPANY, other.operation_id).await.expect("that of nobody");
    assert_eq!(models.open_operations().await.expect("operations"), open);
    models.forget_operation(OTHERS[0], other.operation_id).await.expect("it is forgotten");
    assert_eq!(models.open_operations().await.expect("operations"), []);

    drop(models);
    let given = given.reopened().await;
    let models = given.fixture.models();
    let found = models.operation(COMPANY, one.operation_id).await.expect("an answer");
    assert_eq!(found, Some(done));
}

async fn a_database_that_can_be_written_says_so<F: Fixture>() {
    let given = Given::<F>::a_company().await;
    let models = given.fixture.models();
    models.probe().await.expect("it can be written");
    given.assert_sound().await;
    assert_eq!(given.head(COMPANY).await, 2, "and nothing was written");
}

async fn what_is_required_to_change_something_and_doesn_t_undoes_all<F: Fixture>() {
    let given = Given::<F>::nothing().await;
    let sql = given.fixture.sql();
    let people = People::new(sql.clone());
    let account = |number: u128, email: &str| Account {
        person_id: PersonId(Uuid::from_u128(number)),
        email: email.to_owned(),
        name: None,
        password_hash: None,
        vouched_by: None,
    };
    for saved in [account(1, "ada@example.com"), account(2, "bob@example.com")] {
        people.make_account(&saved, at(0)).await.expect("it is saved");
    }
    let take = |email: &str| {
        Statement::new("DELETE FROM accounts WHERE company_id = ?1 AND email = ?2")
            .with(CompanyId::PLATFORM)
            .with(email.to_owned())
    };
    let both = vec![take("bob@example.com"), take("ada@example.com").required()];
    assert!(sql.transact(both.clone()).await.expect("an answer"));
    assert_eq!(people.account("bob@example.com").await.expect("an answer"), None);

    people.make_account(&account(2, "bob@example.com"), at(0)).await.expect("it is saved");
    assert!(!sql.transact(both).await.expect("an answer"), "it can be taken once");
    let found = people.account("bob@example.com").await.expect("an answer");
    assert_eq!(found, Some(account(2, "bob@example.com")), "nothing was done");
    assert!(sql.transact(vec![take("nobody@example.com")]).await.expect("an answer"));
}
