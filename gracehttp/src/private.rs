//! What the attributes expand to beside the public builders. It may change with any release.

use std::future::Future;
use std::marker::PhantomData;

use axum_core::BoxError;
use tower_service::Service;

/// Modules of routes, and the router of axum that serves them.
#[cfg(feature = "axum")]
pub mod routes {
    pub use axum::{Router, routing};

    pub use crate::server::routes::{OwnRoutes, Routes, Table, join, serve};
}

use crate::{App, FromRef, IntoResponse, Request, Server, ServerBuilder};

/// A state, or a part of one, that servers can have of a main that returns `S`.
#[diagnostic::on_unimplemented(
    message = "main does not provide the state `{Self}`",
    label = "this server needs the state `{Self}`, and main returns `{S}`",
    note = "return `{Self}` from main, or implement `FromRef<{S}>` for `{Self}` to make it of what main returns"
)]
pub trait ProvidedBy<S>: FromRef<S> {}

#[diagnostic::do_not_recommend]
impl<T: FromRef<S>, S> ProvidedBy<S> for T {}

/// What a factory returns.
#[diagnostic::on_unimplemented(
    message = "a factory can't return `{Self}`",
    label = "not a service that answers requests",
    note = "a plain `fn` is a factory: it returns a cloneable tower `Service` of requests, such as an `axum::Router`",
    note = "for a handler, which answers each request, write `async fn`"
)]
pub trait ServerService:
    Service<Request, Response: IntoResponse, Error: Into<BoxError>, Future: Send> + Clone + Send + Sync + 'static
{
}

#[diagnostic::do_not_recommend]
impl<T> ServerService for T where
    T: Service<Request, Response: IntoResponse, Error: Into<BoxError>, Future: Send>
        + Clone
        + Send
        + Sync
        + 'static
{
}

/// [`ServerBuilder::factory`], with better words for a function that is none.
pub fn factory<F, T, S>(builder: ServerBuilder, factory: F) -> Server<S>
where
    F: FnOnce(&S) -> T + Send + 'static,
    T: ServerService,
    S: 'static,
{
    builder.factory(factory)
}

/// `Tls::self_signed`; rustc knows of a function which feature it misses, and of a method it does not.
#[cfg(feature = "self-signed")]
pub fn self_signed() -> crate::Tls {
    crate::Tls::self_signed()
}

/// What start-up code may fail with.
#[diagnostic::on_unimplemented(
    message = "main can't fail with `{Self}`",
    label = "not an error that can be reported",
    note = "implement `std::error::Error` for it, or let main return `Box<dyn Error + Send + Sync>`"
)]
pub trait Failure: Into<BoxError> {}

#[diagnostic::do_not_recommend]
impl<E: Into<BoxError>> Failure for E {}

/// Start-up code with the output `O`.
///
/// [`StartUp::app`] exists where `O` is a `Result`, by whatever name; everywhere else method resolution falls
/// back to [`Infallible::app`].
#[derive(Debug)]
pub struct StartUp<F, O> {
    start_up: F,
    output: PhantomData<fn() -> O>,
}

impl<F, Fut> StartUp<F, Fut::Output>
where
    F: FnOnce() -> Fut,
    Fut: Future,
{
    /// Start-up code, whose output is told from its future.
    pub fn new(start_up: F) -> Self {
        Self { start_up, output: PhantomData }
    }
}

impl<F, S, E> StartUp<F, Result<S, E>> {
    /// The application of start-up code that can fail.
    pub fn app<Fut>(self) -> App<S>
    where
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output = Result<S, E>>,
        S: Clone + Send + Sync + 'static,
        E: Failure,
    {
        App::try_new(self.start_up)
    }
}

/// Start-up code that can't fail.
pub trait Infallible<F, S> {
    /// Its application.
    fn app<Fut>(self) -> App<S>
    where
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output = S>,
        S: Clone + Send + Sync + 'static;
}

impl<F, S> Infallible<F, S> for StartUp<F, S> {
    fn app<Fut>(self) -> App<S>
    where
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output = S>,
        S: Clone + Send + Sync + 'static,
    {
        App::new(self.start_up)
    }
}
