//! The end of an HTTP/2 connection, frame by frame: the server refuses no request that its client could send before it
//! received the first GOAWAY.

use std::time::{Duration, Instant};

use tests::frames::{Connection, Frame, GOAWAY};
use tests::patience::{PATIENCE, within};
use tests::{Exit, Launch, Scratch, Signal};
use tokio::io::AsyncReadExt as _;
use tokio::task::JoinSet;

const PLANS: [&str; 2] = ["server web 127.0.0.1:0", "server web 127.0.0.1:0 tls=self_signed"];

/// Case 45: the server's first GOAWAY and the client's request cross each other, and the request arrives after the
/// client's replies to the frames that came with that GOAWAY. The server still answers it, at a restart and at a stop,
/// and the second GOAWAY names it as the last.
#[tokio::test]
async fn case_45_a_request_that_crosses_the_first_goaway_is_answered() {
    for plan in PLANS {
        for signal in [Signal::USR2, Signal::TERM] {
            let scratch = Scratch::new();
            let app = Launch::app(&scratch, plan).start("web").await;
            let mut client = Connection::open(&app.target("web").await).await;
            client.send(&[Frame::get(1, "/ping")]).await;
            client.answer(1).await;
            app.signal(signal);
            let mut frames = Vec::new();
            while !frames.iter().any(|frame: &Frame| frame.kind == GOAWAY) {
                let more = client.frames().await;
                assert!(!more.is_empty(), "closed without a GOAWAY");
                frames.extend(more);
            }
            // The client replies at once to all frames that arrive together.
            while let Ok(more) = tokio::time::timeout(Duration::from_millis(50), client.frames()).await {
                frames.extend(more);
            }
            let mut reply: Vec<Frame> = frames.iter().filter_map(Frame::acknowledges).collect();
            reply.push(Frame::get(3, "/ping"));
            client.send(&reply).await;
            client.answer(3).await;
            // Then the server ends the connection by itself. Before that, it names the last request.
            frames.extend(client.until_end().await);
            let goaways: Vec<(u32, u32)> = frames.iter().filter_map(Frame::goaway).collect();
            assert_eq!(goaways.first(), Some(&(0x7fff_ffff, 0)), "the first GOAWAY refuses nothing");
            assert_eq!(goaways.last(), Some(&(3, 0)), "{goaways:?}");
        }
    }
}

/// Its client has opened it a while ago, so no request is on its way.
#[tokio::test]
async fn a_connection_without_any_request_is_told_at_once_and_closes_when_its_client_has_answered() {
    for plan in PLANS {
        for signal in [Signal::USR2, Signal::TERM] {
            let scratch = Scratch::new();
            let app = Launch::app(&scratch, plan).env("GRACEHTTP_DRAIN_TIMEOUT", "30s").start("web").await;
            let mut client = Connection::open(&app.target("web").await).await;
            // Its SETTINGS have come, and are acknowledged.
            let settings = client.frames().await;
            client.send(&settings.iter().filter_map(Frame::acknowledges).collect::<Vec<_>>()).await;
            // One that is new is left alone for a second.
            tokio::time::sleep(Duration::from_secs(1)).await;
            app.signal(signal);
            if signal == Signal::USR2 {
                app.log.line(0, tests::process::RESTARTED).await;
            }
            let begun = Instant::now();
            let frames = tokio::time::timeout(Duration::from_millis(1200), first_goaway(&mut client)).await;
            assert_eq!(frames.expect("GOAWAY at once").goaway(), Some((0x7fff_ffff, 0)));
            let rest = client.until_end().await;
            let goaways: Vec<_> = rest.iter().filter_map(Frame::goaway).collect();
            assert_eq!(goaways.last(), Some(&(0, 0)), "{rest:?}");
            assert!(begun.elapsed() < Duration::from_millis(2500), "closed after {:?}", begun.elapsed());
            app.predecessors_leave_cleanly().await;
            if signal == Signal::USR2 {
                assert_eq!(app.stop().await, Exit::Code(0), "{}", app.log);
            }
        }
    }
}

