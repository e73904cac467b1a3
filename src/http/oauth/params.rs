//! The parameters of a request, wherever they stand: in a form, in a JSON object, in the query.

use super::error::{Code, OauthError};
use crate::http::body::{self, Unread};
use axum::body::Bytes;
use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode, header};
use percent_encoding::percent_decode;
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::Value;
use std::fmt;
use zeroize::Zeroizing;

/// What can't be read as UTF-8 once its percent-encoding is undone.
#[derive(Clone, Copy, Debug)]
pub(in crate::http) struct NotUtf8;

/// Undoes `application/x-www-form-urlencoded`, strictly.
///
/// # Errors
/// When the result is no UTF-8.
pub(in crate::http) fn decoded(text: &[u8]) -> Result<Zeroizing<String>, NotUtf8> {
    // With room for all of it: a text that grows and moves leaves a copy behind.
    let mut bytes = Vec::with_capacity(text.len());
    for (index, part) in text.split(|byte| *byte == b'+').enumerate() {
        if index > 0 {
            bytes.push(b' ');
        }
        bytes.extend(percent_decode(part));
    }
    String::from_utf8(bytes).map(Zeroizing::new).map_err(|_| NotUtf8)
}

/// Parameters in the order that they came. Those without a value count as left out (RFC 6749 §3.2).
#[derive(Default)]
pub(in crate::http) struct Params(Vec<(String, Zeroizing<String>)>);

impl fmt::Debug for Params {
    /// The values may be secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Params").field("count", &self.0.len()).finish_non_exhaustive()
    }
}

impl Params {
    /// Adds the parameters of a form or a query.
    ///
    /// # Errors
    /// When one is no UTF-8.
    pub(in crate::http) fn add_form(&mut self, form: &[u8]) -> Result<(), OauthError> {
        let malformed = |NotUtf8| OauthError::invalid_request("A parameter is not UTF-8.");
        for pair in form.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty()) {
            let middle = pair.iter().position(|byte| *byte == b'=').unwrap_or(pair.len());
            let (name, value) = pair.split_at(middle);
            let mut name = decoded(name).map_err(malformed)?;
            let value = decoded(value.get(1..).unwrap_or_default()).map_err(malformed)?;
            self.add(std::mem::take(&mut *name), value);
        }
        Ok(())
    }

    /// Adds the members of a JSON object: texts, and lists of texts.
    ///
    /// # Errors
    /// When it is no object.
    pub(super) fn add_json(&mut self, json: &[u8]) -> Result<(), OauthError> {
        let Members(members) = serde_json::from_slice(json).map_err(|_| {
            OauthError::invalid_request("The body is not a JSON object with texts in it.")
        })?;
        for (name, value) in members {
            self.add_value(name, value)?;
        }
        Ok(())
    }

    fn add_value(&mut self, name: String, value: Value) -> Result<(), OauthError> {
        match value {
            Value::Null => {}
            Value::String(text) => self.add(name, Zeroizing::new(text)),
            Value::Array(values) if is_scopes(&name) => {
                let texts: Option<Vec<&str>> = values.iter().map(Value::as_str).collect();
                let texts =
                    texts.ok_or_else(|| OauthError::invalid_request("scopes must be texts."))?;
                // A list is there also when it is empty, which asks for nothing, not for all.
                self.0.push((name, Zeroizing::new(texts.join(" "))));
            }
            _ => return Err(OauthError::invalid_request("A parameter is not a text.")),
        }
        Ok(())
    }

    fn add(&mut self, name: String, value: Zeroizing<String>) {
        if !value.is_empty() {
            self.0.push((name, value));
        }
    }

    /// A parameter that may come once.
    ///
    /// # Errors
    /// When it is repeated.
    pub(in crate::http) fn one(&self, name: &'static str) -> Result<Option<&str>, OauthError> {
        let mut values = self.0.iter().filter(|(own, _)| own == name);
        match (values.next(), values.next()) {
            (_, Some(_)) => {
                Err(OauthError::invalid_request(format!("The parameter {name} is repeated.")))
            }
            (Some((_, value)), None) => Ok(Some(value)),
            (None, None) => Ok(None),
        }
    }

    /// A parameter that must come once.
    ///
    /// # Errors
    /// When it is missing or repeated.
    pub(in crate::http) fn needed(&self, name: &'static str) -> Result<&str, OauthError> {
        self.one(name)?
            .ok_or_else(|| OauthError::invalid_request(format!("The parameter {name} is missing.")))
    }

    /// The scopes in any of the published forms: `scopes` and `scope`, repeated, as `scopes[]`, as a
    /// list, with spaces or commas between them. None where there are none.
    pub(super) fn scopes(&self) -> Option<Vec<String>> {
        let scopes: Vec<String> = self
            .0
            .iter()
            .filter(|(name, _)| is_scopes(name))
            .flat_map(|(_, value)| value.split([' ', ',']))
            .filter(|scope| !scope.is_empty())
            .map(str::to_owned)
            .collect();
        self.0.iter().any(|(name, _)| is_scopes(name)).then_some(scopes)
    }
}

/// The parameters that some endpoint knows, scopes aside.
const KNOWN: [&str; 6] =
    ["grant_type", "client_id", "client_secret", "name", "token", "token_type_hint"];

fn is_scopes(name: &str) -> bool {
    name == "scopes" || name == "scope" || (name.starts_with("scopes[") && name.ends_with(']'))
}

