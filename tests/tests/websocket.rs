//! A real WebSocket client, and the example that serves it.

use std::time::{Duration, Instant};

use futures_util::{SinkExt as _, StreamExt as _};
use tests::patience::{PATIENCE, within};
use tests::{Exit, Launch, Signal};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

/// The server serves it until the drain begins, and then closes it with 1001, long before the deadline; the drain
/// waits for nothing more.
async fn is_closed_with_1001(signal: Signal) {
    let app = Launch::example("websocket").listen("echo", "127.0.0.1:0");
    let app = app.env("GRACEHTTP_DRAIN_TIMEOUT", "60s").spawn();
    let target = app.target("echo").await;
    let first = app.first();
    let url = format!("ws://{}/", target.address());
    let (mut socket, _) = tokio_tungstenite::connect_async(&url).await.expect("a WebSocket");
    let own = |number: u32| Message::text(format!("{number} (pid {})", first.pid()));
    for number in 0..20 {
        socket.send(number.to_string().into()).await.expect("an open connection");
        assert_eq!(socket.next().await.expect("an answer").expect("no fault"), own(number));
    }

    let start = Instant::now();
    app.signal(signal);
    let talk = async {
        for number in 20.. {
            // After the close frame, the client may be unable to send more.
            _ = socket.send(number.to_string().into()).await;
            match socket.next().await.expect("a close frame").expect("no fault") {
                Message::Close(close) => return close.expect("a reason"),
                answer => assert_eq!(answer, own(number)),
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        unreachable!("the numbers do not end")
    };
    let close = within(PATIENCE, "the close frame", talk).await;
    assert_eq!(close.code, CloseCode::Away);
    assert!(start.elapsed() < PATIENCE, "it took {:?}", start.elapsed());
    // The client answers the close, and the connection ends.
    while let Some(Ok(_)) = socket.next().await {}
    assert_eq!(first.exit().await, Exit::Code(0), "{}", app.log);
    app.catch_up().await;
    assert_eq!(app.log.count(0, "cutting"), 0, "{}", app.log);

    if signal == Signal::USR1 {
        let (mut socket, _) = tokio_tungstenite::connect_async(&url).await.expect("the successor");
        socket.send("again".into()).await.expect("an open connection");
        let answer = socket.next().await.expect("an answer").expect("no fault");
        assert_eq!(answer, Message::text(format!("again (pid {})", app.pid())));
        assert_ne!(app.pid(), first.pid());
    }
}

#[tokio::test]
async fn case_44_websocket_closes_with_1001_in_a_restart() {
    is_closed_with_1001(Signal::USR1).await;
}

#[tokio::test]
async fn case_44_websocket_closes_with_1001_in_a_stop() {
    is_closed_with_1001(Signal::TERM).await;
}
