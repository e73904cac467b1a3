//! The commands, as a user meets them.

use crate::process::{Company, Place, Serving, ended, get, post};
use serde_json::{Value, json};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use token_ledger_domain::CompanyId;

/// A user who owns nothing.
const NOBODY: u32 = 65_534;

fn tokens(company: &Company) -> String {
    format!("/v1/companies/{}/tokens", company.id)
}

/// Creates a token over HTTP; answers its identifier and secret.
async fn create(serving: &Serving, company: &Company, name: &str) -> (String, String) {
    let body = json!({"name": name, "scopes": ["positions"]});
    let (status, token) = post(&serving.url(&tokens(company)), &company.admin_key, &body).await;
    assert_eq!(status, 201, "{token}");
    let text = |field: &str| token[field].as_str().expect("a text").to_owned();
    (text("token_id"), text("token"))
}

/// A ledger of one company with three tokens, at rest.
async fn ledger_with_tokens() -> (Place, Company, Vec<String>) {
    let place = Place::new();
    let company = place.setup("Acme");
    let serving = place.serve(&[]);
    let mut ids = Vec::new();
    for name in ["one", "two", "three"] {
        ids.push(create(&serving, &company, name).await.0);
    }
    serving.stop();
    (place, company, ids)
}

#[tokio::test]
async fn what_setup_prints_is_enough_to_work_with() {
    let place = Place::new();
    let args = ["setup", "--company", "Acme", "--admin-email", "Ada@Example.com", "--json"];
    let text = place.run(&args).done();
    let made: Value = serde_json::from_str(&text).unwrap();
    let fields: Vec<&String> = made.as_object().unwrap().keys().collect();
    assert_eq!(
        fields,
        ["admin", "admin_key", "audit_key", "company_id", "introspect_key", "operator_key"]
    );
    assert_eq!(made["admin"]["email"], "ada@example.com");
    assert_eq!(made["admin"]["password"].as_str().unwrap().len(), 24);

    let serving = place.serve(&[]);
    for (key, power) in [("operator_key", 200), ("admin_key", 403), ("audit_key", 403)] {
        let (status, _) = get(&serving.url("/v1/companies"), made[key].as_str().unwrap()).await;
        assert_eq!(status, power, "{key}");
    }
    let url =
        serving.url(&format!("/v1/companies/{}/tokens", made["company_id"].as_str().unwrap()));
    let body = json!({"name": "Payroll", "scopes": ["employees"]});
    let (status, token) = post(&url, made["admin_key"].as_str().unwrap(), &body).await;
    assert_eq!(status, 201, "{token}");
    let secret = token["token"].as_str().unwrap();
    let (status, _) = get(&serving.url("/v1/verify?scope=employees"), secret).await;
    assert_eq!(status, 200);
    let (status, _) = get(&serving.url("/v1/verify?scope=positions"), secret).await;
    assert_eq!(status, 403);
    serving.stop();
}

#[test]
fn a_company_is_set_up_once_and_a_person_keeps_the_password() {
    let place = Place::new();
    place.setup("Acme");
    let again = ["setup", "--company", "Acme", "--admin-email", "eve@example.com"];
    assert!(place.run(&again).refused(1).contains("\"Acme\" exists already"));
    let other = ["setup", "--company", "Other", "--admin-email", "ada@example.com", "--json"];
    let made: Value = serde_json::from_str(&place.run(&other).done()).unwrap();
    assert_eq!(made["admin"]["password"], Value::Null);
    let text = ["setup", "--company", "Third", "--admin-email", "eve@example.com"];
    let text = place.run(&text).done();
    assert!(text.contains("Super Admin     eve@example.com") && text.contains("tla_"), "{text}");
    for wrong in [
        ["setup", "--company", "", "--admin-email", "ada@example.com"],
        ["setup", "--company", "\u{200B}", "--admin-email", "ada@example.com"],
        ["setup", "--company", "a\nb", "--admin-email", "ada@example.com"],
        ["setup", "--company", "Fourth", "--admin-email", "nobody"],
    ] {
        place.run(&wrong).refused(2);
    }
}

#[tokio::test]
async fn one_process_writes_and_others_read_beside_it() {
    let place = Place::sqlite();
    let company = place.setup("Acme");
    let serving = place.serve(&[]);
    create(&serving, &company, "one").await;
    let id = company.id.as_str();
    for args in [
        &["serve", "--listen", "127.0.0.1:0"][..],
        &["setup", "--company", "Other", "--admin-email", "ada@example.com"],
        &["key", "create", "--company", id, "--name", "k", "--scope", "ledger.audit"],
        &["migrate"],
        &["replay"],
    ] {
        let said = place.run(args).refused(1);
        assert!(said.contains("another process writes") && said.contains("stop it"), "{said}");
    }
    place.run(&["verify"]).done();
    place.run(&["replay", "--check"]).done();
    place.run(&["export", "--format", "ndjson"]).done();
    let said = place.run(&["replay", "--until", "2100-01-01T00:00:00Z"]).refused(2);
    assert!(said.contains("future"), "{said}");
    place.run(&["replay", "--until", "2026-01-01T00:00:00Z"]).done();
    create(&serving, &company, "two").await;
    serving.stop();
    place.run(&["replay"]).done();
}

#[tokio::test]
async fn it_stops_in_good_order() {
    let (place, company, _) = ledger_with_tokens().await;
    for signal in ["TERM", "INT"] {
        let serving = place.serve(&["--log-format", "json"]);
        create(&serving, &company, signal).await;
        serving.signal(signal);
        let (status, said) = serving.wait();
        assert_eq!(status.code(), Some(0), "{said}");
        for line in said.lines() {
            assert!(serde_json::from_str::<Value>(line).is_ok(), "no JSON: {line}");
        }
        assert!(!said.contains("tla_") && !said.contains("tlk_"), "{said}");
        // The write-ahead log is in the file.
        assert!(!place.file("ledger.db-wal").exists());
    }
    place.run(&["verify"]).done();
}