/// Whether a query holds any parameter that the published API knows.
pub(super) fn holds_known(query: &Params) -> bool {
    query.0.iter().any(|(name, _)| KNOWN.contains(&name.as_str()) || is_scopes(name))
}

/// The members of a JSON object that some endpoint knows, repeated ones too. Others may be anything.
struct Members(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Members;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members = Vec::new();
                while let Some(name) = map.next_key::<String>()? {
                    if KNOWN.contains(&&*name) || is_scopes(&name) {
                        members.push((name, map.next_value()?));
                    } else {
                        map.next_value::<IgnoredAny>()?;
                    }
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Object)
    }
}

/// What a body is, by its `Content-Type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BodyKind {
    Form,
    Json,
    Other,
}

impl BodyKind {
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let mut values = headers.get_all(header::CONTENT_TYPE).iter();
        let (Some(value), None) = (values.next(), values.next()) else { return Self::Other };
        let essence = value.to_str().unwrap_or_default().split(';').next().unwrap_or_default();
        match essence.trim().to_ascii_lowercase().as_str() {
            "application/x-www-form-urlencoded" => Self::Form,
            "application/json" => Self::Json,
            _ => Self::Other,
        }
    }
}

/// The bytes of the body.
///
/// # Errors
/// When there are too many, or they don't come to an end in time.
pub(super) async fn body(request: Request) -> Result<Bytes, OauthError> {
    Ok(body::read(request).await?)
}

impl From<Unread> for OauthError {
    fn from(unread: Unread) -> Self {
        let (status, description) = match unread {
            Unread::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "The body may have up to 64 KiB."),
            Unread::TooSlow => (StatusCode::REQUEST_TIMEOUT, "The body did not come in time."),
            Unread::Broken => (StatusCode::BAD_REQUEST, "The body could not be read to its end."),
        };
        let (code, description) = (Code::InvalidRequest, description.into());
        Self::Refused { status, code, description, denied: None }
    }
}

/// The parameters of a form, which is all that the standards' endpoints take.
///
/// # Errors
/// When the body is no form.
pub(super) async fn form(request: Request) -> Result<Params, OauthError> {
    if BodyKind::of(request.headers()) != BodyKind::Form {
        return Err(OauthError::invalid_request(
            "Send the parameters as application/x-www-form-urlencoded, in the body.",
        ));
    }
    let mut params = Params::default();
    params.add_form(&body(request).await?)?;
    Ok(params)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(form: &str) -> Params {
        let mut params = Params::default();
        params.add_form(form.as_bytes()).unwrap();
        params
    }

    #[test]
    fn values_are_decoded_and_empty_ones_left_out() {
        let params = of("a=b+c%2B&empty=&nothing&&=x&d=%F0%9F%94%91&e=1=2");
        assert_eq!(params.one("a").unwrap(), Some("b c+"));
        assert_eq!(params.one("empty").unwrap(), None);
        assert_eq!(params.one("nothing").unwrap(), None);
        assert_eq!(params.one("d").unwrap(), Some("🔑"));
        assert_eq!(params.one("e").unwrap(), Some("1=2"));
        assert!(Params::default().add_form(b"a=%ff").is_err());
        assert!(Params::default().add_form(b"%ff=a").is_err());
    }

    #[test]
    fn what_may_come_once_is_refused_twice() {
        assert!(of("a=1&a=2").one("a").is_err());
        assert!(of("a=1&a=1").one("a").is_err());
        assert_eq!(of("a=1&a=").one("a").unwrap(), Some("1"));
        assert!(of("b=1").needed("a").is_err());
    }

    #[test]
    fn scopes_come_in_every_published_form() {
        let expected = Some(vec!["a".to_owned(), "b".to_owned()]);
        for form in [
            "scopes=a+b",
            "scopes=a%20b",
            "scopes=a,b",
            "scopes=a&scopes=b",
            "scopes[]=a&scopes[]=b",
            "scopes%5B%5D=a&scopes%5B%5D=b",
            "scopes[0]=a&scopes[1]=b",
            "scope=a+b",
            "scopes=a,+b",
        ] {
            assert_eq!(of(form).scopes(), expected, "{form}");
        }
        for json in [r#"{"scopes":["a","b"]}"#, r#"{"scopes":"a b"}"#, r#"{"scopes":"a,b"}"#] {
            let mut params = Params::default();
            params.add_json(json.as_bytes()).unwrap();
            assert_eq!(params.scopes(), expected, "{json}");
        }
        assert_eq!(of("name=x").scopes(), None);
        assert_eq!(of("scopes=").scopes(), None);
        assert_eq!(of("scopes=+").scopes(), Some(Vec::new()));
        for json in [r#"{"scopes":[]}"#, r#"{"scopes":[""]}"#] {
            let mut params = Params::default();
            params.add_json(json.as_bytes()).unwrap();
            assert_eq!(params.scopes(), Some(Vec::new()), "{json}");
        }
    }

    #[test]
    fn a_json_object_holds_texts() {
        let add = |json: &str| Params::default().add_json(json.as_bytes());
        assert!(add(r#"{"name":null,"other":{"a":[1]},"b":1,"c":1e999}"#).is_ok());
        for json in ["", "[]", "1", "{", r#"{"name":1}"#, r#"{"token":["a"]}"#, r#"{"scopes":[1]}"#]
        {
            assert!(add(json).is_err(), "{json}");
        }
        let mut params = Params::default();
        params.add_json(br#"{"token":"a","token":"b"}"#).unwrap();
        assert!(params.one("token").is_err());
    }
}
