//! One order, from its beginning to the certificate. Each step can be repeated by another process.

use std::sync::Arc;
use std::time::Duration;

use instant_acme::{
    Account, AuthorizationStatus, CertificateIdentifier, ChallengeStatus, ChallengeType, Error as AcmeError,
    Identifier, NewOrder, Order, OrderStatus, RetryPolicy,
};
use rcgen::{CertificateParams, CustomExtension, DistinguishedName, KeyPair};
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use tokio_rustls::rustls::sign::CertifiedKey;

use crate::acme::cache::{Cache, SavedOrder};
use crate::acme::client::Client;
use crate::acme::failure::{Failure, problem};
use crate::acme::retry::Kind;
use crate::acme::words::in_one_line;
use crate::lifecycle::{aside, show};
use crate::server::Acme;
use crate::tls::{Challenges, crypto_provider};

/// How long the authority may take to look at the challenges, and to issue.
const PATIENCE: Duration = Duration::from_secs(120);

/// How long all steps of an order may take together. An authority can make each step long, and ask for many.
const LONGEST: Duration = Duration::from_secs(10 * 60);

/// Types of problems that have nothing to do with the certificate that an order replaces (RFC 8555 section 6.7).
const UNRELATED: [&str; 3] = ["accountDoesNotExist", "badNonce", "rateLimited"];

/// The certificate that an order replaces.
pub(super) type Replaced = CertificateIdentifier<'static>;

/// The side of this process in its conversation with an authority.
pub(super) struct Customer<'k> {
    pub(super) server: &'k str,
    pub(super) acme: &'k Acme,
    pub(super) cache: &'k Cache,
    pub(super) challenges: &'k Challenges,
    pub(super) client: Client,
}

impl Customer<'_> {
    /// Gets a certificate: the chain and its key, in PEM. It may replace an earlier one.
    pub(super) async fn obtain(&self, replaced: Option<Replaced>) -> Result<String, Failure> {
        let too_long = |_| Failure::fault(format!("it was not over within {}", show(LONGEST)));
        tokio::time::timeout(LONGEST, self.order(replaced)).await.map_err(too_long)?
    }

    async fn order(&self, replaced: Option<Replaced>) -> Result<String, Failure> {
        let account = self.account().await?;
        match self.order_as(&account, replaced.clone()).await {
            // Only once: if the authority does not know the new account, either, the order fails.
            Err(Failure { kind: Kind::UnknownAccount, why, .. }) => {
                let account = self.another_account(&why).await?;
                self.order_as(&account, replaced).await
            }
            outcome => outcome,
        }
    }

    async fn order_as(&self, account: &Account, replaced: Option<Replaced>) -> Result<String, Failure> {
        let (mut order, key) = match self.resume(account).await? {
            Some(resumed) => resumed,
            None => self.begin(account, replaced).await?,
        };
        let chain = self.complete(&mut order, &key).await?;
        Ok(format!("{chain}\n{}", key.serialize_pem()))
    }

    /// The order that an earlier process has left, if it can still lead to a certificate.
    async fn resume(&self, account: &Account) -> Result<Option<(Order, KeyPair)>, Failure> {
        let Some(SavedOrder { url, domains, key }) = self.at_disk(|cache| cache.order()).await? else {
            return Ok(None);
        };
        let Ok(key) = KeyPair::from_pem(&key) else { return Ok(None) };
        if domains != self.acme.domains {
            return Ok(None);
        }
        match account.order(url).await {
            // An order that has failed while no process answered its challenges can't be completed.
            Ok(mut order) => {
                let is_lost = order.state().status == OrderStatus::Invalid;
                Ok((!is_lost).then_some((order, key)))
            }
            // The authority does not know it any more.
            Err(AcmeError::Api(_)) => Ok(None),
            Err(error) => Err(self.failure("the order under way", &error)),
        }
    }

    /// Makes a new order, and stores it in the cache.
    async fn begin(
        &self,
        account: &Account,
        replaced: Option<Replaced>,
    ) -> Result<(Order, KeyPair), Failure> {
        let key = KeyPair::generate().map_err(|error| Failure::fault(error.to_string()))?;
        let order = match self.new_order(account, replaced.clone()).await {
            Err(error) if replaced.is_some() && is_about_replacement(&error) => {
                self.new_order(account, None).await
            }
            ordered => ordered,
        };
        let order = match order {
            Ok(order) => order,
            Err(error) => return Err(self.refused_order(&error).await),
        };
        let saved = SavedOrder {
            url: order.url().to_owned(),
            domains: self.acme.domains.clone(),
            key: key.serialize_pem(),
        };
        self.at_disk(move |cache| cache.store_order(&saved)).await?;
        Ok((order, key))
    }

    async fn new_order(&self, account: &Account, replaced: Option<Replaced>) -> Result<Order, AcmeError> {
        let identifiers: Vec<_> = self.acme.domains.iter().cloned().map(Identifier::Dns).collect();
        let order = NewOrder::new(&identifiers);
        let order = match replaced {
            Some(replaced) => order.replaces(replaced),
            None => order,
        };
        account.new_order(&order).await
    }

    /// Leads an order to its certificate, whatever state it is in.
    async fn complete(&self, order: &mut Order, key: &KeyPair) -> Result<String, Failure> {
        let patience = RetryPolicy::new().timeout(PATIENCE).backoff(1.5);
        if order.state().status == OrderStatus::Pending {
            let _answered = self.answer_challenges(order).await?;
            let polled = order.poll_ready(&patience).await;
            match polled.map_err(|error| self.failure("the validation", &error))? {
                OrderStatus::Ready => {}
                _ => return Err(Failure::refused(self.why_invalid(order).await)),
            }
        }
        if order.state().status == OrderStatus::Ready {
            let csr = self.request(key)?;
            order.finalize_csr(&csr).await.map_err(|error| self.failure("the finalization", &error))?;
        }
        order.poll_certificate(&patience).await.map_err(|error| self.failure("the certificate", &error))
    }

    /// Answers the challenges of an order until the returned guard is dropped.
    async fn answer_challenges(&self, order: &mut Order) -> Result<Answered<'_>, Failure> {
        let mut answered = Answered { challenges: self.challenges, names: Vec::new() };
        let mut authorizations = order.authorizations();
        while let Some(authorization) = authorizations.next().await {
            let mut authorization =
                authorization.map_err(|error| self.failure("an authorization", &error))?;
            if authorization.status != AuthorizationStatus::Pending {
                continue;
            }
            let Some(mut challenge) = authorization.challenge(ChallengeType::TlsAlpn01) else {
                return Err(Failure::refused("the authority offers no challenge of the type tls-alpn-01"));
            };
            let name = challenge.identifier().to_string();
            let digest = challenge.key_authorization().digest();
            let certificate = challenge_certificate(&name, digest.as_ref());
            self.challenges.set(&name, certificate.map_err(|error| Failure::fault(error.to_string()))?);
            answered.names.push(name.clone());
            if challenge.status == ChallengeStatus::Pending {
                let set = challenge.set_ready().await;
                set.map_err(|error| self.failure(&format!("the challenge of {name}"), &error))?;
            }
        }
        Ok(answered)
    }

    /// What the authority says of the challenges of an invalid order.
    async fn why_invalid(&self, order: &mut Order) -> String {
        let mut why = Vec::new();
        let mut authorizations = order.authorizations();
        while let Some(Ok(mut authorization)) = authorizations.next().await {
            let name = authorization.identifier().to_string();
            let Ok(state) = authorization.refresh().await else { continue };
            let errors = state.challenges.iter().filter_map(|challenge| challenge.error.as_ref());
            why.extend(errors.map(|error| format!("{name}: {}", in_one_line(&error.to_string()))));
        }
        match why.is_empty() {
            true => "the authority has declared the order invalid".to_owned(),
            false => why.join("; "),
        }
    }

    /// The request for a certificate of this key.
    fn request(&self, key: &KeyPair) -> Result<Vec<u8>, Failure> {
        let request = || {
            let mut params = CertificateParams::new(self.acme.domains.clone())?;
            params.distinguished_name = DistinguishedName::new();
            params.serialize_request(key)
        };
        let request = request().map_err(|error: rcgen::Error| Failure::fault(error.to_string()))?;
        Ok(request.der().to_vec())
    }

    /// A failure that the authority has reported at this step.
    pub(super) fn failure(&self, what: &str, error: &AcmeError) -> Failure {
        Failure::of(what, error, &self.client)
    }

    /// Works on the cache of this customer, as [`at_disk`] does.
    pub(super) async fn at_disk<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Cache) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        at_disk(self.cache, work).await
    }
}

