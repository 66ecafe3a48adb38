//! The table. Each connection begins with the preface and empty SETTINGS; stream 1 is the first request.

use tests::frames::{
    ACK, CONTINUATION, DATA, END_OF_HEADERS, END_OF_STREAM, END_OF_STREAM_AND_HEADERS, Frame, GOAWAY,
    HEADERS, PADDED, PING, PRIORITY, PUSH_PROMISE, RST_STREAM, SETTINGS, WINDOW_UPDATE,
};

use crate::case::Expect::{Goaway, Nothing, Reset, Status};
use crate::case::Then::{Closed, Open};
use crate::case::{Case, Expect, Then, Time};

// Section 7.
const PROTOCOL_ERROR: u32 = 0x1;
const FLOW_CONTROL_ERROR: u32 = 0x3;
const FRAME_SIZE_ERROR: u32 = 0x6;
const CALM: u32 = 0xb;

const PRIORITY_UPDATE: u8 = 0x10;
const GREASE: u8 = 0xba;
const WITH_PRIORITY: u8 = 0x20;

/// A request's fields, which [`but`] changes.
const GET: [(&str, &str); 4] =
    [(":method", "GET"), (":scheme", "https"), (":authority", "localhost"), (":path", "/ping")];

/// The fields of GET, with these instead of those of the same name, or besides.
fn but(fields: &[(&'static str, &'static str)]) -> Vec<(&'static str, &'static str)> {
    let mut all: Vec<_> =
        GET.into_iter().filter(|(name, _)| fields.iter().all(|(new, _)| new != name)).collect();
    // Pseudo-header fields first, unless they are what is wrong.
    all.splice(0..0, fields.iter().copied().filter(|(name, _)| name.starts_with(':')));
    all.extend(fields.iter().copied().filter(|(name, _)| !name.starts_with(':')));
    all
}

fn without(name: &str) -> Vec<(&'static str, &'static str)> {
    GET.into_iter().filter(|(own, _)| *own != name).collect()
}

/// A whole request on stream 1.
fn asks(fields: &[(&str, &str)]) -> Vec<Frame> {
    vec![Frame::head(END_OF_STREAM_AND_HEADERS, 1, fields)]
}

/// A request on stream 1 that a body follows.
fn posts(fields: &[(&'static str, &'static str)], then: &[Frame]) -> Vec<Frame> {
    let fields = but(&[&[(":method", "POST"), (":path", "/echo")], fields].concat());
    [&[Frame::head(END_OF_HEADERS, 1, &fields)], then].concat()
}

fn data(flags: u8, payload: &[u8]) -> Frame {
    Frame::new(DATA, flags, 1, payload)
}

fn never() -> Frame {
    Frame::get(1, "/never")
}

fn settings(id: u8, value: u32) -> Frame {
    Frame::new(SETTINGS, 0, 0, &[&[0, id][..], &value.to_be_bytes()].concat())
}

fn update(stream: u32, increment: u32) -> Frame {
    Frame::new(WINDOW_UPDATE, 0, stream, &increment.to_be_bytes())
}

fn reset(stream: u32) -> Frame {
    Frame::new(RST_STREAM, 0, stream, &8_u32.to_be_bytes())
}

fn row(
    name: &'static str,
    section: &'static str,
    frames: impl Into<Vec<Frame>>,
    expect: Expect,
    then: Then,
) -> Case {
    Case { name, section, frames: frames.into(), expect, over_tls: None, then, time: Time::Soon }
}

pub(crate) fn table() -> Vec<Case> {
    [valid(), requests(), frames(), of_h2(), attacks()].into_iter().flatten().collect()
}

