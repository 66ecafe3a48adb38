//! Memory that waits for a client stays within `max_conn_memory`.

use tests::frames::{DATA, END_OF_STREAM, RST_STREAM, WINDOW_UPDATE};
use tests::patience::eventually;

use super::*;

/// A connection with thirty requests reads nothing: the server begins as many requests as `max_conn_memory` has room
/// for, and one more. It begins the others once there is room.
#[tokio::test]
async fn b1_max_conn_memory_limits_how_many_responses_wait() {
    let service = Service::new("server web 127.0.0.1:0 max_conn_memory=1048576").await;
    let mut client = Connection::open_with(&service.target, &Frame::window(0)).await;
    let requests = (0..30).map(|number| Frame::get(2 * number + 1, "/big?bytes=60000"));
    client.send(&requests.collect::<Vec<_>>()).await;
    let begun = || service.app.log.count(0, "big begins");
    // When the room is used up, each of the server's threads may already have begun another request.
    let room = 10..=10 + std::thread::available_parallelism().expect("a number").get();
    eventually("the first responses", || room.contains(&begun())).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(room.contains(&begun()), "{} are begun", begun());
    let windows: Vec<Frame> = (0..30)
        .map(|number| Frame::new(WINDOW_UPDATE, 0, 2 * number + 1, &60_000_u32.to_be_bytes()))
        .collect();
    client.send(&[&windows[..], &[Frame::new(WINDOW_UPDATE, 0, 0, &[0x7f, 0, 0, 0])]].concat()).await;
    let mut ended = 0;
    while ended < 30 {
        let frames = client.frames().await;
        assert!(!frames.is_empty(), "closed after {ended}");
        ended += frames.iter().filter(|frame| frame.kind == DATA && frame.flags & END_OF_STREAM != 0).count();
    }
}

/// A hundred handlers begin while there is room and then answer all at once. The server drops most of the bytes that
/// the client does not read after 5 s.
pub(crate) async fn b1_slow_handlers_that_answer_together() {
    let service = one_permit().await;
    let mut client = Connection::open_with(&service.target, &Frame::window(0)).await;
    let requests = (0..100).map(|number| Frame::get(2 * number + 1, "/big/slow?bytes=1000000"));
    client.send(&requests.collect::<Vec<_>>()).await;
    let (start, mut resets) = (Instant::now(), 0);
    while resets < 90 {
        let frames = client.frames().await;
        assert!(!frames.is_empty(), "closed");
        resets += frames.iter().filter(|frame| frame.kind == RST_STREAM).count();
    }
    let took = start.elapsed();
    println!("a hundred at once: reset after {took:?}");
    assert!(took > Duration::from_secs(5) && took < Duration::from_secs(27), "{took:?}");
}

/// Forty responses together are far larger than a connection's memory. A client that reads them one after the other
/// gets all of them.
#[tokio::test]
async fn b1_a_client_that_takes_its_responses_gets_all_of_them() {
    const EACH: usize = 1_000_000;
    let service = one_permit().await;
    let mut client = Connection::open_with(&service.target, &Frame::window(0)).await;
    let streams: Vec<u32> = (0..40).map(|number| 2 * number + 1).collect();
    client
        .send(&streams.iter().map(|stream| Frame::get(*stream, "/big?bytes=1000000")).collect::<Vec<_>>())
        .await;
    let mut received = vec![0; streams.len()];
    let (mut next, mut before) = (0, usize::MAX);
    client.send(&[Frame::new(WINDOW_UPDATE, 0, 0, &[0x7f, 0, 0, 0])]).await;
    while next < streams.len() {
        if next != before {
            client.send(&[Frame::new(WINDOW_UPDATE, 0, streams[next], &(EACH as u32).to_be_bytes())]).await;
            before = next;
        }
        let frames = client.frames().await;
        assert!(!frames.is_empty(), "closed at stream {}", streams[next]);
        let acknowledged: Vec<Frame> = frames.iter().filter_map(Frame::acknowledges).collect();
        client.send(&acknowledged).await;
        for frame in frames {
            assert_ne!(frame.kind, RST_STREAM, "stream {}", frame.stream);
            if frame.kind == DATA {
                received[(frame.stream as usize - 1) / 2] += frame.payload.len();
            }
        }
        while next < streams.len() && received[next] == EACH {
            next += 1;
        }
    }
}
