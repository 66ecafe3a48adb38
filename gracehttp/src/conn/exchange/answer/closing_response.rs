//! HTTP/1 answers that hyper does not write.

use std::time::SystemTime;

use http::response::Parts;

use crate::conn::cause::Cause;
use crate::conn::exchange::answer::{AnsweredRequest, finish, own};
use crate::conn::info::ConnectionInfo;
use crate::server::Asked;

/// The answer to a request that hyper has not seen whole: the last bytes of its connection.
pub(crate) fn closing_response(info: &ConnectionInfo, asked: &Asked, cause: Cause) -> Vec<u8> {
    let (mut head, body) = own(cause).into_parts();
    let request = AnsweredRequest { info, asked };
    let (mut content, _) = finish(request, cause, true, &mut head, body);
    content.let_go(request);
    info.log_unread(cause.name(), Some(head.status));
    encode(&head)
}

/// A response without content, in HTTP/1.1 even if the request claimed another version (RFC 9110 section 2.5).
fn encode(head: &Parts) -> Vec<u8> {
    let status = head.status;
    let reason = status.canonical_reason().unwrap_or_default();
    let date = httpdate::fmt_http_date(SystemTime::now());
    let mut bytes = format!("HTTP/1.1 {} {reason}\r\n", status.as_str()).into_bytes();
    for (name, value) in &head.headers {
        put(&mut bytes, name.as_str(), value.as_bytes());
    }
    put(&mut bytes, "content-length", b"0");
    put(&mut bytes, "date", date.as_bytes());
    bytes.extend_from_slice(b"\r\n");
    bytes
}

fn put(bytes: &mut Vec<u8>, name: &str, value: &[u8]) {
    for part in [name.as_bytes(), b": ", value, b"\r\n"] {
        bytes.extend_from_slice(part);
    }
}
