//! `If-Match` and `If-None-Match` (RFC 9110 §13): the versions that a thing may stand at to be
//! changed or read.

use super::problem::Problem;
use super::reply::ByEventsAlone;
use crate::app::{AppError, Conditions};
use axum::body::{Body, Bytes};
use axum::extract::{FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures::stream;
use std::convert::Infallible;
use token_ledger_event_store::Idempotency;

/// A version that nothing stands at.
const NEVER: u64 = 0;
/// How often a change is tried again that others get ahead of, which the conditions don't mind.
const MAX_ATTEMPTS: usize = 20;

/// Versions of a thing.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Versions {
    All,
    Only(Vec<u64>),
}

impl Versions {
    const NONE: Self = Self::Only(Vec::new());

    /// What a header names, if it is there. Weak tags count where the comparison is weak.
    fn read(
        headers: &HeaderMap,
        name: &HeaderName,
        is_weak: bool,
    ) -> Result<Option<Self>, Problem> {
        let lines = headers.get_all(name).iter();
        let lines: Vec<_> = lines.map(|line| String::from_utf8_lossy(line.as_bytes())).collect();
        if lines.is_empty() {
            return Ok(None);
        }
        Self::parse(&lines.join(","), is_weak).map(Some).ok_or_else(|| {
            let name = if name == header::IF_MATCH { "If-Match" } else { "If-None-Match" };
            Problem::invalid(name, "must be ETags of the thing, such as \"3\", or *")
        })
    }

    /// `*`, or a list of entity tags. Those that no version of ours has never match.
    fn parse(text: &str, is_weak: bool) -> Option<Self> {
        if text.trim() == "*" {
            return Some(Self::All);
        }
        let mut versions = Vec::new();
        let mut is_empty = true;
        let mut rest = text.trim_matches(is_space_or_comma);
        while !rest.is_empty() {
            let weak = rest.strip_prefix("W/");
            let (tag, behind) = weak.unwrap_or(rest).strip_prefix('"')?.split_once('"')?;
            if !tag.chars().all(|c| c > ' ' && c != '\x7f') {
                return None;
            }
            is_empty = false;
            let canonical = |version: &u64| *version != NEVER && version.to_string() == tag;
            let counts = weak.is_none() || is_weak;
            versions.extend(tag.parse().ok().filter(canonical).filter(|_| counts));
            let next = behind.trim_start_matches([' ', '\t']);
            if !next.is_empty() && !next.starts_with(',') {
                return None;
            }
            rest = next.trim_start_matches(is_space_or_comma);
        }
        (!is_empty).then_some(Self::Only(versions))
    }

    fn contain(&self, version: u64) -> bool {
        match self {
            Self::All => true,
            Self::Only(versions) => versions.contains(&version),
        }
    }
}

/// The versions of which the thing must stand at one, and those at which it must not stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IfMatch {
    wanted: Versions,
    unwanted: Versions,
}

impl<S: Sync> FromRequestParts<S> for IfMatch {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        Self::of(&parts.headers)
    }
}

impl IfMatch {
    fn of(headers: &HeaderMap) -> Result<Self, Problem> {
        let wanted = Versions::read(headers, &header::IF_MATCH, false)?;
        let unwanted = Versions::read(headers, &header::IF_NONE_MATCH, true)?;
        Ok(Self {
            wanted: wanted.unwrap_or(Versions::All),
            unwanted: unwanted.unwrap_or(Versions::NONE),
        })
    }

    fn allows(&self, version: u64) -> bool {
        self.wanted.contain(version) && !self.unwanted.contain(version)
    }

    /// The version to try first: nothing stands at it where only the thing itself can tell.
    fn first(&self) -> u64 {
        match &self.wanted {
            Versions::All => NEVER,
            Versions::Only(versions) => {
                versions.iter().copied().rfind(|version| self.allows(*version)).unwrap_or(NEVER)
            }
        }
    }

    /// Makes a change on the condition that the thing stands at a version that is allowed.
    pub async fn hold<T, F>(
        self,
        idempotency: Option<Idempotency>,
        change: impl Fn(Conditions) -> F,
    ) -> Result<T, AppError>
    where
        F: Future<Output = Result<T, AppError>>,
    {
        let conditions = Conditions { expected_version: None, idempotency };
        if self == (Self { wanted: Versions::All, unwanted: Versions::NONE }) {
            return change(conditions).await;
        }
        let mut asked = self.first();
        for _ in 0..MAX_ATTEMPTS {
            let expected_version = Some(asked);
            match change(Conditions { expected_version, ..conditions.clone() }).await {
                Err(AppError::VersionMismatch { actual }) if self.allows(actual) => asked = actual,
                outcome => return outcome,
            }
        }
        Err(AppError::Contended)
    }
}

/// Holds what was read, where it names its version, against the conditions of the request.
pub(super) async fn answer(request: Request, next: Next) -> Response {
    let conditions = IfMatch::of(request.headers());
    let mut response = next.run(request).await;
    let tag = response.headers().get(header::ETAG).and_then(|tag| tag.to_str().ok());
    let version = tag.and_then(|tag| tag.trim_matches('"').parse().ok());
    let Some(actual) = version.filter(|_| response.status() == StatusCode::OK) else {
        return response;
    };
    match conditions {
        Err(problem) => problem.into_response(),
        Ok(IfMatch { wanted, .. }) if !wanted.contain(actual) => {
            Problem::from(AppError::VersionMismatch { actual }).into_response()
        }
        // The clock and use change other things too, and nobody shall take those for unchanged.
        Ok(IfMatch { unwanted, .. })
            if unwanted.contain(actual)
                && response.extensions().get::<ByEventsAlone>().is_some() =>
        {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            // Of no length that could be told: it would be that of what is unchanged (RFC 9110 §8.6).
            *response.body_mut() = Body::from_stream(stream::empty::<Result<Bytes, Infallible>>());
            response.headers_mut().remove(header::CONTENT_TYPE);
            response.headers_mut().remove(header::CONTENT_LENGTH);
            response
        }
        Ok(_) => response,
    }
}

const fn is_space_or_comma(c: char) -> bool {
    matches!(c, ' ' | '\t' | ',')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_read_as_the_standard_has_them() {
        let versions = |text| Versions::parse(text, false);
        let only = |versions: &[u64]| Some(Versions::Only(versions.to_vec()));
        assert_eq!(versions("*"), Some(Versions::All));
        assert_eq!(versions(" \"3\" "), only(&[3]));
        assert_eq!(versions("\"1\",, \"2\" ,"), only(&[1, 2]));
        for other in ["W/\"3\"", "\"03\"", "\"0\"", "\"abc\"", "\"\"", "\"99999999999999999999\""] {
            assert_eq!(versions(other), only(&[]), "{other}");
        }
        for broken in ["", ",", "3", "\"3", "3\"", "\"3\" \"4\"", "*, \"3\"", "\"3\", *", "\"a b\""]
        {
            assert_eq!(versions(broken), None, "{broken}");
        }
        assert_eq!(Versions::parse("W/\"3\", \"4\"", true), only(&[3, 4]));
    }
}
