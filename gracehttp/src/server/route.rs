//! Which route answers a request: the router knows it while it works, and whoever called it learns it afterwards.

#[cfg(feature = "axum")]
mod noting;

use std::cell::Cell;
#[cfg(any(feature = "admin", feature = "axum"))]
use std::sync::atomic::AtomicBool;
#[cfg(feature = "admin")]
use std::sync::atomic::Ordering;

#[cfg(feature = "axum")]
pub(crate) use noting::{Routed, noting_routes};

/// Whether the routers of the application are to note their routes. The routes of modules always do: it costs nothing.
#[cfg(any(feature = "admin", feature = "axum"))]
static ARE_NOTED: AtomicBool = AtomicBool::new(false);

thread_local! {
    /// The template of the route that was called last on this thread.
    static ROUTE: Cell<Option<&'static str>> = const { Cell::new(None) };
}

/// From now on routers that the application makes note their routes.
#[cfg(feature = "admin")]
pub(crate) fn note_routes_of_routers() {
    ARE_NOTED.store(true, Ordering::Relaxed);
}

/// Does some work, and says which route was called in it. An outer route hides those within.
pub(crate) fn note_route<T>(work: impl FnOnce() -> T) -> (T, Option<&'static str>) {
    let before = ROUTE.replace(None);
    let done = work();
    (done, ROUTE.replace(before))
}

/// Without routers there are no routes.
#[cfg(not(feature = "axum"))]
pub(crate) fn noting_routes<T>(service: T) -> T {
    service
}
