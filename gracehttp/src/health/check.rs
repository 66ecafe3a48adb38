//! A health check as the application describes it.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use axum_core::BoxError;
use axum_core::extract::FromRequestParts;

use crate::error::Error;
use crate::health::probe::{Ask, Probe};
use crate::server::kinds::{Kind as _, Timeout};

/// The time that a check gets if it sets none.
const TIMEOUT: Duration = Duration::from_secs(2);

/// A check of something that the application needs, such as its database. [`#[health]`](macro@crate::health) declares one;
/// [`App::health`](crate::App::health) takes it.
///
/// Checks run before the application serves, and whenever an operator asks whether it is ready, at most once a second. Each
/// runs on the threads that serve, has a time limit, and may panic: then it has failed.
///
/// `S` is the state that the application's start-up code returns.
///
/// ```no_run
/// # #[cfg(feature = "axum")] {
/// use std::time::Duration;
///
/// use gracehttp::{App, HealthCheck, Server, State};
///
/// #[derive(Clone)]
/// struct Database;
///
/// impl Database {
///     async fn ping(&self) -> std::io::Result<()> {
///         Ok(())
///     }
/// }
///
/// let database = async |State(database): State<Database>| database.ping().await;
/// App::new(async || Database)
///     .serve(Server::builder("web").port(8080).health("/healthz").handler(async || "hello"))
///     .health(HealthCheck::new("database", database).timeout(Duration::from_secs(1)))
///     .run();
/// # }
/// ```
#[must_use = "a check is run by the application that it is given to"]
pub struct HealthCheck<S> {
    pub(crate) name: String,
    timeout: Duration,
    /// The fault in a call, reported when the application starts.
    pub(crate) fault: Option<Error>,
    bind: Box<dyn FnOnce(Arc<S>) -> Ask + Send>,
}

impl<S: Send + Sync + 'static> HealthCheck<S> {
    /// A check with the name that messages have for it, and a time limit of 2 s.
    pub fn new<F, M>(name: impl Into<String>, function: F) -> Self
    where
        F: HealthFunction<M, S>,
        M: 'static,
    {
        let bind = move |state: Arc<S>| -> Ask {
            Box::new(move || {
                let (function, state) = (function.clone(), state.clone());
                Box::pin(async move { function.check(state).await.map_err(|error| error.to_string()) })
            })
        };
        Self { name: name.into(), timeout: TIMEOUT, fault: None, bind: Box::new(bind) }
    }

    /// How long the check may take; 2 s by default. Then it has failed.
    pub fn timeout(mut self, limit: Duration) -> Self {
        match Timeout.accept(limit) {
            Ok(limit) => self.timeout = limit,
            Err(reason) => {
                let fault = format!("health check `{}`: its timeout is {reason}", self.name);
                self.fault = Some(Error::new(fault));
            }
        }
        self
    }

    /// The check of an application whose state is known.
    pub(crate) fn bind(self, state: Arc<S>) -> Probe {
        Probe::new(self.name, self.timeout, (self.bind)(state))
    }
}

impl<S> fmt::Debug for HealthCheck<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HealthCheck")
            .field("name", &self.name)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

/// What [`App::health`](crate::App::health) takes: a [`HealthCheck`], or a value that becomes one in an application with a
/// suitable state, such as `database::health()` for a function `database` with [`#[health]`](macro@crate::health).
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a health check",
    label = "not a health check of this application",
    note = "a health check is `name::health()` of a function with `#[gracehttp::health]`, or a result of \
            `HealthCheck::new`"
)]
pub trait IntoHealthCheck<S> {
    /// The check in an application with this state.
    fn into_health_check(self) -> HealthCheck<S>;
}

impl<S> IntoHealthCheck<S> for HealthCheck<S> {
    fn into_health_check(self) -> Self {
        self
    }
}

/// What a health check returns.
#[diagnostic::on_unimplemented(
    message = "a health check can't return `{Self}`",
    label = "this is not a `Result<(), E>` whose error can be reported",
    note = "implement `std::error::Error` for the error, or return `Result<(), String>`"
)]
pub trait HealthOutput {
    /// The result, with an error that can be shown.
    fn into_result(self) -> Result<(), BoxError>;
}

#[diagnostic::do_not_recommend]
impl<E: Into<BoxError>> HealthOutput for Result<(), E> {
    fn into_result(self) -> Result<(), BoxError> {
        self.map_err(Into::into)
    }
}

/// An async function that checks something: it takes up to four times `State<T>`, and returns `Result<(), E>`.
///
/// Other extractors work if they need nothing of a request. `M` distinguishes the implementations; it is always inferred.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a health check",
    label = "not an async function that returns `Result<(), E>`",
    note = "a health check is an `async fn(State<T>) -> Result<(), E>`, where `E` is an error, a `String` or a `&str`"
)]
pub trait HealthFunction<M, S>: Clone + Send + Sync + Sized + 'static {
    /// Runs the check once.
    fn check(self, state: Arc<S>) -> impl Future<Output = Result<(), BoxError>> + Send;
}

macro_rules! function_of {
    ($($argument:ident)*) => {
        impl<F, Fut, R, S, $($argument,)*> HealthFunction<($($argument,)*), S> for F
        where
            F: FnOnce($($argument,)*) -> Fut + Clone + Send + Sync + 'static,
            Fut: Future<Output = R> + Send,
            R: HealthOutput,
            S: Send + Sync + 'static,
            $($argument: FromRequestParts<S> + Send + 'static,)*
        {
            #[allow(non_snake_case, unused_mut, unused_variables)]
            async fn check(self, state: Arc<S>) -> Result<(), BoxError> {
                let (mut parts, ()) = http::Request::new(()).into_parts();
                $(
                    let Ok($argument) = $argument::from_request_parts(&mut parts, &state).await else {
                        return Err("one of its arguments needs a request, and there is none".into());
                    };
                )*
                self($($argument,)*).await.into_result()
            }
        }
    };
}

function_of!();
function_of!(A1);
function_of!(A1 A2);
function_of!(A1 A2 A3);
function_of!(A1 A2 A3 A4);
