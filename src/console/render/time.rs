//! Instants and spans in words. The exact time stands behind every relative one; the script adds
//! the viewer's zone, which the server doesn't know.

use crate::plural::counted;
use chrono::{DateTime, Datelike, Timelike, Utc};
use maud::{Markup, html};
use token_ledger_domain::Timestamp;

const MINUTE: i64 = 60;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;
const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

fn utc(time: Timestamp) -> DateTime<Utc> {
    DateTime::from_timestamp_micros(time.as_micros()).unwrap_or_default()
}

/// `3 March 2026`
pub fn day(time: Timestamp) -> String {
    let time = utc(time);
    let month = usize::try_from(time.month0()).ok().and_then(|month| MONTHS.get(month));
    format!("{} {} {}", time.day(), month.unwrap_or(&""), time.year())
}

/// `3 March 2026, 14:05:09 UTC`
pub fn exact(time: Timestamp) -> String {
    let clock = utc(time);
    format!("{}, {:02}:{:02}:{:02} UTC", day(time), clock.hour(), clock.minute(), clock.second())
}

/// `14:05` UTC
fn clock(time: Timestamp) -> String {
    let time = utc(time);
    format!("{:02}:{:02}", time.hour(), time.minute())
}

/// `2026-03-03T14:05:09`, as a date-time field takes it, in UTC.
pub fn field(time: Timestamp) -> String {
    utc(time).format("%Y-%m-%dT%H:%M:%S").to_string()
}

/// `2026-03-03`, in UTC.
pub fn date(time: Timestamp) -> String {
    utc(time).format("%Y-%m-%d").to_string()
}

/// `2026-03-03T14:05:09.123Z`, for programs: HTML knows no shares of a second below thousandths.
fn machine(time: Timestamp) -> String {
    let time = utc(time);
    let rest = if time.timestamp_subsec_millis() == 0 { "" } else { "%.3f" };
    time.format(&format!("%Y-%m-%dT%H:%M:%S{rest}Z")).to_string()
}

/// The midnight, in UTC, at which the day of this instant began.
pub fn midnight(time: Timestamp) -> Timestamp {
    Timestamp::from_micros(time.as_micros().div_euclid(DAY * 1_000_000) * DAY * 1_000_000)
}

/// The instant that a date or date-time field names in UTC: `2026-03-03`, `2026-03-03T14:05`,
/// with seconds, or a whole RFC 3339 time.
pub fn parse_field(text: &str) -> Option<Timestamp> {
    let in_utc = || match text.len() {
        10 => format!("{text}T00:00:00Z"),
        16 => format!("{text}:00Z"),
        _ => format!("{text}Z"),
    };
    text.parse().or_else(|_| in_utc().parse()).ok()
}

/// A span of seconds in its largest unit, rounded: `7 days`, `36 hours`, `12 minutes`.
pub fn rough(seconds: i64) -> String {
    let rounded = |unit: i64| (seconds + unit / 2) / unit;
    if seconds < MINUTE {
        "less than a minute".to_owned()
    } else if rounded(MINUTE) < 60 {
        counted(rounded(MINUTE), "minute")
    } else if rounded(HOUR) < 36 {
        counted(rounded(HOUR), "hour")
    } else if rounded(DAY) < 60 {
        counted(rounded(DAY), "day")
    } else if rounded(DAY) < 730 {
        counted(rounded(30 * DAY), "month")
    } else {
        counted(rounded(365 * DAY), "year")
    }
}

/// A span of seconds as it was set, without rounding: `7 days`, `1 day 12 hours`, `90 seconds`.
pub fn span(seconds: i64) -> String {
    let parts = [
        (seconds / DAY, "day"),
        (seconds % DAY / HOUR, "hour"),
        (seconds % HOUR / MINUTE, "minute"),
        (seconds % MINUTE, "second"),
    ];
    let words: Vec<String> = parts
        .into_iter()
        .filter(|(number, _)| *number > 0)
        .map(|(number, unit)| counted(number, unit))
        .collect();
    if words.is_empty() { "0 seconds".to_owned() } else { words.join(" ") }
}

/// Seconds from one instant to another, rounded up.
pub fn seconds_between(from: Timestamp, to: Timestamp) -> i64 {
    -(from.as_micros() - to.as_micros()).div_euclid(1_000_000)
}

