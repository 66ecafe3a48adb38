//! Routes that a request reaches without axum's router: a path without parameters, a method, and no layer.
//!
//! The router makes several boxes for each request, and needs them for what it can do. For a plain route a look into a
//! table is enough. What the router would add to the request and to the response is added here, too, so that neither
//! handlers nor clients can tell.

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Waker};

use axum::extract::{MatchedPath, OriginalUri};
use axum::routing::get_service;
use axum_core::body::Body;
use http::header::CONTENT_LENGTH;
use http::{Extensions, HeaderValue, Method};
use http_body::Body as _;
use parking_lot::Mutex;
use tower_service::Service as _;

use crate::server::route::{intern, note_route};
use crate::server::service::HandlerDispatch;
use crate::server::surroundings::Surroundings;
use crate::server::{BoxService, Dispatch, Handler, Request, Response, ResponseFuture};

/// A route that needs no router.
#[derive(Debug)]
pub(super) struct Direct {
    path: Box<str>,
    method: Method,
    handler: BoxService,
    /// What the router adds to a request for it.
    facts: Extensions,
    template: &'static str,
}

impl Direct {
    /// None if the router has to look at the path of each request.
    pub(super) fn of(method: Method, path: &str, handler: BoxService) -> Option<Self> {
        if path.contains(['{', '}']) {
            return None;
        }
        let facts = facts_of(path)?;
        Some(Self { path: path.into(), method, handler, facts, template: intern(path) })
    }

    /// Paths of other lengths need not be compared.
    fn key(&self) -> (usize, &str) {
        (self.path.len(), &self.path)
    }
}

/// What axum's router adds to a request for a path. Some of these types are its own, so it is asked.
fn facts_of(path: &str) -> Option<Extensions> {
    let request = http::Request::get(path).body(Body::empty()).ok()?;
    let asked = Arc::new(Asked::default());
    let mut router = axum::Router::new().route(path, get_service(BoxService::new(asked.clone())));
    let answer = pin!(router.call(request));
    // It answers at once.
    _ = answer.poll(&mut Context::from_waker(Waker::noop()));
    let mut facts = asked.0.lock().take()?;
    // Each request has its own.
    facts.remove::<OriginalUri>();
    facts.get::<MatchedPath>().is_some().then_some(facts)
}

/// The extensions of a request.
#[derive(Default)]
struct Asked(Mutex<Option<Extensions>>);

impl Dispatch for Arc<Asked> {
    fn call(&self, request: Request, _: Surroundings<'_>) -> ResponseFuture {
        *self.0.lock() = Some(request.into_parts().0.extensions);
        Box::pin(std::future::ready(Response::default()))
    }
}

/// The direct routes of a server, and what answers every other request.
pub(super) struct DirectRoutes<D> {
    /// Sorted by their keys.
    routes: Box<[Direct]>,
    others: D,
}

impl<D> DirectRoutes<D> {
    pub(super) fn new(mut routes: Vec<Direct>, others: D) -> Self {
        routes.sort_by(|one, other| one.key().cmp(&other.key()));
        Self { routes: routes.into(), others }
    }

    fn find(&self, request: &Request) -> Option<&Direct> {
        let path = request.uri().path();
        let key = (path.len(), path);
        let first = self.routes.partition_point(|route| route.key() < key);
        let of_path = self.routes[first..].iter().take_while(|route| route.key() == key);
        of_path.into_iter().find(|route| route.method == *request.method())
    }
}

impl<D: Dispatch> Dispatch for DirectRoutes<D> {
    fn call(&self, request: Request, surroundings: Surroundings<'_>) -> ResponseFuture {
        // Within another router, paths are appended to that one's.
        match self.find(&request).filter(|_| request.extensions().get::<MatchedPath>().is_none()) {
            Some(route) => {
                note_route(route.template);
                route.handler.dispatch(request, surroundings.with_route(&route.facts))
            }
            None => self.others.call(request, surroundings),
        }
    }
}

/// A handler whose responses declare the length of their content, as axum's router does.
pub(super) struct Declaring<D>(pub(super) D);

impl<H, M, S> Dispatch for Declaring<HandlerDispatch<H, M, S>>
where
    H: Handler<M, S>,
    M: 'static,
    S: Send + Sync + 'static,
{
    fn call(&self, request: Request, surroundings: Surroundings<'_>) -> ResponseFuture {
        // hyper declares the length of a body that it sends. A layer expects to see it, and HEAD has no body.
        let hyper_declares = surroundings.are_of_connection() && request.method() != Method::HEAD;
        let response = self.0.response(request, surroundings);
        Box::pin(async move {
            let mut response = response.await;
            if !hyper_declares || response.body().is_end_stream() {
                declare_length(&mut response);
            }
            response
        })
    }
}

fn declare_length(response: &mut Response) {
    if let Some(length) = response.body().size_hint().exact()
        && !response.headers().contains_key(CONTENT_LENGTH)
    {
        response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
}

#[cfg(test)]
#[path = "direct_tests.rs"]
mod tests;
