//! Several processes on one database: each learns of the others' changes, nothing old comes back, and
//! one at a time runs a projection.

#[allow(dead_code, reason = "every suite uses its part")]
mod support;

use sqlx::Executor;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use support::postgres::PgFixture;
use support::{COMPANY, Fixture, Given, OTHERS, at, create, digest, in_time, refresh};
use token_ledger_domain::company::CompanyCommand;
use token_ledger_domain::key::KeyCommand;
use token_ledger_domain::token::TokenCommand;
use token_ledger_domain::{CompanyId, PersonId};
use token_ledger_event_store::clock::SetClock;
use token_ledger_event_store::postgres::InlineProjections;
use token_ledger_event_store::{Entropy, Head, Moment, Point, StoreError, SystemEntropy};
use token_ledger_projections::People;
use token_ledger_projections::VerificationIndex;
use token_ledger_projections::attempts::{Attempt, AttemptKind, Seen};
use token_ledger_projections::people::{Account, Session};
use token_ledger_projections::postgres::Inline;
use token_ledger_projections::rebuild::{ALL, Plan, RebuildError, Rebuilder};
use token_ledger_projections::runner;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::Instant;
use uuid::Uuid;

/// How long anything may take that will come at all.
const LONG: Duration = Duration::from_secs(60);
const BOUND: Duration = Duration::from_secs(1);

/// Another process on the same database.
async fn another(given: &Given<PgFixture>) -> Given<PgFixture> {
    let fixture = given.fixture.another().await;
    let clock = Arc::new(SetClock::at(at(0)));
    Given::with(fixture, clock, Arc::clone(&given.entropy))
}