fn valid() -> Vec<Case> {
    let get = Frame::get(1, "/ping");
    let halves = {
        let whole = get.payload.clone();
        let (first, last) = whole.split_at(5);
        [
            Frame::new(HEADERS, END_OF_STREAM, 1, first),
            Frame::new(CONTINUATION, 0, 1, &[]),
            Frame::new(CONTINUATION, END_OF_HEADERS, 1, last),
        ]
    };
    let padded_head = Frame::new(
        HEADERS,
        END_OF_STREAM_AND_HEADERS | PADDED,
        1,
        &[&[3], &get.payload[..], &[0; 3]].concat(),
    );
    let with_priority = Frame::new(
        HEADERS,
        END_OF_STREAM_AND_HEADERS | WITH_PRIORITY,
        1,
        &[&[0, 0, 0, 0, 15], &get.payload[..]].concat(),
    );
    let post = |then: &[Frame]| posts(&[], then);
    let and_get = |frame: Frame| vec![frame, Frame::get(1, "/ping")];
    vec![
        row("a request", "8.1", [get.clone()], Status(1, 200), Open),
        row("fields that no table has", "RFC 7541 6.2.2", asks(&GET), Status(1, 200), Open),
        row("a body", "8.1", post(&[data(0, b"a"), data(END_OF_STREAM, b"b")]), Status(1, 200), Open),
        row(
            "a body with its length",
            "8.1.1",
            posts(&[("content-length", "2")], &[data(1, b"ab")]),
            Status(1, 200),
            Open,
        ),
        row(
            "padded DATA",
            "6.1",
            post(&[data(PADDED | END_OF_STREAM, b"\x03abc\0\0\0")]),
            Status(1, 200),
            Open,
        ),
        row(
            "DATA that is all padding",
            "6.1",
            post(&[data(PADDED | END_OF_STREAM, b"\x02\0\0")]),
            Status(1, 200),
            Open,
        ),
        row(
            "an empty DATA at the end",
            "6.1",
            post(&[data(0, b"a"), data(END_OF_STREAM, b"")]),
            Status(1, 200),
            Open,
        ),
        row("a padded head", "6.2", [padded_head], Status(1, 200), Open),
        row("a head with a priority", "6.2", [with_priority], Status(1, 200), Open),
        row("a head in three frames", "6.10", halves, Status(1, 200), Open),
        row(
            "a client that waits for 100",
            "RFC 9110 10.1.1",
            posts(&[("expect", "100-continue")], &[]),
            Status(1, 100),
            Open,
        ),
        row(
            "one that does not wait",
            "RFC 9110 10.1.1",
            posts(&[("expect", "100-continue")], &[data(1, b"a")]),
            Status(1, 200),
            Open,
        ),
        row(
            "trailers",
            "8.1",
            post(&[data(0, b"a"), Frame::head(END_OF_STREAM_AND_HEADERS, 1, &[("x", "y")])]),
            Status(1, 200),
            Open,
        ),
        row(
            "streams that skip numbers",
            "5.1.1",
            [Frame::get(1, "/never"), Frame::get(7, "/ping")],
            Status(7, 200),
            Open,
        ),
        row(
            "a kind of frame nobody knows",
            "4.1",
            and_get(Frame::new(GREASE, 0xff, 9, b"grease")),
            Status(1, 200),
            Open,
        ),
        row(
            "flags nobody knows",
            "4.1",
            and_get(Frame::new(PING, 0xfe, 0, b"8 octets")),
            Status(1, 200),
            Open,
        ),
        row(
            "the reserved bit of a stream",
            "4.1",
            and_get(Frame::new(WINDOW_UPDATE, 0, 0x8000_0000, &[0, 0, 0, 1])),
            Status(1, 200),
            Open,
        ),
        row("a setting nobody knows", "6.5.2", and_get(settings(0xba, 1)), Status(1, 200), Open),
        row(
            "a priority for an idle stream",
            "5.3.2",
            and_get(Frame::new(PRIORITY, 0, 5, &[0, 0, 0, 3, 7])),
            Status(1, 200),
            Open,
        ),
        row(
            "PRIORITY_UPDATE",
            "RFC 9218 7.1",
            and_get(Frame::new(PRIORITY_UPDATE, 0, 0, b"\0\0\0\x01u=1")),
            Status(1, 200),
            Open,
        ),
        row("both windows opened", "6.9", [never(), update(0, 1), update(1, 1)], Nothing, Open),
        row("a request given up", "6.4", [never(), reset(1)], Nothing, Open),
        row("a window for a stream that is over", "6.9", [never(), reset(1), update(1, 1)], Nothing, Open),
        row(
            "answers to PING nobody asked for",
            "6.7",
            vec![Frame::new(PING, ACK, 0, b"8 octets"); 3],
            Nothing,
            Open,
        ),
        row("no push, thank you", "6.5.2", and_get(settings(2, 0)), Status(1, 200), Open),
        row("`te: trailers`", "8.2.2", asks(&but(&[("te", "trailers")])), Status(1, 200), Open),
        row(
            "Host beside the same :authority",
            "8.3.1",
            asks(&but(&[("host", "LOCALHOST:443")])),
            Status(1, 200),
            Open,
        ),
        row(
            "Host without :authority",
            "8.3.1",
            asks(&[&without(":authority")[..], &[("host", "localhost")]].concat()),
            Status(1, 200),
            Open,
        ),
        row(
            "a cookie in pieces",
            "8.2.3",
            asks(&but(&[("cookie", "a=1"), ("cookie", "b=2")])),
            Status(1, 200),
            Open,
        ),
        row(
            "OPTIONS *",
            "8.3.1",
            asks(&but(&[(":method", "OPTIONS"), (":path", "*")])),
            Status(1, 404),
            Open,
        ),
        row(
            "CONNECT where nobody answers it",
            "8.5",
            asks(&[(":method", "CONNECT"), (":authority", "localhost:1")]),
            Status(1, 405),
            Open,
        ),
        Case {
            over_tls: Some(Status(1, 421)),
            ..row(":scheme http", "RFC 9110 7.4", asks(&but(&[(":scheme", "http")])), Status(1, 200), Open)
        },
    ]
}

