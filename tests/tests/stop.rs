//! The end of an application: each signal, work in progress, and connections that are cut.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tests::client::{Pause, get, get_once, post_head};
use tests::h2::{Http2, Outcome};
use tests::load::Style;
use tests::patience::{PATIENCE, eventually};
use tests::{App, Client, Exit, Kind, Launch, Load, Scratch, Signal, Target};

const WEB: &str = "server web 127.0.0.1:0";
/// No time limit has to pass, on a busy machine.
const AT_ONCE: Duration = Duration::from_secs(4);

const STOPS: [Signal; 4] = [Signal::INT, Signal::TERM, Signal::QUIT, Signal::TSTP];

struct Stage {
    app: App,
    web: Target,
    _scratch: Scratch,
}

impl Stage {
    async fn new() -> Self {
        Self::with_drain_timeout("10s").await
    }

    async fn with_drain_timeout(limit: &str) -> Self {
        let scratch = Scratch::new();
        let app = Launch::app(&scratch, WEB).env("GRACEHTTP_DRAIN_TIMEOUT", limit).spawn();
        Self { web: app.target("web").await, app, _scratch: scratch }
    }

    async fn client(&self) -> Client {
        Client::connect(&self.web).await.expect("a connection")
    }

    /// A client whose request has reached its handler.
    async fn busy(&self, path: &str) -> Client {
        let start = self.app.log.end();
        let mut client = self.client().await;
        client.send(get(path)).await.expect("written");
        self.app.log.line(start, "begins").await;
        client
    }

    /// Waits until the drain refuses new connections.
    async fn does_not_accept(&self) {
        eventually("a refusal", || std::net::TcpStream::connect(self.web.address()).is_err()).await;
    }

    /// Returns how the process ends and how long that takes from the signal.
    async fn ends(&self, signal: Signal) -> (Exit, Duration) {
        self.app.signal(signal);
        self.has_ended().await
    }

    async fn has_ended(&self) -> (Exit, Duration) {
        let start = Instant::now();
        let exit = self.app.current().exit().await;
        (exit, start.elapsed())
    }
}

#[tokio::test]
async fn case_23_each_stop_signal_ends_an_idle_process_at_once() {
    for signal in STOPS {
        let stage = Stage::new().await;
        get_once(&stage.web, "/ping").await.unwrap();
        let (exit, took) = stage.ends(signal).await;
        println!("{signal:?}: gone after {took:?}");
        assert_eq!(exit, Exit::Code(0), "{}", stage.app.log);
        assert_eq!(get_once(&stage.web, "/ping").await.unwrap_err().kind, Kind::Refused);
        assert!(took < AT_ONCE, "{signal:?} took {took:?}");
    }
}

#[tokio::test]
async fn successor_ends_at_a_stop_signal_like_the_first_process() {
    let stage = Stage::new().await;
    let successor = stage.app.restart().await;
    stage.app.serves(&stage.web, &successor).await;
    stage.app.predecessors_exit().await;
    let (exit, took) = stage.ends(Signal::QUIT).await;
    assert_eq!(exit, Exit::Code(0));
    assert!(took < AT_ONCE, "took {took:?}");
}

#[tokio::test]
async fn drain_ends_with_the_last_connection() {
    let stage = Stage::new().await;
    let mut slow = stage.busy("/slow?ms=800").await;
    let mut slower = stage.busy("/slow?ms=1600").await;
    stage.app.signal(Signal::TERM);
    for client in [&mut slow, &mut slower] {
        let reply = client.reply().await.unwrap();
        assert_eq!(reply.status, 200);
        assert!(reply.closes(), "{reply:?}");
        client.closed().await.unwrap();
    }
    // The server lingers until the clients close their side, too.
    drop((slow, slower));
    let (exit, took) = stage.has_ended().await;
    assert_eq!(exit, Exit::Code(0));
    println!("gone {took:?} after the last answer");
    assert!(took < AT_ONCE, "took {took:?} after the last answer");
}

