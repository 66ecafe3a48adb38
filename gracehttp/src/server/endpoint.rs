//! The grammar of endpoints: `host:port`, `:port`, `unix:/path`, `systemd:NAME`, `fd:N`.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::fd::RawFd;
use std::path::PathBuf;
use std::str::FromStr;

use crate::error::Error;
use crate::server::listens::clash;

/// Where a server listens.
///
/// ```
/// use gracehttp::Endpoint;
///
/// assert_eq!(":9090".parse::<Endpoint>()?, Endpoint::Tcp { host: None, port: 9090 });
/// assert_eq!("[0::1]:80".parse::<Endpoint>()?.to_string(), "[::1]:80");
/// assert_eq!("unix:/run/a.sock".parse::<Endpoint>()?, Endpoint::Unix("/run/a.sock".into()));
/// assert_eq!("systemd:web".parse::<Endpoint>()?, Endpoint::Systemd("web".into()));
/// # Ok::<(), gracehttp::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Endpoint {
    /// A TCP port.
    Tcp {
        /// A name or an address; an IPv6 address has no brackets here. `None` means all interfaces, IPv6 and IPv4 on
        /// one socket (whereas `[::]` is IPv6 alone).
        host: Option<String>,
        /// The port; 0 lets the kernel choose one.
        port: u16,
    },
    /// A Unix domain socket, by the path of its file.
    Unix(PathBuf),
    /// The sockets that systemd has passed under this name: `FileDescriptorName=` of the socket unit, or else the name
    /// of that unit, such as `app.socket`.
    Systemd(String),
    /// A listening socket that was opened before this program started, by the number of its descriptor.
    Fd(RawFd),
}

impl Endpoint {
    /// Whether the kernel chooses the port. Then the same endpoint means another address each time.
    pub(crate) fn is_chosen_by_kernel(&self) -> bool {
        matches!(self, Endpoint::Tcp { port: 0, .. })
    }

    /// Whether two servers can't have both endpoints: they are the same, or one includes the other.
    pub(crate) fn clashes(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Tcp { host, port }, Self::Tcp { host: other, port: other_port }) => {
                let (host, other) =
                    (host.as_deref().unwrap_or_default(), other.as_deref().unwrap_or_default());
                clash((host, *port), (other, *other_port))
            }
            (Self::Tcp { .. }, _) | (_, Self::Tcp { .. }) => false,
            _ => self == other,
        }
    }

    /// Whether the socket is opened by another program, which passes it to this one.
    pub(crate) fn is_passed(&self) -> bool {
        matches!(self, Self::Systemd(_) | Self::Fd(_))
    }

    /// Whether one server can't have both endpoints. With port 0 the kernel could choose two ports for the same host,
    /// but a successor could not tell which is which.
    pub(crate) fn clashes_within(&self, other: &Self) -> bool {
        self == other || self.clashes(other)
    }
}

impl FromStr for Endpoint {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        parse(text).map_err(|reason| {
            Error::new(format!(
                "`{text}` is not an endpoint: {reason}; an endpoint is `:9090` (all interfaces), \
                 `127.0.0.1:9090`, `[::1]:9090`, `localhost:9090`, `unix:/run/app.sock`, `systemd:NAME` (a socket \
                 that systemd passes) or `fd:3`"
            ))
        })
    }
}

