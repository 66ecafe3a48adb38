//! Overload, bad input that takes time, and bad input that is not HTTP/1.1. `conformance.rs` has the syntax of
//! HTTP/1.1.

use std::time::{Duration, Instant};

use tests::client::{Pause, get, get_once, post_head};
use tests::frames::{
    CONTINUATION, Connection, DATA, END_OF_STREAM_AND_HEADERS, Frame, HEADERS, PING, RST_STREAM, SETTINGS,
    WINDOW_UPDATE,
};
use tests::patience::{PATIENCE, within};
use tests::{Service, Target};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

const WEB: &str = "server web 127.0.0.1:0";
const TLS: &str = "server web 127.0.0.1:0 tls=self_signed";

/// The statuses of all answers to these bytes, after which the server closes the connection.
async fn last_answers(service: &Service, bytes: &[u8]) -> Vec<u16> {
    let mut client = service.client().await;
    client.send(bytes).await.expect("an open connection");
    let mut all = Vec::new();
    while let Some(piece) = client.piece().await.expect("a proper end") {
        all.extend_from_slice(&piece);
    }
    let text = String::from_utf8_lossy(&all).into_owned();
    let statuses = text.split("HTTP/1.1 ").skip(1).filter_map(|answer| answer.get(..3)?.parse().ok());
    statuses.collect()
}

/// A POST with these fields, and this body.
fn post(fields: &str, body: &str) -> Vec<u8> {
    format!("POST /echo HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n\r\n{body}").into_bytes()
}

/// A declared length over the limit gets 413 at once, without `100 Continue`. A body without a length gets it at the
/// limit.
#[tokio::test]
async fn body_over_max_body_is_refused() {
    let service = Service::new(WEB).await;
    let declared = post("Expect: 100-continue\r\nContent-Length: 3000000", "");
    assert_eq!(last_answers(&service, &declared).await, [413]);
    let chunk = format!("100000\r\n{}\r\n", "x".repeat(1 << 20));
    let chunked = post("Transfer-Encoding: chunked", &(chunk.repeat(3) + "0\r\n\r\n"));
    let answers = last_answers(&service, &chunked).await;
    assert!(matches!(answers[..], [400 | 413]), "{answers:?}");
}

/// The body stalls for 30 s, or arrives at one byte a second, which is under the minimum rate. Both run at once to save
/// time.
#[tokio::test]
async fn body_that_stalls_or_drips_is_refused_in_time() {
    let service = Service::new(WEB).await;
    let refused_after = async |drips: bool| {
        let mut client = service.client().await.limit(Duration::from_secs(60));
        client.send(post_head("/echo", 1000)).await.expect("an open connection");
        let start = Instant::now();
        while drips && client.pause(Duration::from_secs(1)).await == Pause::Open {
            assert!(start.elapsed() < Duration::from_secs(60), "the server never ends the drip");
            _ = client.send("x").await;
        }
        if !drips {
            assert_eq!(client.reply().await.expect("an answer").status, 408);
            client.closed().await.expect("a proper end");
        }
        start.elapsed()
    };
    let (stalled, dripped) = tokio::join!(refused_after(false), refused_after(true));
    let expected = Duration::from_secs(28)..Duration::from_secs(50);
    assert!(expected.contains(&stalled) && expected.contains(&dripped), "{stalled:?}, {dripped:?}");
}

/// The time limit begins with the first byte, whether the head becomes HTTP/1.1 or HTTP/2.
#[tokio::test]
async fn half_a_head_that_begins_like_http2_gets_408() {
    let service =
        Service::new("server web 127.0.0.1:0 header_read_timeout=4000ms handshake_timeout=4000ms").await;
    let mut client = service.client().await;
    let start = Instant::now();
    client.send("P").await.unwrap();
    assert_eq!(client.pause(Duration::from_millis(2800)).await, Pause::Open);
    client.send("O").await.unwrap();
    assert_eq!(client.reply().await.unwrap().status, 408);
    client.closed().await.unwrap();
    let took = start.elapsed();
    assert!(took > Duration::from_millis(3900) && took < Duration::from_millis(6500), "{took:?}");
}

const PROTOCOL_ERROR: u32 = 1;
const FRAME_SIZE_ERROR: u32 = 6;
const ENHANCE_YOUR_CALM: u32 = 11;