#[tokio::test]
async fn idle_connection_has_time_for_a_last_request() {
    let stage = Stage::new().await;
    let mut idle = stage.client().await;
    idle.get("/ping").await.unwrap();
    let mut silent = stage.client().await;
    get_once(&stage.web, "/ping").await.unwrap();
    stage.app.signal(Signal::TERM);
    stage.app.log.line(0, "Received SIG.").await;
    for client in [&mut idle, &mut silent] {
        assert_eq!(client.pause(Duration::from_millis(100)).await, Pause::Open, "cut at the signal");
        let reply = client.get("/ping").await.unwrap();
        assert!(reply.closes(), "{reply:?}");
        client.closed().await.unwrap();
    }
    assert_eq!(stage.has_ended().await.0, Exit::Code(0));
}

#[tokio::test]
async fn idle_connections_do_not_hold_up_the_end_for_the_whole_drain_timeout() {
    let stage = Stage::new().await;
    let mut idle = stage.client().await;
    idle.get("/ping").await.unwrap();
    let mut silent = stage.client().await;
    get_once(&stage.web, "/ping").await.unwrap();
    let (exit, took) = stage.ends(Signal::TERM).await;
    assert_eq!(exit, Exit::Code(0));
    println!("with two idle connections: gone after {took:?}");
    assert!(took < Duration::from_secs(9), "took {took:?}");
    for client in [&mut idle, &mut silent] {
        assert_eq!(client.pause(PATIENCE).await, Pause::Closed, "a proper end");
    }
}

#[tokio::test]
async fn stop_under_load_loses_no_request() {
    let stage = Stage::new().await;
    // After the listeners close, a refused new connection is no loss, so these clients keep their connections.
    let mut clients = Vec::new();
    for _ in 0..20 {
        clients.push(stage.client().await);
    }
    let under_way = Arc::new(AtomicUsize::new(0));
    let asking = clients.into_iter().enumerate().map(|(number, mut client)| {
        let under_way = Arc::clone(&under_way);
        tokio::spawn(async move {
            let mut answers = 0;
            loop {
                let reply = if number % 2 == 0 {
                    client.get("/ping").await?
                } else {
                    client.post("/echo", b"hello").await?
                };
                answers += 1;
                under_way.fetch_add(usize::from(answers == 2), Ordering::Relaxed);
                assert_eq!(reply.status, 200);
                if reply.closes() {
                    client.closed().await?;
                    return Ok::<u32, tests::Failure>(answers);
                }
                tokio::time::sleep(Duration::from_millis(3)).await;
            }
        })
    });
    let asking: Vec<_> = asking.collect();
    eventually("all to have two answers", || under_way.load(Ordering::Relaxed) == 20).await;
    stage.app.signal(Signal::TERM);
    for client in asking {
        assert!(client.await.unwrap().unwrap() > 1);
    }
    assert_eq!(stage.has_ended().await.0, Exit::Code(0));
}

#[tokio::test]
async fn stop_serves_the_connections_in_the_accept_queue() {
    let stage = Stage::new().await;
    // While stopped, the process accepts no connection: these wait in the kernel.
    stage.app.signal(Signal::STOP);
    let mut waiting = Vec::new();
    for _ in 0..100 {
        let mut client = stage.client().await;
        client.send(get("/ping")).await.unwrap();
        waiting.push(client);
    }
    stage.app.signal(Signal::TERM);
    stage.app.signal(Signal::CONT);
    for client in &mut waiting {
        assert_eq!(client.reply().await.unwrap().status, 200);
    }
    assert_eq!(stage.has_ended().await.0, Exit::Code(0));
}

#[tokio::test]
async fn drain_timeout_cuts_connections_and_logs_them() {
    let stage = Stage::with_drain_timeout("700ms").await;
    let mut first = stage.busy("/slow?ms=30000").await;
    let mut second = stage.busy("/slow?ms=30000").await;
    let (exit, took) = stage.ends(Signal::TERM).await;
    assert_eq!(exit, Exit::Code(0), "a drain that had to cut is still a clean stop");
    println!("cut after {took:?} with a drain_timeout of 700 ms");
    assert!((Duration::from_millis(600)..Duration::from_secs(10)).contains(&took), "took {took:?}");
    for client in [&mut first, &mut second] {
        client.reply().await.unwrap_err();
    }
    let report =
        "WARN gracehttp: the drain's limit of 700ms has passed: cutting 2 connections (2 of server web)";
    stage.app.log.line(0, report).await;
}

