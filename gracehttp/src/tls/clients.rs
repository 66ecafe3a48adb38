//! Who may be a client: the authorities of client certificates, and what they have revoked.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use ring::digest::{Context, SHA256};
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, CertificateRevocationListDer, UnixTime};
use tokio_rustls::rustls::server::danger::ClientCertVerifier;
use tokio_rustls::rustls::server::{VerifierBuilderError, WebPkiClientVerifier};
use tokio_rustls::rustls::{Error as TlsError, RootCertStore};

use crate::error::Error;
use crate::lifecycle::ExpiredList;
use crate::server::{ClientAuth, Tls};
use crate::tls::certificate::provider;
use crate::tls::der;
use crate::tls::files::{damaged, in_file, read, read_chain, without_marks};
use crate::tls::validity;

/// What messages call the files.
const CA: &str = "`tls.client_ca`";
const CRL: &str = "`tls.client_crl`";

/// Where the authorities and their revocation lists are.
#[derive(Clone, Debug)]
pub(super) struct ClientFiles {
    ca: PathBuf,
    crls: Vec<PathBuf>,
    auth: ClientAuth,
}

/// Verifies client certificates.
#[derive(Clone, Debug)]
pub(super) struct Clients {
    pub(super) verifier: Arc<dyn ClientCertVerifier>,
    /// A digest of all that decides who may be a client. A session ticket counts only as long as this is the same: so a client
    /// that was revoked since has to show its certificate again.
    pub(super) digest: [u8; 32],
    pub(super) lists: Vec<RevocationList>,
}

/// What an operator wants to know of a revocation list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RevocationList {
    pub(crate) path: PathBuf,
    /// When the next list is due. From then on this one is no longer trusted.
    pub(crate) next_update: Option<SystemTime>,
}

impl ClientFiles {
    /// `None` if no client is asked for a certificate.
    pub(super) fn of(server: &str, tls: &Tls) -> Result<Option<Self>, Error> {
        let auth = tls.client_auth;
        match &tls.client_ca {
            Some(ca) => {
                let (ca, crls) = (ca.clone(), tls.client_crls.clone());
                Ok(Some(Self { ca, crls, auth: auth.unwrap_or_default() }))
            }
            None if auth.is_some() || !tls.client_crls.is_empty() => {
                let key = if auth.is_some() { "client_auth" } else { "client_crl" };
                Err(Error::new(format!(
                    "server `{server}` has `tls.{key}` and no `tls.client_ca`: set the file of the authorities, too"
                )))
            }
            None => Ok(None),
        }
    }

    pub(super) fn paths(&self) -> impl Iterator<Item = &Path> {
        [&self.ca].into_iter().chain(&self.crls).map(PathBuf::as_path)
    }

    /// Reads all the files. If one can't be used, none is.
    pub(super) fn read(&self, server: &str) -> Result<Clients, Error> {
        let mut digest = Context::new(&SHA256);
        let mut add = |bytes: &[u8]| {
            digest.update(&bytes.len().to_be_bytes());
            digest.update(bytes);
        };
        add(self.auth.name().as_bytes());
        let mut roots = RootCertStore::empty();
        for authority in read_chain(server, CA, &self.ca)? {
            add(&authority);
            roots.add(authority).map_err(|error| unusable(server, CA, &self.ca, &error))?;
        }
        let roots = Arc::new(roots);
        let mut lists = Vec::new();
        for path in &self.crls {
            lists.extend(read_lists(server, path)?.into_iter().map(|list| (path, list)));
        }
        lists.iter().for_each(|(_, list)| add(list));
        let all = lists.iter().map(|(_, list)| list.clone()).collect();
        let verifier = self.verifier(&roots, all).map_err(|error| {
            // The error does not tell which of them is at fault.
            let fault = lists.iter().find(|(_, list)| self.verifier(&roots, vec![list.clone()]).is_err());
            let (what, path) = fault.map_or((CA, &self.ca), |(path, _)| (CRL, *path));
            unusable(server, what, path, &error)
        })?;
        let mut digested = [0; 32];
        digested.copy_from_slice(digest.finish().as_ref());
        let lists = lists
            .iter()
            .map(|(path, list)| RevocationList {
                path: path.to_path_buf(),
                next_update: validity::next_update(list),
            })
            .collect();
        Ok(Clients { verifier, digest: digested, lists })
    }

    fn verifier(
        &self,
        roots: &Arc<RootCertStore>,
        lists: Vec<CertificateRevocationListDer<'static>>,
    ) -> Result<Arc<dyn ClientCertVerifier>, VerifierBuilderError> {
        let builder = WebPkiClientVerifier::builder_with_provider(roots.clone(), provider());
        // A list that is out of date says nothing of what was revoked since.
        let builder = builder.with_crls(lists).enforce_revocation_expiration();
        match self.auth {
            ClientAuth::Required => builder.build(),
            ClientAuth::Optional => builder.allow_unauthenticated().build(),
        }
    }
}

impl fmt::Display for ClientFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "client authorities {}", self.ca.display())?;
        self.crls.iter().try_for_each(|path| write!(f, ", {}", path.display()))
    }
}

impl Clients {
    /// The lists that have expired by this time.
    pub(super) fn expired(&self, server: &str, now: SystemTime) -> Vec<ExpiredList> {
        let expired = |list: &RevocationList| {
            let expired_at = list.next_update.filter(|at| *at <= now)?;
            Some(ExpiredList { server: server.to_owned(), path: list.path.clone(), expired_at })
        };
        self.lists.iter().filter_map(expired).collect()
    }

    /// Verifies a client now. Its handshake may be long ago, and may have been with another process.
    pub(super) fn verify_again(&self, chain: Option<&[CertificateDer<'static>]>) -> Result<(), TlsError> {
        match chain {
            Some([leaf, others @ ..]) => {
                self.verifier.verify_client_cert(leaf, others, UnixTime::now()).map(drop)
            }
            _ if self.verifier.client_auth_mandatory() => Err(TlsError::NoCertificatesPresented),
            _ => Ok(()),
        }
    }
}

/// The lists in a file of PEM, or the one of DER.
fn read_lists(server: &str, path: &Path) -> Result<Vec<CertificateRevocationListDer<'static>>, Error> {
    let bytes = read(server, CRL, path)?;
    // Only in text: the same bytes may stand in DER, as part of a number.
    let text = without_marks(bytes.clone());
    let lists = CertificateRevocationListDer::pem_slice_iter(&text).collect::<Result<Vec<_>, _>>();
    match lists {
        Ok(lists) if !lists.is_empty() => Ok(lists),
        _ if bytes.starts_with(&[der::SEQUENCE]) => Ok(vec![bytes.into()]),
        Err(error) => Err(damaged(server, CRL, path, error)),
        Ok(_) => {
            let why =
                "holds no revocation list: it must be PEM, with a section `-----BEGIN X509 CRL-----`, or DER";
            Err(in_file(server, CRL, path, why))
        }
    }
}

fn unusable(server: &str, what: &str, path: &Path, error: &dyn fmt::Display) -> Error {
    in_file(server, what, path, &format!("can't be used ({error}): replace it"))
}
