//! A shop: two servers, routes in several files, a state in parts, settings of its own, layers, background
//! tasks, server-sent events, and clean-up code. `tests.rs` tests all of it.
//!
//! ```text
//! cargo run --example shop --features shop
//! curl localhost:9090/products                                              # all products
//! curl -v localhost:9090/orders --json '{"product": "tea", "quantity": 2}'  # 201, location: /orders/1
//! curl -N localhost:9090/news                                               # each order when it comes in
//! curl --unix-socket /tmp/shop-admin.sock http://admin/overview             # only on this machine
//! ```
//!
//! Change a price in `Gracehttp.toml` and restart, `kill -HUP PID`. The shop has the new price, the streams of news have
//! ended in order, every customer has an answer and a letter, and no client has noticed. Then set the price to 0: the
//! restart fails and says why, and the shop stays open.
//!
//! The program has subcommands: `cargo run --example shop --features shop -- routes` lists the routes, `config` prints
//! every value and where it comes from, and `check` says whether the shop would start.
//! `GRACEHTTP_SERVER__PUBLIC__PORT=8080` sets another port.
//!
//! Stock and orders are in memory, so each generation has its own. A shop in earnest keeps them in a database, which all
//! generations share.

mod mail;
mod news;
mod orders;
mod products;
mod refusal;
mod servers;
mod shop;

use std::io;

use crate::shop::{Settings, Shop};

/// Your own program needs no `config`: it reads `Gracehttp.toml` in its working directory.
#[gracehttp::main(
    servers(servers::public, servers::admin),
    config = concat!(env!("CARGO_MANIFEST_DIR"), "/shop/Gracehttp.toml"),
    cli
)]
async fn main(settings: Settings) -> io::Result<Shop> {
    Shop::open(settings)
}
