//! The one place that reads the machine's clock and draws its randomness.

use parking_lot::Mutex;
use std::fmt::Debug;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Instant;
use token_ledger_domain::Timestamp;
use uuid::{Builder, Uuid};

/// A source of the present time.
pub trait Clock: Debug + Send + Sync {
    /// Now.
    fn now(&self) -> Timestamp;

    /// Whether it shows the present, so that a database's clock may stand in for it. One that is
    /// set stays what it is.
    fn is_real(&self) -> bool {
        false
    }
}

/// The machine's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[allow(clippy::disallowed_methods)]
    fn now(&self) -> Timestamp {
        chrono::Utc::now().into()
    }

    fn is_real(&self) -> bool {
        true
    }
}

/// Another clock, a database's, as this process shows it: it goes on by the machine's steady clock
/// from the moment at which it was last compared. That somebody sets the machine's clock makes no
/// difference.
#[derive(Debug)]
pub struct CorrectedClock {
    origin: Instant,
    /// What the other clock showed at the origin.
    at_origin: AtomicI64,
}

impl Default for CorrectedClock {
    /// The machine's clock, until it is compared with another one.
    fn default() -> Self {
        let at_origin = AtomicI64::new(SystemClock.now().as_micros());
        Self { origin: Instant::now(), at_origin }
    }
}

impl CorrectedClock {
    /// How far the other clock is ahead of the machine's, in microseconds.
    pub fn offset_micros(&self) -> i64 {
        self.now().as_micros() - SystemClock.now().as_micros()
    }

    /// Steady microseconds, to compare another clock with.
    pub fn steady_micros(&self) -> i64 {
        i64::try_from(self.origin.elapsed().as_micros()).unwrap_or(i64::MAX)
    }

    /// Notes how far the other clock is ahead of [`Self::steady_micros`].
    pub fn set(&self, ahead: i64) {
        self.at_origin.store(ahead, Ordering::Relaxed);
    }
}

impl Clock for CorrectedClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.at_origin.load(Ordering::Relaxed) + self.steady_micros())
    }

    fn is_real(&self) -> bool {
        true
    }
}

/// A clock that stands still until it is set: for made-up histories and for tests.
#[derive(Debug)]
pub struct SetClock(Mutex<Timestamp>);

impl SetClock {
    /// A clock that stands at this time.
    pub const fn at(now: Timestamp) -> Self {
        Self(Mutex::new(now))
    }

    /// Sets it, also backwards.
    pub fn set(&self, now: Timestamp) {
        *self.0.lock() = now;
    }
}

impl Clock for SetClock {
    fn now(&self) -> Timestamp {
        *self.0.lock()
    }
}

/// A source of unpredictable bytes.
pub trait Entropy: Debug + Send + Sync {
    /// Fills the buffer.
    fn fill(&self, buffer: &mut [u8]);

    /// 256 random bits.
    fn bits256(&self) -> [u8; 32] {
        let mut bytes = [0; 32];
        self.fill(&mut bytes);
        bytes
    }

    /// A `UUIDv7` of this time (RFC 9562 §5.7).
    fn uuid(&self, now: Timestamp) -> Uuid {
        let mut bytes = [0; 10];
        self.fill(&mut bytes);
        let millis = u64::try_from(now.as_micros() / 1000).unwrap_or(0);
        Builder::from_unix_timestamp_millis(millis, &bytes).into_uuid()
    }
}

/// The operating system's randomness.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemEntropy;

impl Entropy for SystemEntropy {
    /// # Panics
    /// When the operating system has no randomness to give: nothing safe can be done without.
    #[allow(clippy::disallowed_methods)]
    fn fill(&self, buffer: &mut [u8]) {
        getrandom::fill(buffer).expect("the operating system gives randomness");
    }
}
