//! Whether whoever asks still may.

use crate::clock::Moment;
use crate::error::StoreError;
use async_trait::async_trait;
use std::time::Duration;

/// How long a standing counts that was found.
pub const STANDS_FOR: Duration = Duration::from_millis(500);

/// Whoever asks for a command, and may lose the right to while it is held up.
#[async_trait]
pub trait Standing: Send + Sync {
    /// When the request was let through.
    fn since(&self) -> Moment;

    /// Whether what let the request through still does.
    ///
    /// # Errors
    /// When that can't be known.
    async fn holds(&self) -> Result<bool, StoreError>;
}

/// Nobody takes anything from whoever is asked for here.
pub(crate) struct ForGood;

#[async_trait]
impl Standing for ForGood {
    fn since(&self) -> Moment {
        Moment::now()
    }

    async fn holds(&self) -> Result<bool, StoreError> {
        Ok(true)
    }
}
