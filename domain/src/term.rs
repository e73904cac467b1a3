//! Terms of validity: what tokens and keys have in common.

use crate::secret::StoredSecret;
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};

/// One term of validity of one secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Term {
    /// 1 for the term that began with the creation, one more with each refresh.
    pub number: u32,
    /// The secret of this term.
    pub secret: StoredSecret,
    /// When the term ends.
    pub expires_at: Timestamp,
    /// The secret of the term before, while its grace period lasts.
    pub previous: Option<Previous>,
}

/// A secret that was refreshed away and lives on for a grace period.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Previous {
    /// The old secret.
    pub secret: StoredSecret,
    /// When it stops.
    pub expires_at: Timestamp,
}

impl Term {
    /// The first term.
    pub(crate) fn first(secret: StoredSecret, expires_at: Timestamp) -> Self {
        Self { number: 1, secret, expires_at, previous: None }
    }

    /// The term that a refresh begins. The old secret lives on until `previous_expires_at`, if at
    /// all; the one before it never does.
    pub(crate) fn next(
        self,
        secret: StoredSecret,
        expires_at: Timestamp,
        previous_expires_at: Option<Timestamp>,
    ) -> Self {
        Self {
            number: self.number.saturating_add(1),
            previous: previous_expires_at
                .map(|expires_at| Previous { secret: self.secret, expires_at }),
            secret,
            expires_at,
        }
    }

    /// When this term's secret stops after a refresh now: at the end of the grace period, never
    /// later than it would have; `None` for at once.
    pub(crate) fn grace_end(&self, now: Timestamp, grace_seconds: i64) -> Option<Timestamp> {
        let end = now.plus_seconds(grace_seconds).min(self.expires_at);
        (end > now).then_some(end)
    }

    /// Whether the term has ended.
    pub(crate) fn is_over(&self, now: Timestamp) -> bool {
        now >= self.expires_at
    }
}
