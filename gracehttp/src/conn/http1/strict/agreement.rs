//! Checks that the strict reader and hyper agree: hyper refuses nothing that the reader has passed. Also checks that
//! the reader gives the same result for the same bytes in other pieces.

use std::convert::Infallible;
use std::fmt::Debug;

use http_body_util::{BodyExt as _, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::conn::http1::strict::{Bounds, Reader, Refused};

const REQUESTS: [&str; 6] = [
    "GET /a?b=c HTTP/1.1\r\nHost: a:80\r\nX-Y: \"z\"\r\n\r\n",
    "GET http://a.b:80/c?d HTTP/1.1\r\nHost: [::1]:80\r\nAccept: */*\r\n\r\n",
    "CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n",
    "OPTIONS * HTTP/1.0\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi",
    "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2;a=\"b\"\r\nhi\r\n0\r\nX: 1\r\n\r\n",
];

/// How many variants of each request are tried.
const VARIANTS: u64 = 1500;

/// A variant of a request: some bytes changed, inserted or removed. The same number gives the same variant.
fn variant(request: &str, number: u64) -> Vec<u8> {
    let mut bytes = request.as_bytes().to_vec();
    let mut random = number;
    let mut next = |below: usize| {
        // Knuth's MMIX.
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) as usize % below
    };
    for _ in 0..=next(2) {
        let at = next(bytes.len());
        // Often a byte with a meaning.
        let byte = match next(3) {
            0 => next(256) as u8,
            _ => b" \t\r\n:;,/?#@[]%\"*.0aA\x7f\x80"[next(22)],
        };
        match next(3) {
            0 => bytes[at] = byte,
            1 => bytes.insert(at, byte),
            _ => _ = bytes.remove(at),
        }
    }
    bytes
}

/// hyper's answer to a request whose handler reads the body to its end: 200, or 500 if that fails.
async fn answer(request: &[u8]) -> String {
    let (server, mut client) = tokio::io::duplex(1 << 16);
    let service = service_fn(|request: http::Request<Incoming>| async {
        let status = if request.into_body().collect().await.is_ok() { 200 } else { 500 };
        Ok::<_, Infallible>(http::Response::builder().status(status).body(Empty::<Bytes>::new()).unwrap())
    });
    let connection = http1::Builder::new()
        .half_close(true)
        .header_read_timeout(None)
        .serve_connection(TokioIo::new(server), service);
    client.write_all(request).await.unwrap();
    client.shutdown().await.unwrap();
    _ = connection.with_upgrades().await;
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).await.unwrap();
    String::from_utf8(answer).unwrap()
}

fn reader() -> Reader {
    Reader::new(Bounds { max_header_size: 1000, max_headers: 10, max_body: 100, is_secure: false })
}

/// Reads these pieces: how many bytes pass, and how the reader ends.
fn outcome(reader: &mut Reader, pieces: [&[u8]; 2]) -> impl PartialEq + Debug + use<> {
    let heads = reader.heads();
    let (mut kept, mut passed) = (Vec::new(), 0);
    for piece in pieces {
        kept.extend_from_slice(piece);
        let read = reader.read(&kept);
        passed += read.passes;
        kept.drain(..read.keep_from);
    }
    let is_open = (reader.is_in_head(), reader.is_in_body(), reader.asks_to_leave());
    // Of several faults, the one that comes first is the reason.
    let refused = reader.refusal().map(|refused| matches!(refused, Refused::Head(_)));
    // A body passes as it comes, up to its fault or to the end of the piece before that.
    let passed = (refused != Some(false)).then_some(passed);
    (passed, reader.heads() - heads, is_open, refused)
}

#[test]
fn two_pieces_are_read_as_the_whole() {
    for request in REQUESTS {
        for number in 0..VARIANTS {
            let bytes = variant(request, number);
            let whole = outcome(&mut reader(), [&bytes, b""]);
            for (first, second) in (1..bytes.len()).map(|at| bytes.split_at(at)) {
                let text = (String::from_utf8_lossy(first), String::from_utf8_lossy(second));
                assert_eq!(outcome(&mut reader(), [first, second]), whole, "{text:?}");
            }
        }
    }
}

#[test]
fn a_request_is_read_in_the_same_way_after_others_like_it() {
    for request in REQUESTS {
        for number in 0..VARIANTS {
            let bytes = variant(request, number);
            let mut experienced = reader();
            for _ in 0..2 {
                experienced.read(request.as_bytes());
                experienced.stay();
            }
            let text = String::from_utf8_lossy(&bytes);
            let outcomes = [&mut reader(), &mut experienced].map(|reader| outcome(reader, [&bytes, b""]));
            assert_eq!(outcomes[0], outcomes[1], "{text:?}");
        }
    }
}

#[tokio::test]
async fn c10_hyper_refuses_nothing_that_the_strict_reader_passes() {
    let mut passed = 0;
    for request in REQUESTS {
        for number in 0..VARIANTS {
            let bytes = variant(request, number);
            let mut reader = reader();
            let read = reader.read(&bytes);
            let is_whole = reader.heads() == 1 && read.passes == bytes.len() && !reader.is_in_body();
            if is_whole && reader.refusal().is_none() {
                passed += 1;
                let answer = answer(&bytes).await;
                assert!(answer.contains(" 200 OK"), "{:?}: {answer:?}", String::from_utf8_lossy(&bytes));
            }
        }
    }
    assert!(passed > 500, "{passed} of them pass");
}
