//! The stream of an answer that ends HTTP.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};

use axum::response::IntoResponse;
use gracehttp::{Request, Response};
use http::StatusCode;
use http::header::{CONNECTION, UPGRADE};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;

/// Speaks from a thread of its own, which knows of no runtime.
#[server(port = 1)]
async fn beside(request: Request) -> Response {
    let upgrade = hyper::upgrade::on(request);
    thread::spawn(|| {
        block_on(async {
            let mut stream = TokioIo::new(upgrade.await.expect("an upgrade that was asked for"));
            let mut word = [0; 4];
            while stream.read_exact(&mut word).await.is_ok() {
                stream.write_all(&word).await.expect("the client listens");
            }
        });
    });
    (StatusCode::SWITCHING_PROTOCOLS, [(CONNECTION, "upgrade"), (UPGRADE, "echo")]).into_response()
}

fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
}

/// All that comes up to this end.
async fn heard(client: &mut Client, end: &str) -> String {
    let mut heard = Vec::new();
    while !heard.ends_with(end.as_bytes()) {
        heard.extend_from_slice(&client.piece().await.expect("an open connection").expect("a piece"));
    }
    String::from_utf8(heard).expect("text")
}

#[tokio::test]
async fn the_stream_of_an_upgrade_works_outside_of_any_runtime() {
    let server = TestServer::spawn(beside::server(), ()).await;
    let mut client = client(&Target::from_url(&server.url())).await;
    let upgrade = get("/").replace("\r\n\r\n", "\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n");
    client.send(upgrade).await.expect("the request is sent");
    assert!(heard(&mut client, "\r\n\r\n").await.starts_with("HTTP/1.1 101 "));
    for word in ["echo", "once"] {
        client.send(word).await.expect("the server listens");
        assert_eq!(heard(&mut client, word).await, word);
    }
    drop(client);
    server.shutdown().await;
}
