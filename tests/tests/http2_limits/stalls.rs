//! Streams and connections without progress.

use tests::client::Stream;
use tests::frames::{DATA, END_OF_STREAM, PREFACE, RST_STREAM, WINDOW_UPDATE};
use tests::patience::within;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;
use crate::memory::b1_slow_handlers_that_answer_together;

/// The time in which a busy machine notices a limit of 30 s.
const RATHER: std::ops::Range<Duration> = Duration::from_secs(28)..Duration::from_secs(55);

/// The server cuts the connection after 30 s, although the client answers every PING.
async fn cuts(service: &Service, what: &str, mut stalled: Connection) {
    let (took, _) = tokio::join!(next_is_served_after(service, Instant::now()), stalled.until_end());
    println!("{what}: cut after {took:?}");
    assert!(RATHER.contains(&took), "{what}: cut after {took:?}\n{}", service.app.log);
}

/// Answers each frame that needs an acknowledgement until the server resets the stream. Returns the code of the reset.
async fn until_reset(client: &mut Connection, stream: u32) -> u32 {
    loop {
        let frames =
            within(2 * LIMIT, "RST_STREAM", client.try_frames()).await.expect("no reset of the connection");
        assert!(!frames.is_empty(), "closed");
        let acknowledged: Vec<Frame> = frames.iter().filter_map(Frame::acknowledges).collect();
        client.send(&acknowledged).await;
        if let Some(reset) = frames.iter().find(|frame| frame.kind == RST_STREAM && frame.stream == stream) {
            return u32::from_be_bytes(reset.payload[..].try_into().expect("a code"));
        }
    }
}

/// The server resets the stream after 30 s, and the connection keeps serving.
async fn resets(what: &str, mut client: Connection, stream: u32) {
    let start = Instant::now();
    let code = until_reset(&mut client, stream).await;
    let took = start.elapsed();
    println!("{what}: reset after {took:?}");
    assert!(code == CANCEL && RATHER.contains(&took), "{what}: reset with {code} after {took:?}");
    client.send(&[Frame::get(stream + 1000, "/ping")]).await;
    client.answer(stream + 1000).await;
}

/// The client's window is closed from the beginning, so each response stays in the server.
async fn closed_window() {
    let service = one_permit().await;
    let mut client = Connection::open_with(&service.target, &Frame::window(0)).await;
    client.send(&[Frame::get(1, "/ping")]).await;
    client.answer(1).await;
    resets("window 0", client, 1).await;
}

/// The client's window takes a part of each response, and the server would keep the rest without a limit. The rest of a
/// short response is in h2 alone, and h2 has no way to reset it: the server closes the connection.
async fn small_window() {
    let service = one_permit().await;
    let mut client = Connection::open_with(&service.target, &Frame::window(3)).await;
    client.send(&[Frame::get(1, "/big?bytes=100000")]).await;
    client.answer(1).await;
    let short = async {
        let service = one_permit().await;
        let mut client = Connection::open_with(&service.target, &Frame::window(3)).await;
        client.send(&[Frame::get(1, "/ping")]).await;
        client.answer(1).await;
        cuts(&service, "the end of a short response", client).await;
    };
    tokio::join!(resets("a window of 3 bytes", client, 1), short);
}

