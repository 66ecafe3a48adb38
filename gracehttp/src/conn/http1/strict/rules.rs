//! The rules, one row each: what is refused, for which reason, and by which section of which RFC.

use crate::conn::cause::{Reason, Refusal};

/// One row: the rule's name, the reason, which has the status, and the text for the log.
macro_rules! rules {
    ($($name:ident $reason:ident $rule:literal;)*) => {
        $(pub(super) const $name: Refusal = Refusal::new(Reason::$reason, $rule);)*

        /// All of them.
        #[cfg(test)]
        pub(super) const ALL: &[(&str, Refusal)] = &[$((stringify!($name), $name)),*];
    };
}

rules! {
    // The bytes of a head.
    BARE_CR             Malformed       "a line ends with CRLF, never with CR alone (RFC 9112 section 2.2)";
    BARE_LF             Malformed       "a line ends with CRLF, never with LF alone (RFC 9112 section 2.2)";
    CONTROL_CHARACTER   Malformed       "a head has no control characters (RFC 9110 section 5.5)";

    // The request line.
    REQUEST_LINE        Malformed       "a request begins with a method, a space and a target (RFC 9112 section 3)";
    VERSION             Malformed       "a request line ends with HTTP/1.1 or HTTP/1.0 (RFC 9112 section 2.3)";
    LONG_REQUEST_LINE   TargetTooLong   "the request line is over max_header_size (RFC 9112 section 3)";
    TARGET              Malformed       "a target is a path or a URI, without spaces, fragment or bytes above 0x7e (RFC 9112 section 3.2)";
    AUTHORITY           Malformed       "the authority of a target is a host, perhaps with a port, without userinfo (RFC 9110 section 4.2.4)";
    FOREIGN_SCHEME      Misdirected     "the target's scheme is not this server's (RFC 9110 section 7.4)";
    ASTERISK            Malformed       "only OPTIONS asks for `*` (RFC 9112 section 3.2.4)";
    CONNECT_TARGET      Malformed       "CONNECT names a host and a port, and nothing else (RFC 9112 section 3.2.3)";

    // The fields.
    FOLDED_LINE         Malformed       "a field is one line and does not begin with a space (RFC 9112 section 5.2)";
    FIELD_NAME          Malformed       "a field has a name, and its colon follows at once (RFC 9112 section 5.1)";
    LONG_HEAD           HeadTooLarge    "the head is over max_header_size (RFC 6585 section 5)";
    MANY_FIELDS         HeadTooLarge    "the head has more fields than max_headers (RFC 6585 section 5)";
    NO_HOST             Malformed       "HTTP/1.1 needs a Host (RFC 9112 section 3.2)";
    SECOND_HOST         Malformed       "a request has only one Host (RFC 9112 section 3.2)";
    HOST                Malformed       "Host is a host, perhaps with a port (RFC 9112 section 3.2)";

    // How the body ends.
    CONTENT_LENGTH      Malformed       "Content-Length is a number below 2^63, in digits alone (RFC 9110 section 8.6)";
    SECOND_LENGTH       Malformed       "a request has only one Content-Length (RFC 9112 section 6.3)";
    LENGTH_AND_CODING   Malformed       "Content-Length and Transfer-Encoding exclude each other (RFC 9112 section 6.1)";
    SECOND_CODING       Malformed       "`chunked` is applied once (RFC 9112 section 6.1)";
    UNKNOWN_CODING      NotImplemented  "`chunked` is the only transfer coding here (RFC 9112 section 6.1)";
    NOT_CHUNKED_LAST    Malformed       "`chunked` is the last transfer coding (RFC 9112 section 6.3)";
    CODING_OF_HTTP_1_0  Malformed       "HTTP/1.0 has no transfer codings (RFC 9112 section 6.1)";
    LARGE_BODY          BodyTooLarge    "Content-Length is over max_body (RFC 9110 section 15.5.14)";

    // Chunks.
    CHUNK_SIZE          Malformed       "a chunk's size has 1 to 16 hexadecimal digits (RFC 9112 section 7.1)";
    CHUNK_EXTENSION     Malformed       "a chunk extension is `;name`, `;name=value` or `;name=\"value\"` (RFC 9112 section 7.1.1)";
    LONG_EXTENSIONS     Malformed       "the chunk extensions are over 8 KiB (RFC 9112 section 7.1.1)";
    CHUNK_END           Malformed       "CRLF follows a chunk's data (RFC 9112 section 7.1)";
    TRAILER             Malformed       "a trailer section is fields, and ends with CRLF (RFC 9112 section 7.1.2)";
    LONG_TRAILERS       Malformed       "the trailers are over 8 KiB or max_headers (RFC 9112 section 7.1.2)";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rule_names_its_rfc_section() {
        for (name, refusal) in ALL {
            assert!(
                refusal.rule.ends_with(')') && refusal.rule.contains("(RFC "),
                "{name}: {}",
                refusal.rule
            );
        }
    }
}
