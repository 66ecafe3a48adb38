//! Wrong frames and too many frames.

use tests::frames::{
    ACK, CONTINUATION, DATA, END_OF_HEADERS, END_OF_STREAM, END_OF_STREAM_AND_HEADERS, Frame, GOAWAY,
    HEADERS, PADDED, PING, PRIORITY, PUSH_PROMISE, RST_STREAM, SETTINGS, WINDOW_UPDATE,
};

use super::*;
use crate::case::Expect::{Goaway, Reset, Status};
use crate::case::Then::{Closed, Open};

/// Frames with a wrong content, or in a wrong place.
pub(super) fn frames() -> Vec<Case> {
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
        row(
            "DATA after RST_STREAM, while the handler has not noticed",
            "5.1",
            vec![Frame::new(SETTINGS, ACK, 0, &[]), Frame::post(1, "/never"), reset(1), data(0, b"x")],
            Reset(1, STREAM_CLOSED),
            Open,
        ),
        goaway("SETTINGS for a stream", "6.5", PROTOCOL_ERROR, &[Frame::new(SETTINGS, 0, 1, &[])]),
        goaway("SETTINGS of 5 bytes", "6.5", FRAME_SIZE_ERROR, &[Frame::new(SETTINGS, 0, 0, &[0; 5])]),
        goaway(
            "SETTINGS that acknowledge and have content",
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

/// Here h2 differs from RFC 9113, and gracehttp can't correct it in front of h2: only h2 knows its tables and the
/// states of its streams. Each case ends safely, with another code or a wider error than the RFC requires.
pub(super) fn of_h2() -> Vec<Case> {
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
        // An error of the stream alone.
        goaway("a stream's window of nothing", "6.9", &[never(), update(1, 0)]),
        goaway("a name in upper case", "8.2", &asks(&but(&[("X", "y")]))),
        goaway("a name with white space", "8.2.1", &asks(&but(&[("a b", "y")]))),
        goaway("an unknown pseudo-header field", "8.3", &asks(&but(&[(":x", "y")]))),
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
        // Malformed. h2 drops the field and the fragment before gracehttp can see them.
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

/// One is valid, but any number of them is an attack.
pub(super) fn attacks() -> Vec<Case> {
    let calm = |name, section, frames: Vec<Frame>| row(name, section, frames, Goaway(CALM), Closed);
    let many = |frame: Frame| [vec![never()], vec![frame; 6000]].concat();
    let streams = |count: u32, frames: fn(u32) -> Vec<Frame>| {
        (0..count).flat_map(|number| frames(2 * number + 1)).collect()
    };
    let half = Frame::new(HEADERS, END_OF_STREAM, 1, &Frame::get(1, "/ping").payload);
    // The client adds a field of 4000 bytes to the table, and then repeats it 1000 times with one byte each.
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
        calm("an unknown kind of frame", "10.5", many(Frame::new(GREASE, 0, 0, b"grease"))),
        calm("empty DATA", "10.5", posts(&[], &vec![data(0, b""); 6000])),
        calm(
            "requests that the client resets",
            "10.5",
            streams(4000, |stream| vec![Frame::get(stream, "/never"), reset(stream)]),
        ),
        calm(
            "requests that make the server reset them",
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
