//! Handshake messages after the handshake. A client can send two kinds: a KeyUpdate in TLS 1.3 (RFC 8446 section 4.6.3),
//! and in TLS 1.2 a ClientHello, which asks for a renegotiation (RFC 5246 section 7.4.1.2).

use crate::record::alert::Fault;
use crate::record::suite::Version;

const CLIENT_HELLO: u8 = 1;
const KEY_UPDATE: u8 = 24;

const HEADER_LENGTH: usize = 4;

/// Our KeyUpdate. It does not ask for one in return: the client itself knows how long it may use its key.
pub(super) const OUR_KEY_UPDATE: [u8; 5] = [KEY_UPDATE, 0, 0, 1, 0];

/// A whole message.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Message {
    /// With the value of `request_update`.
    KeyUpdate(u8),
    ClientHello,
}

/// A message of which some bytes have come. A message can be spread over records (RFC 8446 section 5.1). Its body is not
/// kept: that of a KeyUpdate has one byte, and each ClientHello is refused.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct CutMessage {
    header: [u8; HEADER_LENGTH],
    /// How many bytes of the header have come.
    came: u8,
    /// How many bytes of the body have not come. Above 0 if the header is whole.
    missing: u16,
}

impl CutMessage {
    /// A message of which so much of the header has come, and whose body lacks so many bytes. None if both together
    /// make no sense.
    pub(crate) fn new(header: &[u8], missing: u16) -> Option<Self> {
        if header.len() > HEADER_LENGTH || (header.len() == HEADER_LENGTH) != (missing > 0) {
            return None;
        }
        let mut message = Self { came: header.len() as u8, missing, ..Self::default() };
        message.header[..header.len()].copy_from_slice(header);
        Some(message)
    }

    /// What has come of the header.
    pub(crate) fn header(&self) -> &[u8] {
        &self.header[..self.came.into()]
    }

    /// How many bytes of the body have not come; 0 while the header is not whole.
    pub(crate) fn missing(&self) -> u16 {
        self.missing
    }

    /// Whether anything has come.
    pub(super) fn has_begun(&self) -> bool {
        self.came > 0
    }

    /// Takes bytes from the beginning of `content` up to the end of the message. Returns the message once it is whole. A
    /// message that no client may send is refused when its header is whole.
    pub(super) fn take(&mut self, content: &mut &[u8], version: Version) -> Result<Option<Message>, Fault> {
        while usize::from(self.came) < HEADER_LENGTH {
            let Some((&byte, rest)) = content.split_first() else { return Ok(None) };
            *content = rest;
            self.header[usize::from(self.came)] = byte;
            self.came += 1;
            if usize::from(self.came) == HEADER_LENGTH {
                self.missing = body_length(self.header, version)?;
            }
        }
        let (body, rest) = content.split_at(content.len().min(self.missing.into()));
        *content = rest;
        self.missing -= body.len() as u16;
        if self.missing > 0 {
            return Ok(None);
        }
        let message = match (self.header[0], body) {
            (KEY_UPDATE, &[value]) => Message::KeyUpdate(value),
            _ => Message::ClientHello,
        };
        *self = Self::default();
        Ok(Some(message))
    }
}

/// The length of the body of a message that a client may send.
fn body_length([kind, length @ ..]: [u8; HEADER_LENGTH], version: Version) -> Result<u16, Fault> {
    match (version, kind, length) {
        (Version::Tls13, KEY_UPDATE, [0, 0, 1]) => Ok(1),
        (Version::Tls13, KEY_UPDATE, _) => Err(Fault::decode_error("the length of a KeyUpdate is not 1")),
        (Version::Tls12, CLIENT_HELLO, [0, high, low]) if [high, low] != [0, 0] => {
            Ok(u16::from_be_bytes([high, low]))
        }
        (Version::Tls12, CLIENT_HELLO, _) => Err(Fault::decode_error("a ClientHello of impossible length")),
        _ => Err(Fault::unexpected_message("a message of the handshake after its end")),
    }
}
