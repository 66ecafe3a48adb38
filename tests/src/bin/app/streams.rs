//! Answers that take their time, and a protocol behind an upgrade.

use std::time::Duration;

use bytes::Bytes;
use gracehttp::{Body, IntoResponse, Response, Shutdown};
use http::StatusCode;
use http::header::{CONNECTION, CONTENT_TYPE, UPGRADE};
use http_body_util::channel::Channel;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::say;

/// `count` pieces, one every 50 ms.
pub(crate) fn stream(count: u64) -> Response {
    let (mut sender, body) = Channel::<Bytes>::new(1);
    tokio::spawn(async move {
        say("stream begins");
        for piece in 0..count {
            if sender.send_data(format!("piece {piece}\n").into()).await.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    Response::new(Body::new(body))
}

/// A first piece, and the last one after this many milliseconds.
pub(crate) fn silence(millis: u64) -> Response {
    let (mut sender, body) = Channel::<Bytes>::new(1);
    tokio::spawn(async move {
        _ = sender.send_data("silence ".into()).await;
        tokio::time::sleep(Duration::from_millis(millis)).await;
        _ = sender.send_data("is over".into()).await;
    });
    Response::new(Body::new(body))
}

/// Server-sent events, one each 50 ms, until the drain begins, if the request asks for that.
pub(crate) fn events(shutdown: Option<Shutdown>) -> Response {
    let (mut sender, body) = Channel::<Bytes>::new(1);
    tokio::spawn(async move {
        say("events begin");
        let mut drain = std::pin::pin!(begun(shutdown));
        loop {
            if sender.send_data("data: tick\n\n".into()).await.is_err() {
                return say("events end: the client is gone");
            }
            tokio::select! {
                () = &mut drain => break,
                () = tokio::time::sleep(Duration::from_millis(50)) => (),
            }
        }
        _ = sender.send_data("event: bye\n\n".into()).await;
    });
    ([(CONTENT_TYPE, "text/event-stream")], Body::new(body)).into_response()
}

async fn begun(shutdown: Option<Shutdown>) {
    match shutdown {
        Some(shutdown) => shutdown.await,
        None => std::future::pending().await,
    }
}

/// The head of the response that ends HTTP on its connection.
pub(crate) fn switching_to_echo() -> Response {
    (StatusCode::SWITCHING_PROTOCOLS, [(CONNECTION, "upgrade"), (UPGRADE, "echo")]).into_response()
}

/// A protocol of its own: it returns every byte, and sends a last message when the drain begins, if the request asks
/// for that.
pub(crate) async fn echo(upgrade: hyper::upgrade::OnUpgrade, shutdown: Option<Shutdown>) {
    let mut stream = TokioIo::new(upgrade.await.expect("an upgrade that was asked for"));
    say("echo begins");
    let mut drain = std::pin::pin!(begun(shutdown));
    let mut bytes = [0; 1024];
    loop {
        tokio::select! {
            () = &mut drain => {
                _ = stream.write_all(b"farewell").await;
                _ = stream.shutdown().await;
                return;
            }
            read = stream.read(&mut bytes) => match read {
                Ok(length @ 1..) => _ = stream.write_all(&bytes[..length]).await,
                _ => return say("echo ends: the client is gone"),
            },
        }
    }
}
