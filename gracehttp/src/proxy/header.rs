//! The PROXY protocol, versions 1 and 2: a header before everything else on a connection, in which a proxy says for
//! whom it has connected.
//!
//! The reader is our own. The crate `ppp` (2.3.0) calls a header of version 1 malformed that has come up to the space
//! before its last port, and calls `PROXY UNKNOWN a b c d e f` incomplete for as long as bytes come. It takes a port with a
//! plus sign, checks neither a CRC32C nor whether the TLVs are whole, takes headers of datagrams, and refuses a LOCAL
//! header that has a family and no addresses.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::proxy::crc32c::crc32c;

/// What a header of version 2 begins with.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

/// The length of its fixed part.
const FIXED: usize = 16;

/// The longest line of version 1, with its end.
const LONGEST_LINE: usize = 107;

/// The longest rest of a header of version 2. The protocol allows 64 KiB, which no proxy needs.
const LONGEST_REST: usize = 8 << 10;

/// The type of the checksum.
const CRC32C: u8 = 0x03;

/// A whole header.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Header {
    /// None if the proxy speaks for itself, or for a client without an address.
    pub(crate) addresses: Option<Addresses>,
    /// As it was read: a successor reads it again.
    bytes: Box<[u8]>,
    /// Where its TLVs begin. They are checked: type, length, value, one behind the other.
    tlvs_at: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Addresses {
    /// The client.
    pub(crate) source: SocketAddr,
    /// Where the client has connected to.
    pub(crate) destination: SocketAddr,
}

impl Header {
    /// Reads the header at the beginning, and tells how long it is; none if it is not whole yet. An error says why there
    /// is no header.
    pub(crate) fn read(bytes: &[u8]) -> Result<Option<(Self, usize)>, &'static str> {
        let begins_like = |words: &[u8]| {
            let compared = bytes.len().min(words.len());
            bytes[..compared] == words[..compared]
        };
        match () {
            () if begins_like(SIGNATURE) => version_2(bytes),
            () if begins_like(b"PROXY ") => version_1(bytes),
            () => Err("it does not begin with a PROXY header"),
        }
    }

    /// The header as it was read.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The value of the first TLV of this type.
    pub(crate) fn tlv(&self, kind: u8) -> Option<&[u8]> {
        tlvs(&self.bytes[self.tlvs_at..])
            .find_map(|tlv| tlv.filter(|(found, _)| *found == kind))
            .map(|(_, value)| value)
    }
}

/// `PROXY TCP4 192.0.2.1 198.51.100.1 4711 443\r\n`.
fn version_1(bytes: &[u8]) -> Result<Option<(Header, usize)>, &'static str> {
    let seen = &bytes[..bytes.len().min(LONGEST_LINE)];
    let Some(end) = seen.windows(2).position(|pair| pair == b"\r\n") else {
        return if seen.len() == LONGEST_LINE { Err("its line is too long") } else { Ok(None) };
    };
    let line = str::from_utf8(&seen[..end]).map_err(|_| "its line is no text")?;
    let addresses = match line.split(' ').skip(1).collect::<Vec<_>>()[..] {
        // What follows means nothing.
        ["UNKNOWN", ..] => None,
        ["TCP4", source, destination, from, to] => {
            Some(addresses::<Ipv4Addr>(source, destination, from, to).ok_or("its addresses are malformed")?)
        }
        ["TCP6", source, destination, from, to] => {
            Some(addresses::<Ipv6Addr>(source, destination, from, to).ok_or("its addresses are malformed")?)
        }
        _ => return Err("its line is malformed"),
    };
    let length = end + 2;
    Ok(Some((Header { addresses, bytes: bytes[..length].into(), tlvs_at: length }, length)))
}

fn addresses<A: std::str::FromStr + Into<IpAddr>>(
    source: &str,
    destination: &str,
    from: &str,
    to: &str,
) -> Option<Addresses> {
    let address = |ip: &str, port: &str| Some(canonical(ip.parse::<A>().ok()?.into(), self::port(port)?));
    Some(Addresses { source: address(source, from)?, destination: address(destination, to)? })
}

