//! The days that the chart of the audit trail shows.

use crate::app::audit::AuditFilter;
use crate::console::render::time::{day, midnight};
use token_ledger_domain::Timestamp;

/// How many.
pub const DAYS: i64 = 30;
/// How long each is.
pub const DAY_SECONDS: i64 = 86_400;

/// The last day of a month that holds what the filters show: today, if that is recent enough, or
/// else with as many days after it as before.
pub fn last_day(filter: &AuditFilter, now: Timestamp) -> Timestamp {
    let today = midnight(now);
    let just_before = |end: Timestamp| midnight(Timestamp::from_micros(end.as_micros() - 1));
    let end = filter.to.map_or(today, just_before).min(today);
    let begin = filter.from.map_or(end, midnight).min(end);
    if begin > today.plus_seconds(-DAYS * DAY_SECONDS) {
        return today;
    }
    let shown = (end.as_seconds() - begin.as_seconds()) / DAY_SECONDS + 1;
    end.plus_seconds((DAYS - shown).max(0) / 2 * DAY_SECONDS).min(today)
}

/// Which days of the chart a span is, if it is whole ones: they are those of UTC.
pub fn bars(from: Timestamp, to: Timestamp) -> Option<String> {
    if from >= to || midnight(from) != from || midnight(to) != to {
        return None;
    }
    let last = to.plus_seconds(-DAY_SECONDS);
    let until = if last == from { String::new() } else { format!(" to {}", day(last)) };
    Some(format!("This is {}{until} in UTC, as in the chart.", day(from)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::console::render::time::date;

    #[test]
    fn the_chart_keeps_the_days_around_what_is_shown() {
        let at = |text: &str| Some(text.parse::<Timestamp>().unwrap());
        let now = "2026-03-31T14:05:00Z".parse().unwrap();
        let cases = [
            (None, None, "2026-03-31"),
            // Within the last month, a day among the others.
            (at("2026-03-02T00:00:00Z"), at("2026-03-03T00:00:00Z"), "2026-03-31"),
            // Longer ago, in the middle.
            (at("2026-01-10T00:00:00Z"), at("2026-01-11T00:00:00Z"), "2026-01-24"),
            (at("2026-02-25T00:00:00Z"), at("2026-02-26T00:00:00Z"), "2026-03-11"),
            // More than a month, by its end.
            (at("2026-01-01T00:00:00Z"), at("2026-02-16T00:00:00Z"), "2026-02-15"),
            (at("2026-01-01T00:00:00Z"), None, "2026-03-31"),
            (None, at("2026-02-16T00:00:00Z"), "2026-03-01"),
            (at("2027-01-01T00:00:00Z"), None, "2026-03-31"),
        ];
        for (from, to, last) in cases {
            let filter = AuditFilter { from, to, ..AuditFilter::default() };
            assert_eq!(date(last_day(&filter, now)), last, "{from:?} {to:?}");
        }
    }

    #[test]
    fn whole_days_of_utc_are_bars_of_the_chart() {
        let bars = |from: &str, to: &str| bars(from.parse().unwrap(), to.parse().unwrap());
        let (first, second) = ("2026-02-28T00:00:00Z", "2026-03-01T00:00:00Z");
        let told = bars(first, second).unwrap();
        assert_eq!(told, "This is 28 February 2026 in UTC, as in the chart.");
        let told = bars(first, "2026-03-02T00:00:00Z").unwrap();
        assert_eq!(told, "This is 28 February 2026 to 1 March 2026 in UTC, as in the chart.");
        for (from, to) in [(first, first), (second, first), (first, "2026-03-01T00:00:01Z")] {
            assert_eq!(bars(from, to), None, "{from} {to}");
        }
    }
}
