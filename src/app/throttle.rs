//! Slowing down whoever tries credentials out.
//!
//! Only failures count and only failures are refused: a credential is always checked first, and a
//! good one passes whatever others did. What failed too often is told to wait instead of why it
//! failed. Nothing is ever locked: what was counted drains away with time.
//!
//! The counts live in a table of fixed size, so that no flood takes memory. Where it is full, the
//! count that has drained furthest gives way.

use parking_lot::Mutex;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;
use token_ledger_domain::Timestamp;

/// Sets of the table. Each holds [`WAYS`] counts of 16 bytes.
const SETS: usize = 1 << 14;
/// Counts that compete for a place.
const WAYS: usize = 8;
/// How many locks the table is divided among.
const SHARDS: usize = 64;
/// How much more a whole neighbourhood (an IPv4 /24, an IPv6 /48) may fail than a single party.
const NEIGHBOURHOOD: u32 = 8;

/// How often something may fail: at once, and then once per interval.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowance {
    /// Failures at once.
    pub burst: u32,
    /// How long it takes until one more is allowed.
    pub every: Duration,
}

impl Allowance {
    /// So many at once, and then one per interval.
    pub const fn new(burst: u32, every: Duration) -> Self {
        Self { burst, every }
    }

    fn times(self, factor: u32) -> Self {
        Self { burst: self.burst * factor, every: self.every / factor }
    }

    fn every_micros(self) -> i64 {
        i64::try_from(self.every.as_micros()).unwrap_or(i64::MAX)
    }

    fn tolerance_micros(self) -> i64 {
        self.every_micros().saturating_mul(i64::from(self.burst.saturating_sub(1)))
    }

    /// When a count will have drained: no further in the future than it can be, should the clock
    /// have gone back.
    fn sane(self, drained_at: i64, now: i64) -> i64 {
        let longest = self.tolerance_micros().saturating_add(self.every_micros());
        drained_at.clamp(now, now.saturating_add(longest))
    }
}

/// Of one network, unless set otherwise: bad API keys at once, and as many bad secrets of OAuth
/// clients. They are too long to be guessed; what is slowed is the noise.
pub const BAD_CREDENTIALS_PER_NETWORK: u32 = 120;
/// How long it takes until a network that failed so often may do so again.
const CREDENTIALS_DRAIN_IN: Duration = Duration::from_secs(60);
/// For one OAuth client, from wherever.
const CLIENT: Allowance = Allowance::new(60, Duration::from_secs(1));
/// Of one network: bad passwords.
const SIGN_INS_PER_NETWORK: Allowance = Allowance::new(30, Duration::from_secs(6));
/// For one account, from wherever.
const ACCOUNT: Allowance = Allowance::new(10, Duration::from_secs(30));

/// Something that failed for a bad credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failed<'a> {
    /// An API key.
    Key,
    /// The authentication of the OAuth client of this identifier, whether it exists or not.
    Client(&'a str),
    /// A sign-in to the account of this normalised address, whether it exists or not.
    SignIn(&'a str),
}

/// It failed too often.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many failed attempts; wait {} s", retry_after.as_secs())]
pub struct Throttled {
    /// How long to wait before the next attempt, in whole seconds, at least one.
    pub retry_after: Duration,
}

/// A place in the table: whose count it is, and when it will have drained (0: unused).
#[derive(Clone, Copy, Debug, Default)]
struct Count {
    whose: u64,
    drained_at: i64,
}

type Shard = Mutex<Box<[[Count; WAYS]]>>;

/// Counts failures.
pub struct Throttle {
    shards: Box<[Shard]>,
    /// Unknown outside, so that nobody can choose what competes for a place.
    seed: [u8; 32],
    /// Of one network: bad API keys, and bad secrets of OAuth clients.
    credentials: Allowance,
}

impl std::fmt::Debug for Throttle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Throttle").finish_non_exhaustive()
    }
}

impl Throttle {
    /// Nothing has failed yet. The seed is random. A network may fail with so many API keys, and
    /// with so many clients' secrets, at once.
    pub fn new(seed: [u8; 32], credentials: u32) -> Self {
        let shard = || Mutex::new(vec![[Count::default(); WAYS]; SETS / SHARDS].into());
        let credentials = credentials.max(1);
        let credentials = Allowance::new(credentials, CREDENTIALS_DRAIN_IN / credentials);
        Self { shards: (0..SHARDS).map(|_| shard()).collect(), seed, credentials }
    }

