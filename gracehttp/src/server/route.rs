//! Which route answers a request: the router knows it while it works, and its caller learns it afterwards.

#[cfg(feature = "axum")]
mod noting;

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, Ordering};

#[cfg(feature = "axum")]
pub(crate) use noting::{Routed, intern, note_route, noting_routes};

/// Whether the routers of the application are to note their routes. The routes of modules always do: it costs nothing.
static ARE_NOTED: AtomicBool = AtomicBool::new(false);

thread_local! {
    /// The template of the route that was called last on this thread.
    static ROUTE: Cell<Option<&'static str>> = const { Cell::new(None) };
}

/// From now on routers that the application makes note their routes.
pub(crate) fn note_routes_of_routers() {
    ARE_NOTED.store(true, Ordering::Relaxed);
}

/// Some work. Its caller learns afterwards which route has done it. An outer route hides the inner ones.
#[must_use]
pub(crate) struct NotedWork {
    before: Option<&'static str>,
}

impl NotedWork {
    pub(crate) fn begin() -> Self {
        Self { before: ROUTE.replace(None) }
    }

    /// The route that was called, if one was.
    pub(crate) fn end(self) -> Option<&'static str> {
        ROUTE.replace(self.before)
    }
}

/// Without routers there are no routes.
#[cfg(not(feature = "axum"))]
pub(crate) fn noting_routes<T>(service: T) -> T {
    service
}
