//! The one place that reads the machine's clock and draws its randomness.

use crate::commit::MAX_CLOCK_LAG_SECONDS;
use parking_lot::Mutex;
use std::fmt::Debug;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;
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

/// A moment, by a clock that nobody sets. It goes on while the machine is suspended, where that can
/// be told: what was known before is as old afterwards as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(Duration);

impl Moment {
    /// Now.
    #[cfg(target_os = "linux")]
    pub fn now() -> Self {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        // The time since the machine was started.
        let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
        Self(Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or_default()))
    }

    /// Now.
    #[cfg(not(target_os = "linux"))]
    pub fn now() -> Self {
        static FIRST: std::sync::OnceLock<std::time::Instant> = std::sync::OnceLock::new();
        Self(FIRST.get_or_init(std::time::Instant::now).elapsed())
    }

    /// How long after an earlier one it is; nothing after a later one.
    pub const fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }

    /// How long ago it is.
    pub fn elapsed(self) -> Duration {
        Self::now().since(self)
    }
}

/// Another clock, a database's, as this process shows it: it goes on by the machine's steady clock
/// from the moment at which it was last compared. That somebody sets the machine's clock makes no
/// difference.
#[derive(Debug)]
pub struct CorrectedClock {
    origin: Moment,
    /// What the other clock showed at the origin.
    at_origin: AtomicI64,
}

impl Default for CorrectedClock {
    /// The machine's clock, until it is compared with another one.
    fn default() -> Self {
        let at_origin = AtomicI64::new(SystemClock.now().as_micros());
        Self { origin: Moment::now(), at_origin }
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

/// A clock that doesn't go back, so that what is over stays over: it stands still until the one that
/// it follows has come as far again. One that has gone back by more than [`MAX_CLOCK_LAG_SECONDS`]
/// is followed, and nobody can know by it what is over.
#[derive(Debug)]
pub struct ForwardClock {
    clock: Arc<dyn Clock>,
    /// The latest time that it has shown, to [`PRECISION`].
    latest: AtomicI64,
}

/// How often the latest time is noted, in microseconds: many threads ask for the time.
const PRECISION: i64 = 10_000;

impl ForwardClock {
    /// Follows this clock.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        let latest = AtomicI64::new(clock.now().as_micros());
        Self { clock, latest }
    }

    /// Something happened at that time, which is not to come, unless the clock is too far behind.
    pub fn has_been(&self, time: Timestamp) {
        if time <= self.clock.now().plus_seconds(MAX_CLOCK_LAG_SECONDS) {
            self.latest.fetch_max(time.as_micros(), Ordering::Relaxed);
        }
    }

    /// By how many seconds it has gone back, if that is too far.
    pub fn lost_seconds(&self) -> Option<i64> {
        let latest = Timestamp::from_micros(self.latest.load(Ordering::Relaxed));
        let lost = latest.as_seconds() - self.clock.now().as_seconds();
        (lost > MAX_CLOCK_LAG_SECONDS).then_some(lost)
    }
}

impl Clock for ForwardClock {
    fn now(&self) -> Timestamp {
        let shown = self.clock.now();
        let latest = Timestamp::from_micros(self.latest.load(Ordering::Relaxed));
        if shown.as_micros() - latest.as_micros() > PRECISION {
            self.latest.fetch_max(shown.as_micros(), Ordering::Relaxed);
        }
        let is_lost = latest.as_seconds() - shown.as_seconds() > MAX_CLOCK_LAG_SECONDS;
        if is_lost { shown } else { shown.max(latest) }
    }

    fn is_real(&self) -> bool {
        self.clock.is_real()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_over_stays_over_when_a_clock_goes_back() {
        let at = |seconds| Timestamp::from_micros(1_772_355_600_000_000).plus_seconds(seconds);
        let machine = Arc::new(SetClock::at(at(0)));
        let clock = ForwardClock::new(Arc::clone(&machine) as Arc<dyn Clock>);
        machine.set(at(1000));
        assert_eq!(clock.now(), at(1000));
        for back in [1, 61, MAX_CLOCK_LAG_SECONDS] {
            machine.set(at(1000 - back));
            assert_eq!((clock.now(), clock.lost_seconds()), (at(1000), None), "{back} s");
        }
        let back = MAX_CLOCK_LAG_SECONDS + 1;
        machine.set(at(1000 - back));
        assert_eq!((clock.now(), clock.lost_seconds()), (at(1000 - back), Some(back)));
        machine.set(at(1001));
        assert_eq!((clock.now(), clock.lost_seconds()), (at(1001), None));
        clock.has_been(at(1060));
        assert_eq!(clock.now(), at(1060));
        clock.has_been(at(5000));
        assert_eq!(clock.now(), at(1060), "that was another clock's mistake");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_moment_counts_the_time_that_the_machine_was_suspended() {
        let uptime = std::fs::read_to_string("/proc/uptime").unwrap();
        let uptime: f64 = uptime.split(' ').next().unwrap().parse().unwrap();
        let apart = Moment::now().0.as_secs_f64() - uptime;
        assert!((0.0..5.0).contains(&apart), "{apart}");
        let moment = Moment::now();
        let elapsed = moment.elapsed();
        assert!(elapsed < Duration::from_secs(5));
        assert_eq!(moment.since(Moment::now()), Duration::ZERO);
    }
}
