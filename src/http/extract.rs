//! Reading requests: bodies and parameters, with errors that name the field.

pub use super::if_match::IfMatch;

use super::body::{self, Unread};
use super::problem::{Answer, Kind, Problem};
use crate::app::error::Invalid;
use crate::app::{Caller, Conditions};
use axum::extract::{FromRequest, FromRequestParts, MatchedPath, Path, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, header};
use percent_encoding::percent_decode_str;
use serde::de::{DeserializeOwned, IgnoredAny};
use sha2::{Digest, Sha256};
use std::borrow::Cow;
use token_ledger_domain::secret::without_secrets;
use token_ledger_domain::time::InvalidTimestamp;
use token_ledger_domain::{CompanyId, Timestamp};
use token_ledger_event_store::Idempotency;
use uuid::Uuid;

/// The longest `Idempotency-Key`, in characters.
const MAX_IDEMPOTENCY_KEY: usize = 255;
const HOLDS_SECRET: &str = "must not hold a secret";
const ONCE: &str = "must be given once";
const WHOLE_NUMBER: &str = "a whole number of at most 64 bits";

/// A JSON body, with the hash by which a repeat is recognised. An absent body counts as `{}`, but where
/// something is replaced by it.
#[derive(Debug)]
pub struct JsonBody<T> {
    /// The value.
    pub value: T,
    /// SHA-256 of the bytes.
    pub hash: [u8; 32],
}

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for JsonBody<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        let is_json = is_json(request.headers());
        let mut encodings = request.headers().get_all(header::CONTENT_ENCODING).iter();
        let is_encoded =
            encodings.any(|encoding| !encoding.as_bytes().eq_ignore_ascii_case(b"identity"));
        let replaces = request.method() == Method::PUT;
        let bytes = body::read(request).await?;
        if bytes.is_empty() && replaces {
            return Err(Problem::invalid("body", "must be a JSON object"));
        }
        if !bytes.is_empty() && !is_json {
            return Err(Problem::new(
                Kind::UnsupportedMediaType,
                "Send the body as JSON, with `Content-Type: application/json`.",
            ));
        }
        if is_encoded {
            return Err(Problem::new(
                Kind::UnsupportedMediaType,
                "Send the body as it is, without `Content-Encoding`.",
            ));
        }
        let text: &[u8] = if bytes.is_empty() { b"{}" } else { &bytes };
        let hash = Sha256::digest(text).into();
        // A list would be taken as the fields in their order.
        if !text.trim_ascii_start().starts_with(b"{") {
            return Err(match serde_json::from_slice::<IgnoredAny>(text) {
                Ok(IgnoredAny) => Problem::invalid("body", "must be a JSON object"),
                Err(error) => not_json(&error),
            });
        }
        let mut deserializer = serde_json::Deserializer::from_slice(text);
        let value = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
            if error.inner().is_data() {
                Problem::invalid(
                    field_of(&error.path().to_string(), &error.inner().to_string()),
                    in_words(&error.inner().to_string()),
                )
            } else {
                not_json(error.inner())
            }
        })?;
        deserializer.end().map_err(|error| not_json(&error))?;
        Ok(Self { value, hash })
    }
}

impl From<Unread> for Problem {
    fn from(unread: Unread) -> Self {
        match unread {
            Unread::TooLarge => Self::new(Kind::BodyTooLarge, "The body may have up to 64 KiB."),
            Unread::TooSlow => Self::new(Kind::RequestTimeout, "The body did not come in time."),
            Unread::Broken => {
                Self::new(Kind::MalformedBody, "The body could not be read to its end.")
            }
        }
    }
}

/// A request without a body: what one would say would not be heard.
#[derive(Clone, Copy, Debug)]
pub struct NoBody;

impl<S: Send + Sync> FromRequest<S> for NoBody {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        if body::read(request).await?.is_empty() {
            return Ok(Self);
        }
        let detail =
            "must be left out: nothing in it counts; send a reason as `reason` in the query";
        Err(Problem::invalid("body", detail))
    }
}

fn not_json(error: &serde_json::Error) -> Problem {
    Problem::new(Kind::MalformedBody, format!("The body is not JSON: {error}."))
}

