//! How each projection's rows are kept: its columns, and a row to and from them.

use super::failed;
use crate::audit::{AuditRow, AuditTrail};
use crate::clients::{ClientRow, Clients};
use crate::companies::{Companies, CompanyRow};
use crate::index::VerificationIndex;
use crate::keys::{KeyRow, Keys};
use crate::members::{MemberRow, Members};
use crate::projection::Projection;
use crate::tokens::{PreviousSecret, Status, TokenRow, Tokens};
use rusqlite::types::{ToSqlOutput, Type, ValueRef};
use rusqlite::{Connection, OptionalExtension, Row, Statement, params};
use std::fmt::Display;
use std::str::FromStr;
use std::sync::LazyLock;
use token_ledger_domain::power::KeyScopes;
use token_ledger_domain::{
    Actor, ClientId, CompanyId, Digest, KeyId, MemberId, Name, PersonId, Timestamp, TokenId,
};
use token_ledger_event_store::StoreError;
use uuid::Uuid;

/// A key as SQLite keeps it.
pub trait SqlKey: Copy + Ord {
    /// For a statement's parameter.
    fn sql(&self) -> ToSqlOutput<'_>;

    /// From a row's column.
    ///
    /// # Errors
    /// When the column holds what it can't.
    fn from_column(row: &Row<'_>, column: &str) -> rusqlite::Result<Self>;
}

impl SqlKey for Uuid {
    fn sql(&self) -> ToSqlOutput<'_> {
        ToSqlOutput::Borrowed(ValueRef::Blob(self.as_bytes()))
    }

    fn from_column(row: &Row<'_>, column: &str) -> rusqlite::Result<Self> {
        row.get(column).map(Self::from_bytes)
    }
}

impl SqlKey for u64 {
    fn sql(&self) -> ToSqlOutput<'_> {
        ToSqlOutput::Borrowed(ValueRef::Integer(i64::try_from(*self).unwrap_or(i64::MAX)))
    }

    fn from_column(row: &Row<'_>, column: &str) -> rusqlite::Result<Self> {
        row.get(column)
    }
}

/// The statements of one table.
#[derive(Debug)]
pub struct Statements {
    /// One row by company and key.
    pub one: String,
    /// The rows of a company behind a key, in order.
    pub range: String,
    /// Inserts a row where there is none.
    pub insert: String,
    /// Puts a row in place of whatever is there.
    pub put: String,
    /// Removes a row.
    pub remove: String,
    /// The companies that have rows.
    pub companies: String,
}

/// Something with its key.
pub(super) type Keyed<K, T> = (K, T);
/// A row, or why it can't be read.
pub(super) type Readable<R> = Result<R, String>;
/// Rows as they are found, with their keys.
type Found<P> = Vec<Keyed<<P as Projection>::Key, Readable<<P as Projection>::Row>>>;

impl Statements {
    fn new(table: &str, key: &str, columns: &[&str]) -> Self {
        let list = columns.join(", ");
        let places: Vec<String> = (1..=columns.len()).map(|n| format!("?{n}")).collect();
        Self {
            one: format!("SELECT {list} FROM {table} WHERE company_id = ?1 AND {key} = ?2"),
            range: format!(
                "SELECT {list} FROM {table} WHERE company_id = ?1 AND {key} > ?2 \
                 ORDER BY {key} LIMIT ?3"
            ),
            insert: format!("INSERT INTO {table} ({list}) VALUES ({})", places.join(", ")),
            put: format!("INSERT OR REPLACE INTO {table} ({list}) VALUES ({})", places.join(", ")),
            remove: format!("DELETE FROM {table} WHERE company_id = ?1 AND {key} = ?2"),
            companies: format!(
                "WITH RECURSIVE found (id) AS (SELECT min(company_id) FROM {table} UNION ALL \
                 SELECT (SELECT min(company_id) FROM {table} WHERE company_id > found.id) \
                 FROM found WHERE found.id IS NOT NULL) \
                 SELECT id FROM found WHERE id IS NOT NULL"
            ),
        }
    }
}

