//! TLS: the certificate from its files, and from them again when they change.

use super::Failure;
use parking_lot::RwLock;
use sha2::{Digest, Sha256};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::Signal;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::{ClientHello, ResolvesServerCert};
use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_rustls::rustls::{Error, InconsistentKeys, ServerConfig, version};
use zeroize::Zeroizing;

/// How often the files are looked at. SIGHUP makes it at once.
const LOOK: Duration = Duration::from_secs(5);
/// The one protocol that is spoken inside (RFC 7301).
const PROTOCOL: &[u8] = b"http/1.1";

/// The files that the certificate comes from, both PEM.
#[derive(Clone, Debug)]
pub(super) struct TlsFiles {
    /// The certificate, followed by those that lead to its root.
    pub(super) certificate: PathBuf,
    /// Its private key.
    pub(super) key: PathBuf,
}

/// The certificate in force, for every handshake.
#[derive(Debug)]
pub(super) struct Tls {
    files: TlsFiles,
    provider: Arc<CryptoProvider>,
    current: RwLock<Arc<CertifiedKey>>,
    /// The state of the files when they were first read.
    first: Fingerprint,
}

/// Tells one state of the files from another.
type Fingerprint = [u8; 32];

/// Why the files hold no usable certificate.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
enum Unusable {
    #[error("{path}: {problem}")]
    File { path: String, problem: String },
    #[error("the key in {key} does not belong to the certificate in {certificate}")]
    Mismatch { certificate: String, key: String },
}

impl ResolvesServerCert for Tls {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.current.read()))
    }
}

impl TlsFiles {
    /// Both files' bytes. They may be in the middle of being replaced.
    fn read(&self) -> Result<(Vec<u8>, Zeroizing<Vec<u8>>), Unusable> {
        let read = |path: &PathBuf| {
            std::fs::read(path).map_err(|error| Unusable::File {
                path: path.display().to_string(),
                problem: error.to_string(),
            })
        };
        Ok((read(&self.certificate)?, Zeroizing::new(read(&self.key)?)))
    }

    fn certified(
        &self,
        certificate: &[u8],
        key: &[u8],
        provider: &CryptoProvider,
    ) -> Result<CertifiedKey, Unusable> {
        let wrong = |path: &PathBuf, problem: String| Unusable::File {
            path: path.display().to_string(),
            problem,
        };
        let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(certificate)
            .collect::<Result<_, _>>()
            .map_err(|error| wrong(&self.certificate, format!("is not PEM: {error}")))?;
        if chain.is_empty() {
            return Err(wrong(&self.certificate, "holds no certificate in PEM".to_owned()));
        }
        let secret = PrivateKeyDer::from_pem_slice(key).map_err(|error| {
            let problem = match error {
                pem::Error::NoItemsFound => "holds no private key in PEM".to_owned(),
                other => format!("is not PEM: {other}"),
            };
            wrong(&self.key, problem)
        })?;
        CertifiedKey::from_der(chain, secret, provider).map_err(|error| match error {
            Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => Unusable::Mismatch {
                certificate: self.certificate.display().to_string(),
                key: self.key.display().to_string(),
            },
            Error::InvalidCertificate(error) => {
                wrong(&self.certificate, format!("is no certificate: {error}"))
            }
            other => wrong(&self.key, format!("can't be used: {other}")),
        })
    }
}

fn fingerprint(certificate: &[u8], key: &[u8]) -> Fingerprint {
    let mut hash = Sha256::new_with_prefix((certificate.len() as u64).to_be_bytes());
    hash.update(certificate);
    hash.update(key);
    hash.finalize().into()
}

impl Tls {
    /// The certificate of these files.
    ///
    /// # Errors
    /// When they hold none that can be used.
    pub(super) fn load(files: TlsFiles) -> Result<Arc<Self>, Failure> {
        let provider = Arc::new(ring::default_provider());
        let read = files.read().and_then(|(certificate, key)| {
            let current = files.certified(&certificate, &key, &provider)?;
            Ok((current, fingerprint(&certificate, &key)))
        });
        let (current, first) = read.map_err(|error| Failure::Failed(format!("TLS: {error}")))?;
        let current = RwLock::new(Arc::new(current));
        Ok(Arc::new(Self { files, provider, current, first }))
    }

    /// Takes the files' certificate if they have changed since that state. Where they hold none
    /// that can be used, the one in force stays.
    fn reload(&self, known: &mut Option<Fingerprint>) -> Result<bool, Unusable> {
        let (certificate, key) = self.files.read()?;
        let state = fingerprint(&certificate, &key);
        if *known == Some(state) {
            return Ok(false);
        }
        let next = self.files.certified(&certificate, &key, &self.provider)?;
        *self.current.write() = Arc::new(next);
        *known = Some(state);
        Ok(true)
    }

    /// What makes handshakes.
    pub(super) fn acceptor(self: &Arc<Self>) -> Result<TlsAcceptor, Failure> {
        let mut config = ServerConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_protocol_versions(&[&version::TLS13, &version::TLS12])
            .map_err(|error| Failure::Failed(format!("TLS can't be set up: {error}")))?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(self) as Arc<dyn ResolvesServerCert>);
        config.alpn_protocols = vec![PROTOCOL.to_vec()];
        Ok(TlsAcceptor::from(Arc::new(config)))
    }

    /// Follows the files until `stop` turns true.
    pub(super) async fn follow(
        self: Arc<Self>,
        mut hangup: Signal,
        mut stop: watch::Receiver<bool>,
    ) {
        let mut known = Some(self.first);
        let mut complaint = None;
        loop {
            tokio::select! {
                () = tokio::time::sleep(LOOK) => {}
                // Whoever asks gets an answer in the log, also when it is the same as before.
                Some(()) = hangup.recv() => {
                    complaint = None;
                    known = None;
                }
                _ = stop.wait_for(|stop| *stop) => return,
            }
            let tls = Arc::clone(&self);
            let looked = tokio::task::spawn_blocking(move || {
                let outcome = tls.reload(&mut known);
                (known, outcome)
            });
            let Ok((state, outcome)) = looked.await else { continue };
            known = state;
            note(outcome, &mut complaint);
        }
    }
}

/// Writes down how a look at the files went; a complaint only when it is a new one.
fn note(outcome: Result<bool, Unusable>, complaint: &mut Option<Unusable>) {
    let count = |outcome| {
        metrics::counter!("token_ledger_tls_reloads_total", "outcome" => outcome).increment(1);
    };
    match outcome {
        Ok(false) => *complaint = None,
        Ok(true) => {
            *complaint = None;
            count("taken");
            tracing::info!("the certificate was read again and is in force");
        }
        Err(error) => {
            if complaint.as_ref() != Some(&error) {
                count("refused");
                tracing::error!(
                    %error,
                    "the new certificate can't be used; the one before stays in force"
                );
            }
            *complaint = Some(error);
        }
    }
}
