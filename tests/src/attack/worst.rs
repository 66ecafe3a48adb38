//! The clients that occupy the most of a server's memory, each in its own way.

use std::fmt::Write as _;

use bytes::Bytes;

use crate::attack::slow::client_hello;
use crate::attack::{Attacker, Reads, Then, Wire};
use crate::client::{get, post_head};
use crate::frames::{CONTINUATION, DATA, END_OF_HEADERS, END_OF_STREAM, Frame, HEADERS, PREFACE, SETTINGS};

/// The number of streams that every HTTP/2 server should allow (RFC 9113 section 6.5.2).
const STREAMS: u32 = 100;

/// The largest body that a server takes by default.
const BODY: usize = 2 << 20;

/// The payload of a frame that every server takes (RFC 9113 section 4.2).
const FRAME: usize = 16 << 10;

/// One of each kind, on plain text and over TLS.
pub fn worst() -> Vec<Attacker> {
    let over = |attackers: Vec<Attacker>, wire| {
        attackers.into_iter().map(move |attacker| Attacker {
            name: attacker.name.replacen(':', " over TLS:", 1),
            wire,
            ..attacker
        })
    };
    let tls = |wire, attacker| Attacker { wire, ..attacker };
    let mut all = [http1(), http2()].concat();
    all.extend(over(http1(), Wire::Tls("http/1.1")));
    all.extend(over(http2(), Wire::Tls("h2")));
    all.push(tls(Wire::UnderTls, Attacker::new("TLS: 60 KiB of a ClientHello without end", large_hello())));
    all.push(tls(Wire::Tls("http/1.1"), Attacker::new("TLS: silent after the handshake", "")));
    all
}

/// How many chunks of one byte a client sends to a handler that collects its body.
const CHUNKS: usize = 200_000;

/// A body in chunks of one byte, without its end, that a handler collects; on plain text and over TLS.
pub fn in_small_chunks() -> Vec<Attacker> {
    let head = "POST /length HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n";
    let opening = head.to_owned() + &"1\r\nx\r\n".repeat(CHUNKS);
    let plain = Attacker::new("HTTP/1.1: a body in chunks of one byte that a handler collects", opening);
    let name = plain.name.replacen(':', " over TLS:", 1);
    vec![plain.clone(), Attacker { name, wire: Wire::Tls("http/1.1"), ..plain }]
}

fn http1() -> Vec<Attacker> {
    let chunks = format!("{:x}\r\n{}\r\n", 1 << 16, "x".repeat(1 << 16)).repeat(BODY >> 16);
    let chunked = "POST /never HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n";
    let body = "x".repeat(BODY);
    let posts = |path| post_head(path, BODY) + &body;
    let unread = |attacker| Attacker { reads: Reads::Nothing, ..attacker };
    vec![
        Attacker::new("HTTP/1.1: half a head of 60 KiB", half_head()),
        Attacker::new("HTTP/1.1: a body of 2 MiB that the handler does not read", posts("/never")),
        Attacker::new("HTTP/1.1: the same in chunks", chunked.to_owned() + &chunks),
        Attacker::new(
            "HTTP/1.1: 100 000 requests behind a slow one",
            get("/never") + &get("/ping").repeat(100_000),
        ),
        unread(Attacker::new("HTTP/1.1: 16 MiB from a stream, of which it reads nothing", get("/large"))),
        unread(Attacker::new(
            "HTTP/1.1: 100 pipelined requests for 1 MiB, of which it reads nothing",
            get("/big?bytes=1048576").repeat(100),
        )),
        unread(Attacker::new("HTTP/1.1: 2 MiB that come back, of which it reads nothing", posts("/echo"))),
    ]
}

fn http2() -> Vec<Attacker> {
    let open = Frame::new(SETTINGS, 0, 0, &[]);
    let attacker = |name, settings: &Frame, frames: Vec<u8>| Attacker {
        reads: Reads::AnswersFrames,
        ..Attacker::new(name, [PREFACE, &settings.bytes(), &frames].concat())
    };
    let each = |frames: fn(u32) -> Vec<u8>| (0..STREAMS).flat_map(|number| frames(number * 2 + 1)).collect();
    let downloads = each(|stream| Frame::get(stream, "/big?bytes=1048576").bytes());
    let posts = each(|stream| Frame::post(stream, "/never").bytes());
    let bodies = Attacker {
        then: Then::Drips(bodies),
        ..attacker("HTTP/2: 100 bodies that no handler reads", &open, posts)
    };
    let heads = each(|stream| large_request(stream).concat());
    let mut unfinished = large_request(1);
    unfinished.pop();
    vec![
        attacker("HTTP/2: 100 requests for 1 MiB, window 0", &Frame::window(0), downloads),
        attacker("HTTP/2: 100 requests with heads of 60 KiB", &open, heads),
        bodies,
        // An answer to SETTINGS would be a frame in the middle of its head.
        Attacker {
            reads: Reads::All,
            ..attacker("HTTP/2: a head of 60 KiB without end", &open, unfinished.concat())
        },
    ]
}

/// Slightly less than the limit of 64 KiB.
fn half_head() -> Vec<u8> {
    let mut head = String::from("GET /ping HTTP/1.1\r\nHost: localhost\r\n");
    for number in 0..60 {
        write!(head, "x-{number}: {}\r\n", "v".repeat(1000)).expect("a string takes everything");
    }
    head.into_bytes()
}

/// The frames of a request, with a field of 60 000 bytes, to a handler that never answers.
fn large_request(stream: u32) -> Vec<Vec<u8>> {
    let mut fields = Frame::get(stream, "/never").payload;
    // A literal field; its length is an integer of several bytes (RFC 7541 section 5.1).
    fields.extend(b"\x00\x01a\x7f\xe1\xd3\x03");
    fields.resize(fields.len() + 60_000, b'v');
    let mut frames: Vec<Frame> =
        fields.chunks(FRAME).map(|part| Frame::new(CONTINUATION, 0, stream, part)).collect();
    if let [first, .., last] = &mut frames[..] {
        (first.kind, first.flags, last.flags) = (HEADERS, END_OF_STREAM, END_OF_HEADERS);
    }
    frames.iter().map(Frame::bytes).collect()
}

/// First the bytes of bodies that the connection's initial window allows. Then, after the server has had time to widen
/// it, the bytes that the initial windows of the streams allow.
fn bodies(round: u32) -> Bytes {
    let each = match round {
        0 => 600,
        1 => (8 << 10) - 600,
        _ => return Bytes::new(),
    };
    let body = vec![b'x'; each];
    (0..STREAMS).flat_map(|number| Frame::new(DATA, 0, number * 2 + 1, &body).bytes()).collect()
}

/// The start of a ClientHello that announces 65 000 bytes, in records of 16 KiB.
fn large_hello() -> Bytes {
    let hello = client_hello();
    // The handshake message begins behind the record's 5 bytes: its type, then its length in 3 bytes.
    let mut message = vec![hello[5], 0, 0xfd, 0xe8];
    message.resize(60_000, 0);
    let record = |part: &[u8]| {
        let length = (part.len() as u16).to_be_bytes();
        [&[22, 3, 1], &length[..], part].concat()
    };
    message.chunks(16 << 10).flat_map(record).collect()
}
