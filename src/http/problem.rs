//! What goes wrong, as `application/problem+json` (RFC 9457).

mod kind;

pub use kind::Kind;

use crate::app::AppError;
use crate::app::error::Invalid;
use crate::app::streams::{NoPlace, PER_COMPANY, PER_CREDENTIAL};
use crate::app::throttle::Throttled;
use crate::app::view::scope_list;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use std::borrow::Cow;
use token_ledger_domain::company::CompanyRefusal;
use token_ledger_domain::key::KeyRefusal;
use token_ledger_domain::policy::PolicyViolation;
use token_ledger_domain::secret::without_secrets;
use token_ledger_domain::token::TokenRefusal;
use token_ledger_event_store::StoreError;
use utoipa::ToSchema;

/// When to try again where the service can't do it right now, in seconds.
pub(super) const RETRY_AFTER: u64 = 1;

/// One field or parameter that is not acceptable.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct FieldProblem {
    /// The field or parameter.
    pub field: String,
    /// What is wrong with it and what would be right.
    pub detail: String,
}

/// The rule that a request went against.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct RuleProblem {
    /// `max_validity_seconds`, `min_validity_seconds`, `max_grace_seconds` or `allowed_scopes`.
    pub name: &'static str,
    /// Whose rule it is: `company` or `service`.
    pub set_by: &'static str,
    /// The bound in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<i64>,
    /// The scopes that are not allowed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused: Option<Vec<String>>,
}

impl From<&PolicyViolation> for RuleProblem {
    fn from(violation: &PolicyViolation) -> Self {
        let refused = match violation {
            PolicyViolation::AllowedScopes { scopes } => Some(scope_list(scopes)),
            _ => None,
        };
        Self {
            name: violation.rule(),
            set_by: if violation.is_companys_own() { "company" } else { "service" },
            limit: violation.limit(),
            refused,
        }
    }
}

/// A problem (RFC 9457).
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ProblemBody {
    /// A URI reference of the kind, which resolves to a page that explains it.
    #[serde(rename = "type")]
    pub kind: String,
    /// The kind in a few words.
    pub title: String,
    /// The status.
    pub status: u16,
    /// What was wrong and what to do.
    pub detail: String,
    /// What was wrong with each field.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub errors: Option<Vec<FieldProblem>>,
    /// The rule that a policy violation went against.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<RuleProblem>,
    /// Where to look in the log; with statuses of 500 and above.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
}

/// A problem on its way to the caller.
#[derive(Clone, Debug)]
pub struct Problem {
    /// The kind.
    pub kind: Kind,
    /// What was wrong and what to do.
    pub detail: Cow<'static, str>,
    /// What was wrong with each field.
    pub errors: Vec<Invalid>,
    /// The rule that it went against.
    pub rule: Option<RuleProblem>,
    /// A header that goes with it.
    pub header: Option<(HeaderName, HeaderValue)>,
}

/// The challenge to a key that is not good, or not any more (RFC 6750 §3.1).
pub(super) const BAD_KEY: &str = "Bearer realm=\"token-ledger\", error=\"invalid_token\"";

/// The result of a handler.
pub type Answer<T> = Result<T, Problem>;

impl Problem {
    /// A problem of this kind.
    pub fn new(kind: Kind, detail: impl Into<Cow<'static, str>>) -> Self {
        Self { kind, detail: detail.into(), errors: Vec::new(), rule: None, header: None }
    }

    /// A request that failed before it was known whether it is done.
    pub fn in_doubt() -> Self {
        Self::new(
            Kind::Unavailable,
            "The ledger failed before it was known whether this is done: it may be. Look, or send \
             the request again with its Idempotency-Key, which does nothing twice.",
        )
    }

    /// One field that is not acceptable.
    pub fn invalid(field: impl Into<String>, detail: impl Into<String>) -> Self {
        vec![Invalid::new(field, detail)].into()
    }

    /// No credential, or none that is good (RFC 6750 §3).
    pub fn unauthorized(challenge: &'static str, detail: &'static str) -> Self {
        let header = Some((header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge)));
        Self { header, ..Self::new(Kind::Unauthorized, detail) }
    }

    /// A good credential without the power (RFC 6750 §3.1).
    pub fn forbidden(challenge: &'static str, detail: &'static str) -> Self {
        let header = Some((header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge)));
        Self { header, ..Self::new(Kind::Forbidden, detail) }
    }
}

