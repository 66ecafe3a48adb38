//! Many request bodies over one HTTP/2 connection, which take turns and obey the windows.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::client::Target;
use crate::frames::{
    Connection, DATA, END_OF_STREAM, Frame, GOAWAY, HEADERS, RST_STREAM, SETTINGS, WINDOW_UPDATE,
};
use crate::patience::{PATIENCE, within};

/// The largest DATA frame.
const FRAME: usize = 16 << 10;

/// The initial window of a stream and of the connection (RFC 9113 section 6.9.2).
const FIRST: i64 = 65_535;

/// A setting (RFC 9113 section 6.5.2).
const INITIAL_WINDOW_SIZE: [u8; 2] = [0, 4];

/// The outcome of an upload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// It was answered.
    Status(u16),
    /// It was reset.
    Reset,
}

/// The uploads of one connection.
#[derive(Debug)]
pub struct Uploads {
    connection: Connection,
    window: i64,
    /// The initial window of a stream.
    first: i64,
    next: u32,
    uploads: BTreeMap<u32, Upload>,
    /// The outcomes of the finished uploads.
    pub ends: BTreeMap<u32, End>,
}

#[derive(Debug)]
struct Upload {
    window: i64,
    /// How many bytes it still has to send.
    left: usize,
    /// The largest frame.
    frame: usize,
    /// Whether these bytes are the last.
    ends: bool,
}

impl Uploads {
    /// Connects, and waits for the server's SETTINGS.
    pub async fn open(target: &Target) -> Self {
        let connection = Connection::open(target).await;
        let uploads = BTreeMap::new();
        let mut opened =
            Self { connection, window: FIRST, first: FIRST, next: 1, uploads, ends: BTreeMap::new() };
        while opened.first == FIRST {
            within(PATIENCE, "SETTINGS", opened.hear()).await;
        }
        opened
    }

    /// Begins a POST that sends this many bytes of its body, and returns its stream.
    pub async fn post(&mut self, path: &str, bytes: usize, ends: bool) -> u32 {
        self.post_in_frames(path, bytes, ends, FRAME).await
    }

    /// The same in frames of at most this size.
    pub async fn post_in_frames(&mut self, path: &str, bytes: usize, ends: bool, frame: usize) -> u32 {
        let stream = self.next;
        self.next += 2;
        self.connection.send(&[Frame::post(stream, path)]).await;
        self.uploads.insert(stream, Upload { window: self.first, left: bytes, frame, ends });
        stream
    }

    /// Sends until all bytes are sent, or until the windows stay closed for this long. Returns the number of bytes
    /// left.
    pub async fn send(&mut self, patience: Duration) -> usize {
        loop {
            let has_sent = self.send_round().await;
            let left = self.uploads.values().map(|upload| upload.left).sum();
            let wait = if has_sent { Duration::from_micros(100) } else { patience };
            let has_heard = tokio::time::timeout(wait, self.hear()).await.is_ok();
            if left == 0 || (!has_sent && !has_heard) {
                return left;
            }
        }
    }

    /// Sends until only this many uploads remain.
    pub async fn finish(&mut self, rest: usize) {
        while self.uploads.len() > rest {
            let wait = if self.send_round().await { Duration::from_micros(100) } else { PATIENCE };
            let heard = tokio::time::timeout(wait, self.hear()).await;
            assert!(heard.is_ok() || wait < PATIENCE, "no frame came for {PATIENCE:?}: {:?}", self.uploads);
        }
    }

    /// Sends one frame of each upload that may send.
    async fn send_round(&mut self) -> bool {
        let mut frames = Vec::new();
        for (stream, upload) in &mut self.uploads {
            let may = upload.window.min(self.window).max(0) as usize;
            let bytes = upload.left.min(may).min(upload.frame);
            if bytes == 0 {
                continue;
            }
            upload.left -= bytes;
            upload.window -= bytes as i64;
            self.window -= bytes as i64;
            let flags = if upload.left == 0 && upload.ends { END_OF_STREAM } else { 0 };
            frames.push(Frame::new(DATA, flags, *stream, &vec![b'x'; bytes]));
        }
        self.connection.send(&frames).await;
        !frames.is_empty()
    }

    /// Applies the server's next frames. Cancel safe.
    async fn hear(&mut self) {
        let frames = self.connection.try_frames().await.expect("no reset of the connection");
        assert!(!frames.is_empty(), "closed");
        let answers: Vec<Frame> = frames.iter().filter_map(Frame::acknowledges).collect();
        frames.into_iter().for_each(|frame| self.note(&frame));
        self.connection.send(&answers).await;
    }

    fn note(&mut self, frame: &Frame) {
        let number = |at: usize| u32::from_be_bytes(*frame.payload[at..].first_chunk().expect("4 bytes"));
        match frame.kind {
            SETTINGS => {
                for setting in frame.payload.chunks(6).filter(|setting| setting[..2] == INITIAL_WINDOW_SIZE) {
                    let first = i64::from(u32::from_be_bytes(*setting[2..].first_chunk().expect("4 bytes")));
                    let more = first - std::mem::replace(&mut self.first, first);
                    self.uploads.values_mut().for_each(|upload| upload.window += more);
                }
            }
            WINDOW_UPDATE if frame.stream == 0 => self.window += i64::from(number(0)),
            WINDOW_UPDATE => {
                if let Some(upload) = self.uploads.get_mut(&frame.stream) {
                    upload.window += i64::from(number(0));
                }
            }
            HEADERS => {
                self.uploads.remove(&frame.stream);
                self.ends.insert(frame.stream, End::Status(frame.status().expect("a status")));
            }
            RST_STREAM => {
                self.uploads.remove(&frame.stream);
                self.ends.entry(frame.stream).or_insert(End::Reset);
            }
            GOAWAY => panic!("GOAWAY: {:?}", frame.goaway()),
            _ => {}
        }
    }
}
