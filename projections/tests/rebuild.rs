//! Rebuilding: what differs from the events is found, described and put right, whoever writes
//! meanwhile.

#[allow(dead_code, reason = "every suite uses its part")]
mod support;

use std::sync::Arc;
use support::{
    COMPANY, DAY, Fixture, Given, OTHERS, all_tokens, at, client, create, digest, member, name,
    on_every_database, refresh, rows, scopes, secret, uuid_of_a_scratch_file, whole_trail,
};
use token_ledger_domain::company::CompanyCommand;
use token_ledger_domain::key::KeyCommand;
use token_ledger_domain::policy::Policy;
use token_ledger_domain::token::{Create, Token, TokenCommand};
use token_ledger_domain::{MemberId, PersonId, Power, Role, TokenId};
use token_ledger_event_store::{Entropy, Ledger, Request, StoreError, SystemEntropy};
use token_ledger_projections::rebuild::{ALL, Difference, Outcome, Plan, RANGE, RebuildError};
use uuid::Uuid;

on_every_database!(
    every_changed_column_is_found_and_put_right,
    deleted_rows_are_found_and_put_right,
    inserted_rows_are_found_and_removed,
    rows_that_cannot_be_read_are_found_and_put_right,
    differences_are_found_in_every_range,
    other_companies_and_projections_are_left_alone,
    differences_say_what_is_and_what_should_be,
    nothing_differs_while_writers_write,
    what_is_written_while_events_are_read_is_taken_in,
    a_trail_that_is_behind_does_not_differ,
    what_was_not_due_when_events_were_read_is_compared_once_it_is,
    every_event_of_a_trail_that_goes_on_is_compared_or_told_to_be_behind,
    a_merge_brings_the_trail_to_the_end_of_the_log,
    a_row_ahead_of_the_trail_is_put_right_and_holds_nothing_up,
    rows_with_the_least_keys_are_found_and_removed,
    nothing_is_rebuilt_where_an_event_is_missing,
    a_checkpoint_that_claims_too_much_is_put_right,
    a_checkpoint_that_cannot_be_read_is_put_right,
    one_row_that_cannot_be_read_keeps_no_other_from_being_good,
    an_unknown_projection_is_named_and_leaves_nothing_behind,
    a_merge_puts_the_answers_right_too,
);

/// A company with a row in every projection, and a value in every column of them.
async fn every_column<F: Fixture>() -> Given<F> {
    let given = Given::<F>::a_company().await;
    let policy = Policy { max_validity_seconds: 30 * DAY, ..Policy::default() };
    given.tell_company(COMPANY, CompanyCommand::ChangePolicy { policy }).await;
    given.tell_company(COMPANY, add_member(1)).await;
    given
        .tell_company(
            COMPANY,
            CompanyCommand::CreateClient {
                client_id: client(1),
                name: name("Client"),
                scopes: scopes("employees"),
                secret: secret("client"),
            },
        )
        .await;
    given
        .tell_company(
            COMPANY,
            CompanyCommand::RotateClient {
                client_id: client(1),
                secret: secret("client again"),
                grace_seconds: DAY,
            },
        )
        .await;
    let with_client = Create { client_id: Some(client(1)), ..create("token") };
    let token = given.token(COMPANY, with_client).await;
    given.tell_token(COMPANY, token, refresh("token again", DAY)).await;
    given.tell_token(COMPANY, token, TokenCommand::Delete).await;
    given.tell_company(COMPANY, CompanyCommand::DeleteClient { client_id: client(1) }).await;
    let key = given.key(COMPANY, "key").await;
    given
        .tell_key(
            COMPANY,
            key,
            KeyCommand::Refresh {
                secret: secret("key again"),
                validity_seconds: None,
                grace_seconds: DAY,
                shown: None,
            },
        )
        .await;
    given.tell_key(COMPANY, key, KeyCommand::Delete).await;
    given.catch_up().await;
    given.assert_sound().await;
    given
}

fn add_member(number: u128) -> CompanyCommand {
    CompanyCommand::AddMember {
        member_id: MemberId(Uuid::from_u128(0xD000 + number)),
        person_id: PersonId(Uuid::from_u128(0xE000 + number)),
        role: Role::SuperAdmin,
        platform: false,
    }
}

