//! What can be set about a server, with its defaults.

use super::access::SocketAccess;
use super::access_log::{AccessLog, AccessLogTo};
use super::endpoint::Endpoint;
use super::health_path::HealthPath;
#[cfg(feature = "tls")]
use super::hsts::Hsts;
use super::https_port::HttpsPort;
use super::when_full::WhenFull;
use crate::proxy::{BelievedFields, Networks};
#[cfg(feature = "tls")]
use crate::server::Tls;

/// The limit of a server that sets none. Most machines grant a process fewer descriptors by default, so the log
/// does not mention that this limit is lowered to what is granted; see `listen::descriptors`.
pub(crate) const DEFAULT_MAX_CONNS: usize = 100_000;

/// Declares the options of a server. The ordinary ones come from the table of keys.
macro_rules! server_options {
    ($($(#[$condition:meta])? $name:ident: $type:ty = $default:expr),* $(,)?) => {
        /// Everything about a server except its service.
        #[derive(Debug, Clone)]
        pub(crate) struct ServerOptions {
            pub(crate) name: String,
            pub(crate) endpoints: Vec<Endpoint>,
            #[cfg(feature = "tls")]
            pub(crate) tls: Option<Tls>,
            /// Endpoints that speak plain text beside those over TLS.
            #[cfg(feature = "tls")]
            pub(crate) plain_endpoints: Vec<Endpoint>,
            #[cfg(feature = "tls")]
            pub(crate) hsts: Option<Hsts>,
            pub(crate) redirect_to_https: Option<HttpsPort>,
            pub(crate) max_conns: usize,
            pub(crate) backlog: u32,
            pub(crate) when_full: WhenFull,
            pub(crate) socket: SocketAccess,
            pub(crate) trusted_proxies: Networks,
            pub(crate) forwarded: BelievedFields,
            pub(crate) proxy_protocol: Networks,
            pub(crate) health: Option<HealthPath>,
            pub(crate) access_log: AccessLog,
            pub(crate) access_log_to: AccessLogTo,
            $($(#[$condition])? pub(crate) $name: $type,)*
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
                    #[cfg(feature = "tls")]
                    plain_endpoints: Vec::new(),
                    #[cfg(feature = "tls")]
                    hsts: None,
                    redirect_to_https: None,
                    max_conns: DEFAULT_MAX_CONNS,
                    backlog: 4096,
                    when_full: WhenFull::Recycle,
                    socket: SocketAccess::default(),
                    trusted_proxies: Networks::default(),
                    forwarded: BelievedFields::default(),
                    proxy_protocol: Networks::default(),
                    health: None,
                    access_log: AccessLog::Off,
                    access_log_to: AccessLogTo::Stdout,
                    $($(#[$condition])? $name: $default,)*
                    chosen: Vec::new(),
                }
            }
        }
    };
}

gracehttp_macros::keys!(server.fields => server_options);

impl ServerOptions {
    /// Whether this server speaks HTTP/2.
    pub(crate) fn has_http2(&self) -> bool {
        #[cfg(feature = "http2")]
        return self.http2;
        #[cfg(not(feature = "http2"))]
        false
    }

    /// Whether all its connections over TLS have to have the certificate of a client.
    pub(crate) fn requires_client_cert(&self) -> bool {
        #[cfg(feature = "tls")]
        return self.tls.as_ref().is_some_and(Tls::requires_client_cert);
        #[cfg(not(feature = "tls"))]
        false
    }

    /// Whether connections of this server begin with a TLS handshake: all but those of its plain endpoints.
    pub(crate) fn is_tls(&self) -> bool {
        #[cfg(feature = "tls")]
        return self.tls.is_some();
        #[cfg(not(feature = "tls"))]
        false
    }

    /// Whether connections of this server may speak plain text.
    pub(crate) fn has_plain(&self) -> bool {
        !self.is_tls() || !self.plain_endpoints().is_empty()
    }

    /// The endpoints that speak plain text on a server with TLS.
    pub(crate) fn plain_endpoints(&self) -> &[Endpoint] {
        #[cfg(feature = "tls")]
        return &self.plain_endpoints;
        #[cfg(not(feature = "tls"))]
        &[]
    }

    /// All endpoints, the plain ones last.
    pub(crate) fn all_endpoints(&self) -> impl Iterator<Item = &Endpoint> {
        self.endpoints.iter().chain(self.plain_endpoints())
    }

    /// All endpoints, each with whether its connections begin with a TLS handshake.
    pub(crate) fn secured_endpoints(&self) -> impl Iterator<Item = (&Endpoint, bool)> {
        let is_tls = self.is_tls();
        let usual = self.endpoints.iter().map(move |endpoint| (endpoint, is_tls));
        usual.chain(self.plain_endpoints().iter().map(|endpoint| (endpoint, false)))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_defaults_are_those_of_the_documentation() {
        let options = ServerOptions::new("ping");
        assert_eq!(options.name, "ping");
        assert!(options.endpoints.is_empty());
        assert_eq!((options.max_conns, options.backlog), (100_000, 4096));
        assert_eq!(
            (options.http1, options.has_http2(), options.nodelay),
            (true, cfg!(feature = "http2"), true)
        );
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
