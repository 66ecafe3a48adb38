//! What an HTTP/2 client may do to its connection: whoever lets it wait, or asks for nothing again and again, is cut,
//! even if it answers every PING. Each of these connections holds the only permit, which has to come back.

use std::time::{Duration, Instant};

use tests::frames::{Connection, DATA, Frame, PRIORITY};
use tests::{App, Client, Launch, Scratch, Target};

const LIMIT: Duration = Duration::from_secs(30);

/// Of the one permit.
struct Stage {
    app: App,
    target: Target,
    _scratch: Scratch,
}

impl Stage {
    async fn new() -> Self {
        let scratch = Scratch::new();
        let app = Launch::app(&scratch, "server web 127.0.0.1:0 max_conns=1").spawn();
        let target = app.target("web").await;
        Self { app, target, _scratch: scratch }
    }

    /// After which time somebody else is served.
    async fn next_is_served_after(&self, since: Instant) -> Duration {
        let mut next = Client::connect(&self.target).await.expect("a connection");
        next = next.limit(2 * LIMIT);
        assert_eq!(next.get("/ping").await.expect("an answer").status, 200);
        since.elapsed()
    }

    /// The connection, which answers every PING meanwhile, is cut after 30 s.
    async fn cuts(&self, what: &str, mut stalled: Connection) {
        let (took, _) = tokio::join!(self.next_is_served_after(Instant::now()), stalled.until_end());
        println!("{what}: cut after {took:?}");
        let rather = LIMIT - Duration::from_secs(2)..LIMIT + Duration::from_secs(12);
        assert!(rather.contains(&took), "{what}: cut after {took:?}\n{}", self.app.log);
    }
}

/// Its window is closed from the beginning, and each response stays in the server.
async fn closed_window() {
    let stage = Stage::new().await;
    let mut client = Connection::open_with(&stage.target, &Frame::window(0)).await;
    client.send(&[Frame::get(1, "/ping")]).await;
    client.answer(1).await;
    stage.cuts("window 0", client).await;
}

/// Its window takes a part of each response, the rest of which would be kept for ever.
async fn small_window() {
    let stage = Stage::new().await;
    let mut client = Connection::open_with(&stage.target, &Frame::window(3)).await;
    client.send(&[Frame::get(1, "/ping"), Frame::get(3, "/big?bytes=100000")]).await;
    client.answer(1).await;
    stage.cuts("a window of 3 bytes", client).await;
}

async fn owed_body() {
    let stage = Stage::new().await;
    let mut client = Connection::open(&stage.target).await;
    client.send(&[Frame::post(1, "/echo")]).await;
    stage.cuts("a body that does not come", client).await;
}

/// A byte a second is no progress.
async fn dripping_body() {
    let stage = Stage::new().await;
    let mut client = Connection::open(&stage.target).await;
    client.send(&[Frame::post(1, "/echo")]).await;
    let drip = async {
        while client.try_send(&[Frame::new(DATA, 0, 1, b"x")]).await.is_ok() {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    };
    let (took, ()) = tokio::join!(stage.next_is_served_after(Instant::now()), drip);
    println!("a body that drips: cut after {took:?}");
    assert!(took > LIMIT - Duration::from_secs(2) && took < LIMIT + Duration::from_secs(12), "{took:?}");
}

/// Of the time that a handler takes, and of an event stream without events, nothing counts.
async fn slow_handlers() {
    let stage = Stage::new().await;
    let mut client = Connection::open(&stage.target).await;
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

/// All at once, since each of them takes its time.
#[tokio::test]
async fn a_client_that_lets_its_connection_wait_is_cut_after_thirty_seconds_and_a_patient_one_is_not() {
    tokio::join!(closed_window(), small_window(), owed_body(), dripping_body(), slow_handlers());
}

/// Frames that ask for nothing, as many as fit.
#[tokio::test]
async fn a_client_that_floods_a_connection_without_a_stream_is_cut() {
    let stage = Stage::new().await;
    let mut client = Connection::open(&stage.target).await;
    client.send(&[Frame::get(1, "/ping")]).await;
    client.answer(1).await;
    let flood = vec![Frame::new(PRIORITY, 0, 1, &[0, 0, 0, 3, 7]); 1000];
    let flooding = async { while client.try_send(&flood).await.is_ok() {} };
    let (took, ()) = tokio::join!(stage.next_is_served_after(Instant::now()), flooding);
    assert!(took < Duration::from_secs(8), "{took:?}\n{}", stage.app.log);
}
