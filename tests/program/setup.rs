//! `setup` that can't be carried out: it leaves nothing, or the same command does it later.

use crate::process::{Ended, Place, ended, get};
use serde_json::Value;
use std::process::Command;

/// A ledger of the platform and Acme, and what is done to `setup` of another company.
const SETUP: [&str; 6] =
    ["setup", "--company", "Globex", "--admin-email", "bob@example.com", "--json"];

/// Runs `setup` by a shell that first does this to itself.
fn set_up(place: &Place, before: &str) -> Ended {
    run_after(place, before, &SETUP)
}

/// Runs a command by a shell that first does this to itself.
fn run_after(place: &Place, before: &str, args: &[&str]) -> Ended {
    let mut command = Command::new("/bin/sh");
    command.env_clear().env("TOKEN_LEDGER_DATABASE_URL", place.url()).current_dir(place.file(""));
    command.args(["-c", &format!("{before} exec \"$0\" \"$@\"")]);
    command.arg(env!("CARGO_BIN_EXE_token-ledger")).args(args);
    ended(&mut command)
}

/// What a shell does to itself so that a program's clock is off.
fn clock_off_by(shift: &str) -> String {
    let library = std::fs::read_dir("/usr/lib")
        .unwrap()
        .flatten()
        .map(|kind| kind.path().join("faketime/libfaketimeMT.so.1"))
        .find(|library| library.exists())
        .expect("faketime is installed (Debian: faketime); scripts/test does it");
    format!("export FAKETIME={shift} LD_PRELOAD={};", library.display())
}

/// What was made is all there and works; answers whether the password is.
async fn assert_complete(place: &Place, done: Ended) -> bool {
    let made: Value = serde_json::from_str(&done.stdout).expect("what setup prints");
    let password = made["admin"]["password"].as_str();
    assert_eq!(password.is_none(), done.stderr.contains("has no password"), "{done:?}");
    let serving = place.serve(&[]);
    for key in ["operator_key", "admin_key", "audit_key", "introspect_key"] {
        let key = made[key].as_str().unwrap();
        assert_eq!(get(&serving.url("/v1/whoami"), key).await.0, 200);
    }
    let admin = made["admin_key"].as_str().unwrap();
    let company = made["company_id"].as_str().unwrap();
    let (_, keys) = get(&serving.url(&format!("/v1/companies/{company}/keys")), admin).await;
    assert_eq!(keys["items"].as_array().unwrap().len(), 3, "{keys}");
    let operator = made["operator_key"].as_str().unwrap();
    let (_, companies) = get(&serving.url("/v1/companies"), operator).await;
    assert_eq!(companies["items"].as_array().unwrap().len(), 3, "{companies}");
    serving.stop();
    place.run(&["verify"]).done();
    password.is_some_and(|password| password.len() == 24)
}

#[tokio::test]
async fn a_clock_behind_the_ledger_leaves_no_company_half_made() {
    let place = Place::sqlite();
    place.setup("Acme");
    let said = set_up(&place, &clock_off_by("-1h")).refused(1);
    assert!(said.contains("the clock is ") && said.contains("behind the ledger"), "{said}");
    assert_eq!(count(&place, "SELECT count(*) FROM companies"), 2);
    assert!(assert_complete(&place, set_up(&place, "")).await);
}

/// What verification complains of is over once the time has come.
#[test]
fn what_a_clock_that_was_ahead_recorded_is_signed_no_earlier() {
    let place = Place::sqlite();
    place.setup("Acme");
    set_up(&place, &clock_off_by("+1h")).done();
    place.serve(&[]).stop();
    let said = place.run(&["verify"]).refused(1);
    assert!(said.contains("future"), "{said}");
    run_after(&place, &clock_off_by("+2h"), &["verify"]).done();
}

#[tokio::test]
async fn a_full_disk_leaves_no_company_half_made() {
    let original = Place::sqlite();
    original.setup("Acme");
    let (mut refused, mut done) = (0, false);
    // The room that is left decides how far it comes: a page more each time.
    for blocks in (0..400).step_by(8) {
        let place = original.copy();
        let outcome = set_up(&place, &format!("trap '' XFSZ; ulimit -S -f {blocks};"));
        if outcome.code == Some(0) {
            done = assert_complete(&place, outcome).await;
            if done {
                break;
            }
        } else {
            outcome.refused(1);
            refused += 1;
            assert!(assert_complete(&place, set_up(&place, "")).await);
        }
    }
    assert!(refused > 3 && done, "{refused}");
}

/// On a database that takes longer over a statement than a decision may be old.
#[tokio::test]
async fn a_slow_database_leaves_no_company_half_made() {
    let place = Place::postgres();
    place.setup("Acme");
    place.alter(
        "CREATE FUNCTION dawdle() RETURNS trigger LANGUAGE plpgsql AS \
         'BEGIN PERFORM pg_sleep(2.3); RETURN NEW; END'; \
         CREATE TRIGGER dawdle BEFORE INSERT ON events FOR EACH ROW \
         WHEN (NEW.event_type = 'key.created' AND NEW.company_id = \
         '00000000-0000-7000-8000-000000000000') EXECUTE FUNCTION dawdle()",
    );
    let done = set_up(&place, "");
    place.alter("DROP TRIGGER dawdle ON events; DROP FUNCTION dawdle");
    assert!(assert_complete(&place, done).await);
}

#[tokio::test]
async fn of_two_at_once_one_makes_the_company() {
    let place = Place::new();
    place.setup("Acme");
    let outcomes = std::thread::scope(|scope| {
        let both = [(); 2].map(|()| scope.spawn(|| set_up(&place, "")));
        both.map(|one| one.join().unwrap())
    });
    let (done, refused): (Vec<_>, Vec<_>) =
        outcomes.into_iter().partition(|ended| ended.code == Some(0));
    let ([done], [refused]) = (&done[..], &refused[..]) else { panic!("{done:?} {refused:?}") };
    let why = &refused.stderr;
    assert!(why.contains("exists already") || why.contains("another process writes"), "{why}");
    let made: Value = serde_json::from_str(&done.stdout).unwrap();
    let serving = place.serve(&[]);
    for key in ["operator_key", "admin_key", "audit_key", "introspect_key"] {
        let key = made[key].as_str().unwrap();
        assert_eq!(get(&serving.url("/v1/whoami"), key).await.0, 200);
    }
    let keys = format!("/v1/companies/{}/keys", made["company_id"].as_str().unwrap());
    let (_, keys) = get(&serving.url(&keys), made["admin_key"].as_str().unwrap()).await;
    let keys = keys["items"].as_array().unwrap();
    assert_eq!(keys.iter().filter(|key| key["status"] == "active").count(), 3, "{keys:?}");
    serving.stop();
}

fn count(place: &Place, sql: &str) -> i64 {
    let ledger = rusqlite::Connection::open(place.ledger()).unwrap();
    ledger.query_row(sql, [], |row| row.get(0)).unwrap()
}
