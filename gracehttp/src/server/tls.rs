//! Where a server finds its certificates and its keys.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use crate::server::{Acme, ClientAuth};

/// How often the files are looked at where no directory tells of changes.
const RELOAD_INTERVAL: Duration = Duration::from_secs(60);

/// Where a server finds its certificates and their private keys.
///
/// The process reads the files when it starts, before it accepts, and again whenever they change: new handshakes get the
/// renewed certificate ([how](crate::guide::certificates#renewed-without-a-restart)).
///
/// ```
/// use gracehttp::{Server, Tls};
///
/// let tls = Tls::files("cert.pem", "key.pem").min_version("1.3");
/// let server: Server<()> = Server::builder("secure").port(8443).tls(tls).handler(async || "hello");
/// ```
#[derive(Debug, Clone)]
pub struct Tls {
    pub(crate) source: Source,
    pub(crate) sni_strict: bool,
    /// How often the files are looked at; zero if only a command or a restart reads them again.
    pub(crate) reload_interval: Duration,
    /// The OCSP response for the first certificate.
    pub(crate) ocsp: Option<PathBuf>,
    /// Words of `tls_words`; all that there are if none is chosen.
    pub(crate) min_version: Option<String>,
    pub(crate) cipher_suites: Vec<String>,
    pub(crate) curves: Vec<String>,
    /// The authorities of client certificates; without them no client is asked for one.
    pub(crate) client_ca: Option<PathBuf>,
    pub(crate) client_auth: Option<ClientAuth>,
    pub(crate) client_crls: Vec<PathBuf>,
}

#[derive(Debug, Clone)]
pub(crate) enum Source {
    /// The first pair is the default.
    Files(Vec<CertificateFiles>),
    #[cfg(feature = "self-signed")]
    SelfSigned,
    /// An authority issues it.
    Acme(Box<Acme>),
}

/// The files of a certificate and its key. A file that is not set is an empty path.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct CertificateFiles {
    pub(crate) cert: PathBuf,
    pub(crate) key: PathBuf,
}

impl Tls {
    /// A certificate chain with the server's own certificate first, and its private key, both in PEM. One file may
    /// hold both.
    pub fn files(cert: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        Self::of(Source::Files(vec![CertificateFiles { cert: cert.into(), key: key.into() }]))
    }

    /// A self-signed certificate for `localhost`, `127.0.0.1` and `::1`. It is for development: no client trusts it,
    /// and each process makes another.
    #[cfg(feature = "self-signed")]
    pub fn self_signed() -> Self {
        Self::of(Source::SelfSigned)
    }

    /// A certificate that an authority issues and renews by itself (feature `acme`).
    pub fn acme(acme: Acme) -> Self {
        Self::of(Source::Acme(Box::new(acme)))
    }

    /// Whether no client without a certificate is served.
    pub(crate) fn requires_client_cert(&self) -> bool {
        self.client_ca.is_some() && self.client_auth.unwrap_or_default() == ClientAuth::Required
    }

    /// Changes what is set about the authority, which stands in place of files from then on.
    pub(crate) fn adjust_acme(tls: &mut Option<Self>, change: impl FnOnce(&mut Acme)) {
        let mut acme = tls.as_ref().and_then(Self::authority).cloned().unwrap_or_default();
        change(&mut acme);
        Self::set_source(tls, Source::Acme(Box::new(acme)));
    }

    pub(crate) fn is_self_signed(&self) -> bool {
        match &self.source {
            #[cfg(feature = "self-signed")]
            Source::SelfSigned => true,
            _ => false,
        }
    }

    /// What is set about the authority that issues the certificate.
    pub(crate) fn authority(&self) -> Option<&Acme> {
        match &self.source {
            Source::Acme(acme) => Some(acme),
            _ => None,
        }
    }

    fn of(source: Source) -> Self {
        Self {
            source,
            sni_strict: false,
            reload_interval: RELOAD_INTERVAL,
            ocsp: None,
            min_version: None,
            cipher_suites: Vec::new(),
            curves: Vec::new(),
            client_ca: None,
            client_auth: None,
            client_crls: Vec::new(),
        }
    }

    /// One more certificate and its key, for clients that ask for one of its names (SNI), exact or by wildcard. Of several
    /// for the same name a client gets the first whose signatures it verifies, so an ECDSA and an RSA certificate can stand
    /// side by side. The certificate of [`files`](Self::files) is the default.
    ///
    /// ```
    /// # use gracehttp::Tls;
    /// let tls = Tls::files("a.pem", "a.key").and_files("b.pem", "b.key").sni_strict(true);
    /// ```
    pub fn and_files(mut self, cert: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        let files = CertificateFiles { cert: cert.into(), key: key.into() };
        match &mut self.source {
            Source::Files(all) => all.push(files),
            #[cfg(feature = "self-signed")]
            Source::SelfSigned => self.source = Source::Files(vec![files]),
            Source::Acme(_) => self.source = Source::Files(vec![files]),
        }
        self
    }

