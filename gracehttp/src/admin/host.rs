//! For which names the process answers.
//!
//! A web page of a stranger can let the browser of an operator send requests to the loopback address, by a name that the
//! stranger resolves to it (DNS rebinding). Such a request has that name in the field Host.

use std::net::IpAddr;

use hyper::Request;
use hyper::header::HOST;

use crate::server::Endpoint;

/// The names that clients may use.
#[derive(Clone, Debug)]
pub(crate) enum Hosts {
    /// Any: the address is open to a network, or is the file of a socket, which no browser reaches.
    Any,
    /// Addresses, `localhost`, and this name.
    Local(String),
}

impl Hosts {
    /// Those for an endpoint.
    pub(crate) fn of(endpoint: &Endpoint) -> Self {
        match endpoint {
            Endpoint::Tcp { host: Some(host), .. } if is_loopback(host) => Self::Local(host.clone()),
            _ => Self::Any,
        }
    }

    pub(super) fn allow<B>(&self, request: &Request<B>) -> bool {
        let Self::Local(own) = self else { return true };
        let host = match request.uri().host() {
            Some(host) => Some(host),
            None => request.headers().get(HOST).and_then(|host| host.to_str().ok()).map(without_port),
        };
        let Some(host) = host else { return false };
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        bare.parse::<IpAddr>().is_ok()
            || host.eq_ignore_ascii_case("localhost")
            || host.to_ascii_lowercase().ends_with(".localhost")
            || host.eq_ignore_ascii_case(own)
    }
}

/// Whether only this machine reaches a host.
fn is_loopback(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost")
        || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_strangers_name_for_the_loopback_address_is_refused() {
        let hosts = Hosts::of(&"127.0.0.1:9099".parse().unwrap());
        let allows = |host: &str| hosts.allow(&Request::get("/").header(HOST, host).body(()).unwrap());
        for own in [
            "127.0.0.1:9099",
            "127.0.0.1",
            "[::1]:9099",
            "localhost:1",
            "LOCALHOST",
            "app.localhost",
            "10.0.0.7",
        ] {
            assert!(allows(own), "{own}");
        }
        for strange in
            ["evil.example:9099", "evil.example", "", "localhost.evil.example", "127.0.0.1.evil.example"]
        {
            assert!(!allows(strange), "{strange}");
        }
        assert!(!hosts.allow(&Request::get("/").body(()).unwrap()));
        assert!(
            !hosts.allow(&Request::get("http://evil.example/").header(HOST, "127.0.0.1").body(()).unwrap())
        );
    }

    #[test]
    fn an_address_that_is_open_to_a_network_has_any_name() {
        for endpoint in [":9099", "10.0.0.7:9099", "app.example:9099", "unix:/run/admin.sock"] {
            assert!(matches!(Hosts::of(&endpoint.parse().unwrap()), Hosts::Any), "{endpoint}");
        }
    }
}