impl From<Vec<Invalid>> for Problem {
    fn from(errors: Vec<Invalid>) -> Self {
        let detail: Vec<String> =
            errors.iter().map(|error| format!("{}: {}", error.field, error.detail)).collect();
        Self { errors, ..Self::new(Kind::InvalidInput, detail.join("; ")) }
    }
}

impl From<AppError> for Problem {
    fn from(error: AppError) -> Self {
        let detail = error.to_string();
        let kind = match error {
            AppError::Invalid(errors) => return errors.into(),
            AppError::Failed(error) => return error.into(),
            AppError::Throttled(throttled) => return throttled.into(),
            AppError::NotFound(_) | AppError::NoSecret | AppError::LinkSpent => Kind::NotFound,
            AppError::Token(refusal) => return of_token(refusal, detail),
            AppError::Key(refusal) => return of_key(&refusal, detail),
            AppError::Company(refusal) => return of_company(&refusal, detail),
            AppError::NotVouchedFor => Kind::Forbidden,
            AppError::ClientDeleted => Kind::ClientDeleted,
            AppError::NameTaken(_) => Kind::AlreadyExists,
            AppError::VersionMismatch { .. } => Kind::VersionMismatch,
            AppError::Contended | AppError::Rebuilding(_) => Kind::Contended,
            AppError::KeyReused => Kind::IdempotencyKeyReused,
            AppError::MemberElsewhere => Kind::AboveOwnPower,
            AppError::BadCredentials => Kind::Unauthorized,
            AppError::Lapsed => {
                let challenge = HeaderValue::from_static(BAD_KEY);
                let header = Some((header::WWW_AUTHENTICATE, challenge));
                return Self { header, ..Self::new(Kind::Unauthorized, detail) };
            }
            AppError::AuditBehind
            | AppError::Busy
            | AppError::CheckpointLate
            | AppError::Unsigned
            | AppError::NotAsSigned => Kind::Unavailable,
        };
        Self::new(kind, detail)
    }
}

impl From<NoPlace> for Problem {
    fn from(refusal: NoPlace) -> Self {
        let too_many = |whose: &str, most| Self {
            header: Some((header::RETRY_AFTER, RETRY_AFTER.into())),
            ..Self::new(
                Kind::TooManyStreams,
                format!("This {whose} has {most} streams and exports under way."),
            )
        };
        match refusal {
            NoPlace::OfCredential => too_many("credential", PER_CREDENTIAL),
            NoPlace::OfCompany => too_many("company", PER_COMPANY),
            NoPlace::AtAll => Self::new(
                Kind::Unavailable,
                "The service has as many streams and exports under way as it can; try again.",
            ),
        }
    }
}

impl From<Throttled> for Problem {
    fn from(throttled: Throttled) -> Self {
        let wait = HeaderValue::from(throttled.retry_after.as_secs());
        let detail = format!(
            "Too many attempts with bad credentials were made from this network or for this \
             account. Try again in {} s. Good credentials are not held up.",
            throttled.retry_after.as_secs()
        );
        let header = Some((header::RETRY_AFTER, wait));
        Self { header, ..Self::new(Kind::TooManyRequests, detail) }
    }
}

fn of_token(refusal: TokenRefusal, detail: String) -> Problem {
    match refusal {
        TokenRefusal::NotFound => Problem::new(Kind::NotFound, detail),
        TokenRefusal::Exists => Problem::new(Kind::AlreadyExists, detail),
        TokenRefusal::Deleted => Problem::new(Kind::TokenDeleted, detail),
        TokenRefusal::ClientDeleted => Problem::new(Kind::ClientDeleted, detail),
        TokenRefusal::OauthAppDisabled => Problem::new(Kind::OauthAppDisabled, detail),
        TokenRefusal::Policy(violation) => of_policy(&violation, detail),
    }
}