/// Requests that are malformed (section 8.1.1) or over a limit: one stream's fault, not the connection's.
fn requests() -> Vec<Case> {
    let reset = |name, section, fields: &[(&str, &str)]| {
        row(name, section, asks(fields), Reset(1, PROTOCOL_ERROR), Open)
    };
    let status = |name, section, status, fields: &[(&str, &str)]| {
        row(name, section, asks(fields), Status(1, status), Open)
    };
    let one_more = |field: (&'static str, &'static str)| [&GET[..], &[field]].concat();
    let long = |length: usize| -> &'static str { Box::leak("v".repeat(length).into_boxed_str()) };
    let many: Vec<_> = (0..21).map(|_| ("x", "y")).collect();
    let in_frames = |fields: &[(&str, &str)]| Frame::head_in_frames(1, fields);
    vec![
        status("Host beside another :authority", "8.3.1", 400, &but(&[("host", "evil.example")])),
        status("two Hosts", "8.3.1", 400, &but(&[("host", "localhost"), ("host", "localhost")])),
        status("an empty Host", "8.3.1", 400, &but(&[("host", "")])),
        status("a user in :authority", "8.3.1", 400, &but(&[(":authority", "user@localhost")])),
        status("neither :authority nor Host", "RFC 9110 7.2", 400, &without(":authority")),
        reset("an empty :authority", "8.3.1", &but(&[(":authority", "")])),
        reset("no :method", "8.3.1", &without(":method")),
        reset("no :scheme", "8.3.1", &without(":scheme")),
        reset("no :path", "8.3.1", &without(":path")),
        reset("an empty :path", "8.3.1", &but(&[(":path", "")])),
        reset("two :path", "8.3.1", &one_more((":path", "/"))),
        reset(":status in a request", "8.3", &but(&[(":status", "200")])),
        reset(
            ":protocol without extended CONNECT",
            "RFC 8441 4",
            &but(&[(":method", "CONNECT"), (":protocol", "websocket")]),
        ),
        reset(
            "a pseudo-header field after others",
            "8.3",
            &[&without(":path")[..], &[("x", "y"), (":path", "/")]].concat(),
        ),
        row(
            "trailers without the end of the stream",
            "8.1",
            posts(&[], &[data(0, b"a"), Frame::head(4, 1, &[("x", "y")])]),
            Reset(1, PROTOCOL_ERROR),
            Open,
        ),
        reset("Connection", "8.2.2", &but(&[("connection", "keep-alive")])),
        reset("Keep-Alive", "8.2.2", &but(&[("keep-alive", "timeout=5")])),
        reset("Proxy-Connection", "8.2.2", &but(&[("proxy-connection", "close")])),
        reset("Transfer-Encoding", "8.2.2", &but(&[("transfer-encoding", "chunked")])),
        reset("Upgrade", "8.2.2", &but(&[("upgrade", "h2c")])),
        reset("TE other than trailers", "8.2.2", &but(&[("te", "gzip")])),
        status("white space before a value", "8.2.1", 400, &but(&[("x", " y")])),
        status("white space behind a value", "8.2.1", 400, &but(&[("x", "y\t")])),
        status("`*` without OPTIONS", "8.3.1", 400, &but(&[(":path", "*")])),
        reset("a :path without its slash", "8.3.1", &but(&[(":path", "ping")])),
        reset("white space in :path", "8.3.1", &but(&[(":path", "/a b")])),
        status("bytes in :path that are no ASCII", "8.3.1", 400, &but(&[(":path", "/café")])),
        status("another scheme", "RFC 9110 7.4", 421, &but(&[(":scheme", "ftp")])),
        reset("CONNECT with :path", "8.5", &[(":method", "CONNECT"), (":authority", "a:1"), (":path", "/")]),
        reset(
            "CONNECT with :scheme",
            "8.5",
            &[(":method", "CONNECT"), (":authority", "a:1"), (":scheme", "https")],
        ),
        status("CONNECT without :authority", "8.5", 400, &[(":method", "CONNECT")]),
        row(
            "more than Content-Length",
            "8.1.1",
            posts(&[("content-length", "1")], &[data(1, b"ab")]),
            Reset(1, PROTOCOL_ERROR),
            Open,
        ),
        row(
            "less than Content-Length",
            "8.1.1",
            posts(&[("content-length", "3")], &[data(1, b"ab")]),
            Reset(1, PROTOCOL_ERROR),
            Open,
        ),
        reset("Content-Length without a body", "8.1.1", &but(&[("content-length", "3")])),
        reset("Content-Length that is no number", "8.1.1", &but(&[("content-length", "+0")])),
        row(
            "two Content-Lengths",
            "8.1.1",
            posts(&[("content-length", "1"), ("content-length", "2")], &[]),
            Reset(1, PROTOCOL_ERROR),
            Open,
        ),
        row(
            "Content-Length over max_body",
            "RFC 9110 15.5.14",
            posts(&[("content-length", "1001")], &[]),
            Status(1, 413),
            Open,
        ),
        status("more fields than max_headers", "RFC 6585 5", 431, &[&GET[..], &many].concat()),
        row(
            "a field over max_header_size",
            "RFC 6585 5",
            in_frames(&but(&[("x", long(66_000))])),
            Status(1, 431),
            Open,
        ),
        row(
            "a head far over max_header_size",
            "10.5.1",
            in_frames(&but(&[("x", long(150_000))])),
            Status(1, 431),
            Open,
        ),
        row(
            "a request after a malformed one",
            "8.1.1",
            [&asks(&without(":method"))[..], &[Frame::get(3, "/ping")]].concat(),
            Reset(1, PROTOCOL_ERROR),
            Open,
        ),
    ]
}

