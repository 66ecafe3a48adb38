//! Direct routes against axum's router, on random routes and requests: neither handlers nor clients can tell.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use axum::extract::{OptionalFromRequestParts, RawPathParams};
use axum::response::IntoResponse;
use http_body_util::BodyExt as _;
use tower_layer::layer_fn;

use super::*;
use crate::server::routes::router::Answerer;
use crate::server::routes::{Place, Router, handler, join, routing};

/// A small generator (xorshift): the same numbers each time.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % limit as u64) as usize
    }

    fn of<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len())]
    }

    fn path(&mut self, segments: &[&str]) -> String {
        (0..=self.below(3)).map(|_| format!("/{}", self.of(segments))).collect()
    }
}

const SEGMENTS: [&str; 6] = ["a", "b", "users", "a%20b", "%C3%A4", ""];
const PREFIXES: [&str; 3] = ["", "/api", "/api/v1"];
const METHODS: [&str; 9] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW"];

/// Tells all that a handler can find in a request.
async fn told(request: Request) -> impl IntoResponse {
    let (mut parts, body) = request.into_parts();
    let matched = <MatchedPath as OptionalFromRequestParts<()>>::from_request_parts(&mut parts, &()).await;
    let original = parts.extensions.get::<OriginalUri>().map(|uri| uri.0.clone());
    let mut text = format!("{} {} {matched:?} {original:?}", parts.method, parts.uri);
    let number = parts.extensions.len();
    let params =
        <RawPathParams as axum::extract::FromRequestParts<()>>::from_request_parts(&mut parts, &()).await;
    match params {
        Ok(params) => params.iter().for_each(|param| _ = write!(text, " {param:?}")),
        Err(rejection) => _ = write!(text, " {rejection}"),
    }
    let body = body.collect().await.unwrap().to_bytes();
    _ = write!(text, " {number} extensions, {} bytes", body.len());
    ([("x-told", "yes")], text)
}

/// Needs nothing of a request, and has nothing to say.
async fn nothing() {}

fn of_method(method: &str, answerer: Answerer) -> crate::server::routes::router::MethodRouter {
    match method {
        "GET" => routing::get_service(answerer),
        "HEAD" => routing::head_service(answerer),
        "POST" => routing::post_service(answerer),
        "PUT" => routing::put_service(answerer),
        "PATCH" => routing::patch_service(answerer),
        "DELETE" => routing::delete_service(answerer),
        "OPTIONS" => routing::options_service(answerer),
        "TRACE" => routing::trace_service(answerer),
        _ => routing::any_service(answerer),
    }
}

/// A layer that clients can see.
#[derive(Clone)]
struct Marked<T>(T);

impl<T> tower_service::Service<Request> for Marked<T>
where
    T: tower_service::Service<Request, Response = Response> + Clone,
    T::Future: Send + 'static,
{
    type Response = Response;
    type Error = T::Error;
    type Future = std::pin::Pin<Box<dyn Future<Output = Result<Response, T::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> std::task::Poll<Result<(), T::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let answer = self.0.call(request);
        Box::pin(async move {
            let mut response = answer.await?;
            response.headers_mut().insert("x-marked", HeaderValue::from_static("yes"));
            Ok(response)
        })
    }
}

/// Random routes that axum takes, in some modules, of which one may have a layer.
fn routes(random: &mut Random) -> (Router, Vec<String>) {
    let state = Arc::new(());
    let mut known: Vec<(&'static str, Place)> = Vec::new();
    let mut whole = Router::new();
    for _ in 0..3 {
        let prefix = *random.of(&PREFIXES);
        let mut module = Router::new();
        for _ in 0..random.below(6) {
            let method = *random.of(&METHODS);
            let with_parameter = [&SEGMENTS[..], &["{id}"]].concat();
            let path: &'static str = join(prefix, &random.path(&with_parameter)).leak();
            let place = Place::ROOT.then(path);
            let clashes = |(other, known): &(&str, Place)| {
                known.rivals(place, *other == method || method == "BREW" || *other == "BREW")
            };
            if path.matches("{id}").count() > 1 || known.iter().any(clashes) {
                continue;
            }
            known.push((method, place));
            let answerer = match random.below(2) {
                0 => handler::<_, ((),), ()>(nothing, &state),
                _ => handler(told, &state),
            };
            let route = of_method(method, answerer);
            let is_layered = random.below(4) == 0;
            module = module.route(path, if is_layered { route.layer(layer_fn(Marked)) } else { route });
        }
        let is_layered = random.below(3) == 0;
        whole = whole.merge(if is_layered { module.layer(layer_fn(Marked)) } else { module });
    }
    let paths = known.iter().map(|(_, place)| place.parts[0].replace("{id}", "7")).collect();
    (whole, paths)
}

async fn answer(dispatch: &impl Dispatch, method: &str, target: &str, facts: &Extensions) -> String {
    let body = Body::from("body");
    let request = http::Request::builder().method(method).uri(target).body(body).unwrap();
    let mut response = dispatch.call(request, Surroundings::of_connection(facts)).await;
    // As hyper does.
    if !response.body().is_end_stream() {
        declare_length(&mut response);
    }
    let (head, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    format!("{} {:?} {:?} {body:?}", head.status, head.headers, head.extensions)
}

#[tokio::test]
async fn a_direct_route_answers_as_axum_does() {
    let mut facts = Extensions::new();
    facts.insert(7_u8);
    let (mut direct, mut answers) = (0, BTreeSet::new());
    for seed in 1..400 {
        let mut random = Random(seed * 0x9e37_79b9);
        let (router, paths) = routes(&mut random);
        direct += router.direct.len();
        let alone = Router { axum: router.axum.clone(), direct: Vec::new() }.dispatch(std::convert::identity);
        let both = router.dispatch(std::convert::identity);
        for _ in 0..40 {
            let known = random.below(4) > 0 && !paths.is_empty();
            let path = if known { random.of(&paths).clone() } else { random.path(&SEGMENTS) };
            let query = *random.of(&["", "", "?a=b%20c", "?"]);
            let (method, target) = (*random.of(&METHODS), format!("{path}{query}"));
            let expected = answer(&alone, method, &target, &facts).await;
            assert_eq!(answer(&both, method, &target, &facts).await, expected, "{seed}: {method} {target}");
            answers.insert(expected);
        }
    }
    // What was compared is worth it.
    assert!(direct > 500 && answers.len() > 200, "{direct} direct routes, {} answers", answers.len());
}
