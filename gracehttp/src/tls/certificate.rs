//! One certificate with its key, checked as a whole.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use tokio_rustls::rustls::crypto::CryptoProvider;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_rustls::rustls::{self, SignatureAlgorithm, SignatureScheme};

use crate::error::Error;
#[cfg(feature = "acme")]
use crate::tls::issuance::{self, Issuance};
use crate::tls::names;
use crate::tls::validity::{self, Validity};

/// What an operator wants to know of a certificate.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct CertificateFacts {
    /// For whom it is.
    pub(crate) names: Vec<String>,
    pub(crate) not_after: Option<SystemTime>,
}

/// A certificate that a server can present: its chain is readable, and the key belongs to it.
#[derive(Debug)]
pub(crate) struct Certificate {
    certified: Arc<CertifiedKey>,
    facts: CertificateFacts,
}

/// What clients may refuse a certificate for, in words.
#[derive(Debug)]
pub(crate) enum Flaw {
    Dates(String),
    Order(String),
}

impl Flaw {
    pub(super) fn is_of_same_kind(&self, other: &Self) -> bool {
        std::mem::discriminant(self) == std::mem::discriminant(other)
    }
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Dates(words) | Self::Order(words)) = self;
        f.write_str(words)
    }
}

impl Certificate {
    /// Checks chain, key and version together. `shown` is what messages begin with: server and certificate.
    pub(crate) fn check(
        shown: &str,
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
    ) -> Result<Self, Error> {
        let version = chain.first().and_then(|leaf| validity::version(leaf));
        let facts = facts(&chain);
        let certified = CertifiedKey::from_der(chain, key, &provider()).map_err(|error| {
            Error::caused_by(format!("{shown}: {}", why_unusable(version, &error)), error)
        })?;
        Ok(Self { certified: Arc::new(certified), facts })
    }

    /// This certificate with an OCSP response for those clients that ask for one.
    pub(super) fn stapled(self, response: Vec<u8>) -> Self {
        let mut certified = Arc::unwrap_or_clone(self.certified);
        certified.ocsp = Some(response);
        Self { certified: Arc::new(certified), ..self }
    }

    /// What an operator wants to know of it.
    pub(crate) fn facts(&self) -> &CertificateFacts {
        &self.facts
    }

    /// Why clients may refuse it at this time: its dates, or the order of its chain. A server starts all the same, since some
    /// clients check neither. But such a certificate does not replace a better one.
    pub(crate) fn flaws(&self, now: SystemTime) -> Vec<Flaw> {
        flaws(&self.certified.cert, now)
    }

    /// Whether both present the same chain.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        self.certified.cert == other.certified.cert && self.certified.ocsp == other.certified.ocsp
    }

    /// When to renew it: two thirds of its lifetime are over then. None if its dates make no sense. A certificate that is not
    /// valid yet by this machine's clock is not due: the clock is wrong, and another certificate would not be valid, either.
    #[cfg(feature = "acme")]
    pub(crate) fn renewal(&self) -> Option<SystemTime> {
        let Validity { not_before, not_after } = validity::of(self.certified.cert.first()?)?;
        let lifetime = not_after.duration_since(not_before).ok()?;
        Some(not_before + lifetime * 2 / 3)
    }

    /// The latest time to renew it, whatever its authority suggests: a tenth of its lifetime is left for failures then.
    #[cfg(feature = "acme")]
    pub(crate) fn latest_renewal(&self) -> Option<SystemTime> {
        let Validity { not_before, not_after } = validity::of(self.certified.cert.first()?)?;
        let lifetime = not_after.duration_since(not_before).ok()?;
        Some(not_after - lifetime / 10)
    }

    /// By what its authority knows it again.
    #[cfg(feature = "acme")]
    pub(crate) fn issuance(&self) -> Option<Issuance<'_>> {
        issuance::of(self.certified.cert.first()?)
    }

    /// The names that clients ask for.
    pub(super) fn dns_names(&self) -> Vec<String> {
        let leaf = self.certified.cert.first();
        leaf.map(|leaf| names::dns_of(leaf)).unwrap_or_default()
    }

    /// The kind of its key.
    pub(super) fn key_kind(&self) -> SignatureAlgorithm {
        self.certified.key.algorithm()
    }

    /// Whether a client that verifies these signatures can use it.
    pub(super) fn suits(&self, schemes: &[SignatureScheme]) -> bool {
        self.certified.key.choose_scheme(schemes).is_some()
    }

    pub(super) fn certified(&self) -> &Arc<CertifiedKey> {
        &self.certified
    }

    /// A certificate of our own making, for development.
    #[cfg(feature = "self-signed")]
    pub(super) fn self_signed(server: &str) -> Result<Self, Error> {
        let names = ["localhost", "127.0.0.1", "::1"].map(String::from);
        let make = || {
            let key = rcgen::KeyPair::generate()?;
            let mut params = rcgen::CertificateParams::new(names)?;
            params.distinguished_name = rcgen::DistinguishedName::new();
            params
                .distinguished_name
                .push(rcgen::DnType::CommonName, format!("{server} (gracehttp, self-signed)"));
            let certificate = params.self_signed(&key)?;
            Ok((vec![certificate.der().clone()], PrivateKeyDer::Pkcs8(key.serialize_der().into())))
        };
        let (chain, key) = make().map_err(|error: rcgen::Error| {
            Error::caused_by(
                format!("server `{server}`: cannot make a self-signed certificate: {error}"),
                error,
            )
        })?;
        Self::check(&format!("server `{server}`: the certificate of its own making"), chain, key)
    }
}

