//! What an HTTP/2 client may do to its connection: a stream that lets its server wait is reset, however busy the others
//! are and though it answers every PING, and a client that sends frames for nothing is told to calm down.

use std::time::{Duration, Instant};

use tests::bench::process::resident;
use tests::client::Stream;
use tests::frames::{
    ACK, Connection, DATA, END_OF_HEADERS, END_OF_STREAM, Frame, HEADERS, PING, PREFACE, PRIORITY,
    RST_STREAM, SETTINGS, WINDOW_UPDATE,
};
use tests::patience::{eventually, within};
use tests::{App, Client, Launch, Scratch, Target};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

const LIMIT: Duration = Duration::from_secs(30);

/// When a limit of 30 s is noticed on a busy machine.
const RATHER: std::ops::Range<Duration> = Duration::from_secs(28)..Duration::from_secs(42);

const CANCEL: u32 = 0x8;
const ENHANCE_YOUR_CALM: u32 = 0xb;

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
        assert!(RATHER.contains(&took), "{what}: cut after {took:?}\n{}", self.app.log);
    }
}

/// Answers whatever asks for it until the stream is reset: with which code.
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

/// The stream is reset after 30 s, and the connection serves on.
async fn resets(what: &str, mut client: Connection, stream: u32) {
    let start = Instant::now();
    let code = until_reset(&mut client, stream).await;
    let took = start.elapsed();
    println!("{what}: reset after {took:?}");
    assert!(code == CANCEL && RATHER.contains(&took), "{what}: reset with {code} after {took:?}");
    client.send(&[Frame::get(stream + 1000, "/ping")]).await;
    client.answer(stream + 1000).await;
}

/// Its window is closed from the beginning, and each response stays in the server.
async fn closed_window() {
    let stage = Stage::new().await;
    let mut client = Connection::open_with(&stage.target, &Frame::window(0)).await;
    client.send(&[Frame::get(1, "/ping")]).await;
    client.answer(1).await;
    resets("window 0", client, 1).await;
}

/// Its window takes a part of each response, the rest of which would be kept for ever. What is left of a short one only
/// h2 has, which can't be told to reset it: the connection goes.
async fn small_window() {
    let stage = Stage::new().await;
    let mut client = Connection::open_with(&stage.target, &Frame::window(3)).await;
    client.send(&[Frame::get(1, "/big?bytes=100000")]).await;
    client.answer(1).await;
    let short = async {
        let stage = Stage::new().await;
        let mut client = Connection::open_with(&stage.target, &Frame::window(3)).await;
        client.send(&[Frame::get(1, "/ping")]).await;
        client.answer(1).await;
        stage.cuts("the end of a short response", client).await;
    };
    tokio::join!(resets("a window of 3 bytes", client, 1), short);
}

