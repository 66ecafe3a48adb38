//! The task that keeps the certificate of one server valid.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::time::sleep;

use crate::acme::cache::{Cache, Lock};
use crate::acme::client::Client;
use crate::acme::order::{Customer, Failure, at_disk};
use crate::acme::retry::{Retry, jitter};
use crate::lifecycle::{CertificateOrder, Event, Events, OrderOutcome, aside};
use crate::log;
use crate::server::Acme;
use crate::tls::{Certificate, CertificateSet, Presented, issued};

/// The longest sleep. After it the keeper looks again at the cache, and at the clock, which may have been set.
const LONGEST_SLEEP: Duration = Duration::from_secs(60 * 60);

/// The pause after a new certificate that is due for renewal at once: the clock of this machine is wrong, or the authority
/// issues certificates for other dates or names than it was asked for. With a shorter pause the number of certificates that it
/// issues in a week would soon be used up.
const ISSUED_IN_VAIN: Duration = Duration::from_secs(24 * 60 * 60);

/// The time between two attempts to get a lock that another process has.
const LOCKED: Duration = Duration::from_secs(1);

/// Keeps a server's certificate valid.
#[derive(Debug)]
pub(super) struct Keeper {
    server: String,
    acme: Acme,
    sni_strict: bool,
    cache: Cache,
    presented: Arc<Presented>,
    events: Events,
}

/// When the next certificate has to be ordered.
enum Due {
    Now,
    In(Duration),
}

impl Keeper {
    pub(super) fn new(
        server: &str,
        acme: &Acme,
        sni_strict: bool,
        presented: Arc<Presented>,
        events: &Events,
    ) -> Self {
        let (server, acme, cache) = (server.to_owned(), acme.clone(), Cache::of(acme));
        Self { server, acme, sni_strict, cache, presented, events: events.clone() }
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
                    let present = self.presented.expiry();
                    self.tell(OrderOutcome::Failed { reason: failure.why, present, pause });
                    pause
                }
            };
            sleep(pause).await;
        }
    }

    /// Does what is due. Returns for how long nothing more is due.
    async fn look_after(&self) -> Result<Duration, Failure> {
        if let Due::In(time) = self.due(self.take_from_cache().await.as_deref()) {
            self.update_contact().await?;
            return Ok(time);
        }
        let _lock = self.lock().await?;
        // Another process may have renewed it meanwhile.
        let present = self.take_from_cache().await;
        if let Due::In(time) = self.due(present.as_deref()) {
            return Ok(time);
        }
        let new = self.order().await?;
        let not_after = new.facts().not_after;
        self.tell(match present {
            None => OrderOutcome::Issued { not_after },
            Some(_) => OrderOutcome::Renewed { not_after },
        });
        for flaw in new.flaws(SystemTime::now()) {
            log::notice(format_args!(
                "server `{}`: the new certificate: {flaw}; is the clock right?",
                self.server
            ));
        }
        match self.due(Some(&new)) {
            Due::In(time) => Ok(time),
            Due::Now => {
                let why = "the new certificate is due for renewal already, by its dates or its names; is the clock right?";
                Err(Failure { wanted: Some(ISSUED_IN_VAIN), ..Failure::local(why) })
            }
        }
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

    /// Presents this certificate in new handshakes, unless it is presented already.
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

    /// Gets a new certificate from the authority, and installs it.
    async fn order(&self) -> Result<Arc<Certificate>, Failure> {
        log::info(format_args!(
            "server `{}`: a certificate for {} is ordered from {}",
            self.server,
            self.acme.domains.join(", "),
            self.acme.directory_url()
        ));
        let pem = self.customer().await?.obtain().await?;
        at_disk(&self.cache, move |cache| {
            cache.store_certificate(&pem)?;
            cache.forget_order();
            Ok(())
        })
        .await?;
        let installed = self.take_from_cache().await;
        installed.ok_or_else(|| Failure::local("the certificate that was issued can't be used"))
    }

    /// Tells the authority of a new contact now, and not only when the certificate is renewed.
    async fn update_contact(&self) -> Result<(), Failure> {
        let saved = at_disk(&self.cache, Cache::account).await?;
        if saved.is_some_and(|saved| saved.has_other_contact(&self.acme))
            && let Some(_lock) = at_disk(&self.cache, Cache::lock).await?
        {
            self.customer().await?.update_contact().await?;
        }
        Ok(())
    }

    async fn customer(&self) -> Result<Customer<'_>, Failure> {
        let acme = self.acme.clone();
        let client = aside("acme-cache", "the trusted certificates", move || Client::new(&acme)).await??;
        Ok(Customer {
            server: &self.server,
            acme: &self.acme,
            cache: &self.cache,
            challenges: self.presented.challenges(),
            client,
        })
    }

    fn tell(&self, outcome: OrderOutcome) {
        let (server, names) = (self.server.clone(), self.acme.domains.clone());
        self.events.emit(&Event::CertificateOrdered(CertificateOrder { server, names, outcome }));
    }
}
