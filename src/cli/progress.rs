//! Showing how far long work has come, on stderr.

use super::tell;
use indicatif::{HumanFloatCount, ProgressBar, ProgressState, ProgressStyle};
use parking_lot::Mutex;
use std::fmt::Write;
use std::io::IsTerminal;
use std::time::{Duration, Instant};

/// How often a line is written where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(2);
const TEMPLATE: &str =
    "{bar:40} {percent:>3} %  {human_pos} of {human_len} events  {rate} a second, {eta} left";

/// A bar with rate and time left on a terminal, plain lines otherwise.
pub(super) enum Progress {
    /// The bar.
    Bar(ProgressBar),
    /// The lines.
    Lines(Mutex<Lines>),
}

/// What lines say: now and then, and once when all has been read.
pub(super) struct Lines {
    began: Instant,
    written: Instant,
    /// Events that were read and that there are, where no line has said so yet.
    unsaid: Option<(u64, u64)>,
}

impl Lines {
    fn say(&mut self) {
        let Some((events, total)) = self.unsaid.take() else { return };
        self.written = Instant::now();
        let millis = self.began.elapsed().as_millis().max(1);
        let rate = u128::from(events) * 1000 / millis;
        let left = u128::from(total - events).checked_div(rate).unwrap_or(0);
        tell(&format!("{events} of {total} events, {rate} a second, {left} s left"));
    }
}

/// Whole events: more can't be read while it changes.
fn write_rate(state: &ProgressState, to: &mut dyn Write) {
    // The bar goes on without it.
    let _ = write!(to, "{}", rate(state.per_sec()));
}

fn rate(events_a_second: f64) -> String {
    format!("{:.0}", HumanFloatCount(events_a_second.round()))
}

impl Progress {
    pub(super) fn new() -> Self {
        if std::io::stderr().is_terminal() {
            let bar = ProgressBar::new(0);
            if let Ok(style) = ProgressStyle::with_template(TEMPLATE) {
                bar.set_style(style.with_key("rate", write_rate));
            }
            Self::Bar(bar)
        } else {
            let now = Instant::now();
            Self::Lines(Mutex::new(Lines { began: now, written: now, unsaid: None }))
        }
    }

    /// So many of so many events have been read; of more, where some were appended meanwhile.
    pub(super) fn show(&self, events: u64, total: u64) {
        let total = total.max(events);
        match self {
            Self::Bar(bar) => {
                bar.set_length(total);
                bar.set_position(events);
            }
            Self::Lines(lines) => {
                let mut lines = lines.lock();
                lines.unsaid = Some((events, total));
                if lines.written.elapsed() >= LINE_EVERY {
                    lines.say();
                }
            }
        }
    }

    /// Writes something else meanwhile, which the bar shall not stand in.
    pub(super) fn aside<T>(&self, write: impl FnOnce() -> T) -> T {
        match self {
            Self::Bar(bar) => bar.suspend(write),
            Self::Lines(_) => write(),
        }
    }

    /// The work is done or given up.
    pub(super) fn end(&self) {
        match self {
            Self::Bar(bar) => bar.finish_and_clear(),
            Self::Lines(lines) => {
                let mut lines = lines.lock();
                if lines.unsaid.is_some_and(|(events, total)| events == total) {
                    lines.say();
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_whole_numbers() {
        let rates = [(0.0, "0"), (0.4, "0"), (1_716.786_4, "1,717"), (999.9, "1,000")];
        for (events_a_second, shown) in rates {
            assert_eq!(rate(events_a_second), shown);
        }
    }
}
