//! TLS, as a client sees it that trusts one certificate authority.

use crate::process::{Ended, Place, Serving};
use rcgen::{CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{
    ClientConfig, ProtocolVersion, RootCertStore, SupportedProtocolVersion, crypto::ring, version,
};

/// How long something may take that is waited for.
const PATIENCE: Duration = Duration::from_secs(60);

const HEALTH: &str = "GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";

/// A certificate authority, and the files of the service's certificate.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    certificate: PathBuf,
    key: PathBuf,
}

impl Authority {
    fn new(place: &Place) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        Self { issuer, certificate: place.file("cert.pem"), key: place.file("key.pem") }
    }

    /// A certificate with its key, as PEM.
    fn issue(&self) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        (certificate.pem(), key.serialize_pem())
    }

    fn write(&self, certificate: &str, key: &str) {
        std::fs::write(&self.certificate, certificate).unwrap();
        std::fs::write(&self.key, key).unwrap();
    }

    /// A new certificate in the files; answers the bytes by which a client recognises it.
    fn renew(&self) -> Vec<u8> {
        let (certificate, key) = self.issue();
        self.write(&certificate, &key);
        pem_bytes(&certificate)
    }

    fn options(&self) -> [String; 4] {
        let text = |path: &PathBuf| path.display().to_string();
        ["--tls-cert".to_owned(), text(&self.certificate), "--tls-key".to_owned(), text(&self.key)]
    }

    fn connector(
        &self,
        versions: &[&'static SupportedProtocolVersion],
        alpn: &[&str],
    ) -> TlsConnector {
        let mut roots = RootCertStore::empty();
        roots.add(self.issuer.der().clone()).unwrap();
        let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        TlsConnector::from(Arc::new(config))
    }

    async fn connect(
        &self,
        address: SocketAddr,
        versions: &[&'static SupportedProtocolVersion],
        alpn: &[&str],
    ) -> std::io::Result<TlsStream<TcpStream>> {
        let stream = TcpStream::connect(address).await?;
        let name = ServerName::try_from("localhost").unwrap();
        self.connector(versions, alpn).connect(name, stream).await
    }

    /// The certificate that a new connection is shown.
    async fn shown(&self, address: SocketAddr) -> Vec<u8> {
        let stream = self.connect(address, &BOTH, &["http/1.1"]).await.unwrap();
        stream.get_ref().1.peer_certificates().unwrap()[0].to_vec()
    }
}

const BOTH: [&SupportedProtocolVersion; 2] = [&version::TLS13, &version::TLS12];

fn pem_bytes(pem: &str) -> Vec<u8> {
    use tokio_rustls::rustls::pki_types::{CertificateDer, pem::PemObject};
    CertificateDer::from_pem_slice(pem.as_bytes()).unwrap().to_vec()
}

fn start(place: &Place, options: &[String]) -> (Serving, SocketAddr) {
    place.run(&["migrate"]).done();
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    let serving = place.serve(&options);
    let address = serving.base.strip_prefix("https://").expect("it speaks TLS").parse().unwrap();
    (serving, address)
}

async fn ask(mut stream: impl AsyncReadExt + AsyncWriteExt + Unpin, request: &str) -> String {
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    // A peer that closes without a farewell is no matter here.
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8(answer).unwrap()
}

#[tokio::test]
async fn clients_speak_tls_1_3_and_1_2_and_http_1_1_inside() {
    let place = Place::new();
    let authority = Authority::new(&place);
    authority.renew();
    let (serving, address) = start(&place, &authority.options());
    for (offered, spoken) in [
        (&[&version::TLS13] as &[_], ProtocolVersion::TLSv1_3),
        (&[&version::TLS12], ProtocolVersion::TLSv1_2),
        (&BOTH, ProtocolVersion::TLSv1_3),
    ] {
        let stream = authority.connect(address, offered, &["h2", "http/1.1"]).await.unwrap();
        assert_eq!(stream.get_ref().1.protocol_version(), Some(spoken));
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(b"http/1.1" as &[u8]));
        let answer = ask(stream, HEALTH).await;
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        assert!(answer.ends_with("ok"), "{answer}");
        assert!(answer.contains("\r\nstrict-transport-security: max-age=31536000\r\n"), "{answer}");
    }
    let without = authority.connect(address, &BOTH, &[]).await.unwrap();
    assert!(ask(without, HEALTH).await.ends_with("ok"));
    assert!(authority.connect(address, &BOTH, &["h2"]).await.is_err(), "nothing is in common");
    serving.stop();
}

