//! Restarts under load: no request is refused, reset or lost.

use std::time::Duration;

use tests::client::{get, get_once, post_head};
use tests::generation::Generation;
use tests::h2::{Http2, Outcome};
use tests::load::Style;
use tests::patience::eventually;
use tests::{App, Client, Exit, Launch, Load, Scratch, Signal, Target};

const WEB: &str = "server web 127.0.0.1:0";
const TLS: &str = "server tls 127.0.0.1:0 tls=self_signed";

/// Restarts again and again while `loads` run: a few hundred milliseconds apart, always during traffic.
async fn restart_under(app: &App, times: usize, loads: &[&Load]) {
    for number in 1..=times {
        for load in loads {
            load.answers(30).await;
            load.mark(format!("signal {number}"));
        }
        let generation = app.restart().await;
        for load in loads {
            load.mark(format!("pid {} started", generation.pid()));
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// Every predecessor drains and exits with status 0, and the last process does the same.
async fn all_leave_cleanly(app: &App) {
    app.predecessors_leave_cleanly().await;
    assert_eq!(app.stop().await, Exit::Code(0));
}

#[tokio::test]
async fn no_request_is_lost_on_plain_http1() {
    let scratch = Scratch::new();
    let app = Launch::app(&scratch, WEB).start("web").await;
    let load = Load::on(&app.target("web").await)
        .clients(4, Style::Get)
        .clients(3, Style::Post)
        .clients(3, Style::Fresh)
        .clients(2, Style::Silent)
        .clients(2, Style::HalfHead)
        .pause(Duration::from_millis(400))
        .clients(4, Style::Get)
        .clients(2, Style::Post)
        .clients(4, Style::Silent)
        .clients(4, Style::HalfHead);
    restart_under(&app, 15, &[&load]).await;
    let report = load.stop().await;
    report.assert_unnoticed();
    assert!(report.pids.len() > 10, "most generations answered\n{report}");
    all_leave_cleanly(&app).await;
}

#[tokio::test]
async fn no_request_of_a_pipelined_pair_is_lost() {
    let scratch = Scratch::new();
    let app = Launch::app(&scratch, WEB).start("web").await;
    let load = Load::on(&app.target("web").await).clients(8, Style::Pipelined);
    restart_under(&app, 8, &[&load]).await;
    load.stop().await.assert_unnoticed();
    all_leave_cleanly(&app).await;
}

#[tokio::test]
async fn no_request_is_lost_on_tls() {
    let scratch = Scratch::new();
    let app = Launch::app(&scratch, TLS).start("tls").await;
    let load = Load::on(&app.target("tls").await)
        .clients(3, Style::Get)
        .clients(2, Style::Post)
        .clients(2, Style::Fresh)
        .clients(1, Style::Silent)
        .pause(Duration::from_millis(400))
        .clients(3, Style::Get)
        .clients(2, Style::HalfHead);
    restart_under(&app, 10, &[&load]).await;
    let report = load.stop().await;
    report.assert_unnoticed();
    assert!(report.pids.len() > 7, "most generations answered\n{report}");
    all_leave_cleanly(&app).await;
}

#[tokio::test]
async fn no_request_is_lost_on_http2() {
    let scratch = Scratch::new();
    let app = Launch::app(&scratch, &format!("{WEB}\n{TLS}")).start("tls").await;
    let plain = Load::on(&app.target("web").await)
        .clients(3, Style::Http2)
        .pause(Duration::from_millis(400))
        .clients(2, Style::Http2);
    let tls = Load::on(&app.target("tls").await).clients(3, Style::Http2);
    restart_under(&app, 10, &[&plain, &tls]).await;
    let (plain, tls) = (plain.stop().await, tls.stop().await);
    plain.assert_lossless();
    tls.assert_lossless();
    all_leave_cleanly(&app).await;
}

#[tokio::test]
async fn no_request_is_lost_during_slow_start_up_code() {
    let scratch = Scratch::new();
    let app = Launch::app(&scratch, &format!("{WEB}\nstart sleep 400")).start("web").await;
    let load = Load::on(&app.target("web").await)
        .clients(4, Style::Get)
        .clients(2, Style::Post)
        .clients(3, Style::Fresh);
    restart_under(&app, 5, &[&load]).await;
    load.stop().await.assert_unnoticed();
    all_leave_cleanly(&app).await;
}

#[tokio::test]
async fn each_restart_signal_restarts_the_example() {
    let app = Launch::example("ping").listen("ping", "127.0.0.1:0").start("ping").await;
    let target = app.target("ping").await;
    let load = Load::on(&target).clients(4, Style::Get).clients(2, Style::Fresh);
    for signal in [Signal::HUP, Signal::USR1, Signal::USR2] {
        load.answers(30).await;
        load.mark(format!("{signal:?}"));
        let generation = app.restart_by(signal).await;
        app.serves(&target, &generation).await;
    }
    load.stop().await.assert_unnoticed();
    assert_eq!(app.generations(), 4);
    all_leave_cleanly(&app).await;
}

/// One server and its restart; connections from before the restart are still open.
struct Restarted {
    app: App,
    target: Target,
    old: u32,
    _scratch: Scratch,
}

impl Restarted {
    async fn start(plan: &str) -> Self {
        Self::start_by(plan, |launch| launch).await
    }

    /// The log also has the receipts of its drains.
    async fn start_with_receipts(plan: &str) -> Self {
        Self::start_by(plan, |launch| launch.env("RUST_LOG", "gracehttp=debug")).await
    }

    async fn start_by(plan: &str, prepare: impl FnOnce(Launch) -> Launch) -> Self {
        let scratch = Scratch::new();
        let app = prepare(Launch::app(&scratch, plan)).spawn();
        let name = plan.split_whitespace().nth(1).expect("a server");
        let target = app.target(name).await;
        Self { old: app.pid(), app, target, _scratch: scratch }
    }

    async fn restart(&self) {
        let generation = self.app.restart().await;
        self.app.serves(&self.target, &generation).await;
    }

    async fn moves(&self, client: &mut Client) {
        client.moves_to(self.app.pid()).await;
    }
}

#[tokio::test]
async fn accepted_connection_without_a_request_moves_on_restart() {
    let stage = Restarted::start(WEB).await;
    let mut silent = Client::connect(&stage.target).await.unwrap();
    // The server accepts connections in order: after an answer on a later one, it has accepted the silent one.
    get_once(&stage.target, "/ping").await.unwrap();
    stage.restart().await;
    stage.moves(&mut silent).await;
    all_leave_cleanly(&stage.app).await;
}

#[tokio::test]
async fn idle_connection_moves_on_restart() {
    let stage = Restarted::start(WEB).await;
    let mut idle = Client::connect(&stage.target).await.unwrap();
    for _ in 0..3 {
        stage.moves(&mut idle).await;
        stage.restart().await;
    }
    stage.moves(&mut idle).await;
    all_leave_cleanly(&stage.app).await;
}

#[tokio::test]
async fn connections_of_a_unix_socket_move_on_restart() {
    let scratch = Scratch::new();
    let socket = scratch.join("web.sock");
    let app = Launch::app(&scratch, &format!("server web unix:{}", socket.display())).start("web").await;
    let target = Target::Unix(socket);
    let load = Load::on(&target)
        .clients(3, Style::Get)
        .clients(2, Style::Post)
        .clients(2, Style::Fresh)
        .clients(2, Style::HalfHead)
        .pause(Duration::from_millis(400))
        .clients(3, Style::Get);
    let mut idle = Client::connect(&target).await.unwrap();
    idle.get("/ping").await.unwrap();
    let mut half = Client::connect(&target).await.unwrap();
    half.send("GET /ping HTTP/1.1\r\nHo").await.unwrap();
    restart_under(&app, 5, &[&load]).await;
    idle.moves_to(app.pid()).await;
    half.send("st: localhost\r\n\r\n").await.unwrap();
    assert_eq!(half.reply().await.unwrap().pid(), Some(app.pid()));
    load.stop().await.assert_unnoticed();
    drop((idle, half));
    all_leave_cleanly(&app).await;
}

#[tokio::test]
async fn case_48_connection_with_half_a_head_moves_on_restart_and_is_answered() {
    let stage = Restarted::start(WEB).await;
    let mut first = Client::connect(&stage.target).await.unwrap();
    let mut second = Client::connect(&stage.target).await.unwrap();
    second.get("/ping").await.unwrap();
    let mut one_byte = Client::connect(&stage.target).await.unwrap();
    one_byte.send("G").await.unwrap();
    for client in [&mut first, &mut second] {
        client.send("GET /ping HTTP/1.1\r\nHo").await.unwrap();
    }
    get_once(&stage.target, "/ping").await.unwrap();
    stage.restart().await;
    one_byte.send("ET /ping HTTP/1.1\r\nHo").await.unwrap();
    for client in [&mut first, &mut second, &mut one_byte] {
        client.send("st: localhost\r\n\r\n").await.unwrap();
        let reply = client.reply().await.unwrap();
        assert_eq!(reply.status, 200);
        assert!(!reply.closes(), "{reply:?}");
        stage.moves(client).await;
    }
    all_leave_cleanly(&stage.app).await;
}

#[tokio::test]
async fn request_in_the_handler_is_answered_and_its_connection_moves_on_restart() {
    let stage = Restarted::start(WEB).await;
    let mut client = Client::connect(&stage.target).await.unwrap();
    client.send(get("/slow?ms=1500")).await.unwrap();
    stage.app.log.line(0, "slow begins").await;
    stage.restart().await;
    let reply = client.reply().await.unwrap();
    assert_eq!(reply.pid(), Some(stage.old));
    assert!(!reply.closes(), "{reply:?}");
    stage.moves(&mut client).await;
    all_leave_cleanly(&stage.app).await;
}

#[tokio::test]
async fn case_42_upload_in_flight_completes_and_its_connection_moves_on_restart() {
    let stage = Restarted::start(WEB).await;
    let mut client = Client::connect(&stage.target).await.unwrap();
    client.send(post_head("/echo", 20)).await.unwrap();
    client.send("0123456789").await.unwrap();
    // The handler has begun when another connection gets the answer to a later request.
    get_once(&stage.target, "/ping").await.unwrap();
    stage.restart().await;
    client.send("abcdefghij").await.unwrap();
    assert_eq!(client.reply().await.unwrap().text(), "0123456789abcdefghij");
    stage.moves(&mut client).await;
    all_leave_cleanly(&stage.app).await;
}

#[tokio::test]
async fn receipt_counts_idle_and_answered_connections_that_moved() {
    for (plan, name) in [(WEB, "web"), (TLS, "tls")] {
        let stage = Restarted::start_with_receipts(plan).await;
        let mut idle = Client::connect(&stage.target).await.unwrap();
        idle.get("/ping").await.unwrap();
        let mut busy = Client::connect(&stage.target).await.unwrap();
        busy.send(get("/slow?ms=5000")).await.unwrap();
        stage.app.log.line(0, "slow begins").await;
        stage.restart().await;
        busy.reply().await.unwrap();
        stage.moves(&mut busy).await;
        stage.moves(&mut idle).await;
        all_leave_cleanly(&stage.app).await;
        let receipt = format!("server `{name}`: its connections in the drain: 1 moved, 1 answered and moved");
        assert!(stage.app.log.line(0, &receipt).await.ends_with(&receipt));
    }
}

#[tokio::test]
async fn receipt_counts_http2_connections_asked_to_close() {
    let stage = Restarted::start_with_receipts(WEB).await;
    let mut client = Http2::connect(&stage.target).await.unwrap();
    assert!(matches!(client.get("/ping").await, Ok(Outcome::Reply(_))));
    stage.restart().await;
    all_leave_cleanly(&stage.app).await;
    let receipt = "server `web`: its connections in the drain: 1 told to close";
    assert!(stage.app.log.line(0, receipt).await.ends_with(receipt));
}

#[tokio::test]
async fn streaming_response_in_flight_completes_after_a_restart() {
    let stage = Restarted::start(WEB).await;
    let mut client = Client::connect(&stage.target).await.unwrap();
    client.send(get("/stream?pieces=30")).await.unwrap();
    stage.app.log.line(0, "stream begins").await;
    stage.restart().await;
    let reply = client.reply().await.unwrap();
    assert_eq!(reply.text().lines().count(), 30);
    stage.moves(&mut client).await;
    all_leave_cleanly(&stage.app).await;
}

#[tokio::test]
async fn case_47_sixteen_pipelined_requests_are_answered_in_order_and_their_connection_moves_on_restart() {
    let stage = Restarted::start(WEB).await;
    let mut client = Client::connect(&stage.target).await.unwrap();
    // The first request delays the fifteen behind it, which the server has read or the kernel holds.
    let fifteen: String = (2..=16).map(|number| get(&format!("/numbered?number={number}"))).collect();
    client.send(get("/slow?ms=1000") + &fifteen).await.unwrap();
    stage.app.log.line(0, "slow begins").await;
    stage.restart().await;
    for number in 1..=16 {
        let reply = client.reply().await.unwrap_or_else(|failure| panic!("answer {number}: {failure}"));
        assert!(reply.pid().is_some() && !reply.closes(), "answer {number}: {reply:?}");
        let expected = (number > 1).then(|| number.to_string());
        assert_eq!(reply.header("number"), expected.as_deref(), "answer {number}");
    }
    stage.moves(&mut client).await;
    all_leave_cleanly(&stage.app).await;
}

#[tokio::test]
async fn large_response_to_a_slow_reader_completes_after_a_restart() {
    let stage = Restarted::start(WEB).await;
    let mut client = Client::connect(&stage.target).await.unwrap();
    client.send(get("/big?bytes=20000000")).await.unwrap();
    stage.app.log.line(0, "big begins").await;
    // The server still holds most of it, since the client does not read.
    stage.restart().await;
    assert_eq!(client.reply().await.unwrap().body.len(), 20_000_000);
    stage.moves(&mut client).await;
    all_leave_cleanly(&stage.app).await;
}

#[tokio::test]
async fn case_45_http2_streams_in_flight_are_answered_after_a_restart() {
    for plan in [WEB, TLS] {
        let stage = Restarted::start(plan).await;
        let client = Http2::connect(&stage.target).await.unwrap();
        let slow = |mut client: Http2| tokio::spawn(async move { client.get("/slow?ms=1500").await });
        let streams = [slow(client.clone()), slow(client.clone()), slow(client.clone())];
        eventually("three streams in the handler", || stage.app.log.count(0, "slow begins") == 3).await;
        stage.restart().await;
        for stream in streams {
            let Outcome::Reply(reply) = stream.await.unwrap().unwrap() else { panic!("not sent") };
            assert_eq!(reply.pid(), Some(stage.old));
        }
        all_leave_cleanly(&stage.app).await;
    }
}

#[tokio::test]
async fn case_46_tls_handshake_in_flight_completes_and_its_request_is_answered() {
    use tokio::io::AsyncWriteExt as _;
    use tokio::net::TcpStream;

    let stage = Restarted::start(TLS).await;
    // A relay passes half a ClientHello on before the restart, and the rest after it.
    let relay = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let through_relay = Target::Tls(relay.local_addr().unwrap());
    let client = tokio::spawn(async move { get_once(&through_relay, "/ping").await });
    let (mut near, _) = relay.accept().await.unwrap();
    let mut far = TcpStream::connect(stage.target.address()).await.unwrap();
    let mut hello = [0; 4096];
    let length = tokio::io::AsyncReadExt::read(&mut near, &mut hello).await.unwrap();
    far.write_all(&hello[..length / 2]).await.unwrap();
    get_once(&stage.target, "/ping").await.unwrap();
    stage.restart().await;
    far.write_all(&hello[length / 2..length]).await.unwrap();
    tokio::spawn(async move { tokio::io::copy_bidirectional(&mut near, &mut far).await });
    // The predecessor finishes the handshake. The connection may move before its request comes.
    let reply = client.await.unwrap().unwrap();
    assert!([stage.old, stage.app.pid()].map(Some).contains(&reply.pid()) && !reply.closes(), "{reply:?}");
    all_leave_cleanly(&stage.app).await;
}

/// Figures that must not grow from generation to generation.
#[derive(Debug)]
struct Footprint {
    descriptors: usize,
    threads: usize,
    resident_kib: u64,
}

impl Footprint {
    fn of(generation: &Generation) -> Self {
        Self {
            descriptors: generation.descriptors(),
            threads: generation.threads(),
            resident_kib: generation.resident_kib(),
        }
    }
}

#[tokio::test]
async fn two_hundred_restarts_leave_nothing_behind() {
    let app = Launch::example("ping")
        .listen("ping", "127.0.0.1:0")
        .env("GRACEHTTP_STANDBY", "0s")
        .start("ping")
        .await;
    let target = app.target("ping").await;
    let mut early = None;
    for number in 1..=200 {
        let predecessor = app.current();
        let generation = app.restart().await;
        app.serves(&target, &generation).await;
        assert_eq!(predecessor.exit().await, Exit::Code(0), "generation {number}\n{}", app.log);
        if number == 10 {
            early = Some(Footprint::of(&generation));
        }
    }
    let last = app.current();
    let (early, late) = (early.unwrap(), Footprint::of(&last));
    println!("after 10 restarts {early:?}, after 200 {late:?}");
    // The connection of the last request may still be closing.
    eventually("no more descriptors than after 10 restarts", || last.descriptors() <= early.descriptors)
        .await;
    assert!(late.threads <= early.threads + 1, "{early:?} {late:?}");
    assert!(late.resident_kib < early.resident_kib + early.resident_kib / 4, "{early:?} {late:?}");
    assert_eq!(last.children(), [] as [u32; 0]);
    assert_eq!(app.generations(), 201);
    assert_eq!(app.stop().await, Exit::Code(0));
}
