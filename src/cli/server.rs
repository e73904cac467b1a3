//! Serving HTTP until the process is asked to stop, and stopping in good order.

use super::Failure;
use crate::app::App;
use crate::app::jobs::{self, Intervals};
use crate::http::{Service, router};
use axum::Router;
use axum::extract::{ConnectInfo, Request};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use ipnet::IpNet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tower::ServiceExt;

/// How long requests under way may take once the process is asked to stop.
const DRAIN: Duration = Duration::from_secs(10);
/// How long a client may take over a request's head, and how long an idle connection is kept.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// Connections at a time. More wait to be accepted.
const MAX_CONNECTIONS: usize = 8192;
/// How long to wait before accepting again when the system has no more sockets to give.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Everything that serving takes.
pub(super) struct Server {
    pub(super) app: Arc<App>,
    pub(super) listener: TcpListener,
    pub(super) trusted_proxies: Vec<IpNet>,
    /// The URL that the service is reached at; where none is set, the address it listens on.
    pub(super) public_url: Option<String>,
    pub(super) intervals: Intervals,
}

/// What a process is asked to stop with.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn listen() -> std::io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    async fn arrival(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

impl Server {
    /// Serves until Ctrl-C or SIGTERM, calling `ready` once requests are answered.
    ///
    /// Then streams are told to end and requests under way are let finish, within a bound; last
    /// uses are written down, the projections and jobs stop, and the database is closed.
    pub(super) async fn run(
        self,
        ready: impl FnOnce(SocketAddr) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let Self { app, listener, trusted_proxies, public_url, intervals } = self;
        let mut signals = Signals::listen()?;
        let address = listener.local_addr()?;
        let (stopping, is_stopping) = watch::channel(false);
        let (stop, stopped) = watch::channel(false);
        let mut tasks = app.start(&stopped);
        tasks.extend(jobs::start(&app, intervals, &stopped));
        app.resume_operations().await?;
        let public_url = public_url.unwrap_or_else(|| format!("http://{address}"));
        let service = Arc::new(Service {
            app: Arc::clone(&app),
            trusted_proxies,
            public_url,
            stopping: is_stopping,
        });
        let router = router(service);
        ready(address)?;
        let connections = Connections::accept(&listener, &router, &mut signals).await;
        tracing::info!("stopping");
        drop(listener);
        drop(router);
        stopping.send_replace(true);
        connections.drain().await;
        stop.send_replace(true);
        for task in tasks {
            if let Err(error) = task.await {
                tracing::error!(%error, "a job did not end well");
            }
        }
        // The last one to let go of it closes the database.
        drop(app);
        tracing::info!("stopped");
        Ok(())
    }
}

/// The connections of clients.
struct Connections {
    tasks: JoinSet<()>,
    graceful: GracefulShutdown,
}

impl Connections {
    /// Accepts connections until the process is asked to stop.
    async fn accept(listener: &TcpListener, router: &Router, signals: &mut Signals) -> Self {
        let mut tasks = JoinSet::new();
        let graceful = GracefulShutdown::new();
        loop {
            tokio::select! {
                () = signals.arrival() => return Self { tasks, graceful },
                Some(_) = tasks.join_next() => {}
                accepted = listener.accept(), if tasks.len() < MAX_CONNECTIONS => match accepted {
                    Ok((stream, peer)) => {
                        tasks.spawn(serve(stream, peer, router.clone(), graceful.watcher()));
                    }
                    Err(error) => {
                        tracing::warn!(%error, "can't accept a connection");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                },
            }
        }
    }

    /// Lets requests under way finish, within the bound.
    async fn drain(self) {
        let Self { mut tasks, graceful } = self;
        if tokio::time::timeout(DRAIN, graceful.shutdown()).await.is_err() {
            tracing::warn!(connections = tasks.len(), "requests were cut off");
        }
        tasks.shutdown().await;
    }
}

async fn serve(stream: TcpStream, peer: SocketAddr, router: Router, watcher: Watcher) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "small answers may be late");
    }
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(ConnectInfo(peer));
        router.clone().oneshot(request)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service);
    // Clients that go away or send nonsense are everyday life.
    if let Err(error) = watcher.watch(connection).await {
        tracing::debug!(%error, "a connection did not end well");
    }
}
