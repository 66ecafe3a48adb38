//! The handshake of a connection, by rustls, and what the record layer takes over from it.
//!
//! Extracting the secrets of a rustls connection discards what is in its buffers, without an error. So rustls gets one
//! record at a time, and none after the one that ends the handshake. It never holds a byte of the application.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

use tokio::io::{AsyncRead as _, AsyncReadExt as _, AsyncWrite as _, AsyncWriteExt as _, ReadBuf};
use tokio_rustls::rustls::server::Acceptor;
use tokio_rustls::rustls::{AlertDescription, Error as TlsError, HandshakeKind, ServerConnection};

use crate::log;
use crate::record::{
    Alpn, ClientChain, Established, Facts, Fault, HEADER_LENGTH, MAX_SEALED_LENGTH, NotEstablished, Session,
};
use crate::socket::{BareStream, SecureStream};
use crate::tls::acceptor::TlsAcceptor;
use crate::tls::challenges;
use crate::tls::failure::Refusal;
use crate::tls::key_log::ConnectionKeyLog;
use crate::tls::resolver::{HandshakeResolver, Refused};

/// The content type of a ChangeCipherSpec (RFC 5246 section 6.2.1).
const CHANGE_CIPHER_SPEC: u8 = 20;

/// The first size of the input buffer: enough for most ClientHellos.
const SMALL: usize = 4 << 10;

/// The most bytes that are read of a client that was refused.
const DISCARDED: usize = 64 << 10;

/// The record of the fatal alert `unrecognized_name` (RFC 6066 section 3). It is sent in answer to a ClientHello, so it is
/// not encrypted.
const UNRECOGNIZED_NAME: [u8; 7] = [21, 3, 3, 0, 2, 2, 112];

/// Why a client is refused that sends something else than a TLS record.
const NO_RECORD: &str = "the client sent no TLS record; it may speak plain HTTP";

/// Makes a TLS session of a socket. If that fails, the client is sent the alert that says why.
///
/// `ahead` is what was read of it already.
pub(crate) async fn handshake(
    acceptor: &TlsAcceptor,
    mut bare: BareStream,
    ahead: &[u8],
) -> io::Result<SecureStream> {
    let mut input = Vec::with_capacity(SMALL.max(ahead.len()));
    input.extend_from_slice(ahead);
    let key_log = Arc::new(ConnectionKeyLog::default());
    let presented = acceptor.presented();
    let (config, resolver) =
        match presented.awaits_authority() && is_of_authority(&mut bare, &mut input).await? {
            true => presented.for_authority(key_log.clone()).map_err(io::Error::other)?,
            false => presented.for_handshake(key_log.clone()),
        };
    let rustls = ServerConnection::new(config).map_err(io::Error::other)?;
    let mut handshake = Handshake { bare, rustls, resolver, input, after_change: 0 };
    handshake.run().await?;
    if handshake.rustls.alpn_protocol() == Some(challenges::PROTOCOL) {
        handshake.rustls.send_close_notify();
        handshake.send().await?;
        return Err(io::Error::other(Refusal::Challenge));
    }
    let client = handshake.client();
    let Handshake { mut bare, rustls, input, after_change, resolver: _ } = handshake;
    match client {
        Ok(client) => {
            let session = Session::new(take_over(rustls, &key_log, after_change, client)?);
            Ok(SecureStream::new(bare, session, input))
        }
        // To rustls the handshake is complete, so it sends no alert.
        Err(error) => {
            let mut session = Session::new(take_over(rustls, &key_log, after_change, None)?);
            let mut alert = Vec::new();
            session.seal_alert(&Fault::refused_certificate(alert_of(&error)), &mut alert);
            send_alert(&mut bare, &alert).await;
            Err(io::Error::new(io::ErrorKind::InvalidData, error))
        }
    }
}

