//! An attribute can't look into a file.

use gracehttp::server;

#[server(port = 8080)]
#[path = "modules/file.rs"]
mod users;

#[gracehttp::routes]
#[path = "modules/file.rs"]
mod posts;

fn main() {}
