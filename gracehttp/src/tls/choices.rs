//! The protocol versions, cipher suites and curves of a server.

use std::fmt;
use std::sync::Arc;

use tokio_rustls::rustls::crypto::{CryptoProvider, SupportedKxGroup};
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{NamedGroup, SignatureAlgorithm, SupportedCipherSuite, SupportedProtocolVersion};

use crate::error::Error;
use crate::record::Suite;
use crate::server::{Tls, tls_words};
use crate::tls::certificate::provider;

static NEWEST: &[&SupportedProtocolVersion] = &[&TLS13];
static ALL: &[&SupportedProtocolVersion] = &[&TLS13, &TLS12];

/// What a server speaks.
pub(super) struct Choices {
    pub(super) provider: Arc<CryptoProvider>,
    pub(super) versions: &'static [&'static SupportedProtocolVersion],
}

impl Choices {
    /// The choices of the configuration, and for the rest those of rustls. An error says what is valid.
    pub(super) fn of(tls: &Tls) -> Result<Self, String> {
        let mut provider = Arc::unwrap_or_clone(provider());
        let versions = match &tls.min_version {
            None => ALL,
            Some(version) => {
                tls_words::check([version.as_str()], tls_words::VERSIONS)
                    .map_err(|reason| format!("min_version: {reason}"))?;
                if version == "1.3" { NEWEST } else { ALL }
            }
        };
        if !tls.cipher_suites.is_empty() {
            let chosen = tls.cipher_suites.iter().map(|name| {
                let suites = provider.cipher_suites.iter().copied();
                let mut named = suites
                    .filter(|&suite| Suite::negotiated(suite).is_some_and(|suite| suite.name() == name));
                named.next().ok_or_else(|| unknown("cipher_suites", name, tls_words::CIPHER_SUITES))
            });
            provider.cipher_suites = chosen.collect::<Result<_, _>>()?;
            let is_spoken = |suite: &SupportedCipherSuite| versions.contains(&suite.version());
            if !provider.cipher_suites.iter().any(is_spoken) {
                return Err(format!(
                    "cipher_suites: {}: none is for TLS 1.3, and `min_version` is 1.3: add a suite such as \
                     TLS_AES_128_GCM_SHA256, or set `min_version` to \"1.2\"",
                    tls.cipher_suites.join(", ")
                ));
            }
        }
        if !tls.curves.is_empty() {
            let chosen = tls.curves.iter().map(|name| curve(name));
            provider.kx_groups = chosen.collect::<Result<_, _>>()?;
        }
        Ok(Self { provider: Arc::new(provider), versions })
    }

    /// How the suites fit a certificate with a key of this kind. A suite of TLS 1.2 is for one kind, one of TLS 1.3 for all.
    pub(super) fn fit(&self, key: SignatureAlgorithm) -> Fit {
        let spoken =
            self.provider.cipher_suites.iter().filter(|suite| self.versions.contains(&suite.version()));
        let (usable, useless): (Vec<_>, Vec<_>) =
            spoken.partition(|suite| suite.usable_for_signature_algorithm(key));
        let is_old = |suite: &&SupportedCipherSuite| suite.version() == &TLS12;
        if usable.is_empty() {
            Fit::Useless(key)
        } else if !useless.is_empty() && !usable.iter().any(is_old) {
            Fit::OnlyNewest(key)
        } else {
            Fit::Whole
        }
    }
}

/// How cipher suites fit a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fit {
    Whole,
    /// Suites of TLS 1.2 are chosen, and none of them is for its key.
    OnlyNewest(SignatureAlgorithm),
    /// No client can use the certificate.
    Useless(SignatureAlgorithm),
}

impl fmt::Display for Fit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let suite = |key: SignatureAlgorithm| match key {
            SignatureAlgorithm::RSA => "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
            _ => "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
        };
        match *self {
            Self::Whole => Ok(()),
            Self::OnlyNewest(key) => write!(
                f,
                "clients of TLS 1.2 can't use it, since no suite of that version in `tls.cipher_suites` is for its {key:?} \
                 key: add {}, or set `tls.min_version` to \"1.3\"",
                suite(key)
            ),
            Self::Useless(key) => write!(
                f,
                "no client can use it, since no suite in `tls.cipher_suites` is for its {key:?} key: add {} or a suite of \
                 TLS 1.3, or take a certificate with a key of another kind",
                suite(key)
            ),
        }
    }
}

