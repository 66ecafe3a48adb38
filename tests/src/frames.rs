//! HTTP/2 frame by frame, for actions that no well-behaved client takes.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::client::{Stream, Target};
use crate::patience::{PATIENCE, within};

/// The kinds of frames (RFC 9113 section 6).
pub const DATA: u8 = 0;
/// Opens a stream, or answers on it.
pub const HEADERS: u8 = 1;
/// Obsolete priority of a stream.
pub const PRIORITY: u8 = 2;
/// Resets a stream.
pub const RST_STREAM: u8 = 3;
/// The settings of one side, which the other side obeys.
pub const SETTINGS: u8 = 4;
/// Announces a response without a request; a client must never send it.
pub const PUSH_PROMISE: u8 = 5;
/// Asks for an answer of the same kind.
pub const PING: u8 = 6;
/// Announces the end of the connection.
pub const GOAWAY: u8 = 7;
/// Widens a window.
pub const WINDOW_UPDATE: u8 = 8;
/// Continues HEADERS.
pub const CONTINUATION: u8 = 9;

/// The first bytes of an HTTP/2 client (RFC 9113 section 3.4).
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The flag of a stream's last frame.
pub const END_OF_STREAM: u8 = 1;
/// The flags of HEADERS that are a whole request.
pub const END_OF_STREAM_AND_HEADERS: u8 = 5;
/// The flag of HEADERS before a body.
pub const END_OF_HEADERS: u8 = 4;
/// The flag of DATA and HEADERS that begin with the length of their padding.
pub const PADDED: u8 = 8;
/// The flag of SETTINGS and PING that acknowledge.
pub const ACK: u8 = 1;

/// One frame.
#[derive(Debug, Clone)]
pub struct Frame {
    /// Its kind.
    pub kind: u8,
    /// Its flags.
    pub flags: u8,
    /// Its stream; 0 is the connection.
    pub stream: u32,
    /// Its content.
    pub payload: Vec<u8>,
}

impl Frame {
    /// Creates any frame.
    pub fn new(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Self {
        Self { kind, flags, stream, payload: payload.to_vec() }
    }

    /// The bytes of the frame on the wire.
    pub fn bytes(&self) -> Vec<u8> {
        let length = (self.payload.len() as u32).to_be_bytes();
        [&length[1..], &[self.kind, self.flags], &self.stream.to_be_bytes(), &self.payload].concat()
    }

    /// A GET (RFC 7541: fields of the static table, and two literals).
    pub fn get(stream: u32, path: &str) -> Self {
        Self::new(HEADERS, END_OF_STREAM_AND_HEADERS, stream, &fields(0x82, path))
    }

    /// The head of a POST; the body follows separately.
    pub fn post(stream: u32, path: &str) -> Self {
        Self::new(HEADERS, END_OF_HEADERS, stream, &fields(0x83, path))
    }

    /// HEADERS with only these fields, each as a literal (RFC 7541 section 6.2.2).
    pub fn head(flags: u8, stream: u32, fields: &[(&str, &str)]) -> Self {
        Self::new(HEADERS, flags, stream, &block(fields))
    }

    /// A request whose head is too large for one frame.
    pub fn head_in_frames(stream: u32, fields: &[(&str, &str)]) -> Vec<Self> {
        let block = block(fields);
        let parts = block.chunks(16 << 10);
        let last = parts.len() - 1;
        let frame = |(place, part): (usize, &[u8])| {
            let (kind, flags) = if place == 0 { (HEADERS, END_OF_STREAM) } else { (CONTINUATION, 0) };
            Self::new(kind, if place == last { flags | END_OF_HEADERS } else { flags }, stream, part)
        };
        parts.enumerate().map(frame).collect()
    }

    /// SETTINGS with this window for each stream.
    pub fn window(size: u32) -> Self {
        Self::new(SETTINGS, 0, 0, &[&[0, 4][..], &size.to_be_bytes()].concat())
    }

    /// The answer that this frame requires, if any.
    pub fn acknowledges(&self) -> Option<Self> {
        let kind = [SETTINGS, PING].into_iter().find(|kind| *kind == self.kind && self.flags & ACK == 0)?;
        let payload = if kind == PING { &self.payload[..] } else { &[] };
        Some(Self::new(kind, ACK, 0, payload))
    }

    /// The status of a response. It is the first field of its head, and not one that the server has put into its
    /// table.
    pub fn status(&self) -> Option<u16> {
        const KNOWN: [u16; 7] = [200, 204, 206, 304, 400, 404, 500];
        match *self.payload {
            [index @ 0x88..=0x8e, ..] => Some(KNOWN[usize::from(index - 0x88)]),
            // In Huffman's code: 3 digits of 5 or 6 bits each (RFC 7541 appendix B).
            [0x48 | 0x08, length @ 0x80..=0xff, ref rest @ ..] => {
                let code = rest.get(..usize::from(length & 0x7f))?;
                let mut bits = code.iter().flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1));
                let mut take =
                    |count| bits.by_ref().take(count).fold(0, |number, bit| number << 1 | u16::from(bit));
                let mut digit = || match take(5) {
                    low @ 0..=2 => low,
                    high => (high << 1 | take(1)) - 0x19 + 3,
                };
                Some(digit() * 100 + digit() * 10 + digit())
            }
            [0x48 | 0x08, 3, ref digits @ ..] => std::str::from_utf8(digits.get(..3)?).ok()?.parse().ok(),
            _ => None,
        }
    }

    /// The last stream and the reason of a GOAWAY.
    pub fn goaway(&self) -> Option<(u32, u32)> {
        let number = |at: usize| Some(u32::from_be_bytes(self.payload.get(at..at + 4)?.try_into().ok()?));
        (self.kind == GOAWAY).then(|| Some((number(0)?, number(4)?)))?
    }
}