/// A value that the column could hold but doesn't in [`every_column`], as SQL.
fn another_value<F: Fixture>(projection: &str, column: &str) -> String {
    match (projection, column) {
        (_, "company_id") => F::blob(OTHERS[1].0.as_bytes()),
        ("keys", "scopes") => "'ledger.audit'".to_owned(),
        (_, "scopes") => "'locations'".to_owned(),
        (_, "name" | "hint") => "'Another'".to_owned(),
        (_, "status") => "'active'".to_owned(),
        (_, "role") => "'auditor'".to_owned(),
        (_, "digest" | "previous_digest") => F::blob(&digest("another").0),
        (_, "policy") => format!("'{}'", serde_json::to_string(&Policy::default()).expect("JSON")),
        (_, "aggregate_type") => "'key'".to_owned(),
        (_, "event_type") => "'token.expired'".to_owned(),
        (_, "actor_type" | "created_by_type") => "'system'".to_owned(),
        (_, "oauth_app_enabled") => "0".to_owned(),
        ("audit", "position") => "999".to_owned(),
        (_, id) if id.ends_with("_id") => F::blob(Uuid::from_u128(0xFFFF).as_bytes()),
        // Numbers and times.
        (_, number) => format!("{number} + 1"),
    }
}

/// One row of the company in a projection's table.
fn one_row<F: Fixture>(given: &Given<F>, projection: &str) -> String {
    let table = given.fixture.table(projection);
    let company = F::blob(COMPANY.0.as_bytes());
    let (name, key) = (table.name, table.key);
    format!(
        "company_id = {company} AND {key} = \
         (SELECT {key} FROM {name} WHERE company_id = {company} ORDER BY {key} LIMIT 1)"
    )
}

/// A check finds that many differences, twice; the merge finds the same and puts them right.
async fn assert_found_and_put_right<F: Fixture>(
    given: &Given<F>,
    projection: &'static str,
    expected: usize,
) -> Vec<Difference> {
    let checked = given.rebuild(&[projection], false).await;
    assert_eq!(checked.differences, expected as u64, "{projection}: {:#?}", checked.examples);
    assert_eq!(checked.examples.len(), expected);
    for difference in &checked.examples {
        assert_eq!(difference.projection, projection);
    }
    assert_eq!(given.rebuild(&[projection], false).await, checked, "a check changes nothing");
    assert_eq!(given.rebuild(&[projection], true).await, checked, "a merge finds the same");
    let left = given.rebuild(&[projection], false).await;
    assert_eq!(left.differences, 0, "{projection}: {:#?}", left.examples);
    checked.examples
}

async fn every_changed_column_is_found_and_put_right<F: Fixture>() {
    let given = every_column::<F>().await;
    for projection in ALL {
        let table = given.fixture.table(projection);
        for column in table.columns {
            let value = another_value::<F>(projection, column);
            let row = one_row(&given, projection);
            let sql = format!("UPDATE {} SET {column} = {value} WHERE {row}", table.name);
            assert_eq!(given.fixture.raw(sql).await, 1, "{projection}.{column}");
            // A row under another key is one too many, and one is missing.
            let moved = *column == "company_id" || *column == table.key;
            assert_found_and_put_right(&given, projection, if moved { 2 } else { 1 }).await;
        }
    }
    given.assert_sound().await;
    given.assert_rows_are_the_fold().await;
}

async fn deleted_rows_are_found_and_put_right<F: Fixture>() {
    let given = every_column::<F>().await;
    let trail = whole_trail(&given.fixture.models(), COMPANY).await;
    for projection in ALL {
        let sql = format!("DELETE FROM {}", given.fixture.table(projection).name);
        let deleted = given.fixture.raw(sql).await;
        assert!(deleted > 0, "{projection} has rows");
        for difference in assert_found_and_put_right(&given, projection, deleted).await {
            assert_eq!((difference.company, &difference.live), (COMPANY, &None));
            assert!(difference.rebuilt.is_some());
        }
    }
    given.assert_rows_are_the_fold().await;
    assert_eq!(whole_trail(&given.fixture.models(), COMPANY).await, trail);
}

