//! Clients that hold a connection and hardly use it.

use bytes::Bytes;
use tokio_rustls::rustls::{ALL_VERSIONS, ClientConnection};

use crate::attack::{Attacker, Reads, Then, Wire};
use crate::client::{get, post_head};
use crate::frames::{Frame, PREFACE};
use crate::tls;

/// One of each kind.
pub fn slow() -> Vec<Attacker> {
    let drips = |attacker: Attacker| Attacker { then: Then::Drips(|_| Bytes::from_static(b"x")), ..attacker };
    let hello = client_hello();
    let opens = |settings: &Frame, request: &Frame| [PREFACE, &settings.bytes(), &request.bytes()].concat();
    vec![
        Attacker::new("says nothing", ""),
        drips(Attacker::new("a byte of its head a second", "GET /ping HTTP/1.1\r\nHost: localhost\r\nX: ")),
        Attacker {
            wire: Wire::UnderTls,
            ..Attacker::new("half a TLS handshake", hello.slice(..hello.len() / 2))
        },
        Attacker::new("half an HTTP/2 preface", &PREFACE[..12]),
        drips(Attacker::new("a byte of its body a second", post_head("/echo", 100_000))),
        Attacker { reads: Reads::Nothing, ..Attacker::new("reads no byte of 16 MiB", get("/large")) },
        Attacker {
            reads: Reads::AnswersFrames,
            ..Attacker::new("HTTP/2 with a window of 0", opens(&Frame::window(0), &Frame::get(1, "/large")))
        },
        Attacker::new("idle after one request", get("/ping")),
    ]
}

/// The first bytes of a TLS client.
pub(super) fn client_hello() -> Bytes {
    let config = tls::config(&["http/1.1"], ALL_VERSIONS).into();
    let name = "localhost".try_into().expect("a name");
    let mut client = ClientConnection::new(config, name).expect("a client");
    let mut bytes = Vec::new();
    client.write_tls(&mut bytes).expect("a vector takes everything");
    bytes.into()
}
