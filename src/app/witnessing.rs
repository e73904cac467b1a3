//! Asking witnesses to cosign checkpoints (C2SP tlog-witness).
//!
//! Each witness has a task of its own: one that fails or dawdles delays neither the others nor the
//! signing.

use super::App;
use super::evidence::{Witness, statement};
use crate::evidence::proof::{self, TileSet};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::{Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};
use token_ledger_domain::CompanyId;
use token_ledger_event_store::Head;
use token_ledger_projections::tree::SignedCheckpoint;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::{OnceCell, watch};
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

/// How long a witness may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long after a failure a witness is asked again.
const RETRY: Duration = Duration::from_secs(10);
/// The longest answer, in bytes.
const MAX_ANSWER: usize = 64 * 1024;

/// What is known of what a witness does, by company.
#[derive(Default)]
struct Known {
    /// The sizes that it has cosigned.
    cosigned: HashMap<CompanyId, u64>,
    /// When it last failed to.
    failed: HashMap<CompanyId, Instant>,
}

impl Known {
    /// Whether a company is left alone for now: all is cosigned that there may be to sign, or that has
    /// failed a moment ago.
    fn rests(&self, head: &Head) -> bool {
        let is_cosigned =
            self.cosigned.get(&head.company).is_some_and(|size| *size >= head.position);
        let failed = self.failed.get(&head.company);
        is_cosigned || failed.is_some_and(|failed| failed.elapsed() < RETRY)
    }
}

/// Starts asking; it ends when `stop` turns true.
pub fn start(app: &Arc<App>, stop: &watch::Receiver<bool>) -> Vec<JoinHandle<()>> {
    let witnesses = app.evidence.choices.witnesses.iter();
    witnesses
        .map(|witness| tokio::spawn(run(Arc::clone(app), witness.clone(), stop.clone())))
        .collect()
}