async fn inserted_rows_are_found_and_removed<F: Fixture>() {
    let given = every_column::<F>().await;
    for projection in ALL {
        let table = given.fixture.table(projection);
        let copy = |changed: &str| {
            let columns = table.columns.join(", ");
            let values: Vec<String> = table
                .columns
                .iter()
                .map(|column| {
                    if *column == changed {
                        another_value::<F>(projection, column)
                    } else {
                        (*column).to_owned()
                    }
                })
                .collect();
            let (name, row) = (table.name, one_row(&given, projection));
            let values = values.join(", ");
            format!("INSERT INTO {name} ({columns}) SELECT {values} FROM {name} WHERE {row}")
        };
        assert_eq!(given.fixture.raw(copy(table.key)).await, 1);
        for difference in assert_found_and_put_right(&given, projection, 1).await {
            assert_eq!(difference.rebuilt, None);
        }
        // Of a company that has no ledger.
        assert_eq!(given.fixture.raw(copy("company_id")).await, 1);
        for difference in assert_found_and_put_right(&given, projection, 1).await {
            assert_eq!((difference.company, difference.rebuilt), (OTHERS[1], None));
        }
    }
    given.assert_rows_are_the_fold().await;
}

async fn rows_that_cannot_be_read_are_found_and_put_right<F: Fixture>() {
    let given = every_column::<F>().await;
    for (projection, nonsense) in [
        ("companies", "policy = '{}'"),
        ("members", "role = 'owner'"),
        ("clients", "name = ''"),
        ("keys", "scopes = 'ledger.all'"),
        ("tokens", "status = 'lost'"),
        ("audit", "aggregate_type = 'secret'"),
    ] {
        let row = one_row(&given, projection);
        let name = given.fixture.table(projection).name;
        let sql = format!("UPDATE {name} SET {nonsense} WHERE {row}");
        assert_eq!(given.fixture.raw(sql).await, 1);
        assert_found_and_put_right(&given, projection, 1).await;
    }
    given.assert_rows_are_the_fold().await;
}

/// More rows than are compared in one transaction, with differences at and around the seams.
async fn differences_are_found_in_every_range<F: Fixture>() {
    const TOKENS: u32 = 4_100;
    let given = Given::<F>::a_company().await;
    given.tokens(COMPANY, 0..TOKENS).await;
    let before = all_tokens(&given.fixture.models(), COMPANY).await;
    assert_eq!(before.len(), TOKENS as usize);
    let places = [0, 1, 1_998, 1_999, 2_000, 2_001, 3_998, 3_999, 4_000, 4_099];
    let mut expected = Vec::new();
    for (number, place) in places.into_iter().enumerate() {
        let id = before[place].row.token_id;
        expected.push(format!("{:?}", id.0));
        let literal = F::blob(id.0.as_bytes());
        let sql = if number % 2 == 0 {
            format!("DELETE FROM tokens WHERE token_id = {literal}")
        } else {
            format!("UPDATE tokens SET term = 7 WHERE token_id = {literal}")
        };
        assert_eq!(given.fixture.raw(sql).await, 1);
    }
    let found = assert_found_and_put_right(&given, "tokens", places.len()).await;
    let found: Vec<String> = found.into_iter().map(|difference| difference.key).collect();
    assert_eq!(found, expected);
    assert_eq!(all_tokens(&given.fixture.models(), COMPANY).await, before);
    assert_eq!(given.assert_sound().await.events, u64::from(TOKENS) + 2);
}

async fn other_companies_and_projections_are_left_alone<F: Fixture>() {
    let given = every_column::<F>().await;
    given.register(OTHERS[0]).await;
    given.catch_up().await;
    given.fixture.raw("UPDATE companies SET name = 'Another'".to_owned()).await;
    given.fixture.raw("UPDATE keys SET name = 'Another'".to_owned()).await;
    let id = uuid_of_a_scratch_file();
    let plan =
        Plan { projections: vec!["companies", "tokens"], company: Some(OTHERS[0]), merge: true };
    let outcome =
        given.fixture.rebuilder().rebuild(&plan, id, &|_, _| {}).await.expect("it is rebuilt");
    assert_eq!((outcome.differences, outcome.events), (1, 2));
    assert_eq!(outcome.examples[0].company, OTHERS[0]);
    let left = given.rebuild(&ALL, false).await;
    let left: Vec<_> = left.examples.iter().map(|left| (left.projection, left.company)).collect();
    assert_eq!(left, [("companies", COMPANY), ("keys", COMPANY)]);
}

