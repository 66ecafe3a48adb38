//! From the stream to hyper: passes on what the strict reader lets pass.
//!
//! hyper gets whole heads only, so its own buffer is empty between requests: the beginning of the next request is
//! here, and can move with the connection. Almost always a read brings a whole request, which passes without a copy.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, ReadBuf};
use tokio::time::Instant;

use crate::conn::Ahead;
use crate::conn::http1::activity::Activity;
use crate::conn::http1::inbound::{Answer, Inbound};
use crate::conn::http1::strict::{Bounds, Reader, Refused};
use crate::conn::traffic::Traffic;
use crate::conn::transport::Inspector;

/// A request may ask to leave HTTP. Until its answer is known, at most so many bytes behind it are read. Reading them
/// is how the end of the connection is noticed.
const UNDECIDED_AT_MOST: usize = 16 << 10;

/// The reader of a connection, and the bytes that it holds back.
#[derive(Debug)]
pub(crate) struct Intake {
    activity: Arc<Activity>,
    reader: Reader,
    /// Bytes that hyper has not got.
    held: BytesMut,
    /// How many of them may pass.
    passing: usize,
    /// The reader has not seen the others, or has to read them again.
    is_unread: bool,
    /// When the first of the bytes read ahead came.
    ahead_since: Option<Instant>,
}

impl Intake {
    pub(crate) fn new(activity: Arc<Activity>, bounds: Bounds, ahead: Ahead) -> Self {
        let held = ahead.bytes;
        let is_unread = !held.is_empty();
        let reader = Reader::new(bounds);
        Self { activity, reader, held, passing: 0, is_unread, ahead_since: ahead.since }
    }

    fn inbound(&self) -> &Inbound {
        self.activity.inbound()
    }

    fn pass(&mut self, buf: &mut ReadBuf<'_>) {
        let len = self.passing.min(buf.remaining());
        buf.put_slice(&self.held[..len]);
        self.held.advance(len);
        self.passing -= len;
        if self.held.is_empty() {
            // Freed, since it is seldom needed.
            self.held = BytesMut::new();
        }
    }

    /// Passes the answer that the reader waits for on to it; false if there is none yet.
    fn decide(&mut self) -> bool {
        if !self.reader.asks_to_leave() {
            return true;
        }
        match self.inbound().answered() {
            Some(Answer::Stays) => self.reader.stay(),
            Some(Answer::Leaves) => self.reader.leave(),
            None => return false,
        }
        self.inbound().note_decided();
        self.is_unread = !self.held.is_empty();
        true
    }

    fn read_held(&mut self) {
        let read = self.reader.read(&self.held);
        let kept = self.held.split_off(read.keep_from);
        self.held.truncate(read.passes);
        self.held.unsplit(kept);
        self.passing = read.passes;
        self.note();
    }

    fn note(&mut self) {
        let ahead_since = self.ahead_since.take().filter(|_| self.reader.heads() == 0);
        self.inbound().note(&self.reader, || ahead_since.unwrap_or_else(Instant::now));
    }
}

/// The responses to pipelined requests are gathered, and a client that has closed its side gets its response.
///
/// hyper's own `pipeline_flush` gathers responses, too. But it holds a response back while half of the next head is in
/// its buffer, and the client may be waiting for just that response.
impl Inspector for Intake {
    fn traffic(&self) -> &Traffic {
        self.activity.traffic()
    }

    /// A response may wait if it is complete.
    fn may_wait(&self) -> bool {
        !self.activity.traffic().is_read_blocked() && self.activity.is_between_requests() && !self.has_left()
    }

    fn defers_waiting(&self) -> bool {
        self.activity.defers_waiting() && !self.has_left()
    }

    fn has_left(&self) -> bool {
        self.inbound().has_left()
    }

    /// A client that has sent a part of a record has begun its next request, like a client that has sent half a head.
    fn note_blocked(&mut self, in_record: bool) {
        let has_begun = self.reader.is_in_head() || (in_record && !self.reader.is_in_body());
        self.inbound().note_head(has_begun, Instant::now);
    }

    /// hyper would drop the request that it is answering, and all that it has yet to write. A client may close its side
    /// and wait for the response (RFC 9112 section 9.6 has servers do the same); the connection's task closes after it.
    /// That is why hyper hears of no end: it does not say what it has yet to write. Whether the end cuts a request body
    /// short is for that body to find out: hyper may have all of it, and its handler not yet.
    fn hides_end(&self) -> bool {
        let hides = !self.has_left();
        if hides {
            self.activity.note_half_closed();
        }
        hides
    }

