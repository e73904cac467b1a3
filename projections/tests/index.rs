//! The verification index: what each change of a row does to the answers.

#[allow(dead_code, unused_imports, unused_macros, reason = "every suite uses its part")]
mod support;

use futures::poll;
use std::collections::HashSet;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::Poll;
use std::thread;
use std::time::Duration;
use support::{COMPANY, DAY, OTHERS, at, client, digest, name, scopes};
use token_ledger_domain::power::KeyScopes;
use token_ledger_domain::{
    Actor, ClientId, CompanyId, Digest, KeyId, KeyScope, Policy, Timestamp, TokenId,
};
use token_ledger_event_store::Moment;
use token_ledger_projections::clients::ClientRow;
use token_ledger_projections::companies::CompanyRow;
use token_ledger_projections::index::{ActiveKey, ActiveToken, Use, VerificationIndex};
use token_ledger_projections::keys::KeyRow;
use token_ledger_projections::tokens::{PreviousSecret, Status, TokenRow};
use uuid::Uuid;

/// The first secret of every test, and the one after a refresh.
const OLD: &str = "old";
const NEW: &str = "new";

fn company(id: CompanyId, enabled: bool) -> CompanyRow {
    CompanyRow {
        company_id: id,
        name: name("Acme"),
        oauth_app_enabled: enabled,
        policy: Policy::default(),
        created_at: at(0),
        version: 1,
        position: 1,
    }
}

/// A token of [`COMPANY`] that was just created with the secret [`OLD`], for a day.
fn token(number: u128) -> TokenRow {
    TokenRow {
        company_id: COMPANY,
        token_id: TokenId(Uuid::from_u128(number)),
        name: name("Payroll"),
        scopes: scopes("employees positions"),
        status: Status::Active,
        client_id: None,
        term: 1,
        digest: digest(OLD),
        hint: "tlk_…0000".to_owned(),
        expires_at: at(DAY),
        issued_at: at(0),
        previous: None,
        created_at: at(0),
        created_by: Actor::SYSTEM,
        created_position: 3,
        refreshed_at: None,
        deleted_at: None,
        version: 1,
        position: 3,
    }
}

/// The row after a refresh at `now` to another secret, the old one living on until `grace_end`.
fn refreshed(row: &TokenRow, text: &str, now: Timestamp, grace_end: Option<Timestamp>) -> TokenRow {
    let previous = grace_end.map(|expires_at| PreviousSecret {
        digest: row.digest,
        expires_at,
        issued_at: row.issued_at,
    });
    TokenRow {
        status: Status::Active,
        term: row.term + 1,
        digest: digest(text),
        expires_at: now.plus_seconds(DAY),
        issued_at: now,
        refreshed_at: Some(now),
        previous,
        ..changed(row)
    }
}

/// The row with one more event.
fn changed(row: &TokenRow) -> TokenRow {
    TokenRow { version: row.version + 1, position: row.position + 1, ..row.clone() }
}

fn key() -> KeyRow {
    KeyRow {
        company_id: COMPANY,
        key_id: KeyId(Uuid::from_u128(1)),
        name: name("Reporting"),
        scopes: KeyScopes::from([KeyScope::Audit]),
        status: Status::Active,
        term: 1,
        digest: digest(OLD),
        hint: "tla_…0000".to_owned(),
        expires_at: at(DAY),
        previous: None,
        created_at: at(0),
        created_by: Actor::SYSTEM,
        created_position: 3,
        refreshed_at: None,
        deleted_at: None,
        version: 1,
        position: 3,
    }
}

fn client_row(client_id: ClientId) -> ClientRow {
    ClientRow {
        company_id: COMPANY,
        client_id,
        name: name("Payroll"),
        scopes: scopes("employees"),
        digest: digest("client"),
        hint: "tlc_…".to_owned(),
        previous: None,
        created_at: at(0),
        rotated_at: None,
        deleted_at: None,
        version: 1,
        position: 2,
    }
}

/// An index that knows [`COMPANY`], whose module is on, and these tokens with their clients.
fn index_of<'a>(rows: impl IntoIterator<Item = &'a TokenRow>) -> VerificationIndex {
    let index = VerificationIndex::new();
    index.apply_company(&company(COMPANY, true));
    for row in rows {
        index.apply_token(row);
        row.client_id.iter().for_each(|client| index.apply_client(&client_row(*client)));
    }
    index
}

fn just_before(time: Timestamp) -> Timestamp {
    Timestamp::from_micros(time.as_micros() - 1)
}