/// Whether a client is an authority that looks at a challenge. Its ClientHello says so, which is read and stays in the input.
async fn is_of_authority(bare: &mut BareStream, input: &mut Vec<u8>) -> io::Result<bool> {
    let mut reader = Acceptor::default();
    let mut given = 0;
    loop {
        let mut new = &input[given..];
        while !new.is_empty() {
            if reader.read_tls(&mut new).is_err() {
                return Ok(false);
            }
            match reader.accept() {
                Ok(Some(accepted)) => return Ok(challenges::is_challenge(&accepted.client_hello())),
                Ok(None) => {}
                // The handshake finds the same fault, and answers it.
                Err(_) => return Ok(false),
            }
        }
        given = input.len();
        if bare.read_buf(input).await? == 0 {
            return Ok(false);
        }
    }
}

/// A handshake under way.
struct Handshake {
    bare: BareStream,
    rustls: ServerConnection,
    resolver: Arc<HandshakeResolver>,
    /// What was read and rustls has not got yet.
    input: Vec<u8>,
    /// How many records rustls has got since the client's last ChangeCipherSpec.
    after_change: u64,
}

/// What the input begins with.
#[derive(Debug, PartialEq, Eq)]
enum Next {
    /// A record of so many bytes.
    Record(usize),
    /// The beginning of a record of at least so many bytes.
    Part(usize),
    /// No record.
    Other,
}

impl Handshake {
    async fn run(&mut self) -> io::Result<()> {
        loop {
            self.send().await?;
            if !self.rustls.is_handshaking() {
                return Ok(());
            }
            match self.read_record().await? {
                Next::Record(length) => {
                    self.count_record();
                    self.feed(length).await?;
                }
                Next::Part(_) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Next::Other => {
                    // rustls chooses the alert that refuses it.
                    let _ = self.feed(self.input.len()).await;
                    return Err(io::Error::new(io::ErrorKind::InvalidData, NO_RECORD));
                }
            }
        }
    }

    /// The certificates that the client has shown, verified. When a session is resumed, rustls verifies none, so this does.
    fn client(&self) -> Result<Option<Arc<ClientChain>>, TlsError> {
        let Some(clients) = self.resolver.clients() else { return Ok(None) };
        let chain = self.rustls.peer_certificates();
        if self.rustls.handshake_kind() == Some(HandshakeKind::Resumed) {
            clients.verify_again(chain)?;
        }
        Ok(chain.and_then(|chain| ClientChain::new(chain.to_vec())).map(Arc::new))
    }

    /// Sends all that rustls has to send.
    async fn send(&mut self) -> io::Result<()> {
        let output = self.output()?;
        self.bare.write_all(&output).await
    }

    fn output(&mut self) -> io::Result<Vec<u8>> {
        let mut output = Vec::new();
        while self.rustls.wants_write() {
            self.rustls.write_tls(&mut output)?;
        }
        Ok(output)
    }

    /// Reads until a record is whole, or can't become whole.
    async fn read_record(&mut self) -> io::Result<Next> {
        loop {
            let next = next(&self.input);
            let Next::Part(needed) = next else { return Ok(next) };
            self.input.reserve(needed - self.input.len());
            if self.bare.read_buf(&mut self.input).await? == 0 {
                return Ok(next);
            }
        }
    }

    /// Counts the record at the beginning of the input.
    fn count_record(&mut self) {
        self.after_change = match self.input.first() {
            Some(&CHANGE_CIPHER_SPEC) => 0,
            _ => self.after_change + 1,
        };
    }