    /// Whether a client that asks for a name of no certificate is refused, by the alert `unrecognized_name`. Otherwise it
    /// gets the default. Clients that ask for no name always do.
    pub fn sni_strict(mut self, is_strict: bool) -> Self {
        self.sni_strict = is_strict;
        self
    }

    /// How often the files are looked at where the system tells of no change, such as on a network file system: a minute
    /// unless this says otherwise. Zero turns both off: then a restart, or the command `reload-certs`, reads them again.
    pub fn reload_interval(mut self, interval: Duration) -> Self {
        self.reload_interval = interval;
        self
    }

    /// The file of an OCSP response in DER that is stapled to the first certificate while it is valid. It is read again like that
    /// one.
    pub fn ocsp(mut self, response: impl Into<PathBuf>) -> Self {
        self.ocsp = Some(response.into());
        self
    }

    /// The oldest version of TLS that is spoken: `1.2`, as without it, or `1.3`. Another word is an error at the start.
    pub fn min_version(mut self, version: impl Into<String>) -> Self {
        self.min_version = Some(version.into());
        self
    }

    /// The cipher suites that are offered, in this order, by their names in the IANA registry, in place of all that rustls
    /// has. An unknown one is an error at the start.
    pub fn cipher_suites<W: Into<String>>(mut self, names: impl IntoIterator<Item = W>) -> Self {
        self.cipher_suites = names.into_iter().map(Into::into).collect();
        self
    }

    /// The groups of the key exchange that are offered, in this order, in place of all that rustls prefers: `X25519`,
    /// `secp256r1`, `secp384r1`, and with the feature `aws-lc-rs` `X25519MLKEM768`. Another one is an error at the start.
    pub fn curves<W: Into<String>>(mut self, names: impl IntoIterator<Item = W>) -> Self {
        self.curves = names.into_iter().map(Into::into).collect();
        self
    }

    /// Asks clients for a certificate, which one of the authorities in this PEM file has to have issued, directly or over
    /// others. A client without one is refused, unless [`client_auth`](Self::client_auth) says otherwise.
    pub fn client_ca(mut self, authorities: impl Into<PathBuf>) -> Self {
        self.client_ca = Some(authorities.into());
        self
    }

    /// Whether a client has to show a certificate.
    pub fn client_auth(mut self, choice: ClientAuth) -> Self {
        self.client_auth = Some(choice);
        self
    }

    /// The revocation lists (CRLs) of those authorities, in PEM or DER, a file each. With any, the list of every issuer in a
    /// client's chain has to be there and current, or the client is refused. They are read again as certificates are.
    pub fn client_crl<P: Into<PathBuf>>(mut self, lists: impl IntoIterator<Item = P>) -> Self {
        self.client_crls = lists.into_iter().map(Into::into).collect();
        self
    }

    /// Changes what is set about TLS. Where there is none yet, its certificate is still to be set.
    pub(crate) fn adjust(tls: &mut Option<Self>, change: impl FnOnce(Self) -> Self) {
        let present = tls.take().unwrap_or_else(|| Self::of(Source::Files(Vec::new())));
        *tls = Some(change(present));
    }

    /// All files of certificates and keys.
    pub(crate) fn all_files(&self) -> &[CertificateFiles] {
        match &self.source {
            Source::Files(all) => all,
            #[cfg(feature = "self-signed")]
            Source::SelfSigned => &[],
            Source::Acme(_) => &[],
        }
    }

    /// Sets the file of the certificate; the key stays.
    pub(crate) fn set_cert(tls: &mut Option<Self>, cert: PathBuf) {
        let files = tls.as_ref().and_then(Self::files_named).cloned().unwrap_or_default();
        Self::set_source(tls, Source::Files(vec![CertificateFiles { cert, ..files }]));
    }

    /// Sets the file of the key; the certificate stays.
    pub(crate) fn set_key(tls: &mut Option<Self>, key: PathBuf) {
        let files = tls.as_ref().and_then(Self::files_named).cloned().unwrap_or_default();
        Self::set_source(tls, Source::Files(vec![CertificateFiles { key, ..files }]));
    }

    /// Sets where the certificates are; all else stays.
    pub(crate) fn set_source(tls: &mut Option<Self>, source: Source) {
        match tls {
            Some(tls) => tls.source = source,
            None => *tls = Some(Self::of(source)),
        }
    }

    /// The files of the one certificate and its key.
    pub(crate) fn files_named(&self) -> Option<&CertificateFiles> {
        match self.all_files() {
            [one] => Some(one),
            _ => None,
        }
    }
}

impl fmt::Display for CertificateFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (key {})", self.cert.display(), self.key.display())
    }
}