#[test]
fn an_unknown_secret_opens_nothing() {
    let index = index_of([]);
    assert_eq!(index.token(&digest(OLD), at(0)), None);
    assert_eq!(index.key(&digest(OLD), at(0)), None);
    assert!(index.is_empty());
}

#[tokio::test]
async fn who_finds_nothing_waits_for_what_others_have_just_done_and_once() {
    let index = VerificationIndex::new();
    index.follow(Duration::from_secs(60));
    index.freshness().known_until(Moment::now());
    let given_out = token(1).digest;
    let mut learning = pin!(index.learn_of(&given_out));
    assert!(poll!(&mut learning).is_pending(), "what is known may be a minute old");
    index.apply_token(&token(1));
    index.freshness().known_until(Moment::now());
    assert!(learning.await);
    assert_eq!(poll!(pin!(index.learn_of(&given_out))), Poll::Ready(true), "it is here");

    let unknown = digest("nobody's");
    let mut learning = pin!(index.learn_of(&unknown));
    assert!(poll!(&mut learning).is_pending());
    index.freshness().known_until(Moment::now());
    assert!(learning.await);
    assert_eq!(poll!(pin!(index.learn_of(&unknown))), Poll::Ready(true), "nobody waits twice");
}

#[test]
fn a_created_token_is_good_until_the_end_of_its_term() {
    let row = TokenRow { client_id: Some(client(1)), ..token(1) };
    let index = index_of([&row]);
    let expected = ActiveToken {
        token_id: row.token_id,
        company_id: COMPANY,
        scopes: "employees positions".into(),
        client_id: Some(client(1)),
        issued_at: u32::try_from(at(0).as_seconds()).expect("this century"),
        expires_at: at(DAY),
        use_is_due: true,
    };
    assert_eq!(index.token(&digest(OLD), at(0)), Some(expected.clone()));
    assert_eq!(index.token(&digest(OLD), just_before(at(DAY))), Some(expected.clone()));
    assert_eq!(index.token(&digest(OLD), at(DAY)), None);
    assert_eq!(index.token(&digest(NEW), at(0)), None);
    assert!(expected.has_scope("employees") && expected.has_scope("positions"));
    assert!(!expected.has_scope("employee") && !expected.has_scope("employees positions"));
}

/// Whether it was deleted can't be known.
#[test]
fn a_token_of_an_unknown_client_opens_nothing() {
    let row = TokenRow { client_id: Some(client(1)), ..token(1) };
    let index = index_of([&row]);
    index.forget_client(None, client(1));
    assert_eq!(index.token(&row.digest, at(0)), None);
    index.apply_client(&client_row(client(1)));
    assert!(index.token(&row.digest, at(0)).is_some());
}

#[test]
fn tokens_without_and_with_clients_keep_theirs() {
    let rows: Vec<TokenRow> = (0..4)
        .map(|number| TokenRow {
            digest: digest(&number.to_string()),
            client_id: (number > 1).then(|| client(number)),
            ..token(number)
        })
        .collect();
    let index = index_of(&rows);
    for row in &rows {
        let found = index.token(&row.digest, at(0)).expect("it is good");
        assert_eq!((found.token_id, found.client_id), (row.token_id, row.client_id));
    }
}

#[test]
fn a_refresh_without_grace_ends_the_old_secret_at_once() {
    let row = token(1);
    let index = index_of([&row, &refreshed(&row, NEW, at(60), None)]);
    assert_eq!(index.token(&digest(OLD), at(60)), None);
    let new = index.token(&digest(NEW), at(60)).expect("it is good");
    assert_eq!(new.token_id, row.token_id);
    assert_eq!(new.expires_at, at(60 + DAY));
    assert_eq!(i64::from(new.issued_at), at(60).as_seconds());
    assert_eq!(index.len(), 1);
}

#[test]
fn a_refresh_with_grace_leaves_the_old_secret_good_until_its_end() {
    let row = token(1);
    let end = at(120);
    let index = index_of([&row, &refreshed(&row, NEW, at(60), Some(end))]);
    let old = index.token(&digest(OLD), just_before(end)).expect("it is good");
    assert_eq!(old.token_id, row.token_id);
    assert_eq!(old.expires_at, end, "it stops with the grace period, not with its term");
    assert_eq!(i64::from(old.issued_at), at(0).as_seconds(), "it was issued with its own term");
    assert_eq!(index.token(&digest(OLD), end), None);
    assert!(index.token(&digest(NEW), end).is_some());
    assert_eq!(index.len(), 2);
}

