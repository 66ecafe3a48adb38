//! The two servers of the shop: one for customers, one for the staff.

use std::time::Duration;

use axum::http::header::CONTENT_TYPE;
use gracehttp::{Method, StatusCode, server};
use tower_http::compression::CompressionLayer;
use tower_http::cors::{Any, CorsLayer};
use tower_http::timeout::TimeoutLayer;
use tower_http::trace::TraceLayer;

use crate::{news, orders, products};

/// For customers. With `RUST_LOG=info,tower_http=debug` the log has each request.
#[server(
    port = 9090,
    routes(products::routes, orders::routes, news::routes),
    layer = (TraceLayer::new_for_http(), for_browsers(), time_limit(), CompressionLayer::new())
)]
pub(crate) mod public {
    use axum::http::Uri;
    use gracehttp::{State, StatusCode};

    use crate::shop::Shop;

    #[get("/")]
    async fn welcome(State(shop): State<Shop>) -> String {
        format!("Welcome to {}. See /products, order at /orders, and follow the /news.\n", shop.name)
    }

    #[fallback]
    async fn nothing(uri: Uri) -> (StatusCode, String) {
        (StatusCode::NOT_FOUND, format!("There is nothing at {}.\n", uri.path()))
    }
}

/// For the staff: for users who may open the socket's file.
#[server(listen = "unix:/tmp/shop-admin.sock", max_conns = 16)]
pub(crate) mod admin {
    use gracehttp::{Generation, Json, Path, State};
    use serde::Serialize;

    use crate::products::{Product, Products};
    use crate::refusal::Refusal;
    use crate::shop::Shop;

    #[derive(Serialize)]
    struct Overview {
        pid: u32,
        generation: u64,
        orders: usize,
        cents: u64,
        readers: usize,
    }

    #[get("/overview")]
    async fn overview(State(shop): State<Shop>, Generation(generation): Generation) -> Json<Overview> {
        let (orders, cents) = shop.orders.totals();
        Json(Overview { pid: std::process::id(), generation, orders, cents, readers: shop.news.readers() })
    }

    /// The body is the number of new items.
    #[post("/products/{name}/stock")]
    async fn restock(
        State(products): State<Products>,
        Path(name): Path<String>,
        Json(count): Json<u32>,
    ) -> Result<Json<Product>, Refusal> {
        products.put(&name, count).map(Json)
    }
}

/// A response has to begin within this time. A stream of news may then go on.
fn time_limit() -> TimeoutLayer {
    TimeoutLayer::with_status_code(StatusCode::SERVICE_UNAVAILABLE, Duration::from_secs(10))
}

/// Pages of other sites may show the products and order them.
fn for_browsers() -> CorsLayer {
    CorsLayer::new()
        .allow_origin(Any)
        .allow_methods([Method::GET, Method::POST])
        .allow_headers([CONTENT_TYPE])
}