    /// Counts a failure. To be called after the credential was found bad, at the one place that
    /// every such failure passes.
    ///
    /// # Errors
    /// [`Throttled`] when there were too many; the caller is told so instead of what was wrong.
    /// Such an attempt is not counted itself, so that waiting helps.
    pub fn failed(
        &self,
        what: Failed<'_>,
        from: Option<IpAddr>,
        now: Timestamp,
    ) -> Result<(), Throttled> {
        let (kind, subject, per_network) = match what {
            Failed::Key => ("key", None, self.credentials),
            Failed::Client(id) => ("client", Some((id, CLIENT)), self.credentials),
            Failed::SignIn(account) => ("sign_in", Some((account, ACCOUNT)), SIGN_INS_PER_NETWORK),
        };
        // An address that isn't known is one like any other.
        let networks = from.map_or(vec![(None, 1)], |ip| {
            let (near, far) = networks(ip);
            vec![(Some(near), 1), (Some(far), NEIGHBOURHOOD)]
        });
        let networks = networks.into_iter().map(|(network, factor)| {
            (self.hash(&(kind, "network", network, factor)), per_network.times(factor))
        });
        let subject = subject.map(|(of, allowance)| (self.hash(&(kind, "subject", of)), allowance));
        let counted: Vec<(u64, Allowance)> = networks.chain(subject).collect();
        let waits = counted.iter().map(|(whose, allowance)| self.wait(*whose, *allowance, now));
        let wait = waits.max().unwrap_or(0);
        if wait == 0 {
            for (whose, allowance) in counted {
                self.count(whose, allowance, now);
            }
        }
        let outcome = if wait > 0 { "throttled" } else { "counted" };
        metrics::counter!("token_ledger_failed_attempts_total", "kind" => kind, "outcome" => outcome)
            .increment(1);
        if wait == 0 {
            return Ok(());
        }
        let seconds = u64::try_from(wait).unwrap_or(0).div_ceil(1_000_000).max(1);
        Err(Throttled { retry_after: Duration::from_secs(seconds) })
    }

    /// Whether one more of these is within the allowance. Counts it if so.
    pub fn admits(&self, whose: &impl Hash, allowance: Allowance, now: Timestamp) -> bool {
        let whose = self.hash(&("other", whose));
        let admitted = self.wait(whose, allowance, now) == 0;
        if admitted {
            self.count(whose, allowance, now);
        }
        admitted
    }

    fn hash(&self, whose: &impl Hash) -> u64 {
        let mut hasher = DefaultHasher::new();
        (self.seed, whose).hash(&mut hasher);
        hasher.finish()
    }

    /// How long to wait until one more is allowed, in microseconds.
    fn wait(&self, whose: u64, allowance: Allowance, now: Timestamp) -> i64 {
        let now = now.as_micros();
        let [shard, set] = place(whose);
        let shard = self.shards[shard].lock();
        let known = shard[set].iter().find(|count| count.whose == whose);
        let drained_at = known.map_or(now, |count| allowance.sane(count.drained_at, now));
        drained_at.saturating_sub(allowance.tolerance_micros()).saturating_sub(now).max(0)
    }

    /// Counts one. The count is kept as the time at which it will have drained (a leaky bucket as
    /// a meter, also known as the generic cell rate algorithm).
    fn count(&self, whose: u64, allowance: Allowance, now: Timestamp) {
        let now = now.as_micros();
        let [shard, set] = place(whose);
        let mut shard = self.shards[shard].lock();
        let counts = &mut shard[set];
        let known = counts.iter().position(|count| count.whose == whose);
        let drained_at = known.map_or(now, |at| allowance.sane(counts[at].drained_at, now));
        let drained = counts.iter().enumerate().min_by_key(|(_, count)| count.drained_at);
        if let Some(at) = known.or(drained.map(|(at, _)| at)) {
            let drained_at = drained_at.saturating_add(allowance.every_micros());
            counts[at] = Count { whose, drained_at };
        }
    }
}

/// The shard and the set in it.
fn place(whose: u64) -> [usize; 2] {
    let at = usize::try_from(whose % SETS as u64).unwrap_or(0);
    [at % SHARDS, at / SHARDS]
}

/// What one party has at its disposal: an IPv4 address, a /64 network of IPv6.
pub fn party(ip: IpAddr) -> IpAddr {
    networks(ip).0
}

