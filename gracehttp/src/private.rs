//! What the attributes expand to beside the public builders. It may change with any release.

use std::future::Future;
use std::marker::PhantomData;

use axum_core::BoxError;
use serde::de::DeserializeOwned;
use tower_service::Service;

use crate::config::{Section, read_settings, refuse_settings};
pub use crate::health::HealthOutput;
pub use crate::server::{Clash, Listens, Output};
use crate::{
    App, Error, FromRef, FromRequest, FromRequestParts, IntoResponse, Request, Server, ServerBuilder,
};

/// Reads these bytes so many times with the strict reader of HTTP/1, and returns how many request heads it passes.
/// For the benchmark `heads`.
#[cfg(feature = "test-kit")]
pub fn read_heads(bytes: &[u8], times: u64) -> u64 {
    crate::conn::read_heads(bytes, times)
}

/// Plays a script of records, from a client that may send anything, to a TLS session. For the fuzz target `records`.
///
/// # Panics
///
/// If the session breaks a rule: if it returns data that the client has not sealed, for example.
#[cfg(all(feature = "test-kit", feature = "tls"))]
pub fn open_records(script: &[u8]) {
    crate::record::open_records(script, 0);
}

/// Plays a script of records to a TLS session and to a rustls server with the same keys. For the fuzz target `rustls`.
///
/// # Panics
///
/// If the two differ and no RFC says so.
#[cfg(all(feature = "test-kit", feature = "self-signed"))]
pub fn open_as_rustls(script: &[u8]) {
    crate::record::open_as_rustls(&crate::tls::crypto_provider(), script);
}

/// Reads a datagram as predecessor and successor do. For the fuzz target `messages`.
///
/// # Panics
///
/// If the message is another one after it was written and read again.
#[cfg(all(feature = "test-kit", feature = "tls"))]
pub fn read_handoff_message(datagram: &[u8]) {
    crate::handoff::read_message(datagram);
}

/// Reads the beginning of a connection that may have a PROXY header. For the fuzz target `proxy_headers`.
///
/// # Panics
///
/// If the header depends on how its bytes come, or is another one when it is read again.
#[cfg(feature = "test-kit")]
pub fn read_proxy_header(bytes: &[u8]) {
    crate::proxy::read_header(bytes);
}

/// Reads the fields of a request from a trusted proxy. For the fuzz target `forwarded_fields`.
///
/// # Panics
///
/// If what a client has sent to the proxy changes who the client is.
#[cfg(feature = "test-kit")]
pub fn read_forwarded_fields(script: &[u8]) {
    crate::proxy::read_fields(script);
}

/// Lowers the limit of TLS records that one key may seal, in this process. For tests of what happens at the limit.
#[cfg(all(feature = "test-kit", feature = "tls"))]
pub fn lower_record_limit(records: u64) {
    crate::record::lower_limit(records);
}

/// Modules of routes, and the router of axum that serves them.
#[cfg(feature = "axum")]
pub mod routes {
    pub use crate::server::routes::{
        Kind, Lists, OwnRoutes, Router, Routes, Table, handler, join, routing, serve,
    };

    /// What an entry of `routes(…)` means where it is a module without `#[routes]`.
    ///
    /// The macros import all of this, and the entry as `with_attribute_routes`; in a scope within that, everything
    /// of the entry. What has the attribute has a type of the same name, which shadows this one.
    pub mod undeclared {
        use std::sync::Arc;

        use super::{Kind, Router, Routes, Table};

        /// An entry that exists is a module, and leaves this value of its name in sight.
        #[allow(non_upper_case_globals)]
        pub const with_attribute_routes: () = ();

        /// Stands in for a module of routes, so that the compiler can say by name what is none.
        #[derive(Debug)]
        pub struct WithAttributeRoutes {}

        impl WithAttributeRoutes {
            /// What the compiler refuses.
            pub const TABLE: Table = Table { kind: Kind::Undeclared, ..Table::EMPTY };
        }

        impl<S> Routes<S, ()> for WithAttributeRoutes {
            fn router(self, _: &str, _: &Arc<S>) -> Router {
                unreachable!("what has no routes does not compile")
            }
        }
    }
}