#[test]
fn the_secret_before_the_last_one_never_lives_on() {
    let row = token(1);
    let second = refreshed(&row, NEW, at(60), Some(at(3600)));
    let third = refreshed(&second, "third", at(61), Some(at(3600)));
    let index = index_of([&row, &second, &third]);
    assert_eq!(index.token(&digest(OLD), at(61)), None);
    assert!(index.token(&digest(NEW), at(61)).is_some());
    assert!(index.token(&digest("third"), at(61)).is_some());
    assert_eq!(index.len(), 2);
}

#[test]
fn the_end_of_the_grace_ends_the_old_secret_only() {
    let row = token(1);
    let second = refreshed(&row, NEW, at(60), Some(at(3600)));
    let ended = TokenRow { previous: None, ..changed(&second) };
    let index = index_of([&row, &second, &ended]);
    assert_eq!(index.token(&digest(OLD), at(61)), None);
    assert!(index.token(&digest(NEW), at(61)).is_some());
}

#[test]
fn a_scopes_edit_reaches_both_secrets() {
    let row = token(1);
    let second = refreshed(&row, NEW, at(60), Some(at(3600)));
    let edited = TokenRow { scopes: scopes("locations"), ..changed(&second) };
    let index = index_of([&row, &second, &edited]);
    for text in [OLD, NEW] {
        let found = index.token(&digest(text), at(61)).expect("it is good");
        assert_eq!(&*found.scopes, "locations");
    }
}

#[test]
fn deletion_and_expiry_end_both_secrets() {
    for status in [Status::Deleted, Status::Expired] {
        let row = token(1);
        let second = refreshed(&row, NEW, at(60), Some(at(3600)));
        let ended = TokenRow { status, ..changed(&second) };
        let index = index_of([&row, &second, &ended]);
        assert_eq!(index.token(&digest(OLD), at(61)), None);
        assert_eq!(index.token(&digest(NEW), at(61)), None);
        assert!(index.is_empty());
    }
}

#[test]
fn a_refresh_makes_an_expired_token_good_again() {
    let row = token(1);
    let expired = TokenRow { status: Status::Expired, ..changed(&row) };
    let again = refreshed(&expired, NEW, at(2 * DAY), None);
    let index = index_of([&row, &expired, &again]);
    assert!(index.token(&digest(NEW), at(2 * DAY)).is_some());
    assert_eq!(index.token(&digest(OLD), at(2 * DAY)), None);
}

#[test]
fn a_place_that_became_free_is_used_again_without_a_mix_up() {
    let rows: Vec<TokenRow> = (0..500)
        .map(|number| TokenRow { digest: digest(&number.to_string()), ..token(number) })
        .collect();
    let index = index_of(&rows);
    for row in rows.iter().step_by(2) {
        index.apply_token(&TokenRow { status: Status::Deleted, ..changed(row) });
    }
    let more: Vec<TokenRow> = (500..800)
        .map(|number| TokenRow { digest: digest(&number.to_string()), ..token(number) })
        .collect();
    for row in &more {
        index.apply_token(row);
    }
    for (number, row) in rows.iter().enumerate() {
        let found = index.token(&row.digest, at(0)).map(|found| found.token_id);
        assert_eq!(found, (number % 2 == 1).then_some(row.token_id));
    }
    for row in &more {
        let found = index.token(&row.digest, at(0)).map(|found| found.token_id);
        assert_eq!(found, Some(row.token_id));
    }
    assert_eq!(index.len(), 250 + 300);
}

#[test]
fn an_older_row_that_comes_late_changes_nothing() {
    let row = token(1);
    let edited = TokenRow { scopes: scopes("locations"), ..changed(&row) };
    let second = refreshed(&edited, NEW, at(60), None);
    let index = index_of([&second, &row, &edited]);
    assert_eq!(index.token(&digest(OLD), at(61)), None);
    assert_eq!(&*index.token(&digest(NEW), at(61)).expect("it is good").scopes, "locations");
    assert_eq!(index.len(), 1);
}

#[test]
fn the_same_row_twice_is_the_same_as_once() {
    let row = token(1);
    let second = refreshed(&row, NEW, at(60), Some(at(3600)));
    let index = index_of([&row, &row, &second, &second]);
    assert!(index.token(&digest(OLD), at(61)).is_some());
    assert!(index.token(&digest(NEW), at(61)).is_some());
    assert_eq!(index.len(), 2);
}

