//! Attributes of routes that no module takes up.

use gracehttp::{fallback, get, route};

#[get("/ping")]
async fn ping() {}

#[route(TRACE, "/trace")]
async fn trace() {}

#[fallback]
async fn lost() {}

mod plain {
    #[gracehttp::post("/ping")]
    pub async fn ping() {}
}

fn main() {
    // The functions are there all the same.
    let _ = (ping(), trace(), lost(), plain::ping());
}
