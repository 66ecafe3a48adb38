//! How a connection gets its requests answered.
//!
//! A connection knows nothing of handlers, states or tower. It calls a [`Dispatch`], which hides their types.

use std::any::TypeId;
use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;

use axum_core::BoxError;
use axum_core::body::Body;
use axum_core::response::IntoResponse;
use http::StatusCode;
use tower_service::Service;

use crate::log;
use crate::server::{Asked, Handler, SharedState, Surroundings};

/// An HTTP request as handlers and services get it. It is axum's type, so that code for axum works here.
pub type Request = http::Request<Body>;

/// An HTTP response as handlers and services give it.
pub type Response = http::Response<Body>;

/// The future of one response.
pub(crate) type ResponseFuture = Pin<Box<dyn Future<Output = Response> + Send>>;

/// Why no handler has answered. It is an extension of the response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Instead {
    /// No route has this path with this method.
    #[cfg_attr(not(feature = "axum"), expect(dead_code))]
    NoRoute,
    /// The service has failed.
    ServiceFailed,
}

/// Answers the requests of a server. All of its connections share one.
pub(crate) trait Dispatch: Send + Sync + 'static {
    fn call(&self, request: Request, surroundings: Surroundings<'_>) -> ResponseFuture;
}

/// A handler function with the state that its extractors read.
pub(crate) struct HandlerDispatch<H, M, S> {
    handler: H,
    state: SharedState<S>,
    marker: std::marker::PhantomData<fn() -> M>,
}

impl<H, M, S> HandlerDispatch<H, M, S> {
    pub(crate) fn new(handler: H, state: &Arc<S>) -> Self {
        Self { handler, state: SharedState::new(state), marker: std::marker::PhantomData }
    }
}

impl<H, M, S> HandlerDispatch<H, M, S>
where
    H: Handler<M, S>,
{
    /// The handler's response, not boxed yet.
    pub(crate) fn response(
        &self,
        request: Request,
        surroundings: Surroundings<'_>,
    ) -> impl Future<Output = Response> + Send + use<H, M, S> {
        self.handler.clone().answer(request, surroundings, &self.state)
    }
}

impl<H, M, S> Dispatch for HandlerDispatch<H, M, S>
where
    H: Handler<M, S>,
    M: 'static,
    S: Send + Sync + 'static,
{
    fn call(&self, request: Request, surroundings: Surroundings<'_>) -> ResponseFuture {
        Box::pin(self.response(request, surroundings))
    }
}

/// A tower service, such as an axum `Router`. Each request gets its own clone, since `call` has to follow
/// `poll_ready` on the same one.
pub(crate) struct ServiceDispatch<T> {
    service: T,
    /// The name of the server, for the log.
    server: Arc<str>,
}

impl<T> ServiceDispatch<T> {
    pub(crate) fn new(service: T, server: &str) -> Self {
        Self { service, server: server.into() }
    }
}

impl<T> Dispatch for ServiceDispatch<T>
where
    T: Service<Request> + Clone + Send + Sync + 'static,
    T::Response: IntoResponse,
    T::Error: Into<BoxError>,
    T::Future: Send,
{
    fn call(&self, mut request: Request, surroundings: Surroundings<'_>) -> ResponseFuture {
        surroundings.attach(&mut request);
        let mut service = self.service.clone();
        // A service that can't fail, such as a router, needs nothing for the log.
        let can_fail = TypeId::of::<T::Error>() != TypeId::of::<Infallible>();
        let for_log = can_fail.then(|| (self.server.clone(), Asked::of(&request)));
        Box::pin(async move {
            let answer = async {
                poll_fn(|cx| service.poll_ready(cx)).await?;
                service.call(request).await
            };
            match answer.await {
                Ok(response) => response.into_response(),
                Err(error) => {
                    let error: BoxError = error.into();
                    if let Some((server, asked)) = for_log {
                        log::error(format_args!("server `{server}`: {asked}: its service failed: {error}"));
                    }
                    let mut response = StatusCode::INTERNAL_SERVER_ERROR.into_response();
                    response.extensions_mut().insert(Instead::ServiceFailed);
                    response
                }
            }
        })
    }
}