fn is_json(headers: &HeaderMap) -> bool {
    let mut values = headers.get_all(header::CONTENT_TYPE).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return false };
    let Ok(value) = value.to_str() else { return false };
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

/// What the parser of a body found wrong, in words. Its messages end with a place in the text, which
/// tells users little.
fn in_words(message: &str) -> String {
    let message = message.rsplit_once(" at line ").map_or(message, |(message, _)| message);
    parsers_words(message).unwrap_or_else(|| message.to_owned())
}

/// What the parsers of bodies and of queries say alike, in words: they say what they met, and in their
/// own language what was to be sent. Nothing where it was we who said it.
fn parsers_words(message: &str) -> Option<String> {
    // What was met may hold anything; what was to be sent stands behind it.
    let expected = || message.rsplit_once(", expected ").map(|(_, expected)| expected);
    let words = if message.starts_with("missing field ") {
        "is missing".to_owned()
    } else if message.starts_with("duplicate field ") {
        ONCE.to_owned()
    } else if message.starts_with("unknown field ") {
        let known = if message.ends_with(", there are no fields") { "" } else { expected()? };
        format!("is unknown; there are {}", listed(known, "and"))
    } else if message.starts_with("unknown variant ") {
        format!("must be {}", listed(expected()?, "or"))
    } else if message.starts_with("UUID parsing failed") {
        "must be a UUID".to_owned()
    } else if ["invalid type: ", "invalid value: ", "invalid length "]
        .iter()
        .any(|begins| message.starts_with(begins))
    {
        format!("must be {}", in_words_of_json(expected()?))
    } else {
        return None;
    };
    Some(words)
}

/// What a value has to be, which the parsers name by the type that it is read into.
fn in_words_of_json(expected: &str) -> &str {
    match expected {
        "a string" => "a text",
        "a sequence" => "a list",
        "a boolean" => "true or false",
        "i64" => WHOLE_NUMBER,
        "a formatted UUID string" => "a UUID",
        other => other,
    }
}

/// The names that a parser has listed, such as "one of `a`, `b`, `c`".
fn listed(names: &str, last: &str) -> String {
    let names: Vec<&str> = names.split('`').skip(1).step_by(2).collect();
    match names.as_slice() {
        [] => "none".to_owned(),
        [only] => (*only).to_owned(),
        [first @ .., end] => format!("{} {last} {end}", first.join(", ")),
    }
}

/// The query's parameters; repeated ones make lists.
#[derive(Debug)]
pub struct Params<T>(pub T);

impl<T: DeserializeOwned, S: Sync> FromRequestParts<S> for Params<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let query = parts.uri.query().unwrap_or_default();
        // Read leniently, what is no UTF-8 would stand in the ledger as something else.
        if percent_decode_str(query).decode_utf8().is_err() {
            return Err(Problem::invalid("query", "must be percent-encoded UTF-8"));
        }
        let pairs = url::form_urlencoded::parse(query.as_bytes());
        // An empty value would count as none at all, which is not what the caller meant.
        if let Some((name, _)) = pairs.clone().find(|(_, value)| value.is_empty()) {
            return Err(Problem::invalid(name, "must not be empty; leave it out instead"));
        }
        if let Some((name, _)) = pairs.clone().find(|(_, value)| value.contains('\0')) {
            return Err(Problem::invalid(name, "must not contain U+0000"));
        }
        let deserializer = serde_html_form::Deserializer::new(pairs);
        serde_path_to_error::deserialize(deserializer).map(Self).map_err(|error| {
            let message = error.inner().to_string();
            let field = field_of(&error.path().to_string(), &message);
            let value = pairs.clone().find(|(name, _)| *name == field).map(|(_, value)| value);
            Problem::invalid(field, parameter_in_words(&message, value.as_deref()))
        })
    }
}

/// What the parser of a query found wrong with a parameter of this value, in words.
fn parameter_in_words(message: &str, value: Option<&str>) -> String {
    if let Some(words) = parsers_words(message) {
        return words;
    }
    if message.contains("found in string") || message.starts_with("number too") {
        // Where a negative number is none, it is not its size that is wrong.
        let is_negative =
            value.is_some_and(|value| value.parse::<i64>().is_ok_and(|number| number < 0));
        return if is_negative {
            "must be 0 or more".to_owned()
        } else {
            format!("must be {WHOLE_NUMBER}")
        };
    }
    if message == "unsupported value" { ONCE.to_owned() } else { message.to_owned() }
}