/// Waits until this holds.
async fn until(what: &str, holds: impl Fn() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < LONG, "{what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

fn point(position: u64) -> Point {
    Point { position, recorded_at: at(0) }
}

fn is_good(index: &VerificationIndex, secret: &str) -> bool {
    index.token(&digest(secret), at(1)).is_some()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_learns_of_the_others_changes() {
    in_time(async {
        let one = Given::<PgFixture>::a_company().await;
        let kept = one.token(COMPANY, create("before")).await;
        let other = another(&one).await;
        let _following = [one.fixture.follow(BOUND).await, other.fixture.follow(BOUND).await];
        let (here, there) = (one.fixture.index(), other.fixture.index());
        assert!(is_good(there, "before"), "what was there before is there at once");

        let token = one.token(COMPANY, create("new")).await;
        assert!(is_good(here, "new"), "the one that commits it knows at once");
        until("a creation", || is_good(there, "new")).await;
        other.tell_token(COMPANY, token, refresh("newer", 0)).await;
        assert!(is_good(there, "newer") && !is_good(there, "new"));
        until("a refresh", || is_good(here, "newer") && !is_good(here, "new")).await;
        one.tell_token(COMPANY, kept, TokenCommand::Delete).await;
        until("a deletion", || !is_good(there, "before")).await;

        let key = other.key(COMPANY, "key").await;
        until("a key", || here.key(&digest("key"), at(1)).is_some()).await;
        one.tell_key(COMPANY, key, KeyCommand::Delete).await;
        until("a key's deletion", || there.key(&digest("key"), at(1)).is_none()).await;

        other.tell_company(COMPANY, CompanyCommand::SetOauthApp { enabled: false }).await;
        until("the module off", || !is_good(here, "newer")).await;
        one.tell_company(COMPANY, CompanyCommand::SetOauthApp { enabled: true }).await;
        until("the module on", || is_good(there, "newer")).await;

        one.register(OTHERS[0]).await;
        one.tokens(OTHERS[0], 0..500).await;
        until("many at once", || (0..500).all(|n| is_good(there, &format!("token {n}")))).await;
        assert_eq!(here.len(), there.len());
        for company in [COMPANY, OTHERS[0]] {
            let head = one.head(company).await;
            until("the cursors", || here.cursor(company) == head && there.cursor(company) == head)
                .await;
        }
    })
    .await;
}

/// Whoever may connect to the database may notify, about whatever he likes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_anybody_says_is_a_hint_and_no_more() {
    in_time(async {
        let one = Given::<PgFixture>::a_company().await;
        let key = one.key(COMPANY, "key").await;
        let kept = one.key(COMPANY, "kept").await;
        let token = one.token(COMPANY, create("token")).await;
        one.register(OTHERS[0]).await;
        let other = another(&one).await;
        let _following = [one.fixture.follow(BOUND).await, other.fixture.follow(BOUND).await];
        let there = other.fixture.index();
        let elsewhere = OTHERS[0];
        let notice = |company| format!("moved {} {company}", Uuid::from_u128(7));
        let unknown = Uuid::from_u128(404);
        let said = [
            notice(COMPANY.0),
            notice(unknown),
            format!("at {}:1:9:1772355600000000:t", COMPANY.0),
            format!("put-right keys {} {}", COMPANY.0, unknown),
            format!("put-right keys {} {kept}", elsewhere.0),
            format!("put-right tokens {} {token}", elsewhere.0),
            format!("put-right companies {} {}", elsewhere.0, COMPANY.0),
            format!("put-right tokens {unknown} {token}"),
        ];
        for round in 0..50 {
            for payload in &said {
                let notify = format!("SELECT pg_notify('token_ledger', '{payload}')");
                one.fixture.raw(notify).await;
            }
            if round == 25 {
                one.tell_key(COMPANY, key, KeyCommand::Delete).await;
            }
        }
        let deleted = one.head(COMPANY).await;
        until("the key's deletion", || there.key(&digest("key"), at(1)).is_none()).await;
        until("the cursor", || there.cursor(COMPANY) == deleted).await;
        assert_eq!(there.cursor(CompanyId(unknown)), 0);
        // Rows put right are taken over behind the first of these moments.
        for _ in 0..2 {
            let moment = Moment::now();
            let is_known = || there.freshness().age().is_some_and(|age| age < moment.elapsed());
            until("all that was said", is_known).await;
        }
        assert!(is_good(there, "token"), "no company has another one's tokens put right");
        assert!(there.key(&digest("kept"), at(1)).is_some(), "nor its keys");
        assert_eq!(there.voided_by(), None);
    })
    .await;
}

/// Whoever is busy with a company's ledger keeps no other company waiting.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_put_right_wait_for_their_company_and_hold_nobody_up() {
    in_time(async {
        let one = Given::<PgFixture>::a_company().await;
        one.register(OTHERS[0]).await;
        let token = one.token(COMPANY, create("put right")).await;
        let other = another(&one).await;
        let _following = other.fixture.follow(BOUND).await;
        let there = other.fixture.index();
        let changed = format!("UPDATE tokens SET status = 'deleted' WHERE token_id = '{token}'");
        assert_eq!(one.fixture.raw(changed).await, 1);
        let mut holder = one.fixture.alone().await;
        let hold = format!(
            "BEGIN; SELECT 1 FROM company_heads WHERE company_id = '{}' FOR UPDATE",
            COMPANY.0
        );
        holder.execute(hold.as_str()).await.expect("it is held");
        let tell = format!("put-right tokens {} {token}", COMPANY.0);
        one.fixture.raw(format!("SELECT pg_notify('token_ledger', '{tell}')")).await;
        for number in 0..4 {
            let moment = Moment::now();
            let is_known = || there.freshness().age().is_some_and(|age| age < moment.elapsed());
            until("what is so now", is_known).await;
            let secret = format!("elsewhere {number}");
            one.token(OTHERS[0], create(&secret)).await;
            until("another company's token", || is_good(there, &secret)).await;
            assert!(moment.elapsed() < Duration::from_millis(1_500), "{:?}", moment.elapsed());
        }
        assert!(is_good(there, "put right"), "not while somebody may change it");
        holder.execute("ROLLBACK").await.expect("it is let go");
        until("what was put right", || !is_good(there, "put right")).await;
    })
    .await;
}