/// Frames that are wrong in themselves, or where they stand.
fn frames() -> Vec<Case> {
    let goaway = |name, section, code, frames: &[Frame]| row(name, section, frames, Goaway(code), Closed);
    let open = posts(&[], &[]);
    let on_open = |frame: Frame| [&open[..], &[frame]].concat();
    let half = Frame::new(HEADERS, END_OF_STREAM, 1, &Frame::get(1, "/ping").payload);
    vec![
        goaway("DATA for the connection", "6.1", PROTOCOL_ERROR, &[Frame::new(DATA, 0, 0, b"a")]),
        goaway("DATA for an idle stream", "5.1", PROTOCOL_ERROR, &[Frame::new(DATA, 0, 1, b"a")]),
        goaway("DATA of more padding than it has", "6.1", PROTOCOL_ERROR, &on_open(data(PADDED, b"\x05ab"))),
        goaway("HEADERS for the connection", "6.2", PROTOCOL_ERROR, &[Frame::get(0, "/ping")]),
        goaway("an even stream", "5.1.1", PROTOCOL_ERROR, &[Frame::get(2, "/ping")]),
        goaway(
            "HEADERS of more padding than they have",
            "6.2",
            PROTOCOL_ERROR,
            &[Frame::new(HEADERS, 5 | PADDED, 1, b"\xff\x82")],
        ),
        goaway(
            "PRIORITY for the connection",
            "6.3",
            PROTOCOL_ERROR,
            &[Frame::new(PRIORITY, 0, 0, &[0, 0, 0, 3, 7])],
        ),
        row(
            "a stream that depends on itself",
            "RFC 7540 5.3.1",
            [never(), Frame::new(PRIORITY, 0, 1, &[0, 0, 0, 1, 7])],
            Reset(1, PROTOCOL_ERROR),
            Open,
        ),
        goaway("RST_STREAM for the connection", "6.4", PROTOCOL_ERROR, &[reset(0)]),
        goaway("RST_STREAM for an idle stream", "6.4", PROTOCOL_ERROR, &[reset(1)]),
        goaway(
            "RST_STREAM of 3 bytes",
            "6.4",
            FRAME_SIZE_ERROR,
            &on_open(Frame::new(RST_STREAM, 0, 1, &[0; 3])),
        ),
        goaway("SETTINGS for a stream", "6.5", PROTOCOL_ERROR, &[Frame::new(SETTINGS, 0, 1, &[])]),
        goaway("SETTINGS of 5 bytes", "6.5", FRAME_SIZE_ERROR, &[Frame::new(SETTINGS, 0, 0, &[0; 5])]),
        goaway(
            "SETTINGS that answer and say more",
            "6.5",
            FRAME_SIZE_ERROR,
            &[Frame::new(SETTINGS, ACK, 0, &[0; 6])],
        ),
        goaway("ENABLE_PUSH of 2", "6.5.2", PROTOCOL_ERROR, &[settings(2, 2)]),
        goaway("frames of 16 383 bytes", "6.5.2", PROTOCOL_ERROR, &[settings(5, 16_383)]),
        goaway(
            "PUSH_PROMISE",
            "8.4",
            PROTOCOL_ERROR,
            &on_open(Frame::new(PUSH_PROMISE, END_OF_HEADERS, 1, b"\0\0\0\x02\x82")),
        ),
        goaway("PING for a stream", "6.7", PROTOCOL_ERROR, &[Frame::new(PING, 0, 1, b"8 octets")]),
        goaway("PING of 7 bytes", "6.7", FRAME_SIZE_ERROR, &[Frame::new(PING, 0, 0, b"7 bytes")]),
        goaway("GOAWAY for a stream", "6.8", PROTOCOL_ERROR, &[Frame::new(GOAWAY, 0, 1, &[0; 8])]),
        goaway("a window of nothing", "6.9", PROTOCOL_ERROR, &[update(0, 0)]),
        goaway("a window over 2^31", "6.9.1", FLOW_CONTROL_ERROR, &[update(0, 0x7fff_ffff)]),
        row(
            "a stream's window over 2^31",
            "6.9.1",
            on_open(update(1, 0x7fff_ffff)),
            Reset(1, FLOW_CONTROL_ERROR),
            Open,
        ),
        goaway("a window for an idle stream", "5.1", PROTOCOL_ERROR, &[update(1, 1)]),
        goaway(
            "WINDOW_UPDATE of 3 bytes",
            "6.9",
            FRAME_SIZE_ERROR,
            &[Frame::new(WINDOW_UPDATE, 0, 0, &[0; 3])],
        ),
        goaway("CONTINUATION of nothing", "6.10", PROTOCOL_ERROR, &[Frame::new(CONTINUATION, 4, 1, b"\x82")]),
        goaway(
            "another frame inside a head",
            "6.10",
            PROTOCOL_ERROR,
            &[half.clone(), Frame::new(PING, 0, 0, b"8 octets")],
        ),
        goaway(
            "the head of another stream inside a head",
            "6.10",
            PROTOCOL_ERROR,
            &[half.clone(), Frame::new(CONTINUATION, 4, 3, b"")],
        ),
        goaway("a frame of 16 385 bytes", "4.2", FRAME_SIZE_ERROR, &on_open(data(0, &[0; 16_385]))),
        goaway(
            "a stream below the last one",
            "5.1.1",
            PROTOCOL_ERROR,
            &[Frame::get(5, "/never"), Frame::get(3, "/ping")],
        ),
    ]
}

