//! A network that can fail.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// Stands between a process and the database, and fails as networks do. It ends when it is dropped.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    line: watch::Sender<Line>,
    loss: Arc<Loss>,
}

/// An answer that is to be lost.
#[derive(Debug, Default)]
struct Loss {
    /// What its request holds; none when it is lost.
    text: Mutex<Option<&'static str>>,
    /// Whether no connection can be made from then on.
    shuts: AtomicBool,
    is_shut: AtomicBool,
}

impl Loss {
    /// Whether this is the request whose answer is to be lost.
    fn is_due(&self, request: &[u8]) -> bool {
        let mut text = self.text.lock().unwrap_or_else(PoisonError::into_inner);
        let is_due = text.is_some_and(|text| holds(request, text.as_bytes()));
        if is_due {
            *text = None;
            self.is_shut.store(self.shuts.load(Ordering::SeqCst), Ordering::SeqCst);
        }
        is_due
    }
}

/// The state of the line.
#[derive(Clone, Debug)]
struct Line {
    /// Host and port of the server.
    server: String,
    /// Whether anything is handed on.
    is_whole: bool,
    /// Whether connections can be made.
    is_open: bool,
    /// How often all connections were closed.
    closed: u64,
    /// How often all connections fell silent for good.
    silenced: u64,
}

impl Proxy {
    /// One to the server of this URL.
    ///
    /// # Panics
    /// When the URL names no server and port, or there is no port to listen on.
    pub async fn to(url: &str) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let address = listener.local_addr().expect("its address");
        let server = server(url).to_owned();
        let first = Line { server, is_whole: true, is_open: true, closed: 0, silenced: 0 };
        let (line, state) = watch::channel(first);
        let loss = Arc::<Loss>::default();
        let (mut end, losing) = (line.subscribe(), Arc::clone(&loss));
        tokio::spawn(async move {
            loop {
                let arrived = tokio::select! {
                    arrived = listener.accept() => arrived,
                    () = ended(&mut end) => return,
                };
                let Ok((client, _)) = arrived else { return };
                tokio::spawn(connect(client, state.clone(), Arc::clone(&losing)));
            }
        });
        Self { address, line, loss }
    }

    /// This URL by way of the proxy.
    ///
    /// # Panics
    /// When the URL names no server and port.
    pub fn url(&self, url: &str) -> String {
        url.replacen(server(url), &self.address.to_string(), 1)
    }

    /// From now on nothing arrives, though nothing is closed, as when a cable is pulled.
    pub fn cut(&self) {
        self.line.send_modify(|line| line.is_whole = false);
    }

    /// Everything arrives again, what was on its way too, and connections can be made again.
    pub fn mend(&self) {
        self.loss.is_shut.store(false, Ordering::SeqCst);
        self.line.send_modify(|line| (line.is_whole, line.is_open) = (true, true));
    }

    /// Closes all connections, and every other one as soon as it is made.
    pub fn close(&self) {
        self.line.send_modify(|line| {
            line.is_open = false;
            line.closed += 1;
        });
    }

    /// From now on nothing arrives on the connections that there are, ever; new ones work. As when
    /// a server's address goes to another machine.
    pub fn silence(&self) {
        self.line.send_modify(|line| line.silenced += 1);
    }

    /// Connections that are made from now on lead to the server of this URL.
    ///
    /// # Panics
    /// When the URL names no server and port.
    pub fn lead_to(&self, url: &str) {
        let server = server(url).to_owned();
        self.line.send_modify(|line| line.server = server);
    }

    /// Hands the next request that holds this text on, and closes its connection as soon as the
    /// server answers, so that the answer is lost.
    pub fn lose_answer_to(&self, text: &'static str) {
        self.lose(text, false);
    }

    /// The same, and no connection can be made from then on, so that nobody can look what became of
    /// the request.
    pub fn lose_answer_for_good(&self, text: &'static str) {
        self.lose(text, true);
    }

    fn lose(&self, text: &'static str, shuts: bool) {
        self.loss.shuts.store(shuts, Ordering::SeqCst);
        *self.loss.text.lock().unwrap_or_else(PoisonError::into_inner) = Some(text);
    }

    /// Whether the answer that was to be lost is.
    pub fn has_lost(&self) -> bool {
        self.loss.text.lock().unwrap_or_else(PoisonError::into_inner).is_none()
    }
}

/// Host and port of a URL.
fn server(url: &str) -> &str {
    let (_, rest) = url.split_once("://").expect("a URL");
    let (place, _) = rest.split_once('/').expect("a URL with a database");
    place.rsplit_once('@').map_or(place, |(_, server)| server)
}

/// Returns when the proxy is dropped.
async fn ended(line: &mut watch::Receiver<Line>) {
    while line.changed().await.is_ok() {}
}

async fn connect(client: TcpStream, mut line: watch::Receiver<Line>, loss: Arc<Loss>) {
    let Ok(first) = line.wait_for(|line| line.is_whole).await.map(|line| line.clone()) else {
        return;
    };
    if !first.is_open || loss.is_shut.load(Ordering::SeqCst) {
        return;
    }
    let Ok(server) = TcpStream::connect(first.server).await else { return };
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let is_lost = AtomicBool::new(false);
    let flow = Flow { line: line.clone(), silenced: first.silenced, is_lost: &is_lost };
    tokio::select! {
        () = flow.clone().hand_on(from_client, to_server, Some(&loss)) => {}
        () = flow.hand_on(from_server, to_client, None) => {}
        _ = line.wait_for(|line| line.closed != first.closed) => {}
    }
}

/// A connection.
#[derive(Clone)]
struct Flow<'a> {
    line: watch::Receiver<Line>,
    silenced: u64,
    /// Whether its next answer gets lost.
    is_lost: &'a AtomicBool,
}

impl Flow<'_> {
    /// Hands on what comes from one side until it ends. Requests are looked through for the one
    /// whose answer gets lost.
    async fn hand_on(
        mut self,
        mut from: OwnedReadHalf,
        mut to: OwnedWriteHalf,
        loss: Option<&Loss>,
    ) {
        let mut buffer = vec![0; 16 * 1024];
        loop {
            let count = match from.read(&mut buffer).await {
                Ok(0) | Err(_) => return,
                Ok(count) => count,
            };
            let is_answer = loss.is_none();
            if is_answer && self.is_lost.load(Ordering::SeqCst) {
                return;
            }
            if loss.is_some_and(|loss| loss.is_due(&buffer[..count])) {
                self.is_lost.store(true, Ordering::SeqCst);
            }
            let silenced = self.silenced;
            if self.line.wait_for(|line| line.is_whole && line.silenced == silenced).await.is_err()
                || to.write_all(&buffer[..count]).await.is_err()
            {
                return;
            }
        }
    }
}

fn holds(bytes: &[u8], text: &[u8]) -> bool {
    bytes.windows(text.len()).any(|window| window == text)
}