    fn into_held(self) -> Bytes {
        self.held.freeze()
    }

    fn poll_read<T: AsyncRead + Unpin>(
        &mut self,
        stream: &mut T,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        // Until all of `passing` is passed on, the reader is ahead of hyper.
        if self.passing == 0 && self.reader.is_in_body() {
            self.inbound().seek_body();
        }
        loop {
            if self.passing > 0 {
                self.pass(buf);
                return Poll::Ready(Ok(()));
            }
            let is_undecided = !self.decide();
            if std::mem::take(&mut self.is_unread) {
                self.read_held();
                continue;
            }
            match self.reader.refusal() {
                Some(Refused::Head(_)) => return Poll::Pending,
                Some(Refused::Body(refusal)) => {
                    return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, refusal.rule)));
                }
                None if is_undecided && self.held.len() >= UNDECIDED_AT_MOST => return Poll::Pending,
                None => {}
            }

            let before = buf.filled().len();
            ready!(Pin::new(&mut *stream).poll_read(cx, buf))?;
            let bytes = &buf.filled()[before..];
            if bytes.is_empty() {
                return Poll::Ready(Ok(()));
            }
            if self.held.is_empty() {
                let read = self.reader.read(bytes);
                self.held.extend_from_slice(&bytes[read.keep_from..]);
                buf.set_filled(before + read.passes);
                self.note();
                if read.passes > 0 {
                    return Poll::Ready(Ok(()));
                }
            } else {
                self.held.extend_from_slice(bytes);
                buf.set_filled(before);
                self.is_unread = true;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::ServerOptions;
    use std::future::poll_fn;
    use tokio::io::{AsyncWriteExt as _, DuplexStream};

    const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    const UPGRADE: &str = "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: x\r\n\r\n";

    struct Line {
        intake: Intake,
        activity: Arc<Activity>,
        stream: DuplexStream,
        client: DuplexStream,
    }

    impl Line {
        fn new(ahead: &str) -> Self {
            let (stream, client) = tokio::io::duplex(1 << 20);
            let bounds = Bounds::new(&ServerOptions::new("web"), false);
            let activity = Arc::new(Activity::default());
            let ahead = Ahead::now(Bytes::copy_from_slice(ahead.as_bytes()));
            let intake = Intake::new(activity.clone(), bounds, ahead);
            Self { intake, activity, stream, client }
        }

        fn inbound(&self) -> &Inbound {
            self.activity.inbound()
        }

        /// What passes at once, if anything.
        async fn read(&mut self, room: usize) -> Option<String> {
            let mut bytes = vec![0; room];
            let mut buf = ReadBuf::new(&mut bytes);
            let read = poll_fn(|cx| {
                let polled = self.intake.poll_read(&mut self.stream, cx, &mut buf);
                Poll::Ready(polled.map(|read| read.expect("no fault")).is_ready())
            });
            read.await.then(|| String::from_utf8(buf.filled().to_vec()).expect("text"))
        }

        async fn send(&mut self, bytes: &str) {
            self.client.write_all(bytes.as_bytes()).await.unwrap();
        }
    }

    #[tokio::test]
    async fn bytes_read_ahead_pass_first_in_pieces_of_any_size() {
        let mut line = Line::new(&format!("\r\n{GET}GET /"));
        assert_eq!(line.read(20).await.as_deref(), Some(&format!("\r\n{GET}")[..20]));
        assert_eq!(line.read(100).await.as_deref(), Some(&GET[18..]));
        assert_eq!(line.read(100).await, None);
        assert!(line.inbound().is_in_head());
        line.send(&GET[5..]).await;
        assert_eq!(line.read(100).await.as_deref(), Some(GET));
        assert!(!line.inbound().is_in_head());
    }

    #[tokio::test]
    async fn part_of_a_head_is_kept_and_can_move() {
        let mut line = Line::new("");
        line.send(&format!("{GET}\r\nGET /x HT")).await;
        assert_eq!(line.read(100).await.as_deref(), Some(GET));
        assert_eq!(line.read(100).await, None);
        assert_eq!(line.intake.into_held(), "GET /x HT");
    }

    #[tokio::test]
    async fn the_end_of_the_stream_reads_nothing_and_an_empty_line_does_not_count_as_the_end() {
        let mut line = Line::new("");
        line.send("\r\n\r\n").await;
        assert_eq!(line.read(100).await, None);
        line.client.shutdown().await.unwrap();
        assert_eq!(line.read(100).await.as_deref(), Some(""));
    }

    #[tokio::test]
    async fn a1_bytes_after_an_upgrade_request_wait_for_its_answer() {
        for (answer, follows) in [(Answer::Stays, GET), (Answer::Leaves, "\0\n\0")] {
            let mut line = Line::new(GET);
            line.send(&format!("{UPGRADE}{follows}")).await;
            assert_eq!(line.read(100).await.as_deref(), Some(GET));
            assert_eq!(line.read(100).await.as_deref(), Some(UPGRADE));
            assert_eq!(line.read(100).await, None);
            assert!(!line.inbound().answer(1, answer == Answer::Leaves), "another's answer says nothing");
            assert_eq!(line.read(100).await, None);
            assert!(line.inbound().answer(2, answer == Answer::Leaves));
            assert!(line.inbound().is_deciding());
            assert_eq!(line.read(100).await.as_deref(), Some(follows));
            assert!(!line.inbound().is_deciding());
            assert_eq!(line.inbound().has_left(), answer == Answer::Leaves);
        }
    }

    #[tokio::test]
    async fn the_end_is_seen_while_the_answer_is_waited_for() {
        let mut line = Line::new("");
        line.send(&format!("{UPGRADE}{GET}")).await;
        line.client.shutdown().await.unwrap();
        assert_eq!(line.read(100).await.as_deref(), Some(UPGRADE));
        assert_eq!(line.read(100).await.as_deref(), Some(""));
    }

    #[tokio::test(start_paused = true)]
    async fn a18_a_head_begins_with_its_first_byte() {
        let start = Instant::now();
        let mut line = Line::new("");
        line.send(&format!("{GET}GET")).await;
        assert!(line.read(100).await.is_some());
        assert_eq!(line.inbound().head_since(), Some(start));
        tokio::time::advance(std::time::Duration::from_secs(5)).await;
        line.send(&format!("{}GET", &GET[3..])).await;
        assert!(line.read(100).await.is_some());
        assert_eq!(line.inbound().head_since(), Some(Instant::now()), "the next one has begun");
    }

    #[tokio::test(start_paused = true)]
    async fn a_part_of_a_tls_record_counts_as_the_beginning_of_the_head_in_it() {
        let start = Instant::now();
        let later = || tokio::time::advance(std::time::Duration::from_secs(5));
        let mut line = Line::new("");
        line.intake.note_blocked(true);
        assert_eq!(line.inbound().head_since(), Some(start));
        later().await;
        line.send("GET /").await;
        assert_eq!(line.read(100).await, None);
        line.intake.note_blocked(false);
        assert_eq!(line.inbound().head_since(), Some(start), "the same head");
        line.send(&GET[5..]).await;
        assert!(line.read(100).await.is_some());
        assert_eq!(line.inbound().head_since(), None);
        line.intake.note_blocked(true);
        assert_eq!(line.inbound().head_since(), Some(Instant::now()), "the next one has begun");
        line.intake.note_blocked(false);
        assert!(!line.inbound().is_in_head(), "the record held nothing for HTTP");
    }

    #[tokio::test]
    async fn a_part_of_a_tls_record_within_a_body_begins_no_head() {
        let mut line = Line::new("");
        line.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n").await;
        assert!(line.read(100).await.is_some());
        line.intake.note_blocked(true);
        assert!(!line.inbound().is_in_head());
    }

    #[tokio::test]
    async fn a15_a_client_waits_to_send_its_body_until_hyper_reads_it() {
        let mut line = Line::new("");
        line.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n").await;
        assert!(line.read(100).await.is_some());
        assert!(line.inbound().waits_to_send(1));
        assert_eq!(line.read(100).await, None);
        assert!(!line.inbound().waits_to_send(1), "hyper has looked for it");
    }

    #[tokio::test]
    async fn a15_hyper_has_not_looked_for_a_body_while_its_head_passes_in_pieces() {
        let post = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n";
        let mut line = Line::new(&format!("{GET}{post}"));
        assert!(line.read(GET.len()).await.is_some());
        assert!(line.read(10).await.is_some());
        assert!(line.read(100).await.is_some());
        assert!(line.inbound().waits_to_send(2));
    }
}
