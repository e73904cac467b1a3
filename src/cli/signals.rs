//! The signals by which a process is asked to stop, or to look at its files again.

use super::Failure;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

/// What a process listens for from its very start, so that no signal ends it halfway.
pub(super) struct Signals {
    pub(super) stop: Stop,
    /// SIGHUP. With TLS it has the certificate read again; it never ends the process.
    pub(super) hangup: Signal,
}

impl Signals {
    pub(super) fn listen() -> std::io::Result<Self> {
        Ok(Self {
            stop: Stop {
                interrupt: signal(SignalKind::interrupt())?,
                terminate: signal(SignalKind::terminate())?,
            },
            hangup: signal(SignalKind::hangup())?,
        })
    }
}

/// What the process is asked to stop with.
pub(super) struct Stop {
    interrupt: Signal,
    terminate: Signal,
}

impl Stop {
    /// Waits for Ctrl-C or SIGTERM.
    pub(super) async fn arrival(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }

    /// What the work comes to; nothing where it is asked to stop before the work is done.
    pub(super) async fn unless_before<T>(
        &mut self,
        work: impl Future<Output = Result<T, Failure>>,
    ) -> Result<Option<T>, Failure> {
        tokio::select! {
            done = work => done.map(Some),
            () = self.arrival() => {
                tracing::info!("asked to stop before it listened; stopped");
                Ok(None)
            }
        }
    }
}

/// Says that SIGHUP does nothing where there is no certificate, until `stop` turns true.
pub(super) async fn ignore(mut hangup: Signal, mut stop: watch::Receiver<bool>) {
    loop {
        tokio::select! {
            Some(()) = hangup.recv() => {
                tracing::info!("SIGHUP is ignored: there is no certificate to read again");
            }
            _ = stop.wait_for(|stop| *stop) => return,
        }
    }
}
