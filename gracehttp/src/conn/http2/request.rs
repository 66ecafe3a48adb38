//! Rules of RFC 9113 for requests that h2 does not check, and the form of a request that handlers know from HTTP/1.
//!
//! h2 itself resets streams with pseudo-header fields that are missing, repeated, unknown or misplaced, with field
//! names in upper case or of a connection, and with a body that does not have its declared length.

use http::header::{CONTENT_LENGTH, COOKIE, HOST, HeaderMap, HeaderValue};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{Method, Request};
use http_body::Body;

use crate::conn::cause::{Reason, Refusal};
use crate::conn::grammar::{is_host, is_origin_form};
use crate::conn::http2::known_host::KnownHost;
use crate::server::ServerOptions;

/// The bytes of an HTTP/1 field line besides name and value: so `max_header_size` means the same in both protocols.
const LINE: usize = ": \r\n".len();

fn join_cookies(headers: &mut HeaderMap) {
    let mut crumbs = headers.get_all(COOKIE).iter();
    if crumbs.next().is_none() || crumbs.next().is_none() {
        return;
    }
    let crumbs: Vec<&[u8]> = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
    // Fails never: the parts are valid.
    if let Ok(cookie) = HeaderValue::from_bytes(&crumbs.join(&b"; "[..])) {
        headers.insert(COOKIE, cookie);
    }
}

/// How many bytes a request's head holds, as HTTP/1 would write it.
pub(crate) fn head_size<B>(request: &Request<B>) -> usize {
    let uri = request.uri();
    let target = uri.path_and_query().map_or(0, |target| target.as_str().len());
    let authority = uri.authority().map_or(0, |authority| authority.as_str().len());
    let fields = request.headers().iter().map(|(name, value)| name.as_str().len() + value.len() + LINE);
    target + authority + fields.sum::<usize>()
}

/// Gives a request the form that handlers know from HTTP/1: one Cookie field (RFC 9113 section 8.2.3), and a Host. Or
/// returns why no handler may see it. A malformed request is answered instead of being reset, as section 8.1.1
/// allows, and its connection goes on.
pub(crate) fn complete<B: Body>(
    request: &mut Request<B>,
    head_size: usize,
    options: &ServerOptions,
    known: &KnownHost,
    is_secure: bool,
) -> Result<(), Refusal> {
    join_cookies(request.headers_mut());
    let host = request.uri().authority().map(|authority| known.value(authority.as_str()));
    if let Some(refusal) = refuse(request, head_size, options, host != Some(None), is_secure) {
        return Err(refusal);
    }
    if let Some(host) = host.flatten()
        && !request.headers().contains_key(HOST)
    {
        request.headers_mut().insert(HOST, host);
    }
    Ok(())
}

fn refuse<B: Body>(
    request: &Request<B>,
    head_size: usize,
    options: &ServerOptions,
    has_valid_authority: bool,
    is_secure: bool,
) -> Option<Refusal> {
    let uri = request.uri();
    let target = uri.path_and_query();
    if target.is_some_and(|target| target.as_str().len() > options.max_header_size) {
        return Some(Refusal::new(Reason::TargetTooLong, ":path is over max_header_size"));
    }
    if head_size > options.max_header_size {
        return Some(Refusal::new(Reason::HeadTooLarge, "the head is over max_header_size"));
    }
    if request.headers().len() > options.max_headers {
        return Some(Refusal::new(Reason::HeadTooLarge, "there are more fields than max_headers"));
    }
    if request.headers().values().any(is_padded) {
        return Some(Refusal::malformed(
            "no field value begins or ends with white space (RFC 9113 section 8.2.1)",
        ));
    }
    if request.method() != Method::CONNECT
        && !target.is_some_and(|target| is_target(request.method(), target))
    {
        return Some(Refusal::malformed(":path is a path, or `*` with OPTIONS (RFC 9113 section 8.3.1)"));
    }
    if !has_valid_authority || !has_valid_host(uri.scheme(), uri.authority(), request.headers()) {
        return Some(Refusal::malformed(":authority and Host name the same host (RFC 9113 section 8.3.1)"));
    }
    if uri.scheme().is_some_and(|scheme| !is_ours(scheme, is_secure)) {
        return Some(Refusal::new(
            Reason::Misdirected,
            ":scheme is not this server's (RFC 9110 section 7.4)",
        ));
    }
    // h2 takes a lock to say whether the body has ended.
    if declared_length(request.headers()).is_some_and(|length| length > options.max_body)
        && !request.body().is_end_stream()
    {
        return Some(Refusal::new(Reason::BodyTooLarge, "Content-Length is over max_body"));
    }
    None
}

