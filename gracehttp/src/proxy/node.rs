//! How proxies name a client (RFC 7239 section 6).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A client, or a proxy, as the next one names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Node {
    Address {
        ip: IpAddr,
        /// Most proxies do not say it.
        port: Option<u16>,
    },
    /// `unknown`, or a name that only the proxy understands, such as `_hidden`.
    Hidden,
    /// A peer on a Unix socket.
    Unix,
}

impl Node {
    /// As in `Forwarded`: an IPv6 address has brackets.
    pub(super) fn read(text: &str) -> Option<Self> {
        let (name, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let (ip, behind) = rest.split_once(']')?;
                let port = if behind.is_empty() { None } else { Some(behind.strip_prefix(':')?) };
                let ip = IpAddr::V6(ip.parse::<Ipv6Addr>().ok()?);
                return Self::address(ip, port);
            }
            None => text.split_once(':').map_or((text, None), |(name, port)| (name, Some(port))),
        };
        if name.eq_ignore_ascii_case("unknown") || is_obfuscated(name) {
            return port.is_none_or(is_port).then_some(Self::Hidden);
        }
        Self::address(IpAddr::V4(name.parse::<Ipv4Addr>().ok()?), port)
    }

    /// As in `X-Forwarded-For`, where an IPv6 address mostly has no brackets, and nginx writes `unix:` for a Unix socket.
    pub(super) fn read_x(text: &str) -> Option<Self> {
        match text.parse::<Ipv6Addr>() {
            Ok(ip) => Self::address(IpAddr::V6(ip), None),
            Err(_) if text == "unix:" => Some(Self::Unix),
            Err(_) => Self::read(text),
        }
    }

    fn address(ip: IpAddr, port: Option<&str>) -> Option<Self> {
        if !port.is_none_or(is_port) {
            return None;
        }
        // A hidden port is as good as none.
        Some(Self::Address { ip: ip.to_canonical(), port: port.and_then(|port| port.parse().ok()) })
    }
}

/// Up to five digits, or an obfuscated one.
fn is_port(port: &str) -> bool {
    let digits = (1..=5).contains(&port.len()) && port.bytes().all(|byte| byte.is_ascii_digit());
    (digits && port.parse::<u16>().is_ok()) || is_obfuscated(port)
}

fn is_obfuscated(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    name.strip_prefix('_').is_some_and(|rest| !rest.is_empty() && rest.bytes().all(allowed))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(ip: &str, port: Option<u16>) -> Option<Node> {
        Some(Node::Address { ip: ip.parse().unwrap(), port })
    }

    #[test]
    fn nodes_are_addresses_with_or_without_ports() {
        assert_eq!(Node::read("192.0.2.1"), address("192.0.2.1", None));
        assert_eq!(Node::read("192.0.2.1:80"), address("192.0.2.1", Some(80)));
        assert_eq!(Node::read("192.0.2.1:_port"), address("192.0.2.1", None));
        assert_eq!(Node::read("[2001:db8::1]"), address("2001:db8::1", None));
        assert_eq!(Node::read("[2001:db8::1]:65535"), address("2001:db8::1", Some(65_535)));
        assert_eq!(Node::read("[::ffff:192.0.2.1]"), address("192.0.2.1", None));
        assert_eq!(Node::read_x("2001:db8::1"), address("2001:db8::1", None));
        assert_eq!(Node::read_x("::ffff:192.0.2.1"), address("192.0.2.1", None));
        assert_eq!(Node::read_x("[2001:db8::1]:443"), address("2001:db8::1", Some(443)));
        assert_eq!(Node::read_x("192.0.2.1:443"), address("192.0.2.1", Some(443)));
    }

    #[test]
    fn nodes_may_be_hidden() {
        for text in ["unknown", "Unknown", "unknown:80", "_hidden", "_a.b-c_D9", "_x:_y"] {
            assert_eq!(Node::read(text), Some(Node::Hidden), "{text}");
        }
    }

    #[test]
    fn anything_else_is_malformed() {
        let common =
            ["", " ", "_", "_a b", "localhost", "192.0.2", "192.0.2.256", "192.0.2.1:", "192.0.2.1:65536"];
        let more = [
            "192.0.2.1:000080",
            "192.0.2.1:+80",
            "[::1",
            "::1]",
            "[::1]80",
            "[::1]:",
            "[192.0.2.1]",
            "[fe80::1%1]",
        ];
        for text in common.into_iter().chain(more).chain(["192.0.2.1:80:80", "01.2.3.4", "\u{661}.2.3.4"]) {
            assert_eq!(Node::read(text), None, "{text}");
            assert_eq!(Node::read_x(text), None, "{text}");
        }
        assert_eq!(Node::read("2001:db8::1"), None);
    }
}
