//! A certificate that Let's Encrypt issues and renews, with a redirect from plain text and HSTS.
//!
//! On a machine that the name leads to, as a user that may listen on the ports 80 and 443:
//!
//! ```text
//! export GRACEHTTP_SERVER__WEB__TLS__ACME__DOMAINS=www.example.org
//! cargo run --example acme --features acme
//! curl -i http://www.example.org/    # 308 Permanent Redirect
//! curl https://www.example.org/      # hello, in private
//! ```
//!
//! `staging` is for trials: no client trusts its certificates (`curl -k` does). Without the line `directory` the certificate
//! is one that all clients trust.

use gracehttp::server;

#[server(
    port = 443,
    tls(acme(
        domains = ["example.org"],
        contact = "mailto:ops@example.org",
        cache = "acme-cache",
        directory = "staging"
    )),
    plain_listen = ":80",
    redirect_to_https = true,
    hsts = "1h"
)]
async fn web() -> &'static str {
    "hello, in private\n"
}

#[gracehttp::main(servers(web))]
async fn main() {}
