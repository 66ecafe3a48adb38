//! What a server presents in its handshakes. It is replaced while the server runs.

use std::sync::Arc;

use parking_lot::RwLock;
use tokio_rustls::rustls::server::ResolvesServerCertUsingSni;
use tokio_rustls::rustls::{KeyLog, ServerConfig};

use crate::error::Error;
use crate::server::{ServerOptions, Tls};
use crate::tls::certificate::Certificate;
use crate::tls::challenges::{Challenges, PROTOCOL};
use crate::tls::choices::{Choices, Fit, choices};
use crate::tls::clients::Clients;
use crate::tls::key_ring::KeyRing;
use crate::tls::resolver::HandshakeResolver;
use crate::tls::set::CertificateSet;
use crate::tls::tickets::Tickets;

/// What the handshakes of a server need. Each handshake takes it once, as it is at its beginning, and keeps it.
#[derive(Debug)]
pub(crate) struct Presented {
    blueprint: Blueprint,
    current: RwLock<Arc<Current>>,
    challenges: Challenges,
}

/// All of it that changes together. It never changes itself.
#[derive(Debug)]
pub(super) struct Current {
    config: ServerConfig,
    /// `None` if clients are not asked for certificates.
    pub(super) clients: Option<Clients>,
    pub(super) set: CertificateSet,
}

impl Presented {
    pub(super) fn new(
        options: &ServerOptions,
        tls: &Tls,
        keys: &KeyRing,
        clients: Option<Clients>,
        set: CertificateSet,
    ) -> Result<Self, Error> {
        let (http1, http2) = (options.http1, options.has_http2());
        let (server, tls, keys) = (options.name.clone(), tls.clone(), keys.clone());
        let blueprint = Blueprint { server, tls, http1, http2, keys };
        let current = Arc::new(Current { config: blueprint.config(clients.as_ref())?, clients, set });
        Ok(Self { blueprint, current: RwLock::new(current), challenges: Challenges::default() })
    }

    /// New handshakes get a certificate of this set. Connections and session tickets are not touched.
    pub(crate) fn replace(&self, set: CertificateSet) {
        let mut current = self.current.write();
        *current =
            Arc::new(Current { config: current.config.clone(), clients: current.clients.clone(), set });
    }

    /// New handshakes are for these clients. Session tickets of before are not taken any more.
    pub(super) fn replace_clients(&self, clients: Clients) -> Result<(), Error> {
        let config = self.blueprint.config(Some(&clients))?;
        let mut current = self.current.write();
        *current = Arc::new(Current { config, clients: Some(clients), set: current.set.clone() });
        Ok(())
    }

    /// How the cipher suites fit a certificate.
    pub(super) fn fit(&self, certificate: &Certificate) -> Result<Fit, Error> {
        let Blueprint { server, tls, .. } = &self.blueprint;
        Ok(choices(server, tls)?.fit(certificate.key_kind()))
    }

    /// Replaces the present set by another, unless it will do.
    #[cfg(feature = "acme")]
    pub(crate) fn replace_unless(
        &self,
        will_do: impl FnOnce(&CertificateSet) -> bool,
        other: impl FnOnce() -> CertificateSet,
    ) {
        if !will_do(&self.current().set) {
            self.replace(other());
        }
    }

    /// When the certificate expires, if there is one.
    #[cfg(feature = "acme")]
    pub(crate) fn expiry(&self) -> Option<std::time::SystemTime> {
        self.current().set.certificates().first()?.facts().not_after
    }