/// Other processes have taken over rows that no event made.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_learns_what_a_rebuild_puts_right() {
    in_time(async {
        let one = Given::<PgFixture>::a_company().await;
        let [deleted, lost] =
            [one.token(COMPANY, create("deleted")).await, one.token(COMPANY, create("lost")).await];
        one.tell_token(COMPANY, deleted, TokenCommand::Delete).await;
        let key = one.key(COMPANY, "key").await;
        one.tell_key(COMPANY, key, KeyCommand::Delete).await;
        let wrong = "SET status = 'active', deleted_at = NULL, version = version + 5";
        for sql in [
            format!("UPDATE tokens {wrong} WHERE token_id = '{deleted}'"),
            format!("UPDATE keys {wrong} WHERE key_id = '{key}'"),
            format!("DELETE FROM tokens WHERE token_id = '{lost}'"),
        ] {
            assert_eq!(one.fixture.raw(sql).await, 1);
        }
        let other = another(&one).await;
        let _following = [one.fixture.follow(BOUND).await, other.fixture.follow(BOUND).await];
        for index in [one.fixture.index(), other.fixture.index()] {
            assert!(is_good(index, "deleted") && index.key(&digest("key"), at(1)).is_some());
        }
        let plan = Plan { projections: ALL.to_vec(), company: None, merge: true };
        let id = SystemEntropy.uuid(at(0));
        let rebuilt =
            one.fixture.rebuilder().rebuild(&plan, id, &|_, _| {}).await.expect("rebuilt");
        assert_eq!(rebuilt.differences, 3);
        for index in [one.fixture.index(), other.fixture.index()] {
            until("the deletion", || !is_good(index, "deleted")).await;
            until("the key's deletion", || index.key(&digest("key"), at(1)).is_none()).await;
            until("what was lost", || is_good(index, "lost")).await;
        }
        one.tell_token(COMPANY, lost, refresh("again", 0)).await;
        until("what comes later", || is_good(other.fixture.index(), "again")).await;
    })
    .await;
}

/// Whoever runs the audit trail takes it further between two ranges that a rebuild puts right.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rebuild_and_the_runner_take_the_trail_to_its_end_together() {
    in_time(async {
        let given = Given::<PgFixture>::a_company().await;
        given.catch_up().await;
        given.tokens(COMPANY, 0..5000).await;
        assert_eq!(given.fixture.raw("DELETE FROM audit_trail WHERE position = 1".into()).await, 1);
        let plan = Plan { projections: vec!["audit"], company: None, merge: true };
        let (audit, runtime) = (given.fixture.audit(), Handle::current());
        let mut runs = Vec::new();
        let mut run = |_| {
            // Told behind the range in which it was found.
            let advance = audit.advance(COMPANY);
            runs.push(tokio::task::block_in_place(|| runtime.block_on(advance)));
            Ok(())
        };
        let id = SystemEntropy.uuid(at(0));
        let outcome = given.fixture.tables().rebuild_telling(&plan, id, &|_, _| {}, &mut run).await;
        assert_eq!(outcome.expect("a rebuild").differences, 1);
        assert_eq!(runs.len(), 1);
        assert!(matches!(runs.pop(), Some(Ok(Some(_)))), "it runs as well");
        let trail = support::whole_trail(&given.fixture.models(), COMPANY).await;
        let shown = trail.iter().map(|record| record.event.position);
        assert!(shown.eq(1..=given.head(COMPANY).await), "each event once");
    })
    .await;
}