/// HTTP/1.0 has no chunks: the end of the connection is the end of such a response, unless it is a reset.
#[tokio::test]
async fn response_without_a_length_that_is_cut_over_http_1_0_ends_by_a_reset() {
    for options in ["", " tls=self_signed"] {
        let scratch = Scratch::new();
        let app = Launch::app(&scratch, &format!("{WEB}{options}"));
        let app = app.env("GRACEHTTP_DRAIN_TIMEOUT", "700ms").spawn();
        let mut client = Client::connect(&app.target("web").await).await.expect("a connection");
        client.send("GET /stream?pieces=1000 HTTP/1.0\r\n\r\n").await.expect("written");
        app.log.line(0, "stream begins").await;
        app.signal(Signal::TERM);
        let failure = loop {
            match client.piece().await {
                Ok(piece) => assert!(piece.is_some(), "an orderly end{options}"),
                Err(failure) => break failure,
            }
        };
        assert_ne!(failure.kind, Kind::TimedOut, "{failure}");
        assert_eq!(app.current().exit().await, Exit::Code(0));
    }
}

/// A stage that has got a stop signal and still accepts for this long.
async fn lame_duck(time: &str) -> Stage {
    let scratch = Scratch::new();
    let app = Launch::app(&scratch, WEB).env("GRACEHTTP_LAME_DUCK", time).spawn();
    let stage = Stage { web: app.target("web").await, app, _scratch: scratch };
    stage.app.signal(Signal::TERM);
    stage.app.log.line(0, "Received SIG.").await;
    stage
}

#[tokio::test]
async fn lame_duck_still_accepts_for_its_time() {
    let start = Instant::now();
    let stage = lame_duck("3s").await;
    let reply = get_once(&stage.web, "/ping").await.unwrap();
    assert!(!reply.closes(), "{reply:?}");
    stage.app.signal(Signal::HUP);
    let pid = stage.app.pid();
    stage.app.log.line(0, &format!("SIGHUP is ignored: this process, pid {pid}, is stopping")).await;
    assert_eq!(stage.has_ended().await.0, Exit::Code(0));
    assert!(start.elapsed() >= Duration::from_secs(3), "gone after {:?}", start.elapsed());
    assert_eq!(stage.app.generations(), 1);
}

#[tokio::test]
async fn second_signal_ends_a_lame_duck_at_once() {
    let stage = lame_duck("60s").await;
    get_once(&stage.web, "/ping").await.unwrap();
    let (exit, took) = stage.ends(Signal::TERM).await;
    assert_eq!(exit, Exit::Code(0));
    assert!(took < AT_ONCE, "took {took:?}");
}

/// Requests whose handlers block threads: more requests than threads.
async fn block_every_thread(stage: &Stage) -> Vec<Client> {
    let mut clients = Vec::new();
    for _ in 0..2 * std::thread::available_parallelism().expect("a count").get() {
        let mut client = stage.client().await;
        client.send(get("/block?ms=30000")).await.expect("written");
        clients.push(client);
    }
    stage.app.log.line(0, "block begins").await;
    clients
}

#[tokio::test]
async fn case_54_deadline_holds_while_handlers_block_their_threads() {
    let stage = Stage::with_drain_timeout("700ms").await;
    let _clients = block_every_thread(&stage).await;
    let (exit, took) = stage.ends(Signal::TERM).await;
    println!("with blocked threads: gone after {took:?}");
    assert_eq!(exit, Exit::Code(0));
    assert!(took < Duration::from_secs(10), "took {took:?}");
}

#[tokio::test]
async fn case_22_second_signal_ends_the_process_at_once() {
    for second in STOPS {
        let stage = Stage::new().await;
        let mut client = stage.busy("/slow?ms=30000").await;
        stage.app.signal(Signal::TERM);
        eventually("the drain", || stage.app.log.count(0, "Received SIG.") == 1).await;
        assert!(stage.app.current().is_running());
        let (exit, took) = stage.ends(second).await;
        println!("{second:?} while draining: {exit:?} after {took:?}");
        assert!(matches!(exit, Exit::Code(_)), "{exit:?}: not by the signal's default disposition");
        assert!(took < AT_ONCE, "took {took:?}");
        client.reply().await.unwrap_err();
    }
}