async fn differences_say_what_is_and_what_should_be<F: Fixture>() {
    let given = Given::<F>::a_company().await;
    let token = given.token(COMPANY, create("Payroll")).await;
    given.fixture.raw("UPDATE tokens SET name = 'Forged'".to_owned()).await;
    let Outcome { events, rows, differences, examples, .. } =
        given.rebuild(&["tokens"], false).await;
    assert_eq!((events, rows, differences), (3, 1, 1));
    let text = examples[0].to_string();
    let row = format!("tokens: company {COMPANY}, row {token}: ");
    assert_eq!(text, format!("{row}name is \"Forged\", should be \"Payroll\""));
    given.rebuild(&["tokens"], true).await;
    let said = async |sql: &str| {
        given.fixture.raw(sql.to_owned()).await;
        let outcome = given.rebuild(&["tokens"], true).await;
        outcome.examples[0].to_string().strip_prefix(&row).expect("the same row").to_owned()
    };
    let text = said("UPDATE tokens SET client_id = token_id, deleted_at = 0").await;
    let both = format!(
        "client_id is {token}, should be empty; \
         deleted_at is 1970-01-01T00:00:00.000000Z, should be empty"
    );
    assert_eq!(text, both);
    let text = said("UPDATE tokens SET status = 'lost'").await;
    assert!(text.starts_with("can't be read: column status: "), "{text}");
    assert_eq!(said("DELETE FROM tokens").await, "missing");
}

/// Creates, changes, refreshes and deletes tokens, one after the other.
async fn write(ledger: Arc<Ledger>, writer: u64, tokens: u32) {
    for number in 0..tokens {
        let id = TokenId(SystemEntropy.uuid(at(i64::from(number % 7))));
        let text = format!("{writer} {number}");
        let commands = [
            TokenCommand::Create(create(&text)),
            TokenCommand::ChangeScopes { scopes: scopes("locations positions") },
            refresh(&format!("{text} again"), DAY),
            TokenCommand::Delete,
        ];
        for command in commands.into_iter().take(1 + number as usize % 4) {
            let request = Request::new(id.0, command);
            ledger
                .execute::<Token>(COMPANY, Power::Operator, &member(writer), request)
                .await
                .expect("it is done");
        }
    }
}

async fn nothing_differs_while_writers_write<F: Fixture>() {
    const WRITERS: u64 = 3;
    const EACH: u32 = 150;
    let given = Given::<F>::a_company().await;
    given.tokens(COMPANY, 0..2_100).await;
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let (fixture, ledger) = (&given.fixture, &given.ledger);
    let (_, runner) =
        token_ledger_projections::runner::spawn(fixture.audit(), fixture.store(), stopped);
    let writers: Vec<_> =
        (0..WRITERS).map(|writer| tokio::spawn(write(Arc::clone(ledger), writer, EACH))).collect();
    let mut rounds = 0;
    while rounds < 2 || !writers.iter().all(tokio::task::JoinHandle::is_finished) {
        let outcome = given.rebuild(&ALL, rounds % 2 == 1).await;
        assert_eq!(outcome.differences, 0, "round {rounds}: {:#?}", outcome.examples);
        let Outcome { events, rows, behind, .. } = given.rebuild(&["audit"], false).await;
        assert_eq!(rows + behind, events, "round {rounds}");
        rounds += 1;
    }
    for writer in writers {
        writer.await.expect("it writes");
    }
    stop.send(true).expect("the runner listens");
    runner.await.expect("the runner ends");
    given.catch_up().await;
    given.assert_sound().await;
    given.assert_rows_are_the_fold().await;
    let tokens = all_tokens(&given.fixture.models(), COMPANY).await;
    assert_eq!(tokens.len() as u64, 2_100 + WRITERS * u64::from(EACH));
}

