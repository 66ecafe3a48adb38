//! What can be set about a server, with its defaults.

use std::time::Duration;

use super::access::SocketAccess;
use super::endpoint::Endpoint;
use super::when_full::WhenFull;
#[cfg(feature = "tls")]
use crate::server::Tls;

/// The limit of a server that sets none. It is far above what most machines grant a process by default, so
/// lowering it to what is granted is no news; see `listen::descriptors`.
pub(crate) const DEFAULT_MAX_CONNS: usize = 100_000;

/// The longest of all durations that can be set. A longer one is a slip of the pen, or means "for ever", as
/// [`Duration::MAX`] does; a deadline that is computed from it could overflow.
pub(crate) const LONGEST: Duration = Duration::from_secs(366 * 24 * 60 * 60);

/// The kernel counts the idle time before its probes in 15 bits, and refuses more.
pub(crate) const LONGEST_KEEPALIVE: Duration = Duration::from_secs(32_767);

/// The most fields that a request head can be allowed to have: hyper makes room for all of them with each head,
/// and `http` has no map of much more.
pub(crate) const MOST_HEADERS: usize = 10_000;

/// The smallest `max_conn_memory`: two read buffers, and a response under way.
pub(crate) const LEAST_CONN_MEMORY: usize = 64 << 10;

/// Everything about a server except its service.
#[derive(Debug, Clone)]
pub(crate) struct ServerOptions {
    pub(crate) name: String,
    pub(crate) endpoints: Vec<Endpoint>,
    #[cfg(feature = "tls")]
    pub(crate) tls: Option<Tls>,
    pub(crate) max_conns: usize,
    pub(crate) backlog: u32,
    pub(crate) http1: bool,
    pub(crate) http2: bool,
    pub(crate) handshake_timeout: Duration,
    pub(crate) header_read_timeout: Duration,
    pub(crate) request_timeout: Option<Duration>,
    pub(crate) idle_timeout: Duration,
    pub(crate) max_body: u64,
    pub(crate) max_header_size: usize,
    pub(crate) max_headers: usize,
    pub(crate) tcp_keepalive: Option<Duration>,
    pub(crate) nodelay: bool,
    pub(crate) when_full: WhenFull,
    pub(crate) half_close_timeout: Duration,
    pub(crate) max_conn_memory: usize,
    pub(crate) socket: SocketAccess,
    /// The keys that the attribute or the builder has set, also those set to the default.
    pub(crate) chosen: Vec<&'static str>,
}

impl ServerOptions {
    pub(crate) fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            endpoints: Vec::new(),
            #[cfg(feature = "tls")]
            tls: None,
            max_conns: DEFAULT_MAX_CONNS,
            backlog: 4096,
            http1: true,
            http2: true,
            handshake_timeout: Duration::from_secs(10),
            header_read_timeout: Duration::from_secs(10),
            request_timeout: None,
            idle_timeout: Duration::from_secs(75),
            max_body: 2 << 20,
            max_header_size: 64 << 10,
            max_headers: 100,
            tcp_keepalive: Some(Duration::from_secs(60)),
            nodelay: true,
            when_full: WhenFull::Recycle,
            half_close_timeout: Duration::from_secs(1),
            max_conn_memory: 4 << 20,
            socket: SocketAccess::default(),
            chosen: Vec::new(),
        }
    }

    /// Whether the connections of this server begin with a TLS handshake.
    pub(crate) fn is_tls(&self) -> bool {
        #[cfg(feature = "tls")]
        return self.tls.is_some();
        #[cfg(not(feature = "tls"))]
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_those_of_the_documentation() {
        let options = ServerOptions::new("ping");
        assert_eq!(options.name, "ping");
        assert!(options.endpoints.is_empty());
        assert_eq!((options.max_conns, options.backlog), (100_000, 4096));
        assert_eq!((options.http1, options.http2, options.nodelay), (true, true, true));
        assert_eq!(options.handshake_timeout, Duration::from_secs(10));
        assert_eq!(options.header_read_timeout, Duration::from_secs(10));
        assert_eq!(options.request_timeout, None);
        assert_eq!(options.idle_timeout, Duration::from_secs(75));
        assert_eq!(
            (options.max_body, options.max_header_size, options.max_headers),
            (2_097_152, 65_536, 100)
        );
        assert_eq!(options.tcp_keepalive, Some(Duration::from_secs(60)));
        assert_eq!((options.when_full, options.max_conn_memory), (WhenFull::Recycle, 4_194_304));
        assert_eq!(options.half_close_timeout, Duration::from_secs(1));
    }
}