#[tokio::test]
async fn verify_finds_what_was_tampered_with_and_where() {
    let (original, company, _) = ledger_with_tokens().await;
    for (sql, position, what) in [
        ("UPDATE events SET payload = replace(payload, 'two', 'six')", 8, "hashed"),
        ("UPDATE events SET payload = '{' WHERE position = 8", 8, "payload"),
        ("UPDATE events SET metadata = replace(metadata, 'key', 'member')", 7, "hashed"),
        ("DELETE FROM events WHERE position = 8", 8, "missing"),
        ("DELETE FROM events WHERE position = 9", 9, "missing"),
        ("UPDATE events SET salt = x'00' WHERE position = 8", 8, "can't be read"),
        ("UPDATE events SET recorded_at = 0 WHERE position = 8", 8, "before its predecessor"),
        ("UPDATE events SET sequence = 2 WHERE position = 8", 8, "sequence"),
        ("UPDATE event_private SET data = '{}' WHERE position = 8", 8, "private part"),
        ("DELETE FROM event_private WHERE position = 8", 8, "private part is missing"),
        ("UPDATE company_heads SET last_position = 8", 9, "behind the ledger's head"),
        ("UPDATE company_heads SET company_sequence = 99", 9, "sequence 99"),
        ("DELETE FROM company_heads", 0, "no head"),
        ("UPDATE checkpoints SET position = 99", 99, "audit"),
        (
            "INSERT INTO snapshots SELECT company_id, aggregate_type, aggregate_id, sequence, 1, \
             '{\"status\":\"absent\"}' FROM events WHERE position = 8",
            8,
            "snapshot",
        ),
    ] {
        let place = original.copy();
        let only = "company_id = (SELECT company_id FROM companies WHERE name = 'Acme')";
        let joint = if sql.contains("WHERE") { "AND" } else { "WHERE" };
        place.tamper(&format!("{sql} {joint} {only}"));
        let said = place.run(&["verify"]).refused(1);
        let expected = format!("company {}, position {position}: ", company.id);
        assert!(said.contains(&expected) && said.contains(what), "{sql}: {said}");
    }
}

#[tokio::test]
async fn what_is_stored_does_not_write_to_the_terminal() {
    let (place, ..) = ledger_with_tokens().await;
    let escape = if place.is_postgres() { "chr(27)" } else { "char(27)" };
    place.alter(&format!(
        "UPDATE checkpoints SET projection = {escape} || '[2J', position = 999 \
         WHERE projection = 'audit'"
    ));
    let said = place.run(&["verify"]).refused(1);
    assert!(said.contains("[2J") && !said.contains('\u{1b}'), "{said}");
}

#[tokio::test]
async fn replay_finds_and_repairs_rows_that_are_not_what_the_events_say() {
    let (original, company, _) = ledger_with_tokens().await;
    for (projection, sql, what) in [
        (
            "tokens",
            "UPDATE tokens SET expires_at = 0 WHERE name = 'two'",
            ": expires_at is 1970-01-01T00:00:00.000000Z, should be 2",
        ),
        ("tokens", "DELETE FROM tokens WHERE name = 'two'", ": missing\n"),
        (
            "tokens",
            "UPDATE tokens SET previous_expires_at = 1 WHERE name = 'two'",
            "the previous secret is there in part only",
        ),
        (
            "keys",
            "UPDATE keys SET previous_digest = digest WHERE name = 'audit'",
            "the previous secret is there in part only",
        ),
        (
            "keys",
            "UPDATE keys SET scopes = 'ledger.admin' WHERE name = 'audit'",
            ": scopes is \"ledger.admin\", should be \"ledger.audit\"\n",
        ),
        (
            "companies",
            "UPDATE companies SET oauth_app_enabled = 0 WHERE name = 'Acme'",
            ": oauth_app_enabled is 0, should be 1\n",
        ),
        ("audit", "DELETE FROM audit_trail WHERE position = 8", "row 8: missing\n"),
    ] {
        let place = original.copy();
        place.run(&["replay", "--check"]).done();
        place.tamper(sql);
        let said = place.run(&["replay", "--check"]).refused(1);
        let named = format!("{projection}: company {}", company.id);
        assert!(said.contains(&named) && said.contains("1 difference"), "{sql}: {said}");
        assert!(said.contains(what), "{sql}: {said}");
        let only = ["replay", "--check", "--projection", projection, "--company", &company.id];
        place.run(&only).refused(1);
        let serving = place.serve(&[]);
        place.run(&["replay", "--check"]).refused(1);
        serving.stop();
        let said = place.run(&["replay"]).done();
        assert!(said.contains("1 difference put right"), "{said}");
        place.run(&["replay", "--check"]).done();
    }
    let place = original.copy();
    place.alter("DELETE FROM audit_trail; DELETE FROM checkpoints");
    let said = place.run(&["replay", "--check", "--projection", "audit"]).done();
    assert!(said.contains(" 0 rows") && said.contains("was not compared"), "{said}");
    let said = place.run(&["replay", "--projection", "audit"]).done();
    assert!(said.contains("had not come to"), "{said}");
    let said = place.run(&["replay", "--check", "--projection", "audit"]).done();
    let events = place.run(&["export", "--format", "csv"]).done().lines().count() - 1;
    assert!(said.contains(&format!("{events} events, {events} rows, all")), "{said}");
}

