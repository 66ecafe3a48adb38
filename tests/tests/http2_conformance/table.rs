//! The table. Each connection begins with the preface and empty SETTINGS; stream 1 is the first request.

mod credit;
mod frames;
mod requests;
mod valid;

use tests::frames::{
    DATA, END_OF_HEADERS, END_OF_STREAM_AND_HEADERS, Frame, RST_STREAM, SETTINGS, WINDOW_UPDATE,
};

use crate::case::{Case, Expect, Then, Time};

// Section 7.
const PROTOCOL_ERROR: u32 = 0x1;
const FLOW_CONTROL_ERROR: u32 = 0x3;
const STREAM_CLOSED: u32 = 0x5;
const FRAME_SIZE_ERROR: u32 = 0x6;
const CALM: u32 = 0xb;

const PRIORITY_UPDATE: u8 = 0x10;
const GREASE: u8 = 0xba;
const WITH_PRIORITY: u8 = 0x20;

/// A request's fields. [`but`] changes them.
const GET: [(&str, &str); 4] =
    [(":method", "GET"), (":scheme", "https"), (":authority", "localhost"), (":path", "/ping")];

/// The fields of GET. `fields` replace those of the same name and add others.
fn but(fields: &[(&'static str, &'static str)]) -> Vec<(&'static str, &'static str)> {
    let mut all: Vec<_> =
        GET.into_iter().filter(|(name, _)| fields.iter().all(|(new, _)| new != name)).collect();
    // Pseudo-header fields come first, unless their place is the fault.
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

/// A request on stream 1 with a body after it.
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
    [
        valid::valid(),
        requests::requests(),
        frames::frames(),
        credit::credit(),
        frames::of_h2(),
        frames::attacks(),
    ]
    .into_iter()
    .flatten()
    .collect()
}
