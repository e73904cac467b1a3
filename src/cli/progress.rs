//! Showing how far long work has come, on stderr.

use indicatif::{ProgressBar, ProgressStyle};
use parking_lot::Mutex;
use std::io::IsTerminal;
use std::time::{Duration, Instant};

/// How often a line is written where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(2);
const TEMPLATE: &str =
    "{bar:40} {percent:>3} %  {human_pos} of {human_len} events  {per_sec}, {eta} left";

/// A bar with rate and time left on a terminal, plain lines otherwise.
pub(super) enum Progress {
    /// The bar.
    Bar(ProgressBar),
    /// The lines; when the work began and when the last one was written.
    Lines(Mutex<(Instant, Instant)>),
}

impl Progress {
    pub(super) fn new() -> Self {
        if std::io::stderr().is_terminal() {
            let bar = ProgressBar::new(0);
            if let Ok(style) = ProgressStyle::with_template(TEMPLATE) {
                bar.set_style(style);
            }
            Self::Bar(bar)
        } else {
            let now = Instant::now();
            Self::Lines(Mutex::new((now, now)))
        }
    }

    /// So many of so many events have been read.
    pub(super) fn show(&self, events: u64, total: u64) {
        match self {
            Self::Bar(bar) => {
                bar.set_length(total.max(events));
                bar.set_position(events);
            }
            Self::Lines(times) => {
                let mut times = times.lock();
                let (began, written) = *times;
                if written.elapsed() < LINE_EVERY && events < total {
                    return;
                }
                times.1 = Instant::now();
                let millis = began.elapsed().as_millis().max(1);
                let rate = u128::from(events) * 1000 / millis;
                let left = u128::from(total.saturating_sub(events)).checked_div(rate).unwrap_or(0);
                eprintln!("{events} of {total} events, {rate} a second, {left} s left");
            }
        }
    }

    /// The work is done or given up.
    pub(super) fn end(&self) {
        if let Self::Bar(bar) = self {
            bar.finish_and_clear();
        }
    }
}
