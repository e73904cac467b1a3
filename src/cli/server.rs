//! Serving HTTP until the process is asked to stop, and stopping in good order.

use super::Failure;
use super::connections::{Entrance, Limits};
use super::signals::{self, Signals};
use super::tls::Tls;
use crate::app::App;
use crate::app::jobs::{self, Intervals};
use crate::app::{signing, witnessing};
use crate::http::{Documents, Proxies, Service, router};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// How long everything that runs on its own may take to end once it is told to.
const FINISH: Duration = Duration::from_secs(15);

/// Everything that serving takes.
pub(super) struct Server {
    pub(super) app: Arc<App>,
    pub(super) listener: TcpListener,
    /// The certificate, where TLS is spoken.
    pub(super) tls: Option<Arc<Tls>>,
    pub(super) proxies: Proxies,
    /// The URL that the service is reached at; where none is set, the address it listens on.
    pub(super) public_url: Option<String>,
    pub(super) limits: Limits,
    /// Whether the published API takes no parameters in the query.
    pub(super) no_query_credentials: bool,
    pub(super) intervals: Intervals,
}

impl Server {
    /// Serves until Ctrl-C or SIGTERM, calling `ready` with the service's address as a URL once
    /// requests are answered.
    ///
    /// Then streams are told to end and requests under way are let finish, within a bound and
    /// unless it is asked once more; last uses are written down, the projections and jobs stop, and
    /// the database is closed.
    pub(super) async fn run(
        self,
        signals: Signals,
        ready: impl FnOnce(&str) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let Self {
            app,
            listener,
            tls,
            proxies,
            public_url,
            no_query_credentials,
            limits,
            intervals,
        } = self;
        let address = listener.local_addr()?;
        let acceptor = tls.as_ref().map(Tls::acceptor).transpose()?;
        let scheme = if tls.is_some() { "https" } else { "http" };
        let base = format!("{scheme}://{address}");
        let (stopping, is_stopping) = watch::channel(false);
        let (stop, stopped) = watch::channel(false);
        let mut tasks = app.start(&stopped);
        tasks.push(signing::start(&app, &stopped));
        tasks.extend(witnessing::start(&app, &stopped));
        tasks.extend(jobs::start(&app, intervals, &stopped));
        let Signals { stop: mut stop_asked, hangup } = signals;
        tasks.push(match tls {
            None => tokio::spawn(signals::ignore(hangup, stopped.clone())),
            Some(tls) => tokio::spawn(tls.follow(hangup, stopped.clone())),
        });
        app.watch_jobs(&tasks);
        let service = Arc::new(Service {
            app: Arc::clone(&app),
            proxies: proxies.clone(),
            public_url: public_url.unwrap_or_else(|| base.clone()),
            no_query_credentials,
            stopping: is_stopping.clone(),
            documents: Documents::default(),
        });
        let entrance = Entrance {
            listener,
            tls: acceptor,
            router: router(service),
            proxies,
            limits: limits.within_open_files(),
            stopping: is_stopping,
        };
        let served = async {
            // Elsewhere other processes may be at them, and those that were left are taken over.
            if app.is_only_writer() {
                app.resume_operations().await?;
            }
            ready(&base)?;
            let connections = entrance.accept(stop_asked.arrival()).await;
            tracing::info!("stopping");
            stopping.send_replace(true);
            connections.drain(stop_asked.arrival()).await;
            Ok(())
        };
        let served = served.await;
        stop.send_replace(true);
        finish(&app, tasks).await;
        // The last one to let go of it closes the database.
        drop(app);
        tracing::info!("stopped");
        served
    }
}

/// Waits for everything that was told to end, within the bound.
async fn finish(app: &App, mut tasks: Vec<JoinHandle<()>>) {
    let ended = async {
        for task in &mut tasks {
            if let Err(error) = task.await {
                tracing::error!(%error, "a job did not end well");
            }
        }
        app.end_erasures().await;
    };
    if tokio::time::timeout(FINISH, ended).await.is_err() {
        tracing::warn!("jobs were cut off; the next start goes on where they were");
        for task in &tasks {
            task.abort();
        }
    }
}
