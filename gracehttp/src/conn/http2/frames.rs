//! The frames of an HTTP/2 client, counted before h2 sees them.
//!
//! h2 handles as many frames as a client sends, at the full speed of a core: it answers each PING and each SETTINGS,
//! and reads the rest. Here only the nine bytes at the head of each frame are read (RFC 9113 section 4.1). Frames
//! that bring a request or data are free. The others use up an allowance, which grows with time, with requests and
//! with what the client was sent.

use std::time::Duration;

use tokio::time::Instant;

/// The length of the preface before the first frame (RFC 9113 section 3.4). h2 checks its bytes.
const PREFACE: u8 = 24;

pub(super) const HEAD: usize = 9;

const INCREMENT: usize = 4;

const DATA: u8 = 0x0;
const HEADERS: u8 = 0x1;
const PRIORITY: u8 = 0x2;
pub(super) const RST_STREAM: u8 = 0x3;
pub(super) const SETTINGS: u8 = 0x4;
const PING: u8 = 0x6;
const GOAWAY: u8 = 0x7;
pub(super) const WINDOW_UPDATE: u8 = 0x8;
const CONTINUATION: u8 = 0x9;

const ACK: u8 = 0x1;
const END_STREAM: u8 = 0x1;
const END_HEADERS: u8 = 0x4;
const PADDED: u8 = 0x8;

/// How many frames that bring nothing a client may send at once: a page's worth of priorities and cancelled requests.
const BURST: u64 = 2000;

/// How many such frames a second it may send without end. Keep-alive PINGs come every few seconds.
const A_SECOND: u64 = 300;

/// The time that allows one more.
const FOR_A_FRAME: Duration = Duration::from_nanos(1_000_000_000 / A_SECOND);

/// What each request allows: two windows opened, a priority, and one more.
const FOR_A_REQUEST: u64 = 4;

/// What each piece of a response allows. Some clients, such as Python's h2, open two windows for each DATA frame.
const FOR_A_PIECE: u64 = 2;

/// How many bytes written allow one more frame. Go's client opens two windows for each 4 KiB that it has read; one with
/// a window of 1 KiB opens it each time that it has read a half.
const BYTES_FOR_A_FRAME: u64 = 256;

/// The price of a cancelled request: twice what the request allowed. So a client that cancels most of its requests at
/// full speed runs out (CVE-2023-44487), and one that cancels every other one does not.
const RESET_COSTS: u64 = 2 * FOR_A_REQUEST;

/// The price of a frame that costs much to answer, and of which a connection needs only a few.
const RARE_COSTS: u64 = 8;

/// The price of a PING ACK: we send three PINGs a minute, and h2 logs a line for each ACK that answers none of them.
const PONG_COSTS: u64 = 100;

/// Follows what a client sends.
#[derive(Debug)]
pub(crate) struct Frames {
    place: Place,
    allowance: Allowance,
    /// The highest stream that was opened.
    last_stream: u32,
    /// How many bytes were read before this turn.
    offset: u64,
    /// How many streams were opened.
    opened: u64,
    /// A header block has begun and not ended: CONTINUATION frames follow.
    is_inside_head: bool,
    /// The stream that this block opens with a body to follow.
    opening: Option<u32>,
    /// The head of such a request has come.
    has_arrived: bool,
    /// Requests without a body have come, perhaps in this turn of the connection.
    has_others: bool,
    /// A request with a body begins, and has to wait for the next turn.
    waits: bool,
    events: Vec<Event>,
    /// By how much the client has opened the window of the connection.
    granted: u64,
}

/// What the next byte is part of.
#[derive(Debug)]
enum Place {
    Preface {
        left: u8,
    },
    Head {
        bytes: [u8; HEAD],
        read: usize,
    },
    Payload {
        left: u32,
    },
    /// The payload of a WINDOW_UPDATE for the connection.
    Increment {
        bytes: [u8; INCREMENT],
        read: usize,
    },
    /// The payload of a padded DATA frame, whose first byte is the length of its padding.
    Padded(Head),
}

/// What happens to a request body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// A head has come that a body follows.
    Opened(u32),
    /// DATA begins, at this place of all that the client sends. Its whole length counts for flow control, the length of
    /// its padding included.
    Data { stream: u32, length: usize, padding: usize, place: u64 },
    /// No more of it will come.
    Closed(u32),
    /// Our SETTINGS are known to the client.
    Acknowledged,
}

/// Why the connection has to end, and its code (RFC 9113 section 7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Fault {
    /// The client has sent more of a body than it was allowed (section 6.9.1).
    FlowControl = 0x3,
    /// A frame does not have the size of its kind. h2 would say PROTOCOL_ERROR.
    FrameSize = 0x6,
    /// Too many frames bring nothing: ENHANCE_YOUR_CALM.
    Flood = 0xb,
}

/// What the server has sent so far: the client may answer it with frames.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sent {
    /// All bytes.
    pub(crate) bytes: u64,
    /// Pieces of response bodies.
    pub(crate) pieces: u64,
}