/// Uses the scheme `https`, which a server accepts on plain text, too: a proxy in front of it may have ended TLS.
fn fields(method: u8, path: &str) -> Vec<u8> {
    let path_length = u8::try_from(path.len()).expect("a short path");
    [&[method, 0x87, 0x04, path_length][..], path.as_bytes(), b"\x01\x09localhost"].concat()
}

fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            put_length(&mut block, text.len());
            block.extend(text.as_bytes());
        }
    }
    block
}

/// RFC 7541 section 5.1, with a prefix of 7 bits.
fn put_length(block: &mut Vec<u8>, length: usize) {
    let Some(mut rest) = length.checked_sub(0x7f) else { return block.push(length as u8) };
    block.push(0x7f);
    while rest >= 0x80 {
        block.push(rest as u8 & 0x7f | 0x80);
        rest >>= 7;
    }
    block.push(rest as u8);
}

/// A connection that makes no assumptions about the other end, and answers only on request.
pub struct Connection {
    stream: Box<dyn Stream>,
    unread: Vec<u8>,
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection").field("unread", &self.unread).finish_non_exhaustive()
    }
}

impl Connection {
    /// Connects, and sends only the required preface.
    pub async fn open(target: &Target) -> Self {
        Self::open_with(target, &Frame::new(SETTINGS, 0, 0, &[])).await
    }

    /// Connects with these SETTINGS.
    pub async fn open_with(target: &Target, settings: &Frame) -> Self {
        let mut stream = target.connect(&["h2"]).await.expect("a connection");
        let preface = [PREFACE, &settings.bytes()].concat();
        stream.write_all(&preface).await.expect("an open connection");
        Self::over(stream)
    }

    /// Wraps a connection that has already sent the preface.
    pub fn over(stream: Box<dyn Stream>) -> Self {
        Self { stream, unread: Vec::new() }
    }

    /// Sends frames in one write.
    pub async fn send(&mut self, frames: &[Frame]) {
        self.try_send(frames).await.expect("an open connection");
    }

    /// The same, for a connection whose other end may be gone.
    pub async fn try_send(&mut self, frames: &[Frame]) -> std::io::Result<()> {
        let bytes: Vec<u8> = frames.iter().flat_map(Frame::bytes).collect();
        self.stream.write_all(&bytes).await
    }

    /// The frames that have come; none at the end of the connection.
    pub async fn frames(&mut self) -> Vec<Frame> {
        within(PATIENCE, "a frame", self.try_frames()).await.expect("no reset")
    }

    /// The same, without a limit; the end may be a reset. Cancel safe.
    pub async fn try_frames(&mut self) -> std::io::Result<Vec<Frame>> {
        let mut frames = Vec::new();
        while frames.is_empty() {
            if self.stream.read_buf(&mut self.unread).await? == 0 {
                break;
            }
            while let Some(frame) = self.next() {
                frames.push(frame);
            }
        }
        Ok(frames)
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
    pub async fn answer(&mut self, stream: u32) {
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

    /// Answers each frame that requires it until the connection ends, if necessary by a reset. Returns all the frames.
    pub async fn until_end(&mut self) -> Vec<Frame> {
        let mut all = Vec::new();
        while let Ok(frames) = self.try_frames().await {
            let acknowledged: Vec<Frame> = frames.iter().filter_map(Frame::acknowledges).collect();
            if frames.is_empty() || self.try_send(&acknowledged).await.is_err() {
                all.extend(frames);
                break;
            }
            all.extend(frames);
        }
        all
    }
}