/// `in 3 days`, `4 minutes ago`, `just now`
pub fn relative(time: Timestamp, now: Timestamp) -> String {
    let ahead = seconds_between(now, time);
    if ahead > 0 {
        format!("in {}", rough(ahead))
    } else if ahead > -MINUTE {
        "just now".to_owned()
    } else {
        format!("{} ago", rough(-ahead))
    }
}

/// A relative time; hover or focus shows the exact one.
pub fn ago(time: Timestamp, now: Timestamp) -> Markup {
    labelled(time, &relative(time, now))
}

/// Words that stand for an instant; hover or focus shows the exact one.
pub fn labelled(time: Timestamp, words: &str) -> Markup {
    let exact = exact(time);
    html! {
        time datetime=(machine(time)) data-exact=(exact) tabindex="0" {
            (words) span .sr { " (" (exact) ")" }
        }
    }
}

/// An instant to the second; the script puts it into the viewer's zone.
pub fn stamp(time: Timestamp) -> Markup {
    let exact = exact(time);
    html! { time datetime=(machine(time)) data-local="full" data-exact=(exact) tabindex="0" { (exact) } }
}

/// The time of day; the day stands above it.
pub fn time_of_day(time: Timestamp) -> Markup {
    html! {
        time datetime=(machine(time)) data-local="clock" data-exact=(exact(time)) tabindex="0" { (clock(time)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn relative_times_round_to_what_people_say() {
        let now = at("2026-03-01T09:00:00Z");
        let cases = [
            (7 * DAY, "in 7 days"),
            (7 * DAY - 90, "in 7 days"),
            (2 * DAY, "in 2 days"),
            (DAY, "in 24 hours"),
            (90 * MINUTE + 1, "in 2 hours"),
            (HOUR, "in 1 hour"),
            (61, "in 1 minute"),
            (59, "in less than a minute"),
            (0, "just now"),
            (-59, "just now"),
            (-4 * MINUTE, "4 minutes ago"),
            (-100 * DAY, "3 months ago"),
            (-800 * DAY, "2 years ago"),
        ];
        for (seconds, words) in cases {
            assert_eq!(relative(now.plus_seconds(seconds), now), words);
        }
    }

    #[test]
    fn a_span_says_all_of_itself() {
        assert_eq!(span(604_800), "7 days");
        assert_eq!(span(DAY + 12 * HOUR), "1 day 12 hours");
        assert_eq!(span(90), "1 minute 30 seconds");
        assert_eq!(span(0), "0 seconds");
    }

    #[test]
    fn fields_are_read_as_utc() {
        let time = at("2026-03-03T14:05:00Z");
        assert_eq!(parse_field("2026-03-03T14:05"), Some(time));
        assert_eq!(parse_field(&field(time)), Some(time));
        assert_eq!(parse_field("2026-03-03T15:05:00+01:00"), Some(time));
        assert_eq!(parse_field("2026-03-03T09:05:00-05:00"), Some(time));
        assert_eq!(parse_field("2026-03-03T09:05:00.000-05:00"), Some(time));
        assert_eq!(parse_field("2026-03-03"), Some(midnight(time)));
        for text in ["", "yesterday", "2026-13-01", "2026-03-03T25:00"] {
            assert_eq!(parse_field(text), None, "{text:?}");
        }
    }

    #[test]
    fn the_keyboard_reaches_every_exact_time() {
        let time = at("2026-03-03T14:05:09Z");
        for html in [stamp(time), time_of_day(time), ago(time, time)] {
            let html = html.into_string();
            let exact = "data-exact=\"3 March 2026, 14:05:09 UTC\" tabindex=\"0\"";
            assert!(html.contains(exact), "{html}");
        }
    }

    #[test]
    fn programs_are_told_thousandths_at_most() {
        assert_eq!(machine(at("2026-03-03T14:05:09.123456Z")), "2026-03-03T14:05:09.123Z");
        assert_eq!(machine(at("2026-03-03T14:05:09Z")), "2026-03-03T14:05:09Z");
    }

    #[test]
    fn the_exact_time_names_its_zone() {
        assert_eq!(exact(at("2026-03-03T04:05:09.7Z")), "3 March 2026, 04:05:09 UTC");
    }
}
