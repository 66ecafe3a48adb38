//! Where in memory requests lie.

use super::*;
use gracehttp::Request;
use std::collections::HashSet;

/// Says where its request lies. It may hold it for longer than one turn.
#[server(port = 1)]
async fn whereabouts(request: Request) -> String {
    let path = request.uri().path();
    if path == "/wait" {
        tokio::task::yield_now().await;
    }
    format!("{:p}", path.as_ptr())
}

#[tokio::test]
async fn nothing_is_left_of_an_answered_request_when_hyper_reads_on() {
    let server = TestServer::spawn(whereabouts::server(), ()).await;
    let mut client = client(&Target::from_url(&server.url())).await;
    let mut places = HashSet::new();
    for _ in 0..10 {
        places.insert(client.get("/where").await.expect("an answer").text());
    }
    assert_eq!(places.len(), 1, "one buffer is enough: {places:?}");
    assert_eq!(client.get("/wait").await.expect("an answer").status, 200);
    server.shutdown().await;
}
