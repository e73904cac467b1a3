//! The connections of clients: how many there may be, and what each of them goes through.

use crate::app::throttle::party;
use crate::http::{OverTls, Proxies};
use axum::Router;
use axum::extract::{ConnectInfo, Request};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt;

/// How long requests under way may take once the process is asked to stop.
const DRAIN: Duration = Duration::from_secs(10);
/// How long a client may take over the TLS handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a client may take over a request's head, and how long an idle connection is kept.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// The largest head of a request, in bytes.
const MAX_HEAD: usize = 64 * 1024;
/// How long a client may leave what it was sent unacknowledged before it counts as gone.
const UNACKNOWLEDGED: Duration = Duration::from_secs(60);
/// How long to wait before accepting again when the system has no more sockets to give.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// File descriptors that are left to everything but connections.
const RESERVED_FILES: u64 = 128;
/// The first byte of a TLS connection: a handshake record (RFC 8446 §5.1).
const TLS_HANDSHAKE: u8 = 0x16;
/// What somebody is told who speaks plain HTTP where TLS is spoken.
const SPEAK_TLS: &[u8] = b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\n\
    Content-Length: 59\r\nConnection: close\r\n\r\n\
    This port speaks HTTPS only; write https:// before the URL\n";

/// How many connections there may be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// At a time. More wait to be accepted.
    pub(super) all: usize,
    /// At a time from one address (for IPv6, one /64 network) that is no trusted proxy's. More are
    /// closed at once.
    pub(super) per_address: usize,
}

impl Limits {
    /// The limits, as far as the process may open files.
    pub(super) fn within_open_files(self) -> Self {
        let possible = usize::try_from(open_files().saturating_sub(RESERVED_FILES));
        let all = self.all.min(possible.unwrap_or(usize::MAX)).max(1);
        if all < self.all {
            tracing::warn!(
                all,
                "fewer connections than set: the system lets this process open no more files"
            );
        }
        Self { all, ..self }
    }
}

/// How many files this process may have open, raised to what the system grants.
fn open_files() -> u64 {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current == maximum {
        return current.unwrap_or(u64::MAX);
    }
    match setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        Ok(()) => maximum.unwrap_or(u64::MAX),
        Err(_) => current.unwrap_or(u64::MAX),
    }
}

/// Where the connections come from and what answers them.
pub(super) struct Entrance {
    pub(super) listener: TcpListener,
    pub(super) tls: Option<TlsAcceptor>,
    pub(super) router: Router,
    pub(super) proxies: Proxies,
    pub(super) limits: Limits,
    /// Turns true when the service is about to stop.
    pub(super) stopping: watch::Receiver<bool>,
}

/// Connections per [`party`], of those that are counted.
type Counts = Arc<Mutex<HashMap<IpAddr, usize>>>;

/// A connection's place among those of its party, for as long as it lives.
struct Place {
    counts: Counts,
    party: IpAddr,
}

impl Place {
    /// A place among at most `most`.
    fn take(counts: &Counts, ip: IpAddr, most: usize) -> Option<Self> {
        let party = party(ip);
        let mut held = counts.lock();
        let count = held.entry(party).or_insert(0);
        if *count >= most {
            return None;
        }
        *count += 1;
        Some(Self { counts: Arc::clone(counts), party })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut held = self.counts.lock();
        if let Some(count) = held.get_mut(&self.party) {
            *count -= 1;
            if *count == 0 {
                held.remove(&self.party);
            }
        }
    }
}

/// The connections that there are.
pub(super) struct Connections {
    tasks: JoinSet<()>,
    graceful: GracefulShutdown,
}

impl Entrance {
    /// Accepts connections until `stop` comes.
    pub(super) async fn accept(self, stop: impl Future<Output = ()>) -> Connections {
        let mut tasks = JoinSet::new();
        let graceful = GracefulShutdown::new();
        let counts = Counts::default();
        let mut stop = std::pin::pin!(stop);
        loop {
            tokio::select! {
                () = &mut stop => return Connections { tasks, graceful },
                Some(_) = tasks.join_next() => {}
                accepted = self.listener.accept(), if tasks.len() < self.limits.all => match accepted {
                    Ok((stream, peer)) => {
                        let Some(place) = self.place(&counts, peer.ip()) else {
                            metrics::counter!("token_ledger_connections_refused_total").increment(1);
                            continue;
                        };
                        let client = Client { peer, router: self.router.clone(), place };
                        match &self.tls {
                            None => tasks.spawn(client.plain(stream, graceful.watcher())),
                            Some(tls) => {
                                let (tls, stopping) = (tls.clone(), self.stopping.clone());
                                tasks.spawn(client.secure(stream, tls, graceful.watcher(), stopping))
                            }
                        };
                    }
                    Err(error) => {
                        tracing::warn!(%error, "can't accept a connection");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                },
            }
        }
    }

    /// A place for a connection from there; `Some(None)` where none is counted.
    #[expect(clippy::option_option, reason = "the inner one is the place of the outer answer")]
    fn place(&self, counts: &Counts, ip: IpAddr) -> Option<Option<Place>> {
        if self.proxies.trust(ip) {
            return Some(None);
        }
        Place::take(counts, ip, self.limits.per_address).map(Some)
    }
}

impl Connections {
    /// Lets requests under way finish, within the bound, unless `hurry` comes.
    pub(super) async fn drain(self, hurry: impl Future<Output = ()>) {
        let Self { mut tasks, graceful } = self;
        let connections = tasks.len();
        tokio::select! {
            () = graceful.shutdown() => {}
            () = tokio::time::sleep(DRAIN) => {
                tracing::warn!(connections, "requests were cut off");
            }
            () = hurry => {
                tracing::warn!(connections, "asked to stop once more: requests were cut off");
            }
        }
        tasks.shutdown().await;
    }
}

/// One client's connection.
struct Client {
    peer: SocketAddr,
    router: Router,
    /// Held as long as the connection lives.
    place: Option<Place>,
}

impl Client {
    async fn plain(self, stream: TcpStream, watcher: Watcher) {
        prepare(&stream);
        let Self { peer, router, place: _place } = self;
        let service = service_fn(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(ConnectInfo(peer));
            router.clone().oneshot(request)
        });
        if let Err(error) = watcher.watch(http(stream, service)).await {
            note_end(&error);
        }
    }