/// The server must end the connection with a GOAWAY that has one of these reasons.
async fn gets_goaway(
    service: &Service,
    name: &str,
    reasons: &[u32],
    mut frames: impl FnMut(u32) -> Vec<Frame>,
) {
    let mut client = Connection::open(&service.target).await;
    let mut reasons_given = Vec::new();
    let talk = async {
        for round in 0.. {
            let sent = client.try_send(&frames(round)).await;
            // The frames that have arrived so far. When the connection ends, all frames.
            let look = if sent.is_ok() { Duration::from_millis(1) } else { Duration::from_secs(2) };
            let came = tokio::time::timeout(look, client.try_frames()).await;
            match came {
                Ok(Ok(frames)) if frames.is_empty() => return,
                Ok(Ok(frames)) => reasons_given.extend(frames.iter().filter_map(Frame::goaway)),
                Ok(Err(_)) => return,
                Err(_) if sent.is_err() => return,
                Err(_) => {}
            }
            if !reasons_given.is_empty() {
                return;
            }
        }
    };
    within(PATIENCE, name, talk).await;
    let reason = reasons_given.first().map(|(_, reason)| *reason);
    assert!(reason.is_some_and(|reason| reasons.contains(&reason)), "{name}: {reasons_given:?}");
    assert_eq!(
        get_once(&service.target, "/ping").await.expect("an honest client is served").status,
        200,
        "{name}"
    );
}

#[tokio::test]
async fn http2_abuse_ends_with_goaway() {
    let service = Service::new(WEB).await;
    let stream = |round: u32| 2 * round + 1;
    gets_goaway(&service, "rapid reset", &[ENHANCE_YOUR_CALM, PROTOCOL_ERROR], |round| {
        let many = 100 * round..100 * (round + 1);
        let reset = |number| {
            [Frame::get(stream(number), "/never"), Frame::new(RST_STREAM, 0, stream(number), &[0, 0, 0, 8])]
        };
        many.flat_map(reset).collect()
    })
    .await;
    gets_goaway(&service, "CONTINUATION", &[ENHANCE_YOUR_CALM, PROTOCOL_ERROR], |round| {
        let field = [&[0x40, 1, b'x', 100][..], &[b'y'; 100]].concat();
        let (kind, more) =
            if round == 0 { (HEADERS, Frame::get(1, "/ping").payload) } else { (CONTINUATION, field) };
        vec![Frame::new(kind, 0, 1, &more); if round == 0 { 1 } else { 100 }]
    })
    .await;
    gets_goaway(&service, "MadeYouReset", &[ENHANCE_YOUR_CALM, PROTOCOL_ERROR], |round| {
        let many = 100 * round..100 * (round + 1);
        let nothing = |number| Frame::new(WINDOW_UPDATE, 0, stream(number), &[0; 4]);
        many.flat_map(|number| [Frame::get(stream(number), "/never"), nothing(number)]).collect()
    })
    .await;
    gets_goaway(&service, "empty DATA", &[ENHANCE_YOUR_CALM, PROTOCOL_ERROR], |round| match round {
        0 => vec![Frame::post(1, "/echo")],
        _ => vec![Frame::new(DATA, 0, 1, b""); 100],
    })
    .await;
    gets_goaway(&service, "a frame of no stream", &[PROTOCOL_ERROR], |_| vec![Frame::new(DATA, 0, 0, b"x")])
        .await;
    gets_goaway(&service, "SETTINGS of an odd size", &[PROTOCOL_ERROR, FRAME_SIZE_ERROR], |_| {
        vec![Frame::new(SETTINGS, 0, 0, b"odd")]
    })
    .await;
    gets_goaway(&service, "PING of an odd size", &[PROTOCOL_ERROR, FRAME_SIZE_ERROR], |_| {
        vec![Frame::new(PING, 0, 0, b"odd")]
    })
    .await;
}

