//! The account at the authority: restored from the cache, or made and kept there.

use base64::Engine as _;
use base64::alphabet::URL_SAFE;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use instant_acme::{
    Account, AccountBuilder, AccountCredentials, Error as AcmeError, ExternalAccountKey, NewAccount,
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::acme::cache::Cache;
use crate::acme::order::{Customer, Failure};
use crate::log;
use crate::server::Acme;
use crate::tls::contents;

/// Authorities write the key with padding or without.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// An account as the cache keeps it.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct SavedAccount {
    /// The fields of `AccountCredentials`, beside the contact: an earlier release reads them from the same file.
    #[serde(flatten)]
    credentials: Map<String, Value>,
    /// The contact that the authority knows. Earlier releases did not keep it.
    contact: Option<String>,
}

impl SavedAccount {
    fn new(credentials: &AccountCredentials, contact: Option<&String>) -> Result<Self, Failure> {
        match serde_json::to_value(credentials) {
            Ok(Value::Object(credentials)) => Ok(Self { credentials, contact: contact.cloned() }),
            _ => Err(Failure::local("the account can't be written as JSON")),
        }
    }

    /// None if they are damaged, or for another authority, as after the file was copied or changed by hand.
    fn credentials(&self, acme: &Acme) -> Option<AccountCredentials> {
        let is_of_authority = self.credentials.get("directory")?.as_str()? == acme.directory_url();
        let credentials = Value::Object(self.credentials.clone());
        serde_json::from_value(credentials).ok().filter(|_| is_of_authority)
    }

    /// Whether the authority knows another contact than the one that is configured now.
    pub(super) fn has_other_contact(&self, acme: &Acme) -> bool {
        self.contact != acme.contact
    }
}

impl Customer<'_> {
    /// The account of the cache, or a new one.
    pub(super) async fn account(&self) -> Result<Account, Failure> {
        if let Some(saved) = self.at_disk(|cache| cache.account()).await? {
            match self.restore(&saved).await? {
                Some(account) => {
                    self.tell_contact(&account, saved).await;
                    return Ok(account);
                }
                None => log::notice(format_args!(
                    "server `{}`: the account in {} can't be used, so another one is made",
                    self.server,
                    self.cache.account_file().display()
                )),
            }
        }
        self.new_account().await
    }

    /// Tells the authority of the contact, if there is an account with another one.
    pub(super) async fn update_contact(&self) -> Result<(), Failure> {
        if let Some(saved) = self.at_disk(|cache| cache.account()).await?
            && saved.has_other_contact(self.acme)
            && let Some(account) = self.restore(&saved).await?
        {
            self.tell_contact(&account, saved).await;
        }
        Ok(())
    }

    async fn restore(&self, saved: &SavedAccount) -> Result<Option<Account>, Failure> {
        let Some(credentials) = saved.credentials(self.acme) else { return Ok(None) };
        match self.builder().from_credentials(credentials).await {
            Ok(account) => Ok(Some(account)),
            Err(AcmeError::KeyRejected | AcmeError::Crypto) => Ok(None),
            Err(error) => Err(self.failure("the authority's directory", &error)),
        }
    }

    async fn new_account(&self) -> Result<Account, Failure> {
        let acme = self.acme.clone();
        let bound = self.at_disk(move |_| external_account(&acme)).await?;
        let contact = self.contact();
        let new =
            NewAccount { contact: &contact, terms_of_service_agreed: true, only_return_existing: false };
        let directory = self.acme.directory_url().to_owned();
        let created = self.builder().create(&new, directory, bound.as_ref()).await;
        let (account, credentials) = created.map_err(|error| self.failure("a new account", &error))?;
        let saved = SavedAccount::new(&credentials, self.acme.contact.as_ref())?;
        self.at_disk(move |cache| cache.store_account(&saved)).await?;
        Ok(account)
    }

    /// Has the authority note the contact, if it knows another one. A failure is only logged, so that it delays no certificate:
    /// the next look at the account tries again.
    async fn tell_contact(&self, account: &Account, saved: SavedAccount) {
        if !saved.has_other_contact(self.acme) {
            return;
        }
        let updated = async {
            let updated = account.update_contacts(&self.contact()).await;
            updated.map_err(|error| self.failure("the update of the account", &error))?;
            let saved = SavedAccount { contact: self.acme.contact.clone(), ..saved };
            self.at_disk(move |cache: &Cache| cache.store_account(&saved)).await
        };
        let contact = self.acme.contact.as_deref().unwrap_or("none");
        match updated.await {
            Ok(()) => log::info(format_args!(
                "server `{}`: the contact of the account at {} is now {contact}",
                self.server,
                self.acme.directory_url()
            )),
            Err(failure) => log::error(format_args!(
                "server `{}`: the contact of the account at {} can't be changed to {contact}: {}; the next attempt is \
                 within an hour",
                self.server,
                self.acme.directory_url(),
                failure.why
            )),
        }
    }

    fn contact(&self) -> Vec<&str> {
        self.acme.contact.iter().map(String::as_str).collect()
    }

    fn builder(&self) -> AccountBuilder {
        Account::builder_with_http(Box::new(self.client.clone()))
    }
}

/// The account to which a new one is bound. Reads the file of its key.
fn external_account(acme: &Acme) -> Result<Option<ExternalAccountKey>, Failure> {
    let Some(kid) = &acme.eab_kid else { return Ok(None) };
    let (key, place) = match (&acme.eab_hmac_key, &acme.eab_hmac_key_file) {
        (Some(key), _) => (key.0.as_bytes().to_vec(), "`tls.acme.eab_hmac_key`".to_owned()),
        (None, Some(file)) => {
            let place = format!("`tls.acme.eab_hmac_key_file`: {}", file.display());
            let key = contents(file);
            (key.map_err(|error| Failure::local(format!("{place} can't be read ({error})")))?, place)
        }
        (None, None) => return Ok(None),
    };
    match BASE64.decode(key.trim_ascii()) {
        Ok(key) if !key.is_empty() => Ok(Some(ExternalAccountKey::new(kid.clone(), &key))),
        _ => Err(Failure::local(format!(
            "{place} holds no key in base64url (it is not shown, as a secret): copy it as the authority gave it to you"
        ))),
    }
}
