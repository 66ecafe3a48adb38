//! Keys of another attribute, of other frameworks, and of releases to come.

use gracehttp::server;

#[server(port = 8080, drain_timeout = "10s", servers(api))]
async fn of_main() {}

#[server(host = "localhost", cert = "cert.pem", timeout = "30s", keep_alive = "75s", body_limit = "1MiB")]
async fn of_others() {}

#[server(port = 8081, middleware = auth, path = "/ping", read_timeout = "5s", on_full = wait)]
async fn more_of_others() {}

#[server(port = 8082, client_ca = "ca.pem", proxy_protocol = true)]
async fn to_come() {}

#[server(port = 8443, tls(cert = "cert.pem", private_key = "key.pem", client_ca = "ca.pem"))]
async fn tls() {}

#[gracehttp::routes(state = App)]
mod part {
    #[get("/")]
    async fn root() {}
}

#[gracehttp::main(
    servers(of_main, of_others, more_of_others, to_come, tls),
    port = 8080,
    threads = 4,
    shutdown_timeout = "10s",
    log = print,
    health = check
)]
async fn main() {}
