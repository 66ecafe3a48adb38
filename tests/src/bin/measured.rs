//! The application of the tests of `metrics`: two servers whose requests are counted, and one that shows the counts.
//!
//! `MEASURED_METRICS` names a file with the metrics that this release of it registers beside its own, one a line:
//! `counter NAME`, `counters NAME LABEL,LABEL`, `histogram NAME BOUND,BOUND`, `gauge NAME`, `panics NAME` and
//! `fails NAME`, whose code does so when they are written, and `filler NAME`, which has 2000 series of 8 KB and 2000 small ones. A POST to
//! `/count` adds one to each.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::routing::get as on_get;
use gracehttp::metrics::prometheus_client::encoding::{EncodeMetric, MetricEncoder};
use gracehttp::metrics::prometheus_client::metrics::MetricType;
use gracehttp::metrics::prometheus_client::metrics::gauge::Gauge;
use gracehttp::metrics::{self, Counter, Counters, Format};
use gracehttp::{App, HeaderMap, IntoResponse, Server, State, server};

type Fault = Box<dyn std::error::Error + Send + Sync>;

/// What the application counts itself.
#[derive(Clone)]
struct Shop {
    orders: Counter,
    payments: Counters<1>,
    /// What the file asks for: each adds one.
    others: Vec<Arc<dyn Fn() + Send + Sync>>,
}

/// A metric whose code is broken.
#[derive(Debug)]
struct Broken {
    panics: bool,
}

impl EncodeMetric for Broken {
    fn encode(&self, _: MetricEncoder<'_>) -> fmt::Result {
        assert!(!self.panics, "this metric is broken");
        Err(fmt::Error)
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Gauge
    }
}

/// Registers what a line of the file says.
fn register(line: &str) -> Result<Arc<dyn Fn() + Send + Sync>, Fault> {
    let registry = metrics::registry();
    let help = "As a test asks for it";
    Ok(match line.split_whitespace().collect::<Vec<_>>()[..] {
        ["counter", name] => {
            let counter = registry.counter(name, help)?;
            Arc::new(move || counter.inc())
        }
        ["counters", name, labels] => {
            // Labels live as long as the process.
            let labels: Vec<&'static str> = labels.to_owned().leak().split(',').collect();
            match labels[..] {
                [one] => {
                    let counters = registry.counters(name, help, [one])?;
                    Arc::new(move || counters.with(["x"]).inc())
                }
                [one, other] => {
                    let counters = registry.counters(name, help, [one, other])?;
                    Arc::new(move || counters.with(["x", "x"]).inc())
                }
                _ => return Err(format!("one or two labels: {line}").into()),
            }
        }
        ["filler", name] => {
            let counters = registry.counters(name, help, ["number"])?;
            let fill = move |width: usize| {
                (0..2000).for_each(|number| counters.with([&format!("{number:0width$}")]).inc());
            };
            // What has no room for a large one may have some for small ones.
            Arc::new(move || [8192, 4].into_iter().for_each(&fill))
        }
        ["histogram", name, bounds] => {
            let bounds: Vec<f64> = bounds.split(',').filter_map(|bound| bound.parse().ok()).collect();
            let histogram = registry.histogram(name, help, &bounds)?;
            Arc::new(move || histogram.observe(5.0))
        }
        ["gauge", name] => {
            let gauge: Gauge = Gauge::default();
            registry.register(name, help, gauge.clone())?;
            Arc::new(move || _ = gauge.inc())
        }
        [fault @ ("panics" | "fails"), name] => {
            registry.register(name, help, Broken { panics: fault == "panics" })?;
            Arc::new(|| {})
        }
        _ => return Err(format!("what is {line}?").into()),
    })
}

impl Shop {
    fn open() -> Result<Self, Fault> {
        metrics::turn_on();
        let registry = metrics::registry();
        let file = std::env::var_os("MEASURED_METRICS").and_then(|file| std::fs::read_to_string(file).ok());
        Ok(Self {
            orders: registry.counter("shop_orders", "Orders")?,
            payments: registry.counters("shop_payments", "Payments", ["method"])?,
            others: file.unwrap_or_default().lines().map(register).collect::<Result<_, _>>()?,
        })
    }
}

#[server(port = 0, state = Shop)]
mod api {
    use super::*;
    use gracehttp::Path;
    use gracehttp::StatusCode;

    #[get("/ping")]
    async fn ping() -> String {
        format!("pong by pid:{}", std::process::id())
    }

    #[get("/users/{id}")]
    async fn user(Path(id): Path<String>) -> String {
        id
    }

    #[post("/orders")]
    async fn order(State(shop): State<Shop>) {
        shop.orders.inc();
        shop.payments.with(["card"]).inc_by(2);
    }

    #[post("/count")]
    async fn count(State(shop): State<Shop>) {
        shop.others.iter().for_each(|add| add());
    }

    #[get("/statuses/{status}")]
    async fn status(Path(status): Path<u16>) -> StatusCode {
        StatusCode::from_u16(status).unwrap_or_default()
    }

    #[get("/slow")]
    async fn slow() {
        tokio::time::sleep(Duration::from_secs(3600)).await;
    }

    #[get("/broken")]
    async fn broken() {
        panic!("broken");
    }
}

async fn text(headers: HeaderMap) -> impl IntoResponse {
    let accept = headers.get("accept").and_then(|value| value.to_str().ok());
    let format = Format::accepted(accept);
    ([("content-type", format.content_type())], metrics::encode(format))
}

fn main() -> std::process::ExitCode {
    let legacy = Server::builder("legacy").listen("127.0.0.1:0");
    App::try_new(async || Shop::open())
        .serve(api::server())
        .serve(legacy.service(Router::new().route("/old/{name}", on_get(async || "old"))))
        .serve(Server::builder("operator").listen("127.0.0.1:0").handler(text))
        .run()
}
