//! The redirect from plain text to HTTPS.

use std::sync::Arc;

use http::header::LOCATION;
use http::{HeaderValue, StatusCode};

use crate::conn::client::own_host;
use crate::conn::info::ConnectionInfo;
use crate::proxy::Scheme;
use crate::server::{Dispatch, HttpsPort, Request, Response, ResponseFuture, ServerOptions, Surroundings};

/// Where an authority looks for the answer to an HTTP-01 challenge (RFC 8555 section 8.3). It asks over plain text, before
/// there is a certificate.
const CHALLENGES: &str = "/.well-known/acme-challenge/";

/// The answers of a server whose requests over plain text are redirected if its options say so.
pub(crate) fn redirected(options: &ServerOptions, application: Arc<dyn Dispatch>) -> Arc<dyn Dispatch> {
    match options.redirect_to_https {
        Some(port) => Arc::new(Redirect { port, application }),
        None => application,
    }
}

/// Redirects requests over plain text, and leaves the others to the application.
struct Redirect {
    port: HttpsPort,
    application: Arc<dyn Dispatch>,
}

impl Dispatch for Redirect {
    fn call(&self, request: Request, surroundings: Surroundings<'_>) -> ResponseFuture {
        let info = surroundings.fact::<Arc<ConnectionInfo>>().map(|info| &**info);
        if is_secure(&request, info) || is_challenge(request.uri().path()) {
            return self.application.call(request, surroundings);
        }
        let response = self.answer(&request, host(&request, info));
        Box::pin(std::future::ready(response))
    }
}

impl Redirect {
    /// 308, since after it no client changes the method (RFC 9110 section 15.4.9). A request that names no host or no
    /// resource has no address over HTTPS.
    fn answer(&self, request: &Request, host: Option<String>) -> Response {
        let mut response = Response::default();
        match host.and_then(|host| self.location(request, &host)) {
            Some(location) => {
                *response.status_mut() = StatusCode::PERMANENT_REDIRECT;
                response.headers_mut().insert(LOCATION, location);
            }
            None => *response.status_mut() = StatusCode::BAD_REQUEST,
        }
        response
    }

    fn location(&self, request: &Request, host: &str) -> Option<HeaderValue> {
        let resource = request.uri().path_and_query()?.as_str();
        // Neither the target of CONNECT nor the asterisk is a path.
        let resource = match resource.as_bytes() {
            [b'/', ..] => resource.to_owned(),
            // In absolute form the path may be empty (RFC 9112 section 3.2.1).
            [b'?', ..] => format!("/{resource}"),
            _ => return None,
        };
        let host = without_port(host);
        let location = match self.port.named() {
            None => format!("https://{host}{resource}"),
            Some(port) => format!("https://{host}:{port}{resource}"),
        };
        HeaderValue::try_from(location).ok()
    }
}

/// Whether a path is that of a challenge, with a token in base64url and nothing else: `..` could lead to other paths.
fn is_challenge(path: &str) -> bool {
    let is_of_token = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    path.strip_prefix(CHALLENGES).is_some_and(|token| !token.is_empty() && token.bytes().all(is_of_token))
}

/// Whether the client speaks TLS, with this server or with a trusted proxy before it.
fn is_secure(request: &Request, info: Option<&ConnectionInfo>) -> bool {
    info.is_some_and(|info| info.scheme_of(request.headers()) == Scheme::Https)
}

/// The host that the client has asked for. A trusted proxy may ask this server by a name that clients don't know.
fn host(request: &Request, info: Option<&ConnectionInfo>) -> Option<String> {
    match info {
        Some(info) => info.host_of(request.headers(), request.uri()),
        None => own_host(request.headers(), request.uri()),
    }
}

/// A host that the grammar has passed, without its port: the colons of an IPv6 address are in brackets.
fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => host,
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum_core::body::Body;

    fn location(port: u16, target: &str, host: Option<&str>) -> Option<String> {
        struct Unreached;
        impl Dispatch for Unreached {
            fn call(&self, _: Request, _: Surroundings<'_>) -> ResponseFuture {
                unreachable!()
            }
        }
        let redirect = Redirect { port: HttpsPort::new(port).unwrap(), application: Arc::new(Unreached) };
        let mut request = http::Request::builder().uri(target);
        if let Some(host) = host {
            request = request.header(http::header::HOST, host);
        }
        let request = request.body(Body::empty()).unwrap();
        let location = redirect.location(&request, &super::host(&request, None)?)?;
        Some(location.to_str().unwrap().to_owned())
    }

    #[test]
    fn a_location_keeps_host_path_and_query() {
        for (port, target, host, expected) in [
            (443, "/", "a.test", "https://a.test/"),
            (443, "/a%20b?c=d&e", "a.test:80", "https://a.test/a%20b?c=d&e"),
            (8443, "//b.test/..", "a.test:8080", "https://a.test:8443//b.test/.."),
            (443, "/", "a.test:", "https://a.test/"),
            (443, "/", "[::1]", "https://[::1]/"),
            (8443, "/?", "[::1]:80", "https://[::1]:8443/?"),
            (443, "http://b.test:80/c", "a.test", "https://b.test/c"),
            (443, "http://b.test?c", "a.test", "https://b.test/?c"),
            (443, "http://b.test", "a.test", "https://b.test/"),
        ] {
            assert_eq!(location(port, target, Some(host)).as_deref(), Some(expected), "{target} {host}");
        }
    }

    #[test]
    fn only_a_token_makes_the_path_of_a_challenge() {
        assert!(is_challenge("/.well-known/acme-challenge/evaGxfADs6pSRb2LAv9IZf17Dt3juxGJ-PCt92wr_oA"));
        for path in ["", "../../admin", "%2e%2e/admin", "token/more", "a.b"] {
            assert!(!is_challenge(&format!("{CHALLENGES}{path}")), "{path}");
        }
    }

    #[test]
    fn a_request_without_host_or_path_has_no_location() {
        assert_eq!(location(443, "/", None), None);
        for (target, host) in [("/", ""), ("/", "a b"), ("/", "u@a"), ("*", "a"), ("a:80", "a")] {
            assert_eq!(location(443, target, Some(host)), None, "{target} {host}");
        }
    }
}
