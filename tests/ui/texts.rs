//! Texts that are empty, that hold several values in one, or that are no address.

use gracehttp::server;

#[server(port = 0, access_log_to = "")]
async fn nowhere() {}

#[server(port = 0, access_log_to = stdout, tls(cert = "a.pem", key = "a.key", client_ca = ""))]
async fn unquoted() {}

#[server(port = 0, trusted_proxies = "10.0.0.0/8, ::1", forwarded = "x-forwarded-for, x-forwarded-proto")]
async fn several_in_one() {}

#[server(listen = ":80, :81", proxy_protocol = ["10.0.0.0/8", "::1,unix"])]
async fn several_in_one_of_a_list() {}

#[gracehttp::main(servers(nowhere, unquoted, several_in_one, several_in_one_of_a_list), control = "x", pid_file = "")]
async fn main() {}

mod with_a_path {
    #[gracehttp::main(servers(super::nowhere), control = "/run/app.sock")]
    async fn main() {}
}

mod without_a_path {
    #[gracehttp::main(servers(super::nowhere), control = "unix:", admin = "x")]
    async fn main() {}
}
