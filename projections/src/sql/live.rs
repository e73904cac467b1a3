//! What the verification index needs of a token and nothing else, straight from the row.

use super::tokens::status;
use super::{Columns, Unreadable};
use crate::index::LiveToken;
use crate::tokens::Status;
use token_ledger_domain::{ClientId, CompanyId, TokenId};

/// The columns that [`live`] reads, in its order.
pub(crate) const LIVE_COLUMNS: &str = "token_id, scopes, client_id, version, digest, expires_at, \
    issued_at, previous_digest, previous_expires_at, previous_issued_at";
/// Those and the ones behind them that [`changed`] reads.
pub(crate) const CHANGED_COLUMNS: &str = "token_id, scopes, client_id, version, digest, \
    expires_at, issued_at, previous_digest, previous_expires_at, previous_issued_at, company_id, \
    status, position";

/// What is live of an active token of this company.
pub(crate) fn live<C: Columns>(row: &C, company: CompanyId) -> Result<LiveToken<'_>, Unreadable> {
    let previous = match (row.optional_digest(7)?, row.optional_time(8)?, row.optional_time(9)?) {
        (Some(digest), Some(expires_at), Some(issued_at)) => Some((digest, expires_at, issued_at)),
        _ => None,
    };
    Ok(LiveToken {
        company_id: company,
        token_id: TokenId(row.uuid(0)?),
        scopes: row.text(1)?,
        client_id: row.optional_uuid(2)?.map(ClientId),
        version: row.number(3)?,
        secrets: [Some((row.digest(4)?, row.time(5)?, row.time(6)?)), previous],
    })
}

/// What is live of a token, of which that may be nothing, and the position of its last change.
pub(crate) fn changed<C: Columns>(row: &C) -> Result<(LiveToken<'_>, u64), Unreadable> {
    let mut token = live(row, row.company(10)?)?;
    if status(row, 11)? != Status::Active {
        token.secrets = [None, None];
    }
    Ok((token, row.number(12)?))
}