#[test]
fn a_module_that_is_off_ends_the_company_s_tokens_and_no_others() {
    let other = TokenRow { company_id: OTHERS[0], digest: digest("other"), ..token(2) };
    let index = index_of([&token(1), &other]);
    assert_eq!(index.token(&digest("other"), at(0)), None, "a company that nobody turned on");
    index.apply_company(&company(OTHERS[0], true));
    for enabled in [true, false, true] {
        index.apply_company(&company(COMPANY, enabled));
        assert_eq!(index.token(&digest(OLD), at(0)).is_some(), enabled);
        let found = index.token(&digest("other"), at(0)).expect("it is good");
        assert_eq!(found.company_id, OTHERS[0]);
    }
}

#[test]
fn the_order_of_company_and_token_does_not_matter() {
    let index = VerificationIndex::new();
    index.apply_token(&token(1));
    assert_eq!(index.token(&digest(OLD), at(0)), None);
    index.apply_company(&company(COMPANY, true));
    assert!(index.token(&digest(OLD), at(0)).is_some());
}

#[test]
fn keys_are_good_while_they_are_and_whatever_the_module() {
    let index = VerificationIndex::new();
    index.apply_company(&company(COMPANY, false));
    let row = key();
    index.apply_key(&row);
    let expected = ActiveKey {
        key_id: row.key_id,
        company_id: COMPANY,
        name: name("Reporting"),
        scopes: KeyScopes::from([KeyScope::Audit]),
        expires_at: at(DAY),
    };
    assert_eq!(index.key(&digest(OLD), just_before(at(DAY))), Some(expected));
    assert_eq!(index.key(&digest(OLD), at(DAY)), None);
    assert_eq!(index.token(&digest(OLD), at(0)), None, "a key's secret is no token's");

    let end = at(120);
    let second =
        KeyRow { digest: digest(NEW), previous: Some((row.digest, end)), term: 2, ..row.clone() };
    index.apply_key(&second);
    let stops = |secret, now| index.key(&digest(secret), now).map(|key| key.expires_at);
    assert_eq!(stops(OLD, at(61)), Some(end));
    assert_eq!(stops(OLD, end), None);
    assert_eq!(stops(NEW, end), Some(at(DAY)));

    let third = KeyRow { digest: digest("third"), previous: None, term: 3, ..second.clone() };
    index.apply_key(&third);
    assert_eq!(index.key(&digest(OLD), at(61)), None);
    assert_eq!(index.key(&digest(NEW), at(61)), None);
    assert!(index.key(&digest("third"), at(61)).is_some());

    for status in [Status::Expired, Status::Deleted] {
        index.apply_key(&third);
        index.apply_key(&KeyRow { status, ..third.clone() });
        assert_eq!(index.key(&digest("third"), at(61)), None);
    }
}

fn a_use(at: Timestamp) -> Use {
    let from = Some(IpAddr::from([192, 0, 2, 1]));
    Use { company_id: COMPANY, token_id: TokenId(Uuid::from_u128(1)), at, from }
}

/// Shows the token's secret as those who verify it do.
fn show(index: &VerificationIndex, at: Timestamp) {
    if index.token(&digest(OLD), at).is_some_and(|token| token.use_is_due) {
        index.note_use(&digest(OLD), a_use(at));
    }
}

#[test]
fn a_use_is_noted_once_a_minute() {
    let index = index_of([&token(1)]);
    let at_second = |second| {
        show(&index, at(second));
        index.take_uses()
    };
    let used = |second| vec![a_use(at(second))];
    assert_eq!(at_second(0), used(0));
    assert_eq!(at_second(0), []);
    assert_eq!(at_second(59), []);
    assert_eq!(at_second(60), used(60));
    assert_eq!(at_second(119), []);
    assert_eq!(at_second(-30), [], "a clock that went back");
    assert_eq!(at_second(3600), used(3600));
    assert_eq!(at_second(DAY), [], "what is not good is not used");

    let edited = TokenRow { scopes: scopes("locations"), ..changed(&token(1)) };
    index.apply_token(&edited);
    assert_eq!(at_second(3659), [], "an edit doesn't begin a new minute");
    index.apply_company(&company(COMPANY, false));
    assert_eq!(at_second(7200), [], "nor is what is off");
}

#[test]
fn of_many_uses_at_once_one_is_noted() {
    let index = index_of([&token(1)]);
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..500 {
                    show(&index, at(0));
                }
            });
        }
    });
    assert_eq!(index.take_uses(), [a_use(at(0))]);
}