/// What h2 judges otherwise than RFC 9113 does, where it can't be mended in front of it: only h2 knows its tables and the
/// states of its streams. Each of these ends safely, with another code or a wider error than asked for.
fn of_h2() -> Vec<Case> {
    let goaway = |name, section, frames: &[Frame]| row(name, section, frames, Goaway(PROTOCOL_ERROR), Closed);
    let path: &str = Box::leak(format!("/{}", "v".repeat(66_000)).into_boxed_str());
    vec![
        // COMPRESSION_ERROR.
        goaway("a field that no table has", "RFC 7541 2.3.3", &[Frame::new(HEADERS, 5, 1, &[0xff, 0x7f])]),
        goaway(
            "a table larger than allowed",
            "RFC 7541 6.3",
            &[Frame::new(HEADERS, 5, 1, b"\x3f\xff\x7f\x82")],
        ),
        // FLOW_CONTROL_ERROR.
        goaway("a first window of 2^31", "6.5.2", &[settings(4, 1 << 31)]),
        // STREAM_CLOSED, of the stream alone.
        goaway("HEADERS after the end of the stream", "5.1", &[never(), Frame::get(1, "/ping")]),
        goaway("DATA after the end of the stream", "5.1", &[never(), data(0, b"a")]),
        // Of the stream alone.
        goaway("a stream's window of nothing", "6.9", &[never(), update(1, 0)]),
        goaway("a name in upper case", "8.2", &asks(&but(&[("X", "y")]))),
        goaway("a name with white space", "8.2.1", &asks(&but(&[("a b", "y")]))),
        goaway("a pseudo-header field nobody knows", "8.3", &asks(&but(&[(":x", "y")]))),
        goaway("NUL in a value", "8.2.1", &asks(&but(&[("x", "a\0b")]))),
        goaway("a line end in a value", "8.2.1", &asks(&but(&[("x", "a\r\nb: c")]))),
        // 414; a URI of the crate `http` has at most 65 534 bytes.
        row(
            "a :path of 66 KB",
            "RFC 9110 15.5.15",
            Frame::head_in_frames(1, &but(&[(":path", path)])),
            Reset(1, PROTOCOL_ERROR),
            Open,
        ),
        // Malformed; h2 drops the field, and the fragment, before anybody can see them.
        row(
            "a pseudo-header field in trailers",
            "8.1",
            posts(&[], &[data(0, b"a"), Frame::head(5, 1, &[(":path", "/")])]),
            Status(1, 200),
            Open,
        ),
        row("a fragment in :path", "8.3.1", asks(&but(&[(":path", "/ping#x")])), Status(1, 200), Open),
    ]
}

