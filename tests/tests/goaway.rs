//! The end of an HTTP/2 connection, frame by frame: the server refuses no request that its client could send before it
//! received the first GOAWAY.

use std::time::Duration;

use tests::frames::{Connection, Frame, GOAWAY};
use tests::{Launch, Scratch, Signal};

/// Case 45: the server's first GOAWAY and the client's request cross each other, and the request arrives after the
/// client's replies to the frames that came with that GOAWAY. The server still answers it, at a restart and at a stop,
/// and the second GOAWAY names it as the last.
#[tokio::test]
async fn case_45_a_request_that_crosses_the_first_goaway_is_answered() {
    for plan in ["server web 127.0.0.1:0", "server web 127.0.0.1:0 tls=self_signed"] {
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
