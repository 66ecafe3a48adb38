//! Routes that note themselves.

use std::any::Any;
use std::collections::HashSet;
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use axum::Router;
use axum::extract::MatchedPath;
use parking_lot::Mutex;
use tower_layer::layer_fn;
use tower_service::Service;

use super::{ARE_NOTED, ROUTE};
use crate::server::{Dispatch, Request, ResponseFuture, Surroundings};

/// What one route calls, a handler or a service. It notes the route.
#[derive(Clone)]
pub(crate) struct Routed<T> {
    inner: T,
    template: Arc<Template>,
}

/// Known with the first request: a route has one template.
#[derive(Default)]
struct Template(OnceLock<&'static str>);

impl<T> Routed<T> {
    pub(crate) fn new(inner: T) -> Self {
        Self { inner, template: Arc::default() }
    }
}

impl<D: Dispatch> Dispatch for Routed<D> {
    fn call(&self, request: Request, surroundings: Surroundings<'_>) -> ResponseFuture {
        self.template.note(&request);
        self.inner.call(request, surroundings)
    }
}

impl<T: Service<Request>> Service<Request> for Routed<T> {
    type Response = T::Response;
    type Error = T::Error;
    type Future = T::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), T::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request) -> T::Future {
        self.template.note(&request);
        self.inner.call(request)
    }
}

impl Template {
    fn note(&self, request: &Request) {
        if let Some(template) = self.0.get().copied().or_else(|| self.learn(request)) {
            note_route(template);
        }
    }

    /// None for the fallback of a router.
    fn learn(&self, request: &Request) -> Option<&'static str> {
        let path = request.extensions().get::<MatchedPath>()?;
        Some(self.0.get_or_init(|| intern(path.as_str())))
    }
}

/// A route with this template is called.
pub(crate) fn note_route(template: &'static str) {
    if ROUTE.get().is_none() {
        ROUTE.set(Some(template));
    }
}

/// A template for the rest of the life of the process. A program has a fixed number of them.
pub(crate) fn intern(template: &str) -> &'static str {
    static TEMPLATES: OnceLock<Mutex<HashSet<&'static str>>> = OnceLock::new();
    let mut templates = TEMPLATES.get_or_init(Mutex::default).lock();
    if let Some(known) = templates.get(template) {
        return known;
    }
    let kept: &'static str = Box::leak(template.into());
    templates.insert(kept);
    kept
}

/// The same service. If it is a router, and routes are asked for, it notes them.
pub(crate) fn noting_routes<T: 'static>(mut service: T) -> T {
    if ARE_NOTED.load(Ordering::Relaxed)
        && let Some(router) = (&mut service as &mut dyn Any).downcast_mut::<Router>()
    {
        *router = std::mem::take(router).layer(layer_fn(Routed::new));
    }
    service
}
