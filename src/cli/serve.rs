//! `token-ledger serve`

use super::connections::Limits;
use super::options::{KeyPrefix, Logs, Offer, is_false};
use super::server::Server;
use super::signals::Signals;
use super::tls::{Tls, TlsFiles};
use super::{Failure, open_within, tell};
use crate::app::App;
use crate::app::jobs::Intervals;
use crate::config::{LogFormat, PostgresUrl, Settings, network};
use crate::http::ForwardedHeader;
use clap::Args;
use ipnet::IpNet;
use serde::Serialize;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use token_ledger_domain::Quoted;
use token_ledger_event_store::sqlite::Access;
use tokio::net::TcpListener;

/// Settings of the service. Each can also be set in the environment, such as `--public-url` by
/// `TOKEN_LEDGER_PUBLIC_URL`, and in the file that `--config` names, there as `public_url`.
#[allow(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
#[derive(Debug, Args, Serialize)]
pub(super) struct Serve {
    /// The address to listen on
    #[arg(long, value_name = "ADDR")]
    #[serde(skip_serializing_if = "Option::is_none")]
    listen: Option<String>,
    /// PostgreSQL: where notifications are listened to, if not by that URL: the same database
    #[arg(long, value_name = "URL")]
    #[serde(skip_serializing_if = "Option::is_none")]
    database_listen_url: Option<PostgresUrl>,
    /// PostgreSQL: connections, besides a few that append and listen
    #[arg(long, value_name = "NUMBER")]
    #[serde(skip_serializing_if = "Option::is_none")]
    database_connections: Option<u32>,
    /// PostgreSQL: how old knowledge of what other processes did may be for an answer at
    /// verification, in milliseconds
    #[arg(long, value_name = "MILLISECONDS")]
    #[serde(skip_serializing_if = "Option::is_none")]
    freshness_bound_milliseconds: Option<u64>,
    /// The URL that the service is reached at: issuer, and what links begin with
    #[arg(long, value_name = "URL")]
    #[serde(skip_serializing_if = "Option::is_none")]
    public_url: Option<String>,
    /// The certificate chain for TLS, PEM
    #[arg(long, value_name = "FILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    tls_cert: Option<PathBuf>,
    /// The certificate's private key, PEM
    #[arg(long, value_name = "FILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    tls_key: Option<PathBuf>,
    /// Proxies whose forwarded addresses count, such as 10.0.0.0/8
    #[arg(long, value_name = "CIDR", num_args = 1.., value_delimiter = ',',
        value_parser = network)]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    trusted_proxies: Vec<IpNet>,
    /// The header in which the trusted proxies forward addresses
    #[arg(long, value_enum, value_name = "HEADER")]
    #[serde(skip_serializing_if = "Option::is_none")]
    forwarded_header: Option<ForwardedHeader>,
    /// Connections at a time
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    max_connections: Option<usize>,
    /// Connections at a time from one address that is no trusted proxy's
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    max_connections_per_address: Option<usize>,
    /// Bad API keys, and bad secrets of OAuth clients, that one network may send at once before it
    /// is told to wait
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    bad_credentials_per_network: Option<u32>,
    /// How the log is written
    #[arg(long, value_enum)]
    #[serde(skip_serializing_if = "Option::is_none")]
    log_format: Option<LogFormat>,
    /// Serve plain HTTP beyond this machine
    #[arg(long)]
    #[serde(skip_serializing_if = "is_false")]
    insecure_http: bool,
    /// Don't bring the schema up to date
    #[arg(long)]
    #[serde(skip_serializing_if = "is_false")]
    no_migrate: bool,
    /// Take no credentials in the query, also where the published API has them there
    #[arg(long)]
    #[serde(skip_serializing_if = "is_false")]
    no_query_credentials: bool,
    /// What tokens' secrets begin with
    #[arg(long, value_name = "PREFIX")]
    #[serde(skip_serializing_if = "Option::is_none")]
    token_prefix: Option<String>,
    #[command(flatten)]
    #[serde(flatten)]
    key_prefix: KeyPrefix,
    /// What OAuth clients' secrets begin with
    #[arg(long, value_name = "PREFIX")]
    #[serde(skip_serializing_if = "Option::is_none")]
    client_prefix: Option<String>,
    #[command(flatten)]
    #[serde(flatten)]
    offer: Offer,
    /// How often terms that have ended are looked for, in seconds
    #[arg(long, value_name = "SECONDS")]
    #[serde(skip_serializing_if = "Option::is_none")]
    expiry_interval_seconds: Option<u64>,
    /// How often the times of last use are written down, in seconds
    #[arg(long, value_name = "SECONDS")]
    #[serde(skip_serializing_if = "Option::is_none")]
    use_flush_interval_seconds: Option<u64>,
    #[command(flatten)]
    #[serde(flatten)]
    logs: Logs,
    /// How long after an event a checkpoint is signed that covers it, at most, in milliseconds
    #[arg(long, value_name = "MS")]
    #[serde(skip_serializing_if = "Option::is_none")]
    checkpoint_delay_ms: Option<u64>,
    /// Let anybody read checkpoints, keys and hashes of the logs; never their entries
    #[arg(long)]
    #[serde(skip_serializing_if = "is_false")]
    public_log: bool,
}

