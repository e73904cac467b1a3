//! A network that can fail.

use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// Stands between a process and the database. Cut, it takes connections and bytes and hands none on:
/// nothing is closed and nothing arrives, as when a cable is pulled. It ends when it is dropped.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    is_whole: watch::Sender<bool>,
}

impl Proxy {
    /// One to the server of this URL.
    ///
    /// # Panics
    /// When the URL names no server and port, or there is no port to listen on.
    pub async fn to(url: &str) -> Self {
        let server = server(url).to_owned();
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let address = listener.local_addr().expect("its address");
        let (is_whole, state) = watch::channel(true);
        let mut end = is_whole.subscribe();
        tokio::spawn(async move {
            loop {
                let arrived = tokio::select! {
                    arrived = listener.accept() => arrived,
                    () = ended(&mut end) => return,
                };
                let Ok((client, _)) = arrived else { return };
                let (server, state) = (server.clone(), state.clone());
                tokio::spawn(async move {
                    let Ok(server) = TcpStream::connect(server).await else { return };
                    let (from_client, to_client) = client.into_split();
                    let (from_server, to_server) = server.into_split();
                    tokio::join!(
                        hand_on(from_client, to_server, state.clone()),
                        hand_on(from_server, to_client, state),
                    );
                });
            }
        });
        Self { address, is_whole }
    }

    /// This URL by way of the proxy.
    ///
    /// # Panics
    /// When the URL names no server and port.
    pub fn url(&self, url: &str) -> String {
        url.replacen(server(url), &self.address.to_string(), 1)
    }

    /// From now on nothing arrives.
    pub fn cut(&self) {
        self.is_whole.send_replace(false);
    }

    /// Everything arrives again, what was on its way too.
    pub fn mend(&self) {
        self.is_whole.send_replace(true);
    }
}

/// Host and port of a URL.
fn server(url: &str) -> &str {
    let (_, rest) = url.split_once("://").expect("a URL");
    let (place, _) = rest.split_once('/').expect("a URL with a database");
    place.rsplit_once('@').map_or(place, |(_, server)| server)
}

/// Returns when the proxy is dropped.
async fn ended(state: &mut watch::Receiver<bool>) {
    while state.changed().await.is_ok() {}
}

async fn hand_on(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut state: watch::Receiver<bool>,
) {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let count = match from.read(&mut buffer).await {
            Ok(0) | Err(_) => return,
            Ok(count) => count,
        };
        if state.wait_for(|is_whole| *is_whole).await.is_err()
            || to.write_all(&buffer[..count]).await.is_err()
        {
            return;
        }
    }
}
