//! Which route answers a request: the router knows it while it works, and whoever called it learns it afterwards.

use std::cell::Cell;
#[cfg(feature = "axum")]
use std::collections::HashSet;
#[cfg(feature = "axum")]
use std::sync::OnceLock;

#[cfg(feature = "axum")]
use axum::extract::MatchedPath;
#[cfg(feature = "axum")]
use parking_lot::Mutex;

#[cfg(feature = "axum")]
use crate::server::{Dispatch, Request, ResponseFuture};

thread_local! {
    /// The template of the route that was called last on this thread.
    static ROUTE: Cell<Option<&'static str>> = const { Cell::new(None) };
}

/// Does some work, and says which route was called in it. An outer route hides those within.
pub(crate) fn note_route<T>(work: impl FnOnce() -> T) -> (T, Option<&'static str>) {
    let before = ROUTE.replace(None);
    let done = work();
    (done, ROUTE.replace(before))
}

/// The handler of one route, which notes the route.
#[cfg(feature = "axum")]
pub(crate) struct Routed<D> {
    inner: D,
    /// Known with the first request.
    template: OnceLock<&'static str>,
}

#[cfg(feature = "axum")]
impl<D> Routed<D> {
    pub(crate) fn new(inner: D) -> Self {
        Self { inner, template: OnceLock::new() }
    }
}

#[cfg(feature = "axum")]
impl<D: Dispatch> Dispatch for Routed<D> {
    fn call(&self, request: Request) -> ResponseFuture {
        let matched = || request.extensions().get::<MatchedPath>().map_or("", |path| intern(path.as_str()));
        let template = self.template.get_or_init(matched);
        if !template.is_empty() && ROUTE.get().is_none() {
            ROUTE.set(Some(template));
        }
        self.inner.call(request)
    }
}

/// A template for the rest of the life of the process. A program has a fixed number of them.
#[cfg(feature = "axum")]
fn intern(template: &str) -> &'static str {
    static TEMPLATES: OnceLock<Mutex<HashSet<&'static str>>> = OnceLock::new();
    let mut templates = TEMPLATES.get_or_init(Mutex::default).lock();
    if let Some(known) = templates.get(template) {
        return known;
    }
    let kept: &'static str = Box::leak(template.into());
    templates.insert(kept);
    kept
}
