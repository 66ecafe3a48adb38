//! A shop: two servers, routes in several files, a state in parts, settings of its own, layers, background
//! tasks, server-sent events, clean-up code, and tests of all of it, in `tests.rs`.
//!
//! ```text
//! cargo run --example shop --features shop
//! curl localhost:9090/products                                              # what there is
//! curl -v localhost:9090/orders --json '{"product": "tea", "quantity": 2}'  # 201, location: /orders/1
//! curl -N localhost:9090/news                                               # each order as it comes
//! curl --unix-socket /tmp/shop-admin.sock http://admin/overview             # for this machine alone
//! ```
//!
//! Change a price in `Gracehttp.toml` and restart, `kill -HUP PID`: the new price is there, the news have
//! said good-bye, every customer has got an answer and a letter, and nobody has noticed. Make the price 0: the
//! restart fails and says why, and the shop is as open as it was.
//!
//! `cargo run --example shop --features shop routes` lists what it answers, `… config` every value and where it comes from, and
//! `… check` says whether it would open. `GRACEHTTP_SERVER__PUBLIC__PORT=8080` moves it to another port.
//!
//! Stock and orders are in memory, where each generation has its own. A shop that has to earn money keeps them
//! in a database, which all generations share.

mod mail;
mod news;
mod orders;
mod products;
mod refusal;
mod servers;
mod shop;

use std::io;

use crate::shop::{Settings, Shop};

/// For a program of your own, `Gracehttp.toml` in its working directory needs no `config`.
#[gracehttp::main(
    servers(servers::public, servers::admin),
    config = concat!(env!("CARGO_MANIFEST_DIR"), "/shop/Gracehttp.toml"),
    cli
)]
async fn main(settings: Settings) -> io::Result<Shop> {
    Shop::open(settings)
}