/// A projection whose rows are kept in SQLite.
pub trait SqliteTable: Projection<Key: SqlKey> {
    /// The least key that there can be, before every real one.
    const FIRST: Self::Key;
    /// The table.
    const TABLE: &'static str;
    /// The column of the key; for a table with one row per company, the company's own.
    const KEY: &'static str;
    /// All columns, in the order of [`Self::read`] and [`Self::write`].
    const COLUMNS: &'static [&'static str];

    /// The statements.
    fn statements() -> &'static Statements;

    /// A row from its columns.
    ///
    /// # Errors
    /// When a column holds what it can't.
    fn read(row: &Row<'_>) -> rusqlite::Result<Self::Row>;

    /// Runs the statement that inserts or puts a row with the columns of this one.
    ///
    /// # Errors
    /// When the database fails.
    fn write(statement: &mut Statement<'_>, row: &Self::Row) -> rusqlite::Result<()>;

    /// Reads one row.
    ///
    /// # Errors
    /// When the database fails or holds a row that can't be.
    fn one(
        connection: &Connection,
        company: CompanyId,
        key: Self::Key,
    ) -> Result<Option<Self::Row>, StoreError> {
        connection
            .prepare_cached(&Self::statements().one)
            .map_err(failed)?
            .query_row(params![company.0.as_bytes(), key.sql()], Self::read)
            .optional()
            .map_err(failed)
    }

    /// Reads the rows of a company behind a key, in order.
    ///
    /// # Errors
    /// When the database fails or holds a row that can't be.
    fn range(
        connection: &Connection,
        company: CompanyId,
        after: Self::Key,
        limit: usize,
    ) -> Result<Vec<Self::Row>, StoreError> {
        connection
            .prepare_cached(&Self::statements().range)
            .map_err(failed)?
            .query_map(params![company.0.as_bytes(), after.sql(), limit], Self::read)
            .map_err(failed)?
            .collect::<Result<_, _>>()
            .map_err(failed)
    }

    /// Reads the rows of a company behind a key, in order and by key; one that can't be is
    /// answered by what is wrong with it.
    ///
    /// # Errors
    /// When the database fails or a key is none.
    fn readable_range(
        connection: &Connection,
        company: CompanyId,
        after: Self::Key,
        limit: usize,
    ) -> Result<Found<Self>, StoreError> {
        connection
            .prepare_cached(&Self::statements().range)
            .map_err(failed)?
            .query_map(params![company.0.as_bytes(), after.sql(), limit], |row| {
                let key = Self::Key::from_column(row, Self::KEY)?;
                Ok((key, Self::read(row).map_err(|error| error.to_string())))
            })
            .map_err(failed)?
            .collect::<Result<_, _>>()
            .map_err(failed)
    }

    /// The companies that have rows, whether they have a ledger or not. Goes from one to the next
    /// by the primary key.
    ///
    /// # Errors
    /// When the database fails or holds a company that can't be.
    fn companies(connection: &Connection) -> Result<Vec<CompanyId>, StoreError> {
        connection
            .prepare_cached(&Self::statements().companies)
            .map_err(failed)?
            .query_map([], |row| Ok(CompanyId(uuid(row, 0)?)))
            .map_err(failed)?
            .collect::<Result<_, _>>()
            .map_err(failed)
    }

    /// Writes a row that is new: cheaper than [`Self::put`].
    ///
    /// # Errors
    /// When the database fails, or holds a row of this key that should not be there.
    fn insert(connection: &Connection, row: &Self::Row) -> Result<(), StoreError> {
        let mut statement =
            connection.prepare_cached(&Self::statements().insert).map_err(failed)?;
        Self::write(&mut statement, row).map_err(failed)
    }

    /// Writes a row, in place of whatever is there.
    ///
    /// # Errors
    /// When the database fails.
    fn put(connection: &Connection, row: &Self::Row) -> Result<(), StoreError> {
        let mut statement = connection.prepare_cached(&Self::statements().put).map_err(failed)?;
        Self::write(&mut statement, row).map_err(failed)
    }

    /// Tells the verification index what a row was put right to; `None` when it was removed.
    fn refresh(_index: &VerificationIndex, _key: Self::Key, _row: Option<&Self::Row>) {}

    /// Removes one row.
    ///
    /// # Errors
    /// When the database fails.
    fn remove(
        connection: &Connection,
        company: CompanyId,
        key: Self::Key,
    ) -> Result<(), StoreError> {
        connection
            .prepare_cached(&Self::statements().remove)
            .map_err(failed)?
            .execute(params![company.0.as_bytes(), key.sql()])
            .map_err(failed)?;
        Ok(())
    }
}

/// Parses a text column; what doesn't fit names the column.
pub(super) fn parsed<T>(row: &Row<'_>, column: usize) -> rusqlite::Result<T>
where
    T: FromStr<Err: Display>,
{
    wrong_type(column, row.get_ref(column)?.as_str()?.parse::<T>())
}

fn wrong_type<T, E: Display>(column: usize, value: Result<T, E>) -> rusqlite::Result<T> {
    value.map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(column, Type::Text, error.to_string().into())
    })
}