pub(super) async fn run(settings: &Settings) -> Result<(), Failure> {
    let mut signals = Signals::listen()?;
    let addresses = addresses(&settings.listen).await?;
    check_exposure(settings, &addresses)?;
    let tls = tls(settings)?;
    // It may wait for its database, and loads what it verifies by: signals are heard meanwhile.
    let opening = tokio::spawn(opened(settings.clone()));
    let opening = async { opening.await.map_err(|error| Failure::Failed(error.to_string()))? };
    let Some(app) = signals.stop.unless_before(opening).await? else { return Ok(()) };
    let server = Server {
        app,
        listener: listen(&addresses).await?,
        tls,
        proxies: settings.proxies(),
        public_url: settings.checked_public_url()?,
        limits: limits(settings),
        no_query_credentials: settings.no_query_credentials,
        intervals: Intervals {
            expiry: settings.expiry_interval(),
            use_flush: settings.use_flush_interval(),
        },
    };
    server
        .run(signals, |url| {
            match settings.log_format {
                LogFormat::Text => tell(&format!("listening on {url}")),
                LogFormat::Json => tracing::info!("listening on {url}"),
            }
            Ok(())
        })
        .await
}

async fn opened(settings: Settings) -> Result<Arc<App>, Failure> {
    let access = if settings.no_migrate { Access::WriteUnmigrated } else { Access::Write };
    let app = open_within(&settings, access, !settings.no_migrate, None).await?;
    if app.migrated() > 0 {
        tracing::info!(count = app.migrated(), "migrations were applied");
    }
    if app.store().heads().await.is_ok_and(|heads| heads.is_empty()) {
        let database = settings.database_url.to_string();
        tracing::warn!(database, "the ledger is empty; `token-ledger setup` makes a company");
    }
    match app.survey.schema_differences().await {
        Ok(differences) => {
            for difference in differences {
                tracing::warn!(
                    difference,
                    "the database's schema is not as it was made; `token-ledger verify` says what \
                     became of the events"
                );
            }
        }
        Err(error) => tracing::warn!(%error, "the database's schema can't be read"),
    }
    Ok(app)
}

/// The certificate, where one is set.
pub(super) fn tls(settings: &Settings) -> Result<Option<Arc<Tls>>, Failure> {
    let Some((certificate, key)) = settings.tls_files() else { return Ok(None) };
    let files = TlsFiles { certificate: certificate.clone(), key: key.clone() };
    Tls::load(files).map(Some)
}

/// How many connections there may be.
pub(super) const fn limits(settings: &Settings) -> Limits {
    Limits { all: settings.max_connections, per_address: settings.max_connections_per_address }
}

/// The addresses that a text such as `127.0.0.1:8080` or `localhost:8080` names.
pub(super) async fn addresses(listen: &str) -> Result<Vec<SocketAddr>, Failure> {
    match tokio::net::lookup_host(listen).await {
        Ok(addresses) => Ok(addresses.collect()),
        Err(error) => Err(Failure::Usage(format!(
            "listen: {} is no address such as 127.0.0.1:8080 ({error})",
            Quoted(listen)
        ))),
    }
}

/// Refuses to send secrets in clear over a network.
pub(super) fn check_exposure(settings: &Settings, addresses: &[SocketAddr]) -> Result<(), Failure> {
    let local = addresses.iter().all(|address| address.ip().to_canonical().is_loopback());
    let shielded = settings.tls_files().is_some() || !settings.trusted_proxies.is_empty();
    if local || shielded || settings.insecure_http {
        return Ok(());
    }
    Err(Failure::Usage(format!(
        "listening on {} would send secrets over the network in clear; give it a certificate by \
         --tls-cert and --tls-key, put a proxy with TLS before it and name it in \
         --trusted-proxies, listen on 127.0.0.1, or say --insecure-http",
        settings.listen
    )))
}

pub(super) async fn listen(addresses: &[SocketAddr]) -> Result<TcpListener, Failure> {
    TcpListener::bind(addresses).await.map_err(|error| {
        let texts: Vec<String> = addresses.iter().map(ToString::to_string).collect();
        let what_to_do = match error.kind() {
            ErrorKind::AddrInUse => "; end what listens there, or name another one by --listen",
            _ => "",
        };
        Failure::Failed(format!("can't listen on {}: {error}{what_to_do}", texts.join(", ")))
    })
}