fn is_padded(value: &HeaderValue) -> bool {
    let is_blank = |byte: Option<&u8>| byte.is_some_and(|byte| matches!(byte, b' ' | b'\t'));
    is_blank(value.as_bytes().first()) || is_blank(value.as_bytes().last())
}

fn is_target(method: &Method, target: &PathAndQuery) -> bool {
    let target = target.as_str();
    is_origin_form(target.as_bytes()) || (target == "*" && *method == Method::OPTIONS)
}

/// RFC 9113 section 8.3.1: a Host beside a valid `:authority` names the same host, and does not contain userinfo. One of
/// the two is required, as in HTTP/1.1 (RFC 9110 section 7.2).
fn has_valid_host(scheme: Option<&Scheme>, authority: Option<&Authority>, headers: &HeaderMap) -> bool {
    let mut hosts = headers.get_all(HOST).iter();
    let (host, another) = (hosts.next(), hosts.next());
    if another.is_some() {
        return false;
    }
    match (authority, host.map(HeaderValue::to_str)) {
        (Some(_), None) => true,
        (Some(authority), Some(Ok(host))) => is_same(scheme, authority.as_str(), host),
        (None, Some(Ok(host))) => is_host(host.as_bytes()),
        (None, None) | (_, Some(Err(_))) => false,
    }
}

fn is_same(scheme: Option<&Scheme>, authority: &str, host: &str) -> bool {
    let port = match scheme {
        Some(scheme) if *scheme == Scheme::HTTPS => ":443",
        _ => ":80",
    };
    let without_port = |name| str::strip_suffix(name, port).unwrap_or(name);
    without_port(authority).eq_ignore_ascii_case(without_port(host))
}

/// Over plain text the scheme may be `https`, too: a proxy that ends TLS in front of us passes on the client's
/// scheme.
fn is_ours(scheme: &Scheme, is_secure: bool) -> bool {
    *scheme == Scheme::HTTPS || (*scheme == Scheme::HTTP && !is_secure)
}

