//! Running the statements that both databases share.

use super::PgReadModels;
use crate::sql::{Columns, Dialect, FromColumns, Statement, Unreadable, Value};
use sqlx::postgres::{PgArguments, PgRow};
use sqlx::{Arguments, Column, Connection, PgConnection, Row, ValueRef};
use std::fmt::Display;
use token_ledger_event_store::postgres::{
    EVENT_COLUMNS, end_in_time, event_from_row, failed, in_time, reading_failed,
};
use token_ledger_event_store::{RecordedEvent, StoreError};
use uuid::Uuid;

impl Columns for PgRow {
    fn column_name(&self, column: usize) -> String {
        self.try_column(column).map_or_else(|_| column.to_string(), |found| found.name().to_owned())
    }

    fn optional_uuid(&self, column: usize) -> Result<Option<Uuid>, Unreadable> {
        self.try_get(column).map_err(|error| self.unreadable(column, error))
    }

    fn optional_int(&self, column: usize) -> Result<Option<i64>, Unreadable> {
        self.try_get(column).map_err(|error| self.unreadable(column, error))
    }

    /// Also of a column that holds JSON, whose exact text it is.
    fn optional_text(&self, column: usize) -> Result<Option<&str>, Unreadable> {
        let wrong = |error: &dyn Display| self.unreadable(column, error);
        let value = self.try_get_raw(column).map_err(|error| wrong(&error))?;
        if value.is_null() {
            return Ok(None);
        }
        value.as_str().map(Some).map_err(|error| wrong(&error))
    }

    fn optional_bytes(&self, column: usize) -> Result<Option<&[u8]>, Unreadable> {
        self.try_get(column).map_err(|error| self.unreadable(column, error))
    }

    fn event(&self) -> Result<RecordedEvent, Unreadable> {
        event_from_row(self).map_err(|error| Unreadable {
            column: "of an event".to_owned(),
            problem: error.to_string(),
        })
    }
}

/// A shared statement's text with PostgreSQL's places.
pub(super) fn numbered(text: &str) -> String {
    text.replace('?', "$")
}

/// The parameters in the driver's form.
///
/// # Errors
/// When one can't be sent.
pub(super) fn arguments<'v>(
    parameters: impl IntoIterator<Item = Value<'v>>,
) -> Result<PgArguments, StoreError> {
    let mut arguments = PgArguments::default();
    for value in parameters {
        match value {
            Value::Uuid(id) => arguments.add(id),
            Value::Int(number) => arguments.add(number),
            Value::Text(text) => arguments.add(text.as_deref()),
            Value::Bytes(bytes) => arguments.add(bytes.as_deref()),
        }
        .map_err(|error| StoreError::Rejected(error.to_string()))?;
    }
    Ok(arguments)
}

/// Runs a shared statement; answers how many rows it changed.
pub(super) async fn execute(
    connection: &mut PgConnection,
    statement: &Statement,
) -> Result<u64, StoreError> {
    let arguments = arguments(statement.parameters.iter().cloned())?;
    let text = numbered(&statement.text);
    let done = sqlx::query_with(&text, arguments).execute(connection).await.map_err(failed)?;
    Ok(done.rows_affected())
}

/// The rows that a shared query answers.
pub(super) async fn fetch<T: FromColumns>(
    connection: &mut PgConnection,
    query: &Statement,
) -> Result<Vec<T>, StoreError> {
    let arguments = arguments(query.parameters.iter().cloned())?;
    let text = numbered(&query.text);
    let rows =
        sqlx::query_with(&text, arguments).fetch_all(connection).await.map_err(reading_failed)?;
    rows.iter().map(|row| Ok(T::from_columns(row)?)).collect()
}

/// Carries statements out together; `false`, and nothing is done, where one that has to change
/// something doesn't.
async fn transact(
    connection: &mut PgConnection,
    statements: &[Statement],
) -> Result<bool, StoreError> {
    let begun = in_time(async {
        let mut transaction = connection.begin().await.map_err(failed)?;
        for statement in statements {
            let changed = execute(&mut transaction, statement).await?;
            if statement.required && changed == 0 {
                transaction.rollback().await.map_err(failed)?;
                return Ok(None);
            }
        }
        Ok(Some(transaction))
    });
    match begun.await? {
        Some(transaction) => end_in_time(transaction.commit()).await.map(|()| true),
        None => Ok(false),
    }
}

/// The trigger that keeps events from being changed, and its function's name.
const APPEND_ONLY: &str = "events_are_append_only";
/// What its function does.
const REFUSE: &str = "BEGIN RAISE EXCEPTION 'events are append-only' USING ERRCODE = \
    'restrict_violation'; END";
/// Before each statement that updates, deletes or truncates.
const BEFORE_ANY_CHANGE: i64 = 2 + 8 + 16 + 32;
/// The triggers of the ledger's tables: whose, which, whether it is on for every session and every
/// statement, when it is called, and what it does.
const TRIGGERS: &str = "SELECT c.relname::text, t.tgname::text, \
    (t.tgenabled IN ('O', 'A') AND t.tgqual IS NULL)::integer::bigint, t.tgtype::bigint, p.prosrc \
    FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_proc p ON p.oid = t.tgfoid \
    WHERE NOT t.tgisinternal AND c.relnamespace = \
    (SELECT relnamespace FROM pg_class WHERE oid = 'events'::regclass) ORDER BY 1, 2";
