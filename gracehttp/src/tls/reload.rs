//! The files of a server's certificates, read again while it serves.

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use ring::digest::{Context, Digest, SHA256};

use crate::error::Error;
use crate::lifecycle::{CertificateReload, ReloadOutcome};
use crate::server::{CertificateFiles, ServerOptions, TlsSource as Source};
use crate::tls::TlsAcceptor;
use crate::tls::certificate::{Certificate, Flaw};
use crate::tls::choices::Fit;
use crate::tls::clients::{ClientFiles, Clients};
use crate::tls::places::{Place, places_of};
use crate::tls::presented::Presented;
use crate::tls::set::CertificateSet;
use crate::tls::{files, ocsp};

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
    stapling: Option<Stapling>,
    /// What the files held when they were read with success.
    read: Option<Vec<u8>>,
    fault: Option<Fault>,
}

/// The file of an OCSP response.
#[derive(Debug)]
struct Stapling {
    path: PathBuf,
    fault: Option<Fault>,
}

/// What there is to tell of a file that can't be used.
#[derive(Debug)]
struct Fault {
    outcome: ReloadOutcome,
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
        let mut pairs: Vec<_> = all
            .iter()
            .map(|files| Pair { files: files.clone(), stapling: None, read: None, fault: None })
            .collect();
        if let (Some(path), Some(pair)) = (&tls.ocsp, pairs.first_mut()) {
            pair.stapling = Some(Stapling::of(&options.name, path, acceptor));
        }
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
        self.pairs.iter().flat_map(Pair::faults).chain(of_clients).any(|fault| !fault.is_told)
    }

    /// Where a change of the files shows, as they are found now.
    pub(crate) fn places(&self) -> BTreeSet<Place> {
        let of_clients = self.clients.iter().flat_map(|clients| clients.files.paths());
        let of_pairs = self.pairs.iter().flat_map(Pair::paths);
        of_pairs.chain(of_clients).flat_map(places_of).collect()
    }

    /// Reads what has changed, and returns what there is to tell. It can wait for a disk.
    pub(crate) fn look(&mut self, look: Look) -> Vec<CertificateReload> {
        let current = self.presented.current();
        let mut certificates = current.set.certificates().to_vec();
        let mut told = Vec::new();
        for (pair, present) in self.pairs.iter_mut().zip(&mut certificates) {
            told.extend(pair.look(&self.server, present, &self.presented, look));
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
                // As with a certificate: what can't be used does not replace what can.
                let now = SystemTime::now();
                let expired = |clients: &Clients| clients.expired(&self.server, now);
                let was_current = present.clients.as_ref().is_none_or(|present| expired(present).is_empty());
                if let Some(list) = expired(&read).first().filter(|_| was_current) {
                    return Err(Error::new(list.to_string()));
                }
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
            Err(fault) => tell(&mut clients.fault, look, ReloadOutcome::Kept { reason: in_a_line(&fault) })?,
        };
        Some(CertificateReload {
            server: self.server.clone(),
            certificate: clients.files.to_string(),
            outcome,
        })
    }
}

/// Notes a fault. Returns it if it is to be told now: a new one waits for the next look, since the files may be half replaced.
fn tell(noted: &mut Option<Fault>, look: Look, outcome: ReloadOutcome) -> Option<ReloadOutcome> {
    let former = noted.take().filter(|former| former.outcome == outcome);
    let is_told = former.as_ref().is_some_and(|former| former.is_told);
    let tell = look == Look::Asked || (former.is_some() && !is_told);
    *noted = Some(Fault { outcome: outcome.clone(), is_told: is_told || tell });
    tell.then_some(outcome)
}

/// Several faults are one message.
fn in_a_line(fault: &dyn fmt::Display) -> String {
    fault.to_string().replace('\n', "; ")
}

