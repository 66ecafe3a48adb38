//! The client behind a proxy: whom to believe, and what trusted proxies say about a client.

mod backwards;
mod believed;
mod crc32c;
mod forwarded;
#[cfg(feature = "test-kit")]
mod fuzz;
mod header;
mod networks;
mod node;
mod ssl;
mod x_forwarded;

pub(crate) use believed::BelievedFields;
#[cfg(feature = "test-kit")]
pub(crate) use fuzz::{read_fields, read_header};
pub(crate) use header::Header;
pub(crate) use networks::{Network, Networks};
pub(crate) use node::Node;
pub(crate) use ssl::{Ssl, ssl};

use std::borrow::Cow;
use std::net::SocketAddr;

use http::HeaderMap;

/// The most proxies in a row whose words are followed. A longer chain is malformed.
const MOST_PROXIES: usize = 32;

/// Who is at the other end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Peer {
    Tcp(SocketAddr),
    /// A Unix socket: its clients have no names.
    Unix,
    /// A TCP client that has already left: its address is not known any more.
    Gone,
}

impl Peer {
    pub(crate) fn address(self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(address) => Some(address),
            Self::Unix | Self::Gone => None,
        }
    }
}

/// Extractor: what the client speaks, with the outermost [trusted proxy](crate::guide::behind_a_proxy) if there is one,
/// else with this server.
///
/// ```
/// use gracehttp::Scheme;
///
/// async fn secure(scheme: Scheme) -> &'static str {
///     if scheme == Scheme::Https { "encrypted" } else { "in plain text" }
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// Plain text.
    Http,
    /// TLS.
    Https,
}

impl Scheme {
    /// `http` or `https`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    /// As proxies write it. Some write `ws` and `wss` for WebSockets.
    fn read(text: &str) -> Option<Self> {
        let is = |word: &&str| text.eq_ignore_ascii_case(word);
        match () {
            () if ["http", "ws"].iter().any(is) => Some(Self::Http),
            () if ["https", "wss"].iter().any(is) => Some(Self::Https),
            () => None,
        }
    }
}

impl std::fmt::Display for Scheme {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What the trusted proxies say about a request. What they do not say, or say in a malformed way, is none.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Said<'a> {
    pub(crate) client: Option<Node>,
    pub(crate) scheme: Option<Scheme>,
    /// Not checked yet.
    pub(crate) host: Option<Cow<'a, str>>,
}

/// Reads the fields of a request that came from a trusted proxy.
pub(crate) fn read<'a>(headers: &'a HeaderMap, fields: &BelievedFields, trusted: &Networks) -> Said<'a> {
    match fields {
        BelievedFields::Forwarded => forwarded::read(headers, trusted),
        BelievedFields::X(fields) => x_forwarded::read(headers, *fields, trusted),
    }
}

/// Follows the proxies from the last one to the first, up to the first address that is none of a trusted proxy. Returns
/// it with its place, counted from the last. If all are trusted, it is the first one.
///
/// None if a trusted proxy has said something malformed, or nothing at all.
fn first_untrusted(nodes: impl Iterator<Item = Option<Node>>, trusted: &Networks) -> Option<(usize, Node)> {
    let mut first = None;
    for (place, node) in nodes.enumerate() {
        let node = node.filter(|_| place < MOST_PROXIES)?;
        first = Some((place, node));
        let is_trusted = match node {
            Node::Address { ip, .. } => trusted.contains_ip(ip),
            Node::Unix => trusted.contains(Peer::Unix),
            Node::Hidden => false,
        };
        if !is_trusted {
            break;
        }
    }
    first
}
