//! A service behind proxies knows who asks, over what, and for which host: by header fields, or by the PROXY protocol.
//!
//! ```text
//! cargo run --example behind_a_proxy
//! curl localhost:9090/                        # 127.0.0.1 asks for http://localhost:9090/
//! curl localhost:9090/ -H 'X-Forwarded-For: 203.0.113.7' -H 'X-Forwarded-Proto: https'
//!                                             # 203.0.113.7 asks for https://localhost:9090/
//! curl localhost:9091/ --haproxy-protocol     # 127.0.0.1 asks for http://localhost:9091/
//! curl localhost:9091/                        # no answer: the connection of a listed proxy has to begin with a header
//! ```
//!
//! Here the proxies are on the same machine. The access log, on standard output, has the client in each of its lines.
//! `GRACEHTTP_SERVER__BELIEVING__TRUSTED_PROXIES=10.0.0.0/8` trusts others.

use gracehttp::{ClientAddr, Host, ProxyInfo, Scheme, server};

/// Behind a proxy that speaks HTTP, such as nginx: it names the client in header fields.
#[server(port = 9090, trusted_proxies = ["127.0.0.1", "::1"], access_log = common)]
async fn believing(ClientAddr(client): ClientAddr, scheme: Scheme, Host(host): Host) -> String {
    format!("{client} asks for {scheme}://{host}/\n")
}

/// Behind a balancer that passes on TCP, such as HAProxy: it names the client before the first byte of HTTP.
#[server(port = 9091, proxy_protocol = ["127.0.0.1", "::1"], access_log = common)]
async fn introduced(
    ClientAddr(client): ClientAddr,
    scheme: Scheme,
    Host(host): Host,
    proxy: ProxyInfo,
) -> String {
    let by_name = proxy.authority().map_or_else(String::new, |name| format!(", by the name {name}"));
    format!("{client} asks for {scheme}://{host}/{by_name}\n")
}

#[gracehttp::main(servers(believing, introduced))]
async fn main() {}
