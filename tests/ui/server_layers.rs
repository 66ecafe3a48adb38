//! Layers that are none, or that make something else than a service of requests.

use gracehttp::server;

struct Marker;

#[server(port = 8080, layer = "gzip")]
async fn text() {}

#[server(port = 8081, layer = Marker)]
async fn marker() {}

#[server(port = 8082, layer = tower_layer::layer_fn(|_| Marker))]
async fn no_service() {}

#[server(port = 8083, layer = tower_layer::Identity::new(), layer = tower_layer::Identity::new())]
async fn twice() {}

#[server(port = 8084, layer)]
async fn nothing() {}

#[gracehttp::main(servers(text, marker, no_service, twice, nothing))]
async fn main() {}
