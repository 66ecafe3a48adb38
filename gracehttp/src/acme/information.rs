//! The request for renewal information (RFC 9773 section 4). It needs no account and no signature.
//!
//! That of instant-acme needs an account, and loses the answer if the authority does not say when to ask again.

use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use instant_acme::{CertificateIdentifier, RenewalInfo};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::acme::client::Client;
use crate::acme::failure::Failure;
use crate::acme::words::in_one_line;

/// What the authority suggests. It is not checked yet.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Answer {
    /// The window, in seconds since 1970.
    pub(super) start: i64,
    pub(super) end: i64,
    /// The URL of a page that explains the window.
    pub(super) explanation: Option<String>,
    /// When to ask again, if the authority says it.
    pub(super) pause: Option<Duration>,
}

/// The field of a directory that is needed here (RFC 9773 section 3).
#[derive(Deserialize)]
struct Directory {
    #[serde(rename = "renewalInfo")]
    renewal_info: Option<String>,
}

/// Asks about a certificate. None if the authority does not give such information.
pub(super) async fn ask(
    client: &Client,
    directory: &str,
    certificate: &CertificateIdentifier<'_>,
) -> Result<Option<Answer>, Failure> {
    let (directory, _) = get(client, directory).await?;
    let Some(url) = parse::<Directory>(&directory, "its directory")?.renewal_info else { return Ok(None) };
    let (information, pause) = get(client, &format!("{}/{certificate}", url.trim_end_matches('/'))).await?;
    let RenewalInfo { suggested_window: window, explanation_url } =
        parse(&information, "its renewal information")?;
    Ok(Some(Answer {
        start: window.start.unix_timestamp(),
        end: window.end.unix_timestamp(),
        explanation: explanation_url.map(|url| in_one_line(&url)),
        pause,
    }))
}

/// The body at this URL, and for how long the authority wants no other request for it. No redirect is followed.
async fn get(client: &Client, url: &str) -> Result<(Bytes, Option<Duration>), Failure> {
    let asked = in_one_line(url);
    let (status, pause, body) =
        client.get(url).await.map_err(|error| Failure::fault(format!("{asked}: {error}")))?;
    match status {
        StatusCode::OK => Ok((body, pause)),
        _ => Err(Failure { wanted: pause, ..Failure::fault(format!("{asked} answers {status}")) }),
    }
}

fn parse<T: DeserializeOwned>(body: &[u8], what: &str) -> Result<T, Failure> {
    serde_json::from_slice(body).map_err(|error| {
        Failure::fault(format!("{what} can't be read ({})", in_one_line(&error.to_string())))
    })
}
