//! What the test's own authority knows, and how it is told to behave.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use serde_json::Value;

use crate::jws::Account;
use crate::suggestions::Suggest;

#[derive(Default)]
pub(crate) struct Books {
    pub(crate) nonces: Vec<String>,
    pub(crate) accounts: HashMap<String, Account>,
    pub(crate) orders: Vec<Order>,
    /// The paths that were asked for, in order.
    pub(crate) requests: Vec<String>,
    /// Challenges are validated at this address, once it is known.
    pub(crate) endpoint: Option<SocketAddr>,
    /// The challenges of this order are not validated before `validate_at`.
    pub(crate) held: Option<usize>,
    /// The next good nonce is refused.
    pub(crate) refuse_nonce: bool,
    /// Accounts are forgotten as soon as they are made.
    pub(crate) forgetful: bool,
    /// Each request of an account is refused, as one that was deactivated.
    pub(crate) deactivated: bool,
    /// How many accounts were made.
    pub(crate) registrations: usize,
    /// Tells when certificates are to be renewed. Without it the directory has no such resource.
    pub(crate) suggest: Option<Suggest>,
    /// Questions about that are never answered.
    pub(crate) hang: bool,
    /// The certificates that it was asked about, by number.
    pub(crate) questions: Vec<usize>,
    /// Orders that replace a certificate are refused with this type of problem.
    pub(crate) refuse_replacement: Option<&'static str>,
    /// Orders do not show what they replace.
    pub(crate) silent_replacement: bool,
    /// How old certificates are when they are issued.
    pub(crate) age: Duration,
    /// The next order is refused, with a time to wait.
    pub(crate) refuse_order: bool,
    /// All orders from this one on are refused, with a time to wait.
    pub(crate) refuse_from: Option<usize>,
    /// New accounts have to be bound to this one, by its key.
    pub(crate) external: Option<(&'static str, &'static [u8])>,
    /// The contacts of an account, at its creation and after each update.
    pub(crate) contacts: Vec<Value>,
}

pub(crate) struct Order {
    pub(crate) account: String,
    pub(crate) names: Vec<String>,
    pub(crate) tokens: Vec<String>,
    /// Of each challenge.
    pub(crate) statuses: Vec<&'static str>,
    pub(crate) chain: Option<String>,
    /// The certificate that it replaces.
    pub(crate) replaces: Option<String>,
    pub(crate) at: SystemTime,
}

impl Books {
    /// The accounts of before are gone.
    pub(crate) fn lose_accounts(&mut self) {
        self.accounts.clear();
    }
}

impl Order {
    pub(crate) fn status(&self) -> &'static str {
        match () {
            () if self.chain.is_some() => "valid",
            () if self.statuses.contains(&"invalid") => "invalid",
            () if self.statuses.iter().all(|status| *status == "valid") => "ready",
            () => "pending",
        }
    }
}