/// The writer has its turn when the first events were read and no row was compared yet.
async fn what_is_written_while_events_are_read_is_taken_in<F: Fixture>() {
    for merge in [false, true] {
        let given = Given::<F>::a_company().await;
        let kept = given.token(COMPANY, create("kept")).await;
        let (go, mut going) = tokio::sync::mpsc::unbounded_channel::<()>();
        let (done, is_done) = std::sync::mpsc::channel::<()>();
        let ledger = Arc::clone(&given.ledger);
        let writer = tokio::spawn(async move {
            going.recv().await.expect("its turn");
            write(Arc::clone(&ledger), 1, 8).await;
            ledger
                .execute::<Token>(
                    COMPANY,
                    Power::Operator,
                    &member(1),
                    Request::new(kept.0, TokenCommand::Delete),
                )
                .await
                .expect("it is done");
            done.send(()).expect("the rebuild waits");
        });
        let turn = std::sync::Mutex::new(Some((go, is_done)));
        let progress = |_: u64, _: u64| {
            let Some((go, is_done)) = turn.lock().expect("one at a time").take() else { return };
            go.send(()).expect("the writer waits");
            tokio::task::block_in_place(|| is_done.recv().expect("the writer is done"));
        };
        let plan = Plan { projections: ALL.to_vec(), company: None, merge };
        let id = uuid_of_a_scratch_file();
        let outcome =
            given.fixture.rebuilder().rebuild(&plan, id, &progress).await.expect("it is rebuilt");
        assert_eq!(outcome.differences, 0, "{:#?}", outcome.examples);
        assert_eq!(outcome.events, given.head(COMPANY).await);
        writer.await.expect("it writes");
        given.assert_rows_are_the_fold().await;
    }
}

async fn a_trail_that_is_behind_does_not_differ<F: Fixture>() {
    let given = Given::<F>::a_company().await;
    given.tokens(COMPANY, 0..2_500).await;
    let checked = given.rebuild(&["audit"], false).await;
    let head = given.head(COMPANY).await;
    assert_eq!((checked.differences, checked.rows, checked.behind), (0, 0, head));
    let models = given.fixture.models();
    assert!(whole_trail(&models, COMPANY).await.is_empty());

    let audit = given.fixture.audit();
    let half = audit.advance(COMPANY).await.expect("it advances").expect("nobody else is at it");
    assert!(half > 0 && half < given.head(COMPANY).await, "{half} is on the way");
    let checked = given.rebuild(&["audit"], false).await;
    assert_eq!((checked.differences, checked.rows, checked.behind), (0, half, head - half));
    assert_eq!(whole_trail(&models, COMPANY).await.len() as u64, half);
    assert_eq!(audit.checkpoint(COMPANY).await.expect("a checkpoint"), half);

    // What the trail has come to differs all the same.
    given.fixture.raw(format!("DELETE FROM audit_trail WHERE position = {half}")).await;
    assert_eq!(given.rebuild(&["audit"], false).await.differences, 1);
    let merged = given.rebuild(&["audit"], true).await;
    assert_eq!((merged.differences, merged.rows, merged.behind), (1, head, head - half));
    given.catch_up().await;
    given.assert_sound().await;
    let shown = whole_trail(&models, COMPANY).await;
    assert_eq!(shown.len() as u64, given.head(COMPANY).await);
}

/// The trail catches up when the events were read and no range was compared yet.
async fn what_was_not_due_when_events_were_read_is_compared_once_it_is<F: Fixture + Sync>() {
    let given = Given::<F>::a_company().await;
    given.tokens(COMPANY, 0..2_500).await;
    let head = given.head(COMPANY).await;
    let progress = |_: u64, _: u64| {
        now(async {
            given.catch_up().await;
            misname(&given, 700).await;
        });
    };
    let plan = Plan { projections: vec!["audit"], company: None, merge: false };
    let (rebuilder, id) = (given.fixture.rebuilder(), uuid_of_a_scratch_file());
    let checked = rebuilder.rebuild(&plan, id, &progress).await.expect("it is checked");
    assert_eq!((checked.differences, checked.rows, checked.behind), (1, head, 0));
    assert_eq!(checked.events, head);
}

/// The trail catches up once the first range of several was compared, which is behind for the most
/// part.
async fn every_event_of_a_trail_that_goes_on_is_compared_or_told_to_be_behind<F: Fixture + Sync>() {
    let given = Given::<F>::a_company().await;
    given.tokens(COMPANY, 0..4_100).await;
    let head = given.head(COMPANY).await;
    let audit = given.fixture.audit();
    let come_to = audit.advance(COMPANY).await.expect("it advances").expect("nobody else is at it");
    misname(&given, 2).await;
    let mut told = Vec::new();
    let mut tell = |difference: Difference| {
        if told.is_empty() {
            now(async {
                given.catch_up().await;
                misname(&given, head).await;
            });
        }
        told.push(difference.key);
        Ok(())
    };
    let plan = Plan { projections: vec!["audit"], company: None, merge: false };
    let (rebuilder, id) = (given.fixture.rebuilder(), uuid_of_a_scratch_file());
    let checked = rebuilder.rebuild_telling(&plan, id, &|_, _| {}, &mut tell).await;
    let Outcome { events, rows, behind, .. } = checked.expect("it is checked");
    assert_eq!(told, ["2".to_owned(), head.to_string()]);
    assert_eq!((behind, rows + behind, events), (RANGE as u64 - come_to, head, head));
}

