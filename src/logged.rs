//! What tests see of the log.

use std::io::Write;
use std::sync::mpsc::{Receiver, Sender, channel};
use tracing::Subscriber;

/// A log, and its lines as they come.
pub fn log() -> (impl Subscriber + Send + Sync, Receiver<String>) {
    let (sender, logged) = channel();
    let lines = move || Lines(sender.clone());
    (tracing_subscriber::fmt().with_writer(lines).finish(), logged)
}

/// Hands on what is logged.
struct Lines(Sender<String>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let line = String::from_utf8_lossy(bytes).into_owned();
        self.0.send(line).map_err(std::io::Error::other)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