    /// The certificates that an authority gets to see for its challenges.
    #[cfg_attr(
        not(any(test, feature = "acme")),
        expect(dead_code, reason = "an authority's client sets challenges")
    )]
    pub(crate) fn challenges(&self) -> &Challenges {
        &self.challenges
    }

    pub(super) fn current(&self) -> Arc<Current> {
        self.current.read().clone()
    }

    /// Whether an authority may come to look at a challenge, where clients need a certificate. The authority has none.
    pub(super) fn awaits_authority(&self) -> bool {
        self.challenges.are_expected() && self.current.read().clients.is_some()
    }

    /// The configuration for the handshake of an authority that looks at a challenge. It is not asked for a certificate, and
    /// gets no session to resume.
    pub(super) fn for_authority(
        &self,
        key_log: Arc<dyn KeyLog>,
    ) -> Result<(Arc<ServerConfig>, Arc<HandshakeResolver>), Error> {
        let mut config = self.blueprint.config(None)?;
        config.send_tls13_tickets = 0;
        Ok(self.for_one(config, self.current(), key_log))
    }

    /// The configuration for one handshake, whose secrets the log gets, and its resolver. A clone is little more than some
    /// pointers.
    pub(super) fn for_handshake(
        &self,
        key_log: Arc<dyn KeyLog>,
    ) -> (Arc<ServerConfig>, Arc<HandshakeResolver>) {
        let current = self.current();
        self.for_one(current.config.clone(), current, key_log)
    }

    fn for_one(
        &self,
        mut config: ServerConfig,
        current: Arc<Current>,
        key_log: Arc<dyn KeyLog>,
    ) -> (Arc<ServerConfig>, Arc<HandshakeResolver>) {
        let resolver = Arc::new(HandshakeResolver::new(current, self.challenges.clone()));
        config.key_log = key_log;
        config.cert_resolver = resolver.clone();
        if self.challenges.are_expected() {
            config.alpn_protocols.push(PROTOCOL.to_vec());
        }
        (Arc::new(config), resolver)
    }
}

/// What a configuration is made of, beside what is replaced.
#[derive(Debug)]
struct Blueprint {
    server: String,
    tls: Tls,
    http1: bool,
    http2: bool,
    keys: KeyRing,
}

impl Blueprint {
    fn config(&self, clients: Option<&Clients>) -> Result<ServerConfig, Error> {
        let Self { server, tls, http1, http2, keys } = self;
        let Choices { provider, versions } = choices(server, tls)?;
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            // Each handshake has a resolver of its own.
            .map(|builder| {
                let builder = match clients {
                    Some(clients) => builder.with_client_cert_verifier(clients.verifier.clone()),
                    None => builder.with_no_client_auth(),
                };
                builder.with_cert_resolver(Arc::new(ResolvesServerCertUsingSni::new()))
            })
            .map_err(|error| {
                Error::caused_by(format!("server `{server}`: no TLS is possible: {error}"), error)
            })?;
        config.alpn_protocols = [(*http2, "h2"), (*http1, "http/1.1")]
            .into_iter()
            .filter(|(spoken, _)| *spoken)
            .map(|(_, protocol)| protocol.into())
            .collect();
        // rustls makes only the handshake; its secrets go to our record layer. So no data of the application may pass
        // through rustls: neither early data of the client (RFC 8446 section 2.3) nor data that we send before the client's
        // Finished (section 4.4.4).
        config.enable_secret_extraction = true;
        config.max_early_data_size = 0;
        config.send_half_rtt_data = false;
        config.ticketer =
            Arc::new(Tickets::new(server, clients.map(|clients| &clients.digest), keys.clone()));
        Ok(config)
    }
}

#[cfg(all(test, feature = "http2"))]
mod tests {
    use super::*;
    use crate::tls::key_log::ConnectionKeyLog;

    #[test]
    fn handshakes_offer_what_the_server_speaks() {
        for (http1, http2, offered) in
            [(true, true, &["h2", "http/1.1"][..]), (true, false, &["http/1.1"]), (false, true, &["h2"])]
        {
            let options = ServerOptions { http1, http2, ..ServerOptions::new("web") };
            let set = CertificateSet::default();
            let presented =
                Presented::new(&options, &Tls::files("a.pem", "a.key"), &KeyRing::default(), None, set)
                    .unwrap();
            let (config, _) = presented.for_handshake(Arc::new(ConnectionKeyLog::default()));
            assert!(
                config.alpn_protocols.iter().map(Vec::as_slice).eq(offered.iter().map(|of| of.as_bytes()))
            );
        }
    }
}
