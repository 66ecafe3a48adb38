//! The few requests that an order needs, each on a connection of its own.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::header::{HOST, RETRY_AFTER, USER_AGENT};
use http::{HeaderValue, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1::handshake;
use hyper_util::rt::TokioIo;
use instant_acme::{BodyWrapper, BytesResponse, Error, HttpClient};
use parking_lot::Mutex;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::acme::failure::Failure;
use crate::server::Acme;
use crate::tls::{contents, crypto_provider};

/// How long one request may take, from the name server to the last byte.
const PATIENCE: Duration = Duration::from_secs(30);

/// Certificate chains are the largest that an authority sends.
const LARGEST: usize = 1 << 20;

/// The longest pause that an authority can ask for. One more refusal a day does no harm.
const LONGEST_PAUSE: Duration = Duration::from_secs(24 * 60 * 60);

pub(super) type Fault = Box<dyn std::error::Error + Send + Sync>;

/// Speaks HTTP/1.1 over TLS. Clones share what they have heard.
#[derive(Clone)]
pub(super) struct Client {
    tls: TlsConnector,
    /// For how long the authority wants no more requests, as its last answer says.
    wanted_pause: Arc<Mutex<Option<Duration>>>,
}

impl Client {
    /// Reads the file of the certificates to trust, if there is one.
    pub(super) fn new(acme: &Acme) -> Result<Self, Failure> {
        let mut roots = RootCertStore::empty();
        match &acme.ca {
            None => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
            Some(file) => {
                let unusable = |reason: String| {
                    Failure::fault(format!("`tls.acme.ca`: {} can't be used: {reason}", file.display()))
                };
                let pem = contents(file).map_err(|error| unusable(error.to_string()))?;
                for certificate in CertificateDer::pem_slice_iter(&pem) {
                    let certificate = certificate.map_err(|error| unusable(error.to_string()))?;
                    roots.add(certificate).map_err(|error| unusable(error.to_string()))?;
                }
                if roots.is_empty() {
                    return Err(unusable("it holds no certificate in PEM".to_owned()));
                }
            }
        }
        let config = ClientConfig::builder_with_provider(crypto_provider())
            .with_safe_default_protocol_versions()
            .map_err(|error| Failure::fault(error.to_string()))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self { tls: TlsConnector::from(Arc::new(config)), wanted_pause: Arc::default() })
    }

    /// For how long the authority wants no more requests.
    pub(super) fn wanted_pause(&self) -> Option<Duration> {
        *self.wanted_pause.lock()
    }

    /// Asks for what is at this URL. Returns the status, for how long the authority wants no other request, and the body.
    pub(super) async fn get(&self, url: &str) -> Result<(StatusCode, Option<Duration>, Bytes), Fault> {
        const OURS: &str = concat!("gracehttp/", env!("CARGO_PKG_VERSION"));
        let request = Request::get(url).header(USER_AGENT, OURS).body(BodyWrapper::default())?;
        let (head, body) = self.clone().exchange_in_time(request).await?.into_parts();
        Ok((head.status, head.headers.get(RETRY_AFTER).and_then(pause), body))
    }

    async fn exchange_in_time(self, request: Request<BodyWrapper<Bytes>>) -> Result<Response<Bytes>, Fault> {
        let exchange = tokio::time::timeout(PATIENCE, self.exchange(request));
        exchange.await.map_err(|_| format!("no answer within {PATIENCE:?}"))?
    }

    async fn exchange(self, request: Request<BodyWrapper<Bytes>>) -> Result<Response<Bytes>, Fault> {
        let (mut head, body) = request.into_parts();
        let authority = head.uri.authority().ok_or("the URL names no host")?.clone();
        if head.uri.scheme_str() != Some("https") {
            return Err(format!("{}: an authority is asked over https alone", head.uri).into());
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        let name = ServerName::try_from(host.to_owned())?;
        let at = |error: std::io::Error| format!("{authority}: {error}");
        let stream = TcpStream::connect((host, authority.port_u16().unwrap_or(443))).await.map_err(at)?;
        let stream = self.tls.connect(name, stream).await.map_err(at)?;
        let (mut sender, connection) = handshake(TokioIo::new(stream)).await?;
        // The connection ends with its sender, and its errors are those of the request, too.
        tokio::spawn(connection);
        head.headers.insert(HOST, HeaderValue::from_str(authority.as_str())?);
        head.uri = Uri::builder()
            .path_and_query(head.uri.path_and_query().map_or("/", |path| path.as_str()))
            .build()?;
        let (mut head, body) = sender.send_request(Request::from_parts(head, body)).await?.into_parts();
        let body = Limited::new(body, LARGEST).collect().await?.to_bytes();
        // Replaced by a bounded number of seconds: instant-acme adds any number to the present time, and a large one has no sum.
        let pause = head.headers.remove(RETRY_AFTER).as_ref().and_then(pause);
        if let Some(pause) = pause {
            head.headers.insert(RETRY_AFTER, pause.as_secs().into());
        }
        if head.status == StatusCode::TOO_MANY_REQUESTS || head.status == StatusCode::SERVICE_UNAVAILABLE {
            *self.wanted_pause.lock() = pause;
        }
        Ok(Response::from_parts(head, body))
    }
}

impl HttpClient for Client {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>> {
        let exchange = self.clone().exchange_in_time(request);
        Box::pin(async move {
            let answer = exchange.await.map_err(Error::Other)?;
            Ok(BytesResponse::from(answer.map(Full::new)))
        })
    }
}

/// Seconds, or a date (RFC 9110 section 10.2.3).
fn pause(value: &HeaderValue) -> Option<Duration> {
    let text = value.to_str().ok()?.trim();
    let pause = match text.bytes().all(|byte| byte.is_ascii_digit()) {
        true => Duration::from_secs(text.parse().unwrap_or(u64::MAX)),
        false => httpdate::parse_http_date(text).ok()?.duration_since(SystemTime::now()).ok()?,
    };
    Some(pause.min(LONGEST_PAUSE))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_pause_is_longer_than_a_day() {
        let of = |text: &'static str| pause(&HeaderValue::from_static(text)).map(|pause| pause.as_secs());
        assert_eq!(of(" 7 "), Some(7));
        let day = Some(24 * 60 * 60);
        for long in ["86401", "18446744073709551615", "99999999999999999999", "Fri, 31 Dec 9999 23:59:59 GMT"]
        {
            assert_eq!(of(long), day, "{long}");
        }
        for none in ["soon", "-1", "Thu, 01 Jan 1970 00:00:00 GMT"] {
            assert_eq!(of(none), None, "{none}");
        }
    }
}
