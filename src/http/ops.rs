//! What whoever runs the service asks: does it live, can it work, how is it doing.

use super::{RequestInfo, Service};
use crate::plural::counted;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use token_ledger_domain::Timestamp;
use token_ledger_event_store::{MAX_CLOCK_LAG_SECONDS, StoreError};
use token_ledger_projections::attempts::AttemptKind;
use token_ledger_projections::tree::TREE_NAME;
use utoipa::ToSchema;

/// A projection may be this far behind the log, in seconds, before the service is not ready.
const MAX_LAG_SECONDS: i64 = 10;
/// The machine's clock may be this far off the database's, in microseconds: it is set right, but
/// whoever runs the machine should know.
const MAX_CLOCK_OFFSET_MICROS: u64 = 2_000_000;
/// How long the database may take to answer whoever asks whether the service can do its work, and
/// how it is doing.
const DATABASE_TIMEOUT: Duration = Duration::from_secs(2);
/// How often durations that nobody has asked for are summed up, so that they take no memory.
const UPKEEP: Duration = Duration::from_secs(5);
/// Upper bounds of the buckets of durations, in seconds.
const BUCKETS: [f64; 12] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 30.0];

/// Whether the service can do its work.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Readiness {
    /// Whether it can.
    ready: bool,
    /// Why not.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    reasons: Vec<String>,
    /// Where to look in the log; where it can't.
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<String>,
}

/// The process lives.
#[utoipa::path(
    get,
    path = "/healthz",
    operation_id = "healthz",
    tag = "operations",
    security(()),
    responses((status = 200, description = "`ok`", body = String))
)]
pub(super) async fn healthz() -> &'static str {
    "ok"
}

/// Whether the service can do its work.
#[utoipa::path(
    get,
    path = "/readyz",
    operation_id = "readyz",
    tag = "operations",
    security(()),
    responses(
        (status = 200, description = "It can", body = Readiness),
        (status = 503, description = "It can't, and why", body = Readiness),
    )
)]
pub(super) async fn readyz(
    State(service): State<Arc<Service>>,
    Extension(info): Extension<RequestInfo>,
) -> Response {
    let reasons = reasons(&service).await;
    let ready = reasons.is_empty();
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let request_id = (!ready).then_some(info.request_id);
    (status, Json(Readiness { ready, reasons, request_id })).into_response()
}

/// Why the service can't do its work; the log knows the details.
async fn reasons(service: &Service) -> Vec<String> {
    let mut reasons = Vec::new();
    if *service.stopping.borrow() {
        reasons.push("the service is stopping".to_owned());
    } else if service.app.has_lost_job() {
        reasons.push("a job has ended that goes on for ever; start the service again".to_owned());
    }
    let probed = in_time(service.app.read.probe()).await;
    let answers = probed.is_ok();
    if let Err(error) = probed {
        tracing::warn!(%error, "the database can't be written");
        reasons.push("the database can't be written".to_owned());
    }
    if service.app.store().has_failed_lately() {
        reasons.push("the last command failed; the log says why".to_owned());
    }
    let offset = service.app.clock_offset_micros().unwrap_or(0);
    if offset.unsigned_abs() > MAX_CLOCK_OFFSET_MICROS {
        let seconds = (offset.unsigned_abs() + 500_000) / 1_000_000;
        reasons.push(format!("the machine's clock is {seconds} s off the database's"));
    }
    if !service.app.index.freshness().is_fresh() {
        reasons.push("what other processes did is not known".to_owned());
    }
    for runner in service.app.behind() {
        let (name, stopped) = (runner.name(), runner.stopped().len());
        if stopped > 0 {
            let companies = counted(stopped, "company");
            reasons.push(format!("the projection {name} stands still for {companies}"));
        }
    }
    let stalled = service.app.stalled_operations().len();
    if stalled > 0 {
        let operations = counted(stalled, "operation");
        let stand = if stalled == 1 { "stands" } else { "stand" };
        reasons.push(format!("{operations} can't be carried out and {stand} still"));
    }
    if service.app.evidence.disabled().is_some() {
        reasons.push("checkpoints can't be signed".to_owned());
    }
    let unsigned = service.app.evidence.refused().len();
    if unsigned > 0 {
        let companies = counted(unsigned, "company");
        reasons.push(format!(
            "no checkpoint is signed for {companies}; the log says why and what to do"
        ));
    }
    if let Some(seconds) = service.app.lost_seconds() {
        reasons.push(format!(
            "the clock has gone back by {seconds} s; if it was wrong before, start again"
        ));
    }
    if !answers {
        return reasons;
    }
    match in_time(lags(service)).await {
        Ok(Lags { clock, projections }) => {
            if clock > MAX_CLOCK_LAG_SECONDS && service.app.lost_seconds().is_none() {
                reasons.push(format!("the clock is {clock} s behind the ledger"));
            }
            for (name, seconds) in projections {
                if seconds > MAX_LAG_SECONDS {
                    let trail = if name == TREE_NAME { "the tree" } else { "the audit trail" };
                    reasons.push(format!("{trail} is {seconds} s behind the ledger"));
                }
            }
        }
        Err(error) => {
            tracing::warn!(%error, "the ledger can't be read");
            reasons.push("the ledger can't be read".to_owned());
        }
    }
    reasons
}

