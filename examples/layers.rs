//! Layers from tower-http: tracing, compression and CORS around a server, and a time limit around one route.
//!
//! ```text
//! RUST_LOG=info cargo run --example layers --features layers
//! curl -v localhost:9090/poem                # not compressed; access-control-allow-origin: *
//! curl -v --compressed localhost:9090/poem   # content-encoding: gzip
//! curl -v localhost:9090/slow                # 504 after half a second
//! ```
//!
//! With `RUST_LOG=info` the log has two lines for each request: method and path, then status and latency. Without
//! `RUST_LOG` the log has only the messages of gracehttp.
//!
//! `GRACEHTTP_SERVER__LAYERED__PORT=8080` sets another port.

use gracehttp::server;
use tower_http::compression::CompressionLayer;
use tower_http::cors::CorsLayer;
use tower_http::trace::{
    DefaultMakeSpan, DefaultOnRequest, DefaultOnResponse, HttpMakeClassifier, TraceLayer,
};
use tracing::Level;

/// The first layer sees a request first, and its response last.
#[server(port = 9090, max_conns = 1000, layer = (trace(), CompressionLayer::new(), CorsLayer::permissive()))]
mod layered {
    use std::time::Duration;

    use gracehttp::StatusCode;
    use tower_http::timeout::TimeoutLayer;

    #[get("/poem")]
    async fn poem() -> String {
        "The woods are lovely, dark and deep,\n".repeat(100)
    }

    #[get("/slow", layer = half_a_second())]
    async fn slow() -> &'static str {
        tokio::time::sleep(Duration::from_secs(60)).await;
        "at last\n"
    }

    /// For a whole server, use the key `request_timeout`, which answers with 503.
    fn half_a_second() -> TimeoutLayer {
        TimeoutLayer::with_status_code(StatusCode::GATEWAY_TIMEOUT, Duration::from_millis(500))
    }
}

/// Its default level is debug, which `RUST_LOG=info` does not show.
fn trace() -> TraceLayer<HttpMakeClassifier> {
    TraceLayer::new_for_http()
        .make_span_with(DefaultMakeSpan::new().level(Level::INFO))
        .on_request(DefaultOnRequest::new().level(Level::INFO))
        .on_response(DefaultOnResponse::new().level(Level::INFO))
}

#[gracehttp::main(servers(layered))]
async fn main() {}
