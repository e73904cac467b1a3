//! The table of tokens, and its rows with what is kept beside them.

use super::table::table;
use super::{Columns, FromColumns, Statement, Table, Unreadable};
use crate::read_models::{DueTerm, TokenRecord};
use crate::tokens::{PreviousSecret, Status, TokenRow, Tokens};
use token_ledger_domain::{ClientId, CompanyId, Digest, Timestamp, TokenId};

table!(
    Tokens,
    "tokens",
    "token_id",
    {
        "company_id": Uuid,
        "token_id": Uuid,
        "name": Text,
        "scopes": Text,
        "status": Text,
        "client_id": Uuid,
        "term": Int,
        "digest": Bytes,
        "hint": Text,
        "expires_at": Int,
        "issued_at": Int,
        "previous_digest": Bytes,
        "previous_expires_at": Int,
        "previous_issued_at": Int,
        "created_at": Int,
        "created_by_type": Text,
        "created_by_id": Uuid,
        "created_position": Int,
        "refreshed_at": Int,
        "deleted_at": Int,
        "version": Int,
        "position": Int,
    },
    row => [
        row.company_id,
        row.token_id,
        row.name.as_str(),
        row.scopes.to_string(),
        row.status.as_str(),
        row.client_id,
        row.term,
        &row.digest,
        row.hint.as_str(),
        row.expires_at,
        row.issued_at,
        row.previous.as_ref().map(|previous| &previous.digest),
        row.previous.map(|previous| previous.expires_at),
        row.previous.map(|previous| previous.issued_at),
        row.created_at,
        row.created_by.kind.as_str(),
        row.created_by.id,
        row.created_position,
        row.refreshed_at,
        row.deleted_at,
        row.version,
        row.position,
    ],
    index forget_token(TokenId), apply_token
);

/// What is wrong with a previous secret some of whose columns are empty.
pub(super) const IN_PART: &str = "the previous secret is there in part only";

impl FromColumns for TokenRow {
    fn from_columns<C: Columns>(row: &C) -> Result<Self, Unreadable> {
        let previous =
            match (row.optional_digest(11)?, row.optional_time(12)?, row.optional_time(13)?) {
                (Some(digest), Some(expires_at), Some(issued_at)) => {
                    Some(PreviousSecret { digest, expires_at, issued_at })
                }
                (None, None, None) => None,
                _ => return Err(row.unreadable(11, IN_PART)),
            };
        Ok(Self {
            company_id: row.company(0)?,
            token_id: TokenId(row.uuid(1)?),
            name: row.name(2)?,
            scopes: row.parsed(3)?,
            status: status(row, 4)?,
            client_id: row.optional_uuid(5)?.map(ClientId),
            term: row.number(6)?,
            digest: row.digest(7)?,
            hint: row.text(8)?.to_owned(),
            expires_at: row.time(9)?,
            issued_at: row.time(10)?,
            previous,
            created_at: row.time(14)?,
            created_by: row.actor(15, 16)?,
            created_position: row.number(17)?,
            refreshed_at: row.optional_time(18)?,
            deleted_at: row.optional_time(19)?,
            version: row.number(20)?,
            position: row.number(21)?,
        })
    }
}

pub(super) fn status<C: Columns>(row: &C, column: usize) -> Result<Status, Unreadable> {
    let text = row.text(column)?;
    Status::parse(text).ok_or_else(|| row.unreadable(column, format!("{text:?} is no status")))
}

/// Tokens' last uses, beside the tokens.
pub(super) const USES: &str =
    "LEFT JOIN token_uses u ON u.company_id = t.company_id AND u.token_id = t.token_id";

/// What a record is read from: the row, its last use and its creator's name.
pub(super) fn records(from: &str, condition_and_order: &str) -> String {
    format!(
        "SELECT {}, u.last_used_at, u.last_used_from, p.data FROM {from} {USES} LEFT JOIN event_private p \
         ON p.company_id = t.company_id AND p.position = t.created_position {condition_and_order}",
        Tokens::columns_of("t")
    )
}

impl FromColumns for TokenRecord {
    fn from_columns<C: Columns>(row: &C) -> Result<Self, Unreadable> {
        let beside = Tokens::COLUMNS.len();
        Ok(Self {
            row: TokenRow::from_columns(row)?,
            last_used_at: row.optional_time(beside)?,
            last_used_from: row.optional_text(beside + 1)?.map(str::to_owned),
            created_by_name: row.private(beside + 2)?.and_then(|part| part.actor_name),
        })
    }
}

/// A token.
pub(super) fn one(company: CompanyId, id: TokenId) -> Statement {
    Statement::new(records("tokens t", "WHERE t.company_id = ?1 AND t.token_id = ?2"))
        .with(company)
        .with(id)
}

/// The token that a secret belongs to. Secrets are not indexed by digest, since that would cost
/// every creation: the company's rows are looked through.
pub(super) fn of_live_secret(company: CompanyId, digest: Digest) -> Statement {
    Statement::new(
        "SELECT token_id FROM tokens \
         WHERE company_id = ?1 AND (digest = ?2 OR previous_digest = ?2) LIMIT 1",
    )
    .with(company)
    .with(digest)
}

/// The token that a client got and whose current or previous secret this is.
pub(super) fn of_clients_secret(company: CompanyId, client: ClientId, digest: Digest) -> Statement {
    Statement::new(
        "SELECT token_id FROM tokens \
         WHERE company_id = ?1 AND client_id = ?2 AND digest = ?3 UNION ALL \
         SELECT token_id FROM tokens \
         WHERE company_id = ?1 AND client_id = ?2 AND previous_digest = ?3 LIMIT 1",
    )
    .with(company)
    .with(client.0)
    .with(digest)
}

/// The token that a secret ever belonged to, as a text, by a part of the log: the positions behind
/// `after`, up to `last`.
pub(super) fn of_secret_between(
    company: CompanyId,
    digest: Digest,
    after: u64,
    last: u64,
) -> Statement {
    Statement::new(
        "SELECT aggregate_id FROM events \
         WHERE company_id = ?1 AND position > ?3 AND position <= ?4 \
         AND event_type IN ('token.created', 'token.refreshed') \
         AND payload -> 'secret' ->> 'digest' = ?2 LIMIT 1",
    )
    .with(company)
    .with(digest.to_string())
    .with(after)
    .with(last)
}

/// The last position of a company's ledger.
pub(super) fn head(company: CompanyId) -> Statement {
    Statement::new("SELECT last_position FROM company_heads WHERE company_id = ?1").with(company)
}

/// The terms in a table that ended by `now` without that being recorded, the longest due first.
pub(super) fn due<P: Table>(now: Timestamp, limit: usize) -> Statement {
    Statement::new(format!(
        "SELECT company_id, {}, term FROM {} \
         WHERE status = 'active' AND expires_at <= ?1 ORDER BY expires_at LIMIT ?2",
        P::KEY,
        P::TABLE
    ))
    .with(now)
    .with(limit)
}

impl FromColumns for DueTerm {
    fn from_columns<C: Columns>(row: &C) -> Result<Self, Unreadable> {
        Ok(Self { company_id: row.company(0)?, id: row.uuid(1)?, term: row.number(2)? })
    }
}
