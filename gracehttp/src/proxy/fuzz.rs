//! What a client, or a proxy, may say. For the fuzz targets `proxy_headers` and `forwarded_fields`.

use http::header::FORWARDED;
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::proxy::header::tlvs;
use crate::proxy::{BelievedFields, Header, Network, Networks, Node, Said, read, ssl, x_forwarded};

/// The longest header of version 2.
const LONGEST: usize = 16 + (8 << 10);

/// Up to this length, every split of the bytes is tried.
const SPLITS: usize = 300;

/// Reads the beginning of a connection, and panics unless a header is whole at its last byte and not before, and is the
/// same when it is read again, as in a successor.
pub(crate) fn read_header(bytes: &[u8]) {
    let whole = Header::read(bytes);
    let length = match &whole {
        Ok(Some((header, length))) => {
            look_at(header);
            assert!(*length <= LONGEST && header.bytes() == &bytes[..*length]);
            let again = Header::read(header.bytes()).expect("it was read").expect("it is whole");
            assert_eq!((&again.0, again.1), (header, *length));
            *length
        }
        Ok(None) => {
            assert!(bytes.len() < LONGEST, "nothing else could come");
            bytes.len()
        }
        Err(_) => 0,
    };
    for end in 0..length.min(SPLITS) {
        assert_eq!(Header::read(&bytes[..end]), Ok(None), "{end}");
    }
    if length == 0 {
        for end in 0..bytes.len().min(SPLITS) {
            assert!(!matches!(Header::read(&bytes[..end]), Ok(Some(_))), "{end}");
        }
    }
}

fn look_at(header: &Header) {
    for kind in 0..=u8::MAX {
        header.tlv(kind).into_iter().flat_map(tlvs).for_each(drop);
    }
    if let Some(ssl) = ssl(header) {
        for kind in 0x20..0x30 {
            ssl.text(kind);
        }
        ssl.is_verified();
    }
}

/// Reads the fields of a request that a trusted proxy has sent, one a line. The first byte says which fields count, that
/// of each line which field it is. Panics if what a client has sent before them changes who the client is.
pub(crate) fn read_fields(script: &[u8]) {
    let Some((&choice, lines)) = script.split_first() else { return };
    let believed = [
        &["forwarded"][..],
        &["x-forwarded-for"],
        &["x-forwarded-for", "x-forwarded-proto"],
        &["x-forwarded-for", "x-forwarded-proto", "x-forwarded-host"],
    ][usize::from(choice % 4)];
    let believed = BelievedFields::read(believed.iter().copied()).expect("a set that is valid");
    let clients = if believed == BelievedFields::Forwarded { FORWARDED } else { x_forwarded::FOR };
    let trusted: Networks = ["10.0.0.0/8", "2001:db8::/32"]
        .into_iter()
        .map(|network| network.parse::<Network>().expect("a network"))
        .collect();
    let mut lines = lines.split(|&byte| byte == b'\n');
    let junk = lines.next().unwrap_or_default();
    let fields: Vec<(HeaderName, HeaderValue)> = lines.filter_map(field).collect();
    let said = said(&fields, &believed, &trusted);
    // Only where the proxies name a client that is not one of them.
    let is_found = match said.0 {
        Some(Node::Address { ip, .. }) => !trusted.contains_ip(ip),
        Some(Node::Hidden | Node::Unix) => true,
        None => false,
    };
    let Ok(junk) = HeaderValue::from_bytes(junk) else { return };
    if !is_found {
        return;
    }
    let before = [vec![(clients.clone(), junk.clone())], fields.clone()].concat();
    assert_eq!(self::said(&before, &believed, &trusted), said, "in a field of its own");
    let mut in_one = fields;
    let Some((_, first)) = in_one.iter_mut().find(|(name, _)| *name == clients) else { return };
    let joined = [junk.as_bytes(), b", ", first.as_bytes()].concat();
    *first = HeaderValue::from_bytes(&joined).expect("both were valid");
    assert_eq!(self::said(&in_one, &believed, &trusted), said, "in the same field");
}

fn field(line: &[u8]) -> Option<(HeaderName, HeaderValue)> {
    let (&kind, value) = line.split_first()?;
    let name =
        [FORWARDED, x_forwarded::FOR, x_forwarded::PROTO, x_forwarded::HOST][usize::from(kind % 4)].clone();
    Some((name, HeaderValue::from_bytes(value).ok()?))
}

type Words = (Option<Node>, Option<crate::proxy::Scheme>, Option<String>);

fn said(fields: &[(HeaderName, HeaderValue)], believed: &BelievedFields, trusted: &Networks) -> Words {
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        headers.append(name, value.clone());
    }
    let Said { client, scheme, host } = read(&headers, believed, trusted);
    (client, scheme, host.map(std::borrow::Cow::into_owned))
}
