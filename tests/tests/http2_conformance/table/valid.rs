//! Sequences that every server has to accept.

use tests::frames::{
    ACK, CONTINUATION, END_OF_HEADERS, END_OF_STREAM, END_OF_STREAM_AND_HEADERS, Frame, HEADERS, PADDED,
    PING, PRIORITY, WINDOW_UPDATE,
};

use super::*;
use crate::case::Expect::{Nothing, Status};
use crate::case::Then::Open;

pub(super) fn valid() -> Vec<Case> {
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
            "an unknown kind of frame",
            "4.1",
            and_get(Frame::new(GREASE, 0xff, 9, b"grease")),
            Status(1, 200),
            Open,
        ),
        row("unknown flags", "4.1", and_get(Frame::new(PING, 0xfe, 0, b"8 octets")), Status(1, 200), Open),
        row(
            "the reserved bit of a stream",
            "4.1",
            and_get(Frame::new(WINDOW_UPDATE, 0, 0x8000_0000, &[0, 0, 0, 1])),
            Status(1, 200),
            Open,
        ),
        row("an unknown setting", "6.5.2", and_get(settings(0xba, 1)), Status(1, 200), Open),
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
        row("a request that the client resets", "6.4", [never(), reset(1)], Nothing, Open),
        row("a window for a stream that is over", "6.9", [never(), reset(1), update(1, 1)], Nothing, Open),
        row(
            "PING acknowledgements without a PING",
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
            "CONNECT without a handler",
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
