//! The forms of request targets (RFC 9112 section 3.2).

use crate::conn::cause::Refusal;
use crate::conn::grammar::bytes::{SCHEME, run};
use crate::conn::grammar::{is_host, is_path_and_query};
use crate::conn::http1::strict::rules::{
    ASTERISK, AUTHORITY, CONNECT_TARGET, FOREIGN_SCHEME, LONG_REQUEST_LINE, TARGET,
};

/// The longest target: `http::Uri` counts in 16 bits.
const LONGEST: usize = (u16::MAX - 1) as usize;

/// Checks a target in one of its four forms: origin, absolute, authority, asterisk.
pub(super) fn judge(method: &[u8], target: &[u8], is_secure: bool) -> Result<(), Refusal> {
    if target.len() > LONGEST {
        return Err(LONG_REQUEST_LINE);
    }
    match (target, method) {
        (_, b"CONNECT") => authority_form(target),
        ([b'/', ..], _) => path_and_query(target),
        (b"*", b"OPTIONS") => Ok(()),
        (b"*", _) => Err(ASTERISK),
        _ => absolute_form(target, is_secure),
    }
}

fn path_and_query(target: &[u8]) -> Result<(), Refusal> {
    if is_path_and_query(target) { Ok(()) } else { Err(TARGET) }
}

fn absolute_form(target: &[u8], is_secure: bool) -> Result<(), Refusal> {
    let (scheme, rest) = target.split_at(run(target, SCHEME));
    let Some(rest) = rest.strip_prefix(b"://") else { return Err(TARGET) };
    if !scheme.first().is_some_and(u8::is_ascii_alphabetic) {
        return Err(TARGET);
    }
    let ours: &[u8] = if is_secure { b"https" } else { b"http" };
    if !scheme.eq_ignore_ascii_case(ours) {
        return Err(FOREIGN_SCHEME);
    }
    let end = rest.iter().position(|byte| matches!(byte, b'/' | b'?' | b'#')).unwrap_or(rest.len());
    let (authority, rest) = rest.split_at(end);
    if !is_host(authority) {
        return Err(AUTHORITY);
    }
    path_and_query(rest)
}

/// A CONNECT with a missing or invalid port is refused (RFC 9110 section 9.3.6).
fn authority_form(target: &[u8]) -> Result<(), Refusal> {
    let has_port = target.last().is_some_and(u8::is_ascii_digit);
    let names_port = match target {
        [b'[', ..] => !target.ends_with(b"]"),
        _ => target.contains(&b':'),
    };
    if has_port && names_port && is_host(target) { Ok(()) } else { Err(CONNECT_TARGET) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(method: &str, target: &str) -> Result<(), Refusal> {
        judge(method.as_bytes(), target.as_bytes(), false)
    }

    #[test]
    fn the_four_forms() {
        for target in ["/", "/a/b?c=d", "/?", "//a", "/%zz", "/a|b", "/{a}?b=[c]", "/a?b?c/d"] {
            assert_eq!(plain("GET", target), Ok(()), "{target}");
        }
        for target in
            ["", "!", "info", "a:80", "/x#y", "/a b", "/caf\u{e9}", "/<a>", "?a", "http:/a", "1http://a"]
        {
            assert_eq!(plain("GET", target), Err(TARGET), "{target}");
        }
        assert_eq!(plain("OPTIONS", "*"), Ok(()));
        assert_eq!(plain("GET", "*"), Err(ASTERISK));
        assert_eq!(plain("CONNECT", "a:80"), Ok(()));
        assert_eq!(plain("CONNECT", "[::1]:80"), Ok(()));
        for target in ["a", "a:", "/", "http://a:80/", "a:x", "[::1]", "u@a:80", "a:99999"] {
            assert_eq!(plain("CONNECT", target), Err(CONNECT_TARGET), "{target}");
        }
    }

    #[test]
    fn the_absolute_form() {
        for target in ["http://a", "HTTP://a:80/b?c", "http://a?b", "http://[::1]:80/"] {
            assert_eq!(plain("GET", target), Ok(()), "{target}");
            assert_eq!(judge(b"GET", target.as_bytes(), true), Err(FOREIGN_SCHEME), "{target}");
        }
        assert_eq!(plain("GET", "https://a/"), Err(FOREIGN_SCHEME));
        assert_eq!(plain("GET", "ftp://a/"), Err(FOREIGN_SCHEME));
        assert_eq!(judge(b"GET", b"https://a/", true), Ok(()));
        for target in ["http://", "http:///a", "http://u@a/", "http://u:p@a/", "http://a:b/", "http://:80/"] {
            assert_eq!(plain("GET", target), Err(AUTHORITY), "{target}");
        }
        assert_eq!(plain("GET", "http://a/x#y"), Err(TARGET));
        assert_eq!(plain("GET", "http://a#y"), Err(TARGET));
    }

    #[test]
    fn valid_targets_are_uris_for_hyper() {
        let long = format!("/{}", "x".repeat(LONGEST - 1));
        let targets =
            ["/", "*", "a:80", "http://a", "http://a?b", "HTTP://A/", "/\"{}|^[]\\", "/?`{}|^[]\\'", &long];
        for target in targets {
            assert!(
                ["GET", "OPTIONS", "CONNECT"].iter().any(|method| plain(method, target).is_ok()),
                "{target}"
            );
            assert!(http::Uri::try_from(target.as_bytes()).is_ok(), "{target}");
        }
        assert_eq!(plain("GET", &format!("{long}x")), Err(LONG_REQUEST_LINE));
    }
}
