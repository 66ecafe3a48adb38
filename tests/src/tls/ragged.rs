//! The most difficult honest client over TLS: it sends its records in pieces, renews its keys between them, and reads
//! the answers slowly.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};
use tokio_rustls::rustls::ProtocolVersion;

use crate::client::{Client, Stream, Target};
use crate::fault::{Failure, Kind};
use crate::random::Random;
use crate::tls::{self, SUITES, Wire};

/// One record of so many follows a KeyUpdate, which asks the server to renew its key, too.
const RENEWALS: u64 = 8;

/// Splits what is written to it into records, cuts these anywhere, and pauses at the cuts.
#[derive(Debug)]
pub struct Ragged {
    wire: Wire,
    random: Random,
    /// The longest pause at a cut.
    pause: Duration,
    /// The pieces that are not sent yet.
    pieces: VecDeque<Bytes>,
    /// The time before which nothing is sent, or nothing is read.
    send: Pin<Box<Sleep>>,
    read: Pin<Box<Sleep>>,
}

impl Ragged {
    /// On a connection after its handshake. The same seed gives the same cuts.
    pub fn new(wire: Wire, seed: u64, pause: Duration) -> Self {
        let at_once = || Box::pin(sleep_until(Instant::now()));
        let random = Random::new(seed);
        Self { wire, random, pause, pieces: VecDeque::new(), send: at_once(), read: at_once() }
    }

    /// Connects, with one of all suites, and finishes the handshake.
    pub async fn connect(target: &Target, number: usize, pause: Duration) -> Result<Client, Failure> {
        let refused = |error: io::Error| Failure::new(Kind::Refused, format!("connect: {error}"));
        let config = tls::only(SUITES[number % SUITES.len()], &["http/1.1"]);
        let mut wire = Wire::open(target.address(), config).await.map_err(refused)?;
        wire.handshake().await?;
        Ok(Client::over(Box::new(Self::new(wire, number as u64, pause))))
    }

    /// Records for `text`: from one for everything to one for each byte.
    fn seal(&mut self, text: &[u8]) -> Vec<u8> {
        let renewable = self.wire.session().protocol_version() == Some(ProtocolVersion::TLSv1_3);
        let mut sealed = Vec::new();
        let longest = [1, 7, 64, text.len()][self.random.below(4) as usize].min(text.len());
        let mut rest = text;
        while !rest.is_empty() {
            if renewable && self.random.below(RENEWALS) == 0 {
                sealed.extend(self.wire.key_update());
            }
            // A long text would need too many short records.
            let length = if rest.len() > 512 { rest.len().min(1 << 14) } else { longest.min(rest.len()) };
            let (record, others) = rest.split_at(length);
            sealed.extend(self.wire.seal(record));
            rest = others;
        }
        sealed
    }

    /// Cuts at up to three random places: in a header, a body or a tag.
    fn cut(&mut self, sealed: Vec<u8>) {
        let mut rest = Bytes::from(sealed);
        for _ in 0..self.random.below(4) {
            let place = self.random.below(rest.len() as u64) as usize;
            self.pieces.push_back(rest.split_to(place));
        }
        self.pieces.push_back(rest);
        self.pieces.retain(|piece| !piece.is_empty());
    }

    fn later(&mut self) -> Instant {
        Instant::now() + self.random.pause(self.pause)
    }
}

impl Stream for Ragged {
    fn port(&self) -> Option<u16> {
        self.wire.port()
    }
}

impl AsyncRead for Ragged {
    /// Some bytes, and now and then none for a while.
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        ready!(self.read.as_mut().poll(cx));
        let length = 1 + self.random.below(buf.remaining().min(8192) as u64) as usize;
        let mut some = ReadBuf::new(buf.initialize_unfilled_to(length));
        ready!(Pin::new(&mut self.wire).poll_read(cx, &mut some))?;
        let read = some.filled().len();
        buf.advance(read);
        if self.random.below(4) == 0 {
            let later = self.later();
            self.read.as_mut().reset(later);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Ragged {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, text: &[u8]) -> Poll<io::Result<usize>> {
        let sealed = self.seal(text);
        self.cut(sealed);
        Poll::Ready(Ok(text.len()))
    }

    /// Sends the pieces, with a pause after each.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            ready!(Pin::new(&mut self.wire).poll_flush(cx))?;
            if self.pieces.is_empty() {
                return Poll::Ready(Ok(()));
            }
            ready!(self.send.as_mut().poll(cx));
            if let Some(piece) = self.pieces.pop_front() {
                self.wire.queue(&piece);
                let later = self.later();
                self.send.as_mut().reset(later);
            }
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.as_mut().poll_flush(cx))?;
        Pin::new(&mut self.wire).poll_shutdown(cx)
    }
}
