//! Frames without effect, and frames that only look like them.

use tests::bench::process::resident;
use tests::frames::{ACK, DATA, PING, PRIORITY, RST_STREAM, SETTINGS, WINDOW_UPDATE};
use tests::patience::within;

use super::*;

const ENHANCE_YOUR_CALM: u32 = 0xb;

/// Sends as many frames without effect as the connection accepts, while a stream is open. A request comes with each
/// thousand of them.
async fn flood(what: &str, frame: Frame) {
    let service = one_permit().await;
    let mut client = Connection::open(&service.target).await;
    client.send(&[Frame::get(1, "/never")]).await;
    let start = Instant::now();
    let mut stream = 1;
    let frames = loop {
        stream += 2;
        let frames = [vec![Frame::get(stream, "/ping")], vec![frame.clone(); 1000]].concat();
        let is_over = client.try_send(&frames).await.is_err();
        // The frames that the client reads now make room for more.
        let came = tokio::time::timeout(Duration::from_millis(1), client.try_frames()).await;
        match came {
            Ok(Ok(frames)) if frames.iter().any(|frame| frame.goaway().is_some()) => break frames,
            Ok(Ok(frames)) if !frames.is_empty() && !is_over => {}
            Err(_) if !is_over => {}
            _ => break client.until_end().await,
        }
    };
    let codes: Vec<u32> = frames.iter().filter_map(Frame::goaway).map(|(_, code)| code).collect();
    println!("{what}: {codes:?} after {:?}", start.elapsed());
    assert!(start.elapsed() < LIMIT, "{what}: {:?}", start.elapsed());
    assert!(codes.is_empty() || codes == [ENHANCE_YOUR_CALM], "{what}: {codes:?}");
    next_is_served_after(&service, start).await;
}

/// All kinds at once.
#[tokio::test]
async fn b2_frames_without_effect_end_their_connection_though_a_stream_is_open() {
    tokio::join!(
        flood("PRIORITY", Frame::new(PRIORITY, 0, 1, &[0, 0, 0, 3, 7])),
        flood("PING", Frame::new(PING, 0, 0, b"8 octets")),
        flood("PING ACK", Frame::new(PING, ACK, 0, b"8 octets")),
        flood("SETTINGS", Frame::new(SETTINGS, 0, 0, &[])),
        flood("WINDOW_UPDATE", Frame::new(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1])),
        flood("an unknown kind", Frame::new(0xba, 0, 0, b"grease")),
    );
}

/// A client may send as many frames as it honestly needs.
#[tokio::test]
async fn b2_a_client_that_opens_two_windows_for_each_piece_gets_all_responses() {
    let service = one_permit().await;
    let mut client = Connection::open(&service.target).await;
    client.send(&[Frame::get(1, "/big?bytes=20000000")]).await;
    let (mut received, mut pings) = (0, 0_u64);
    while received < 20_000_000 {
        let frames = client.frames().await;
        assert!(!frames.is_empty(), "closed after {received} bytes");
        let mut answers: Vec<Frame> = frames.iter().filter_map(Frame::acknowledges).collect();
        for data in frames.iter().filter(|frame| frame.kind == DATA && !frame.payload.is_empty()) {
            received += data.payload.len();
            // Go's client does the same for each 4 KiB. gRPC's clients also send a PING to measure the link.
            for part in data.payload.chunks(4096) {
                let window = (part.len() as u32).to_be_bytes();
                answers.extend([0, 1].map(|stream| Frame::new(WINDOW_UPDATE, 0, stream, &window)));
            }
            pings += 1;
            answers.push(Frame::new(PING, 0, 0, &pings.to_be_bytes()));
        }
        client.send(&answers).await;
    }
    client.send(&[Frame::get(3, "/ping")]).await;
    client.answer(3).await;
}

/// A client leaves a page before it is loaded: the requests and their resets arrive in one write.
#[tokio::test]
async fn b2_a_client_that_resets_all_requests_of_a_page_keeps_its_connection() {
    let service = one_permit().await;
    let mut client = Connection::open(&service.target).await;
    let page = (1..201).step_by(2);
    let requests = page.clone().map(|stream| Frame::get(stream, "/never"));
    let ends = page.map(|stream| Frame::new(RST_STREAM, 0, stream, &CANCEL.to_be_bytes()));
    client.send(&requests.chain(ends).chain([Frame::get(201, "/ping")]).collect::<Vec<_>>()).await;
    client.answer(201).await;
}

/// A broken frame ends the connection in the same turn in which its requests begin: the connection keeps none of them
/// in memory.
#[tokio::test]
async fn connections_that_break_a_rule_right_after_their_requests_leave_no_memory() {
    const FREE: u64 = 8 << 20;
    let service = Service::new("server web 127.0.0.1:0").await;
    // The frames are more than the server reads at once, so it has begun the requests when it reads the broken frame.
    let unknown = Frame::new(0x77, 0, 0, &[0; 8000]);
    let broken = Frame::new(WINDOW_UPDATE, 0, 0, &[0; 5]);
    let mut frames: Vec<Frame> = (0..100).map(|number| Frame::get(2 * number + 1, "/ping")).collect();
    frames.extend([&unknown, &unknown, &unknown, &broken].map(Clone::clone));
    let mut warm = 0;
    for round in 0..300 {
        if round == 100 {
            warm = resident(service.app.pid());
        }
        let mut client = Connection::open(&service.target).await;
        // The client has the server's SETTINGS, so the connection is established.
        client.frames().await;
        client.send(&frames).await;
        within(LIMIT, "the end of the connection", client.until_end()).await;
    }
    let end = resident(service.app.pid());
    println!("{warm} bytes after 100 connections, {end} after 300");
    assert!(end < warm + FREE, "{warm} bytes after 100 connections, {end} after 300");
}
