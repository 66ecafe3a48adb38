//! A WebSocket that closes with the code for "going away" before its process ends.
//!
//! ```text
//! cargo run --example websocket --features websocket
//! websocat ws://localhost:9090    # it echoes what you type, with the pid of the process
//! kill -USR1 PID                  # close 1001, "going away"; connect again, and the successor answers
//! ```
//!
//! A WebSocket stays with the process that accepted it. Without `Shutdown` the drain would wait for it, and cut it
//! after `drain_timeout`.
//!
//! `GRACEHTTP_SERVER__ECHO__PORT=8080` sets another port.

use gracehttp::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade, close_code};
use gracehttp::{Response, Shutdown, server};

#[server(port = 9090, max_conns = 1000)]
async fn echo(upgrade: WebSocketUpgrade, shutdown: Shutdown) -> Response {
    upgrade.on_upgrade(|socket| converse(socket, shutdown))
}

/// Answers until the client leaves or the drain begins.
async fn converse(mut socket: WebSocket, mut shutdown: Shutdown) {
    loop {
        let answer = tokio::select! {
            heard = socket.recv() => match heard {
                Some(Ok(Message::Text(text))) => format!("{text} (pid {})", std::process::id()),
                Some(Ok(_)) => continue,
                Some(Err(_)) | None => return,
            },
            () = &mut shutdown => break,
        };
        if socket.send(answer.into()).await.is_err() {
            return;
        }
    }
    let farewell = CloseFrame { code: close_code::AWAY, reason: "this process is going away".into() };
    if socket.send(Message::Close(Some(farewell))).await.is_ok() {
        // The client's close frame ends the connection (RFC 6455, section 5.5.1).
        while let Some(Ok(_)) = socket.recv().await {}
    }
}

#[gracehttp::main(servers(echo))]
async fn main() {}