/// The network that one party has at its disposal, and the one around it.
fn networks(ip: IpAddr) -> (IpAddr, IpAddr) {
    match ip.to_canonical() {
        IpAddr::V4(ip) => {
            let around = Ipv4Addr::from_bits(ip.to_bits() & (u32::MAX << 8));
            (IpAddr::V4(ip), IpAddr::V4(around))
        }
        IpAddr::V6(ip) => {
            let cut =
                |length: u32| Ipv6Addr::from_bits(ip.to_bits() & (u128::MAX << (128 - length)));
            (IpAddr::V6(cut(64)), IpAddr::V6(cut(48)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Timestamp = Timestamp::from_micros(1_800_000_000_000_000);

    fn throttle() -> Throttle {
        Throttle::new([7; 32], BAD_CREDENTIALS_PER_NETWORK)
    }

    fn ip(text: &str) -> Option<IpAddr> {
        text.parse().ok()
    }

    /// How many failures pass before the first that doesn't.
    fn passed(
        throttle: &Throttle,
        mut fail: impl FnMut(&Throttle, u32) -> Result<(), Throttled>,
    ) -> u32 {
        let limit = 10_000;
        (0..limit).find(|n| fail(throttle, *n).is_err()).unwrap_or(limit)
    }

    #[test]
    fn an_account_is_counted_from_wherever_it_is_tried() {
        let throttle = throttle();
        let from = |n: u32| Some(IpAddr::V4(Ipv4Addr::from_bits(n << 12)));
        let tried = passed(&throttle, |throttle, n| {
            throttle.failed(Failed::SignIn("ada@example.com"), from(n), START)
        });
        assert_eq!(tried, ACCOUNT.burst);
        let other = throttle.failed(Failed::SignIn("bob@example.com"), from(99), START);
        assert_eq!(other, Ok(()));
    }

    #[test]
    fn a_network_is_counted_whatever_it_tries() {
        let throttle = throttle();
        let tried = passed(&throttle, |throttle, n| {
            throttle.failed(Failed::SignIn(&n.to_string()), ip("2001:db8::1"), START)
        });
        assert_eq!(tried, SIGN_INS_PER_NETWORK.burst);
        let neighbour = throttle.failed(Failed::SignIn("x"), ip("2001:db8::ffff:2"), START);
        assert!(neighbour.is_err(), "the same /64");
        let other = throttle.failed(Failed::SignIn("y"), ip("2001:db8:0:1::1"), START);
        assert_eq!(other, Ok(()), "another /64");
        let keys = throttle.failed(Failed::Key, ip("2001:db8::1"), START);
        assert_eq!(keys, Ok(()), "another kind");
    }

    #[test]
    fn an_operator_says_how_many_credentials_a_network_may_fail_with() {
        for often in [1, 1000] {
            let throttle = Throttle::new([7; 32], often);
            let keys =
                |throttle: &Throttle, now| throttle.failed(Failed::Key, ip("192.0.2.1"), now);
            assert_eq!(passed(&throttle, |throttle, _| keys(throttle, START)), often);
            let minute = START.plus_seconds(60);
            assert_eq!(passed(&throttle, |throttle, _| keys(throttle, minute)), often);
            let clients = passed(&throttle, |throttle, n| {
                throttle.failed(Failed::Client(&n.to_string()), ip("192.0.2.1"), START)
            });
            assert_eq!(clients, often);
        }
    }

    #[test]
    fn a_neighbourhood_is_counted_too() {
        let throttle = throttle();
        let tried = passed(&throttle, |throttle, n| {
            let from = Ipv4Addr::new(192, 0, 2, u8::try_from(n % 256).unwrap());
            throttle.failed(Failed::Key, Some(from.into()), START)
        });
        assert_eq!(tried, BAD_CREDENTIALS_PER_NETWORK * NEIGHBOURHOOD);
        assert_eq!(throttle.failed(Failed::Key, ip("192.0.3.1"), START), Ok(()));
    }

    #[test]
    fn waiting_as_long_as_told_helps_and_trying_meanwhile_does_not_hurt() {
        let throttle = throttle();
        let fail = |now| throttle.failed(Failed::SignIn("ada"), ip("192.0.2.1"), now);
        while fail(START).is_ok() {}
        let Err(Throttled { retry_after }) = fail(START) else { panic!("throttled") };
        assert_eq!(retry_after, ACCOUNT.every);
        for _ in 0..1000 {
            assert!(fail(START.plus_seconds(1)).is_err());
        }
        let later = START.plus_seconds(i64::try_from(retry_after.as_secs()).unwrap());
        assert_eq!(fail(later), Ok(()));
        assert!(fail(later).is_err(), "one more, not all");
        assert_eq!(passed(&throttle, |_, _| fail(START.plus_seconds(86_400))), ACCOUNT.burst);
    }

    #[test]
    fn a_clock_that_goes_back_locks_nobody_out() {
        let throttle = throttle();
        let fail = |now| throttle.failed(Failed::Client("c"), ip("192.0.2.1"), now);
        while fail(START).is_ok() {}
        let Err(Throttled { retry_after }) = fail(START.plus_seconds(-86_400)) else { return };
        assert!(retry_after <= CLIENT.every * 2, "{retry_after:?}");
    }

    #[test]
    fn a_flood_of_others_takes_no_memory_and_forgets_no_offender() {
        let throttle = throttle();
        let offender = || throttle.failed(Failed::SignIn("ada"), ip("192.0.2.1"), START);
        while offender().is_ok() {}
        for n in 0..200_000_u32 {
            let from = Some(IpAddr::V4(Ipv4Addr::from_bits(n << 8)));
            let _ = throttle.failed(Failed::Key, from, START);
        }
        assert!(offender().is_err());
    }
}
