//! Pages of the audit trail over a million events, beside a bare keyset query of the same rows.

mod support;

use rusqlite::{Connection, params_from_iter, types::Value};
use std::sync::Arc;
use std::time::{Duration, Instant};
use support::{Bench, folder, median, timed};
use token_ledger_domain::TokenId;
use token_ledger_projections::read_models::Positions;
use token_ledger_projections::runner::Behind;
use token_ledger_projections::sqlite::SqliteBehind;
use token_ledger_projections::{AuditTrail, ReadModels, Sql};

const EVENTS: usize = 1_000_000;
/// Events of one token with a long history: more than a hundred pages.
const TOKEN_EVENTS: usize = 6000;
const PAGE: usize = 50;
const ROUNDS: usize = 201;

fn main() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    // On one of its threads, as a request is.
    runtime.block_on(runtime.spawn(run())).expect("it ends well");
}

async fn run() {
    let folder = folder("audit");
    let path = folder.join("ledger.db");
    let bench = Bench::open(&path);
    eprintln!("filling a ledger with {EVENTS} events");
    let company = bench.company().await;
    bench.mixed(company, EVENTS).await;
    let id = bench.long_lived(company, TOKEN_EVENTS).await;
    let head = bench.head(company).await;
    let behind = SqliteBehind::<AuditTrail>::new(Arc::clone(&bench.database));
    while behind.advance(company).await.expect("the audit trail moves") < Some(head) {}
    let token = TokenId(id);
    let reader = Connection::open(&path).expect("the ledger opens");
    let blob = |id: uuid::Uuid| Value::Blob(id.as_bytes().to_vec());
    let none = Positions { descending: true, ..Positions::default() };
    let of_token = Positions { token_id: Some(token), ..none.clone() };
    let of_actor = Positions { actor_id: Some(support::context().actor.id), ..none.clone() };
    let of_type = Positions { types: ["token.deleted".to_owned()].into(), ..none.clone() };
    let of_time =
        Positions { after_position: head / 3, before_position: Some(head / 2), ..none.clone() };
    let cases = [
        ("no filter", none, String::new(), vec![]),
        (
            "by token",
            of_token,
            "AND e.aggregate_type = 'token' AND e.aggregate_id = ?4".to_owned(),
            vec![Value::Text(token.to_string())],
        ),
        (
            "by actor",
            of_actor,
            "AND a.actor_id = ?4".to_owned(),
            vec![blob(support::context().actor.id)],
        ),
        (
            "by type",
            of_type,
            "AND a.event_type = ?4".to_owned(),
            vec![Value::Text("token.deleted".to_owned())],
        ),
        ("by time", of_time, format!("AND a.position > {}", head / 3), vec![]),
    ];
    let read = ReadModels::new(Sql::Sqlite(Arc::clone(&bench.read)));
    for (name, filter, condition, more) in cases {
        let ours = async |filter: &Positions| {
            let started = Instant::now();
            let page = read.audit(company, filter, PAGE).await.expect("a page");
            let took = started.elapsed();
            (page.iter().map(|record| record.event.position).collect::<Vec<_>>(), took)
        };
        let mut first = Vec::new();
        let mut bare = Vec::new();
        let mut hundredth = Vec::new();
        let mut bare_hundredth = Vec::new();
        let mut positions = Vec::new();
        // Walk to the hundredth page, or to the last one.
        let mut far = filter.clone();
        for _ in 0..99 {
            let (page, _) = ours(&far).await;
            let Some(last) = page.last().filter(|_| page.len() == PAGE) else { break };
            far.before_position = Some(*last);
        }
        for _ in 0..ROUNDS {
            let (page, took) = ours(&filter).await;
            first.push(millis(took));
            positions = page;
            hundredth.push(millis(ours(&far).await.1));
            let bare_page = |before| raw(&reader, company, before, &condition, &more);
            let (found, took) = bare_page(filter.before_position);
            assert_eq!(found, positions, "{name}");
            bare.push(millis(took));
            bare_hundredth.push(millis(bare_page(far.before_position).1));
        }
        let (first, hundredth, bare) = (median(first), median(hundredth), median(bare));
        println!(
            "{name:10} bare {bare:.3} ms   first page {first:.3} ms ({:.2})   hundredth \
             {hundredth:.3} ms ({:.2} of the first; bare {:.2})   {} rows",
            first / bare,
            hundredth / first,
            median(bare_hundredth) / bare,
            positions.len(),
        );
    }
}

fn millis(took: Duration) -> f64 {
    took.as_secs_f64() * 1e3
}

/// The same rows by a bare keyset query, all columns of event and private part.
fn raw(
    reader: &Connection,
    company: token_ledger_domain::CompanyId,
    before: Option<u64>,
    condition: &str,
    more: &[Value],
) -> (Vec<u64>, Duration) {
    let (from, key) = if condition.contains("e.aggregate_id") {
        ("events e", "e")
    } else {
        (
            "audit_trail a CROSS JOIN events e ON e.company_id = a.company_id AND e.position = a.position",
            "a",
        )
    };
    // A stream is searched by its key, sequence by sequence.
    let (order, behind) = if key == "e" {
        let sequence = "SELECT sequence FROM events WHERE company_id = ?1 AND position = ?2";
        ("e.sequence", format!("e.sequence < ifnull(({sequence}), ?2)"))
    } else {
        ("a.position", "a.position < ?2".to_owned())
    };
    let sql = format!(
        "SELECT e.*, p.data FROM {from} LEFT JOIN event_private p \
         ON p.company_id = e.company_id AND p.position = e.position \
         WHERE {key}.company_id = ?1 AND {behind} {condition} ORDER BY {order} DESC LIMIT ?3"
    );
    let mut values = vec![
        Value::Blob(company.0.as_bytes().to_vec()),
        Value::Integer(
            before.map_or(i64::MAX, |before| i64::try_from(before).expect("a position")),
        ),
        Value::Integer(i64::try_from(PAGE).expect("a small number")),
    ];
    values.extend_from_slice(more);
    timed(|| {
        let mut statement = reader.prepare_cached(&sql).expect("a statement");
        let columns = statement.column_count();
        let mut rows = statement.query(params_from_iter(values)).expect("rows");
        let mut positions = Vec::new();
        while let Some(row) = rows.next().expect("a row") {
            for column in 0..columns {
                std::hint::black_box(row.get_ref(column).expect("a value"));
            }
            positions.push(row.get("position").expect("a position"));
        }
        positions
    })
}