/// Does something within what isn't asynchronous.
fn now<T>(work: impl Future<Output = T>) -> T {
    tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(work))
}

/// Says of an event in the trail that another thing happened.
async fn misname<F: Fixture>(given: &Given<F>, position: u64) {
    let sql = "UPDATE audit_trail SET event_type = 'token.expired' WHERE position";
    assert_eq!(given.fixture.raw(format!("{sql} = {position}")).await, 1);
}

async fn a_merge_brings_the_trail_to_the_end_of_the_log<F: Fixture>() {
    let given = Given::<F>::a_company().await;
    given.tokens(COMPANY, 0..2_500).await;
    given.catch_up().await;
    let models = given.fixture.models();
    let trail = whole_trail(&models, COMPANY).await;
    let head = given.head(COMPANY).await;
    assert_eq!(trail.len() as u64, head);
    for table in ["audit_trail", "checkpoints"] {
        given.fixture.raw(format!("DELETE FROM {table}")).await;
    }
    let merged = given.rebuild(&["audit"], true).await;
    assert_eq!((merged.differences, merged.rows, merged.behind), (0, head, head));
    assert_eq!(whole_trail(&models, COMPANY).await, trail);
    let audit = given.fixture.audit();
    assert_eq!(audit.checkpoint(COMPANY).await.expect("a checkpoint"), head);
    assert_eq!(audit.advance(COMPANY).await.expect("it advances"), Some(head));
    let again = given.rebuild(&["audit"], true).await;
    assert_eq!((again.differences, again.rows, again.behind), (0, head, 0));
}

async fn a_row_ahead_of_the_trail_is_put_right_and_holds_nothing_up<F: Fixture>() {
    let given = Given::<F>::a_company().await;
    given.catch_up().await;
    given.token(COMPANY, create("ahead")).await;
    let columns = given.fixture.table("audit").columns;
    let values = columns.join(", ").replace("position", "position + 1");
    let columns = columns.join(", ");
    let sql = format!(
        "INSERT INTO audit_trail ({columns}) SELECT {values} FROM audit_trail WHERE position = 2"
    );
    assert_eq!(given.fixture.raw(sql).await, 1);
    let checked = given.rebuild(&["audit"], false).await;
    assert_eq!((checked.differences, checked.behind), (1, 1));
    assert_eq!(checked.examples[0].rebuilt, None, "it is not there yet");
    let merged = given.rebuild(&["audit"], true).await;
    assert_eq!((merged.differences, merged.behind), (1, 1));
    assert!(merged.examples[0].rebuilt.is_some());
    given.catch_up().await;
    given.assert_sound().await;
}

/// Whoever plants rows may give them keys that come before every real one.
async fn rows_with_the_least_keys_are_found_and_removed<F: Fixture>() {
    let given = every_column::<F>().await;
    let planted = [
        ("tokens", F::blob(&[0; 16])),
        ("keys", F::blob(&[0; 16])),
        ("members", F::blob(&[0; 16])),
        ("audit", "0".to_owned()),
    ];
    for (projection, key) in &planted {
        let table = given.fixture.table(projection);
        let columns = table.columns.join(", ");
        let values: Vec<_> = table
            .columns
            .iter()
            .map(|column| if *column == table.key { key } else { *column })
            .collect();
        let sql = format!(
            "INSERT INTO {} ({columns}) SELECT {} FROM {} LIMIT 1",
            table.name,
            values.join(", "),
            table.name
        );
        assert_eq!(given.fixture.raw(sql).await, 1, "{projection}");
    }
    let checked = given.rebuild(&ALL, false).await;
    assert_eq!(checked.differences, 4);
    assert!(checked.examples.iter().all(|difference| difference.rebuilt.is_none()));
    assert_eq!(given.rebuild(&ALL, true).await.differences, 4);
    assert_eq!(given.rebuild(&ALL, false).await.differences, 0);
    given.assert_sound().await;
}

