//! What can be set about certificates that an authority issues by itself (ACME, RFC 8555).

use std::fmt;
use std::path::{Path, PathBuf};

#[cfg(feature = "acme")]
use base64::Engine as _;
#[cfg(feature = "acme")]
use base64::alphabet::URL_SAFE;
#[cfg(feature = "acme")]
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
#[cfg(feature = "acme")]
use zeroize::Zeroizing;

use crate::server::CertificateFiles;

/// The authority that is asked if none is chosen.
const PRODUCTION: &str = "https://acme-v02.api.letsencrypt.org/directory";
const STAGING: &str = "https://acme-staging-v02.api.letsencrypt.org/directory";

/// A certificate that an authority issues and renews by itself, by ACME: Let's Encrypt, unless
/// [`directory`](Self::directory) says otherwise. By using it you agree to the authority's terms of service.
///
/// ```
/// use gracehttp::{Acme, Tls};
///
/// let acme = Acme::new(["example.org", "www.example.org"], "/var/lib/app/acme").contact("mailto:ops@example.org");
/// let tls = Tls::acme(acme);
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Acme {
    pub(crate) domains: Vec<String>,
    pub(crate) contact: Option<String>,
    pub(crate) cache: PathBuf,
    /// `None` for production.
    pub(crate) directory: Option<String>,
    pub(crate) ca: Option<PathBuf>,
    /// The account at the authority's company to which the one here is bound (RFC 8555 section 7.3.4).
    pub(crate) eab_kid: Option<String>,
    pub(crate) eab_hmac_key: Option<Secret>,
    /// The file of that key, in place of the key itself.
    pub(crate) eab_hmac_key_file: Option<PathBuf>,
}

const DOMAINS: &str = "tls.acme.domains";
const CONTACT: &str = "tls.acme.contact";
const CACHE: &str = "tls.acme.cache";
const DIRECTORY: &str = "tls.acme.directory";
const CA: &str = "tls.acme.ca";
const EAB_KID: &str = "tls.acme.eab_kid";
const EAB_HMAC_KEY: &str = "tls.acme.eab_hmac_key";
const EAB_HMAC_KEY_FILE: &str = "tls.acme.eab_hmac_key_file";

/// What is wrong with some of its keys.
pub(crate) struct Fault {
    pub(crate) keys: &'static [&'static str],
    pub(crate) message: String,
}

/// A text that no message shows.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Secret(pub(crate) String);

/// What messages show in place of a secret.
pub(crate) const MASK: &str = "…";

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}

impl Acme {
    /// A certificate for these names. Account, key and certificate are kept in the directory `cache`, over restarts, too.
    pub fn new<N: Into<String>>(domains: impl IntoIterator<Item = N>, cache: impl Into<PathBuf>) -> Self {
        Self {
            domains: domains.into_iter().map(Into::into).collect(),
            cache: cache.into(),
            ..Self::default()
        }
    }

    /// The address to which the authority may write, such as `mailto:ops@example.org`.
    pub fn contact(mut self, contact: impl Into<String>) -> Self {
        self.contact = Some(contact.into());
        self
    }

    /// The URL of another authority's directory; `staging` is the one of Let's Encrypt for trials, whose certificates no
    /// client trusts.
    pub fn directory(mut self, directory: impl Into<String>) -> Self {
        self.directory = Some(directory.into());
        self
    }

    /// The PEM file of the certificates by which the authority's own server is known, in place of those that browsers
    /// trust: for an authority of one's own.
    pub fn ca(mut self, file: impl Into<PathBuf>) -> Self {
        self.ca = Some(file.into());
        self
    }

    /// The identifier of the account that you have with the authority (external account binding), as it gave it to you.
    /// ZeroSSL, Google and the authorities of many companies need it, with the key that belongs to it.
    ///
    /// ```
    /// use gracehttp::Acme;
    ///
    /// let acme = Acme::new(["example.org"], "/var/lib/app/acme")
    ///     .directory("https://acme.zerossl.com/v2/DV90")
    ///     .eab_kid("kid-1")
    ///     .eab_hmac_key_file("/run/secrets/eab");
    /// ```
    pub fn eab_kid(mut self, kid: impl Into<String>) -> Self {
        self.eab_kid = Some(kid.into());
        self
    }

