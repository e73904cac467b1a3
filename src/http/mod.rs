//! The HTTP API.
//!
//! [`router`] is the table of contents: every route with its access. A request passes the
//! envelope, which gives it an identifier, a deadline and a log line, then the route's access
//! check, then its handler. The verification endpoints stand apart, with nothing in their way.

pub mod access;
pub mod audit;
pub mod audit_stream;
pub(crate) mod body;
pub mod clients;
pub mod companies;
pub mod denials;
mod described;
pub mod docs_page;
mod documents;
mod envelope;
pub mod extract;
pub mod follower;
mod html;
mod if_match;
pub mod incidents;
pub mod introspect;
pub mod keys;
pub mod lasting;
pub mod log;
pub mod members;
mod needs;
mod oauth;
pub mod openapi;
pub mod ops;
pub mod page;
pub mod people;
pub mod policy;
pub mod problem;
pub mod problems_page;
pub mod projections;
pub mod proxies;
pub mod reply;
mod rest;
pub mod routes;
pub mod token_list;
pub mod tokens;
pub mod verify;
mod vocabulary;

pub use documents::Documents;
pub use envelope::RequestInfo;
pub use proxies::{ForwardedHeader, OverTls, Proxies};
pub use routes::{Routes, router, routes};

use crate::app::App;
use std::sync::Arc;

/// What the handlers work with.
#[derive(Debug)]
pub struct Service {
    /// The application.
    pub app: Arc<App>,
    /// Proxies whose forwarded addresses count.
    pub proxies: Proxies,
    /// The URL that the service is reached at, without a slash at the end.
    pub public_url: String,
    /// Whether the published API takes no parameters in the query.
    pub no_query_credentials: bool,
    /// Turns true when the service is about to stop: streams end then, and `/readyz` says so.
    pub stopping: tokio::sync::watch::Receiver<bool>,
    /// The descriptions of the API that are handed out.
    pub documents: Documents,
}
