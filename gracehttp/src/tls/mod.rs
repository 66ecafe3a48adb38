//! TLS up to the record layer: certificates, session tickets, handshakes.

#[cfg(feature = "tls")]
mod acceptor;
#[cfg(feature = "tls")]
mod certificate;
#[cfg(feature = "tls")]
mod challenges;
#[cfg(feature = "tls")]
mod choices;
#[cfg(feature = "tls")]
mod clients;
#[cfg(feature = "tls")]
mod der;
#[cfg(feature = "tls")]
mod extensions;
#[cfg(feature = "tls")]
mod failure;
#[cfg(feature = "tls")]
mod files;
#[cfg(feature = "tls")]
mod handshake;
#[cfg(feature = "acme")]
mod issuance;
#[cfg(feature = "tls")]
mod key_log;
mod key_ring;
#[cfg(feature = "tls")]
mod names;
#[cfg(feature = "tls")]
mod ocsp;
#[cfg(feature = "tls")]
#[cfg(test)]
pub(crate) mod peer;
#[cfg(feature = "tls")]
mod places;
#[cfg(feature = "tls")]
mod presented;
#[cfg(feature = "tls")]
mod reload;
#[cfg(feature = "tls")]
mod resolver;
#[cfg(feature = "tls")]
mod set;
#[cfg(feature = "tls")]
mod subject;
#[cfg(feature = "tls")]
mod tickets;
#[cfg(feature = "tls")]
mod validity;
#[cfg(feature = "tls")]
mod watch;
#[cfg(not(feature = "tls"))]
mod without;

#[cfg(feature = "tls")]
pub(crate) use acceptor::TlsAcceptor;
#[cfg(feature = "acme")]
pub(crate) use acceptor::issued;
#[cfg(feature = "acme")]
pub(crate) use certificate::Certificate;
#[cfg(all(feature = "tls", any(feature = "test-kit", feature = "acme")))]
pub(crate) use certificate::provider as crypto_provider;
#[cfg(feature = "acme")]
pub(crate) use challenges::Challenges;
#[cfg(feature = "tls")]
pub(crate) use failure::{is_challenge, kind_of};
#[cfg(feature = "acme")]
pub(crate) use files::contents;
#[cfg(feature = "tls")]
pub(crate) use handshake::handshake;
#[cfg(feature = "acme")]
pub(crate) use issuance::Issuance;
pub(crate) use key_ring::{KeyRing, TicketKey};
#[cfg(feature = "tls")]
pub(crate) use names::all_of as names_of;
#[cfg(feature = "tls")]
pub(crate) use places::Place;
#[cfg(feature = "acme")]
pub(crate) use presented::Presented;
#[cfg(feature = "tls")]
pub(crate) use reload::{Look, Reloader};
#[cfg(feature = "acme")]
pub(crate) use set::CertificateSet;
#[cfg(feature = "tls")]
pub(crate) use subject::subject_of;
#[cfg(feature = "tls")]
pub(crate) use watch::Watch;
#[cfg(not(feature = "tls"))]
pub(crate) use without::TlsAcceptor;