/// A state, or a part of one, that servers can have of a main that returns `S`.
#[diagnostic::on_unimplemented(
    message = "main does not provide the state `{Self}`",
    label = "this server needs the state `{Self}`, and main returns `{S}`",
    note = "return `{Self}` from main, or implement `FromRef<{S}>` for `{Self}` to make it from the value that main returns"
)]
pub trait ProvidedBy<S>: FromRef<S> {}

#[diagnostic::do_not_recommend]
impl<T: FromRef<S>, S> ProvidedBy<S> for T {}

/// An argument of a handler that is not the last one.
#[diagnostic::on_unimplemented(
    message = "`{Self}` can't be an argument before the last one",
    label = "a handler of this server takes `{Self}`, which is not an extractor, or takes the body",
    note = "every argument of a handler is an extractor; the one that takes the body, such as `Json`, `String` or \
            `Request`, comes last",
    note = "take the value that main returns as `State<{S}>`, a part of it as `State<T>` with `T: FromRef<{S}>`",
    note = "`Path<T>` and `Query<T>` need `T: Deserialize`: derive it",
    note = "for an extractor of your own, implement `FromRequestParts<S>` for every state `S`, or for `{S}`"
)]
pub trait Argument<S>: FromRequestParts<S> + Send + 'static {}

#[diagnostic::do_not_recommend]
impl<T: FromRequestParts<S> + Send + 'static, S> Argument<S> for T {}

/// The last argument of a handler. `M` tells those that take the body from those that do not.
#[diagnostic::on_unimplemented(
    message = "`{Self}` can't be an argument of a handler",
    label = "a handler of this server takes `{Self}`, which is not an extractor",
    note = "every argument is an extractor, such as `Path<u64>`, `Query<T>`, `Json<T>` or `State<T>`",
    note = "take the value that main returns as `State<{S}>`, a part of it as `State<T>` with `T: FromRef<{S}>`",
    note = "`Path<T>`, `Query<T>`, `Form<T>` and `Json<T>` need `T: Deserialize` to be taken: derive it",
    note = "for an extractor of your own, implement `FromRequestParts<S>` for every state `S`, or for `{S}`"
)]
pub trait LastArgument<S, M>: FromRequest<S, M> + Send + 'static {}

#[diagnostic::do_not_recommend]
impl<T: FromRequest<S, M> + Send + 'static, S, M> LastArgument<S, M> for T {}

/// What a name in `servers(…)` means where it is a function, or anything else, without `#[server]`.
///
/// [`main`](macro@crate::main) imports each name as `with_attribute_server`. An item that has the
/// attribute is a type or a module, too, and shadows the type that this module is imported for.
pub mod undeclared {
    use super::Listens;
    use crate::{HealthCheck, IntoHealthCheck, IntoServer, Server};

    /// Stands in for a server, so that the compiler can say by name what is none.
    #[allow(non_camel_case_types)]
    #[derive(Debug)]
    pub struct with_attribute_server;

    impl with_attribute_server {
        /// As every server's.
        pub const fn server() -> Self {
            Self
        }

        /// What the compiler refuses.
        pub const fn listens(&self) -> Listens {
            Listens::Undeclared
        }
    }

    impl<S> IntoServer<S, ()> for with_attribute_server {
        fn into_server(self) -> Server<S> {
            unreachable!("what is no server does not compile")
        }
    }

    /// The same for a name in `health(…)`.
    #[allow(non_camel_case_types)]
    #[derive(Debug)]
    pub struct with_attribute_health;

    impl with_attribute_health {
        /// As every health check's.
        pub const fn health() -> Self {
            Self
        }

        /// What the compiler refuses.
        pub const fn is_health_check(&self) -> bool {
            false
        }
    }

    impl<S> IntoHealthCheck<S> for with_attribute_health {
        fn into_health_check(self) -> HealthCheck<S> {
            unreachable!("what is no health check does not compile")
        }
    }
}

/// A state, or a part of one, that health checks can have of a main that returns `S`.
#[diagnostic::on_unimplemented(
    message = "main does not provide the state `{Self}`",
    label = "this health check needs the state `{Self}`, and main returns `{S}`",
    note = "return `{Self}` from main, or implement `FromRef<{S}>` for `{Self}` to make it from the value that main returns"
)]
pub trait CheckedState<S>: FromRef<S> {}

