//! How much of a body a client may send.

use tests::frames::{ACK, END_OF_STREAM, PADDED};

use super::*;
use crate::case::Expect::{Goaway, Nothing, Status};
use crate::case::Then::{Closed, Open};

pub(super) fn credit() -> Vec<Case> {
    let goaway =
        |name, section, frames: Vec<Frame>| row(name, section, frames, Goaway(FLOW_CONTROL_ERROR), Closed);
    let acknowledged = |then: &[Frame]| [&[Frame::new(SETTINGS, ACK, 0, &[])], then].concat();
    let padded_upload = |count| [&[Frame::post(1, "/never")], &padded(count)[..]].concat();
    vec![
        row("the credit of a stream", "6.9.1", acknowledged(&uploads(8192)), Nothing, Open),
        row(
            "a first frame over the credit of a stream",
            "6.9.1",
            acknowledged(&uploads(16_384)),
            Nothing,
            Open,
        ),
        goaway(
            "more than the credit of a stream and the first frame",
            "6.9.1",
            acknowledged(&uploads(16_385)),
        ),
        row("the first window before SETTINGS are known", "6.9.2", uploads(65_535), Nothing, Open),
        goaway("more than the first window", "6.9.2", uploads(65_536)),
        goaway(
            "more than a stream may send beside a CONNECT that has ended",
            "6.9.1",
            acknowledged(&beside_connect()),
        ),
        row("padding within the credit", "6.1", acknowledged(&posts(&[], &padded(30))), Status(1, 200), Open),
        goaway("padding over the credit", "6.1", acknowledged(&padded_upload(64))),
    ]
}

/// `bytes` bytes of a body that no handler reads.
fn uploads(bytes: usize) -> Vec<Frame> {
    let body = vec![b'x'; bytes];
    let pieces: Vec<Frame> = body.chunks(16 << 10).map(|piece| data(0, piece)).collect();
    [&[Frame::post(1, "/never")], &pieces[..]].concat()
}

/// `count` frames of one byte and much padding; the last frame ends the body.
fn padded(count: usize) -> Vec<Frame> {
    let payload = [&[255, b'x'][..], &[0; 255]].concat();
    let flags = |number| if number == count { PADDED | END_OF_STREAM } else { PADDED };
    (1..=count).map(|number| data(flags(number), &payload)).collect()
}

/// Both heads arrive at once.
fn beside_connect() -> Vec<Frame> {
    let authority = [(":method", "CONNECT"), (":authority", "localhost:9")];
    let connect = Frame::head(END_OF_STREAM_AND_HEADERS, 1, &authority);
    let body = |bytes| Frame::new(DATA, 0, 3, &vec![b'x'; bytes]);
    vec![connect, Frame::post(3, "/never"), body(16_384), body(1)]
}
