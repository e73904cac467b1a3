//! Activity by day, as bars that lead to their day, with a table behind them for those who listen.

use super::time;
use super::words::{count, grouped};
use maud::{Markup, html};
use token_ledger_domain::Timestamp;

const HEIGHT: u64 = 64;
const STEP: usize = 24;
const BAR: usize = 18;
/// The least height of a day on which anything happened.
const LEAST: u64 = 3;

/// A day and what happened on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Day {
    /// Its midnight, in UTC.
    pub begins: Timestamp,
    /// Events that were recorded on it.
    pub events: u64,
    /// Whether the list below shows this day.
    pub shown: bool,
}

/// The days, oldest first; `link` leads to the list of a day.
pub fn histogram(days: &[Day], link: impl Fn(Timestamp) -> String) -> Markup {
    let most = days.iter().map(|day| day.events).max().unwrap_or_default();
    let scale = most.max(1);
    let total: u64 = days.iter().map(|day| day.events).sum();
    let width = days.len() * STEP;
    let (Some(first), Some(last)) = (days.first(), days.last()) else { return html! {} };
    html! {
        figure #days .histogram {
            figcaption {
                (count(total, "event")) " in " (days.len()) " days (UTC)"
                @if most > 0 { ", at most " (grouped(most)) " a day" }
            }
            noscript { a .skip href="#filters" { "Past the chart" } }
            svg viewBox={ "0 0 " (width) " " (HEIGHT) } preserveAspectRatio="none" role="group"
                aria-label="Events by day" data-brush[true] {
                @for (index, day) in days.iter().enumerate() {
                    @let tall = (day.events * HEIGHT / scale).max(if day.events > 0 { LEAST } else { 1 });
                    @let words = format!("{}: {}", time::day(day.begins), count(day.events, "event"));
                    a href=(link(day.begins)) aria-label=(words) data-day=(time::date(day.begins)) {
                        title { (words) }
                        rect .slot x=(index * STEP) y="0" width=(STEP) height=(HEIGHT) {}
                        rect .bar .shown[day.shown] .none[day.events == 0] x=(index * STEP + 3)
                            y=(HEIGHT - tall) width=(BAR) height=(tall) rx="1" {}
                    }
                }
            }
            div .axis aria-hidden="true" {
                span { (time::day(first.begins)) } span { (time::day(last.begins)) }
            }
            table .sr {
                caption { "Events by day" }
                thead { tr { th scope="col" { "Day" } th scope="col" { "Events" } } }
                tbody {
                    @for day in days {
                        tr { th scope="row" { (time::day(day.begins)) } td { (day.events) } }
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_as_tall_as_their_day_was_busy() {
        let begins: Timestamp = "2026-03-01T00:00:00Z".parse().unwrap();
        let days: Vec<Day> = [0, 1, 500, 1000]
            .into_iter()
            .zip(0..)
            .map(|(events, index)| Day {
                begins: begins.plus_seconds(index * 86_400),
                events,
                shown: false,
            })
            .collect();
        let html = histogram(&days, |day| format!("?from={}", time::date(day))).into_string();
        for tall in ["height=\"1\"", "height=\"3\"", "height=\"32\""] {
            assert!(html.contains(tall), "{tall} in {html}");
        }
        assert!(html.contains("1,501 events in 4 days (UTC), at most 1,000 a day"));
        assert!(html.contains("href=\"?from=2026-03-02\""));
        assert!(html.contains("<td>1000</td>"));
    }
}
