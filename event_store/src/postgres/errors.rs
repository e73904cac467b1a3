//! The driver's errors in the store's words, told apart by SQLSTATE.

use crate::error::StoreError;
use sqlx::Error;
use sqlx::error::DatabaseError;
use sqlx::postgres::{PgDatabaseError, PgSeverity};

/// A place in a table is taken.
const UNIQUE_VIOLATION: &str = "23505";

/// A lock was waited for in vain.
const LOCK_NOT_AVAILABLE: &str = "55P03";

/// A value is not of the type that it is for.
const DATATYPE_MISMATCH: &str = "42804";

/// A connection was lost, also one of the server's own to another server.
const CONNECTION_EXCEPTION: &str = "08";

/// Classes and states of SQLSTATE that say something about the database rather than about the
/// statement: connection, transaction (also one that may not write because the server is a standby),
/// roll-back, resources, operator's doing, system, and locks.
const UNAVAILABLE: [&str; 8] =
    [CONNECTION_EXCEPTION, "25", "40", "53", "57", "58", "XX", LOCK_NOT_AVAILABLE];
/// A value lends itself to nothing that was asked of it.
const DATA_EXCEPTION: &str = "22";
/// The server knows no such database or user, or the password is wrong.
const NOT_LET_IN: [&str; 2] = ["28", "3D"];
/// A prepared statement is there already, or isn't: somebody else's session was lent to this one.
const MIXED_UP: [&str; 2] = ["42P05", "26000"];
/// The user lacks a right.
const INSUFFICIENT_PRIVILEGE: &str = "42501";

/// An error of the driver, in the store's words.
#[allow(clippy::needless_pass_by_value, reason = "the form that map_err wants")]
pub fn failed(error: Error) -> StoreError {
    failed_ref(&error)
}

pub(super) fn failed_ref(error: &Error) -> StoreError {
    let text = error.to_string();
    match error {
        Error::Database(refusal) => {
            let state = refusal.code().unwrap_or_default();
            if UNAVAILABLE.iter().chain(&NOT_LET_IN).any(|prefix| state.starts_with(prefix)) {
                StoreError::Unavailable(text)
            } else if state == INSUFFICIENT_PRIVILEGE {
                StoreError::Rejected(format!(
                    "{text}; log in as the owner, or as a member of token_ledger_service to run \
                     the service"
                ))
            } else if MIXED_UP.contains(&&*state) {
                StoreError::Rejected(format!(
                    "{text}; a pooler in transaction mode must keep prepared statements: PgBouncer \
                     1.21 or later with max_prepared_statements"
                ))
            } else {
                StoreError::Rejected(text)
            }
        }
        Error::PoolTimedOut => {
            StoreError::Unavailable("no connection was to be had in time".to_owned())
        }
        Error::Io(_) | Error::Tls(_) | Error::Protocol(_) | Error::WorkerCrashed => {
            StoreError::Unavailable(text)
        }
        Error::PoolClosed => StoreError::Closed,
        Error::ColumnDecode { .. } | Error::Decode(_) | Error::RowNotFound => {
            StoreError::Unreadable(text)
        }
        _ => StoreError::Rejected(text),
    }
}

/// An error of connecting, in the store's words: whatever the server says, nothing can be asked of it.
#[allow(clippy::needless_pass_by_value, reason = "the form that map_err wants")]
pub(super) fn connecting_failed(error: Error) -> StoreError {
    match failed_ref(&error) {
        StoreError::Rejected(text) => StoreError::Unavailable(text),
        other => other,
    }
}

/// An error of a query that only reads, in the store's words: one that stumbles over what is stored
/// can't read it.
#[allow(clippy::needless_pass_by_value, reason = "the form that map_err wants")]
pub fn reading_failed(error: Error) -> StoreError {
    match failed_ref(&error) {
        StoreError::Rejected(text)
            if state_of(&error).is_some_and(|state| state.starts_with(DATA_EXCEPTION)) =>
        {
            StoreError::Unreadable(text)
        }
        other => other,
    }
}

/// Whether somebody else held on to what was to be locked.
pub fn is_held(error: &Error) -> bool {
    let refusal = error.as_database_error();
    refusal.and_then(DatabaseError::code).is_some_and(|state| state == LOCK_NOT_AVAILABLE)
}

/// An error of what ends a transaction, in the store's words: it may have been carried out, unless
/// the server says that it was not.
#[allow(clippy::needless_pass_by_value, reason = "the form that map_err wants")]
pub(super) fn ending_failed(error: Error) -> StoreError {
    let error_of_ending = failed_ref(&error);
    if is_refusal(&error) { error_of_ending } else { error_of_ending.after_change() }
}

/// Whether the server, which goes on, says that it did not do it. One that ends meanwhile may have,
/// and so may one that lost the server on which the rows are.
fn is_refusal(error: &Error) -> bool {
    let Error::Database(refusal) = error else { return false };
    let goes_on = refusal
        .try_downcast_ref::<PgDatabaseError>()
        .is_some_and(|refusal| refusal.severity() == PgSeverity::Error);
    let is_lost = refusal.code().is_some_and(|state| state.starts_with(CONNECTION_EXCEPTION));
    goes_on && !is_lost
}

/// Whether a row couldn't be inserted because there is one in its place.
pub(super) fn is_taken(error: &Error) -> bool {
    state_of(error).as_deref() == Some(UNIQUE_VIOLATION)
}

/// Whether a row is not built like its table, to which a newer release may have added a column.
pub(super) fn is_misshapen(error: &Error) -> bool {
    state_of(error).as_deref() == Some(DATATYPE_MISMATCH)
}

/// Whether waiting won't help: the server answers, but doesn't let this user in.
pub(super) fn is_not_let_in(error: &Error) -> bool {
    matches!(error, Error::Configuration(_))
        || state_of(error)
            .is_some_and(|state| NOT_LET_IN.iter().any(|prefix| state.starts_with(prefix)))
}

/// Whether the user lacks a right.
pub(super) fn is_forbidden(error: &Error) -> bool {
    state_of(error).as_deref() == Some(INSUFFICIENT_PRIVILEGE)
}

fn state_of(error: &Error) -> Option<String> {
    match error {
        Error::Database(refusal) => refusal.code().map(std::borrow::Cow::into_owned),
        _ => None,
    }
}