/// What is removed by one of them is counted once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_dropped_at_once_is_counted_once() {
    const KEPT: usize = 5;
    in_time(async {
        let one = Given::<PgFixture>::a_company().await;
        let other = another(&one).await;
        let kind = AttemptKind::Denied;
        let attempts: Vec<Attempt> = (0..200)
            .map(|number| Attempt {
                at: at(number),
                attempt_id: one.new_id(),
                seen: Seen {
                    company_id: COMPANY,
                    kind,
                    actor: None,
                    method: "GET".to_owned(),
                    route: "/v1/whoami".to_owned(),
                    status: 401,
                    problem: None,
                    request_id: None,
                    ip: None,
                    user_agent: None,
                },
            })
            .collect();
        let models = [one.fixture.models(), other.fixture.models()];
        let (first, last) = attempts.split_at(attempts.len() / 2);
        let trims = async |count| {
            let trims = models.iter().cycle().take(count);
            let trims = trims.map(|models| models.trim_attempts(COMPANY, kind, KEPT));
            for trimmed in futures::future::join_all(trims).await {
                trimmed.expect("they are removed");
            }
        };
        for part in first.chunks(20) {
            models[0].add_attempts(part, &BTreeMap::new()).await.expect("they are stored");
            trims(6).await;
        }
        // And while others are stored.
        let are_stored = async {
            for one in last {
                let one = std::slice::from_ref(one);
                models[1].add_attempts(one, &BTreeMap::new()).await.expect("it is stored");
            }
        };
        let are_stored = std::pin::pin!(are_stored);
        let go_on = async {
            loop {
                trims(2).await;
            }
        };
        futures::future::select(are_stored, std::pin::pin!(go_on)).await;
        trims(1).await;
        let dropped = models[0].attempts_dropped(COMPANY, kind).await.expect("a count");
        assert_eq!(dropped, (attempts.len() - KEPT) as u64);
    })
    .await;
}

/// Much has happened in many companies meanwhile: it is read piece by piece.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_was_away_for_long_catches_up() {
    const COMPANIES: usize = 500;
    const TOKENS: usize = 100;
    in_time(async {
        let one = Given::<PgFixture>::a_company().await;
        one.token(COMPANY, create("model")).await;
        let (other, network) = one.fixture.another_by_proxy().await;
        let _following = other.follow(BOUND).await;
        network.cut();
        let ids = format!("generate_series(1, {COMPANIES}) AS c (number)");
        let tokens = format!("{ids}, generate_series(1, {TOKENS}) AS t (number), tokens");
        let value = |column: &&str| match *column {
            "company_id" => "md5('company ' || c.number)::uuid".to_owned(),
            "token_id" => "md5(c.number || ' ' || t.number)::uuid".to_owned(),
            "digest" => "sha256((c.number || ' ' || t.number)::bytea)".to_owned(),
            "position" => "t.number".to_owned(),
            other => format!("tokens.{other}"),
        };
        let columns = one.fixture.table("tokens").columns;
        let values: Vec<String> = columns.iter().map(value).collect();
        let (columns, values) = (columns.join(", "), values.join(", "));
        for sql in [
            format!("INSERT INTO tokens ({columns}) SELECT {values} FROM {tokens}"),
            format!(
                "INSERT INTO company_heads \
                 SELECT md5('company ' || c.number)::uuid, {TOKENS}, 0, 0 FROM {ids}"
            ),
        ] {
            assert!(one.fixture.raw(sql).await >= COMPANIES);
        }
        network.mend();
        until("all of it", || other.index().len() == COMPANIES * TOKENS + 1).await;
        until("and it knows that", || other.index().freshness().is_fresh()).await;
    })
    .await;
}