/// An identifier in the path, next to the company's.
#[derive(Clone, Copy, Debug)]
pub struct PathId(pub Uuid);

impl<S: Send + Sync> FromRequestParts<S> for PathId {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let path = path_of(parts, state).await?;
        let Some((name, text)) = path.into_iter().find(|(name, _)| name != "company_id") else {
            return Err(Problem::new(Kind::Internal, "The route names no identifier."));
        };
        text.parse().map(Self).map_err(|_| Problem::invalid(name, "must be a UUID"))
    }
}

/// The company in the path. Whether the caller may ask about it was checked before.
#[derive(Clone, Copy, Debug)]
pub struct PathCompany(pub CompanyId);

impl<S: Send + Sync> FromRequestParts<S> for PathCompany {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let path = path_of(parts, state).await?;
        let Some((_, text)) = path.into_iter().find(|(name, _)| name == "company_id") else {
            return Err(Problem::new(Kind::Internal, "The route names no company."));
        };
        parse_company(&text).map(Self)
    }
}

/// # Errors
/// When it is no identifier.
pub(super) fn parse_company(text: &str) -> Answer<CompanyId> {
    text.parse().map_err(|_| Problem::invalid("company_id", "must be a UUID"))
}

/// The parameters of the path, in their order.
async fn path_of<S: Send + Sync>(
    parts: &mut Parts,
    state: &S,
) -> Result<Vec<(String, String)>, Problem> {
    let path: Result<Path<_>, _> = Path::from_request_parts(parts, state).await;
    path.map(|Path(path)| path).map_err(|_| Problem::invalid("path", "can't be read"))
}

/// `Idempotency-Key`, where one is sent.
#[derive(Clone, Debug, Default)]
pub struct IdempotencyKey(Option<(String, String)>);

impl<S: Send + Sync> FromRequestParts<S> for IdempotencyKey {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let mut values = parts.headers.get_all("idempotency-key").iter();
        let Some(value) = values.next() else { return Ok(Self(None)) };
        if values.next().is_some() {
            return Err(Problem::invalid("Idempotency-Key", "must be sent once"));
        }
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
        let key = key.to_owned();
        let path = route_of(parts, state).await?;
        Ok(Self(Some((key, format!("{} {path}", parts.method)))))
    }
}

/// The path in one spelling, however its identifiers were written.
async fn route_of<S: Send + Sync>(parts: &mut Parts, state: &S) -> Result<String, Problem> {
    let matched = parts.extensions.get::<MatchedPath>().map(|path| path.as_str().to_owned());
    let mut route = matched.unwrap_or_else(|| parts.uri.path().to_owned());
    for (name, text) in path_of(parts, state).await? {
        let value = text.parse::<Uuid>().map_or(text, |id| id.to_string());
        route = route.replace(&format!("{{{name}}}"), &value);
    }
    Ok(route)
}

impl IdempotencyKey {
    /// The key for the ledger, for this caller and this body.
    pub fn of(self, caller: &Caller, request_hash: [u8; 32]) -> Option<Idempotency> {
        let credential = &caller.credential;
        self.0.map(|(key, route)| Idempotency::of(credential, route, &key, request_hash))
    }

    /// The conditions of a change to what has no version yet.
    pub fn conditions(self, caller: &Caller, request_hash: [u8; 32]) -> Conditions {
        Conditions { expected_version: None, idempotency: self.of(caller, request_hash) }
    }
}

/// A time from a parameter.
///
/// # Errors
/// When it is no RFC 3339 time.
pub fn time(field: &'static str, text: Option<&str>) -> Result<Option<Timestamp>, Invalid> {
    text.map(str::parse).transpose().map_err(|error| no_time(field, error))
}

/// A time from a parameter that what is looked for is before, or not before.
///
/// # Errors
/// When it is no RFC 3339 time.
pub fn bound(field: &'static str, text: Option<&str>) -> Result<Option<Timestamp>, Invalid> {
    text.map(Timestamp::not_before).transpose().map_err(|error| no_time(field, error))
}

fn no_time(field: &'static str, error: InvalidTimestamp) -> Invalid {
    Invalid::new(field, error.to_string())
}
