//! Lists of tokens: filters, orders and pages by key.

use super::failed;
use super::tables::{SqliteTable, optional_time};
use crate::read_models::{After, SortValue, TokenFilter, TokenPage, TokenRecord, TokenSort};
use crate::tokens::{Status, Tokens};
use rusqlite::types::Value;
use rusqlite::{Connection, Row, params_from_iter};
use token_ledger_domain::CompanyId;
use token_ledger_event_store::{PrivatePart, StoreError};

/// A condition and its parameters, put together piece by piece.
struct Conditions {
    text: String,
    values: Vec<Value>,
}

impl Conditions {
    fn of(company: CompanyId, filter: &TokenFilter) -> Self {
        let mut conditions = Self {
            text: "t.company_id = ?1 AND (".to_owned(),
            values: vec![Value::Blob(company.0.as_bytes().to_vec())],
        };
        conditions.status(filter);
        if let Some(scope) = &filter.scope {
            // Two scopes that stand side by side are not one.
            conditions.and(
                "instr(?, ' ') = 0 AND instr(' ' || t.scopes || ' ', ' ' || ? || ' ') > 0",
                scope.clone(),
            );
        }
        if let Some(q) = &filter.q {
            conditions.and("instr(lower(t.name), lower(?)) > 0", q.clone());
        }
        if let Some(id) = filter.created_by {
            conditions.and("t.created_by_id = ?", id.as_bytes().to_vec());
        }
        if let Some(id) = filter.client_id {
            conditions.and("t.client_id = ?", id.0.as_bytes().to_vec());
        }
        if let Some(time) = filter.expires_before {
            conditions.and("t.expires_at < ?", time.as_micros());
        }
        conditions
    }

    /// Statuses are judged by the clock: an active token past its term counts as expired.
    fn status(&mut self, filter: &TokenFilter) {
        // A parameter that no condition names would be refused.
        let judged = filter.status.iter().any(|status| *status != Status::Deleted);
        let now = if judged { self.value(filter.now.as_micros()) } else { String::new() };
        let alternatives: Vec<String> = filter
            .status
            .iter()
            .map(|status| match status {
                Status::Active => format!("(t.status = 'active' AND t.expires_at > {now})"),
                Status::Expired => format!(
                    "(t.status = 'expired' OR (t.status = 'active' AND t.expires_at <= {now}))"
                ),
                Status::Deleted => "t.status = 'deleted'".to_owned(),
            })
            .collect();
        let text = if alternatives.is_empty() { "0".to_owned() } else { alternatives.join(" OR ") };
        self.text.push_str(&text);
        self.text.push(')');
    }

    /// Adds a parameter and answers its place.
    fn value(&mut self, value: impl Into<Value>) -> String {
        self.values.push(value.into());
        format!("?{}", self.values.len())
    }

    fn and(&mut self, condition: &str, value: impl Into<Value>) {
        let place = self.value(value);
        self.text.push_str(" AND ");
        self.text.push_str(&condition.replace('?', &place));
    }
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

/// A page of a company's tokens.
pub(super) fn tokens(
    connection: &Connection,
    company: CompanyId,
    filter: &TokenFilter,
    page: &TokenPage,
) -> Result<Vec<TokenRecord>, StoreError> {
    let mut conditions = Conditions::of(company, filter);
    let column = column(page.sort);
    if let Some(After { value, id }) = &page.after {
        let value = match value {
            SortValue::Time(time) => conditions.value(time.as_micros()),
            SortValue::Text(text) => conditions.value(text.clone()),
        };
        let id = conditions.value(id.as_bytes().to_vec());
        let beyond = if page.descending { '<' } else { '>' };
        conditions.text.push_str(&format!(" AND ({column}, t.token_id) {beyond} ({value}, {id})"));
    }
    let direction = if page.descending { "DESC" } else { "ASC" };
    let limit = conditions.value(i64::try_from(page.limit).unwrap_or(i64::MAX));
    let sql = format!(
        "SELECT {}, u.last_used_at, p.data FROM tokens t \
         LEFT JOIN token_uses u ON u.company_id = t.company_id AND u.token_id = t.token_id \
         LEFT JOIN event_private p \
         ON p.company_id = t.company_id AND p.position = t.created_position \
         WHERE {} ORDER BY {column} {direction}, t.token_id {direction} LIMIT {limit}",
        columns(),
        conditions.text,
    );
    connection
        .prepare_cached(&sql)
        .map_err(failed)?
        .query_map(params_from_iter(conditions.values), record)
        .map_err(failed)?
        .collect::<Result<_, _>>()
        .map_err(failed)
}

/// How many tokens of a company the filter lets through.
pub(super) fn count(
    connection: &Connection,
    company: CompanyId,
    filter: &TokenFilter,
) -> Result<u64, StoreError> {
    let conditions = Conditions::of(company, filter);
    connection
        .prepare_cached(&format!("SELECT count(*) FROM tokens t WHERE {}", conditions.text))
        .map_err(failed)?
        .query_row(params_from_iter(conditions.values), |row| row.get(0))
        .map_err(failed)
}

/// The columns of a token's row, of the table called `t`.
pub(super) fn columns() -> String {
    let columns: Vec<String> = Tokens::COLUMNS.iter().map(|column| format!("t.{column}")).collect();
    columns.join(", ")
}

/// A token's row, its last use and its creator's name from the columns in this order.
pub(super) fn record(row: &Row<'_>) -> rusqlite::Result<TokenRecord> {
    let beside = Tokens::COLUMNS.len();
    Ok(TokenRecord {
        row: Tokens::read(row)?,
        last_used_at: optional_time(row, beside)?,
        created_by_name: actor_name(row, beside + 1)?,
    })
}

/// The actor's name from a private part.
pub(super) fn actor_name(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<String>> {
    Ok(private(row, column)?.and_then(|part| part.actor_name))
}

/// A private part; what can't be read shows nothing.
pub(super) fn private(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<PrivatePart>> {
    let data: Option<String> = row.get(column)?;
    Ok(data.and_then(|text| serde_json::from_str(&text).ok()))
}