    /// Gives rustls the first bytes of the input.
    async fn feed(&mut self, length: usize) -> io::Result<()> {
        let mut record = &self.input[..length];
        while !record.is_empty() {
            if self.rustls.read_tls(&mut record)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        self.input.drain(..length);
        let Err(error) = self.rustls.process_new_packets() else { return Ok(()) };
        match self.resolver.refused() {
            Some(refused) => {
                // rustls would send `access_denied`.
                send_alert(&mut self.bare, &UNRECOGNIZED_NAME).await;
                let name = self.rustls.server_name().map(str::to_owned);
                let refusal = match refused {
                    Refused::Name => Refusal::UnknownName(name),
                    Refused::Challenge => Refusal::UnexpectedChallenge(name),
                };
                Err(io::Error::new(io::ErrorKind::InvalidData, refusal))
            }
            None => {
                if let Ok(alert) = self.output() {
                    send_alert(&mut self.bare, &alert).await;
                }
                Err(io::Error::new(io::ErrorKind::InvalidData, error))
            }
        }
    }
}

/// Sends the alert about a fault of the client, as far as there is room for it, and reads what the client has sent
/// meanwhile: a socket that is closed with unread bytes is reset, and the client might never see the alert.
async fn send_alert(bare: &mut BareStream, alert: &[u8]) {
    let mut bare = Pin::new(bare);
    let mut scratch = vec![0; SMALL];
    poll_fn(|cx| {
        let _ = bare.as_mut().poll_write(cx, alert);
        for _ in 0..DISCARDED / SMALL {
            let mut read = ReadBuf::new(&mut scratch);
            let is_read = matches!(bare.as_mut().poll_read(cx, &mut read), Poll::Ready(Ok(())));
            if !is_read || read.filled().is_empty() {
                break;
            }
        }
        Poll::Ready(())
    })
    .await;
}

/// The alert that rustls sends where it verifies a certificate itself.
fn alert_of(error: &TlsError) -> u8 {
    let alert = match error {
        TlsError::InvalidCertificate(fault) => fault.clone().into(),
        _ => AlertDescription::AccessDenied,
    };
    alert.into()
}

/// Finds the first record. A length is trusted only if type and version are possible: "GET /" read as a header would
/// announce 8 KB.
fn next(input: &[u8]) -> Next {
    let needed = match *input {
        [20..=24, 3, _, high, low, ..] => match u16::from_be_bytes([high, low]).into() {
            length @ 0..=MAX_SEALED_LENGTH => HEADER_LENGTH + length,
            _ => return Next::Other,
        },
        [] | [20..=24] | [20..=24, 3, ..] => HEADER_LENGTH,
        _ => return Next::Other,
    };
    match input.len() >= needed {
        true => Next::Record(needed),
        false => Next::Part(needed),
    }
}

/// Takes all that the record layer needs, and drops rustls.
fn take_over(
    rustls: ServerConnection,
    key_log: &ConnectionKeyLog,
    after_change: u64,
    client: Option<Arc<ClientChain>>,
) -> io::Result<Established> {
    let facts = facts(&rustls, client);
    let suite = rustls.negotiated_cipher_suite().ok_or(io::ErrorKind::InvalidData)?;
    let extracted = rustls.dangerous_extract_secrets().map_err(io::Error::other)?;
    let established = Established::new(suite, &extracted, key_log.secrets(), after_change, facts);
    established.map_err(|reason| match reason {
        NotEstablished::Late => {
            io::Error::new(io::ErrorKind::InvalidData, "the handshake has not ended with its record")
        }
        NotEstablished::UnknownSuite(_) | NotEstablished::WrongSecret => {
            log::error(format_args!(
                "a TLS session can't go on after its handshake ({reason:?}), so the connection is closed: \
                 build with the version of rustls that gracehttp was released with, and report this"
            ));
            io::Error::other("the keys of the handshake are of no use")
        }
    })
}

fn facts(rustls: &ServerConnection, client: Option<Arc<ClientChain>>) -> Facts {
    let alpn = match rustls.alpn_protocol() {
        Some(b"h2") => Some(Alpn::H2),
        Some(b"http/1.1") => Some(Alpn::Http11),
        _ => None,
    };
    Facts { sni: rustls.server_name().map(Into::into), alpn, client }
}

#[cfg(test)]
#[path = "handshake_tests.rs"]
mod tests;
