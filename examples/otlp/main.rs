//! A span for each request, exported by OTLP over HTTP.
//!
//! ```text
//! cargo run --example otlp --features otlp
//! curl -H 'traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01' localhost:9090/users/7
//! ```
//!
//! The spans go to `OTEL_EXPORTER_OTLP_ENDPOINT`, by default `http://127.0.0.1:4318`: an OpenTelemetry Collector, Jaeger,
//! Tempo. `request_span = true` makes them, with the names of OpenTelemetry's conventions. The subscriber is an ordinary
//! one, so a service that uses the crates of OpenTelemetry takes `tracing-opentelemetry` instead of `spans.rs` and
//! `export.rs`. These need none of its crates, and show what there is to do: take over the client's trace, and send the
//! last spans when the process ends.
//!
//! `GRACEHTTP_SERVER__API__PORT=8080` sets another port.

mod export;
mod spans;

use gracehttp::server;
use tracing_subscriber::Layer as _;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

#[server(port = 9090, request_id = true, request_span = true)]
mod api {
    use gracehttp::{Path, RequestId};

    #[gracehttp::get("/users/{id}")]
    async fn user(Path(id): Path<u64>, request: RequestId) -> String {
        let name = look_up(id).await;
        format!("{name}, asked for by {}\n", request.as_str())
    }

    /// A span of the application's own, inside that of the request.
    #[tracing::instrument]
    async fn look_up(id: u64) -> String {
        tracing::info!("a user is looked up");
        format!("user {id}")
    }
}

#[gracehttp::main(servers(api))]
async fn main() {
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    tracing_subscriber::registry().with(lines.with_filter(LevelFilter::INFO)).with(spans::Exported).init();
    export::begin();
}