    /// The key of that account, as the authority gave it to you: in base64url. A secret: better leave it out of the program's
    /// source, and name its [file](Self::eab_hmac_key_file).
    pub fn eab_hmac_key(mut self, key: impl Into<String>) -> Self {
        self.eab_hmac_key = Some(Secret(key.into()));
        self
    }

    /// The file that holds this key. It is read when an account is made.
    pub fn eab_hmac_key_file(mut self, file: impl Into<PathBuf>) -> Self {
        self.eab_hmac_key_file = Some(file.into());
        self
    }

    /// The URL of the authority's directory.
    pub(crate) fn directory_url(&self) -> &str {
        match self.directory.as_deref() {
            None | Some("production") => PRODUCTION,
            Some("staging") => STAGING,
            Some(url) => url,
        }
    }

    /// The directory of what comes from this authority. Each authority has its own, so that none gets an account of another, and
    /// no certificate of staging is taken for one of production.
    pub(crate) fn folder(&self) -> PathBuf {
        let url = self.directory_url();
        let place = url.strip_prefix("https://").unwrap_or(url);
        let allowed = |c: char| if c.is_ascii_alphanumeric() || c == '.' || c == '-' { c } else { '_' };
        self.cache.join(place.chars().map(allowed).collect::<String>())
    }

    /// The file of the certificate and its key: both in one, so that they are replaced together.
    pub(crate) fn certificate_file(&self) -> PathBuf {
        let name = self.domains.first().map_or("certificate", String::as_str);
        self.folder().join(format!("{name}.pem"))
    }

    /// The file of the certificate and its key, as a pair of files.
    pub(crate) fn files(&self) -> CertificateFiles {
        CertificateFiles { cert: self.certificate_file(), key: self.certificate_file() }
    }

    /// What is wrong with it, and what would be valid.
    pub(crate) fn fault(&self) -> Option<Fault> {
        const ALL: &[&str] =
            &[DOMAINS, CONTACT, CACHE, DIRECTORY, CA, EAB_KID, EAB_HMAC_KEY, EAB_HMAC_KEY_FILE];
        let fault = |keys, message: String| Some(Fault { keys, message });
        if cfg!(not(feature = "acme")) {
            return fault(ALL, "`tls.acme` needs gracehttp's feature `acme`".to_owned());
        }
        if self.domains.is_empty() {
            return fault(
                ALL,
                "`tls.acme` has no `domains`: name those that the certificate is for".to_owned(),
            );
        }
        if let Some(wrong) = self.domains.iter().find(|domain| !is_domain(domain)) {
            return fault(
                &[DOMAINS],
                format!(
                    "`tls.acme.domains`: `{wrong}` is not a domain that can be validated by TLS-ALPN-01: valid is one such as \
                 `www.example.org`, in lower case, without a wildcard"
                ),
            );
        }
        if self.cache == Path::new("") {
            return fault(
                ALL,
                "`tls.acme` has no `cache`: name a directory that keeps account and certificate, such as \
                 `/var/lib/app/acme`"
                    .to_owned(),
            );
        }
        if !self.directory_url().starts_with("https://") {
            return fault(
                &[DIRECTORY],
                format!(
                    "`tls.acme.directory`: `{}` is neither `production`, `staging` nor the URL of a directory, which begins \
                 with `https://`",
                    self.directory_url()
                ),
            );
        }
        let is_contact = |contact: &String| contact.starts_with("mailto:") && contact.contains('@');
        if let Some(wrong) = self.contact.as_ref().filter(|contact| !is_contact(contact)) {
            return fault(
                &[CONTACT],
                format!(
                    "`tls.acme.contact`: `{wrong}` is not valid: valid is an address such as `mailto:ops@example.org`"
                ),
            );
        }
        if let Some(message) = self.fault_of_binding() {
            return fault(&[EAB_KID, EAB_HMAC_KEY, EAB_HMAC_KEY_FILE], message.to_owned());
        }
        if self.eab_hmac_key.as_ref().is_some_and(|key| !is_binding_key(key.0.as_bytes())) {
            let message = "`tls.acme.eab_hmac_key` is no key in base64url (it is not shown, as a secret), which is made of \
                           letters, digits, `-` and `_`: copy it as the authority gave it to you";
            return fault(&[EAB_HMAC_KEY], message.to_owned());
        }
        None
    }