/// Named explicitly: the process-wide default is the application's, and may be missing or another one.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    #[cfg(feature = "aws-lc-rs")]
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    #[cfg(not(feature = "aws-lc-rs"))]
    let provider = rustls::crypto::ring::default_provider();
    Arc::new(provider)
}

fn facts(chain: &[CertificateDer<'static>]) -> CertificateFacts {
    let Some(leaf) = chain.first() else { return CertificateFacts::default() };
    CertificateFacts {
        names: names::of(leaf),
        not_after: validity::of(leaf).map(|validity| validity.not_after),
    }
}

fn flaws(chain: &[CertificateDer<'static>], now: SystemTime) -> Vec<Flaw> {
    let dates = chain.first().and_then(|leaf| validity::of(leaf));
    let dates = dates.and_then(|Validity { not_before, not_after }| {
        let shown = |time| humantime::format_rfc3339_seconds(time);
        if now > not_after {
            Some(format!("it expired at {}, so clients will refuse it: replace it", shown(not_after)))
        } else if now < not_before {
            Some(format!(
                "it is not valid before {}, so clients will refuse it: replace it",
                shown(not_before)
            ))
        } else {
            None
        }
    });
    let is_issued = |pair: &[CertificateDer<'static>]| match (
        validity::issuer_and_subject(&pair[0]),
        validity::issuer_and_subject(&pair[1]),
    ) {
        (Some((issuer, _)), Some((_, subject))) => issuer == subject,
        _ => true,
    };
    let order = chain.windows(2).position(|pair| !is_issued(pair)).map(|at| {
        format!(
            "certificate {} of its chain was not issued by the next one, so some clients will refuse it: put the \
             server's own certificate first, and behind each one its issuer",
            at + 1
        )
    });
    dates.map(Flaw::Dates).into_iter().chain(order.map(Flaw::Order)).collect()
}

fn why_unusable(version: Option<u8>, error: &rustls::Error) -> String {
    match error {
        rustls::Error::InconsistentKeys(_) => {
            "the key does not belong to the certificate: take the pair that was issued together, with the server's own \
             certificate first in its file"
                .to_owned()
        }
        rustls::Error::InvalidCertificate(_) if version.is_some_and(|version| version < 3) => format!(
            "it is of X.509 version {}, and TLS needs version 3: have it reissued, or make one: `openssl req -x509 \
             -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 365 -subj /CN=localhost -addext \
             subjectAltName=DNS:localhost -keyout key.pem -out cert.pem`",
            version.unwrap_or_default()
        ),
        rustls::Error::InvalidCertificate(_) => {
            format!("the certificate is malformed ({error}): replace it")
        }
        _ => format!(
            "the key cannot be used ({error}): take an ECDSA P-256, Ed25519 or RSA key of 2048 bits or more"
        ),
    }
}