/// Else a deleted token would be good again.
async fn nothing_is_rebuilt_where_an_event_is_missing<F: Fixture>() {
    let given = Given::<F>::a_company().await;
    let [first, last] =
        [given.token(COMPANY, create("first")).await, given.token(COMPANY, create("last")).await];
    given.tell_token(COMPANY, first, TokenCommand::Delete).await;
    given.tokens(COMPANY, 0..3).await;
    given.tell_token(COMPANY, last, TokenCommand::Delete).await;
    given.catch_up().await;
    let head = given.head(COMPANY).await;
    for position in [head, 5] {
        given.fixture.lose_event(COMPANY, position).await;
        let before = all_tokens(&given.fixture.models(), COMPANY).await;
        for merge in [false, true] {
            let plan = Plan { projections: ALL.to_vec(), company: None, merge };
            let id = uuid_of_a_scratch_file();
            let outcome = given.fixture.rebuilder().rebuild(&plan, id, &|_, _| {}).await;
            let Err(RebuildError::Failed(error)) = outcome else { panic!("{outcome:?}") };
            let told = error.to_string();
            assert!(told.contains(&format!("position {position}: the event is missing")), "{told}");
        }
        let (rebuilder, id) = (given.fixture.rebuilder(), uuid_of_a_scratch_file());
        let mut take = |_| Ok(());
        let until = rebuilder.tokens_until(COMPANY, at(DAY), id, &|_, _| {}, &mut take).await;
        assert!(
            matches!(until, Err(RebuildError::Failed(StoreError::Corrupt { .. }))),
            "{until:?}"
        );
        assert_eq!(
            all_tokens(&given.fixture.models(), COMPANY).await,
            before,
            "nothing was changed"
        );
    }
}

/// What a checkpoint claims beyond the end of the ledger would be left out for good, once it has
/// come there.
async fn a_checkpoint_that_claims_too_much_is_put_right<F: Fixture>() {
    let given = Given::<F>::a_company().await;
    given.tokens(COMPANY, 0..3).await;
    given.catch_up().await;
    let head = given.head(COMPANY).await;
    let of_audit = "WHERE projection = 'audit'";
    given.fixture.raw(format!("UPDATE checkpoints SET position = 1000 {of_audit}")).await;
    given.fixture.raw(format!("DELETE FROM audit_trail WHERE position = {head}")).await;
    let audit = given.fixture.audit();
    for (merge, after) in [(false, 1000), (true, head)] {
        let outcome = given.rebuild(&["audit"], merge).await;
        assert_eq!(outcome.differences, 2, "the row and the checkpoint");
        let told = outcome.examples.iter().map(ToString::to_string).collect::<String>();
        assert!(told.contains(&format!("position is 1000, should be {head}")), "{told}");
        assert_eq!(audit.checkpoint(COMPANY).await.expect("a checkpoint"), after);
    }
    assert_eq!(given.rebuild(&["audit"], false).await.differences, 0);
    given.tokens(COMPANY, 3..6).await;
    given.catch_up().await;
    given.assert_sound().await;
}

async fn a_checkpoint_that_cannot_be_read_is_put_right<F: Fixture>() {
    let given = Given::<F>::a_company().await;
    given.tokens(COMPANY, 0..3).await;
    given.catch_up().await;
    given
        .fixture
        .raw("UPDATE checkpoints SET position = -1 WHERE projection = 'audit'".to_owned())
        .await;
    let checked = given.rebuild(&["audit"], false).await;
    assert_eq!(checked.differences, 1);
    let told = checked.examples[0].to_string();
    assert!(told.contains("checkpoint") && told.contains("can't be read"), "{told}");
    assert_eq!(given.rebuild(&["audit"], true).await.differences, 1);
    given.catch_up().await;
    given.assert_sound().await;
}