    /// What is wrong with the binding to another account. No message shows the key.
    fn fault_of_binding(&self) -> Option<&'static str> {
        match (&self.eab_kid, &self.eab_hmac_key, &self.eab_hmac_key_file) {
            (_, Some(_), Some(_)) => {
                Some("`tls.acme` has `eab_hmac_key` and `eab_hmac_key_file`: keep one of them")
            }
            (Some(_), None, None) => Some(
                "`tls.acme` has `eab_kid` without its key: set `eab_hmac_key_file`, or `eab_hmac_key`, as the authority \
                 gave it to you",
            ),
            (None, Some(_), _) | (None, _, Some(_)) => {
                Some("`tls.acme` has a key and no `eab_kid`, which names the account that the key belongs to")
            }
            _ => None,
        }
    }
}

/// The alphabet of the keys of account bindings. Authorities write them with padding or without.
#[cfg(feature = "acme")]
const BASE64URL: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The key of an account binding; `None` if the text is none.
#[cfg(feature = "acme")]
pub(crate) fn binding_key(text: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    BASE64URL.decode(text.trim_ascii()).ok().filter(|key| !key.is_empty()).map(Zeroizing::new)
}

/// Whether a text is the key of an account binding.
pub(crate) fn is_binding_key(text: &[u8]) -> bool {
    #[cfg(feature = "acme")]
    return binding_key(text).is_some();
    #[cfg(not(feature = "acme"))]
    {
        let _ = text;
        true
    }
}

fn is_domain(name: &str) -> bool {
    let is_label = |label: &str| {
        let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        !label.is_empty() && label.len() < 64 && !label.starts_with('-') && label.bytes().all(allowed)
    };
    let ends_in_number =
        name.rsplit('.').next().is_some_and(|last| last.bytes().all(|byte| byte.is_ascii_digit()));
    name.len() < 254 && name.split('.').all(is_label) && !ends_in_number
}

#[cfg(all(test, feature = "acme"))]
mod tests {
    use super::*;

    #[test]
    fn what_one_authority_issued_is_not_taken_for_another_s() {
        let of = |acme: Acme| acme.certificate_file().display().to_string();
        let acme = || Acme::new(["a.test"], "/c");
        assert_eq!(of(acme()), "/c/acme-v02.api.letsencrypt.org_directory/a.test.pem");
        assert_eq!(
            of(acme().directory("https://[::1]:14000/dir/../x")),
            "/c/___1__14000_dir_.._x/a.test.pem"
        );
        assert_ne!(of(acme()), of(acme().directory("staging")));
    }

    #[test]
    fn a_mistake_is_explained() {
        let fault = |acme: Acme| acme.fault().map_or_else(String::new, |fault| fault.message);
        let acme = |domain: &str| Acme::new([domain], "/c");
        assert_eq!(fault(acme("www.example.org").contact("mailto:a@b").directory("staging")), "");
        for wrong in ["*.a.test", "192.0.2.1", "A.test", "a..test", "-a.test", "a/../b", ""] {
            assert!(fault(acme(wrong)).contains("is not a domain"), "{wrong}");
        }
        assert!(fault(Acme::default()).contains("no `domains`"));
        assert!(fault(Acme::new(["a.test"], "")).contains("no `cache`"));
        assert!(fault(acme("a.test").directory("http://ca")).contains("begins with `https://`"));
        assert!(fault(acme("a.test").contact("ops@a.test")).contains("valid is an address"));
        let bound = || acme("a.test").eab_kid("kid").eab_hmac_key("hidden_1");
        assert_eq!(fault(bound()), "");
        assert!(fault(bound().eab_hmac_key_file("/f")).contains("keep one of them"));
        for wrong in ["a+b/", "not a key!", " ", "a"] {
            let told = fault(acme("a.test").eab_kid("kid").eab_hmac_key(wrong));
            assert!(told.contains("is no key in base64url") && !told.contains("a+b"), "{told}");
        }
        assert_eq!(fault(acme("a.test").eab_kid("kid").eab_hmac_key("c2VjcmV0\n")), "");
        assert!(fault(acme("a.test").eab_kid("kid")).contains("without its key"));
        assert!(fault(acme("a.test").eab_hmac_key("hidden")).contains("no `eab_kid`"));
        assert!(!format!("{:?}", bound()).contains("hidden"));
    }
}
