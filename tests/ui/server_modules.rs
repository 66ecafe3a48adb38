//! Modules of routes are not there yet.

use gracehttp::server;

#[server(port = 8080)]
mod inline {
    pub async fn ping() {}
}

#[server(port = 8080)]
#[path = "modules/file.rs"]
mod file;

fn main() {}
