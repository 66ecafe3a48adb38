//! The files of a server's certificates, read again while it serves.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ring::digest::{Context, Digest, SHA256};

use crate::error::Error;
use crate::lifecycle::{CertificateReload, ReloadOutcome};
use crate::server::{CertificateFiles, ServerOptions, TlsSource as Source};
use crate::tls::TlsAcceptor;
use crate::tls::certificate::Certificate;
use crate::tls::files::{self, PairSources};
use crate::tls::places::{Place, places_of};
use crate::tls::presented::Presented;
use crate::tls::set::CertificateSet;

/// How a look at the files came about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Look {
    /// By a change of a directory, or because it was time: what has not changed is not told. A fault is told once, and
    /// only if it is still there at the next look: of a pair, one file is replaced before the other.
    Usual,
    /// By a command, which is told all.
    Asked,
}

/// Reads the certificates of one server again, and replaces what it presents.
#[derive(Debug)]
pub(crate) struct Reloader {
    server: String,
    presented: Arc<Presented>,
    is_strict: bool,
    interval: Option<Duration>,
    pairs: Vec<Pair>,
}

/// A certificate and its files.
#[derive(Debug)]
struct Pair {
    files: CertificateFiles,
    ocsp: Option<PathBuf>,
    /// What the files held when they were read with success.
    read: Option<Vec<u8>>,
    fault: Option<Fault>,
}

#[derive(Debug)]
struct Fault {
    reason: String,
    is_told: bool,
}

impl Reloader {
    /// `None` for a server without files of certificates.
    pub(crate) fn of(options: &ServerOptions, acceptor: &TlsAcceptor) -> Option<Self> {
        let tls = options.tls.as_ref()?;
        let Source::Files(all) = &tls.source else { return None };
        let pairs = all.iter().enumerate().map(|(place, files)| Pair {
            files: files.clone(),
            ocsp: tls.ocsp.clone().filter(|_| place == 0),
            read: None,
            fault: None,
        });
        Some(Self {
            server: options.name.clone(),
            presented: acceptor.presented().clone(),
            is_strict: tls.sni_strict,
            interval: Some(tls.reload_interval).filter(|interval| !interval.is_zero()),
            pairs: pairs.collect(),
        })
    }

    /// How often to look without any sign of a change; `None` if only a command makes it look.
    pub(crate) fn interval(&self) -> Option<Duration> {
        self.interval
    }

    /// Whether a fault waits to be told.
    pub(crate) fn has_doubts(&self) -> bool {
        self.pairs.iter().any(|pair| pair.fault.as_ref().is_some_and(|fault| !fault.is_told))
    }

    /// Where a change of the files shows, as they are found now.
    pub(crate) fn places(&self) -> BTreeSet<Place> {
        self.pairs.iter().flat_map(|pair| pair.sources().paths()).flat_map(places_of).collect()
    }

    /// Reads what has changed, and returns what there is to tell. It can wait for a disk.
    pub(crate) fn look(&mut self, look: Look) -> Vec<CertificateReload> {
        let current = self.presented.current();
        let mut certificates = current.set.certificates().to_vec();
        let mut told = Vec::new();
        for (pair, present) in self.pairs.iter_mut().zip(&mut certificates) {
            if let Some(outcome) = pair.look(&self.server, present, look) {
                let certificate = pair.files.to_string();
                told.push(CertificateReload { server: self.server.clone(), certificate, outcome });
            }
        }
        if told.iter().any(|reload| matches!(reload.outcome, ReloadOutcome::Renewed { .. })) {
            self.presented.replace(CertificateSet::new(certificates, self.is_strict));
        }
        told
    }
}

impl Pair {
    fn sources(&self) -> PairSources<'_> {
        PairSources { files: &self.files, ocsp: self.ocsp.as_deref() }
    }

    /// Replaces the present certificate by what the files hold, if that is another one and no worse.
    fn look(&mut self, server: &str, present: &mut Arc<Certificate>, look: Look) -> Option<ReloadOutcome> {
        let held = self.held();
        if look == Look::Usual && self.fault.is_none() && held.is_some() && held == self.read {
            return None;
        }
        match self.renewed(server, present) {
            Ok(renewed) => {
                self.read = held;
                self.fault = None;
                let Some(renewed) = renewed else {
                    return (look == Look::Asked).then_some(ReloadOutcome::Unchanged);
                };
                let not_after = renewed.facts().not_after;
                *present = Arc::new(renewed);
                Some(ReloadOutcome::Renewed { not_after })
            }
            Err(fault) => {
                let reason = fault.to_string();
                let former = self.fault.take().filter(|former| former.reason == reason);
                let is_told = former.as_ref().is_some_and(|former| former.is_told);
                // One that is new may be half of a replacement.
                let tell = look == Look::Asked || (former.is_some() && !is_told);
                self.fault = Some(Fault { reason: reason.clone(), is_told: is_told || tell });
                tell.then_some(ReloadOutcome::Kept { reason })
            }
        }
    }

    /// The certificate in the files; `None` if it is the present one.
    fn renewed(&self, server: &str, present: &Certificate) -> Result<Option<Certificate>, Error> {
        let read = files::certificate(server, self.sources())?;
        if read.is_same(present) {
            return Ok(None);
        }
        let worse = read.flaws().iter().find(|_| present.flaws().is_empty());
        match worse {
            Some(flaw) => {
                Err(Error::new(format!("server `{server}`: the certificate {}: {flaw}", self.files)))
            }
            None => Ok(Some(read)),
        }
    }

    /// A digest of all that the files hold; `None` if one can't be read.
    fn held(&self) -> Option<Vec<u8>> {
        let mut context = Context::new(&SHA256);
        for path in self.sources().paths() {
            let bytes = fs::read(path).ok()?;
            context.update(&bytes.len().to_be_bytes());
            context.update(&bytes);
        }
        Some(Digest::as_ref(&context.finish()).to_vec())
    }
}
