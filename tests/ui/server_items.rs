//! The attribute belongs on functions.

use gracehttp::server;

#[server(port = 8080)]
struct Api;

#[server(port = 8080)]
pub static PORT: u16 = 8080;

#[server(port = 8080)]
impl Api {}

fn main() {}
