use super::*;

const V1: &[u8] = b"PROXY TCP4 192.0.2.1 198.51.100.1 4711 443\r\n";

/// A header of version 2 with the right length and, if asked for, the right checksum.
fn v2(command: u8, family: u8, block: &[u8], tlvs: &[(u8, &[u8])], with_sum: bool) -> Vec<u8> {
    let mut rest = block.to_vec();
    for (kind, value) in tlvs {
        rest.push(*kind);
        rest.extend((value.len() as u16).to_be_bytes());
        rest.extend(*value);
    }
    if with_sum {
        rest.extend([CRC32C, 0, 4, 0, 0, 0, 0]);
    }
    let mut header = SIGNATURE.to_vec();
    header.extend([command, family]);
    header.extend((rest.len() as u16).to_be_bytes());
    header.extend(rest);
    if with_sum {
        let sum = crc32c(&[&header]).to_be_bytes();
        let at = header.len() - 4;
        header[at..].copy_from_slice(&sum);
    }
    header
}

const BLOCK: &[u8] = &[192, 0, 2, 1, 198, 51, 100, 1, 0x12, 0x67, 0x01, 0xbb];

fn source(bytes: &[u8]) -> Option<String> {
    let (header, length) = Header::read(bytes).unwrap().unwrap();
    assert_eq!(length, bytes.len());
    header.addresses.map(|addresses| addresses.source.to_string())
}

#[test]
fn headers_of_both_versions_are_read() {
    assert_eq!(source(V1).as_deref(), Some("192.0.2.1:4711"));
    assert_eq!(source(b"PROXY TCP6 2001:db8::1 ::1 1 0\r\n").as_deref(), Some("[2001:db8::1]:1"));
    assert_eq!(source(b"PROXY TCP6 ::ffff:192.0.2.1 ::1 1 2\r\n").as_deref(), Some("192.0.2.1:1"));
    assert_eq!(source(b"PROXY UNKNOWN\r\n"), None);
    assert_eq!(source(b"PROXY UNKNOWN ffff::1 whatever\r\n"), None);
    assert_eq!(source(&v2(0x21, 0x11, BLOCK, &[], false)).as_deref(), Some("192.0.2.1:4711"));
    assert_eq!(
        source(&v2(0x21, 0x11, BLOCK, &[(2, b"a.example"), (4, b"")], true)).as_deref(),
        Some("192.0.2.1:4711")
    );
    let six = [&[0x20, 1, 0xd, 0xb8][..], &[0; 11], &[1], &[0; 15], &[1], &[0, 80, 0, 81]].concat();
    assert_eq!(source(&v2(0x21, 0x21, &six, &[], true)).as_deref(), Some("[2001:db8::1]:80"));
    for (command, family, block) in
        [(0x20, 0x11, BLOCK), (0x20, 0, &[][..]), (0x21, 0, b"junk"), (0x21, 0x31, &[0; 216])]
    {
        assert_eq!(source(&v2(command, family, block, &[], false)), None);
    }
}

#[test]
fn a_header_is_whole_at_its_last_byte_and_not_before() {
    for header in [V1.to_vec(), v2(0x21, 0x11, BLOCK, &[(2, b"a.example")], true)] {
        for end in 0..header.len() {
            assert_eq!(Header::read(&header[..end]), Ok(None), "{end}");
        }
        let more = [&header[..], b"GET / HTTP/1.1\r\n"].concat();
        assert_eq!(Header::read(&more).unwrap().unwrap().1, header.len());
    }
}

#[test]
fn what_is_no_header_is_refused_as_soon_as_possible() {
    for line in [
        "GET / HTTP/1.1\r\n",
        "PROXX",
        "proxy TCP4",
        "PROXY TCP4 192.0.2.1 198.51.100.1 4711\r\n",
        "PROXY TCP5 1 2 3 4\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.1 4711 443 \r\n",
        "PROXY TCP4  192.0.2.1 198.51.100.1 4711 443\r\n",
        "PROXY TCP4 192.0.2.256 198.51.100.1 4711 443\r\n",
        "PROXY TCP4 ::1 ::1 1 2\r\n",
        "PROXY TCP6 192.0.2.1 ::1 1 2\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.1 65536 443\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.1 +1 443\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.1 01 443\r\n",
        "PROXY \r\n",
        "PROXY TCP4 192.0.2.1\t198.51.100.1 1 2\r\n",
    ] {
        assert!(Header::read(line.as_bytes()).is_err(), "{line}");
    }
    let endless = [b"PROXY UNKNOWN ".to_vec(), vec![b'x'; 200]].concat();
    assert_eq!(Header::read(&endless[..106]), Ok(None));
    assert!(Header::read(&endless[..107]).is_err());
    assert!(Header::read(b"\r\n\r\nGET").is_err());
}

#[test]
fn a_binary_header_that_contradicts_itself_is_refused() {
    let mut wrong_sum = v2(0x21, 0x11, BLOCK, &[], true);
    *wrong_sum.last_mut().unwrap() ^= 1;
    let mut other_address = v2(0x21, 0x11, BLOCK, &[], true);
    other_address[FIXED] ^= 1;
    let mut too_long = v2(0x21, 0x11, BLOCK, &[], false);
    too_long[14] = 0xff;
    let cut = |block: &[u8], family| v2(0x21, family, block, &[], false);
    let cut_tlv = v2(0x21, 0x11, &[BLOCK, &[2, 0, 9, b'x']].concat(), &[], false);
    for header in [
        wrong_sum,
        other_address,
        too_long,
        cut_tlv,
        cut(&BLOCK[..11], 0x11),
        cut(BLOCK, 0x21),
        cut(BLOCK, 0x31),
        cut(BLOCK, 0x12),
        cut(BLOCK, 0x41),
        v2(0x31, 0x11, BLOCK, &[], false),
        v2(0x22, 0x11, BLOCK, &[], false),
        v2(0x21, 0x11, BLOCK, &[(CRC32C, b"123")], false),
        cut(&[BLOCK, &[2, 0]].concat(), 0x11),
    ] {
        assert!(Header::read(&header).is_err(), "{header:?}");
    }
}

#[test]
fn values_are_found_by_their_types() {
    let header = v2(0x21, 0x11, BLOCK, &[(1, b"h2"), (2, b"a.example"), (0xea, b"vpce"), (2, b"b")], false);
    let (header, _) = Header::read(&header).unwrap().unwrap();
    assert_eq!(header.tlv(1), Some(&b"h2"[..]));
    assert_eq!(header.tlv(2), Some(&b"a.example"[..]));
    assert_eq!(header.tlv(0xea), Some(&b"vpce"[..]));
    assert_eq!(header.tlv(5), None);
}