fn declared_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::StatusCode;
    use http::uri::Parts;
    use http_body_util::Full;

    struct Head {
        method: &'static str,
        scheme: &'static str,
        authority: &'static str,
        path: &'static str,
        fields: Vec<(&'static str, String)>,
        #[cfg_attr(not(feature = "tls"), expect(dead_code))]
        is_secure: bool,
    }

    impl Head {
        fn new() -> Self {
            let (method, scheme, authority, path) = ("GET", "http", "localhost", "/");
            Self { method, scheme, authority, path, fields: Vec::new(), is_secure: false }
        }

        fn field(mut self, name: &'static str, value: impl Into<String>) -> Self {
            self.fields.push((name, value.into()));
            self
        }

        /// As h2 makes it.
        fn request(&self) -> Request<Full<bytes::Bytes>> {
            let mut parts = Parts::default();
            if !self.authority.is_empty() {
                parts.authority = Some(self.authority.parse().unwrap());
                parts.scheme = (!self.scheme.is_empty()).then(|| self.scheme.parse().unwrap());
            }
            parts.path_and_query = (!self.path.is_empty()).then(|| self.path.parse().unwrap());
            let mut request =
                Request::builder().method(self.method).uri(http::Uri::from_parts(parts).unwrap());
            for (name, value) in &self.fields {
                request = request.header(*name, value);
            }
            request.body(Full::from("body")).unwrap()
        }

        fn verdict(&self) -> u16 {
            let mut options = ServerOptions::new("test");
            (options.max_headers, options.max_header_size, options.max_body) = (5, 1000, 100);
            let mut request = self.request();
            let size = head_size(&request);
            let known = KnownHost::default();
            let refused = complete(&mut request, size, &options, &known, self.is_secure).err();
            refused.map_or(StatusCode::OK, |refusal| refusal.reason.status()).as_u16()
        }
    }

    #[test]
    fn authority_and_host_name_the_same() {
        let host = |host: &'static str| Head::new().field("host", host).verdict();
        assert_eq!(Head::new().verdict(), 200);
        assert_eq!(host("localhost"), 200);
        assert_eq!(host("LocalHost:80"), 200);
        assert_eq!(host("localhost:443"), 400, "not the port of this scheme");
        assert_eq!(host("evil.example"), 400);
        assert_eq!(host(""), 400);
        assert_eq!(Head::new().field("host", "localhost").field("host", "localhost").verdict(), 400);
        let only = |host: &'static str| Head { authority: "", ..Head::new().field("host", host) }.verdict();
        assert_eq!(only("localhost"), 200);
        assert_eq!(only("user@localhost"), 400);
        assert_eq!(Head { authority: "", ..Head::new() }.verdict(), 400, "neither");
        assert_eq!(Head { authority: "user@localhost", ..Head::new() }.verdict(), 400);
    }

    #[test]
    fn paths_are_checked() {
        let path = |path| Head { path, ..Head::new() }.verdict();
        assert_eq!(path("/a?b|c=[d]"), 200);
        assert_eq!(path("*"), 400);
        assert_eq!(path("?a=b"), 400);
        assert_eq!(path("/café"), 400);
        assert_eq!(Head { method: "OPTIONS", path: "*", ..Head::new() }.verdict(), 200);
        assert_eq!(Head { method: "CONNECT", scheme: "", path: "", ..Head::new() }.verdict(), 200);
    }

    #[test]
    fn schemes_are_checked() {
        let scheme = |scheme, is_secure| Head { scheme, is_secure, ..Head::new() }.verdict();
        assert_eq!((scheme("http", false), scheme("https", false)), (200, 200), "TLS may end in front of us");
        assert_eq!(scheme("ftp", false), 421);
        assert_eq!((scheme("http", true), scheme("https", true)), (421, 200));
    }

    #[test]
    fn heads_have_the_limits_of_http1() {
        let fields = |count| (0..count).fold(Head::new(), |head, _| head.field("a", "v"));
        assert_eq!((fields(5).verdict(), fields(6).verdict()), (200, 431));
        let crumbs = (0..20).fold(Head::new(), |head, _| head.field("cookie", "a=b"));
        assert_eq!(crumbs.verdict(), 200, "one field in pieces");
        assert_eq!(Head::new().field("a", "v".repeat(980)).verdict(), 200);
        assert_eq!(Head::new().field("a", "v".repeat(990)).verdict(), 431);
        let long: &'static str = Box::leak(format!("/{}", "p".repeat(1000)).into_boxed_str());
        assert_eq!(Head { path: long, ..Head::new() }.verdict(), 414);
        assert_eq!(Head::new().field("content-length", "101").verdict(), 413);
        assert_eq!(Head::new().field("a", " v").verdict(), 400);
        assert_eq!(Head::new().field("a", "v\t").verdict(), 400);
        assert_eq!(Head::new().field("a", "").verdict(), 200);
    }

    #[test]
    fn handlers_see_one_cookie_and_a_host() {
        let head = Head::new().field("cookie", "a=1").field("x", "y").field("cookie", "b=2");
        let mut request = head.field("cookie", "c=3").request();
        complete(&mut request, 0, &ServerOptions::new("test"), &KnownHost::default(), false).unwrap();
        let cookies: Vec<_> = request.headers().get_all("cookie").iter().collect();
        assert_eq!(cookies, ["a=1; b=2; c=3"]);
        assert_eq!(request.headers()["host"], "localhost");
    }
}
