//! What RFC 9113 forbids and h2 lets pass. What there is of HTTP/1 to refuse, the strict reader refuses before hyper
//! sees it.

use http::header::CONTENT_LENGTH;
use http::{HeaderMap, Request, Version};
use http_body::Body;

use crate::conn::answer::{Reason, Refusal};

/// Why a request is refused before any handler sees it.
pub(crate) fn refuse<B: Body>(request: &Request<B>, max_body: u64) -> Option<Refusal> {
    if request.version() < Version::HTTP_2 || request.body().is_end_stream() {
        return None;
    }
    let is_too_large = declared_length(request.headers()).is_some_and(|length| length > max_body);
    is_too_large.then_some(Refusal::new(Reason::BodyTooLarge, "Content-Length is over max_body"))
}

fn declared_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::Full;

    fn verdict(version: Version, length: &str) -> Option<Reason> {
        let request = Request::builder().version(version).header(CONTENT_LENGTH, length);
        let request = request.body(Full::<bytes::Bytes>::from("a body")).unwrap();
        refuse(&request, 100).map(|refusal| refusal.reason)
    }

    #[test]
    fn a_declared_length_over_the_limit_is_refused_at_once() {
        assert_eq!(verdict(Version::HTTP_2, "100"), None);
        assert_eq!(verdict(Version::HTTP_2, "101"), Some(Reason::BodyTooLarge));
        assert_eq!(verdict(Version::HTTP_11, "101"), None, "the reader does that");
    }
}