impl Frames {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            place: Place::Preface { left: PREFACE },
            allowance: Allowance::new(now),
            last_stream: 0,
            offset: 0,
            opened: 0,
            is_inside_head: false,
            opening: None,
            has_arrived: false,
            has_others: false,
            waits: false,
            events: Vec::new(),
            granted: 0,
        }
    }

    /// Reads on, up to the end of a head that a body follows. Such a head comes alone in its turn: if others have come
    /// before, h2 gets no more than its first bytes. Returns how many bytes it has read.
    pub(crate) fn read(&mut self, all: &[u8], sent: Sent) -> Result<usize, Fault> {
        self.allowance.note_sent(sent);
        let mut bytes = all;
        while !bytes.is_empty() {
            if self.waits || (self.has_arrived && self.place.is_start()) {
                break;
            }
            match &mut self.place {
                Place::Preface { left } => {
                    let count = bytes.len().min(usize::from(*left));
                    bytes = &bytes[count..];
                    *left -= count as u8;
                    if *left == 0 {
                        self.place = Place::HEAD;
                    }
                }
                Place::Head { bytes: head, read } => {
                    let count = bytes.len().min(HEAD - *read);
                    head[*read..*read + count].copy_from_slice(&bytes[..count]);
                    bytes = &bytes[count..];
                    *read += count;
                    if *read == HEAD {
                        let head = Head::parse(*head);
                        self.place = Place::after(head);
                        let place = self.offset + (all.len() - bytes.len()) as u64;
                        self.begin(head, place)?;
                    }
                }
                Place::Payload { left } => {
                    let count = bytes.len().min(*left as usize);
                    bytes = &bytes[count..];
                    *left -= count as u32;
                    if *left == 0 {
                        self.place = Place::HEAD;
                    }
                }
                Place::Increment { bytes: increment, read } => {
                    let count = bytes.len().min(INCREMENT - *read);
                    increment[*read..*read + count].copy_from_slice(&bytes[..count]);
                    bytes = &bytes[count..];
                    *read += count;
                    if *read == INCREMENT {
                        self.granted += u64::from(u32::from_be_bytes(*increment) & 0x7fff_ffff);
                        self.place = Place::HEAD;
                    }
                }
                Place::Padded(head) => {
                    let head = *head;
                    let place = self.offset + (all.len() - bytes.len()) as u64;
                    self.note_data(head, 1 + usize::from(bytes[0]), place);
                    // That byte is read again, as a part of the payload.
                    self.place = Place::Payload { left: head.length };
                }
            }
        }
        let read = all.len() - bytes.len();
        self.offset += read as u64;
        Ok(read)
    }

    /// The highest stream that the client has opened.
    pub(crate) fn last_stream(&self) -> u32 {
        self.last_stream
    }

    /// How many streams the client has opened.
    pub(crate) fn opened(&self) -> u64 {
        self.opened
    }

    /// What has happened since the caller emptied the list.
    pub(crate) fn events(&mut self) -> &mut Vec<Event> {
        &mut self.events
    }

    /// Whether the head of a request with a body has come. The reader pauses until this method is called.
    pub(crate) fn take_arrived(&mut self) -> bool {
        self.place.is_start() && std::mem::take(&mut self.has_arrived)
    }

    /// Whether a request with a body waits for the next turn. Nothing more is read before that.
    pub(crate) fn ends_turn(&mut self) -> bool {
        let ends = std::mem::take(&mut self.waits);
        self.has_others &= !ends;
        ends
    }

    /// Whether a header block has begun and not ended.
    pub(crate) fn is_inside_head(&self) -> bool {
        self.is_inside_head
    }

    /// By how much the client has opened the window of the connection.
    pub(crate) fn granted(&self) -> u64 {
        self.granted
    }

    fn begin(&mut self, head: Head, place: u64) -> Result<(), Fault> {
        if !head.has_valid_size() {
            return Err(Fault::FrameSize);
        }
        let opens = head.kind == HEADERS && head.stream > self.last_stream;
        if opens {
            self.last_stream = head.stream;
            self.opening = (!head.ends_stream()).then_some(head.stream);
            self.waits = self.has_others && self.opening.is_some();
            self.has_others |= self.opening.is_none();
        }
        if matches!(head.kind, HEADERS | CONTINUATION) {
            self.is_inside_head = head.flags & END_HEADERS == 0;
            if !self.is_inside_head
                && let Some(stream) = self.opening.take()
            {
                self.has_arrived = true;
                self.events.push(Event::Opened(stream));
            }
        }
        if head.stream <= self.last_stream && !opens {
            self.note_body(head, place);
        }
        if opens {
            self.opened += 1;
            self.allowance.earn(FOR_A_REQUEST);
            return Ok(());
        }
        match head.cost() {
            0 => Ok(()),
            cost => self.allowance.spend(cost),
        }
    }
}

impl Frames {
    fn note_body(&mut self, head: Head, place: u64) {
        match head.kind {
            DATA if head.is_padded() => {}
            DATA => self.note_data(head, 0, place),
            SETTINGS if head.is_ack() => self.events.push(Event::Acknowledged),
            HEADERS if head.ends_stream() => self.events.push(Event::Closed(head.stream)),
            RST_STREAM => self.events.push(Event::Closed(head.stream)),
            _ => {}
        }
    }

