//! The application of the tests of `metrics`: two servers whose requests are counted, and one that shows the counts.

use std::time::Duration;

use axum::Router;
use axum::routing::get as on_get;
use gracehttp::metrics::{self, Counter, Counters, Format};
use gracehttp::{App, Error, HeaderMap, IntoResponse, Server, State, server};

/// What the application counts itself.
#[derive(Clone)]
struct Shop {
    orders: Counter,
    payments: Counters<1>,
}

impl Shop {
    fn open() -> Result<Self, Error> {
        // So that the cost of metrics can be measured.
        if std::env::var_os("MEASURED_OFF").is_none() {
            metrics::turn_on();
        }
        let registry = metrics::registry();
        Ok(Self {
            orders: registry.counter("shop_orders", "Orders")?,
            payments: registry.counters("shop_payments", "Payments", ["method"])?,
        })
    }
}

#[server(port = 0, state = Shop)]
mod api {
    use super::*;
    use gracehttp::Path;

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