/// What the database answers in time, or an error.
async fn in_time<T>(answer: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
    tokio::time::timeout(DATABASE_TIMEOUT, answer)
        .await
        .unwrap_or_else(|_| Err(StoreError::Unavailable("it doesn't answer in time".to_owned())))
}

/// How far behind the ledgers things are, in seconds.
struct Lags {
    /// The clock, behind the last event: too far, and nothing is recorded.
    clock: i64,
    /// Each projection behind the log: the age of the oldest event that it has not taken in.
    projections: BTreeMap<&'static str, i64>,
}

async fn lags(service: &Service) -> Result<Lags, StoreError> {
    let app = &service.app;
    let since = |time: Timestamp, now: Timestamp| now.as_seconds() - time.as_seconds();
    let now = app.now();
    let heads = app.store().heads().await?;
    let clock = heads.iter().map(|head| -since(head.recorded_at, now)).fold(0, i64::max);
    let mut projections = BTreeMap::new();
    for runner in app.behind() {
        if let Some(oldest) = runner.behind_since().await? {
            projections.insert(runner.name(), since(oldest, now));
        }
    }
    Ok(Lags { clock, projections })
}

/// Metrics for Prometheus.
#[utoipa::path(
    get,
    path = "/metrics",
    operation_id = "metrics",
    tag = "operations",
    security(()),
    responses((status = 200, description = "The metrics, in Prometheus's text format",
        body = String, content_type = "text/plain"))
)]
pub(super) async fn metrics(State(service): State<Arc<Service>>) -> Response {
    measure(&service).await;
    let text = recorder().map(PrometheusHandle::render).unwrap_or_default();
    let content_type = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    ([(header::CONTENT_TYPE, content_type)], text).into_response()
}

/// Sets what is measured when it is asked for.
#[expect(clippy::cast_precision_loss, reason = "counts that lose precision are beyond any ledger")]
async fn measure(service: &Service) {
    let app = &service.app;
    metrics::gauge!("token_ledger_verification_index_secrets").set(app.index.len() as f64);
    let (heads, behind, projections) = tokio::join!(
        in_time(app.store().heads()),
        tokio::time::timeout(DATABASE_TIMEOUT, app.tree_behind()),
        tokio::time::timeout(DATABASE_TIMEOUT, app.projections()),
    );
    let answers = heads.is_ok() && matches!((&behind, &projections), (Ok(Ok(_)), Ok(Ok(_))));
    metrics::gauge!("token_ledger_database_answers").set(f64::from(u8::from(answers)));
    let fails = app.store().has_failed_lately();
    metrics::gauge!("token_ledger_commands_fail").set(f64::from(u8::from(fails)));
    let mut unsigned = app.evidence.refused().len();
    if let Ok(heads) = heads {
        let events: u64 = heads.iter().map(|head| head.position).sum();
        metrics::gauge!("token_ledger_companies").set(heads.len() as f64);
        metrics::gauge!("token_ledger_events").set(events as f64);
        if app.evidence.disabled().is_some() {
            unsigned = heads.len();
        }
    }
    metrics::gauge!("token_ledger_operations_stalled").set(app.stalled_operations().len() as f64);
    metrics::gauge!("token_ledger_log_unsigned_companies").set(unsigned as f64);
    if let Ok(Ok(behind)) = behind {
        metrics::gauge!("token_ledger_projection_behind_events", "projection" => TREE_NAME)
            .set(behind as f64);
    }
    let tree = app.behind().into_iter().find(|runner| runner.name() == TREE_NAME);
    let stopped = tree.map_or(0, |tree| tree.stopped().len()) as f64;
    metrics::gauge!("token_ledger_projection_stopped_companies", "projection" => TREE_NAME)
        .set(stopped);
    if let Ok(Ok(projections)) = projections {
        for projection in projections {
            let stopped = projection.companies_stopped.len() as f64;
            let name = projection.name;
            metrics::gauge!("token_ledger_projection_behind_events", "projection" => name)
                .set(projection.behind as f64);
            metrics::gauge!("token_ledger_projection_stopped_companies", "projection" => name)
                .set(stopped);
        }
    }
}

