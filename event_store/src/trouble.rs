//! Whether appending fails.

use crate::clock::Moment;
use crate::commit::{AppendError, Recorded};
use crate::error::StoreError;
use parking_lot::Mutex;
use std::time::Duration;

/// How long a failure counts, unless something is appended since: whoever sends commands elsewhere
/// meanwhile sends one here again then.
const FAILED_LATELY: Duration = Duration::from_secs(10);

/// When something could last not be appended because of the database; nothing once something was.
#[derive(Debug, Default)]
pub(crate) struct Trouble(Mutex<Option<Moment>>);

impl Trouble {
    /// Notes how appending went.
    pub fn note(&self, failed: bool) {
        *self.0.lock() = failed.then(Moment::now);
    }

    /// Notes how appending these commits went.
    pub fn note_all(&self, outcomes: &[Result<Recorded, AppendError>]) {
        let failed = |outcome: &Result<_, _>| match outcome {
            Err(AppendError::Failed(error)) => is_trouble(error),
            _ => false,
        };
        if let Some(last) = outcomes.last() {
            self.note(failed(last));
        }
    }

    /// Whether appending failed a moment ago.
    pub fn is_recent(&self) -> bool {
        self.0.lock().is_some_and(|failed_at| failed_at.elapsed() < FAILED_LATELY)
    }
}

/// Whether the database is to blame, whatever was to be appended.
pub(crate) const fn is_trouble(error: &StoreError) -> bool {
    matches!(error, StoreError::Unavailable(_) | StoreError::InDoubt(_))
}