/// The change of a password is carried out, and about to be committed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_session_begins_with_a_password_that_is_about_to_change() {
    in_time(async {
        let given = Given::<PgFixture>::nothing().await;
        let people = People::new(given.fixture.sql());
        let person_id = PersonId(Uuid::from_u128(1));
        let account = Account {
            person_id,
            email: "ada@example.com".to_owned(),
            name: None,
            password_hash: Some("old".to_owned()),
            vouched_by: None,
        };
        people.make_account(&account, at(0)).await.expect("an account");
        let mut changing = given.fixture.alone().await;
        let change = "BEGIN; UPDATE accounts SET password_hash = 'new'; DELETE FROM sessions";
        changing.execute(change).await.expect("it is changed");
        let session = Session {
            session_id: Uuid::from_u128(2),
            person_id,
            created_at: at(0),
            signed_in_at: at(0),
            seen_at: at(0),
            expires_at: at(600),
            ip: None,
            user_agent: None,
            standing: None,
        };
        let begun = tokio::spawn({
            let people = people.clone();
            async move { people.begin_session(digest("1"), &session, Some("old")).await }
        });
        let mut looking = given.fixture.alone().await;
        let waits = "SELECT EXISTS (SELECT 1 FROM pg_stat_activity \
             WHERE datname = current_database() AND wait_event_type = 'Lock')";
        let mut is_waiting = false;
        while !is_waiting && !begun.is_finished() {
            is_waiting = sqlx::query_scalar(waits).fetch_one(&mut looking).await.expect("a look");
        }
        changing.execute("COMMIT").await.expect("the password is changed");
        assert!(!begun.await.expect("it ends").expect("an answer"), "the old one opens nothing");
        assert_eq!(people.sessions(person_id).await.expect("sessions"), []);
    })
    .await;
}

/// A rebuild doesn't wait for ever on a connection on which nothing arrives any more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rebuild_that_is_cut_off_ends() {
    in_time(async {
        let one = Given::<PgFixture>::a_company().await;
        one.token(COMPANY, create("token")).await;
        let (other, network) = one.fixture.another_by_proxy().await;
        let plan = Plan { projections: vec!["tokens"], company: Some(COMPANY), merge: true };
        let cut = |_, _| network.cut();
        let outcome = other.rebuilder().rebuild(&plan, SystemEntropy.uuid(at(0)), &cut).await;
        let is_told = matches!(outcome, Err(RebuildError::Failed(StoreError::Unavailable(_))));
        assert!(is_told, "{outcome:?}");
    })
    .await;
}

/// A page of rows that was read before a deletion is taken over after it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_read_before_a_deletion_brings_nothing_back() {
    in_time(async {
        let given = Given::<PgFixture>::a_company().await;
        let token = given.token(COMPANY, create("deleted")).await;
        let key = given.key(COMPANY, "deleted key").await;
        let index = given.fixture.index();
        index.follow(BOUND);
        let models = given.fixture.models();
        let row = |record: Option<_>| record.expect("it is there");
        let read = row(models.token(COMPANY, token).await.expect("an answer")).row;
        let read_key = models.key(COMPANY, key).await.expect("an answer").expect("it is there").row;
        let round = index.begin_round();
        given.tell_token(COMPANY, token, TokenCommand::Delete).await;
        given.tell_key(COMPANY, key, KeyCommand::Delete).await;
        index.apply_token(&read);
        index.apply_key(&read_key);
        assert!(!is_good(index, "deleted"), "an old row doesn't bring it back");
        assert_eq!(index.key(&digest("deleted key"), at(1)), None);
        assert_eq!(index.tombstones(), 1);
        index.end_round(round);
        assert_eq!(index.tombstones(), 1, "rows that this round read may still be on their way");
        let round = index.begin_round();
        index.end_round(round);
        assert_eq!(index.tombstones(), 0);
    })
    .await;
}

/// A process hears late that its commit was carried out, after another one has deleted what it
/// created and it has taken that over.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_comes_late_brings_nothing_back() {
    in_time(async {
        let given = Given::<PgFixture>::a_company().await;
        let index = given.fixture.filled().await;
        index.follow(BOUND);
        let token = given.token(COMPANY, create("deleted")).await;
        let events = given.events(COMPANY).await;
        let created = events.last().expect("an event").appended().expect("a creation");
        let mut inline = Inline::new(Arc::clone(&index));
        let head = Head {
            company: COMPANY,
            position: created.position - 1,
            recorded_at: created.recorded_at,
            company_sequence: 1,
        };
        inline.insert(&[created], &head).expect("a row");
        given.tell_token(COMPANY, token, TokenCommand::Delete).await;
        let record = given.fixture.models().token(COMPANY, token).await.expect("an answer");
        let round = index.begin_round();
        index.apply_token(&record.expect("it is there").row);
        index.move_cursor(COMPANY, point(given.head(COMPANY).await));
        index.end_round(round);
        let round = index.begin_round();
        index.end_round(round);
        inline.committed();
        assert!(!is_good(&index, "deleted"));
        assert_eq!(index.tombstones(), 1, "it was remembered for as long as that took");
        let round = index.begin_round();
        index.end_round(round);
        assert_eq!(index.tombstones(), 0, "and no longer");
    })
    .await;
}

