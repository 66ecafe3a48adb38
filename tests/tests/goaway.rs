//! The end of an HTTP/2 connection, frame by frame: no request is refused that its client could have begun before
//! it heard of the end.

use std::time::Duration;

use tests::client::Stream;
use tests::patience::{PATIENCE, within};
use tests::{Launch, Scratch, Signal, Target};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const END_OF_STREAM_AND_HEADERS: u8 = 5;
const ACK: u8 = 1;

#[derive(Debug)]
struct Frame {
    kind: u8,
    flags: u8,
    stream: u32,
    payload: Vec<u8>,
}

impl Frame {
    fn bytes(&self) -> Vec<u8> {
        let length = (self.payload.len() as u32).to_be_bytes();
        [&length[1..], &[self.kind, self.flags], &self.stream.to_be_bytes(), &self.payload].concat()
    }

    /// `GET /ping` (RFC 7541: fields of the static table, and two literals).
    fn request(stream: u32) -> Self {
        let payload = [&b"\x82\x86\x04\x05/ping\x01\x09localhost"[..]].concat();
        Self { kind: HEADERS, flags: END_OF_STREAM_AND_HEADERS, stream, payload }
    }

    fn acknowledges(&self) -> Option<Self> {
        let kind = [SETTINGS, PING].into_iter().find(|kind| *kind == self.kind && self.flags & ACK == 0)?;
        let payload = if kind == PING { self.payload.clone() } else { Vec::new() };
        Some(Self { kind, flags: ACK, stream: 0, payload })
    }
}

/// A client that answers every PING before it sends the requests that it has begun, as hyper's does.
struct Connection {
    stream: Box<dyn Stream>,
    unread: Vec<u8>,
}

impl Connection {
    async fn open(target: &Target) -> Self {
        let mut stream = target.connect(&["h2"]).await.expect("a connection");
        let settings = Frame { kind: SETTINGS, flags: 0, stream: 0, payload: Vec::new() };
        let preface = [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), settings.bytes()].concat();
        stream.write_all(&preface).await.expect("an open connection");
        Self { stream, unread: Vec::new() }
    }

    async fn send(&mut self, frames: &[Frame]) {
        let bytes: Vec<u8> = frames.iter().flat_map(Frame::bytes).collect();
        self.stream.write_all(&bytes).await.expect("an open connection");
    }

    /// The frames that have come; none at the end of the connection.
    async fn frames(&mut self) -> Vec<Frame> {
        let mut frames = Vec::new();
        while frames.is_empty() {
            let read = within(PATIENCE, "a frame", self.stream.read_buf(&mut self.unread)).await;
            if read.expect("no reset") == 0 {
                break;
            }
            while let Some(frame) = self.next() {
                frames.push(frame);
            }
        }
        frames
    }

    fn next(&mut self) -> Option<Frame> {
        let head = self.unread.get(..9)?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let (kind, flags) = (head[3], head[4]);
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        let payload = self.unread.get(9..9 + length)?.to_vec();
        self.unread.drain(..9 + length);
        Some(Frame { kind, flags, stream, payload })
    }

    /// Reads until the stream's response begins.
    async fn answer(&mut self, stream: u32) {
        loop {
            let frames = self.frames().await;
            assert!(!frames.is_empty(), "closed without an answer to stream {stream}");
            let acknowledged: Vec<Frame> = frames.iter().filter_map(Frame::acknowledges).collect();
            self.send(&acknowledged).await;
            if frames.iter().any(|frame| frame.kind == HEADERS && frame.stream == stream) {
                return;
            }
        }
    }
}

/// Its first GOAWAY and its client's request cross each other, and the request comes behind the answer to whatever
/// came with that GOAWAY: it is answered all the same, at a restart and at a stop.
#[tokio::test]
async fn a_request_that_crosses_the_first_goaway_is_answered() {
    for plan in ["server web 127.0.0.1:0", "server web 127.0.0.1:0 tls=self_signed"] {
        for signal in [Signal::USR2, Signal::TERM] {
            let scratch = Scratch::new();
            let app = Launch::app(&scratch, plan).start("web").await;
            let mut client = Connection::open(&app.target("web").await).await;
            client.send(&[Frame::request(1)]).await;
            client.answer(1).await;
            app.signal(signal);
            let mut frames = Vec::new();
            while !frames.iter().any(|frame: &Frame| frame.kind == GOAWAY) {
                let more = client.frames().await;
                assert!(!more.is_empty(), "closed without a GOAWAY");
                frames.extend(more);
            }
            // Whatever came together is answered together.
            while let Ok(more) = tokio::time::timeout(Duration::from_millis(50), client.frames()).await {
                frames.extend(more);
            }
            let mut reply: Vec<Frame> = frames.iter().filter_map(Frame::acknowledges).collect();
            reply.push(Frame::request(3));
            client.send(&reply).await;
            client.answer(3).await;
            // And then it ends by itself.
            while let [first, ..] = &client.frames().await[..] {
                let acknowledged: Vec<Frame> = first.acknowledges().into_iter().collect();
                client.send(&acknowledged).await;
            }
        }
    }
}
