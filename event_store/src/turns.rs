//! Turns: of the commands for one stream, a process works on one at a time.

use crate::record::StreamId;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::{Arc, Weak};
use token_ledger_domain::CompanyId;
use tokio::sync::OwnedMutexGuard;

type Key = (CompanyId, StreamId);
type Lock = tokio::sync::Mutex<()>;

/// The streams that somebody works on. Each has a lock of its own: whoever waits for one stream holds
/// up no other, least of all another company's.
#[derive(Debug, Default)]
pub(crate) struct Turns(Mutex<HashMap<Key, Weak<Lock>>>);

/// Somebody's turn at a stream, or their place in its line.
#[derive(Debug)]
pub(crate) struct Turn<'a> {
    turns: &'a Turns,
    key: Key,
    lock: Option<Arc<Lock>>,
    held: Option<OwnedMutexGuard<()>>,
}

impl Turns {
    /// Waits for one's turn, in the order of asking. It ends when what is answered is dropped.
    pub async fn take(&self, company: CompanyId, stream: StreamId) -> Turn<'_> {
        let key = (company, stream);
        let lock = {
            let mut locks = self.0.lock();
            locks.get(&key).and_then(Weak::upgrade).unwrap_or_else(|| {
                let lock = Arc::default();
                locks.insert(key, Arc::downgrade(&lock));
                lock
            })
        };
        // Made before the wait, so that whoever gives up on the way leaves nothing behind.
        let mut turn = Turn { turns: self, key, lock: Some(Arc::clone(&lock)), held: None };
        turn.held = Some(lock.lock_owned().await);
        turn
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.held = None;
        self.lock = None;
        let mut locks = self.turns.0.lock();
        if locks.get(&self.key).is_some_and(|lock| lock.strong_count() == 0) {
            locks.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::poll;
    use std::pin::pin;
    use token_ledger_domain::event::AggregateType;
    use uuid::Uuid;

    const COMPANY: CompanyId = CompanyId(Uuid::from_u128(1));

    fn stream(id: u128) -> StreamId {
        StreamId { kind: AggregateType::Token, id: Uuid::from_u128(id) }
    }

    #[tokio::test]
    async fn turns_at_a_stream_follow_one_another_and_leave_nothing_behind() {
        let turns = Turns::default();
        let first = turns.take(COMPANY, stream(1)).await;
        let mut second = pin!(turns.take(COMPANY, stream(1)));
        assert!(poll!(&mut second).is_pending());
        {
            let mut gives_up = pin!(turns.take(COMPANY, stream(1)));
            assert!(poll!(&mut gives_up).is_pending());
        }
        drop(turns.take(COMPANY, stream(2)).await);
        drop(turns.take(CompanyId(Uuid::from_u128(2)), stream(1)).await);
        drop(first);
        drop(second.await);
        assert!(turns.0.lock().is_empty());
    }
}
