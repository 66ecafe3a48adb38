//! The account at the authority: restored from the cache, or made and kept there.

use instant_acme::{
    Account, AccountBuilder, AccountCredentials, Error as AcmeError, ExternalAccountKey, Key, NewAccount,
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::acme::cache::Cache;
use crate::acme::failure::{Failure, NO_ACCOUNT, NO_BINDING, problem};
use crate::acme::order::Customer;
use crate::acme::retry::Kind;
use crate::log;
use crate::server::{Acme, binding_key};
use crate::tls::contents;

/// The types of problems by which authorities refuse an account or its signature, among other things (RFC 8555 section 6.7).
const PERHAPS_OF_ACCOUNT: [&str; 2] = ["malformed", "unauthorized"];

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
            _ => Err(Failure::fault("the account can't be written as JSON")),
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
        let Some(saved) = self.at_disk(|cache| cache.account()).await? else {
            return self.new_account().await;
        };
        match self.restore(&saved).await? {
            Some(account) => self.with_contact(account, saved).await,
            None => {
                let aside = self.at_disk(Cache::set_account_aside).await?;
                log::notice(format_args!(
                    "server `{}`: the account in {} can't be used, so another one is made; the file is now {}",
                    self.server,
                    self.cache.account_file().display(),
                    aside.display()
                ));
                self.new_account().await
            }
        }
    }

    /// A new account in place of one that the authority does not know.
    pub(super) async fn another_account(&self, why: &str) -> Result<Account, Failure> {
        let aside = self.at_disk(Cache::set_account_aside).await?;
        log::notice(format_args!(
            "server `{}`: {} does not know the account in {} ({why}), so another one is made; the file is now {}",
            self.server,
            self.acme.directory_url(),
            self.cache.account_file().display(),
            aside.display()
        ));
        self.new_account().await
    }

    /// Tells the authority of the contact, if there is an account with another one.
    pub(super) async fn update_contact(&self) -> Result<(), Failure> {
        if let Some(saved) = self.at_disk(|cache| cache.account()).await?
            && saved.has_other_contact(self.acme)
            && let Some(account) = self.restore(&saved).await?
        {
            self.with_contact(account, saved).await?;
        }
        Ok(())
    }

    /// This account, once the authority has been told of its contact. Another one if the authority does not know this one.
    async fn with_contact(&self, account: Account, saved: SavedAccount) -> Result<Account, Failure> {
        match self.tell_contact(&account, saved).await {
            Err(Failure { kind: Kind::UnknownAccount, why, .. }) => self.another_account(&why).await,
            _ => Ok(account),
        }
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
        let (account, credentials) = created.map_err(|error| self.refused_account(&error))?;
        let saved = SavedAccount::new(&credentials, self.acme.contact.as_ref())?;
        self.at_disk(move |cache| cache.store_account(&saved)).await?;
        Ok(account)
    }

    /// What it means that the authority makes no account.
    fn refused_account(&self, error: &AcmeError) -> Failure {
        let failure = self.failure("a new account", error);
        if problem(error) != Some(NO_BINDING) {
            return failure;
        }
        let why = format!(
            "{}; the authority wants to know which of its customers you are: set `tls.acme.eab_kid`, and \
             `tls.acme.eab_hmac_key_file` for its key, both of which it gives to customers",
            failure.why
        );
        Failure { why, ..failure }
    }

    /// Has the authority note the contact, if it knows another one. A failure delays no certificate: it is logged, and the next
    /// look at the account tries again.
    async fn tell_contact(&self, account: &Account, saved: SavedAccount) -> Result<(), Failure> {
        if !saved.has_other_contact(self.acme) {
            return Ok(());
        }
        let updated = async {
            let updated = account.update_contacts(&self.contact()).await;
            updated.map_err(|error| self.failure("the update of the account", &error))?;
            let saved = SavedAccount { contact: self.acme.contact.clone(), ..saved };
            self.at_disk(move |cache: &Cache| cache.store_account(&saved)).await
        };
        let updated = updated.await;
        let contact = self.acme.contact.as_deref().unwrap_or("none");
        match &updated {
            Ok(()) => log::info(format_args!(
                "server `{}`: the contact of the account at {} is now {contact}",
                self.server,
                self.acme.directory_url()
            )),
            // The caller makes another account.
            Err(Failure { kind: Kind::UnknownAccount, .. }) => {}
            Err(failure) => log::error(format_args!(
                "server `{}`: the contact of the account at {} can't be changed to {contact}: {}; the next attempt is \
                 within an hour",
                self.server,
                self.acme.directory_url(),
                failure.why
            )),
        }
        updated
    }

    /// What it means that the authority refuses a new order. If the account may be the reason, the authority is asked whether it
    /// knows the account's key (RFC 8555 section 7.3.1).
    pub(super) async fn refused_order(&self, error: &AcmeError) -> Failure {
        let failure = self.failure("a new order", error);
        if !problem(error).is_some_and(|problem| PERHAPS_OF_ACCOUNT.contains(&problem)) {
            return failure;
        }
        if self.is_key_unknown().await {
            return Failure { kind: Kind::UnknownAccount, ..failure };
        }
        let file = self.cache.account_file();
        let why = format!(
            "{}; if the account is the reason, for example because it was deactivated, move {} away: then another one is \
             made",
            failure.why,
            file.display()
        );
        Failure { why, ..failure }
    }

    /// Whether the authority says that no account has the key in the cache.
    async fn is_key_unknown(&self) -> bool {
        let Ok(Some(saved)) = self.at_disk(|cache| cache.account()).await else { return false };
        let Some(credentials) = saved.credentials(self.acme) else { return false };
        let key = credentials.private_key().clone_key();
        let Ok(signer) = Key::from_pkcs8_der(key.clone_key()) else { return false };
        let directory = self.acme.directory_url().to_owned();
        match self.builder().from_key((signer, key.into()), directory).await {
            Err(error) => problem(&error) == Some(NO_ACCOUNT),
            Ok(_) => false,
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
            (key.map_err(|error| Failure::fault(format!("{place} can't be read ({error})")))?, place)
        }
        (None, None) => return Ok(None),
    };
    match binding_key(&key) {
        Some(key) => Ok(Some(ExternalAccountKey::new(kid.clone(), &key))),
        None => Err(Failure::fault(format!(
            "{place} holds no key in base64url (it is not shown, as a secret): copy it as the authority gave it to you"
        ))),
    }
}
