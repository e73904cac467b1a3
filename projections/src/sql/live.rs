//! Taking rows over into the verification index: of a token what is live and nothing else.

use super::tokens::status;
use super::{Columns, FromColumns, Table, Unreadable};
use crate::index::{LiveToken, VerificationIndex};
use crate::tokens::{Status, Tokens};
use token_ledger_domain::{ClientId, CompanyId, TokenId};

/// The columns of a token that [`take_over_token`] reads, in its order.
pub(crate) const LIVE_COLUMNS: &str = "token_id, scopes, client_id, version, digest, expires_at, \
    issued_at, previous_digest, previous_expires_at, previous_issued_at, company_id, status, \
    position";
/// What has ended is not looked for in the index.
pub(crate) const IS_ACTIVE: &str = " WHERE status = 'active'";

/// How many tokens are active.
pub(crate) const COUNT_ACTIVE: &str = "SELECT count(*) FROM tokens WHERE status = 'active'";

/// Every row of a table that the index knows something of.
pub(crate) fn every<P: Table>(condition: &str) -> String {
    format!("SELECT {} FROM {}{condition}", P::COLUMNS.join(", "), P::TABLE)
}

/// Every active token.
pub(crate) fn every_active_token() -> String {
    format!("SELECT {LIVE_COLUMNS} FROM tokens{IS_ACTIVE}")
}

/// Takes over a row with all columns of its table.
pub(crate) fn take_over<P: Table>(index: &VerificationIndex, row: &impl Columns) {
    match P::Row::from_columns(row) {
        Ok(row) => P::follow(index, &row),
        Err(error) => {
            let company = P::COLUMNS.iter().position(|column| *column == "company_id");
            let company = row.company(company.unwrap_or_default()).ok();
            refuse::<P>(index, company, P::key_of(row).ok(), &error);
        }
    }
}

/// Takes over what is live of a token, of which that may be nothing.
pub(crate) fn take_over_token(index: &VerificationIndex, row: &impl Columns) {
    match live(row) {
        Ok(token) => index.apply(&token),
        Err(error) => refuse::<Tokens>(index, row.company(10).ok(), row.uuid(0).ok(), &error),
    }
}

/// Nothing is good of what can't be read, and nothing else suffers from it.
fn refuse<P: Table>(
    index: &VerificationIndex,
    company: Option<CompanyId>,
    key: Option<P::Key>,
    error: &Unreadable,
) {
    if let Some(key) = key {
        P::refresh(index, company, key, None);
    }
    let (table, key) = (P::TABLE, key.map(|key| format!("{key:?}")));
    tracing::error!(
        table,
        key,
        %error,
        "a row can't be read, and nothing of it is good; `token-ledger replay` puts it right"
    );
}

fn live<C: Columns>(row: &C) -> Result<LiveToken<'_>, Unreadable> {
    let previous = match (row.optional_digest(7)?, row.optional_time(8)?, row.optional_time(9)?) {
        (Some(digest), Some(expires_at), Some(issued_at)) => Some((digest, expires_at, issued_at)),
        _ => None,
    };
    let current = Some((row.digest(4)?, row.time(5)?, row.time(6)?));
    let is_active = status(row, 11)? == Status::Active;
    Ok(LiveToken {
        company_id: row.company(10)?,
        token_id: TokenId(row.uuid(0)?),
        scopes: row.text(1)?,
        client_id: row.optional_uuid(2)?.map(ClientId),
        version: row.number(3)?,
        secrets: if is_active { [current, previous] } else { [None, None] },
    })
}