/// Decimal, without zeros before it.
fn port(text: &str) -> Option<u16> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    text.parse().ok().filter(|_| is_plain)
}

fn version_2(bytes: &[u8]) -> Result<Option<(Header, usize)>, &'static str> {
    let Some((fixed, rest)) = bytes.split_at_checked(FIXED) else { return Ok(None) };
    let length = usize::from(u16::from_be_bytes([fixed[14], fixed[15]]));
    let is_local = match fixed[12] {
        0x20 => true,
        0x21 => false,
        _ => return Err("its version or command is unknown"),
    };
    if length > LONGEST_REST {
        return Err("it is too long");
    }
    let Some(rest) = rest.get(..length) else { return Ok(None) };
    // A proxy that speaks for itself may fill in anything.
    let (addresses, tlv_block) = match fixed[13] {
        _ if is_local => (None, rest),
        // TCP over IPv4.
        0x11 => {
            let (block, rest) = rest.split_first_chunk::<12>().ok_or("its addresses are cut off")?;
            let ip = |at: usize| Ipv4Addr::new(block[at], block[at + 1], block[at + 2], block[at + 3]).into();
            (Some(in_block(block, ip(0), ip(4))), rest)
        }
        // TCP over IPv6.
        0x21 => {
            let (block, rest) = rest.split_first_chunk::<36>().ok_or("its addresses are cut off")?;
            let ip =
                |at: usize| IpAddr::V6(<[u8; 16]>::try_from(&block[at..at + 16]).unwrap_or_default().into());
            (Some(in_block(block, ip(0), ip(16))), rest)
        }
        // A Unix socket: two paths of 108 bytes.
        0x31 => (None, rest.get(216..).ok_or("its addresses are cut off")?),
        // Without a family, the length of what stands there is not known.
        0x00 => (None, rest),
        _ => return Err("its family or transport is not that of a connection"),
    };
    let length = FIXED + length;
    let is_opaque = is_local || fixed[13] == 0x00;
    if !is_opaque {
        check_tlvs(&bytes[..length], tlv_block)?;
    }
    let tlvs_at = if is_opaque { length } else { length - tlv_block.len() };
    Ok(Some((Header { addresses, bytes: bytes[..length].into(), tlvs_at }, length)))
}

/// Both ports are at the end of the block.
fn in_block(block: &[u8], source: IpAddr, destination: IpAddr) -> Addresses {
    let port = |from_end: usize| {
        let at = block.len() - from_end;
        u16::from_be_bytes([block[at], block[at + 1]])
    };
    Addresses { source: canonical(source, port(4)), destination: canonical(destination, port(2)) }
}

fn canonical(ip: IpAddr, port: u16) -> SocketAddr {
    SocketAddr::new(ip.to_canonical(), port)
}

/// The TLVs of a block, and at the end none if one is cut off.
pub(crate) fn tlvs(mut block: &[u8]) -> impl Iterator<Item = Option<(u8, &[u8])>> {
    std::iter::from_fn(move || {
        let (kind, length) = match *block {
            [] => return None,
            [kind, high, low, ..] => (kind, usize::from(u16::from_be_bytes([high, low]))),
            _ => (0, usize::MAX),
        };
        let Some(value) = block.get(3..).and_then(|rest| rest.get(..length)) else {
            block = &[];
            return Some(None);
        };
        block = &block[3 + length..];
        Some(Some((kind, value)))
    })
}

/// Whether all TLVs are whole, and the checksum is right if there is one.
fn check_tlvs(header: &[u8], block: &[u8]) -> Result<(), &'static str> {
    let mut at = header.len() - block.len();
    for tlv in tlvs(block) {
        let (kind, value) = tlv.ok_or("one of its TLVs is cut off")?;
        if kind == CRC32C {
            let expected: [u8; 4] = value.try_into().map_err(|_| "its checksum has a wrong length")?;
            let place = at + 3;
            let sum = crc32c(&[&header[..place], &[0; 4], &header[place + 4..]]);
            if sum != u32::from_be_bytes(expected) {
                return Err("its checksum is wrong");
            }
        }
        at += 3 + value.len();
    }
    Ok(())
}

#[cfg(test)]
#[path = "header_tests.rs"]
mod tests;
