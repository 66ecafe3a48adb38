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
use crate::tls::ocsp::Staple;
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
    stapled: Option<Stapled>,
}

/// A certificate with an OCSP response.
#[derive(Debug)]
struct Stapled {
    staple: Staple,
    certified: Arc<CertifiedKey>,
}

/// What clients may refuse a certificate for, in words.
#[derive(Debug)]
pub(crate) enum Flaw {
    /// Of the server's own certificate.
    Dates(String),
    /// Of the certificates behind it.
    IssuerDates(String),
    Order(String),
}

impl Flaw {
    pub(super) fn is_of_same_kind(&self, other: &Self) -> bool {
        std::mem::discriminant(self) == std::mem::discriminant(other)
    }
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Dates(words) | Self::IssuerDates(words) | Self::Order(words)) = self;
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
        Ok(Self { certified: Arc::new(certified), facts, stapled: None })
    }

    /// This certificate with an OCSP response for those clients that ask for one.
    pub(super) fn with_staple(&self, staple: Staple) -> Self {
        let mut certified = CertifiedKey::clone(&self.certified);
        certified.ocsp = Some(staple.response.clone());
        let stapled = Stapled { staple, certified: Arc::new(certified) };
        Self { certified: self.certified.clone(), facts: self.facts.clone(), stapled: Some(stapled) }
    }

    /// The OCSP response that it has, even if it is not valid any more.
    pub(super) fn staple(&self) -> Option<&Staple> {
        self.stapled.as_ref().map(|stapled| &stapled.staple)
    }

    /// Whether it has an OCSP response that is not valid any more.
    pub(super) fn has_outdated_staple(&self) -> bool {
        self.staple().is_some_and(|staple| !staple.is_valid_at(SystemTime::now()))
    }

    /// The server's own certificate, in DER.
    pub(super) fn own(&self) -> &[u8] {
        self.certified.cert.first().map(|own| own.as_ref()).unwrap_or_default()
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
        self.certified.cert == other.certified.cert
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

    /// What identifies it to its authority.
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

    /// What a client gets now: without an OCSP response that is outdated, for which some clients would refuse the server. Most
    /// accept one without a response.
    pub(super) fn certified(&self) -> &Arc<CertifiedKey> {
        match &self.stapled {
            Some(Stapled { staple, certified }) if staple.is_valid_at(SystemTime::now()) => certified,
            _ => &self.certified,
        }
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
    let mut all = chain.iter().enumerate();
    let own = all.next().and_then(|(_, own)| outdated(own, now));
    let own = own.map(|how| Flaw::Dates(format!("it {how}, so clients will refuse it: replace it")));
    // Clients have their own copies of roots, and don't look at the dates of these.
    let is_root = |certificate: &[u8]| {
        validity::issuer_and_subject(certificate).is_some_and(|(issuer, subject)| issuer == subject)
    };
    let issuers = all.filter(|(_, issuer)| !is_root(issuer));
    let issuer = issuers.into_iter().find_map(|(at, issuer)| {
        let how = outdated(issuer, now)?;
        Some(Flaw::IssuerDates(format!(
            "certificate {} of its chain {how}, so some clients will refuse it: replace the chain",
            at + 1
        )))
    });
    let is_issued = |pair: &[CertificateDer<'static>]| match (
        validity::issuer_and_subject(&pair[0]),
        validity::issuer_and_subject(&pair[1]),
    ) {
        (Some((issuer, _)), Some((_, subject))) => issuer == subject,
        _ => true,
    };
    let order = chain.windows(2).position(|pair| !is_issued(pair)).map(|at| {
        Flaw::Order(format!(
            "certificate {} of its chain was not issued by the next one, so some clients will refuse it: put the \
             server's own certificate first, and behind each one its issuer",
            at + 1
        ))
    });
    [own, issuer, order].into_iter().flatten().collect()
}

/// How the dates of a certificate exclude this time.
fn outdated(certificate: &[u8], now: SystemTime) -> Option<String> {
    let Validity { not_before, not_after } = validity::of(certificate)?;
    let shown = |time| humantime::format_rfc3339_seconds(time);
    if now > not_after {
        Some(format!("expired at {}", shown(not_after)))
    } else if now < not_before {
        Some(format!("is not valid before {}", shown(not_before)))
    } else {
        None
    }
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

    use super::*;

    fn params(name: &str, until: i32) -> CertificateParams {
        let mut params = CertificateParams::new(["localhost".to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.not_after = rcgen::date_time_ymd(until, 1, 1);
        params
    }

    /// A chain of three whose certificates are valid up to these years.
    fn chain(own: i32, issuer: i32, root: i32) -> Vec<CertificateDer<'static>> {
        let keys = [(); 3].map(|()| KeyPair::generate().unwrap());
        let [own_key, issuer_key, root_key] = keys;
        let (root_params, issuer_params) = (params("root", root), params("issuer", issuer));
        let root = root_params.self_signed(&root_key).unwrap().der().clone();
        let issuer = issuer_params.signed_by(&issuer_key, &Issuer::new(root_params, root_key)).unwrap();
        let own = params("own", own).signed_by(&own_key, &Issuer::new(issuer_params, issuer_key)).unwrap();
        vec![own.der().clone(), issuer.der().clone(), root]
    }

    /// Clients have the root themselves.
    #[test]
    fn the_dates_of_all_certificates_but_the_root_count() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_780_000_000);
        let flaws = |own, issuer, root| -> Vec<String> {
            flaws(&chain(own, issuer, root), now).iter().map(ToString::to_string).collect()
        };
        assert!(flaws(2040, 2040, 2040).is_empty() && flaws(2040, 2040, 2001).is_empty());
        let of_issuer = flaws(2040, 2001, 2040);
        assert_eq!(of_issuer.len(), 1);
        assert!(
            of_issuer[0].starts_with("certificate 2 of its chain expired at 2001-01-01"),
            "{of_issuer:?}"
        );
        let of_both = flaws(2001, 2001, 2001);
        assert_eq!(of_both.len(), 2);
        assert!(of_both[0].starts_with("it expired at 2001-01-01"), "{of_both:?}");
    }
}
