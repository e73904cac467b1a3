//! The table of contents.

use super::Service;
use super::access::{Access, authorize};
use super::envelope::envelope;
use super::problem::{Kind, Problem};
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::handler::Handler;
use axum::http::Method;
use axum::middleware::from_fn_with_state;
use axum::routing::{MethodFilter, on};
use std::sync::Arc;
use tower_http::catch_panic::CatchPanicLayer;

/// The largest body, in bytes.
pub const MAX_BODY: usize = 64 * 1024;

/// Routes, each with its access.
pub struct Routes {
    service: Arc<Service>,
    router: Router<Arc<Service>>,
    list: Vec<(Method, &'static str, Access)>,
}

impl std::fmt::Debug for Routes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(&self.list).finish()
    }
}

impl Routes {
    /// No routes yet.
    pub fn new(service: Arc<Service>) -> Self {
        Self { service, router: Router::new(), list: Vec::new() }
    }

    /// Every route that was added: method, path and access.
    pub fn list(&self) -> &[(Method, &'static str, Access)] {
        &self.list
    }

    fn add<H, T>(
        mut self,
        method: Method,
        filter: MethodFilter,
        path: &'static str,
        access: Access,
        handler: H,
    ) -> Self
    where
        H: Handler<T, Arc<Service>>,
        T: 'static,
    {
        let check = from_fn_with_state((Arc::clone(&self.service), access), authorize);
        self.router = self.router.route(path, on(filter, handler).layer(check));
        self.list.push((method, path, access));
        self
    }

    fn get<H, T>(self, path: &'static str, access: Access, handler: H) -> Self
    where
        H: Handler<T, Arc<Service>>,
        T: 'static,
    {
        self.add(Method::GET, MethodFilter::GET, path, access, handler)
    }

    fn post<H, T>(self, path: &'static str, access: Access, handler: H) -> Self
    where
        H: Handler<T, Arc<Service>>,
        T: 'static,
    {
        self.add(Method::POST, MethodFilter::POST, path, access, handler)
    }

    fn put<H, T>(self, path: &'static str, access: Access, handler: H) -> Self
    where
        H: Handler<T, Arc<Service>>,
        T: 'static,
    {
        self.add(Method::PUT, MethodFilter::PUT, path, access, handler)
    }

    fn patch<H, T>(self, path: &'static str, access: Access, handler: H) -> Self
    where
        H: Handler<T, Arc<Service>>,
        T: 'static,
    {
        self.add(Method::PATCH, MethodFilter::PATCH, path, access, handler)
    }

    fn delete<H, T>(self, path: &'static str, access: Access, handler: H) -> Self
    where
        H: Handler<T, Arc<Service>>,
        T: 'static,
    {
        self.add(Method::DELETE, MethodFilter::DELETE, path, access, handler)
    }
}

/// All routes of the service.
pub fn routes(service: Arc<Service>) -> Routes {
    Routes::new(service)
}

/// The service's router.
pub fn router(service: Arc<Service>) -> Router {
    let routes = routes(Arc::clone(&service));
    routes
        .router
        .fallback(|| async { Problem::new(Kind::NotFound, "There is nothing at this path.") })
        .method_not_allowed_fallback(|| async {
            Problem::new(Kind::MethodNotAllowed, "The path does not take this method.")
        })
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(CatchPanicLayer::custom(|_| {
            tracing::error!("a handler panicked");
            axum::response::IntoResponse::into_response(Problem::new(
                Kind::Internal,
                "The service failed. Name the request_id to the operator.",
            ))
        }))
        .layer(from_fn_with_state(Arc::clone(&service), envelope))
        .with_state(service)
}