#[tokio::test]
async fn plain_http_on_the_tls_port_is_told_to_speak_tls() {
    let place = Place::new();
    let authority = Authority::new(&place);
    authority.renew();
    let (serving, address) = start(&place, &authority.options());
    let answer = ask(TcpStream::connect(address).await.unwrap(), HEALTH).await;
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    assert!(answer.contains("https://"), "{answer}");
    let nonsense = ask(TcpStream::connect(address).await.unwrap(), "\0\0\0\0\0").await;
    assert!(!nonsense.contains("HTTP/1.1 200"), "{nonsense}");
    let stream = authority.connect(address, &BOTH, &[]).await.unwrap();
    assert!(ask(stream, HEALTH).await.ends_with("ok"), "others are served on");
    serving.stop();
}

#[tokio::test]
async fn a_new_certificate_is_taken_and_a_broken_one_is_not() {
    let place = Place::new();
    let authority = Authority::new(&place);
    let first = authority.renew();
    let (serving, address) = start(&place, &authority.options());
    assert_eq!(authority.shown(address).await, first);
    let mut long_lived = authority.connect(address, &BOTH, &[]).await.unwrap();

    let (other, _) = authority.issue();
    let (_, key) = authority.issue();
    for (certificate, key) in [
        ("not PEM", key.as_str()),
        ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", &key),
        (&other, &key),
        (&other, ""),
    ] {
        authority.write(certificate, key);
        serving.signal("HUP");
        serving.says("the one before stays in force");
        assert_eq!(authority.shown(address).await, first);
    }
    std::fs::remove_file(&authority.key).unwrap();
    serving.signal("HUP");
    serving.says("the one before stays in force");

    let second = authority.renew();
    serving.signal("HUP");
    serving.says("the certificate was read again");
    assert_eq!(authority.shown(address).await, second);

    // Without a signal too, somewhat later.
    let third = authority.renew();
    let begun = Instant::now();
    while authority.shown(address).await != third {
        assert!(begun.elapsed() < PATIENCE, "the new certificate is not taken");
        tokio::task::yield_now().await;
    }
    long_lived.write_all(HEALTH.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    long_lived.read_to_end(&mut answer).await.unwrap();
    assert!(answer.ends_with(b"ok"), "connections under way go on");
    serving.stop();
}

#[test]
fn a_certificate_that_cannot_be_used_is_named_at_the_start() {
    let place = Place::new();
    let authority = Authority::new(&place);
    let (certificate, key) = authority.issue();
    let (other, _) = authority.issue();
    place.run(&["migrate"]).done();
    let serve = |options: &[String]| -> Ended {
        let mut all = vec!["serve", "--listen", "127.0.0.1:0"];
        all.extend(options.iter().map(String::as_str));
        place.run(&all)
    };
    for (certificate, key, said) in [
        ("nothing", key.as_str(), "cert.pem: holds no certificate"),
        (&certificate, "nothing", "key.pem: holds no private key"),
        (&key, &key, "cert.pem: holds no certificate"),
        (&certificate, &certificate, "key.pem: holds no private key"),
        (&other, &key, "does not belong"),
    ] {
        authority.write(certificate, key);
        let text = serve(&authority.options()).refused(1);
        assert!(text.contains(said), "{text}");
    }
    authority.write(&certificate, &key);
    std::fs::remove_file(&authority.certificate).unwrap();
    let text = serve(&authority.options()).refused(1);
    assert!(text.contains("cert.pem") && text.contains("No such file"), "{text}");
    let text = serve(&authority.options()[..2]).refused(2);
    assert!(text.contains("tls_key"), "{text}");
    let text = serve(&authority.options()[2..]).refused(2);
    assert!(text.contains("tls_cert"), "{text}");
}

#[tokio::test]
async fn tls_may_listen_in_the_open_and_plain_http_may_not() {
    let place = Place::new();
    let authority = Authority::new(&place);
    authority.renew();
    let text = place.run(&["serve", "--listen", "0.0.0.0:0"]).refused(2);
    assert!(text.contains("--tls-cert"), "{text}");
    assert!(place.run(&["migrate"]).code == Some(0));
    let mut command = place.command(&["serve", "--listen", "0.0.0.0:0"]);
    // Settings come from the environment as well.
    command.env("TOKEN_LEDGER_TLS_CERT", &authority.certificate);
    command.env("TOKEN_LEDGER_TLS_KEY", &authority.key);
    let serving = Serving::start(command);
    assert!(serving.base.starts_with("https://0.0.0.0:"), "{}", serving.base);
    serving.stop();
}

#[tokio::test]
async fn a_client_that_does_not_finish_its_handshake_does_not_hold_up_the_end() {
    let place = Place::new();
    let authority = Authority::new(&place);
    authority.renew();
    let (serving, address) = start(&place, &authority.options());
    let silent = TcpStream::connect(address).await.unwrap();
    let stream = authority.connect(address, &BOTH, &[]).await.unwrap();
    assert!(ask(stream, HEALTH).await.ends_with("ok"));
    let begun = Instant::now();
    serving.stop();
    assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
    drop(silent);
}
