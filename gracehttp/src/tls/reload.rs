//! The files of a server's certificates, read again while it serves.

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use ring::digest::{Context, Digest, SHA256};

use crate::error::Error;
use crate::lifecycle::{CertificateReload, ReloadOutcome};
use crate::server::{CertificateFiles, ServerOptions, TlsSource as Source};
use crate::tls::TlsAcceptor;
use crate::tls::certificate::{Certificate, Flaw};
use crate::tls::choices::Fit;
use crate::tls::clients::ClientFiles;
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
    clients: Option<ClientTrust>,
}

/// Who may be a client, and the files that say it.
#[derive(Debug)]
struct ClientTrust {
    files: ClientFiles,
    fault: Option<Fault>,
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
    /// `None` for a server whose certificates and clients are in no files of the operator.
    pub(crate) fn of(options: &ServerOptions, acceptor: &TlsAcceptor) -> Option<Self> {
        let tls = options.tls.as_ref()?;
        let all = match &tls.source {
            Source::Files(all) => all.as_slice(),
            // Others make or renew the certificates. Who may be a client is in files all the same.
            _ => &[],
        };
        let pairs: Vec<_> = all
            .iter()
            .enumerate()
            .map(|(place, files)| Pair {
                files: files.clone(),
                ocsp: tls.ocsp.clone().filter(|_| place == 0),
                read: None,
                fault: None,
            })
            .collect();
        // The start has read it without a fault.
        let clients =
            ClientFiles::of(&options.name, tls).ok()?.map(|files| ClientTrust { files, fault: None });
        if pairs.is_empty() && clients.is_none() {
            return None;
        }
        Some(Self {
            server: options.name.clone(),
            presented: acceptor.presented().clone(),
            is_strict: tls.sni_strict,
            interval: Some(tls.reload_interval).filter(|interval| !interval.is_zero()),
            pairs,
            clients,
        })
    }

    /// How often to look without any sign of a change; `None` if only a command makes it look.
    pub(crate) fn interval(&self) -> Option<Duration> {
        self.interval
    }

    /// Whether a fault waits to be told.
    pub(crate) fn has_doubts(&self) -> bool {
        let of_clients = self.clients.iter().filter_map(|clients| clients.fault.as_ref());
        self.pairs.iter().filter_map(|pair| pair.fault.as_ref()).chain(of_clients).any(|fault| !fault.is_told)
    }

    /// Where a change of the files shows, as they are found now.
    pub(crate) fn places(&self) -> BTreeSet<Place> {
        let of_clients = self.clients.iter().flat_map(|clients| clients.files.paths());
        let of_pairs = self.pairs.iter().flat_map(|pair| pair.sources().paths());
        of_pairs.chain(of_clients).flat_map(places_of).collect()
    }

    /// Reads what has changed, and returns what there is to tell. It can wait for a disk.
    pub(crate) fn look(&mut self, look: Look) -> Vec<CertificateReload> {
        let current = self.presented.current();
        let mut certificates = current.set.certificates().to_vec();
        let mut told = Vec::new();
        for (pair, present) in self.pairs.iter_mut().zip(&mut certificates) {
            if let Some(outcome) = pair.look(&self.server, present, &self.presented, look) {
                let certificate = format!("certificate {}", pair.files);
                told.push(CertificateReload { server: self.server.clone(), certificate, outcome });
            }
        }
        if told.iter().any(|reload| matches!(reload.outcome, ReloadOutcome::Renewed { .. })) {
            self.presented.replace(CertificateSet::new(certificates, self.is_strict));
        }
        told.extend(self.look_at_clients(look));
        told
    }

    fn look_at_clients(&mut self, look: Look) -> Option<CertificateReload> {
        let clients = self.clients.as_mut()?;
        let present = self.presented.current();
        let read = clients.files.read(&self.server).and_then(|read| {
            let is_same = present.clients.as_ref().is_some_and(|present| present.digest == read.digest);
            if !is_same {
                self.presented.replace_clients(read)?;
            }
            Ok(is_same)
        });
        let outcome = match read {
            Ok(is_same) => {
                clients.fault = None;
                match is_same {
                    true if look == Look::Usual => return None,
                    true => ReloadOutcome::Unchanged,
                    false => ReloadOutcome::Renewed { not_after: None },
                }
            }
            Err(fault) => tell(&mut clients.fault, look, fault.to_string())?,
        };
        Some(CertificateReload {
            server: self.server.clone(),
            certificate: clients.files.to_string(),
            outcome,
        })
    }
}

/// Notes a fault. Returns it if it is to be told now: one that is new may be half of a replacement.
fn tell(noted: &mut Option<Fault>, look: Look, reason: String) -> Option<ReloadOutcome> {
    let former = noted.take().filter(|former| former.reason == reason);
    let is_told = former.as_ref().is_some_and(|former| former.is_told);
    let tell = look == Look::Asked || (former.is_some() && !is_told);
    *noted = Some(Fault { reason: reason.clone(), is_told: is_told || tell });
    tell.then_some(ReloadOutcome::Kept { reason })
}

impl Pair {
    fn sources(&self) -> PairSources<'_> {
        PairSources { files: &self.files, ocsp: self.ocsp.as_deref() }
    }

    /// Replaces the present certificate by what the files hold, if that is another one and no worse.
    fn look(
        &mut self,
        server: &str,
        present: &mut Arc<Certificate>,
        presented: &Presented,
        look: Look,
    ) -> Option<ReloadOutcome> {
        let held = self.held();
        if look == Look::Usual && self.fault.is_none() && held.is_some() && held == self.read {
            return None;
        }
        match self.renewed(server, present, presented) {
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
            Err(fault) => tell(&mut self.fault, look, fault.to_string()),
        }
    }

    /// The certificate in the files; `None` if it is the present one.
    fn renewed(
        &self,
        server: &str,
        present: &Certificate,
        presented: &Presented,
    ) -> Result<Option<Certificate>, Error> {
        let read = files::certificate(server, self.sources())?;
        if read.is_same(present) {
            return Ok(None);
        }
        let unusable = |why: &dyn fmt::Display| {
            Error::new(format!("server `{server}`: the certificate {}: {why}", self.files))
        };
        let fit = presented.fit(&read)?;
        if let Fit::Useless(_) = fit {
            return Err(unusable(&fit));
        }
        // As they are now: the present one may have expired since it was read.
        let now = SystemTime::now();
        let present = present.flaws(now);
        let is_new = |flaw: &Flaw| !present.iter().any(|known| known.is_of_same_kind(flaw));
        match read.flaws(now).into_iter().find(is_new) {
            Some(flaw) => Err(unusable(&flaw)),
            None => Ok(Some(read)),
        }
    }

    /// A digest of all that the files hold; `None` if one can't be read.
    fn held(&self) -> Option<Vec<u8>> {
        let mut context = Context::new(&SHA256);
        for path in self.sources().paths() {
            let bytes = files::contents(path).ok()?;
            context.update(&bytes.len().to_be_bytes());
            context.update(&bytes);
        }
        Some(Digest::as_ref(&context.finish()).to_vec())
    }
}