/// Its first request may be on its way.
#[tokio::test]
async fn a_connection_that_was_opened_just_now_gets_its_first_request_answered() {
    for plan in PLANS {
        let scratch = Scratch::new();
        let app = Launch::app(&scratch, plan).start("web").await;
        let mut client = Connection::open(&app.target("web").await).await;
        app.signal(Signal::USR2);
        let goaway = first_goaway(&mut client).await;
        assert_eq!(goaway.goaway(), Some((0x7fff_ffff, 0)), "the first GOAWAY refuses nothing");
        client.send(&[Frame::get(1, "/ping")]).await;
        client.answer(1).await;
        let rest = client.until_end().await;
        assert_eq!(rest.iter().filter_map(Frame::goaway).next_back(), Some((1, 0)), "{rest:?}");
    }
}

/// Clients that came together, as after the restart before, don't go together.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_were_opened_in_one_moment_are_told_one_after_the_other() {
    const CLIENTS: usize = 60;
    let scratch = Scratch::new();
    let app = Launch::app(&scratch, PLANS[0]).start("web").await;
    let target = app.target("web").await;
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        clients.push(Connection::open(&target).await);
    }
    // Behind it nothing is to be expected of them.
    tokio::time::sleep(Duration::from_secs(1)).await;
    app.signal(Signal::USR2);
    let mut told = JoinSet::new();
    for mut client in clients {
        told.spawn(async move {
            first_goaway(&mut client).await;
            Instant::now()
        });
    }
    let mut told = told.join_all().await;
    told.sort();
    let pauses = told.windows(2).map(|pair| pair[1] - pair[0]);
    // They would be told once a second, all within some milliseconds.
    let longest = pauses.max().expect("several");
    assert!(longest < Duration::from_millis(600), "a pause of {longest:?}");
    assert!(
        told[CLIENTS - 1] - told[0] > Duration::from_millis(1500),
        "told within {:?}",
        told[CLIENTS - 1] - told[0]
    );
    app.predecessors_leave_cleanly().await;
}

/// One client sends nothing after its handshake, not even the preface of HTTP/2. The other sends that, and no answer.
#[tokio::test]
async fn a_client_that_answers_no_goaway_is_told_and_holds_nothing_up() {
    let scratch = Scratch::new();
    let launch = Launch::app(&scratch, PLANS[1]).env("RUST_LOG", "gracehttp=debug");
    let app = launch.env("GRACEHTTP_DRAIN_TIMEOUT", "30s").spawn();
    let target = app.target("web").await;
    let mut silent = target.connect(&["h2"]).await.unwrap();
    let deaf = Connection::open(&target).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let begun = Instant::now();
    app.restart().await;
    let mut heard = Vec::new();
    within(PATIENCE, "a close", silent.read_to_end(&mut heard)).await.unwrap();
    let goaway = [&[0, 0, 8, GOAWAY, 0, 0, 0, 0, 0][..], &0x7fff_ffff_u32.to_be_bytes(), &[0; 4]].concat();
    assert!(heard.windows(17).any(|bytes| bytes == goaway), "{heard:?}");
    app.predecessors_leave_cleanly().await;
    let receipt = "server `web`: its connections in the drain: 2 told to close";
    assert!(app.log.line(0, receipt).await.ends_with(receipt), "{}", app.log);
    assert!(begun.elapsed() < Duration::from_secs(10), "closed after {:?}", begun.elapsed());
    drop(deaf);
}

/// Acknowledges what comes up to the first GOAWAY.
async fn first_goaway(client: &mut Connection) -> Frame {
    loop {
        let frames = client.frames().await;
        assert!(!frames.is_empty(), "closed without a GOAWAY");
        client.send(&frames.iter().filter_map(Frame::acknowledges).collect::<Vec<_>>()).await;
        if let Some(goaway) = frames.into_iter().find(|frame| frame.kind == GOAWAY) {
            return goaway;
        }
    }
}
