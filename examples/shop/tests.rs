//! Tests of the shop: of its servers in memory, of one on a port, and of the whole program.
//!
//! An example is not a package, so these tests name its modules again. In a package they are a module of `main.rs`,
//! `#[cfg(test)] mod tests;`, and the last one is a file in `tests/`.

mod mail;
mod news;
mod orders;
mod products;
mod refusal;
mod servers;
mod shop;

use std::collections::BTreeMap;
use std::fs;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};

use futures_util::StreamExt as _;
use gracehttp::test::{self, RestartTest, TestServer};
use gracehttp::{Json, Request};
use serde_json::{Value, json};

use crate::products::Product;
use crate::servers::{admin, public};
use crate::shop::{Settings, Shop};

/// A shop with three pots of tea, and the file for its letters.
fn open(test: &str) -> (Shop, PathBuf) {
    let outbox = scratch(&format!("{test}.txt"));
    // An earlier run may have left letters there.
    let _ = fs::remove_file(&outbox);
    let tea = Product { cents: NonZeroU32::new(350).expect("a price"), stock: 3 };
    let products = BTreeMap::from([("tea".to_owned(), tea)]);
    let settings = Settings { name: "The Test Shop".to_owned(), outbox: outbox.clone(), products };
    (Shop::open(settings).expect("an outbox"), outbox)
}

fn scratch(file: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(file)
}

fn order(product: &str, quantity: u32) -> Request {
    test::post("/orders", Json(json!({ "product": product, "quantity": quantity })))
}

#[tokio::test]
async fn order_is_stored_and_found() {
    let (shop, _) = open("taken");
    let response = test::call(public::server(), shop.clone(), order("tea", 2)).await;
    assert_eq!(response.status(), 201);
    assert_eq!(response.headers()["location"], "/orders/1");
    let taken: Value = test::json(response).await;
    assert_eq!(taken, json!({ "number": 1, "product": "tea", "quantity": 2, "cents": 700 }));

    let found = test::call(public::server(), shop.clone(), test::get("/orders/1")).await;
    assert_eq!(test::json::<Value>(found).await, taken);
    let left = test::call(public::server(), shop, test::get("/products/tea")).await;
    assert_eq!(test::json::<Value>(left).await, json!({ "cents": 350, "stock": 1 }));
}

#[tokio::test]
async fn request_for_what_does_not_exist_is_refused() {
    let (shop, _) = open("refused");
    for (request, status, reason) in [
        (order("coffee", 1), 404, "We have no coffee.\n"),
        (order("tea", 4), 409, "There are only 3 left.\n"),
        (test::get("/orders/1"), 404, "There is no order 1.\n"),
        (test::get("/nowhere"), 404, "There is nothing at /nowhere.\n"),
    ] {
        let response = test::call(public::server(), shop.clone(), request).await;
        assert_eq!((response.status().as_u16(), test::text(response).await.as_str()), (status, reason));
    }
    assert_eq!(test::call(public::server(), shop, order("tea", 0)).await.status(), 422);
}

#[tokio::test]
async fn staff_sees_totals_and_restocks() {
    let (shop, _) = open("staff");
    let request = test::post("/products/tea/stock", Json(10));
    let filled = test::call(admin::server(), shop.clone(), request).await;
    assert_eq!(test::json::<Value>(filled).await["stock"], 13);
    test::call(public::server(), shop.clone(), order("tea", 13)).await;
    let overview = test::call(admin::server(), shop, test::get("/overview")).await;
    assert_eq!(test::json::<Value>(overview).await["cents"], 13 * 350);
}

#[tokio::test]
async fn browser_of_another_site_gets_a_compressed_response() {
    let (shop, _) = open("browsers");
    let mut request = test::get("/");
    request.headers_mut().insert("origin", "https://example.com".parse().expect("a header"));
    request.headers_mut().insert("accept-encoding", "gzip".parse().expect("a header"));
    let response = test::call(public::server(), shop, request).await;
    assert_eq!(response.headers()["content-encoding"], "gzip");
    assert_eq!(response.headers()["access-control-allow-origin"], "*");
}

#[tokio::test]
async fn shutdown_waits_for_letters() {
    let (shop, outbox) = open("letters");
    let server = TestServer::spawn(public::server(), shop).await;
    assert_eq!(server.request(order("tea", 2)).await.status(), 201);
    server.shutdown().await;
    assert_eq!(fs::read_to_string(&outbox).expect("the outbox"), "order 1: 2 tea for 700 cents\n");
}

#[tokio::test]
async fn news_have_an_event_for_each_order() {
    let (shop, _) = open("orders");
    let news = test::call(public::server(), shop.clone(), test::get("/news")).await;
    test::call(public::server(), shop, order("tea", 2)).await;
    let event = news.into_body().into_data_stream().next().await.expect("an event").expect("a whole one");
    assert_eq!(event, "event: order\ndata: 2 tea\n\n");
}

#[tokio::test]
async fn news_end_with_a_farewell_at_shutdown() {
    let (shop, _) = open("news");
    let server = TestServer::spawn(public::server(), shop.clone()).await;
    let news = tokio::spawn(server.get("/news"));
    while shop.news.readers() == 0 {
        tokio::task::yield_now().await;
    }
    server.shutdown().await;
    let news = test::text(news.await.expect("an answer")).await;
    assert_eq!(news, "event: farewell\nretry: 100\ndata: see you\n\n");
}

/// Uses the shipped configuration with another outbox.
#[tokio::test]
async fn no_customer_notices_a_restart_and_each_order_has_a_letter() {
    let outbox = scratch("restart.txt");
    let _ = fs::remove_file(&outbox);
    let config = include_str!("Gracehttp.toml").replace("/tmp/shop-outbox.txt", &outbox.to_string_lossy());
    fs::write(scratch("restart.toml"), config).expect("a scratch directory");
    let report = RestartTest::of(program(), "public")
        .listen("admin", "127.0.0.1:0")
        .env("GRACEHTTP_CONFIG", scratch("restart.toml"))
        .request(|| order("tea", 1))
        .run()
        .await;
    let letters = fs::read_to_string(&outbox).expect("the outbox").lines().count();
    assert_eq!(letters as u64, report.requests);
}

/// The path at which cargo puts the example. In a package of your own this is `env!("CARGO_BIN_EXE_shop")`.
fn program() -> PathBuf {
    let test = std::env::current_exe().expect("the test's own path");
    test.ancestors().nth(2).expect("target/PROFILE/deps").join("examples/shop")
}
