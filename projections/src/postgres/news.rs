//! What the follower was told and has not followed yet.

use crate::index::VerificationIndex;
use std::collections::BTreeMap;
use std::sync::Arc;
use token_ledger_domain::CompanyId;
use token_ledger_event_store::Moment;
use token_ledger_event_store::postgres::{Change, PutRight};

/// What was told and has not been followed yet.
#[derive(Default)]
pub(super) struct News {
    /// Ledgers to look at, and how far they have come at least, where that is known.
    pub(super) advanced: BTreeMap<CompanyId, u64>,
    /// Everything that was committed before this moment is among it.
    pub(super) current: Option<Moment>,
    /// Something may have been missed.
    pub(super) missed: bool,
    /// Rows that were put right, not by events.
    pub(super) put_right: Vec<Arc<PutRight>>,
}

impl News {
    pub(super) fn take(&mut self, change: Change, index: &VerificationIndex) {
        match change {
            Change::Moved(ledgers) => {
                for (company, position) in ledgers {
                    if position == 0 || index.cursor(company) < position {
                        let known = self.advanced.entry(company).or_default();
                        *known = position.max(*known);
                    }
                }
            }
            Change::Current(moment) => self.current = Some(moment),
            Change::PutRight(rows) => self.put_right.push(rows),
            Change::Resync => self.missed = true,
        }
    }

    /// So much was told that it was dropped. The heads tell it again, all but what was put right.
    pub(super) fn lag(&mut self, count: u64) {
        self.missed = true;
        tracing::warn!(
            count,
            "the verification index was told more than it could take; if projections were rebuilt \
             just now, rebuild them again, or start this process again"
        );
    }

    /// What is to be followed now, if anything is.
    pub(super) fn due(&mut self) -> Option<Self> {
        let is_nothing = self.advanced.is_empty()
            && self.current.is_none()
            && !self.missed
            && self.put_right.is_empty();
        (!is_nothing).then(|| std::mem::take(self))
    }
}
