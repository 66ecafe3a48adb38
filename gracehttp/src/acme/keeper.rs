//! The task that keeps the certificate of one server valid.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::time::sleep;

use crate::acme::cache::{Cache, Lock};
use crate::acme::client::Client;
use crate::acme::order::{Customer, Failure, at_disk};
use crate::acme::retry::{Retry, jitter};
use crate::lifecycle::aside;
use crate::log;
use crate::server::Acme;
use crate::tls::{Certificate, CertificateSet, Presented, issued};

/// The longest sleep: then the cache is looked at again, and the clock, which may have been set.
const LONGEST_SLEEP: Duration = Duration::from_secs(60 * 60);

/// How often a lock is tried that another process has.
const LOCKED: Duration = Duration::from_secs(1);

/// Keeps a server's certificate valid.
#[derive(Debug)]
pub(super) struct Keeper {
    server: String,
    acme: Acme,
    sni_strict: bool,
    cache: Cache,
    presented: Arc<Presented>,
}

/// What to do about the certificate that there is.
enum Due {
    Now,
    In(Duration),
}

impl Keeper {
    pub(super) fn new(server: &str, acme: &Acme, sni_strict: bool, presented: Arc<Presented>) -> Self {
        let (server, acme, cache) = (server.to_owned(), acme.clone(), Cache::of(acme));
        Self { server, acme, sni_strict, cache, presented }
    }

    /// Runs until the task is aborted.
    pub(super) async fn run(self: Arc<Self>) {
        let mut retry = Retry::default();
        loop {
            let pause = match self.look_after().await {
                Ok(pause) => {
                    retry.reset();
                    pause
                }
                Err(failure) => {
                    let pause = retry.pause(failure.kind, failure.wanted);
                    self.tell(&failure, pause);
                    pause
                }
            };
            sleep(pause).await;
        }
    }

    /// Does what is due. Returns how long nothing will be.
    async fn look_after(&self) -> Result<Duration, Failure> {
        if let Due::In(time) = self.due(self.take_from_cache().await.as_deref()) {
            return Ok(time);
        }
        let _lock = self.lock().await?;
        // Another process may have renewed it meanwhile.
        if let Due::In(time) = self.due(self.take_from_cache().await.as_deref()) {
            return Ok(time);
        }
        self.renew().await?;
        Ok(match self.due(self.take_from_cache().await.as_deref()) {
            Due::In(time) => time,
            // By the clock of this machine, the new certificate is not valid. Another one would not be, either.
            Due::Now => LONGEST_SLEEP,
        })
    }

    /// Installs what the cache has, and returns it.
    async fn take_from_cache(&self) -> Option<Arc<Certificate>> {
        let (server, acme) = (self.server.clone(), self.acme.clone());
        let read = move || issued(&server, &acme);
        match aside("acme-cache", "the certificate", read).await {
            Ok(Some(Ok(certificate))) => {
                let certificate = Arc::new(certificate);
                self.install(&certificate);
                Some(certificate)
            }
            Ok(Some(Err(fault))) | Err(fault) => {
                log::notice(format_args!("{fault}; another certificate is ordered"));
                None
            }
            Ok(None) => None,
        }
    }

    /// New handshakes get this certificate, unless they have it already.
    fn install(&self, certificate: &Arc<Certificate>) {
        let is_there = |set: &CertificateSet| {
            set.certificates().first().is_some_and(|present| present.is_same(certificate))
        };
        self.presented
            .replace_unless(is_there, || CertificateSet::new(vec![certificate.clone()], self.sni_strict));
    }

    fn due(&self, certificate: Option<&Certificate>) -> Due {
        let Some(certificate) = certificate else { return Due::Now };
        let covers = |domain: &String| certificate.facts().names.contains(domain);
        let Some(renewal) = certificate.renewal().filter(|_| self.acme.domains.iter().all(covers)) else {
            return Due::Now;
        };
        match renewal.duration_since(SystemTime::now()) {
            Ok(left) if left > LONGEST_SLEEP => Due::In(LONGEST_SLEEP),
            // Hosts that share no cache do not all come at once.
            Ok(left) => Due::In(left + jitter(left / 20)),
            Err(_) => Due::Now,
        }
    }

    /// Waits until no other process orders.
    async fn lock(&self) -> Result<Lock, Failure> {
        loop {
            if let Some(lock) = at_disk(&self.cache, Cache::lock).await? {
                return Ok(lock);
            }
            sleep(LOCKED).await;
        }
    }

    async fn renew(&self) -> Result<(), Failure> {
        let (server, domains) = (&self.server, self.acme.domains.join(", "));
        log::info(format_args!(
            "server `{server}`: a certificate for {domains} is ordered from {}",
            self.acme.directory_url()
        ));
        let acme = self.acme.clone();
        let client = aside("acme-cache", "the trusted certificates", move || Client::new(&acme)).await??;
        let customer = Customer {
            acme: &self.acme,
            cache: &self.cache,
            challenges: self.presented.challenges(),
            client,
        };
        let pem = customer.obtain().await?;
        at_disk(&self.cache, move |cache| {
            cache.store_certificate(&pem)?;
            cache.forget_order();
            Ok(())
        })
        .await?;
        let Some(certificate) = self.take_from_cache().await else {
            return Err(Failure::local("the certificate that was issued cannot be used"));
        };
        let until = certificate.facts().not_after.map(humantime::format_rfc3339_seconds);
        let until = until.map_or_else(String::new, |until| format!(", valid until {until}"));
        log::info(format_args!("server `{server}`: there is a new certificate for {domains}{until}"));
        for flaw in certificate.flaws(SystemTime::now()) {
            log::notice(format_args!("server `{server}`: the new certificate: {flaw}; is the clock right?"));
        }
        Ok(())
    }

    fn tell(&self, failure: &Failure, pause: Duration) {
        let current = self.presented.expiry();
        let consequence = match current {
            None => "handshakes are refused until there is one".to_owned(),
            Some(at) => format!("the present one is valid until {}", humantime::format_rfc3339_seconds(at)),
        };
        log::error(format_args!(
            "server `{}`: no new certificate: {}; {consequence}; the next attempt is in {}",
            self.server,
            failure.why,
            humantime::format_duration(Duration::from_secs(pause.as_secs().max(1))),
        ));
    }
}