/// While one stream keeps a large response waiting, the client sends another request every second and reads its
/// response.
async fn b1_one_stream_of_a_busy_client() {
    let service = one_permit().await;
    let mut client = Connection::open_with(&service.target, &Frame::window(0)).await;
    client.send(&[Frame::get(1, "/big?bytes=1000000")]).await;
    client.answer(1).await;
    let (start, mut stream) = (Instant::now(), 1);
    let reset = loop {
        stream += 2;
        let window = Frame::new(WINDOW_UPDATE, 0, stream, &[0, 0, 1, 0]);
        client.send(&[Frame::get(stream, "/ping"), window]).await;
        let mut reset = false;
        let mut ended = false;
        while !ended {
            let frames = client.frames().await;
            assert!(!frames.is_empty(), "closed after {:?}", start.elapsed());
            let acknowledged: Vec<Frame> = frames.iter().filter_map(Frame::acknowledges).collect();
            client.send(&acknowledged).await;
            reset |= frames.iter().any(|frame| frame.kind == RST_STREAM && frame.stream == 1);
            ended = frames.iter().any(|frame| frame.stream == stream && frame.flags & END_OF_STREAM != 0);
        }
        if reset || start.elapsed() > 2 * LIMIT {
            break reset;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    };
    let took = start.elapsed();
    println!("one of many streams: reset after {took:?}");
    assert!(reset && RATHER.contains(&took), "{took:?}");
}

/// Opens all windows and asks for 50 MB. The kernels on the way hold some of it.
async fn open_windows(service: &Service) -> Box<dyn Stream> {
    let mut stream = service.target.connect(&["h2"]).await.expect("a connection");
    let frames = [
        Frame::window(0x7fff_ffff),
        Frame::new(WINDOW_UPDATE, 0, 0, &0x7000_0000_u32.to_be_bytes()),
        Frame::get(1, "/big?bytes=50000000"),
    ];
    let bytes = [PREFACE, &frames.iter().flat_map(Frame::bytes).collect::<Vec<_>>()].concat();
    stream.write_all(&bytes).await.expect("an open connection");
    stream
}

/// Reads 20 KiB a second for longer than the limit: so much is on its way that the server's kernel accepts nothing more
/// meanwhile.
async fn a9_slow_reader() {
    let service = one_permit().await;
    let mut stream = open_windows(&service).await;
    let (start, mut piece) = (Instant::now(), vec![0; 20 << 10]);
    while start.elapsed() < LIMIT + Duration::from_secs(9) {
        stream.read_exact(&mut piece).await.expect("an open connection");
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let mut rest = 0;
    while rest < 40_000_000 {
        rest += stream.read_exact(&mut piece).await.expect("the rest");
    }
}

/// Reads nothing.
async fn a10_no_reader() {
    let service = one_permit().await;
    let _stream = open_windows(&service).await;
    let took = next_is_served_after(&service, Instant::now()).await;
    println!("a socket that is not read: cut after {took:?}");
    assert!(RATHER.contains(&took), "{took:?}");
}

async fn owed_body() {
    let service = one_permit().await;
    let mut client = Connection::open(&service.target).await;
    client.send(&[Frame::post(1, "/echo")]).await;
    resets("a body that does not come", client, 1).await;
}

/// A byte a second is no progress.
async fn dripping_body() {
    let service = one_permit().await;
    let mut client = Connection::open(&service.target).await;
    client.send(&[Frame::post(1, "/echo")]).await;
    let start = Instant::now();
    let code = loop {
        client.send(&[Frame::new(DATA, 0, 1, b"x")]).await;
        if let Ok(code) = tokio::time::timeout(Duration::from_secs(1), until_reset(&mut client, 1)).await {
            break code;
        }
    };
    println!("a body that drips: reset after {:?}", start.elapsed());
    assert!(
        code == CANCEL && RATHER.contains(&start.elapsed()),
        "reset with {code} after {:?}",
        start.elapsed()
    );
}

/// The time of a handler does not count, and the time of an event stream without events does not count.
async fn slow_handlers() {
    let service = one_permit().await;
    let mut client = Connection::open(&service.target).await;
    client.send(&[Frame::get(1, "/slow?ms=40000"), Frame::get(3, "/silence?ms=40000")]).await;
    let start = Instant::now();
    let mut ended = 0;
    while ended < 2 {
        let frames = client.try_frames().await.expect("no reset");
        assert!(!frames.is_empty(), "closed after {:?}", start.elapsed());
        let acknowledged: Vec<Frame> = frames.iter().filter_map(Frame::acknowledges).collect();
        client.send(&acknowledged).await;
        ended += frames.iter().filter(|frame| frame.kind == DATA && frame.flags & 1 == 1).count();
    }
    assert!(start.elapsed() > Duration::from_secs(38), "{:?}", start.elapsed());
}

/// All cases run at once, since each of them takes long.
#[tokio::test]
async fn b1_a_stream_that_stands_still_is_reset_after_thirty_seconds_and_a_slow_one_is_not() {
    let b1 = b1_one_stream_of_a_busy_client();
    tokio::join!(
        a9_slow_reader(),
        b1_slow_handlers_that_answer_together(),
        a10_no_reader(),
        b1,
        closed_window(),
        small_window(),
        owed_body(),
        dripping_body(),
        slow_handlers()
    );
}

/// The responses to requests that come together go out together. But one handler that blocks its thread, the first or the
/// last of them, holds up none of the others.
#[tokio::test]
async fn a_handler_that_blocks_holds_up_no_response_of_its_burst() {
    let web = "server web 127.0.0.1:0";
    let service = Service::with(web, |launch| launch.env("GRACEHTTP_WORKER_THREADS", "2")).await;
    let streams = || (1..=31).step_by(2);
    for blocked in [1, 31] {
        let mut client = Connection::open(&service.target).await;
        let request = |stream| Frame::get(stream, if stream == blocked { "/block?ms=5000" } else { "/ping" });
        let start = Instant::now();
        client.send(&streams().map(request).collect::<Vec<Frame>>()).await;
        let mut left: Vec<u32> = streams().filter(|stream| *stream != blocked).collect();
        while !left.is_empty() {
            let frames = client.frames().await;
            assert!(!frames.is_empty(), "closed without {left:?}");
            left.retain(|stream| {
                !frames.iter().any(|frame| {
                    (frame.kind, frame.stream, frame.flags & END_OF_STREAM) == (DATA, *stream, 1)
                })
            });
        }
        assert!(start.elapsed() < Duration::from_secs(4), "they waited for {:?}", start.elapsed());
        client.answer(blocked).await;
    }
}
