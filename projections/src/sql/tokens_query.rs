//! Lists of tokens: filters, orders and pages by key.

use super::tokens::records;
use super::{Dialect, Statement};
use crate::read_models::{After, SortValue, TokenFilter, TokenPage, TokenSort};
use crate::tokens::Status;
use token_ledger_domain::CompanyId;

/// A page of a company's tokens.
pub(super) fn page(
    dialect: Dialect,
    company: CompanyId,
    filter: &TokenFilter,
    page: &TokenPage,
) -> Statement {
    let mut statement = Statement::new("");
    let mut condition = conditions(&mut statement, dialect, company, filter);
    let column = column(page.sort);
    if let Some(After { value, id }) = &page.after {
        let value = match value {
            SortValue::Time(time) => statement.place(*time),
            SortValue::Text(text) => statement.place(text.clone()),
        };
        let id = statement.place(*id);
        let beyond = if page.descending { '<' } else { '>' };
        condition.push_str(&format!(" AND ({column}, t.token_id) {beyond} ({value}, {id})"));
    }
    let direction = if page.descending { "DESC" } else { "ASC" };
    let limit = statement.place(page.limit);
    let text = records(&format!(
        "WHERE {condition} ORDER BY {column} {direction}, t.token_id {direction} LIMIT {limit}"
    ));
    Statement { text: text.into(), ..statement }
}

/// How many tokens of a company the filter lets through.
pub(super) fn count(dialect: Dialect, company: CompanyId, filter: &TokenFilter) -> Statement {
    let mut statement = Statement::new("");
    let condition = conditions(&mut statement, dialect, company, filter);
    let text = format!("SELECT count(*) FROM tokens t WHERE {condition}");
    Statement { text: text.into(), ..statement }
}

/// The column that an order goes by. A token that was never used counts as used long ago.
const fn column(sort: TokenSort) -> &'static str {
    match sort {
        TokenSort::CreatedAt => "t.created_at",
        TokenSort::ExpiresAt => "t.expires_at",
        TokenSort::Name => "t.name",
        TokenSort::LastUsedAt => "coalesce(u.last_used_at, 0)",
    }
}

fn conditions(
    statement: &mut Statement,
    Dialect { position, .. }: Dialect,
    company: CompanyId,
    filter: &TokenFilter,
) -> String {
    let mut all = vec![format!("t.company_id = {}", statement.place(company))];
    all.push(status(statement, filter));
    if let Some(scope) = &filter.scope {
        // Two scopes that stand side by side are not one.
        let part = if scope.contains(' ') { "  ".to_owned() } else { format!(" {scope} ") };
        let part = statement.place(part);
        all.push(format!("{position}(' ' || t.scopes || ' ', {part}) > 0"));
    }
    if let Some(q) = &filter.q {
        // The column's letters are compared by code points, so that only ASCII has cases.
        let part = statement.place(q.to_ascii_lowercase());
        all.push(format!("{position}(lower(t.name), {part}) > 0"));
    }
    if let Some(id) = filter.created_by {
        all.push(format!("t.created_by_id = {}", statement.place(id)));
    }
    if let Some(id) = filter.client_id {
        all.push(format!("t.client_id = {}", statement.place(id)));
    }
    if let Some(time) = filter.expires_before {
        all.push(format!("t.expires_at < {}", statement.place(time)));
    }
    all.join(" AND ")
}

/// Statuses are judged by the clock: an active token past its term counts as expired.
fn status(statement: &mut Statement, filter: &TokenFilter) -> String {
    // A parameter that no condition names would be refused.
    let judged = filter.status.iter().any(|status| *status != Status::Deleted);
    let now = if judged { statement.place(filter.now) } else { String::new() };
    let alternatives: Vec<String> = filter
        .status
        .iter()
        .map(|status| match status {
            Status::Active => format!("(t.status = 'active' AND t.expires_at > {now})"),
            Status::Expired => {
                format!("(t.status = 'expired' OR (t.status = 'active' AND t.expires_at <= {now}))")
            }
            Status::Deleted => "t.status = 'deleted'".to_owned(),
        })
        .collect();
    if alternatives.is_empty() {
        "FALSE".to_owned()
    } else {
        format!("({})", alternatives.join(" OR "))
    }
}
