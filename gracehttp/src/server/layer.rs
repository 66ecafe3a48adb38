//! Tower layers around a server of any kind.

use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum_core::BoxError;
use axum_core::body::Body;
use axum_core::response::IntoResponse;
use bytes::Bytes;
use tower_layer::Layer;
use tower_service::Service;

use crate::server::service::ServiceDispatch;
use crate::server::{Dispatch, Request, Response, ResponseFuture, Server, Surroundings};

impl<S: 'static> Server<S> {
    /// Adds a tower layer around the whole server: tracing, compression, CORS, authentication. The layer that was
    /// added last sees a request first.
    ///
    /// An error of the layer's service is logged and answered with `500 Internal Server Error`.
    ///
    /// ```
    /// use gracehttp::{Request, Server};
    ///
    /// async fn path(request: Request) -> String {
    ///     request.uri().path().to_owned()
    /// }
    ///
    /// let server: Server<()> = Server::builder("path").port(0).handler(path).layer(tower_layer::Identity::new());
    /// ```
    #[must_use]
    pub fn layer<L, T>(self, layer: L) -> Self
    where
        L: Layer<BoxService, Service = T> + Send + 'static,
        T: Service<Request> + Clone + Send + Sync + 'static,
        T::Response: IntoResponse,
        T::Error: Into<BoxError>,
        T::Future: Send,
    {
        let Self { options, faults, answers, make } = self;
        let name = options.name.clone();
        let make = move |state: &S| -> Arc<dyn Dispatch> {
            Arc::new(ServiceDispatch::new(layer.layer(BoxService(make(state))), &name))
        };
        Self { options, faults, answers, make: Box::new(make) }
    }
}

/// The service inside a layer: it answers the requests of the server.
#[derive(Clone)]
pub struct BoxService(Arc<dyn Dispatch>);

#[cfg(feature = "axum")]
impl BoxService {
    pub(crate) fn new(dispatch: impl Dispatch) -> Self {
        Self(Arc::new(dispatch))
    }

    /// The same as a call, without a future of its own.
    pub(crate) fn dispatch(&self, request: Request, surroundings: Surroundings<'_>) -> ResponseFuture {
        self.0.call(request, surroundings)
    }
}

/// It takes requests with any body, since layers such as limits and decompression wrap the body.
impl<B> Service<http::Request<B>> for BoxService
where
    B: http_body::Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Answer;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<B>) -> Answer {
        // A layer has got the surroundings with the request.
        Answer(self.0.call(request.map(Body::new), Surroundings::default()))
    }
}

impl fmt::Debug for BoxService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BoxService").finish_non_exhaustive()
    }
}

/// The future of a [`BoxService`]'s response.
pub struct Answer(ResponseFuture);

impl Future for Answer {
    type Output = Result<Response, Infallible>;

    fn poll(mut self: std::pin::Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(cx).map(Ok)
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::task::ready;

    use tower_layer::layer_fn;

    use super::*;

    /// Adds a letter to the path. If the path is then `/ab`, it fails, as a layer that checks permissions does.
    #[derive(Clone)]
    struct Guard<T>(T, char);

    impl<T> Service<Request> for Guard<T>
    where
        T: Service<Request, Future: Send + Unpin + 'static, Error: Into<BoxError>>,
    {
        type Response = T::Response;
        type Error = BoxError;
        type Future = Guarded<T::Future>;

        fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
            self.0.poll_ready(cx).map_err(Into::into)
        }

        fn call(&mut self, mut request: Request) -> Self::Future {
            let path = format!("{}{}", request.uri().path(), self.1);
            *request.uri_mut() = path.parse().unwrap();
            Guarded(self.0.call(request), path == "/ab")
        }
    }

    struct Guarded<F>(F, bool);

    impl<F, R, E> Future for Guarded<F>
    where
        F: Future<Output = Result<R, E>> + Unpin,
        E: Into<BoxError>,
    {
        type Output = Result<R, BoxError>;

        fn poll(mut self: std::pin::Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
            let outcome = ready!(std::pin::Pin::new(&mut self.0).poll(cx)).map_err(Into::into);
            Poll::Ready(if self.1 { Err("not for you".into()) } else { outcome })
        }
    }

    async fn ask(path: &str) -> (u16, String) {
        let echo = async |request: Request| request.uri().path().to_owned();
        let server: Server<()> = Server::builder("echo")
            .handler(echo)
            .layer(layer_fn(|inner| Guard(inner, 'b')))
            .layer(layer_fn(|inner| Guard(inner, 'a')));
        let request = http::Request::get(path).body(Body::empty()).unwrap();
        let response = (server.make)(&()).call(request, Surroundings::default()).await;
        let status = response.status().as_u16();
        let body = http_body_util::BodyExt::collect(response.into_body()).await.unwrap().to_bytes();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn the_last_layer_sees_a_request_first_and_an_error_is_answered() {
        assert_eq!(ask("/x").await, (200, "/xab".to_owned()));
        assert_eq!(ask("/").await, (500, String::new()));
    }
}