async fn run(app: Arc<App>, witness: Witness, mut stop: watch::Receiver<bool>) {
    let mut signed = app.evidence.signed.subscribe();
    let mut known = Known::default();
    let mut failing = false;
    while !*stop.borrow() {
        signed.mark_unchanged();
        let outcome = tokio::select! {
            outcome = ask_all(&app, &witness, &mut known) => outcome,
            _ = stop.changed() => return,
        };
        let failed = outcome.is_err() || !known.failed.is_empty();
        match outcome {
            Err(problem) if !failing => {
                tracing::warn!(witness = witness.key.name(), problem, "a witness does not cosign");
            }
            Ok(()) if failing && !failed => {
                tracing::info!(witness = witness.key.name(), "cosigns again");
            }
            _ => {}
        }
        failing = failed;
        let retry = async {
            if failed {
                tokio::time::sleep(RETRY).await;
            } else {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            _ = signed.changed() => {}
            () = retry => {}
            _ = stop.changed() => {}
        }
    }
}

/// Asks for every company whose last checkpoint the witness has not cosigned. A log that it doesn't
/// know keeps it from no other one.
async fn ask_all(app: &App, witness: &Witness, known: &mut Known) -> Result<(), String> {
    let heads = app.store().heads().await.map_err(|error| error.to_string())?;
    let mut last_problem = None;
    for head in heads.into_iter().filter(|head| !known.rests(head)).collect::<Vec<_>>() {
        let company = head.company;
        let origin = app.evidence.origin(company);
        let last = app.evidence.trees.last_checkpoint(company, &origin).await;
        let Some(last) = last.map_err(|error| error.to_string())? else { continue };
        if known.cosigned.get(&company).is_some_and(|size| *size >= last.size) {
            known.failed.remove(&company);
            continue;
        }
        // By this process before it was started anew, or by another one.
        let own = format!("— {} ", witness.key.name());
        if last.cosignatures.lines().any(|line| line.starts_with(&own)) {
            known.cosigned.insert(company, last.size);
            known.failed.remove(&company);
            continue;
        }
        match ask(app, witness, &last, known.cosigned.get(&company).copied().unwrap_or(0)).await {
            Ok(()) => {
                known.cosigned.insert(company, last.size);
                known.failed.remove(&company);
            }
            Err(problem) => {
                known.failed.insert(company, Instant::now());
                last_problem = Some(problem);
            }
        }
    }
    last_problem.map_or(Ok(()), Err)
}

/// Asks a witness to cosign a checkpoint, which last cosigned a tree of `old` entries, and keeps
/// its cosignature.
async fn ask(
    app: &App,
    witness: &Witness,
    checkpoint: &SignedCheckpoint,
    old: u64,
) -> Result<(), String> {
    let mut old = old;
    // It may know another size: then it says which, once.
    for _ in 0..2 {
        let body = request(app, checkpoint, old).await?;
        let url = format!("{}/add-checkpoint", witness.url);
        let asked = tokio::time::timeout(PATIENCE, post(&url, body)).await;
        let (status, text) = asked.map_err(|_| "it does not answer".to_owned())??;
        match status {
            StatusCode::OK => {
                let line = witness
                    .key
                    .cosignature(&checkpoint.note, &text)
                    .ok_or("its answer is no cosignature of its key")?;
                let kept = app.evidence.trees.keep_cosignature(checkpoint, &line).await;
                return kept.map_err(|error| error.to_string());
            }
            StatusCode::CONFLICT => {
                let known = text.trim().parse().ok().filter(|size| *size <= checkpoint.size);
                old =
                    known.ok_or_else(|| format!("it knows a tree of {:?} entries", text.trim()))?;
            }
            other => return Err(format!("it answers {other}: {}", text.trim())),
        }
    }
    Err("it does not know what it has cosigned".to_owned())
}

/// The request: what the witness knows, the proof that the checkpoint extends it, the checkpoint.
async fn request(app: &App, checkpoint: &SignedCheckpoint, old: u64) -> Result<String, String> {
    let mut body = format!("old {old}\n");
    let size = statement(checkpoint).size;
    if old > 0 && old < size {
        let mut tiles = TileSet::new();
        let hashes = app
            .evidence
            .compute(checkpoint.company_id, &mut tiles, |tiles| {
                proof::consistency(tiles, old, size)
            })
            .await
            .map_err(|error| error.to_string())?;
        for hash in hashes {
            // Writing to a String can't fail.
            let _ = writeln!(body, "{hash}");
        }
    }
    body.push('\n');
    body.push_str(&checkpoint.note);
    Ok(body)
}

/// A connection, with TLS or without.
trait Connection: AsyncRead + AsyncWrite + Send + Unpin {}

impl<C: AsyncRead + AsyncWrite + Send + Unpin> Connection for C {}

async fn post(url: &str, body: String) -> Result<(StatusCode, String), String> {
    let url = url::Url::parse(url).map_err(|error| error.to_string())?;
    let host = url.host_str().ok_or("its URL has no host")?;
    let port = url.port_or_known_default().ok_or("its URL has no port")?;
    let address = (host.trim_matches(['[', ']']), port);
    let stream = TcpStream::connect(address).await.map_err(|error| error.to_string())?;
    let stream: Box<dyn Connection> = if url.scheme() == "https" {
        let name = ServerName::try_from(address.0.to_owned()).map_err(|error| error.to_string())?;
        let connector = CONNECTOR.get_or_try_init(connector).await?;
        Box::new(connector.connect(name, stream).await.map_err(|error| error.to_string())?)
    } else {
        Box::new(stream)
    };
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| error.to_string())?;
    // It ends with the sender.
    tokio::spawn(connection);
    let request = Request::post(url.path())
        .header(header::HOST, format!("{host}:{port}"))
        .header(header::CONTENT_TYPE, "text/plain; charset=utf-8")
        .body(Full::new(Bytes::from(body)))
        .map_err(|error| error.to_string())?;
    let response = sender.send_request(request).await.map_err(|error| error.to_string())?;
    let status = response.status();
    let body = Limited::new(response.into_body(), MAX_ANSWER).collect().await;
    let bytes = body.map_err(|error| error.to_string())?.to_bytes();
    Ok((status, String::from_utf8_lossy(&bytes).into_owned()))
}

/// Whom the machine trusts, read once: it has more than a hundred certificates.
static CONNECTOR: OnceCell<TlsConnector> = OnceCell::const_new();

async fn connector() -> Result<TlsConnector, String> {
    let config = tokio::task::spawn_blocking(tls).await.map_err(|error| error.to_string())??;
    Ok(TlsConnector::from(Arc::new(config)))
}

/// Trusts whom the machine trusts.
fn tls() -> Result<ClientConfig, String> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}
