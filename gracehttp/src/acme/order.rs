//! One order, from its beginning to the certificate. Each step can be repeated by another process.

use std::sync::Arc;
use std::time::Duration;

use instant_acme::{
    Account, AuthorizationStatus, ChallengeStatus, ChallengeType, Error as AcmeError, Identifier, NewOrder,
    Order, OrderStatus, RetryPolicy,
};
use rcgen::{CertificateParams, CustomExtension, DistinguishedName, KeyPair};
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use tokio_rustls::rustls::sign::CertifiedKey;

use crate::acme::cache::{Cache, SavedOrder};
use crate::acme::client::Client;
use crate::acme::retry::Kind;
use crate::error::Error;
use crate::lifecycle::{aside, show};
use crate::server::Acme;
use crate::tls::{Challenges, crypto_provider};

/// How long the authority may take to look at the challenges, and to issue.
const PATIENCE: Duration = Duration::from_secs(120);

/// How long all steps of an order may take together. An authority can make each step long, and ask for many.
const LONGEST: Duration = Duration::from_secs(10 * 60);

/// Types of problems (RFC 8555 section 6.7).
const BAD_NONCE: &str = "urn:ietf:params:acme:error:badNonce";
const NO_ACCOUNT: &str = "urn:ietf:params:acme:error:accountDoesNotExist";

/// Why there is no certificate.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) why: String,
    pub(super) kind: Kind,
    /// How long to wait before the next attempt, if the authority or the fault says it.
    pub(super) wanted: Option<Duration>,
}

impl Failure {
    /// A failure of this machine.
    pub(super) fn local(why: impl Into<String>) -> Self {
        Self { why: why.into(), kind: Kind::Fault, wanted: None }
    }

    fn refused(why: impl Into<String>) -> Self {
        Self { why: why.into(), kind: Kind::Refusal, wanted: None }
    }

    fn of(what: &str, error: &AcmeError, client: &Client) -> Self {
        let kind = match error {
            // The authority has lost count of our nonces, which says nothing about the order.
            AcmeError::Api(problem) if problem.r#type.as_deref() == Some(BAD_NONCE) => Kind::Fault,
            AcmeError::Api(_) => Kind::Refusal,
            _ => Kind::Fault,
        };
        Self { why: format!("{what}: {error}"), kind, wanted: client.wanted_pause() }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::local(error.to_string())
    }
}

/// The side of this process in its conversation with an authority.
pub(super) struct Customer<'k> {
    pub(super) server: &'k str,
    pub(super) acme: &'k Acme,
    pub(super) cache: &'k Cache,
    pub(super) challenges: &'k Challenges,
    pub(super) client: Client,
}

impl Customer<'_> {
    /// Gets a certificate: the chain and its key, in PEM.
    pub(super) async fn obtain(&self) -> Result<String, Failure> {
        let too_long = |_| Failure::local(format!("it was not over within {}", show(LONGEST)));
        tokio::time::timeout(LONGEST, self.order()).await.map_err(too_long)?
    }

    async fn order(&self) -> Result<String, Failure> {
        let account = self.account().await?;
        let (mut order, key) = match self.resume(&account).await? {
            Some(resumed) => resumed,
            None => self.begin(&account).await?,
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
    async fn begin(&self, account: &Account) -> Result<(Order, KeyPair), Failure> {
        let identifiers: Vec<_> = self.acme.domains.iter().cloned().map(Identifier::Dns).collect();
        let key = KeyPair::generate().map_err(|error| Failure::local(error.to_string()))?;
        let ordered = account.new_order(&NewOrder::new(&identifiers)).await;
        let order = ordered.map_err(|error| self.failure("a new order", &error))?;
        let saved = SavedOrder {
            url: order.url().to_owned(),
            domains: self.acme.domains.clone(),
            key: key.serialize_pem(),
        };
        self.at_disk(move |cache| cache.store_order(&saved)).await?;
        Ok((order, key))
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
            self.challenges.set(&name, certificate.map_err(|error| Failure::local(error.to_string()))?);
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
            why.extend(errors.map(|error| format!("{name}: {error}")));
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
        let request = request().map_err(|error: rcgen::Error| Failure::local(error.to_string()))?;
        Ok(request.der().to_vec())
    }

    /// A failure that the authority has reported at this step. If it does not know our account, the account is forgotten here,
    /// too.
    pub(super) fn failure(&self, what: &str, error: &AcmeError) -> Failure {
        if let AcmeError::Api(problem) = error
            && problem.r#type.as_deref() == Some(NO_ACCOUNT)
        {
            self.cache.forget_account();
        }
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
