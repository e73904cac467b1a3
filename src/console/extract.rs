//! Reading what stands in a page's address.

use super::error::Trouble;
use axum::extract::{FromRequestParts, Path as AnyPath};
use axum::http::request::Parts;
use serde::de::DeserializeOwned;

/// What the path names. Where it can't name anything, there is no page.
#[derive(Clone, Copy, Debug)]
pub struct Path<T>(pub T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Path<T> {
    type Rejection = Trouble;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Trouble> {
        match AnyPath::from_request_parts(parts, state).await {
            Ok(AnyPath(named)) => Ok(Self(named)),
            Err(_) => Err(Trouble::nowhere()),
        }
    }
}
