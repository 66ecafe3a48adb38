//! The endpoints of servers.

use std::net::{Ipv4Addr, Ipv6Addr};

/// Where a server listens, as it is written. Names are not resolved.
#[derive(Debug, PartialEq)]
pub(crate) enum Endpoint {
    /// No host means all interfaces. An IPv6 address has no brackets here.
    Tcp {
        host: Option<String>,
        port: u16,
    },
    Unix(String),
    /// A socket that another program passes: `systemd:NAME` or `fd:N`.
    Passed(String),
}

impl Endpoint {
    /// Whether one server can have only one of the two: they are the same, or one includes the other.
    pub(crate) fn clashes(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Tcp { host: a, port: p }, Self::Tcp { host: b, port: q }) if *p != 0 => {
                p == q
                    && (a == b
                        || includes(a.as_deref(), b.as_deref())
                        || includes(b.as_deref(), a.as_deref()))
            }
            _ => self == other,
        }
    }
}

/// Whether a host means all interfaces, at least of the other's address family. Names are resolved only at start-up.
fn includes(host: Option<&str>, other: Option<&str>) -> bool {
    let other = other.unwrap_or_default();
    match host {
        None => true,
        Some("0.0.0.0") => other.parse::<Ipv4Addr>().is_ok(),
        Some("::") => other.contains(':'),
        Some(_) => false,
    }
}

/// Reads `:9090`, `127.0.0.1:9090`, `[::1]:9090`, `localhost:9090`, `unix:/run/app.sock`, `systemd:web`, `fd:3`.
///
/// It checks only the form. The library checks the rest at start-up.
pub(super) fn endpoint(text: &str) -> Result<Endpoint, String> {
    shape(text).map_err(|reason| {
        format!(
            "`{text}` is not an endpoint: {reason}\nhelp: an endpoint is `:9090` (all interfaces), \
             `127.0.0.1:9090`, `[::1]:9090`, `localhost:9090`, `unix:/run/app.sock`, `systemd:NAME` (a socket that \
             systemd passes) or `fd:3`"
        )
    })
}

fn shape(text: &str) -> Result<Endpoint, String> {
    match text.strip_prefix("unix:") {
        Some("") => return Err("the path is missing".into()),
        Some(path) if path.starts_with('@') => {
            return Err("abstract sockets have no file mode to guard them".into());
        }
        // The options would end up in the file's name, without any effect.
        Some(path) if path.contains('?') => {
            return Err("the path takes no options: mode, user and group of the file are the keys \
                 `socket_mode`, `socket_user` and `socket_group`"
                .into());
        }
        Some(path) => return Ok(Endpoint::Unix(path.into())),
        None => {}
    }
    if let Some(name) = text.strip_prefix("systemd:") {
        return passed_name(name).map(|()| Endpoint::Passed(text.to_owned()));
    }
    if let Some(number) = text.strip_prefix("fd:") {
        return descriptor(number).map(|number| Endpoint::Passed(format!("fd:{number}")));
    }
    if text.contains("://") {
        let rest = text.rsplit("://").next().unwrap_or_default();
        let place = rest.split('/').next().unwrap_or_default();
        return Err(match shape(place) {
            Ok(_) => format!("it is a URL: write `{place}`"),
            Err(_) => "it is a URL".into(),
        });
    }
    if text.contains(',') {
        let apart: Vec<String> = text.split(',').map(|one| format!("{:?}", one.trim())).collect();
        return Err(format!(
            "one text is one endpoint; `listen` takes several as a list, `[{}]`",
            apart.join(", ")
        ));
    }
    if text.parse::<Ipv6Addr>().is_ok() {
        return Err(format!("an IPv6 address needs brackets and a port: {}", with_brackets(text)));
    }
    let Some((host, port)) = text.rsplit_once(':') else {
        return Err(match text.parse::<u16>() {
            Ok(port) => format!("a port needs a colon before it: `:{port}`"),
            Err(_) if text.contains('/') => {
                format!("a Unix socket needs `unix:` before its path: `unix:{text}`")
            }
            Err(_) => "it has no port".into(),
        });
    };
    Ok(Endpoint::Tcp { host: parse_host(host, port)?, port: parse_port(port)? })
}

fn passed_name(name: &str) -> Result<(), String> {
    match name {
        "" => Err("the name is missing: it is `FileDescriptorName=` of the socket unit, or the name of that unit, such \
             as `app.socket`"
            .into()),
        _ if name.bytes().any(|byte| !byte.is_ascii_graphic() || matches!(byte, b':' | b',')) => {
            Err("a name consists of visible ASCII characters other than `:` and `,`".into())
        }
        _ => Ok(()),
    }
}

fn descriptor(number: &str) -> Result<u16, String> {
    let digits = number.bytes().all(|byte| byte.is_ascii_digit());
    match number.parse() {
        Ok(number @ 0..=2) => {
            Err(format!("the descriptor {number} is a standard stream: others begin with 3"))
        }
        Ok(number) if digits => Ok(number),
        _ => Err(format!("`{number}` is not the number of a descriptor")),
    }
}

/// What an IPv6 address without brackets may mean. `::1:80` can be an address, or an address with a port.
fn with_brackets(text: &str) -> String {
    let whole = format!("`[{text}]:9090`");
    match text.rsplit_once(':') {
        Some((address, port)) if address.parse::<Ipv6Addr>().is_ok() && parse_port(port).is_ok() => {
            format!("`[{address}]:{port}` or {whole}")
        }
        _ => whole,
    }
}