/// Nothing of it is good, until it is put right.
async fn one_row_that_cannot_be_read_keeps_no_other_from_being_good<F: Fixture>() {
    let given = Given::<F>::a_company().await;
    let [broken, _] =
        [given.token(COMPANY, create("broken")).await, given.token(COMPANY, create("good")).await];
    let [broken_key, _] = [given.key(COMPANY, "broken key").await, given.key(COMPANY, "key").await];
    let [token, key] = [broken.0, broken_key.0].map(|id| F::blob(id.as_bytes()));
    let short = F::blob(&[7; 3]);
    for sql in [
        format!("UPDATE tokens SET digest = {short} WHERE token_id = {token}"),
        format!("UPDATE keys SET status = 'active', scopes = '' WHERE key_id = {key}"),
    ] {
        assert_eq!(given.fixture.raw(sql).await, 1);
    }
    let given = given.reopened().await;
    let good = || {
        let index = given.fixture.index();
        let token = |secret| index.token(&digest(secret), at(1)).is_some();
        let key = |secret| index.key(&digest(secret), at(1)).is_some();
        [token("broken"), token("good"), key("broken key"), key("key")]
    };
    assert_eq!(good(), [false, true, false, true]);
    assert_eq!(given.rebuild(&ALL, true).await.differences, 2);
    assert_eq!(good(), [true; 4]);
}

async fn an_unknown_projection_is_named_and_leaves_nothing_behind<F: Fixture>() {
    let given = Given::<F>::a_company().await;
    let plan = Plan { projections: vec!["tokens", "secrets"], company: None, merge: true };
    let id = uuid_of_a_scratch_file();
    let outcome = given.fixture.rebuilder().rebuild(&plan, id, &|_, _| {}).await;
    assert!(
        matches!(&outcome, Err(RebuildError::Unknown(name)) if name == "secrets"),
        "{outcome:?}"
    );
    given.rebuild(&ALL, true).await;
    let left = std::fs::read_dir(std::env::temp_dir())
        .expect("the directory of scratch files")
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .find(|name| name.contains(&id.to_string()));
    assert_eq!(left, None);
    assert_eq!(rows(all_tokens(&given.fixture.models(), COMPANY).await), []);
    assert_eq!(
        given.fixture.models().company(COMPANY).await.expect("an answer").map(|row| row.version),
        Some(2)
    );
}

/// An index that was filled from forged rows believes them; once they are put right, it answers as
/// the events say again.
async fn a_merge_puts_the_answers_right_too<F: Fixture>() {
    let given = Given::<F>::a_company().await;
    given.register(OTHERS[0]).await;
    given.tokens(COMPANY, 0..10).await;
    let deleted = given.token(COMPANY, create("deleted")).await;
    given.tell_token(COMPANY, deleted, TokenCommand::Delete).await;
    let lost = given.token(COMPANY, create("lost")).await;
    let graced = given.token(COMPANY, create("graced")).await;
    given.tell_token(COMPANY, graced, refresh("graced again", 60)).await;
    let key = given.key(COMPANY, "key").await;
    given.tell_key(COMPANY, key, KeyCommand::Delete).await;
    let kept = given.key(COMPANY, "kept").await;
    let forged = F::blob(&digest("forged").0);
    let [deleted, lost, graced, key, kept] =
        [deleted.0, lost.0, graced.0, key.0, kept.0].map(|id| F::blob(id.as_bytes()));
    for sql in [
        format!("UPDATE tokens SET status = 'active', version = 99 WHERE token_id = {deleted}"),
        format!("DELETE FROM tokens WHERE token_id = {lost}"),
        format!("UPDATE tokens SET digest = {forged}, version = 99 WHERE token_id = {graced}"),
        format!("UPDATE keys SET status = 'active' WHERE key_id = {key}"),
        format!("UPDATE keys SET digest = {forged} WHERE key_id = {kept}"),
        "UPDATE companies SET oauth_app_enabled = 1 - oauth_app_enabled".to_owned(),
    ] {
        assert!(given.fixture.raw(sql).await > 0);
    }

    let given = given.reopened().await;
    let answers_right = async || {
        let index = given.fixture.index();
        let folded = given.fold(COMPANY).await;
        let tokens = folded
            .token_secrets
            .keys()
            .chain([&digest("forged")])
            .all(|secret| index.token(secret, at(1)) == folded.active_token(*secret, at(1)));
        let keys = folded
            .key_secrets
            .iter()
            .chain([&digest("forged")])
            .all(|secret| index.key(secret, at(1)) == folded.active_key(*secret, at(1)));
        (tokens, keys)
    };
    assert_eq!(answers_right().await, (false, false), "it believes what is forged");
    given.rebuild(&ALL, false).await;
    assert_eq!(answers_right().await, (false, false), "a check changes nothing");
    assert_eq!(given.rebuild(&ALL, true).await.differences, 7);
    assert_eq!(answers_right().await, (true, true));
}