#[test]
fn a_reader_sees_the_secret_good_through_every_edit() {
    const EDITS: u64 = 20_000;
    let row = token(1);
    let index = index_of([&row]);
    let editing = AtomicBool::new(true);
    let reads = AtomicU64::new(0);
    thread::scope(|scope| {
        let read = || {
            let whole: HashSet<&str> = HashSet::from(["employees positions", "locations"]);
            let mut more = true;
            while more {
                // Once more after the last edit.
                more = editing.load(Ordering::Acquire);
                let found = index.token(&digest(OLD), at(1)).expect("never unknown");
                assert!(whole.contains(&*found.scopes), "{}", found.scopes);
                assert_eq!(found.token_id, row.token_id);
                reads.fetch_add(1, Ordering::Relaxed);
            }
        };
        let readers = [scope.spawn(read), scope.spawn(read)];
        // The edits go on until the readers have had their share too, or have failed.
        let lacking = || {
            reads.load(Ordering::Relaxed) < EDITS
                && !readers.iter().any(thread::ScopedJoinHandle::is_finished)
        };
        let mut version = row.version;
        while version < EDITS || lacking() {
            version += 1;
            let scopes =
                scopes(if version.is_multiple_of(2) { "employees positions" } else { "locations" });
            index.apply_token(&TokenRow { scopes, version, ..row.clone() });
        }
        editing.store(false, Ordering::Release);
    });
}

#[test]
fn a_secret_with_grace_is_good_through_the_refresh_that_replaces_it() {
    const REFRESHES: u32 = 5_000;
    let first = token(1);
    let index = index_of([&first]);
    let current = AtomicU64::new(1);
    let refreshing = AtomicBool::new(true);
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut more = true;
            while more {
                more = refreshing.load(Ordering::Acquire);
                // A secret is good from before it is told until the refresh after the next one.
                let term = current.load(Ordering::Acquire);
                let found = index.token(&term_digest(term), at(1)).is_some();
                let passed = current.load(Ordering::Acquire) - term;
                assert!(found || passed >= 1, "the secret of term {term} was not good");
            }
        });
        let mut row = TokenRow { digest: term_digest(1), ..changed(&first) };
        index.apply_token(&row);
        for _ in 0..REFRESHES {
            let text = format!("term {}", row.term + 1);
            row = refreshed(&row, &text, at(0), Some(at(3600)));
            index.apply_token(&row);
            current.store(u64::from(row.term), Ordering::Release);
        }
        refreshing.store(false, Ordering::Release);
    });
    assert_eq!(index.len(), 2);
}

fn term_digest(term: u64) -> Digest {
    digest(&if term == 1 { OLD.to_owned() } else { format!("term {term}") })
}

/// Writers that each have their own tokens, and readers of all of them, come to what one writer
/// alone would have come to.
#[test]
fn many_threads_come_to_what_one_would() {
    const WRITERS: u128 = 4;
    const TOKENS: u128 = 300;
    let index = index_of([]);
    let alone = index_of([]);
    let histories: Vec<Vec<TokenRow>> = (0..WRITERS)
        .map(|writer| (0..TOKENS).flat_map(|n| life(writer * TOKENS + n)).collect())
        .collect();
    thread::scope(|scope| {
        for history in &histories {
            scope.spawn(|| history.iter().for_each(|row| index.apply_token(row)));
        }
        for _ in 0..2 {
            scope.spawn(|| {
                for row in histories.iter().flatten() {
                    if let Some(found) = index.token(&row.digest, at(61)) {
                        assert_eq!(found.token_id, row.token_id);
                    }
                }
            });
        }
    });
    histories.iter().flatten().for_each(|row| alone.apply_token(row));
    assert_eq!(index.len(), alone.len());
    for row in histories.iter().flatten() {
        assert_eq!(index.token(&row.digest, at(61)), alone.token(&row.digest, at(61)));
    }
}

/// A token's rows one after the other: created, refreshed, edited, and every third one deleted.
fn life(number: u128) -> Vec<TokenRow> {
    let created = TokenRow { digest: digest(&format!("{number} old")), ..token(number) };
    let grace_end = number.is_multiple_of(2).then(|| at(3600));
    let refreshed = refreshed(&created, &format!("{number} new"), at(60), grace_end);
    let edited = TokenRow { scopes: scopes("locations"), ..changed(&refreshed) };
    let deleted = TokenRow { status: Status::Deleted, ..changed(&edited) };
    let mut rows = vec![created, refreshed, edited];
    if number.is_multiple_of(3) {
        rows.push(deleted);
    }
    rows
}
