//! Why there is no certificate.

use std::time::Duration;

use instant_acme::Error as AcmeError;

use crate::acme::client::Client;
use crate::acme::retry::Kind;
use crate::acme::words::in_one_line;
use crate::error::Error;

/// Types of problems (RFC 8555 section 6.7).
const BAD_NONCE: &str = "badNonce";
pub(super) const NO_ACCOUNT: &str = "accountDoesNotExist";
pub(super) const NO_BINDING: &str = "externalAccountRequired";

#[derive(Debug)]
pub(super) struct Failure {
    pub(super) why: String,
    pub(super) kind: Kind,
    /// How long to wait before the next attempt, if the authority or the fault says it.
    pub(super) wanted: Option<Duration>,
}

impl Failure {
    /// A failure of this machine, of the network, or of an authority that does not work.
    pub(super) fn fault(why: impl Into<String>) -> Self {
        Self { why: why.into(), kind: Kind::Fault, wanted: None }
    }

    pub(super) fn refused(why: impl Into<String>) -> Self {
        Self { why: why.into(), kind: Kind::Refusal, wanted: None }
    }

    /// What has failed at a step of an order.
    pub(super) fn of(what: &str, error: &AcmeError, client: &Client) -> Self {
        let kind = match problem(error) {
            // The authority has lost count of our nonces, which says nothing about the order.
            Some(BAD_NONCE) => Kind::Fault,
            Some(NO_ACCOUNT) => Kind::UnknownAccount,
            Some(_) => Kind::Refusal,
            None => Kind::Fault,
        };
        let why = format!("{what}: {}", in_one_line(&error.to_string()));
        Self { why, kind, wanted: client.wanted_pause() }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::fault(error.to_string())
    }
}

/// The type of the problem with which an authority refuses a request, such as `badNonce`. Empty if it is none of ACME's, and
/// `None` if the authority has refused nothing.
pub(super) fn problem(error: &AcmeError) -> Option<&str> {
    let AcmeError::Api(problem) = error else { return None };
    let kind = problem.r#type.as_deref().unwrap_or_default();
    Some(kind.strip_prefix("urn:ietf:params:acme:error:").unwrap_or_default())
}
