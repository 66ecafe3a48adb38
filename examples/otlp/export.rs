//! Sends spans to a collector, some at a time.

use std::error::Error;
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::Duration;

use gracehttp::Body;
use hyper::client::conn::http1::handshake;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

/// The most spans that wait. A collector that is gone costs no more memory.
const MOST: usize = 10_000;

/// The pause between two exports, and how long one may take.
const PAUSE: Duration = Duration::from_millis(500);
const LIMIT: Duration = Duration::from_secs(3);

static ENDED: Mutex<Vec<Value>> = Mutex::new(Vec::new());

/// `host:port` of the collector.
static COLLECTOR: LazyLock<String> = LazyLock::new(|| {
    let endpoint = std::env::var("OTEL_EXPORTER_OTLP_ENDPOINT").unwrap_or_default();
    let endpoint = endpoint.trim_start_matches("http://").trim_end_matches('/');
    if endpoint.is_empty() { "127.0.0.1:4318".to_owned() } else { endpoint.to_owned() }
});

/// Keeps a span until the next export.
pub(crate) fn keep(span: Value) {
    let mut ended = ENDED.lock().unwrap_or_else(PoisonError::into_inner);
    if ended.len() < MOST {
        ended.push(span);
    }
}

/// Exports from now on. The spans of the drain go last, when all requests have their answers.
pub(crate) fn begin() {
    gracehttp::spawn(async |mut shutdown| {
        loop {
            tokio::select! {
                () = &mut shutdown => return,
                () = sleep(PAUSE) => export().await,
            }
        }
    });
    gracehttp::on_exit(export());
}

async fn export() {
    let spans = std::mem::take(&mut *ENDED.lock().unwrap_or_else(PoisonError::into_inner));
    if spans.is_empty() {
        return;
    }
    let sent = timeout(LIMIT, send(&spans)).await;
    if let Err(error) = sent.unwrap_or_else(|_| Err("it does not answer".into())) {
        eprintln!("{} spans are lost: {}: {error}", spans.len(), *COLLECTOR);
    }
}

async fn send(spans: &[Value]) -> Result<(), Box<dyn Error + Send + Sync>> {
    let service = json!({ "key": "service.name", "value": { "stringValue": "otlp-example" } });
    let request = json!({ "resourceSpans": [{
        "resource": { "attributes": [service] },
        "scopeSpans": [{ "scope": { "name": "gracehttp" }, "spans": spans }],
    }] });
    let stream = TcpStream::connect(&*COLLECTOR).await?;
    let (mut sender, connection) = handshake(TokioIo::new(stream)).await?;
    let connection = tokio::spawn(connection);
    let request = gracehttp::axum::http::Request::post("/v1/traces")
        .header("host", &*COLLECTOR)
        .header("content-type", "application/json")
        .body(Body::from(request.to_string()))?;
    let response = sender.send_request(request).await?;
    connection.abort();
    match response.status() {
        status if status.is_success() => Ok(()),
        status => Err(format!("it answers {status}").into()),
    }
}
