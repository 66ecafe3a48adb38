//! The single exit path of all responses: which content they may have, how broken ones end, and what the log says about
//! them.

mod content;
mod counts;
mod failures;
mod memory;
mod peers;
mod upgrades;

use std::net::SocketAddr;

use axum::extract::ConnectInfo;
use bytes::Bytes;
use gracehttp::server;
use gracehttp::test::{self, TestServer};
use http::Method;
use tests::client::{get, get_once};
use tests::frames::{Connection, DATA, Frame, HEADERS, RST_STREAM};
use tests::h2::{Http2, Outcome};
use tests::patience::{PATIENCE, within};
use tests::{App, Client, Exit, Kind, Launch, Reply, Scratch, Target};

/// INTERNAL_ERROR (RFC 9113 section 7).
const INTERNAL_ERROR: [u8; 4] = [0, 0, 0, 2];

/// The servers that answer below `/x`.
const SERVERS: [&str; 5] = ["plain", "secure", "routed", "factory", "layered"];

fn launch() -> Launch {
    Launch::bin("responder").env("RUST_LOG", "gracehttp=debug")
}

async fn client(target: &Target) -> Client {
    Client::connect(target).await.expect("a connection")
}

/// A head without a body.
fn head(method: &str, path: &str) -> String {
    format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n\r\n")
}

/// The answer to a request of this method over HTTP/1.1, exactly to its last byte: the next answer has to follow it.
async fn ask(target: &Target, method: &str, path: &str) -> String {
    let mut client = client(target).await;
    client.send(head(method, path)).await.expect("the request is sent");
    client
        .send(head("GET", "/x/text").replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n"))
        .await
        .expect("the request is sent");
    let mut all = Vec::new();
    while let Some(piece) = client.piece().await.expect("a piece or the end") {
        all.extend_from_slice(&piece);
    }
    let all = String::from_utf8(all).expect("text");
    let (answer, next) =
        all.rsplit_once("HTTP/1.1 200 OK").unwrap_or_else(|| panic!("no next answer in {all:?}"));
    assert!(next.ends_with("\r\n\r\nhello"), "{all:?}");
    answer.to_owned()
}

/// The answer over HTTP/2, if it is complete.
async fn ask2(target: &Target, method: Method, path: &str) -> Result<Reply, String> {
    let mut client = Http2::connect(target).await.expect("a connection");
    match client.ask(method, path, Bytes::new()).await {
        Ok(Outcome::Reply(reply)) => Ok(reply),
        Ok(Outcome::NotSent) => panic!("a new connection accepts no request"),
        Err(failure) => Err(failure.to_string()),
    }
}

/// How many lines from `start` on contain `part`. A separate thread writes the log in order, so a last request first
/// makes sure that all earlier lines are there.
async fn count(app: &App, start: usize, part: &str) -> usize {
    let end = app.log.end();
    let mut client = client(&app.target("plain").await).await;
    client.send("GET /last HTTP/1.1\r\n\r\n").await.expect("the request is sent");
    client.reply().await.expect("a reply");
    app.log.line(end, "refused with 400").await;
    app.log.count(start, part)
}

fn has(answer: &str, field: &str) -> bool {
    answer.to_ascii_lowercase().contains(&format!("\r\n{field}"))
}
