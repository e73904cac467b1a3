//! Bringing a database's schema up to date.

use super::errors::{failed, is_forbidden};
use crate::error::StoreError;
use crate::store::MigrationStatus;
use sqlx::{Connection, Executor, PgConnection, Row};

/// The migrations, in order: the first has the number 1.
const MIGRATIONS: [(&str, &str); 10] = [
    ("ledger", include_str!("../../../migrations/postgres/0001_ledger.sql")),
    ("projections", include_str!("../../../migrations/postgres/0002_projections.sql")),
    ("people", include_str!("../../../migrations/postgres/0003_people.sql")),
    ("attempts", include_str!("../../../migrations/postgres/0004_attempts.sql")),
    ("tokens_by_client", include_str!("../../../migrations/postgres/0005_tokens_by_client.sql")),
    ("evidence", include_str!("../../../migrations/postgres/0006_evidence.sql")),
    ("uses_by_time", include_str!("../../../migrations/postgres/0007_uses_by_time.sql")),
    ("uses_from", include_str!("../../../migrations/postgres/0008_uses_from.sql")),
    ("vouched_passwords", include_str!("../../../migrations/postgres/0009_vouched_passwords.sql")),
    ("lookups", include_str!("../../../migrations/postgres/0010_lookups.sql")),
];

/// The advisory lock under which one process at a time migrates.
const LOCK: i64 = 0x544C_6467;

const KNOWN: &str = "CREATE TABLE IF NOT EXISTS ledger_migrations (\
    version bigint NOT NULL PRIMARY KEY, name text NOT NULL, \
    applied_at timestamptz NOT NULL DEFAULT now())";

/// The role that the service may run as: it owns nothing and can't change what has happened. A
/// user who may not make roles goes on without it.
const ROLE: &str = "DO $$ BEGIN \
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'token_ledger_service') THEN \
        CREATE ROLE token_ledger_service NOLOGIN; \
    END IF; \
    EXCEPTION WHEN insufficient_privilege OR duplicate_object OR unique_violation THEN NULL; \
    END $$";
const GRANTS: &str = "DO $$ DECLARE place text := quote_ident(current_schema()); known text; BEGIN \
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'token_ledger_service') THEN \
        EXECUTE format('GRANT USAGE ON SCHEMA %s TO token_ledger_service', place); \
        FOR known IN SELECT tablename FROM pg_tables \
            WHERE schemaname = current_schema() AND tableowner = current_user LOOP \
            IF known IN ('events', 'ledger_migrations') THEN \
                EXECUTE format('REVOKE ALL ON %s.%I FROM token_ledger_service', place, known); \
            ELSE \
                EXECUTE format('GRANT UPDATE, DELETE ON %s.%I TO token_ledger_service', place, known); \
            END IF; \
            IF known = 'ledger_migrations' THEN \
                EXECUTE format('GRANT SELECT ON %s.%I TO token_ledger_service', place, known); \
            ELSE \
                EXECUTE format('GRANT SELECT, INSERT ON %s.%I TO token_ledger_service', place, known); \
            END IF; \
        END LOOP; \
    END IF; END $$";
const HAS_ROLE: &str =
    "SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = 'token_ledger_service')";
/// Whether the role was made after the tables, so that their owner has yet to let it in.
const ROLE_IS_LEFT_OUT: &str = "SELECT EXISTS (SELECT FROM pg_roles, pg_tables \
    WHERE rolname = 'token_ledger_service' AND schemaname = current_schema() \
    AND tablename = 'events' AND tableowner = current_user \
    AND NOT has_table_privilege(rolname, quote_ident(schemaname) || '.events', 'INSERT'))";

/// Where the schema stands.
///
/// # Errors
/// When the database holds something else, or a ledger of a newer release.
pub(super) async fn schema_status(
    connection: &mut PgConnection,
) -> Result<MigrationStatus, StoreError> {
    match newest_applied(connection).await? {
        applied if applied == MIGRATIONS.len() => Ok(MigrationStatus::UpToDate),
        applied if applied < MIGRATIONS.len() => {
            Ok(MigrationStatus::Missing(MIGRATIONS.len() - applied))
        }
        applied => Err(StoreError::Incompatible(format!(
            "the ledger's schema is version {applied}, newer than this release knows ({}); \
             use the release that wrote it, or a later one",
            MIGRATIONS.len()
        ))),
    }
}

