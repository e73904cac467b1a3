//! How far the machine's clock is from the database's.

use super::errors::failed;
use crate::clock::CorrectedClock;
use crate::error::StoreError;
use sqlx::postgres::PgArguments;
use sqlx::query::QueryScalar;
use sqlx::{PgConnection, Postgres};
use std::collections::VecDeque;

/// Measurements of the clocks' difference of which the one that took least time counts.
const MEASUREMENTS: usize = 8;
/// How far two clocks may drift apart while these are made, in microseconds.
const DRIFT: i64 = 2_000;

/// Asks for the database's time.
pub(super) const ASK_TIME: &str =
    "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint";

/// How far the database's clock is ahead of the steady one, in microseconds.
#[derive(Clone, Copy)]
struct Measurement {
    offset: i64,
    /// How long it took: the offset is right within half of it.
    took: i64,
}

/// Measures with a query that answers the database's time.
async fn measure(
    connection: &mut PgConnection,
    clock: &CorrectedClock,
    time: QueryScalar<'_, Postgres, i64, PgArguments>,
) -> Result<Measurement, StoreError> {
    let before = clock.steady_micros();
    let database = time.fetch_one(connection).await.map_err(failed)?;
    let took = clock.steady_micros() - before;
    Ok(Measurement { offset: database - (before + took / 2), took })
}

/// Sets the clock right before anything is done by it.
///
/// # Errors
/// When the connection fails.
pub(super) async fn set_clock(
    connection: &mut PgConnection,
    clock: &CorrectedClock,
) -> Result<(), StoreError> {
    let mut measured = Measurements::default();
    for _ in 0..3 {
        measured.set(connection, clock, sqlx::query_scalar(ASK_TIME)).await?;
    }
    Ok(())
}

/// The last few measurements.
#[derive(Default)]
pub(super) struct Measurements(VecDeque<Measurement>);

impl Measurement {
    /// Whether both can be right. Where not, the database's clock was set in between.
    const fn agrees_with(&self, other: &Self) -> bool {
        let apart = self.offset.abs_diff(other.offset);
        apart <= (self.took / 2 + other.took / 2 + DRIFT).unsigned_abs()
    }
}

impl Measurements {
    /// Measures once more, with a query that answers the database's time in microseconds, and sets
    /// the clock by the best that is known.
    ///
    /// # Errors
    /// When the connection fails.
    pub async fn set(
        &mut self,
        connection: &mut PgConnection,
        clock: &CorrectedClock,
        time: QueryScalar<'_, Postgres, i64, PgArguments>,
    ) -> Result<(), StoreError> {
        let measurement = measure(connection, clock, time).await?;
        clock.set(self.add(measurement));
        Ok(())
    }

    /// The offset by the measurement that took least time, of those since the clock was set.
    fn add(&mut self, measurement: Measurement) -> i64 {
        self.0.retain(|earlier| earlier.agrees_with(&measurement));
        self.0.push_back(measurement);
        if self.0.len() > MEASUREMENTS {
            self.0.pop_front();
        }
        self.0.iter().min_by_key(|one| one.took).map_or(0, |best| best.offset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_quickest_measurement_counts_until_the_clock_is_set() {
        let mut measured = Measurements::default();
        assert_eq!(measured.add(Measurement { offset: 100, took: 400 }), 100);
        assert_eq!(measured.add(Measurement { offset: 5_000, took: 20_000 }), 100);
        assert_eq!(measured.add(Measurement { offset: 3_000_100, took: 9_000 }), 3_000_100);
        assert_eq!(measured.add(Measurement { offset: 3_000_300, took: 500 }), 3_000_300);
    }
}
