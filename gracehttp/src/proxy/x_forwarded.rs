//! The fields `X-Forwarded-For`, `-Proto` and `-Host`.

use std::borrow::Cow;

use http::{HeaderMap, HeaderName};

use crate::proxy::backwards::elements;
use crate::proxy::believed::XFields;
use crate::proxy::{Networks, Node, Said, Scheme, first_untrusted};

pub(super) const FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
pub(super) const PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
pub(super) const HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// What the trusted proxies say in the fields that they are known to set.
pub(super) fn read<'a>(headers: &'a HeaderMap, fields: XFields, trusted: &Networks) -> Said<'a> {
    let nodes = elements(headers, &FOR).map(|element| Node::read_x(str::from_utf8(element).ok()?));
    let found = fields.client.then(|| first_untrusted(nodes, trusted)).flatten();
    let (place, client) = found.unzip();
    let place = place.unwrap_or(0);
    Said {
        client,
        scheme: fields.scheme.then(|| at(headers, &PROTO, place)).flatten().and_then(Scheme::read),
        host: fields.host.then(|| at(headers, &HOST, place)).flatten().map(Cow::Borrowed),
    }
}

/// The value that belongs to the client at this place from the end.
///
/// Most proxies set one value, and those behind them leave it alone. Others append theirs, as they do to the
/// clients: then the values before that place are the client's own.
fn at<'a>(headers: &'a HeaderMap, name: &HeaderName, place: usize) -> Option<&'a str> {
    let value = elements(headers, name).take(place + 1).last()?;
    str::from_utf8(value).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy::networks::Network;
    use http::HeaderValue;

    const ALL: XFields = XFields { client: true, scheme: true, host: true };

    fn said(fields: XFields, lines: &[(HeaderName, &str)]) -> (Option<Node>, Option<Scheme>, Option<String>) {
        let trusted = ["10.0.0.0/8", "2001:db8::/32"].map(|network| network.parse::<Network>().unwrap());
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        let Said { client, scheme, host } = read(&headers, fields, &trusted.into_iter().collect());
        (client, scheme, host.map(Cow::into_owned))
    }

    fn client(lines: &[&str]) -> Option<String> {
        let lines: Vec<_> = lines.iter().map(|line| (FOR, *line)).collect();
        said(ALL, &lines).0.map(|client| match client {
            Node::Hidden => "hidden".to_owned(),
            Node::Unix => "unix".to_owned(),
            Node::Address { ip, .. } => ip.to_string(),
        })
    }

    #[test]
    fn the_client_is_the_first_from_the_right_that_is_no_trusted_proxy() {
        let is = |lines: &[&str], expected| assert_eq!(client(lines).as_deref(), expected, "{lines:?}");
        is(&["192.0.2.1"], Some("192.0.2.1"));
        is(&["6.6.6.6, 192.0.2.1"], Some("192.0.2.1"));
        is(&["6.6.6.6, 192.0.2.1, 10.0.0.1"], Some("192.0.2.1"));
        is(&["6.6.6.6, 192.0.2.1", "2001:db8::7", "10.0.0.1"], Some("192.0.2.1"));
        is(&["6.6.6.6,192.0.2.1:4711,[2001:db8::7]:80"], Some("192.0.2.1"));
        is(&["10.0.0.9, 10.0.0.1"], Some("10.0.0.9"));
        is(&["::ffff:192.0.2.1, ::ffff:10.0.0.1"], Some("192.0.2.1"));
        is(&["nonsense, \", 192.0.2.1"], Some("192.0.2.1"));
        is(&["192.0.2.1, unknown"], Some("hidden"));
        is(&["192.0.2.1, nonsense"], None);
        is(&["192.0.2.1, nonsense, 10.0.0.1"], None);
        is(&[""], None);
        is(&[], None);
    }

    /// As nginx names one behind another that it reaches over a Unix socket.
    #[test]
    fn a_unix_socket_in_the_chain_is_trusted_if_it_is_listed() {
        let client = |line: &str, trusted: &[&str]| {
            let trusted = trusted.iter().map(|network| network.parse::<Network>().unwrap()).collect();
            let headers = [(FOR, HeaderValue::from_str(line).unwrap())].into_iter().collect();
            read(&headers, ALL, &trusted).client
        };
        let address = |ip: &str| Some(Node::Address { ip: ip.parse().unwrap(), port: None });
        assert_eq!(client("192.0.2.1, unix:", &["127.0.0.1", "unix"]), address("192.0.2.1"));
        assert_eq!(client("192.0.2.1, unix:", &["127.0.0.1"]), Some(Node::Unix));
        assert_eq!(client("unix:", &["127.0.0.1", "unix"]), Some(Node::Unix));
        assert_eq!(client("192.0.2.1, unix", &["unix"]), None);
    }

    #[test]
    fn scheme_and_host_belong_to_the_client() {
        let lines = |proto, host| [(FOR, "6.6.6.6, 192.0.2.1, 10.0.0.1"), (PROTO, proto), (HOST, host)];
        let is = |proto, host, scheme, expected: Option<&str>| {
            let (_, found, host) = said(ALL, &lines(proto, host));
            assert_eq!((found, host.as_deref()), (scheme, expected), "{proto}");
        };
        // One proxy has set it.
        is("https", "example.com", Some(Scheme::Https), Some("example.com"));
        // Both have appended, behind what the client has sent.
        is("http, https, http", "evil, example.com, inner", Some(Scheme::Https), Some("example.com"));
        is("gopher", "", None, None);
    }

    /// Otherwise a client could say what its proxy does not say.
    #[test]
    fn fields_that_the_proxy_does_not_set_are_not_believed() {
        let lines = [(FOR, "192.0.2.1"), (PROTO, "https"), (HOST, "evil")];
        let none = XFields { client: false, scheme: false, host: false };
        assert_eq!(said(none, &lines), (None, None, None));
        assert_eq!(said(XFields { scheme: true, ..none }, &lines), (None, Some(Scheme::Https), None));
    }
}
