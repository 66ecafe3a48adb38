//! The router of a module: axum's, and beside it the routes that need none.

use std::convert::Infallible;
use std::sync::Arc;

use axum::response::IntoResponse;
use axum::routing::Route;
use http::Method;
use tower_layer::Layer;
use tower_service::Service;

use crate::server::route::Routed;
use crate::server::routes::direct::{Declaring, Direct, DirectRoutes};
use crate::server::service::{HandlerDispatch, ServiceDispatch};
use crate::server::{BoxService, Dispatch, Handler, Request};

/// The routes of a module. Each is in axum's router, and those that a request can reach without it are noted.
#[derive(Debug, Default)]
pub struct Router {
    pub(super) axum: axum::Router,
    pub(super) direct: Vec<Direct>,
}

/// The handler of a route.
#[derive(Clone, Debug)]
pub struct Answerer {
    routed: BoxService,
    direct: BoxService,
}

/// What answers the methods of one path.
#[derive(Debug)]
pub struct MethodRouter {
    axum: axum::routing::MethodRouter,
    /// The method that reaches its handler without any layer.
    direct: Option<(Method, BoxService)>,
}

/// A handler as a route calls it. It shares the state as a server of one handler does; axum's own would clone the state
/// for each request.
pub fn handler<H, M, S>(handler: H, state: &Arc<S>) -> Answerer
where
    H: Handler<M, S>,
    M: 'static,
    S: Send + Sync + 'static,
{
    let routed = Routed::new(HandlerDispatch::new(handler.clone(), state));
    let direct = Declaring(HandlerDispatch::new(handler, state));
    Answerer { routed: BoxService::new(routed), direct: BoxService::new(direct) }
}

impl Router {
    /// No routes.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds what answers a path.
    #[must_use]
    pub fn route(mut self, path: &str, answers: MethodRouter) -> Self {
        if let Some((method, handler)) = answers.direct {
            self.direct.extend(Direct::of(method, path, handler));
        }
        Self { axum: self.axum.route(path, answers.axum), ..self }
    }

    /// Adds the routes of an included module.
    #[must_use]
    pub fn merge(mut self, included: Self) -> Self {
        self.direct.extend(included.direct);
        Self { axum: self.axum.merge(included.axum), ..self }
    }

    /// Sets what answers where no route does.
    #[must_use]
    pub fn fallback_service(self, answerer: Answerer) -> Self {
        Self { axum: self.axum.fallback_service(answerer.routed), ..self }
    }

    /// Puts a layer around all of its routes: the router alone knows the way through it.
    #[must_use]
    pub fn layer<L>(self, layer: L) -> Self
    where
        L: Layer<Route> + Clone + Send + Sync + 'static,
        L::Service: Service<Request> + Clone + Send + Sync + 'static,
        <L::Service as Service<Request>>::Response: IntoResponse + 'static,
        <L::Service as Service<Request>>::Error: Into<Infallible> + 'static,
        <L::Service as Service<Request>>::Future: Send + 'static,
    {
        Self { axum: self.axum.layer(layer), direct: Vec::new() }
    }

    /// The service of these routes.
    pub fn service(self) -> BoxService {
        BoxService::new(self.dispatch(std::convert::identity))
    }

    /// The service of these routes, with what the server adds to axum's router.
    pub(super) fn dispatch(self, complete: impl FnOnce(axum::Router) -> axum::Router) -> impl Dispatch {
        DirectRoutes::new(self.direct, ServiceDispatch::new(complete(self.axum), ""))
    }
}

impl MethodRouter {
    /// Puts a layer around the route.
    #[must_use]
    pub fn layer<L>(self, layer: L) -> Self
    where
        L: Layer<Route> + Clone + Send + Sync + 'static,
        L::Service: Service<Request> + Clone + Send + Sync + 'static,
        <L::Service as Service<Request>>::Response: IntoResponse + 'static,
        <L::Service as Service<Request>>::Error: Into<Infallible> + 'static,
        <L::Service as Service<Request>>::Future: Send + 'static,
    {
        Self { axum: self.axum.layer(layer), direct: None }
    }
}

/// One function for each method, as in axum.
pub mod routing {
    use axum::routing;
    use http::Method;

    use super::{Answerer, MethodRouter};

    macro_rules! methods {
        ($($name:ident: $method:expr;)*) => {
            $(
                /// The handler of a path with this method.
                pub fn $name(answerer: Answerer) -> MethodRouter {
                    let method: Option<Method> = $method;
                    let direct = method.map(|method| (method, answerer.direct));
                    MethodRouter { axum: routing::$name(answerer.routed), direct }
                }
            )*
        };
    }

    // axum's router changes the responses to HEAD and CONNECT.
    methods! {
        any_service: None;
        connect_service: None;
        delete_service: Some(Method::DELETE);
        get_service: Some(Method::GET);
        head_service: None;
        options_service: Some(Method::OPTIONS);
        patch_service: Some(Method::PATCH);
        post_service: Some(Method::POST);
        put_service: Some(Method::PUT);
        trace_service: Some(Method::TRACE);
    }
}
