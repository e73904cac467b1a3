//! Identifiers of requests at verification, and what the log says of those that could not be decided.

use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use uuid::Uuid;

/// How often the log names requests that could not be decided, at most.
const TELL_UNKNOWN_EVERY: Duration = Duration::from_secs(1);
/// Requests that one line of the log names.
const NAMED_AT_ONCE: usize = 100;

/// Requests that could not be decided, which the log is to name: as there may be thousands a second,
/// the first one at once, and those that follow it together.
#[derive(Debug, Default)]
pub(super) struct Undecided {
    /// Those that follow, while somebody is about to tell of them.
    following: Mutex<Option<Vec<Uuid>>>,
}

impl Undecided {
    pub(super) fn tell(self: &Arc<Self>, id: Uuid) {
        let mut following = self.following.lock();
        if let Some(ids) = following.as_mut() {
            ids.push(id);
            return;
        }
        *following = Some(Vec::new());
        drop(following);
        tracing::warn!(request_id = %id, "whether tokens are good can't be known right now");
        let undecided = Arc::clone(self);
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(TELL_UNKNOWN_EVERY).await;
                if !undecided.tell_following() {
                    return;
                }
            }
        });
    }

    /// Tells of those that have followed; `false`, and nobody is about to any more, where none has.
    pub(super) fn tell_following(&self) -> bool {
        let mut following = self.following.lock();
        let told = following.take().filter(|ids| !ids.is_empty());
        *following = told.as_ref().map(|_| Vec::new());
        drop(following);
        let Some(ids) = told else { return false };
        for ids in ids.chunks(NAMED_AT_ONCE) {
            let ids: Vec<String> = ids.iter().map(Uuid::to_string).collect();
            let request_ids = ids.join(" ");
            tracing::warn!(request_ids, "whether tokens are good can't be known right now");
        }
        true
    }
}

/// Identifiers of requests that cost one addition: the process's own beginning and a count.
#[derive(Debug)]
pub(super) struct RequestIds {
    first: u64,
    count: AtomicU64,
}

impl RequestIds {
    /// Time and randomness of `seed` tell this process's identifiers from all others'.
    pub(super) fn new(seed: Uuid) -> Self {
        let (first, second) = seed.as_u64_pair();
        // The variant's bits stay, and the count has room to grow beneath them.
        Self { first, count: AtomicU64::new(second & !(1 << 61)) }
    }

    pub(super) fn next(&self) -> Uuid {
        Uuid::from_u64_pair(self.first, self.count.fetch_add(1, Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn request_ids_are_distinct_uuids_of_version_seven() {
        let ids = RequestIds::new("01980000-0000-7abc-bfff-ffffffffffff".parse().unwrap());
        let (one, two) = (ids.next(), ids.next());
        assert_ne!(one, two);
        for id in [one, two] {
            assert_eq!(id.get_version_num(), 7);
            assert_eq!(id.get_variant(), uuid::Variant::RFC4122);
        }
    }
}