fn of_policy(violation: &PolicyViolation, detail: String) -> Problem {
    Problem {
        errors: vec![Invalid::new(violation.field(), detail.clone())],
        rule: Some(violation.into()),
        ..Problem::new(Kind::PolicyViolation, detail)
    }
}

fn of_key(refusal: &KeyRefusal, detail: String) -> Problem {
    match refusal {
        KeyRefusal::NotFound => Problem::new(Kind::NotFound, detail),
        KeyRefusal::OldSecret => Problem::new(Kind::Forbidden, detail),
        KeyRefusal::Exists => Problem::new(Kind::AlreadyExists, detail),
        KeyRefusal::Deleted => Problem::new(Kind::KeyDeleted, detail),
        KeyRefusal::NoScopes | KeyRefusal::PlatformOnly => Problem::invalid("scopes", detail),
        KeyRefusal::AboveOwnPower { .. } => Problem::new(Kind::AboveOwnPower, detail),
        KeyRefusal::Validity { .. } => Problem::invalid("expires_in_seconds", detail),
        KeyRefusal::Grace { .. } => Problem::invalid("grace_period_seconds", detail),
    }
}

fn of_company(refusal: &CompanyRefusal, detail: String) -> Problem {
    match refusal {
        CompanyRefusal::NotFound
        | CompanyRefusal::MemberNotFound
        | CompanyRefusal::ClientNotFound => Problem::new(Kind::NotFound, detail),
        CompanyRefusal::Exists | CompanyRefusal::MemberExists | CompanyRefusal::ClientExists => {
            Problem::new(Kind::AlreadyExists, detail)
        }
        CompanyRefusal::LastSuperAdmin { .. } => Problem::new(Kind::LastSuperAdmin, detail),
        CompanyRefusal::AboveOwnPower { .. } => Problem::new(Kind::AboveOwnPower, detail),
        CompanyRefusal::PlatformOnly => Problem::invalid("role", detail),
        CompanyRefusal::PolicyBounds { rule, min, max } => {
            Problem::invalid(*rule, format!("must be {min} to {max} seconds"))
        }
        CompanyRefusal::NoScopesAllowed => {
            Problem::invalid("allowed_scopes", "must name at least one scope, or be null for all")
        }
        CompanyRefusal::Policy(violation) => of_policy(violation, detail),
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        tracing::error!(%error, "a request failed");
        match error {
            StoreError::Unavailable(_)
            | StoreError::InUse(_)
            | StoreError::ClockBehind { .. }
            | StoreError::Closed => Self::new(
                Kind::Unavailable,
                "The ledger can't be used right now; nothing was changed. Try again.",
            ),
            StoreError::InDoubt(_) => Self::in_doubt(),
            StoreError::Incompatible(_)
            | StoreError::Corrupt { .. }
            | StoreError::Unreadable(_)
            | StoreError::Rejected(_) => Self::new(
                Kind::Internal,
                "The service failed; nothing was changed. Name the request_id to the operator.",
            ),
        }
    }
}

impl IntoResponse for Problem {
    /// The request's identifier is filled in by the envelope, which knows it.
    fn into_response(self) -> Response {
        let status = self.kind.status();
        let mut response = status.into_response();
        if let Some((name, value)) = self.header.clone() {
            response.headers_mut().insert(name, value);
        }
        if status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().entry(header::RETRY_AFTER).or_insert(RETRY_AFTER.into());
        }
        response.extensions_mut().insert(self);
        response
    }
}

impl Problem {
    /// The body, with the request's identifier where the fault is ours.
    pub fn body(&self, request_id: &str) -> ProblemBody {
        let status = self.kind.status();
        ProblemBody {
            kind: format!("/problems/{}", self.kind.slug()),
            title: self.kind.title().to_owned(),
            status: status.as_u16(),
            // What was sent may hold a secret that does not belong there.
            detail: without_secrets(&self.detail).into_owned(),
            errors: (!self.errors.is_empty()).then(|| {
                self.errors
                    .iter()
                    .map(|error| FieldProblem {
                        field: without_secrets(&error.field).into_owned(),
                        detail: without_secrets(&error.detail).into_owned(),
                    })
                    .collect()
            }),
            rule: self.rule.clone(),
            request_id: status.is_server_error().then(|| request_id.to_owned()),
        }
    }
}