#[test]
fn replay_puts_reserved_names_right() {
    let original = Place::new();
    let company = original.setup("Acme");
    let other = original.setup("Other");
    let nobody = original.sql_id("0197f0c0-0000-7000-8000-000000000000");
    let row = format!("companies: company {}, row name \"acme\": ", company.id);
    for (sql, what) in [
        ("DELETE FROM company_names WHERE name = 'acme'".to_owned(), "missing\n"),
        (
            format!("UPDATE company_names SET named = {nobody} WHERE name = 'acme'"),
            "named is 0197f0c0-0000-7000-8000-000000000000, should be ",
        ),
    ] {
        let place = original.copy();
        place.run(&["replay", "--check"]).done();
        place.tamper(&sql);
        for projection in ["all", "companies"] {
            let said = place.run(&["replay", "--check", "--projection", projection]).refused(1);
            assert!(said.contains(&format!("{row}{what}")), "{said}");
            assert!(said.contains(" 1 difference\n"), "{said}");
        }
        place.run(&["replay", "--check", "--company", &other.id]).done();
        place.run(&["replay", "--check", "--projection", "tokens"]).done();
        let said = place.run(&["replay"]).done();
        assert!(said.contains("1 difference put right"), "{said}");
        place.run(&["replay", "--check"]).done();
        // It is the name of one company again, however it is typed.
        let email = "ada@example.com";
        place.run(&["setup", "--company", "ACME", "--admin-email", email]).refused(1);
    }
    if !original.is_postgres() {
        let place = original.copy();
        place.tamper("UPDATE company_names SET named = x'01' WHERE name = 'acme'");
        let said = place.run(&["replay", "--check"]).refused(1);
        assert!(said.contains(&format!("{row}missing\n")), "{said}");
        place.run(&["replay"]).done();
        place.run(&["replay", "--check"]).done();
    }
    let platform = original.sql_id("00000000-0000-7000-8000-000000000000");
    assert_a_wrong_row_accuses_no_name(&original);
    assert_names_led_astray_are_put_right(&original, &platform, &company, &other);
    // Nor is one that a former release reserved with its white space as it was.
    let place = original.copy();
    let email = "ada@example.com";
    place.run(&["setup", "--company", "Alpha  GmbH", "--admin-email", email]).done();
    place.alter("UPDATE company_names SET name = 'alpha  gmbh' WHERE name = 'alpha gmbh'");
    place.run(&["replay", "--check"]).done();
    place.run(&["replay"]).done();
    assert!(
        place
            .run(&["setup", "--company", "ALPHA  GmbH", "--admin-email", email])
            .refused(1)
            .contains("exists already")
    );
    // A name that is reserved for a company to come is no difference.
    let place = original.copy();
    place.alter(&format!("INSERT INTO company_names VALUES ({platform}, 'soon', {nobody})"));
    place.run(&["replay", "--check"]).done();
}

/// What is wrong with a company's row says nothing about its name.
fn assert_a_wrong_row_accuses_no_name(original: &Place) {
    let place = original.copy();
    place.alter("UPDATE companies SET name = 'Evil' WHERE name = 'Acme'");
    let said = place.run(&["replay", "--check"]).refused(1);
    let told: Vec<&str> = said.lines().filter(|line| line.starts_with("companies: ")).collect();
    assert!(matches!(told[..], [only] if only.contains("should be \"Acme\"")), "{said}");
    place.run(&["replay"]).done();
    place.run(&["replay", "--check"]).done();
}

/// Names that lead to a company of another name: one that is nobody's, and one that is another's.
fn assert_names_led_astray_are_put_right(
    original: &Place,
    platform: &str,
    company: &Company,
    other: &Company,
) {
    let email = "ada@example.com";
    let leads = original.sql_id(&other.id);
    for (sql, difference) in [
        (
            format!("INSERT INTO company_names VALUES ({platform}, 'globex', {leads})"),
            format!("company {}, row name \"globex\": should not exist", other.id),
        ),
        (
            format!("INSERT INTO company_names VALUES ({platform}, 'globex', {platform})"),
            format!("company {}, row name \"globex\": should not exist", CompanyId::PLATFORM),
        ),
        (
            format!("UPDATE company_names SET named = {leads} WHERE name = 'acme'"),
            format!(
                "company {0}, row name \"acme\": named is {1}, should be {0}",
                company.id, other.id
            ),
        ),
    ] {
        let place = original.copy();
        place.alter(&sql);
        let setup = ["setup", "--company", "Globex", "--admin-email", email];
        if sql.contains("globex") {
            assert!(place.run(&setup).refused(1).contains("Globex"));
        }
        let said = place.run(&["replay", "--check"]).refused(1);
        let told: Vec<&str> = said.lines().filter(|line| line.starts_with("companies: ")).collect();
        assert_eq!(told, [format!("companies: {difference}")], "{said}");
        let said = place.run(&["replay"]).done();
        assert!(said.contains("1 difference put right"), "{said}");
        place.run(&["replay", "--check"]).done();
        place.run(&setup).done();
        place.run(&["setup", "--company", "ACME", "--admin-email", email]).refused(1);
        place.run(&["setup", "--company", "Other", "--admin-email", email]).refused(1);
    }
}

#[tokio::test]
async fn replay_prints_every_difference() {
    let place = Place::new();
    let company = place.setup("Acme");
    place.serve(&[]).stop();
    place.tamper(&format!(
        "WITH RECURSIVE stray (number) AS (SELECT 1000 UNION ALL \
         SELECT number + 1 FROM stray WHERE number < 3499) \
         INSERT INTO audit_trail SELECT company_id, number, aggregate_type, aggregate_id, \
         event_type, actor_type, actor_id, recorded_at FROM audit_trail CROSS JOIN stray \
         WHERE company_id = {} AND position = 1",
        place.sql_id(&company.id)
    ));
    for args in [&["replay", "--check"][..], &["replay"]] {
        let said = place.run(args);
        let lines = said.stdout.lines().filter(|line| line.ends_with(": should not exist"));
        assert_eq!(lines.count(), 2500, "{}", said.stderr);
        assert!(said.stdout.contains("2500 differences"), "{}", said.stderr);
    }
    place.run(&["replay", "--check"]).done();

    // Whoever has heard enough ends a check, and keeps nothing from being put right.
    place.tamper("UPDATE members SET role = 'auditor'");
    for args in [&["replay", "--check"][..], &["replay"]] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = place.command(args).stdout(writer).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{output:?}");
    }
    place.run(&["replay", "--check"]).done();
}