pub(super) fn name(row: &Row<'_>, column: usize) -> rusqlite::Result<Name> {
    wrong_type(column, Name::new(row.get::<_, String>(column)?))
}

pub(super) fn time(row: &Row<'_>, column: usize) -> rusqlite::Result<Timestamp> {
    Ok(Timestamp::from_micros(row.get(column)?))
}

pub(super) fn optional_time(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<Timestamp>> {
    Ok(row.get::<_, Option<i64>>(column)?.map(Timestamp::from_micros))
}

pub(super) fn uuid(row: &Row<'_>, column: usize) -> rusqlite::Result<Uuid> {
    Ok(Uuid::from_bytes(row.get(column)?))
}

fn optional_uuid(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<Uuid>> {
    Ok(row.get::<_, Option<[u8; 16]>>(column)?.map(Uuid::from_bytes))
}

fn status(row: &Row<'_>, column: usize) -> rusqlite::Result<Status> {
    let text = row.get_ref(column)?.as_str()?;
    wrong_type(column, Status::parse(text).ok_or_else(|| format!("{text:?} is no status")))
}

fn actor(row: &Row<'_>, kind: usize, id: usize) -> rusqlite::Result<Actor> {
    Ok(Actor { kind: parsed(row, kind)?, id: uuid(row, id)? })
}

fn key_scopes(row: &Row<'_>, column: usize) -> rusqlite::Result<KeyScopes> {
    let text = row.get_ref(column)?.as_str()?;
    wrong_type(column, text.split(' ').map(str::parse).collect::<Result<_, _>>())
}

fn micros(time: Option<Timestamp>) -> Option<i64> {
    time.map(Timestamp::as_micros)
}

macro_rules! table {
    ($projection:ty, $table:literal, $key:literal, $first:expr, [$($column:literal),* $(,)?],
     read $read:expr, write $write:expr $(, refresh $refresh:expr)?) => {
        impl SqliteTable for $projection {
            const FIRST: Self::Key = $first;
            const TABLE: &'static str = $table;
            const KEY: &'static str = $key;
            const COLUMNS: &'static [&'static str] = &[$($column),*];

            fn statements() -> &'static Statements {
                static STATEMENTS: LazyLock<Statements> = LazyLock::new(|| {
                    Statements::new($table, $key, <$projection as SqliteTable>::COLUMNS)
                });
                &STATEMENTS
            }

            fn read(row: &Row<'_>) -> rusqlite::Result<Self::Row> {
                $read(row)
            }

            fn write(statement: &mut Statement<'_>, row: &Self::Row) -> rusqlite::Result<()> {
                $write(statement, row)
            }

            $(fn refresh(index: &VerificationIndex, key: Self::Key, row: Option<&Self::Row>) {
                $refresh(index, key, row);
            })?
        }
    };
}

table!(
    Tokens,
    "tokens",
    "token_id",
    Uuid::nil(),
    [
        "company_id",
        "token_id",
        "name",
        "scopes",
        "status",
        "client_id",
        "term",
        "digest",
        "hint",
        "expires_at",
        "issued_at",
        "previous_digest",
        "previous_expires_at",
        "previous_issued_at",
        "created_at",
        "created_by_type",
        "created_by_id",
        "created_position",
        "refreshed_at",
        "deleted_at",
        "version",
        "position",
    ],
    read read_token,
    write write_token,
    refresh |index: &VerificationIndex, key, row: Option<&TokenRow>| {
        index.forget_token(TokenId(key));
        if let Some(row) = row {
            index.apply_token(row);
        }
    }
);

fn read_token(row: &Row<'_>) -> rusqlite::Result<TokenRow> {
    let previous_digest: Option<[u8; 32]> = row.get(11)?;
    let previous = match (previous_digest, optional_time(row, 12)?, optional_time(row, 13)?) {
        (Some(digest), Some(expires_at), Some(issued_at)) => {
            Some(PreviousSecret { digest: Digest(digest), expires_at, issued_at })
        }
        _ => None,
    };
    Ok(TokenRow {
        company_id: CompanyId(uuid(row, 0)?),
        token_id: TokenId(uuid(row, 1)?),
        name: name(row, 2)?,
        scopes: parsed(row, 3)?,
        status: status(row, 4)?,
        client_id: optional_uuid(row, 5)?.map(ClientId),
        term: row.get(6)?,
        digest: Digest(row.get(7)?),
        hint: row.get(8)?,
        expires_at: time(row, 9)?,
        issued_at: time(row, 10)?,
        previous,
        created_at: time(row, 14)?,
        created_by: actor(row, 15, 16)?,
        created_position: row.get(17)?,
        refreshed_at: optional_time(row, 18)?,
        deleted_at: optional_time(row, 19)?,
        version: row.get(20)?,
        position: row.get(21)?,
    })
}

