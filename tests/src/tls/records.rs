//! The records in a stream of bytes, as far as their headers show them.

use std::collections::BTreeMap;

/// Type, version and length (RFC 8446 section 5.1).
const HEADER: usize = 5;

/// The content types that the outside of a record shows.
const CHANGE_CIPHER_SPEC: u8 = 20;
const HANDSHAKE: u8 = 22;
const APPLICATION_DATA: u8 = 23;

/// A KeyUpdate in a record of TLS 1.3: the message of 5 bytes, the inner type, the tag. No other message of this
/// length comes from a server whose answers are longer.
const KEY_UPDATE: usize = 5 + 1 + 16;

/// Where a record ends, and what its outside says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record {
    /// The content type.
    pub kind: u8,
    /// With its header.
    pub length: usize,
}

impl Record {
    /// The first record of `bytes`, if its header is whole.
    pub fn first(bytes: &[u8]) -> Option<Self> {
        let header = bytes.first_chunk::<HEADER>()?;
        let payload = usize::from(u16::from_be_bytes([header[3], header[4]]));
        Some(Self { kind: header[0], length: HEADER + payload })
    }

    pub(super) fn says_something(&self) -> bool {
        self.kind != CHANGE_CIPHER_SPEC
    }

    /// All records of `bytes`, which ends with one of them.
    pub fn all(mut bytes: &[u8]) -> Vec<Self> {
        let mut records = Vec::new();
        while let Some(record) = Self::first(bytes) {
            bytes = bytes.get(record.length..).expect("a whole record");
            records.push(record);
        }
        assert!(bytes.is_empty(), "half a record header: {bytes:?}");
        records
    }
}

/// The counts of the records that came.
#[derive(Debug, Default)]
pub struct Received {
    /// The header that is not whole yet.
    header: Vec<u8>,
    /// How many bytes of the record after this header are still to come.
    left: usize,
    /// Records by kind and length.
    records: BTreeMap<(u8, usize), u64>,
}

impl Received {
    pub(super) fn see(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let skipped = bytes.len().min(self.left);
            self.left -= skipped;
            bytes = &bytes[skipped..];
            let missing = (HEADER - self.header.len()).min(bytes.len());
            self.header.extend_from_slice(&bytes[..missing]);
            bytes = &bytes[missing..];
            if let Some(record) = Record::first(&self.header) {
                *self.records.entry((record.kind, record.length)).or_default() += 1;
                self.left = record.length - HEADER;
                self.header.clear();
            }
        }
    }

    /// The server's KeyUpdates of TLS 1.3.
    pub fn key_updates(&self) -> u64 {
        self.records.get(&(APPLICATION_DATA, HEADER + KEY_UPDATE)).copied().unwrap_or_default()
    }

    /// The records of handshakes whose headers show it: the ServerHello, and in TLS 1.2 all others.
    pub fn handshakes(&self) -> u64 {
        self.records.iter().filter(|((kind, _), _)| *kind == HANDSHAKE).map(|(_, count)| count).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_count_by_their_outside_however_they_come() {
        let server_hello = [&[HANDSHAKE, 3, 3, 0, 2][..], b"xx"].concat();
        let key_update = [&[APPLICATION_DATA, 3, 3, 0, 22][..], &[7; 22]].concat();
        let data = [&[APPLICATION_DATA, 3, 3, 1, 0][..], &[HANDSHAKE; 256]].concat();
        let all = [&server_hello[..], &key_update, &data, &key_update].concat();
        assert_eq!(Record::all(&all).len(), 4);
        for size in [1, 3, 7, 100, all.len()] {
            let mut received = Received::default();
            all.chunks(size).for_each(|bytes| received.see(bytes));
            assert_eq!((received.handshakes(), received.key_updates()), (1, 2), "pieces of {size}");
        }
    }
}
