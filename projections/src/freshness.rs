//! How recent knowledge is, and whether that is recent enough.
//!
//! One process on one database always knows everything. With more than one, a process follows the
//! others: it knows everything that was committed before some moment. Once that moment is longer ago
//! than the bound, it no longer says that anything is active before it has caught up.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use token_ledger_event_store::Moment;
use tokio::sync::{Notify, watch};

/// How old knowledge may be where nothing else is set.
pub const DEFAULT_BOUND: Duration = Duration::from_secs(1);
/// How long a request waits for knowledge that is recent enough.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long what was just committed is waited for as it is told.
const HURRY_PATIENCE: Duration = Duration::from_millis(250);
/// The moment that never gets old.
const ALWAYS: u64 = u64::MAX;
/// Nothing is known yet.
const NOTHING: u64 = 1;
/// What is known is wrong, whatever is learned.
const VOID: u64 = 0;

/// How recent knowledge is.
#[derive(Debug)]
pub struct Freshness {
    /// Nanoseconds after `origin` up to which knowledge may be used; [`ALWAYS`] without a limit.
    good_until: AtomicU64,
    bound: AtomicU64,
    origin: Moment,
    moved: watch::Sender<u64>,
    wanted: Notify,
    hurried: Notify,
}

impl Default for Freshness {
    /// Always recent enough.
    fn default() -> Self {
        Self {
            good_until: AtomicU64::new(ALWAYS),
            bound: AtomicU64::new(0),
            origin: Moment::now(),
            moved: watch::channel(0).0,
            wanted: Notify::new(),
            hurried: Notify::new(),
        }
    }
}

impl Freshness {
    /// From now on knowledge gets too old after the bound; there is none yet.
    pub fn limit(&self, bound: Duration) {
        self.bound.store(nanos(bound), Ordering::SeqCst);
        self.good_until.store(NOTHING, Ordering::SeqCst);
    }

    /// How old knowledge may be; none without a limit.
    pub fn bound(&self) -> Option<Duration> {
        let is_limited = self.good_until.load(Ordering::Acquire) != ALWAYS;
        is_limited.then(|| Duration::from_nanos(self.bound.load(Ordering::SeqCst)))
    }

    /// Everything that was committed before this moment is known.
    pub fn known_until(&self, moment: Moment) {
        let age = nanos(moment.since(self.origin));
        let until = age.saturating_add(self.bound.load(Ordering::SeqCst)).min(ALWAYS - 1);
        // Where there is no limit, or nothing is right, there is nothing to move.
        let moved = self.good_until.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |before| {
            (![ALWAYS, VOID].contains(&before) && before < until).then_some(until)
        });
        if moved.is_ok() {
            self.moved.send_modify(|count| *count = count.wrapping_add(1));
        }
    }

    /// What is known was found to be wrong, and what is learned from now on doesn't put it right.
    pub fn void(&self) {
        self.good_until.store(VOID, Ordering::SeqCst);
    }

    /// Whether knowledge is recent enough.
    pub fn is_fresh(&self) -> bool {
        let until = self.good_until.load(Ordering::Acquire);
        until == ALWAYS || nanos(self.origin.elapsed()) <= until
    }

    /// Waits until knowledge is recent enough, all who wait for the same catching up. `false` when
    /// that takes longer than a second.
    pub async fn reached(&self) -> bool {
        self.wait(|| self.is_fresh(), &self.wanted).await
    }

    /// Waits until everything is known that was committed by now, all who wait for the same hurrying.
    /// `false` when that takes too long.
    pub async fn caught_up(&self) -> bool {
        let now = nanos(self.origin.elapsed());
        let needed = now.saturating_add(self.bound.load(Ordering::SeqCst)).min(ALWAYS - 1);
        let is_so = || self.good_until.load(Ordering::Acquire) >= needed;
        let hurried = tokio::time::timeout(HURRY_PATIENCE, self.wait(is_so, &self.hurried)).await;
        // Where nothing is told, the ledgers are to be looked at.
        hurried == Ok(true) || self.wait(is_so, &self.wanted).await
    }

    /// Waits, for a second at most, until it is so, waking whoever sees to it.
    async fn wait(&self, is_so: impl Fn() -> bool, awaited: &Notify) -> bool {
        if is_so() {
            return true;
        }
        let mut moved = self.moved.subscribe();
        let arrival = async {
            while !is_so() {
                awaited.notify_one();
                if moved.changed().await.is_err() {
                    return;
                }
            }
        };
        // Whichever comes first: what counts is what is known then.
        let _ = tokio::time::timeout(PATIENCE, arrival).await;
        is_so()
    }

    /// Returns when somebody waits for knowledge that is recent enough.
    pub async fn wanted(&self) {
        self.wanted.notified().await;
    }

    /// Returns when somebody waits for what has just been committed.
    pub async fn hurried(&self) {
        self.hurried.notified().await;
    }

    /// How long ago the moment is up to which everything is known; none without a limit.
    pub fn age(&self) -> Option<Duration> {
        let until = self.good_until.load(Ordering::Acquire);
        let known = until.saturating_sub(self.bound.load(Ordering::SeqCst));
        let age = nanos(self.origin.elapsed()).saturating_sub(known);
        (until != ALWAYS).then(|| Duration::from_nanos(age))
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(ALWAYS - 1)
}