/// A row of faults: while one stream lets a large response wait, another request comes every second, and its response
/// is taken.
async fn b1_one_stream_of_a_busy_client() {
    let stage = Stage::new().await;
    let mut client = Connection::open_with(&stage.target, &Frame::window(0)).await;
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

/// Opens all its windows and asks for 50 MB, of which the kernels on the way hold some.
async fn open_windows(stage: &Stage) -> Box<dyn Stream> {
    let mut stream = stage.target.connect(&["h2"]).await.expect("a connection");
    let frames = [
        Frame::window(0x7fff_ffff),
        Frame::new(WINDOW_UPDATE, 0, 0, &0x7000_0000_u32.to_be_bytes()),
        Frame::get(1, "/big?bytes=50000000"),
    ];
    let bytes = [PREFACE, &frames.iter().flat_map(Frame::bytes).collect::<Vec<_>>()].concat();
    stream.write_all(&bytes).await.expect("an open connection");
    stream
}

/// Takes 20 KiB a second for longer than the limit: what is on its way is so much that the server's kernel takes nothing
/// more meanwhile.
async fn a9_slow_reader() {
    let stage = Stage::new().await;
    let mut stream = open_windows(&stage).await;
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

/// Takes nothing.
async fn a10_no_reader() {
    let stage = Stage::new().await;
    let _stream = open_windows(&stage).await;
    let took = stage.next_is_served_after(Instant::now()).await;
    println!("a socket that is not read: cut after {took:?}");
    assert!(RATHER.contains(&took), "{took:?}");
}

async fn owed_body() {
    let stage = Stage::new().await;
    let mut client = Connection::open(&stage.target).await;
    client.send(&[Frame::post(1, "/echo")]).await;
    resets("a body that does not come", client, 1).await;
}

/// A byte a second is no progress.
async fn dripping_body() {
    let stage = Stage::new().await;
    let mut client = Connection::open(&stage.target).await;
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

/// Frames that bring nothing, as many as fit, while a stream is open and a request comes with each thousand of them.
async fn flood(what: &str, frame: Frame) {
    let stage = Stage::new().await;
    let mut client = Connection::open(&stage.target).await;
    client.send(&[Frame::get(1, "/never")]).await;
    let start = Instant::now();
    let mut stream = 1;
    let frames = loop {
        stream += 2;
        let frames = [vec![Frame::get(stream, "/ping")], vec![frame.clone(); 1000]].concat();
        let is_over = client.try_send(&frames).await.is_err();
        // What has come by now makes room for more.
        let came = tokio::time::timeout(Duration::from_millis(1), client.try_frames()).await;
        match came {
            Ok(Ok(frames)) if frames.iter().any(|frame| frame.farewell().is_some()) => break frames,
            Ok(Ok(frames)) if !frames.is_empty() && !is_over => {}
            Err(_) if !is_over => {}
            _ => break client.until_end().await,
        }
    };
    let codes: Vec<u32> = frames.iter().filter_map(Frame::farewell).map(|(_, code)| code).collect();
    println!("{what}: {codes:?} after {:?}", start.elapsed());
    assert!(start.elapsed() < Duration::from_secs(15), "{what}: {:?}", start.elapsed());
    assert!(codes.is_empty() || codes == [ENHANCE_YOUR_CALM], "{what}: {codes:?}");
    stage.next_is_served_after(start).await;
}

/// All at once.
#[tokio::test]
async fn b2_frames_that_bring_nothing_end_their_connection_though_a_stream_is_open() {
    tokio::join!(
        flood("PRIORITY", Frame::new(PRIORITY, 0, 1, &[0, 0, 0, 3, 7])),
        flood("PING", Frame::new(PING, 0, 0, b"8 octets")),
        flood("PING ACK", Frame::new(PING, ACK, 0, b"8 octets")),
        flood("SETTINGS", Frame::new(SETTINGS, 0, 0, &[])),
        flood("WINDOW_UPDATE", Frame::new(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1])),
        flood("an unknown kind", Frame::new(0xba, 0, 0, b"grease")),
    );
}

/// It may send as many frames as an honest one has to.
#[tokio::test]
async fn b2_a_client_that_opens_two_windows_for_each_piece_gets_all_responses() {
    let stage = Stage::new().await;
    let mut client = Connection::open(&stage.target).await;
    client.send(&[Frame::get(1, "/big?bytes=20000000")]).await;
    let (mut received, mut pings) = (0, 0_u64);
    while received < 20_000_000 {
        let frames = client.frames().await;
        assert!(!frames.is_empty(), "closed after {received} bytes");
        let mut answers: Vec<Frame> = frames.iter().filter_map(Frame::acknowledges).collect();
        for data in frames.iter().filter(|frame| frame.kind == DATA && !frame.payload.is_empty()) {
            received += data.payload.len();
            // As Go's client does, for each 4 KiB, and with a PING to measure the way, as gRPC's do.
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

/// A page that is left before it was loaded: its requests and the end of them come in one write.
#[tokio::test]
async fn b2_a_client_that_gives_up_all_the_requests_of_a_page_keeps_its_connection() {
    let stage = Stage::new().await;
    let mut client = Connection::open(&stage.target).await;
    let page = (1..201).step_by(2);
    let requests = page.clone().map(|stream| Frame::get(stream, "/never"));
    let ends = page.map(|stream| Frame::new(RST_STREAM, 0, stream, &CANCEL.to_be_bytes()));
    client.send(&requests.chain(ends).chain([Frame::get(201, "/ping")]).collect::<Vec<_>>()).await;
    client.answer(201).await;
}

/// Reads until a frame comes that is looked for: all that came.
async fn until(client: &mut Connection, is_last: impl Fn(&Frame) -> bool) -> Vec<Frame> {
    let mut all = Vec::new();
    while !all.iter().any(&is_last) {
        let frames = client.frames().await;
        assert!(!frames.is_empty(), "closed after {all:?}");
        all.extend(frames);
    }
    all
}

/// curl 7 and Python's h2 lose the answer if a reset follows it.
async fn early_answer(what: &str, head: Frame) {
    let stage = Stage::new().await;
    let mut client = Connection::open(&stage.target).await;
    let is_reset = |frame: &Frame| frame.kind == RST_STREAM;
    let data = |flags| Frame::new(DATA, flags, 1, &[b'x'; 10_000]);
    client.send(&[head, data(0)]).await;
    let mut came = until(&mut client, |frame| frame.stream == 1 && frame.flags & END_OF_STREAM != 0).await;
    client.send(&[data(0), Frame::new(PING, 0, 0, b"8 octets")]).await;
    came.extend(until(&mut client, |frame| frame.kind == PING && frame.flags & ACK != 0).await);
    assert!(!came.iter().any(is_reset), "{what}: {came:?}");
    // A client that stops in the middle is not waited for.
    let start = Instant::now();
    let reset = until(&mut client, is_reset).await;
    assert!(reset.iter().any(|frame| is_reset(frame) && frame.payload == [0; 4]), "{what}: {reset:?}");
    assert!(start.elapsed() > Duration::from_secs(4), "{what}: reset after {:?}", start.elapsed());
    client.send(&[Frame::get(3, "/ping")]).await;
    client.answer(3).await;
}

/// The kind of A11. All at once.
#[tokio::test]
async fn a11_an_answer_before_the_end_of_an_upload_is_not_followed_by_a_reset() {
    let head = |path, host| {
        let authority = (":authority", "localhost");
        let target = [(":method", "POST"), (":scheme", "http"), (":path", path), authority];
        let fields = [&target[..], &[("host", host), ("content-length", "30000")]].concat();
        Frame::head(END_OF_HEADERS, 1, &fields)
    };
    tokio::join!(
        early_answer("a handler that reads no body", head("/unread", "localhost")),
        early_answer("404", head("/nowhere", "localhost")),
        early_answer("400", head("/echo", "another")),
    );
}

/// C2, and what else a handler knows from HTTP/1.
#[tokio::test]
async fn c2_a_handler_sees_one_cookie_and_a_host() {
    let stage = Stage::new().await;
    for (authority, host) in [(true, false), (true, true), (false, true)] {
        let mut client = Connection::open(&stage.target).await;
        let mut fields = vec![(":method", "GET"), (":scheme", "http"), (":path", "/seen")];
        fields.extend(authority.then_some((":authority", "good.example")));
        fields.extend(host.then_some(("host", "good.example")));
        fields.extend([("cookie", "a=1"), ("cookie", "b=2"), ("cookie", "c=3")]);
        client.send(&[Frame::head(5, 1, &fields)]).await;
        let mut body = Vec::new();
        while !body.ends_with(b"c=3") {
            let frames = client.frames().await;
            assert!(!frames.is_empty(), "closed after {:?}", String::from_utf8_lossy(&body));
            body.extend(
                frames.iter().filter(|frame| frame.kind == DATA).flat_map(|frame| frame.payload.clone()),
            );
        }
        let seen = if authority { "good.example" } else { "none" };
        let expected = format!("authority: {seen}, host: good.example, cookie: a=1; b=2; c=3");
        assert_eq!(String::from_utf8_lossy(&body), expected);
    }
}

/// Of thirty requests on a connection that takes nothing, as many are begun as `max_conn_memory` has room for, and
/// one more; the others once there is room.
#[tokio::test]
async fn b1_max_conn_memory_limits_how_many_responses_wait() {
    let scratch = Scratch::new();
    let app = Launch::app(&scratch, "server web 127.0.0.1:0 max_conn_memory=1048576").start("web").await;
    let mut client = Connection::open_with(&app.target("web").await, &Frame::window(0)).await;
    let requests = (0..30).map(|number| Frame::get(2 * number + 1, "/big?bytes=60000"));
    client.send(&requests.collect::<Vec<_>>()).await;
    let begun = || app.log.count(0, "big begins");
    // Each of the server's threads may have one in hand when the room is used up.
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

/// A hundred handlers that were all begun when there was room, and then answer all at once: of what their client does not
/// take, most is let go after 5 s.
async fn b1_slow_handlers_that_answer_together() {
    let stage = Stage::new().await;
    let mut client = Connection::open_with(&stage.target, &Frame::window(0)).await;
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
    assert!(took > Duration::from_secs(5) && took < Duration::from_secs(20), "{took:?}");
}

/// C5: only whoever waits for it is told to continue, and only once its handler wants the body; then all goes on as ever.
#[tokio::test]
async fn c5_a_client_that_waits_for_100_continue_gets_it_and_then_its_answer() {
    let scratch = Scratch::new();
    let plan = "server web 127.0.0.1:0\nserver tls 127.0.0.1:0 tls=self_signed";
    let app = Launch::app(&scratch, plan).start("tls").await;
    for server in ["web", "tls"] {
        let mut client = Connection::open(&app.target(server).await).await;
        let expecting = |stream, path| {
            let fields =
                [(":method", "POST"), (":scheme", "https"), (":authority", "localhost"), (":path", path)];
            Frame::head(END_OF_HEADERS, stream, &[&fields[..], &[("expect", "100-continue")]].concat())
        };
        // Others are around it, some of which wait, too; the last one's handler takes no body.
        let heads =
            [Frame::get(1, "/ping"), expecting(3, "/echo"), expecting(5, "/echo"), expecting(7, "/ping")];
        client.send(&heads).await;
        let mut statuses = vec![Vec::new(); 4];
        let ended = |statuses: &[Vec<u16>]| statuses.iter().all(|of_one| of_one.last() > Some(&199));
        while !ended(&statuses) {
            let frames = client.frames().await;
            assert!(!frames.is_empty(), "closed: {statuses:?}");
            let mut answers: Vec<Frame> = frames.iter().filter_map(Frame::acknowledges).collect();
            for head in frames.iter().filter(|frame| frame.kind == HEADERS) {
                let status = head.status().expect("a status");
                statuses[(head.stream as usize - 1) / 2].push(status);
                if status == 100 {
                    answers.push(Frame::new(DATA, END_OF_STREAM, head.stream, b"a body"));
                }
            }
            client.send(&answers).await;
        }
        assert_eq!(statuses, [vec![200], vec![100, 200], vec![100, 200], vec![404]], "{server}");
    }
}

/// Forty responses that are together far larger than what a connection may hold all come, to a client that takes
/// them one after the other.
#[tokio::test]
async fn b1_a_client_that_takes_its_responses_gets_all_of_them() {
    const EACH: usize = 1_000_000;
    let stage = Stage::new().await;
    let mut client = Connection::open_with(&stage.target, &Frame::window(0)).await;
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

/// A connection that ends for a broken frame in the turn in which its requests begin keeps none of them in memory.
#[tokio::test]
async fn connections_that_break_a_rule_right_after_their_requests_leave_no_memory() {
    const FREE: u64 = 8 << 20;
    let scratch = Scratch::new();
    let app = Launch::app(&scratch, "server web 127.0.0.1:0").spawn();
    let target = app.target("web").await;
    // More than the server reads at once: it has begun the requests when it comes to the broken frame.
    let unknown = Frame::new(0x77, 0, 0, &[0; 8000]);
    let broken = Frame::new(WINDOW_UPDATE, 0, 0, &[0; 5]);
    let mut frames: Vec<Frame> = (0..100).map(|number| Frame::get(2 * number + 1, "/ping")).collect();
    frames.extend([&unknown, &unknown, &unknown, &broken].map(Clone::clone));
    let mut warm = 0;
    for round in 0..300 {
        if round == 100 {
            warm = resident(app.pid());
        }
        let mut client = Connection::open(&target).await;
        // Its SETTINGS: the connection stands.
        client.frames().await;
        client.send(&frames).await;
        within(LIMIT, "the end of the connection", client.until_end()).await;
    }
    let end = resident(app.pid());
    println!("{warm} bytes after 100 connections, {end} after 300");
    assert!(end < warm + FREE, "{warm} bytes after 100 connections, {end} after 300");
}