fn parse(text: &str) -> Result<Endpoint, String> {
    if let Some(path) = text.strip_prefix("unix:") {
        return parse_unix(path);
    }
    if let Some(name) = text.strip_prefix("systemd:") {
        return parse_name(name);
    }
    if let Some(number) = text.strip_prefix("fd:") {
        return parse_descriptor(number);
    }
    if text.contains("://") {
        let rest = text.rsplit("://").next().unwrap_or_default();
        let place = rest.split('/').next().unwrap_or_default();
        return Err(match parse(place) {
            Ok(endpoint) => format!("it is a URL: write `{endpoint}`"),
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
    let host = if host.is_empty() { None } else { Some(parse_host(host, port)?) };
    Ok(Endpoint::Tcp { host, port: parse_port(port)? })
}

fn parse_unix(path: &str) -> Result<Endpoint, String> {
    match path {
        "" => Err("the path is missing".into()),
        // It would be a file of that name, which is hardly meant.
        _ if path.starts_with('@') => Err("abstract sockets have no file mode to guard them".into()),
        _ if path.contains('\0') => Err("a path has no NUL byte".into()),
        // The options would become a part of the file's name, without any effect.
        _ if path.contains('?') => {
            Err("the path takes no options: mode, user and group of the file are the keys \
             `socket_mode`, `socket_user` and `socket_group`"
                .into())
        }
        _ => Ok(Endpoint::Unix(PathBuf::from(path))),
    }
}

/// The longest name that systemd gives a descriptor.
const LONGEST_NAME: usize = 255;

fn parse_name(name: &str) -> Result<Endpoint, String> {
    match name {
        "" => Err("the name is missing: it is `FileDescriptorName=` of the socket unit, or the name of that unit, such \
             as `app.socket`"
            .into()),
        _ if name.len() > LONGEST_NAME => Err(format!("a name has at most {LONGEST_NAME} characters")),
        // systemd allows spaces and commas, but they separate endpoints in a variable.
        _ if name.bytes().any(|byte| !byte.is_ascii_graphic() || matches!(byte, b':' | b',')) => {
            Err("a name consists of visible ASCII characters other than `:` and `,`".into())
        }
        _ => Ok(Endpoint::Systemd(name.to_owned())),
    }
}

fn parse_descriptor(number: &str) -> Result<Endpoint, String> {
    let digits = number.bytes().all(|byte| byte.is_ascii_digit());
    match number.parse() {
        Ok(number @ 0..=2) => {
            Err(format!("the descriptor {number} is a standard stream: others begin with 3"))
        }
        Ok(number) if digits => Ok(Endpoint::Fd(number)),
        _ => Err(format!("`{number}` is not the number of a descriptor")),
    }
}

/// Suggestions for an IPv6 address without brackets: `::1:80` can be an address, or an address with a port.
fn with_brackets(text: &str) -> String {
    let whole = format!("`[{text}]:9090`");
    match text.rsplit_once(':') {
        Some((address, port)) if address.parse::<Ipv6Addr>().is_ok() && parse_port(port).is_ok() => {
            format!("`[{address}]:{port}` or {whole}")
        }
        _ => whole,
    }
}

/// The host in its canonical spelling: endpoints are compared, also across restarts.
fn parse_host(host: &str, port: &str) -> Result<String, String> {
    if let Some(inner) = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        let (address, zone) = inner.split_once('%').map_or((inner, None), |(a, zone)| (a, Some(zone)));
        let address: Ipv6Addr =
            address.parse().map_err(|_| format!("`{inner}` in the brackets is not an IPv6 address"))?;
        if let Some(mapped) = address.to_ipv4_mapped() {
            return Err(format!("it is an IPv4 address in the notation of IPv6: write `{mapped}:{port}`"));
        }
        if address.is_unicast_link_local() && zone.is_none_or(str::is_empty) {
            return Err(format!(
                "a link-local address needs its zone, the interface: `[{address}%eth0]:{port}`"
            ));
        }
        return Ok(zone.map_or(address.to_string(), |zone| format!("{address}%{zone}")));
    }
    if host == "*" {
        return Err(format!("all interfaces are written `:{port}`"));
    }
    if host.contains(':') {
        return Err(format!("an IPv6 address needs brackets: `[{host}]:{port}`"));
    }
    let digits_only = host.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    if digits_only && host.parse::<Ipv4Addr>().is_err() {
        return Err(format!("`{host}` is not an IPv4 address"));
    }
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    if !host.bytes().all(allowed) {
        return Err(format!("`{host}` is not a host name"));
    }
    Ok(host.to_ascii_lowercase())
}

fn parse_port(port: &str) -> Result<u16, String> {
    // `u16::from_str` would accept a leading plus sign.
    let digits = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    match port.parse() {
        Ok(number) if digits => Ok(number),
        _ if digits => Err(format!("the port {port} is out of range (0 to 65535)")),
        _ if port.is_empty() => Err("the port is missing".into()),
        _ => Err(format!("`{port}` is not a port (0 to 65535)")),
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host: None, port } => write!(f, ":{port}"),
            Self::Tcp { host: Some(host), port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp { host: Some(host), port } => write!(f, "{host}:{port}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Systemd(name) => write!(f, "systemd:{name}"),
            Self::Fd(number) => write!(f, "fd:{number}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(text: &str) -> String {
        text.parse::<Endpoint>().unwrap_err().to_string()
    }

    #[test]
    fn every_form_is_read_and_shown_as_it_was_written() {
        let forms = [":9090", ":0", "127.0.0.1:80", "[::1]:9090", "[fe80::1%eth0]:1", "localhost:65535"];
        let others = ["unix:/run/a.sock", "unix:a.sock", "my_host.example-1.org:1", "[fd::1]:80"];
        let passed = ["systemd:web", "systemd:app.socket", "systemd:8080", "fd:3", "fd:120"];
        for text in forms.into_iter().chain(others).chain(passed) {
            assert_eq!(text.parse::<Endpoint>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn two_spellings_of_one_host_are_equal() {
        let same = |a: &str, b: &str| a.parse::<Endpoint>().unwrap() == b.parse::<Endpoint>().unwrap();
        assert!(same("[0:0:0:0:0:0:0:1]:80", "[::1]:80"));
        assert!(same("LocalHost:80", "localhost:80"));
    }

    #[test]
    fn endpoints_clash_where_only_one_can_be_bound() {
        let clash = |a: &str, b: &str| a.parse::<Endpoint>().unwrap().clashes(&b.parse().unwrap());
        assert!(clash(":80", ":80") && clash(":80", "localhost:80") && clash("[::]:80", "[fe80::1%eth0]:80"));
        assert!(clash("0.0.0.0:80", "127.0.0.1:80") && clash("unix:a", "unix:a"));
        assert!(!clash("0.0.0.0:80", "[::1]:80") && !clash(":80", ":81") && !clash("unix:a", "unix:b"));
        assert!(!clash(":0", ":0"), "the kernel chooses two ports");
        assert!(clash("systemd:a", "systemd:a") && clash("fd:3", "fd:3"));
        assert!(!clash("systemd:a", "systemd:b") && !clash("fd:3", "systemd:3") && !clash("fd:3", ":3"));
    }

    #[test]
    fn a_wrong_endpoint_is_explained() {
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
            ("[::ffff:127.0.0.1]:80", "in the notation of IPv6: write `127.0.0.1:80`"),
            ("[fe80::1]:80", "needs its zone, the interface: `[fe80::1%eth0]:80`"),
            ("[fe80::1%]:80", "needs its zone"),
            ("::1:x", "an IPv6 address needs brackets: `[::1]:x`"),
            ("[::g]:80", "is not an IPv6 address"),
            ("[::1]", "needs brackets"),
            ("*:80", "all interfaces are written `:80`"),
            ("127.0.0.256:80", "is not an IPv4 address"),
            (":65536", "the port 65536 is out of range"),
            (":+1", "`+1` is not a port"),
            (":", "the port is missing"),
            ("http://localhost:80/", "it is a URL: write `localhost:80`"),
            ("http://localhost", "it is a URL; "),
            ("unix+http://[::1]://", "it is a URL; "),
            ("a b:80", "is not a host name"),
            ("unix:", "the path is missing"),
            ("unix:@name", "abstract sockets"),
            ("fd:2", "the descriptor 2 is a standard stream"),
            ("fd:", "`` is not the number of a descriptor"),
            ("fd:+3", "`+3` is not the number of a descriptor"),
            ("systemd:", "the name is missing: it is `FileDescriptorName=`"),
            ("systemd:a b", "a name consists of visible ASCII characters"),
            ("systemd:a:b", "a name consists of visible ASCII characters"),
            ("", "it has no port"),
        ] {
            let message = fault(text);
            assert!(message.contains(explanation), "{text:?}: {message}");
            assert!(message.starts_with(&format!("`{text}` is not an endpoint: ")), "{message}");
        }
    }
}
