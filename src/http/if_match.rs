//! `If-Match` (RFC 9110 §13.1.1): the versions that a thing may stand at to be changed.

use super::problem::Problem;
use crate::app::{AppError, Conditions};
use axum::extract::FromRequestParts;
use axum::http::header;
use axum::http::request::Parts;
use token_ledger_event_store::Idempotency;

/// A version that nothing stands at.
const NEVER: u64 = 0;

/// The versions of which the thing must stand at one; whatever it stands at, where none is named.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IfMatch(Option<Vec<u64>>);

impl<S: Sync> FromRequestParts<S> for IfMatch {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let lines = parts.headers.get_all(header::IF_MATCH).iter();
        let lines: Vec<_> = lines.map(|line| String::from_utf8_lossy(line.as_bytes())).collect();
        if lines.is_empty() {
            return Ok(Self(None));
        }
        Self::parse(&lines.join(",")).ok_or_else(|| {
            Problem::invalid("If-Match", "must be ETags of the thing, such as \"3\", or *")
        })
    }
}

impl IfMatch {
    /// `*`, or a list of entity tags. Those that no version of ours has, weak ones too, never match.
    fn parse(text: &str) -> Option<Self> {
        if text.trim() == "*" {
            return Some(Self(None));
        }
        let mut versions = Vec::new();
        let mut is_empty = true;
        let mut rest = text.trim_matches(is_space_or_comma);
        while !rest.is_empty() {
            let strong = rest.strip_prefix("W/");
            let (tag, behind) = strong.unwrap_or(rest).strip_prefix('"')?.split_once('"')?;
            if !tag.chars().all(|c| c > ' ' && c != '\x7f') {
                return None;
            }
            is_empty = false;
            let canonical = |version: &u64| *version != NEVER && version.to_string() == tag;
            versions.extend(tag.parse().ok().filter(canonical).filter(|_| strong.is_none()));
            let next = behind.trim_start_matches([' ', '\t']);
            if !next.is_empty() && !next.starts_with(',') {
                return None;
            }
            rest = next.trim_start_matches(is_space_or_comma);
        }
        (!is_empty).then_some(Self(Some(versions)))
    }

    /// Makes a change on the condition that the thing stands at one of the versions.
    pub async fn hold<T, F>(
        self,
        idempotency: Option<Idempotency>,
        change: impl Fn(Conditions) -> F,
    ) -> Result<T, AppError>
    where
        F: Future<Output = Result<T, AppError>>,
    {
        let conditions = Conditions { expected_version: None, idempotency };
        let Some(mut open) = self.0 else { return change(conditions).await };
        let mut asked = open.pop().unwrap_or(NEVER);
        loop {
            let expected_version = Some(asked);
            match change(Conditions { expected_version, ..conditions.clone() }).await {
                Err(AppError::VersionMismatch { actual }) if open.contains(&actual) => {
                    open.retain(|version| *version != actual);
                    asked = actual;
                }
                outcome => return outcome,
            }
        }
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
        let versions = |text| IfMatch::parse(text).map(|IfMatch(versions)| versions);
        assert_eq!(versions("*"), Some(None));
        assert_eq!(versions(" \"3\" "), Some(Some(vec![3])));
        assert_eq!(versions("\"1\",, \"2\" ,"), Some(Some(vec![1, 2])));
        for other in ["W/\"3\"", "\"03\"", "\"0\"", "\"abc\"", "\"\"", "\"99999999999999999999\""] {
            assert_eq!(versions(other), Some(Some(vec![])), "{other}");
        }
        for broken in ["", ",", "3", "\"3", "3\"", "\"3\" \"4\"", "*, \"3\"", "\"3\", *", "\"a b\""]
        {
            assert_eq!(versions(broken), None, "{broken}");
        }
    }
}