/// A row where triggers are not called that are on: in this session, or in those of some role or
/// database by their settings.
const UNCALLED: &str = "SELECT 1::bigint WHERE current_setting('session_replication_role') <> 'origin' \
    UNION ALL SELECT 1::bigint FROM pg_db_role_setting s, unnest(s.setconfig) AS setting \
    WHERE s.setdatabase IN (0, (SELECT oid FROM pg_database WHERE datname = current_database())) \
    AND lower(setting) LIKE 'session_replication_role=%' \
    AND lower(setting) <> 'session_replication_role=origin' LIMIT 1";
/// A row where the service's role may change events.
const GRANTED: &str = "SELECT 1::bigint FROM pg_roles WHERE rolname = 'token_ledger_service' \
    AND (has_table_privilege(oid, 'events', 'UPDATE, DELETE, TRUNCATE') \
    OR has_any_column_privilege(oid, 'events', 'UPDATE'))";
/// A row where there are shards, which have no triggers.
const SHARDED: &str = "SELECT 1::bigint FROM pg_extension WHERE extname = 'citus'";

/// A trigger of one of the ledger's tables.
struct Trigger {
    table: String,
    name: String,
    /// Whether it refuses every change, as the one of the migrations does.
    is_whole: bool,
}

impl FromColumns for Trigger {
    fn from_columns<C: Columns>(row: &C) -> Result<Self, Unreadable> {
        let words: Vec<&str> = row.text(4)?.split_whitespace().collect();
        Ok(Self {
            table: row.text(0)?.to_owned(),
            name: row.text(1)?.to_owned(),
            is_whole: row.truth(2)?
                && row.int(3)? == BEFORE_ANY_CHANGE
                && words.join(" ") == REFUSE,
        })
    }
}

impl PgReadModels {
    pub(crate) const DIALECT: Dialect = Dialect {
        position: "strpos",
        // The columns go by code points, where only ASCII has capitals. Both are put in small letters
        // here, so that whatever the database's locale knows, a name is found by itself.
        has: |text, part| {
            let lower = |text| format!("lower({text} COLLATE \"default\")");
            format!("strpos({}, {}) > 0", lower(text), lower(part))
        },
        event_columns: EVENT_COLUMNS,
        claim: Some("FOR UPDATE SKIP LOCKED"),
        hold: "FOR SHARE",
    };

    pub(crate) async fn fetch<T: FromColumns + Send + 'static>(
        &self,
        query: Statement,
    ) -> Result<Vec<T>, StoreError> {
        let (mut lent, _turn) = if query.searches {
            let (lent, turn) = self.database().lend_to_search().await?;
            (lent, Some(turn))
        } else {
            (self.database().lend().await?, None)
        };
        let rows = in_time(fetch(&mut lent, &query)).await;
        lent.settle(rows)
    }

    pub(crate) async fn transact(&self, statements: &[Statement]) -> Result<bool, StoreError> {
        let mut lent = self.database().lend().await?;
        let done = transact(&mut lent, statements).await;
        lent.settle(done)
    }

    /// Whether a query answers a row.
    async fn holds(&self, query: &'static str) -> Result<bool, StoreError> {
        Ok(!self.fetch::<i64>(Statement::new(query)).await?.is_empty())
    }

    pub(crate) async fn schema_differences(&self) -> Result<Vec<String>, StoreError> {
        let mut differences = Vec::new();
        let mut is_kept = self.holds(SHARDED).await?;
        for trigger in self.fetch::<Trigger>(Statement::new(TRIGGERS)).await? {
            let Trigger { table, name, is_whole } = trigger;
            if (table.as_str(), name.as_str()) != ("events", APPEND_ONLY) {
                differences.push(format!("the trigger {name} of the table {table} was added"));
            } else if is_whole {
                is_kept = true;
            }
        }
        if !is_kept {
            differences.push(format!(
                "the trigger {APPEND_ONLY} of the table events is gone, turned off or not the one \
                 that was made"
            ));
        }
        if self.holds(UNCALLED).await? {
            differences
                .push("session_replication_role is set, which turns triggers off".to_owned());
        }
        if self.holds(GRANTED).await? {
            differences.push("the role token_ledger_service may change events".to_owned());
        }
        Ok(differences)
    }

    pub(crate) async fn try_writing(&self) -> Result<(), StoreError> {
        let mut lent = self.database().lend().await?;
        let asking = sqlx::query_as(
            "SELECT current_setting('transaction_read_only') = 'off', \
             has_table_privilege('events', 'INSERT') \
             AND has_table_privilege('company_heads', 'INSERT') \
             AND has_table_privilege('company_heads', 'UPDATE')",
        );
        let answered = in_time(async { asking.fetch_one(&mut *lent).await.map_err(failed) }).await;
        let problem = match lent.settle(answered)? {
            (true, true) => return Ok(()),
            (false, _) => "it takes no writes: a standby, perhaps",
            (true, false) => {
                "its user may not add events: log in as a member of token_ledger_service"
            }
        };
        Err(StoreError::Unavailable(problem.to_owned()))
    }
}