/// The host in one spelling, so that two hosts can be compared.
fn parse_host(host: &str, port: &str) -> Result<Option<String>, String> {
    if let Some(address) = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        let (address, zone) = address.split_once('%').unwrap_or((address, ""));
        let canonical: Ipv6Addr =
            address.parse().map_err(|_| format!("`{address}` in the brackets is not an IPv6 address"))?;
        if let Some(mapped) = canonical.to_ipv4_mapped() {
            return Err(format!("it is an IPv4 address in the notation of IPv6: write `{mapped}:{port}`"));
        }
        if canonical.is_unicast_link_local() && zone.is_empty() {
            return Err(format!(
                "a link-local address needs its zone, the interface: `[{canonical}%eth0]:{port}`"
            ));
        }
        return Ok(Some(if zone.is_empty() { canonical.to_string() } else { format!("{canonical}%{zone}") }));
    }
    match host {
        "" => Ok(None),
        "*" => Err(format!("all interfaces are written `:{port}`")),
        _ if host.contains(':') => Err(format!("an IPv6 address needs brackets: `[{host}]:{port}`")),
        _ if host.contains(|c: char| !c.is_ascii_alphanumeric() && !".-_".contains(c)) => {
            Err(format!("`{host}` is not a host name"))
        }
        _ if host.chars().all(|c| c.is_ascii_digit() || c == '.') && host.parse::<Ipv4Addr>().is_err() => {
            Err(format!("`{host}` is not an IPv4 address"))
        }
        _ => Ok(Some(host.to_ascii_lowercase())),
    }
}

fn parse_port(port: &str) -> Result<u16, String> {
    // `u16::from_str` takes a leading plus sign.
    let digits = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    match port.parse() {
        Ok(number) if digits => Ok(number),
        _ if digits => Err(format!("the port {port} is out of range (0 to 65535)")),
        _ if port.is_empty() => Err("the port is missing".into()),
        _ => Err(format!("`{port}` is not a port (0 to 65535)")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_clash_where_only_one_can_be_bound() {
        let clash = |a, b| endpoint(a).unwrap().clashes(&endpoint(b).unwrap());
        assert!(clash(":80", ":80"));
        assert!(clash(":80", "127.0.0.1:80"));
        assert!(clash("[::1]:80", "[0:0::1]:80"));
        assert!(clash("0.0.0.0:80", "127.0.0.1:80") && clash("[fe80::1%eth0]:80", "[::]:80"));
        assert!(clash(":80", "0.0.0.0:80") && clash("[::]:80", ":80"));
        assert!(!clash("0.0.0.0:80", "[::]:80") && !clash("0.0.0.0:80", "[::1]:80"));
        assert!(!clash("0.0.0.0:80", "localhost:80") && !clash("[fe80::1%eth0]:80", "[fe80::1%eth1]:80"));
        assert!(!clash("0.0.0.0:0", "127.0.0.1:0"));
        assert!(clash("localhost:80", "LocalHost:80"));
        assert!(clash(":0", ":0"), "a successor could not tell them apart");
        assert!(clash("unix:a", "unix:a"));
        assert!(!clash(":0", "127.0.0.1:0"));
        assert!(!clash("127.0.0.1:80", "127.0.0.2:80"));
        assert!(!clash(":80", ":81"));
        assert!(clash("systemd:web", "systemd:web") && clash("fd:3", "fd:03"));
        assert!(!clash("systemd:web", "systemd:api") && !clash("fd:3", "[fd::3]:3"));
    }

    #[test]
    fn misspelled_endpoint_is_explained() {
        for (text, explanation) in [
            ("9090", "a port needs a colon before it: `:9090`"),
            ("localhost", "it has no port"),
            (":80, :81", "`listen` takes several as a list, `[\":80\", \":81\"]`"),
            ("::1", "an IPv6 address needs brackets and a port: `[::1]:9090`"),
            ("::1:80", "needs brackets and a port: `[::1]:80` or `[::1:80]:9090`"),
            ("/run/app.sock", "needs `unix:` before its path: `unix:/run/app.sock`"),
            (
                "unix:/run/app.sock?mode=0660",
                "takes no options: mode, user and group of the file are the keys",
            ),
            ("[::g]:80", "is not an IPv6 address"),
            ("[::ffff:127.0.0.1]:80", "in the notation of IPv6: write `127.0.0.1:80`"),
            ("[fe80::1]:80", "needs its zone, the interface: `[fe80::1%eth0]:80`"),
            ("*:80", "all interfaces are written `:80`"),
            (":65536", "the port 65536 is out of range"),
            (":+1", "`+1` is not a port"),
            (":", "the port is missing"),
            ("http://localhost:80/", "it is a URL: write `localhost:80`"),
            ("http://localhost", "it is a URL\n"),
            ("a b:80", "is not a host name"),
            ("127.0.0.256:80", "is not an IPv4 address"),
            ("unix:", "the path is missing"),
            ("unix:@name", "abstract sockets"),
            ("fd:1", "the descriptor 1 is a standard stream"),
            ("fd:x", "`x` is not the number of a descriptor"),
            ("systemd:", "the name is missing"),
            ("systemd:a:b", "a name consists of visible ASCII characters"),
        ] {
            let reason = endpoint(text).unwrap_err();
            assert!(reason.contains(explanation), "{text:?}: {reason}");
        }
    }
}
