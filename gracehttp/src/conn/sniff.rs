//! Telling HTTP/2 with prior knowledge from HTTP/1 on plain text.
//!
//! hyper's own `auto` builder waits without end for a client that sends nothing, one byte or half of the
//! preface, and does not give the connection back.

use std::future::Future as _;
use std::io;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::time::Instant;

use crate::conn::Ahead;
use crate::lifecycle::{Drain, Phase, until_time};
use crate::socket::{Stream, Unwatched};

/// Every HTTP/2 connection begins with these bytes (RFC 9113 section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The size of the first read of a connection. Most requests fit into it.
const FIRST_READ: usize = 2048;

/// What a look at the first bytes found. The bytes themselves stay in the buffer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Sniffed {
    Http1,
    Http2,
    /// No byte came in time: the connection can be parked.
    Quiet,
    /// The process leaves this phase, and the first bytes are not complete.
    PhaseChanged,
    /// Only a part of the preface came in time.
    TimedOut,
    /// The client closed.
    Closed,
}

/// What has come so far.
#[derive(Debug)]
pub(crate) struct Seen {
    bytes: BytesMut,
    /// When the first byte came.
    since: Option<Instant>,
}

impl Seen {
    pub(crate) fn new(ahead: Bytes) -> Self {
        let Ahead { bytes, since } = Ahead::now(ahead);
        Self { bytes, since }
    }

    /// Whether it begins an HTTP/1 connection.
    pub(crate) fn is_http1(&self) -> bool {
        recognise(&self.bytes) == Some(Sniffed::Http1)
    }

    /// As what was read of a connection before it is served.
    pub(crate) fn ahead(self) -> Ahead {
        Ahead { bytes: self.bytes, since: self.since }
    }
}

/// Whether a byte, or the end, has come. It reads what has, and does not wait.
pub(crate) fn has_come(stream: &mut Stream, seen: &mut Seen) -> bool {
    if !seen.bytes.is_empty() {
        return true;
    }
    seen.bytes.reserve(FIRST_READ);
    let mut stream = Unwatched(stream);
    let read = pin!(stream.read_buf(&mut seen.bytes)).poll(&mut Context::from_waker(Waker::noop()));
    if matches!(read, Poll::Ready(Ok(1..))) {
        seen.since = Some(Instant::now());
    }
    // An end or a failure shows again in the next read.
    read.is_ready()
}

/// Reads until the protocol is known: if no byte has come, for as long as `patience`; otherwise up to the limit.
pub(crate) async fn sniff<T: AsyncRead + Unpin>(
    stream: &mut T,
    seen: &mut Seen,
    drain: &Drain,
    patience: Duration,
    limit: Duration,
) -> io::Result<Sniffed> {
    let begun_in = drain.phase();
    let mut patience = pin!(tokio::time::sleep(patience));
    loop {
        let protocol = recognise(&seen.bytes);
        if let Some(protocol) = protocol {
            return Ok(protocol);
        }
        seen.bytes.reserve(FIRST_READ);
        let changed = drain.changed();
        if moved_on(begun_in, drain.phase()) {
            return Ok(Sniffed::PhaseChanged);
        }
        let is_silent = seen.since.is_none();
        let limit_at = seen.since.map(|since| since + limit);
        tokio::select! {
            biased;
            read = stream.read_buf(&mut seen.bytes) => {
                if read? == 0 {
                    return Ok(Sniffed::Closed);
                }
                seen.since.get_or_insert_with(Instant::now);
            }
            () = &mut patience, if is_silent => return Ok(Sniffed::Quiet),
            () = until_time(limit_at) => return Ok(Sniffed::TimedOut),
            () = changed => {}
        }
    }
}

/// `Stopping` asks nothing of a connection whose first request is still to come: it gets its answer.
fn moved_on(begun_in: Phase, now: Phase) -> bool {
    begun_in != now && now != Phase::Stopping
}

fn recognise(seen: &[u8]) -> Option<Sniffed> {
    let compared = seen.len().min(PREFACE.len());
    if seen[..compared] != PREFACE[..compared] {
        Some(Sniffed::Http1)
    } else if compared == PREFACE.len() {
        Some(Sniffed::Http2)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncWriteExt;

    const LONG: Duration = Duration::from_secs(60);

    async fn sniffed(writes: &[&[u8]]) -> Sniffed {
        let (mut server, mut client) = tokio::io::duplex(64);
        for write in writes {
            client.write_all(write).await.unwrap();
        }
        let mut seen = Seen::new(Bytes::new());
        let short = Duration::from_millis(20);
        sniff(&mut server, &mut seen, &Drain::new(), short, short).await.unwrap()
    }

    #[tokio::test]
    async fn tells_the_protocols_apart() {
        assert_eq!(sniffed(&[b"GET / HTTP/1.1\r\n"]).await, Sniffed::Http1);
        assert_eq!(sniffed(&[b"POST"]).await, Sniffed::Http1);
        assert_eq!(sniffed(&[b"PRI * HTT", b"P/2.0\r\n\r\nSM\r\n\r\n"]).await, Sniffed::Http2);
        assert_eq!(sniffed(&[b"PRI * HTTP/1.1\r\n"]).await, Sniffed::Http1);
    }

    #[tokio::test]
    async fn half_a_preface_and_silence_are_told_apart() {
        assert_eq!(sniffed(&[]).await, Sniffed::Quiet);
        assert_eq!(sniffed(&[b"PRI * HT"]).await, Sniffed::TimedOut);
    }

    #[tokio::test]
    async fn a_change_of_phase_ends_the_wait() {
        let (mut server, mut client) = tokio::io::duplex(64);
        client.write_all(b"P").await.unwrap();
        let drain = Drain::new();
        let mut seen = Seen::new(Bytes::new());
        let sniffing = sniff(&mut server, &mut seen, &drain, LONG, LONG);
        let restart = async { drain.enter(Phase::HandingOver) };
        let (found, ()) = tokio::join!(sniffing, restart);
        assert_eq!(found.unwrap(), Sniffed::PhaseChanged);
        assert_eq!(&seen.bytes[..], b"P");
    }
}