/// Begins to count, once per process. What is counted before goes nowhere.
pub(super) fn count() {
    recorder();
}

fn recorder() -> Option<&'static PrometheusHandle> {
    static RECORDER: OnceLock<Option<PrometheusHandle>> = OnceLock::new();
    RECORDER.get_or_init(install).as_ref()
}

fn install() -> Option<PrometheusHandle> {
    let durations = Matcher::Suffix("_seconds".to_owned());
    let installed = PrometheusBuilder::new()
        .set_buckets_for_metric(durations, &BUCKETS)
        .and_then(PrometheusBuilder::install_recorder)
        .inspect_err(|error| tracing::error!(%error, "there will be no metrics"));
    let handle = installed.ok()?;
    describe();
    begin();
    let kept = handle.clone();
    std::thread::spawn(move || {
        loop {
            std::thread::sleep(UPKEEP);
            kept.run_upkeep();
        }
    });
    Some(handle)
}

/// Begins every count of a known name at 0, so that the first of its kind is seen as a rise.
fn begin() {
    for name in [
        "token_ledger_connections_refused_total",
        "token_ledger_passwords_hashed_total",
        "token_ledger_request_heads_refused_total",
    ] {
        metrics::counter!(name).absolute(0);
    }
    for kind in AttemptKind::ALL.map(AttemptKind::as_str) {
        metrics::counter!("token_ledger_attempts_total", "kind" => kind).absolute(0);
        metrics::counter!("token_ledger_attempts_dropped_total", "kind" => kind).absolute(0);
    }
    for kind in ["key", "client", "sign_in"] {
        for outcome in ["counted", "throttled"] {
            metrics::counter!("token_ledger_failed_attempts_total", "kind" => kind, "outcome" => outcome)
                .absolute(0);
        }
    }
    for reason in ["plain_http", "failed", "timeout"] {
        metrics::counter!("token_ledger_tls_handshakes_failed_total", "reason" => reason)
            .absolute(0);
    }
    for outcome in ["taken", "refused"] {
        metrics::counter!("token_ledger_tls_reloads_total", "outcome" => outcome).absolute(0);
    }
}

fn describe() {
    metrics::describe_counter!(
        "token_ledger_verifications_total",
        "Answers to verification and introspection, by outcome"
    );
    metrics::describe_histogram!("http_request_duration_seconds", "Requests, by route and status");
    metrics::describe_gauge!(
        "token_ledger_verification_index_secrets",
        "Secrets of tokens held in memory"
    );
    metrics::describe_gauge!(
        "token_ledger_database_answers",
        "Whether the database answers in time; where it doesn't, what is read from there is as it was"
    );
    metrics::describe_gauge!(
        "token_ledger_commands_fail",
        "Whether the last command failed because of the database, less than ten seconds ago"
    );
    metrics::describe_counter!(
        "token_ledger_failed_attempts_total",
        "Bad credentials, by kind, and whether there were too many"
    );
    metrics::describe_counter!(
        "token_ledger_connections_refused_total",
        "Connections closed because their address had too many"
    );
    metrics::describe_counter!(
        "token_ledger_request_heads_refused_total",
        "Requests whose head could not be read"
    );
    metrics::describe_counter!(
        "token_ledger_tls_handshakes_failed_total",
        "TLS handshakes that failed"
    );
    metrics::describe_counter!(
        "token_ledger_attempts_total",
        "Refusals, sign-ins, exports and links to set passwords that were noted, by kind"
    );
    metrics::describe_counter!(
        "token_ledger_attempts_dropped_total",
        "Of these, those that were dropped before they were written, by kind"
    );
    metrics::describe_counter!(
        "token_ledger_passwords_hashed_total",
        "Passwords that were hashed or compared"
    );
    metrics::describe_counter!(
        "token_ledger_tls_reloads_total",
        "New certificates, taken or refused"
    );
    metrics::describe_gauge!(
        "token_ledger_operations_stalled",
        "Operations that can't be carried out and stand still"
    );
    metrics::describe_gauge!("token_ledger_companies", "Companies that have a ledger");
    metrics::describe_gauge!("token_ledger_events", "Events in all ledgers");
    metrics::describe_gauge!(
        "token_ledger_log_unsigned_companies",
        "Companies for which no checkpoint is signed at the moment"
    );
    metrics::describe_gauge!(
        "token_ledger_projection_behind_events",
        "Events not yet taken in, by projection"
    );
    metrics::describe_gauge!(
        "token_ledger_projection_stopped_companies",
        "Companies for which a projection stands still"
    );
}