#[tokio::test]
async fn the_tokens_of_another_time_can_be_had() {
    let (place, company, ids) = ledger_with_tokens().await;
    let nobodys = "01a22890-5f9c-769f-a889-8f799f341600";
    let said = place.run(&["export", "--token", nobodys]).refused(1);
    assert!(said.contains(&format!("there is no token {nobodys}")), "{said}");
    let all = place.run(&["export", "--format", "ndjson", "--token", &ids[1]]).done();
    let created: Value = all
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .find(|event| event["type"] == "token.created")
        .unwrap();
    let until = created["recorded_at"].as_str().unwrap();
    let args = ["replay", "--until", until, "--company", &company.id, "--output", "then.ndjson"];
    place.run(&args).done();
    // How far it has come is told of all companies together.
    let whole = place.command(&args[..3]).output().unwrap();
    let told = String::from_utf8(whole.stderr).unwrap();
    let end = place.run(&["export"]).done();
    let end: Value = end.lines().last().map(|line| serde_json::from_str(line).unwrap()).unwrap();
    let count = &end["export"]["count"];
    assert!(told.starts_with(&format!("{count} of {count} events,")), "{told}");
    // Nobody reads on.
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = place.command(&args[..5]).stdout(writer).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(1) && !said.contains("error"), "{said}");
    let text = std::fs::read_to_string(place.file("then.ndjson")).unwrap();
    let mut names = Vec::new();
    for line in text.lines() {
        let token: Value = serde_json::from_str(line).unwrap();
        assert_eq!(token["created_by"]["name"], "admin");
        assert_eq!(token["status"], "active");
        names.push(token["name"].as_str().unwrap().to_owned());
    }
    names.sort();
    assert_eq!(names, ["one", "two"]);
}

#[tokio::test]
async fn events_are_exported() {
    let (place, company, ids) = ledger_with_tokens().await;
    let text = place.run(&["export", "--format", "ndjson", "--company", &company.id]).done();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let (last, events) = lines.split_last().unwrap();
    assert_eq!(last["export"], json!({"count": events.len(), "last_position": events.len()}));
    for (event, position) in events.iter().zip(1_u64..) {
        assert_eq!(event["position"], position);
    }
    let keys =
        [&company.operator_key, &company.admin_key, &company.audit_key, &company.introspect_key];
    for key in keys {
        assert!(key.starts_with("tla_") && !text.contains(key.as_str()), "{text}");
    }
    assert!(!text.contains("password"), "{text}");

    let text = place.run(&["export", "--format", "ndjson"]).done();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let ends: Vec<&Value> = lines.iter().filter_map(|line| line.get("export")).collect();
    let [platform, acme, all] = ends[..] else { panic!("{ends:?}") };
    assert_eq!(platform["company_id"], "00000000-0000-7000-8000-000000000000");
    assert_eq!(acme["company_id"], company.id);
    assert_eq!(acme["count"], events.len());
    assert_eq!(*all, json!({"companies": 2, "count": events.len() + 2}));
    assert_eq!(lines.last().unwrap()["export"], *all);

    place.run(&["export", "--format", "csv", "--output", "all.csv"]).done();
    let text = std::fs::read_to_string(place.file("all.csv")).unwrap();
    let mut rows = csv::Reader::from_reader(text.as_bytes());
    assert!(rows.headers().unwrap().iter().any(|name| name == "recorded_at"));
    // The platform has its registration and the operator's key.
    assert_eq!(rows.records().map(Result::unwrap).count(), events.len() + 2);

    // NDJSON unless asked otherwise, and CSV into a file that is called so.
    let text = place.run(&["export", "--company", &company.id]).done();
    assert_eq!(text.lines().count(), events.len() + 1);
    assert!(text.starts_with('{'), "{text}");
    place.run(&["export", "--output", "again.csv"]).done();
    assert_eq!(
        std::fs::read(place.file("again.csv")).unwrap(),
        std::fs::read(place.file("all.csv")).unwrap()
    );
    place.run(&["export", "--format", "ndjson", "--output", "again.csv"]).done();
    assert!(std::fs::read_to_string(place.file("again.csv")).unwrap().starts_with('{'));

    let one = place.run(&["export", "--format", "ndjson", "--token", &ids[0]]).done();
    assert_eq!(one.matches("token.created").count(), 1);
    let none =
        ["export", "--format", "csv", "--company", &company.id, "--from", "2100-01-01T00:00:00Z"];
    assert_eq!(place.run(&none).done().lines().count(), 1);
    place.run(&["export", "--format", "xml"]).refused(2);
    let stranger = "00000000-0000-7000-8000-000000000001";
    let said = place.run(&["export", "--format", "csv", "--company", stranger]).refused(1);
    assert!(said.contains("there is no company"), "{said}");
}