fn write_token(statement: &mut Statement<'_>, row: &TokenRow) -> rusqlite::Result<()> {
    let client = row.client_id.map(|id| *id.0.as_bytes());
    statement
        .execute(params![
            row.company_id.0.as_bytes(),
            row.token_id.0.as_bytes(),
            row.name.as_str(),
            row.scopes.to_string(),
            row.status.as_str(),
            client,
            row.term,
            row.digest.0,
            row.hint,
            row.expires_at.as_micros(),
            row.issued_at.as_micros(),
            row.previous.map(|previous| previous.digest.0),
            row.previous.map(|previous| previous.expires_at.as_micros()),
            row.previous.map(|previous| previous.issued_at.as_micros()),
            row.created_at.as_micros(),
            row.created_by.kind.as_str(),
            row.created_by.id.as_bytes(),
            row.created_position,
            micros(row.refreshed_at),
            micros(row.deleted_at),
            row.version,
            row.position,
        ])
        .map(drop)
}

table!(
    Keys,
    "keys",
    "key_id",
    Uuid::nil(),
    [
        "company_id",
        "key_id",
        "name",
        "scopes",
        "status",
        "term",
        "digest",
        "hint",
        "expires_at",
        "previous_digest",
        "previous_expires_at",
        "created_at",
        "created_by_type",
        "created_by_id",
        "created_position",
        "refreshed_at",
        "deleted_at",
        "version",
        "position",
    ],
    read read_key,
    write write_key,
    refresh |index: &VerificationIndex, key, row: Option<&KeyRow>| {
        index.forget_key(KeyId(key));
        if let Some(row) = row {
            index.apply_key(row);
        }
    }
);

fn read_key(row: &Row<'_>) -> rusqlite::Result<KeyRow> {
    let previous_digest: Option<[u8; 32]> = row.get(9)?;
    Ok(KeyRow {
        company_id: CompanyId(uuid(row, 0)?),
        key_id: KeyId(uuid(row, 1)?),
        name: name(row, 2)?,
        scopes: key_scopes(row, 3)?,
        status: status(row, 4)?,
        term: row.get(5)?,
        digest: Digest(row.get(6)?),
        hint: row.get(7)?,
        expires_at: time(row, 8)?,
        previous: previous_digest.map(Digest).zip(optional_time(row, 10)?),
        created_at: time(row, 11)?,
        created_by: actor(row, 12, 13)?,
        created_position: row.get(14)?,
        refreshed_at: optional_time(row, 15)?,
        deleted_at: optional_time(row, 16)?,
        version: row.get(17)?,
        position: row.get(18)?,
    })
}

fn write_key(statement: &mut Statement<'_>, row: &KeyRow) -> rusqlite::Result<()> {
    let scopes: Vec<&str> = row.scopes.iter().map(|scope| scope.as_str()).collect();
    statement
        .execute(params![
            row.company_id.0.as_bytes(),
            row.key_id.0.as_bytes(),
            row.name.as_str(),
            scopes.join(" "),
            row.status.as_str(),
            row.term,
            row.digest.0,
            row.hint,
            row.expires_at.as_micros(),
            row.previous.map(|(digest, _)| digest.0),
            row.previous.map(|(_, end)| end.as_micros()),
            row.created_at.as_micros(),
            row.created_by.kind.as_str(),
            row.created_by.id.as_bytes(),
            row.created_position,
            micros(row.refreshed_at),
            micros(row.deleted_at),
            row.version,
            row.position,
        ])
        .map(drop)
}

table!(
    Companies,
    "companies",
    "company_id",
    Uuid::nil(),
    ["company_id", "name", "oauth_app_enabled", "policy", "created_at", "version", "position"],
    read read_company,
    write write_company,
    refresh |index: &VerificationIndex, _, row: Option<&CompanyRow>| {
        if let Some(row) = row {
            index.apply_company(row);
        }
    }
);

fn read_company(row: &Row<'_>) -> rusqlite::Result<CompanyRow> {
    Ok(CompanyRow {
        company_id: CompanyId(uuid(row, 0)?),
        name: name(row, 1)?,
        oauth_app_enabled: row.get(2)?,
        policy: wrong_type(3, serde_json::from_str(row.get_ref(3)?.as_str()?))?,
        created_at: time(row, 4)?,
        version: row.get(5)?,
        position: row.get(6)?,
    })
}