/// Whether an order may have failed because of the certificate that it replaces: the authority does not know that certificate, has
/// replaced it already (RFC 9773 section 5), has issued it to another account, or does not know the field `replaces`.
fn is_about_replacement(error: &AcmeError) -> bool {
    match error {
        AcmeError::Unsupported(_) | AcmeError::Json(_) => true,
        // So instant-acme says that the answer lacks the field. Errors of the network are of the same kind.
        AcmeError::Other(error) => error.to_string().starts_with("replaces field mismatch"),
        _ => problem(error).is_some_and(|problem| !UNRELATED.contains(&problem)),
    }
}

/// Works on a cache, on a thread of its own.
pub(super) async fn at_disk<T: Send + 'static>(
    cache: &Cache,
    work: impl FnOnce(&Cache) -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    let cache = cache.clone();
    aside("acme-cache", "the cache of certificates", move || work(&cache)).await?
}

/// The names whose challenges are answered.
struct Answered<'k> {
    challenges: &'k Challenges,
    names: Vec<String>,
}

impl Drop for Answered<'_> {
    fn drop(&mut self) {
        self.names.iter().for_each(|name| self.challenges.remove(name));
    }
}

/// The certificate that proves the control of a name (RFC 8737 section 3).
fn challenge_certificate(name: &str, digest: &[u8]) -> Result<Arc<CertifiedKey>, Box<dyn std::error::Error>> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new([name.to_owned()])?;
    params.distinguished_name = DistinguishedName::new();
    params.custom_extensions = vec![CustomExtension::new_acme_identifier(digest)];
    let certificate = params.self_signed(&key)?.der().clone();
    let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
    // Not checked against the certificate: rustls reads none whose critical extension it does not know.
    let key = crypto_provider().key_provider.load_private_key(key)?;
    Ok(Arc::new(CertifiedKey::new(vec![certificate], key)))
}