/// What was found to have happened before counts as done where it is known, where nobody asks, and
/// where what was known before no longer counts.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_known_here_is_not_in_force() {
    in_time(async {
        let index = Arc::new(VerificationIndex::new());
        let mut inline = Inline::new(Arc::clone(&index));
        assert!(inline.recovered(&[(COMPANY, 7)]).await, "nobody asks");
        index.follow(BOUND);
        assert!(inline.recovered(&[(COMPANY, 7)]).await, "it says nothing by now");
        index.follow(10 * BOUND);
        assert!(!inline.recovered(&[(COMPANY, 7)]).await, "it may say what was before");
        index.move_cursor(COMPANY, point(7));
        assert!(inline.recovered(&[(COMPANY, 7)]).await, "it knows");
    })
    .await;
}

/// A process that hears nothing stops trusting what it knows, and trusts it again once it has caught
/// up, without being started again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_hears_nothing_knows_that_it_does_not_know() {
    in_time(async {
        let one = Given::<PgFixture>::a_company().await;
        let token = one.token(COMPANY, create("kept")).await;
        let (other, network) = one.fixture.another_by_proxy().await;
        let bound = Duration::from_millis(500);
        let _following = other.follow(bound).await;
        let there = other.index();
        assert!(there.freshness().reached().await);
        assert!(there.freshness().age().is_some_and(|age| age <= bound));

        network.cut();
        let cut = Instant::now();
        one.tell_token(COMPANY, token, TokenCommand::Delete).await;
        until("it knows that it doesn't know", || !there.freshness().is_fresh()).await;
        assert!(cut.elapsed() < bound + Duration::from_millis(500), "{:?}", cut.elapsed());
        assert!(is_good(there, "kept"), "it hasn't heard of it");
        assert!(!there.freshness().reached().await, "nor does it while it is cut off");
        network.mend();
        until("it has caught up", || there.freshness().is_fresh()).await;
        assert!(!is_good(there, "kept"), "fresh means that it knows");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_at_a_time_runs_a_projection_and_another_takes_over() {
    in_time(async {
        let one = Given::<PgFixture>::a_company().await;
        one.tokens(COMPANY, 0..10).await;
        let other = another(&one).await;
        let head = one.head(COMPANY).await;
        assert_eq!(one.fixture.audit().advance(COMPANY).await.expect("it advances"), Some(head));
        one.tokens(COMPANY, 10..20).await;
        // The one that is at it, and doesn't come to an end.
        let mut holder = one.fixture.alone().await;
        holder
            .execute("BEGIN; SELECT 1 FROM checkpoints FOR UPDATE")
            .await
            .expect("the checkpoint is held");
        let (stop, stopped) = watch::channel(false);
        let (trail, task) = runner::spawn(other.fixture.audit(), other.fixture.store(), stopped);
        assert_eq!(other.fixture.audit().advance(COMPANY).await.expect("an answer"), None);
        assert!(!trail.reached(COMPANY, head + 1, Duration::from_millis(300)).await);
        assert!(trail.stopped().is_empty(), "somebody else is at it: nothing is wrong");
        drop(holder);
        let head = one.head(COMPANY).await;
        assert!(trail.reached(COMPANY, head, Duration::from_secs(10)).await);
        one.catch_up().await;
        let trail_rows = support::whole_trail(&one.fixture.models(), COMPANY).await;
        let shown: Vec<u64> = trail_rows.iter().map(|record| record.event.position).collect();
        assert_eq!(shown, (1..=head).collect::<Vec<_>>(), "each event once");
        stop.send(true).expect("the runner listens");
        task.await.expect("the runner ends");
    })
    .await;
}