#[diagnostic::do_not_recommend]
impl<T: FromRef<S>, S> CheckedState<S> for T {}

/// An argument of a health check.
#[diagnostic::on_unimplemented(
    message = "`{Self}` can't be an argument of a health check",
    label = "this health check takes `{Self}`, which is not an extractor",
    note = "take the value that main returns as `State<{S}>`, a part of it as `State<T>` with `T: FromRef<{S}>`"
)]
pub trait CheckArgument<S>: FromRequestParts<S> + Send + 'static {}

#[diagnostic::do_not_recommend]
impl<T: FromRequestParts<S> + Send + 'static, S> CheckArgument<S> for T {}

/// What a factory returns.
#[diagnostic::on_unimplemented(
    message = "a factory can't return `{Self}`",
    label = "not a service that answers requests",
    note = "a plain `fn` is a factory: it returns a cloneable tower `Service` of requests, such as an `axum::Router`",
    note = "a `Router<S>` becomes a service by `with_state(…)`, which gives it its state",
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

/// What start-up code may fail with.
#[diagnostic::on_unimplemented(
    message = "main can't fail with `{Self}`",
    label = "not an error that can be reported",
    note = "implement `std::error::Error` for it, or let main return `Box<dyn Error + Send + Sync>`"
)]
pub trait Failure: Into<BoxError> {}

#[diagnostic::do_not_recommend]
impl<E: Into<BoxError>> Failure for E {}

/// What main can take: the table `[app]` of the configuration file, in a type of the application's own.
#[diagnostic::on_unimplemented(
    message = "main can't take `{Self}` as its settings",
    label = "serde can't read this from the table `[app]` of the configuration file",
    note = "derive `serde::Deserialize` for it"
)]
pub trait AppSettings: DeserializeOwned + Send + 'static {}

#[diagnostic::do_not_recommend]
impl<T: DeserializeOwned + Send + 'static> AppSettings for T {}

/// Start-up code that takes `A` and has the output `O`.
///
/// [`StartUp::app`] exists where `O` is a `Result`, under any name; everywhere else method resolution falls
/// back to [`Infallible::app`].
#[derive(Debug)]
pub struct StartUp<F, A, O> {
    start_up: F,
    read: fn(&Section<'_>) -> Result<A, Error>,
    output: PhantomData<fn() -> O>,
}

/// Start-up code that takes nothing; its future gives the type of its output.
pub fn start_up<F, Fut>(start_up: F) -> StartUp<impl FnOnce(()) -> Fut, (), Fut::Output>
where
    F: FnOnce() -> Fut,
    Fut: Future,
{
    StartUp { start_up: |()| start_up(), read: refuse_settings, output: PhantomData }
}

/// Start-up code that takes the application's settings.
pub fn start_up_with_settings<F, A, Fut>(start_up: F) -> StartUp<F, A, Fut::Output>
where
    F: FnOnce(A) -> Fut,
    A: AppSettings,
    Fut: Future,
{
    StartUp { start_up, read: read_settings, output: PhantomData }
}

impl<F, A, S, E> StartUp<F, A, Result<S, E>> {
    /// The application of start-up code that can fail.
    pub fn app<Fut>(self) -> App<S>
    where
        F: FnOnce(A) -> Fut + Send + 'static,
        A: Send + 'static,
        Fut: Future<Output = Result<S, E>>,
        S: Clone + Send + Sync + 'static,
        E: Failure,
    {
        App::try_reading(self.read, self.start_up)
    }
}

/// Start-up code that can't fail.
pub trait Infallible<F, A, S> {
    /// Its application.
    fn app<Fut>(self) -> App<S>
    where
        F: FnOnce(A) -> Fut + Send + 'static,
        A: Send + 'static,
        Fut: Future<Output = S>,
        S: Clone + Send + Sync + 'static;
}

impl<F, A, S> Infallible<F, A, S> for StartUp<F, A, S> {
    fn app<Fut>(self) -> App<S>
    where
        F: FnOnce(A) -> Fut + Send + 'static,
        A: Send + 'static,
        Fut: Future<Output = S>,
        S: Clone + Send + Sync + 'static,
    {
        App::reading(self.read, self.start_up)
    }
}