/// The choices of a server.
pub(super) fn choices(server: &str, tls: &Tls) -> Result<Choices, Error> {
    Choices::of(tls).map_err(|reason| Error::new(format!("server `{server}`: tls.{reason}")))
}

/// The group of this name.
fn curve(name: &str) -> Result<&'static dyn SupportedKxGroup, String> {
    #[cfg(feature = "aws-lc-rs")]
    use tokio_rustls::rustls::crypto::aws_lc_rs::ALL_KX_GROUPS;
    #[cfg(not(feature = "aws-lc-rs"))]
    use tokio_rustls::rustls::crypto::ring::ALL_KX_GROUPS;
    let wanted = match name {
        "X25519" => NamedGroup::X25519,
        "secp256r1" => NamedGroup::secp256r1,
        "secp384r1" => NamedGroup::secp384r1,
        "X25519MLKEM768" => NamedGroup::X25519MLKEM768,
        _ => return Err(unknown("curves", name, tls_words::CURVES)),
    };
    let group = ALL_KX_GROUPS.iter().copied().find(|group| group.name() == wanted);
    group.ok_or_else(|| format!("curves: `{name}` needs gracehttp's feature `aws-lc-rs`"))
}

fn unknown(key: &str, word: &str, all: &[&str]) -> String {
    format!("{key}: `{word}` is unknown here; valid are {}", all.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files() -> Tls {
        Tls::files("a.pem", "a.key")
    }

    fn fault(tls: &Tls) -> String {
        Choices::of(tls).err().expect("a fault")
    }

    #[test]
    fn every_word_of_the_keys_is_known() {
        let suites = Choices::of(&files().cipher_suites(tls_words::CIPHER_SUITES.iter().copied())).unwrap();
        assert_eq!(suites.provider.cipher_suites.len(), provider().cipher_suites.len());
        for version in tls_words::VERSIONS {
            Choices::of(&files().min_version(*version)).unwrap();
        }
        for name in tls_words::CURVES {
            let chosen = Choices::of(&files().curves([*name]));
            assert!(
                chosen.is_ok() || (*name == "X25519MLKEM768" && cfg!(not(feature = "aws-lc-rs"))),
                "{name}"
            );
        }
    }

    #[test]
    fn suites_of_version_1_2_are_for_one_kind_of_key() {
        use SignatureAlgorithm::{ECDSA, ED25519, RSA};
        let (new, rsa) = ("TLS_AES_128_GCM_SHA256", "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256");
        let ecdsa = "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256";
        let fit = |suites: &[&str], key| {
            Choices::of(&files().cipher_suites(suites.iter().copied())).unwrap().fit(key)
        };
        for key in [RSA, ECDSA, ED25519] {
            assert_eq!(fit(&[], key), Fit::Whole);
            assert_eq!(fit(&[new], key), Fit::Whole);
            assert_eq!(fit(&[rsa, ecdsa], key), Fit::Whole);
            let (its, other) = if key == RSA { (rsa, ecdsa) } else { (ecdsa, rsa) };
            assert_eq!(fit(&[its], key), Fit::Whole);
            assert_eq!(fit(&[other], key), Fit::Useless(key));
            assert_eq!(fit(&[other, new], key), Fit::OnlyNewest(key));
            let newest = Choices::of(&files().min_version("1.3").cipher_suites([other, new])).unwrap();
            assert_eq!(newest.fit(key), Fit::Whole);
        }
    }

    #[test]
    fn what_is_wrong_is_named_with_what_is_valid() {
        assert_eq!(
            fault(&files().min_version("1.1")),
            "min_version: `1.1` is unknown here; valid are 1.2, 1.3"
        );
        let message = fault(&files().cipher_suites(["TLS_RSA_WITH_RC4_128_SHA"]));
        assert!(message.contains("valid are TLS_AES_128_GCM_SHA256"), "{message}");
        assert!(fault(&files().curves(["P-256"])).contains("valid are X25519, secp256r1"));
        let old = ["TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"];
        let message = fault(&files().min_version("1.3").cipher_suites(old));
        assert!(message.contains(&format!("{}: none is for TLS 1.3", old[0])), "{message}");
    }
}