/// What is valid once, and an attack as often as one likes.
fn attacks() -> Vec<Case> {
    let calm = |name, section, frames: Vec<Frame>| row(name, section, frames, Goaway(CALM), Closed);
    let many = |frame: Frame| [vec![never()], vec![frame; 6000]].concat();
    let streams = |count: u32, frames: fn(u32) -> Vec<Frame>| {
        (0..count).flat_map(|number| frames(2 * number + 1)).collect()
    };
    let half = Frame::new(HEADERS, END_OF_STREAM, 1, &Frame::get(1, "/ping").payload);
    // A field of 4000 bytes goes into the table, and is then told 1000 times by a byte each.
    let bomb = {
        let mut block = Frame::get(1, "/ping").payload;
        block.extend(b"\x40\x01a\x7f\xa1\x1e");
        block.extend([b'v'; 4000]);
        block.extend([0xbe; 1000]);
        Frame::new(HEADERS, END_OF_STREAM_AND_HEADERS, 1, &block)
    };
    vec![
        calm("PRIORITY", "10.5", many(Frame::new(PRIORITY, 0, 1, &[0, 0, 0, 3, 7]))),
        calm("PING", "10.5", many(Frame::new(PING, 0, 0, b"8 octets"))),
        calm("answers to PING", "10.5", many(Frame::new(PING, ACK, 0, b"8 octets"))),
        calm("SETTINGS", "10.5", many(Frame::new(SETTINGS, 0, 0, &[]))),
        calm("WINDOW_UPDATE", "10.5", many(update(0, 1))),
        calm("a kind of frame nobody knows", "10.5", many(Frame::new(GREASE, 0, 0, b"grease"))),
        calm("empty DATA", "10.5", posts(&[], &vec![data(0, b""); 6000])),
        calm(
            "requests given up",
            "10.5",
            streams(4000, |stream| vec![Frame::get(stream, "/never"), reset(stream)]),
        ),
        calm(
            "requests that make the server give up",
            "10.5",
            streams(4000, |stream| vec![Frame::get(stream, "/never"), update(stream, 0x7fff_ffff)]),
        ),
        calm(
            "CONTINUATION",
            "10.5",
            [vec![half.clone()], vec![Frame::new(CONTINUATION, 0, 1, b"\x00\x01a\x01b"); 6000]].concat(),
        ),
        row("a small head of many fields", "10.5.1", [bomb], Goaway(CALM), Closed),
        Case { time: Time::HeadTimeout, ..row("a head without its end", "10.5", [half], Goaway(0), Closed) },
        Case {
            time: Time::HeadTimeout,
            ..row(
                "a head without its end beside a request",
                "10.5",
                [Frame::get(1, "/never"), Frame::new(HEADERS, END_OF_STREAM, 3, b"\x82")],
                Goaway(0),
                Closed,
            )
        },
    ]
}
