//! Light or dark: the browser's choice, unless the person chose otherwise.

use super::cookie::is_secure;
use super::error::Trouble;
use super::form::Fields;
use super::paths;
use crate::http::Service;
use crate::http::problem::Kind;
use axum::extract::{FromRequestParts, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Redirect, Response};
use serde::Deserialize;
use std::convert::Infallible;
use std::sync::Arc;

const COOKIE: &str = "token-ledger-theme";
/// How long a choice is kept, in seconds: a year.
const KEPT_SECONDS: i64 = 365 * 86_400;

/// What pages look like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Theme {
    /// As the browser says.
    #[default]
    Browser,
    /// Dark on light.
    Light,
    /// Light on dark.
    Dark,
}

/// The choice.
#[derive(Debug, Deserialize)]
pub(super) struct Choice {
    theme: String,
}

impl Theme {
    /// The theme that a request asks for.
    pub fn read(headers: &HeaderMap) -> Self {
        let chosen = headers
            .get_all(header::COOKIE)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(';'))
            .filter_map(|pair| pair.trim().split_once('='))
            .find(|(name, _)| *name == COOKIE);
        chosen.and_then(|(_, value)| Self::named(value)).unwrap_or_default()
    }

    fn named(name: &str) -> Option<Self> {
        match name {
            "browser" => Some(Self::Browser),
            "light" => Some(Self::Light),
            "dark" => Some(Self::Dark),
            _ => None,
        }
    }

    /// What the page's root says; nothing where the browser decides.
    pub const fn as_str(self) -> Option<&'static str> {
        match self {
            Self::Browser => None,
            Self::Light => Some("light"),
            Self::Dark => Some("dark"),
        }
    }

    /// The one that comes next, and what its button says: the one that is.
    pub const fn other(self) -> (&'static str, &'static str) {
        match self {
            Self::Browser => ("dark", "Theme: system"),
            Self::Dark => ("light", "Theme: dark"),
            Self::Light => ("browser", "Theme: light"),
        }
    }
}

impl<S: Sync> FromRequestParts<S> for Theme {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self::read(&parts.headers))
    }
}

/// Takes the choice, and goes back to where it was made.
pub(super) async fn choose(
    State(service): State<Arc<Service>>,
    headers: HeaderMap,
    Fields(Choice { theme }): Fields<Choice>,
) -> Result<Response, Trouble> {
    let known = Theme::named(&theme)
        .ok_or_else(|| Trouble::new(Kind::InvalidInput, "There is no such theme."))?;
    let value = known.as_str().unwrap_or("browser");
    let secure = if is_secure(&service) { "; Secure" } else { "" };
    let cookie = format!(
        "{COOKIE}={value}; Path=/console; Max-Age={KEPT_SECONDS}; HttpOnly; SameSite=Strict{secure}"
    );
    let mut response = Redirect::to(&paths::came_from(&headers)).into_response();
    if let Ok(cookie) = HeaderValue::from_str(&cookie) {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_choice_is_read_among_other_cookies() {
        let mut headers = HeaderMap::new();
        headers.insert(header::COOKIE, HeaderValue::from_static("a=b; token-ledger-theme=dark"));
        assert_eq!(Theme::read(&headers), Theme::Dark);
        headers.insert(header::COOKIE, HeaderValue::from_static("token-ledger-theme=<b>"));
        assert_eq!(Theme::read(&headers), Theme::Browser);
    }
}
