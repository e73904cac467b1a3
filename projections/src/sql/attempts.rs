//! Beside the log: refused requests, sign-ins and exports.

use super::{Columns, FromColumns, Statement, Unreadable};
use crate::attempts::{Attempt, AttemptFilter, AttemptKind, Seen};
use std::collections::BTreeMap;
use token_ledger_domain::{Actor, CompanyId};

/// Attempts that one statement stores.
const AT_ONCE: usize = 100;

/// Numbers of attempts by company and kind.
type Counts = BTreeMap<(CompanyId, AttemptKind), u64>;

/// Stores attempts.
pub(super) fn add(attempts: &[Attempt]) -> Vec<Statement> {
    attempts.chunks(AT_ONCE).map(add_together).collect()
}

/// Stores attempts that are trimmed later, and counts others that were not kept. What is counted of
/// a company and kind is held first, all in the same order: nothing is stored while another process
/// counts the oldest and removes them, or it might be removed uncounted.
pub(super) fn add_counting(attempts: &[Attempt], dropped: &Counts) -> Vec<Statement> {
    let mut counts = dropped.clone();
    for Attempt { seen, .. } in attempts {
        counts.entry((seen.company_id, seen.kind)).or_insert(0);
    }
    let mut statements: Vec<Statement> = counts
        .iter()
        .map(|((company, kind), count)| add_dropped(*company, *kind, *count))
        .collect();
    statements.extend(add(attempts));
    statements
}

fn add_together(attempts: &[Attempt]) -> Statement {
    let mut statement = Statement::new("");
    let rows: Vec<String> = attempts
        .iter()
        .map(|Attempt { at, attempt_id, seen }| {
            let places = [
                statement.place(seen.company_id),
                statement.place(seen.kind.as_str()),
                statement.place(*at),
                statement.place(*attempt_id),
                statement.place(seen.actor.map(|actor| actor.kind.as_str())),
                statement.place(seen.actor.map(|actor| actor.id)),
                statement.place(seen.method.clone()),
                statement.place(seen.route.clone()),
                statement.place(u32::from(seen.status)),
                statement.place(seen.problem.clone()),
                statement.place(seen.request_id.clone()),
                statement.place(seen.ip.map(|ip| ip.to_string())),
                statement.place(seen.user_agent.clone()),
            ];
            format!("({})", places.join(", "))
        })
        .collect();
    let text = format!(
        "INSERT INTO attempts (company_id, kind, at, attempt_id, actor_type, actor_id, method, \
         route, status, problem, request_id, ip, user_agent) VALUES {} \
         ON CONFLICT (company_id, kind, at, attempt_id) DO NOTHING",
        rows.join(", ")
    );
    Statement { text: text.into(), ..statement }
}

/// Counts attempts that were not kept. Whoever else counts waits until the transaction ends.
fn add_dropped(company: CompanyId, kind: AttemptKind, count: u64) -> Statement {
    Statement::new(
        "INSERT INTO attempts_dropped (company_id, kind, dropped) VALUES (?1, ?2, ?3) \
         ON CONFLICT (company_id, kind) DO UPDATE SET \
         dropped = attempts_dropped.dropped + excluded.dropped",
    )
    .with(company)
    .with(kind.as_str())
    .with(count)
}

/// Whether whoever made an attempt had not shown who they are, so that anybody may have.
const OF_ANYBODY: &str = "(actor_id IS NULL OR status IN (401, 429))";

/// Removes all but the newest so many, and counts those that go. Those that anybody may have made
/// have a share of their own, so that they push no others out.
pub(super) fn trim(company: CompanyId, kind: AttemptKind, keep: usize) -> Vec<Statement> {
    let shares = [OF_ANYBODY.to_owned(), format!("NOT {OF_ANYBODY}")];
    shares.iter().flat_map(|share| trim_share(company, kind, keep, share)).collect()
}

fn trim_share(company: CompanyId, kind: AttemptKind, keep: usize, share: &str) -> [Statement; 3] {
    // One process at a time counts, behind what another one has removed or stored.
    let hold = add_dropped(company, kind, 0);
    let count = Statement::new(format!(
        "INSERT INTO attempts_dropped (company_id, kind, dropped) \
         SELECT company_id, kind, count(*) - ?3 FROM attempts \
         WHERE company_id = ?1 AND kind = ?2 AND {share} \
         GROUP BY company_id, kind HAVING count(*) > ?3 \
         ON CONFLICT (company_id, kind) DO UPDATE SET \
         dropped = attempts_dropped.dropped + excluded.dropped"
    ));
    let remove = Statement::new(format!(
        "DELETE FROM attempts WHERE company_id = ?1 AND kind = ?2 AND {share} \
         AND (at, attempt_id) <= \
         (SELECT at, attempt_id FROM attempts WHERE company_id = ?1 AND kind = ?2 AND {share} \
         ORDER BY at DESC, attempt_id DESC LIMIT 1 OFFSET ?3)"
    ));
    let of = |statement: Statement| statement.with(company).with(kind.as_str());
    [hold, of(count).with(keep), of(remove).with(keep)]
}

/// A company's attempts of one kind, newest first.
pub(super) fn page(company: CompanyId, filter: &AttemptFilter, limit: usize) -> Statement {
    let mut query = Statement::new("").with(company).with(filter.kind.as_str());
    let mut conditions = String::new();
    if let Some(from) = filter.from {
        conditions.push_str(&format!(" AND at >= {}", query.place(from)));
    }
    if let Some(to) = filter.to {
        conditions.push_str(&format!(" AND at < {}", query.place(to)));
    }
    if let Some((at, id)) = filter.after {
        let (at, id) = (query.place(at), query.place(id));
        conditions.push_str(&format!(" AND (at, attempt_id) < ({at}, {id})"));
    }
    let text = format!(
        "SELECT company_id, kind, at, attempt_id, actor_type, actor_id, method, route, status, \
         problem, request_id, ip, user_agent FROM attempts \
         WHERE company_id = ?1 AND kind = ?2{conditions} \
         ORDER BY at DESC, attempt_id DESC LIMIT {}",
        query.place(limit)
    );
    Statement { text: text.into(), ..query }
}

/// How many of a company's attempts of one kind were not kept, or no longer are.
pub(super) fn dropped(company: CompanyId, kind: AttemptKind) -> Statement {
    Statement::new("SELECT dropped FROM attempts_dropped WHERE company_id = ?1 AND kind = ?2")
        .with(company)
        .with(kind.as_str())
}

impl FromColumns for Attempt {
    fn from_columns<C: Columns>(row: &C) -> Result<Self, Unreadable> {
        let owned = |text: Option<&str>| text.map(str::to_owned);
        let actor = match (row.optional_text(4)?, row.optional_uuid(5)?) {
            (Some(kind), Some(id)) => {
                let kind = kind.parse().map_err(|error| row.unreadable(4, error))?;
                Some(Actor { kind, id })
            }
            _ => None,
        };
        let ip = row.optional_text(11)?.map(str::parse).transpose();
        let seen = Seen {
            company_id: row.company(0)?,
            kind: row.parsed(1)?,
            actor,
            method: row.text(6)?.to_owned(),
            route: row.text(7)?.to_owned(),
            status: row.number(8)?,
            problem: owned(row.optional_text(9)?),
            request_id: owned(row.optional_text(10)?),
            ip: ip.map_err(|error| row.unreadable(11, error))?,
            user_agent: owned(row.optional_text(12)?),
        };
        Ok(Self { at: row.time(2)?, attempt_id: row.uuid(3)?, seen })
    }
}
