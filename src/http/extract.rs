//! Reading requests: bodies, parameters and conditions, with errors that name the field.

use super::problem::{Kind, Problem};
use crate::app::Conditions;
use crate::app::error::Invalid;
use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Path, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};
use std::borrow::Cow;
use token_ledger_domain::Timestamp;
use token_ledger_domain::secret::without_secrets;
use token_ledger_event_store::Idempotency;
use uuid::Uuid;

/// The longest `Idempotency-Key`, in characters.
const MAX_IDEMPOTENCY_KEY: usize = 255;
/// Keys are kept for a day.
const HOLDS_SECRET: &str = "must not hold a secret";

/// A JSON body, with the hash by which a repeat is recognised. An absent body counts as `{}`.
#[derive(Debug)]
pub struct JsonBody<T> {
    /// The value.
    pub value: T,
    /// SHA-256 of the bytes.
    pub hash: [u8; 32],
}

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for JsonBody<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let is_json = is_json(request.headers());
        let bytes = Bytes::from_request(request, state).await.map_err(|rejection| {
            if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
                Problem::new(Kind::BodyTooLarge, "The body may have up to 64 KiB.")
            } else {
                Problem::new(Kind::MalformedBody, "The body could not be read to its end.")
            }
        })?;
        if !bytes.is_empty() && !is_json {
            return Err(Problem::new(
                Kind::UnsupportedMediaType,
                "Send the body as JSON, with `Content-Type: application/json`.",
            ));
        }
        let hash = Sha256::digest(&bytes).into();
        let text: &[u8] = if bytes.is_empty() { b"{}" } else { &bytes };
        let mut deserializer = serde_json::Deserializer::from_slice(text);
        let value = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
            if error.inner().is_data() {
                Problem::invalid(
                    field_of(&error.path().to_string(), &error.inner().to_string()),
                    without_place(&error.inner().to_string()),
                )
            } else {
                Problem::new(
                    Kind::MalformedBody,
                    format!("The body is not JSON: {}.", error.inner()),
                )
            }
        })?;
        deserializer.end().map_err(|error| {
            Problem::new(Kind::MalformedBody, format!("The body is not JSON: {error}."))
        })?;
        Ok(Self { value, hash })
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let Some(value) = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok())
    else {
        return false;
    };
    let essence = value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence == "application/json"
        || (essence.starts_with("application/") && essence.ends_with("+json"))
}

/// The field that an error is about: the path, or what the message puts between backquotes when
/// the path is the whole.
fn field_of(path: &str, message: &str) -> String {
    if path != "." {
        return path.to_owned();
    }
    message.split('`').nth(1).unwrap_or("body").to_owned()
}

/// `serde_json`'s messages end with a place in the text, which tells users little.
fn without_place(message: &str) -> String {
    message.split(" at line ").next().unwrap_or(message).to_owned()
}

/// The query's parameters; repeated ones make lists.
#[derive(Debug)]
pub struct Params<T>(pub T);

impl<T: DeserializeOwned, S: Sync> FromRequestParts<S> for Params<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let query = parts.uri.query().unwrap_or_default();
        let pairs = url::form_urlencoded::parse(query.as_bytes());
        // An empty value would count as none at all, which is not what the caller meant.
        if let Some((name, _)) = pairs.clone().find(|(_, value)| value.is_empty()) {
            return Err(Problem::invalid(name, "must not be empty; leave it out instead"));
        }
        let deserializer = serde_html_form::Deserializer::new(pairs);
        serde_path_to_error::deserialize(deserializer).map(Self).map_err(|error| {
            let message = error.inner().to_string();
            Problem::invalid(field_of(&error.path().to_string(), &message), message)
        })
    }
}

/// An identifier in the path, next to the company's.
#[derive(Clone, Copy, Debug)]
pub struct PathId(pub Uuid);

impl<S: Send + Sync> FromRequestParts<S> for PathId {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Path(path) =
            <Path<Vec<(String, String)>> as FromRequestParts<S>>::from_request_parts(parts, state)
                .await
                .map_err(|_| Problem::invalid("path", "can't be read"))?;
        let Some((name, text)) = path.into_iter().find(|(name, _)| name != "company_id") else {
            return Err(Problem::new(Kind::Internal, "The route names no identifier."));
        };
        text.parse().map(Self).map_err(|_| Problem::invalid(name, "must be a UUID"))
    }
}

/// `If-Match`: the version that the thing must stand at (RFC 9110 §13.1.1).
#[derive(Clone, Copy, Debug, Default)]
pub struct IfMatch(pub Option<u64>);

impl<S: Sync> FromRequestParts<S> for IfMatch {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let Some(value) = parts.headers.get(header::IF_MATCH) else { return Ok(Self(None)) };
        let text = value.to_str().unwrap_or_default().trim();
        if text == "*" {
            return Ok(Self(None));
        }
        let version = text
            .strip_prefix('"')
            .and_then(|text| text.strip_suffix('"'))
            .filter(|digits| digits.len() <= 18 && digits.bytes().all(|b| b.is_ascii_digit()))
            .and_then(|digits| digits.parse().ok());
        version.map(|version| Self(Some(version))).ok_or_else(|| {
            Problem::invalid("If-Match", "must be the ETag of the thing, such as \"3\", or *")
        })
    }
}

/// `Idempotency-Key`, where one is sent.
#[derive(Clone, Debug, Default)]
pub struct IdempotencyKey(Option<(String, String)>);

impl<S: Sync> FromRequestParts<S> for IdempotencyKey {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let Some(value) = parts.headers.get("idempotency-key") else { return Ok(Self(None)) };
        let key = value.to_str().unwrap_or_default().trim();
        let printable = key.bytes().all(|byte| matches!(byte, b' '..=b'~'));
        if key.is_empty() || key.len() > MAX_IDEMPOTENCY_KEY || !printable {
            return Err(Problem::invalid(
                "Idempotency-Key",
                "must have 1 to 255 printable ASCII characters",
            ));
        }
        if matches!(without_secrets(key), Cow::Owned(_)) {
            return Err(Problem::invalid("Idempotency-Key", HOLDS_SECRET));
        }
        let route = format!("{} {}", parts.method, parts.uri.path());
        Ok(Self(Some((key.to_owned(), route))))
    }
}

impl IdempotencyKey {
    /// The key for the ledger, for this credential and this body.
    pub fn of(self, credential: &str, request_hash: [u8; 32]) -> Option<Idempotency> {
        self.0.map(|(key, route)| Idempotency {
            caller: credential.to_owned(),
            route,
            key,
            request_hash,
        })
    }
}

impl IfMatch {
    /// The conditions of a change without an idempotency key.
    pub fn alone(self) -> Conditions {
        Conditions { expected_version: self.0, idempotency: None }
    }
}

/// A time from a parameter.
///
/// # Errors
/// When it is no RFC 3339 time.
pub fn time(field: &'static str, text: Option<&str>) -> Result<Option<Timestamp>, Invalid> {
    text.map(str::parse).transpose().map_err(
        |error: token_ledger_domain::time::InvalidTimestamp| Invalid::new(field, error.to_string()),
    )
}
