//! Instants, as the ledger keeps them: microseconds, UTC.

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::fmt;
use std::str::FromStr;

/// An instant in microseconds since 1970-01-01T00:00:00Z; written as RFC 3339 with a `Z`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

/// The text is no RFC 3339 time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an RFC 3339 time such as 2026-03-01T09:30:00Z")]
pub struct InvalidTimestamp;

impl Timestamp {
    /// The last instant of the year 9999, the latest that RFC 3339 can write.
    const LATEST: i64 = 253_402_300_799_999_999;
    /// The first instant of the year 0000, the earliest that RFC 3339 can write.
    const EARLIEST: i64 = -62_167_219_200_000_000;

    /// The instant that many microseconds after 1970, kept within the years that RFC 3339 can write.
    pub const fn from_micros(micros: i64) -> Self {
        if micros > Self::LATEST {
            Self(Self::LATEST)
        } else if micros < Self::EARLIEST {
            Self(Self::EARLIEST)
        } else {
            Self(micros)
        }
    }

    /// The first instant of the ledger's that is not before this RFC 3339 time, which may be finer
    /// than microseconds: what is before the one is before the other.
    ///
    /// # Errors
    /// When the text is no RFC 3339 time.
    pub fn not_before(text: &str) -> Result<Self, InvalidTimestamp> {
        let time = DateTime::parse_from_rfc3339(text).map_err(|_| InvalidTimestamp)?;
        let rest = i64::from(time.timestamp_subsec_nanos() % 1000 != 0);
        Ok(Self::from_micros(time.timestamp_micros().saturating_add(rest)))
    }

    /// Microseconds since 1970.
    pub const fn as_micros(self) -> i64 {
        self.0
    }

    /// Whole seconds since 1970, rounded down, as OAuth's `iat` and `exp` want them.
    pub const fn as_seconds(self) -> i64 {
        self.0.div_euclid(1_000_000)
    }

    /// This instant, that many seconds later.
    #[must_use]
    pub const fn plus_seconds(self, seconds: i64) -> Self {
        Self::from_micros(self.0.saturating_add(seconds.saturating_mul(1_000_000)))
    }
}

impl From<DateTime<Utc>> for Timestamp {
    fn from(time: DateTime<Utc>) -> Self {
        Self::from_micros(time.timestamp_micros())
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = DateTime::<Utc>::from_timestamp_micros(self.0).ok_or(fmt::Error)?;
        f.write_str(&time.to_rfc3339_opts(SecondsFormat::Micros, true))
    }
}

impl FromStr for Timestamp {
    type Err = InvalidTimestamp;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        DateTime::parse_from_rfc3339(text)
            .map(|time| time.with_timezone(&Utc).into())
            .map_err(|_| InvalidTimestamp)
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Timestamp;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an RFC 3339 time")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Timestamp, E> {
                text.parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_str(Visitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_keeps_every_microsecond() {
        let time: Timestamp = "2026-03-01T09:30:00.000001Z".parse().unwrap();
        assert_eq!(time.to_string(), "2026-03-01T09:30:00.000001Z");
        assert_eq!(Timestamp::from_micros(time.as_micros()), time);
    }

    #[test]
    fn offsets_are_turned_into_utc() {
        let time: Timestamp = "2026-03-01T09:30:00+02:00".parse().unwrap();
        assert_eq!(time.to_string(), "2026-03-01T07:30:00.000000Z");
    }

    #[test]
    fn a_bound_finer_than_a_microsecond_is_the_next_one() {
        let bound = |text: &str| Timestamp::not_before(text).map(|time| time.to_string());
        for (text, expected) in [
            ("2026-03-01T09:30:00.000001Z", "2026-03-01T09:30:00.000001Z"),
            ("2026-03-01T09:30:00.000001001Z", "2026-03-01T09:30:00.000002Z"),
            ("2026-03-01T09:30:00.9999999+01:00", "2026-03-01T08:30:01.000000Z"),
            ("1969-12-31T23:59:59.999999999Z", "1970-01-01T00:00:00.000000Z"),
        ] {
            assert_eq!(bound(text).as_deref(), Ok(expected));
        }
        assert_eq!(bound("yesterday"), Err(InvalidTimestamp));
    }

    #[test]
    fn the_far_past_and_future_stay_writable() {
        for micros in [i64::MIN, i64::MAX] {
            let time = Timestamp::from_micros(micros).plus_seconds(i64::MAX);
            assert_eq!(time.to_string().parse(), Ok(time));
        }
    }
}