    fn note_data(&mut self, head: Head, padding: usize, place: u64) {
        let length = head.length as usize;
        self.events.push(Event::Data { stream: head.stream, length, padding, place });
        if head.ends_stream() {
            self.events.push(Event::Closed(head.stream));
        }
    }
}

impl Place {
    const HEAD: Self = Self::Head { bytes: [0; HEAD], read: 0 };

    /// Whether a frame begins with the next byte.
    fn is_start(&self) -> bool {
        matches!(self, Self::Head { read: 0, .. })
    }

    fn after(head: Head) -> Self {
        match head.length {
            0 => Self::HEAD,
            _ if head.kind == DATA && head.is_padded() => Self::Padded(head),
            4 if head.kind == WINDOW_UPDATE && head.stream == 0 => {
                Self::Increment { bytes: [0; INCREMENT], read: 0 }
            }
            length => Self::Payload { left: length },
        }
    }
}

/// The head of a frame.
#[derive(Clone, Copy, Debug)]
pub(super) struct Head {
    pub(super) length: u32,
    pub(super) kind: u8,
    flags: u8,
    pub(super) stream: u32,
}

impl Head {
    pub(super) fn parse(bytes: [u8; HEAD]) -> Self {
        let [a, b, c, kind, flags, s, t, u, v] = bytes;
        Self {
            length: u32::from_be_bytes([0, a, b, c]),
            kind,
            flags,
            stream: u32::from_be_bytes([s, t, u, v]) & 0x7fff_ffff,
        }
    }

    pub(super) fn is_ack(self) -> bool {
        self.flags & ACK != 0
    }

    fn is_padded(self) -> bool {
        self.flags & PADDED != 0
    }

    fn ends_stream(self) -> bool {
        matches!(self.kind, DATA | HEADERS) && self.flags & END_STREAM != 0
    }

    /// Sections 6.3 to 6.9. Those that may have any size are for h2 to judge.
    fn has_valid_size(self) -> bool {
        match self.kind {
            PRIORITY => self.length == 5,
            RST_STREAM | WINDOW_UPDATE => self.length == 4,
            SETTINGS if self.flags & ACK != 0 => self.length == 0,
            SETTINGS => self.length.is_multiple_of(6),
            PING => self.length == 8,
            GOAWAY => self.length >= 8,
            _ => true,
        }
    }

    /// What a frame costs. HEADERS that get here are trailers, or an error that h2 will find.
    fn cost(self) -> u64 {
        match self.kind {
            DATA if self.brings_data() || self.flags & END_STREAM != 0 => 0,
            RST_STREAM => RESET_COSTS,
            SETTINGS if self.flags & ACK == 0 => RARE_COSTS + u64::from(self.length) / 64,
            GOAWAY => RARE_COSTS,
            PING if self.flags & ACK != 0 => PONG_COSTS,
            DATA | HEADERS | PING | SETTINGS | WINDOW_UPDATE | CONTINUATION => 1,
            // PRIORITY, and kinds that h2 does not know: their bytes have to be read, too.
            _ => 1 + u64::from(self.length) / 1024,
        }
    }

    /// Padding is no data: one byte that says how much follows, and at most 255 more.
    fn brings_data(self) -> bool {
        if !self.is_padded() { self.length > 0 } else { self.length > 256 }
    }
}

/// How many frames that bring nothing are still allowed: a token bucket.
#[derive(Debug)]
struct Allowance {
    left: u64,
    refilled: Instant,
    sent: Sent,
}

impl Allowance {
    fn new(now: Instant) -> Self {
        Self { left: BURST, refilled: now, sent: Sent::default() }
    }

    fn earn(&mut self, frames: u64) {
        self.left = (self.left + frames).min(BURST);
    }

    fn note_sent(&mut self, sent: Sent) {
        let pieces = sent.pieces - self.sent.pieces;
        let frames = (sent.bytes - self.sent.bytes) / BYTES_FOR_A_FRAME;
        if pieces > 0 || frames > 0 {
            self.earn(frames + pieces * FOR_A_PIECE);
            // What is not enough for a frame counts towards the next one.
            self.sent = Sent { bytes: self.sent.bytes + frames * BYTES_FOR_A_FRAME, pieces: sent.pieces };
        }
    }

    /// The clock is read only if the rest is not enough.
    fn spend(&mut self, frames: u64) -> Result<(), Fault> {
        if self.left < frames {
            self.refill(Instant::now());
        }
        self.left = self.left.checked_sub(frames).ok_or(Fault::Flood)?;
        Ok(())
    }

    fn refill(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.refilled).as_nanos();
        let frames = u64::try_from(passed / FOR_A_FRAME.as_nanos()).unwrap_or(u64::MAX).min(BURST);
        self.earn(frames);
        // What is not enough for a frame counts towards the next one.
        self.refilled = if frames == BURST { now } else { self.refilled + FOR_A_FRAME * frames as u32 };
    }
}

#[cfg(test)]
#[path = "frames_tests.rs"]
mod tests;
