//! The table of the audit trail, and its pages with the content from the log.

use super::table::table;
use super::{Columns, Dialect, FromColumns, Statement, Unreadable};
use crate::audit::{AuditRow, AuditTrail};
use crate::read_models::{AuditRecord, DayCount, Positions};
use token_ledger_domain::{CompanyId, TokenId};

table!(
    AuditTrail,
    "audit_trail",
    "position",
    {
        "company_id": Uuid,
        "position": Int,
        "aggregate_type": Text,
        "aggregate_id": Uuid,
        "event_type": Text,
        "actor_type": Text,
        "actor_id": Uuid,
        "recorded_at": Int,
    },
    row => [
        row.company_id,
        row.position,
        row.aggregate_type.as_str(),
        row.aggregate_id,
        row.event_type.as_str(),
        row.actor.kind.as_str(),
        row.actor.id,
        row.recorded_at,
    ]
);

impl FromColumns for AuditRow {
    fn from_columns<C: Columns>(row: &C) -> Result<Self, Unreadable> {
        Ok(Self {
            company_id: row.company(0)?,
            position: row.number(1)?,
            aggregate_type: row.parsed(2)?,
            aggregate_id: row.uuid(3)?,
            event_type: row.text(4)?.to_owned(),
            actor: row.actor(5, 6)?,
            recorded_at: row.time(7)?,
        })
    }
}

impl FromColumns for AuditRecord {
    fn from_columns<C: Columns>(row: &C) -> Result<Self, Unreadable> {
        Ok(Self { event: row.event()?, private: row.private(EVENT_COLUMN_COUNT)? })
    }
}

impl FromColumns for DayCount {
    fn from_columns<C: Columns>(row: &C) -> Result<Self, Unreadable> {
        Ok(Self { begins: row.time(0)?, events: row.number(1)? })
    }
}

/// Microseconds of a day.
const DAY_MICROS: i64 = 86_400_000_000;

/// How many columns an event has; the private part comes behind them.
const EVENT_COLUMN_COUNT: usize = 14;

fn event_columns(dialect: &Dialect) -> String {
    let columns: Vec<String> =
        dialect.event_columns.split(',').map(|column| format!("e.{}", column.trim())).collect();
    columns.join(", ")
}

/// A query with the company and the bounds of the positions as its first parameters.
fn bounded(company: CompanyId, filter: &Positions) -> Statement {
    let before = filter.before_position.unwrap_or(u64::MAX);
    Statement::new("").with(company).with(filter.after_position).with(before)
}

const fn direction(filter: &Positions) -> &'static str {
    if filter.descending { "DESC" } else { "ASC" }
}

fn of_types(statement: &mut Statement, filter: &Positions) -> Option<String> {
    let types = filter.types.iter();
    let places: Vec<String> = types.map(|event_type| statement.place(event_type.clone())).collect();
    (!places.is_empty()).then(|| places.join(", "))
}

/// A page of a company's audit trail. One statement, so that it is the trail of one moment: where an
/// event isn't there yet, none behind it is shown, or the next page would leave it out for good.
pub(super) fn page(
    dialect: &Dialect,
    company: CompanyId,
    filter: &Positions,
    limit: usize,
) -> Statement {
    if let Some(token) = filter.token_id {
        return of_token(dialect, company, filter, token, limit);
    }
    let mut statement = bounded(company, filter);
    let limit = statement.place(limit);
    let mut condition = String::new();
    let mut trail = "audit_trail".to_owned();
    if let Some(actor) = filter.actor_id {
        condition.push_str(&format!(" AND a.actor_id = {}", statement.place(actor)));
        if let Some(types) = of_types(&mut statement, filter) {
            // Not by the index of types: an actor's events are fewer.
            condition.push_str(&format!(" AND a.event_type || '' IN ({types})"));
        }
    } else if filter.types.len() > 1 {
        trail = best_of_types(&mut statement, filter, &limit);
    } else if let Some(event_type) = filter.types.first() {
        let place = statement.place(event_type.clone());
        condition.push_str(&format!(" AND a.event_type = {place}"));
    }
    // A cross join begins with the trail, and takes the events one by one.
    let text = format!(
        "SELECT {}, p.data FROM {trail} a CROSS JOIN events e \
         LEFT JOIN event_private p ON p.company_id = e.company_id AND p.position = e.position \
         WHERE e.company_id = a.company_id AND e.position = a.position \
         AND a.company_id = ?1 AND a.position > ?2 AND a.position < ?3{condition} \
         ORDER BY a.position {} LIMIT {limit}",
        event_columns(dialect),
        direction(filter),
    );
    Statement { text: text.into(), ..statement }
}