async fn newest_applied(connection: &mut PgConnection) -> Result<usize, StoreError> {
    let known = exists(connection, "ledger_migrations").await?;
    if !known && exists(connection, "events").await? {
        return Err(StoreError::Incompatible(
            "the database has a table `events` that is not a token ledger's; name another database"
                .to_owned(),
        ));
    }
    if !known {
        return Ok(0);
    }
    let row = connection
        .fetch_one("SELECT coalesce(max(version), 0) FROM ledger_migrations")
        .await
        .map_err(failed)?;
    let newest: i64 = row.try_get(0).map_err(failed)?;
    usize::try_from(newest).map_err(|_| {
        StoreError::Incompatible(format!("ledger_migrations speaks of version {newest}"))
    })
}

async fn exists(connection: &mut PgConnection, table: &str) -> Result<bool, StoreError> {
    sqlx::query_scalar("SELECT to_regclass(quote_ident(current_schema()) || '.' || $1) IS NOT NULL")
        .bind(table)
        .fetch_one(connection)
        .await
        .map_err(failed)
}

/// Applies the migrations that follow on so many.
async fn apply_behind(applied: usize, connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    connection.execute(KNOWN).await?;
    for (index, (name, sql)) in MIGRATIONS.iter().enumerate().skip(applied) {
        connection.execute(*sql).await?;
        sqlx::query("INSERT INTO ledger_migrations (version, name) VALUES ($1, $2)")
            .bind(i64::try_from(index + 1).unwrap_or(i64::MAX))
            .bind(*name)
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}

/// What somebody is told who may not apply the migrations that follow on so many.
fn not_the_owner(applied: usize, error: &sqlx::Error) -> StoreError {
    let missing: Vec<&str> = MIGRATIONS.iter().skip(applied).map(|(name, _)| *name).collect();
    StoreError::Incompatible(format!(
        "the ledger's schema lacks {} of this release's migrations ({}), which this user may not \
         apply ({error}); run `token-ledger migrate` as the owner",
        missing.len(),
        missing.join(", ")
    ))
}

/// Whether the ledger's tables are spread over several servers.
pub(super) async fn is_sharded(connection: &mut PgConnection) -> Result<bool, StoreError> {
    sqlx::query_scalar("SELECT EXISTS (SELECT FROM pg_extension WHERE extname = 'citus')")
        .fetch_one(connection)
        .await
        .map_err(failed)
}

/// Applies what is missing, each migration whole or not at all, while other processes that want to
/// do the same wait; answers how many migrations that were.
///
/// # Errors
/// When the database holds something else, is of a newer release, or can't be written.
pub(super) async fn migrate(connection: &mut PgConnection) -> Result<usize, StoreError> {
    let mut transaction = connection.begin().await.map_err(failed)?;
    transaction
        .execute("SET LOCAL lock_timeout = 0; SET LOCAL statement_timeout = 0")
        .await
        .map_err(failed)?;
    sqlx::query("SELECT pg_advisory_xact_lock($1)")
        .bind(LOCK)
        .execute(&mut *transaction)
        .await
        .map_err(failed)?;
    let MigrationStatus::Missing(missing) = schema_status(&mut transaction).await? else {
        let is_left_out = sqlx::query_scalar(ROLE_IS_LEFT_OUT);
        if is_left_out.fetch_one(&mut *transaction).await.map_err(failed)? {
            transaction.execute(GRANTS).await.map_err(failed)?;
            transaction.commit().await.map_err(failed)?;
        }
        return Ok(0);
    };
    let applied = MIGRATIONS.len() - missing;
    apply_behind(applied, &mut transaction).await.map_err(|error| {
        if is_forbidden(&error) { not_the_owner(applied, &error) } else { failed(error) }
    })?;
    transaction.execute(ROLE).await.map_err(failed)?;
    transaction.execute(GRANTS).await.map_err(failed)?;
    let has_role: bool =
        sqlx::query_scalar(HAS_ROLE).fetch_one(&mut *transaction).await.map_err(failed)?;
    transaction.commit().await.map_err(failed)?;
    if !has_role {
        tracing::warn!(
            "there is no role token_ledger_service for the service to run as, and this user may not \
             make it: have an administrator run `CREATE ROLE token_ledger_service NOLOGIN`, then \
             migrate again"
        );
    }
    Ok(missing)
}