impl Pair {
    fn paths(&self) -> impl Iterator<Item = &Path> {
        let CertificateFiles { cert, key } = &self.files;
        let of_staple = self.stapling.iter().map(|stapling| &stapling.path);
        [cert, key].into_iter().chain(of_staple).map(PathBuf::as_path)
    }

    fn faults(&self) -> impl Iterator<Item = &Fault> {
        self.fault.iter().chain(self.stapling.iter().filter_map(|stapling| stapling.fault.as_ref()))
    }

    /// Replaces the present certificate by what the files hold, if that is another one and no worse. A response that can't be
    /// stapled does not keep a new certificate out.
    fn look(
        &mut self,
        server: &str,
        present: &mut Arc<Certificate>,
        presented: &Presented,
        look: Look,
    ) -> Vec<CertificateReload> {
        let held = self.held();
        let is_known = held.is_some() && held == self.read && self.faults().next().is_none();
        if look == Look::Usual && is_known && !present.has_outdated_staple() {
            return Vec::new();
        }
        let mut told = Vec::new();
        let mut note = |certificate, outcome| {
            told.push(CertificateReload { server: server.to_owned(), certificate, outcome });
        };
        let shown = format!("certificate {}", self.files);
        let mut next = present.clone();
        match self.renewed(server, present, presented) {
            Ok(renewed) => {
                self.fault = None;
                next = renewed.map_or(next, Arc::new);
            }
            Err(fault) => {
                let kept = ReloadOutcome::Kept { reason: in_a_line(&fault) };
                if let Some(kept) = tell(&mut self.fault, look, kept) {
                    note(shown.clone(), kept);
                }
            }
        }
        if let Some(stapling) = &mut self.stapling {
            match stapling.look(server, &next) {
                Ok(stapled) => next = stapled.map_or(next, Arc::new),
                Err(fault) => {
                    if let Some(fault) = tell(&mut stapling.fault, look, fault) {
                        note(format!("OCSP response {}", stapling.path.display()), fault);
                    }
                }
            }
        }
        self.read = held;
        if !Arc::ptr_eq(&next, present) {
            note(shown, ReloadOutcome::Renewed { not_after: next.facts().not_after });
            *present = next;
        } else if look == Look::Asked && self.fault.is_none() {
            note(shown, ReloadOutcome::Unchanged);
        }
        told
    }

    /// The certificate in the files; `None` if it is the present one.
    fn renewed(
        &self,
        server: &str,
        present: &Certificate,
        presented: &Presented,
    ) -> Result<Option<Certificate>, Error> {
        let read = files::certificate(server, &self.files)?;
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
        for path in self.paths() {
            let bytes = files::contents(path).ok()?;
            context.update(&bytes.len().to_be_bytes());
            context.update(&bytes);
        }
        Some(Digest::as_ref(&context.finish()).to_vec())
    }
}

impl Stapling {
    /// What the start has said of it is not told again.
    fn of(server: &str, path: &Path, acceptor: &TlsAcceptor) -> Self {
        let mut stapling = Self { path: path.to_owned(), fault: None };
        let current = acceptor.presented().current();
        let found = current.set.certificates().first().map(|certificate| stapling.look(server, certificate));
        stapling.fault = found.and_then(Result::err).map(|outcome| Fault { outcome, is_told: true });
        stapling
    }

    /// The certificate with the response in the file; `None` if it has it already.
    fn look(
        &mut self,
        server: &str,
        certificate: &Certificate,
    ) -> Result<Option<Certificate>, ReloadOutcome> {
        match ocsp::read(server, &self.path, certificate.own()) {
            Ok(staple) => {
                self.fault = None;
                let is_new = certificate.staple() != Some(&staple);
                Ok(is_new.then(|| certificate.with_staple(staple)))
            }
            Err(fault) => {
                let reason = in_a_line(&fault);
                Err(match certificate.staple() {
                    Some(_) if !certificate.has_outdated_staple() => ReloadOutcome::Kept { reason },
                    _ => ReloadOutcome::Unstapled { reason },
                })
            }
        }
    }
}