/// Fields of 64 KiB and more, at one byte each on the wire: the server refuses the request, and the connection still
/// works.
#[tokio::test]
async fn hpack_bomb_is_refused_and_its_connection_still_works() {
    let service = Service::new(WEB).await;
    let mut client = Connection::open(&service.target).await;
    // A field of 4000 bytes for the dynamic table (RFC 7541 section 6.2.1). The table's first index is 62.
    let field = [&[0x40, 1, b'x', 0x7f, 0xa1, 0x1e][..], &[b'y'; 4000]].concat();
    let bomb = [&Frame::get(1, "/ping").payload[..], &field, &[0xbe; 10_000]].concat();
    client.send(&[Frame::new(HEADERS, END_OF_STREAM_AND_HEADERS, 1, &bomb)]).await;
    let refused = |frame: &Frame| frame.stream == 1 && [HEADERS, RST_STREAM].contains(&frame.kind);
    let mut all = client.frames().await;
    while !all.iter().any(refused) && !all.iter().any(|frame| frame.goaway().is_some()) {
        let more = client.frames().await;
        assert!(!more.is_empty(), "closed without an answer");
        all.extend(more);
    }
    // The static table has status 200 at index 8.
    assert!(
        !all.iter().any(|frame| frame.kind == HEADERS && frame.payload.first() == Some(&0x88)),
        "{all:?}"
    );
    assert!(service.app.current().resident_kib() < 100 << 10, "{} KiB", service.app.current().resident_kib());
}

/// The limit is 128 streams: the server refuses the streams over it and answers the others.
#[tokio::test]
async fn streams_over_the_limit_of_128_are_refused() {
    let service = Service::new(WEB).await;
    let mut client = Connection::open(&service.target).await;
    let frames: Vec<Frame> = (0..200).map(|number| Frame::get(2 * number + 1, "/slow?ms=2500")).collect();
    client.send(&frames).await;
    let (mut answered, mut refused) = (0, 0);
    while answered + refused < 200 {
        let frames = client.frames().await;
        assert!(!frames.is_empty(), "{answered} answered, {refused} refused");
        answered += frames.iter().filter(|frame| frame.kind == HEADERS).count();
        refused +=
            frames.iter().filter(|frame| frame.kind == RST_STREAM && frame.payload == [0, 0, 0, 7]).count();
    }
    assert_eq!((answered, refused), (128, 72));
}

/// The first bytes that a raw socket receives until the connection ends, and the time until then.
async fn raw(target: &Target, bytes: &[u8]) -> (Vec<u8>, Duration) {
    let start = Instant::now();
    let mut stream = TcpStream::connect(target.address()).await.expect("a connection");
    stream.write_all(bytes).await.expect("an open connection");
    let mut all = Vec::new();
    // A reset also ends the connection.
    _ = within(PATIENCE, "the end", stream.read_to_end(&mut all)).await;
    (all, start.elapsed())
}

/// A ClientHello that offers only this version (TLS 1.0 is 0x0301).
fn client_hello(version: u16) -> Vec<u8> {
    let version = version.to_be_bytes();
    let body = [&version[..], &[7; 32], &[0], &[0, 4, 0xc0, 0x13, 0xc0, 0x14], &[1, 0]].concat();
    let length = (body.len() as u32).to_be_bytes();
    let handshake = [&[1][..], &length[1..], &body].concat();
    [&[22, 3, 1][..], &(handshake.len() as u16).to_be_bytes(), &handshake].concat()
}

/// Before any time limit, on a busy machine.
const AT_ONCE: Duration = Duration::from_secs(8);

const ALERT: u8 = 21;
const FATAL: u8 = 2;

#[tokio::test]
async fn tls_mismatches_are_refused_at_once() {
    let tls = Service::new(TLS).await;
    for (name, version) in [("TLS 1.0", 0x0301), ("TLS 1.1", 0x0302)] {
        let (answer, took) = raw(&tls.target, &client_hello(version)).await;
        assert!(matches!(answer[..], [ALERT, 3, _, 0, 2, FATAL, _]), "{name}: {answer:?}");
        assert!(took < AT_ONCE, "{name}: {took:?}");
    }
    let (answer, took) = raw(&tls.target, get("/ping").as_bytes()).await;
    assert_eq!((answer.first(), answer.len()), (Some(&ALERT), 7), "plain text on TLS: {answer:?}");
    assert!(took < AT_ONCE, "plain text on TLS: {took:?}");
    let foreign = tls.target.connect(&["foreign"]).await.map(drop).expect_err("no protocol in common");
    assert!(foreign.detail.contains("NoApplicationProtocol"), "{foreign}");

    let plain = Service::new(WEB).await;
    let (answer, took) = raw(&plain.target, &client_hello(0x0303)).await;
    assert!(answer.starts_with(b"HTTP/1.1 400 "), "TLS on plain text: {answer:?}");
    assert!(took < AT_ONCE, "TLS on plain text: {took:?}");
    assert_eq!(get_once(&plain.target, "/ping").await.expect("an answer").status, 200, "{}", plain.app.log);
}