/// The part of the trail that a page of several types shows: one look per type finds that type's by
/// index, and the page is the best of all.
fn best_of_types(statement: &mut Statement, filter: &Positions, limit: &str) -> String {
    let order = format!("ORDER BY position {} LIMIT {limit}", direction(filter));
    let types = filter.types.iter();
    let looks: Vec<String> = types
        .map(|event_type| {
            let place = statement.place(event_type.clone());
            format!(
                "SELECT * FROM (SELECT company_id, position FROM audit_trail \
                 WHERE company_id = ?1 AND position > ?2 AND position < ?3 \
                 AND event_type = {place} {order}) AS look"
            )
        })
        .collect();
    format!("({} {order})", looks.join(" UNION ALL "))
}

/// How many events a company's audit trail holds of each day, the earliest first.
pub(super) fn days(company: CompanyId, filter: &Positions) -> Statement {
    let mut statement = bounded(company, filter);
    let found = if let Some(token) = filter.token_id {
        format!("events e WHERE {}", in_stream(&mut statement, filter, token))
    } else {
        format!("audit_trail e WHERE {}", in_trail(&mut statement, filter))
    };
    let text = format!(
        "SELECT e.recorded_at / {DAY_MICROS} * {DAY_MICROS} AS begins, count(*) FROM {found} \
         GROUP BY begins ORDER BY begins"
    );
    Statement { text: text.into(), ..statement }
}

fn in_trail(statement: &mut Statement, filter: &Positions) -> String {
    let mut condition = "e.company_id = ?1 AND e.position > ?2 AND e.position < ?3".to_owned();
    if let Some(actor) = filter.actor_id {
        condition.push_str(&format!(" AND e.actor_id = {}", statement.place(actor)));
    }
    if let Some(types) = of_types(statement, filter) {
        condition.push_str(&format!(" AND e.event_type IN ({types})"));
    }
    condition
}

fn of_token(
    dialect: &Dialect,
    company: CompanyId,
    filter: &Positions,
    token: TokenId,
    limit: usize,
) -> Statement {
    let mut statement = bounded(company, filter);
    let condition = in_stream(&mut statement, filter, token);
    let text = format!(
        "SELECT {}, p.data FROM events e LEFT JOIN event_private p \
         ON p.company_id = e.company_id AND p.position = e.position \
         WHERE {condition} ORDER BY e.sequence {} LIMIT {}",
        event_columns(dialect),
        direction(filter),
        statement.place(limit)
    );
    Statement { text: text.into(), ..statement }
}

/// A token's events are its stream, whose order is the ledger's. What begins behind one of them begins
/// at its sequence, so that a late page costs no more than the first. The plus keeps positions from
/// being searched by index, which would look through the whole ledger.
fn in_stream(statement: &mut Statement, filter: &Positions, token: TokenId) -> String {
    let token = statement.place(token.to_string());
    let sequence_at = |position: &str, otherwise: i64| {
        format!(
            "COALESCE((SELECT c.sequence FROM events c WHERE c.company_id = ?1 \
             AND c.position = {position} AND c.aggregate_type = 'token' \
             AND c.aggregate_id = {token}), {otherwise})"
        )
    };
    let mut condition = format!(
        "e.aggregate_type = 'token' AND e.aggregate_id = {token} AND e.company_id = ?1 \
         AND e.sequence > {} AND e.sequence < {} AND +e.position > ?2 AND +e.position < ?3",
        sequence_at("?2", 0),
        sequence_at("?3", i64::MAX),
    );
    if let Some(types) = of_types(statement, filter) {
        condition.push_str(&format!(" AND e.event_type IN ({types})"));
    }
    if let Some(actor) = filter.actor_id {
        let place = statement.place(actor.to_string());
        condition.push_str(&format!(" AND e.metadata ->> 'actor_id' = {place}"));
    }
    condition
}

#[cfg(test)]
mod tests {
    use super::{CompanyId, Positions, Statement, TokenId, days, page};
    use crate::sqlite::SqliteReadModels;
    use rusqlite::Connection;
    use uuid::Uuid;

    /// What SQLite says it does first.
    fn first_step(statement: &Statement) -> String {
        let connection = Connection::open_in_memory().expect("a database");
        let schema = include_str!("../../../migrations/sqlite/0001_ledger.sql");
        connection.execute_batch(schema).expect("a schema");
        let mut explain = connection
            .prepare(&format!("EXPLAIN QUERY PLAN {}", statement.text))
            .expect("a statement");
        let mut steps = explain.raw_query();
        let step = steps.next().expect("a plan").expect("a step");
        step.get("detail").expect("what is searched")
    }

    #[test]
    fn a_token_s_events_are_searched_in_its_stream_alone() {
        let company = CompanyId(Uuid::nil());
        let filter = Positions { token_id: Some(TokenId(Uuid::nil())), ..Positions::default() };
        let page = page(&SqliteReadModels::DIALECT, company, &filter, 50);
        for statement in [page, days(company, &filter)] {
            let search = first_step(&statement);
            assert!(
                search.ends_with(
                    "(aggregate_type=? AND aggregate_id=? AND sequence>? AND sequence<?)"
                ),
                "{search}"
            );
        }
    }
}