    async fn secure(
        self,
        stream: TcpStream,
        tls: TlsAcceptor,
        watcher: Watcher,
        mut stopping: watch::Receiver<bool>,
    ) {
        prepare(&stream);
        let Self { peer, router, place: _place } = self;
        let handshake = tokio::select! {
            handshake = tokio::time::timeout(HANDSHAKE_TIMEOUT, handshake(stream, tls)) => handshake,
            _ = stopping.wait_for(|stopping| *stopping) => return,
        };
        let failed = match handshake {
            Ok(Ok(Some(stream))) => {
                let service = service_fn(move |mut request: Request<Incoming>| {
                    request.extensions_mut().insert(ConnectInfo(peer));
                    request.extensions_mut().insert(OverTls);
                    router.clone().oneshot(request)
                });
                if let Err(error) = watcher.watch(http(stream, service)).await {
                    note_end(&error);
                }
                return;
            }
            Ok(Ok(None)) => "plain_http",
            Ok(Err(error)) => {
                tracing::debug!(%error, "a handshake failed");
                "failed"
            }
            Err(_) => "timeout",
        };
        metrics::counter!("token_ledger_tls_handshakes_failed_total", "reason" => failed)
            .increment(1);
    }
}

/// The handshake; nothing where the client speaks plain HTTP and was told not to.
async fn handshake(
    mut stream: TcpStream,
    tls: TlsAcceptor,
) -> std::io::Result<Option<tokio_rustls::server::TlsStream<TcpStream>>> {
    let mut first = [0];
    let seen = stream.peek(&mut first).await?;
    if seen == 1 && first[0] != TLS_HANDSHAKE && first[0].is_ascii_uppercase() {
        // Read, so that closing does not throw the answer away.
        let mut request = [0; 8192];
        let _ = stream.read(&mut request).await?;
        stream.write_all(SPEAK_TLS).await?;
        stream.shutdown().await?;
        return Ok(None);
    }
    tls.accept(stream).await.map(Some)
}

fn http<I, S>(stream: I, service: S) -> http1::Connection<TokioIo<I>, S>
where
    I: AsyncRead + AsyncWrite + Unpin,
    S: hyper::service::HttpService<Incoming, ResBody = axum::body::Body>,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(MAX_HEAD)
        .serve_connection(TokioIo::new(stream), service)
}

/// Notes how a connection ended. Clients that go away or send nonsense are everyday life; a head
/// that can't be read is answered by hyper, without our headers, and leaves no other trace.
fn note_end(error: &hyper::Error) {
    if error.is_parse() {
        metrics::counter!("token_ledger_request_heads_refused_total").increment(1);
        tracing::info!(%error, "the head of a request could not be read");
    } else {
        tracing::debug!(%error, "a connection did not end well");
    }
}

/// Sets the socket up: small answers go out at once, and a client that takes nothing in any more
/// is given up.
fn prepare(stream: &TcpStream) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "small answers may be late");
    }
    #[cfg(target_os = "linux")]
    if let Err(error) = socket2::SockRef::from(stream).set_tcp_user_timeout(Some(UNACKNOWLEDGED)) {
        tracing::debug!(%error, "a client that is gone may stay for long");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_has_so_many_places_and_gets_them_back() {
        let counts = Counts::default();
        let one = "2001:db8::1".parse().unwrap();
        let neighbour = "2001:db8::2".parse().unwrap();
        let other = "2001:db8:0:1::1".parse().unwrap();
        let first = Place::take(&counts, one, 2).unwrap();
        let _second = Place::take(&counts, neighbour, 2).unwrap();
        assert!(Place::take(&counts, one, 2).is_none());
        assert!(Place::take(&counts, other, 2).is_some());
        drop(first);
        assert!(Place::take(&counts, one, 2).is_some());
        assert_eq!(counts.lock().len(), 1, "who is gone is forgotten");
    }

    #[test]
    fn an_ipv4_address_is_the_same_through_an_ipv6_socket() {
        let counts = Counts::default();
        let take = |ip: &str| Place::take(&counts, ip.parse().unwrap(), 1);
        let _first = take("::ffff:192.0.2.1").unwrap();
        assert!(take("192.0.2.1").is_none());
        assert!(take("192.0.2.2").is_some());
    }

    #[test]
    fn the_length_that_is_announced_is_the_body_s() {
        let text = std::str::from_utf8(SPEAK_TLS).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("Content-Length: {}\r\n", body.len())));
    }
}