#[test]
fn a_ledger_is_read_where_nothing_may_be_written() {
    let place = Place::sqlite();
    place.setup("Acme");
    let program = place.program();
    let folder = program.parent().unwrap();
    let allow_in = |place: &Path, mode| {
        std::fs::set_permissions(place, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    let allow = |mode| allow_in(folder, mode);
    // Whoever made it may read it, but the others may not yet.
    allow_in(&place.ledger(), 0o444);
    let run = |args: &[&str]| {
        let mut command = Command::new(&program);
        command.env_clear().current_dir(folder).args(args);
        command.args(["--database-url", &place.url()]);
        // Root may write everywhere.
        if std::fs::metadata(folder).unwrap().uid() == 0 {
            command.uid(NOBODY).gid(NOBODY);
        }
        ended(&mut command)
    };
    allow(0o555);
    for args in [
        &["verify"][..],
        &["replay", "--check"],
        &["replay", "--until", "2026-01-01T00:00:00Z"],
        &["export", "--format", "ndjson"],
    ] {
        run(args).done();
    }
    assert!(run(&["migrate"]).refused(1).contains("ermission"));
    allow(0o755);
    std::fs::write(place.file("ledger.db-wal"), "something").unwrap();
    allow(0o555);
    let said = run(&["verify"]).refused(1);
    assert!(said.contains("its folder must be writable"), "{said}");
    allow(0o755);

    let url = format!("sqlite://{}", folder.display());
    let said = place.run(&["verify", "--database-url", &url]).refused(1);
    assert!(said.contains("is a folder"), "{said}");
}

#[test]
fn a_ledger_that_may_not_be_read_is_said_to_be_so() {
    let place = Place::sqlite();
    place.setup("Acme");
    place.serve(&[]).stop();
    let program = place.program();
    let allow = |path: &Path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    let run = |args: &[&str]| {
        let mut command = Command::new(&program);
        command.env_clear().current_dir("/").args(args).args(["--database-url", &place.url()]);
        // Root may read everything.
        if std::fs::metadata(&program).unwrap().uid() == 0 {
            command.uid(NOBODY).gid(NOBODY);
        }
        ended(&mut command)
    };
    let folder = program.parent().unwrap();
    allow(&place.ledger(), 0o000);
    let file = format!("{}: Permission denied", place.ledger().display());
    for mode in [0o555, 0o777] {
        allow(folder, mode);
        for args in [&["verify"][..], &["export"], &["serve", "--listen", "127.0.0.1:0"]] {
            let said = run(args).refused(1);
            assert!(said.contains(&file), "{mode:o} {args:?}: {said}");
            assert_eq!(said.lines().count(), 1, "{said}");
        }
    }
    allow(&place.ledger(), 0o444);
    // The evidence beside it may not be read either.
    let said = run(&["verify"]).refused(1);
    let evidence = format!("the evidence folder can't be used: {}/", place.evidence().display());
    assert!(said.contains(&evidence) && !said.contains("database"), "{said}");
    let said = run(&["verify", "--evidence-dir", &format!("{}/log", place.evidence().display())]);
    let said = said.refused(2);
    assert!(said.contains("evidence_dir: ") && said.contains("Permission denied"), "{said}");
    allow(folder, 0o700);
}

#[tokio::test]
async fn keys_are_created_from_the_command_line() {
    let place = Place::new();
    let company = place.setup("Acme");
    let create = |company: &str, scope: &str, more: &[&str]| {
        let mut args = vec!["key", "create", "--name", "k", "--company", company, "--scope", scope];
        args.extend(more);
        place.run(&args)
    };
    let audit = create(&company.id, "ledger.audit", &["--expires-in", "3600"]).done();
    let operator = create("platform", "ledger.operator", &[]).done();
    let both = create(&company.id, "ledger.audit", &["--scope", "ledger.introspect"]).done();
    create(&company.id, "ledger.operator", &[]).refused(2);
    create(&company.id, "ledger.everything", &[]).refused(2);
    for seconds in ["-5", "1"] {
        create(&company.id, "ledger.audit", &["--expires-in", seconds]).refused(2);
    }
    let said = create(&company.id, "ledger.audit", &["--scope", "ledger.audit"]).refused(2);
    assert!(said.contains("more than once"), "{said}");
    create("acme", "ledger.audit", &[]).refused(2);
    let said = create("00000000-0000-7000-8000-000000000001", "ledger.audit", &[]).refused(1);
    assert!(said.contains("no such company"), "{said}");
    let serving = place.serve(&[]);
    for (key, status) in [(audit, 403), (operator, 200), (both, 403)] {
        assert_eq!(key.lines().count(), 1);
        assert_eq!(get(&serving.url("/v1/companies"), key.trim()).await.0, status);
        assert_eq!(get(&serving.url("/v1/whoami"), key.trim()).await.0, 200);
    }
    serving.stop();
}

#[test]
fn wrong_usage_is_told_from_failure() {
    let place = Place::sqlite();
    for args in [
        &[][..],
        &["frobnicate"],
        &["serve", "--listen", "nowhere"],
        &["serve", "--listen", "0.0.0.0:0"],
        &["serve", "--tls-cert", "cert.pem"],
        &["serve", "--trusted-proxies", "proxy"],
        &["serve", "--config", "missing.toml"],
        &["serve", "--public-url", "ftp://x"],
        &["verify", "--database-url", "mysql://x"],
        &["verify", "--database-url", "postgres://x"],
        &["replay", "--projection", "nothing"],
        &["replay", "--check", "--until", "2026-01-01T00:00:00Z"],
        &["replay", "--output", "x"],
        &["replay", "--check", "--output", "x"],
        &["export", "--format", "csv", "--from", "yesterday"],
        &["key", "create"],
        &["demo", "--database-url", "sqlite://x.db"],
        &["demo", "--listen", "0.0.0.0:0"],
    ] {
        let said = place.run(args).refused(2);
        assert!(!said.trim().is_empty(), "{args:?}");
    }
    let said = place.run(&["replay", "--projection", "nothing"]).refused(2);
    for name in ["tokens", "audit", "all", "tree"] {
        assert!(said.contains(name), "{name}: {said}");
    }
    for args in [&["verify"][..], &["replay"], &["replay", "--check"], &["export"]] {
        let said = place.run(args).refused(1);
        assert!(said.contains("there is no ledger at"), "{said}");
    }
    assert!(!place.ledger().exists());
}

#[test]
fn what_a_url_holds_beside_the_place_is_not_shown() {
    let place = Place::sqlite();
    for option in ["--database-url", "--database-listen-url"] {
        for url in [
            "postgres://u:hunter2@h:70000/l",
            "postgres://u:hunter2@h/l?sslmode=hunter2",
            "mysql://u:hunter2@h/l",
            "x:?p=hunter2",
            "postgres:u:hunter2@h/l",
            "hunter2@h/l",
        ] {
            let said = place.run(&["serve", option, url, "--listen", "nowhere"]).refused(2);
            assert!(said.contains(option) && !said.contains("hunter2"), "{said}");
            assert!(!said.contains("'://"), "{said}");
        }
    }
    let said = place.run(&["verify", "--database-url", "postgres:u:hunter2@h/l"]).refused(2);
    assert!(said.contains("'postgres:…'"), "{said}");
    // Also where none is expected, and where others are proposed.
    for url in ["postgres://u:hunter2@h/l", "x://h?p=hunter2", "postgres:u:hunter2@h/l"] {
        for args in [
            &["verify", url][..],
            &[url],
            &["key", url],
            &["migrate", &format!("--{url}")],
            &["export", "--format", url],
            &["serve", &format!("--databas-url={url}")],
            &["demo", "--database-url", url],
        ] {
            let said = place.run(args).refused(2);
            assert!(!said.contains("hunter2"), "{args:?}: {said}");
        }
    }
    let said = place.run(&["verify", "postgres://u:hunter2@h/l"]).refused(2);
    assert!(said.contains("'postgres://…'"), "{said}");
    let said = place.run(&["verify", "--database-url", "ledger.db"]).refused(2);
    assert!(said.contains("'ledger.db'"), "{said}");
    // A parameter that means nothing is named in the log, and its value is not.
    let url = "postgres://u@127.0.0.1:1/l?pasword=hunter2&sslmode=disable";
    let said = place.run(&["verify", "--database-url", url]).refused(1);
    assert!(said.contains("pasword") && !said.contains("hunter2"), "{said}");
    let mut command = place.command(&["verify"]);
    command.env("TOKEN_LEDGER_DATABASE_URL", "postgres://u:hunter2@h/l?sslmode=on");
    let said = ended(&mut command).refused(2);
    let told = "error: TOKEN_LEDGER_DATABASE_URL: its sslmode must be disable, allow, prefer, \
        require, verify-ca or verify-full\n";
    assert_eq!(said, told);
}

#[tokio::test]
async fn short_work_says_once_how_far_it_came() {
    let (place, company, _) = ledger_with_tokens().await;
    let exported = place.run(&["export", "--format", "ndjson", "--company", &company.id]).done();
    let last = exported.lines().rev().nth(1).expect("an event");
    let event: Value = serde_json::from_str(last).expect("JSON");
    let until = event["recorded_at"].as_str().expect("a time");
    for args in [&["replay", "--check"][..], &["replay"], &["replay", "--until", until]] {
        let ran = place.run(args);
        assert_eq!(ran.stderr.lines().count(), 1, "{args:?}: {ran:?}");
    }
}

/// The commands that a help offers, but for the help itself.
fn subcommands(help: &str) -> Vec<String> {
    let listed = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let listed = listed.take_while(|line| !line.is_empty());
    let names = listed.filter_map(|line| line.split_whitespace().next());
    names.filter(|name| *name != "help").map(str::to_owned).collect()
}

#[test]
fn every_command_explains_itself() {
    let place = Place::new();
    let commands = subcommands(&place.run(&["--help"]).done());
    assert!(commands.len() > 10, "{commands:?}");
    for command in &commands {
        let help = place.run(&[command, "--help"]).done();
        assert_eq!(help.contains("--database-url"), command != "demo", "{help}");
        let version = place.run(&[command, "--version"]).done();
        let own = concat!("token-ledger ", env!("CARGO_PKG_VERSION"), "\n");
        assert_eq!(version, own, "{command}");
        for below in subcommands(&help) {
            place.run(&[command, &below, "--help"]).done();
            assert_eq!(place.run(&[command, &below, "--version"]).done(), own, "{below}");
        }
    }
    for said in ["--help", "--version"] {
        let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
        let ended = place.command(&[said]).stdout(full).output().unwrap().status;
        assert_eq!(ended.code(), Some(1), "nobody was told: {said}");
    }
    let document: Value = serde_json::from_str(&place.run(&["openapi"]).done()).unwrap();
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
}

#[test]
fn the_schema_is_brought_up_to_date_when_asked() {
    let place = Place::new();
    assert!(place.run(&["migrate"]).done().contains("applied"));
    let said = place.run(&["migrate"]).done();
    assert!(said.contains("is up to date\n"), "{said}");
    let header = place.run(&["export", "--format", "csv"]).done();
    assert!(header.starts_with("position,company_id,") && header.lines().count() == 1, "{header}");
    let nobody = "0197f0c0-0000-7000-8000-000000000000";
    place.alter(if place.is_postgres() {
        "DROP TABLE operations; DELETE FROM ledger_migrations WHERE version > 1"
    } else {
        "DROP TABLE operations; PRAGMA user_version = 1;"
    });
    for args in [
        &["serve", "--no-migrate"][..],
        &["verify"],
        &["replay"],
        &["key", "create", "--company", "platform", "--name", "A", "--scope", "ledger.audit"],
        &["erase", "--company", "platform", "--person", nobody, "--reason", "asked to"],
    ] {
        let said = place.run(args).refused(1);
        assert!(said.contains("token-ledger migrate"), "{args:?}: {said}");
    }
}

#[test]
fn a_start_that_fails_is_told_as_the_rest_is() {
    let place = Place::new();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let serve = |more: &[&str]| {
        let ended = place.run(&[&["serve", "--listen"][..], more].concat());
        (ended.code, ended.stderr)
    };
    let json = ["--log-format", "json"];
    for (listen, code) in [(&*address, 1), ("0.0.0.0:0", 2)] {
        let (ended, said) = serve(&[&[listen][..], &json].concat());
        assert_eq!(ended, Some(code), "{said}");
        let lines: Vec<Value> =
            said.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
        let last = lines.last().expect("a line");
        assert_eq!(last["level"], "ERROR", "{said}");
        assert!(last["message"].as_str().unwrap().contains("listen"), "{said}");
        let (ended, said) = serve(&[listen]);
        assert_eq!(ended, Some(code), "{said}");
        assert_eq!(said.matches("error: ").count(), 1, "{said}");
    }
    // Where the log lets nothing through, it is told all the same.
    let mut silent = place.command(&["serve", "--listen", &address]);
    silent.args(json).env("TOKEN_LEDGER_LOG", "off");
    assert!(ended(&mut silent).refused(1).starts_with("error: can't listen"));
}

#[test]
fn what_is_no_ledger_is_left_alone() {
    let commands: [&[&str]; 5] = [
        &["serve", "--listen", "127.0.0.1:0"],
        &["verify"],
        &["replay"],
        &["migrate"],
        &["setup", "--company", "A", "--admin-email", "a@b.c"],
    ];
    let place = Place::sqlite();
    std::fs::write(place.ledger(), "these are my notes, not a database at all\n".repeat(100))
        .unwrap();
    let before = std::fs::read(place.ledger()).unwrap();
    for args in commands {
        let said = place.run(args).refused(1);
        assert!(said.contains("not an SQLite database"), "{args:?}: {said}");
    }
    assert_eq!(std::fs::read(place.ledger()).unwrap(), before);
    assert!(!place.file("ledger.db.lock").exists());

    for log in ["DELETE", "WAL"] {
        let place = Place::sqlite();
        place.tamper(&format!("PRAGMA journal_mode = {log}; CREATE TABLE notes (text TEXT)"));
        for args in commands {
            let said = place.run(args).refused(1);
            assert!(said.contains("not a token ledger"), "{args:?}: {said}");
        }
        assert!(!place.file("ledger.db.lock").exists(), "{log}");
    }

    let place = Place::sqlite();
    place.setup("Acme");
    place.tamper("PRAGMA user_version = 999");
    for args in commands {
        let said = place.run(args).refused(1);
        assert!(said.contains("newer than this release"), "{args:?}: {said}");
    }
}

#[test]
fn a_file_that_may_not_be_written_is_not_served() {
    let place = Place::sqlite();
    place.setup("Acme");
    let program = place.program();
    let folder = program.parent().unwrap();
    let allow = |path: &Path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    allow(&place.ledger(), 0o444);
    allow(folder, 0o777);
    let run = |args: &[&str]| {
        let mut command = Command::new(&program);
        command.env_clear().current_dir(folder).args(args);
        command.args(["--database-url", &place.url()]);
        // Permissions mean nothing to the superuser.
        if std::fs::metadata(&program).unwrap().uid() == 0 {
            command.uid(NOBODY).gid(NOBODY);
        }
        ended(&mut command)
    };
    // Whoever set it up holds no lock any more.
    std::fs::remove_file(place.file("ledger.db.lock")).unwrap();
    let said = run(&["serve", "--listen", "127.0.0.1:0"]).refused(1);
    assert!(said.contains("may not be written"), "{said}");
    run(&["verify"]).done();
}

#[tokio::test]
async fn the_demo_is_there_at_once_and_stays() {
    let place = Place::sqlite();
    let command = || place.command(&["demo", "--json", "--listen", "127.0.0.1:0"]);
    let mut first = Serving::start(command());
    let line: Value = serde_json::from_str(&first.first_line()).unwrap();
    assert_eq!(line["url"], first.base.as_str());
    let sign_in = line["sign_in_url"].as_str().unwrap();
    assert!(sign_in.starts_with(&format!("{}/console/sign-in/", first.base)), "{sign_in}");
    let company = line["company_id"].as_str().unwrap().to_owned();
    let key = line["api_key"].as_str().unwrap();
    let list = format!("/v1/companies/{company}/tokens?limit=1000");
    let (status, tokens) =
        get(&first.url(&format!("{list}&status=active&status=expired&status=deleted")), key).await;
    assert_eq!(status, 200);
    let tokens = tokens["items"].as_array().unwrap().clone();
    let with = |status: &str| tokens.iter().filter(|token| token["status"] == status).count();
    assert!(tokens.len() >= 40 && with("active") > 9 && with("expired") > 4 && with("deleted") > 4);
    // In use, so it is neither thrown away nor opened twice.
    let said = place.run(&["demo", "--reset", "--listen", "127.0.0.1:0"]).refused(1);
    assert!(said.contains("another process writes"), "{said}");
    first.stop();

    let mut second = Serving::start(command());
    let line: Value = serde_json::from_str(&second.first_line()).unwrap();
    assert_eq!(line["company_id"], company);
    assert_ne!(line["api_key"], key);
    second.stop();
    let url = format!("sqlite://{}", place.file("demo-ledger/ledger.db").display());
    place.run(&["verify", "--database-url", &url]).done();
    place.run(&["replay", "--check", "--database-url", &url]).done();

    // Who is erased can't be signed in, and no key is left that nobody was told of.
    let added = ["export", "--format", "ndjson", "--company", &company, "--database-url", &url];
    let events = |text: String| -> Vec<Value> {
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    };
    let events_before = events(place.run(&added).done());
    let admin = events_before.iter().find(|event| event["type"] == "company.member_added");
    let person = admin.unwrap()["data"]["person_id"].as_str().unwrap();
    let reason = ["--reason", "asked to", "--database-url", &url];
    let erase = [&["erase", "--company", &company, "--person", person], &reason[..]].concat();
    place.run(&erase).done();
    let said = place.run(&erase).done();
    assert!(said.contains("erased: 0 private parts"), "{said}");
    let said = ended(&mut command()).refused(1);
    assert!(said.contains("no account for maya.lindqvist@acme-hiring.example"), "{said}");
    assert_eq!(events(place.run(&added).done()).len(), events_before.len() + 2);

    let third = Serving::start(place.command(&["demo", "--reset", "--listen", "127.0.0.1:0"]));
    let (status, _) = get(&third.url(&list), line["api_key"].as_str().unwrap()).await;
    assert_eq!(status, 401);
    third.stop();
}

#[test]
fn a_key_of_the_platform_needs_a_ledger_that_was_set_up() {
    let place = Place::new();
    place.run(&["migrate"]).done();
    let scope = ["--name", "k", "--scope", "ledger.operator"];
    let create = [&["key", "create", "--company", "platform"][..], &scope].concat();
    let said = place.run(&create).refused(1);
    assert!(said.contains("token-ledger setup"), "{said}");
}

#[test]
fn what_shall_be_logged_is_said_rightly() {
    let place = Place::sqlite();
    let said = ended(place.command(&["migrate"]).env("TOKEN_LEDGER_LOG", "a=b=c")).refused(2);
    assert!(said.contains("TOKEN_LEDGER_LOG"), "{said}");
    ended(place.command(&["migrate"]).env("TOKEN_LEDGER_LOG", "")).done();
}

#[test]
fn a_scope_is_refused_in_words() {
    let place = Place::sqlite();
    for (scope, hint) in [("a b=c", "is not a scope"), ("a,b=c", "commas")] {
        let listen = ["--listen", "192.0.2.1:1"];
        let said = place.run(&[&["serve", "--scope", scope], &listen[..]].concat()).refused(2);
        assert!(said.contains(hint) && !said.contains("src/"), "{said}");
    }
}

#[test]
fn of_two_demos_that_begin_at_once_one_runs_and_the_other_says_so() {
    let place = Place::sqlite();
    let demo = || Serving::spawn(place.command(&["demo", "--listen", "127.0.0.1:0"]));
    let mut demos = [demo(), demo()];
    let runs = demos.each_mut().map(Serving::comes_to_listen);
    let [first, second] = demos;
    let (running, other) = match runs {
        [true, false] => (first, second),
        [false, true] => (second, first),
        _ => panic!("{runs:?}: {} {}", first.before(), second.before()),
    };
    let said = other.before();
    assert!(said.contains("another process writes") && said.contains("--dir"), "{said}");
    assert_eq!(other.wait().0.code(), Some(1));
    running.stop();
    // Nothing is left of what the other one has made.
    let left = std::fs::read_dir(place.file("demo-ledger")).unwrap();
    let left: Vec<_> = left.map(|entry| entry.unwrap().file_name()).collect();
    assert!(left.iter().all(|name| name.to_str().unwrap().starts_with("ledger.db")), "{left:?}");
    let url = format!("sqlite://{}", place.file("demo-ledger/ledger.db").display());
    place.run(&["verify", "--database-url", &url]).done();
    place.run(&["replay", "--check", "--database-url", &url]).done();
}

#[tokio::test]
async fn a_reset_of_the_demo_leaves_alone_what_is_not_the_demos() {
    let place = Place::sqlite();
    place.setup("Acme Hiring");
    place.serve(&[]).stop();
    // Nothing can listen there: a reset that goes too far ends, too.
    let nowhere = ["--reset", "--insecure-http", "--listen", "192.0.2.1:1"];
    let reset = [&["demo", "--dir", "."], &nowhere[..]].concat();
    let before = std::fs::read(place.ledger()).unwrap();
    let said = place.run(&reset).refused(1);
    assert!(said.contains("is not the demo's") && !said.contains("--reset"), "{said}");
    assert_eq!(std::fs::read(place.ledger()).unwrap(), before);
    let seed = std::fs::read(place.evidence().join("seed")).unwrap();
    place.run(&["verify"]).done();

    // The folder of a ledger that is somewhere else.
    std::fs::rename(place.ledger(), place.file("elsewhere.db")).unwrap();
    let said = place.run(&reset).refused(1);
    assert!(said.contains("nothing was removed"), "{said}");
    Serving::start(place.command(&["demo", "--listen", "127.0.0.1:0"])).stop();
    let demos = place.file("demo-ledger/ledger.db.evidence");
    std::fs::remove_dir_all(&demos).unwrap();
    std::fs::rename(place.evidence(), &demos).unwrap();
    let said = place.run(&[&["demo"], &nowhere[..]].concat()).refused(1);
    assert!(said.contains("nothing was removed"), "{said}");
    assert_eq!(std::fs::read(demos.join("seed")).unwrap(), seed);

    // What can't be read may be anybody's.
    std::fs::write(place.ledger(), "no ledger").unwrap();
    let said = place.run(&reset).refused(1);
    assert!(said.contains("nothing was removed"), "{said}");
    assert_eq!(std::fs::read(place.ledger()).unwrap(), b"no ledger");
}

#[tokio::test]
async fn the_demo_makes_do_with_the_data_accesses_on_offer() {
    let place = Place::sqlite();
    let mut command = place.command(&["demo", "--listen", "127.0.0.1:0"]);
    command.env("TOKEN_LEDGER_SCOPES", "rooms=Rooms\ndesks=Desks");
    let mut demo = Serving::start(command);
    let said = demo.answer(|line| line.contains("\"scopes\":"));
    assert!(said.contains("[\"desks\"]"), "{said}");
    let (_, rest) = said.split_once("API key  ").expect("a key");
    let key = rest.lines().next().unwrap();
    let (_, rest) = said.split_once("Company  ").expect("a company");
    let company = rest.lines().next().unwrap();
    let list = format!("/v1/companies/{company}/tokens?limit=1000");
    let (status, tokens) = get(&demo.url(&list), key).await;
    assert_eq!(status, 200);
    let mut scopes: Vec<&str> = tokens["items"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|token| token["scopes"].as_array().unwrap())
        .map(|scope| scope.as_str().unwrap())
        .collect();
    scopes.sort_unstable();
    scopes.dedup();
    assert_eq!(scopes, ["desks", "rooms"]);
    demo.stop();
}

#[tokio::test]
async fn the_demo_s_link_works_on_this_machine_wherever_it_listens() {
    let place = Place::sqlite();
    let args = ["demo", "--json", "--listen", "0.0.0.0:0", "--insecure-http"];
    let mut demo = Serving::start(place.command(&args));
    let told: Value = serde_json::from_str(&demo.first_line()).unwrap();
    let port = demo.base.rsplit(':').next().unwrap();
    assert_eq!(told["url"], format!("http://localhost:{port}"));
    let link = told["sign_in_url"].as_str().unwrap();
    assert!(link.starts_with(&format!("http://localhost:{port}/console/sign-in/")), "{link}");
    let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build();
    let client = client.unwrap();
    let page = client.get(link).send().await.unwrap();
    assert_eq!(page.status(), 200);
    let answer = client.post(link).header("origin", told["url"].as_str().unwrap()).body("");
    let answer = answer.header("content-type", "application/x-www-form-urlencoded");
    let answer = answer.send().await.unwrap();
    assert_eq!(answer.status(), 303, "{answer:?}");
    let cookie = answer.headers()["set-cookie"].to_str().unwrap();
    assert!(cookie.starts_with("token-ledger=") && !cookie.contains("Secure"), "{cookie}");
    demo.stop();
}