fn write_company(statement: &mut Statement<'_>, row: &CompanyRow) -> rusqlite::Result<()> {
    let policy = serde_json::to_string(&row.policy)
        .map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))?;
    statement
        .execute(params![
            row.company_id.0.as_bytes(),
            row.name.as_str(),
            row.oauth_app_enabled,
            policy,
            row.created_at.as_micros(),
            row.version,
            row.position,
        ])
        .map(drop)
}

table!(
    Members,
    "members",
    "member_id",
    Uuid::nil(),
    ["company_id", "member_id", "person_id", "role", "added_at", "version", "position"],
    read read_member,
    write write_member
);

fn read_member(row: &Row<'_>) -> rusqlite::Result<MemberRow> {
    Ok(MemberRow {
        company_id: CompanyId(uuid(row, 0)?),
        member_id: MemberId(uuid(row, 1)?),
        person_id: PersonId(uuid(row, 2)?),
        role: parsed(row, 3)?,
        added_at: time(row, 4)?,
        version: row.get(5)?,
        position: row.get(6)?,
    })
}

fn write_member(statement: &mut Statement<'_>, row: &MemberRow) -> rusqlite::Result<()> {
    statement
        .execute(params![
            row.company_id.0.as_bytes(),
            row.member_id.0.as_bytes(),
            row.person_id.0.as_bytes(),
            row.role.as_str(),
            row.added_at.as_micros(),
            row.version,
            row.position,
        ])
        .map(drop)
}

table!(
    Clients,
    "clients",
    "client_id",
    Uuid::nil(),
    [
        "company_id",
        "client_id",
        "name",
        "scopes",
        "digest",
        "hint",
        "previous_digest",
        "previous_expires_at",
        "created_at",
        "rotated_at",
        "deleted_at",
        "version",
        "position",
    ],
    read read_client,
    write write_client
);

fn read_client(row: &Row<'_>) -> rusqlite::Result<ClientRow> {
    let previous_digest: Option<[u8; 32]> = row.get(6)?;
    Ok(ClientRow {
        company_id: CompanyId(uuid(row, 0)?),
        client_id: ClientId(uuid(row, 1)?),
        name: name(row, 2)?,
        scopes: parsed(row, 3)?,
        digest: Digest(row.get(4)?),
        hint: row.get(5)?,
        previous: previous_digest.map(Digest).zip(optional_time(row, 7)?),
        created_at: time(row, 8)?,
        rotated_at: optional_time(row, 9)?,
        deleted_at: optional_time(row, 10)?,
        version: row.get(11)?,
        position: row.get(12)?,
    })
}

fn write_client(statement: &mut Statement<'_>, row: &ClientRow) -> rusqlite::Result<()> {
    statement
        .execute(params![
            row.company_id.0.as_bytes(),
            row.client_id.0.as_bytes(),
            row.name.as_str(),
            row.scopes.to_string(),
            row.digest.0,
            row.hint,
            row.previous.map(|(digest, _)| digest.0),
            row.previous.map(|(_, end)| end.as_micros()),
            row.created_at.as_micros(),
            micros(row.rotated_at),
            micros(row.deleted_at),
            row.version,
            row.position,
        ])
        .map(drop)
}

table!(
    AuditTrail,
    "audit_trail",
    "position",
    0,
    [
        "company_id",
        "position",
        "aggregate_type",
        "aggregate_id",
        "event_type",
        "actor_type",
        "actor_id",
        "recorded_at",
    ],
    read read_audit,
    write write_audit
);

fn read_audit(row: &Row<'_>) -> rusqlite::Result<AuditRow> {
    Ok(AuditRow {
        company_id: CompanyId(uuid(row, 0)?),
        position: row.get(1)?,
        aggregate_type: parsed(row, 2)?,
        aggregate_id: uuid(row, 3)?,
        event_type: row.get(4)?,
        actor: actor(row, 5, 6)?,
        recorded_at: time(row, 7)?,
    })
}

fn write_audit(statement: &mut Statement<'_>, row: &AuditRow) -> rusqlite::Result<()> {
    statement
        .execute(params![
            row.company_id.0.as_bytes(),
            row.position,
            row.aggregate_type.as_str(),
            row.aggregate_id.as_bytes(),
            row.event_type,
            row.actor.kind.as_str(),
            row.actor.id.as_bytes(),
            row.recorded_at.as_micros(),
        ])
        .map(drop)
}
