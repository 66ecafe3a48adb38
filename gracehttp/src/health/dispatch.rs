//! Readiness on a server's own port, before the application's routes.

use std::sync::Arc;

use axum_core::body::Body;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Method, StatusCode};

use crate::health::Health;
use crate::server::{Dispatch, HealthPath, Request, Response, ResponseFuture, Surroundings};

/// Answers one path itself, and leaves everything else to the application.
pub(crate) struct HealthDispatch {
    path: HealthPath,
    health: Arc<Health>,
    application: Arc<dyn Dispatch>,
}

impl HealthDispatch {
    pub(crate) fn new(path: HealthPath, health: Arc<Health>, application: Arc<dyn Dispatch>) -> Self {
        Self { path, health, application }
    }
}

impl Dispatch for HealthDispatch {
    fn call(&self, request: Request, surroundings: Surroundings<'_>) -> ResponseFuture {
        let asks = matches!(*request.method(), Method::GET | Method::HEAD);
        if !asks || request.uri().path() != self.path.as_str() {
            return self.application.call(request, surroundings);
        }
        let health = self.health.clone();
        Box::pin(async move { answer(health.verdict().await.is_ready()) })
    }
}

/// No reasons: anyone may be able to ask on this port.
fn answer(is_ready: bool) -> Response {
    let (status, text) = match is_ready {
        true => (StatusCode::OK, "ready\n"),
        false => (StatusCode::SERVICE_UNAVAILABLE, "not ready\n"),
    };
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
