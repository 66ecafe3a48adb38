//! Handler functions: async functions of extractors that return a response.

use std::future::Future;
use std::sync::Arc;

use axum_core::extract::{FromRequest, FromRequestParts};
use axum_core::response::IntoResponse;

use crate::server::{Request, Response, SharedState, Surroundings};

/// What a handler returns.
#[diagnostic::on_unimplemented(
    message = "a handler can't return `{Self}`",
    label = "this returns `{Self}`, which is not a response",
    note = "a response implements `IntoResponse`: a `String`, `Json<T>`, a status code, a `Response`, a tuple \
            of a status, headers and, last, a body, or a `Result` with a response on both sides",
    note = "`Json<T>` needs `T: Serialize` to be returned: derive it",
    note = "an error type needs its own `impl IntoResponse`",
    note = "a factory, a plain `fn`, returns a service such as an `axum::Router`"
)]
pub trait Output: IntoResponse {}

#[diagnostic::do_not_recommend]
impl<T: IntoResponse> Output for T {}

/// An async function that answers requests.
///
/// Every `async fn` of up to 16 arguments is a handler if all arguments but the last implement
/// [`FromRequestParts`], the last implements [`FromRequest`] (so that it may take the body), and the
/// output implements [`IntoResponse`]. Extraction runs from left to right; the first rejection is the
/// response.
///
/// `M` distinguishes the implementations; it is always inferred.
///
/// ```
/// use gracehttp::{Request, Server};
///
/// async fn echo_path(request: Request) -> String {
///     request.uri().path().to_owned()
/// }
///
/// let server: Server<()> = Server::builder("echo").port(0).handler(echo_path);
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a handler",
    label = "not an async function of extractors that returns a response",
    note = "a handler is an async fn; every argument is an extractor, only the last may take the body, \
            and the output implements `IntoResponse`"
)]
pub trait Handler<M, S>: Clone + Send + Sync + Sized + 'static {
    /// Answers one request.
    fn call(self, request: Request, state: Arc<S>) -> impl Future<Output = Response> + Send;

    /// Answers a request that comes without its surroundings. They are attached if the handler may read them.
    #[doc(hidden)]
    fn answer(
        self,
        mut request: Request,
        surroundings: Surroundings<'_>,
        state: &SharedState<S>,
    ) -> impl Future<Output = Response> + Send + use<Self, M, S> {
        surroundings.attach(&mut request);
        self.call(request, state.hold().share())
    }
}

impl<F, Fut, R, S> Handler<((),), S> for F
where
    F: FnOnce() -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = R> + Send,
    R: Output,
    S: Send + Sync + 'static,
{
    async fn call(self, request: Request, _state: Arc<S>) -> Response {
        // Dropped first, since nothing reads the body.
        drop(request);
        self().await.into_response()
    }

    /// It reads nothing: the request is dropped before it could make the future larger, and the state is not cloned, whose count
    /// all threads share.
    fn answer(
        self,
        _request: Request,
        _surroundings: Surroundings<'_>,
        _state: &SharedState<S>,
    ) -> impl Future<Output = Response> + Send + use<F, Fut, R, S> {
        async move { self().await.into_response() }
    }
}

macro_rules! handler_of {
    // With a single argument the request stays in one piece.
    (@parts $request:ident, $state:ident;) => {};
    (@parts $request:ident, $state:ident; $($part:ident)+) => {
        let (mut parts, body) = $request.into_parts();
        $(
            let $part = match $part::from_request_parts(&mut parts, &$state).await {
                Ok(value) => value,
                Err(rejection) => return rejection.into_response(),
            };
        )+
        let $request = Request::from_parts(parts, body);
    };
    (@answer $handler:ident, $request:ident, $state:ident; $($part:ident)*; $last:ident) => {{
        handler_of!(@parts $request, $state; $($part)*);
        let $last = match $last::from_request($request, &$state).await {
            Ok(value) => value,
            Err(rejection) => return rejection.into_response(),
        };
        $handler($($part,)* $last).await.into_response()
    }};
    ($($part:ident)* ; $last:ident) => {
        #[allow(non_snake_case)]
        impl<F, Fut, R, S, M, $($part,)* $last> Handler<(M, $($part,)* $last,), S> for F
        where
            F: FnOnce($($part,)* $last) -> Fut + Clone + Send + Sync + 'static,
            Fut: Future<Output = R> + Send,
            R: Output,
            S: Send + Sync + 'static,
            $($part: FromRequestParts<S> + Send,)*
            $last: FromRequest<S, M> + Send,
        {
            async fn call(self, request: Request, state: Arc<S>) -> Response {
                handler_of!(@answer self, request, state; $($part)*; $last)
            }

            fn answer(
                self,
                mut request: Request,
                surroundings: Surroundings<'_>,
                state: &SharedState<S>,
            ) -> impl Future<Output = Response> + Send + use<F, Fut, R, S, M, $($part,)* $last> {
                surroundings.attach(&mut request);
                let state = state.hold();
                async move { handler_of!(@answer self, request, state; $($part)*; $last) }
            }
        }
    };
}

handler_of!(; T1);
handler_of!(T1; T2);
handler_of!(T1 T2; T3);
handler_of!(T1 T2 T3; T4);
handler_of!(T1 T2 T3 T4; T5);
handler_of!(T1 T2 T3 T4 T5; T6);
handler_of!(T1 T2 T3 T4 T5 T6; T7);
handler_of!(T1 T2 T3 T4 T5 T6 T7; T8);
handler_of!(T1 T2 T3 T4 T5 T6 T7 T8; T9);
handler_of!(T1 T2 T3 T4 T5 T6 T7 T8 T9; T10);
handler_of!(T1 T2 T3 T4 T5 T6 T7 T8 T9 T10; T11);
handler_of!(T1 T2 T3 T4 T5 T6 T7 T8 T9 T10 T11; T12);
handler_of!(T1 T2 T3 T4 T5 T6 T7 T8 T9 T10 T11 T12; T13);
handler_of!(T1 T2 T3 T4 T5 T6 T7 T8 T9 T10 T11 T12 T13; T14);
handler_of!(T1 T2 T3 T4 T5 T6 T7 T8 T9 T10 T11 T12 T13 T14; T15);
handler_of!(T1 T2 T3 T4 T5 T6 T7 T8 T9 T10 T11 T12 T13 T14 T15; T16);
