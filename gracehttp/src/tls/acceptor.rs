//! The TLS side of a server.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use crate::error::Error;
#[cfg(feature = "cli")]
use crate::lifecycle::ExpiredList;
use crate::log;
use crate::record::ClientChain;
use crate::server::{Acme, ServerOptions, Tls, TlsSource as Source, is_binding_key};
use crate::tls::certificate::Certificate;
use crate::tls::certificate::CertificateFacts;
use crate::tls::choices::{Fit, choices};
use crate::tls::clients::{ClientFiles, RevocationList};
use crate::tls::key_ring::KeyRing;
use crate::tls::presented::Presented;
use crate::tls::set::CertificateSet;
use crate::tls::{files, ocsp};

/// Makes TLS sessions of a server's sockets. Clones are the same.
#[derive(Clone, Debug)]
pub(crate) struct TlsAcceptor {
    presented: Arc<Presented>,
}

impl TlsAcceptor {
    /// Reads the server's certificates, if it has TLS. Its session tickets are made with the keys of the ring.
    pub(crate) fn of(options: &ServerOptions, keys: &KeyRing) -> Result<Option<Self>, Error> {
        let Some(tls) = &options.tls else { return Ok(None) };
        let clients = ClientFiles::of(&options.name, tls)?.map(|files| {
            let paths: Vec<_> = files.paths().collect();
            files::settled(&paths, || files.read(&options.name))
        });
        let clients = clients.transpose();
        let (certificates, clients) = match (certificates(&options.name, tls), clients) {
            (Ok(certificates), Ok(clients)) => (certificates, clients),
            (Err(one), Err(other)) => return Err(Error::several(vec![one, other])),
            (Err(fault), _) | (_, Err(fault)) => return Err(fault),
        };
        let set = CertificateSet::new(certificates, tls.sni_strict);
        Ok(Some(Self { presented: Arc::new(Presented::new(options, tls, keys, clients, set)?) }))
    }

    /// What an operator wants to know of its certificates, in their order.
    pub(crate) fn certificates(&self) -> Vec<CertificateFacts> {
        let current = self.presented.current();
        current.set.certificates().iter().map(|certificate| certificate.facts().clone()).collect()
    }

    /// The revocation lists of its clients' authorities.
    pub(crate) fn revocation_lists(&self) -> Vec<RevocationList> {
        self.presented.current().clients.iter().flat_map(|clients| clients.lists.clone()).collect()
    }

    /// The revocation lists that have expired; `server` is the name of this server.
    #[cfg(feature = "cli")]
    pub(crate) fn expired_lists(&self, server: &str) -> Vec<ExpiredList> {
        let clients = self.presented.current().clients.clone();
        clients.map(|clients| clients.expired(server, SystemTime::now())).unwrap_or_default()
    }

    /// Verifies the certificates that a client has shown to another process. Returns false, and verifies nothing, if this server
    /// asks for none.
    pub(crate) fn verify(&self, client: &ClientChain) -> io::Result<bool> {
        let current = self.presented.current();
        let Some(clients) = &current.clients else { return Ok(false) };
        let verified = clients.verify_again(Some(client.certificates()));
        verified.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        Ok(true)
    }

    /// What its handshakes present, to be replaced while it runs.
    pub(crate) fn presented(&self) -> &Arc<Presented> {
        &self.presented
    }
}

/// The certificates of a source, in their order. All faults are reported together.
fn certificates(server: &str, tls: &Tls) -> Result<Vec<Arc<Certificate>>, Error> {
    let mut faults = Vec::new();
    let mut certificates = Vec::new();
    let choices = choices(server, tls)?;
    match &tls.source {
        Source::Files(all) => {
            for (place, files) in all.iter().enumerate() {
                let read = files::settled(&[&files.cert, &files.key], || files::certificate(server, files));
                let ocsp = tls.ocsp.as_deref().filter(|_| place == 0);
                match read.and_then(|certificate| stapled(server, certificate, ocsp)) {
                    Ok(certificate) => {
                        let shown = || format!("server `{server}`: the certificate {files}");
                        match choices.fit(certificate.key_kind()) {
                            Fit::Whole => {}
                            fit @ Fit::OnlyNewest(_) => log::notice(format_args!("{}: {fit}", shown())),
                            fit @ Fit::Useless(_) => faults.push(Error::new(format!("{}: {fit}", shown()))),
                        }
                        for flaw in certificate.flaws(SystemTime::now()) {
                            log::notice(format_args!("{}: {flaw}", shown()));
                        }
                        certificates.push(Arc::new(certificate));
                    }
                    Err(fault) => faults.push(fault),
                }
            }
        }
        #[cfg(feature = "self-signed")]
        Source::SelfSigned => certificates.push(Arc::new(Certificate::self_signed(server)?)),
        Source::Acme(acme) => certificates.extend(kept(server, acme)),
    }
    Error::check(faults)?;
    Ok(certificates)
}

/// The certificate with the response in this file. If the response can't be used, nothing is stapled: most clients need none.
fn stapled(server: &str, certificate: Certificate, ocsp: Option<&Path>) -> Result<Certificate, Error> {
    let Some(path) = ocsp else { return Ok(certificate) };
    match files::settled(&[path], || ocsp::read(server, path, certificate.own())) {
        Ok(staple) => Ok(certificate.with_staple(staple)),
        Err(ocsp::Fault::Unreadable(error)) => Err(error),
        Err(fault @ ocsp::Fault::Unusable(_)) => {
            log::notice(format_args!("{fault}; nothing is stapled to the certificate"));
            Ok(certificate)
        }
    }
}

/// What the authority has issued earlier. Without it the server starts, too, and refuses handshakes until there is one.
fn kept(server: &str, acme: &Acme) -> Option<Arc<Certificate>> {
    // Only a new account needs the file. So it may be missing, and it is no fault if it can't be used.
    if let Some(file) = &acme.eab_hmac_key_file
        && files::contents(file).is_ok_and(|text| !is_binding_key(&text))
    {
        log::notice(format_args!(
            "server `{server}`: `tls.acme.eab_hmac_key_file`: {} holds no key in base64url (it is not shown, as a secret): \
             copy it as the authority gave it to you",
            file.display()
        ));
    }
    match issued(server, acme)? {
        Ok(certificate) => Some(Arc::new(certificate)),
        Err(fault) => {
            log::notice(format_args!("{fault}; another certificate is ordered"));
            None
        }
    }
}

/// Reads the certificate that an authority has issued, if there is one.
pub(crate) fn issued(server: &str, acme: &Acme) -> Option<Result<Certificate, Error>> {
    let files = acme.files();
    let is_there = files.cert.exists();
    is_there.then(|| files::certificate(server, &files))
}
