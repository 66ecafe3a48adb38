//! The task that keeps the certificate of one server valid.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;
use tokio::time::sleep;

use crate::acme::cache::{Cache, Lock};
use crate::acme::client::Client;
use crate::acme::failure::Failure;
use crate::acme::information::{self, Answer};
use crate::acme::order::{Customer, Replaced, at_disk};
use crate::acme::renewal::{Renewal, SHORTEST, SavedRenewal, identifier};
use crate::acme::retry::{Retry, jitter};
use crate::lifecycle::{
    CertificateOrder, Event, Events, OrderOutcome, RenewalSuggestion, SuggestionOutcome, aside,
};
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
    /// What the authority has said of the next renewal. The cache has it, too, unless it can't be written.
    known: Mutex<SavedRenewal>,
}

/// When the next certificate has to be ordered.
enum Due {
    Now { is_suggested: bool },
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
        let (events, known) = (events.clone(), Mutex::default());
        Self { server, acme, sni_strict, cache, presented, events, known }
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
        let present = self.take_from_cache().await;
        let (known, next_question) = self.ask_authority(present.as_deref()).await;
        if let Due::In(time) = self.due(present.as_deref(), &known) {
            self.update_contact().await?;
            return Ok(time.min(next_question));
        }
        let lock = self.lock().await?;
        // Another process may have renewed it meanwhile.
        let present = self.take_from_cache().await;
        let replaced = present.as_deref().and_then(identifier);
        let mut known = self.known(replaced.as_ref()).await;
        let is_suggested = match self.due(present.as_deref(), &known) {
            Due::In(time) => return Ok(time),
            Due::Now { is_suggested } => is_suggested,
        };
        if is_suggested {
            known.note_suggested_order(SystemTime::now());
            self.store(known).await?;
        }
        let new = self.order(replaced, is_suggested).await?;
        drop(lock);
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
        match self.due(Some(&new), &SavedRenewal::default()) {
            // The next look asks the authority about the new certificate.
            Due::In(_) => Ok(Duration::ZERO),
            Due::Now { .. } => {
                let why = "the new certificate is due for renewal already, by its dates or its names; is the clock right?";
                Err(Failure { wanted: Some(ISSUED_IN_VAIN), ..Failure::fault(why) })
            }
        }
    }

    /// Asks the authority when to renew this certificate, if it is time to ask. Returns what is known afterwards, and how long to
    /// wait before the next question.
    async fn ask_authority(&self, certificate: Option<&Certificate>) -> (SavedRenewal, Duration) {
        let now = SystemTime::now();
        let asked = certificate.filter(|certificate| {
            // Nothing is asked about a certificate that has expired, or that is replaced in any case.
            self.covers(certificate) && certificate.facts().not_after.is_some_and(|end| now < end)
        });
        let Some((certificate, id)) = asked.and_then(|asked| Some((asked, identifier(asked)?))) else {
            return (SavedRenewal::default(), LONGEST_SLEEP);
        };
        let known = self.known(Some(&id)).await;
        let time = known.time_to_question(now);
        if !time.is_zero() {
            return (known, time);
        }
        // A cache that can't be written has no lock. The authority is asked all the same: it may be about to revoke the certificate.
        let lock = at_disk(&self.cache, Cache::lock).await;
        if let Ok(None) = lock {
            // Another process asks or orders.
            return (known, SHORTEST);
        }
        // Another process may have asked before this one had the lock.
        let mut known = self.known(Some(&id)).await;
        if known.time_to_question(now).is_zero() {
            let answer = self.suggestion(&id).await;
            if let Some(outcome) = known.note(answer, certificate, SystemTime::now()) {
                self.tell_suggestion(outcome);
            }
            if let Err(failure) = self.store(known.clone()).await {
                log::notice(format_args!(
                    "server `{}`: {}; until then each restart asks the authority when to renew the certificate",
                    self.server, failure.why
                ));
            }
        }
        let time = known.time_to_question(SystemTime::now());
        (known, time)
    }

    async fn suggestion(&self, certificate: &Replaced) -> Result<Option<Answer>, Failure> {
        let customer = self.customer().await?;
        information::ask(&customer.client, self.acme.directory_url(), certificate).await
    }

    /// What is known about the renewal of this certificate.
    async fn known(&self, certificate: Option<&Replaced>) -> SavedRenewal {
        let Some(certificate) = certificate else { return SavedRenewal::default() };
        let stored = at_disk(&self.cache, Cache::renewal).await.ok().flatten().unwrap_or_default();
        let mut known = self.known.lock();
        *known = stored.about(certificate).or_newer(known.clone().about(certificate));
        known.clone()
    }

    async fn store(&self, renewal: SavedRenewal) -> Result<(), Failure> {
        *self.known.lock() = renewal.clone();
        at_disk(&self.cache, move |cache| cache.store_renewal(&renewal)).await
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

    fn due(&self, certificate: Option<&Certificate>, known: &SavedRenewal) -> Due {
        let certificate = certificate.filter(|certificate| self.covers(certificate));
        let Some(Renewal { at, is_suggested }) = certificate.and_then(|present| known.renewal(present))
        else {
            return Due::Now { is_suggested: false };
        };
        match at.duration_since(SystemTime::now()) {
            Ok(left) if left > LONGEST_SLEEP => Due::In(LONGEST_SLEEP),
            Ok(left) if is_suggested => Due::In(left),
            // So that hosts without a common cache do not all order at the same moment.
            Ok(left) => Due::In(left + jitter(left / 20)),
            Err(_) => Due::Now { is_suggested },
        }
    }

    /// Whether a certificate is for all names that are configured.
    fn covers(&self, certificate: &Certificate) -> bool {
        self.acme.domains.iter().all(|domain| certificate.facts().names.contains(domain))
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

    /// Gets a new certificate from the authority, in place of the present one, and installs it.
    async fn order(
        &self,
        replaced: Option<Replaced>,
        is_suggested: bool,
    ) -> Result<Arc<Certificate>, Failure> {
        log::info(format_args!(
            "server `{}`: a certificate for {} is ordered from {}{}",
            self.server,
            self.acme.domains.join(", "),
            self.acme.directory_url(),
            if is_suggested { ", which suggests it" } else { "" }
        ));
        let pem = self.customer().await?.obtain(replaced).await?;
        at_disk(&self.cache, move |cache| {
            cache.store_certificate(&pem)?;
            cache.forget_order();
            Ok(())
        })
        .await?;
        let installed = self.take_from_cache().await;
        installed.ok_or_else(|| Failure::fault("the certificate that was issued can't be used"))
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

    fn tell_suggestion(&self, outcome: SuggestionOutcome) {
        let (server, names) = (self.server.clone(), self.acme.domains.clone());
        self.events.emit(&Event::RenewalSuggested(RenewalSuggestion { server, names, outcome }));
    }
}
