//! Lists of tokens: filters, orders and pages by key.

use super::tokens::{USES, records};
use super::{Dialect, Statement};
use crate::read_models::{After, SortValue, TokenFilter, TokenPage, TokenSort};
use crate::tokens::Status;
use token_ledger_domain::{CompanyId, Timestamp, TokenId};

/// The queries whose answers, one after the other and up to the limit, are a page of a company's
/// tokens.
pub(super) fn looks(
    dialect: &Dialect,
    company: CompanyId,
    filter: &TokenFilter,
    page: &TokenPage,
) -> Vec<Statement> {
    let mut statement = Statement::new("").with(company);
    let condition = conditions(&mut statement, dialect, filter);
    if page.sort == TokenSort::LastUsedAt {
        by_use(&statement, &condition, page)
    } else {
        vec![cut(statement, &condition, page)]
    }
}

/// A page of these tokens.
pub(super) fn among(company: CompanyId, among: &[TokenId], page: &TokenPage) -> Statement {
    let mut statement = Statement::new("").with(company);
    let places: Vec<String> = among.iter().map(|id| statement.place(*id)).collect();
    let condition = format!("t.company_id = ?1 AND t.token_id IN ({})", places.join(", "));
    cut(statement, &condition, page)
}

/// The page of the tokens that the condition lets through.
fn cut(mut statement: Statement, condition: &str, page: &TokenPage) -> Statement {
    let column = column(page.sort);
    let behind = behind(&mut statement, (column, "t.token_id"), page);
    let uses = match page.sort {
        TokenSort::LastUsedAt => USES,
        TokenSort::CreatedAt | TokenSort::ExpiresAt | TokenSort::Name => "",
    };
    let order = order((column, "t.token_id"), page);
    let found = format!("FROM tokens t {uses} WHERE {condition}{behind} {order}");
    records_of(statement, &found, page)
}

/// By their last use, tokens are those that were used, which an index has in order, and those that
/// never were.
fn by_use(statement: &Statement, condition: &str, page: &TokenPage) -> Vec<Statement> {
    let never = |page: &TokenPage| {
        let mut statement = statement.clone();
        let behind = page.after.as_ref().map(|After { id, .. }| {
            let id = statement.place(*id);
            format!(" AND t.token_id {} {id}", beyond(page))
        });
        let found = format!(
            "FROM tokens t WHERE {condition} AND NOT EXISTS (SELECT 1 FROM token_uses u \
             WHERE u.company_id = t.company_id AND u.token_id = t.token_id){} \
             ORDER BY t.token_id {}",
            behind.unwrap_or_default(),
            direction(page)
        );
        records_of(statement, &found, page)
    };
    let used = |page: &TokenPage| {
        let mut statement = statement.clone();
        let used = ("u.last_used_at", "u.token_id");
        let behind = behind(&mut statement, used, page);
        let found = format!(
            "FROM token_uses u CROSS JOIN tokens t WHERE u.company_id = ?1 \
             AND t.token_id = u.token_id AND {condition}{behind} {}",
            order(used, page)
        );
        records_of(statement, &found, page)
    };
    let begun = TokenPage { after: None, ..page.clone() };
    let unused = SortValue::Time(Timestamp::default());
    let after_use = page.after.as_ref().map(|after| after.value != unused);
    match (page.descending, after_use) {
        (true, None | Some(true)) => vec![used(page), never(&begun)],
        (true, Some(false)) => vec![never(page)],
        (false, None | Some(false)) => vec![never(page), used(&begun)],
        (false, Some(true)) => vec![used(page)],
    }
}

const fn beyond(page: &TokenPage) -> char {
    if page.descending { '<' } else { '>' }
}

const fn direction(page: &TokenPage) -> &'static str {
    if page.descending { "DESC" } else { "ASC" }
}

/// Where the page begins.
fn behind(statement: &mut Statement, (column, id): (&str, &str), page: &TokenPage) -> String {
    let Some(after) = &page.after else { return String::new() };
    let value = match &after.value {
        SortValue::Time(time) => statement.place(*time),
        SortValue::Text(text) => statement.place(text.clone()),
    };
    let after = statement.place(after.id);
    format!(" AND ({column}, {id}) {} ({value}, {after})", beyond(page))
}

fn order((column, id): (&str, &str), page: &TokenPage) -> String {
    let direction = direction(page);
    format!("ORDER BY {column} {direction}, {id} {direction}")
}

/// The first of the tokens found, as many as a page holds. They are found by what is compared and
/// nothing else: whole rows, and what stands beside them, are read for those on the page only. A
/// cross join begins with what was found.
fn records_of(mut statement: Statement, found: &str, page: &TokenPage) -> Statement {
    let limit = statement.place(page.limit);
    let from =
        format!("(SELECT t.token_id AS found_id {found} LIMIT {limit}) found CROSS JOIN tokens t");
    let order = order((column(page.sort), "t.token_id"), page);
    let these = format!("WHERE t.company_id = ?1 AND t.token_id = found.found_id {order}");
    Statement { text: records(&from, &these).into(), ..statement }
}

/// How many tokens of a company the filter lets through.
pub(super) fn count(dialect: &Dialect, company: CompanyId, filter: &TokenFilter) -> Statement {
    let mut statement = Statement::new("").with(company);
    let condition = conditions(&mut statement, dialect, filter);
    let text = format!("SELECT count(*) FROM tokens t WHERE {condition}");
    Statement { text: text.into(), ..statement }
}

/// So many of the tokens of a company that the filter lets through, whichever they are.
pub(super) fn some(
    dialect: &Dialect,
    company: CompanyId,
    filter: &TokenFilter,
    limit: usize,
) -> Statement {
    let mut statement = Statement::new("").with(company);
    let condition = conditions(&mut statement, dialect, filter);
    let limit = statement.place(limit);
    let text = format!("SELECT t.token_id FROM tokens t WHERE {condition} LIMIT {limit}");
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

/// What the filter asks of a token of the company, which is the first parameter.
fn conditions(statement: &mut Statement, dialect: &Dialect, filter: &TokenFilter) -> String {
    let mut all = vec!["t.company_id = ?1".to_owned()];
    all.push(status(statement, filter));
    if let Some(scope) = &filter.scope {
        // Two scopes that stand side by side are not one.
        let part = if scope.contains(' ') { "  ".to_owned() } else { format!(" {scope} ") };
        let part = statement.place(part);
        all.push(format!("{}(' ' || t.scopes || ' ', {part}) > 0", dialect.position));
    }
    if let Some(q) = &filter.q {
        let part = statement.place(q.clone());
        all.push((dialect.has)("t.name", &part));
    }
    if let Some(id) = filter.created_by {
        all.push(format!("t.created_by_id = {}", statement.place(id)));
    }
    if let Some(id) = filter.client_id {
        all.push(format!("t.client_id = {}", statement.place(id)));
    }
    if let Some(position) = filter.created_up_to {
        all.push(format!("t.created_position <= {}", statement.place(position)));
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