#[tokio::test]
async fn case_22_second_signal_ends_the_process_at_once_while_all_threads_are_blocked() {
    let stage = Stage::new().await;
    let _clients = block_every_thread(&stage).await;
    stage.app.signal(Signal::TERM);
    eventually("the drain", || stage.app.log.count(0, "Received SIG.") == 1).await;
    let (exit, took) = stage.ends(Signal::TERM).await;
    println!("{exit:?} after {took:?}");
    assert!(took < AT_ONCE, "took {took:?}");
}

#[tokio::test]
async fn stop_during_start_up_ends_the_process() {
    for signal in STOPS {
        let scratch = Scratch::new();
        let app = Launch::app(&scratch, &format!("{WEB}\nstart hang")).spawn();
        app.log.line(0, "start-up code of pid").await;
        let start = Instant::now();
        app.signal(signal);
        let exit = app.current().exit().await;
        let took = start.elapsed();
        println!("{signal:?} during start-up: {exit:?} after {took:?}");
        assert!(matches!(exit, Exit::Code(_)), "{exit:?}: not by the signal's default disposition");
        assert!(took < AT_ONCE, "took {took:?}");
    }
}

#[tokio::test]
async fn upload_in_flight_completes_during_a_stop() {
    let stage = Stage::new().await;
    let mut client = stage.client().await;
    client.send(post_head("/echo", 10)).await.unwrap();
    client.send("01234").await.unwrap();
    get_once(&stage.web, "/ping").await.unwrap();
    stage.app.signal(Signal::TERM);
    stage.does_not_accept().await;
    assert_eq!(client.pause(Duration::from_millis(50)).await, Pause::Open);
    client.send("56789").await.unwrap();
    let reply = client.reply().await.unwrap();
    assert_eq!(reply.text(), "0123456789");
    assert!(reply.closes());
    assert_eq!(stage.has_ended().await.0, Exit::Code(0));
}

#[tokio::test]
async fn http2_streams_in_flight_complete_and_new_ones_are_refused() {
    let stage = Stage::new().await;
    let client = Http2::connect(&stage.web).await.unwrap();
    let mut slow = client.clone();
    let slow = tokio::spawn(async move { slow.get("/slow?ms=1000").await });
    stage.app.log.line(0, "slow begins").await;
    stage.app.signal(Signal::TERM);
    let Outcome::Reply(reply) = slow.await.unwrap().unwrap() else { panic!("not sent") };
    assert_eq!(reply.status, 200);
    let mut client = client;
    eventually("GOAWAY", || !stage.app.current().is_running()).await;
    assert!(!client.is_open().await);
    assert_eq!(stage.has_ended().await.0, Exit::Code(0));
}

#[tokio::test]
async fn case_53_handler_that_panics_during_the_drain_gives_500() {
    let stage = Stage::new().await;
    let mut idle = stage.client().await;
    idle.get("/ping").await.unwrap();
    stage.app.signal(Signal::TERM);
    stage.app.log.line(0, "Received SIG.").await;
    let reply = idle.get("/panic").await.unwrap();
    assert_eq!(reply.status, 500);
    assert_eq!(stage.has_ended().await.0, Exit::Code(0));
}

#[tokio::test]
async fn other_requests_succeed_while_a_handler_panics() {
    let stage = Stage::new().await;
    let load = Load::on(&stage.web).clients(3, Style::Get);
    for _ in 0..20 {
        assert_eq!(get_once(&stage.web, "/panic").await.unwrap().status, 500);
    }
    load.answers(20).await;
    load.stop().await.assert_unnoticed();
    assert_eq!(stage.ends(Signal::TERM).await.0, Exit::Code(0));
}

#[tokio::test]
async fn client_that_never_reads_is_cut_at_the_deadline() {
    let stage = Stage::with_drain_timeout("700ms").await;
    let mut client = stage.client().await;
    client.send(get("/big?bytes=50000000")).await.unwrap();
    client.piece().await.unwrap();
    let (exit, took) = stage.ends(Signal::TERM).await;
    assert_eq!(exit, Exit::Code(0));
    assert!(took < Duration::from_secs(10), "took {took:?}");
}
