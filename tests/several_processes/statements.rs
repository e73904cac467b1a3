//! Where companies live on several servers, a statement that names no company asks all of them.

use crate::process::Place;
use crate::stage::{Caller, Stage, until};
use reqwest::Method;
use serde_json::json;
use token_ledger_test_cluster::{Cluster, TestDatabase};

/// The migrations, all in one.
fn migrations() -> String {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/migrations/postgres");
    let files = std::fs::read_dir(folder).expect("migrations");
    let texts = files.map(|file| std::fs::read_to_string(file.expect("a file").path()));
    texts.collect::<Result<_, _>>().expect("texts")
}

/// The tables, which all have their rows by company.
fn tables(migrations: &str) -> Vec<&str> {
    let names = migrations.split("CREATE TABLE ").skip(1);
    names.filter_map(|rest| rest.split_whitespace().next()).collect()
}

/// Statements that may ask all servers, by how they begin: what runs on its own looks a few times a
/// second for ledgers that have grown, and more seldom for terms that are over and for operations that
/// are open.
const ASK_ALL: [&str; 7] = [
    "SELECT get_byte(uuid_send(company_id), 15), sum(last_position)::text, \
     sum(last_recorded_at)::text FROM company_heads WHERE last_position > 0 GROUP BY 1",
    "SELECT company_id, last_position, last_recorded_at FROM company_heads \
     WHERE last_position > 0 AND get_byte(uuid_send(company_id), 15) = ANY($1)",
    "SELECT company_id, last_position, last_recorded_at, pg_is_in_recovery() FROM company_heads",
    "SELECT company_id, last_position, last_recorded_at, company_sequence FROM company_heads \
     WHERE last_position > 0 ORDER BY company_id",
    "SELECT company_id, token_id, term FROM tokens WHERE status = 'active' AND expires_at <= $1",
    "SELECT company_id, key_id, term FROM keys WHERE status = 'active' AND expires_at <= $1",
    "SELECT company_id, operation_id, request, state, matched, done, started_at, finished_at \
     FROM operations WHERE finished_at IS NULL",
];

/// What a log says was asked of the database, by processes of the service.
fn statements(log: &str) -> Vec<String> {
    let mut statements: Vec<String> = Vec::new();
    for line in log.lines() {
        if let Some((_, statement)) = line.split_once("token-ledger LOG:  ") {
            let text = statement.strip_prefix("statement: ").or_else(|| {
                statement.strip_prefix("execute ")?.split_once(": ").map(|(_, text)| text)
            });
            statements.extend(text.map(str::to_owned));
        }
    }
    statements.sort();
    statements.dedup();
    statements
}

/// Whether a statement goes to the rows of some companies only.
fn names_a_company(statement: &str, tables: &[&str]) -> bool {
    statement.split(';').all(|part| {
        let words: Vec<&str> = part
            .split(|c: char| !c.is_alphanumeric() && c != '_')
            .filter(|word| !word.is_empty())
            .collect();
        if !words.iter().any(|word| tables.contains(word)) {
            return true;
        }
        let part = part.split_whitespace().collect::<Vec<_>>().join(" ");
        [
            "company_id = $",
            "company_id = '",
            "company_id = ANY($",
            "company_id IN ('",
            "(company_id, ",
        ]
        .iter()
        .any(|form| part.contains(form))
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn statements_name_their_company() {
    let cluster = Cluster::start(&["log_statement=all", "log_line_prefix=%a\\ "]);
    let stage = Stage::on(Place::on(TestDatabase::fresh_in_blocking(&cluster))).await;
    let [one, other] = [stage.serve(), stage.serve()];
    until("it is ready", || one.readiness(), |answer| answer.status == 200).await;
    until("the other too", || other.readiness(), |answer| answer.status == 200).await;
    let begun = cluster.log().len();

    let token = one.create("token").await.expect(201);
    let (id, secret) = (token.field("token_id"), token.field("token"));
    let below = format!("/tokens/{id}");
    until("it is known", || other.verify(&secret), |answer| answer.status == 200).await;
    one.introspect(&secret).await.expect(200);
    let path = one.path("/tokens");
    let request = one.request(Method::POST, &path, &one.company.admin_key);
    let body = json!({"name": "once", "scopes": ["positions"]});
    Caller::send(request.header("Idempotency-Key", "once").json(&body)).await.expect(201);
    one.ask(Method::PATCH, &below, Some(json!({"scopes": ["employees"]}))).await.expect(200);
    one.ask(Method::POST, &format!("{below}/refresh"), Some(json!({}))).await.expect(200);
    one.ask(Method::GET, &below, None).await.expect(200);
    one.ask(Method::GET, "/tokens?q=o", None).await.expect(200);
    one.ask(Method::GET, &format!("{below}/history"), None).await.expect(200);
    one.ask(Method::POST, "/tokens/find", Some(json!({"token": secret}))).await.expect(200);
    let body = json!({"name": "client", "scopes": ["positions"]});
    let client = one.ask(Method::POST, "/clients", Some(body)).await.expect(201);
    let form = format!(
        "grant_type=client_credentials&client_id={}&client_secret={}",
        client.field("client_id"),
        client.field("client_secret")
    );
    let answer = reqwest::Client::new()
        .post(one.serving.url("/oauth/token"))
        .header("content-type", "application/x-www-form-urlencoded")
        .body(form);
    Caller::send(answer).await.expect(200);
    assert!(!other.events().await.is_empty());
    one.delete(&id).await.expect(204);
    let size = one.events().await.len();
    let signed = |answer: &crate::stage::Answer| {
        answer.text.lines().nth(1).and_then(|text| text.parse().ok()) >= Some(size)
    };
    until("it is signed", || one.checkpoint(), signed).await;
    let log = cluster.log();
    one.stop();
    other.stop();

    let migrations = migrations();
    let tables = tables(&migrations);
    let asked = statements(&log[begun..]);
    assert!(asked.iter().any(|statement| statement.contains("INSERT INTO events")), "{asked:#?}");
    let asks_all: Vec<&String> = asked
        .iter()
        .filter(|text| !names_a_company(text, &tables))
        .filter(|text| !ASK_ALL.iter().any(|known| text.starts_with(known)))
        .collect();
    assert!(asks_all.is_empty(), "{asks_all:#?}");
}

/// Where companies live on several servers, the migrations say of each table that it does.
#[test]
fn every_table_is_distributed() {
    let migrations = migrations();
    let tables = tables(&migrations);
    assert!(tables.contains(&"events"), "{tables:?}");
    for table in tables {
        assert!(migrations.contains(&format!("'{table}'")), "{table}");
    }
}
